package e2e

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"go.temporal.io/sdk/client"

	"countersign/internal/slacksim"
	"countersign/workflows"
)

// leadsTo reports whether a message has a link to an address.
func leadsTo(m slacksim.Message, address string) bool {
	b, err := json.Marshal(m.Blocks)
	quoted, _ := json.Marshal(address)
	return err == nil && address != "" && strings.Contains(string(b), string(quoted))
}

// The thread has a line for each thing that happened, in its order, and calls those who are asked for something.
func TestThread(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		alice, bob, carol, dave := w.as("alice", "general"), w.as("bob", "general"), w.as("carol", "general"), w.as("dave", "general")
		run := w.approval(workflows.Request{
			Requester: alice.ID(), TellRequester: true, Required: 2, RejectReason: workflows.Off, ApproveComment: workflows.Optional,
			Approvers: workflows.Approvers{Users: []string{bob.ID(), carol.ID()}, Groups: []string{w.sim.Group("security").ID}},
		})
		card := w.card("general", "Deploy v2")
		w.reply(card, "please decide")
		w.approvesByForm(bob, card, "approve")
		card = w.redrawn(card, "1 of 2")
		w.fillsIn(carol, w.opens(carol, card, "more", string(workflows.Delegate)), map[string]any{"person": dave.ID()})
		card = w.redrawn(card, "Handed over")
		w.fillsIn(alice, w.opens(alice, card, "more", string(workflows.Extend)), map[string]any{"longer": "1d"})
		card = w.redrawn(card, "Extended by")
		w.fillsIn(dave, w.opens(dave, card, "approve", ""), map[string]any{"comment": "fine by <!channel>"})

		res := w.outcome(run, workflows.Approved)
		w.closed(card, "Approved by "+w.at("bob")+" and "+w.at("dave"))
		group := "<!subteam^" + w.sim.Group("security").ID + ">"
		w.thread(card,
			[]string{w.at("bob"), w.at("carol"), group, "please decide", "Deploy v2", "!" + w.at("alice")},
			[]string{w.at("bob") + " approved (1 of 2)", "Comment: ", "!Deploy v2"},
			[]string{w.at("dave"), "please decide", w.at("carol") + " handed their place over to " + w.at("dave"), "!" + w.at("bob")},
			[]string{"Extended by " + w.at("alice"), "!" + w.at("dave"), "!" + w.at("bob")},
			[]string{w.at("alice"), "Approved by " + w.at("bob") + " and " + w.at("dave"), "fine by &lt;!channel&gt;"},
		)
		direct := w.sim.Messages(alice.DM().Channel())
		if len(direct) != 1 || !slacksim.Contains("Approved by")(direct[0]) || !slacksim.Contains("Deploy v2")(direct[0]) || !leadsTo(direct[0], res.Permalink) {
			w.Errorf("the requester is told %+v, want once, with a link to %s", direct, res.Permalink)
		}
		if n := w.cardsIn("general"); n != 1 {
			w.Errorf("%d cards, want 1", n)
		}
	})
}

func TestNobodyAsks(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		run := w.approval(workflows.Request{Approvers: w.people("bob"), TellRequester: true})
		card := w.card("general", "Deploy v2")
		w.reply(card, "please decide")
		if got := card.PlainText(); strings.Contains(got, "Asked by") {
			w.Errorf("the card says %q", got)
		}
		if slacksim.HasOption("more", string(workflows.Withdraw))(card) {
			w.Error("the card offers to withdraw it, which nobody can")
		}
		w.click(w.as("bob", "general"), card, "approve", true)
		w.outcome(run, workflows.Approved)
		w.thread(card, []string{w.at("bob")}, []string{"Approved by " + w.at("bob"), "!" + w.at("alice")})
		for _, m := range w.sim.Replies(card.Channel, card.TS) {
			if strings.Count(m.Text, "<@") != 1 {
				w.Errorf("the thread says %q, want bob alone in it", m.Text)
			}
		}
		if n := len(w.sim.Calls("conversations.open")); n != 0 {
			w.Errorf("%d direct messages were opened, want none", n)
		}
	})
}

// A request can go to a person: its card is in their direct messages, and they decide unless others are named.
func TestAskedInADirectMessage(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		alice, dave := w.sim.Person("alice").DM(), w.sim.Person("dave").DM()
		run := w.approval(workflows.Request{Channel: dave.ID(), Requester: alice.ID(), TellRequester: true})
		card := w.card(dave.Channel(), "Deploy v2")
		w.reply(card, w.at("dave")+": please decide")
		w.click(dave, card, "approve", true)
		res := w.outcome(run, workflows.Approved)
		if d, _ := res.Decision(); d.By.ID != dave.ID() || res.Card.Channel != dave.Channel() {
			w.Errorf("the result is %+v", res)
		}
		w.closed(card, "Approved by "+w.at("dave"))
		if told := w.sim.Messages(alice.Channel()); len(told) != 1 || !slacksim.Contains("Approved by")(told[0]) {
			w.Errorf("the requester is told %+v, want once", told)
		}

		// The requester's own: nobody else could see it.
		run = w.approval(workflows.Request{Title: "Deploy v3", Channel: alice.ID(), Requester: alice.ID()})
		if got := w.failsAs(run, workflows.ErrTypeInvalidRequest).Message(); !strings.Contains(got, "only approver is the requester") {
			w.Errorf("refused with %q", got)
		}
	})
}

// Where Slack is in trouble with the lines of a thread, they keep their order, and none is there twice.
func TestTroubleInTheThread(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]slacksim.Fault{
		"posted but failed":  {Status: 500, Performed: true},
		"posted and cut off": {Cut: true, Performed: true},
		"failed":             {Error: "fatal_error"},
		"rate limited":       {Status: 429},
	} {
		t.Run(name, func(t *testing.T) {
			oneMode(t, func(w *world) {
				w.start("run")
				// The first call for each line meets it.
				var mu sync.Mutex
				met := map[string]bool{}
				w.sim.OnCall(func(c slacksim.Call) *slacksim.Fault {
					mu.Lock()
					defer mu.Unlock()
					line := c.Args.String("text")
					if c.Method != "chat.postMessage" || c.Args.String("thread_ts") == "" || met[line] {
						return nil
					}
					met[line] = true
					return &fault
				})
				alice, bob := w.as("alice", "general"), w.as("bob", "general")
				run := w.approval(workflows.Request{Requester: alice.ID(), Approvers: w.people("bob", "carol"), Required: 2})
				card := w.card("general", "Deploy v2")
				w.click(bob, card, "approve", true)
				card = w.redrawn(card, "1 of 2")
				w.fillsIn(alice, w.opens(alice, card, "more", string(workflows.Extend)), map[string]any{"longer": "1h"})
				card = w.redrawn(card, "Extended by")
				w.click(w.as("carol", "general"), card, "approve", true)
				w.outcome(run, workflows.Approved)
				w.closed(card, "Approved by")
				w.thread(card, []string{"please decide"}, []string{"1 of 2"}, []string{"Extended"}, []string{"Approved by"})
				mu.Lock()
				defer mu.Unlock()
				if len(met) != 4 {
					w.Errorf("%d lines met the fault, want 4", len(met))
				}
			})
		})
	}
}

// Where Slack lets nobody write in the thread, the request goes on without it, and the requester is told directly.
func TestThreadRefused(t *testing.T) {
	oneMode(t, func(w *world) {
		p := w.start("run")
		w.sim.OnCall(func(c slacksim.Call) *slacksim.Fault {
			if c.Method == "chat.postMessage" && c.Args.String("thread_ts") != "" {
				return &slacksim.Fault{Error: "restricted_action"}
			}
			return nil
		})
		alice := w.as("alice", "general")
		run := w.approval(workflows.Request{Requester: alice.ID(), Approvers: w.people("bob", "carol"), Required: 2})
		card := w.card("general", "Deploy v2")
		w.sees(p, `slack refuses a line`)
		w.click(w.as("bob", "general"), card, "approve", true)
		w.click(w.as("carol", "general"), w.redrawn(card, "1 of 2"), "approve", true)
		w.outcome(run, workflows.Approved)
		w.closed(card, "Approved by")
		w.thread(card)
		told := w.sim.Messages(alice.DM().Channel())
		if len(told) != 1 || !slacksim.Contains("Approved by")(told[0]) {
			w.Errorf("the requester is told %+v, want once", told)
		}
	})
}

// Somebody may decide before the workflow knows where the card is: that it was asked is said first all the same, to
// those who are still asked.
func TestDecidedBeforeTheCardIsKnown(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		bob, carol := w.as("bob", "general"), w.as("carol", "general")
		posted := w.sim.Hold("chat.getPermalink", slacksim.Before)
		run := w.approval(workflows.Request{Requester: w.sim.Person("alice").ID(), Approvers: w.people("bob", "carol"), Required: 2})
		card := w.card("general", "Deploy v2")
		w.click(bob, card, "approve", true)
		w.did(run, workflows.AwaitDecision, 1)
		posted.Release()
		w.click(carol, w.redrawn(card, "1 of 2"), "approve", true)
		w.outcome(run, workflows.Approved)
		w.closed(card, "Approved by")
		w.thread(card, []string{w.at("carol") + ": please decide", "!" + w.at("bob")}, []string{w.at("bob") + " approved (1 of 2)"}, []string{"Approved by"})

		// Where that was enough, nobody is asked any more.
		posted = w.sim.Hold("chat.getPermalink", slacksim.Before)
		run = w.approval(workflows.Request{Title: "Deploy v3", Requester: w.sim.Person("alice").ID(), Approvers: w.people("bob", "carol")})
		card = w.card("general", "Deploy v3")
		w.click(bob, card, "approve", true)
		w.did(run, workflows.AwaitDecision, 1)
		posted.Release()
		if res := w.outcome(run, workflows.Approved); res.Permalink == "" || res.Card.TS != card.TS {
			w.Errorf("the result has the card %+v at %q", res.Card, res.Permalink)
		}
		w.closed(card, "Approved by "+w.at("bob"))
		w.thread(card, []string{w.at("alice"), "Approved by " + w.at("bob")})
	})
}

// A line that Slack is slow to take holds nothing up but the lines after it.
func TestSlowThread(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		var line *slacksim.Gate
		var once sync.Once
		// The card is posted first; the next message is its first line.
		w.sim.OnCall(func(c slacksim.Call) *slacksim.Fault {
			if c.Method == "chat.getPermalink" {
				once.Do(func() { line = w.sim.Hold("chat.postMessage", slacksim.After) })
			}
			return nil
		})
		run := w.approval(workflows.Request{Requester: w.sim.Person("alice").ID(), Approvers: w.people("bob", "carol"), Required: 2})
		card := w.card("general", "Deploy v2")
		w.reply(card, "please decide")
		_, err := line.Wait(w.ctx)
		w.must(err)
		w.click(w.as("bob", "general"), card, "approve", true)
		card = w.redrawn(card, "1 of 2")
		w.thread(card, []string{"please decide"})
		line.Release()
		w.reply(card, "1 of 2")
		w.click(w.as("carol", "general"), card, "approve", true)
		w.outcome(run, workflows.Approved)
		w.thread(card, []string{"please decide"}, []string{"1 of 2"}, []string{"Approved by"})
	})
}

func TestFailOnReject(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		bob := w.as("bob", "general")
		fails := func(r workflows.Request) client.WorkflowRun {
			w.Helper()
			r.Approvers, r.Requester, r.FailOnReject = w.people("bob", "carol"), w.sim.Person("alice").ID(), true
			return w.approval(r)
		}
		run := fails(workflows.Request{RejectReason: workflows.Required})
		card := w.card("general", "Deploy v2")
		w.reply(card, "please decide")
		w.fillsIn(bob, w.opens(bob, card, "reject", ""), map[string]any{"comment": "not today"})
		app := w.failsAs(run, workflows.ErrTypeRejected)
		var d workflows.Decision
		w.must(app.Details(&d))
		if d.By.ID != bob.ID() || d.Reason != "not today" || d.Outcome != workflows.Rejected || d.At.IsZero() || d.Via != workflows.ViaCard || d.Digest == "" {
			w.Errorf("the details are %+v", d)
		}
		if !app.NonRetryable() || !strings.Contains(app.Message(), "not today") {
			w.Errorf("the error is %v", app)
		}
		w.closed(card, "Rejected by "+w.at("bob"), "not today")
		w.thread(card, []string{"please decide"}, []string{w.at("alice"), "Rejected by " + w.at("bob"), "not today"})

		// Anything but a rejection is a value.
		run = fails(workflows.Request{Title: "Deploy v3"})
		w.click(bob, w.card("general", "Deploy v3"), "approve", true)
		w.outcome(run, workflows.Approved)
	})
}

// A caller who cancels an approval gets it cancelled, and its card says so.
func TestCancelled(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		bob := w.as("bob", "general")
		run := w.approval(workflows.Request{Requester: w.sim.Person("alice").ID(), Approvers: w.people("bob", "carol"), Required: 2})
		card := w.card("general", "Deploy v2")
		w.click(bob, card, "approve", true)
		w.redrawn(card, "1 of 2")
		w.must(w.temporal.CancelWorkflow(w.ctx, run.GetID(), run.GetRunID()))
		w.isCancelled(run)
		w.closed(card, "Withdrawn on")
		w.thread(card, []string{"please decide"}, []string{"1 of 2"}, []string{w.at("alice"), "Withdrawn on"})
		w.click(w.as("carol", "general").Force(), card, "approve", true)
		w.told(w.as("carol", "general"), "Withdrawn")
	})
}
