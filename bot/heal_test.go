package bot

import (
	"context"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"

	"countersign/workflows"
)

// drawing is a workspace that notes which cards are drawn.
type drawing struct {
	*fakeSlack
	cards []workflows.Card
}

func (d *drawing) Update(_ context.Context, c workflows.Card, _ string, _ []slack.Block) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cards = append(d.cards, c)
	return nil
}

// postedBy are the events of the step that posts the card of an open activity.
func postedBy(t *testing.T, activityID string, c workflows.Card) []*historypb.HistoryEvent {
	t.Helper()
	return []*historypb.HistoryEvent{
		{
			EventId: 7, EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
			Attributes: &historypb.HistoryEvent_ActivityTaskScheduledEventAttributes{
				ActivityTaskScheduledEventAttributes: &historypb.ActivityTaskScheduledEventAttributes{
					ActivityId: "7", ActivityType: &commonpb.ActivityType{Name: workflows.PostCard}, Input: payloads(t, workflows.CardInput{ActivityID: activityID}),
				},
			},
		},
		{
			EventId: 8, EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
			Attributes: &historypb.HistoryEvent_ActivityTaskCompletedEventAttributes{
				ActivityTaskCompletedEventAttributes: &historypb.ActivityTaskCompletedEventAttributes{
					ScheduledEventId: 7, Result: payloads(t, workflows.Posted{Card: c}),
				},
			},
		},
	}
}

// signalled is the event by which an open activity says where its card is.
func signalled(t *testing.T, activityID string, c workflows.Card) []*historypb.HistoryEvent {
	t.Helper()
	return []*historypb.HistoryEvent{{
		EventId: 7, EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
		Attributes: &historypb.HistoryEvent_WorkflowExecutionSignaledEventAttributes{
			WorkflowExecutionSignaledEventAttributes: &historypb.WorkflowExecutionSignaledEventAttributes{
				SignalName: workflows.SignalCardPosted,
				Input:      payloads(t, workflows.CardPosted{Posted: workflows.Posted{Card: c}, ActivityID: activityID}),
			},
		},
	}}
}

// Whoever has a button's value can have it pressed on another message of ours than the card: that message is not the
// request's, and stays as it is.
func TestHealDrawsTheCardOfTheHistory(t *testing.T) {
	t.Parallel()
	const another = "ask-2-decision-1-aaaa1111"
	own := workflows.Card{Channel: "C0OPS00001", TS: "1795176000.000200"}
	terminated := closedBy(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED)
	completed := closedBy(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED)
	join := func(all ...[]*historypb.HistoryEvent) (events []*historypb.HistoryEvent) {
		for _, some := range all {
			events = append(events, some...)
		}
		return events
	}
	for name, tc := range map[string]struct {
		history []*historypb.HistoryEvent // after the question was asked
		want    []workflows.Card
	}{
		"posted by a step":               {append(postedBy(t, openActivity, own), terminated), []workflows.Card{own}},
		"signalled":                      {append(signalled(t, openActivity, own), terminated), []workflows.Card{own}},
		"posted where it was clicked":    {append(postedBy(t, openActivity, at), terminated), []workflows.Card{at}},
		"no address":                     {[]*historypb.HistoryEvent{terminated}, []workflows.Card{at}},
		"another question's was posted":  {append(postedBy(t, another, own), terminated), []workflows.Card{at}},
		"another question's signal":      {append(signalled(t, another, own), terminated), []workflows.Card{at}},
		"decided by this person":         {join([]*historypb.HistoryEvent{decidedBy(t, bob, workflows.Approved)}, postedBy(t, openActivity, own), []*historypb.HistoryEvent{completed}), []workflows.Card{own}},
		"decided, and the workflow runs": {join([]*historypb.HistoryEvent{decidedBy(t, bob, workflows.Approved)}, postedBy(t, openActivity, own)), nil},
	} {
		for way, payload := range map[string]func(sealed string) map[string]any{
			"approves":       func(sealed string) map[string]any { return clicked(bob, "approve", sealed) },
			"rejects":        func(sealed string) map[string]any { return clicked(bob, "reject", sealed) },
			"submits a form": func(sealed string) map[string]any { return submitted(t, bob, sealed, "No.") },
		} {
			inTime(t, name+", "+way, func(t *testing.T) {
				f := &fakeTemporal{commits: []error{notFound}, histories: [][]*historypb.HistoryEvent{history(t, tc.history...)}}
				s := &drawing{fakeSlack: newSlack()}
				b, sealed := newBot(t, s.fakeSlack, f, nil)
				b.Slack = s
				if r := deliver(t, b, interactive, payload(sealed)); !r.ack {
					t.Error("not acknowledged")
				}
				if diff := gocmp.Diff(tc.want, s.cards); diff != "" {
					t.Errorf("drew (-want +got):\n%s", diff)
				}
			})
		}
	}
}
