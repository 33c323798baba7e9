package worker

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"countersign/internal/slackapi"
	"countersign/internal/slacksim"
	"countersign/workflows"
)

func closing(c workflows.Card, o workflows.Outcome) workflows.Closing {
	return workflows.Closing{
		CloseCard: true, TellRequester: true, WorkflowID: "greet-1", RunID: "run-1", ActivityID: "AB2CDE-1-decision-2-0000abcd", Request: request(),
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
	cardKey := key("card", namespace, "greet-1", "run-1", "AB2CDE-1")
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
		"card is not known, and in a person's direct message": {func(w *world) workflows.Closing {
			c := closing(workflows.Card{}, workflows.Expired)
			c.Request.Channel = carol
			direct, err := w.Slack.DirectMessage(w.Context(), carol)
			if err == nil {
				_, err = w.Slack.Post(w.Context(), slackapi.Message{Channel: direct, Text: "open", Key: cardKey})
			}
			if err != nil {
				w.Fatal(err)
			}
			return c
		}, true, false, ""},
		"card is not known, and its person has left": {func(*world) workflows.Closing {
			c := closing(workflows.Card{}, workflows.Expired)
			c.Request.Channel = "U0FORMER01"
			return c
		}, false, false, "user_disabled"},
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
			for _, m := range w.sim.State().Messages {
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
	const id = "AB2CDE-1-decision-1-00000000"
	for name, tc := range map[string]struct {
		arrange func(*world)
		closed  string // what the card says then; empty: it stays as it is
		fails   bool
		again   time.Duration // when it is tried again
	}{
		"ended": {func(w *world) { w.hasEnded(id, request()) }, "Expired", false, 0},
		"several have approved": {func(w *world) {
			r := request()
			r.Required = 2
			sum := r.Digest()
			said := func(who string) workflows.Decision {
				return workflows.Decision{Outcome: workflows.Approved, By: workflows.Person{ID: who}, At: time.Now().UTC(), Digest: hex.EncodeToString(sum[:])}
			}
			second := workflows.Round{Request: r, Number: 2, Decisions: []workflows.Decision{said(bob)}}
			w.temporal.history = []*historypb.HistoryEvent{
				w.scheduled(5, id, round(r)), w.completed(6, 5, said(bob)),
				w.scheduled(7, "AB2CDE-1-decision-2-00000000", second), w.completed(8, 7, said(carol)),
			}
		}, "Approved by <@" + bob + "> and <@" + carol + ">", false, 0},
		"one of several has approved": {func(w *world) {
			r := request()
			r.Required = 2
			w.temporal.history = []*historypb.HistoryEvent{w.scheduled(5, id, round(r)), w.completed(6, 5, workflows.Decision{Outcome: workflows.Approved})}
		}, "", true, time.Second},
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
	t.Run("directly too", func(t *testing.T) {
		w := newWorld(t)
		c := inThread(w)
		c.Request.TellRequester, c.Result.Permalink = true, permalink(c.Result.Card)
		for _, directly := range []bool{false, true} {
			c.TellRequester, c.TellDirectly = !directly, directly
			if _, err := w.env.ExecuteActivity(w.TellRequester, c); err != nil {
				t.Fatal(err)
			}
		}
		direct := w.toldDirectly()
		if len(direct) != 1 || !strings.Contains(direct[0].PlainText(), "Open card") || strings.Contains(direct[0].Text, "<@"+alice+">") {
			t.Errorf("the direct messages are %+v", direct)
		}
		if got := w.sim.Replies("general", c.Result.Card.TS); len(got) != 1 || strings.Contains(got[0].PlainText(), "Open card") {
			t.Errorf("the thread has %+v", got)
		}
	})
	t.Run("directly too, by an earlier activity", func(t *testing.T) {
		w := newWorld(t)
		c := inThread(w)
		c.TellRequester, c.TellDirectly = false, true
		for _, again := range []bool{false, true} {
			c.Again = again
			if _, err := w.env.ExecuteActivity(w.TellRequester, c); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(w.toldDirectly()); n != 1 {
			t.Errorf("the requester was told %d times", n)
		}
	})
	t.Run("directly too, and the thread is refused", func(t *testing.T) {
		w := newWorld(t)
		c := inThread(w)
		c.Request.TellRequester = true
		w.sim.Archive("general")
		if _, err := w.env.ExecuteActivity(w.TellRequester, c); err != nil {
			t.Fatal(err)
		}
		if n := len(w.toldDirectly()); n > 0 || !w.log.has("say how a request ended") {
			t.Errorf("told %d times directly by what is to tell the thread; the log says %s", n, &w.log.buf)
		}
	})
	t.Run("without a requester", func(t *testing.T) {
		w := newWorld(t)
		c := inThread(w)
		c.Request.Requester = ""
		if _, err := w.env.ExecuteActivity(w.TellRequester, c); err != nil {
			t.Fatal(err)
		}
		if got := w.sim.Replies("general", c.Result.Card.TS); len(got) != 1 || strings.Contains(got[0].Text, "<@") || !strings.Contains(got[0].Text, "Withdrawn") {
			t.Errorf("the thread has %+v", got)
		}
	})
	t.Run("without a requester, and the thread is refused", func(t *testing.T) {
		w := newWorld(t)
		c := inThread(w)
		c.Request.Requester = ""
		w.sim.Archive("general")
		if _, err := w.env.ExecuteActivity(w.TellRequester, c); err != nil {
			t.Errorf("TellRequester: %v, want success: there is nothing left to do", err)
		}
		if len(w.sim.Calls("conversations.open")) > 0 || !w.log.has("slack refuses for good") {
			t.Errorf("the log says %s", &w.log.buf)
		}
	})
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

// toldDirectly are Alice's direct messages.
func (w *world) toldDirectly() []slacksim.Message {
	w.Helper()
	direct, err := w.Slack.DirectMessage(w.Context(), alice)
	if err != nil {
		w.Fatal(err)
	}
	return w.sim.Messages(direct)
}

// The workflow whose steps the test environment executes.
const (
	ownWorkflow = "default-test-workflow-id"
	ownRun      = "default-test-run-id"
)

// closesLater runs [workflows.CloseCardLater] with these activities.
func (w *world) closesLater(c workflows.Closing) {
	w.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: "close-1", TaskQueue: queue})
	env.SetTestTimeout(time.Minute)
	env.RegisterActivity(w.Activities)
	env.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, _ converter.EncodedValues) {
		if info.WorkflowExecution.ID != "close-1" {
			w.Errorf("a step of workflow %s", info.WorkflowExecution.ID)
		}
	})
	if env.ExecuteWorkflow(workflows.CloseCardLater, c); env.GetWorkflowError() != nil {
		w.Error(env.GetWorkflowError())
	}
}

func TestPostLine(t *testing.T) {
	line := func(w *world) workflows.Line {
		w.Helper()
		posted, err := w.Slack.Post(w.Context(), slackapi.Message{Channel: general, Text: "card", Key: "card"})
		if err != nil {
			w.Fatal(err)
		}
		return workflows.Line{
			Event: workflows.Asked, Number: 1, ActivityID: open1, Round: round(request()), Card: posted, At: time.Now().Add(-time.Minute),
		}
	}
	post := func(w *world, l workflows.Line) error {
		w.Helper()
		_, err := w.env.ExecuteActivity(w.PostLine, l)
		return err
	}
	said := func(w *world, l workflows.Line) []slacksim.Message { return w.sim.Replies("general", l.Card.TS) }
	t.Run("mentions who may decide", func(t *testing.T) {
		w := newWorld(t)
		l := line(w)
		if err := post(w, l); err != nil {
			t.Fatal(err)
		}
		got := said(w, l)
		if len(got) != 1 || !strings.Contains(got[0].Text, "<@"+bob+">") || !strings.Contains(got[0].Text, "<!subteam^"+sre+">") || strings.Contains(got[0].Text, alice) {
			t.Errorf("the thread has %+v", got)
		}
		if len(w.sim.Calls("conversations.replies")) > 0 {
			t.Error("it looked for what nobody can have posted")
		}
	})
	t.Run("who is not in the channel", func(t *testing.T) {
		outsider := "U0OUTSIDE1"
		for name, tc := range map[string]struct {
			event  workflows.Event
			asked  string // channel
			scopes []string
			want   []string
		}{
			"asked":               {workflows.Asked, general, nil, []string{outsider}},
			"reminded":            {workflows.Reminded, general, nil, nil},
			"in somebody's own":   {workflows.Asked, bob, nil, []string{outsider}},
			"Slack does not tell": {workflows.Asked, general, []string{"chat:write", "users:read", "usergroups:read"}, nil},
		} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t)
				w.sim.AddPerson(slacksim.User{ID: outsider, Name: "outsider"})
				l := line(w)
				l.Event, l.Round.Channel = tc.event, tc.asked
				l.Round.Approvers.Users = []string{bob, outsider}
				if tc.scopes != nil {
					w.sim.SetScopes(tc.scopes...)
				}
				v, err := w.env.ExecuteActivity(w.PostLine, l)
				if err != nil {
					t.Fatal(err)
				}
				var absent []string
				if err := v.Get(&absent); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tc.want, absent, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("absent (-want +got):\n%s", diff)
				}
			})
		}
	})
	t.Run("to one person", func(t *testing.T) {
		w := newWorld(t)
		l := line(w)
		l.To, l.Permalink = bob, "https://sim.slack.example/archives/C0GENERAL1/p1"
		if err := post(w, l); err != nil {
			t.Fatal(err)
		}
		if n := len(said(w, l)); n != 0 {
			t.Errorf("%d lines in the thread, want none", n)
		}
		got := w.sim.Messages(w.sim.Person("bob").DM().Channel())
		if len(got) != 1 || !strings.Contains(got[0].Text, "asks for your decision") || !strings.Contains(got[0].Text, "Open card") {
			t.Errorf("bob has %+v", got)
		}
	})
	t.Run("several lines", func(t *testing.T) {
		w := newWorld(t)
		l := line(w)
		for l.Number = range 3 {
			if err := post(w, l); err != nil {
				t.Fatal(err)
			}
			l.Again = true // It is found by its number, so this one is not taken for the next.
		}
		if n := len(said(w, l)); n != 3 {
			t.Errorf("%d lines, want 3", n)
		}
	})
	t.Run("retried after it posted", func(t *testing.T) {
		w := newWorld(t)
		l := line(w)
		if err := post(w, l); err != nil {
			t.Fatal(err)
		}
		w.env.SetHeartbeatDetails(w.left())
		if err := post(w, l); err != nil || len(said(w, l)) != 1 {
			t.Errorf("PostLine: %v with %d lines", err, len(said(w, l)))
		}
	})
	t.Run("posted, and Slack said that it failed", func(t *testing.T) {
		w := newWorld(t)
		l := line(w)
		w.sim.Inject(slacksim.Fault{Method: "chat.postMessage", Times: 1, Status: 500, Performed: true})
		if err := post(w, l); err == nil {
			t.Fatal("the attempt did not fail")
		}
		w.env.SetHeartbeatDetails(w.left())
		if err := post(w, l); err != nil || len(said(w, l)) != 1 {
			t.Errorf("PostLine: %v with %d lines", err, len(said(w, l)))
		}
	})
	t.Run("posted by an earlier activity", func(t *testing.T) {
		w := newWorld(t)
		l := line(w)
		for _, l.Again = range []bool{false, true} {
			if err := post(w, l); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(said(w, l)); n != 1 {
			t.Errorf("%d lines, want 1", n)
		}
	})
	// The workflow that goes on with the closing has an ID of its own: the line is looked for as who asked has posted it.
	t.Run("posted by the workflow that asked", func(t *testing.T) {
		for name, tc := range map[string]struct {
			change func(*workflows.Line)
			lines  int
		}{
			"the same line":        {func(*workflows.Line) {}, 1},
			"another workflow's":   {func(l *workflows.Line) { l.WorkflowID = "ask-2" }, 2},
			"another run's":        {func(l *workflows.Line) { l.RunID = "run-2" }, 2},
			"another question's":   {func(l *workflows.Line) { l.ActivityID = "AB2CDE-2-decision-1-0000abcd" }, 2},
			"the one that is next": {func(l *workflows.Line) { l.Number++ }, 2},
		} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t)
				l := line(w)
				if err := post(w, l); err != nil {
					t.Fatal(err)
				}
				l.Again, l.WorkflowID, l.RunID = true, ownWorkflow, ownRun
				tc.change(&l)
				w.closesLater(workflows.Closing{Again: true, Lines: []workflows.Line{l}})
				if n := len(said(w, l)); n != tc.lines {
					t.Errorf("%d lines, want %d", n, tc.lines)
				}
			})
		}
	})
	t.Run("not posted by an earlier activity", func(t *testing.T) {
		w := newWorld(t)
		l := line(w)
		l.Again = true
		if err := post(w, l); err != nil || len(said(w, l)) != 1 {
			t.Errorf("PostLine: %v with %d lines", err, len(said(w, l)))
		}
	})
	for name, tc := range map[string]struct {
		on        int // the heartbeat that has the answer
		answer    error
		posted    bool
		cancelled bool // it ends so, and is left to the closing
	}{
		"cancelled before the post": {1, temporal.NewCanceledError(), false, true},
		"cancelled after the post":  {2, temporal.NewCanceledError(), true, false},
		"ended before the post":     {1, notFound, false, false},
		"ended after the post":      {2, notFound, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			l := line(w)
			w.temporal.heartbeat = func(n int, _ mark) error {
				if n == tc.on {
					return tc.answer
				}
				return nil
			}
			err := post(w, l)
			if tc.cancelled != temporal.IsCanceledError(err) || !tc.cancelled && err != nil {
				t.Errorf("PostLine: %v, want it cancelled %v", err, tc.cancelled)
			}
			if got := len(said(w, l)) == 1; got != tc.posted {
				t.Errorf("posted %v, want %v", got, tc.posted)
			}
		})
	}
	t.Run("the thread is refused", func(t *testing.T) {
		w := newWorld(t)
		l := line(w)
		w.sim.Archive("general")
		if err := post(w, l); err != nil || !w.log.has("slack refuses a line") || !w.log.has("is_archived") {
			t.Errorf("PostLine: %v, want success; the log says %s", err, &w.log.buf)
		}
	})
	t.Run("Slack is down", func(t *testing.T) {
		w := newWorld(t)
		l := line(w)
		w.sim.Inject(slacksim.Fault{Method: "chat.postMessage", Status: 503})
		if err := post(w, l); err == nil {
			t.Error("no error: nobody would try again")
		}
	})
	t.Run("Slack asks to wait", func(t *testing.T) {
		w := newWorld(t)
		l := line(w)
		w.sim.Inject(slacksim.Fault{Method: "chat.postMessage", Status: 429, RetryAfter: 9 * time.Second})
		if app := asApp(t, post(w, l)); app.NextRetryDelay() != 9*time.Second || app.NonRetryable() {
			t.Errorf("PostLine: %v, tried again in %v", app, app.NextRetryDelay())
		}
	})
}

func TestMentioned(t *testing.T) {
	approved := func(who ...string) func(*workflows.Line) {
		return func(l *workflows.Line) {
			for _, id := range who {
				l.Round.Decisions = append(l.Round.Decisions, workflows.Decision{Outcome: workflows.Approved, By: workflows.Person{ID: id}})
			}
		}
	}
	changed := func(e workflows.Event, c workflows.Change) func(*workflows.Line) {
		return func(l *workflows.Line) { l.Event, l.Round.Changes = e, append(l.Round.Changes, c) }
	}
	asks := func(who string) func(*workflows.Line) { return func(l *workflows.Line) { l.Round.Requester = who } }
	daveAndSRE := workflows.Approvers{Users: []string{dave}, Groups: []string{sre}}
	escalated := func(who workflows.Approvers) func(*workflows.Line) {
		return changed(workflows.Escalated, workflows.Change{Kind: workflows.Escalate, Approvers: who})
	}
	delegated := changed(workflows.Delegated, workflows.Change{Kind: workflows.Delegate, By: workflows.Person{ID: dave}, To: erin})
	for name, tc := range map[string]struct {
		changes []func(*workflows.Line)
		fault   bool // user groups cannot be looked up
		want    workflows.Approvers
	}{
		"nobody has decided":                 {nil, false, daveAndSRE},
		"who is named has":                   {[]func(*workflows.Line){approved(dave)}, false, workflows.Approvers{Groups: []string{sre}}},
		"somebody of the group has":          {[]func(*workflows.Line){approved(bob)}, false, workflows.Approvers{Users: []string{dave, carol}}},
		"all of the group have":              {[]func(*workflows.Line){approved(bob, carol)}, false, workflows.Approvers{Users: []string{dave}}},
		"somebody has, and no look-up":       {[]func(*workflows.Line){approved(bob)}, true, daveAndSRE},
		"requester is named":                 {[]func(*workflows.Line){asks(dave)}, false, workflows.Approvers{Groups: []string{sre}}},
		"requester is of the group":          {[]func(*workflows.Line){asks(bob)}, false, workflows.Approvers{Users: []string{dave, carol}}},
		"requester is of the group, and may": {[]func(*workflows.Line){asks(bob), func(l *workflows.Line) { l.Round.AllowSelf = true }}, false, daveAndSRE},
		"nobody asks":                        {[]func(*workflows.Line){asks("")}, false, daveAndSRE},
		"who is named is of the group too":   {[]func(*workflows.Line){approved(bob), func(l *workflows.Line) { l.Round.Approvers.Users = []string{carol} }}, false, workflows.Approvers{Users: []string{carol}}},
		"a group too large":                  {[]func(*workflows.Line){approved(bob), func(l *workflows.Line) { l.Round.Approvers.Groups = []string{"S0LARGE001"} }}, false, workflows.Approvers{Users: []string{dave}, Groups: []string{"S0LARGE001"}}},
		"anybody in the channel":             {[]func(*workflows.Line){func(l *workflows.Line) { l.Round.Approvers = workflows.Approvers{Channel: true} }}, false, workflows.Approvers{Channel: true}},
		"a role is filled": {[]func(*workflows.Line){func(l *workflows.Line) {
			l.Round.Approvers, l.Round.Required = workflows.Approvers{}, 0
			l.Round.Roles = []workflows.Role{
				{Name: "Operations", Approvers: daveAndSRE}, {Name: "Security", Approvers: workflows.Approvers{Users: []string{erin}}},
			}
			l.Round.Decisions = []workflows.Decision{{Outcome: workflows.Approved, By: workflows.Person{ID: bob}, Roles: []string{"Operations"}}}
		}}, false, workflows.Approvers{Users: []string{erin}}},
		"escalated":                              {[]func(*workflows.Line){escalated(workflows.Approvers{Users: []string{erin}})}, false, workflows.Approvers{Users: []string{erin}}},
		"escalated to the requester, and others": {[]func(*workflows.Line){escalated(workflows.Approvers{Users: []string{alice, erin}})}, false, workflows.Approvers{Users: []string{erin}}},
		"escalated to who has approved":          {[]func(*workflows.Line){approved(bob), escalated(workflows.Approvers{Groups: []string{sre}})}, false, workflows.Approvers{Users: []string{carol}}},
		"delegated":                              {[]func(*workflows.Line){delegated}, false, workflows.Approvers{Users: []string{erin}}},
		"reminded after it was delegated": {
			[]func(*workflows.Line){delegated, func(l *workflows.Line) { l.Event = workflows.Reminded }},
			false,
			workflows.Approvers{Users: []string{erin}, Groups: []string{sre}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.join(people(21))
			w.sim.AddGroup(slacksim.Group{ID: "S0LARGE001", Handle: "large", Members: append(people(20), bob)})
			if tc.fault {
				w.sim.Inject(slacksim.Fault{Method: "usergroups.users.list", Status: 500})
			}
			r := request()
			r.Approvers, r.Required = workflows.Approvers{Users: slices.Clone(daveAndSRE.Users), Groups: slices.Clone(daveAndSRE.Groups)}, 4
			l := workflows.Line{Event: workflows.Reminded, Round: round(r)}
			for _, change := range tc.changes {
				change(&l)
			}
			before, err := json.Marshal(l)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, w.mentioned(t.Context(), l), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("mentioned (-want +got):\n%s", diff)
			}
			if after, err := json.Marshal(l); err != nil || string(after) != string(before) {
				t.Errorf("the line was changed to %s, %v", after, err)
			}
		})
	}
}
