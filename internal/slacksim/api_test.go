package slacksim_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"

	"countersign/internal/slacksim"
)

func TestAuthTest(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	got, err := api.AuthTestContext(t.Context())
	if err != nil || got.UserID != slacksim.BotUserID || got.BotID != slacksim.BotID || got.TeamID != slacksim.TeamID {
		t.Errorf("%+v, %v", got, err)
	}
	sim.RevokeToken()
	if _, err := api.AuthTestContext(t.Context()); !isError(err, "token_revoked") {
		t.Errorf("revoked: %v", err)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	sim := slacksim.New(slacksim.Options{})
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	for _, c := range []struct{ name, method, token, header, want string }{
		{"none", "auth.test", "", "", "not_authed"},
		{"in the body", "auth.test", slacksim.DefaultBotToken, "", ""},
		{"in the header", "auth.test", "", "Bearer " + slacksim.DefaultBotToken, ""},
		{"wrong", "auth.test", "xoxb-other", "", "invalid_auth"},
		{"app token for a bot's method", "auth.test", slacksim.DefaultAppToken, "", "not_allowed_token_type"},
		{"bot token for a socket", "apps.connections.open", slacksim.DefaultBotToken, "", "not_allowed_token_type"},
		{"app token for a socket", "apps.connections.open", "", "Bearer " + slacksim.DefaultAppToken, ""},
		{"unknown method", "chat.sing", slacksim.DefaultBotToken, "", "unknown_method"},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := strings.NewReader(url.Values{"token": {c.token}}.Encode())
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/api/"+c.method, body)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Authorization", c.header)
			response, err := srv.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			var got struct {
				OK    bool
				Error string
			}
			if err := json.NewDecoder(response.Body).Decode(&got); err != nil || got.Error != c.want || got.OK != (c.want == "") {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func TestScopes(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	sim.SetScopes("chat:write", "channels:history")
	_, err := api.GetUserInfoContext(t.Context(), "U0BOB00001")
	var e slack.SlackErrorResponse
	if !errors.As(err, &e) || e.Err != "missing_scope" || e.Needed != "users:read" || e.Provided != "chat:write,channels:history" {
		t.Errorf("%#v", err)
	}
	history := func(channel string) error {
		_, err := api.GetConversationHistoryContext(t.Context(), &slack.GetConversationHistoryParameters{ChannelID: sim.Channel(channel).ID})
		return err
	}
	if err := history("general"); err != nil {
		t.Error(err)
	}
	if err := history("leads"); !isError(err, "missing_scope") {
		t.Errorf("private channel: %v", err)
	}
	sim.SetScopes("channels:history")
	if err := history("random"); !isError(err, "not_in_channel") {
		t.Errorf("not a member: %v", err)
	}
}

func TestPostMessageRefusals(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	sim.AddChannel(slacksim.Channel{Name: "old", Archived: true, Members: []string{slacksim.BotUserID}})
	sim.AddChannel(slacksim.Channel{Name: "hidden", Private: true, Members: []string{"alice"}})
	text := slack.MsgOptionText("hello", false)
	for _, c := range []struct {
		name, channel, want string
		options             []slack.MsgOption
	}{
		{"public channel", "C0GENERAL1", "", []slack.MsgOption{text}},
		{"by name", "#general", "", []slack.MsgOption{text}},
		{"unknown channel", "C0NOWHERE1", "channel_not_found", []slack.MsgOption{text}},
		{"not a member", "C0RANDOM01", "not_in_channel", []slack.MsgOption{text}},
		{"private, not a member", sim.Channel("hidden").ID, "channel_not_found", []slack.MsgOption{text}},
		{"archived", sim.Channel("old").ID, "is_archived", []slack.MsgOption{text}},
		{"deactivated person", "U0FORMER01", "channel_not_found", []slack.MsgOption{text}},
		{"nothing to say", "C0GENERAL1", "no_text", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, _, err := api.PostMessageContext(t.Context(), c.channel, c.options...); c.want == "" && err != nil || c.want != "" && !isError(err, c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	sim.SetScopes("chat:write", "chat:write.public")
	if _, _, err := api.PostMessageContext(t.Context(), "C0RANDOM01", text); err != nil {
		t.Errorf("with chat:write.public: %v", err)
	}
	long := strings.Repeat("ä", 40_001)
	_, ts, err := api.PostMessageContext(t.Context(), "C0GENERAL1", slack.MsgOptionText(long, false))
	if m, _ := sim.Message("general", ts); err != nil || len([]rune(m.Text)) != 40_000 {
		t.Errorf("long text: %d, %v", len([]rune(m.Text)), err)
	}
}

func TestDirectMessages(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	channel, ts, err := api.PostMessageContext(t.Context(), sim.Person("bob").ID(), slack.MsgOptionText("psst", false))
	if err != nil || !strings.HasPrefix(channel, "D") || channel != sim.Person("bob").DM().Channel() {
		t.Fatalf("channel %q, %v", channel, err)
	}
	if _, _, _, err := api.UpdateMessageContext(t.Context(), sim.Person("bob").ID(), ts, slack.MsgOptionText("x", false)); !isError(err, "channel_not_found") {
		t.Errorf("update by user ID: %v", err)
	}
	if _, _, _, err := api.UpdateMessageContext(t.Context(), channel, ts, slack.MsgOptionText("x", false)); err != nil {
		t.Error(err)
	}
	opened, _, _, err := api.OpenConversationContext(t.Context(), &slack.OpenConversationParameters{Users: []string{sim.Person("bob").ID()}, ReturnIM: true})
	if err != nil || opened.ID != channel || !opened.IsIM {
		t.Errorf("open: %+v, %v", opened, err)
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	card := post(t, sim, api, sim.Channel("general").ID)
	update := func(ts string, o ...slack.MsgOption) error {
		_, _, _, err := api.UpdateMessageContext(t.Context(), card.Channel, ts, o...)
		return err
	}
	if err := update(card.TS, slack.MsgOptionText("with blocks", false), slack.MsgOptionBlocks(section("closed"))); err != nil {
		t.Fatal(err)
	}
	if m, _ := sim.Message(card.Channel, card.TS); m.Edited || m.Edits != 1 || m.PlainText() != "closed" {
		t.Errorf("%+v", m)
	}
	if err := update(card.TS, slack.MsgOptionText("text only", false)); err != nil {
		t.Fatal(err)
	}
	if m, _ := sim.Message(card.Channel, card.TS); !m.Edited || len(m.Blocks) > 0 {
		t.Errorf("%+v", m)
	}
	if err := update(card.TS, slack.MsgOptionText(strings.Repeat("x", 4001), false)); !isError(err, "msg_too_long") {
		t.Error(err)
	}
	if err := update("1.000001", slack.MsgOptionText("x", false)); !isError(err, "message_not_found") {
		t.Error(err)
	}
	said, err := sim.Person("bob").In("general").Say("mine")
	if err != nil {
		t.Fatal(err)
	}
	if err := update(said.TS, slack.MsgOptionText("x", false)); !isError(err, "cant_update_message") {
		t.Error(err)
	}
	ts, err := api.PostEphemeralContext(t.Context(), card.Channel, sim.Person("bob").ID(), slack.MsgOptionText("only you", false))
	if err != nil {
		t.Fatal(err)
	}
	if err := update(ts, slack.MsgOptionText("x", false)); !isError(err, "message_not_found") {
		t.Errorf("private message: %v", err)
	}
	if _, err := api.PostEphemeralContext(t.Context(), sim.Channel("ops").ID, sim.Person("guest").ID(), slack.MsgOptionText("x", false)); !isError(err, "user_not_in_channel") {
		t.Error(err)
	}
	sim.Delete(card.Channel, card.TS)
	if err := update(card.TS, slack.MsgOptionText("x", false)); !isError(err, "message_not_found") {
		t.Error(err)
	}
	sim.Archive("general")
	if err := update(said.TS, slack.MsgOptionText("x", false)); err == nil {
		t.Error("updated in an archived channel")
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	channel := sim.Channel("general").ID
	meta := slack.SlackMetadata{EventType: "asked", EventPayload: map[string]any{"id": "one"}}
	_, ts, err := api.PostMessageContext(t.Context(), channel, slack.MsgOptionText("card", false), slack.MsgOptionMetadata(meta))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := api.UpdateMessageContext(t.Context(), channel, ts, slack.MsgOptionText("closed", false)); err != nil {
		t.Fatal(err)
	}
	for _, all := range []bool{false, true} {
		got, err := api.GetConversationHistoryContext(t.Context(), &slack.GetConversationHistoryParameters{ChannelID: channel, IncludeAllMetadata: all})
		if err != nil || len(got.Messages) != 1 {
			t.Fatalf("%+v, %v", got, err)
		}
		want := slack.SlackMetadata{EventType: "asked"}
		if all {
			want = meta
		}
		if diff := cmp.Diff(want, got.Messages[0].Metadata); diff != "" {
			t.Errorf("all %v (-want +got)\n%s", all, diff)
		}
	}
}

func TestHistoryPages(t *testing.T) {
	t.Parallel()
	c := newClock()
	sim, api := start(t, slacksim.Options{Now: c.Now})
	channel := sim.Channel("general").ID
	var stamps []string
	for range 5 {
		_, ts, err := api.PostMessageContext(t.Context(), channel, slack.MsgOptionText("top", false))
		if err != nil {
			t.Fatal(err)
		}
		stamps = append(stamps, ts)
		c.Advance(time.Second)
	}
	_, reply, err := api.PostMessageContext(t.Context(), channel, slack.MsgOptionText("reply", false), slack.MsgOptionTS(stamps[0]))
	if err != nil {
		t.Fatal(err)
	}
	list := func(p slack.GetConversationHistoryParameters) (all []string, pages int) {
		p.ChannelID = channel
		for {
			got, err := api.GetConversationHistoryContext(t.Context(), &p)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range got.Messages {
				all = append(all, m.Timestamp)
			}
			pages++
			if p.Cursor = got.ResponseMetaData.NextCursor; p.Cursor == "" {
				return all, pages
			}
		}
	}
	newest := slices.Clone(stamps)
	slices.Reverse(newest)
	if got, pages := list(slack.GetConversationHistoryParameters{Limit: 2}); !cmp.Equal(got, newest) || pages != 3 {
		t.Errorf("pages of two: %v in %d", got, pages)
	}
	if got, _ := list(slack.GetConversationHistoryParameters{Oldest: stamps[1], Latest: stamps[3]}); !cmp.Equal(got, []string{stamps[2]}) {
		t.Errorf("exclusive: %v", got)
	}
	if got, _ := list(slack.GetConversationHistoryParameters{Oldest: stamps[1], Latest: stamps[3], Inclusive: true}); !cmp.Equal(got, newest[1:4]) {
		t.Errorf("inclusive: %v", got)
	}
	thread, _, _, err := api.GetConversationRepliesContext(t.Context(), &slack.GetConversationRepliesParameters{ChannelID: channel, Timestamp: stamps[0]})
	if err != nil || len(thread) != 2 || thread[0].Timestamp != stamps[0] || thread[0].ReplyCount != 1 || thread[1].Timestamp != reply {
		t.Errorf("thread: %+v, %v", thread, err)
	}
	if got := sim.Replies("general", stamps[0]); len(got) != 1 {
		t.Errorf("replies: %v", got)
	}
	_, lost, err := api.PostMessageContext(t.Context(), channel, slack.MsgOptionText("reply", false), slack.MsgOptionTS("1.000001"))
	if m, _ := sim.Message("general", lost); err != nil || m.ThreadTS != "" {
		t.Errorf("a reply to nothing stands by itself: %+v, %v", m, err)
	}
}

func TestPeople(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	info := func(name string) *slack.User {
		u, err := api.GetUserInfoContext(t.Context(), sim.Person(name).ID())
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	if u := info("guest"); !u.IsRestricted || u.IsUltraRestricted {
		t.Errorf("guest: %+v", u)
	}
	if u := info("external"); !u.IsStranger || u.TeamID != slacksim.ExternalTeamID {
		t.Errorf("external: %+v", u)
	}
	if u := info("former"); !u.Deleted {
		t.Errorf("former: %+v", u)
	}
	if u := info("robot"); !u.IsBot {
		t.Errorf("robot: %+v", u)
	}
	sim.Deactivate("carol")
	got, err := api.GetUserGroupMembersContext(t.Context(), sim.Group("sre").ID)
	if err != nil || !cmp.Equal(got, []string{"U0BOB00001"}) {
		t.Errorf("sre: %v, %v", got, err)
	}
	if _, err := api.GetUserGroupMembersContext(t.Context(), "S0NOBODY01"); !isError(err, "no_such_subteam") {
		t.Error(err)
	}
	members, next, err := api.GetUsersInConversationContext(t.Context(), &slack.GetUsersInConversationParameters{ChannelID: sim.Channel("ops").ID, Limit: 2})
	if err != nil || len(members) != 2 || next == "" {
		t.Fatalf("%v %q %v", members, next, err)
	}
	rest, _, err := api.GetUsersInConversationContext(t.Context(), &slack.GetUsersInConversationParameters{ChannelID: sim.Channel("ops").ID, Cursor: next})
	if err != nil || !cmp.Equal(append(members, rest...), []string{slacksim.BotUserID, "U0ALICE001", "U0BOB00001"}) {
		t.Errorf("%v, %v", rest, err)
	}
	c, err := api.GetConversationInfoContext(t.Context(), &slack.GetConversationInfoInput{ChannelID: sim.Channel("partners").ID})
	if err != nil || !c.IsExtShared || !c.IsMember {
		t.Errorf("partners: %+v, %v", c, err)
	}
	link, err := api.GetPermalinkContext(t.Context(), &slack.PermalinkParameters{Channel: "C0GENERAL1", Ts: post(t, sim, api, "C0GENERAL1").TS})
	if err != nil || !strings.HasPrefix(link, "https://sim.slack.com/archives/C0GENERAL1/p") {
		t.Errorf("%q, %v", link, err)
	}
}

func TestViewRefusals(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	listen(t, sim, api, ack)
	card := post(t, sim, api, sim.Channel("general").ID)
	d, err := sim.Person("bob").Click(t.Context(), card, "reject")
	if err != nil {
		t.Fatal(err)
	}
	v := modal("x")
	v.Title.Text = strings.Repeat("x", 25)
	_, err = api.OpenViewContext(t.Context(), d.TriggerID, v)
	var e slack.SlackErrorResponse
	if !errors.As(err, &e) || e.Err != "invalid_arguments" || !cmp.Equal(e.ResponseMetadata.Messages, []string{"[ERROR] must be less than 25 characters [json-pointer:/view/title/text]"}) {
		t.Errorf("%#v", err)
	}
	v = modal("x")
	v.PrivateMetadata = strings.Repeat("x", 3001)
	if _, err = api.OpenViewContext(t.Context(), d.TriggerID, v); !isError(err, "invalid_arguments") {
		t.Error(err)
	}
	opened, err := api.OpenViewContext(t.Context(), d.TriggerID, modal("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.UpdateViewContext(t.Context(), modal("y"), "", "stale", opened.View.ID); !isError(err, "hash_conflict") {
		t.Error(err)
	}
	if _, err := api.UpdateViewContext(t.Context(), modal("y"), "", opened.Hash, opened.View.ID); err != nil {
		t.Error(err)
	}
	if _, err := api.UpdateViewContext(t.Context(), modal("y"), "", "", "V0NOTHERE1"); !isError(err, "not_found") {
		t.Error(err)
	}
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	sim := slacksim.New(slacksim.Options{})
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	long := func(n int) string { return strings.Repeat("x", n) }
	text := func(kind, s string) string { return `{"type":"` + kind + `","text":"` + s + `"}` }
	sectionOf := func(s string) string { return `{"type":"section","text":` + text("mrkdwn", s) + `}` }
	button := func(label, extra string) string {
		return `{"type":"actions","elements":[{"type":"button","text":` + text("plain_text", label) + extra + `}]}`
	}
	rich := func(part string) string {
		return `{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[` + part + `]}]}`
	}
	confirm := func(title string) string {
		return `,"confirm":{"title":` + text("plain_text", title) + `,"text":` + text("plain_text", "Sure?") +
			`,"confirm":` + text("plain_text", "Yes") + `,"deny":` + text("plain_text", "No") + `}`
	}
	list := func(item string, n int) string {
		return "[" + strings.TrimSuffix(strings.Repeat(item+",", n), ",") + "]"
	}
	for _, c := range []struct{ name, blocks, want string }{
		{"50 blocks", list(`{"type":"divider"}`, 50), ""},
		{"51 blocks", list(`{"type":"divider"}`, 51), "no more than 50 items allowed [json-pointer:/blocks]"},
		{"section of 3000", list(sectionOf(long(3000)), 1), ""},
		{"section of 3000 runes", list(sectionOf(strings.Repeat("ä", 3000)), 1), ""},
		{"section of 3001", list(sectionOf(long(3001)), 1), "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"},
		{"counted after escaping", list(sectionOf(long(2996)+"&"), 1), "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"},
		{"escaped already", list(sectionOf(long(2995)+"&amp;"), 1), ""},
		{"empty text", list(sectionOf(""), 1), "must be more than 0 characters [json-pointer:/blocks/0/text/text]"},
		{"field of 2001", `[{"type":"section","fields":[` + text("mrkdwn", long(2001)) + `]}]`, "must be less than 2001 characters [json-pointer:/blocks/0/fields/0/text]"},
		{"11 fields", `[{"type":"section","fields":` + list(text("mrkdwn", "x"), 11) + `}]`, "no more than 10 items allowed [json-pointer:/blocks/0/fields]"},
		{"header of 151", `[{"type":"header","text":` + text("plain_text", long(151)) + `}]`, "must be less than 151 characters [json-pointer:/blocks/0/text/text]"},
		{"header in mrkdwn", `[{"type":"header","text":` + text("mrkdwn", "x") + `}]`, "unsupported type: mrkdwn [json-pointer:/blocks/0/text/type]"},
		{"11 in a context", `[{"type":"context","elements":` + list(text("mrkdwn", "x"), 11) + `}]`, "no more than 10 items allowed [json-pointer:/blocks/0/elements]"},
		{"button of 76", list(button(long(76), ""), 1), "must be less than 76 characters [json-pointer:/blocks/0/elements/0/text/text]"},
		{"value of 2001", list(button("x", `,"value":"`+long(2001)+`"`), 1), "must be less than 2001 characters [json-pointer:/blocks/0/elements/0/value]"},
		{"action ID of 256", list(button("x", `,"action_id":"`+long(256)+`"`), 1), "must be less than 256 characters [json-pointer:/blocks/0/elements/0/action_id]"},
		{"unknown style", list(button("x", `,"style":"loud"`), 1), "must be one of the allowed values: primary, danger [json-pointer:/blocks/0/elements/0/style]"},
		{"confirm", list(button("x", confirm("Really")), 1), ""},
		{"confirm title of 101", list(button("x", confirm(long(101))), 1), "must be less than 101 characters [json-pointer:/blocks/0/elements/0/confirm/title/text]"},
		{"same block ID twice", list(`{"type":"divider","block_id":"a"}`, 2), "`block_id` already exists: a [json-pointer:/blocks/1/block_id]"},
		{"input in a message", `[{"type":"input"}]`, "unsupported type: input [json-pointer:/blocks/0/type]"},
		{"unknown block", `[{"type":"marquee"}]`, "unsupported type: marquee [json-pointer:/blocks/0/type]"},
		{"rich text", list(rich(`{"type":"text","text":"by "},{"type":"user","user_id":"U1"},{"type":"date","timestamp":1,"format":"{date}"}`), 1), ""},
		{"rich text, empty", list(rich(`{"type":"text","text":""}`), 1), "must be more than 0 characters [json-pointer:/blocks/0/elements/0/elements/0/text]"},
		{"rich text, unknown", list(rich(`{"type":"blink"}`), 1), "unsupported type: blink [json-pointer:/blocks/0/elements/0/elements/0/type]"},
		{"not a list", `{"type":"divider"}`, "invalid_blocks_format"},
	} {
		t.Run(c.name, func(t *testing.T) {
			response, err := srv.Client().PostForm(srv.URL+"/api/chat.postMessage", url.Values{
				"token": {slacksim.DefaultBotToken}, "channel": {"C0GENERAL1"}, "blocks": {c.blocks},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			var got struct {
				OK       bool
				Error    string
				Metadata struct{ Messages []string } `json:"response_metadata"`
			}
			if err := json.NewDecoder(response.Body).Decode(&got); err != nil {
				t.Fatal(err)
			}
			switch {
			case c.want == "" && !got.OK,
				c.want == "invalid_blocks_format" && got.Error != c.want,
				strings.Contains(c.want, " ") && (got.Error != "invalid_blocks" || !slices.Contains(got.Metadata.Messages, "[ERROR] "+c.want)):
				t.Errorf("got %+v, want %q", got, c.want)
			}
		})
	}
}

func TestPlainText(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	date := int64(1763800000)
	_, ts, err := api.PostMessageContext(t.Context(), "C0GENERAL1", slack.MsgOptionText("text", false), slack.MsgOptionBlocks(
		slack.NewHeaderBlock(slack.NewTextBlockObject(slack.PlainTextType, "Approval needed", false, false)),
		slack.NewRichTextBlock("", slack.NewRichTextSection(
			slack.NewRichTextSectionTextElement("For ", nil),
			slack.NewRichTextSectionUserElement("U0ALICE001", nil),
			slack.NewRichTextSectionDateElement(date, "{date}", nil, new("22 November")),
		)),
		slack.NewContextBlock("", slack.NewTextBlockObject(slack.MarkdownType, "by <@U0BOB00001>", false, false)),
		buttons("approve"),
	))
	if err != nil {
		t.Fatal(err)
	}
	m, _ := sim.Message("general", ts)
	if diff := cmp.Diff("Approval needed\nFor <@U0ALICE001>22 November\nby <@U0BOB00001>", m.PlainText()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	want := []slacksim.Button{{BlockID: "decision", ActionID: "approve", Text: "APPROVE", Value: "ref-approve"}}
	if diff := cmp.Diff(want, m.Buttons()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
