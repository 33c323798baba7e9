package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"countersign/internal/card"
	"countersign/internal/record"
	"countersign/internal/slackapi"
	"countersign/workflows"
)

// CloseCard has a card show how its request ended. It is idempotent. Where Slack refuses for good, the log says so and
// the activity succeeds: there is nothing left to do.
func (a *Activities) CloseCard(ctx context.Context, c workflows.Closing) error {
	if c.Result.Outcome == "" {
		ended, err := record.Look(ctx, a.Temporal, c.WorkflowID, c.RunID, c.ActivityID)
		switch {
		case err != nil:
			return failure(err)
		case ended.State == record.Unknown:
			return nil // Nobody knows what to draw.
		case ended.State != record.Ended:
			return later(time.Duration(min(activity.GetInfo(ctx).Attempt, 30))*time.Second, "the end is not in the history yet", nil)
		}
		ended.Result.Card = c.Result.Card
		c.Result = ended.Result
	}
	at := c.Result.Card
	if at == (workflows.Card{}) {
		channel, err := a.channel(ctx, c.Request.Channel)
		var (
			found workflows.Card
			ok    bool
		)
		if err == nil {
			found, ok, err = a.Slack.Find(ctx, slackapi.Message{
				Channel: channel, Key: a.cardKey(ctx, c.WorkflowID, c.RunID, c.ActivityID),
			}, c.Posting)
		}
		if err != nil {
			return a.unlessRefused(c, "look for a card that may have been posted", err)
		}
		if !ok {
			return nil
		}
		at = found
	}
	msg := card.Closed(c.Request, c.Result)
	return a.unlessRefused(c, "close a card", a.Slack.Update(ctx, at, msg.Text, msg.Blocks))
}

// TellRequester says how a request ended: in the card's thread, or, where there is no card or c says so, in a direct
// message to the requester. It ends with success where Slack refuses for good.
func (a *Activities) TellRequester(ctx context.Context, c workflows.Closing) error {
	posting, stop := context.WithTimeout(ctx, postWithin)
	defer stop()
	j := a.journal(ctx)
	begin := mark{}
	if c.Again {
		begin.Posting = c.Result.EndedAt
	}
	if j.mark == (mark{}) {
		j.mark = begin
	}
	direct := c.TellDirectly || c.Result.Card == (workflows.Card{})
	name := "tell"
	if c.TellDirectly {
		name = "tell directly"
	}
	note := card.Notice(c.Request, c.Result, direct)
	msg := slackapi.Message{
		Channel: c.Result.Card.Channel, Thread: c.Result.Card.TS, Text: note.Text, Blocks: note.Blocks,
		Key: key(name, c.WorkflowID, c.RunID, c.ActivityID),
	}
	if !direct && !j.mark.Direct {
		_, err := a.postOnce(posting, j, msg)
		if e := slackapi.AsRefused(err); e == nil {
			return failure(err)
		}
		if c.Request.Requester == "" || c.Request.TellRequester { // They are told in another way, if at all.
			return a.unlessRefused(c, "say how a request ended", err)
		}
		note = card.Notice(c.Request, c.Result, true)
		msg.Text, msg.Blocks = note.Text, note.Blocks
		a.Log.Info("tell the requester in a direct message: Slack refused the thread", "channel", msg.Channel, "err", err)
		j.mark = begin
	}
	j.mark.Direct = true
	channel, err := a.Slack.DirectMessage(posting, c.Request.Requester)
	if err == nil {
		msg.Channel, msg.Thread = channel, ""
		_, err = a.postOnce(posting, j, msg)
	}
	return a.unlessRefused(c, "tell the requester", err)
}

// PostLine says in a card's thread what has happened. It ends with success where Slack refuses for good.
func (a *Activities) PostLine(ctx context.Context, l workflows.Line) error {
	posting, stop := context.WithTimeout(ctx, postWithin)
	defer stop()
	j := a.journal(ctx)
	if l.Again && j.mark == (mark{}) {
		j.mark.Posting = l.At
	}
	msg := card.Line(l, a.mentioned(posting, l))
	exec := activity.GetInfo(ctx).WorkflowExecution
	posted, err := a.postOnce(posting, j, slackapi.Message{
		Channel: l.Card.Channel, Thread: l.Card.TS, Text: msg.Text, Blocks: msg.Blocks,
		Key: key("line", exec.ID, exec.RunID, l.ActivityID, fmt.Sprint(l.Number)),
	})
	switch {
	case posted != (workflows.Card{}):
		return nil
	case errors.Is(err, errCancelled): // It is left to the closing.
		return temporal.NewCanceledError()
	case errors.Is(err, errEnded):
		return nil
	case slackapi.AsRefused(err) != nil:
		a.Log.Warn("slack refuses a line in a thread", "event", l.Event, "workflow_id", exec.ID, "channel", l.Card.Channel, "err", err)
		return nil
	default:
		return failure(err)
	}
}

// mentioned are the people whom a line calls: those who may decide and have not. Of a group of which somebody has, or
// may not, they are mentioned one by one.
func (a *Activities) mentioned(ctx context.Context, l workflows.Line) workflows.Approvers {
	const most = 20 // of a group
	r := l.Round
	who := r.Waiting()
	if last := len(r.Changes) - 1; last >= 0 {
		switch c := r.Changes[last]; l.Event {
		case workflows.Escalated:
			who = c.Approvers
		case workflows.Delegated:
			who = workflows.Approvers{Users: []string{c.To}}
		}
	}
	done := func(id string) bool { return !r.CanDecide(id) }
	who.Users = slices.DeleteFunc(slices.Clone(who.Users), done)
	var groups []string
	for _, group := range who.Groups {
		members, err := a.Slack.Members(ctx, group)
		if err != nil || len(members) > most || !slices.ContainsFunc(members, done) {
			groups = append(groups, group)
			continue
		}
		for _, id := range members {
			if !done(id) && !slices.Contains(who.Users, id) {
				who.Users = append(who.Users, id)
			}
		}
	}
	who.Groups = groups
	return who
}

// unlessRefused is the error of a step of closing: none where Slack refused for good.
func (a *Activities) unlessRefused(c workflows.Closing, doing string, err error) error {
	if e := slackapi.AsRefused(err); e != nil {
		a.Log.Warn("slack refuses for good", "doing", doing, "workflow_id", c.WorkflowID, "run_id", c.RunID,
			"activity_id", c.ActivityID, "channel", c.Request.Channel, "err", err)
		return nil
	}
	return failure(err)
}

// closeOwn has a card closed whose request ended while it was being posted: no workflow may be waiting for its address
// any more. A workflow of its own does it, for the end may take a while to show in the history, and Slack may be away.
func (a *Activities) closeOwn(ctx context.Context, activityID string, r workflows.Request, posted workflows.Card) {
	if posted == (workflows.Card{}) {
		return
	}
	info := activity.GetInfo(ctx)
	exec := info.WorkflowExecution
	_, err := a.Temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:        "close-" + a.cardKey(ctx, exec.ID, exec.RunID, activityID),
		TaskQueue: info.TaskQueue,
	}, workflows.CloseCardLater, workflows.Closing{
		CloseCard: true, WorkflowID: exec.ID, RunID: exec.RunID, ActivityID: activityID, Request: r,
		Result: workflows.Result{Card: posted},
	})
	if err != nil {
		a.Log.Error("leave a card to a workflow of its own: it stays open until somebody clicks it", "workflow_id", exec.ID,
			"run_id", exec.RunID, "activity_id", activityID, "channel", posted.Channel, "err", err)
	}
}
