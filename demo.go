package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/client"

	"countersign/bot"
	"countersign/internal/config"
	"countersign/internal/devserver"
	"countersign/internal/reference"
	"countersign/internal/slacksim"
	"countersign/worker"
)

// demoCommand is "countersign demo": everything on this machine, with a stand-in for Slack.
func demoCommand(environ []string, stdout, stderr io.Writer) *cobra.Command {
	var address, temporal string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Try it without a Slack workspace: a stand-in for Slack, Temporal, the bot and the worker",
		Example: `  countersign demo
  countersign demo --address 127.0.0.1:9090 --temporal localhost:7233`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(config.Demo, environ, "") // A deployment's .env is not for it.
			if err != nil {
				return setupError{err}
			}
			if temporal != "" {
				cfg.Temporal.HostPort = temporal
			}
			return demo(cmd.Context(), cfg, address, stdout, stderr)
		},
	}
	cmd.Flags().StringVar(&address, "address", "127.0.0.1:8080", "where the page is served")
	cmd.Flags().StringVar(&temporal, "temporal", "", "host:port of a running Temporal server to use (default: start one)")
	return cmd
}

// demo runs until ctx ends, and ends everything that it started.
func demo(ctx context.Context, cfg config.Config, address string, stdout, stderr io.Writer) (err error) {
	page, err := net.Listen("tcp", address)
	if err != nil {
		return setupError{fmt.Errorf("serve the page: %w: choose another place with --address", err)}
	}
	defer page.Close()

	temporalUI := "(your server's own)"
	if cfg.Temporal.HostPort != "" {
		cfg.TaskQueue += "-demo" // The work of a real deployment is not the demo's to take.
	}
	if cfg.Temporal.HostPort == "" {
		fmt.Fprintln(stderr, "Starting Temporal …")
		var server *devserver.Server
		server, err = devserver.Start(ctx, devserver.Options{Namespace: cfg.Temporal.Namespace, UI: true, Log: stderr})
		if err != nil {
			return unlessStopped(ctx, err)
		}
		defer func() { err = errors.Join(err, server.Stop()) }()
		cfg.Temporal.HostPort = server.Address
		// The keys, certificates and headers of another server are not for this one.
		cfg.Temporal.Credentials, cfg.Temporal.HeadersProvider, cfg.Temporal.ConnectionOptions = nil, nil, client.ConnectionOptions{}
		temporalUI = "http://" + server.UIAddress
	}

	if cfg.ReferenceKeys, err = reference.ParseKeys(reference.NewKey()); err != nil {
		return err
	}
	sim := slacksim.New(slacksim.Options{
		BaseURL:   "http://" + page.Addr().String(),
		Commands:  standInCommands(),
		Links:     []slacksim.Link{{Text: "Temporal's web UI", URL: temporalUI}},
		RateLimit: true,
		// As the manifest has it: nobody can write to the app.
		ReadOnlyDM: true,
		Trace:      trace(cfg, temporalUI),
	})
	web := &http.Server{Handler: sim, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- web.Serve(page) }()
	defer func() {
		sim.Close()
		_ = web.Close()
		<-served
	}()

	cfg.SlackBotToken, cfg.SlackAppToken = slacksim.DefaultBotToken, slacksim.DefaultAppToken
	cfg.SlackAPIURL = "http://" + page.Addr().String() + "/api/"
	cfg.Approvers = config.Approvers{Users: []string{sim.Person("bob").ID()}, Groups: []string{sim.Group("sre").ID}}
	return serve(ctx, cfg, config.Run, logger(cfg, stderr), func() {
		fmt.Fprintf(stdout, `
  Slack (a stand-in)    http://%s
  Temporal's web UI     %s
  Temporal              %s, task queue %s

  Type /greet World as alice, or /approval; then be bob or carol, and click. Ctrl-C ends it all.
`, page.Addr(), temporalUI, cfg.Temporal.HostPort, cfg.TaskQueue)
	})
}

// standInCommands are the app's commands for the stand-in.
func standInCommands() (all []slacksim.Command) {
	for _, c := range bot.Commands() {
		all = append(all, slacksim.Command{Name: c.Name, Description: c.Description, UsageHint: c.UsageHint})
	}
	return all
}

// trace tells the page which workflow a delivery or a call belongs to, with a link into Temporal's web UI at ui.
func trace(cfg config.Config, ui string) func(slacksim.Clue) slacksim.Link {
	if !strings.HasPrefix(ui, "http") {
		return nil // A server that runs already may have its web UI anywhere.
	}
	var (
		mu        sync.Mutex
		greetings = map[string]string{} // workflow IDs by the key of the greeting that they may post
	)
	return func(c slacksim.Clue) slacksim.Link {
		mu.Lock()
		defer mu.Unlock()
		id := ""
		if c.Metadata != nil {
			key, _ := c.Metadata.EventPayload["key"].(string)
			id = greetings[key]
		}
		if c.Command == bot.CommandGreet {
			id = bot.GreetingID(c.TriggerID)
		}
		for _, v := range c.Values {
			if ref, err := cfg.ReferenceKeys.Open(v); err == nil {
				id = ref.WorkflowID
				greetings[worker.GreetingKey(ref.Namespace, ref.WorkflowID, ref.RunID)] = id
			}
		}
		if id == "" {
			return slacksim.Link{}
		}
		return slacksim.Link{Text: id, URL: ui + "/namespaces/" + url.PathEscape(cfg.Temporal.Namespace) + "/workflows/" + url.PathEscape(id)}
	}
}
