package card

import (
	"fmt"
	"strconv"

	"github.com/slack-go/slack"

	"countersign/workflows"
)

// value is what an input stands at.
type value struct {
	text    string
	changed bool             // by an approver
	by      workflows.Person // who did
}

// current is what the inputs stand at after the decisions: what was approved last, and else what they were at first.
func current(r workflows.Request, decisions []workflows.Decision) []value {
	var last map[string]string
	for _, d := range decisions {
		if d.Outcome == workflows.Approved && len(d.Inputs) > 0 {
			last = d.Inputs
		}
	}
	return values(r, last, decisions)
}

// final is what the inputs stand at when the request has ended.
func final(r workflows.Request, res workflows.Result) []value {
	if res.Inputs != nil {
		return values(r, res.Inputs, res.Decisions)
	}
	return current(r, res.Decisions)
}

// values are the inputs' values, where given, with who was the first to give them.
func values(r workflows.Request, given map[string]string, decisions []workflows.Decision) []value {
	all := make([]value, len(r.Inputs))
	for i, in := range r.Inputs {
		all[i].text = string(in.Initial)
		text, ok := given[in.Name]
		if !ok || text == all[i].text {
			continue
		}
		all[i].text = text
		for _, d := range decisions {
			if v, ok := d.Inputs[in.Name]; ok && v == text && d.Outcome == workflows.Approved {
				all[i].changed, all[i].by = true, d.By
				break
			}
		}
	}
	return all
}

// shown is the value as people read it.
func (v value) shown(in workflows.Input, limit int) []slack.RichTextSectionElement {
	text := CleanLines(v.text, min(limit, workflows.MaxReason))
	switch {
	case text == "":
		return []slack.RichTextSectionElement{slack.NewRichTextSectionTextElement("empty", &slack.RichTextSectionTextStyle{Italic: true})}
	case in.Type == workflows.PersonInput && workflows.IsUser(v.text):
		return []slack.RichTextSectionElement{slack.NewRichTextSectionUserElement(v.text, nil)}
	case in.Type == workflows.SelectInput:
		return spans(choiceLabel(in.Options, v.text, min(limit, workflows.MaxLabel)), nil)
	default:
		return spans(text, nil)
	}
}

// choiceLabel is what the choice of that value is called.
func choiceLabel(choices []workflows.Choice, value string, limit int) string {
	for _, c := range choices {
		if c.String() == value {
			if label := Clean(c.Label, limit); label != "" {
				return label
			}
		}
	}
	return Clean(value, limit)
}

// inputLabel is what the i-th input is called.
func inputLabel(in workflows.Input, i, limit int) string {
	for _, label := range []string{in.Label, in.Name} {
		if label = Clean(label, limit); label != "" {
			return label
		}
	}
	return fmt.Sprintf("Value %d", i+1)
}

// Selected is the value of the input of which Slack says that the option was selected. Slack's own values are shorter
// than ours may be: where one would be too long, the options' numbers stand for them.
func Selected(in workflows.Input, option string) string {
	if n, err := strconv.Atoi(option); err == nil && numbered(in) && n > 0 && n <= len(in.Options) {
		return in.Options[n-1].String()
	}
	return option
}

// numbered reports whether options go by their numbers.
func numbered(in workflows.Input) bool {
	const (
		each = 150  // https://docs.slack.dev/reference/block-kit/composition-objects/option-object
		all  = 5000 // bytes, so that a view with ten such menus fits
	)
	bytes := 0
	for _, c := range in.Options {
		v := c.String()
		if bytes += len(v); v == "" || length(v) > each || bytes > all {
			return true
		}
	}
	return false
}
