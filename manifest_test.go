package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"
	"go.yaml.in/yaml/v3"

	"countersign/bot"
	"countersign/internal/slackapi"
)

const exampleHost = "https://countersign.example.com"

func TestManifestsInDocs(t *testing.T) {
	t.Parallel()
	for file, args := range map[string][]string{
		"docs/manifest-socket.yaml": {"manifest"},
		"docs/manifest-http.yaml":   {"manifest", "--http", exampleHost},
	} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			has, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(prints(t, args...), string(has)); diff != "" {
				t.Errorf("write it anew, with go run . %s > %s (-printed +file):\n%s", strings.Join(args, " "), file, diff)
			}
		})
	}
}

// What Slack reads of the manifest, as slack-go's type has it, is what the tables say.
func TestManifestHoldsTheTables(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]string{"Socket Mode": "", "HTTP": exampleHost + bot.EventsPath} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var m slack.Manifest
			d := yaml.NewDecoder(bytes.NewReader(manifestYAML(at)))
			d.KnownFields(true)
			if err := d.Decode(&m); err != nil {
				t.Fatal(err)
			}
			var commands []slack.ManifestSlashCommand
			for _, c := range bot.Commands() {
				commands = append(commands, slack.ManifestSlashCommand{Command: c.Name, Url: at, Description: c.Description, UsageHint: c.UsageHint, ShouldEscape: true})
			}
			var scopes []string
			for _, s := range slackapi.Scopes() {
				scopes = append(scopes, s.Name)
			}
			want := slack.Manifest{
				Metadata: slack.ManifestMetadata{MajorVersion: 2, MinorVersion: 1},
				Display:  slack.Display{Name: "Countersign", Description: "Approvals for Temporal workflows", BackgroundColor: "#1d3557"},
				Features: slack.Features{
					AppHome:       slack.AppHome{HomeTabEnabled: true, MessagesTabEnabled: true, MessagesTabReadOnlyEnabled: true},
					BotUser:       slack.BotUser{DisplayName: "countersign", AlwaysOnline: true},
					SlashCommands: commands,
				},
				OAuthConfig: slack.OAuthConfig{Scopes: slack.OAuthScopes{Bot: scopes}},
				Settings: slack.Settings{
					EventSubscriptions: &slack.EventSubscriptions{RequestUrl: at, BotEvents: bot.Events()},
					Interactivity:      &slack.Interactivity{IsEnabled: true, RequestUrl: at},
					SocketModeEnabled:  at == "",
				},
			}
			if diff := cmp.Diff(want, m); diff != "" {
				t.Errorf("the manifest (-want +got):\n%s", diff)
			}
			// https://docs.slack.dev/reference/app-manifest
			for _, c := range m.Features.SlashCommands {
				if len(c.Command) > 32 || len(c.Description) > 2000 || len(c.UsageHint) > 1000 {
					t.Errorf("%s is too long for Slack", c.Command)
				}
			}
			var asJSON, asYAML, inLink manifestFile
			if err := errors.Join(json.Unmarshal(manifestJSON(at), &asJSON), yaml.Unmarshal(manifestYAML(at), &asYAML)); err != nil {
				t.Fatal(err)
			}
			link, err := url.Parse(manifestLink(at))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(link.RawQuery, "+") {
				t.Error("a space in the link is a plus sign")
			}
			if err := yaml.Unmarshal([]byte(link.Query().Get("manifest_yaml")), &inLink); err != nil {
				t.Fatal(err)
			}
			for form, got := range map[string]manifestFile{"JSON": asJSON, "YAML": asYAML, "the link": inLink} {
				if diff := cmp.Diff(wantedManifest(at), got); diff != "" {
					t.Errorf("in %s (-want +got):\n%s", form, diff)
				}
			}
		})
	}
}

func TestManifestForAHost(t *testing.T) {
	t.Parallel()
	for arg, want := range map[string]string{
		"https://bot.example.org":              "https://bot.example.org/slack/events",
		"https://bot.example.org/":             "https://bot.example.org/slack/events",
		"https://bot.example.org:8443":         "https://bot.example.org:8443/slack/events",
		"https://bot.example.org/slack/events": "https://bot.example.org/slack/events",
		"http://bot.example.org":               "",
		"http://localhost:3000":                "",
		"bot.example.org":                      "",
		"https://":                             "",
		"":                                     "",
		"https://bot.example.org/bot":          "",
		"https://bot.example.org?x=1":          "",
		"https://bot.example.org#x":            "",
		"https://me:secret@bot.example.org":    "",
		"https://bot.example.org:port":         "",
	} {
		t.Run(arg, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			err := run(t.Context(), []string{"manifest", "--json", "--http", arg}, nil, &stdout, &stderr)
			if want == "" {
				if err == nil || exitCode(err) != 2 || !strings.Contains(err.Error(), "--http") || stdout.Len() > 0 {
					t.Errorf("ends with %v, and prints %q, want exit code 2 and what to do", err, &stdout)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var m manifestFile
			if err := json.Unmarshal(stdout.Bytes(), &m); err != nil {
				t.Fatal(err)
			}
			for _, got := range []string{m.Features.Commands[0].URL, m.Features.Commands[1].URL, m.Settings.Events.RequestURL, m.Settings.Interactivity.RequestURL} {
				if got != want {
					t.Errorf("Slack delivers to %q, want %q", got, want)
				}
			}
		})
	}
}

// The doc's table of scopes is the code's, and one row more: that of the app-level token.
func TestScopesInDocs(t *testing.T) {
	t.Parallel()
	const file = "docs/slack-app.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "| scope | what it is for | without it |\n|---|---|---|\n")
	if !ok {
		t.Fatalf("%s has no table of scopes", file)
	}
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(strings.ReplaceAll(table, "`", ""), "\n")
	var want []string
	for _, s := range slackapi.Scopes() {
		want = append(want, "| "+s.Name+" | "+s.For+" | "+s.Without+" |")
	}
	i := slices.IndexFunc(rows, func(row string) bool { return strings.HasPrefix(row, "| connections:write ") })
	if i < 0 {
		t.Fatalf("%s does not have connections:write", file)
	}
	if diff := cmp.Diff(want, slices.Delete(rows, i, i+1)); diff != "" {
		t.Errorf("%s has other scopes, or says other things of them, than slackapi.Scopes (-code +doc):\n%s", file, diff)
	}
}
