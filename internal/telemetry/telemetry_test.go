package telemetry

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
)

// clear has no variable of OpenTelemetry's set but those given.
func clear(t *testing.T, set map[string]string) {
	t.Helper()
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "") // which counts as not set
		}
	}
	for name, value := range set {
		t.Setenv(name, value)
	}
}

func TestStart(t *testing.T) {
	for name, tc := range map[string]struct {
		env              map[string]string
		scrape           bool
		measures, traces bool
		wrong            string
	}{
		"nothing is asked for":         {},
		"a scrape":                     {scrape: true, measures: true},
		"an endpoint":                  {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, measures: true, traces: true},
		"one for traces":               {env: map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces"}, traces: true},
		"no metrics":                   {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_METRICS_EXPORTER": "none"}, traces: true},
		"traces by name":               {env: map[string]string{"OTEL_TRACES_EXPORTER": "console"}, traces: true},
		"switched off":                 {env: map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, scrape: true},
		"an unknown exporter":          {env: map[string]string{"OTEL_TRACES_EXPORTER": "jaeger"}, wrong: "OTEL_TRACES_EXPORTER"},
		"an unknown reader":            {env: map[string]string{"OTEL_METRICS_EXPORTER": "statsd"}, wrong: "OTEL_METRICS_EXPORTER"},
		"an unknown protocol":          {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "soap"}, wrong: "OTEL_EXPORTER_OTLP_PROTOCOL"},
		"an endpoint without http":     {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, wrong: "OTEL_EXPORTER_OTLP_ENDPOINT"},
		"one for metrics that is none": {env: map[string]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://"}, wrong: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"},
		"wrong attributes":             {env: map[string]string{"OTEL_RESOURCE_ATTRIBUTES": "team"}, scrape: true, measures: true},
	} {
		t.Run(name, func(t *testing.T) {
			clear(t, tc.env)
			tel, err := Start(t.Context(), Options{Version: "v1", Scrape: tc.scrape, Log: slog.New(slog.DiscardHandler)})
			if tc.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wrong) {
					t.Fatalf("the error is %v, want one that names %s", err, tc.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer tel.Stop()
			var o client.Options
			if err := tel.Temporal(&o); err != nil {
				t.Fatal(err)
			}
			if tel.Measures() != tc.measures || (o.MetricsHandler != nil) != tc.measures || (tel.Metrics != nil) != (tc.scrape && tc.measures) {
				t.Errorf("it measures: %v, with a handler for Temporal: %v, and for a scrape: %v", tel.Measures(), o.MetricsHandler != nil, tel.Metrics != nil)
			}
			if (len(o.Interceptors) == 1) != tc.traces {
				t.Errorf("it traces with %d interceptors", len(o.Interceptors))
			}
		})
	}
}

// TestScrape has what goes by Temporal's SDK in buckets that fit it.
func TestScrape(t *testing.T) {
	clear(t, nil)
	tel, err := Start(t.Context(), Options{Version: "v1.2.3", Scrape: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer tel.Stop()
	var o client.Options
	if err := tel.Temporal(&o); err != nil {
		t.Fatal(err)
	}
	by := o.MetricsHandler.WithTags(map[string]string{"outcome": "approved"})
	by.Timer("countersign.decision.wait").Record(3 * time.Hour)
	by.Counter("countersign.outcomes").Inc(1)
	o.MetricsHandler.Timer("temporal_request_latency").Record(30 * time.Millisecond)
	w := httptest.NewRecorder()
	tel.Metrics.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`countersign_decision_wait_seconds_bucket{outcome="approved",le="7200"} 0`,
		`countersign_decision_wait_seconds_bucket{outcome="approved",le="14400"} 1`,
		`countersign_outcomes_total{outcome="approved"} 1`,
		`temporal_request_latency_seconds_bucket{le="0.025"} 0`,
		`temporal_request_latency_seconds_bucket{le="0.05"} 1`,
		`service_version="v1.2.3"`, `service_name="countersign"`, "go_goroutines ", "process_cpu_seconds_total ",
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the scrape lacks %s", want)
		}
	}
}

// What OpenTelemetry says of its variables quotes them, and they hold passwords.
func TestSecretsOfVariables(t *testing.T) {
	for _, env := range []map[string]string{
		{"OTEL_EXPORTER_OTLP_HEADERS": "Authorization: Bearer s3cret"},
		{"OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%ZZs3cret"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:s3cret pw@127.0.0.1:1"},
		{"OTEL_TRACES_SAMPLER": "s3cret"},
	} {
		set := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
		maps.Copy(set, env)
		clear(t, set)
		var log bytes.Buffer
		tel, err := Start(t.Context(), Options{Version: "v1", Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err == nil {
			tel.Stop()
		}
		if said := log.String() + fmt.Sprint(err); env["OTEL_TRACES_SAMPLER"] == "" && strings.Contains(said, "s3cret") {
			t.Errorf("with %v it says %s", env, said)
		} else if err == nil && log.Len() == 0 {
			t.Errorf("with %v nothing is said", env)
		}
	}
}
