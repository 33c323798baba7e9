package workflows_test

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	sdkpb "go.temporal.io/api/sdk/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"countersign/workflows"
)

var (
	started  = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	deadline = started.Add(24 * time.Hour)
	greeting = workflows.GreetingInput{Greeting: "Hello", Name: "World", Channel: "C0GENERAL1", RequestedBy: alice.ID}

	alice = workflows.Person{ID: "U0ALICE001", Name: "alice", Team: "T0SIM0001"}
	bob   = workflows.Person{ID: "U0BOB00001", Name: "bob", Team: "T0SIM0001"}
	carol = workflows.Person{ID: "U0CAROL001", Name: "carol", Team: "T0SIM0001"}
	dave  = workflows.Person{ID: "U0DAVE0001", Name: "dave", Team: "T0SIM0001"}
	erin  = workflows.Person{ID: "U0ERIN0001", Name: "erin", Team: "T0SIM0001"}

	posted   = workflows.Card{Channel: "C0GENERAL1", TS: "1795176000.000100"}
	reposted = workflows.Card{Channel: "C0GENERAL1", TS: "1795176120.000200"}
)

const permalink = "https://example.slack.com/archives/C0GENERAL1/p1795176000000100"

// names are what people and groups are called in Slack.
var names = map[string]string{bob.ID: "bob", carol.ID: "carol", dave.ID: "dave", erin.ID: "erin", "S0SRE00001": "@sre", "S0SEC00001": "@security"}

// step is an activity that was executed, with its input.
type step struct {
	name  string
	input any
	at    time.Time
	token []byte
}

// open is an activity that stays open.
type open struct {
	id      string
	token   []byte
	request workflows.Request
	round   workflows.Round
	digest  string
}

// scheduled is an activity as the workflow has it.
type scheduled struct {
	name string
	workflow.ActivityOptions
	workflow.Future
	ctx workflow.Context
}

// slow is the answer of a fake for a step that takes its time: the test finishes it.
var slow = activity.ErrResultPending

// world is a workflow in the SDK's test environment, with activities that do nothing but note that they were executed.
// A test replaces what it wants to be otherwise. Whatever a test does, the world holds the workflow to some rules:
// [world.schedules] and [world.ends] have them.
type world struct {
	*testsuite.TestWorkflowEnvironment
	*testing.T

	prepare     func(context.Context, workflows.Request) (workflows.Request, error)
	compose     func(context.Context, workflows.Round) (workflows.Decision, error)
	await       func(workflows.Round) (workflows.Decision, error)
	postCard    func(workflows.CardInput) (workflows.Posted, error)
	redraw      func(workflows.CardInput) (workflows.Posted, error)
	postLine    func(workflows.Line) error
	absent      []string // whom a line mentions who is not there
	endDecision func(workflows.EndDecisionInput) (workflows.DecisionEnded, error)
	closeCard   func(workflows.Closing) error
	tell        func(workflows.Closing) error

	// unstarted are the activities of which no attempt is under way when they are cancelled.
	unstarted []string

	mu        sync.Mutex
	steps     []step
	opens     []open
	scheduled []scheduled
	memos     [][]workflows.Listed
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	w := &world{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment(), T: t}
	w.arrange()
	return w
}

// arrange registers what there is.
func (w *world) arrange() {
	w.SetStartTime(started)
	w.SetWorkerOptions(worker.Options{
		Interceptors:             []interceptor.WorkerInterceptor{&server{world: w}},
		DeadlockDetectionTimeout: time.Minute, // All tests run at once.
	})
	w.SetTestTimeout(time.Minute)
	w.RegisterWorkflow(workflows.Approval)
	w.RegisterWorkflow(workflows.Greeting)
	w.RegisterWorkflow(workflows.CloseCardLater)

	w.prepare = func(_ context.Context, r workflows.Request) (workflows.Request, error) {
		if r.Approvers.Empty() && len(r.Roles) == 0 {
			r.Approvers = workflows.Approvers{Users: []string{bob.ID}}
		}
		if d, _ := r.Deadline.Value(); d > 0 {
			r.ExpiresAt = started.Add(d)
		} else if r.ExpiresAt.IsZero() {
			r.ExpiresAt = deadline
		}
		return r, nil
	}
	w.compose = func(context.Context, workflows.Round) (workflows.Decision, error) {
		return workflows.Decision{}, activity.ErrResultPending
	}
	w.await = func(workflows.Round) (workflows.Decision, error) {
		return workflows.Decision{}, activity.ErrResultPending
	}
	w.postCard = func(in workflows.CardInput) (workflows.Posted, error) {
		if in.Instead {
			return workflows.Posted{Card: reposted}, nil
		}
		return workflows.Posted{Card: posted, Permalink: permalink, Names: names}, nil
	}
	w.redraw = func(in workflows.CardInput) (workflows.Posted, error) {
		return workflows.Posted{Card: in.Card, Permalink: permalink, Names: names}, nil
	}
	w.postLine = func(workflows.Line) error { return nil }
	w.endDecision = func(in workflows.EndDecisionInput) (workflows.DecisionEnded, error) {
		if !w.isOpen(in.ActivityID) {
			return workflows.DecisionEnded{}, errors.New("no attempt has it yet")
		}
		w.complete(in.ActivityID, nil, temporal.NewCanceledError(workflows.Result{Outcome: in.Outcome, Changes: in.Changes, Note: in.Note}))
		return workflows.DecisionEnded{}, nil
	}
	w.closeCard = func(workflows.Closing) error { return nil }
	w.tell = w.closeCard

	register(w, workflows.PrepareRequest, func(ctx context.Context, r workflows.Request) (workflows.Request, error) {
		return w.prepare(ctx, r)
	})
	register(w, workflows.ComposeGreeting, func(ctx context.Context, r workflows.Round) (workflows.Decision, error) {
		w.opened(ctx, r)
		return w.compose(ctx, r)
	})
	register(w, workflows.AwaitDecision, func(ctx context.Context, r workflows.Round) (workflows.Decision, error) {
		w.opened(ctx, r)
		return w.await(r)
	})
	register(w, workflows.PostCard, func(_ context.Context, in workflows.CardInput) (workflows.Posted, error) { return w.postCard(in) })
	register(w, workflows.RedrawCard, func(_ context.Context, in workflows.CardInput) (workflows.Posted, error) { return w.redraw(in) })
	register(w, workflows.PostLine, func(_ context.Context, l workflows.Line) ([]string, error) { return w.absent, w.postLine(l) })
	register(w, workflows.EndDecision, func(_ context.Context, in workflows.EndDecisionInput) (workflows.DecisionEnded, error) {
		return w.endDecision(in)
	})
	register(w, workflows.CloseCard, func(_ context.Context, c workflows.Closing) (any, error) { return nil, w.closeCard(c) })
	register(w, workflows.TellRequester, func(_ context.Context, c workflows.Closing) (any, error) { return nil, w.tell(c) })
	register(w, workflows.PostGreeting, func(context.Context, workflows.GreetingMessage) (any, error) { return nil, nil })
}

func register[In, Out any](w *world, name string, do func(context.Context, In) (Out, error)) {
	w.RegisterActivityWithOptions(func(ctx context.Context, in In) (Out, error) {
		w.mu.Lock()
		w.steps = append(w.steps, step{name, in, w.Now().UTC(), activity.GetInfo(ctx).TaskToken})
		w.mu.Unlock()
		return do(ctx, in)
	}, activity.RegisterOptions{Name: name})
}

// opened notes an activity that stays open; each of its attempts comes here.
func (w *world) opened(ctx context.Context, r workflows.Round) {
	info := activity.GetInfo(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.ContainsFunc(w.opens, func(o open) bool { return o.id == info.ActivityID }) {
		w.opens = append(w.opens, open{info.ActivityID, info.TaskToken, r.Request, r, digest(r.Request)})
	}
}

// at has f done at that time after the workflow's start.
func (w *world) at(d time.Duration, f func()) { w.RegisterDelayedCallback(f, d) }

// question is the n-th open activity.
func (w *world) question(n int) open {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.opens) <= n {
		w.Errorf("there are %d open activities, want more", len(w.opens))
		return open{token: []byte("none")}
	}
	return w.opens[n]
}

// last is the number of the activity that was opened last.
func (w *world) last() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.opens) - 1
}

func (w *world) isOpen(activityID string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.opens, func(o open) bool { return o.id == activityID })
}

// complete completes the open activity of that ID, as somebody outside does. Where it has ended already, nothing
// happens.
func (w *world) complete(activityID string, result any, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.opens, func(o open) bool { return o.id == activityID })
	if i < 0 {
		w.Errorf("no open activity %s", activityID)
		return
	}
	if err := w.CompleteActivity(w.opens[i].token, result, err); err != nil {
		w.Error(err)
	}
}

// finish finishes the n-th execution of a slow step.
func (w *world) finish(n int, name string, result any, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.steps {
		if s.name != name {
			continue
		}
		if n--; n < 0 {
			if err := w.CompleteActivity(s.token, result, err); err != nil {
				w.Error(err)
			}
			return
		}
	}
	w.Errorf("%s was not executed that often", name)
}

// click decides the n-th open activity as bob does in Slack.
func (w *world) click(n int, o workflows.Outcome, reason string) workflows.Decision {
	return w.decideOn(n, workflows.Decision{Outcome: o, By: bob, Reason: reason})
}

// decide decides the open activity in Slack; without an outcome, d approves.
func (w *world) decide(d workflows.Decision) workflows.Decision { return w.decideOn(w.last(), d) }

// approve has the people approve, one after the other, an hour after each other, from an hour after the start.
func (w *world) approve(people ...workflows.Person) {
	for i, p := range people {
		w.at(time.Duration(i+1)*time.Hour, func() { w.decide(workflows.Decision{By: p}) })
	}
}

func (w *world) decideOn(n int, d workflows.Decision) workflows.Decision {
	q := w.question(n)
	d.At, d.Digest, d.Card = w.Now().UTC(), q.digest, posted
	if d.Outcome == workflows.Rejected {
		w.complete(q.id, nil, workflows.RejectedError(d))
	} else {
		d.Outcome = workflows.Approved
		w.complete(q.id, d, nil)
	}
	return d
}

func digest(r workflows.Request) string {
	sum := r.Digest()
	return hex.EncodeToString(sum[:])
}

// signal tells the workflow where the n-th question's card is.
func (w *world) signal(n int, c workflows.Card) {
	w.SignalWorkflow(workflows.SignalCardPosted, workflows.CardPosted{Posted: workflows.Posted{Card: c}, ActivityID: w.question(n).id})
}

// answer is what a change was answered with.
type answer struct {
	accepted, done bool
	listed         workflows.Listed
	err            error
	at             time.Time
}

// change has a person change the request.
func (w *world) change(c workflows.Change) *answer {
	a := &answer{}
	ended := func(err error) { a.done, a.err, a.at = true, err, w.Now().UTC() }
	w.UpdateWorkflow(workflows.UpdateChange, "", &testsuite.TestUpdateCallback{
		OnAccept: func() { a.accepted = true },
		OnReject: ended,
		OnComplete: func(v any, err error) {
			if ended(err); err == nil {
				a.listed = v.(workflows.Listed)
			}
		},
	}, c)
	return a
}

// made fails the test where the change was not made.
func (w *world) made(a *answer) workflows.Listed {
	w.Helper()
	if !a.done || a.err != nil {
		w.Errorf("the change: answered %v, %v; want it made", a.done, a.err)
	}
	return a.listed
}

// notMade fails the test where the change was made, or the person is told anything else.
func (w *world) notMade(a *answer, sentence string) {
	w.Helper()
	var app *temporal.ApplicationError
	if !a.done || !errors.As(a.err, &app) || app.Type() != workflows.ErrTypeNotChanged || app.Message() != sentence || !app.NonRetryable() {
		w.Errorf("the change: answered %v, %v; want %q", a.done, a.err, sentence)
	}
}

// names are the executed activities, in order.
func (w *world) names() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	names := make([]string, len(w.steps))
	for i, s := range w.steps {
		names[i] = s.name
	}
	return names
}

// inputs are those of the executed activities of that name.
func inputs[T any](w *world, name string) []T {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []T
	for _, s := range w.steps {
		if s.name == name {
			all = append(all, s.input.(T))
		}
	}
	return all
}

// when says how long after the start the activity was executed, each time.
func (w *world) when(name string) []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []time.Duration
	for _, s := range w.steps {
		if s.name == name {
			all = append(all, s.at.Sub(started))
		}
	}
	return all
}

// isCancelled reports whether the workflow wants the n-th activity of that name to be cancelled.
func (w *world) isCancelled(n int, name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.scheduled {
		if s.name != name {
			continue
		}
		if n--; n < 0 {
			return s.ctx.Err() != nil
		}
	}
	w.Errorf("%s was not scheduled that often", name)
	return false
}

// closing is the input of the one CloseCard.
func (w *world) closing() workflows.Closing {
	w.Helper()
	all := inputs[workflows.Closing](w, workflows.CloseCard)
	if len(all) != 1 {
		w.Fatalf("CloseCard was executed %d times, want once; executed: %q", len(all), w.names())
	}
	return all[0]
}

// executed fails the test where the activity was not executed n times.
func (w *world) executed(n int, name string) {
	w.Helper()
	all := w.names()
	got := 0
	for _, s := range all {
		if s == name {
			got++
		}
	}
	if got != n {
		w.Errorf("%s was executed %d times, want %d; executed: %q", name, got, n, all)
	}
}

// events are those that the card's thread has lines of, in their order.
func (w *world) events() []workflows.Event {
	var all []workflows.Event
	for _, l := range inputs[workflows.Line](w, workflows.PostLine) {
		all = append(all, l.Event)
	}
	return all
}

// details are what Temporal's UI says that the workflow waits for.
func (w *world) details() string {
	v, err := w.QueryWorkflow("__temporal_workflow_metadata")
	var m sdkpb.WorkflowMetadata
	if err == nil {
		err = v.Get(&m)
	}
	if err != nil {
		w.Error(err)
	}
	return m.GetCurrentDetails()
}

// memo is the workflow's memo as it stands.
func (w *world) memo() []workflows.Listed {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.memos) == 0 {
		return nil
	}
	return w.memos[len(w.memos)-1]
}

// schedules holds an activity that the workflow schedules to what a server, and Slack, want of it.
//
//workflowcheck:ignore
func (w *world) schedules(s scheduled, args []any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	underWay := func(names ...string) bool {
		return slices.ContainsFunc(w.scheduled, func(o scheduled) bool {
			return slices.Contains(names, o.name) && !o.IsReady() && sameQuestion(o.ActivityID, s.ActivityID)
		})
	}
	var (
		round workflows.Round
		of    = s.ActivityID
	)
	switch s.name {
	case workflows.ComposeGreeting, workflows.AwaitDecision:
		const most = 2*workflows.MaxDeadline + time.Hour
		if !s.WaitForCancellation || s.ScheduleToCloseTimeout != most || s.StartToCloseTimeout != most {
			w.Errorf("%s with %+v", s.name, s.ActivityOptions)
		}
		if len(s.Summary) == 0 || len(s.Summary) > 400 {
			w.Errorf("summary of %d bytes: %q", len(s.Summary), s.Summary)
		}
		if underWay(workflows.ComposeGreeting, workflows.AwaitDecision) {
			w.Errorf("two activities of a question are open")
		}
		round = args[0].(workflows.Round)
		if _, n, _, ok := workflows.SplitActivityID(s.ActivityID); !ok || n != round.Number {
			w.Errorf("activity ID %s for round %d", s.ActivityID, round.Number)
		}
	case workflows.PostCard, workflows.RedrawCard:
		in := args[0].(workflows.CardInput)
		round, of = in.Round, in.ActivityID
		if !s.WaitForCancellation || s.name == workflows.RedrawCard && (in.Card == workflows.Card{} || s.StartToCloseTimeout > 20*time.Second) {
			w.Errorf("%s with %+v of %+v", s.name, s.ActivityOptions, in.Card)
		}
	case workflows.PostLine:
		l := args[0].(workflows.Line)
		if (l.Card == workflows.Card{}) || l.Number == 0 || l.At.IsZero() || l.ActivityID == "" {
			w.Errorf("line without its card, number, time or activity: %+v", l)
		}
	case workflows.CloseCard:
		if c := args[0].(workflows.Closing); !c.Again && len(w.opens) == 1 && underWay(workflows.RedrawCard) {
			w.Error("the card is closed while it is being drawn")
		}
	}
	if first := slices.IndexFunc(w.opens, func(o open) bool { return sameQuestion(o.id, of) }); round.Number > 0 && first >= 0 {
		if w.opens[first].digest != digest(round.Request) {
			w.Errorf("round %d is of another request", round.Number)
		}
	}
	if s.ActivityID != "" && slices.ContainsFunc(w.scheduled, func(o scheduled) bool { return o.ActivityID == s.ActivityID }) {
		w.Errorf("the activity ID %s was there before", s.ActivityID)
	}
	w.scheduled = append(w.scheduled, s)
}

// sameQuestion reports whether two open activities may be of one question: what has no name of its own may be of any.
func sameQuestion(a, b string) bool {
	one, _, _, ok := workflows.SplitActivityID(a)
	other, _, _, ok2 := workflows.SplitActivityID(b)
	return !ok || !ok2 || one == other
}

// ends holds a workflow that ends to what it leaves behind.
//
//workflowcheck:ignore
func (w *world) ends(ctx workflow.Context) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.scheduled {
		if (s.name == workflows.ComposeGreeting || s.name == workflows.AwaitDecision) && !s.IsReady() {
			w.Errorf("activity %s was left open", s.ActivityID)
		}
	}
	if !workflow.AllHandlersFinished(ctx) {
		w.Error("somebody who changes the request has no answer")
	}
}

// server has the activities that say so wait for their cancellation, as a server does for an attempt that has started.
// The test environment cancels them at once, whatever WaitForCancellation says, which is what a server does where no
// attempt has them.
type server struct {
	interceptor.WorkerInterceptorBase
	world *world
}

func (s *server) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &inbound{interceptor.WorkflowInboundInterceptorBase{Next: next}, s.world}
}

type inbound struct {
	interceptor.WorkflowInboundInterceptorBase
	world *world
}

func (i *inbound) Init(out interceptor.WorkflowOutboundInterceptor) error {
	return i.Next.Init(&outbound{interceptor.WorkflowOutboundInterceptorBase{Next: out}, i.world})
}

func (i *inbound) ExecuteWorkflow(ctx workflow.Context, in *interceptor.ExecuteWorkflowInput) (any, error) {
	v, err := i.Next.ExecuteWorkflow(ctx, in)
	i.world.ends(ctx)
	return v, err
}

type outbound struct {
	interceptor.WorkflowOutboundInterceptorBase
	world *world
}

func (o *outbound) ExecuteActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	s := scheduled{name: name, ActivityOptions: workflow.GetActivityOptions(ctx), ctx: ctx}
	if s.WaitForCancellation && !slices.Contains(o.world.unstarted, name) {
		ctx, _ = workflow.NewDisconnectedContext(ctx)
	}
	s.Future = o.Next.ExecuteActivity(ctx, name, args...)
	o.world.schedules(s, args)
	return s.Future
}

func (o *outbound) UpsertMemo(ctx workflow.Context, memo map[string]any) error {
	o.world.mu.Lock()
	o.world.memos = append(o.world.memos, slices.Clone(memo[workflows.MemoRequests].([]workflows.Listed)))
	o.world.mu.Unlock()
	return o.Next.UpsertMemo(ctx, memo)
}
