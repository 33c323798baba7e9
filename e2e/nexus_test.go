package e2e

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	nexuspb "go.temporal.io/api/nexus/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/types/known/durationpb"

	"countersign/internal/reference"
	"countersign/internal/slacksim"
	"countersign/workflows"
)

// callers is the namespace of those who ask by Nexus, beside that of the deployments.
const callers = "callers"

// caller is a team's worker in a namespace of its own. It has an endpoint that leads to the world's deployment.
type caller struct {
	*world
	temporal        client.Client
	endpoint, queue string
}

// registered makes the callers' namespace, once, and an error where that failed.
var registered = sync.OnceValue(func() error {
	c, err := client.NewNamespaceClient(client.Options{HostPort: shared.temporal.Address, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Register(context.Background(), &workflowservice.RegisterNamespaceRequest{
		Namespace: callers, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	})
})

// caller makes the caller; it waits until its namespace and its endpoint answer.
func (w *world) caller() *caller { w.Helper(); return w.callerWith("") }

// callerWith is a caller that encrypts with the payload keys.
func (w *world) callerWith(payloadKeys string) *caller {
	w.Helper()
	w.must(registered())
	c := &caller{world: w, endpoint: "approvals-" + strings.ToLower(fmt.Sprint(time.Now().UnixNano())), queue: w.queue + "-caller"}
	c.temporal = w.dialIn(callers, shared.temporal.Address, payloadKeys)
	_, err := c.temporal.OperatorService().CreateNexusEndpoint(w.ctx, &operatorservice.CreateNexusEndpointRequest{
		Spec: &nexuspb.EndpointSpec{Name: c.endpoint, Target: &nexuspb.EndpointTarget{Variant: &nexuspb.EndpointTarget_Worker_{
			Worker: &nexuspb.EndpointTarget_Worker{Namespace: client.DefaultNamespace, TaskQueue: w.queue},
		}}},
	})
	w.must(err)
	own := worker.New(c.temporal, c.queue, worker.Options{})
	own.RegisterWorkflowWithOptions(c.asks, workflow.RegisterOptions{Name: "Asks"})
	for w.again() {
		var unknown *serviceerror.NamespaceNotFound
		if err = own.Start(); !errors.As(err, &unknown) {
			break
		}
	}
	w.must(err)
	w.Cleanup(own.Stop)
	return c
}

// asking is what the caller's workflow is to ask.
type asking struct {
	Requests []any         `json:"requests"` // in the JSON of [workflows.Request]
	Within   time.Duration `json:"within"`   // the operations' ScheduleToCloseTimeout
}

// heard is what the caller's workflow sees of an operation.
type heard struct {
	Result workflows.Result `json:"result"`
	// Failed says that the operation did, and Cancelled and TimedOut how. Kind, Message and Decision are of the cause.
	Failed, Cancelled, TimedOut bool
	Kind, Message               string
	Decision                    workflows.Decision
}

// asks is the caller's workflow: it asks everything at once. Signals cancel the operations, each the next.
func (c *caller) asks(ctx workflow.Context, in asking) ([]heard, error) {
	all := make([]heard, len(in.Requests))
	approvals := workflow.NewNexusClient(c.endpoint, "approvals")
	operations := make([]workflow.NexusOperationFuture, len(in.Requests))
	cancels := make([]workflow.CancelFunc, len(in.Requests))
	for i, r := range in.Requests {
		var each workflow.Context
		each, cancels[i] = workflow.WithCancel(ctx)
		operations[i] = approvals.ExecuteOperation(each, "request", r, workflow.NexusOperationOptions{ScheduleToCloseTimeout: in.Within})
	}
	workflow.Go(ctx, func(ctx workflow.Context) {
		for _, cancel := range cancels {
			workflow.GetSignalChannel(ctx, "cancel").Receive(ctx, nil)
			cancel()
		}
	})
	for i, o := range operations {
		err := o.Get(ctx, &all[i].Result)
		var (
			operation *temporal.NexusOperationError
			cancelled *temporal.CanceledError
			timeout   *temporal.TimeoutError
			app       *temporal.ApplicationError
		)
		if err != nil && !errors.As(err, &operation) {
			return nil, err
		}
		all[i].Failed = err != nil
		all[i].Cancelled, all[i].TimedOut = errors.As(err, &cancelled), errors.As(err, &timeout)
		if errors.As(err, &app) {
			all[i].Kind, all[i].Message = app.Type(), app.Message()
			if app.HasDetails() {
				if err := app.Details(&all[i].Decision); err != nil {
					return nil, err
				}
			}
		}
	}
	return all, nil
}

// start starts the caller's workflow.
func (c *caller) start(within time.Duration, requests ...any) client.WorkflowRun {
	c.Helper()
	run, err := c.temporal.ExecuteWorkflow(c.ctx, client.StartWorkflowOptions{TaskQueue: c.queue}, "Asks", asking{requests, within})
	c.must(err)
	return run
}

// hears waits for what the caller's workflow heard.
func (c *caller) hears(run client.WorkflowRun) (all []heard) {
	c.Helper()
	c.must(run.Get(c.ctx, &all))
	return all
}

// deploy is a request in the JSON of any language.
func (w *world) deploy(title string) map[string]any {
	return map[string]any{"title": title, "channel": w.sim.Channel("general").ID, "requester": w.sim.Person("alice").ID()}
}

func TestNexusApproved(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		c := w.caller()
		r := w.deploy("Deploy v2")
		r["required"], r["approvers"] = 2, w.people("bob", "carol")
		r["inputs"] = []map[string]any{{"name": "replicas", "type": "number", "initial": 3}}
		run := c.start(0, r)
		card := w.card("general", "Deploy v2")
		for _, name := range []string{"bob", "carol"} {
			p := w.as(name, "general")
			w.fillsIn(p, w.opens(p, card, "approve", ""), map[string]any{"input-0": "5"})
			if name == "bob" {
				card = w.redrawn(card, "1 of 2")
			}
		}
		got := c.hears(run)[0]
		if got.Failed || got.Result.Outcome != workflows.Approved || got.Result.Inputs["replicas"] != "5" ||
			!slices.Equal(w.deciders(got.Result), []string{"bob", "carol"}) || got.Result.Card.TS != card.TS || got.Result.Permalink == "" {
			w.Errorf("the caller hears %+v", got)
		}
		w.closed(card, "Approved by")
	})
}

func TestNexusRejected(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		c, bob := w.caller(), w.as("bob", "general")
		value, failure := w.deploy("Deploy v2"), w.deploy("Deploy v3")
		failure["fail_on_reject"] = true
		run := c.start(0, value, failure)
		for _, title := range []string{"Deploy v2", "Deploy v3"} {
			card := w.card("general", title)
			w.fillsIn(bob, w.opens(bob, card, "reject", ""), map[string]any{"comment": "not " + title})
			w.closed(card, "Rejected by", "not "+title)
		}
		got := c.hears(run)
		if d, ok := got[0].Result.Decision(); got[0].Failed || got[0].Result.Outcome != workflows.Rejected || !ok || d.Reason != "not Deploy v2" {
			w.Errorf("without fail_on_reject the caller hears %+v", got[0])
		}
		if d := got[1].Decision; !got[1].Failed || got[1].Kind != workflows.ErrTypeRejected || !strings.Contains(got[1].Message, "not Deploy v3") ||
			d.By.ID != bob.ID() || d.Reason != "not Deploy v3" || d.Digest == "" {
			w.Errorf("with fail_on_reject the caller hears %+v", got[1])
		}
	})
}

// What cannot be asked fails at once, with all that is wrong, and nothing is posted.
func TestNexusInvalid(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		c := w.caller()
		several := w.deploy("")
		several["channel"], several["deadline"], several["allow_self"] = "general", "soon", true
		mistyped := w.deploy("")
		mistyped["required"] = "two"
		run := c.start(time.Hour, several, mistyped, w.deploy("")["channel"], nil)
		got := c.hears(run)
		for i, want := range [][]string{
			{"The title is empty.", `The channel "general"`, `The deadline is "soon"`, "ALLOW_SELF_APPROVAL"},
			{"required is of the type string, and has to be a whole number.", "The title is empty."},
			{"The JSON of the request is of the type string, and has to be an object."},
			{"The title is empty."},
		} {
			if got[i].Kind != workflows.ErrTypeInvalidRequest || !got[i].Failed {
				w.Errorf("of request %d the caller hears %+v", i, got[i])
			}
			for _, fault := range want {
				if !strings.Contains(got[i].Message, fault) {
					w.Errorf("of request %d the caller hears %q, want %q", i, got[i].Message, fault)
				}
			}
		}
		if n := len(w.sim.Messages("general")); n != 0 {
			w.Errorf("%d messages in the channel, want none", n)
		}
	})
}

func TestNexusCancelled(t *testing.T) {
	t.Parallel()
	for name, cancel := range map[string]func(*caller, client.WorkflowRun) error{
		"the operation": func(c *caller, run client.WorkflowRun) error {
			return c.temporal.SignalWorkflow(c.ctx, run.GetID(), run.GetRunID(), "cancel", nil)
		},
		"the workflow": func(c *caller, run client.WorkflowRun) error {
			return c.temporal.CancelWorkflow(c.ctx, run.GetID(), run.GetRunID())
		},
	} {
		t.Run(name, func(t *testing.T) {
			oneMode(t, func(w *world) {
				w.start("run")
				c := w.caller()
				run := c.start(0, w.deploy("Deploy v2"))
				card := w.card("general", "Deploy v2")
				w.must(cancel(c, run))
				got := c.hears(run)[0]
				if !got.Failed || !got.Cancelled {
					w.Errorf("the caller hears %+v, want that it was cancelled", got)
				}
				w.closed(card, "Withdrawn")
				w.isCancelled(w.started(1)[0])
				bob := w.as("bob", "general")
				w.click(bob.Force(), card, "approve", true)
				w.told(bob, "Withdrawn")
			})
		})
	}
}

// A person's withdrawal is an outcome, and no cancellation of the caller.
func TestNexusWithdrawnByRequester(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		c, alice := w.caller(), w.as("alice", "general")
		run := c.start(0, w.deploy("Deploy v2"))
		w.changes(alice, w.card("general", "Deploy v2"), workflows.Withdraw)
		got := c.hears(run)[0]
		if by, ok := got.Result.Withdrawal(); got.Failed || got.Result.Outcome != workflows.Withdrawn || !ok || by.By.ID != alice.ID() {
			w.Errorf("the caller hears %+v", got)
		}
	})
}

// The operation's time-out is the latest end of the request: it expires before, so that the caller hears so.
func TestNexusTimeout(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		c := w.caller()
		began := time.Now()
		const within = 30 * time.Second
		longer, sooner := w.deploy("Deploy v2"), w.deploy("Deploy v3")
		longer["deadline"], sooner["deadline"] = "2h", "5s"
		run := c.start(within, longer, sooner, w.deploy("Deploy v4"))
		var cards []slacksim.Message
		for _, title := range []string{"Deploy v2", "Deploy v3", "Deploy v4"} {
			cards = append(cards, w.message("general", slacksim.Contains(title)))
		}
		for i, got := range c.hears(run) {
			if got.Failed || got.Result.Outcome != workflows.Expired || !got.Result.EndedAt.Before(began.Add(within)) {
				w.Errorf("of request %d the caller hears %+v, want that it expired in time", i, got)
			}
			w.closed(cards[i], "Expired")
		}
	})
}

func TestNexusTwoQuestions(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		c, bob := w.caller(), w.as("bob", "general")
		run := c.start(0, w.deploy("Deploy v2"), w.deploy("Deploy v2"))
		w.must(w.sim.Wait(w.ctx, func(slacksim.State) bool { return w.cardsIn("general") == 2 }))
		for i, action := range []string{"approve", "reject"} {
			card := w.sim.Messages("general")[i]
			card = w.message("general", func(m slacksim.Message) bool { return m.TS == card.TS && slacksim.HasButton("approve")(m) })
			if action == "reject" {
				w.fillsIn(bob, w.opens(bob, card, action, ""), nil)
			} else {
				w.click(bob, card, action, true)
			}
			w.closed(card)
		}
		var outcomes []workflows.Outcome
		for _, got := range c.hears(run) {
			outcomes = append(outcomes, got.Result.Outcome)
		}
		slices.Sort(outcomes)
		if !slices.Equal(outcomes, []workflows.Outcome{workflows.Approved, workflows.Rejected}) {
			w.Errorf("the caller hears %q, want approved and rejected", outcomes)
		}
		w.started(2)
	})
}

// The deployment is away when the caller asks, and when the request is decided there is another process.
func TestNexusAcrossRestarts(t *testing.T) {
	oneMode(t, func(w *world) {
		c := w.caller()
		run := c.start(0, w.deploy("Deploy v2"))
		p := w.start("run")
		card := w.card("general", "Deploy v2")
		p.kill()
		w.start("run")
		w.click(w.as("bob", "general"), card, "approve", true)
		if got := c.hears(run)[0]; got.Result.Outcome != workflows.Approved {
			w.Errorf("the caller hears %+v", got)
		}
		w.started(1)
	})
}

// A caller that is terminated cancels nothing: its request stays open, as its workflow in the deployment's namespace
// does, until somebody decides or its deadline passes.
func TestNexusCallerTerminated(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		c := w.caller()
		run := c.start(0, w.deploy("Deploy v2"))
		card := w.card("general", "Deploy v2")
		w.must(c.temporal.TerminateWorkflow(w.ctx, run.GetID(), run.GetRunID(), "test"))
		asked := w.started(1)[0]
		d, err := w.temporal.DescribeWorkflowExecution(w.ctx, asked.GetID(), asked.GetRunID())
		w.must(err)
		if got := d.GetWorkflowExecutionInfo().GetStatus(); got != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
			w.Errorf("the approval is %s, want running", got)
		}
		w.click(w.as("bob", "general"), card, "approve", true)
		w.outcome(asked, workflows.Approved)
		w.closed(card, "Approved by")
	})
}

// A process that lacks the caller's key ends no operation: another one has it, or the same one later.
func TestNexusKeyMissing(t *testing.T) {
	oneMode(t, func(w *world) {
		theirs, ours := reference.NewKey(), reference.NewKey()
		p := w.withKeys(ours)
		c := w.callerWith(theirs)
		r := w.deploy("Deploy marzipan")
		r["approvers"] = w.people("bob")
		run := c.start(0, r)
		w.sees(p, `there is no key `)
		w.stop(p)
		w.withKeys(theirs, ours)
		w.click(w.as("bob", "general"), w.card("general", "Deploy marzipan"), "approve", true)
		if got := c.hears(run); got[0].Failed || got[0].Result.Outcome != workflows.Approved {
			w.Errorf("the caller hears %+v", got)
		}
	})
}
