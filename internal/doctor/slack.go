package doctor

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"countersign/internal/slackapi"
)

// The variables without which Slack is not asked.
const (
	varToken = "SLACK_BOT_TOKEN"
	varAPI   = "SLACK_API_URL"
)

const networkFix = "check the network, HTTPS_PROXY and SLACK_API_URL"

// self asks Slack who the app is.
func (e *examination) self(ctx context.Context) (slackapi.Token, error) {
	return e.token.get(ctx, e.Slack.Token)
}

// afterToken is who the app is; or, where that is not known, what a check that needs it says.
func (e *examination) afterToken(ctx context.Context) (slackapi.Token, []Finding) {
	if v := e.faulty(varToken, varAPI); v != "" {
		return slackapi.Token{}, after(v)
	}
	t, err := e.self(ctx)
	if err != nil {
		return t, after(nameToken)
	}
	return t, nil
}

func (e *examination) botToken(ctx context.Context) []Finding {
	if v := e.faulty(varToken, varAPI); v != "" {
		return after(v)
	}
	t, err := e.self(ctx)
	var answer *slackapi.Error
	switch {
	case err == nil:
		app := ""
		if t.AppID != "" {
			app = ", app " + t.AppID
		}
		return good("@%s in the workspace %s (%s)%s", t.Name, t.Workspace, t.Team, app)
	case slackapi.AsLimited(err) != nil:
		return limited()
	case errors.As(err, &answer) && answer.Code != "" && answer.Kind != slackapi.Failed:
		return bad("install the app again, and copy its Bot User OAuth Token", "Slack refuses %s (%s)", varToken, answer.Code)
	default:
		return bad(networkFix, "%s", silent("Slack at "+e.Config.SlackAPIURL, err))
	}
}

func limited() []Finding { return unseen("run it again in a minute", "Slack asks to wait") }

// unanswered says that Slack gave no answer to a question about something, to an app whose token it takes.
func (e *examination) unanswered(about string, err error) []Finding {
	refused := slackapi.AsRefused(err)
	switch {
	case slackapi.AsLimited(err) != nil:
		return limited()
	case refused != nil && refused.Code == "missing_scope":
		return after(nameScopes)
	case refused != nil:
		return bad("", "%s: Slack refuses to say (%s)", about, refused.Code)
	default:
		return bad(networkFix, "%s: %s", about, silent("Slack", err))
	}
}

// appToken is the form of an app-level token. Its third part is the app's ID.
var appToken = regexp.MustCompile(`^xapp-\d+-(A[A-Z0-9]+)-`)

// appOf is the app that the app-level token is of; empty where it does not show.
func (e *examination) appOf() string {
	if m := appToken.FindStringSubmatch(e.Config.SlackAppToken); m != nil {
		return m[1]
	}
	return ""
}

// socketAddress asks Slack for the address of a socket, which is a secret.
func (e *examination) socketAddress(ctx context.Context) (string, error) {
	return e.address.get(ctx, e.Slack.OpenSocket)
}

const varAppToken = "SLACK_APP_TOKEN"

func (e *examination) appToken(ctx context.Context) []Finding {
	if v := e.faulty(varAppToken, varAPI); v != "" {
		return after(v)
	}
	_, err := e.socketAddress(ctx)
	var answer *slackapi.Error
	switch {
	case err == nil:
	case slackapi.AsLimited(err) != nil:
		return limited()
	case errors.As(err, &answer) && answer.Code != "" && answer.Kind != slackapi.Failed:
		return bad("make an app-level token with connections:write under Basic Information, and turn Socket Mode on",
			"Slack refuses %s (%s)", varAppToken, answer.Code)
	default:
		return bad(networkFix, "%s", silent("Slack at "+e.Config.SlackAPIURL, err))
	}
	app := e.appOf()
	if app == "" {
		return good("opens sockets; of which app it is does not show")
	}
	bot, unknown := e.afterToken(ctx)
	switch {
	case unknown != nil || bot.AppID == "":
		return good("opens sockets of the app %s; of which app the bot token is could not be seen", app)
	case bot.AppID != app:
		return bad("take both from one app", "is of the app %s, and %s of the app %s", app, varToken, bot.AppID)
	default:
		return good("opens sockets of the app %s", app)
	}
}

// signingSecret is the form of a signing secret.
var signingSecret = regexp.MustCompile(`^[0-9a-f]{32}$`)

const varSecret = "SLACK_SIGNING_SECRET"

func (e *examination) signingSecret(context.Context) []Finding {
	if v := e.faulty(varSecret); v != "" {
		return after(v)
	}
	if !signingSecret.MatchString(e.Config.SlackSigningSecret) {
		return doubtful("copy the Signing Secret from Basic Information of your Slack app", "is not 32 hexadecimal digits, as those of Slack are")
	}
	return good("has the form of one")
}

// lesser are the scopes without which only a part of a few requests does not work.
func lesser(scope string) bool {
	return strings.HasSuffix(scope, ":history") || scope == "channels:read" || scope == "groups:read"
}

func (e *examination) scopes(ctx context.Context) []Finding {
	t, unknown := e.afterToken(ctx)
	switch {
	case unknown != nil:
		return unknown
	case t.Scopes == nil:
		return unseen("", "Slack does not say which the bot token has")
	}
	var all []Finding
	for _, s := range e.App.Scopes {
		if slices.Contains(t.Scopes, s.Name) {
			continue
		}
		f := Finding{
			Status: Fail, Says: fmt.Sprintf("lacks %s (%s): %s", s.Name, s.For, s.Without),
			Fix: "add it under OAuth & Permissions, and install the app again",
		}
		if lesser(s.Name) {
			f.Status = Warn
		}
		all = append(all, f)
	}
	if len(all) == 0 {
		return good("all %d that are needed", len(e.App.Scopes))
	}
	return all
}

// export asks for the app's manifest.
func (e *examination) export(ctx context.Context) (slackapi.Manifest, []Finding) {
	var none slackapi.Manifest
	if e.ConfigToken == "" {
		return none, unseen("set SLACK_CONFIG_TOKEN to an app configuration token (xoxe.xoxp-…) from https://api.slack.com/apps",
			"commands, interactivity and events are not seen with the bot token")
	}
	if !strings.HasPrefix(e.ConfigToken, "xoxe.xoxp-") {
		what := "does not start with xoxe.xoxp-"
		if strings.HasPrefix(e.ConfigToken, "xoxe-") {
			what = "is the refresh token (xoxe-)"
		}
		return none, bad("copy the access token under Your App Configuration Tokens at https://api.slack.com/apps", "SLACK_CONFIG_TOKEN %s", what)
	}
	t, unknown := e.afterToken(ctx)
	app := t.AppID
	if app == "" {
		app = e.appOf()
	}
	switch {
	case app != "":
	case unknown != nil:
		return none, unknown
	default:
		return none, after(nameScopes) // Without users:read it is not known which app it is.
	}
	m, err := e.exported.get(ctx, func(ctx context.Context) (slackapi.Manifest, error) {
		return e.Slack.Manifest(ctx, e.ConfigToken, app)
	})
	refused, disowned := slackapi.AsRefused(err), slackapi.AsUnauthorized(err)
	switch {
	case err == nil:
		return m, nil
	case disowned != nil:
		return none, bad("generate another one under Your App Configuration Tokens at https://api.slack.com/apps: it lives for 12 hours",
			"Slack refuses SLACK_CONFIG_TOKEN (%s)", disowned.Code)
	case refused != nil:
		return none, bad("take a token for the app's workspace, of one of the app's collaborators",
			"SLACK_CONFIG_TOKEN may not see the app %s (%s)", app, refused.Code)
	default:
		return none, e.unanswered("the app "+app, err)
	}
}

func (e *examination) manifest(ctx context.Context) []Finding {
	m, unknown := e.export(ctx)
	if unknown != nil {
		return unknown
	}
	var all []Finding
	found := func(f []Finding) { all = append(all, f...) }
	for _, name := range e.App.Commands {
		i := slices.IndexFunc(m.Commands, func(c slackapi.ManifestCommand) bool { return c.Name == name })
		switch {
		case i < 0:
			found(bad("add it under Slash Commands, or take the new manifest", "has no command %s", name))
		case !m.Commands[i].Escaped:
			found(doubtful("turn on Escape channels, users, and links in it under Slash Commands", "people in the text of %s come as plain text", name))
		}
		if i >= 0 {
			found(e.leadsTo("the command "+name, m.Commands[i].URL, "Slash Commands"))
		}
	}
	if m.Interactivity {
		found(e.leadsTo("interactivity", m.InteractivityURL, "Interactivity & Shortcuts"))
	} else {
		found(bad("turn it on under Interactivity & Shortcuts", "interactivity is off, so no button works"))
	}
	switch {
	case !e.receives() || m.SocketMode == e.socketMode():
	case m.SocketMode:
		found(bad("turn it off, or set SLACK_APP_TOKEN", "Socket Mode is on, so Slack sends nothing to a Request URL"))
	default:
		found(bad("turn it on under Socket Mode, or set SLACK_SIGNING_SECRET in place of SLACK_APP_TOKEN",
			"Socket Mode is off, so Slack opens no socket"))
	}
	for _, event := range e.App.Events {
		if !slices.Contains(m.Events, event) {
			found(doubtful("add it under Event Subscriptions", "does not subscribe to %s, so the home stays empty", event))
		}
	}
	if slices.ContainsFunc(e.App.Events, func(event string) bool { return slices.Contains(m.Events, event) }) {
		found(e.leadsTo("events", m.EventsURL, "Event Subscriptions"))
	}
	if !m.Home {
		found(doubtful("turn the Home Tab on under App Home", "has no home tab"))
	}
	if !m.Messages {
		found(bad("turn the Messages Tab on under App Home", "has no messages tab, so nobody gets a direct message"))
	}
	if m.Rotation {
		found(bad("make a new app without it: it cannot be turned off", "token rotation is on, and tokens are not refreshed here"))
	}
	for _, s := range e.App.Scopes {
		if !slices.Contains(m.Scopes, s.Name) {
			found(doubtful("add it under OAuth & Permissions", "lacks the scope %s, so that the next installation does", s.Name))
		}
	}
	if len(all) == 0 {
		return good("has %s, interactivity and %s", strings.Join(e.App.Commands, ", "), strings.Join(e.App.Events, ", "))
	}
	return all
}

// leadsTo says what is wrong with a Request URL, which Socket Mode has no use for.
func (e *examination) leadsTo(what, url, where string) []Finding {
	switch {
	case e.socketMode() || !e.receives():
		return nil
	case url == "":
		return bad("set it under "+where, "%s has no Request URL", what)
	case e.URL != "" && url != e.URL:
		return bad("set it to "+e.URL+" under "+where, "the Request URL of %s is %s", what, url)
	case !strings.HasSuffix(url, e.App.Path):
		return bad("have it end in "+e.App.Path+" under "+where, "the Request URL of %s is %s", what, url)
	default:
		return nil
	}
}

func (e *examination) channels(ctx context.Context) []Finding {
	t, unknown := e.afterToken(ctx)
	if unknown != nil {
		return unknown
	}
	if len(e.Channels) > 0 {
		var all []Finding
		for _, id := range e.Channels {
			all = append(all, e.channel(ctx, t, id)...)
		}
		return all
	}
	var kinds []string
	for kind, scope := range map[string]string{slackapi.PublicChannels: "channels:read", slackapi.PrivateChannels: "groups:read"} {
		if t.Scopes == nil || slices.Contains(t.Scopes, scope) {
			kinds = append(kinds, kind)
		}
	}
	if len(kinds) == 0 {
		return after(nameScopes)
	}
	slices.Sort(kinds)
	soon, stop := context.WithTimeout(ctx, within)
	defer stop()
	n, more, err := e.Slack.Channels(soon, kinds...)
	switch {
	case err != nil:
		return e.unanswered("channels", err)
	case n == 0:
		return doubtful(fmt.Sprintf("type /invite @%s in each channel in which cards are to appear", t.Name), "@%s is in no channel", t.Name)
	case more:
		return good("@%s is in more than %d", t.Name, n)
	default:
		return good("@%s is in %s; --channel C… looks at one", t.Name, plural(n, "channel", "channels"))
	}
}

func (e *examination) channel(ctx context.Context, t slackapi.Token, id string) []Finding {
	c, err := timed(ctx, func(ctx context.Context) (slackapi.Channel, error) { return e.Slack.Channel(ctx, id) })
	invite := fmt.Sprintf("type /invite @%s in it", t.Name)
	switch refused := slackapi.AsRefused(err); {
	case refused != nil && refused.Code == "channel_not_found":
		return bad("check the ID, and "+invite, "%s is no channel of the workspace, or a private one in which @%s is not", id, t.Name)
	case err != nil:
		return e.unanswered(id, err)
	case c.Archived:
		return bad("take another channel", "#%s (%s) is archived", c.Name, id)
	case !c.Member && !c.Private && slices.Contains(t.Scopes, "chat:write.public"):
		return doubtful(invite, "@%s is not in #%s (%s), and posts there by chat:write.public: after a crash perhaps twice", t.Name, c.Name, id)
	case !c.Member:
		return bad(invite, "@%s is not in #%s (%s)", t.Name, c.Name, id)
	default:
		return good("@%s is in #%s (%s)", t.Name, c.Name, id)
	}
}

// The variables that name people.
const (
	varApprovers  = "APPROVERS"
	varRequesters = "REQUESTERS"
)

// named is who or what a variable names.
type named struct{ variable, id string }

// atOnce is how many people are looked up at once: users.info takes some hundred calls a minute.
const atOnce = 5

func (e *examination) people(ctx context.Context) []Finding {
	if v := e.faulty(varApprovers, varRequesters); v != "" {
		return after(v)
	}
	t, unknown := e.afterToken(ctx)
	if unknown != nil {
		return unknown
	}
	who := e.named(e.Config.Approvers.Users, e.Config.Requesters.Users)
	found := make([][]Finding, len(who))
	var looking errgroup.Group
	looking.SetLimit(atOnce)
	for i, n := range who {
		looking.Go(func() error {
			found[i] = e.person(ctx, t, n)
			return nil
		})
	}
	_ = looking.Wait()                             // What is wrong is found.
	all := slices.Compact(slices.Concat(found...)) // What stops all questions is said once.
	if e.Config.Approvers.Empty() {
		all = append(all, doubtful("list user IDs and user-group IDs in it, or have every request name its approvers", "%s is empty, so a request that names nobody is not asked", varApprovers)...)
	}
	if len(all) == 0 {
		return good("%s: %s; %s: %s", varApprovers, counted(e.Config.Approvers.Users, e.Config.Approvers.Groups, e.Config.Approvers.Channel, "anyone in the channel"),
			varRequesters, counted(e.Config.Requesters.Users, e.Config.Requesters.Groups, e.Config.Requesters.Members, "all members"))
	}
	return all
}

// named are those whom APPROVERS and REQUESTERS name.
func (e *examination) named(approvers, requesters []string) (all []named) {
	for _, id := range approvers {
		all = append(all, named{varApprovers, id})
	}
	for _, id := range requesters {
		all = append(all, named{varRequesters, id})
	}
	return all
}

func counted(users, groups []string, everyone bool, word string) string {
	var all []string
	if everyone {
		all = append(all, word)
	}
	if n := len(users); n > 0 {
		all = append(all, plural(n, "person", "people"))
	}
	if n := len(groups); n > 0 {
		all = append(all, plural(n, "user group", "user groups"))
	}
	return strings.Join(all, ", ")
}

func (e *examination) person(ctx context.Context, t slackapi.Token, n named) []Finding {
	p, err := timed(ctx, func(ctx context.Context) (slackapi.Person, error) { return e.Slack.Person(ctx, n.id) })
	remove := "take it out, or put another in its place"
	switch refused := slackapi.AsRefused(err); {
	case refused != nil && (refused.Code == "user_not_found" || refused.Code == "user_not_visible"):
		return bad("copy the member ID from their profile", "%s names %s, who is nobody in the workspace %s", n.variable, n.id, t.Workspace)
	case err != nil:
		return e.unanswered(n.id, err)
	case p.Deactivated:
		return bad(remove, "%s names %s (%s), who is deactivated", n.variable, p.Name, n.id)
	case p.Bot:
		return bad(remove, "%s names %s (%s), which is an app", n.variable, p.Name, n.id)
	case !p.ActiveIn(t.Team):
		return bad(remove, "%s names %s (%s), who is of another organisation", n.variable, p.Name, n.id)
	default:
		return nil
	}
}

func (e *examination) userGroups(ctx context.Context) []Finding {
	if v := e.faulty(varApprovers, varRequesters); v != "" {
		return after(v)
	}
	if _, unknown := e.afterToken(ctx); unknown != nil {
		return unknown
	}
	names := e.named(e.Config.Approvers.Groups, e.Config.Requesters.Groups)
	groups, err := timed(ctx, e.Slack.Groups)
	switch refused := slackapi.AsRefused(err); {
	case refused != nil && refused.Code == "plan_upgrade_required" && len(names) == 0:
		return good("the workspace's plan has none, and none is named")
	case refused != nil && refused.Code == "plan_upgrade_required":
		return bad("name people", "%s names %s, and the workspace's plan has no user groups", names[0].variable, names[0].id)
	case err != nil:
		return e.unanswered("user groups", err)
	}
	var all []Finding
	for _, n := range names {
		switch g, ok := groups[n.id]; {
		case !ok:
			all = append(all, bad("copy the group's ID from its menu", "%s names %s, which is no user group of the workspace", n.variable, n.id)...)
		case g.Disabled:
			all = append(all, bad("enable it, or name another", "%s names %s (%s), which is disabled", n.variable, g.Handle, n.id)...)
		case len(g.Members) == 0:
			all = append(all, bad("add people to it", "%s names %s (%s), which has no members", n.variable, g.Handle, n.id)...)
		}
	}
	if len(all) == 0 {
		return good("%s, readable", plural(len(groups), "user group", "user groups"))
	}
	return all
}

// By how much clocks may differ: Slack's signatures count for five minutes, and clicks for much less.
const (
	clockWarn = 30 * time.Second
	clockFail = time.Minute
)

func (e *examination) clock(ctx context.Context) []Finding {
	if v := e.faulty(varToken, varAPI); v != "" {
		return after(v)
	}
	t, _ := e.self(ctx) // Where Slack refuses the token it says what time it is all the same.
	if !t.Timed {
		return after(nameToken)
	}
	const fix = "set this machine's clock by NTP"
	way, off := "before", t.Ahead.Round(time.Second)
	if off < 0 {
		way, off = "behind", -off
	}
	switch {
	case off >= clockFail:
		return bad(fix, "is %v %s Slack's, so that clicks are refused", off, way)
	case off >= clockWarn:
		return doubtful(fix, "is %v %s Slack's", off, way)
	case off == 0:
		return good("agrees with Slack's")
	default:
		return good("is %v %s Slack's", off, way)
	}
}
