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

	approve := slack.NewButtonBlockElement(ActionApprove, reference, plain("Approve")).WithStyle(slack.StylePrimary)
	approve.AccessibilityLabel = label("Approve", title(r))
	reject := slack.NewButtonBlockElement(ActionReject, reference, plain("Reject"))
	reject.AccessibilityLabel = label("Reject", title(r))
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
	if quoted, spoken := reason(res); quoted != nil {
		blocks = append(blocks, quoted)
		said += spoken
	}
	if r.Requester != "" {
		line = strings.TrimSuffix(line, ".") + "  ·  Asked by " + user(r.Requester)
		said += " Asked by " + user(r.Requester) + "."
	}
	return Message{Text: top(heading(res.Outcome), r, said), Blocks: append(blocks, context(line))}
}

// Notice is the line that tells the requester, in the card's thread, how the request ended.
func Notice(r workflows.Request, res workflows.Result) Message {
	line := Sentence(res, Mrkdwn)
	m := Message{
		Text: fmt.Sprintf("%s “%s”: %s", user(r.Requester), Escape(title(r), 2*TitleLimit), line),
		Blocks: []slack.Block{
			slack.NewRichTextBlock("", slack.NewRichTextSection(spans(user(r.Requester)+" “"+title(r)+"”", nil)...)),
			mrkdwn(line),
		},
	}
	if quoted, spoken := reason(res); quoted != nil {
		m.Blocks = append(m.Blocks, quoted)
		m.Text += spoken
	}
	return m
}

// reason shows why a decision was made, as a block and as words for the top-level text; nil where nobody said.
func reason(res workflows.Result) (quoted slack.Block, spoken string) {
	d, _ := res.Decision()
	why := CleanLines(d.Reason, ReasonLimit)
	if why == "" {
		return nil, ""
	}
	return slack.NewRichTextBlock("", &slack.RichTextQuote{Type: slack.RTEQuote, Elements: spans(why, nil)}),
		" Reason: " + Escape(why, topLimit/2)
}

// Plain is a message of untrusted text alone.
func Plain(text string) Message {
	text = CleanLines(text, TextLimit)
	return Message{
		Text:   Escape(text, topLimit),
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
		if note := Clean(res.Note, ReasonLimit); note != "" {
			if m == Mrkdwn { // It is text of others: no format, and nobody is mentioned.
				note = escape(strings.NewReplacer("*", "", "_", "", "~", "", "`", "").Replace(Clean(note, ReasonLimit/2)))
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
	return fmt.Sprintf("<!date^%d^{date_short} at {time}|%s>", t.Unix(), utc(t))
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
	parts := []slack.RichTextElement{slack.NewRichTextSection(spans(title(r), &slack.RichTextSectionTextStyle{Bold: true})...)}
	if text := spans(CleanLines(r.Text, TextLimit), nil); len(text) > 0 {
		parts = append(parts, slack.NewRichTextSection(text...))
	}
	return []slack.Block{slack.NewHeaderBlock(plain(head)), slack.NewRichTextBlock("", parts...)}
}

// title is what the request is called.
func title(r workflows.Request) string {
	if t := Clean(r.Title, TitleLimit); t != "" {
		return t
	}
	return "A request without a title"
}

// top is the top-level text: the whole content, for those who hear it. What we say ourselves, rest, stays whole.
func top(head string, r workflows.Request, rest string) string {
	s := title(r)
	if text := CleanLines(r.Text, TextLimit); text != "" {
		s += ". " + text
	}
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return head + ": " + Escape(s, topLimit-len([]rune(head+": "+" "+rest))) + " " + rest
}

// label is what a screen reader says of a button. Slack takes 75 characters, escaped; people are shown as such nowhere
// in it.
func label(verb, title string) string {
	const limit = 75
	s := verb + ": " + mention.ReplaceAllString(title, "a person")
	for n := limit; len([]rune(escape(s))) > limit; n-- {
		s = cut(s, n)
	}
	return s
}

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
