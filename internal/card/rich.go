package card

import (
	"time"

	"github.com/slack-go/slack"

	"countersign/workflows"
)

// rich is a line of rich text that is being written.
type rich struct {
	elements []slack.RichTextSectionElement
}

// add adds elements; text goes on in the same style where it can.
func (r *rich) add(elements []slack.RichTextSectionElement) *rich {
	for _, e := range elements {
		text, ok := e.(*slack.RichTextSectionTextElement)
		if n := len(r.elements); ok && n > 0 {
			if last, ok := r.elements[n-1].(*slack.RichTextSectionTextElement); ok && sameStyle(last.Style, text.Style) {
				r.elements[n-1] = slack.NewRichTextSectionTextElement(last.Text+text.Text, last.Style)
				continue
			}
		}
		r.elements = append(r.elements, e)
	}
	return r
}

func sameStyle(a, b *slack.RichTextSectionTextStyle) bool {
	return a == b || a != nil && b != nil && *a == *b
}

// text adds our own words, or text that is no more than text: nobody is looked for in it.
func (r *rich) text(s string) *rich {
	if s == "" {
		return r
	}
	return r.add([]slack.RichTextSectionElement{slack.NewRichTextSectionTextElement(s, nil)})
}

// user adds a person. What is no ID is no more than text.
func (r *rich) user(id string) *rich {
	if !workflows.IsUser(id) {
		return r.text(Clean(id, TitleLimit))
	}
	return r.add([]slack.RichTextSectionElement{slack.NewRichTextSectionUserElement(id, nil)})
}

func (r *rich) link(url, text string) *rich {
	return r.add([]slack.RichTextSectionElement{slack.NewRichTextSectionLinkElement(url, text, nil)})
}

func (r *rich) date(t time.Time) *rich {
	fallback := utc(t)
	return r.add([]slack.RichTextSectionElement{slack.NewRichTextSectionDateElement(t.Unix(), dateFormat, nil, &fallback)})
}

func (r *rich) section() *slack.RichTextSection { return slack.NewRichTextSection(r.elements...) }

// someone says by whom something was done.
func someone(p workflows.Person) []slack.RichTextSectionElement {
	r := &rich{}
	switch name := unproved(p); {
	case p.ID == "" && name == "":
		return r.text("outside Slack").elements
	case p.ID == "":
		return r.text("by " + name + workflows.AsGiven).elements
	}
	return r.text("by ").user(p.ID).elements
}

// quote is what people said, in their words.
func quote(s string) *slack.RichTextQuote {
	return &slack.RichTextQuote{Type: slack.RTEQuote, Elements: spans(s, nil)}
}

func bold() *slack.RichTextSectionTextStyle { return &slack.RichTextSectionTextStyle{Bold: true} }
