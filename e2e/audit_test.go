package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/workflow"

	"countersign/internal/reference"
	"countersign/workflows"
)

// auditLine is a line of an audit, of whichever kind.
type auditLine struct {
	Kind       string             `json:"kind"`
	At         time.Time          `json:"at"`
	WorkflowID string             `json:"workflow_id"`
	RunID      string             `json:"run_id"`
	Question   string             `json:"question"`
	Title      string             `json:"title"`
	Requester  string             `json:"requester"`
	Digest     string             `json:"digest"`
	Round      int                `json:"round"`
	Outcome    workflows.Outcome  `json:"outcome"`
	By         workflows.Person   `json:"by"`
	Via        workflows.Door     `json:"via"`
	Reason     string             `json:"reason"`
	ApprovedBy []string           `json:"approved_by"`
	Changes    []workflows.Change `json:"changes"`
	Card       workflows.Card     `json:"card"`
	Hash       string             `json:"hash"`
}

// audits has an audit written until it has so many outcomes, for Temporal's list lags behind, and checks that it is whole.
func (w *world) audits(outcomes int, env ...string) (all []auditLine) {
	w.Helper()
	file := filepath.Join(w.TempDir(), "audit.jsonl")
	for w.again() {
		c := w.shell("", []string{"audit", "--since", "1h", "--output", file, "--force"}, env...)
		if out := c.ends(0); out != "" {
			w.Errorf("audit prints %q", out)
		}
		m := c.says(`(\d+) decisions and (\d+) outcomes of \d+ requests are written\. The last hash is ([0-9a-f]{64})\n`)
		text := w.prints("audit", "verify", file, "--hash", m[3])
		if !regexp.MustCompile(`audit\.jsonl is whole: ` + m[1] + ` decisions and ` + m[2] + ` outcomes from \S+ to \S+, hash ` + m[3] + `\n$`).MatchString(text) {
			w.Errorf("verify says %q", text)
		}
		all = nil
		found := 0
		b, err := os.ReadFile(file)
		w.must(err)
		for line := range strings.Lines(string(b)) {
			var l auditLine
			w.must(json.Unmarshal([]byte(line), &l))
			if all = append(all, l); l.Kind == "outcome" {
				found++
			}
		}
		if found >= outcomes {
			return all
		}
	}
	w.Fatalf("the audit has %+v, want %d outcomes", all, outcomes)
	return nil
}

func TestAudit(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		alice, bob, carol := w.as("alice", "general"), w.as("bob", "general"), w.as("carol", "general")
		ask := func(title string, required int) client.WorkflowRun {
			return w.approval(workflows.Request{
				Title: title, Requester: alice.ID(), Approvers: w.people("bob", "carol"), Required: required, RejectReason: workflows.Optional,
			})
		}
		approved := ask("Deploy one", 1)
		card := w.card("general", "Deploy one")
		w.click(bob, card, "approve", true)
		yes := w.outcome(approved, workflows.Approved)

		rejected := ask("Deploy two", 1)
		w.fillsIn(carol, w.opens(carol, w.card("general", "Deploy two"), "reject", ""), map[string]any{"comment": "Not on a Friday."})
		no := w.outcome(rejected, workflows.Rejected)

		both := ask("Deploy three", 2)
		third := w.card("general", "Deploy three")
		w.click(carol, third, "approve", true)
		w.click(bob, w.redrawn(third, "1 of 2"), "approve", true)
		two := w.outcome(both, workflows.Approved)

		withdrawn := ask("Deploy four", 2)
		fourth := w.card("general", "Deploy four")
		w.click(bob, fourth, "approve", true)
		w.redrawn(fourth, "1 of 2")
		w.changes(alice, fourth, workflows.Withdraw)
		taken := w.outcome(withdrawn, workflows.Withdrawn)

		still := ask("Deploy five", 1)
		w.card("general", "Deploy five")
		terminated := ask("Deploy six", 1)
		w.card("general", "Deploy six")
		w.must(w.temporal.TerminateWorkflow(w.ctx, terminated.GetID(), terminated.GetRunID(), ""))

		line := func(run client.WorkflowRun, title string, l auditLine) auditLine {
			l.WorkflowID, l.RunID, l.Title, l.Requester = run.GetID(), run.GetRunID(), title, alice.ID()
			return l
		}
		made := func(run client.WorkflowRun, title string, res workflows.Result, n int) auditLine {
			d := res.Decisions[n]
			return line(run, title, auditLine{
				Kind: "decision", At: d.At, Digest: res.Digest, Round: n + 1, Outcome: d.Outcome, By: d.By, Via: workflows.ViaCard, Reason: d.Reason, Card: res.Card,
			})
		}
		ended := func(run client.WorkflowRun, title string, res workflows.Result, by ...string) auditLine {
			return line(run, title, auditLine{
				Kind: "outcome", At: res.EndedAt, Digest: res.Digest, Outcome: res.Outcome, ApprovedBy: by, Changes: res.Changes, Card: res.Card,
			})
		}
		want := []auditLine{
			{Kind: "audit"},
			made(approved, "Deploy one", yes, 0), ended(approved, "Deploy one", yes, bob.ID()),
			made(rejected, "Deploy two", no, 0), ended(rejected, "Deploy two", no),
			made(both, "Deploy three", two, 0), made(both, "Deploy three", two, 1), ended(both, "Deploy three", two, carol.ID(), bob.ID()),
			made(withdrawn, "Deploy four", taken, 0), ended(withdrawn, "Deploy four", taken),
			line(terminated, "Deploy six", auditLine{Kind: "outcome", Outcome: workflows.Failed}),
			{Kind: "end"},
		}
		got := w.audits(5)
		if n := len(got) - 2; n > 0 { // Of the one that failed nothing else says when, what, and where.
			got[n].At, got[n].Digest, got[n].Card = time.Time{}, "", workflows.Card{}
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(auditLine{}, "Question", "Hash")); diff != "" {
			w.Errorf("the audit (-want +got):\n%s", diff)
		}
		// Who clicked is who stands there, whatever the results say.
		var clicked []string
		for _, l := range got {
			if l.Kind == "decision" {
				clicked = append(clicked, l.Title+": "+string(l.Outcome)+" by "+l.By.ID+" "+l.Reason)
			}
		}
		if diff := cmp.Diff([]string{
			"Deploy one: approved by " + bob.ID() + " ", "Deploy two: rejected by " + carol.ID() + " Not on a Friday.",
			"Deploy three: approved by " + carol.ID() + " ", "Deploy three: approved by " + bob.ID() + " ", "Deploy four: approved by " + bob.ID() + " ",
		}, clicked); diff != "" {
			w.Errorf("the decisions (-want +got):\n%s", diff)
		}
		if c, ok := taken.Withdrawal(); !ok || c.By.ID != alice.ID() {
			w.Errorf("withdrawn by %+v", taken.Changes)
		}

		// Of what came before there is nothing, though Temporal lists those workflows for a minute longer.
		w.click(bob, w.card("general", "Deploy five"), "approve", true)
		five := w.outcome(still, workflows.Approved)
		c := w.shell("", []string{"audit", "--since", five.EndedAt.Add(-time.Millisecond).Format(time.RFC3339Nano)})
		out := c.ends(0, "1 decisions and 1 outcomes of 1 requests are written.")
		if n := strings.Count(out, `"workflow_id":"`+still.GetID()+`"`); n != 2 || strings.Count(out, "\n") != 4 {
			w.Errorf("the last request has %d lines in\n%s", n, out)
		}
	})
}

// A team's own workflow asks several questions at once, on a task queue of its own.
func TestAuditOfATeamsWorkflow(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		run := w.own(func(ctx workflow.Context, in [2]workflows.Request) ([2]workflows.Result, error) {
			return twoGreetings(workflow.WithTaskQueue(ctx, w.queue), in)
		}, [2]workflows.Request{w.request("Greet World"), w.request("Drop everything")})
		bob := w.as("bob", "general")
		w.click(bob, w.card("general", "Greet World"), "approve", true)
		w.click(bob, w.card("general", "Drop everything"), "approve", true)
		w.must(run.Get(w.ctx, nil))
		var got []string
		questions := map[string]bool{}
		for _, l := range w.audits(2, "TASK_QUEUE="+w.queue+"-own") {
			if l.Title != "" && l.RunID == run.GetRunID() {
				got, questions[l.Question] = append(got, l.Title+": "+l.Kind), true
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff([]string{"Drop everything: decision", "Drop everything: outcome", "Greet World: decision", "Greet World: outcome"}, got); diff != "" || len(questions) != 2 {
			w.Errorf("of %v (-want +got):\n%s", questions, diff)
		}
	})
}

func TestAuditEncrypted(t *testing.T) {
	t.Parallel()
	key := reference.NewKey()
	w := newWorld(t, socketMode, shared.temporal.Address, "PAYLOAD_KEYS="+key)
	w.start("run")
	run := w.approval(workflows.Request{Approvers: w.people("bob")})
	w.click(w.as("bob", "general"), w.card("general", "Deploy v2"), "approve", true)
	w.outcome(run, workflows.Approved)
	if got := w.audits(1); got[1].By.ID != w.ids("bob") || got[1].Title != "Deploy v2" {
		w.Errorf("the audit is %+v", got)
	}
	keys, err := reference.ParseKeys(key)
	w.must(err)
	for name, env := range map[string]string{"without a key": "PAYLOAD_KEYS=", "with another key": "PAYLOAD_KEYS=" + reference.NewKey()} {
		w.Log(name)
		c := w.shell("", []string{"audit"}, env)
		if out := c.ends(5, "set PAYLOAD_KEYS as its worker has it", run.GetID(), "there is no key \""+keys.IDs()[0]); out != "" {
			w.Errorf("printed %q", out)
		}
	}
}
