package bot

import (
	"strings"
	"testing"
)

// Every command of the table tells how it is used, in the words of its own hint, and no other is known.
func TestCommands(t *testing.T) {
	t.Parallel()
	b := New(Options{})
	seen := map[string]bool{}
	for _, c := range Commands() {
		if !strings.HasPrefix(c.Name, "/") || seen[c.Name] || c.Description == "" || c.UsageHint == "" {
			t.Errorf("%+v is twice in the table, or lacks something", c)
		}
		seen[c.Name] = true
		said := answered(b.command(t.Context(), command{Command: c.Name, Text: "help"}))
		if !strings.Contains(said, "*"+c.Name) {
			t.Errorf("%s help answers %q", c.Name, said)
		}
		for words := range strings.SplitSeq(strings.Trim(c.UsageHint, "[]"), "|") {
			if word, _, _ := strings.Cut(strings.TrimSpace(words), " "); word != "help" && !strings.Contains(said, word) {
				t.Errorf("%s help does not tell of %q, which its hint has: %q", c.Name, word, said)
			}
		}
	}
	if !seen[CommandGreet] || !seen[CommandApproval] {
		t.Errorf("the table has %v", seen)
	}
	said := answered(b.command(t.Context(), command{Command: "/deploy"}))
	if !strings.Contains(said, "/deploy") {
		t.Errorf("an unknown command is answered %q", said)
	}
	for name := range seen {
		if !strings.Contains(said, name) {
			t.Errorf("to who uses an unknown command %s is not said: %q", name, said)
		}
	}
}
