package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"countersign/internal/card"
	"countersign/workflows"
)

const (
	// watchEarly and watchLate are how often it is looked whether a caller still waits: the longer it has, the less often.
	watchEarly, watchLate = 5 * time.Second, time.Minute
	// answerAgain is when it is tried again to fail an activity that no attempt has.
	answerAgain = time.Second
	// summaryLength is how much of a title stands in a workflow's summary, in characters; Temporal takes 400 bytes.
	summaryLength = 100
)

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
	exec := info.WorkflowExecution
	// The ID of an activity is unique among those of its workflow that are open; the time tells the others apart.
	id := "approval-" + key("caller", info.Namespace, exec.ID, exec.RunID, info.ActivityID, info.ScheduledTime.UTC().Format(time.RFC3339Nano))
	_, err := a.Temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: id, TaskQueue: info.TaskQueue,
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		StaticSummary:                            card.Clean(r.Title, summaryLength),
		StaticDetails:                            "For the activity " + info.ActivityID + " of the workflow " + exec.ID,
	}, workflows.ApprovalForCaller, workflows.ForCaller{
		Request: a.Policy.until(r, time.Now(), end(info)),
		Caller:  workflows.Caller{WorkflowID: exec.ID, RunID: exec.RunID, ActivityID: info.ActivityID},
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

// outcome is that of a request which an earlier attempt has asked.
func (a *Activities) outcome(ctx context.Context, id string) (workflows.Result, error) {
	d, err := a.Temporal.DescribeWorkflowExecution(ctx, id, "")
	if err != nil {
		return workflows.Result{}, failure(fmt.Errorf("look at the approval of an earlier attempt: %w", err))
	}
	if d.GetWorkflowExecutionInfo().GetStatus() == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
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
	latest := end.Add(-min(end.Sub(now)/10, 5*time.Second))
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
	waited := time.Since(activity.GetInfo(ctx).ScheduledTime)
	return later(min(max(waited/10, watchEarly), watchLate), "the caller waits", nil)
}

// pending is the caller's activity; nil where it is not open.
func (a *Activities) pending(ctx context.Context, c workflows.Caller) (*workflowpb.PendingActivityInfo, error) {
	d, err := a.Temporal.DescribeWorkflowExecution(ctx, c.WorkflowID, c.RunID)
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at the caller: %w", err)
	}
	// A closed workflow still lists the activities that were pending when it closed.
	if d.GetWorkflowExecutionInfo().GetStatus() != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		return nil, nil
	}
	for _, p := range d.GetPendingActivities() {
		if p.GetActivityId() == c.ActivityID {
			return p, nil
		}
	}
	return nil, nil
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
	if isNotFound(err) { // It has ended, or waits for another attempt, and cannot fail until then.
		return later(answerAgain, "the caller's activity could not be answered", err)
	}
	return failure(err)
}
