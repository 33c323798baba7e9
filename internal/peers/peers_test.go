package peers

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// fake knows who polls which queue, by their identities, and when they last did, in seconds by its own clock.
type fake map[string]map[string]int64

func (f fake) DescribeTaskQueue(_ context.Context, queue string, kind enumspb.TaskQueueType) (*workflowservice.DescribeTaskQueueResponse, error) {
	if f == nil || kind != enumspb.TASK_QUEUE_TYPE_ACTIVITY {
		return nil, errors.New("away")
	}
	r := &workflowservice.DescribeTaskQueueResponse{}
	for identity, polled := range f[queue] {
		r.Pollers = append(r.Pollers, &taskqueuepb.PollerInfo{Identity: identity, LastAccessTime: &timestamppb.Timestamp{Seconds: polled}})
	}
	return r, nil
}

// poll has somebody poll once more.
func (f fake) poll(queue, identity string) {
	if f[queue] == nil {
		f[queue] = make(map[string]int64)
	}
	f[queue][identity]++
}

const (
	a, b, c = "aaaaa_", "bbbb-b", "cccccc"
	queue   = "queue"
)

func holds(t *testing.T, look func(context.Context, Temporal) (string, error), f fake, want []string) {
	t.Helper()
	wrong, err := look(t.Context(), f)
	if err != nil || (wrong != "") != (want != nil) {
		t.Fatalf("%q, %v, want %q", wrong, err, want)
	}
	for _, s := range want {
		if !strings.Contains(wrong, s) {
			t.Errorf("%q does not say %q", wrong, s)
		}
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		bots, workers []string // what they poll under
		keys          []string // of who looks
		bot, worker   []string // what is said to them; nil: nothing is wrong
	}{
		"nobody":                   {keys: []string{a}},
		"the same":                 {keys: []string{a}, bots: []string{Identity([]string{a})}, workers: []string{Identity([]string{a})}},
		"others":                   {keys: []string{a, b}, bots: []string{Identity([]string{c})}, workers: []string{Identity([]string{c})}, bot: []string{"a worker seals", c, a + ", " + b, "REFERENCE_KEYS"}, worker: []string{"this worker seals", a, c}},
		"one of several":           {keys: []string{a}, bots: []string{Identity([]string{a}), Identity([]string{b})}, workers: []string{Identity([]string{a}), Identity([]string{b})}, bot: []string{b}, worker: []string{b}},
		"a new key as the last":    {keys: []string{a}, bots: []string{Identity([]string{a, b})}, workers: []string{Identity([]string{a, b})}},
		"a new key as the first":   {keys: []string{a, b}, bots: []string{Identity([]string{b, a})}, workers: []string{Identity([]string{b, a})}},
		"the old key is gone here": {keys: []string{b}, bots: []string{Identity([]string{b, a})}, workers: []string{Identity([]string{a, b})}, bot: []string{"a worker seals", a}},
		"who names no keys":        {keys: []string{a}, bots: []string{"1@host@"}, workers: []string{"", "keys=", Identity(nil)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fake{}
			poll := func() {
				for _, identity := range tc.workers {
					f.poll(queue, identity)
				}
				for _, identity := range tc.bots {
					f.poll(BotQueue(queue), identity)
				}
			}
			w := &Watch{TaskQueue: queue, Keys: tc.keys}
			poll()
			holds(t, w.AsBot, f, nil) // They may be gone.
			holds(t, w.AsWorker, f, nil)
			poll()
			holds(t, w.AsBot, f, tc.bot)
			holds(t, w.AsWorker, f, tc.worker)
			if !slices.Equal(w.Keys, tc.keys) {
				t.Errorf("the keys are %q", w.Keys)
			}
		})
	}
	w := &Watch{TaskQueue: queue, Keys: []string{a}}
	for name, look := range map[string]func(context.Context, Temporal) (string, error){"bot": w.AsBot, "worker": w.AsWorker} {
		if wrong, err := look(t.Context(), fake(nil)); wrong != "" || err == nil {
			t.Errorf("%s, while Temporal does not answer: %q, %v", name, wrong, err)
		}
	}
}

// Who polls no more is listed by Temporal for some minutes, and counts no more; whichever clock Temporal has.
func TestGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, w := fake{}, &Watch{TaskQueue: queue, Keys: []string{a}}
		other := Identity([]string{b})
		wrong := []string{"a worker seals", b}
		f.poll(queue, other)
		for range 30 { // It has ended before.
			holds(t, w.AsBot, f, nil)
			time.Sleep(5 * time.Second)
		}
		f.poll(queue, other) // It has not.
		holds(t, w.AsBot, f, wrong)
		time.Sleep(gone - time.Second)
		holds(t, w.AsBot, f, wrong)
		f.poll(queue, other)
		holds(t, w.AsBot, f, wrong)
		time.Sleep(gone)
		holds(t, w.AsBot, f, nil)
		f.poll(queue, other)
		holds(t, w.AsBot, f, wrong)
	})
}
