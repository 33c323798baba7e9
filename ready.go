package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"countersign/internal/config"
	"countersign/internal/health"
	"countersign/internal/peers"
	"countersign/internal/slackapi"
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
func serveHealth(ctx context.Context, cfg config.Config, role config.Role, l *slog.Logger) (h *health.Health, stop func(), err error) {
	parts := []string{partProcess, partTemporal, partSlack, partKeys}
	if role != config.Worker && cfg.SlackAppToken != "" {
		parts = append(parts, partSocket)
	}
	h = health.New(l, parts...)
	context.AfterFunc(ctx, func() { h.Set(partProcess, errors.New("stopping")) })
	if cfg.AdminAddress == "" {
		return h, func() {}, nil
	}
	listener, err := net.Listen("tcp", cfg.AdminAddress)
	if err != nil {
		return nil, nil, setupError{fmt.Errorf("tell how the process does: %w: set ADMIN_ADDRESS to a free address", err)}
	}
	l.Info("listening", "admin", listener.Addr().String())
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	go h.Serve(serving, listener)
	return h, stop, nil
}

// watch keeps h up to date until ctx ends.
func watch(ctx context.Context, l *slog.Logger, h *health.Health, cfg config.Config, role config.Role, temporal client.Client, chat *slackapi.Client) {
	go h.Watch(ctx, partTemporal, temporalEvery, func(ctx context.Context) error {
		if _, err := temporal.WorkflowService().GetSystemInfo(ctx, &workflowservice.GetSystemInfoRequest{}); err != nil {
			return errors.New("temporal does not answer")
		}
		return nil
	})
	go h.Watch(ctx, partSlack, slackEvery, func(ctx context.Context) error {
		switch err := chat.Check(ctx); {
		case err == nil, slackapi.AsLimited(err) != nil:
			return nil
		case slackapi.AsUnauthorized(err) != nil:
			return fmt.Errorf("nothing is posted: %w", tokenError(err))
		default:
			return errors.New("slack does not answer")
		}
	})
	keys := cfg.ReferenceKeys.IDs()
	go h.Watch(ctx, partKeys, temporalEvery, func(ctx context.Context) error {
		var (
			wrong string
			err   error
		)
		if role != config.Worker {
			wrong, err = peers.CheckBot(ctx, temporal, cfg.TaskQueue, keys)
		}
		if wrong == "" && err == nil && role != config.Bot {
			wrong, err = peers.CheckWorker(ctx, temporal, cfg.TaskQueue, keys)
		}
		if err != nil { // Temporal is away, or does not let us look: nobody knows, and a click will tell.
			l.Debug("compare keys", "err", err)
		}
		if wrong != "" {
			return errors.New(wrong)
		}
		return nil
	})
}
