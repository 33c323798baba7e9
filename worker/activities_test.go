package worker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"countersign/internal/slacksim"
	"countersign/workflows"
)

func request() workflows.Request {
	return workflows.Request{
		Title: "Greet World", Channel: general, Requester: alice,
		Approvers: workflows.Approvers{Users: []string{bob}, Groups: []string{sre}},
		ExpiresAt: time.Now().Add(time.Hour).UTC().Truncate(time.Second),
	}
}

// round is the first round of r.
func round(r workflows.Request) workflows.Round { return workflows.Round{Request: r, Number: 1} }

// people are the IDs of n people whom nobody has heard of, until they join.
func people(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("U0MANY%05d", i))
	}
	return ids
}

// join has people join the workspace.
func (w *world) join(ids []string) {
	for _, id := range ids {
		w.sim.AddPerson(slacksim.User{ID: id, Name: strings.ToLower(id)})
	}
}

func TestComposeGreeting(t *testing.T) {
	t.Run("posts, tells, and stays open", func(t *testing.T) {
		w := newWorld(t)
		r := request()
		_, err := w.env.ExecuteActivity(w.ComposeGreeting, round(r))
		if err != activity.ErrResultPending {
			t.Fatalf("ComposeGreeting: %v, want activity.ErrResultPending itself", err)
		}
		all := w.messages()
		if len(all) != 1 {
			t.Fatalf("%d messages, want 1", len(all))
		}
		button, ok := all[0].Button("decision-1/approve")
		if !ok {
			t.Fatal("the card has no button")
		}
		ref, err := w.Keys.Open(button.Value)
		if err != nil {
			t.Fatal(err)
		}
		if len(w.temporal.signals) != 1 || w.temporal.signals[0].Card != (workflows.Card{Channel: general, TS: all[0].TS}) {
			t.Fatalf("told the workflow %+v", w.temporal.signals)
		}
		if ref.Namespace != namespace || ref.ActivityID != w.temporal.signals[0].ActivityID || ref.WorkflowID == "" || ref.RunID == "" {
			t.Errorf("the reference names %+v", ref)
		}
		if ref.Digest != r.Digest() || ref.Requester != alice || !slices.Equal(ref.Users, []string{bob}) || !slices.Equal(ref.Groups, []string{sre}) || ref.Channel || ref.AllowSelf {
			t.Errorf("the reference says %+v", ref)
		}
	})
	t.Run("retried after it posted", func(t *testing.T) {
		w := newWorld(t)
		posted := workflows.Card{Channel: general, TS: "1.2"}
		w.env.SetHeartbeatDetails(mark{Card: posted})
		if _, err := w.env.ExecuteActivity(w.ComposeGreeting, round(request())); err != activity.ErrResultPending {
			t.Fatalf("ComposeGreeting: %v", err)
		}
		if len(w.messages()) > 0 || len(w.temporal.signals) != 1 || w.temporal.signals[0].Card != posted {
			t.Errorf("posted %d messages and told %+v", len(w.messages()), w.temporal.signals)
		}
	})
	t.Run("heartbeat details of somebody else", func(t *testing.T) {
		w := newWorld(t)
		w.env.SetHeartbeatDetails([]int{1, 2})
		if _, err := w.env.ExecuteActivity(w.ComposeGreeting, round(request())); err != activity.ErrResultPending || len(w.messages()) != 1 {
			t.Errorf("ComposeGreeting: %v with %d messages", err, len(w.messages()))
		}
	})
	t.Run("cancelled before it posted", func(t *testing.T) {
		w := newWorld(t)
		w.temporal.heartbeat = func(int, mark) error { return temporal.NewCanceledError() }
		if _, err := w.env.ExecuteActivity(w.ComposeGreeting, round(request())); err != activity.ErrResultPending || len(w.messages()) > 0 {
			t.Errorf("ComposeGreeting: %v with %d messages", err, len(w.messages()))
		}
	})
	// Nobody may be waiting for the card's address any more: it is left to a workflow of its own.
	atSecond := func(err error) func(*world) {
		return func(w *world) {
			w.temporal.heartbeat = func(n int, _ mark) error {
				if n == 2 {
					return err
				}
				return nil
			}
		}
	}
	for name, arrange := range map[string]func(*world){
		"cancelled while it posted":       atSecond(temporal.NewCanceledError()),
		"request ended while it posted":   atSecond(notFound),
		"workflow closed while it posted": func(w *world) { w.temporal.signal = notFound },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			arrange(w)
			r := request()
			if _, err := w.env.ExecuteActivity(w.ComposeGreeting, round(r)); err != activity.ErrResultPending {
				t.Fatalf("ComposeGreeting: %v", err)
			}
			w.leftToWorkflow(r)
			if len(w.temporal.signals) > 0 {
				t.Errorf("told the workflow %+v", w.temporal.signals)
			}
		})
	}
	t.Run("request ended while it posted, and no workflow can be started", func(t *testing.T) {
		w := newWorld(t)
		atSecond(notFound)(w)
		w.temporal.start = away
		if _, err := w.env.ExecuteActivity(w.ComposeGreeting, round(request())); err != activity.ErrResultPending || !w.log.has("stays open until somebody clicks it") {
			t.Errorf("ComposeGreeting: %v; the log says %s", err, &w.log.buf)
		}
	})
	t.Run("request ended before it posted", func(t *testing.T) {
		w := newWorld(t)
		w.temporal.heartbeat = func(int, mark) error { return notFound }
		if _, err := w.env.ExecuteActivity(w.ComposeGreeting, round(request())); err != activity.ErrResultPending || len(w.messages()) > 0 {
			t.Errorf("ComposeGreeting: %v with %d messages", err, len(w.messages()))
		}
	})
	t.Run("workflow cannot be told", func(t *testing.T) {
		w := newWorld(t)
		w.temporal.signal = away
		if _, err := w.env.ExecuteActivity(w.ComposeGreeting, round(request())); err == nil || err == activity.ErrResultPending {
			t.Errorf("ComposeGreeting: %v, want an error that brings another attempt", err)
		}
		if app := w.temporal.marks[len(w.temporal.marks)-1]; app.Card == (workflows.Card{}) {
			t.Error("the next attempt would post again")
		}
	})
	t.Run("as a local activity", func(t *testing.T) {
		w := newWorld(t)
		_, err := w.env.ExecuteLocalActivity(w.ComposeGreeting, round(request()))
		if asApp(t, err).Type() != workflows.ErrTypeInvalidRequest || len(w.messages()) > 0 {
			t.Errorf("ComposeGreeting: %v with %d messages", err, len(w.messages()))
		}
	})
	for name, tc := range map[string]struct {
		who  workflows.Approvers
		says string
	}{
		"unknown person":              {workflows.Approvers{Users: []string{"U0NOBODY01"}}, "no person U0NOBODY01"},
		"deactivated person":          {workflows.Approvers{Users: []string{"U0FORMER01"}}, "The approver <@U0FORMER01> cannot decide"},
		"bot":                         {workflows.Approvers{Users: []string{"U0ROBOT001"}}, "The approver <@U0ROBOT001> cannot decide"},
		"another organisation's":      {workflows.Approvers{Users: []string{"U0EXTERN01"}}, "The approver <@U0EXTERN01> cannot decide"},
		"unknown group":               {workflows.Approvers{Groups: []string{"S0NOWHERE1"}}, "no user group S0NOWHERE1"},
		"group without members":       {workflows.Approvers{Groups: []string{"S0EMPTY001"}}, "S0EMPTY001 has no members"},
		"two of them beside one good": {workflows.Approvers{Users: []string{bob, "U0FORMER01"}, Groups: []string{"S0EMPTY001"}}, "S0EMPTY001 has no members"},
		"more than a button holds":    {workflows.Approvers{Users: people(120)}, "does not fit into a Slack button"},
	} {
		t.Run("approvers: "+name, func(t *testing.T) {
			w := newWorld(t)
			w.sim.AddGroup(slacksim.Group{ID: "S0EMPTY001", Handle: "empty"})
			w.join(people(120))
			r := request()
			r.Approvers = tc.who
			_, err := w.env.ExecuteActivity(w.ComposeGreeting, round(r))
			if app := asApp(t, err); app.Type() != workflows.ErrTypeInvalidRequest || !strings.Contains(app.Message(), tc.says) {
				t.Errorf("ComposeGreeting: %v, want %q", app, tc.says)
			}
			if len(w.messages()) > 0 {
				t.Error("a card was posted that nobody can decide")
			}
		})
	}
	t.Run("approvers cannot be looked up", func(t *testing.T) {
		w := newWorld(t)
		w.sim.Inject(slacksim.Fault{Method: "users.info", Status: 500})
		_, err := w.env.ExecuteActivity(w.ComposeGreeting, round(request()))
		var app *temporal.ApplicationError
		if err == nil || err == activity.ErrResultPending || errors.As(err, &app) && app.NonRetryable() || len(w.messages()) > 0 {
			t.Errorf("ComposeGreeting: %v, want an error that brings another attempt", err)
		}
	})
}

func TestAwaitDecision(t *testing.T) {
	t.Run("stays open", func(t *testing.T) {
		w := newWorld(t)
		if _, err := w.env.ExecuteActivity(w.AwaitDecision, round(request())); err != activity.ErrResultPending {
			t.Errorf("AwaitDecision: %v, want activity.ErrResultPending itself", err)
		}
		if len(w.messages()) > 0 || len(w.temporal.marks) > 0 {
			t.Errorf("posted %+v and recorded %+v, want nothing", w.messages(), w.temporal.marks)
		}
	})
	t.Run("as a local activity", func(t *testing.T) {
		w := newWorld(t)
		_, err := w.env.ExecuteLocalActivity(w.AwaitDecision, round(request()))
		if app := asApp(t, err); app.Type() != workflows.ErrTypeInvalidRequest || !app.NonRetryable() {
			t.Errorf("AwaitDecision: %v", app)
		}
	})
}

func TestEndDecision(t *testing.T) {
	const id = "AB2CDE-1-decision-1-00000000"
	posted := workflows.Card{Channel: general, TS: "1.2"}
	since := time.Now().UTC().Truncate(time.Second)
	for name, tc := range map[string]struct {
		answer error
		left   any // heartbeat details
		want   workflows.DecisionEnded
		fails  bool
	}{
		"nobody was first":   {nil, mark{Card: posted}, workflows.DecisionEnded{Card: posted}, false},
		"somebody was first": {notFound, mark{Card: posted}, workflows.DecisionEnded{Card: posted}, false},
		"while it posted":    {nil, mark{Posting: since}, workflows.DecisionEnded{Posting: since}, false},
		"before it posted":   {nil, mark{Turn: since}, workflows.DecisionEnded{}, false},
		"no attempt came":    {nil, nil, workflows.DecisionEnded{}, false},
		"somebody else's":    {nil, []int{1}, workflows.DecisionEnded{}, false},
		"Temporal is away":   {away, mark{Card: posted}, workflows.DecisionEnded{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.isPending(id, enumspb.PENDING_ACTIVITY_STATE_STARTED, time.Now(), tc.left)
			w.temporal.complete = tc.answer
			v, err := w.env.ExecuteActivity(w.EndDecision, workflows.EndDecisionInput{ActivityID: id, Outcome: workflows.Expired})
			if (err != nil) != tc.fails {
				t.Fatalf("EndDecision: %v, want an error %v", err, tc.fails)
			}
			var cancelled *temporal.CanceledError
			if len(w.temporal.completed) == 0 || !errors.As(w.temporal.completed[0], &cancelled) {
				t.Fatalf("reported %v, want a cancellation", w.temporal.completed)
			}
			var end workflows.Result
			if err := cancelled.Details(&end); err != nil || end.Outcome != workflows.Expired {
				t.Errorf("reported %+v, %v; want expired", end, err)
			}
			if tc.fails {
				return
			}
			var got workflows.DecisionEnded
			if err := v.Get(&got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("EndDecision (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("Temporal cannot be asked", func(t *testing.T) {
		w := newWorld(t)
		w.temporal.describe = away
		if _, err := w.env.ExecuteActivity(w.EndDecision, workflows.EndDecisionInput{ActivityID: id, Outcome: workflows.Expired}); err == nil || len(w.temporal.completed) > 0 {
			t.Errorf("EndDecision: %v after %v was reported; the card's address would be lost", err, w.temporal.completed)
		}
	})
}

func TestPostGreeting(t *testing.T) {
	w := newWorld(t)
	hello := workflows.GreetingMessage{Channel: general, Text: "Hello, <!channel> <@" + bob + ">!"}
	if _, err := w.env.ExecuteActivity(w.PostGreeting, hello); err != nil {
		t.Fatal(err)
	}
	all := w.messages()
	if len(all) != 1 || all[0].PlainText() != "Hello, <!channel> <@"+bob+">!" || !strings.HasPrefix(all[0].Text, "Hello, &lt;!channel&gt; <@") {
		t.Errorf("posted %+v", all)
	}
}
