package e2e

import (
	"context"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/durationpb"

	"countersign/internal/devserver"
	"countersign/internal/reference"
	"countersign/internal/slacksim"
)

// approves clicks as bob and checks that the greeting comes of it.
func (w *world) approves(card slacksim.Message) {
	w.Helper()
	w.click(w.as("bob", "general"), card, "approve", true)
	w.closed(card, "Approved by")
	w.message("general", func(m slacksim.Message) bool { return m.Text == "Hello, World!" })
}

// cards counts the cards that were ever posted for the greeting.
func (w *world) cards(what string) (n int) {
	for _, m := range w.sim.Messages("general") {
		if m.Metadata != nil && m.ThreadTS == "" && slacksim.Contains("Greet "+what)(m) {
			n++
		}
	}
	return n
}

func TestRestartBetweenPostAndClick(t *testing.T) {
	bothModes(t, func(w *world) {
		bot, worker := w.start("bot"), w.start("worker")
		w.greet("general", "World")
		card := w.card("general", "Greet World")
		w.stop(bot)
		w.stop(worker)
		w.start("bot")
		w.start("worker")
		w.approves(card)
	})
}

func TestCrashBetweenPostAndClick(t *testing.T) {
	bothModes(t, func(w *world) {
		p := w.start("run")
		w.greet("general", "World")
		card := w.card("general", "Greet World")
		p.kill()
		w.start("run")
		w.approves(card)
		if n := w.cards("World"); n != 1 {
			w.Errorf("%d cards, want 1", n)
		}
	})
}

// A click counts at once, even where no worker is there to close the card.
func TestClickWithoutWorker(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("bot")
		worker := w.start("worker")
		w.greet("general", "World")
		w.greet("general", "Everybody")
		card, other := w.card("general", "Greet World"), w.card("general", "Greet Everybody")
		// Once the card's address is with the workflow, the attempt is over.
		for range 2 {
			w.sees(worker, `msg="card posted"`)
		}
		w.stop(worker)
		bob := w.as("bob", "general")
		w.click(bob, card, "approve", true)
		w.fillsIn(bob, w.opens(bob, other, "reject", ""), nil)
		carol := w.as("carol", "general")
		w.click(carol, card, "approve", true)
		// The server may hold the end back, for the workflow task that the worker left behind.
		_, err := carol.WaitEphemeral(w.ctx, func(m slacksim.Message) bool {
			return slacksim.Contains("Approved by <@"+bob.ID()+">")(m) || slacksim.Contains("just decided")(m)
		})
		w.must(err)
		w.start("worker")
		w.closed(card, "Approved by <@"+bob.ID()+">")
		w.closed(other, "Rejected by <@"+bob.ID()+">")
	})
}

func TestTemporalDownAtTheClick(t *testing.T) {
	t.Parallel()
	for _, m := range []mode{socketMode, httpMode} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			server, o := ownTemporal(t)
			w := newWorld(t, m, server.Address)
			p := w.start("run")
			bob := w.as("bob", "general")
			w.greet("general", "World")
			card := w.card("general", "Greet World")
			w.sees(p, `msg="card posted"`)

			w.must(server.Kill())
			w.click(bob, card, "approve", false)
			w.told(bob, "could not confirm your decision")
			d, err := w.as("alice", "general").Command(w.ctx, "/greet Everybody")
			w.must(err)
			if !strings.Contains(string(d.Response), "could not confirm") {
				w.Errorf("/greet while Temporal is down: %s", d)
			}

			server, err = devserver.Start(w.ctx, o)
			w.must(err)
			w.Cleanup(func() { _ = server.Stop() })
			// The card is as it was. A click counts as soon as the bot is connected again, and each says whether it did.
			for acked := false; !acked; {
				d, err := bob.Force().Click(w.ctx, card, "approve")
				w.must(err)
				acked = d.Acked
			}
			w.closed(card, "Approved by")
			w.message("general", func(m slacksim.Message) bool { return m.Text == "Hello, World!" })
		})
	}
}

func TestPostedButFailed(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]slacksim.Fault{
		"500 after the post":         {Status: 500, Performed: true},
		"cut off after the post":     {Cut: true, Performed: true},
		"500 before the post":        {Status: 500},
		"rate limited":               {Status: 429, RetryAfter: time.Second},
		"in trouble, after the post": {Error: "fatal_error", Performed: true},
	} {
		t.Run(name, func(t *testing.T) {
			oneMode(t, func(w *world) {
				w.start("run")
				fault.Method, fault.Times = "chat.postMessage", 2
				w.sim.Inject(fault)
				w.greet("general", "World")
				w.approves(w.card("general", "Greet World"))
				if n := w.cards("World"); n != 1 {
					w.Errorf("%d cards, want 1", n)
				}
				greetings := 0
				for _, m := range w.sim.Messages("general") {
					if m.Text == "Hello, World!" {
						greetings++
					}
				}
				if greetings != 1 {
					w.Errorf("%d greetings, want 1", greetings)
				}
			})
		})
	}
}

// patience gives a test more time than others.
func (w *world) patience(d time.Duration) {
	ctx, stop := context.WithTimeout(w.Context(), d)
	w.Cleanup(stop)
	w.ctx = ctx
}

func TestSlackDownAtStart(t *testing.T) {
	bothModes(t, func(w *world) {
		w.sim.Inject(slacksim.Fault{Status: 503})
		p := w.launch([]string{"run"})
		w.sees(p, `slack is not reachable, waiting`)
		w.sim.ClearFaults()
		if w.http {
			w.sim.SetRequestURL("http://" + w.sees(p, `msg=listening address=(\S+)`)[1] + "/slack/events")
		}
		w.sees(p, `msg=ready`)
		w.greet("general", "World")
		w.approves(w.card("general", "Greet World"))
	})
}

func TestTemporalDownAtStart(t *testing.T) {
	t.Parallel()
	server, err := devserver.Start(t.Context(), devserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	address := server.Address
	w := newWorld(t, socketMode, address)
	w.must(server.Stop())
	p := w.launch([]string{"run"})
	w.sees(p, `temporal is not reachable, waiting`)
	server, err = devserver.Start(w.ctx, devserver.Options{Address: address})
	w.must(err)
	t.Cleanup(func() { _ = server.Stop() })
	w.sees(p, `msg=ready`)
	w.stop(p)
}

// On SIGTERM a click in hand is finished and acknowledged before the process ends, and no other is taken.
func TestStopWithAClickInHand(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("worker", w.approvers("channel")...)
		bot := w.start("bot")
		run := w.ask("general", "World")
		card := w.card("general", "Greet World")
		lookup := w.sim.Hold("users.info", slacksim.Before)
		var clicked sync.WaitGroup
		clicked.Go(func() {
			if d, err := w.as("bob", "general").Click(w.ctx, card, "approve"); err != nil || !d.Acked {
				w.Errorf("the click in hand: %v, %s", err, d)
			}
		})
		_, err := lookup.Wait(w.ctx)
		w.must(err)
		w.must(bot.Process.Signal(syscall.SIGTERM))
		w.sees(bot, `stopping`)
		lookup.Release()
		clicked.Wait()
		select {
		case <-bot.ended:
		case <-w.ctx.Done():
			w.Fatal("the bot did not stop")
		}
		if bot.code != 0 {
			w.Errorf("exit code %d, want 0", bot.code)
		}
		if got, err := w.result(run); got != "Hello, World!" || err != nil {
			w.Errorf("Greeting returned %q, %v", got, err)
		}
	})
}

func TestKeyRotation(t *testing.T) {
	bothModes(t, func(w *world) {
		p := w.start("run")
		w.greet("general", "World")
		w.greet("general", "Everybody")
		card, other := w.card("general", "Greet World"), w.card("general", "Greet Everybody")
		w.stop(p)
		var old string
		for _, v := range w.env {
			if key, ok := strings.CutPrefix(v, "REFERENCE_KEYS="); ok {
				old = key
			}
		}
		fresh := reference.NewKey()
		p = w.start("run", "REFERENCE_KEYS="+fresh+","+old)
		w.approves(card)
		w.stop(p)
		w.start("run", "REFERENCE_KEYS="+fresh)
		bob := w.as("bob", "general")
		w.click(bob, other, "approve", true)
		w.told(bob, "a key that the app no longer has")
	})
}

func TestSocketsDropped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, socketMode, shared.temporal.Address)
	w.start("run")
	w.greet("general", "World")
	card := w.card("general", "Greet World")
	for name, drop := range map[string]func(){
		"dropped":   func() { w.sim.Drop(0) },
		"refreshed": func() { w.sim.Disconnect("refresh_requested", 0) },
	} {
		before := w.sim.State().Connected
		drop()
		if err := w.sim.Wait(w.ctx, func(st slacksim.State) bool { return st.Connected > before && st.Connections > 0 }); err != nil {
			w.Fatalf("%s: %v", name, err)
		}
	}
	w.approves(card)
}

func TestForgedReference(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		w.greet("general", "World")
		card := w.card("general", "Greet World")
		bob := w.as("bob", "general")
		button, _ := card.Button("approve")
		for _, value := range []string{"", "yes", button.Value[:len(button.Value)-1], button.Value + "A", strings.ToUpper(button.Value)} {
			forged := button
			forged.Value = value
			d, err := bob.Force().Press(w.ctx, card, forged)
			w.must(err)
			if !d.Acked {
				w.Errorf("reference %.20q…: not acknowledged: %s", value, d)
			}
		}
		if n := len(bob.Ephemerals(card.Channel)); n != 5 {
			w.Errorf("%d answers to 5 forged clicks", n)
		}
		w.approves(card)
	})
}

// Something between here and Slack refuses a call: that is not Slack's last word.
func TestRefusedOnTheWay(t *testing.T) {
	oneMode(t, func(w *world) {
		p := w.start("run")
		w.sim.Inject(slacksim.Fault{Method: "chat.postMessage", Times: 1, Status: 407})
		w.greet("general", "World")
		card := w.card("general", "Greet World")
		w.sees(p, `msg="card posted"`)
		w.sim.Inject(slacksim.Fault{Method: "chat.update", Times: 1, Status: 403})
		w.approves(card)
	})
}

// A bot that is pointed at another namespace decides nothing, and leaves the card as it is.
func TestBotOfAnotherNamespace(t *testing.T) {
	bothModes(t, func(w *world) {
		_, err := w.temporal.WorkflowService().RegisterNamespace(w.ctx, &workflowservice.RegisterNamespaceRequest{
			Namespace: w.queue, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
		})
		w.must(err)
		w.start("worker")
		run := w.ask("general", "World")
		card := w.card("general", "Greet World")
		astray := w.start("bot", "TEMPORAL_NAMESPACE="+w.queue)
		bob := w.as("bob", "general")
		w.click(bob, card, "approve", true)
		w.told(bob, "belongs to another deployment")
		w.stop(astray)
		w.start("bot")
		w.click(bob, card, "approve", true)
		if got, err := w.result(run); got != "Hello, World!" || err != nil {
			w.Errorf("Greeting returned %q, %v", got, err)
		}
	})
}

// A socket that breaks while a click is in hand takes the acknowledgement with it: Slack shows its warning, and the
// second click finds the decision made.
func TestSocketDroppedInTheMiddleOfAClick(t *testing.T) {
	t.Parallel()
	w := newWorld(t, socketMode, shared.temporal.Address)
	w.start("run", w.approvers("channel")...)
	w.greet("general", "World")
	card := w.card("general", "Greet World")
	bob := w.as("bob", "general")
	lookup := w.sim.Hold("users.info", slacksim.Before)
	before := w.sim.State().Connected
	var clicked sync.WaitGroup
	clicked.Go(func() {
		if d, err := bob.Click(w.ctx, card, "approve"); err != nil || d.Acked {
			w.Errorf("a click whose socket broke: %v, %s", err, d)
		}
	})
	_, err := lookup.Wait(w.ctx)
	w.must(err)
	w.sim.Drop(0)
	w.must(w.sim.Wait(w.ctx, func(st slacksim.State) bool { return st.Connected > before && st.Connections > 0 }))
	lookup.Release()
	clicked.Wait()
	w.closed(card, "Approved by <@"+bob.ID()+">")
	w.click(bob.Force(), card, "approve", true)
	if got := bob.Ephemerals(card.Channel); len(got) != 0 {
		w.Errorf("he was told %+v, want nothing: it was his own decision", got)
	}
}

// Until its socket is closed a stopping bot still gets clicks, and deals with them.
func TestClickWhileStopping(t *testing.T) {
	t.Parallel()
	w := newWorld(t, socketMode, shared.temporal.Address)
	w.start("worker", w.approvers("channel")...)
	bot := w.start("bot")
	first, second := w.ask("general", "World"), w.ask("general", "Everybody")
	card, other := w.card("general", "Greet World"), w.card("general", "Greet Everybody")
	lookup := w.sim.Hold("users.info", slacksim.Before)
	var clicked sync.WaitGroup
	clicked.Go(func() { w.clickAny(w.as("bob", "general"), card) })
	_, err := lookup.Wait(w.ctx)
	w.must(err)
	w.must(bot.Process.Signal(syscall.SIGTERM))
	w.sees(bot, `stopping`)
	w.click(w.as("carol", "general"), other, "approve", true)
	lookup.Release()
	clicked.Wait()
	<-bot.ended
	for _, run := range []client.WorkflowRun{first, second} {
		if _, err := w.result(run); err != nil {
			w.Error(err)
		}
	}
	if bot.code != 0 {
		w.Errorf("exit code %d, want 0", bot.code)
	}
}
