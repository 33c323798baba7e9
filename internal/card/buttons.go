package card

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/slack-go/slack"

	"countersign/workflows"
)

// Limits of Slack's, in characters.
// https://docs.slack.dev/reference/block-kit/block-elements/button-element
// https://docs.slack.dev/reference/block-kit/composition-objects/confirmation-dialog-object
const (
	buttonLimit  = 75 // its text and its accessibility label, and the text of an option
	confirmLimit = 300
	answerLimit  = 30 // what a confirmation dialog's buttons say
)

// Option says which of the choices the action is, from 1; 0 is plain approval. ok is false for an action that approves
// nothing.
func Option(action string) (n int, ok bool) {
	if action == ActionApprove {
		return 0, true
	}
	number, ok := strings.CutPrefix(action, ActionApprove+"_")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 1 || n > workflows.MaxChoices || strconv.Itoa(n) != number {
		return 0, false
	}
	return n, true
}

// Buttons are those that decide. With overflow there is the menu too.
func Buttons(r workflows.Round, reference, blockID string, overflow bool) *slack.ActionBlock {
	var elements []slack.BlockElement
	button := func(action, text string, approves bool) *slack.ButtonBlockElement {
		b := slack.NewButtonBlockElement(action, reference, plain(text))
		b.AccessibilityLabel = within(text+": "+spoken(title(r.Request)), buttonLimit)
		if approves && r.Confirm != "" {
			b.Confirm = confirm(r.Confirm, text)
		}
		elements = append(elements, b)
		return b
	}
	if len(r.Choices) == 0 {
		button(ActionApprove, "Approve", true).WithStyle(slack.StylePrimary)
	}
	for i, c := range first(r.Choices, workflows.MaxChoices) {
		button(fmt.Sprintf("%s_%d", ActionApprove, i+1), choiceButton(c, i), true)
	}
	button(ActionReject, "Reject", false)
	if overflow {
		elements = append(elements, slack.NewOverflowBlockElement(ActionMore, menu(r)...))
	}
	return slack.NewActionBlock(blockID, elements...)
}

// menu is what can be done with the request beside deciding it. Slack wanted two options at least, until its page ceased
// to say so. https://docs.slack.dev/reference/block-kit/block-elements/overflow-menu-element
func menu(r workflows.Round) []*slack.OptionBlockObject {
	var all []*slack.OptionBlockObject
	option := func(value, text string) {
		all = append(all, slack.NewOptionBlockObject(value, plain(text), nil))
	}
	if len(r.Who().Users) > 0 {
		option(string(workflows.Delegate), "Hand over to…")
	}
	option(string(workflows.Extend), "Extend…")
	if _, more := r.NextEscalation(); more {
		option(string(workflows.Escalate), "Escalate now")
	}
	if r.Requester != "" {
		option(string(workflows.Withdraw), "Withdraw")
	}
	option(MenuShow, "Show its ID")
	return all
}

// choiceButton is what the button of the i-th choice says.
func choiceButton(c workflows.Choice, i int) string {
	if text := within(spoken(Clean(c.Label, workflows.MaxLabel)), buttonLimit); text != "" {
		return text
	}
	return fmt.Sprintf("Choice %d", i+1)
}

// confirm asks before what cannot be undone.
func confirm(question, yes string) *slack.ConfirmationBlockObject {
	text := within(spoken(CleanLines(question, workflows.MaxConfirm)), confirmLimit)
	if text == "" {
		text = "Do you want this?"
	}
	return slack.NewConfirmationBlockObject(plain("Are you sure?"), plain(text), plain(within(yes, answerLimit)), plain("Cancel"))
}

// spoken is text without markup for people, where they cannot be shown as such.
func spoken(s string) string { return mention.ReplaceAllString(s, "a person") }

// within cuts text to a limit of Slack's, which counts it escaped.
func within(s string, limit int) string {
	for n := limit; length(s) > limit; n-- {
		s = cut(s, n)
	}
	return s
}
