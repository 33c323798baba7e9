package worker

import (
	"context"
	"strings"
	"time"

	"github.com/nexus-rpc/sdk-go/nexus"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporalnexus"

	"countersign/workflows"
)

// NexusService and NexusOperation are the names by which callers in other namespaces ask: [workflows.Request] →
// [workflows.Result]. https://docs.temporal.io/nexus
const (
	NexusService   = "approvals"
	NexusOperation = "request"
)

// newNexusService is the service of the operation that runs [workflows.Approval]: to cancel it cancels the workflow, and
// with it the card. Where the operation has a time-out, the request expires before that.
func newNexusService(p Policy) *nexus.Service {
	s := nexus.NewService(NexusService)
	s.MustRegister(temporalnexus.MustNewWorkflowRunOperationWithOptions(temporalnexus.WorkflowRunOperationOptions[workflows.Request, workflows.Result]{
		Name: NexusOperation,
		Handler: func(ctx context.Context, r workflows.Request, o nexus.StartOperationOptions) (temporalnexus.WorkflowHandle[workflows.Result], error) {
			if r.Malformed != "" { // The workflow's input would not have it any more.
				return nil, workflows.InvalidRequestError(strings.Join(r.Faults(), " "))
			}
			now, end := time.Now(), time.Time{}
			// A header that is no duration comes from no server.
			if timeout, err := time.ParseDuration(o.Header.Get(nexus.HeaderOperationTimeout)); err == nil {
				end = now.Add(timeout)
			}
			return temporalnexus.ExecuteWorkflow(ctx, o, client.StartWorkflowOptions{
				ID:            "approval-" + key("nexus", o.RequestID), // The same when the start is repeated.
				StaticSummary: workflows.Summary(r.Title),
			}, workflows.Approval, p.until(r, now, end))
		},
	}))
	return s
}
