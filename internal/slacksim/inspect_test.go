package slacksim_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/slack-go/slack"

	"countersign/internal/slacksim"
)

func TestHeaders(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	sim.SetScopes("chat:write", "commands")
	sim.SetSkew(time.Hour)
	who, err := api.AuthTestContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := who.Header.Get("X-OAuth-Scopes"); got != "chat:write,commands" {
		t.Errorf("scopes %q", got)
	}
	at, err := http.ParseTime(who.Header.Get("Date"))
	if off := time.Until(at); err != nil || off < 59*time.Minute || off > time.Hour {
		t.Errorf("the date is off by %v (%v), want an hour", off, err)
	}
}

func TestUsersConversationsPages(t *testing.T) {
	t.Parallel()
	_, api := start(t, slacksim.Options{})
	var names []string
	p := slack.GetConversationsForUserParameters{Limit: 2, Types: []string{"public_channel", "private_channel"}}
	for {
		page, next, err := api.GetConversationsForUserContext(t.Context(), &p)
		if err != nil || len(page) > 2 {
			t.Fatalf("%d channels, %v", len(page), err)
		}
		for _, c := range page {
			names = append(names, c.Name)
		}
		if p.Cursor = next; next == "" {
			break
		}
	}
	if got := strings.Join(names, ","); got != "general,ops,leads,partners" {
		t.Errorf("channels %s, want those that the app is in", got)
	}
	p = slack.GetConversationsForUserParameters{Types: []string{"im"}}
	if _, _, err := api.GetConversationsForUserContext(t.Context(), &p); err == nil || err.Error() != "invalid_types" {
		t.Errorf("%v, want that the type is refused", err)
	}
}

func TestManifestIsExported(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	sim.SetManifest("xoxe.xoxp-1", map[string]any{"settings": map[string]any{"socket_mode_enabled": true}})
	if m, err := api.ExportManifestContext(t.Context(), "xoxe.xoxp-1", slacksim.AppID); err != nil || !m.Settings.SocketModeEnabled {
		t.Errorf("%+v, %v", m, err)
	}
	for token, want := range map[string]string{"xoxe.xoxp-2": "invalid_auth", slacksim.DefaultBotToken: "not_allowed_token_type"} {
		if _, err := api.ExportManifestContext(t.Context(), token, slacksim.AppID); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := slack.New("xoxe.xoxp-1", slack.OptionAPIURL(sim.BaseURL()+"/api/")).AuthTestContext(t.Context()); err == nil || err.Error() != "not_allowed_token_type" {
		t.Errorf("%v, want that it is of another kind", err)
	}
}

func TestAppTokenNamesItsApp(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	if !strings.HasPrefix(slacksim.DefaultAppToken, "xapp-1-"+slacksim.AppID+"-") {
		t.Errorf("the token is %s", slacksim.DefaultAppToken)
	}
	_, address, err := api.StartSocketModeContext(t.Context())
	if u, perr := url.Parse(address); err != nil || perr != nil || u.Query().Get("ticket") == "" {
		t.Errorf("%q, %v, %v", address, err, perr)
	}
	sim.SetAppToken("xapp-1-A0OTHER001-1-x")
	if _, _, err := api.StartSocketModeContext(t.Context()); err == nil || err.Error() != "invalid_auth" {
		t.Errorf("%v, want that the old one is refused", err)
	}
}
