package e2e

import (
	"slices"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"countersign/internal/devserver"
	"countersign/internal/slacksim"
	"countersign/workflows"
)

// What is here waits for a minute or two, for Temporal's time-outs, and does nothing meanwhile. It is in this file as go
// test begins with the tests of the first, unless it shuffles them: begun last, they would be waited for alone.

// Time goes on while nothing runs: a request is escalated, reminds and expires in its order, though bot, worker and
// Temporal crash in between, twice.
func TestTimeAcrossCrashes(t *testing.T) {
	t.Parallel()
	server, o := ownTemporal(t)
	w := newWorld(t, socketMode, server.Address)
	w.patience(5 * time.Minute)
	bot, worker := w.start("bot"), w.start("worker")
	crash := func() {
		bot.kill()
		worker.kill()
		w.must(server.Kill())
		var err error
		server, err = devserver.Start(w.ctx, o)
		w.must(err)
		w.Cleanup(func() { _ = server.Stop() })
		bot, worker = w.start("bot"), w.start("worker")
	}

	run := w.approval(workflows.Request{
		Requester: w.sim.Person("alice").ID(), Approvers: w.people("bob", "carol"), Required: 2,
		Escalate:    []workflows.Escalation{{After: "6s", Approvers: w.people("dave")}},
		RemindEvery: "1m", Deadline: "75s",
	})
	card := w.card("general", "Deploy v2")
	w.did(run, workflows.PostLine, 1) // A step that dies is made again, but not within this test's time.
	crash()

	w.reply(card, "escalated")
	card = w.redrawn(card, w.at("dave"))
	w.click(w.as("bob", "general"), card, "approve", true)
	w.redrawn(card, "1 of 2")
	w.did(run, workflows.PostLine, 3)
	crash()

	w.reply(card, "still waits")
	res := w.outcome(run, workflows.Expired)
	if d, ok := res.Decision(); ok || len(res.Decisions) != 1 || len(res.Changes) != 1 || res.Changes[0].Kind != workflows.Escalate {
		w.Errorf("decided by %+v, %v; the result is %+v, want bob's approval and an escalation", d, ok, res)
	}
	w.closed(card, "Expired", "not enough approvals in time")
	w.thread(card,
		[]string{w.at("bob"), w.at("carol"), "please decide", "!" + w.at("dave")},
		[]string{w.at("dave"), "escalated", "!" + w.at("bob"), "!" + w.at("carol")},
		[]string{w.at("bob") + " approved (1 of 2)"},
		[]string{w.at("carol"), w.at("dave"), "still waits", "!" + w.at("bob"), "!" + w.at("alice")},
		[]string{w.at("alice"), "Expired"},
	)
	if n := w.cardsIn("general"); n != 1 {
		w.Errorf("%d cards, want 1", n)
	}
}

// A worker that dies while it posts leaves an open activity that nobody has a card for.
func TestWorkerDiesBeforeSlackHasTheCard(t *testing.T) { workerDiesWhilePosting(t, slacksim.Before) }

func TestWorkerDiesAfterSlackHasTheCard(t *testing.T) { workerDiesWhilePosting(t, slacksim.After) }

func workerDiesWhilePosting(t *testing.T, moment slacksim.Moment) {
	t.Helper()
	t.Parallel()
	w := newWorld(t, socketMode, shared.temporal.Address)
	w.patience(4 * time.Minute)
	p := w.start("run")
	var post *slacksim.Gate
	if moment == slacksim.After {
		post = w.sim.Hold("chat.postMessage", slacksim.After)
	} else { // The request dies with its connection, unread.
		w.sim.Inject(slacksim.Fault{Method: "chat.postMessage", Times: 1, Hang: true})
	}
	w.greet("general", "World")
	if post != nil {
		_, err := post.Wait(w.ctx)
		w.must(err)
	} else {
		w.must(w.sim.Wait(w.ctx, func(st slacksim.State) bool {
			return slices.ContainsFunc(st.Calls, func(c slacksim.Call) bool { return c.Method == "chat.postMessage" })
		}))
	}
	p.kill()
	if post != nil {
		post.Release()
	}
	p = w.start("run")
	w.sees(p, `an attempt died`)
	w.approves(w.card("general", "Greet World"))
	if n := w.cards("World"); n != 1 {
		w.Errorf("%d cards, want 1", n)
	}
}

// An activity that is given only so much time ends with the outcome, and not by running out of it.
func TestCallerHasNoTimeLeft(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		const within = 50 * time.Second // A tenth of it is left for the answer, on a busy machine too.
		o := workflow.ActivityOptions{StartToCloseTimeout: within, RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1}}
		run := w.calls("once", o, w.request("Deploy v1"))
		all := w.calls("within", workflow.ActivityOptions{ScheduleToCloseTimeout: within}, w.request("Deploy v2"))
		first, second := w.card("general", "Deploy v1"), w.card("general", "Deploy v2")
		w.shown(w.outcome(run, workflows.Expired), first)
		w.shown(w.outcome(all, workflows.Expired), second)
		w.closed(first, "Expired")
		w.closed(second, "Expired")
	})
}
