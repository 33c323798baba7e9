package card

import (
	"fmt"
	"html"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/slack-go/slack"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extended "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"

	"countersign/workflows"
)

// markdown is text in a little Markdown, read. What of it is no emphasis, code, list, quote, heading or link is text.
// https://spec.commonmark.org/0.31.2/
type markdown struct {
	root   ast.Node
	source []byte
}

// reader reads Markdown. It may be used concurrently.
var reader = goldmark.New(goldmark.WithExtensions(
	extension.Strikethrough,
	extension.NewLinkify(extension.WithLinkifyAllowedProtocols([]string{"http:", "https:"})),
)).Parser()

// parse reads untrusted text. It looks at no more than can be shown.
func parse(s string) markdown {
	const enough = 64 << 10 // bytes, most of which cannot be seen
	if len(s) > enough {
		s = s[:enough]
	}
	lines := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimRight(visible(strings.ReplaceAll(l, "\t", "    ")), " ")
	}
	source := []byte(cut(strings.Trim(strings.Join(lines, "\n"), "\n"), TextLimit))
	return markdown{root: reader.Parse(text.NewReader(source)), source: source}
}

// draw shows at most limit characters as rich text.
// https://docs.slack.dev/reference/block-kit/blocks/rich-text-block
func (m markdown) draw(limit int) []slack.RichTextElement {
	d := drawing{markdown: m, left: limit}
	d.blocks(m.root)
	d.flush()
	return d.done
}

// drawing draws Markdown until nothing is left of its characters.
type drawing struct {
	markdown
	left int
	done []slack.RichTextElement
	line []piece // of the section that is being drawn
}

// piece is text in one style, or a link.
type piece struct {
	text  string
	url   string
	style slack.RichTextSectionTextStyle
}

// deepest is how deep Slack indents a list. Deeper ones are text.
const deepest = 8

// blocks draws the blocks in n.
func (d *drawing) blocks(n ast.Node) {
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		switch c := c.(type) {
		case *ast.List:
			d.flush()
			d.list(c, 0)
		case *ast.Blockquote:
			d.flush()
			d.flat(c, 0)
			if e := d.elements(); len(e) > 0 {
				d.done = append(d.done, &slack.RichTextQuote{Type: slack.RTEQuote, Elements: e})
			}
		case *ast.CodeBlock, *ast.FencedCodeBlock:
			d.flush()
			if code := d.take(strings.TrimRight(d.lines(c), "\n")); code != "" {
				d.done = append(d.done, &slack.RichTextPreformatted{
					Type:     slack.RTEPreformatted,
					Elements: []slack.RichTextSectionElement{slack.NewRichTextSectionTextElement(code, nil)},
				})
			}
		default:
			if len(d.line) > 0 {
				space := "\n\n"
				if _, after := c.PreviousSibling().(*ast.Heading); after {
					space = "\n"
				}
				d.write(space, slack.RichTextSectionTextStyle{})
			}
			d.block(c, 0)
		}
	}
}

// block draws a block as text.
func (d *drawing) block(n ast.Node, depth int) {
	var style slack.RichTextSectionTextStyle
	switch n := n.(type) {
	case *ast.Heading:
		style.Bold = true
		d.inlines(n, style)
	case *ast.Paragraph, *ast.TextBlock:
		d.inlines(n, style)
	case *ast.ThematicBreak:
		d.write("———", style)
	case *ast.CodeBlock, *ast.FencedCodeBlock:
		style.Code = true
		d.write(strings.TrimRight(d.lines(n), "\n"), style)
	case *ast.List:
		number := n.Start
		for item := n.FirstChild(); item != nil; item = item.NextSibling() {
			if item != n.FirstChild() {
				d.write("\n", style)
			}
			d.write(strings.Repeat("  ", min(depth, deepest))+mark(n, number), style)
			number++
			d.flat(item, depth+1)
		}
	case *ast.HTMLBlock:
		lines := d.lines(n)
		if n.HasClosure() {
			lines += string(n.ClosureLine.Value(d.source))
		}
		d.write(strings.TrimRight(lines, "\n"), style)
	default:
		if n.HasChildren() {
			d.flat(n, depth+1)
		} else if n.Type() == ast.TypeBlock {
			d.write(strings.TrimRight(d.lines(n), "\n"), style)
		}
	}
}

// flat draws the blocks in n as text, each on its line.
func (d *drawing) flat(n ast.Node, depth int) {
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		if c != n.FirstChild() {
			d.write("\n", slack.RichTextSectionTextStyle{})
		}
		d.block(c, depth)
	}
}

func mark(l *ast.List, number int) string {
	if l.IsOrdered() {
		return strconv.Itoa(number) + ". "
	}
	return "• "
}

// list is a list of rich text. The client library's always has an offset, which bullets have none of.
// https://docs.slack.dev/reference/block-kit/block-elements/rich-text-list-element
type list struct {
	Type     slack.RichTextElementType     `json:"type"`
	Elements []*slack.RichTextSection      `json:"elements"`
	Style    slack.RichTextListElementType `json:"style"`
	Indent   int                           `json:"indent"`
	Offset   int                           `json:"offset,omitempty"`
}

// RichTextElementType is what the client library asks of an element.
func (l *list) RichTextElementType() slack.RichTextElementType { return l.Type }

// list draws a list, and what is nested in it as lists of their own.
func (d *drawing) list(l *ast.List, depth int) {
	var (
		style = slack.RTEListBullet
		open  *list
		at    = 0 // the item's number, from 0
	)
	if l.IsOrdered() {
		style, at = slack.RTEListOrdered, min(max(l.Start-1, 0), 1_000_000)
	}
	end := func() {
		e := d.elements()
		if len(e) == 0 {
			return
		}
		if open == nil {
			open = &list{Type: slack.RTEList, Style: style, Indent: depth, Offset: at}
			d.done = append(d.done, open)
		}
		open.Elements = append(open.Elements, slack.NewRichTextSection(e...))
	}
	for item := l.FirstChild(); item != nil; item = item.NextSibling() {
		drawn := len(d.done)
		for c := item.FirstChild(); c != nil; c = c.NextSibling() {
			if nested, ok := c.(*ast.List); ok && depth < deepest {
				end()
				open = nil
				d.list(nested, depth+1)
				continue
			}
			if len(d.line) > 0 {
				d.write("\n", slack.RichTextSectionTextStyle{})
			}
			d.block(c, depth)
		}
		if empty := len(d.line) == 0 && len(d.done) == drawn; empty {
			open = nil // What follows keeps its number.
		}
		end()
		at++
	}
}

// inlines draws what is within a block.
func (d *drawing) inlines(n ast.Node, style slack.RichTextSectionTextStyle) {
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		switch c := c.(type) {
		case *ast.Text:
			s := string(c.Value(d.source))
			if !c.IsRaw() {
				s = unescape(s)
			}
			d.write(s, style)
			if c.SoftLineBreak() || c.HardLineBreak() {
				d.write("\n", style)
			}
		case *ast.String:
			d.write(string(c.Value), style)
		case *ast.CodeSpan:
			in := style
			in.Code = true
			d.write(strings.ReplaceAll(d.words(c), "\n", " "), in)
		case *ast.Emphasis:
			in := style
			if c.Level == 1 {
				in.Italic = true
			} else {
				in.Bold = true
			}
			d.inlines(c, in)
		case *extended.Strikethrough:
			in := style
			in.Strike = true
			d.inlines(c, in)
		case *ast.Link:
			d.link(unescape(string(c.Destination)), d.words(c), style)
		case *ast.Image:
			d.link(unescape(string(c.Destination)), d.words(c), style)
		case *ast.AutoLink:
			if label := string(c.Label(d.source)); c.AutoLinkType == ast.AutoLinkURL {
				d.link(string(c.URL(d.source)), label, style)
			} else {
				d.write(label, style)
			}
		case *ast.RawHTML:
			for i := range c.Segments.Len() {
				s := c.Segments.At(i)
				d.write(string(s.Value(d.source)), style)
			}
		default:
			d.inlines(c, style)
		}
	}
}

// words is what n says, without its styles.
func (d *drawing) words(n ast.Node) string {
	in := drawing{markdown: d.markdown}
	in.inlines(n, slack.RichTextSectionTextStyle{})
	var b strings.Builder
	for _, p := range in.line {
		b.WriteString(p.text)
	}
	return b.String()
}

// lines are the lines of a block as they are.
func (d *drawing) lines(n ast.Node) string {
	var b strings.Builder
	lines := n.Lines()
	for i := range lines.Len() {
		s := lines.At(i)
		b.Write(s.Value(d.source))
	}
	return b.String()
}

// write adds text to the line.
func (d *drawing) write(s string, style slack.RichTextSectionTextStyle) {
	if s == "" {
		return
	}
	if last := len(d.line) - 1; last >= 0 && d.line[last].url == "" && d.line[last].style == style {
		d.line[last].text += s
		return
	}
	d.line = append(d.line, piece{text: s, style: style})
}

// link adds a link to the line, or text where it leads to no page.
func (d *drawing) link(to, words string, style slack.RichTextSectionTextStyle) {
	words = spoken(Clean(words, TextLimit))
	url, host, ok := safeURL(to)
	switch {
	case ok && words == "":
		d.line = append(d.line, piece{text: host, url: url, style: style})
	case ok:
		d.line = append(d.line, piece{text: linkText(words, to, host), url: url, style: style})
	case words == "" || words == to:
		d.write(to, style)
	default:
		d.write(words+" ("+to+")", style)
	}
}

// flush ends the section that is being drawn.
func (d *drawing) flush() {
	if e := d.elements(); len(e) > 0 {
		d.done = append(d.done, slack.NewRichTextSection(e...))
	}
}

// elements ends the line.
func (d *drawing) elements() []slack.RichTextSectionElement {
	var all []slack.RichTextSectionElement
	line := d.line
	d.line = nil
	for len(line) > 0 && strings.TrimSpace(line[len(line)-1].text) == "" {
		line = line[:len(line)-1]
	}
	for i, p := range line {
		style := &line[i].style
		if *style == (slack.RichTextSectionTextStyle{}) {
			style = nil
		}
		if !p.style.Code {
			p.text = spaces.ReplaceAllString(visibleLines(p.text), " ")
		}
		if len(all) == 0 {
			p.text = strings.TrimLeft(p.text, " \n")
		}
		if i == len(line)-1 {
			p.text = strings.TrimRight(p.text, " \n")
		}
		text := d.take(p.text)
		switch {
		case text == "":
		case p.url != "" && text == p.text: // A link that is cut does not say where it leads.
			all = append(all, slack.NewRichTextSectionLinkElement(p.url, text, style))
		case p.style.Code:
			all = append(all, slack.NewRichTextSectionTextElement(text, style))
		default:
			all = append(all, spans(text, style)...)
		}
	}
	return all
}

// take takes text from what may still be shown.
func (d *drawing) take(s string) string {
	if d.left <= 0 {
		return ""
	}
	s = cut(s, d.left)
	d.left -= len([]rune(s))
	return s
}

var spaces = regexp.MustCompile(` {2,}`)

// visibleLines is [visible] for text of several lines.
func visibleLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = visible(l)
	}
	return strings.Join(lines, "\n")
}

// escapes are the backslashes and entities that stand for a character.
var escapes = regexp.MustCompile("\\\\[!-/:-@\\[-`{-~]|&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")

func unescape(s string) string {
	return escapes.ReplaceAllStringFunc(s, func(e string) string {
		if e[0] == '\\' {
			return e[1:]
		}
		return html.UnescapeString(e)
	})
}

// page matches the beginning of a URL that leads where it seems to lead: to a host in ASCII, without a user's name.
var page = regexp.MustCompile(`^https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(?:[/?#]|$)`)

// safeURL returns a URL as Slack may have it, and the host that it leads to. ok is false for one that leads to no page,
// or not where it seems to.
func safeURL(s string) (link, host string, ok bool) {
	if len(s) > 4*workflows.MaxURL {
		return "", "", false
	}
	u, err := url.Parse(s)
	if err != nil || u.User != nil {
		return "", "", false
	}
	s = u.Scheme + s[len(u.Scheme):] // in lower case
	if !page.MatchString(s) || strings.Contains(s, "\\") {
		return "", "", false
	}
	var b strings.Builder
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`<>|"`+"`", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	if link = b.String(); length(link) > workflows.MaxURL {
		return "", "", false
	}
	return link, u.Host, true
}

// linkText is what a link shows: where it leads to is part of it, unless the text is the URL.
func linkText(text, to, host string) string {
	_, rest, _ := strings.Cut(to, "://")
	if text == to || text == rest || text == host {
		return text
	}
	return text + " (" + host + ")"
}
