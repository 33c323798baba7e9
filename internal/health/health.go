// Package health tells how a process does: that it lives, and whether it can work and if not, why.
package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"sync"
	"time"
)

// answerWithin is how long a check may take.
const answerWithin = 3 * time.Second

// profileMost is how many seconds a profile may take.
const profileMost = 60

// Health is how the parts of a process do. It is safe for concurrent use; nothing is noted in a nil one.
type Health struct {
	log *slog.Logger

	mu    sync.Mutex
	parts map[string]error
}

// New returns the Health of a process that needs all of parts, none of which has said yet that it does well.
func New(l *slog.Logger, parts ...string) *Health {
	h := &Health{log: l, parts: make(map[string]error)}
	for _, p := range parts {
		h.parts[p] = starting{}
	}
	return h
}

// ErrStopping is why a process is not ready that was asked to stop. The log does not say so: it is no fault.
var ErrStopping = errors.New("stopping")

// starting is why a part is not well that has not said anything yet.
type starting struct{}

func (starting) Error() string { return "starting" }

// Set notes how a part does; nil means well. The log says what has changed. A part that [New] was not given is ignored.
func (h *Health) Set(part string, err error) {
	if h == nil {
		return
	}
	h.mu.Lock()
	before, ok := h.parts[part]
	if ok {
		h.parts[part] = err
	}
	h.mu.Unlock()
	_, first := before.(starting)
	switch {
	case !ok, errors.Is(err, ErrStopping):
	case err != nil && (before == nil || before.Error() != err.Error()):
		h.log.Error("not ready", "part", part, "err", err)
	case err == nil && before != nil && !first:
		h.log.Info("ready again", "part", part)
	}
}

// Watch sets the part to what check returns, at once and then time and again, until ctx ends.
func (h *Health) Watch(ctx context.Context, part string, every time.Duration, check func(context.Context) error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		soon, stop := context.WithTimeout(ctx, answerWithin)
		err := check(soon)
		stop()
		if ctx.Err() != nil {
			return
		}
		h.Set(part, err)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Ready is what /readyz answers, as JSON.
type Ready struct {
	Ready bool `json:"ready"`
	// Parts says of each part "ok", or why it cannot work.
	Parts map[string]string `json:"parts"`
}

// Ready tells how the process does.
func (h *Health) Ready() Ready {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := Ready{Ready: true, Parts: make(map[string]string, len(h.parts))}
	for p, err := range h.parts {
		r.Parts[p] = "ok"
		if err != nil {
			r.Ready, r.Parts[p] = false, err.Error()
		}
	}
	return r
}

// Serve answers on l until ctx ends: /healthz with 200 always, /readyz with 200 where all parts do well and 503 where
// not, and with a [Ready] either way, /metrics with metrics, where there are any, and /debug/pprof with the profiles of the
// process, as net/http/pprof does. It asks for no password.
func (h *Health) Serve(ctx context.Context, l net.Listener, metrics http.Handler) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		r := h.Ready()
		w.Header().Set("Content-Type", "application/json")
		if !r.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(r)
	})
	if metrics != nil {
		mux.Handle("GET /metrics", metrics)
	}
	for path, serve := range map[string]http.HandlerFunc{"": pprof.Index, "profile": pprof.Profile} {
		mux.HandleFunc("GET /debug/pprof/"+path, func(w http.ResponseWriter, r *http.Request) {
			if seconds, _ := strconv.Atoi(r.FormValue("seconds")); seconds > profileMost {
				http.Error(w, fmt.Sprintf("A profile may take %d seconds.", profileMost), http.StatusBadRequest)
				return
			}
			serve(w, r)
		})
	}
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for name, value := range map[string]string{
				"Cache-Control": "no-store", "Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff",
			} {
				w.Header().Set(name, value)
			}
			mux.ServeHTTP(w, r)
		}),
		ReadTimeout: answerWithin, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(l); err != nil && ctx.Err() == nil {
		h.log.Error("serve ADMIN_ADDRESS", "err", err)
	}
}
