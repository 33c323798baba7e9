package slackapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/slack-go/slack"

	"countersign/internal/slacksim"
	"countersign/workflows"
)

const general = "C0GENERAL1"

// start serves a workspace and returns it with a client.
func start(t *testing.T) (*slacksim.Server, *Client) {
	t.Helper()
	sim := slacksim.New(slacksim.Options{})
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	t.Cleanup(sim.Close)
	return sim, connect(t, srv.URL, Timeout)
}

func connect(t *testing.T, url string, timeout time.Duration) *Client {
	t.Helper()
	web := &http.Client{Timeout: timeout}
	c, err := Connect(t.Context(), slack.New(slacksim.DefaultBotToken, slack.OptionAPIURL(url+"/api/"), slack.OptionHTTPClient(web)), web)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// canned answers auth.test and bots.info as Slack does, and everything else with one answer.
func canned(t *testing.T, answer http.HandlerFunc) *Client {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/api/auth.test", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"ok":true,"team_id":%q,"user_id":%q,"bot_id":%q}`, slacksim.TeamID, slacksim.BotUserID, slacksim.BotID)
	})
	mux.HandleFunc("/api/bots.info", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"ok":true,"bot":{"id":%q,"app_id":%q}}`, slacksim.BotID, slacksim.AppID)
	})
	mux.HandleFunc("/", answer)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return connect(t, srv.URL, Timeout)
}

func message(key string) Message { return Message{Channel: general, Text: "Hello", Key: key} }

// block holds names and texts of others.
func block(text string) []slack.Block {
	return []slack.Block{slack.NewSectionBlock(slack.NewTextBlockObject(slack.PlainTextType, text, false, false), nil, nil)}
}

func TestConnect(t *testing.T) {
	t.Parallel()
	t.Run("who the app is", func(t *testing.T) {
		t.Parallel()
		_, c := start(t)
		want := Self{Team: slacksim.TeamID, UserID: slacksim.BotUserID, BotID: slacksim.BotID, AppID: slacksim.AppID}
		if c.Self() != want {
			t.Errorf("Self = %+v, want %+v", c.Self(), want)
		}
	})
	t.Run("the app may not look itself up", func(t *testing.T) {
		t.Parallel()
		sim := slacksim.New(slacksim.Options{})
		sim.SetScopes("chat:write")
		srv := httptest.NewServer(sim)
		defer srv.Close()
		if c := connect(t, srv.URL, Timeout); c.Self().AppID != "" || c.Self().BotID != slacksim.BotID {
			t.Errorf("Self = %+v, want all but the app's ID", c.Self())
		}
	})
	t.Run("token is refused", func(t *testing.T) {
		t.Parallel()
		sim := slacksim.New(slacksim.Options{})
		srv := httptest.NewServer(sim)
		defer srv.Close()
		_, err := Connect(t.Context(), slack.New("xoxb-wrong", slack.OptionAPIURL(srv.URL+"/api/")), srv.Client())
		if e := AsUnauthorized(err); e == nil || e.Code != "invalid_auth" {
			t.Errorf("Connect: %v, want invalid_auth, of kind Unauthorized", err)
		}
	})
}

// While Slack does not take the token nothing is posted or changed; a check finds out when it does again.
func TestTokenRevoked(t *testing.T) {
	t.Parallel()
	sim, c := start(t)
	at, err := c.Post(t.Context(), message("k"))
	if err != nil {
		t.Fatal(err)
	}
	sim.Inject(slacksim.Fault{Error: "token_revoked"})
	_, err = c.Post(t.Context(), message("l"))
	checkError(t, err, "chat.postMessage", Unauthorized, "token_revoked", 0)
	sim.ClearFaults()

	calls := len(sim.State().Calls)
	_, err = c.Post(t.Context(), message("l"))
	checkError(t, err, "chat.postMessage", Unauthorized, "token_revoked", 0)
	err = c.Update(t.Context(), at, "changed", nil)
	checkError(t, err, "chat.postMessage", Unauthorized, "token_revoked", 0)
	if n := len(sim.State().Calls); n != calls {
		t.Errorf("%d calls with a token that Slack does not take, want none", n-calls)
	}

	if err := c.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Post(t.Context(), message("l")); err != nil {
		t.Errorf("once Slack takes the token again: %v", err)
	}
	sim.Inject(slacksim.Fault{Method: "auth.test", Error: "account_inactive"})
	checkError(t, c.Check(t.Context()), "auth.test", Unauthorized, "account_inactive", 0)
	_, err = c.Post(t.Context(), message("m"))
	checkError(t, err, "auth.test", Unauthorized, "account_inactive", 0)
}

func TestErrorKinds(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault  slacksim.Fault
		scopes []string
		post   Message
		kind   Kind
		code   string
		after  time.Duration
		log    string // that the error's text has
	}{
		"429":                      {fault: slacksim.Fault{Status: 429, RetryAfter: 7 * time.Second}, kind: Limited, after: 7 * time.Second},
		"ok:false ratelimited":     {fault: slacksim.Fault{Error: "ratelimited"}, kind: Limited, code: "ratelimited", after: time.Minute},
		"too many messages":        {fault: slacksim.Fault{Error: "message_limit_exceeded"}, kind: Limited, code: "message_limit_exceeded", after: time.Minute},
		"500":                      {fault: slacksim.Fault{Status: 500}, kind: Failed},
		"503":                      {fault: slacksim.Fault{Status: 503}, kind: Failed},
		"404 of something between": {fault: slacksim.Fault{Status: 404}, kind: Failed},
		"connection cut":           {fault: slacksim.Fault{Cut: true}, kind: Failed},
		"internal_error":           {fault: slacksim.Fault{Error: "internal_error"}, kind: Failed, code: "internal_error"},
		"fatal_error":              {fault: slacksim.Fault{Error: "fatal_error"}, kind: Failed, code: "fatal_error"},
		"service_unavailable":      {fault: slacksim.Fault{Error: "service_unavailable"}, kind: Failed, code: "service_unavailable"},
		"a code of the future":     {fault: slacksim.Fault{Error: "moon_phase"}, kind: Refused, code: "moon_phase", log: "moon_phase"},
		"token revoked":            {fault: slacksim.Fault{Error: "token_revoked"}, kind: Unauthorized, code: "token_revoked"},
		"unknown channel":          {post: Message{Channel: "C0NOWHERE1", Text: "x"}, kind: Refused, code: "channel_not_found"},
		"not in the channel":       {post: Message{Channel: "C0RANDOM01", Text: "x"}, kind: Refused, code: "not_in_channel"},
		"scope is missing":         {scopes: []string{"commands"}, kind: Refused, code: "missing_scope", log: "chat:write"},
		"blocks are refused": {
			post: Message{Channel: general, Text: "x", Blocks: block(strings.Repeat("x", 3001))}, kind: Refused, code: "invalid_blocks", log: "[json-pointer:/blocks/0/text/text]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim, c := start(t)
			if tc.fault != (slacksim.Fault{}) {
				tc.fault.Method = "chat.postMessage"
				sim.Inject(tc.fault)
			}
			if tc.scopes != nil {
				sim.SetScopes(tc.scopes...)
			}
			if tc.post.Channel == "" {
				tc.post = message("k")
			}
			_, err := c.Post(t.Context(), tc.post)
			checkError(t, err, "chat.postMessage", tc.kind, tc.code, tc.after)
			if err != nil && !strings.Contains(err.Error(), tc.log) {
				t.Errorf("the error %q does not name %q", err, tc.log)
			}
		})
	}
	t.Run("429 without Retry-After", func(t *testing.T) {
		t.Parallel()
		c := canned(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) })
		_, err := c.Post(t.Context(), message("k"))
		checkError(t, err, "chat.postMessage", Limited, "", time.Minute)
	})
	t.Run("a page instead of JSON", func(t *testing.T) {
		t.Parallel()
		c := canned(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>maintenance</html>") })
		_, err := c.Post(t.Context(), message("k"))
		checkError(t, err, "chat.postMessage", Failed, "", 0)
	})
	t.Run("no answer", func(t *testing.T) {
		t.Parallel()
		sim := slacksim.New(slacksim.Options{})
		srv := httptest.NewServer(sim)
		t.Cleanup(srv.Close)
		t.Cleanup(sim.Close)
		c := connect(t, srv.URL, 250*time.Millisecond)
		sim.Inject(slacksim.Fault{Method: "chat.postMessage", Hang: true})
		_, err := c.Post(t.Context(), message("k"))
		checkError(t, err, "chat.postMessage", Failed, "", 0)
		if strings.Contains(err.Error(), "http") {
			t.Errorf("the error %q has the address", err)
		}
	})
	t.Run("the caller gives up", func(t *testing.T) {
		t.Parallel()
		_, c := start(t)
		ctx, stop := context.WithCancel(t.Context())
		stop()
		_, err := c.Post(ctx, message("k"))
		checkError(t, err, "chat.postMessage", Failed, "", 0)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v is not context.Canceled", err)
		}
	})
	t.Run("no error", func(t *testing.T) {
		t.Parallel()
		if err := classify("x", nil); err != nil {
			t.Errorf("classify(nil) = %v", err)
		}
	})
}

func checkError(t *testing.T, err error, method string, kind Kind, code string, after time.Duration) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no *Error", err)
	}
	if e.Method != method || e.Kind != kind || e.Code != code || e.RetryAfter != after {
		t.Errorf("%v: method %s, kind %d, code %q, after %v; want %s, %d, %q, %v", err, e.Method, e.Kind, e.Code, e.RetryAfter, method, kind, code, after)
	}
	if (AsRefused(fmt.Errorf("post: %w", err)) != nil) != (kind == Refused) {
		t.Errorf("AsRefused(%v) does not fit its kind", err)
	}
	if strings.Contains(err.Error(), slacksim.DefaultBotToken) {
		t.Errorf("the error %q has the token", err)
	}
	if e.Sentence() == "" || strings.Contains(e.Sentence(), "slack-go") {
		t.Errorf("a person is told %q", e.Sentence())
	}
}

func TestSentence(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err  Error
		want string
	}{
		"known":   {Error{Kind: Refused, Code: "not_in_channel"}, "I am not in that channel. Invite me there and ask again."},
		"unknown": {Error{Kind: Refused, Code: "moon_phase"}, "Slack refused the message (moon_phase)."},
		"no code": {Error{Kind: Failed}, "Slack could not be reached."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := tc.err.Sentence(); got != tc.want {
				t.Errorf("Sentence = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestPostAndUpdate(t *testing.T) {
	t.Parallel()
	sim, c := start(t)
	card, err := c.Post(t.Context(), Message{Channel: general, Text: "A card", Blocks: block("A card"), Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	reply, err := c.Post(t.Context(), Message{Channel: general, Thread: card.TS, Text: "A reply", Key: "r"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Update(t.Context(), card, "Closed", block("Closed")); err != nil {
		t.Fatal(err)
	}
	got, _ := sim.Message(card.Channel, card.TS)
	if got.Text != "Closed" || got.PlainText() != "Closed" || got.Edited {
		t.Errorf("the message is %+v", got)
	}
	if got.Metadata == nil || got.Metadata.EventPayload["key"] != "k" {
		t.Errorf("the update lost the metadata: %+v", got.Metadata)
	}
	if got, _ := sim.Message(reply.Channel, reply.TS); got.ThreadTS != card.TS {
		t.Errorf("the reply stands in thread %q, want %q", got.ThreadTS, card.TS)
	}
	for _, arg := range []string{"unfurl_links", "unfurl_media"} {
		if v := sim.Calls("chat.postMessage")[0].Args.String(arg); v != "false" {
			t.Errorf("%s is %q: Slack would fetch what others wrote", arg, v)
		}
	}
	sim.Delete(card.Channel, card.TS)
	if e := AsRefused(c.Update(t.Context(), card, "x", nil)); e == nil || e.Code != "message_not_found" {
		t.Errorf("update of a message that is gone: %v", e)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	sim, c := start(t)
	before := time.Now()
	fill := func(n int, thread string) {
		for i := range n {
			if _, err := c.Post(t.Context(), Message{Channel: general, Thread: thread, Text: "x", Key: fmt.Sprintf("%s filler %d", thread, i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	want, err := c.Post(t.Context(), message("k"))
	if err != nil {
		t.Fatal(err)
	}
	reply, err := c.Post(t.Context(), Message{Channel: general, Thread: want.TS, Text: "x", Key: "reply"})
	if err != nil {
		t.Fatal(err)
	}
	fill(230, "")
	for name, tc := range map[string]struct {
		m     Message
		since time.Time
		card  workflows.Card
		calls map[string]int
	}{
		"beyond two pages":              {message("k"), before, want, map[string]int{"conversations.history": 3}},
		"on the first page":             {message(" filler 229"), before, workflows.Card{}, nil},
		"not there":                     {message("other"), before, workflows.Card{}, map[string]int{"conversations.history": 3}},
		"a reply is not in the channel": {message("reply"), before, workflows.Card{}, nil},
		"in its thread":                 {Message{Channel: general, Thread: want.TS, Key: "reply"}, before, reply, map[string]int{"conversations.replies": 1}},
		"posted later than asked for":   {message("k"), before.Add(time.Hour), workflows.Card{}, map[string]int{"conversations.history": 1}},
		"our clock is a minute ahead":   {message("k"), before.Add(time.Minute), want, nil},
	} {
		t.Run(name, func(t *testing.T) {
			counts := map[string]int{}
			for method := range tc.calls {
				counts[method] = len(sim.Calls(method))
			}
			card, ok, err := c.Find(t.Context(), tc.m, tc.since)
			if err != nil {
				t.Fatal(err)
			}
			if name == "on the first page" {
				if !ok {
					t.Error("not found")
				}
				return
			}
			if card != tc.card || ok != (tc.card != workflows.Card{}) {
				t.Errorf("Find = %+v, %v; want %+v", card, ok, tc.card)
			}
			for method, n := range tc.calls {
				if got := len(sim.Calls(method)) - counts[method]; got != n {
					t.Errorf("%d calls of %s, want %d", got, method, n)
				}
			}
		})
	}
	t.Run("history may not be read", func(t *testing.T) {
		sim.SetScopes("chat:write")
		_, _, err := c.Find(t.Context(), message("k"), before)
		checkError(t, err, "conversations.history", Refused, "missing_scope", 0)
		_, _, err = c.Find(t.Context(), Message{Channel: general, Thread: want.TS}, before)
		checkError(t, err, "conversations.replies", Refused, "missing_scope", 0)
	})
}

// Metadata is no secret: others can write the same.
func TestFindTakesNoOthersMessage(t *testing.T) {
	t.Parallel()
	ours := map[string]any{"event_type": metadataType, "event_payload": map[string]any{"key": "k"}}
	for name, tc := range map[string]struct {
		message map[string]any
		found   bool
	}{
		"ours":                 {map[string]any{"bot_id": slacksim.BotID, "metadata": ours}, true},
		"another app's":        {map[string]any{"bot_id": "B0OTHER001", "metadata": ours}, false},
		"a person's":           {map[string]any{"user": "U0BOB00001", "metadata": ours}, false},
		"ours, another key":    {map[string]any{"bot_id": slacksim.BotID, "metadata": map[string]any{"event_type": metadataType, "event_payload": map[string]any{"key": "other"}}}, false},
		"ours, another event":  {map[string]any{"bot_id": slacksim.BotID, "metadata": map[string]any{"event_type": "other", "event_payload": map[string]any{"key": "k"}}}, false},
		"ours, no payload":     {map[string]any{"bot_id": slacksim.BotID, "metadata": map[string]any{"event_type": metadataType}}, false},
		"ours, a number there": {map[string]any{"bot_id": slacksim.BotID, "metadata": map[string]any{"event_type": metadataType, "event_payload": map[string]any{"key": 1}}}, false},
		"ours, no metadata":    {map[string]any{"bot_id": slacksim.BotID}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.message["type"], tc.message["ts"] = "message", "1795176000.000100"
			c := canned(t, func(w http.ResponseWriter, _ *http.Request) {
				_ = json.NewEncoder(w).Encode(map[string]any{"ok": true, "messages": []any{tc.message}})
			})
			if _, ok, err := c.Find(t.Context(), message("k"), time.Now()); ok != tc.found || err != nil {
				t.Errorf("found %v, %v; want %v", ok, err, tc.found)
			}
		})
	}
}

func TestPerson(t *testing.T) {
	t.Parallel()
	sim, c := start(t)
	for name, want := range map[string]Person{
		"bob":      {Name: "bob", Team: slacksim.TeamID},
		"guest":    {Name: "guest", Team: slacksim.TeamID, Guest: true},
		"external": {Name: "external", Team: slacksim.ExternalTeamID, Guest: true},
		"former":   {Name: "former", Team: slacksim.TeamID, Deactivated: true},
		"robot":    {Name: "robot", Team: slacksim.TeamID, Bot: true},
	} {
		if got, err := c.Person(t.Context(), sim.Person(name).ID()); got != want || err != nil {
			t.Errorf("%s is %+v, %v; want %+v", name, got, err, want)
		}
	}
	if _, err := c.Person(t.Context(), "U0NOBODY01"); AsRefused(err) == nil || AsRefused(err).Code != "user_not_found" {
		t.Errorf("nobody: %v", err)
	}
}

// People see the display name; who has none is shown by another.
func TestPersonIsNamed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ user, want string }{
		"by the display name": {`"name":"b.baker","profile":{"display_name":"Bob","real_name":"Robert Baker"}`, "Bob"},
		"by the real name":    {`"name":"b.baker","profile":{"display_name":"","real_name":"Robert Baker"}`, "Robert Baker"},
		"by the old name":     {`"name":"b.baker","profile":{}`, "b.baker"},
		"not":                 {`"profile":{}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := canned(t, func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintf(w, `{"ok":true,"user":{"id":"U0BOB00001","team_id":%q,%s}}`, slacksim.TeamID, tc.user)
			})
			want := Person{Name: tc.want, Team: slacksim.TeamID}
			if got, err := c.Person(t.Context(), "U0BOB00001"); got != want || err != nil {
				t.Errorf("Person = %+v, %v; want %+v", got, err, want)
			}
		})
	}
}

func TestGroups(t *testing.T) {
	t.Parallel()
	t.Run("are remembered", func(t *testing.T) {
		t.Parallel()
		sim, c := start(t)
		sim.AddGroup(slacksim.Group{ID: "S0OLD00001", Handle: "old", Disabled: true, Members: []string{"bob"}})
		sim.AddGroup(slacksim.Group{ID: "S0EMPTY001", Handle: "empty"})
		want := map[string]Group{
			"S0SRE00001": {"@sre", sim.Group("sre").Members},
			"S0SECURITY": {"@security", sim.Group("security").Members},
			"S0EMPTY001": {"@empty", nil},
		}
		for range 3 {
			got, err := c.Groups(t.Context())
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
				t.Errorf("Groups: %v (-want +got):\n%s", err, diff)
			}
		}
		if n := len(sim.Calls("usergroups.list")); n != 1 || len(sim.Calls("usergroups.users.list")) > 0 {
			t.Errorf("%d calls for 3 who asked, want 1 for all groups", n)
		}
		// All groups are not the members of one.
		if got, err := c.Members(t.Context(), "groups"); err == nil {
			t.Errorf("the group groups has the members %v", got)
		}
	})
	t.Run("that cannot be told are asked for again", func(t *testing.T) {
		t.Parallel()
		sim, c := start(t)
		sim.Inject(slacksim.Fault{Method: "usergroups.list", Times: 1, Error: "missing_scope"})
		_, err := c.Groups(t.Context())
		checkError(t, err, "usergroups.list", Refused, "missing_scope", 0)
		if got, err := c.Groups(t.Context()); err != nil || got["S0SRE00001"].Handle != "@sre" {
			t.Errorf("Groups = %v, %v", got, err)
		}
	})
}

func TestPermalink(t *testing.T) {
	t.Parallel()
	sim, c := start(t)
	card, err := c.Post(t.Context(), message("k"))
	if err != nil {
		t.Fatal(err)
	}
	want := "https://" + slacksim.TeamDomain + ".slack.com/archives/" + general + "/p" + strings.ReplaceAll(card.TS, ".", "")
	if got, err := c.Permalink(t.Context(), card); got != want || err != nil {
		t.Errorf("Permalink = %q, %v; want %q", got, err, want)
	}
	sim.Delete(card.Channel, card.TS)
	_, err = c.Permalink(t.Context(), card)
	checkError(t, err, "chat.getPermalink", Refused, "message_not_found", 0)
	sim.Inject(slacksim.Fault{Method: "chat.getPermalink", Times: 1, Status: 429, RetryAfter: 3 * time.Second})
	_, err = c.Permalink(t.Context(), card)
	checkError(t, err, "chat.getPermalink", Limited, "", 3*time.Second)
}

func TestPublishHome(t *testing.T) {
	t.Parallel()
	sim, c := start(t)
	bob := sim.Person("bob").ID()
	publish := func(user, hash, text string) (string, error) {
		return c.PublishHome(t.Context(), user, hash, slack.HomeTabViewRequest{Type: slack.VTHomeTab, Blocks: slack.Blocks{BlockSet: block(text)}})
	}
	shows := func(text string) {
		t.Helper()
		if all := sim.State().Homes; len(all) != 1 || all[0].User != bob || all[0].PlainText() != text {
			t.Errorf("the homes are %+v, want bob's with %q", all, text)
		}
	}
	hash := ""
	for _, text := range []string{"First", "Second"} {
		var err error
		if hash, err = publish(bob, hash, text); err != nil || hash == "" {
			t.Fatalf("the hash is %q, %v", hash, err)
		}
		shows(text)
	}
	if _, err := publish(bob, "", "Of another process"); err != nil {
		t.Fatal(err)
	}
	_, err := publish(bob, hash, "Third")
	checkError(t, err, "views.publish", Refused, "hash_conflict", 0)
	if !IsConflict(err) || AsLimited(err) != nil {
		t.Errorf("IsConflict(%v) = false", err)
	}
	shows("Of another process")
	_, err = publish("U0NOBODY01", "", "x")
	checkError(t, err, "views.publish", Refused, "invalid_arguments", 0)
	sim.Inject(slacksim.Fault{Method: "views.publish", Times: 1, Status: 500})
	_, err = publish(bob, "", "x")
	checkError(t, err, "views.publish", Failed, "", 0)
	sim.Inject(slacksim.Fault{Method: "views.publish", Times: 1, Status: 429, RetryAfter: 7 * time.Second})
	_, err = publish(bob, "", "x")
	if e := AsLimited(err); e == nil || e.RetryAfter != 7*time.Second || IsConflict(err) {
		t.Errorf("AsLimited(%v) = %v", err, e)
	}
}

func TestInChannel(t *testing.T) {
	t.Parallel()
	// fill has a channel of so many people.
	fill := func(sim *slacksim.Server, n int) (members []string) {
		for i := range n {
			members = append(members, sim.AddPerson(slacksim.User{ID: fmt.Sprintf("U1%08d", i), Name: fmt.Sprintf("person%d", i)}).ID())
		}
		sim.AddChannel(slacksim.Channel{ID: "C0LARGE001", Name: "large", Members: append(members, slacksim.BotUserID)})
		return append(members, slacksim.BotUserID)
	}
	t.Run("is remembered", func(t *testing.T) {
		t.Parallel()
		sim, c := start(t)
		for range 3 {
			got, err := c.InChannel(t.Context(), general)
			if err != nil || !slices.Contains(got, sim.Person("bob").ID()) || slices.Contains(got, "U0NOBODY01") {
				t.Errorf("InChannel = %q, %v", got, err)
			}
		}
		if n := len(sim.Calls("conversations.members")); n != 1 {
			t.Errorf("%d calls for 3 who asked, want 1", n)
		}
		// The members of a channel are not those of a group.
		if got, err := c.Members(t.Context(), general); err == nil {
			t.Errorf("the group %s has the members %v", general, got)
		}
	})
	t.Run("has pages", func(t *testing.T) {
		t.Parallel()
		sim, c := start(t)
		want := fill(sim, 1500)
		got, err := c.InChannel(t.Context(), "C0LARGE001")
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("InChannel: %v (-want +got):\n%s", err, diff)
		}
		calls := sim.Calls("conversations.members")
		if len(calls) != 2 || calls[0].Args.String("limit") != "999" || calls[1].Args.String("cursor") == "" {
			t.Errorf("%d calls: %+v", len(calls), calls)
		}
	})
	// paged answers so many pages of one person each, and then with a status.
	paged := func(t *testing.T, pages, status int) (c *Client, calls *atomic.Int32) {
		t.Helper()
		calls = new(atomic.Int32)
		return canned(t, func(w http.ResponseWriter, r *http.Request) {
			page, _ := strconv.Atoi(r.FormValue("cursor"))
			next := ""
			switch calls.Add(1); {
			case page == pages:
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(status)
				return
			case page < pages-1 || status != http.StatusOK:
				next = strconv.Itoa(page + 1)
			}
			fmt.Fprintf(w, `{"ok":true,"members":["U%d"],"response_metadata":{"next_cursor":%q}}`, page, next)
		}), calls
	}
	t.Run("has as many as are looked at", func(t *testing.T) {
		t.Parallel()
		c, _ := paged(t, 5, http.StatusOK)
		if got, err := c.InChannel(t.Context(), general); err != nil || !slices.Equal(got, []string{"U0", "U1", "U2", "U3", "U4"}) {
			t.Errorf("InChannel = %q, %v", got, err)
		}
	})
	t.Run("has too many", func(t *testing.T) {
		t.Parallel()
		c, calls := paged(t, 6, http.StatusOK)
		for range 2 { // It is not remembered.
			if got, err := c.InChannel(t.Context(), general); !errors.Is(err, ErrTooMany) || got != nil {
				t.Errorf("InChannel = %q, %v", got, err)
			}
		}
		if n := calls.Load(); n != 10 {
			t.Errorf("%d calls for two who asked, want 10", n)
		}
	})
	t.Run("fails on its second page", func(t *testing.T) {
		t.Parallel()
		c, _ := paged(t, 1, http.StatusTooManyRequests)
		got, err := c.InChannel(t.Context(), general)
		checkError(t, err, "conversations.members", Limited, "", 7*time.Second)
		if got != nil {
			t.Errorf("%q are a part of a list", got)
		}
	})
	t.Run("is refused, and asked for again", func(t *testing.T) {
		t.Parallel()
		sim, c := start(t)
		_, err := c.InChannel(t.Context(), "C0NOWHERE1")
		checkError(t, err, "conversations.members", Refused, "channel_not_found", 0)
		sim.Inject(slacksim.Fault{Method: "conversations.members", Times: 1, Error: "missing_scope"})
		_, err = c.InChannel(t.Context(), general)
		checkError(t, err, "conversations.members", Refused, "missing_scope", 0)
		if got, err := c.InChannel(t.Context(), general); err != nil || len(got) == 0 {
			t.Errorf("InChannel = %q, %v", got, err)
		}
	})
}

func TestLookUpsAreShared(t *testing.T) {
	t.Parallel()
	sim, c := start(t)
	group := sim.Group("sre").ID
	gate := sim.Hold("usergroups.users.list", slacksim.Before)
	var asking sync.WaitGroup
	for range 50 {
		asking.Go(func() {
			if got, err := c.Members(t.Context(), group); err != nil || !cmp.Equal(got, sim.Group("sre").Members) {
				t.Errorf("Members = %q, %v", got, err)
			}
		})
	}
	if _, err := gate.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	// One who gives up does not take the answer from the others.
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := c.Members(ctx, group); !errors.Is(err, context.Canceled) {
		t.Errorf("Members after its caller gave up: %v", err)
	}
	gate.Release()
	asking.Wait()
	if _, err := c.Members(t.Context(), group); err != nil {
		t.Error(err)
	}
	if n := len(sim.Calls("usergroups.users.list")); n != 1 {
		t.Errorf("%d calls for 52 who asked, want 1", n)
	}
}

func TestFailedLookUpIsNotRemembered(t *testing.T) {
	t.Parallel()
	sim, c := start(t)
	sim.Inject(slacksim.Fault{Method: "users.info", Times: 1, Status: 500})
	if _, err := c.Person(t.Context(), sim.Person("bob").ID()); err == nil {
		t.Fatal("no error")
	}
	if _, err := c.Person(t.Context(), sim.Person("bob").ID()); err != nil {
		t.Errorf("asked again: %v", err)
	}
	// A person and a group of one ID are not one answer.
	if _, err := c.Members(t.Context(), sim.Person("bob").ID()); err == nil {
		t.Error("a person is taken for a user group")
	}
}

func TestPrivateSentences(t *testing.T) {
	t.Parallel()
	t.Run("to one person in a channel", func(t *testing.T) {
		t.Parallel()
		sim, c := start(t)
		if err := c.Whisper(t.Context(), general, sim.Person("bob").ID(), "psst"); err != nil {
			t.Fatal(err)
		}
		if got := sim.Person("bob").Ephemerals("general"); len(got) != 1 || got[0].Text != "psst" {
			t.Errorf("bob sees %+v", got)
		}
		err := c.Whisper(t.Context(), general, sim.Person("external").ID(), "psst")
		checkError(t, err, "chat.postEphemeral", Refused, "user_not_in_channel", 0)
	})
	t.Run("by a response URL", func(t *testing.T) {
		t.Parallel()
		var got map[string]any
		c := canned(t, func(_ http.ResponseWriter, r *http.Request) { _ = json.NewDecoder(r.Body).Decode(&got) })
		srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _ = json.NewDecoder(r.Body).Decode(&got) }))
		defer srv.Close()
		if err := c.AnswerURL(t.Context(), srv.URL, "psst"); err != nil {
			t.Fatal(err)
		}
		if got["text"] != "psst" || got["response_type"] != "ephemeral" || got["replace_original"] == true || got["delete_original"] == true {
			t.Errorf("sent %v", got)
		}
	})
	for name, tc := range map[string]struct {
		status int
		kind   Kind
		after  time.Duration
	}{
		"is used up": {404, Refused, 0},
		"is limited": {429, Limited, time.Minute},
		"fails":      {503, Failed, 0},
	} {
		t.Run("by a response URL that "+name, func(t *testing.T) {
			t.Parallel()
			_, c := start(t)
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(tc.status) }))
			defer srv.Close()
			err := c.AnswerURL(t.Context(), srv.URL+"/secret", "psst")
			checkError(t, err, "response_url", tc.kind, "", tc.after)
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error %q has the response URL, which is a secret", err)
			}
		})
	}
	t.Run("by a response URL that nobody serves", func(t *testing.T) {
		t.Parallel()
		_, c := start(t)
		srv := httptest.NewServer(http.NotFoundHandler())
		srv.Close()
		err := c.AnswerURL(t.Context(), srv.URL+"/secret", "psst")
		checkError(t, err, "response_url", Failed, "", 0)
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error %q has the response URL, which is a secret", err)
		}
	})
	t.Run("in a direct message", func(t *testing.T) {
		t.Parallel()
		sim, c := start(t)
		dm, err := c.DirectMessage(t.Context(), sim.Person("alice").ID())
		if err != nil || !strings.HasPrefix(dm, "D") {
			t.Errorf("DirectMessage = %q, %v", dm, err)
		}
		_, err = c.DirectMessage(t.Context(), sim.Person("former").ID())
		checkError(t, err, "conversations.open", Refused, "user_disabled", 0)
		const text = "You, <@U0ALICE001>, *cannot* &lt;decide&gt; this: https://example.com"
		if err := c.SayDirectly(t.Context(), sim.Person("alice").ID(), text); err != nil {
			t.Fatal(err)
		}
		if got := sim.Messages(dm); len(got) != 1 || got[0].Text != text || got[0].PlainText() != text || got[0].Blocks[0]["text"].(map[string]any)["verbatim"] != true {
			t.Errorf("alice sees %+v", got)
		}
		posts := sim.Calls("chat.postMessage")
		if a := posts[len(posts)-1].Args; a.String("unfurl_links") != "false" || a.String("unfurl_media") != "false" {
			t.Errorf("posted with %v", a)
		}
		checkError(t, c.SayDirectly(t.Context(), sim.Person("former").ID(), text), "conversations.open", Refused, "user_disabled", 0)
		sim.Inject(slacksim.Fault{Method: "chat.postMessage", Times: 1, Error: "messages_tab_disabled"})
		checkError(t, c.SayDirectly(t.Context(), sim.Person("alice").ID(), text), "chat.postMessage", Refused, "messages_tab_disabled", 0)
	})
}

func TestSaid(t *testing.T) {
	t.Parallel()
	line := func(n int) string { return strings.Repeat("漢", n) + "\n" }
	for name, tc := range map[string]struct {
		text string
		want []int // characters of each block
	}{
		"nothing":                             {"", nil},
		"a word":                              {"psst", []int{4}},
		"markup":                              {"Only <@U0BOB00001> can *decide* `this`: https://example.com", []int{59}},
		"lines":                               {"a\n\nb\n", []int{5}},
		"a block":                             {strings.Repeat("x", 3000), []int{3000}},
		"a block of bytes that are more":      {strings.Repeat("é", 3000), []int{3000}},
		"lines of a block":                    {line(1499) + line(1499), []int{3000}},
		"lines of more than a block":          {line(1499) + line(1500), []int{1500, 1501}},
		"many lines":                          {strings.Repeat(line(999), 7), []int{3000, 3000, 1000}},
		"a line over a block":                 {strings.Repeat("漢", 3001), []int{3000, 1}},
		"a line over two blocks, and another": {line(6500) + "x", []int{3000, 3000, 502}},
		"a line over a block, after another":  {"x\n" + line(3000) + "y", []int{2, 3000, 2}},
		"a line of exactly two blocks":        {line(5999) + "x", []int{3000, 3000, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var (
				all strings.Builder
				got []int
			)
			for _, b := range Said(tc.text) {
				said := b.(*slack.SectionBlock).Text
				if said.Type != slack.MarkdownType || !said.Verbatim {
					t.Errorf("a block of %+v, which Slack makes links in", said)
				}
				got = append(got, utf8.RuneCountInString(said.Text))
				all.WriteString(said.Text)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("characters of the blocks (-want +got):\n%s", diff)
			}
			if all.String() != tc.text {
				t.Errorf("together they say %q", all.String())
			}
		})
	}
}

// However it is said, it is in blocks whose addresses make no links, and nothing is unfurled.
func TestPrivateSentencesMakeNoLinks(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("The reason was: https://evil.example/and/so/on\n", 100)
	var blocks []any
	said, err := json.Marshal(Said(text))
	if err == nil {
		err = json.Unmarshal(said, &blocks)
	}
	if err != nil || len(blocks) != 2 {
		t.Fatalf("%d blocks, %v; want 2", len(blocks), err)
	}
	// check has what a method got.
	check := func(t *testing.T, got map[string]any, unfurls bool) {
		t.Helper()
		if s, ok := got["blocks"].(string); ok { // in a form
			var sent []any
			if err := json.Unmarshal([]byte(s), &sent); err != nil {
				t.Error(err)
			}
			got["blocks"] = sent
		}
		if diff := cmp.Diff(any(blocks), got["blocks"]); diff != "" {
			t.Errorf("blocks (-want +got):\n%s", diff)
		}
		if got["text"] != text {
			t.Errorf("text %v", got["text"])
		}
		if !unfurls {
			return
		}
		for _, name := range []string{"unfurl_links", "unfurl_media"} {
			if fmt.Sprint(got[name]) != "false" {
				t.Errorf("%s is %v", name, got[name])
			}
		}
	}
	t.Run("by a response URL", func(t *testing.T) {
		t.Parallel()
		_, c := start(t)
		var got map[string]any
		srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _ = json.NewDecoder(r.Body).Decode(&got) }))
		defer srv.Close()
		if err := c.AnswerURL(t.Context(), srv.URL, text); err != nil {
			t.Fatal(err)
		}
		check(t, got, true)
	})
	t.Run("in a channel", func(t *testing.T) {
		t.Parallel()
		sim, c := start(t)
		if err := c.Whisper(t.Context(), general, sim.Person("bob").ID(), text); err != nil {
			t.Fatal(err)
		}
		check(t, sim.Calls("chat.postEphemeral")[0].Args, false) // Slack unfurls nothing there.
	})
	t.Run("in a direct message", func(t *testing.T) {
		t.Parallel()
		sim, c := start(t)
		if err := c.SayDirectly(t.Context(), sim.Person("bob").ID(), text); err != nil {
			t.Fatal(err)
		}
		check(t, sim.Calls("chat.postMessage")[0].Args, true)
	})
}

func TestTurns(t *testing.T) {
	t.Parallel()
	type ask struct {
		at      time.Duration
		channel string
		want    time.Duration
	}
	const a, b = "C1", "C2"
	for name, asks := range map[string][]ask{
		"a burst, and then one a second":         {{0, a, 0}, {0, a, 0}, {0, a, 0}, {0, a, time.Second}, {0, a, 2 * time.Second}, {0, a, 3 * time.Second}},
		"channels do not wait for one another":   {{0, a, 0}, {0, a, 0}, {0, a, 0}, {0, a, time.Second}, {0, b, 0}, {0, b, 0}, {0, b, 0}, {0, b, time.Second}},
		"one a second needs no waiting":          {{0, a, 0}, {time.Second, a, 0}, {2 * time.Second, a, 0}, {3 * time.Second, a, 0}, {4 * time.Second, a, 0}},
		"waits shrink as time goes by":           {{0, a, 0}, {0, a, 0}, {0, a, 0}, {0, a, time.Second}, {500 * time.Millisecond, a, 1500 * time.Millisecond}},
		"a burst again after a rest":             {{0, a, 0}, {0, a, 0}, {0, a, 0}, {time.Minute, a, 0}, {time.Minute, a, 0}, {time.Minute, a, 0}, {time.Minute, a, time.Second}},
		"a channel is not forgotten for another": {{0, a, 0}, {0, a, 0}, {0, a, 0}, {0, b, 0}, {0, a, time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, now := newPace(), time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
			for i, ask := range asks {
				if got := p.turn(ask.channel, now.Add(ask.at)); got != ask.want {
					t.Errorf("turn %d in %s after %v is in %v, want %v", i, ask.channel, ask.at, got, ask.want)
				}
			}
		})
	}
	t.Run("idle channels cost no memory", func(t *testing.T) {
		t.Parallel()
		p, now := newPace(), time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
		for i := range 1000 {
			p.turn(fmt.Sprintf("C%d", i), now.Add(time.Duration(i)*time.Minute))
		}
		if n := len(p.channels); n > 2 {
			t.Errorf("%d channels are remembered, want those in use", n)
		}
	})
}
