package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"countersign/internal/record"
	"countersign/workflows"
)

const (
	// watchEarly and watchLate are how often it is looked whether a caller still waits: the longer it has, the less often.
	watchEarly, watchLate = 5 * time.Second, time.Minute
	// answerAgain is when it is tried again, at first, to answer an activity that cannot be answered now.
	answerAgain = time.Second
	// expiresBefore is how long before a caller's end its request expires at the most: where Slack is away, a card keeps
	// the outcome back for half a minute.
	expiresBefore = time.Minute
	// answerWithin is what the answer needs at the least, where the caller has that much time.
	answerWithin = 5 * time.Second
	// maxRequest is more than a request may have, in bytes of JSON, and less than Temporal takes.
	maxRequest = 1 << 20
)

// asking is what the attempts of a caller's activity leave as heartbeat details: it tells the activity from another that
// has its ID later.
type asking struct {
	Approval string `json:"approval"` // the workflow ID
}

// RequestApproval asks people for the workflow that scheduled it, and stays open until the request has an outcome, which
// is its result. Its errors are those of [workflows.Approval]. A further attempt finds the question of the first, or
// returns the outcome that it has by now. The request expires, at the latest, just before the activity does.
func (a *Activities) RequestApproval(ctx context.Context, r workflows.Request) (workflows.Result, error) {
	info := activity.GetInfo(ctx)
	switch {
	case info.IsLocalActivity:
		return workflows.Result{}, errLocal()
	case !info.IsWorkflowActivity():
		return workflows.Result{}, workflows.InvalidRequestError("Schedule RequestApproval from a workflow, or start the workflow Approval.")
	}
	if b, err := json.Marshal(r); err != nil || len(b) > maxRequest {
		return workflows.Result{}, workflows.InvalidRequestError("The request is too large: shorten it.")
	}
	exec := info.WorkflowExecution
	// The ID of an activity is unique among those of its workflow that are open; the time tells the others apart.
	id := "approval-" + key("caller", info.Namespace, exec.ID, exec.RunID, info.ActivityID, info.ScheduledTime.UTC().Format(time.RFC3339Nano))
	if err := a.nameApproval(ctx, info.TaskToken, id); err != nil {
		return workflows.Result{}, failure(err)
	}
	caller := workflows.Caller{WorkflowID: exec.ID, RunID: exec.RunID, ActivityID: info.ActivityID}
	if info.HeartbeatTimeout > 0 {
		caller.HeartbeatTimeout = workflows.Duration(info.HeartbeatTimeout.String())
	}
	_, err := a.Temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: id, TaskQueue: info.TaskQueue,
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		StaticSummary:                            workflows.Summary(r.Title),
		StaticDetails:                            "For the activity " + info.ActivityID + " of the workflow " + exec.ID,
	}, workflows.ApprovalForCaller, workflows.ForCaller{
		Request: a.Policy.until(r, time.Now(), end(info)), Malformed: r.Malformed,
		Caller: caller,
	})
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	switch {
	case errors.As(err, &already):
		return a.outcome(ctx, id)
	case err != nil:
		return workflows.Result{}, failure(fmt.Errorf("start the approval: %w", err))
	default:
		return workflows.Result{}, activity.ErrResultPending
	}
}

// nameApproval records which approval the activity waits for. Without that nobody answers it.
func (a *Activities) nameApproval(ctx context.Context, token []byte, id string) error {
	err := a.Temporal.RecordActivityHeartbeat(ctx, token, asking{Approval: id})
	var cancelled *temporal.CanceledError
	switch {
	case err == nil, errors.Is(err, activity.ErrActivityPaused), errors.Is(err, activity.ErrActivityReset), errors.As(err, &cancelled):
		return nil // It is recorded all the same, and WatchCaller sees the cancellation.
	default:
		return fmt.Errorf("record heartbeat: %w", err)
	}
}

// outcome is that of a request which an earlier attempt has asked.
func (a *Activities) outcome(ctx context.Context, id string) (workflows.Result, error) {
	d, err := a.Temporal.DescribeWorkflowExecution(ctx, id, "")
	if err != nil {
		return workflows.Result{}, failure(fmt.Errorf("look at the approval of an earlier attempt: %w", err))
	}
	if record.Running(d.GetWorkflowExecutionInfo().GetStatus()) {
		return workflows.Result{}, activity.ErrResultPending
	}
	var res workflows.Result
	err = a.Temporal.GetWorkflow(ctx, id, "").Get(ctx, &res)
	var (
		app       *temporal.ApplicationError
		cancelled *temporal.CanceledError
		ended     *temporal.WorkflowExecutionError
	)
	switch {
	case err == nil:
		return res, nil
	case !errors.As(err, &ended):
		return workflows.Result{}, failure(fmt.Errorf("read the outcome of the approval: %w", err))
	case errors.As(err, &app):
		return workflows.Result{}, app
	case errors.As(err, &cancelled) && cancelled.HasDetails() && cancelled.Details(&res) == nil:
		return res, nil
	default:
		return workflows.Result{}, notAnswered("The workflow that asks people has ended without an outcome: ask anew.")
	}
}

func notAnswered(msg string) error {
	return temporal.NewNonRetryableApplicationError(msg, workflows.ErrTypeNotAnswered, nil)
}

// end is when Temporal gives up the activity with all its attempts; zero: never.
func end(info activity.Info) time.Time {
	switch {
	case info.RetryPolicy != nil && info.RetryPolicy.MaximumAttempts > 0 && info.Attempt >= info.RetryPolicy.MaximumAttempts:
		return info.Deadline
	case info.ScheduleToCloseTimeout > 0:
		return info.ScheduledTime.Add(info.ScheduleToCloseTimeout)
	default:
		return time.Time{}
	}
}

// until is r, expiring just before end if it would not by itself; a zero end changes nothing.
func (p Policy) until(r workflows.Request, now, end time.Time) workflows.Request {
	wait, err := r.Deadline.Value()
	if end.IsZero() || err != nil || r.Deadline != "" && !r.ExpiresAt.IsZero() { // It is refused anyway.
		return r
	}
	expires := r.ExpiresAt
	if r.Deadline != "" {
		expires = now.Add(wait)
	} else if expires.IsZero() {
		expires = now.Add(p.Deadline)
	}
	// So that who waits learns the outcome instead of running out of time.
	left := end.Sub(now)
	latest := end.Add(-max(min(left/10, expiresBefore), min(left/2, answerWithin)))
	if expires.After(latest) {
		r.Deadline, r.ExpiresAt = "", latest.UTC()
	}
	return r
}

// WatchCaller succeeds once the caller waits no more: its activity has ended or is being cancelled, or its workflow has
// ended. Until then each attempt fails, to be made again later, which costs neither a worker's slot nor history.
func (a *Activities) WatchCaller(ctx context.Context, c workflows.Caller) error {
	pending, err := a.pending(ctx, c)
	if err != nil {
		return failure(err)
	}
	if pending == nil || pending.GetState() == enumspb.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED {
		return nil
	}
	info := activity.GetInfo(ctx)
	next := min(max(time.Since(info.ScheduledTime)/10, watchEarly), watchLate)
	if timeout, err := c.HeartbeatTimeout.Value(); err == nil && timeout > 0 {
		next = min(next, max(timeout/3, watchEarly))
		err := a.Temporal.RecordActivityHeartbeatByID(ctx, info.Namespace, c.WorkflowID, c.RunID, c.ActivityID,
			asking{Approval: info.WorkflowExecution.ID})
		if err != nil && !record.NotFound(err) { // It may wait for another attempt, or be cancelled: the next look says so.
			a.Log.Warn("send a heartbeat for a caller", "workflow_id", c.WorkflowID, "activity_id", c.ActivityID, "err", err)
		}
	}
	return later(next, "the caller waits", nil)
}

// pending is the activity that waits for this approval; nil where it is not open. One of its ID that
// does not say yet what it waits for is an error: nobody knows which one it is.
func (a *Activities) pending(ctx context.Context, c workflows.Caller) (*workflowpb.PendingActivityInfo, error) {
	d, err := a.Temporal.DescribeWorkflowExecution(ctx, c.WorkflowID, c.RunID)
	if record.NotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at the caller: %w", err)
	}
	// A closed workflow still lists the activities that were pending when it closed.
	if !record.Running(d.GetWorkflowExecutionInfo().GetStatus()) {
		return nil, nil
	}
	i := slices.IndexFunc(d.GetPendingActivities(), func(p *workflowpb.PendingActivityInfo) bool { return p.GetActivityId() == c.ActivityID })
	if i < 0 {
		return nil, nil
	}
	p := d.GetPendingActivities()[i]
	var of asking
	if len(p.GetHeartbeatDetails().GetPayloads()) == 0 {
		return nil, again(ctx, "the caller's activity does not say yet which approval it waits for", nil)
	}
	if err := a.Records.Decode(p.GetHeartbeatDetails(), &of); err != nil {
		return nil, fmt.Errorf("read which approval the caller waits for: %w", err)
	}
	if of.Approval != activity.GetInfo(ctx).WorkflowExecution.ID {
		return nil, nil // The activity has ended, and the caller asks something else.
	}
	return p, nil
}

// again is the error of an attempt that is to be made again: the older the activity, the later.
func again(ctx context.Context, why string, cause error) error {
	return later(min(max(time.Since(activity.GetInfo(ctx).ScheduledTime)/10, answerAgain), watchLate), why, cause)
}

// AnswerCaller gives the caller's activity the outcome. It succeeds where that waits no more: there is nobody to tell.
func (a *Activities) AnswerCaller(ctx context.Context, in workflows.CallerAnswer) error {
	c := in.Caller
	pending, err := a.pending(ctx, c)
	if err != nil {
		return failure(err)
	}
	if pending == nil {
		a.Log.Info("a caller has not waited for the outcome", "workflow_id", c.WorkflowID, "run_id", c.RunID,
			"activity_id", c.ActivityID, "outcome", in.Result.Outcome)
		return nil
	}
	var result any
	_, byPerson := in.Result.Withdrawal()
	switch {
	case in.ErrType == workflows.ErrTypeRejected:
		err = workflows.RejectedError(in.Result.Rejection())
	case in.ErrType != "":
		err = temporal.NewApplicationErrorWithOptions(in.Message, in.ErrType, temporal.ApplicationErrorOptions{
			NonRetryable: true, Category: temporal.ApplicationErrorCategoryBenign,
		})
	case in.Result.Outcome == workflows.Withdrawn && !byPerson && pending.GetState() == enumspb.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED:
		err = temporal.NewCanceledError(in.Result)
	default:
		result = in.Result
	}
	err = a.Temporal.CompleteActivityByID(ctx, activity.GetInfo(ctx).Namespace, c.WorkflowID, c.RunID, c.ActivityID, result, err)
	if record.NotFound(err) { // It has ended, or waits for another attempt, and cannot fail until then.
		return again(ctx, "the caller's activity could not be answered", err)
	}
	return failure(err)
}
