package slacksim_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"

	"countersign/internal/slacksim"
)

func TestPermalink(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	card := post(t, sim, api, sim.Channel("general").ID)
	_, reply, err := api.PostMessageContext(t.Context(), card.Channel, slack.MsgOptionText("why", false), slack.MsgOptionTS(card.TS))
	if err != nil {
		t.Fatal(err)
	}
	private, err := api.PostEphemeralContext(t.Context(), card.Channel, sim.Person("bob").ID(), slack.MsgOptionText("psst", false))
	if err != nil {
		t.Fatal(err)
	}
	hidden := sim.AddChannel(slacksim.Channel{Name: "hidden", Private: true, Members: []string{"alice"}})
	archive := "https://sim.slack.com/archives/" + card.Channel + "/p"
	digits := strings.NewReplacer(".", "")
	for _, c := range []struct{ name, channel, ts, want, wrong string }{
		{"message", card.Channel, card.TS, archive + digits.Replace(card.TS), ""},
		{"reply", card.Channel, reply, archive + digits.Replace(reply) + "?thread_ts=" + card.TS + "&cid=" + card.Channel, ""},
		{"unknown message", card.Channel, "1.000001", "", "message_not_found"},
		{"private message", card.Channel, private, "", "message_not_found"},
		{"unknown channel", "C0NOWHERE1", card.TS, "", "channel_not_found"},
		{"channel by name", "general", card.TS, "", "channel_not_found"},
		{"private channel without the app", hidden.ID, card.TS, "", "channel_not_found"},
	} {
		got, err := api.GetPermalinkContext(t.Context(), &slack.PermalinkParameters{Channel: c.channel, Ts: c.ts})
		if got != c.want || c.wrong == "" && err != nil || c.wrong != "" && !isError(err, c.wrong) {
			t.Errorf("%s: %q, %v, want %q %s", c.name, got, err, c.want, c.wrong)
		}
	}
}

// An update that Slack refuses leaves the message as it is.
func TestUpdateRefusals(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	card := post(t, sim, api, sim.Channel("general").ID)
	dividers := make([]slack.Block, 51)
	for i := range dividers {
		dividers[i] = slack.NewDividerBlock()
	}
	for _, c := range []struct {
		name, want string
		options    []slack.MsgOption
	}{
		{"text of 4001", "msg_too_long", []slack.MsgOption{slack.MsgOptionText(strings.Repeat("x", 4001), false), slack.MsgOptionBlocks(section("x"))}},
		{"51 blocks", "invalid_blocks", []slack.MsgOption{slack.MsgOptionText("x", false), slack.MsgOptionBlocks(dividers...)}},
		{"the same block ID twice", "invalid_blocks", []slack.MsgOption{slack.MsgOptionText("x", false), slack.MsgOptionBlocks(buttons("a"), buttons("b"))}},
		{"the same action ID twice", "invalid_blocks", []slack.MsgOption{slack.MsgOptionText("x", false), slack.MsgOptionBlocks(buttons("a", "a"))}},
		{"nothing", "no_text", []slack.MsgOption{slack.MsgOptionText("", false)}},
	} {
		if _, _, _, err := api.UpdateMessageContext(t.Context(), card.Channel, card.TS, c.options...); !isError(err, c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	if now, _ := sim.Message(card.Channel, card.TS); now.Edits != 0 || now.Text != card.Text {
		t.Errorf("%+v", now)
	}
	if _, _, _, err := api.UpdateMessageContext(t.Context(), card.Channel, card.TS, slack.MsgOptionText(strings.Repeat("ä", 4000), false), slack.MsgOptionBlocks(dividers[:50]...)); err != nil {
		t.Error(err)
	}
}

func TestPlainTextOfRichText(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	text := func(s string) *slack.RichTextSection {
		return slack.NewRichTextSection(slack.NewRichTextSectionTextElement(s, nil))
	}
	bold := &slack.RichTextSectionTextStyle{Bold: true}
	_, ts, err := api.PostMessageContext(t.Context(), "C0GENERAL1", slack.MsgOptionText("text", false), slack.MsgOptionBlocks(
		slack.NewRichTextBlock("",
			slack.NewRichTextSection(
				slack.NewRichTextSectionTextElement("Asked", bold), slack.NewRichTextSectionTextElement(" of ", nil),
				slack.NewRichTextSectionUserGroupElement("S0SECURITY"), slack.NewRichTextSectionTextElement(", see ", nil),
				slack.NewRichTextSectionLinkElement("https://example.com/1", "the plan", nil), slack.NewRichTextSectionTextElement(" and ", nil),
				slack.NewRichTextSectionLinkElement("https://example.com/2", "", nil),
			),
			slack.NewRichTextList(slack.RTEListBullet, 0, text("first"), text("second")),
			slack.NewRichTextList(slack.RTEListOrdered, 1, text("inner")),
			&slack.RichTextQuote{Type: slack.RTEQuote, Elements: []slack.RichTextSectionElement{slack.NewRichTextSectionTextElement("quoted", nil)}},
			&slack.RichTextPreformatted{Type: slack.RTEPreformatted, Elements: []slack.RichTextSectionElement{slack.NewRichTextSectionTextElement("go test\ngo vet", nil)}},
		)))
	if err != nil {
		t.Fatal(err)
	}
	m, _ := sim.Message("general", ts)
	want := "Asked of <!subteam^S0SECURITY>, see the plan and https://example.com/2\nfirst\nsecond\ninner\nquoted\ngo test\ngo vet"
	if diff := cmp.Diff(want, m.PlainText()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if !slacksim.Contains("see the plan")(m) {
		t.Error("Contains")
	}
}
