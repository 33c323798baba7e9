package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/config"
	"countersign/internal/health"
	"countersign/internal/telemetry"
)

func TestHealthAtATakenAddress(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	_, _, err = serveHealth(t.Context(), config.Config{AdminAddress: address}, config.Run, slog.New(slog.DiscardHandler), &telemetry.Telemetry{})
	if err == nil || exitCode(err) != 2 || !strings.Contains(err.Error(), "ADMIN_ADDRESS") || !strings.Contains(err.Error(), address) {
		t.Errorf("serveHealth: %v, want exit code 2, the variable's name and the address", err)
	}
}

func TestHealthIsToldUntilTheEnd(t *testing.T) {
	t.Parallel()
	ctx, end := context.WithCancel(t.Context())
	defer end()
	var log bytes.Buffer
	cfg := config.Config{AdminAddress: "127.0.0.1:0", LogFormat: "json"}
	h, stop, err := serveHealth(ctx, cfg, config.Run, logger(cfg, &log), &telemetry.Telemetry{})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	var line struct{ Msg, Admin string }
	if err := json.Unmarshal(log.Bytes(), &line); err != nil || line.Msg != "listening" {
		t.Fatalf("logged %s, want where it listens", &log)
	}
	address := line.Admin
	web := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ask := func(path string) (status int, body []byte) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://%s%s", address, path), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := web.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, err = io.ReadAll(resp.Body); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, body
	}
	readyz := func(wantStatus int, want health.Ready) {
		t.Helper()
		var got health.Ready
		status, body := ask("/readyz")
		if err := json.Unmarshal(body, &got); err != nil || status != wantStatus {
			t.Errorf("/readyz: %d %s, want %d", status, body, wantStatus)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("/readyz (-want +got):\n%s", diff)
		}
	}
	parts := map[string]string{partProcess: "starting", partTemporal: "starting", partSlack: "starting", partKeys: "starting"}
	readyz(503, health.Ready{Parts: parts})
	for part := range parts {
		h.Set(part, nil)
		parts[part] = "ok"
	}
	readyz(200, health.Ready{Ready: true, Parts: parts})

	// What is in hand is finished now: whoever sends more has to be told, and that the process lives.
	end()
	for range 10_000 { // It is noted soon.
		if status, _ := ask("/readyz"); status != 200 {
			break
		}
	}
	parts[partProcess] = "stopping"
	readyz(503, health.Ready{Parts: parts})
	if status, body := ask("/healthz"); status != 200 {
		t.Errorf("/healthz: %d %s, want 200", status, body)
	}

	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	stop()
	if _, err := c.Read(make([]byte, 1)); err == nil { // It is closed after the listener is.
		t.Error("an answer without a question")
	}
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Error("it listens after the end")
	}
}

func TestHealthWithoutAnAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		var log bytes.Buffer
		h, stop, err := serveHealth(ctx, config.Config{}, config.Run, logger(config.Config{}, &log), &telemetry.Telemetry{})
		if err != nil {
			t.Fatal(err)
		}
		if log.Len() > 0 {
			end()
			stop()
			t.Fatalf("it listens: %s", &log)
		}
		h.Set(partProcess, nil) // How it does is noted all the same.
		end()
		synctest.Wait()
		if got := h.Ready().Parts[partProcess]; got != "stopping" {
			t.Errorf("the process is %q, want it stopping", got)
		}
		stop()
	})
}

func TestPartsOfAProcess(t *testing.T) {
	t.Parallel()
	all := []string{partProcess, partTemporal, partSlack, partKeys}
	for name, tc := range map[string]struct {
		role  config.Role
		token string
		want  []string
	}{
		"run by Socket Mode":   {config.Run, "xapp-1", append([]string{partSocket}, all...)},
		"bot by Socket Mode":   {config.Bot, "xapp-1", append([]string{partSocket}, all...)},
		"bot by HTTP":          {config.Bot, "", all},
		"worker":               {config.Worker, "", all},
		"worker with a socket": {config.Worker, "xapp-1", all}, // which it does not open
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, stop, err := serveHealth(t.Context(), config.Config{SlackAppToken: tc.token}, tc.role, slog.New(slog.DiscardHandler), &telemetry.Telemetry{})
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			slices.Sort(tc.want)
			if diff := cmp.Diff(tc.want, slices.Sorted(maps.Keys(h.Ready().Parts))); diff != "" {
				t.Errorf("parts (-want +got):\n%s", diff)
			}
		})
	}
}
