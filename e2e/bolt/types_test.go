package bolt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// matchesTypes holds what Bolt has received, and what the Web API has answered, against the types that Bolt declares.
func (w *workspace) matchesTypes(told []line) {
	w.Helper()
	declared, err := os.ReadFile("declared.ts")
	w.must(err)
	code := &strings.Builder{}
	code.WriteString("import { check } from './declared.js';\n")
	seen := map[string]bool{}
	for _, l := range told {
		seen[l.Type] = true
		fmt.Fprintf(code, "check('%s')(%s);\n", l.Type, indent(w.T, l.Value))
	}
	for _, kind := range []string{
		"SlashCommand", "MessageClick", "ViewClick", "Submission", "Closing", "AppHomeOpened",
		"AuthTestResponse", "ChatPostMessageResponse", "ChatUpdateResponse", "UsersInfoResponse",
		"ViewsOpenResponse", "ViewsPublishResponse",
	} {
		if !seen[kind] {
			w.Errorf("the app has told of no %s", kind)
		}
	}
	typeCheck(w.T, map[string]string{"declared.ts": string(declared), "told.ts": code.String()})
}

// Every message and modal that the program draws, as the goldens of package card have it.
func TestBlocksAreWhatSlackDeclares(t *testing.T) {
	t.Parallel()
	goldens, err := filepath.Glob(filepath.Join("..", "..", "internal", "card", "testdata", "*.json"))
	if err != nil || len(goldens) == 0 {
		t.Fatalf("there are no goldens: %v", err)
	}
	const imports = "import type { HomeView, KnownBlock, ModalView } from '@slack/types';\n"
	code := map[string]string{
		// The check is one only if it finds what is wrong.
		"wrong.ts": imports + `
// @ts-expect-error
export const style: KnownBlock[] = [{ type: 'actions', elements: [{ type: 'button', action_id: 'a', style: 'loud', text: { type: 'plain_text', text: 'A' } }] }];
// @ts-expect-error
export const field: KnownBlock[] = [{ type: 'context', elements: [{ type: 'mrkdwn', text: 'A', colour: 'red' }] }];
// @ts-expect-error
export const missing: KnownBlock[] = [{ type: 'header' }];
`,
	}
	for _, golden := range goldens {
		b, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if b[0] == '[' { // texts alone
			continue
		}
		var view struct{ Type string }
		if err := json.Unmarshal(b, &view); err != nil {
			t.Fatalf("%s: %v", golden, err)
		}
		kind := "{ text: string; blocks: KnownBlock[] }"
		switch view.Type {
		case "modal":
			kind = "ModalView"
		case "home":
			kind = "HomeView"
		}
		name := strings.TrimSuffix(filepath.Base(golden), ".json") + ".ts"
		code[name] = fmt.Sprintf("%sexport const golden: %s = %s;\n", imports, kind, b)
	}
	typeCheck(t, code)
}

// The app follows Bolt's types, so that what it shows of the stand-in is no accident.
func TestAppIsWrittenAsBoltDeclares(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("app.mjs")
	if err != nil {
		t.Fatal(err)
	}
	typeCheck(t, map[string]string{"app.mjs": string(b)})
}

// colour is what the compiler paints its findings with.
var colour = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// typeCheck checks files, code by name, with TypeScript's compiler.
func typeCheck(t *testing.T, code map[string]string) {
	t.Helper()
	node := packages(t)
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	modules := filepath.Join(here, "node_modules")
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(node, filepath.Join(modules, "typescript", "bin", "tsc"), "--ignoreConfig", "--noEmit", "--strict",
		"--skipLibCheck", "--allowJs", "--checkJs", "--module", "nodenext", "--target", "es2023", "--types", "node",
		"--pretty")
	cmd.Dir = dir
	for _, name := range slices.Sorted(maps.Keys(code)) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(code[name]), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd.Args = append(cmd.Args, name)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("tsc: %v\n%s", err, colour.ReplaceAll(out, nil))
	}
}

func indent(t *testing.T, value json.RawMessage) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, value, "", "  "); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
