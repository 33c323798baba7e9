// Package record reads from Temporal what has become of an open activity. Temporal's answer to a completion that came
// too late is "not found", which never says why; this package finds out.
package record

import (
	"context"
	"errors"
	"fmt"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"countersign/workflows"
)

// Temporal is what is read from; a client.Client is one.
type Temporal interface {
	DescribeWorkflowExecution(ctx context.Context, workflowID, runID string) (*workflowservice.DescribeWorkflowExecutionResponse, error)
	GetWorkflowHistory(ctx context.Context, workflowID, runID string, isLongPoll bool, filter enumspb.HistoryEventFilterType) client.HistoryEventIterator
}

// State is where an open activity stands. The zero value says nothing: nobody has looked.
type State int

// The states.
const (
	// Unknown: Temporal does not know the workflow (any more), or the workflow never had this activity.
	Unknown State = iota + 1
	// Scheduled: no attempt has it; it waits for its first one, or for the next after a failure.
	Scheduled
	// Open: an attempt has it, and it can be completed and failed.
	Open
	// Deciding: it was completed just now. The server holds the event back while a workflow task runs.
	Deciding
	// Ended: Result says how.
	Ended
)

// Activity is what Temporal knows of an activity. Only State is always set.
type Activity struct {
	State State
	// StartedAt is when the attempt that has it started, by the server's clock; where it is Open.
	StartedAt time.Time

	// Request is what was asked, and Result how it ended; where it is Ended.
	Request workflows.Request
	Result  workflows.Result
	// WorkflowClosed says that nothing but the reader can close the card any more; where it is Ended.
	WorkflowClosed bool

	heartbeat *commonpb.Payloads
}

// Heartbeat decodes the activity's last heartbeat details into v. ok is false where there are none, or others.
func (a Activity) Heartbeat(v any) (ok bool) {
	return len(a.heartbeat.GetPayloads()) > 0 && converter.GetDefaultDataConverter().FromPayloads(a.heartbeat, v) == nil
}

// Look reads what has become of an activity. It costs one call where the activity is pending, and reads the
// workflow's history where it is not. Errors are those of the calls; that Temporal does not know the workflow is
// not one.
func Look(ctx context.Context, t Temporal, workflowID, runID, activityID string) (Activity, error) {
	d, err := t.DescribeWorkflowExecution(ctx, workflowID, runID)
	if notFound(err) {
		return Activity{State: Unknown}, nil
	}
	if err != nil {
		return Activity{}, fmt.Errorf("describe workflow %s: %w", workflowID, err)
	}
	// A closed workflow still lists the activities that were pending when it closed.
	if d.GetWorkflowExecutionInfo().GetStatus() == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		for _, p := range d.GetPendingActivities() {
			if p.GetActivityId() == activityID {
				return pending(p), nil
			}
		}
	}
	a, err := ended(t.GetWorkflowHistory(ctx, workflowID, runID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT), activityID)
	if notFound(err) {
		return Activity{State: Unknown}, nil
	}
	if err != nil {
		return Activity{}, fmt.Errorf("read the history of workflow %s: %w", workflowID, err)
	}
	return a, nil
}

func pending(p *workflowpb.PendingActivityInfo) Activity {
	a := Activity{State: Open, heartbeat: p.GetHeartbeatDetails(), StartedAt: p.GetLastStartedTime().AsTime()}
	if p.GetState() == enumspb.PENDING_ACTIVITY_STATE_SCHEDULED || p.GetState() == enumspb.PENDING_ACTIVITY_STATE_PAUSED {
		a.State = Scheduled
	}
	return a
}

// ended reads the activity's end from its workflow's history.
func ended(events client.HistoryEventIterator, activityID string) (Activity, error) {
	var (
		a         = Activity{State: Unknown}
		scheduled int64
		last      *historypb.HistoryEvent
		answered  bool
		cause     workflows.Outcome // why the workflow had it cancelled
	)
	finish := func(e *historypb.HistoryEvent, of int64, value any, err error) {
		if scheduled == 0 || of != scheduled {
			return
		}
		a.State = Ended
		a.Result, answered = workflows.ResultOf(a.Request, value, err, e.GetEventTime().AsTime())
	}
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			return Activity{}, err
		}
		last = e
		switch {
		case e.GetActivityTaskScheduledEventAttributes() != nil:
			s := e.GetActivityTaskScheduledEventAttributes()
			if s.GetActivityId() == activityID {
				scheduled, a.State = e.GetEventId(), Deciding
				a.Request = request(s.GetInput())
			}
			if in, ok := endDecision(s); ok && in.ActivityID == activityID {
				cause = in.Outcome
			}
		case e.GetActivityTaskCompletedEventAttributes() != nil:
			c := e.GetActivityTaskCompletedEventAttributes()
			v, err := value(c.GetResult())
			finish(e, c.GetScheduledEventId(), v, err)
		case e.GetActivityTaskFailedEventAttributes() != nil:
			f := e.GetActivityTaskFailedEventAttributes()
			finish(e, f.GetScheduledEventId(), nil, temporal.GetDefaultFailureConverter().FailureToError(f.GetFailure()))
		case e.GetActivityTaskTimedOutEventAttributes() != nil:
			t := e.GetActivityTaskTimedOutEventAttributes()
			finish(e, t.GetScheduledEventId(), nil, temporal.GetDefaultFailureConverter().FailureToError(t.GetFailure()))
		case e.GetActivityTaskCanceledEventAttributes() != nil:
			c := e.GetActivityTaskCanceledEventAttributes()
			finish(e, c.GetScheduledEventId(), nil, canceled(c.GetDetails()))
		}
	}
	if a.State == Ended && cause != "" && (!answered || a.Result.Outcome == workflows.Withdrawn) {
		// The server does not know why it was cancelled where no attempt had the activity, or the last one failed.
		a.Result = workflows.Result{Outcome: cause, EndedAt: a.Result.EndedAt}
	}
	note, closed := workflowEnd(last)
	if a.State == Unknown || !closed {
		return a, nil
	}
	a.WorkflowClosed = true
	if a.State == Deciding { // No decision will come into this history any more.
		a.State = Ended
		a.Result = workflows.Result{Outcome: workflows.Failed, EndedAt: last.GetEventTime().AsTime(), Note: note}
	}
	return a, nil
}

// workflowEnd says, for a person, how a workflow closed whose last event is e.
func workflowEnd(e *historypb.HistoryEvent) (note string, closed bool) {
	switch e.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
		return "The workflow that asked was terminated.", true
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
		return "The workflow that asked ran out of time.", true
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
		return "The workflow that asked was cancelled.", true
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
		enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
		enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
		return "The workflow that asked has ended without waiting for an answer.", true
	default:
		return "", false
	}
}

// endDecision reads the input of an EndDecision activity.
func endDecision(s *historypb.ActivityTaskScheduledEventAttributes) (in workflows.EndDecisionInput, ok bool) {
	ok = s.GetActivityType().GetName() == workflows.EndDecision &&
		converter.GetDefaultDataConverter().FromPayloads(s.GetInput(), &in) == nil
	return in, ok
}

// request reads the request from an activity's input. Each activity that stays open has it as its first argument.
func request(input *commonpb.Payloads) (r workflows.Request) {
	// An input that is none leaves an empty request, and a card without its text.
	_ = converter.GetDefaultDataConverter().FromPayloads(input, &r)
	return r
}

// value decodes a result without a type; nil where there is none.
func value(result *commonpb.Payloads) (v any, err error) {
	if len(result.GetPayloads()) > 0 {
		err = converter.GetDefaultDataConverter().FromPayloads(result, &v)
	}
	return v, err
}

// canceled is the error that a workflow sees for an ActivityTaskCanceled event with these details.
func canceled(details *commonpb.Payloads) error {
	var end workflows.Result
	if len(details.GetPayloads()) == 0 || converter.GetDefaultDataConverter().FromPayloads(details, &end) != nil {
		return temporal.NewCanceledError()
	}
	return temporal.NewCanceledError(end)
}

// notFound tells that Temporal does not know what was asked for.
func notFound(err error) bool {
	var nf *serviceerror.NotFound
	return errors.As(err, &nf)
}
