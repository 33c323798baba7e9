package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"countersign/internal/codec"
	"countersign/internal/slackapi"
	"countersign/workflows"
)

const (
	// moment is how long a message's turn in its channel is waited for with the activity's slot held.
	moment = time.Second
	// postWithin bounds all of an attempt to post, well below [workflows.LostAfter] and what the workflows give a step.
	postWithin = time.Minute
)

// mark is what the attempts of a step tell one another about the message that they post, as heartbeat details.
type mark struct {
	// Turn is when the message may be posted, as its channel's pace has it.
	Turn time.Time `json:"turn,omitzero"`
	// Posting is since when the message may be in Slack without our knowing where.
	Posting time.Time `json:"posting,omitzero"`
	// Card is where the message is.
	Card workflows.Card `json:"card,omitzero"`
	// Direct says that it goes to its person in a direct message, for Slack has refused it elsewhere.
	Direct bool `json:"direct,omitempty"`
}

// journal keeps a mark from one attempt to the next.
type journal struct {
	mark mark
	// write records the mark in Temporal.
	write func(context.Context, mark) error
}

// Why a mark was not kept, or is of no use.
var (
	errEnded     = errors.New("the activity has ended")
	errCancelled = errors.New("the activity is being cancelled")
)

// save keeps m. After errCancelled m is kept as well.
func (j *journal) save(ctx context.Context, m mark) error {
	m.Direct = j.mark.Direct // Once it goes there, it goes nowhere else.
	j.mark = m
	err := j.write(ctx, m)
	var (
		gone      *serviceerror.NotFound
		cancelled *temporal.CanceledError
	)
	switch {
	case err == nil, errors.Is(err, activity.ErrActivityPaused), errors.Is(err, activity.ErrActivityReset):
		return nil
	case errors.As(err, &gone):
		return errEnded
	case errors.As(err, &cancelled):
		return errCancelled
	default:
		return fmt.Errorf("record heartbeat: %w", err)
	}
}

// journal is the one of the running activity. It goes through the client, for [activity.RecordHeartbeat] keeps its
// errors to itself.
func (a *Activities) journal(ctx context.Context) *journal {
	j := &journal{write: func(ctx context.Context, m mark) error {
		return a.Temporal.RecordActivityHeartbeat(ctx, activity.GetInfo(ctx).TaskToken, m)
	}}
	if activity.HasHeartbeatDetails(ctx) {
		// Details that are no mark leave none. Where they cannot be decrypted, nothing is posted.
		var unread *codec.Error
		if err := activity.GetHeartbeatDetails(ctx, &j.mark); errors.As(err, &unread) {
			j.write = func(context.Context, mark) error { return err }
		}
	}
	return j
}

// journalOf is the one of another activity of this workflow, in whose place this one posts.
func (a *Activities) journalOf(ctx context.Context, activityID string, m mark) *journal {
	info := activity.GetInfo(ctx)
	return &journal{mark: m, write: func(ctx context.Context, m mark) error {
		return a.Temporal.RecordActivityHeartbeatByID(ctx, info.Namespace,
			info.WorkflowExecution.ID, info.WorkflowExecution.RunID, activityID, m)
	}}
}

// postOnce posts m, whichever attempt this is: Slack gets it once. Slack has no idempotency key, so before the call
// the journal says "posting", and after it where the message is; an attempt that finds the one without the other looks
// in the channel's history. Where the app may not read that, the log says that a second message is possible.
//
// A card comes with errEnded and errCancelled too, where the message was posted and the end came meanwhile.
func (a *Activities) postOnce(ctx context.Context, j *journal, m slackapi.Message) (workflows.Card, error) {
	if j.mark.Card != (workflows.Card{}) {
		return j.mark.Card, nil
	}
	if since := j.mark.Posting; !since.IsZero() {
		card, found, err := a.Slack.Find(ctx, m, since)
		if slackapi.AsRefused(err) != nil {
			a.Log.Warn("cannot look for a message that may be posted already: a second one is possible",
				"channel", m.Channel, "err", err)
		} else if err != nil {
			return workflows.Card{}, err
		}
		if found {
			return card, j.save(ctx, mark{Card: card})
		}
	}
	if err := a.awaitTurn(ctx, j, m.Channel); err != nil {
		return workflows.Card{}, err
	}
	posting := mark{Posting: j.mark.Posting}
	if posting.Posting.IsZero() {
		posting.Posting = time.Now()
	}
	if err := j.save(ctx, posting); err != nil {
		return workflows.Card{}, err
	}
	card, err := a.Slack.Post(ctx, m)
	var e *slackapi.Error
	if errors.As(err, &e) && e.Kind != slackapi.Failed {
		// Slack did nothing: the next attempt need not look. If this is not recorded, it looks in vain.
		_ = j.save(ctx, mark{})
	}
	if err != nil {
		return workflows.Card{}, err
	}
	return card, j.save(ctx, mark{Card: card})
}

// awaitTurn returns when the message may be posted. Where that takes longer than a moment, it ends the attempt
// instead, with an error that brings the next one at the right time.
func (a *Activities) awaitTurn(ctx context.Context, j *journal, channel string) error {
	if j.mark.Turn.IsZero() {
		j.mark.Turn = time.Now().Add(a.Slack.Turn(channel))
	}
	wait := time.Until(j.mark.Turn)
	if wait > moment {
		if err := j.save(ctx, j.mark); err != nil {
			return err
		}
		return later(wait, "waits for its turn in the channel", nil)
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// later is the error of an attempt that is to be made again after d, without a fuss.
func later(d time.Duration, why string, cause error) error {
	return temporal.NewApplicationErrorWithOptions(why, "Later", temporal.ApplicationErrorOptions{
		NextRetryDelay: d,
		Category:       temporal.ApplicationErrorCategoryBenign,
		Cause:          cause,
	})
}

// failure makes the activity's error of err: Slack's limits and refusals in Temporal's terms, and all others, which are
// to be tried again. nil stays nil.
func failure(err error) error {
	var e *slackapi.Error
	switch {
	case errors.Is(err, context.Canceled):
		// The SDK would report an error that wraps this one as a cancellation, which the server refuses where nobody
		// asked for one; the attempt would be lost. It was the worker that stopped.
		return temporal.NewApplicationError("interrupted: "+err.Error(), "Interrupted")
	case !errors.As(err, &e):
		return err
	case e.Kind == slackapi.Limited:
		return later(max(e.RetryAfter, time.Second), "Slack asks to wait", err)
	case e.Kind == slackapi.Refused:
		return temporal.NewApplicationErrorWithOptions(e.Sentence(), workflows.ErrTypeRefused,
			temporal.ApplicationErrorOptions{NonRetryable: true, Cause: err})
	default:
		return err
	}
}

// key names a message in Slack, by what it is for. It is a hash, for everybody in the channel can read it.
func key(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}
