package workflows_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"golang.org/x/sync/errgroup"

	"countersign/internal/devserver"
	"countersign/workflows"
)

var record = flag.Bool("record", false, "record the histories that testdata/SHA256SUMS does not list; what it lists is never changed")

var quiet = log.NewStructuredLogger(slog.New(slog.DiscardHandler))

// TestReplay holds the workflows to the histories of those that may be running, and the histories to what they were when
// they were recorded.
func TestReplay(t *testing.T) {
	t.Parallel()
	if *record {
		recordHistories(t)
	}
	sums := recordedSums(t)
	files, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		if file.Name() == sumsFile {
			continue
		}
		found = append(found, file.Name())
		t.Run(strings.TrimSuffix(file.Name(), ".json"), func(t *testing.T) {
			t.Parallel()
			history, err := os.ReadFile(filepath.Join("testdata", file.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if want, ok := sums[file.Name()]; !ok {
				t.Errorf("%s does not list it: record it, or take it away", sumsFile)
			} else if sum(history) != want {
				t.Errorf("it is not what was recorded, by %s: workflows of older builds have run as it was, so restore it", sumsFile)
			}
			if err := replay(history, nil); err != nil {
				t.Error(err)
			}
		})
	}
	for name := range sums {
		if !slices.Contains(found, name) {
			t.Errorf("%s was recorded, by %s, and is not there: restore it", name, sumsFile)
		}
	}
	for _, shape := range append(slices.Collect(maps.Keys(shapes)), "later_child", "lines_later_child") {
		if _, ok := sums[shape+".json"]; !ok {
			t.Errorf("no history of %s was recorded: go test ./workflows -run 'TestReplay$' -record", shape)
		}
	}
}

// replay has the workflows do again what is in a history. approval takes the place of Approval, where it is not nil.
func replay(history []byte, approval func(workflow.Context, workflows.Request) (workflows.Result, error)) error {
	if approval == nil {
		approval = workflows.Approval
	}
	h, err := client.HistoryFromJSON(bytes.NewReader(history), client.HistoryJSONOptions{})
	if err != nil {
		return err
	}
	r := worker.NewWorkflowReplayer()
	r.RegisterWorkflowWithOptions(approval, workflow.RegisterOptions{Name: "Approval"})
	r.RegisterWorkflow(workflows.ApprovalForCaller)
	r.RegisterWorkflow(workflows.Greeting)
	r.RegisterWorkflow(workflows.CloseCardLater)
	r.RegisterWorkflow(askTwo)
	return r.ReplayWorkflowHistory(quiet, h)
}

// TestReplayNoticesAChange shows that a workflow which does something else than it did is noticed, and that one which does
// so behind a version is not.
func TestReplayNoticesAChange(t *testing.T) {
	t.Parallel()
	history, err := os.ReadFile(filepath.Join("testdata", "n_of_m.json"))
	if err != nil {
		t.Fatal(err)
	}
	note := func(ctx workflow.Context) error {
		step := workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
		return workflow.ExecuteActivity(step, workflows.PostLine, workflows.Line{}).Get(ctx, nil)
	}
	for name, tc := range map[string]struct {
		changed func(workflow.Context, workflows.Request) (workflows.Result, error)
		noticed bool
	}{
		"nothing": {workflows.Approval, false},
		"a step before": {func(ctx workflow.Context, r workflows.Request) (workflows.Result, error) {
			if err := note(ctx); err != nil {
				return workflows.Result{}, err
			}
			return workflows.Approval(ctx, r)
		}, true},
		"a step after": {func(ctx workflow.Context, r workflows.Request) (workflows.Result, error) {
			res, err := workflows.Approval(ctx, r)
			return res, errors.Join(err, note(ctx))
		}, true},
		"a step less": {func(workflow.Context, workflows.Request) (workflows.Result, error) {
			return workflows.Result{Outcome: workflows.Approved}, nil
		}, true},
		"a step before, behind a version": {func(ctx workflow.Context, r workflows.Request) (workflows.Result, error) {
			if workflow.GetVersion(ctx, "note", workflow.DefaultVersion, 1) == 1 {
				if err := note(ctx); err != nil {
					return workflows.Result{}, err
				}
			}
			return workflows.Approval(ctx, r)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := replay(history, tc.changed); (err != nil) != tc.noticed {
				t.Errorf("replay: %v, want it noticed: %v", err, tc.noticed)
			}
		})
	}
}

// sumsFile lists, in testdata, the SHA-256 of each history as it was recorded, as sha256sum does.
const sumsFile = "SHA256SUMS"

// recordedSums are the sums of the histories by the names of their files.
func recordedSums(t *testing.T) map[string]string {
	t.Helper()
	list, err := os.ReadFile(filepath.Join("testdata", sumsFile))
	if err != nil {
		t.Fatal(err)
	}
	sums := make(map[string]string)
	for line := range strings.Lines(string(list)) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if _, twice := sums[name]; !ok || twice {
			t.Fatalf("%s has the line %q", sumsFile, line)
		}
		sums[name] = sum
	}
	return sums
}

func sum(history []byte) string { return fmt.Sprintf("%x", sha256.Sum256(history)) }

// shapes are the histories that are recorded, and whether the workflow ends well.
var shapes = map[string]bool{
	// of Greeting
	"approved": true, "rejected": false, "expired": false, "withdrawn": false, "invalid": false,
	"rescued": true, "later": true,
	// of a workflow of others
	"two": true,
	// of Approval
	"n_of_m": true, "roles_choice_inputs": true, "reminded_escalated_expired": true, "delegated": true, "extended": true,
	"withdrawn_by_person": true, "approval_cancelled": false, "fail_on_reject": false, "approval_invalid": false,
	"card_refused": false, "lines_later": true,
	// of Approval, where much happens while there is no worker: it comes in one workflow task
	"together": true, "together_cancelled": false,
	// of ApprovalForCaller; where it is gone, its caller waits no more
	"caller_approved": true, "caller_rejected": false, "caller_invalid": false, "caller_gone": false,
}

// approvals are the requests of the shapes of Approval.
var approvals = map[string]workflows.Request{
	"n_of_m": with(asks(2), func(r *workflows.Request) { r.TellRequester = true }),
	"roles_choice_inputs": with(asks(0), func(r *workflows.Request) {
		r.Approvers = workflows.Approvers{}
		r.Roles = []workflows.Role{
			{Name: "security", Approvers: workflows.Approvers{Groups: []string{"S0SEC00001"}}},
			{Name: "sre", Approvers: workflows.Approvers{Users: []string{carol.ID, dave.ID}}},
		}
		r.Choices = []workflows.Choice{{Label: "Blue"}, {Label: "Green"}}
		r.Inputs = []workflows.Input{{Name: "sum", Type: workflows.NumberInput, Initial: "100"}}
	}),
	"reminded_escalated_expired": with(asks(2), func(r *workflows.Request) {
		r.Deadline, r.RemindEvery = "6s", "2s"
		r.Escalate = []workflows.Escalation{{After: "3s", Approvers: workflows.Approvers{Groups: []string{"S0SRE00001"}}}}
	}),
	"delegated":           only(),
	"extended":            with(only(), func(r *workflows.Request) { r.Deadline = "5s" }),
	"withdrawn_by_person": asks(2),
	"approval_cancelled":  asks(2),
	"fail_on_reject":      with(asks(2), func(r *workflows.Request) { r.FailOnReject = true }),
	"approval_invalid":    asks(2),
	"card_refused":        asks(2),
	"lines_later":         asks(2),
	"together":            with(asks(2), func(r *workflows.Request) { r.RemindEvery = "5s" }),
	"together_cancelled":  with(asks(2), func(r *workflows.Request) { r.Deadline = "8s" }),
	"caller_approved":     only(),
	"caller_rejected":     with(only(), func(r *workflows.Request) { r.FailOnReject = true }),
	"caller_invalid":      only(),
	"caller_gone":         only(),
}

// recordHistories runs a workflow of each shape that has no history on a real server, and keeps its history. All take
// the two minutes after which an attempt counts as lost.
func recordHistories(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), 6*time.Minute)
	defer stop()
	server, err := devserver.Start(ctx, devserver.Options{Log: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	c, err := client.Dial(client.Options{HostPort: server.Address, Identity: "recorder", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := &recorder{Client: c, opened: make(map[string]chan opened)}
	for shape := range shapes {
		r.opened[shape] = make(chan opened, 20)
	}
	w, err := r.start("record")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	sums := recordedSums(t)
	var all errgroup.Group
	for shape, well := range shapes {
		if _, ok := sums[shape+".json"]; ok {
			continue
		}
		all.Go(func() error {
			run, err := r.run(ctx, shape)
			if err != nil {
				return fmt.Errorf("%s: %w", shape, err)
			}
			if ended := run.Get(ctx, nil); (ended == nil) != well {
				return fmt.Errorf("%s ended with: %w", shape, ended)
			}
			if err := r.keep(ctx, run, shape); err != nil {
				return fmt.Errorf("%s: %w", shape, err)
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
}

// recorder runs workflows whose IDs are their shapes.
type recorder struct {
	client.Client
	opened map[string]chan opened // by shape
}

// opened is an activity that stays open.
type opened struct {
	activity.Info
	request workflows.Request
}

func (r *recorder) register(w worker.Worker) {
	named := func(name string) activity.RegisterOptions { return activity.RegisterOptions{Name: name} }
	w.RegisterWorkflow(workflows.Approval)
	w.RegisterWorkflow(workflows.ApprovalForCaller)
	w.RegisterWorkflow(workflows.Greeting)
	w.RegisterWorkflow(workflows.CloseCardLater)
	w.RegisterWorkflow(askTwo)
	w.RegisterActivityWithOptions(func(ctx context.Context, req workflows.Request) (workflows.Request, error) {
		if req.Approvers.Empty() && len(req.Roles) == 0 {
			req.Approvers = workflows.Approvers{Users: []string{bob.ID}}
		}
		req.ExpiresAt = time.Now().Add(24 * time.Hour)
		if d, _ := req.Deadline.Value(); d > 0 {
			req.ExpiresAt = time.Now().Add(d)
		}
		switch activity.GetInfo(ctx).WorkflowExecution.ID {
		case "expired":
			req.ExpiresAt = time.Now().Add(3 * time.Second)
		case "invalid", "approval_invalid", "caller_invalid":
			return req, workflows.InvalidRequestError("Nobody may decide this request.")
		}
		return req, nil
	}, named(workflows.PrepareRequest))
	w.RegisterActivityWithOptions(func(ctx context.Context, round workflows.Round) (workflows.Decision, error) {
		info := activity.GetInfo(ctx)
		shape := info.WorkflowExecution.ID
		if shape == "rescued" { // It dies before it can say where the card is.
			return workflows.Decision{}, activity.ErrResultPending
		}
		err := r.SignalWorkflow(ctx, info.WorkflowExecution.ID, info.WorkflowExecution.RunID,
			workflows.SignalCardPosted, workflows.CardPosted{Posted: workflows.Posted{Card: posted}, ActivityID: info.ActivityID})
		if err != nil {
			return workflows.Decision{}, err
		}
		r.opened[shape] <- opened{info, round.Request}
		return workflows.Decision{}, activity.ErrResultPending
	}, named(workflows.ComposeGreeting))
	w.RegisterActivityWithOptions(func(ctx context.Context, round workflows.Round) (workflows.Decision, error) {
		info := activity.GetInfo(ctx)
		r.opened[info.WorkflowExecution.ID] <- opened{info, round.Request}
		return workflows.Decision{}, activity.ErrResultPending
	}, named(workflows.AwaitDecision))
	w.RegisterActivityWithOptions(func(ctx context.Context, in workflows.EndDecisionInput) (workflows.DecisionEnded, error) {
		info := activity.GetInfo(ctx)
		err := r.CompleteActivityByID(ctx, info.Namespace, info.WorkflowExecution.ID, info.WorkflowExecution.RunID, in.ActivityID, nil,
			temporal.NewCanceledError(workflows.Result{Outcome: in.Outcome, Changes: in.Changes, Note: in.Note}))
		var gone *serviceerror.NotFound
		if errors.As(err, &gone) {
			return workflows.DecisionEnded{Unknown: true}, nil
		}
		if _, ok := approvals[info.WorkflowExecution.ID]; ok {
			return workflows.DecisionEnded{}, err
		}
		return workflows.DecisionEnded{Card: posted}, err
	}, named(workflows.EndDecision))
	w.RegisterActivityWithOptions(func(_ context.Context, in workflows.CardInput) (workflows.Posted, error) {
		return workflows.Posted{Card: in.Card, Permalink: permalink, Names: names}, nil
	}, named(workflows.RedrawCard))
	w.RegisterActivityWithOptions(func(ctx context.Context, l workflows.Line) error {
		if activity.GetInfo(ctx).WorkflowExecution.ID == "lines_later" {
			return errors.New("slack is away")
		}
		return nil
	}, named(workflows.PostLine))
	w.RegisterActivityWithOptions(func(ctx context.Context, in workflows.CardInput) (workflows.Posted, error) {
		info := activity.GetInfo(ctx)
		switch {
		case info.WorkflowExecution.ID == "card_refused":
			return workflows.Posted{}, refusal("I am not in that channel.")
		case !in.Instead:
			return workflows.Posted{Card: posted, Permalink: permalink, Names: names}, nil
		}
		info.ActivityID = in.ActivityID
		r.opened[info.WorkflowExecution.ID] <- opened{info, in.Round.Request}
		return workflows.Posted{Card: reposted}, nil
	}, named(workflows.PostCard))
	w.RegisterActivityWithOptions(func(_ context.Context, c workflows.Closing) error {
		if c.WorkflowID == "later" && !c.Again {
			return errors.New("slack is away")
		}
		return nil
	}, named(workflows.CloseCard))
	w.RegisterActivityWithOptions(func(ctx context.Context, _ workflows.Caller) error {
		info := activity.GetInfo(ctx)
		if info.WorkflowExecution.ID == "caller_gone" && info.Attempt > 2 {
			return nil
		}
		return temporal.NewApplicationErrorWithOptions("the caller waits", "Later", temporal.ApplicationErrorOptions{NextRetryDelay: time.Second})
	}, named(workflows.WatchCaller))
	w.RegisterActivityWithOptions(func(context.Context, workflows.CallerAnswer) error { return nil }, named(workflows.AnswerCaller))
	w.RegisterActivityWithOptions(func(context.Context, workflows.Closing) error { return nil }, named(workflows.TellRequester))
	w.RegisterActivityWithOptions(func(context.Context, workflows.GreetingMessage) error { return nil }, named(workflows.PostGreeting))
}

// run starts the workflow of that shape and does what ends it.
func (r *recorder) run(ctx context.Context, shape string) (client.WorkflowRun, error) {
	o := client.StartWorkflowOptions{ID: shape, TaskQueue: "record"}
	if req, ok := approvals[shape]; ok {
		return r.runApproval(ctx, o, req)
	}
	if shape == "two" {
		ask := func(title string) workflows.Request { return workflows.Request{Title: title, Channel: "C0GENERAL1"} }
		run, err := r.ExecuteWorkflow(ctx, o, askTwo, ask("first"), ask("second"))
		for _, outcome := range []workflows.Outcome{workflows.Approved, workflows.Rejected} {
			if err == nil {
				err = r.decide(ctx, <-r.opened[shape], workflows.Decision{Outcome: outcome, By: bob})
			}
		}
		return run, err
	}
	run, err := r.ExecuteWorkflow(ctx, o, workflows.Greeting, greeting)
	if err != nil {
		return nil, err
	}
	switch shape {
	case "approved", "rescued", "later":
		err = r.decide(ctx, <-r.opened[shape], workflows.Decision{Outcome: workflows.Approved, By: bob})
	case "rejected":
		err = r.decide(ctx, <-r.opened[shape], workflows.Decision{Outcome: workflows.Rejected, By: bob})
	case "withdrawn":
		<-r.opened[shape]
		err = r.CancelWorkflow(ctx, run.GetID(), run.GetRunID())
	}
	return run, err
}

// runApproval is run for Approval.
func (r *recorder) runApproval(ctx context.Context, o client.StartWorkflowOptions, req workflows.Request) (client.WorkflowRun, error) {
	shape := o.ID
	var (
		worker  worker.Worker
		changes errgroup.Group
		err     error
	)
	then := func(f func() error) {
		if err == nil {
			err = f()
		}
	}
	alone := strings.HasPrefix(shape, "together")
	if alone {
		o.TaskQueue = shape
		worker, err = r.start(shape)
	}
	var run client.WorkflowRun
	then(func() (err error) {
		if strings.HasPrefix(shape, "caller_") {
			run, err = r.ExecuteWorkflow(ctx, o, workflows.ApprovalForCaller, workflows.ForCaller{
				Request: req, Caller: workflows.Caller{WorkflowID: "deploy", RunID: "01a20800-0000-7000-8000-000000000000", ActivityID: "5"},
			})
		} else {
			run, err = r.ExecuteWorkflow(ctx, o, workflows.Approval, req)
		}
		return err
	})
	decide := func(d workflows.Decision) {
		then(func() error {
			select {
			case a := <-r.opened[shape]:
				return r.decide(ctx, a, d)
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}
	change := func(c workflows.Change) error {
		u, err := r.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
			WorkflowID: run.GetID(), RunID: run.GetRunID(), UpdateName: workflows.UpdateChange,
			Args: []any{c}, WaitForStage: client.WorkflowUpdateStageCompleted,
		})
		if err == nil {
			err = u.Get(ctx, nil)
		}
		return err
	}
	approves := func(p workflows.Person) workflows.Decision {
		return workflows.Decision{Outcome: workflows.Approved, By: p}
	}
	switch shape {
	case "n_of_m", "lines_later":
		decide(approves(bob))
		decide(approves(bob))
		decide(approves(carol))
	case "roles_choice_inputs":
		d := approves(bob)
		d.Option, d.Inputs, d.Roles = 2, map[string]string{"sum": "80"}, []string{"security"}
		decide(d)
		d.By, d.Roles = carol, []string{"sre"}
		decide(d)
	case "delegated":
		then(func() error {
			<-r.opened[shape]
			return change(workflows.Change{Kind: workflows.Delegate, By: bob, To: erin.ID})
		})
		decide(approves(erin))
	case "extended":
		a := <-r.opened[shape]
		then(func() error { return change(workflows.Change{Kind: workflows.Extend, By: alice, Longer: "1h"}) })
		then(func() error { return r.decide(ctx, a, approves(bob)) })
	case "withdrawn_by_person":
		<-r.opened[shape]
		then(func() error { return change(workflows.Change{Kind: workflows.Withdraw, By: alice}) })
	case "approval_cancelled":
		decide(approves(bob))
		then(func() error {
			<-r.opened[shape]
			return r.CancelWorkflow(ctx, run.GetID(), run.GetRunID())
		})
	case "caller_approved":
		decide(approves(bob))
	case "fail_on_reject", "caller_rejected":
		decide(workflows.Decision{Outcome: workflows.Rejected, By: bob, Reason: "Not today."})
	case "together", "together_cancelled":
		then(func() error { return r.rests(ctx, run) })
		worker.Stop()
		changes.Go(func() error {
			if shape == "together" {
				return change(workflows.Change{Kind: workflows.Delegate, By: bob, To: erin.ID})
			}
			if err := change(workflows.Change{Kind: workflows.Withdraw, By: alice}); err == nil {
				return errors.New("a request that was cancelled is withdrawn")
			}
			return nil
		})
		decide(approves(carol))
		then(func() error {
			if shape == "together_cancelled" {
				return r.CancelWorkflow(ctx, run.GetID(), run.GetRunID())
			}
			return nil
		})
		then(func() error { return r.timerFired(ctx, run) })
		then(func() (err error) {
			worker, err = r.start(shape)
			return err
		})
		then(changes.Wait)
		if shape == "together" { // The round after the decision never got as far as a worker.
			decide(approves(erin))
		}
		then(func() error {
			_ = run.Get(ctx, nil)
			worker.Stop()
			return nil
		})
	}
	return run, err
}

// start starts a worker on a task queue of its own.
func (r *recorder) start(queue string) (worker.Worker, error) {
	w := worker.New(r.Client, queue, worker.Options{DisableRegistrationAliasing: true, Identity: "recorder"})
	r.register(w)
	return w, w.Start()
}

// rests returns when nothing is under way but the open activity.
func (r *recorder) rests(ctx context.Context, run client.WorkflowRun) error {
	for ctx.Err() == nil {
		d, err := r.DescribeWorkflowExecution(ctx, run.GetID(), run.GetRunID())
		if err != nil {
			return err
		}
		lines := 0
		for events := r.GetWorkflowHistory(ctx, run.GetID(), run.GetRunID(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
			e, err := events.Next()
			if err != nil {
				return err
			}
			if e.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName() == workflows.PostLine {
				lines++
			}
		}
		if d.PendingWorkflowTask == nil && len(d.PendingActivities) == 1 && lines == 1 {
			return nil
		}
	}
	return ctx.Err()
}

// timerFired returns when a timer has fired.
func (r *recorder) timerFired(ctx context.Context, run client.WorkflowRun) error {
	events := r.GetWorkflowHistory(ctx, run.GetID(), run.GetRunID(), true, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			return err
		}
		if e.GetEventType() == enumspb.EVENT_TYPE_TIMER_FIRED {
			return nil
		}
	}
	return errors.New("it ended before")
}

// decide decides as people do in Slack.
func (r *recorder) decide(ctx context.Context, a opened, d workflows.Decision) error {
	d.At, d.Digest, d.Card = time.Now().UTC(), digest(a.request), posted
	exec := a.WorkflowExecution
	if d.Outcome == workflows.Rejected {
		return r.CompleteActivityByID(ctx, a.Namespace, exec.ID, exec.RunID, a.ActivityID, nil, workflows.RejectedError(d))
	}
	return r.CompleteActivityByID(ctx, a.Namespace, exec.ID, exec.RunID, a.ActivityID, d, nil)
}

// keep writes a workflow's history, one line for each event, without this machine's name. Its child's is kept too.
func (r *recorder) keep(ctx context.Context, run client.WorkflowRun, shape string) error {
	var (
		out   bytes.Buffer
		child string
	)
	out.WriteString(`{"events":[`)
	events := r.GetWorkflowHistory(ctx, run.GetID(), run.GetRunID(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for separator := "\n"; events.HasNext(); separator = ",\n" {
		e, err := events.Next()
		if err != nil {
			return err
		}
		if started := e.GetChildWorkflowExecutionStartedEventAttributes(); started != nil {
			child = started.GetWorkflowExecution().GetWorkflowId()
		}
		b, err := temporalproto.CustomJSONMarshalOptions{}.Marshal(e)
		if err != nil {
			return err
		}
		out.WriteString(separator)
		out.Write(b)
	}
	out.WriteString("\n]}\n")
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	named := func(host string) []byte { return []byte(`"name":"` + host + `:`) } // a sticky task queue
	history := bytes.ReplaceAll(out.Bytes(), named(host), named("recorder"))
	if child != "" {
		closing := r.GetWorkflow(ctx, child, "")
		if err := closing.Get(ctx, nil); err != nil {
			return err
		}
		if err := r.keep(ctx, closing, shape+"_child"); err != nil {
			return err
		}
	}
	if err := write(shape+".json", os.O_CREATE|os.O_EXCL, history); err != nil {
		return err
	}
	return write(sumsFile, os.O_APPEND, fmt.Appendf(nil, "%s  %s.json\n", sum(history), shape))
}

// write writes to a file in testdata.
func write(name string, flag int, text []byte) error {
	f, err := os.OpenFile(filepath.Join("testdata", name), os.O_WRONLY|flag, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}
