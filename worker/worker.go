// Package worker does the steps that the workflows schedule: it prepares requests by the operator's policy
// (prepare.go), opens activities and reports their end (activities.go), posts cards and draws them anew (card.go),
// writes in their threads and closes them (close.go). Every message goes out by post.go, once. It asks for the activities
// of other workflows (caller.go) and for other namespaces (nexus.go). All it keeps between two attempts of a step are that
// step's heartbeat details in Temporal.
//
// Another program's worker has it all by [Connect] and [Register].
package worker

import (
	"log/slog"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"countersign/internal/peers"
	"countersign/internal/record"
	"countersign/internal/reference"
	"countersign/internal/slackapi"
	"countersign/workflows"
)

// StopTimeout is how long a stopping worker lets its activities finish: longer than the longest call to Slack, so that
// none is cut off between a post and its record.
const StopTimeout = slackapi.Timeout + 5*time.Second

// DeadlockDetectionTimeout is how long a step of a workflow may compute: on a busy machine it can take more than the SDK's
// second to encode the largest request, and nothing here blocks.
const DeadlockDetectionTimeout = 10 * time.Second

// Deps is what the activities work with. All fields are needed; another program makes them with [Connect].
type Deps struct {
	Temporal client.Client
	// Records reads from that client's namespace.
	Records record.Reader
	Slack   *slackapi.Client
	Keys    *reference.Keys
	Policy  Policy
	Log     *slog.Logger
}

// Options are how a worker of [New] takes its tasks.
type Options struct {
	TaskQueue string
	// Version is as which version of which Worker Deployment it takes them; the zero value means that it is not versioned.
	// https://docs.temporal.io/worker-versioning
	Version worker.WorkerDeploymentVersion
	// Fatal is called where it cannot go on.
	Fatal func(error)
}

// New returns a worker that has everything registered and is not yet started.
func New(d Deps, o Options) worker.Worker {
	w := worker.New(d.Temporal, o.TaskQueue, worker.Options{
		Identity:                    peers.Identity(d.Keys.IDs()),
		WorkerStopTimeout:           StopTimeout,
		DeadlockDetectionTimeout:    DeadlockDetectionTimeout,
		DisableRegistrationAliasing: true,
		OnFatalError:                o.Fatal,
		DeploymentOptions: worker.DeploymentOptions{
			UseVersioning: o.Version != worker.WorkerDeploymentVersion{}, Version: o.Version,
		},
	})
	Register(w, d)
	return w
}

// Register registers the workflows, the activities under the names that package workflows gives them, and the Nexus
// service, on any worker. Its workflows can ask with [workflows.Requests.Ask] then. A bot that serves the same Slack app,
// with the worker's namespace, task queue and keys, takes the clicks. The worker should be given [StopTimeout], so that
// no message is cut off between Slack's answer and its record, and [DeadlockDetectionTimeout]. On a versioned worker these
// workflows go on with whichever version is current: pinned, they would keep a worker of theirs for up to a year.
func Register(w worker.Registry, d Deps) {
	// A worker that is not versioned takes no notice of it.
	o := workflow.RegisterOptions{VersioningBehavior: workflow.VersioningBehaviorAutoUpgrade}
	w.RegisterWorkflowWithOptions(workflows.Greeting, o)
	w.RegisterWorkflowWithOptions(workflows.Approval, o)
	w.RegisterWorkflowWithOptions(workflows.ApprovalForCaller, o)
	w.RegisterWorkflowWithOptions(workflows.CloseCardLater, o)
	w.RegisterActivity(&Activities{d})
	w.RegisterNexusService(newNexusService(d.Policy))
}
