package slackapi

import (
	"context"
	"errors"

	"github.com/slack-go/slack"
)

// ErrTooMany says that a channel has more members than are looked at.
var ErrTooMany = errors.New("the channel has too many members")

// InChannel lists who is in a channel that the app is in, and remembers the answer for a minute.
// https://docs.slack.dev/reference/methods/conversations.members
func (c *Client) InChannel(ctx context.Context, channel string) ([]string, error) {
	const pages = 5 // of 999 each, which is what Slack gives at the most
	return remember(ctx, c, c.groups, "channel/"+channel, "channel/"+channel, func(ctx context.Context) (all []string, err error) {
		cursor := ""
		for range pages {
			page, err := call(ctx, "conversations.members", func(ctx context.Context) (page []string, err error) {
				page, cursor, err = c.api.GetUsersInConversationContext(ctx, &slack.GetUsersInConversationParameters{
					ChannelID: channel, Cursor: cursor, Limit: 999,
				})
				return page, err
			})
			if err != nil {
				return nil, err
			}
			if all = append(all, page...); cursor == "" {
				return all, nil
			}
		}
		return nil, ErrTooMany
	})
}
