package workflows

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Names of the activities that a request needs; package worker registers them.
const (
	PrepareRequest  = "PrepareRequest"  // Request → Request: validated, with the deployment's defaults
	ComposeGreeting = "ComposeGreeting" // Round → Decision: posts the card and stays open
	AwaitDecision   = "AwaitDecision"   // Round → Decision: stays open
	PostCard        = "PostCard"        // CardInput → Posted
	RedrawCard      = "RedrawCard"      // CardInput → Posted: the card shows the round as it stands
	PostLine        = "PostLine"        // Line → IDs of those mentioned who are not there: what has happened, in the thread
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
	// redrawWithin is how long one attempt to draw a card anew may take. It is waited for before the card is closed.
	redrawWithin = 20 * time.Second
	// backstop is what an open activity's timeouts leave beyond the last deadline, which is the workflow's timer.
	backstop = time.Hour
	// keepTrying is how long it is tried to say in the thread what has happened.
	keepTrying = time.Hour
)

// What rounds may need of a workflow's history, in bytes of JSON: a round is in it several times, and a history has 50
// MiB at the most, a payload 2 MiB. https://docs.temporal.io/workflow-execution/limits
const (
	maxRound      = 1 << 20
	maxRoundsSize = 16 << 20
)

// MaxDeadline is how far away a deadline may be, and how far it may be moved.
const MaxDeadline = 366 * 24 * time.Hour

// Posted is a card in Slack.
type Posted struct {
	Card
	Permalink string `json:"permalink,omitempty"`
	// Names are what the people and groups who may decide are called, by their IDs.
	Names map[string]string `json:"names,omitempty"`
	// Trace is the trace that it was posted in, as W3C's traceparent has it; empty where nothing is traced.
	Trace string `json:"trace,omitempty"`
}

// CardPosted is the payload of [SignalCardPosted].
type CardPosted struct {
	Posted
	ActivityID string `json:"activity_id"`
}

// CardInput asks for the card of an open activity.
type CardInput struct {
	ActivityID string `json:"activity_id"`
	Round      Round  `json:"round"`
	// Instead: the activity posts its own card, and this one only in its place, should its attempt be lost.
	Instead bool `json:"instead,omitempty"`
	// Card is the one to be drawn anew.
	Card Card `json:"card,omitzero"`
}

// EndDecisionInput asks to report an open activity as cancelled, because the request ended from our side, or who may
// decide has changed.
type EndDecisionInput struct {
	ActivityID string  `json:"activity_id"`
	Outcome    Outcome `json:"outcome"` // Expired, Withdrawn, Changed or Failed
	// Changes is the withdrawal, where a person made it.
	Changes []Change `json:"changes,omitempty"`
	// Note goes with Failed.
	Note string `json:"note,omitempty"`
}

// Result is how a request ended that was ended so, at that time.
func (in EndDecisionInput) Result(at time.Time) Result {
	return Result{Outcome: in.Outcome, Changes: in.Changes, Note: in.Note, EndedAt: at}
}

// DecisionEnded is what the open activity left behind when its end was reported.
type DecisionEnded struct {
	Card Card `json:"card,omitzero"`
	// Posting is since when there may be a card whose address was not recorded; zero: there is none.
	Posting time.Time `json:"posting,omitzero"`
	// Unknown says that the activity had ended already, and what it left behind with it.
	Unknown bool `json:"unknown,omitempty"`
}

// Requests are the open requests of one workflow. Make one per workflow, with [NewRequests].
type Requests struct {
	prefix string // unique within the workflow
	asked  int
	posted workflow.ReceiveChannel
	open   []*question
	ended  *Listed // the last one that ended
	listed [32]byte
}

// NewRequests returns the requests of the workflow that ctx belongs to. It handles [SignalCardPosted] and
// [UpdateChange] for them, and keeps the workflow's memo [MemoRequests] and its current details.
func NewRequests(ctx workflow.Context) *Requests {
	q := &Requests{posted: workflow.GetSignalChannel(ctx, SignalCardPosted)}
	// What a side effect returns can always be decoded.
	_ = workflow.SideEffect(ctx, func(workflow.Context) any { return rand.Text()[:6] }).Get(&q.prefix)
	q.handleChanges(ctx)
	return q
}

// listen takes the cards' addresses that have been signalled.
func (q *Requests) listen() {
	var p CardPosted
	for q.posted.ReceiveAsync(&p) {
		for _, a := range q.open {
			if name, _, _, _ := SplitActivityID(p.ActivityID); name == a.name {
				a.know(p.Posted)
			}
		}
		p = CardPosted{}
	}
}

// question is an open request.
type question struct {
	of   *Requests
	name string
	r    Round
	// digest is the request's, in hex.
	digest string
	ctx    workflow.Context // is not cancelled with the workflow: what must happen at the end happens then too
	info   workflow.Execution

	spent int // bytes of history for rounds

	// The round's open activity.
	decision   workflow.Future
	activityID string
	stop       workflow.CancelFunc

	// The card. posting and drawing are under way.
	composed bool // the first round's activity posts it
	card     Posted
	maybe    time.Time // since when there may be a card that is not known; zero: there is none
	posting  step
	rescued  bool
	drawing  step
	drawn    int // which state of the request the card shows
	state    int // counts them

	// What is due.
	askedAt  time.Time
	remindAt time.Time
	reminded int
	redrawAt time.Time // after Slack has refused it
	refused  int       // how often Slack has
	alarm    step
	alarmAt  time.Time

	changes []*requested // that wait for their turn
	waiting int          // handlers of changes that have not been answered
	lines   []Line       // that are to be posted; the first is under way
	line    step
	said    int

	end      Result
	err      error // the question could not be asked
	ended    bool
	settling bool
	endedAt  time.Time
}

// step is something that is under way, and can be cancelled.
type step struct {
	workflow.Future
	cancel workflow.CancelFunc
}

func (s *step) ready() bool { return s.Future != nil && s.IsReady() }

// Ask posts a card for r and waits for the request's outcome. The card is closed, and the requester told, before it
// returns, or soon after: a caller waits half a minute for each at the most. Any number of coroutines of the workflow
// may ask at once. The activities run on the task queue of ctx.
//
// Where ctx is cancelled the request is withdrawn, unless a decision came first: the result says so, and has no error.
// An error means that the question could not be asked; its type is [ErrTypeInvalidRequest] or [ErrTypeRefused].
func (q *Requests) Ask(ctx workflow.Context, r Request) (Result, error) {
	return q.ask(ctx, r, false)
}

// ask is Ask. Where composed is true the first round's activity posts the card, and otherwise one of its own.
func (q *Requests) ask(ctx workflow.Context, r Request, composed bool) (Result, error) {
	q.asked++
	after, _ := workflow.NewDisconnectedContext(ctx)
	a := &question{
		of: q, name: fmt.Sprintf("%s-%d", q.prefix, q.asked), r: Round{Request: r, Number: 1}, composed: composed,
		ctx: after, info: workflow.GetInfo(ctx).WorkflowExecution, askedAt: workflow.Now(ctx),
	}
	switch {
	case jsonSize(r) > maxRound: // Temporal would not take it as the input of a step.
		a.r.Request = Request{Title: string([]rune(r.Title)[:min(len([]rune(r.Title)), MaxTitle)]), Channel: r.Channel, Requester: r.Requester}
		return a.notAsked(InvalidRequestError("The request is too large: shorten it."))
	case r.Malformed != "":
		return a.notAsked(InvalidRequestError(strings.Join(r.Faults(), " ")))
	}
	var within time.Duration
	if !r.ExpiresAt.IsZero() {
		within = max(r.ExpiresAt.Sub(a.askedAt), time.Second)
	} else if d := r.Deadline.value(); d > 0 {
		within = max(d, time.Second)
	}
	var prepared Request // a new one: what was taken back must not stay
	if err := workflow.ExecuteActivity(quick(ctx, within), PrepareRequest, r).Get(ctx, &prepared); err != nil {
		return a.notAsked(err)
	}
	a.r.Request = prepared
	digest := prepared.Digest()
	a.digest = hex.EncodeToString(digest[:])
	if rounds := Count(a.r.Wanted()) + 1; 2*rounds*jsonSize(a.r) > maxRoundsSize {
		return a.notAsked(InvalidRequestError("The request is too large for so many approvals: shorten it, or let fewer people decide."))
	}
	q.open = append(q.open, a)
	a.remindAt = a.nextReminder(a.askedAt)
	workflow.Go(after, a.postLines)
	a.openRound()
	if !composed {
		a.post(false)
	}
	for !a.ended {
		a.setAlarm()
		q.show(ctx)
		_ = workflow.Await(after, func() bool { return a.stirs(ctx) })
		a.step(ctx)
	}
	a.settle(ctx)
	q.show(ctx)
	q.open = slices.DeleteFunc(q.open, func(o *question) bool { return o == a })
	if a.err != nil {
		return a.notAsked(a.err)
	}
	a.closeCard(a.closing())
	return a.end, nil
}

// stirs reports whether there is something for step to do.
func (a *question) stirs(ctx workflow.Context) bool {
	return a.of.posted.Len() > 0 || ctx.Err() != nil || a.nextChange() >= 0 || a.decision.IsReady() ||
		a.posting.ready() || a.drawing.ready() || a.alarm.ready() || a.drawn < a.state && a.mayDraw()
}

// step does one thing. A decision that has been made comes before all else.
func (a *question) step(ctx workflow.Context) {
	switch a.of.listen(); {
	case a.decision.IsReady():
		a.takeDecision()
	case a.posting.ready():
		a.takePosted()
	case ctx.Err() != nil:
		a.endRequest(EndDecisionInput{Outcome: Withdrawn})
	case a.nextChange() >= 0:
		n := a.nextChange()
		c := a.changes[n]
		a.changes = slices.Delete(a.changes, n, n+1)
		a.change(c)
	case a.alarm.ready():
		a.alarm, a.alarmAt = step{}, time.Time{}
		a.ring()
	case a.drawing.ready():
		a.takeDrawn()
	case a.drawn < a.state && a.mayDraw():
		a.redraw()
	}
}

// openRound opens the round's activity.
func (a *question) openRound() {
	size := jsonSize(a.r)
	if a.spent += size; a.r.Number > MaxRounds || size > maxRound || a.spent > maxRoundsSize {
		a.ended, a.err = true, InvalidRequestError("This was decided too often without an end: ask anew.")
		a.end = Result{Outcome: Failed}
		return
	}
	ctx, stop := workflow.WithCancel(a.ctx)
	a.stop = stop
	a.activityID = a.r.activityID(a.name)
	activity := AwaitDecision
	if a.composed && a.r.Number == 1 {
		activity = ComposeGreeting
	}
	a.decision = workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		ActivityID:             a.activityID,
		ScheduleToCloseTimeout: 2*MaxDeadline + backstop, // the deadline can be moved
		StartToCloseTimeout:    2*MaxDeadline + backstop,
		// The future must not say "cancelled" before the arbiter has: a decision may be first.
		WaitForCancellation: true,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: time.Minute},
		Summary:             Summary(a.waitsFor()),
	}), activity, a.r)
	a.state++
	if a.r.Number == 1 {
		a.drawn = a.state // The card is about to be posted so.
	}
}

// takeDecision reads how the round ended, and opens the next one where the request goes on.
func (a *question) takeDecision() {
	if a.readDecision(EndDecisionInput{}); !a.ended {
		a.openRound()
	}
}

// readDecision reads how the round ended. why is what we had it ended with, if we had.
func (a *question) readDecision(why EndDecisionInput) {
	var value any
	err := a.decision.Get(a.ctx, &value)
	res, ok := a.r.Ended(value, err, why, workflow.Now(a.ctx))
	if !ok {
		if err == nil { // It was completed, with what is no answer to this question.
			err = InvalidRequestError(res.Note)
		}
		a.ended, a.err, a.end = true, err, res
		return
	}
	if a.card.Card == (Card{}) { // Until who has posted it says where it is, it is taken to be what was clicked.
		a.card.Card = res.Card
	}
	if a.card.Card == (Card{}) && why.Outcome == "" {
		a.maybe = a.askedAt // Decided outside Slack, before the card's address came.
	}
	before := len(a.r.Decisions)
	a.r, a.end, a.ended = a.r.After(res)
	if len(a.r.Decisions) == before {
		return
	}
	a.noteDecision(a.r.Decisions[before])
	if !a.ended {
		a.say(Decided)
	}
}

// endRound has the open round ended as in says. A decision that came first counts.
func (a *question) endRound(in EndDecisionInput) {
	in.ActivityID = a.activityID
	a.stop()
	left := a.reportEnd(in)
	a.know(Posted{Card: left.Card})
	if a.composed && a.r.Number == 1 {
		if a.maybe = left.Posting; left.Unknown {
			a.maybe = a.askedAt
		}
	}
	a.readDecision(in)
}

// endRequest ends the request from our side. A decision that came first, and ends it too, is the one that counts.
func (a *question) endRequest(in EndDecisionInput) {
	if a.endRound(in); a.ended {
		return
	}
	// It was one of several that are wanted.
	_, a.end, a.ended = a.r.After(in.Result(workflow.Now(a.ctx)))
}

// reportEnd has the activity reported as cancelled. It returns with what the report says; where the activity has ended
// in another way it does not wait for that for long.
func (a *question) reportEnd(in EndDecisionInput) (left DecisionEnded) {
	ctx, forget := workflow.WithCancel(a.ctx)
	defer forget()
	reported := workflow.ExecuteActivity(quick(ctx, 0), EndDecision, in)
	_ = workflow.Await(ctx, func() bool { return reported.IsReady() || a.decision.IsReady() })
	if !reported.IsReady() {
		_, _ = workflow.AwaitWithTimeout(ctx, closeWait, reported.IsReady)
	}
	if !reported.IsReady() {
		return DecisionEnded{Unknown: true}
	}
	if err := reported.Get(ctx, &left); err != nil {
		workflow.GetLogger(ctx).Warn("report the end of an open activity", "activity_id", in.ActivityID, "err", err)
		left.Unknown = true
	}
	return left
}

// nextChange is the first change that can be made now, -1 where there is none: what changes who may decide waits for the
// card, which is about to be posted.
func (a *question) nextChange() int {
	return slices.IndexFunc(a.changes, func(c *requested) bool {
		return a.card.Card != Card{} || c.Kind == Withdraw || c.Kind == Extend
	})
}

// change makes a change that somebody asked for, and answers them.
func (a *question) change(c *requested) {
	next, made, err := a.r.Apply(c.Change, workflow.Now(a.ctx))
	if err == nil && made.Kind != Withdraw && a.spent > maxRoundsSize/2 { // The rest is for decisions.
		err = notChanged("This request has been changed too often: withdraw it, and ask anew.")
	}
	if err == nil {
		switch made.Kind {
		case Withdraw:
			a.endRequest(EndDecisionInput{Outcome: Withdrawn, Changes: []Change{made}})
			if _, ok := a.end.Withdrawal(); !ok {
				err = tooLate(a.end)
			}
		case Extend:
			a.r = next
			a.state++
			a.say(Extended)
		case Delegate, Escalate:
			err = a.changePolicy(c.Change)
		}
	}
	c.listed, c.err, c.done = a.listed(), err, true
}

// changePolicy changes who may decide: it ends the round, and opens one with the new policy.
func (a *question) changePolicy(c Change) error {
	if a.endRound(EndDecisionInput{Outcome: Changed}); a.ended {
		return tooLate(a.end)
	}
	next, made, err := a.r.Apply(c, workflow.Now(a.ctx))
	if err == nil {
		a.r = next
		if made.Kind == Delegate {
			a.say(Delegated)
		} else {
			a.say(Escalated)
		}
	}
	if a.openRound(); a.ended {
		return tooLate(a.end)
	}
	return err
}

// setAlarm sets the timer to when something is due next.
func (a *question) setAlarm() {
	due := a.due()
	if a.alarm.Future != nil && a.alarmAt.Equal(due) {
		return
	}
	if a.alarm.cancel != nil {
		a.alarm.cancel()
	}
	ctx, cancel := workflow.WithCancel(a.ctx)
	a.alarm, a.alarmAt = step{workflow.NewTimer(ctx, due.Sub(workflow.Now(ctx))), cancel}, due
}

// due is when something is due next: the deadline, or what may come before it.
func (a *question) due() time.Time {
	due := a.r.Until()
	earlier := func(t time.Time) {
		if !t.IsZero() && t.Before(due) {
			due = t
		}
	}
	earlier(a.remindAt)
	earlier(a.escalateAt())
	earlier(a.rescueAt())
	earlier(a.redrawAt)
	return due
}

// nextReminder is the reminder after last; zero: there is none. A workflow's history has an end, so reminders have.
func (a *question) nextReminder(last time.Time) time.Time {
	every := a.r.RemindEvery.value()
	if every <= 0 || a.reminded >= 2*MaxReminders {
		return time.Time{}
	}
	return last.Add(every)
}

// escalateAt is when the next escalation is due; zero: never.
func (a *question) escalateAt() time.Time {
	if e, ok := a.r.NextEscalation(); ok {
		return a.askedAt.Add(e.After.value())
	}
	return time.Time{}
}

// rescueAt is when the first round's activity counts as lost; zero: never, or no more.
func (a *question) rescueAt() time.Time {
	if a.composed && !a.rescued && a.card.Card == (Card{}) {
		return a.askedAt.Add(LostAfter)
	}
	return time.Time{}
}

// ring does what is due.
func (a *question) ring() {
	now := workflow.Now(a.ctx)
	past := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch {
	case past(a.r.Until()):
		a.endRequest(EndDecisionInput{Outcome: Expired})
		if a.end.ByDeadline && a.card.Card == (Card{}) { // Nobody was asked: silence says nothing.
			a.end.Outcome, a.end.ByDeadline, a.end.Inputs = Expired, false, nil
		}
	case past(a.rescueAt()):
		a.rescued = true
		a.post(true)
	case past(a.escalateAt()):
		_ = a.changePolicy(Change{Kind: Escalate}) // Where it came too late, the request has ended.
	case past(a.redrawAt):
		a.redrawAt = time.Time{}
		a.drawn = a.state - 1
	case past(a.remindAt):
		a.reminded++
		for past(a.remindAt) {
			a.remindAt = a.nextReminder(a.remindAt)
		}
		a.dropReminders()
		a.say(Reminded)
	}
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

// notAsked ends a request that could not be asked: the requester is told, and a card, should there be one, is closed.
func (a *question) notAsked(err error) (Result, error) {
	res, ok := ResultOf(a.r.Request, nil, err, workflow.Now(a.ctx))
	res.Card, res.Permalink, res.Decisions, res.Changes = a.end.Card, a.end.Permalink, a.r.Decisions, a.r.Changes
	a.end = res
	a.closeCard(a.closing())
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
