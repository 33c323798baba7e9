package workflows_test

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"countersign/workflows"
)

func (w *world) greet() (string, error) {
	w.Helper()
	w.ExecuteWorkflow(workflows.Greeting, greeting)
	if !w.IsWorkflowCompleted() {
		w.Fatal("the workflow has not completed")
	}
	if err := w.GetWorkflowError(); err != nil {
		return "", err
	}
	var s string
	if err := w.GetWorkflowResult(&s); err != nil {
		w.Fatal(err)
	}
	return s, nil
}

// greeted fails the test where the greeting was not approved.
func (w *world) greeted() {
	w.Helper()
	if s, err := w.greet(); s != "Hello, World!" || err != nil {
		w.Fatalf("Greeting = %q, %v; want Hello, World!", s, err)
	}
	want := []workflows.GreetingMessage{{Channel: "C0GENERAL1", Text: "Hello, World!"}}
	if diff := cmp.Diff(want, inputs[workflows.GreetingMessage](w, workflows.PostGreeting)); diff != "" {
		w.Errorf("PostGreeting (-want +got):\n%s", diff)
	}
}

// refused fails the test where the greeting did not fail with that type, and returns the failure.
func (w *world) refused(errType string) *temporal.ApplicationError {
	w.Helper()
	s, err := w.greet()
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.Type() != errType {
		w.Fatalf("Greeting = %q, %v; want an error of type %s", s, err, errType)
	}
	w.executed(0, workflows.PostGreeting)
	return app
}

// cancelled fails the test where the greeting did not end cancelled.
func (w *world) cancelled() {
	w.Helper()
	s, err := w.greet()
	if !temporal.IsCanceledError(err) {
		w.Fatalf("Greeting = %q, %v; want it cancelled", s, err)
	}
	w.executed(0, workflows.PostGreeting)
}

// told fails the test where the requester was not told once, of that end.
func (w *world) told(o workflows.Outcome, note string) {
	w.Helper()
	told := inputs[workflows.Closing](w, workflows.TellRequester)
	if len(told) != 1 || told[0].Result.Outcome != o || told[0].Result.Note != note {
		w.Errorf("told %+v, want %s %q", told, o, note)
	}
}

func TestApproved(t *testing.T) {
	w := newWorld(t)
	var d workflows.Decision
	w.at(time.Second, func() { w.signal(0, posted) })
	w.at(time.Hour, func() { d = w.click(0, workflows.Approved, "") })
	w.greeted()

	c := w.closing()
	want := workflows.Result{
		Outcome: workflows.Approved, Decisions: []workflows.Decision{d}, Card: posted, EndedAt: started.Add(time.Hour), Digest: d.Digest,
	}
	if diff := cmp.Diff(want, c.Result); diff != "" {
		t.Errorf("closed with (-want +got):\n%s", diff)
	}
	if c.Request.Title != "Greet World" || c.Request.Requester != greeting.RequestedBy || !c.CloseCard || !c.TellRequester || !c.Posting.IsZero() || c.Again || c.WorkflowID == "" || c.RunID == "" {
		t.Errorf("closed %+v", c)
	}
	if diff := cmp.Diff([]workflows.Closing{c}, inputs[workflows.Closing](w, workflows.TellRequester)); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	w.executed(0, workflows.EndDecision)
	w.executed(0, workflows.PostCard)
	if names := w.names(); names[len(names)-1] != workflows.PostGreeting {
		t.Errorf("executed %q, want the greeting after the card is closed", names)
	}
}

func TestNobodyAsked(t *testing.T) {
	w := newWorld(t)
	w.at(time.Second, func() { w.signal(0, posted) })
	w.at(time.Hour, func() { w.click(0, workflows.Approved, "") })
	w.ExecuteWorkflow(workflows.Greeting, workflows.GreetingInput{Name: "World", Channel: "C0GENERAL1"})
	var s string
	if err := w.GetWorkflowResult(&s); err != nil || s != "Hello, World!" {
		t.Errorf("Greeting = %q, %v; want Hello, World!", s, err)
	}
	w.executed(1, workflows.CloseCard)
	w.executed(0, workflows.TellRequester)
}

func TestNameIsEmpty(t *testing.T) {
	w := newWorld(t)
	w.ExecuteWorkflow(workflows.Greeting, workflows.GreetingInput{Name: " \t", Channel: "C0GENERAL1"})
	var app *temporal.ApplicationError
	if err := w.GetWorkflowError(); !errors.As(err, &app) || app.Type() != workflows.ErrTypeInvalidRequest {
		t.Errorf("Greeting: %v, want an error of type %s", err, workflows.ErrTypeInvalidRequest)
	}
	if names := w.names(); len(names) > 0 {
		t.Errorf("executed %q, want nothing", names)
	}
}

func TestRejected(t *testing.T) {
	t.Run("by failing the activity", func(t *testing.T) {
		w := newWorld(t)
		var d workflows.Decision
		w.at(time.Second, func() { w.signal(0, posted) })
		w.at(time.Hour, func() { d = w.click(0, workflows.Rejected, "Not today.") })
		w.isRejected(&d)
	})
	// Where no attempt has the activity, it can be completed only.
	t.Run("by completing the activity", func(t *testing.T) {
		w := newWorld(t)
		var d workflows.Decision
		w.at(time.Second, func() { w.signal(0, posted) })
		w.at(time.Hour, func() {
			q := w.question(0)
			d = workflows.Decision{Outcome: workflows.Rejected, By: bob, At: w.Now().UTC(), Reason: "Not today.", Card: posted}
			d.Digest = digest(q.request)
			w.complete(q.id, d, nil)
		})
		w.isRejected(&d)
	})
}

func (w *world) isRejected(d *workflows.Decision) {
	w.Helper()
	app := w.refused(workflows.ErrTypeRejected)
	var got workflows.Decision
	if err := app.Details(&got); err != nil {
		w.Fatal(err)
	}
	if diff := cmp.Diff(*d, got); diff != "" {
		w.Errorf("details (-want +got):\n%s", diff)
	}
	if !app.NonRetryable() || app.Category() != temporal.ApplicationErrorCategoryBenign {
		w.Errorf("the rejection is retryable, or somebody's alarm: %v", app)
	}
	if c := w.closing(); c.Result.Outcome != workflows.Rejected || c.Result.Decisions[0].Reason != "Not today." || c.Result.Card != posted {
		w.Errorf("closed with %+v", c.Result)
	}
	w.executed(1, workflows.TellRequester)
	w.executed(0, workflows.EndDecision)
}

func TestExpired(t *testing.T) {
	t.Run("nobody clicked", func(t *testing.T) {
		w := newWorld(t)
		w.at(time.Second, func() { w.signal(0, posted) })
		app := w.refused(workflows.ErrTypeExpired)
		if !app.NonRetryable() {
			t.Error("the expiry is retryable")
		}
		want := []workflows.EndDecisionInput{{ActivityID: w.question(0).id, Outcome: workflows.Expired}}
		if diff := cmp.Diff(want, inputs[workflows.EndDecisionInput](w, workflows.EndDecision)); diff != "" {
			t.Errorf("EndDecision (-want +got):\n%s", diff)
		}
		if c := w.closing(); c.Result.Outcome != workflows.Expired || c.Result.Card != posted || !c.Result.EndedAt.Equal(deadline) {
			t.Errorf("closed with %+v, want expired at %v", c.Result, deadline)
		}
		w.executed(1, workflows.TellRequester)
	})
	// The server has the click already when the deadline's end is reported.
	t.Run("click was first", func(t *testing.T) {
		w := newWorld(t)
		w.at(time.Second, func() { w.signal(0, posted) })
		w.endDecision = func(in workflows.EndDecisionInput) (workflows.DecisionEnded, error) {
			w.click(0, workflows.Approved, "")
			w.complete(in.ActivityID, nil, temporal.NewCanceledError(workflows.Result{Outcome: in.Outcome}))
			return workflows.DecisionEnded{Card: posted}, nil
		}
		w.greeted()
		w.executed(1, workflows.EndDecision)
		if c := w.closing(); c.Result.Outcome != workflows.Approved || len(c.Result.Decisions) != 1 || c.Result.Decisions[0].By != bob {
			t.Errorf("closed with %+v, want approved by bob", c.Result)
		}
	})
	t.Run("rejection was first", func(t *testing.T) {
		w := newWorld(t)
		w.endDecision = func(workflows.EndDecisionInput) (workflows.DecisionEnded, error) {
			w.click(0, workflows.Rejected, "Not today.")
			return workflows.DecisionEnded{Card: posted}, nil
		}
		w.refused(workflows.ErrTypeRejected)
		w.executed(1, workflows.EndDecision)
	})
	// A worker's attempt ran into the backstop: not a person's no either.
	t.Run("activity timed out", func(t *testing.T) {
		w := newWorld(t)
		w.compose = func(context.Context, workflows.Round) (workflows.Decision, error) {
			return workflows.Decision{}, temporal.NewTimeoutError(3, nil)
		}
		w.SetTestTimeout(time.Minute)
		w.refused(workflows.ErrTypeExpired)
	})
	// No attempt has the activity, for the workers are down or Slack is: the server cancels it by itself, and says nothing
	// of why.
	t.Run("no attempt under way", func(t *testing.T) {
		w := newWorld(t)
		w.SetWorkerOptions(worker.Options{})
		w.endDecision = func(workflows.EndDecisionInput) (workflows.DecisionEnded, error) {
			return workflows.DecisionEnded{}, nil
		}
		w.at(time.Second, func() { w.signal(0, posted) })
		w.refused(workflows.ErrTypeExpired)
		if c := w.closing(); c.Result.Outcome != workflows.Expired {
			t.Errorf("closed as %s, want expired", c.Result.Outcome)
		}
	})
	// The decision says that it has ended: what reports the end is not waited for.
	t.Run("click was first, and EndDecision does not end", func(t *testing.T) {
		w := newWorld(t)
		w.at(time.Second, func() { w.signal(0, posted) })
		w.endDecision = func(workflows.EndDecisionInput) (workflows.DecisionEnded, error) {
			w.click(0, workflows.Approved, "")
			return workflows.DecisionEnded{}, activity.ErrResultPending
		}
		w.greeted()
	})
	// Once it is being cancelled the last attempt's error is not tried again, and is not how the request ended.
	t.Run("last attempt failed", func(t *testing.T) {
		w := newWorld(t)
		w.endDecision = func(in workflows.EndDecisionInput) (workflows.DecisionEnded, error) {
			w.complete(in.ActivityID, nil, temporal.NewNonRetryableApplicationError("slack is away", "wrapError", nil))
			return workflows.DecisionEnded{}, nil
		}
		w.postCard = func(workflows.CardInput) (workflows.Posted, error) { return workflows.Posted{}, nil }
		w.refused(workflows.ErrTypeExpired)
		w.executed(0, workflows.CloseCard)
		w.told(workflows.Expired, "")
	})
	t.Run("EndDecision has to be tried again", func(t *testing.T) {
		w := newWorld(t)
		end, tries := w.endDecision, 0
		w.endDecision = func(in workflows.EndDecisionInput) (workflows.DecisionEnded, error) {
			if tries++; tries < 5 {
				return workflows.DecisionEnded{}, errors.New("temporal is away")
			}
			return end(in)
		}
		w.refused(workflows.ErrTypeExpired)
		w.executed(5, workflows.EndDecision)
	})
}

func TestDeadlineHasPassedAlready(t *testing.T) {
	for name, ago := range map[string]time.Duration{"a minute ago": time.Minute, "two hours ago": 2 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			prepare := w.prepare
			w.prepare = func(ctx context.Context, r workflows.Request) (workflows.Request, error) {
				r.ExpiresAt = started.Add(-ago)
				return prepare(ctx, r)
			}
			valid := true
			w.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, _ converter.EncodedValues) {
				if info.ActivityType.Name == workflows.ComposeGreeting {
					valid = info.ScheduleToCloseTimeout > 0
				}
			})
			w.refused(workflows.ErrTypeExpired)
			if !valid {
				t.Error("an activity with a negative timeout: a server refuses to schedule it, for ever")
			}
		})
	}
}

func TestWithdrawn(t *testing.T) {
	t.Run("cancelled while open", func(t *testing.T) {
		w := newWorld(t)
		w.at(time.Second, func() { w.signal(0, posted) })
		w.at(time.Hour, w.CancelWorkflow)
		w.cancelled()
		want := []workflows.EndDecisionInput{{ActivityID: w.question(0).id, Outcome: workflows.Withdrawn}}
		if diff := cmp.Diff(want, inputs[workflows.EndDecisionInput](w, workflows.EndDecision)); diff != "" {
			t.Errorf("EndDecision (-want +got):\n%s", diff)
		}
		if c := w.closing(); c.Result.Outcome != workflows.Withdrawn || c.Result.Card != posted || !c.Result.EndedAt.Equal(started.Add(time.Hour)) {
			t.Errorf("closed with %+v, want withdrawn", c.Result)
		}
		w.executed(1, workflows.TellRequester)
	})
	t.Run("click was first", func(t *testing.T) {
		w := newWorld(t)
		w.at(time.Second, func() { w.signal(0, posted) })
		w.at(time.Hour, w.CancelWorkflow)
		w.endDecision = func(workflows.EndDecisionInput) (workflows.DecisionEnded, error) {
			w.click(0, workflows.Approved, "")
			return workflows.DecisionEnded{Card: posted}, nil
		}
		w.greeted()
		if c := w.closing(); c.Result.Outcome != workflows.Approved {
			t.Errorf("closed as %s, want approved", c.Result.Outcome)
		}
	})
	t.Run("last attempt failed", func(t *testing.T) {
		w := newWorld(t)
		w.at(time.Hour, w.CancelWorkflow)
		w.endDecision = func(in workflows.EndDecisionInput) (workflows.DecisionEnded, error) {
			w.complete(in.ActivityID, nil, temporal.NewNonRetryableApplicationError("archived", workflows.ErrTypeRefused, nil))
			return workflows.DecisionEnded{}, nil
		}
		w.postCard = func(workflows.CardInput) (workflows.Posted, error) { return workflows.Posted{}, nil }
		w.cancelled()
		w.executed(0, workflows.CloseCard)
		w.told(workflows.Withdrawn, "")
	})
	t.Run("cancelled after the decision", func(t *testing.T) {
		w := newWorld(t)
		w.at(time.Second, func() { w.signal(0, posted) })
		w.at(time.Hour, func() {
			w.click(0, workflows.Approved, "")
			w.CancelWorkflow()
		})
		w.greeted()
	})
	t.Run("cancelled while it is prepared", func(t *testing.T) {
		w := newWorld(t)
		w.prepare = func(context.Context, workflows.Request) (workflows.Request, error) {
			return workflows.Request{}, activity.ErrResultPending // It takes its time.
		}
		w.at(time.Second, w.CancelWorkflow)
		w.cancelled()
		w.executed(0, workflows.ComposeGreeting)
		w.executed(0, workflows.EndDecision)
		w.executed(0, workflows.CloseCard)
		told := inputs[workflows.Closing](w, workflows.TellRequester)
		if len(told) != 1 || told[0].Result.Outcome != workflows.Withdrawn || told[0].Request.Title != "Greet World" {
			t.Errorf("told %+v, want that it was withdrawn", told)
		}
	})
}

func TestCannotBeAsked(t *testing.T) {
	t.Run("invalid request", func(t *testing.T) {
		w := newWorld(t)
		w.prepare = func(context.Context, workflows.Request) (workflows.Request, error) {
			return workflows.Request{}, workflows.InvalidRequestError("Nobody may decide this request.")
		}
		app := w.refused(workflows.ErrTypeInvalidRequest)
		if app.Message() != "Nobody may decide this request." || !app.NonRetryable() {
			t.Errorf("failed with %q, retryable %v", app.Message(), !app.NonRetryable())
		}
		w.executed(1, workflows.PrepareRequest)
		w.executed(0, workflows.ComposeGreeting)
		w.executed(0, workflows.CloseCard)
		w.told(workflows.Failed, "Nobody may decide this request.")
	})
	t.Run("not before the deadline", func(t *testing.T) {
		w := newWorld(t)
		w.prepare = func(context.Context, workflows.Request) (workflows.Request, error) {
			return workflows.Request{}, temporal.NewTimeoutError(enumspb.TIMEOUT_TYPE_SCHEDULE_TO_CLOSE, nil)
		}
		w.refused(workflows.ErrTypeExpired)
		w.executed(0, workflows.ComposeGreeting)
		w.executed(0, workflows.CloseCard)
		w.told(workflows.Expired, "")
	})
	t.Run("Slack refuses", func(t *testing.T) {
		w := newWorld(t)
		w.compose = func(context.Context, workflows.Round) (workflows.Decision, error) {
			return workflows.Decision{}, temporal.NewNonRetryableApplicationError("I am not in that channel.", workflows.ErrTypeRefused, nil)
		}
		w.refused(workflows.ErrTypeRefused)
		w.executed(1, workflows.ComposeGreeting)
		w.executed(0, workflows.EndDecision)
		w.executed(0, workflows.CloseCard)
		w.told(workflows.Failed, "I am not in that channel.")
	})
	t.Run("posting has to be tried again", func(t *testing.T) {
		w := newWorld(t)
		tries := 0
		w.compose = func(context.Context, workflows.Round) (workflows.Decision, error) {
			if tries++; tries < 3 {
				return workflows.Decision{}, errors.New("slack is away")
			}
			return workflows.Decision{}, activity.ErrResultPending
		}
		w.at(time.Hour, func() { w.click(0, workflows.Approved, "") })
		w.greeted()
		w.executed(3, workflows.ComposeGreeting)
	})
}

// A card that may be there, and whose address nobody has, is looked for.
func TestCardMayHaveBeenPosted(t *testing.T) {
	w := newWorld(t)
	since := started.Add(30 * time.Second)
	w.endDecision = func(in workflows.EndDecisionInput) (workflows.DecisionEnded, error) {
		w.complete(in.ActivityID, nil, temporal.NewCanceledError(workflows.Result{Outcome: in.Outcome}))
		return workflows.DecisionEnded{Posting: since}, nil
	}
	w.at(time.Minute, w.CancelWorkflow)
	w.cancelled()
	if c := w.closing(); !c.Posting.Equal(since) || c.Result.Card != (workflows.Card{}) || c.Result.Outcome != workflows.Withdrawn {
		t.Errorf("closed %+v, want what was posted since %v", c, since)
	}
}

// What comes from outside and is no answer to this question decides nothing.
func TestNoAnswer(t *testing.T) {
	sealed := converter.NewRawValue(&commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("binary/encrypted")}, Data: []byte("x")})
	another := workflows.Decision{Outcome: workflows.Approved, By: bob, Digest: strings.Repeat("0", 64)}
	for name, tc := range map[string]struct {
		result any
		err    error
		note   string
	}{
		"cannot be read":                 {sealed, nil, "The request ended without an answer that can be read."},
		"approves another request":       {another, nil, "The decision was about another request."},
		"rejects another request":        {nil, workflows.RejectedError(another), "The decision was about another request."},
		"rejects another, by completion": {workflows.Decision{Outcome: workflows.Rejected, By: bob, Digest: "x"}, nil, "The decision was about another request."},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.at(time.Second, func() { w.signal(0, posted) })
			w.at(time.Hour, func() { w.complete(w.question(0).id, tc.result, tc.err) })
			if s, err := w.greet(); err == nil || temporal.IsCanceledError(err) {
				t.Errorf("Greeting = %q, %v; want an error", s, err)
			}
			w.executed(0, workflows.PostGreeting)
			if c := w.closing(); c.Result.Outcome != workflows.Failed || c.Result.Note != tc.note || c.Result.Card != posted {
				t.Errorf("closed with %+v, want failed: %q", c.Result, tc.note)
			}
			w.told(workflows.Failed, tc.note)
		})
	}
}

func TestPreparationIsBounded(t *testing.T) {
	for name, tc := range map[string]struct {
		expires time.Time
		want    time.Duration
	}{
		"by the deadline":                     {started.Add(time.Hour), time.Hour},
		"by a moment, where it has passed":    {started.Add(-time.Hour), time.Second},
		"by nothing, where there is none yet": {time.Time{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.RegisterWorkflow(askTwo)
			w.prepare = func(context.Context, workflows.Request) (workflows.Request, error) {
				return workflows.Request{}, workflows.InvalidRequestError("no")
			}
			var within []time.Duration
			w.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, _ converter.EncodedValues) {
				if info.ActivityType.Name == workflows.PrepareRequest {
					within = append(within, info.ScheduleToCloseTimeout)
				}
			})
			r := workflows.Request{Title: "first", Channel: "C0GENERAL1", ExpiresAt: tc.expires}
			w.ExecuteWorkflow(askTwo, r, r)
			if len(within) == 0 || tc.want > 0 && within[0] != tc.want {
				t.Errorf("the preparations may take %v, want %v", within, tc.want)
			}
			if tc.want == 0 && len(within) > 0 && within[0] <= 24*time.Hour {
				t.Errorf("the preparation may take %v, want as long as it needs", within[0])
			}
		})
	}
}

// Two workflows' activities have other IDs, and so has each of one workflow's questions.
func TestActivityIDs(t *testing.T) {
	seen := make(map[string]bool)
	for range 2 {
		var suite testsuite.WorkflowTestSuite
		suite.SetLogger(quiet)
		w := &world{TestWorkflowEnvironment: suite.NewTestWorkflowEnvironment(), T: t}
		w.arrange()
		w.RegisterWorkflow(askTwo)
		w.at(time.Second, func() {
			w.complete(w.question(0).id, true, nil)
			w.complete(w.question(1).id, true, nil)
		})
		r := workflows.Request{Title: "first", Channel: "C0GENERAL1"}
		w.ExecuteWorkflow(askTwo, r, r)
		if err := w.GetWorkflowError(); err != nil {
			t.Fatal(err)
		}
		var prefixes, numbers []string
		for _, o := range w.opens {
			m := regexp.MustCompile(`^([A-Z2-7]{6})-([12])-decision-1-[0-9a-f]{8}$`).FindStringSubmatch(o.id)
			if m == nil || seen[o.id] {
				t.Fatalf("the activity's ID is %q", o.id)
			}
			seen[o.id] = true
			prefixes, numbers = append(prefixes, m[1]), append(numbers, m[2])
		}
		if prefixes[0] != prefixes[1] || numbers[0] == numbers[1] {
			t.Errorf("prefixes %q, numbers %q", prefixes, numbers)
		}
	}
}

// needsTwo has the greeting need two approvals.
func needsTwo(w *world) {
	prepare := w.prepare
	w.prepare = func(ctx context.Context, r workflows.Request) (workflows.Request, error) {
		r, err := prepare(ctx, r)
		r.Required, r.Approvers = 2, workflows.Approvers{Users: []string{bob.ID, carol.ID}}
		return r, err
	}
}

func TestCardIsKnown(t *testing.T) {
	elsewhere := workflows.Card{Channel: "C0OPS00001", TS: "1.2"}
	for name, tc := range map[string]struct {
		arrange func(*world)
		want    workflows.Card
	}{
		"by the signal": {func(w *world) {
			w.at(time.Second, func() { w.signal(0, posted) })
			w.at(time.Minute, func() { w.complete(w.question(0).id, true, nil) })
		}, posted},
		"by the decision": {func(w *world) {
			w.at(time.Minute, func() { w.click(0, workflows.Approved, "") })
		}, posted},
		"by the signal rather than the decision": {func(w *world) {
			w.at(time.Second, func() { w.signal(0, elsewhere) })
			w.at(time.Minute, func() { w.click(0, workflows.Approved, "") })
		}, elsewhere},
		"by a signal with the decision": {func(w *world) {
			w.at(time.Minute, func() {
				q := w.question(0).id
				w.SignalWorkflowSkippingWorkflowTask(workflows.SignalCardPosted, workflows.CardPosted{Posted: workflows.Posted{Card: posted}, ActivityID: q})
				w.complete(q, true, nil)
			})
		}, posted},
		"by a signal after the decision": {func(w *world) {
			w.postCard = func(workflows.CardInput) (workflows.Posted, error) { return workflows.Posted{}, slow }
			w.at(3*time.Minute, func() { w.click(0, workflows.Approved, "") })
			w.at(3*time.Minute+10*time.Second, func() { w.signal(0, elsewhere) })
			w.at(3*time.Minute+20*time.Second, func() { w.finish(0, workflows.PostCard, nil, temporal.NewCanceledError()) })
		}, elsewhere},
		"by a signal after the decision of one of two": {func(w *world) {
			needsTwo(w)
			w.at(time.Minute, func() { w.decide(workflows.Decision{By: bob}) })
			w.at(90*time.Second, func() { w.signal(0, elsewhere) })
			w.at(time.Hour, func() { w.decide(workflows.Decision{By: carol}) })
		}, elsewhere},
		"by the one who posted in a lost attempt's place, after the decision": {func(w *world) {
			w.postCard = func(workflows.CardInput) (workflows.Posted, error) { return workflows.Posted{}, slow }
			w.at(3*time.Minute, func() { w.click(0, workflows.Approved, "") })
			w.at(3*time.Minute+20*time.Second, func() { w.finish(0, workflows.PostCard, workflows.Posted{Card: reposted}, nil) })
		}, reposted},
		"by the report of the end": {func(w *world) {
			end := w.endDecision
			w.endDecision = func(in workflows.EndDecisionInput) (workflows.DecisionEnded, error) {
				_, err := end(in)
				return workflows.DecisionEnded{Card: elsewhere}, err
			}
			w.at(time.Minute, w.CancelWorkflow)
		}, elsewhere},
		"by the one who posted in a lost attempt's place": {func(w *world) {
			w.at(time.Hour, func() { w.complete(w.question(0).id, true, nil) })
		}, reposted},
		"not, for it was decided before it was posted": {func(w *world) {
			w.at(time.Second, func() { w.complete(w.question(0).id, true, nil) })
		}, workflows.Card{}},
		"not by another question's signal": {func(w *world) {
			w.at(time.Second, func() {
				w.SignalWorkflow(workflows.SignalCardPosted, workflows.CardPosted{Posted: workflows.Posted{Card: posted}, ActivityID: "AB2CDE-2-decision-1-00000000"})
				w.complete(w.question(0).id, true, nil)
			})
		}, workflows.Card{}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tc.arrange(w)
			_, _ = w.greet() // How it ended does not matter here.
			c := w.closing()
			if c.Result.Card != tc.want {
				t.Errorf("closed %+v, want %+v", c.Result.Card, tc.want)
			}
			// A card that is not known is looked for, since the request was asked.
			if tc.want == (workflows.Card{}) && !c.Posting.Equal(started) {
				t.Errorf("looked for since %v, want %v", c.Posting, started)
			}
		})
	}
}

// What the preparation takes back is gone, and not kept from what the caller asked for.
func TestPreparedRequestIsTheOneThatIsAsked(t *testing.T) {
	w := newWorld(t)
	w.RegisterWorkflow(askTwo)
	prepared := workflows.Request{
		Title: "first", Channel: "C0GENERAL1", ExpiresAt: deadline, Approvers: workflows.Approvers{Groups: []string{"S0SRE00001"}},
	}
	w.prepare = func(context.Context, workflows.Request) (workflows.Request, error) { return prepared, nil }
	w.at(time.Second, func() {
		w.complete(w.question(0).id, true, nil)
		w.complete(w.question(1).id, true, nil)
	})
	loose := workflows.Request{
		Title: "first", Text: "x", Channel: "C0GENERAL1", Requester: "U0ALICE001", AllowSelf: true,
		Approvers: workflows.Approvers{Users: []string{bob.ID}, Channel: true},
	}
	w.ExecuteWorkflow(askTwo, loose, loose)
	if err := w.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(prepared, w.question(0).request); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestAttemptIsLost(t *testing.T) {
	t.Run("no card after two minutes", func(t *testing.T) {
		w := newWorld(t)
		var when time.Time
		w.postCard = func(workflows.CardInput) (workflows.Posted, error) {
			when = w.Now()
			return workflows.Posted{Card: reposted}, nil
		}
		w.at(20*time.Hour, func() { w.complete(w.question(0).id, true, nil) })
		w.greeted()
		q := w.question(0)
		want := []workflows.CardInput{{ActivityID: q.id, Round: q.round, Instead: true}}
		if diff := cmp.Diff(want, inputs[workflows.CardInput](w, workflows.PostCard)); diff != "" {
			t.Errorf("PostCard (-want +got):\n%s", diff)
		}
		if got := when.Sub(started); got != workflows.LostAfter {
			t.Errorf("PostCard after %v, want %v", got, workflows.LostAfter)
		}
	})
	t.Run("card came in time", func(t *testing.T) {
		w := newWorld(t)
		w.at(workflows.LostAfter-time.Second, func() { w.signal(0, posted) })
		w.at(time.Hour, func() { w.click(0, workflows.Approved, "") })
		w.greeted()
		w.executed(0, workflows.PostCard)
	})
	t.Run("PostCard is refused", func(t *testing.T) {
		w := newWorld(t)
		w.postCard = func(workflows.CardInput) (workflows.Posted, error) {
			return workflows.Posted{}, temporal.NewNonRetryableApplicationError("no", workflows.ErrTypeRefused, nil)
		}
		w.at(time.Hour, func() { w.complete(w.question(0).id, true, nil) })
		w.greeted()
		w.executed(1, workflows.PostCard)
	})
	t.Run("PostCard has to be tried again", func(t *testing.T) {
		w := newWorld(t)
		tries := 0
		w.postCard = func(workflows.CardInput) (workflows.Posted, error) {
			if tries++; tries < 4 {
				return workflows.Posted{}, errors.New("an attempt may be under way")
			}
			return workflows.Posted{Card: reposted}, nil
		}
		w.at(time.Hour, func() { w.complete(w.question(0).id, true, nil) })
		w.greeted()
		if got := w.closing().Result.Card; got != reposted {
			t.Errorf("closed %+v, want %+v", got, reposted)
		}
	})
	t.Run("decided within the two minutes", func(t *testing.T) {
		w := newWorld(t)
		w.at(time.Minute, func() { w.click(0, workflows.Approved, "") })
		w.greeted()
		w.executed(0, workflows.PostCard)
	})
}

func TestCardCannotBeClosed(t *testing.T) {
	away := func(c workflows.Closing) error {
		if c.Again {
			return nil
		}
		return errors.New("slack is away")
	}
	for name, tc := range map[string]struct {
		refuse        func(*world)
		closes, tells bool // the child
		closed, told  int  // by the workflow itself and its child; 0: more than once
	}{
		"card":      {func(w *world) { w.closeCard = away }, true, false, 0, 1},
		"requester": {func(w *world) { w.tell = away }, false, true, 1, 0},
		"both":      {func(w *world) { w.closeCard, w.tell = away, away }, true, true, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.RegisterWorkflow(greetOn)
			tc.refuse(w)
			var later []workflows.Closing
			w.SetOnChildWorkflowStartedListener(func(info *workflow.Info, _ workflow.Context, args converter.EncodedValues) {
				var c workflows.Closing
				if err := args.Get(&c); err != nil || info.WorkflowType.Name != "CloseCardLater" || info.TaskQueueName != "approvals" {
					w.Errorf("child %s on %s, %v", info.WorkflowType.Name, info.TaskQueueName, err)
				}
				later = append(later, c)
			})
			var greetedAt time.Time
			w.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, _ converter.EncodedValues) {
				if info.ActivityType.Name == workflows.PostGreeting {
					greetedAt = w.Now()
				}
			})
			w.at(time.Second, func() { w.signal(0, posted) })
			w.at(time.Hour, func() { w.click(0, workflows.Approved, "") })
			w.ExecuteWorkflow(greetOn, "approvals", greeting)
			if err := w.GetWorkflowError(); err != nil {
				t.Fatal(err)
			}
			if len(later) != 1 {
				t.Fatalf("left to children: %+v, want one", later)
			}
			c := later[0]
			if !c.Again || c.Result.Card != posted || c.Result.Outcome != workflows.Approved || c.CloseCard != tc.closes || c.TellRequester != tc.tells {
				t.Errorf("left to a child: %+v; want that it closes the card %v, and tells %v", c, tc.closes, tc.tells)
			}
			if waited := greetedAt.Sub(started.Add(time.Hour)); waited > 31*time.Second || waited < time.Second {
				t.Errorf("the caller waited %v for the card, want up to 30 s", waited)
			}
			if tc.closed > 0 {
				w.executed(tc.closed, workflows.CloseCard)
			}
			if tc.told > 0 {
				w.executed(tc.told, workflows.TellRequester)
			}
		})
	}
	for name, tc := range map[string]struct {
		left         workflows.Closing
		closed, told int
	}{
		"both are left":         {workflows.Closing{CloseCard: true, TellRequester: true}, 8, 1},
		"the card is left":      {workflows.Closing{CloseCard: true}, 8, 0},
		"the requester is left": {workflows.Closing{TellRequester: true}, 0, 1},
	} {
		t.Run("later, "+name, func(t *testing.T) {
			w := newWorld(t)
			tries := 0
			w.closeCard = func(workflows.Closing) error {
				if tries++; tries < 8 {
					return errors.New("slack is away")
				}
				return nil
			}
			tc.left.Request = workflows.Request{Requester: "U0ALICE001"}
			w.ExecuteWorkflow(workflows.CloseCardLater, tc.left)
			if err := w.GetWorkflowError(); err != nil {
				t.Errorf("CloseCardLater: %v", err)
			}
			w.executed(tc.closed, workflows.CloseCard)
			w.executed(tc.told, workflows.TellRequester)
		})
	}
	// The test environment gives up after ten tries, a server after a week.
	t.Run("never", func(t *testing.T) {
		w := newWorld(t)
		w.closeCard = func(workflows.Closing) error { return errors.New("slack is away") }
		w.ExecuteWorkflow(workflows.CloseCardLater, workflows.Closing{CloseCard: true, TellRequester: true})
		w.executed(1, workflows.TellRequester)
		if err := w.GetWorkflowError(); err != nil {
			t.Errorf("CloseCardLater: %v", err)
		}
	})
}

// greetOn greets, with the activities on a task queue of their own.
func greetOn(ctx workflow.Context, queue string, in workflows.GreetingInput) (string, error) {
	return workflows.Greeting(workflow.WithTaskQueue(ctx, queue), in)
}

// askTwo asks two questions at once, and returns their results in the order of the questions.
func askTwo(ctx workflow.Context, first, second workflows.Request) ([]workflows.Result, error) {
	requests := workflows.NewRequests(ctx)
	results := make([]workflows.Result, 2)
	var group []workflow.Future
	for i, r := range []workflows.Request{first, second} {
		done, settle := workflow.NewFuture(ctx)
		group = append(group, done)
		workflow.Go(ctx, func(ctx workflow.Context) {
			var err error
			results[i], err = requests.Ask(ctx, r)
			settle.Set(nil, err)
		})
	}
	for _, f := range group {
		if err := f.Get(ctx, nil); err != nil {
			return nil, err
		}
	}
	return results, nil
}

func TestTwoQuestionsAtOnce(t *testing.T) {
	w := newWorld(t)
	w.RegisterWorkflow(askTwo)
	ask := func(title string) workflows.Request { return workflows.Request{Title: title, Channel: "C0GENERAL1"} }
	named := func(title string) int { // Which of them was polled first does not matter.
		w.mu.Lock()
		defer w.mu.Unlock()
		return slices.IndexFunc(w.opens, func(o open) bool { return o.request.Title == title })
	}
	cards := map[string]workflows.Card{"first": {Channel: "C0GENERAL1", TS: "1.000001"}, "second": {Channel: "C0GENERAL1", TS: "2.000002"}}
	w.postCard = func(in workflows.CardInput) (workflows.Posted, error) {
		return workflows.Posted{Card: cards[in.Round.Title]}, nil
	}
	w.at(time.Minute, func() { w.complete(w.question(named("second")).id, true, nil) })
	w.at(time.Hour, func() { w.complete(w.question(named("first")).id, false, nil) })
	w.ExecuteWorkflow(askTwo, ask("first"), ask("second"))
	var results []workflows.Result
	if err := w.GetWorkflowResult(&results); err != nil {
		t.Fatal(err)
	}
	if w.question(0).id == w.question(1).id {
		t.Errorf("both questions have the activity ID %s", w.question(0).id)
	}
	if results[0].Outcome != workflows.Rejected || results[1].Outcome != workflows.Approved {
		t.Errorf("outcomes %s and %s, want rejected and approved", results[0].Outcome, results[1].Outcome)
	}
	w.executed(2, workflows.PostCard)
	closed := inputs[workflows.Closing](w, workflows.CloseCard)
	if len(closed) != 2 {
		t.Fatalf("%d cards were closed, want 2", len(closed))
	}
	for _, c := range closed {
		if c.Result.Card != cards[c.Request.Title] {
			t.Errorf("the %s question's card is %+v, want %+v", c.Request.Title, c.Result.Card, cards[c.Request.Title])
		}
	}
}
