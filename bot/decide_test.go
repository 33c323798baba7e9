package bot

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/temporal"

	"countersign/internal/card"
	"countersign/internal/record"
	"countersign/internal/reference"
	"countersign/workflows"
)

type answers = []any

func approve(who workflows.Person) workflows.Decision {
	return workflows.Decision{Outcome: workflows.Approved, By: who, Card: at}
}

func reject(who workflows.Person) workflows.Decision {
	return workflows.Decision{Outcome: workflows.Rejected, By: who, Reason: "Not today.", Card: at}
}

func TestDecide(t *testing.T) {
	const (
		scheduled = enumspb.PENDING_ACTIVITY_STATE_SCHEDULED
		started   = enumspb.PENDING_ACTIVITY_STATE_STARTED
	)
	histories := func(h ...[]*historypb.HistoryEvent) [][]*historypb.HistoryEvent { return h }
	gone := errors.Join(errors.New("complete"), notFound)
	for name, tc := range map[string]struct {
		temporal *fakeTemporal
		decision workflows.Decision

		recorded, unsure bool
		state            record.State
		closed           bool          // the workflow
		commits          int           // calls
		completes        bool          // the last of them gives a result, and not a failure
		took             time.Duration // at the least
	}{
		"approved": {decision: approve(bob), recorded: true, commits: 1, completes: true},
		"rejected": {decision: reject(bob), recorded: true, commits: 1},
		"Temporal does not answer": {
			temporal: &fakeTemporal{commits: []error{unavailable}},
			decision: approve(bob), unsure: true, commits: 16, completes: true, took: lookFor,
		},
		"Temporal takes too long": {
			temporal: &fakeTemporal{commits: []error{serviceerror.NewDeadlineExceeded("later")}},
			decision: reject(bob), unsure: true, commits: 16, took: lookFor,
		},
		"Temporal answers the second time": {
			temporal: &fakeTemporal{commits: []error{context.DeadlineExceeded, nil}},
			decision: reject(bob), recorded: true, commits: 2, took: lookAgain,
		},
		"recorded, and the answer was lost": {
			temporal: &fakeTemporal{
				commits:   []error{unavailable, gone},
				histories: histories(history(t, decidedBy(t, bob, workflows.Approved))),
			},
			decision: approve(bob), recorded: true, state: record.Ended, commits: 2, completes: true, took: lookAgain,
		},
		"no answer, and somebody else was first": {
			temporal: &fakeTemporal{
				commits:   []error{unavailable, gone},
				histories: histories(history(t, decidedBy(t, carol, workflows.Approved))),
			},
			decision: approve(bob), state: record.Ended, commits: 2, completes: true, took: lookAgain,
		},
		"Temporal refuses the bot": {
			temporal: &fakeTemporal{commits: []error{serviceerror.NewPermissionDenied("no", "")}},
			decision: approve(bob), unsure: true, commits: 1, completes: true,
		},
		"refused, and Temporal does not say why": {
			temporal: &fakeTemporal{commits: []error{gone}, describes: answers{unavailable}},
			decision: approve(bob), unsure: true, commits: 1, completes: true,
		},
		"rejection of what no worker has": {
			temporal: &fakeTemporal{commits: []error{gone, nil}, describes: answers{scheduled}},
			decision: reject(bob), recorded: true, commits: 2, completes: true, took: lookAgain,
		},
		"approval of what no worker has": {
			temporal: &fakeTemporal{commits: []error{gone, nil}, describes: answers{scheduled}},
			decision: approve(bob), recorded: true, commits: 2, completes: true, took: lookAgain,
		},
		"open after all": {
			temporal: &fakeTemporal{commits: []error{gone, nil}, describes: answers{started}},
			decision: reject(bob), recorded: true, commits: 2, took: lookAgain,
		},
		"decided just now, and then it is known by whom": {
			temporal: &fakeTemporal{
				commits:   []error{gone},
				histories: histories(history(t), history(t, decidedBy(t, carol, workflows.Approved))),
			},
			decision: approve(bob), state: record.Ended, commits: 2, completes: true, took: lookAgain,
		},
		"decided just now, for as long as there is time": {
			temporal: &fakeTemporal{commits: []error{gone}, histories: histories(history(t))},
			decision: approve(bob), state: record.Deciding, commits: 16, completes: true, took: lookFor,
		},
		"somebody else was first": {
			temporal: &fakeTemporal{commits: []error{gone}, histories: histories(history(t, decidedBy(t, carol, workflows.Approved)))},
			decision: approve(bob), state: record.Ended, commits: 1, completes: true,
		},
		"second click": {
			temporal: &fakeTemporal{commits: []error{gone}, histories: histories(history(t, decidedBy(t, bob, workflows.Approved)))},
			decision: approve(bob), recorded: true, state: record.Ended, commits: 1, completes: true,
		},
		"same person, another decision": {
			temporal: &fakeTemporal{commits: []error{gone}, histories: histories(history(t, decidedBy(t, bob, workflows.Rejected)))},
			decision: approve(bob), state: record.Ended, commits: 1, completes: true,
		},
		"decided outside Slack": {
			temporal: &fakeTemporal{commits: []error{gone}, histories: histories(history(t, decidedBy(t, workflows.Person{}, workflows.Approved)))},
			decision: approve(bob), state: record.Ended, commits: 1, completes: true,
		},
		"workflow terminated": {
			temporal: &fakeTemporal{commits: []error{gone}, histories: histories(history(t, closedBy(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED)))},
			decision: reject(bob), state: record.Ended, closed: true, commits: 1,
		},
		"Temporal no longer has it": {
			temporal: &fakeTemporal{commits: []error{gone}, describes: answers{notFound}},
			decision: approve(bob), state: record.Unknown, commits: 1, completes: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := cmp.Or(tc.temporal, new(fakeTemporal))
				b, sealed := newBot(t, newSlack(), f, nil)
				ref, err := b.Keys.Open(sealed)
				if err != nil {
					t.Fatal(err)
				}
				ctx, stop := context.WithTimeout(t.Context(), commitBudget)
				defer stop()
				begun := time.Now()
				v := b.decide(ctx, ref, tc.decision)
				if v.recorded != tc.recorded || v.unsure != tc.unsure || v.ended.State != tc.state || v.ended.WorkflowClosed != tc.closed {
					t.Errorf("recorded %v, unsure %v, state %v, closed %v; want %v, %v, %v, %v",
						v.recorded, v.unsure, v.ended.State, v.ended.WorkflowClosed, tc.recorded, tc.unsure, tc.state, tc.closed)
				}
				if took := time.Since(begun); took != tc.took { // In the bubble's time, which only waits move.
					t.Errorf("took %v, want %v", took, tc.took)
				}
				if len(f.completions) < tc.commits-1 || len(f.completions) > tc.commits {
					t.Fatalf("%d commits, want %d", len(f.completions), tc.commits)
				}
				for _, c := range f.completions {
					checkCommit(t, c, tc.decision)
				}
				last := f.completions[len(f.completions)-1]
				if completes := last.err == nil; completes != tc.completes {
					t.Errorf("the last commit gives a result: %v, want %v", completes, tc.completes)
				}
			})
		})
	}
}

// Where no worker runs the timer that is the deadline, nothing is decided long after it.
func TestDecideAfterTheDeadline(t *testing.T) {
	t.Parallel()
	until := func(passed time.Duration, change ...func(*workflows.Listed)) func(*testing.T) *workflowpb.WorkflowExecutionInfo {
		return func(t *testing.T) *workflowpb.WorkflowExecutionInfo {
			l := entry("Greet World", func(l *workflows.Listed) { l.Round.ExpiresAt = time.Now().Add(-passed) })
			for _, c := range change {
				c(&l)
			}
			return running(t, "greet-1", l)
		}
	}
	extended := func(by time.Duration) func(*workflows.Listed) {
		return func(l *workflows.Listed) {
			l.Round.Changes = []workflows.Change{{Kind: workflows.Extend, By: alice, Until: l.Round.ExpiresAt.Add(by)}}
		}
	}
	another := func(l *workflows.Listed) { l.Question = "ask-2" }
	for name, tc := range map[string]struct {
		passed   time.Duration // since the deadline that the card shows
		workflow func(*testing.T) *workflowpb.WorkflowExecutionInfo
		away     error // Temporal's answer to who asks for the workflow
		commits  []error

		late, unsure, recorded bool
		looks                  int // at the workflow, before anything is decided
	}{
		"a minute":                 {passed: overdue, workflow: until(overdue), recorded: true},
		"more than a minute":       {passed: overdue + time.Second, workflow: until(overdue + time.Second), late: true, looks: 1},
		"a day":                    {passed: 24 * time.Hour, workflow: until(24 * time.Hour), late: true, looks: 1},
		"before":                   {passed: -time.Hour, workflow: until(-time.Hour), recorded: true},
		"extended":                 {passed: time.Hour, workflow: until(time.Hour, extended(2*time.Hour)), recorded: true, looks: 1},
		"extended, not for long":   {passed: time.Hour, workflow: until(time.Hour, extended(58*time.Minute)), late: true, looks: 1},
		"extended, a moment ago":   {passed: time.Hour, workflow: until(time.Hour, extended(59*time.Minute+30*time.Second)), recorded: true, looks: 1},
		"another question is late": {passed: time.Hour, workflow: until(time.Hour, another), recorded: true, looks: 1},
		"Temporal is away":         {passed: time.Hour, workflow: until(time.Hour), away: unavailable, unsure: true, looks: 1},
		"Temporal forgot it":       {passed: time.Hour, workflow: until(time.Hour), away: notFound, commits: []error{notFound}, looks: 1},
		"it has ended":             {passed: time.Hour, workflow: until(time.Hour, endedAs(workflows.Expired)), commits: []error{notFound}, looks: 1},
	} {
		inTime(t, name, func(t *testing.T) {
			s, f := newSlack(), &fakeTemporal{
				listsItsOwn: true, running: []*workflowpb.WorkflowExecutionInfo{tc.workflow(t)}, commits: tc.commits,
				histories: [][]*historypb.HistoryEvent{history(t, decidedBy(t, carol, workflows.Approved))},
			}
			f.running[0].Execution.RunId = "run-1"
			if tc.away != nil {
				f.unchecked = map[string]error{"greet-1": tc.away}
			}
			b, sealed := newBot(t, s, f, func(r *reference.Reference) { r.Until = time.Now().Add(-tc.passed) })
			ref, err := b.Keys.Open(sealed)
			if err != nil {
				t.Fatal(err)
			}
			v := b.decide(t.Context(), ref, approve(bob))
			if v.late != tc.late || v.unsure != tc.unsure || v.recorded != tc.recorded {
				t.Errorf("late %v, unsure %v, recorded %v; want %v, %v, %v", v.late, v.unsure, v.recorded, tc.late, tc.unsure, tc.recorded)
			}
			if commits := len(f.completions) > 0; commits != (tc.recorded || tc.commits != nil) {
				t.Errorf("%d commits", len(f.completions))
			}
			if tc.commits != nil && v.ended.State != record.Ended && v.ended.State != record.Unknown {
				t.Errorf("ended %+v", v.ended)
			}
			if tc.commits == nil && len(f.looked) != tc.looks {
				t.Errorf("looked at %q, want %d looks", f.looked, tc.looks)
			}
		})
	}
	// The person is told, whichever way they decide.
	for name, tc := range map[string]struct {
		payload func(t *testing.T, sealed string) map[string]any
		said    []string
		fault   string
	}{
		"approves":       {payload: func(_ *testing.T, sealed string) map[string]any { return clicked(bob, "approve", sealed) }, said: []string{string(refuseLate)}},
		"submits a form": {payload: func(t *testing.T, sealed string) map[string]any { return submitted(t, bob, sealed, "No.") }, fault: string(refuseLate)},
	} {
		inTime(t, name, func(t *testing.T) {
			s, f := newSlack(), &fakeTemporal{listsItsOwn: true, running: []*workflowpb.WorkflowExecutionInfo{until(time.Hour)(t)}}
			b, sealed := newBot(t, s, f, func(r *reference.Reference) { r.Until = time.Now().Add(-time.Hour) })
			r := deliver(t, b, interactive, tc.payload(t, sealed))
			if tc.fault != "" {
				checkFaults(t, r, []string{card.BlockComment}, tc.fault)
			}
			if says(t, s, tc.said); !r.ack || len(f.completions) > 0 {
				t.Errorf("acknowledged %v after %d commits", r.ack, len(f.completions))
			}
		})
	}
}

// checkCommit fails the test where Temporal did not get the decision, bound to what was shown.
func checkCommit(t *testing.T, c completion, want workflows.Decision) {
	t.Helper()
	want.Digest = hexDigest(request)
	got, ok := c.result.(workflows.Decision)
	if c.err != nil {
		var app *temporal.ApplicationError
		if !errors.As(c.err, &app) || app.Type() != workflows.ErrTypeRejected || !app.NonRetryable() || want.Outcome != workflows.Rejected {
			t.Errorf("failed with %v", c.err)
			return
		}
		ok = app.Details(&got) == nil
	}
	if diff := gocmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("Temporal got (-want +got):\n%s", diff)
	}
}

// A person whose time is up is told so, and the click is not left hanging.
func TestDecideEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeTemporal{commits: []error{notFound}, describes: answers{enumspb.PENDING_ACTIVITY_STATE_STARTED}}
		b, sealed := newBot(t, newSlack(), f, nil)
		ref, err := b.Keys.Open(sealed)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), 250*time.Millisecond)
		defer stop()
		begun := time.Now()
		if v := b.decide(ctx, ref, approve(bob)); v.recorded {
			t.Errorf("decide = %+v, want nothing recorded", v)
		}
		if took := time.Since(begun); took > 300*time.Millisecond {
			t.Errorf("took %v, want 250 ms", took)
		}
	})
}

// takeTurns takes all turns to decide.
func takeTurns(t *testing.T, b *Bot) {
	t.Helper()
	if !b.turns.TryAcquire(atATime) {
		t.Fatal("not all turns are free")
	}
}

// Who gets no turn in time is told so, and Temporal is not called.
func TestTurns(t *testing.T) {
	t.Parallel()
	const never = time.Hour
	clicks := func(_ *testing.T, sealed string) map[string]any { return clicked(bob, "approve", sealed) }
	submits := func(t *testing.T, sealed string) map[string]any { return submitted(t, bob, sealed, "No.") }
	atHome := func(t *testing.T, sealed string) map[string]any {
		p := clicks(t, sealed)
		delete(p, "response_url")
		p["container"] = map[string]any{"type": "view", "view_id": "V0HOME0001"}
		p["actions"].([]any)[0].(map[string]any)["action_id"] = card.ActionReject
		return p
	}
	for name, tc := range map[string]struct {
		payload func(t *testing.T, sealed string) map[string]any
		free    time.Duration // when one of the turns becomes free; all others stay taken

		ack    bool
		said   []string
		fault  string
		modals int
		commit bool
	}{
		"click":                               {payload: clicks, free: never, said: []string{string(refuseBusy)}},
		"click, and a turn is free":           {payload: clicks, ack: true, commit: true},
		"click, and a turn becomes free":      {payload: clicks, free: time.Second, ack: true, commit: true},
		"click, and a turn becomes free late": {payload: clicks, free: commitBudget - forCall/2, said: []string{string(refuseBusy)}},
		"click in the home":                   {payload: atHome, free: never, modals: 1},
		"form":                                {payload: submits, free: never, ack: true, fault: string(refuseBusy)},
		"form, and a turn is free":            {payload: submits, ack: true, commit: true},
		"form, and a turn becomes free":       {payload: submits, free: time.Second, ack: true, commit: true},
		"form, and a turn becomes free late":  {payload: submits, free: commitBudget - forCall/2, ack: true, fault: string(refuseBusy)},
	} {
		inTime(t, name, func(t *testing.T) {
			s, f := newSlack(), &fakeTemporal{}
			b, sealed := newBot(t, s, f, func(r *reference.Reference) {
				if tc.modals > 0 {
					r.Reason = workflows.Off
				}
			})
			takeTurns(t, b)
			if tc.free == 0 {
				b.turns.Release(1)
			} else {
				defer time.AfterFunc(tc.free, func() { b.turns.Release(1) }).Stop()
			}
			r := deliver(t, b, interactive, tc.payload(t, sealed))
			if tc.fault != "" {
				checkFaults(t, r, []string{card.BlockComment}, tc.fault)
			} else if r.body != nil {
				t.Errorf("answered with %v", r.body)
			}
			if r.ack != tc.ack {
				t.Errorf("acknowledged %v, want %v", r.ack, tc.ack)
			}
			says(t, s, tc.said)
			if len(s.modals) != tc.modals || tc.modals > 0 && !strings.Contains(encoded(t, s.modals[0]), string(refuseBusy)) {
				t.Errorf("said in modals: %+v", s.modals)
			}
			if called := len(f.completions)+f.described+f.read+len(f.looked) > 0; called != tc.commit || len(f.completions) > 1 {
				t.Errorf("called Temporal %v, want %v: %d commits", called, tc.commit, len(f.completions))
			}
		})
	}
}

// A decision that finds a free turn is made, however little time it has; one that finds none does not wait.
func TestTurnWithLittleTime(t *testing.T) {
	t.Parallel()
	for name, taken := range map[string]bool{"free": false, "taken": true} {
		inTime(t, name, func(t *testing.T) {
			f := &fakeTemporal{}
			b, sealed := newBot(t, newSlack(), f, nil)
			if taken {
				takeTurns(t, b)
			}
			ref, err := b.Keys.Open(sealed)
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithTimeout(t.Context(), forCall/2)
			defer stop()
			v := b.decide(ctx, ref, approve(bob))
			if v.recorded == taken || v.busy != taken || (len(f.completions) > 0) == taken {
				t.Errorf("decide = %+v after %d commits", v, len(f.completions))
			}
			if ctx.Err() != nil {
				t.Error("waited until there was no time left")
			}
		})
	}
}

// Whatever becomes of a decision, its turn is another one's afterwards.
func TestTurnIsGivenBack(t *testing.T) {
	t.Parallel()
	longAgo := func(r *reference.Reference) { r.Until = time.Now().Add(-time.Hour) }
	for name, tc := range map[string]struct {
		temporal *fakeTemporal
		change   func(*reference.Reference)
		want     verdict // without what was read
	}{
		"recorded":          {temporal: &fakeTemporal{}, want: verdict{recorded: true}},
		"Temporal is away":  {temporal: &fakeTemporal{commits: []error{unavailable}}, want: verdict{unsure: true}},
		"Temporal refuses":  {temporal: &fakeTemporal{commits: []error{serviceerror.NewPermissionDenied("no", "")}}, want: verdict{unsure: true}},
		"it was not read":   {temporal: &fakeTemporal{commits: []error{notFound}, reads: []error{errHangs}}, want: verdict{unsure: true}},
		"open all the time": {temporal: &fakeTemporal{commits: []error{notFound}, describes: answers{enumspb.PENDING_ACTIVITY_STATE_STARTED}}},
		"too late": {
			temporal: &fakeTemporal{commits: []error{notFound}, histories: [][]*historypb.HistoryEvent{history(t, decidedBy(t, carol, workflows.Approved))}},
		},
		"others may decide now": {
			temporal: &fakeTemporal{
				commits: []error{notFound}, describes: answers{opened{activity(2, otherPolicy), enumspb.PENDING_ACTIVITY_STATE_STARTED}},
				histories: [][]*historypb.HistoryEvent{rounds(t, twice(), []string{samePolicy, otherPolicy}, workflows.Person{})},
			},
			change: about(twice()), want: verdict{changed: true},
		},
		"the deadline cannot be read": {
			temporal: &fakeTemporal{listsItsOwn: true, unchecked: map[string]error{"greet-1": unavailable}},
			change:   longAgo, want: verdict{unsure: true},
		},
	} {
		inTime(t, name, func(t *testing.T) {
			b, sealed := newBot(t, newSlack(), tc.temporal, tc.change)
			ref, err := b.Keys.Open(sealed)
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithTimeout(t.Context(), commitBudget)
			defer stop()
			v := b.decide(ctx, ref, approve(bob))
			if v.ended = (record.Activity{}); !reflect.DeepEqual(v, tc.want) {
				t.Errorf("decide = %+v, want %+v", v, tc.want)
			}
			takeTurns(t, b)
		})
	}
	// Who got none has none to give.
	inTime(t, "busy", func(t *testing.T) {
		f := &fakeTemporal{}
		b, sealed := newBot(t, newSlack(), f, nil)
		takeTurns(t, b)
		deliver(t, b, interactive, clicked(bob, "approve", sealed))
		if b.turns.TryAcquire(1) {
			t.Error("a turn is free, though all are taken")
		}
		b.turns.Release(atATime)
		if r := deliver(t, b, interactive, clicked(bob, "approve", sealed)); !r.ack || len(f.completions) != 1 {
			t.Errorf("acknowledged %v after %d commits", r.ack, len(f.completions))
		}
		takeTurns(t, b)
	})
}

// crowdedTemporal notes how many commits are on their way at a time, and holds them until they are let go.
type crowdedTemporal struct {
	fakeTemporal
	now, most atomic.Int64
	release   chan struct{}
}

func (c *crowdedTemporal) CompleteActivityByID(ctx context.Context, namespace, workflowID, runID, activityID string, result any, err error) error {
	c.most.Store(max(c.most.Load(), c.now.Add(1)))
	defer c.now.Add(-1)
	<-c.release
	return c.fakeTemporal.CompleteActivityByID(ctx, namespace, workflowID, runID, activityID, result, err)
}

// However many decide, no more decisions are on their way to Temporal at a time than it is to have.
func TestManyDecide(t *testing.T) {
	t.Parallel()
	inTime(t, "at a time", func(t *testing.T) {
		const all = 2*atATime + 1
		c := &crowdedTemporal{release: make(chan struct{})}
		b, sealed := newBot(t, newSlack(), &c.fakeTemporal, nil)
		b.Temporal = c
		var (
			deciding sync.WaitGroup
			acked    atomic.Int64
		)
		payload := []byte(encoded(t, clicked(bob, "approve", sealed)))
		for range all {
			deciding.Go(func() {
				if r := b.handle(t.Context(), interactive, payload); r.ack {
					acked.Add(1)
				}
			})
		}
		synctest.Wait()
		if n := c.now.Load(); n != atATime {
			t.Errorf("%d decisions are on their way, want %d", n, atATime)
		}
		close(c.release)
		deciding.Wait()
		if c.most.Load() > atATime || acked.Load() != all {
			t.Errorf("%d decisions at a time, and %d clicks acknowledged, want %d and %d", c.most.Load(), acked.Load(), atATime, all)
		}
		takeTurns(t, b)
	})
}

// broken is what fails in Slack.
type broken struct{ answer, whisper, modal error }

func TestClick(t *testing.T) {
	t.Parallel()
	ended := [][]*historypb.HistoryEvent{history(t, decidedBy(t, carol, workflows.Approved))}
	terminated := [][]*historypb.HistoryEvent{history(t, closedBy(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED))}
	done := [][]*historypb.HistoryEvent{history(t, decidedBy(t, bob, workflows.Approved), closedBy(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED))}
	forge := func(s string) string { return s[:len(s)/2] + "AAAA" + s[len(s)/2+4:] }
	open := answers{enumspb.PENDING_ACTIVITY_STATE_STARTED}
	for name, tc := range map[string]struct {
		slack    broken
		temporal *fakeTemporal
		who      workflows.Person
		action   string
		sealed   func(string) string
		place    string // the bot's namespace, where it is another

		ack     bool
		said    []string // what the one private sentence has in it; none: nothing is said
		commits int
		modals  int
		closed  string // what the card is closed with
	}{
		"approver approves": {who: bob, action: "approve", ack: true, commits: 1},
		"approver rejects":  {who: bob, action: "reject", temporal: &fakeTemporal{describes: open}, ack: true, modals: 1},
		"approver rejects, Temporal is away": {
			who: bob, action: "reject", temporal: &fakeTemporal{reads: []error{unavailable}}, ack: true, modals: 1,
		},
		"approver rejects, Temporal hangs": {
			who: bob, action: "reject", temporal: &fakeTemporal{reads: []error{errHangs}}, ack: true, modals: 1,
		},
		"somebody else":         {who: carol, action: "approve", ack: true, said: []string{"Only <@U0BOB00001>, <@U0GUEST001> can decide"}},
		"requester":             {who: alice, action: "approve", ack: true, said: []string{string(refuseSelf)}},
		"external":              {who: external, action: "reject", ack: true, said: []string{string(refuseStranger)}},
		"forged":                {who: bob, action: "approve", sealed: forge, ack: true, said: []string{string(refuseReference)}},
		"forged to reject":      {who: bob, action: "reject", sealed: forge, ack: true, said: []string{string(refuseReference)}},
		"a button that is none": {who: bob, action: "approve_all", ack: true, said: []string{string(refuseVersion)}},
		"a reference of another version": {
			who: bob, action: "approve", sealed: func(s string) string { return "v2" + s[2:] }, ack: true, said: []string{string(refuseVersion)},
		},
		"another namespace":         {who: bob, action: "approve", place: "staging", ack: true, said: []string{string(refusePlace)}},
		"another namespace, reject": {who: bob, action: "reject", place: "staging", ack: true, said: []string{string(refusePlace)}},
		"too late": {
			who: bob, action: "approve", temporal: &fakeTemporal{commits: []error{notFound}, histories: ended},
			ack: true, commits: 1, said: []string{"Too late", "Approved by <@U0CAROL001>", "2026-11-20 13:30 UTC"},
		},
		"too late to reject": {
			who: bob, action: "reject", temporal: &fakeTemporal{histories: ended},
			ack: true, said: []string{"Too late", "Approved by <@U0CAROL001>"},
		},
		"workflow terminated": {
			who: bob, action: "approve", temporal: &fakeTemporal{commits: []error{notFound}, histories: terminated},
			ack: true, commits: 1, said: []string{"Too late", "was terminated"}, closed: "Greet World",
		},
		"workflow terminated, rejects": {
			who: bob, action: "reject", temporal: &fakeTemporal{histories: terminated},
			ack: true, said: []string{"Too late", "was terminated"}, closed: "was terminated",
		},
		"workflow forgotten": {
			who: bob, action: "approve", temporal: &fakeTemporal{commits: []error{notFound}, describes: answers{notFound}},
			ack: true, commits: 1, said: []string{"does not have this request"},
		},
		"workflow forgotten, rejects": {
			who: bob, action: "reject", temporal: &fakeTemporal{reads: []error{notFound}},
			ack: true, said: []string{"does not have this request"},
		},
		"second click, workflow closed": {
			who: bob, action: "approve", temporal: &fakeTemporal{commits: []error{notFound}, histories: done},
			ack: true, commits: 1, closed: "Approved by <@U0BOB00001>",
		},
		"Temporal is away": {
			who: bob, action: "approve", temporal: &fakeTemporal{commits: []error{unavailable}, describes: answers{unavailable}},
			commits: 16, said: []string{"could not confirm", "click again"},
		},
		"Temporal was away, and has it": {
			who: bob, action: "approve",
			temporal: &fakeTemporal{commits: []error{unavailable}, histories: [][]*historypb.HistoryEvent{history(t, decidedBy(t, bob, workflows.Approved))}},
			commits:  16, said: []string{"was recorded: approved"},
		},
		"Temporal was away, and does not have it": {
			who: bob, action: "approve", temporal: &fakeTemporal{commits: []error{unavailable}, describes: open},
			commits: 16, said: []string{"still open", "click again"},
		},
		"Temporal was away, and somebody was first": {
			who: bob, action: "approve", temporal: &fakeTemporal{commits: []error{unavailable}, histories: ended},
			commits: 16, said: []string{"Too late", "<@U0CAROL001>"},
		},
		"modal does not open": {
			who: bob, action: "reject", slack: broken{modal: errors.New("expired_trigger_id")}, temporal: &fakeTemporal{describes: open},
			said: []string{"nothing was done"},
		},
		"response URL is used up": {
			who: carol, action: "approve", slack: broken{answer: errors.New("used_url")},
			ack: true, said: []string{"U0CAROL001 in C0GENERAL1: Only"},
		},
		"nothing can be said": {
			who: carol, action: "approve", slack: broken{answer: errors.New("used_url"), whisper: errors.New("not_in_channel")},
		},
	} {
		inTime(t, name, func(t *testing.T) {
			s, f := newSlack(), cmp.Or(tc.temporal, new(fakeTemporal))
			s.answer, s.whisper, s.modal = tc.slack.answer, tc.slack.whisper, tc.slack.modal
			b, sealed := newBot(t, s, f, nil)
			if tc.sealed != nil {
				sealed = tc.sealed(sealed)
			}
			b.Records.Namespace = cmp.Or(tc.place, b.Records.Namespace)
			r := deliver(t, b, interactive, clicked(tc.who, tc.action, sealed))
			if r.ack != tc.ack || r.body != nil {
				t.Errorf("acknowledged %v with %v, want %v with nothing", r.ack, r.body, tc.ack)
			}
			if !committed(f, tc.commits) || len(s.modals) != tc.modals {
				t.Errorf("%d commits and %d modals, want %d and %d", len(f.completions), len(s.modals), tc.commits, tc.modals)
			}
			says(t, s, tc.said)
			switch {
			case tc.closed == "" && len(s.closed) > 0:
				t.Errorf("closed the card: %q", s.closed)
			case tc.closed != "" && (len(s.closed) != 1 || !strings.Contains(s.closed[0], tc.closed) || !strings.HasPrefix(s.closed[0], at.TS)):
				t.Errorf("closed cards %q, want this one, with %q", s.closed, tc.closed)
			}
		})
	}
}

// inTime runs a test in a bubble, where waiting takes no time.
func inTime(t *testing.T, name string, f func(*testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, f)
	})
}

// committed says whether there were that many commits. Where they go on until the time is up the last may be missing.
func committed(f *fakeTemporal, want int) bool {
	n := len(f.completions)
	return n == want || want == 16 && n == 15
}

// says fails the test where not exactly one sentence was said that has all of parts, or, without parts, none.
func says(t *testing.T, s *fakeSlack, parts []string) {
	t.Helper()
	want := min(len(parts), 1)
	if len(s.said) != want {
		t.Errorf("said %q, want %d sentences with %q", s.said, want, parts)
		return
	}
	for _, part := range parts {
		if !strings.Contains(s.said[0], part) {
			t.Errorf("said %q, want it to have %q", s.said[0], part)
		}
	}
}

func TestSubmit(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		temporal *fakeTemporal
		who      workflows.Person
		reason   string
		sealed   func(string) string
		place    string // the bot's namespace, where it is another

		fault   string // what is said in the modal; empty: it closes
		said    []string
		commits int
		closed  int
	}{
		"with a reason":            {who: bob, reason: " Not \u202etoday.\r\n\r\n ", commits: 1},
		"modal of somebody else's": {who: carol, fault: string(refuseOthers)},
		"requester":                {who: alice, fault: string(refuseSelf)},
		"changed metadata":         {who: bob, sealed: func(string) string { return "v1.x.y" }, fault: "key that the app no longer has"},
		"another version":          {who: bob, sealed: func(s string) string { return "v2" + s[2:] }, fault: string(refuseVersion)},
		"another namespace":        {who: bob, place: "staging", fault: string(refusePlace)},
		"workflow forgotten": {
			who: bob, temporal: &fakeTemporal{commits: []error{notFound}, describes: answers{notFound}},
			fault: "does not have this request", commits: 1,
		},
		"Temporal answers the second time": {who: bob, temporal: &fakeTemporal{commits: []error{unavailable, nil}}, commits: 2},
		"too late": {
			who: bob, temporal: &fakeTemporal{commits: []error{notFound}, histories: [][]*historypb.HistoryEvent{history(t, decidedBy(t, carol, workflows.Approved))}},
			fault: "Too late. Approved by carol on 2026-11-20 13:30 UTC.", commits: 1,
		},
		"submitted again": {
			who: bob, temporal: &fakeTemporal{commits: []error{notFound}, histories: [][]*historypb.HistoryEvent{history(t, decidedBy(t, bob, workflows.Rejected))}},
			commits: 1,
		},
		"workflow terminated": {
			who: bob, temporal: &fakeTemporal{commits: []error{notFound}, histories: [][]*historypb.HistoryEvent{history(t, closedBy(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED))}},
			fault: "was terminated", commits: 1, closed: 1,
		},
		"Temporal is away": {
			who: bob, temporal: &fakeTemporal{commits: []error{unavailable}, describes: answers{unavailable}},
			fault: "could not confirm", commits: 16,
		},
		"Temporal was away, and has it": {
			who: bob, temporal: &fakeTemporal{commits: []error{unavailable}, histories: [][]*historypb.HistoryEvent{history(t, decidedBy(t, bob, workflows.Rejected))}},
			fault: "could not confirm", commits: 16, said: []string{"was recorded: rejected"},
		},
	} {
		inTime(t, name, func(t *testing.T) {
			s, f := newSlack(), cmp.Or(tc.temporal, new(fakeTemporal))
			b, sealed := newBot(t, s, f, nil)
			b.Records.Namespace = cmp.Or(tc.place, b.Records.Namespace)
			if tc.sealed != nil {
				sealed = tc.sealed(sealed)
			}
			r := deliver(t, b, interactive, submitted(t, tc.who, sealed, tc.reason))
			if !r.ack {
				t.Error("a submission is answered with silence")
			}
			fault := ""
			if body, ok := r.body.(map[string]any); ok {
				if body["response_action"] != "errors" {
					t.Errorf("answered %v", body)
				}
				fault = body["errors"].(map[string]string)[card.BlockComment]
			}
			if !strings.Contains(fault, tc.fault) || (fault == "") != (tc.fault == "") || strings.Contains(fault, "<") {
				t.Errorf("said in the modal: %q, want %q", fault, tc.fault)
			}
			says(t, s, tc.said)
			if !committed(f, tc.commits) || len(s.closed) != tc.closed {
				t.Fatalf("%d commits and %d closed cards, want %d and %d", len(f.completions), len(s.closed), tc.commits, tc.closed)
			}
			if tc.reason != "" {
				var app *temporal.ApplicationError
				var d workflows.Decision
				if !errors.As(f.completions[0].err, &app) || app.Details(&d) != nil || d.Reason != "Not today." || d.Card != at || d.By != bob {
					t.Errorf("Temporal got %v with %+v", f.completions[0].err, d)
				}
			}
		})
	}
}

func TestModalKeepsWhatTheSubmissionNeeds(t *testing.T) {
	t.Parallel()
	s, f := newSlack(), &fakeTemporal{describes: answers{enumspb.PENDING_ACTIVITY_STATE_STARTED}}
	b, sealed := newBot(t, s, f, nil)
	deliver(t, b, interactive, clicked(bob, "reject", sealed))
	if len(s.modals) != 1 {
		t.Fatalf("%d modals, want 1", len(s.modals))
	}
	submission := submitted(t, bob, sealed, "Not today.")
	submission["view"].(map[string]any)["private_metadata"] = s.modals[0].PrivateMetadata
	submission["view"].(map[string]any)["callback_id"] = s.modals[0].CallbackID
	if r := deliver(t, b, interactive, submission); !r.ack || r.body != nil || len(f.completions) != 1 {
		t.Errorf("the submission was answered with %v, %v after %d commits", r.ack, r.body, len(f.completions))
	}
}
