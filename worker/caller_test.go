package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"countersign/workflows"
)

func TestUntil(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	in := func(d time.Duration) time.Time { return now.Add(d) }
	p := Policy{Deadline: 24 * time.Hour}
	for name, tc := range map[string]struct {
		deadline workflows.Duration
		expires  time.Time
		end      time.Time
		want     time.Time // as it is, where that is zero
	}{
		"never ends":                        {end: time.Time{}, deadline: "366d"},
		"never ends, and says nothing":      {},
		"expires before, by deadline":       {deadline: "1h", end: in(2 * time.Hour)},
		"expires before, by expires_at":     {expires: in(time.Hour), end: in(2 * time.Hour)},
		"expires before, by default":        {end: in(25 * time.Hour)},
		"expires after, by deadline":        {deadline: "3h", end: in(2 * time.Hour), want: in(119 * time.Minute)},
		"expires after, by expires_at":      {expires: in(3 * time.Hour), end: in(2 * time.Hour), want: in(119 * time.Minute)},
		"expires after, by default":         {end: in(2 * time.Hour), want: in(119 * time.Minute)},
		"expires at the same time":          {deadline: "2h", end: in(2 * time.Hour), want: in(119 * time.Minute)},
		"expires in the last moment":        {deadline: "119m", end: in(2 * time.Hour)},
		"has expired":                       {expires: in(-time.Hour), end: in(time.Minute)},
		"ends in ten minutes":               {end: in(10 * time.Minute), want: in(9 * time.Minute)},
		"ends in a minute":                  {end: in(time.Minute), want: in(54 * time.Second)},
		"ends in half a minute":             {end: in(30 * time.Second), want: in(25 * time.Second)},
		"ends in a second":                  {end: in(time.Second), want: in(500 * time.Millisecond)},
		"deadline and expires_at":           {deadline: "3h", expires: in(3 * time.Hour), end: in(time.Hour)},
		"deadline that is none":             {deadline: "soon", end: in(time.Hour)},
		"deadline that is none, expires_at": {deadline: "soon", expires: in(3 * time.Hour), end: in(time.Hour)},
		"end in another time zone":          {end: in(10 * time.Minute).In(time.FixedZone("", 3600)), want: in(9 * time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := workflows.Request{Title: "Deploy", Deadline: tc.deadline, ExpiresAt: tc.expires}
			want := r
			if !tc.want.IsZero() {
				want.Deadline, want.ExpiresAt = "", tc.want
			}
			if diff := cmp.Diff(want, p.until(r, now, tc.end)); diff != "" {
				t.Errorf("until (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEnd(t *testing.T) {
	t.Parallel()
	scheduled := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	attempts := func(n int32) *temporal.RetryPolicy { return &temporal.RetryPolicy{MaximumAttempts: n} }
	attempt, all := scheduled.Add(time.Minute), scheduled.Add(time.Hour)
	for name, tc := range map[string]struct {
		info activity.Info
		want time.Time
	}{
		"tries for ever":                      {activity.Info{}, time.Time{}},
		"tries for ever, as its policy says":  {activity.Info{RetryPolicy: attempts(0), Attempt: 7}, time.Time{}},
		"tries once":                          {activity.Info{RetryPolicy: attempts(1), Attempt: 1}, attempt},
		"tries again":                         {activity.Info{RetryPolicy: attempts(3), Attempt: 2}, time.Time{}},
		"tries for the last time":             {activity.Info{RetryPolicy: attempts(3), Attempt: 3}, attempt},
		"has so much time":                    {activity.Info{ScheduleToCloseTimeout: time.Hour}, all},
		"has so much time, and tries again":   {activity.Info{ScheduleToCloseTimeout: time.Hour, RetryPolicy: attempts(3), Attempt: 2}, all},
		"has so much time, for the last time": {activity.Info{ScheduleToCloseTimeout: time.Hour, RetryPolicy: attempts(3), Attempt: 3}, attempt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.info.ScheduledTime, tc.info.Deadline = scheduled, attempt // which is the earlier one
			if got := end(tc.info); !got.Equal(tc.want) {
				t.Errorf("end = %v, want %v", got, tc.want)
			}
		})
	}
}

// callerWorld is a world with a caller.
type callerWorld struct {
	*world
	temporal *callers
	info     activity.Info // what an activity sees of itself, as far as it is not zero
}

// callers is a Temporal with one caller, and one approval.
type callers struct {
	*fakeTemporal

	caller   enumspb.WorkflowExecutionStatus
	others   []*workflowpb.PendingActivityInfo // beside the one that is pending
	start    error
	beat     error
	approval enumspb.WorkflowExecutionStatus
	ended    error // how the approval ended
	result   workflows.Result

	did      []string // in its order
	signs    []asking
	options  []client.StartWorkflowOptions
	inputs   []workflows.ForCaller
	looked   []workflows.Caller
	answered []workflows.Caller
	answers  []answer
}

// answer is what an activity was completed with.
type answer struct {
	result any
	err    error
}

const (
	approvalID  = "approval-1"
	callerID    = "deploy-7"
	callerRunID = "deploy-7-run"
	callersID   = "5"
)

var theCaller = workflows.Caller{WorkflowID: callerID, RunID: callerRunID, ActivityID: callersID}

func newCallerWorld(t *testing.T) *callerWorld {
	w := newWorld(t)
	c := &callerWorld{world: w, temporal: &callers{
		fakeTemporal: w.temporal, caller: enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, approval: enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING,
	}}
	w.Activities.Temporal = c.temporal
	w.env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{&informer{world: c}}})
	return c
}

// informer has activities see what the world says of them.
type informer struct {
	interceptor.WorkerInterceptorBase
	world *callerWorld
}

func (i *informer) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &informed{interceptor.ActivityInboundInterceptorBase{Next: next}, i.world}
}

type informed struct {
	interceptor.ActivityInboundInterceptorBase
	world *callerWorld
}

func (i *informed) Init(out interceptor.ActivityOutboundInterceptor) error {
	return i.Next.Init(&informing{interceptor.ActivityOutboundInterceptorBase{Next: out}, i.world})
}

type informing struct {
	interceptor.ActivityOutboundInterceptorBase
	world *callerWorld
}

func (i *informing) GetInfo(ctx context.Context) activity.Info {
	info, say := i.Next.GetInfo(ctx), i.world.info
	if say.WorkflowExecution.ID != "" {
		info.WorkflowExecution.ID = say.WorkflowExecution.ID
	}
	if say.WorkflowExecution.RunID != "" {
		info.WorkflowExecution.RunID = say.WorkflowExecution.RunID
	}
	if say.ActivityID != "" {
		info.ActivityID = say.ActivityID
	}
	if say.Attempt != 0 {
		info.Attempt = say.Attempt
	}
	if !say.ScheduledTime.IsZero() {
		info.ScheduledTime = say.ScheduledTime
	}
	if say.RetryPolicy != nil {
		info.RetryPolicy = say.RetryPolicy
	}
	if say.ScheduleToCloseTimeout != 0 {
		info.ScheduleToCloseTimeout = max(say.ScheduleToCloseTimeout, 0) // less is none
	}
	return info
}

func (c *callers) DescribeWorkflowExecution(_ context.Context, id, runID string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	status := c.approval
	r := &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: &workflowpb.WorkflowExecutionInfo{}}
	if !strings.HasPrefix(id, "approval-") {
		c.looked = append(c.looked, workflows.Caller{WorkflowID: id, RunID: runID})
		status = c.caller
		if r.PendingActivities = c.others; c.pending != nil {
			r.PendingActivities = append(r.PendingActivities, c.pending)
		}
	}
	r.WorkflowExecutionInfo.Status = status
	return r, c.describe
}

func (c *callers) RecordActivityHeartbeat(_ context.Context, token []byte, details ...any) error {
	if len(token) == 0 || len(details) != 1 {
		return fmt.Errorf("a heartbeat of %q with %v", token, details)
	}
	c.did = append(c.did, "sign")
	c.signs = append(c.signs, details[0].(asking))
	return c.beat
}

func (c *callers) RecordActivityHeartbeatByID(_ context.Context, ns, id, runID, activityID string, details ...any) error {
	if ns != namespace || id != callerID || runID != callerRunID || activityID != callersID || len(details) != 1 {
		return fmt.Errorf("a heartbeat for %s/%s/%s/%s with %v", ns, id, runID, activityID, details)
	}
	c.signs = append(c.signs, details[0].(asking))
	return c.beat
}

func (c *callers) ExecuteWorkflow(_ context.Context, o client.StartWorkflowOptions, _ any, args ...any) (client.WorkflowRun, error) {
	c.did = append(c.did, "start")
	c.options, c.inputs = append(c.options, o), append(c.inputs, args[0].(workflows.ForCaller))
	return nil, c.start
}

func (c *callers) GetWorkflow(context.Context, string, string) client.WorkflowRun {
	return &ended{result: c.result, err: c.ended}
}

func (c *callers) CompleteActivityByID(_ context.Context, ns, id, runID, activityID string, result any, err error) error {
	if ns != namespace {
		return fmt.Errorf("namespace %q", ns)
	}
	c.answered = append(c.answered, workflows.Caller{WorkflowID: id, RunID: runID, ActivityID: activityID})
	c.answers = append(c.answers, answer{result, err})
	return c.complete
}

// ended is a run that has ended.
type ended struct {
	client.WorkflowRun
	result workflows.Result
	err    error
}

func (e *ended) Get(_ context.Context, v any) error {
	if e.err == nil {
		*v.(*workflows.Result) = e.result
	}
	return e.err
}

// failed is how a run ends that fails, as a client reads it.
func failed(cause error) error {
	c := temporal.GetDefaultFailureConverter()
	return fmt.Errorf("%w: %w", &temporal.WorkflowExecutionError{}, c.FailureToError(c.ErrorToFailure(cause)))
}

// waits has the caller's activity open, signed for that approval; empty: not signed.
func (c *callerWorld) waits(activityID string, state enumspb.PendingActivityState, approval string) {
	c.Helper()
	var sign any
	if approval != "" {
		sign = asking{approval}
	}
	c.isPending(activityID, state, time.Now(), sign)
}

// isLater checks that an attempt ended so that there is another one, without a fuss, and says when.
func isLater(t *testing.T, err error) time.Duration {
	t.Helper()
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.NonRetryable() || app.NextRetryDelay() <= 0 || app.Category() != temporal.ApplicationErrorCategoryBenign {
		t.Fatalf("%v, want it to be tried again", err)
	}
	return app.NextRetryDelay()
}

// isFinal checks that an activity failed for good, with that type and message.
func isFinal(t *testing.T, err error, kind, msg string) *temporal.ApplicationError {
	t.Helper()
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || !app.NonRetryable() || app.Type() != kind || app.Message() != msg {
		t.Fatalf("%v, want %s for good: %s", err, kind, msg)
	}
	return app
}

// isTriedAgain checks that an activity failed so that Temporal tries it again.
func isTriedAgain(t *testing.T, err error) {
	t.Helper()
	var app *temporal.ApplicationError
	if err == nil || err == activity.ErrResultPending || !errors.As(err, &app) || app.NonRetryable() || app.NextRetryDelay() != 0 {
		t.Errorf("%v, want an error that is tried again", err)
	}
}

func TestRequestApproval(t *testing.T) {
	t.Run("signs, starts the approval, and stays open", func(t *testing.T) {
		w := newCallerWorld(t)
		r := request()
		r.Title += " *now*"
		w.info = activity.Info{ActivityID: callersID, Attempt: 1, ScheduleToCloseTimeout: -1}
		w.info.WorkflowExecution.ID, w.info.WorkflowExecution.RunID = callerID, callerRunID
		if _, err := w.env.ExecuteActivity(w.RequestApproval, r); err != activity.ErrResultPending {
			t.Fatalf("RequestApproval: %v, want activity.ErrResultPending itself", err)
		}
		if diff := cmp.Diff([]string{"sign", "start"}, w.temporal.did); diff != "" {
			t.Errorf("did (-want +got):\n%s", diff)
		}
		o := w.temporal.options[0]
		if o.ID != w.temporal.signs[0].Approval || !o.WorkflowExecutionErrorWhenAlreadyStarted ||
			o.WorkflowIDReusePolicy != enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE ||
			o.StaticSummary != "Greet World *now*" || o.StaticDetails != "For the activity 5 of the workflow deploy-7" {
			t.Errorf("signed %+v, and started %+v", w.temporal.signs, o)
		}
		if !strings.HasPrefix(o.ID, "approval-") || strings.Contains(o.ID, callerID) {
			t.Errorf("the approval's ID is %q", o.ID)
		}
		if diff := cmp.Diff([]workflows.ForCaller{{Request: r, Caller: theCaller}}, w.temporal.inputs); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
	})
	t.Run("what was wrong in the JSON is handed on", func(t *testing.T) {
		w := newCallerWorld(t)
		_, err := w.env.ExecuteActivity(workflows.RequestApproval, map[string]any{"title": "Deploy", "required": "two"})
		if in := w.temporal.inputs; err != activity.ErrResultPending || len(in) != 1 || !strings.Contains(in[0].Malformed, "required is of the type string") {
			t.Errorf("RequestApproval: %v, asked %+v", err, in)
		}
	})
	t.Run("its activity ends before the request would", func(t *testing.T) {
		w := newCallerWorld(t)
		w.info = activity.Info{ScheduledTime: time.Now(), ScheduleToCloseTimeout: 20 * time.Minute}
		if _, err := w.env.ExecuteActivity(w.RequestApproval, request()); err != activity.ErrResultPending {
			t.Fatalf("RequestApproval: %v", err)
		}
		want := w.info.ScheduledTime.Add(19 * time.Minute).UTC()
		if got := w.temporal.inputs[0].Request.ExpiresAt; !got.Equal(want) {
			t.Errorf("it expires at %v, want %v", got, want)
		}
	})

	for name, arrange := range map[string]func(*callerWorld){
		"cancelled": func(w *callerWorld) { w.temporal.beat = temporal.NewCanceledError() },
		"paused":    func(w *callerWorld) { w.temporal.beat = activity.ErrActivityPaused },
		"reset":     func(w *callerWorld) { w.temporal.beat = activity.ErrActivityReset },
	} {
		t.Run(name, func(t *testing.T) {
			w := newCallerWorld(t)
			arrange(w)
			if _, err := w.env.ExecuteActivity(w.RequestApproval, request()); err != activity.ErrResultPending || len(w.temporal.inputs) != 1 {
				t.Errorf("RequestApproval: %v, and asked %+v", err, w.temporal.inputs)
			}
		})
	}
	for name, tc := range map[string]struct {
		arrange func(*callerWorld)
		asks    int
	}{
		"ended before it could sign":          {func(w *callerWorld) { w.temporal.beat = notFound }, 0},
		"Temporal is away":                    {func(w *callerWorld) { w.temporal.beat = away }, 0},
		"Temporal is away, after the sign":    {func(w *callerWorld) { w.temporal.start = away }, 1},
		"the worker stops":                    {func(w *callerWorld) { w.temporal.beat = context.Canceled }, 0},
		"the worker stops, after the sign":    {func(w *callerWorld) { w.temporal.start = context.Canceled }, 1},
		"Temporal is too slow":                {func(w *callerWorld) { w.temporal.start = context.DeadlineExceeded }, 1},
		"there are too many workflows so far": {func(w *callerWorld) { w.temporal.start = serviceerror.NewResourceExhausted(0, "busy") }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newCallerWorld(t)
			tc.arrange(w)
			_, err := w.env.ExecuteActivity(w.RequestApproval, request())
			if isTriedAgain(t, err); len(w.temporal.inputs) != tc.asks {
				t.Errorf("asked %+v", w.temporal.inputs)
			}
		})
	}

	t.Run("local activity", func(t *testing.T) {
		w := newCallerWorld(t)
		_, err := w.env.ExecuteLocalActivity(w.RequestApproval, request())
		isFinal(t, err, workflows.ErrTypeInvalidRequest, "A local activity cannot wait for a person: schedule an ordinary one.")
	})
	t.Run("without a workflow", func(t *testing.T) {
		w := newCallerWorld(t)
		w.env.SetExecuteActivitiesInWorkflow(false)
		_, err := w.env.ExecuteActivity(w.RequestApproval, request())
		isFinal(t, err, workflows.ErrTypeInvalidRequest, "Schedule RequestApproval from a workflow, or start the workflow Approval.")
		if len(w.temporal.did) > 0 {
			t.Errorf("did %q", w.temporal.did)
		}
	})
	t.Run("more than Temporal takes", func(t *testing.T) {
		w := newCallerWorld(t)
		r := request()
		r.Text = strings.Repeat("<", 200_000) // It is longer in our JSON.
		_, err := w.env.ExecuteActivity(w.RequestApproval, r)
		isFinal(t, err, workflows.ErrTypeInvalidRequest, "The request is too large: shorten it.")
		if len(w.temporal.did) > 0 {
			t.Errorf("did %q", w.temporal.did)
		}
	})
}

// All attempts of an activity have one approval; another activity has another.
func TestApprovalsID(t *testing.T) {
	scheduled := time.Date(2026, 11, 23, 12, 0, 0, 1000, time.UTC)
	w := newCallerWorld(t)
	id := func(change func(*activity.Info)) string {
		w.info = activity.Info{ActivityID: callersID, Attempt: 1, ScheduledTime: scheduled}
		w.info.WorkflowExecution.ID, w.info.WorkflowExecution.RunID = callerID, callerRunID
		change(&w.info)
		if _, err := w.env.ExecuteActivity(w.RequestApproval, request()); err != activity.ErrResultPending {
			t.Fatalf("RequestApproval: %v", err)
		}
		return w.temporal.options[len(w.temporal.options)-1].ID
	}
	first := id(func(*activity.Info) {})
	for name, tc := range map[string]struct {
		change func(*activity.Info)
		same   bool
	}{
		"another attempt":       {func(i *activity.Info) { i.Attempt = 2 }, true},
		"the same time, abroad": {func(i *activity.Info) { i.ScheduledTime = scheduled.In(time.FixedZone("", 3600)) }, true},
		"another workflow":      {func(i *activity.Info) { i.WorkflowExecution.ID = "deploy-8" }, false},
		"another run":           {func(i *activity.Info) { i.WorkflowExecution.RunID = "deploy-7-again" }, false},
		"another activity":      {func(i *activity.Info) { i.ActivityID = "6" }, false},
		"scheduled again":       {func(i *activity.Info) { i.ScheduledTime = scheduled.Add(time.Microsecond) }, false},
	} {
		if got := id(tc.change); (got == first) != tc.same {
			t.Errorf("%s: the IDs are %s and %s, want the same %v", name, first, got, tc.same)
		}
	}
}

// A further attempt finds what the first has asked.
func TestRequestApprovalAgain(t *testing.T) {
	approved := workflows.Result{Outcome: workflows.Approved, Choice: "Blue", Digest: "d"}
	no := workflows.Decision{Outcome: workflows.Rejected, By: workflows.Person{ID: bob, Name: "bob"}, Reason: "Not today."}
	withdrawn := workflows.Result{Outcome: workflows.Withdrawn, Digest: "d"}
	const closed = enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED
	const anew = "The workflow that asks people has ended without an outcome: ask anew."
	again := func(t *testing.T, arrange func(*callers)) (workflows.Result, error) {
		w := newCallerWorld(t)
		w.temporal.start = serviceerror.NewWorkflowExecutionAlreadyStarted("there", "", "")
		arrange(w.temporal)
		v, err := w.env.ExecuteActivity(w.RequestApproval, request())
		var res workflows.Result
		if err == nil {
			err = v.Get(&res)
		}
		if len(w.temporal.signs) != 1 {
			t.Errorf("signed %v", w.temporal.signs)
		}
		return res, err
	}
	for name, tc := range map[string]struct {
		arrange func(*callers)
		want    workflows.Result
	}{
		"approved":  {func(c *callers) { c.approval, c.result = closed, approved }, approved},
		"withdrawn": {func(c *callers) { c.approval, c.ended = closed, failed(temporal.NewCanceledError(withdrawn)) }, withdrawn},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := again(t, tc.arrange)
			if diff := cmp.Diff(tc.want, res); err != nil || diff != "" {
				t.Errorf("RequestApproval: %v (-want +got):\n%s", err, diff)
			}
		})
	}
	t.Run("not decided", func(t *testing.T) {
		if _, err := again(t, func(*callers) {}); err != activity.ErrResultPending {
			t.Errorf("RequestApproval: %v, want activity.ErrResultPending itself", err)
		}
	})
	t.Run("rejected", func(t *testing.T) {
		_, err := again(t, func(c *callers) { c.approval, c.ended = closed, failed(workflows.RejectedError(no)) })
		app := isFinal(t, err, workflows.ErrTypeRejected, "rejected by bob: Not today.")
		var d workflows.Decision
		if err := app.Details(&d); err != nil || !cmp.Equal(no, d) {
			t.Errorf("details %+v, %v", d, err)
		}
	})
	t.Run("could not be asked", func(t *testing.T) {
		_, err := again(t, func(c *callers) {
			c.approval, c.ended = closed, failed(workflows.InvalidRequestError("The title is empty."))
		})
		isFinal(t, err, workflows.ErrTypeInvalidRequest, "The title is empty.")
	})
	for name, cause := range map[string]error{
		"terminated":                    &temporal.TerminatedError{},
		"cancelled, and says no more":   temporal.NewCanceledError(),
		"cancelled, and says something": temporal.NewCanceledError("bye"),
		"out of time":                   temporal.NewTimeoutError(enumspb.TIMEOUT_TYPE_START_TO_CLOSE, nil),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := again(t, func(c *callers) { c.approval, c.ended = closed, failed(cause) })
			isFinal(t, err, workflows.ErrTypeNotAnswered, anew)
		})
	}
	for name, arrange := range map[string]func(*callers){
		"cannot be looked at":        func(c *callers) { c.describe = away },
		"is not there any more":      func(c *callers) { c.describe = notFound },
		"its outcome cannot be read": func(c *callers) { c.approval, c.ended = closed, away },
	} {
		t.Run(name, func(t *testing.T) {
			_, err := again(t, arrange)
			isTriedAgain(t, err)
		})
	}
}

func TestWatchCaller(t *testing.T) {
	const started = enumspb.PENDING_ACTIVITY_STATE_STARTED
	look := func(w *callerWorld, waited time.Duration) error {
		w.info.WorkflowExecution.ID, w.info.ScheduledTime = approvalID, time.Now().Add(-waited)
		_, err := w.env.ExecuteActivity(w.WatchCaller, theCaller)
		return err
	}
	watch := func(t *testing.T, waited time.Duration, arrange func(*callerWorld)) error {
		w := newCallerWorld(t)
		arrange(w)
		err := look(w, waited)
		if diff := cmp.Diff([]workflows.Caller{{WorkflowID: callerID, RunID: callerRunID}}, w.temporal.looked); diff != "" {
			t.Errorf("looked at (-want +got):\n%s", diff)
		}
		return err
	}
	for name, state := range map[string]enumspb.PendingActivityState{
		"waits":                     started,
		"waits for another attempt": enumspb.PENDING_ACTIVITY_STATE_SCHEDULED,
		"is paused":                 enumspb.PENDING_ACTIVITY_STATE_PAUSED,
		"is about to be paused":     enumspb.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED,
	} {
		t.Run(name, func(t *testing.T) {
			isLater(t, watch(t, 0, func(w *callerWorld) { w.waits(callersID, state, approvalID) }))
		})
	}
	t.Run("has no sign yet", func(t *testing.T) {
		isLater(t, watch(t, 0, func(w *callerWorld) { w.waits(callersID, started, "") }))
	})
	t.Run("the longer it waits, the less often", func(t *testing.T) {
		w := newCallerWorld(t)
		w.waits(callersID, started, approvalID)
		last := time.Duration(0)
		for _, waited := range []time.Duration{0, 40 * time.Second, 2 * time.Minute, 5 * time.Minute, 30 * 24 * time.Hour} {
			d := isLater(t, look(w, waited))
			if d < watchEarly || d > watchLate || d < last || waited > time.Minute && d == last {
				t.Errorf("after %v again in %v, before that %v", waited, d, last)
			}
			last = d
		}
		if last != watchLate {
			t.Errorf("at last again in %v, want %v", last, watchLate)
		}
	})
	for timeout, want := range map[workflows.Duration]time.Duration{
		"": watchLate, "2s": watchEarly, "30s": 10 * time.Second, "1h": watchLate, "soon": watchLate,
	} {
		for answer, beat := range map[string]error{"taken": nil, "not open": notFound, "away": away} {
			t.Run("has heartbeats every "+string(timeout)+", "+answer, func(t *testing.T) {
				w := newCallerWorld(t)
				w.temporal.beat = beat
				w.waits(callersID, started, approvalID)
				w.info.WorkflowExecution.ID, w.info.ScheduledTime = approvalID, time.Now().Add(-time.Hour)
				caller := theCaller
				caller.HeartbeatTimeout = timeout
				_, err := w.env.ExecuteActivity(w.WatchCaller, caller)
				if d := isLater(t, err); d != want {
					t.Errorf("again in %v, want %v", d, want)
				}
				signs := []asking{{Approval: approvalID}}
				if timeout == "" || timeout == "soon" {
					signs = nil
				}
				if diff := cmp.Diff(signs, w.temporal.signs); diff != "" {
					t.Errorf("heartbeats (-want +got):\n%s", diff)
				}
			})
		}
	}
	for name, arrange := range map[string]func(*callerWorld){
		"is being cancelled":  func(w *callerWorld) { w.waits(callersID, enumspb.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED, approvalID) },
		"waits for nothing":   func(*callerWorld) {},
		"waits for others":    func(w *callerWorld) { w.waits("6", started, approvalID) },
		"asks something else": func(w *callerWorld) { w.waits(callersID, started, "approval-2") },
		"there is no such":    func(w *callerWorld) { w.temporal.describe = notFound },
		"has completed": func(w *callerWorld) {
			w.waits(callersID, started, approvalID)
			w.temporal.caller = enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED
		},
		"was terminated": func(w *callerWorld) {
			w.waits(callersID, started, approvalID)
			w.temporal.caller = enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED
		},
		"goes on in another run": func(w *callerWorld) {
			w.waits(callersID, started, approvalID)
			w.temporal.caller = enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := watch(t, time.Hour, arrange); err != nil {
				t.Errorf("WatchCaller: %v, want that nobody waits", err)
			}
		})
	}
	for name, arrange := range map[string]func(*callerWorld){
		"Temporal is away": func(w *callerWorld) { w.temporal.describe = away },
		"the worker stops": func(w *callerWorld) { w.temporal.describe = context.Canceled },
		"its sign cannot be read": func(w *callerWorld) {
			w.waits(callersID, started, approvalID)
			w.temporal.pending.HeartbeatDetails = &commonpb.Payloads{Payloads: []*commonpb.Payload{{}}}
		},
	} {
		t.Run(name, func(t *testing.T) { isTriedAgain(t, watch(t, 0, arrange)) })
	}
	t.Run("waits among others", func(t *testing.T) {
		isLater(t, watch(t, 0, func(w *callerWorld) {
			w.waits("4", started, "approval-4")
			w.temporal.others = []*workflowpb.PendingActivityInfo{w.temporal.pending}
			w.waits(callersID, started, approvalID)
		}))
	})
}

func TestAnswerCaller(t *testing.T) {
	const (
		open       = enumspb.PENDING_ACTIVITY_STATE_STARTED
		cancelling = enumspb.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED
	)
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	no := workflows.Decision{Outcome: workflows.Rejected, By: workflows.Person{ID: bob, Name: "bob"}, Reason: "Not today."}
	approved := workflows.Result{Outcome: workflows.Approved, Digest: "d"}
	rejected := workflows.Result{Outcome: workflows.Rejected, Decisions: []workflows.Decision{no}}
	withdrawn := workflows.Result{Outcome: workflows.Withdrawn, EndedAt: at}
	byPerson := workflows.Result{Outcome: workflows.Withdrawn, Changes: []workflows.Change{{Kind: workflows.Withdraw, By: workflows.Person{ID: alice}}}}
	byTime := workflows.Result{Outcome: workflows.Rejected, ByDeadline: true, EndedAt: at}

	says := func(r workflows.Result, errType, msg string) workflows.CallerAnswer {
		return workflows.CallerAnswer{Caller: theCaller, Result: r, ErrType: errType, Message: msg}
	}
	give := func(t *testing.T, in workflows.CallerAnswer, arrange func(*callerWorld)) (*callerWorld, error) {
		w := newCallerWorld(t)
		w.info.WorkflowExecution.ID = approvalID
		arrange(w)
		_, err := w.env.ExecuteActivity(w.AnswerCaller, in)
		return w, err
	}
	waits := func(state enumspb.PendingActivityState) func(*callerWorld) {
		return func(w *callerWorld) { w.waits(callersID, state, approvalID) }
	}
	one := func(t *testing.T, w *callerWorld, err error) answer {
		t.Helper()
		if diff := cmp.Diff([]workflows.Caller{theCaller}, w.temporal.answered); err != nil || diff != "" {
			t.Fatalf("AnswerCaller: %v, answered (-want +got):\n%s", err, diff)
		}
		return w.temporal.answers[0]
	}

	for name, tc := range map[string]struct {
		result workflows.Result
		state  enumspb.PendingActivityState
	}{
		"approved":                             {approved, open},
		"approved, and is being cancelled":     {approved, cancelling},
		"approved, and waits for an attempt":   {approved, enumspb.PENDING_ACTIVITY_STATE_SCHEDULED},
		"approved, and is paused":              {approved, enumspb.PENDING_ACTIVITY_STATE_PAUSED},
		"rejected":                             {rejected, open},
		"expired":                              {workflows.Result{Outcome: workflows.Expired}, open},
		"withdrawn by a person":                {byPerson, open},
		"withdrawn by a person, and cancelled": {byPerson, cancelling},
		"withdrawn by nobody who waits":        {withdrawn, open}, // An operator cancelled the approval.
	} {
		t.Run(name, func(t *testing.T) {
			w, err := give(t, says(tc.result, "", ""), waits(tc.state))
			if a := one(t, w, err); a.err != nil || !cmp.Equal(any(tc.result), a.result) {
				t.Errorf("answered %+v, want %+v", a, tc.result)
			}
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		w, err := give(t, says(withdrawn, "", ""), waits(cancelling))
		a := one(t, w, err)
		var (
			cancelled *temporal.CanceledError
			got       workflows.Result
		)
		if a.result != nil || !errors.As(a.err, &cancelled) || cancelled.Details(&got) != nil || !cmp.Equal(withdrawn, got) {
			t.Errorf("answered %+v, with %+v", a, got)
		}
	})
	for name, tc := range map[string]struct {
		result workflows.Result
		want   workflows.Decision
		msg    string
	}{
		"rejected, and fails":                 {rejected, no, "rejected by bob: Not today."},
		"rejected by the deadline, and fails": {byTime, byTime.Rejection(), "rejected: nobody decided in time"},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := give(t, says(tc.result, workflows.ErrTypeRejected, "whatever"), waits(open))
			a := one(t, w, err)
			var d workflows.Decision
			if app := isFinal(t, a.err, workflows.ErrTypeRejected, tc.msg); a.result != nil || app.Details(&d) != nil || !cmp.Equal(tc.want, d) {
				t.Errorf("answered %+v, with %+v", a, d)
			}
		})
	}
	for name, state := range map[string]enumspb.PendingActivityState{"fails": open, "fails, and is being cancelled": cancelling} {
		t.Run(name, func(t *testing.T) {
			w, err := give(t, says(workflows.Result{}, workflows.ErrTypeInvalidRequest, "The title is empty."), waits(state))
			a := one(t, w, err)
			if app := isFinal(t, a.err, workflows.ErrTypeInvalidRequest, "The title is empty."); a.result != nil || app.Category() != temporal.ApplicationErrorCategoryBenign {
				t.Errorf("answered %+v", a)
			}
		})
	}

	for name, arrange := range map[string]func(*callerWorld){
		"nobody waits":           func(*callerWorld) {},
		"others wait":            func(w *callerWorld) { w.waits("6", open, approvalID) },
		"asks something else":    func(w *callerWorld) { w.waits(callersID, open, "approval-2") },
		"the caller is unknown":  func(w *callerWorld) { w.temporal.describe = notFound },
		"the caller has ended":   func(w *callerWorld) { waits(open)(w); w.temporal.caller = enumspb.WORKFLOW_EXECUTION_STATUS_FAILED },
		"the caller is done for": func(w *callerWorld) { waits(open)(w); w.temporal.caller = enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED },
	} {
		t.Run(name, func(t *testing.T) {
			w, err := give(t, says(approved, "", ""), arrange)
			if err != nil || len(w.temporal.answered) > 0 || !w.log.has("a caller has not waited for the outcome") || !w.log.has(callerID) {
				t.Errorf("AnswerCaller: %v, answered %v; log: %s", err, w.temporal.answered, &w.log.buf)
			}
		})
	}
	t.Run("has no sign yet", func(t *testing.T) {
		w, err := give(t, says(approved, "", ""), func(w *callerWorld) { w.waits(callersID, open, "") })
		if isLater(t, err); len(w.temporal.answered) > 0 {
			t.Errorf("answered %v", w.temporal.answered)
		}
	})
	t.Run("cannot fail between two attempts", func(t *testing.T) {
		_, err := give(t, says(rejected, workflows.ErrTypeRejected, ""), func(w *callerWorld) {
			w.waits(callersID, enumspb.PENDING_ACTIVITY_STATE_SCHEDULED, approvalID)
			w.temporal.complete = notFound
		})
		isLater(t, err)
	})
	for name, arrange := range map[string]func(*callerWorld){
		"Temporal cannot be asked": func(w *callerWorld) { w.temporal.describe = away },
		"Temporal cannot be told":  func(w *callerWorld) { waits(open)(w); w.temporal.complete = away },
		"the worker stops":         func(w *callerWorld) { waits(open)(w); w.temporal.complete = context.Canceled },
	} {
		t.Run(name, func(t *testing.T) {
			_, err := give(t, says(approved, "", ""), arrange)
			isTriedAgain(t, err)
		})
	}
}
