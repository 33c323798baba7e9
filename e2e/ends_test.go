package e2e

import (
	"errors"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"countersign/internal/slacksim"
	"countersign/workflows"
)

func TestExpiry(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run", "DEADLINE=2s")
		bob := w.as("bob", "general")
		run := w.ask("general", "World")
		card := w.card("general", "Greet World")
		w.failsAs(run, workflows.ErrTypeExpired)
		w.closed(card, "Expired on <!date^")
		w.reply(card, "<@"+w.sim.Person("alice").ID()+">")
		w.click(bob.Force(), card, "approve", true)
		w.told(bob, "Expired")
	})
}

// isCancelled checks that the workflow ended as cancelled.
func (w *world) isCancelled(run client.WorkflowRun) {
	w.Helper()
	_, err := w.result(run)
	var cancelled *temporal.CanceledError
	if !errors.As(err, &cancelled) {
		w.Fatalf("workflow ended with %v, want cancelled", err)
	}
}

func TestWithdrawal(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		run := w.ask("general", "World")
		card := w.card("general", "Greet World")
		w.must(w.temporal.CancelWorkflow(w.ctx, run.GetID(), run.GetRunID()))
		w.isCancelled(run)
		w.closed(card, "Withdrawn on <!date^")
		w.reply(card, "Withdrawn")
	})
}

func TestLateClickOnWithdrawn(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		bob := w.as("bob", "general")
		run := w.ask("general", "World")
		card := w.card("general", "Greet World")
		// The card is about to be closed: its buttons are still there.
		closing := w.sim.Hold("chat.update", slacksim.Before)
		w.must(w.temporal.CancelWorkflow(w.ctx, run.GetID(), run.GetRunID()))
		_, err := closing.Wait(w.ctx)
		w.must(err)
		w.click(bob, card, "approve", true)
		w.told(bob, "Withdrawn")
		closing.Release()
		w.isCancelled(run)
		w.closed(card, "Withdrawn")
	})
}

func TestWithdrawalDuringThePost(t *testing.T) {
	t.Parallel()
	for name, moment := range map[string]slacksim.Moment{"before Slack has it": slacksim.Before, "after Slack has it": slacksim.After} {
		t.Run(name, func(t *testing.T) {
			oneMode(t, func(w *world) {
				w.start("run")
				post := w.sim.Hold("chat.postMessage", moment)
				run := w.ask("general", "World")
				_, err := post.Wait(w.ctx)
				w.must(err)
				w.must(w.temporal.CancelWorkflow(w.ctx, run.GetID(), run.GetRunID()))
				w.isCancelled(run)
				post.Release()
				card := w.message("general", slacksim.Contains("Greet World"))
				w.closed(card, "Withdrawn")
			})
		})
	}
}

func TestExpiryDuringThePost(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run", "DEADLINE=2s")
		post := w.sim.Hold("chat.postMessage", slacksim.Before)
		run := w.ask("general", "World")
		_, err := post.Wait(w.ctx)
		w.must(err)
		w.failsAs(run, workflows.ErrTypeExpired)
		post.Release()
		w.closed(w.message("general", slacksim.Contains("Greet World")), "Expired")
	})
}

func TestTerminated(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		bob, carol := w.as("bob", "general"), w.as("carol", "general")
		run := w.ask("general", "World")
		card := w.card("general", "Greet World")
		w.must(w.temporal.TerminateWorkflow(w.ctx, run.GetID(), run.GetRunID(), "an operator's reason"))
		w.click(bob, card, "approve", true)
		w.told(bob, "terminated")
		w.closed(card, "The workflow that asked was terminated", "Greet World")
		w.click(carol.Force(), card, "reject", true)
		w.told(carol, "terminated")
	})
}

func TestDecidedOutsideSlack(t *testing.T) {
	t.Parallel()
	type end func(w *world, run client.WorkflowRun, activity string) error
	tests := map[string]struct {
		end  end
		says string
	}{
		"completed": {func(w *world, run client.WorkflowRun, activity string) error {
			return w.temporal.CompleteActivityByID(w.ctx, "default", run.GetID(), run.GetRunID(), activity, "fine by me", nil)
		}, "Approved on"},
		"failed": {func(w *world, run client.WorkflowRun, activity string) error {
			return w.temporal.CompleteActivityByID(w.ctx, "default", run.GetID(), run.GetRunID(), activity, nil,
				temporal.NewApplicationErrorWithOptions("no", "", temporal.ApplicationErrorOptions{NonRetryable: true}))
		}, "Rejected on"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			oneMode(t, func(w *world) {
				w.start("run")
				run := w.ask("general", "World")
				card := w.card("general", "Greet World")
				w.must(test.end(w, run, w.openActivity(run)))
				w.closed(card, test.says, "decided outside Slack")
				bob := w.as("bob", "general")
				w.click(bob.Force(), card, "approve", true)
				w.told(bob, "decided outside Slack")
			})
		})
	}
}

// openActivity is the ID of the run's one pending activity.
func (w *world) openActivity(run client.WorkflowRun) string {
	w.Helper()
	d, err := w.temporal.DescribeWorkflowExecution(w.ctx, run.GetID(), run.GetRunID())
	w.must(err)
	if n := len(d.GetPendingActivities()); n != 1 {
		w.Fatalf("%d pending activities, want 1", n)
	}
	return d.GetPendingActivities()[0].GetActivityId()
}

func TestCardDeleted(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		run := w.ask("general", "World")
		card := w.card("general", "Greet World")
		w.sim.Delete(card.Channel, card.TS)
		// The page that he looks at still has it.
		w.click(w.as("bob", "general").Force(), card, "approve", true)
		if got, err := w.result(run); got != "Hello, World!" || err != nil {
			w.Errorf("Greeting returned %q, %v", got, err)
		}
		// There is no thread any more, but the requester is told all the same.
		alice := w.sim.Person("alice")
		w.message(card.Channel, func(m slacksim.Message) bool {
			return slacksim.Contains("Approved by")(m) && slacksim.Contains("<@"+alice.ID()+">")(m)
		})
	})
}

// twoGreetings is a workflow with two open questions.
func twoGreetings(ctx workflow.Context, in [2]workflows.Request) ([2]workflows.Result, error) {
	var (
		results  [2]workflows.Result
		requests = workflows.NewRequests(ctx)
		done     = workflow.NewWaitGroup(ctx)
		failed   error
	)
	for i, r := range in {
		done.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer done.Done()
			res, err := requests.Ask(ctx, r)
			results[i] = res
			failed = errors.Join(failed, err)
		})
	}
	done.Wait(ctx)
	return results, failed
}

// own starts a team's own workflow, on a worker and a task queue of its own.
func (w *world) own(code, input any) client.WorkflowRun {
	w.Helper()
	own := worker.New(w.temporal, w.queue+"-own", worker.Options{DisableRegistrationAliasing: true})
	own.RegisterWorkflowWithOptions(code, workflow.RegisterOptions{Name: "Own"})
	w.must(own.Start())
	w.Cleanup(own.Stop)
	run, err := w.temporal.ExecuteWorkflow(w.ctx, client.StartWorkflowOptions{TaskQueue: w.queue + "-own"}, "Own", input)
	w.must(err)
	return run
}

func (w *world) request(title string) workflows.Request {
	return workflows.Request{Title: title, Channel: w.sim.Channel("general").ID, Requester: w.sim.Person("alice").ID()}
}

// Two questions one after the other share nothing, though the workflow does not say so: a click on the first card never
// answers the second.
func TestQuestionAfterQuestion(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		run := w.own(func(ctx workflow.Context, in [2]workflows.Request) (last workflows.Result, err error) {
			ctx = workflow.WithTaskQueue(ctx, w.queue)
			for _, r := range in {
				if last, err = workflows.NewRequests(ctx).Ask(ctx, r); err != nil {
					return last, err
				}
			}
			return last, nil
		}, [2]workflows.Request{w.request("Greet World"), w.request("Drop everything")})
		bob, carol := w.as("bob", "general"), w.as("carol", "general")
		first := w.card("general", "Greet World")
		w.click(bob, first, "approve", true)
		// The retry of the second post must not take the first card for its own.
		w.sim.Inject(slacksim.Fault{Method: "chat.postMessage", Times: 1, Status: 500})
		second := w.card("general", "Drop everything")
		w.click(carol.Force(), first, "approve", true)
		w.told(carol, "Approved by <@"+bob.ID()+">")
		w.fillsIn(carol, w.opens(carol, second, "reject", ""), nil)
		var got workflows.Result
		w.must(run.Get(w.ctx, &got))
		if got.Outcome != workflows.Rejected {
			w.Errorf("the second question was %s, want rejected", got.Outcome)
		}
	})
}

// What is left of closing a card goes where the activities are, and not to the team's own task queue.
func TestSlackDownAtTheEndOfATeamsWorkflow(t *testing.T) {
	oneMode(t, func(w *world) {
		p := w.start("run")
		run := w.own(func(ctx workflow.Context, r workflows.Request) (workflows.Result, error) {
			ctx = workflow.WithTaskQueue(ctx, w.queue)
			return workflows.NewRequests(ctx).Ask(ctx, r)
		}, w.request("Greet World"))
		card := w.card("general", "Greet World")
		w.sees(p, `msg="card posted"`)
		w.sim.Inject(slacksim.Fault{Method: "chat.update", Status: 503})
		w.click(w.as("bob", "general"), card, "approve", true)
		w.must(run.Get(w.ctx, nil))
		w.sim.ClearFaults()
		w.closed(card, "Approved by")
	})
}

// Slack is away when a request ends during its post, and for a while after: the card is closed all the same.
func TestSlackDownAfterAnEndDuringThePost(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run", "DEADLINE=2s")
		post := w.sim.Hold("chat.postMessage", slacksim.After)
		run := w.ask("general", "World")
		_, err := post.Wait(w.ctx)
		w.must(err)
		w.sim.Inject(slacksim.Fault{Method: "chat.update", Status: 503})
		w.failsAs(run, workflows.ErrTypeExpired)
		post.Release()
		_, err = w.sim.WaitCalls(w.ctx, "chat.update", 4)
		w.must(err)
		w.sim.ClearFaults()
		w.closed(w.message("general", slacksim.Contains("Greet World")), "Expired")
	})
}

// A post that fails while the request is being withdrawn does not make it a failure.
func TestWithdrawalOfAFailingPost(t *testing.T) {
	oneMode(t, func(w *world) {
		p := w.start("run")
		post := w.sim.Hold("chat.postMessage", slacksim.Before)
		w.sim.OnCall(func(c slacksim.Call) *slacksim.Fault {
			if c.Method != "chat.postMessage" {
				return nil
			}
			return &slacksim.Fault{Status: 500}
		})
		run := w.own(func(ctx workflow.Context, r workflows.Request) (workflows.Result, error) {
			ctx = workflow.WithTaskQueue(ctx, w.queue)
			return workflows.NewRequests(ctx).Ask(ctx, r)
		}, w.request("Greet World"))
		_, err := post.Wait(w.ctx)
		w.must(err)
		w.must(w.temporal.CancelWorkflow(w.ctx, run.GetID(), run.GetRunID()))
		post.Release()
		var got workflows.Result
		w.must(run.Get(w.ctx, &got))
		if got.Outcome != workflows.Withdrawn {
			w.Errorf("outcome %q, want withdrawn; log:\n%s", got.Outcome, p.log)
		}
	})
}

func TestTwoQuestionsInOneWorkflow(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		run := w.own(func(ctx workflow.Context, in [2]workflows.Request) ([2]workflows.Result, error) {
			return twoGreetings(workflow.WithTaskQueue(ctx, w.queue), in)
		}, [2]workflows.Request{w.request("Greet World"), w.request("Greet Everybody")})
		first, second := w.card("general", "Greet World"), w.card("general", "Greet Everybody")
		bob, carol := w.as("bob", "general"), w.as("carol", "general")

		w.fillsIn(carol, w.opens(carol, second, "reject", ""), nil)
		w.closed(second, "Rejected by <@"+carol.ID()+">")
		if m, _ := w.sim.Message(first.Channel, first.TS); len(m.Buttons()) != 2 {
			w.Errorf("the other question's card has %d buttons, want 2", len(m.Buttons()))
		}
		w.click(bob, first, "approve", true)
		w.closed(first, "Approved by <@"+bob.ID()+">")

		var got [2]workflows.Result
		w.must(run.Get(w.ctx, &got))
		if got[0].Outcome != workflows.Approved || got[1].Outcome != workflows.Rejected {
			w.Errorf("outcomes %q and %q, want approved and rejected", got[0].Outcome, got[1].Outcome)
		}
		for i, card := range []slacksim.Message{first, second} {
			if want := (workflows.Card{Channel: card.Channel, TS: card.TS}); got[i].Card != want {
				w.Errorf("result %d has the card %+v, want %+v", i, got[i].Card, want)
			}
		}
	})
}

// A caller must not wait for a card that Slack does not let us close.
func TestSlackDownAtTheEnd(t *testing.T) {
	oneMode(t, func(w *world) {
		p := w.start("run")
		run := w.ask("general", "World")
		card := w.card("general", "Greet World")
		w.sees(p, `msg="card posted"`)
		w.sim.Inject(slacksim.Fault{Method: "chat.update", Status: 503})
		began := time.Now()
		w.click(w.as("bob", "general"), card, "approve", true)
		if got, err := w.result(run); got != "Hello, World!" || err != nil {
			w.Errorf("Greeting returned %q, %v", got, err)
		}
		w.Logf("the workflow ended %v after the click, its card still open", time.Since(began))
		w.sim.ClearFaults()
		w.closed(card, "Approved by")
		later := w.temporal.GetWorkflow(w.ctx, w.childOf(run), "")
		w.must(later.Get(w.ctx, nil))
		if n := len(w.sim.Replies(card.Channel, card.TS)); n != 1 {
			w.Errorf("the requester was told %d times, want once", n)
		}
	})
}

// childOf is the ID of the one child workflow that the run started.
func (w *world) childOf(run client.WorkflowRun) (id string) {
	w.Helper()
	events := w.temporal.GetWorkflowHistory(w.ctx, run.GetID(), run.GetRunID(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		w.must(err)
		if s := e.GetChildWorkflowExecutionStartedEventAttributes(); s != nil {
			id = s.GetWorkflowExecution().GetWorkflowId()
		}
	}
	if id == "" {
		w.Fatal("no child workflow was started")
	}
	return id
}

// A card that Slack took without saying so is closed, though no attempt was under way when the request expired.
func TestExpiryBetweenAttempts(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run", "DEADLINE=3s")
		w.sim.Inject(slacksim.Fault{Method: "chat.postMessage", Times: 1, Status: 500, Performed: true})
		w.sim.Inject(slacksim.Fault{Method: "conversations.history", Status: 500})
		run := w.ask("general", "World")
		card := w.card("general", "Greet World")
		w.failsAs(run, workflows.ErrTypeExpired)
		w.sim.ClearFaults()
		w.closed(card, "Expired")
	})
}
