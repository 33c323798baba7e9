package health

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSet(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h := New(slog.New(slog.NewTextHandler(&log, nil)), "slack", "temporal")
	want := func(ready bool, slack, temporal string) {
		t.Helper()
		if diff := cmp.Diff(Ready{Ready: ready, Parts: map[string]string{"slack": slack, "temporal": temporal}}, h.Ready()); diff != "" {
			t.Errorf("Ready (-want +got):\n%s", diff)
		}
	}
	want(false, "starting", "starting")
	h.Set("slack", nil)
	h.Set("other", errors.New("nobody needs it"))
	want(false, "ok", "starting")
	h.Set("temporal", nil)
	want(true, "ok", "ok")
	if log.Len() > 0 {
		t.Errorf("logged %s, before anything was wrong", &log)
	}
	for range 3 {
		h.Set("slack", errors.New("does not answer"))
	}
	want(false, "does not answer", "ok")
	h.Set("slack", errors.New("refuses"))
	h.Set("slack", nil)
	h.Set("slack", nil)
	want(true, "ok", "ok")
	var said []string
	for line := range strings.Lines(log.String()) {
		_, line, _ = strings.Cut(line, "level=")
		said = append(said, strings.TrimSpace(line))
	}
	if diff := cmp.Diff([]string{
		`ERROR msg="not ready" part=slack err="does not answer"`,
		`ERROR msg="not ready" part=slack err=refuses`,
		`INFO msg="ready again" part=slack`,
	}, said); diff != "" {
		t.Errorf("logged (-want +got):\n%s", diff)
	}
	before := log.Len()
	if h.Set("slack", ErrStopping); log.Len() > before {
		t.Error("to stop is logged as a fault")
	}
	want(false, "stopping", "ok")
	(*Health)(nil).Set("slack", nil) // is nothing
}

func TestWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := New(slog.New(slog.DiscardHandler), "slack")
		ctx, stop := context.WithCancel(t.Context())
		var looks int
		go h.Watch(ctx, "slack", time.Minute, func(ctx context.Context) error {
			if looks++; looks == 2 {
				<-ctx.Done() // It hangs: the look is given up.
				return errors.New("does not answer")
			}
			return nil
		})
		for i, want := range []string{"ok", "does not answer", "ok"} {
			synctest.Wait()
			if i == 1 {
				time.Sleep(answerWithin)
				synctest.Wait()
			}
			if got := h.Ready().Parts["slack"]; got != want {
				t.Errorf("look %d: %q, want %q", i+1, got, want)
			}
			time.Sleep(time.Minute)
		}
		stop()
		synctest.Wait()
		time.Sleep(10 * time.Minute)
		if looks > 4 {
			t.Errorf("%d looks after the end", looks)
		}
	})
}

func TestServe(t *testing.T) {
	t.Parallel()
	h := New(slog.New(slog.DiscardHandler), "slack")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan struct{})
	go func() {
		defer close(served)
		h.Serve(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("clicks 3\n")) }))
	}()
	ask := func(method, path string) (status int, body string) {
		t.Helper()
		r, _ := http.NewRequestWithContext(t.Context(), method, fmt.Sprintf("http://%s%s", l.Addr(), path), http.NoBody)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Content-Security-Policy": "default-src 'none'"} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s %s: %s is %q, want %q", method, path, name, got, want)
			}
		}
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	readyz := func(status int, want Ready) {
		t.Helper()
		code, body := ask("GET", "/readyz")
		var got Ready
		if err := json.Unmarshal([]byte(body), &got); err != nil || code != status || !cmp.Equal(got, want) {
			t.Errorf("/readyz: %d %s, want %d %+v", code, body, status, want)
		}
	}
	readyz(503, Ready{Parts: map[string]string{"slack": "starting"}})
	if code, body := ask("GET", "/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("/healthz while it is not ready: %d %q", code, body)
	}
	if code, body := ask("GET", "/metrics"); code != 200 || body != "clicks 3\n" {
		t.Errorf("/metrics: %d %q", code, body)
	}
	h.Set("slack", nil)
	readyz(200, Ready{Ready: true, Parts: map[string]string{"slack": "ok"}})
	for _, no := range []struct {
		method, path string
		status       int
	}{{"POST", "/readyz", 405}, {"GET", "/", 404}, {"GET", "/debug/pprof/trace", 404}, {"GET", "/debug/pprof/cmdline", 404}, {"GET", "/debug/pprof/profile?seconds=61", 400}} {
		if code, _ := ask(no.method, no.path); code != no.status {
			t.Errorf("%s %s: %d, want %d", no.method, no.path, code, no.status)
		}
	}
	if code, body := ask("GET", "/debug/pprof/heap?gc=1&debug=1"); code != 200 || !strings.Contains(body, "# HeapAlloc = ") {
		t.Errorf("the profile of the heap: %d %.200q", code, body)
	}
	stop()
	<-served
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("it listens after the end")
	}
}
