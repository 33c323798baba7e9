package workflows_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/temporal"

	"countersign/workflows"
)

var caller = workflows.Caller{WorkflowID: "deploy-7", RunID: "deploy-7-run", ActivityID: "5"}

// callerWorld is a world with a caller.
type callerWorld struct {
	*world
	watch  func() error // all looks: a server makes many attempts of them
	answer func(workflows.CallerAnswer) error
}

func newCallerWorld(t *testing.T) *callerWorld {
	t.Helper()
	w := &callerWorld{world: newWorld(t)}
	w.RegisterWorkflow(workflows.ApprovalForCaller)
	w.watch = func() error { return slow }
	w.answer = func(workflows.CallerAnswer) error { return nil }
	register(w.world, workflows.WatchCaller, func(_ context.Context, c workflows.Caller) (any, error) {
		if c != caller {
			w.Errorf("looks for %+v", c)
		}
		return nil, w.watch()
	})
	register(w.world, workflows.AnswerCaller, func(_ context.Context, a workflows.CallerAnswer) (any, error) { return nil, w.answer(a) })
	return w
}

// run runs ApprovalForCaller, and returns what it told its caller, and what it returned itself.
func (w *callerWorld) run(in workflows.ForCaller) (told workflows.CallerAnswer, res workflows.Result, err error) {
	w.Helper()
	in.Caller = caller
	w.ExecuteWorkflow(workflows.ApprovalForCaller, in)
	if !w.IsWorkflowCompleted() {
		w.Fatal("the workflow has not completed")
	}
	all := inputs[workflows.CallerAnswer](w.world, workflows.AnswerCaller)
	if len(all) == 0 || slices.ContainsFunc(all, func(a workflows.CallerAnswer) bool { return !cmp.Equal(a, all[0]) }) || all[0].Caller != caller {
		w.Fatalf("the caller is told %+v, want one thing", all)
	}
	if err = w.GetWorkflowError(); err == nil {
		err = w.GetWorkflowResult(&res)
	}
	return all[0], res, err
}

// fails checks how ApprovalForCaller failed itself, and that its caller is told the same.
func (w *callerWorld) fails(told workflows.CallerAnswer, err error, kind, msg string) {
	w.Helper()
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.Type() != kind || app.Message() != msg || !app.NonRetryable() {
		w.Errorf("ApprovalForCaller: %v, want %s: %s", err, kind, msg)
	}
	if told.ErrType != kind || told.Message != msg {
		w.Errorf("the caller is told %s: %s, want %s: %s", told.ErrType, told.Message, kind, msg)
	}
}

// isWatched checks that the caller is looked for during all of the request, by one activity that never ends by itself.
func (w *callerWorld) isWatched() {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.scheduled, func(s scheduled) bool { return s.name == workflows.WatchCaller })
	if i < 0 {
		w.Fatal("nobody looks for the caller")
	}
	if o := w.scheduled[i]; o.ScheduleToCloseTimeout != 0 || o.HeartbeatTimeout != 0 || o.RetryPolicy == nil || o.RetryPolicy.MaximumAttempts != 0 {
		w.Errorf("looked for with %+v", o.ActivityOptions)
	}
}

func TestCallerIsTold(t *testing.T) {
	t.Run("approved", func(t *testing.T) {
		w := newCallerWorld(t)
		w.approve(bob)
		told, res, err := w.run(workflows.ForCaller{Request: only()})
		if err != nil || res.Outcome != workflows.Approved || who(res.Decisions) != "bob:approved" || res.Card != posted {
			t.Errorf("ApprovalForCaller = %+v, %v", res, err)
		}
		if diff := cmp.Diff(workflows.CallerAnswer{Caller: caller, Result: res}, told); diff != "" {
			t.Errorf("the caller is told (-want +got):\n%s", diff)
		}
		w.isWatched()
		if diff := cmp.Diff(res, w.closing().Result); diff != "" {
			t.Errorf("closed with another result (-returned +closed):\n%s", diff)
		}
	})
	t.Run("rejected", func(t *testing.T) {
		w := newCallerWorld(t)
		w.at(time.Hour, func() { w.click(0, workflows.Rejected, "Not today.") })
		told, res, err := w.run(workflows.ForCaller{Request: only()})
		if err != nil || res.Outcome != workflows.Rejected || told.ErrType != "" || !cmp.Equal(res, told.Result) {
			t.Errorf("ApprovalForCaller = %+v, %v, and the caller is told %+v", res, err, told)
		}
	})
	t.Run("rejected, and fails", func(t *testing.T) {
		w := newCallerWorld(t)
		w.at(time.Hour, func() { w.click(0, workflows.Rejected, "Not today.") })
		told, _, err := w.run(workflows.ForCaller{Request: with(only(), func(r *workflows.Request) { r.FailOnReject = true })})
		w.fails(told, err, workflows.ErrTypeRejected, "rejected by bob: Not today.")
		if d := told.Result.Rejection(); d.By != bob || d.Reason != "Not today." {
			t.Errorf("the caller is told of %+v", d)
		}
	})
	t.Run("expired", func(t *testing.T) {
		w := newCallerWorld(t)
		told, res, err := w.run(workflows.ForCaller{Request: only()})
		if err != nil || res.Outcome != workflows.Expired || told.ErrType != "" || !cmp.Equal(res, told.Result) {
			t.Errorf("ApprovalForCaller = %+v, %v, and the caller is told %+v", res, err, told)
		}
	})
	t.Run("withdrawn by who asked", func(t *testing.T) {
		w := newCallerWorld(t)
		w.at(time.Hour, func() { w.change(workflows.Change{Kind: workflows.Withdraw, By: alice}) })
		told, res, err := w.run(workflows.ForCaller{Request: only()})
		if c, ok := told.Result.Withdrawal(); err != nil || !ok || c.By != alice || told.ErrType != "" || !cmp.Equal(res, told.Result) {
			t.Errorf("ApprovalForCaller = %+v, %v, and the caller is told %+v", res, err, told)
		}
	})
	t.Run("could not be asked", func(t *testing.T) {
		w := newCallerWorld(t)
		w.prepare = func(context.Context, workflows.Request) (workflows.Request, error) {
			return workflows.Request{}, workflows.InvalidRequestError("The title is empty.")
		}
		told, _, err := w.run(workflows.ForCaller{Request: only()})
		w.fails(told, err, workflows.ErrTypeInvalidRequest, "The title is empty.")
		w.executed(0, workflows.PostCard)
	})
	t.Run("was malformed", func(t *testing.T) {
		w := newCallerWorld(t)
		const wrong = "In the JSON of the request required is of the type string, and has to be a whole number."
		told, _, err := w.run(workflows.ForCaller{Request: only(), Malformed: wrong})
		w.fails(told, err, workflows.ErrTypeInvalidRequest, wrong)
		w.executed(0, workflows.PrepareRequest)
		w.executed(1, workflows.TellRequester)
	})
	t.Run("Slack refuses the card", func(t *testing.T) {
		w := newCallerWorld(t)
		w.postCard = func(workflows.CardInput) (workflows.Posted, error) {
			return workflows.Posted{}, refusal("I am not in that channel.")
		}
		told, _, err := w.run(workflows.ForCaller{Request: only()})
		w.fails(told, err, workflows.ErrTypeRefused, "I am not in that channel.")
	})
	t.Run("at the second try", func(t *testing.T) {
		w := newCallerWorld(t)
		w.approve(bob)
		w.answer = func(workflows.CallerAnswer) error {
			if len(inputs[workflows.CallerAnswer](w.world, workflows.AnswerCaller)) == 1 {
				return errors.New("temporal is away")
			}
			return nil
		}
		_, res, err := w.run(workflows.ForCaller{Request: only()})
		w.executed(2, workflows.AnswerCaller)
		if err != nil || res.Outcome != workflows.Approved {
			t.Errorf("ApprovalForCaller = %+v, %v", res, err)
		}
	})
	t.Run("what it cannot be told", func(t *testing.T) {
		w := newCallerWorld(t)
		w.approve(bob)
		w.answer = func(workflows.CallerAnswer) error {
			return temporal.NewNonRetryableApplicationError("no", "Refused", nil)
		}
		if _, res, err := w.run(workflows.ForCaller{Request: only()}); err != nil || res.Outcome != workflows.Approved {
			t.Errorf("ApprovalForCaller = %+v, %v", res, err)
		}
	})
}

// Where nobody waits any more the request is withdrawn; a decision that came first counts.
func TestCallerIsGone(t *testing.T) {
	withdrawn := func(w *callerWorld, told workflows.CallerAnswer, err error) {
		w.Helper()
		var (
			cancelled *temporal.CanceledError
			res       workflows.Result
		)
		if !errors.As(err, &cancelled) || cancelled.Details(&res) != nil || res.Outcome != workflows.Withdrawn {
			w.Errorf("ApprovalForCaller: %v, with %+v; want it cancelled", err, res)
		}
		if told.ErrType != "" || told.Result.Outcome != workflows.Withdrawn {
			w.Errorf("the caller is told %+v", told)
		}
		if _, byPerson := told.Result.Withdrawal(); byPerson || !cmp.Equal(res, told.Result) {
			w.Errorf("the caller is told %+v, want %+v", told.Result, res)
		}
	}
	t.Run("while people think", func(t *testing.T) {
		w := newCallerWorld(t)
		w.at(time.Hour, func() { w.finish(0, workflows.WatchCaller, nil, nil) })
		told, _, err := w.run(workflows.ForCaller{Request: only()})
		withdrawn(w, told, err)
		if got := w.closing().Result.Outcome; got != workflows.Withdrawn {
			t.Errorf("the card shows %s", got)
		}
		if at := w.when(workflows.AnswerCaller); len(at) != 1 || at[0] < time.Hour || at[0] > 2*time.Hour {
			t.Errorf("the caller is told after %v", at)
		}
	})
	t.Run("at once", func(t *testing.T) {
		w := newCallerWorld(t)
		w.watch = func() error { return nil }
		told, _, err := w.run(workflows.ForCaller{Request: only()})
		withdrawn(w, told, err)
	})
	t.Run("while it is being prepared", func(t *testing.T) {
		w := newCallerWorld(t)
		w.prepare = func(context.Context, workflows.Request) (workflows.Request, error) { return workflows.Request{}, slow }
		w.at(time.Minute, func() { w.finish(0, workflows.WatchCaller, nil, nil) })
		told, _, err := w.run(workflows.ForCaller{Request: only()})
		withdrawn(w, told, err)
		w.executed(0, workflows.PostCard)
	})
	t.Run("after a decision", func(t *testing.T) {
		w := newCallerWorld(t)
		w.approve(bob)
		w.closeCard = func(workflows.Closing) error { return slow }
		w.at(time.Hour+time.Second, func() {
			w.finish(0, workflows.WatchCaller, nil, nil)
			w.finish(0, workflows.CloseCard, nil, nil)
		})
		told, res, err := w.run(workflows.ForCaller{Request: only()})
		if err != nil || res.Outcome != workflows.Approved || !cmp.Equal(res, told.Result) {
			t.Errorf("ApprovalForCaller = %+v, %v, and the caller is told %+v", res, err, told)
		}
	})
	t.Run("and its approval is cancelled", func(t *testing.T) {
		w := newCallerWorld(t)
		w.at(time.Hour, w.CancelWorkflow)
		told, _, err := w.run(workflows.ForCaller{Request: only()})
		withdrawn(w, told, err)
	})
	t.Run("as far as nobody can see", func(t *testing.T) {
		w := newCallerWorld(t)
		w.watch = func() error { return temporal.NewNonRetryableApplicationError("not now", "", nil) }
		w.approve(bob)
		if _, res, err := w.run(workflows.ForCaller{Request: only()}); err != nil || res.Outcome != workflows.Approved {
			t.Errorf("ApprovalForCaller = %+v, %v", res, err)
		}
	})
}

// What an earlier version, or an operator, has in Temporal is read as it was written.
func TestForCallerJSON(t *testing.T) {
	t.Parallel()
	const in = `{"request":{"title":"Deploy","channel":"C1"},"caller":{"workflow_id":"deploy-7","run_id":"deploy-7-run","activity_id":"5"}}`
	var got workflows.ForCaller
	if err := json.Unmarshal([]byte(in), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(workflows.ForCaller{Request: workflows.Request{Title: "Deploy", Channel: "C1"}, Caller: caller}, got); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
	b, err := json.Marshal(got)
	if err != nil || string(b) != in {
		t.Errorf("written %s, %v", b, err)
	}
}
