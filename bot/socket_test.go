package bot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"
	"go.temporal.io/api/serviceerror"

	"countersign/internal/card"
	"countersign/internal/slackapi"
	"countersign/internal/slacksim"
	"countersign/workflows"
)

// workspace is one in which the card of a bot's open activity stands.
type workspace struct {
	*slacksim.Server
	api    *slack.Client
	posted slacksim.Message
}

// address opens sockets.
func (w *workspace) address(ctx context.Context) (string, error) { return addressFor(ctx, w.api) }

func addressFor(ctx context.Context, api *slack.Client) (string, error) {
	c, err := slackapi.Connect(ctx, api, http.DefaultClient)
	if err != nil {
		return "", err
	}
	return c.OpenSocket(ctx)
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
	go func() { served <- b.serveSockets(ctx, w.address, func() { close(ready) }, stagger) }()
	select {
	case <-ready:
	case err := <-served:
		t.Fatalf("serveSockets: %v before it was ready", err)
	}
	return stop, served
}

// isAcknowledged fails the test where a person's click is not acknowledged, and gives the socket that it came by.
func (w *workspace) isAcknowledged(t *testing.T, name string) (socket int) {
	t.Helper()
	click := <-w.click(t, name)
	if !click.Acked {
		t.Errorf("%s's click was not acknowledged: %v", name, click)
	}
	return click.Socket
}

// bothInUse waits until all sockets are open and have been greeted. Slack uses them in turn: who has answered a click has
// read the greeting before it.
func (w *workspace) bothInUse(t *testing.T) {
	t.Helper()
	w.wait(t, func(st slacksim.State) bool { return st.Connections == connections })
	for range connections {
		w.isAcknowledged(t, "carol")
	}
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

// line is Slack's end of the sockets, by which a test says itself what the stand-in never says.
type line struct {
	url    string
	opened chan *websocket.Conn
}

func newLine(t *testing.T) *line {
	t.Helper()
	l := &line{opened: make(chan *websocket.Conn, 2*connections)}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			t.Errorf("open a socket: %v", err)
			return
		}
		l.opened <- conn
	}))
	t.Cleanup(srv.Close)
	l.url = "ws" + strings.TrimPrefix(srv.URL, "http")
	return l
}

func (l *line) address(context.Context) (string, error) { return l.url, nil }

// next is the next socket that the bot opens, on which the first thing said is that.
func (l *line) next(t *testing.T, first string) *websocket.Conn {
	t.Helper()
	conn := <-l.opened
	t.Cleanup(func() { _ = conn.Close() })
	tell(t, conn, first)
	return conn
}

// serve connects the bot; what is returned ends it.
func (l *line) serve(t *testing.T, b *Bot) (stop func()) {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- b.serveSockets(ctx, l.address, func() {}, stagger) }()
	return func() {
		t.Helper()
		end()
		if err := <-served; err != nil {
			t.Errorf("serveSockets: %v", err)
		}
	}
}

// What Slack says on sockets.
const (
	greeting = `{"type":"hello","num_connections":1}`
	tooMany  = `{"type":"disconnect","reason":"too_many_websockets"}`
)

// envelopeOf is a delivery as it comes by a socket.
func envelopeOf(t *testing.T, id string, payload any) string {
	t.Helper()
	return encoded(t, map[string]any{"type": interactive, "envelope_id": id, "payload": payload, "accepts_response_payload": false})
}

func tell(t *testing.T, conn *websocket.Conn, text string) {
	t.Helper()
	if err := conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// acknowledged is the ID of the envelope that the next acknowledgement is of.
func acknowledged(t *testing.T, conn *websocket.Conn) string {
	t.Helper()
	_, text, err := conn.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	var ack struct {
		ID string `json:"envelope_id"`
	}
	if err := json.Unmarshal(text, &ack); err != nil {
		t.Fatal(err)
	}
	return ack.ID
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
		api := slack.New(slacksim.DefaultBotToken, slack.OptionAPIURL(b.APIURL), slack.OptionAppLevelToken("xapp-wrong"))
		address := func(ctx context.Context) (string, error) { return addressFor(ctx, api) }
		if err := b.ServeSocket(t.Context(), address, func() { t.Error("ready") }); err == nil || w.Connections() > 0 {
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
		stop, served := w.serve(t, b, 300*time.Millisecond)
		w.bothInUse(t)
		before := w.State().Connected
		w.Drop(0)
		w.wait(t, func(st slacksim.State) bool { return st.Connected > before+connections })
		stop()
		if err := <-served; err != nil {
			t.Errorf("serveSockets: %v", err)
		}
	})
}

// While Slack replaces a socket another one is open, and what came by the old one is acknowledged on it: the stand-in
// takes an acknowledgement by no other.
func TestSocketIsReplaced(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason string
		both   bool // Slack goes on using the old socket
		stops  bool // the process is told to stop meanwhile
	}{
		"refresh":             {reason: "refresh_requested"},
		"refresh, and a stop": {reason: "refresh_requested", stops: true},
		"warning":             {reason: "warning", both: true},
		"Socket Mode is off":  {reason: "link_disabled"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, sealed, slow := newSlow(t, newSlack())
			w := newWorkspace(t, b, sealed)
			stop, served := w.serve(t, b, stagger)
			inHand := w.click(t, "bob")
			<-slow.arrived
			w.Disconnect(tc.reason, 0)
			w.wait(t, func(st slacksim.State) bool { return st.Connected == 2 })
			if n := w.Connections(); n != 2 {
				t.Errorf("%d sockets are open, want the old one and the new one", n)
			}
			if tc.stops {
				stop()
			}
			// Slack uses its sockets in turn.
			by := []int{w.isAcknowledged(t, "carol"), w.isAcknowledged(t, "carol")}
			slices.Sort(by)
			want := []int{2, 2}
			if tc.both {
				want = []int{1, 2}
			}
			if diff := cmp.Diff(want, by); diff != "" {
				t.Errorf("clicks came by sockets (-want +got):\n%s", diff)
			}
			close(slow.release)
			if click := <-inHand; !click.Acked || click.Socket != 1 || len(slow.completions) != 1 {
				t.Errorf("the click in hand: %v, by socket %d, after %d decisions", click, click.Socket, len(slow.completions))
			}
			stop()
			if err := <-served; err != nil {
				t.Errorf("serveSockets: %v", err)
			}
		})
	}
	// Slack has enough of our sockets: it takes no notice of another one, and another one is tried.
	t.Run("too many", func(t *testing.T) {
		t.Parallel()
		b, sealed := newBot(t, newSlack(), &fakeTemporal{}, nil)
		l, told := newLine(t), make(chan bool, 8)
		b.Connected = func(is bool) { told <- is }
		stop := l.serve(t, b)
		l.next(t, tooMany)
		conn := l.next(t, greeting)
		tell(t, conn, envelopeOf(t, "E1", clicked(bob, "approve", sealed)))
		if id := acknowledged(t, conn); id != "E1" {
			t.Errorf("acknowledged %q", id)
		}
		stop()
		if first, then := <-told, <-told; !first || then || len(told) > 0 {
			t.Errorf("told that it is connected: %v, %v, and %d times more", first, then, len(told))
		}
	})
}

// What Slack does not say ends no socket, and the click after it is dealt with.
func TestStrangeMessages(t *testing.T) {
	t.Parallel()
	pad := func(text string) string {
		return strings.Replace(text, "PAD", strings.Repeat("x", bodyLimit-len(text)+3), 1)
	}
	b, sealed := newBot(t, newSlack(), &fakeTemporal{}, nil)
	l := newLine(t)
	stop := l.serve(t, b)
	conn := l.next(t, greeting)
	// Nor does a card of which nobody knows the blocks.
	click := clicked(carol, "approve", sealed)
	click["message"] = map[string]any{"blocks": []any{map[string]any{"type": "hologram", "elements": 7}, nil, "x"}}
	for name, message := range map[string]string{
		"no JSON":                      `{"type":`,
		"text":                         "hello",
		"nothing":                      "",
		"null":                         "null",
		"a list":                       `[{"type":"disconnect"}]`,
		"no type":                      `{"envelope_id":"E0","payload":{}}`,
		"a type that is none":          `{"type":7,"envelope_id":"E0"}`,
		"an unknown type":              `{"type":"hologram","envelope_id":"E0","payload":{}}`,
		"two types":                    `{"type":"disconnect","type":"hello"}`,
		"a name in capitals":           `{"TYPE":"disconnect"}`,
		"two messages":                 `{"type":"disconnect"}{"type":"disconnect"}`,
		"deep nesting":                 `{"type":"disconnect","x":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`,
		"no payload":                   `{"type":"interactive","envelope_id":"E0"}`,
		"a payload that is none":       `{"type":"interactive","envelope_id":"E0","payload":"{}"}`,
		"a payload that is null":       `{"type":"slash_commands","envelope_id":"E0","payload":null}`,
		"two members in a payload":     `{"type":"events_api","envelope_id":"E0","payload":{"x":1,"x":1}}`,
		"as large as may be":           pad(`{"type":"hologram","x":"PAD"}`),
		"a payload as large as may be": pad(`{"type":"interactive","envelope_id":"E0","payload":{"type":"PAD"}}`),
	} {
		tell(t, conn, message)
		tell(t, conn, envelopeOf(t, name, click))
		if id := acknowledged(t, conn); id != name {
			t.Errorf("acknowledged %q after %q", id, name)
		}
	}
	stop()
	if len(l.opened) > 0 {
		t.Errorf("%d more sockets were opened", len(l.opened))
	}
}

// One that is too large to be read ends its socket, and another one is opened.
func TestHugeMessage(t *testing.T) {
	t.Parallel()
	f := &fakeTemporal{}
	b, sealed := newBot(t, newSlack(), f, nil)
	l := newLine(t)
	stop := l.serve(t, b)
	// The bot hangs up at its head, before or after the rest is written.
	_ = l.next(t, greeting).WriteMessage(websocket.TextMessage, []byte(`{"type":"`+strings.Repeat("x", bodyLimit)+`"}`))
	conn := l.next(t, greeting)
	tell(t, conn, envelopeOf(t, "E1", clicked(bob, "approve", sealed)))
	if id := acknowledged(t, conn); id != "E1" || len(f.completions) != 1 {
		t.Errorf("acknowledged %q after %d decisions", id, len(f.completions))
	}
	stop()
}

// Slack takes no notice of a large acknowledgement, nor of one in several frames.
func TestLargeAnswer(t *testing.T) {
	t.Parallel()
	const around = len(`{"envelope_id":"E0","payload":""}`)
	for name, tc := range map[string]struct {
		size    int
		written bool
	}{
		"as large as may be": {ackLimit - 1, true},
		"too large":          {ackLimit, false},
		"far too large":      {bodyLimit, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _ := newBot(t, newSlack(), &fakeTemporal{}, nil)
			l := newLine(t)
			c, err := (&sockets{bot: b, address: l.address}).dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer c.goodbye()
			conn := l.next(t, greeting)
			if err := c.ack("E0", strings.Repeat("x", tc.size-around)); (err == nil) != tc.written {
				t.Errorf("ack of %d bytes: %v", tc.size, err)
			}
			if tc.written {
				head := make([]byte, 1)
				// https://www.rfc-editor.org/rfc/rfc6455#section-5.2
				if _, err := conn.NetConn().Read(head); err != nil || head[0] != 0x81 {
					t.Errorf("a frame begins with %x, %v; want a whole text", head, err)
				}
				return
			}
			if err := c.ack("E1", nil); err != nil {
				t.Error(err)
			}
			if id := acknowledged(t, conn); id != "E1" {
				t.Errorf("acknowledged %q", id)
			}
		})
	}
	t.Run("is logged", func(t *testing.T) {
		t.Parallel()
		b, sealed := newBot(t, newSlack(), &fakeTemporal{}, nil)
		var log bytes.Buffer
		b.Log = slog.New(slog.NewTextHandler(&log, nil))
		l := newLine(t)
		stop := l.serve(t, b)
		conn := l.next(t, greeting)
		// The fault stands at the block that was filled in.
		large := filled(t, bob, card.CallbackDecision, modal{Reference: "none"}, map[string]any{strings.Repeat("x", ackLimit): map[string]any{}})
		tell(t, conn, envelopeOf(t, "E0", large))
		tell(t, conn, envelopeOf(t, "E1", clicked(bob, "approve", sealed)))
		if id := acknowledged(t, conn); id != "E1" {
			t.Errorf("acknowledged %q", id)
		}
		stop()
		if !strings.Contains(log.String(), `msg=acknowledge err="the answer is too large"`) {
			t.Errorf("logged %s", log.String())
		}
	})
}

// Where Slack gives no address, or takes no socket, it is asked again.
func TestSocketIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]slacksim.Fault{
		"in trouble":          {Status: http.StatusInternalServerError},
		"asked too often":     {Status: http.StatusTooManyRequests, RetryAfter: time.Second},
		"an error of its own": {Error: "internal_error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, sealed := newBot(t, newSlack(), &fakeTemporal{}, nil)
			w := newWorkspace(t, b, sealed)
			fault.Method, fault.Times = "apps.connections.open", 1
			w.Inject(fault)
			stop, served := w.serve(t, b, stagger)
			w.isAcknowledged(t, "bob")
			if calls := w.Calls("apps.connections.open"); len(calls) < 2 {
				t.Errorf("asked %d times", len(calls))
			}
			stop()
			if err := <-served; err != nil {
				t.Errorf("serveSockets: %v", err)
			}
		})
	}
	t.Run("address is used up", func(t *testing.T) {
		t.Parallel()
		b, sealed := newBot(t, newSlack(), &fakeTemporal{}, nil)
		w, asked := newWorkspace(t, b, sealed), 0
		address := func(ctx context.Context) (string, error) {
			asked++
			url, err := w.address(ctx)
			if asked == 1 {
				url = strings.Replace(url, "ticket=", "ticket=x", 1)
			}
			return url, err
		}
		ctx, stop := context.WithCancel(t.Context())
		ready, served := make(chan struct{}), make(chan error, 1)
		go func() { served <- b.serveSockets(ctx, address, func() { close(ready) }, stagger) }()
		<-ready
		w.isAcknowledged(t, "bob")
		stop()
		if err := <-served; err != nil || asked != 2 {
			t.Errorf("serveSockets: %v, after it asked for %d addresses", err, asked)
		}
	})
	// Only that the token is refused is no trouble that may pass.
	inTime(t, "until the token is refused", func(t *testing.T) {
		b, _ := newBot(t, newSlack(), &fakeTemporal{}, nil)
		b.Connected = func(is bool) { t.Errorf("connected: %v", is) }
		refused := &slackapi.Error{Kind: slackapi.Unauthorized, Code: "invalid_auth"}
		all := []error{
			&slackapi.Error{Kind: slackapi.Failed},
			&slackapi.Error{Kind: slackapi.Limited, RetryAfter: time.Hour},
			&slackapi.Error{Kind: slackapi.Refused, Code: "access_denied"},
			errors.New("no such host"),
			refused,
		}
		var asked []time.Time
		address := func(context.Context) (string, error) {
			asked = append(asked, time.Now())
			return "", all[len(asked)-1]
		}
		err := b.serveSockets(t.Context(), address, func() { t.Error("ready") }, 24*time.Hour)
		if !errors.Is(err, refused) || len(asked) != len(all) {
			t.Fatalf("serveSockets: %v, after it asked %d times", err, len(asked))
		}
		if asked[2].Sub(asked[1]) < time.Hour { // In the bubble's time.
			t.Error("asked again before Slack wants to be asked")
		}
	})
}

func TestConnected(t *testing.T) {
	t.Parallel()
	for name, happens := range map[string]func(*workspace){
		"it is cut":       func(w *workspace) { w.Drop(0) },
		"it is refreshed": func(w *workspace) { w.Disconnect("refresh_requested", 0) },
		"it is warned of": func(w *workspace) { w.Disconnect("warning", 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, sealed := newBot(t, newSlack(), &fakeTemporal{}, nil)
			told := make(chan bool, 8)
			b.Connected = func(is bool) { told <- is }
			w := newWorkspace(t, b, sealed)
			if len(told) > 0 {
				t.Error("told before there was a socket")
			}
			stop, served := w.serve(t, b, stagger)
			got := []bool{<-told}
			happens(w)
			got = append(got, <-told, <-told)
			stop()
			if err := <-served; err != nil {
				t.Errorf("serveSockets: %v", err)
			}
			got = append(got, <-told)
			if diff := cmp.Diff([]bool{true, false, true, false}, got); diff != "" || len(told) > 0 {
				t.Errorf("connected, and %d times more (-want +got):\n%s", len(told), diff)
			}
		})
	}
	t.Run("one of two is cut", func(t *testing.T) {
		t.Parallel()
		b, sealed := newBot(t, newSlack(), &fakeTemporal{}, nil)
		told := make(chan bool, 8)
		b.Connected = func(is bool) { told <- is }
		w := newWorkspace(t, b, sealed)
		stop, served := w.serve(t, b, 100*time.Millisecond)
		w.bothInUse(t)
		w.Drop(1)
		w.wait(t, func(st slacksim.State) bool { return st.Connections >= connections && st.Connected > connections })
		if first := <-told; !first || len(told) > 0 {
			t.Errorf("connected: %v, and %d times more", first, len(told))
		}
		stop()
		if err := <-served; err != nil {
			t.Errorf("serveSockets: %v", err)
		}
		if last := <-told; last || len(told) > 0 {
			t.Errorf("connected: %v, and %d times more", last, len(told))
		}
	})
	t.Run("the token is refused", func(t *testing.T) {
		t.Parallel()
		b, sealed := newBot(t, newSlack(), &fakeTemporal{}, nil)
		told := make(chan bool, 8)
		b.Connected = func(is bool) { told <- is }
		w := newWorkspace(t, b, sealed)
		_, served := w.serve(t, b, stagger)
		w.Inject(slacksim.Fault{Method: "apps.connections.open", Error: "token_revoked"})
		w.Drop(0)
		if err := <-served; err == nil {
			t.Error("serveSockets ended without an error")
		}
		if first, then := <-told, <-told; !first || then || len(told) > 0 {
			t.Errorf("connected: %v, %v, and %d times more", first, then, len(told))
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

// Slack says goodbye while a decision is on its way: it is acknowledged before the socket is closed.
func TestGoodbyeWithAClickInHand(t *testing.T) {
	t.Parallel()
	b, sealed, slow := newSlow(t, newSlack())
	l := newLine(t)
	stop := l.serve(t, b)
	conn := l.next(t, greeting)
	tell(t, conn, envelopeOf(t, "E1", clicked(bob, "approve", sealed)))
	<-slow.arrived
	if err := conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Time{}); err != nil {
		t.Fatal(err)
	}
	l.next(t, greeting) // It has read that.
	close(slow.release)
	if id := acknowledged(t, conn); id != "E1" || len(slow.completions) != 1 {
		t.Errorf("acknowledged %q after %d decisions", id, len(slow.completions))
	}
	stop()
}

// Whose decision is recorded after the socket broke sees Slack's warning, and is told that it was.
func TestUnheardOnASocket(t *testing.T) {
	t.Parallel()
	s := newSlack()
	b, sealed, slow := newSlow(t, s)
	l := newLine(t)
	stop := l.serve(t, b)
	conn := l.next(t, greeting)
	tell(t, conn, envelopeOf(t, "E1", clicked(bob, "approve", sealed)))
	<-slow.arrived
	_ = conn.NetConn().(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
	l.next(t, greeting) // It has seen that.
	close(slow.release)
	stop()
	says(t, s, []string{"your decision was recorded: approved"})
}
