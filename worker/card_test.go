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
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/temporal"

	"countersign/internal/reference"
	"countersign/internal/slacksim"
	"countersign/workflows"
)

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
	question, _, _, ok := workflows.SplitActivityID(ref.ActivityID)
	if !ok { // The test environment's activities have IDs of their own.
		question = ref.ActivityID
	}
	want := []started{{
		"close-" + key("card", ref.Namespace, ref.WorkflowID, ref.RunID, question), queue, "CloseCardLater",
		workflows.Closing{
			CloseCard: true, WorkflowID: ref.WorkflowID, RunID: ref.RunID, ActivityID: ref.ActivityID, Request: r,
			Result: workflows.Result{Card: workflows.Card{Channel: general, TS: all[0].TS}},
		},
	}}
	if diff := cmp.Diff(want, w.temporal.started, cmp.AllowUnexported(started{})); diff != "" {
		w.Errorf("started (-want +got):\n%s", diff)
	}
}

func TestPostCardInstead(t *testing.T) {
	const id = open1
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
		"first round has ended, and the next is open": {func(w *world) {
			const second = "AB2CDE-1-decision-2-00000000"
			r := request()
			r.Required = 2
			w.isPending(second, enumspb.PENDING_ACTIVITY_STATE_STARTED, time.Now().Add(-long), nil)
			w.temporal.history = []*historypb.HistoryEvent{
				w.scheduled(5, id, round(r)), w.completed(6, 5, workflows.Decision{Outcome: workflows.Approved}),
				w.scheduled(7, second, workflows.Round{Request: r, Number: 2, Decisions: []workflows.Decision{{Outcome: workflows.Approved}}}),
			}
		}, workflows.Card{}, false, false},
		"request has ended": {func(w *world) { w.hasEnded(id, request()) }, workflows.Card{}, false, false},
		"workflow is gone":  {func(w *world) { w.temporal.describe = notFound }, workflows.Card{}, false, false},
		"Temporal is away":  {func(w *world) { w.temporal.describe = away }, workflows.Card{}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tc.arrange(w)
			v, err := w.env.ExecuteActivity(w.PostCard, workflows.CardInput{ActivityID: id, Round: round(request()), Instead: true})
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
			var got workflows.Posted
			if err := v.Get(&got); err != nil {
				t.Fatal(err)
			}
			if tc.posts {
				tc.card = workflows.Card{Channel: general, TS: all[0].TS}
				if !slices.Contains(w.temporal.byID, id) {
					t.Errorf("the record went to %q, want the open activity", w.temporal.byID)
				}
				b, _ := all[0].Button("decision-1/approve")
				if ref, err := w.Keys.Open(b.Value); err != nil || ref.ActivityID != id {
					t.Errorf("the reference names %+v, %v", ref, err)
				}
			}
			if got.Card != tc.card {
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
			v, err := w.env.ExecuteActivity(w.PostCard, workflows.CardInput{ActivityID: id, Round: round(r), Instead: true})
			if err != nil {
				t.Fatal(err)
			}
			var got workflows.Posted
			if err := v.Get(&got); err != nil || got.Card == (workflows.Card{}) {
				t.Errorf("PostCard = %+v, %v; want where the card is", got, err)
			}
			w.leftToWorkflow(r)
		})
	}
	t.Run("attempt died after Slack took the card", func(t *testing.T) {
		w := newWorld(t)
		since := time.Now().Add(-long)
		w.isPending(id, enumspb.PENDING_ACTIVITY_STATE_STARTED, since, mark{Posting: since})
		in := workflows.CardInput{ActivityID: id, Round: round(request()), Instead: true}
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

// Its address for a browser is asked for, whoever posted the card.
func TestPostCardInsteadOfAnAttemptThatPosted(t *testing.T) {
	w := newWorld(t)
	card, err := w.Slack.Post(t.Context(), message())
	if err != nil {
		t.Fatal(err)
	}
	w.isPending(open1, enumspb.PENDING_ACTIVITY_STATE_STARTED, time.Now().Add(-time.Hour), mark{Card: card})
	got, err := w.postCardOf(workflows.CardInput{ActivityID: open1, Round: round(request()), Instead: true})
	if err != nil {
		t.Fatal(err)
	}
	if got.Card != card || got.Permalink != permalink(card) || got.Names[bob] != "bob" {
		t.Errorf("PostCard = %+v, want %+v with its permalink and names", got, card)
	}
	if len(w.messages()) != 1 || len(w.temporal.marks) > 0 {
		t.Errorf("%d messages, and %+v was recorded; want what was there", len(w.messages()), w.temporal.marks)
	}
}

// open1 is an open activity.
const open1 = "AB2CDE-1-decision-1-00000000"

func own(r workflows.Request) workflows.CardInput {
	return workflows.CardInput{ActivityID: open1, Round: round(r)}
}

// postCardOf makes one attempt.
func (w *world) postCardOf(in workflows.CardInput) (p workflows.Posted, err error) {
	w.Helper()
	v, err := w.env.ExecuteActivity(w.PostCard, in)
	if err == nil {
		err = v.Get(&p)
	}
	return p, err
}

// permalink is the address that the stand-in for Slack gives a message.
func permalink(c workflows.Card) string {
	return "https://" + slacksim.TeamDomain + ".slack.com/archives/" + c.Channel + "/p" + strings.ReplaceAll(c.TS, ".", "")
}

// reference opens the one on the card's button.
func (w *world) reference(m slacksim.Message, number int) reference.Reference {
	w.Helper()
	button, ok := m.Button(fmt.Sprintf("decision-%d/approve", number))
	if !ok {
		w.Fatalf("the card has no button of round %d: %+v", number, m.Buttons())
	}
	ref, err := w.Keys.Open(button.Value)
	if err != nil {
		w.Fatal(err)
	}
	return ref
}

func TestPostCard(t *testing.T) {
	t.Run("first attempt", func(t *testing.T) {
		w := newWorld(t)
		got, err := w.postCardOf(own(request()))
		if err != nil {
			t.Fatal(err)
		}
		all := w.messages()
		if len(all) != 1 {
			t.Fatalf("%d messages, want 1", len(all))
		}
		card := workflows.Card{Channel: general, TS: all[0].TS}
		want := workflows.Posted{Card: card, Permalink: permalink(card), Names: map[string]string{bob: "bob", sre: "@sre"}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("PostCard (-want +got):\n%s", diff)
		}
		if ref := w.reference(all[0], 1); ref.ActivityID != open1 || ref.Namespace != namespace || ref.WorkflowID == "" || ref.RunID == "" {
			t.Errorf("the reference names %+v", ref)
		}
		if len(w.temporal.marks) != 2 || len(w.temporal.byID) > 0 || len(w.temporal.signals) > 0 || len(w.temporal.started) > 0 {
			t.Errorf("recorded %+v, of others %v; signalled %v, started %v", w.temporal.marks, w.temporal.byID, w.temporal.signals, w.temporal.started)
		}
	})
	t.Run("retried after it posted", func(t *testing.T) {
		w := newWorld(t)
		first, err := w.postCardOf(own(request()))
		if err != nil {
			t.Fatal(err)
		}
		w.env.SetHeartbeatDetails(w.left())
		again, err := w.postCardOf(own(request()))
		if err != nil || len(w.messages()) != 1 {
			t.Errorf("PostCard: %v with %d messages", err, len(w.messages()))
		}
		if diff := cmp.Diff(first, again); diff != "" {
			t.Errorf("the second attempt gives another answer (-first +again):\n%s", diff)
		}
	})
	for name, channel := range map[string]string{"the channel": general, "a direct message": carol} {
		t.Run("posted, and Slack said that it failed, in "+name, func(t *testing.T) {
			w := newWorld(t)
			r := request()
			r.Channel = channel
			w.sim.Inject(slacksim.Fault{Method: "chat.postMessage", Times: 1, Status: 500, Performed: true})
			if _, err := w.postCardOf(own(r)); err == nil {
				t.Fatal("the attempt did not fail")
			}
			w.env.SetHeartbeatDetails(w.left())
			got, err := w.postCardOf(own(r))
			if err != nil {
				t.Fatal(err)
			}
			all := w.sim.Messages(got.Channel)
			if len(all) != 1 || all[0].TS != got.TS || strings.HasPrefix(got.Channel, "D") != (channel == carol) {
				t.Errorf("posted at %+v; there are %+v", got.Card, all)
			}
		})
	}
	t.Run("to a person", func(t *testing.T) {
		w := newWorld(t)
		r := request()
		r.Channel, r.Approvers = carol, workflows.Approvers{Users: []string{carol}}
		got, err := w.postCardOf(own(r))
		if err != nil {
			t.Fatal(err)
		}
		direct, err := w.Slack.DirectMessage(t.Context(), carol)
		if err != nil {
			t.Fatal(err)
		}
		if got.Channel != direct || got.Permalink != permalink(got.Card) || len(w.sim.Messages(direct)) != 1 {
			t.Errorf("posted %+v, want it in %s", got, direct)
		}
		if ref := w.reference(w.sim.Messages(direct)[0], 1); !slices.Equal(ref.Users, []string{carol}) {
			t.Errorf("the reference lets %v decide", ref.Users)
		}
	})
	t.Run("to a person who has left", func(t *testing.T) {
		w := newWorld(t)
		r := request()
		r.Channel = "U0FORMER01"
		_, err := w.postCardOf(own(r))
		if app := asApp(t, err); app.Type() != workflows.ErrTypeRefused || !app.NonRetryable() {
			t.Errorf("PostCard: %v", app)
		}
	})
	t.Run("in roles", func(t *testing.T) {
		w := newWorld(t)
		r := inRoles(workflows.Approvers{Groups: []string{sre}})
		r.Roles = append(r.Roles, workflows.Role{Name: "Security", Approvers: workflows.Approvers{Users: []string{erin}}})
		got, err := w.postCardOf(own(r))
		if err != nil {
			t.Fatal(err)
		}
		want := []reference.Role{{Name: "Operations", Groups: []string{sre}}, {Name: "Security", Users: []string{erin}}}
		if diff := cmp.Diff(want, w.reference(w.messages()[0], 1).Roles); diff != "" {
			t.Errorf("the reference's roles (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[string]string{sre: "@sre", erin: "erin"}, got.Names); diff != "" {
			t.Errorf("names (-want +got):\n%s", diff)
		}
	})
	atSecond := func(err error) func(int, mark) error {
		return func(n int, _ mark) error {
			if n == 2 {
				return err
			}
			return nil
		}
	}
	for name, answer := range map[string]error{"ended": notFound, "cancelled": temporal.NewCanceledError()} {
		t.Run(name+" while it posted", func(t *testing.T) {
			w := newWorld(t)
			w.temporal.heartbeat = atSecond(answer)
			r := request()
			got, err := w.postCardOf(own(r))
			if err != nil || got.Card == (workflows.Card{}) {
				t.Errorf("PostCard = %+v, %v; want where the card is", got, err)
			}
			w.leftToWorkflow(r)
		})
		t.Run(name+" before it posted", func(t *testing.T) {
			w := newWorld(t)
			w.temporal.heartbeat = func(int, mark) error { return answer }
			got, err := w.postCardOf(own(request()))
			if err != nil || !cmp.Equal(got, workflows.Posted{}) || len(w.messages()) > 0 || len(w.temporal.started) > 0 {
				t.Errorf("PostCard = %+v, %v, with %d messages, and started %v", got, err, len(w.messages()), w.temporal.started)
			}
		})
	}
	t.Run("its permalink is not told", func(t *testing.T) {
		w := newWorld(t)
		w.sim.Inject(slacksim.Fault{Method: "chat.getPermalink", Status: 503})
		got, err := w.postCardOf(own(request()))
		if err != nil || got.Card == (workflows.Card{}) || got.Permalink != "" || !w.log.has("permalink") {
			t.Errorf("PostCard = %+v, %v; the log says %s", got, err, &w.log.buf)
		}
	})
	t.Run("names of groups are not told", func(t *testing.T) {
		w := newWorld(t)
		w.sim.Inject(slacksim.Fault{Method: "usergroups.list", Error: "missing_scope"})
		got, err := w.postCardOf(own(request()))
		if diff := cmp.Diff(map[string]string{bob: "bob"}, got.Names); err != nil || diff != "" {
			t.Errorf("PostCard: %v, names (-want +got):\n%s", err, diff)
		}
	})
	t.Run("names of as many as operators are shown", func(t *testing.T) {
		w := newWorld(t)
		w.join(people(12))
		r := request()
		r.Approvers = workflows.Approvers{Users: people(12)}
		if got, err := w.postCardOf(own(r)); err != nil || len(got.Names) != 10 || len(w.sim.Calls("usergroups.list")) > 0 {
			t.Errorf("PostCard = %+v, %v; want ten names, and no look-up of groups", got, err)
		}
	})
	t.Run("Slack asks to wait", func(t *testing.T) {
		w := newWorld(t)
		w.sim.Inject(slacksim.Fault{Method: "chat.postMessage", Times: 1, Status: 429, RetryAfter: 17 * time.Second})
		_, err := w.postCardOf(own(request()))
		if app := asApp(t, err); app.NextRetryDelay() != 17*time.Second || app.NonRetryable() {
			t.Errorf("PostCard: %v, tried again in %v", app, app.NextRetryDelay())
		}
	})
}

// What cannot be decided, or is not allowed (any more), is refused before anything is posted.
func TestPostCardRefuses(t *testing.T) {
	const nobody = "U0NOBODY01"
	missing := workflows.Approvers{Users: []string{nobody}}
	asksFor := func(person workflows.Text) func(*workflows.Request) {
		return func(r *workflows.Request) {
			r.Inputs = []workflows.Input{
				{Name: "good", Type: workflows.PersonInput, Initial: carol},
				{Name: "owner", Type: workflows.PersonInput, Initial: person},
				{Name: "none", Type: workflows.PersonInput},
				{Name: "text", Initial: "U0NOBODY02"},
			}
		}
	}
	for name, tc := range map[string]struct {
		change func(*workflows.Request)
		says   string
	}{
		"an unknown person in a role":         {func(r *workflows.Request) { *r = inRoles(missing) }, "no person " + nobody},
		"an unknown person who comes in time": {func(r *workflows.Request) { r.Escalate = inTime(missing) }, "no person " + nobody},
		"an unknown group who come in time":   {func(r *workflows.Request) { r.Escalate = inTime(workflows.Approvers{Groups: []string{"S0NOWHERE1"}}) }, "no user group S0NOWHERE1"},
		"an input that begins with nobody":    {asksFor(nobody), "The initial value of input 2, " + nobody + ", is no person of this workspace."},
		"an input that begins with a bot":     {asksFor("U0ROBOT001"), "The initial value of input 2, <@U0ROBOT001>, is no active person of this workspace."},
		"an input that begins with a former":  {asksFor("U0FORMER01"), "<@U0FORMER01>, is no active person"},
		"an input that begins with another's": {asksFor("U0EXTERN01"), "<@U0EXTERN01>, is no active person"},
		"guests, which ceased to be allowed":  {func(r *workflows.Request) { r.AllowGuests = true }, "ALLOW_GUESTS"},
		"more than a button holds, in time":   {func(r *workflows.Request) { r.Escalate = inTime(workflows.Approvers{Users: people(120)}) }, "does not fit into a Slack button"},
		"more than a button holds, with all who approve": {func(r *workflows.Request) {
			r.Approvers, r.Roles = workflows.Approvers{}, nil
			for i := range 5 {
				r.Roles = append(r.Roles, workflows.Role{
					Name: strings.Repeat(fmt.Sprint(i), 30), Approvers: workflows.Approvers{Users: people(50)[10*i : 10*i+10]}, Required: 10,
				})
			}
		}, "does not fit into a Slack button"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.join(people(120))
			r := request()
			tc.change(&r)
			if _, err := w.Keys.Seal(reference.Of(namespace, strings.Repeat("w", 36), strings.Repeat("r", 36), open1, round(r), r.Digest(), nil)); err != nil {
				t.Fatalf("the first card would not fit, so this test shows nothing: %v", err)
			}
			_, err := w.postCardOf(own(r))
			if app := asApp(t, err); app.Type() != workflows.ErrTypeInvalidRequest || !app.NonRetryable() || !strings.Contains(app.Message(), tc.says) {
				t.Errorf("PostCard: %v, want %q", app, tc.says)
			}
			if len(w.messages()) > 0 {
				t.Error("a card was posted")
			}
		})
	}
}

func TestRedrawCard(t *testing.T) {
	const second = "AB2CDE-1-decision-2-00000000"
	arrange := func(w *world) workflows.CardInput {
		w.Helper()
		r := request()
		r.Required = 2
		posted, err := w.postCardOf(own(r))
		if err != nil {
			w.Fatal(err)
		}
		next := workflows.Round{Request: r, Number: 2, Decisions: []workflows.Decision{{Outcome: workflows.Approved, By: workflows.Person{ID: bob}, At: time.Now()}}}
		return workflows.CardInput{ActivityID: second, Round: next, Card: posted.Card}
	}
	redraw := func(w *world, in workflows.CardInput) (p workflows.Posted, err error) {
		w.Helper()
		v, err := w.env.ExecuteActivity(w.RedrawCard, in)
		if err == nil {
			err = v.Get(&p)
		}
		return p, err
	}
	t.Run("shows the round as it stands", func(t *testing.T) {
		w := newWorld(t)
		in := arrange(w)
		for range 2 { // It is idempotent.
			got, err := redraw(w, in)
			if err != nil {
				t.Fatal(err)
			}
			want := workflows.Posted{Card: in.Card, Names: map[string]string{bob: "bob", sre: "@sre"}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("RedrawCard (-want +got):\n%s", diff)
			}
		}
		all := w.messages()
		if len(all) != 1 || !strings.Contains(all[0].PlainText(), "1 of 2") {
			t.Fatalf("the channel has %+v", all)
		}
		if ref := w.reference(all[0], 2); ref.ActivityID != second || !slices.Equal(ref.Approved, []string{bob}) {
			t.Errorf("the reference names %+v", ref)
		}
		if n := len(w.sim.Calls("chat.getPermalink")); n != 1 {
			t.Errorf("asked for the permalink %d times, want once, when it was posted", n)
		}
	})
	for name, tc := range map[string]struct {
		arrange func(*world, *workflows.CardInput)
		kind    string // of its final error; empty: it is tried again
		again   time.Duration
	}{
		"card was deleted": {func(w *world, in *workflows.CardInput) { w.sim.Delete("general", in.Card.TS) }, workflows.ErrTypeRefused, 0},
		"channel is gone":  {func(w *world, _ *workflows.CardInput) { w.sim.Archive("general") }, workflows.ErrTypeRefused, 0},
		"Slack asks to wait": {func(w *world, _ *workflows.CardInput) {
			w.sim.Inject(slacksim.Fault{Method: "chat.update", Status: 429, RetryAfter: 9 * time.Second})
		}, "", 9 * time.Second},
		"Slack is down": {func(w *world, _ *workflows.CardInput) {
			w.sim.Inject(slacksim.Fault{Method: "chat.update", Status: 503})
		}, "", 0},
		"more than a button holds": {func(_ *world, in *workflows.CardInput) {
			in.Round.Approvers.Users = people(120)
		}, workflows.ErrTypeInvalidRequest, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			in := arrange(w)
			tc.arrange(w, &in)
			_, err := redraw(w, in)
			if err == nil {
				t.Fatal("no error")
			}
			var app *temporal.ApplicationError
			if tc.kind != "" {
				if app = asApp(t, err); app.Type() != tc.kind || !app.NonRetryable() {
					t.Errorf("RedrawCard: %v of type %s, final %v", app, app.Type(), app.NonRetryable())
				}
			} else if errors.As(err, &app) && (app.NonRetryable() || app.NextRetryDelay() != tc.again) {
				t.Errorf("RedrawCard: %v, final %v, again in %v", app, app.NonRetryable(), app.NextRetryDelay())
			}
			for _, m := range w.messages() {
				if _, ok := m.Button("decision-2/approve"); ok {
					t.Error("it was drawn anew")
				}
			}
		})
	}
}

// Tracing keeps no request from being asked that fits into a button without it.
func TestTraceThatDoesNotFit(t *testing.T) {
	t.Parallel()
	keys, err := reference.ParseKeys(reference.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	a := &Activities{Deps{Keys: keys}}
	ref := reference.Reference{Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	for err == nil { // until it does not fit
		ref.WorkflowID += "w"
		_, err = keys.Seal(ref)
	}
	sealed, err := a.sealed(ref)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := keys.Open(sealed); err != nil || got.Trace != "" || got.WorkflowID != ref.WorkflowID {
		t.Errorf("it is sealed as %+v (%v)", got, err)
	}
}
