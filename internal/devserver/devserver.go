// Package devserver finds or fetches the Temporal CLI and starts a dev server with it, for the demo and for tests.
package devserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
)

const (
	localhost = "127.0.0.1"
	readyIn   = time.Minute           // for the server to answer
	readyPoll = 50 * time.Millisecond // between two looks
	stopIn    = 10 * time.Second      // for the server to end by itself
	attempts  = 3                     // to find a port that stays free
)

// Options says how to start a server. The zero value starts one in memory, without UI, at a free port of 127.0.0.1.
type Options struct {
	// Namespace is there when the server is ready; empty means default.
	Namespace string
	// UI serves Temporal's web UI at a free port of the same host.
	UI bool
	// Metrics serves what the server counts, for Prometheus, at a free port of the same host.
	Metrics bool
	// Address is host:port to listen at. A free port of 127.0.0.1 is taken if it is empty, of its host if its port is 0.
	Address string
	// DBFile is the SQLite file that keeps the state; it is made if it is not there. Empty means in memory.
	DBFile string
	// Log gets lines for a person about what is going on, from one goroutine at a time. Nil means none.
	Log io.Writer
	// ServerLog gets what the server prints. Nil means that it is discarded.
	ServerLog io.Writer
}

// Server is a dev server that runs.
type Server struct {
	Address   string // host:port of the frontend
	UIAddress string // host:port of the web UI; empty without
	Metrics   string // URL of what the server counts; empty without

	process *process
	output  *tail
}

// Start starts a server and returns when its namespace answers. Where there is no Temporal CLI it gets one first, as
// Path does, which may take minutes. A ctx that ends while Start runs ends what was started; afterwards it has no
// effect on the server, which runs until Stop or Kill. Where the system can, the server ends with this process.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Namespace == "" {
		o.Namespace = client.DefaultNamespace
	}
	host, port := localhost, "0"
	if o.Address != "" {
		var err error
		if host, port, err = net.SplitHostPort(o.Address); err != nil {
			return nil, fmt.Errorf("start Temporal: %w", err)
		}
	}
	path, err := Path(ctx, o.Log)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		s, err := start(ctx, o, path, host, port)
		if err == nil {
			return s, nil
		}
		// A free port can be taken by somebody else before the server has it.
		if attempt == attempts || port != "0" || !errors.Is(err, errEnded) {
			return nil, fmt.Errorf("start Temporal: %w", err)
		}
	}
}

func start(ctx context.Context, o Options, path, host, port string) (*Server, error) {
	// Asking for the port first also refuses an address at which another server would answer in place of ours.
	address, err := free(ctx, net.JoinHostPort(host, port))
	if err != nil {
		return nil, err
	}
	host, port, err = net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	s := &Server{Address: address, output: new(tail)}
	args := []string{
		"server", "start-dev", "--ip", host, "--port", port, "--namespace", o.Namespace, "--log-level", "error",
		"--dynamic-config-value", "frontend.enableServerVersionCheck=false", // calls home
	}
	if o.DBFile != "" {
		args = append(args, "--db-filename", o.DBFile)
	}
	if o.UI {
		var uiPort string
		if s.UIAddress, uiPort, err = freePort(ctx, host); err != nil {
			return nil, err
		}
		args = append(args, "--ui-port", uiPort)
	} else {
		args = append(args, "--headless")
	}
	if o.Metrics {
		metrics, metricsPort, err := freePort(ctx, host)
		if err != nil {
			return nil, err
		}
		s.Metrics = "http://" + metrics + "/metrics"
		args = append(args, "--metrics-port", metricsPort)
	}
	cmd := exec.Command(path, args...) //nolint:noctx // outlives ctx
	cmd.Env = withoutTemporal(os.Environ())
	cmd.Stdout = s.output
	if o.ServerLog != nil {
		cmd.Stdout = io.MultiWriter(s.output, o.ServerLog)
	}
	cmd.Stderr = cmd.Stdout
	if s.process, err = launch(cmd); err != nil {
		return nil, err
	}
	if err := s.ready(ctx, o); err != nil {
		s.process.kill()
		return nil, err
	}
	return s, nil
}

// freePort finds a free port of a host.
func freePort(ctx context.Context, host string) (address, port string, err error) {
	if address, err = free(ctx, net.JoinHostPort(host, "0")); err == nil {
		_, port, err = net.SplitHostPort(address)
	}
	return address, port, err
}

// errEnded says that the server ended before it was ready.
var errEnded = errors.New("the server ended")

// ready waits until the namespace and, if there is one, the UI answer.
func (s *Server) ready(ctx context.Context, o Options) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyIn, fmt.Errorf("no answer in %v", readyIn))
	defer cancel()
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		last := s.answers(ctx, o.Namespace)
		if last == nil {
			return nil
		}
		select {
		case <-s.process.done:
			return fmt.Errorf("%w: %w%s", errEnded, s.process.err, s.output.suffix())
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w (last: %w)", s.Address, context.Cause(ctx), last)
		case <-tick.C:
		}
	}
}

func (s *Server) answers(ctx context.Context, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, stopIn)
	defer cancel()
	for _, address := range []string{s.UIAddress, s.Address} {
		if address == "" {
			continue
		}
		// Cheaper than a client that backs off.
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		_ = conn.Close()
	}
	c, err := client.DialContext(ctx, client.Options{
		HostPort:  s.Address,
		Namespace: namespace,
		Logger:    log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: namespace})
	return err
}

// Stop asks the server to end and waits until it has; after 10 s it kills it. The error says that the server had
// ended before, or had to be killed. Stopping twice, or after Kill, does nothing.
func (s *Server) Stop() error {
	ended, killed := s.process.stop(stopIn)
	switch {
	case ended:
		return fmt.Errorf("temporal had ended before: %w%s", s.process.err, s.output.suffix())
	case killed:
		return fmt.Errorf("temporal did not end in %v and was killed", stopIn)
	}
	return nil
}

// Kill ends the server as a crash does. Start with the same Address and DBFile then starts it again.
func (s *Server) Kill() error {
	s.process.kill()
	return nil
}

// free returns the address with a port that was free a moment ago in place of 0.
func free(ctx context.Context, address string) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	defer l.Close()
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(host, port), nil
}

// withoutTemporal drops the variables that are meant for clients, which the CLI would read as well.
func withoutTemporal(environ []string) []string {
	var kept []string
	for _, v := range environ {
		if !strings.HasPrefix(v, "TEMPORAL_") {
			kept = append(kept, v)
		}
	}
	return kept
}
