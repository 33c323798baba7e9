package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/types/known/timestamppb"

	"countersign/internal/record"
	"countersign/workflows"
)

func TestMain(m *testing.M) {
	time.Local = time.UTC // Times are shown as the reader's.
	os.Exit(m.Run())
}

var (
	asked = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	until = asked.Add(24 * time.Hour)
	bob   = workflows.Person{ID: "U0BOB00001", Name: "bob", Team: "T0SIM0001"}
	carol = workflows.Person{ID: "U0CAROL001", Name: "carol", Team: "T0SIM0001"}

	posted = workflows.Card{Channel: "C0GENERAL1", TS: "1.2"}
)

const permalink = "https://example.slack.com/archives/C0GENERAL1/p12"

// look is what one look at a workflow sees.
type look struct {
	err    error
	ended  bool
	queue  string // another one
	listed []workflows.Listed
	// pending are its activities that are open.
	pending []string
}

// fake is a Temporal with one workflow, of the ID "w" and the run "r".
type fake struct {
	client.Client // What is not used here panics.

	looks []look // one after the other; the last one stays
	start error  // the answer to a start; nil: it starts
	input any    // of the workflow
	// histories are the requests whose whole content Temporal has, by their names.
	histories map[string]history
	end       error // of the workflow; result where it is nil
	result    any
	change    error // the answer to a change
	complete  error // the answer to a completion
	list      map[bool][]*workflowpb.WorkflowExecutionInfo
	more      []byte // that there are more to list

	off       bool      // decide is
	in        io.Reader // of another kind than text
	out       io.Writer // one that cannot be written to
	connect   error
	connected int
	started   []client.StartWorkflowOptions
	with      any
	changed   []client.UpdateWorkflowOptions
	completed []completion
}

// history is the request as Temporal's history has it, and how it ended.
type history struct {
	round workflows.Round
	end   workflows.Result
}

type completion struct {
	workflowID, runID, activityID string
	result                        any
	err                           error
}

func (f *fake) ExecuteWorkflow(_ context.Context, o client.StartWorkflowOptions, _ any, args ...any) (client.WorkflowRun, error) {
	if f.start != nil {
		return nil, f.start
	}
	f.started, f.with = append(f.started, o), args[0]
	return run{id: o.ID, fake: f}, nil
}

func (f *fake) GetWorkflow(_ context.Context, id, _ string) client.WorkflowRun {
	return run{id: id, fake: f}
}

type run struct {
	client.WorkflowRun
	id   string
	fake *fake
}

func (r run) GetID() string    { return r.id }
func (r run) GetRunID() string { return "r" }

func (r run) Get(_ context.Context, v any) error {
	if r.fake.end != nil || r.fake.result == nil {
		return r.fake.end
	}
	dc := converter.GetDefaultDataConverter()
	p, err := dc.ToPayload(r.fake.result)
	if err != nil {
		return err
	}
	return dc.FromPayload(p, v)
}

func (f *fake) DescribeWorkflowExecution(_ context.Context, id, _ string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	l := f.looks[0]
	if len(f.looks) > 1 {
		f.looks = f.looks[1:]
	}
	if l.err != nil {
		return nil, l.err
	}
	info := described(id, l.listed...)
	if l.ended {
		info.Status = enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED
	}
	if l.queue != "" {
		info.TaskQueue = l.queue
	}
	d := &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: info}
	for _, id := range l.pending {
		d.PendingActivities = append(d.PendingActivities, &workflowpb.PendingActivityInfo{ActivityId: id, State: enumspb.PENDING_ACTIVITY_STATE_SCHEDULED})
	}
	return d, nil
}

// described is a workflow that runs, as Temporal describes it.
func described(id string, listed ...workflows.Listed) *workflowpb.WorkflowExecutionInfo {
	info := &workflowpb.WorkflowExecutionInfo{
		Execution: &commonpb.WorkflowExecution{WorkflowId: id, RunId: "r"}, TaskQueue: "countersign",
		Status: enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, CloseTime: timestamppb.New(until),
	}
	if listed != nil {
		p, err := converter.GetDefaultDataConverter().ToPayload(listed)
		if err != nil {
			panic(err)
		}
		info.Memo = &commonpb.Memo{Fields: map[string]*commonpb.Payload{workflows.MemoRequests: p}}
	}
	return info
}

func (f *fake) GetWorkflowHistory(context.Context, string, string, bool, enumspb.HistoryEventFilterType) client.HistoryEventIterator {
	payloads := func(v any) *commonpb.Payloads {
		if p, ok := v.(*commonpb.Payloads); ok {
			return p
		}
		p, err := converter.GetDefaultDataConverter().ToPayloads(v)
		if err != nil {
			panic(err)
		}
		return p
	}
	events := iterator{{EventId: 1, Attributes: &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{
		WorkflowExecutionStartedEventAttributes: &historypb.WorkflowExecutionStartedEventAttributes{Input: payloads(f.input)},
	}}}
	step := func(kind, id string, input any) {
		events = append(events, &historypb.HistoryEvent{EventId: int64(len(events) + 1), Attributes: &historypb.HistoryEvent_ActivityTaskScheduledEventAttributes{
			ActivityTaskScheduledEventAttributes: &historypb.ActivityTaskScheduledEventAttributes{
				ActivityId: id, ActivityType: &commonpb.ActivityType{Name: kind}, Input: payloads(input),
			},
		}})
	}
	for question, h := range f.histories {
		id := question + "-decision-1-00000000"
		step(workflows.AwaitDecision, id, h.round)
		if h.end.Outcome != "" {
			step(workflows.CloseCard, "", workflows.Closing{ActivityID: id, Result: h.end})
		}
	}
	return &events
}

type iterator []*historypb.HistoryEvent

func (i *iterator) HasNext() bool { return len(*i) > 0 }

func (i *iterator) Next() (*historypb.HistoryEvent, error) {
	first := (*i)[0]
	*i = (*i)[1:]
	return first, nil
}

func (f *fake) UpdateWorkflow(_ context.Context, o client.UpdateWorkflowOptions) (client.WorkflowUpdateHandle, error) {
	f.changed = append(f.changed, o)
	return handle{err: f.change}, nil
}

type handle struct {
	client.WorkflowUpdateHandle
	err error
}

func (h handle) Get(context.Context, any) error { return h.err }

func (f *fake) CompleteActivityByID(_ context.Context, _, workflowID, runID, activityID string, result any, err error) error {
	f.completed = append(f.completed, completion{workflowID, runID, activityID, result, err})
	return f.complete
}

func (f *fake) ListWorkflow(_ context.Context, r *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	if f.list == nil {
		return nil, &serviceerror.Unavailable{Message: "away"}
	}
	ended := strings.Contains(r.GetQuery(), "!= 'Running'")
	page := &workflowservice.ListWorkflowExecutionsResponse{Executions: f.list[ended], NextPageToken: f.more}
	return page, nil
}

// printed is what a command has done.
type printed struct {
	out, err string
	fail     error
	code     int // of Error; 1 for another
}

// run runs a command line.
func (f *fake) run(t *testing.T, ctx context.Context, stdin string, args ...string) printed {
	t.Helper()
	var stdout, stderr bytes.Buffer
	s := Streams{In: strings.NewReader(stdin), Out: &stdout, Err: &stderr}
	if f.in != nil {
		s.In = f.in
	}
	if f.out != nil {
		s.Out = f.out
	}
	root := &cobra.Command{Use: "countersign", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(Commands(func(context.Context) (Client, func(), error) {
		f.connected++
		return Client{
			Temporal: f, Records: record.Reader{Temporal: f, Namespace: "default", TaskQueue: "countersign"}, AllowDecide: !f.off,
		}, func() {}, f.connect
	}, s)...)
	root.SetArgs(args)
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	err := root.ExecuteContext(ctx)
	p := printed{out: stdout.String(), err: stderr.String(), fail: err}
	var e *Error
	switch {
	case errors.As(err, &e):
		p.code = e.Code
	case err != nil:
		p.code = 1
	}
	return p
}

// says checks the exit code, and that the error has all of what.
func (p printed) says(t *testing.T, code int, what ...string) {
	t.Helper()
	if p.code != code {
		t.Errorf("exit code %d, want %d: %v", p.code, code, p.fail)
	}
	for _, s := range what {
		if s != "" && (p.fail == nil || !strings.Contains(p.fail.Error(), s)) {
			t.Errorf("the error is %v, want %q in it", p.fail, s)
		}
	}
}

// inTime runs a test in which waiting takes no time.
func inTime(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, test)
}

// request is one that waits for bob or carol.
func request() workflows.Request {
	return workflows.Request{
		Title: "Deploy v2", Channel: "C0GENERAL1", Requester: "U0ALICE001",
		Approvers: workflows.Approvers{Users: []string{bob.ID, carol.ID}}, ExpiresAt: until,
	}
}

// open is a request that is open, as its workflow lists it.
func open(question string, r workflows.Request, decisions ...workflows.Decision) workflows.Listed {
	round := workflows.Round{Request: r, Number: 1 + len(decisions), Decisions: decisions}
	l := workflows.Listed{
		Question: question, ActivityID: question + "-decision-1-00000000", Round: round, Counted: round.Counted(),
		Digest: "d1", Card: posted, Permalink: permalink, AskedAt: asked,
	}
	for _, role := range round.Tally().Missing {
		l.Missing = append(l.Missing, workflows.Role{Name: role.Name, Required: role.Required})
	}
	return l
}

// closed is a request that has ended.
func closed(question string, r workflows.Request, o workflows.Outcome, decisions ...workflows.Decision) workflows.Listed {
	l := open(question, r, decisions...)
	l.ActivityID, l.Missing, l.Outcome, l.EndedAt = "", nil, o, asked.Add(time.Hour)
	return l
}

func decision(o workflows.Outcome, by workflows.Person) workflows.Decision {
	return workflows.Decision{Outcome: o, By: by, At: asked.Add(time.Hour)}
}
