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

func (f *fake) ListWorkflow(context.Context, *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	return nil, errors.ErrUnsupported
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
		return workflows.Result{Outcome: d.Outcome, Decisions: []workflows.Decision{d}, Card: d.Card, EndedAt: d.At, Digest: d.Digest}
	}
	none := func(o workflows.Outcome) workflows.Result {
		return workflows.Result{Outcome: o, EndedAt: at, Digest: d.Digest}
	}
	outside := func(o workflows.Outcome, reason string) workflows.Result {
		res := none(o)
		res.Decisions = []workflows.Decision{{Outcome: o, At: at, Via: workflows.Outside, Reason: reason}}
		return res
	}
	// The encodings are binary/encrypted, json/plain and binary/plain.
	const unreadable = `{"payloads":[{"metadata":{"encoding":"YmluYXJ5L2VuY3J5cHRlZA=="},"data":"AAEC"}]}`
	const malformed = `{"payloads":[{"metadata":{"encoding":"anNvbi9wbGFpbg=="},"data":"AAEC"}]}`
	const binary = `{"payloads":[{"metadata":{"encoding":"YmluYXJ5L3BsYWlu"},"data":"AAEC"}]}`
	const unread = "The request ended without an answer that can be read."
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
		"timed out":                          {[]string{asked, event(7, "ACTIVITY_TASK_TIMED_OUT", `{"scheduledEventId":"5","failure":{"message":"timeout","timeoutFailureInfo":{"timeoutType":"TIMEOUT_TYPE_SCHEDULE_TO_CLOSE"}}}`)}, Ended, none(workflows.Expired), false},
		"expired":                            {[]string{asked, canceled(payloads(workflows.Result{Outcome: workflows.Expired}))}, Ended, none(workflows.Expired), false},
		"withdrawn":                          {[]string{asked, canceled(payloads(workflows.Result{Outcome: workflows.Withdrawn}))}, Ended, none(workflows.Withdrawn), false},
		"cancelled without details":          {[]string{asked, canceled(`{}`)}, Ended, none(workflows.Withdrawn), false},
		"cancelled before an attempt had it": {[]string{asked, canceled(payloads("ACTIVITY_ID_NOT_STARTED"))}, Ended, none(workflows.Withdrawn), false},
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
			a, err := Reader{Temporal: &fake{history: history(t, tc.events...)}}.Look(t.Context(), "greet-1", "run-1", id)
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
				if diff := cmp.Diff(question, a.Round.Request); diff != "" {
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
			a, err := Reader{Temporal: f}.Look(t.Context(), "greet-1", "run-1", id)
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
		if a, err := (Reader{Temporal: f}).Look(t.Context(), "greet-1", "run-1", id); err != nil || a.State != Ended || !a.WorkflowClosed {
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
		"somebody else's": {Reader{}.pending(pendingInfo(t, id, enumspb.PENDING_ACTIVITY_STATE_STARTED, []int{1})), false},
		"a card":          {Reader{}.pending(pendingInfo(t, id, enumspb.PENDING_ACTIVITY_STATE_STARTED, posted)), true},
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
			a, err := Reader{Temporal: tc.temporal}.Look(t.Context(), "greet-1", "run-1", id)
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
	a, err := Reader{Temporal: &fake{history: history(t, strange, event(7, "ACTIVITY_TASK_COMPLETED", `{"scheduledEventId":"5"}`))}}.Look(t.Context(), "greet-1", "run-1", id)
	if err != nil || a.State != Ended || a.Round.Title != "" || a.Result.Outcome != workflows.Approved {
		t.Errorf("Look = %+v, %v; want an end of an empty request", a, err)
	}
}

// asked is the event that opens a round.
func asked(number int, activityID string, r workflows.Round) string {
	return event(number, "ACTIVITY_TASK_SCHEDULED", fmt.Sprintf(`{"activityId":%q,"activityType":{"name":"AwaitDecision"},"input":%s}`, activityID, payloads(r)))
}

// step is the event that schedules another activity of the workflow.
func step(number int, kind string, input any) string {
	return event(number, "ACTIVITY_TASK_SCHEDULED", fmt.Sprintf(`{"activityId":"%d","activityType":{"name":%q},"input":%s}`, number, kind, payloads(input)))
}

func completed(number, of int, result any) string {
	return event(number, "ACTIVITY_TASK_COMPLETED", fmt.Sprintf(`{"scheduledEventId":"%d","result":%s}`, of, payloads(result)))
}

func cancelled(number, of int, details any) string {
	return event(number, "ACTIVITY_TASK_CANCELED", fmt.Sprintf(`{"scheduledEventId":"%d","details":%s}`, of, payloads(details)))
}

// Round by round: a request that needs two approvals.
func TestRounds(t *testing.T) {
	t.Parallel()
	const (
		first, second = "AB2CDE-1-decision-1-0000aaaa", "AB2CDE-1-decision-2-0000aaaa"
		escalated     = "AB2CDE-1-decision-2-0000bbbb"
		other         = "AB2CDE-2-decision-1-0000aaaa" // of another question
		terminated    = "The workflow that asked was terminated."
	)
	r := question
	r.Required = 2
	r.Approvers.Groups = []string{"S0SRE00001"}
	sum := r.Digest()
	digest := hex.EncodeToString(sum[:])
	carol := workflows.Person{ID: "U0CAROL001", Name: "carol", Team: "T0SIM0001"}
	says := func(who workflows.Person, o workflows.Outcome, after time.Duration) workflows.Decision {
		return workflows.Decision{Outcome: o, By: who, At: clicked.Add(after), Via: workflows.ViaCard, Digest: digest, Card: posted}
	}
	bobs, carols := says(bob, workflows.Approved, 0), says(carol, workflows.Approved, time.Second)
	no := says(carol, workflows.Rejected, time.Second)
	round := func(n int, ds ...workflows.Decision) workflows.Round {
		return workflows.Round{Request: r, Number: n, Decisions: ds}
	}
	more := workflows.Change{Kind: workflows.Escalate, At: clicked, Approvers: workflows.Approvers{Users: []string{"U0ERIN0001"}}}
	extended := workflows.Change{Kind: workflows.Extend, By: bob, At: clicked, Until: at.Add(time.Hour)}
	withdrawal := workflows.Change{Kind: workflows.Withdraw, By: workflows.Person{ID: "U0ALICE001"}, At: at}
	withMore := round(2, bobs)
	withMore.Changes = []workflows.Change{more}
	until := func(o workflows.OnExpiry) workflows.Round { r := round(1); r.OnExpiry = o; return r }
	digestOf := func(r workflows.Round) string { sum := r.Digest(); return hex.EncodeToString(sum[:]) }

	result := func(o workflows.Outcome, ds ...workflows.Decision) workflows.Result {
		return workflows.Result{Outcome: o, Decisions: ds, EndedAt: at, Digest: digest}
	}
	byPerson := func(o workflows.Outcome, ds ...workflows.Decision) workflows.Result {
		res := result(o, ds...)
		res.Card, res.EndedAt = posted, ds[len(ds)-1].At
		return res
	}
	changed := func(res workflows.Result, cs ...workflows.Change) workflows.Result { res.Changes = cs; return res }
	own := byPerson(workflows.Approved, bobs, carols)
	own.Permalink = "https://sim.slack.com/archives/C0GENERAL1/p12"
	ending := func(o workflows.Outcome, activityID string) workflows.EndDecisionInput {
		return workflows.EndDecisionInput{ActivityID: activityID, Outcome: o}
	}
	withdrawing := func(activityID string) workflows.EndDecisionInput {
		in := ending(workflows.Withdrawn, activityID)
		in.Changes = []workflows.Change{withdrawal}
		return in
	}
	byDeadline := func(o workflows.Outcome, on workflows.OnExpiry) workflows.Result {
		return workflows.Result{Outcome: o, ByDeadline: true, EndedAt: at, Digest: digestOf(until(on))}
	}
	stopped := func(number int) string { return event(number, "WORKFLOW_EXECUTION_TERMINATED", `{}`) }
	// The first approval, and the round after it.
	begun := []string{asked(5, first, round(1)), completed(6, 5, bobs), asked(7, second, round(2, bobs))}
	then := func(events ...string) []string { return append(begun[:len(begun):len(begun)], events...) }

	for name, tc := range map[string]struct {
		events []string
		of     string // the activity that is asked for; empty: the first
		state  State
		id     string
		round  int
		want   workflows.Result
		closed bool
	}{
		"one of two":                  {[]string{asked(5, first, round(1)), completed(6, 5, bobs)}, "", Between, first, 2, workflows.Result{}, false},
		"one of two, and the next":    {begun, "", Deciding, second, 2, workflows.Result{}, false},
		"one of two, by the next":     {begun, second, Deciding, second, 2, workflows.Result{}, false},
		"one of two, twice":           {then(completed(8, 7, bobs)), "", Between, second, 3, workflows.Result{}, false},
		"both":                        {then(completed(8, 7, carols)), "", Ended, second, 3, byPerson(workflows.Approved, bobs, carols), false},
		"both, by the last":           {then(completed(8, 7, carols)), second, Ended, second, 3, byPerson(workflows.Approved, bobs, carols), false},
		"one, and a rejection":        {then(completed(8, 7, no)), "", Ended, second, 3, byPerson(workflows.Rejected, bobs, no), false},
		"a round that never was":      {begun, "AB2CDE-1-decision-3-0000aaaa", Unknown, "", 0, workflows.Result{}, false},
		"a round with another policy": {begun, "AB2CDE-1-decision-1-0000cccc", Unknown, "", 0, workflows.Result{}, false},
		"another question meanwhile":  {then(asked(8, other, round(1)), completed(9, 8, carols)), "", Deciding, second, 2, workflows.Result{}, false},
		"another question is asked":   {then(asked(8, other, round(1))), other, Deciding, other, 1, workflows.Result{}, false},

		"expired with one":                 {then(step(8, "EndDecision", ending(workflows.Expired, second)), cancelled(9, 7, workflows.Result{Outcome: workflows.Expired})), "", Ended, second, 3, result(workflows.Expired, bobs), false},
		"expired with one, not started":    {then(step(8, "EndDecision", ending(workflows.Expired, second)), cancelled(9, 7, "ACTIVITY_ID_NOT_STARTED")), "", Ended, second, 3, result(workflows.Expired, bobs), false},
		"withdrawn with one":               {then(step(8, "EndDecision", withdrawing(second)), cancelled(9, 7, workflows.Result{Outcome: workflows.Withdrawn, Changes: []workflows.Change{withdrawal}})), "", Ended, second, 3, changed(result(workflows.Withdrawn, bobs), withdrawal), false},
		"withdrawn with one, not started":  {then(step(8, "EndDecision", withdrawing(second)), cancelled(9, 7, "ACTIVITY_ID_NOT_STARTED")), "", Ended, second, 3, changed(result(workflows.Withdrawn, bobs), withdrawal), false},
		"expired, and the last came first": {then(step(8, "EndDecision", ending(workflows.Expired, second)), completed(9, 7, carols)), "", Ended, second, 3, byPerson(workflows.Approved, bobs, carols), false},
		"expired, and one of two came first": {
			[]string{asked(5, first, round(1)), step(6, "EndDecision", ending(workflows.Expired, first)), completed(7, 5, bobs)},
			"", Ended, first, 3,
			result(workflows.Expired, bobs), false,
		},
		"withdrawn, and one of two came first": {
			[]string{asked(5, first, round(1)), step(6, "EndDecision", withdrawing(first)), completed(7, 5, bobs)},
			"", Ended, first, 3,
			changed(result(workflows.Withdrawn, bobs), withdrawal), false,
		},
		"no answer that can be read": {
			then(completed(8, 7, map[string]any{"outcome": "approved", "digest": strings.Repeat("0", 64)})), "", Ended, second, 2,
			workflows.Result{Outcome: workflows.Failed, Decisions: []workflows.Decision{bobs}, EndedAt: at, Note: "The decision was about another request."},
			false,
		},

		"changed":                           {[]string{asked(5, first, round(1, bobs)), step(6, "EndDecision", ending(workflows.Changed, first)), cancelled(7, 5, workflows.Result{Outcome: workflows.Changed})}, "", Between, first, 2, workflows.Result{}, false},
		"changed, not started":              {[]string{asked(5, first, round(1, bobs)), step(6, "EndDecision", ending(workflows.Changed, first)), cancelled(7, 5, "ACTIVITY_ID_NOT_STARTED")}, "", Between, first, 2, workflows.Result{}, false},
		"changed, and the next":             {[]string{asked(5, first, round(1, bobs)), cancelled(6, 5, workflows.Result{Outcome: workflows.Changed}), asked(7, escalated, withMore)}, "", Deciding, escalated, 2, workflows.Result{}, false},
		"changed, and one of two was first": {[]string{asked(5, first, round(1)), step(6, "EndDecision", ending(workflows.Changed, first)), completed(7, 5, bobs)}, "", Between, first, 2, workflows.Result{}, false},
		"changed, and then approved": {
			[]string{asked(5, first, round(1, bobs)), cancelled(6, 5, workflows.Result{Outcome: workflows.Changed}), asked(7, escalated, withMore), completed(8, 7, carols)},
			"", Ended, escalated, 3,
			changed(byPerson(workflows.Approved, bobs, carols), more), false,
		},

		"changed, and then cancelled": {[]string{
			asked(5, first, round(1, bobs)), step(6, "EndDecision", ending(workflows.Changed, first)), cancelled(7, 5, workflows.Result{Outcome: workflows.Changed}),
			asked(8, escalated, withMore), cancelled(9, 8, "ACTIVITY_ID_NOT_STARTED"),
		}, "", Ended, escalated, 3, changed(result(workflows.Withdrawn, bobs), more), false},

		"approved by its deadline": {[]string{asked(5, first, until(workflows.ApproveOnExpiry)), cancelled(6, 5, workflows.Result{Outcome: workflows.Expired})}, "", Ended, first, 2, byDeadline(workflows.Approved, workflows.ApproveOnExpiry), false},
		"rejected by its deadline": {[]string{asked(5, first, until(workflows.RejectOnExpiry)), cancelled(6, 5, workflows.Result{Outcome: workflows.Expired})}, "", Ended, first, 2, byDeadline(workflows.Rejected, workflows.RejectOnExpiry), false},
		"withdrawn before it would be approved": {
			[]string{asked(5, first, until(workflows.ApproveOnExpiry)), cancelled(6, 5, workflows.Result{Outcome: workflows.Withdrawn})},
			"", Ended, first, 2,
			workflows.Result{Outcome: workflows.Withdrawn, EndedAt: at, Digest: digestOf(until(workflows.ApproveOnExpiry))},
			false,
		},

		"closed by its workflow":     {then(completed(8, 7, carols), step(9, "CloseCard", workflows.Closing{ActivityID: second, Result: own})), "", Ended, second, 3, own, false},
		"told by its workflow":       {then(completed(8, 7, carols), step(9, "TellRequester", workflows.Closing{ActivityID: second, Result: own})), "", Ended, second, 3, own, false},
		"its workflow knows more":    {then(step(8, "CloseCard", workflows.Closing{ActivityID: second, Result: changed(result(workflows.Expired, bobs), extended)})), "", Ended, second, 2, changed(result(workflows.Expired, bobs), extended), false},
		"closing of another":         {then(step(8, "CloseCard", workflows.Closing{ActivityID: other, Result: own})), "", Deciding, second, 2, workflows.Result{}, false},
		"closing without an end":     {then(step(8, "CloseCard", workflows.Closing{ActivityID: second})), "", Deciding, second, 2, workflows.Result{}, false},
		"closing that is none":       {then(step(8, "CloseCard", []int{1})), "", Deciding, second, 2, workflows.Result{}, false},
		"an end that is none":        {then(step(8, "EndDecision", []int{1}), completed(9, 7, carols)), "", Ended, second, 3, byPerson(workflows.Approved, bobs, carols), false},
		"an end of the round before": {then(step(8, "EndDecision", ending(workflows.Expired, first)), cancelled(9, 7, "ACTIVITY_ID_NOT_STARTED")), "", Ended, second, 3, result(workflows.Withdrawn, bobs), false},

		"terminated between rounds": {
			[]string{asked(5, first, round(1)), completed(6, 5, bobs), stopped(7)},
			"", Ended, first, 2,
			workflows.Result{Outcome: workflows.Failed, Decisions: []workflows.Decision{bobs}, EndedAt: at, Note: terminated},
			true,
		},
		"terminated in the middle": {
			then(stopped(8)), "", Ended, second, 2,
			workflows.Result{Outcome: workflows.Failed, Decisions: []workflows.Decision{bobs}, EndedAt: at, Note: terminated},
			true,
		},
		"terminated after a change": {
			[]string{asked(5, first, round(1, bobs)), cancelled(6, 5, workflows.Result{Outcome: workflows.Changed}), asked(7, escalated, withMore), stopped(8)},
			"", Ended, escalated, 2,
			workflows.Result{Outcome: workflows.Failed, Decisions: []workflows.Decision{bobs}, Changes: []workflows.Change{more}, EndedAt: at, Note: terminated},
			true,
		},
		"terminated after its end":    {then(completed(8, 7, carols), stopped(9)), "", Ended, second, 3, byPerson(workflows.Approved, bobs, carols), true},
		"terminated, and never asked": {then(stopped(8)), "AB2CDE-1-decision-3-0000aaaa", Unknown, "", 0, workflows.Result{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.of == "" {
				tc.of = first
			}
			f := &fake{history: history(t, tc.events...)}
			for read, do := range map[string]func() (Activity, error){
				"Look": func() (Activity, error) { return Reader{Temporal: f}.Look(t.Context(), "ask-1", "run-1", tc.of) },
				"Read": func() (Activity, error) { return Reader{Temporal: f}.Read(t.Context(), "ask-1", "run-1", tc.of) },
			} {
				a, err := do()
				if err != nil {
					t.Fatal(err)
				}
				if a.State != tc.state || a.ID != tc.id || a.Round.Number != tc.round || a.WorkflowClosed != tc.closed {
					t.Errorf("%s: state %d of %q in round %d, workflow closed %v; want %d, %q, %d, %v",
						read, a.State, a.ID, a.Round.Number, a.WorkflowClosed, tc.state, tc.id, tc.round, tc.closed)
				}
				if diff := cmp.Diff(tc.want, a.Result); diff != "" {
					t.Errorf("%s: result (-want +got):\n%s", read, diff)
				}
			}
		})
	}

	pending := func(activityID string, s enumspb.PendingActivityState) *fake {
		return &fake{
			history: history(t, begun...),
			pending: []*workflowpb.PendingActivityInfo{
				pendingInfo(t, other, enumspb.PENDING_ACTIVITY_STATE_STARTED, nil), pendingInfo(t, activityID, s, posted),
			},
		}
	}
	for name, tc := range map[string]struct {
		f     *fake
		of    string
		state State
		id    string
		round int // 0: the history is not read
	}{
		"a later round is open":        {pending(second, enumspb.PENDING_ACTIVITY_STATE_STARTED), first, Open, second, 2},
		"a later round is not started": {pending(second, enumspb.PENDING_ACTIVITY_STATE_SCHEDULED), first, Scheduled, second, 2},
		"the round is open":            {pending(second, enumspb.PENDING_ACTIVITY_STATE_STARTED), second, Open, second, 0},
		"the history has gone on since": {func() *fake {
			f := pending(second, enumspb.PENDING_ACTIVITY_STATE_STARTED)
			f.history = history(t, then(completed(8, 7, carols))...)
			return f
		}(), first, Ended, second, 3},
		"the history lags behind the round": {pending("AB2CDE-1-decision-3-0000aaaa", enumspb.PENDING_ACTIVITY_STATE_STARTED), first, Deciding, second, 2},
		"another question is open":          {pending("AB2CDE-3-decision-1-0000aaaa", enumspb.PENDING_ACTIVITY_STATE_STARTED), first, Deciding, second, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, err := Reader{Temporal: tc.f}.Look(t.Context(), "ask-1", "run-1", tc.of)
			if err != nil {
				t.Fatal(err)
			}
			if a.State != tc.state || a.ID != tc.id || a.Round.Number != tc.round {
				t.Errorf("state %d of %q in round %d; want %d, %q, %d", a.State, a.ID, a.Round.Number, tc.state, tc.id, tc.round)
			}
			var card workflows.Card
			if open := tc.state == Open || tc.state == Scheduled; a.Heartbeat(&card) != open || open && card != posted {
				t.Errorf("its heartbeat has %+v", card)
			}
			if tc.round == 2 {
				if diff := cmp.Diff([]workflows.Decision{bobs}, a.Round.Decisions); diff != "" {
					t.Errorf("decisions (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// IDs of activities that are no round of a request.
func TestNoRound(t *testing.T) {
	t.Parallel()
	for _, activityID := range []string{
		"", "5", "decision-1", "-decision-1-0000aaaa", "AB2CDE-1-decision-", "AB2CDE-1-decision-1", "AB2CDE-1-decision-1-",
		"AB2CDE-1-decision-0-0000aaaa", "AB2CDE-1-decision-01-0000aaaa", "AB2CDE-1-decision-x-0000aaaa", "AB2CDE-1-decision--1-0000aaaa",
	} {
		f := &fake{history: history(t, asked(5, activityID, workflows.Round{Request: question, Number: 1}), completed(6, 5, true))}
		if a, err := (Reader{Temporal: f}).Look(t.Context(), "greet-1", "run-1", activityID); err != nil || a.State != Unknown {
			t.Errorf("Look at %q = %+v, %v; want it unknown", activityID, a, err)
		}
	}
}

// Of requests without a card only the pending activity tells.
func TestUnposted(t *testing.T) {
	t.Parallel()
	const other = "AB2CDE-2-decision-3-00000000"
	round := workflows.Round{Request: question, Number: 1}
	sum := round.Digest()
	pending := func(ids ...string) (all []*workflowpb.PendingActivityInfo) {
		for _, id := range ids {
			all = append(all, pendingInfo(t, id, enumspb.PENDING_ACTIVITY_STATE_SCHEDULED, nil))
		}
		return all
	}
	for name, tc := range map[string]struct {
		f    fake
		want []string // their activities
	}{
		"one, beside other activities": {fake{pending: pending("5", id)}, []string{id}},
		"two":                          {fake{pending: pending(id, other)}, []string{id, other}},
		"none":                         {fake{pending: pending("5")}, nil},
		"it has ended":                 {fake{pending: pending(id), status: enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.f.history = history(t, asked(5, id, round), asked(6, other, round))
			all, err := Reader{Temporal: &tc.f}.Unposted(t.Context(), "ask-1", "run-1")
			var got []string
			for _, f := range all {
				got = append(got, f.ActivityID)
				if f.Round.Title != question.Title || f.Digest != hex.EncodeToString(sum[:]) || f.WorkflowID != "ask-1" || f.Question != f.ActivityID[:8] {
					t.Errorf("found %+v", f)
				}
			}
			if diff := cmp.Diff(tc.want, got); err != nil || diff != "" {
				t.Errorf("%v; the activities (-want +got):\n%s", err, diff)
			}
		})
	}
	away := errors.New("away")
	if _, err := (Reader{Temporal: &fake{describe: away}}).Unposted(t.Context(), "ask-1", "run-1"); !errors.Is(err, away) {
		t.Errorf("it says %v", err)
	}
}

// Where the card is, is said by who posted it, and not by a decision, which says what was clicked.
func TestCardOfTheHistory(t *testing.T) {
	t.Parallel()
	const other = "AB2CDE-2-decision-1-00000000"
	elsewhere := workflows.Card{Channel: "C0OPS00001", TS: "3.4"}
	sum := question.Digest()
	decided := event(20, "ACTIVITY_TASK_COMPLETED", `{"scheduledEventId":"5","result":`+payloads(workflows.Decision{
		Outcome: workflows.Approved, By: bob, At: clicked, Digest: hex.EncodeToString(sum[:]), Card: elsewhere,
	})+`}`)
	posts := func(number int, activityID string, result any) []string {
		return []string{
			event(number, "ACTIVITY_TASK_SCHEDULED", fmt.Sprintf(`{"activityId":"%d","activityType":{"name":"PostCard"},"input":%s}`,
				number, payloads(workflows.CardInput{ActivityID: activityID}))),
			event(number+1, "ACTIVITY_TASK_COMPLETED", fmt.Sprintf(`{"scheduledEventId":"%d","result":%s}`, number, payloads(result))),
		}
	}
	signals := func(name, activityID string, c workflows.Card) []string {
		return []string{event(10, "WORKFLOW_EXECUTION_SIGNALED", fmt.Sprintf(`{"signalName":%q,"input":%s}`,
			name, payloads(workflows.CardPosted{Posted: workflows.Posted{Card: c}, ActivityID: activityID})))}
	}
	of := func(c workflows.Card) workflows.Posted { return workflows.Posted{Card: c} }
	join := func(all ...[]string) (events []string) {
		for _, some := range all {
			events = append(events, some...)
		}
		return events
	}
	for name, tc := range map[string]struct {
		events []string // after the question was asked
		want   workflows.Card
	}{
		"posted by a step":                      {join(posts(6, id, of(posted)), []string{decided}), posted},
		"posted for a later round":              {posts(6, "AB2CDE-1-decision-3-0000abcd", of(posted)), posted},
		"posted after the decision":             {join([]string{decided}, posts(21, id, of(posted))), posted},
		"signalled":                             {join(signals(workflows.SignalCardPosted, id, posted), []string{decided}), posted},
		"signalled after the decision":          {join([]string{decided}, signals(workflows.SignalCardPosted, id, posted)), posted},
		"signalled, then not posted again":      {join(signals(workflows.SignalCardPosted, id, posted), posts(11, id, of(workflows.Card{}))), posted},
		"signalled, and by what is no card":     {join(signals(workflows.SignalCardPosted, id, posted), signals(workflows.SignalCardPosted, id, workflows.Card{})), posted},
		"neither, and decided":                  {[]string{decided}, workflows.Card{}},
		"neither":                               {nil, workflows.Card{}},
		"being posted":                          {posts(6, id, of(posted))[:1], workflows.Card{}},
		"posted by what gives no card":          {posts(6, id, true), workflows.Card{}},
		"another question's was posted":         {posts(6, other, of(posted)), workflows.Card{}},
		"another question's was signalled":      {signals(workflows.SignalCardPosted, other, posted), workflows.Card{}},
		"both, and another question's after it": {join(posts(6, id, of(posted)), posts(12, other, of(elsewhere)), signals(workflows.SignalCardPosted, other, elsewhere)), posted},
		"posted for nothing that was asked":     {posts(6, "card", of(posted)), workflows.Card{}},
		"another signal":                        {signals("card_seen", id, posted), workflows.Card{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := Reader{Temporal: &fake{history: history(t, append([]string{scheduled(id, 5)}, tc.events...)...)}}
			a, err := r.Look(t.Context(), "greet-1", "run-1", id)
			if err != nil {
				t.Fatal(err)
			}
			if a.Card != tc.want {
				t.Errorf("the card is at %+v, want %+v", a.Card, tc.want)
			}
			wasDecided := false
			for _, e := range tc.events {
				wasDecided = wasDecided || e == decided
			}
			if ended := a.State == Ended; ended != wasDecided {
				t.Errorf("ended %v as %+v, want %v", ended, a.Result, wasDecided)
			}
		})
	}
}
