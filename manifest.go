package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"countersign/bot"
	"countersign/internal/slackapi"
)

// manifestCommand is "countersign manifest".
func manifestCommand(stdout io.Writer) *cobra.Command {
	var (
		host   string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "manifest",
		Short: "Print the manifest of the Slack app",
		Long: `Print the manifest of the Slack app: its commands, scopes and events, and by which way Slack delivers.

That is Socket Mode, which needs no public address, or with --http signed HTTP. Create the app from it at
https://api.slack.com/apps, or put it in place of an app's old one under App Manifest.`,
		Example: `  countersign manifest
  countersign manifest --http https://countersign.example.com
  countersign manifest --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := requestURL(host, cmd.Flags().Changed("http"))
			if err != nil {
				return err
			}
			text := manifestYAML(at)
			if asJSON {
				text = manifestJSON(at)
			}
			_, err = stdout.Write(text)
			return err
		},
	}
	httpFlag(cmd, &host)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, not YAML")
	return cmd
}

// httpFlag gives a command the flag --http.
func httpFlag(cmd *cobra.Command, host *string) {
	cmd.Flags().StringVar(host, "http", "", "for signed HTTP: https and the host at which Slack reaches the bot (default: Socket Mode)")
}

// requestURL is where Slack delivers to a bot at the host that --http names. Empty means Socket Mode: that the flag is
// not set.
func requestURL(host string, set bool) (string, error) {
	if !set {
		return "", nil
	}
	u, err := url.Parse(host)
	// https://docs.slack.dev/reference/app-manifest#slash_commands
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return "", setupError{fmt.Errorf("--http is %q: write https:// and the host at which Slack reaches the bot, such as https://countersign.example.com", host)}
	}
	if u.Path != "" && u.Path != "/" && u.Path != bot.EventsPath {
		return "", setupError{fmt.Errorf("--http has the path %q: leave it out, for the bot answers at %s alone", u.Path, bot.EventsPath)}
	}
	return "https://" + u.Host + bot.EventsPath, nil
}

// manifestFile is the manifest of the Slack app. Unlike slack-go's type it also says what is off, in the order of
// https://docs.slack.dev/reference/app-manifest
type manifestFile struct {
	Metadata struct {
		MajorVersion int `yaml:"major_version" json:"major_version"`
		MinorVersion int `yaml:"minor_version" json:"minor_version"`
	} `yaml:"_metadata" json:"_metadata"`
	Display struct {
		Name            string `yaml:"name" json:"name"`
		Description     string `yaml:"description" json:"description"`
		BackgroundColor string `yaml:"background_color" json:"background_color"`
	} `yaml:"display_information" json:"display_information"`
	Features struct {
		AppHome struct {
			Home             bool `yaml:"home_tab_enabled" json:"home_tab_enabled"`
			Messages         bool `yaml:"messages_tab_enabled" json:"messages_tab_enabled"`
			MessagesReadOnly bool `yaml:"messages_tab_read_only_enabled" json:"messages_tab_read_only_enabled"`
		} `yaml:"app_home" json:"app_home"`
		BotUser struct {
			DisplayName  string `yaml:"display_name" json:"display_name"`
			AlwaysOnline bool   `yaml:"always_online" json:"always_online"`
		} `yaml:"bot_user" json:"bot_user"`
		Commands []manifestSlashCommand `yaml:"slash_commands" json:"slash_commands"`
	} `yaml:"features" json:"features"`
	OAuth struct {
		Scopes struct {
			Bot []string `yaml:"bot" json:"bot"`
		} `yaml:"scopes" json:"scopes"`
	} `yaml:"oauth_config" json:"oauth_config"`
	Settings struct {
		Events struct {
			RequestURL string   `yaml:"request_url,omitempty" json:"request_url,omitempty"`
			Bot        []string `yaml:"bot_events" json:"bot_events"`
		} `yaml:"event_subscriptions" json:"event_subscriptions"`
		Interactivity struct {
			Enabled    bool   `yaml:"is_enabled" json:"is_enabled"`
			RequestURL string `yaml:"request_url,omitempty" json:"request_url,omitempty"`
		} `yaml:"interactivity" json:"interactivity"`
		OrgDeploy     bool `yaml:"org_deploy_enabled" json:"org_deploy_enabled"`
		SocketMode    bool `yaml:"socket_mode_enabled" json:"socket_mode_enabled"`
		TokenRotation bool `yaml:"token_rotation_enabled" json:"token_rotation_enabled"`
	} `yaml:"settings" json:"settings"`
}

type manifestSlashCommand struct {
	Command     string `yaml:"command" json:"command"`
	URL         string `yaml:"url,omitempty" json:"url,omitempty"`
	Description string `yaml:"description" json:"description"`
	UsageHint   string `yaml:"usage_hint" json:"usage_hint"`
	// Escape has people and links in a command's text come marked up, and unambiguous.
	Escape bool `yaml:"should_escape" json:"should_escape"`
}

// wantedManifest is the manifest that the app needs. Slack delivers to requestURL; empty means Socket Mode.
func wantedManifest(requestURL string) (m manifestFile) {
	m.Metadata.MajorVersion, m.Metadata.MinorVersion = 2, 1
	m.Display.Name, m.Display.Description, m.Display.BackgroundColor = "Countersign", "Approvals for Temporal workflows", "#1d3557"
	m.Features.AppHome.Home = true
	// Without the tab nobody can get a direct message of the app; read-only, since it reads none of theirs.
	m.Features.AppHome.Messages, m.Features.AppHome.MessagesReadOnly = true, true
	m.Features.BotUser.DisplayName, m.Features.BotUser.AlwaysOnline = "countersign", true
	for _, c := range bot.Commands() {
		m.Features.Commands = append(m.Features.Commands, manifestSlashCommand{
			Command: c.Name, URL: requestURL, Description: c.Description, UsageHint: c.UsageHint, Escape: true,
		})
	}
	for _, s := range slackapi.Scopes() {
		m.OAuth.Scopes.Bot = append(m.OAuth.Scopes.Bot, s.Name)
	}
	m.Settings.Events.RequestURL, m.Settings.Events.Bot = requestURL, bot.Events()
	m.Settings.Interactivity.Enabled, m.Settings.Interactivity.RequestURL = true, requestURL
	m.Settings.SocketMode = requestURL == ""
	return m
}

// manifestYAML is the manifest as a file, which says what it is for.
func manifestYAML(requestURL string) []byte {
	about := "# Slack app manifest for Socket Mode: no public address is needed. See docs/slack-app.md.\n"
	if requestURL != "" {
		about = "# Slack app manifest for signed HTTP. Your own, with your host in every URL, is printed by\n" +
			"# `countersign manifest --http https://YOUR-HOST`. See docs/slack-app.md.\n"
	}
	return append([]byte(about), bareYAML(requestURL)...)
}

func bareYAML(requestURL string) []byte {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	_ = e.Encode(wantedManifest(requestURL)) // Strings and booleans, to memory.
	return b.Bytes()
}

func manifestJSON(requestURL string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	_ = e.Encode(wantedManifest(requestURL)) // Strings and booleans, to memory.
	return b.Bytes()
}

// manifestLink opens Slack's page for a new app with the manifest filled in.
// https://docs.slack.dev/app-manifests/configuring-apps-with-app-manifests
func manifestLink(requestURL string) string {
	return "https://api.slack.com/apps?new_app=1&manifest_yaml=" + strings.ReplaceAll(url.QueryEscape(string(bareYAML(requestURL))), "+", "%20")
}
