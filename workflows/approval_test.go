package workflows_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"countersign/workflows"
)

// asks is a request of alice's that so many of bob, carol and dave have to approve.
func asks(required int) workflows.Request {
	return workflows.Request{
		Title: "Deploy 1.2.3", Text: "To *production*.", Channel: "C0GENERAL1", Requester: alice.ID,
		Approvers: workflows.Approvers{Users: []string{bob.ID, carol.ID, dave.ID}}, Required: required,
	}
}

// only is a request that only bob may decide.
func only() workflows.Request {
	r := asks(0)
	r.Approvers.Users = []string{bob.ID}
	return r
}

func with(r workflows.Request, change func(*workflows.Request)) workflows.Request {
	change(&r)
	return r
}

// run runs Approval until it ends.
func (w *world) run(r workflows.Request) (res workflows.Result, err error) {
	w.Helper()
	w.ExecuteWorkflow(workflows.Approval, r)
	if !w.IsWorkflowCompleted() {
		w.Fatal("the workflow has not completed")
	}
	if err := w.GetWorkflowError(); err != nil {
		return workflows.Result{}, err
	}
	if err := w.GetWorkflowResult(&res); err != nil {
		w.Fatal(err)
	}
	return res, nil
}

// ask runs Approval and fails the test where it does not end with that outcome, or its card does not show it.
func (w *world) ask(r workflows.Request, want workflows.Outcome) workflows.Result {
	w.Helper()
	res, err := w.run(r)
	if err != nil || res.Outcome != want {
		w.Fatalf("Approval = %+v, %v; want %s", res, err, want)
	}
	c := w.closing()
	if diff := cmp.Diff(res, c.Result); diff != "" {
		w.Errorf("closed with another result (-returned +closed):\n%s", diff)
	}
	if len(res.Digest) != 64 || res.EndedAt.IsZero() {
		w.Errorf("digest %q, ended at %v", res.Digest, res.EndedAt)
	}
	for _, told := range inputs[workflows.Closing](w, workflows.TellRequester) {
		if told.Result.Outcome != want || told.TellRequester == told.TellDirectly || len(told.Lines) > 0 {
			w.Errorf("told with %+v", told)
		}
	}
	return res
}

// failed runs Approval and fails the test where it does not fail with that type.
func (w *world) failed(r workflows.Request, errType string) *temporal.ApplicationError {
	w.Helper()
	res, err := w.run(r)
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.Type() != errType || !app.NonRetryable() || app.Category() != temporal.ApplicationErrorCategoryBenign {
		w.Fatalf("Approval = %+v, %v; want a final, benign error of type %s", res, err, errType)
	}
	return app
}

// isWithdrawn runs Approval and fails the test where it does not end cancelled.
func (w *world) isWithdrawn(r workflows.Request) {
	w.Helper()
	if res, err := w.run(r); !temporal.IsCanceledError(err) {
		w.Fatalf("Approval = %+v, %v; want it cancelled", res, err)
	}
}

// who are the people who decided, and as what, in their order.
func who(ds []workflows.Decision) string {
	var all []string
	for _, d := range ds {
		said := d.By.Name
		if d.Outside() {
			said = "outside"
		}
		if said += ":" + string(d.Outcome); d.Role != "" {
			said += "/" + d.Role
		}
		all = append(all, said)
	}
	return strings.Join(all, " ")
}

func TestApprovalOfOne(t *testing.T) {
	w := newWorld(t)
	var d workflows.Decision
	w.at(time.Hour, func() { d = w.decide(workflows.Decision{By: bob, Via: workflows.ViaHome, Reason: "Go."}) })
	res := w.ask(only(), workflows.Approved)
	want := workflows.Result{
		Outcome: workflows.Approved, Decisions: []workflows.Decision{d}, Card: posted, Permalink: permalink,
		EndedAt: started.Add(time.Hour), Digest: d.Digest,
	}
	if diff := cmp.Diff(want, res); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	q := w.question(0)
	if diff := cmp.Diff([]workflows.CardInput{{ActivityID: q.id, Round: q.round}}, inputs[workflows.CardInput](w, workflows.PostCard)); diff != "" {
		t.Errorf("PostCard (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]workflows.Event{workflows.Asked}, w.events()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	w.executed(0, workflows.RedrawCard)
	w.executed(0, workflows.EndDecision)
	w.executed(1, workflows.TellRequester)
	if c := w.closing(); !c.CloseCard || !c.TellRequester || c.TellDirectly || c.Again || !c.Posting.IsZero() || c.ActivityID != q.id {
		t.Errorf("closed %+v", c)
	}
}

// What the caller asks for and the deployment takes back is gone from the activity, the card and the digest.
func TestApprovalAsksWhatWasPrepared(t *testing.T) {
	w := newWorld(t)
	w.prepare = func(_ context.Context, r workflows.Request) (workflows.Request, error) {
		return workflows.Request{
			Title: r.Title, Channel: r.Channel, Approvers: workflows.Approvers{Users: []string{bob.ID}}, ExpiresAt: deadline,
		}, nil
	}
	w.approve(bob)
	loose := asks(3)
	loose.AllowSelf, loose.AllowGuests, loose.Approvers.Channel = true, true, true
	loose.OnExpiry, loose.Roles = workflows.ApproveOnExpiry, []workflows.Role{{Name: "sre"}}
	w.ask(loose, workflows.Approved)
	want := workflows.Request{
		Title: "Deploy 1.2.3", Channel: "C0GENERAL1", Approvers: workflows.Approvers{Users: []string{bob.ID}}, ExpiresAt: deadline,
	}
	if diff := cmp.Diff(want, w.question(0).request); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestNofM(t *testing.T) {
	yes := func(p workflows.Person) workflows.Decision { return workflows.Decision{By: p} }
	no := func(p workflows.Person) workflows.Decision {
		return workflows.Decision{Outcome: workflows.Rejected, By: p, Reason: "Not today."}
	}
	choose := func(p workflows.Person, n int) workflows.Decision { return workflows.Decision{By: p, Option: n} }
	sum := func(p workflows.Person, s string) workflows.Decision {
		return workflows.Decision{By: p, Inputs: map[string]string{"sum": s}}
	}
	as := func(p workflows.Person, roles ...string) workflows.Decision {
		return workflows.Decision{By: p, Roles: roles}
	}
	choices := with(asks(2), func(r *workflows.Request) {
		r.Choices = []workflows.Choice{{Label: "Blue", Value: "b"}, {Label: "Green"}}
	})
	amount := with(asks(2), func(r *workflows.Request) {
		r.Inputs = []workflows.Input{{Name: "sum", Type: workflows.NumberInput, Initial: "100"}}
	})
	roles := with(asks(0), func(r *workflows.Request) {
		r.Approvers = workflows.Approvers{}
		r.Roles = []workflows.Role{
			{Name: "security", Approvers: workflows.Approvers{Groups: []string{"S0SEC00001"}}},
			{Name: "sre", Approvers: workflows.Approvers{Groups: []string{"S0SRE00001"}}, Required: 2},
		}
	})
	for name, tc := range map[string]struct {
		request   workflows.Request
		decisions []workflows.Decision // an hour apart
		rounds    int
		want      workflows.Outcome
		who       string
	}{
		"one of three":                        {asks(1), []workflows.Decision{yes(carol)}, 1, workflows.Approved, "carol:approved"},
		"two of three":                        {asks(2), []workflows.Decision{yes(carol), yes(bob)}, 2, workflows.Approved, "carol:approved bob:approved"},
		"three of three":                      {asks(3), []workflows.Decision{yes(carol), yes(bob), yes(dave)}, 3, workflows.Approved, "carol:approved bob:approved dave:approved"},
		"a person clicks twice":               {asks(2), []workflows.Decision{yes(bob), yes(bob), yes(bob), yes(dave)}, 4, workflows.Approved, "bob:approved dave:approved"},
		"the first rejects":                   {asks(2), []workflows.Decision{no(bob)}, 1, workflows.Rejected, "bob:rejected"},
		"the second rejects":                  {asks(3), []workflows.Decision{yes(bob), no(carol)}, 2, workflows.Rejected, "bob:approved carol:rejected"},
		"who approved rejects":                {asks(2), []workflows.Decision{yes(bob), no(bob)}, 2, workflows.Rejected, "bob:approved bob:rejected"},
		"the same choice":                     {choices, []workflows.Decision{choose(bob, 2), choose(carol, 2)}, 2, workflows.Approved, "bob:approved carol:approved"},
		"another choice does not count along": {choices, []workflows.Decision{choose(bob, 2), choose(carol, 1), choose(dave, 2)}, 3, workflows.Approved, "bob:approved carol:approved dave:approved"},
		"a vote is changed":                   {choices, []workflows.Decision{choose(bob, 1), choose(carol, 2), choose(bob, 2)}, 3, workflows.Approved, "bob:approved carol:approved bob:approved"},
		"the same inputs":                     {amount, []workflows.Decision{sum(bob, "80"), sum(carol, "80")}, 2, workflows.Approved, "bob:approved carol:approved"},
		"inputs are changed on the way":       {amount, []workflows.Decision{sum(bob, "100"), sum(carol, "80"), sum(bob, "80")}, 3, workflows.Approved, "bob:approved carol:approved bob:approved"},
		"roles": {
			roles,
			[]workflows.Decision{as(bob, "sre"), as(carol, "security"), as(dave, "sre")},
			3, workflows.Approved,
			"bob:approved/sre carol:approved/security dave:approved/sre",
		},
		"who has both roles fills the one that is missing": {
			roles,
			[]workflows.Decision{as(bob, "security", "sre"), as(carol, "security"), as(dave, "sre")},
			3, workflows.Approved,
			"bob:approved/sre carol:approved/security dave:approved/sre",
		},
		"a role is full": {
			roles,
			[]workflows.Decision{as(bob, "sre"), as(carol, "sre"), as(dave, "sre"), as(erin, "security")},
			4, workflows.Approved,
			"bob:approved/sre carol:approved/sre dave:approved erin:approved/security",
		},
		"one role rejects": {roles, []workflows.Decision{as(bob, "sre"), {Outcome: workflows.Rejected, By: carol, Roles: []string{"security"}}}, 2, workflows.Rejected, "bob:approved carol:rejected"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for i, d := range tc.decisions {
				w.at(time.Duration(i+1)*time.Hour, func() { w.decide(d) })
			}
			res := w.ask(tc.request, tc.want)
			if got := who(res.Decisions); got != tc.who {
				t.Errorf("decided by %s, want %s", got, tc.who)
			}
			w.executed(tc.rounds, workflows.AwaitDecision)
			w.executed(tc.rounds-1, workflows.RedrawCard)
			w.executed(1, workflows.PostCard)
			switch {
			case len(tc.request.Choices) > 0 && res.Choice != "Green", len(tc.request.Inputs) > 0 && res.Inputs["sum"] != "80":
				t.Errorf("approved %q %v", res.Choice, res.Inputs)
			}
			for i, in := range inputs[workflows.CardInput](w, workflows.RedrawCard) {
				if in.ActivityID != w.question(i+1).id || in.Round.Number != i+2 || in.Card != posted || in.Instead {
					t.Errorf("redrawn for %s, round %d of %+v", in.ActivityID, in.Round.Number, in.Card)
				}
			}
			// One line for each that was new, but for the one that ended it.
			asked := w.events()
			if len(asked) != len(res.Decisions) || asked[0] != workflows.Asked || len(asked) > 1 && slices.Compact(asked[1:])[0] != workflows.Decided {
				t.Errorf("lines %q for %s", asked, tc.who)
			}
			_, _, policy, _ := workflows.SplitActivityID(w.question(0).id)
			for n := range tc.rounds {
				if _, number, same, _ := workflows.SplitActivityID(w.question(n).id); same != policy || number != n+1 {
					t.Errorf("activity %d is %s, want another number and nothing else", n, w.question(n).id)
				}
			}
		})
	}
}

// What was decided outside Slack counts as one person's approval, whose name nobody knows.
func TestApprovalFromOutside(t *testing.T) {
	w := newWorld(t)
	w.at(time.Hour, func() { w.complete(w.question(0).id, true, nil) })
	w.at(2*time.Hour, func() { w.complete(w.question(1).id, "approved", nil) })
	w.at(3*time.Hour, func() { w.decide(workflows.Decision{By: carol}) })
	res := w.ask(asks(2), workflows.Approved)
	if got := who(res.Decisions); got != "outside:approved carol:approved" {
		t.Errorf("decided by %s", got)
	}
}

func TestLinesOfDecisions(t *testing.T) {
	w := newWorld(t)
	w.approve(bob, carol, dave)
	w.ask(asks(3), workflows.Approved)
	lines := inputs[workflows.Line](w, workflows.PostLine)
	type said struct {
		Event workflows.Event
		N     int
		By    string
		At    time.Duration
	}
	var got []said
	for _, l := range lines {
		by := ""
		if n := len(l.Round.Decisions); n > 0 {
			by = l.Round.Decisions[n-1].By.Name
		}
		got = append(got, said{l.Event, l.Number, by, l.At.Sub(started)})
		if l.Card != posted || l.Again || l.Round.Text != "" || l.Round.Title == "" {
			t.Errorf("line %+v", l)
		}
	}
	want := []said{{workflows.Asked, 1, "", 0}, {workflows.Decided, 2, "bob", time.Hour}, {workflows.Decided, 3, "carol", 2 * time.Hour}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestRejectedApproval(t *testing.T) {
	reject := func(w *world) {
		w.at(time.Hour, func() { w.decide(workflows.Decision{Outcome: workflows.Rejected, By: bob, Reason: "Not today."}) })
	}
	t.Run("is a value", func(t *testing.T) {
		w := newWorld(t)
		reject(w)
		res := w.ask(asks(2), workflows.Rejected)
		if d, ok := res.Decision(); !ok || d.By != bob || d.Reason != "Not today." {
			t.Errorf("decided %+v", d)
		}
	})
	t.Run("is a failure where the request says so", func(t *testing.T) {
		w := newWorld(t)
		reject(w)
		app := w.failed(with(asks(2), func(r *workflows.Request) { r.FailOnReject = true }), workflows.ErrTypeRejected)
		var d workflows.Decision
		if err := app.Details(&d); err != nil || d.By != bob || d.Reason != "Not today." || d.Outcome != workflows.Rejected {
			t.Errorf("details %+v, %v", d, err)
		}
		if c := w.closing(); c.Result.Outcome != workflows.Rejected {
			t.Errorf("closed as %s", c.Result.Outcome)
		}
		w.executed(1, workflows.TellRequester)
	})
	t.Run("an approval is a value all the same", func(t *testing.T) {
		w := newWorld(t)
		w.approve(bob)
		w.ask(with(only(), func(r *workflows.Request) { r.FailOnReject = true }), workflows.Approved)
	})
	t.Run("by the deadline is a failure too", func(t *testing.T) {
		w := newWorld(t)
		app := w.failed(with(asks(2), func(r *workflows.Request) {
			r.FailOnReject, r.OnExpiry = true, workflows.RejectOnExpiry
		}), workflows.ErrTypeRejected)
		var d workflows.Decision
		if err := app.Details(&d); err != nil || d.Outcome != workflows.Rejected || !d.Outside() || !d.At.Equal(deadline) {
			t.Errorf("details %+v, %v", d, err)
		}
	})
}

func TestDeadlineOfApproval(t *testing.T) {
	for on, want := range map[workflows.OnExpiry]workflows.Outcome{
		"": workflows.Expired, workflows.Expire: workflows.Expired,
		workflows.ApproveOnExpiry: workflows.Approved, workflows.RejectOnExpiry: workflows.Rejected,
	} {
		t.Run("on expiry "+string(on), func(t *testing.T) {
			w := newWorld(t)
			res := w.ask(with(asks(2), func(r *workflows.Request) { r.OnExpiry = on }), want)
			if _, decided := res.Decision(); decided || res.ByDeadline != (want != workflows.Expired) || !res.EndedAt.Equal(deadline) {
				t.Errorf("ended %+v, decided %v", res, decided)
			}
			ended := []workflows.EndDecisionInput{{ActivityID: w.question(0).id, Outcome: workflows.Expired}}
			if diff := cmp.Diff(ended, inputs[workflows.EndDecisionInput](w, workflows.EndDecision)); diff != "" {
				t.Errorf("EndDecision (-want +got):\n%s", diff)
			}
		})
		t.Run("in the middle, on expiry "+string(on), func(t *testing.T) {
			w := newWorld(t)
			w.approve(carol)
			res := w.ask(with(asks(2), func(r *workflows.Request) { r.OnExpiry = on }), want)
			if who(res.Decisions) != "carol:approved" || !res.EndedAt.Equal(deadline) {
				t.Errorf("ended %+v", res)
			}
			w.executed(2, workflows.AwaitDecision)
		})
		t.Run("no attempt under way, on expiry "+string(on), func(t *testing.T) {
			w := newWorld(t)
			w.unstarted = []string{workflows.AwaitDecision}
			w.endDecision = func(workflows.EndDecisionInput) (workflows.DecisionEnded, error) {
				return workflows.DecisionEnded{}, nil
			}
			w.ask(with(asks(2), func(r *workflows.Request) { r.OnExpiry = on }), want)
		})
	}
	// Nobody was asked: silence says nothing.
	for _, on := range []workflows.OnExpiry{workflows.ApproveOnExpiry, workflows.RejectOnExpiry} {
		t.Run("no card, on expiry "+string(on), func(t *testing.T) {
			w := newWorld(t)
			w.unstarted = []string{workflows.PostCard}
			w.postCard = func(workflows.CardInput) (workflows.Posted, error) { return workflows.Posted{}, slow }
			res := w.ask(with(asks(2), func(r *workflows.Request) {
				r.OnExpiry, r.Inputs = on, []workflows.Input{{Name: "sum", Initial: "1"}}
			}), workflows.Expired)
			if res.ByDeadline || len(res.Inputs) > 0 || !res.EndedAt.Equal(deadline) {
				t.Errorf("ended %+v", res)
			}
		})
	}
	t.Run("is the request's, not the deployment's", func(t *testing.T) {
		w := newWorld(t)
		res := w.ask(with(only(), func(r *workflows.Request) { r.Deadline = "90m" }), workflows.Expired)
		if !res.EndedAt.Equal(started.Add(90 * time.Minute)) {
			t.Errorf("ended at %v", res.EndedAt)
		}
	})
	t.Run("has passed already", func(t *testing.T) {
		w := newWorld(t)
		w.unstarted = []string{workflows.PostCard}
		w.postCard = func(workflows.CardInput) (workflows.Posted, error) { return workflows.Posted{}, slow }
		res := w.ask(with(only(), func(r *workflows.Request) { r.ExpiresAt = started.Add(-time.Hour) }), workflows.Expired)
		if res.EndedAt.After(started.Add(time.Minute)) {
			t.Errorf("ended at %v", res.EndedAt)
		}
	})
	t.Run("the preparation did not come to an end before", func(t *testing.T) {
		w := newWorld(t)
		w.prepare = func(context.Context, workflows.Request) (workflows.Request, error) {
			return workflows.Request{}, temporal.NewTimeoutError(2, nil)
		}
		// Nobody has been asked: an approval by the deadline would be nobody's.
		res, err := w.run(with(only(), func(r *workflows.Request) { r.Deadline, r.OnExpiry = "1h", workflows.ApproveOnExpiry }))
		if err != nil || res.Outcome != workflows.Expired {
			t.Errorf("Approval = %+v, %v; want expired", res, err)
		}
		w.executed(0, workflows.AwaitDecision)
		w.executed(0, workflows.PostCard)
	})
}

// Whoever is first with Temporal's server ends the round.
func TestDecisionIsFirst(t *testing.T) {
	// first has the decision be there already when the workflow reports another end.
	first := func(w *world, d workflows.Decision) {
		end := w.endDecision
		w.endDecision = func(in workflows.EndDecisionInput) (workflows.DecisionEnded, error) {
			if w.endDecision = end; w.isOpen(in.ActivityID) {
				w.decide(d)
			}
			left, err := end(in)
			left.Unknown = true
			return left, err
		}
	}
	withdraw := workflows.Change{Kind: workflows.Withdraw, By: alice}
	t.Run("before the deadline", func(t *testing.T) {
		w := newWorld(t)
		first(w, workflows.Decision{By: bob})
		if res := w.ask(only(), workflows.Approved); res.ByDeadline {
			t.Errorf("ended %+v", res)
		}
	})
	t.Run("before the deadline, which it is not enough for", func(t *testing.T) {
		w := newWorld(t)
		first(w, workflows.Decision{By: bob})
		res := w.ask(asks(2), workflows.Expired)
		if who(res.Decisions) != "bob:approved" {
			t.Errorf("decided by %s", who(res.Decisions))
		}
		w.executed(1, workflows.AwaitDecision)
	})
	t.Run("rejection before the deadline's approval", func(t *testing.T) {
		w := newWorld(t)
		first(w, workflows.Decision{By: bob, Outcome: workflows.Rejected})
		w.ask(with(asks(2), func(r *workflows.Request) { r.OnExpiry = workflows.ApproveOnExpiry }), workflows.Rejected)
	})
	t.Run("before a withdrawal", func(t *testing.T) {
		w := newWorld(t)
		first(w, workflows.Decision{By: bob})
		var a *answer
		w.at(time.Hour, func() { a = w.change(withdraw) })
		res := w.ask(only(), workflows.Approved)
		w.notMade(a, "Too late: this request is approved already.")
		if len(res.Changes) > 0 {
			t.Errorf("changed by %+v", res.Changes)
		}
	})
	t.Run("before a withdrawal, which it is not enough for", func(t *testing.T) {
		w := newWorld(t)
		first(w, workflows.Decision{By: bob})
		var a *answer
		w.at(time.Hour, func() { a = w.change(withdraw) })
		res := w.ask(asks(2), workflows.Withdrawn)
		w.made(a)
		if c, ok := res.Withdrawal(); !ok || c.By != alice || who(res.Decisions) != "bob:approved" {
			t.Errorf("ended %+v", res)
		}
	})
	t.Run("before a cancellation", func(t *testing.T) {
		w := newWorld(t)
		first(w, workflows.Decision{By: bob})
		w.at(time.Hour, w.CancelWorkflow)
		w.ask(only(), workflows.Approved)
	})
	t.Run("before a cancellation, which it is not enough for", func(t *testing.T) {
		w := newWorld(t)
		first(w, workflows.Decision{By: bob})
		w.at(time.Hour, w.CancelWorkflow)
		w.isWithdrawn(asks(2))
		if c := w.closing(); c.Result.Outcome != workflows.Withdrawn || who(c.Result.Decisions) != "bob:approved" {
			t.Errorf("closed with %+v", c.Result)
		}
	})
	t.Run("before a delegation", func(t *testing.T) {
		w := newWorld(t)
		first(w, workflows.Decision{By: carol})
		var a *answer
		w.at(time.Hour, func() { a = w.change(workflows.Change{Kind: workflows.Delegate, By: bob, To: erin.ID}) })
		w.ask(asks(1), workflows.Approved)
		w.notMade(a, "Too late: this request is approved already.")
	})
	t.Run("before a delegation, which is made for what is left", func(t *testing.T) {
		w := newWorld(t)
		first(w, workflows.Decision{By: carol})
		var a *answer
		w.at(time.Hour, func() { a = w.change(workflows.Change{Kind: workflows.Delegate, By: bob, To: erin.ID}) })
		w.at(2*time.Hour, func() { w.decide(workflows.Decision{By: erin}) })
		res := w.ask(asks(2), workflows.Approved)
		w.made(a)
		if who(res.Decisions) != "carol:approved erin:approved" || len(res.Changes) != 1 {
			t.Errorf("ended %+v", res)
		}
		want := []workflows.Event{workflows.Asked, workflows.Decided, workflows.Delegated}
		if diff := cmp.Diff(want, w.events()); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}
	})
	t.Run("before their own delegation", func(t *testing.T) {
		w := newWorld(t)
		first(w, workflows.Decision{By: bob})
		var a *answer
		w.at(time.Hour, func() { a = w.change(workflows.Change{Kind: workflows.Delegate, By: bob, To: erin.ID}) })
		w.at(2*time.Hour, func() { w.decide(workflows.Decision{By: carol}) })
		res := w.ask(asks(2), workflows.Approved)
		w.notMade(a, "You have approved this already.")
		if who(res.Decisions) != "bob:approved carol:approved" || len(res.Changes) > 0 {
			t.Errorf("ended %+v", res)
		}
	})
	t.Run("before an escalation", func(t *testing.T) {
		w := newWorld(t)
		first(w, workflows.Decision{By: bob})
		res := w.ask(escalates(only()), workflows.Approved)
		if len(res.Changes) > 0 {
			t.Errorf("changed by %+v", res.Changes)
		}
		w.executed(1, workflows.AwaitDecision)
	})
	t.Run("before the failure of the card", func(t *testing.T) {
		w := newWorld(t)
		w.postCard = func(workflows.CardInput) (workflows.Posted, error) { return workflows.Posted{}, slow }
		w.at(time.Minute, func() { w.finish(0, workflows.PostCard, nil, refusal("no")) })
		w.endDecision = func(in workflows.EndDecisionInput) (workflows.DecisionEnded, error) {
			w.complete(in.ActivityID, true, nil)
			return workflows.DecisionEnded{Unknown: true}, nil
		}
		res := w.ask(only(), workflows.Approved)
		if res.Card != (workflows.Card{}) || !w.closing().Posting.Equal(started) {
			t.Errorf("closed %+v", w.closing())
		}
	})
}

func refusal(msg string) error {
	return temporal.NewNonRetryableApplicationError(msg, workflows.ErrTypeRefused, nil)
}

func TestReminders(t *testing.T) {
	every := func(r workflows.Request, d workflows.Duration) workflows.Request {
		r.RemindEvery, r.Deadline = d, "10h"
		return r
	}
	reminded := func(w *world) (all []workflows.Line) {
		for _, l := range inputs[workflows.Line](w, workflows.PostLine) {
			if l.Event == workflows.Reminded {
				all = append(all, l)
			}
		}
		return all
	}
	t.Run("until it ends", func(t *testing.T) {
		w := newWorld(t)
		w.at(7*time.Hour, func() { w.decide(workflows.Decision{By: bob}) })
		w.ask(every(only(), "2h"), workflows.Approved)
		var at []time.Duration
		for _, l := range reminded(w) {
			at = append(at, l.At.Sub(started))
		}
		if diff := cmp.Diff([]time.Duration{2 * time.Hour, 4 * time.Hour, 6 * time.Hour}, at); diff != "" {
			t.Errorf("reminded after (-want +got):\n%s", diff)
		}
		w.executed(1, workflows.AwaitDecision)
		w.executed(0, workflows.RedrawCard)
	})
	t.Run("not with the deadline", func(t *testing.T) {
		w := newWorld(t)
		w.ask(every(only(), "5h"), workflows.Expired)
		if got := reminded(w); len(got) != 1 {
			t.Errorf("reminded %d times, want once", len(got))
		}
	})
	t.Run("of who is still waited for", func(t *testing.T) {
		w := newWorld(t)
		w.at(3*time.Hour, func() { w.decide(workflows.Decision{By: carol}) })
		w.at(5*time.Hour, func() { w.change(workflows.Change{Kind: workflows.Delegate, By: dave, To: erin.ID}) })
		w.at(7*time.Hour, func() { w.decide(workflows.Decision{By: bob}) })
		w.ask(every(asks(2), "2h"), workflows.Approved)
		var got [][]string
		for _, l := range reminded(w) {
			got = append(got, l.Round.Waiting().Users)
		}
		want := [][]string{{bob.ID, carol.ID, dave.ID}, {bob.ID, dave.ID}, {bob.ID, erin.ID}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("reminded (-want +got):\n%s", diff)
		}
	})
	t.Run("on time after an extension", func(t *testing.T) {
		w := newWorld(t)
		w.at(time.Hour, func() { w.change(workflows.Change{Kind: workflows.Extend, By: alice, Longer: "10h"}) })
		w.ask(every(only(), "6h"), workflows.Expired)
		var at []time.Duration
		for _, l := range reminded(w) {
			at = append(at, l.At.Sub(started))
		}
		if diff := cmp.Diff([]time.Duration{6 * time.Hour, 12 * time.Hour, 18 * time.Hour}, at); diff != "" {
			t.Errorf("reminded after (-want +got):\n%s", diff)
		}
	})
	// While Slack does not answer, one waits: nobody needs five at once.
	t.Run("those that were missed are not made up for", func(t *testing.T) {
		w := newWorld(t)
		w.postLine = func(l workflows.Line) error {
			if l.Event == workflows.Asked {
				return slow
			}
			return nil
		}
		w.at(7*time.Hour+time.Minute, func() { w.finish(0, workflows.PostLine, nil, nil) })
		w.at(9*time.Hour, func() { w.decide(workflows.Decision{By: bob}) })
		w.ask(every(only(), "1h"), workflows.Approved)
		got := reminded(w)
		if len(got) < 2 || len(got) > 3 { // that one, after eight hours, and perhaps after nine
			t.Errorf("reminded %d times in the two hours in which Slack answered", len(got))
		}
	})
	// The history of a workflow has an end; an extension must not bring it about.
	t.Run("only so many", func(t *testing.T) {
		w := newWorld(t)
		w.at(time.Hour, func() { w.change(workflows.Change{Kind: workflows.Extend, By: alice, Longer: "2d"}) })
		w.ask(every(only(), "1m"), workflows.Expired)
		if got := len(reminded(w)); got != 2*workflows.MaxReminders {
			t.Errorf("reminded %d times, want %d", got, 2*workflows.MaxReminders)
		}
	})
	t.Run("none once it has ended", func(t *testing.T) {
		w := newWorld(t)
		w.postLine = func(l workflows.Line) error {
			if l.Event == workflows.Asked && !l.Again {
				return slow
			}
			return nil
		}
		w.unstarted = []string{workflows.PostLine}
		w.at(150*time.Minute, func() { w.decide(workflows.Decision{By: bob}) })
		w.ask(every(only(), "1h"), workflows.Approved)
		if diff := cmp.Diff([]workflows.Event{workflows.Asked, workflows.Asked}, w.events()); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}
	})
}

// escalates has carol decide too after two hours, and the group of the SREs after four.
func escalates(r workflows.Request) workflows.Request {
	r.Escalate = []workflows.Escalation{
		{After: "4h", Approvers: workflows.Approvers{Groups: []string{"S0SRE00001"}}},
		{After: "2h", Approvers: workflows.Approvers{Users: []string{carol.ID}}},
	}
	return r
}

func TestEscalation(t *testing.T) {
	policies := func(w *world) (all []string) {
		for n := range w.last() + 1 {
			_, number, policy, _ := workflows.SplitActivityID(w.question(n).id)
			if number != n+1 {
				w.Errorf("activity %d is %s", n, w.question(n).id)
			}
			all = append(all, policy)
		}
		return all
	}
	t.Run("in time", func(t *testing.T) {
		w := newWorld(t)
		w.at(5*time.Hour, func() { w.decide(workflows.Decision{By: dave, Roles: nil}) })
		res := w.ask(escalates(only()), workflows.Approved)

		if diff := cmp.Diff([]time.Duration{0, 2 * time.Hour, 4 * time.Hour}, w.when(workflows.AwaitDecision)); diff != "" {
			t.Errorf("rounds after (-want +got):\n%s", diff)
		}
		if p := policies(w); p[0] == p[1] || p[1] == p[2] || p[0] == p[2] {
			t.Errorf("policies %q, want three", p)
		}
		ended := []workflows.EndDecisionInput{
			{ActivityID: w.question(0).id, Outcome: workflows.Changed}, {ActivityID: w.question(1).id, Outcome: workflows.Changed},
		}
		if diff := cmp.Diff(ended, inputs[workflows.EndDecisionInput](w, workflows.EndDecision)); diff != "" {
			t.Errorf("EndDecision (-want +got):\n%s", diff)
		}
		who := w.question(2).round.Who()
		if diff := cmp.Diff(workflows.Approvers{Users: []string{bob.ID, carol.ID}, Groups: []string{"S0SRE00001"}}, who); diff != "" {
			t.Errorf("who may decide (-want +got):\n%s", diff)
		}
		want := []workflows.Change{
			{Kind: workflows.Escalate, At: started.Add(2 * time.Hour), Approvers: workflows.Approvers{Users: []string{carol.ID}}},
			{Kind: workflows.Escalate, At: started.Add(4 * time.Hour), Approvers: workflows.Approvers{Groups: []string{"S0SRE00001"}}},
		}
		if diff := cmp.Diff(want, res.Changes); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]workflows.Event{workflows.Asked, workflows.Escalated, workflows.Escalated}, w.events()); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}
		drawn := inputs[workflows.CardInput](w, workflows.RedrawCard)
		if len(drawn) != 2 || drawn[0].ActivityID != w.question(1).id || drawn[1].ActivityID != w.question(2).id {
			t.Errorf("redrawn %+v", drawn)
		}
	})
	t.Run("by a person, and the rest in time", func(t *testing.T) {
		w := newWorld(t)
		var a *answer
		w.at(time.Hour, func() { a = w.change(workflows.Change{Kind: workflows.Escalate, By: alice, Via: workflows.ViaCommand}) })
		w.at(5*time.Hour, func() { w.decide(workflows.Decision{By: carol}) })
		res := w.ask(escalates(only()), workflows.Approved)
		l := w.made(a)
		if l.ActivityID != w.question(1).id || !slices.Contains(l.Round.Who().Users, carol.ID) || !a.at.Equal(started.Add(time.Hour)) {
			t.Errorf("answered %+v at %v", l, a.at)
		}
		if diff := cmp.Diff([]time.Duration{0, time.Hour, 4 * time.Hour}, w.when(workflows.AwaitDecision)); diff != "" {
			t.Errorf("rounds after (-want +got):\n%s", diff)
		}
		if len(res.Changes) != 2 || res.Changes[0].By != alice || res.Changes[0].Via != workflows.ViaCommand || (res.Changes[1].By != workflows.Person{}) {
			t.Errorf("changes %+v", res.Changes)
		}
	})
	t.Run("by a member of a group", func(t *testing.T) {
		w := newWorld(t)
		r := escalates(only())
		r.Approvers.Groups = []string{"S0SEC00001"}
		var not, a *answer
		w.at(time.Hour, func() {
			not = w.change(workflows.Change{Kind: workflows.Escalate, By: dave, Groups: []string{"S0SRE00001"}})
		})
		w.at(time.Hour, func() {
			a = w.change(workflows.Change{Kind: workflows.Escalate, By: dave, Groups: []string{"S0SEC00001"}})
		})
		w.at(2*time.Hour, func() { w.decide(workflows.Decision{By: bob}) })
		w.ask(r, workflows.Approved)
		w.notMade(not, "Only who asked for this, or who may decide it, can escalate it.")
		w.made(a)
	})
	t.Run("nobody is left", func(t *testing.T) {
		w := newWorld(t)
		var a *answer
		w.at(5*time.Hour, func() { a = w.change(workflows.Change{Kind: workflows.Escalate, By: alice}) })
		w.at(6*time.Hour, func() { w.decide(workflows.Decision{By: bob}) })
		w.ask(escalates(only()), workflows.Approved)
		w.notMade(a, "There is nobody else to escalate this to.")
		w.executed(3, workflows.AwaitDecision)
	})
	t.Run("of a role, whose decisions stay", func(t *testing.T) {
		w := newWorld(t)
		r := asks(0)
		r.Approvers = workflows.Approvers{}
		r.Roles = []workflows.Role{
			{Name: "security", Approvers: workflows.Approvers{Users: []string{bob.ID}}},
			{Name: "sre", Approvers: workflows.Approvers{Users: []string{carol.ID}}},
		}
		r.Escalate = []workflows.Escalation{{After: "2h", Role: "sre", Approvers: workflows.Approvers{Users: []string{dave.ID}}}}
		w.at(time.Hour, func() { w.decide(workflows.Decision{By: bob, Roles: []string{"security"}}) })
		w.at(3*time.Hour, func() { w.decide(workflows.Decision{By: dave, Roles: []string{"sre"}}) })
		res := w.ask(r, workflows.Approved)
		if got := who(res.Decisions); got != "bob:approved/security dave:approved/sre" {
			t.Errorf("decided by %s", got)
		}
		if p := policies(w); p[0] != p[1] || p[1] == p[2] {
			t.Errorf("policies %q", p)
		}
	})
	// Slack was away for all of it.
	t.Run("before there is a card", func(t *testing.T) {
		w := newWorld(t)
		w.postCard = func(workflows.CardInput) (workflows.Posted, error) { return workflows.Posted{}, slow }
		w.at(3*time.Hour, func() { w.finish(0, workflows.PostCard, workflows.Posted{Card: posted}, nil) })
		w.at(200*time.Minute, func() { w.decide(workflows.Decision{By: carol}) })
		w.ask(escalates(only()), workflows.Approved)
		drawn := inputs[workflows.CardInput](w, workflows.RedrawCard)
		if len(drawn) != 1 || drawn[0].ActivityID != w.question(1).id || drawn[0].Round.Number != 2 {
			t.Errorf("redrawn %+v", drawn)
		}
	})
	t.Run("two are due at once", func(t *testing.T) {
		w := newWorld(t)
		w.prepare = func(_ context.Context, r workflows.Request) (workflows.Request, error) {
			r.ExpiresAt = deadline
			return r, nil
		}
		r := escalates(only())
		r.Escalate[0].After, r.RemindEvery = "2h", "2h"
		w.at(3*time.Hour, func() { w.decide(workflows.Decision{By: bob}) })
		w.ask(r, workflows.Approved)
		if diff := cmp.Diff([]workflows.Event{workflows.Asked, workflows.Escalated, workflows.Escalated, workflows.Reminded}, w.events()); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}
	})
}

func TestExtension(t *testing.T) {
	t.Run("after half the time", func(t *testing.T) {
		w := newWorld(t)
		var a *answer
		w.at(12*time.Hour, func() {
			a = w.change(workflows.Change{Kind: workflows.Extend, By: alice, Longer: "2h", Via: workflows.ViaCard})
		})
		res := w.ask(only(), workflows.Expired)
		until := deadline.Add(2 * time.Hour)
		if l := w.made(a); !l.Round.Until().Equal(until) || l.ActivityID != w.question(0).id || l.Outcome != "" {
			t.Errorf("answered %+v", l)
		}
		if !res.EndedAt.Equal(until) || len(res.Changes) != 1 || !res.Changes[0].Until.Equal(until) || res.Changes[0].By != alice {
			t.Errorf("ended at %v, changed by %+v", res.EndedAt, res.Changes)
		}
		w.executed(1, workflows.AwaitDecision)
		drawn := inputs[workflows.CardInput](w, workflows.RedrawCard)
		if len(drawn) != 1 || drawn[0].ActivityID != w.question(0).id || !drawn[0].Round.Until().Equal(until) {
			t.Errorf("redrawn %+v", drawn)
		}
		if diff := cmp.Diff([]workflows.Event{workflows.Asked, workflows.Extended}, w.events()); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}
	})
	t.Run("by an approver, twice, and decided after the first deadline", func(t *testing.T) {
		w := newWorld(t)
		w.at(23*time.Hour, func() { w.change(workflows.Change{Kind: workflows.Extend, By: bob, Longer: "1h"}) })
		w.at(24*time.Hour, func() { w.change(workflows.Change{Kind: workflows.Extend, By: bob, Longer: "1d"}) })
		w.at(40*time.Hour, func() { w.decide(workflows.Decision{By: bob}) })
		res := w.ask(only(), workflows.Approved)
		if len(res.Changes) != 2 || !res.Changes[1].Until.Equal(deadline.Add(25*time.Hour)) {
			t.Errorf("changes %+v", res.Changes)
		}
	})
	for name, tc := range map[string]struct {
		change   workflows.Change
		sentence string
	}{
		"by somebody else": {workflows.Change{By: erin, Longer: "1h"}, "Only who asked for this, or who may decide it, can extend it."},
		"no time":          {workflows.Change{By: alice}, `Say how much longer it is to wait, for instance "2h" or "1d".`},
		"no duration":      {workflows.Change{By: alice, Longer: "tomorrow"}, `Say how much longer it is to wait, for instance "2h" or "1d".`},
		"for too long":     {workflows.Change{By: alice, Longer: "366d"}, "A request can wait for a year at the most."},
		"by nobody":        {workflows.Change{Longer: "1h"}, "Say who changes it."},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tc.change.Kind = workflows.Extend
			var a *answer
			w.at(time.Hour, func() { a = w.change(tc.change) })
			res := w.ask(only(), workflows.Expired)
			w.notMade(a, tc.sentence)
			if a.accepted || len(res.Changes) > 0 || !res.EndedAt.Equal(deadline) {
				t.Errorf("accepted %v, changed by %+v", a.accepted, res.Changes)
			}
			w.executed(0, workflows.RedrawCard)
		})
	}
}

func TestDelegation(t *testing.T) {
	hand := func(from, to workflows.Person) workflows.Change {
		return workflows.Change{Kind: workflows.Delegate, By: from, To: to.ID, Via: workflows.ViaCard}
	}
	t.Run("the new one decides", func(t *testing.T) {
		w := newWorld(t)
		var a *answer
		w.at(time.Hour, func() { a = w.change(hand(bob, erin)) })
		w.at(2*time.Hour, func() { // on the card as it was: Temporal does not know the activity any more
			w.decideOn(0, workflows.Decision{By: bob})
		})
		w.at(3*time.Hour, func() { w.decide(workflows.Decision{By: erin}) })
		res := w.ask(only(), workflows.Approved)
		l := w.made(a)
		if diff := cmp.Diff([]string{erin.ID}, l.Round.Who().Users); diff != "" || l.ActivityID != w.question(1).id || l.Card != posted || l.Permalink != permalink {
			t.Errorf("answered %+v", l)
		}
		want := hand(bob, erin)
		want.At = started.Add(time.Hour)
		if diff := cmp.Diff([]workflows.Change{want}, res.Changes); diff != "" || who(res.Decisions) != "erin:approved" {
			t.Errorf("decided by %s, changes (-want +got):\n%s", who(res.Decisions), diff)
		}
		_, _, before, _ := workflows.SplitActivityID(w.question(0).id)
		if _, n, after, _ := workflows.SplitActivityID(w.question(1).id); n != 2 || before == after {
			t.Errorf("activities %s, %s", w.question(0).id, w.question(1).id)
		}
		ended := []workflows.EndDecisionInput{{ActivityID: w.question(0).id, Outcome: workflows.Changed}}
		if diff := cmp.Diff(ended, inputs[workflows.EndDecisionInput](w, workflows.EndDecision)); diff != "" {
			t.Errorf("EndDecision (-want +got):\n%s", diff)
		}
		drawn := inputs[workflows.CardInput](w, workflows.RedrawCard)
		if len(drawn) != 1 || drawn[0].ActivityID != w.question(1).id || len(drawn[0].Round.Changes) != 1 {
			t.Errorf("redrawn %+v", drawn)
		}
		if diff := cmp.Diff([]workflows.Event{workflows.Asked, workflows.Delegated}, w.events()); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}
	})
	t.Run("on to a third", func(t *testing.T) {
		w := newWorld(t)
		w.at(time.Hour, func() { w.change(hand(bob, erin)) })
		w.at(2*time.Hour, func() { w.change(hand(erin, dave)) })
		w.at(3*time.Hour, func() { w.decide(workflows.Decision{By: dave}) })
		w.ask(only(), workflows.Approved)
		if diff := cmp.Diff([]string{dave.ID}, w.question(2).round.Who().Users); diff != "" {
			t.Errorf("who may decide (-want +got):\n%s", diff)
		}
	})
	self := with(asks(2), func(r *workflows.Request) { r.AllowSelf, r.Approvers.Users = true, append(r.Approvers.Users, alice.ID) })
	for name, tc := range map[string]struct {
		request  workflows.Request
		change   workflows.Change
		sentence string // empty: it is made
	}{
		"by the requester, who may decide": {self, hand(alice, erin), ""},
		"to the requester, who may decide": {with(self, func(r *workflows.Request) { r.Approvers.Users = r.Approvers.Users[:3] }), hand(bob, alice), ""},
		"by who is not named":              {asks(2), hand(erin, dave), "Only an approver who is named can hand their place over. Members of a group share it already."},
		"by the requester":                 {with(asks(2), func(r *workflows.Request) { r.Approvers.Users = append(r.Approvers.Users, alice.ID) }), hand(alice, erin), "Who asked for this may not decide it, and has no place to hand over."},
		"by who has approved":              {asks(2), hand(carol, erin), "You have approved this already."},
		"to nobody":                        {asks(2), hand(bob, workflows.Person{}), "Say to whom you hand your place over."},
		"to what is no person":             {asks(2), hand(bob, workflows.Person{ID: "S0SRE00001"}), "Say to whom you hand your place over."},
		"to themselves":                    {asks(2), hand(bob, bob), "That is you already: choose somebody else."},
		"to the requester":                 {asks(2), hand(bob, alice), "Who asked for this may not decide it: choose somebody else."},
		"to who has approved":              {asks(2), hand(bob, carol), "That person has approved this already: choose somebody else."},
		"to another approver":              {asks(2), hand(bob, dave), "That person may decide this already: choose somebody else."},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var a *answer
			w.at(time.Hour, func() { w.decide(workflows.Decision{By: carol}) })
			w.at(2*time.Hour, func() { a = w.change(tc.change) })
			w.at(3*time.Hour, func() { w.decide(workflows.Decision{By: bob}) })
			w.at(4*time.Hour, func() { w.decide(workflows.Decision{By: erin}) })
			res := w.ask(tc.request, workflows.Approved)
			if tc.sentence == "" {
				w.made(a)
				return
			}
			w.notMade(a, tc.sentence)
			if a.accepted || len(res.Changes) > 0 {
				t.Errorf("accepted %v, changed by %+v", a.accepted, res.Changes)
			}
			w.executed(2, workflows.AwaitDecision) // no round because of it
			w.executed(1, workflows.RedrawCard)
			w.executed(0, workflows.EndDecision)
		})
	}
}

func TestWithdrawal(t *testing.T) {
	withdraw := workflows.Change{Kind: workflows.Withdraw, By: alice, Via: workflows.ViaHome}
	withdrawal := func(after time.Duration) []workflows.Change {
		c := withdraw
		c.At = started.Add(after)
		return []workflows.Change{c}
	}
	t.Run("by the requester", func(t *testing.T) {
		w := newWorld(t)
		var a *answer
		w.at(time.Hour, func() { w.decide(workflows.Decision{By: carol}) })
		w.at(2*time.Hour, func() { a = w.change(withdraw) })
		res := w.ask(asks(2), workflows.Withdrawn)
		l := w.made(a)
		if l.Outcome != workflows.Withdrawn || l.ActivityID != "" || !a.at.Equal(started.Add(2*time.Hour)) {
			t.Errorf("answered %+v at %v", l, a.at)
		}
		if diff := cmp.Diff(withdrawal(2*time.Hour), res.Changes); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
		if c, ok := res.Withdrawal(); !ok || c.By != alice {
			t.Errorf("withdrawn by %+v, %v", c, ok)
		}
		ended := []workflows.EndDecisionInput{{
			ActivityID: w.question(1).id, Outcome: workflows.Withdrawn, Changes: withdrawal(2 * time.Hour),
		}}
		if diff := cmp.Diff(ended, inputs[workflows.EndDecisionInput](w, workflows.EndDecision)); diff != "" {
			t.Errorf("EndDecision (-want +got):\n%s", diff)
		}
		w.executed(1, workflows.TellRequester)
	})
	t.Run("no attempt under way", func(t *testing.T) {
		w := newWorld(t)
		w.unstarted = []string{workflows.AwaitDecision}
		w.endDecision = func(workflows.EndDecisionInput) (workflows.DecisionEnded, error) {
			return workflows.DecisionEnded{}, nil
		}
		var a *answer
		w.at(time.Hour, func() { a = w.change(withdraw) })
		res := w.ask(only(), workflows.Withdrawn)
		w.made(a)
		if diff := cmp.Diff(withdrawal(time.Hour), res.Changes); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
	})
	t.Run("before there is a card", func(t *testing.T) {
		w := newWorld(t)
		w.postCard = func(workflows.CardInput) (workflows.Posted, error) { return workflows.Posted{}, slow }
		var early, a *answer // The one waits for the card, the other does not wait for it.
		w.at(time.Minute, func() { early = w.change(workflows.Change{Kind: workflows.Delegate, By: bob, To: dave.ID}) })
		w.at(2*time.Minute, func() { a = w.change(withdraw) })
		w.at(2*time.Minute+5*time.Second, func() {
			if !w.isCancelled(0, workflows.PostCard) {
				t.Error("the card is still being posted")
			}
			w.finish(0, workflows.PostCard, workflows.Posted{Card: posted}, nil)
		})
		res := w.ask(only(), workflows.Withdrawn)
		w.made(a)
		w.notMade(early, "Too late: this request is withdrawn already.")
		if res.Card != posted || !a.at.Equal(started.Add(2*time.Minute)) {
			t.Errorf("closed %+v, answered at %v", res.Card, a.at)
		}
	})
	t.Run("outside Slack", func(t *testing.T) {
		w := newWorld(t)
		pipeline := workflows.Person{Name: "pipeline 4711"}
		var a *answer
		w.at(time.Hour, func() {
			a = w.change(workflows.Change{Kind: workflows.Withdraw, By: pipeline, Via: workflows.Outside})
		})
		res := w.ask(only(), workflows.Withdrawn)
		w.made(a)
		if c, ok := res.Withdrawal(); !ok || c.By != (workflows.Person{Name: "pipeline 4711 (outside Slack, as given)"}) || c.Via != workflows.Outside {
			t.Errorf("withdrawn by %+v, %v", c, ok)
		}
	})
	t.Run("outside Slack, by nobody", func(t *testing.T) {
		w := newWorld(t)
		var a *answer
		var b *answer
		w.at(time.Hour, func() { a = w.change(workflows.Change{Kind: workflows.Withdraw, Via: workflows.Outside}) })
		w.at(time.Hour, func() {
			b = w.change(workflows.Change{Kind: workflows.Withdraw, By: workflows.Person{ID: bob.ID, Name: " "}, Via: workflows.Outside})
		})
		w.ask(only(), workflows.Expired)
		w.notMade(a, "Say who changes it.")
		w.notMade(b, "Say who changes it.")
	})
	for name, by := range map[string]workflows.Person{"by an approver": bob, "by somebody else": erin, "by a name alone": {Name: "alice"}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var a *answer
			w.at(time.Hour, func() { a = w.change(workflows.Change{Kind: workflows.Withdraw, By: by}) })
			w.ask(only(), workflows.Expired)
			w.notMade(a, "Only who asked for this can withdraw it.")
		})
	}
	t.Run("of a greeting ends it cancelled", func(t *testing.T) {
		w := newWorld(t)
		var a *answer
		w.at(time.Second, func() { w.signal(0, posted) })
		w.at(time.Hour, func() { a = w.change(withdraw) })
		w.cancelled()
		w.made(a)
		if c, ok := w.closing().Result.Withdrawal(); !ok || c.By != alice {
			t.Errorf("closed with %+v", w.closing().Result)
		}
	})
}

// The caller's cancellation ends the workflow cancelled, at whatever stage it comes.
func TestCancelledApproval(t *testing.T) {
	for name, tc := range map[string]struct {
		arrange func(*world)
		after   time.Duration
		rounds  int
	}{
		"while it is open": {func(*world) {}, time.Hour, 1},
		"between two decisions": {func(w *world) {
			w.at(30*time.Minute, func() { w.decide(workflows.Decision{By: carol}) })
		}, time.Hour, 2},
		"while the card is being posted": {func(w *world) {
			w.postCard = func(workflows.CardInput) (workflows.Posted, error) { return workflows.Posted{}, slow }
			w.at(time.Hour+10*time.Second, func() { w.finish(0, workflows.PostCard, workflows.Posted{Card: posted}, nil) })
		}, time.Hour, 1},
		"while the card is being redrawn": {func(w *world) {
			w.redraw = func(workflows.CardInput) (workflows.Posted, error) { return workflows.Posted{}, slow }
			w.at(30*time.Minute, func() { w.decide(workflows.Decision{By: carol}) })
			w.at(time.Hour+10*time.Second, func() { w.finish(0, workflows.RedrawCard, nil, temporal.NewCanceledError()) })
		}, time.Hour, 2},
		"while a line is being posted": {func(w *world) {
			w.postLine = func(workflows.Line) error { return slow }
			w.at(time.Hour+10*time.Second, func() { w.finish(0, workflows.PostLine, nil, nil) })
		}, time.Hour, 1},
		"while who may decide changes": {func(w *world) {
			end := w.endDecision
			w.endDecision = func(in workflows.EndDecisionInput) (workflows.DecisionEnded, error) {
				if in.Outcome == workflows.Changed {
					w.at(time.Minute, func() {
						w.complete(in.ActivityID, nil, temporal.NewCanceledError(workflows.Result{Outcome: in.Outcome}))
						w.finish(0, workflows.EndDecision, workflows.DecisionEnded{}, nil)
					})
					return workflows.DecisionEnded{}, slow
				}
				return end(in)
			}
			w.at(time.Hour-time.Second, func() { w.change(workflows.Change{Kind: workflows.Delegate, By: bob, To: erin.ID}) })
		}, time.Hour, 2},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tc.arrange(w)
			w.at(tc.after, w.CancelWorkflow)
			w.isWithdrawn(asks(2))
			c := w.closing()
			if _, byPerson := c.Result.Withdrawal(); c.Result.Outcome != workflows.Withdrawn || byPerson || c.Result.Card != posted {
				t.Errorf("closed with %+v", c.Result)
			}
			w.executed(tc.rounds, workflows.AwaitDecision)
			told := inputs[workflows.Closing](w, workflows.TellRequester)
			if len(told) != 1 || told[0].Result.Outcome != workflows.Withdrawn {
				t.Errorf("told %+v", told)
			}
		})
	}
	t.Run("while it is prepared", func(t *testing.T) {
		w := newWorld(t)
		w.prepare = func(context.Context, workflows.Request) (workflows.Request, error) { return workflows.Request{}, slow }
		w.at(time.Second, w.CancelWorkflow)
		w.isWithdrawn(only())
		w.executed(0, workflows.AwaitDecision)
		w.executed(0, workflows.PostCard)
		w.executed(1, workflows.TellRequester)
	})
	t.Run("while the card is being closed", func(t *testing.T) {
		w := newWorld(t)
		w.approve(bob)
		w.closeCard = func(workflows.Closing) error { return slow }
		w.at(time.Hour+5*time.Second, w.CancelWorkflow)
		w.at(time.Hour+10*time.Second, func() { w.finish(0, workflows.CloseCard, nil, nil) })
		w.ask(only(), workflows.Approved)
	})
	// A person whose change was accepted hears of it all the same.
	t.Run("while a change is being made", func(t *testing.T) {
		w := newWorld(t)
		var withdrawn, extended *answer
		end := w.endDecision
		w.endDecision = func(in workflows.EndDecisionInput) (workflows.DecisionEnded, error) {
			w.CancelWorkflow()
			w.at(time.Second, func() {
				_, _ = end(in)
				w.finish(0, workflows.EndDecision, workflows.DecisionEnded{}, nil)
			})
			return workflows.DecisionEnded{}, slow
		}
		w.at(time.Hour, func() {
			withdrawn = w.change(workflows.Change{Kind: workflows.Withdraw, By: alice})
			extended = w.change(workflows.Change{Kind: workflows.Extend, By: alice, Longer: "1h"})
		})
		w.ask(only(), workflows.Withdrawn)
		w.made(withdrawn)
		w.notMade(extended, "Too late: this request is withdrawn already.")
	})
}

func TestChangesTakeTurns(t *testing.T) {
	t.Run("two at once", func(t *testing.T) {
		w := newWorld(t)
		var first, second, third *answer
		w.at(time.Hour, func() {
			first = w.change(workflows.Change{Kind: workflows.Delegate, By: bob, To: erin.ID})
			second = w.change(workflows.Change{Kind: workflows.Delegate, By: bob, To: dave.ID})
			third = w.change(workflows.Change{Kind: workflows.Extend, By: alice, Longer: "1h"})
		})
		w.at(2*time.Hour, func() { w.decide(workflows.Decision{By: erin}) })
		res := w.ask(only(), workflows.Approved)
		w.made(first)
		w.made(third)
		w.notMade(second, "Only an approver who is named can hand their place over. Members of a group share it already.")
		if len(res.Changes) != 2 || len(w.events()) != 3 {
			t.Errorf("changes %+v, lines %q", res.Changes, w.events())
		}
		w.executed(2, workflows.AwaitDecision)
	})
	t.Run("to the same person from two", func(t *testing.T) {
		w := newWorld(t)
		var first, second *answer
		w.at(time.Hour, func() {
			first = w.change(workflows.Change{Kind: workflows.Delegate, By: bob, To: erin.ID})
			second = w.change(workflows.Change{Kind: workflows.Delegate, By: carol, To: erin.ID})
		})
		w.at(2*time.Hour, func() { w.decide(workflows.Decision{By: erin}) })
		w.at(3*time.Hour, func() { w.decide(workflows.Decision{By: carol}) })
		w.ask(asks(2), workflows.Approved)
		w.made(first)
		w.notMade(second, "That person may decide this already: choose somebody else.")
	})
	t.Run("a change waits while another ends the request", func(t *testing.T) {
		w := newWorld(t)
		var withdrawn, late *answer
		w.at(time.Hour, func() {
			withdrawn = w.change(workflows.Change{Kind: workflows.Withdraw, By: alice})
			late = w.change(workflows.Change{Kind: workflows.Extend, By: alice, Longer: "1h"})
		})
		w.ask(only(), workflows.Withdrawn)
		w.made(withdrawn)
		w.notMade(late, "Too late: this request is withdrawn already.")
	})
	t.Run("after the end", func(t *testing.T) {
		w := newWorld(t)
		w.approve(bob)
		w.closeCard = func(workflows.Closing) error { return slow }
		var late *answer
		w.at(time.Hour+time.Second, func() { late = w.change(workflows.Change{Kind: workflows.Withdraw, By: alice}) })
		w.at(time.Hour+2*time.Second, func() { w.finish(0, workflows.CloseCard, nil, nil) })
		w.ask(only(), workflows.Approved)
		w.notMade(late, "This request is not open.")
	})
	t.Run("which nobody knows", func(t *testing.T) {
		w := newWorld(t)
		w.approve(bob)
		var a *answer
		w.at(time.Minute, func() { a = w.change(workflows.Change{Kind: "reset", By: alice}) })
		w.ask(only(), workflows.Approved)
		w.notMade(a, "This app knows no such change.")
	})
}

// A change of one of several questions says which.
func TestChangeOfOneOfTwo(t *testing.T) {
	w := newWorld(t)
	w.RegisterWorkflow(askTwo)
	named := func(title string) open {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.opens[slices.IndexFunc(w.opens, func(o open) bool { return o.request.Title == title })]
	}
	first, second := only(), only()
	first.Title, second.Title = "first", "second"
	var unnamed, unknown, a, after, alone *answer
	w.at(time.Hour, func() { unnamed = w.change(workflows.Change{Kind: workflows.Withdraw, By: alice}) })
	w.at(time.Hour, func() {
		unknown = w.change(workflows.Change{Kind: workflows.Withdraw, By: alice, Question: "ABCDEF-9"})
	})
	w.at(2*time.Hour, func() {
		question, _, _, _ := workflows.SplitActivityID(named("second").id)
		a = w.change(workflows.Change{Kind: workflows.Withdraw, By: alice, Question: question})
		after = w.change(workflows.Change{Kind: workflows.Extend, By: alice, Longer: "1h", Question: question})
	})
	w.at(3*time.Hour, func() { alone = w.change(workflows.Change{Kind: workflows.Extend, By: alice, Longer: "1h"}) })
	w.ExecuteWorkflow(askTwo, first, second)
	var results []workflows.Result
	if err := w.GetWorkflowResult(&results); err != nil {
		t.Fatal(err)
	}
	w.notMade(unnamed, "This workflow asks for several things at once: use the menu on the card.")
	w.notMade(unknown, "This request is not open.")
	w.made(a)
	w.notMade(after, "Too late: this request is withdrawn already.")
	w.made(alone)
	if results[0].Outcome != workflows.Expired || !results[0].EndedAt.Equal(deadline.Add(time.Hour)) || results[1].Outcome != workflows.Withdrawn {
		t.Errorf("ended %+v", results)
	}
	// The memo has had both, and has the open one and the last that ended.
	var titles [][]string
	for _, memo := range w.memos {
		var all []string
		for _, l := range memo {
			all = append(all, l.Round.Title+string(l.Outcome))
		}
		slices.Sort(all) // Which of the two is prepared first is up to the worker.
		titles = append(titles, all)
	}
	for _, want := range [][]string{{"first", "second"}, {"first", "secondwithdrawn"}, {"firstexpired"}} {
		if !slices.ContainsFunc(titles, func(got []string) bool { return slices.Equal(got, want) }) {
			t.Errorf("memos %q, want %q among them", titles, want)
		}
	}
}

func TestCardCannotBePosted(t *testing.T) {
	for name, err := range map[string]error{
		workflows.ErrTypeRefused:        refusal("I am not in that channel."),
		workflows.ErrTypeInvalidRequest: workflows.InvalidRequestError("I am not in that channel."),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.postCard = func(workflows.CardInput) (workflows.Posted, error) { return workflows.Posted{}, err }
			app := w.failed(asks(2), name)
			if app.Message() != "I am not in that channel." {
				t.Errorf("failed with %q", app.Message())
			}
			ended := inputs[workflows.EndDecisionInput](w, workflows.EndDecision)
			if len(ended) == 0 || ended[0].Outcome != workflows.Failed || ended[0].ActivityID != w.question(0).id {
				t.Errorf("EndDecision %+v", ended)
			}
			w.told(workflows.Failed, "I am not in that channel.")
			// An earlier attempt may have posted it.
			if c := w.closing(); !c.Posting.Equal(started) || c.Result.Card != (workflows.Card{}) || c.TellDirectly || len(c.Lines) > 0 {
				t.Errorf("closed %+v", c)
			}
			w.executed(0, workflows.PostLine)
		})
	}
	t.Run("invalid request", func(t *testing.T) {
		w := newWorld(t)
		w.prepare = func(context.Context, workflows.Request) (workflows.Request, error) {
			return workflows.Request{}, workflows.InvalidRequestError("Nobody may decide this request.")
		}
		if app := w.failed(asks(2), workflows.ErrTypeInvalidRequest); app.Message() != "Nobody may decide this request." {
			t.Errorf("failed with %q", app.Message())
		}
		w.executed(0, workflows.AwaitDecision)
		w.executed(0, workflows.PostCard)
		w.executed(0, workflows.CloseCard)
		w.told(workflows.Failed, "Nobody may decide this request.")
	})
	// temporal activity complete, without a result
	t.Run("completed from outside", func(t *testing.T) {
		w := newWorld(t)
		w.postCard = func(workflows.CardInput) (workflows.Posted, error) { return workflows.Posted{}, slow }
		w.at(time.Minute, func() { w.finish(0, workflows.PostCard, nil, nil) })
		if app := w.failed(asks(2), workflows.ErrTypeInvalidRequest); app.Message() != "The card was not posted." {
			t.Errorf("failed with %q", app.Message())
		}
		ended := inputs[workflows.EndDecisionInput](w, workflows.EndDecision)
		if len(ended) != 1 || ended[0].Outcome != workflows.Failed {
			t.Errorf("EndDecision %+v", ended)
		}
		w.told(workflows.Failed, "The card was not posted.")
		w.executed(0, workflows.PostLine)
	})
	t.Run("nobody asked", func(t *testing.T) {
		w := newWorld(t)
		w.postCard = func(workflows.CardInput) (workflows.Posted, error) { return workflows.Posted{}, refusal("no") }
		w.failed(with(asks(2), func(r *workflows.Request) { r.Requester = "" }), workflows.ErrTypeRefused)
		w.executed(0, workflows.TellRequester)
	})
	t.Run("at first", func(t *testing.T) {
		w := newWorld(t)
		tries := 0
		w.postCard = func(workflows.CardInput) (workflows.Posted, error) {
			if tries++; tries < 4 {
				return workflows.Posted{}, errors.New("slack is away")
			}
			return workflows.Posted{Card: posted}, nil
		}
		w.approve(bob)
		w.ask(only(), workflows.Approved)
		w.executed(4, workflows.PostCard)
	})
}

func TestCardIsSlow(t *testing.T) {
	slowly := func(t *testing.T) *world {
		w := newWorld(t)
		w.postCard = func(workflows.CardInput) (workflows.Posted, error) { return workflows.Posted{}, slow }
		return w
	}
	t.Run("a round ends meanwhile", func(t *testing.T) {
		w := slowly(t)
		w.at(time.Minute, func() { w.decide(workflows.Decision{By: bob, Via: workflows.ViaHome}) })
		w.at(time.Hour, func() { w.finish(0, workflows.PostCard, workflows.Posted{Card: reposted}, nil) })
		w.at(2*time.Hour, func() { w.decide(workflows.Decision{By: carol}) })
		res := w.ask(asks(2), workflows.Approved)
		drawn := inputs[workflows.CardInput](w, workflows.RedrawCard)
		if len(drawn) != 1 || drawn[0].Round.Number != 2 || w.when(workflows.RedrawCard)[0] != time.Hour {
			t.Errorf("redrawn %+v at %v", drawn, w.when(workflows.RedrawCard))
		}
		w.executed(1, workflows.PostCard)
		if res.Card == (workflows.Card{}) {
			t.Error("the card is not known")
		}
	})
	// A click may have been made up: what the post says counts, for all that is drawn, said and closed.
	t.Run("a round was decided on another message", func(t *testing.T) {
		w := slowly(t)
		w.at(time.Minute, func() { w.decide(workflows.Decision{By: bob}) })
		w.at(time.Hour, func() { w.finish(0, workflows.PostCard, workflows.Posted{Card: reposted, Permalink: permalink}, nil) })
		w.at(2*time.Hour, func() { w.decide(workflows.Decision{By: carol}) })
		w.at(3*time.Hour, func() { w.decide(workflows.Decision{By: dave}) })
		res := w.ask(with(asks(3), func(r *workflows.Request) { r.TellRequester = true }), workflows.Approved)
		if res.Card != reposted || res.Permalink != permalink {
			t.Errorf("ended with the card %+v, %s", res.Card, res.Permalink)
		}
		w.drawnAt(reposted)
		w.executed(2, workflows.RedrawCard)
	})
	t.Run("decided on another message, and posted when it has ended", func(t *testing.T) {
		w := slowly(t)
		w.at(time.Minute, func() { w.decide(workflows.Decision{By: bob}) })
		w.at(time.Minute+20*time.Second, func() {
			w.finish(0, workflows.PostCard, workflows.Posted{Card: reposted, Permalink: permalink}, nil)
		})
		if res := w.ask(only(), workflows.Approved); res.Card != reposted || res.Permalink != permalink || !w.closing().Posting.IsZero() {
			t.Errorf("closed %+v", w.closing())
		}
		w.drawnAt(reposted)
	})
	t.Run("decided on another message, after it was posted", func(t *testing.T) {
		w := slowly(t)
		w.at(time.Minute, func() { w.finish(0, workflows.PostCard, workflows.Posted{Card: reposted}, nil) })
		w.at(time.Hour, func() { w.decide(workflows.Decision{By: bob}) })
		w.at(2*time.Hour, func() { w.decide(workflows.Decision{By: carol}) })
		w.ask(asks(2), workflows.Approved)
		w.drawnAt(reposted)
		w.executed(1, workflows.RedrawCard)
	})
	t.Run("decided on a message, and not posted", func(t *testing.T) {
		w := slowly(t)
		w.at(time.Minute, func() { w.decide(workflows.Decision{By: bob}) })
		w.at(time.Minute+20*time.Second, func() { w.finish(0, workflows.PostCard, nil, temporal.NewCanceledError()) })
		w.ask(only(), workflows.Approved)
		w.drawnAt(posted) // All that is known.
	})
	t.Run("posted when it has ended", func(t *testing.T) {
		w := slowly(t)
		w.at(time.Minute, func() { w.complete(w.question(0).id, true, nil) })
		w.at(time.Minute+20*time.Second, func() {
			if !w.isCancelled(0, workflows.PostCard) {
				t.Error("it is still being posted")
			}
			w.finish(0, workflows.PostCard, workflows.Posted{Card: posted, Permalink: permalink}, nil)
		})
		res := w.ask(only(), workflows.Approved)
		if res.Card != posted || res.Permalink != permalink || !w.closing().Posting.IsZero() {
			t.Errorf("closed %+v", w.closing())
		}
		w.executed(0, workflows.PostLine)
	})
	t.Run("cancelled when it has ended", func(t *testing.T) {
		w := slowly(t)
		w.at(time.Minute, func() { w.complete(w.question(0).id, true, nil) })
		w.at(time.Minute+20*time.Second, func() { w.finish(0, workflows.PostCard, nil, temporal.NewCanceledError()) })
		res := w.ask(only(), workflows.Approved)
		if res.Card != (workflows.Card{}) || !w.closing().Posting.Equal(started) {
			t.Errorf("closed %+v", w.closing())
		}
		if at := w.when(workflows.CloseCard)[0]; at != time.Minute+20*time.Second {
			t.Errorf("closed after %v", at)
		}
	})
	t.Run("not posted half a minute after the end", func(t *testing.T) {
		w := slowly(t)
		w.at(time.Minute, func() { w.complete(w.question(0).id, true, nil) })
		res := w.ask(only(), workflows.Approved)
		if res.Card != (workflows.Card{}) || !w.closing().Posting.Equal(started) {
			t.Errorf("closed %+v", w.closing())
		}
		if at := w.when(workflows.CloseCard)[0]; at != 90*time.Second {
			t.Errorf("closed after %v", at)
		}
	})
	t.Run("not posted by the deadline", func(t *testing.T) {
		w := slowly(t)
		w.unstarted = []string{workflows.PostCard}
		w.ask(asks(2), workflows.Expired)
		if c := w.closing(); !c.Posting.Equal(started) || c.TellDirectly {
			t.Errorf("closed %+v", c)
		}
	})
}

// drawnAt fails the test where anything is drawn, said or closed elsewhere, and where nothing is.
func (w *world) drawnAt(c workflows.Card) {
	w.Helper()
	for _, in := range inputs[workflows.CardInput](w, workflows.RedrawCard) {
		if in.Card != c {
			w.Errorf("drew %+v, want %+v", in.Card, c)
		}
	}
	for _, l := range inputs[workflows.Line](w, workflows.PostLine) {
		if l.Card != c {
			w.Errorf("said %s at %+v, want %+v", l.Event, l.Card, c)
		}
	}
	for _, told := range inputs[workflows.Closing](w, workflows.TellRequester) {
		if told.Result.Card != c {
			w.Errorf("told at %+v, want %+v", told.Result.Card, c)
		}
	}
	if got := w.closing().Result.Card; got != c {
		w.Errorf("closed %+v, want %+v", got, c)
	}
}

func TestRedrawing(t *testing.T) {
	t.Run("is slow while more happens", func(t *testing.T) {
		w := newWorld(t)
		w.redraw = func(in workflows.CardInput) (workflows.Posted, error) {
			if in.Round.Number == 2 {
				return workflows.Posted{}, slow
			}
			return workflows.Posted{Card: in.Card}, nil
		}
		w.approve(bob, carol, dave) // after one, two, and three hours
		w.at(90*time.Minute, func() { w.change(workflows.Change{Kind: workflows.Extend, By: alice, Longer: "1h"}) })
		w.at(150*time.Minute, func() { w.finish(0, workflows.RedrawCard, workflows.Posted{Card: posted}, nil) })
		w.ask(asks(3), workflows.Approved)
		// The second shows all that has happened.
		if diff := cmp.Diff([]time.Duration{time.Hour, 150 * time.Minute}, w.when(workflows.RedrawCard)); diff != "" {
			t.Errorf("redrawn after (-want +got):\n%s", diff)
		}
		if last := inputs[workflows.CardInput](w, workflows.RedrawCard)[1]; last.Round.Number != 3 || len(last.Round.Changes) != 1 || last.ActivityID != w.question(2).id {
			t.Errorf("redrawn %+v", last)
		}
	})
	for name, tc := range map[string]struct {
		result any
		err    error
	}{
		"cancelled": {nil, temporal.NewCanceledError()},
		"drawn":     {workflows.Posted{Card: posted}, nil},
		"timed out": {nil, errors.New("timed out")},
	} {
		t.Run("is slow at the end, "+name, func(t *testing.T) {
			w := newWorld(t)
			w.redraw = func(workflows.CardInput) (workflows.Posted, error) { return workflows.Posted{}, slow }
			w.approve(bob, carol)
			w.at(2*time.Hour+19*time.Second, func() {
				if !w.isCancelled(0, workflows.RedrawCard) {
					t.Error("it is still being drawn")
				}
				w.finish(0, workflows.RedrawCard, tc.result, tc.err)
			})
			w.ask(asks(2), workflows.Approved)
			if at := w.when(workflows.CloseCard)[0]; at != 2*time.Hour+19*time.Second {
				t.Errorf("closed after %v, want it after the redraw", at)
			}
		})
	}
	t.Run("is refused, and mended later", func(t *testing.T) {
		w := newWorld(t)
		var drawn []workflows.CardInput
		w.redraw = func(in workflows.CardInput) (workflows.Posted, error) {
			if w.Now().Before(started.Add(150 * time.Minute)) {
				return workflows.Posted{}, refusal("message_not_found")
			}
			drawn = append(drawn, in)
			return workflows.Posted{Card: in.Card}, nil
		}
		w.approve(bob, carol)
		w.at(140*time.Minute, func() { w.change(workflows.Change{Kind: workflows.Extend, By: alice, Longer: "1h"}) })
		w.at(10*time.Hour, func() { w.decide(workflows.Decision{By: dave}) })
		w.ask(asks(3), workflows.Approved)
		if len(drawn) != 1 || drawn[0].Round.Number != 3 || len(drawn[0].Round.Changes) != 1 || drawn[0].ActivityID != w.question(2).id {
			t.Errorf("redrawn %+v, want it once, as it stands", drawn)
		}
		if at := w.when(workflows.RedrawCard); at[len(at)-1] > 210*time.Minute {
			t.Errorf("redrawn at last after %v, want it within an hour of its mending", at[len(at)-1])
		}
	})
	t.Run("is refused", func(t *testing.T) {
		w := newWorld(t)
		w.redraw = func(workflows.CardInput) (workflows.Posted, error) {
			return workflows.Posted{}, refusal("message_not_found")
		}
		w.approve(bob, carol, dave)
		w.ask(asks(3), workflows.Approved)
		// At each of two approvals, and then again and again, at growing distances.
		w.executed(8, workflows.RedrawCard)
	})
}

func TestLinesQueue(t *testing.T) {
	t.Run("one after the other", func(t *testing.T) {
		w := newWorld(t)
		w.postLine = func(l workflows.Line) error {
			if l.Number == 1 {
				return slow
			}
			return nil
		}
		w.approve(bob, carol)
		w.at(150*time.Minute, func() {
			w.executed(1, workflows.PostLine)
			w.finish(0, workflows.PostLine, nil, nil)
		})
		w.at(3*time.Hour, func() { w.decide(workflows.Decision{By: dave}) })
		w.ask(asks(3), workflows.Approved)
		lines := inputs[workflows.Line](w, workflows.PostLine)
		if diff := cmp.Diff([]workflows.Event{workflows.Asked, workflows.Decided, workflows.Decided}, w.events()); diff != "" {
			t.Fatalf("lines (-want +got):\n%s", diff)
		}
		if len(lines[1].Round.Decisions) != 1 || len(lines[2].Round.Decisions) != 2 {
			t.Errorf("lines %+v", lines)
		}
	})
	t.Run("to those who are not in the channel", func(t *testing.T) {
		w := newWorld(t)
		w.absent = []string{bob.ID, carol.ID}
		w.postLine = func(l workflows.Line) error {
			if l.To != "" {
				w.absent = nil
			}
			return nil
		}
		w.approve(bob, carol)
		w.ask(asks(2), workflows.Approved)
		var to []string
		for _, l := range inputs[workflows.Line](w, workflows.PostLine)[1:3] {
			if l.Event != workflows.Asked || l.Permalink == "" {
				t.Errorf("line %+v", l)
			}
			to = append(to, l.To)
		}
		if diff := cmp.Diff([]string{bob.ID, carol.ID}, to); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
	t.Run("one that is refused is not tried again", func(t *testing.T) {
		w := newWorld(t)
		w.postLine = func(l workflows.Line) error {
			if l.Number == 1 {
				return refusal("no")
			}
			return nil
		}
		w.approve(bob, carol)
		w.ask(asks(2), workflows.Approved)
		if diff := cmp.Diff([]workflows.Event{workflows.Asked, workflows.Decided}, w.events()); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}
	})
	// The first is under way, and nobody knows whether it has been posted; the second has not been tried.
	for name, tc := range map[string]struct {
		finish func(w *world)
		again  bool // the first
		at     time.Duration
	}{
		"cancelled":              {func(w *world) { w.finish(0, workflows.PostLine, nil, temporal.NewCanceledError()) }, true, 2*time.Hour + 5*time.Second},
		"failed":                 {func(w *world) { w.finish(0, workflows.PostLine, nil, errors.New("slack is away")) }, true, 2*time.Hour + 5*time.Second},
		"posted after all":       {func(w *world) { w.finish(0, workflows.PostLine, nil, nil) }, false, 2*time.Hour + 5*time.Second},
		"not done in the minute": {func(*world) {}, true, 2*time.Hour + 30*time.Second},
	} {
		t.Run("left to the closing, "+name, func(t *testing.T) {
			w := newWorld(t)
			w.postLine = func(l workflows.Line) error {
				if l.Number == 1 && !l.Again {
					return slow
				}
				return nil
			}
			w.approve(bob, carol)
			w.at(2*time.Hour+5*time.Second, func() {
				if !w.isCancelled(0, workflows.PostLine) {
					t.Error("the line is not cancelled")
				}
				tc.finish(w)
			})
			w.ask(asks(2), workflows.Approved)
			lines := inputs[workflows.Line](w, workflows.PostLine)[1:]
			c := w.closing()
			if tc.again {
				if len(lines) != 2 || !lines[0].Again || lines[0].Event != workflows.Asked {
					t.Fatalf("closed with the lines %+v", lines)
				}
				lines = lines[1:]
			}
			for _, l := range inputs[workflows.Line](w, workflows.PostLine)[1:] {
				if l.WorkflowID != c.WorkflowID || l.RunID != c.RunID {
					t.Errorf("closed with a line of %s, %s, want it of who asked: %s, %s", l.WorkflowID, l.RunID, c.WorkflowID, c.RunID)
				}
			}
			if len(lines) != 1 || lines[0].Event != workflows.Decided || lines[0].Number != 2 || lines[0].Again || lines[0].Card != posted {
				t.Errorf("closed with the lines %+v", lines)
			}
			if at := w.when(workflows.CloseCard)[0]; at != 2*time.Hour {
				t.Errorf("closed after %v; the card does not wait for its lines", at)
			}
			if at := w.when(workflows.PostLine)[1]; at != tc.at {
				t.Errorf("went on with the lines after %v, want %v", at, tc.at)
			}
			all := w.names()
			if last := len(all) - 1 - slices.Index(reversed(all), workflows.PostLine); last > slices.Index(all, workflows.TellRequester) {
				t.Errorf("executed %q, want the outcome after the lines", all)
			}
			if !c.TellRequester || c.Result.Outcome != workflows.Approved {
				t.Errorf("closed %+v", c)
			}
		})
	}
}

func reversed(all []string) []string {
	all = slices.Clone(all)
	slices.Reverse(all)
	return all
}

// What Slack does not take in time is left to a workflow of its own.
func TestClosingIsLeft(t *testing.T) {
	w := newWorld(t)
	w.postLine = func(l workflows.Line) error {
		if l.Number > 1 && w.Now().Before(started.Add(3*time.Hour)) {
			return errors.New("slack is away")
		}
		return nil
	}
	var later []workflows.Closing
	w.SetOnChildWorkflowStartedListener(func(_ *workflow.Info, _ workflow.Context, args converter.EncodedValues) {
		var c workflows.Closing
		if err := args.Get(&c); err != nil {
			t.Error(err)
		}
		later = append(later, c)
	})
	r := asks(3)
	r.TellRequester = true
	for i, p := range []workflows.Person{bob, carol, dave} {
		w.at(3*time.Hour-time.Duration(3-i)*time.Minute, func() { w.decide(workflows.Decision{By: p}) })
	}
	res, err := w.run(r)
	if err != nil || res.Outcome != workflows.Approved {
		t.Fatalf("Approval = %+v, %v", res, err)
	}
	if len(later) != 1 {
		t.Fatalf("left to children: %+v", later)
	}
	c := later[0]
	if c.CloseCard || !c.TellRequester || c.TellDirectly || !c.Again || len(c.Lines) != 2 || !c.Lines[0].Again || c.Lines[1].Again {
		t.Errorf("left %+v; want the lines, and then the outcome", c)
	}
	// The workflow that is left with them has other IDs.
	for _, l := range append(slices.Clone(c.Lines), inputs[workflows.Line](w, workflows.PostLine)[len(w.events())-2:]...) {
		if l.WorkflowID == "" || l.WorkflowID != c.WorkflowID || l.RunID == "" || l.RunID != c.RunID || l.Card != posted {
			t.Errorf("left the line %+v, want it of %s, %s", l, c.WorkflowID, c.RunID)
		}
	}
	w.executed(1, workflows.CloseCard)
	if diff := cmp.Diff([]string{workflows.PostLine, workflows.PostLine, workflows.TellRequester}, w.names()[len(w.names())-3:]); diff != "" {
		t.Errorf("executed at the end (-want +got):\n%s", diff)
	}
}

func TestCloseCardLater(t *testing.T) {
	line := func(n int) workflows.Line {
		return workflows.Line{Event: workflows.Decided, Number: n, ActivityID: "x", Card: posted, At: started, Again: n == 1}
	}
	for name, tc := range map[string]struct {
		left workflows.Closing
		want []string
	}{
		"lines, and then the outcome": {
			workflows.Closing{Again: true, TellRequester: true, Lines: []workflows.Line{line(1), line(2)}},
			[]string{workflows.PostLine, workflows.PostLine, workflows.PostLine, workflows.TellRequester},
		},
		"lines only":     {workflows.Closing{Again: true, Lines: []workflows.Line{line(1)}}, []string{workflows.PostLine, workflows.PostLine}},
		"directly":       {workflows.Closing{Again: true, TellDirectly: true}, []string{workflows.TellRequester}},
		"the outcome":    {workflows.Closing{Again: true, TellRequester: true}, []string{workflows.TellRequester}},
		"the card alone": {workflows.Closing{CloseCard: true}, []string{workflows.CloseCard}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tries := 0
			w.postLine = func(workflows.Line) error {
				if tries++; tries == 1 {
					return errors.New("slack is away")
				}
				return nil
			}
			w.ExecuteWorkflow(workflows.CloseCardLater, tc.left)
			if err := w.GetWorkflowError(); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(tc.want, w.names()); diff != "" {
				t.Errorf("executed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhoIsTold(t *testing.T) {
	for name, tc := range map[string]struct {
		request          workflows.Request
		thread, directly int
	}{
		"the requester, in the thread":                             {only(), 1, 0},
		"the requester, directly too":                              {with(only(), func(r *workflows.Request) { r.TellRequester = true }), 1, 1},
		"nobody asked, the thread":                                 {with(only(), func(r *workflows.Request) { r.Requester = "" }), 1, 0},
		"the requester, whose card is in another's direct message": {with(only(), func(r *workflows.Request) { r.Channel = bob.ID }), 1, 1},
		"the requester, whose card is in their own":                {with(only(), func(r *workflows.Request) { r.Channel = alice.ID }), 1, 0},
		"nobody asked, in a direct message":                        {with(only(), func(r *workflows.Request) { r.Channel, r.Requester = bob.ID, "" }), 1, 0},
		"nobody asked, nobody to be told":                          {with(only(), func(r *workflows.Request) { r.Requester, r.TellRequester = "", true }), 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.approve(bob)
			w.ask(tc.request, workflows.Approved)
			var thread, directly int
			for _, c := range inputs[workflows.Closing](w, workflows.TellRequester) {
				if c.TellDirectly {
					directly++
				} else {
					thread++
				}
			}
			if thread != tc.thread || directly != tc.directly {
				t.Errorf("told %d times in the thread and %d times directly", thread, directly)
			}
		})
	}
}

func TestMemo(t *testing.T) {
	w := newWorld(t)
	r := escalates(asks(2))
	r.Fields = []workflows.Field{{Label: "Version", Value: "1.2.3"}}
	r.RemindEvery, r.Confirm = "30m", "Really?"
	w.at(time.Hour, func() { w.decide(workflows.Decision{By: bob, Reason: "Go.", Inputs: map[string]string{"a": "b"}}) })
	w.at(3*time.Hour, func() { w.change(workflows.Change{Kind: workflows.Extend, By: alice, Longer: "1h"}) })
	w.at(5*time.Hour, func() { w.decide(workflows.Decision{By: carol, Inputs: map[string]string{"a": "b"}}) })
	stages := make(map[time.Duration][]workflows.Listed)
	for _, after := range []time.Duration{time.Minute, 90 * time.Minute, 150 * time.Minute, 210 * time.Minute, 270 * time.Minute} {
		w.at(after, func() { stages[after] = w.memo() })
	}
	res := w.ask(r, workflows.Approved)
	stages[5*time.Hour] = w.memo()

	question, _, _, _ := workflows.SplitActivityID(w.question(0).id)
	for after, want := range map[time.Duration]struct {
		round   int
		missing int // people
		who     int // people and groups
		changes int
		decided string
	}{
		time.Minute:       {1, 2, 3, 0, ""},
		90 * time.Minute:  {2, 1, 3, 0, "bob:approved"},
		150 * time.Minute: {3, 1, 3, 1, "bob:approved"}, // carol could decide before
		210 * time.Minute: {3, 1, 3, 2, "bob:approved"},
		270 * time.Minute: {4, 1, 4, 3, "bob:approved"},
	} {
		if len(stages[after]) != 1 {
			t.Errorf("after %v the memo is %+v", after, stages[after])
			continue
		}
		l := stages[after][0]
		if l.Question != question || l.ActivityID != w.question(want.round-1).id || l.Round.Number != want.round || l.Digest != res.Digest ||
			l.Card != posted || l.Permalink != permalink || !l.AskedAt.Equal(started) || l.Outcome != "" || !l.EndedAt.IsZero() {
			t.Errorf("after %v: %+v", after, l)
		}
		missing := 0
		for _, role := range l.Missing {
			missing += role.Required
			if !role.Empty() {
				t.Errorf("after %v who is missing is there twice: %+v", after, role)
			}
		}
		all := l.Round.Who()
		if missing != want.missing || len(all.Users)+len(all.Groups) != want.who || len(l.Round.Changes) != want.changes || who(l.Round.Decisions) != want.decided {
			t.Errorf("after %v: missing %d of %+v, changes %+v, decided %s", after, missing, all, l.Round.Changes, who(l.Round.Decisions))
		}
		if l.Round.Title != r.Title || l.Round.Requester != alice.ID || l.Round.Text != "" || len(l.Round.Fields) > 0 || len(l.Round.Escalate) > 0 || l.Round.Confirm != "Really?" {
			t.Errorf("after %v: %+v", after, l.Round)
		}
		for _, d := range l.Round.Decisions {
			if d.Reason != "" || d.Inputs != nil || d.Digest != "" {
				t.Errorf("after %v: %+v", after, d)
			}
		}
	}
	ended := stages[5*time.Hour]
	if len(ended) != 1 || ended[0].Outcome != workflows.Approved || ended[0].ActivityID != "" || !ended[0].EndedAt.Equal(res.EndedAt) ||
		ended[0].Card != posted || ended[0].Permalink != permalink || len(ended[0].Missing) > 0 || who(ended[0].Round.Decisions) != "bob:approved carol:approved" {
		t.Errorf("ended: %+v", ended)
	}
	// Reminders do not change it.
	if len(w.memos) > 9 {
		t.Errorf("the memo was kept %d times", len(w.memos))
	}
}

func TestMemoOfEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		arrange func(*world)
		want    workflows.Outcome
	}{
		"rejected": {func(w *world) {
			w.at(time.Hour, func() { w.decide(workflows.Decision{By: bob, Outcome: workflows.Rejected}) })
		}, workflows.Rejected},
		"expired": {func(*world) {}, workflows.Expired},
		"withdrawn": {func(w *world) {
			w.at(time.Hour, func() { w.change(workflows.Change{Kind: workflows.Withdraw, By: alice}) })
		}, workflows.Withdrawn},
		"cancelled": {func(w *world) { w.at(time.Hour, w.CancelWorkflow) }, workflows.Withdrawn},
		"failed": {func(w *world) {
			w.postCard = func(workflows.CardInput) (workflows.Posted, error) { return workflows.Posted{}, refusal("no") }
		}, workflows.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tc.arrange(w)
			_, _ = w.run(asks(2)) // How it ended is in the memo.
			if m := w.memo(); len(m) != 1 || m[0].Outcome != tc.want || m[0].ActivityID != "" || m[0].EndedAt.IsZero() {
				t.Errorf("memo %+v, want %s", m, tc.want)
			}
		})
	}
	t.Run("a greeting that waits", func(t *testing.T) {
		w := newWorld(t)
		w.at(time.Second, func() { w.signal(0, posted) })
		w.at(time.Hour, func() {
			if m := w.memo(); len(m) != 1 || m[0].Card != posted || m[0].ActivityID != w.question(0).id {
				t.Errorf("memo %+v", m)
			}
			w.click(0, workflows.Approved, "")
		})
		w.greeted()
		if m := w.memo(); len(m) != 1 || m[0].Outcome != workflows.Approved {
			t.Errorf("memo %+v", m)
		}
	})
}

// atItsLimits is a request that has as much as it may have.
func atItsLimits() workflows.Request {
	long := func(n int) string { return strings.Repeat("ü", n) }
	id := func(prefix string, n int) string { return fmt.Sprintf("%s%020d", prefix, n) }
	r := workflows.Request{
		Title: long(workflows.MaxTitle), Text: long(workflows.MaxText), Channel: "C0GENERAL1", Requester: alice.ID,
		Link:    workflows.Link{URL: "https://example.com/" + strings.Repeat("x", workflows.MaxURL-20), Text: long(workflows.MaxLabel)},
		Confirm: long(workflows.MaxConfirm), RemindEvery: "24h", Deadline: "30d", TellRequester: true,
	}
	for range workflows.MaxFields {
		r.Fields = append(r.Fields, workflows.Field{Label: long(workflows.MaxLabel), Value: long(workflows.MaxFieldValue)})
	}
	for n := range workflows.MaxRoles {
		role := workflows.Role{Name: fmt.Sprint(n) + long(workflows.MaxRoleName-1), Required: 4}
		for i := range 8 {
			role.Users = append(role.Users, id("U", 100*n+i))
		}
		for i := range 2 {
			role.Groups = append(role.Groups, id("S", 100*n+i))
		}
		r.Roles = append(r.Roles, role)
	}
	for n := range workflows.MaxEscalations {
		r.Escalate = append(r.Escalate, workflows.Escalation{
			After: workflows.Duration(fmt.Sprint(n+1) + "h"), Role: r.Roles[n%5].Name,
			Approvers: workflows.Approvers{Users: []string{id("U", 1000+n)}, Groups: []string{id("S", 1000+n)}},
		})
	}
	for n := range workflows.MaxChoices {
		r.Choices = append(r.Choices, workflows.Choice{Label: fmt.Sprint(n) + long(workflows.MaxLabel-1), Value: long(workflows.MaxLabel-1) + fmt.Sprint(n)})
	}
	for n := range workflows.MaxInputs {
		in := workflows.Input{
			Name: fmt.Sprint(n) + strings.Repeat("n", workflows.MaxInputName-1), Label: long(workflows.MaxLabel), Hint: long(workflows.MaxHint),
			Initial: workflows.Text(long(workflows.MaxReason)), Lines: true,
		}
		r.Inputs = append(r.Inputs, in)
	}
	return r
}

// The largest request that there can be, decided by all who have to, with all that they can write, fits.
func TestRequestAtItsLimits(t *testing.T) {
	w := newWorld(t)
	r := atItsLimits()
	if faults := r.Faults(); len(faults) > 0 {
		t.Fatalf("faults: %q", faults)
	}
	values := make(map[string]string)
	for _, in := range r.Inputs {
		values[in.Name] = string(in.Initial)
	}
	n := 0
	for _, role := range r.Roles {
		for i := range 4 {
			n++
			w.at(12*time.Hour+time.Duration(n)*time.Minute, func() {
				w.decide(workflows.Decision{
					By:     workflows.Person{ID: role.Users[i], Name: strings.Repeat("n", 80), Team: "T0SIM0001"},
					Reason: strings.Repeat("ü", workflows.MaxReason), Option: 1, Inputs: values, Roles: []string{role.Name},
				})
			})
		}
	}
	names := make(map[string]string)
	for id := range ids(r) {
		names[id] = strings.Repeat("名", 80)
	}
	w.postCard = func(workflows.CardInput) (workflows.Posted, error) {
		return workflows.Posted{Card: posted, Permalink: permalink, Names: names}, nil
	}
	w.postLine = func(l workflows.Line) error { // Slack takes none of the lines while it is open.
		if l.Number == 1 && !l.Again {
			return slow
		}
		return errors.New("slack is away")
	}
	w.unstarted = []string{workflows.PostLine}
	var later []workflows.Closing
	w.SetOnChildWorkflowStartedListener(func(_ *workflow.Info, _ workflow.Context, args converter.EncodedValues) {
		var c workflows.Closing
		if err := args.Get(&c); err != nil {
			t.Error(err)
		}
		later = append(later, c)
	})
	size := func(v any) int {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return len(b)
	}
	res, err := w.run(r)
	if err != nil || res.Outcome != workflows.Approved || len(res.Decisions) != 20 || len(res.Changes) != 10 {
		t.Fatalf("Approval = %s of %d decisions, %d changes, %v", res.Outcome, len(res.Decisions), len(res.Changes), err)
	}
	memo := 0
	for _, m := range w.memos {
		memo = max(memo, size(m))
	}
	if memo > 50_000 {
		t.Errorf("the memo has %d bytes", memo)
	}
	if len(later) != 1 || len(later[0].Lines) == 0 {
		t.Fatalf("left to children: %+v, want some lines", later)
	}
	// https://docs.temporal.io/cloud/limits#per-message-grpc-limit
	for name, n := range map[string]int{"result": size(res), "closing": size(later[0]), "round": size(w.question(w.last()).round)} {
		if n > 2<<20 {
			t.Errorf("the %s has %d bytes, and Temporal takes 2 MiB", name, n)
		}
	}
	total := 0
	for _, s := range w.steps {
		total += size(s.input)
	}
	t.Logf("request %d, memo %d, result %d, closing %d, all inputs %d bytes", size(r), memo, size(res), size(later[0]), total)
	if total > 50<<20 {
		t.Errorf("the history has at least %d bytes, and Temporal takes 50 MiB", total)
	}
}

// ids are those of everybody who may decide, now or later.
func ids(r workflows.Request) map[string]bool {
	all := make(map[string]bool)
	add := func(a workflows.Approvers) {
		for _, id := range slices.Concat(a.Users, a.Groups) {
			all[id] = true
		}
	}
	add(r.Approvers)
	for _, role := range r.Roles {
		add(role.Approvers)
	}
	for _, e := range r.Escalate {
		add(e.Approvers)
	}
	return all
}

// Temporal's UI says what a workflow waits for.
func TestOperatorsSee(t *testing.T) {
	w := newWorld(t)
	r := asks(0)
	r.Approvers = workflows.Approvers{}
	r.Roles = []workflows.Role{
		{Name: "security", Approvers: workflows.Approvers{Users: []string{bob.ID, carol.ID}}},
		{Name: "sre", Approvers: workflows.Approvers{Groups: []string{"S0SRE00001"}}, Required: 2},
	}
	says := make(map[time.Duration]string)
	for _, after := range []time.Duration{time.Minute, 90 * time.Minute, 150 * time.Minute} {
		w.at(after, func() { says[after] = w.details() })
	}
	w.at(time.Hour, func() { w.decide(workflows.Decision{By: dave, Roles: []string{"sre"}}) })
	w.at(2*time.Hour, func() { w.decide(workflows.Decision{By: bob, Roles: []string{"security"}}) })
	w.at(140*time.Minute, func() { w.change(workflows.Change{Kind: workflows.Extend, By: alice, Longer: "2h"}) })
	w.at(3*time.Hour, func() { w.decide(workflows.Decision{By: erin, Roles: []string{"sre"}}) })
	w.ask(r, workflows.Approved)
	says[3*time.Hour] = w.details()
	want := map[time.Duration]string{
		time.Minute:       "Deploy 1.2.3: waiting for 1 of bob, carol as security and 2 of @sre as sre until 2026-11-21 12:00 UTC",
		90 * time.Minute:  "Deploy 1.2.3: waiting for 1 more of bob, carol as security and 1 more of @sre as sre until 2026-11-21 12:00 UTC",
		150 * time.Minute: "Deploy 1.2.3: waiting for 1 more of @sre as sre until 2026-11-21 14:00 UTC",
		3 * time.Hour:     "",
	}
	if diff := cmp.Diff(want, says); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}
	var summaries []string
	for _, s := range w.scheduled {
		if s.name == workflows.AwaitDecision {
			summaries = append(summaries, s.Summary)
		}
	}
	// The first is scheduled before anybody's name is known.
	wantSummaries := []string{
		"waiting for 1 of U0BOB00001, U0CAROL001 as security and 2 of S0SRE00001 as sre until 2026-11-21 12:00 UTC",
		"waiting for 1 more of bob, carol as security and 1 more of @sre as sre until 2026-11-21 12:00 UTC",
		"waiting for 1 more of @sre as sre until 2026-11-21 12:00 UTC",
	}
	if diff := cmp.Diff(wantSummaries, summaries); diff != "" {
		t.Errorf("summaries (-want +got):\n%s", diff)
	}
}

func TestOperatorsSeeWhoMay(t *testing.T) {
	for name, tc := range map[string]struct {
		approvers workflows.Approvers
		want      string
	}{
		"a group":   {workflows.Approvers{Groups: []string{"S0SRE00001"}}, "waiting for 1 of @sre until 2026-11-21 12:00 UTC"},
		"anyone":    {workflows.Approvers{Channel: true}, "waiting for 1 of anyone in the channel until 2026-11-21 12:00 UTC"},
		"a few":     {workflows.Approvers{Users: []string{bob.ID, carol.ID, dave.ID, erin.ID, "U0FRANK001"}}, "waiting for 1 of bob, carol, dave, erin, U0FRANK001 until 2026-11-21 12:00 UTC"},
		"many":      {workflows.Approvers{Users: []string{bob.ID, carol.ID, dave.ID, erin.ID, "U0FRANK001"}, Groups: []string{"S0SRE00001"}}, "waiting for 1 of bob, carol, dave, erin, 2 others until 2026-11-21 12:00 UTC"},
		"requester": {workflows.Approvers{Users: []string{alice.ID, bob.ID}}, "waiting for 1 of bob until 2026-11-21 12:00 UTC"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			got := ""
			w.at(time.Minute, func() { got = w.details() })
			w.approve(bob)
			w.ask(with(only(), func(r *workflows.Request) { r.Approvers = tc.approvers }), workflows.Approved)
			if got != "Deploy 1.2.3: "+tc.want {
				t.Errorf("details %q, want %q", got, tc.want)
			}
		})
	}
}

// What was asked is what is decided, whatever round it is, and the result says which request it was.
func TestDigestStays(t *testing.T) {
	w := newWorld(t)
	w.approve(bob)
	w.at(90*time.Minute, func() { w.change(workflows.Change{Kind: workflows.Extend, By: alice, Longer: "2h"}) })
	w.at(100*time.Minute, func() { w.change(workflows.Change{Kind: workflows.Delegate, By: carol, To: erin.ID}) })
	w.at(150*time.Minute, func() { w.decide(workflows.Decision{By: erin}) })
	res := w.ask(escalates(asks(2)), workflows.Approved)
	var requests []workflows.Request
	for n := range w.last() + 1 {
		requests = append(requests, w.question(n).request)
	}
	for _, in := range inputs[workflows.CardInput](w, workflows.RedrawCard) {
		requests = append(requests, in.Round.Request)
	}
	requests = append(requests, w.closing().Request)
	for _, r := range requests {
		if diff := cmp.Diff(requests[0], r, cmpopts.EquateEmpty()); diff != "" || digest(r) != res.Digest {
			t.Errorf("asked another (-first +this):\n%s", diff)
		}
	}
}

// wide is a request whose JSON has about so many bytes: each "<" has six.
func wide(r workflows.Request, size int) workflows.Request {
	r.Text = strings.Repeat("<", size/6)
	return r
}

// Temporal takes payloads of 2 MiB, and histories of 50.
func TestRequestIsTooLarge(t *testing.T) {
	// carries fails the test where a step has more of the request than Temporal takes.
	carries := func(w *world, most int) {
		w.Helper()
		for _, s := range w.steps {
			if b, err := json.Marshal(s.input); err != nil || len(b) > most {
				w.Errorf("%s has %d bytes, %v", s.name, len(b), err)
			}
		}
		w.executed(0, workflows.AwaitDecision)
		w.executed(0, workflows.PostCard)
		w.executed(1, workflows.TellRequester)
	}
	t.Run("for a step", func(t *testing.T) {
		w := newWorld(t)
		if app := w.failed(wide(asks(1), 400_000*6), workflows.ErrTypeInvalidRequest); app.Message() != "The request is too large: shorten it." {
			t.Errorf("failed with %q", app.Message())
		}
		carries(w, 10_000)
		w.executed(0, workflows.PrepareRequest)
		w.told(workflows.Failed, "The request is too large: shorten it.")
		if c := inputs[workflows.Closing](w, workflows.TellRequester)[0]; c.Request.Title != "Deploy 1.2.3" || c.Request.Channel != "C0GENERAL1" {
			t.Errorf("told of %+v", c.Request)
		}
	})
	t.Run("for a step, and malformed", func(t *testing.T) {
		w := newWorld(t)
		b, err := json.Marshal(wide(asks(1), 400_000*6))
		if err != nil {
			t.Fatal(err)
		}
		var r map[string]any
		if err := json.Unmarshal(b, &r); err != nil {
			t.Fatal(err)
		}
		r["required"] = "two"
		w.ExecuteWorkflow("Approval", r)
		var app *temporal.ApplicationError
		if err := w.GetWorkflowError(); !errors.As(err, &app) || app.Type() != workflows.ErrTypeInvalidRequest {
			t.Errorf("Approval: %v", err)
		}
		carries(w, 10_000)
	})
	t.Run("in its title alone", func(t *testing.T) {
		w := newWorld(t)
		w.failed(with(asks(1), func(r *workflows.Request) { r.Title = strings.Repeat("ü", 1<<20) }), workflows.ErrTypeInvalidRequest)
		carries(w, 10_000)
	})
	t.Run("for so many approvals", func(t *testing.T) {
		w := newWorld(t)
		r := wide(asks(20), 420_000)
		const tooLarge = "The request is too large for so many approvals: shorten it, or let fewer people decide."
		if app := w.failed(r, workflows.ErrTypeInvalidRequest); app.Message() != tooLarge {
			t.Errorf("failed with %q", app.Message())
		}
		carries(w, 1<<20)
		w.told(workflows.Failed, tooLarge)
	})
	t.Run("but not for fewer", func(t *testing.T) {
		w := newWorld(t)
		w.approve(bob)
		w.ask(wide(asks(1), 420_000), workflows.Approved)
	})
}

// Each round is in the history several times. Somebody who approves again and again opens one after the other.
func TestRoundsHaveAnEnd(t *testing.T) {
	const anew = "This was decided too often without an end: ask anew."
	again := func(w *world, n int, every time.Duration) {
		for i := range n {
			w.at(time.Duration(i+1)*every, func() { w.decide(workflows.Decision{By: bob}) })
		}
	}
	t.Run("so many rounds", func(t *testing.T) {
		w := newWorld(t)
		again(w, workflows.MaxRounds-1, time.Minute)
		var a *answer
		w.at(20*time.Hour, func() { a = w.change(workflows.Change{Kind: workflows.Delegate, By: carol, To: erin.ID}) })
		if app := w.failed(asks(2), workflows.ErrTypeInvalidRequest); app.Message() != anew {
			t.Errorf("failed with %q", app.Message())
		}
		w.notMade(a, "Too late: this request has ended.")
		w.executed(workflows.MaxRounds, workflows.AwaitDecision)
		if c := w.closing(); c.Result.Outcome != workflows.Failed || c.Result.Note != anew || c.Result.Card != posted || who(c.Result.Decisions) != "bob:approved" {
			t.Errorf("closed %+v", c.Result)
		}
	})
	t.Run("so much history", func(t *testing.T) {
		w := newWorld(t)
		again(w, 20, time.Minute)
		w.at(10*time.Minute+time.Second, func() {
			if w.IsWorkflowCompleted() {
				t.Error("the request has ended")
			}
		})
		if app := w.failed(wide(asks(2), 900_000), workflows.ErrTypeInvalidRequest); app.Message() != anew {
			t.Errorf("failed with %q", app.Message())
		}
		size := 0
		for _, in := range inputs[workflows.Round](w, workflows.AwaitDecision) {
			size += len(in.Text) * 6
		}
		for _, in := range inputs[workflows.CardInput](w, workflows.RedrawCard) {
			size += len(in.Round.Text) * 6
		}
		if size < 8<<20 || size > 17<<20 {
			t.Errorf("rounds of %d bytes", size)
		}
	})
	t.Run("so large a round", func(t *testing.T) {
		w := newWorld(t)
		for i := range 20 {
			w.at(time.Duration(i+1)*time.Minute, func() {
				w.decide(workflows.Decision{By: bob, Choice: fmt.Sprint(i), Reason: strings.Repeat("<", 100_000)})
			})
		}
		w.failed(asks(2), workflows.ErrTypeInvalidRequest)
		w.executed(2, workflows.AwaitDecision) // The next one would have 1.2 MB.
	})
	t.Run("half is left for decisions", func(t *testing.T) {
		w := newWorld(t)
		again(w, 5, time.Minute)
		var early, late, longer, withdrawn *answer
		delegate := workflows.Change{Kind: workflows.Delegate, By: dave, To: erin.ID}
		w.at(90*time.Second, func() { early = w.change(delegate) })
		w.at(10*time.Minute, func() { late = w.change(workflows.Change{Kind: workflows.Delegate, By: erin, To: dave.ID}) })
		w.at(11*time.Minute, func() { longer = w.change(workflows.Change{Kind: workflows.Extend, By: alice, Longer: "1h"}) })
		w.at(12*time.Minute, func() { withdrawn = w.change(workflows.Change{Kind: workflows.Withdraw, By: alice}) })
		res := w.ask(wide(asks(2), 900_000), workflows.Withdrawn)
		w.made(early)
		const often = "This request has been changed too often: withdraw it, and ask anew."
		w.notMade(late, often)
		w.notMade(longer, often)
		w.made(withdrawn)
		if len(res.Changes) != 2 || who(res.Decisions) != "bob:approved" {
			t.Errorf("ended %+v", res)
		}
	})
}
