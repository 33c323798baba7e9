package slacksim_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/slack-go/slack/socketmode"

	"countersign/internal/slacksim"
)

func TestPageRefusesBadInput(t *testing.T) {
	t.Parallel()
	sim := slacksim.New(slacksim.Options{})
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	before := sim.State().Version
	for _, c := range []struct {
		name, path, body string
		status           int
	}{
		{"not JSON", "say", `{`, 400},
		{"unknown field", "say", `{"as":"alice","colour":"red"}`, 400},
		{"wrong type", "say", `{"as":7}`, 400},
		{"nobody", "say", `{"channel":"general","text":"/greet x"}`, 404},
		{"unknown person", "say", `{"as":"zoe","channel":"general","text":"/greet x"}`, 404},
		{"unknown channel", "say", `{"as":"alice","channel":"nowhere","text":"/greet x"}`, 404},
		{"nothing to say", "say", `{"as":"alice","channel":"general"}`, 400},
		{"not in the channel", "say", `{"as":"guest","channel":"ops","text":"/greet x"}`, 422},
		{"command from another organisation", "say", `{"as":"external","channel":"partners","text":"/greet x"}`, 422},
		{"unknown message", "click", `{"as":"alice","channel":"general","ts":"1.1","action":"approve"}`, 404},
		{"unknown view", "submit", `{"as":"alice","view":"V1"}`, 404},
		{"no modal", "close", `{"as":"alice"}`, 422},
		{"unknown path", "dance", `{"as":"alice"}`, 404},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := srv.Client().Post(srv.URL+"/sim/"+c.path, "application/json", strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = r.Body.Close() }()
			var got struct{ Error string }
			err = json.NewDecoder(r.Body).Decode(&got)
			if r.StatusCode != c.status || c.path != "dance" && (err != nil || got.Error == "") {
				t.Errorf("status %d, %+v, %v", r.StatusCode, got, err)
			}
		})
	}
	r, err := srv.Client().Post(srv.URL+"/sim/say", "text/plain", strings.NewReader(`{"as":"alice","channel":"general","text":"hi"}`))
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Body.Close()
	if r.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("plain text: %d", r.StatusCode)
	}
	if after := sim.State().Version; after != before {
		t.Errorf("something changed: version %d, was %d", after, before)
	}
}

func TestPageShowsOnlyWhatThePersonSees(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{Links: []slacksim.Link{{Text: "Temporal", URL: "http://127.0.0.1:8233"}}})
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	t.Cleanup(sim.Close)
	listen(t, sim, api, func(client *socketmode.Client, e socketmode.Event) {
		_ = client.Ack(*e.Request, map[string]any{"text": "only for you"})
	})
	see := func(name string) map[string]any {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/sim/events?as="+name, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		lines := bufio.NewScanner(response.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				var page map[string]any
				if err := json.Unmarshal([]byte(data), &page); err != nil {
					t.Fatal(err)
				}
				return page
			}
		}
		t.Fatal("no event")
		return nil
	}
	post(t, sim, api, sim.Channel("leads").ID)
	if _, err := sim.Person("alice").In("general").Command(t.Context(), "/greet x"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"alice": 2, "bob": 1, "carol": 0} {
		if got := len(see(name)["messages"].([]any)); got != want {
			t.Errorf("%s sees %d messages, want %d", name, got, want)
		}
	}
	response, err := srv.Client().Get(srv.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	html, err := io.ReadAll(response.Body)
	if err != nil || !strings.Contains(string(html), "<!doctype html>") || strings.Contains(string(html), "innerHTML") {
		t.Errorf("page: %d bytes, %v", len(html), err)
	}
}
