package main

import (
	"bufio"
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/joho/godotenv"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"countersign/bot"
	"countersign/internal/cli"
	"countersign/internal/config"
	"countersign/internal/reference"
	"countersign/internal/slackapi"
)

// example is the .env file that setup fills in.
//
//go:embed .env.example
var example string

// dotenvFile is where every command reads variables, in its working directory.
const dotenvFile = ".env"

// setupCommand is "countersign setup". Doctor looks whether all is well with an environment, and with .env.
func setupCommand(environ []string, stdin io.Reader, stdout io.Writer, doctor func(ctx context.Context, environ []string) error) *cobra.Command {
	var host string
	s := setup{environ: environ, out: stdout, doctor: doctor}
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Set it up with Slack and Temporal, step by step",
		Long: `Set it up with Slack and Temporal, step by step: create the Slack app, give its tokens, say where Temporal is.

Each answer is checked as it is given, with Slack too. In the end .env is written, for you alone to read, and
countersign doctor looks at it all; the exit code is then its own. Until then nothing is written.`,
		Example: `  countersign setup
  countersign setup --http https://countersign.example.com
  countersign setup --force`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if s.requestURL, err = requestURL(host, cmd.Flags().Changed("http")); err != nil {
				return err
			}
			s.answers = newAnswers(stdin)
			return s.run(cmd.Context())
		},
	}
	httpFlag(cmd, &host)
	cmd.Flags().StringVar(&s.file, "file", dotenvFile, "the file to write")
	cmd.Flags().BoolVar(&s.force, "force", false, "replace a file that is there: its values are offered, its keys kept, and it stays as FILE.bak")
	return cmd
}

// setup is a walk through the set-up.
type setup struct {
	environ    []string
	answers    *answers
	out        io.Writer
	doctor     func(ctx context.Context, environ []string) error
	requestURL string // where Slack delivers; empty: Socket Mode
	file       string
	force      bool

	api    string            // where Slack's methods are
	env    map[string]string // what the environment has
	values map[string]string // what the file will have, by variables
	asked  []string          // the variables that were asked for
}

func (s *setup) run(ctx context.Context) error {
	cfg, err := s.begin()
	if err != nil {
		return setupError{err}
	}
	// That it cannot be written is found out before anybody has answered anything.
	if f, err := s.create(); err == nil {
		discard(f)
	} else {
		return setupError{err}
	}

	err = s.talk(ctx, cfg)
	switch {
	case ctx.Err() != nil:
		s.say("\n")
		return &cli.Error{Code: cli.ExitInterrupted, Err: errors.New("interrupted: nothing was written")}
	case errors.Is(err, io.EOF):
		return setupError{errors.New("the input ended before the last answer: nothing was written")}
	case err != nil:
		return err
	}
	f, err := s.create()
	if err != nil {
		return setupError{err}
	}
	defer discard(f)
	if err := s.write(f); err != nil {
		return setupError{fmt.Errorf("write %s: %w", s.file, err)}
	}
	return s.end(ctx)
}

// create makes an empty file beside the one to write, for its owner alone.
func (s *setup) create() (*os.File, error) {
	f, err := os.CreateTemp(filepath.Dir(s.target()), filepath.Base(s.target())+"-*")
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", s.file, err)
	}
	return f, nil
}

func discard(f *os.File) {
	_ = f.Close()
	_ = os.Remove(f.Name())
}

// target is the file itself, where it is a link to it.
func (s *setup) target() string {
	if path, err := filepath.EvalSymlinks(s.file); err == nil {
		return path
	}
	return s.file
}

// begin reads what is there already, and returns what can be read of it. Faults of what is not asked for are for the operator
// to mend first.
func (s *setup) begin() (config.Config, error) {
	s.env, s.values = map[string]string{}, map[string]string{}
	for _, v := range s.environ {
		name, value, _ := strings.Cut(v, "=")
		s.env[name] = strings.TrimSpace(value)
	}
	text, err := os.ReadFile(s.file)
	switch {
	case err == nil && !s.force:
		return config.Config{}, fmt.Errorf("%s is there already: with --force its values are offered, its keys kept, and it stays as %s", s.file, s.backup())
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return config.Config{}, err
	}
	if vars, err := godotenv.Unmarshal(string(text)); err == nil { // Otherwise it is a fault.
		s.values = vars
	}
	cfg, err := config.Read(config.Run, s.environ, s.file)
	if faults, ok := errors.AsType[*config.Error](err); ok {
		left := slices.DeleteFunc(faults.Faults, func(f config.Fault) bool {
			return slices.Contains(questions(), f.Name) || f.Name == "REFERENCE_KEYS" && s.now(f.Name) == ""
		})
		if len(left) > 0 {
			return config.Config{}, &config.Error{Faults: left}
		}
	}
	s.api = cfg.SlackAPIURL
	return cfg, nil
}

// questions are the variables that may be asked for.
func questions() []string {
	return []string{
		"SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET", "LISTEN_ADDRESS", "APPROVERS",
		"TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE", "TEMPORAL_API_KEY",
	}
}

// now is the value of a variable as things are: the environment wins over the file.
func (s *setup) now(name string) string { return cmp.Or(s.env[name], s.values[name]) }

func (s *setup) say(format string, args ...any) { fmt.Fprintf(s.out, format, args...) }

// talk says what to do, and asks for all values. What stands in now is offered.
func (s *setup) talk(ctx context.Context, now config.Config) error {
	way, flag := "Socket Mode, which needs no public address", ""
	if s.requestURL != "" {
		way, flag = "signed HTTP at "+s.requestURL, " --http "+strings.TrimSuffix(s.requestURL, bot.EventsPath)
	}
	s.say(`This sets Countersign up for %s.
It takes a Slack workspace in which you may install apps, and a Temporal server.
Enter takes what stands in [brackets]. Secrets do not show as you type them. Nothing is written
before the last answer.

1. Create the app. This link has its manifest filled in: choose your workspace, and create it.

%s

   Or choose Create New App, From a manifest, at https://api.slack.com/apps, and paste as YAML
   what `+"`countersign manifest%s`"+` prints.
`, way, manifestLink(s.requestURL), flag)

	if s.requestURL == "" {
		s.say(`
2. Make the app-level token. Under Basic Information, App-Level Tokens, choose Generate Token
   and Scopes, add connections:write, and generate.
`)
		if err := s.ask(ctx, question{name: "SLACK_APP_TOKEN", label: "App-level token, xapp-…", secret: true, needed: true, check: s.checkAppToken}); err != nil {
			return err
		}
	} else {
		s.say("\n2. Copy the Signing Secret under Basic Information.\n")
		// Where there is an app-level token, Slack is received by Socket Mode.
		s.values["SLACK_APP_TOKEN"], s.asked = "", append(s.asked, "SLACK_APP_TOKEN")
		if err := s.ask(ctx, question{name: "SLACK_SIGNING_SECRET", label: "Signing Secret", secret: true, needed: true}); err != nil {
			return err
		}
		s.say(`   Where shall Slack's requests be received? It is plain HTTP: a proxy that ends TLS passes them
   on to there.
`)
		if err := s.ask(ctx, question{name: "LISTEN_ADDRESS", label: "Listen at, host:port", offer: now.ListenAddress}); err != nil {
			return err
		}
	}

	s.say(`
3. Install the app. Under Install App choose to install it to your workspace and allow what it
   asks for. Then copy the Bot User OAuth Token.
`)
	if err := s.ask(ctx, question{name: "SLACK_BOT_TOKEN", label: "Bot User OAuth Token, xoxb-…", secret: true, needed: true, check: s.checkBotToken}); err != nil {
		return err
	}

	s.say(`
4. Say who may decide where a request names nobody: Slack IDs, with commas between them. A
   person's (U…) is in their profile, the menu with the three dots, Copy member ID; a user
   group's (S…) is in the menu of the group. The word channel stands for anyone who can see the
   card. Empty: each request must name its approvers.
`)
	if err := s.ask(ctx, question{name: "APPROVERS", label: "Approvers"}); err != nil {
		return err
	}

	s.say("\n5. Say where Temporal is.\n")
	if err := s.ask(ctx, question{name: "TEMPORAL_ADDRESS", label: "Address, host:port", offer: now.Temporal.HostPort, needed: true}); err != nil {
		return err
	}
	namespace := now.Temporal.Namespace
	if ns, ok := cloudNamespace(s.values["TEMPORAL_ADDRESS"]); ok && s.now("TEMPORAL_NAMESPACE") == "" {
		namespace = ns
	}
	if err := s.ask(ctx, question{name: "TEMPORAL_NAMESPACE", label: "Namespace", offer: namespace, needed: true}); err != nil {
		return err
	}
	if isCloud(s.values["TEMPORAL_ADDRESS"]) || s.now("TEMPORAL_API_KEY") != "" {
		return s.ask(ctx, question{name: "TEMPORAL_API_KEY", label: "API key, which turns TLS on; none if you use certificates (TEMPORAL_TLS_…)", secret: true})
	}
	return nil
}

// Addresses of Temporal Cloud: of a namespace, and of a region. https://docs.temporal.io/cloud/namespaces#access-namespaces
const (
	cloudNamespaces = ".tmprl.cloud"
	cloudRegions    = ".api.temporal.io"
)

func isCloud(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && (strings.HasSuffix(host, cloudNamespaces) || strings.HasSuffix(host, cloudRegions))
}

// cloudNamespace is the namespace that an address of Temporal Cloud is of.
func cloudNamespace(address string) (string, bool) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return "", false
	}
	return strings.CutSuffix(host, cloudNamespaces)
}

// question asks for the value of a variable.
type question struct {
	name, label string
	offer       string // what Enter takes, where nothing is set as things are
	secret      bool   // it is shown nowhere
	needed      bool
	// check says what is wrong with a value of the right form; empty: nothing. Nil: there is nothing to find out.
	check func(ctx context.Context, value string) (wrong string)
}

// ask asks until the answer is one that works.
func (s *setup) ask(ctx context.Context, q question) error {
	s.asked = append(s.asked, q.name)
	offer := cmp.Or(s.now(q.name), q.offer)
	label := q.label
	switch {
	case offer != "" && q.secret:
		label += " [the one that is set]"
	case offer != "":
		label += " [" + offer + "]"
	}
	if offer != "" && !q.needed {
		label += ", - for none"
	}
	for {
		s.say("   %s: ", label)
		answer, err := s.answers.next(ctx, q.secret)
		if q.secret || !s.answers.echoed() {
			s.say("\n")
		}
		if err != nil {
			return err
		}
		value := cmp.Or(strings.TrimSpace(answer), offer)
		if value == "-" && !q.needed {
			value = ""
		}
		wrong := s.fault(q, value)
		if wrong == "" && value != "" && q.check != nil {
			wrong = q.check(ctx, value)
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case wrong == "":
			s.values[q.name] = value
			return nil
		}
		s.say("   %s.\n", wrong)
	}
}

// fault is what the configuration has against a value. It never shows a secret.
func (s *setup) fault(q question, value string) string {
	switch {
	case value == "" && q.needed:
		return "It cannot be left empty"
	case value == "":
		return ""
	case !utf8.ValidString(value) || strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "It has characters that cannot be seen: type or paste it again"
	}
	vars := maps.Clone(s.values)
	for name, value := range s.env {
		if value != "" || vars[name] == "" {
			vars[name] = value
		}
	}
	vars[q.name] = value
	_, err := config.Load(config.Run, environment(vars), "")
	if faults, ok := errors.AsType[*config.Error](err); ok {
		for _, f := range faults.Faults {
			if f.Name == q.name {
				return "It " + f.Problem + ": " + f.Remedy
			}
		}
	}
	return ""
}

func environment(vars map[string]string) (all []string) {
	for name, value := range vars {
		all = append(all, name+"="+value)
	}
	return all
}

// checkBotToken asks Slack whether it takes a bot token.
func (s *setup) checkBotToken(ctx context.Context, token string) (wrong string) {
	who, err := slackapi.Inspect(token, "", s.api).Token(ctx)
	return s.verdict(ctx, err, "copy the Bot User OAuth Token once more", fmt.Sprintf("as @%s in the workspace %s", plain(who.Name), plain(who.Workspace)))
}

// checkAppToken asks Slack whether it takes an app-level token.
func (s *setup) checkAppToken(ctx context.Context, token string) (wrong string) {
	_, err := slackapi.Inspect("", token, s.api).OpenSocket(ctx)
	return s.verdict(ctx, err, "make an app-level token with connections:write, of an app with Socket Mode", "for Socket Mode")
}

// verdict is what Slack has against a token. Where that could not be found out the token is kept.
func (s *setup) verdict(ctx context.Context, err error, remedy, takenAs string) (wrong string) {
	switch e := cmp.Or(slackapi.AsUnauthorized(err), slackapi.AsRefused(err)); {
	case ctx.Err() != nil: // Nobody asks any more.
	case e != nil:
		return fmt.Sprintf("Slack refuses it (%s): %s", e.Code, remedy)
	case err != nil:
		s.say("   It is kept, and could not be checked: %v.\n", err)
	default:
		s.say("   Slack takes it %s.\n", takenAs)
	}
	return ""
}

// plain is text of others, for a terminal: without what would steer it.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}

// write writes the file by way of f, which is beside it.
func (s *setup) write(f *os.File) error {
	// A key that is there is kept: the open cards need it.
	s.values["REFERENCE_KEYS"] = cmp.Or(s.values["REFERENCE_KEYS"], s.env["REFERENCE_KEYS"], reference.NewKey())
	if at := s.env["SLACK_API_URL"]; at != "" { // The tokens are of the Slack that is there.
		s.values["SLACK_API_URL"] = at
	}
	text, err := fill(example, s.values)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	old, err := os.ReadFile(s.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !s.force:
		return errors.New("somebody else has written it meanwhile")
	default:
		if err := writeNew(s.backup(), old); err != nil {
			return err
		}
	}
	return os.Rename(f.Name(), s.target())
}

// backup is where the file that is there stays: a name that is free.
func (s *setup) backup() string {
	name := s.file + ".bak"
	for n := 2; ; n++ {
		if _, err := os.Lstat(name); err != nil {
			return name
		}
		name = fmt.Sprintf("%s.bak%d", s.file, n)
	}
}

// writeNew writes a file that is not there yet, for its owner alone.
func writeNew(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// end has doctor look at what was written, and says how it goes on.
func (s *setup) end(ctx context.Context) error {
	s.say("\n%s is written, for you alone to read. Keep it: without the key in its REFERENCE_KEYS the buttons\n"+
		"of open cards are dead.\n", s.file)
	for _, name := range append(s.asked, "REFERENCE_KEYS") {
		if value, ok := s.env[name]; ok && value != s.values[name] {
			s.say("Unset %s: in the environment it is another, and the environment wins over %s.\n", name, s.file)
		}
	}
	var err error
	if s.doctor != nil {
		s.say("\n")
		environ := s.environ
		if s.file != dotenvFile {
			environ = append(environment(s.values), environ...) // Of two the last counts.
		}
		err = s.doctor(ctx, environ)
	}
	if ctx.Err() != nil {
		return err
	}
	s.say("\nNow\n")
	if err != nil {
		s.say("  - mend what is said above, and look again with `countersign doctor`\n")
	}
	if s.file != dotenvFile {
		s.say("  - have the variables of %s where countersign runs, as %s or in its environment\n", s.file, dotenvFile)
	}
	s.say("  - start `countersign run`, and wait for msg=ready\n")
	if s.requestURL != "" {
		s.say("  - have Slack verify the URL under Event Subscriptions, where it has not yet\n")
	}
	s.say("  - in Slack type /invite @countersign in a channel, and there /greet World\n\n" +
		"Nobody decides their own request. To try it alone name yourself in APPROVERS, and set\n" +
		"ALLOW_SELF_APPROVAL=true.\n")
	return err
}

// variable is a line of .env.example that has a variable.
var variable = regexp.MustCompile(`^(?:# )?([A-Z][A-Z0-9_]*)=`)

// fill gives the variables of an example file their values, and adds those that it does not have. What is empty stays as
// it is in the example.
func fill(example string, values map[string]string) (string, error) {
	_, rest, _ := strings.Cut(example, "\n") // The first line says to copy the example.
	text := "# Countersign's configuration, as `countersign setup` has written it.\n"
	left := maps.Clone(values)
	for line := range strings.Lines(rest) {
		if m := variable.FindStringSubmatch(line); m != nil && left[m[1]] != "" {
			set, err := assign(m[1], left[m[1]])
			if err != nil {
				return "", err
			}
			line = set + "\n"
			delete(left, m[1])
		}
		text += line
	}
	maps.DeleteFunc(left, func(name, value string) bool { return value == "" && strings.Contains(example, name+"=") })
	if len(left) > 0 {
		text += "\n# What the file before had besides.\n"
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		set, err := assign(name, left[name])
		if err != nil {
			return "", err
		}
		text += set + "\n"
	}
	return text, nil
}

// bare is a value that is one to whoever reads such a file.
var bare = regexp.MustCompile(`^[A-Za-z0-9_./:,@=+-]*$`)

// assign is a line that gives a variable a value, quoted so that godotenv reads that value and no other.
func assign(name, value string) (string, error) {
	escaped := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "\n", `\n`, "\r", `\r`).Replace(value)
	forms := []string{value, "'" + value + "'", `"` + escaped + `"`}
	if !bare.MatchString(value) { // Who else reads the file, Compose for instance, may make more of it.
		forms = append(forms[1:], value)
	}
	for _, form := range forms {
		line := name + "=" + form
		if vars, err := godotenv.Unmarshal(line + "\nX=y\n"); err == nil && len(vars) == 2 && vars["X"] == "y" && vars[name] == value {
			return line, nil
		}
	}
	return "", fmt.Errorf("%s has quotation marks that the file cannot hold: set it in the environment instead", name)
}

// answers are read from a terminal, or line by line from anything else.
type answers struct {
	in       *bufio.Reader
	terminal int // its file descriptor; -1: there is none
}

func newAnswers(in io.Reader) *answers {
	a := &answers{in: bufio.NewReader(in), terminal: -1}
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		a.terminal = int(f.Fd())
	}
	return a
}

// echoed reports whether what is typed shows, the end of the line too.
func (a *answers) echoed() bool { return a.terminal >= 0 }

// next waits for the next answer. A secret one does not show on a terminal. Where ctx ends first the terminal is as it was,
// and a may not be used again.
func (a *answers) next(ctx context.Context, secret bool) (string, error) {
	type read struct {
		text string
		err  error
	}
	done := make(chan read, 1)
	if secret && a.terminal >= 0 {
		before, err := term.GetState(a.terminal)
		if err != nil {
			return "", fmt.Errorf("read from the terminal: %w", err)
		}
		defer func() { _ = term.Restore(a.terminal, before) }()
		go func() {
			// A terminal gives one line at a time, so a.in holds nothing of it.
			text, err := term.ReadPassword(a.terminal)
			done <- read{string(text), err}
		}()
	} else {
		go func() {
			text, err := a.in.ReadString('\n')
			if text != "" && errors.Is(err, io.EOF) { // A last line without its end.
				err = nil
			}
			done <- read{text, err}
		}()
	}
	select {
	case r := <-done:
		return r.text, r.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}
