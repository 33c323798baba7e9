package slacksim_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"countersign/internal/slacksim"
)

// publish calls views.publish for alice with that view, as JSON, and returns Slack's error and its messages.
func publish(t *testing.T, sim *slacksim.Server, view string) (string, []string) {
	t.Helper()
	body := fmt.Sprintf(`{"user_id":%q,"view":%s}`, sim.Person("alice").ID(), view)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, sim.BaseURL()+"/api/views.publish", bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+slacksim.DefaultBotToken)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var got struct {
		Error    string
		Metadata struct{ Messages []string } `json:"response_metadata"`
	}
	if err := json.NewDecoder(response.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	return got.Error, got.Metadata.Messages
}

func TestElements(t *testing.T) {
	t.Parallel()
	sim, _ := start(t, slacksim.Options{})
	long := func(n int) string { return strings.Repeat("x", n) }
	option := func(text, value string) string {
		return `{"text":{"type":"plain_text","text":"` + text + `"},"value":"` + value + `"}`
	}
	options := func(n int) string {
		all := make([]string, n)
		for i := range all {
			all[i] = option("Option", fmt.Sprint(i))
		}
		return `"options":[` + strings.Join(all, ",") + `]`
	}
	menu := `{"type":"static_select","options":[` + option("Low", "low") + `],"initial_option":`
	boxes := `{"type":"checkboxes","options":[` + option("Tick", "tick") + `],"initial_options":`
	number := `{"type":"number_input","is_decimal_allowed":false`
	confirm := func(style string) string {
		text := func(s string) string { return `{"type":"plain_text","text":"` + s + `"}` }
		return `{"title":` + text("Sure?") + `,"text":` + text("Really?") + `,"confirm":` + text("Yes") + `,"deny":` + text("No") + `,"style":"` + style + `"}`
	}
	for _, c := range []struct{ name, in, element, want string }{
		{"text", "input", `{"type":"plain_text_input","multiline":true,"min_length":1,"max_length":5,"initial_value":"short"}`, ""},
		{"initial text over max_length", "input", `{"type":"plain_text_input","max_length":4,"initial_value":"short"}`, "must be less than 5 characters [json-pointer:%s/initial_value]"},
		{"initial text of 3001", "input", `{"type":"plain_text_input","initial_value":"` + long(3001) + `"}`, "must be less than 3001 characters [json-pointer:%s/initial_value]"},
		{"max_length of 3001", "input", `{"type":"plain_text_input","max_length":3001}`, "must be between 1 and 3000 [json-pointer:%s/max_length]"},
		{"min_length over max_length", "input", `{"type":"plain_text_input","min_length":3,"max_length":2}`, "must not be greater than max_length [json-pointer:%s/min_length]"},
		{"text outside an input", "actions", `{"type":"plain_text_input"}`, "unsupported type: plain_text_input [json-pointer:%s/type]"},
		{"button in an input", "input", `{"type":"button","text":{"type":"plain_text","text":"x"}}`, "unsupported type: button [json-pointer:%s/type]"},
		{"number", "input", number + `,"min_value":"-1","max_value":"10","initial_value":"7"}`, ""},
		{"decimal number", "input", `{"type":"number_input","is_decimal_allowed":true,"initial_value":"0.5"}`, ""},
		{"number of neither kind", "input", `{"type":"number_input"}`, "missing required field: is_decimal_allowed [json-pointer:%s]"},
		{"bound that is no text", "input", number + `,"min_value":1}`, "must be a string [json-pointer:%s/min_value]"},
		{"bound that is no number", "input", number + `,"max_value":"ten"}`, "must be a valid number [json-pointer:%s/max_value]"},
		{"decimal bound of whole numbers", "input", number + `,"max_value":"1.5"}`, "must be a valid number [json-pointer:%s/max_value]"},
		{"bounds the wrong way round", "input", number + `,"min_value":"10","max_value":"9"}`, "must not be greater than max_value [json-pointer:%s/min_value]"},
		{"initial number out of bounds", "input", number + `,"max_value":"9","initial_value":"10"}`, "must be between min_value and max_value [json-pointer:%s/initial_value]"},
		{"menu", "input", menu + option("Low", "low") + `}`, ""},
		{"initial option with another text", "input", menu + option("Lower", "low") + `}`, "failed to match any of the options [json-pointer:%s/initial_option]"},
		{"menu without options", "actions", `{"type":"static_select"}`, "missing required field: options [json-pointer:%s]"},
		{"menu with 101 options", "actions", `{"type":"static_select",` + options(101) + `}`, "no more than 100 items allowed [json-pointer:%s/options]"},
		{"option with a link in a menu", "actions", `{"type":"static_select","options":[{"text":{"type":"plain_text","text":"x"},"value":"x","url":"https://example.com"}]}`, "invalid additional property: url [json-pointer:%s/options/0]"},
		{"boxes", "input", boxes + `[` + option("Tick", "tick") + `]}`, ""},
		{"boxes in actions", "actions", `{"type":"checkboxes",` + options(10) + `}`, ""},
		{"11 boxes", "input", `{"type":"checkboxes",` + options(11) + `}`, "no more than 10 items allowed [json-pointer:%s/options]"},
		{"initial box that is none", "input", boxes + `[` + option("Tick", "tock") + `]}`, "failed to match any of the options [json-pointer:%s/initial_options]"},
		{"no initial box", "input", boxes + `[]}`, "missing required field: initial_options [json-pointer:%s]"},
		{"overflow", "actions", `{"type":"overflow",` + options(5) + `}`, ""},
		{"overflow with one option", "actions", `{"type":"overflow",` + options(1) + `}`, "no fewer than 2 items allowed [json-pointer:%s/options]"},
		{"overflow with 6 options", "section", `{"type":"overflow",` + options(6) + `}`, "no more than 5 items allowed [json-pointer:%s/options]"},
		{"option text of 76", "actions", `{"type":"overflow","options":[` + option(long(76), "a") + `,` + option("b", "b") + `]}`, "must be less than 76 characters [json-pointer:%s/options/0/text/text]"},
		{"option value of 151", "actions", `{"type":"overflow","options":[` + option("a", long(151)) + `,` + option("b", "b") + `]}`, "must be less than 151 characters [json-pointer:%s/options/0/value]"},
		{"date", "input", `{"type":"datepicker","initial_date":"2026-12-31"}`, ""},
		{"no date", "input", `{"type":"datepicker","initial_date":"31.12.2026"}`, "must be a date like 2026-12-31 [json-pointer:%s/initial_date]"},
		{"person", "input", `{"type":"users_select","initial_user":"U0BOB00001"}`, ""},
		{"people", "input", `{"type":"multi_users_select","initial_users":["U0BOB00001"],"max_selected_items":1}`, ""},
		{"too many people", "input", `{"type":"multi_users_select","initial_users":["U0BOB00001","U0CAROL001"],"max_selected_items":1}`, "no more than 1 items allowed [json-pointer:%s/initial_users]"},
		{"room for nobody", "input", `{"type":"multi_users_select","max_selected_items":0}`, "must be greater than or equal to 1 [json-pointer:%s/max_selected_items]"},
		{"confirmation", "actions", `{"type":"button","text":{"type":"plain_text","text":"x"},"confirm":` + confirm("danger") + `}`, ""},
		{"confirmation in a colour of its own", "actions", `{"type":"button","text":{"type":"plain_text","text":"x"},"confirm":` + confirm("blue") + `}`, "must be one of the allowed values: primary, danger [json-pointer:%s/confirm/style]"},
		{"unknown element", "actions", `{"type":"slider"}`, "unsupported type: slider [json-pointer:%s/type]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			block := `{"type":"actions","elements":[` + c.element + `]}`
			at := "/view/blocks/0/elements/0"
			switch c.in {
			case "input":
				block, at = `{"type":"input","label":{"type":"plain_text","text":"Label"},"element":`+c.element+`}`, "/view/blocks/0/element"
			case "section":
				block, at = `{"type":"section","text":{"type":"plain_text","text":"Text"},"accessory":`+c.element+`}`, "/view/blocks/0/accessory"
			}
			code, messages := publish(t, sim, `{"type":"home","blocks":[`+block+`]}`)
			if c.want == "" {
				if code != "" {
					t.Errorf("%s %q", code, messages)
				}
				return
			}
			if want := "[ERROR] " + strings.Replace(c.want, "%s", at, 1); code != "invalid_arguments" || !slices.Contains(messages, want) {
				t.Errorf("%s %q, want %q", code, messages, want)
			}
		})
	}
}

func TestViewLimits(t *testing.T) {
	t.Parallel()
	sim, _ := start(t, slacksim.Options{})
	dividers := func(n int) string {
		return `"blocks":[` + strings.TrimSuffix(strings.Repeat(`{"type":"divider"},`, n), ",") + `]`
	}
	button := `{"type":"button","text":{"type":"plain_text","text":"x"}},`
	for _, c := range []struct{ name, rest, want string }{
		{"100 blocks", dividers(100), ""},
		{"101 blocks", dividers(101), "no more than 100 items allowed [json-pointer:/view/blocks]"},
		{"no blocks", `"callback_id":"x"`, "missing required field: blocks [json-pointer:/view]"},
		{"the same block ID twice", `"blocks":[{"type":"divider","block_id":"a"},{"type":"divider","block_id":"a"}]`, "`block_id` already exists: a [json-pointer:/view/blocks/1/block_id]"},
		{"callback ID of 256", dividers(1) + `,"callback_id":"` + strings.Repeat("x", 256) + `"`, "must be less than 256 characters [json-pointer:/view/callback_id]"},
		{"private metadata of 3000", dividers(1) + `,"private_metadata":"` + strings.Repeat("x", 3000) + `"`, ""},
		{"private metadata of 3001", dividers(1) + `,"private_metadata":"` + strings.Repeat("x", 3001) + `"`, "must be less than 3001 characters [json-pointer:/view/private_metadata]"},
		{"25 buttons", `"blocks":[{"type":"actions","elements":[` + strings.TrimSuffix(strings.Repeat(button, 25), ",") + `]}]`, ""},
		{"26 buttons", `"blocks":[{"type":"actions","elements":[` + strings.TrimSuffix(strings.Repeat(button, 26), ",") + `]}]`, "no more than 25 items allowed [json-pointer:/view/blocks/0/elements]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, messages := publish(t, sim, `{"type":"home",`+c.rest+`}`)
			if c.want == "" && code != "" || c.want != "" && (code != "invalid_arguments" || !slices.Contains(messages, "[ERROR] "+c.want)) {
				t.Errorf("%s %q, want %q", code, messages, c.want)
			}
		})
	}
}
