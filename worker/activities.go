package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"countersign/internal/card"
	"countersign/internal/record"
	"countersign/internal/slackapi"
	"countersign/workflows"
)

// Activities are the steps. Each exported method is an activity of its name.
type Activities struct{ Deps }

// ComposeGreeting posts the card of a request, tells the workflow where it is, and stays open: it is completed from
// outside, by the click. https://docs.temporal.io/activity-execution#asynchronous-activity-completion
func (a *Activities) ComposeGreeting(ctx context.Context, r workflows.Round) (workflows.Decision, error) {
	info := activity.GetInfo(ctx)
	if info.IsLocalActivity {
		return workflows.Decision{}, errLocal()
	}
	posting, stop := context.WithTimeout(ctx, postWithin)
	defer stop()
	posted, err := a.postCard(posting, a.journal(ctx), info.ActivityID, r)
	switch {
	case errors.Is(err, errEnded), errors.Is(err, errCancelled):
		// It has ended, or the workflow is about to report that, and may not wait for the card's address.
		a.closeOwn(ctx, info.ActivityID, r.Request, posted.Card)
		return workflows.Decision{}, activity.ErrResultPending
	case err != nil:
		return workflows.Decision{}, failure(err)
	}
	err = a.Temporal.SignalWorkflow(ctx, info.WorkflowExecution.ID, info.WorkflowExecution.RunID,
		workflows.SignalCardPosted, workflows.CardPosted{Posted: posted, ActivityID: info.ActivityID})
	if record.NotFound(err) { // The workflow is closed, and with it the activity.
		a.closeOwn(ctx, info.ActivityID, r.Request, posted.Card)
	} else if err != nil {
		return workflows.Decision{}, failure(fmt.Errorf("tell the workflow where the card is: %w", err))
	}
	a.Log.Info("card posted", "workflow_id", info.WorkflowExecution.ID, "run_id", info.WorkflowExecution.RunID,
		"activity_id", info.ActivityID, "channel", posted.Channel)
	return workflows.Decision{}, activity.ErrResultPending
}

// AwaitDecision stays open: it is completed from outside, by the click.
// https://docs.temporal.io/activity-execution#asynchronous-activity-completion
func (a *Activities) AwaitDecision(ctx context.Context, _ workflows.Round) (workflows.Decision, error) {
	if activity.GetInfo(ctx).IsLocalActivity {
		return workflows.Decision{}, errLocal()
	}
	return workflows.Decision{}, activity.ErrResultPending
}

func errLocal() error {
	return workflows.InvalidRequestError("A local activity cannot wait for a person: schedule an ordinary one.")
}

// EndDecision reports an open activity as cancelled, because its request ended from our side. Temporal's server
// decides who was first; that a decision was is not an error.
func (a *Activities) EndDecision(ctx context.Context, in workflows.EndDecisionInput) (workflows.DecisionEnded, error) {
	info := activity.GetInfo(ctx)
	exec := info.WorkflowExecution
	open, err := a.Records.Look(ctx, exec.ID, exec.RunID, in.ActivityID)
	if err != nil {
		return workflows.DecisionEnded{}, failure(err)
	}
	var m mark
	open.Heartbeat(&m)
	err = a.Temporal.CompleteActivityByID(ctx, info.Namespace, exec.ID, exec.RunID, in.ActivityID, nil,
		temporal.NewCanceledError(in.Result(time.Time{})))
	if err != nil && !record.NotFound(err) {
		return workflows.DecisionEnded{}, failure(fmt.Errorf("report activity %s as cancelled: %w", in.ActivityID, err))
	}
	pending := open.ID == in.ActivityID && (open.State == record.Open || open.State == record.Scheduled)
	return workflows.DecisionEnded{Card: m.Card, Posting: m.Posting, Unknown: !pending}, nil
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

// cardKey names a request's card, by any of its open activities.
func (a *Activities) cardKey(ctx context.Context, workflowID, runID, activityID string) string {
	if question, _, _, ok := workflows.SplitActivityID(activityID); ok {
		activityID = question
	}
	return key("card", activity.GetInfo(ctx).Namespace, workflowID, runID, activityID)
}
