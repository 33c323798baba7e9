package card

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"
)

// sketch writes rich text in a way that is short to compare.
func sketch(elements []slack.RichTextElement) string {
	var lines []string
	for _, e := range elements {
		switch e := e.(type) {
		case *slack.RichTextSection:
			lines = append(lines, "section "+sketchLine(e.Elements))
		case *slack.RichTextQuote:
			lines = append(lines, "quote "+sketchLine(e.Elements))
		case *slack.RichTextPreformatted:
			lines = append(lines, "code "+sketchLine(e.Elements))
		case *list:
			for i, item := range e.Elements {
				mark := "•"
				if e.Style == slack.RTEListOrdered {
					mark = string(rune('1'+e.Offset+i)) + "."
				}
				lines = append(lines, strings.Repeat("  ", e.Indent)+mark+" "+sketchLine(item.Elements))
			}
		}
	}
	return strings.Join(lines, "\n")
}

func sketchLine(elements []slack.RichTextSectionElement) string {
	var b strings.Builder
	styled := func(s string, style *slack.RichTextSectionTextStyle) {
		if style == nil {
			style = &slack.RichTextSectionTextStyle{}
		}
		for _, m := range []struct {
			is   bool
			mark string
		}{{style.Code, "`"}, {style.Strike, "~"}, {style.Italic, "_"}, {style.Bold, "*"}} {
			if m.is {
				s = m.mark + s + m.mark
			}
		}
		b.WriteString("{" + strings.ReplaceAll(s, "\n", "↵") + "}")
	}
	for _, e := range elements {
		switch e := e.(type) {
		case *slack.RichTextSectionTextElement:
			styled(e.Text, e.Style)
		case *slack.RichTextSectionUserElement:
			styled("@"+e.UserID, e.Style)
		case *slack.RichTextSectionLinkElement:
			styled(e.Text+"→"+e.URL, e.Style)
		default:
			b.WriteString("{?}")
		}
	}
	return b.String()
}

func TestMarkdown(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ in, want string }{
		"nothing":                  {"", ""},
		"nothing to see":           {"\u200b\n\u3164 \n", ""},
		"text":                     {"a b", "section {a b}"},
		"lines":                    {"a\nb", "section {a↵b}"},
		"windows lines":            {"a\r\nb\r\n", "section {a↵b}"},
		"hard break":               {"a  \nb\\\nc", "section {a↵b↵c}"},
		"paragraphs":               {"a\n\nb\n\n\n\nc", "section {a↵↵b↵↵c}"},
		"emphasis":                 {"a *b* _c_ **d** __e__ ~~f~~ `g`", "section {a }{_b_}{ }{_c_}{ }{*d*}{ }{*e*}{ }{~f~}{ }{`g`}"},
		"emphasis in emphasis":     {"**a _b_**", "section {*a *}{*_b_*}"},
		"marks that mark nothing":  {"2*3*4 a_b_c * ~ `", "section {2}{_3_}{4 a_b_c * ~ `}"},
		"escaped marks":            {`\*a\* \<@U1> \[x](y) a\b`, "section {*a* }{@U1}{ [x](y) a\\b}"},
		"entities":                 {"&amp; &lt;b&gt; &copy; &#65; &bogus; &am", "section {& <b> © A &bogus; &am}"},
		"an entity once":           {"&amp;lt; \\&lt;", "section {&lt; &lt;}"},
		"entities not to see":      {"a&#x202e;b&zwnj;c&#0;d&nbsp;&emsp;e", "section {abcd e}"},
		"code":                     {"`a  *b* &lt; <@U1>`", "section {`a  *b* &lt; <@U1>`}"},
		"fenced code":              {"a\n```go\nif x {\n\treturn\n}\n\n<@U1>\n```\nb", "section {a}\ncode {if x {↵    return↵}↵↵<@U1>}\nsection {b}"},
		"code that never ends":     {"```\na", "code {a}"},
		"indented code":            {"    a\n      b", "code {a↵  b}"},
		"bullets":                  {"- a\n- b\n* c\n", "• {a}\n• {b}\n• {c}"},
		"numbers":                  {"3. a\n4. b", "3. {a}\n4. {b}"},
		"nested lists":             {"- a\n  1. b\n     - c\n  2. d\n- e", "• {a}\n  1. {b}\n    • {c}\n  2. {d}\n• {e}"},
		"numbers go on":            {"1. a\n   - x\n2. b\n3. c", "1. {a}\n  • {x}\n2. {b}\n3. {c}"},
		"an empty item":            {"1. a\n2.\n3. c", "1. {a}\n3. {c}"},
		"paragraphs of an item":    {"- a\n\n  b\n\n  > c\n\n      d", "• {a↵b↵c↵}{`d`}"},
		"text around a list":       {"a\n- b\n\nc", "section {a}\n• {b}\nsection {c}"},
		"quote":                    {"> a\n> **b**\n\nc", "quote {a↵}{*b*}\nsection {c}"},
		"a list in a quote":        {"> a\n> - b\n> 2. c", "quote {a↵• b↵2. c}"},
		"quotes in quotes":         {"> a\n> > b", "quote {a↵b}"},
		"heading":                  {"# A `b`\nc\n\nD\n===\ne", "section {*A *}{*`b`*}{↵c↵↵}{*D*}{↵e}"},
		"rule":                     {"a\n\n---\n\nb", "section {a↵↵———↵↵b}"},
		"link":                     {"see [the docs](https://example.com/a?b=c#d \"title\")!", "section {see }{the docs (example.com)→https://example.com/a?b=c#d}{!}"},
		"link by reference":        {"[a][1]\n\n[1]: http://example.com:8080/", "section {a (example.com:8080)→http://example.com:8080/}{↵↵[1]: http://example.com:8080/}"},
		"link with styles":         {"**[a *b*](https://example.com)**", "section {*a b (example.com)→https://example.com*}"},
		"link that says its URL":   {"[https://example.com](https://example.com) [example.com](https://example.com/a)", "section {https://example.com→https://example.com}{ }{example.com→https://example.com/a}"},
		"link that lies":           {"[https://bank.example](https://evil.example/bank.example)", "section {https://bank.example (evil.example)→https://evil.example/bank.example}"},
		"link of entities":         {"[a](https://example.com/?a&amp;b&lt;c)", "section {a (example.com)→https://example.com/?a&b%3Cc}"},
		"link without words":       {"[](https://example.com/a)", "section {example.com→https://example.com/a}"},
		"link of a person":         {"[<@U1>](https://example.com)", "section {a person (example.com)→https://example.com}"},
		"image":                    {"![a picture](https://example.com/a.png)", "section {a picture (example.com)→https://example.com/a.png}"},
		"autolink":                 {"<https://example.com/a> https://example.com/b.", "section {https://example.com/a→https://example.com/a}{ }{https://example.com/b→https://example.com/b}{.}"},
		"autolink with a label":    {"<https://evil.example|bank>", "section {https://evil.example|bank}"},
		"mail":                     {"<a@b.example> mailto:a@b.example", "section {a@b.example mailto:a@b.example}"},
		"other schemes":            {"[a](javascript:alert(1)) [b](ftp://x.example) [c](/d) [e](slack://x)", "section {a (javascript:alert(1)) b (ftp://x.example) c (/d) e (slack://x)}"},
		"user in a URL":            {"[a](https://bank.example@evil.example)", "section {a (https://bank.example@evil.example)}"},
		"host not in ASCII":        {"[a](https://bаnk.example)", "section {a (https://bаnk.example)}"},
		"backslash in a URL":       {`[a](https://good.example\\@evil.example)`, `section {a (https://good.example\@evil.example)}`},
		"path not in ASCII":        {"[a](https://example.com/ä)", "section {a (example.com)→https://example.com/%C3%A4}"},
		"upper case":               {"[a](HTTPS://Example.com)", "section {a (Example.com)→https://Example.com}"},
		"no host":                  {"[a](https:///x) [b](https://)", "section {a (https:///x) b (https://)}"},
		"HTML":                     {"a <b>c</b> <!here>", "section {a <b>c</b> <!here>}"},
		"HTML of its own":          {"<div>\n<!channel>\n</div>\n\nb", "section {<div>↵<!channel>↵</div>↵↵b}"},
		"comment":                  {"<!-- a\nb --> c", "section {<!-- a↵b --> c}"},
		"table":                    {"|a|b|\n|-|-|\n|c|d|", "section {|a|b|↵|-|-|↵|c|d|}"},
		"broadcasts":               {"<!channel> @here <!subteam^S1|x> <#C1>", "section {<!channel> @here <!subteam^S1|x> <#C1>}"},
		"person":                   {"ask <@U1>, <@U2|bob> & <@u3>", "section {ask }{@U1}{, }{@U2}{ & <@u3>}"},
		"person in bold":           {"**<@U1>**", "section {*@U1*}"},
		"person made of entities":  {"&lt;@U1&gt;", "section {@U1}"},
		"person in two styles":     {"<@U1|*a*>", "section {<@U1|}{_a_}{>}"},
		"a joiner within a person": {"<\u200b@U1>", "section {@U1}"},
		"bidi and zero width":      {"a\u202eb\u2066c\u200bd", "section {abcd}"},
		"controls":                 {"a\x00b\x1b[31mc\x7f", "section {ab[31mc}"},
		"invalid UTF-8":            {"a\xff*b*\xed", "section {a}{_b_}"},
		"deep lists become text":   {strings.Repeat("- ", 11) + "a", "                • {• • a}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, sketch(parse(tc.in).draw(TextLimit))); diff != "" {
				t.Errorf("%q (-want +got):\n%s", tc.in, diff)
			}
		})
	}
}

func TestMarkdownIsCut(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		in    string
		limit int
		want  string
	}{
		"text":        {"abcdef", 4, "section {abc…}"},
		"fits":        {"abcd", 4, "section {abcd}"},
		"styles":      {"ab **cd** ef", 4, "section {ab }{*…*}"},
		"lists":       {"- ab\n- cd\n- ef", 3, "• {ab}\n• {…}"},
		"code":        {"```\nabcdef\n```", 3, "code {ab…}"},
		"link":        {"[abcdef](https://example.com)", 5, "section {abcd…}"},
		"after a cut": {"abcdef\n\n> g\n\n- h", 3, "section {ab…}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, sketch(parse(tc.in).draw(tc.limit))); diff != "" {
				t.Errorf("%q (-want +got):\n%s", tc.in, diff)
			}
		})
	}
}

// Whatever comes in, a card is drawn. What takes for ever ends with the test's own time.
func TestMarkdownIsBounded(t *testing.T) {
	t.Parallel()
	for name, piece := range map[string]string{
		"letters": "x", "quotes": ">", "lists": "- ", "numbers": "1. ", "brackets": "[", "links": "[a](", "images": "![", "emphasis": "*a **b ",
		"backticks": "`a``", "angle brackets": "<", "HTML": "<a ", "comments": "<!--", "entities": "&amp;", "backslashes": "\\", "lines": "\n",
		"nothing to see": "\u200b", "spaces": " ", "tildes": "~a~~", "nested": "> - 1. # ", "URLs": "https://a.b/ ", "definitions": "[a]: b\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := request()
			r.Text = strings.Repeat(piece, 1<<20/len(piece))
			fits(t, Open(round(r, 1), "v1.reference"))
		})
	}
}

func FuzzMarkdown(f *testing.F) {
	for _, s := range hostile() {
		f.Add(s, 2000)
	}
	f.Add("# a\n- b\n  1. c\n\n> [d](https://e.example/f)\n```\ng\n```", 20)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = min(max(limit, 1), TextLimit)
		drawn := parse(s).draw(limit)
		if len(drawn) == 0 {
			return
		}
		m := message(func(int) []slack.Block { return []slack.Block{slack.NewRichTextBlock("", drawn...)} })
		if fits(t, m); t.Failed() {
			t.Fatalf("%q at %d", s, limit)
		}
	})
}
