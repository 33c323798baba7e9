package bot

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"
)

const (
	// connections is how many sockets a process holds, so that one is there while Slack refreshes the other. Slack
	// allows ten per app. https://docs.slack.dev/apis/events-api/using-socket-mode#connections
	connections = 2
	// stagger keeps the sockets' ages apart, and so their refreshes.
	stagger = time.Minute
	// ackWithin bounds the handing over of an acknowledgement: with no socket up the library's queue may be full.
	ackWithin = time.Second
	// flush is the time that the last acknowledgement gets to leave: the library writes them in its own goroutine.
	flush = 250 * time.Millisecond
)

// ServeSocket receives Slack's deliveries by Socket Mode until ctx ends. Then it finishes and acknowledges those in
// hand, closes the sockets, and returns nil. ready is called once, when the first socket stands.
//
// An error means that Slack refuses the app-level token.
func (b *Bot) ServeSocket(ctx context.Context, api *slack.Client, ready func()) error {
	return b.serveSockets(ctx, api, ready, stagger)
}

func (b *Bot) serveSockets(ctx context.Context, api *slack.Client, ready func(), stagger time.Duration) error {
	// The sockets outlive ctx, until the last acknowledgement is written.
	open, closeAll := context.WithCancel(context.WithoutCancel(ctx))
	defer closeAll()
	s := &sockets{bot: b, ready: sync.OnceFunc(ready), changed: make(chan struct{})}
	var (
		running sync.WaitGroup
		failed  = make(chan error, connections)
	)
	for n := range connections {
		running.Go(func() {
			for wait := time.Duration(n) * stagger; ; wait = 0 {
				select {
				case <-time.After(wait):
				case <-open.Done():
					return
				}
				if err := s.run(open, api, n, stagger); err != nil {
					failed <- err
					return
				}
				if open.Err() != nil {
					return
				}
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
	s.after.Wait()
	return err
}

// sockets are the open sockets of a process, and what came in by them.
type sockets struct {
	bot   *Bot
	ready func()
	after sync.WaitGroup // what is done after acknowledgements

	mu        sync.Mutex
	inHand    int                    // deliveries that are not answered yet
	changed   chan struct{}          // closed, and replaced, when inHand falls
	connected [connections]time.Time // when each socket was last opened
	open      [connections]bool
	told      bool // that one is open
}

// isOpen notes whether a socket is open, and tells where that changes whether there is one.
func (s *sockets) isOpen(n int, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[n] = open
	any := slices.Contains(s.open[:], true)
	if any != s.told && s.bot.Connected != nil {
		s.bot.Connected(any)
	}
	s.told = any
}

// run holds one socket, through its reconnects. It returns nil when ctx ends, and when the socket is to be renewed.
func (s *sockets) run(ctx context.Context, api *slack.Client, n int, stagger time.Duration) error {
	c := socketmode.New(api, socketmode.OptionLog(slog.NewLogLogger(s.bot.Log.Handler(), slog.LevelDebug)))
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var consuming sync.WaitGroup
	consuming.Go(func() {
		for {
			select {
			case e := <-c.Events:
				s.event(ctx, c, n, e)
				if e.Type == socketmode.EventTypeConnected && s.tooClose(n, stagger) {
					consuming.Go(func() { s.renew(ctx, stop, stagger) })
				}
			case <-ctx.Done():
				return
			}
		}
	})
	err := c.RunContext(ctx)
	if ctx.Err() != nil {
		err = nil
	}
	stop()
	consuming.Wait()
	s.isOpen(n, false)
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

// renew ends a socket after d, when nothing is in hand.
func (s *sockets) renew(ctx context.Context, end context.CancelFunc, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
		return
	}
	if s.idle(ctx) {
		s.bot.Log.Info("renew a socket, to keep the sockets' ages apart")
		end()
	}
}

// event deals with what the library reports.
func (s *sockets) event(ctx context.Context, c *socketmode.Client, n int, e socketmode.Event) {
	switch e.Type {
	case socketmode.EventTypeConnecting: // for the first time, or anew
		s.isOpen(n, false)
	case socketmode.EventTypeConnected:
		s.bot.Log.Info("socket connected")
	case socketmode.EventTypeHello:
		s.isOpen(n, true)
		s.ready()
	case socketmode.EventTypeConnectionError, socketmode.EventTypeIncomingError, socketmode.EventTypeErrorWriteFailed:
		s.bot.Log.Warn("socket", "event", string(e.Type), "err", problem(e.Data))
	case socketmode.EventTypeInvalidAuth:
		s.bot.Log.Error("slack refuses SLACK_APP_TOKEN")
	case socketmode.EventTypeInteractive, socketmode.EventTypeSlashCommand, socketmode.EventTypeEventsAPI:
		s.deliver(ctx, c, *e.Request)
	case socketmode.EventTypeErrorBadMessage:
		// The library could not decode all of it, a block that it does not know for instance. We need less.
		bad, ok := e.Data.(*socketmode.ErrorBadMessage)
		var r socketmode.Request
		if ok && json.Unmarshal(bad.Message, &r) == nil && r.EnvelopeID != "" {
			s.deliver(ctx, c, r)
			return
		}
		s.bot.Log.Warn("drop a message of an unknown kind")
	}
}

// deliver handles one delivery and acknowledges it on the socket that it came by.
func (s *sockets) deliver(ctx context.Context, c *socketmode.Client, r socketmode.Request) {
	ctx = context.WithoutCancel(ctx) // What is in hand is finished, whatever becomes of the socket.
	s.mu.Lock()
	s.inHand++
	s.mu.Unlock()
	s.after.Go(func() {
		answer := s.bot.handle(ctx, kind(r.Type), r.Payload)
		if answer.ack {
			ctx, stop := context.WithTimeout(ctx, ackWithin)
			if err := c.AckCtx(ctx, r.EnvelopeID, answer.body); err != nil {
				s.bot.Log.Warn("acknowledge", "err", err)
			}
			stop()
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

// drain returns when all that came in is answered, and the answers have left. What comes while it waits is dealt with
// too: until a socket is closed Slack may use it.
func (s *sockets) drain(ctx context.Context) {
	// The end of ctx is the reason to drain.
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), drainFor)
	defer stop()
	for s.idle(ctx) {
		time.Sleep(flush)
		s.mu.Lock()
		quiet := s.inHand == 0
		s.mu.Unlock()
		if quiet {
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

// problem is the error within a library's event.
func problem(data any) any {
	switch e := data.(type) {
	case *slack.ConnectionErrorEvent:
		return e.ErrorObj
	case *slack.IncomingEventError:
		return e.ErrorObj
	case *socketmode.ErrorWriteFailed:
		return e.Cause
	default:
		return nil
	}
}
