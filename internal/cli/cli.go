// Package cli has the commands by which shells and CI jobs ask, wait and look: they need Temporal alone, no Slack.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"countersign/internal/record"
	"countersign/workflows"
)

// The exit codes of the commands, beside 0.
const (
	ExitRejected    = 1 // the request was rejected; of a command that has no outcome: an error
	ExitUsage       = 2 // a flag, an argument or the configuration is wrong
	ExitExpired     = 3
	ExitWithdrawn   = 4
	ExitNotAsked    = 5 // it could not be asked, or its outcome could not be learned
	ExitInterrupted = 130
)

// Error ends the process with Code. It is printed.
type Error struct {
	Code int
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

func exit(code int, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// Client is the deployment that the commands speak to.
type Client struct {
	Temporal client.Client
	Records  record.Reader
	// AllowDecide lets decide decide.
	AllowDecide bool
}

// Streams are where the commands read and write. Out gets results, Err progress.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Connect makes a Client, and what closes it.
type Connect func(ctx context.Context) (c Client, closer func(), err error)

// Commands are the commands.
func Commands(connect Connect, s Streams) []*cobra.Command {
	return []*cobra.Command{
		requestCommand(connect, s), waitCommand(connect, s), listCommand(connect, s), showCommand(connect, s),
		withdrawCommand(connect, s), decideCommand(connect, s), auditCommand(connect, s),
	}
}

// found is a request as JSON has it.
type found struct {
	WorkflowID string `json:"workflow_id"`
	RunID      string `json:"run_id"`
	workflows.Listed
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// oneID refuses all but one argument.
func oneID(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) != 1 || args[0] == "":
		return exit(ExitUsage, "give the request's ID: %s; `countersign list` shows those that are open", cmd.UseLine())
	case strings.ContainsFunc(args[0], func(r rune) bool { return r < ' ' || r > '~' }): // Temporal's client takes no other.
		return exit(ExitUsage, "the ID %q has characters that no request's ID has", args[0])
	default:
		return nil
	}
}

// isSafe reports whether no shell takes anything in s for more than it is.
func isSafe(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._:/@+=-", r)
	})
}

// quote makes s one word of a command that people copy.
func quote(s string) string {
	if s != "" && isSafe(s) {
		return s
	}
	return "'" + strings.ReplaceAll(plain(s), "'", `'\''`) + "'"
}

// noArgs refuses arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return exit(ExitUsage, "%s takes no argument, but has %q: see %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())
	}
	return nil
}

// completeID completes the IDs of open requests.
func completeID(connect Connect) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, stop := context.WithTimeout(cmd.Context(), time.Second)
		defer stop()
		c, closer, err := connect(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		defer closer()
		all, err := c.Records.List(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var ids []cobra.Completion
		for _, f := range all.Open {
			if isSafe(f.WorkflowID) {
				ids = append(ids, cobra.CompletionWithDesc(f.WorkflowID, plain(f.Round.Title)))
			}
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}

// find finds the requests of the workflow with that ID, or the one with that name among them.
func (c Client) find(ctx context.Context, id, question string) (all []record.Found, running bool, err error) {
	all, running, ok, err := c.Records.Describe(ctx, id, "")
	switch {
	case unreadable(err) != nil:
		return nil, false, unreadable(err)
	case err != nil:
		return nil, false, fmt.Errorf("look the request up: %w", err)
	case !ok:
		return nil, false, exit(ExitUsage, "there is no request %q on the task queue %s: `countersign list` shows those that are open", id, c.Records.TaskQueue)
	}
	if len(all) == 0 {
		if err := c.readable(ctx, id, ""); err != nil {
			return nil, false, err
		}
	}
	if question == "" || len(all) == 0 {
		return all, running, nil
	}
	names := questions(all)
	all = slices.DeleteFunc(all, func(f record.Found) bool { return f.Question != question })
	if len(all) == 0 {
		return nil, false, exit(ExitUsage, "it lists no question %q, but %s", question, names)
	}
	return all, running, nil
}

// questions names requests of one workflow.
func questions(all []record.Found) string {
	names := make([]string, len(all))
	for i, f := range all {
		names[i] = fmt.Sprintf("%s (%s)", plain(f.Question), plain(f.Round.Title))
	}
	return strings.Join(names, ", ")
}

// readable is why nothing can be read of a workflow that lists no request: it is encrypted, and cannot be decrypted here.
func (c Client) readable(ctx context.Context, id, runID string) error {
	var input any
	return unreadable(c.Records.Input(ctx, id, runID, &input))
}

// unreadable is what there is to say of an error that tells that something cannot be decrypted; nil of any other.
func unreadable(err error) error {
	if record.Undecoded(err) || errors.Is(err, converter.ErrEncodingIsNotSupported) {
		return exit(ExitNotAsked, "the request is encrypted, and cannot be read here: set PAYLOAD_KEYS as its worker has it (%w)", err)
	}
	return nil
}

// findOpen finds the one request that is open. Of one that is about to open nothing is known but the workflow's ID.
func (c Client) findOpen(ctx context.Context, id, question string) (f record.Found, err error) {
	all, running, err := c.find(ctx, id, question)
	if err != nil {
		return f, err
	}
	asking := len(all) == 0 && running
	if asking {
		if all, err = c.Records.Unposted(ctx, id, ""); err != nil {
			return f, err
		}
		all = slices.DeleteFunc(all, func(f record.Found) bool { return question != "" && f.Question != question })
	}
	var open []record.Found
	for _, f := range all {
		if f.Outcome == "" {
			open = append(open, f)
		}
	}
	switch {
	case len(open) == 1:
		return open[0], nil
	case len(open) > 1:
		return f, exit(ExitUsage, "it asks for several things: choose one with --question, of %s", questions(open))
	case asking && question == "":
		return record.Found{WorkflowID: id}, nil
	case len(all) > 0 && all[0].Outcome != workflows.Failed:
		return f, exit(ExitRejected, "too late: the request is %s already", plain(string(all[0].Outcome)))
	default:
		return f, exit(ExitRejected, "the request is not open: see `countersign show %s`", quote(id))
	}
}

// byName is the name of who runs the command, as the system has it.
func byName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

// plain is text of others, for a terminal: without what would steer it.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return ' '
		}
		return r
	}, s)
}

// isCode says which exit code an error asks for; fallback where it asks for none.
func isCode(err error, fallback int) error {
	var e *Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return &Error{Code: fallback, Err: err}
}
