package worker

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"countersign/internal/card"
	"countersign/internal/record"
	"countersign/internal/reference"
	"countersign/internal/slackapi"
	"countersign/workflows"
)

// Activities are the steps. Each exported method is an activity of its name.
type Activities struct{ Deps }

// IDs as Slack makes them.
var (
	channelID = regexp.MustCompile(`^[CGD][A-Z0-9]+$`)
	personID  = regexp.MustCompile(`^[UW][A-Z0-9]+$`)
	groupID   = regexp.MustCompile(`^S[A-Z0-9]+$`)
)

// PrepareRequest gives a request the deployment's defaults, and refuses one that nobody could decide or that asks for
// more than the operator allows. Its errors are of type [workflows.ErrTypeInvalidRequest] and list all that is wrong.
func (a *Activities) PrepareRequest(ctx context.Context, r workflows.Request) (workflows.Request, error) {
	if r.Approvers.Empty() { // It leaves it to the operator who decides.
		r.Approvers, r.AllowSelf = a.Policy.Approvers, a.Policy.AllowSelf
	}
	now := activity.GetInfo(ctx).ScheduledTime
	if r.ExpiresAt.IsZero() {
		r.ExpiresAt = now.Add(a.Policy.Deadline)
	}
	faults := a.Policy.faults(r)
	switch {
	case !r.ExpiresAt.After(now):
		faults = append(faults, "The deadline has passed already.")
	case r.ExpiresAt.Sub(now) > workflows.MaxDeadline:
		faults = append(faults, "The deadline is more than a year away.")
	}
	if len(faults) > 0 {
		return r, workflows.InvalidRequestError(strings.Join(faults, " "))
	}
	return r, nil
}

// faults lists what is wrong with r, as sentences.
func (p Policy) faults(r workflows.Request) (faults []string) {
	fault := func(wrong bool, format string, args ...any) {
		if wrong {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	fault(card.Clean(r.Title, card.TitleLimit) == "", "The request has no title.")
	fault(!channelID.MatchString(r.Channel), "The channel %q is not the ID of a Slack channel, like C0123456789.", r.Channel)
	fault(r.Requester != "" && !personID.MatchString(r.Requester), "The requester %q is not the ID of a Slack user, like U0123456789.", r.Requester)
	for _, id := range r.Approvers.Users {
		fault(!personID.MatchString(id), "The approver %q is not the ID of a Slack user, like U0123456789.", id)
	}
	for _, id := range r.Approvers.Groups {
		fault(!groupID.MatchString(id), "The approver %q is not the ID of a Slack user group, like S0123456789.", id)
	}
	fault(r.Approvers.Empty(), "Nobody may decide this request: set APPROVERS for the worker, or name approvers in the request.")
	fault(r.Approvers.Channel && !p.Approvers.Channel, "The worker's APPROVERS does not allow that anyone in the channel decides.")
	fault(r.AllowSelf && !p.AllowSelf, "The worker's ALLOW_SELF_APPROVAL does not allow that the requester decides.")
	others := slices.ContainsFunc(r.Approvers.Users, func(id string) bool { return id != r.Requester })
	fault(!r.Approvers.Empty() && !others && len(r.Approvers.Groups) == 0 && !r.Approvers.Channel && !r.AllowSelf,
		"The only approver is the requester, who may not decide their own request.")
	return faults
}

// ComposeGreeting posts the card of a request, tells the workflow where it is, and stays open: it is completed from
// outside, by the click. https://docs.temporal.io/activity-execution#asynchronous-activity-completion
func (a *Activities) ComposeGreeting(ctx context.Context, r workflows.Request) (workflows.Decision, error) {
	info := activity.GetInfo(ctx)
	if info.IsLocalActivity {
		return workflows.Decision{}, workflows.InvalidRequestError("A local activity cannot wait for a person: schedule an ordinary one.")
	}
	posting, stop := context.WithTimeout(ctx, postWithin)
	defer stop()
	posted, err := a.postCard(posting, a.journal(ctx), info.ActivityID, r)
	switch {
	case errors.Is(err, errEnded), errors.Is(err, errCancelled):
		// It has ended, or the workflow is about to report that, and may not wait for the card's address.
		a.closeOwn(ctx, info.ActivityID, r, posted)
		return workflows.Decision{}, activity.ErrResultPending
	case err != nil:
		return workflows.Decision{}, failure(err)
	}
	err = a.Temporal.SignalWorkflow(ctx, info.WorkflowExecution.ID, info.WorkflowExecution.RunID,
		workflows.SignalCardPosted, workflows.CardPosted{Card: posted, ActivityID: info.ActivityID})
	if isNotFound(err) { // The workflow is closed, and with it the activity.
		a.closeOwn(ctx, info.ActivityID, r, posted)
	} else if err != nil {
		return workflows.Decision{}, failure(fmt.Errorf("tell the workflow where the card is: %w", err))
	}
	a.Log.Info("card posted", "workflow_id", info.WorkflowExecution.ID, "run_id", info.WorkflowExecution.RunID,
		"activity_id", info.ActivityID, "channel", posted.Channel)
	return workflows.Decision{}, activity.ErrResultPending
}

// PostCard makes sure that an open activity has a card, where its own attempt may have died before posting one. It
// leaves an attempt alone that may still post. A zero card says that the activity has ended.
func (a *Activities) PostCard(ctx context.Context, in workflows.PostCardInput) (workflows.Card, error) {
	info := activity.GetInfo(ctx)
	open, err := record.Look(ctx, a.Temporal, info.WorkflowExecution.ID, info.WorkflowExecution.RunID, in.ActivityID)
	if err != nil {
		return workflows.Card{}, failure(err)
	}
	var m mark
	open.Heartbeat(&m)
	switch {
	case open.State == record.Scheduled: // Temporal is retrying it.
		return workflows.Card{}, later(workflows.LostAfter/4, "another attempt will post the card", nil)
	case open.State != record.Open:
		return workflows.Card{}, nil
	case m.Card != (workflows.Card{}):
		return m.Card, nil
	}
	// Both times are the server's.
	if left := workflows.LostAfter - info.StartedTime.Sub(open.StartedAt); left > 0 {
		return workflows.Card{}, later(left, "an attempt to post the card may still be under way", nil)
	}
	a.Log.Warn("an attempt died before its card was posted, or before it could say so",
		"workflow_id", info.WorkflowExecution.ID, "run_id", info.WorkflowExecution.RunID, "activity_id", in.ActivityID)
	posting, stop := context.WithTimeout(ctx, postWithin)
	defer stop()
	posted, err := a.postCard(posting, a.journalOf(ctx, in.ActivityID, m), in.ActivityID, in.Request)
	switch {
	case errors.Is(err, errEnded), errors.Is(err, errCancelled):
		a.closeOwn(ctx, in.ActivityID, in.Request, posted)
		return posted, nil
	case err != nil:
		return workflows.Card{}, failure(err)
	default:
		return posted, nil
	}
}

// postCard posts the card of the activity, once.
func (a *Activities) postCard(ctx context.Context, j *journal, activityID string, r workflows.Request) (workflows.Card, error) {
	if j.mark.Card != (workflows.Card{}) {
		return j.mark.Card, nil
	}
	if faults := a.Policy.faults(r); len(faults) > 0 {
		return workflows.Card{}, workflows.InvalidRequestError(strings.Join(faults, " "))
	}
	if err := a.checkApprovers(ctx, r.Approvers); err != nil {
		return workflows.Card{}, err
	}
	info := activity.GetInfo(ctx)
	exec := info.WorkflowExecution
	sealed, err := a.Keys.Seal(reference.Reference{
		Namespace:  info.Namespace,
		WorkflowID: exec.ID,
		RunID:      exec.RunID,
		ActivityID: activityID,
		Requester:  r.Requester,
		Users:      r.Approvers.Users,
		Groups:     r.Approvers.Groups,
		Channel:    r.Approvers.Channel,
		AllowSelf:  r.AllowSelf,
		Digest:     r.Digest(),
	})
	var long *reference.TooLongError
	if errors.As(err, &long) {
		return workflows.Card{}, workflows.InvalidRequestError("The request does not fit into a Slack button: " + long.Error() + ".")
	}
	if err != nil {
		return workflows.Card{}, err
	}
	msg := card.Open(r, 1, sealed)
	return a.postOnce(ctx, j, slackapi.Message{
		Channel: r.Channel, Text: msg.Text, Blocks: msg.Blocks, Key: a.cardKey(ctx, exec.ID, exec.RunID, activityID),
	})
}

// checkApprovers refuses people and groups who could never decide, so that the fault shows when the question is asked
// and not when nobody answers it.
func (a *Activities) checkApprovers(ctx context.Context, who workflows.Approvers) error {
	var faults []string
	for _, id := range who.Users {
		p, err := a.Slack.Person(ctx, id)
		e := slackapi.AsRefused(err)
		switch {
		case e != nil && e.Code == "user_not_found":
			faults = append(faults, fmt.Sprintf("There is no person %s in this workspace.", id))
		case err != nil:
			return err
		case p.Deactivated || p.Bot || p.Team != a.Slack.Self().Team:
			faults = append(faults, fmt.Sprintf("The approver %s cannot decide: only active people of this workspace can.", id))
		}
	}
	for _, id := range who.Groups {
		members, err := a.Slack.Members(ctx, id)
		e := slackapi.AsRefused(err)
		switch {
		case e != nil && (e.Code == "no_such_subteam" || e.Code == "subteam_not_found"):
			faults = append(faults, fmt.Sprintf("There is no user group %s in this workspace.", id))
		case err != nil:
			return err
		case len(members) == 0:
			faults = append(faults, fmt.Sprintf("The user group %s has no members.", id))
		}
	}
	if len(faults) > 0 {
		return workflows.InvalidRequestError(strings.Join(faults, " "))
	}
	return nil
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

// EndDecision reports an open activity as cancelled, because its request ended from our side. Temporal's server
// decides who was first; that a decision was is not an error.
func (a *Activities) EndDecision(ctx context.Context, in workflows.EndDecisionInput) (workflows.DecisionEnded, error) {
	info := activity.GetInfo(ctx)
	exec := info.WorkflowExecution
	open, err := record.Look(ctx, a.Temporal, exec.ID, exec.RunID, in.ActivityID)
	if err != nil {
		return workflows.DecisionEnded{}, failure(err)
	}
	var m mark
	open.Heartbeat(&m)
	err = a.Temporal.CompleteActivityByID(ctx, info.Namespace, exec.ID, exec.RunID, in.ActivityID, nil,
		temporal.NewCanceledError(workflows.Result{Outcome: in.Outcome}))
	if err != nil && !isNotFound(err) {
		return workflows.DecisionEnded{}, failure(fmt.Errorf("report activity %s as cancelled: %w", in.ActivityID, err))
	}
	pending := open.State == record.Open || open.State == record.Scheduled
	return workflows.DecisionEnded{Card: m.Card, Posting: m.Posting, Unknown: !pending}, nil
}

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
		found, ok, err := a.Slack.Find(ctx, slackapi.Message{
			Channel: c.Request.Channel, Key: a.cardKey(ctx, c.WorkflowID, c.RunID, c.ActivityID),
		}, c.Posting)
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

// TellRequester tells the requester how their request ended: in the card's thread, or, where there is no card, in a
// direct message. It ends with success where Slack refuses for good.
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
	note := card.Notice(c.Request, c.Result)
	msg := slackapi.Message{
		Channel: c.Result.Card.Channel, Thread: c.Result.Card.TS, Text: note.Text, Blocks: note.Blocks,
		Key: key("tell", c.WorkflowID, c.RunID, c.ActivityID),
	}
	if msg.Thread != "" && !j.mark.Direct {
		_, err := a.postOnce(posting, j, msg)
		if e := slackapi.AsRefused(err); e == nil {
			return failure(err)
		}
		a.Log.Info("tell the requester in a direct message: Slack refused the thread", "channel", msg.Channel, "err", err)
		j.mark = begin
	}
	j.mark.Direct = true
	direct, err := a.Slack.DirectMessage(posting, c.Request.Requester)
	if err == nil {
		msg.Channel, msg.Thread = direct, ""
		_, err = a.postOnce(posting, j, msg)
	}
	return a.unlessRefused(c, "tell the requester", err)
}

// GreetingKey names the message in Slack that is a run's greeting.
func GreetingKey(namespace, workflowID, runID string) string {
	return key("greeting", namespace, workflowID, runID)
}

// PostGreeting posts an approved greeting.
func (a *Activities) PostGreeting(ctx context.Context, g workflows.GreetingMessage) error {
	posting, stop := context.WithTimeout(ctx, postWithin)
	defer stop()
	info := activity.GetInfo(ctx)
	msg := card.Plain(g.Text)
	_, err := a.postOnce(posting, a.journal(ctx), slackapi.Message{
		Channel: g.Channel, Text: msg.Text, Blocks: msg.Blocks,
		Key: GreetingKey(info.Namespace, info.WorkflowExecution.ID, info.WorkflowExecution.RunID),
	})
	return failure(err)
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

func (a *Activities) cardKey(ctx context.Context, workflowID, runID, activityID string) string {
	return key("card", activity.GetInfo(ctx).Namespace, workflowID, runID, activityID)
}

// isNotFound tells Temporal's answer that a workflow or an activity is not open.
func isNotFound(err error) bool {
	var nf *serviceerror.NotFound
	return errors.As(err, &nf)
}
