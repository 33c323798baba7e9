package bot

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"countersign/internal/card"
	"countersign/internal/record"
	"countersign/internal/reference"
	"countersign/internal/telemetry"
	"countersign/workflows"
)

// Temporal is what the bot needs of Temporal; a client.Client is one.
type Temporal interface {
	CompleteActivityByID(ctx context.Context, namespace, workflowID, runID, activityID string, result any, err error) error
	UpdateWorkflow(ctx context.Context, o client.UpdateWorkflowOptions) (client.WorkflowUpdateHandle, error)
	ExecuteWorkflow(ctx context.Context, o client.StartWorkflowOptions, workflow any, args ...any) (client.WorkflowRun, error)
}

const (
	// lookAgain is the pause before Temporal is asked once more about an activity that is neither open nor ended.
	lookAgain = 100 * time.Millisecond
	// lookFor is how long it is asked: the person has to be told within Slack's 3 s too.
	lookFor = 1500 * time.Millisecond
	// overdue is how long after the deadline a decision is taken still: the workflow's timer is the deadline, and our clock
	// may be off. Later than that no worker runs the timer.
	overdue = time.Minute
	// atATime is how many decisions are on their way to Temporal at a time. Where more come in than Temporal takes, more at
	// a time would only have all of them come too late.
	atATime = 64
	// forCall is how much of a decision's time has to be left when a turn comes that it waited for.
	forCall = time.Second
	// lookBefore is how long it may take before a form is opened, which Slack lets us do for 3 s.
	lookBefore = 1200 * time.Millisecond
)

// verdict is what became of a decision.
type verdict struct {
	// recorded: Temporal has this decision, by this person.
	recorded bool
	// repeated: it had it before.
	repeated bool
	// unsure: Temporal did not say whether it has it.
	unsure bool
	// changed: who may decide has changed since the person saw the card.
	changed bool
	// busy: its turn did not come in time, and nothing was tried.
	busy bool
	// late: the deadline has passed, and no worker has ended the request yet.
	late bool
	// ended is what was read of the request, where anything was: how it ended, or that this cannot be read yet.
	ended record.Activity
}

// What came of clicks on decisions, for those who count them: the verdicts, and what never came to a decision.
const (
	resultForm      = "form"      // a form was opened, whose submission counts by itself
	resultInvalid   = "invalid"   // a form was not filled in as it has to be, or could not be checked
	resultRefused   = "refused"   // the person may not, or the button is not good
	resultUnchecked = "unchecked" // it could not be checked whether they may
	resultRepeated  = "repeated"  // they had decided so already
)

// result is the verdict in a word.
func (v verdict) result() string {
	switch {
	case v.repeated:
		return resultRepeated
	case v.recorded:
		return telemetry.Recorded
	case v.unsure:
		return "unsure"
	case v.busy:
		return "busy"
	case v.changed:
		return "changed"
	case v.late:
		return "expired"
	default:
		return "too_late"
	}
}

// decide is try, traced: its span is a part of the trace that the card was posted in.
func (b *Bot) decide(ctx context.Context, ref reference.Reference, d workflows.Decision) (v verdict) {
	ctx, done := telemetry.Decide(ctx, ref.Trace, string(d.Outcome), ref.WorkflowID, ref.RunID, ref.ActivityID)
	defer func() { done(v.result()) }()
	return b.try(ctx, ref, d)
}

// try records a decision in Temporal, by completing or failing the open activity. Temporal takes one decision and
// refuses all others. Where the request goes on with another round, and the same people may decide in it, the decision
// is recorded there; whoever is refused otherwise learns here how the request ended. It takes as long as ctx lets it.
func (b *Bot) try(ctx context.Context, ref reference.Reference, d workflows.Decision) verdict {
	if !ref.Until.IsZero() && time.Since(ref.Until) > overdue {
		if v := b.late(ctx, ref); v.late || v.unsure {
			return v
		}
	}
	d.Digest = hex.EncodeToString(ref.Digest[:])
	asCompletion := d.Outcome == workflows.Approved
	enough := time.After(lookFor)
	v := verdict{busy: true}
	lost := false // the answer to a call that may have been carried out
	for {
		again := lookAgain
		if !b.turn(ctx) {
			b.Log.Warn("too many decide at a time", "workflow_id", ref.WorkflowID, "activity_id", ref.ActivityID, "user", d.By.ID)
			return v
		}
		err := b.commit(ctx, ref, d, asCompletion)
		b.turns.Release(1)
		if err == nil {
			return verdict{recorded: true}
		}
		v = verdict{unsure: true}
		if record.NotFound(err) {
			v = b.look(ctx, ref, d)
			v.repeated = v.recorded && !lost
		} else {
			lost = true
			b.Log.Warn("record a decision", "workflow_id", ref.WorkflowID, "run_id", ref.RunID,
				"activity_id", ref.ActivityID, "user", d.By.ID, "err", err)
		}
		switch {
		case v.unsure && unanswered(err):
			// The SDK gave the call half of the time. If it was carried out all the same, the next one finds that out.
		case v.unsure, v.recorded, v.changed, v.ended.State == record.Ended, v.ended.State == record.Unknown:
			return v
		}
		if v.ended.ID != ref.ActivityID && (v.ended.State == record.Open || v.ended.State == record.Scheduled) {
			ref.ActivityID, asCompletion = v.ended.ID, d.Outcome == workflows.Approved
			again = 0 // Others may be about to decide in it too.
		}
		if v.ended.State == record.Scheduled {
			// An activity that no worker has can be completed, but not failed: a rejection is given as a completion,
			// which the workflow reads as what it says.
			asCompletion = true
		}
		select {
		case <-time.After(again):
		case <-enough:
			return v
		case <-ctx.Done():
			return v
		}
	}
}

// turn waits for one of the turns to decide; it is false where none comes in time.
func (b *Bot) turn(ctx context.Context) bool {
	if b.turns.TryAcquire(1) {
		return true
	}
	ctx, stop := context.WithTimeout(ctx, left(ctx)-forCall)
	defer stop()
	return b.turns.Acquire(ctx, 1) == nil
}

// late looks whether the deadline that the reference has was moved.
func (b *Bot) late(ctx context.Context, ref reference.Reference) verdict {
	all, _, err := b.describe(ctx, ref.WorkflowID, ref.RunID)
	if err != nil {
		b.Log.Warn("look a deadline up", "workflow_id", ref.WorkflowID, "run_id", ref.RunID, "err", err)
		return verdict{unsure: true}
	}
	question, _, _, _ := workflows.SplitActivityID(ref.ActivityID)
	return verdict{late: slices.ContainsFunc(all, func(f record.Found) bool {
		return f.Question == question && f.Outcome == "" && time.Since(f.Round.Until()) > overdue
	})}
}

// unanswered tells a call that Temporal did not answer, for as long as the SDK tried.
func unanswered(err error) bool {
	var (
		late *serviceerror.DeadlineExceeded
		away *serviceerror.Unavailable
	)
	return errors.As(err, &late) || errors.As(err, &away) || errors.Is(err, context.DeadlineExceeded)
}

// commit is the decision: one call.
func (b *Bot) commit(ctx context.Context, ref reference.Reference, d workflows.Decision, asCompletion bool) (err error) {
	// Temporal's SDK does not trace completions.
	ctx, done := telemetry.Commit(ctx, ref.WorkflowID, ref.RunID, ref.ActivityID)
	defer func() { done(err) }()
	var (
		result  any = d
		failure error
	)
	if !asCompletion {
		result, failure = nil, workflows.RejectedError(d)
	}
	return b.Temporal.CompleteActivityByID(ctx, b.Records.Namespace, ref.WorkflowID, ref.RunID, ref.ActivityID, result, failure)
}

// look reads what has become of a request after d was refused, or not answered.
func (b *Bot) look(ctx context.Context, ref reference.Reference, d workflows.Decision) verdict {
	a, err := b.Records.Look(ctx, ref.WorkflowID, ref.RunID, ref.ActivityID)
	if err != nil {
		b.Log.Warn("look a request up", "workflow_id", ref.WorkflowID, "run_id", ref.RunID, "activity_id", ref.ActivityID, "err", err)
		return verdict{unsure: true}
	}
	made := a.Round.Decisions
	if a.State == record.Ended {
		made = a.Result.Decisions
	}
	var last workflows.Decision // the person's
	ok := false
	for _, o := range made {
		if o.By.ID == d.By.ID {
			last, ok = o, true
		}
	}
	_, _, seen, _ := workflows.SplitActivityID(ref.ActivityID)
	_, _, now, _ := workflows.SplitActivityID(a.ID)
	return verdict{
		// The same person with the same decision: their second click, or the first whose answer was lost.
		recorded: ok && last.Outcome == d.Outcome && last.Option == d.Option && maps.Equal(last.Inputs, d.Inputs) &&
			!slices.ContainsFunc(d.Roles, func(role string) bool { return !slices.Contains(last.Roles, role) }),
		changed: (a.State == record.Open || a.State == record.Scheduled) && now != seen,
		ended:   a,
	}
}

// tooLate says to a person how the request ended that they wanted to decide.
func tooLate(a record.Activity, m card.Markup) string {
	switch a.State {
	case record.Ended:
		return "Too late. " + card.Sentence(a.Result, m)
	case record.Unknown:
		return "Temporal does not have this request, or no longer, so it cannot be decided."
	case record.Deciding:
		if !wantsMore(a.Round) {
			return "Somebody has just decided this request; the card will show it."
		}
		fallthrough
	case record.Between:
		return "Others are deciding this at this moment, and your decision was not recorded. Please click again."
	default:
		return "This request could not be decided just now. Please click again in a moment."
	}
}

// wantsMore reports whether a request wants more than one approval still.
func wantsMore(r workflows.Round) bool {
	return workflows.Count(r.Tally().Missing) > 1
}

// heal closes the card of a request whose workflow is closed: nothing else will. It draws what Temporal's history says,
// and where Temporal has none it draws nothing: the request may be open on another server. at is the message that was
// clicked. Where the history has the card's address it counts, for a click may have been made up.
func (b *Bot) heal(ctx context.Context, at workflows.Card, a record.Activity) {
	if at == (workflows.Card{}) || !a.WorkflowClosed {
		return
	}
	if a.Card != (workflows.Card{}) {
		at = a.Card
	}
	// Telling somebody may have taken all the time that there was.
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), afterBudget)
	defer stop()
	msg := card.Closed(a.Round.Request, a.Result)
	if err := insist(ctx, func(ctx context.Context) error { return b.Slack.Update(ctx, at, msg.Text, msg.Blocks) }); err != nil {
		b.Log.Warn("close the card of a closed workflow", "channel", at.Channel, "err", err)
	}
}

// said is what a person is told after a decision of theirs that Temporal did not answer.
func said(v verdict, o workflows.Outcome) string {
	switch {
	case v.recorded:
		return fmt.Sprintf("Slack may show a warning, but your decision was recorded: %s.", o)
	case v.busy:
		return string(refuseBusy)
	case v.unsure:
		return "I could not confirm your decision. If the buttons are still there in a minute, please click again."
	case v.changed:
		return string(refuseChanged)
	case v.late:
		return string(refuseLate)
	case v.ended.State == record.Open || v.ended.State == record.Scheduled:
		return "Your decision could not be recorded: the request is still open. Please click again."
	default:
		return tooLate(v.ended, card.Mrkdwn)
	}
}
