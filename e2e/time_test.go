package e2e

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"

	"countersign/internal/slacksim"
	"countersign/workflows"
)

// oneMode runs a test in one way by which Slack delivers, where the way does not matter: some in each.
func oneMode(t *testing.T, test func(*world)) {
	t.Helper()
	t.Parallel()
	sum := fnv.New32()
	fmt.Fprint(sum, t.Name())
	test(newWorld(t, []mode{socketMode, httpMode}[sum.Sum32()%2], shared.temporal.Address))
}

// history is what Temporal has of a run so far.
func (w *world) history(run client.WorkflowRun) (all []*historypb.HistoryEvent) {
	w.Helper()
	events := w.temporal.GetWorkflowHistory(w.ctx, run.GetID(), run.GetRunID(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		w.must(err)
		all = append(all, e)
	}
	return all
}

// did waits until the run's workflow has seen so many activities of a name end.
func (w *world) did(run client.WorkflowRun, activity string, n int) {
	w.Helper()
	scheduled := map[int64]bool{}
	events := w.temporal.GetWorkflowHistory(w.ctx, run.GetID(), run.GetRunID(), true, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		w.must(err)
		if s := e.GetActivityTaskScheduledEventAttributes(); s.GetActivityType().GetName() == activity {
			scheduled[e.GetEventId()] = true
		}
		if c := e.GetActivityTaskCompletedEventAttributes(); scheduled[c.GetScheduledEventId()] {
			if n--; n == 0 {
				return
			}
		}
	}
	w.Fatalf("the workflow ended %d times %s too early", n, activity)
}

// thread checks that a card's thread has these lines and no others: each in its order, with all of its parts.
func (w *world) thread(card slacksim.Message, want ...[]string) {
	w.Helper()
	var got []string
	for _, m := range w.sim.Replies(card.Channel, card.TS) {
		got = append(got, m.Text)
	}
	ok := len(got) == len(want)
	for i := 0; ok && i < len(want); i++ {
		for _, part := range want[i] {
			// What begins with "!" must not be there.
			no, unwanted := strings.CutPrefix(part, "!")
			ok = ok && (unwanted && !strings.Contains(got[i], no) || !unwanted && strings.Contains(got[i], part))
		}
	}
	if !ok {
		w.Errorf("the thread is\n%s\nwant\n%q", strings.Join(got, "\n"), want)
	}
}

// at is how a person is mentioned.
func (w *world) at(name string) string { return "<@" + w.sim.Person(name).ID() + ">" }

// cardsIn counts the messages in a channel that stand in no thread.
func (w *world) cardsIn(channel string) (n int) {
	for _, m := range w.sim.Messages(channel) {
		if m.ThreadTS == "" {
			n++
		}
	}
	return n
}

// timers are those that the run has started, in seconds, and those that it has cancelled.
func (w *world) timers(run client.WorkflowRun) (started map[string]time.Duration, cancelled []string, last time.Duration) {
	w.Helper()
	started = map[string]time.Duration{}
	for _, e := range w.history(run) {
		if s := e.GetTimerStartedEventAttributes(); s != nil {
			last = s.GetStartToFireTimeout().AsDuration()
			started[s.GetTimerId()] = last
		}
		if c := e.GetTimerCanceledEventAttributes(); c != nil {
			cancelled = append(cancelled, c.GetTimerId())
		}
	}
	return started, cancelled, last
}

func TestExtended(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		alice, bob, dave := w.as("alice", "general"), w.as("bob", "general"), w.as("dave", "general")
		run := w.approval(workflows.Request{Requester: alice.ID(), Approvers: w.people("bob"), Deadline: "20s"})
		card := w.card("general", "Deploy v2")
		w.did(run, workflows.PostLine, 1)

		// By who asked, with the command.
		if got, want := w.types(alice, "/approval extend "+run.GetID()+" 1h"), "It waits until <!date^"; !strings.Contains(got, want) {
			w.Fatalf("answer %q, want %q", got, want)
		}
		card = w.redrawn(card, "Extended by "+w.at("alice"))
		started, cancelled, last := w.timers(run)
		if len(cancelled) != 1 || started[cancelled[0]] > 20*time.Second || last < 59*time.Minute || last > 61*time.Minute {
			w.Errorf("timers %v, cancelled %v: want the one of 20s cancelled, and one of an hour last", started, cancelled)
		}

		// By an approver, with the card's menu.
		w.fillsIn(bob, w.opens(bob, card, "more", string(workflows.Extend)), map[string]any{"longer": "4h"})
		w.redrawn(card, "Extended by "+w.at("bob"))
		if _, cancelled, last := w.timers(run); len(cancelled) != 2 || last < 4*time.Hour+59*time.Minute || last > 5*time.Hour+time.Minute {
			w.Errorf("the last timer runs for %v, want 5h; %d were cancelled", last, len(cancelled))
		}

		// By neither.
		w.mayNot(dave, card, workflows.Extend, "Only who asked for this, or who may decide it, can change it.")
		if got := w.types(dave, "/approval extend "+run.GetID()+" 1h"); !strings.Contains(got, "There is no request") {
			w.Errorf("a stranger is told %q", got)
		}
		if got := w.types(alice, "/approval extend "+run.GetID()+" soon"); !strings.Contains(got, "how much longer") {
			w.Errorf("no time: %q", got)
		}
		if got := w.types(alice, "/approval extend "+run.GetID()+" 366d"); !strings.Contains(got, "a year at the most") {
			w.Errorf("too far away: %q", got)
		}

		w.click(bob, card, "approve", true)
		res := w.outcome(run, workflows.Approved)
		if len(res.Changes) != 2 || res.Changes[0].By.ID != alice.ID() || res.Changes[0].Via != workflows.ViaCommand ||
			res.Changes[1].By.ID != bob.ID() || res.Changes[1].Via != workflows.ViaCard {
			w.Errorf("the changes are %+v", res.Changes)
		}
		w.thread(card, []string{w.at("bob")}, []string{"Extended by " + w.at("alice")}, []string{"Extended by " + w.at("bob")}, []string{"Approved by"})
	})
}

// opens clicks what opens a form, or chooses it in a menu. Where Temporal or Slack is too slow for Slack's 3 s, on a busy
// machine, the person is told so, and clicks again.
func (w *world) opens(p slacksim.Person, card slacksim.Message, action, chosen string) (form slacksim.View) {
	w.Helper()
	form, told := w.opensOrTold(p, card, action, chosen)
	if form.ID == "" {
		w.Fatalf("no form opened; told %q", told)
	}
	return form
}

// opensOrTold is as opens, but for a form or a refusal.
func (w *world) opensOrTold(p slacksim.Person, card slacksim.Message, action, chosen string) (form slacksim.View, told string) {
	w.Helper()
	for w.ctx.Err() == nil {
		if form, told = w.tries(p, card, action, chosen); form.ID != "" || !inVain(told) {
			return form, told
		}
		w.Logf("clicks again: told %q", told)
	}
	w.Fatalf("neither a form nor a refusal; told %q", told)
	return form, told
}

// tries clicks once, or chooses in a menu, and returns the form that opens, or what the person is told.
func (w *world) tries(p slacksim.Person, card slacksim.Message, action, chosen string) (form slacksim.View, told string) {
	w.Helper()
	before := len(p.Ephemerals(card.Channel))
	act := func() (slacksim.Delivery, error) { return p.Click(w.ctx, card, action) }
	if chosen != "" {
		act = func() (slacksim.Delivery, error) { return p.Select(w.ctx, card, action, chosen) }
	}
	_, err := act()
	w.must(err)
	w.must(w.sim.Wait(w.ctx, func(st slacksim.State) bool {
		for _, v := range st.Modals {
			if v.User == p.ID() {
				form = v
			}
		}
		return form.ID != "" || len(p.Ephemerals(card.Channel)) > before
	}))
	if form.ID == "" {
		told = p.Ephemerals(card.Channel)[before].Text
	}
	return form, told
}

// submits submits a form and returns what it shows then; the zero View where it has closed. Where Temporal is too slow,
// the person is told so, and submits it again.
func (w *world) submits(p slacksim.Person, form slacksim.View, values map[string]any) (after slacksim.View) {
	w.Helper()
	for w.ctx.Err() == nil {
		d, err := p.Submit(w.ctx, form, values)
		w.must(err)
		after = slacksim.View{}
		for _, open := range w.sim.State().Modals {
			if open.ID == form.ID {
				after = open
			}
		}
		if text := fmt.Sprint(after.Errors); d.Acked && !unsure(text) && !strings.Contains(text, "could not read") {
			return after
		}
		w.Logf("submits again: %s", d)
	}
	w.Fatal("no submission was taken")
	return after
}

// fillsIn submits a form that is to be taken.
func (w *world) fillsIn(p slacksim.Person, form slacksim.View, values map[string]any) {
	w.Helper()
	if after := w.submits(p, form, values); after.ID != "" {
		w.Fatalf("the form stays open, with %v %s", after.Errors, after.Error)
	}
}

// types types a command and returns its answer.
func (w *world) types(p slacksim.Person, line string) string {
	w.Helper()
	d := w.command(p, line)
	var answer struct{ Text string }
	if len(d.Response) > 0 {
		w.must(json.Unmarshal(d.Response, &answer))
	}
	return answer.Text
}

func TestOnExpiry(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run", "ALLOW_APPROVAL_ON_EXPIRY=true")
		approve := w.approval(workflows.Request{Title: "Deploy v3", Approvers: w.people("bob"), Deadline: "3s", OnExpiry: workflows.ApproveOnExpiry})
		reject := w.approval(workflows.Request{Title: "Deploy v4", Approvers: w.people("bob"), Deadline: "3s", OnExpiry: workflows.RejectOnExpiry})
		fail := w.approval(workflows.Request{
			Title: "Deploy v5", Channel: w.sim.Channel("ops").ID, Approvers: w.people("bob"), Deadline: "3s",
			OnExpiry: workflows.RejectOnExpiry, FailOnReject: true,
		})
		for run, want := range map[client.WorkflowRun]workflows.Outcome{approve: workflows.Approved, reject: workflows.Rejected} {
			if res := w.outcome(run, want); !res.ByDeadline || len(res.Decisions) > 0 {
				w.Errorf("the result is %+v, want one by the deadline", res)
			}
		}
		w.failsAs(fail, workflows.ErrTypeRejected)
		w.closed(w.message("general", slacksim.Contains("Deploy v3")), "Approved on", "counts as approval")
		w.closed(w.message("general", slacksim.Contains("Deploy v4")), "Rejected on", "counts as rejection")
		w.closed(w.message("ops", slacksim.Contains("Deploy v5")), "Rejected on", "counts as rejection")
	})
}

func TestApprovalOnExpiryNotAllowed(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		run := w.approval(workflows.Request{Approvers: w.people("bob"), OnExpiry: workflows.ApproveOnExpiry})
		if app := w.failsAs(run, workflows.ErrTypeInvalidRequest); !strings.Contains(app.Message(), "ALLOW_APPROVAL_ON_EXPIRY") {
			w.Errorf("refused with %q", app.Message())
		}
		if n := len(w.sim.Calls("chat.postMessage")); n != 0 {
			w.Errorf("%d messages, want none", n)
		}
	})
}
