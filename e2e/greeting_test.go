package e2e

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"countersign/internal/slacksim"
	"countersign/workflows"
)

// result waits for the workflow's end.
func (w *world) result(run client.WorkflowRun) (string, error) {
	w.Helper()
	var greeting string
	err := run.Get(w.ctx, &greeting)
	if errors.Is(err, w.ctx.Err()) && w.ctx.Err() != nil {
		w.Fatal("the workflow did not end")
	}
	return greeting, err
}

// failsAs waits for the workflow to fail with an error of that type, and returns it.
func (w *world) failsAs(run client.WorkflowRun, kind string) *temporal.ApplicationError {
	w.Helper()
	_, err := w.result(run)
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.Type() != kind {
		w.Fatalf("workflow ended with %v, want an error of type %s", err, kind)
	}
	return app
}

func TestApprove(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		alice, bob := w.as("alice", "general"), w.as("bob", "general")

		if d := w.greet("general", "World"); !strings.Contains(string(d.Response), "I am asking for approval") {
			w.Errorf("/greet answers %s", d)
		}
		card := w.card("general", "Greet World")
		for _, want := range []string{"<@" + alice.ID() + ">", "<@" + bob.ID() + ">", "Hello, World!"} {
			if !strings.Contains(card.PlainText(), want) || !strings.Contains(card.Text, want) {
				w.Errorf("card says %q and %q, want %q in both", card.PlainText(), card.Text, want)
			}
		}

		w.click(bob, card, "approve", true)
		w.closed(card, "Approved by <@"+bob.ID()+"> on <!date^")
		w.reply(card, "<@"+alice.ID()+">")
		w.message("general", func(m slacksim.Message) bool { return m.Text == "Hello, World!" && m.ThreadTS == "" })

		// Nothing was posted but the card, the line in its thread, and the greeting.
		if n := len(w.sim.Calls("chat.postMessage")); n != 3 {
			w.Errorf("%d messages were posted, want 3", n)
		}
	})
}

func TestApproveResult(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		run := w.ask("general", "World")
		w.click(w.as("bob", "general"), w.card("general", "Greet World"), "approve", true)
		got, err := w.result(run)
		if got != "Hello, World!" || err != nil {
			w.Errorf("Greeting returned %q, %v", got, err)
		}
	})
}

func TestRejectWithReason(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		alice, bob := w.as("alice", "general"), w.as("bob", "general")
		run := w.ask("general", "World")
		card := w.card("general", "Greet World")

		w.fillsIn(bob, w.opens(bob, card, "reject", ""), map[string]any{"comment": "not <!channel> today\n*never*"})

		closed := w.closed(card, "Rejected by <@"+bob.ID()+">")
		if want := "not <!channel> today\n*never*"; !strings.Contains(closed.PlainText(), want) {
			w.Errorf("card says %q, want the reason as it was typed: %q", closed.PlainText(), want)
		}
		if strings.Contains(closed.Text, "<!channel>") {
			w.Errorf("the card's text mentions the channel: %q", closed.Text)
		}
		w.reply(card, "<@"+alice.ID()+">")

		var got workflows.Decision
		w.must(w.failsAs(run, workflows.ErrTypeRejected).Details(&got))
		if got.At.IsZero() || len(got.Digest) != 64 {
			w.Errorf("decision has no time or digest: %+v", got)
		}
		got.At, got.Digest = got.At.Truncate(0), ""
		want := workflows.Decision{
			Outcome: workflows.Rejected, Reason: "not <!channel> today\n*never*", At: got.At, Via: workflows.ViaCard,
			By:   workflows.Person{ID: bob.ID(), Name: "bob", Team: slacksim.TeamID},
			Card: workflows.Card{Channel: card.Channel, TS: card.TS},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			w.Errorf("decision (-want +got):\n%s", diff)
		}
	})
}

func TestModalClosed(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		bob := w.as("bob", "general")
		run := w.ask("general", "World")
		card := w.card("general", "Greet World")
		w.opens(bob, card, "reject", "")
		_, err := bob.CloseModal(w.ctx)
		w.must(err)
		// It decided nothing: the request is still open, for him too.
		w.click(bob, card, "approve", true)
		if got, err := w.result(run); got != "Hello, World!" || err != nil {
			w.Errorf("Greeting returned %q, %v", got, err)
		}
	})
}

func TestSecondClick(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		bob, carol := w.as("bob", "general"), w.as("carol", "general")
		run := w.ask("general", "World")
		card := w.card("general", "Greet World")
		w.click(bob, card, "approve", true)
		w.closed(card, "Approved by")
		// The page that they look at is older than the card.
		w.click(bob.Force(), card, "approve", true)
		if got := bob.Ephemerals(card.Channel); len(got) != 0 {
			w.Errorf("a double click was told %+v, want nothing", got)
		}
		w.click(carol.Force(), card, "approve", true)
		w.told(carol, "Approved by <@"+bob.ID()+">")
		w.click(bob.Force(), card, "reject", true)
		w.told(bob, "Approved by <@"+bob.ID()+">")
		if got, err := w.result(run); got != "Hello, World!" || err != nil {
			w.Errorf("Greeting returned %q, %v", got, err)
		}
	})
}

func TestTwoPeopleAtOnce(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		people := []slacksim.Person{w.as("bob", "general"), w.as("carol", "general")}
		run := w.ask("general", "World")
		card := w.card("general", "Greet World")
		var clicks sync.WaitGroup
		for _, p := range people {
			clicks.Go(func() { w.click(p.Force(), card, "approve", true) })
		}
		clicks.Wait()
		closed := w.closed(card, "Approved by")
		told := 0
		for _, p := range people {
			for _, m := range p.Ephemerals(card.Channel) {
				if !unsure(m.Text) && !inVain(m.Text) && !slacksim.Contains("your decision was recorded")(m) {
					told++
				}
			}
		}
		if told != 1 {
			w.Errorf("%d people were told that another was first, want 1; card says %q", told, closed.PlainText())
		}
		if _, err := w.result(run); err != nil {
			w.Error(err)
		}
	})
}

// clickAny clicks approve, whatever comes of it but a missing acknowledgement.
func (w *world) clickAny(p slacksim.Person, card slacksim.Message) {
	d, err := p.Force().Click(w.ctx, card, "approve")
	if err != nil || !d.Acked {
		w.Errorf("click: %v, %s", err, d)
	}
}
