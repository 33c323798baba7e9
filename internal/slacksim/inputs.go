package slacksim

import (
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"unicode/utf8"
)

// fillIn returns the state of blocks with values in their inputs, and what Slack's client finds wrong, by block ID.
func (s *Server) fillIn(blocks []Block, values map[string]any) (map[string]any, map[string]string, error) {
	state, invalid, used := map[string]any{}, map[string]string{}, 0
	for _, b := range blocks {
		for _, e := range elementsOf(b) {
			blockID, actionID := b.str("block_id"), e.str("action_id")
			value, given := values[blockID+"/"+actionID]
			if !given {
				value, given = values[actionID]
			}
			if given {
				used++
				if err := s.checkValue(e, value); err != nil {
					return nil, nil, err
				}
			}
			entry, problem := inputState(e, value)
			if entry == nil {
				continue
			}
			if optional, _ := b["optional"].(bool); b.str("type") == "input" && !optional && isEmpty(entry) {
				problem = "Please complete this required field."
			}
			if problem != "" {
				invalid[blockID] = problem
			}
			block, _ := state[blockID].(map[string]any)
			if block == nil {
				block = map[string]any{}
				state[blockID] = block
			}
			block[actionID] = entry
		}
	}
	if used < len(values) {
		return nil, nil, refuse("there are not all of the inputs %v", values)
	}
	return state, invalid, nil
}

// isEmpty reports whether an entry of a view's state has nothing but its type.
func isEmpty(entry map[string]any) bool {
	for key, v := range entry {
		users, areUsers := v.([]string)
		options, areOptions := v.([]Block)
		switch {
		case key == "type" || v == nil:
		case areUsers && len(users) == 0, areOptions && len(options) == 0:
		default:
			return false
		}
	}
	return true
}

// inputState returns what the state of a view holds for an element, nil for those without state, and what is wrong.
// See https://docs.slack.dev/reference/views/#state.
func inputState(e Block, value any) (map[string]any, string) {
	kind := e.str("type")
	entry := map[string]any{"type": kind}
	text, _ := value.(string)
	orNil := func(initial string) any {
		if value == nil {
			text = e.str(initial)
		}
		if text == "" {
			return nil
		}
		return text
	}
	switch kind {
	case "plain_text_input":
		entry["value"] = orNil("initial_value")
		length := utf8.RuneCountInString(text)
		if limit, ok := e["max_length"].(float64); ok && length > int(limit) {
			return entry, fmt.Sprintf("Must be %d characters or less", int(limit))
		}
		if limit, ok := e["min_length"].(float64); ok && length > 0 && length < int(limit) {
			return entry, fmt.Sprintf("Must be at least %d characters", int(limit))
		}
	case "number_input":
		entry["value"] = orNil("initial_value")
		if text != "" {
			return entry, numberProblem(e, text)
		}
	case "datepicker":
		entry["selected_date"] = orNil("initial_date")
	case "users_select":
		entry["selected_user"] = orNil("initial_user")
	case "multi_users_select":
		users, _ := value.([]string)
		if value == nil {
			initial, _ := e["initial_users"].([]any)
			for _, u := range initial {
				users = append(users, fmt.Sprint(u))
			}
		}
		entry["selected_users"] = append([]string{}, users...)
	case "static_select":
		entry["selected_option"] = nil
		if initial := e.object("initial_option"); initial != nil && value == nil {
			entry["selected_option"] = initial
		}
		for _, o := range e.list("options") {
			if text != "" && o.str("value") == text {
				entry["selected_option"] = o
			}
		}
	case "checkboxes":
		ticked, _ := value.([]string)
		if value == nil {
			for _, o := range e.list("initial_options") {
				ticked = append(ticked, o.str("value"))
			}
		}
		chosen := []Block{}
		for _, o := range e.list("options") {
			if slices.Contains(ticked, o.str("value")) {
				chosen = append(chosen, o)
			}
		}
		entry["selected_options"] = chosen
	default:
		return nil, ""
	}
	return entry, ""
}

var (
	wholeNumber = regexp.MustCompile(`^-?[0-9]+$`)
	anyNumber   = regexp.MustCompile(`^-?([0-9]+\.?[0-9]*|\.[0-9]+)$`)
)

// isNumber reports whether text is a number as the number_input e takes it.
func isNumber(e Block, text string) bool {
	if decimal, _ := e["is_decimal_allowed"].(bool); decimal {
		return anyNumber.MatchString(text)
	}
	return wholeNumber.MatchString(text)
}

// compareNumbers compares two texts that are numbers, to the last digit.
func compareNumbers(a, b string) int {
	x, _ := new(big.Rat).SetString(a)
	y, _ := new(big.Rat).SetString(b)
	if x == nil || y == nil {
		return 0
	}
	return x.Cmp(y)
}

// numberProblem is what Slack's client finds wrong with a number.
// See https://docs.slack.dev/reference/block-kit/block-elements/number-input-element.
func numberProblem(e Block, text string) string {
	low, high := e.str("min_value"), e.str("max_value")
	switch {
	case !isNumber(e, text):
		return "Enter a valid number"
	case low != "" && compareNumbers(text, low) < 0:
		return "Must be at least " + low
	case high != "" && compareNumbers(text, high) > 0:
		return "Must be at most " + high
	}
	return ""
}
