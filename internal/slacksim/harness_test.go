package slacksim_test

import (
	"context"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"countersign/internal/slacksim"
)

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// start serves a workspace and returns it with a slack-go client.
func start(t *testing.T, o slacksim.Options) (*slacksim.Server, *slack.Client) {
	t.Helper()
	sim := slacksim.New(o)
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	t.Cleanup(sim.Close)
	sim.SetBaseURL(srv.URL)
	return sim, slack.New(slacksim.DefaultBotToken,
		slack.OptionAPIURL(srv.URL+"/api/"),
		slack.OptionAppLevelToken(slacksim.DefaultAppToken),
		slack.OptionHTTPClient(srv.Client()))
}

// listen runs a Socket Mode client that gives everything to handle, and waits until it is connected.
func listen(t *testing.T, sim *slacksim.Server, api *slack.Client, handle func(*socketmode.Client, socketmode.Event)) {
	t.Helper()
	before := sim.Connections()
	client := socketmode.New(api, socketmode.OptionLog(log.New(testWriter{}, "", 0)))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = client.RunContext(ctx) })
	running.Go(func() {
		for {
			select {
			case e := <-client.Events:
				if e.Request != nil && e.Request.EnvelopeID != "" {
					handle(client, e)
				}
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	if err := sim.WaitConnections(t.Context(), before+1); err != nil {
		t.Fatal(err)
	}
}

type testWriter struct{}

func (testWriter) Write(p []byte) (int, error) { return len(p), nil }

// ack acknowledges and does nothing else.
func ack(client *socketmode.Client, e socketmode.Event) { _ = client.Ack(*e.Request) }

// receive serves a Request URL that gives verified bodies to handle.
func receive(t *testing.T, sim *slacksim.Server, handle http.HandlerFunc) {
	t.Helper()
	app := httptest.NewServer(handle)
	t.Cleanup(app.Close)
	sim.SetRequestURL(app.URL)
}

func buttons(ids ...string) slack.Block {
	var elements []slack.BlockElement
	for _, id := range ids {
		elements = append(elements, slack.NewButtonBlockElement(id, "ref-"+id,
			slack.NewTextBlockObject(slack.PlainTextType, strings.ToUpper(id), false, false)))
	}
	return slack.NewActionBlock("decision", elements...)
}

func section(text string) slack.Block {
	return slack.NewSectionBlock(slack.NewTextBlockObject(slack.MarkdownType, text, false, true), nil, nil)
}

// post posts a card with approve and reject, and returns it.
func post(t *testing.T, sim *slacksim.Server, api *slack.Client, channel string) slacksim.Message {
	t.Helper()
	id, ts, err := api.PostMessageContext(t.Context(), channel, slack.MsgOptionText("Greet World?", false),
		slack.MsgOptionBlocks(section("Greet *World*?"), buttons("approve", "reject")))
	if err != nil {
		t.Fatal(err)
	}
	m, ok := sim.Message(id, ts)
	if !ok {
		t.Fatalf("no message %s %s", id, ts)
	}
	return m
}
