package workflows_test

import (
	"bytes"
	"context"
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
	"golang.org/x/sync/errgroup"

	"countersign/internal/devserver"
	"countersign/workflows"
)

var record = flag.Bool("record", false, "record the histories that testdata lacks; once released they are never changed")

var quiet = log.NewStructuredLogger(slog.New(slog.DiscardHandler))

// TestReplay holds the workflows to the histories of those that may be running.
func TestReplay(t *testing.T) {
	t.Parallel()
	if *record {
		recordHistories(t)
	}
	files, err := filepath.Glob(filepath.Join("testdata", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		found = append(found, name)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := worker.NewWorkflowReplayer()
			r.RegisterWorkflow(workflows.Approval)
			r.RegisterWorkflow(workflows.ApprovalForCaller)
			r.RegisterWorkflow(workflows.Greeting)
			r.RegisterWorkflow(workflows.CloseCardLater)
			r.RegisterWorkflow(askTwo)
			if err := r.ReplayWorkflowHistoryFromJSONFile(quiet, file); err != nil {
				t.Error(err)
			}
		})
	}
	for _, want := range append(slices.Collect(maps.Keys(shapes)), "later_child", "lines_later_child") {
		if !slices.Contains(found, want) {
			t.Errorf("no history %s; there are %q", want, found)
		}
	}
}

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
	var all errgroup.Group
	for shape, well := range shapes {
		if _, err := os.Stat(filepath.Join("testdata", shape+".json")); err == nil {
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
	path := filepath.Join("testdata", shape+".json")
	named := func(host string) []byte { return []byte(`"name":"` + host + `:`) } // a sticky task queue
	if err := os.WriteFile(path, bytes.ReplaceAll(out.Bytes(), named(host), named("recorder")), 0o644); err != nil {
		return err
	}
	if child == "" {
		return nil
	}
	closing := r.GetWorkflow(ctx, child, "")
	if err := closing.Get(ctx, nil); err != nil {
		return err
	}
	return r.keep(ctx, closing, shape+"_child")
}
