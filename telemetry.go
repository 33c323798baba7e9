package main

import (
	"context"
	"log/slog"
	"os"
	"sync/atomic"
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
	if err := t.Temporal(&cfg.Temporal); err != nil {
		t.Stop()
		return nil, err
	}
	return t, nil
}

// countEvery is how often the open requests are counted. Each time lists them by Temporal's visibility, of which Temporal
// Cloud lets a namespace have 30 calls a second.
const countEvery = time.Minute

// countOpen measures how many requests are open, by channel, until ctx ends. Where they cannot be counted it says nothing.
func countOpen(ctx context.Context, r record.Reader, c record.Counter, l *slog.Logger) {
	var open atomic.Pointer[map[string]int]
	telemetry.OpenApprovals(func() map[string]int {
		if all := open.Load(); all != nil {
			return *all
		}
		return nil
	})
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	for {
		soon, stop := context.WithTimeout(ctx, countEvery)
		all, err := r.CountOpen(soon, c)
		stop()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			l.Warn("count the open requests", "err", err)
			open.Store(nil)
		default:
			open.Store(&all)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
