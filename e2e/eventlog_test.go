package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"countersign/workflows"
)

// event is a line of the log for an audit.
type event struct {
	Event      string `json:"event"`
	WorkflowID string `json:"workflow_id"`
	Outcome    string `json:"outcome"`
	By         string `json:"by,omitempty"`
	Via        string `json:"via,omitempty"`
	Round      int    `json:"round,omitempty"`
	Requester  string `json:"requester,omitempty"`
	Decisions  int    `json:"decisions,omitempty"`
	ByDeadline bool   `json:"by_deadline,omitempty"`
}

// events are the lines for an audit in the logs, by workflow; each has to have all that says which request it is about.
func (w *world) events(all ...*process) map[string][]event {
	w.Helper()
	found := map[string][]event{}
	for _, p := range all {
		for line := range strings.Lines(p.log.String()) {
			var e event
			if json.Unmarshal([]byte(line), &e) != nil || e.Event == "" {
				continue
			}
			var has map[string]any
			w.must(json.Unmarshal([]byte(line), &has))
			for _, key := range []string{"time", "msg", "run_id", "question", "channel", "ts", "at", "digest"} {
				if s, _ := has[key].(string); s == "" {
					w.Errorf("a line for an audit has no %s: %s", key, line)
				}
			}
			if has["msg"] != e.Event {
				w.Errorf("the message is %v, and the event %s", has["msg"], e.Event)
			}
			id := e.WorkflowID
			e.WorkflowID = ""
			found[id] = append(found[id], e)
		}
	}
	return found
}

// TestEventsInTheLog has one line of the log for each decision, and one for each outcome, whichever way it came, though
// people click twice and workers take the workflows over.
func TestEventsInTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t, socketMode, shared.temporal.Address, "LOG_FORMAT=json", "LOG_LEVEL=info")
	ready := func(role string) *process {
		p := w.launch([]string{role})
		w.sees(p, `"msg":"ready"`)
		return p
	}
	bot, first := ready("bot"), ready("worker")
	bob, carol := w.sim.Person("bob").ID(), w.sim.Person("carol").ID()

	both := w.approval(workflows.Request{Title: "Both", Required: 2, Requester: w.sim.Person("alice").ID()})
	card := w.card("general", "Both")
	w.click(w.as("bob", "general"), card, "approve", true)
	card = w.redrawn(card, "1 of 2")
	w.click(w.as("bob", "general").Force(), card, "approve", true) // says nothing new
	w.stop(first)
	second := ready("worker")
	w.click(w.as("carol", "general"), card, "approve", true)
	w.closed(card, "pproved")
	w.outcome(both, workflows.Approved)

	no := w.approval(workflows.Request{Title: "No", RejectReason: workflows.Off})
	w.click(w.as("carol", "general"), w.card("general", "No"), "reject", true)
	_ = no.Get(w.ctx, nil)
	late := w.approval(workflows.Request{Title: "Late", Deadline: "2s", OnExpiry: workflows.RejectOnExpiry})
	_ = late.Get(w.ctx, nil)
	taken := w.approval(workflows.Request{Title: "Taken back"})
	w.card("general", "Taken back")
	w.must(w.temporal.CancelWorkflow(w.ctx, taken.GetID(), taken.GetRunID()))
	_ = taken.Get(w.ctx, nil)
	w.stop(second)

	want := map[string][]event{
		both.GetID(): {
			{Event: "decision", Outcome: "approved", By: bob, Via: "card", Round: 1},
			{Event: "decision", Outcome: "approved", By: carol, Via: "card", Round: 2},
			{Event: "outcome", Outcome: "approved", Requester: w.sim.Person("alice").ID(), Decisions: 2},
		},
		no.GetID(): {
			{Event: "decision", Outcome: "rejected", By: carol, Via: "card", Round: 1},
			{Event: "outcome", Outcome: "rejected", Decisions: 1},
		},
		late.GetID():  {{Event: "outcome", Outcome: "rejected", ByDeadline: true}},
		taken.GetID(): {{Event: "outcome", Outcome: "withdrawn"}},
	}
	got := w.events(first, second, bot)
	for _, all := range got {
		slices.SortStableFunc(all, func(a, b event) int { return strings.Compare(a.Event, b.Event) })
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines for an audit (-want +got):\n%s", diff)
	}
}
