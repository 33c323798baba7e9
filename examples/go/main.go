// An example: a deployment that waits for somebody's approval in Slack. See ../README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
)

// taskQueue is where the worker takes its work. It is not that of the approvals.
const taskQueue = "deploy-go"

func main() {
	log.SetFlags(0)
	if err := run(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(args []string) error {
	start := len(args) > 4 && args[0] == "start"
	if !start && (len(args) != 1 || args[0] != "worker") {
		return errors.New("say worker, or start VERSION CHANNEL REQUESTER APPROVER [APPROVER …]")
	}
	options, err := envconfig.LoadDefaultClientOptions() // TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and so on
	if err != nil {
		return err
	}
	c, err := client.Dial(options)
	if err != nil {
		return err
	}
	defer c.Close()
	if start {
		return deploy(c, Input{
			Version: args[1], Channel: args[2], Requester: args[3], Approvers: args[4:],
			ApprovalQueue: os.Getenv("TASK_QUEUE"),
		})
	}
	w := worker.New(c, taskQueue, worker.Options{})
	w.RegisterWorkflow(Deploy)
	w.RegisterActivity(RollOut)
	return w.Run(worker.InterruptCh())
}

// deploy starts a deployment and waits until it has ended. The deployment goes on where this program does not.
func deploy(c client.Client, in Input) error {
	ctx := context.Background()
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: "deploy-" + in.Version, TaskQueue: taskQueue,
		WorkflowExecutionErrorWhenAlreadyStarted: true, // A version is deployed once at a time.
	}, Deploy, in)
	if err != nil {
		return err
	}
	fmt.Println("started", run.GetID())
	var done string
	err = run.Get(ctx, &done)
	var refused *temporal.ApplicationError
	if errors.As(err, &refused) && refused.Type() == "NotApproved" {
		return errors.New(refused.Message())
	}
	if err != nil {
		return err
	}
	fmt.Println(done)
	return nil
}
