// Package telemetry measures and traces what the program does, by OpenTelemetry: the instruments (metrics.go), the spans
// (trace.go), and where both go, which the standard OTEL_* variables say and the scrape of ADMIN_ADDRESS.
//
// What is not asked for is not done: without exporters and scrape every function here does nothing.
package telemetry

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	prometheusotel "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.temporal.io/sdk/client"
	temporalotel "go.temporal.io/sdk/contrib/opentelemetry"
	"go.temporal.io/sdk/interceptor"
)

// flushWithin is how long the end of the process waits for what is still to be exported.
const flushWithin = 3 * time.Second

// Options say what a process is, and whether its metrics are scraped.
type Options struct {
	Version string
	// Scrape: [Telemetry.Metrics] serves the metrics.
	Scrape bool
	Log    *slog.Logger
}

// Telemetry is what a process measures and traces.
type Telemetry struct {
	// Metrics serves the metrics to Prometheus; nil where nobody scrapes.
	Metrics http.Handler
	// Measures and traces say whether there is somewhere for metrics and for traces to go.
	measures, traces bool
	meters           *metric.MeterProvider
	tracers          *trace.TracerProvider
}

// Start begins to measure and to trace, as the OTEL_* variables of the process say, and sets OpenTelemetry's global
// providers. Exporters are chosen by OTEL_TRACES_EXPORTER and OTEL_METRICS_EXPORTER; where they are not set, it is OTLP if
// an OTEL_EXPORTER_OTLP_ENDPOINT is, and nothing if none is. An error names the exporter or endpoint that is wrong; of
// other variables that are wrong the log tells.
// https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
func Start(ctx context.Context, o Options) (*Telemetry, error) {
	t := &Telemetry{}
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return t, nil
	}
	otel.SetLogger(logr.New(quiet{o.Log}))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { o.Log.Warn("export telemetry", "err", err) }))
	if err := endpoints(); err != nil {
		return nil, err
	}
	who, err := resource.New(ctx,
		resource.WithTelemetrySDK(), resource.WithHost(),
		resource.WithAttributes(
			attribute.String("service.name", scope), attribute.String("service.version", o.Version),
			// Metrics of two processes that are pushed must not be taken for one's.
			attribute.String("service.instance.id", rand.Text())),
		resource.WithFromEnv())
	if err != nil { // The rest of it is there.
		o.Log.Warn("what is exported does not have all that it should say of this process: see OTEL_RESOURCE_ATTRIBUTES", "err", err)
	}
	if err := t.measure(ctx, who, o.Scrape); err != nil {
		return nil, err
	}
	if wanted("TRACES") {
		e, err := autoexport.NewSpanExporter(ctx)
		if err != nil {
			return nil, fmt.Errorf("OTEL_TRACES_EXPORTER or OTEL_EXPORTER_OTLP_PROTOCOL cannot be used: write otlp, console or none, and grpc or http/protobuf: %w", err)
		}
		t.traces = !autoexport.IsNoneSpanExporter(e)
		if t.traces {
			t.tracers = trace.NewTracerProvider(trace.WithBatcher(e), trace.WithResource(who), trace.WithIDGenerator(ids{}))
			otel.SetTracerProvider(t.tracers)
		}
	}
	return t, nil
}

// endpoints refuses addresses that OpenTelemetry would take for none. They may hold a password, and are not shown.
func endpoints() error {
	for _, signal := range []string{"", "TRACES_", "METRICS_"} {
		name := "OTEL_EXPORTER_OTLP_" + signal + "ENDPOINT"
		at := os.Getenv(name)
		if u, err := url.Parse(at); at != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
			return fmt.Errorf("%s is no URL of http or https: write it as http://collector:4318", name)
		}
	}
	return nil
}

// quiet is OpenTelemetry's own log. What it says of variables quotes them, with passwords and keys: only what is wrong goes
// into the log.
type quiet struct{ *slog.Logger }

func (q quiet) Init(logr.RuntimeInfo)          {}
func (q quiet) Enabled(level int) bool         { return level <= 1 } // Warnings are of level 1.
func (q quiet) WithValues(...any) logr.LogSink { return q }
func (q quiet) WithName(string) logr.LogSink   { return q }

func (q quiet) Info(_ int, msg string, _ ...any)    { q.say(msg) }
func (q quiet) Error(_ error, msg string, _ ...any) { q.say(msg) }
func (q quiet) say(msg string) {
	q.Warn("OpenTelemetry: look at the OTEL_ variables", "what", msg)
}

// wanted says whether the variables ask to export the signal: "TRACES" or "METRICS".
func wanted(signal string) bool {
	return cmp.Or(os.Getenv("OTEL_"+signal+"_EXPORTER"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"),
		os.Getenv("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT")) != ""
}

func (t *Telemetry) measure(ctx context.Context, who *resource.Resource, scrape bool) error {
	o := []metric.Option{metric.WithResource(who), metric.WithView(buckets)}
	if wanted("METRICS") {
		r, err := autoexport.NewMetricReader(ctx)
		if err != nil {
			return fmt.Errorf("OTEL_METRICS_EXPORTER or OTEL_EXPORTER_OTLP_PROTOCOL cannot be used: write otlp, prometheus, console or none, and grpc or http/protobuf: %w", err)
		}
		if !autoexport.IsNoneMetricReader(r) {
			o, t.measures = append(o, metric.WithReader(r)), true
		}
	}
	if scrape {
		all := prometheus.NewRegistry()
		all.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
		r, err := prometheusotel.New(prometheusotel.WithRegisterer(all), prometheusotel.WithoutScopeInfo(),
			prometheusotel.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes))
		if err != nil {
			return err
		}
		o, t.measures = append(o, metric.WithReader(r)), true
		t.Metrics = promhttp.HandlerFor(all, promhttp.HandlerOpts{EnableOpenMetrics: true})
	}
	if t.measures {
		t.meters = metric.NewMeterProvider(o...)
		otel.SetMeterProvider(t.meters)
	}
	return nil
}

// sdkScope is the name of what Temporal's SDK measures.
const sdkScope = "temporal-sdk-go"

// buckets gives the histograms that go by Temporal's SDK boundaries that fit seconds, and people.
func buckets(i metric.Instrument) (metric.Stream, bool) {
	s := metric.Stream{Name: i.Name, Description: i.Description, Unit: i.Unit}
	bounds := []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	switch {
	case i.Kind != metric.InstrumentKindHistogram || i.Scope.Name != sdkScope:
		return s, false
	case i.Name == "countersign.decision.wait":
		bounds = []float64{10, 30, 60, 300, 900, 1800, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 24 * 3600, 3 * 24 * 3600, 7 * 24 * 3600}
	}
	s.Aggregation = metric.AggregationExplicitBucketHistogram{Boundaries: bounds}
	return s, true
}

// Measures reports whether there is somebody who wants the metrics.
func (t *Telemetry) Measures() bool { return t.measures }

// Temporal has a client of Temporal's, and the workers that it makes, measured and traced too.
func (t *Telemetry) Temporal(o *client.Options) error {
	if t.measures {
		o.MetricsHandler = temporalotel.NewMetricsHandler(temporalotel.MetricsHandlerOptions{
			Meter: t.meters.Meter(sdkScope), UseMonotonicCounters: true,
			OnError: func(err error) { otel.Handle(err) },
		})
	}
	if t.traces {
		i, err := tracing()
		if err != nil {
			return err
		}
		o.Interceptors = append([]interceptor.ClientInterceptor{i}, o.Interceptors...)
	}
	return nil
}

// Stop exports what is left, for a moment.
func (t *Telemetry) Stop() {
	// It is the end of the process: the context of all else has ended.
	ctx, stop := context.WithTimeout(context.Background(), flushWithin)
	defer stop()
	var both sync.WaitGroup
	if t.tracers != nil {
		both.Go(func() { _ = t.tracers.Shutdown(ctx) })
	}
	if t.meters != nil {
		both.Go(func() { _ = t.meters.Shutdown(ctx) })
	}
	both.Wait()
}
