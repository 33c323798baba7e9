package worker

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"countersign/internal/slackapi"
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

func TestPrepareRequest(t *testing.T) {
	anyone := workflows.Approvers{Channel: true}
	for name, tc := range map[string]struct {
		policy func(*Policy)
		change func(*workflows.Request)
		faults []string // parts of the message; none: it is taken
		want   func(*workflows.Request)
	}{
		"as it is": {},
		"names nobody": {
			change: func(r *workflows.Request) { r.Approvers = workflows.Approvers{} },
			want:   func(r *workflows.Request) { r.Approvers = workflows.Approvers{Users: []string{bob}} },
		},
		"names nobody, and requesters may decide": {
			policy: func(p *Policy) { p.AllowSelf = true },
			change: func(r *workflows.Request) { r.Approvers = workflows.Approvers{} },
			want: func(r *workflows.Request) {
				r.Approvers, r.AllowSelf = workflows.Approvers{Users: []string{bob}}, true
			},
		},
		"names others, and requesters may decide": {
			policy: func(p *Policy) { p.AllowSelf = true },
		},
		"names nobody, and nobody is an approver": {
			policy: func(p *Policy) { p.Approvers = workflows.Approvers{} },
			change: func(r *workflows.Request) { r.Approvers = workflows.Approvers{} },
			faults: []string{"Nobody may decide", "APPROVERS"},
		},
		"anyone in the channel":             {change: func(r *workflows.Request) { r.Approvers = anyone }, faults: []string{"APPROVERS does not allow"}},
		"anyone in the channel, as allowed": {policy: func(p *Policy) { p.Approvers = anyone }, change: func(r *workflows.Request) { r.Approvers = anyone }},
		"requester too":                     {change: func(r *workflows.Request) { r.AllowSelf = true }, faults: []string{"ALLOW_SELF_APPROVAL"}},
		"requester too, as allowed":         {policy: func(p *Policy) { p.AllowSelf = true }, change: func(r *workflows.Request) { r.AllowSelf = true }},
		"requester alone":                   {change: func(r *workflows.Request) { r.Approvers = workflows.Approvers{Users: []string{alice}} }, faults: []string{"only approver is the requester"}},
		"requester alone, as allowed": {
			policy: func(p *Policy) { p.AllowSelf = true },
			change: func(r *workflows.Request) {
				r.Approvers, r.AllowSelf = workflows.Approvers{Users: []string{alice}}, true
			},
		},
		"requester alone, named twice": {change: func(r *workflows.Request) { r.Approvers = workflows.Approvers{Users: []string{alice, alice}} }, faults: []string{"only approver is the requester"}},
		"requester beside somebody":    {change: func(r *workflows.Request) { r.Approvers = workflows.Approvers{Users: []string{alice, bob, alice}} }},
		"nobody asks, one approver":    {change: func(r *workflows.Request) { r.Requester, r.Approvers = "", workflows.Approvers{Users: []string{bob}} }},
		"a deadline that has passed":   {change: func(r *workflows.Request) { r.ExpiresAt = time.Now().Add(-time.Minute) }, faults: []string{"has passed already"}},
		"a deadline in a year":         {change: func(r *workflows.Request) { r.ExpiresAt = r.ExpiresAt.Add(365 * 24 * time.Hour) }},
		"a deadline beyond a year":     {change: func(r *workflows.Request) { r.ExpiresAt = r.ExpiresAt.Add(workflows.MaxDeadline) }, faults: []string{"more than a year away"}},
		"requester beside a group":     {change: func(r *workflows.Request) { r.Approvers.Users = []string{alice} }},
		"no title":                     {change: func(r *workflows.Request) { r.Title = " \t" }, faults: []string{"no title"}},
		"a title that nobody sees":     {change: func(r *workflows.Request) { r.Title = "\u200b\u3164" }, faults: []string{"no title"}},
		"a channel's name":             {change: func(r *workflows.Request) { r.Channel = "#general" }, faults: []string{`"#general" is not the ID of a Slack channel`}},
		"no channel":                   {change: func(r *workflows.Request) { r.Channel = "" }, faults: []string{"is not the ID of a Slack channel"}},
		"a requester's name":           {change: func(r *workflows.Request) { r.Requester = "alice" }, faults: []string{`"alice" is not the ID of a Slack user`}},
		"nobody asks":                  {change: func(r *workflows.Request) { r.Requester = "" }},
		"an approver's name":           {change: func(r *workflows.Request) { r.Approvers.Users = []string{bob, "@carol"} }, faults: []string{`"@carol" is not the ID of a Slack user`}},
		"a group among the people":     {change: func(r *workflows.Request) { r.Approvers.Users = []string{sre} }, faults: []string{sre}},
		"a group's name":               {change: func(r *workflows.Request) { r.Approvers.Groups = []string{"<!channel>"} }, faults: []string{"<!channel>"}},
		"all at once": {
			change: func(r *workflows.Request) { *r = workflows.Request{Requester: "x", Approvers: anyone} },
			faults: []string{"no title", "channel", `"x"`, "APPROVERS does not allow"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if tc.policy != nil {
				tc.policy(&w.Policy)
			}
			r := request()
			if tc.change != nil {
				tc.change(&r)
			}
			want := r
			if tc.want != nil {
				tc.want(&want)
			}
			v, err := w.env.ExecuteActivity(w.PrepareRequest, r)
			if len(tc.faults) > 0 {
				if err == nil {
					t.Fatal("it was taken")
				}
				app := asApp(t, err)
				if app.Type() != workflows.ErrTypeInvalidRequest || !app.NonRetryable() {
					t.Errorf("refused with type %s, final %v", app.Type(), app.NonRetryable())
				}
				for _, part := range tc.faults {
					if !strings.Contains(app.Message(), part) {
						t.Errorf("says %q, want it to have %q", app.Message(), part)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got workflows.Request
			if err := v.Get(&got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("prepared (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("without a deadline", func(t *testing.T) {
		w := newWorld(t)
		r := request()
		r.ExpiresAt = time.Time{}
		v, err := w.env.ExecuteActivity(w.PrepareRequest, r)
		if err != nil {
			t.Fatal(err)
		}
		var got workflows.Request
		if err := v.Get(&got); err != nil {
			t.Fatal(err)
		}
		if left := time.Until(got.ExpiresAt); left < 23*time.Hour || left > 24*time.Hour {
			t.Errorf("it expires in %v, want 24h", left)
		}
	})
}

func TestComposeGreeting(t *testing.T) {
	t.Run("posts, tells, and stays open", func(t *testing.T) {
		w := newWorld(t)
		r := request()
		_, err := w.env.ExecuteActivity(w.ComposeGreeting, r)
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
		if _, err := w.env.ExecuteActivity(w.ComposeGreeting, request()); err != activity.ErrResultPending {
			t.Fatalf("ComposeGreeting: %v", err)
		}
		if len(w.messages()) > 0 || len(w.temporal.signals) != 1 || w.temporal.signals[0].Card != posted {
			t.Errorf("posted %d messages and told %+v", len(w.messages()), w.temporal.signals)
		}
	})
	t.Run("heartbeat details of somebody else", func(t *testing.T) {
		w := newWorld(t)
		w.env.SetHeartbeatDetails([]int{1, 2})
		if _, err := w.env.ExecuteActivity(w.ComposeGreeting, request()); err != activity.ErrResultPending || len(w.messages()) != 1 {
			t.Errorf("ComposeGreeting: %v with %d messages", err, len(w.messages()))
		}
	})
	t.Run("cancelled before it posted", func(t *testing.T) {
		w := newWorld(t)
		w.temporal.heartbeat = func(int, mark) error { return temporal.NewCanceledError() }
		if _, err := w.env.ExecuteActivity(w.ComposeGreeting, request()); err != activity.ErrResultPending || len(w.messages()) > 0 {
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
			if _, err := w.env.ExecuteActivity(w.ComposeGreeting, r); err != activity.ErrResultPending {
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
		if _, err := w.env.ExecuteActivity(w.ComposeGreeting, request()); err != activity.ErrResultPending || !w.log.has("stays open until somebody clicks it") {
			t.Errorf("ComposeGreeting: %v; the log says %s", err, &w.log.buf)
		}
	})
	t.Run("request ended before it posted", func(t *testing.T) {
		w := newWorld(t)
		w.temporal.heartbeat = func(int, mark) error { return notFound }
		if _, err := w.env.ExecuteActivity(w.ComposeGreeting, request()); err != activity.ErrResultPending || len(w.messages()) > 0 {
			t.Errorf("ComposeGreeting: %v with %d messages", err, len(w.messages()))
		}
	})
	t.Run("workflow cannot be told", func(t *testing.T) {
		w := newWorld(t)
		w.temporal.signal = away
		if _, err := w.env.ExecuteActivity(w.ComposeGreeting, request()); err == nil || err == activity.ErrResultPending {
			t.Errorf("ComposeGreeting: %v, want an error that brings another attempt", err)
		}
		if app := w.temporal.marks[len(w.temporal.marks)-1]; app.Card == (workflows.Card{}) {
			t.Error("the next attempt would post again")
		}
	})
	t.Run("as a local activity", func(t *testing.T) {
		w := newWorld(t)
		_, err := w.env.ExecuteLocalActivity(w.ComposeGreeting, request())
		if asApp(t, err).Type() != workflows.ErrTypeInvalidRequest || len(w.messages()) > 0 {
			t.Errorf("ComposeGreeting: %v with %d messages", err, len(w.messages()))
		}
	})
	for name, tc := range map[string]struct {
		who  workflows.Approvers
		says string
	}{
		"unknown person":              {workflows.Approvers{Users: []string{"U0NOBODY01"}}, "no person U0NOBODY01"},
		"deactivated person":          {workflows.Approvers{Users: []string{"U0FORMER01"}}, "The approver U0FORMER01 cannot decide"},
		"bot":                         {workflows.Approvers{Users: []string{"U0ROBOT001"}}, "The approver U0ROBOT001 cannot decide"},
		"another organisation's":      {workflows.Approvers{Users: []string{"U0EXTERN01"}}, "The approver U0EXTERN01 cannot decide"},
		"unknown group":               {workflows.Approvers{Groups: []string{"S0NOWHERE1"}}, "no user group S0NOWHERE1"},
		"group without members":       {workflows.Approvers{Groups: []string{"S0EMPTY001"}}, "S0EMPTY001 has no members"},
		"two of them beside one good": {workflows.Approvers{Users: []string{bob, "U0FORMER01"}, Groups: []string{"S0EMPTY001"}}, "S0EMPTY001 has no members"},
		"more than a button holds":    {workflows.Approvers{Users: slices.Repeat([]string{bob}, 120)}, "does not fit into a Slack button"},
	} {
		t.Run("approvers: "+name, func(t *testing.T) {
			w := newWorld(t)
			w.sim.AddGroup(slacksim.Group{ID: "S0EMPTY001", Handle: "empty"})
			r := request()
			r.Approvers = tc.who
			_, err := w.env.ExecuteActivity(w.ComposeGreeting, r)
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
		_, err := w.env.ExecuteActivity(w.ComposeGreeting, request())
		var app *temporal.ApplicationError
		if err == nil || err == activity.ErrResultPending || errors.As(err, &app) && app.NonRetryable() || len(w.messages()) > 0 {
			t.Errorf("ComposeGreeting: %v, want an error that brings another attempt", err)
		}
	})
}

// leftToWorkflow fails the test where there is not one card, left as it is to one workflow that closes it.
func (w *world) leftToWorkflow(r workflows.Request) {
	w.Helper()
	all := w.messages()
	if len(all) != 1 || len(all[0].Buttons()) != 2 {
		w.Fatalf("the channel has %+v, want one card with its buttons", all)
	}
	button, _ := all[0].Button("decision-1/approve")
	ref, err := w.Keys.Open(button.Value)
	if err != nil {
		w.Fatal(err)
	}
	want := []started{{
		"close-" + key("card", ref.Namespace, ref.WorkflowID, ref.RunID, ref.ActivityID), queue, "CloseCardLater",
		workflows.Closing{
			CloseCard: true, WorkflowID: ref.WorkflowID, RunID: ref.RunID, ActivityID: ref.ActivityID, Request: r,
			Result: workflows.Result{Card: workflows.Card{Channel: general, TS: all[0].TS}},
		},
	}}
	if diff := cmp.Diff(want, w.temporal.started, cmp.AllowUnexported(started{})); diff != "" {
		w.Errorf("started (-want +got):\n%s", diff)
	}
}

func TestPostCard(t *testing.T) {
	const id = "AB2CDE-1-decision-1-00000000"
	posted := workflows.Card{Channel: general, TS: "1.2"}
	long := workflows.LostAfter + time.Minute
	for name, tc := range map[string]struct {
		arrange func(*world)
		card    workflows.Card
		posts   bool
		retry   bool // it wants another attempt
	}{
		"attempt died before it posted": {func(w *world) {
			w.isPending(id, enumspb.PENDING_ACTIVITY_STATE_STARTED, time.Now().Add(-long), nil)
		}, workflows.Card{}, true, false},
		"attempt died, or is alive": {func(w *world) {
			w.isPending(id, enumspb.PENDING_ACTIVITY_STATE_STARTED, time.Now().Add(-time.Minute), nil)
		}, workflows.Card{}, false, true},
		"attempt failed and is tried again": {func(w *world) {
			w.isPending(id, enumspb.PENDING_ACTIVITY_STATE_SCHEDULED, time.Time{}, nil)
		}, workflows.Card{}, false, true},
		"attempt posted and could not say so": {func(w *world) {
			w.isPending(id, enumspb.PENDING_ACTIVITY_STATE_STARTED, time.Now().Add(-long), mark{Card: posted})
		}, posted, false, false},
		"request has ended": {func(w *world) { w.hasEnded(id, request()) }, workflows.Card{}, false, false},
		"workflow is gone":  {func(w *world) { w.temporal.describe = notFound }, workflows.Card{}, false, false},
		"Temporal is away":  {func(w *world) { w.temporal.describe = away }, workflows.Card{}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tc.arrange(w)
			v, err := w.env.ExecuteActivity(w.PostCard, workflows.PostCardInput{ActivityID: id, Request: request()})
			if (err != nil) != tc.retry {
				t.Fatalf("PostCard: %v, want another attempt %v", err, tc.retry)
			}
			var app *temporal.ApplicationError
			if errors.As(err, &app) && app.NonRetryable() {
				t.Errorf("PostCard: %v is final", err)
			}
			all := w.messages()
			if (len(all) == 1) != tc.posts {
				t.Fatalf("%d messages, want posted %v", len(all), tc.posts)
			}
			if err != nil {
				return
			}
			var got workflows.Card
			if err := v.Get(&got); err != nil {
				t.Fatal(err)
			}
			if tc.posts {
				tc.card = workflows.Card{Channel: general, TS: all[0].TS}
				if !slices.Contains(w.temporal.byID, id) {
					t.Errorf("the record went to %q, want the open activity", w.temporal.byID)
				}
				if b, ok := all[0].Button("approve"); ok {
					if ref, err := w.Keys.Open(b.Value); err != nil || ref.ActivityID != id {
						t.Errorf("the reference names %+v, %v", ref, err)
					}
				}
			}
			if got != tc.card {
				t.Errorf("PostCard = %+v, want %+v", got, tc.card)
			}
		})
	}
	for name, answer := range map[string]error{"ended": notFound, "is being cancelled": temporal.NewCanceledError()} {
		t.Run("request "+name+" while it posted", func(t *testing.T) {
			w := newWorld(t)
			w.isPending(id, enumspb.PENDING_ACTIVITY_STATE_STARTED, time.Now().Add(-long), nil)
			w.temporal.heartbeat = func(n int, _ mark) error {
				if n == 2 {
					return answer
				}
				return nil
			}
			r := request()
			v, err := w.env.ExecuteActivity(w.PostCard, workflows.PostCardInput{ActivityID: id, Request: r})
			if err != nil {
				t.Fatal(err)
			}
			var got workflows.Card
			if err := v.Get(&got); err != nil || got == (workflows.Card{}) {
				t.Errorf("PostCard = %+v, %v; want where the card is", got, err)
			}
			w.leftToWorkflow(r)
		})
	}
	t.Run("attempt died after Slack took the card", func(t *testing.T) {
		w := newWorld(t)
		since := time.Now().Add(-long)
		w.isPending(id, enumspb.PENDING_ACTIVITY_STATE_STARTED, since, mark{Posting: since})
		in := workflows.PostCardInput{ActivityID: id, Request: request()}
		if _, err := w.env.ExecuteActivity(w.PostCard, in); err != nil {
			t.Fatal(err)
		}
		if _, err := w.env.ExecuteActivity(w.PostCard, in); err != nil {
			t.Fatal(err)
		}
		if n := len(w.messages()); n != 1 {
			t.Errorf("%d cards, want 1", n)
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

func closing(c workflows.Card, o workflows.Outcome) workflows.Closing {
	return workflows.Closing{
		CloseCard: true, TellRequester: true, WorkflowID: "greet-1", RunID: "run-1", ActivityID: "decision-1", Request: request(),
		Result: workflows.Result{Outcome: o, Card: c, EndedAt: time.Now().UTC()}, Posting: time.Now().Add(-time.Hour),
	}
}

func TestCloseCard(t *testing.T) {
	open := func(w *world, key string) workflows.Card {
		w.Helper()
		posted, err := w.Slack.Post(w.Context(), slackapi.Message{Channel: general, Text: "open", Key: key})
		if err != nil {
			w.Fatal(err)
		}
		return posted
	}
	cardKey := key("card", namespace, "greet-1", "run-1", "decision-1")
	for name, tc := range map[string]struct {
		arrange func(*world) workflows.Closing
		closed  bool
		fails   bool
		log     string
	}{
		"card is known": {func(w *world) workflows.Closing { return closing(open(w, "x"), workflows.Expired) }, true, false, ""},
		"card is not known, and there": {func(w *world) workflows.Closing {
			open(w, cardKey)
			return closing(workflows.Card{}, workflows.Expired)
		}, true, false, ""},
		"no card was posted": {func(w *world) workflows.Closing {
			open(w, "another's")
			return closing(workflows.Card{}, workflows.Expired)
		}, false, false, ""},
		"card was deleted": {func(w *world) workflows.Closing {
			c := closing(open(w, "x"), workflows.Expired)
			w.sim.Delete("general", c.Result.Card.TS)
			return c
		}, false, false, "message_not_found"},
		"channel was archived": {func(w *world) workflows.Closing {
			c := closing(open(w, "x"), workflows.Expired)
			w.sim.Archive("general")
			return c
		}, false, false, "slack refuses for good"},
		"history may not be read": {func(w *world) workflows.Closing {
			w.sim.SetScopes("chat:write")
			return closing(workflows.Card{}, workflows.Expired)
		}, false, false, "missing_scope"},
		"Slack is down": {func(w *world) workflows.Closing {
			c := closing(open(w, "x"), workflows.Expired)
			w.sim.Inject(slacksim.Fault{Method: "chat.update", Status: 503})
			return c
		}, false, true, ""},
		"Slack asks to wait": {func(w *world) workflows.Closing {
			c := closing(open(w, "x"), workflows.Expired)
			w.sim.Inject(slacksim.Fault{Method: "chat.update", Status: 429, RetryAfter: time.Minute})
			return c
		}, false, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c := tc.arrange(w)
			for range 2 { // It is idempotent.
				if _, err := w.env.ExecuteActivity(w.CloseCard, c); (err != nil) != tc.fails {
					t.Fatalf("CloseCard: %v, want an error %v", err, tc.fails)
				}
			}
			closed := false
			for _, m := range w.messages() {
				closed = closed || strings.Contains(m.PlainText(), "Expired")
			}
			if closed != tc.closed {
				t.Errorf("closed %v, want %v: %+v", closed, tc.closed, w.messages())
			}
			if !w.log.has(tc.log) {
				t.Errorf("the log lacks %q: %s", tc.log, &w.log.buf)
			}
		})
	}
}

// A card whose workflow could not wait for it is closed with what Temporal says of its end.
func TestCloseCardReadsTheOutcome(t *testing.T) {
	const id = "decision-1"
	for name, tc := range map[string]struct {
		arrange func(*world)
		closed  string // what the card says then; empty: it stays as it is
		fails   bool
		again   time.Duration // when it is tried again
	}{
		"ended":            {func(w *world) { w.hasEnded(id, request()) }, "Expired", false, 0},
		"not yet":          {func(w *world) { w.isPending(id, enumspb.PENDING_ACTIVITY_STATE_STARTED, time.Now(), nil) }, "", true, time.Second},
		"no longer known":  {func(w *world) { w.temporal.describe = notFound }, "", false, 0},
		"Temporal is away": {func(w *world) { w.temporal.describe = away }, "", true, 0},
		"Slack is away": {func(w *world) {
			w.hasEnded(id, request())
			w.sim.Inject(slacksim.Fault{Method: "chat.update", Status: 503})
		}, "", true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tc.arrange(w)
			posted, err := w.Slack.Post(t.Context(), slackapi.Message{Channel: general, Text: "open", Key: "x"})
			if err != nil {
				t.Fatal(err)
			}
			c := workflows.Closing{
				CloseCard: true, WorkflowID: "greet-1", RunID: "run-1", ActivityID: id, Request: request(), Result: workflows.Result{Card: posted},
			}
			_, err = w.env.ExecuteActivity(w.CloseCard, c)
			if (err != nil) != tc.fails {
				t.Fatalf("CloseCard: %v, want an error %v", err, tc.fails)
			}
			if tc.again > 0 {
				if app := asApp(t, err); app.NonRetryable() || app.NextRetryDelay() != tc.again {
					t.Errorf("CloseCard: %v, tried again in %v, want %v", app, app.NextRetryDelay(), tc.again)
				}
			}
			all := w.messages()
			if tc.closed == "" && all[0].Text != "open" || !strings.Contains(all[0].PlainText(), tc.closed) {
				t.Errorf("the card says %q, want %q", all[0].PlainText(), tc.closed)
			}
		})
	}
}

func TestTellRequester(t *testing.T) {
	inThread := func(w *world) workflows.Closing {
		w.Helper()
		posted, err := w.Slack.Post(w.Context(), slackapi.Message{Channel: general, Text: "card", Key: "card"})
		if err != nil {
			w.Fatal(err)
		}
		return closing(posted, workflows.Withdrawn)
	}
	t.Run("in the card's thread", func(t *testing.T) {
		w := newWorld(t)
		c := inThread(w)
		if _, err := w.env.ExecuteActivity(w.TellRequester, c); err != nil {
			t.Fatal(err)
		}
		got := w.sim.Replies("general", c.Result.Card.TS)
		if len(got) != 1 || !strings.Contains(got[0].Text, "<@"+alice+">") || !strings.Contains(got[0].Text, "Withdrawn") {
			t.Errorf("the thread has %+v", got)
		}
	})
	t.Run("told by an earlier activity", func(t *testing.T) {
		w := newWorld(t)
		c := inThread(w)
		for _, again := range []bool{false, true} {
			c.Again = again
			if _, err := w.env.ExecuteActivity(w.TellRequester, c); err != nil {
				t.Fatal(err)
			}
		}
		if got := w.sim.Replies("general", c.Result.Card.TS); len(got) != 1 {
			t.Errorf("the requester was told %d times", len(got))
		}
	})
	for name, arrange := range map[string]func(*world) workflows.Closing{
		"there is no card":    func(*world) workflows.Closing { return closing(workflows.Card{}, workflows.Withdrawn) },
		"the channel is gone": func(w *world) workflows.Closing { c := inThread(w); w.sim.Archive("general"); return c },
	} {
		t.Run("directly, for "+name, func(t *testing.T) {
			w := newWorld(t)
			c := arrange(w)
			if _, err := w.env.ExecuteActivity(w.TellRequester, c); err != nil {
				t.Fatal(err)
			}
			direct, err := w.Slack.DirectMessage(t.Context(), alice)
			if err != nil {
				t.Fatal(err)
			}
			got := w.sim.Messages(direct)
			if len(got) != 1 || !strings.Contains(got[0].Text, "Withdrawn") {
				t.Errorf("the direct messages are %+v", got)
			}
		})
	}
	t.Run("directly, and the record of it is lost", func(t *testing.T) {
		w := newWorld(t)
		c := inThread(w)
		w.sim.Archive("general")
		w.temporal.heartbeat = func(n int, m mark) error {
			if n < 5 && m.Card != (workflows.Card{}) {
				return away
			}
			return nil
		}
		if _, err := w.env.ExecuteActivity(w.TellRequester, c); err == nil {
			t.Fatal("the attempt did not fail")
		}
		w.env.SetHeartbeatDetails(w.temporal.marks[len(w.temporal.marks)-2]) // The one that Temporal has.
		if _, err := w.env.ExecuteActivity(w.TellRequester, c); err != nil {
			t.Fatal(err)
		}
		direct, err := w.Slack.DirectMessage(t.Context(), alice)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.sim.Messages(direct); len(got) != 1 {
			t.Errorf("the requester was told %d times", len(got))
		}
	})
	t.Run("nobody is there to be told", func(t *testing.T) {
		w := newWorld(t)
		c := closing(workflows.Card{}, workflows.Withdrawn)
		c.Request.Requester = "U0FORMER01"
		if _, err := w.env.ExecuteActivity(w.TellRequester, c); err != nil {
			t.Errorf("TellRequester: %v, want success: there is nothing left to do", err)
		}
		if !w.log.has("user_disabled") {
			t.Errorf("the log does not say why: %s", &w.log.buf)
		}
	})
	t.Run("Slack is down", func(t *testing.T) {
		w := newWorld(t)
		c := inThread(w)
		w.sim.Inject(slacksim.Fault{Method: "chat.postMessage", Status: 503})
		if _, err := w.env.ExecuteActivity(w.TellRequester, c); err == nil {
			t.Error("no error: nobody would try again")
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
