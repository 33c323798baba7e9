package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"countersign/internal/cli"
	"countersign/internal/config"
	"countersign/internal/reference"
	"countersign/internal/slacksim"
)

func TestBadCommandLines(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"unknown flag":                    {"--verbose"},
		"unknown flag of run":             {"run", "--verbose"},
		"unknown flag of demo":            {"demo", "--port", "1"},
		"flag without its value":          {"demo", "--address"},
		"unknown command":                 {"serve"},
		"argument of run":                 {"run", "now"},
		"argument of key":                 {"key", "2"},
		"argument of version":             {"version", "2"},
		"unknown flag of version":         {"version", "--json"},
		"unknown flag of request":         {"request", "--aprover", "U0123456789"},
		"flag of request without a value": {"request", "--title"},
		"words for a number":              {"request", "--required", "two"},
		"request without an argument":     {"wait"},
		"unknown flag of list":            {"list", "--closed"},
		"argument of list":                {"list", "open"},
		"demo at an address that is none": {"demo", "--address", "nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			err := run(t.Context(), args, nil, &stdout, &stderr)
			if err == nil {
				t.Fatalf("countersign %q does nothing wrong", args)
			}
			if code := exitCode(err); code != 2 {
				t.Errorf("%v: exit code %d, want 2", err, code)
			}
			if stdout.Len() > 0 {
				t.Errorf("printed %q", &stdout)
			}
		})
	}
}

// All that is missing or wrong is said in one message.
func TestMissingVariables(t *testing.T) {
	t.Chdir(t.TempDir()) // Without a .env file.
	for name, tc := range map[string]struct {
		args    []string
		environ []string
		names   []string // of the variables that are named
		spared  []string // those that have no fault
		hidden  []string // values that are not shown
	}{
		"run without anything": {
			args: nil, names: []string{"SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "SLACK_APP_TOKEN", "REFERENCE_KEYS", "countersign key"},
		},
		"bot": {args: []string{"bot"}, names: []string{"SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "REFERENCE_KEYS"}},
		"worker": {
			args: []string{"worker"}, names: []string{"SLACK_BOT_TOKEN", "REFERENCE_KEYS"}, spared: []string{"SLACK_SIGNING_SECRET"},
		},
		"Socket Mode": {
			args: []string{"run"}, environ: []string{"SLACK_APP_TOKEN=xapp-1"},
			names: []string{"SLACK_BOT_TOKEN", "REFERENCE_KEYS"}, spared: []string{"SLACK_SIGNING_SECRET"},
		},
		"malformed": {
			args: []string{"run"},
			environ: []string{
				"SLACK_BOT_TOKEN=xoxp-secret", "SLACK_APP_TOKEN=secret", "APPROVERS=bob", "DEADLINE=soon", "REFERENCE_KEYS=c2VjcmV0",
				"LOG_LEVEL=loud", "LOG_FORMAT=xml", "ALLOW_SELF_APPROVAL=maybe", "REQUESTERS=everybody",
				"ALLOW_GUESTS=some", "ALLOW_APPROVAL_ON_EXPIRY=reject", "TEMPORAL_ADDRESS=127.0.0.1:7233",
			},
			names: []string{
				"SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "APPROVERS", "DEADLINE", "REFERENCE_KEYS", "LOG_LEVEL", "LOG_FORMAT", "ALLOW_SELF_APPROVAL", "REQUESTERS",
				"ALLOW_GUESTS", "ALLOW_APPROVAL_ON_EXPIRY",
			},
			hidden: []string{"xoxp-secret", "=secret", "c2VjcmV0"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			err := run(t.Context(), tc.args, tc.environ, &stdout, &stderr)
			var faults *config.Error
			if !errors.As(err, &faults) || exitCode(err) != 2 {
				t.Fatalf("run: %v with exit code %d, want a *config.Error with 2", err, exitCode(err))
			}
			for _, want := range tc.names {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the message lacks %s:\n%v", want, err)
				}
			}
			for _, f := range faults.Faults {
				if slices.Contains(tc.spared, f.Name) {
					t.Errorf("%s is not needed here: %v", f.Name, f)
				}
				if f.Remedy == "" {
					t.Errorf("nothing is said of how to mend %s", f.Name)
				}
			}
			for _, value := range tc.hidden {
				if strings.Contains(err.Error(), value) {
					t.Errorf("the message shows %s:\n%v", value, err)
				}
			}
			if stdout.Len()+stderr.Len() > 0 {
				t.Errorf("printed %q and %q besides", &stdout, &stderr)
			}
		})
	}
}

func TestKeyCanBeUsed(t *testing.T) {
	t.Parallel()
	var seen []string
	for range 2 {
		var stdout, stderr bytes.Buffer
		if err := run(t.Context(), []string{"key"}, nil, &stdout, &stderr); err != nil {
			t.Fatal(err)
		}
		line, rest, ended := strings.Cut(stdout.String(), "\n")
		if !ended || rest != "" || stderr.Len() > 0 {
			t.Errorf("printed %q and %q, want one line", &stdout, &stderr)
		}
		keys, err := reference.ParseKeys(line)
		if err != nil || len(keys.IDs()) != 1 {
			t.Errorf("%q is no key: %v", line, err)
		}
		seen = append(seen, line)
	}
	if seen[0] == seen[1] {
		t.Error("the same key twice")
	}
}

func TestHelpNamesEveryCommand(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	if err := run(t.Context(), []string{"--help"}, nil, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"run", "bot", "worker", "demo", "key", "request", "wait", "list", "show", "withdraw", "decide", "audit", "version", "completion",
		"setup", "manifest", "doctor",
	} {
		if !strings.Contains(stdout.String(), "\n  "+want+" ") {
			t.Errorf("the help lacks %q:\n%s", want, &stdout)
		}
	}
}

// prints runs a command line that has to end well, and returns what it prints.
func prints(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if err := run(t.Context(), args, nil, &stdout, &stderr); err != nil {
		t.Fatalf("countersign %q: %v", args, err)
	}
	return stdout.String()
}

// Every command says what it is for, and shows how it is used.
func TestHelpOfEveryCommand(t *testing.T) {
	t.Parallel()
	seen := 0
	var walk func(path ...string)
	walk = func(path ...string) {
		// What a shell completes is the commands, each with what it is for.
		for line := range strings.Lines(prints(t, append(append([]string{"__complete"}, path...), "")...)) {
			name, short, ok := strings.Cut(strings.TrimSpace(line), "\t")
			if name == "" || strings.HasPrefix(name, ":") || strings.HasPrefix(name, "Completion ended") {
				continue
			}
			at := append(slices.Clone(path), name)
			if !ok || short == "" {
				t.Errorf("countersign %q does not say what it is for", at)
			}
			if at[0] == "completion" || at[0] == "help" { // Cobra's own.
				prints(t, append(at, "--help")...)
				continue
			}
			seen++
			help := prints(t, append(at, "--help")...)
			_, examples, ok := strings.Cut(help, "\nExamples:\n")
			if examples, _, _ = strings.Cut(examples, "\n\n"); !ok || !strings.Contains(examples, "countersign "+strings.Join(at, " ")) {
				t.Errorf("the help of countersign %q has no example of it:\n%s", at, help)
			}
			for line := range strings.Lines(help) {
				if n := utf8.RuneCountInString(line); n > 130 {
					t.Errorf("the help of countersign %q has a line of %d characters: %s", at, n, line)
				}
			}
			walk(at...)
		}
	}
	walk()
	if seen < 12 {
		t.Errorf("%d commands were looked at", seen)
	}
	if help := prints(t, "--help"); !strings.Contains(help, "\nExamples:\n  countersign ") || !strings.Contains(help, "130 interrupted") {
		t.Errorf("the help lacks examples, or exit codes:\n%s", help)
	}
}

func TestCompletionScripts(t *testing.T) {
	t.Parallel()
	for shell, want := range map[string]string{
		"bash": "complete -o default -F __start_countersign countersign", "zsh": "#compdef countersign", "fish": "complete -c countersign",
		"powershell": "Register-ArgumentCompleter -CommandName 'countersign'",
	} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			if got := prints(t, "completion", shell); !strings.Contains(got, want) {
				t.Errorf("the script lacks %q", want)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	got := prints(t, "version")
	for _, want := range []string{"countersign ", "built with  " + runtime.Version() + " for " + runtime.GOOS + "/" + runtime.GOARCH + "\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("it prints %q, want %q in it", got, want)
		}
	}
}

// The commands that need Temporal alone need no variable, and say which ones they have that are wrong.
func TestCommandsForTemporal(t *testing.T) {
	t.Chdir(t.TempDir()) // Without a .env file.
	for _, args := range [][]string{
		{"request", "--title", "T", "--channel", "C0123456789"}, {"wait", "x"}, {"list"}, {"show", "x"}, {"withdraw", "x"}, {"decide", "x", "--reject", "--reason", "r", "--by", "b"}, {"audit"},
	} {
		t.Run(args[0], func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			err := run(t.Context(), args, []string{"SLACK_BOT_TOKEN=wrong", "TEMPORAL_ADDRESS=http://x", "ALLOW_OUTSIDE_DECISIONS=perhaps"}, &stdout, &stderr)
			var faults *config.Error
			if !errors.As(err, &faults) || exitCode(err) != 2 || len(faults.Faults) != 2 {
				t.Errorf("it ends with %v and exit code %d, want two faults and 2", err, exitCode(err))
			}
		})
	}
}

func TestDemoAtATakenAddress(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	var stdout, stderr bytes.Buffer
	err = run(t.Context(), []string{"demo", "--address", taken.Addr().String()}, nil, &stdout, &stderr)
	if err == nil || exitCode(err) != 2 || !strings.Contains(err.Error(), "--address") {
		t.Errorf("demo: %v, want exit code 2 and what to do", err)
	}
}

func TestSlackRefusesTheToken(t *testing.T) {
	t.Parallel()
	sim := slacksim.New(slacksim.Options{})
	srv := httptest.NewServer(sim)
	defer srv.Close()
	defer sim.Close()
	var stderr bytes.Buffer
	_, err := connectSlack(t.Context(), slack.New("xoxb-wrong", slack.OptionAPIURL(srv.URL+"/api/")), srv.Client(), logger(config.Config{}, &stderr), nil)
	if err == nil || exitCode(err) != 2 || !strings.Contains(err.Error(), "SLACK_BOT_TOKEN") || strings.Contains(err.Error(), "xoxb-wrong") {
		t.Errorf("connectSlack: %v, want exit code 2 and the variable's name", err)
	}
}

func TestExitCode(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for name, tc := range map[string]struct {
		err  error
		want int
	}{
		"to be mended":          {setupError{boom}, 2},
		"to be mended, wrapped": {fmt.Errorf("start: %w", setupError{boom}), 2},
		"anything else":         {boom, 1},
		"stopped":               {context.Canceled, 1},
		"expired":               {&cli.Error{Code: cli.ExitExpired, Err: boom}, 3},
		"withdrawn, wrapped":    {fmt.Errorf("wait: %w", &cli.Error{Code: cli.ExitWithdrawn, Err: boom}), 4},
		"not asked, for it is to be mended first": {&cli.Error{Code: cli.ExitNotAsked, Err: setupError{boom}}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := exitCode(tc.err); got != tc.want {
				t.Errorf("exitCode(%v) = %d, want %d", tc.err, got, tc.want)
			}
			if !errors.Is(setupError{boom}, boom) {
				t.Error("a setup error hides its cause")
			}
		})
	}
}
