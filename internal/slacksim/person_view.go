package slacksim

import "context"

// ClickView presses a button in a modal or in the App Home, by action ID or "block ID/action ID", as the view stands
// now. It says yes to a confirmation dialog.
// See https://docs.slack.dev/reference/interaction-payloads/block_actions-payload.
func (p Person) ClickView(ctx context.Context, v View, action string) (Delivery, error) {
	return p.deliverView(ctx, v, func(open *View) (map[string]any, error) {
		b, ok := findButton(open.Blocks, action)
		if !ok && p.forced {
			b, ok = findButton(v.Blocks, action)
		}
		if !ok {
			return nil, refuse("no button %s in the view %q", action, open.Title)
		}
		return p.sim.action(b), nil
	})
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
