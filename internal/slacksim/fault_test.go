package slacksim_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"countersign/internal/slacksim"
)

const postMessage = "chat.postMessage"

func say(ctx context.Context, api *slack.Client, text string) error {
	_, _, err := api.PostMessageContext(ctx, "C0GENERAL1", slack.MsgOptionText(text, false))
	return err
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		fault  slacksim.Fault
		met    func(error) bool
		posted int
	}{
		{"429", slacksim.Fault{Status: 429, RetryAfter: 7 * time.Second}, func(err error) bool {
			var e *slack.RateLimitedError
			return errors.As(err, &e) && e.RetryAfter == 7*time.Second
		}, 0},
		{"503", slacksim.Fault{Status: 503}, func(err error) bool { return isStatus(err, http.StatusServiceUnavailable) }, 0},
		{"posted, but 500", slacksim.Fault{Status: 500, Performed: true}, func(err error) bool { return isStatus(err, http.StatusInternalServerError) }, 1},
		{"posted, but cut", slacksim.Fault{Cut: true, Performed: true}, func(err error) bool { return err != nil }, 1},
		{"cut", slacksim.Fault{Cut: true}, func(err error) bool { return err != nil }, 0},
		{"an error of Slack's", slacksim.Fault{Error: "fatal_error"}, func(err error) bool { return isError(err, "fatal_error") }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			sim, api := start(t, slacksim.Options{})
			c.fault.Method, c.fault.Times = postMessage, 1
			sim.Inject(c.fault)
			if _, err := api.AuthTestContext(t.Context()); err != nil {
				t.Errorf("another method: %v", err)
			}
			if err := say(t.Context(), api, "one"); !c.met(err) {
				t.Errorf("met %v", err)
			}
			if got := len(sim.Messages("general")); got != c.posted {
				t.Errorf("%d posted", got)
			}
			if err := say(t.Context(), api, "two"); err != nil {
				t.Errorf("afterwards: %v", err)
			}
			calls, err := sim.WaitCalls(t.Context(), postMessage, 2)
			if err != nil || calls[0].Performed != (c.posted == 1) || !calls[1].Performed || calls[0].Args.String("text") != "one" {
				t.Errorf("calls: %+v, %v", calls, err)
			}
		})
	}
}

func TestHang(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	sim.Inject(slacksim.Fault{Hang: true})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if err := say(ctx, api, "one"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("client gives up: %v", err)
	}
	answered := make(chan error)
	go func() { answered <- say(t.Context(), api, "two") }()
	if err := sim.Wait(t.Context(), func(st slacksim.State) bool { return len(st.Calls) == 2 }); err != nil {
		t.Fatal(err)
	}
	sim.ClearFaults()
	if err := <-answered; err == nil {
		t.Error("a hanging call was answered")
	}
	if err := say(t.Context(), api, "three"); err != nil {
		t.Error(err)
	}
}

func TestHold(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	for posted, at := range []slacksim.Moment{slacksim.Before, slacksim.After} {
		gate := sim.Hold(postMessage, at)
		ctx, giveUp := context.WithCancel(t.Context())
		answered := make(chan error)
		go func() { answered <- say(ctx, api, "held") }()
		call, err := gate.Wait(t.Context())
		if err != nil || call.Args.String("text") != "held" {
			t.Fatalf("%+v, %v", call, err)
		}
		if got := len(sim.Messages("general")); got != posted*2 {
			t.Errorf("moment %d: %d posted while held", at, got)
		}
		giveUp()
		if err := <-answered; !errors.Is(err, context.Canceled) {
			t.Errorf("client: %v", err)
		}
		gate.Release()
		if _, err := sim.WaitCalls(t.Context(), postMessage, posted+1); err != nil {
			t.Fatal(err)
		}
		if got := len(sim.Messages("general")); got != posted+1 {
			t.Errorf("moment %d: %d posted after the release", at, got)
		}
	}
}

func TestOnCall(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	sim.OnCall(func(c slacksim.Call) *slacksim.Fault {
		if c.Args.String("text") == "no" {
			return &slacksim.Fault{Error: "restricted_action"}
		}
		return nil
	})
	if err := say(t.Context(), api, "no"); !isError(err, "restricted_action") {
		t.Error(err)
	}
	if err := say(t.Context(), api, "yes"); err != nil {
		t.Error(err)
	}
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	c := newClock()
	_, api := start(t, slacksim.Options{RateLimit: true, Now: c.Now})
	var limited *slack.RateLimitedError
	for i := range 5 {
		if err := say(t.Context(), api, "x"); (i == 4) != errors.As(err, &limited) {
			t.Errorf("post %d: %v", i, err)
		}
	}
	c.Advance(time.Second)
	if err := say(t.Context(), api, "x"); err != nil {
		t.Error(err)
	}
}

func TestEachEnvelopeGoesToOneConnection(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	var mu sync.Mutex
	seen := map[string]int{}
	for range 3 {
		listen(t, sim, api, func(client *socketmode.Client, e socketmode.Event) {
			mu.Lock()
			seen[e.Request.EnvelopeID]++
			mu.Unlock()
			ack(client, e)
		})
	}
	card := post(t, sim, api, "C0GENERAL1")
	sockets := map[int]bool{}
	for range 6 {
		d, err := sim.Person("bob").Click(t.Context(), card, "approve")
		if err != nil || !d.Acked {
			t.Fatalf("%+v, %v", d, err)
		}
		sockets[d.Socket] = true
	}
	if len(sockets) != 3 || len(seen) != 6 {
		t.Errorf("%d connections used, %d envelopes seen", len(sockets), len(seen))
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("envelope %s came %d times", id, n)
		}
	}
}

func TestSocketsComeBack(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*slacksim.Server){
		"dropped":           func(sim *slacksim.Server) { sim.Drop(0) },
		"warning":           func(sim *slacksim.Server) { sim.Disconnect("warning", 0) },
		"refresh_requested": func(sim *slacksim.Server) { sim.Disconnect("refresh_requested", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, api := start(t, slacksim.Options{})
			listen(t, sim, api, ack)
			end(sim)
			if err := sim.Wait(t.Context(), func(st slacksim.State) bool { return st.Connected == 2 && st.Connections == 1 }); err != nil {
				t.Fatal(err)
			}
			if d, err := sim.Person("bob").In("general").Command(t.Context(), "/greet x"); err != nil || !d.Acked {
				t.Errorf("%+v, %v", d, err)
			}
		})
	}
}

func TestDeliveryFaults(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{AckTimeout: time.Second})
	listen(t, sim, api, ack)
	bob := sim.Person("bob").In("general")
	sim.InjectDelivery(slacksim.DeliveryFault{Kind: slacksim.SlashCommand, Times: 1, Twice: true, Delay: time.Millisecond})
	d, err := bob.Command(t.Context(), "/greet x")
	if err != nil || len(sim.Deliveries()) != 2 {
		t.Errorf("%d deliveries, %v", len(sim.Deliveries()), err)
	}
	if again, err := sim.Redeliver(t.Context(), d); err != nil || !again.Acked || again.ID == d.ID || string(again.Payload) != string(d.Payload) {
		t.Errorf("%+v, %v", again, err)
	}
	sim.InjectDelivery(slacksim.DeliveryFault{Times: 1, Lost: true})
	if d, err := bob.Command(t.Context(), "/greet x"); err != nil || d.Acked {
		t.Errorf("lost: %+v, %v", d, err)
	}
	if d := sim.Deliver(t.Context(), map[string]any{"type": "block_actions", "actions": []any{}}); !d.Acked {
		t.Errorf("raw: %+v", d)
	}
}

func TestOnDelivery(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	listen(t, sim, api, ack)
	sim.OnDelivery(func(d slacksim.Delivery) *slacksim.DeliveryFault {
		if d.User == sim.Person("bob").ID() {
			return &slacksim.DeliveryFault{Lost: true}
		}
		return nil
	})
	for name, acked := range map[string]bool{"bob": false, "carol": true} {
		if d, err := sim.Person(name).In("general").Command(t.Context(), "/greet x"); err != nil || d.Acked != acked {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
}

// The app has acknowledged, and Slack does not hear of it.
func TestOnAck(t *testing.T) {
	t.Parallel()
	for name, receiver := range map[string]func(*testing.T, *slacksim.Server, *slack.Client){
		"socket": func(t *testing.T, sim *slacksim.Server, api *slack.Client) { listen(t, sim, api, ack) },
		"http": func(t *testing.T, sim *slacksim.Server, _ *slack.Client) {
			receive(t, sim, func(http.ResponseWriter, *http.Request) {})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, api := start(t, slacksim.Options{AckTimeout: time.Second})
			receiver(t, sim, api)
			bob := sim.Person("bob").In("general")
			var seen []slacksim.Delivery
			sim.OnAck(func(d slacksim.Delivery) bool {
				seen = append(seen, d)
				return len(seen) > 1
			})
			lost, err := bob.Command(t.Context(), "/greet x")
			if err != nil || lost.Acked || lost.Error != slacksim.OperationTimeout || lost.Took < time.Second {
				t.Errorf("lost: %+v, %v", lost, err)
			}
			if d, err := bob.Command(t.Context(), "/greet y"); err != nil || !d.Acked {
				t.Errorf("the next one: %+v, %v", d, err)
			}
			if len(seen) != 2 || !seen[0].Acked || seen[0].ID != lost.ID || seen[0].Socket != lost.Socket {
				t.Errorf("seen: %+v", seen)
			}
		})
	}
}
