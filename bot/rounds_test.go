package bot

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"

	"countersign/internal/card"
	"countersign/internal/record"
	"countersign/internal/reference"
	"countersign/workflows"
)

const (
	samePolicy  = "aaaa1111"
	otherPolicy = "bbbb2222"
)

// twice is a request that two have to approve.
func twice() workflows.Request {
	r := request
	r.Required, r.Approvers.Users = 2, []string{bob.ID, carol.ID, guest.ID}
	return r
}

// about has a reference name that request.
func about(r workflows.Request) func(*reference.Reference) {
	return func(ref *reference.Reference) {
		*ref = reference.Of(ref.Namespace, ref.WorkflowID, ref.RunID, ref.ActivityID, workflows.Round{Request: r, Number: 1}, r.Digest(), nil)
	}
}

// rounds is a history with a round for each policy. The first of them were approved by those, one each; a round that
// somebody without a name decided was ended because who may decide had changed.
func rounds(t *testing.T, r workflows.Request, policies []string, by ...workflows.Person) (all []*historypb.HistoryEvent) {
	t.Helper()
	round := workflows.Round{Request: r}
	for i, policy := range policies {
		event := int64(5 + 10*i)
		round.Number++
		all = append(all, asked(t, event, activity(round.Number, policy), round))
		if i >= len(by) {
			continue
		}
		if by[i].ID == "" {
			all = append(all, happened(&historypb.HistoryEvent{
				EventId: event + 1, EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED,
				Attributes: &historypb.HistoryEvent_ActivityTaskCanceledEventAttributes{
					ActivityTaskCanceledEventAttributes: &historypb.ActivityTaskCanceledEventAttributes{
						ScheduledEventId: event, Details: payloads(t, workflows.Result{Outcome: workflows.Changed}),
					},
				},
			}))
			continue
		}
		d := workflows.Decision{Outcome: workflows.Approved, By: by[i], Digest: hexDigest(r), Card: at}
		round.Decisions = append(round.Decisions, d)
		all = append(all, decidedIn(t, event, d))
	}
	return all
}

// filling says which roles the person may fill.
func filling(d workflows.Decision, roles ...string) workflows.Decision {
	d.Roles = roles
	return d
}

// A decision on a round that has gone is recorded in the one that is open, where the same people may decide in it.
func TestDecideInALaterRound(t *testing.T) {
	t.Parallel()
	type histories = [][]*historypb.HistoryEvent
	const (
		scheduled = enumspb.PENDING_ACTIVITY_STATE_SCHEDULED
		started   = enumspb.PENDING_ACTIVITY_STATE_STARTED
	)
	same := func(n int) []string { return slices.Repeat([]string{samePolicy}, n) }
	open := func(round int, policy string) opened { return opened{activity(round, policy), started} }
	nobody := workflows.Person{}
	// race is a request of which others open round after round.
	race := func(n int, commits []error, takes time.Duration) *fakeTemporal {
		f := &fakeTemporal{commits: commits, takes: takes}
		by := slices.Repeat([]workflows.Person{carol}, n)
		for i := 2; i <= n; i++ {
			f.describes = append(f.describes, open(i, samePolicy))
			f.histories = append(f.histories, rounds(t, twice(), same(i), by[:i-1]...))
		}
		return f
	}
	const atMost = -1 // It takes as long as it may, and no longer.
	for name, tc := range map[string]struct {
		temporal *fakeTemporal
		decision workflows.Decision

		recorded, changed bool
		state             record.State
		commits           []string // activities; those that could be more are not listed
		fails             bool     // the last of them
		took              time.Duration
	}{
		"the next round": {
			temporal: &fakeTemporal{
				commits: []error{notFound, nil}, describes: answers{open(2, samePolicy)},
				histories: histories{rounds(t, twice(), same(2), carol)},
			},
			decision: approve(bob), recorded: true, commits: []string{activity(1, samePolicy), activity(2, samePolicy)},
		},
		"rejects in the next round": {
			temporal: &fakeTemporal{
				commits: []error{notFound, nil}, describes: answers{open(2, samePolicy)},
				histories: histories{rounds(t, twice(), same(2), carol)},
			},
			decision: reject(bob), recorded: true, commits: []string{activity(1, samePolicy), activity(2, samePolicy)}, fails: true,
		},
		"rejects in the next round, which no worker has yet": {
			temporal: &fakeTemporal{
				commits: []error{notFound, nil}, describes: answers{opened{activity(2, samePolicy), scheduled}},
				histories: histories{rounds(t, twice(), same(2), carol)},
			},
			decision: reject(bob), recorded: true, commits: []string{activity(1, samePolicy), activity(2, samePolicy)},
		},
		"rejects a round that no worker has, and then the next one": {
			temporal: &fakeTemporal{
				commits: []error{notFound, notFound, nil}, describes: answers{scheduled, open(2, samePolicy)},
				histories: histories{rounds(t, twice(), same(2), carol)},
			},
			decision: reject(bob), recorded: true, fails: true, took: lookAgain,
			commits: []string{activity(1, samePolicy), activity(1, samePolicy), activity(2, samePolicy)},
		},
		"many rounds, each decided by somebody else first": {
			temporal: race(5, []error{notFound, notFound, notFound, notFound, nil}, 0),
			decision: approve(bob), recorded: true, commits: []string{
				activity(1, samePolicy), activity(2, samePolicy), activity(3, samePolicy), activity(4, samePolicy), activity(5, samePolicy),
			},
		},
		"between two rounds": {
			temporal: &fakeTemporal{
				commits: []error{notFound, notFound, nil}, describes: answers{nil, open(2, samePolicy)},
				histories: histories{rounds(t, twice(), same(1), carol), rounds(t, twice(), same(2), carol)},
			},
			decision: approve(bob), recorded: true, took: lookAgain,
			commits: []string{activity(1, samePolicy), activity(1, samePolicy), activity(2, samePolicy)},
		},
		"between two rounds, for as long as there is time": {
			temporal: &fakeTemporal{commits: []error{notFound}, histories: histories{rounds(t, twice(), same(1), carol)}},
			decision: approve(bob), state: record.Between, took: lookFor,
		},
		"every round is gone before it can be decided": {
			temporal: race(30, []error{notFound}, 100*time.Millisecond),
			decision: approve(bob), state: record.Open, took: atMost,
		},
		"other people may decide now": {
			temporal: &fakeTemporal{
				commits: []error{notFound}, describes: answers{open(2, otherPolicy)},
				histories: histories{rounds(t, twice(), []string{samePolicy, otherPolicy}, nobody)},
			},
			decision: approve(bob), changed: true, state: record.Open, commits: []string{activity(1, samePolicy)},
		},
		"other people may decide now, rejects, and no worker has it": {
			temporal: &fakeTemporal{
				commits: []error{notFound}, describes: answers{opened{activity(2, otherPolicy), scheduled}},
				histories: histories{rounds(t, twice(), []string{samePolicy, otherPolicy}, nobody)},
			},
			decision: reject(bob), changed: true, state: record.Scheduled, commits: []string{activity(1, samePolicy)}, fails: true,
		},
		"other people are about to decide": {
			temporal: &fakeTemporal{
				commits: []error{notFound}, describes: answers{nil, open(2, otherPolicy)},
				histories: histories{rounds(t, twice(), []string{samePolicy}, nobody), rounds(t, twice(), []string{samePolicy, otherPolicy}, nobody)},
			},
			decision: approve(bob), changed: true, state: record.Open, took: lookAgain,
			commits: []string{activity(1, samePolicy), activity(1, samePolicy)},
		},
		"other people may decide two rounds later": {
			temporal: &fakeTemporal{
				commits: []error{notFound}, describes: answers{open(2, samePolicy), open(3, otherPolicy)},
				histories: histories{
					rounds(t, twice(), same(2), carol), rounds(t, twice(), []string{samePolicy, samePolicy, otherPolicy}, carol, nobody),
				},
			},
			decision: approve(bob), changed: true, state: record.Open,
			commits: []string{activity(1, samePolicy), activity(2, samePolicy)},
		},
		"the person has approved already": {
			temporal: &fakeTemporal{
				commits: []error{notFound}, describes: answers{open(2, samePolicy)},
				histories: histories{rounds(t, twice(), same(2), bob)},
			},
			decision: approve(bob), recorded: true, state: record.Open, commits: []string{activity(1, samePolicy)},
		},
		"the person has approved just now": {
			temporal: &fakeTemporal{commits: []error{notFound}, histories: histories{rounds(t, twice(), same(1), bob)}},
			decision: approve(bob), recorded: true, state: record.Between, commits: []string{activity(1, samePolicy)},
		},
		"the person has approved before other people might decide": {
			temporal: &fakeTemporal{
				commits: []error{notFound}, describes: answers{open(3, otherPolicy)},
				histories: histories{rounds(t, twice(), []string{samePolicy, samePolicy, otherPolicy}, bob, nobody)},
			},
			decision: approve(bob), recorded: true, changed: true, state: record.Open, commits: []string{activity(1, samePolicy)},
		},
		"the person has approved, and rejects": {
			temporal: &fakeTemporal{
				commits: []error{notFound, nil}, describes: answers{open(2, samePolicy)},
				histories: histories{rounds(t, twice(), same(2), bob)},
			},
			decision: reject(bob), recorded: true, fails: true, commits: []string{activity(1, samePolicy), activity(2, samePolicy)},
		},
		"the person has approved something else since": {
			temporal: &fakeTemporal{
				commits: []error{notFound, nil}, describes: answers{open(3, samePolicy)},
				histories: histories{append(rounds(t, twice(), same(2), carol), asked(t, 95, activity(3, samePolicy), workflows.Round{
					Request: twice(), Number: 3, Decisions: []workflows.Decision{
						{Outcome: workflows.Approved, By: bob}, {Outcome: workflows.Approved, By: bob, Option: 2},
					},
				}))},
			},
			decision: approve(bob), recorded: true, commits: []string{activity(1, samePolicy), activity(3, samePolicy)},
		},
		"the person has approved it with other values": {
			temporal: &fakeTemporal{
				commits: []error{notFound, nil}, describes: answers{open(2, samePolicy)},
				histories: histories{append(rounds(t, twice(), same(1), carol), asked(t, 95, activity(2, samePolicy), workflows.Round{
					Request: twice(), Number: 2, Decisions: []workflows.Decision{{Outcome: workflows.Approved, By: bob, Inputs: map[string]string{"a": "b"}}},
				}))},
			},
			decision: approve(bob), recorded: true, commits: []string{activity(1, samePolicy), activity(2, samePolicy)},
		},
		"the person has approved, and may fill a role more": {
			temporal: &fakeTemporal{
				commits: []error{notFound, nil}, describes: answers{open(2, samePolicy)},
				histories: histories{append(rounds(t, twice(), same(1), carol), asked(t, 95, activity(2, samePolicy), workflows.Round{
					Request: twice(), Number: 2, Decisions: []workflows.Decision{{Outcome: workflows.Approved, By: bob, Roles: []string{"sre"}}},
				}))},
			},
			decision: filling(approve(bob), "sre", "security"), recorded: true, commits: []string{activity(1, samePolicy), activity(2, samePolicy)},
		},
		"the person has approved, and may fill a role less": {
			temporal: &fakeTemporal{
				commits: []error{notFound}, describes: answers{open(2, samePolicy)},
				histories: histories{append(rounds(t, twice(), same(1), carol), asked(t, 95, activity(2, samePolicy), workflows.Round{
					Request: twice(), Number: 2, Decisions: []workflows.Decision{{Outcome: workflows.Approved, By: bob, Roles: []string{"sre", "security"}}},
				}))},
			},
			decision: filling(approve(bob), "security"), recorded: true, state: record.Open, commits: []string{activity(1, samePolicy)},
		},
		"the person has approved, and may fill another role where others may decide": {
			temporal: &fakeTemporal{
				commits: []error{notFound}, describes: answers{open(2, otherPolicy)},
				histories: histories{append(rounds(t, twice(), same(1), workflows.Person{}), asked(t, 95, activity(2, otherPolicy), workflows.Round{
					Request: twice(), Number: 2, Decisions: []workflows.Decision{{Outcome: workflows.Approved, By: bob, Roles: []string{"sre"}}},
				}))},
			},
			decision: filling(approve(bob), "security"), changed: true, state: record.Open, commits: []string{activity(1, samePolicy)},
		},
		"others were enough": {
			temporal: &fakeTemporal{commits: []error{notFound}, histories: histories{rounds(t, twice(), same(2), carol, guest)}},
			decision: approve(bob), state: record.Ended, commits: []string{activity(1, samePolicy)},
		},
		"the person was one of those who were enough": {
			temporal: &fakeTemporal{commits: []error{notFound}, histories: histories{rounds(t, twice(), same(2), bob, carol)}},
			decision: approve(bob), recorded: true, state: record.Ended, commits: []string{activity(1, samePolicy)},
		},
		"another question of the workflow is open": {
			temporal: &fakeTemporal{
				commits: []error{notFound}, describes: answers{opened{"ask-2-decision-1-" + samePolicy, started}},
				histories: histories{append(rounds(t, twice(), same(2), carol, guest),
					asked(t, 90, "ask-2-decision-1-"+samePolicy, workflows.Round{Request: twice(), Number: 1}))},
			},
			decision: approve(bob), state: record.Ended, commits: []string{activity(1, samePolicy)},
		},
	} {
		inTime(t, name, func(t *testing.T) {
			f := tc.temporal
			b, sealed := newBot(t, newSlack(), f, about(twice()))
			ref, err := b.Keys.Open(sealed)
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithTimeout(t.Context(), commitBudget)
			defer stop()
			begun := time.Now()
			v := b.decide(ctx, ref, tc.decision)
			if v.recorded != tc.recorded || v.changed != tc.changed || v.unsure || v.ended.State != tc.state {
				t.Errorf("recorded %v, changed %v, unsure %v, state %v; want %v, %v, false, %v",
					v.recorded, v.changed, v.unsure, v.ended.State, tc.recorded, tc.changed, tc.state)
			}
			if took := time.Since(begun); took != tc.took && (tc.took != atMost || took < lookFor || took >= commitBudget) {
				t.Errorf("took %v, want %v", took, tc.took)
			}
			var commits []string
			for _, c := range f.completions {
				commits = append(commits, c.activityID)
			}
			if diff := cmp.Diff(tc.commits, commits); tc.commits != nil && diff != "" {
				t.Fatalf("decided (-want +got):\n%s", diff)
			}
			last := f.completions[len(f.completions)-1]
			if fails := last.err != nil; fails != tc.fails {
				t.Errorf("the last decision fails its activity: %v, want %v", fails, tc.fails)
			}
		})
	}
}

// What a person is told whose click came to a card of an earlier round.
func TestClickOnACardOfAnEarlierRound(t *testing.T) {
	t.Parallel()
	started := enumspb.PENDING_ACTIVITY_STATE_STARTED
	gone := func(ref *reference.Reference) {
		ref.Users, ref.Groups, ref.Gone = []string{carol.ID}, []string{"S0SRE00001"}, []string{bob.ID}
	}
	approvedAlready := func(ref *reference.Reference) { about(twice())(ref); ref.Approved = []string{bob.ID} }
	closed := append(rounds(t, twice(), []string{samePolicy, samePolicy}, bob), closedBy(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED))
	for name, tc := range map[string]struct {
		temporal *fakeTemporal
		ref      func(*reference.Reference)
		action   string
		ack      bool // although it was tried for as long as there is time
		commits  int
		said     []string
		modals   int
		closed   int
	}{
		"counts all the same": {
			temporal: &fakeTemporal{
				commits: []error{notFound, nil}, describes: answers{opened{activity(2, samePolicy), started}},
				histories: [][]*historypb.HistoryEvent{rounds(t, twice(), []string{samePolicy, samePolicy}, carol)},
			},
			action: "approve", commits: 2,
		},
		"who may decide has changed": {
			temporal: &fakeTemporal{
				commits: []error{notFound}, describes: answers{opened{activity(2, otherPolicy), started}},
				histories: [][]*historypb.HistoryEvent{rounds(t, twice(), []string{samePolicy, otherPolicy}, workflows.Person{})},
			},
			action: "approve", commits: 1, said: []string{string(refuseChanged)},
		},
		"second click": {
			temporal: &fakeTemporal{
				commits: []error{notFound}, describes: answers{opened{activity(2, samePolicy), started}},
				histories: [][]*historypb.HistoryEvent{rounds(t, twice(), []string{samePolicy, samePolicy}, bob)},
			},
			action: "approve", commits: 1,
		},
		"others are deciding for as long as there is time": {
			temporal: &fakeTemporal{commits: []error{notFound}, histories: [][]*historypb.HistoryEvent{rounds(t, twice(), []string{samePolicy}, carol)}},
			action:   "approve", commits: 16, ack: true, said: []string{"was not recorded", "click again"},
		},
		"others are about to be enough": {
			temporal: &fakeTemporal{commits: []error{notFound}, histories: [][]*historypb.HistoryEvent{rounds(t, twice(), []string{samePolicy, samePolicy}, carol)}},
			action:   "approve", commits: 16, ack: true, said: []string{"Somebody has just decided this request"},
		},
		"others are deciding, and more are wanted": {
			temporal: &fakeTemporal{commits: []error{notFound}, histories: [][]*historypb.HistoryEvent{rounds(t, twice(), []string{samePolicy})}},
			action:   "approve", commits: 16, ack: true, said: []string{"Others are deciding this", "was not recorded", "click again"},
		},
		"on the card that shows their approval": {
			temporal: &fakeTemporal{describes: answers{started}}, ref: approvedAlready, action: "approve",
			said: []string{"You have approved this already. It waits for others now."},
		},
		"on the card that shows their approval, Temporal is away": {
			temporal: &fakeTemporal{describes: answers{unavailable}}, ref: approvedAlready, action: "approve",
			said: []string{"You have approved this already."},
		},
		"on the card that shows their approval, Temporal hangs": {
			temporal: &fakeTemporal{describes: answers{errHangs}}, ref: approvedAlready, action: "approve",
			said: []string{"You have approved this already."},
		},
		"on the card that shows their approval, of a workflow that is closed": {
			temporal: &fakeTemporal{histories: [][]*historypb.HistoryEvent{closed}}, ref: approvedAlready, action: "approve",
			said: []string{"Too late", "was terminated"}, closed: 1,
		},
		"who handed over, and is a member":          {temporal: &fakeTemporal{}, ref: gone, action: "approve", said: []string{string(refuseGone)}},
		"who handed over, and is a member, rejects": {temporal: &fakeTemporal{}, ref: gone, action: card.ActionReject, said: []string{string(refuseGone)}},
		"who approved may still reject": {
			temporal: &fakeTemporal{}, ref: approvedAlready, action: card.ActionReject, modals: 1,
		},
		"Temporal was away, and then who may decide had changed": {
			temporal: &fakeTemporal{
				commits: []error{unavailable}, describes: answers{opened{activity(2, otherPolicy), started}},
				histories: [][]*historypb.HistoryEvent{rounds(t, twice(), []string{samePolicy, otherPolicy}, workflows.Person{})},
			},
			action: "approve", commits: 16, said: []string{string(refuseChanged)},
		},
	} {
		inTime(t, name, func(t *testing.T) {
			s, f := newSlack(), tc.temporal
			s.groups["S0SRE00001"] = []string{bob.ID, carol.ID}
			if tc.ref == nil {
				tc.ref = about(twice())
			}
			b, sealed := newBot(t, s, f, tc.ref)
			r := deliver(t, b, interactive, clicked(bob, tc.action, sealed))
			if r.body != nil || r.ack != (tc.ack || tc.commits != 16) {
				t.Errorf("acknowledged %v with %v", r.ack, r.body)
			}
			if !committed(f, tc.commits) || len(s.modals) != tc.modals || len(s.closed) != tc.closed {
				t.Errorf("%d commits, %d modals and %d closed cards; want %d, %d and %d",
					len(f.completions), len(s.modals), len(s.closed), tc.commits, tc.modals, tc.closed)
			}
			says(t, s, tc.said)
		})
	}
}

// What was decided says which roles the person may fill, and by which door and button it came.
func TestDecisionSaysHowItCame(t *testing.T) {
	t.Parallel()
	roles := func(ref *reference.Reference) {
		ref.Users, ref.Groups = nil, nil
		ref.Roles = []reference.Role{
			{Name: "security", Users: []string{bob.ID}},
			{Name: "legal", Users: []string{alice.ID}},
			{Name: "sre", Groups: []string{"S0SRE00001"}, Users: []string{bob.ID}},
		}
	}
	for name, tc := range map[string]struct {
		ref    func(*reference.Reference)
		action string
		want   workflows.Decision
	}{
		"card":            {action: "approve", want: workflows.Decision{Via: workflows.ViaCard, Card: at}},
		"person of roles": {ref: roles, action: "approve", want: workflows.Decision{Via: workflows.ViaCard, Card: at, Roles: []string{"security", "sre"}}},
		"choice":          {action: "approve_3", want: workflows.Decision{Via: workflows.ViaCard, Card: at, Option: 3}},
		"rejection without a reason": {
			ref: func(r *reference.Reference) { r.Reason = workflows.Off }, action: "reject",
			want: workflows.Decision{Outcome: workflows.Rejected, Via: workflows.ViaCard, Card: at},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, f := newSlack(), &fakeTemporal{}
				b, sealed := newBot(t, s, f, tc.ref)
				p := clicked(bob, tc.action, sealed)
				if r := deliver(t, b, interactive, p); !r.ack || len(f.completions) != 1 || len(s.said)+len(s.modals) > 0 {
					t.Fatalf("acknowledged %v after %d decisions, and said %q", r.ack, len(f.completions), s.said)
				}
				want := tc.want
				if want.By, want.At = bob, time.Now().UTC(); want.Outcome == "" {
					want.Outcome = workflows.Approved
				}
				checkCommit(t, f.completions[0], want)
			})
		})
	}
	t.Run("choice that there is not", func(t *testing.T) {
		t.Parallel()
		for _, action := range []string{"approve_0", "approve_6", "approve_01", "approve_-1", "approve_", "approve_1_1"} {
			s, f := newSlack(), &fakeTemporal{}
			b, sealed := newBot(t, s, f, nil)
			if r := deliver(t, b, interactive, clicked(bob, action, sealed)); !r.ack || len(f.completions) > 0 {
				t.Errorf("%s: acknowledged %v after %d decisions", action, r.ack, len(f.completions))
			}
			says(t, s, []string{string(refuseVersion)})
		}
	})
}

// inHome has a click happen in the app's home.
func inHome(p map[string]any) map[string]any {
	delete(p, "message")
	delete(p, "response_url")
	delete(p, "channel")
	p["container"] = map[string]any{"type": "view", "view_id": "V0HOME0001"}
	return p
}
