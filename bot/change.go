package bot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"countersign/internal/card"
	"countersign/internal/record"
	"countersign/internal/reference"
	"countersign/internal/telemetry"
	"countersign/workflows"
)

// menu deals with what was chosen in a card's menu.
func (b *Bot) menu(ctx context.Context, i interaction, chosen workflows.ChangeKind, sealed string) reply {
	ref, no := b.open(i, sealed)
	switch {
	case no != "":
	case chosen == card.MenuShow:
		no = b.belongs(ctx, person(i), true)
	default:
		no = b.mayChange(ctx, ref, person(i))
	}
	switch {
	case no != "":
		b.Log.Info("refuse the menu", "workflow_id", ref.WorkflowID, "change", chosen, "user", i.User.ID, "reason", string(no))
		return b.tell(ctx, i, i.card(), string(no))
	case chosen == card.MenuShow:
		return b.tell(ctx, i, i.card(), "The ID of this request is "+card.ID(ref.WorkflowID)+": `/approval help` says what to do with it.")
	case chosen == workflows.Withdraw && i.User.ID != ref.Requester:
		return b.tell(ctx, i, i.card(), "Only who asked for this can withdraw it.")
	}
	metadata := b.keep(i, sealed, string(chosen))
	switch chosen {
	case workflows.Delegate:
		return b.openForm(ctx, i, card.DelegateModal(metadata))
	case workflows.Extend, workflows.Escalate, workflows.Withdraw:
	default:
		return b.tell(ctx, i, i.card(), "This menu is of another version of the app, so nothing was changed. Please choose again in a moment.")
	}
	soon, stop := context.WithTimeout(ctx, lookBefore)
	defer stop()
	a, err := b.Records.Read(soon, ref.WorkflowID, ref.RunID, ref.ActivityID)
	_, more := a.Round.NextEscalation()
	switch {
	case err != nil:
		return b.tell(ctx, i, i.card(), b.unread(ref, err))
	case a.State == record.Ended || a.State == record.Unknown:
		return b.tellTooLate(ctx, i, i.card(), a)
	case chosen == workflows.Extend:
		return b.openForm(ctx, i, card.ExtendModal(a.Round, metadata))
	case chosen == workflows.Escalate && !more:
		return b.tell(ctx, i, i.card(), "There is nobody else to escalate this to.")
	default:
		return b.openForm(ctx, i, card.ChangeModal(chosen, a.Round, metadata))
	}
}

// changeByClick makes a change for which a click is enough, as Slack has asked whether the person is sure.
func (b *Bot) changeByClick(ctx context.Context, i interaction, ref reference.Reference, c workflows.Change) reply {
	at := i.card()
	if _, no := b.change(ctx, ref, c, i.TriggerID); no != "" {
		return b.tell(ctx, i, at, string(no)).and(func(ctx context.Context) { b.afterClick(ctx, i) })
	}
	return done().and(func(ctx context.Context) { b.afterClick(ctx, i) })
}

// submitChange deals with the submission of a modal that asks to whom, for how long, or only whether.
func (b *Bot) submitChange(ctx context.Context, i interaction) reply {
	var m modal
	if err := json.Unmarshal([]byte(i.View.PrivateMetadata), &m); err != nil {
		b.Log.Warn("drop a submission", "user", i.User.ID, "err", errPayload)
		return fault(i, string(refuseReference))
	}
	ref, no := b.open(i, m.Reference)
	if no != "" {
		return fault(i, string(no))
	}
	c := workflows.Change{Kind: workflows.ChangeKind(m.Action), By: person(i), Via: workflows.ViaCard}
	switch i.View.CallbackID {
	case card.CallbackDelegate:
		c.Kind, c.To = workflows.Delegate, i.filled(card.BlockPerson).User
	case card.CallbackExtend:
		c.Kind, c.Longer = workflows.Extend, workflows.Duration(i.filled(card.BlockLonger).text())
	}
	if _, no := b.change(ctx, ref, c, i.View.ID); no != "" {
		return fault(i, string(no))
	}
	return done().and(func(ctx context.Context) { b.afterClick(ctx, i) })
}

// acceptedTooLate is the type of the server's error for an Update that was accepted and not done when the workflow ended.
const acceptedTooLate = "AcceptedUpdateCompletedWorkflow"

// change changes an open request, in the name of c.By, and returns it as it stands then. cause is unique to what the
// person did: the same cause changes nothing twice. https://docs.temporal.io/sending-messages#sending-updates
func (b *Bot) change(ctx context.Context, ref reference.Reference, c workflows.Change, cause string) (l workflows.Listed, no refusal) {
	who, named := ref.Who(), isNamed(ref, c.By.ID)
	if no := b.belongs(ctx, c.By, named || ref.AllowGuests); no != "" {
		return l, no
	}
	if c.Kind == workflows.Delegate && c.To != "" {
		if no := b.mayReplace(ctx, c.To, ref.AllowGuests); no != "" {
			return l, no
		}
	}
	if !named && (c.Kind == workflows.Extend || c.Kind == workflows.Escalate) {
		for _, group := range who.Groups {
			switch in, err := b.isMember(ctx, group, c.By.ID); {
			case err != nil:
				return l, refuseUncheckedChange
			case in:
				c.Groups = append(c.Groups, group)
			}
		}
	}
	c.Question, _, _, _ = workflows.SplitActivityID(ref.ActivityID)
	// A form that was refused stays open, and can be sent again with something else in it.
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", []string{cause, string(c.Kind), c.To, string(c.Longer)}))
	ctx = telemetry.Proceed(ctx, ref.Trace)
	u, err := b.Temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		UpdateID: hex.EncodeToString(sum[:]), WorkflowID: ref.WorkflowID, RunID: ref.RunID,
		UpdateName: workflows.UpdateChange, Args: []any{c}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err == nil {
		err = u.Get(ctx, &l)
	}
	var app *temporal.ApplicationError
	switch {
	case err == nil:
		b.Log.Info("request changed", "workflow_id", ref.WorkflowID, "run_id", ref.RunID, "change", c.Kind, "user", c.By.ID)
		return l, ""
	case errors.As(err, &app) && app.Type() == workflows.ErrTypeNotChanged:
		b.Log.Info("refuse a change", "workflow_id", ref.WorkflowID, "change", c.Kind, "user", c.By.ID, "reason", app.Message())
		return l, refusal(app.Message())
	case record.NotFound(err), app != nil && app.Type() == acceptedTooLate:
		a, err := b.Records.Look(ctx, ref.WorkflowID, ref.RunID, ref.ActivityID)
		if err == nil {
			return l, refusal(tooLate(a, card.Bare))
		}
		return l, "This request is not open any more."
	default:
		b.Log.Warn("change a request", "workflow_id", ref.WorkflowID, "run_id", ref.RunID, "change", c.Kind, "user", c.By.ID, "err", err)
		return l, "I could not confirm that with Temporal. Look at the card in a moment; if it has not changed, please try again."
	}
}

// mayReplace says whether a person may be given an approver's place.
func (b *Bot) mayReplace(ctx context.Context, id string, guests bool) refusal {
	p, err := b.Slack.Person(ctx, id)
	switch {
	case err != nil:
		b.Log.Warn("look up a person", "user", id, "err", err)
		return "I could not check with Slack who that is, so nothing was changed. Please try again in a moment."
	case !p.ActiveIn(b.Team):
		return "Only active people of this workspace can decide requests: choose somebody else."
	case p.Guest && !guests:
		return "Guests can decide only where they are named as approvers: choose somebody else."
	default:
		return ""
	}
}
