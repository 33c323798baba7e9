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
	"countersign/internal/telemetry"
	"countersign/workflows"
)

// CloseCard has a card show how its request ended. It is idempotent. Where Slack refuses for good, the log says so and
// the activity succeeds: there is nothing left to do.
func (a *Activities) CloseCard(ctx context.Context, c workflows.Closing) error {
	if c.Result.Outcome == "" {
		ended, err := a.Records.Look(ctx, c.WorkflowID, c.RunID, c.ActivityID)
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
	err := a.Slack.Update(ctx, at, msg.Text, msg.Blocks)
	if err == nil {
		telemetry.CardClosed(ctx, string(c.Result.Outcome), c.Result.EndedAt)
	}
	return a.unlessRefused(c, "close a card", err)
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

// PostLine says in a card's thread, or to one person, what has happened. It returns those whom the line mentions and who
// are not in the channel: nothing tells them. It ends with success where Slack refuses for good.
func (a *Activities) PostLine(ctx context.Context, l workflows.Line) ([]string, error) {
	posting, stop := context.WithTimeout(ctx, postWithin)
	defer stop()
	j := a.journal(ctx)
	if l.Again && j.mark == (mark{}) {
		j.mark.Posting = l.At
	}
	exec := activity.GetInfo(ctx).WorkflowExecution
	if l.WorkflowID != "" {
		exec.ID, exec.RunID = l.WorkflowID, l.RunID
	}
	m := slackapi.Message{
		Channel: l.Card.Channel, Thread: l.Card.TS, Key: key("line", exec.ID, exec.RunID, l.ActivityID, fmt.Sprint(l.Number)),
	}
	var (
		who workflows.Approvers
		msg card.Message
		err error
	)
	if l.To == "" {
		who = a.mentioned(posting, l)
		msg = card.Line(l, who)
	} else {
		msg = card.Direct(l)
		m.Thread = ""
		m.Channel, err = a.Slack.DirectMessage(posting, l.To)
	}
	m.Text, m.Blocks = msg.Text, msg.Blocks
	var posted workflows.Card
	if err == nil {
		posted, err = a.postOnce(posting, j, m)
	}
	switch {
	case posted != (workflows.Card{}):
		return a.absent(posting, l, who.Users), nil
	case errors.Is(err, errCancelled): // It is left to the closing.
		return nil, temporal.NewCanceledError()
	case errors.Is(err, errEnded):
		return nil, nil
	case slackapi.AsRefused(err) != nil:
		a.Log.Warn("slack refuses a line", "event", l.Event, "workflow_id", exec.ID, "channel", m.Channel, "err", err)
		return nil, nil
	default:
		return nil, failure(err)
	}
}

// absent are those of the people who are not in the card's channel. Where Slack does not tell, they are taken for
// present.
func (a *Activities) absent(ctx context.Context, l workflows.Line, people []string) []string {
	if l.Event != workflows.Asked && l.Event != workflows.Escalated && l.Event != workflows.Delegated {
		return nil
	}
	var (
		there = []string{l.Round.Channel}
		err   error
	)
	if !workflows.IsUser(l.Round.Channel) {
		there, err = a.Slack.InChannel(ctx, l.Card.Channel)
	}
	if err != nil {
		a.Log.Warn("look up who is in a channel: approvers who are not there are not told", "channel", l.Card.Channel, "err", err)
		return nil
	}
	return slices.DeleteFunc(slices.Clone(people), func(id string) bool { return slices.Contains(there, id) })
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
			"activity_id", c.ActivityID, "channel", c.Result.Card.Channel, "err", err)
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
