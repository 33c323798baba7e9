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
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
)

// gone is how long after its last poll a process counts as gone. A poll lasts a minute, and Temporal lists those of the
// last five. https://docs.temporal.io/task-queue
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

// CheckBot says what is wrong where a worker that polls seals with a key that is not among keys, which are those of a bot.
// An error means that it could not be looked up.
func CheckBot(ctx context.Context, t Temporal, taskQueue string, keys []string) (wrong string, err error) {
	workers, err := polling(ctx, t, taskQueue)
	for _, theirs := range workers {
		if !slices.Contains(keys, theirs[0]) {
			return fmt.Sprintf("a worker seals buttons with the key %s, and this bot has only %s: give bots and workers the same REFERENCE_KEYS",
				theirs[0], strings.Join(keys, ", ")), nil
		}
	}
	return "", err
}

// CheckWorker says what is wrong where a bot that polls lacks the first of keys, with which a worker seals. An error means
// that it could not be looked up.
func CheckWorker(ctx context.Context, t Temporal, taskQueue string, keys []string) (wrong string, err error) {
	bots, err := polling(ctx, t, BotQueue(taskQueue))
	for _, theirs := range bots {
		if !slices.Contains(theirs, keys[0]) {
			return fmt.Sprintf("this worker seals buttons with the key %s, and a bot has only %s: give bots and workers the same REFERENCE_KEYS",
				keys[0], strings.Join(theirs, ", ")), nil
		}
	}
	return "", err
}

// polling are the keys of those who poll for activities. Who does not name any, a worker of another program say, is left
// out.
func polling(ctx context.Context, t Temporal, taskQueue string) (all [][]string, err error) {
	r, err := t.DescribeTaskQueue(ctx, taskQueue, enumspb.TASK_QUEUE_TYPE_ACTIVITY)
	if err != nil {
		return nil, fmt.Errorf("look up who polls the task queue %s: %w", taskQueue, err)
	}
	for _, p := range r.GetPollers() {
		if m := identity.FindStringSubmatch(p.GetIdentity()); m != nil && time.Since(p.GetLastAccessTime().AsTime()) < gone {
			all = append(all, strings.Split(m[1], ","))
		}
	}
	return all, nil
}

// Show has the workers of a deployment see a bot with the keys of those IDs, until stop is called.
func Show(c client.Client, taskQueue string, keys []string) (stop func(), err error) {
	w := worker.New(c, BotQueue(taskQueue), worker.Options{
		Identity:                         Identity(keys),
		DisableWorkflowWorker:            true,
		MaxConcurrentActivityTaskPollers: 1,
	})
	// The SDK polls only where there is an activity.
	w.RegisterActivityWithOptions(func() error { return nil }, activity.RegisterOptions{Name: "Nothing"})
	return w.Stop, w.Start()
}
