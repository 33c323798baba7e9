package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"

	"go.temporal.io/sdk/temporal"

	"countersign/internal/config"
	"countersign/internal/slackapi"
)

func logger(cfg config.Config, w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: cfg.LogLevel, ReplaceAttr: withoutTexts}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// data is a payload in an error of Temporal's SDK, which prints the commands and events of a workflow that it cannot replay.
var data = regexp.MustCompile(`data:"(?:[^"\\]|\\.)*"?`)

// withoutTexts keeps out of the log what requests say. Temporal's SDK logs the errors of activities and of Nexus
// operations, whose messages are for callers and quote what was wrong, payloads of workflows that it cannot replay, and in
// one case an activity's result. All of that is in Temporal, under the workflow_id and the activity that stand in the same
// line.
func withoutTexts(_ []string, a slog.Attr) slog.Attr {
	if a.Key == "Result" {
		return slog.Attr{}
	}
	err, ok := a.Value.Any().(error)
	var app *temporal.ApplicationError
	switch {
	case !ok && a.Key != "PanicError":
		return a
	case !ok || !errors.As(err, &app):
		if s := a.Value.String(); data.MatchString(s) {
			return slog.String(a.Key, data.ReplaceAllString(s, "data:…"))
		}
		return a
	}
	text := app.Type()
	var e *slackapi.Error
	if errors.As(err, &e) {
		text += ": " + e.Error()
	}
	return slog.String(a.Key, fmt.Sprintf("%s (the message is in Temporal)", text))
}
