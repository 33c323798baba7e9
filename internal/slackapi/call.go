package slackapi

import (
	"cmp"
	"context"
	"errors"

	"countersign/internal/telemetry"
)

// call calls one of Slack's methods, measured and traced. Its error is an *Error.
func call[T any](ctx context.Context, method string, do func(context.Context) (T, error)) (v T, err error) {
	if _, ok := methods[method]; !ok {
		panic("slackapi: scopesOf does not say what " + method + " needs")
	}
	ctx, done := telemetry.SlackCall(ctx, method)
	v, err = do(ctx)
	err = classify(method, err)
	done(result(err))
	return v, err
}

// result is what came of a call, in a word: "ok", "limited", "failed", or Slack's word for why it was refused.
func result(err error) string {
	var e *Error
	switch {
	case !errors.As(err, &e):
		return "ok"
	case e.Kind == Limited:
		return "limited"
	case e.Kind == Failed:
		return "failed"
	default:
		return cmp.Or(e.Code, "refused")
	}
}
