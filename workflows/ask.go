package workflows

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Names of the activities that a request needs; package worker registers them.
const (
	PrepareRequest  = "PrepareRequest"  // Request → Request: validated, with the deployment's defaults
	ComposeGreeting = "ComposeGreeting" // Request → Decision: posts the card and stays open
	PostCard        = "PostCard"        // PostCardInput → Card
	EndDecision     = "EndDecision"     // EndDecisionInput → DecisionEnded: reports the end of an open activity
	CloseCard       = "CloseCard"       // Closing: the card shows the outcome
	TellRequester   = "TellRequester"   // Closing: a line in the card's thread
	PostGreeting    = "PostGreeting"    // GreetingMessage
)

// SignalCardPosted is the signal by which an activity tells its workflow where the card is.
const SignalCardPosted = "card_posted"

// LostAfter is how long an attempt to post a card may be silent before it counts as lost. A post has far shorter
// time-outs of its own.
const LostAfter = 2 * time.Minute

const (
	// stepWithin is how long one attempt of a step may take; longer than it takes to post.
	stepWithin = 90 * time.Second
	// backstop is what an open activity's timeouts leave beyond the deadline, which is the workflow's timer.
	backstop = time.Hour
	// closeWait is how long a caller waits for its card at the most.
	closeWait = 30 * time.Second
	// closeKeepTrying is how long a card is tried to be closed after that.
	closeKeepTrying = 7 * 24 * time.Hour
)

// MaxDeadline is how far away a deadline may be.
const MaxDeadline = 366 * 24 * time.Hour

// CardPosted is the payload of [SignalCardPosted].
type CardPosted struct {
	Card
	ActivityID string `json:"activity_id"`
}

// PostCardInput asks for the card of an open activity.
type PostCardInput struct {
	ActivityID string  `json:"activity_id"`
	Request    Request `json:"request"`
}

// EndDecisionInput asks to report an open activity as cancelled, because the request ended from our side.
type EndDecisionInput struct {
	ActivityID string  `json:"activity_id"`
	Outcome    Outcome `json:"outcome"` // Expired or Withdrawn
}

// DecisionEnded is what the open activity left behind when its end was reported.
type DecisionEnded struct {
	Card Card `json:"card,omitzero"`
	// Posting is since when there may be a card whose address was not recorded; zero: there is none.
	Posting time.Time `json:"posting,omitzero"`
	// Unknown says that the activity had ended already, and what it left behind with it.
	Unknown bool `json:"unknown,omitempty"`
}

// Closing is a request that has ended, and what is left to do about it.
type Closing struct {
	// CloseCard: the card is to show the outcome. TellRequester: the requester is to be told.
	CloseCard     bool `json:"close_card,omitempty"`
	TellRequester bool `json:"tell_requester,omitempty"`
	// WorkflowID and RunID are of the workflow that asked.
	WorkflowID string  `json:"workflow_id"`
	RunID      string  `json:"run_id"`
	ActivityID string  `json:"activity_id,omitempty"`
	Request    Request `json:"request"`
	// Result has the card. Without an outcome, the outcome is read from Temporal.
	Result Result `json:"result"`
	// Posting is since when there may be a card whose address is not in Result.
	Posting time.Time `json:"posting,omitzero"`
	// Again says that an earlier activity may have told the requester already.
	Again bool `json:"again,omitempty"`
}

// Requests are the open requests of one workflow. Make one per workflow, with [NewRequests].
type Requests struct {
	prefix string // unique within the workflow
	asked  int
	posted workflow.ReceiveChannel
	cards  map[string]Card // by activity ID
}

// NewRequests returns the requests of the workflow that ctx belongs to.
func NewRequests(ctx workflow.Context) *Requests {
	var prefix string
	// What a side effect returns can always be decoded.
	_ = workflow.SideEffect(ctx, func(workflow.Context) any { return rand.Text()[:6] }).Get(&prefix)
	return &Requests{
		prefix: prefix,
		posted: workflow.GetSignalChannel(ctx, SignalCardPosted),
		cards:  make(map[string]Card),
	}
}

// Ask posts a card for r and waits for the request's outcome. The card is closed, and the requester told, before it
// returns, or soon after: a caller waits 30 s for that at the most. Any number of coroutines of the workflow may ask
// at once. The activities run on the task queue of ctx.
//
// Where ctx is cancelled the request is withdrawn, unless a decision came first: the result says so, and has no error.
// An error means that the question could not be asked; its type is [ErrTypeInvalidRequest] or [ErrTypeRefused].
func (q *Requests) Ask(ctx workflow.Context, r Request) (Result, error) {
	q.asked++
	question := q.asked
	info := workflow.GetInfo(ctx).WorkflowExecution
	askedAt := workflow.Now(ctx)
	c := Closing{WorkflowID: info.ID, RunID: info.RunID, Request: r, TellRequester: r.Requester != ""}
	// What must happen at the end happens in a cancelled workflow too.
	after, _ := workflow.NewDisconnectedContext(ctx)

	var (
		prepared Request
		within   time.Duration
	)
	if !r.ExpiresAt.IsZero() {
		within = max(r.ExpiresAt.Sub(askedAt), time.Second)
	}
	if err := workflow.ExecuteActivity(quick(ctx, within), PrepareRequest, r).Get(ctx, &prepared); err != nil {
		return notAsked(after, c, err)
	}
	r, c.Request = prepared, prepared
	c.ActivityID = fmt.Sprintf("%s-%d-decision-1-%s", q.prefix, question, r.policy())

	open, stop := workflow.WithCancel(ctx)
	defer stop()
	left := min(max(r.ExpiresAt.Sub(askedAt), 0), MaxDeadline)
	decision := workflow.ExecuteActivity(workflow.WithActivityOptions(open, workflow.ActivityOptions{
		ActivityID:             c.ActivityID,
		ScheduleToCloseTimeout: left + backstop,
		StartToCloseTimeout:    left + backstop,
		// The future must not say "cancelled" before the arbiter has: a decision may be first.
		WaitForCancellation: true,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: time.Minute},
		Summary:             "waits for a person's decision in Slack",
	}), ComposeGreeting, r)

	cause := q.wait(open, decision, c.ActivityID, r)
	if cause != "" {
		stop()
		left := q.end(after, decision, EndDecisionInput{ActivityID: c.ActivityID, Outcome: cause})
		q.know(c.ActivityID, left.Card)
		if c.Posting = left.Posting; left.Unknown {
			c.Posting = askedAt
		}
	}

	var value any
	err := decision.Get(after, &value)
	res, ok := ResultOf(r, value, err, workflow.Now(ctx))
	if cause != "" && (!ok || res.Outcome == Withdrawn) {
		// The server does not know why it was cancelled where no attempt had the activity, or the last one failed.
		res, ok = Result{Outcome: cause, EndedAt: workflow.Now(ctx)}, true
	}
	q.drain()
	if card := q.cards[c.ActivityID]; card != (Card{}) {
		res.Card = card
	}
	if cause == "" && ok && res.Card == (Card{}) {
		c.Posting = askedAt // Decided outside Slack, before the card's address came.
	}
	c.Result = res
	c.CloseCard = res.Card != (Card{}) || !c.Posting.IsZero()
	if !ok {
		if err == nil { // It was completed, with what is no answer to this question.
			err = InvalidRequestError(res.Note)
		}
		return notAsked(after, c, err)
	}
	closeCard(after, c)
	return res, nil
}

// end has the activity reported as cancelled. It returns with what the report says; where the activity has ended in
// another way it does not wait for that for long.
func (q *Requests) end(ctx workflow.Context, decision workflow.Future, in EndDecisionInput) (left DecisionEnded) {
	ctx, forget := workflow.WithCancel(ctx)
	defer forget()
	enough := false
	s := workflow.NewSelector(ctx)
	s.AddFuture(workflow.ExecuteActivity(quick(ctx, 0), EndDecision, in), func(f workflow.Future) {
		enough = true
		if err := f.Get(ctx, &left); err != nil {
			workflow.GetLogger(ctx).Warn("report the end of an open activity", "activity_id", in.ActivityID, "err", err)
		}
	})
	s.AddFuture(decision, func(workflow.Future) {
		s.AddFuture(workflow.NewTimer(ctx, closeWait), func(workflow.Future) { enough = true })
	})
	for !enough {
		s.Select(ctx)
	}
	return left
}

// wait returns when the activity has ended (""), or the deadline has passed (Expired), or open was cancelled
// (Withdrawn). Meanwhile it listens for the card's address, and has a card posted where none came.
func (q *Requests) wait(open workflow.Context, decision workflow.Future, activityID string, r Request) (cause Outcome) {
	ctx, done := workflow.WithCancel(open)
	defer done()
	ended := false

	s := workflow.NewSelector(ctx)
	s.AddFuture(decision, func(workflow.Future) { ended = true })
	s.AddFuture(workflow.NewTimer(ctx, r.ExpiresAt.Sub(workflow.Now(ctx))), func(f workflow.Future) {
		if f.Get(ctx, nil) == nil {
			cause = Expired
		}
	})
	s.AddReceive(q.posted, func(c workflow.ReceiveChannel, _ bool) { q.drain() })
	s.AddReceive(ctx.Done(), func(workflow.ReceiveChannel, bool) { cause = Withdrawn })
	s.AddFuture(workflow.NewTimer(ctx, LostAfter), func(f workflow.Future) {
		if f.Get(ctx, nil) != nil || q.cards[activityID] != (Card{}) {
			return
		}
		// It stays with the activity's attempts, in Temporal's retries, until there is a card.
		posted := workflow.ExecuteActivity(quick(ctx, r.ExpiresAt.Sub(workflow.Now(ctx))+backstop),
			PostCard, PostCardInput{ActivityID: activityID, Request: r})
		s.AddFuture(posted, func(f workflow.Future) {
			var card Card
			if err := f.Get(ctx, &card); err != nil {
				workflow.GetLogger(ctx).Warn("post a card in a lost attempt's place", "activity_id", activityID, "err", err)
				return
			}
			q.know(activityID, card)
		})
	})

	for !ended && cause == "" {
		s.Select(ctx)
	}
	if ended {
		return "" // It was first, even if the deadline came with it.
	}
	return cause
}

// drain takes the card addresses that have been signalled.
func (q *Requests) drain() {
	for {
		var p CardPosted
		if !q.posted.ReceiveAsync(&p) {
			return
		}
		q.know(p.ActivityID, p.Card)
	}
}

func (q *Requests) know(activityID string, card Card) {
	if card != (Card{}) {
		q.cards[activityID] = card
	}
}

// notAsked ends a request that could not be asked: the requester is told, and a card, should there be one, is closed.
func notAsked(after workflow.Context, c Closing, err error) (Result, error) {
	res, ok := ResultOf(c.Request, nil, err, workflow.Now(after))
	res.Card = c.Result.Card
	c.Result = res
	closeCard(after, c)
	if ok { // Withdrawn while it was being prepared.
		return res, nil
	}
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		return res, temporal.NewApplicationErrorWithOptions(app.Message(), app.Type(), temporal.ApplicationErrorOptions{
			NonRetryable: true, Category: temporal.ApplicationErrorCategoryBenign,
		})
	}
	return res, err
}

// closeCard has the card show the outcome and the requester told. What is not done within closeWait goes on in a
// workflow of its own.
func closeCard(ctx workflow.Context, c Closing) {
	if c = tryClose(ctx, c, closeWait); c.CloseCard || c.TellRequester {
		c.Again = true
		child := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
			TaskQueue:         workflow.GetActivityOptions(ctx).TaskQueue, // where the activities are, it is known
			ParentClosePolicy: enumspb.PARENT_CLOSE_POLICY_ABANDON,
			StaticSummary:     "closes a card when Slack lets it",
		}), CloseCardLater, c)
		if err := child.GetChildWorkflowExecution().Get(ctx, nil); err != nil {
			workflow.GetLogger(ctx).Warn("leave a card to a workflow of its own", "activity_id", c.ActivityID, "err", err)
		}
	}
}

// tryClose does what is left, within d, and returns c with what is left then. The activities end with success where
// Slack refuses for good.
func tryClose(ctx workflow.Context, c Closing, d time.Duration) Closing {
	left := c
	try := func(todo bool, activity string, left *bool) func() {
		if !todo {
			return func() {}
		}
		f := workflow.ExecuteActivity(quick(ctx, d), activity, c)
		return func() {
			if err := f.Get(ctx, nil); err != nil {
				workflow.GetLogger(ctx).Warn("close a request", "step", activity, "activity_id", c.ActivityID, "err", err)
				return
			}
			*left = false
		}
	}
	closed := try(c.CloseCard, CloseCard, &left.CloseCard)
	told := try(c.TellRequester, TellRequester, &left.TellRequester)
	closed()
	told()
	return left
}

// CloseCardLater is the workflow that goes on closing a card where its request could not wait for it.
func CloseCardLater(ctx workflow.Context, c Closing) error {
	tryClose(ctx, c, closeKeepTrying)
	return nil
}

// quick gives ctx the options of an activity that does one step and ends. d bounds it with all its attempts; 0 does
// not.
func quick(ctx workflow.Context, d time.Duration) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		ScheduleToCloseTimeout: d,
		StartToCloseTimeout:    stepWithin,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: time.Minute},
	})
}
