// Package card draws requests as Slack messages and views: pure functions from the types of package workflows to Block
// Kit. A card is a view of a request and never the source of truth; it is drawn anew for each state.
//
// Text of others stands in rich text elements, which hold no markup, or in plain text. Lines of our own are mrkdwn with
// verbatim set, so that Slack makes neither links nor mentions of what it finds in them.
//
// What people wrote is cut where a message would become longer than Slack takes, the longest first; what the app says
// itself is not. The top-level text of a message, which screen readers read, is what its blocks say.
package card

import (
	"fmt"
	"strings"

	"github.com/slack-go/slack"

	"countersign/workflows"
)

// IDs by which the bot knows what was clicked.
const (
	// ActionApprove is of the button; choices have "approve_1" to "approve_5" instead.
	ActionApprove = "approve"
	ActionReject  = "reject"
	// ActionMore is of the card's menu; the values of its options are of [workflows.ChangeKind], or MenuShow.
	ActionMore = "more"
	MenuShow   = "show"
	// ActionWithdraw is of a button in the home; its value is the reference.
	ActionWithdraw = "withdraw"
	// ActionPage begins the action ID of a button that turns a page in the home: "page_waiting_2" shows page 2, from 0,
	// of the section waiting. The others are asked and decided.
	ActionPage = "page"
	// BlockDecision begins the block ID of the buttons that decide; on a card the number of the round follows, in the
	// home "home" and a number.
	BlockDecision = "decision"
)

// What is shown of untrusted text, in characters.
const (
	TitleLimit  = workflows.MaxTitle
	TextLimit   = workflows.MaxText
	ReasonLimit = workflows.MaxReason
)

// Message is what a Slack message shows: Blocks, and Text with the same content for screen readers and notifications.
type Message struct {
	Text   string
	Blocks []slack.Block
}

// Open draws an open request. Its buttons carry the reference.
func Open(r workflows.Round, reference string) Message {
	var lines []string
	if r.Requester != "" {
		lines = append(lines, "Asked by "+user(r.Requester))
	}
	lines = append(lines, "May decide: "+mayDecide(r), until(r))
	foot := []slack.Block{context(strings.Join(lines, between))}
	switch {
	case len(r.Decisions) > 0:
		foot = append(foot, context(Progress(r)))
	case workflows.Count(r.Wanted()) > 1: // Who is missing is said above.
		foot = append(foot, context(tally(r, r.Wanted())+" approved"))
	}
	if changed := changes(r.Changes); changed != "" {
		foot = append(foot, context(changed))
	}
	foot = append(foot, Buttons(r, reference, fmt.Sprintf("%s-%d", BlockDecision, r.Number), true))

	body, inputs := parse(r.Text), current(r.Request, r.Decisions)
	return message(func(limit int) []slack.Block {
		return append(question("Approval needed", r.Request, body, inputs, limit), foot...)
	})
}

// Closed draws a request that has ended: no buttons, and how it ended in words.
func Closed(r workflows.Request, res workflows.Result) Message {
	sentence := mrkdwn(Sentence(res, Mrkdwn))
	var foot []slack.Block
	if r.Requester != "" {
		foot = append(foot, context("Asked by "+user(r.Requester)))
	}
	if changed := changes(res.Changes); changed != "" {
		foot = append(foot, context(changed))
	}

	body, inputs := parse(r.Text), final(r, res)
	return message(func(limit int) []slack.Block {
		blocks := append(question(heading(res.Outcome), r, body, inputs, limit), sentence)
		if said := decisions(r, res, limit); len(said) > 0 {
			blocks = append(blocks, slack.NewRichTextBlock("", said...))
		}
		return append(blocks, foot...)
	})
}

// Notice is the line that tells the requester how the request ended, in the card's thread. Where permalink is true it is
// for a direct message, and leads to the card. Without a requester it is told to nobody by name.
func Notice(r workflows.Request, res workflows.Result, permalink bool) Message {
	head := &rich{}
	if r.Requester != "" && !permalink {
		head.user(r.Requester).text(" ")
	}
	head.text("“").add(spans(title(r), nil)).text("”:")
	why := "" // In it people are shown as people.
	if res.Outcome == workflows.Failed {
		why, res.Note = res.Note, ""
	}
	sentence := mrkdwn(Sentence(res, Mrkdwn))
	if res.Outcome == workflows.Failed && res.Card == (workflows.Card{}) {
		sentence = mrkdwn("This could not be asked.")
	}
	url, _, ok := safeURL(res.Permalink)

	return message(func(limit int) []slack.Block {
		more := outcome(r, res, limit)
		if note := spans(Clean(why, min(limit, ReasonLimit)), nil); len(note) > 0 {
			more = append(more, slack.NewRichTextSection(note...))
		}
		if d, ok := res.Decision(); ok { // Those before have lines in the thread.
			more = append(more, quoted(d, limit)...)
		}
		if ok && permalink {
			more = append(more, (&rich{}).link(url, openCard).section())
		}
		blocks := []slack.Block{slack.NewRichTextBlock("", head.section()), sentence}
		if len(more) > 0 {
			blocks = append(blocks, slack.NewRichTextBlock("", more...))
		}
		return blocks
	})
}

// Plain is a message of untrusted text alone.
func Plain(text string) Message {
	return message(func(limit int) []slack.Block {
		return []slack.Block{slack.NewRichTextBlock("", slack.NewRichTextSection(spans(CleanLines(text, limit), nil)...))}
	})
}

const (
	// between separates what is said in one line.
	between  = "  ·  "
	openCard = "Open card"
)

// question shows what is asked, under a heading.
func question(head string, r workflows.Request, body markdown, inputs []value, limit int) []slack.Block {
	parts := []slack.RichTextElement{slack.NewRichTextSection(spans(title(r), bold())...)}
	parts = append(parts, body.draw(limit)...)
	blocks := []slack.Block{slack.NewHeaderBlock(plain(head)), slack.NewRichTextBlock("", parts...)}
	if facts := facts(r, inputs, limit); len(facts) > 0 {
		blocks = append(blocks, slack.NewRichTextBlock("", facts...))
	}
	return blocks
}

// facts shows the fields, the link, and the values of the inputs.
func facts(r workflows.Request, inputs []value, limit int) []slack.RichTextElement {
	var all []slack.RichTextElement
	for _, f := range first(r.Fields, workflows.MaxFields) {
		all = append(all, fact(Clean(f.Label, min(limit, workflows.MaxLabel))).
			add(spans(CleanLines(f.Value, min(limit, workflows.MaxFieldValue)), nil)).section())
	}
	if r.Link.URL != "" {
		text := Clean(r.Link.Text, min(limit, workflows.MaxLabel))
		if text == "" {
			text = "Details"
		}
		line := &rich{}
		if url, host, ok := safeURL(r.Link.URL); ok {
			line.link(url, linkText(text, r.Link.URL, host))
		} else {
			line.text(text + ": " + Clean(r.Link.URL, min(limit, workflows.MaxURL)))
		}
		all = append(all, line.section())
	}
	for i, in := range first(r.Inputs, workflows.MaxInputs) {
		line := fact(inputLabel(in, i, min(limit, workflows.MaxLabel))).add(inputs[i].shown(in, limit))
		if inputs[i].changed {
			line.text(" (changed ").add(someone(inputs[i].by)).text(")")
		}
		all = append(all, line.section())
	}
	return all
}

// fact begins "Label: value".
func fact(label string) *rich {
	r := &rich{}
	return r.add(spans(label+":", bold())).text(" ")
}

// title is what the request is called.
func title(r workflows.Request) string {
	if t := Clean(r.Title, TitleLimit); t != "" {
		return t
	}
	return "A request without a title"
}

func first[T any](all []T, n int) []T { return all[:min(len(all), n)] }
