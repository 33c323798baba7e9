package bot

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/slack-go/slack"

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
		if chosen, sealed, ok := i.menu(); ok {
			return b.menu(ctx, i, chosen, sealed)
		}
		if i.ofDecision() {
			return b.tell(ctx, i, i.card(), string(refuseVersion)).as(resultRefused)
		}
		return b.clickHome(ctx, i)
	case "view_submission":
		switch i.View.CallbackID {
		case card.CallbackDecision:
			return b.submit(ctx, i)
		case card.CallbackDelegate, card.CallbackExtend, card.CallbackChange:
			return b.submitChange(ctx, i)
		case card.CallbackRequest:
			return b.submitRequest(ctx, i)
		}
	}
	// Links, closed modals, and what Slack may think of: acknowledged, it leaves no warning sign. Closing a modal
	// decides nothing.
	return done()
}

// click deals with a click on a decision's button.
func (b *Bot) click(ctx context.Context, i interaction, action, sealed string) reply {
	at := i.card()
	ref, roles, no, checked := b.admit(ctx, i, sealed)
	switch {
	case no == refuseOthers:
		return b.tell(ctx, i, at, "Only "+card.Approvers(ref.Who())+" can decide this request.").as(resultRefused)
	case no != "" && checked:
		return b.tell(ctx, i, at, string(no)).as(resultRefused)
	case no != "":
		r := b.tell(ctx, i, at, string(no))
		r.ack = false
		return r.as(resultUnchecked)
	}
	d := workflows.Decision{
		Outcome: workflows.Approved, By: person(i), At: time.Now().UTC(), Via: workflows.ViaCard, Roles: roles, Card: at,
	}
	if i.atHome() {
		d.Via = workflows.ViaHome
	}
	d.Option, _ = card.Option(action)
	if action == card.ActionReject {
		d.Outcome = workflows.Rejected
	} else if !ref.Offers(d.Option) {
		return b.tell(ctx, i, at, string(refuseReference)).as(resultRefused)
	}
	switch {
	case d.Outcome == workflows.Approved && slices.Contains(ref.Approved, d.By.ID):
		return b.approvedAlready(ctx, i, ref, d).as(resultRepeated)
	case d.Outcome == workflows.Approved && (ref.Form || i.atHome()), d.Outcome == workflows.Rejected && ref.Reason != workflows.Off:
		return b.askMore(ctx, i, ref, sealed, action).as(resultForm)
	}
	v := b.decide(ctx, ref, d)
	return b.answerClick(ctx, i, at, ref, d, v).as(v.result())
}

// answerClick is the reply to a click of which that has become.
func (b *Bot) answerClick(ctx context.Context, i interaction, at workflows.Card, ref reference.Reference, d workflows.Decision, v verdict) reply {
	tell := func(ctx context.Context) { b.whisper(ctx, i, at, said(v, d.Outcome)) }
	switch {
	case v.recorded:
		return reply{ack: true, missed: tell, then: func(ctx context.Context) {
			b.heal(ctx, at, v.ended)
			b.afterClick(ctx, i)
		}}
	case v.busy:
		return reply{then: tell}
	case v.unsure:
		return reply{then: func(ctx context.Context) { b.whisper(ctx, i, at, said(b.look(ctx, ref, d), d.Outcome)) }}
	case v.changed:
		return b.tell(ctx, i, at, string(refuseChanged))
	case v.late:
		return b.tell(ctx, i, at, string(refuseLate))
	default:
		return b.tellTooLate(ctx, i, at, v.ended)
	}
}

// approvedAlready tells a person who approves twice how the request stands.
func (b *Bot) approvedAlready(ctx context.Context, i interaction, ref reference.Reference, d workflows.Decision) reply {
	soon, stop := context.WithTimeout(ctx, lookBefore)
	defer stop()
	sentence := "You have approved this already."
	switch v := b.look(soon, ref, d); v.ended.State {
	case record.Ended, record.Unknown:
		return b.tellTooLate(ctx, i, i.card(), v.ended)
	case record.Open, record.Scheduled:
		sentence += " It waits for others now."
	}
	return b.tell(ctx, i, i.card(), sentence)
}

// askMore opens the modal that asks for what goes with a decision; what has ended already is said at once instead.
func (b *Bot) askMore(ctx context.Context, i interaction, ref reference.Reference, sealed, action string) reply {
	at := i.card()
	// Where Temporal does not answer soon, a rejection is asked for all the same: the submission asks Temporal again.
	soon, stop := context.WithTimeout(ctx, lookBefore)
	defer stop()
	a, err := b.Records.Read(soon, ref.WorkflowID, ref.RunID, ref.ActivityID)
	switch {
	case err == nil && (a.State == record.Ended || a.State == record.Unknown):
		return b.tellTooLate(ctx, i, at, a)
	case err != nil && action != card.ActionReject:
		return b.tell(ctx, i, at, b.unread(ref, err))
	}
	a.Round.RejectReason = ref.Reason
	return b.openForm(ctx, i, card.DecisionModal(a.Round, action, b.keep(i, sealed, action), i.atHome()))
}

// unread is what a person is told where their request could not be read, which its form needs.
func (b *Bot) unread(ref reference.Reference, err error) string {
	b.Log.Warn("read a request for its form", "workflow_id", ref.WorkflowID, "run_id", ref.RunID, "err", err)
	return "I could not read this request from Temporal just now, so nothing was done. Please try again in a moment."
}

// keep is what a modal keeps of the click that opens it.
func (b *Bot) keep(i interaction, sealed, action string) string {
	at := i.card()
	metadata, _ := json.Marshal(modal{Reference: sealed, Channel: at.Channel, TS: at.TS, Action: action, Home: i.atHome()})
	return string(metadata)
}

// submit deals with the submission of a decision's modal: person and request are checked again, for the modal may have
// stood open for hours.
func (b *Bot) submit(ctx context.Context, i interaction) reply {
	var m modal
	if err := json.Unmarshal([]byte(i.View.PrivateMetadata), &m); err != nil {
		b.Log.Warn("drop a submission", "user", i.User.ID, "err", errPayload)
		return fault(i, string(refuseReference))
	}
	at := workflows.Card{Channel: m.Channel, TS: m.TS}
	ref, roles, no, checked := b.admit(ctx, i, m.Reference)
	switch {
	case no != "" && !checked:
		return fault(i, string(no)).as(resultUnchecked)
	case no != "":
		return fault(i, string(no)).as(resultRefused)
	}
	d := workflows.Decision{
		Outcome: workflows.Approved, By: person(i), At: time.Now().UTC(), Via: workflows.ViaCard, Roles: roles, Card: at,
		Reason: card.CleanLines(i.filled(card.BlockComment).Value, card.ReasonLimit),
	}
	if m.Home {
		d.Via = workflows.ViaHome
	}
	var approves bool
	if d.Option, approves = card.Option(m.Action); !approves {
		d.Outcome = workflows.Rejected
	} else if !ref.Offers(d.Option) {
		return fault(i, string(refuseReference)).as(resultRefused)
	}
	if r, ok := b.readForm(ctx, i, ref, &d); !ok {
		return r.as(resultInvalid)
	}
	v := b.decide(ctx, ref, d)
	return b.answerForm(i, m, at, ref, d, v).as(v.result())
}

// answerForm is the reply to a submission of which that has become.
func (b *Bot) answerForm(i interaction, m modal, at workflows.Card, ref reference.Reference, d workflows.Decision, v verdict) reply {
	switch {
	case v.recorded:
		tell := func(ctx context.Context) { b.whisper(ctx, i, at, said(v, d.Outcome)) }
		return reply{ack: true, missed: tell, then: func(ctx context.Context) {
			b.heal(ctx, at, v.ended)
			if m.Home { // They look at it, whichever process they opened it with.
				b.homes.open(i.User.ID, nil)
			}
			b.afterClick(ctx, i)
		}}
	case v.unsure:
		r := fault(i, "I could not confirm your decision. Submit it again; if it was recorded after all, nothing is done twice.")
		r.then = func(ctx context.Context) {
			if again := b.look(ctx, ref, d); again.recorded {
				b.whisper(ctx, i, at, said(again, d.Outcome))
			}
		}
		return r
	case v.busy:
		return fault(i, string(refuseBusy))
	case v.changed:
		return fault(i, string(refuseChanged))
	case v.late:
		return fault(i, string(refuseLate))
	default:
		r := fault(i, tooLate(v.ended, card.Bare))
		r.then = func(ctx context.Context) { b.heal(ctx, at, v.ended) }
		return r
	}
}

// readForm puts the values that were filled in into an approval, and checks that there is what has to be. ok is false
// where there is not.
func (b *Bot) readForm(ctx context.Context, i interaction, ref reference.Reference, d *workflows.Decision) (r reply, ok bool) {
	errs := make(map[string]string)
	if d.Outcome == workflows.Rejected {
		if ref.Reason == workflows.Required && d.Reason == "" {
			errs[card.BlockComment] = "Say why."
			return faults(errs), false
		}
		return reply{}, true
	}
	a, err := b.Records.Read(ctx, ref.WorkflowID, ref.RunID, ref.ActivityID)
	switch {
	case err != nil:
		return fault(i, b.unread(ref, err)), false
	case a.State == record.Unknown:
		return fault(i, tooLate(a, card.Bare)), false
	}
	if a.Round.ApproveComment == workflows.Required && d.Reason == "" {
		errs[card.BlockComment] = "Write a comment."
	}
	for n, in := range a.Round.Inputs {
		block := card.InputBlock(n)
		value := i.filled(block).text()                        // As it was written: it is data, not what is shown.
		if card.CleanLines(value, workflows.MaxReason) == "" { // There is nothing to see.
			value = ""
		}
		if in.Type == workflows.SelectInput {
			value = card.Selected(in, value)
		}
		if !in.Fits(value) {
			errs[block] = "This has to be " + in.Wants() + "."
		}
		if d.Inputs == nil {
			d.Inputs = make(map[string]string)
		}
		d.Inputs[in.Name] = value
	}
	if len(errs) > 0 {
		return faults(errs), false
	}
	return reply{}, true
}

const (
	refuseReference refusal = "This button is not of this app, or has been changed. Ask for the request to be made again."
	refuseVersion   refusal = "This button is of another version of the app, so nothing was decided. Please click again in a moment."
	refusePlace     refusal = "This request belongs to another deployment of the app, so nothing was decided."
	refuseKey       refusal = "This button was made with a key that the app no longer has. Ask for the request to be made again."
	refuseLate      refusal = "The deadline has passed: this cannot be decided any more. The card will show it."
	refuseBusy      refusal = "I could not get to your decision in time, so nothing was decided. Please click again in a moment."
	refuseChanged   refusal = "Who may decide this has changed since you saw it, so nothing was decided. Please look at the card again."
)

// admit opens the reference and says whether the person may decide what it names, and in which roles.
func (b *Bot) admit(ctx context.Context, i interaction, sealed string) (ref reference.Reference, roles []string, no refusal, checked bool) {
	if ref, no = b.open(i, sealed); no != "" {
		return ref, nil, no, true
	}
	roles, no, checked = b.mayDecide(ctx, ref, person(i))
	if no != "" {
		b.Log.Info("refuse a click", "workflow_id", ref.WorkflowID, "activity_id", ref.ActivityID, "user", i.User.ID, "reason", string(no))
	}
	return ref, roles, no, checked
}

// open opens the reference.
func (b *Bot) open(i interaction, sealed string) (ref reference.Reference, no refusal) {
	ref, err := b.Keys.Open(sealed)
	if err != nil {
		b.Log.Warn("open a reference", "user", i.User.ID, "channel", i.Container.ChannelID, "err", err)
		switch {
		case errors.Is(err, reference.ErrUnknownKey):
			return ref, refuseKey
		case errors.Is(err, reference.ErrVersion):
			return ref, refuseVersion
		default:
			return ref, refuseReference
		}
	}
	if ref.Namespace != b.Records.Namespace {
		b.Log.Warn("refuse a reference of another namespace", "user", i.User.ID, "workflow_id", ref.WorkflowID)
		return ref, refusePlace
	}
	return ref, ""
}

// tell says a sentence to whoever clicked, before the click is acknowledged: if it does not get through, Slack's
// warning sign says at least that nothing was done, and the sentence is tried once more.
func (b *Bot) tell(ctx context.Context, i interaction, at workflows.Card, sentence string) reply {
	if b.whisper(ctx, i, at, sentence) {
		return done()
	}
	return reply{then: func(ctx context.Context) { b.whisper(ctx, i, at, sentence) }}
}

// refuse says a sentence to a person about their click or submission, and does nothing else.
func (b *Bot) refuse(ctx context.Context, i interaction, sentence string) reply {
	if i.Type == "view_submission" {
		return fault(i, sentence)
	}
	return b.tell(ctx, i, i.card(), sentence)
}

// tellTooLate says to whoever clicked too late how the request ended, and closes a card that nothing else will close.
func (b *Bot) tellTooLate(ctx context.Context, i interaction, at workflows.Card, a record.Activity) reply {
	return b.tell(ctx, i, at, tooLate(a, card.Mrkdwn)).and(func(ctx context.Context) {
		b.heal(ctx, at, a)
		b.afterClick(ctx, i)
	})
}

// openForm opens a modal for a click. Where Slack does not, nothing has happened yet, and the person is told.
func (b *Bot) openForm(ctx context.Context, i interaction, v slack.ModalViewRequest) reply {
	if err := b.Slack.OpenModal(ctx, i.TriggerID, v); err != nil {
		b.Log.Warn("open a modal", "user", i.User.ID, "channel", i.card().Channel, "err", err)
		sentence := "Slack could not open the form, so nothing was done. Please click again."
		if slackapi.AsUnauthorized(err) != nil {
			sentence = "The app's token for Slack is no longer valid, so I cannot open the form, and nothing was done. Whoever runs the app has to install it again."
		}
		return reply{then: func(ctx context.Context) { b.whisper(ctx, i, i.card(), sentence) }}
	}
	return done()
}

// fault is the reply that shows a sentence, which is text, in the modal that was submitted. It stands at the first block
// that can show one, and the modal stays open; where there is none, the sentence takes the modal's place.
// https://docs.slack.dev/surfaces/modals#displaying_errors
func fault(i interaction, sentence string) reply {
	blocks := slices.Sorted(maps.Keys(i.View.State.Values))
	if len(blocks) == 0 {
		view := card.Notified(sentence, card.Bare)
		return reply{ack: true, body: map[string]any{"response_action": "update", "view": view}}
	}
	return faults(map[string]string{blocks[0]: sentence})
}

// faults is the reply that shows sentences at blocks of the modal.
func faults(sentences map[string]string) reply {
	return reply{ack: true, body: map[string]any{"response_action": "errors", "errors": sentences}}
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
