package e2e

import (
	"strings"
	"testing"

	"countersign/internal/devserver"
	"countersign/internal/slacksim"
	"countersign/workflows"
)

// home opens the person's home.
func (w *world) home(p slacksim.Person) {
	w.Helper()
	d, err := p.OpenHome(w.ctx)
	w.must(err)
	if !d.Acked {
		w.Fatalf("the home's opening was not acknowledged: %s", d)
	}
}

// atHome waits until the person's home says what.
func (w *world) atHome(p slacksim.Person, match func(slacksim.View) bool) slacksim.View {
	w.Helper()
	v, err := p.WaitHome(w.ctx, match)
	if err != nil {
		for _, home := range w.sim.State().Homes {
			if home.User == p.ID() {
				w.Logf("the home says:\n%s", home.PlainText())
			}
		}
		w.Fatal(err)
	}
	return v
}

// says accepts a home that says all of what, and nothing of not.
func says(what []string, not ...string) func(slacksim.View) bool {
	return func(v slacksim.View) bool {
		text := v.PlainText()
		for _, s := range what {
			if !strings.Contains(text, s) {
				return false
			}
		}
		for _, s := range not {
			if strings.Contains(text, s) {
				return false
			}
		}
		return true
	}
}

func TestHome(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		alice, bob := w.as("alice", "general"), w.as("bob", "general")
		run := w.approval(workflows.Request{Title: "Deploy v2", Text: "All tests have passed.", Requester: alice.ID(), Approvers: w.people("bob")})
		other := w.approval(workflows.Request{Title: "Deploy v3", Requester: alice.ID(), Approvers: w.people("carol")})
		card := w.card("general", "Deploy v2")
		w.card("general", "Deploy v3")

		// Each sees what concerns them, as soon as Temporal's visibility has it.
		w.home(bob)
		v := w.atHome(bob, says([]string{"Deploy v2"}, "Deploy v3"))
		w.home(alice)
		w.atHome(alice, says([]string{"Nothing waits for you", "Deploy v2", "Deploy v3"}))

		d, err := bob.ClickView(w.ctx, v, "approve")
		w.must(err)
		if !d.Acked {
			w.Fatalf("the click was not acknowledged: %s", d)
		}
		form := w.modal(bob) // There is no card beside it: what is approved is shown.
		if !strings.Contains(form.PlainText(), "All tests have passed.") {
			w.Errorf("the form shows %q", form.PlainText())
		}
		w.fillsIn(bob, form, nil)
		res := w.outcome(run, workflows.Approved)
		if decided, _ := res.Decision(); decided.Via != workflows.ViaHome || decided.By.ID != bob.ID() {
			w.Errorf("decided by %+v, want bob in the home", decided)
		}
		w.closed(card, "Approved by <@"+bob.ID()+">")
		w.atHome(bob, says([]string{"Nothing waits for you", "Approved by <@" + bob.ID() + ">"}))

		// Others' homes follow by themselves.
		v = w.atHome(alice, says([]string{"Deploy v3", "Approved by <@" + bob.ID() + ">"}))
		d, err = alice.ClickView(w.ctx, v, "withdraw")
		w.must(err)
		if !d.Acked {
			w.Fatalf("the click was not acknowledged: %s", d)
		}
		w.outcome(other, workflows.Withdrawn)
		w.atHome(alice, says([]string{"Nothing that you asked is open", "Withdrawn by"}))
	})
}

func TestHomeWithoutTemporal(t *testing.T) {
	t.Parallel()
	server, o := ownTemporal(t)
	w := newWorld(t, socketMode, server.Address)
	w.start("run")
	bob := w.as("bob", "general")
	w.approval(workflows.Request{Approvers: w.people("bob")})
	w.card("general", "Deploy v2")
	w.home(bob)
	v := w.atHome(bob, says([]string{"Deploy v2"}))
	w.must(server.Kill())
	w.home(bob)
	w.atHome(bob, says([]string{"Could not load"}, "Deploy v2"))

	// A button of before says what is the matter, in a modal: the home has no other private place.
	_, err := bob.Force().ClickView(w.ctx, v, "approve")
	w.must(err)
	_, err = bob.WaitModal(w.ctx, says([]string{"I could not read this request from Temporal just now"}))
	w.must(err)
	server, err = devserver.Start(w.ctx, o)
	w.must(err)
	t.Cleanup(func() { _ = server.Stop() })
	w.atHome(bob, says([]string{"Deploy v2"}))
}
