// Package card draws requests as Slack messages: pure functions from the types of package workflows to Block Kit. A
// card is a view of a request and never the source of truth; it is drawn anew for each state.
//
// Text of others stands in rich text elements only, which hold no markup. Lines of our own are mrkdwn with verbatim
// set, so that Slack makes neither links nor mentions of what it finds in them.
package card

import (
	"fmt"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"countersign/workflows"
)

// IDs by which the bot knows what was clicked.
const (
	ActionApprove = "approve"
	ActionReject  = "reject"
	// BlockDecision begins the block ID of the buttons; the number of the round follows.
	BlockDecision = "decision"
	// CallbackReject, BlockReason and ActionReason are of the modal that asks why.
	CallbackReject = "reject"
	BlockReason    = "reason"
	ActionReason   = "reason"
)

// What is shown of untrusted text, in characters.
const (
	TitleLimit  = 150
	TextLimit   = 2000
	ReasonLimit = 1000
	// topLimit is what screen readers get: Slack refuses an update over 4,000 characters.
	// https://docs.slack.dev/reference/methods/chat.update#errors
	topLimit = 4000
)

// Message is what a Slack message shows: Blocks, and Text with the same content for screen readers and notifications.
type Message struct {
	Text   string
	Blocks []slack.Block
}

// Open draws an open request. Its buttons carry the reference.
func Open(r workflows.Request, round int, reference string) Message {
	who := Approvers(r.Approvers)
	until := Date(r.ExpiresAt)
	lines := []string{"May decide: " + who}
	if r.Requester != "" {
		lines = append([]string{"Asked by " + user(r.Requester)}, lines...)
	}
	lines = append(lines, "Until "+until)

	title := mentionless(Clean(r.Title, TitleLimit))
	approve := slack.NewButtonBlockElement(ActionApprove, reference, plain("Approve")).WithStyle(slack.StylePrimary)
	approve.AccessibilityLabel = cut("Approve: "+title, 75)
	reject := slack.NewButtonBlockElement(ActionReject, reference, plain("Reject"))
	reject.AccessibilityLabel = cut("Reject: "+title, 75)
	return Message{
		Text: top("Approval needed", r, strings.Join(lines, ". ")+"."),
		Blocks: append(question("Approval needed", r),
			context(strings.Join(lines, "  ·  ")),
			slack.NewActionBlock(fmt.Sprintf("%s-%d", BlockDecision, round), approve, reject)),
	}
}

// Closed draws a request that has ended: no buttons, and how it ended in words.
func Closed(r workflows.Request, res workflows.Result) Message {
	var (
		line   = Sentence(res, Mrkdwn)
		blocks = question(heading(res.Outcome), r)
		said   = line
	)
	if d, ok := res.Decision(); ok && d.Reason != "" {
		reason := CleanLines(d.Reason, ReasonLimit)
		blocks = append(blocks, slack.NewRichTextBlock("", &slack.RichTextQuote{
			Type: slack.RTEQuote, Elements: spans(reason, nil),
		}))
		said += " Reason: " + Escape(reason)
	}
	if r.Requester != "" {
		line = strings.TrimSuffix(line, ".") + "  ·  Asked by " + user(r.Requester)
		said += " Asked by " + user(r.Requester) + "."
	}
	return Message{Text: top(heading(res.Outcome), r, said), Blocks: append(blocks, context(line))}
}

// Notice is the line that tells the requester, in the card's thread, how the request ended.
func Notice(r workflows.Request, res workflows.Result) Message {
	title := Clean(r.Title, TitleLimit)
	line := Sentence(res, Mrkdwn)
	m := Message{
		Text: cut(fmt.Sprintf("%s “%s”: %s", user(r.Requester), Escape(title), line), topLimit),
		Blocks: []slack.Block{
			slack.NewRichTextBlock("", slack.NewRichTextSection(spans(user(r.Requester)+" “"+title+"”", nil)...)),
			mrkdwn(line),
		},
	}
	if d, ok := res.Decision(); ok && d.Reason != "" {
		reason := CleanLines(d.Reason, ReasonLimit)
		m.Blocks = append(m.Blocks, slack.NewRichTextBlock("", &slack.RichTextQuote{
			Type: slack.RTEQuote, Elements: spans(reason, nil),
		}))
		m.Text = cut(m.Text+" Reason: "+Escape(reason), topLimit)
	}
	return m
}

// Plain is a message of untrusted text alone.
func Plain(text string) Message {
	text = CleanLines(text, TextLimit)
	return Message{
		Text:   cut(Escape(text), topLimit),
		Blocks: []slack.Block{slack.NewRichTextBlock("", slack.NewRichTextSection(spans(text, nil)...))},
	}
}

// RejectModal asks for the reason of a rejection. metadata comes back with the submission.
// https://docs.slack.dev/reference/views/modal-views
func RejectModal(metadata string) slack.ModalViewRequest {
	reason := slack.NewInputBlock(BlockReason, plain("Reason"), plain("The requester sees it, and so does everybody who sees the card."),
		slack.NewPlainTextInputBlockElement(nil, ActionReason).WithMultiline(true).WithMaxLength(ReasonLimit))
	return slack.ModalViewRequest{
		Type:            slack.VTModal,
		CallbackID:      CallbackReject,
		Title:           plain("Reject Request"),
		Submit:          plain("Reject"),
		Close:           plain("Cancel"),
		Blocks:          slack.Blocks{BlockSet: []slack.Block{reason.WithOptional(true)}},
		PrivateMetadata: metadata,
	}
}

// Markup is how people and dates are written.
type Markup int

// The kinds of markup.
const (
	Mrkdwn Markup = iota // in a message: Slack shows them in the reader's own way
	Bare                 // where Slack reads no markup, as in a modal's error
)

// Sentence says how a request ended.
func Sentence(res workflows.Result, m Markup) string {
	when := ""
	if !res.EndedAt.IsZero() {
		when = " on " + Date(res.EndedAt)
		if m == Bare {
			when = " on " + utc(res.EndedAt)
		}
	}
	if d, ok := res.Decision(); ok {
		if d.Outside() {
			return fmt.Sprintf("%s%s, decided outside Slack.", heading(res.Outcome), when)
		}
		by := user(d.By.ID)
		if m == Bare {
			by = Clean(d.By.Name, TitleLimit)
		}
		return fmt.Sprintf("%s by %s%s.", heading(res.Outcome), by, when)
	}
	switch res.Outcome {
	case workflows.Expired:
		return fmt.Sprintf("Expired%s: nobody decided in time.", when)
	case workflows.Withdrawn:
		return fmt.Sprintf("Withdrawn%s, before anybody decided.", when)
	default:
		s := fmt.Sprintf("Ended%s without a decision.", when)
		if note := Clean(res.Note, TextLimit); note != "" {
			if m == Mrkdwn {
				note = Escape(note)
			}
			s += " " + note
		}
		return s
	}
}

// Approvers names who may decide, as mrkdwn.
func Approvers(a workflows.Approvers) string {
	var names []string
	for _, id := range a.Users {
		names = append(names, user(id))
	}
	for _, id := range a.Groups {
		names = append(names, "<!subteam^"+escape(id)+">")
	}
	if a.Channel {
		names = append(names, "anyone in this channel")
	}
	return strings.Join(names, ", ")
}

// Date shows a time in the reader's own zone. https://docs.slack.dev/messaging/formatting-message-text#date-formatting
func Date(t time.Time) string {
	return fmt.Sprintf("<!date^%d^{date_short_pretty} at {time}|%s>", t.Unix(), utc(t))
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

func heading(o workflows.Outcome) string {
	switch o {
	case workflows.Approved:
		return "Approved"
	case workflows.Rejected:
		return "Rejected"
	case workflows.Expired:
		return "Expired"
	case workflows.Withdrawn:
		return "Withdrawn"
	default:
		return "Ended"
	}
}

// question shows what is asked, under a heading.
func question(head string, r workflows.Request) []slack.Block {
	title := spans(Clean(r.Title, TitleLimit), &slack.RichTextSectionTextStyle{Bold: true})
	if len(title) == 0 {
		title = spans("A request that Temporal no longer has", nil)
	}
	parts := []slack.RichTextElement{slack.NewRichTextSection(title...)}
	if text := spans(CleanLines(r.Text, TextLimit), nil); len(text) > 0 {
		parts = append(parts, slack.NewRichTextSection(text...))
	}
	return []slack.Block{slack.NewHeaderBlock(plain(head)), slack.NewRichTextBlock("", parts...)}
}

// top is the top-level text: the whole content, for those who hear it.
func top(head string, r workflows.Request, rest string) string {
	s := head + ": " + Escape(Clean(r.Title, TitleLimit))
	if text := CleanLines(r.Text, TextLimit); text != "" {
		s += ". " + Escape(text)
	}
	// Escaping makes text longer; what we say ourselves stays whole.
	room := topLimit - len([]rune(rest)) - 2
	if runes := []rune(s); len(runes) > room {
		s = string(runes[:max(room-1, 0)])
		if i := strings.LastIndexAny(s, "&<"); i >= 0 && !strings.ContainsAny(s[i:], ";>") {
			s = s[:i] // Never half an entity or a mention.
		}
		s += "…"
	}
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s + " " + rest
}

// mentionless is text for where Slack shows no people.
func mentionless(text string) string { return mention.ReplaceAllString(text, "a person") }

func user(id string) string {
	if id == "" {
		return ""
	}
	return "<@" + escape(id) + ">"
}

func plain(s string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, s, false, false)
}

func context(line string) slack.Block {
	return slack.NewContextBlock("", slack.NewTextBlockObject(slack.MarkdownType, line, false, true))
}

func mrkdwn(line string) slack.Block {
	return slack.NewSectionBlock(slack.NewTextBlockObject(slack.MarkdownType, line, false, true), nil, nil)
}
