package bot

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"countersign/internal/card"
	"countersign/internal/record"
	"countersign/internal/reference"
	"countersign/internal/slackapi"
	"countersign/workflows"
)

// atOnce is how many workflows are described at the same time.
const atOnce = 8

// requests are the requests that a look at Temporal found.
type requests struct {
	record.Requests
	at time.Time // when the look began
	// now has what was described since, by run ID, and groups the user groups: a look serves many viewers.
	now    *sync.Map
	groups groups
}

// groups are the user groups by their IDs; they are looked up where somebody asks, and once.
type groups func() (map[string]slackapi.Group, error)

func (b *Bot) groups(ctx context.Context) groups {
	return sync.OnceValues(func() (map[string]slackapi.Group, error) {
		all, err := b.Slack.Groups(ctx)
		if err != nil {
			b.Log.Warn("look the user groups up", "err", err)
		}
		return all, err
	})
}

// lookAround lists the requests of this deployment.
func (b *Bot) lookAround(ctx context.Context) (all requests, err error) {
	all.at, all.now, all.groups = time.Now(), &sync.Map{}, b.groups(ctx)
	all.Requests, err = b.Records.List(ctx)
	return all, err
}

// describe reads a workflow's requests as they stand now. ok is false where there are none of this deployment.
func (b *Bot) describe(ctx context.Context, workflowID, runID string) (all []record.Found, ok bool, err error) {
	all, _, _, err = b.Records.Describe(ctx, workflowID, runID)
	return all, len(all) > 0, err
}

// viewer is somebody who looks at a list.
type viewer struct {
	id     string
	groups groups
	active map[bool]check // whether they may decide as the member of a group, by whether guests may; as far as known
}

// check is what was record.Found out about something; done is false where it could not be.
type check struct{ yes, done bool }

func newViewer(id string, g groups) *viewer {
	return &viewer{id: id, groups: g, active: make(map[bool]check)}
}

// asked says whether a request is open and the viewer's own.
func (v *viewer) asked(l workflows.Listed) (yes, checked bool) {
	return l.Outcome == "" && l.Round.Requester == v.id, true
}

// waits says whether an open request waits for the viewer's decision. Where anyone in a channel may decide, it waits for
// nobody in particular. checked is false where that could not be record.Found out.
func (b *Bot) waits(ctx context.Context, v *viewer, l workflows.Listed) (yes, checked bool) {
	if !l.CanDecide(v.id) {
		return false, true
	}
	who := l.Round.Who()
	switch {
	case slices.Contains(who.Users, v.id):
		return true, true
	case len(who.Groups) == 0:
		return false, true
	}
	all, err := v.groups()
	if err != nil {
		return false, false
	}
	if !slices.ContainsFunc(who.Groups, func(id string) bool { return slices.Contains(all[id].Members, v.id) }) {
		return false, true
	}
	a, known := v.active[l.Round.AllowGuests]
	if !known {
		var no refusal
		no, a.done = b.isActive(ctx, v.id, l.Round.AllowGuests)
		a.yes = no == ""
		v.active[l.Round.AllowGuests] = a
	}
	return a.yes, a.done
}

// concerns says whether a request concerns the viewer: they asked for it, or decided it, or could.
func (b *Bot) concerns(ctx context.Context, v *viewer, l workflows.Listed) (yes, checked bool) {
	if l.Round.Requester == v.id || l.Round.Decided(v.id) {
		return true, true
	}
	l.Outcome = ""
	return b.waits(ctx, v, l)
}

// describeOnce is describe, once for all who look.
func (b *Bot) describeOnce(ctx context.Context, now *sync.Map, f record.Found) ([]record.Found, error) {
	once, _ := now.LoadOrStore(f.RunID, sync.OnceValues(func() ([]record.Found, error) {
		all, _, err := b.describe(ctx, f.WorkflowID, f.RunID)
		if err != nil {
			b.Log.Warn("check a row of a list", "workflow_id", f.WorkflowID, "err", err)
		}
		return all, err
	}))
	return once.(func() ([]record.Found, error))()
}

// page is the n-th page, of size rows, of those of the requests in all that match as they stand now. Each row is checked
// with Temporal; one that cannot be is marked.
func (b *Bot) page(ctx context.Context, v *viewer, now *sync.Map, all []record.Found, n, size int, match func(workflows.Listed) (yes, checked bool)) (s card.Section) {
	matches := func(l workflows.Listed) bool {
		yes, checked := match(l)
		s.Unchecked = s.Unchecked || !checked
		return yes
	}
	var matching []record.Found
	for _, f := range all {
		if matches(f.Listed) {
			matching = append(matching, f)
		}
	}
	n = max(0, min(n, (len(matching)-1)/size))
	s.Page, s.More = n, len(matching) > (n+1)*size
	shown := matching[min(n*size, len(matching)):min((n+1)*size, len(matching))]
	rows := make([]*card.Row, len(shown))
	var (
		group errgroup.Group
		mu    sync.Mutex
	)
	group.SetLimit(atOnce)
	for i, f := range shown {
		group.Go(func() error {
			now, err := b.describeOnce(ctx, now, f)
			if err != nil {
				rows[i] = &card.Row{Listed: f.Listed, WorkflowID: f.WorkflowID, Viewer: v.id, Unknown: true}
				return nil
			}
			at := slices.IndexFunc(now, func(o record.Found) bool { return o.Question == f.Question })
			if at < 0 {
				return nil
			}
			mu.Lock() // match may remember what it looked up
			defer mu.Unlock()
			if matches(now[at].Listed) {
				rows[i] = &card.Row{Listed: now[at].Listed, WorkflowID: f.WorkflowID, Viewer: v.id, Reference: b.seal(now[at])}
			}
			return nil
		})
	}
	_ = group.Wait() // None fails: a row is marked.
	for _, r := range rows {
		if r != nil {
			s.Rows = append(s.Rows, *r)
		}
	}
	return s
}

// seal makes the reference to a request that is open; empty where that cannot be.
func (b *Bot) seal(f record.Found) string {
	if f.ActivityID == "" {
		return ""
	}
	sealed, err := b.Keys.Seal(b.reference(f))
	if err != nil {
		b.Log.Warn("seal a reference for a list", "workflow_id", f.WorkflowID, "err", err)
	}
	return sealed
}

// reference is the one of a request that is open.
func (b *Bot) reference(f record.Found) reference.Reference {
	ref := reference.Of(b.Records.Namespace, f.WorkflowID, f.RunID, f.ActivityID, f.Round, f.Sum(), f.Counted)
	ref.Trace = f.Trace
	return ref
}
