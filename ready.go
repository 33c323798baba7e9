package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"countersign/internal/config"
	"countersign/internal/health"
	"countersign/internal/peers"
	"countersign/internal/slackapi"
	"countersign/internal/telemetry"
)

// What a process needs to be ready.
const (
	partProcess  = "process"  // it has started, and is not stopping
	partTemporal = "temporal" // it answers
	partSlack    = "slack"    // it answers, and takes the bot token
	partSocket   = "socket"   // one is open, in a bot that uses Socket Mode
	partKeys     = "keys"     // those of bots and workers agree
)

const (
	// temporalEvery and slackEvery are how often Temporal and Slack are asked whether they answer; Slack takes hundreds of
	// these calls a minute. https://docs.slack.dev/reference/methods/auth.test
	temporalEvery = 5 * time.Second
	slackEvery    = 10 * time.Second
)

// serveHealth tells at ADMIN_ADDRESS, if there is one, how the process does. It goes on doing so when ctx ends, until stop
// is called.
func serveHealth(ctx context.Context, cfg config.Config, role config.Role, l *slog.Logger, t *telemetry.Telemetry) (h *health.Health, stop func(), err error) {
	parts := []string{partProcess, partTemporal, partSlack, partKeys}
	if role != config.Worker && cfg.SlackAppToken != "" {
		parts = append(parts, partSocket)
	}
	h = health.New(l, parts...)
	context.AfterFunc(ctx, func() { h.Set(partProcess, health.ErrStopping) })
	telemetry.Ready(func() map[string]bool {
		parts := map[string]bool{}
		for part, says := range h.Ready().Parts {
			parts[part] = says == "ok"
		}
		return parts
	})
	if cfg.AdminAddress == "" {
		return h, func() {}, nil
	}
	listener, err := net.Listen("tcp", cfg.AdminAddress)
	if err != nil {
		return nil, nil, setupError{fmt.Errorf("tell how the process does: %w: set ADMIN_ADDRESS to a free address", err)}
	}
	l.Info("listening", "admin", listener.Addr().String())
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	go h.Serve(serving, listener, t.Metrics)
	return h, stop, nil
}

// watch keeps h up to date until ctx ends.
func watch(ctx context.Context, l *slog.Logger, h *health.Health, cfg config.Config, role config.Role, temporal client.Client, chat *slackapi.Client) {
	others := peers.Watch{TaskQueue: cfg.TaskQueue, Keys: cfg.ReferenceKeys.IDs()}
	looked := false // at the others' keys
	go h.Watch(ctx, partTemporal, temporalEvery, func(ctx context.Context) error {
		wrong, err := "", error(nil)
		if role != config.Worker {
			wrong, err = others.AsBot(ctx, temporal)
		}
		if wrong == "" && err == nil && role != config.Bot {
			wrong, err = others.AsWorker(ctx, temporal)
		}
		switch {
		case wrong != "":
			h.Set(partKeys, errors.New(wrong))
		case err == nil:
			h.Set(partKeys, nil)
		}
		if err == nil {
			looked = true
			return nil
		}
		// Some may not look at task queues. Who may not describe the namespace either is not let in.
		unseen := err
		_, err = temporal.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: cfg.Temporal.Namespace})
		var (
			denied  *serviceerror.PermissionDenied
			unknown *serviceerror.NamespaceNotFound
		)
		switch {
		case err == nil && !looked:
			looked = true // There is no more to see: a click will tell.
			l.Warn("cannot compare the keys of bots and workers", "err", unseen)
			h.Set(partKeys, nil)
			return nil
		case err == nil:
			return nil
		case errors.As(err, &denied), errors.As(err, &unknown), status.Code(err) == codes.Unauthenticated:
			return fmt.Errorf("temporal does not let this process into the namespace %s: check TEMPORAL_NAMESPACE and TEMPORAL_API_KEY, or the certificate", cfg.Temporal.Namespace)
		default:
			return errors.New("temporal does not answer")
		}
	})
	go h.Watch(ctx, partSlack, slackEvery, func(ctx context.Context) error {
		err := chat.Check(ctx)
		switch e := slackapi.AsUnauthorized(err); {
		case err == nil, slackapi.AsLimited(err) != nil:
			return nil
		case e != nil:
			return fmt.Errorf("nothing is posted: %w", tokenError(e))
		default:
			return errors.New("slack does not answer")
		}
	})
}
