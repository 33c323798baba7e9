package devserver

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
)

func TestStart(t *testing.T) {
	t.Parallel()
	var output bytes.Buffer
	s, err := Start(t.Context(), Options{Namespace: "approvals", UI: true, Log: t.Output(), ServerLog: &output})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(s.Address, "127.0.0.1:") || !strings.HasPrefix(s.UIAddress, "127.0.0.1:") {
		t.Errorf("frontend at %q, UI at %q", s.Address, s.UIAddress)
	}
	for _, namespace := range []string{"approvals", "default"} {
		c := dial(t, s, namespace)
		run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "w", TaskQueue: "q"}, "Nobody")
		if err != nil || run.GetRunID() == "" {
			t.Errorf("start a workflow in %s: %v", namespace, err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.UIAddress+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("UI answers %s", resp.Status)
	}
	for range 2 {
		if err := s.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
	if _, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.Address); err == nil {
		t.Error("something listens after Stop")
	}
	if output.Len() == 0 {
		t.Error("the server printed nothing")
	}
}

func TestStartAgainAfterKill(t *testing.T) {
	t.Parallel()
	o := Options{DBFile: filepath.Join(t.TempDir(), "temporal.db"), Log: t.Output()}
	s := started(t, o)
	if s.UIAddress != "" {
		t.Errorf("UI at %s", s.UIAddress)
	}
	run, err := dial(t, s, "default").ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "w", TaskQueue: "q"}, "Nobody")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Stop(); err != nil {
		t.Errorf("stop after kill: %v", err)
	}

	o.Address = s.Address
	again := started(t, o)
	if again.Address != s.Address {
		t.Errorf("started again at %s, was at %s", again.Address, s.Address)
	}
	d, err := dial(t, again, "default").DescribeWorkflowExecution(t.Context(), "w", run.GetRunID())
	if err != nil {
		t.Fatal(err)
	}
	if got := d.GetWorkflowExecutionInfo().GetStatus(); got != enums.WORKFLOW_EXECUTION_STATUS_RUNNING {
		t.Errorf("the workflow is %v after the crash", got)
	}
}

func TestStartIsRefused(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"address taken":       {Options{Address: l.Addr().String()}, "in use"},
		"address malformed":   {Options{Address: "localhost"}, "missing port"},
		"database unwritable": {Options{DBFile: filepath.Join(t.TempDir(), "none", "temporal.db")}, "the server ended: exit status 1: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Start(t.Context(), c.o)
			if err == nil {
				_ = s.Stop()
				t.Fatal("started")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestStartIsCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestStopTellsOfACrash(t *testing.T) {
	t.Parallel()
	s := started(t, Options{})
	kill(s.process.cmd.Process)
	<-s.process.done
	if err := s.Stop(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("stop after a crash: %v", err)
	}
}

func TestWithoutTemporal(t *testing.T) {
	t.Parallel()
	got := withoutTemporal([]string{"A=1", "TEMPORAL_ADDRESS=x", "MY_TEMPORAL_X=2"})
	if strings.Join(got, " ") != "A=1 MY_TEMPORAL_X=2" {
		t.Errorf("kept %v", got)
	}
}

func started(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Kill() })
	return s
}

func dial(t *testing.T, s *Server, namespace string) client.Client {
	t.Helper()
	c, err := client.DialContext(t.Context(), client.Options{HostPort: s.Address, Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
