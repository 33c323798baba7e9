package e2e

import (
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"countersign/internal/devserver"
	"countersign/internal/slacksim"
	"countersign/workflows"
)

// nextStamp is the version of the build to which the tests upgrade.
const nextStamp = "v1.2.3-next"

// nextBuild builds it, once.
var nextBuild = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(shared.binary), "countersign-next")
	args := slices.Concat([]string{"build"}, buildFlags, []string{"-ldflags", "-X main.stamp=" + nextStamp, "-o", path, "countersign"})
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

// next is the build to which the test upgrades.
func (w *world) next() string {
	w.Helper()
	path, err := nextBuild()
	w.must(err)
	w.patience(3 * time.Minute)
	return path
}

// startNext is start with that build.
func (w *world) startNext(build, role string, env ...string) *process {
	w.Helper()
	cmd := exec.Command(build, role)
	cmd.Env = append(append([]string{}, w.env...), env...)
	cmd.Dir = w.TempDir()
	p := w.run("the next countersign "+role, cmd)
	w.sees(p, `msg=starting version=`+nextStamp+`\n`)
	if role != "worker" && w.http {
		line := w.sees(p, `msg=listening address=(\S+)`)
		w.sim.SetRequestURL("http://" + line[1] + "/slack/events")
	}
	w.sees(p, `msg=ready`)
	return p
}

// openRequest is a request that is open while everything is upgraded.
type openRequest struct {
	kind
	channel, title string
	// run is the request's workflow, and caller that of who asked by RequestApproval.
	run, caller client.WorkflowRun
	card        slacksim.Message
}

// kind is a kind of requests.
type kind struct {
	name string
	n    int
	// request is what is asked; nil: it is a greeting.
	request *workflows.Request
	called  bool // by RequestApproval
	// before is done before the upgrade, and returns the card as it is then.
	before func(*world, openRequest) slacksim.Message
	decide func(*world, openRequest)
	// outcome is how it ends; empty: approved. by are those who decide.
	outcome workflows.Outcome
	by      []string
}

func (w *world) kinds() []kind {
	approves := func(who string) func(*world, openRequest) {
		return func(w *world, o openRequest) { w.click(w.as(who, o.channel), o.card, "approve", true) }
	}
	return []kind{
		{
			name: "reminded", n: 2, request: &workflows.Request{Approvers: w.people("bob"), RemindEvery: "1m", Deadline: "1h"},
			decide: func(w *world, o openRequest) {
				w.reply(o.card, "still waits") // A timer that was set under the build before.
				approves("bob")(w, o)
			},
			by: []string{"bob"},
		},
		{
			name: "two of three", n: 5, request: &workflows.Request{Approvers: w.people("bob", "carol", "dave"), Required: 2},
			before: func(w *world, o openRequest) slacksim.Message {
				approves("bob")(w, o)
				return w.redrawn(o.card, "1 of 2")
			},
			decide: approves("carol"), by: []string{"bob", "carol"},
		},
		{
			name: "roles", n: 3, request: &workflows.Request{Roles: []workflows.Role{
				{Name: "security", Approvers: workflows.Approvers{Groups: []string{w.sim.Group("security").ID}}},
				{Name: "sre", Approvers: workflows.Approvers{Groups: []string{w.sim.Group("sre").ID}}},
			}},
			decide: func(w *world, o openRequest) {
				approves("carol")(w, o)
				o.card = w.redrawn(o.card, "1 of 2")
				approves("erin")(w, o)
			},
			by: []string{"carol", "erin"},
		},
		{name: "greeting", n: 3, decide: approves("bob")},
		{
			name: "inputs", n: 3, request: &workflows.Request{
				Approvers: w.people("bob"), Inputs: []workflows.Input{{Name: "replicas", Type: workflows.NumberInput, Initial: "3"}},
			},
			decide: func(w *world, o openRequest) {
				bob := w.as("bob", o.channel)
				w.fillsIn(bob, w.opens(bob, o.card, "approve", ""), map[string]any{"input-0": "5"})
			},
			by: []string{"bob"},
		},
		{name: "called", n: 2, called: true, request: &workflows.Request{Approvers: w.people("bob")}, decide: approves("bob"), by: []string{"bob"}},
		{
			name: "rejected", n: 2, request: &workflows.Request{Approvers: w.people("bob", "carol"), Required: 2},
			before: func(w *world, o openRequest) slacksim.Message {
				approves("bob")(w, o)
				return w.redrawn(o.card, "1 of 2")
			},
			decide: func(w *world, o openRequest) {
				carol := w.as("carol", o.channel)
				w.fillsIn(carol, w.opens(carol, o.card, "reject", ""), nil)
			},
			outcome: workflows.Rejected, by: []string{"bob", "carol"},
		},
	}
}

// opensAll opens requests, each kind's in a channel of its own, since Slack takes about one message a second in each, and
// waits until they are as they shall be before the upgrade.
func (w *world) opensAll(kinds []kind) []openRequest {
	w.Helper()
	var all []openRequest
	for _, k := range kinds {
		channel := strings.ReplaceAll(k.name, " ", "-")
		w.sim.AddChannel(slacksim.Channel{Name: channel, Members: []string{slacksim.BotUserID, "alice", "bob", "carol", "dave", "erin"}})
		for i := range k.n {
			o := openRequest{kind: k, channel: channel, title: fmt.Sprintf("%s %d.", k.name, i)}
			if k.request == nil {
				o.run = w.ask(channel, o.title)
				all = append(all, o)
				continue
			}
			r := *k.request
			r.Title, r.Channel = o.title, w.sim.Channel(channel).ID
			if k.called {
				o.caller = w.calls(fmt.Sprint(i), aDay, r)
			} else {
				o.run = w.approval(r)
			}
			all = append(all, o)
		}
	}
	for i := range all {
		o := &all[i]
		o.card = w.card(o.channel, o.title)
		if o.caller != nil {
			o.run = w.approvalsFor(o.caller, 1)[0]
		}
		if o.before != nil {
			o.card = o.before(w, *o)
		}
	}
	return all
}

// decided checks how a request has ended, and that no build noticed anything wrong with what another had done.
func (w *world) decided(o openRequest) {
	w.Helper()
	if o.request == nil {
		if s, err := w.result(o.run); err != nil || s != "Hello, "+o.title+"!" {
			w.Errorf("%s ended with %q, %v", o.title, s, err)
		}
		w.closed(o.card, "Approved by "+w.at("bob"))
	} else {
		want, says := workflows.Approved, "Approved"
		if o.outcome != "" {
			want, says = o.outcome, "Rejected by "+w.at("carol")
		}
		results := []workflows.Result{w.outcome(o.run, want)}
		if o.caller != nil {
			results = append(results, w.outcome(o.caller, want))
		}
		for _, res := range results {
			if got := w.deciders(res); !slices.Equal(got, o.by) || res.Card.TS != o.card.TS {
				w.Errorf("%s was decided by %q on %+v, want %q on %s", o.title, got, res.Card, o.by, o.card.TS)
			}
			if o.kind.request.Inputs != nil && res.Inputs["replicas"] != "5" {
				w.Errorf("%s was approved with %v", o.title, res.Inputs)
			}
		}
		w.closed(o.card, says)
	}
	for _, e := range w.history(o.run) {
		// What comes while a task is under way fails it too, and does no harm.
		if f := e.GetWorkflowTaskFailedEventAttributes(); f != nil && f.GetCause() != enumspb.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND {
			w.Errorf("%s: a workflow task failed: %v", o.title, f)
		}
	}
	r := worker.NewWorkflowReplayer()
	for _, code := range []any{workflows.Greeting, workflows.Approval, workflows.ApprovalForCaller} {
		r.RegisterWorkflow(code)
	}
	quiet := log.NewStructuredLogger(slog.New(slog.DiscardHandler))
	err := r.ReplayWorkflowExecution(w.ctx, w.temporal.WorkflowService(), quiet, client.DefaultNamespace,
		workflow.Execution{ID: o.run.GetID(), RunID: o.run.GetRunID()})
	if err != nil {
		w.Errorf("%s: %v", o.title, err)
	}
}

// steps are the workflow tasks that workers have completed for a run.
func (w *world) steps(run client.WorkflowRun) (all []*historypb.WorkflowTaskCompletedEventAttributes) {
	w.Helper()
	for _, e := range w.history(run) {
		if c := e.GetWorkflowTaskCompletedEventAttributes(); c != nil {
			all = append(all, c)
		}
	}
	return all
}

// is says whether the process completed that workflow task.
func (p *process) is(step *historypb.WorkflowTaskCompletedEventAttributes) bool {
	return strings.HasPrefix(step.GetIdentity(), fmt.Sprint(p.Process.Pid)+"@")
}

// Twenty requests that one build has opened are decided with another, which has taken its place, process by process.
func TestUpgrade(t *testing.T) {
	bothModes(t, func(w *world) {
		next := w.next()
		if out, err := exec.Command(next, "version").Output(); err != nil || !strings.HasPrefix(string(out), "countersign "+nextStamp+"\n") {
			w.Errorf("version prints %q, %v", out, err)
		}
		oldBot, oldWorker := w.start("bot"), w.start("worker")
		if strings.Contains(oldWorker.log.String(), nextStamp) {
			w.Error("both builds are the same version")
		}
		all := w.opensAll(w.kinds())
		if len(all) != 20 {
			w.Fatalf("%d requests are open, want 20", len(all))
		}
		// One of each kind is decided while old and new run beside each other; what takes longest is left for the end.
		both := func(kinds ...string) {
			for _, kind := range kinds {
				i := slices.IndexFunc(all, func(o openRequest) bool { return o.name == kind })
				all[i].decide(w, all[i])
				w.decided(all[i])
				all = slices.Delete(all, i, i+1)
			}
		}
		// Bots first, as the documents have it; the other way round no harm is done either.
		order := []string{"bot", "worker"}
		if w.http {
			slices.Reverse(order)
		}
		olds, news := map[string]*process{"bot": oldBot, "worker": oldWorker}, map[string]*process{}
		for i, role := range order {
			news[role] = w.startNext(next, role)
			both([][]string{{"two of three", "roles", "greeting"}, {"inputs", "called", "rejected"}}[i]...)
			w.stop(olds[role])
		}
		newBot, newWorker := news["bot"], news["worker"]

		slices.Reverse(all)
		for _, o := range all {
			o.decide(w, o)
		}
		for _, o := range all {
			w.decided(o)
			steps := w.steps(o.run)
			if first, last := steps[0], steps[len(steps)-1]; !oldWorker.is(first) || !newWorker.is(last) {
				w.Errorf("%s began with %s and ended with %s, want one build each", o.title, first.GetIdentity(), last.GetIdentity())
			}
			if o.name == "reminded" {
				w.reply(o.card, "Approved by")
				w.thread(o.card, []string{"please decide"}, []string{"still waits"}, []string{"Approved by"})
			}
		}
		for _, k := range w.kinds() {
			want := k.n
			if k.request == nil {
				want *= 2 // Each card, and each greeting.
			}
			if n := w.cardsIn(strings.ReplaceAll(k.name, " ", "-")); n != want {
				w.Errorf("%d messages for %d requests of the kind %q, want %d", n, k.n, k.name, want)
			}
		}
		w.stop(newBot)
		w.stop(newWorker)
	})
}

// makesCurrent makes a version of a Worker Deployment the current one, as docs/operations.md says.
func (w *world) makesCurrent(deployment, buildID string) {
	w.Helper()
	path, err := devserver.Path(w.ctx, nil)
	w.must(err)
	var out []byte
	for w.again() { // Temporal knows the version a moment after its worker has come.
		cmd := exec.CommandContext(w.ctx, path, "worker", "deployment", "set-current-version", "--address", w.variable("TEMPORAL_ADDRESS"),
			"--deployment-name", deployment, "--build-id", buildID, "--yes")
		cmd.Env = []string{"HOME=" + w.TempDir()}
		if out, err = cmd.CombinedOutput(); err == nil {
			return
		}
	}
	w.Fatalf("no worker of %s was made current: %s", buildID, out)
}

// A worker that is not versioned gives way to one that is, and that to its next version, which takes nothing before it is
// made current and everything after that.
func TestUpgradeByVersions(t *testing.T) {
	oneMode(t, func(w *world) {
		next := w.next()
		deployment := w.queue
		version := func(buildID string) []string {
			return []string{"TEMPORAL_DEPLOYMENT_NAME=" + deployment, "TEMPORAL_WORKER_BUILD_ID=" + buildID}
		}
		// Some of each kind but those that wait for long.
		kinds := func(name string, n int) (some []kind) {
			for _, k := range w.kinds()[1:] {
				if n > 0 {
					k.name, k.n = name+" "+k.name, 1
					some = append(some, k)
					n--
				}
			}
			return some
		}
		w.start("bot")
		unversioned := w.start("worker")
		all := w.opensAll(kinds("unversioned", 2))

		a := w.start("worker", version("a")...)
		w.makesCurrent(deployment, "a")
		w.stop(unversioned)
		all = append(all, w.opensAll(kinds("a", 6))...)

		w.startNext(next, "worker", version("b")...)
		by := func(o openRequest, buildID string) {
			w.Helper()
			steps := w.steps(o.run)
			last := steps[len(steps)-1]
			if got := last.GetDeploymentVersion(); got.GetBuildId() != buildID || got.GetDeploymentName() != deployment ||
				last.GetVersioningBehavior() != enumspb.VERSIONING_BEHAVIOR_AUTO_UPGRADE {
				w.Errorf("%s went on with %s as %v, want %s", o.title, got, last.GetVersioningBehavior(), buildID)
			}
		}
		all[0].decide(w, all[0])
		w.decided(all[0])
		by(all[0], "a")

		w.makesCurrent(deployment, "b")
		w.stop(a)
		for _, o := range all[1:] {
			o.decide(w, o)
		}
		for _, o := range all[1:] {
			w.decided(o)
			by(o, "b")
		}
	})
}
