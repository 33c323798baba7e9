package bot

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/slack-go/slack"

	"countersign/internal/card"
	"countersign/internal/slackapi"
	"countersign/workflows"
)

func TestWhisper(t *testing.T) {
	t.Parallel()
	const url = "https://hooks.slack.com/actions/T0/1/2"
	down := errors.New("down")
	type place struct {
		typ, container, url string
		at                  workflows.Card
	}
	var (
		message = place{typ: "block_actions", container: "message", url: url, at: at}
		home    = place{typ: "block_actions", container: "view"}
		form    = place{typ: "view_submission", at: at} // that a card opened
		atHome  = place{typ: "view_submission"}         // that the home opened
	)
	for name, tc := range map[string]struct {
		place                          place
		answer, whisper, modal, direct error

		said  []string // parts of the one sentence; empty: nothing
		opens bool
		ok    bool
	}{
		"message":                             {place: message, said: []string{"Sorry."}, ok: true},
		"message, no response URL":            {place: message, answer: down, said: []string{"in C0GENERAL1: Sorry."}, ok: true},
		"message, nothing works":              {place: message, answer: down, whisper: down},
		"form of a card":                      {place: form, said: []string{"in C0GENERAL1: Sorry."}, ok: true},
		"form of a card, nothing works":       {place: form, whisper: down},
		"home":                                {place: home, opens: true, ok: true},
		"home, the click is too old":          {place: home, modal: down, said: []string{"U0BOB00001 directly: Sorry."}, ok: true},
		"home, nothing works":                 {place: home, modal: down, direct: down},
		"form of the home":                    {place: atHome, said: []string{"U0BOB00001 directly: Sorry."}, ok: true},
		"form of the home, nothing works":     {place: atHome, direct: down},
		"home, and the channel is none of it": {place: home, whisper: down, modal: down, said: []string{"directly"}, ok: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSlack()
			s.answer, s.whisper, s.modal, s.direct = tc.answer, tc.whisper, tc.modal, tc.direct
			b, _ := newBot(t, s, &fakeTemporal{}, nil)
			i := interaction{Type: tc.place.typ, TriggerID: "1.2.3", ResponseURL: tc.place.url}
			i.User.ID, i.Container.Type = bob.ID, tc.place.container
			if got := b.whisper(t.Context(), i, tc.place.at, "Sorry."); got != tc.ok {
				t.Errorf("got through: %v, want %v", got, tc.ok)
			}
			says(t, s, tc.said)
			if opened := len(s.modals) == 1; opened != tc.opens {
				t.Errorf("opened %v, want %v", opened, tc.opens)
			}
		})
	}
}

// troubled answers a few calls with errors before it works.
type troubled struct {
	*fakeSlack
	left []error
}

func (s *troubled) AnswerURL(ctx context.Context, url, text string) error {
	if len(s.left) > 0 {
		err := s.left[0]
		s.left = s.left[1:]
		return err
	}
	return s.fakeSlack.AnswerURL(ctx, url, text)
}

// A person is told although Slack is in trouble for a moment.
func TestWhisperInsists(t *testing.T) {
	t.Parallel()
	failed, refused := &slackapi.Error{Kind: slackapi.Failed}, &slackapi.Error{Kind: slackapi.Refused}
	limited := func(after time.Duration) error { return &slackapi.Error{Kind: slackapi.Limited, RetryAfter: after} }
	for name, tc := range map[string]struct {
		left []error
		said string
		took time.Duration // at the least
	}{
		"in trouble once":        {left: []error{failed}, said: "Sorry."},
		"in trouble for longer":  {left: []error{failed, failed}, said: "in C0GENERAL1: Sorry."},
		"asked to wait":          {left: []error{limited(2 * time.Second)}, said: "Sorry.", took: 2 * time.Second},
		"asked to wait too long": {left: []error{limited(time.Minute)}, said: "in C0GENERAL1: Sorry."},
		"refused":                {left: []error{refused}, said: "in C0GENERAL1: Sorry."},
	} {
		inTime(t, name, func(t *testing.T) {
			s := &troubled{newSlack(), tc.left}
			b, _ := newBot(t, s.fakeSlack, &fakeTemporal{}, nil)
			b.Slack = s
			i := interaction{Type: "block_actions", ResponseURL: "https://hooks.slack.com/actions/T0/1/2"}
			i.User.ID, i.Container.Type = bob.ID, "message"
			ctx, stop := context.WithTimeout(t.Context(), afterBudget)
			defer stop()
			started := time.Now()
			if !b.whisper(ctx, i, at, "Sorry.") {
				t.Error("it did not get through")
			}
			says(t, s.fakeSlack, []string{tc.said})
			if took := time.Since(started); took < tc.took || took > afterBudget {
				t.Errorf("took %v", took)
			}
		})
	}
}

// slowModals takes longer to open a modal than a click has.
type slowModals struct{ *fakeSlack }

func (s slowModals) OpenModal(ctx context.Context, _ string, _ slack.ModalViewRequest) error {
	select {
	case <-time.After(5 * time.Second):
		return errors.New("expired_trigger_id")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A click in the home that Temporal does not answer is told of, although it is too late for a modal then.
func TestHomeHearsOfATemporalThatIsAway(t *testing.T) {
	t.Parallel()
	inTime(t, "withdraws", func(t *testing.T) {
		s, f := newSlack(), &fakeTemporal{updates: []error{unavailable}}
		b, sealed := newBot(t, s, f, nil)
		s.modal = errors.New("expired_trigger_id")
		f.lists = unavailable
		r := deliver(t, b, interactive, turned(alice, card.ActionWithdraw, sealed))
		if !r.ack || len(s.modals) > 0 {
			t.Errorf("acknowledged %v, %d modals", r.ack, len(s.modals))
		}
		says(t, s, []string{"U0ALICE001 directly: ", "could not confirm"})
	})
	inTime(t, "the time for the click is up", func(t *testing.T) {
		s, f := newSlack(), &fakeTemporal{}
		b, _ := newBot(t, s, f, nil)
		b.Slack = slowModals{s}
		begun := time.Now()
		r := deliver(t, b, interactive, turned(alice, card.ActionWithdraw, "v1.x.y"))
		says(t, s, []string{"U0ALICE001 directly: ", "no longer has"})
		if took := time.Since(begun); r.ack || took > commitBudget+afterBudget {
			t.Errorf("acknowledged %v after %v", r.ack, took)
		}
	})
}
