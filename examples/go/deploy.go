package main

import (
	"context"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Input is what Deploy is started with.
type Input struct {
	Version   string   `json:"version"`
	Channel   string   `json:"channel"`   // the ID of the Slack channel where the card appears
	Requester string   `json:"requester"` // the Slack ID of who wants it: they do not decide, and are told how it ends
	Approvers []string `json:"approvers"` // the Slack IDs of those who may decide; nobody means the deployment's APPROVERS
	Deadline  string   `json:"deadline"`  // how long it waits, such as "4h"; empty means the deployment's DEADLINE
	// ApprovalQueue is the task queue of the approvals; empty means "countersign". It comes with the input because a
	// workflow must not read the environment: it has to do the same again whenever Temporal replays it.
	ApprovalQueue string `json:"approval_queue"`
}

// Result is what Approval returns, as far as Deploy needs it.
type Result struct {
	Outcome   string `json:"outcome"` // approved, rejected, expired or withdrawn
	Decisions []struct {
		By     Person `json:"by"`
		Reason string `json:"reason"`
	} `json:"decisions"`
	Changes []struct {
		By Person `json:"by"`
	} `json:"changes"`
}

// Person is somebody in Slack; nobody, where it was done in Temporal's UI or with its command line.
type Person struct {
	Name string `json:"name"`
}

func (p Person) String() string {
	if p.Name == "" {
		return "somebody outside Slack"
	}
	return p.Name
}

// Deploy asks for approval, and deploys a version once it has it.
func Deploy(ctx workflow.Context, in Input) (string, error) {
	queue := in.ApprovalQueue
	if queue == "" {
		queue = "countersign"
	}
	asking := workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		TaskQueue: queue,
		// Where this workflow ends first, in whatever way, the request is withdrawn and its card closed. Without this
		// Temporal terminates the child: nobody closes the card, its buttons stay until somebody clicks one, and that
		// click decides nothing.
		ParentClosePolicy: enumspb.PARENT_CLOSE_POLICY_REQUEST_CANCEL,
		// Where this workflow is cancelled, it waits until the child says who was first, the decision or the cancellation.
		WaitForCancellation: true,
	})
	var res Result
	err := workflow.ExecuteChildWorkflow(asking, "Approval", map[string]any{
		"title":     "Deploy " + in.Version,
		"channel":   in.Channel,
		"requester": in.Requester,
		"approvers": map[string]any{"users": in.Approvers}, // "groups" takes the IDs of user groups
		"deadline":  in.Deadline,
	}).Get(ctx, &res)
	if err != nil {
		return "", err // It could not be asked, and the error says why; or this workflow was cancelled.
	}
	if res.Outcome != "approved" {
		why := in.Version + " is not deployed: " + res.why()
		return "", temporal.NewNonRetryableApplicationError(why, "NotApproved", nil, res)
	}

	rollOut := workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 10 * time.Minute})
	var done string
	err = workflow.ExecuteActivity(rollOut, RollOut, in.Version).Get(ctx, &done)
	return done, err
}

// why says how it came that it was not approved, and who decided so: the last one who did something.
func (r Result) why() string {
	switch decisions, changes := len(r.Decisions), len(r.Changes); {
	case r.Outcome == "rejected" && decisions > 0:
		last := r.Decisions[decisions-1]
		if last.Reason == "" {
			return fmt.Sprintf("rejected by %s", last.By)
		}
		return fmt.Sprintf("rejected by %s: %s", last.By, last.Reason)
	case r.Outcome == "withdrawn" && changes > 0:
		return fmt.Sprintf("withdrawn by %s", r.Changes[changes-1].By)
	case r.Outcome == "expired":
		return "expired, as nobody decided in time"
	}
	return r.Outcome
}

// RollOut is where the real work goes.
func RollOut(_ context.Context, version string) (string, error) {
	return "deployed " + version, nil
}
