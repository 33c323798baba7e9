package worker

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
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
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"

	"countersign/internal/record"
	"countersign/internal/reference"
	"countersign/internal/slackapi"
	"countersign/internal/slacksim"
	"countersign/workflows"
)

const (
	namespace = "default-test-namespace" // of the test environment
	queue     = "default-test-taskqueue"
	general   = "C0GENERAL1"
	alice     = "U0ALICE001"
	bob       = "U0BOB00001"
	carol     = "U0CAROL001"
	dave      = "U0DAVE0001"
	erin      = "U0ERIN0001"
	sre       = "S0SRE00001"
)

var (
	notFound = serviceerror.NewNotFound("no such activity")
	away     = serviceerror.NewUnavailable("temporal is away")
)

// world is Slack's stand-in, a Temporal that notes what it is told, and the activities between them.
type world struct {
	*testing.T
	*Activities
	sim      *slacksim.Server
	temporal *fakeTemporal
	env      *testsuite.TestActivityEnvironment
	log      *logged
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	sim := slacksim.New(slacksim.Options{})
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	t.Cleanup(sim.Close)
	web := &http.Client{Timeout: slackapi.Timeout}
	chat, err := slackapi.Connect(t.Context(), slack.New(slacksim.DefaultBotToken, slack.OptionAPIURL(srv.URL+"/api/"), slack.OptionHTTPClient(web)), web)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := reference.ParseKeys(reference.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, sim: sim, temporal: &fakeTemporal{}, log: &logged{}}
	w.Activities = &Activities{Deps{
		Temporal: w.temporal, Records: record.Reader{Temporal: w.temporal}, Slack: chat, Keys: keys, Log: slog.New(slog.NewTextHandler(w.log, nil)),
		Policy: Policy{Approvers: workflows.Approvers{Users: []string{bob}}, Deadline: 24 * time.Hour},
	}}
	w.env = newEnv(w.Activities)
	return w
}

func newEnv(a *Activities) *testsuite.TestActivityEnvironment {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestActivityEnvironment()
	env.RegisterActivity(a)
	return env
}

// messages are those in the channel that everybody sees.
func (w *world) messages() []slacksim.Message { return w.sim.Messages("general") }

// logged is what was logged.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.buf.String(), s)
}

// fakeTemporal has one workflow.
type fakeTemporal struct {
	client.Client // Nobody calls its other methods.

	pending  *workflowpb.PendingActivityInfo // nil: the activity is not pending
	history  []*historypb.HistoryEvent
	describe error

	heartbeat func(n int, m mark) error // of the n-th heartbeat; nil: no error
	signal    error
	complete  error
	start     error

	mu        sync.Mutex
	marks     []mark
	byID      []string // activity IDs of heartbeats by ID
	signals   []workflows.CardPosted
	completed []error // what CompleteActivityByID reported
	started   []started
}

func (f *fakeTemporal) DescribeWorkflowExecution(context.Context, string, string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	r := &workflowservice.DescribeWorkflowExecutionResponse{
		WorkflowExecutionInfo: &workflowpb.WorkflowExecutionInfo{Status: enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING},
	}
	if f.pending != nil {
		r.PendingActivities = []*workflowpb.PendingActivityInfo{f.pending}
	}
	return r, f.describe
}

func (f *fakeTemporal) GetWorkflowHistory(context.Context, string, string, bool, enumspb.HistoryEventFilterType) client.HistoryEventIterator {
	return &events{slices.Clone(f.history)}
}

func (f *fakeTemporal) beat(details []any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.marks = append(f.marks, details[0].(mark))
	if f.heartbeat == nil {
		return nil
	}
	return f.heartbeat(len(f.marks), f.marks[len(f.marks)-1])
}

func (f *fakeTemporal) RecordActivityHeartbeat(_ context.Context, token []byte, details ...any) error {
	if len(token) == 0 {
		return fmt.Errorf("no task token")
	}
	return f.beat(details)
}

func (f *fakeTemporal) RecordActivityHeartbeatByID(_ context.Context, _, _, _, activityID string, details ...any) error {
	f.mu.Lock()
	f.byID = append(f.byID, activityID)
	f.mu.Unlock()
	return f.beat(details)
}

func (f *fakeTemporal) SignalWorkflow(_ context.Context, _, _, name string, arg any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if name != workflows.SignalCardPosted {
		return fmt.Errorf("signal %s", name)
	}
	if f.signal == nil {
		f.signals = append(f.signals, arg.(workflows.CardPosted))
	}
	return f.signal
}

func (f *fakeTemporal) CompleteActivityByID(_ context.Context, _, _, _, _ string, result any, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if result != nil {
		return fmt.Errorf("completes with %v", result)
	}
	f.completed = append(f.completed, err)
	return f.complete
}

// started is a workflow that was started.
type started struct {
	id, queue string
	workflow  string
	closing   workflows.Closing
}

func (f *fakeTemporal) ExecuteWorkflow(_ context.Context, o client.StartWorkflowOptions, workflow any, args ...any) (client.WorkflowRun, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := runtime.FuncForPC(reflect.ValueOf(workflow).Pointer()).Name()
	f.started = append(f.started, started{o.ID, o.TaskQueue, name[strings.LastIndex(name, ".")+1:], args[0].(workflows.Closing)})
	return nil, f.start
}

type events struct{ left []*historypb.HistoryEvent }

func (e *events) HasNext() bool { return len(e.left) > 0 }

func (e *events) Next() (*historypb.HistoryEvent, error) {
	first := e.left[0]
	e.left = e.left[1:]
	return first, nil
}

// isPending has the activity pending, with an attempt since then that left these heartbeat details; nil: none.
func (w *world) isPending(activityID string, state enumspb.PendingActivityState, since time.Time, details any) {
	w.Helper()
	p := &workflowpb.PendingActivityInfo{ActivityId: activityID, State: state}
	// An event's time has the type that is needed.
	h, err := client.HistoryFromJSON(strings.NewReader(fmt.Sprintf(`{"events":[{"eventTime":%q}]}`, since.UTC().Format(time.RFC3339Nano))), client.HistoryJSONOptions{})
	if err != nil {
		w.Fatal(err)
	}
	p.LastStartedTime = h.Events[0].EventTime
	if details != nil {
		p.HeartbeatDetails = w.payloads(details)
	}
	w.temporal.pending = p
}

// hasEnded has the activity cancelled, as Ask does at the deadline.
func (w *world) hasEnded(activityID string, r workflows.Request) {
	w.Helper()
	w.temporal.history = []*historypb.HistoryEvent{
		w.scheduled(5, activityID, workflows.Round{Request: r, Number: 1}),
		{
			EventId: 6, EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED,
			Attributes: &historypb.HistoryEvent_ActivityTaskCanceledEventAttributes{
				ActivityTaskCanceledEventAttributes: &historypb.ActivityTaskCanceledEventAttributes{
					ScheduledEventId: 5, Details: w.payloads(workflows.Result{Outcome: workflows.Expired}),
				},
			},
		},
	}
}

// scheduled is the event that opens a round.
func (w *world) scheduled(event int64, activityID string, r workflows.Round) *historypb.HistoryEvent {
	w.Helper()
	return &historypb.HistoryEvent{
		EventId: event, EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
		Attributes: &historypb.HistoryEvent_ActivityTaskScheduledEventAttributes{
			ActivityTaskScheduledEventAttributes: &historypb.ActivityTaskScheduledEventAttributes{ActivityId: activityID, Input: w.payloads(r)},
		},
	}
}

// completed is the event that ends the round that was opened with event of.
func (w *world) completed(event, of int64, d workflows.Decision) *historypb.HistoryEvent {
	w.Helper()
	return &historypb.HistoryEvent{
		EventId: event, EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
		Attributes: &historypb.HistoryEvent_ActivityTaskCompletedEventAttributes{
			ActivityTaskCompletedEventAttributes: &historypb.ActivityTaskCompletedEventAttributes{ScheduledEventId: of, Result: w.payloads(d)},
		},
	}
}

func (w *world) payloads(v any) *commonpb.Payloads {
	w.Helper()
	p, err := converter.GetDefaultDataConverter().ToPayloads(v)
	if err != nil {
		w.Fatal(err)
	}
	return p
}
