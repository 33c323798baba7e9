package bot

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"

	"countersign/workflows"
)

// What is for another app, or another workspace of an organisation that has the app, is not dealt with. People are told.
func TestAddressee(t *testing.T) {
	t.Parallel()
	const app = "A0APP00001"
	with := func(p map[string]any, key string, value any) map[string]any { p[key] = value; return p }
	command := func(of string) map[string]any {
		return map[string]any{"command": CommandGreet, "text": "World", "user_id": alice.ID, "team_id": of, "channel_id": at.Channel, "trigger_id": "1.2.3"}
	}
	for name, tc := range map[string]struct {
		kind    kind
		payload func(t *testing.T, sealed string) map[string]any
		app     string // whose the bot knows itself to be
		ack     bool
		decides bool
		starts  bool
		told    bool
	}{
		"a click, of this app": {interactive, func(_ *testing.T, sealed string) map[string]any {
			return with(clicked(bob, "approve", sealed), "api_app_id", app)
		}, app, true, true, false, false},
		"a click, of an app that is not said": {interactive, func(_ *testing.T, sealed string) map[string]any {
			return clicked(bob, "approve", sealed)
		}, app, true, true, false, false},
		"a click, of another app": {interactive, func(_ *testing.T, sealed string) map[string]any {
			return with(clicked(bob, "approve", sealed), "api_app_id", "A0OTHER001")
		}, app, false, false, false, false},
		"a click, of another app, where the bot does not know its own": {interactive, func(_ *testing.T, sealed string) map[string]any {
			return with(clicked(bob, "approve", sealed), "api_app_id", "A0OTHER001")
		}, "", true, true, false, false},
		"a click, in another workspace": {interactive, func(_ *testing.T, sealed string) map[string]any {
			return with(clicked(bob, "approve", sealed), "team", map[string]any{"id": "T0OTHER001"})
		}, app, true, false, false, true},
		"a click, in no workspace": {interactive, func(_ *testing.T, sealed string) map[string]any {
			return with(clicked(bob, "approve", sealed), "team", nil)
		}, app, true, true, false, false},
		"a submission, in another workspace": {interactive, func(t *testing.T, sealed string) map[string]any {
			return with(submitted(t, bob, sealed, "no"), "team", map[string]any{"id": "T0OTHER001"})
		}, app, true, false, false, true},
		"a submission, of another app": {interactive, func(t *testing.T, sealed string) map[string]any {
			return with(submitted(t, bob, sealed, "no"), "api_app_id", "A0OTHER001")
		}, app, false, false, false, false},
		"a command": {slashCommand, func(*testing.T, string) map[string]any {
			return with(command(team), "api_app_id", app)
		}, app, true, false, true, true},
		"a command, of another app": {slashCommand, func(*testing.T, string) map[string]any {
			return with(command(team), "api_app_id", "A0OTHER001")
		}, app, false, false, false, false},
		"a command, in another workspace": {slashCommand, func(*testing.T, string) map[string]any {
			return command("T0OTHER001")
		}, app, true, false, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, s := &fakeTemporal{}, newSlack()
			b, sealed := newBot(t, s, f, nil)
			b.App, b.Requesters = tc.app, Requesters{Members: true}
			r := deliver(t, b, tc.kind, tc.payload(t, sealed))
			if r.ack != tc.ack || (len(f.completions) > 0) != tc.decides || (len(f.started) > 0) != tc.starts {
				t.Errorf("acknowledged %v, %d decisions, %d workflows", r.ack, len(f.completions), len(f.started))
			}
			if told := r.body != nil || len(s.said) > 0; told != tc.told {
				t.Errorf("told %v: %v, %q", told, r.body, s.said)
			}
		})
	}
}

func TestAddresseeOfAnEvent(t *testing.T) {
	t.Parallel()
	const app = "A0APP00001"
	for name, tc := range map[string]struct {
		app, team  string // whose the event is
		ack, shown bool
	}{
		"of this app":                {app: app, team: team, ack: true, shown: true},
		"of an app that is not said": {team: team, ack: true, shown: true},
		"of another app":             {app: "A0OTHER001", team: team},
		"in another workspace":       {app: app, team: "T0OTHER001", ack: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSlack()
			b, _ := newBot(t, s, homely(t), nil)
			b.App = app
			e := opens(bob, "home")
			e["api_app_id"], e["team_id"] = tc.app, tc.team
			if r := deliver(t, b, event, e); r.ack != tc.ack || r.body != nil || (len(s.homes) > 0) != tc.shown {
				t.Errorf("acknowledged %v with %v, and showed %d homes", r.ack, r.body, len(s.homes))
			}
		})
	}
}

// What could be read in two ways is not read: two members of one name, and what is no UTF-8.
func TestAmbiguousPayloads(t *testing.T) {
	t.Parallel()
	greet := func(t *testing.T, _ string) map[string]any {
		return map[string]any{"command": CommandGreet, "text": "World", "user_id": alice.ID, "channel_id": at.Channel, "trigger_id": "1.2.3"}
	}
	click := func(_ *testing.T, sealed string) map[string]any { return clicked(bob, "approve", sealed) }
	form := func(t *testing.T, sealed string) map[string]any { return submitted(t, bob, sealed, "No.") }
	for name, tc := range map[string]struct {
		kind     kind
		payload  func(t *testing.T, sealed string) map[string]any
		old, new string // in its text
		read     bool
	}{
		"click":                                {kind: interactive, payload: click, read: true},
		"click, two types":                     {kind: interactive, payload: click, old: `"type":"block_actions"`, new: `"type":"block_actions","type":"block_actions"`},
		"click, two people":                    {kind: interactive, payload: click, old: `"user":{`, new: `"user":{"id":"U0ALICE001"},"user":{`},
		"click, a person with two IDs":         {kind: interactive, payload: click, old: `"user":{`, new: `"user":{"id":"U0ALICE001",`},
		"click, two workspaces":                {kind: interactive, payload: click, old: `"team":{`, new: `"team":{},"team":{`},
		"click, two apps":                      {kind: interactive, payload: click, old: `"team":{`, new: `"api_app_id":"A0OTHER001","api_app_id":"A0APP00001","team":{`},
		"click, two buttons":                   {kind: interactive, payload: click, old: `"actions":[`, new: `"actions":[],"actions":[`},
		"click, two values of a button":        {kind: interactive, payload: click, old: `"value":"`, new: `"value":"","value":"`},
		"click, a name written in two ways":    {kind: interactive, payload: click, old: `"type":"block_actions"`, new: `"type":"block_actions","\u0074ype":"view_submission"`},
		"click, two members that nobody reads": {kind: interactive, payload: click, old: `"team":{`, new: `"x":1,"x":1,"team":{`},
		"click, two members in the message":    {kind: interactive, payload: click, old: `"rich_text"`, new: `"rich_text","x":1,"x":1`},
		"click, a name in capitals too":        {kind: interactive, payload: click, old: `"type":"block_actions"`, new: `"type":"block_actions","TYPE":"view_submission"`, read: true},
		"click, a name that is no UTF-8":       {kind: interactive, payload: click, old: `"name":"bob"`, new: "\"name\":\"b\xffb\"", read: true},
		"click, a member's name is no UTF-8":   {kind: interactive, payload: click, old: `"team":{`, new: "\"x\xff\":1,\"team\":{", read: true},
		"click, a message that is no UTF-8":    {kind: interactive, payload: click, old: "rich_text", new: "rich\xc0\xaftext", read: true},
		"click, half of a character":           {kind: interactive, payload: click, old: "rich_text", new: "rich_\xe6\xbc", read: true},
		"click, a surrogate":                   {kind: interactive, payload: click, old: "rich_text", new: "rich_\xed\xa0\xbd", read: true},
		"click, half an emoji":                 {kind: interactive, payload: click, old: "rich_text", new: `rich_\ud83d`, read: true},
		"click, more after it":                 {kind: interactive, payload: click, old: `"username":"bob"}}`, new: `"username":"bob"}}{}`},

		"form":                    {kind: interactive, payload: form, read: true},
		"form, two states":        {kind: interactive, payload: form, old: `"state":{`, new: `"state":{},"state":{`},
		"form, two values":        {kind: interactive, payload: form, old: `"value":"No."`, new: `"value":"Yes.","value":"No."`},
		"form, a reason no UTF-8": {kind: interactive, payload: form, old: `"No."`, new: "\"N\xff.\"", read: true},

		"command":                     {kind: slashCommand, payload: greet, read: true},
		"command, two texts":          {kind: slashCommand, payload: greet, old: `"text":"World"`, new: `"text":"World","text":"World"`},
		"command, two people":         {kind: slashCommand, payload: greet, old: `"user_id":`, new: `"user_id":"U0BOB00001","user_id":`},
		"command, a text is no UTF-8": {kind: slashCommand, payload: greet, old: "World", new: "W\xffrld", read: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, f := newSlack(), &fakeTemporal{}
			b, sealed := newBot(t, s, f, nil)
			text := encoded(t, tc.payload(t, sealed))
			if strings.Count(text, tc.old) != 1 && tc.old != "" {
				t.Fatalf("%s is not once in %s", tc.old, text)
			}
			r := b.handle(t.Context(), tc.kind, []byte(strings.Replace(text, tc.old, tc.new, 1)))
			if r.ack != tc.read || !tc.read && (r.body != nil || r.then != nil) {
				t.Errorf("answered %+v, want read %v", r, tc.read)
			}
			if done := len(f.completions)+len(f.started) > 0; done != tc.read || !tc.read && len(s.said) > 0 {
				t.Errorf("%d decisions, %d workflows, said %q", len(f.completions), len(f.started), s.said)
			}
		})
	}
}

// Nothing but a click on one of our buttons, whole and alone, decides.
func TestHostilePayloads(t *testing.T) {
	t.Parallel()
	change := func(f func(p map[string]any)) func(map[string]any) any {
		return func(p map[string]any) any { f(p); return p }
	}
	action := func(p map[string]any) map[string]any { return p["actions"].([]any)[0].(map[string]any) }
	for name, tc := range map[string]struct {
		payload func(map[string]any) any
		ack     bool
		decides bool
	}{
		"as Slack sends it":     {change(func(map[string]any) {}), true, true},
		"no actions":            {change(func(p map[string]any) { delete(p, "actions") }), true, false},
		"empty actions":         {change(func(p map[string]any) { p["actions"] = []any{} }), true, false},
		"null actions":          {change(func(p map[string]any) { p["actions"] = nil }), true, false},
		"two actions":           {change(func(p map[string]any) { p["actions"] = []any{action(p), action(p)} }), true, false},
		"actions that are none": {change(func(p map[string]any) { p["actions"] = "approve" }), false, false},
		"another block":         {change(func(p map[string]any) { action(p)["block_id"] = "fields" }), true, false},
		"no block":              {change(func(p map[string]any) { delete(action(p), "block_id") }), true, false},
		"another action":        {change(func(p map[string]any) { action(p)["action_id"] = "approve2" }), true, false},
		"no value":              {change(func(p map[string]any) { delete(action(p), "value") }), true, false},
		"a number for a value":  {change(func(p map[string]any) { action(p)["value"] = 1 }), false, false},
		"a huge value":          {change(func(p map[string]any) { action(p)["value"] = strings.Repeat("x", 1<<20) }), true, false},
		"no user":               {change(func(p map[string]any) { delete(p, "user") }), false, false},
		"a user without an ID":  {change(func(p map[string]any) { p["user"] = map[string]any{"team_id": team} }), false, false},
		"a user without a team": {change(func(p map[string]any) { p["user"] = map[string]any{"id": bob.ID} }), true, false},
		"no type":               {change(func(p map[string]any) { delete(p, "type") }), false, false},
		"an unknown type":       {change(func(p map[string]any) { p["type"] = "block_reactions" }), true, false},
		"a shortcut":            {change(func(p map[string]any) { p["type"] = "shortcut" }), true, false},
		"a closed modal":        {change(func(p map[string]any) { p["type"] = "view_closed" }), true, false},
		"another app's modal": {change(func(p map[string]any) {
			p["type"], p["view"] = "view_submission", map[string]any{"callback_id": "other"}
		}), true, false},
		"no container": {change(func(p map[string]any) { delete(p, "container") }), true, true},
		"no message":   {change(func(p map[string]any) { delete(p, "message") }), true, true},
		"blocks of unknown kinds": {change(func(p map[string]any) {
			p["message"] = map[string]any{"blocks": []any{map[string]any{"type": "hologram", "elements": 7}, nil, "x"}}
		}), true, true},
		"a message that is none": {change(func(p map[string]any) { p["message"] = []any{1, "two", nil} }), true, true},
		"fields of the future":   {change(func(p map[string]any) { p["state"], p["is_enterprise_install"] = 7, "maybe" }), true, true},
		"a list":                 {func(map[string]any) any { return []any{} }, false, false},
		"null":                   {func(map[string]any) any { return nil }, false, false},
		"deep nesting": {change(func(p map[string]any) {
			p["message"] = json.RawMessage(strings.Repeat("[", 5000) + strings.Repeat("]", 5000))
		}), true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fakeTemporal{}
			b, sealed := newBot(t, newSlack(), f, nil)
			r := deliver(t, b, interactive, tc.payload(clicked(bob, "approve", sealed)))
			if r.ack != tc.ack {
				t.Errorf("acknowledged %v, want %v", r.ack, tc.ack)
			}
			if decided := len(f.completions) > 0; decided != tc.decides {
				t.Errorf("decided %v, want %v", decided, tc.decides)
			}
		})
	}
	t.Run("no JSON", func(t *testing.T) {
		t.Parallel()
		b, _ := newBot(t, newSlack(), &fakeTemporal{}, nil)
		for _, k := range []kind{interactive, slashCommand} {
			if r := b.handle(t.Context(), k, []byte(`{"type":`)); r.ack || r.body != nil || r.then != nil {
				t.Errorf("%s: answered %+v", k, r)
			}
		}
	})
	t.Run("an event", func(t *testing.T) {
		t.Parallel()
		b, _ := newBot(t, newSlack(), &fakeTemporal{}, nil)
		if r := b.handle(t.Context(), event, []byte(`{}`)); !r.ack {
			t.Error("an event is not acknowledged: Slack sends it again")
		}
	})
	t.Run("submission without metadata", func(t *testing.T) {
		t.Parallel()
		f := &fakeTemporal{}
		b, sealed := newBot(t, newSlack(), f, nil)
		p := submitted(t, bob, sealed, "")
		p["view"].(map[string]any)["private_metadata"] = "{"
		if r := deliver(t, b, interactive, p); !r.ack || r.body == nil || len(f.completions) > 0 {
			t.Errorf("answered %+v after %d commits, want a fault in the modal", r, len(f.completions))
		}
	})
	t.Run("submission without its state", func(t *testing.T) {
		t.Parallel()
		f := &fakeTemporal{}
		b, sealed := newBot(t, newSlack(), f, nil)
		p := submitted(t, bob, sealed, "")
		delete(p["view"].(map[string]any), "state")
		if r := deliver(t, b, interactive, p); !r.ack || r.body != nil || len(f.completions) != 1 {
			t.Errorf("answered %+v after %d commits, want a rejection without a reason", r, len(f.completions))
		}
	})
}

func TestArgument(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ in, want string }{
		"a word":              {"World", "World"},
		"nothing":             {"", ""},
		"spaces":              {" \u00a0 ", ""},
		"spaces around":       {"  World\u00a0", "World"},
		"smart spaces within": {"a\u2003b\u202fc", "a b c"},
		"quoted":              {`"World"`, "World"},
		"smart quotes":        {"“World”", "World"},
		"German quotes":       {"„World“", "World"},
		"French quotes":       {"« World »", "World"},
		"single quotes":       {"‘World’", "World"},
		"an apostrophe":       {"O’Brien", "O'Brien"},
		"one quote":           {`"`, `"`},
		"quotes of two kinds": {`"World'`, `"World'`},
		"only quotes":         {`""`, ""},
		"a person":            {"<@U0BOB00001|bob>", "<@U0BOB00001>"},
		"a person in quotes":  {"“<@U0BOB00001|bob>”", "<@U0BOB00001>"},
		"a broadcast":         {"<!channel>", "channel"},
		"a link":              {"<http://evil.example|evil.example>", "evil.example"},
		"a channel":           {"<#C0GENERAL1|general>", "general"},
		"entities":            {"Tom &amp; Jerry &lt;3", "Tom & Jerry <3"},
		"bidi and zero width": {"\u202eWor\u200bld\u2066", "World"},
		"control characters":  {"Wor\x00ld\x1b", "World"},
		"several lines":       {"a\nb\r\nc", "a b c"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := argument(tc.in); got != tc.want {
				t.Errorf("argument(%q) = %q, want %q", tc.in, got, tc.want)
			}
		})
	}
}

func TestGreet(t *testing.T) {
	t.Parallel()
	type payload = map[string]string
	greet := func(text string) payload {
		return payload{"command": "/greet", "text": text, "user_id": alice.ID, "channel_id": at.Channel, "trigger_id": "1.2.3"}
	}
	started := serviceerror.NewWorkflowExecutionAlreadyStarted("started", "1", "run-1")
	for name, tc := range map[string]struct {
		payload payload
		slack   error
		start   error
		ack     bool
		says    string
		name    string // whom a workflow was started to greet; empty: none was
	}{
		"a name":               {payload: greet("World"), ack: true, says: "asking for approval", name: "World"},
		"a person":             {payload: greet("<@U0BOB00001|bob>"), ack: true, says: "asking for approval", name: "<@U0BOB00001>"},
		"nothing":              {payload: greet(""), ack: true, says: "/greet NAME"},
		"help":                 {payload: greet(" Help "), ack: true, says: "/greet NAME"},
		"as long as it may be": {payload: greet(strings.Repeat("漢", 80)), ack: true, says: "asking for approval", name: strings.Repeat("漢", 80)},
		"too long":             {payload: greet(strings.Repeat("x", 81)), ack: true, says: "too long"},
		"delivered twice":      {payload: greet("World"), start: started, ack: true, says: "asking for approval", name: "World"},
		"Temporal is away":     {payload: greet("World"), start: unavailable, ack: true, says: "could not confirm", name: "World"},
		"Slack is down":        {payload: greet("World"), slack: errors.New("down"), ack: true, says: "could not check"},
		"another command": {
			payload: payload{"command": "/<!channel>", "user_id": alice.ID, "trigger_id": "1"}, ack: true, says: "do not know the command /&lt;!channel&gt;",
		},
		"no command": {payload: payload{"user_id": alice.ID, "trigger_id": "1"}},
		"no user":    {payload: payload{"command": "/greet", "text": "World", "trigger_id": "1"}},
		"no trigger": {payload: payload{"command": "/greet", "text": "World", "user_id": alice.ID}},
		"in a direct message": {
			payload: payload{"command": "/greet", "text": "World", "user_id": alice.ID, "channel_id": "D0ALICE001", "trigger_id": "1"},
			ack:     true, says: "in a channel",
		},
		"a guest": {
			payload: payload{"command": "/greet", "text": "World", "user_id": guest.ID, "channel_id": at.Channel, "trigger_id": "1"},
			ack:     true, says: "Only full members",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, f := newSlack(), &fakeTemporal{starts: []error{tc.start}}
			s.lookUp = tc.slack
			b, _ := newBot(t, s, f, nil)
			r := deliver(t, b, slashCommand, tc.payload)
			if r.ack != tc.ack || !strings.Contains(answered(r), tc.says) {
				t.Errorf("answered %v with %v, want %v with %q in private", r.ack, r.body, tc.ack, tc.says)
			}
			var want []any
			if tc.name != "" {
				want = []any{workflows.GreetingInput{Greeting: "Hello", Name: tc.name, Channel: at.Channel, RequestedBy: alice.ID}}
			}
			if diff := cmp.Diff(want, f.inputs); diff != "" {
				t.Errorf("started (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("redelivered", func(t *testing.T) {
		t.Parallel()
		f := &fakeTemporal{}
		b, _ := newBot(t, newSlack(), f, nil)
		other := greet("World")
		other["trigger_id"] = "4.5.6"
		for _, p := range []payload{greet("World"), greet("World"), other} {
			deliver(t, b, slashCommand, p)
		}
		if f.started[0].ID != f.started[1].ID || f.started[0].ID == f.started[2].ID {
			t.Errorf("workflow IDs %s, %s and, by another command, %s", f.started[0].ID, f.started[1].ID, f.started[2].ID)
		}
		if o := f.started[0]; o.TaskQueue != "countersign" || o.WorkflowIDReusePolicy != enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE {
			t.Errorf("started with %+v", o)
		}
	})
}

func TestCheckResponseURL(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		api, url string
		ok       bool
	}{
		"Slack's":                          {"https://slack.com/api/", "https://hooks.slack.com/actions/T0/1/2", true},
		"Slack's own host":                 {"https://slack.com/api/", "https://slack.com/response/1", true},
		"Slack's own host, not the API's":  {"http://127.0.0.1:8080/api/", "https://slack.com/response/1", false},
		"a stand-in's":                     {"http://127.0.0.1:8080/api/", "http://127.0.0.1:8080/response/1", true},
		"GovSlack's":                       {"https://slack-gov.com/api/", "https://hooks.slack-gov.com/actions/1", true},
		"GovSlack's, by the other's API":   {"https://slack.com/api/", "https://hooks.slack-gov.com/actions/1", true},
		"GovSlack's without TLS":           {"https://slack-gov.com/api/", "http://hooks.slack-gov.com/actions/1", false},
		"a site that ends like GovSlack's": {"https://slack.com/api/", "https://evilslack-gov.com/actions/1", false},
		"a host under a stand-in's":        {"http://sim.example/api/", "http://evil.sim.example/response/1", false},
		"a stand-in's, without its TLS":    {"https://sim.example/api/", "http://sim.example/response/1", false},
		"another port of the stand-in's":   {"http://127.0.0.1:8080/api/", "http://127.0.0.1:8081/response/1", false},
		"without TLS":                      {"https://slack.com/api/", "http://hooks.slack.com/actions/1", false},
		"another site":                     {"https://slack.com/api/", "https://evil.example/slack.com", false},
		"a site that ends like Slack's":    {"https://slack.com/api/", "https://evilslack.com/actions/1", false},
		"a site that begins like Slack's":  {"https://slack.com/api/", "https://slack.com.evil.example/actions/1", false},
		"Slack's name as the user":         {"https://slack.com/api/", "https://hooks.slack.com@evil.example/actions/1", false},
		"a cloud's metadata":               {"https://slack.com/api/", "http://169.254.169.254/latest/meta-data", false},
		"a file":                           {"https://slack.com/api/", "file:///etc/passwd", false},
		"no URL":                           {"https://slack.com/api/", "://", false},
		"nothing":                          {"https://slack.com/api/", "", false},
		"Slack's, by a stand-in's API":     {"http://127.0.0.1:8080/api/", "https://hooks.slack.com/actions/1", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _ := newBot(t, newSlack(), &fakeTemporal{}, nil)
			b.APIURL = tc.api
			if err := b.checkResponseURL(tc.url); (err == nil) != tc.ok {
				t.Errorf("checkResponseURL(%q) = %v, want allowed %v", tc.url, err, tc.ok)
			}
		})
	}
	t.Run("a private sentence goes nowhere else", func(t *testing.T) {
		t.Parallel()
		s := newSlack()
		b, sealed := newBot(t, s, &fakeTemporal{}, nil)
		p := clicked(carol, "approve", sealed)
		p["response_url"] = "https://evil.example/"
		deliver(t, b, interactive, p)
		says(t, s, []string{"U0CAROL001 in C0GENERAL1"}) // Whispered instead.
	})
}

var _ Slack = (*fakeSlack)(nil)
