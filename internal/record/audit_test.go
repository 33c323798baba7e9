package record

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"countersign/workflows"
)

// archive is a Temporal with several workflows, which it lists page by page.
type archive struct {
	Temporal
	histories map[string][]*historypb.HistoryEvent // by the runs' IDs
	fails     map[string]error                     // at the end of their histories
	pages     [][]string                           // of runs
	list      error
	takes     time.Duration // to read a history

	mu      sync.Mutex
	queries []string
	read    map[string]int
	reading atomic.Int32
	most    int32 // that were read at once
}

func (a *archive) ListWorkflow(_ context.Context, r *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	if a.list != nil {
		return nil, a.list
	}
	a.queries = append(a.queries, r.GetNamespace()+": "+r.GetQuery())
	n := len(r.GetNextPageToken())
	page := &workflowservice.ListWorkflowExecutionsResponse{}
	for _, run := range a.pages[n] {
		page.Executions = append(page.Executions, &workflowpb.WorkflowExecutionInfo{
			Execution: &commonpb.WorkflowExecution{WorkflowId: "of-" + run, RunId: run},
		})
	}
	if n+1 < len(a.pages) {
		page.NextPageToken = make([]byte, n+1)
	}
	return page, nil
}

func (a *archive) GetWorkflowHistory(_ context.Context, workflowID, runID string, _ bool, _ enumspb.HistoryEventFilterType) client.HistoryEventIterator {
	now := a.reading.Add(1)
	time.Sleep(a.takes)
	a.reading.Add(-1)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.most = max(a.most, now); a.read == nil {
		a.read = map[string]int{}
	}
	a.read[runID]++
	if workflowID != "of-"+runID {
		return &iterator{nil, errors.New("another workflow's run")}
	}
	return &iterator{a.histories[runID], a.fails[runID]}
}

// auditOf reads the requests of one workflow.
func auditOf(t *testing.T, events ...string) []Audited {
	t.Helper()
	f := &archive{pages: [][]string{{"r"}}, histories: map[string][]*historypb.HistoryEvent{"r": history(t, events...)}}
	all, gone, err := Reader{Temporal: f}.Audit(t.Context(), at, nil)
	if err != nil || gone != 0 || f.read["r"] != 1 {
		t.Fatalf("Audit: %v, %d gone, read %d times", err, gone, f.read["r"])
	}
	return all
}

func TestAudit(t *testing.T) {
	t.Parallel()
	const (
		first, second, third = "AB2CDE-1-decision-1-0000aaaa", "AB2CDE-1-decision-2-0000bbbb", "AB2CDE-1-decision-3-0000bbbb"
		other                = "AB2CDE-2-decision-1-0000aaaa"
	)
	two := question
	two.Required, two.Approvers.Users = 2, []string{"U0BOB00001", "U0CAROL001"}
	digestOf := func(r workflows.Request) string { sum := r.Digest(); return hex.EncodeToString(sum[:]) }
	digest := digestOf(two)
	carol := workflows.Person{ID: "U0CAROL001", Name: "carol", Team: "T0SIM0001"}
	says := func(who workflows.Person, o workflows.Outcome, after time.Duration) workflows.Decision {
		return workflows.Decision{Outcome: o, By: who, At: clicked.Add(after), Via: workflows.ViaCard, Digest: digest, Card: posted}
	}
	bobs, carols := says(bob, workflows.Approved, 0), says(carol, workflows.Approved, time.Second)
	no := says(carol, workflows.Rejected, time.Second)
	no.Reason = "not today"
	round := func(n int, ds ...workflows.Decision) workflows.Round {
		return workflows.Round{Request: two, Number: n, Decisions: ds}
	}
	in := func(n int, d workflows.Decision) AuditedDecision { return AuditedDecision{d, n} }
	withdrawal := workflows.Change{Kind: workflows.Withdraw, By: workflows.Person{ID: "U0ALICE001"}, At: at}
	extended := workflows.Change{Kind: workflows.Extend, By: bob, At: clicked, Until: at.Add(time.Hour)}
	longer := round(3, bobs)
	longer.Changes = []workflows.Change{extended}
	terminated := event(90, "WORKFLOW_EXECUTION_TERMINATED", `{}`)

	// one is the request that wants two.
	one := func(res workflows.Result, by []workflows.Person, ds ...AuditedDecision) Audited {
		return Audited{
			WorkflowID: "of-r", RunID: "r", Question: "AB2CDE-1", Title: "Greet World", Requester: "U0ALICE001",
			Decisions: ds, Result: res, ApprovedBy: by,
		}
	}
	end := func(o workflows.Outcome, at time.Time) workflows.Result {
		return workflows.Result{Outcome: o, EndedAt: at, Digest: digest}
	}
	with := func(res workflows.Result, change func(*workflows.Result)) workflows.Result { change(&res); return res }
	onCard := func(res *workflows.Result) { res.Card = posted }
	both := []workflows.Person{bob, carol}
	whole := with(end(workflows.Approved, carols.At), func(res *workflows.Result) {
		onCard(res)
		res.Permalink, res.Decisions, res.Changes = "https://sim.slack.com/p12", []workflows.Decision{bobs, carols}, []workflows.Change{extended}
	})
	roles := question
	roles.Roles = []workflows.Role{{Name: "Security", Required: 1}, {Name: "Operations", Required: 1}}
	as := func(d workflows.Decision, filled string, all ...string) workflows.Decision {
		d.Digest, d.Roles, d.Role = digestOf(roles), all, filled
		return d
	}
	dave := workflows.Person{ID: "U0DAVE0001", Name: "dave"}
	security, many := as(bobs, "", "Security"), as(says(dave, workflows.Approved, time.Second), "", "Security")
	operations := as(says(carol, workflows.Approved, 2*time.Second), "", "Operations")
	ofRoles := func(n int, ds ...workflows.Decision) workflows.Round {
		return workflows.Round{Request: roles, Number: n, Decisions: ds}
	}
	byTime := two
	byTime.OnExpiry = workflows.ApproveOnExpiry

	for name, tc := range map[string]struct {
		events []string
		want   []Audited
	}{
		"no request":           {[]string{step(5, "Charge", 1), completed(6, 5, true)}, nil},
		"nothing":              {nil, nil},
		"nobody has decided":   {[]string{asked(5, first, round(1))}, []Audited{one(workflows.Result{}, nil)}},
		"one of two":           {[]string{asked(5, first, round(1)), completed(6, 5, bobs)}, []Audited{one(workflows.Result{}, nil, in(1, bobs))}},
		"one of two, and open": {[]string{asked(5, first, round(1)), completed(6, 5, bobs), asked(7, second, round(2, bobs))}, []Audited{one(workflows.Result{}, nil, in(1, bobs))}},
		"both": {
			[]string{asked(5, first, round(1)), completed(6, 5, bobs), asked(7, second, round(2, bobs)), completed(8, 7, carols)},
			[]Audited{one(with(end(workflows.Approved, carols.At), onCard), both, in(1, bobs), in(2, carols))},
		},
		"one, and a rejection": {
			[]string{asked(5, first, round(1)), completed(6, 5, bobs), asked(7, second, round(2, bobs)), completed(8, 7, no)},
			[]Audited{one(with(end(workflows.Rejected, no.At), onCard), nil, in(1, bobs), in(2, no))},
		},
		"changed between, and closed by its workflow": {
			[]string{
				asked(5, first, round(1)), completed(6, 5, bobs), asked(7, second, round(2, bobs)),
				step(8, "EndDecision", workflows.EndDecisionInput{ActivityID: second, Outcome: workflows.Changed}), cancelled(9, 7, workflows.Result{Outcome: workflows.Changed}),
				asked(10, third, longer), completed(11, 10, carols), step(12, "CloseCard", workflows.Closing{ActivityID: third, Result: whole}),
			},
			[]Audited{one(with(whole, func(res *workflows.Result) { res.Decisions = nil }), both, in(1, bobs), in(3, carols))},
		},
		"one too many for its role": {
			[]string{
				asked(5, first, ofRoles(1)), completed(6, 5, security), asked(7, second, ofRoles(2, security)), completed(8, 7, many),
				asked(9, third, ofRoles(3, security, many)), completed(10, 9, operations),
			},
			[]Audited{one(
				with(end(workflows.Approved, operations.At), func(res *workflows.Result) { onCard(res); res.Digest = digestOf(roles) }), both,
				in(1, as(bobs, "Security", "Security")), in(2, many), in(3, as(operations, "Operations", "Operations")),
			)},
		},
		"expired": {
			[]string{asked(5, first, round(1)), cancelled(6, 5, workflows.Result{Outcome: workflows.Expired})},
			[]Audited{one(end(workflows.Expired, at), nil)},
		},
		"approved by its deadline": {
			[]string{asked(5, first, workflows.Round{Request: byTime, Number: 1, Decisions: []workflows.Decision{bobs}}), cancelled(6, 5, workflows.Result{Outcome: workflows.Expired})},
			[]Audited{one(with(end(workflows.Approved, at), func(res *workflows.Result) { res.ByDeadline, res.Digest = true, digestOf(byTime) }), nil, in(0, bobs))},
		},
		"withdrawn": {
			[]string{asked(5, first, round(1)), cancelled(6, 5, workflows.Result{Outcome: workflows.Withdrawn, Changes: []workflows.Change{withdrawal}})},
			[]Audited{one(with(end(workflows.Withdrawn, at), func(res *workflows.Result) { res.Changes = []workflows.Change{withdrawal} }), nil)},
		},
		"withdrawn with one": {
			[]string{asked(5, first, round(1)), completed(6, 5, bobs), asked(7, second, round(2, bobs)), cancelled(8, 7, workflows.Result{Outcome: workflows.Withdrawn})},
			[]Audited{one(end(workflows.Withdrawn, at), nil, in(1, bobs))},
		},
		"withdrawn, and one of two was first": {
			[]string{asked(5, first, round(1)), step(6, "EndDecision", workflows.EndDecisionInput{ActivityID: first, Outcome: workflows.Withdrawn}), completed(7, 5, bobs)},
			[]Audited{one(end(workflows.Withdrawn, at), nil, in(1, bobs))},
		},
		"terminated": {
			[]string{
				asked(5, first, round(1)), step(6, "PostCard", workflows.CardInput{ActivityID: first}), completed(7, 6, workflows.Posted{Card: posted}),
				completed(8, 5, bobs), asked(9, second, round(2, bobs)), terminated,
			},
			[]Audited{one(with(end(workflows.Failed, at), func(res *workflows.Result) { onCard(res); res.Note = "The workflow that asked was terminated." }), nil, in(1, bobs))},
		},
		"decided outside Slack": {
			[]string{asked(5, first, workflows.Round{Request: question, Number: 1}), completed(6, 5, workflows.Decision{
				Outcome: workflows.Approved, By: workflows.Person{Name: "dave"}, Digest: digestOf(question), Reason: "Slack is down.",
			})},
			[]Audited{one(
				with(end(workflows.Approved, at), func(res *workflows.Result) { res.Digest = digestOf(question) }),
				[]workflows.Person{{Name: "dave" + workflows.AsGiven}},
				in(1, workflows.Decision{
					Outcome: workflows.Approved, By: workflows.Person{Name: "dave" + workflows.AsGiven}, At: at, Via: workflows.Outside,
					Reason: "Slack is down.", Digest: digestOf(question),
				}),
			)},
		},
		"decided by nobody that is known": {
			[]string{asked(5, first, workflows.Round{Request: question, Number: 1}), completed(6, 5, true)},
			[]Audited{one(
				with(end(workflows.Approved, at), func(res *workflows.Result) { res.Digest = digestOf(question) }), []workflows.Person{{}},
				in(1, workflows.Decision{Outcome: workflows.Approved, At: at, Via: workflows.Outside}),
			)},
		},
		"one after the other": {
			[]string{asked(5, first, round(1)), completed(6, 5, no), asked(7, other, round(1)), completed(8, 7, bobs)},
			[]Audited{
				one(with(end(workflows.Rejected, no.At), onCard), nil, in(1, no)),
				func() Audited { a := one(workflows.Result{}, nil, in(1, bobs)); a.Question = "AB2CDE-2"; return a }(),
			},
		},
		"at once": {
			[]string{asked(5, first, round(1)), asked(6, other, round(1)), completed(7, 6, no), completed(8, 5, bobs), terminated},
			[]Audited{
				one(with(end(workflows.Failed, at), func(res *workflows.Result) { res.Note = "The workflow that asked was terminated." }), nil, in(1, bobs)),
				func() Audited {
					a := one(with(end(workflows.Rejected, no.At), onCard), nil, in(1, no))
					a.Question = "AB2CDE-2"
					return a
				}(),
			},
		},
		"its closing alone, in a workflow of its own": {[]string{step(5, "CloseCard", workflows.Closing{ActivityID: first, Result: whole})}, nil},
		"rounds that are not told of":                 {[]string{asked(5, second, round(2, bobs)), completed(6, 5, carols)}, []Audited{one(with(end(workflows.Approved, carols.At), onCard), both, in(0, bobs), in(2, carols))}},
		"what is no request":                          {[]string{event(5, "ACTIVITY_TASK_SCHEDULED", fmt.Sprintf(`{"activityId":%q,"input":%s}`, first, payloads([]int{1}))), terminated}, []Audited{{WorkflowID: "of-r", RunID: "r", Question: "AB2CDE-1", Result: workflows.Result{Outcome: workflows.Failed, EndedAt: at, Note: "The workflow that asked was terminated."}}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, auditOf(t, tc.events...)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// All pages, every run once, and no more histories at a time than memory has room for.
func TestAuditOfAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &archive{histories: map[string][]*historypb.HistoryEvent{}, takes: time.Second}
		var want []string
		for page := range 3 {
			var runs []string
			for n := range 20 {
				run := fmt.Sprintf("r%d-%02d", page, n)
				runs, want = append(runs, run), append(want, run)
				f.histories[run] = history(t, asked(5, id, workflows.Round{Request: question, Number: 1}))
			}
			f.pages = append(f.pages, runs)
		}
		f.pages[2] = append(f.pages[2], "r0-00", "gone") // The one was closed meanwhile, the other deleted.
		f.fails = map[string]error{"gone": serviceerror.NewNotFound("gone")}
		told := 0
		all, gone, err := Reader{Temporal: f, Namespace: "ns", TaskQueue: "q"}.Audit(t.Context(), at, func(read, of int) {
			if told++; read != told || of != 61 {
				t.Errorf("%d of %d are read, want %d of 61", read, of, told)
			}
		})
		if err != nil || gone != 1 || told != 61 {
			t.Errorf("%v; %d are gone, told %d times", err, gone, told)
		}
		var got []string
		for _, a := range all {
			got = append(got, a.RunID)
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the runs (-want +got):\n%s", diff)
		}
		for run, n := range f.read {
			if n != 1 {
				t.Errorf("%s was read %d times", run, n)
			}
		}
		if f.most != readAtOnce {
			t.Errorf("%d were read at once, want %d", f.most, readAtOnce)
		}
		query := "ns: TaskQueue = 'q' AND (CloseTime IS NULL OR CloseTime >= '2026-11-20T13:29:00Z')"
		if diff := cmp.Diff([]string{query, query, query}, f.queries); diff != "" {
			t.Errorf("the queries (-want +got):\n%s", diff)
		}
	})
}

func TestAuditFails(t *testing.T) {
	t.Parallel()
	away := serviceerror.NewUnavailable("away")
	const one = `{"payloads":[{"metadata":{"encoding":"YmluYXJ5L2VuY3J5cHRlZA=="},"data":"AAEC"}]}` // binary/encrypted
	strange := event(4, "ACTIVITY_TASK_SCHEDULED", `{"activityId":"4","activityType":{"name":"Charge"},"input":`+one+`}`)
	for name, tc := range map[string]struct {
		events []string
		list   error
		fails  error
		want   error
		says   string
	}{
		"it cannot list":               {nil, away, nil, away, "list the workflows: "},
		"it cannot read":               {nil, nil, away, away, "read the history of workflow of-r: "},
		"a history breaks off":         {[]string{scheduled(id, 5)}, nil, away, away, "read the history of workflow of-r: "},
		"a request is encrypted":       {[]string{event(5, "ACTIVITY_TASK_SCHEDULED", fmt.Sprintf(`{"activityId":%q,"input":%s}`, id, one))}, nil, nil, errNoKey, "read the history of workflow of-r: "},
		"a decision is encrypted":      {[]string{scheduled(id, 5), event(7, "ACTIVITY_TASK_COMPLETED", `{"scheduledEventId":"5","result":`+one+`}`)}, nil, nil, errNoKey, "of-r: "},
		"only others' is, and asks":    {[]string{strange, scheduled(id, 5), event(7, "ACTIVITY_TASK_COMPLETED", `{"scheduledEventId":"4","result":`+one+`}`), event(8, "ACTIVITY_TASK_FAILED", `{"scheduledEventId":"4","failure":{"message":"x","applicationFailureInfo":{"details":`+one+`}}}`), event(9, "WORKFLOW_EXECUTION_SIGNALED", `{"signalName":"go","input":`+one+`}`)}, nil, nil, nil, ""},
		"all is, and nothing is asked": {[]string{step(4, "CloseCard", 1), strange, event(9, "WORKFLOW_EXECUTION_SIGNALED", `{"signalName":"card_posted","input":`+one+`}`)}, nil, nil, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &archive{
				pages: [][]string{{"ok", "r"}}, list: tc.list, fails: map[string]error{"r": tc.fails},
				histories: map[string][]*historypb.HistoryEvent{"r": history(t, tc.events...), "ok": history(t, scheduled(id, 5))},
			}
			all, _, err := without(f).Audit(t.Context(), at, nil)
			if !errors.Is(err, tc.want) || tc.want != nil && (all != nil || !strings.Contains(err.Error(), tc.says)) {
				t.Errorf("Audit = %+v, %v; want %v", all, err, tc.want)
			}
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		t.Parallel()
		ctx, stop := context.WithCancel(t.Context())
		stop()
		f := &archive{pages: [][]string{{"r"}}}
		if _, _, err := (Reader{Temporal: f}).Audit(ctx, at, nil); !errors.Is(err, context.Canceled) || f.read["r"] != 0 {
			t.Errorf("Audit: %v, read %v", err, f.read)
		}
	})
}
