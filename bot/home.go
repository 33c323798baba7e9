package bot

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"countersign/internal/card"
	"countersign/workflows"
)

const (
	// viewersMost and viewedFor bound the homes that are kept current: those opened lately, for Slack does not say when
	// one is left.
	viewersMost = 1000
	viewedFor   = 30 * time.Minute
)

// The sections of the home, as the actions of its page buttons name them.
const (
	sectionWaiting = "waiting"
	sectionAsked   = "asked"
	sectionDecided = "decided"
)

// homes are the homes that were opened lately. They are safe for concurrent use.
type homes struct {
	mu  sync.Mutex
	all map[string]*home // by person
}

// home is what one person sees of the app's home.
type home struct {
	drawing chan struct{} // holds one that draws it, so that the last one drawn has the page that was turned to last
	// Guarded by the mutex of homes:
	opened time.Time
	pages  map[string]int // by section
	shown  [sha256.Size]byte
}

func newHomes() *homes { return &homes{all: make(map[string]*home)} }

// open notes that the person looks at their home, and that it is to be drawn whatever was shown before: another
// process may have drawn it since.
func (h *homes) open(user string) { h.turn(user, "", 0) }

// turn is open, and turns to a section's page.
func (h *homes) turn(user, section string, page int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forget()
	o := h.all[user]
	if o == nil {
		if len(h.all) >= viewersMost {
			delete(h.all, slices.MinFunc(slices.Collect(maps.Keys(h.all)), func(a, b string) int {
				return h.all[a].opened.Compare(h.all[b].opened)
			}))
		}
		o = &home{drawing: make(chan struct{}, 1), pages: make(map[string]int)}
		h.all[user] = o
	}
	o.opened, o.shown = time.Now(), [sha256.Size]byte{}
	if section != "" {
		o.pages[section] = page
	}
}

// forget forgets the homes that have not been opened for long. The caller holds the mutex.
func (h *homes) forget() {
	maps.DeleteFunc(h.all, func(_ string, o *home) bool { return time.Since(o.opened) > viewedFor })
}

// users are those who look at their homes.
func (h *homes) users() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forget()
	return slices.Sorted(maps.Keys(h.all))
}

// of is a person's home; nil where they do not look at it.
func (h *homes) of(user string) *home {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forget()
	return h.all[user]
}

// KeepHomes keeps the homes that people look at current, until ctx ends: what changes a request (a decision at another
// process, a deadline, a workflow that asks) tells the bot nothing. A look at Temporal serves all of them; where nobody
// looks at a home there is none.
func (b *Bot) KeepHomes(ctx context.Context) {
	tick := time.NewTicker(b.HomeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		users := b.homes.users()
		if len(users) == 0 {
			continue
		}
		all, err := b.lookAround(ctx)
		for _, user := range users {
			if ctx.Err() == nil {
				soon, stop := context.WithTimeout(ctx, afterBudget)
				b.draw(soon, user, all, err)
				stop()
			}
		}
	}
}

// openHome shows a person their home.
func (b *Bot) openHome(ctx context.Context, user string) {
	b.homes.open(user)
	b.refreshHome(ctx, user)
}

// refreshHome draws a person's home anew, where they look at it.
func (b *Bot) refreshHome(ctx context.Context, user string) {
	if b.homes.of(user) != nil {
		all, err := b.lookAround(ctx)
		b.draw(ctx, user, all, err)
	}
}

// draw shows a home, unless it is what the person sees already. err says why all could not be looked up.
func (b *Bot) draw(ctx context.Context, user string, all requests, err error) {
	h := b.homes.of(user)
	if h == nil {
		return
	}
	select {
	case h.drawing <- struct{}{}:
		defer func() { <-h.drawing }()
	case <-ctx.Done():
		return
	}
	b.homes.mu.Lock()
	pages, shown := maps.Clone(h.pages), h.shown
	b.homes.mu.Unlock()
	var view card.Home
	if err == nil {
		view, err = b.sections(ctx, newViewer(user), pages, all)
	}
	if err != nil {
		b.Log.Warn("look requests up for a home", "user", user, "err", err)
		view = card.Home{Failed: "Temporal or Slack did not answer. Open this page again in a moment."}
	}
	// References differ each time they are sealed.
	sum := digestOf(view)
	if sum == shown {
		return
	}
	view.At = time.Now()
	if err := b.Slack.PublishHome(ctx, user, card.DrawHome(view)); err != nil {
		b.Log.Warn("show a home", "user", user, "err", err)
		return
	}
	b.homes.mu.Lock()
	defer b.homes.mu.Unlock()
	h.shown = sum
}

func digestOf(h card.Home) [sha256.Size]byte {
	for _, s := range []*card.Section{&h.Waiting, &h.Asked, &h.Decided} {
		rows := make([]card.Row, len(s.Rows))
		for i, r := range s.Rows {
			r.Reference = ""
			rows[i] = r
		}
		s.Rows = rows
	}
	j, _ := json.Marshal(h)
	return sha256.Sum256(j)
}

// sections are what concerns the viewer.
func (b *Bot) sections(ctx context.Context, v *viewer, pages map[string]int, all requests) (h card.Home, err error) {
	h.Waiting, err = b.page(ctx, all.now, all.open, pages[sectionWaiting], card.PageRows, func(l workflows.Listed) (bool, error) {
		return b.waits(ctx, v, l)
	})
	if err != nil {
		return h, err
	}
	h.Asked, err = b.page(ctx, all.now, all.open, pages[sectionAsked], card.PageRows, func(l workflows.Listed) (bool, error) {
		return l.Outcome == "" && l.Round.Requester == v.id, nil
	})
	if err != nil {
		return h, err
	}
	h.Decided, err = b.page(ctx, all.now, all.decided, pages[sectionDecided], card.PageRows, func(l workflows.Listed) (bool, error) {
		if l.Outcome == "" {
			return false, nil
		}
		return b.concerns(ctx, v, l)
	})
	h.Waiting.Truncated, h.Asked.Truncated, h.Decided.Truncated = all.openCut, all.openCut, all.decidedCut
	return h, err
}

// clickHome deals with a click in the app's home that is no decision.
func (b *Bot) clickHome(ctx context.Context, i interaction) reply {
	if len(i.Actions) != 1 || !i.atHome() {
		return done()
	}
	action := i.Actions[0].ActionID
	if action == card.ActionWithdraw {
		ref, no := b.open(i, i.Actions[0].Value)
		if no != "" {
			return b.tell(ctx, i, workflows.Card{}, string(no))
		}
		return b.changeByClick(ctx, i, ref, workflows.Change{Kind: workflows.Withdraw, By: person(i), Via: workflows.ViaHome})
	}
	if rest, ok := strings.CutPrefix(action, card.ActionPage+"_"); ok {
		section, n, _ := strings.Cut(rest, "_")
		page, err := strconv.Atoi(n)
		if err != nil || !slices.Contains([]string{sectionWaiting, sectionAsked, sectionDecided}, section) {
			return done()
		}
		b.homes.turn(i.User.ID, section, page)
		return done().and(func(ctx context.Context) { b.refreshHome(ctx, i.User.ID) })
	}
	return done()
}

// afterClick draws the home of whoever clicked anew.
func (b *Bot) afterClick(ctx context.Context, i interaction) {
	if i.atHome() { // They look at it, whichever process they opened it with.
		b.homes.open(i.User.ID)
	}
	b.refreshHome(ctx, i.User.ID)
}
