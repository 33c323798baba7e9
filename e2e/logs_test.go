package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"countersign/internal/reference"
	"countersign/internal/slacksim"
	"countersign/workflows"
)

// searches counts what the run has searched.
var searches searched

type searched struct {
	mu                  sync.Mutex
	worlds, logs, bytes int
}

// deployed counts a world: the processes of at least one have to be searched.
func (s *searched) deployed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.worlds++
}

func (s *searched) add(log string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logs++
	s.bytes += len(log)
}

// report says what was searched, and is the run's exit code: a run that has searched nothing has failed.
func (s *searched) report(code int) (said string, exit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	said = fmt.Sprintf("searched %d logs of %d deployments, %d bytes", s.logs, s.worlds, s.bytes)
	if s.worlds > 0 && s.bytes == 0 && code == 0 {
		return "FAIL: " + said, 1
	}
	return said, code
}

func TestNothingSearched(t *testing.T) {
	t.Parallel()
	log := func(s *searched, text string) *searched { s.add(text); return s }
	for _, test := range []struct {
		searched   *searched
		code, want int
	}{
		{&searched{}, 0, 0}, {&searched{worlds: 1}, 0, 1}, {log(&searched{worlds: 1}, ""), 0, 1}, {log(&searched{worlds: 1}, "level=INFO"), 0, 0}, {log(&searched{worlds: 1}, "level=INFO"), 2, 2},
	} {
		if said, got := test.searched.report(test.code); got != test.want || strings.HasPrefix(said, "FAIL") != (test.code == 0 && got != 0) {
			t.Errorf("the run that ended with %d ends with %d, want %d: %s", test.code, got, test.want, said)
		}
	}
}

// written is what people and callers have written in a world.
type written struct {
	mu    sync.Mutex
	texts map[string]bool
}

func (s *written) add(texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.texts == nil {
		s.texts = map[string]bool{}
	}
	for _, text := range texts {
		s.texts[text] = true
	}
}

func (s *written) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.texts))
}

// noting notes the texts in all that a client of the tests encodes: requests, signals, and decisions made elsewhere.
type noting struct {
	converter.DataConverter
	written *written
}

func (n noting) ToPayload(value any) (*commonpb.Payload, error) {
	n.written.add(textsIn(value)...)
	return n.DataConverter.ToPayload(value)
}

func (n noting) ToPayloads(values ...any) (*commonpb.Payloads, error) {
	for _, v := range values {
		n.written.add(textsIn(v)...)
	}
	return n.DataConverter.ToPayloads(values...)
}

// textsIn are the texts in the JSON of a value, but for the words and the IDs of the program's own contract.
func textsIn(value any) []string {
	b, err := json.Marshal(value)
	if err != nil {
		return nil // Then Temporal does not get it either.
	}
	var plain any
	if json.Unmarshal(b, &plain) != nil {
		return nil
	}
	// These have the program's own words, in [heard] and [workflows.Result].
	own := []string{"Kind", "Message", "note"}
	return slices.DeleteFunc(stringsIn(plain, func(key string) bool { return !slices.Contains(own, key) }), ofContract)
}

// stringsIn are the strings in a JSON value that stand at such keys; the key of what stands in no object is empty.
func stringsIn(value any, at func(key string) bool) (all []string) {
	var walk func(key string, value any)
	walk = func(key string, value any) {
		switch v := value.(type) {
		case string:
			if at(key) {
				all = append(all, v)
			}
		case []any:
			for _, e := range v {
				walk(key, e)
			}
		case map[string]any:
			for k, e := range v {
				walk(k, e)
			}
		}
	}
	walk("", value)
	return all
}

// data is text that nobody can recognise a request by: IDs of Slack's and of questions, hashes and UUIDs, numbers, times and
// durations.
var data = regexp.MustCompile(`^([A-Z2-7]{6}|[A-Z]0[A-Z0-9]{6,}|[0-9a-f]{32,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[-0-9.:TZ+]+|([0-9.]+[a-zµ]+)+)$`)

// ofContract reports whether a text is a word of the program's contract, or data.
func ofContract(text string) bool {
	return data.MatchString(text) || slices.Contains([]string{
		string(workflows.Approved), string(workflows.Rejected), string(workflows.Expired), string(workflows.Withdrawn), string(workflows.Changed),
		string(workflows.Failed), string(workflows.Optional), string(workflows.Required),
		string(workflows.NumberInput), string(workflows.SelectInput), string(workflows.PersonInput),
		string(workflows.Expire), string(workflows.ApproveOnExpiry), string(workflows.RejectOnExpiry),
		string(workflows.ViaCommand), string(workflows.Outside),
		string(workflows.Withdraw), string(workflows.Extend), string(workflows.Delegate), string(workflows.Escalate),
	}, text)
}

// gives notes what a command of the shell is given: its standard input, and those flags that hold text. A --key is none:
// it becomes the workflow's ID.
func (w *world) gives(stdin string, args []string) {
	w.written.add(textsIn(json.RawMessage(stdin))...)
	for i, flag := range args[:max(0, len(args)-1)] {
		if slices.Contains([]string{"--title", "--text", "--field", "--link", "--confirm", "--choice", "--input", "--reason", "--by"}, flag) {
			w.written.add(strings.Split(args[i+1], "=")...)
		}
	}
}

// typed is what people have typed in Slack: behind slash commands, and in forms.
func typed(deliveries []slacksim.Delivery) (all []string) {
	for _, d := range deliveries {
		var p struct {
			Text  string                `json:"text"`
			View  struct{ State state } `json:"view"`
			State state                 `json:"state"`
		}
		if json.Unmarshal(d.Payload, &p) != nil {
			continue // It was made to be no payload.
		}
		all = append(all, p.Text)
		for _, values := range []any{p.View.State.Values, p.State.Values} {
			all = append(all, stringsIn(values, func(key string) bool { return key == "value" })...)
		}
	}
	return slices.DeleteFunc(all, ofContract)
}

// state is what stands in the inputs of a form. https://docs.slack.dev/reference/interaction-payloads/view-interactions-payload
type state struct {
	Values any `json:"values"`
}

// forbidden is what must not stand in a log.
type forbidden struct {
	what    string
	text    string
	words   bool // the text is found as whole words only, if it is short
	pattern *regexp.Regexp
}

// patterns are those of what is secret in every deployment.
var patterns = []forbidden{
	{what: "a Slack token", pattern: regexp.MustCompile(`\bx(?:ox[a-z]|app)-[A-Za-z0-9]`)},
	{what: "a reference", pattern: regexp.MustCompile(`v1\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{20,}`)},
	{what: "a response URL", pattern: regexp.MustCompile(`/response/|(?i:hooks\.slack\.com/)`)},
	{what: "a socket's ticket", pattern: regexp.MustCompile(`\bticket=`)},
	{what: "a task token", pattern: regexp.MustCompile(`(?i)\btask[-_ ]?token\b`)},
	{what: "a private key", pattern: regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY`)},
	{what: "a credential of an HTTP header", pattern: regexp.MustCompile(`(?i)\bbearer [^ ]`)},
}

// secretVariables are the names of those variables that hold secrets.
var secretVariables = regexp.MustCompile(`_(?:TOKEN|SECRET|KEY|KEYS|KEY_DATA|AUTH)$`)

// inEnvironment are the secrets in a process's environment.
func inEnvironment(env []string) (all []forbidden) {
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		if !secretVariables.MatchString(name) {
			continue
		}
		for _, part := range strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == '\n' }) {
			part = strings.TrimSpace(part)
			if part == "" || strings.HasPrefix(part, "-----") { // of PEM
				continue
			}
			all = append(all, forbidden{what: name, text: part})
			if raw, err := base64.StdEncoding.DecodeString(part); err == nil && strings.HasSuffix(name, "_KEYS") {
				for _, form := range []string{
					base64.RawStdEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw), hex.EncodeToString(raw),
					fmt.Sprint(raw), string(raw),
				} {
					all = append(all, forbidden{what: name, text: form})
				}
			}
		}
	}
	return all
}

// A text is looked for in pieces, so that a part of it is found too; one that is shorter than shortest is not looked for,
// since it stands in other words.
const (
	shortest = 5
	window   = 20
)

// ids are what names workflows, questions and their activities in logs: people write them in commands, and tests encode them
// where a workflow of theirs asks.
var ids = regexp.MustCompile(`[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b(?:approval|greet|request)-[0-9a-z]{12,}\b|\b[A-Z2-7]{6}-\d+(?:-decision-\d+-[0-9a-f]+)?\b`)

// pieces are the parts of a text that stand in a log as they are, however it is quoted there.
func pieces(text string) (all []string) {
	quoted := func(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune("\"\\<>&`'", r) }
	for _, part := range strings.FieldsFunc(ids.ReplaceAllString(text, "\n"), quoted) {
		for runes := []rune(part); len(runes) > 0; {
			n := len(runes)
			if n >= 2*window {
				n = window
			}
			if piece := strings.TrimSpace(string(runes[:n])); len([]rune(piece)) >= shortest && !ofContract(piece) {
				all = append(all, piece)
			}
			runes = runes[n:]
		}
	}
	return all
}

var (
	// escapes are what a log makes of quotes and line ends within texts.
	escapes = regexp.MustCompile(`\\+(?:u[0-9a-f]{4}|x[0-9a-f]{2}|[^\\])`)
	// stamps are what stands in every line, and nobody wrote.
	stamps = regexp.MustCompile(`(?m)^(?:time=\S+ level=|\{"time":"[^"]+","level":)`)
)

// leaks returns the lines of the log in which something forbidden stands, each up to the first that does.
func leaks(log string, all []forbidden) (found []string) {
	log = stamps.ReplaceAllString(escapes.ReplaceAllString(log, " "), "")
	type leak struct {
		at   int
		what string
	}
	lines := map[int]leak{} // by where they begin
	for _, f := range all {
		at := -1
		if f.pattern != nil {
			if m := f.pattern.FindStringIndex(log); m != nil {
				at = m[0]
			}
		} else {
			at = index(log, f.text, f.words)
		}
		if at < 0 {
			continue
		}
		start := strings.LastIndexByte(log[:at], '\n') + 1
		if other, ok := lines[start]; !ok || at < other.at {
			lines[start] = leak{at, f.what}
		}
	}
	for _, start := range slices.Sorted(maps.Keys(lines)) {
		l := lines[start]
		found = append(found, l.what+": "+log[start:l.at]+"…")
	}
	return found
}

// index is where a text stands in the log; where words is true a short one has to stand there as words of its own.
func index(log, text string, words bool) int {
	isWord := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' }
	for from := 0; ; {
		at := strings.Index(log[from:], text)
		if at < 0 {
			return -1
		}
		at += from
		before, after := []rune(log[max(0, at-4):at]), []rune(log[at+len(text):min(len(log), at+len(text)+4)])
		if !words || len(text) >= window || (len(before) == 0 || !isWord(before[len(before)-1])) && (len(after) == 0 || !isWord(after[0])) {
			return at
		}
		from = at + len(text)
	}
}

// search fails the test where the log of one of the world's processes has anything in it that must not stand there. Env is
// the environment of the process.
func (w *world) search(name, log string, env []string) {
	w.Helper()
	searchLog(w.T, name, w.anonymous(log), append(secretsOf(env, w.sim), textsOf(w.texts()...)...))
}

// logged is a line of the program's log, among what a command says to who runs it.
var logged = regexp.MustCompile(`(?m)^(?:time=|\{"time":).*`)

// searchCommand is search for what a command says on standard error: that tells who asked what has become of their
// request, so only the lines of the log among it must not have what was written.
func (w *world) searchCommand(name, stderr string, env []string) {
	w.Helper()
	stderr = w.anonymous(stderr)
	searchLog(w.T, name, stderr, secretsOf(env, w.sim))
	for _, line := range logged.FindAllString(stderr, -1) {
		for _, f := range leaks(line, textsOf(w.texts()...)) {
			w.Errorf("the log of %s has %s", name, f)
		}
	}
}

// anonymous is the log without the name of the task queue, which has the test's name in it.
func (w *world) anonymous(log string) string {
	if w.queue == "" {
		return log
	}
	return strings.ReplaceAll(log, w.queue, "QUEUE")
}

// texts are what people and callers have written so far.
func (w *world) texts() []string {
	if w.sim != nil { // The demo has a workspace of its own.
		w.written.add(typed(w.sim.Deliveries())...)
	}
	return w.written.all()
}

// searchLog fails the test where anything forbidden stands in a log.
func searchLog(t *testing.T, name, log string, all []forbidden) {
	t.Helper()
	searches.add(log)
	for _, f := range leaks(log, all) {
		t.Errorf("the log of %s has %s", name, f)
	}
}

// secretsOf are those of every deployment, of a process's environment, and of a workspace, if there is one.
func secretsOf(env []string, sim *slacksim.Server) []forbidden {
	all := append(slices.Clone(patterns), inEnvironment(env)...)
	for _, secret := range []string{slacksim.DefaultBotToken, slacksim.DefaultAppToken, slacksim.DefaultSigningSecret} {
		all = append(all, forbidden{what: "a secret of Slack", text: secret})
	}
	if sim == nil {
		return all
	}
	return append(all, triggers(sim.Deliveries())...)
}

func triggers(deliveries []slacksim.Delivery) (all []forbidden) {
	for _, d := range deliveries {
		if d.TriggerID != "" {
			all = append(all, forbidden{what: "a trigger ID", text: d.TriggerID})
		}
	}
	return all
}

// textsOf are the pieces of texts.
func textsOf(texts ...string) (all []forbidden) {
	seen := map[string]bool{}
	for _, text := range texts {
		for _, piece := range pieces(text) {
			if !seen[piece] {
				seen[piece] = true
				all = append(all, forbidden{what: fmt.Sprintf("what somebody wrote, %q", piece), text: piece, words: true})
			}
		}
	}
	return all
}

// internals are what a person is not to read.
var internals = regexp.MustCompile(`rpc error|context (?:deadline|canceled)|dial tcp|connection re(?:fused|set)|\bEOF\b|i/o timeout|:\d{4,5}\b|go\.temporal\.io|` +
	`json: |invalid character|unmarshal|serviceerror|panic|goroutine|%!|<nil>|\b0x[0-9a-f]{6,}|-decision-\d|` + `\b[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b`) // a run ID; the lists show workflow IDs

// shownIn are the texts that people read in the arguments of a call, or in what an acknowledgement says.
func shownIn(value any) []string {
	var plain any
	switch v := value.(type) {
	case string: // Blocks and views stand in forms as JSON.
		if json.Unmarshal([]byte(v), &plain) != nil {
			return []string{v}
		}
		if s, ok := plain.(string); ok {
			return []string{s}
		}
	default:
		plain = v
	}
	all := stringsIn(plain, func(key string) bool { return key == "text" })
	if o, ok := plain.(map[string]any); ok { // What is said beside the inputs of a form.
		all = append(all, stringsIn(o["errors"], func(string) bool { return true })...)
	}
	return all
}

// internal is what a text has that a person is not to read; what somebody wrote themselves does not count.
func internal(text string, written []string) string {
	if !internals.MatchString(text) {
		return ""
	}
	for _, own := range written {
		if internals.MatchString(own) {
			text = strings.ReplaceAll(text, own, "")
		}
	}
	return internals.FindString(text)
}

// checkSentences fails the test where people were shown what is not for them.
func (w *world) checkSentences() {
	w.Helper()
	written := w.texts()
	check := func(where, text string) {
		w.Helper()
		if what := internal(strings.ReplaceAll(text, w.url, ""), written); what != "" {
			w.Errorf("%s shows %q: %q", where, what, text)
		}
	}
	for _, c := range w.sim.Calls("") {
		for _, key := range []string{"text", "blocks", "view"} {
			for _, text := range shownIn(c.Args[key]) {
				check(c.Method, text)
			}
		}
	}
	for _, d := range w.sim.Deliveries() {
		for _, text := range shownIn(string(d.Response)) {
			check(string(d.Kind), text)
		}
	}
}

func TestSentences(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"I could not: rpc error: code = Unavailable", "context deadline exceeded", "Post: dial tcp 127.0.0.1: connect: connection refused", "ask 10.0.0.1:7233",
		"go.temporal.io/sdk", "json: cannot unmarshal", "unexpected EOF", "%!s(<nil>)", "LQCDW4-1-decision-1-41a175e2", "run 01a208d4-5661-7ad9-bb3b-5898c1304464",
	} {
		if internal(text, []string{"something else"}) == "" {
			t.Errorf("%q may be shown", text)
		}
		if what := internal("You wrote: "+text, []string{text}); what != "" {
			t.Errorf("who wrote %q may not be shown %q", text, what)
		}
	}
	for _, text := range []string{"Until 2026-11-24 14:27 UTC", ":warning: 3 of 5", "https://sim.slack.com/archives/C0GENERAL1/p1795444079089193", "approval-7657a2e88a11b6bc255494df02d4d64a"} {
		if what := internal(text, nil); what != "" {
			t.Errorf("%q is taken for internal: %q", text, what)
		}
	}
	for _, shown := range []any{
		"EOF", `"EOF"`, `{"text":"EOF"}`, `[{"type":"section","text":{"type":"mrkdwn","text":"EOF"}}]`,
		map[string]any{"type": "modal", "blocks": []any{map[string]any{"elements": []any{map[string]any{"text": "EOF"}}}}},
		`{"response_action":"errors","errors":{"title":"EOF"}}`,
	} {
		if !slices.Contains(shownIn(shown), "EOF") {
			t.Errorf("%v shows %q, want EOF", shown, shownIn(shown))
		}
	}
}

// What is written by any door is known to the search.
func TestWritten(t *testing.T) {
	t.Parallel()
	w := &world{T: t}
	c := noting{converter.GetDefaultDataConverter(), &w.written}
	if _, err := c.ToPayloads(workflows.Request{Title: "nougat", Fields: []workflows.Field{{Value: "praline"}}, Requester: "U0ALICE001", RejectReason: workflows.Required, Deadline: "24h"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ToPayload(map[string]string{"reason": "halva"}); err != nil {
		t.Fatal(err)
	}
	w.gives(`{"title": "fudge"}`, []string{"request", "--text", "toffee", "--field", "brittle=sherbet", "--key", "caramel", "--wait"})
	w.written.add(typed([]slacksim.Delivery{
		{Payload: json.RawMessage(`{"command":"/greet","text":"gianduja"}`)},
		{Payload: json.RawMessage(`{"view":{"private_metadata":"v1.x","state":{"values":{"a":{"b":{"type":"plain_text_input","value":"turron"}}}}}}`)},
		{Payload: json.RawMessage(`{"state":{"values":{"a":{"b":{"type":"static_select","selected_option":{"value":"lokum"}}}}}}`)},
		{Payload: json.RawMessage(`[]`)},
	})...)
	want := []string{"brittle", "fudge", "gianduja", "halva", "lokum", "nougat", "praline", "sherbet", "toffee", "turron"}
	if diff := cmp.Diff(want, slices.DeleteFunc(w.texts(), func(s string) bool { return s == "" })); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
}

// The search finds every kind of secret, wherever it stands in a line, in both formats.
func TestSearch(t *testing.T) {
	t.Parallel()
	key := reference.NewKey()
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("An almond sweet, ", 20)
	all := append(slices.Clone(patterns), inEnvironment([]string{"REFERENCE_KEYS=" + key, "PAYLOAD_KEYS=" + reference.NewKey() + ", " + key, "TEMPORAL_API_KEY=s3cret", "TEMPORAL_TLS_CLIENT_KEY_DATA=-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIIGd\n-----END EC PRIVATE KEY-----\n", "LOG_LEVEL=debug"})...)
	all = append(all, triggers([]slacksim.Delivery{{TriggerID: "12345.98765.abcd2358fdea"}, {}})...)
	all = append(all, textsOf(append([]string{"World", "Europe", "extend 9e1e8ee5-9bdc-4283-a7ed-cd388f58f94f", "K5ILRT-1", long}, textsIn(map[string]any{"title": "Buy \"marzipan\"\nand <nougat>", "deadline": "24h", "reject_reason": "optional"})...)...)...)
	formats := map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	}
	for format, handler := range formats {
		line := func(value any) string {
			var b bytes.Buffer
			slog.New(handler(&b)).Info("drop a submission", "err", value)
			return b.String()
		}
		for secret, what := range map[string]string{
			slacksim.DefaultBotToken: "token", slacksim.DefaultAppToken: "token",
			"v1.aB3_-x." + strings.Repeat("c", 20):                "reference",
			`Post "http://127.0.0.1:4/response/abc": EOF`:         "response URL",
			"https://hooks.slack.com/actions/T0/1/x":              "response URL",
			"wss://slack/link/?ticket=1&app_id=2":                 "ticket",
			"trigger=12345.98765.abcd2358fdea":                    "trigger ID",
			"TaskToken: abc":                                      "task token",
			"-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE":            "private key",
			"line: MHcCAQEEIIGd":                                  "TEMPORAL_TLS_CLIENT_KEY_DATA",
			"keys3cret_":                                          "TEMPORAL_API_KEY",
			"Authorization: Bearer abc":                           "header",
			key:                                                   "_KEYS",
			base64.RawStdEncoding.EncodeToString(raw):             "_KEYS",
			base64.URLEncoding.EncodeToString(raw):                "_KEYS",
			hex.EncodeToString(raw):                               "_KEYS",
			fmt.Sprint(raw):                                       "_KEYS",
			"rejected: s3cret":                                    "TEMPORAL_API_KEY",
			"Hello, World!":                                       "somebody wrote",
			"greet\nWorld":                                        "somebody wrote",
			`The channel "Buy \"marzipan\"\nand <nougat>" is not`: "somebody wrote",
			fmt.Sprintf("the title is %q", "Buy \"marzipan\"\nand <nougat>"): "somebody wrote",
			fmt.Sprintf("%.40s", long):                                       "somebody wrote",
			"data:{\"region\":\"Europe\"}":                                   "somebody wrote",
		} {
			found := leaks(line(secret), all)
			if len(found) == 0 || !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, what) }) {
				t.Errorf("in %s %q is not found as %s: %q", format, secret, what, found)
			}
			for _, f := range found {
				if strings.Contains(f, secret) {
					t.Errorf("the finding shows what it has found: %q", f)
				}
			}
		}
		for _, fine := range []string{
			"xoxb- and xapp- are how tokens begin", "v1.abc", "TheWorldOver", "optional 24h", "responses", "Sweet", "change=extend", "9e1e8ee5-9bdc-4283-a7ed-cd388f58f94f", "K5ILRT-1-decision-1",
		} {
			if found := leaks(line(fine), all); len(found) > 0 {
				t.Errorf("in %s %q is taken for a secret: %q", format, fine, found)
			}
		}
	}
}

// Every program that is started from the binary has its log searched: it is started here, or says so.
func TestSearchIsEverywhere(t *testing.T) {
	t.Parallel()
	withoutLogs := "outage_test.go" // TestLogIsLost
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), "_test.go") || slices.Contains([]string{"logs_test.go", "harness_test.go", withoutLogs}, f.Name()) {
			continue
		}
		b, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("exec.Command(shared.binary")) && !regexp.MustCompile(`\b(w\.search|searchLog)`).Match(b) && !bytes.Contains(b, []byte("w.run(")) {
			t.Errorf("%s starts the binary, and does not search its log", f.Name())
		}
	}
}

// canary begins every word that people and callers write in these tests, so that it is found in whatever form.
const canary = "Axolotl"

// hasCanary returns the lines of the log that have a canary, each up to that and its word, once for each message.
func hasCanary(log string) (found []string) {
	word := regexp.MustCompile(`(?i)` + canary + `\w*`)
	message := regexp.MustCompile(`"?msg"?[=:](?:"[^"]*"|\S+)`)
	seen := map[string]bool{}
	for line := range strings.Lines(log) {
		m := word.FindStringIndex(line)
		if m == nil || seen[message.FindString(line)] {
			continue
		}
		seen[message.FindString(line)] = true
		found = append(found, line[:m[1]]+"…")
	}
	if !hides([]byte(strings.ReplaceAll(log, canary, "")), canary) {
		found = append(found, "base64 of a canary")
	}
	return found
}

// refusing makes Slack refuse what has a word of refused in it, and quote that, as it does where blocks are invalid; all
// else it lets through. https://docs.slack.dev/reference/methods/chat.postMessage#errors
func (w *world) refusing(refused map[string]string) {
	w.Helper()
	slack, err := url.Parse(w.url)
	w.must(err)
	forward := httputil.NewSingleHostReverseProxy(slack)
	forward.ErrorHandler = func(rw http.ResponseWriter, _ *http.Request, _ error) { rw.WriteHeader(http.StatusBadGateway) }
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if word := refused[path.Base(r.URL.Path)]; word != "" {
			body, err := io.ReadAll(r.Body)
			if err == nil && bytes.Contains(body, []byte(word)) {
				rw.Header().Set("Content-Type", "application/json")
				fmt.Fprintf(rw, `{"ok":false,"error":"invalid_blocks","response_metadata":{"messages":["[ERROR] invalid text: %s is not allowed [json-pointer:/blocks/0/text]"]}}`, word)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		forward.ServeHTTP(rw, r)
	}))
	w.Cleanup(srv.Close)
	w.sim.SetBaseURL(srv.URL)
	w.url = srv.URL
	w.env = append(w.env, "SLACK_API_URL="+srv.URL+"/api/")
}

// brimming is a request with a word of its own in every field. The approver fills in its form.
func (w *world) brimming(alice, bob slacksim.Person) workflows.Request {
	a := func(where string) string { return canary + where }
	return workflows.Request{
		Title: a("Title"), Text: "It is **" + a("Text") + "**.", Fields: []workflows.Field{{Label: a("Label"), Value: a("Value")}},
		Link: workflows.Link{URL: "https://shop.example/" + a("Link"), Text: a("LinkText")}, Channel: w.sim.Channel("general").ID, Requester: alice.ID(),
		Roles:   []workflows.Role{{Name: a("Role"), Approvers: workflows.Approvers{Users: []string{bob.ID()}}}},
		Confirm: a("Confirm"), ApproveComment: workflows.Optional,
		Choices: []workflows.Choice{{Label: a("Choice"), Value: a("Chosen")}, {Label: a("OtherChoice"), Value: a("OtherChosen")}},
		Inputs: []workflows.Input{
			{Name: a("Input"), Label: a("InputLabel"), Hint: a("Hint"), Initial: workflows.Text(a("Initial"))},
			{Name: "select", Type: workflows.SelectInput, Options: []workflows.Choice{{Label: a("Option"), Value: a("OptionValue")}}},
		},
	}
}

// What people and callers write is in no log, at any level, in any format, whatever happens to it.
func TestLogs(t *testing.T) {
	t.Parallel()
	for _, m := range []mode{socketMode, httpMode} {
		for _, encrypted := range []bool{false, true} {
			format := "text"
			if (m == socketMode) == encrypted {
				format = "json"
			}
			name := fmt.Sprintf("%s, %s", m, format)
			env := []string{"LOG_FORMAT=" + format}
			if encrypted {
				name += ", encrypted"
				env = append(env, "PAYLOAD_KEYS="+reference.NewKey())
			}
			for part, test := range map[string]func(*testing.T, *world){
				"asked": testLogsAsked, "doors": testLogsDoors, "faults": testLogsFaults, "refused": testLogsRefused,
			} {
				t.Run(name+", "+part, func(t *testing.T) {
					t.Parallel()
					test(t, newWorld(t, m, shared.temporal.Address, env...))
				})
			}
		}
	}
}

// startSilent starts the program, and checks at the end that it has logged something, and nothing of what was written.
func (w *world) startSilent() *process {
	w.Helper()
	w.patience(2 * patience)
	var p *process
	w.Cleanup(func() { // After the program has ended.
		if p == nil {
			return
		}
		for _, f := range hasCanary(p.log.String()) {
			w.Errorf("the log has %s", f)
		}
	})
	if p = w.launch([]string{"run"}); w.http {
		line := w.sees(p, `"?msg"?[=:]"?listening"?[ ,]"?address"?[=:]"?([0-9.:]+)`)
		w.sim.SetRequestURL("http://" + line[1] + "/slack/events")
	}
	w.sees(p, `"?msg"?[=:]"?ready`)
	return p
}

// named are a requester and an approver in #general who have given themselves such names.
func (w *world) named() (alice, bob slacksim.Person) {
	w.sim.AddPerson(slacksim.User{Name: "xoxb-1-" + strings.ToLower(canary) + "asker", RealName: "xoxb-1-" + canary + "Asker"})
	w.sim.AddPerson(slacksim.User{Name: "xoxb-2-" + strings.ToLower(canary) + "approver", RealName: "xoxb-2-" + canary + "Approver"})
	for _, name := range []string{"asker", "approver"} {
		p := w.sim.Person(fmt.Sprintf("xoxb-%d-%s%s", map[string]int{"asker": 1, "approver": 2}[name], strings.ToLower(canary), name))
		w.sim.Join("general", p.ID())
		if name == "asker" {
			alice = p.In("general")
		} else {
			bob = p.In("general")
		}
	}
	return alice, bob
}

// testLogsAsked asks for what is decided in Slack: chosen and filled in, rejected with a reason, handed over, withdrawn.
func testLogsAsked(_ *testing.T, w *world) {
	w.startSilent()
	alice, bob := w.named()
	approved := w.approval(w.brimming(alice, bob))
	card := w.message("general", slacksim.HasButton("approve_2"))
	w.home(bob)
	w.atHome(bob, says([]string{canary + "Title"}))
	w.fillsIn(bob, w.opens(bob, card, "approve_2", ""), map[string]any{"input-0": canary + "Filled", "input-1": canary + "OptionValue", "comment": canary + "Comment"})
	if res := w.outcome(approved, workflows.Approved); res.Choice != canary+"OtherChosen" || res.Inputs[canary+"Input"] != canary+"Filled" {
		w.Errorf("the result is %+v", res)
	}
	w.closed(card, canary+"Comment")

	r := w.brimming(alice, bob)
	r.FailOnReject, r.Choices, r.Title, r.TellRequester = true, nil, canary+"Unwanted", true
	rejected := w.approval(r)
	card = w.card("general", canary+"Unwanted")
	w.fillsIn(bob, w.opens(bob, card, "reject", ""), map[string]any{"comment": canary + "Reason"})
	w.failsAs(rejected, workflows.ErrTypeRejected)

	r = workflows.Request{Title: canary + "Withdrawn", Requester: alice.ID(), Approvers: workflows.Approvers{Users: []string{bob.ID()}}}
	withdrawn := w.approval(r)
	w.changes(alice, w.card("general", canary+"Withdrawn"), workflows.Withdraw)
	w.outcome(withdrawn, workflows.Withdrawn)

	run := w.ask("general", canary+"Greeted")
	w.click(w.as("bob", "general"), w.card("general", canary+"Greeted"), "approve", true)
	if got, err := w.result(run); got != "Hello, "+canary+"Greeted!" || err != nil {
		w.Errorf("Greeting returned %q, %v", got, err)
	}
	w.greet("general", canary+"Typed")
	w.fillsIn(w.as("bob", "general"), w.opens(w.as("bob", "general"), w.card("general", canary+"Typed"), "reject", ""), map[string]any{"comment": canary + "No"})
	form := w.form(alice)
	w.fillsIn(alice, form, map[string]any{"title": canary + "Form", "text": canary + "FormText", "approvers": []string{bob.ID()}})
	w.click(bob, w.card("general", canary+"Form"), "approve", true)
	w.types(alice, "/approval list "+canary+"Listed")
	w.types(alice, "/approval "+canary+"Subcommand "+canary+"Word")
}

// testLogsDoors asks by the activity, by Nexus and from a shell.
func testLogsDoors(_ *testing.T, w *world) {
	w.startSilent()
	alice, bob := w.named()
	r := w.brimming(alice, bob)
	r.Choices, r.Title = nil, canary+"ByActivity"
	called := w.calls("caller", aDay, r)
	w.fillsIn(bob, w.opens(bob, w.card("general", r.Title), "approve", ""), map[string]any{"input-0": canary + "Filled", "input-1": canary + "OptionValue", "comment": canary + "Comment"})
	w.outcome(called, workflows.Approved)

	r.Title = canary + "ByNexus"
	c := w.callerWith(w.variable("PAYLOAD_KEYS"))
	asked := c.start(0, r)
	w.fillsIn(bob, w.opens(bob, w.card("general", r.Title), "reject", ""), map[string]any{"comment": canary + "Reason"})
	if got := c.hears(asked); got[0].Result.Outcome != workflows.Rejected {
		w.Errorf("the caller hears %+v", got)
	}

	s := w.shell("", []string{
		"request", "--title", canary + "ByShell", "--text", canary + "Text", "--field", canary + "Label=" + canary + "Value", "--choice", canary + "Choice", "--choice", canary + "OtherChoice",
		"--link", "https://shop.example/" + canary + "Link", "--confirm", canary + "Confirm", "--channel", r.Channel, "--requester", alice.ID(), "--approver", bob.ID(), "--wait",
	}, "LOG_LEVEL=debug")
	id := s.asked()
	w.message("general", slacksim.HasButton("approve_2"))
	d := w.shell("", []string{"decide", id, "--approve", "--choice", canary + "Choice", "--by", canary + "By", "--reason", canary + "Outside"}, "ALLOW_OUTSIDE_DECISIONS=true", "LOG_LEVEL=debug")
	d.ends(0)
	s.results(0, workflows.Approved)
	for _, c := range []*shell{s, d} {
		for _, f := range hasCanary(strings.Join(logged.FindAllString(c.err.String(), -1), "\n")) {
			w.Errorf("the log of %q has %s", c.Args[1], f)
		}
	}
}

// testLogsFaults asks what cannot be asked, or not even be read.
func testLogsFaults(_ *testing.T, w *world) {
	w.startSilent()
	alice, bob := w.named()
	a := func(where string) string { return canary + where }
	wrong := map[string]any{
		"title": "", "text": a("Text"), "channel": a("Channel"), "requester": a("Requester"), "deadline": a("Deadline"), "expires_at": a("ExpiresAt"), "remind_every": a("RemindEvery"),
		"approvers": map[string]any{"users": []string{a("User")}, "groups": []string{a("Group")}}, "reject_reason": a("RejectReason"), "on_expiry": a("OnExpiry"),
		"link":   map[string]any{"url": "gopher:" + a("Link")},
		"inputs": []any{map[string]any{"name": a("Input") + " !", "type": a("InputType")}, map[string]any{"name": "select", "type": "select", "options": []any{}, "initial": a("Initial")}},
		"roles":  []any{map[string]any{"name": a("Role")}, map[string]any{"name": a("Role")}},
	}
	mistyped := map[string]any{"title": []any{a("Title")}, "channel": map[string]any{a("Key"): a("Value")}, "required": a("Required"), "requester": alice.ID()}
	// Names of approvers that the workspace does not have, and what it has in a wrong place.
	unknown := workflows.Request{Title: a("Unknown"), Channel: w.sim.Channel("general").ID, Roles: []workflows.Role{
		{Name: a("UnknownRole"), Approvers: workflows.Approvers{Users: []string{"U0NOBODY99"}}},
	}}
	starts := func(name string, input any) client.WorkflowRun {
		run, err := w.temporal.ExecuteWorkflow(w.ctx, client.StartWorkflowOptions{TaskQueue: w.queue}, name, input)
		w.must(err)
		return run
	}
	for _, input := range []any{wrong, mistyped, unknown} {
		_, err := w.result(starts("Approval", input))
		if err == nil {
			w.Errorf("%v was asked", input)
		}
	}
	for i, input := range []any{wrong, mistyped} {
		_, err := w.result(w.calls(fmt.Sprint("caller", i), aDay, input))
		if err == nil {
			w.Errorf("%v was asked by the activity", input)
		}
	}
	c := w.callerWith(w.variable("PAYLOAD_KEYS"))
	for i, got := range c.hears(c.start(0, wrong, mistyped, a("Word"), []string{a("Listed")})) {
		if !got.Failed {
			w.Errorf("by Nexus %d was asked", i)
		}
	}
	for _, input := range []any{map[string]any{"name": a("Greeted"), "channel": a("Channel"), "requested_by": a("By"), "greeting": a("Greeting")}, map[string]any{"name": "", "channel": a("NoChannel")}} {
		if got, err := w.result(starts("Greeting", input)); err == nil {
			w.Errorf("Greeting returned %q", got)
		}
	}
	// What no version could read.
	unread := []client.WorkflowRun{
		starts("Greeting", map[string]any{"name": []any{a("Nested")}}), starts("Greeting", a("Word")), starts("Approval", a("Word")),
		starts("ApprovalForCaller", a("Word")), starts("CloseCardLater", map[string]any{"card": a("Card"), "ended_at": a("EndedAt"), "request": a("Word")}),
	}
	run := w.approval(workflows.Request{Title: a("Signalled"), Requester: alice.ID(), Approvers: workflows.Approvers{Users: []string{bob.ID()}}})
	card := w.card("general", a("Signalled"))
	w.must(w.temporal.SignalWorkflow(w.ctx, run.GetID(), run.GetRunID(), "card_posted", a("Signal")))
	w.must(w.temporal.SignalWorkflow(w.ctx, run.GetID(), run.GetRunID(), "cancelled", a("Signal")))
	for _, change := range []any{a("Change"), map[string]any{"kind": a("Kind"), "until": a("Until")}, map[string]any{"kind": "extend", "by": map[string]any{"name": a("ChangedBy")}, "until": "2001-01-01T00:00:00Z", "reason": a("ChangeReason")}} {
		u, err := w.temporal.UpdateWorkflow(w.ctx, client.UpdateWorkflowOptions{
			WorkflowID: run.GetID(), RunID: run.GetRunID(), UpdateName: workflows.UpdateChange, Args: []any{change}, WaitForStage: client.WorkflowUpdateStageCompleted,
		})
		if err == nil {
			err = u.Get(w.ctx, nil)
		}
		if err == nil {
			w.Errorf("%v changed it", change)
		}
	}
	w.did(run, workflows.PostLine, 1)
	w.must(w.temporal.CompleteActivityByID(w.ctx, "default", run.GetID(), run.GetRunID(), w.openActivity(run),
		nil, temporal.NewNonRetryableApplicationError(a("Failure"), a("FailureType"), errors.New(a("Cause")), a("FailureDetails"))))
	if res, err := w.result(run); err == nil {
		w.Errorf("what failed is %s", res)
	}
	w.closed(card)
	run = w.approval(workflows.Request{Title: a("Completed"), Approvers: workflows.Approvers{Users: []string{bob.ID()}}})
	card = w.card("general", a("Completed"))
	w.did(run, workflows.PostLine, 1)
	w.must(w.temporal.CompleteActivityByID(w.ctx, "default", run.GetID(), run.GetRunID(), w.openActivity(run),
		map[string]any{"outcome": a("Outcome"), "reason": []string{a("OutsideReason")}, "at": a("At"), "by": a("By"), "inputs": a("Inputs")}, nil))
	_, _ = w.result(run) // It is read leniently, whatever that makes of it.
	w.closed(card)

	greeting := w.ask("general", a("Greeting"))
	card = w.card("general", a("Greeting"))
	w.click(w.as("bob", "general").Force(), card, "approve", true)
	if _, err := w.result(greeting); err != nil {
		w.Errorf("Greeting failed: %v", err)
	}
	for _, run := range unread {
		// Some have failed at once; others are tried again until somebody deploys what can read them.
		_ = w.temporal.TerminateWorkflow(w.ctx, run.GetID(), run.GetRunID(), "test")
	}
	w.sim.Deliver(w.ctx, map[string]any{"type": a("PayloadType"), "user": map[string]any{"id": a("PayloadUser")}, "actions": a("Actions")})
	w.sim.Deliver(w.ctx, map[string]any{
		"type": "block_actions", "user": map[string]any{"id": bob.ID(), "team_id": slacksim.TeamID}, "team": map[string]any{"id": slacksim.TeamID}, "response_url": "https://hooks.slack.com/" + a("Hook"),
		"actions": []any{map[string]any{"action_id": "approve", "block_id": "decision", "type": "button", "value": a("Reference")}},
	})
}

// testLogsRefused has Slack refuse what is asked, in words that quote it, and be in trouble.
func testLogsRefused(_ *testing.T, w *world) {
	w.refusing(map[string]string{
		"chat.postMessage": canary + "RefusedPost", "chat.update": canary + "RefusedUpdate", "views.open": canary + "RefusedForm", "views.publish": canary + "RefusedHome",
	})
	w.startSilent()
	alice, bob := w.named()
	ask := func(title string) (client.WorkflowRun, workflows.Request) {
		r := w.brimming(alice, bob)
		r.Title, r.Choices, r.Inputs, r.Confirm, r.ApproveComment = canary+title, nil, nil, canary+title, workflows.Off
		return w.approval(r), r
	}
	post, _ := ask("RefusedPost")
	w.failsAs(post, workflows.ErrTypeRefused)
	if _, err := w.result(w.ask("general", canary+"RefusedPost")); err == nil {
		w.Error("what Slack refuses was greeted")
	}

	update, _ := ask("RefusedUpdate")
	w.click(bob, w.card("general", canary+"RefusedUpdate"), "approve", true)
	w.outcome(update, workflows.Approved)

	form, r := ask("RefusedForm")
	r.Title, r.ApproveComment = canary+"RefusedForm", workflows.Required
	card := w.card("general", canary+"RefusedForm")
	if v, told := w.tries(bob, card, "reject", ""); v.ID != "" {
		w.Logf("the form does not have the title: %+v, %q", v, told)
		_, err := bob.CloseModal(w.ctx)
		w.must(err)
	}
	w.click(bob, card, "approve", true)
	w.outcome(form, workflows.Approved)

	home, _ := ask("RefusedHome")
	card = w.card("general", canary+"RefusedHome")
	_, err := bob.OpenHome(w.ctx)
	w.must(err)
	w.click(bob, card, "approve", true)
	w.outcome(home, workflows.Approved)

	w.sim.Inject(slacksim.Fault{Method: "chat.postMessage", Times: 1, Status: 500})
	w.sim.Inject(slacksim.Fault{Method: "chat.postMessage", Times: 1, Cut: true, Performed: true})
	w.sim.Inject(slacksim.Fault{Method: "chat.update", Times: 2, Status: 500})
	trouble, _ := ask("Trouble")
	card = w.card("general", canary+"Trouble")
	w.sim.Inject(slacksim.Fault{Method: "response_url", Times: 3, Cut: true})
	w.sim.Inject(slacksim.Fault{Method: "chat.postEphemeral", Times: 1, Cut: true})
	_, err = w.as("dave", "general").Click(w.ctx, card, "approve")
	w.must(err)
	w.sim.Inject(slacksim.Fault{Method: "views.open", Times: 1, Cut: true})
	_, err = bob.Click(w.ctx, card, "reject")
	w.must(err)
	w.click(bob.Force(), card, "approve", true)
	w.outcome(trouble, workflows.Approved)
}
