package workflows_test

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
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
	var shapes []string
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		shapes = append(shapes, name)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := worker.NewWorkflowReplayer()
			r.RegisterWorkflow(workflows.Greeting)
			r.RegisterWorkflow(workflows.CloseCardLater)
			if err := r.ReplayWorkflowHistoryFromJSONFile(quiet, file); err != nil {
				t.Error(err)
			}
		})
	}
	for _, want := range []string{"approved", "rejected", "expired", "withdrawn", "invalid"} {
		if !slices.Contains(shapes, want) {
			t.Errorf("no history of a greeting that ended %s; there are %q", want, shapes)
		}
	}
}

// recordHistories runs a greeting of each shape on a real server and keeps its history.
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

	w := worker.New(c, "record", worker.Options{DisableRegistrationAliasing: true, Identity: "recorder"})
	w.RegisterWorkflow(workflows.Greeting)
	w.RegisterWorkflow(workflows.CloseCardLater)
	opened := make(chan activity.Info, 1)
	named := func(name string) activity.RegisterOptions { return activity.RegisterOptions{Name: name} }
	w.RegisterActivityWithOptions(func(ctx context.Context, r workflows.Request) (workflows.Request, error) {
		r.Approvers = workflows.Approvers{Users: []string{bob.ID}}
		r.ExpiresAt = time.Now().Add(24 * time.Hour)
		switch id := activity.GetInfo(ctx).WorkflowExecution.ID; id {
		case "expired":
			r.ExpiresAt = time.Now().Add(3 * time.Second)
		case "invalid":
			return r, workflows.InvalidRequestError("Nobody may decide this request.")
		}
		return r, nil
	}, named(workflows.PrepareRequest))
	w.RegisterActivityWithOptions(func(ctx context.Context, r workflows.Request) (workflows.Decision, error) {
		info := activity.GetInfo(ctx)
		err := c.SignalWorkflow(ctx, info.WorkflowExecution.ID, info.WorkflowExecution.RunID,
			workflows.SignalCardPosted, workflows.CardPosted{Card: posted, ActivityID: info.ActivityID})
		if err != nil {
			return workflows.Decision{}, err
		}
		opened <- info
		return workflows.Decision{}, activity.ErrResultPending
	}, named(workflows.ComposeGreeting))
	w.RegisterActivityWithOptions(func(ctx context.Context, in workflows.EndDecisionInput) (workflows.Card, error) {
		info := activity.GetInfo(ctx)
		return posted, c.CompleteActivityByID(ctx, info.Namespace, info.WorkflowExecution.ID, info.WorkflowExecution.RunID,
			in.ActivityID, nil, temporal.NewCanceledError(workflows.Result{Outcome: in.Outcome}))
	}, named(workflows.EndDecision))
	w.RegisterActivityWithOptions(func(context.Context, workflows.PostCardInput) (workflows.Card, error) { return posted, nil }, named(workflows.PostCard))
	w.RegisterActivityWithOptions(func(context.Context, workflows.Closing) error { return nil }, named(workflows.CloseCard))
	w.RegisterActivityWithOptions(func(context.Context, workflows.Closing) error { return nil }, named(workflows.TellRequester))
	w.RegisterActivityWithOptions(func(context.Context, workflows.GreetingMessage) error { return nil }, named(workflows.PostGreeting))
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	defer w.Stop()

	decide := func(o workflows.Outcome, info activity.Info) error {
		d := workflows.Decision{Outcome: o, By: bob, At: time.Now().UTC(), Card: posted}
		exec := info.WorkflowExecution
		if o == workflows.Rejected {
			return c.CompleteActivityByID(ctx, info.Namespace, exec.ID, exec.RunID, info.ActivityID, nil, workflows.RejectedError(d))
		}
		return c.CompleteActivityByID(ctx, info.Namespace, exec.ID, exec.RunID, info.ActivityID, d, nil)
	}
	for shape, end := range map[string]func(activity.Info) error{
		"approved": func(info activity.Info) error { return decide(workflows.Approved, info) },
		"rejected": func(info activity.Info) error { return decide(workflows.Rejected, info) },
		"expired":  func(activity.Info) error { return nil },
		"withdrawn": func(info activity.Info) error {
			return c.CancelWorkflow(ctx, info.WorkflowExecution.ID, info.WorkflowExecution.RunID)
		},
		"invalid": nil,
	} {
		run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: shape, TaskQueue: "record"}, workflows.Greeting, greeting)
		if err != nil {
			t.Fatal(err)
		}
		if end != nil {
			if err := end(<-opened); err != nil {
				t.Fatalf("%s: %v", shape, err)
			}
		}
		ended := run.Get(ctx, nil)
		t.Logf("%s: %v", shape, ended)
		if (ended == nil) != (shape == "approved") {
			t.Errorf("%s: the greeting ended with %v", shape, ended)
		}
		if err := keep(ctx, c, run, filepath.Join("testdata", shape+".json")); err != nil {
			t.Fatal(err)
		}
	}
}

// keep writes a workflow's history, one line for each event, without this machine's name.
func keep(ctx context.Context, c client.Client, run client.WorkflowRun, path string) error {
	var out bytes.Buffer
	out.WriteString(`{"events":[`)
	events := c.GetWorkflowHistory(ctx, run.GetID(), run.GetRunID(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for separator := "\n"; events.HasNext(); separator = ",\n" {
		e, err := events.Next()
		if err != nil {
			return err
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
	return os.WriteFile(path, bytes.ReplaceAll(out.Bytes(), []byte(host), []byte("recorder")), 0o644)
}
