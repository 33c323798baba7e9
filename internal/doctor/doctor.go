// Package doctor checks how a deployment is set up, before its first start and later: the configuration, the Slack app and
// its installation, Temporal, and whether bots and workers fit together. It changes nothing. Every fault is one line, which
// says what to do.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.temporal.io/api/workflowservice/v1"

	"countersign/internal/config"
	"countersign/internal/peers"
	"countersign/internal/slackapi"
)

// Status is how a check ended.
type Status string

// How checks end.
const (
	OK   Status = "ok"
	Warn Status = "warn" // it works, but not all of it, or not for all
	Fail Status = "fail"
	Skip Status = "skip" // it could not be checked
)

// Finding is what a check found: one line. A check may have several.
type Finding struct {
	Check  string `json:"name"`
	Status Status `json:"status"`
	Says   string `json:"says"`
	Fix    string `json:"fix,omitempty"` // what to do, or how to have it checked
}

// String is the line.
func (f Finding) String() string {
	status := string(f.Status)
	if f.Status == Fail {
		status = "FAIL" // It is to be seen among many lines.
	}
	line := fmt.Sprintf("%-5s %-15s %s", status, f.Check, f.Says)
	if f.Fix != "" {
		line += ": " + f.Fix
	}
	return line
}

// Report is all that was found.
type Report struct {
	OK       bool      `json:"ok"` // nothing failed
	Findings []Finding `json:"checks"`
}

// Summary says in a sentence how it went.
func (r Report) Summary() string {
	count := func(s Status) (n int) {
		for _, f := range r.Findings {
			if f.Status == s {
				n++
			}
		}
		return n
	}
	if n := count(Fail); n > 0 {
		return fmt.Sprintf("%d of %d checks failed.", n, len(r.Findings))
	}
	said := "All is well"
	if n := count(Warn); n > 0 {
		said = "Nothing failed; " + plural(n, "warning", "warnings")
	}
	if n := count(Skip); n > 0 {
		said += "; " + plural(n, "thing", "things") + " could not be checked"
	}
	return said + "."
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Slack is what Slack is asked; a [slackapi.Inspector] is one.
type Slack interface {
	Token(ctx context.Context) (slackapi.Token, error)
	OpenSocket(ctx context.Context) (address string, err error)
	Person(ctx context.Context, id string) (slackapi.Person, error)
	Groups(ctx context.Context) (map[string]slackapi.ListedGroup, error)
	Channel(ctx context.Context, id string) (slackapi.Channel, error)
	Channels(ctx context.Context, kinds ...string) (n int, more bool, err error)
	Manifest(ctx context.Context, configToken, app string) (slackapi.Manifest, error)
}

// Temporal is what Temporal is asked; a client.Client is one.
type Temporal interface {
	peers.Temporal
	WorkflowService() workflowservice.WorkflowServiceClient
}

// App is how the Slack app has to be set up.
type App struct {
	Commands []string         // slash commands, with their slashes
	Events   []string         // that it subscribes to
	Scopes   []slackapi.Scope // of its bot token
	Path     string           // of its Request URLs
}

// Deployment is what is checked.
type Deployment struct {
	Role   config.Role    // Run, Bot or Worker
	Config config.Config  // with Faults, what could be read of it
	Faults []config.Fault // of the configuration
	App    App            // as this version needs it
	Slack  Slack          // asked with the tokens of Config
	Dial   func(context.Context) (Temporal, error)

	// ConfigToken is an app configuration token of Slack's, by which the app's manifest can be seen. Empty: it is not.
	ConfigToken string
	// URL is where Slack's requests go, without Socket Mode. Empty: where the manifest says.
	URL string
	// Channels are the IDs of channels in which the bot has to be. None: it has to be in any.
	Channels []string
	// Socket opens a socket although a bot runs whose clicks may come by it, or that cannot be seen.
	Socket bool
}

// within is how long one question may take.
const within = 10 * time.Second

// Examine makes all checks, as many at once as do not need one another, and tells what each found in their order, as soon
// as it is known. The end of ctx ends it; what it says then is of no worth.
func (d Deployment) Examine(ctx context.Context, tell func(Finding)) Report {
	e := &examination{Deployment: d}
	checks := e.checks()
	found := make([]chan []Finding, len(checks))
	for i, c := range checks {
		found[i] = make(chan []Finding, 1)
		go func() { found[i] <- c.look(ctx) }()
	}
	r := Report{OK: true}
	for i, c := range checks {
		for _, f := range <-found[i] {
			if f.Check == "" {
				f.Check = c.name
			}
			f.Says, f.Fix = plain(f.Says), plain(f.Fix)
			r.Findings = append(r.Findings, f)
			r.OK = r.OK && f.Status != Fail
			tell(f)
		}
	}
	return r
}

// check is one check. What it finds has its name, unless it says another.
type check struct {
	name string
	look func(context.Context) []Finding
}

// The names of the checks to which others refer.
const (
	nameToken     = "bot token"
	nameAppToken  = "app token"
	nameScopes    = "scopes"
	nameTemporal  = "Temporal"
	nameNamespace = "namespace"
)

// checks are those that concern the deployment, in the order in which an operator can mend what they find.
func (e *examination) checks() []check {
	all := []check{{"configuration", e.configuration}, {nameToken, e.botToken}}
	if e.receives() && e.socketMode() {
		all = append(all, check{nameAppToken, e.appToken})
	} else if e.receives() {
		all = append(all, check{"signing secret", e.signingSecret})
	}
	all = append(all, check{nameScopes, e.scopes})
	if e.receives() && e.socketMode() {
		all = append(all, check{"socket", e.socket})
	}
	all = append(all, check{"manifest", e.manifest})
	if e.receives() && !e.socketMode() {
		all = append(all, check{"request URL", e.requestURL})
	}
	return append(all,
		check{"channels", e.channels}, check{"people", e.people}, check{"user groups", e.userGroups},
		check{nameTemporal, e.reachable}, check{nameNamespace, e.namespace}, check{"workers", e.workers}, check{"bots", e.bots},
		check{"reference keys", e.referenceKeys}, check{"clock", e.clock},
	)
}

// examination is a deployment, and what was learnt of it so far.
type examination struct {
	Deployment

	token    shared[slackapi.Token]
	address  shared[string]
	exported shared[slackapi.Manifest]
	server   shared[Temporal]
	polling  [3]shared[[]peers.Poller] // by who polls
}

// receives reports whether a process of the role receives anything from Slack.
func (e *examination) receives() bool { return e.Role != config.Worker }

// socketMode reports whether Slack is received by Socket Mode.
func (e *examination) socketMode() bool { return e.Config.SlackAppToken != "" }

// shared is an answer that several checks need. It is asked for once.
type shared[T any] struct {
	once sync.Once
	v    T
	err  error
}

func (s *shared[T]) get(ctx context.Context, ask func(context.Context) (T, error)) (T, error) {
	s.once.Do(func() { s.v, s.err = timed(ctx, ask) })
	return s.v, s.err
}

// timed asks, for no longer than one question may take.
func timed[T any](ctx context.Context, ask func(context.Context) (T, error)) (T, error) {
	soon, stop := context.WithTimeout(ctx, within)
	defer stop()
	return ask(soon)
}

// faulty is the first of the variables of which the configuration has a fault; empty: none. A name that ends in _ stands
// for all that begin with it.
func (e *examination) faulty(names ...string) string {
	for _, f := range e.Faults {
		if slices.ContainsFunc(names, func(name string) bool {
			return f.Name == name || strings.HasSuffix(name, "_") && strings.HasPrefix(f.Name, name)
		}) {
			return f.Name
		}
	}
	return ""
}

func (e *examination) configuration(context.Context) []Finding {
	if len(e.Faults) == 0 {
		way := "Slack by Socket Mode"
		switch {
		case !e.receives():
			way = "nothing is received from Slack"
		case !e.socketMode():
			way = "Slack by signed HTTP"
		}
		return good("has all that %s needs; %s", roles()[e.Role], way)
	}
	var all []Finding
	for _, f := range e.Faults {
		all = append(all, Finding{f.Name, Fail, f.Problem, f.Remedy})
	}
	return all
}

func roles() map[config.Role]string {
	return map[config.Role]string{config.Run: "run", config.Bot: "bot", config.Worker: "worker"}
}

func good(format string, args ...any) []Finding {
	return []Finding{{Status: OK, Says: fmt.Sprintf(format, args...)}}
}

func bad(fix, format string, args ...any) []Finding {
	return []Finding{{Status: Fail, Says: fmt.Sprintf(format, args...), Fix: fix}}
}

func doubtful(fix, format string, args ...any) []Finding {
	return []Finding{{Status: Warn, Says: fmt.Sprintf(format, args...), Fix: fix}}
}

func unseen(fix, format string, args ...any) []Finding {
	return []Finding{{Status: Skip, Says: fmt.Sprintf(format, args...), Fix: fix}}
}

// after says that something else has to be right first: a variable, or another check.
func after(what string) []Finding { return unseen("", "after %s", what) }

// silent says that somebody gave no answer, or none that can be used.
func silent(who string, err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("%s does not answer within %v", who, within)
	}
	return fmt.Sprintf("%s does not answer (%v)", who, err)
}

// plain is text of others, for one line of a terminal: without what would steer it.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return ' '
		}
		return r
	}, s)
}
