package telemetry

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.opentelemetry.io/otel/trace"
	"go.temporal.io/sdk/temporal"
)

func TestParent(t *testing.T) {
	t.Parallel()
	if p := Parent(t.Context()); p != "" {
		t.Errorf("where nothing is traced the parent is %q", p)
	}
	const of = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	ctx := Proceed(t.Context(), of)
	if s := trace.SpanContextFromContext(ctx); s.TraceID().String() != "0af7651916cd43dd8448eb211c80319c" || !s.IsRemote() {
		t.Errorf("it goes on as %v", s)
	}
	if p := Parent(ctx); p != of {
		t.Errorf("the parent is %q, want %q", p, of)
	}
	for _, bad := range []string{"", "x", "00-00000000000000000000000000000000-b7ad6b7169203331-01", of[:20]} {
		if trace.SpanContextFromContext(Proceed(t.Context(), bad)).IsValid() {
			t.Errorf("%q is taken for a trace", bad)
		}
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	ofRun := func(run string) (trace.TraceID, trace.SpanID) {
		return ids{}.NewIDs(context.WithValue(t.Context(), seed{}, run))
	}
	t1, s1 := ofRun("a")
	t2, s2 := ofRun("a")
	t3, s3 := ofRun("b")
	switch {
	case !t1.IsValid() || !s1.IsValid():
		t.Errorf("the IDs are %s and %s", t1, s1)
	case t1 != t2 || s1 != s2:
		t.Error("one run has two traces")
	case t1 == t3 || s1 == s3:
		t.Error("two runs share a trace")
	}
	r1, q1 := ids{}.NewIDs(t.Context())
	r2, q2 := ids{}.NewIDs(t.Context())
	if !r1.IsValid() || !q1.IsValid() || r1 == r2 || q1 == q2 {
		t.Errorf("two traces have the IDs %s, %s and %s, %s", r1, q1, r2, q2)
	}
}

// A trace has no text of a request: the messages of application errors are for callers.
func TestTextless(t *testing.T) {
	t.Parallel()
	rejected := temporal.NewApplicationError("rejected by bob: the secret", "Rejected")
	for _, tc := range []struct {
		err  error
		want string
	}{
		{rejected, "Rejected"},
		{fmt.Errorf("run the step: %w", rejected), "Rejected"},
		{errors.New("no route to host"), "no route to host"},
	} {
		if got := textless(tc.err); got != tc.want {
			t.Errorf("%v is traced as %q, want %q", tc.err, got, tc.want)
		}
	}
}
