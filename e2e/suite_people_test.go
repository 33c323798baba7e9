package e2e

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"countersign/internal/slacksim"
	"countersign/workflows"
)

// click is what somebody did, and what came of it.
type click struct {
	of     *asked
	person string // ID
	name   string
	wants  workflows.Outcome
	at     time.Time
	slacksim.Delivery
	// asks says that it was to open a form, and form that one opened. Otherwise it decides.
	asks, form bool
	// taker is the process that had it; nil: it reached none.
	taker *life
}

// note keeps a click, with who had it.
func (s *suite) note(c *click) {
	c.taker = s.taker(c.Delivery)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clicks = append(s.clicks, c)
}

// asks has a request asked, ended as is planned, and decided by its people.
func (s *suite) asks(a *asked, begin time.Time) {
	if !s.wait(time.Until(begin.Add(a.after))) {
		return
	}
	never := func(error) bool { return false }
	s.insist("start "+a.id, func(ctx context.Context) error {
		o := client.StartWorkflowOptions{ID: a.id, TaskQueue: s.queue}
		if a.kind == greeting {
			_, err := s.temporal.ExecuteWorkflow(ctx, o, workflows.Greeting, workflows.GreetingInput{
				Name: a.label, Channel: a.channel, RequestedBy: s.sim.Person("alice").ID(),
			})
			return err
		}
		_, err := s.temporal.ExecuteWorkflow(ctx, o, workflows.Approval, s.request(a))
		return err
	}, never)
	for !s.posted(a) {
		if s.ended(a) || !s.wait(100*time.Millisecond) {
			return
		}
	}
	s.act(a)
	if a.end > 0 && s.wait(a.end) {
		s.ends(a)
	}
}

func (s *suite) posted(a *asked) bool {
	_, ok := s.latest.Load().cards[a.n]
	return ok
}

// ended reports whether the workflow is closed; where Temporal does not say, it is not.
func (s *suite) ended(a *asked) bool {
	if !a.closed.Load() {
		a.closed.Store(s.closed(a.id))
	}
	return a.closed.Load()
}

func (s *suite) closed(workflowID string) bool {
	ctx, stop := context.WithTimeout(s.ctx, 5*time.Second)
	defer stop()
	d, err := s.temporal.DescribeWorkflowExecution(ctx, workflowID, "")
	return err == nil && d.GetWorkflowExecutionInfo().GetStatus() != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING
}

// ends ends a request in the way that is planned for it, if it has not ended.
func (s *suite) ends(a *asked) {
	tooLate := func(err error) bool {
		var (
			gone    *serviceerror.NotFound
			refused *temporal.ApplicationError
		)
		return errors.As(err, &gone) || errors.As(err, &refused)
	}
	s.insist("end "+a.id, func(ctx context.Context) error {
		switch a.kind {
		case cancelled:
			return s.temporal.CancelWorkflow(ctx, a.id, "")
		case terminated:
			return s.temporal.TerminateWorkflow(ctx, a.id, "", "as planned")
		}
		h, err := s.temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
			WorkflowID: a.id, UpdateID: "withdraw", UpdateName: workflows.UpdateChange, WaitForStage: client.WorkflowUpdateStageCompleted,
			Args: []any{workflows.Change{Kind: workflows.Withdraw, By: workflows.Person{ID: s.sim.Person("alice").ID()}, Via: workflows.ViaCommand}},
		})
		if err == nil {
			err = h.Get(ctx, nil)
		}
		return err
	}, tooLate)
}

// act has everybody act.
func (s *suite) act(a *asked) {
	for _, p := range a.actors {
		a.acting.Add(1)
		s.people.Go(func() {
			defer a.acting.Add(-1)
			s.acts(a, p)
		})
	}
}

// acts is what a person does: they click; where Slack warns them, or they are told to, and the buttons are still there,
// they click again after a moment; they stop once they are told something definite, or once their click was taken and
// nothing was said.
func (s *suite) acts(a *asked, p *actor) {
	begin := time.Now()
	for n := 0; s.ctx.Err() == nil; n++ {
		card := s.latest.Load().cards[a.n]
		for len(card.Buttons()) > 0 && time.Since(begin) < p.after && s.wait(min(200*time.Millisecond, p.after)) {
			card = s.latest.Load().cards[a.n]
		}
		if len(card.Buttons()) == 0 || s.once(a, p, card) {
			return
		}
		s.wait(between(dice(s.seed, "again "+p.name, n), 500*time.Millisecond, 2500*time.Millisecond))
	}
}

// once clicks once, and fills in the form that opens. It reports whether the person is content.
func (s *suite) once(a *asked, p *actor, card slacksim.Message) bool {
	action := "approve"
	if p.outcome == workflows.Rejected {
		action = "reject"
	}
	c := &click{
		of: a, person: p.ID(), name: p.name, wants: p.outcome, at: time.Now(),
		asks: a.kind == inputs || a.kind == reason || a.kind == greeting && p.outcome == workflows.Rejected,
	}
	var err error
	if c.Delivery, err = p.Click(s.ctx, card, action); err != nil {
		return false // The card has just been drawn anew.
	}
	form, opened := s.form(p)
	c.form = opened
	if s.note(c); opened {
		return s.fills(c, p, form)
	}
	return s.content(c, p)
}

// content waits for what somebody is told about a click that was not taken, and reports whether they need not click again.
func (s *suite) content(c *click, p *actor) bool {
	nothing := func() bool { return len(toldIn(s.latest.Load().State, p.ID(), c.at, time.Now())) == 0 }
	for until := time.Now().Add(3 * time.Second); !c.Acked && nothing() && time.Now().Before(until); {
		if !s.wait(100 * time.Millisecond) {
			return true
		}
	}
	said := strings.Join(toldIn(s.sim.State(), p.ID(), c.at, time.Now()), " ")
	if said == "" {
		return c.Acked && !c.asks
	}
	return !unsure(said) && !inVain(said)
}

// fills fills in a form and submits it, until it closes or says something definite.
func (s *suite) fills(c *click, p *actor, form slacksim.View) bool {
	values := map[string]any{}
	if c.wants == workflows.Rejected {
		values["comment"] = "not today"
	}
	for n := 0; s.ctx.Err() == nil; n++ {
		s.wait(between(dice(s.seed, "form "+p.name, n), 200*time.Millisecond, 1500*time.Millisecond))
		sent := &click{of: c.of, person: c.person, name: c.name, wants: c.wants, at: time.Now()}
		var err error
		if sent.Delivery, err = p.Submit(s.ctx, form, values); errors.Is(err, slacksim.ErrRefused) {
			s.Errorf("%s cannot submit the form: %v", c.name, err)
			return true
		}
		s.note(sent)
		open, still := s.form(p)
		if !still {
			return true
		}
		said := string(sent.Response)
		if sent.Acked && !unsure(said) && !inVain(said) || !sent.Acked && s.content(sent, p) {
			_, _ = p.CloseModal(s.ctx)
			return true
		}
		form = open
	}
	return true
}

// form is what stands open before a person.
func (s *suite) form(p *actor) (slacksim.View, bool) {
	modals := s.sim.State().Modals
	if i := slices.IndexFunc(modals, func(v slacksim.View) bool { return v.User == p.ID() }); i >= 0 {
		return modals[i], true
	}
	return slacksim.View{}, false
}

// toldIn is what somebody was told in private from then on, until then.
func toldIn(st slacksim.State, person string, from, to time.Time) (all []string) {
	for _, m := range st.Messages {
		if at := stamp(m.TS); m.To == person && !at.Before(from) && !at.After(to) {
			all = append(all, m.Text)
		}
	}
	return all
}

// after has who would see buttons still click on the card of a request whose workflow was terminated: the click closes it.
func (s *suite) after(a *asked) {
	for n := 0; n < 10 && s.ctx.Err() == nil; n++ {
		s.look()
		card, ok := s.latest.Load().cards[a.n]
		if !ok || len(card.Buttons()) == 0 {
			return
		}
		s.once(a, a.actors[0], card)
		s.wait(time.Second)
	}
}

// openOnes are the workflows that have not ended: those of requests, and those that go on closing their cards.
func (s *suite) openOnes() (ids []string) {
	ctx, stop := context.WithTimeout(s.ctx, 10*time.Second)
	defer stop()
	for _, a := range s.all {
		if a.begun.Load() && !s.ended(a) {
			ids = append(ids, a.id)
		}
	}
	list, err := s.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		Query: "TaskQueue = '" + s.queue + "' AND ExecutionStatus = 'Running'", PageSize: 1000,
	})
	if err != nil {
		return append(ids, err.Error())
	}
	for _, e := range list.GetExecutions() {
		// The list is a moment old.
		if id := e.GetExecution().GetWorkflowId(); !slices.Contains(ids, id) && !s.closed(id) {
			ids = append(ids, id)
		}
	}
	return ids
}
