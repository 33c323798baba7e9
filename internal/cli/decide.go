package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"countersign/internal/record"
	"countersign/workflows"
)

// changeWithin is how long a worker may take to answer a change.
const changeWithin = time.Minute

func withdrawCommand(connect Connect, s Streams) *cobra.Command {
	var by, question string
	cmd := &cobra.Command{
		Use:   "withdraw ID",
		Short: "Take a request back",
		Long: `Takes an open request back: its card is closed, and whoever waits for it learns that it was withdrawn. The name is not
proved: the card and the result say "outside Slack, as given".`,
		Example: `  countersign withdraw request-deploy-1a2b3c
  countersign withdraw request-deploy-1a2b3c --by "pipeline 4711"`,
		Args:              oneID,
		ValidArgsFunction: completeID(connect),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, closer, err := connect(cmd.Context())
			if err != nil {
				return err
			}
			defer closer()
			return c.withdraw(cmd.Context(), s, args[0], question, by)
		},
	}
	cmd.Flags().StringVar(&by, "by", byName(), "`name` of who takes it back")
	cmd.Flags().StringVar(&question, "question", "", "which one, of a workflow that asks for several things")
	return cmd
}

func (c Client) withdraw(ctx context.Context, s Streams, id, question, by string) error {
	if err := checkName(by); err != nil {
		return err
	}
	f, err := c.findOpen(ctx, id, question)
	if err != nil {
		return err
	}
	soon, stop := context.WithTimeout(ctx, changeWithin)
	defer stop()
	handle, err := c.Temporal.UpdateWorkflow(soon, client.UpdateWorkflowOptions{
		WorkflowID: f.WorkflowID, RunID: f.RunID, UpdateName: workflows.UpdateChange,
		WaitForStage: client.WorkflowUpdateStageCompleted,
		Args: []any{workflows.Change{
			Kind: workflows.Withdraw, By: workflows.Person{Name: by}, Via: workflows.Outside, Question: f.Question,
		}},
	})
	if err == nil {
		err = handle.Get(soon, nil)
	}
	var (
		app   *temporal.ApplicationError
		ended *serviceerror.NotFound
	)
	switch {
	case errors.As(err, &app):
		return exit(ExitRejected, "not withdrawn: %s", plain(app.Message()))
	case errors.As(err, &ended):
		return exit(ExitRejected, "not withdrawn: it has ended just now; look with `countersign show %s`", quote(id))
	case err != nil:
		return fmt.Errorf("it is not known whether it was withdrawn; look with `countersign show %s`: %w", quote(id), err)
	}
	fmt.Fprintln(s.Out, "It is withdrawn.")
	return nil
}

func checkName(by string) error {
	if strings.TrimSpace(by) == "" || len([]rune(by)) > workflows.MaxName || by != plain(by) {
		return exit(ExitUsage, "give a name of at most %d characters with --by", workflows.MaxName)
	}
	return nil
}

// decideFlags are the flags of decide.
type decideFlags struct {
	approve, reject              bool
	reason, by, choice, question string
	inputs                       []string
}

func decideCommand(connect Connect, s Streams) *cobra.Command {
	var f decideFlags
	cmd := &cobra.Command{
		Use:   "decide ID",
		Short: "Decide a request outside Slack, in an emergency",
		Long: `Decides an open request without Slack, for the case that Slack is away and it cannot wait. It is off unless
ALLOW_OUTSIDE_DECISIONS=true. The name is not proved, and who may decide is not checked: the card and the result say
"outside Slack, as given". Where a request wants several approvals, all that come so count as one.`,
		Example: `  countersign decide request-deploy-1a2b3c --approve --reason "Slack is down, agreed by phone" --by alice
  countersign decide request-deploy-1a2b3c --reject --reason "wrong version"`,
		Args:              oneID,
		ValidArgsFunction: completeID(connect),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			c, closer, err := connect(cmd.Context())
			if err != nil {
				return err
			}
			defer closer()
			return f.run(cmd.Context(), c, s, args[0])
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.approve, "approve", false, "approve it")
	flags.BoolVar(&f.reject, "reject", false, "reject it")
	flags.StringVar(&f.reason, "reason", "", "why; needed")
	flags.StringVar(&f.by, "by", byName(), "`name` of who decides")
	flags.StringVar(&f.choice, "choice", "", "the `value` of the choice that is approved, where the request has choices")
	flags.StringArrayVar(&f.inputs, "input", nil, "a value of the request's inputs, as `NAME=VALUE`; repeatable (default: its initial value)")
	flags.StringVar(&f.question, "question", "", "which one, of a workflow that asks for several things")
	return cmd
}

// check refuses what can be seen to be wrong without Temporal.
func (f decideFlags) check() error {
	switch {
	case f.approve == f.reject:
		return exit(ExitUsage, "say either --approve or --reject")
	case strings.TrimSpace(f.reason) == "" || len([]rune(f.reason)) > workflows.MaxReason:
		return exit(ExitUsage, "say why with --reason, in at most %d characters", workflows.MaxReason)
	default:
		return checkName(f.by)
	}
}

func (f decideFlags) run(ctx context.Context, c Client, s Streams, id string) error {
	d := workflows.Decision{
		Outcome: workflows.Approved, By: workflows.Person{Name: f.by}, At: time.Now().UTC(), Via: workflows.Outside, Reason: f.reason,
	}
	if f.reject {
		d.Outcome = workflows.Rejected
	}
	if !c.AllowDecide {
		return exit(ExitUsage, "decisions outside Slack are off: set ALLOW_OUTSIDE_DECISIONS=true where they are to be allowed")
	}
	open, err := c.findOpen(ctx, id, f.question)
	if err != nil {
		return err
	}
	if open.ActivityID == "" {
		return exit(ExitRejected, "it is not open yet: try again in a moment")
	}
	a, err := c.Records.ReadRequest(ctx, open.WorkflowID, open.RunID, open.Question)
	if err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	if d.Outcome == workflows.Approved {
		if d.Choice, d.Inputs, err = f.filled(a.Round.Request); err != nil {
			return err
		}
		next, _, ended := a.Round.After(workflows.Result{Outcome: workflows.Approved, Decisions: []workflows.Decision{d}})
		if !ended && len(next.Decisions) == len(a.Round.Decisions) {
			return exit(ExitRejected, "the same approval from outside Slack counts already, and all that come so count as one")
		}
	}
	d.Digest = open.Digest
	// A completion, a rejection's too, is taken where no attempt has the activity as well.
	err = c.Temporal.CompleteActivityByID(ctx, c.Records.Namespace, open.WorkflowID, open.RunID, open.ActivityID, d, nil)
	switch {
	case record.NotFound(err):
		return exit(ExitRejected, "somebody has decided it just now, or it has ended: look with `countersign show %s`", quote(id))
	case err != nil:
		return fmt.Errorf("it is not known whether it was recorded; look with `countersign show %s`: %w", quote(id), err)
	}
	fmt.Fprintf(s.Out, "Recorded: %s by %s%s.\n", d.Outcome, person(d.By), workflows.AsGiven)
	return nil
}

// filled are the choice and the inputs of an approval, as far as the request asks for them.
func (f decideFlags) filled(r workflows.Request) (choice string, inputs map[string]string, err error) {
	var choices []string
	for _, c := range r.Choices {
		choices = append(choices, c.String())
	}
	switch {
	case f.choice != "" && len(choices) == 0:
		return "", nil, exit(ExitUsage, "the request has no choices: leave --choice out")
	case len(choices) > 0 && !slices.Contains(choices, f.choice):
		return "", nil, exit(ExitUsage, "choose one with --choice: the request has %s", quoted(choices))
	}
	given := make(map[string]string)
	for _, in := range f.inputs {
		name, value, ok := strings.Cut(in, "=")
		if !ok {
			return "", nil, exit(ExitUsage, "--input %q has no = in it: write NAME=VALUE", in)
		}
		given[name] = value
	}
	for _, in := range r.Inputs {
		value, ok := given[in.Name]
		delete(given, in.Name)
		if !ok {
			value = string(in.Initial)
		}
		if !in.Fits(value) {
			return "", nil, exit(ExitUsage, "give %s with --input %s=VALUE: %s", in.Name, in.Name, in.Wants())
		}
		if inputs == nil {
			inputs = make(map[string]string)
		}
		inputs[in.Name] = value // An empty one too, as Slack's form has it: the same values count together.
	}
	if unknown := slices.Sorted(maps.Keys(given)); len(unknown) > 0 {
		return "", nil, exit(ExitUsage, "the request has no input %s", quoted(unknown))
	}
	return f.choice, inputs, nil
}

// quoted lists texts.
func quoted(all []string) string {
	for i, s := range all {
		all[i] = fmt.Sprintf("%q", s)
	}
	return strings.Join(all, ", ")
}
