package worker_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	sdkworker "go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"countersign/internal/devserver"
	"countersign/internal/reference"
	"countersign/internal/slacksim"
	"countersign/worker"
	"countersign/workflows"
)

// Deploy is a workflow of your own that asks in the middle of its work.
func Deploy(ctx workflow.Context, version string) (string, error) {
	res, err := workflows.NewRequests(ctx).Ask(ctx, workflows.Request{
		Title:     "Deploy " + version,
		Channel:   "C0GENERAL1",
		Approvers: workflows.Approvers{Users: []string{"U0BOB00001"}},
		Deadline:  "4h",
	})
	if err != nil {
		return "", err
	}
	return version + " is " + string(res.Outcome), nil
}

// A worker of your own runs your workflows and ours, on one task queue.
func ExampleRegister() {
	ctx := context.Background()
	temporal, slack := servers(ctx)
	defer temporal.close()
	defer slack.close()

	deps, err := worker.Connect(ctx, worker.Settings{
		Temporal:      temporal.client,
		SlackBotToken: slack.token,
		SlackAPIURL:   slack.apiURL, // Leave it out for Slack itself.
		ReferenceKeys: slack.keys,   // REFERENCE_KEYS, the same as the bot's.
		Policy:        worker.Policy{Deadline: 24 * time.Hour},
		Log:           slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	w := sdkworker.New(temporal.client, "deployments", sdkworker.Options{
		WorkerStopTimeout: worker.StopTimeout, DeadlockDetectionTimeout: worker.DeadlockDetectionTimeout,
	})
	worker.Register(w, deps)
	w.RegisterWorkflow(Deploy)
	if err := w.Start(); err != nil {
		fmt.Println(err)
		return
	}
	defer w.Stop()

	run, err := temporal.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{TaskQueue: "deployments"}, Deploy, "v2")
	if err != nil {
		fmt.Println(err)
		return
	}
	go slack.somebodyApproves(ctx, temporal.client, run)
	var end string
	if err := run.Get(ctx, &end); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(end)
	// Output: v2 is approved
}

type temporalServer struct {
	client client.Client
	close  func()
}

type slackServer struct {
	*slacksim.Server
	token, apiURL, keys string
	close               func()
}

// servers starts a Temporal dev server, and a stand-in for Slack.
func servers(ctx context.Context) (temporalServer, slackServer) {
	server, err := devserver.Start(ctx, devserver.Options{})
	if err != nil {
		panic(err)
	}
	c, err := client.DialContext(ctx, client.Options{HostPort: server.Address, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	if err != nil {
		panic(err)
	}
	sim := slacksim.New(slacksim.Options{})
	web := httptest.NewServer(sim)
	sim.SetBaseURL(web.URL)
	stopTemporal := func() {
		c.Close()
		_ = server.Stop()
	}
	stopSlack := func() {
		sim.Close()
		web.Close()
	}
	return temporalServer{c, stopTemporal},
		slackServer{sim, slacksim.DefaultBotToken, web.URL + "/api/", reference.NewKey(), stopSlack}
}

// somebodyApproves does what a click does, once the card is there.
func (s slackServer) somebodyApproves(ctx context.Context, c client.Client, run client.WorkflowRun) {
	if _, err := s.WaitMessage(ctx, "general", slacksim.HasButton("approve")); err != nil {
		panic(err)
	}
	d, err := c.DescribeWorkflowExecution(ctx, run.GetID(), run.GetRunID())
	if err != nil {
		panic(err)
	}
	for _, p := range d.GetPendingActivities() {
		if p.GetActivityType().GetName() == workflows.AwaitDecision {
			err = c.CompleteActivityByID(ctx, "default", run.GetID(), run.GetRunID(), p.GetActivityId(), workflows.Decision{Outcome: workflows.Approved}, nil)
		}
	}
	if err != nil {
		panic(err)
	}
}
