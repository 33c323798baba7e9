package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/joho/godotenv"

	"countersign/internal/config"
	"countersign/internal/reference"
	"countersign/internal/slacksim"
)

// walk is a walk through the set-up, in a folder of its own.
type walk struct {
	*testing.T
	dir     string
	environ []string
	doctor  error // what the doctor says
	seen    [][]string
}

// newWalk begins one with a stand-in for Slack.
func newWalk(t *testing.T) *walk {
	t.Helper()
	sim := slacksim.New(slacksim.Options{})
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	t.Cleanup(sim.Close)
	return &walk{T: t, dir: t.TempDir(), environ: []string{"SLACK_API_URL=" + srv.URL + "/api"}}
}

func (w *walk) file() string { return filepath.Join(w.dir, ".env") }

// do walks, with these lines for answers, and returns what was said.
func (w *walk) do(args []string, lines ...string) (said string, err error) {
	w.Helper()
	var out bytes.Buffer
	in := strings.NewReader(strings.Join(lines, ""))
	err = w.with(w.Context(), args, in, &out)
	for _, secret := range []string{slacksim.DefaultBotToken, slacksim.DefaultAppToken, slacksim.DefaultSigningSecret, "xoxp-mine", "api-key-1"} {
		if strings.Contains(out.String()+fmt.Sprint(err), secret) {
			w.Errorf("a secret is said: %s", &out)
		}
	}
	if _, err := os.Stat(w.file()); err == nil {
		if keys := w.written()["REFERENCE_KEYS"]; keys != "" && strings.Contains(out.String(), keys) {
			w.Errorf("the key is said: %s", &out)
		}
	}
	return out.String(), err
}

func (w *walk) with(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	cmd := setupCommand(w.environ, in, out, func(_ context.Context, environ []string) error {
		w.seen = append(w.seen, environ)
		return w.doctor
	})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append([]string{"--file", w.file()}, args...))
	return cmd.ExecuteContext(ctx)
}

// has writes the file that is there before.
func (w *walk) has(text string) {
	w.Helper()
	if err := os.WriteFile(w.file(), []byte(text), 0o644); err != nil {
		w.Fatal(err)
	}
}

// written are the variables of the file.
func (w *walk) written() map[string]string {
	w.Helper()
	vars, err := godotenv.Read(w.file())
	if err != nil {
		w.Fatal(err)
	}
	return vars
}

// files are the names of the files in the folder.
func (w *walk) files() (all []string) {
	w.Helper()
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		w.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func (w *walk) mode(name string) os.FileMode {
	w.Helper()
	info, err := os.Stat(filepath.Join(w.dir, name))
	if err != nil {
		w.Fatal(err)
	}
	return info.Mode()
}

const (
	appToken  = slacksim.DefaultAppToken + "\n"
	botToken  = slacksim.DefaultBotToken + "\n"
	signedBy  = slacksim.DefaultSigningSecret + "\n"
	approvers = "U0BOB00001, S0SRE00001\n"
	enter     = "\n"
)

func TestSetup(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	said, err := w.do(nil, appToken, botToken, approvers, "temporal:7233\n", "approvals\n")
	if err != nil {
		t.Fatal(err, said)
	}
	for _, want := range []string{
		manifestLink(""), "Slack takes it for Socket Mode.\n", "Slack takes it as @countersign in the workspace Stand-in.\n",
		"App-Level Tokens", "Install App", "/invite @countersign", "countersign run", "/greet World",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
	if files := w.files(); !slices.Equal(files, []string{".env"}) || w.mode(".env") != 0o600 {
		t.Errorf("there are %q, .env with the mode %v", files, w.mode(".env"))
	}
	cfg, err := config.Load(config.Run, nil, w.file())
	if err != nil {
		t.Fatal(err)
	}
	if cfg.SlackAppToken != slacksim.DefaultAppToken || cfg.SlackBotToken != slacksim.DefaultBotToken || len(cfg.ReferenceKeys.IDs()) != 1 ||
		cfg.Approvers.String() != "U0BOB00001,S0SRE00001" || cfg.Temporal.HostPort != "temporal:7233" || cfg.Temporal.Namespace != "approvals" {
		t.Errorf("configured is %v", cfg)
	}
	// The doctor sees the file's values, which is not where every command reads them.
	if len(w.seen) != 1 || !slices.Contains(w.seen[0], "TEMPORAL_NAMESPACE=approvals") {
		t.Errorf("the doctor was called %d times", len(w.seen))
	}
}

func TestSetupForHTTP(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	w.has("SLACK_APP_TOKEN=xapp-before\n")
	said, err := w.do([]string{"--http", exampleHost, "--force"}, signedBy, ":4000\n", botToken, enter, enter, enter)
	if err != nil {
		t.Fatal(err, said)
	}
	for _, want := range []string{manifestLink(exampleHost + "/slack/events"), "countersign manifest --http " + exampleHost + "`", "Signing Secret", "Event Subscriptions"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
	cfg, err := config.Load(config.Run, nil, w.file())
	if err != nil {
		t.Fatal(err)
	}
	if cfg.SlackAppToken != "" || cfg.SlackSigningSecret != slacksim.DefaultSigningSecret || cfg.ListenAddress != ":4000" || !cfg.Approvers.Empty() {
		t.Errorf("configured is %v", cfg)
	}
}

// Each wrong answer is told why, and the question comes again.
func TestSetupAsksAgain(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	said, err := w.do(nil,
		enter, "abc\n", "xapp-another\n", botToken, appToken,
		"xoxp-mine\n", "xoxb-an\x1b[Dother\n", "xoxb-another\n", botToken,
		"bob\n", botToken, "U0BOB00001\n",
		"http://temporal\n", "temporal\n", "temporal:7233\n",
		"default")
	if err != nil {
		t.Fatal(err, said)
	}
	for _, want := range []string{
		"It cannot be left empty.", "does not start with xapp-", "Slack refuses it (invalid_auth): make an app-level token",
		"holds a bot token (xoxb-)", "a person's token (xoxp-)", "characters that cannot be seen", "Slack refuses it (invalid_auth): copy the Bot User OAuth Token",
		`has "bob": list user IDs`, "has a Slack token: list user IDs", "write host:port, without http://",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
	if got := w.written()["SLACK_BOT_TOKEN"]; got != slacksim.DefaultBotToken {
		t.Errorf("the bot token is %q", got)
	}
}

// Where the answers end too soon, nothing is written.
func TestSetupEndsInTheMiddle(t *testing.T) {
	t.Parallel()
	all := []string{appToken, botToken, enter, enter, enter}
	for n := range all {
		t.Run(fmt.Sprint(n, " answers"), func(t *testing.T) {
			t.Parallel()
			w := newWalk(t)
			_, err := w.do(nil, all[:n]...)
			if err == nil || exitCode(err) != 2 || strings.Contains(err.Error(), "EOF") {
				t.Errorf("it ends with %v, want a sentence and exit code 2", err)
			}
			if files := w.files(); len(files) > 0 || len(w.seen) > 0 {
				t.Errorf("there are %q, and the doctor was called %d times", files, len(w.seen))
			}
		})
	}
}

// said is closed once a text was written.
type said struct {
	mu   sync.Mutex
	all  bytes.Buffer
	what string
	done chan struct{}
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := strings.Contains(s.all.String(), s.what)
	s.all.Write(b)
	if !before && strings.Contains(s.all.String(), s.what) {
		close(s.done)
	}
	return len(b), nil
}

func TestSetupInterrupted(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	in, keys := io.Pipe()
	defer keys.Close()
	go func() { _, _ = io.WriteString(keys, appToken+botToken) }()
	out := &said{what: "Approvers: ", done: make(chan struct{})}
	go func() {
		<-out.done
		stop()
	}()
	err := w.with(ctx, nil, in, out)
	if err == nil || exitCode(err) != 130 {
		t.Errorf("it ends with %v, want exit code 130", err)
	}
	if files := w.files(); len(files) > 0 {
		t.Errorf("there are %q", files)
	}
}

func TestSetupWhereSlackIsAway(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	away := httptest.NewServer(nil)
	away.Close()
	w.environ = []string{"SLACK_API_URL=" + away.URL}
	said, err := w.do(nil, "xapp-1\n", "xoxb-1\n", enter, enter, enter)
	if err != nil || strings.Count(said, "It is kept, and could not be checked") != 2 {
		t.Errorf("it ends with %v, and says\n%s", err, said)
	}
	if got := w.written(); got["SLACK_BOT_TOKEN"] != "xoxb-1" || got["SLACK_APP_TOKEN"] != "xapp-1" {
		t.Error("the tokens are not kept")
	}
}

func TestSetupWithTemporalCloud(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	if said, err := w.do(nil, appToken, botToken, enter, "deploys.a1b2c.tmprl.cloud:7233\n", enter, "api-key-1\n"); err != nil {
		t.Fatal(err, said)
	}
	if got := w.written(); got["TEMPORAL_NAMESPACE"] != "deploys.a1b2c" || got["TEMPORAL_API_KEY"] != "api-key-1" {
		t.Errorf("the namespace is %q, and the key %q", got["TEMPORAL_NAMESPACE"], got["TEMPORAL_API_KEY"])
	}
}

// What is there is not touched without --force; with it nothing of it is lost.
func TestSetupWhereAFileIs(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	key, payloadKeys := reference.NewKey()+","+reference.NewKey(), reference.NewKey()
	before := "SLACK_BOT_TOKEN=xoxb-old\nSLACK_APP_TOKEN=" + slacksim.DefaultAppToken + "\n" +
		"REFERENCE_KEYS=" + key + "\nPAYLOAD_KEYS=" + payloadKeys + "\nTASK_QUEUE=ours # mine\nAPPROVERS=U0BOB00001\n" +
		"TEMPORAL_ADDRESS=temporal:7233\nTEMPORAL_TLS_SERVER_NAME='a $b'\n"
	w.has(before)
	said, err := w.do(nil)
	if err == nil || exitCode(err) != 2 || !strings.Contains(err.Error(), "--force") || said != "" {
		t.Errorf("it ends with %v, and says %q; want exit code 2, and no question", err, said)
	}
	if got, _ := os.ReadFile(w.file()); string(got) != before || !slices.Equal(w.files(), []string{".env"}) {
		t.Errorf("there are %q, and .env is\n%s", w.files(), got)
	}

	for n, backup := range []string{".env.bak", ".env.bak2"} {
		want := w.written()
		want["SLACK_BOT_TOKEN"], want["TEMPORAL_NAMESPACE"] = slacksim.DefaultBotToken, "default"
		want["SLACK_API_URL"], _ = strings.CutPrefix(w.environ[0], "SLACK_API_URL=")
		was, err := os.ReadFile(w.file())
		if err != nil {
			t.Fatal(err)
		}
		said, err := w.do([]string{"--force"}, enter, botToken, enter, enter, enter)
		if err != nil {
			t.Fatal(err, said)
		}
		got := w.written()
		for name, value := range got {
			if _, known := want[name]; value == "" && !known {
				delete(got, name) // of the example
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the %d. time .env has (-want +got):\n%s", n+1, diff)
		}
		kept, err := os.ReadFile(filepath.Join(w.dir, backup))
		if err != nil || !bytes.Equal(kept, was) || w.mode(backup) != 0o600 || w.mode(".env") != 0o600 {
			t.Errorf("the file before is not kept as %s: %v", backup, err)
		}
		for _, secret := range []string{key, payloadKeys} {
			if strings.Contains(said, secret) {
				t.Errorf("a key is said: %s", said)
			}
		}
	}
}

// What is wrong and not asked for is for the operator to mend, before anybody answers anything.
func TestSetupCannotBegin(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		file    string
		environ string
		says    string
	}{
		"a line that is none":          {"REFERENCE_KEYS=" + reference.NewKey() + "\nsecret words", "", "line 2"},
		"a key that is none":           {"REFERENCE_KEYS=c2VjcmV0", "", "REFERENCE_KEYS is malformed"},
		"a variable that is not asked": {"LOG_FORMAT=xml", "", "LOG_FORMAT"},
		"a variable of the environment": {
			"", "DEADLINE=soon", "DEADLINE",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWalk(t)
			w.has(tc.file)
			w.environ = append(w.environ, tc.environ)
			said, err := w.do([]string{"--force"}, appToken, botToken, enter, enter, enter)
			if err == nil || exitCode(err) != 2 || !strings.Contains(err.Error(), tc.says) || said != "" || strings.Contains(err.Error(), "c2VjcmV0") {
				t.Errorf("it ends with %v, and says %q", err, said)
			}
			if got, _ := os.ReadFile(w.file()); string(got) != tc.file || len(w.files()) != 1 {
				t.Errorf("the file is %q, among %q", got, w.files())
			}
		})
	}
	t.Run("no folder", func(t *testing.T) {
		t.Parallel()
		w := newWalk(t)
		w.dir = filepath.Join(w.dir, "none")
		if said, err := w.do(nil, appToken, botToken, enter, enter, enter); err == nil || exitCode(err) != 2 || said != "" {
			t.Errorf("it ends with %v, and says %q", err, said)
		}
	})
}

// The environment wins over the file, so what it has is offered, and what is another is told.
func TestSetupWithAnEnvironment(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	key := reference.NewKey()
	w.environ = append(w.environ, "SLACK_BOT_TOKEN=xoxb-other", "TEMPORAL_ADDRESS=elsewhere:7233", "TEMPORAL_NAMESPACE=ours", "APPROVERS=", "REFERENCE_KEYS="+key)
	said, err := w.do(nil, appToken, botToken, approvers, enter, "theirs\n")
	if err != nil {
		t.Fatal(err, said)
	}
	for name, told := range map[string]bool{
		"SLACK_BOT_TOKEN": true, "SLACK_APP_TOKEN": false, "APPROVERS": true, "TEMPORAL_ADDRESS": false, "TEMPORAL_NAMESPACE": true, "REFERENCE_KEYS": false,
	} {
		if strings.Contains(said, "Unset "+name+":") != told {
			t.Errorf("to unset %s is said: %v\n%s", name, !told, said)
		}
	}
	if got := w.written(); got["TEMPORAL_ADDRESS"] != "elsewhere:7233" || got["REFERENCE_KEYS"] != key {
		t.Errorf("the address is %q", got["TEMPORAL_ADDRESS"])
	}
}

// The cards that are open need the key that the file has, whatever the environment has.
func TestSetupKeepsTheFilesKey(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	key := reference.NewKey()
	w.has("REFERENCE_KEYS=" + key + "\n")
	w.environ = append(w.environ, "REFERENCE_KEYS="+reference.NewKey())
	said, err := w.do([]string{"--force"}, appToken, botToken, approvers, "temporal:7233\n", enter)
	if err != nil || w.written()["REFERENCE_KEYS"] != key || !strings.Contains(said, "Unset REFERENCE_KEYS:") {
		t.Errorf("it ends with %v, and has the key %q, want %q:\n%s", err, w.written()["REFERENCE_KEYS"], key, said)
	}
}

// An API key turns TLS on, which a server without it does not speak: it can be taken away, and so can what else is not needed.
func TestSetupTakesAway(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	w.has("TEMPORAL_API_KEY=api-key-1\nAPPROVERS=U0BOB00001\n")
	said, err := w.do([]string{"--force"}, appToken, botToken, "-\n", "127.0.0.1:7233\n", enter, "-\n")
	if got := w.written(); err != nil || got["TEMPORAL_API_KEY"] != "" || got["APPROVERS"] != "" {
		t.Errorf("it ends with %v, with the approvers %q and an API key: %v\n%s", err, got["APPROVERS"], got["TEMPORAL_API_KEY"] != "", said)
	}
}

// A link to the file stays one.
func TestSetupThroughALink(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	real := filepath.Join(t.TempDir(), "real")
	if err := os.WriteFile(real, []byte("TASK_QUEUE=ours\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, w.file()); err != nil {
		t.Skip(err)
	}
	if said, err := w.do([]string{"--force"}, appToken, botToken, approvers, "temporal:7233\n", enter); err != nil {
		t.Fatal(err, said)
	}
	if text, err := os.ReadFile(real); err != nil || !strings.Contains(string(text), "TASK_QUEUE=ours") || !strings.Contains(string(text), "REFERENCE_KEYS=") {
		t.Errorf("the file behind the link is %q (%v)", text, err)
	}
	if info, err := os.Lstat(w.file()); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is %v (%v)", info, err)
	}
}

func TestSetupEndsAsTheDoctorDoes(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	w.doctor = setupError{errors.New("2 of 9 checks failed")}
	said, err := w.do(nil, appToken, botToken, enter, enter, enter)
	if !errors.Is(err, w.doctor) || !strings.Contains(said, "`countersign doctor`") {
		t.Errorf("it ends with %v, and says\n%s", err, said)
	}
	w.written()
}

// What is written is read as it was typed, or it is said that it cannot be.
func TestAssign(t *testing.T) {
	t.Parallel()
	values := []string{
		"plain", "with space", "#first", "a #comment", "a#none", `"quoted"`, `'quoted'`, `it's`, `say "it"`, `$HOME`, `${HOME}`, `a$1`, `$(ls)`, `\$HOME`,
		`back\slash`, `ends\`, `a=b`, `a: b`, "export x", "tab\there", "two\nlines", "-----BEGIN X-----\nMII=\n-----END X-----", "a\r\nb", "{}", "ü…", "0", "!", "`ls`",
		`it's "$HOME"`, `it's $HOME # and`,
	}
	letters := []rune(`ab$'"\# {}()=` + "\n")
	random := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		v := make([]rune, 1+random.IntN(8))
		for i := range v {
			v[i] = letters[random.IntN(len(letters))]
		}
		values = append(values, string(v))
	}
	file := filepath.Join(t.TempDir(), ".env")
	refused := 0
	for i, v := range values {
		text, err := fill(example, map[string]string{"SLACK_SIGNING_SECRET": v, "APPROVERS": "U1", "OTEL_Z": v})
		if err != nil {
			if refused++; i < 28 {
				t.Errorf("%q: %v", v, err)
			}
			continue
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Read(config.Run, nil, file)
		if err == nil {
			t.Fatal("a configuration without tokens and keys has no faults")
		}
		// Around a value spaces do not count.
		if v = strings.TrimSpace(v); cfg.SlackSigningSecret != v || cfg.OpenTelemetry["OTEL_Z"] != v || cfg.Approvers.String() != "U1" {
			t.Errorf("%q is read as %q and %q, and the approvers after it as %s", v, cfg.SlackSigningSecret, cfg.OpenTelemetry["OTEL_Z"], cfg.Approvers)
		}
	}
	if refused > len(values)/3 {
		t.Errorf("%d of %d values cannot be written", refused, len(values))
	}
}

// Nothing but the first line is lost of the example, and all that is asked for is in it.
func TestFill(t *testing.T) {
	t.Parallel()
	got, err := fill(example, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(example, "\n")
	if _, after, _ := strings.Cut(got, "\n"); after != rest {
		t.Errorf("the example is changed (-want +got):\n%s", cmp.Diff(rest, after))
	}
	values := map[string]string{}
	for _, name := range append(questions(), "REFERENCE_KEYS", "SLACK_API_URL") {
		values[name] = "value-of-" + name
	}
	filled, err := fill(example, values)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(filled, "What the file before had") {
		t.Errorf("the example lacks a variable:\n%s", filled)
	}
	vars, err := godotenv.Unmarshal(filled)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(values, vars); diff != "" {
		t.Errorf("the file has (-want +got):\n%s", diff)
	}
}
