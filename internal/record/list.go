package record

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"golang.org/x/sync/errgroup"

	"countersign/workflows"
)

const (
	// LookAtOpen and LookAtEnded are how many workflows are looked at for a list, the latest ones. Temporal cannot be
	// asked for those that concern a person without a search attribute of our own.
	LookAtOpen, LookAtEnded = 2000, 500
	// recently is how long ago a request may have ended to be listed.
	recently = 7 * 24 * time.Hour
)

// Found is a request among a workflow's.
type Found struct {
	workflows.Listed
	WorkflowID, RunID string
}

// Sum is the request's digest; zero where the memo has none that can be read.
func (f Found) Sum() (sum [32]byte) {
	b, _ := hex.DecodeString(f.Digest)
	copy(sum[:], b)
	return sum
}

// Requests are the requests that a look at Temporal found, those that ended last first.
type Requests struct {
	Open, Ended []Found
	// OpenCut and EndedCut say that there may be more than was looked at.
	OpenCut, EndedCut bool
	// Unread is how many workflows have a memo that cannot be decrypted here.
	Unread int
}

// List lists the requests of the deployment, as Temporal's visibility has them: it lags behind.
// https://docs.temporal.io/visibility
func (r Reader) List(ctx context.Context) (all Requests, err error) {
	ended := fmt.Sprintf("TaskQueue = '%s' AND ExecutionStatus != 'Running' AND CloseTime > '%s'",
		r.TaskQueue, time.Now().Add(-recently).UTC().Format(time.RFC3339))
	var (
		both                        errgroup.Group
		running, closed             []Found
		unreadRunning, unreadClosed int
	)
	both.Go(func() (err error) {
		running, _, all.OpenCut, unreadRunning, err = r.scan(ctx, r.open(), LookAtOpen)
		return err
	})
	both.Go(func() (err error) {
		closed, _, all.EndedCut, unreadClosed, err = r.scan(ctx, ended, LookAtEnded)
		return err
	})
	err = both.Wait()
	all.Unread = unreadRunning + unreadClosed
	for _, f := range slices.Concat(running, closed) {
		if f.Outcome == "" {
			all.Open = append(all.Open, f)
		} else {
			all.Ended = append(all.Ended, f)
		}
	}
	slices.SortStableFunc(all.Ended, func(a, b Found) int { return b.EndedAt.Compare(a.EndedAt) })
	return all, err
}

// open is the query for the workflows of the deployment that run.
func (r Reader) open() string {
	return fmt.Sprintf("TaskQueue = '%s' AND ExecutionStatus = 'Running'", r.TaskQueue)
}

// scan reads the memos of the workflows that a query finds, up to about most of them. It fails where it can decrypt no
// memo. A few of another key do not keep the others from being listed.
func (r Reader) scan(ctx context.Context, query string, most int) (all []Found, seen int, more bool, unread int, err error) {
	var first error
	for token := []byte(nil); ; {
		page, err := r.Temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace: r.Namespace, Query: query, PageSize: 500, NextPageToken: token,
		})
		if err != nil {
			return nil, 0, false, 0, err
		}
		for _, w := range page.GetExecutions() {
			if ctx.Err() != nil { // A codec server may be slow.
				return nil, 0, false, 0, ctx.Err()
			}
			one, undecoded := r.noting()
			if all = append(all, one.foundIn(w)...); *undecoded != nil {
				unread, first = unread+1, *undecoded
			}
		}
		seen += len(page.GetExecutions())
		if token = page.GetNextPageToken(); len(token) > 0 && seen < most {
			continue
		}
		if len(all) > 0 {
			first = nil
		}
		return all, seen, len(token) > 0, unread, first
	}
}

// foundIn reads a workflow's memo. One without requests has none.
func (r Reader) foundIn(w *workflowpb.WorkflowExecutionInfo) (all []Found) {
	var listed []workflows.Listed
	p := w.GetMemo().GetFields()[workflows.MemoRequests]
	if p == nil || r.data().FromPayload(p, &listed) != nil {
		return nil
	}
	for _, l := range listed {
		if l.Outcome == "" && !Running(w.GetStatus()) { // It was terminated, say.
			l.ActivityID, l.Outcome, l.EndedAt = "", workflows.Failed, w.GetCloseTime().AsTime()
		}
		all = append(all, Found{l, w.GetExecution().GetWorkflowId(), w.GetExecution().GetRunId()})
	}
	return all
}

// Describe reads a workflow's requests as they stand now; running says whether the workflow runs. ok is false where
// Temporal does not have it, or it belongs to another deployment.
func (r Reader) Describe(ctx context.Context, workflowID, runID string) (all []Found, running, ok bool, err error) {
	d, err := r.Temporal.DescribeWorkflowExecution(ctx, workflowID, runID)
	switch {
	case NotFound(err):
		return nil, false, false, nil
	case err != nil:
		return nil, false, false, err
	}
	info := d.GetWorkflowExecutionInfo()
	if info.GetTaskQueue() != r.TaskQueue {
		return nil, false, false, nil
	}
	r, unread := r.noting()
	all = r.foundIn(info)
	return all, Running(info.GetStatus()), true, *unread
}

// Unposted finds the requests that a workflow asks whose cards are not posted yet, where its memo lists none: Slack may
// be away.
func (r Reader) Unposted(ctx context.Context, workflowID, runID string) (all []Found, err error) {
	d, err := r.Temporal.DescribeWorkflowExecution(ctx, workflowID, runID)
	if err != nil {
		return nil, err
	}
	info := d.GetWorkflowExecutionInfo()
	for _, p := range d.GetPendingActivities() {
		question, _, _, open := workflows.SplitActivityID(p.GetActivityId())
		if !open || !Running(info.GetStatus()) {
			continue
		}
		a, err := r.Read(ctx, workflowID, info.GetExecution().GetRunId(), p.GetActivityId())
		if err != nil {
			return nil, err
		}
		sum := a.Round.Digest()
		all = append(all, Found{workflows.Listed{
			Question: question, ActivityID: p.GetActivityId(), Round: a.Round, Digest: hex.EncodeToString(sum[:]),
		}, workflowID, info.GetExecution().GetRunId()})
	}
	return all, nil
}

// Input is the input that a workflow was started with, decoded into v.
func (r Reader) Input(ctx context.Context, workflowID, runID string, v any) error {
	events := r.Temporal.GetWorkflowHistory(ctx, workflowID, runID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	if !events.HasNext() {
		return fmt.Errorf("workflow %s has no history", workflowID)
	}
	first, err := events.Next()
	if err != nil {
		return fmt.Errorf("read the history of workflow %s: %w", workflowID, err)
	}
	return r.data().FromPayloads(first.GetWorkflowExecutionStartedEventAttributes().GetInput(), v)
}
