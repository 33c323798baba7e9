package e2e

import (
	"strings"
	"testing"

	"countersign/internal/slacksim"
	"countersign/workflows"
)

// ids turns names of people and groups into IDs.
func (w *world) ids(names string) string {
	var ids []string
	for name := range strings.SplitSeq(names, ",") {
		switch {
		case name == "channel" || name == "members":
			ids = append(ids, name)
		case w.sim.Group(name).ID != "":
			ids = append(ids, w.sim.Group(name).ID)
		default:
			ids = append(ids, w.sim.Person(name).ID())
		}
	}
	return strings.Join(ids, ",")
}

func TestUsage(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("bot")
		alice := w.as("alice", "general")
		for _, line := range []string{"/greet", "/greet   ", "/greet help", "/greet HELP"} {
			d, err := alice.Command(w.ctx, line)
			w.must(err)
			if !d.Acked || !strings.Contains(string(d.Response), "/greet NAME") {
				w.Errorf("%s: %s, want the usage", line, d)
			}
		}
		d, err := w.as("alice", "general").DM().Command(w.ctx, "/greet World")
		w.must(err)
		if !strings.Contains(string(d.Response), "could not see a card here") {
			w.Errorf("in a direct message: %s", d)
		}
		d, err = alice.Command(w.ctx, "/greet "+strings.Repeat("x", 81))
		w.must(err)
		if !strings.Contains(string(d.Response), "too long") {
			w.Errorf("a long name: %s", d)
		}
	})
}

func TestWhoMayAsk(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		requesters, who string
		may             bool
	}{
		"member":                  {who: "alice", may: true},
		"guest":                   {who: "guest"},
		"guest who is named":      {requesters: "guest", who: "guest", may: true},
		"member who is not named": {requesters: "bob,sre", who: "alice"},
		"member of a named group": {requesters: "sre", who: "carol", may: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			oneMode(t, func(w *world) {
				env := []string{}
				if test.requesters != "" {
					env = append(env, "REQUESTERS="+w.ids(test.requesters))
				}
				w.start("run", env...)
				d := w.command(w.as(test.who, "general"), "/greet World")
				if got := strings.Contains(string(d.Response), "I am asking for approval"); got != test.may {
					w.Errorf("answer %s, want may ask = %v", d.Response, test.may)
				}
				if test.may {
					w.card("general", "Greet World")
				}
			})
		})
	}
}

func TestRedeliveredCommand(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		d := w.greet("general", "World")
		again, err := w.sim.Redeliver(w.ctx, d)
		w.must(err)
		if !again.Acked {
			w.Errorf("redelivery: %s", again)
		}
		w.greet("general", "Everybody")
		w.card("general", "Greet Everybody")
		card := w.card("general", "Greet World")
		for _, m := range w.sim.Messages("general") {
			if m.TS != card.TS && slacksim.Contains("Greet World")(m) {
				w.Errorf("a redelivered command was asked twice: %q", m.Text)
			}
		}
	})
}

func TestHostileNames(t *testing.T) {
	tests := map[string]struct {
		typed, shown string
	}{
		"quotes of a keyboard": {"“World”", "Greet World"},
		"no-break spaces":      {"the\u00a0 \u2003World", "Greet the World"},
		"broadcast":            {"<!channel> World", "Greet <!channel> World"},
		"at here":              {"@here World", "Greet @here World"},
		"link":                 {"<https://evil.example|bank> now", "Greet <https://evil.example|bank> now"},
		"formats":              {"*bold* _it_ ~no~ `code`", "Greet *bold* _it_ ~no~ `code`"},
		"bidi and zero width":  {"W\u202eor\u200bld\u2066", "Greet World"},
		"control characters":   {"Wor\x07ld", "Greet World"},
		"entities":             {"Q&A <b>", "Greet Q&A <b>"},
		"emoji":                {"🌍", "Greet 🌍"},
	}
	bothModes(t, func(w *world) {
		w.start("run")
		seen := map[string]bool{}
		for name, test := range tests {
			w.greet("general", test.typed)
			card := w.message("general", func(m slacksim.Message) bool {
				return !seen[m.TS] && slacksim.Contains("Greet")(m) && slacksim.HasButton("approve")(m)
			})
			seen[card.TS] = true
			if !strings.Contains(card.PlainText(), test.shown) {
				w.Errorf("%s: card shows %q, want %q", name, card.PlainText(), test.shown)
			}
			for _, markup := range []string{"<!channel>", "<!here>", "<https:"} {
				if strings.Contains(card.Text, markup) {
					w.Errorf("%s: the card's text has live markup: %q", name, card.Text)
				}
			}
		}
	})
}

func TestPeopleAreShownAsPeople(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run")
		w.greet("general", "@carol")
		carol := w.sim.Person("carol").ID()
		card := w.card("general", "Greet <@"+carol+">")
		w.click(w.as("bob", "general"), card, "approve", true)
		w.message("general", func(m slacksim.Message) bool { return m.Text == "Hello, <@"+carol+">!" })
	})
}

func TestCannotBeAsked(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		channel   string
		approvers string
		kind      string
		told      string
	}{
		"not in the channel":      {"random", "", workflows.ErrTypeRefused, "Invite me there"},
		"only the requester":      {"general", "alice", workflows.ErrTypeInvalidRequest, "only approver is the requester"},
		"approver deactivated":    {"general", "former", workflows.ErrTypeInvalidRequest, "cannot decide"},
		"approver of another org": {"general", "external", workflows.ErrTypeInvalidRequest, "cannot decide"},
		"approver unknown":        {"general", "U0NOBODY01", workflows.ErrTypeInvalidRequest, "no person U0NOBODY01"},
		"group unknown":           {"general", "S0NOBODY01", workflows.ErrTypeInvalidRequest, "no user group S0NOBODY01"},
		"nobody":                  {"general", "none", workflows.ErrTypeInvalidRequest, "Nobody may decide"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			oneMode(t, func(w *world) {
				env := w.approvers(test.approvers)
				switch {
				case test.approvers == "none":
					env = []string{"APPROVERS="}
				case strings.HasSuffix(test.approvers, "NOBODY01"):
					env = []string{"APPROVERS=" + test.approvers}
				}
				w.start("run", env...)
				run := w.ask(test.channel, "World")
				app := w.failsAs(run, test.kind)
				if !strings.Contains(app.Message(), test.told) {
					w.Errorf("error says %q, want %q", app.Message(), test.told)
				}
				alice := w.as("alice", test.channel).DM()
				w.message(alice.Channel(), slacksim.Contains(test.told))
				if n := len(w.sim.Messages(test.channel)); n != 0 {
					w.Errorf("%d messages in the channel, want none", n)
				}
			})
		})
	}
}
