// Countersign asks people in Slack on behalf of Temporal workflows. See README.md, and package workflows for the way of
// a click.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/slack-go/slack"
	"github.com/spf13/cobra"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	sdkworker "go.temporal.io/sdk/worker"

	"countersign/bot"
	"countersign/internal/cli"
	"countersign/internal/config"
	"countersign/internal/health"
	"countersign/internal/peers"
	"countersign/internal/record"
	"countersign/internal/reference"
	"countersign/internal/slackapi"
	"countersign/worker"
	"countersign/workflows"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // A second signal ends the process at once.
	if err := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "countersign:", err)
		os.Exit(exitCode(err))
	}
}

// setupError is an error that the operator has to mend before the program can start; it ends it with exit code 2.
type setupError struct{ error }

func (e setupError) Unwrap() error { return e.error }

func exitCode(err error) int {
	var (
		setup setupError
		asked *cli.Error
	)
	switch {
	case errors.As(err, &setup):
		return cli.ExitUsage
	case errors.As(err, &asked):
		return asked.Code
	default:
		return 1
	}
}

// answerWithin is how long Temporal may take to answer a command that needs it alone.
const answerWithin = 30 * time.Second

// connect connects the commands that need Temporal alone.
func connect(environ []string, stderr io.Writer) cli.Connect {
	return func(ctx context.Context) (cli.Client, func(), error) {
		cfg, err := config.Load(config.Client, environ, ".env")
		if err != nil {
			return cli.Client{}, nil, setupError{err}
		}
		cfg.LogLevel = max(cfg.LogLevel, slog.LevelWarn)
		soon, stop := context.WithTimeout(ctx, answerWithin)
		defer stop()
		c, err := connectTemporal(soon, cfg, logger(cfg, stderr), nil)
		switch {
		case err != nil && soon.Err() != nil && ctx.Err() == nil:
			return cli.Client{}, nil, fmt.Errorf("temporal at %s is not reachable: %w: set TEMPORAL_ADDRESS, and TEMPORAL_TLS or its like where the server wants TLS",
				cfg.Temporal.HostPort, err)
		case err != nil:
			return cli.Client{}, nil, err
		}
		return cli.Client{Temporal: c, Records: records(c, cfg), AllowDecide: cfg.AllowOutsideDecisions}, c.Close, nil
	}
}

// run is the program: args are without its name, environ is as os.Environ gives it.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	serveAs := func(role config.Role) func(*cobra.Command, []string) error {
		return func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(role, environ, ".env")
			if err != nil {
				return setupError{err}
			}
			return serve(cmd.Context(), cfg, role, logger(cfg, stderr), func() {})
		}
	}
	root := &cobra.Command{
		Use:   "countersign",
		Short: "Human approvals in Slack for Temporal workflows",
		Long: `Human approvals in Slack for Temporal workflows.

Without a command it runs the bot and the worker. request, wait, list, show, withdraw, decide and audit need Temporal alone.
Variables come from the environment and from the file .env: see .env.example.

Exit codes: 0 done, or approved; 1 rejected, or an error; 2 something has to be set right first; 3 expired;
4 withdrawn; 5 could not be asked, or the outcome could not be learned; 130 interrupted while waiting.`,
		Example: `  countersign demo
  countersign run
  countersign request --title "Deploy v2" --channel C0123456789 --approver S0123456789 --wait`,
		Args:          noArgs,
		RunE:          serveAs(config.Run),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(
		&cobra.Command{
			Use: "run", Short: "Run the bot and the worker (the default)", Args: noArgs, RunE: serveAs(config.Run),
			Example: "  countersign run\n  LOG_FORMAT=json countersign run",
		},
		&cobra.Command{
			Use: "bot", Short: "Run the bot alone: it receives commands and clicks", Args: noArgs, RunE: serveAs(config.Bot),
			Example: "  countersign bot",
		},
		&cobra.Command{
			Use: "worker", Short: "Run the worker alone: it posts cards and closes them", Args: noArgs, RunE: serveAs(config.Worker),
			Example: "  countersign worker",
		},
		demoCommand(environ, stdout, stderr),
		doctorCommand(environ, stdout),
		setupCommand(environ, os.Stdin, stdout, func(ctx context.Context, environ []string) error {
			return checkup(ctx, environ, checkupFlags{role: "run"}, stdout)
		}),
		manifestCommand(stdout),
		&cobra.Command{
			Use: "key", Short: "Print a fresh key for REFERENCE_KEYS or PAYLOAD_KEYS", Args: noArgs,
			Example: `  echo "REFERENCE_KEYS=$(countersign key)" >> .env`,
			RunE: func(*cobra.Command, []string) error {
				_, err := fmt.Fprintln(stdout, reference.NewKey())
				return err
			},
		},
		&cobra.Command{
			Use: "version", Short: "Print the version, and what it was built from", Args: noArgs,
			Example: "  countersign version",
			RunE: func(*cobra.Command, []string) error {
				_, err := fmt.Fprint(stdout, version())
				return err
			},
		},
	)
	root.AddCommand(cli.Commands(connect(environ, stderr), cli.Streams{In: os.Stdin, Out: stdout, Err: stderr})...)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return setupError{err} })
	return root.ExecuteContext(ctx)
}

// noArgs refuses arguments, unknown commands among them.
func noArgs(cmd *cobra.Command, args []string) error {
	if err := cobra.NoArgs(cmd, args); err != nil {
		return setupError{err}
	}
	return nil
}

// collectAt is by how much the memory in use grows, in percent, before what is no longer used is collected: what lives on is
// so little that Go's 100 would have it collected every few dozen clicks.
const collectAt = 400

// homeEvery is how long a change may take to show in the home of somebody who looks at it. Each look lists Temporal's
// open workflows, once for everybody.
const homeEvery = 5 * time.Second

// serve runs the bot, the worker, or both until ctx ends, and then lets them finish what they have in hand. ready is
// called once, when clicks and tasks are taken.
func serve(ctx context.Context, cfg config.Config, role config.Role, l *slog.Logger, ready func()) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	started := time.Now()
	signal.Ignore(syscall.SIGPIPE) // That nobody reads the log any more ends nothing.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	l.Info("starting", "version", release())
	seen, err := startTelemetry(ctx, &cfg, l)
	if err != nil {
		return err
	}
	defer seen.Stop()
	h, stopHealth, err := serveHealth(ctx, cfg, role, l, seen)
	if err != nil {
		return err
	}
	defer stopHealth()

	temporal, err := connectTemporal(ctx, cfg, l, h)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	defer temporal.Close()
	web := &http.Client{Timeout: slackapi.Timeout}
	api := slack.New(cfg.SlackBotToken, slack.OptionAPIURL(cfg.SlackAPIURL), slack.OptionHTTPClient(web),
		slack.OptionAppLevelToken(cfg.SlackAppToken))
	chat, err := connectSlack(ctx, api, web, l, h)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	watch(ctx, l, h, cfg, role, temporal, chat)

	if role != config.Bot {
		sdkworker.SetStickyWorkflowCacheSize(cfg.StickyCacheSize)
		w := worker.New(worker.Deps{
			Temporal: temporal, Records: records(temporal, cfg), Slack: chat, Keys: cfg.ReferenceKeys, Log: l,
			Policy: worker.Policy{
				Approvers: workflows.Approvers(cfg.Approvers), AllowSelf: cfg.AllowSelfApproval, AllowGuests: cfg.AllowGuests,
				AllowApprovalOnExpiry: cfg.AllowApprovalOnExpiry, Deadline: cfg.Deadline,
			},
		}, worker.Options{TaskQueue: cfg.TaskQueue, Version: cfg.Version(), Fatal: fail})
		if err := w.Start(); err != nil {
			return fmt.Errorf("start the worker: %w", err)
		}
		defer w.Stop()
	}
	announce := func() {
		if ctx.Err() != nil { // A socket that opens while the process stops.
			return
		}
		l.Info("ready", "after", time.Since(started).Round(time.Millisecond), "task_queue", cfg.TaskQueue, "keys", cfg.ReferenceKeys.IDs())
		h.Set(partProcess, nil)
		ready()
	}
	if role == config.Worker {
		announce()
		<-ctx.Done()
		return unlessStopped(ctx, context.Cause(ctx))
	}
	context.AfterFunc(ctx, func() { l.Info("stopping: what is in hand is finished first") })
	defer peers.Show(ctx, temporal, cfg.TaskQueue, cfg.ReferenceKeys.IDs(), func(err error) {
		l.Warn("the workers cannot see this bot's keys, trying again", "err", err)
	})()
	if seen.Measures() {
		go countOpen(ctx, records(temporal, cfg), temporal, l)
	}
	b := bot.New(bot.Options{
		Slack: chat, Temporal: temporal, Records: records(temporal, cfg),
		Keys: cfg.ReferenceKeys, Team: chat.Self().Team, App: chat.Self().AppID, Requesters: bot.Requesters(cfg.Requesters),
		APIURL: cfg.SlackAPIURL, HomeEvery: homeEvery, Log: l,
		Connected: func(ok bool) {
			if ok {
				h.Set(partSocket, nil)
			} else {
				h.Set(partSocket, errors.New("no socket to Slack is open"))
			}
		},
	})
	go b.KeepHomes(ctx)
	if cfg.SlackAppToken != "" {
		if err = b.ServeSocket(ctx, chat.OpenSocket, announce); err != nil {
			return setupError{fmt.Errorf("slack refuses SLACK_APP_TOKEN (%w): make an app-level token with connections:write, and turn Socket Mode on", err)}
		}
	} else {
		var listener net.Listener
		if listener, err = net.Listen("tcp", cfg.ListenAddress); err != nil {
			return setupError{fmt.Errorf("listen for Slack: %w: set LISTEN_ADDRESS to a free address", err)}
		}
		l.Info("listening", "address", listener.Addr().String(), "path", bot.EventsPath)
		announce()
		err = b.ServeHTTP(ctx, listener, cfg.SlackSigningSecret)
	}
	if err != nil {
		return err
	}
	return unlessStopped(ctx, context.Cause(ctx))
}

// records reads the deployment's requests.
func records(c client.Client, cfg config.Config) record.Reader {
	return record.Reader{
		Temporal: c, Namespace: cfg.Temporal.Namespace, TaskQueue: cfg.TaskQueue,
		Data: cfg.Temporal.DataConverter, Failures: cfg.Temporal.FailureConverter,
	}
}

// unlessStopped is err, or nil where the process was asked to stop.
func unlessStopped(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return nil
	}
	return err
}

// connectTemporal waits until Temporal answers, and says that it waits.
func connectTemporal(ctx context.Context, cfg config.Config, l *slog.Logger, h *health.Health) (client.Client, error) {
	o := cfg.Temporal
	o.Logger = log.NewStructuredLogger(l)
	return insist(ctx, l, h, partTemporal, o.HostPort, func() (client.Client, error) {
		c, err := client.DialContext(ctx, o)
		if err != nil {
			return nil, err
		}
		_, err = c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: o.Namespace})
		var unknown *serviceerror.NamespaceNotFound
		if errors.As(err, &unknown) {
			c.Close()
			return nil, backoff.Permanent(setupError{fmt.Errorf("temporal at %s has no namespace %q: set TEMPORAL_NAMESPACE, or create it", o.HostPort, o.Namespace)})
		}
		return c, nil // Others may not be allowed to describe it, and need not be.
	})
}

// connectSlack waits until Slack answers, and says that it waits.
func connectSlack(ctx context.Context, api *slack.Client, web *http.Client, l *slog.Logger, h *health.Health) (*slackapi.Client, error) {
	return insist(ctx, l, h, partSlack, "", func() (*slackapi.Client, error) {
		c, err := slackapi.Connect(ctx, api, web)
		if e := cmp.Or(slackapi.AsUnauthorized(err), slackapi.AsRefused(err)); e != nil {
			return nil, backoff.Permanent(setupError{tokenError(e)})
		}
		return c, err
	})
}

// tokenError says what to do where Slack does not take the bot token.
func tokenError(e *slackapi.Error) error {
	return fmt.Errorf("slack refuses SLACK_BOT_TOKEN (%s): install the app again and copy its Bot User OAuth Token", e.Code)
}

// insist tries until the part is reached, ctx ends, or the error is permanent. Where ctx ends, the error is that of the last
// try.
func insist[T any](ctx context.Context, l *slog.Logger, h *health.Health, part, address string, try func() (T, error)) (T, error) {
	waiting := part + " is not reachable, waiting"
	var last error
	v, err := backoff.Retry(ctx, try, backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, next time.Duration) {
		last = err
		h.Set(part, errors.New(waiting))
		l.Warn(waiting, "address", address, "next_try", next.Round(time.Millisecond), "err", err)
	}))
	switch {
	case err == nil:
		h.Set(part, nil)
	case ctx.Err() != nil && last != nil:
		err = last
	}
	return v, err
}
