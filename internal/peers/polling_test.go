package peers

import (
	"slices"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
)

func TestPolling(t *testing.T) {
	t.Parallel()
	f := fake{queue: {"1@host keys=" + a + "," + b: 60, "a worker of another program": 30}}
	all, err := Polling(t.Context(), f, queue, enumspb.TASK_QUEUE_TYPE_ACTIVITY)
	slices.SortFunc(all, func(a, b Poller) int { return b.Polled.Compare(a.Polled) })
	if err != nil || len(all) != 2 || !slices.Equal(all[0].Keys, []string{a, b}) || !all[0].Polled.Equal(time.Unix(60, 0)) || all[0].BuildID != "" || all[1].Keys != nil {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := Polling(t.Context(), fake(nil), queue, enumspb.TASK_QUEUE_TYPE_ACTIVITY); err == nil {
		t.Error("no error from a server that is away")
	}
}
