package record

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"
	"golang.org/x/sync/errgroup"

	"countersign/workflows"
)

const (
	// readAtOnce is how many histories are read at a time. Each is held in memory, and may have 50 MiB.
	readAtOnce = 8
	// clocksDiffer is by how much the clock of who recorded a decision may be ahead of the server's.
	clocksDiffer = time.Minute
)

// Audited is a request of any workflow with all its decisions.
type Audited struct {
	WorkflowID, RunID, Question string
	Title, Requester            string
	// Decisions are all that were made, in their order.
	Decisions []AuditedDecision
	// Result is how the request ended, without its decisions; it has no outcome while the request is open.
	Result workflows.Result
	// ApprovedBy are those whose approvals made it approved; somebody outside Slack has only a name, or nothing.
	ApprovedBy []workflows.Person
}

// AuditedDecision is a decision, and the number of the round that it was made in; 0 where that is not known.
type AuditedDecision struct {
	workflows.Decision
	Round int
}

// Audit reads every request of every workflow of the task queue that was open at that time or is younger, whatever the
// workflow's type: those that ended before it, and are of a workflow that ran on, too. Each run of a workflow is one of
// its own. The order is none.
//
// gone is how many workflows Temporal deleted while they were read. progress, where it is not nil, is called for each
// workflow, one call at a time, with how many of how many were read.
func (r Reader) Audit(ctx context.Context, since time.Time, progress func(read, of int)) (all []Audited, gone int, err error) {
	runs, err := r.runs(ctx, since)
	if err != nil {
		return nil, 0, err
	}
	var (
		mu   sync.Mutex // of all, gone, and read
		read int
	)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readAtOnce)
	for _, run := range runs {
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			found, err := r.auditRun(ctx, run)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case NotFound(err):
				gone++
			case err != nil:
				return fmt.Errorf("read the history of workflow %s: %w", run.GetWorkflowId(), err)
			}
			all = append(all, found...) // Of one that is gone there is none.
			if read++; progress != nil {
				progress(read, len(runs))
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, 0, err
	}
	return all, gone, nil
}

// runs are the workflows of the task queue that were not closed at that time, each once. Temporal gives those that are
// open first: one that closes meanwhile comes again, and none is left out.
func (r Reader) runs(ctx context.Context, since time.Time) (all []*commonpb.WorkflowExecution, err error) {
	query := fmt.Sprintf("TaskQueue = '%s' AND (CloseTime IS NULL OR CloseTime >= '%s')",
		r.TaskQueue, since.Add(-clocksDiffer).UTC().Format(time.RFC3339Nano))
	seen := make(map[[2]string]bool)
	for token := []byte(nil); ; {
		page, err := r.Temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace: r.Namespace, Query: query, PageSize: 1000, NextPageToken: token,
		})
		if err != nil {
			return nil, fmt.Errorf("list the workflows: %w", err)
		}
		for _, w := range page.GetExecutions() {
			e := w.GetExecution()
			if key := [2]string{e.GetWorkflowId(), e.GetRunId()}; !seen[key] {
				seen[key] = true
				all = append(all, e)
			}
		}
		if token = page.GetNextPageToken(); len(token) == 0 {
			return all, nil
		}
	}
}

// kept is a history that is read several times.
type kept []*historypb.HistoryEvent

func (k *kept) HasNext() bool { return len(*k) > 0 }

func (k *kept) Next() (*historypb.HistoryEvent, error) {
	first := (*k)[0]
	*k = (*k)[1:]
	return first, nil
}

// auditRun reads a workflow's history once, and all requests in it. Of a workflow without any nothing is decoded.
func (r Reader) auditRun(ctx context.Context, run *commonpb.WorkflowExecution) (all []Audited, err error) {
	var (
		history   kept
		questions []string
	)
	events := r.Temporal.GetWorkflowHistory(ctx, run.GetWorkflowId(), run.GetRunId(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			return nil, err
		}
		history = append(history, e)
		question, _, _, ok := workflows.SplitActivityID(e.GetActivityTaskScheduledEventAttributes().GetActivityId())
		if ok && !slices.Contains(questions, question) {
			questions = append(questions, question)
		}
	}
	for _, question := range questions {
		again := history
		a, err := r.readEvents(&again, question, "")
		if err != nil {
			return nil, err
		}
		one := a.audited()
		one.WorkflowID, one.RunID, one.Question = run.GetWorkflowId(), run.GetRunId(), question
		all = append(all, one)
	}
	return all, nil
}

// audited is a request whose whole history was read.
func (a Activity) audited() Audited {
	one := Audited{Title: a.Round.Title, Requester: a.Round.Requester}
	decisions := a.Round.Decisions
	if a.State == Ended {
		one.Result, decisions = a.Result, a.Result.Decisions
		if one.Result.Decisions = nil; one.Result.Card == (workflows.Card{}) {
			one.Result.Card = a.Card
		}
		if one.Result.Digest == "" && one.Title != "" { // It never got an outcome; what is no request has no title.
			sum := a.Round.Digest()
			one.Result.Digest = hex.EncodeToString(sum[:])
		}
	}
	for i, d := range decisions {
		in := 0
		if i < len(a.DecidedIn) {
			in = a.DecidedIn[i]
		}
		one.Decisions = append(one.Decisions, AuditedDecision{d, in})
	}
	if one.Result.Outcome == workflows.Approved && !one.Result.ByDeadline {
		end := workflows.Round{Request: a.Round.Request, Decisions: decisions, Changes: one.Result.Changes}
		for _, d := range end.Tally().Approvals {
			if len(end.Roles) == 0 || d.Role != "" { // One too many fills none.
				one.ApprovedBy = append(one.ApprovedBy, d.By)
			}
		}
	}
	return one
}
