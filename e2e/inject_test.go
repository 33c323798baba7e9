package e2e

import (
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"countersign/internal/slacksim"
	"countersign/workflows"
)

// evil are texts that want to be more than text. Nobody of whom they speak is in the workspace, and a line of their own
// begins with "Forged".
func evil() []string {
	return []string{
		"<!channel> <!here|@here> <!everyone>", "@channel @here @everyone", "<!subteam^S0EVIL0001|@sre>", "<@U0EVIL0001|Bob>", "<#C0EVIL0001|general>",
		"<https://evil.example|https://bank.example>", "https://evil.example/a", "[bank](https://evil.example)", "[x](javascript:alert(1))",
		"<javascript:alert(1)|x>", "[x](data:text/html,<b>)", "<mailto:a@evil.example|bob>", "<!date^0^{date}^https://evil.example|now>",
		"*b* _i_ ~s~ `c`", "```\n<!here>\n```", "x\n> Forged", "x\n- Forged\n1. Forged", "x\nForged by <@U0EVIL0001>", "x\rForged\u2028Forged\vForged",
		"x  ·  Approved by bob  ·  y", "\u202aa\u202bb\u202cc\u202dd\u202ee", "\u2066a\u2067b\u2068c\u2069\u200f", "a\u200bb\u200dc\u2060d\ufeffe\u00adf",
		"<\u200b!channel>", "&lt;!channel&gt; &#60;!here&#62;", "&amp;lt;!channel&amp;gt;", "&#x202e;a&rlm;b", "a\x01b\x1b[31mc\x7fd", `\<!channel\>`,
		":white_check_mark: ok", "שלום", "Z\u0335\u0353\u0335", "<b>a</b><!-- c -->",
	}
}

// evils writes one of them after the other, and as many as there is room for, from some.
func evils() func(limit, some int) string {
	all, next := evil(), 0
	return func(limit, some int) string {
		text := ""
		for range all {
			s := all[next%len(all)]
			next++
			if text != "" {
				s = "\n" + s
			}
			if utf8.RuneCountInString(text+s) > limit {
				continue
			}
			if text += s; utf8.RuneCountInString(text) >= some {
				break
			}
		}
		return text
	}
}

// cut is the part of a text between two characters.
func cut(s string, from, to int) string {
	all := []rune(s)
	return string(all[min(from, len(all)):min(to, len(all))])
}

// asksEvil is a request of which all that a caller can write is evil, and which can be asked all the same.
func (w *world) asksEvil() workflows.Request {
	text := evils()
	r := workflows.Request{
		Title: text(workflows.MaxTitle, 1), Text: text(workflows.MaxText, 1500), Channel: w.sim.Channel("general").ID, Requester: w.sim.Person("alice").ID(),
		Link:    workflows.Link{URL: "https://evil.example/?" + url.QueryEscape("a") + "<b>|c", Text: "<https://evil.example|bank>"},
		Confirm: text(workflows.MaxConfirm, 200), ApproveComment: workflows.Optional, RejectReason: workflows.Required, TellRequester: true,
		Inputs: []workflows.Input{
			{Name: "text", Label: text(workflows.MaxLabel, 1), Hint: text(workflows.MaxHint, 1), Initial: workflows.Text(text(500, 300)), Lines: true},
			{Name: "select", Label: text(workflows.MaxLabel, 1), Type: workflows.SelectInput, Hint: text(workflows.MaxHint, 1)},
		},
	}
	for range 12 {
		r.Fields = append(r.Fields, workflows.Field{Label: text(workflows.MaxLabel, 1), Value: text(workflows.MaxFieldValue, 1)})
	}
	for range 5 {
		r.Choices = append(r.Choices, workflows.Choice{Label: text(workflows.MaxLabel, 1), Value: text(workflows.MaxLabel, 1)})
	}
	for range 10 {
		r.Inputs[1].Options = append(r.Inputs[1].Options, workflows.Choice{Label: text(workflows.MaxLabel, 1), Value: text(workflows.MaxLabel, 1)})
	}
	return r
}

var (
	ownMarkup = regexp.MustCompile(`<https://[!-;=?-{}~]+\|Open card>|<@U[A-Z0-9]+>|<!subteam\^S[A-Z0-9]+>|<!date\^-?[0-9]+\^\{date_short\} at \{time\}\|[0-9: -]+UTC>|&(?:amp|lt|gt);`)
	inWord    = regexp.MustCompile(`[\pL\pN]_+[\pL\pN]`)
	// ownFormats are what private sentences have: commands, headings, titles at the start of a line, and code.
	ownFormats = regexp.MustCompile("(?m)\\*/[a-z][^*\n]*\\*|^\\*[A-Z][a-z ]+\\*$|^•  \\*[^*_~`\n]+\\*|`[^`\n]*`")
)

// saidInSlack is everything that the app has said: its calls, by their methods, and what it acknowledged with.
func (w *world) saidInSlack() map[string][]map[string]any {
	w.Helper()
	all := map[string][]map[string]any{}
	for _, c := range w.sim.Calls("") {
		said := map[string]any{}
		for key, v := range c.Args {
			said[key] = v
			if s, ok := v.(string); ok && (key == "blocks" || key == "view") {
				var object any
				w.must(json.Unmarshal([]byte(s), &object))
				said[key] = object
			}
		}
		all[c.Method] = append(all[c.Method], said)
	}
	for _, d := range w.sim.Deliveries() {
		var said map[string]any
		if json.Unmarshal(d.Response, &said) == nil && len(said) > 0 {
			all["acknowledged"] = append(all["acknowledged"], said)
		}
	}
	return all
}

// isInert checks that nothing that others wrote is more than text in all that the app has said, and that all of the
// methods were called.
func (w *world) isInert(methods ...string) {
	w.Helper()
	all := w.saidInSlack()
	for _, m := range methods {
		if len(all[m]) == 0 {
			w.Errorf("%s was never called: the test shows less than it says", m)
		}
	}
	for method, calls := range all {
		for _, said := range calls {
			w.inert(method, said)
		}
	}
}

func (w *world) inert(method string, said map[string]any) {
	w.Helper()
	if text, ok := said["text"].(string); ok && said["type"] == nil {
		if rest := ownMarkup.ReplaceAllString(text, ""); strings.ContainsAny(rest, "<>&") {
			w.Errorf("%s: the text has markup that is not ours, or half an entity: %.300q in %q", method, rest[strings.IndexAny(rest, "<>&"):], text)
		}
	}
	if said["link_names"] != nil || said["parse"] != nil {
		w.Errorf("%s has Slack look for names and links: %v, %v", method, said["link_names"], said["parse"])
	}
	var visit func(key string, v any)
	visit = func(key string, v any) {
		switch v := v.(type) {
		case string:
			if slices.Contains([]string{"private_metadata", "value", "initial_value", "action_id", "block_id", "url", "metadata"}, key) {
				return
			}
			for _, r := range v {
				if r != '\n' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp) {
					w.Errorf("%s: %s has %U: %.300q", method, key, r, v)
					break
				}
			}
		case []any:
			for _, item := range v {
				visit(key, item)
			}
		case map[string]any:
			w.inertObject(method, v)
			for k, item := range v {
				visit(k, item)
			}
		}
	}
	visit("", said)
}

func (w *world) inertObject(method string, o map[string]any) {
	w.Helper()
	text, _ := o["text"].(string)
	switch o["type"] {
	case "mrkdwn":
		rest := ownMarkup.ReplaceAllString(text, "")
		if slices.Contains([]string{"acknowledged", "response_url", "chat.postEphemeral"}, method) {
			rest = ownFormats.ReplaceAllString(rest, "")
		}
		if o["verbatim"] != true || strings.ContainsAny(rest, "<>&") || strings.ContainsAny(inWord.ReplaceAllString(rest, ""), "*_~`") {
			w.Errorf("%s: mrkdwn has more than our markup, or is not verbatim: %q", method, text)
		}
		if strings.Contains(text, "EVIL0001>") || strings.Contains(text, "\nForged") || strings.Contains(text, "  ·  Approved by bob") {
			w.Errorf("%s: mrkdwn calls somebody, or has a line, that is not ours: %q", method, text)
		}
	case "plain_text":
		if o["emoji"] != false {
			w.Errorf("%s: plain text with emoji: %q", method, text)
		}
	case "link":
		to, _ := o["url"].(string)
		u, err := url.Parse(to)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || text != "Open card" && !strings.Contains(text, u.Host) {
			w.Errorf("%s: a link to %q says %q", method, to, text)
		}
	case "date":
		if o["timestamp"] == 0. || o["url"] != nil {
			w.Errorf("%s: a date that is not ours: %v", method, o)
		}
	case "broadcast", "usergroup", "channel", "emoji", "image":
		w.Errorf("%s: an element of the type %s: %v", method, o["type"], o)
	}
	if o["url"] != nil && o["type"] != "link" {
		w.Errorf("%s: %v leads to %v", method, o["type"], o["url"])
	}
}

// mallory is an approver whose names are evil, as Slack gives them.
func (w *world) mallory() slacksim.Person {
	p := w.sim.AddPerson(slacksim.User{Name: "<!here> *mallory* \u202e", RealName: "\n<https://evil.example|Bob>"})
	w.sim.Join("general", p.ID())
	return p.In("general")
}

// A request with evil in every field, decided with evil words by people of evil names.
func TestInjectionInARequest(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		mallory, alice, carol := w.mallory(), w.as("alice", "general"), w.as("carol", "general")
		group := w.sim.AddGroup(slacksim.Group{Handle: "<!channel>", Name: "*evil* \u202e", Members: []string{"carol"}})
		r := w.asksEvil()
		r.Roles = []workflows.Role{
			{Name: "<!channel> *a*\nForged \u202e", Approvers: workflows.Approvers{Users: []string{mallory.ID()}}, Required: 1},
			{Name: "_x_  ·  Approved by bob  ·  y", Approvers: workflows.Approvers{Groups: []string{group.ID}}, Required: 1},
		}
		if all := r.Faults(); len(all) > 0 {
			w.Fatal(all)
		}
		run := w.approval(r)
		card := w.message("general", slacksim.HasButton("approve_5"))
		w.home(carol)
		w.home(alice)
		words := strings.Join(evil(), "\n")
		w.fillsIn(mallory, w.opens(mallory, card, "approve_3", ""), map[string]any{
			"comment": cut(words, 0, 500), "input-0": "x\n" + cut(words, 500, 900), "input-1": r.Inputs[1].Options[3].Value,
		})
		card = w.redrawn(card, "1 of 2")
		w.fillsIn(mallory, w.opens(mallory, card, "more", string(workflows.Extend)), map[string]any{"longer": "1h"})
		card = w.redrawn(card, "Extended by")
		w.types(alice, "/approval list")
		w.fillsIn(carol, w.opens(carol, card, "reject", ""), map[string]any{"comment": cut(words, 300, 1200)})
		res := w.outcome(run, workflows.Rejected)
		if res.Decisions[0].By.ID != mallory.ID() || res.Decisions[1].By.ID != carol.ID() {
			w.Errorf("decided by %+v", res.Decisions)
		}
		w.closed(card, "Rejected by <@"+carol.ID()+">")
		w.message(alice.DM().Channel(), slacksim.Contains("Rejected by"))
		w.click(mallory.Force(), card, "approve_3", true)
		w.told(mallory, "Too late")
		w.isInert("chat.postMessage", "chat.update", "views.open", "views.publish", "response_url", "acknowledged")
	})
}

// The slash commands and their form, with all that can be typed there.
func TestInjectionInCommands(t *testing.T) {
	bothModes(t, func(w *world) {
		w.patience(3 * time.Minute)
		w.start("run")
		alice, bob := w.as("alice", "general"), w.as("bob", "general")
		seen := map[string]bool{}
		next := func() slacksim.Message {
			w.Helper()
			card := w.message("general", func(m slacksim.Message) bool { return !seen[m.TS] && slacksim.HasButton("approve")(m) })
			seen[card.TS] = true
			return card
		}
		for _, name := range []string{
			"<!channel> <https://evil.example|bank> <@U0EVIL0001> *b*", "@channel https://evil.example `c`", "x\nForged \u202ea\u200bb\u2069", "&lt;!here&gt; &amp;lt; <!date^0^{date}|now>",
		} {
			w.greet("general", name)
			w.click(bob, next(), "approve", true)
		}
		for range 4 {
			posted := w.message("general", func(m slacksim.Message) bool { return !seen[m.TS] && strings.HasPrefix(m.PlainText(), "Hello, ") })
			seen[posted.TS] = true
		}
		form := w.form(alice)
		text := evils()
		w.fillsIn(alice, form, map[string]any{"title": text(workflows.MaxTitle, 100), "text": text(workflows.MaxText, 1800), "approvers": []string{bob.ID()}})
		card := next()
		w.fillsIn(bob, w.opens(bob, card, "reject", ""), map[string]any{"comment": text(workflows.MaxReason, 900)})
		w.closed(card, "Rejected by <@"+bob.ID()+">")
		for _, line := range []string{"/approval show ", "/approval withdraw ", "/approval "} {
			for _, s := range evil() {
				if strings.IndexFunc(s, func(r rune) bool { return r > unicode.MaxASCII }) < 0 { // Other IDs cannot be looked up.
					w.types(alice, line+s)
				}
			}
		}
		w.isInert("chat.postMessage", "chat.update", "views.open", "acknowledged")
	})
}

// Outside Slack anybody gives any name, and any reason; and what cannot be asked is told with what is wrong in it.
func TestInjectionFromOutside(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run", "ALLOW_OUTSIDE_DECISIONS=true")
		alice, bob := w.as("alice", "general"), w.as("bob", "general")
		text := evils()
		for _, by := range []string{"<@U0EVIL0001> <!channel> *b*", "<https://evil.example|bob> `c` @here", "x  ·  Approved by bob  ·  y \u200b", "&lt;!here&gt; _i_ ~s~"} {
			run := w.approval(workflows.Request{
				Title: text(workflows.MaxTitle, 1), Text: text(workflows.MaxText, 1000), Requester: alice.ID(), TellRequester: true, Approvers: w.people("bob"),
				Fields: []workflows.Field{{Label: "<!here>", Value: text(400, 300)}},
			})
			card := w.message("general", func(m slacksim.Message) bool {
				return slacksim.HasButton("approve")(m) && m.ThreadTS == ""
			})
			w.shell("", []string{"decide", run.GetID(), "--approve", "--by", by, "--reason", text(workflows.MaxReason, 900)}, "ALLOW_OUTSIDE_DECISIONS=true").ends(0)
			w.closed(card, "Approved by", "(outside Slack, as given)")
			before := len(bob.Ephemerals(card.Channel))
			w.click(bob.Force(), card, "approve", true)
			if told := bob.Ephemerals(card.Channel); len(told) == before || !strings.Contains(told[before].Text, "(outside Slack, as given)") {
				w.Errorf("who clicks after %q is told %+v", by, told[before:])
			}
		}
		run := w.approval(workflows.Request{
			Title: "x", Channel: alice.ID(), Requester: alice.ID(), Approvers: w.people("bob"), Deadline: "<!channel> *b*",
			Link: workflows.Link{URL: "javascript:alert(1) <https://evil.example|x> \u202e"},
		})
		w.failsAs(run, workflows.ErrTypeInvalidRequest)
		w.isInert("chat.postMessage", "chat.update", "response_url")
	})
}
