package slacksim

import (
	"fmt"
	"reflect"
	"slices"
	"time"
	"unicode/utf8"
)

// standsIn says in which blocks an interactive element may stand.
// See https://docs.slack.dev/reference/block-kit/block-elements.
func standsIn(kind string) []string {
	switch kind {
	case "button", "overflow":
		return []string{"section", "actions"}
	case "static_select", "users_select", "multi_users_select", "datepicker", "checkboxes":
		return []string{"section", "actions", "input"}
	case "plain_text_input", "number_input":
		return []string{"input"}
	}
	return nil
}

// element checks an interactive element of a block of the type in.
// See https://docs.slack.dev/reference/block-kit/block-elements.
func (c *checker) element(at string, e Block, in string) {
	if e == nil {
		c.problem(at, "must be an object")
		return
	}
	kind := e.str("type")
	if !slices.Contains(standsIn(kind), in) {
		c.problem(at+"/type", "unsupported type: %s", kind)
		return
	}
	c.optional(at, e, "action_id", maxID)
	if v, present := e["confirm"]; present && v != nil {
		c.confirm(at+"/confirm", e.object("confirm"))
	}
	if kind != "button" {
		c.optionalText(at, e, "placeholder", maxPlaceholder)
	}
	switch kind {
	case "button":
		c.text(at, e, "text", maxButtonText, true)
		c.optional(at, e, "value", maxButtonValue)
		c.optional(at, e, "url", maxURL)
		c.optional(at, e, "accessibility_label", maxButtonText)
		c.style(at, e)
	case "overflow":
		c.options(at, e, minOverflow, maxOverflow)
	case "static_select":
		c.options(at, e, 1, maxOptions)
		if v, present := e["initial_option"]; present {
			c.initialOption(at+"/initial_option", e, v)
		}
	case "checkboxes":
		c.options(at, e, 1, maxCheckboxes)
		if _, present := e["initial_options"]; present {
			c.elements(at, e, "initial_options", maxCheckboxes)
			initial, _ := e["initial_options"].([]any)
			for _, v := range initial {
				c.initialOption(at+"/initial_options", e, v)
			}
		}
	case "users_select":
		c.optional(at, e, "initial_user", maxID)
	case "multi_users_select":
		c.manyUsers(at, e)
	case "datepicker":
		c.optional(at, e, "initial_date", maxID)
		if _, err := time.Parse(time.DateOnly, e.str("initial_date")); e.str("initial_date") != "" && err != nil {
			c.problem(at+"/initial_date", "must be a date like 2026-12-31")
		}
	case "plain_text_input":
		c.textInput(at, e)
	case "number_input":
		c.numberInput(at, e)
	}
}

func (c *checker) style(at string, b Block) {
	if style, present := b["style"]; present && style != "primary" && style != "danger" {
		c.problem(at+"/style", "must be one of the allowed values: primary, danger")
	}
}

// options checks the options of a menu. An overflow menu had to have two, until Slack's page ceased to say so; the
// stand-in takes no chances.
// See https://docs.slack.dev/reference/block-kit/composition-objects/option-object.
func (c *checker) options(at string, e Block, least, most int) {
	options := c.elements(at, e, "options", most)
	if len(options) > 0 && len(options) < least {
		c.problem(at+"/options", "no fewer than %d items allowed", least)
	}
	for i, o := range options {
		at := fmt.Sprintf("%s/options/%d", at, i)
		c.text(at, o, "text", maxOptionText, e.str("type") != "checkboxes")
		c.optional(at, o, "value", maxOptionValue)
		if o.str("value") == "" {
			c.problem(at, "missing required field: value")
		}
		if _, present := o["description"]; present {
			c.text(at, o, "description", maxOptionText, e.str("type") != "checkboxes")
		}
		c.optional(at, o, "url", maxURL)
		if _, present := o["url"]; present && e.str("type") != "overflow" {
			c.problem(at, "invalid additional property: url")
		}
	}
}

// initialOption checks that v is one of the options of e, in every word.
// See https://docs.slack.dev/reference/block-kit/block-elements/select-menu-element.
func (c *checker) initialOption(at string, e Block, v any) {
	options, _ := e["options"].([]any)
	if !slices.ContainsFunc(options, func(o any) bool { return reflect.DeepEqual(o, v) }) {
		c.problem(at, "failed to match any of the options")
	}
}

// manyUsers checks a menu in which several people are chosen.
// See https://docs.slack.dev/reference/block-kit/block-elements/multi-select-menu-element#users_multi_select.
func (c *checker) manyUsers(at string, e Block) {
	v, present := e["initial_users"]
	users, ok := v.([]any)
	if present && v != nil && !ok {
		c.problem(at+"/initial_users", "must be an array")
	}
	for i, u := range users {
		if _, ok := u.(string); !ok {
			c.problem(fmt.Sprintf("%s/initial_users/%d", at, i), "must be a string")
		}
	}
	limit, limited := e["max_selected_items"].(float64)
	switch {
	case limited && limit < 1:
		c.problem(at+"/max_selected_items", "must be greater than or equal to 1")
	case limited && len(users) > int(limit):
		c.problem(at+"/initial_users", "no more than %d items allowed", int(limit))
	}
}

// textInput checks the field of a text.
// See https://docs.slack.dev/reference/block-kit/block-elements/plain-text-input-element.
func (c *checker) textInput(at string, e Block) {
	c.optional(at, e, "initial_value", maxPlainTextInput)
	least, _ := e["min_length"].(float64)
	most, limited := e["max_length"].(float64)
	if least < 0 || least > maxPlainTextInput {
		c.problem(at+"/min_length", "must be between 0 and %d", maxPlainTextInput)
	}
	switch {
	case !limited:
	case most < 1 || most > maxPlainTextInput:
		c.problem(at+"/max_length", "must be between 1 and %d", maxPlainTextInput)
	case least > most:
		c.problem(at+"/min_length", "must not be greater than max_length")
	case utf8.RuneCountInString(e.str("initial_value")) > int(most):
		c.problem(at+"/initial_value", "must be less than %d characters", int(most)+1)
	}
}

// numberInput checks the field of a number, whose bounds are texts.
// See https://docs.slack.dev/reference/block-kit/block-elements/number-input-element.
func (c *checker) numberInput(at string, e Block) {
	if _, ok := e["is_decimal_allowed"].(bool); !ok {
		c.problem(at, "missing required field: is_decimal_allowed")
	}
	for _, key := range []string{"min_value", "max_value", "initial_value"} {
		c.optional(at, e, key, maxPlainTextInput)
		if text := e.str(key); text != "" && !isNumber(e, text) {
			c.problem(at+"/"+key, "must be a valid number")
			return
		}
	}
	if low, high := e.str("min_value"), e.str("max_value"); low != "" && high != "" && compareNumbers(low, high) > 0 {
		c.problem(at+"/min_value", "must not be greater than max_value")
	}
	if text := e.str("initial_value"); text != "" && numberProblem(e, text) != "" {
		c.problem(at+"/initial_value", "must be between min_value and max_value")
	}
}

// confirm checks a confirmation dialog.
// See https://docs.slack.dev/reference/block-kit/composition-objects/confirmation-dialog-object.
func (c *checker) confirm(at string, b Block) {
	c.text(at, b, "title", maxConfirmTitle, true)
	c.text(at, b, "text", maxConfirmText, false)
	c.text(at, b, "confirm", maxConfirmButton, true)
	c.text(at, b, "deny", maxConfirmButton, true)
	c.style(at, b)
}
