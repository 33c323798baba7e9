package codec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/nexus-rpc/sdk-go/nexus"

	commonpb "go.temporal.io/api/common/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/proto"

	"countersign/internal/reference"
)

// away is a codec whose server does not answer.
type away struct{}

var errAway = errors.New("no answer")

func (away) Encode(all []*commonpb.Payload) ([]*commonpb.Payload, error) { return all, errAway }
func (away) Decode(all []*commonpb.Payload) ([]*commonpb.Payload, error) { return all, errAway }

// inWorkflow is the data converter as a workflow has it.
func inWorkflow(d converter.DataConverter) converter.DataConverter {
	return d.(workflow.ContextAware).WithWorkflowContext(nil)
}

// ofActivity is the failure converter as it is used for activities.
func ofActivity(f converter.FailureConverter) converter.FailureConverter {
	return converter.WithFailureConverterSerializationContext(f, converter.ActivitySerializationContext{})
}

// panics runs do and returns the error that it panics with.
func panics(t *testing.T, do func()) (err error) {
	t.Helper()
	defer func() {
		err, _ = recover().(error)
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, errAway) {
			t.Errorf("it panics with %v, want the error of the codec", err)
		}
	}()
	do()
	return nil
}

func rejection() error {
	return temporal.NewApplicationErrorWithOptions("because of "+word, "Rejected", temporal.ApplicationErrorOptions{
		NonRetryable: true, Details: []any{map[string]string{"reason": word}}, Cause: errors.New(word),
	})
}

// What people wrote is neither in a failure's message nor in its details, and the type can be read without a key.
func TestFailures(t *testing.T) {
	t.Parallel()
	_, failures := Converters(keyed(t, reference.NewKey()))
	for name, converter := range map[string]converter.FailureConverter{"of a workflow": failures, "of an activity": ofActivity(failures)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := converter.ErrorToFailure(rejection())
			b, err := proto.Marshal(f)
			if err != nil || bytes.Contains(b, []byte(word)) || f.GetApplicationFailureInfo().GetType() != "Rejected" {
				t.Errorf("the failure is %q, %v", b, err)
			}
			var app *temporal.ApplicationError
			var details map[string]string
			if err := converter.FailureToError(f); !errors.As(err, &app) || app.Message() != "because of "+word ||
				app.Details(&details) != nil || details["reason"] != word || errors.Unwrap(app).Error() != word {
				t.Errorf("it is read as %v with %v, because of %v", err, details, errors.Unwrap(app))
			}
		})
	}
}

// A client is told; a workflow's task is tried again, and an activity's attempt and a Nexus operation's start are.
func TestCodecAway(t *testing.T) {
	t.Parallel()
	data, failures := Converters(away{})
	sealed := &commonpb.Payloads{Payloads: []*commonpb.Payload{{Data: []byte("x")}}}
	var e *Error
	var s string

	t.Run("a client", func(t *testing.T) {
		t.Parallel()
		_, err := data.ToPayloads(word)
		for what, err := range map[string]error{
			"encrypts": err, "decrypts": data.FromPayloads(sealed, &s), "decrypts one": data.FromPayload(sealed.GetPayloads()[0], &s),
			"decrypts in its context": data.(workflow.ContextAware).WithContext(context.Background()).FromPayloads(sealed, &s),
		} {
			if !errors.As(err, &e) || !errors.Is(err, errAway) {
				t.Errorf("a client that %s is told %v", what, err)
			}
		}
	})
	t.Run("a workflow", func(t *testing.T) {
		t.Parallel()
		d := inWorkflow(data)
		panics(t, func() { _, _ = d.ToPayload(word) })
		panics(t, func() { _, _ = d.ToPayloads(word) })
		panics(t, func() { _ = d.FromPayload(sealed.GetPayloads()[0], &s) })
		panics(t, func() { _ = d.FromPayloads(sealed, &s) })
	})
	t.Run("an activity", func(t *testing.T) {
		t.Parallel()
		_, err := data.ToPayloads(word)
		f := ofActivity(failures).ErrorToFailure(fmt.Errorf("start it: %w", err))
		b, err := proto.Marshal(f)
		if err != nil || f.GetApplicationFailureInfo().GetNonRetryable() || f.GetApplicationFailureInfo().GetType() != "PayloadCodec" || bytes.Contains(b, []byte(errAway.Error())) {
			t.Errorf("its attempt ends with %v, %v", f, err)
		}
	})
	t.Run("a Nexus operation", func(t *testing.T) {
		t.Parallel()
		_, err := data.ToPayloads(word)
		var h *nexus.HandlerError
		if !errors.As(err, &h) || h.Type != nexus.HandlerErrorTypeUnavailable {
			t.Errorf("it is refused with %v", err)
		}
	})
	// The SDK has no error for these, or would send plain text.
	t.Run("nothing is sent in its place", func(t *testing.T) {
		t.Parallel()
		memo, err := data.ToPayload(word)
		if err != nil {
			t.Error(err)
		}
		for what, m := range map[string]proto.Message{
			"a memo": memo, "a failure": failures.ErrorToFailure(rejection()),
			"an activity's failure": ofActivity(failures).ErrorToFailure(rejection()),
			"no more than a word":   ofActivity(failures).ErrorToFailure(errors.New(word)),
		} {
			if b, err := proto.Marshal(m); err == nil {
				t.Errorf("%s can be sent: %q", what, b)
			}
		}
	})
	t.Run("a failure is not read as another", func(t *testing.T) {
		t.Parallel()
		_, sound := Converters(keyed(t, reference.NewKey()))
		f := sound.ErrorToFailure(rejection())
		panics(t, func() { _ = ofActivity(failures).FailureToError(proto.CloneOf(f)) })
		// A client can tell.
		var app *temporal.ApplicationError
		if err := failures.FailureToError(proto.CloneOf(f)); !errors.As(err, &app) || !errors.As(app.Details(&s), &e) {
			t.Errorf("a client is told %v", err)
		}
		// The details alone, as they come with an activity that was failed by one who does not encrypt messages.
		panics(t, func() {
			err := ofActivity(failures).FailureToError(&failurepb.Failure{FailureInfo: &failurepb.Failure_ApplicationFailureInfo{
				ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{Type: "Rejected", Details: sealed},
			}})
			if errors.As(err, &app) {
				_ = app.Details(&s)
			}
		})
	})
}

// What can be decrypted, and is something else than was expected, is an ordinary error everywhere.
func TestOfAnotherType(t *testing.T) {
	t.Parallel()
	data, failures := Converters(keyed(t, reference.NewKey()))
	all, err := data.ToPayloads(word)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	var e *Error
	for name, d := range map[string]converter.DataConverter{"a client": data, "a workflow": inWorkflow(data)} {
		if err := d.FromPayloads(all, &n); err == nil || errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := d.ToPayloads(make(chan int)); err == nil || errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var app *temporal.ApplicationError
	if err := ofActivity(failures).FailureToError(failures.ErrorToFailure(rejection())); !errors.As(err, &app) || app.Details(&n) == nil {
		t.Errorf("%v has a number", err)
	}
}
