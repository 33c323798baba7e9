package slacksim_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"countersign/internal/slacksim"
)

// postActions posts a card with all that a person can press, to general or to somebody's direct messages.
func postActions(t *testing.T, sim *slacksim.Server, api *slack.Client, channel string) slacksim.Message {
	t.Helper()
	approve := slack.NewButtonBlockElement("approve", "ref", plainText("Approve")).WithStyle(slack.StylePrimary)
	approve.Confirm = slack.NewConfirmationBlockObject(plainText("Approve?"), plainText("It runs at once."), plainText("Approve"), plainText("Back"))
	runbook := slack.NewButtonBlockElement("runbook", "", plainText("Runbook"))
	runbook.URL = "https://example.com/runbook"
	id, ts, err := api.PostMessageContext(t.Context(), channel, slack.MsgOptionText("Deploy?", false), slack.MsgOptionBlocks(
		section("Deploy?"),
		slack.NewActionBlock("decision", approve,
			slack.NewButtonBlockElement("reject", "ref", plainText("Reject")).WithStyle(slack.StyleDanger), runbook,
			slack.NewOverflowBlockElement("more", choice("Extend", "extend-ref"), choice("Delegate", "delegate-ref"))),
	))
	if err != nil {
		t.Fatal(err)
	}
	m, ok := sim.Message(id, ts)
	if !ok {
		t.Fatalf("no message %s %s", id, ts)
	}
	return m
}

func TestButtonsAndOptions(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	m := postActions(t, sim, api, sim.Channel("general").ID)
	want := []slacksim.Button{
		{BlockID: "decision", ActionID: "approve", Text: "Approve", Value: "ref", Style: "primary", Confirm: "It runs at once."},
		{BlockID: "decision", ActionID: "reject", Text: "Reject", Value: "ref", Style: "danger"},
		{BlockID: "decision", ActionID: "runbook", Text: "Runbook", URL: "https://example.com/runbook"},
	}
	if diff := cmp.Diff(want, m.Buttons()); diff != "" {
		t.Errorf("buttons (-want +got)\n%s", diff)
	}
	options := []slacksim.Option{{Text: "Extend", Value: "extend-ref"}, {Text: "Delegate", Value: "delegate-ref"}}
	if diff := cmp.Diff(options, m.Options("decision/more")); diff != "" {
		t.Errorf("options (-want +got)\n%s", diff)
	}
	if !slacksim.HasOption("more", "extend-ref")(m) || slacksim.HasOption("more", "withdraw")(m) || slacksim.HasOption("approve", "ref")(m) {
		t.Error("HasOption")
	}
}

func TestOverflowPayload(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	got := make(chan slack.InteractionCallback, 1)
	listen(t, sim, api, func(client *socketmode.Client, e socketmode.Event) {
		got <- e.Data.(slack.InteractionCallback)
		ack(client, e)
	})
	m := postActions(t, sim, api, sim.Channel("general").ID)
	d, err := sim.Person("bob").Select(t.Context(), m, "more", "delegate-ref")
	if err != nil || !d.Acked {
		t.Fatalf("%+v, %v", d, err)
	}
	ic := <-got
	a := ic.ActionCallback.BlockActions[0]
	have := []string{
		string(ic.Type), string(a.Type), a.ActionID, a.BlockID, a.SelectedOption.Value, a.SelectedOption.Text.Text,
		ic.Channel.ID, ic.Container.Type, ic.Container.ChannelID, ic.Container.MessageTs, ic.Message.Timestamp,
	}
	want := []string{"block_actions", "overflow", "more", "decision", "delegate-ref", "Delegate", m.Channel, "message", m.Channel, m.TS, m.TS}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("payload (-want +got)\n%s", diff)
	}
	if a.ActionTs == "" || ic.TriggerID == "" || ic.ResponseURL == "" {
		t.Errorf("%+v", ic)
	}
	button := ic.Message.Blocks.BlockSet[1].(*slack.ActionBlock).Elements.ElementSet[0].(*slack.ButtonBlockElement)
	if button.ActionID != "approve" || button.Value != "ref" {
		t.Errorf("the message that was clicked has the button %+v", button)
	}
	if _, err := api.OpenViewContext(t.Context(), ic.TriggerID, modal("delegate")); err != nil {
		t.Error(err)
	}
	for name, f := range map[string]func() error{
		"unknown option": func() error { _, err := sim.Person("bob").Select(t.Context(), m, "more", "other"); return err },
		"pressed as a button": func() error {
			_, err := sim.Person("bob").Click(t.Context(), m, "more")
			return err
		},
	} {
		if err := f(); !errors.Is(err, slacksim.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEveryKindOfButton(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	listen(t, sim, api, ack)
	m := postActions(t, sim, api, sim.Channel("general").ID)
	for action, want := range map[string]map[string]any{
		"approve": {"value": "ref", "style": "primary"}, // through its confirmation
		"reject":  {"value": "ref", "style": "danger"},
		"runbook": {"url": "https://example.com/runbook"},
	} {
		d, err := sim.Person("bob").Click(t.Context(), m, action)
		if err != nil || !d.Acked {
			t.Errorf("%s: %+v, %v", action, d, err)
			continue
		}
		var payload struct{ Actions []map[string]any }
		if err := json.Unmarshal(d.Payload, &payload); err != nil {
			t.Fatal(err)
		}
		got := map[string]any{}
		for _, key := range []string{"value", "style", "url"} {
			if v, present := payload.Actions[0][key]; present {
				got[key] = v
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", action, diff)
		}
	}
}

// Whoever is asked in direct messages decides there, and nobody else sees it.
func TestDirectMessageCard(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	listen(t, sim, api, ack)
	erin, frank := sim.Person("erin"), sim.Person("frank")
	m := postActions(t, sim, api, erin.ID())
	if m.Channel[0] != 'D' || m.Channel != erin.DM().Channel() {
		t.Fatalf("posted to %s", m.Channel)
	}
	d, err := erin.Click(t.Context(), m, "approve")
	if err != nil || !d.Acked {
		t.Fatalf("%+v, %v", d, err)
	}
	var payload struct {
		Channel, Container, Message map[string]any
		ResponseURL                 string `json:"response_url"`
	}
	if err := json.Unmarshal(d.Payload, &payload); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"id": m.Channel, "name": "directmessage"}, payload.Channel); diff != "" {
		t.Errorf("channel (-want +got)\n%s", diff)
	}
	if payload.Container["channel_id"] != m.Channel || payload.Message["ts"] != m.TS {
		t.Errorf("%+v", payload)
	}
	if err := slack.PostWebhookContext(t.Context(), payload.ResponseURL, &slack.WebhookMessage{Text: "Thank you."}); err != nil {
		t.Fatal(err)
	}
	if _, err := erin.WaitEphemeral(t.Context(), slacksim.Contains("Thank you.")); err != nil {
		t.Error(err)
	}
	if d, err := erin.Select(t.Context(), m, "more", "extend-ref"); err != nil || !d.Acked {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := frank.Click(t.Context(), m, "approve"); !errors.Is(err, slacksim.ErrRefused) {
		t.Errorf("somebody else: %v", err)
	}
	if link, err := api.GetPermalinkContext(t.Context(), &slack.PermalinkParameters{Channel: m.Channel, Ts: m.TS}); err != nil || link == "" {
		t.Errorf("%q, %v", link, err)
	}
	// On the page the recipient has the card, and can press its buttons.
	srv := serve(t, sim)
	body := fmt.Sprintf(`"channel":%q,"ts":%q,"action":"approve"}`, m.Channel, m.TS)
	if answer := act(t, srv, "click", `{"as":"erin",`+body); answer["acked"] != true {
		t.Errorf("%v", answer)
	}
	if status, answer := ask(t, srv, "POST", "/sim/click", "application/json", `{"as":"frank",`+body); status != 404 {
		t.Errorf("somebody else, on the page: %d %v", status, answer)
	}
}
