package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"countersign/workflows"
)

// maxKey is how long a key may be, in bytes.
const maxKey = 200

// requestFlags are the flags of a request.
type requestFlags struct {
	from, key string
	wait      bool

	r                 workflows.Request
	approvers, fields []string
	choices           []string
	deadline, remind  string
	link              string
}

func requestCommand(connect Connect, s Streams) *cobra.Command {
	var f requestFlags
	cmd := &cobra.Command{
		Use:   "request",
		Short: "Ask people for approval, and wait for the outcome with --wait",
		Long: `Asks people in Slack for approval. The request comes from flags, from a JSON file (--from), or from both: a flag
wins over the file's field.

Without --wait it returns once the card is posted, and prints the request's ID. With --wait, and where the request has
ended by then, it prints the result as JSON and ends with 0 if it was approved, 1 rejected, 3 expired, 4 withdrawn, 5 if
it could not be asked or its outcome could not be learned. Progress goes to standard error. Ctrl-C leaves the request
open.`,
		Example: `  countersign request --title "Deploy v2" --channel C0123456789 --approver S0123456789 --required 2 --wait
  countersign request --from request.json --wait > result.json
  jq -n '{title: "Deploy v2", channel: "C0123456789"}' | countersign request --from - --approver U0123456789
  countersign request --from request.json --key "deploy-$GIT_SHA" --wait   # a repeat asks nothing twice`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return isCode(f.run(cmd.Context(), cmd.Flags(), connect, s), ExitNotAsked)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", "", "read the request from this JSON file; - is standard input")
	flags.StringVar(&f.key, "key", "", "a repeat with the same key attaches to the open request instead of asking again")
	flags.BoolVar(&f.wait, "wait", false, "wait for the outcome")
	flags.StringVar(&f.r.Title, "title", "", "what is to be approved, in a few words")
	flags.StringVar(&f.r.Text, "text", "", "more, in a little Markdown")
	flags.StringArrayVar(&f.fields, "field", nil, "a fact to decide by, as `LABEL=VALUE`; repeatable")
	flags.StringVar(&f.link, "link", "", "a `URL` that leads to more")
	flags.StringVar(&f.r.Channel, "channel", "", "`ID` of the Slack channel, or of a person who is asked in a direct message")
	flags.StringVar(&f.r.Requester, "requester", "", "Slack `ID` of the person who asks")
	flags.StringArrayVar(&f.approvers, "approver", nil, "`ID` of a person or a user group who may decide, or the word channel; repeatable")
	flags.IntVar(&f.r.Required, "required", 0, "how many have to approve (default 1)")
	flags.StringVar(&f.deadline, "deadline", "", "how long it waits, such as 90m, 24h or 3d (default: the deployment's)")
	flags.StringVar(&f.remind, "remind-every", "", "how often those who have not decided are reminded")
	flags.StringArrayVar(&f.choices, "choice", nil, "a choice instead of Approve; repeatable")
	flags.StringVar(&f.r.Confirm, "confirm", "", "a question that is asked before an approval")
	flags.BoolVar(&f.r.TellRequester, "tell-requester", false, "tell the requester in a direct message too")
	return cmd
}

func (f *requestFlags) run(ctx context.Context, set *pflag.FlagSet, connect Connect, s Streams) error {
	input, err := f.input(ctx, set, s)
	if err != nil {
		return err
	}
	c, closer, err := connect(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return exit(ExitInterrupted, "nothing was asked")
	case err != nil:
		return err
	}
	defer closer()
	id := "request-" + f.key
	if f.key == "" {
		id += strings.ToLower(rand.Text()[:16])
	}
	runID, attached, err := c.start(ctx, id, input)
	switch {
	case err != nil && ctx.Err() != nil:
		return exit(ExitInterrupted, "it is not known whether it was asked; look with: countersign show %s", quote(id))
	case err != nil:
		return err
	}
	if attached {
		fmt.Fprintf(s.Err, "The request %s is open already.\n", id)
	}
	w := watch{Client: c, id: id, runID: runID, log: s.Err}
	res, err := w.until(ctx, f.wait)
	switch {
	case err != nil && ctx.Err() != nil:
		return interrupted(id)
	case err != nil:
		return err
	case f.wait || res.Outcome != "": // It may be decided by now.
		return report(s, res)
	default:
		return printJSON(s.Out, map[string]string{"workflow_id": id, "run_id": runID, "permalink": res.Permalink})
	}
}

// input is the request as JSON: the file's fields, and over them those of the flags. It is sent as it is, for the worker
// may know fields that this program does not.
func (f *requestFlags) input(ctx context.Context, set *pflag.FlagSet, s Streams) (map[string]json.RawMessage, error) {
	input := make(map[string]json.RawMessage)
	if f.from != "" {
		b, err := f.read(ctx, s.In)
		if err != nil {
			return nil, err
		}
		var wrong *json.UnmarshalTypeError
		switch err := json.Unmarshal(bytes.TrimPrefix(b, []byte("\ufeff")), &input); {
		case errors.As(err, &wrong) || err == nil && input == nil:
			return nil, exit(ExitUsage, "--from %s has to be a JSON object, with the fields of a request", f.from)
		case err != nil:
			return nil, exit(ExitUsage, "--from %s is not JSON: %w", f.from, err)
		}
	}
	flags, faults := f.fromFlags(set)
	for name, value := range flags {
		b, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		input[name] = b
	}
	b, err := json.Marshal(input)
	if err != nil {
		return nil, err
	}
	var r workflows.Request
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, exit(ExitUsage, "read the request: %w", err)
	}
	code := ExitNotAsked
	if len(faults) > 0 {
		code = ExitUsage
	}
	if faults = append(faults, r.Faults()...); len(faults) > 0 {
		for i, fault := range faults {
			faults[i] = "\n  " + plain(fault)
		}
		return nil, exit(code, "nothing was asked:%s", strings.Join(faults, ""))
	}
	if unknown := unknownFields(input); len(unknown) > 0 {
		fmt.Fprintf(s.Err, "This version does not know %s: it is left to the worker.\n", plain(strings.Join(unknown, ", ")))
	}
	return input, nil
}

// read reads the file of --from.
func (f *requestFlags) read(ctx context.Context, stdin io.Reader) ([]byte, error) {
	type file struct {
		b   []byte
		err error
	}
	done := make(chan file, 1)
	go func() {
		var all file
		if f.from == "-" {
			all.b, all.err = io.ReadAll(stdin)
		} else {
			all.b, all.err = os.ReadFile(f.from)
		}
		done <- all
	}()
	select {
	case all := <-done:
		if all.err != nil {
			return nil, exit(ExitUsage, "read the request: %w", all.err)
		}
		return all.b, nil
	case <-ctx.Done():
		return nil, exit(ExitInterrupted, "nothing was asked")
	}
}

// fromFlags are the fields of the flags that were given, and what is wrong with the flags. One that is empty is wrong: it
// is a variable that is missing, say, and must not stand for the default.
func (f *requestFlags) fromFlags(set *pflag.FlagSet) (all map[string]any, faults []string) {
	all = make(map[string]any)
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	set.Visit(func(given *pflag.Flag) {
		if given.Value.String() == "" {
			fault("--%s is empty: give a value, or leave it out.", given.Name)
		}
	})
	if len(f.key) > maxKey || !isSafe(f.key) {
		fault("--key may have %d characters, which are letters from A to Z, digits, and . _ : / @ + = -", maxKey)
	}
	for flag, field := range map[string]struct {
		name  string
		value any
	}{
		"title": {"title", f.r.Title}, "text": {"text", f.r.Text}, "channel": {"channel", f.r.Channel},
		"requester": {"requester", f.r.Requester}, "required": {"required", f.r.Required}, "confirm": {"confirm", f.r.Confirm},
		"remind-every": {"remind_every", f.remind}, "tell-requester": {"tell_requester", f.r.TellRequester},
		"link": {"link", workflows.Link{URL: f.link}}, "deadline": {"deadline", f.deadline},
	} {
		if set.Changed(flag) {
			all[field.name] = field.value
		}
	}
	if set.Changed("approver") {
		var a workflows.Approvers
		for id := range strings.SplitSeq(strings.Join(f.approvers, ","), ",") {
			switch id = strings.TrimSpace(id); {
			case id == "":
				fault("--approver is empty, or an ID in it is: give a value, or leave it out.")
			case id == "channel":
				a.Channel = true
			case workflows.IsGroup(id):
				a.Groups = append(a.Groups, id)
			case workflows.IsUser(id):
				a.Users = append(a.Users, id)
			default:
				fault("--approver %q is not the ID of a Slack user (U…) or user group (S…), nor the word channel.", id)
			}
		}
		all["approvers"] = a
	}
	if set.Changed("field") {
		var fields []workflows.Field
		for _, field := range f.fields {
			label, value, ok := strings.Cut(field, "=")
			if !ok {
				fault("--field %q has no = in it: write LABEL=VALUE.", field)
			}
			fields = append(fields, workflows.Field{Label: label, Value: value})
		}
		all["fields"] = fields
	}
	if set.Changed("choice") {
		var choices []workflows.Choice
		for _, label := range f.choices {
			if label == "" {
				fault("--choice is empty: give a value, or leave it out.")
			}
			choices = append(choices, workflows.Choice{Label: label})
		}
		all["choices"] = choices
	}
	return all, faults
}

// unknownFields are those that the request does not have, in order.
func unknownFields(input map[string]json.RawMessage) (unknown []string) {
	known := make(map[string]bool)
	for field := range reflect.TypeFor[workflows.Request]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		known[name] = true
	}
	for name := range input {
		if !known[name] {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// start starts the request, or attaches to the open one of that ID, which has to ask the same.
func (c Client) start(ctx context.Context, id string, input map[string]json.RawMessage) (runID string, attached bool, err error) {
	run, err := c.Temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: id, TaskQueue: c.Records.TaskQueue,
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowIDConflictPolicy:                 enumspb.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
	}, "Approval", input) // By its name: of the function the SDK wants the type of the argument too.
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	switch {
	case err == nil:
		return run.GetRunID(), false, nil
	case !errors.As(err, &already):
		return "", false, fmt.Errorf("start the request: %w", err)
	}
	var open map[string]json.RawMessage
	if err := c.Records.Input(ctx, id, already.RunId, &open); err != nil {
		return "", false, fmt.Errorf("look at the open request of that key: %w", err)
	}
	if !same(open, input) {
		return "", false, exit(ExitUsage, "another request is open with this key (%s): wait for it, withdraw it, or use another key", id)
	}
	return already.RunId, true, nil
}

// same reports whether two requests ask the same.
func same(a, b map[string]json.RawMessage) bool {
	read := func(m map[string]json.RawMessage) (b []byte) {
		var v any
		b, err := json.Marshal(m)
		if err == nil && json.Unmarshal(b, &v) == nil { // So that spaces do not matter.
			b, err = json.Marshal(v)
		}
		if err != nil {
			return nil
		}
		return b
	}
	x, y := read(a), read(b)
	return x != nil && string(x) == string(y)
}

// interrupted ends a command that was waiting.
func interrupted(id string) error {
	return exit(ExitInterrupted, "the request stays open; come back with: countersign wait %s", quote(id))
}

// postedSoon is when it is said that no card has come.
const postedSoon = 10 * time.Second
