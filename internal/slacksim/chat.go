package slacksim

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// See https://docs.slack.dev/reference/methods/chat.postMessage and chat.update.
const (
	maxPostText   = 40_000
	maxUpdateText = 4_000
)

// chatPostMessage posts to a channel by ID or name, or to a user's direct messages.
// See https://docs.slack.dev/reference/methods/chat.postMessage.
func (s *Server) chatPostMessage(a Args) (reply, error) {
	c, err := s.postable(a.String("channel"))
	if err != nil {
		return nil, err
	}
	m, err := s.content(a)
	if err != nil {
		return nil, err
	}
	m.Channel, m.User, m.Bot, m.ThreadTS = c.ID, BotUserID, true, a.String("thread_ts")
	if utf8.RuneCountInString(m.Text) > maxPostText {
		m.Text = string([]rune(m.Text)[:maxPostText])
	}
	posted := s.post(m)
	return reply{"channel": c.ID, "ts": posted.TS, "message": s.wire(posted, true)}, nil
}

// chatUpdate replaces the content of one of the app's messages. Text without blocks removes the blocks.
// See https://docs.slack.dev/reference/methods/chat.update.
func (s *Server) chatUpdate(a Args) (reply, error) {
	c := s.channel(a.String("channel"))
	if c == nil || c.ID != a.String("channel") || c.Private && !c.has(BotUserID) {
		return nil, &apiError{code: "channel_not_found"}
	}
	m := s.message(c.ID, a.String("ts"))
	switch {
	case m == nil:
		return nil, &apiError{code: "message_not_found"}
	case m.User != BotUserID:
		return nil, &apiError{code: "cant_update_message"}
	case c.Archived:
		return nil, &apiError{code: "is_inactive"}
	case escapedLength(a.String("text"), true) > maxUpdateText:
		return nil, &apiError{code: "msg_too_long"}
	}
	content, err := s.content(a)
	if err != nil {
		return nil, err
	}
	m.Text, m.Blocks = content.Text, content.Blocks
	if content.Metadata != nil {
		m.Metadata = content.Metadata
	}
	m.Edits++
	m.Edited = len(m.Blocks) == 0
	m.Warning = ""
	s.touch()
	return reply{"channel": c.ID, "ts": m.TS, "text": m.Text, "message": s.wire(m, true)}, nil
}

// chatPostEphemeral posts what one member of the channel sees.
// See https://docs.slack.dev/reference/methods/chat.postEphemeral.
func (s *Server) chatPostEphemeral(a Args) (reply, error) {
	c, err := s.postable(a.String("channel"))
	if err != nil {
		return nil, err
	}
	u := s.user(a.String("user"))
	if u == nil || !c.has(u.ID) || u.Deleted {
		return nil, &apiError{code: "user_not_in_channel"}
	}
	m, err := s.content(a)
	if err != nil {
		return nil, err
	}
	m.Channel, m.User, m.Bot, m.To, m.ThreadTS = c.ID, BotUserID, true, u.ID, a.String("thread_ts")
	return reply{"message_ts": s.post(m).TS}, nil
}

// chatGetPermalink returns a link to a message.
// See https://docs.slack.dev/reference/methods/chat.getPermalink.
func (s *Server) chatGetPermalink(a Args) (reply, error) {
	c := s.channel(a.String("channel"))
	if c == nil || c.ID != a.String("channel") || c.Private && !c.has(BotUserID) {
		return nil, &apiError{code: "channel_not_found"}
	}
	m := s.message(c.ID, a.String("message_ts"))
	if m == nil {
		return nil, &apiError{code: "message_not_found"}
	}
	link := "https://" + TeamDomain + ".slack.com/archives/" + c.ID + "/p" + strings.ReplaceAll(m.TS, ".", "")
	if m.ThreadTS != "" {
		link += "?thread_ts=" + m.ThreadTS + "&cid=" + c.ID
	}
	return reply{"channel": c.ID, "permalink": link}, nil
}

// postable finds the channel that the app may post to. A user's ID opens the direct messages with them.
func (s *Server) postable(channel string) (*Channel, error) {
	if u := s.user(channel); u != nil && u.ID == channel {
		if u.Deleted || u.Bot {
			return nil, &apiError{code: "channel_not_found"}
		}
		return s.dm(u.ID), nil
	}
	c := s.channel(channel)
	switch {
	case c == nil || c.Private && !c.has(BotUserID):
		return nil, &apiError{code: "channel_not_found"}
	case c.Archived:
		return nil, &apiError{code: "is_archived"}
	case !c.has(BotUserID) && !slices.Contains(s.scopes, "chat:write.public"):
		return nil, &apiError{code: "not_in_channel"}
	}
	return c, nil
}

// content reads what a message says: text, blocks and metadata.
func (s *Server) content(a Args) (Message, error) {
	m := Message{Text: a.String("text")}
	blocks, err := s.checkMessageBlocks(a["blocks"])
	if err != nil {
		return m, err
	}
	m.Blocks = blocks
	if m.Text == "" && len(m.Blocks) == 0 {
		return m, &apiError{code: "no_text"}
	}
	m.Metadata, err = metadata(a)
	return m, err
}

// metadata reads a message's metadata; an empty event type is none.
// See https://docs.slack.dev/messaging/message-metadata.
func metadata(a Args) (*Metadata, error) {
	if v, present := a["metadata"]; !present || v == nil || v == "" {
		return nil, nil
	}
	object, ok := a.object("metadata")
	if !ok {
		return nil, &apiError{code: "invalid_metadata_format"}
	}
	event, _ := object["event_type"].(string)
	payload, ok := object["event_payload"].(map[string]any)
	if event == "" && len(payload) == 0 {
		return nil, nil
	}
	if event == "" || !ok {
		return nil, &apiError{code: "invalid_metadata_schema"}
	}
	return &Metadata{EventType: event, EventPayload: payload}, nil
}
