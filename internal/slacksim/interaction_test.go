package slacksim_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackevents"
	"github.com/slack-go/slack/socketmode"

	"countersign/internal/slacksim"
)

func TestCommandPostsACardThatAClickCloses(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	listen(t, sim, api, func(client *socketmode.Client, e socketmode.Event) {
		switch data := e.Data.(type) {
		case slack.SlashCommand:
			_, _, err := api.PostMessageContext(t.Context(), data.ChannelID, slack.MsgOptionText("Greet "+data.Text+"?", false),
				slack.MsgOptionBlocks(section("Greet "+data.Text+"?"), buttons("approve", "reject")))
			if err != nil {
				t.Error(err)
			}
			_ = client.Ack(*e.Request, map[string]any{"text": "Asked."})
		case slack.InteractionCallback:
			a := data.ActionCallback.BlockActions[0]
			if _, _, _, err := api.UpdateMessageContext(t.Context(), data.Channel.ID, data.Message.Timestamp,
				slack.MsgOptionText("Decided by <@"+data.User.ID+"> with "+a.Value, false)); err != nil {
				t.Error(err)
			}
			_ = client.Ack(*e.Request)
		}
	})

	alice, bob := sim.Person("alice").In("general"), sim.Person("bob")
	d, err := alice.Command(t.Context(), "/greet World & <co> @bob #ops #leads @nobody https://example.com")
	if err != nil || !d.Acked {
		t.Fatalf("command: %+v, %v", d, err)
	}
	var payload map[string]string
	if err := json.Unmarshal(d.Payload, &payload); err != nil {
		t.Fatal(err)
	}
	want := "World &amp; &lt;co&gt; <@U0BOB00001|bob> <#C0OPS00001|ops> <#C0LEADS001|> @nobody <https://example.com>"
	if diff := cmp.Diff(want, payload["text"]); diff != "" {
		t.Errorf("text of the command (-want +got)\n%s", diff)
	}
	if _, err := alice.WaitEphemeral(t.Context(), slacksim.Contains("Asked.")); err != nil {
		t.Fatal(err)
	}
	if got := bob.Ephemerals(""); len(got) != 0 {
		t.Errorf("bob sees private messages: %v", got)
	}
	card, err := sim.WaitMessage(t.Context(), "general", slacksim.HasButton("approve"))
	if err != nil {
		t.Fatal(err)
	}
	if d, err := bob.Click(t.Context(), card, "approve"); err != nil || !d.Acked {
		t.Fatalf("click: %+v, %v", d, err)
	}
	card, _ = sim.Message(card.Channel, card.TS)
	if card.Text != "Decided by <@U0BOB00001> with ref-approve" || len(card.Blocks) != 0 || !card.Edited {
		t.Errorf("card after the click: %+v", card)
	}
	if _, err := bob.Click(t.Context(), card, "approve"); !errors.Is(err, slacksim.ErrRefused) {
		t.Errorf("click on a button that is gone: %v", err)
	}
	if got := len(sim.Messages("general")); got != 1 {
		t.Errorf("%d messages in general", got)
	}
}

func TestClickPayload(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	got := make(chan slack.InteractionCallback, 1)
	listen(t, sim, api, func(client *socketmode.Client, e socketmode.Event) {
		got <- e.Data.(slack.InteractionCallback)
		ack(client, e)
	})
	card := post(t, sim, api, sim.Channel("partners").ID)
	d, err := sim.Person("external").Click(t.Context(), card, "decision/reject")
	if err != nil || !d.Acked {
		t.Fatalf("%+v, %v", d, err)
	}
	ic := <-got
	a := ic.ActionCallback.BlockActions[0]
	want := []string{"block_actions", "U0EXTERN01", slacksim.ExternalTeamID, slacksim.TeamID, card.Channel, card.TS, card.TS, "reject", "decision", "ref-reject", "REJECT", slacksim.AppID}
	have := []string{string(ic.Type), ic.User.ID, ic.User.TeamID, ic.Team.ID, ic.Channel.ID, ic.Container.MessageTs, ic.Message.Timestamp, a.ActionID, a.BlockID, a.Value, a.Text.Text, ic.APIAppID}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("payload (-want +got)\n%s", diff)
	}
	if ic.TriggerID == "" || ic.ResponseURL == "" || a.ActionTs == "" {
		t.Errorf("trigger %q, response URL %q, action %q", ic.TriggerID, ic.ResponseURL, a.ActionTs)
	}
}

func TestWhoMayAct(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{Commands: []slacksim.Command{{Name: "/greet"}}})
	listen(t, sim, api, ack)
	card := post(t, sim, api, sim.Channel("leads").ID)
	for name, act := range map[string]func() (slacksim.Delivery, error){
		"external runs a command": func() (slacksim.Delivery, error) {
			return sim.Person("external").In("partners").Command(t.Context(), "/greet x")
		},
		"guest not in the channel": func() (slacksim.Delivery, error) {
			return sim.Person("guest").In("ops").Command(t.Context(), "/greet x")
		},
		"unknown command": func() (slacksim.Delivery, error) {
			return sim.Person("alice").In("ops").Command(t.Context(), "/other x")
		},
		"unknown channel": func() (slacksim.Delivery, error) {
			return sim.Person("alice").In("nowhere").Command(t.Context(), "/greet x")
		},
		"unknown person": func() (slacksim.Delivery, error) { return sim.Person("zoe").In("ops").Command(t.Context(), "/greet x") },
		"deactivated": func() (slacksim.Delivery, error) {
			return sim.Person("former").In("general").Command(t.Context(), "/greet x")
		},
		"bot": func() (slacksim.Delivery, error) {
			return sim.Person("robot").In("general").Command(t.Context(), "/greet x")
		},
		"not in a private channel": func() (slacksim.Delivery, error) { return sim.Person("carol").Click(t.Context(), card, "approve") },
		"no such button":           func() (slacksim.Delivery, error) { return sim.Person("bob").Click(t.Context(), card, "other") },
	} {
		if _, err := act(); !errors.Is(err, slacksim.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := sim.Deliveries(); len(got) != 0 {
		t.Errorf("delivered: %+v", got)
	}
	sim.Delete(card.Channel, card.TS)
	if d, err := sim.Person("former").Force().Click(t.Context(), card, "approve"); err != nil || !d.Acked {
		t.Errorf("forced click: %+v, %v", d, err)
	}
}

func TestNotAcknowledged(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{AckTimeout: 50 * time.Millisecond})
	card := post(t, sim, api, sim.Channel("general").ID)
	bob := sim.Person("bob").In("general")
	d, err := bob.Click(t.Context(), card, "approve")
	if err != nil || d.Acked || d.Error != slacksim.DispatchFailed {
		t.Errorf("nobody connected: %+v, %v", d, err)
	}
	listen(t, sim, api, func(*socketmode.Client, socketmode.Event) {})
	if d, _ = bob.Click(t.Context(), card, "approve"); d.Acked || d.Error != slacksim.OperationTimeout {
		t.Errorf("no answer: %+v", d)
	}
	if card, _ = sim.Message(card.Channel, card.TS); card.Warning == "" {
		t.Error("no warning sign")
	}
	if _, err := bob.Command(t.Context(), "/greet World"); err != nil {
		t.Fatal(err)
	}
	if _, err := bob.WaitEphemeral(t.Context(), slacksim.Contains("operation_timeout")); err != nil {
		t.Error(err)
	}
	if d, err := bob.OpenHome(t.Context()); err != nil || d.Attempt != 1 {
		t.Errorf("an event is sent a second time: %+v, %v", d, err)
	}
}

func modal(id string) slack.ModalViewRequest {
	plain := func(s string) *slack.TextBlockObject {
		return slack.NewTextBlockObject(slack.PlainTextType, s, false, false)
	}
	input := slack.NewInputBlock("reason", plain("Reason"), nil, slack.NewPlainTextInputBlockElement(nil, "text").WithMaxLength(10).WithMultiline(true))
	input.Optional = true
	return slack.ModalViewRequest{
		Type: slack.VTModal, CallbackID: id, Title: plain("Reject"), Submit: plain("Reject"), Close: plain("Cancel"),
		PrivateMetadata: "ref", NotifyOnClose: true, Blocks: slack.Blocks{BlockSet: []slack.Block{input}},
	}
}

func TestModal(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	listen(t, sim, api, func(client *socketmode.Client, e socketmode.Event) {
		ic := e.Data.(slack.InteractionCallback)
		switch ic.Type {
		case slack.InteractionTypeBlockActions:
			if _, err := api.OpenViewContext(t.Context(), ic.TriggerID, modal("first")); err != nil {
				t.Error(err)
			}
			if _, err := api.OpenViewContext(t.Context(), ic.TriggerID, modal("first")); !isError(err, "exchanged_trigger_id") {
				t.Errorf("trigger used twice: %v", err)
			}
			ack(client, e)
		case slack.InteractionTypeViewSubmission:
			reason := ic.View.State.Values["reason"]["text"].Value
			switch {
			case reason == "bad":
				_ = client.Ack(*e.Request, slack.NewErrorsViewSubmissionResponse(map[string]string{"reason": "Say more."}))
			case ic.View.CallbackID == "first":
				next := modal("second")
				_ = client.Ack(*e.Request, slack.NewPushViewSubmissionResponse(&next))
			default:
				ack(client, e)
			}
		case slack.InteractionTypeViewClosed:
			ack(client, e)
		}
	})
	card := post(t, sim, api, sim.Channel("general").ID)
	bob := sim.Person("bob")
	if _, err := bob.Click(t.Context(), card, "reject"); err != nil {
		t.Fatal(err)
	}
	v, err := bob.Modal(t.Context())
	if err != nil || v.PrivateMetadata != "ref" || v.Title != "Reject" {
		t.Fatalf("modal: %+v, %v", v, err)
	}
	if _, err := bob.Submit(t.Context(), v, map[string]any{"reason/text": "longer than ten"}); !errors.Is(err, slacksim.ErrRefused) {
		t.Errorf("over max_length: %v", err)
	}
	if _, err := bob.Submit(t.Context(), v, map[string]any{"text": "bad"}); err != nil {
		t.Fatal(err)
	}
	if v, err = bob.WaitModal(t.Context(), func(v slacksim.View) bool { return v.Errors["reason"] == "Say more." }); err != nil {
		t.Fatal(err)
	}
	d, err := bob.Submit(t.Context(), v, nil)
	if err != nil || !d.Acked {
		t.Fatalf("%+v, %v", d, err)
	}
	second, err := bob.WaitModal(t.Context(), func(v slacksim.View) bool { return v.CallbackID == "second" })
	if err != nil || second.PreviousID != v.ID || second.RootID != v.ID {
		t.Fatalf("%+v, %v", second, err)
	}
	if _, err := bob.Submit(t.Context(), second, nil); err != nil {
		t.Fatal(err)
	}
	if d, err := bob.CloseModal(t.Context()); err != nil || d.Kind != slacksim.ViewClosed || !d.Acked {
		t.Fatalf("close: %+v, %v", d, err)
	}
	if err := bob.NoModal(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestHome(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	listen(t, sim, api, func(client *socketmode.Client, e socketmode.Event) {
		ack(client, e)
		if outer, ok := e.Data.(slackevents.EventsAPIEvent); ok {
			opened := outer.InnerEvent.Data.(*slackevents.AppHomeOpenedEvent)
			if _, err := api.PublishViewContext(t.Context(), slack.PublishViewContextRequest{
				UserID: opened.User,
				View:   slack.HomeTabViewRequest{Type: slack.VTHomeTab, Blocks: slack.Blocks{BlockSet: []slack.Block{section("Waiting"), buttons("approve")}}},
			}); err != nil {
				t.Error(err)
			}
		}
	})
	alice := sim.Person("alice")
	if d, err := alice.OpenHome(t.Context()); err != nil || !d.Acked {
		t.Fatalf("%+v, %v", d, err)
	}
	v, err := alice.WaitHome(t.Context(), func(v slacksim.View) bool { return v.PlainText() == "Waiting" })
	if err != nil {
		t.Fatal(err)
	}
	d, err := alice.ClickView(t.Context(), v, "approve")
	if err != nil || !d.Acked {
		t.Fatalf("%+v, %v", d, err)
	}
	// The app has given it no title. Slack does, in answers and payloads; on the tab itself nobody sees it.
	var payload struct {
		View struct{ Title, Submit *slack.TextBlockObject }
	}
	if err := json.Unmarshal(d.Payload, &payload); err != nil {
		t.Fatal(err)
	}
	if title := payload.View.Title; title == nil || title.Text != "View Title" || payload.View.Submit != nil || v.Title != "" {
		t.Errorf("the view went out with %+v, and is %+v", payload.View, v)
	}
}

func TestTriggerExpires(t *testing.T) {
	t.Parallel()
	c := newClock()
	sim, api := start(t, slacksim.Options{Now: c.Now})
	listen(t, sim, api, ack)
	card := post(t, sim, api, sim.Channel("general").ID)
	d, err := sim.Person("bob").Click(t.Context(), card, "reject")
	if err != nil {
		t.Fatal(err)
	}
	c.Advance(3100 * time.Millisecond)
	if _, err := api.OpenViewContext(t.Context(), d.TriggerID, modal("late")); !isError(err, "expired_trigger_id") {
		t.Errorf("after 3.1 s: %v", err)
	}
	if _, err := api.OpenViewContext(t.Context(), "1.2.3", modal("late")); !isError(err, "invalid_trigger_id") {
		t.Errorf("made up: %v", err)
	}
}

func TestResponseURL(t *testing.T) {
	t.Parallel()
	c := newClock()
	sim, api := start(t, slacksim.Options{Now: c.Now})
	listen(t, sim, api, ack)
	bob := sim.Person("bob").In("random")
	d, err := bob.Command(t.Context(), "/greet World")
	if err != nil {
		t.Fatal(err)
	}
	say := func(url string, m slack.WebhookMessage) error { return slack.PostWebhookContext(t.Context(), url, &m) }
	for i := range 5 {
		kind := slack.ResponseTypeEphemeral
		if i == 4 {
			kind = slack.ResponseTypeInChannel
		}
		if err := say(d.ResponseURL, slack.WebhookMessage{Text: fmt.Sprint("answer ", i), ResponseType: kind}); err != nil {
			t.Fatal(err)
		}
	}
	if err := say(d.ResponseURL, slack.WebhookMessage{Text: "sixth"}); !isStatus(err, http.StatusNotFound) {
		t.Errorf("sixth use: %v", err)
	}
	if got := len(bob.Ephemerals("random")); got != 4 {
		t.Errorf("%d private messages", got)
	}
	if got := sim.Messages("random"); len(got) != 1 || got[0].Text != "answer 4" {
		t.Errorf("messages: %v", got)
	}

	card := post(t, sim, api, sim.Channel("general").ID)
	d, err = bob.Click(t.Context(), card, "approve")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := api.SendMessageContext(t.Context(), card.Channel, slack.MsgOptionText("replaced", false), slack.MsgOptionReplaceOriginal(d.ResponseURL)); err != nil {
		t.Fatal(err)
	}
	if card, _ = sim.Message(card.Channel, card.TS); card.Text != "replaced" || len(card.Blocks) > 0 {
		t.Errorf("card: %+v", card)
	}
	if err := say(d.ResponseURL, slack.WebhookMessage{DeleteOriginal: true}); err != nil {
		t.Fatal(err)
	}
	if _, ok := sim.Message(card.Channel, card.TS); ok {
		t.Error("not deleted")
	}
	c.Advance(31 * time.Minute)
	if err := say(d.ResponseURL, slack.WebhookMessage{Text: "late"}); !isStatus(err, http.StatusNotFound) {
		t.Errorf("after 31 minutes: %v", err)
	}
}

func TestSignedHTTP(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{AckTimeout: 500 * time.Millisecond})
	receive(t, sim, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		v, err := slack.NewSecretsVerifier(r.Header, slacksim.DefaultSigningSecret)
		if err == nil {
			_, _ = v.Write(body)
			err = v.Ensure()
		}
		if err != nil {
			t.Errorf("signature: %v", err)
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		if r.Header.Get("Content-Type") == "application/json" {
			var event struct{ Type, Challenge string }
			_ = json.Unmarshal(body, &event)
			switch {
			case event.Challenge != "":
				_, _ = io.WriteString(w, event.Challenge)
			case r.Header.Get("X-Slack-Retry-Num") == "":
				w.WriteHeader(http.StatusInternalServerError)
			case r.Header.Get("X-Slack-Retry-Reason") != "http_error":
				t.Errorf("retry reason %q", r.Header.Get("X-Slack-Retry-Reason"))
			}
			return
		}
		if c, err := slack.SlashCommandParse(r); err == nil && c.Command != "" {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"response_type":"in_channel","text":"Hello, `+c.Text+`!"}`)
			return
		}
		if ic, err := slack.InteractionCallbackParse(r); err != nil || len(ic.ActionCallback.BlockActions) != 1 {
			t.Errorf("interaction: %+v, %v", ic, err)
		} else if ic.ActionCallback.BlockActions[0].ActionID == "reject" {
			w.WriteHeader(http.StatusForbidden)
		}
	})
	if err := sim.VerifyURL(t.Context()); err != nil {
		t.Error(err)
	}
	bob := sim.Person("bob").In("general")
	if d, err := bob.Command(t.Context(), "/greet World"); err != nil || !d.Acked {
		t.Errorf("command: %+v, %v", d, err)
	}
	if _, err := sim.WaitMessage(t.Context(), "general", slacksim.Contains("Hello, World!")); err != nil {
		t.Error(err)
	}
	card := post(t, sim, api, sim.Channel("general").ID)
	if d, err := bob.Click(t.Context(), card, "approve"); err != nil || !d.Acked {
		t.Errorf("approve: %+v, %v", d, err)
	}
	if d, _ := bob.Click(t.Context(), card, "reject"); d.Acked || d.Error != slacksim.HTTPClientError || d.Status != http.StatusForbidden {
		t.Errorf("reject: %+v", d)
	}
	if d, err := bob.OpenHome(t.Context()); err != nil || !d.Acked || d.Attempt != 1 {
		t.Errorf("event: %+v, %v", d, err)
	}
}

func TestSign(t *testing.T) {
	t.Parallel()
	// The example of https://docs.slack.dev/authentication/verifying-requests-from-slack.
	body := "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar" +
		"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com" +
		"%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
	got := slacksim.Sign("8f742231b10e8888abcd99yyyzzz85a5", "1531420618", body)
	if want := "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func isError(err error, code string) bool {
	var e slack.SlackErrorResponse
	return errors.As(err, &e) && e.Err == code
}

func isStatus(err error, status int) bool {
	var e slack.StatusCodeError
	return errors.As(err, &e) && e.Code == status
}
