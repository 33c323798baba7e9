package e2e

import (
	"slices"
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/workflow"

	"countersign/internal/slacksim"
	"countersign/workflows"
)

// form opens the form of /approval.
func (w *world) form(p slacksim.Person) slacksim.View {
	w.Helper()
	if got := w.types(p, "/approval"); got != "" {
		w.Fatalf("/approval answers %q, want a form", got)
	}
	return w.modal(p)
}

// workflows are those of the task queue that Temporal's visibility knows, by their type.
func (w *world) workflows() map[string][]client.WorkflowRun {
	w.Helper()
	all := map[string][]client.WorkflowRun{}
	r, err := w.temporal.ListWorkflow(w.ctx, &workflowservice.ListWorkflowExecutionsRequest{
		Namespace: client.DefaultNamespace, Query: "TaskQueue = '" + w.queue + "'",
	})
	w.must(err)
	for _, e := range r.GetExecutions() {
		name := e.GetType().GetName()
		all[name] = append(all[name], w.temporal.GetWorkflow(w.ctx, e.GetExecution().GetWorkflowId(), e.GetExecution().GetRunId()))
	}
	return all
}

// started waits until visibility has n approvals, and returns them. There must be no other workflows.
func (w *world) started(n int) []client.WorkflowRun {
	w.Helper()
	for w.again() {
		all := w.workflows()
		if len(all["Approval"]) < n {
			continue
		}
		if len(all) != 1 || len(all["Approval"]) != n {
			w.Errorf("workflows %v, want %d approvals", all, n)
		}
		return all["Approval"]
	}
	w.Fatalf("visibility has %v, want %d approvals", w.workflows(), n)
	return nil
}

func TestApprovalForm(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		alice, bob := w.as("alice", "ops"), w.as("bob", "ops")
		form := w.form(alice)
		values := map[string]any{
			"title": "Drop the *old* table", "text": "It is **empty**.\n- really", "approvers": []string{bob.ID(), w.sim.Person("carol").ID()},
			"required": "2", "deadline": "4h",
		}
		w.fillsIn(alice, form, values)
		card := w.card("ops", "Drop the *old* table")
		for _, want := range []string{w.at("alice"), w.at("bob"), w.at("carol"), "0 of 2", "It is empty.", "really"} {
			if !strings.Contains(card.PlainText(), want) {
				w.Errorf("the card says %q, want %q", card.PlainText(), want)
			}
		}

		// Submitted again, as the same form or as another delivery of it, it asks nothing twice.
		w.submits(alice.Force(), form, values)
		for _, d := range w.sim.Deliveries() {
			if d.Kind == slacksim.ViewSubmission {
				again, err := w.sim.Redeliver(w.ctx, d)
				w.must(err)
				if !again.Acked {
					w.Errorf("redelivered: %s", again)
				}
			}
		}
		// Filled in again, it does.
		form = w.form(alice)
		w.fillsIn(alice, form, map[string]any{"title": "Drop the new table"})
		other := w.card("ops", "Drop the new table")
		if n := w.cardsIn("ops"); n != 2 {
			w.Errorf("%d cards, want 2", n)
		}
		w.click(bob, other, "approve", true)
		w.click(bob, card, "approve", true)
		w.click(w.as("carol", "ops"), w.redrawn(card, "1 of 2"), "approve", true)
		for _, run := range w.started(2) {
			w.outcome(run, workflows.Approved)
		}
		if n := w.cardsIn("ops"); n != 2 {
			w.Errorf("%d cards, want 2", n)
		}
	})
}

func TestFaultsInTheForm(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		alice := w.as("alice", "general")
		form := w.form(alice)
		for name, test := range map[string]struct {
			values map[string]any
			block  string
			want   string
		}{
			"a title that nobody sees": {map[string]any{"title": "\u200b"}, "title", "The title is empty."},
			"the requester alone":      {map[string]any{"title": "x", "approvers": []string{alice.ID()}}, "approvers", "You cannot decide your own request"},
			"more than there are":      {map[string]any{"title": "x", "approvers": []string{w.sim.Person("bob").ID()}, "required": "2"}, "required", "Only 1 of those named can decide"},
			"people who cannot decide": {map[string]any{"title": "x", "approvers": w.people("bob", "robot", "former", "external").Users}, "approvers", "instead of: "},
			"several of nobody":        {map[string]any{"title": "x", "required": "2"}, "approvers", "Say who may decide"},
			"none":                     {map[string]any{"title": "x", "required": "0"}, "required", "Write a number from 1 to 20."},
			"more than there may be":   {map[string]any{"title": "x", "approvers": w.people("bob").Users, "required": "21"}, "required", "Write a number from 1 to 20."},
			"too long a text":          {map[string]any{"title": "x", "text": strings.Repeat("x", workflows.MaxText+1)}, "text", "The text has 2001 characters"},
		} {
			got := w.submits(alice.Force(), form, test.values) // Slack's client refuses some by itself.
			if !strings.Contains(got.Errors[test.block], test.want) || got.Error != "" {
				w.Errorf("%s: the form shows %v %s, want %q at %s", name, got.Errors, got.Error, test.want, test.block)
			}
		}
		// Put right, the same form asks.
		w.fillsIn(alice, form, map[string]any{"title": "Deploy v2"})
		w.card("general", "Deploy v2")
		w.started(1)
	})
}

func TestApprovalCommand(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		alice, bob, carol, dave := w.as("alice", "general"), w.as("bob", "general"), w.as("carol", "general"), w.as("dave", "general")
		says := func(p slacksim.Person, line string, want ...string) {
			w.Helper()
			got := w.types(p, line)
			for _, s := range want {
				if !strings.Contains(got, s) {
					w.Errorf("%s answers %q, want %q", line, got, s)
				}
			}
		}
		lists := func(p slacksim.Person, want ...string) string {
			w.Helper()
			for w.again() { // Visibility lags behind.
				got := w.types(p, "/approval list")
				if !slices.ContainsFunc(want, func(s string) bool { return !strings.Contains(got, s) }) {
					return got
				}
			}
			w.Fatalf("the list says %q, want %q", w.types(p, "/approval list"), want)
			return ""
		}
		says(bob, "/approval list", "Nothing waits for you", "You have asked nothing")
		run := w.approval(workflows.Request{Requester: alice.ID(), Approvers: w.people("bob", "carol"), Required: 2})
		card := w.card("general", "Deploy v2")
		w.did(run, workflows.PostLine, 1)
		id := run.GetID()
		link := "https://" + slacksim.TeamDomain + ".slack.com/archives/" + card.Channel + "/p" + strings.ReplaceAll(card.TS, ".", "")

		lists(alice, "Nothing waits for you", "*Asked by you*\n•  *Deploy v2*", "<"+link+"|", "`"+id+"`")
		lists(bob, "*Waiting for you*\n•  *Deploy v2*", "<"+link+"|", "`"+id+"`", "You have asked nothing")
		if got := w.types(dave, "/approval list"); strings.Contains(got, "Deploy") {
			w.Errorf("somebody else's list says %q", got)
		}
		says(alice, "/approval show "+id, "Deploy v2", link, "0 of 2")
		says(bob, "/approval SHOW `"+id+"`", "Deploy v2")

		// What concerns others is as if it were not there.
		for _, line := range []string{"show " + id, "withdraw " + id, "extend " + id + " 2h", "delegate " + id + " @frank"} {
			says(dave, "/approval "+line, "There is no request `"+id+"` that concerns you")
		}
		says(bob, "/approval withdraw "+id, "Only who asked for this can withdraw it")
		says(alice, "/approval delegate "+id+" @frank", "Only an approver who is named can hand their place over")
		says(carol, "/approval delegate "+id+" @guest", "Guests can decide only where they are named")
		says(carol, "/approval delegate "+id+" @robot", "Only active people of this workspace")
		says(carol, "/approval delegate "+id+" @external", "Only active people of this workspace")
		says(carol, "/approval delegate "+id+" frank", "Say to whom")
		says(carol, "/approval delegate "+id+" @alice", "may not decide it")
		says(carol, "/approval delegate "+id+" @bob", "may decide this already")
		if got, _ := w.sim.Message(card.Channel, card.TS); got.Edits != 0 {
			w.Errorf("what was refused has changed the card: %q", got.Text)
		}

		says(carol, "/approval delegate "+id+" @dave", "handed over to "+w.at("dave"))
		w.redrawn(card, w.at("dave"))
		lists(dave, "*Waiting for you*\n•  *Deploy v2*")
		lists(carol, "Nothing waits for you")
		says(carol, "/approval show "+id, "There is no request")
		w.click(bob, card, "approve", true)
		w.redrawn(card, "1 of 2")
		lists(bob, "Nothing waits for you")
		says(bob, "/approval show "+id, "1 of 2")
		says(dave, "/approval extend "+id+" 2h", "It waits until")

		says(alice, "/approval withdraw "+id, "It is withdrawn.")
		res := w.outcome(run, workflows.Withdrawn)
		if c, ok := res.Withdrawal(); !ok || c.By.ID != alice.ID() || c.Via != workflows.ViaCommand || len(res.Changes) != 3 {
			w.Errorf("the result is %+v", res)
		}
		w.closed(card, "Withdrawn by "+w.at("alice"))
		says(alice, "/approval withdraw "+id, "Too late: this request has ended.", "Withdrawn by "+w.at("alice"))
		says(alice, "/approval show "+id, "Withdrawn by "+w.at("alice"))
		lists(alice, "You have asked nothing")
		lists(dave, "Nothing waits for you")
	})
}

// Nothing that a person types starts a workflow but by the form, or touches what is none of our requests.
func TestWhatPeopleType(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		alice := w.as("alice", "general")
		for _, line := range []string{
			"help", "HELP", "Greeting", "start Greeting", "run CloseCardLater", "list all", "show", "withdraw", "extend x",
			"delegate x", "“list", "approve x", "--help", "<!channel>",
		} {
			if got := w.types(alice, "/approval "+line); !strings.Contains(got, "*/approval list*") {
				w.Errorf("/approval %s answers %q, want the help", line, got)
			}
		}
		if got := w.types(w.sim.Person("alice").DM(), "/approval"); !strings.Contains(got, "could not see a card here") {
			w.Errorf("in a direct message it answers %q", got)
		}
		if got := w.types(w.as("guest", "general"), "/approval"); !strings.Contains(got, "full members") {
			w.Errorf("a guest is told %q", got)
		}

		// A workflow of another task queue, which says that it has a request.
		foreign := w.own(func(ctx workflow.Context, l []workflows.Listed) error {
			if err := workflow.UpsertMemo(ctx, map[string]any{workflows.MemoRequests: l}); err != nil {
				return err
			}
			workflow.GetSignalChannel(ctx, "end").Receive(ctx, nil)
			return nil
		}, []workflows.Listed{{
			Question: "x-1", ActivityID: "x-1-decision-1-0", Card: workflows.Card{Channel: "C", TS: "1"},
			Round: workflows.Round{Request: workflows.Request{Title: "Foreign", Requester: alice.ID()}, Number: 1},
		}})
		for _, id := range []string{foreign.GetID(), "nothing", strings.Repeat("x", 2000), "`*<!channel>*`", "../../x", "'"} {
			for _, verb := range []string{"show " + id, "withdraw " + id, "extend " + id + " 1h", "delegate " + id + " @bob"} {
				if got := w.types(alice, "/approval "+verb); !strings.Contains(got, "There is no request") || strings.Contains(got, "<!channel>") {
					w.Errorf("/approval %s answers %q", verb, got)
				}
			}
		}
		d, err := w.temporal.DescribeWorkflowExecution(w.ctx, foreign.GetID(), foreign.GetRunID())
		w.must(err)
		if got := d.GetWorkflowExecutionInfo().GetStatus(); got != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
			w.Errorf("the foreign workflow is %s", got)
		}

		// What was asked after all of that is the only workflow there is.
		w.fillsIn(alice, w.form(alice), map[string]any{"title": "Deploy v2"})
		w.card("general", "Deploy v2")
		w.started(1)
	})
}
