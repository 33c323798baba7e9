package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"countersign/bot"
	"countersign/internal/cli"
	"countersign/internal/config"
	"countersign/internal/doctor"
	"countersign/internal/slackapi"
)

// checkupFlags say what a checkup looks at beside what the configuration names. They may all be empty.
type checkupFlags struct {
	role     string // empty: run
	channels []string
	url      string
	socket   bool
	json     bool
}

func doctorCommand(environ []string, stdout io.Writer) *cobra.Command {
	var f checkupFlags
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check the configuration, the Slack app and Temporal, and say what to do", Args: noArgs,
		Long: `Check the configuration, the Slack app and Temporal, and say what to do: one line for each thing. It changes nothing.

With SLACK_CONFIG_TOKEN, an app configuration token (xoxe.xoxp-…) from https://api.slack.com/apps, it looks at the app's
manifest too.

Exit codes: 0 nothing failed; 1 something failed; 2 a flag is wrong; 130 interrupted.`,
		Example: `  countersign doctor
  countersign doctor --channel C0123456789 --url https://countersign.example.com
  countersign doctor --role worker --json`,
		RunE: func(cmd *cobra.Command, _ []string) error { return checkup(cmd.Context(), environ, f, stdout) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.role, "role", "run", "for which `command` to look: run, bot or worker")
	flags.StringArrayVar(&f.channels, "channel", nil, "the `ID` of a channel in which the bot has to be (repeatable)")
	flags.StringVar(&f.url, "url", "", "where Slack's requests go without Socket Mode, an `address` such as https://countersign.example.com")
	flags.BoolVar(&f.socket, "socket", false, "open a socket although a bot runs: a click that comes by it is lost, and has to be made again")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	return cmd
}

var channelID = regexp.MustCompile(`^[CGD][A-Z0-9]+$`)

// checkup checks the deployment that environ and .env configure, and prints what it finds. Its error is an *cli.Error: with
// the code 1 where something failed.
func checkup(ctx context.Context, environ []string, f checkupFlags, stdout io.Writer) error {
	d, closer, err := deployment(environ, f)
	if err != nil {
		return &cli.Error{Code: cli.ExitUsage, Err: err}
	}
	defer closer()
	report := d.Examine(ctx, func(found doctor.Finding) {
		if !f.json && ctx.Err() == nil {
			fmt.Fprintln(stdout, found)
		}
	})
	switch {
	case ctx.Err() != nil:
		return &cli.Error{Code: cli.ExitInterrupted, Err: errors.New("interrupted")}
	case f.json:
		e := json.NewEncoder(stdout)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(report); err != nil {
			return err
		}
	case report.OK:
		fmt.Fprintln(stdout, report.Summary())
	}
	if !report.OK {
		return &cli.Error{Code: 1, Err: errors.New(report.Summary())}
	}
	return nil
}

// deployment is what is checked. closer ends what it has opened.
func deployment(environ []string, f checkupFlags) (d doctor.Deployment, closer func(), err error) {
	role, ok := map[string]config.Role{"": config.Run, "run": config.Run, "bot": config.Bot, "worker": config.Worker}[f.role]
	if !ok {
		return d, nil, fmt.Errorf("--role is %q: write run, bot or worker", f.role)
	}
	for _, id := range f.channels {
		if !channelID.MatchString(id) {
			return d, nil, fmt.Errorf("--channel is %q: write a channel's ID (C…), which stands at the end of its details", id)
		}
	}
	to, err := urlToProbe(f.url)
	if err != nil {
		return d, nil, err
	}
	cfg, err := config.Read(role, environ, ".env")
	var faults *config.Error
	if errors.As(err, &faults) {
		d.Faults = faults.Faults
	}
	d.Role, d.Config, d.Channels, d.URL, d.Socket = role, cfg, f.channels, to, f.socket
	d.App = appWanted()
	d.Slack = slackapi.Inspect(cfg.SlackBotToken, cfg.SlackAppToken, cfg.SlackAPIURL)
	d.ConfigToken = config.Variable("SLACK_CONFIG_TOKEN", environ, ".env")
	var opened client.Client
	d.Dial = func(ctx context.Context) (doctor.Temporal, error) { // It is called once.
		o := cfg.Temporal
		o.Logger = log.NewStructuredLogger(slog.New(slog.DiscardHandler))
		c, err := client.DialContext(ctx, o)
		if err != nil {
			return nil, err
		}
		opened = c
		return c, nil
	}
	return d, func() {
		if opened != nil {
			opened.Close()
		}
	}, nil
}

// appWanted is how the Slack app has to be set up.
func appWanted() doctor.App {
	m := wantedManifest("")
	app := doctor.App{Events: m.Settings.Events.Bot, Scopes: slackapi.Scopes(), Path: bot.EventsPath}
	for _, c := range m.Features.Commands {
		app.Commands = append(app.Commands, c.Command)
	}
	return app
}

// urlToProbe is the Request URL at an address; empty where that is.
func urlToProbe(address string) (string, error) {
	if address == "" {
		return "", nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("--url is no address of a host: write it as https://countersign.example.com")
	}
	if u.Path = strings.TrimSuffix(u.Path, "/"); !strings.HasSuffix(u.Path, bot.EventsPath) {
		u.Path += bot.EventsPath
	}
	return u.String(), nil
}
