package card

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"
)

func TestClean(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		in    string
		limit int
		want  string
	}{
		"plain":                    {"Hello, World!", 80, "Hello, World!"},
		"nothing":                  {"", 80, ""},
		"smart spaces":             {"a\u00a0b\u2003c\u202fd\u3000e\u2009f", 80, "a b c d e f"},
		"spaces around":            {" \t a \u00a0 ", 80, "a"},
		"lines":                    {"a\nb\r\nc\u2028d\u2029e\u0085f\vg", 80, "a b c d e f g"},
		"bidi override":            {"abc\u202egpj.exe\u2066\u2069\u200e\u061c", 80, "abcgpj.exe"},
		"zero width":               {"a\u200bb\u200cc\u200dd\ufeffe\u2060f\u00adg", 80, "abcdefg"},
		"only zero width":          {"\u200b\u200d\ufeff", 80, ""},
		"fillers":                  {"\u115f\u1160\u3164\uffa0\u2800", 80, ""},
		"variation selector":       {"❤\ufe0f 1\ufe0f\u20e3", 80, "❤\ufe0f 1\ufe0f\u20e3"},
		"lone variation selectors": {"\ufe0f\ufe0e", 80, ""},
		"selectors after a space":  {"a \ufe0f\ufe0f b", 80, "a b"},
		"selectors in a row":       {"a\ufe0f\ufe0e\ufe0f", 80, "a\ufe0f"},
		"selector after a joiner":  {"a\u200d\ufe0f", 80, "a"},
		"vowels that are not seen": {"\u17b4a\u17b5\u180b\u180e\u180f", 80, "a"},
		"controls":                 {"a\x00b\x1b[31mc\x7fd\u009fe", 80, "ab[31mcde"},
		"private use and tags":     {"a\ue000b\U000e0041c\U0010fffdd", 80, "abcd"},
		"invalid UTF-8":            {"a\xff\xfeb", 80, "ab"},
		"lone surrogates":          {"a\xed\xa0\x80b\xed\xbf\xbfc", 80, "abc"},
		"replacement character":    {"a\ufffdb", 80, "ab"},
		"combining mark":           {"e\u0301", 80, "e\u0301"},
		"markup":                   {"<!channel> @here <https://evil|x> <@U1|bob> `x`", 80, "<!channel> @here <https://evil|x> <@U1|bob> `x`"},
		"as long as it may be":     {strings.Repeat("x", 80), 80, strings.Repeat("x", 80)},
		"one too long":             {strings.Repeat("x", 81), 80, strings.Repeat("x", 79) + "…"},
		"very long":                {strings.Repeat("x", 10_000), 150, strings.Repeat("x", 149) + "…"},
		"characters, not bytes":    {strings.Repeat("漢", 80), 80, strings.Repeat("漢", 80)},
		"short after all":          {strings.Repeat(" ", 500) + "a" + strings.Repeat("\u200b", 500), 1, "a"},
		"emoji with a modifier":    {"👍🏽", 80, "👍🏽"},
		"right-to-left is allowed": {"שלום", 80, "שלום"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Clean(tc.in, tc.limit); got != tc.want {
				t.Errorf("Clean(%.60q, %d) = %.100q, want %.100q", tc.in, tc.limit, got, tc.want)
			}
		})
	}
}

func TestCleanLines(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		in    string
		limit int
		want  string
	}{
		"two lines":             {"a\nb", 80, "a\nb"},
		"windows lines":         {"a\r\nb\r\n", 80, "a\nb"},
		"empty lines":           {"\n\na\n \u00a0\n\u200b\nb\n\n", 80, "a\nb"},
		"spaces within":         {"  a \t b\u2003c  ", 80, "a b c"},
		"other line separators": {"a\u2028b\u0085c\rd", 80, "a b c d"},
		"bidi in a line":        {"a\u202e\nb\u2066", 80, "a\nb"},
		"invalid UTF-8":         {"a\xff\n\xed\xa0\x80b", 80, "a\nb"},
		"nothing to see":        {"\u200b\n\u3164", 80, ""},
		"too long":              {strings.Repeat("ab\n", 3000), 6, "ab\nab…"},
		"markup":                {"<!here>\n> quote", 80, "<!here>\n> quote"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := CleanLines(tc.in, tc.limit); got != tc.want {
				t.Errorf("CleanLines(%.60q, %d) = %.100q, want %.100q", tc.in, tc.limit, got, tc.want)
			}
		})
	}
}

func TestEscape(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ in, want string }{
		"plain":              {"Hello", "Hello"},
		"broadcast":          {"<!channel>", "&lt;!channel&gt;"},
		"broadcast by label": {"<!here|here>", "&lt;!here|here&gt;"},
		"link":               {"<https://evil|x>", "&lt;https://evil|x&gt;"},
		"person":             {"hi <@U1|bob>!", "hi <@U1>!"},
		"person of a grid":   {"<@W012>", "<@W012>"},
		"two people":         {"<@U1><@U2>", "<@U1><@U2>"},
		"lower case":         {"<@u1>", "&lt;@u1&gt;"},
		"ID that is too long": {
			"<@U" + strings.Repeat("0", 21) + ">", "&lt;@U" + strings.Repeat("0", 21) + "&gt;",
		},
		"broadcast in a label": {"<@U1|<!channel>>", "&lt;@U1|&lt;!channel&gt;&gt;"},
		"unclosed":             {"<@U1 <@U2>", "&lt;@U1 <@U2>"},
		"group":                {"<!subteam^S1>", "&lt;!subteam^S1&gt;"},
		"entities":             {"&lt;!channel&gt; &", "&amp;lt;!channel&amp;gt; &amp;"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Escape(tc.in, 1000); got != tc.want {
				t.Errorf("Escape(%q) = %q, want %q", tc.in, got, tc.want)
			}
		})
	}
}

func TestTyped(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ in, want string }{
		"plain":                       {"World", "World"},
		"person":                      {"<@U1|bob>", "<@U1>"},
		"person by ID":                {"<@U1>", "<@U1>"},
		"link with a label":           {"<http://example.com|example.com>", "example.com"},
		"link":                        {"see <https://example.com/a?b=c>", "see https://example.com/a?b=c"},
		"mail":                        {"<mailto:a@b.example|a@b.example>", "a@b.example"},
		"channel":                     {"<#C1|general>", "general"},
		"channel by ID":               {"<#C1>", "C1"},
		"group":                       {"<!subteam^S1|@sre>", "@sre"},
		"broadcast":                   {"<!channel>", "channel"},
		"entities":                    {"&lt;b&gt; &amp; c", "<b> & c"},
		"typed entity":                {"&amp;lt;", "&lt;"},
		"entity in a label":           {"<https://e.example|a &amp; b>", "a & b"},
		"brackets that close nothing": {"a < b > c", "a < b > c"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Typed(tc.in); got != tc.want {
				t.Errorf("Typed(%q) = %q, want %q", tc.in, got, tc.want)
			}
		})
	}
}

func TestSpans(t *testing.T) {
	t.Parallel()
	bold := &slack.RichTextSectionTextStyle{Bold: true}
	text := func(s string) slack.RichTextSectionElement { return slack.NewRichTextSectionTextElement(s, bold) }
	person := func(id string) slack.RichTextSectionElement { return slack.NewRichTextSectionUserElement(id, bold) }
	type elements = []slack.RichTextSectionElement
	for name, tc := range map[string]struct {
		in   string
		want elements
	}{
		"nothing":             {"", nil},
		"text":                {"a *b* `c`", elements{text("a *b* `c`")}},
		"broadcast":           {"<!channel> @here", elements{text("<!channel> @here")}},
		"link":                {"<https://evil|x>", elements{text("<https://evil|x>")}},
		"person alone":        {"<@U1>", elements{person("U1")}},
		"person with a label": {"to <@U1|<bob> & <@W2|>!", elements{text("to <@U1|<bob> & "), person("W2"), text("!")}},
		"people in a row":     {"<@U1><@U2>", elements{person("U1"), person("U2")}},
		"half a person":       {"<@U1", elements{text("<@U1")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, spans(tc.in, bold)); diff != "" {
				t.Errorf("spans(%q) (-want +got):\n%s", tc.in, diff)
			}
		})
	}
}

func FuzzClean(f *testing.F) {
	for _, s := range hostile() {
		f.Add(s, 40)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = min(max(limit, 1), 5000)
		for name, got := range map[string]string{"Clean": Clean(s, limit), "CleanLines": CleanLines(s, limit)} {
			switch {
			case !utf8.ValidString(got):
				t.Errorf("%s(%q) = %q is not UTF-8", name, s, got)
			case utf8.RuneCountInString(got) > limit:
				t.Errorf("%s(%q) has %d characters, want %d at the most", name, s, utf8.RuneCountInString(got), limit)
			case name == "Clean" && strings.Contains(got, "\n"):
				t.Errorf("Clean(%q) = %q has lines", s, got)
			}
			for _, r := range got {
				if unicode.In(r, unicode.Cf, unicode.Co) || unicode.IsControl(r) && r != '\n' || unicode.IsSpace(r) && r != ' ' && r != '\n' {
					t.Errorf("%s(%q) = %q has %U", name, s, got, r)
				}
			}
		}
		if got := Clean(Clean(s, limit), limit); got != Clean(s, limit) {
			t.Errorf("Clean(%q) changes when it is cleaned again: %q", s, got)
		}
	})
}

func TestEscapeCutsBetweenPieces(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		in    string
		limit int
		want  string
	}{
		"fits exactly":             {"a&b", 7, "a&amp;b"},
		"one too many":             {"a&b", 6, "a…"},
		"no half entity":           {"a&&&", 8, "a&amp;…"},
		"no half person":           {"ab<@U123>", 6, "ab…"},
		"a person at the end fits": {"ab<@U123>", 9, "ab<@U123>"},
		"nothing fits":             {"&&", 4, "…"},
		"characters and not bytes": {"ééé", 3, "ééé"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := Escape(tc.in, tc.limit)
			if got != tc.want {
				t.Errorf("Escape(%q, %d) = %q, want %q", tc.in, tc.limit, got, tc.want)
			}
			if n := len([]rune(got)); n > tc.limit {
				t.Errorf("%d characters, want %d at the most", n, tc.limit)
			}
		})
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range hostile() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if rest := ours.ReplaceAllString(Escape(s, len(s)*5), ""); strings.ContainsAny(rest, "<>&") {
			t.Errorf("Escape(%q) = %q leaves %q", s, Escape(s, len(s)*5), rest)
		}
		for _, typed := range []string{Typed(s), Clean(Typed(s), 80)} {
			if rest := ours.ReplaceAllString(Escape(typed, len(typed)*5), ""); strings.ContainsAny(rest, "<>&") {
				t.Errorf("Escape(Typed(%q)) leaves %q", s, rest)
			}
		}
	})
}
