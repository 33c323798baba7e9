package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"countersign/internal/slackapi"
	"countersign/internal/slacksim"
	"countersign/workflows"
)

func message() slackapi.Message {
	return slackapi.Message{Channel: general, Text: "Hello", Key: key("test", "1")}
}

// newJournal keeps marks in the fake Temporal, as the activity's own journal does.
func (w *world) newJournal(m mark) *journal {
	return &journal{mark: m, write: func(_ context.Context, m mark) error { return w.temporal.beat([]any{m}) }}
}

// post posts the message in another attempt, which finds the mark that the last one left.
func (w *world) post(m mark) (workflows.Card, error) {
	w.Helper()
	return w.postOnce(w.Context(), w.newJournal(m), message())
}

// left is the mark that the last attempt left.
func (w *world) left() mark {
	w.Helper()
	if len(w.temporal.marks) == 0 {
		w.Fatal("no mark was left")
	}
	return w.temporal.marks[len(w.temporal.marks)-1]
}

// isPosted fails the test where the channel does not have the one message, at card.
func (w *world) isPosted(card workflows.Card, err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
	all := w.messages()
	if len(all) != 1 || all[0].TS != card.TS || card.Channel != general {
		w.Errorf("posted at %+v; the channel has %d messages: %+v", card, len(all), all)
	}
	if got := w.left(); got != (mark{Card: card}) {
		w.Errorf("left the mark %+v, want %+v", got, mark{Card: card})
	}
}

func TestPostOnce(t *testing.T) {
	posting := func() mark { return mark{Posting: time.Now().Add(-time.Minute)} }
	t.Run("first attempt", func(t *testing.T) {
		w := newWorld(t)
		card, err := w.post(mark{})
		w.isPosted(card, err)
		if len(w.temporal.marks) != 2 || w.temporal.marks[0].Posting.IsZero() || w.temporal.marks[0].Card != (workflows.Card{}) {
			t.Errorf("left marks %+v, want posting, and then the card", w.temporal.marks)
		}
		if n := len(w.sim.Calls("conversations.history")); n != 0 {
			t.Errorf("looked for the message %d times, want never", n)
		}
	})
	t.Run("crash after Slack took it", func(t *testing.T) {
		w := newWorld(t)
		first, err := w.Slack.Post(t.Context(), message())
		if err != nil {
			t.Fatal(err)
		}
		card, err := w.post(posting())
		w.isPosted(card, err)
		if card != first {
			t.Errorf("found %+v, want %+v", card, first)
		}
	})
	t.Run("crash before Slack had it", func(t *testing.T) {
		w := newWorld(t)
		m := posting()
		card, err := w.post(m)
		w.isPosted(card, err)
		if got := w.temporal.marks[0].Posting; !got.Equal(m.Posting) {
			t.Errorf("posting since %v, want since the first attempt, %v", got, m.Posting)
		}
	})
	t.Run("crash before the record", func(t *testing.T) {
		w := newWorld(t)
		w.temporal.heartbeat = func(n int, _ mark) error {
			if n == 2 {
				return away
			}
			return nil
		}
		if _, err := w.post(mark{}); !errors.Is(err, away) {
			t.Fatalf("postOnce: %v, want %v", err, away)
		}
		card, err := w.post(w.temporal.marks[0])
		w.isPosted(card, err)
	})
	t.Run("Slack took it and said that it failed", func(t *testing.T) {
		w := newWorld(t)
		w.sim.Inject(slacksim.Fault{Method: "chat.postMessage", Times: 1, Status: 500, Performed: true})
		_, err := w.post(mark{})
		if failure(err) == nil || w.left().Posting.IsZero() {
			t.Fatalf("postOnce: %v, left %+v; want an error, and posting", err, w.left())
		}
		card, err := w.post(w.left())
		w.isPosted(card, err)
	})
	t.Run("Slack failed", func(t *testing.T) {
		w := newWorld(t)
		w.sim.Inject(slacksim.Fault{Method: "chat.postMessage", Times: 1, Cut: true})
		if _, err := w.post(mark{}); err == nil {
			t.Fatal("no error")
		}
		card, err := w.post(w.left())
		w.isPosted(card, err)
	})
	t.Run("posted by an earlier attempt", func(t *testing.T) {
		w := newWorld(t)
		want := workflows.Card{Channel: general, TS: "1.2"}
		card, err := w.post(mark{Card: want})
		if card != want || err != nil || len(w.messages()) > 0 || len(w.temporal.marks) > 0 {
			t.Errorf("postOnce = %+v, %v, with %d messages", card, err, len(w.messages()))
		}
	})
	t.Run("history may not be read", func(t *testing.T) {
		w := newWorld(t)
		w.sim.SetScopes("chat:write")
		card, err := w.post(posting())
		w.isPosted(card, err)
		if !w.log.has("a second one is possible") || !w.log.has("channels:history") {
			t.Errorf("the log does not say that a second message is possible, and why: %s", &w.log.buf)
		}
	})
	t.Run("history cannot be read just now", func(t *testing.T) {
		w := newWorld(t)
		w.sim.Inject(slacksim.Fault{Method: "conversations.history", Times: 1, Status: 503})
		if _, err := w.post(posting()); err == nil || len(w.messages()) > 0 {
			t.Errorf("postOnce: %v, with %d messages; want none", err, len(w.messages()))
		}
	})
	t.Run("Slack asks to wait", func(t *testing.T) {
		w := newWorld(t)
		w.sim.Inject(slacksim.Fault{Method: "chat.postMessage", Times: 1, Status: 429, RetryAfter: 17 * time.Second})
		_, err := w.post(mark{})
		if app := asApp(t, failure(err)); app.NextRetryDelay() != 17*time.Second || app.Category() != temporal.ApplicationErrorCategoryBenign || app.NonRetryable() {
			t.Errorf("%v: the next attempt comes in %v, want 17s", app, app.NextRetryDelay())
		}
		if w.left() != (mark{}) {
			t.Errorf("left %+v, want nothing: Slack did nothing", w.left())
		}
		card, err := w.post(w.left())
		w.isPosted(card, err)
		if n := len(w.sim.Calls("conversations.history")); n != 0 {
			t.Errorf("looked for the message %d times, want never", n)
		}
	})
	t.Run("Slack refuses", func(t *testing.T) {
		w := newWorld(t)
		w.sim.Leave("general", slacksim.BotUserID)
		_, err := w.post(mark{})
		if app := asApp(t, failure(err)); app.Type() != workflows.ErrTypeRefused || !app.NonRetryable() || app.Message() != "I am not in that channel. Invite me there and ask again." {
			t.Errorf("failed with %v", app)
		}
		if w.left() != (mark{}) {
			t.Errorf("left %+v, want nothing", w.left())
		}
	})
	t.Run("its turn is later", func(t *testing.T) {
		w := newWorld(t)
		for range 8 {
			w.Slack.Turn(general)
		}
		_, err := w.post(mark{})
		if app := asApp(t, failure(err)); app.NextRetryDelay() <= moment || app.NextRetryDelay() > 6*time.Second || app.Category() != temporal.ApplicationErrorCategoryBenign {
			t.Errorf("%v: the next attempt comes in %v, want in some 6 s", app, app.NextRetryDelay())
		}
		m := w.left()
		if m.Turn.IsZero() || !m.Posting.IsZero() || len(w.messages()) > 0 {
			t.Fatalf("left %+v with %d messages, want its turn and none", m, len(w.messages()))
		}
		m.Turn = time.Now() // It has come.
		before := w.Slack.Turn(general)
		card, err := w.post(m)
		w.isPosted(card, err)
		if took := w.Slack.Turn(general) - before; took > 1500*time.Millisecond {
			t.Errorf("the attempt whose turn had come took another: the next is %v later", took)
		}
	})
	t.Run("its turn is later, and it may be there", func(t *testing.T) {
		w := newWorld(t)
		for range 8 {
			w.Slack.Turn(general)
		}
		m := posting()
		if _, err := w.post(m); asApp(t, err).NextRetryDelay() == 0 {
			t.Errorf("postOnce: %v", err)
		}
		if got := w.left(); got.Turn.IsZero() || !got.Posting.Equal(m.Posting) {
			t.Errorf("left %+v, want its turn, and that it may be there", got)
		}
	})
	t.Run("in a thread", func(t *testing.T) {
		w := newWorld(t)
		parent, err := w.Slack.Post(t.Context(), slackapi.Message{Channel: general, Text: "A card", Key: "card"})
		if err != nil {
			t.Fatal(err)
		}
		reply := message()
		reply.Thread = parent.TS
		first, err := w.postOnce(t.Context(), w.newJournal(mark{}), reply)
		if err != nil {
			t.Fatal(err)
		}
		again, err := w.postOnce(t.Context(), w.newJournal(posting()), reply)
		if again != first || err != nil || len(w.sim.Replies("general", parent.TS)) != 1 {
			t.Errorf("posted at %+v and then %+v, %v", first, again, err)
		}
	})
	t.Run("caller gives up before its turn", func(t *testing.T) {
		w := newWorld(t)
		ctx, stop := context.WithCancel(t.Context())
		stop()
		j := w.newJournal(mark{Turn: time.Now().Add(moment / 2)})
		if _, err := w.postOnce(ctx, j, message()); !errors.Is(err, context.Canceled) || len(w.messages()) > 0 {
			t.Errorf("postOnce: %v with %d messages", err, len(w.messages()))
		}
	})
}

// What the journal answers decides whether there is a message.
func TestPostOnceWhileTheRequestEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		on     int // the heartbeat that has the error
		answer error
		want   error // nil: none
		posted bool
	}{
		"ended before":         {1, notFound, errEnded, false},
		"ended while posting":  {2, notFound, errEnded, true},
		"cancelled before":     {1, temporal.NewCanceledError(), errCancelled, false},
		"cancelled afterwards": {2, temporal.NewCanceledError(), errCancelled, true},
		"paused":               {1, activity.ErrActivityPaused, nil, true},
		"reset":                {2, activity.ErrActivityReset, nil, true},
		"Temporal is away":     {1, away, away, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.temporal.heartbeat = func(n int, _ mark) error {
				if n == tc.on {
					return tc.answer
				}
				return nil
			}
			card, err := w.post(mark{})
			if !errors.Is(err, tc.want) {
				t.Errorf("postOnce: %v, want %v", err, tc.want)
			}
			if got := len(w.messages()) == 1; got != tc.posted || got != (card != workflows.Card{}) {
				t.Errorf("posted %v at %+v, want %v", got, card, tc.posted)
			}
		})
	}
}

func asApp(t *testing.T, err error) *temporal.ApplicationError {
	t.Helper()
	var app *temporal.ApplicationError
	if !errors.As(err, &app) {
		t.Fatalf("%v is no application error", err)
	}
	return app
}

func TestFailure(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	limited := func(after time.Duration) error {
		return fmt.Errorf("post: %w", &slackapi.Error{Kind: slackapi.Limited, RetryAfter: after})
	}
	for name, tc := range map[string]struct {
		err   error
		kind  string // empty: err itself
		final bool
		delay time.Duration
		msg   string
	}{
		"limited":             {limited(30 * time.Second), "Later", false, 30 * time.Second, "Slack asks to wait"},
		"limited for no time": {limited(0), "Later", false, time.Second, ""},
		"refused":             {&slackapi.Error{Kind: slackapi.Refused, Code: "is_archived"}, workflows.ErrTypeRefused, true, 0, "That channel is archived."},
		"failed":              {&slackapi.Error{Kind: slackapi.Failed}, "", false, 0, ""},
		"worker stopped":      {fmt.Errorf("post: %w", context.Canceled), "Interrupted", false, 0, "interrupted"},
		"out of time":         {fmt.Errorf("post: %w", context.DeadlineExceeded), "", false, 0, ""},
		"invalid request":     {workflows.InvalidRequestError("x"), workflows.ErrTypeInvalidRequest, true, 0, "x"},
		"its turn is later":   {later(time.Minute, "x", nil), "Later", false, time.Minute, "x"},
		"anything else":       {boom, "", false, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := failure(tc.err)
			if tc.kind == "" {
				if got != tc.err {
					t.Errorf("failure = %v, want it as it is", got)
				}
				return
			}
			app := asApp(t, got)
			if app.Type() != tc.kind || app.NonRetryable() != tc.final || app.NextRetryDelay() != tc.delay || !strings.Contains(app.Message(), tc.msg) {
				t.Errorf("failure = %v of type %s, final %v, after %v; want %s, %v, %v, %q", app, app.Type(), app.NonRetryable(), app.NextRetryDelay(), tc.kind, tc.final, tc.delay, tc.msg)
			}
		})
	}
	t.Run("nothing", func(t *testing.T) {
		t.Parallel()
		if err := failure(nil); err != nil {
			t.Errorf("failure(nil) = %v", err)
		}
	})
	// The SDK reports what wraps context.Canceled as a cancellation, which a server refuses that nobody asked for one.
	t.Run("is no cancellation", func(t *testing.T) {
		w := newWorld(t)
		ctx, stop := context.WithCancel(t.Context())
		stop()
		_, canceled := w.Slack.Post(ctx, message())
		if !errors.Is(canceled, context.Canceled) {
			t.Fatalf("%v does not wrap context.Canceled, so this test shows nothing", canceled)
		}
		if err := failure(canceled); errors.Is(err, context.Canceled) || temporal.IsCanceledError(err) {
			t.Errorf("failure = %v, which the SDK takes for a cancellation", err)
		}
	})
}

func TestKey(t *testing.T) {
	t.Parallel()
	if key("card", "a", "b") == key("card", "ab") || key("card", "a") == key("tell", "a") {
		t.Error("two messages have one key")
	}
	if k := key("card", "secret-workflow"); strings.Contains(k, "secret") || len(k) != 32 {
		t.Errorf("key = %q, want a hash", k)
	}
}
