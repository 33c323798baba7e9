package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"countersign/internal/record"
	"countersign/workflows"
)

// audited is a Temporal with workflows, each of which has asked one question.
type audited struct {
	record.Temporal
	runs  []auditedRun
	away  bool
	takes time.Duration // to read a history
	then  func()        // once they are listed
}

type auditedRun struct {
	id, run string
	asks    any // of the activity that asked
	end     workflows.Result
	gone    bool
}

func (a *audited) ListWorkflow(context.Context, *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	if a.away {
		return nil, &serviceerror.Unavailable{Message: "away"}
	}
	page := &workflowservice.ListWorkflowExecutionsResponse{}
	for _, r := range a.runs {
		page.Executions = append(page.Executions, &workflowpb.WorkflowExecutionInfo{Execution: &commonpb.WorkflowExecution{WorkflowId: r.id, RunId: r.run}})
	}
	if a.then != nil {
		a.then()
	}
	return page, nil
}

func (a *audited) GetWorkflowHistory(_ context.Context, id, run string, _ bool, _ enumspb.HistoryEventFilterType) client.HistoryEventIterator {
	time.Sleep(a.takes)
	var events iterator
	step := func(kind, id string, input any) {
		p, ok := input.(*commonpb.Payloads)
		if !ok {
			var err error
			if p, err = converter.GetDefaultDataConverter().ToPayloads(input); err != nil {
				panic(err)
			}
		}
		events = append(events, &historypb.HistoryEvent{EventId: int64(len(events) + 1), Attributes: &historypb.HistoryEvent_ActivityTaskScheduledEventAttributes{
			ActivityTaskScheduledEventAttributes: &historypb.ActivityTaskScheduledEventAttributes{
				ActivityId: id, ActivityType: &commonpb.ActivityType{Name: kind}, Input: p,
			},
		}})
	}
	for _, r := range a.runs {
		switch {
		case r.id == id && r.run == run && r.gone:
			return lost{}
		case r.id == id && r.run == run:
			step(workflows.AwaitDecision, "q-decision-1-00000000", r.asks)
			if r.end.Outcome != "" {
				step(workflows.CloseCard, "", workflows.Closing{ActivityID: "q-decision-1-00000000", Result: r.end})
			}
		}
	}
	return &events
}

// lost is the history of a workflow that was deleted.
type lost struct{}

func (lost) HasNext() bool                          { return true }
func (lost) Next() (*historypb.HistoryEvent, error) { return nil, &serviceerror.NotFound{} }

// run runs a command line.
func (a *audited) run(t *testing.T, ctx context.Context, in io.Reader, args ...string) (p printed) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	root := &cobra.Command{Use: "countersign", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(Commands(func(context.Context) (Client, func(), error) {
		if a == nil {
			return Client{}, nil, errors.New("nothing needs Temporal here")
		}
		return Client{Records: record.Reader{Temporal: a, Namespace: "default", TaskQueue: "countersign", Data: keyless{converter.GetDefaultDataConverter()}}}, func() {}, nil
	}, Streams{In: in, Out: &stdout, Err: &stderr})...)
	root.SetArgs(args)
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	p.fail = root.ExecuteContext(ctx)
	p.out, p.err, p.code = stdout.String(), stderr.String(), 0
	var e *Error
	if errors.As(p.fail, &e) {
		p.code = e.Code
	} else if p.fail != nil {
		p.code = 1
	}
	return p
}

// keyless has no key for what is encrypted, as the program without PAYLOAD_KEYS.
type keyless struct{ converter.DataConverter }

type noKey struct{ error }

func (noKey) Undecoded() bool { return true }

func (k keyless) FromPayloads(all *commonpb.Payloads, v ...any) error {
	for _, p := range all.GetPayloads() {
		if string(p.GetMetadata()[converter.MetadataEncoding]) == "binary/encrypted" {
			return noKey{errors.New(`there is no key "abcdef"`)}
		}
	}
	return k.DataConverter.FromPayloads(all, v...)
}

// writing is when the audits of the tests are written: two hours after bob was asked.
const writing = 2 * time.Hour

// atTime runs a test at that time; waiting takes none.
func atTime(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(asked.Add(writing)))
		test(t)
	})
}

// some are requests of each kind. They are out of order.
func some() *audited {
	round := func(title string, ds ...workflows.Decision) workflows.Round {
		r := request()
		r.Title = title
		return workflows.Round{Request: r, Number: 1 + len(ds), Decisions: ds}
	}
	yes := workflows.Decision{
		Outcome: workflows.Approved, By: bob, At: asked.Add(30 * time.Minute), Via: workflows.ViaCard, Digest: "d2", Card: posted,
		Choice: "Production", Option: 2, Inputs: map[string]string{"hash": `","hash":"`, "note": "<a & b>"}, Roles: []string{"Ops", "Security"}, Role: "Ops", Reason: "go\u2028on",
	}
	no := workflows.Decision{Outcome: workflows.Rejected, By: carol, At: asked.Add(time.Hour), Via: workflows.ViaHome, Reason: "Not on a Friday.", Digest: "d3"}
	outside := workflows.Decision{Outcome: workflows.Approved, At: asked.Add(90 * time.Minute), Via: workflows.Outside}
	return &audited{runs: []auditedRun{
		{id: "w2", run: "r", asks: round("No"), end: workflows.Result{Outcome: workflows.Rejected, Decisions: []workflows.Decision{no}, EndedAt: no.At, Digest: "d3"}},
		{id: "w3", run: "r", asks: round("Withdrawn"), end: workflows.Result{
			Outcome: workflows.Withdrawn, EndedAt: asked.Add(time.Hour), Digest: "d4",
			Changes: []workflows.Change{{Kind: workflows.Withdraw, By: workflows.Person{Name: "pipeline" + workflows.AsGiven}, Via: workflows.Outside, At: asked.Add(time.Hour)}},
		}},
		{id: "w1", run: "r", asks: round("Yes"), end: workflows.Result{
			Outcome: workflows.Approved, Decisions: []workflows.Decision{yes}, EndedAt: yes.At, Digest: "d2", Card: posted, Permalink: permalink,
			Choice: "Production", Inputs: yes.Inputs,
		}},
		{id: "w4", run: "r2", asks: round("Outside"), end: workflows.Result{Outcome: workflows.Approved, Decisions: []workflows.Decision{outside}, EndedAt: outside.At, Digest: "d5"}},
		{id: "w4", run: "r1", asks: round("Failed"), end: workflows.Result{Outcome: workflows.Failed, EndedAt: outside.At, Note: "It was terminated.", Digest: "d6"}},
		{id: "w5", run: "r", asks: round("By its deadline"), end: workflows.Result{Outcome: workflows.Approved, ByDeadline: true, EndedAt: outside.At, Digest: "d7"}},
		{id: "w6", run: "r", asks: round("Open")},
		{id: "w7", run: "r", asks: round("One of two", decision(workflows.Approved, bob))},
		{id: "w8", run: "r", gone: true},
	}}
}

func TestAudit(t *testing.T) {
	atTime(t, func(t *testing.T) {
		p := some().run(t, t.Context(), nil, "audit", "--since", "24h")
		p.says(t, 0)
		// Each line without seq, prev and hash; TestChain has those.
		want := []string{
			`"kind":"audit","version":1,"since":"2026-11-19T14:00:00Z","until":"2026-11-20T14:00:00Z","written_at":"2026-11-20T14:00:00Z","namespace":"default","task_queue":"countersign"`,
			`"kind":"decision","at":"2026-11-20T12:30:00Z","workflow_id":"w1","run_id":"r","question":"q","title":"Yes","requester":"U0ALICE001","digest":"d2","outcome":"approved",` +
				`"by":{"id":"U0BOB00001","name":"bob","team":"T0SIM0001"},"via":"card","reason":"go\u2028on","choice":"Production","option":2,"inputs":{"hash":"\",\"hash\":\"","note":"<a & b>"},` +
				`"roles":["Ops","Security"],"role":"Ops","card":{"channel":"C0GENERAL1","ts":"1.2"}`,
			`"kind":"outcome","at":"2026-11-20T12:30:00Z","workflow_id":"w1","run_id":"r","question":"q","title":"Yes","requester":"U0ALICE001","digest":"d2","outcome":"approved","choice":"Production",` +
				`"inputs":{"hash":"\",\"hash\":\"","note":"<a & b>"},"card":{"channel":"C0GENERAL1","ts":"1.2"},"permalink":"https://example.slack.com/archives/C0GENERAL1/p12","approved_by":["U0BOB00001"]`,
			`"kind":"decision","at":"2026-11-20T13:00:00Z","workflow_id":"w2","run_id":"r","question":"q","title":"No","requester":"U0ALICE001","digest":"d3","outcome":"rejected",` +
				`"by":{"id":"U0CAROL001","name":"carol","team":"T0SIM0001"},"via":"home","reason":"Not on a Friday."`,
			`"kind":"outcome","at":"2026-11-20T13:00:00Z","workflow_id":"w2","run_id":"r","question":"q","title":"No","requester":"U0ALICE001","digest":"d3","outcome":"rejected"`,
			`"kind":"outcome","at":"2026-11-20T13:00:00Z","workflow_id":"w3","run_id":"r","question":"q","title":"Withdrawn","requester":"U0ALICE001","digest":"d4","outcome":"withdrawn",` +
				`"changes":[{"change":"withdraw","by":{"name":"pipeline (outside Slack, as given)"},"via":"outside","at":"2026-11-20T13:00:00Z"}]`,
			`"kind":"decision","at":"2026-11-20T13:00:00Z","workflow_id":"w7","run_id":"r","question":"q","title":"One of two","requester":"U0ALICE001","outcome":"approved",` +
				`"by":{"id":"U0BOB00001","name":"bob","team":"T0SIM0001"}`,
			`"kind":"outcome","at":"2026-11-20T13:30:00Z","workflow_id":"w4","run_id":"r1","question":"q","title":"Failed","requester":"U0ALICE001","digest":"d6","outcome":"failed","note":"It was terminated."`,
			`"kind":"decision","at":"2026-11-20T13:30:00Z","workflow_id":"w4","run_id":"r2","question":"q","title":"Outside","requester":"U0ALICE001","outcome":"approved","via":"outside"`,
			`"kind":"outcome","at":"2026-11-20T13:30:00Z","workflow_id":"w4","run_id":"r2","question":"q","title":"Outside","requester":"U0ALICE001","digest":"d5","outcome":"approved","approved_by":["somebody outside Slack"]`,
			`"kind":"outcome","at":"2026-11-20T13:30:00Z","workflow_id":"w5","run_id":"r","question":"q","title":"By its deadline","requester":"U0ALICE001","digest":"d7","outcome":"approved","by_deadline":true`,
			`"kind":"end","requests":7,"decisions":4,"outcomes":6`,
		}
		var got []string
		for line := range strings.Lines(p.out) {
			_, line, _ = strings.Cut(line, ",")
			line, _, _ = strings.Cut(line, `,"prev":`)
			got = append(got, line)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the lines (-want +got):\n%s", diff)
		}
		a, err := readAudit(strings.NewReader(p.out))
		if err != nil {
			t.Fatal(err)
		}
		if want := "1 workflows are left out: Temporal deleted them meanwhile.\n4 decisions and 6 outcomes of 7 requests are written. The last hash is " + a.hash + "\n"; p.err != want {
			t.Errorf("standard error is %q, want %q", p.err, want)
		}
	})
}

// The number of the round stands in a decision's line where the history tells it.
func TestAuditedRound(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	d := record.AuditedDecision{Decision: decision(workflows.Approved, bob), Round: 3}
	if _, _, err := writeAudit(&out, heading{Since: asked, Until: until}, []record.Audited{{Decisions: []record.AuditedDecision{d}}}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), `"question":"","round":3,"outcome":"approved"`) {
		t.Errorf("it is %s", out.String())
	}
}

func TestAuditWindow(t *testing.T) {
	t.Parallel()
	of := func(at time.Time) record.Audited {
		return record.Audited{
			WorkflowID: at.String(), Decisions: []record.AuditedDecision{{Decision: workflows.Decision{At: at}}},
			Result: workflows.Result{Outcome: workflows.Approved, EndedAt: at},
		}
	}
	h := heading{Since: asked, Until: until}
	n, _, err := writeAudit(io.Discard, h, []record.Audited{of(asked.Add(-1)), of(asked), of(until.Add(-1)), of(until), {}})
	if want := (counts{2, 2, 2}); err != nil || n != want {
		t.Errorf("there are %+v, %v; want the moment of since, and what is before until", n, err)
	}
	// One of its two lines may be outside.
	halved := of(asked)
	halved.Result.EndedAt = until
	open := of(asked)
	open.Result = workflows.Result{}
	if n, _, err := writeAudit(io.Discard, h, []record.Audited{halved, open}); err != nil || n != (counts{2, 2, 0}) {
		t.Errorf("there are %+v, %v; want two decisions", n, err)
	}
}

// The order is that of time whatever the order in which Temporal was read, with the decisions of one moment as they were made.
func TestAuditOrder(t *testing.T) {
	t.Parallel()
	at := func(workflow, run, question string, names ...string) record.Audited {
		a := record.Audited{WorkflowID: workflow, RunID: run, Question: question, Result: workflows.Result{Outcome: workflows.Approved, EndedAt: asked}}
		for _, name := range names {
			a.Decisions = append(a.Decisions, record.AuditedDecision{Decision: workflows.Decision{Outcome: workflows.Approved, By: workflows.Person{ID: name}, At: asked}})
		}
		return a
	}
	crowd := strings.Split("z y w v u t s r q p o n m l k j i h g f e d c b a", " ") // More than a sort keeps in order by chance.
	all := []record.Audited{at("a", "1", "1", crowd...), at("a", "1", "2"), at("a", "2", "1"), at("b", "1", "1", "x")}
	var want string
	for i := range 2 * len(all) {
		var out strings.Builder
		if _, _, err := writeAudit(&out, heading{Kind: lineAudit, Since: asked, Until: until}, all); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			want = out.String()
			var got []string
			for line := range strings.Lines(want) {
				var l struct {
					Kind string
					subject
					By workflows.Person
				}
				if err := json.Unmarshal([]byte(line), &l); err != nil {
					t.Fatal(err)
				}
				got = append(got, strings.TrimSpace(fmt.Sprint(l.Kind, " ", l.WorkflowID, l.RunID, l.Question, " ", l.By.ID)))
			}
			wanted := []string{"audit"}
			for _, name := range crowd {
				wanted = append(wanted, "decision a11 "+name)
			}
			if diff := cmp.Diff(append(wanted, "outcome a11", "outcome a12", "outcome a21", "decision b11 x", "outcome b11", "end"), got); diff != "" {
				t.Errorf("the order (-want +got):\n%s", diff)
			}
		} else if out.String() != want {
			t.Errorf("in another order it is\n%s\nwant\n%s", &out, want)
		}
		all[i%3], all[i%3+1] = all[i%3+1], all[i%3]
	}
}

func TestAuditTimes(t *testing.T) {
	t.Parallel()
	now := asked
	for name, tc := range map[string]struct {
		args         []string
		since, until time.Time
		says         string
	}{
		"by default":         {nil, now.Add(-720 * time.Hour), now, ""},
		"hours ago":          {[]string{"--since", "1h30m"}, now.Add(-90 * time.Minute), now, ""},
		"days ago":           {[]string{"--since", "3d"}, now.Add(-72 * time.Hour), now, ""},
		"dates":              {[]string{"--since", "2026-10-01", "--until", "2026-11-01"}, time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), ""},
		"times":              {[]string{"--since", "2026-10-01T02:00:00+02:00", "--until", "1h"}, time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), now.Add(-time.Hour), ""},
		"until now":          {[]string{"--since", "1h", "--until", "0s"}, now.Add(-time.Hour), now, ""},
		"no time":            {[]string{"--since", "yesterday"}, time.Time{}, time.Time{}, `--since is "yesterday", which is neither how long ago, such as 720h, nor a time such as 2026-11-23 or 2026-11-23T14:00:00Z`},
		"no time's end":      {[]string{"--until", "tomorrow"}, time.Time{}, time.Time{}, `--until is "tomorrow"`},
		"empty":              {[]string{"--since", ""}, time.Time{}, time.Time{}, `--since is ""`},
		"an empty end":       {[]string{"--until", ""}, time.Time{}, time.Time{}, `--until is ""`},
		"less than nothing":  {[]string{"--since", "-1h"}, time.Time{}, time.Time{}, `--since is "-1h"`},
		"turned around":      {[]string{"--since", "1h", "--until", "2h"}, time.Time{}, time.Time{}, "--since is 2026-11-20T11:00:00Z, and has to be before --until, which is 2026-11-20T10:00:00Z"},
		"of no length":       {[]string{"--since", "1h", "--until", "1h"}, time.Time{}, time.Time{}, "has to be before --until"},
		"yet to come":        {[]string{"--until", "2026-11-20T12:00:01Z"}, time.Time{}, time.Time{}, "--until is 2026-11-20T12:00:01Z, which has not come yet: leave it out to have all until now"},
		"begins in a moment": {[]string{"--since", "2026-11-20T12:00:01Z"}, time.Time{}, time.Time{}, "--since is 2026-11-20T12:00:01Z, and has to be before --until"},
		"no output":          {[]string{"--output", ""}, time.Time{}, time.Time{}, "--output is empty: give the file's name, or leave it out for standard output"},
		"an argument":        {[]string{"audit.jsonl"}, time.Time{}, time.Time{}, `countersign audit takes no argument, but has "audit.jsonl"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(now))
				p := (&audited{}).run(t, t.Context(), nil, append([]string{"audit"}, tc.args...)...)
				if tc.says != "" {
					p.says(t, ExitUsage, tc.says)
					return
				}
				p.says(t, 0)
				a, err := readAudit(strings.NewReader(p.out))
				if err != nil || !a.since.Equal(tc.since) || !a.until.Equal(tc.until) {
					t.Errorf("it is from %s to %s (%v), want %s to %s", a.since, a.until, err, tc.since, tc.until)
				}
			})
		})
	}
}

func TestAuditFails(t *testing.T) {
	t.Parallel()
	t.Run("Temporal is away", func(t *testing.T) {
		p := (&audited{away: true}).run(t, t.Context(), nil, "audit")
		if p.says(t, 1, "read the requests: list the workflows: away"); p.out != "" {
			t.Errorf("it writes %s", p.out)
		}
	})
	t.Run("encrypted", func(t *testing.T) {
		f := some()
		f.runs = append(f.runs, auditedRun{id: "w9", run: "r", asks: encrypted()})
		p := f.run(t, t.Context(), nil, "audit")
		if p.says(t, ExitNotAsked, "set PAYLOAD_KEYS as its worker has it", "workflow w9", `no key "abcdef"`); p.out != "" {
			t.Errorf("it writes %s", p.out)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		f := some()
		f.then = stop
		name := filepath.Join(t.TempDir(), "audit.jsonl")
		f.run(t, ctx, nil, "audit", "--output", name).says(t, ExitInterrupted, "interrupted: the audit is not complete")
		isAlone(t, name, "")
	})
	t.Run("nobody reads it", func(t *testing.T) {
		r, w := io.Pipe()
		r.CloseWithError(errors.New("no space"))
		f := some()
		c := Client{Records: record.Reader{Temporal: f}}
		err := auditFlags{}.run(t.Context(), func(context.Context) (Client, func(), error) { return c, func() {}, nil },
			Streams{Out: w, Err: io.Discard}, heading{Since: asked, Until: until})
		if err == nil || err.Error() != "write the audit: no space" {
			t.Errorf("it says %v", err)
		}
	})
}

func TestAuditProgress(t *testing.T) {
	atTime(t, func(t *testing.T) {
		f := &audited{takes: 300 * time.Millisecond}
		for n := range 8 * 10 {
			f.runs = append(f.runs, auditedRun{id: fmt.Sprint("w", n), run: "r", asks: workflows.Round{Request: request(), Number: 1}})
		}
		p := f.run(t, t.Context(), nil, "audit")
		p.says(t, 0)
		told := strings.Split(strings.TrimSpace(p.err), "\n")
		if len(told) != 3 || !strings.HasSuffix(told[0], " of 80 workflows are read.") || !strings.HasPrefix(told[2], "0 decisions and 0 outcomes of 0 requests are written. The last hash is ") {
			t.Errorf("in three seconds it says\n%s", p.err)
		}
	})
}

// isAlone checks that the file's folder has nothing but it with that content, or nothing where there is none.
func isAlone(t *testing.T, name, content string) {
	t.Helper()
	all, err := os.ReadDir(filepath.Dir(name))
	if err != nil {
		t.Fatal(err)
	}
	if content == "" && len(all) == 0 {
		return
	}
	b, err := os.ReadFile(name)
	if err != nil || string(b) != content || len(all) != 1 {
		t.Errorf("the folder has %v, and the file is %q, %v; want %q alone", all, b, err, content)
	}
}

func TestAuditOutput(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "audit.jsonl")
	write := func(more ...string) printed {
		return some().run(t, t.Context(), nil, append([]string{"audit", "--since", "2026-01-01", "--output", name}, more...)...)
	}
	write().says(t, 0)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	isAlone(t, name, string(b))
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	p := (*audited)(nil).run(t, t.Context(), nil, "audit", "verify", name)
	p.says(t, 0)
	if !strings.HasPrefix(p.out, name+" is whole: ") {
		t.Errorf("it says %q", p.out)
	}

	write().says(t, ExitUsage, "there is a file "+name+" already: give another name with --output, or have it replaced with --force")
	isAlone(t, name, string(b))
	write("--force").says(t, 0)
	if again, err := os.ReadFile(name); err != nil || bytes.Equal(again, b) {
		t.Errorf("it was not replaced (%v): it has the time that it was written at", err)
	}

	// Nothing stays of one that failed, and what there was stays.
	b, _ = os.ReadFile(name)
	(&audited{away: true}).run(t, t.Context(), nil, "audit", "--output", name, "--force").says(t, 1, "away")
	isAlone(t, name, string(b))

	// Somebody may make the file meanwhile.
	f, late := some(), filepath.Join(t.TempDir(), "late")
	f.then = func() { _ = os.WriteFile(late, []byte("mine"), 0o600) }
	f.run(t, t.Context(), nil, "audit", "--output", late).says(t, ExitUsage, "there is a file "+late+" already")
	isAlone(t, late, "mine")

	nowhere := filepath.Join(t.TempDir(), "none", "audit.jsonl")
	(*audited)(nil).run(t, t.Context(), nil, "audit", "--output", nowhere).says(t, ExitUsage, "the file of --output cannot be written: ")

	// A name as of a program that reads standard input.
	if p := some().run(t, t.Context(), nil, "audit", "--output", "-"); p.code != 0 || !strings.HasPrefix(p.out, `{"seq":0,`) {
		t.Errorf("to - it writes %q, %v", p.out, p.fail)
	}
}

// small is an audit of few lines.
func small(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	d := decision(workflows.Rejected, bob)
	_, _, err := writeAudit(&out, heading{Kind: lineAudit, Version: auditVersion, Since: asked, Until: until, WrittenAt: until, Namespace: "default", TaskQueue: "countersign"}, []record.Audited{
		{WorkflowID: "w", RunID: "r", Question: "q", Decisions: []record.AuditedDecision{{Decision: d, Round: 1}}, Result: result(workflows.Rejected)},
		{WorkflowID: "w", RunID: "r", Question: "z", Result: result(workflows.Expired)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// The form of the lines is a promise to other programs, and so are the hashes.
func TestChain(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	c := chain{w: &out}
	for _, v := range []any{map[string]string{"kind": "a"}, map[string]string{"kind": "<b>"}} {
		if err := c.add(v); err != nil {
			t.Fatal(err)
		}
	}
	// printf '%s' '{"seq":0,"kind":"a","prev":""}' | sha256sum
	const first = "2e09431d48ff6ffd4713a89969f1829c251c0ea16914112836e70ac09f05dc5e"
	second := sum(`{"seq":1,"kind":"<b>","prev":"` + first + `"}`)
	want := `{"seq":0,"kind":"a","prev":"","hash":"` + first + `"}` + "\n" + `{"seq":1,"kind":"<b>","prev":"` + first + `","hash":"` + second + `"}` + "\n"
	if diff := cmp.Diff(want, out.String()); diff != "" || c.hash != second {
		t.Errorf("the last hash is %s; the lines (-want +got):\n%s", c.hash, diff)
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	good := small(t)
	hash := good[len(good)-len(`"}`)-65 : len(good)-len(`"}`)-1]
	// by hand is a file whose lines have the right hashes.
	byHand := func(lines ...string) string {
		var out strings.Builder
		c := chain{w: &out}
		for _, l := range lines {
			if err := c.add(json.RawMessage(l)); err != nil {
				t.Fatal(err)
			}
		}
		return out.String()
	}
	const begin, end = `{"kind":"audit","version":1,"since":"2026-11-20T12:00:00Z","until":"2026-11-21T12:00:00Z"}`, `{"kind":"end","requests":0,"decisions":0,"outcomes":0}`
	lines := strings.SplitAfter(strings.TrimSuffix(good, "\n"), "\n")
	lines[len(lines)-1] += "\n"
	but := func(change func(l []string) []string) string {
		return strings.Join(change(append([]string(nil), lines...)), "")
	}
	long := request()
	long.Title = strings.Repeat("x", 3<<20)
	file := func(content string) []string {
		name := filepath.Join(t.TempDir(), "audit.jsonl")
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{name}
	}
	for name, tc := range map[string]struct {
		args []string
		in   string // of standard input; with args "-"
		code int
		says string // FILE stands for the file's name
	}{
		"whole":                {file(good), "", 0, "FILE is whole: 1 decisions and 2 outcomes from 2026-11-20T12:00:00Z to 2026-11-21T12:00:00Z, hash " + hash + "\n"},
		"of standard input":    {[]string{"-"}, good, 0, "standard input is whole: 1 decisions and 2 outcomes from 2026-11-20T12:00:00Z to 2026-11-21T12:00:00Z, hash " + hash + "\n"},
		"with its hash":        {append(file(good), "--hash", strings.ToUpper(hash)), "", 0, "FILE is whole: "},
		"with a long line":     {file(byHand(begin, `{"kind":"outcome","at":"2026-11-20T13:00:00Z","title":"`+long.Title+`"}`, `{"kind":"end","requests":1,"decisions":0,"outcomes":1}`)), "", 0, "FILE is whole: 0 decisions and 1 outcomes "},
		"without a request":    {file(byHand(begin, end)), "", 0, "FILE is whole: 0 decisions and 0 outcomes "},
		"with another hash":    {append(file(good), "--hash", strings.Repeat("0", 64)), "", 1, "FILE is not the file that --hash is of: its last hash is " + hash},
		"with no hash":         {append(file(good), "--hash", ""), "", 2, `--hash is "", and has to be the 64 characters of a last line's hash`},
		"with half a hash":     {append(file(good), "--hash", hash[:32]), "", 2, "--hash is"},
		"with what is no hash": {append(file(good), "--hash", "sha256:"+hash), "", 2, "--hash is"},
		"no file":              {nil, "", 2, "give one file that `countersign audit` wrote, or - for standard input"},
		"two files":            {[]string{"a", "b"}, "", 2, "give one file"},
		"an empty name":        {[]string{""}, "", 2, "give one file"},
		"a file that is none":  {[]string{"/nowhere/audit.jsonl"}, "", 2, "the file cannot be read: open /nowhere/audit.jsonl: no such file or directory"},
		"a folder":             {[]string{t.TempDir()}, "", 2, "FILE cannot be read: "},

		"empty":             {file(""), "", 1, "FILE is not whole: it is empty"},
		"no audit":          {file("To whom it may concern\n"), "", 1, "FILE is not whole: line 1 is no JSON"},
		"other JSON":        {file("{}\n"), "", 1, "FILE is not whole: line 1 does not end with a hash"},
		"a byte is changed": {file(strings.Replace(good, `"bob"`, `"rob"`, 1)), "", 1, "FILE is not whole: line 2 was changed: its hash is not the one that it says"},
		"a byte and its hash are changed": {file(but(func(l []string) []string {
			changed := strings.Replace(l[1], `"bob"`, `"rob"`, 1)
			at := strings.LastIndex(changed, `,"hash":"`)
			l[1] = changed[:at] + `,"hash":"` + sum(changed[:at]+"}") + `"}` + "\n"
			return l
		})), "", 1, "FILE is not whole: line 3 does not follow the line before: one was changed, added, moved or left out"},
		"a hash is written large":       {file(strings.ReplaceAll(good, hash, strings.ToUpper(hash))), "", 1, "line 5 was changed"},
		"lines of Windows":              {file(strings.ReplaceAll(good, "\n", "\r\n")), "", 1, "line 1 does not end with a hash"},
		"a line is missing":             {file(but(func(l []string) []string { return append(l[:2], l[3:]...) })), "", 1, "line 3 does not follow the line before"},
		"the first is missing":          {file(but(func(l []string) []string { return l[1:] })), "", 1, `its beginning is missing: line 1 is of the kind "decision"`},
		"the last is missing":           {file(but(func(l []string) []string { return l[:4] })), "", 1, "its end is missing, after line 4"},
		"all but the first are missing": {file(but(func(l []string) []string { return l[:1] })), "", 1, "its end is missing, after line 1"},
		"two are swapped":               {file(but(func(l []string) []string { l[2], l[3] = l[3], l[2]; return l })), "", 1, "line 3 does not follow the line before"},
		"one is there twice":            {file(but(func(l []string) []string { return append(l[:2], l[1:]...) })), "", 1, "line 3 does not follow"},
		"one is added":                  {file(but(func(l []string) []string { l[2] += "{}\n"; return l })), "", 1, "line 4 does not end with a hash"},
		"one is added that follows": {file(but(func(l []string) []string {
			return append(l[:2:2], append([]string{following(l[1], 2, `"kind":"outcome","at":"2026-11-20T13:00:00Z"`)}, l[2:]...)...)
		})), "", 1, "line 4 does not follow the line before"},
		"one is added at the end":        {file(but(func(l []string) []string { return append(l, following(l[4], 5, `"kind":"outcome"`)) })), "", 1, "line 6 comes after its end"},
		"an empty line":                  {file(good + "\n"), "", 1, "line 6 comes after its end"},
		"an empty line within":           {file(but(func(l []string) []string { l[2] += "\n"; return l })), "", 1, "line 4 is no JSON"},
		"cut within a line":              {file(good[:len(good)-100]), "", 1, "line 5 is cut: it has no end"},
		"cut before the last line's end": {file(strings.TrimSuffix(good, "\n")), "", 1, "line 5 is cut: it has no end"},
		"two, one after the other":       {file(good + good), "", 1, "line 6 comes after its end"},

		"a beginning that follows something": {file(following("", 0, `"kind":"audit","version":1`)), "", 1, "line 1 does not follow"},
		"two beginnings":                     {file(byHand(begin, begin, end)), "", 1, "line 2 is the beginning of another audit"},
		"another seq":                        {file(byHand(begin) + following(byHand(begin), 7, end[1:len(end)-1])), "", 1, "line 2 has the seq 7, and not 1"},
		"a version of later":                 {file(byHand(`{"kind":"audit","version":2}`, end)), "", 1, "it is of the version 2, which this program does not know: check it with a later one"},
		"a kind of later":                    {file(byHand(begin, `{"kind":"vote"}`, end)), "", 1, `line 2 is of the kind "vote", which this program does not know`},
		"values of other types":              {file(byHand(`{"kind":1}`)), "", 1, "line 1 is none of an audit: "},
		"no decision is counted":             {file(byHand(begin, `{"kind":"decision","at":"2026-11-20T13:00:00Z"}`, end)), "", 1, "line 3 counts 0 requests, 0 decisions and 0 outcomes, and there are 1, 1 and 0"},
		"a decision of before":               {file(byHand(begin, `{"kind":"decision","at":"1999-01-01T00:00:00Z"}`, end)), "", 1, "line 2 is of 1999-01-01T00:00:00Z, which is not between since and until"},
		"a decision of after":                {file(byHand(begin, `{"kind":"decision","at":"2030-01-01T00:00:00Z"}`, end)), "", 1, "line 2 is of 2030-01-01T00:00:00Z"},
		"a name twice":                       {file(byHand(begin, `{"kind":"decision","at":"2026-11-20T13:00:00Z","at":"2026-11-20T13:00:00Z"}`, end)), "", 1, "line 2 is none of an audit: "},
		"an outcome too many is counted":     {file(byHand(begin, `{"kind":"end","outcomes":1}`)), "", 1, "line 2 counts 0 requests, 0 decisions and 1 outcomes, and there are 0, 0 and 0"},
		"a request too many is counted":      {file(byHand(begin, `{"kind":"end","requests":1}`)), "", 1, "line 2 counts 1 requests"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := (*audited)(nil).run(t, t.Context(), strings.NewReader(tc.in), append([]string{"audit", "verify"}, tc.args...)...)
			if len(tc.args) > 0 {
				tc.says = strings.ReplaceAll(tc.says, "FILE", tc.args[0])
			}
			if p.says(t, tc.code, map[bool]string{true: tc.says}[tc.code != 0]); tc.code == 0 && !strings.HasPrefix(p.out, tc.says) || tc.code != 0 && p.out != "" {
				t.Errorf("printed %q, want %q", p.out, tc.says)
			}
			if p.fail != nil && strings.Contains(p.fail.Error(), "\n") {
				t.Errorf("it is more than a sentence: %v", p.fail)
			}
		})
	}
}

// following is a line that follows another, or one that is not there.
func following(line string, seq int, members string) string {
	prev := strings.Repeat("0", 64)
	if line != "" {
		prev = line[len(line)-67 : len(line)-3]
	}
	body := fmt.Sprintf(`{"seq":%d,%s,"prev":"%s"`, seq, members, prev)
	return body + `,"hash":"` + sum(body+"}") + `"}` + "\n"
}

// Whichever byte is another, it is seen.
func TestVerifyEveryByte(t *testing.T) {
	t.Parallel()
	good := small(t)
	if _, err := readAudit(strings.NewReader(good)); err != nil {
		t.Fatal(err)
	}
	for i := range good {
		for _, flip := range []byte{0x01, 0x20, 0x80} { // The letter after it, the same one large or small, and no letter.
			b := []byte(good)
			b[i] ^= flip
			var w wrong
			if _, err := readAudit(bytes.NewReader(b)); !errors.As(err, &w) {
				t.Errorf("byte %d, which was %q, is %q: %v", i, good[i], b[i], err)
			}
		}
		var w wrong
		if _, err := readAudit(strings.NewReader(good[:i])); !errors.As(err, &w) {
			t.Errorf("only %d bytes of it: %v", i, err)
		}
		if _, err := readAudit(strings.NewReader(good[:i] + good[i+1:])); !errors.As(err, &w) {
			t.Errorf("without byte %d: %v", i, err)
		}
	}
}

// shellCheck is the check that docs/cli.md has for those who do not want to trust this program.
func shellCheck(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	from := strings.Index(string(b), "prev=; while")
	if from < 0 {
		t.Fatal("docs/cli.md has no check for the shell")
	}
	check, _, _ := strings.Cut(string(b[from:]), "\n```")
	return check
}

func TestVerifyInTheShell(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"sh", "sha256sum", "cut"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("there is no %s", tool)
		}
	}
	check, dir := shellCheck(t), t.TempDir()
	runs := func(content string) string {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "audit.jsonl"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		c := exec.CommandContext(t.Context(), "sh", "-c", check)
		c.Dir = dir
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	good := some().run(t, t.Context(), nil, "audit", "--since", "2026-01-01").out // Whose texts are as bad as any.
	a, err := readAudit(strings.NewReader(good))
	if err != nil || a.Decisions == 0 {
		t.Fatal(err, a)
	}
	if got := runs(good); got != a.hash+"\n" {
		t.Errorf("the shell says %q, want the last hash, %s", got, a.hash)
	}
	lines := strings.SplitAfter(good, "\n")
	for name, bad := range map[string]string{
		"changed": strings.Replace(good, "bob", "rob", 1),
		"missing": strings.Join(append(lines[:2:2], lines[3:]...), ""),
		"first":   strings.Join(lines[1:], ""),
	} {
		if got := runs(bad); !strings.HasPrefix(got, "wrong: {") {
			t.Errorf("%s: the shell says %q", name, got)
		}
	}
}

// Who waits for a pipe can be interrupted.
func TestVerifyInterrupted(t *testing.T) {
	t.Parallel()
	in, out := io.Pipe()
	defer out.Close()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	(*audited)(nil).run(t, ctx, in, "audit", "verify", "-").says(t, ExitInterrupted, "interrupted: it was not checked")
}
