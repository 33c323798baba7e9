package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/grpc/codes"

	"countersign/internal/record"
	"countersign/workflows"
)

const (
	// lookEvery is how often it is looked how a request stands, and againIn when Temporal has not answered.
	lookEvery, againIn = time.Second, 5 * time.Second
)

func waitCommand(connect Connect, s Streams) *cobra.Command {
	var question string
	cmd := &cobra.Command{
		Use:   "wait ID",
		Short: "Wait for a request's outcome, and print it as JSON",
		Long: `Waits for the outcome of a request, prints the result as JSON, and ends as "request --wait" does: with 0 if it was
approved, 1 rejected, 3 expired, 4 withdrawn, 5 if its outcome could not be learned.`,
		Example: `  countersign wait request-deploy-1a2b3c
  countersign wait approval-5f1c0e && ./deploy.sh`,
		Args:              oneID,
		ValidArgsFunction: completeID(connect),
		RunE: func(cmd *cobra.Command, args []string) error {
			return isCode(waitFor(cmd.Context(), connect, s, args[0], question), ExitNotAsked)
		},
	}
	cmd.Flags().StringVar(&question, "question", "", "which one, of a workflow that asks for several things")
	return cmd
}

func waitFor(ctx context.Context, connect Connect, s Streams, id, question string) error {
	c, closer, err := connect(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return exit(ExitInterrupted, "interrupted before Temporal answered")
	case err != nil:
		return err
	}
	defer closer()
	w := watch{Client: c, id: id, question: question, log: s.Err}
	res, err := w.until(ctx, true)
	switch {
	case err != nil && ctx.Err() != nil:
		return interrupted(id)
	case err != nil:
		return err
	default:
		return report(s, res)
	}
}

// report prints a result, and is the error that its outcome ends with.
func report(s Streams, res workflows.Result) error {
	if err := printJSON(s.Out, res); err != nil {
		return err
	}
	why := ""
	if d, ok := res.Decision(); ok && d.Reason != "" {
		why = ": " + plain(d.Reason)
	}
	switch res.Outcome {
	case workflows.Approved:
		return nil
	case workflows.Rejected:
		return exit(ExitRejected, "the request was rejected%s", why)
	case workflows.Expired:
		return exit(ExitExpired, "the request has expired: nobody decided in time")
	case workflows.Withdrawn:
		return exit(ExitWithdrawn, "the request was withdrawn")
	default:
		if res.Card == (workflows.Card{}) {
			return exit(ExitNotAsked, "nothing was asked: %s", plain(res.Note))
		}
		return exit(ExitNotAsked, "the request ended without an outcome: %s", plain(res.Note))
	}
}

// watch follows a request.
type watch struct {
	Client
	id, runID, question string
	log                 io.Writer // progress, for people

	readable  bool // it is not encrypted with a key that is missing here
	posted    bool
	decisions int
	deadline  time.Time
	quiet     bool // that Temporal does not answer was said
}

// until waits until the request has ended, or, where the outcome is not wanted, until its card is posted: the result has
// no outcome then, but the permalink.
func (w *watch) until(ctx context.Context, outcome bool) (workflows.Result, error) {
	begun, told := time.Now(), false
	for {
		next := lookEvery
		res, done, err := w.look(ctx)
		switch {
		case err == nil && (done || !outcome && w.posted):
			return res, nil
		case err == nil:
			w.quiet = false
		case !transient(err):
			return workflows.Result{}, err
		case ctx.Err() != nil:
			return workflows.Result{}, ctx.Err()
		default:
			if next = againIn; !w.quiet {
				fmt.Fprintf(w.log, "Temporal does not answer; still waiting: %v\n", err)
			}
			w.quiet = true
		}
		if !w.posted && !told && time.Since(begun) > postedSoon {
			told = true
			fmt.Fprintf(w.log, "The card is not posted yet: is a worker running on the task queue %s, and does it reach Slack?\n", w.Records.TaskQueue)
		}
		select {
		case <-ctx.Done():
			return workflows.Result{}, ctx.Err()
		case <-time.After(next):
		}
	}
}

// transient tells an error that may pass.
func transient(err error) bool {
	var own *Error
	if errors.As(err, &own) {
		return false
	}
	switch serviceerror.ToStatus(err).Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Aborted, codes.Internal, codes.Canceled:
		return true
	default:
		return errors.Is(err, context.DeadlineExceeded) || unreadable(err) != nil
	}
}

// look looks once how the request stands, and says what is new.
func (w *watch) look(ctx context.Context) (res workflows.Result, done bool, err error) {
	all, running, ok, err := w.Records.Describe(ctx, w.id, w.runID)
	switch {
	case unreadable(err) != nil && !w.posted: // Later on it may pass: a codec server may be away.
		return res, false, unreadable(err)
	case err != nil:
		return res, false, err
	case !ok:
		return res, false, exit(ExitUsage, "there is no request %q on the task queue %s", w.id, w.Records.TaskQueue)
	}
	if len(all) == 0 && !w.readable {
		if err := w.Client.readable(ctx, w.id, w.runID); err != nil {
			return res, false, err
		}
		w.readable = true
	}
	if w.question != "" {
		all = slices.DeleteFunc(all, func(f record.Found) bool { return f.Question != w.question })
	}
	switch {
	case len(all) == 0 && w.question != "":
		return w.unlisted(ctx)
	case len(all) == 0 && running:
		return res, false, nil
	case len(all) == 0:
		return w.notAsked(ctx)
	case len(all) > 1 && all[0].Outcome == "" && all[1].Outcome == "":
		return res, false, exit(ExitUsage, "it asks for several things: choose one with --question, of %s", questions(all))
	}
	f := all[0] // An open one is listed before one that has ended.
	w.runID, w.question = f.RunID, f.Question
	w.say(f)
	res.Permalink = f.Permalink
	if f.Outcome == "" {
		return res, false, nil
	}
	a, err := w.Records.ReadRequest(ctx, f.WorkflowID, f.RunID, f.Question)
	switch {
	case err != nil:
		return res, false, err
	case a.State == record.Unknown: // It was asked by the run before, which has continued as new: only the memo has it.
		a.Result = workflows.Result{
			Outcome: f.Outcome, Decisions: f.Round.Decisions, Changes: f.Round.Changes, ByDeadline: f.ByDeadline, EndedAt: f.EndedAt,
		}
	case a.State != record.Ended:
		return res, false, nil // The list is a step ahead.
	}
	res = a.Result
	if res.Card == (workflows.Card{}) {
		res.Card = f.Card
	}
	if res.Permalink == "" {
		res.Permalink = f.Permalink
	}
	if res.Digest == "" {
		res.Digest = f.Digest
	}
	return res, true, nil
}

// unlisted reads a question by its name that the workflow does not list: it is about to open, or others have ended since.
func (w *watch) unlisted(ctx context.Context) (workflows.Result, bool, error) {
	a, err := w.Records.ReadRequest(ctx, w.id, w.runID, w.question)
	switch {
	case err != nil:
		return workflows.Result{}, false, err
	case a.State == record.Unknown:
		return workflows.Result{}, false, exit(ExitUsage, "it has asked no question %q: `countersign show %s` shows which", w.question, quote(w.id))
	default:
		return a.Result, a.State == record.Ended, nil
	}
}

// notAsked is why a workflow has ended that lists no request. What a workflow returns is no decision: it may be anything.
func (w *watch) notAsked(ctx context.Context) (workflows.Result, bool, error) {
	var res workflows.Result
	err := w.Temporal.GetWorkflow(ctx, w.id, w.runID).Get(ctx, &res)
	var (
		app        *temporal.ApplicationError
		ended      *temporal.WorkflowExecutionError
		terminated *temporal.TerminatedError
		timeout    *temporal.TimeoutError
	)
	switch {
	case errors.As(err, &app):
		return res, false, exit(ExitNotAsked, "nothing was asked: %s", plain(app.Message()))
	case temporal.IsCanceledError(err):
		return workflows.Result{Outcome: workflows.Withdrawn}, true, nil
	case errors.As(err, &terminated):
		return res, false, exit(ExitNotAsked, "nothing was asked: the workflow was terminated")
	case errors.As(err, &timeout):
		return res, false, exit(ExitNotAsked, "nothing was asked: the workflow ran out of time")
	case errors.As(err, &ended):
		return res, false, exit(ExitNotAsked, "nothing was asked: the workflow has failed")
	case err != nil && transient(err):
		return res, false, err
	case err == nil && (res.Outcome == workflows.Withdrawn || res.Outcome == workflows.Expired):
		return res, true, nil // Before it was asked.
	default:
		return res, false, exit(ExitNotAsked, "the workflow %s has asked nothing", w.id)
	}
}

// say says what is new.
func (w *watch) say(f record.Found) {
	if !w.posted && f.Card != (workflows.Card{}) {
		w.posted = true
		at := ""
		if f.Permalink != "" {
			at = ": " + plain(f.Permalink)
		}
		fmt.Fprintf(w.log, "Asked as %s%s\n", w.id, at)
		fmt.Fprintf(w.log, "It waits until %s.\n", f.Round.Until().Local().Format(time.RFC1123))
		w.deadline = f.Round.Until()
	}
	if !w.posted {
		return
	}
	for i, d := range f.Round.Decisions {
		count := ""
		if d.Outcome == workflows.Approved && i == len(f.Round.Decisions)-1 { // It is known as it stands now.
			count = fmt.Sprintf(" (%d of %d)", len(f.Counted), workflows.Count(f.Round.Wanted()))
		}
		if i >= w.decisions {
			fmt.Fprintf(w.log, "%s: %s%s.\n", person(d.By), plain(string(d.Outcome)), count)
		}
	}
	w.decisions = len(f.Round.Decisions)
	if until := f.Round.Until(); !until.Equal(w.deadline) && f.Outcome == "" {
		w.deadline = until
		fmt.Fprintf(w.log, "It waits until %s now.\n", until.Local().Format(time.RFC1123))
	}
}

// person is somebody, for a line.
func person(p workflows.Person) string {
	switch {
	case p.ID == "" && p.Name == "":
		return "somebody outside Slack"
	case p.Name == "":
		return plain(p.ID)
	default:
		return plain(p.Name)
	}
}
