package slacksim_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"countersign/internal/slacksim"
)

// serve serves the page of sim.
func serve(t *testing.T, sim *slacksim.Server) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	return srv
}

// ask sends a request to the page's API, and returns its status and answer.
func ask(t *testing.T, srv *httptest.Server, method, path, kind, body string) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	response, err := srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var answer map[string]any
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Errorf("%s %s: %v", method, path, err)
	}
	return response.StatusCode, answer
}

// act does something as a person on the page, which must succeed.
func act(t *testing.T, srv *httptest.Server, what, body string) map[string]any {
	t.Helper()
	status, answer := ask(t, srv, http.MethodPost, "/sim/"+what, "application/json", body)
	if status != http.StatusOK {
		t.Fatalf("%s %s: status %d, %v", what, body, status, answer)
	}
	return answer
}

func TestPageRefusesBadInput(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{Commands: []slacksim.Command{{Name: "/greet"}}})
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	listen(t, sim, api, ack)
	card := post(t, sim, api, sim.Channel("general").ID)
	menus := postBlocks(t, sim, api, menuBlocks)
	d, err := sim.Person("alice").Click(t.Context(), card, "approve")
	if err != nil {
		t.Fatal(err)
	}
	opened, err := api.OpenViewContext(t.Context(), d.TriggerID, modal("first"))
	if err != nil {
		t.Fatal(err)
	}
	on := func(m slacksim.Message, rest string) string {
		return fmt.Sprintf(`{"as":"alice","channel":%q,"ts":%q,%s}`, m.Channel, m.TS, rest)
	}
	in := func(rest string) string { return fmt.Sprintf(`{"as":"alice","view":%q,%s}`, opened.ID, rest) }
	before, calls := sim.State(), len(sim.Calls(""))
	for _, c := range []struct {
		name, method, path, kind, body string
		status                         int
	}{
		{"not JSON", "POST", "say", "application/json", `{`, 400},
		{"nothing", "POST", "say", "application/json", ``, 400},
		{"no object", "POST", "say", "application/json", `["alice"]`, 400},
		{"null", "POST", "say", "application/json", `null`, 400},
		{"two objects", "POST", "say", "application/json", `{"as":"alice","channel":"general","text":"hi"}{}`, 400},
		{"unknown field", "POST", "say", "application/json", `{"as":"alice","channel":"general","text":"hi","colour":"red"}`, 400},
		{"wrong type", "POST", "say", "application/json", `{"as":7}`, 400},
		{"plain text", "POST", "say", "text/plain", `{"as":"alice","channel":"general","text":"hi"}`, 415},
		{"a form", "POST", "say", "application/x-www-form-urlencoded", `as=alice`, 415},
		{"no content type", "POST", "say", "", `{"as":"alice","channel":"general","text":"hi"}`, 415},
		{"too large", "POST", "say", "application/json", `{"as":"alice","text":"` + strings.Repeat("x", 3<<20) + `"}`, 413},
		{"wrong method", "GET", "say", "", ``, 405},
		{"wrong method for events", "POST", "events?as=alice", "application/json", `{}`, 405},
		{"wrong method for faults", "PUT", "faults", "application/json", `{"fault":"down"}`, 405},
		{"unknown path", "POST", "dance", "application/json", `{"as":"alice"}`, 404},
		{"unknown person's events", "GET", "events?as=zoe", "", ``, 404},
		{"nobody", "POST", "say", "application/json", `{"channel":"general","text":"/greet x"}`, 404},
		{"unknown person", "POST", "say", "application/json", `{"as":"zoe","channel":"general","text":"/greet x"}`, 404},
		{"unknown channel", "POST", "say", "application/json", `{"as":"alice","channel":"nowhere","text":"/greet x"}`, 404},
		{"nothing to say", "POST", "say", "application/json", `{"as":"alice","channel":"general"}`, 400},
		{"unknown command", "POST", "say", "application/json", `{"as":"alice","channel":"general","text":"/other"}`, 422},
		{"command in a thread", "POST", "say", "application/json", on(card, `"thread_ts":"`+card.TS+`","text":"/greet x"`), 422},
		{"unknown thread", "POST", "say", "application/json", `{"as":"alice","channel":"general","thread_ts":"1.1","text":"hi"}`, 404},
		{"deactivated", "POST", "say", "application/json", `{"as":"former","channel":"U0BOT00001","text":"hi"}`, 404},
		{"not in the channel", "POST", "say", "application/json", `{"as":"guest","channel":"ops","text":"/greet x"}`, 422},
		{"command from another organisation", "POST", "say", "application/json", `{"as":"external","channel":"partners","text":"/greet x"}`, 422},
		{"click on an unknown message", "POST", "click", "application/json", `{"as":"alice","channel":"general","ts":"1.1","action":"approve"}`, 404},
		{"unknown button", "POST", "click", "application/json", on(card, `"action":"other"`), 422},
		{"click with unknown inputs", "POST", "click", "application/json", on(card, `"action":"approve","values":{"other":"x"}`), 422},
		{"unknown menu", "POST", "select", "application/json", on(menus, `"action":"other","value":"x"`), 422},
		{"nothing selected", "POST", "select", "application/json", on(menus, `"action":"risk"`), 400},
		{"null selected", "POST", "select", "application/json", on(menus, `"action":"risk","value":null`), 400},
		{"a number selected", "POST", "select", "application/json", on(menus, `"action":"risk","value":7`), 400},
		{"unknown option", "POST", "select", "application/json", on(menus, `"action":"risk","value":"other"`), 422},
		{"unknown item", "POST", "select", "application/json", on(menus, `"action":"more","value":"other"`), 422},
		{"unknown user", "POST", "select", "application/json", on(menus, `"action":"who","value":"U1"`), 422},
		{"user by name", "POST", "select", "application/json", on(menus, `"action":"who","value":"bob"`), 422},
		{"unknown user of many", "POST", "select", "application/json", on(menus, `"action":"reviewers","value":["U0BOB00001","U1"]`), 422},
		{"one for many", "POST", "select", "application/json", on(menus, `"action":"reviewers","value":"U0BOB00001"`), 422},
		{"many for one", "POST", "select", "application/json", on(menus, `"action":"who","value":["U0BOB00001"]`), 422},
		{"no date", "POST", "select", "application/json", on(menus, `"action":"when","value":"tomorrow"`), 422},
		{"select in an unknown view", "POST", "select", "application/json", `{"as":"alice","view":"V1","action":"risk","value":"low"}`, 404},
		{"input that does not tell", "POST", "select", "application/json", in(`"action":"text","value":"x"`), 422},
		{"unknown view", "POST", "submit", "application/json", `{"as":"alice","view":"V1"}`, 404},
		{"another's view", "POST", "submit", "application/json", fmt.Sprintf(`{"as":"bob","view":%q}`, opened.ID), 404},
		{"unknown input", "POST", "submit", "application/json", in(`"values":{"other":"x"}`), 422},
		{"a list for a text", "POST", "submit", "application/json", in(`"values":{"text":["x"]}`), 422},
		{"neither text nor list", "POST", "submit", "application/json", in(`"values":{"text":{}}`), 400},
		{"no modal", "POST", "close", "application/json", `{"as":"bob"}`, 422},
		{"Home of another organisation", "POST", "home", "application/json", `{"as":"external"}`, 422},
		{"unknown fault", "POST", "faults", "application/json", `{"fault":"flood"}`, 404},
		{"no fault", "POST", "faults", "application/json", `{}`, 404},
		{"fault that is text", "POST", "faults", "application/json", `{"fault":"down","on":"yes"}`, 400},
		{"unknown field of a fault", "POST", "faults", "application/json", `{"fault":"down","for":"ever"}`, 400},
		{"fault as a form", "POST", "faults", "text/plain", `{"fault":"down"}`, 415},
		{"event turned off", "POST", "faults", "application/json", `{"fault":"drop_sockets","on":false}`, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, answer := ask(t, srv, c.method, "/sim/"+c.path, c.kind, c.body)
			if text, _ := answer["error"].(string); status != c.status || text == "" {
				t.Errorf("status %d, want %d; %v", status, c.status, answer)
			}
		})
	}
	after := sim.State()
	if after.Version != before.Version || len(after.Deliveries) != len(before.Deliveries) || len(sim.Calls("")) != calls {
		t.Errorf("something changed: version %d, was %d", after.Version, before.Version)
	}
}

func TestDropWithoutSockets(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(slacksim.New(slacksim.Options{}))
	t.Cleanup(srv.Close)
	for _, name := range []string{"drop_sockets", "refresh_socket"} {
		if status, answer := ask(t, srv, http.MethodPost, "/sim/faults", "application/json", `{"fault":"`+name+`"}`); status != http.StatusConflict {
			t.Errorf("%s: status %d, %v", name, status, answer)
		}
	}
}

const menuBlocks = `[
	{"type":"section","block_id":"top","text":{"type":"mrkdwn","text":"Deploy?"},"accessory":{"type":"overflow","action_id":"more","options":[
		{"text":{"type":"plain_text","text":"Extend"},"value":"extend"},{"text":{"type":"plain_text","text":"Delegate"},"value":"delegate"}]}},
	{"type":"section","block_id":"people","text":{"type":"mrkdwn","text":"Reviewers"},"accessory":{"type":"multi_users_select","action_id":"reviewers","initial_users":["U0BOB00001"]}},
	{"type":"actions","block_id":"menus","elements":[
		{"type":"static_select","action_id":"risk","placeholder":{"type":"plain_text","text":"Risk"},"options":[
			{"text":{"type":"plain_text","text":"Low"},"value":"low"},{"text":{"type":"plain_text","text":"High"},"value":"high"}]},
		{"type":"users_select","action_id":"who"},
		{"type":"datepicker","action_id":"when","initial_date":"2026-12-31"},
		{"type":"button","action_id":"go","text":{"type":"plain_text","text":"Go"},"value":"v"}]}]`

// postBlocks posts blocks to general.
func postBlocks(t *testing.T, sim *slacksim.Server, api *slack.Client, blocks string) slacksim.Message {
	t.Helper()
	var parsed slack.Blocks
	if err := json.Unmarshal([]byte(blocks), &parsed); err != nil {
		t.Fatal(err)
	}
	channel, ts, err := api.PostMessageContext(t.Context(), sim.Channel("general").ID, slack.MsgOptionText("Deploy?", false), slack.MsgOptionBlocks(parsed.BlockSet...))
	if err != nil {
		t.Fatal(err)
	}
	m, _ := sim.Message(channel, ts)
	return m
}

func TestSelectPayloads(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	listen(t, sim, api, ack)
	m := postBlocks(t, sim, api, menuBlocks)
	option := func(text, value string) map[string]any {
		return map[string]any{"text": map[string]any{"type": "plain_text", "text": text}, "value": value}
	}
	state := func(block, action string, entry map[string]any) map[string]any {
		values := map[string]any{
			"people": map[string]any{"reviewers": map[string]any{"type": "multi_users_select", "selected_users": []any{"U0BOB00001"}}},
			"menus": map[string]any{
				"risk": map[string]any{"type": "static_select", "selected_option": nil},
				"who":  map[string]any{"type": "users_select", "selected_user": nil},
				"when": map[string]any{"type": "datepicker", "selected_date": "2026-12-31"},
			},
		}
		if entry != nil {
			values[block].(map[string]any)[action] = entry
		}
		return map[string]any{"values": values}
	}
	for _, c := range []struct {
		name, what, rest string
		action           map[string]any
		state            map[string]any
	}{
		{
			"overflow", "select", `"action":"more","value":"delegate"`,
			map[string]any{"type": "overflow", "block_id": "top", "action_id": "more", "selected_option": option("Delegate", "delegate")},
			state("", "", nil),
		},
		{
			"static select", "select", `"action":"menus/risk","value":"high"`,
			map[string]any{
				"type": "static_select", "block_id": "menus", "action_id": "risk", "selected_option": option("High", "high"),
				"placeholder": map[string]any{"type": "plain_text", "text": "Risk"},
			},
			state("menus", "risk", map[string]any{"type": "static_select", "selected_option": option("High", "high")}),
		},
		{
			"users select", "select", `"action":"who","value":"U0CAROL001"`,
			map[string]any{"type": "users_select", "block_id": "menus", "action_id": "who", "selected_user": "U0CAROL001"},
			state("menus", "who", map[string]any{"type": "users_select", "selected_user": "U0CAROL001"}),
		},
		{
			"multi users select", "select", `"action":"reviewers","value":["U0CAROL001","U0BOB00001"]`,
			map[string]any{
				"type": "multi_users_select", "block_id": "people", "action_id": "reviewers",
				"selected_users": []any{"U0CAROL001", "U0BOB00001"}, "initial_users": []any{"U0BOB00001"},
			},
			state("people", "reviewers", map[string]any{"type": "multi_users_select", "selected_users": []any{"U0CAROL001", "U0BOB00001"}}),
		},
		{
			"date", "select", `"action":"when","value":"2027-01-15"`,
			map[string]any{"type": "datepicker", "block_id": "menus", "action_id": "when", "selected_date": "2027-01-15", "initial_date": "2026-12-31"},
			state("menus", "when", map[string]any{"type": "datepicker", "selected_date": "2027-01-15"}),
		},
		{
			"button after a choice", "click", `"action":"go","values":{"menus/who":"U0CAROL001"}`,
			map[string]any{
				"type": "button", "block_id": "menus", "action_id": "go", "value": "v",
				"text": map[string]any{"type": "plain_text", "text": "Go", "emoji": true},
			},
			state("menus", "who", map[string]any{"type": "users_select", "selected_user": "U0CAROL001"}),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer := act(t, srv, c.what, fmt.Sprintf(`{"as":"alice","channel":%q,"ts":%q,%s}`, m.Channel, m.TS, c.rest))
			if answer["acked"] != true {
				t.Fatalf("%v", answer)
			}
			deliveries := sim.Deliveries()
			var got struct {
				Type      string
				Container map[string]any
				Actions   []map[string]any
				State     map[string]any
			}
			if err := json.Unmarshal(deliveries[len(deliveries)-1].Payload, &got); err != nil || len(got.Actions) != 1 {
				t.Fatalf("%d actions, %v", len(got.Actions), err)
			}
			if got.Actions[0]["action_ts"] == "" || got.Container["message_ts"] != m.TS || got.Type != "block_actions" {
				t.Errorf("%+v", got)
			}
			delete(got.Actions[0], "action_ts")
			if diff := cmp.Diff(c.action, got.Actions[0]); diff != "" {
				t.Errorf("action (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(c.state, got.State); diff != "" {
				t.Errorf("state (-want +got)\n%s", diff)
			}
		})
	}
	sim.Delete(m.Channel, m.TS)
	if _, err := sim.Person("alice").Select(t.Context(), m, "risk", "low"); !errors.Is(err, slacksim.ErrRefused) {
		t.Errorf("select on a message that is gone: %v", err)
	}
}

func TestSelectInAView(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	listen(t, sim, api, ack)
	card := post(t, sim, api, sim.Channel("general").ID)
	alice := sim.Person("alice")
	d, err := alice.Click(t.Context(), card, "approve")
	if err != nil {
		t.Fatal(err)
	}
	plain := func(s string) *slack.TextBlockObject {
		return slack.NewTextBlockObject(slack.PlainTextType, s, false, false)
	}
	request := modal("first")
	choose := slack.NewInputBlock("risk", plain("Risk"), nil, slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, nil, "risk",
		slack.NewOptionBlockObject("low", plain("Low"), nil)))
	choose.DispatchAction = true
	request.Blocks.BlockSet = append(request.Blocks.BlockSet, choose)
	v, err := api.OpenViewContext(t.Context(), d.TriggerID, request)
	if err != nil {
		t.Fatal(err)
	}
	act(t, srv, "select", fmt.Sprintf(`{"as":"alice","view":%q,"action":"risk","value":"low","values":{"reason/text":"typed"}}`, v.ID))
	deliveries := sim.Deliveries()
	var got struct {
		Container, State map[string]any
		Actions          []map[string]any
		View             struct {
			State struct {
				Values map[string]map[string]map[string]any
			}
		}
	}
	if err := json.Unmarshal(deliveries[len(deliveries)-1].Payload, &got); err != nil {
		t.Fatal(err)
	}
	chosen, _ := got.Actions[0]["selected_option"].(map[string]any)
	state := got.View.State.Values
	if got.Container["view_id"] != v.ID || got.State != nil || chosen["value"] != "low" || state["reason"]["text"]["value"] != "typed" || state["risk"]["risk"]["selected_option"] == nil {
		t.Errorf("%+v", got)
	}
	// What Slack's client holds back is no bad request: the modal says what is wrong.
	answer := act(t, srv, "submit", fmt.Sprintf(`{"as":"alice","view":%q,"values":{"text":"longer than ten"}}`, v.ID))
	if invalid, _ := answer["invalid"].(map[string]any); answer["sent"] != false || len(invalid) != 2 {
		t.Errorf("%v", answer)
	}
}

func TestPageSays(t *testing.T) {
	t.Parallel()
	sim := slacksim.New(slacksim.Options{})
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	act(t, srv, "say", `{"as":"alice","channel":"general","text":"a < b, @bob"}`)
	m := sim.Messages("general")[0]
	if want := "a &lt; b, <@U0BOB00001|bob>"; m.Text != want {
		t.Errorf("text %q, want %q", m.Text, want)
	}
	act(t, srv, "say", fmt.Sprintf(`{"as":"bob","channel":"general","thread_ts":%q,"text":"why?"}`, m.TS))
	if got := sim.Replies("general", m.TS); len(got) != 1 || got[0].Text != "why?" {
		t.Errorf("replies: %+v", got)
	}
	act(t, srv, "say", `{"as":"alice","channel":"U0BOT00001","text":"hello"}`)
	dm := sim.Person("alice").DM().Channel()
	if got := sim.Messages(dm); len(got) != 1 {
		t.Errorf("direct messages: %+v", got)
	}
	quiet := httptest.NewServer(slacksim.New(slacksim.Options{ReadOnlyDM: true}))
	t.Cleanup(quiet.Close)
	if status, _ := ask(t, quiet, http.MethodPost, "/sim/say", "application/json", `{"as":"alice","channel":"U0BOT00001","text":"hello"}`); status != http.StatusNotFound {
		t.Errorf("direct messages that are read only: status %d", status)
	}
}

func TestPageFaults(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{AckTimeout: 50 * time.Millisecond})
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	fault := func(name string, on bool) {
		t.Helper()
		act(t, srv, "faults", fmt.Sprintf(`{"fault":%q,"on":%t}`, name, on))
	}
	on := func() []string {
		t.Helper()
		_, answer := ask(t, srv, http.MethodGet, "/sim/faults", "", "")
		names := []string{}
		for _, f := range answer["faults"].([]any) {
			if f := f.(map[string]any); f["on"] == true {
				names = append(names, f["name"].(string))
			}
		}
		return names
	}
	say := func() error {
		_, _, err := api.PostMessageContext(t.Context(), "C0GENERAL1", slack.MsgOptionText("hello", false))
		return err
	}
	are := func(want ...string) {
		t.Helper()
		if diff := cmp.Diff(append([]string{}, want...), on()); diff != "" {
			t.Errorf("faults that are on (-want +got)\n%s", diff)
		}
	}

	fault("rate_limit", true)
	fault("rate_limit", true)
	are("rate_limit")
	var limited *slack.RateLimitedError
	if err := say(); !errors.As(err, &limited) || limited.RetryAfter != 3*time.Second {
		t.Errorf("rate limit: %v", err)
	}
	are()
	if err := say(); err != nil {
		t.Errorf("after the rate limit: %v", err)
	}

	fault("lost_post", true)
	if err := say(); err == nil || len(sim.Messages("general")) != 2 {
		t.Errorf("lost post: %v, %d messages", err, len(sim.Messages("general")))
	}
	are()

	fault("down", true)
	for range 2 {
		var status slack.StatusCodeError
		if err := say(); !errors.As(err, &status) || status.Code != http.StatusServiceUnavailable {
			t.Errorf("down: %v", err)
		}
	}
	sim.Inject(slacksim.Fault{Method: "chat.update", Error: "fatal_error"})
	fault("down", false)
	are()
	if _, _, _, err := api.UpdateMessageContext(t.Context(), "C0GENERAL1", "1.1", slack.MsgOptionText("x", false)); !isError(err, "fatal_error") {
		t.Errorf("a test's own fault is gone with the page's: %v", err)
	}

	listen(t, sim, api, ack)
	card := post(t, sim, api, "C0GENERAL1")
	fault("lost_click", true)
	are("lost_click")
	click := fmt.Sprintf(`{"as":"bob","channel":%q,"ts":%q,"action":"approve"}`, card.Channel, card.TS)
	if answer := act(t, srv, "click", click); answer["acked"] != false || answer["error"] != slacksim.OperationTimeout {
		t.Errorf("lost click: %v", answer)
	}
	if answer := act(t, srv, "click", click); answer["acked"] != true {
		t.Errorf("second click: %v", answer)
	}
	fault("lost_click", true)
	fault("lost_click", false)
	are()

	for _, name := range []string{"drop_sockets", "refresh_socket"} {
		before := sim.State().Connected
		fault(name, true)
		if err := sim.Wait(t.Context(), func(st slacksim.State) bool { return st.Connected > before }); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}

	fault("down", true)
	fault("rate_limit", true)
	fault("lost_click", true)
	if status, _ := ask(t, srv, http.MethodDelete, "/sim/faults", "", ""); status != http.StatusOK {
		t.Errorf("clear: status %d", status)
	}
	are()
	if err := say(); err != nil {
		t.Errorf("after clearing: %v", err)
	}
}

// logged returns the lines of the page's log.
func logged(t *testing.T, srv *httptest.Server) []map[string]any {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/sim/events?as=alice", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	events := bufio.NewScanner(response.Body)
	events.Buffer(nil, 16<<20)
	for name := ""; events.Scan(); {
		if rest, ok := strings.CutPrefix(events.Text(), "event: "); ok {
			name = rest
		}
		if data, ok := strings.CutPrefix(events.Text(), "data: "); ok && name == "log" {
			var log struct{ Lines []map[string]any }
			if err := json.Unmarshal([]byte(data), &log); err != nil {
				t.Fatal(err)
			}
			return log.Lines
		}
	}
	t.Fatal("no log")
	return nil
}

func TestLogTracesWorkflows(t *testing.T) {
	t.Parallel()
	link := func(id string) slacksim.Link { return slacksim.Link{Text: id, URL: "http://temporal/" + id} }
	sim, api := start(t, slacksim.Options{Trace: func(c slacksim.Clue) slacksim.Link {
		if c.Command != "" {
			return link("wf-" + c.TriggerID)
		}
		for _, v := range c.Values {
			if id, ok := strings.CutPrefix(v, "ref-"); ok {
				return link(id)
			}
		}
		return slacksim.Link{}
	}})
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	listen(t, sim, api, func(client *socketmode.Client, e socketmode.Event) {
		switch data := e.Data.(type) {
		case slack.SlashCommand:
			if data.Text == "help" {
				break
			}
			_, _, err := api.PostMessageContext(t.Context(), data.ChannelID, slack.MsgOptionText("Asked", false),
				slack.MsgOptionBlocks(buttons("wf-"+data.TriggerID)))
			if err != nil {
				t.Error(err)
			}
		case slack.InteractionCallback:
			view := modal("why")
			view.PrivateMetadata = `{"reference":"` + data.ActionCallback.BlockActions[0].Value + `"}`
			if _, err := api.OpenViewContext(t.Context(), data.TriggerID, view); err != nil {
				t.Error(err)
			}
			if err := slack.PostWebhookContext(t.Context(), data.ResponseURL, &slack.WebhookMessage{Text: "in private"}); err != nil {
				t.Error(err)
			}
			at := data.Container
			if _, _, _, err := api.UpdateMessageContext(t.Context(), at.ChannelID, at.MessageTs, slack.MsgOptionText("Closed", false)); err != nil {
				t.Error(err)
			}
			if _, _, err := api.PostMessageContext(t.Context(), at.ChannelID, slack.MsgOptionText("Told", false), slack.MsgOptionTS(at.MessageTs)); err != nil {
				t.Error(err)
			}
			if _, err := api.GetUserInfoContext(t.Context(), "U0BOB00001"); err != nil {
				t.Error(err)
			}
		}
		ack(client, e)
	})
	alice := sim.Person("alice").In("general")
	for _, line := range []string{"/greet help", "/greet World"} {
		if d, err := alice.Command(t.Context(), line); err != nil || !d.Acked {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	asked := sim.Messages("general")[0]
	button := asked.Buttons()[0]
	id := strings.TrimPrefix(button.Value, "ref-")
	if d, err := sim.Person("bob").Press(t.Context(), asked, button); err != nil || !d.Acked {
		t.Fatalf("%+v, %v", d, err)
	}
	fault := func(name string) { act(t, srv, "faults", `{"fault":"`+name+`"}`) }
	fault("down")
	if err := slack.PostWebhookContext(t.Context(), srv.URL+"/response/none", &slack.WebhookMessage{Text: "x"}); err == nil {
		t.Error("a response URL while Slack is down")
	}

	type line struct{ Kind, Text, What, Link, Met string }
	var got []line
	text := func(v any) string { s, _ := v.(string); return s }
	for _, l := range logged(t, srv) {
		if l["text"] == "apps.connections.open" {
			continue
		}
		of, _ := l["link"].(map[string]any)
		got = append(got, line{text(l["kind"]), text(l["text"]), text(l["what"]), text(of["text"]), text(l["met"])})
		if l["kind"] != "note" && l["done"] != true {
			t.Errorf("not done: %v", l)
		}
	}
	want := []line{
		{"note", "Socket 1 is open", "", "", ""},
		{"delivery", "slash_command", "/greet help", "", ""}, // nothing else has its workflow: it started none
		{"delivery", "slash_command", "/greet World", id, ""},
		{"call", "chat.postMessage", "", id, ""},
		{"delivery", "block_actions", strings.ToUpper(id), id, ""},
		{"call", "views.open", "", id, ""},
		{"call", "response_url", "", id, ""},
		{"call", "chat.update", "", id, ""},
		{"call", "chat.postMessage", "", id, ""},
		{"call", "users.info", "", "", ""},
		{"note", "Fault on: Slack is down", "", "", ""},
		{"call", "response_url", "", "", "Slack is down"},
	}
	want[4].What = button.Text
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("log (-want +got)\n%s", diff)
	}
}

func TestPageFiles(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(slacksim.New(slacksim.Options{}))
	t.Cleanup(srv.Close)
	fetch := func(path, etag string) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if etag != "" {
			r.Header.Set("If-None-Match", etag)
		}
		response, err := srv.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response, string(body)
	}
	files, err := os.ReadDir("page")
	if err != nil {
		t.Fatal(err)
	}
	paths := map[string]string{"/": "text/html; charset=utf-8"}
	kinds := map[string]string{
		".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
	}
	for _, f := range files {
		paths["/page/"+f.Name()] = kinds[filepath.Ext(f.Name())]
	}
	elsewhere := regexp.MustCompile(`(?:src|href|from|url\()\s*[=(]?\s*["']?(?:https?:)?//`)
	for path, kind := range paths {
		r, body := fetch(path, "")
		policy := r.Header.Get("Content-Security-Policy")
		if r.StatusCode != http.StatusOK || kind == "" || r.Header.Get("Content-Type") != kind {
			t.Errorf("%s: %s, %s", path, r.Status, r.Header.Get("Content-Type"))
		}
		if !strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %s", path, policy)
		}
		for _, no := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "<style", " style="} {
			if strings.Contains(body, no) {
				t.Errorf("%s has %s", path, no)
			}
		}
		if found := elsewhere.FindString(body); found != "" {
			t.Errorf("%s loads from elsewhere: %s", path, found)
		}
		if again, body := fetch(path, r.Header.Get("ETag")); again.StatusCode != http.StatusNotModified || body != "" || r.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: asked again, %s", path, again.Status)
		}
	}
	for _, path := range []string{"/page/none.js", "/page/..%2fpage.go", "/page/"} {
		if r, _ := fetch(path, ""); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, r.Status)
		}
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
