package record

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"countersign/workflows"
)

const id = "AB2CDE-1-decision-1-00000000"

var (
	question = workflows.Request{Title: "Greet World", Channel: "C0GENERAL1", Requester: "U0ALICE001"}
	bob      = workflows.Person{ID: "U0BOB00001", Name: "bob", Team: "T0SIM0001"}
	posted   = workflows.Card{Channel: "C0GENERAL1", TS: "1.2"}
	clicked  = time.Date(2026, 11, 20, 13, 29, 59, 0, time.UTC)
	at       = time.Date(2026, 11, 20, 13, 30, 0, 0, time.UTC)
)

// fake is a Temporal with one workflow.
type fake struct {
	describe error
	status   enumspb.WorkflowExecutionStatus
	pending  []*workflowpb.PendingActivityInfo
	history  []*historypb.HistoryEvent
	read     error // at the end of the history
}

func (f *fake) DescribeWorkflowExecution(context.Context, string, string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	if f.status == 0 {
		f.status = enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING
	}
	return &workflowservice.DescribeWorkflowExecutionResponse{
		WorkflowExecutionInfo: &workflowpb.WorkflowExecutionInfo{Status: f.status}, PendingActivities: f.pending,
	}, f.describe
}

func (f *fake) GetWorkflowHistory(context.Context, string, string, bool, enumspb.HistoryEventFilterType) client.HistoryEventIterator {
	return &iterator{f.history, f.read}
}

type iterator struct {
	left []*historypb.HistoryEvent
	err  error
}

func (i *iterator) HasNext() bool { return len(i.left) > 0 || i.err != nil }

func (i *iterator) Next() (*historypb.HistoryEvent, error) {
	if len(i.left) == 0 {
		err := i.err
		i.err = nil
		return nil, err
	}
	first := i.left[0]
	i.left = i.left[1:]
	return first, nil
}

// history reads events as `temporal workflow show --output json` prints them.
func history(t *testing.T, events ...string) []*historypb.HistoryEvent {
	t.Helper()
	h, err := client.HistoryFromJSON(strings.NewReader(`{"events":[`+strings.Join(events, ",")+`]}`), client.HistoryJSONOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return h.Events
}

// event is one that happened at the time at; attributes are JSON.
func event(number int, kind, attributes string) string {
	var camel strings.Builder
	for i, word := range strings.Split(strings.ToLower(kind), "_") {
		if i > 0 {
			word = strings.ToUpper(word[:1]) + word[1:]
		}
		camel.WriteString(word)
	}
	return fmt.Sprintf(`{"eventId":"%d","eventTime":"2026-11-20T13:30:00Z","eventType":"EVENT_TYPE_%s","%sEventAttributes":%s}`,
		number, kind, camel.String(), attributes)
}

// payloads are the JSON form of Temporal's payloads.
func payloads(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	encoded, err := json.Marshal([][]byte{[]byte("json/plain"), b}) // Base64, as JSON has bytes.
	if err != nil {
		return err.Error()
	}
	var parts []string
	if err := json.Unmarshal(encoded, &parts); err != nil {
		return err.Error()
	}
	return fmt.Sprintf(`{"payloads":[{"metadata":{"encoding":%q},"data":%q}]}`, parts[0], parts[1])
}

func scheduled(activityID string, number int) string {
	return event(number, "ACTIVITY_TASK_SCHEDULED", fmt.Sprintf(`{"activityId":%q,"input":%s}`, activityID, payloads(question)))
}

func TestLookAtTheHistory(t *testing.T) {
	t.Parallel()
	sum := question.Digest()
	d := workflows.Decision{Outcome: workflows.Approved, By: bob, At: clicked, Reason: "fine", Digest: hex.EncodeToString(sum[:]), Card: posted}
	another := d
	another.Digest = strings.Repeat("0", 64)
	rejection := d
	rejection.Outcome = workflows.Rejected
	of := func(d workflows.Decision) workflows.Result {
		return workflows.Result{Outcome: d.Outcome, Decisions: []workflows.Decision{d}, Card: d.Card, EndedAt: d.At}
	}
	outside := func(o workflows.Outcome, reason string) workflows.Result {
		return of(workflows.Decision{Outcome: o, At: at, Reason: reason})
	}
	// The encodings are binary/encrypted, json/plain and binary/plain.
	const unreadable = `{"payloads":[{"metadata":{"encoding":"YmluYXJ5L2VuY3J5cHRlZA=="},"data":"AAEC"}]}`
	const malformed = `{"payloads":[{"metadata":{"encoding":"anNvbi9wbGFpbg=="},"data":"AAEC"}]}`
	const binary = `{"payloads":[{"metadata":{"encoding":"YmluYXJ5L3BsYWlu"},"data":"AAEC"}]}`
	const unread = "The request ended without an answer that can be read."
	none := func(o workflows.Outcome) workflows.Result { return workflows.Result{Outcome: o, EndedAt: at} }
	ending := func(activityID string, o workflows.Outcome) string {
		return event(6, "ACTIVITY_TASK_SCHEDULED", fmt.Sprintf(`{"activityId":"6","activityType":{"name":"EndDecision"},"input":%s}`,
			payloads(workflows.EndDecisionInput{ActivityID: activityID, Outcome: o})))
	}
	asked := scheduled(id, 5)
	completed := func(result string) string {
		return event(7, "ACTIVITY_TASK_COMPLETED", `{"scheduledEventId":"5","result":`+result+`}`)
	}
	failed := func(failure string) string {
		return event(7, "ACTIVITY_TASK_FAILED", `{"scheduledEventId":"5","failure":`+failure+`}`)
	}
	canceled := func(details string) string {
		return event(7, "ACTIVITY_TASK_CANCELED", `{"scheduledEventId":"5","details":`+details+`}`)
	}
	for name, tc := range map[string]struct {
		events []string
		state  State
		want   workflows.Result
		closed bool
	}{
		"approved":                {[]string{asked, completed(payloads(d))}, Ended, of(d), false},
		"rejected, by completion": {[]string{asked, completed(payloads(rejection))}, Ended, of(rejection), false},
		"rejected": {[]string{asked, failed(fmt.Sprintf(
			`{"message":"rejected by bob","applicationFailureInfo":{"type":"Rejected","nonRetryable":true,"details":%s}}`, payloads(rejection)))}, Ended, of(rejection), false},
		"completed by the CLI":               {[]string{asked, completed(payloads(true))}, Ended, outside(workflows.Approved, ""), false},
		"completed by the CLI with no":       {[]string{asked, completed(payloads(map[string]any{"approved": false}))}, Ended, outside(workflows.Rejected, ""), false},
		"completed with nothing":             {[]string{asked, completed(`{}`)}, Ended, outside(workflows.Approved, ""), false},
		"completed with what needs a codec":  {[]string{asked, completed(unreadable)}, Ended, workflows.Result{Outcome: workflows.Failed, EndedAt: at, Note: unread}, false},
		"completed with malformed JSON":      {[]string{asked, completed(malformed)}, Ended, workflows.Result{Outcome: workflows.Failed, EndedAt: at, Note: unread}, false},
		"completed with bytes":               {[]string{asked, completed(binary)}, Ended, outside(workflows.Approved, ""), false},
		"failed by the CLI":                  {[]string{asked, failed(`{"message":"not like this","applicationFailureInfo":{"nonRetryable":true}}`)}, Ended, outside(workflows.Rejected, "not like this"), false},
		"could not be asked":                 {[]string{asked, failed(`{"message":"That channel is archived.","applicationFailureInfo":{"type":"SlackRefused","nonRetryable":true}}`)}, Ended, workflows.Result{Outcome: workflows.Failed, EndedAt: at, Note: "That channel is archived."}, false},
		"timed out":                          {[]string{asked, event(7, "ACTIVITY_TASK_TIMED_OUT", `{"scheduledEventId":"5","failure":{"message":"timeout","timeoutFailureInfo":{"timeoutType":"TIMEOUT_TYPE_SCHEDULE_TO_CLOSE"}}}`)}, Ended, workflows.Result{Outcome: workflows.Expired, EndedAt: at}, false},
		"expired":                            {[]string{asked, canceled(payloads(workflows.Result{Outcome: workflows.Expired}))}, Ended, workflows.Result{Outcome: workflows.Expired, EndedAt: at}, false},
		"withdrawn":                          {[]string{asked, canceled(payloads(workflows.Result{Outcome: workflows.Withdrawn}))}, Ended, workflows.Result{Outcome: workflows.Withdrawn, EndedAt: at}, false},
		"cancelled without details":          {[]string{asked, canceled(`{}`)}, Ended, workflows.Result{Outcome: workflows.Withdrawn, EndedAt: at}, false},
		"cancelled before an attempt had it": {[]string{asked, canceled(payloads("ACTIVITY_ID_NOT_STARTED"))}, Ended, workflows.Result{Outcome: workflows.Withdrawn, EndedAt: at}, false},
		"completed about another request": {[]string{asked, completed(payloads(another))}, Ended, workflows.Result{
			Outcome: workflows.Failed, EndedAt: at, Note: "The decision was about another request.",
		}, false},
		"expired, before an attempt had it":      {[]string{asked, ending(id, workflows.Expired), canceled(payloads("ACTIVITY_ID_NOT_STARTED"))}, Ended, none(workflows.Expired), false},
		"expired, and the last attempt failed":   {[]string{asked, ending(id, workflows.Expired), failed(`{"message":"slack is away","applicationFailureInfo":{"type":"wrapError"}}`)}, Ended, none(workflows.Expired), false},
		"expired, with a result nobody can read": {[]string{asked, ending(id, workflows.Expired), completed(unreadable)}, Ended, none(workflows.Expired), false},
		"withdrawn, and the last attempt failed": {[]string{asked, ending(id, workflows.Withdrawn), failed(`{"message":"no","applicationFailureInfo":{"type":"SlackRefused"}}`)}, Ended, none(workflows.Withdrawn), false},
		"expired, and a decision was first":      {[]string{asked, ending(id, workflows.Expired), completed(payloads(d))}, Ended, of(d), false},
		"expired, and a rejection was first":     {[]string{asked, ending(id, workflows.Expired), failed(`{"message":"no","applicationFailureInfo":{"nonRetryable":true}}`)}, Ended, outside(workflows.Rejected, "no"), false},
		"another activity expired":               {[]string{asked, ending("other", workflows.Expired), canceled(`{}`)}, Ended, none(workflows.Withdrawn), false},
		"being expired":                          {[]string{asked, ending(id, workflows.Expired)}, Deciding, workflows.Result{}, false},
		"terminated while being expired":         {[]string{asked, ending(id, workflows.Expired), event(9, "WORKFLOW_EXECUTION_TERMINATED", `{}`)}, Ended, workflows.Result{Outcome: workflows.Failed, EndedAt: at, Note: "The workflow that asked was terminated."}, true},
		"decided just now":                       {[]string{asked}, Deciding, workflows.Result{}, false},
		"decided just now, other events later":   {[]string{asked, event(6, "WORKFLOW_TASK_STARTED", `{}`)}, Deciding, workflows.Result{}, false},
		"another activity was decided":           {[]string{scheduled("other", 4), asked, event(7, "ACTIVITY_TASK_COMPLETED", `{"scheduledEventId":"4"}`)}, Deciding, workflows.Result{}, false},
		"never asked":                            {[]string{scheduled("other", 5), completed(payloads(d))}, Unknown, workflows.Result{}, false},
		"never asked, workflow closed":           {[]string{scheduled("other", 5), event(8, "WORKFLOW_EXECUTION_TERMINATED", `{}`)}, Unknown, workflows.Result{}, false},
		"approved, workflow completed":           {[]string{asked, completed(payloads(d)), event(9, "WORKFLOW_EXECUTION_COMPLETED", `{}`)}, Ended, of(d), true},
		"rejected, workflow failed":              {[]string{asked, completed(payloads(rejection)), event(9, "WORKFLOW_EXECUTION_FAILED", `{}`)}, Ended, of(rejection), true},
		"workflow terminated":                    {[]string{asked, event(9, "WORKFLOW_EXECUTION_TERMINATED", `{}`)}, Ended, workflows.Result{Outcome: workflows.Failed, EndedAt: at, Note: "The workflow that asked was terminated."}, true},
		"workflow timed out":                     {[]string{asked, event(9, "WORKFLOW_EXECUTION_TIMED_OUT", `{}`)}, Ended, workflows.Result{Outcome: workflows.Failed, EndedAt: at, Note: "The workflow that asked ran out of time."}, true},
		"workflow cancelled":                     {[]string{asked, event(9, "WORKFLOW_EXECUTION_CANCELED", `{}`)}, Ended, workflows.Result{Outcome: workflows.Failed, EndedAt: at, Note: "The workflow that asked was cancelled."}, true},
		"workflow did not wait":                  {[]string{asked, event(9, "WORKFLOW_EXECUTION_COMPLETED", `{}`)}, Ended, workflows.Result{Outcome: workflows.Failed, EndedAt: at, Note: "The workflow that asked has ended without waiting for an answer."}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, err := Look(t.Context(), &fake{history: history(t, tc.events...)}, "greet-1", "run-1", id)
			if err != nil {
				t.Fatal(err)
			}
			if a.State != tc.state || a.WorkflowClosed != tc.closed {
				t.Errorf("state %d, workflow closed %v; want %d, %v", a.State, a.WorkflowClosed, tc.state, tc.closed)
			}
			if diff := cmp.Diff(tc.want, a.Result); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
			if a.State != Unknown {
				if diff := cmp.Diff(question, a.Request); diff != "" {
					t.Errorf("request (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// pendingInfo is a pending activity in that state, with an attempt since the time at.
func pendingInfo(t *testing.T, activityID string, s enumspb.PendingActivityState, heartbeat any) *workflowpb.PendingActivityInfo {
	t.Helper()
	p := &workflowpb.PendingActivityInfo{
		ActivityId: activityID, State: s, LastStartedTime: history(t, event(1, "WORKFLOW_TASK_STARTED", `{}`))[0].GetEventTime(),
	}
	if heartbeat != nil {
		var err error
		if p.HeartbeatDetails, err = converter.GetDefaultDataConverter().ToPayloads(heartbeat); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestLookAtWhatIsPending(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		state enumspb.PendingActivityState
		want  State
	}{
		"an attempt has it":       {enumspb.PENDING_ACTIVITY_STATE_STARTED, Open},
		"no attempt has it":       {enumspb.PENDING_ACTIVITY_STATE_SCHEDULED, Scheduled},
		"paused between attempts": {enumspb.PENDING_ACTIVITY_STATE_PAUSED, Scheduled},
		"paused with an attempt":  {enumspb.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED, Open},
		"it is being cancelled":   {enumspb.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED, Open},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{
				pending: []*workflowpb.PendingActivityInfo{
					pendingInfo(t, "other", enumspb.PENDING_ACTIVITY_STATE_STARTED, nil), pendingInfo(t, id, tc.state, posted),
				},
				read: errors.New("the history is read"),
			}
			a, err := Look(t.Context(), f, "greet-1", "run-1", id)
			if err != nil {
				t.Fatal(err)
			}
			var card workflows.Card
			if a.State != tc.want || !a.StartedAt.Equal(at) || !a.Heartbeat(&card) || card != posted {
				t.Errorf("state %d since %v with %+v; want %d, %v, %+v", a.State, a.StartedAt, card, tc.want, at, posted)
			}
		})
	}
	// A closed workflow still lists the activities that were pending when it closed.
	t.Run("its workflow was terminated", func(t *testing.T) {
		t.Parallel()
		f := &fake{
			status:  enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED,
			pending: []*workflowpb.PendingActivityInfo{pendingInfo(t, id, enumspb.PENDING_ACTIVITY_STATE_STARTED, nil)},
			history: history(t, scheduled(id, 5), event(9, "WORKFLOW_EXECUTION_TERMINATED", `{}`)),
		}
		if a, err := Look(t.Context(), f, "greet-1", "run-1", id); err != nil || a.State != Ended || !a.WorkflowClosed {
			t.Errorf("Look = %+v, %v; want it ended", a, err)
		}
	})
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		a    Activity
		want bool
	}{
		"none":            {Activity{}, false},
		"empty":           {Activity{heartbeat: &commonpb.Payloads{}}, false},
		"somebody else's": {pending(pendingInfo(t, id, enumspb.PENDING_ACTIVITY_STATE_STARTED, []int{1})), false},
		"a card":          {pending(pendingInfo(t, id, enumspb.PENDING_ACTIVITY_STATE_STARTED, posted)), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var card workflows.Card
			if ok := tc.a.Heartbeat(&card); ok != tc.want {
				t.Errorf("Heartbeat = %v, %+v; want %v", ok, card, tc.want)
			}
		})
	}
}

func TestLookFails(t *testing.T) {
	t.Parallel()
	away, gone := serviceerror.NewUnavailable("temporal is away"), serviceerror.NewNotFound("no such workflow")
	for name, tc := range map[string]struct {
		temporal *fake
		want     error // nil: none, and it is not known
	}{
		"cannot be described":            {&fake{describe: away}, away},
		"history cannot be read":         {&fake{read: away}, away},
		"history breaks off":             {&fake{history: history(t, scheduled(id, 5)), read: away}, away},
		"workflow is not known":          {&fake{describe: gone}, nil},
		"workflow was deleted meanwhile": {&fake{read: gone}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, err := Look(t.Context(), tc.temporal, "greet-1", "run-1", id)
			if !errors.Is(err, tc.want) {
				t.Fatalf("Look: %v, want %v", err, tc.want)
			}
			want := State(0)
			if tc.want == nil {
				want = Unknown
			}
			if a.State != want {
				t.Errorf("state %d, want %d", a.State, want)
			}
		})
	}
}

func TestRequestThatIsNone(t *testing.T) {
	t.Parallel()
	strange := event(5, "ACTIVITY_TASK_SCHEDULED", fmt.Sprintf(`{"activityId":%q,"input":%s}`, id, payloads([]int{1})))
	a, err := Look(t.Context(), &fake{history: history(t, strange, event(7, "ACTIVITY_TASK_COMPLETED", `{"scheduledEventId":"5"}`))}, "greet-1", "run-1", id)
	if err != nil || a.State != Ended || a.Request.Title != "" || a.Result.Outcome != workflows.Approved {
		t.Errorf("Look = %+v, %v; want an end of an empty request", a, err)
	}
}
