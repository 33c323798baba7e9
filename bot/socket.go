package bot

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"
	"golang.org/x/sync/errgroup"
)

const (
	// connections is how many sockets a process holds, so that one is there while Slack refreshes the other. Slack
	// allows ten per app. https://docs.slack.dev/apis/events-api/using-socket-mode#connections
	connections = 2
	// stagger keeps the sockets' ages apart, and so their refreshes.
	stagger = time.Minute
	// flush is the time that the last acknowledgement gets to leave: the library writes them in its own goroutine.
	flush = 250 * time.Millisecond
)

// ServeSocket receives Slack's deliveries by Socket Mode until ctx ends. Then it takes no new ones, finishes and
// acknowledges those in hand, and returns nil. ready is called once, when the first socket stands.
//
// An error means that Slack refuses the app-level token.
func (b *Bot) ServeSocket(ctx context.Context, api *slack.Client, ready func()) error {
	var (
		s    = &sockets{bot: b, ready: sync.OnceFunc(ready)}
		done = make(chan error, 1)
	)
	// The sockets outlive ctx, until the last acknowledgement is written.
	open, closeAll := context.WithCancel(context.WithoutCancel(ctx))
	defer closeAll()
	group, open := errgroup.WithContext(open)
	for n := range connections {
		group.Go(func() error {
			select {
			case <-time.After(time.Duration(n) * stagger):
				return s.run(open, api)
			case <-ctx.Done():
				return nil
			case <-open.Done():
				return nil
			}
		})
	}
	go func() { done <- group.Wait() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	s.drain()
	closeAll()
	<-done
	return nil
}

// sockets are the open sockets of a process, and what came in by them.
type sockets struct {
	bot      *Bot
	ready    func()
	stopping atomic.Bool
	mu       sync.Mutex // orders a delivery's beginning and the end of taking them
	inHand   sync.WaitGroup
}

// run holds one socket, through all of its reconnects.
func (s *sockets) run(ctx context.Context, api *slack.Client) error {
	c := socketmode.New(api, socketmode.OptionLog(slog.NewLogLogger(s.bot.Log.Handler(), slog.LevelDebug)))
	consumed := make(chan struct{})
	ctx, stop := context.WithCancel(ctx)
	go func() {
		defer close(consumed)
		for {
			select {
			case e := <-c.Events:
				s.event(ctx, c, e)
			case <-ctx.Done():
				return
			}
		}
	}()
	err := c.RunContext(ctx)
	if ctx.Err() != nil {
		err = nil
	}
	stop()
	<-consumed
	return err
}

// event deals with what the library reports.
func (s *sockets) event(ctx context.Context, c *socketmode.Client, e socketmode.Event) {
	switch e.Type {
	case socketmode.EventTypeConnected:
		s.bot.Log.Info("socket connected")
	case socketmode.EventTypeHello:
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Load() {
		// Not acknowledged, so Slack shows the person its warning.
		s.bot.Log.Warn("a delivery came while stopping")
		return
	}
	s.inHand.Go(func() {
		answer := s.bot.handle(ctx, kind(r.Type), r.Payload)
		if answer.ack {
			if err := c.AckCtx(ctx, r.EnvelopeID, answer.body); err != nil {
				s.bot.Log.Warn("acknowledge", "err", err)
			}
		}
		if answer.then != nil {
			ctx, stop := context.WithTimeout(ctx, afterBudget)
			defer stop()
			answer.then(ctx)
		}
	})
}

// drain takes no more deliveries and returns when those in hand are dealt with and acknowledged.
func (s *sockets) drain() {
	s.mu.Lock()
	s.stopping.Store(true)
	s.mu.Unlock()
	s.inHand.Wait()
	time.Sleep(flush)
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
