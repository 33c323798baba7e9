package card

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
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
	bob     = workflows.Person{ID: "U0BOB00001", Name: "bob", Team: "T0SIM0001"}
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

func by(o workflows.Outcome, who workflows.Person, reason string) workflows.Result {
	return workflows.Result{
		Outcome: o, EndedAt: decided,
		Decisions: []workflows.Decision{{Outcome: o, By: who, At: decided, Reason: reason}},
	}
}

func ended(o workflows.Outcome, note string) workflows.Result {
	return workflows.Result{Outcome: o, EndedAt: decided, Note: note}
}

func TestGolden(t *testing.T) {
	t.Parallel()
	r := request()
	group, channel, nobody := r, r, r
	group.Approvers = workflows.Approvers{Users: []string{"U0BOB00001"}, Groups: []string{"S0SRE00001"}}
	channel.Approvers = workflows.Approvers{Channel: true}
	nobody.Requester = ""
	const reason = "Not today.\nAsk <@U0CAROL001> & <me>."

	for name, m := range map[string]Message{
		"open_users":             Open(r, 1, "v1.reference"),
		"open_group":             Open(group, 2, "v1.reference"),
		"open_channel":           Open(channel, 1, "v1.reference"),
		"open_without_requester": Open(nobody, 1, "v1.reference"),
		"approved":               Closed(r, by(workflows.Approved, bob, "")),
		"rejected_with_reason":   Closed(r, by(workflows.Rejected, bob, reason)),
		"rejected":               Closed(r, by(workflows.Rejected, bob, "")),
		"decided_outside":        Closed(r, by(workflows.Approved, workflows.Person{}, "")),
		"expired":                Closed(r, ended(workflows.Expired, "")),
		"withdrawn":              Closed(r, ended(workflows.Withdrawn, "")),
		"failed":                 Closed(r, ended(workflows.Failed, "The workflow that asked was terminated.")),
		"unknown": Closed(workflows.Request{}, workflows.Result{
			Outcome: workflows.Failed, Note: "Temporal no longer has this request.",
		}),
		"notice_approved": Notice(r, by(workflows.Approved, bob, "")),
		"notice_rejected": Notice(r, by(workflows.Rejected, bob, reason)),
		"notice_expired":  Notice(r, ended(workflows.Expired, "")),
		"notice_failed":   Notice(r, ended(workflows.Failed, "I am not in that channel. Invite me there and ask again.")),
		"plain":           Plain("Hello, <@U0CAROL001> & <!channel>!"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden(t, name, map[string]any{"text": m.Text, "blocks": m.Blocks})
			fits(t, m)
		})
	}
	t.Run("reject_modal", func(t *testing.T) {
		t.Parallel()
		golden(t, "reject_modal", RejectModal(`{"reference":"v1.reference"}`))
	})
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

// within is Slack without a network.
type within struct{ http.Handler }

func (w within) RoundTrip(r *http.Request) (*http.Response, error) {
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
		slack.OptionHTTPClient(&http.Client{Transport: within{sim}}))
}

// ours is the markup that a message of ours may have: people, groups and dates.
var ours = regexp.MustCompile(`<@[UW][A-Z0-9]+>|<!subteam\^[A-Z0-9]+>|<!date\^-?[0-9]+\^[^|<>]*\|[^|<>]*>|&(?:amp|lt|gt);`)

// fits checks a message by Slack's rules: the stand-in takes it as a new message and as an update, no text is over its
// limit, and none has markup that is not ours, or half of one.
func fits(t *testing.T, m Message) {
	t.Helper()
	if n := utf8.RuneCountInString(m.Text); n > 4000 || n == 0 {
		t.Errorf("the top-level text has %d characters, want 1 to 4000", n)
	}
	texts := []string{m.Text}
	b, err := json.Marshal(m.Blocks)
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
		case "broadcast", "link":
			t.Errorf("rich text with a %v", o["type"])
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
		"long":                 strings.Repeat("x", 10_000),
		"long line of people":  strings.Repeat("<@U0BOB00001>", 400),
		"many lines":           strings.Repeat("line\n", 3000),
		"wide characters":      strings.Repeat("漢", 5000),
		"entities":             "&amp; &lt;!channel&gt; &am",
		"ampersands":           strings.Repeat("&", 10_000),
		"angle brackets":       strings.Repeat("<", 10_000),
		"pointed both ways":    strings.Repeat("<>", 5000),
		"ampersand at the cut": strings.Repeat("x", 148) + "&&&&",
	}
}

// everyMessage draws all that shows text of others.
func everyMessage(title, text, reason, note string) map[string]Message {
	r := request()
	r.Title, r.Text = title, text
	unasked := r
	unasked.Requester = ""
	return map[string]Message{
		"open":                 Open(r, 1, "v1.reference"),
		"approved":             Closed(r, by(workflows.Approved, bob, "")),
		"rejected":             Closed(r, by(workflows.Rejected, bob, reason)),
		"rejected outside":     Closed(r, by(workflows.Rejected, workflows.Person{}, reason)),
		"expired":              Closed(r, ended(workflows.Expired, "")),
		"failed":               Closed(r, ended(workflows.Failed, note)),
		"failed, no requester": Closed(unasked, ended(workflows.Failed, note)),
		"notice of rejection":  Notice(r, by(workflows.Rejected, bob, reason)),
		"notice of failure":    Notice(r, ended(workflows.Failed, note)),
	}
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
		if !strings.HasSuffix(m.Text, "Reason: Not today. Asked by <@U0ALICE001>.") {
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
	fits(t, Open(r, 1, strings.Repeat("x", 2000)))
}

func TestButtons(t *testing.T) {
	t.Parallel()
	sim, api := newSlack()
	m := Open(request(), 3, "v1.reference")
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
		if has := bytes.Contains(b, []byte(`"button"`)); has != (state == "open") {
			t.Errorf("%s: has buttons %v", state, has)
		}
	}
}

func TestSentence(t *testing.T) {
	t.Parallel()
	evil := workflows.Person{ID: "U0BOB00001", Name: "bob\u202e <!channel>"}
	for name, tc := range map[string]struct {
		res  workflows.Result
		m    Markup
		want string
	}{
		"approved":           {by(workflows.Approved, bob, ""), Mrkdwn, "Approved by <@U0BOB00001> on <!date^1795181400^{date_short} at {time}|2026-11-20 13:30 UTC>."},
		"approved, bare":     {by(workflows.Approved, bob, ""), Bare, "Approved by bob on 2026-11-20 13:30 UTC."},
		"hostile name, bare": {by(workflows.Rejected, evil, ""), Bare, "Rejected by bob <!channel> on 2026-11-20 13:30 UTC."},
		"outside":            {by(workflows.Rejected, workflows.Person{}, ""), Bare, "Rejected on 2026-11-20 13:30 UTC, decided outside Slack."},
		"expired":            {ended(workflows.Expired, ""), Bare, "Expired on 2026-11-20 13:30 UTC: nobody decided in time."},
		"withdrawn":          {ended(workflows.Withdrawn, ""), Bare, "Withdrawn on 2026-11-20 13:30 UTC, before anybody decided."},
		"failed":             {ended(workflows.Failed, "a <b>\n& c"), Mrkdwn, "Ended on <!date^1795181400^{date_short} at {time}|2026-11-20 13:30 UTC> without a decision. a &lt;b&gt; &amp; c"},
		"failed, bare":       {ended(workflows.Failed, "a <b>\n& c"), Bare, "Ended on 2026-11-20 13:30 UTC without a decision. a <b> & c"},
		"failed, formats":    {ended(workflows.Failed, "*bold* _it_ ~no~ `code` ```block``` <@U0BOB00001> <!here>"), Mrkdwn, "Ended on <!date^1795181400^{date_short} at {time}|2026-11-20 13:30 UTC> without a decision. bold it no code block &lt;@U0BOB00001&gt; &lt;!here&gt;"},
		"no time known":      {workflows.Result{Outcome: workflows.Failed}, Mrkdwn, "Ended without a decision."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Sentence(tc.res, tc.m); got != tc.want {
				t.Errorf("Sentence = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestApprovers(t *testing.T) {
	t.Parallel()
	got := Approvers(workflows.Approvers{Users: []string{"U1", "U2>"}, Groups: []string{"S1", "<!channel>"}, Channel: true})
	want := "<@U1>, <@U2&gt;>, <!subteam^S1>, <!subteam^&lt;!channel&gt;>, anyone in this channel"
	if got != want {
		t.Errorf("Approvers = %q, want %q", got, want)
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
