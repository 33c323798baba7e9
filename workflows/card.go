package workflows

import (
	"encoding/json"
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

const (
	// closeWait is how long a caller waits for its card at the most.
	closeWait = 30 * time.Second
	// redrawAgain is when a card is drawn again that Slack refused to change; twice as long each time, for redrawTries
	// times.
	redrawAgain = 30 * time.Second
	redrawTries = 24
	// closeKeepTrying is how long a card is tried to be closed after that.
	closeKeepTrying = 7 * 24 * time.Hour
)

// Event is what a line in a card's thread says.
type Event string

// The events. That a request has ended is said by [TellRequester].
const (
	Asked     Event = "asked"
	Decided   Event = "decided"
	Reminded  Event = "reminded"
	Escalated Event = "escalated"
	Delegated Event = "delegated"
	Extended  Event = "extended"
)

// Line is a line in a card's thread. It speaks of the last of the round's decisions, or of its changes.
type Line struct {
	Event Event `json:"event"`
	// Number counts the lines of a card.
	Number     int       `json:"number"`
	ActivityID string    `json:"activity_id"`
	Round      Round     `json:"round"`
	Card       Card      `json:"card,omitzero"`
	At         time.Time `json:"at"`
	// To is who gets it in a direct message instead: a mention reaches nobody who is not in the channel. Permalink leads
	// them to the card.
	To        string `json:"to,omitempty"`
	Permalink string `json:"permalink,omitempty"`
	// Again says that an earlier activity may have posted it already. WorkflowID and RunID are of the workflow that asked,
	// where another posts it.
	Again      bool   `json:"again,omitempty"`
	WorkflowID string `json:"workflow_id,omitempty"`
	RunID      string `json:"run_id,omitempty"`
}

// Closing is a request that has ended, and what is left to do about it.
type Closing struct {
	// CloseCard: the card is to show the outcome. TellRequester: the card's thread is to say it. TellDirectly: so is a
	// direct message to the requester. Lines are still to be posted before.
	CloseCard     bool   `json:"close_card,omitempty"`
	TellRequester bool   `json:"tell_requester,omitempty"`
	TellDirectly  bool   `json:"tell_directly,omitempty"`
	Lines         []Line `json:"lines,omitempty"`
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

// post has the card posted, or, where instead is true, posted in the place of an attempt that was lost.
func (a *question) post(instead bool) {
	ctx, cancel := workflow.WithCancel(quick(a.ctx, 0))
	a.posting = step{workflow.ExecuteActivity(waitForCancellation(ctx), PostCard, CardInput{
		ActivityID: a.activityID, Round: a.r, Instead: instead,
	}), cancel}
}

// takePosted reads where the card is.
func (a *question) takePosted() {
	var p Posted
	err := a.posting.Get(a.ctx, &p)
	a.posting = step{}
	if err == nil && p.Card == (Card{}) && !a.composed { // Somebody completed it from outside.
		err = InvalidRequestError("The card was not posted.")
	}
	switch {
	case err == nil:
		if a.know(p); !a.composed {
			a.say(Asked)
			last := len(a.lines) - 1 // Somebody may have decided already.
			a.lines = slices.Concat(a.lines[last:], a.lines[:last])
		}
	case a.composed:
		workflow.GetLogger(a.ctx).Warn("post a card in a lost attempt's place", "activity_id", a.activityID, "err", err)
	default: // Nobody will see this question.
		a.maybe = a.askedAt
		a.endRequest(EndDecisionInput{Outcome: Failed, Note: "The card could not be posted."})
		if a.end.Outcome == Failed {
			a.err = err
		}
	}
}

// know keeps where the card is, as who has posted it says.
func (a *question) know(p Posted) {
	if p.Card == (Card{}) {
		return
	}
	a.card.Card = p.Card
	if p.Permalink != "" {
		a.card.Permalink = p.Permalink
	}
	if p.Names != nil {
		a.card.Names = p.Names
	}
	if p.Trace != "" && a.card.Trace == "" {
		a.card.Trace = p.Trace
	}
}

// mayDraw reports whether the card can be drawn anew now.
func (a *question) mayDraw() bool {
	return a.card.Card != (Card{}) && a.posting.Future == nil && a.drawing.Future == nil
}

// redraw has the card show the request as it stands.
func (a *question) redraw() {
	ctx, cancel := workflow.WithCancel(workflow.WithActivityOptions(a.ctx, workflow.ActivityOptions{
		StartToCloseTimeout: redrawWithin,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, MaximumInterval: time.Minute},
	}))
	a.drawn, a.redrawAt = a.state, time.Time{}
	a.spent += jsonSize(a.r)
	a.drawing = step{workflow.ExecuteActivity(waitForCancellation(ctx), RedrawCard, CardInput{
		ActivityID: a.activityID, Round: a.r, Card: a.card.Card,
	}), cancel}
}

// takeDrawn ends the drawing.
func (a *question) takeDrawn() {
	var p Posted
	if err := a.drawing.Get(a.ctx, &p); err != nil {
		workflow.GetLogger(a.ctx).Warn("draw a card anew", "activity_id", a.activityID, "err", err)
		// What Slack refuses for good may work once an operator has mended it. Until then the card shows what was.
		if a.refused++; a.refused <= redrawTries {
			a.redrawAt = workflow.Now(a.ctx).Add(min(redrawAgain<<a.refused, time.Hour))
		}
	} else {
		a.refused = 0
	}
	a.know(p)
	a.drawing = step{}
}

// say has a line posted in the card's thread.
func (a *question) say(e Event) {
	a.said++
	a.lines = append(a.lines, Line{Event: e, Number: a.said, ActivityID: a.activityID, Round: a.r.brief(), At: workflow.Now(a.ctx)})
}

// dropReminders takes back the reminders that still wait to be posted: nobody needs two at once.
func (a *question) dropReminders() {
	waiting := 0
	if a.line.Future != nil {
		waiting = 1 // The first is under way.
	}
	a.lines = slices.Concat(a.lines[:waiting], withoutReminders(a.lines[waiting:]))
}

func withoutReminders(lines []Line) []Line {
	return slices.DeleteFunc(slices.Clone(lines), func(l Line) bool { return l.Event == Reminded })
}

// forThread are the lines that are worth saying when the request has ended.
func forThread(lines []Line) []Line {
	return slices.DeleteFunc(withoutReminders(lines), func(l Line) bool { return l.To != "" })
}

// fitting are the last of the lines, as many as Temporal takes beside the rest of a [Closing], which has up to 2 MiB.
// https://docs.temporal.io/cloud/limits#per-message-grpc-limit
func fitting(lines []Line) []Line {
	const most = 512 << 10
	size := 0
	for i, l := range slices.Backward(lines) {
		b, _ := json.Marshal(l) //workflowcheck:ignore it sorts the keys
		if size += len(b); size > most {
			return lines[i+1:]
		}
	}
	return lines
}

// postLines posts the lines, one after the other, once there is a card: that something is asked is said first.
func (a *question) postLines(ctx workflow.Context) {
	for {
		_ = workflow.Await(ctx, func() bool {
			return a.settling || len(a.lines) > 0 && a.card.Card != (Card{}) && (a.composed || a.posting.Future == nil)
		})
		if a.settling {
			return
		}
		a.lines[0].Card = a.card.Card
		posting, cancel := workflow.WithCancel(quick(ctx, keepTrying))
		a.line = step{workflow.ExecuteActivity(waitForCancellation(posting), PostLine, a.lines[0]), cancel}
		var absent []string // who was to be mentioned, and is not in the channel
		err := a.line.Get(ctx, &absent)
		a.line = step{}
		if err != nil && a.settling { // It is left to the closing.
			a.lines[0].Again = true
			return
		}
		if err != nil {
			workflow.GetLogger(ctx).Warn("say in the thread what has happened", "event", a.lines[0].Event, "err", err)
		}
		for _, id := range absent {
			l := a.lines[0]
			a.said++
			l.To, l.Number, l.Permalink = id, a.said, a.card.Permalink
			a.lines = append(a.lines, l)
		}
		a.lines = a.lines[1:]
	}
}

// settle brings everything to rest that is under way when the request has ended: nothing may draw on the card once it
// is being closed.
func (a *question) settle(ctx workflow.Context) {
	a.settling, a.endedAt = true, workflow.Now(ctx)
	for _, c := range a.changes {
		c.err, c.done = tooLate(a.end), true
	}
	a.changes = nil
	for _, s := range []step{a.alarm, a.posting, a.drawing, a.line} {
		if s.cancel != nil {
			s.cancel()
		}
	}
	rests := func() bool {
		return a.waiting == 0 && (a.posting.Future == nil || a.posting.ready()) && (a.drawing.Future == nil || a.drawing.ready())
	}
	if !rests() { // Where it does, no timer is left behind.
		_, _ = workflow.AwaitWithTimeout(a.ctx, closeWait, rests)
	}
	a.of.listen()
	var p Posted
	switch {
	case a.posting.ready() && a.posting.Get(a.ctx, &p) == nil:
		a.know(p)
	case a.posting.Future != nil && !a.composed:
		a.maybe = a.askedAt
	}
}

// leftLines are the lines that are still to be posted when the request has ended.
func (a *question) leftLines(ctx workflow.Context) []Line {
	if a.end.Card == (Card{}) {
		return nil
	}
	rests := func() bool { return a.line.Future == nil }
	if !rests() {
		_, _ = workflow.AwaitWithTimeout(ctx, closeWait, rests)
	}
	if !rests() { // It is being posted, or has been: nobody knows.
		a.lines[0].Again = true
	}
	lines := fitting(forThread(a.lines))
	for i := range lines {
		lines[i].Card, lines[i].WorkflowID, lines[i].RunID = a.end.Card, a.info.ID, a.info.RunID
	}
	return lines
}

// closing is what is left to do about the request, which has ended.
func (a *question) closing() Closing {
	if a.card.Card != (Card{}) {
		a.end.Card = a.card.Card
	}
	a.end.Permalink = a.card.Permalink
	c := Closing{
		CloseCard:     a.end.Card != (Card{}) || !a.maybe.IsZero(),
		TellRequester: a.r.Requester != "" || !a.composed && a.end.Card != (Card{}),
		TellDirectly:  a.tellDirectly() && a.end.Card != (Card{}),
		WorkflowID:    a.info.ID, RunID: a.info.RunID, ActivityID: a.activityID,
		Request: a.r.Request, Result: a.end,
	}
	if a.end.Card == (Card{}) {
		c.Posting = a.maybe
	}
	return c
}

// tellDirectly reports whether the requester is told in a direct message too: they cannot see a card in somebody else's.
func (a *question) tellDirectly() bool {
	elsewhere := IsUser(a.r.Channel) && a.r.Channel != a.r.Requester
	return a.r.Requester != "" && (a.r.TellRequester || elsewhere)
}

// closeCard has the card show the outcome and the requester told. What is not done within closeWait of the end goes on
// in a workflow of its own.
func (a *question) closeCard(c Closing) {
	a.noteOutcome(c.Result)
	left := closeWait
	if !a.endedAt.IsZero() {
		left = max(closeWait-workflow.Now(a.ctx).Sub(a.endedAt), time.Second)
	}
	if c = tryClose(a.ctx, c, a.leftLines, left); !c.left() {
		return
	}
	c.Again = true
	child := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(a.ctx, workflow.ChildWorkflowOptions{
		TaskQueue:         workflow.GetActivityOptions(a.ctx).TaskQueue, // where the activities are, it is known
		ParentClosePolicy: enumspb.PARENT_CLOSE_POLICY_ABANDON,
		StaticSummary:     "closes a card when Slack lets it",
	}), CloseCardLater, c)
	if err := child.GetChildWorkflowExecution().Get(a.ctx, nil); err != nil {
		workflow.GetLogger(a.ctx).Warn("leave a card to a workflow of its own", "activity_id", c.ActivityID, "err", err)
	}
}

// left reports whether there is anything left to do.
func (c Closing) left() bool {
	return c.CloseCard || c.TellRequester || c.TellDirectly || len(c.Lines) > 0
}

// tryClose does what is left, within d, and returns c with what is left then. lines are those that are said first; they
// may be waited for, which the card is not. The activities end with success where Slack refuses for good.
func tryClose(ctx workflow.Context, c Closing, lines func(workflow.Context) []Line, d time.Duration) Closing {
	left := c
	until := workflow.Now(ctx).Add(d)
	try := func(ctx workflow.Context, activity string, input any) bool {
		rest := until.Sub(workflow.Now(ctx))
		if rest <= 0 {
			return false
		}
		err := workflow.ExecuteActivity(quick(ctx, rest), activity, input).Get(ctx, nil)
		if err != nil {
			workflow.GetLogger(ctx).Warn("close a request", "step", activity, "activity_id", c.ActivityID, "err", err)
		}
		return err == nil
	}
	all := workflow.NewWaitGroup(ctx)
	do := func(todo bool, f func(workflow.Context)) {
		if todo {
			all.Add(1)
			workflow.Go(ctx, func(ctx workflow.Context) {
				defer all.Done()
				f(ctx)
			})
		}
	}
	c.Lines = nil
	do(c.CloseCard, func(ctx workflow.Context) { left.CloseCard = !try(ctx, CloseCard, c) })
	do(true, func(ctx workflow.Context) {
		for left.Lines = lines(ctx); len(left.Lines) > 0 && try(ctx, PostLine, left.Lines[0]); {
			left.Lines = left.Lines[1:]
		}
		if len(left.Lines) > 0 {
			left.Lines[0].Again = true
		} else if c.TellRequester {
			left.TellRequester = !try(ctx, TellRequester, c.told(false))
		}
	})
	do(c.TellDirectly, func(ctx workflow.Context) { left.TellDirectly = !try(ctx, TellRequester, c.told(true)) })
	all.Wait(ctx)
	return left
}

// told is the closing for one way of telling the requester.
func (c Closing) told(directly bool) Closing {
	c.TellRequester, c.TellDirectly = !directly, directly
	return c
}

// CloseCardLater is the workflow that goes on closing a card where its request could not wait for it.
func CloseCardLater(ctx workflow.Context, c Closing) error {
	tryClose(ctx, c, func(workflow.Context) []Line { return c.Lines }, closeKeepTrying)
	return nil
}

// waitForCancellation has an activity that is cancelled end before its future does: it may be writing to Slack.
func waitForCancellation(ctx workflow.Context) workflow.Context {
	o := workflow.GetActivityOptions(ctx)
	o.WaitForCancellation = true
	return workflow.WithActivityOptions(ctx, o)
}
