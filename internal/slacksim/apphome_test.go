package slacksim_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackevents"
	"github.com/slack-go/slack/socketmode"

	"countersign/internal/slacksim"
)

// homeTab is a Home tab with all that a person can use there.
func homeTab(text string) slack.HomeTabViewRequest {
	filter := slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, nil, "filter", choice("Open", "open"), choice("Decided", "decided"))
	filter.InitialOption = choice("Open", "open")
	return slack.HomeTabViewRequest{
		Type: slack.VTHomeTab, CallbackID: "home", PrivateMetadata: "page=1",
		Blocks: slack.Blocks{BlockSet: []slack.Block{
			section(text),
			slack.NewActionBlock("row", slack.NewButtonBlockElement("approve", "ref-"+text, plainText("Approve")),
				slack.NewOverflowBlockElement("more", choice("Extend", "extend"), choice("Withdraw", "withdraw")), filter),
		}},
	}
}

func publishHome(t *testing.T, api *slack.Client, user, text string, hash *string) (*slack.ViewResponse, error) {
	t.Helper()
	return api.PublishViewContext(t.Context(), slack.PublishViewContextRequest{UserID: user, View: homeTab(text), Hash: hash})
}

func TestPublishConflicts(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	bob := sim.Person("bob")
	none := "1.none"
	if _, err := publishHome(t, api, bob.ID(), "zero", &none); !isError(err, "hash_conflict") {
		t.Errorf("a hash before there is a view: %v", err)
	}
	first, err := publishHome(t, api, bob.ID(), "first", nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := publishHome(t, api, bob.ID(), "second", &first.Hash)
	if err != nil || second.ID != first.ID || second.Hash == first.Hash {
		t.Fatalf("%+v after %+v, %v", second, first, err)
	}
	if _, err := publishHome(t, api, bob.ID(), "third", &first.Hash); !isError(err, "hash_conflict") {
		t.Errorf("a stale hash: %v", err)
	}
	if v, err := bob.WaitHome(t.Context(), func(slacksim.View) bool { return true }); err != nil || v.PlainText() != "second" {
		t.Errorf("%q, %v", v.PlainText(), err)
	}
	if _, err := publishHome(t, api, "U0NOBODY01", "x", nil); !isError(err, "invalid_arguments") {
		t.Errorf("nobody: %v", err)
	}
}

// appHome is what an app_home_opened event says.
type appHome struct {
	Type    string
	EventID string `json:"event_id"`
	Event   struct {
		Type, User, Channel, Tab string
		EventTS                  string `json:"event_ts"`
		View                     *slack.View
	}
}

func readHome(t *testing.T, d slacksim.Delivery) appHome {
	t.Helper()
	var got appHome
	if err := json.Unmarshal(d.Payload, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestAppHomeOpened(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	opened := make(chan *slackevents.AppHomeOpenedEvent, 3)
	listen(t, sim, api, func(client *socketmode.Client, e socketmode.Event) {
		ack(client, e)
		opened <- e.Data.(slackevents.EventsAPIEvent).InnerEvent.Data.(*slackevents.AppHomeOpenedEvent)
	})
	bob := sim.Person("bob")
	d, err := bob.OpenHome(t.Context())
	if err != nil || !d.Acked {
		t.Fatalf("%+v, %v", d, err)
	}
	first := readHome(t, d)
	e := first.Event
	have := []string{first.Type, e.Type, e.User, e.Channel, e.Tab}
	if diff := cmp.Diff([]string{"event_callback", "app_home_opened", bob.ID(), bob.DM().Channel(), "home"}, have); diff != "" {
		t.Errorf("event (-want +got)\n%s", diff)
	}
	if first.EventID == "" || e.EventTS == "" || e.View != nil {
		t.Errorf("%+v", first)
	}
	if got := <-opened; got.User != bob.ID() || got.Tab != "home" {
		t.Errorf("slack-go reads %+v", got)
	}
	if _, err := publishHome(t, api, bob.ID(), "Waiting", nil); err != nil {
		t.Fatal(err)
	}
	d, err = bob.OpenHome(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again := readHome(t, d)
	if v := again.Event.View; again.EventID == first.EventID || v == nil || v.PrivateMetadata != "page=1" || v.CallbackID != "home" || v.Hash == "" {
		t.Errorf("%+v", again)
	}
	d, err = bob.OpenMessages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := readHome(t, d); got.Event.Tab != "messages" || got.Event.View != nil {
		t.Errorf("%+v", got)
	}
}

// An event that is not acknowledged comes again, with the same event ID, in either mode.
func TestAppHomeOpenedAgain(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, sim *slacksim.Server) {
		t.Helper()
		if d, err := sim.Person("bob").OpenHome(t.Context()); err != nil || !d.Acked || d.Attempt != 1 {
			t.Errorf("%+v, %v", d, err)
		}
		all := sim.Deliveries()
		if len(all) != 2 || all[0].Acked || readHome(t, all[0]).EventID != readHome(t, all[1]).EventID {
			t.Errorf("%v", all)
		}
	}
	t.Run("Socket Mode", func(t *testing.T) {
		t.Parallel()
		sim, api := start(t, slacksim.Options{})
		listen(t, sim, api, func(client *socketmode.Client, e socketmode.Event) {
			if e.Request.RetryAttempt != 1 || e.Request.RetryReason != "timeout" {
				t.Errorf("attempt %d, reason %q", e.Request.RetryAttempt, e.Request.RetryReason)
			}
			ack(client, e)
		})
		sim.InjectDelivery(slacksim.DeliveryFault{Kind: slacksim.AppHomeOpened, Lost: true})
		check(t, sim)
	})
	t.Run("HTTP", func(t *testing.T) {
		t.Parallel()
		sim, _ := start(t, slacksim.Options{})
		receive(t, sim, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			if r.Header.Get("X-Slack-Retry-Num") == "" {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		check(t, sim)
	})
}

func TestActingInHome(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	listen(t, sim, api, ack)
	bob := sim.Person("bob")
	if _, err := publishHome(t, api, bob.ID(), "one", nil); err != nil {
		t.Fatal(err)
	}
	v, err := bob.WaitHome(t.Context(), func(slacksim.View) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	type payload struct {
		Type        string
		Container   map[string]any
		View        slack.View
		Actions     []map[string]any
		TriggerID   string `json:"trigger_id"`
		ResponseURL any    `json:"response_url"`
		Channel     any
		Message     any
	}
	filter := func(value string) func(payload) bool {
		return func(p payload) bool { return p.View.State.Values["row"]["filter"].SelectedOption.Value == value }
	}
	for _, c := range []struct {
		name string
		do   func() (slacksim.Delivery, error)
		is   func(payload) bool
		kind string
	}{
		{"button", func() (slacksim.Delivery, error) { return bob.ClickView(t.Context(), v, "approve") }, filter("open"), "button"},
		{"overflow", func() (slacksim.Delivery, error) { return bob.SelectView(t.Context(), v, "more", "withdraw") }, func(p payload) bool {
			o, _ := p.Actions[0]["selected_option"].(map[string]any)
			return o["value"] == "withdraw" && filter("open")(p)
		}, "overflow"},
		{"menu", func() (slacksim.Delivery, error) { return bob.SelectView(t.Context(), v, "filter", "decided") }, filter("decided"), "static_select"},
	} {
		d, err := c.do()
		if err != nil || !d.Acked {
			t.Fatalf("%s: %+v, %v", c.name, d, err)
		}
		var got payload
		if err := json.Unmarshal(d.Payload, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]any{"type": "view", "view_id": v.ID}, got.Container); diff != "" {
			t.Errorf("%s: container (-want +got)\n%s", c.name, diff)
		}
		if d.ResponseURL != "" || got.ResponseURL != nil || got.Channel != nil || got.Message != nil || got.Actions[0]["type"] != c.kind || !c.is(got) {
			t.Errorf("%s: %s", c.name, d.Payload)
		}
		if w := got.View; w.ID != v.ID || w.Hash != v.Hash || w.PrivateMetadata != "page=1" || w.CallbackID != "home" || string(w.Type) != "home" {
			t.Errorf("%s: view %+v", c.name, w)
		}
		if _, err := api.OpenViewContext(t.Context(), got.TriggerID, form()); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		open, err := bob.Modal(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if d, err := bob.Submit(t.Context(), open, nil); err != nil || !d.Acked {
			t.Errorf("%s: %+v, %v", c.name, d, err)
		}
	}

	// What is clicked is what is there now.
	if _, err := publishHome(t, api, bob.ID(), "two", nil); err != nil {
		t.Fatal(err)
	}
	d, err := bob.ClickView(t.Context(), v, "approve")
	if err != nil {
		t.Fatal(err)
	}
	var got payload
	if err := json.Unmarshal(d.Payload, &got); err != nil || got.Actions[0]["value"] != "ref-two" {
		t.Errorf("%v, %v", got.Actions, err)
	}
	if _, err := bob.ClickView(t.Context(), v, "other"); !errors.Is(err, slacksim.ErrRefused) {
		t.Errorf("no such button: %v", err)
	}
	if _, err := sim.Person("carol").ClickView(t.Context(), v, "approve"); !errors.Is(err, slacksim.ErrRefused) {
		t.Errorf("another's Home: %v", err)
	}
	if options := v.Options("more"); len(options) != 2 || options[1].Value != "withdraw" {
		t.Errorf("%v", options)
	}
	if b, ok := v.Button("row/approve"); !ok || b.Value != "ref-one" {
		t.Errorf("%+v", b)
	}
}
