package slacksim

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
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
// numbers, dates (2026-12-31), options (their value) and users (their ID), a []string for several users. Inputs
// without a value keep their initial one. The modal then does what the acknowledgement says: it closes, or changes,
// or shows errors, see View.Errors.
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

// fillIn returns the state of blocks with values in their inputs, and what Slack's client finds wrong, by block ID.
func (s *Server) fillIn(blocks []Block, values map[string]any) (map[string]any, map[string]string, error) {
	state, invalid, used := map[string]any{}, map[string]string{}, 0
	for _, b := range blocks {
		elements, input := []Block{b.object("element")}, b.str("type") == "input"
		switch b.str("type") {
		case "input":
		case "actions":
			elements = b.list("elements")
		case "section":
			elements = []Block{b.object("accessory")}
		default:
			continue
		}
		for _, e := range elements {
			blockID, actionID := b.str("block_id"), e.str("action_id")
			value, given := values[blockID+"/"+actionID]
			if !given {
				value, given = values[actionID]
			}
			if given {
				used++
				if err := s.checkValue(e, value); err != nil {
					return nil, nil, err
				}
			}
			entry, problem := inputState(e, value)
			if entry == nil {
				continue
			}
			if required, _ := b["optional"].(bool); input && !required && isEmpty(entry) {
				problem = "Please complete this required field."
			}
			if problem != "" {
				invalid[blockID] = problem
			}
			block, _ := state[blockID].(map[string]any)
			if block == nil {
				block = map[string]any{}
				state[blockID] = block
			}
			block[actionID] = entry
		}
	}
	if used < len(values) {
		return nil, nil, refuse("there are not all of the inputs %v", values)
	}
	return state, invalid, nil
}

// isEmpty reports whether an entry of a view's state has nothing but its type.
func isEmpty(entry map[string]any) bool {
	for key, v := range entry {
		if list, ok := v.([]string); key != "type" && v != nil && (!ok || len(list) > 0) {
			return false
		}
	}
	return true
}

// inputState returns what the state of a view holds for an element, nil for those without state, and what is wrong.
// See https://docs.slack.dev/reference/views/#state.
func inputState(e Block, value any) (map[string]any, string) {
	kind := e.str("type")
	entry := map[string]any{"type": kind}
	text, _ := value.(string)
	orNil := func(initial string) any {
		if value == nil {
			text = e.str(initial)
		}
		if text == "" {
			return nil
		}
		return text
	}
	switch kind {
	case "plain_text_input":
		entry["value"] = orNil("initial_value")
		length := utf8.RuneCountInString(text)
		if limit, ok := e["max_length"].(float64); ok && length > int(limit) {
			return entry, fmt.Sprintf("Must be %d characters or less", int(limit))
		}
		if limit, ok := e["min_length"].(float64); ok && length > 0 && length < int(limit) {
			return entry, fmt.Sprintf("Must be at least %d characters", int(limit))
		}
	case "number_input":
		entry["value"] = orNil("initial_value")
		if text != "" {
			return entry, numberProblem(e, text)
		}
	case "datepicker":
		entry["selected_date"] = orNil("initial_date")
	case "users_select":
		entry["selected_user"] = orNil("initial_user")
	case "multi_users_select":
		users, _ := value.([]string)
		if value == nil {
			initial, _ := e["initial_users"].([]any)
			for _, u := range initial {
				users = append(users, fmt.Sprint(u))
			}
		}
		entry["selected_users"] = append([]string{}, users...)
	case "static_select":
		entry["selected_option"] = nil
		if initial := e.object("initial_option"); initial != nil && value == nil {
			entry["selected_option"] = initial
		}
		for _, o := range e.list("options") {
			if text != "" && o.str("value") == text {
				entry["selected_option"] = o
			}
		}
	default:
		return nil, ""
	}
	return entry, ""
}

func numberProblem(e Block, text string) string {
	n, err := strconv.ParseFloat(text, 64)
	decimal, _ := e["is_decimal_allowed"].(bool)
	if err != nil || !decimal && strings.Contains(text, ".") {
		return "Enter a valid number"
	}
	if low, err := strconv.ParseFloat(e.str("min_value"), 64); err == nil && n < low {
		return "Must be at least " + e.str("min_value")
	}
	if high, err := strconv.ParseFloat(e.str("max_value"), 64); err == nil && n > high {
		return "Must be at most " + e.str("max_value")
	}
	return ""
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

// ClickView presses a button in a modal or in the App Home, by action ID or "block ID/action ID".
// See https://docs.slack.dev/reference/interaction-payloads/block_actions-payload.
func (p Person) ClickView(ctx context.Context, v View, action string) (Delivery, error) {
	b, ok := findButton(v.Blocks, action)
	if !ok {
		return Delivery{}, refuse("no button %s in the view %q", action, v.Title)
	}
	return p.deliverView(ctx, v, func(*View) (map[string]any, error) { return p.sim.action(b), nil })
}

// deliverView delivers what the person does in a view, as action says of the view that they see.
func (p Person) deliverView(ctx context.Context, v View, action func(*View) (map[string]any, error)) (Delivery, error) {
	s := p.sim
	s.mu.Lock()
	o, err := p.interactView(v, action)
	s.mu.Unlock()
	if err != nil {
		return Delivery{}, err
	}
	return s.deliver(ctx, o), nil
}

func (p Person) interactView(v View, action func(*View) (map[string]any, error)) (outgoing, error) {
	s := p.sim
	u := s.user(p.id)
	open := s.view(func(o *View) bool { return o.ID == v.ID && o.User == p.id })
	switch {
	case u == nil || (u.Deleted || open == nil) && !p.forced:
		return outgoing{}, refuse("the view is not open for this person")
	case open == nil:
		open = &v
	}
	acted, err := action(open)
	if err != nil {
		return outgoing{}, err
	}
	state, err := s.state(open.Blocks, p.filled, acted)
	if err != nil {
		return outgoing{}, err
	}
	trigger := s.newTrigger(u.ID)
	payload := s.interaction(u, BlockActions, trigger)
	payload["container"] = map[string]any{"type": "view", "view_id": open.ID}
	view := wireView(open)
	view["state"] = map[string]any{"values": state}
	payload["view"] = view
	payload["actions"] = []any{acted}
	return outgoing{kind: BlockActions, envelope: "interactive", user: u.ID, payload: payload, triggerID: trigger}, nil
}

// OpenHome opens the app's Home tab, of which the app hears by an event.
// See https://docs.slack.dev/reference/events/app_home_opened.
func (p Person) OpenHome(ctx context.Context) (Delivery, error) {
	s := p.sim
	s.mu.Lock()
	u := s.user(p.id)
	if u == nil || (u.Deleted || u.Bot || u.Stranger) && !p.forced {
		s.mu.Unlock()
		return Delivery{}, refuse("this person cannot open the home tab")
	}
	now := s.opts.Now()
	event := map[string]any{
		"type": AppHomeOpened, "user": u.ID, "channel": s.dm(u.ID).ID, "tab": "home", "event_ts": s.newTS(),
	}
	if home := s.homes[u.ID]; home != nil {
		event["view"] = wireView(home)
	}
	payload := map[string]any{
		"token": verificationToken, "team_id": TeamID, "api_app_id": AppID, "event": event,
		"type": "event_callback", "event_id": s.newID("Ev"), "event_time": now.Unix(),
		"authorizations": []any{map[string]any{
			"enterprise_id": nil, "team_id": TeamID, "user_id": BotUserID, "is_bot": true, "is_enterprise_install": false,
		}},
		"is_ext_shared_channel": false,
	}
	s.mu.Unlock()
	return s.deliver(ctx, outgoing{kind: AppHomeOpened, envelope: "events_api", user: u.ID, payload: payload}), nil
}

// WaitHome waits until the person's Home tab is one that match accepts.
func (p Person) WaitHome(ctx context.Context, match func(View) bool) (View, error) {
	var found View
	err := p.sim.Wait(ctx, func(st State) bool {
		i := slices.IndexFunc(st.Homes, func(v View) bool { return v.User == p.id && match(v) })
		if i >= 0 {
			found = st.Homes[i]
		}
		return i >= 0
	})
	return found, err
}
