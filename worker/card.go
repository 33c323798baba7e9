package worker

import (
	"context"
	"errors"

	"go.temporal.io/sdk/activity"

	"countersign/internal/card"
	"countersign/internal/record"
	"countersign/internal/reference"
	"countersign/internal/slackapi"
	"countersign/internal/telemetry"
	"countersign/workflows"
)

// PostCard posts the card of an open activity, once. Where in.Instead is true it makes sure that the activity has a
// card which posts its own, for the attempt may have died before: it leaves an attempt alone that may still post. A
// zero card says that the activity has ended.
func (a *Activities) PostCard(ctx context.Context, in workflows.CardInput) (workflows.Posted, error) {
	j := a.journal(ctx)
	if in.Instead {
		m, err := a.lost(ctx, in.ActivityID)
		if m == nil || err != nil {
			return workflows.Posted{}, err
		}
		j = a.journalOf(ctx, in.ActivityID, *m)
	}
	posting, stop := context.WithTimeout(ctx, postWithin)
	defer stop()
	posted, err := a.postCard(posting, j, in.ActivityID, in.Round)
	switch {
	case errors.Is(err, errEnded), errors.Is(err, errCancelled):
		// The request has ended meanwhile, and the workflow may not wait for the card's address.
		a.closeOwn(ctx, in.ActivityID, in.Round.Request, posted.Card)
		return posted, nil
	case err != nil:
		return workflows.Posted{}, failure(err)
	default:
		exec := activity.GetInfo(ctx).WorkflowExecution
		a.Log.Info("card posted", "workflow_id", exec.ID, "run_id", exec.RunID, "activity_id", in.ActivityID, "channel", posted.Channel)
		return posted, nil
	}
}

// lost returns the mark that an open activity's attempt left: it has posted the card, or is lost and nobody else will.
// Nil says that the activity has ended; an error, that it is too early to tell.
func (a *Activities) lost(ctx context.Context, activityID string) (*mark, error) {
	info := activity.GetInfo(ctx)
	open, err := a.Records.Look(ctx, info.WorkflowExecution.ID, info.WorkflowExecution.RunID, activityID)
	if err != nil {
		return nil, failure(err)
	}
	var m mark
	open.Heartbeat(&m)
	switch {
	case open.ID != activityID:
		return nil, nil
	case open.State == record.Scheduled: // Temporal is retrying it.
		return nil, later(workflows.LostAfter/4, "another attempt will post the card", nil)
	case open.State != record.Open:
		return nil, nil
	case m.Card != (workflows.Card{}):
		return &m, nil
	}
	// Both times are the server's.
	if left := workflows.LostAfter - info.StartedTime.Sub(open.StartedAt); left > 0 {
		return nil, later(left, "an attempt to post the card may still be under way", nil)
	}
	a.Log.Warn("an attempt died before its card was posted, or before it could say so",
		"workflow_id", info.WorkflowExecution.ID, "run_id", info.WorkflowExecution.RunID, "activity_id", activityID)
	return &m, nil
}

// RedrawCard has a card show the round as it stands, with buttons for its activity. It is idempotent.
func (a *Activities) RedrawCard(ctx context.Context, in workflows.CardInput) (workflows.Posted, error) {
	sealed, err := a.seal(ctx, in.ActivityID, in.Round)
	if err != nil {
		return workflows.Posted{}, err
	}
	msg := card.Open(in.Round, sealed)
	if err := a.Slack.Update(ctx, in.Card, msg.Text, msg.Blocks); err != nil {
		return workflows.Posted{}, failure(err)
	}
	return workflows.Posted{Card: in.Card, Names: a.names(ctx, in.Round)}, nil
}

// postCard posts the card of the activity, once.
func (a *Activities) postCard(ctx context.Context, j *journal, activityID string, r workflows.Round) (workflows.Posted, error) {
	at, err := j.mark.Card, error(nil)
	if at == (workflows.Card{}) {
		at, err = a.postNewCard(ctx, j, activityID, r)
	}
	if at == (workflows.Card{}) {
		return workflows.Posted{}, err
	}
	posted := workflows.Posted{Card: at, Names: a.names(ctx, r), Trace: telemetry.Parent(ctx)}
	var e error
	if posted.Permalink, e = a.Slack.Permalink(ctx, at); e != nil {
		a.Log.Warn("ask for a card's permalink", "channel", at.Channel, "err", e)
	}
	return posted, err
}

func (a *Activities) postNewCard(ctx context.Context, j *journal, activityID string, r workflows.Round) (workflows.Card, error) {
	if faults := a.Policy.faults(r.Request); len(faults) > 0 {
		return workflows.Card{}, invalid(faults)
	}
	if err := a.checkApprovers(ctx, r); err != nil {
		return workflows.Card{}, err
	}
	if err := a.checkSpace(ctx, activityID, last(r)); err != nil {
		return workflows.Card{}, err
	}
	sealed, err := a.seal(ctx, activityID, r)
	if err != nil {
		return workflows.Card{}, err
	}
	channel, err := a.channel(ctx, r.Channel)
	if err != nil {
		return workflows.Card{}, err
	}
	exec := activity.GetInfo(ctx).WorkflowExecution
	msg := card.Open(r, sealed)
	return a.postOnce(ctx, j, slackapi.Message{
		Channel: channel, Text: msg.Text, Blocks: msg.Blocks, Key: a.cardKey(ctx, exec.ID, exec.RunID, activityID),
	})
}

// checkSpace refuses a request of which a reference may become too long for a button: r is the round as it can become.
func (a *Activities) checkSpace(ctx context.Context, activityID string, r workflows.Round) error {
	ref := a.reference(ctx, activityID, r, most(workflows.Count(r.Wanted())-1))
	if who := r.Who(); len(who.Users) > 0 && (len(who.Groups) > 0 || who.Channel) {
		ref.Gone = most(workflows.MaxHandedOver)
	}
	_, err := a.sealed(ref)
	return err
}

// seal makes the reference to the activity of this workflow.
func (a *Activities) seal(ctx context.Context, activityID string, r workflows.Round) (string, error) {
	return a.sealed(a.reference(ctx, activityID, r, r.Counted()))
}

func (a *Activities) reference(ctx context.Context, activityID string, r workflows.Round, counted []string) reference.Reference {
	info := activity.GetInfo(ctx)
	ref := reference.Of(info.Namespace, info.WorkflowExecution.ID, info.WorkflowExecution.RunID, activityID, r, r.Digest(), counted)
	ref.Trace = telemetry.Parent(ctx)
	return ref
}

func (a *Activities) sealed(ref reference.Reference) (string, error) {
	sealed, err := a.Keys.Seal(ref)
	var long *reference.TooLongError
	if errors.As(err, &long) && ref.Trace != "" { // A request is worth more than its trace.
		ref.Trace = ""
		sealed, err = a.Keys.Seal(ref)
	}
	if errors.As(err, &long) {
		return "", workflows.InvalidRequestError("The request does not fit into a Slack button: " + long.Error() + ".")
	}
	return sealed, err
}

// channel is the channel that a request is asked in: where it names a person, their direct message.
func (a *Activities) channel(ctx context.Context, id string) (string, error) {
	if !workflows.IsUser(id) {
		return id, nil
	}
	return a.Slack.DirectMessage(ctx, id)
}

// names are what those who may decide are called, where Slack tells that.
func (a *Activities) names(ctx context.Context, r workflows.Round) map[string]string {
	const most = 10 // that operators are shown
	names := make(map[string]string)
	who := r.Who()
	for _, id := range who.Users[:min(len(who.Users), most)] {
		if p, err := a.Slack.Person(ctx, id); err == nil {
			names[id] = p.Name
		}
	}
	if len(who.Groups) > 0 {
		groups, err := a.Slack.Groups(ctx)
		if err != nil {
			a.Log.Debug("look up the names of user groups", "err", err)
		}
		for _, id := range who.Groups {
			if g, ok := groups[id]; ok {
				names[id] = g.Handle
			}
		}
	}
	return names
}
