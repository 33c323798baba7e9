package telemetry

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"

	temporalotel "go.temporal.io/sdk/contrib/opentelemetry"
)

var tracer = otel.Tracer(scope)

// parent is the form of a span's context in a button: W3C's traceparent. https://www.w3.org/TR/trace-context/
var parent = propagation.TraceContext{}

const traceparent = "traceparent"

// Parent is the span that ctx has, for [Decide]; empty where nothing is traced.
func Parent(ctx context.Context) string {
	c := propagation.MapCarrier{}
	parent.Inject(ctx, c)
	return c[traceparent]
}

// Proceed is ctx with the span that [Parent] gave as its parent. Anything else changes nothing.
func Proceed(ctx context.Context, of string) context.Context {
	if of == "" {
		return ctx
	}
	return parent.Extract(ctx, propagation.MapCarrier{traceparent: of})
}

// Decide traces a decision that somebody makes about an open activity, as a part of the trace that [Parent] gave; empty: of
// one of its own. done takes what came of it, in a word.
func Decide(ctx context.Context, of, outcome, workflowID, runID, activityID string) (_ context.Context, done func(result string)) {
	ctx, s := tracer.Start(Proceed(ctx, of), "Decide:"+outcome, trace.WithSpanKind(trace.SpanKindConsumer), ofActivity(workflowID, runID, activityID))
	return ctx, func(result string) {
		s.SetAttributes(attribute.String("countersign.result", result))
		s.End()
	}
}

// Commit traces the completion of an open activity.
func Commit(ctx context.Context, workflowID, runID, activityID string) (_ context.Context, done func(error)) {
	ctx, s := tracer.Start(ctx, "CompleteActivity", trace.WithSpanKind(trace.SpanKindClient), ofActivity(workflowID, runID, activityID))
	return ctx, func(err error) {
		if err != nil {
			s.SetStatus(codes.Error, textless(err))
		}
		s.End()
	}
}

// ofActivity are the attributes of a span about an open activity, by the names that Temporal's SDK gives them.
func ofActivity(workflowID, runID, activityID string) trace.SpanStartOption {
	return trace.WithAttributes(
		attribute.String(workflowKey, workflowID),
		attribute.String(runKey, runID),
		attribute.String("temporalActivityID", activityID),
	)
}

const (
	workflowKey = "temporalWorkflowID"
	runKey      = "temporalRunID"
)

// SlackCall measures a call to Slack, and traces it where it is a part of something that is traced. done takes what came
// of it, in a word.
func SlackCall(ctx context.Context, method string) (_ context.Context, done func(result string)) {
	begun := time.Now()
	s := trace.Span(nil)
	if trace.SpanContextFromContext(ctx).IsValid() {
		ctx, s = tracer.Start(ctx, "slack "+method, trace.WithSpanKind(trace.SpanKindClient))
	}
	return ctx, func(result string) {
		slackCalls.Record(ctx, time.Since(begun).Seconds(), metric.WithAttributeSet(attribute.NewSet(
			attribute.String("method", method), attribute.String("result", result))))
		if s == nil {
			return
		}
		s.SetAttributes(attribute.String("slack.result", result))
		if result != "ok" {
			s.SetStatus(codes.Error, result)
		}
		s.End()
	}
}

// textless is an error without what requests say: the messages of Temporal's application errors are for callers, and quote
// them.
func textless(err error) string {
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		return app.Type()
	}
	return err.Error()
}

// tracing is the SDK's tracing, of workflows and activities.
func tracing() (interceptor.Interceptor, error) {
	t, err := temporalotel.NewTracer(temporalotel.TracerOptions{
		AllowInvalidParentSpans: true,
		DisableBaggage:          true, // It is for services that are called, and would stand readable in every step's header.
		DisableQueryTracing:     true,
		SpanStarter: func(ctx context.Context, t trace.Tracer, name string, opts ...trace.SpanStartOption) trace.Span {
			_, s := t.Start(ctx, name, opts...)
			return span{s}
		},
	})
	if err != nil {
		return nil, err
	}
	return interceptor.NewTracingInterceptor(joined{t}), nil
}

// span is a span of the SDK's tracing, without texts of requests, and without an error where an activity stays open.
type span struct{ trace.Span }

func (s span) RecordError(err error, _ ...trace.EventOption) {
	if err != nil && err != activity.ErrResultPending { // It is never wrapped.
		s.AddEvent("error", trace.WithAttributes(attribute.String("error", textless(err))))
	}
}

func (s span) SetStatus(code codes.Code, text string) {
	if text != activity.ErrResultPending.Error() {
		s.Span.SetStatus(code, "")
	}
}

// joined has all that a workflow does in one trace where its caller is not traced. The SDK begins a trace with each process
// that takes a workflow over, which may be weeks later.
type joined struct{ interceptor.Tracer }

func (j joined) StartSpan(o *interceptor.TracerStartSpanOptions) (interceptor.TracerSpan, error) {
	if run := o.Tags[runKey]; o.FromHeader && o.Parent == nil && run != "" {
		root := context.WithValue(context.Background(), seed{}, run) // It is nobody's child.
		ctx, s := tracer.Start(root, "Request",
			trace.WithNewRoot(), trace.WithTimestamp(o.Time))
		if o.Operation == "RunWorkflow" { // The others, and what is replayed, are parts of the same.
			s.SetAttributes(attribute.String(workflowKey, o.Tags[workflowKey]), attribute.String(runKey, run))
			s.End(trace.WithTimestamp(o.Time))
		}
		if ref, err := j.UnmarshalSpan(map[string]string{traceparent: Parent(ctx)}); err == nil && ref != nil {
			o.Parent = ref
		}
	}
	return j.Tracer.StartSpan(o)
}

// seed is the key under which a context has what the IDs of a trace are made of.
type seed struct{}

// ids makes the IDs of traces and spans: at random, but where a context has their seed.
type ids struct{}

func (g ids) NewIDs(ctx context.Context) (t trace.TraceID, s trace.SpanID) {
	run, ok := ctx.Value(seed{}).(string)
	if !ok {
		_, _ = rand.Read(t[:]) // It never fails.
		return t, g.NewSpanID(ctx, t)
	}
	sum := sha256.Sum256([]byte(run))
	copy(t[:], sum[:])
	copy(s[:], sum[len(t):])
	return t, s
}

func (ids) NewSpanID(context.Context, trace.TraceID) (s trace.SpanID) {
	_, _ = rand.Read(s[:])
	return s
}
