package workflows

import (
	"cmp"

	"go.temporal.io/sdk/workflow"
)

// What people decided, and how requests ended, goes into the worker's log and metrics, whichever way it came. The SDK
// leaves out what is replayed. Texts of requests stay in Temporal.

// noteDecision notes a decision that was made.
func (a *question) noteDecision(d Decision) {
	a.log("decision", "outcome", d.Outcome, "by", only(d.By.ID, IsUser), "by_team", d.By.Team, "via", d.Via, "round", a.r.Number-1, "at", d.At,
		"digest", a.digest)
	posted := a.card.PostedAt()
	if posted.IsZero() || d.At.Before(posted) {
		return
	}
	workflow.GetMetricsHandler(a.ctx).WithTags(map[string]string{"outcome": string(d.Outcome)}).
		Timer("countersign.decision.wait").Record(d.At.Sub(posted))
}

// noteOutcome notes how the request ended.
func (a *question) noteOutcome(r Result) {
	a.log("outcome", "outcome", r.Outcome, "requester", only(a.r.Requester, IsUser), "decisions", len(r.Decisions), "by_deadline", r.ByDeadline,
		"at", r.EndedAt, "digest", cmp.Or(r.Digest, a.digest))
	workflow.GetMetricsHandler(a.ctx).WithTags(map[string]string{"outcome": string(r.Outcome)}).Counter("countersign.outcomes").Inc(1)
}

func (a *question) log(event string, keyvals ...any) {
	workflow.GetLogger(a.ctx).Info(event, append([]any{
		"event", event, "workflow_id", a.info.ID, "run_id", a.info.RunID, "question", a.name,
		"channel", cmp.Or(a.card.Channel, only(a.r.Channel, isPlace)), "ts", a.card.TS,
	}, keyvals...)...)
}

// only is s where it is an ID: in a request that cannot be asked it may be anything.
func only(s string, is func(string) bool) string {
	if is(s) {
		return s
	}
	return ""
}

// isPlace reports whether s looks like the ID of where a card can be posted.
func isPlace(s string) bool { return IsChannel(s) || IsUser(s) }
