package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// scope names what measures and traces; Temporal's SDK has its own.
const scope = "countersign"

// What is measured here. What the workflows measure goes by Temporal's SDK, which leaves out what it replays:
// countersign.decision.wait and countersign.outcomes.
var (
	meter = otel.Meter(scope)

	clicks, _ = meter.Int64Counter("countersign.clicks", metric.WithUnit("{click}"),
		metric.WithDescription("clicks on decisions, and submissions of their forms, by what came of them"))
	commit, _ = meter.Float64Histogram("countersign.click.commit.duration", metric.WithUnit("s"),
		metric.WithDescription("from the arrival of a click until Temporal had its decision"),
		metric.WithExplicitBucketBoundaries(.005, .01, .025, .05, .1, .25, .5, 1, 1.5, 2, 2.5, 3))
	closing, _ = meter.Float64Histogram("countersign.card.close.duration", metric.WithUnit("s"),
		metric.WithDescription("from the decision or other end of a request until its card shows it"),
		metric.WithExplicitBucketBoundaries(.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 3600))
	slackCalls, _ = meter.Float64Histogram("countersign.slack.call.duration", metric.WithUnit("s"),
		metric.WithDescription("calls to Slack by method and result: ok, limited (429), failed, or Slack's word for the refusal"),
		metric.WithExplicitBucketBoundaries(.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10))
	sockets, _ = meter.Int64Gauge("countersign.sockets.open", metric.WithUnit("{socket}"),
		metric.WithDescription("sockets by which Slack can deliver to this process"))
	opened, _ = meter.Int64Counter("countersign.sockets.opened", metric.WithUnit("{socket}"),
		metric.WithDescription("sockets that were opened"))
)

// Clicked counts a click on a decision, which arrived at that time, by what came of it.
func Clicked(ctx context.Context, result string, at time.Time) {
	clicks.Add(ctx, 1, metric.WithAttributeSet(attribute.NewSet(attribute.String("result", result))))
	if result == Recorded {
		commit.Record(ctx, time.Since(at).Seconds())
	}
}

// Recorded is the result of a click whose decision Temporal has.
const Recorded = "recorded"

// CardClosed notes that a card shows now how its request ended at that time.
func CardClosed(ctx context.Context, outcome string, ended time.Time) {
	closing.Record(ctx, max(0, time.Since(ended).Seconds()),
		metric.WithAttributeSet(attribute.NewSet(attribute.String("outcome", outcome))))
}

// Sockets notes how many sockets to Slack are open.
func Sockets(ctx context.Context, n int) { sockets.Record(ctx, int64(n)) }

// SocketOpened counts a socket that was opened.
func SocketOpened(ctx context.Context) { opened.Add(ctx, 1) }

// OpenApprovals has each scrape and export ask how many requests are open, by channel.
func OpenApprovals(byChannel func() map[string]int) {
	_, _ = meter.Int64ObservableGauge("countersign.approvals.open", metric.WithUnit("{request}"),
		metric.WithDescription("open requests of the deployment by channel; every bot tells the same"),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for channel, n := range byChannel() {
				o.Observe(int64(n), metric.WithAttributes(attribute.String("channel", channel)))
			}
			return nil
		}))
}

// Ready has each scrape and export ask for the parts of the process: whether it can work, by part.
func Ready(parts func() map[string]bool) {
	_, _ = meter.Int64ObservableGauge("countersign.ready",
		metric.WithDescription("1 where the part of the process does well, 0 where not, as /readyz says why"),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for part, ok := range parts() {
				n := int64(0)
				if ok {
					n = 1
				}
				o.Observe(n, metric.WithAttributes(attribute.String("part", part)))
			}
			return nil
		}))
}
