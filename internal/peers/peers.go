// Package peers has the bots and workers of a deployment see one another's keys: a button that a worker seals with a key
// which a bot lacks cannot be decided there. They meet in Temporal alone. Each polls there under an identity that names
// its keys, and looks under which the others poll. A bot has no tasks to poll for, so it polls a task queue on which there
// are none.
package peers

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
)

// gone is how long after its last poll a process counts as gone: a poll lasts a minute.
const gone = 80 * time.Second

// Identity is under what a process polls that has the keys of those IDs.
func Identity(keys []string) string {
	host, _ := os.Hostname() // It is for people. What is read of it is the keys.
	return fmt.Sprintf("%d@%s keys=%s", os.Getpid(), host, strings.Join(keys, ","))
}

var identity = regexp.MustCompile(` keys=([\w,-]+)$`)

// BotQueue is the task queue that the bots poll, in a deployment with that task queue.
func BotQueue(taskQueue string) string { return taskQueue + "-bots" }

// Temporal is what is asked; a client.Client is one.
type Temporal interface {
	DescribeTaskQueue(ctx context.Context, taskQueue string, kind enumspb.TaskQueueType) (*workflowservice.DescribeTaskQueueResponse, error)
}

// Watch looks for those whose keys do not fit. Only who has polled since the first look counts, for Temporal lists for some
// minutes who is gone. So what is wrong shows within a minute, and with the next task of a worker at the latest. A Watch is
// not for concurrent use.
type Watch struct {
	// TaskQueue is the deployment's. Keys are the IDs of the keys of who looks.
	TaskQueue string
	Keys      []string

	seen map[string]sighting // by queue and identity
}

// sighting is when somebody was seen to poll: by the server's clock, which may be another than ours, and by ours, when that
// was seen to have changed.
type sighting struct{ polled, moved time.Time }

// AsBot says what is wrong where a worker seals with a key that is not among w.Keys, which are those of a bot. An error
// means that it could not be looked up.
func (w *Watch) AsBot(ctx context.Context, t Temporal) (wrong string, err error) {
	workers, err := w.polling(ctx, t, w.TaskQueue)
	for _, theirs := range workers {
		if !slices.Contains(w.Keys, theirs[0]) {
			return fmt.Sprintf("a worker seals buttons with the key %s, and this bot has only %s: give bots and workers the same REFERENCE_KEYS",
				theirs[0], strings.Join(w.Keys, ", ")), nil
		}
	}
	return "", err
}

// AsWorker says what is wrong where a bot lacks the first of w.Keys, with which a worker seals. An error means that it
// could not be looked up.
func (w *Watch) AsWorker(ctx context.Context, t Temporal) (wrong string, err error) {
	bots, err := w.polling(ctx, t, BotQueue(w.TaskQueue))
	for _, theirs := range bots {
		if !slices.Contains(theirs, w.Keys[0]) {
			return fmt.Sprintf("this worker seals buttons with the key %s, and a bot has only %s: give bots and workers the same REFERENCE_KEYS",
				w.Keys[0], strings.Join(theirs, ", ")), nil
		}
	}
	return "", err
}

// Poller is who polls a task queue, or did so some minutes ago.
type Poller struct {
	Identity string
	Keys     []string  // their IDs; none of who does not name any, a worker of another program say
	Polled   time.Time // when they last began to, by the server's clock; a poll lasts a minute
	BuildID  string    // as which version of a Worker Deployment they poll; empty: none
}

// Polling lists who polls a task queue for tasks of a kind.
func Polling(ctx context.Context, t Temporal, taskQueue string, kind enumspb.TaskQueueType) ([]Poller, error) {
	r, err := t.DescribeTaskQueue(ctx, taskQueue, kind)
	if err != nil {
		return nil, fmt.Errorf("look up who polls the task queue %s: %w", taskQueue, err)
	}
	var all []Poller
	for _, p := range r.GetPollers() {
		who := Poller{Identity: p.GetIdentity(), Polled: p.GetLastAccessTime().AsTime()}
		if o := p.GetDeploymentOptions(); o.GetWorkerVersioningMode() == enumspb.WORKER_VERSIONING_MODE_VERSIONED {
			who.BuildID = o.GetBuildId()
		}
		if m := identity.FindStringSubmatch(who.Identity); m != nil {
			who.Keys = strings.Split(m[1], ",")
		}
		all = append(all, who)
	}
	return all, nil
}

// polling are the keys of those who poll for activities. Who does not name any is left out.
func (w *Watch) polling(ctx context.Context, t Temporal, taskQueue string) (all [][]string, err error) {
	pollers, err := Polling(ctx, t, taskQueue, enumspb.TASK_QUEUE_TYPE_ACTIVITY)
	if err != nil {
		return nil, err
	}
	if w.seen == nil {
		w.seen = make(map[string]sighting)
	}
	for _, p := range pollers {
		if len(p.Keys) == 0 {
			continue
		}
		name := taskQueue + " " + p.Identity
		s, known := w.seen[name]
		if known && p.Polled.After(s.polled) {
			s.moved = time.Now()
		}
		s.polled = p.Polled
		w.seen[name] = s
		if !s.moved.IsZero() && time.Since(s.moved) < gone {
			all = append(all, p.Keys)
		}
	}
	return all, nil
}

// Show has the workers of a deployment see a bot with the keys of those IDs, until stop is called, which waits for the end of
// it. It tries until Temporal lets it, and tells failed of each time that Temporal does not.
func Show(ctx context.Context, c client.Client, taskQueue string, keys []string, failed func(error)) (stop func()) {
	ctx, end := context.WithCancel(context.WithoutCancel(ctx))
	var showing sync.WaitGroup
	showing.Go(func() {
		w, err := backoff.Retry(ctx, func() (worker.Worker, error) {
			w := worker.New(c, BotQueue(taskQueue), worker.Options{
				Identity:                         Identity(keys),
				DisableWorkflowWorker:            true,
				MaxConcurrentActivityTaskPollers: 1,
			})
			// The SDK polls only where there is an activity.
			w.RegisterActivityWithOptions(func() error { return nil }, activity.RegisterOptions{Name: "Nothing"})
			return w, w.Start()
		}, backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, _ time.Duration) { failed(err) }))
		if err != nil {
			return // It was stopped.
		}
		<-ctx.Done()
		w.Stop()
	})
	return func() {
		end()
		showing.Wait()
	}
}
