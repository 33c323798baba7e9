package workflows

import (
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Names of the activities that ask for a caller; package worker registers them.
const (
	// RequestApproval is for the workflows of others: [Request] → [Result]. It hands the request to [ApprovalForCaller],
	// and stays open until that has an outcome.
	RequestApproval = "RequestApproval"
	WatchCaller     = "WatchCaller"  // Caller: succeeds once the caller's activity waits no more
	AnswerCaller    = "AnswerCaller" // CallerAnswer: completes, fails or cancels the caller's activity
)

// ErrTypeNotAnswered is the type of the error for a caller whose request ended without an outcome: an operator
// terminated its workflow, say.
const ErrTypeNotAnswered = "NotAnswered"

// Caller is an activity of type [RequestApproval] that waits for an outcome.
type Caller struct {
	WorkflowID string `json:"workflow_id"`
	RunID      string `json:"run_id"`
	ActivityID string `json:"activity_id"`
	// HeartbeatTimeout is the activity's. Where there is one, WatchCaller sends the heartbeats.
	HeartbeatTimeout Duration `json:"heartbeat_timeout,omitempty"`
}

// ForCaller is a request that a caller's activity waits for.
type ForCaller struct {
	Request Request `json:"request"`
	Caller  Caller  `json:"caller"`
	// Malformed is the request's, which is not in its JSON.
	Malformed string `json:"malformed,omitempty"`
}

// CallerAnswer is what a caller is told. Without an ErrType it is the Result, or, where that is withdrawn by nobody, that the
// activity is cancelled.
type CallerAnswer struct {
	Caller Caller `json:"caller"`
	Result Result `json:"result"`
	// ErrType and Message are of the error that the caller gets.
	ErrType string `json:"error_type,omitempty"`
	Message string `json:"message,omitempty"`
}

// ApprovalForCaller is [Approval] for the activity [RequestApproval] of another workflow: it gives that activity the
// outcome, and withdraws the request where the activity ends, or its workflow does, without waiting for that.
func ApprovalForCaller(ctx workflow.Context, in ForCaller) (Result, error) {
	in.Request.Malformed = in.Malformed
	q := NewRequests(ctx)
	asking, withdraw := workflow.WithCancel(ctx)
	workflow.Go(ctx, func(ctx workflow.Context) {
		watching := workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
			StartToCloseTimeout: stepWithin,
			RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: time.Minute},
		})
		if workflow.ExecuteActivity(watching, WatchCaller, in.Caller).Get(ctx, nil) == nil {
			withdraw()
		}
	})
	res, err := q.Ask(asking, in.Request)
	result, failure := approved(in.Request, res, err)

	answer := CallerAnswer{Caller: in.Caller, Result: res}
	var app *temporal.ApplicationError
	switch {
	case errors.As(failure, &app):
		answer.ErrType, answer.Message = app.Type(), app.Message()
	case failure != nil && !temporal.IsCanceledError(failure):
		answer.ErrType, answer.Message = ErrTypeNotAnswered, failure.Error()
	}
	after, _ := workflow.NewDisconnectedContext(ctx)
	if err := workflow.ExecuteActivity(quick(after, 0), AnswerCaller, answer).Get(after, nil); err != nil {
		workflow.GetLogger(ctx).Error("give a caller the outcome", "workflow_id", in.Caller.WorkflowID, "err", err)
	}
	return result, failure
}
