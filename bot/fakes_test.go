package bot

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
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

	"countersign/internal/card"
	"countersign/internal/record"
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
	openActivity = activity(1, "aaaa1111")
	unavailable  = serviceerror.NewUnavailable("temporal is away")
	notFound     = serviceerror.NewNotFound("no such activity")
)

// activity is the ID of the request's open activity in a round, for who may decide by that policy.
func activity(round int, policy string) string {
	return "ask-1-decision-" + strconv.Itoa(round) + "-" + policy
}

// fakeSlack is a workspace that notes what it is asked and told.
type fakeSlack struct {
	people map[string]slackapi.Person
	groups map[string][]string
	// unknown are those who cannot be looked up, and why.
	unknown map[string]error
	// What fails.
	lookUp, answer, whisper, direct, modal, home error

	mu      sync.Mutex
	lookUps []string // IDs that were looked up
	said    []string // in private
	closed  []string // texts of updates
	modals  []slack.ModalViewRequest
	homes   []published
}

// published is a home that somebody was shown.
type published struct {
	user string
	view slack.HomeTabViewRequest
	hash string
}

// errGroups is the failure of the look-up of groups alone.
var errGroups = errors.New("no scope for user groups")

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
	if errors.Is(f.lookUp, errGroups) {
		return p, nil
	}
	if err := f.unknown[id]; err != nil {
		return p, err
	}
	if !ok && f.lookUp == nil {
		return p, &slackapi.Error{Kind: slackapi.Refused, Method: "users.info", Code: "user_not_found"}
	}
	return p, f.lookUp
}

func (f *fakeSlack) Members(_ context.Context, group string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lookUps = append(f.lookUps, group)
	return f.groups[group], f.lookUp
}

func (f *fakeSlack) Groups(context.Context) (map[string]slackapi.Group, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lookUps = append(f.lookUps, "groups")
	if f.lookUp != nil {
		return nil, f.lookUp
	}
	all := make(map[string]slackapi.Group)
	for id, members := range f.groups {
		all[id] = slackapi.Group{Members: members}
	}
	return all, nil
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

func (f *fakeSlack) SayDirectly(ctx context.Context, user, text string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if f.direct == nil {
		f.said = append(f.said, fmt.Sprintf("%s directly: %s", user, text))
	}
	return f.direct
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

func (f *fakeSlack) PublishHome(_ context.Context, user, hash string, v slack.HomeTabViewRequest) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.home != nil {
		return "", f.home
	}
	for _, shown := range slices.Backward(f.homes) {
		if shown.user == user && hash != "" && hash != shown.hash {
			return "", &slackapi.Error{Kind: slackapi.Refused, Method: "views.publish", Code: "hash_conflict"}
		}
		if shown.user == user {
			break
		}
	}
	f.homes = append(f.homes, published{user, v, strconv.Itoa(len(f.homes))})
	return f.homes[len(f.homes)-1].hash, nil
}

// completion is one call of CompleteActivityByID.
type completion struct {
	activityID string
	result     any
	err        error
}

// fakeTemporal has one open activity, and the workflows that are listed. Each list is what it answers in turn; the last
// goes on for ever.
type fakeTemporal struct {
	commits     []error
	takes       time.Duration // a commit
	describes   []any         // error, enumspb.PendingActivityState, opened, nil: not pending, or errHangs: no answer
	histories   [][]*historypb.HistoryEvent
	reads       []error // of a history; errHangs: no answer
	starts      []error
	updates     []error // of calls
	answers     []error // of updates that were taken
	updated     workflows.Listed
	running     []*workflowpb.WorkflowExecutionInfo // as visibility has them
	closed      []*workflowpb.WorkflowExecutionInfo
	pages       int                                          // how many of them are in an answer; 0: all
	lists       error                                        // where they cannot be listed
	listsItsOwn bool                                         // the workflow of the one open activity is among them
	now         map[string]*workflowpb.WorkflowExecutionInfo // by ID: how those are now, that are not as visibility has them; nil: gone
	unchecked   map[string]error                             // by ID: why they cannot be described

	mu          sync.Mutex
	completions []completion
	described   int
	read        int
	started     []client.StartWorkflowOptions
	types       []any // that were started
	inputs      []any
	changes     []client.UpdateWorkflowOptions
	queries     []string
	looked      []string // IDs that were described
}

// opened is another round that is open.
type opened struct {
	activityID string
	state      enumspb.PendingActivityState
}

// errHangs is the answer that does not come.
var errHangs = errors.New("no answer")

func next[T any](list []T, n int) (v T) {
	if len(list) > 0 {
		v = list[min(n, len(list)-1)]
	}
	return v
}

func (f *fakeTemporal) CompleteActivityByID(_ context.Context, namespace, workflowID, runID, activityID string, result any, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if namespace != "default" || workflowID != "greet-1" || runID != "run-1" {
		return fmt.Errorf("completes %s/%s/%s/%s", namespace, workflowID, runID, activityID)
	}
	if f.takes > 0 {
		<-time.After(f.takes) // In a bubble's time.
	}
	f.completions = append(f.completions, completion{activityID, result, err})
	return next(f.commits, len(f.completions)-1)
}

func (f *fakeTemporal) DescribeWorkflowExecution(ctx context.Context, id, _ string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looked = append(f.looked, id)
	if id != "greet-1" || f.listsItsOwn {
		return f.describeListed(id)
	}
	if next(f.describes, f.described) == any(errHangs) {
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
		r.PendingActivities = []*workflowpb.PendingActivityInfo{{ActivityId: openActivity, State: answer}}
	case opened:
		r.PendingActivities = []*workflowpb.PendingActivityInfo{{ActivityId: answer.activityID, State: answer.state}}
	}
	return r, nil
}

func (f *fakeTemporal) describeListed(id string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	if err := f.unchecked[id]; err != nil {
		return nil, err
	}
	info, ok := f.now[id]
	for _, w := range slices.Concat(f.closed, f.running) {
		if !ok && w.GetExecution().GetWorkflowId() == id {
			info = w
		}
	}
	if info == nil {
		return nil, notFound
	}
	return &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: info}, nil
}

func (f *fakeTemporal) ListWorkflow(_ context.Context, r *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queries = append(f.queries, r.GetQuery())
	if f.lists != nil {
		return nil, f.lists
	}
	if r.GetNamespace() != "default" || !strings.Contains(r.GetQuery(), "TaskQueue = 'countersign'") {
		return nil, fmt.Errorf("lists %s in %s", r.GetQuery(), r.GetNamespace())
	}
	all := f.closed
	if strings.Contains(r.GetQuery(), "ExecutionStatus = 'Running'") {
		all = f.running
	}
	from, _ := strconv.Atoi(string(r.GetNextPageToken()))
	to := len(all)
	if f.pages > 0 {
		to = min(from+f.pages, len(all))
	}
	answer := &workflowservice.ListWorkflowExecutionsResponse{Executions: all[from:to]}
	if to < len(all) {
		answer.NextPageToken = []byte(strconv.Itoa(to))
	}
	return answer, nil
}

func (f *fakeTemporal) UpdateWorkflow(_ context.Context, o client.UpdateWorkflowOptions) (client.WorkflowUpdateHandle, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes = append(f.changes, o)
	if err := next(f.updates, len(f.changes)-1); err != nil {
		return nil, err
	}
	return updateAnswer{o: o, listed: f.updated, err: next(f.answers, len(f.changes)-1)}, nil
}

// updateAnswer is what an update was answered.
type updateAnswer struct {
	o      client.UpdateWorkflowOptions
	listed workflows.Listed
	err    error
}

func (u updateAnswer) WorkflowID() string { return u.o.WorkflowID }
func (u updateAnswer) RunID() string      { return u.o.RunID }
func (u updateAnswer) UpdateID() string   { return u.o.UpdateID }

func (u updateAnswer) Get(_ context.Context, value any) error {
	if l, ok := value.(*workflows.Listed); ok && u.err == nil {
		*l = u.listed
	}
	return u.err
}

func (f *fakeTemporal) GetWorkflowHistory(ctx context.Context, _, _ string, _ bool, _ enumspb.HistoryEventFilterType) client.HistoryEventIterator {
	f.mu.Lock()
	h, err := next(f.histories, f.read), next(f.reads, f.read)
	f.read++
	f.mu.Unlock()
	if errors.Is(err, errHangs) {
		<-ctx.Done()
		err = ctx.Err()
	}
	return &events{slices.Clone(h), err}
}

func (f *fakeTemporal) ExecuteWorkflow(_ context.Context, o client.StartWorkflowOptions, workflow any, args ...any) (client.WorkflowRun, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.started = append(f.started, o)
	f.types = append(f.types, workflow)
	f.inputs = append(f.inputs, args...)
	return nil, next(f.starts, len(f.started)-1)
}

type events struct {
	left []*historypb.HistoryEvent
	err  error
}

func (e *events) HasNext() bool { return e.err != nil || len(e.left) > 0 }

func (e *events) Next() (*historypb.HistoryEvent, error) {
	if e.err != nil {
		return nil, e.err
	}
	first := e.left[0]
	e.left = e.left[1:]
	return first, nil
}

// asked is the event by which a round is opened.
func asked(t testing.TB, event int64, activityID string, r workflows.Round) *historypb.HistoryEvent {
	t.Helper()
	return &historypb.HistoryEvent{
		EventId: event, EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
		Attributes: &historypb.HistoryEvent_ActivityTaskScheduledEventAttributes{
			ActivityTaskScheduledEventAttributes: &historypb.ActivityTaskScheduledEventAttributes{
				ActivityId: activityID, Input: payloads(t, r),
			},
		},
	}
}

// history is a workflow's history up to the first round, and then the others.
func history(t testing.TB, after ...*historypb.HistoryEvent) []*historypb.HistoryEvent {
	t.Helper()
	return historyOf(t, request, after...)
}

// historyOf is history for another request.
func historyOf(t testing.TB, r workflows.Request, after ...*historypb.HistoryEvent) []*historypb.HistoryEvent {
	t.Helper()
	return append([]*historypb.HistoryEvent{asked(t, 5, openActivity, workflows.Round{Request: r, Number: 1})}, after...)
}

func payloads(t testing.TB, v any) *commonpb.Payloads {
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
func decidedBy(t testing.TB, who workflows.Person, o workflows.Outcome) *historypb.HistoryEvent {
	t.Helper()
	return decidedIn(t, 5, workflows.Decision{Outcome: o, By: who, Digest: hexDigest(request), Card: at})
}

// decidedIn is the event of a decision in the round that was opened by the event of.
func decidedIn(t testing.TB, of int64, d workflows.Decision) *historypb.HistoryEvent {
	t.Helper()
	return happened(&historypb.HistoryEvent{
		EventId: of + 1, EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
		Attributes: &historypb.HistoryEvent_ActivityTaskCompletedEventAttributes{
			ActivityTaskCompletedEventAttributes: &historypb.ActivityTaskCompletedEventAttributes{
				ScheduledEventId: of, Result: payloads(t, d),
			},
		},
	})
}

func hexDigest(r workflows.Request) string {
	sum := r.Digest()
	return hex.EncodeToString(sum[:])
}

func closedBy(kind enumspb.EventType) *historypb.HistoryEvent {
	return happened(&historypb.HistoryEvent{EventId: 9, EventType: kind})
}

// newBot returns a bot, and a key's reference to its one open activity.
func newBot(t testing.TB, s *fakeSlack, f *fakeTemporal, change func(*reference.Reference)) (*Bot, string) {
	t.Helper()
	if f.histories == nil {
		f.histories = [][]*historypb.HistoryEvent{history(t)}
	}
	keys, err := reference.ParseKeys(reference.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	ref := reference.Reference{
		Namespace: "default", WorkflowID: "greet-1", RunID: "run-1", ActivityID: openActivity,
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
		Slack: s, Temporal: f, Records: record.Reader{Temporal: f, Namespace: "default", TaskQueue: "countersign"}, Keys: keys, Team: team,
		Requesters: Requesters{Members: true}, APIURL: "https://slack.com/api/", HomeEvery: 5 * time.Second, Log: slog.New(slog.DiscardHandler),
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
		"actions": []any{map[string]any{"type": "button", "action_id": action, "block_id": card.BlockDecision + "-1", "value": value}},
	}
}

// submitted is the payload of the rejection's modal.
func submitted(t *testing.T, who workflows.Person, sealed, reason string) map[string]any {
	t.Helper()
	m := modal{Reference: sealed, Channel: at.Channel, TS: at.TS, Action: card.ActionReject}
	return filled(t, who, card.CallbackDecision, m, map[string]any{
		card.BlockComment: map[string]any{"type": "plain_text_input", "value": reason},
	})
}

// filled is the payload of a modal that was filled in: a state for each block, whose action has the same ID.
func filled(t *testing.T, who workflows.Person, callback string, m modal, state map[string]any) map[string]any {
	t.Helper()
	metadata, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]any)
	for block, v := range state {
		values[block] = map[string]any{block: v}
	}
	return map[string]any{
		"type": "view_submission", "trigger_id": "4.5.6",
		"user": map[string]any{"id": who.ID, "name": who.Name, "team_id": who.Team},
		"view": map[string]any{
			"id": "V0VIEW0001", "callback_id": callback, "private_metadata": string(metadata),
			"state": map[string]any{"values": values},
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
