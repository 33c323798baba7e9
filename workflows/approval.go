package workflows

import (
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Approval asks people, and returns how the request ended: approved, rejected, expired, or withdrawn by who asked. Run
// it as a child workflow, with the parent-close policy REQUEST_CANCEL, so that its card is closed whatever becomes of
// the caller. https://docs.temporal.io/parent-close-policy
//
// It fails with an application error of type [ErrTypeInvalidRequest] or [ErrTypeRefused] where it cannot ask, and of
// type [ErrTypeRejected], with the [Decision] as its details, where it was rejected and the request says
// fail_on_reject. It ends cancelled where its caller cancels it before the request has ended.
func Approval(ctx workflow.Context, r Request) (Result, error) {
	res, err := NewRequests(ctx).Ask(ctx, r)
	return approved(r, res, err)
}

// approved is what [Approval] returns for what Ask did.
func approved(r Request, res Result, err error) (Result, error) {
	if err != nil {
		return Result{}, err
	}
	switch _, byPerson := res.Withdrawal(); {
	case res.Outcome == Withdrawn && !byPerson:
		return Result{}, temporal.NewCanceledError(res)
	case res.Outcome == Rejected && r.FailOnReject:
		return Result{}, RejectedError(res.Rejection())
	}
	return res, nil
}
