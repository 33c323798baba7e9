package slacksim

import (
	"context"
	"maps"
	"strings"
	"time"
)

// Filled returns the person with values in the inputs and menus of the message or view that they act on next, as
// Submit takes them. The app finds them in the state of the payload.
func (p Person) Filled(values map[string]any) Person {
	p.filled = values
	return p
}

// Select chooses a value in an element of the message, by action ID or "block ID/action ID", as it stands now: the
// value of an option in a menu, the ID of a user, a date (2026-12-31), a []string of users' IDs or of the values of the
// boxes that are ticked. It says yes to a confirmation dialog.
// See https://docs.slack.dev/reference/interaction-payloads/block_actions-payload.
func (p Person) Select(ctx context.Context, m Message, action string, value any) (Delivery, error) {
	s := p.sim
	s.mu.Lock()
	o, err := p.interact(m, func(shown *Message) (map[string]any, error) { return s.choice(shown.Blocks, action, value) })
	s.mu.Unlock()
	if err != nil {
		return Delivery{}, err
	}
	return s.deliverFrom(ctx, m, o), nil
}

// SelectView is Select in a modal or in the App Home. In an input block it is for those with dispatch_action.
// See https://docs.slack.dev/reference/interaction-payloads/block_actions-payload.
func (p Person) SelectView(ctx context.Context, v View, action string, value any) (Delivery, error) {
	return p.deliverView(ctx, v, func(open *View) (map[string]any, error) { return p.sim.choice(open.Blocks, action, value) })
}

// choice is the action that tells the app of a chosen value. The caller holds mu, here and below.
func (s *Server) choice(blocks []Block, action string, value any) (map[string]any, error) {
	for _, b := range blocks {
		for _, e := range interactive(b) {
			id := b.str("block_id") + "/" + e.str("action_id")
			if e.str("type") == "button" || id != action && e.str("action_id") != action {
				continue
			}
			if err := s.checkValue(e, value); err != nil {
				return nil, err
			}
			a, _ := inputState(e, value)
			if e.str("type") == "overflow" {
				a = map[string]any{"type": "overflow", "selected_option": option(e, value)}
			}
			a["action_id"], a["block_id"], a["action_ts"] = e.str("action_id"), b.str("block_id"), s.newTS()
			for _, key := range []string{"placeholder", "confirm", "initial_option", "initial_options", "initial_user", "initial_users", "initial_date"} {
				if v, present := e[key]; present {
					a[key] = v
				}
			}
			return a, nil
		}
	}
	return nil, refuse("there is nothing to choose from with the action %s", action)
}

// interactive returns the elements of a block that tell the app at once what is done to them.
func interactive(b Block) []Block {
	if dispatch, _ := b["dispatch_action"].(bool); b.str("type") == "input" && !dispatch {
		return nil
	}
	return elementsOf(b)
}

// state is what the inputs and menus of blocks hold: values, and what has just been chosen.
// See https://docs.slack.dev/reference/interaction-payloads/block_actions-payload/#fields.
func (s *Server) state(blocks []Block, values map[string]any, acted map[string]any) (map[string]any, error) {
	state, _, err := s.fillIn(blocks, values)
	if err != nil {
		return nil, err
	}
	blockID, _ := acted["block_id"].(string)
	actionID, _ := acted["action_id"].(string)
	if block, ok := state[blockID].(map[string]any); ok {
		if entry, ok := block[actionID].(map[string]any); ok {
			entry = maps.Clone(entry)
			for key := range entry {
				entry[key] = acted[key]
			}
			block[actionID] = entry
		}
	}
	return state, nil
}

// option is the option of e with that value, or nil.
func option(e Block, value any) Block {
	for _, o := range e.list("options") {
		if text, ok := value.(string); ok && text == o.str("value") {
			return o
		}
	}
	return nil
}

// checkValue refuses what nobody can put into e. An empty text empties it.
func (s *Server) checkValue(e Block, value any) error {
	kind, id := e.str("type"), e.str("action_id")
	users := func(ids []string) error {
		for _, user := range ids {
			if u := s.user(user); u == nil || u.ID != user {
				return refuse("%s: unknown person %q", id, user)
			}
		}
		return nil
	}
	if value == nil {
		return nil
	}
	text, isText := value.(string)
	list, isList := value.([]string)
	switch {
	case kind == "multi_users_select" && isList:
		if limit, ok := e["max_selected_items"].(float64); ok && len(list) > int(limit) {
			return refuse("%s takes no more than %d people", id, int(limit))
		}
		return users(list)
	case kind == "checkboxes" && isList:
		for _, v := range list {
			if option(e, v) == nil {
				return refuse("%s has no box %q", id, v)
			}
		}
		return nil
	case kind == "checkboxes":
		return refuse("%s takes a list of boxes", id)
	case kind == "multi_users_select":
		return refuse("%s takes a list of people", id)
	case !isText:
		return refuse("%s takes a text", id)
	case kind == "overflow" && option(e, value) == nil, kind == "static_select" && text != "" && option(e, value) == nil:
		return refuse("%s has no option %q", id, text)
	case kind == "users_select" && text != "":
		return users([]string{text})
	case kind == "datepicker" && text != "":
		if _, err := time.Parse(time.DateOnly, text); err != nil {
			return refuse("%s: %q is no date", id, text)
		}
	case kind == "plain_text_input" && strings.ContainsRune(text, 0):
		return refuse("%s takes a text", id)
	}
	return nil
}
