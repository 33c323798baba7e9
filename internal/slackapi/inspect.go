package slackapi

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"
	"github.com/slack-go/slack"
)

// Inspector asks Slack how an app is set up. None of its calls changes anything. It is safe for concurrent use.
type Inspector struct {
	api    *slack.Client
	client *Client // for the calls that it has in common with the bot and the worker, and with what these need alone
	date   atomic.Pointer[time.Time]
}

// Inspect inspects the app whose tokens these are; appToken may be empty. apiURL is where Slack's methods are.
func Inspect(botToken, appToken, apiURL string) *Inspector {
	i := new(Inspector)
	i.api = slack.New(botToken, slack.OptionAPIURL(apiURL), slack.OptionAppLevelToken(appToken),
		slack.OptionHTTPClient(&http.Client{Timeout: Timeout}),
		slack.OptionOnResponseHeaders(func(method string, h http.Header) {
			if at, err := http.ParseTime(h.Get("Date")); err == nil && method == "auth.test" {
				i.date.Store(&at)
			}
		}))
	i.client = &Client{api: i.api, people: expirable.NewLRU[string, Person](rememberMost, nil, rememberFor)}
	return i
}

// Token is what Slack says of a bot token.
type Token struct {
	Self
	Name      string   // of the bot user, as people see it
	Workspace string   // its name
	Scopes    []string // that it has; nil where Slack does not say

	// Timed is whether Slack said what time it is. Ahead is by how much our clock is before Slack's then, and is negative
	// where it is behind; 0 means that they differ by no more than can be seen.
	Timed bool
	Ahead time.Duration
}

// Token asks Slack about the bot token. With an error, the time alone may be known.
// https://docs.slack.dev/reference/methods/auth.test
func (i *Inspector) Token(ctx context.Context) (t Token, err error) {
	begun := time.Now()
	who, err := call(ctx, "auth.test", i.api.AuthTestContext)
	if date := i.date.Load(); date != nil {
		t.Timed, t.Ahead = true, ahead(begun, time.Now(), *date)
	}
	if err != nil {
		return t, err
	}
	t.Name, t.Workspace = who.User, who.Team
	for scope := range strings.SplitSeq(who.Header.Get("X-OAuth-Scopes"), ",") {
		if scope = strings.TrimSpace(scope); scope != "" {
			t.Scopes = append(t.Scopes, scope)
		}
	}
	t.Self, err = selfOf(ctx, i.api, who)
	return t, err
}

// ahead is by how much a clock that showed begun and ended goes before one that showed date meanwhile, cut to its second.
func ahead(begun, ended, date time.Time) time.Duration {
	switch least, most := begun.Sub(date.Add(time.Second)), ended.Sub(date); {
	case least > 0:
		return least
	case most < 0:
		return most
	default:
		return 0
	}
}

// OpenSocket is [Client.OpenSocket].
func (i *Inspector) OpenSocket(ctx context.Context) (address string, err error) {
	return i.client.OpenSocket(ctx)
}

// Person is [Client.Person].
func (i *Inspector) Person(ctx context.Context, id string) (Person, error) {
	return i.client.Person(ctx, id)
}

// ListedGroup is a user group, which may be disabled.
type ListedGroup struct {
	Group
	Disabled bool
}

// Groups are all user groups by their IDs, those that are disabled among them.
// https://docs.slack.dev/reference/methods/usergroups.list
func (i *Inspector) Groups(ctx context.Context) (map[string]ListedGroup, error) {
	listed, err := call(ctx, "usergroups.list", func(ctx context.Context) ([]slack.UserGroup, error) {
		return i.api.GetUserGroupsContext(ctx, slack.GetUserGroupsOptionIncludeUsers(true), slack.GetUserGroupsOptionIncludeDisabled(true))
	})
	if err != nil {
		return nil, err
	}
	groups := make(map[string]ListedGroup, len(listed))
	for _, g := range listed {
		groups[g.ID] = ListedGroup{Group{Handle: "@" + g.Handle, Members: g.Users}, g.DateDelete != 0}
	}
	return groups, nil
}

// Channel is what Slack knows of a channel.
type Channel struct {
	Name     string
	Private  bool
	Archived bool
	Member   bool // the app is in it
}

// Channel looks a channel up. https://docs.slack.dev/reference/methods/conversations.info
func (i *Inspector) Channel(ctx context.Context, id string) (Channel, error) {
	c, err := call(ctx, "conversations.info", func(ctx context.Context) (*slack.Channel, error) {
		return i.api.GetConversationInfoContext(ctx, &slack.GetConversationInfoInput{ChannelID: id})
	})
	if err != nil {
		return Channel{}, err
	}
	return Channel{Name: c.Name, Private: c.IsPrivate, Archived: c.IsArchived, Member: c.IsMember}, nil
}

// The kinds of channels.
const (
	PublicChannels  = "public_channel"
	PrivateChannels = "private_channel"
)

// Channels counts the channels of these kinds that the app is in; more: there are more than it has counted.
// https://docs.slack.dev/reference/methods/users.conversations
func (i *Inspector) Channels(ctx context.Context, kinds ...string) (n int, more bool, err error) {
	var next string
	all, err := call(ctx, "users.conversations", func(ctx context.Context) (all []slack.Channel, err error) {
		all, next, err = i.api.GetConversationsForUserContext(ctx, &slack.GetConversationsForUserParameters{
			Types: kinds, ExcludeArchived: true, Limit: 200,
		})
		return all, err
	})
	return len(all), next != "", err
}

// Manifest is how an app is set up, as far as it matters here.
type Manifest struct {
	Commands []ManifestCommand
	Scopes   []string // of the bot token, from the next installation on
	Events   []string

	Interactivity bool // buttons, menus and forms
	SocketMode    bool
	Home          bool // the home tab
	Messages      bool // the messages tab, without which nobody can get a direct message
	Rotation      bool // of tokens

	// EventsURL and InteractivityURL are the Request URLs, where there are any.
	EventsURL, InteractivityURL string
}

// ManifestCommand is a slash command of a [Manifest].
type ManifestCommand struct {
	Name    string // with its slash
	URL     string // its Request URL, where it has one
	Escaped bool   // people and links in its text come marked up
}

// Manifest asks for the manifest of an app with an app configuration token (xoxe.xoxp-), which lives for 12 hours.
// https://docs.slack.dev/reference/methods/apps.manifest.export
func (i *Inspector) Manifest(ctx context.Context, configToken, app string) (m Manifest, err error) {
	got, err := call(ctx, "apps.manifest.export", func(ctx context.Context) (*slack.Manifest, error) {
		return i.api.ExportManifestContext(ctx, configToken, app)
	})
	if err != nil {
		return m, err
	}
	for _, c := range got.Features.SlashCommands {
		m.Commands = append(m.Commands, ManifestCommand{Name: c.Command, URL: c.Url, Escaped: c.ShouldEscape})
	}
	m.Scopes = got.OAuthConfig.Scopes.Bot
	if e := got.Settings.EventSubscriptions; e != nil {
		m.Events, m.EventsURL = e.BotEvents, e.RequestUrl
	}
	if n := got.Settings.Interactivity; n != nil {
		m.Interactivity, m.InteractivityURL = n.IsEnabled, n.RequestUrl
	}
	m.SocketMode, m.Rotation = got.Settings.SocketModeEnabled, got.Settings.TokenRotationEnabled
	m.Home, m.Messages = got.Features.AppHome.HomeTabEnabled, got.Features.AppHome.MessagesTabEnabled
	return m, nil
}
