package slacksim_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/slack-go/slack"

	"countersign/internal/slacksim"
)

// A page of another site must not reach the stand-in through a browser on this machine.
func TestOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	sim, _ := start(t, slacksim.Options{})
	if _, err := sim.Person("bob").In("general").Say("hello"); err != nil {
		t.Fatal(err)
	}
	base := sim.BaseURL()
	for name, test := range map[string]struct {
		host, site, path string
		want             int
	}{
		"an address":                  {"", "", "/sim/faults", http.StatusOK},
		"localhost":                   {"localhost:8080", "", "/sim/faults", http.StatusOK},
		"an address of another kind":  {"[::1]:8080", "", "/sim/faults", http.StatusOK},
		"the page itself":             {"", "same-origin", "/sim/faults", http.StatusOK},
		"a name that was made to":     {"evil.example", "same-origin", "/sim/faults", http.StatusForbidden},
		"the page under such a name":  {"evil.example:8080", "", "/", http.StatusForbidden},
		"across sites":                {"", "cross-site", "/sim/faults", http.StatusForbidden},
		"the Web API, across sites":   {"", "cross-site", "/api/auth.test", http.StatusForbidden},
		"a link to the page":          {"", "cross-site", "/", http.StatusOK},
		"the Web API under that name": {"evil.example", "", "/api/auth.test", http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+test.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if test.host != "" {
				req.Host = test.host
			}
			if test.site != "" {
				req.Header.Set("Sec-Fetch-Site", test.site)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != test.want {
				t.Errorf("%s, want %d", resp.Status, test.want)
			}
		})
	}
}

// What the page must not post, or show.
func TestPageKeepsToItsPerson(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	bob := sim.Person("bob").In("general")
	ts, err := api.PostEphemeralContext(t.Context(), bob.Channel(), bob.ID())
	if err == nil {
		t.Fatalf("an empty message was posted: %s", ts)
	}
	if _, err := api.PostEphemeralContext(t.Context(), bob.Channel(), bob.ID(), slack.MsgOptionText("a secret", false)); err != nil {
		t.Fatal(err)
	}
	secret := bob.Ephemerals("general")[0]
	for name, test := range map[string]struct {
		path, body string
		want       int
	}{
		"another's private message": {"click", `{"as":"carol","channel":"` + secret.Channel + `","ts":"` + secret.TS + `","action":"x"}`, http.StatusNotFound},
		"blanks":                    {"say", `{"as":"carol","channel":"general","text":"  \n "}`, http.StatusBadRequest},
		"a book":                    {"say", `{"as":"carol","channel":"general","text":"` + strings.Repeat("x", 12_001) + `"}`, http.StatusBadRequest},
	} {
		before := len(sim.State().Messages)
		resp, err := http.Post(sim.BaseURL()+"/sim/"+test.path, "application/json", strings.NewReader(test.body))
		if err != nil {
			t.Fatal(err)
		}
		body := make([]byte, 4096)
		n, _ := resp.Body.Read(body)
		resp.Body.Close()
		if resp.StatusCode != test.want || strings.Contains(string(body[:n]), "a secret") {
			t.Errorf("%s: %s %s, want %d and no word of it", name, resp.Status, body[:n], test.want)
		}
		if after := len(sim.State().Messages); after != before {
			t.Errorf("%s: there are %d messages more", name, after-before)
		}
	}
}
