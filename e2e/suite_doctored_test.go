package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/types/known/timestamppb"

	"countersign/internal/slacksim"
	"countersign/workflows"
)

// sound is the evidence of one request that ann approved, with which nothing is wrong. bert came too late and was told so.
type sound struct {
	evidence
	ann, bert *actor
	request   *asked
	at        time.Time
}

func newSound() *sound {
	sim := slacksim.New(slacksim.Options{})
	s := &sound{at: time.Now().Add(-time.Hour).Truncate(time.Second)}
	s.ann = &actor{Person: sim.AddPerson(slacksim.User{Name: "ann"}), name: "ann", outcome: workflows.Approved}
	s.bert = &actor{Person: sim.AddPerson(slacksim.User{Name: "bert"}), name: "bert", outcome: workflows.Rejected}
	s.request = &asked{n: 1, id: "faults-7-0001", label: "Request 0001 of 7", kind: race, channel: "C1", actors: []*actor{s.ann, s.bert}}
	s.asked = []*asked{s.request}
	s.slack.Messages = []slacksim.Message{
		{
			Channel: "C1", TS: s.stamp(0), Bot: true, Metadata: &slacksim.Metadata{EventPayload: map[string]any{"key": "card"}},
			Text: fmt.Sprintf("Approved: Request 0001 of 7. Approved by <@%s> on <!date^1|then>.", s.ann.ID()),
		},
		s.line("Approved"),
		{Channel: "C1", TS: s.stamp(11), To: s.bert.ID(), Text: "Too late."},
	}
	made := s.says("approved", s.ann)
	s.histories = map[string][]*historypb.HistoryEvent{s.request.id: {
		s.opened(1),
		{EventId: 2, EventTime: s.time(5), Attributes: &historypb.HistoryEvent_ActivityTaskCompletedEventAttributes{
			ActivityTaskCompletedEventAttributes: &historypb.ActivityTaskCompletedEventAttributes{ScheduledEventId: 1, Result: payload(made)},
		}},
		s.result(`{"outcome":"approved","decisions":[` + made + `]}`),
	}}
	s.clicks = []*click{
		s.clicked(s.ann, 5, slacksim.Delivery{Acked: true}),
		s.clicked(s.bert, 10, slacksim.Delivery{Acked: true}),
	}
	return s
}

func (s *sound) time(second int) *timestamppb.Timestamp {
	return timestamppb.New(s.at.Add(time.Duration(second) * time.Second))
}

func (s *sound) stamp(second int) string {
	return fmt.Sprintf("%d.000000", s.time(second).GetSeconds())
}

// line is one in the card's thread.
func (s *sound) line(text string) slacksim.Message {
	return slacksim.Message{
		Channel: "C1", TS: s.stamp(6), ThreadTS: s.stamp(0), Bot: true, Text: text,
		Metadata: &slacksim.Metadata{EventPayload: map[string]any{"key": "line"}},
	}
}

// says is a decision's JSON.
func (s *sound) says(outcome string, by *actor) string {
	return fmt.Sprintf(`{"outcome":%q,"by":{"id":%q}}`, outcome, by.ID())
}

func payload(json string) *commonpb.Payloads {
	return &commonpb.Payloads{Payloads: []*commonpb.Payload{{Data: []byte(json)}}}
}

func (s *sound) opened(id int64) *historypb.HistoryEvent {
	return &historypb.HistoryEvent{EventId: id, EventTime: s.time(1), Attributes: &historypb.HistoryEvent_ActivityTaskScheduledEventAttributes{
		ActivityTaskScheduledEventAttributes: &historypb.ActivityTaskScheduledEventAttributes{
			ActivityId: fmt.Sprintf("abc-1-decision-%d-0123", id), ActivityType: &commonpb.ActivityType{Name: workflows.AwaitDecision},
		},
	}}
}

// rejected is the failure of the open activity of that event.
func (s *sound) rejected(of int64, by *actor) *historypb.HistoryEvent {
	return &historypb.HistoryEvent{EventTime: s.time(5), Attributes: &historypb.HistoryEvent_ActivityTaskFailedEventAttributes{
		ActivityTaskFailedEventAttributes: &historypb.ActivityTaskFailedEventAttributes{ScheduledEventId: of, Failure: &failurepb.Failure{
			FailureInfo: &failurepb.Failure_ApplicationFailureInfo{ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{
				Type: workflows.ErrTypeRejected, Details: payload(s.says("rejected", by)),
			}},
		}},
	}}
}

func (s *sound) result(json string) *historypb.HistoryEvent {
	return &historypb.HistoryEvent{
		EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, EventTime: s.time(6),
		Attributes: &historypb.HistoryEvent_WorkflowExecutionCompletedEventAttributes{
			WorkflowExecutionCompletedEventAttributes: &historypb.WorkflowExecutionCompletedEventAttributes{Result: payload(json)},
		},
	}
}

// results replaces the workflow's result.
func (s *sound) results(json string) {
	events := s.histories[s.request.id]
	events[len(events)-1] = s.result(json)
}

func (s *sound) clicked(p *actor, second int, d slacksim.Delivery) *click {
	d.Sent = s.time(second).AsTime()
	return &click{of: s.request, person: p.ID(), name: p.name, wants: p.outcome, at: d.Sent, Delivery: d, taker: &life{}}
}

// card replaces what the card says.
func (s *sound) card(text string) { s.slack.Messages[0].Text = text }

// The check counts what is off, each under its figure, and nothing else.
func TestFaultsAreSeen(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		doctor func(*sound)
		want   map[string]int
	}{
		"nothing is wrong": {func(*sound) {}, nil},
		"no card":          {func(s *sound) { s.slack.Messages = s.slack.Messages[1:] }, map[string]int{"posts_lost": 1}},
		"two cards": {func(s *sound) {
			s.slack.Messages = append(s.slack.Messages, s.slack.Messages[0])
		}, map[string]int{"posts_doubled": 1}},
		"the requester is told directly": {func(s *sound) {
			s.slack.Messages = append(s.slack.Messages, slacksim.Message{Channel: "D1", Bot: true, Text: s.slack.Messages[0].Text})
		}, nil},
		"a line twice": {func(s *sound) {
			s.slack.Messages = append(s.slack.Messages, s.line("Approved"))
		}, map[string]int{"posts_doubled": 1}},
		"expired before it was posted": {func(s *sound) {
			s.request.kind, s.slack.Messages, s.clicks = expires, nil, nil
			s.histories[s.request.id] = []*historypb.HistoryEvent{s.opened(1), s.result(`{"outcome":"expired"}`)}
		}, nil},
		"no greeting": {func(s *sound) {
			s.request.kind = greeting
			s.card("Approved: Greet Request 0001 of 7. Approved by <@" + s.ann.ID() + "> on <!date^1|then>.")
		}, map[string]int{"posts_lost": 1}},
		"two greetings": {func(s *sound) {
			s.request.kind = greeting
			s.card("Approved: Greet Request 0001 of 7. Approved by <@" + s.ann.ID() + "> on <!date^1|then>.")
			for range 2 {
				s.slack.Messages = append(s.slack.Messages, slacksim.Message{Channel: "C1", Bot: true, Text: s.request.greets()})
			}
		}, map[string]int{"posts_doubled": 1}},
		"a decision that is not in the result": {func(s *sound) {
			s.results(`{"outcome":"approved"}`)
			s.card("Approved: Request 0001 of 7. Approved.")
		}, map[string]int{"decisions_lost": 1}},
		"another outcome than was decided": {func(s *sound) {
			s.results(`{"outcome":"expired","decisions":[` + s.says("approved", s.ann) + `]}`)
			s.card("Expired: Request 0001 of 7.")
		}, map[string]int{"decisions_lost": 1}},
		"a later decision instead of the first": {func(s *sound) {
			events := s.histories[s.request.id]
			s.histories[s.request.id] = slices.Insert(events, 2, s.opened(3), s.rejected(3, s.bert))
			s.results(`{"outcome":"rejected","decisions":[` + s.says("rejected", s.bert) + `]}`)
			s.card("Rejected: Request 0001 of 7. Rejected by <@" + s.bert.ID() + "> on <!date^1|then>.")
		}, map[string]int{"decisions_lost": 3}}, // not there, so not in its place, and not the outcome
		"a decision twice in the result": {func(s *sound) {
			s.results(`{"outcome":"approved","decisions":[` + s.says("approved", s.ann) + `,` + s.says("approved", s.ann) + `]}`)
			s.card("Approved: Request 0001 of 7. Approved by <@" + s.ann.ID() + "> and <@" + s.ann.ID() + "> on <!date^1|then>.")
		}, map[string]int{"decisions_doubled": 1}},
		"a decision that nobody made": {func(s *sound) {
			s.histories[s.request.id] = slices.Delete(s.histories[s.request.id], 1, 2)
			s.clicks = s.clicks[1:]
		}, map[string]int{"decisions_doubled": 2}}, // nor is there enough for the outcome
		"two decisions in a round": {func(s *sound) {
			s.histories[s.request.id] = slices.Insert(s.histories[s.request.id], 2, s.rejected(1, s.bert))
			s.results(`{"outcome":"rejected","decisions":[` + s.says("approved", s.ann) + `,` + s.says("rejected", s.bert) + `]}`)
			s.card("Rejected: Request 0001 of 7. Rejected by <@" + s.bert.ID() + "> on <!date^1|then>.")
			s.request.kind = two
		}, map[string]int{"decisions_doubled": 1}},
		"acknowledged, and not recorded": {func(s *sound) {
			s.slack.Messages = s.slack.Messages[:2]
		}, map[string]int{"false_acks": 1}},
		"told that it was recorded, and it was not": {func(s *sound) {
			s.slack.Messages[2].Text = "Slack may show a warning, but your decision was recorded: rejected."
		}, map[string]int{"false_acks": 1}},
		"recorded only once they clicked again": {func(s *sound) {
			s.clicks = slices.Insert(s.clicks, 0, s.clicked(s.ann, 2, slacksim.Delivery{Acked: true}))
		}, map[string]int{"false_acks": 1}},
		"a card of another outcome": {func(s *sound) {
			s.card("Expired: Request 0001 of 7.")
		}, map[string]int{"wrong_cards": 1}},
		"a card that names somebody else": {func(s *sound) {
			s.card("Approved: Request 0001 of 7. Approved by <@" + s.bert.ID() + "> on <!date^1|then>.")
		}, map[string]int{"wrong_cards": 1}},
		"the buttons are still there": {func(s *sound) {
			s.slack.Messages[0].Blocks = []slacksim.Block{{"type": "actions", "elements": []any{map[string]any{"type": "button", "action_id": "approve"}}}}
		}, map[string]int{"live_buttons": 1}},
		"not acknowledged, and not told why": {func(s *sound) {
			s.clicks[0].Acked = false
		}, map[string]int{"unanswered": 1}},
		"not acknowledged, for the process died": {func(s *sound) {
			s.clicks[0].Acked, s.clicks[0].taker.killed = false, s.clicks[0].at.Add(time.Second)
		}, nil},
		"not acknowledged, for it came nowhere": {func(s *sound) {
			s.clicks[0].Acked, s.clicks[0].taker = false, nil
		}, nil},
		"not acknowledged, for the socket was cut": {func(s *sound) {
			s.clicks[0].Acked, s.clicks[0].Took, s.cut = false, 3*time.Second, []time.Time{s.clicks[0].at.Add(time.Second)}
		}, nil},
		"no form, and not a word": {func(s *sound) {
			s.clicks[0].asks = true
		}, map[string]int{"unanswered": 1}},
		"terminated, and the card shows it": {func(s *sound) {
			s.histories[s.request.id] = []*historypb.HistoryEvent{s.opened(1), {EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED}}
			s.clicks = s.clicks[1:]
			s.card("Ended: Request 0001 of 7.")
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSound()
			test.doctor(s)
			f := check(s.evidence)
			got := map[string]int{}
			for figure, lines := range f {
				got[figure] = len(lines)
			}
			if test.want == nil {
				test.want = map[string]int{}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s%v", diff, f)
			}
			for figure := range got {
				if !slices.Contains(figures, figure) {
					t.Errorf("%s is not printed", figure)
				}
			}
		})
	}
}
