package slacksim_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"countersign/internal/slacksim"
)

func plainText(s string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, s, false, false)
}

func choice(text, value string) *slack.OptionBlockObject {
	return slack.NewOptionBlockObject(value, plainText(text), nil)
}

// form is a modal with one of each input. Only note is optional; the others are filled in.
func form() slack.ModalViewRequest {
	block := func(id string, e slack.BlockElement) *slack.InputBlock {
		return slack.NewInputBlock(id, plainText(id), nil, e)
	}
	reason := slack.NewPlainTextInputBlockElement(nil, "a").WithMinLength(3).WithMaxLength(10)
	reason.InitialValue = "because"
	count := slack.NewNumberInputBlockElement(nil, "a", false)
	count.InitialValue, count.MinValue, count.MaxValue = "3", "1", "10"
	risk := slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, nil, "a", choice("Low", "low"), choice("High", "high"))
	risk.InitialOption = choice("Low", "low")
	day := slack.NewDatePickerBlockElement("a")
	day.InitialDate = "2026-12-31"
	one := slack.NewOptionsSelectBlockElement(slack.OptTypeUser, nil, "a")
	one.InitialUser = "U0BOB00001"
	most := 2
	many := slack.NewOptionsMultiSelectBlockElement(slack.MultiOptTypeUser, nil, "a")
	many.InitialUsers, many.MaxSelectedItems = []string{"U0BOB00001"}, &most
	tick := slack.NewCheckboxGroupsBlockElement("a", choice("I have read it", "read"))
	tick.InitialOptions = tick.Options
	note := block("note", slack.NewPlainTextInputBlockElement(nil, "a").WithMultiline(true))
	note.Optional = true
	return slack.ModalViewRequest{
		Type: slack.VTModal, CallbackID: "form", Title: plainText("Ask"), Submit: plainText("Ask"),
		Blocks: slack.Blocks{BlockSet: []slack.Block{
			block("reason", reason), block("count", count), block("risk", risk), block("day", day),
			block("one", one), block("many", many), block("tick", tick), note,
		}},
	}
}

// openForm opens form for bob.
func openForm(t *testing.T, sim *slacksim.Server, api *slack.Client) slacksim.View {
	t.Helper()
	d, err := sim.Person("bob").Click(t.Context(), post(t, sim, api, sim.Channel("general").ID), "approve")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.OpenViewContext(t.Context(), d.TriggerID, form()); err != nil {
		t.Fatal(err)
	}
	v, err := sim.Person("bob").Modal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestInputs(t *testing.T) {
	t.Parallel()
	option := func(text, value string) map[string]any {
		return map[string]any{"text": map[string]any{"type": "plain_text", "text": text, "emoji": false}, "value": value}
	}
	entry := func(kind, key string, v any) map[string]any {
		return map[string]any{"a": map[string]any{"type": kind, key: v}}
	}
	for _, c := range []struct {
		name   string
		values map[string]any
		want   map[string]any
	}{
		{"as it was opened", nil, map[string]any{
			"reason": entry("plain_text_input", "value", "because"),
			"count":  entry("number_input", "value", "3"),
			"risk":   entry("static_select", "selected_option", option("Low", "low")),
			"day":    entry("datepicker", "selected_date", "2026-12-31"),
			"one":    entry("users_select", "selected_user", "U0BOB00001"),
			"many":   entry("multi_users_select", "selected_users", []any{"U0BOB00001"}),
			"tick":   entry("checkboxes", "selected_options", []any{option("I have read it", "read")}),
			"note":   entry("plain_text_input", "value", nil),
		}},
		{"filled in", map[string]any{
			"reason/a": "too slow", "count/a": "10", "risk/a": "high", "day/a": "2027-01-15", "one/a": "U0CAROL001",
			"many/a": []string{"U0DAVE0001", "U0ERIN0001"}, "tick/a": []string{"read"}, "note/a": "two\nlines",
		}, map[string]any{
			"reason": entry("plain_text_input", "value", "too slow"),
			"count":  entry("number_input", "value", "10"),
			"risk":   entry("static_select", "selected_option", option("High", "high")),
			"day":    entry("datepicker", "selected_date", "2027-01-15"),
			"one":    entry("users_select", "selected_user", "U0CAROL001"),
			"many":   entry("multi_users_select", "selected_users", []any{"U0DAVE0001", "U0ERIN0001"}),
			"tick":   entry("checkboxes", "selected_options", []any{option("I have read it", "read")}),
			"note":   entry("plain_text_input", "value", "two\nlines"),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			sim, api := start(t, slacksim.Options{})
			listen(t, sim, api, ack)
			d, err := sim.Person("bob").Submit(t.Context(), openForm(t, sim, api), c.values)
			if err != nil || !d.Acked {
				t.Fatalf("%+v, %v", d, err)
			}
			var got struct {
				View struct {
					State struct{ Values map[string]any }
				}
			}
			if err := json.Unmarshal(d.Payload, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got.View.State.Values); diff != "" {
				t.Errorf("state (-want +got)\n%s", diff)
			}
		})
	}
}

// What Slack's client holds back never reaches the app, and the modal says why.
func TestInputsHeldBack(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	listen(t, sim, api, ack)
	v := openForm(t, sim, api)
	bob := sim.Person("bob")
	before := len(sim.Deliveries())
	const required = "Please complete this required field."
	for _, c := range []struct {
		name, block string
		value       any
		want        string
	}{
		{"text too short", "reason", "no", "Must be at least 3 characters"},
		{"text too long", "reason", "eleven char", "Must be 10 characters or less"},
		{"no text", "reason", "", required},
		{"number too low", "count", "0", "Must be at least 1"},
		{"number too high", "count", "11", "Must be at most 10"},
		{"number with decimals", "count", "2.5", "Enter a valid number"},
		{"infinite number", "count", "Inf", "Enter a valid number"},
		{"number with an exponent", "count", "1e1", "Enter a valid number"},
		{"no number", "count", "", required},
		{"no option", "risk", "", required},
		{"no date", "day", "", required},
		{"no person", "one", "", required},
		{"no people", "many", []string{}, required},
		{"not ticked", "tick", []string{}, required},
	} {
		_, err := bob.Submit(t.Context(), v, map[string]any{c.block + "/a": c.value})
		if !errors.Is(err, slacksim.ErrRefused) {
			t.Errorf("%s: %v", c.name, err)
		}
		shown, err := bob.Modal(t.Context())
		if diff := cmp.Diff(map[string]string{c.block: c.want}, shown.Errors); err != nil || diff != "" {
			t.Errorf("%s: %v, errors (-want +got)\n%s", c.name, err, diff)
		}
	}
	for name, values := range map[string]map[string]any{
		"a third person":       {"many/a": []string{"U0BOB00001", "U0CAROL001", "U0ERIN0001"}},
		"nobody that exists":   {"one/a": "U0NOBODY01"},
		"an unknown option":    {"risk/a": "extreme"},
		"an unknown box":       {"tick/a": []string{"unread"}},
		"a text for a box":     {"tick/a": "read"},
		"an unknown input":     {"other/a": "x"},
		"a date that is none":  {"day/a": "2026-02-30"},
		"a list for one input": {"reason/a": []string{"x"}},
	} {
		if _, err := bob.Submit(t.Context(), v, values); !errors.Is(err, slacksim.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := len(sim.Deliveries()); got != before {
		t.Errorf("%d deliveries, want none", got-before)
	}
	if d, err := bob.Submit(t.Context(), v, nil); err != nil || !d.Acked {
		t.Errorf("%+v, %v", d, err)
	}
	if err := bob.NoModal(t.Context()); err != nil {
		t.Error(err)
	}
}

// slack-go reads the state as it reads Slack's.
func TestInputsThroughSlackGo(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	submitted := make(chan *slack.ViewState, 1)
	listen(t, sim, api, func(client *socketmode.Client, e socketmode.Event) {
		if ic := e.Data.(slack.InteractionCallback); ic.Type == slack.InteractionTypeViewSubmission {
			submitted <- ic.View.State
		}
		ack(client, e)
	})
	if _, err := sim.Person("bob").Submit(t.Context(), openForm(t, sim, api), nil); err != nil {
		t.Fatal(err)
	}
	state := (<-submitted).Values
	got := []string{
		state["reason"]["a"].Value, state["count"]["a"].Value, state["risk"]["a"].SelectedOption.Value, state["day"]["a"].SelectedDate,
		state["one"]["a"].SelectedUser, state["many"]["a"].SelectedUsers[0], state["tick"]["a"].SelectedOptions[0].Value, state["note"]["a"].Value,
	}
	if diff := cmp.Diff([]string{"because", "3", "low", "2026-12-31", "U0BOB00001", "U0BOB00001", "read", ""}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
