package bot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/gorilla/websocket"

	"countersign/internal/slackapi"
	"countersign/internal/telemetry"
)

// Of the library's socketmode package nothing is used: it decodes every message on a card into types of its own, which
// costs more than all the rest of a click, fails at blocks that it does not know, and cuts a socket that Slack refreshes
// before what came by it is answered.

const (
	// connections is how many sockets a process holds, so that one is there while Slack refreshes the other. Slack
	// allows ten per app. https://docs.slack.dev/apis/events-api/using-socket-mode#connections
	connections = 2
	// stagger keeps the sockets' ages apart, and so their refreshes.
	stagger = time.Minute
	// silence is how long a socket lives without a ping of Slack's.
	silence = 30 * time.Second
	// openIn bounds the opening of a socket, once Slack has given its address.
	openIn = 10 * time.Second
	// lingers is how long a socket is kept that another one replaces: Slack closes it itself by then, some 10 s after it has
	// said so. https://docs.slack.dev/apis/events-api/using-socket-mode#disconnect
	lingers = 15 * time.Second
	// ackWithin bounds the writing of an acknowledgement.
	ackWithin = time.Second
	// ackLimit is from how many bytes on Slack takes no notice of an acknowledgement, and says nothing: 20 KB, in which
	// the smaller kilobytes are meant, to be sure. https://pkg.go.dev/github.com/slack-go/slack/socketmode#Client.SendCtx
	ackLimit = 20_000
	// quiet is how long nothing may have come in before the sockets are closed.
	quiet = 250 * time.Millisecond
)

// ServeSocket receives Slack's deliveries by Socket Mode until ctx ends. Then it finishes and acknowledges those in
// hand, closes the sockets, and returns nil. address asks Slack for the address of a socket, as [slackapi.Client.OpenSocket]
// does. ready is called once, when the first socket stands.
//
// An error means that Slack refuses the app-level token.
func (b *Bot) ServeSocket(ctx context.Context, address func(context.Context) (string, error), ready func()) error {
	return b.serveSockets(ctx, address, ready, stagger)
}

func (b *Bot) serveSockets(ctx context.Context, address func(context.Context) (string, error), ready func(), stagger time.Duration) error {
	// The sockets outlive ctx, until the last acknowledgement is written.
	open, closeAll := context.WithCancel(context.WithoutCancel(ctx))
	defer closeAll()
	s := &sockets{bot: b, address: address, ready: sync.OnceFunc(ready), stagger: stagger, changed: make(chan struct{})}
	telemetry.Sockets(ctx, 0)
	var (
		running sync.WaitGroup
		failed  = make(chan error, connections)
	)
	for n := range connections {
		running.Go(func() {
			select {
			case <-time.After(time.Duration(n) * stagger):
			case <-open.Done():
				return
			}
			if err := s.keep(open, n); err != nil {
				failed <- err
			}
		})
	}
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	s.drain(ctx)
	closeAll()
	running.Wait()
	s.reading.Wait()
	s.after.Wait()
	return err
}

// sockets are the open sockets of a process, and what came in by them.
type sockets struct {
	bot     *Bot
	address func(context.Context) (string, error)
	ready   func()
	stagger time.Duration
	reading sync.WaitGroup // from sockets
	after   sync.WaitGroup // what is done after acknowledgements

	mu        sync.Mutex
	inHand    int                    // deliveries that are not answered yet
	changed   chan struct{}          // closed, and replaced, when inHand falls
	connected [connections]time.Time // when each socket was last opened
	open      [connections]bool
	told      bool // that one is open
}

// socket is one connection to Slack.
type socket struct {
	*websocket.Conn
	writing sync.Mutex
	greeted atomic.Bool   // Slack uses it
	cut     chan struct{} // closed when nothing more can be read from it
	// over ends when another one has to take its place. It is read from for a while still.
	over context.Context
	end  context.CancelFunc
}

// isOpen notes whether a socket is open, and tells where that changes whether there is one.
func (s *sockets) isOpen(ctx context.Context, n int, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[n] = open
	one := slices.Contains(s.open[:], true)
	telemetry.Sockets(ctx, len(slices.DeleteFunc(slices.Clone(s.open[:]), func(open bool) bool { return !open })))
	if one != s.told && s.bot.Connected != nil {
		s.bot.Connected(one)
	}
	s.told = one
}

// keep keeps the n-th socket open until ctx ends; it returns nil then. An error is that Slack refuses the token.
func (s *sockets) keep(ctx context.Context, n int) error {
	wait := backoff.NewExponentialBackOff()
	atOnce := true // the next one is opened without a pause
	for ctx.Err() == nil {
		begun := time.Now()
		c, err := s.dial(ctx)
		if err == nil {
			s.reading.Go(func() { s.read(ctx, c, n) })
			<-c.over.Done()
			s.isOpen(ctx, n, false)
			// One that Slack ends as soon as it is open comes with a pause: those that linger would fill up Slack's ten.
			if time.Since(begun) > lingers {
				wait.Reset()
				atOnce = true
			}
			if c.greeted.Load() && atOnce {
				atOnce = false
				continue
			}
		}
		if slackapi.AsUnauthorized(err) != nil {
			return err
		}
		next := wait.NextBackOff()
		if limited := slackapi.AsLimited(err); limited != nil {
			next = max(next, limited.RetryAfter)
		}
		if err != nil && ctx.Err() == nil {
			s.bot.Log.Warn("open a socket", "err", err, "next_try", next.Round(time.Millisecond))
		}
		select {
		case <-time.After(next):
		case <-ctx.Done():
		}
	}
	return nil
}

// dial opens a socket.
func (s *sockets) dial(ctx context.Context) (*socket, error) {
	address, err := s.address(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := url.Parse(address); err != nil {
		return nil, errors.New("what Slack gave is no address") // It is a secret.
	}
	opening, stop := context.WithTimeout(ctx, openIn)
	defer stop()
	// Slack does not put together again an acknowledgement that comes in several frames.
	dialer := websocket.Dialer{Proxy: http.ProxyFromEnvironment, WriteBufferSize: 2 * ackLimit}
	conn, resp, err := dialer.DialContext(opening, address, nil)
	if err != nil {
		if resp != nil {
			err = fmt.Errorf("%w: HTTP status %d", err, resp.StatusCode)
		}
		return nil, err
	}
	conn.SetReadLimit(bodyLimit)
	conn.SetCloseHandler(func(int, string) error { return nil }) // The default one ends our acknowledgements too.
	c := &socket{Conn: conn, cut: make(chan struct{})}
	c.over, c.end = context.WithCancel(ctx)
	return c, nil
}

// read deals with what comes by a socket until it is closed.
func (s *sockets) read(ctx context.Context, c *socket, n int) {
	s.reading.Go(func() { s.retire(ctx, c) })
	defer c.end()
	defer close(c.cut)
	alive := func() { _ = c.SetReadDeadline(time.Now().Add(silence)) }
	alive()
	c.SetPingHandler(func(text string) error {
		alive()
		return c.WriteControl(websocket.PongMessage, []byte(text), time.Now().Add(ackWithin))
	})
	for {
		_, message, err := c.ReadMessage()
		if err != nil {
			if c.over.Err() == nil {
				s.bot.Log.Warn("a socket was cut", "err", err)
			}
			return
		}
		e, err := decode(message, func(e envelope) bool { return e.Type != "" })
		if err != nil {
			s.bot.Log.Warn("drop a message", "err", err)
			continue
		}
		switch e.Type {
		case "hello":
			s.bot.Log.Info("socket connected")
			c.greeted.Store(true)
			s.isOpen(ctx, n, true)
			telemetry.SocketOpened(ctx)
			s.ready()
			if s.tooClose(n, s.stagger) {
				s.reading.Go(func() { s.renew(c) })
			}
		case "disconnect":
			s.bot.Log.Info("Slack replaces a socket", "reason", e.Reason)
			if !c.greeted.Load() || e.Reason == "too_many_websockets" {
				return // Slack does not use it.
			}
			c.end()
		case interactive, slashCommand, event:
			s.deliver(ctx, c, e)
		default:
			s.bot.Log.Warn("drop a message of an unknown kind")
		}
	}
}

// retire closes a socket that is over, once Slack does not use it any more and what came by it is answered.
func (s *sockets) retire(ctx context.Context, c *socket) {
	<-c.over.Done()
	select {
	case <-time.After(lingers):
	case <-c.cut:
	case <-ctx.Done():
	}
	soon, stop := context.WithTimeout(ctx, commitBudget+ackWithin)
	defer stop()
	s.idle(soon)
	c.goodbye()
}

// goodbye closes a socket as Slack expects it.
func (c *socket) goodbye() {
	_ = c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(ackWithin))
	_ = c.Close()
}

// ack acknowledges a delivery, with body as JSON; nil: with none.
func (c *socket) ack(envelopeID string, body any) error {
	text, err := json.Marshal(struct {
		EnvelopeID string `json:"envelope_id"`
		Payload    any    `json:"payload,omitempty"`
	}{envelopeID, body})
	if err != nil {
		return err
	}
	if len(text) >= ackLimit {
		return errors.New("the answer is too large")
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.SetWriteDeadline(time.Now().Add(ackWithin))
	if err = c.WriteMessage(websocket.TextMessage, text); err != nil {
		_ = c.Close() // Nothing can be written to it any more.
	}
	return err
}

// tooClose notes that a socket was opened, and says whether it is to be renewed: it is where another one was opened at
// about the same time, after an outage for instance.
func (s *sockets) tooClose(n int, stagger time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connected[n] = time.Now()
	for other, at := range s.connected {
		if other != n && time.Since(at) < stagger/2 {
			return true
		}
	}
	return false
}

// renew has another socket take c's place after a while.
func (s *sockets) renew(c *socket) {
	select {
	case <-time.After(s.stagger):
	case <-c.over.Done():
		return
	}
	s.bot.Log.Info("renew a socket, to keep the sockets' ages apart")
	c.end()
}

// deliver handles one delivery and acknowledges it on the socket that it came by.
func (s *sockets) deliver(ctx context.Context, c *socket, e envelope) {
	ctx = context.WithoutCancel(ctx) // What is in hand is finished, whatever becomes of the socket.
	s.mu.Lock()
	s.inHand++
	s.mu.Unlock()
	s.after.Go(func() {
		answer := s.bot.handle(ctx, e.Type, e.Payload)
		if answer.ack {
			if err := c.ack(e.EnvelopeID, answer.body); err != nil {
				s.bot.Log.Warn("acknowledge", "err", err)
				answer = answer.unheard()
			}
		}
		s.mu.Lock()
		s.inHand--
		close(s.changed)
		s.changed = make(chan struct{})
		s.mu.Unlock()
		if answer.then != nil {
			ctx, stop := context.WithTimeout(ctx, afterBudget)
			defer stop()
			answer.then(ctx)
		}
	})
}

// drain returns when all that came in is answered. What comes while it waits is dealt with too: until a socket is closed
// Slack may use it.
func (s *sockets) drain(ctx context.Context) {
	// The end of ctx is the reason to drain.
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), drainFor)
	defer stop()
	for s.idle(ctx) {
		time.Sleep(quiet)
		s.mu.Lock()
		done := s.inHand == 0
		s.mu.Unlock()
		if done {
			return
		}
	}
}

// idle waits until nothing is in hand; it is false where ctx ended first.
func (s *sockets) idle(ctx context.Context) bool {
	for {
		s.mu.Lock()
		n, changed := s.inHand, s.changed
		s.mu.Unlock()
		if n == 0 {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
