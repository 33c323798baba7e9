package bot

import (
	"cmp"
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
	"countersign/internal/slackapi"
	"countersign/workflows"
)

const (
	// viewersMost and viewedFor bound the homes that are kept current: those opened lately, for Slack does not say when
	// one is left.
	viewersMost = 1000
	viewedFor   = 30 * time.Minute
	// pauseMost bounds for how long the homes are not kept current because Slack asks to wait.
	pauseMost = 5 * time.Minute
)

// homes are the homes that were opened lately. They are safe for concurrent use.
type homes struct {
	mu  sync.Mutex
	all map[string]*home // by person
}

// home is what one person sees of the app's home.
type home struct {
	drawing chan struct{} // holds one that draws it, so that the last one drawn has the page that was turned to last
	homeState
	pages map[string]int // by section; guarded by the mutex of homes
}

// homeState is guarded by the mutex of homes.
type homeState struct {
	opened time.Time // or clicked in
	at     time.Time // when that was looked up which they see
	shown  [sha256.Size]byte
	hash   string // Slack's, of what they see; empty: whatever they see is to be drawn over
}

func newHomes() *homes { return &homes{all: make(map[string]*home)} }

// open notes that the person looks at their home, and that it is to be drawn whatever was shown before: another
// process may have drawn it since. Pages are those that are to be shown, by section; of others the page stays.
func (h *homes) open(user string, pages map[string]int) {
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
	o.opened, o.shown, o.hash = time.Now(), [sha256.Size]byte{}, ""
	maps.Copy(o.pages, pages)
}

// forget forgets the homes that have not been opened for long. The caller holds the mutex.
func (h *homes) forget() {
	maps.DeleteFunc(h.all, func(_ string, o *home) bool { return time.Since(o.opened) > viewedFor })
}

// users are those who look at their homes, first those who see what was looked up longest ago.
func (h *homes) users() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forget()
	return slices.SortedFunc(maps.Keys(h.all), func(a, b string) int {
		return cmp.Or(h.all[a].at.Compare(h.all[b].at), strings.Compare(a, b))
	})
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
// looks at a home there is none. Where Slack asks to wait, all wait.
func (b *Bot) KeepHomes(ctx context.Context) {
	tick := time.NewTicker(b.HomeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if pause := b.drawAll(ctx); pause > 0 {
			b.Log.Warn("slack asks to wait before homes are drawn", "wait", pause)
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
		}
	}
}

// drawAll draws the homes that have changed, until Slack asks to wait: views.publish takes some 100 calls a minute. Those
// that are left are the first the next time. https://docs.slack.dev/reference/methods/views.publish
func (b *Bot) drawAll(ctx context.Context) (pause time.Duration) {
	users := b.homes.users()
	if len(users) == 0 {
		return 0
	}
	all, err := b.lookAround(ctx)
	for _, user := range users {
		if ctx.Err() != nil {
			return 0
		}
		soon, stop := context.WithTimeout(ctx, afterBudget)
		limited := slackapi.AsLimited(b.draw(soon, user, all, err))
		stop()
		if limited != nil {
			return min(limited.RetryAfter, pauseMost)
		}
	}
	return 0
}

// openHome shows a person their home.
func (b *Bot) openHome(ctx context.Context, user string) {
	b.homes.open(user, nil)
	b.refreshHome(ctx, user)
}

// refreshHome draws a person's home anew, where they look at it.
func (b *Bot) refreshHome(ctx context.Context, user string) {
	if b.homes.of(user) != nil {
		all, err := b.lookAround(ctx)
		_ = b.draw(ctx, user, all, err) // It is drawn again when all are.
	}
}

// draw shows a home, unless it is what the person sees already, or they see what was looked up later. err says why all
// could not be looked up. It returns Slack's error.
func (b *Bot) draw(ctx context.Context, user string, all requests, err error) error {
	h := b.homes.of(user)
	if h == nil {
		return nil
	}
	select {
	case h.drawing <- struct{}{}:
		defer func() { <-h.drawing }()
	case <-ctx.Done():
		return nil
	}
	b.homes.mu.Lock()
	pages, was := maps.Clone(h.pages), h.homeState
	b.homes.mu.Unlock()
	if was.at.After(all.at) {
		return nil
	}
	var view card.Home
	if err == nil {
		view = b.sections(ctx, newViewer(user, all.groups), pages, all)
	} else {
		b.Log.Warn("look requests up for a home", "user", user, "err", err)
		view = card.Home{
			Waiting: card.Section{Page: pages[card.SectionWaiting]}, Asked: card.Section{Page: pages[card.SectionAsked]},
			Decided: card.Section{Page: pages[card.SectionDecided]},
			Failed:  "Temporal did not answer. Open this page again in a moment.",
		}
	}
	// References differ each time they are sealed.
	sum, hash := digestOf(view), was.hash
	err = nil
	if sum != was.shown {
		view.At = time.Now()
		hash, err = b.Slack.PublishHome(ctx, user, was.hash, card.DrawHome(view))
	}
	b.homes.mu.Lock()
	defer b.homes.mu.Unlock()
	same := h.opened.Equal(was.opened) // Otherwise it is drawn anew at once, over this.
	switch {
	case err == nil:
		h.at = all.at
		if same {
			h.shown, h.hash = sum, hash
		}
		return nil
	case slackapi.IsConflict(err): // Another process keeps it current now.
		if same && b.homes.all[user] == h {
			delete(b.homes.all, user)
		}
		return nil
	case slackapi.AsLimited(err) == nil && slackapi.AsRefused(err) == nil: // They may see it.
		h.hash = ""
	}
	b.Log.Warn("show a home", "user", user, "err", err)
	return err
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
func (b *Bot) sections(ctx context.Context, v *viewer, pages map[string]int, all requests) (h card.Home) {
	h.Waiting = b.page(ctx, v, all.now, all.Open, pages[card.SectionWaiting], card.PageRows, func(l workflows.Listed) (yes, checked bool) {
		return b.waits(ctx, v, l)
	})
	h.Asked = b.page(ctx, v, all.now, all.Open, pages[card.SectionAsked], card.PageRows, v.asked)
	h.Decided = b.page(ctx, v, all.now, all.Ended, pages[card.SectionDecided], card.PageRows, func(l workflows.Listed) (yes, checked bool) {
		if l.Outcome == "" {
			return false, true
		}
		return b.concerns(ctx, v, l)
	})
	h.Waiting.Truncated, h.Asked.Truncated, h.Decided.Truncated = all.OpenCut, all.OpenCut, all.EndedCut
	return h
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
		if err != nil || !isSection(section) {
			return done()
		}
		pages := i.pages()
		pages[section] = page
		b.homes.open(i.User.ID, pages)
		return done().and(func(ctx context.Context) { b.refreshHome(ctx, i.User.ID) })
	}
	return done()
}

// afterClick draws the home of whoever clicked anew.
func (b *Bot) afterClick(ctx context.Context, i interaction) {
	if i.atHome() { // They look at it, whichever process they opened it with.
		b.homes.open(i.User.ID, i.pages())
	}
	b.refreshHome(ctx, i.User.ID)
}

func isSection(s string) bool {
	return s == card.SectionWaiting || s == card.SectionAsked || s == card.SectionDecided
}

// pages are the pages of the home that was clicked in, by section; another process may have drawn it.
func (i interaction) pages() map[string]int {
	kept, pages := make(map[string]int), make(map[string]int)
	if json.Unmarshal([]byte(i.View.PrivateMetadata), &kept) == nil { // Otherwise it is of another version, or of a modal.
		maps.Copy(pages, kept)
	}
	maps.DeleteFunc(pages, func(section string, _ int) bool { return !isSection(section) })
	return pages
}
