package card

import (
	"encoding/json"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"countersign/workflows"
)

// attacks are texts that want to be more than text. Nobody of whom they speak is of the request: the person U0EVIL0001,
// the group S0EVIL0001, the channel C0EVIL0001. What they put on a line of its own begins with "Forged".
func attacks() map[string]string {
	return map[string]string{
		"everybody":                  "<!channel> <!here> <!everyone>",
		"everybody, with a label":    "<!channel|all> <!here|@here>",
		"everybody, by name":         "@channel @here @everyone",
		"a group":                    "<!subteam^S0EVIL0001|@sre>",
		"a person":                   "<@U0EVIL0001|Bob>",
		"a person in a person":       "<@U0EVIL0001|<!channel>>",
		"a channel":                  "<#C0EVIL0001|general>",
		"link":                       "<https://evil.example|bank>",
		"link that looks like one":   "<https://evil.example|https://bank.example>",
		"address":                    "https://evil.example/a",
		"link in Markdown":           "[bank](https://evil.example)",
		"address that is another":    "[https://bank.example](https://evil.example)",
		"picture":                    "![x](http://evil.example/a)",
		"autolink":                   "<https://evil.example/a>",
		"link by reference":          "[bank][1]\n\n[1]: https://evil.example",
		"script":                     "[x](javascript:alert(1))",
		"script alone":               "javascript:alert(1)",
		"script in capitals":         "<JaVaScRiPt:alert(1)|x>",
		"data":                       "[x](data:text/html,<b>)",
		"file":                       "[x](file:///etc/passwd)",
		"deep link":                  "<slack://open|x>",
		"mail":                       "<mailto:a@evil.example|bob>",
		"name before a host":         "[x](https://bank.example@evil.example)",
		"date":                       "<!date^0^{date}^https://evil.example|now>",
		"formats":                    "*b* _i_ ~s~ `c`",
		"formats around all":         "*_~`everything`~_*",
		"fence":                      "```\n<!channel>\n```",
		"fence that never ends":      "```<!channel>",
		"quote":                      "> Forged",
		"quote of all that follows":  ">>> Forged",
		"heading":                    "# Forged",
		"list":                       "- Forged\n1. Forged\n• Forged",
		"rule":                       "---",
		"table":                      "|a|b|\n|-|-|\n|<!here>|c|",
		"line":                       "x\nForged by <@U0EVIL0001>",
		"line by a carriage return":  "x\rForged",
		"line of Unicode":            "x\u2028Forged\u2029Forged\u0085Forged",
		"line by a vertical tab":     "x\vForged\fForged",
		"line by an entity":          "x&#10;Forged&NewLine;Forged",
		"many lines":                 "x" + strings.Repeat("\n", 12) + "Forged",
		"next in a row":              "x  ·  Approved by bob  ·  y",
		"end of brackets":            "x) approved (y",
		"turned around":              "\u202aa\u202bb\u202cc\u202dd\u202ee",
		"turned around in part":      "\u2066a\u2067b\u2068c\u2069",
		"turned around by an entity": "a&#x202e;b&rlm;c",
		"marks of direction":         "\u200ea\u200fb\u061cc",
		"no width":                   "a\u200bb\u200cc\u200dd\u2060e\ufefff",
		"no width in markup":         "<\u200b!channel> <@\u200dU0EVIL0001>",
		"soft hyphen in an address":  "https://e\u00advil.example",
		"fillers":                    "\u115f\u3164\uffa0\u2800",
		"tags":                       "a\U000e0041\U000e007f",
		"NUL":                        "a\x00b",
		"controls":                   "a\x01b\x08c\x1b[31md\x7fe\u009bf",
		"entities":                   "&lt;!channel&gt;",
		"entities by number":         "&#60;!here&#62;&#x3c;@U0EVIL0001>",
		"entities twice":             "&amp;lt;!channel&amp;gt;",
		"entities three times":       "&amp;amp;lt;!here&amp;amp;gt;",
		"half an entity":             "&l &# &#x &;",
		"escaped":                    `\<!channel\> \*b\*`,
		"emoji":                      ":white_check_mark: ok",
		"right to left":              "שלום (bank)",
		"combining":                  "e\u0301Z\u0335\u0353\u0335",
		"HTML":                       "<b onclick=x>a</b><!-- c -->",
		"not UTF-8":                  "a\xffb\xed\xa0\x80c",
		"many people":                strings.Repeat("<@U0EVIL0001>", 200),
		"long":                       strings.Repeat("evil ", 800),
		"long without a space":       strings.Repeat("x", 4000),
		"open brackets":              strings.Repeat("<", 4000),
		"ampersands":                 strings.Repeat("&", 4000),
	}
}

// writer gives the next text of at most so many characters.
type writer func(limit int) string

// always writes one text, as much of it as there may be.
func always(s string) writer {
	return func(limit int) string { return string([]rune(s)[:min(limit, len([]rune(s)))]) }
}

// all writes one attack after the other, and many of them where there is room.
func all() writer {
	texts := attacks()
	maps.DeleteFunc(texts, func(_, s string) bool { return len(s) > 60 || !utf8.ValidString(s) })
	names, next := slices.Sorted(maps.Keys(texts)), 0
	return func(limit int) string {
		var b strings.Builder
		for range names {
			s := texts[names[next%len(names)]]
			next++
			if len([]rune(b.String()))+len([]rune(s))+1 > limit {
				if b.Len() > 0 || limit > 60 {
					break
				}
				continue // It is for a field with more room.
			}
			if b.Len() > 0 {
				b.WriteString("\n")
			}
			if b.WriteString(s); limit <= workflows.MaxTitle {
				break
			}
		}
		return b.String()
	}
}

// asksEvil is a request of which w writes all that a caller can write.
func asksEvil(w writer) workflows.Request {
	r := workflows.Request{
		Title: w(workflows.MaxTitle), Text: w(workflows.MaxText), Channel: "C0GENERAL1", Requester: alice.ID,
		Link:    workflows.Link{URL: "https://evil.example/" + w(workflows.MaxLabel), Text: w(workflows.MaxLabel)},
		Confirm: w(workflows.MaxConfirm), ExpiresAt: asked.Add(24 * time.Hour),
		RejectReason: workflows.Required, ApproveComment: workflows.Optional,
		Roles: []workflows.Role{
			{Name: w(workflows.MaxRoleName), Approvers: workflows.Approvers{Users: []string{bob.ID, carol.ID}}, Required: 2},
			{Name: w(workflows.MaxRoleName), Approvers: workflows.Approvers{Users: []string{w(40)}, Groups: []string{"S0SRE00001", w(40)}}},
		},
	}
	for range 8 {
		r.Fields = append(r.Fields, workflows.Field{Label: w(workflows.MaxLabel), Value: w(workflows.MaxFieldValue)})
	}
	for range 5 {
		r.Choices = append(r.Choices, workflows.Choice{Label: w(workflows.MaxLabel), Value: w(workflows.MaxLabel)})
	}
	for i, kind := range []workflows.InputType{workflows.TextInput, workflows.TextInput, workflows.SelectInput, workflows.PersonInput, workflows.NumberInput} {
		in := workflows.Input{
			Name: w(workflows.MaxInputName), Label: w(workflows.MaxLabel), Type: kind, Hint: w(workflows.MaxHint),
			Initial: workflows.Text(w(200)), Lines: i == 1,
		}
		if kind == workflows.SelectInput {
			for range 4 {
				in.Options = append(in.Options, workflows.Choice{Label: w(workflows.MaxLabel), Value: w(workflows.MaxLabel)})
			}
			in.Initial = workflows.Text(in.Options[1].String())
		}
		r.Inputs = append(r.Inputs, in)
	}
	r.Escalate = []workflows.Escalation{{After: "1h", Role: w(workflows.MaxRoleName), Approvers: workflows.Approvers{Users: []string{carol.ID, w(40)}}}}
	return r
}

// drawn is what a builder makes: blocks and their text, a view, or lines of mrkdwn.
type drawn struct {
	message *Message
	modal   *slack.ModalViewRequest
	home    *slack.HomeTabViewRequest
	lines   []string
}

func (d drawn) value() any {
	switch {
	case d.message != nil:
		return map[string]any{"text": d.message.Text, "blocks": d.message.Blocks}
	case d.modal != nil:
		return d.modal
	case d.home != nil:
		return d.home
	default:
		return d.lines
	}
}

// everyEvil draws with every builder what w writes, in the request, in what people fill in, in their names, and in what
// comes from outside.
func everyEvil(w writer) map[string]drawn {
	r := asksEvil(w)
	plain := r
	plain.Roles, plain.Choices = nil, nil
	plain.Approvers = workflows.Approvers{Users: []string{bob.ID, w(40)}, Groups: []string{"S0SRE00001", w(40)}}
	evil := workflows.Person{ID: bob.ID, Name: w(80), Team: w(20)}
	given := workflows.Person{Name: w(workflows.MaxName) + workflows.AsGiven}
	noID := workflows.Person{ID: w(40), Name: w(80)}

	filled := func(by workflows.Person, o workflows.Outcome) workflows.Decision {
		d := workflows.Decision{
			Outcome: o, By: by, At: decided, Reason: w(workflows.MaxReason), Choice: r.Choices[2].String(),
			Roles: []string{r.Roles[0].Name}, Role: r.Roles[0].Name, Inputs: map[string]string{},
		}
		for _, in := range r.Inputs {
			d.Inputs[in.Name] = w(300)
		}
		return d
	}
	changed := []workflows.Change{
		{Kind: workflows.Delegate, By: evil, To: w(40), At: asked},
		{Kind: workflows.Extend, By: noID, Until: asked.Add(26 * time.Hour), At: asked},
		{Kind: workflows.Escalate, By: evil, Role: r.Roles[1].Name, Approvers: workflows.Approvers{Users: []string{w(40)}, Groups: []string{w(40)}}, At: asked},
	}
	half := workflows.Round{Request: r, Number: 3, Changes: changed, Decisions: []workflows.Decision{filled(evil, workflows.Approved), filled(given, workflows.Approved), filled(noID, workflows.Approved)}}
	open := workflows.Round{Request: plain, Number: 1}
	answered := open
	answered.Required, answered.Decisions = 3, []workflows.Decision{filled(given, workflows.Approved)}
	refused := half
	refused.Decisions = append(slices.Clone(half.Decisions), filled(given, workflows.Rejected))

	res := func(o workflows.Outcome, ds ...workflows.Decision) workflows.Result {
		return workflows.Result{
			Outcome: o, EndedAt: decided, Decisions: ds, Choice: r.Choices[2].String(), Inputs: ds[len(ds)-1].Inputs,
			Permalink: "https://slack.example/" + w(60), Changes: changed,
		}
	}
	approved := res(workflows.Approved, half.Decisions...)
	rejected := res(workflows.Rejected, filled(given, workflows.Rejected))
	withdrawn := ended(workflows.Withdrawn, "")
	withdrawn.Changes = []workflows.Change{{Kind: workflows.Withdraw, By: given, Via: workflows.Outside, At: decided}}
	failed := ended(workflows.Failed, w(500))
	failed.Card = workflows.Card{Channel: "C0GENERAL1", TS: "1.1"}

	line := func(e workflows.Event, r workflows.Round) Message {
		return Line(workflows.Line{Event: e, Round: r}, workflows.Approvers{Users: []string{carol.ID, w(40)}, Groups: []string{w(40)}})
	}
	row := Row{Listed: workflows.Listed{Round: half, Missing: half.Tally().Missing, Counted: half.Counted(), Permalink: "https://slack.example/" + w(60)}, WorkflowID: w(200), Reference: "v1.reference", Viewer: bob.ID}
	over := row
	over.Round.Decisions, over.Reference = rejected.Decisions, ""
	over.Outcome, over.EndedAt, over.Permalink = workflows.Rejected, decided, w(100)
	unread := row
	unread.Unknown, unread.Round.Changes = true, withdrawn.Changes

	made := make(map[string]drawn)
	for name, m := range map[string]Message{
		"open": Open(open, "v1.reference"), "open_choices": Open(workflows.Round{Request: r, Number: 1}, "v1.reference"),
		"open_halfway": Open(half, "v1.reference"), "open_as_given": Open(answered, "v1.reference"),
		"approved": Closed(r, approved), "rejected": Closed(r, rejected), "withdrawn": Closed(r, withdrawn),
		"expired": Closed(plain, ended(workflows.Expired, "")), "failed": Closed(plain, failed),
		"line_asked": line(workflows.Asked, open), "line_reminded": line(workflows.Reminded, half),
		"line_escalated": line(workflows.Escalated, half), "line_delegated": line(workflows.Delegated, half),
		"line_extended": line(workflows.Extended, half), "line_decided": line(workflows.Decided, half),
		"line_given": line(workflows.Decided, refused), "line_given_first": line(workflows.Decided, answered),
		"direct": Direct(workflows.Line{Event: workflows.Asked, Round: open, Permalink: "https://slack.example/" + w(60)}),
		"direct_delegated": Direct(workflows.Line{Event: workflows.Delegated, Round: workflows.Round{
			Request: plain, Changes: []workflows.Change{{Kind: workflows.Delegate, By: noID, To: w(40)}},
		}, Permalink: w(100)}),
		"notice": Notice(r, approved, true), "notice_rejected": Notice(r, rejected, false),
		"notice_withdrawn": Notice(plain, withdrawn, true), "notice_failed": Notice(plain, failed, true),
		"plain": Plain("Hello, " + w(1000) + "!"),
	} {
		made[name] = drawn{message: &m}
	}
	const metadata = `{"reference":"v1.reference"}`
	for name, v := range map[string]slack.ModalViewRequest{
		"modal_approve": DecisionModal(half, ActionApprove, metadata, false), "modal_home": DecisionModal(half, ActionApprove, metadata, true),
		"modal_reject": DecisionModal(half, ActionReject, metadata, false), "modal_choice": DecisionModal(open, "approve_2", metadata, true),
		"modal_chosen":   DecisionModal(workflows.Round{Request: r}, "approve_3", metadata, false),
		"modal_extend":   ExtendModal(half, metadata),
		"modal_escalate": ChangeModal(workflows.Escalate, workflows.Round{Request: r}, metadata),
		"modal_withdraw": ChangeModal(workflows.Withdraw, half, metadata), "modal_request": RequestModal(metadata, w(workflows.MaxTitle)),
		"modal_told":      Notified(Sentence(rejected, Mrkdwn), Mrkdwn),
		"modal_told_bare": Notified(Sentence(rejected, Bare), Bare),
	} {
		made[name] = drawn{modal: &v}
	}
	home := DrawHome(Home{
		Waiting: Section{Rows: []Row{row, unread}}, Asked: Section{Rows: []Row{row}}, Decided: Section{Rows: []Row{over}}, At: decided,
	})
	unloaded := DrawHome(Home{Failed: w(200)})
	made["home"], made["home_failed"] = drawn{home: &home}, drawn{home: &unloaded}
	made["sentences"] = drawn{lines: []string{
		Sentence(approved, Mrkdwn), Sentence(rejected, Mrkdwn), Sentence(withdrawn, Mrkdwn), Sentence(failed, Mrkdwn),
		Progress(half), Progress(answered), Approvers(plain.Approvers), Approvers(half.Who()),
	}}
	made["list"] = drawn{lines: []string{ListLine(row), ListLine(over), ListLine(unread)}}
	return made
}

// ownMarkup is what stands in mrkdwn of ours between "<" and ">", and the bold titles and the IDs in code of a list.
var (
	ownMarkup = regexp.MustCompile(`<https://[!-;=?-{}~]+\|Open card>|<@U0(?:ALICE001|BOB00001|CAROL001)>|<!subteam\^S0SRE00001>|<!date\^-?[0-9]+\^\{date_short\} at \{time\}\|[0-9: -]+UTC>|&(?:amp|lt|gt);`)
	ownFormat = regexp.MustCompile("^\\*([^*]*)\\*|`[^`]*`$")
	inWord    = regexp.MustCompile(`[\pL\pN]_+[\pL\pN]`)
)

// inert checks that nothing of what was drawn is more than text, whoever wrote it.
func inert(t *testing.T, d drawn) {
	t.Helper()
	b, err := json.Marshal(d.value())
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	eachText(v, "", func(key, s string) {
		// Not shown, or the very data that a person is to change and that comes back as it is.
		if slices.Contains([]string{"private_metadata", "value", "initial_value", "action_id", "block_id", "url"}, key) {
			return
		}
		if r := unseen(s); r >= 0 {
			t.Errorf("%s has %U: %.200q", key, r, s)
		}
	})
	dialogs := confirmations(v)
	walk(v, func(o map[string]any) {
		s, _ := o["text"].(string)
		switch o["type"] {
		case "mrkdwn":
			if o["verbatim"] != true {
				t.Errorf("mrkdwn without verbatim: %.200q", s)
			}
			ownLine(t, s, nil)
		case "plain_text":
			if o["emoji"] != false {
				t.Errorf("plain text with emoji: %.200q", s)
			}
			if strings.Contains(s, "\nForged") && !slices.Contains(dialogs, s) {
				t.Errorf("a line in plain text: %.200q", s)
			}
		case "link":
			u, err := url.Parse(o["url"].(string))
			if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
				t.Errorf("a link to %q", o["url"])
			} else if s != openCard && !strings.Contains(s, u.Host) {
				t.Errorf("a link to %s says %q", u.Host, s)
			}
		case "date":
			if o["timestamp"] == 0. || o["url"] != nil {
				t.Errorf("a date that is not ours: %v", o)
			}
		case "broadcast", "usergroup", "channel", "emoji", "color", "image":
			t.Errorf("an element of the type %s: %v", o["type"], o)
		}
		if to, ok := o["url"].(string); ok && o["type"] != "link" {
			t.Errorf("%v leads to %q", o["type"], to)
		}
	})
	for _, line := range d.lines {
		ownLine(t, line, ownFormat)
	}
	if d.message == nil {
		return
	}
	// The text for those who hear it says people as people, whoever wrote of them, and may have formats of theirs.
	text := strings.ReplaceAll(d.message.Text, "<@U0EVIL0001>", "")
	if rest := ownMarkup.ReplaceAllString(text, ""); strings.ContainsAny(rest, "<>&") {
		t.Errorf("the text has markup that is not ours, or half an entity: %.300q", rest[strings.IndexAny(rest, "<>&"):])
	}
}

// confirmations are the questions of dialogs, which may have lines.
func confirmations(v any) (all []string) {
	walk(v, func(o map[string]any) {
		if dialog, ok := o["confirm"].(map[string]any); ok {
			if text, ok := dialog["text"].(map[string]any); ok { // Otherwise it is the dialog's own button.
				all = append(all, text["text"].(string))
			}
		}
	})
	return all
}

// ownLine checks that mrkdwn has no markup, format and line but ours.
func ownLine(t *testing.T, s string, format *regexp.Regexp) {
	t.Helper()
	if rest := ownMarkup.ReplaceAllString(s, ""); strings.ContainsAny(rest, "<>&") {
		t.Errorf("mrkdwn has markup that is not ours, or half an entity: %.300q", rest[strings.IndexAny(rest, "<>&"):])
	}
	rest := ownMarkup.ReplaceAllString(s, "")
	if format != nil {
		rest = format.ReplaceAllString(rest, "$1")
	}
	if rest = inWord.ReplaceAllString(rest, ""); strings.ContainsAny(rest, "*_~`") {
		t.Errorf("mrkdwn has a format that is not ours: %.300q", rest[strings.IndexAny(rest, "*_~`"):])
	}
	if strings.Contains(s, "\nForged") || strings.Contains(s, between+"Approved by bob"+between) {
		t.Errorf("mrkdwn has a line that is not ours: %.300q", s)
	}
}

// unseen is a character that is not seen, or that turns the direction of writing; -1 where there is none.
func unseen(s string) rune {
	for _, r := range s {
		if r != '\n' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp) || r == unicode.ReplacementChar {
			return r
		}
	}
	return -1
}

// eachText visits every text, with the key that it stands under.
func eachText(v any, key string, visit func(key, s string)) {
	switch v := v.(type) {
	case string:
		visit(key, v)
	case []any:
		for _, item := range v {
			eachText(item, key, visit)
		}
	case map[string]any:
		for k, item := range v {
			eachText(item, k, visit)
		}
	}
}

// What people and callers write stays text in all that is drawn of it.
func TestInjectedText(t *testing.T) {
	t.Parallel()
	for name, d := range everyEvil(all()) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden(t, "inject_"+name, d.value())
			inert(t, d)
			switch {
			case d.message != nil:
				fits(t, *d.message)
			case d.modal != nil:
				opens(t, *d.modal)
			case d.home != nil:
				shows(t, *d.home)
			}
		})
	}
	for name, s := range attacks() {
		t.Run("everywhere: "+name, func(t *testing.T) {
			t.Parallel()
			for builder, d := range everyEvil(always(s)) {
				t.Run(builder, func(t *testing.T) { inert(t, d) })
			}
		})
	}
}
