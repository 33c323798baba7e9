package e2e

import (
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	sdkpb "go.temporal.io/api/sdk/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"countersign/workflows"
)

// details is what Temporal's UI shows of a workflow as its current details.
func (w *world) details(run client.WorkflowRun) string {
	w.Helper()
	v, err := w.temporal.QueryWorkflow(w.ctx, run.GetID(), run.GetRunID(), "__temporal_workflow_metadata")
	w.must(err)
	var m sdkpb.WorkflowMetadata
	w.must(v.Get(&m))
	return m.GetCurrentDetails()
}

// summary is what Temporal's UI shows beside the run's last activity of a name.
func (w *world) summary(run client.WorkflowRun, activity string) (s string) {
	w.Helper()
	for _, e := range w.history(run) {
		if e.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName() == activity {
			s = ""
			w.must(converter.GetDefaultDataConverter().FromPayload(e.GetUserMetadata().GetSummary(), &s))
		}
	}
	return s
}

// listed is what a workflow's memo says of its requests.
func (w *world) listed(m *commonpb.Memo) (all []workflows.Listed) {
	w.Helper()
	if p := m.GetFields()[workflows.MemoRequests]; p != nil {
		w.must(converter.GetDefaultDataConverter().FromPayload(p, &all))
	}
	return all
}

// Operators see in Temporal what a request waits for.
func TestDetails(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		run := w.approval(workflows.Request{
			Requester: w.sim.Person("alice").ID(), Required: 2, Deadline: "1h",
			Approvers: workflows.Approvers{Groups: []string{w.sim.Group("sre").ID}},
		})
		card := w.card("general", "Deploy v2")
		w.did(run, workflows.PostLine, 1)
		if got, want := w.details(run), "Deploy v2: waiting for 2 of @sre until 20"; !strings.HasPrefix(got, want) {
			w.Errorf("the details are %q, want %q…", got, want)
		}
		if got, want := w.summary(run, workflows.AwaitDecision), "waiting for 2 of "; !strings.HasPrefix(got, want) {
			w.Errorf("the summary is %q, want %q…", got, want)
		}

		w.click(w.as("bob", "general"), card, "approve", true)
		w.redrawn(card, "1 of 2")
		w.did(run, workflows.PostLine, 2)
		if got, want := w.details(run), "Deploy v2: waiting for 1 more of @sre until 20"; !strings.HasPrefix(got, want) || !strings.HasSuffix(got, " UTC") {
			w.Errorf("the details are %q, want %q… UTC", got, want)
		}
		if got, want := w.summary(run, workflows.AwaitDecision), "waiting for 1 more of @sre until 20"; !strings.HasPrefix(got, want) {
			w.Errorf("the summary is %q, want %q…", got, want)
		}
		if id := w.openActivity(run); w.summary(run, workflows.AwaitDecision) == "" || !strings.Contains(id, "-decision-2-") {
			w.Errorf("the open activity is %s, want the second round's", id)
		}

		check := func(what string, all []workflows.Listed) {
			w.Helper()
			if len(all) != 1 {
				w.Fatalf("%s has %d requests in its memo, want 1", what, len(all))
			}
			l := all[0]
			if l.Outcome != "" || l.ActivityID == "" || l.Card.TS != card.TS || l.Permalink == "" || l.Digest == "" || l.AskedAt.IsZero() ||
				l.Round.Title != "Deploy v2" || !l.Round.Decided(w.sim.Person("bob").ID()) || len(l.Missing) != 1 || l.Missing[0].Required != 1 {
				w.Errorf("%s says %+v", what, l)
			}
		}
		d, err := w.temporal.DescribeWorkflowExecution(w.ctx, run.GetID(), run.GetRunID())
		w.must(err)
		check("describe", w.listed(d.GetWorkflowExecutionInfo().GetMemo()))
		check("visibility", w.seen(run, func(all []workflows.Listed) bool { return len(all) == 1 && len(all[0].Round.Decisions) == 1 }))

		w.click(w.as("carol", "general"), card, "approve", true)
		w.outcome(run, workflows.Approved)
		if got := w.details(run); got != "" {
			w.Errorf("at the end the details are %q, want none", got)
		}
		all := w.seen(run, func(all []workflows.Listed) bool { return len(all) == 1 && all[0].Outcome != "" })
		if l := all[0]; l.Outcome != workflows.Approved || l.ActivityID != "" || l.EndedAt.IsZero() || len(l.Round.Decisions) != 2 || len(l.Missing) != 0 {
			w.Errorf("at the end the memo says %+v", l)
		}
	})
}

// seen asks Temporal's visibility, which lags behind, until the run's memo is what match wants.
func (w *world) seen(run client.WorkflowRun, match func([]workflows.Listed) bool) (all []workflows.Listed) {
	w.Helper()
	for w.again() {
		r, err := w.temporal.ListWorkflow(w.ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace: client.DefaultNamespace, Query: "WorkflowId = '" + run.GetID() + "'",
		})
		w.must(err)
		for _, e := range r.GetExecutions() {
			all = w.listed(e.GetMemo())
		}
		if match(all) {
			return all
		}
	}
	w.Fatalf("visibility says %+v", all)
	return nil
}
