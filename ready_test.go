package main

import (
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
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/config"
	"countersign/internal/health"
)

// lines are those that were logged.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// next waits for the line with that message, and decodes it.
func (l lines) next(t *testing.T, message string) (line map[string]string) {
	t.Helper()
	for {
		select {
		case s := <-l:
			if err := json.Unmarshal([]byte(s), &line); err != nil {
				t.Fatalf("%s: %v", s, err)
			}
			if line["msg"] == message {
				return line
			}
		case <-time.After(time.Minute):
			t.Fatalf("%q is not logged", message)
		}
	}
}

// jsonConfig has the health told at that address.
func jsonConfig(address string) config.Config {
	return config.Config{AdminAddress: address, LogFormat: "json"}
}

func TestHealthAtATakenAddress(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	_, _, err = serveHealth(t.Context(), jsonConfig(address), config.Run, slog.New(slog.DiscardHandler))
	if err == nil || exitCode(err) != 2 || !strings.Contains(err.Error(), "ADMIN_ADDRESS") || !strings.Contains(err.Error(), address) {
		t.Errorf("serveHealth: %v, want exit code 2, the variable's name and the address", err)
	}
}

func TestHealthIsToldUntilTheEnd(t *testing.T) {
	t.Parallel()
	ctx, end := context.WithCancel(t.Context())
	defer end()
	log := make(lines, 100)
	cfg := jsonConfig("127.0.0.1:0")
	h, stop, err := serveHealth(ctx, cfg, config.Run, logger(cfg, log))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	address := log.next(t, "listening")["admin"]
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
	if line := log.next(t, "not ready"); line["part"] != partProcess || line["err"] != "stopping" {
		t.Errorf("logged %v", line)
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
	ctx, end := context.WithCancel(t.Context())
	log := make(lines, 100)
	cfg := jsonConfig("")
	h, stop, err := serveHealth(ctx, cfg, config.Run, logger(cfg, log))
	if err != nil {
		t.Fatal(err)
	}
	select {
	case line := <-log:
		t.Errorf("logged %s: it listens", line)
	default:
	}
	h.Set(partProcess, nil) // How it does is noted all the same: the log tells.
	end()
	if line := log.next(t, "not ready"); line["err"] != "stopping" {
		t.Errorf("logged %v", line)
	}
	stop()
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
			h, stop, err := serveHealth(t.Context(), config.Config{SlackAppToken: tc.token}, tc.role, slog.New(slog.DiscardHandler))
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
