package bot

import (
	"context"
	"net/http/httptest"
	"testing"

	"github.com/slack-go/slack"

	"countersign/internal/card"
	"countersign/internal/slacksim"
)

// serveSocket connects the bot to a workspace in which the card of its open activity stands, and returns what ends it.
func serveSocket(t *testing.T, b *Bot, sealed string) (sim *slacksim.Server, posted slacksim.Message, stop func() error) {
	t.Helper()
	sim = slacksim.New(slacksim.Options{})
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	t.Cleanup(sim.Close)
	sim.SetBaseURL(srv.URL)
	api := slack.New(slacksim.DefaultBotToken, slack.OptionAPIURL(srv.URL+"/api/"), slack.OptionAppLevelToken(slacksim.DefaultAppToken))
	b.APIURL = srv.URL + "/api/"
	m := card.Open(request, 1, sealed)
	channel, ts, err := api.PostMessageContext(t.Context(), at.Channel, slack.MsgOptionText(m.Text, false), slack.MsgOptionBlocks(m.Blocks...))
	if err != nil {
		t.Fatal(err)
	}
	posted, _ = sim.Message(channel, ts)

	ctx, cancel := context.WithCancel(t.Context())
	ready, served := make(chan struct{}), make(chan error, 1)
	go func() { served <- b.ServeSocket(ctx, api, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-served:
		t.Fatalf("ServeSocket: %v before it was ready", err)
	}
	return sim, posted, func() error {
		cancel()
		return <-served
	}
}

func TestServeSocket(t *testing.T) {
	t.Parallel()
	t.Run("click", func(t *testing.T) {
		t.Parallel()
		f := &fakeTemporal{}
		b, sealed := newBot(t, newSlack(), f, nil)
		sim, posted, stop := serveSocket(t, b, sealed)
		click, err := sim.Person("bob").Click(t.Context(), posted, "approve")
		if err != nil || !click.Acked || len(f.completions) != 1 {
			t.Errorf("acknowledged %v, %v, after %d decisions; want it after one", click.Acked, err, len(f.completions))
		}
		if err := stop(); err != nil {
			t.Errorf("ServeSocket: %v", err)
		}
	})
	t.Run("click that is not recorded", func(t *testing.T) {
		t.Parallel()
		s := newSlack()
		b, sealed := newBot(t, s, &fakeTemporal{commits: []error{unavailable}, describes: answers{unavailable}}, nil)
		sim, posted, stop := serveSocket(t, b, sealed)
		click, err := sim.Person("bob").Click(t.Context(), posted, "approve")
		if click.Acked {
			t.Errorf("acknowledged, %v: the person takes it for done", err)
		}
		if err := stop(); err != nil {
			t.Errorf("ServeSocket: %v", err)
		}
		says(t, s, []string{"could not confirm"})
	})
	// What is in hand when the process is told to stop is finished and acknowledged.
	t.Run("stopped with a click in hand", func(t *testing.T) {
		t.Parallel()
		slow := &slowTemporal{arrived: make(chan struct{}), release: make(chan struct{})}
		b, sealed := newBot(t, newSlack(), &slow.fakeTemporal, nil)
		b.Temporal = slow
		sim, posted, stop := serveSocket(t, b, sealed)
		clicks := make(chan slacksim.Delivery, 1)
		go func() {
			click, err := sim.Person("bob").Click(t.Context(), posted, "approve")
			if err != nil {
				t.Error(err)
			}
			clicks <- click
		}()
		<-slow.arrived
		stopped := make(chan error, 1)
		go func() { stopped <- stop() }()
		close(slow.release)
		if click := <-clicks; !click.Acked || len(slow.completions) != 1 {
			t.Errorf("acknowledged %v after %d decisions", click.Acked, len(slow.completions))
		}
		if err := <-stopped; err != nil {
			t.Errorf("ServeSocket: %v", err)
		}
	})
	t.Run("token is refused", func(t *testing.T) {
		t.Parallel()
		sim := slacksim.New(slacksim.Options{})
		srv := httptest.NewServer(sim)
		t.Cleanup(srv.Close)
		t.Cleanup(sim.Close)
		b, _ := newBot(t, newSlack(), &fakeTemporal{}, nil)
		api := slack.New("xoxb-x", slack.OptionAPIURL(srv.URL+"/api/"), slack.OptionAppLevelToken("xapp-wrong"))
		if err := b.ServeSocket(t.Context(), api, func() { t.Error("ready") }); err == nil {
			t.Error("ServeSocket ended without an error")
		}
	})
}
