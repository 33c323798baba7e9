package bot

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slack-go/slack"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"countersign/internal/reference"
	"countersign/internal/slackapi"
	"countersign/workflows"
)

const team = "T0SIM0001"

var (
	alice    = workflows.Person{ID: "U0ALICE001", Name: "alice", Team: team}
	bob      = workflows.Person{ID: "U0BOB00001", Name: "bob", Team: team}
	carol    = workflows.Person{ID: "U0CAROL001", Name: "carol", Team: team}
	guest    = workflows.Person{ID: "U0GUEST001", Name: "guest", Team: team}
	external = workflows.Person{ID: "U0EXTERN01", Name: "external", Team: "T0EXT0001"}
	at       = workflows.Card{Channel: "C0GENERAL1", TS: "1795176000.000100"}
	request  = workflows.Request{
		Title: "Greet World", Channel: at.Channel, Requester: alice.ID,
		Approvers: workflows.Approvers{Users: []string{bob.ID, guest.ID}},
		ExpiresAt: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC),
	}
	unavailable = serviceerror.NewUnavailable("temporal is away")
	notFound    = serviceerror.NewNotFound("no such activity")
)

// fakeSlack is a workspace that notes what it is asked and told.
type fakeSlack struct {
	people map[string]slackapi.Person
	groups map[string][]string
	// What fails.
	lookUp, answer, whisper, modal error

	mu      sync.Mutex
	lookUps []string // IDs that were looked up
	said    []string // in private
	closed  []string // texts of updates
	modals  []slack.ModalViewRequest
}

func newSlack() *fakeSlack {
	full := slackapi.Person{Team: team}
	return &fakeSlack{
		people: map[string]slackapi.Person{
			alice.ID: full, bob.ID: full, carol.ID: full,
			guest.ID:     {Team: team, Guest: true},
			external.ID:  {Team: external.Team, Guest: true},
			"U0ROBOT001": {Team: team, Bot: true}, "U0FORMER01": {Team: team, Deactivated: true},
		},
		groups: map[string][]string{"S0SRE00001": {carol.ID, guest.ID}, "S0EMPTY001": nil},
	}
}

func (f *fakeSlack) Person(_ context.Context, id string) (slackapi.Person, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lookUps = append(f.lookUps, id)
	p, ok := f.people[id]
	if !ok && f.lookUp == nil {
		return p, errors.New("no such person")
	}
	return p, f.lookUp
}

func (f *fakeSlack) Members(_ context.Context, group string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lookUps = append(f.lookUps, group)
	return f.groups[group], f.lookUp
}

func (f *fakeSlack) AnswerURL(_ context.Context, _, text string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.answer == nil {
		f.said = append(f.said, text)
	}
	return f.answer
}

func (f *fakeSlack) Whisper(_ context.Context, channel, user, text string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.whisper == nil {
		f.said = append(f.said, fmt.Sprintf("%s in %s: %s", user, channel, text))
	}
	return f.whisper
}

func (f *fakeSlack) Update(_ context.Context, c workflows.Card, text string, _ []slack.Block) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = append(f.closed, c.TS+" "+text)
	return nil
}

func (f *fakeSlack) OpenModal(_ context.Context, _ string, v slack.ModalViewRequest) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.modal == nil {
		f.modals = append(f.modals, v)
	}
	return f.modal
}

// completion is one call of CompleteActivityByID.
type completion struct {
	result any
	err    error
}

// fakeTemporal has one open activity. Each list is what it answers in turn; the last goes on for ever.
type fakeTemporal struct {
	commits   []error
	describes []any // error, enumspb.PendingActivityState, nil: not pending, or hangs: no answer
	histories [][]*historypb.HistoryEvent
	starts    []error

	mu          sync.Mutex
	completions []completion
	described   int
	read        int
	started     []client.StartWorkflowOptions
	inputs      []any
}

// hangs is the answer that does not come.
type hangs struct{}

func next[T any](list []T, n int) (v T) {
	if len(list) > 0 {
		v = list[min(n, len(list)-1)]
	}
	return v
}

func (f *fakeTemporal) CompleteActivityByID(_ context.Context, namespace, workflowID, runID, activityID string, result any, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if namespace != "default" || workflowID != "greet-1" || runID != "run-1" || activityID != "decision-1" {
		return fmt.Errorf("completes %s/%s/%s/%s", namespace, workflowID, runID, activityID)
	}
	f.completions = append(f.completions, completion{result, err})
	return next(f.commits, len(f.completions)-1)
}

func (f *fakeTemporal) DescribeWorkflowExecution(ctx context.Context, _, _ string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if next(f.describes, f.described) == any(hangs{}) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	r := &workflowservice.DescribeWorkflowExecutionResponse{
		WorkflowExecutionInfo: &workflowpb.WorkflowExecutionInfo{Status: enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING},
	}
	answer := next(f.describes, f.described)
	f.described++
	switch answer := answer.(type) {
	case error:
		return nil, answer
	case enumspb.PendingActivityState:
		r.PendingActivities = []*workflowpb.PendingActivityInfo{{ActivityId: "decision-1", State: answer}}
	}
	return r, nil
}

func (f *fakeTemporal) GetWorkflowHistory(context.Context, string, string, bool, enumspb.HistoryEventFilterType) client.HistoryEventIterator {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := next(f.histories, f.read)
	f.read++
	return &events{slices.Clone(h)}
}

func (f *fakeTemporal) ExecuteWorkflow(_ context.Context, o client.StartWorkflowOptions, _ any, args ...any) (client.WorkflowRun, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.started = append(f.started, o)
	f.inputs = append(f.inputs, args...)
	return nil, next(f.starts, len(f.started)-1)
}

type events struct{ left []*historypb.HistoryEvent }

func (e *events) HasNext() bool { return len(e.left) > 0 }

func (e *events) Next() (*historypb.HistoryEvent, error) {
	first := e.left[0]
	e.left = e.left[1:]
	return first, nil
}

// history is a greeting's history up to the open activity, and then the others.
func history(t *testing.T, after ...*historypb.HistoryEvent) []*historypb.HistoryEvent {
	t.Helper()
	return append([]*historypb.HistoryEvent{{
		EventId: 5, EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
		Attributes: &historypb.HistoryEvent_ActivityTaskScheduledEventAttributes{
			ActivityTaskScheduledEventAttributes: &historypb.ActivityTaskScheduledEventAttributes{
				ActivityId: "decision-1", Input: payloads(t, request),
			},
		},
	}}, after...)
}

func payloads(t *testing.T, v any) *commonpb.Payloads {
	t.Helper()
	p, err := converter.GetDefaultDataConverter().ToPayloads(v)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// happened gives an event its time.
func happened(e *historypb.HistoryEvent) *historypb.HistoryEvent {
	h, err := client.HistoryFromJSON(strings.NewReader(`{"events":[{"eventTime":"2026-11-20T13:30:00Z"}]}`), client.HistoryJSONOptions{})
	if err == nil {
		e.EventTime = h.Events[0].EventTime
	}
	return e
}

// decidedBy is the event of a decision, with the digest that binds it to the request.
func decidedBy(t *testing.T, who workflows.Person, o workflows.Outcome) *historypb.HistoryEvent {
	t.Helper()
	sum := request.Digest()
	return happened(&historypb.HistoryEvent{
		EventId: 6, EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
		Attributes: &historypb.HistoryEvent_ActivityTaskCompletedEventAttributes{
			ActivityTaskCompletedEventAttributes: &historypb.ActivityTaskCompletedEventAttributes{
				ScheduledEventId: 5,
				Result:           payloads(t, workflows.Decision{Outcome: o, By: who, Digest: hex.EncodeToString(sum[:]), Card: at}),
			},
		},
	})
}

func closedBy(kind enumspb.EventType) *historypb.HistoryEvent {
	return happened(&historypb.HistoryEvent{EventId: 9, EventType: kind})
}

// newBot returns a bot, and a key's reference to its one open activity.
func newBot(t testing.TB, s *fakeSlack, f *fakeTemporal, change func(*reference.Reference)) (*Bot, string) {
	t.Helper()
	keys, err := reference.ParseKeys(reference.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	ref := reference.Reference{
		Namespace: "default", WorkflowID: "greet-1", RunID: "run-1", ActivityID: "decision-1",
		Requester: request.Requester, Users: request.Approvers.Users, Digest: request.Digest(),
	}
	if change != nil {
		change(&ref)
	}
	sealed, err := keys.Seal(ref)
	if err != nil {
		t.Fatal(err)
	}
	return New(Options{
		Slack: s, Temporal: f, Namespace: "default", TaskQueue: "countersign", Keys: keys, Team: team,
		Requesters: Requesters{Members: true}, APIURL: "https://slack.com/api/", Log: slog.New(slog.DiscardHandler),
	}), sealed
}

// clicked is the payload of a click, as Slack sends it.
func clicked(who workflows.Person, action, value string) map[string]any {
	return map[string]any{
		"type":       "block_actions",
		"user":       map[string]any{"id": who.ID, "username": who.Name, "name": who.Name, "team_id": who.Team},
		"team":       map[string]any{"id": team, "domain": "sim"},
		"container":  map[string]any{"type": "message", "message_ts": at.TS, "channel_id": at.Channel, "is_ephemeral": false},
		"channel":    map[string]any{"id": at.Channel, "name": "general"},
		"message":    map[string]any{"ts": at.TS, "blocks": []any{map[string]any{"type": "rich_text"}}},
		"trigger_id": "1.2.3", "response_url": "https://hooks.slack.com/actions/T0/1/2",
		"actions": []any{map[string]any{"type": "button", "action_id": action, "block_id": "decision-1", "value": value}},
	}
}

// submitted is the payload of the rejection's modal.
func submitted(t *testing.T, who workflows.Person, sealed, reason string) map[string]any {
	t.Helper()
	metadata, err := json.Marshal(modal{Reference: sealed, Channel: at.Channel, TS: at.TS})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{
		"type": "view_submission",
		"user": map[string]any{"id": who.ID, "name": who.Name, "team_id": who.Team},
		"view": map[string]any{
			"callback_id": "reject", "private_metadata": string(metadata),
			"state": map[string]any{"values": map[string]any{"reason": map[string]any{"reason": map[string]any{"type": "plain_text_input", "value": reason}}}},
		},
	}
}

// deliver has the bot handle a payload, and does what it wants to do afterwards.
func deliver(t *testing.T, b *Bot, k kind, payload any) reply {
	t.Helper()
	body, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	r := b.handle(t.Context(), k, body)
	if r.then != nil {
		r.then(t.Context())
	}
	return r
}
