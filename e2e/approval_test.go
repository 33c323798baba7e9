package e2e

import (
	"slices"
	"strings"
	"sync"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/workflow"

	"countersign/internal/slacksim"
	"countersign/workflows"
)

// approval starts an approval in #general as a workflow of its own, as any SDK can: by its name, with JSON.
func (w *world) approval(r workflows.Request) client.WorkflowRun {
	w.Helper()
	if r.Title == "" {
		r.Title = "Deploy v2"
	}
	if r.Channel == "" {
		r.Channel = w.sim.Channel("general").ID
	}
	run, err := w.temporal.ExecuteWorkflow(w.ctx, client.StartWorkflowOptions{TaskQueue: w.queue}, "Approval", r)
	w.must(err)
	return run
}

// people are approvers by their names.
func (w *world) people(names ...string) workflows.Approvers {
	var a workflows.Approvers
	for _, name := range names {
		a.Users = append(a.Users, w.sim.Person(name).ID())
	}
	return a
}

// outcome waits for the approval's result.
func (w *world) outcome(run client.WorkflowRun, want workflows.Outcome) workflows.Result {
	w.Helper()
	var res workflows.Result
	if err := run.Get(w.ctx, &res); err != nil {
		w.Fatalf("the approval ended with %v, want %s", err, want)
	}
	if res.Outcome != want {
		w.Fatalf("the approval is %s, want %s: %+v", res.Outcome, want, res)
	}
	return res
}

// deciders are the names of those whose decisions are in the result.
func (w *world) deciders(res workflows.Result) []string {
	var names []string
	for _, d := range res.Decisions {
		names = append(names, d.By.Name)
	}
	slices.Sort(names)
	return names
}

// mayNot chooses from the card's menu, and checks that the person is told why they may not.
func (w *world) mayNot(p slacksim.Person, card slacksim.Message, kind workflows.ChangeKind, why string) {
	w.Helper()
	if form, told := w.opensOrTold(p, card, "more", string(kind)); form.ID != "" || !strings.Contains(told, why) {
		w.Errorf("who may not %s is told %q, and gets the form %q, want %q", kind, told, form.PlainText(), why)
	}
}

// changes chooses a change from the card's menu that only asks whether, says yes, and returns what is said instead of the
// form then; the zero View where it has closed. Where Temporal is too slow, the person is told so, and does it again, if
// there is anything left to do.
func (w *world) changes(p slacksim.Person, card slacksim.Message, kind workflows.ChangeKind) slacksim.View {
	w.Helper()
	for form := w.opens(p, card, "more", string(kind)); w.ctx.Err() == nil; {
		after := w.submits(p, form, nil)
		if !unsure(after.PlainText()) {
			return after
		}
		w.Logf("chooses again: %s", after.PlainText())
		_, err := p.CloseModal(w.ctx)
		w.must(err)
		p = p.Force() // It may have counted, and the card be closed.
		told := ""
		if form, told = w.opensOrTold(p, card, "more", string(kind)); form.ID == "" {
			w.Logf("it counted: told %q", told)
			return slacksim.View{}
		}
	}
	w.Fatalf("nobody could %s", kind)
	return slacksim.View{}
}

// redrawn waits until a card shows what, with buttons.
func (w *world) redrawn(card slacksim.Message, what string) slacksim.Message {
	w.Helper()
	return w.message(card.Channel, func(m slacksim.Message) bool {
		return m.TS == card.TS && len(m.Buttons()) > 0 && slacksim.Contains(what)(m)
	})
}

// modal waits for the person's modal.
func (w *world) modal(p slacksim.Person) slacksim.View {
	w.Helper()
	v, err := p.WaitModal(w.ctx, func(slacksim.View) bool { return true })
	w.must(err)
	return v
}

func TestThreeOfFiveAtOnce(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		five := []string{"bob", "carol", "dave", "erin", "frank"}
		run := w.approval(workflows.Request{Approvers: w.people(five...), Required: 3, Requester: w.sim.Person("alice").ID()})
		card := w.card("general", "Deploy v2")
		var clicks sync.WaitGroup
		for _, name := range five {
			clicks.Go(func() { w.click(w.as(name, "general").Force(), card, "approve", true) })
		}
		clicks.Wait()
		res := w.outcome(run, workflows.Approved)
		names := w.deciders(res)
		if len(slices.Compact(names)) != 3 || len(res.Decisions) != 3 {
			w.Errorf("decided by %q, want three different people", names)
		}
		// Who was too late was told so, where Temporal was slow to end it, that it is as good as decided, or, where the
		// machine was slow, that it did not count.
		for _, name := range five {
			if slices.Contains(names, name) {
				continue
			}
			_, err := w.as(name, "general").WaitEphemeral(w.ctx, func(m slacksim.Message) bool {
				return slacksim.Contains("Too late")(m) || slacksim.Contains("just decided")(m) || slacksim.Contains("click again")(m)
			})
			w.must(err)
		}
		closed := w.closed(card, "Approved")
		for _, d := range res.Decisions {
			if !strings.Contains(closed.Text, "<@"+d.By.ID+">") {
				w.Errorf("the card does not say that %s approved: %q", d.By.Name, closed.Text)
			}
		}
		if res.Permalink == "" || res.Digest == "" || res.Card.TS != card.TS {
			w.Errorf("the result is %+v", res)
		}
	})
}

func TestOnePersonTwice(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		run := w.approval(workflows.Request{Approvers: w.people("bob", "carol", "dave"), Required: 2})
		card := w.card("general", "Deploy v2")
		bob := w.as("bob", "general")
		var clicks sync.WaitGroup
		for range 2 {
			clicks.Go(func() { w.click(bob.Force(), card, "approve", true) })
		}
		clicks.Wait()
		half := w.redrawn(card, "1 of 2")
		w.click(bob, half, "approve", true)
		w.told(bob, "You have approved this already")
		w.click(w.as("carol", "general"), half, "approve", true)
		if got := w.deciders(w.outcome(run, workflows.Approved)); !slices.Equal(got, []string{"bob", "carol"}) {
			w.Errorf("decided by %q, want bob and carol", got)
		}
	})
}

func TestRoles(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		run := w.approval(workflows.Request{Roles: []workflows.Role{
			{Name: "security", Approvers: workflows.Approvers{Groups: []string{w.sim.Group("security").ID}}, Required: 1},
			{Name: "sre", Approvers: workflows.Approvers{Groups: []string{w.sim.Group("sre").ID}}, Required: 1},
		}})
		card := w.card("general", "Deploy v2")
		// carol is in both groups, and fills whichever role is left.
		w.click(w.as("carol", "general"), card, "approve", true)
		card = w.redrawn(card, "1 of 2")
		w.click(w.as("erin", "general"), card, "approve", true)
		res := w.outcome(run, workflows.Approved)
		roles := map[string]string{}
		for _, d := range res.Decisions {
			roles[d.By.Name] = d.Role
		}
		if roles["carol"] != "sre" || roles["erin"] != "security" {
			w.Errorf("the roles are %v, want carol for sre, and erin for security", roles)
		}
		w.closed(card, "Approved")
	})
}

func TestRejectedAfterAnApproval(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		run := w.approval(workflows.Request{Approvers: w.people("bob", "carol"), Required: 2, RejectReason: workflows.Off})
		card := w.card("general", "Deploy v2")
		w.click(w.as("bob", "general"), card, "approve", true)
		card = w.redrawn(card, "1 of 2")
		w.click(w.as("carol", "general"), card, "reject", true)
		res := w.outcome(run, workflows.Rejected)
		if d, _ := res.Decision(); d.By.Name != "carol" || len(res.Decisions) != 2 {
			w.Errorf("the result is %+v, want bob's approval and carol's rejection", res)
		}
		w.closed(card, "Rejected by <@"+w.sim.Person("carol").ID()+">")
	})
}

func TestDelegated(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		bob, dave := w.as("bob", "general"), w.as("dave", "general")
		run := w.approval(workflows.Request{Approvers: w.people("bob")})
		card := w.card("general", "Deploy v2")
		w.fillsIn(bob, w.opens(bob, card, "more", string(workflows.Delegate)), map[string]any{"person": dave.ID()})
		now := w.redrawn(card, "<@"+dave.ID()+">")
		// The card as bob saw it decides nothing any more.
		w.click(bob.Force(), card, "approve", true)
		w.told(bob, "has changed")
		w.click(bob.Force(), now, "approve", true)
		w.told(bob, "Only <@"+dave.ID()+">")
		w.click(dave, now, "approve", true)
		res := w.outcome(run, workflows.Approved)
		if got := w.deciders(res); !slices.Equal(got, []string{"dave"}) || len(res.Changes) != 1 || res.Changes[0].To != dave.ID() {
			w.Errorf("the result is %+v", res)
		}
		w.reply(card, "<@"+dave.ID()+">")
	})
}

func TestInputsEditedAndApproved(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		bob := w.as("bob", "general")
		run := w.approval(workflows.Request{
			Approvers: w.people("bob"), ApproveComment: workflows.Optional,
			Inputs: []workflows.Input{
				{Name: "replicas", Type: workflows.NumberInput, Initial: "3"},
				{Name: "region", Type: workflows.SelectInput, Options: []workflows.Choice{{Label: "Europe", Value: "eu"}, {Label: "America", Value: "us"}}, Initial: "eu"},
				{Name: "note", Lines: true, Optional: true},
			},
		})
		card := w.card("general", "Deploy v2")
		w.fillsIn(bob, w.opens(bob, card, "approve", ""), map[string]any{"input-0": "5", "comment": "more is safer"})
		res := w.outcome(run, workflows.Approved)
		decided, _ := res.Decision()
		if res.Inputs["replicas"] != "5" || res.Inputs["region"] != "eu" || decided.Reason != "more is safer" {
			w.Errorf("the result is %+v", res)
		}
		w.closed(card, "5", "more is safer")
	})
}

func TestChoices(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		run := w.approval(workflows.Request{Approvers: w.people("bob"), Choices: []workflows.Choice{{Label: "Europe", Value: "eu"}, {Label: "America", Value: "us"}}})
		card := w.message("general", slacksim.HasButton("approve_2"))
		w.click(w.as("bob", "general"), card, "approve_2", true)
		if res := w.outcome(run, workflows.Approved); res.Choice != "us" {
			w.Errorf("chosen is %q, want us", res.Choice)
		}
		w.closed(card, "America")
	})
}

func TestWithdrawnByRequester(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		alice := w.as("alice", "general")
		run := w.approval(workflows.Request{Approvers: w.people("bob"), Requester: alice.ID()})
		card := w.card("general", "Deploy v2")
		bob, dave := w.as("bob", "general"), w.as("dave", "general")
		w.mayNot(bob, card, workflows.Withdraw, "Only who asked for this can withdraw it")
		for _, kind := range []workflows.ChangeKind{workflows.Withdraw, workflows.Extend, workflows.Delegate} {
			w.mayNot(dave, card, kind, "Only who asked for this, or who may decide it")
		}
		// Who thinks better of it has changed nothing.
		w.opens(alice, card, "more", string(workflows.Withdraw))
		_, err := alice.CloseModal(w.ctx)
		w.must(err)
		if got, _ := w.sim.Message(card.Channel, card.TS); got.Edits != 0 {
			w.Errorf("the menu alone has changed the card: %q", got.Text)
		}
		if after := w.changes(alice, card, workflows.Withdraw); after.ID != "" {
			w.Errorf("the form stays open, with %q", after.PlainText())
		}
		res := w.outcome(run, workflows.Withdrawn)
		if c, ok := res.Withdrawal(); !ok || c.By.ID != alice.ID() {
			w.Errorf("withdrawn by %+v, want alice", c)
		}
		w.closed(card, "Withdrawn by <@"+alice.ID()+">")
	})
}

// Where the form that asks whether to withdraw cannot do it any more, it says why.
func TestWithdrawnTooLate(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		alice, bob := w.as("alice", "general"), w.as("bob", "general")
		run := w.approval(workflows.Request{Approvers: w.people("bob"), Requester: alice.ID()})
		card := w.card("general", "Deploy v2")
		form := w.opens(alice, card, "more", string(workflows.Withdraw))
		if got := form.PlainText(); !strings.Contains(got, "Deploy v2") || !strings.Contains(got, "The request ends") || form.Submit != "Withdraw" {
			w.Errorf("the form says %q, and %q", got, form.Submit)
		}
		w.click(bob, card, "approve", true)
		w.outcome(run, workflows.Approved)
		after := w.submits(alice, form, nil)
		if got := after.PlainText(); !strings.Contains(got, "Too late. Approved by bob") || after.Submit != "" || after.Error != "" {
			w.Errorf("the form says %q %s", got, after.Error)
		}
	})
}

func TestParentEnds(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		for name, end := range map[string]func(client.WorkflowRun) error{
			"cancelled": func(run client.WorkflowRun) error { return w.temporal.CancelWorkflow(w.ctx, run.GetID(), "") },
			"terminated": func(run client.WorkflowRun) error {
				return w.temporal.TerminateWorkflow(w.ctx, run.GetID(), "", "test")
			},
		} {
			run := w.own(w.parent, workflows.Request{
				Title: "Deploy " + name, Channel: w.sim.Channel("general").ID, Approvers: w.people("bob"),
			})
			card := w.card("general", "Deploy "+name)
			w.must(end(run))
			w.closed(card, "Withdrawn")
		}
	})
}

// parent is a team's workflow that asks for an approval in a child workflow, and returns its result.
func (w *world) parent(ctx workflow.Context, r workflows.Request) (res workflows.Result, err error) {
	ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		TaskQueue: w.queue, ParentClosePolicy: enumspb.PARENT_CLOSE_POLICY_REQUEST_CANCEL, WaitForCancellation: true,
	})
	err = workflow.ExecuteChildWorkflow(ctx, "Approval", r).Get(ctx, &res)
	return res, err
}
