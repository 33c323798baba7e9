package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"countersign/internal/config"
	"countersign/internal/record"
	"countersign/internal/telemetry"
)

// startTelemetry begins to measure and to trace, and has cfg's client of Temporal do so too.
func startTelemetry(ctx context.Context, cfg *config.Config, l *slog.Logger) (*telemetry.Telemetry, error) {
	for name, value := range cfg.OpenTelemetry { // Those of .env: OpenTelemetry looks at the process's own.
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	t, err := telemetry.Start(ctx, telemetry.Options{Version: release(), Scrape: cfg.AdminAddress != "", Log: l})
	if err != nil {
		return nil, setupError{err}
	}
	return t, t.Temporal(&cfg.Temporal)
}

// countEvery is how often the open requests are counted. Each time lists them by Temporal's visibility, of which Temporal
// Cloud lets a namespace have 30 calls a second.
const countEvery = time.Minute

// countOpen measures how many requests are open, by channel, until ctx ends.
func countOpen(ctx context.Context, r record.Reader, c record.Counter, l *slog.Logger) {
	before := map[string]int{}
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	for {
		now, err := r.CountOpen(ctx, c)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			l.Warn("count the open requests", "err", err)
		default:
			for channel := range before {
				if _, ok := now[channel]; !ok {
					before[channel] = 0
				}
			}
			for channel, n := range now {
				before[channel] = n
			}
			telemetry.OpenApprovals(ctx, before)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
