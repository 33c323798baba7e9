package slackapi

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/slacksim"
)

// inspect serves a workspace, and inspects its app.
func inspect(t *testing.T) (*slacksim.Server, *Inspector) {
	t.Helper()
	sim := slacksim.New(slacksim.Options{})
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	t.Cleanup(sim.Close)
	return sim, Inspect(slacksim.DefaultBotToken, slacksim.DefaultAppToken, srv.URL+"/api/")
}

func TestInspectToken(t *testing.T) {
	t.Parallel()
	sim, i := inspect(t)
	sim.SetScopes("chat:write", "users:read")
	want := Token{
		Self: Self{Team: slacksim.TeamID, UserID: slacksim.BotUserID, BotID: slacksim.BotID, AppID: slacksim.AppID},
		Name: "countersign", Workspace: "Stand-in", Scopes: []string{"chat:write", "users:read"}, Timed: true,
	}
	got, err := i.Token(t.Context())
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}

	sim.SetScopes("chat:write")
	if got, err := i.Token(t.Context()); err != nil || got.AppID != "" || got.Team != slacksim.TeamID {
		t.Errorf("%+v, %v; want it without the app, which needs users:read", got, err)
	}

	sim.RevokeToken()
	sim.SetSkew(-time.Hour)
	got, err = i.Token(t.Context())
	if AsUnauthorized(err) == nil || !got.Timed || got.Ahead < 59*time.Minute || got.Ahead > time.Hour || got.Team != "" {
		t.Errorf("%+v, %v; want the time alone", got, err)
	}
}

func TestAhead(t *testing.T) {
	t.Parallel()
	at := func(seconds float64) time.Time {
		return time.Unix(1_700_000_000, 0).Add(time.Duration(seconds * float64(time.Second)))
	}
	for name, tc := range map[string]struct {
		begun, ended float64
		want         time.Duration // where Slack's clock is within the second 0
	}{
		"equal":               {0.2, 0.9, 0},
		"within the second":   {0.9, 1.4, 0},
		"it took long":        {-5, 5, 0},
		"ours is before":      {31, 31.5, 30 * time.Second},
		"ours is behind":      {-40.5, -40, -40 * time.Second},
		"just within":         {1, 1, 0},
		"Slack's just begins": {-0.5, 0, 0},
	} {
		if got := ahead(at(tc.begun), at(tc.ended), at(0)); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func TestInspectChannels(t *testing.T) {
	t.Parallel()
	sim, i := inspect(t)
	for name, want := range map[string]Channel{
		"general": {Name: "general", Member: true}, "random": {Name: "random"}, "leads": {Name: "leads", Private: true, Member: true},
	} {
		if got, err := i.Channel(t.Context(), sim.Channel(name).ID); err != nil || got != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
	if _, err := i.Channel(t.Context(), "C0NOWHERE1"); AsRefused(err) == nil || AsRefused(err).Code != "channel_not_found" {
		t.Errorf("%v", err)
	}
	sim.Archive("ops")
	if got, err := i.Channel(t.Context(), sim.Channel("ops").ID); err != nil || !got.Archived {
		t.Errorf("%+v, %v, want it to be archived", got, err)
	}
	for _, tc := range []struct {
		kinds []string
		want  int
	}{{[]string{PublicChannels}, 2}, {[]string{PrivateChannels}, 1}, {[]string{PublicChannels, PrivateChannels}, 3}} {
		if n, more, err := i.Channels(t.Context(), tc.kinds...); n != tc.want || more || err != nil {
			t.Errorf("%q: %d, %v, %v, want %d", tc.kinds, n, more, err, tc.want)
		}
	}
	sim.SetScopes("channels:read")
	if _, _, err := i.Channels(t.Context(), PublicChannels, PrivateChannels); AsRefused(err) == nil || AsRefused(err).Code != "missing_scope" {
		t.Errorf("%v, want that a scope is missing", err)
	}
}

func TestInspectGroups(t *testing.T) {
	t.Parallel()
	sim, i := inspect(t)
	off := sim.AddGroup(slacksim.Group{Handle: "off", Disabled: true})
	got, err := i.Groups(t.Context())
	if err != nil || len(got) != 3 || !got[off.ID].Disabled || got[sim.Group("sre").ID].Disabled || len(got[sim.Group("sre").ID].Members) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestInspectManifest(t *testing.T) {
	t.Parallel()
	sim, i := inspect(t)
	const token = "xoxe.xoxp-1-x"
	if _, err := i.Manifest(t.Context(), token, slacksim.AppID); AsUnauthorized(err) == nil {
		t.Errorf("%v, want that the token is refused", err)
	}
	sim.SetManifest(token, map[string]any{"display_information": map[string]any{"name": "x"}})
	if got, err := i.Manifest(t.Context(), token, slacksim.AppID); err != nil || !cmp.Equal(got, Manifest{}) {
		t.Errorf("%+v, %v, want one of an app that has nothing", got, err)
	}
	if _, err := i.Manifest(t.Context(), token, "A0OTHER001"); AsRefused(err) == nil {
		t.Errorf("%v, want that another app is refused", err)
	}
	sim.SetManifest(token, map[string]any{
		"features": map[string]any{
			"app_home":       map[string]any{"home_tab_enabled": true, "messages_tab_enabled": true},
			"slash_commands": []any{map[string]any{"command": "/greet", "url": "https://x/", "should_escape": true}},
		},
		"oauth_config": map[string]any{"scopes": map[string]any{"bot": []string{"commands"}}},
		"settings": map[string]any{
			"event_subscriptions": map[string]any{"request_url": "https://y/", "bot_events": []string{"app_home_opened"}},
			"interactivity":       map[string]any{"is_enabled": true, "request_url": "https://z/"},
			"socket_mode_enabled": true, "token_rotation_enabled": true,
		},
	})
	want := Manifest{
		Commands: []ManifestCommand{{"/greet", "https://x/", true}}, Scopes: []string{"commands"}, Events: []string{"app_home_opened"},
		Interactivity: true, SocketMode: true, Home: true, Messages: true, Rotation: true, EventsURL: "https://y/", InteractivityURL: "https://z/",
	}
	got, err := i.Manifest(t.Context(), token, slacksim.AppID)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestInspectPeopleAndSockets(t *testing.T) {
	t.Parallel()
	sim, i := inspect(t)
	if p, err := i.Person(t.Context(), sim.Person("former").ID()); err != nil || !p.Deactivated {
		t.Errorf("%+v, %v", p, err)
	}
	if address, err := i.OpenSocket(t.Context()); err != nil || address == "" {
		t.Errorf("%q, %v", address, err)
	}
	sim.SetAppToken("xapp-another")
	if _, err := i.OpenSocket(t.Context()); AsUnauthorized(err) == nil {
		t.Errorf("%v, want that the token is refused", err)
	}
}
