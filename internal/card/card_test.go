package card

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"

	"countersign/internal/slacksim"
	"countersign/workflows"
)

var update = flag.Bool("update", false, "write the goldens anew")

var (
	asked   = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	decided = asked.Add(90 * time.Minute)
	alice   = workflows.Person{ID: "U0ALICE001", Name: "alice", Team: "T0SIM0001"}
	bob     = workflows.Person{ID: "U0BOB00001", Name: "bob", Team: "T0SIM0001"}
	carol   = workflows.Person{ID: "U0CAROL001", Name: "carol", Team: "T0SIM0001"}
	// pipeline is somebody outside Slack, as they say.
	pipeline = workflows.Person{Name: "pipeline_4711 <b> & *co*" + workflows.AsGiven}
)

func request() workflows.Request {
	return workflows.Request{
		Title:     "Greet World",
		Text:      "Post “Hello, World!” in this channel.",
		Channel:   "C0GENERAL1",
		Requester: "U0ALICE001",
		Approvers: workflows.Approvers{Users: []string{"U0BOB00001", "U0CAROL001"}},
		ExpiresAt: asked.Add(24 * time.Hour),
	}
}

func round(r workflows.Request, n int) workflows.Round { return workflows.Round{Request: r, Number: n} }

func by(o workflows.Outcome, who workflows.Person, reason string) workflows.Result {
	return workflows.Result{
		Outcome: o, EndedAt: decided,
		Decisions: []workflows.Decision{{Outcome: o, By: who, At: decided, Reason: reason}},
	}
}

func ended(o workflows.Outcome, note string) workflows.Result {
	return workflows.Result{Outcome: o, EndedAt: decided, Note: note}
}

// deploy is a request with some of everything.
func deploy() workflows.Request {
	r := request()
	r.Title = "Deploy web 2.4.0"
	r.Text = "Ships the **new checkout**. See [the notes](https://notes.example/2.4.0):\n\n- tested by <@U0CAROL001>\n- `migrate` takes _an hour_\n\n> Nobody may order meanwhile."
	r.Fields = []workflows.Field{{Label: "Service", Value: "web"}, {Label: "Where", Value: "eu-1\nus-1"}}
	r.Link = workflows.Link{URL: "https://ci.example/runs/7", Text: "Run 7"}
	r.Approvers = workflows.Approvers{}
	r.Roles = []workflows.Role{
		{Name: "Security", Approvers: workflows.Approvers{Users: []string{"U0BOB00001"}, Groups: []string{"S0SECURITY"}}},
		{Name: "Operations", Approvers: workflows.Approvers{Groups: []string{"S0SRE00001"}}, Required: 2},
	}
	r.Confirm = "This cannot be undone."
	r.ApproveComment = workflows.Optional
	r.Inputs = []workflows.Input{
		{Name: "replicas", Label: "Replicas", Type: workflows.NumberInput, Initial: "3"},
		{Name: "region", Label: "Region", Type: workflows.SelectInput, Options: []workflows.Choice{{Label: "Frankfurt", Value: "eu-1"}, {Label: "Oregon", Value: "us-1"}}, Initial: "eu-1"},
		{Name: "day", Label: "Day", Type: workflows.DateInput, Initial: "2026-11-23"},
		{Name: "pager", Label: "On call", Type: workflows.PersonInput, Initial: "U0CAROL001"},
		{Name: "note", Lines: true, Optional: true, Hint: "It goes into the log."},
	}
	r.Escalate = []workflows.Escalation{{After: "4h", Role: "Security", Approvers: workflows.Approvers{Groups: []string{"S0MANAGERS"}}}}
	return r
}

// halfway is deploy after an approval and some changes.
func halfway() workflows.Round {
	return workflows.Round{
		Request: deploy(), Number: 4,
		Decisions: []workflows.Decision{{
			Outcome: workflows.Approved, By: bob, At: decided, Reason: "Looks *good*.", Roles: []string{"Security"},
			Inputs: map[string]string{"replicas": "5", "region": "us-1", "day": "2026-11-23", "pager": "U0CAROL001", "note": ""},
		}},
		Changes: []workflows.Change{
			{Kind: workflows.Delegate, By: carol, To: "U0BOB00001", At: asked},
			{Kind: workflows.Extend, By: alice, Longer: "2h", Until: asked.Add(26 * time.Hour), At: asked},
			{Kind: workflows.Escalate, Role: "Security", Approvers: workflows.Approvers{Groups: []string{"S0MANAGERS"}}, At: asked},
		},
	}
}

// choosing is a request that offers choices, of which two have to be the same.
func choosing() workflows.Round {
	r := request()
	r.Title, r.Text, r.Required = "Where to deploy", "", 2
	r.Confirm = "People are sleeping there."
	r.Choices = []workflows.Choice{{Label: "Staging"}, {Label: "Production (Europe)", Value: "eu-1"}}
	r.RejectReason = workflows.Required
	return round(r, 1)
}

// atLimits is a request with all that it may have, as long as it may be, halfway through.
func atLimits(of string) workflows.Round {
	long := func(n int) string { return strings.Repeat(of, n) }
	r := workflows.Request{
		Title: long(workflows.MaxTitle), Text: long(workflows.MaxText), Channel: "C0GENERAL1", Requester: "U0ALICE001",
		Link:    workflows.Link{URL: "https://example.com/" + strings.Repeat("x", workflows.MaxURL-20), Text: long(workflows.MaxLabel)},
		Confirm: long(workflows.MaxConfirm), ExpiresAt: asked.Add(time.Hour), RejectReason: workflows.Required, ApproveComment: workflows.Required,
	}
	for range workflows.MaxFields {
		r.Fields = append(r.Fields, workflows.Field{Label: long(workflows.MaxLabel), Value: long(workflows.MaxFieldValue)})
	}
	for i := range workflows.MaxChoices {
		r.Choices = append(r.Choices, workflows.Choice{Label: long(workflows.MaxLabel), Value: fmt.Sprint(i) + long(workflows.MaxLabel-1)})
	}
	approved := map[string]string{}
	for i := range workflows.MaxInputs {
		in := workflows.Input{
			Name: fmt.Sprintf("%050d", i), Label: long(workflows.MaxLabel), Hint: long(workflows.MaxHint),
			Initial: workflows.Text(long(workflows.MaxReason)), Lines: true, Optional: true,
		}
		if i%2 == 1 {
			in.Type, in.Lines = workflows.SelectInput, false // Five of them are larger than a view, unless that is looked after.
			for n := range workflows.MaxOptions {
				in.Options = append(in.Options, workflows.Choice{Label: long(workflows.MaxLabel), Value: fmt.Sprintf("%03d", n) + long(workflows.MaxLabel-3)})
			}
			in.Initial = workflows.Text(in.Options[99].Value)
		}
		r.Inputs = append(r.Inputs, in)
		approved[in.Name] = "changed " + long(workflows.MaxReason-8)
	}
	people := 0
	some := func(n int) (ids []string) {
		for range n {
			people++
			ids = append(ids, fmt.Sprintf("U%010d", people))
		}
		return ids
	}
	for i := range workflows.MaxRoles {
		r.Roles = append(r.Roles, workflows.Role{
			Name: fmt.Sprint(i) + long(workflows.MaxRoleName-1), Required: workflows.MaxRoleRequired,
			Approvers: workflows.Approvers{Users: some(8), Groups: []string{fmt.Sprintf("S%010d", i), fmt.Sprintf("S%010d", 10+i)}},
		})
	}
	round := workflows.Round{Request: r, Number: 40}
	for i := range workflows.MaxEscalations {
		e := workflows.Escalation{After: "1h", Role: r.Roles[0].Name, Approvers: workflows.Approvers{Users: some(1), Groups: []string{fmt.Sprintf("S%010d", 20+i)}}}
		round.Request.Escalate = append(round.Request.Escalate, e)
		if i > 0 {
			round.Changes = append(round.Changes, workflows.Change{Kind: workflows.Escalate, Role: e.Role, Approvers: e.Approvers})
		}
		round.Changes = append(round.Changes, workflows.Change{Kind: workflows.Extend, By: alice, Until: asked.Add(2 * time.Hour)})
	}
	for i, id := range some(40) {
		round.Decisions = append(round.Decisions, workflows.Decision{
			Outcome: workflows.Approved, By: workflows.Person{ID: id}, At: decided, Reason: long(workflows.MaxReason),
			Choice: r.Choices[i%2].Value, Inputs: approved, Roles: []string{r.Roles[i%5].Name}, Role: r.Roles[i%5].Name,
		})
	}
	return round
}

// A request with everything at its limit makes a card that Slack takes, whatever it is made of.
func TestEverythingAtItsLimit(t *testing.T) {
	t.Parallel()
	for name, of := range map[string]string{"letters": "x", "ampersands": "&", "wide": "漢"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testAtLimits(t, atLimits(of))
		})
	}
}

// shown is how many characters of text the blocks have.
func shown(t *testing.T, blocks []slack.Block) int {
	t.Helper()
	b, err := json.Marshal(blocks)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	n := 0
	walk(v, func(o map[string]any) {
		for _, key := range []string{"text", "url", "accessibility_label"} {
			text, _ := o[key].(string)
			if o["type"] != "mrkdwn" {
				text = escape(text)
			}
			n += utf8.RuneCountInString(text)
		}
	})
	return n
}

func testAtLimits(t *testing.T, r workflows.Round) {
	t.Helper()
	if faults := r.Faults(); len(faults) > 0 {
		t.Errorf("the request has faults: %.300q", faults)
	}
	begin := r
	begin.Decisions, begin.Changes = nil, nil
	res := workflows.Result{
		Outcome: workflows.Approved, Decisions: r.Decisions, Choice: r.Choices[0].Value, Inputs: r.Decisions[0].Inputs,
		Changes: r.Changes, EndedAt: decided, Permalink: cardLink,
	}
	expired := res
	expired.Outcome = workflows.Expired
	everybody := r.Who()
	for name, m := range map[string]Message{
		"open":           Open(begin, strings.Repeat("x", 2000)),
		"open, last":     Open(r, strings.Repeat("x", 2000)),
		"approved":       Closed(r.Request, res),
		"expired":        Closed(r.Request, expired),
		"notice":         Notice(r.Request, res, false),
		"notice, direct": Notice(r.Request, res, true),
		"asked":          Line(workflows.Line{Event: workflows.Asked, Round: begin}, everybody),
		"decided":        Line(workflows.Line{Event: workflows.Decided, Round: r}, everybody),
		"reminded":       Line(workflows.Line{Event: workflows.Reminded, Round: r}, everybody),
		"escalated":      Line(workflows.Line{Event: workflows.Escalated, Round: r}, everybody),
	} {
		fits(t, m)
		n := size(m.Blocks)
		if n > blocksLimit+3000 || shown(t, m.Blocks) > blocksLimit { // What the app says itself is not cut.
			t.Errorf("%s shows %d characters, and counts for %d", name, shown(t, m.Blocks), n)
		}
		if card := strings.HasPrefix(name, "open") || name == "approved" || name == "expired"; card && n < 9000 {
			t.Errorf("%s shows only %d characters", name, n)
		}
	}
	for _, action := range []string{ActionReject, "approve_1", "approve_5"} {
		v := DecisionModal(r, action, strings.Repeat("x", 3000), false)
		opens(t, v)
		opens(t, DecisionModal(begin, action, "", false))
		wellFormed(t, v.Blocks.BlockSet)
	}
	opens(t, ExtendModal(r, ""))
	opens(t, RequestModal("", r.Title))
}

func approval(who workflows.Person, choice, comment string) workflows.Decision {
	return workflows.Decision{Outcome: workflows.Approved, By: who, At: decided, Choice: choice, Reason: comment}
}

// deployed is how deploy ended well.
func deployed() workflows.Result {
	ds := halfway().Decisions
	ds[0].Role = "Security"
	carols, alices := ds[0], ds[0]
	carols.By, carols.Role, carols.Reason, carols.At = carol, "Operations", "", decided.Add(time.Minute)
	alices.By, alices.Role, alices.Reason, alices.At = alice, "Operations", "Go.", decided.Add(time.Hour)
	return workflows.Result{
		Outcome: workflows.Approved, Decisions: append(ds, carols, alices), Inputs: ds[0].Inputs, EndedAt: alices.At,
		Changes: halfway().Changes, Permalink: "https://sim.slack.example/archives/C0GENERAL1/p1",
	}
}

func TestGolden(t *testing.T) {
	t.Parallel()
	r := request()
	group, channel, nobody, program := r, r, r, r
	group.Approvers = workflows.Approvers{Users: []string{"U0BOB00001"}, Groups: []string{"S0SRE00001"}}
	channel.Approvers = workflows.Approvers{Channel: true}
	nobody.Requester = ""
	program.Requester, program.Approvers = "", workflows.Approvers{Groups: []string{"S0SRE00001"}}
	const reason = "Not today.\nAsk <@U0CAROL001> & <me>."

	chosen := choosing()
	chosen.Decisions = []workflows.Decision{approval(bob, "Staging", ""), approval(carol, "eu-1", "Now *or* never.")}
	agreed := workflows.Result{Outcome: workflows.Approved, Choice: "eu-1", EndedAt: decided, Decisions: []workflows.Decision{
		approval(bob, "Staging", ""), approval(carol, "eu-1", ""), approval(bob, "eu-1", "All right."),
	}}
	partly := halfway()
	missed := ended(workflows.Expired, "")
	missed.Decisions, missed.Changes = partly.Decisions, partly.Changes
	silence := ended(workflows.Approved, "")
	silence.ByDeadline = true
	taken := ended(workflows.Withdrawn, "")
	taken.Changes = []workflows.Change{{Kind: workflows.Withdraw, By: alice, At: decided}}
	outside, given := deployed(), deployed()
	outside.Decisions[2].By, given.Decisions[2].By = workflows.Person{}, pipeline
	withdrawn := taken
	withdrawn.Changes = []workflows.Change{{Kind: workflows.Withdraw, By: pipeline, Via: workflows.Outside, At: decided}}
	answered := halfway()
	answered.Decisions[0].By = pipeline

	for name, m := range map[string]Message{
		"open_users":              Open(round(r, 1), "v1.reference"),
		"open_group":              Open(round(group, 2), "v1.reference"),
		"open_channel":            Open(round(channel, 1), "v1.reference"),
		"open_without_requester":  Open(round(nobody, 1), "v1.reference"),
		"open_short_menu":         Open(round(program, 1), "v1.reference"),
		"open_roles":              Open(round(deploy(), 1), "v1.reference"),
		"open_halfway":            Open(halfway(), "v1.reference"),
		"open_choices":            Open(choosing(), "v1.reference"),
		"open_choices_differ":     Open(chosen, "v1.reference"),
		"approved":                Closed(r, by(workflows.Approved, bob, "")),
		"approved_with_comment":   Closed(r, by(workflows.Approved, bob, "Have fun.")),
		"approved_roles":          Closed(deploy(), deployed()),
		"approved_choice":         Closed(choosing().Request, agreed),
		"approved_by_deadline":    Closed(deploy(), silence),
		"approved_partly_outside": Closed(deploy(), outside),
		"rejected_with_reason":    Closed(r, by(workflows.Rejected, bob, reason)),
		"rejected":                Closed(r, by(workflows.Rejected, bob, "")),
		"decided_outside":         Closed(r, by(workflows.Approved, workflows.Person{}, "")),
		"approved_as_given":       Closed(r, by(workflows.Approved, pipeline, "Slack is down.")),
		"approved_roles_as_given": Closed(deploy(), given),
		"rejected_as_given":       Closed(r, by(workflows.Rejected, pipeline, reason)),
		"withdrawn_as_given":      Closed(r, withdrawn),
		"open_halfway_as_given":   Open(answered, "v1.reference"),
		"expired":                 Closed(r, ended(workflows.Expired, "")),
		"expired_halfway":         Closed(deploy(), missed),
		"withdrawn":               Closed(r, ended(workflows.Withdrawn, "")),
		"withdrawn_by_requester":  Closed(r, taken),
		"failed":                  Closed(r, ended(workflows.Failed, "The workflow that asked was terminated.")),
		"unknown": Closed(workflows.Request{}, workflows.Result{
			Outcome: workflows.Failed, Note: "Temporal no longer has this request.",
		}),
		"notice_approved":          Notice(r, by(workflows.Approved, bob, ""), false),
		"notice_roles":             Notice(deploy(), deployed(), false),
		"notice_direct":            Notice(deploy(), deployed(), true),
		"notice_without_requester": Notice(nobody, by(workflows.Approved, bob, ""), false),
		"notice_rejected":          Notice(r, by(workflows.Rejected, bob, reason), false),
		"notice_as_given":          Notice(r, by(workflows.Approved, pipeline, "Slack is down."), false),
		"notice_expired":           Notice(r, ended(workflows.Expired, ""), false),
		"notice_failed":            Notice(r, ended(workflows.Failed, "I am not in that channel. Invite me there and ask again."), false),
		"notice_unfit":             Notice(r, ended(workflows.Failed, "The approver <@U0BOB00001> cannot decide & <!here> *neither*."), true),
		"plain":                    Plain("Hello, <@U0CAROL001> & <!channel>!"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden(t, name, map[string]any{"text": m.Text, "blocks": m.Blocks})
			fits(t, m)
		})
	}
}

func golden(t *testing.T, name string, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var readable any // without the escapes of the client library's own encoding
	if err := json.Unmarshal(b, &readable); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	enc := json.NewEncoder(&got)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(readable); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name+".json")
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s\ngo test ./internal/card -update writes it anew", path, diff)
	}
}

// offline is Slack without a network.
type offline struct{ http.Handler }

func (w offline) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w.ServeHTTP(rec, r)
	return rec.Result(), nil
}

func newSlack() (*slacksim.Server, *slack.Client) {
	sim := slacksim.New(slacksim.Options{})
	return sim, slack.New(slacksim.DefaultBotToken, slack.OptionAPIURL("http://slack.test/api/"),
		slack.OptionHTTPClient(&http.Client{Transport: offline{sim}}))
}

// ours is the markup that a message of ours may have: people, groups and dates.
var ours = regexp.MustCompile(`<https://[!-;=?-{}~]+\|Open card>|<@[UW][A-Z0-9]+>|<!subteam\^[A-Z0-9]+>|<!date\^-?[0-9]+\^[^|<>]*\|[^|<>]*>|&(?:amp|lt|gt);`)

// fits checks a message by Slack's rules: the stand-in takes it as a new message and as an update, no text is over its
// limit, and none has markup that is not ours, or half of one.
func fits(t *testing.T, m Message) {
	t.Helper()
	if n := utf8.RuneCountInString(m.Text); n > 4000 || n == 0 {
		t.Errorf("the top-level text has %d characters, want 1 to 4000", n)
	}
	wellFormed(t, append(m.Blocks[:len(m.Blocks):len(m.Blocks)], mrkdwn(m.Text)))

	_, api := newSlack()
	channel, ts, err := api.PostMessageContext(t.Context(), "C0GENERAL1", slack.MsgOptionText(m.Text, false), slack.MsgOptionBlocks(m.Blocks...))
	if err != nil {
		t.Errorf("post: %v %v", err, details(err))
		return
	}
	if _, _, _, err := api.UpdateMessageContext(t.Context(), channel, ts, slack.MsgOptionText(m.Text, false), slack.MsgOptionBlocks(m.Blocks...)); err != nil {
		t.Errorf("update: %v %v", err, details(err))
	}
}

// wellFormed checks that no text of the blocks is over its limit, and that none has markup that is not ours, or half of
// one.
func wellFormed(t *testing.T, drawn []slack.Block) {
	t.Helper()
	var texts []string
	b, err := json.Marshal(drawn)
	if err != nil {
		t.Fatal(err)
	}
	var blocks any
	if err := json.Unmarshal(b, &blocks); err != nil {
		t.Fatal(err)
	}
	walk(blocks, func(o map[string]any) {
		text, _ := o["text"].(string)
		if n := utf8.RuneCountInString(text); n > 3000 {
			t.Errorf("a text has %d characters, want 3000 at the most: %.80q…", n, text)
		}
		switch o["type"] {
		case "mrkdwn":
			texts = append(texts, text)
			if o["verbatim"] != true {
				t.Errorf("Slack looks for links and names in %q: verbatim is not set", text)
			}
		case "broadcast", "channel":
			t.Errorf("rich text with a %v", o["type"])
		case "link":
			honest(t, o)
		}
	})
	for _, text := range texts {
		if !utf8.ValidString(text) {
			t.Errorf("not UTF-8: %q", text)
		}
		if rest := ours.ReplaceAllString(text, ""); strings.ContainsAny(rest, "<>&") {
			i := strings.IndexAny(rest, "<>&")
			t.Errorf("markup that is not ours, or half an entity, at %.40q in %.200q…", rest[i:], text)
		}
	}
}

// honest checks that a link says where it leads to.
func honest(t *testing.T, link map[string]any) {
	t.Helper()
	to, _ := link["url"].(string)
	text, _ := link["text"].(string)
	u, err := url.Parse(to)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil:
		t.Errorf("a link to %q", to)
	case text == "Open card":
	case !strings.Contains(text, u.Host):
		t.Errorf("a link to %q says %q", to, text)
	}
}

func details(err error) string {
	if e, ok := err.(slack.SlackErrorResponse); ok {
		return fmt.Sprintf("%.300v", e.ResponseMetadata.Messages)
	}
	return ""
}

func walk(v any, visit func(map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		visit(v)
		for _, item := range v {
			walk(item, visit)
		}
	case []any:
		for _, item := range v {
			walk(item, visit)
		}
	}
}

// hostile is text that wants to be more than text.
func hostile() map[string]string {
	return map[string]string{
		"broadcasts":           "<!channel> <!here|here> <!everyone> @here @channel",
		"links":                "<https://evil|x> https://evil.example <mailto:a@b.c|a>",
		"people":               "<@U1|bob> <@U0BOB00001> <@U1|<!channel>> <@U1 <@u2>",
		"groups and channels":  "<!subteam^S0SRE00001|@sre> <#C0GENERAL1|general>",
		"formats":              "*bold* _it_ ~no~ `code` ```block``` > quote",
		"date":                 "<!date^0^{date}^https://evil|now>",
		"spaces":               "a\u00a0b\u2003c\u202fd\u3000e\u2028f",
		"bidi":                 "\u202egpj.exe \u2066x\u2069 \u200f",
		"zero width":           "a\u200bb\u200cc\u200dd\ufeffe\u00adf",
		"controls":             "a\x00b\x1b[31mc\x7fd\u0085e",
		"invalid UTF-8":        "a\xffb\xed\xa0\x80c\xf0\x9f",
		"combining marks":      "Z" + strings.Repeat("\u0335\u0353", 60),
		"nothing to see":       "\u200b\u3164\u2800\ufeff",
		"long":                 strings.Repeat("x", 3000),
		"long line of people":  strings.Repeat("<@U0BOB00001>", 400),
		"many lines":           strings.Repeat("line\n", 600),
		"wide characters":      strings.Repeat("漢", 2500),
		"entities":             "&amp; &lt;!channel&gt; &am",
		"ampersands":           strings.Repeat("&", 3000),
		"angle brackets":       strings.Repeat("<", 3000),
		"pointed both ways":    strings.Repeat("<>", 1500),
		"ampersand at the cut": strings.Repeat("x", 148) + "&&&&",
		"links in Markdown":    "[bank.example](https://evil.example) <https://evil.example/|x> ![a](http://evil.example) [x](javascript:a) [y](//evil.example) [z](https://bank.example@evil.example) [w][w]\n\n[w]: https://evil.example",
		"deep quotes":          strings.Repeat(">", 1900) + " a",
		"deep lists":           strings.Repeat("- ", 900) + "a",
		"deep emphasis":        strings.Repeat("*a **b ", 250),
		"brackets":             strings.Repeat("[", 1900),
		"brackets and links":   strings.Repeat("[a](", 450),
		"backticks":            strings.Repeat("`a``", 450),
		"HTML":                 "<b onclick=x>a</b> <!-- c --> <script>\nalert(1)\n</script>\n\n<div>\n<!channel>\n</div>",
		"entities of marks":    "&lt;!channel&gt; &#60;!here&#62; &#x202e;evil &#0; &zwnj;&ZeroWidthSpace;",
		"escaped marks":        "\\<!channel\\> \\*a\\* \\[x\\](https://evil.example)",
		"fences":               "```\n<!channel> <@U0BOB00001>\n```\n~~~go\n\ta\n",
		"tables":               "|a|b|\n|-|-|\n|<!here>|c|",
	}
}

// everyMessage draws all that shows text of others.
func everyMessage(title, text, reason, note string) map[string]Message {
	r := request()
	r.Title, r.Text = title, text
	unasked := r
	unasked.Requester = ""

	all := atLimits("x")
	all.Title, all.Text, all.Confirm = title, text, text
	all.Fields = []workflows.Field{{Label: title, Value: text}, {Label: note, Value: reason}}
	all.Link = workflows.Link{URL: text, Text: title}
	linked := all
	linked.Link = workflows.Link{URL: "https://example.com/" + text, Text: note}
	all.Choices = []workflows.Choice{{Label: title}, {Label: text, Value: "2"}}
	all.Inputs = []workflows.Input{
		{Name: "a", Label: title, Initial: workflows.Text(text)},
		{Name: text, Lines: true},
		{Name: "c", Type: workflows.PersonInput, Initial: workflows.Text(text)},
		{Name: "d", Type: workflows.SelectInput, Options: all.Choices, Initial: "2"},
	}
	all.Roles = []workflows.Role{{Name: title, Approvers: workflows.Approvers{Users: []string{bob.ID}}, Required: 2}}
	all.Decisions = []workflows.Decision{
		{Outcome: workflows.Approved, By: bob, At: decided, Reason: reason, Choice: text, Inputs: map[string]string{"a": reason, text: note}, Roles: []string{title}, Role: title},
		{Outcome: workflows.Approved, By: workflows.Person{ID: note}, At: decided, Reason: note, Choice: title, Inputs: map[string]string{"a": note}},
	}
	all.Changes = []workflows.Change{{Kind: workflows.Escalate, Role: title}, {Kind: workflows.Delegate, By: bob, To: note}}
	named := workflows.Person{Name: title + workflows.AsGiven}
	given := all
	given.Decisions = slices.Clone(all.Decisions)
	given.Decisions[0].By, given.Decisions[1].By = bob, named
	gone := ended(workflows.Withdrawn, "")
	gone.Changes = []workflows.Change{{Kind: workflows.Withdraw, By: named, Via: workflows.Outside}}
	res := workflows.Result{Outcome: workflows.Approved, Decisions: all.Decisions, Choice: text, Inputs: all.Decisions[0].Inputs, EndedAt: decided, Permalink: text, Changes: all.Changes}
	return map[string]Message{
		"open":                 Open(round(r, 1), "v1.reference"),
		"open, all":            Open(all, "v1.reference"),
		"open, linked":         Open(linked, "v1.reference"),
		"approved":             Closed(r, by(workflows.Approved, bob, "")),
		"approved, all":        Closed(all.Request, res),
		"rejected":             Closed(r, by(workflows.Rejected, bob, reason)),
		"rejected outside":     Closed(r, by(workflows.Rejected, workflows.Person{}, reason)),
		"open, as given":       Open(given, "v1.reference"),
		"approved as given":    Closed(r, by(workflows.Approved, named, reason)),
		"rejected as given":    Closed(r, by(workflows.Rejected, named, reason)),
		"withdrawn as given":   Closed(r, gone),
		"line, as given":       Line(workflows.Line{Event: workflows.Decided, Round: given}, workflows.Approvers{}),
		"reminder, as given":   Line(workflows.Line{Event: workflows.Reminded, Round: given}, workflows.Approvers{}),
		"notice, as given":     Notice(r, by(workflows.Rejected, named, reason), true),
		"notice of withdrawal": Notice(r, gone, true),
		"expired":              Closed(r, ended(workflows.Expired, "")),
		"failed":               Closed(r, ended(workflows.Failed, note)),
		"failed, no requester": Closed(unasked, ended(workflows.Failed, note)),
		"notice of approval":   Notice(all.Request, res, true),
		"notice of rejection":  Notice(r, by(workflows.Rejected, bob, reason), false),
		"notice of failure":    Notice(r, ended(workflows.Failed, note), false),
		"line":                 Line(workflows.Line{Event: workflows.Decided, Round: all}, workflows.Approvers{}),
		"reminder":             Line(workflows.Line{Event: workflows.Reminded, Round: all}, workflows.Approvers{}),
		"delegation":           Line(workflows.Line{Event: workflows.Delegated, Round: all}, workflows.Approvers{}),
	}
}

// everyView draws the views that show text of others.
func everyView(title, text string) (modals []slack.ModalViewRequest, home slack.HomeTabViewRequest) {
	r := choosing()
	r.Title, r.Choices[0].Label = title, text
	r.Inputs = []workflows.Input{
		{Name: "a", Label: title, Hint: text, Initial: workflows.Text(text), Lines: true, Optional: true},
		{Name: "b", Type: workflows.SelectInput, Options: []workflows.Choice{{Label: title, Value: text}, {Label: text}}},
	}
	listed := row(r, "v1.reference")
	listed.WorkflowID, listed.Permalink = text, text
	given := listed
	given.Round.Decisions = []workflows.Decision{approval(workflows.Person{Name: title + workflows.AsGiven}, "", "")}
	given.Counted = []string{""}
	over := endedRow(given.Round, workflows.Withdrawn, decided)
	over.Round.Changes = []workflows.Change{{Kind: workflows.Withdraw, By: workflows.Person{Name: title + workflows.AsGiven}, Via: workflows.Outside}}
	return []slack.ModalViewRequest{DecisionModal(r, "approve_1", "", false), DecisionModal(r, ActionReject, "", false), ExtendModal(r, ""), RequestModal("", text)},
		DrawHome(Home{
			Waiting: Section{Rows: []Row{listed, given}}, Asked: Section{Rows: []Row{listed}},
			Decided: Section{Rows: []Row{over, endedRow(given.Round, workflows.Rejected, decided)}},
		})
}

func TestHostileTextStaysText(t *testing.T) {
	t.Parallel()
	for name, s := range hostile() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for state, m := range everyMessage("T "+s, s, s, s) {
				t.Run(state, func(t *testing.T) { fits(t, m) })
			}
			t.Run("plain", func(t *testing.T) { fits(t, Plain("Hello, "+s)) })
			t.Run("views", func(t *testing.T) {
				modals, home := everyView("T "+s, s)
				shows(t, home)
				for _, v := range modals {
					opens(t, v)
					wellFormed(t, v.Blocks.BlockSet)
				}
			})
		})
	}
}

// What is said to those who hear the card is what it shows.
func TestTextSaysWhatTheCardShows(t *testing.T) {
	t.Parallel()
	t.Run("reason", func(t *testing.T) {
		t.Parallel()
		m := Closed(request(), by(workflows.Rejected, bob, "Not today."))
		for _, want := range []string{"Rejected: Greet World", "Post “Hello, World!” in this channel.", "Rejected by <@U0BOB00001>", "Reason: Not today.", "Asked by <@U0ALICE001>"} {
			if !strings.Contains(m.Text, want) {
				t.Errorf("text %q lacks %q", m.Text, want)
			}
		}
	})
	t.Run("end stays whole where the question is long", func(t *testing.T) {
		t.Parallel()
		r := request()
		r.Text = strings.Repeat("<", 2000)
		m := Closed(r, by(workflows.Rejected, bob, "Not today."))
		if !strings.HasSuffix(m.Text, "Reason: Not today. Asked by <@U0ALICE001>.") || !strings.Contains(m.Text, "&lt;…") {
			t.Errorf("the end of the text is %q", m.Text[max(0, len(m.Text)-120):])
		}
	})
	t.Run("unknown request", func(t *testing.T) {
		t.Parallel()
		m := Closed(workflows.Request{}, workflows.Result{Outcome: workflows.Failed, Note: "Temporal no longer has this request."})
		if !strings.Contains(m.Text, "A request without a title") || strings.Contains(m.Text, ": .") {
			t.Errorf("text %q, want it to name the request as the card does", m.Text)
		}
	})
}

func TestManyApproversFit(t *testing.T) {
	t.Parallel()
	r := request()
	r.Approvers.Users = nil
	for i := range 95 { // As many as a reference holds.
		r.Approvers.Users = append(r.Approvers.Users, fmt.Sprintf("U%010d", i))
	}
	fits(t, Open(round(r, 1), strings.Repeat("x", 2000)))
}

func TestButtons(t *testing.T) {
	t.Parallel()
	sim, api := newSlack()
	m := Open(round(request(), 3), "v1.reference")
	channel, ts, err := api.PostMessageContext(t.Context(), "C0GENERAL1", slack.MsgOptionText(m.Text, false), slack.MsgOptionBlocks(m.Blocks...))
	if err != nil {
		t.Fatal(err)
	}
	posted, _ := sim.Message(channel, ts)
	want := []slacksim.Button{
		{BlockID: "decision-3", ActionID: "approve", Text: "Approve", Value: "v1.reference", Style: "primary"},
		{BlockID: "decision-3", ActionID: "reject", Text: "Reject", Value: "v1.reference"},
	}
	if diff := cmp.Diff(want, posted.Buttons()); diff != "" {
		t.Errorf("open (-want +got):\n%s", diff)
	}
	for state, m := range everyMessage("a", "b", "c", "d") {
		b, err := json.Marshal(m.Blocks)
		if err != nil {
			t.Fatal(err)
		}
		if has := bytes.Contains(b, []byte(`"button"`)); has != strings.HasPrefix(state, "open") {
			t.Errorf("%s: has buttons %v", state, has)
		}
	}
}

func FuzzMessages(f *testing.F) {
	for _, s := range hostile() {
		if utf8.RuneCountInString(s) < 500 { // Longer ones are in TestHostileTextStaysText.
			f.Add(s, s, s, s)
		}
	}
	f.Fuzz(func(t *testing.T, title, text, reason, note string) {
		for state, m := range everyMessage(title, text, reason, note) {
			if fits(t, m); t.Failed() {
				t.Fatalf("%s of title %q, text %q, reason %q, note %q", state, title, text, reason, note)
			}
		}
		if shown := CleanLines(text, TextLimit); shown != "" { // An empty message is refused by Slack.
			fits(t, Plain(text))
		}
	})
}
