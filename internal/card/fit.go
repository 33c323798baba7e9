package card

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/slack-go/slack"
)

const (
	// topLimit is what screen readers get, in characters: Slack refuses an update over 4,000.
	// https://docs.slack.dev/reference/methods/chat.update#errors
	topLimit = 4000
	// blocksLimit is what all blocks of a message show, in characters: above some 12,000 Slack says msg_blocks_too_long,
	// and it counts more than text. https://github.com/slackapi/bolt-js/issues/2509,
	// https://github.com/slackapi/bolt-js/issues/2867
	blocksLimit = 12_000
	// elementSize is what an element counts for besides its text.
	elementSize = 20
	// markupLimit is of one text. https://docs.slack.dev/reference/block-kit/blocks/section-block
	markupLimit = 3000
	// least is how much of each thing that people wrote is shown in any case.
	least = 1
)

// message makes a message of blocks that draw makes. They hold at most limit characters of each thing that people wrote.
func message(draw func(limit int) []slack.Block) Message {
	return Message{
		Text:   cutMarkup(speak(fit(draw, topLimit, func(b []slack.Block) int { return utf8.RuneCountInString(speak(b)) })), topLimit),
		Blocks: fit(draw, blocksLimit, size),
	}
}

// fit finds the greatest limit for which what is drawn fits: the longest texts are cut first.
func fit(draw func(limit int) []slack.Block, most int, measure func([]slack.Block) int) []slack.Block {
	blocks := draw(TextLimit)
	if measure(blocks) <= most {
		return blocks
	}
	tooMany := sort.Search(TextLimit-least, func(n int) bool { return measure(draw(least+n+1)) > most })
	return draw(least + tooMany)
}

// size is how many characters the blocks show, and lead to, as Slack counts them, escaped, and somewhat more.
func size(blocks []slack.Block) int {
	b, err := json.Marshal(blocks)
	if err != nil { // They are made of strings and numbers.
		return 0
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return 0
	}
	return sizeOf(v)
}

func sizeOf(v any) int {
	n := 0
	switch v := v.(type) {
	case string:
		n = length(v)
	case []any:
		for _, item := range v {
			n += sizeOf(item)
		}
	case map[string]any:
		n = elementSize
		for key, item := range v {
			text, _ := item.(string)
			switch {
			case v["type"] == slack.MarkdownType && key == "text": // It is escaped already.
				n += utf8.RuneCountInString(text)
			case !slices.Contains([]string{"type", "style", "value", "action_id", "block_id"}, key):
				n += sizeOf(item)
			}
		}
	}
	return n
}

// speak says what the blocks show, but for what can be clicked, in mrkdwn.
func speak(blocks []slack.Block) string {
	var parts []string
	say := func(s string) {
		if s = strings.TrimSpace(s); s == "" {
			return
		}
		if last, _ := utf8.DecodeLastRuneInString(s); !strings.ContainsRune(".!?…:;", last) {
			s += "."
		}
		parts = append(parts, s)
	}
	for _, b := range blocks {
		switch b := b.(type) {
		case *slack.HeaderBlock:
			say(escape(b.Text.Text) + ":")
		case *slack.SectionBlock:
			say(b.Text.Text)
		case *slack.ContextBlock:
			for _, e := range b.ContextElements.Elements {
				if t, ok := e.(*slack.TextBlockObject); ok {
					for _, line := range strings.Split(t.Text, "\n") {
						say(strings.ReplaceAll(line, between, ". "))
					}
				}
			}
		case *slack.RichTextBlock:
			for _, e := range b.Elements {
				say(speakRich(e))
			}
		}
	}
	return strings.Join(parts, " ")
}

func speakRich(e slack.RichTextElement) string {
	switch e := e.(type) {
	case *slack.RichTextSection:
		return speakLine(e.Elements)
	case *slack.RichTextQuote:
		return speakLine(e.Elements)
	case *slack.RichTextPreformatted:
		return speakLine(e.Elements)
	case *list:
		var items []string
		for i, item := range e.Elements {
			mark := "• "
			if e.Style == slack.RTEListOrdered {
				mark = fmt.Sprintf("%d. ", e.Offset+i+1)
			}
			items = append(items, mark+speakRich(item))
		}
		return strings.Join(items, "\n")
	}
	return ""
}

func speakLine(elements []slack.RichTextSectionElement) string {
	var b strings.Builder
	for _, e := range elements {
		switch e := e.(type) {
		case *slack.RichTextSectionTextElement:
			b.WriteString(escape(e.Text))
		case *slack.RichTextSectionLinkElement:
			b.WriteString(escape(e.Text))
		case *slack.RichTextSectionUserElement:
			b.WriteString(user(e.UserID))
		case *slack.RichTextSectionUserGroupElement:
			b.WriteString(group(e.UsergroupID))
		case *slack.RichTextSectionDateElement:
			b.WriteString(Date(e.Timestamp.Time()))
		}
	}
	return b.String()
}

func plain(s string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, s, false, false)
}

func lineText(line string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.MarkdownType, cutMarkup(line, markupLimit), false, true)
}

func context(line string) slack.Block { return slack.NewContextBlock("", lineText(line)) }

func mrkdwn(line string) slack.Block { return slack.NewSectionBlock(lineText(line), nil, nil) }
