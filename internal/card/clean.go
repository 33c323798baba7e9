package card

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/slack-go/slack"
)

// Clean makes untrusted text fit to be shown: one line of at most limit characters, without control characters,
// characters that have no width, and those that turn the direction of writing. It leaves markup alone: what shows the
// text must not read any.
func Clean(s string, limit int) string {
	return cut(strings.Join(strings.Fields(visible(s)), " "), limit)
}

// CleanLines is [Clean] for text of several lines.
func CleanLines(s string, limit int) string {
	lines := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	kept := lines[:0]
	for _, l := range lines {
		if l = strings.Join(strings.Fields(visible(l)), " "); l != "" {
			kept = append(kept, l)
		}
	}
	return cut(strings.Join(kept, "\n"), limit)
}

// visible drops what cannot be seen, and makes every kind of space a plain one.
func visible(s string) string {
	seen := false // something that a variation selector can go with
	return strings.Map(func(r rune) rune {
		before := seen
		seen = false
		switch {
		case r > ' ' && r < 0x7f: // most of what is written
			seen = true
			return r
		case unicode.IsSpace(r) || unicode.In(r, unicode.Zs, unicode.Zl, unicode.Zp):
			return ' '
		case r == unicode.ReplacementChar || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Cs, unicode.Co):
			return -1
		case r >= '\ufe00' && r <= '\ufe0f': // variation selectors, as in many emoji
			if !before {
				return -1
			}
			return r
		case r == '\u17b4' || r == '\u17b5' || r >= '\u180b' && r <= '\u180f':
			return -1
		case r == '\u034f' || r == '\u115f' || r == '\u1160' || r == '\u3164' || r == '\uffa0' || r == '\u2800': // joiners, fillers, a blank
			return -1
		default:
			seen = true
			return r
		}
	}, s)
}

// cut shortens s to limit characters, and shows that it did.
func cut(s string, limit int) string {
	n, end := 0, 0
	for i := range s {
		if n++; n == limit {
			end = i
		}
		if n > limit {
			return s[:end] + "…"
		}
	}
	return s
}

// mention finds the people in untrusted text: the one piece of Slack's markup that we read.
var mention = regexp.MustCompile(`<@([UW][A-Z0-9]{1,20})(?:\|[^<>]*)?>`)

// spans shows text as Slack's rich text, whose text elements hold no markup: nothing in text can become a link, a
// broadcast or a format. People are shown as people. https://docs.slack.dev/reference/block-kit/blocks/rich-text-block
func spans(text string, style *slack.RichTextSectionTextStyle) []slack.RichTextSectionElement {
	var out []slack.RichTextSectionElement
	plain := func(s string) {
		if s != "" {
			out = append(out, slack.NewRichTextSectionTextElement(s, style))
		}
	}
	last := 0
	for _, m := range mention.FindAllStringSubmatchIndex(text, -1) {
		plain(text[last:m[0]])
		out = append(out, slack.NewRichTextSectionUserElement(text[m[2]:m[3]], style))
		last = m[1]
	}
	plain(text[last:])
	return out
}

// Escape makes untrusted text safe within Slack's mrkdwn, where it must stand in it: in the top-level text of a
// message. It has at most limit characters, as Slack counts them: escaped. It is cut between characters and people, and
// shows that it was. https://docs.slack.dev/messaging/formatting-message-text#escaping
func Escape(text string, limit int) string {
	var (
		all  []string // the pieces that must stay whole
		last = 0
	)
	for _, m := range append(mention.FindAllStringSubmatchIndex(text, -1), []int{len(text), len(text), 0, 0}) {
		for _, r := range text[last:m[0]] {
			all = append(all, escape(string(r)))
		}
		if m[2] < m[3] {
			all = append(all, "<@"+text[m[2]:m[3]]+">")
		}
		last = m[1]
	}
	var (
		b    strings.Builder
		room = limit
		fits = 0 // length of what stays if the rest does not fit
	)
	for _, piece := range all {
		n := utf8.RuneCountInString(piece)
		if n > room {
			return b.String()[:fits] + "…"
		}
		b.WriteString(piece)
		if room -= n; room > 0 {
			fits = b.Len()
		}
	}
	return b.String()
}

func escape(s string) string { return escaper.Replace(s) }

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// length is how many characters Slack counts in a text: escaped.
func length(s string) int {
	return utf8.RuneCountInString(s) + 4*strings.Count(s, "&") + 3*strings.Count(s, "<") + 3*strings.Count(s, ">")
}

// markup is what Slack makes of links, channels and groups in the text of a command.
var markup = regexp.MustCompile(`<(?:(?:https?://|mailto:)[^<>|]*|[#!][^<>|]*)(?:\|([^<>]*))?>`)

// Typed gives the text of a slash command as it was typed: Slack marks links, channels, groups and broadcasts up and
// writes & < > as entities. People stay marked up, as "<@U…>".
// https://docs.slack.dev/interactivity/implementing-slash-commands#escaping
func Typed(text string) string {
	text = mention.ReplaceAllString(text, "<@$1>")
	text = markup.ReplaceAllStringFunc(text, func(m string) string {
		if label := markup.FindStringSubmatch(m)[1]; label != "" {
			return label
		}
		return strings.TrimLeft(strings.Trim(m, "<>"), "#!")
	})
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(text)
}

// token is what must stay whole in mrkdwn of ours.
var token = regexp.MustCompile(`(?s)<[^<>]*>|&(?:amp|lt|gt);|.`)

// cutMarkup shortens mrkdwn of ours to limit characters, between characters and pieces of markup.
func cutMarkup(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	room, end := limit-1, 0
	for _, m := range token.FindAllStringIndex(s, -1) {
		if room -= utf8.RuneCountInString(s[m[0]:m[1]]); room < 0 {
			break
		}
		end = m[1]
	}
	return s[:end] + "…"
}
