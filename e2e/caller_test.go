package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"countersign/internal/slacksim"
	"countersign/workflows"
)

// aDay is all that a newcomer says about the activity.
var aDay = workflow.ActivityOptions{StartToCloseTimeout: 24 * time.Hour}

// callsAs starts a team's workflow, on a worker and a task queue of its own.
func (w *world) callsAs(name string, code, input any) client.WorkflowRun {
	w.Helper()
	queue := w.queue + "-" + name
	own := worker.New(w.temporal, queue, worker.Options{DisableRegistrationAliasing: true})
	own.RegisterWorkflowWithOptions(code, workflow.RegisterOptions{Name: "Own"})
	w.must(own.Start())
	w.Cleanup(own.Stop)
	run, err := w.temporal.ExecuteWorkflow(w.ctx, client.StartWorkflowOptions{TaskQueue: queue}, "Own", input)
	w.must(err)
	return run
}

// calls starts a workflow that asks with one activity, and returns its result. r is a request, or its JSON.
func (w *world) calls(name string, o workflow.ActivityOptions, r any) client.WorkflowRun {
	w.Helper()
	return w.callsAs(name, func(ctx workflow.Context, r any) (res workflows.Result, err error) {
		err = w.schedules(ctx, o, r).Get(ctx, &res)
		return res, err
	}, r)
}

// schedules schedules the activity by its name, where the approvals are.
func (w *world) schedules(ctx workflow.Context, o workflow.ActivityOptions, r any) workflow.Future {
	o.TaskQueue = w.queue
	return workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, o), "RequestApproval", r)
}

// answered are how the run's activities ended, by the server's events: an attempt that failed to be made again is none.
func (w *world) answered(run client.WorkflowRun) (started []*historypb.ActivityTaskStartedEventAttributes, last *historypb.HistoryEvent) {
	w.Helper()
	for _, e := range w.history(run) {
		if s := e.GetActivityTaskStartedEventAttributes(); s != nil {
			started = append(started, s)
		}
		switch e.GetEventType() {
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED, enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED,
			enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT, enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
			last = e
		}
	}
	return started, last
}

// attempt waits until the run's one activity is at the n-th attempt, or a later one, and that is under way.
func (w *world) attempt(run client.WorkflowRun, n int32) {
	w.Helper()
	for w.again() {
		d, err := w.temporal.DescribeWorkflowExecution(w.ctx, run.GetID(), run.GetRunID())
		w.must(err)
		for _, p := range d.GetPendingActivities() {
			if p.GetAttempt() >= n && (p.GetState() == enumspb.PENDING_ACTIVITY_STATE_STARTED || p.GetActivityType().GetName() == workflows.WatchCaller) {
				return
			}
		}
	}
	w.Fatalf("there was no attempt %d", n)
}

// approvalsFor waits until there are n approvals for the run's activities, and returns them, the latest first.
func (w *world) approvalsFor(run client.WorkflowRun, n int) (all []client.WorkflowRun) {
	w.Helper()
	for w.again() {
		list, err := w.temporal.ListWorkflow(w.ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Query: fmt.Sprintf("WorkflowType = 'ApprovalForCaller' AND TaskQueue = '%s'", w.queue),
		})
		w.must(err)
		all = nil
		for _, e := range list.GetExecutions() {
			approval := w.temporal.GetWorkflow(w.ctx, e.GetExecution().GetWorkflowId(), e.GetExecution().GetRunId())
			if w.askedFor(approval).Caller.WorkflowID == run.GetID() {
				all = append(all, approval)
			}
		}
		if len(all) >= n {
			return all
		}
	}
	w.Fatalf("%d approvals, want %d", len(all), n)
	return nil
}

// askedFor is what the approval was started with.
func (w *world) askedFor(approval client.WorkflowRun) (in workflows.ForCaller) {
	w.Helper()
	first := w.history(approval)[0].GetWorkflowExecutionStartedEventAttributes()
	w.must(converter.GetDefaultDataConverter().FromPayloads(first.GetInput(), &in))
	return in
}

// looks checks what the looks for the caller leave in the approval's history: that they are scheduled, and, where they
// saw that nobody waits, that.
func (w *world) looks(approval client.WorkflowRun, sawTheEnd bool) {
	w.Helper()
	var (
		got   []enumspb.EventType
		watch int64 = -1
	)
	for _, e := range w.history(approval) {
		of := max(e.GetActivityTaskStartedEventAttributes().GetScheduledEventId(), e.GetActivityTaskCompletedEventAttributes().GetScheduledEventId(),
			e.GetActivityTaskFailedEventAttributes().GetScheduledEventId(), e.GetActivityTaskTimedOutEventAttributes().GetScheduledEventId(),
			e.GetActivityTaskCanceledEventAttributes().GetScheduledEventId(), e.GetActivityTaskCancelRequestedEventAttributes().GetScheduledEventId())
		if e.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName() == workflows.WatchCaller {
			of, watch = e.GetEventId(), e.GetEventId()
		}
		if of == watch {
			got = append(got, e.GetEventType())
		}
	}
	want := []enumspb.EventType{enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED}
	if sawTheEnd {
		want = append(want, enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED, enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.Errorf("the looks for the caller leave %v, want %v", got, want)
	}
}

// shown checks that a result is that of a card.
func (w *world) shown(res workflows.Result, card slacksim.Message) {
	w.Helper()
	if want := (workflows.Card{Channel: card.Channel, TS: card.TS}); res.Card != want || res.Digest == "" || res.Permalink == "" {
		w.Errorf("the result is %+v, want one of the card %+v", res, want)
	}
}

func TestCallerIsAnswered(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		alice, bob, carol := w.as("alice", "general"), w.as("bob", "general"), w.as("carol", "general")

		run := w.calls("approved", aDay, w.request("Deploy v1"))
		card := w.card("general", "Deploy v1")
		w.click(bob, card, "approve", true)
		res := w.outcome(run, workflows.Approved)
		if d, ok := res.Decision(); !ok || d.By.ID != bob.ID() || d.Via != workflows.ViaCard || d.Digest != res.Digest {
			w.Errorf("decided by %+v, want bob", d)
		}
		w.shown(res, card)
		w.closed(card, "Approved by")
		approval := w.approvalsFor(run, 1)[0]
		var own workflows.Result
		w.must(approval.Get(w.ctx, &own))
		if own.Outcome != workflows.Approved {
			w.Errorf("the approval's own result is %+v", own)
		}
		w.looks(approval, false)

		r := w.request("Deploy v2")
		r.RejectReason = workflows.Off
		run = w.calls("rejected", aDay, r)
		card = w.card("general", "Deploy v2")
		w.click(carol, card, "reject", true)
		res = w.outcome(run, workflows.Rejected)
		if d, ok := res.Decision(); !ok || d.By.ID != carol.ID() {
			w.Errorf("decided by %+v, want carol", d)
		}
		w.shown(res, card)

		r = w.request("Deploy v3")
		r.FailOnReject = true
		run = w.calls("fails", aDay, r)
		card = w.card("general", "Deploy v3")
		w.fillsIn(bob, w.opens(bob, card, "reject", ""), map[string]any{"comment": "Not today."})
		app := w.failsAs(run, workflows.ErrTypeRejected)
		var d workflows.Decision
		if err := app.Details(&d); err != nil || !app.NonRetryable() || app.Message() != "rejected by bob: Not today." ||
			d.Outcome != workflows.Rejected || d.By.ID != bob.ID() || d.Reason != "Not today." {
			w.Errorf("fails with %v, final %v, of %+v, %v", app, app.NonRetryable(), d, err)
		}
		if started, _ := w.answered(run); len(started) != 1 || started[0].GetAttempt() != 1 {
			w.Errorf("attempts %v, want one", started)
		}

		// By who asked, in Slack: that is an outcome, and no cancellation.
		run = w.calls("withdrawn", aDay, w.request("Deploy v4"))
		card = w.card("general", "Deploy v4")
		if after := w.changes(alice, card, workflows.Withdraw); after.ID != "" {
			w.Errorf("the form stays open, with %q", after.PlainText())
		}
		if c, ok := w.outcome(run, workflows.Withdrawn).Withdrawal(); !ok || c.By.ID != alice.ID() {
			w.Errorf("withdrawn by %+v, want alice", c)
		}

		// What an SDK sends may have fields of a later version.
		run = w.calls("unknown", aDay, map[string]any{
			"title": "Deploy v5", "channel": card.Channel, "colour": "red", "deadline": 600,
			"approvers": map[string]any{"users": []string{bob.ID()}, "robots": 3},
		})
		card = w.card("general", "Deploy v5")
		w.click(bob, card, "approve", true)
		w.shown(w.outcome(run, workflows.Approved), card)
		if n := w.cardsIn("general"); n != 5 {
			w.Errorf("%d cards, want 5", n)
		}
	})
}

func TestCallerAsksWhatCannotBeAsked(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		dave := w.sim.Person("dave")
		tests := map[string]struct {
			request any
			want    []string
		}{
			"faults": {
				workflows.Request{
					Title: " ", Channel: w.sim.Channel("general").ID, Requester: w.sim.Person("alice").ID(), RejectReason: "maybe",
					Approvers: workflows.Approvers{Users: []string{"@bob"}, Channel: true}, Deadline: "soon", OnExpiry: workflows.ApproveOnExpiry,
				},
				[]string{"The title is empty.", `"@bob"`, `reject_reason is "maybe"`, `"soon"`, "APPROVERS", "ALLOW_APPROVAL_ON_EXPIRY"},
			},
			"types": {
				map[string]any{"title": "", "channel": w.sim.Channel("general").ID, "required": "two", "requester": dave.ID(), "expires_at": "noon"},
				[]string{"The title is empty.", "required is of the type string", "expires_at is"},
			},
		}
		runs := map[string]client.WorkflowRun{}
		for name, test := range tests {
			runs[name] = w.calls(name, aDay, test.request)
		}
		for name, test := range tests {
			app := w.failsAs(runs[name], workflows.ErrTypeInvalidRequest)
			for _, want := range test.want {
				if !strings.Contains(app.Message(), want) {
					w.Errorf("%s: refused with %q, want it to say %q", name, app.Message(), want)
				}
			}
			if !app.NonRetryable() {
				w.Errorf("%s: it would be tried again", name)
			}
			if started, _ := w.answered(runs[name]); len(started) != 1 || started[0].GetAttempt() != 1 {
				w.Errorf("%s: attempts %v, want one", name, started)
			}
		}
		for _, name := range []string{"alice", "dave"} {
			if told := w.sim.Messages(w.as(name, "general").DM().Channel()); len(told) != 1 || !slacksim.Contains("The title is empty.")(told[0]) {
				w.Errorf("%s is told %+v, want once", name, told)
			}
		}
		w.nothingIn("general")
	})
}

// An SDK may write shorter JSON than ours, so that only we cannot hand the request on.
func TestCallerAsksTooMuch(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		run := w.callsAs("much", func(ctx workflow.Context, channel string) error {
			return w.schedules(ctx, aDay, converter.NewRawValue(&commonpb.Payload{
				Metadata: map[string][]byte{converter.MetadataEncoding: []byte(converter.MetadataEncodingJSON)},
				Data:     fmt.Appendf(nil, `{"title":"Deploy","channel":%q,"text":"%s"}`, channel, strings.Repeat("<", 1<<20)),
			})).Get(ctx, nil)
		}, w.sim.Channel("general").ID)
		if app := w.failsAs(run, workflows.ErrTypeInvalidRequest); app.Message() != "The request is too large: shorten it." || !app.NonRetryable() {
			w.Errorf("refused with %q, final %v", app.Message(), app.NonRetryable())
		}
		w.nothingIn("general")
	})
}

func TestCallerAsksTwoQuestions(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		run := w.callsAs("two", func(ctx workflow.Context, in [2]workflows.Request) (out [2]workflows.Result, err error) {
			first, second := w.schedules(ctx, aDay, in[0]), w.schedules(ctx, aDay, in[1])
			err = errors.Join(first.Get(ctx, &out[0]), second.Get(ctx, &out[1]))
			return out, err
		}, [2]workflows.Request{w.request("Greet World"), w.request("Greet Everybody")})
		first, second := w.card("general", "Greet World"), w.card("general", "Greet Everybody")
		bob, carol := w.as("bob", "general"), w.as("carol", "general")

		w.fillsIn(carol, w.opens(carol, second, "reject", ""), nil)
		w.closed(second, "Rejected by "+w.at("carol"))
		if m, _ := w.sim.Message(first.Channel, first.TS); len(m.Buttons()) != 2 {
			w.Errorf("the other question's card has %d buttons, want 2", len(m.Buttons()))
		}
		w.click(bob, first, "approve", true)
		var got [2]workflows.Result
		w.must(run.Get(w.ctx, &got))
		if got[0].Outcome != workflows.Approved || got[1].Outcome != workflows.Rejected {
			w.Errorf("outcomes %q and %q, want approved and rejected", got[0].Outcome, got[1].Outcome)
		}
		w.shown(got[0], first)
		w.shown(got[1], second)
	})
}

// Where nobody waits for the outcome any more, the card is closed, whatever became of who asked.
func TestCallerWaitsNoMore(t *testing.T) {
	// untilTold asks, and does then what it is told to, without waiting for the outcome.
	untilTold := func(w *world, then func(workflow.Context) error) any {
		return func(ctx workflow.Context, r *workflows.Request) error {
			if r == nil {
				return nil
			}
			w.schedules(ctx, aDay, r)
			workflow.GetSignalChannel(ctx, "go").Receive(ctx, nil)
			return then(ctx)
		}
	}
	waits := aDay
	waits.WaitForCancellation = true
	asks := func(o workflow.ActivityOptions) func(*world) any {
		return func(w *world) any {
			return func(ctx workflow.Context, r workflows.Request) error { return w.schedules(ctx, o, r).Get(ctx, nil) }
		}
	}
	cancel := func(w *world, run client.WorkflowRun) error { return w.temporal.CancelWorkflow(w.ctx, run.GetID(), "") }
	tell := func(w *world, run client.WorkflowRun) error {
		return w.temporal.SignalWorkflow(w.ctx, run.GetID(), "", "go", nil)
	}
	tests := map[string]struct {
		code func(*world) any
		end  func(*world, client.WorkflowRun) error
	}{
		"cancelled, and waits": {asks(waits), cancel},
		"cancelled":            {asks(aDay), cancel},
		"terminated": {asks(aDay), func(w *world, run client.WorkflowRun) error {
			return w.temporal.TerminateWorkflow(w.ctx, run.GetID(), "", "test")
		}},
		"completed": {func(w *world) any { return untilTold(w, func(workflow.Context) error { return nil }) }, tell},
		"continued as new": {func(w *world) any {
			return untilTold(w, func(ctx workflow.Context) error { return workflow.NewContinueAsNewError(ctx, "Own", nil) })
		}, tell},
	}
	oneMode(t, func(w *world) {
		w.start("run")
		runs, cards := map[string]client.WorkflowRun{}, map[string]slacksim.Message{}
		for name, test := range tests {
			runs[name] = w.callsAs(name, test.code(w), w.request("Deploy when "+name+"."))
		}
		for name, test := range tests {
			cards[name] = w.card("general", "Deploy when "+name+".")
			w.must(test.end(w, runs[name]))
		}
		for name, run := range runs {
			w.closed(cards[name], "Withdrawn")
			approval := w.approvalsFor(run, 1)[0]
			w.isCancelled(approval)
			w.looks(approval, true)
		}

		run := runs["cancelled, and waits"]
		w.isCancelled(run)
		_, last := w.answered(run)
		var res workflows.Result
		w.must(converter.GetDefaultDataConverter().FromPayloads(last.GetActivityTaskCanceledEventAttributes().GetDetails(), &res))
		if res.Outcome != workflows.Withdrawn {
			w.Errorf("the caller is told %v, want that it is withdrawn", last)
		}
		w.shown(res, cards["cancelled, and waits"])
	})
}

// A further attempt finds the question of the first, and whoever answers that answers it.
func TestCallerTriesAgain(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		short := workflow.ActivityOptions{StartToCloseTimeout: 3 * time.Second}
		fails := w.request("Deploy v2")
		fails.FailOnReject, fails.RejectReason = true, workflows.Off
		approved, rejected := w.calls("approved", short, w.request("Deploy v1")), w.calls("rejected", short, fails)
		beats := w.calls("beats", workflow.ActivityOptions{StartToCloseTimeout: 24 * time.Hour, HeartbeatTimeout: 2 * time.Second}, w.request("Deploy v3"))
		bob := w.as("bob", "general")
		for run, title := range map[client.WorkflowRun]string{approved: "Deploy v1", rejected: "Deploy v2", beats: "Deploy v3"} {
			card := w.card("general", title)
			w.attempt(run, 2)
			if run == rejected {
				w.click(bob, card, "reject", true)
				w.failsAs(run, workflows.ErrTypeRejected)
			} else {
				w.click(bob, card, "approve", true)
				w.shown(w.outcome(run, workflows.Approved), card)
			}
			started, _ := w.answered(run)
			if len(started) != 1 || started[0].GetAttempt() < 2 {
				w.Errorf("%s: answered to %v, want the second attempt, or a later one", title, started)
			}
			w.looks(w.approvalsFor(run, 1)[0], false)
		}
		if n := w.cardsIn("general"); n != 3 {
			w.Errorf("%d cards, want 3", n)
		}
	})
}

// An activity with a heartbeat time-out gets its heartbeats while it waits.
func TestCallerHasHeartbeats(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		run := w.calls("beats", workflow.ActivityOptions{StartToCloseTimeout: 24 * time.Hour, HeartbeatTimeout: 15 * time.Second}, w.request("Deploy v1"))
		card := w.card("general", "Deploy v1")
		w.attempt(w.approvalsFor(run, 1)[0], 5) // Of the looks: four have been made, 5 s apart.
		w.click(w.as("bob", "general"), card, "approve", true)
		w.shown(w.outcome(run, workflows.Approved), card)
		if started, _ := w.answered(run); len(started) != 1 || started[0].GetAttempt() != 1 {
			w.Errorf("answered to %v, want the first attempt", started)
		}
	})
}

// An attempt that comes when the approval has ended, and could not say so, returns how it ended. Here an operator has
// terminated it; a workflow of the test's own takes its place where it shall have ended in another way.
func TestCallerTriesAgainTooLate(t *testing.T) {
	d := workflows.Decision{Outcome: workflows.Rejected, By: workflows.Person{ID: "U0BOB00001", Name: "bob"}}
	ends := map[string]func(workflow.Context, any) (workflows.Result, error){
		"terminated": nil,
		"approved": func(workflow.Context, any) (workflows.Result, error) {
			return workflows.Result{Outcome: workflows.Approved}, nil
		},
		"rejected": func(workflow.Context, any) (workflows.Result, error) {
			return workflows.Result{}, workflows.RejectedError(d)
		},
		"withdrawn": func(workflow.Context, any) (workflows.Result, error) {
			return workflows.Result{}, temporal.NewCanceledError(workflows.Result{Outcome: workflows.Withdrawn})
		},
	}
	oneMode(t, func(w *world) {
		w.start("run")
		runs := map[string]client.WorkflowRun{}
		for name := range ends {
			runs[name] = w.calls(name, workflow.ActivityOptions{StartToCloseTimeout: 10 * time.Second}, w.request("Deploy until "+name+"."))
		}
		for name, end := range ends {
			w.card("general", "Deploy until "+name+".")
			approval := w.approvalsFor(runs[name], 1)[0]
			w.must(w.temporal.TerminateWorkflow(w.ctx, approval.GetID(), "", "test"))
			if end == nil {
				continue
			}
			queue := w.queue + "-end-" + name
			own := worker.New(w.temporal, queue, worker.Options{DisableRegistrationAliasing: true})
			own.RegisterWorkflowWithOptions(end, workflow.RegisterOptions{Name: "End"})
			w.must(own.Start())
			w.Cleanup(own.Stop)
			_, err := w.temporal.ExecuteWorkflow(w.ctx, client.StartWorkflowOptions{ID: approval.GetID(), TaskQueue: queue}, "End", nil)
			w.must(err)
		}
		w.outcome(runs["approved"], workflows.Approved)
		w.outcome(runs["withdrawn"], workflows.Withdrawn)
		app := w.failsAs(runs["rejected"], workflows.ErrTypeRejected)
		var got workflows.Decision
		if err := app.Details(&got); err != nil || got.By != d.By || !app.NonRetryable() {
			w.Errorf("rejected by %+v, %v", got, err)
		}
		if app := w.failsAs(runs["terminated"], workflows.ErrTypeNotAnswered); !app.NonRetryable() {
			w.Error("what cannot be answered is tried again")
		}
		for name, run := range runs {
			if started, _ := w.answered(run); len(started) != 1 || started[0].GetAttempt() != 2 {
				w.Errorf("%s: attempts %v, want the second", name, started)
			}
		}
		if n := w.cardsIn("general"); n != len(ends) {
			w.Errorf("%d cards, want %d", n, len(ends))
		}
	})
}

// An activity's ID may be there again when the first has ended: it asks again, and is not answered by the first
// question's card.
func TestCallerUsesAnIDTwice(t *testing.T) {
	named := func(o workflow.ActivityOptions) workflow.ActivityOptions {
		o.ActivityID = "approval"
		return o
	}
	oneMode(t, func(w *world) {
		w.start("run")
		bob, carol := w.as("bob", "general"), w.as("carol", "general")
		asksTwice := func(first workflow.ActivityOptions) any {
			return func(ctx workflow.Context, in [2]workflows.Request) (out [2]workflows.Result, err error) {
				if err := w.schedules(ctx, named(first), in[0]).Get(ctx, &out[0]); err != nil {
					out[0].Note = err.Error()
				}
				err = w.schedules(ctx, named(aDay), in[1]).Get(ctx, &out[1])
				return out, err
			}
		}
		// The second attempt is its last, and the first does not know how much time there is.
		short := workflow.ActivityOptions{
			StartToCloseTimeout: 2 * time.Second,
			RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 100 * time.Millisecond, MaximumAttempts: 2},
		}
		late := w.callsAs("late", asksTwice(short), [2]workflows.Request{w.request("Deploy v1"), w.request("Deploy v2")})
		first, second := w.card("general", "Deploy v1"), w.card("general", "Deploy v2")
		w.click(bob.Force(), first, "approve", true) // The card may be withdrawn by now.
		w.closed(first)
		for _, approval := range w.approvalsFor(late, 2) {
			if w.askedFor(approval).Request.Title == "Deploy v1" {
				_ = approval.Get(w.ctx, nil) // It has looked whom to tell.
			}
		}
		w.fillsIn(carol, w.opens(carol, second, "reject", ""), nil)
		var got [2]workflows.Result
		w.must(late.Get(w.ctx, &got))
		if got[0].Outcome != "" || got[0].Note == "" || got[1].Outcome != workflows.Rejected {
			w.Errorf("outcomes %+v and %q, want none and rejected", got[0], got[1].Outcome)
		}
		w.shown(got[1], second)

		answered := w.callsAs("answered", asksTwice(aDay), [2]workflows.Request{w.request("Deploy v3"), w.request("Deploy v4")})
		first = w.card("general", "Deploy v3")
		w.click(bob, first, "approve", true)
		second = w.card("general", "Deploy v4")
		w.fillsIn(carol, w.opens(carol, second, "reject", ""), nil)
		got = [2]workflows.Result{}
		w.must(answered.Get(w.ctx, &got))
		if got[0].Outcome != workflows.Approved || got[1].Outcome != workflows.Rejected {
			w.Errorf("outcomes %q and %q, want approved and rejected", got[0].Outcome, got[1].Outcome)
		}
		w.shown(got[0], first)
		w.shown(got[1], second)
	})
}
