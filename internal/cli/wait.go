package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"

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
			c, closer, err := connect(cmd.Context())
			switch {
			case err != nil && cmd.Context().Err() != nil:
				return interrupted(args[0])
			case err != nil:
				return isCode(err, ExitNotAsked)
			}
			defer closer()
			w := watch{Client: c, id: args[0], question: question, log: s.Err}
			res, err := w.until(cmd.Context(), true)
			if err != nil && cmd.Context().Err() != nil {
				return interrupted(args[0])
			}
			if err != nil {
				return isCode(err, ExitNotAsked)
			}
			return report(s, res)
		},
	}
	cmd.Flags().StringVar(&question, "question", "", "which one, of a workflow that asks for several things")
	return cmd
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
	until_    time.Time
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
			fmt.Fprintf(w.log, "The card is not posted yet: is a worker running on the task queue %s?\n", w.Records.TaskQueue)
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
	var (
		own     *Error
		denied  *serviceerror.PermissionDenied
		invalid *serviceerror.InvalidArgument
	)
	return !errors.As(err, &own) && !errors.As(err, &denied) && !errors.As(err, &invalid)
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
	var of []record.Found
	for _, f := range all {
		if w.question == "" || f.Question == w.question {
			of = append(of, f)
		}
	}
	if len(of) == 0 && !w.readable {
		if err := w.Client.readable(ctx, w.id, w.runID); err != nil {
			return res, false, err
		}
		w.readable = true
	}
	switch {
	case len(of) == 0 && running:
		return res, false, nil
	case len(of) == 0:
		return w.notAsked(ctx)
	case len(of) > 1 && of[0].Outcome == "" && of[1].Outcome == "":
		return res, false, exit(ExitUsage, "it asks for several things: choose one with --question; `countersign show %s` lists them", w.id)
	}
	f := of[0] // An open one is listed before one that has ended.
	w.runID, w.question = f.RunID, f.Question
	w.say(f)
	res.Permalink = f.Permalink
	if f.Outcome == "" {
		return res, false, nil
	}
	a, err := w.Records.ReadRequest(ctx, f.WorkflowID, f.RunID, f.Question)
	if err != nil {
		return res, false, err
	}
	if a.State != record.Ended {
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

// notAsked is why a workflow has ended that lists no request.
func (w *watch) notAsked(ctx context.Context) (workflows.Result, bool, error) {
	var res workflows.Result
	err := w.Temporal.GetWorkflow(ctx, w.id, w.runID).Get(ctx, &res)
	var (
		app   *temporal.ApplicationError
		ended *temporal.WorkflowExecutionError
	)
	switch {
	case errors.As(err, &app):
		return res, false, exit(ExitNotAsked, "nothing was asked: %s", plain(app.Message()))
	case temporal.IsCanceledError(err):
		return workflows.Result{Outcome: workflows.Withdrawn}, true, nil
	case errors.As(err, &ended):
		return res, false, exit(ExitNotAsked, "nothing was asked: its workflow has ended (%s)", plain(ended.Error()))
	case err != nil:
		return res, false, err
	case res.Outcome == "":
		return res, false, exit(ExitNotAsked, "the workflow %s has asked nothing", w.id)
	}
	return res, true, nil
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
		w.until_ = f.Round.Until()
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
	if until := f.Round.Until(); !until.Equal(w.until_) && f.Outcome == "" {
		w.until_ = until
		fmt.Fprintf(w.log, "It waits until %s now.\n", until.Local().Format(time.RFC1123))
	}
}

// person is somebody, for a line.
func person(p workflows.Person) string {
	switch {
	case p.ID == "" && p.Name == "":
		return "somebody outside Slack"
	case p.ID == "":
		return plain(p.Name) + " (outside Slack, as given)"
	case p.Name == "":
		return plain(p.ID)
	default:
		return plain(p.Name)
	}
}
