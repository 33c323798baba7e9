package card

import (
	"fmt"

	"github.com/slack-go/slack"

	"countersign/workflows"
)

// Line draws one line of a card's thread: what has happened to the request. Those in mention are mentioned where they
// are asked for something: asked, reminded, escalated, delegated.
func Line(l workflows.Line, mention workflows.Approvers) Message {
	sentence, decision := event(l, mention)
	var foot []slack.Block
	switch l.Event {
	case workflows.Asked, workflows.Reminded, workflows.Escalated, workflows.Delegated: // It is read in a notification.
		foot = []slack.Block{slack.NewRichTextBlock("", (&rich{}).add(spans(title(l.Round.Request), bold())).section())}
	}
	return message(func(limit int) []slack.Block {
		blocks := []slack.Block{mrkdwn(sentence)}
		if said := quoted(decision, limit); len(said) > 0 {
			blocks = append(blocks, slack.NewRichTextBlock("", said...))
		}
		return append(blocks, foot...)
	})
}

// Direct asks one person for their decision in a direct message, for they are not where the card is.
func Direct(l workflows.Line) Message {
	r := l.Round
	until := "please decide until " + Date(r.Until()) + "."
	sentence := "Your decision is wanted: " + until
	var change workflows.Change
	if n := len(r.Changes); n > 0 {
		change = r.Changes[n-1]
	}
	switch {
	case l.Event == workflows.Delegated:
		sentence = user(change.By.ID) + " handed their place over to you: " + until
	case l.Event == workflows.Escalated:
		sentence = "This was escalated to you: " + until
	case r.Requester != "":
		sentence = user(r.Requester) + " asks for your decision: " + until
	}
	return message(func(int) []slack.Block {
		head := (&rich{}).add(spans(title(r.Request), bold()))
		if url, _, ok := safeURL(l.Permalink); ok {
			head.text("  ").link(url, openCard)
		}
		return []slack.Block{
			mrkdwn(sentence), slack.NewRichTextBlock("", head.section()),
			context("You are not in the channel of the card. You can decide in my Home too."),
		}
	})
}

// event says what has happened, and gives the decision whose words are to be quoted.
func event(l workflows.Line, mention workflows.Approvers) (string, workflows.Decision) {
	var (
		r        = l.Round
		decision workflows.Decision
		change   workflows.Change
		by       string
		whom     = names(mention, mostNames, inThisChannel)
		please   = "Please decide until " + Date(r.Until()) + "."
		waits    = "This still waits for a decision, until " + Date(r.Until()) + "."
	)
	if whom == inThisChannel {
		whom = "Anyone in this channel"
	}
	if whom != "" {
		please = whom + ": please decide until " + Date(r.Until()) + "."
		waits = whom + ": this still waits for a decision, until " + Date(r.Until()) + "."
	}
	if n := len(r.Decisions); n > 0 {
		decision = r.Decisions[n-1]
	}
	if n := len(r.Changes); n > 0 {
		change = r.Changes[n-1]
	}
	if change.By.ID != "" {
		by = " by " + user(change.By.ID)
	}
	var none workflows.Decision
	switch l.Event {
	case workflows.Asked:
		return please, none
	case workflows.Reminded:
		return waits + missingSentence(r), none
	case workflows.Escalated:
		return fmt.Sprintf("%s This was escalated%s.", please, by), none
	case workflows.Delegated:
		return fmt.Sprintf("%s %s handed their place over to %s.", please, user(change.By.ID), user(change.To)), none
	case workflows.Extended:
		return fmt.Sprintf("Extended%s until %s.", by, Date(r.Until())), none
	case workflows.Decided:
		return decisionSentence(r, decision) + missingSentence(r), decision
	default:
		return "This has changed.", none
	}
}

// decisionSentence says who decided what.
func decisionSentence(r workflows.Round, d workflows.Decision) string {
	did := "approved"
	if d.Outcome == workflows.Rejected {
		did = "rejected"
	}
	s := Mrkdwn.person(d.By) + " " + did
	if d.By == (workflows.Person{}) {
		s = "S" + s[1:] // It begins the sentence.
	}
	t := r.Tally()
	if d.Outcome == workflows.Approved {
		s += " (" + tally(r, t.Missing) + ")"
	}
	for _, a := range t.Approvals {
		if role := words(a.Role, 2*workflows.MaxRoleName); a.By.ID == d.By.ID && role != "" {
			s += " as " + role
		}
	}
	if d.Choice != "" {
		s += ": " + chosen(r, d)
	}
	return s + "."
}

// missingSentence says how many are missing, and mentions nobody.
func missingSentence(r workflows.Round) string {
	missing := r.Tally().Missing
	if len(missing) == 0 || !worthTelling(r) {
		return ""
	}
	if len(r.Roles) == 0 {
		return fmt.Sprintf(" %d more wanted.", workflows.Count(missing))
	}
	for i := range missing {
		missing[i].Approvers = workflows.Approvers{}
	}
	return " Missing: " + roles(missing, 0) + "."
}
