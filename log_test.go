package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"

	"countersign/internal/config"
	"countersign/internal/slackapi"
	"countersign/internal/slacksim"
	"countersign/workflows"
)

// refusal is what Slack answers to a token that it does not know.
func refusal(t *testing.T) *slackapi.Error {
	t.Helper()
	sim := slacksim.New(slacksim.Options{})
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	t.Cleanup(sim.Close)
	_, err := slackapi.Connect(t.Context(), slack.New("xoxb-wrong", slack.OptionAPIURL(srv.URL+"/api/")), http.DefaultClient)
	e := slackapi.AsUnauthorized(err)
	if e == nil {
		t.Fatalf("Connect: %v, want a refusal", err)
	}
	return e
}

// What requests say is not in the log, in either format; what went wrong is.
func TestLogIsWithoutTexts(t *testing.T) {
	t.Parallel()
	const secret = "Fire <@U0BOB00001> on Monday"
	refused := refusal(t)
	invalid := workflows.InvalidRequestError("The title is too long: " + secret)
	for name, tc := range map[string]struct {
		key   string
		value any
		want  string // empty: the attribute is gone
	}{
		"an error of an activity":             {"Error", invalid, "InvalidRequest (the message is in Temporal)"},
		"a wrapped one":                       {"err", fmt.Errorf("post %q: %w", secret, invalid), "InvalidRequest (the message is in Temporal)"},
		"one without a type":                  {"Error", temporal.NewApplicationError(secret, ""), " (the message is in Temporal)"},
		"one with details":                    {"Error", workflows.RejectedError(workflows.Decision{Outcome: workflows.Rejected, Reason: secret}), "Rejected (the message is in Temporal)"},
		"one that Slack caused":               {"Error", temporal.NewApplicationErrorWithOptions(secret, "SlackRefused", temporal.ApplicationErrorOptions{Cause: fmt.Errorf("post: %w", refused)}), "SlackRefused: " + refused.Error() + " (the message is in Temporal)"},
		"one with another cause":              {"Error", temporal.NewApplicationErrorWithCause(secret, "Later", errors.New(secret)), "Later (the message is in Temporal)"},
		"an activity's result":                {"Result", secret, ""},
		"a result that is an error":           {"Result", errors.New(secret), ""},
		"an error of Slack":                   {"err", refused, refused.Error()},
		"an error of Temporal":                {"err", serviceerror.NewUnavailable("temporal is away"), "temporal is away"},
		"another error":                       {"Error", errors.New("connection refused"), "connection refused"},
		"no error":                            {"workflow_id", "greet-1", "greet-1"},
		"a key that is like that of a result": {"result", "kept", "kept"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// log is what one line says in that format, with the attribute as it stands and in a logger of its own.
			log := func(format string) string {
				var b bytes.Buffer
				l := logger(config.Config{LogFormat: format}, &b)
				l.Error("activity error", "activity_id", "7", tc.key, tc.value)
				l.With(tc.key, tc.value).Warn("activity error")
				return b.String()
			}
			text, asJSON := log("text"), log("json")
			for _, said := range []string{text, asJSON} {
				if strings.Contains(said, "Monday") || strings.Contains(said, "Fire") {
					t.Errorf("the log has what the request says:\n%s", said)
				}
			}
			lines := json.NewDecoder(strings.NewReader(asJSON))
			n := 0
			for ; ; n++ {
				var line map[string]any
				if err := lines.Decode(&line); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				got, ok := line[tc.key]
				if ok != (tc.want != "") || ok && got != tc.want || line["msg"] != "activity error" {
					t.Errorf("logged %v, want %q", line, tc.want)
				}
			}
			if n != 2 {
				t.Errorf("%d lines, want 2", n)
			}
			// slog's own way to write what is wanted.
			var b bytes.Buffer
			if tc.want != "" {
				slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
					if a.Key == tc.key {
						return a
					}
					return slog.Attr{}
				}})).Error("", tc.key, tc.want)
			}
			want := strings.TrimSpace(b.String())
			for line := range strings.Lines(text) {
				if !strings.Contains(line, want) || tc.want == "" && strings.Contains(line, tc.key+"=") {
					t.Errorf("logged %s, want %q", line, want)
				}
			}
		})
	}
}

func TestLogLevelAndFormat(t *testing.T) {
	t.Parallel()
	got := make(map[string]bool)
	for _, format := range []string{"text", "json"} {
		var b bytes.Buffer
		l := logger(config.Config{LogFormat: format, LogLevel: slog.LevelWarn}, &b)
		l.Info("quiet")
		l.Warn("loud")
		got[format] = json.Valid(b.Bytes())
		if strings.Contains(b.String(), "quiet") || !strings.Contains(b.String(), "loud") {
			t.Errorf("%s: logged %s", format, &b)
		}
	}
	if diff := cmp.Diff(map[string]bool{"text": false, "json": true}, got); diff != "" {
		t.Errorf("is JSON (-want +got):\n%s", diff)
	}
}
