package bot

import (
	"context"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"go.temporal.io/api/serviceerror"

	"countersign/internal/card"
	"countersign/internal/slacksim"
	"countersign/workflows"
)

// workspace is one in which the card of a bot's open activity stands.
type workspace struct {
	*slacksim.Server
	api    *slack.Client
	posted slacksim.Message
}

func newWorkspace(t *testing.T, b *Bot, sealed string) *workspace {
	t.Helper()
	sim := slacksim.New(slacksim.Options{})
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	t.Cleanup(sim.Close)
	sim.SetBaseURL(srv.URL)
	api := slack.New(slacksim.DefaultBotToken, slack.OptionAPIURL(srv.URL+"/api/"), slack.OptionAppLevelToken(slacksim.DefaultAppToken))
	b.APIURL = srv.URL + "/api/"
	m := card.Open(workflows.Round{Request: request, Number: 1}, sealed)
	channel, ts, err := api.PostMessageContext(t.Context(), at.Channel, slack.MsgOptionText(m.Text, false), slack.MsgOptionBlocks(m.Blocks...))
	if err != nil {
		t.Fatal(err)
	}
	posted, _ := sim.Message(channel, ts)
	return &workspace{sim, api, posted}
}

// serve connects the bot. What is returned ends it; what it ends with comes by served.
func (w *workspace) serve(t *testing.T, b *Bot, stagger time.Duration) (stop func(), served chan error) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ready, served := make(chan struct{}), make(chan error, 1)
	go func() { served <- b.serveSockets(ctx, w.api, func() { close(ready) }, stagger) }()
	select {
	case <-ready:
	case err := <-served:
		t.Fatalf("serveSockets: %v before it was ready", err)
	}
	return stop, served
}

// click has a person click, and gives what becomes of it.
func (w *workspace) click(t *testing.T, name string) chan slacksim.Delivery {
	t.Helper()
	clicks := make(chan slacksim.Delivery, 1)
	go func() {
		click, err := w.Person(name).Click(t.Context(), w.posted, "approve")
		if err != nil {
			t.Log(err)
		}
		clicks <- click
	}()
	return clicks
}

// wait waits for the workspace to come to that.
func (w *workspace) wait(t *testing.T, cond func(slacksim.State) bool) {
	t.Helper()
	if err := w.Wait(t.Context(), cond); err != nil {
		t.Fatal(err)
	}
}

// newSlow returns a bot that holds a decision until it is let go.
func newSlow(t *testing.T, s *fakeSlack) (*Bot, string, *slowTemporal) {
	t.Helper()
	slow := &slowTemporal{arrived: make(chan struct{}), release: make(chan struct{})}
	b, sealed := newBot(t, s, &slow.fakeTemporal, nil)
	b.Temporal = slow
	return b, sealed, slow
}

func TestServeSocket(t *testing.T) {
	t.Parallel()
	t.Run("click", func(t *testing.T) {
		t.Parallel()
		f := &fakeTemporal{}
		b, sealed := newBot(t, newSlack(), f, nil)
		w := newWorkspace(t, b, sealed)
		stop, served := w.serve(t, b, stagger)
		if click := <-w.click(t, "bob"); !click.Acked || len(f.completions) != 1 {
			t.Errorf("acknowledged %v after %d decisions; want it after one", click.Acked, len(f.completions))
		}
		stop()
		if err := <-served; err != nil {
			t.Errorf("serveSockets: %v", err)
		}
	})
	t.Run("click that is not recorded", func(t *testing.T) {
		t.Parallel()
		s := newSlack()
		away := serviceerror.NewPermissionDenied("no", "") // An answer at once, which another try does not change.
		b, sealed := newBot(t, s, &fakeTemporal{commits: []error{away}, describes: answers{unavailable}}, nil)
		w := newWorkspace(t, b, sealed)
		stop, served := w.serve(t, b, stagger)
		if click := <-w.click(t, "bob"); click.Acked {
			t.Error("acknowledged: the person takes it for done")
		}
		stop()
		if err := <-served; err != nil {
			t.Errorf("serveSockets: %v", err)
		}
		says(t, s, []string{"could not confirm"})
	})
	// What is in hand when the process is told to stop is finished and acknowledged, and so is what comes meanwhile.
	t.Run("stopped with a click in hand", func(t *testing.T) {
		t.Parallel()
		s := newSlack()
		b, sealed, slow := newSlow(t, s)
		w := newWorkspace(t, b, sealed)
		stop, served := w.serve(t, b, stagger)
		inHand := w.click(t, "bob")
		<-slow.arrived
		stop()
		if late := <-w.click(t, "carol"); !late.Acked {
			t.Errorf("the click that came while stopping was not acknowledged: %+v", late)
		}
		says(t, s, []string{"can decide this request"})
		close(slow.release)
		if click := <-inHand; !click.Acked || len(slow.completions) != 1 {
			t.Errorf("acknowledged %v after %d decisions", click.Acked, len(slow.completions))
		}
		if err := <-served; err != nil {
			t.Errorf("serveSockets: %v", err)
		}
		if n := w.Connections(); n > 0 {
			w.wait(t, func(st slacksim.State) bool { return st.Connections == 0 })
		}
	})
	t.Run("token is refused", func(t *testing.T) {
		t.Parallel()
		b, sealed := newBot(t, newSlack(), &fakeTemporal{}, nil)
		w := newWorkspace(t, b, sealed)
		api := slack.New("xoxb-x", slack.OptionAPIURL(b.APIURL), slack.OptionAppLevelToken("xapp-wrong"))
		if err := b.ServeSocket(t.Context(), api, func() { t.Error("ready") }); err == nil || w.Connections() > 0 {
			t.Errorf("ServeSocket ended with %v", err)
		}
	})
	// The token is revoked while a decision is on its way: it gets there all the same.
	t.Run("token is refused with a click in hand", func(t *testing.T) {
		t.Parallel()
		b, sealed, slow := newSlow(t, newSlack())
		w := newWorkspace(t, b, sealed)
		_, served := w.serve(t, b, stagger)
		inHand := w.click(t, "bob")
		<-slow.arrived
		w.Inject(slacksim.Fault{Method: "apps.connections.open", Error: "token_revoked"})
		w.Drop(0)
		w.wait(t, func(st slacksim.State) bool {
			return slices.ContainsFunc(st.Calls, func(c slacksim.Call) bool { return c.Error == "token_revoked" })
		})
		select {
		case err := <-served:
			t.Errorf("serveSockets: %v, with a click in hand", err)
		default:
		}
		close(slow.release)
		if err := <-served; err == nil {
			t.Error("serveSockets ended without an error")
		}
		if len(slow.completions) != 1 {
			t.Errorf("%d decisions were recorded, want 1", len(slow.completions))
		}
		<-inHand
	})
	// Sockets that an outage has given one age would be refreshed by Slack at one time: one is opened anew.
	t.Run("all sockets are cut", func(t *testing.T) {
		t.Parallel()
		b, sealed := newBot(t, newSlack(), &fakeTemporal{}, nil)
		w := newWorkspace(t, b, sealed)
		stop, served := w.serve(t, b, 100*time.Millisecond)
		w.wait(t, func(st slacksim.State) bool { return st.Connections == connections })
		before := w.State().Connected
		w.Drop(0)
		w.wait(t, func(st slacksim.State) bool {
			return st.Connections == connections && st.Connected > before+connections
		})
		stop()
		if err := <-served; err != nil {
			t.Errorf("serveSockets: %v", err)
		}
	})
}

func TestTooClose(t *testing.T) {
	t.Parallel()
	type opened struct {
		n     int // which socket
		after time.Duration
		want  bool
	}
	for name, all := range map[string][]opened{
		"at the start":                          {{0, 0, false}, {1, time.Minute, false}},
		"the first is slow at the start":        {{0, time.Second, false}, {1, 59 * time.Second, false}},
		"after an outage":                       {{0, 0, false}, {1, time.Minute, false}, {0, time.Hour, false}, {1, time.Second, true}, {1, time.Minute, false}},
		"after an outage, the second first":     {{0, 0, false}, {1, time.Minute, false}, {1, time.Hour, false}, {0, time.Second, true}, {0, time.Minute, false}},
		"one of them is refreshed":              {{0, 0, false}, {1, time.Minute, false}, {0, time.Hour, false}, {1, time.Minute, false}},
		"the second alone is opened many times": {{0, 0, false}, {1, time.Hour, false}, {1, time.Second, false}, {1, time.Second, false}},
	} {
		inTime(t, name, func(t *testing.T) {
			var s sockets
			for i, o := range all {
				<-time.After(o.after) // In the bubble's time.
				if got := s.tooClose(o.n, time.Minute); got != o.want {
					t.Errorf("opening %d, of socket %d: too close %v, want %v", i, o.n, got, o.want)
				}
			}
		})
	}
}
