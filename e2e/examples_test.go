package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.temporal.io/sdk/client"

	"countersign/internal/npm"
	"countersign/internal/slacksim"
	"countersign/workflows"
)

// typeScript are the packages of the example in TypeScript.
var typeScript = npm.Packages(filepath.Join("..", "examples", "typescript"))

func TestExamples(t *testing.T) {
	t.Parallel()
	t.Run("go", func(t *testing.T) {
		binary := filepath.Join(t.TempDir(), "deploy")
		build := append(append([]string{"build"}, buildFlags...), "-o", binary, "countersign/examples/go")
		if out, err := exec.Command("go", build...).CombinedOutput(); err != nil {
			t.Fatalf("build: %v\n%s", err, out)
		}
		oneMode(t, func(w *world) { w.deploys("go", "Started Worker", ".", binary) })
	})
	t.Run("typescript", func(t *testing.T) {
		node := typeScript(t)
		dir := filepath.Join("..", "examples", "typescript")
		check := exec.Command(node, filepath.Join("node_modules", "typescript", "bin", "tsc"))
		check.Dir = dir
		if out, err := check.CombinedOutput(); err != nil {
			t.Fatalf("tsc: %v\n%s", err, out)
		}
		oneMode(t, func(w *world) { w.deploys("typescript", "RUNNING", dir, node, "--import", "tsx", "main.ts") })
	})
}

// deploys tries the example in a language, which is run by the command in dir, and says ready where its worker is.
func (w *world) deploys(language, ready, dir string, command ...string) {
	w.Helper()
	w.start("run")
	w.sees(w.example(dir, append(command, "worker")...), ready)
	alice, bob := w.sim.Person("alice"), w.sim.Person("bob")
	// All worlds use one server, so a version says whose it is.
	version := func(n string) string { return language + "-" + n }

	// By any client of Temporal; in several channels, for in each there is one message a second.
	deploy := func(n, channel, deadline string) client.WorkflowRun {
		w.Helper()
		run, err := w.temporal.ExecuteWorkflow(w.ctx, client.StartWorkflowOptions{TaskQueue: "deploy-" + language}, "Deploy",
			map[string]any{
				"version": version(n), "channel": w.sim.Channel(channel).ID, "requester": alice.ID(),
				"approvers": []string{bob.ID()}, "deadline": deadline, "approval_queue": w.queue,
			})
		w.must(err)
		return run
	}
	refused := func(run client.WorkflowRun, n, why string) {
		w.Helper()
		if got, want := w.failsAs(run, "NotApproved").Message(), version(n)+" is not deployed: "+why; got != want {
			w.Errorf("the error says %q, want %q", got, want)
		}
	}
	expired, withdrawn := deploy("expired", "ops", "2s"), deploy("withdrawn", "leads", "1h")
	cancelled, terminated := deploy("cancelled", "ops", "1h"), deploy("terminated", "leads", "1h")

	// By its own command, as its README has it.
	start := func(n string) (*process, slacksim.Message) {
		w.Helper()
		p := w.example(dir, append(command, "start", version(n), w.sim.Channel("general").ID, alice.ID(), bob.ID())...)
		return p, w.card("general", "Deploy "+version(n))
	}
	p, card := start("approved")
	w.click(bob.In("general"), card, "approve", true)
	w.endsWith(p, 0, "deployed "+version("approved"))
	w.closed(card, "Approved by <@"+bob.ID()+">")

	p, card = start("rejected")
	w.fillsIn(bob, w.opens(bob.In("general"), card, "reject", ""), map[string]any{"comment": "not on a Friday"})
	w.endsWith(p, 1, version("rejected")+" is not deployed: rejected by bob: not on a Friday")
	w.closed(card, "Rejected by <@"+bob.ID()+">", "not on a Friday")

	refused(expired, "expired", "expired, as nobody decided in time")
	w.closed(w.message("ops", slacksim.Contains("Deploy "+version("expired"))), "Expired")

	card = w.card("leads", "Deploy "+version("withdrawn"))
	w.changes(alice.In("leads"), card, workflows.Withdraw)
	refused(withdrawn, "withdrawn", "withdrawn by alice")
	w.closed(card, "Withdrawn by <@"+alice.ID()+">")

	card = w.card("ops", "Deploy "+version("cancelled"))
	w.must(w.temporal.CancelWorkflow(w.ctx, cancelled.GetID(), ""))
	w.isCancelled(cancelled)
	w.closed(card, "Withdrawn")

	card = w.card("leads", "Deploy "+version("terminated"))
	w.must(w.temporal.TerminateWorkflow(w.ctx, terminated.GetID(), "", "test"))
	w.closed(card, "Withdrawn")
}

// example starts a program of an example, with the environment of the deployment.
func (w *world) example(dir string, command ...string) *process {
	w.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.Env = dir, w.env
	return w.run(cmd.String(), cmd)
}

// endsWith waits until the process has ended, and checks its exit code and the last line that it has said.
func (w *world) endsWith(p *process, code int, line string) {
	w.Helper()
	select {
	case <-p.ended:
	case <-w.ctx.Done():
		w.Fatalf("%s did not end", p)
	}
	if p.code != code || !strings.HasSuffix(p.log.String(), "\n"+line+"\n") {
		w.Errorf("%s ended with the exit code %d, want %d and %q", p, p.code, code, line)
	}
}
