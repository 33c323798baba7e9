// Package slackapi makes the calls to Slack that the bot and the worker need, and tells their errors apart by what can
// be done about them.
package slackapi

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/hashicorp/golang-lru/v2/expirable"
	"github.com/slack-go/slack"
	"golang.org/x/sync/singleflight"

	"countersign/workflows"
)

const (
	// Timeout bounds each call to Slack.
	Timeout = 10 * time.Second
	// rememberFor is how long people and user groups are remembered: usergroups.list and usergroups.users.list are Tier 2
	// methods, with some 20 calls a minute. https://docs.slack.dev/apis/web-api/rate-limits
	rememberFor = time.Minute
	// rememberMost bounds the memory for that.
	rememberMost = 10_000
	// clockSkew is how far Slack's clock may be behind ours; a little more than what its signatures allow.
	clockSkew = 6 * time.Minute
	// metadataType is the event type of the metadata on our messages.
	// https://docs.slack.dev/messaging/message-metadata
	metadataType = "countersign_message"
)

// Client calls Slack for one workspace. It is safe for concurrent use.
type Client struct {
	api    *slack.Client
	http   *http.Client
	self   Self
	pace   *pace
	people *expirable.LRU[string, Person]
	groups *expirable.LRU[string, []string]
	all    *expirable.LRU[string, map[string]Group]
	flight singleflight.Group
	// unauthorized is what Slack said of the token, while it does not take it.
	unauthorized atomic.Pointer[unauthorized]
}

// Self is who the app is in its workspace.
type Self struct {
	Team   string // workspace ID
	UserID string // of the app's bot user
	BotID  string
	AppID  string // empty where the app lacks the scope to ask for it, users:read
}

// Connect asks Slack who api's token is for. HTTP is used for response URLs; its Timeout must be set.
func Connect(ctx context.Context, api *slack.Client, client *http.Client) (*Client, error) {
	// https://docs.slack.dev/reference/methods/auth.test
	who, err := call(ctx, "auth.test", api.AuthTestContext)
	if err != nil {
		return nil, err
	}
	self, err := selfOf(ctx, api, who)
	if err != nil {
		return nil, err
	}
	return &Client{
		api:    api,
		http:   client,
		self:   self,
		pace:   newPace(),
		people: expirable.NewLRU[string, Person](rememberMost, nil, rememberFor),
		groups: expirable.NewLRU[string, []string](rememberMost, nil, rememberFor),
		all:    expirable.NewLRU[string, map[string]Group](1, nil, rememberFor),
	}, nil
}

// selfOf is who the app is as whom the token was accepted. With an error all but its AppID is known.
// https://docs.slack.dev/reference/methods/bots.info
func selfOf(ctx context.Context, api *slack.Client, who *slack.AuthTestResponse) (Self, error) {
	self := Self{Team: who.TeamID, UserID: who.UserID, BotID: who.BotID}
	bot, err := call(ctx, "bots.info", func(ctx context.Context) (*slack.Bot, error) {
		return api.GetBotInfoContext(ctx, slack.GetBotInfoParameters{Bot: who.BotID})
	})
	switch {
	case err == nil:
		self.AppID = bot.AppID
	case AsRefused(err) == nil:
		return self, err
	}
	return self, nil
}

// Dial is Connect with a bot token, to Slack's methods at apiURL: empty means Slack's own.
func Dial(ctx context.Context, token, apiURL string) (*Client, error) {
	web := &http.Client{Timeout: Timeout}
	o := []slack.Option{slack.OptionHTTPClient(web)}
	if apiURL != "" {
		o = append(o, slack.OptionAPIURL(apiURL))
	}
	return Connect(ctx, slack.New(token, o...), web)
}

// Self returns who the app is.
func (c *Client) Self() Self { return c.self }

// OpenSocket asks Slack, with the app-level token, for the address of a socket. It is a secret, and good for one
// connection. https://docs.slack.dev/reference/methods/apps.connections.open
func (c *Client) OpenSocket(ctx context.Context) (address string, err error) {
	return call(ctx, "apps.connections.open", func(ctx context.Context) (string, error) {
		_, address, err := c.api.StartSocketModeContext(ctx)
		return address, err
	})
}

// askAgain is how long it is kept in mind that Slack does not take the token.
const askAgain = time.Minute

// unauthorized is that Slack did not take the token.
type unauthorized struct {
	err *Error
	at  time.Time
}

// Check asks Slack whether it takes the token. While it does not, nothing is posted or changed: [Client.Post] and
// [Client.Update] return the error of kind [Unauthorized] without a call, but for one a minute.
// https://docs.slack.dev/reference/methods/auth.test
func (c *Client) Check(ctx context.Context) error {
	_, err := call(ctx, "auth.test", c.api.AuthTestContext)
	return c.noted(err)
}

// noted is err. Whether it says that Slack takes the token, or does not, is kept in mind.
func (c *Client) noted(err error) error {
	if e := AsUnauthorized(err); e != nil {
		c.unauthorized.Store(&unauthorized{e, time.Now()})
	} else if err == nil {
		c.unauthorized.Store(nil)
	}
	return err
}

// refused is what Slack said of the token, where it does not take it; nil where that is to be found out.
func (c *Client) refused() *Error {
	u := c.unauthorized.Load()
	if u == nil || time.Since(u.at) > askAgain && c.unauthorized.CompareAndSwap(u, &unauthorized{u.err, time.Now()}) {
		return nil
	}
	return u.err
}

// Message is a message to post.
type Message struct {
	Channel string // channel ID, or a user ID for a direct message
	Thread  string // timestamp of the message to answer; empty: a message of its own
	Text    string // what screen readers and notifications say
	Blocks  []slack.Block
	Key     string // names the message, so that [Client.Find] finds it. Not a secret: others in the channel can read it
}

// Post posts a message, and says where it is. It is not idempotent: after an error of kind [Failed] the message may be
// there. https://docs.slack.dev/reference/methods/chat.postMessage
func (c *Client) Post(ctx context.Context, m Message) (workflows.Card, error) {
	if e := c.refused(); e != nil {
		return workflows.Card{}, e
	}
	opts := append(content(m.Text, m.Blocks), slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl(),
		slack.MsgOptionMetadata(slack.SlackMetadata{
			EventType:    metadataType,
			EventPayload: map[string]any{"key": m.Key},
		}))
	if m.Thread != "" {
		opts = append(opts, slack.MsgOptionTS(m.Thread))
	}
	card, err := c.post(ctx, m.Channel, opts)
	if err != nil {
		return workflows.Card{}, c.noted(err)
	}
	return card, nil
}

func (c *Client) post(ctx context.Context, channel string, opts []slack.MsgOption) (workflows.Card, error) {
	return call(ctx, "chat.postMessage", func(ctx context.Context) (at workflows.Card, err error) {
		at.Channel, at.TS, err = c.api.PostMessageContext(ctx, channel, opts...)
		return at, err
	})
}

// Find looks for a message of ours by its key, back to since. ok is false where it is not there. m.Channel must be
// the ID of a channel that the app may read. https://docs.slack.dev/reference/methods/conversations.history
func (c *Client) Find(ctx context.Context, m Message, since time.Time) (card workflows.Card, ok bool, err error) {
	oldest := strconv.FormatInt(since.Add(-clockSkew).Unix(), 10)
	for cursor := ""; ; {
		var (
			page []slack.Message
			next string
		)
		if m.Thread == "" {
			h, err := call(ctx, "conversations.history", func(ctx context.Context) (*slack.GetConversationHistoryResponse, error) {
				return c.api.GetConversationHistoryContext(ctx, &slack.GetConversationHistoryParameters{
					ChannelID: m.Channel, Oldest: oldest, Cursor: cursor, Limit: 100, IncludeAllMetadata: true,
				})
			})
			if err != nil {
				return workflows.Card{}, false, err
			}
			page, next = h.Messages, h.ResponseMetaData.NextCursor
		} else {
			page, err = call(ctx, "conversations.replies", func(ctx context.Context) (replies []slack.Message, err error) {
				replies, _, next, err = c.api.GetConversationRepliesContext(ctx, &slack.GetConversationRepliesParameters{
					ChannelID: m.Channel, Timestamp: m.Thread, Oldest: oldest, Cursor: cursor, Limit: 100, IncludeAllMetadata: true,
				})
				return replies, err
			})
			if err != nil {
				return workflows.Card{}, false, err
			}
		}
		for _, msg := range page {
			if msg.BotID == c.self.BotID && msg.Metadata.EventType == metadataType && msg.Metadata.EventPayload["key"] == m.Key {
				return workflows.Card{Channel: m.Channel, TS: msg.Timestamp}, true, nil
			}
		}
		if next == "" {
			return workflows.Card{}, false, nil
		}
		cursor = next
	}
}

// Update replaces a message of ours; it is idempotent. https://docs.slack.dev/reference/methods/chat.update
func (c *Client) Update(ctx context.Context, card workflows.Card, text string, blocks []slack.Block) error {
	if e := c.refused(); e != nil {
		return e
	}
	_, err := call(ctx, "chat.update", func(ctx context.Context) (string, error) {
		_, ts, _, err := c.api.UpdateMessageContext(ctx, card.Channel, card.TS, content(text, blocks)...)
		return ts, err
	})
	return c.noted(err)
}

// Permalink is the address of a message for a browser.
// https://docs.slack.dev/reference/methods/chat.getPermalink
func (c *Client) Permalink(ctx context.Context, card workflows.Card) (string, error) {
	return call(ctx, "chat.getPermalink", func(ctx context.Context) (string, error) {
		return c.api.GetPermalinkContext(ctx, &slack.PermalinkParameters{Channel: card.Channel, Ts: card.TS})
	})
}

// DirectMessage opens the direct message with a person and returns its channel ID.
// https://docs.slack.dev/reference/methods/conversations.open
func (c *Client) DirectMessage(ctx context.Context, user string) (channel string, err error) {
	return call(ctx, "conversations.open", func(ctx context.Context) (string, error) {
		ch, _, _, err := c.api.OpenConversationContext(ctx, &slack.OpenConversationParameters{Users: []string{user}})
		if err != nil {
			return "", err
		}
		return ch.ID, nil
	})
}

// OpenModal opens a modal for the person whose click gave the trigger, which lives for 3 s.
// https://docs.slack.dev/reference/methods/views.open
func (c *Client) OpenModal(ctx context.Context, trigger string, v slack.ModalViewRequest) error {
	_, err := call(ctx, "views.open", func(ctx context.Context) (*slack.ViewResponse, error) { return c.api.OpenViewContext(ctx, trigger, v) })
	return err
}

// PublishHome shows a person the app's home, and returns the hash of what they see now. Where hash is not empty and they
// see something else by now, nothing is shown, and [IsConflict] tells the error.
// https://docs.slack.dev/reference/methods/views.publish
func (c *Client) PublishHome(ctx context.Context, user, hash string, v slack.HomeTabViewRequest) (shown string, err error) {
	req := slack.PublishViewContextRequest{UserID: user, View: v}
	if hash != "" {
		req.Hash = &hash
	}
	r, err := call(ctx, "views.publish", func(ctx context.Context) (*slack.ViewResponse, error) { return c.api.PublishViewContext(ctx, req) })
	if err != nil {
		return "", err
	}
	return r.Hash, nil
}

// AnswerURL says text, as mrkdwn, to the person alone whose click or command gave the response URL. It needs no
// membership in the channel and no rate tier; a response URL works five times within 30 minutes.
// https://docs.slack.dev/interactivity/handling-user-interaction#message_responses
func (c *Client) AnswerURL(ctx context.Context, address, text string) error {
	_, err := call(ctx, methodResponseURL, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, slack.PostWebhookCustomHTTPContext(ctx, address, c.http, &slack.WebhookMessage{
			ResponseType: slack.ResponseTypeEphemeral,
			Text:         text,
			Blocks:       &slack.Blocks{BlockSet: Said(text)},
			UnfurlLinks:  new(bool), UnfurlMedia: new(bool),
		})
	})
	return err
}

// Whisper says text, as mrkdwn, to one person in a channel that they and the app are in.
// https://docs.slack.dev/reference/methods/chat.postEphemeral
func (c *Client) Whisper(ctx context.Context, channel, user, text string) error {
	_, err := call(ctx, "chat.postEphemeral", func(ctx context.Context) (string, error) {
		return c.api.PostEphemeralContext(ctx, channel, user, content(text, Said(text))...)
	})
	return err
}

// SayDirectly says text, as mrkdwn, to a person in their direct message with the app. It is not idempotent.
func (c *Client) SayDirectly(ctx context.Context, user, text string) error {
	channel, err := c.DirectMessage(ctx, user)
	if err != nil {
		return err
	}
	_, err = c.post(ctx, channel, append(content(text, Said(text)), slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl()))
	return err
}

// Person is what Slack knows of a person.
type Person struct {
	Name        string // as people see it
	Team        string // home workspace
	Guest       bool
	Bot         bool
	Deactivated bool
}

// ActiveIn reports whether they are a person of that workspace who can do anything there: no app, and not deactivated.
func (p Person) ActiveIn(team string) bool { return !p.Bot && !p.Deactivated && p.Team == team }

// Person looks a person up, and remembers the answer for a minute. https://docs.slack.dev/reference/methods/users.info
func (c *Client) Person(ctx context.Context, id string) (Person, error) {
	return remember(ctx, c, c.people, "person/"+id, id, func(ctx context.Context) (Person, error) {
		u, err := call(ctx, "users.info", func(ctx context.Context) (*slack.User, error) { return c.api.GetUserInfoContext(ctx, id) })
		if err != nil {
			return Person{}, err
		}
		return Person{
			Name:        cmp.Or(u.Profile.DisplayName, u.Profile.RealName, u.Name),
			Team:        u.TeamID,
			Guest:       u.IsRestricted || u.IsUltraRestricted || u.IsStranger,
			Bot:         u.IsBot || u.ID == "USLACKBOT",
			Deactivated: u.Deleted,
		}, nil
	})
}

// Members lists the active members of a user group, and remembers the answer for a minute.
// https://docs.slack.dev/reference/methods/usergroups.users.list
func (c *Client) Members(ctx context.Context, group string) ([]string, error) {
	return remember(ctx, c, c.groups, "group/"+group, group, func(ctx context.Context) ([]string, error) {
		return call(ctx, "usergroups.users.list", func(ctx context.Context) ([]string, error) {
			return c.api.GetUserGroupMembersContext(ctx, group)
		})
	})
}

// Group is what Slack knows of a user group.
type Group struct {
	Handle  string   // as people mention it: "@sre"
	Members []string // IDs
}

// Groups are all user groups by their IDs, without those that are disabled. They are remembered for a minute; nobody may
// change them. https://docs.slack.dev/reference/methods/usergroups.list
func (c *Client) Groups(ctx context.Context) (map[string]Group, error) {
	return remember(ctx, c, c.all, "groups", "groups", func(ctx context.Context) (map[string]Group, error) {
		listed, err := call(ctx, "usergroups.list", func(ctx context.Context) ([]slack.UserGroup, error) {
			return c.api.GetUserGroupsContext(ctx, slack.GetUserGroupsOptionIncludeUsers(true))
		})
		if err != nil {
			return nil, err
		}
		groups := make(map[string]Group, len(listed))
		for _, g := range listed {
			groups[g.ID] = Group{Handle: "@" + g.Handle, Members: g.Users}
		}
		return groups, nil
	})
}

// remember answers from cache, or asks once for all who want to know at the same time.
func remember[T any](ctx context.Context, c *Client, cache *expirable.LRU[string, T], flight, key string,
	ask func(context.Context) (T, error),
) (T, error) {
	if v, ok := cache.Get(key); ok {
		return v, nil
	}
	// The call outlives the first who asks, for the others who wait for it; the client's own timeout bounds it.
	answer := c.flight.DoChan(flight, func() (any, error) {
		if v, ok := cache.Get(key); ok { // Others had asked, and have their answer by now.
			return v, nil
		}
		v, err := ask(context.WithoutCancel(ctx))
		if err == nil {
			cache.Add(key, v)
		}
		return v, err
	})
	var zero T
	select {
	case r := <-answer:
		if r.Err != nil {
			return zero, r.Err
		}
		return r.Val.(T), nil
	case <-ctx.Done():
		return zero, fmt.Errorf("look up %s: %w", key, ctx.Err())
	}
}

// Said are the blocks of a text in mrkdwn that may quote others: in the text of a message alone, Slack would make links of
// addresses. https://docs.slack.dev/reference/block-kit/composition-objects/text-object
func Said(text string) (blocks []slack.Block) {
	const limit = 3000 // of a block
	say := func(part string) {
		if part != "" {
			blocks = append(blocks, slack.NewSectionBlock(slack.NewTextBlockObject(slack.MarkdownType, part, false, true), nil, nil))
		}
	}
	part, length := "", 0
	for line := range strings.Lines(text) {
		n := utf8.RuneCountInString(line)
		if length+n > limit {
			say(part)
			part, length = "", 0
		}
		for n > limit {
			runes := []rune(line)
			say(string(runes[:limit]))
			line, n = string(runes[limit:]), n-limit
		}
		part, length = part+line, length+n
	}
	say(part)
	return blocks
}

// content is the part of a message that a post and an update share. Names in text are never looked up and addresses
// never unfurled: text holds data of others.
func content(text string, blocks []slack.Block) []slack.MsgOption {
	return []slack.MsgOption{slack.MsgOptionText(text, false), slack.MsgOptionBlocks(blocks...)}
}
