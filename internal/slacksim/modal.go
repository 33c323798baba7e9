package slacksim

import (
	"context"
	"fmt"
	"slices"
)

// maxModals is how many modals can stand on each other.
const maxModals = 3

// troubleText is what Slack's modal says when a submission is not acknowledged.
const troubleText = "We had some trouble connecting. Try again?"

// unfilled is a submission that Slack's client holds back, for the inputs are not as they should be.
type unfilled struct {
	invalid map[string]string // by block ID
}

func (e *unfilled) Error() string {
	return fmt.Sprintf("%v: the modal is not filled in: %v", ErrRefused, e.invalid)
}

func (e *unfilled) Unwrap() error { return ErrRefused }

// Modal waits until the person has a modal open, and returns the top one.
func (p Person) Modal(ctx context.Context) (View, error) {
	return p.WaitModal(ctx, func(View) bool { return true })
}

// WaitModal waits until the person's top modal is one that match accepts.
func (p Person) WaitModal(ctx context.Context, match func(View) bool) (View, error) {
	var found View
	err := p.sim.Wait(ctx, func(st State) bool {
		i := slices.IndexFunc(st.Modals, func(v View) bool { return v.User == p.id && match(v) })
		if i >= 0 {
			found = st.Modals[i]
		}
		return i >= 0
	})
	return found, err
}

// NoModal waits until the person has no modal open.
func (p Person) NoModal(ctx context.Context) error {
	return p.sim.Wait(ctx, func(st State) bool {
		return !slices.ContainsFunc(st.Modals, func(v View) bool { return v.User == p.id })
	})
}

// Submit fills in the view and submits it. Values are by action ID or "block ID/action ID": a string for text,
// numbers, dates (2026-12-31), options (their value) and users (their ID), a []string for several users and for the
// boxes that are ticked. Inputs without a value keep their initial one. What Slack's client holds back, since an input
// is empty or out of its bounds, is an error that wraps ErrRefused, and View.Errors says why. The modal then does what
// the acknowledgement says: it closes, or changes, or shows errors, see View.Errors.
// See https://docs.slack.dev/reference/interaction-payloads/view-interactions-payload/#view_submission.
func (p Person) Submit(ctx context.Context, v View, values map[string]any) (Delivery, error) {
	s := p.sim
	s.mu.Lock()
	o, err := p.submit(v, values)
	s.mu.Unlock()
	if err != nil {
		return Delivery{}, err
	}
	d := s.deliver(ctx, o)
	s.mu.Lock()
	defer s.mu.Unlock()
	if open := s.openModal(p.id, v.ID); open != nil {
		s.afterSubmit(open, d)
		s.touch()
	}
	return d, nil
}

// openModal finds an open modal of a user. The caller holds mu, here and below.
func (s *Server) openModal(user, id string) *View {
	for _, v := range s.modals[user] {
		if v.ID == id {
			return v
		}
	}
	return nil
}

func (p Person) submit(v View, values map[string]any) (outgoing, error) {
	s := p.sim
	u := s.user(p.id)
	if u == nil {
		return outgoing{}, refuse("unknown person")
	}
	open := s.openModal(u.ID, v.ID)
	switch {
	case open == nil && !p.forced:
		return outgoing{}, refuse("the modal %q is not open for %s", v.Title, u.Name)
	case u.Deleted && !p.forced:
		return outgoing{}, refuse("%s is deactivated", u.Name)
	case open == nil:
		open = &v
	}
	state, invalid, err := s.fillIn(open.Blocks, values)
	if err != nil {
		return outgoing{}, err
	}
	if len(invalid) > 0 && !p.forced {
		open.Errors = invalid
		s.touch()
		return outgoing{}, &unfilled{invalid}
	}
	open.Errors, open.Error = nil, ""
	s.touch()
	o := outgoing{
		kind: ViewSubmission, envelope: "interactive", user: u.ID, acceptsBody: true,
		triggerID: s.newTrigger(u.ID),
	}
	payload := s.interaction(u, ViewSubmission, o.triggerID)
	view := wireView(open)
	view["state"] = map[string]any{"values": state}
	payload["view"] = view
	payload["response_urls"] = []any{}
	o.payload = payload
	return o, nil
}

// afterSubmit does to the modal what the acknowledgement of its submission says.
// See https://docs.slack.dev/surfaces/modals/#interactions.
func (s *Server) afterSubmit(v *View, d Delivery) {
	if !d.Acked {
		v.Error = troubleText
		return
	}
	answer, ok := answerOf(d.Response)
	if !ok {
		s.pop(v)
		return
	}
	switch answer.String("response_action") {
	case "clear":
		s.modals[v.User] = nil
	case "errors":
		v.Errors = map[string]string{}
		found, _ := answer.object("errors")
		for id, text := range found {
			if slices.ContainsFunc(v.Blocks, func(b Block) bool { return b.str("type") == "input" && b.str("block_id") == id }) {
				v.Errors[id] = fmt.Sprint(text)
			}
		}
		if len(v.Errors) == 0 || len(v.Errors) < len(found) {
			v.Error = troubleText
		}
	case "update", "push":
		next, err := s.readView(answer["view"], "modal")
		if err != nil || answer.String("response_action") == "push" && len(s.modals[v.User]) >= maxModals {
			v.Error = troubleText
			return
		}
		if answer.String("response_action") == "update" {
			s.replace(v, next)
			return
		}
		next.User = v.User
		s.push(next, v)
	default:
		v.Error = troubleText
	}
}

// pop closes a modal; the one below comes back.
func (s *Server) pop(v *View) {
	s.modals[v.User] = slices.DeleteFunc(s.modals[v.User], func(o *View) bool { return o == v })
}

// CloseModal closes the person's top modal. The app hears of it if the view has notify_on_close; if not, the Delivery
// is zero.
// See https://docs.slack.dev/reference/interaction-payloads/view-interactions-payload/#view_closed.
func (p Person) CloseModal(ctx context.Context) (Delivery, error) {
	s := p.sim
	s.mu.Lock()
	stack := s.modals[p.id]
	if len(stack) == 0 {
		s.mu.Unlock()
		return Delivery{}, refuse("no modal is open")
	}
	v := stack[len(stack)-1]
	s.pop(v)
	s.touch()
	payload := s.interaction(s.user(p.id), ViewClosed, "")
	delete(payload, "trigger_id")
	payload["view"] = wireView(v)
	payload["is_cleared"] = false
	s.mu.Unlock()
	if !v.NotifyOnClose {
		return Delivery{}, nil
	}
	return s.deliver(ctx, outgoing{kind: ViewClosed, envelope: "interactive", user: p.id, payload: payload}), nil
}
