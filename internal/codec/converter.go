package codec

import (
	"context"
	"errors"

	"github.com/nexus-rpc/sdk-go/nexus"
	commonpb "go.temporal.io/api/common/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Error says that a payload could not be encrypted or decrypted: its key is missing here, say, or the codec server does
// not answer. It may go well later, or elsewhere.
type Error struct{ err error }

func (e *Error) Error() string { return "payload codec: " + e.err.Error() }

func (e *Error) Unwrap() error { return e.err }

// Undecoded tells this error from that of a payload which was decrypted, and is something else than was expected.
func (*Error) Undecoded() bool { return true }

// As makes it an error of Nexus with which Temporal gives the task again. The SDK would say that the caller's request is
// bad, which is final.
func (e *Error) As(target any) bool {
	h, ok := target.(**nexus.HandlerError)
	if ok {
		*h = nexus.NewHandlerErrorf(nexus.HandlerErrorTypeUnavailable, "%s", e.Error())
	}
	return ok
}

// Converters are those of a client and its workers whose payloads go through c. The messages of failures do too, for they
// have what people wrote. https://docs.temporal.io/failure-converter
//
// An [Error] ends nothing but the attempt: in a workflow it is a panic, with which Temporal gives the task again, and an
// activity's attempt fails with it, to be made again. No plain text is sent in place of what could not be encrypted.
// Without this the SDK would fail the workflow, leave out what it cannot read, and store a memo as it is.
func Converters(c converter.PayloadCodec) (converter.DataConverter, converter.FailureConverter) {
	through := converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), marked{c})
	own, ok := c.(Codec)
	failures := func(d data) converter.FailureConverter {
		return temporal.NewDefaultFailureConverter(temporal.DefaultFailureConverterOptions{
			DataConverter: d, EncodeCommonAttributes: !ok || own.Keys != nil,
		})
	}
	// c may ask a server, and do so for longer than a workflow may compute.
	return workflow.DataConverterWithoutDeadlockDetection(data{DataConverter: through}), failureConverter{
		FailureConverter: failures(data{DataConverter: through, unsent: true}),
		inTask:           failures(data{DataConverter: through, unsent: true, inTask: true}),
	}
}

// marked makes the errors of a codec known as such.
type marked struct{ converter.PayloadCodec }

func (m marked) Encode(all []*commonpb.Payload) ([]*commonpb.Payload, error) {
	return mark(m.PayloadCodec.Encode(all))
}

func (m marked) Decode(all []*commonpb.Payload) ([]*commonpb.Payload, error) {
	return mark(m.PayloadCodec.Decode(all))
}

func mark(all []*commonpb.Payload, err error) ([]*commonpb.Payload, error) {
	if err != nil {
		return nil, &Error{err}
	}
	return all, nil
}

// data is a data converter that knows where it is used.
type data struct {
	converter.DataConverter
	inTask bool // A workflow runs: an Error is a panic.
	unsent bool // What cannot be encrypted is, in place of an error, something that cannot be sent.
}

// WithWorkflowContext implements [workflow.ContextAware].
func (d data) WithWorkflowContext(workflow.Context) converter.DataConverter {
	d.inTask = true
	return d
}

// WithContext implements [workflow.ContextAware].
func (d data) WithContext(context.Context) converter.DataConverter { return d }

func (d data) ToPayload(value any) (*commonpb.Payload, error) {
	p, err := d.DataConverter.ToPayload(value)
	if d.failed(err) { // To an error here the SDK answers with the memo in plain text.
		return unsendable(), nil
	}
	return p, err
}

func (d data) ToPayloads(values ...any) (*commonpb.Payloads, error) {
	all, err := d.DataConverter.ToPayloads(values...)
	if d.failed(err) && d.unsent {
		return &commonpb.Payloads{Payloads: []*commonpb.Payload{unsendable()}}, nil
	}
	return all, err
}

func (d data) FromPayload(p *commonpb.Payload, value any) error {
	err := d.DataConverter.FromPayload(p, value)
	d.failed(err)
	return err
}

func (d data) FromPayloads(all *commonpb.Payloads, values ...any) error {
	err := d.DataConverter.FromPayloads(all, values...)
	d.failed(err)
	return err
}

// failed tells whether err is an Error.
func (d data) failed(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	if d.inTask {
		panic(e)
	}
	return true
}

// unsendable is a payload with which a call to Temporal fails before it is made: a string of protobuf has to be UTF-8.
func unsendable() *commonpb.Payload {
	return &commonpb.Payload{Metadata: map[string][]byte{"the payload codec failed\xff": nil}}
}

// failureConverter converts the failures of activities, as a workflow sees them, with inTask.
type failureConverter struct {
	converter.FailureConverter
	inTask converter.FailureConverter
}

// WithSerializationContext implements [converter.FailureConverterWithSerializationContext].
func (f failureConverter) WithSerializationContext(c converter.SerializationContext) converter.FailureConverter {
	if _, ok := c.(converter.ActivitySerializationContext); ok {
		return activityFailures{f}
	}
	return f
}

// activityFailures reads a failure where a workflow runs: nobody else reads an activity's. Everybody writes one.
type activityFailures struct{ failureConverter }

func (f activityFailures) FailureToError(failure *failurepb.Failure) error {
	return f.inTask.FailureToError(failure)
}

// ErrorToFailure says of an attempt that ended with an Error no more than that: what it would say otherwise cannot be
// encrypted, and the attempt would seem to go on.
func (f activityFailures) ErrorToFailure(err error) *failurepb.Failure {
	var e *Error
	if !errors.As(err, &e) {
		return f.FailureConverter.ErrorToFailure(err)
	}
	return &failurepb.Failure{
		Message: "a payload could not be encrypted or decrypted: the log says why",
		FailureInfo: &failurepb.Failure_ApplicationFailureInfo{
			ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{Type: "PayloadCodec"},
		},
	}
}
