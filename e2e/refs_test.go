package e2e

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"countersign/internal/reference"
	"countersign/internal/slacksim"
	"countersign/workflows"
)

// presses presses a button as somebody has made it, on the message, and returns what the person is told; empty where
// nobody says anything to them.
func (w *world) presses(p slacksim.Person, m slacksim.Message, b slacksim.Button) string {
	w.Helper()
	for w.ctx.Err() == nil {
		before := len(p.Ephemerals(m.Channel))
		d, err := p.Force().Press(w.ctx, m, b)
		w.must(err)
		told := p.Ephemerals(m.Channel)[before:]
		switch {
		case !d.Acked:
			w.Logf("presses again: %s", d)
		case len(told) == 0:
			return ""
		case !inVain(told[0].Text) && !unsure(told[0].Text), strings.Contains(told[0].Text, "of another version of the app"):
			return told[0].Text
		default:
			w.Logf("presses again: told %q", told[0].Text)
		}
	}
	w.Fatal("a click was not answered")
	return ""
}

// buttonOf is a button of a message as it stands.
func (w *world) buttonOf(m slacksim.Message, action string) slacksim.Button {
	w.Helper()
	b, ok := m.Button(action)
	if !ok {
		w.Fatalf("no button %s on %q", action, m.Text)
	}
	return b
}

// isOpen checks that a message is as it was: nothing has redrawn it, and its buttons are there.
func (w *world) isOpen(m slacksim.Message) {
	w.Helper()
	now, ok := w.sim.Message(m.Channel, m.TS)
	if !ok || len(now.Buttons()) == 0 || now.Edits != m.Edits {
		w.Errorf("the card was redrawn: %d edits, it says %q", now.Edits, now.PlainText())
	}
}

// flipped is s with another character at the place.
func flipped(s string, at int) string {
	c := byte('A')
	if s[at] == c {
		c = 'B'
	}
	return s[:at] + string(c) + s[at+1:]
}

// changedReferences are a reference with each of its parts changed, cut off, and made with another key; and what people
// are told of each.
func changedReferences(t *testing.T, value string) map[string][2]string {
	t.Helper()
	const changed, version, key = "is not of this app, or has been changed", "is of another version of the app", "a key that the app no longer has"
	parts := strings.SplitN(value, ".", 3)
	head := len(parts[0]) + len(parts[1]) + 2
	others, err := reference.ParseKeys(reference.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	forged, err := others.Seal(reference.Reference{WorkflowID: "w", RunID: "r", ActivityID: "a", Channel: true})
	if err != nil {
		t.Fatal(err)
	}
	return map[string][2]string{
		"version":                {"v2" + value[2:], version},
		"version in capitals":    {"V" + value[1:], version},
		"no version":             {value[3:], version},
		"key ID":                 {flipped(value, len(parts[0])+1), key},
		"nonce":                  {flipped(value, head), changed},
		"end of the nonce":       {flipped(value, head+14), changed},
		"ciphertext":             {flipped(value, head+40), changed},
		"middle":                 {flipped(value, (head+len(value))/2), changed},
		"tag":                    {flipped(value, len(value)-20), changed},
		"end of the tag":         {flipped(value, len(value)-3), changed},
		"without the tag":        {value[:len(value)-22], changed},
		"cut in the middle":      {value[:len(value)/2], changed},
		"nonce alone":            {value[:head+16], changed},
		"head alone":             {value[:head], changed},
		"twice":                  {value + value[head:], changed},
		"another key's":          {forged, key},
		"another key's, as ours": {parts[0] + "." + parts[1] + "." + strings.SplitN(forged, ".", 3)[2], changed},
		"too long":               {value + strings.Repeat("A", reference.MaxLength), changed},
		"not ASCII":              {value[:head] + "ü" + value[head:], changed},
		"words":                  {"approve", changed},
	}
}

// A reference of which a part was changed decides nothing, whether it stands in a button, beside a menu or in a form, and
// whoever clicked is told.
func TestChangedReference(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run", "APPROVERS=channel")
		run := w.approval(workflows.Request{Approvers: workflows.Approvers{Channel: true}})
		card := w.card("general", "Deploy v2")
		bob := w.as("bob", "general")
		form := w.opens(bob, card, "reject", "")
		for name, c := range changedReferences(w.T, w.buttonOf(card, "approve").Value) {
			for _, action := range []string{"approve", "reject"} {
				b := w.buttonOf(card, action)
				b.Value = c[0]
				if told := w.presses(bob, card, b); !strings.Contains(told, c[1]) {
					w.Errorf("%s, %s: told %q, want %q", name, action, told, c[1])
				}
			}
			if told := w.submitsKept(bob, form, c[0]); !strings.Contains(told, c[1]) {
				w.Errorf("%s, in a form: told %q, want %q", name, told, c[1])
			}
		}
		w.isOpen(card)
		w.fillsIn(bob, form, map[string]any{"comment": "The form as it was."})
		w.outcome(run, workflows.Rejected)
		w.closed(card, "Rejected by")
	})
}

// submitsKept submits a form that keeps another reference than it was opened with, and returns what its first block says
// then; empty where it closes.
func (w *world) submitsKept(p slacksim.Person, form slacksim.View, sealed string) string {
	w.Helper()
	var kept map[string]any
	w.must(json.Unmarshal([]byte(form.PrivateMetadata), &kept))
	kept["reference"] = sealed
	metadata, err := json.Marshal(kept)
	w.must(err)
	payload, err := json.Marshal(map[string]any{
		"type": "view_submission",
		"user": map[string]any{"id": p.ID(), "name": "bob", "username": "bob", "team_id": slacksim.TeamID},
		"view": map[string]any{
			"id": form.ID, "callback_id": form.CallbackID, "private_metadata": string(metadata),
			"state": map[string]any{"values": map[string]any{"comment": map[string]any{"comment": map[string]any{"type": "plain_text_input", "value": "No."}}}},
		},
	})
	w.must(err)
	for w.ctx.Err() == nil {
		d, err := w.sim.Redeliver(w.ctx, slacksim.Delivery{Kind: slacksim.ViewSubmission, User: p.ID(), Payload: payload})
		w.must(err)
		var answer struct{ Errors map[string]string }
		if len(d.Response) > 0 {
			w.must(json.Unmarshal(d.Response, &answer))
		}
		if told := strings.Join(slices.Collect(maps.Values(answer.Errors)), " "); d.Acked && !unsure(told) {
			return told
		}
		w.Logf("submits again: %s", d)
	}
	w.Fatal("a submission was not answered")
	return ""
}

// A reference names one run: where the workflow was run again under its ID, the old card decides nothing.
func TestReferenceOfAnotherRun(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		ask := func(title string) client.WorkflowRun {
			run, err := w.temporal.ExecuteWorkflow(w.ctx, client.StartWorkflowOptions{
				TaskQueue: w.queue, ID: w.queue + "-again", WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
			}, "Approval", workflows.Request{Title: title, Channel: w.sim.Channel("general").ID, Approvers: w.people("bob", "carol")})
			w.must(err)
			return run
		}
		bob, carol := w.as("bob", "general"), w.as("carol", "general")
		first := ask("Deploy v1")
		decided := w.card("general", "Deploy v1")
		used := w.buttonOf(decided, "approve")
		w.click(carol, decided, "approve", true)
		w.outcome(first, workflows.Approved)
		w.closed(decided, "Approved by")

		second := ask("Deploy v2")
		ended := w.card("general", "Deploy v2")
		w.must(w.temporal.TerminateWorkflow(w.ctx, second.GetID(), second.GetRunID(), "the test ends it"))

		third := ask("Deploy v3")
		open := w.card("general", "Deploy v3")
		if told := w.presses(bob, decided, used); !strings.Contains(told, "Too late. Approved by <@"+carol.ID()+">") {
			w.Errorf("the button of a run that was approved: told %q", told)
		}
		if told := w.presses(bob, ended, w.buttonOf(ended, "approve")); !strings.Contains(told, "Too late. Ended") {
			w.Errorf("the button of a run that was terminated: told %q", told)
		}
		w.closed(ended, "Ended")
		w.isOpen(open)
		w.fillsIn(bob, w.opens(bob, open, "reject", ""), nil)
		w.outcome(third, workflows.Rejected)
		w.closed(open, "Rejected by")
	})
}

// The button of one card, on the message of another, decides what its reference names, and leaves the message alone.
func TestSwappedReferences(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		first := w.approval(workflows.Request{Title: "Deploy v1", Approvers: w.people("bob"), Required: 1})
		second := w.approval(workflows.Request{Title: "Deploy v2", Approvers: w.people("carol")})
		bob, carol := w.as("bob", "general"), w.as("carol", "general")
		card, other := w.card("general", "Deploy v1"), w.card("general", "Deploy v2")
		// Until it knows its card, the workflow takes the message that is clicked for it.
		w.seen(first, func(all []workflows.Listed) bool { return len(all) == 1 && all[0].Card.TS == card.TS })

		swapped := w.buttonOf(other, "approve")
		swapped.Value = w.buttonOf(card, "approve").Value
		// Who may decide what is shown, and not what is named, does not.
		if told := w.presses(carol, other, swapped); !strings.Contains(told, "Only <@"+bob.ID()+"> can decide") {
			w.Errorf("carol is told %q", told)
		}
		form := w.opens(carol, other, "reject", "")
		if told := w.submitsKept(carol, form, swapped.Value); !strings.Contains(told, "You are not among those") {
			w.Errorf("a form with the reference of another request says %q", told)
		}
		w.isOpen(card)
		if told := w.presses(bob, other, swapped); told != "" {
			w.Errorf("bob is told %q", told)
		}
		w.outcome(first, workflows.Approved)
		w.closed(card, "Approved by <@"+bob.ID()+">")
		w.isOpen(other)
		// What has ended is not drawn on the message that was clicked, but where the request's own card is.
		swapped = w.buttonOf(other, "reject")
		swapped.Value = w.buttonOf(card, "reject").Value
		if told := w.presses(bob, other, swapped); !strings.Contains(told, "Too late. Approved by <@"+bob.ID()+">") {
			w.Errorf("bob is told %q", told)
		}
		w.isOpen(other)
		w.fillsIn(carol, form, map[string]any{"comment": "This one."})
		w.outcome(second, workflows.Rejected)
		w.closed(other, "Rejected by <@"+carol.ID()+">")
	})
}

// What is pressed is the action and the block: the reference alone decides nothing.
func TestActionsThatWereNotOffered(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		bob := w.as("bob", "general")
		run := w.approval(workflows.Request{Title: "Deploy v2", Approvers: w.people("bob"), RejectReason: workflows.Off})
		card := w.card("general", "Deploy v2")
		approve := w.buttonOf(card, "approve")
		for _, action := range []string{"approve_0", "approve_6", "approve_01", "Approve", "approved", "approve ", "", "more_", "withdraw", "page_waiting_1"} {
			b := approve
			b.ActionID = action
			if told := w.presses(bob, card, b); !strings.Contains(told, "of another version of the app") {
				w.Errorf("action %q: told %q", action, told)
			}
		}
		for _, block := range []string{"other", "", "Decision-1", "page-decision"} {
			for _, action := range []string{"approve", "reject", "withdraw", "page_waiting_1"} {
				b := approve
				b.BlockID, b.ActionID = block, action
				if told := w.presses(bob, card, b); told != "" {
					w.Errorf("block %q, action %q: told %q", block, action, told)
				}
			}
		}
		w.isOpen(card)
		// The value of Approve under Reject rejects: which it is, the action says.
		b := approve
		b.ActionID = "reject"
		if told := w.presses(bob, card, b); told != "" {
			w.Errorf("told %q", told)
		}
		w.outcome(run, workflows.Rejected)

		// Where there are choices, one of them has to be chosen.
		run = w.approval(workflows.Request{
			Title: "Deploy to", Approvers: w.people("bob"), Choices: []workflows.Choice{{Label: "Staging"}, {Label: "Production"}},
		})
		card = w.message("general", slacksim.HasButton("approve_2"))
		for _, action := range []string{"approve", "approve_3"} {
			b = w.buttonOf(card, "approve_2")
			b.ActionID = action
			if told := w.presses(bob, card, b); !strings.Contains(told, "not of this app, or has been changed") {
				w.Errorf("action %q: told %q", action, told)
			}
		}
		w.isOpen(card)
		w.click(bob, card, "approve_2", true)
		if res := w.outcome(run, workflows.Approved); res.Choice != "Production" {
			w.Errorf("chosen %q, want Production", res.Choice)
		}

		// A choice where there are none chooses nothing.
		run = w.approval(workflows.Request{Title: "Deploy v3", Approvers: w.people("bob")})
		card = w.card("general", "Deploy v3")
		b = w.buttonOf(card, "approve")
		b.ActionID, b.BlockID = "approve_3", "decision-99"
		if told := w.presses(bob, card, b); told != "" {
			w.Errorf("told %q", told)
		}
		if res := w.outcome(run, workflows.Approved); res.Choice != "" {
			w.Errorf("chosen %q of nothing", res.Choice)
		}
		w.closed(card, "Approved by <@"+bob.ID()+">")
	})
}

// A click that somebody has caught, and sends again, decides nothing new: in the next round, after the request was
// withdrawn, and after it was decided.
func TestReplayedClick(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		alice, bob, carol := w.as("alice", "general"), w.as("bob", "general"), w.as("carol", "general")
		replays := func(of ...slacksim.Delivery) {
			w.Helper()
			for _, d := range of {
				again, err := w.sim.Redeliver(w.ctx, d)
				w.must(err)
				w.Logf("replayed: %s", again)
			}
		}
		// caught are the deliveries of a person since there were so many.
		caught := func(p slacksim.Person, since int) (all []slacksim.Delivery) {
			for _, d := range w.sim.Deliveries()[since:] {
				if d.User == p.ID() && (d.Kind == slacksim.BlockActions || d.Kind == slacksim.ViewSubmission) {
					all = append(all, d)
				}
			}
			return all
		}
		ask := func(title string) (client.WorkflowRun, slacksim.Message) {
			run := w.approval(workflows.Request{Title: title, Requester: alice.ID(), Required: 2, Approvers: w.people("bob", "carol", "dave")})
			return run, w.card("general", title)
		}

		// In the second round, and after the end.
		run, card := ask("Deploy v2")
		since := len(w.sim.Deliveries())
		w.click(bob, card, "approve", true)
		card = w.redrawn(card, "1 of 2")
		approvals := caught(bob, since)
		replays(approvals...)
		replays(approvals...)
		if now, _ := w.sim.Message(card.Channel, card.TS); len(now.Buttons()) == 0 || !strings.Contains(now.PlainText(), "1 of 2") {
			w.Errorf("after the replay the card says %q", now.PlainText())
		}
		w.click(carol, card, "approve", true)
		if got := w.deciders(w.outcome(run, workflows.Approved)); !slices.Equal(got, []string{"bob", "carol"}) {
			w.Errorf("decided by %q, want bob and carol", got)
		}
		closed := w.closed(card, "Approved by")
		replays(approvals...)
		if now, _ := w.sim.Message(card.Channel, card.TS); !strings.Contains(now.PlainText(), "<@"+carol.ID()+">") || len(now.Buttons()) > 0 || now.Text != closed.Text {
			w.Errorf("after the end a replay makes the card say %q", now.PlainText())
		}

		// After it was withdrawn.
		run, card = ask("Deploy v3")
		since = len(w.sim.Deliveries())
		w.click(bob, card, "approve", true)
		card = w.redrawn(card, "1 of 2")
		w.changes(alice, card, workflows.Withdraw)
		res := w.outcome(run, workflows.Withdrawn)
		w.closed(card, "Withdrawn by")
		replays(caught(bob, since)...)
		replays(caught(alice, since)...)
		if got := w.deciders(res); !slices.Equal(got, []string{"bob"}) {
			w.Errorf("decided by %q, want bob alone", got)
		}
		w.closed(card, "Withdrawn by")

		// A rejection and its form, on another request of the same people: it stays open.
		run, card = ask("Deploy v4")
		since = len(w.sim.Deliveries())
		w.fillsIn(carol, w.opens(carol, card, "reject", ""), map[string]any{"comment": "Not now."})
		if res := w.outcome(run, workflows.Rejected); len(res.Decisions) != 1 {
			w.Errorf("decided by %+v", res.Decisions)
		}
		w.closed(card, "Rejected by <@"+carol.ID()+">")
		_, other := ask("Deploy v5")
		replays(caught(carol, since)...)
		w.isOpen(other)
		if got := w.closed(card, "Rejected by <@"+carol.ID()+">"); strings.Count(got.PlainText(), "Not now.") != 1 {
			w.Errorf("after a replay the card says %q", got.PlainText())
		}
	})
}
