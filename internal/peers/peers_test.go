package peers

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// fake knows who polls which queue.
type fake map[string][]*taskqueuepb.PollerInfo

func (f fake) DescribeTaskQueue(_ context.Context, queue string, kind enumspb.TaskQueueType) (*workflowservice.DescribeTaskQueueResponse, error) {
	if f == nil || kind != enumspb.TASK_QUEUE_TYPE_ACTIVITY {
		return nil, errors.New("away")
	}
	return &workflowservice.DescribeTaskQueueResponse{Pollers: f[queue]}, nil
}

func poller(identity string, ago time.Duration) *taskqueuepb.PollerInfo {
	return &taskqueuepb.PollerInfo{Identity: identity, LastAccessTime: timestamppb.New(time.Now().Add(-ago))}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	const a, b, c = "aaaaa_", "bbbb-b", "cccccc"
	has := func(keys ...string) string { return Identity(keys) }
	for name, tc := range map[string]struct {
		bots, workers []*taskqueuepb.PollerInfo
		keys          []string // of who looks
		bot, worker   []string // what the error has; nil: there is none
	}{
		"nobody":                   {keys: []string{a}},
		"the same":                 {keys: []string{a}, bots: []*taskqueuepb.PollerInfo{poller(has(a), 0)}, workers: []*taskqueuepb.PollerInfo{poller(has(a), time.Minute)}},
		"others":                   {keys: []string{a, b}, bots: []*taskqueuepb.PollerInfo{poller(has(c), 0)}, workers: []*taskqueuepb.PollerInfo{poller(has(c), 0)}, bot: []string{"a worker seals", c, a + ", " + b, "REFERENCE_KEYS"}, worker: []string{"this worker seals", a, c}},
		"one of several":           {keys: []string{a}, bots: []*taskqueuepb.PollerInfo{poller(has(a), 0), poller(has(b), 0)}, workers: []*taskqueuepb.PollerInfo{poller(has(a), 0), poller(has(b), 0)}, bot: []string{b}, worker: []string{b}},
		"a new key as the last":    {keys: []string{a}, bots: []*taskqueuepb.PollerInfo{poller(has(a, b), 0)}, workers: []*taskqueuepb.PollerInfo{poller(has(a, b), 0)}},
		"a new key as the first":   {keys: []string{a, b}, bots: []*taskqueuepb.PollerInfo{poller(has(b, a), 0)}, workers: []*taskqueuepb.PollerInfo{poller(has(b, a), 0)}},
		"the old key is gone here": {keys: []string{b}, bots: []*taskqueuepb.PollerInfo{poller(has(b, a), 0)}, workers: []*taskqueuepb.PollerInfo{poller(has(a, b), 0)}, bot: []string{"a worker seals", a}},
		"gone for a while":         {keys: []string{a}, bots: []*taskqueuepb.PollerInfo{poller(has(c), 2*time.Minute)}, workers: []*taskqueuepb.PollerInfo{poller(has(c), 2*time.Minute)}},
		"who names no keys":        {keys: []string{a}, bots: []*taskqueuepb.PollerInfo{poller("1@host@", 0)}, workers: []*taskqueuepb.PollerInfo{poller("", 0), poller("keys=", 0), poller(has(), 0)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fake{"queue": tc.workers, BotQueue("queue"): tc.bots}
			holds := func(check func(context.Context, Temporal, string, []string) (string, error), want []string) {
				t.Helper()
				wrong, err := check(t.Context(), f, "queue", tc.keys)
				if err != nil || (wrong != "") != (want != nil) {
					t.Fatalf("%q, %v, want %q", wrong, err, want)
				}
				for _, s := range want {
					if !strings.Contains(wrong, s) {
						t.Errorf("%q does not say %q", wrong, s)
					}
				}
			}
			holds(CheckBot, tc.bot)
			holds(CheckWorker, tc.worker)
		})
	}
	for name, check := range map[string]func(context.Context, Temporal, string, []string) (string, error){"bot": CheckBot, "worker": CheckWorker} {
		if wrong, err := check(t.Context(), fake(nil), "queue", []string{a}); wrong != "" || err == nil {
			t.Errorf("%s, while Temporal does not answer: %q, %v", name, wrong, err)
		}
	}
}
