package bot

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"countersign/internal/card"
	"countersign/internal/record"
	"countersign/internal/reference"
	"countersign/internal/slackapi"
	"countersign/workflows"
)

// interact deals with a click or the submission of a modal.
func (b *Bot) interact(ctx context.Context, i interaction) reply {
	switch i.Type {
	case "block_actions":
		if action, sealed, ok := i.button(); ok {
			return b.click(ctx, i, action, sealed)
		}
		if i.ofDecision() {
			return b.tell(ctx, i, i.card(), string(refuseVersion))
		}
	case "view_submission":
		if i.View.CallbackID == card.CallbackReject {
			return b.submit(ctx, i)
		}
	}
	// Links, closed modals, and what Slack may think of: acknowledged, it leaves no warning sign. Closing a modal
	// decides nothing.
	return done()
}

// click deals with a click on Approve or Reject.
func (b *Bot) click(ctx context.Context, i interaction, action, sealed string) reply {
	at := i.card()
	ref, no, checked := b.admit(ctx, i, sealed)
	switch {
	case no == refuseOthers:
		who := card.Approvers(workflows.Approvers{Users: ref.Users, Groups: ref.Groups})
		return b.tell(ctx, i, at, "Only "+who+" can decide this request.")
	case no != "" && checked:
		return b.tell(ctx, i, at, string(no))
	case no != "":
		r := b.tell(ctx, i, at, string(no))
		r.ack = false
		return r
	}
	if action == card.ActionReject {
		return b.askReason(ctx, i, ref, sealed, at)
	}
	d := workflows.Decision{Outcome: workflows.Approved, By: person(i), At: time.Now().UTC(), Card: at}
	v := b.decide(ctx, ref, d)
	switch {
	case v.recorded:
		return reply{ack: true, then: func(ctx context.Context) { b.heal(ctx, at, v.ended) }}
	case v.unsure:
		return reply{then: func(ctx context.Context) { b.whisper(ctx, i, at, said(b.look(ctx, ref, d), d.Outcome)) }}
	default:
		return b.tellTooLate(ctx, i, at, v.ended)
	}
}

// askReason opens the modal that asks for a rejection's reason; what has ended already is said at once instead.
func (b *Bot) askReason(ctx context.Context, i interaction, ref reference.Reference, sealed string, at workflows.Card) reply {
	// Where Temporal does not answer soon the submission asks it again; here it only spares the person the typing.
	soon, stop := context.WithTimeout(ctx, lookBefore)
	defer stop()
	a, err := record.Look(soon, b.Temporal, ref.WorkflowID, ref.RunID, ref.ActivityID)
	if err == nil && (a.State == record.Ended || a.State == record.Unknown) {
		return b.tellTooLate(ctx, i, at, a)
	}
	metadata, err := json.Marshal(modal{Reference: sealed, Channel: at.Channel, TS: at.TS})
	if err == nil {
		err = b.Slack.OpenModal(ctx, i.TriggerID, card.RejectModal(string(metadata)))
	}
	if err != nil {
		b.Log.Warn("open a modal", "user", i.User.ID, "channel", at.Channel, "err", err)
		return reply{then: func(ctx context.Context) {
			b.whisper(ctx, i, at, "Slack could not open the form, so nothing was decided. Please click again.")
		}}
	}
	return done()
}

// submit deals with the modal's submission: person and request are checked again, for the modal may have stood open for
// hours.
func (b *Bot) submit(ctx context.Context, i interaction) reply {
	var m modal
	if err := json.Unmarshal([]byte(i.View.PrivateMetadata), &m); err != nil {
		b.Log.Warn("drop a submission", "user", i.User.ID, "err", errPayload)
		return fault(string(refuseReference))
	}
	at := workflows.Card{Channel: m.Channel, TS: m.TS}
	ref, no, _ := b.admit(ctx, i, m.Reference)
	if no != "" {
		return fault(string(no))
	}
	d := workflows.Decision{
		Outcome: workflows.Rejected, By: person(i), At: time.Now().UTC(), Card: at,
		Reason: card.CleanLines(i.View.State.Values[card.BlockReason][card.ActionReason].Value, card.ReasonLimit),
	}
	v := b.decide(ctx, ref, d)
	switch {
	case v.recorded:
		return reply{ack: true, then: func(ctx context.Context) { b.heal(ctx, at, v.ended) }}
	case v.unsure:
		r := fault("I could not confirm your rejection. Submit it again; if it was recorded after all, nothing is done twice.")
		r.then = func(ctx context.Context) {
			if again := b.look(ctx, ref, d); again.recorded {
				b.whisper(ctx, i, at, said(again, d.Outcome))
			}
		}
		return r
	default:
		r := fault(tooLate(v.ended, card.Bare))
		r.then = func(ctx context.Context) { b.heal(ctx, at, v.ended) }
		return r
	}
}

const (
	refuseReference refusal = "This button is not of this app, or has been changed. Ask for the request to be made again."
	refuseVersion   refusal = "This button is of another version of the app, so nothing was decided. Please click again in a moment."
	refusePlace     refusal = "This request belongs to another deployment of the app, so nothing was decided."
	refuseKey       refusal = "This button was made with a key that the app no longer has. Ask for the request to be made again."
)

// admit opens the reference and says whether the person may decide what it names.
func (b *Bot) admit(ctx context.Context, i interaction, sealed string) (ref reference.Reference, no refusal, checked bool) {
	ref, err := b.Keys.Open(sealed)
	if err != nil {
		b.Log.Warn("open a reference", "user", i.User.ID, "channel", i.Container.ChannelID, "err", err)
		switch {
		case errors.Is(err, reference.ErrUnknownKey):
			return ref, refuseKey, true
		case errors.Is(err, reference.ErrVersion):
			return ref, refuseVersion, true
		default:
			return ref, refuseReference, true
		}
	}
	if ref.Namespace != b.Namespace {
		b.Log.Warn("refuse a reference of another namespace", "user", i.User.ID, "workflow_id", ref.WorkflowID)
		return ref, refusePlace, true
	}
	no, checked = b.mayDecide(ctx, ref, person(i))
	if no != "" {
		b.Log.Info("refuse a click", "workflow_id", ref.WorkflowID, "activity_id", ref.ActivityID, "user", i.User.ID, "reason", string(no))
	}
	return ref, no, checked
}

// tell says a sentence to whoever clicked, before the click is acknowledged: if it does not get through, Slack's
// warning sign says at least that nothing was done, and the sentence is tried once more.
func (b *Bot) tell(ctx context.Context, i interaction, at workflows.Card, sentence string) reply {
	if b.whisper(ctx, i, at, sentence) {
		return done()
	}
	return reply{then: func(ctx context.Context) { b.whisper(ctx, i, at, sentence) }}
}

// tellTooLate says to whoever clicked too late how the request ended, and closes a card that nothing else will close.
func (b *Bot) tellTooLate(ctx context.Context, i interaction, at workflows.Card, a record.Activity) reply {
	return b.tell(ctx, i, at, tooLate(a, card.Mrkdwn)).and(func(ctx context.Context) { b.heal(ctx, at, a) })
}

// fault is the reply that shows a sentence in the modal, which stays open.
// https://docs.slack.dev/surfaces/modals#displaying_errors
func fault(sentence string) reply {
	return reply{ack: true, body: map[string]any{
		"response_action": "errors",
		"errors":          map[string]string{card.BlockReason: sentence},
	}}
}

func person(i interaction) workflows.Person {
	name := i.User.Name
	if name == "" {
		name = i.User.Username
	}
	return workflows.Person{ID: i.User.ID, Name: name, Team: i.User.TeamID}
}

// The bot's way to Slack is the client that the worker uses too.
var _ Slack = (*slackapi.Client)(nil)
