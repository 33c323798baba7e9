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

var record = flag.Bool("record", false, "record the histories in testdata anew; once released they are never changed")

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
			r.RegisterWorkflow(workflows.Greeting)
			r.RegisterWorkflow(workflows.CloseCardLater)
			r.RegisterWorkflow(askTwo)
			if err := r.ReplayWorkflowHistoryFromJSONFile(quiet, file); err != nil {
				t.Error(err)
			}
		})
	}
	for _, want := range append(slices.Collect(maps.Keys(shapes)), "later_child") {
		if !slices.Contains(found, want) {
			t.Errorf("no history %s; there are %q", want, found)
		}
	}
}

// shapes are the histories that are recorded, and whether the workflow ends well.
var shapes = map[string]bool{
	"approved": true, "rejected": false, "expired": false, "withdrawn": false, "invalid": false,
	"rescued": true, "later": true, "two": true,
}

// recordHistories runs a workflow of each shape on a real server and keeps its history. It takes the two minutes after
// which an attempt counts as lost.
func recordHistories(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
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
		r.opened[shape] = make(chan opened, 2)
	}
	w := worker.New(c, "record", worker.Options{DisableRegistrationAliasing: true, Identity: "recorder"})
	r.register(w)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	var all errgroup.Group
	for shape, well := range shapes {
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
	w.RegisterWorkflow(workflows.Greeting)
	w.RegisterWorkflow(workflows.CloseCardLater)
	w.RegisterWorkflow(askTwo)
	w.RegisterActivityWithOptions(func(ctx context.Context, req workflows.Request) (workflows.Request, error) {
		req.Approvers = workflows.Approvers{Users: []string{bob.ID}}
		req.ExpiresAt = time.Now().Add(24 * time.Hour)
		switch activity.GetInfo(ctx).WorkflowExecution.ID {
		case "expired":
			req.ExpiresAt = time.Now().Add(3 * time.Second)
		case "invalid":
			return req, workflows.InvalidRequestError("Nobody may decide this request.")
		}
		return req, nil
	}, named(workflows.PrepareRequest))
	w.RegisterActivityWithOptions(func(ctx context.Context, req workflows.Request) (workflows.Decision, error) {
		info := activity.GetInfo(ctx)
		shape := info.WorkflowExecution.ID
		if shape == "rescued" { // It dies before it can say where the card is.
			return workflows.Decision{}, activity.ErrResultPending
		}
		err := r.SignalWorkflow(ctx, info.WorkflowExecution.ID, info.WorkflowExecution.RunID,
			workflows.SignalCardPosted, workflows.CardPosted{Card: posted, ActivityID: info.ActivityID})
		if err != nil {
			return workflows.Decision{}, err
		}
		r.opened[shape] <- opened{info, req}
		return workflows.Decision{}, activity.ErrResultPending
	}, named(workflows.ComposeGreeting))
	w.RegisterActivityWithOptions(func(ctx context.Context, in workflows.EndDecisionInput) (workflows.DecisionEnded, error) {
		info := activity.GetInfo(ctx)
		return workflows.DecisionEnded{Card: posted}, r.CompleteActivityByID(ctx, info.Namespace, info.WorkflowExecution.ID,
			info.WorkflowExecution.RunID, in.ActivityID, nil, temporal.NewCanceledError(workflows.Result{Outcome: in.Outcome}))
	}, named(workflows.EndDecision))
	w.RegisterActivityWithOptions(func(ctx context.Context, in workflows.PostCardInput) (workflows.Card, error) {
		info := activity.GetInfo(ctx)
		info.ActivityID = in.ActivityID
		r.opened[info.WorkflowExecution.ID] <- opened{info, in.Request}
		return reposted, nil
	}, named(workflows.PostCard))
	w.RegisterActivityWithOptions(func(_ context.Context, c workflows.Closing) error {
		if c.WorkflowID == "later" && !c.Again {
			return errors.New("slack is away")
		}
		return nil
	}, named(workflows.CloseCard))
	w.RegisterActivityWithOptions(func(context.Context, workflows.Closing) error { return nil }, named(workflows.TellRequester))
	w.RegisterActivityWithOptions(func(context.Context, workflows.GreetingMessage) error { return nil }, named(workflows.PostGreeting))
}

// run starts the workflow of that shape and does what ends it.
func (r *recorder) run(ctx context.Context, shape string) (client.WorkflowRun, error) {
	o := client.StartWorkflowOptions{ID: shape, TaskQueue: "record"}
	if shape == "two" {
		ask := func(title string) workflows.Request { return workflows.Request{Title: title, Channel: "C0GENERAL1"} }
		run, err := r.ExecuteWorkflow(ctx, o, askTwo, ask("first"), ask("second"))
		for _, outcome := range []workflows.Outcome{workflows.Approved, workflows.Rejected} {
			if err == nil {
				err = r.decide(ctx, <-r.opened[shape], outcome)
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
		err = r.decide(ctx, <-r.opened[shape], workflows.Approved)
	case "rejected":
		err = r.decide(ctx, <-r.opened[shape], workflows.Rejected)
	case "withdrawn":
		<-r.opened[shape]
		err = r.CancelWorkflow(ctx, run.GetID(), run.GetRunID())
	}
	return run, err
}

// decide decides as bob does in Slack.
func (r *recorder) decide(ctx context.Context, a opened, o workflows.Outcome) error {
	d := workflows.Decision{Outcome: o, By: bob, At: time.Now().UTC(), Digest: digest(a.request), Card: posted}
	exec := a.WorkflowExecution
	if o == workflows.Rejected {
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
	if err := os.WriteFile(path, bytes.ReplaceAll(out.Bytes(), []byte(host), []byte("recorder")), 0o644); err != nil {
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
