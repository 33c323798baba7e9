// Package record reads from Temporal what has become of requests: of one by its open activity (record.go), of those that
// a workflow's memo or a list shows (list.go), and of all, for an audit (audit.go). Temporal's answer to a completion that
// came too late is "not found", which never says why; this package finds out.
package record

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
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
	ListWorkflow(ctx context.Context, r *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error)
}

// Reader reads requests. It may be used concurrently.
type Reader struct {
	Temporal Temporal
	// Namespace and TaskQueue are those of the deployment whose requests are listed.
	Namespace, TaskQueue string
	// Data and Failures decode what Temporal has; they have to be those of its clients. Nil means the SDK's defaults.
	// What they cannot decrypt is an error of all that reads it.
	Data     converter.DataConverter
	Failures converter.FailureConverter
}

func (r Reader) data() converter.DataConverter {
	if r.Data == nil {
		return converter.GetDefaultDataConverter()
	}
	return r.Data
}

func (r Reader) failure(f *failurepb.Failure) error {
	for c := f; c != nil; c = c.GetCause() { // The converter keeps its errors to itself.
		var raw converter.RawValue
		for _, p := range slices.Concat(c.GetApplicationFailureInfo().GetDetails().GetPayloads(), []*commonpb.Payload{c.GetEncodedAttributes()}) {
			if p != nil {
				_ = r.data().FromPayload(p, &raw)
			}
		}
	}
	if r.Failures == nil {
		return temporal.GetDefaultFailureConverter().FailureToError(f)
	}
	return r.Failures.FailureToError(f)
}

// Undecoded tells that a payload could not be decrypted, by the key of another process, say, or a codec server that does
// not answer: that is not the same as that there is nothing, or something else than was expected.
func Undecoded(err error) bool {
	var e interface {
		error
		Undecoded() bool
	}
	return errors.As(err, &e) && e.Undecoded()
}

// noting is a data converter that notes the first error that is [Undecoded].
type noting struct {
	converter.DataConverter
	first *error
}

func (n noting) note(err error) error {
	if *n.first == nil && Undecoded(err) {
		*n.first = err
	}
	return err
}

func (n noting) FromPayload(p *commonpb.Payload, v any) error {
	return n.note(n.DataConverter.FromPayload(p, v))
}

func (n noting) FromPayloads(all *commonpb.Payloads, v ...any) error {
	if *n.first != nil { // Nothing of it will be used.
		return *n.first
	}
	return n.note(n.DataConverter.FromPayloads(all, v...))
}

// noting is r, with first becoming the first error that is [Undecoded].
func (r Reader) noting() (_ Reader, first *error) {
	first = new(error)
	r.Data = noting{r.data(), first}
	return r, first
}

// Decode decodes what Temporal has.
func (r Reader) Decode(all *commonpb.Payloads, v ...any) error {
	return r.data().FromPayloads(all, v...)
}

// Running reports whether a workflow of that status is not closed: one that an operator has paused is not.
func Running(s enumspb.WorkflowExecutionStatus) bool {
	return s == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING || s == enumspb.WORKFLOW_EXECUTION_STATUS_PAUSED
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
	// Between: a decision was made, others are wanted, and the next round is about to open.
	Between
)

// Activity is what Temporal knows of an open activity, and of the request that it belongs to. Only State is always set.
type Activity struct {
	State State
	// ID is the activity that is open: the one that was asked for, or a later round of its request.
	ID string
	// StartedAt is when the attempt that has it started, by the server's clock; where it is Open.
	StartedAt time.Time
	// Round is the last round of the request, as its activity began it; where the history was read.
	Round workflows.Round
	// Result is how the request ended; where it is Ended.
	Result workflows.Result
	// WorkflowClosed says that nothing but the reader can close the card any more; where it is Ended.
	WorkflowClosed bool
	// Card is where the request's card was posted; where the history was read, and says so.
	Card workflows.Card
	// DecidedIn are the numbers of the rounds that the request's decisions were made in, one for each, 0 where the history
	// does not tell; where it was read.
	DecidedIn []int

	heartbeat *commonpb.Payloads
	data      converter.DataConverter
}

// Heartbeat decodes the activity's last heartbeat details into v. ok is false where there are none, or others.
func (a Activity) Heartbeat(v any) (ok bool) {
	return len(a.heartbeat.GetPayloads()) > 0 && a.data.FromPayloads(a.heartbeat, v) == nil
}

// Look reads what has become of an open activity, and of its request. It costs one call where the activity is pending,
// and reads the workflow's history where it is not. Errors are those of the calls; that Temporal does not know the
// workflow is not one.
func (r Reader) Look(ctx context.Context, workflowID, runID, activityID string) (Activity, error) {
	d, err := r.Temporal.DescribeWorkflowExecution(ctx, workflowID, runID)
	if NotFound(err) {
		return Activity{State: Unknown}, nil
	}
	if err != nil {
		return Activity{}, fmt.Errorf("describe workflow %s: %w", workflowID, err)
	}
	open := make(map[string]Activity)
	// A closed workflow still lists the activities that were pending when it closed.
	if Running(d.GetWorkflowExecutionInfo().GetStatus()) {
		for _, p := range d.GetPendingActivities() {
			open[p.GetActivityId()] = r.pending(p)
		}
	}
	if a, ok := open[activityID]; ok {
		var raw any
		if len(a.heartbeat.GetPayloads()) > 0 {
			if err := a.data.FromPayloads(a.heartbeat, &raw); Undecoded(err) {
				return Activity{}, fmt.Errorf("read the heartbeat of activity %s: %w", activityID, err)
			}
		}
		return a, nil
	}
	a, err := r.Read(ctx, workflowID, runID, activityID)
	if now, ok := open[a.ID]; ok && a.State == Deciding { // A later round of the request.
		now.Round = a.Round
		return now, err
	}
	return a, err
}

func (r Reader) pending(p *workflowpb.PendingActivityInfo) Activity {
	a := Activity{ID: p.GetActivityId(), State: Open, heartbeat: p.GetHeartbeatDetails(), data: r.data(), StartedAt: p.GetLastStartedTime().AsTime()}
	if p.GetState() == enumspb.PENDING_ACTIVITY_STATE_SCHEDULED || p.GetState() == enumspb.PENDING_ACTIVITY_STATE_PAUSED {
		a.State = Scheduled
	}
	return a
}

// Read reads from the workflow's history what has become of a request, of which activityID names one round. Where the
// request has not ended the state is Deciding or Between: the history alone does not say more.
func (r Reader) Read(ctx context.Context, workflowID, runID, activityID string) (Activity, error) {
	question, _, _, ok := workflows.SplitActivityID(activityID)
	if !ok {
		return Activity{State: Unknown}, nil
	}
	return r.read(ctx, workflowID, runID, question, activityID)
}

// ReadRequest is Read for a request by its name among those of the workflow.
func (r Reader) ReadRequest(ctx context.Context, workflowID, runID, question string) (Activity, error) {
	return r.read(ctx, workflowID, runID, question, "")
}

// read reads the end of a request from its workflow's history. Where activityID is given it has to be one of its rounds.
func (r Reader) read(ctx context.Context, workflowID, runID, question, activityID string) (Activity, error) {
	events := r.Temporal.GetWorkflowHistory(ctx, workflowID, runID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	a, err := r.readEvents(events, question, activityID)
	if NotFound(err) {
		return Activity{State: Unknown}, nil
	}
	if err != nil {
		return Activity{}, fmt.Errorf("read the history of workflow %s: %w", workflowID, err)
	}
	return a, nil
}

func (r Reader) readEvents(events client.HistoryEventIterator, question, activityID string) (Activity, error) {
	var (
		a         = Activity{State: Unknown}
		asked     = false // the workflow had this activity
		scheduled int64
		last      *historypb.HistoryEvent
		end       workflows.EndDecisionInput // why the workflow had the last round cancelled
		posting   = make(map[int64]bool)     // the steps that post the card, by their events
	)
	posted := func(p workflows.Posted) {
		if p.Card != (workflows.Card{}) {
			a.Card = p.Card
		}
	}
	of := func(activityID string) bool {
		q, _, _, ok := workflows.SplitActivityID(activityID)
		return ok && q == question
	}
	decided := func(in int) {
		for len(a.DecidedIn) < len(a.Round.Decisions) {
			a.DecidedIn = append(a.DecidedIn, in)
		}
	}
	// Ends of other activities are not decoded: they may be encrypted with a key that is nobody's here.
	finish := func(e *historypb.HistoryEvent, of int64, said func() (any, error)) {
		if scheduled == 0 || of != scheduled {
			return
		}
		value, err := said()
		res, answered := a.Round.Ended(value, err, end, e.GetEventTime().AsTime())
		if !answered {
			res.Decisions, res.Changes = a.Round.Decisions, a.Round.Changes
			a.State, a.Result = Ended, res
			return
		}
		number := a.Round.Number
		next, result, ended := a.Round.After(res)
		if !ended && end.Outcome != "" && end.Outcome != workflows.Changed {
			// A decision came first, one of several that are wanted: the workflow ends the request all the same.
			next, result, ended = next.After(end.Result(e.GetEventTime().AsTime()))
		}
		if a.Round, a.State = next, Between; ended {
			a.State, a.Result = Ended, result
		}
		decided(number)
	}
	r, unread := r.noting()
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			return Activity{}, err
		}
		last = e
		switch {
		case e.GetActivityTaskScheduledEventAttributes() != nil:
			s := e.GetActivityTaskScheduledEventAttributes()
			if of(s.GetActivityId()) {
				scheduled, a.State, a.ID, end = e.GetEventId(), Deciding, s.GetActivityId(), workflows.EndDecisionInput{}
				a.Round = input[workflows.Round](r, s.GetInput())
				decided(0)
				asked = asked || activityID == "" || a.ID == activityID
			}
			switch s.GetActivityType().GetName() {
			case workflows.PostCard:
				posting[e.GetEventId()] = of(input[workflows.CardInput](r, s.GetInput()).ActivityID)
			case workflows.EndDecision:
				if in := input[workflows.EndDecisionInput](r, s.GetInput()); in.ActivityID == a.ID {
					end = in
				}
			case workflows.CloseCard, workflows.TellRequester:
				// How it ended, in the workflow's own words.
				c := input[workflows.Closing](r, s.GetInput())
				if of(c.ActivityID) && c.Result.Outcome != "" {
					a.State, a.Result = Ended, c.Result
				}
			}
		case e.GetActivityTaskCompletedEventAttributes() != nil:
			c := e.GetActivityTaskCompletedEventAttributes()
			if posting[c.GetScheduledEventId()] {
				posted(input[workflows.Posted](r, c.GetResult()))
				break
			}
			finish(e, c.GetScheduledEventId(), func() (any, error) { return r.value(c.GetResult()) })
		case e.GetWorkflowExecutionSignaledEventAttributes() != nil:
			s := e.GetWorkflowExecutionSignaledEventAttributes()
			if s.GetSignalName() != workflows.SignalCardPosted {
				break
			}
			if p := input[workflows.CardPosted](r, s.GetInput()); of(p.ActivityID) {
				posted(p.Posted)
			}
		case e.GetActivityTaskFailedEventAttributes() != nil:
			f := e.GetActivityTaskFailedEventAttributes()
			finish(e, f.GetScheduledEventId(), func() (any, error) { return nil, r.failure(f.GetFailure()) })
		case e.GetActivityTaskTimedOutEventAttributes() != nil:
			t := e.GetActivityTaskTimedOutEventAttributes()
			finish(e, t.GetScheduledEventId(), func() (any, error) { return nil, r.failure(t.GetFailure()) })
		case e.GetActivityTaskCanceledEventAttributes() != nil:
			c := e.GetActivityTaskCanceledEventAttributes()
			finish(e, c.GetScheduledEventId(), func() (any, error) { return nil, r.canceled(c.GetDetails()) })
		}
	}
	if *unread != nil {
		return Activity{}, *unread
	}
	if !asked {
		return Activity{State: Unknown}, nil
	}
	note, closed := workflowEnd(last)
	if !closed {
		return a, nil
	}
	a.WorkflowClosed = true
	if a.State == Deciding || a.State == Between { // No decision will come into this history any more.
		a.State = Ended
		a.Result = workflows.Result{
			Outcome: workflows.Failed, Decisions: a.Round.Decisions, Changes: a.Round.Changes,
			EndedAt: last.GetEventTime().AsTime(), Note: note,
		}
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

// input decodes an activity's input, or what else is known by its type. One that is none leaves the zero value, and a card without its text.
func input[T any](r Reader, p *commonpb.Payloads) (v T) {
	_ = r.data().FromPayloads(p, &v)
	return v
}

// value decodes a result without a type; nil where there is none.
func (r Reader) value(result *commonpb.Payloads) (v any, err error) {
	if len(result.GetPayloads()) > 0 {
		err = r.data().FromPayloads(result, &v)
	}
	return v, err
}

// canceled is the error that a workflow sees for an ActivityTaskCanceled event with these details.
func (r Reader) canceled(details *commonpb.Payloads) error {
	var end workflows.Result
	if len(details.GetPayloads()) == 0 || r.data().FromPayloads(details, &end) != nil {
		return temporal.NewCanceledError()
	}
	return temporal.NewCanceledError(end)
}

// NotFound tells that Temporal does not know what was asked for.
func NotFound(err error) bool {
	var nf *serviceerror.NotFound
	return errors.As(err, &nf)
}
