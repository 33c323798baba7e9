package workflows

import (
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
	EndDecision     = "EndDecision"     // EndDecisionInput → Card: reports the end of an open activity
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
	// backstop is what an open activity's timeouts leave beyond the deadline, which is the workflow's timer.
	backstop = time.Hour
	// closeWait is how long a caller waits for its card at the most.
	closeWait = 30 * time.Second
	// closeKeepTrying is how long a card is tried to be closed after that.
	closeKeepTrying = 7 * 24 * time.Hour
)

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

// Closing is a request that has ended and whose card and requester are to be told.
type Closing struct {
	// WorkflowID and RunID are of the workflow that asked.
	WorkflowID string    `json:"workflow_id"`
	RunID      string    `json:"run_id"`
	ActivityID string    `json:"activity_id,omitempty"` // empty: no card was ever asked for
	Request    Request   `json:"request"`
	Result     Result    `json:"result"` // without a card: it is looked for
	AskedAt    time.Time `json:"asked_at"`
	// Again says that an earlier activity may have posted the message already.
	Again bool `json:"again,omitempty"`
}

// Requests are the open requests of one workflow. Make one per workflow, with [NewRequests].
type Requests struct {
	asked  int
	posted workflow.ReceiveChannel
	cards  map[string]Card // by activity ID
}

// NewRequests returns the requests of the workflow that ctx belongs to.
func NewRequests(ctx workflow.Context) *Requests {
	return &Requests{
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
	c := Closing{WorkflowID: info.ID, RunID: info.RunID, AskedAt: workflow.Now(ctx), Request: r}
	// What must happen at the end happens in a cancelled workflow too.
	after, _ := workflow.NewDisconnectedContext(ctx)

	var prepared Request
	if err := workflow.ExecuteActivity(quick(ctx, 0), PrepareRequest, r).Get(ctx, &prepared); err != nil {
		return q.notAsked(after, c, err)
	}
	r, c.Request = prepared, prepared
	c.ActivityID = fmt.Sprintf("q%d-decision-1-%s", question, r.policy())

	open, stop := workflow.WithCancel(ctx)
	defer stop()
	left := max(r.ExpiresAt.Sub(c.AskedAt), 0)
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
		var card Card
		end := EndDecisionInput{ActivityID: c.ActivityID, Outcome: cause}
		if err := workflow.ExecuteActivity(quick(after, 0), EndDecision, end).Get(after, &card); err != nil {
			workflow.GetLogger(ctx).Warn("report the end of an open activity", "activity_id", c.ActivityID, "err", err)
		}
		q.know(c.ActivityID, card)
	}

	var value any
	err := decision.Get(after, nil)
	if err == nil {
		// A completion from outside may be what JSON cannot express: it is one all the same.
		_ = decision.Get(after, &value)
	}
	res, ok := ResultOf(r, value, err, workflow.Now(ctx))
	if cause != "" && res.Outcome == Withdrawn {
		// Where no attempt had it, the server itself cancelled the activity and does not know why.
		res.Outcome = cause
	}
	q.drain()
	if card := q.cards[c.ActivityID]; card != (Card{}) {
		res.Card = card
	}
	c.Result = res
	if !ok {
		return q.notAsked(after, c, err)
	}
	closeCard(after, c)
	return res, nil
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
func (q *Requests) notAsked(after workflow.Context, c Closing, err error) (Result, error) {
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
	if !tryClose(ctx, c, closeWait) {
		c.Again = true
		child := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
			ParentClosePolicy: enumspb.PARENT_CLOSE_POLICY_ABANDON,
			StaticSummary:     "closes a card when Slack lets it",
		}), CloseCardLater, c)
		if err := child.GetChildWorkflowExecution().Get(ctx, nil); err != nil {
			workflow.GetLogger(ctx).Warn("leave a card to a workflow of its own", "activity_id", c.ActivityID, "err", err)
		}
	}
}

// tryClose reports whether all was done within d. The activities end with success where Slack refuses for good.
func tryClose(ctx workflow.Context, c Closing, d time.Duration) bool {
	var pending []workflow.Future
	if c.ActivityID != "" {
		pending = append(pending, workflow.ExecuteActivity(quick(ctx, d), CloseCard, c))
	}
	if c.Request.Requester != "" {
		pending = append(pending, workflow.ExecuteActivity(quick(ctx, d), TellRequester, c))
	}
	ok := true
	for _, f := range pending {
		if err := f.Get(ctx, nil); err != nil {
			workflow.GetLogger(ctx).Warn("close a card", "activity_id", c.ActivityID, "err", err)
			ok = false
		}
	}
	return ok
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
		StartToCloseTimeout:    time.Minute,
		RetryPolicy:            &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: time.Minute},
	})
}
