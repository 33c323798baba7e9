package bot

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	workflowpb "go.temporal.io/api/workflow/v1"

	"countersign/internal/card"
	"countersign/internal/reference"
	"countersign/workflows"
)

// fuzzKey is the same in all processes of a fuzz test: what one seals the others open.
var fuzzKey = base64.StdEncoding.EncodeToString([]byte("a key that everybody may know 32"))

// fuzzed returns the keys, and a reference to the one open activity, which bob may decide, and the guest.
func fuzzed(t testing.TB) (*reference.Keys, string) {
	t.Helper()
	keys, err := reference.ParseKeys(fuzzKey)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := keys.Seal(reference.Reference{
		Namespace: "default", WorkflowID: "greet-1", RunID: "run-1", ActivityID: openActivity,
		Requester: request.Requester, Users: request.Approvers.Users, Digest: request.Digest(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys, sealed
}

// fuzzBot returns a bot with the keys of fuzzed, and its fakes. The open activity is that of "Mine", which is listed.
func fuzzBot(t *testing.T) (*Bot, *fakeSlack, *fakeTemporal) {
	t.Helper()
	mine := entry("Mine", func(l *workflows.Listed) { l.Round.ExpiresAt = time.Now().Add(time.Hour) })
	s, f := newSlack(), &fakeTemporal{listsItsOwn: true, updated: mine}
	f.running = []*workflowpb.WorkflowExecutionInfo{running(t, "greet-1", mine)}
	b, _ := newBot(t, s, f, nil)
	b.Keys, _ = fuzzed(t)
	return b, s, f
}

// holdsReference reports whether a string in the JSON is a reference that the keys open, or is JSON with such a one in it.
func holdsReference(keys *reference.Keys, text string) bool {
	tokens := json.NewDecoder(strings.NewReader(text))
	for {
		switch token, err := tokens.Token(); s := token.(type) {
		case string:
			if _, err := keys.Open(s); err == nil || s != text && strings.HasPrefix(strings.TrimSpace(s), "{") && holdsReference(keys, s) {
				return true
			}
		default:
			if err != nil {
				return false
			}
		}
	}
}

// checkEffects checks what came to Temporal of an interaction's payload: a decision or a change only where a reference
// in it was opened, by whom it names and only once, and a start only from the form that asks.
func checkEffects(t *testing.T, b *Bot, f *fakeTemporal, payload string) {
	t.Helper()
	if len(f.completions)+len(f.changes) > 0 && !holdsReference(b.Keys, payload) {
		t.Errorf("%v and %v came to Temporal without a reference", f.completions, f.changes)
	}
	if len(f.completions) > 1 || len(f.changes) > 1 || len(f.started) > 1 {
		t.Errorf("%d decisions, %d changes and %d starts came of one delivery", len(f.completions), len(f.changes), len(f.started))
	}
	for _, c := range f.completions {
		if d, ok := c.result.(workflows.Decision); ok && (!slices.Contains(request.Approvers.Users, d.By.ID) || d.By.Team != team) {
			t.Errorf("%+v has decided", d.By)
		}
	}
	if len(f.started) > 0 && !strings.Contains(payload, card.CallbackRequest) {
		t.Errorf("%+v was started", f.inputs)
	}
}

// checkReply checks that Slack can take what it and the person are told.
func checkReply(t *testing.T, s *fakeSlack, r reply) {
	t.Helper()
	body, err := json.Marshal(r.body)
	// https://pkg.go.dev/github.com/slack-go/slack/socketmode
	if err != nil || len(body) >= 20_000 {
		t.Errorf("the reply has %d bytes, %v", len(body), err)
	}
	for _, text := range append(slices.Clone(s.said), answered(r)) {
		// https://docs.slack.dev/reference/methods/chat.postMessage#truncating
		if utf8.RuneCountInString(text) > 40_000 || !utf8.ValidString(text) {
			t.Errorf("Slack is told %d characters: %.100q", utf8.RuneCountInString(text), text)
		}
	}
	for _, v := range s.modals {
		// https://docs.slack.dev/reference/views/modal-views
		if len(v.PrivateMetadata) > 3000 || len(v.Blocks.BlockSet) == 0 || len(v.Blocks.BlockSet) > 100 {
			t.Errorf("a modal with %d characters of metadata and %d blocks", len(v.PrivateMetadata), len(v.Blocks.BlockSet))
		}
	}
}

func form(t testing.TB, payload any) []byte {
	t.Helper()
	return []byte(url.Values{"payload": {encoded(t, payload)}}.Encode())
}

func encoded(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// interactions are payloads as Slack sends them, of all that can be clicked and submitted.
func interactions(t testing.TB, sealed string) (all []any) {
	t.Helper()
	elsewhere := bob // somebody with his ID
	elsewhere.Team = external.Team
	for _, who := range []workflows.Person{bob, alice, carol, guest, external, elsewhere} {
		all = append(all, clicked(who, card.ActionApprove, sealed), clicked(who, card.ActionReject, sealed))
	}
	keep := modal{Reference: sealed, Channel: at.Channel, TS: at.TS, Action: card.ActionReject}
	submit := func(who workflows.Person, callback string, m modal, state map[string]any) {
		values := make(map[string]any)
		for block, v := range state {
			values[block] = map[string]any{block: v}
		}
		all = append(all, map[string]any{
			"type": "view_submission", "trigger_id": "4.5.6",
			"user": map[string]any{"id": who.ID, "name": who.Name, "team_id": who.Team},
			"view": map[string]any{
				"id": "V0VIEW0001", "callback_id": callback, "private_metadata": encoded(t, m),
				"state": map[string]any{"values": values},
			},
		})
	}
	text := func(s string) map[string]any { return map[string]any{"type": "plain_text_input", "value": s} }
	submit(bob, card.CallbackDecision, keep, map[string]any{card.BlockComment: text("not now")})
	submit(bob, card.CallbackDelegate, keep, map[string]any{card.BlockPerson: map[string]any{"type": "users_select", "selected_user": carol.ID}})
	submit(alice, card.CallbackExtend, keep, map[string]any{card.BlockLonger: text("2h")})
	submit(alice, card.CallbackChange, keep, nil)
	submit(alice, card.CallbackRequest, modal{Channel: at.Channel, Trigger: "1.2.3"}, map[string]any{
		card.BlockTitle: text("Deploy <!channel>"), card.BlockText: text("*now*"), card.BlockRequired: text("1"),
		card.BlockApprovers: map[string]any{"type": "multi_users_select", "selected_users": []string{bob.ID}},
		card.BlockDeadline:  map[string]any{"type": "static_select", "selected_option": map[string]any{"value": "24h"}},
	})
	menu := clicked(alice, card.ActionMore, "")
	menu["message"] = map[string]any{"blocks": []any{map[string]any{
		"block_id": card.BlockDecision + "-1", "elements": []any{map[string]any{"action_id": card.ActionReject, "value": sealed}},
	}}}
	menu["actions"] = []any{map[string]any{
		"action_id": card.ActionMore, "block_id": card.BlockDecision + "-1", "selected_option": map[string]any{"value": "withdraw"},
	}}
	home := clicked(bob, card.ActionApprove, sealed)
	home["container"] = map[string]any{"type": "view", "view_id": "V0VIEW0001"}
	return append(all, menu, home,
		clicked(bob, "approve_5", sealed), clicked(bob, card.ActionApprove, sealed[:len(sealed)-1]), clicked(bob, card.ActionApprove, "v2.x.y"),
		map[string]any{"type": "view_closed", "user": map[string]any{"id": bob.ID}, "view": map[string]any{"callback_id": card.CallbackDecision}},
		map[string]any{"type": "block_actions", "user": map[string]any{"id": bob.ID}, "actions": nil},
	)
}

// Whatever Slack signs: the answer is one of those that the door has, and nothing comes to Temporal that was not sealed,
// or asked for by a command.
func FuzzHTTPBody(f *testing.F) {
	_, sealed := fuzzed(f)
	for _, payload := range interactions(f, sealed) {
		f.Add(formType, form(f, payload))
		f.Add(jsonType, []byte(encoded(f, payload)))
	}
	command := func(text string) []byte {
		v := make(url.Values)
		for name, value := range typed(bob, text) {
			v.Set(name, value)
		}
		return []byte(v.Encode())
	}
	f.Add(formType+"; charset=utf-8", command("list"))
	f.Add(formType, append(command("help"), "&text=list"...))
	f.Add(formType, []byte(strings.Replace(string(command("World")), "%2Fapproval", "%2Fgreet", 1)))
	f.Add(formType, []byte("ssl_check=1&token=x"))
	f.Add(jsonType, []byte(`{"type":"url_verification","challenge":"3eZbrw1aB","token":"x"}`))
	f.Add(jsonType, []byte(`{"type":"event_callback","event":{"type":"app_home_opened","tab":"home","user":"`+bob.ID+`"}}`))
	f.Add("text/plain", []byte("x"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		b, _, temporal := fuzzBot(t)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, EventsPath, strings.NewReader(string(body)))
		r.Header.Set("Content-Type", contentType)
		sign(r, string(body), time.Now(), secret)
		w, d := httptest.NewRecorder(), newDoor(b, secret)
		d.ServeHTTP(w, r)
		d.inHand.Wait()

		if known := []int{200, 400, 413, 415, 503}; !slices.Contains(known, w.Code) {
			t.Errorf("answered %d", w.Code)
		}
		if answer := w.Result(); w.Body.Len() > 0 && answer.Header.Get("Content-Type") == jsonType && !json.Valid(w.Body.Bytes()) {
			t.Errorf("answered %q, which is no JSON", w.Body)
		}
		form, err := url.ParseQuery(string(body))
		k, payload, no := unwrap(formType, body)
		if no == nil && k == slashCommand {
			if len(temporal.completions) > 0 || len(temporal.started) > 1 {
				t.Errorf("a command has decided %v, and started %v", temporal.completions, temporal.started)
			}
			if c := form.Get("command"); len(temporal.started) > 0 && c != CommandGreet || len(temporal.changes) > 0 && c != CommandApproval {
				t.Errorf("the command %q has started %v, and changed %v", c, temporal.started, temporal.changes)
			}
			return
		}
		if err != nil || no != nil {
			payload = nil
		}
		checkEffects(t, b, temporal, string(payload))
	})
}

func FuzzInteraction(f *testing.F) {
	_, sealed := fuzzed(f)
	for _, payload := range interactions(f, sealed) {
		f.Add([]byte(encoded(f, payload)))
	}
	f.Add([]byte(`{"type":"block_actions","user":{"id":"U0BOB00001"},"actions":[{"block_id":"decision-1","action_id":"more"}],"message":[]}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		b, s, temporal := fuzzBot(t)
		r := b.handle(t.Context(), interactive, payload)
		before := len(temporal.completions) + len(temporal.changes) + len(temporal.started)
		if r.then != nil {
			r.then(context.WithoutCancel(t.Context()))
		}
		if after := len(temporal.completions) + len(temporal.changes) + len(temporal.started); after != before {
			t.Error("what is done after the reply came to Temporal")
		}
		checkEffects(t, b, temporal, string(payload))
		checkReply(t, s, r)
		if len(temporal.completions) > 0 && !r.ack {
			t.Error("a decision that was recorded was not acknowledged")
		}
	})
}

// special is everything in mrkdwn that Slack makes something of: people, channels, groups, broadcasts, dates, links.
var special = regexp.MustCompile(`<[^<>]*>?`)

func FuzzSlashText(f *testing.F) {
	for _, text := range []string{
		"World", "“the World”", "<@" + carol.ID + "|carol>", "<!channel>", "&lt;!channel&gt;", "&amp;lt;!here&amp;gt;", "<https://evil.example|bank>", "https://evil.example",
		"help", "list", "show greet-1", "show `<!channel>`", "show <https://evil.example|bank>", "show &lt;@U0EVE00001|x&gt;", "show a`b", "show a`*b*`c", "withdraw greet-1", "extend greet-1 2 h",
		"extend greet-1 <!channel>", "delegate greet-1 <@" + carol.ID + "|carol>", "delegate greet-1 <!subteam^S0SRE00001|sre>", "show " + strings.Repeat("&lt;", 400), "",
	} {
		f.Add(true, text)
		f.Add(false, text)
	}
	f.Fuzz(func(t *testing.T, greets bool, text string) {
		b, s, temporal := fuzzBot(t)
		asks := typed(alice, text)
		if greets {
			asks["command"] = CommandGreet
		}
		r := b.handle(t.Context(), slashCommand, []byte(encoded(t, asks)))
		if r.then != nil {
			r.then(context.WithoutCancel(t.Context()))
		}
		if !r.ack {
			t.Error("the command was not acknowledged")
		}
		if len(temporal.started) > 1 || len(temporal.started) == 1 && !greets || len(temporal.completions) > 0 || len(temporal.changes) > 1 || len(temporal.changes) == 1 && greets {
			t.Errorf("%v was started, %v decided, %v changed", temporal.started, temporal.completions, temporal.changes)
		}
		for _, in := range temporal.inputs {
			name := in.(workflows.GreetingInput).Name
			if n := utf8.RuneCountInString(name); n == 0 || n > nameLimit || !utf8.ValidString(name) || strings.ContainsAny(name, "\n\r\x00") {
				t.Errorf("%q is to be greeted", name)
			}
		}
		checkReply(t, s, r)
		told := answered(r)
		if n := utf8.RuneCountInString(told); n > 4000 { // https://docs.slack.dev/reference/methods/chat.postMessage#truncating
			t.Errorf("the answer has %d characters", n)
		}
		// People who are concerned may be named, and times: nothing else that the text says becomes markup.
		for n, part := range strings.Split(told, "`") {
			if n%2 == 0 && strings.Contains(part, "://") {
				t.Errorf("the answer has a link: %q", told)
			}
		}
		if strings.HasPrefix(told, "There is no request") && !quotes.MatchString(told) {
			t.Errorf("what the answer quotes breaks out: %q", told)
		}
		for _, m := range special.FindAllString(told, -1) {
			if !somebody.MatchString(m) && !strings.HasPrefix(m, "<!date^") {
				t.Errorf("the answer has %q: %q", m, told)
			}
		}
	})
}

// quotes is the answer that quotes the text.
var quotes = regexp.MustCompile("^There is no request `[^`\n]*` that concerns you\\. `/approval list` shows those that do\\.$")

// somebody is a person, shown to the one who asks alone, whom nobody tells of it.
var somebody = regexp.MustCompile(`^<@[UW][A-Z0-9]{1,20}>$`)
