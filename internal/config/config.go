// Package config turns the environment into a Config, and says all that is wrong with it at once.
//
// A variable that is set to nothing, or to spaces, counts as not set. What stands in the .env file counts where the
// environment has no variable of that name; a variable that the environment sets to nothing thus hides one in .env.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"countersign/internal/reference"
)

// Role is what a process is there for. It decides which variables are required.
type Role int

// The roles.
const (
	Run    Role = iota // bot and worker
	Bot                // bot alone: needs what Run needs
	Worker             // worker alone: receives nothing from Slack
	Demo               // bot and worker with a stand-in for Slack: requires nothing
	Client             // neither: speaks to Temporal alone, and requires nothing
)

// Config is the configuration of a process. Its fields stand in the order of .env.example.
// Printed or logged, it does not show secrets.
type Config struct {
	// SlackBotToken is the Bot User OAuth Token (xoxb-). Empty in the demo.
	SlackBotToken string `env:"SLACK_BOT_TOKEN" json:"-"`
	// SlackAppToken is the app-level token (xapp-). Where it is set, Slack is received by Socket Mode.
	SlackAppToken string `env:"SLACK_APP_TOKEN" json:"-"`
	// SlackSigningSecret verifies Slack's requests. Where there is no SlackAppToken, Slack is received by HTTP.
	SlackSigningSecret string `env:"SLACK_SIGNING_SECRET" json:"-"`
	// ListenAddress is host:port to receive Slack's requests at, without Socket Mode.
	ListenAddress string `env:"LISTEN_ADDRESS" envDefault:":3000"`
	// SlackAPIURL is the start of every method's URL: absolute, and it ends in "/".
	SlackAPIURL string `env:"SLACK_API_URL" envDefault:"https://slack.com/api/"`
	// Temporal says how to reach Temporal: TEMPORAL_ADDRESS and its like, and temporal.toml. In the demo the
	// HostPort is empty where no server is named.
	Temporal client.Options `env:"-" json:"-"`
	// DeploymentName and WorkerBuildID say as which version of which Worker Deployment the worker takes its tasks. Both are
	// empty where it is not versioned. https://docs.temporal.io/worker-versioning
	DeploymentName string `env:"TEMPORAL_DEPLOYMENT_NAME"`
	WorkerBuildID  string `env:"TEMPORAL_WORKER_BUILD_ID"`
	// TaskQueue is the task queue of the workflows and activities.
	TaskQueue string `env:"TASK_QUEUE" envDefault:"countersign"`
	// StickyCacheSize is how many workflows a worker keeps in memory between two of their steps. It reads the history again
	// of one that it did not keep. 0 keeps none.
	// https://docs.temporal.io/develop/worker-performance#workflow-cache-tuning
	StickyCacheSize int `env:"STICKY_CACHE_SIZE" envDefault:"1000"`
	// Approvers are those who may decide a request that names nobody. They may be none.
	Approvers Approvers `env:"APPROVERS"`
	// AllowSelfApproval lets requesters decide their own requests.
	AllowSelfApproval bool `env:"ALLOW_SELF_APPROVAL" envDefault:"false"`
	// AllowGuests lets requests ask for guests to decide who are not named.
	AllowGuests bool `env:"ALLOW_GUESTS" envDefault:"false"`
	// AllowApprovalOnExpiry lets requests ask to count as approved where nobody decides in time.
	AllowApprovalOnExpiry bool `env:"ALLOW_APPROVAL_ON_EXPIRY" envDefault:"false"`
	// Requesters are those who may use the slash commands.
	Requesters Requesters `env:"REQUESTERS" envDefault:"members"`
	// Deadline is how long a request waits that says nothing else: a second to a year.
	Deadline time.Duration `env:"DEADLINE" envDefault:"24h"`
	// ReferenceKeys seal and open the references. Nil in the demo.
	ReferenceKeys *reference.Keys `env:"REFERENCE_KEYS" json:"-"`
	// PayloadKeys encrypt what Temporal stores. Nil means that it is stored as it is.
	PayloadKeys *reference.Keys `env:"PAYLOAD_KEYS" json:"-"`
	// AllowOutsideDecisions lets `countersign decide` decide requests.
	AllowOutsideDecisions bool `env:"ALLOW_OUTSIDE_DECISIONS" envDefault:"false"`
	// AdminAddress is host:port to tell at how the process does. Empty means nowhere.
	AdminAddress string `env:"ADMIN_ADDRESS"`
	// OpenTelemetry are the OTEL_* variables, for OpenTelemetry to read. Nil in the demo.
	OpenTelemetry map[string]string `env:"-" json:"-"`
	// LogLevel is the least level that is logged.
	LogLevel slog.Level `env:"LOG_LEVEL" envDefault:"info"`
	// LogFormat is text or json.
	LogFormat string `env:"LOG_FORMAT" envDefault:"text"`
}

// otlpEndpoint is the best known of OpenTelemetry's variables. It may hold a password.
const otlpEndpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"

const stickyHelp = "write a whole number, 0 or more"

const (
	leastDeadline = time.Second
	mostDeadline  = 365 * 24 * time.Hour
)

// Load reads the configuration from environ, which is as os.Environ gives it, and from the file at dotenvPath, which
// need not exist; an empty path means none. The error is an *Error with every fault.
//
// The demo has a Slack with people of its own, and keys: for it SLACK_*, APPROVERS, REQUESTERS, REFERENCE_KEYS and
// PAYLOAD_KEYS are ignored, and temporal.toml is read only where TEMPORAL_ADDRESS or TEMPORAL_PROFILE is set; its worker is
// not versioned, since nobody would make its version the current one. For a client all that is Slack's or the worker's is
// ignored.
func Load(role Role, environ []string, dotenvPath string) (Config, error) {
	c, err := Read(role, environ, dotenvPath)
	if err != nil {
		return Config{}, err
	}
	return c, nil
}

// Read is Load, but with an error it returns what could be read all the same. A variable of which the error tells has its
// default then, or is empty, or stands as it is.
func Read(role Role, environ []string, dotenvPath string) (Config, error) {
	var f faults
	vars := merge(environ, dotenvPath, &f)
	for _, name := range ignored(role) {
		delete(vars, name)
	}
	var c Config
	if err := env.ParseWithOptions(&c, env.Options{Environment: vars}); err != nil {
		f.parse(err, vars)
	}
	f.slack(role, vars)
	f.values(role, &c)
	c.Temporal = temporal(role, vars, &f)
	c.OpenTelemetry = openTelemetry(role, vars)
	f.codec(&c)
	if role != Demo && role != Client && vars["REFERENCE_KEYS"] == "" {
		f.add("REFERENCE_KEYS", "is missing", "run `countersign key` and put its output here")
	}
	if len(f) > 0 {
		return c, f.error()
	}
	return c, nil
}

// Version is as which version of which Worker Deployment the worker takes its tasks; the zero value means that it is not
// versioned.
func (c Config) Version() worker.WorkerDeploymentVersion {
	return worker.WorkerDeploymentVersion{DeploymentName: c.DeploymentName, BuildID: c.WorkerBuildID}
}

// ignored are the variables that do not count for the role.
func ignored(role Role) []string {
	slack := []string{
		"SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET", "SLACK_API_URL", "APPROVERS", "REQUESTERS", "REFERENCE_KEYS",
	}
	switch role {
	case Demo:
		return append(slack, "PAYLOAD_KEYS", "TEMPORAL_DEPLOYMENT_NAME", "TEMPORAL_WORKER_BUILD_ID")
	case Client:
		return append(slack, "LISTEN_ADDRESS", "ADMIN_ADDRESS", "DEADLINE", "STICKY_CACHE_SIZE", "TEMPORAL_DEPLOYMENT_NAME", "TEMPORAL_WORKER_BUILD_ID")
	default:
		return nil
	}
}

// openTelemetry are the variables whose meaning is OpenTelemetry's.
// https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
func openTelemetry(role Role, vars map[string]string) map[string]string {
	if role == Demo || role == Client {
		return nil
	}
	var all map[string]string
	for name, value := range vars {
		if !strings.HasPrefix(name, "OTEL_") {
			continue
		}
		if all == nil {
			all = make(map[string]string)
		}
		all[name] = value
	}
	return all
}

// Approvers are the people who may decide.
type Approvers struct {
	Users, Groups []string // IDs
	Channel       bool     // anyone who can see the card
}

// Empty reports whether nobody may decide.
func (a Approvers) Empty() bool { return len(a.Users) == 0 && len(a.Groups) == 0 && !a.Channel }

// UnmarshalText reads user IDs, user-group IDs and the word channel, separated by commas.
func (a *Approvers) UnmarshalText(text []byte) (err error) {
	a.Users, a.Groups, a.Channel, err = people(string(text), "channel")
	return err
}

// String gives the text that UnmarshalText reads.
func (a Approvers) String() string { return list(a.Users, a.Groups, a.Channel, "channel") }

// Requesters are the people who may use the slash commands.
type Requesters struct {
	Users, Groups []string // IDs
	Members       bool     // every full member of the workspace, no guests
}

// UnmarshalText reads user IDs, user-group IDs and the word members, separated by commas.
func (r *Requesters) UnmarshalText(text []byte) (err error) {
	r.Users, r.Groups, r.Members, err = people(string(text), "members")
	return err
}

// String gives the text that UnmarshalText reads.
func (r Requesters) String() string { return list(r.Users, r.Groups, r.Members, "members") }

func people(text, word string) (users, groups []string, everyone bool, err error) {
	var wrong []string
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		switch {
		case item == "":
		case item == word:
			everyone = true
		case isID(item, "UW"):
			users = append(users, item)
		case isID(item, "S"):
			groups = append(groups, item)
		default:
			wrong = append(wrong, quote(item))
		}
	}
	if len(wrong) > 0 {
		return nil, nil, false, fmt.Errorf("has %s", strings.Join(wrong, ", "))
	}
	return users, groups, everyone, nil
}

// quote shows a wrong value, unless it looks like a token that was put into the wrong variable.
func quote(value string) string {
	if strings.Contains(value, "xox") || strings.Contains(value, "xapp-") {
		return "a Slack token"
	}
	return strconv.Quote(value)
}

// isID reports whether s is an ID of Slack that starts with one of the letters.
func isID(s, letters string) bool {
	if len(s) < 2 || !strings.Contains(letters, s[:1]) {
		return false
	}
	for _, c := range s {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

func list(users, groups []string, everyone bool, word string) string {
	all := slices.Concat(users, groups)
	if everyone {
		all = append(all, word)
	}
	return strings.Join(all, ",")
}

// Error lists every fault of a configuration.
type Error struct {
	Faults []Fault // at least one, in the order of .env.example
}

// Error gives each fault a line.
func (e *Error) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// Fault is what is wrong with one variable, or with the .env file. It shows no value that may be secret.
type Fault struct {
	Name    string // of the variable or file
	Problem string // said of it: "is missing"
	Remedy  string // how to get it right
}

// String gives the fault as one line.
func (f Fault) String() string { return f.Name + " " + f.Problem + ": " + f.Remedy }

type faults []Fault

// add adds a fault, unless the variable has one already.
func (f *faults) add(name, problem, remedy string) {
	if !slices.ContainsFunc(*f, func(other Fault) bool { return other.Name == name }) {
		*f = append(*f, Fault{Name: name, Problem: problem, Remedy: remedy})
	}
}

func (f faults) error() error {
	order := names()
	place := func(fault Fault) int {
		if strings.HasPrefix(fault.Name, "TEMPORAL_") {
			return slices.Index(order, "")
		}
		return slices.Index(order, fault.Name)
	}
	slices.SortStableFunc(f, func(a, b Fault) int { return cmp.Compare(place(a), place(b)) })
	return &Error{Faults: f}
}

// names are the names of the variables in order, with an empty one where Temporal's are.
func names() []string {
	var all []string
	for field := range reflect.TypeFor[Config]().Fields() {
		all = append(all, nameOf(field))
	}
	return all
}

func nameOf(field reflect.StructField) string {
	return strings.TrimPrefix(field.Tag.Get("env"), "-")
}

// parse adds the faults that the parser found. The parser's own words may show the value and are not used.
func (f *faults) parse(err error, vars map[string]string) {
	all := []error{err}
	if many, ok := errors.AsType[env.AggregateError](err); ok {
		all = many.Errors
	}
	for _, err := range all {
		one, ok := errors.AsType[env.ParseError](err)
		if !ok {
			f.add("the environment", "cannot be read", err.Error())
			continue
		}
		field, _ := reflect.TypeFor[Config]().FieldByName(one.Name)
		name := nameOf(field)
		value := quote(vars[name])
		switch name {
		case "APPROVERS":
			f.add(name, one.Err.Error(), "list user IDs (U… or W…), user-group IDs (S…) or the word channel, separated by commas")
		case "REQUESTERS":
			f.add(name, one.Err.Error(), "list user IDs (U… or W…), user-group IDs (S…) or the word members, separated by commas")
		case "ALLOW_SELF_APPROVAL", "ALLOW_GUESTS", "ALLOW_APPROVAL_ON_EXPIRY", "ALLOW_OUTSIDE_DECISIONS":
			f.add(name, "is "+value, "write true or false")
		case "DEADLINE":
			f.add(name, "is "+value, "write a duration such as 90m, 24h or 168h")
		case "STICKY_CACHE_SIZE":
			f.add(name, "is "+value, stickyHelp)
		case "REFERENCE_KEYS", "PAYLOAD_KEYS":
			f.add(name, "is malformed", one.Err.Error())
		case "LOG_LEVEL":
			f.add(name, "is "+value, "write debug, info, warn or error")
		}
	}
}

// slack checks the tokens and the secret.
func (f *faults) slack(role Role, vars map[string]string) {
	const (
		botHelp    = "copy the Bot User OAuth Token from OAuth & Permissions of your Slack app (docs/slack-app.md)"
		appHelp    = "make an app-level token under Basic Information of your Slack app (docs/slack-app.md)"
		secretHelp = "copy the Signing Secret from Basic Information of your Slack app; " +
			"for Socket Mode, which needs none, set SLACK_APP_TOKEN (docs/slack-app.md)"
	)
	bot, app, secret := vars["SLACK_BOT_TOKEN"], vars["SLACK_APP_TOKEN"], vars["SLACK_SIGNING_SECRET"]
	switch {
	case bot != "":
		f.token("SLACK_BOT_TOKEN", bot, "xoxb-", botHelp)
	case role != Demo && role != Client:
		f.add("SLACK_BOT_TOKEN", "is missing", botHelp)
	}
	if app != "" {
		f.token("SLACK_APP_TOKEN", app, "xapp-", appHelp)
	}
	switch {
	case secret != "":
		f.token("SLACK_SIGNING_SECRET", secret, "", secretHelp)
	case app == "" && (role == Run || role == Bot):
		f.add("SLACK_SIGNING_SECRET", "is missing", secretHelp)
	}
}

// token checks that a value starts as it should, and says what it is where that is known.
func (f *faults) token(name, value, prefix, help string) {
	for _, kind := range []struct{ prefix, what string }{
		{"xoxb-", "a bot token (xoxb-), which belongs in SLACK_BOT_TOKEN"},
		{"xapp-", "an app-level token (xapp-), which belongs in SLACK_APP_TOKEN"},
		{"xoxp-", "a person's token (xoxp-), which is not used"},
	} {
		if kind.prefix != prefix && strings.HasPrefix(value, kind.prefix) {
			f.add(name, "holds "+kind.what, help)
		}
	}
	if !strings.HasPrefix(value, prefix) {
		f.add(name, "does not start with "+prefix, help)
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
		f.add(name, "has characters that no token has", help)
	}
}

// values checks what the parser cannot, and gives SlackAPIURL its slash.
func (f *faults) values(role Role, c *Config) {
	if !isHostPort(c.ListenAddress) {
		f.add("LISTEN_ADDRESS", "is "+quote(c.ListenAddress), "write host:port, or :port for every address")
	}
	u, err := url.Parse(c.SlackAPIURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		f.add("SLACK_API_URL", "is not an absolute http or https URL of host and path", "leave it out to use https://slack.com/api/")
	} else if !strings.HasSuffix(c.SlackAPIURL, "/") {
		c.SlackAPIURL += "/"
	}
	switch {
	case c.AdminAddress == "":
	case !isHostPort(c.AdminAddress):
		f.add("ADMIN_ADDRESS", "is "+quote(c.AdminAddress), "write host:port, or :port for every address")
	case c.AdminAddress == c.ListenAddress && c.SlackAppToken == "" && role != Worker && !strings.HasSuffix(c.AdminAddress, ":0"):
		f.add("ADMIN_ADDRESS", "is LISTEN_ADDRESS", "take another port: that one is for Slack, and public")
	}
	switch {
	case c.DeploymentName == "" && c.WorkerBuildID != "":
		f.add("TEMPORAL_DEPLOYMENT_NAME", "is missing, and TEMPORAL_WORKER_BUILD_ID is set", "set both, or none")
	case c.DeploymentName != "" && c.WorkerBuildID == "":
		f.add("TEMPORAL_WORKER_BUILD_ID", "is missing, and TEMPORAL_DEPLOYMENT_NAME is set", "set both, or none")
	case strings.ContainsAny(c.DeploymentName, ".:"): // With them Temporal refuses each poll, and the worker takes nothing.
		f.add("TEMPORAL_DEPLOYMENT_NAME", "has a dot or a colon", "use letters, digits and hyphens")
	}
	if c.Deadline < leastDeadline || c.Deadline > mostDeadline {
		f.add("DEADLINE", "is "+c.Deadline.String(), "it may be 1s to 8760h")
	}
	if strings.ContainsAny(c.TaskQueue, "'\"\\") {
		f.add("TASK_QUEUE", "has a quotation mark or a backslash", "use letters, digits and hyphens")
	}
	if strings.HasSuffix(c.TaskQueue, "-bots") {
		f.add("TASK_QUEUE", "ends in -bots", "take another name: the bots of a deployment poll a queue of such a name")
	}
	if c.StickyCacheSize < 0 {
		f.add("STICKY_CACHE_SIZE", "is "+strconv.Itoa(c.StickyCacheSize), stickyHelp)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		f.add("LOG_FORMAT", "is "+quote(c.LogFormat), "write text or json")
	}
}

func isHostPort(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// String shows the configuration by the names of its variables, with *** for a secret that is set.
func (c Config) String() string {
	attrs := c.attrs()
	all := make([]string, len(attrs))
	for i, a := range attrs {
		all[i] = a.Key + "=" + a.Value.String()
	}
	return strings.Join(all, " ")
}

// GoString is String.
func (c Config) GoString() string { return "config.Config{" + c.String() + "}" }

// LogValue is a group of the variables, with *** for a secret that is set.
func (c Config) LogValue() slog.Value { return slog.GroupValue(c.attrs()...) }

func (c Config) attrs() []slog.Attr {
	secret := func(set bool) string {
		if set {
			return "***"
		}
		return ""
	}
	tls := c.Temporal.ConnectionOptions.TLS != nil && !c.Temporal.ConnectionOptions.TLSDisabled
	return []slog.Attr{
		slog.String("SLACK_BOT_TOKEN", secret(c.SlackBotToken != "")),
		slog.String("SLACK_APP_TOKEN", secret(c.SlackAppToken != "")),
		slog.String("SLACK_SIGNING_SECRET", secret(c.SlackSigningSecret != "")),
		slog.String("LISTEN_ADDRESS", c.ListenAddress),
		slog.String("SLACK_API_URL", c.SlackAPIURL),
		slog.String("TEMPORAL_ADDRESS", c.Temporal.HostPort),
		slog.String("TEMPORAL_NAMESPACE", c.Temporal.Namespace),
		slog.String("TEMPORAL_API_KEY", secret(c.Temporal.Credentials != nil)),
		slog.Bool("TEMPORAL_TLS", tls),
		slog.String("TEMPORAL_DEPLOYMENT_NAME", c.DeploymentName),
		slog.String("TEMPORAL_WORKER_BUILD_ID", c.WorkerBuildID),
		slog.String("TASK_QUEUE", c.TaskQueue),
		slog.Int("STICKY_CACHE_SIZE", c.StickyCacheSize),
		slog.String("APPROVERS", c.Approvers.String()),
		slog.Bool("ALLOW_SELF_APPROVAL", c.AllowSelfApproval),
		slog.Bool("ALLOW_GUESTS", c.AllowGuests),
		slog.Bool("ALLOW_APPROVAL_ON_EXPIRY", c.AllowApprovalOnExpiry),
		slog.String("REQUESTERS", c.Requesters.String()),
		slog.Duration("DEADLINE", c.Deadline),
		slog.String("REFERENCE_KEYS", strings.Join(c.ReferenceKeys.IDs(), ",")),
		slog.String("PAYLOAD_KEYS", strings.Join(c.PayloadKeys.IDs(), ",")),
		slog.Bool("ALLOW_OUTSIDE_DECISIONS", c.AllowOutsideDecisions),
		slog.String("ADMIN_ADDRESS", c.AdminAddress),
		slog.String(otlpEndpoint, secret(c.OpenTelemetry[otlpEndpoint] != "")),
		slog.String("LOG_LEVEL", c.LogLevel.String()),
		slog.String("LOG_FORMAT", c.LogFormat),
	}
}
