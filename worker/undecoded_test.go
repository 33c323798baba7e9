package worker

import (
	"errors"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"

	"countersign/internal/codec"
	"countersign/workflows"
)

// onceOnly decrypts one payload, the input, and then no more.
type onceOnly struct{ decoded *int }

func (onceOnly) Encode(all []*commonpb.Payload) ([]*commonpb.Payload, error) { return all, nil }

func (o onceOnly) Decode(all []*commonpb.Payload) ([]*commonpb.Payload, error) {
	if *o.decoded++; *o.decoded > 1 {
		return nil, errors.New("the codec server is away")
	}
	return all, nil
}

// An attempt that cannot read what the one before it has left posts nothing: the message may be there.
func TestMarkThatCannotBeDecrypted(t *testing.T) {
	w := newWorld(t)
	data, failures := codec.Converters(onceOnly{new(int)})
	w.env.SetDataConverter(data).SetFailureConverter(failures)
	w.env.SetHeartbeatDetails(mark{Posting: time.Now()})
	_, err := w.env.ExecuteActivity(w.PostGreeting, workflows.GreetingMessage{Channel: "C0GENERAL1", Text: "Hello"})
	if err == nil || !strings.Contains(err.Error(), "PayloadCodec") {
		t.Errorf("the attempt ends with %v", err)
	}
	if all := w.sim.Messages("general"); len(all) > 0 {
		t.Errorf("it has posted %+v", all)
	}
}
