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
	greeting = workflows.GreetingInput{Greeting: "Hello", Name: "World", Channel: "C0GENERAL1", RequestedBy: "U0ALICE001"}
	bob      = workflows.Person{ID: "U0BOB00001", Name: "bob", Team: "T0SIM0001"}
	posted   = workflows.Card{Channel: "C0GENERAL1", TS: "1795176000.000100"}
	reposted = workflows.Card{Channel: "C0GENERAL1", TS: "1795176120.000200"}
)

// step is an activity that was executed, with its input.
type step struct {
	name  string
	input any
}

// open is an activity that stays open.
type open struct {
	id      string
	token   []byte
	request workflows.Request
}

// world is a workflow in the SDK's test environment, with activities that do nothing but note that they were executed.
// A test replaces what it wants to be otherwise.
type world struct {
	*testsuite.TestWorkflowEnvironment
	*testing.T

	prepare     func(context.Context, workflows.Request) (workflows.Request, error)
	compose     func(context.Context, workflows.Request) (workflows.Decision, error)
	postCard    func(workflows.PostCardInput) (workflows.Card, error)
	endDecision func(workflows.EndDecisionInput) (workflows.DecisionEnded, error)
	closeCard   func(workflows.Closing) error
	tell        func(workflows.Closing) error

	mu    sync.Mutex
	steps []step
	opens []open
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
	w.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{&serverCancels{}}})
	w.SetTestTimeout(time.Minute)
	w.RegisterWorkflow(workflows.Greeting)
	w.RegisterWorkflow(workflows.CloseCardLater)

	w.prepare = func(_ context.Context, r workflows.Request) (workflows.Request, error) {
		if r.Approvers.Empty() {
			r.Approvers = workflows.Approvers{Users: []string{bob.ID}}
		}
		if r.ExpiresAt.IsZero() {
			r.ExpiresAt = deadline
		}
		return r, nil
	}
	w.compose = func(context.Context, workflows.Request) (workflows.Decision, error) {
		return workflows.Decision{}, activity.ErrResultPending
	}
	w.postCard = func(workflows.PostCardInput) (workflows.Card, error) { return reposted, nil }
	w.endDecision = func(in workflows.EndDecisionInput) (workflows.DecisionEnded, error) {
		if !w.isOpen(in.ActivityID) {
			return workflows.DecisionEnded{}, errors.New("no attempt has it yet")
		}
		w.complete(in.ActivityID, nil, temporal.NewCanceledError(workflows.Result{Outcome: in.Outcome}))
		return workflows.DecisionEnded{}, nil
	}
	w.closeCard = func(workflows.Closing) error { return nil }
	w.tell = w.closeCard

	register(w, workflows.PrepareRequest, func(ctx context.Context, r workflows.Request) (workflows.Request, error) {
		return w.prepare(ctx, r)
	})
	register(w, workflows.ComposeGreeting, func(ctx context.Context, r workflows.Request) (workflows.Decision, error) {
		info := activity.GetInfo(ctx)
		w.mu.Lock()
		w.opens = append(w.opens, open{id: info.ActivityID, token: info.TaskToken, request: r})
		w.mu.Unlock()
		return w.compose(ctx, r)
	})
	register(w, workflows.PostCard, func(_ context.Context, in workflows.PostCardInput) (workflows.Card, error) { return w.postCard(in) })
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
		w.steps = append(w.steps, step{name, in})
		w.mu.Unlock()
		return do(ctx, in)
	}, activity.RegisterOptions{Name: name})
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

func (w *world) isOpen(activityID string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.opens, func(o open) bool { return o.id == activityID })
}

// complete completes the open activity of that ID, as somebody outside does.
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

// click decides the n-th question as bob does in Slack.
func (w *world) click(n int, o workflows.Outcome, reason string) workflows.Decision {
	q := w.question(n)
	d := workflows.Decision{
		Outcome: o, By: bob, At: w.Now().UTC(), Reason: reason, Digest: digest(q.request), Card: posted,
	}
	if o == workflows.Rejected {
		w.complete(q.id, nil, workflows.RejectedError(d))
	} else {
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
	w.SignalWorkflow(workflows.SignalCardPosted, workflows.CardPosted{Card: c, ActivityID: w.question(n).id})
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

// serverCancels has the open activity wait for its cancellation to be reported, as a server does for an attempt that has
// started. The test environment cancels it at once, whatever WaitForCancellation says, which is what a server does
// where no attempt has it.
type serverCancels struct {
	interceptor.WorkerInterceptorBase
}

func (s *serverCancels) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	return &inbound{interceptor.WorkflowInboundInterceptorBase{Next: next}}
}

type inbound struct {
	interceptor.WorkflowInboundInterceptorBase
}

func (i *inbound) Init(out interceptor.WorkflowOutboundInterceptor) error {
	return i.Next.Init(&outbound{interceptor.WorkflowOutboundInterceptorBase{Next: out}})
}

type outbound struct {
	interceptor.WorkflowOutboundInterceptorBase
}

func (o *outbound) ExecuteActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	if name == workflows.ComposeGreeting {
		if !workflow.GetActivityOptions(ctx).WaitForCancellation {
			panic("the open activity must wait for its cancellation")
		}
		ctx, _ = workflow.NewDisconnectedContext(ctx)
	}
	return o.Next.ExecuteActivity(ctx, name, args...)
}
