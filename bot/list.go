package bot

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"golang.org/x/sync/errgroup"

	"countersign/internal/card"
	"countersign/internal/reference"
	"countersign/internal/slackapi"
	"countersign/workflows"
)

const (
	// lookAtOpen and lookAtEnded are how many workflows are looked at for a list, the latest ones. Temporal cannot be
	// asked for those that concern a person without a search attribute of our own.
	lookAtOpen, lookAtEnded = 2000, 500
	// recently is how long ago a request may have ended to be listed.
	recently = 7 * 24 * time.Hour
	// atOnce is how many workflows are described at the same time.
	atOnce = 8
)

// found is a request among a workflow's.
type found struct {
	workflows.Listed
	workflowID, runID string
}

// requests are the requests that a look at Temporal found, those decided last first.
type requests struct {
	at            time.Time // when the look began
	open, decided []found
	// openCut and decidedCut say that there may be more than was looked at.
	openCut, decidedCut bool
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

// lookAround lists the requests of this deployment, as Temporal's visibility has them: it lags behind.
// https://docs.temporal.io/visibility
func (b *Bot) lookAround(ctx context.Context) (all requests, err error) {
	all.at, all.now, all.groups = time.Now(), &sync.Map{}, b.groups(ctx)
	open := fmt.Sprintf("TaskQueue = '%s' AND ExecutionStatus = 'Running'", b.TaskQueue)
	ended := fmt.Sprintf("TaskQueue = '%s' AND ExecutionStatus != 'Running' AND CloseTime > '%s'",
		b.TaskQueue, time.Now().Add(-recently).UTC().Format(time.RFC3339))
	var (
		both                  errgroup.Group
		running, closed       []found
		moreRunning, moreDone bool
	)
	both.Go(func() (err error) {
		running, moreRunning, err = b.scan(ctx, open, lookAtOpen)
		return err
	})
	both.Go(func() (err error) {
		closed, moreDone, err = b.scan(ctx, ended, lookAtEnded)
		return err
	})
	err = both.Wait()
	all.openCut, all.decidedCut = moreRunning, moreDone
	for _, f := range slices.Concat(running, closed) {
		if f.Outcome == "" {
			all.open = append(all.open, f)
		} else {
			all.decided = append(all.decided, f)
		}
	}
	slices.SortStableFunc(all.decided, func(a, b found) int { return b.EndedAt.Compare(a.EndedAt) })
	return all, err
}

func (b *Bot) scan(ctx context.Context, query string, most int) (all []found, more bool, err error) {
	for seen, token := 0, []byte(nil); ; {
		r, err := b.Temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace: b.Namespace, Query: query, PageSize: 500, NextPageToken: token,
		})
		if err != nil {
			return nil, false, err
		}
		for _, w := range r.GetExecutions() {
			all = append(all, foundIn(w)...)
		}
		seen += len(r.GetExecutions())
		if token = r.GetNextPageToken(); len(token) == 0 || seen >= most {
			return all, len(token) > 0, nil
		}
	}
}

// foundIn reads a workflow's memo. One without requests has none.
func foundIn(w *workflowpb.WorkflowExecutionInfo) (all []found) {
	var listed []workflows.Listed
	p := w.GetMemo().GetFields()[workflows.MemoRequests]
	if p == nil || converter.GetDefaultDataConverter().FromPayload(p, &listed) != nil {
		return nil
	}
	for _, l := range listed {
		if l.Outcome == "" && w.GetStatus() != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING { // It was terminated, say.
			l.ActivityID, l.Outcome, l.EndedAt = "", workflows.Failed, w.GetCloseTime().AsTime()
		}
		all = append(all, found{l, w.GetExecution().GetWorkflowId(), w.GetExecution().GetRunId()})
	}
	return all
}

// describe reads a workflow's requests as they stand now. ok is false where Temporal does not have it, or it belongs to
// another deployment.
func (b *Bot) describe(ctx context.Context, workflowID, runID string) (all []found, ok bool, err error) {
	d, err := b.Temporal.DescribeWorkflowExecution(ctx, workflowID, runID)
	var gone *serviceerror.NotFound
	switch {
	case errors.As(err, &gone):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	info := d.GetWorkflowExecutionInfo()
	if info.GetTaskQueue() != b.TaskQueue {
		return nil, false, nil
	}
	all = foundIn(info)
	return all, len(all) > 0, nil
}

// viewer is somebody who looks at a list.
type viewer struct {
	id     string
	groups groups
	active map[bool]check // whether they may decide as the member of a group, by whether guests may; as far as known
}

// check is what was found out about something; done is false where it could not be.
type check struct{ yes, done bool }

func newViewer(id string, g groups) *viewer {
	return &viewer{id: id, groups: g, active: make(map[bool]check)}
}

// asked says whether a request is open and the viewer's own.
func (v *viewer) asked(l workflows.Listed) (yes, checked bool) {
	return l.Outcome == "" && l.Round.Requester == v.id, true
}

// waits says whether an open request waits for the viewer's decision. Where anyone in a channel may decide, it waits for
// nobody in particular. checked is false where that could not be found out.
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
func (b *Bot) describeOnce(ctx context.Context, now *sync.Map, f found) ([]found, error) {
	once, _ := now.LoadOrStore(f.runID, sync.OnceValues(func() ([]found, error) {
		all, _, err := b.describe(ctx, f.workflowID, f.runID)
		if err != nil {
			b.Log.Warn("check a row of a list", "workflow_id", f.workflowID, "err", err)
		}
		return all, err
	}))
	return once.(func() ([]found, error))()
}

// page is the n-th page, of size rows, of those of the requests in all that match as they stand now. Each row is checked
// with Temporal; one that cannot be is marked.
func (b *Bot) page(ctx context.Context, v *viewer, now *sync.Map, all []found, n, size int, match func(workflows.Listed) (yes, checked bool)) (s card.Section) {
	matches := func(l workflows.Listed) bool {
		yes, checked := match(l)
		s.Unchecked = s.Unchecked || !checked
		return yes
	}
	var matching []found
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
				rows[i] = &card.Row{Listed: f.Listed, WorkflowID: f.workflowID, Viewer: v.id, Unknown: true}
				return nil
			}
			at := slices.IndexFunc(now, func(o found) bool { return o.Question == f.Question })
			if at < 0 {
				return nil
			}
			mu.Lock() // match may remember what it looked up
			defer mu.Unlock()
			if matches(now[at].Listed) {
				rows[i] = &card.Row{Listed: now[at].Listed, WorkflowID: f.workflowID, Viewer: v.id, Reference: b.seal(now[at])}
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
func (b *Bot) seal(f found) string {
	if f.ActivityID == "" {
		return ""
	}
	sealed, err := b.Keys.Seal(f.reference(b.Namespace))
	if err != nil {
		b.Log.Warn("seal a reference for a list", "workflow_id", f.workflowID, "err", err)
	}
	return sealed
}

func (f found) reference(namespace string) reference.Reference {
	return reference.Of(namespace, f.workflowID, f.runID, f.ActivityID, f.Round, f.digest(), f.Counted)
}

// digest is the request's; zero where the memo has none that can be read.
func (f found) digest() (sum [32]byte) {
	b, _ := hex.DecodeString(f.Digest)
	copy(sum[:], b)
	return sum
}
