package slacksim

import (
	"context"
	"slices"
)

// OpenHome opens the app's Home tab, of which the app hears by an event.
// See https://docs.slack.dev/reference/events/app_home_opened.
func (p Person) OpenHome(ctx context.Context) (Delivery, error) { return p.openApp(ctx, "home") }

// OpenMessages opens the app's Messages tab, of which the app hears by the same event.
// See https://docs.slack.dev/reference/events/app_home_opened.
func (p Person) OpenMessages(ctx context.Context) (Delivery, error) {
	return p.openApp(ctx, "messages")
}

func (p Person) openApp(ctx context.Context, tab string) (Delivery, error) {
	s := p.sim
	s.mu.Lock()
	u := s.user(p.id)
	if u == nil || (u.Deleted || u.Bot || u.Stranger) && !p.forced {
		s.mu.Unlock()
		return Delivery{}, refuse("this person cannot open the app")
	}
	now := s.now()
	event := map[string]any{
		"type": AppHomeOpened, "user": u.ID, "channel": s.dm(u.ID).ID, "tab": tab, "event_ts": s.newTS(),
	}
	if home := s.homes[u.ID]; home != nil && tab == "home" {
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
