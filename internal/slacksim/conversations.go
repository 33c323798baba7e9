package slacksim

import (
	"encoding/base64"
	"math"
	"slices"
	"strconv"
	"strings"
)

// conversationsHistory lists the messages that are not in threads, newest first.
// See https://docs.slack.dev/reference/methods/conversations.history.
func (s *Server) conversationsHistory(a Args) (reply, error) {
	c, err := s.readable(a.String("channel"), "history")
	if err != nil {
		return nil, err
	}
	var all []*Message
	for _, m := range s.messages {
		if m.Channel == c.ID && m.To == "" && m.ThreadTS == "" {
			all = append(all, m)
		}
	}
	slices.Reverse(all)
	r, err := s.pageOf(all, a, 100)
	if err == nil {
		r["pin_count"] = 0
	}
	return r, err
}

// conversationsReplies lists a parent and its thread, oldest first.
// See https://docs.slack.dev/reference/methods/conversations.replies.
func (s *Server) conversationsReplies(a Args) (reply, error) {
	c, err := s.readable(a.String("channel"), "history")
	if err != nil {
		return nil, err
	}
	ts := a.String("ts")
	parent := s.message(c.ID, ts)
	if parent != nil && parent.ThreadTS != "" {
		ts = parent.ThreadTS
		parent = s.message(c.ID, ts)
	}
	all := s.replies(c.ID, ts)
	if parent != nil {
		all = append([]*Message{parent}, all...)
	}
	if len(all) == 0 {
		return nil, &apiError{code: "thread_not_found"}
	}
	return s.pageOf(all, a, 1000)
}

// pageOf returns the part of all that oldest, latest, inclusive, limit and cursor ask for.
// See https://docs.slack.dev/apis/web-api/pagination.
func (s *Server) pageOf(all []*Message, a Args, limit int) (reply, error) {
	oldest, latest := int64(0), int64(math.MaxInt64)
	for key, bound := range map[string]*int64{"oldest": &oldest, "latest": &latest} {
		if v := a.String(key); v != "" {
			ts, ok := parseTS(v)
			if !ok {
				return nil, &apiError{code: "invalid_ts_" + key}
			}
			*bound = ts
		}
	}
	inclusive := a.bool("inclusive")
	limit, start, err := paging(a, limit)
	if err != nil {
		return nil, err
	}
	var within []*Message
	for _, m := range all {
		ts, _ := parseTS(m.TS)
		if ts > oldest && ts < latest || inclusive && (ts == oldest || ts == latest) {
			within = append(within, m)
		}
	}
	if start != "" {
		i := slices.IndexFunc(within, func(m *Message) bool { return m.TS == start })
		if i < 0 {
			return nil, &apiError{code: "invalid_cursor"}
		}
		within = within[i:]
	}
	r := reply{"has_more": len(within) > limit}
	if len(within) > limit {
		r["response_metadata"] = map[string]any{"next_cursor": cursor(within[limit].TS)}
		within = within[:limit]
	}
	messages := make([]map[string]any, len(within))
	for i, m := range within {
		messages[i] = s.wire(m, a.bool("include_all_metadata"))
	}
	r["messages"] = messages
	return r, nil
}

const cursorPrefix = "next_ts:"

func cursor(next string) string {
	return base64.StdEncoding.EncodeToString([]byte(cursorPrefix + next))
}

// paging reads limit and cursor.
func paging(a Args, limit int) (int, string, error) {
	if v := a.String("limit"); v != "" && v != "0" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > 999 {
			return 0, "", &apiError{code: "invalid_limit"}
		}
		limit = n
	}
	v := a.String("cursor")
	if v == "" {
		return limit, "", nil
	}
	b, err := base64.StdEncoding.DecodeString(v)
	next, ok := strings.CutPrefix(string(b), cursorPrefix)
	if err != nil || !ok {
		return 0, "", &apiError{code: "invalid_cursor"}
	}
	return limit, next, nil
}

// conversationsInfo describes a channel.
// See https://docs.slack.dev/reference/methods/conversations.info.
func (s *Server) conversationsInfo(a Args) (reply, error) {
	c, err := s.visible(a.String("channel"), "read")
	if err != nil {
		return nil, err
	}
	return reply{"channel": s.wireChannel(c)}, nil
}

// usersConversations lists the channels that the app is in; of public and private ones each kind needs its scope.
// See https://docs.slack.dev/reference/methods/users.conversations.
func (s *Server) usersConversations(a Args) (reply, error) {
	kinds := strings.Split(a.String("types"), ",")
	if a.String("types") == "" {
		kinds = []string{"public_channel"}
	}
	needs := map[string]string{"public_channel": "channels:read", "private_channel": "groups:read"}
	for _, kind := range kinds {
		if needs[kind] == "" {
			return nil, &apiError{code: "invalid_types"}
		}
		if err := s.need(needs[kind]); err != nil {
			return nil, err
		}
	}
	limit, start, err := paging(a, 100)
	if err != nil {
		return nil, err
	}
	channels, next := []any{}, ""
	for _, c := range s.channels {
		kind := "public_channel"
		if c.Private {
			kind = "private_channel"
		}
		switch {
		case c.DM || !c.has(BotUserID) || !slices.Contains(kinds, kind) || c.Archived && a.bool("exclude_archived"):
		case start != "" && c.ID != start:
		case len(channels) == limit:
			next = cursor(c.ID)
		default:
			start = ""
			channels = append(channels, s.wireChannel(c))
		}
		if next != "" {
			break
		}
	}
	return reply{"channels": channels, "response_metadata": map[string]any{"next_cursor": next}}, nil
}

// conversationsMembers lists who is in a channel.
// See https://docs.slack.dev/reference/methods/conversations.members.
func (s *Server) conversationsMembers(a Args) (reply, error) {
	c, err := s.visible(a.String("channel"), "read")
	if err != nil {
		return nil, err
	}
	limit, start, err := paging(a, 100)
	if err != nil {
		return nil, err
	}
	members := slices.DeleteFunc(slices.Clone(c.Members), func(id string) bool { return s.user(id).Deleted })
	members = members[max(0, slices.Index(members, start)):]
	next := ""
	if len(members) > limit {
		next = cursor(members[limit])
		members = members[:limit]
	}
	return reply{"members": members, "response_metadata": map[string]any{"next_cursor": next}}, nil
}

// conversationsOpen opens the direct messages with one user.
// See https://docs.slack.dev/reference/methods/conversations.open.
func (s *Server) conversationsOpen(a Args) (reply, error) {
	users := strings.Split(a.String("users"), ",")
	if len(users) > 1 {
		return nil, &apiError{code: "missing_scope", needed: "mpim:write"}
	}
	if err := s.need("im:write"); err != nil {
		return nil, err
	}
	if c := s.channel(a.String("channel")); c != nil && c.DM && c.ID == a.String("channel") {
		return reply{"no_op": true, "already_open": true, "channel": s.wireChannel(c)}, nil
	}
	u := s.user(users[0])
	switch {
	case u == nil || u.ID != users[0]:
		return nil, &apiError{code: "user_not_found"}
	case u.Deleted:
		return nil, &apiError{code: "user_disabled"}
	case u.Bot:
		return nil, &apiError{code: "cannot_dm_bot"}
	}
	return reply{"channel": s.wireChannel(s.dm(u.ID))}, nil
}

// visible finds a channel that the app may know of, and checks the scope for its kind: public and private channels
// and direct messages each have their own.
func (s *Server) visible(channel, right string) (*Channel, error) {
	c := s.channel(channel)
	if c == nil || c.ID != channel {
		return nil, &apiError{code: "channel_not_found"}
	}
	kind := "channels:"
	switch {
	case c.DM:
		kind = "im:"
	case c.Private:
		kind = "groups:"
	}
	if err := s.need(kind + right); err != nil {
		return nil, err
	}
	if c.Private && !c.has(BotUserID) {
		return nil, &apiError{code: "channel_not_found"}
	}
	return c, nil
}

// readable is visible for channels whose messages the app may read.
func (s *Server) readable(channel, right string) (*Channel, error) {
	c, err := s.visible(channel, right)
	if err == nil && !c.has(BotUserID) {
		return nil, &apiError{code: "not_in_channel"}
	}
	return c, err
}

func (s *Server) wireChannel(c *Channel) map[string]any {
	w := map[string]any{
		"id": c.ID, "created": 1735689600, "is_archived": c.Archived, "is_im": c.DM, "is_org_shared": false,
		"context_team_id": TeamID,
	}
	if c.DM {
		w["user"], w["is_open"] = c.Members[1], true
		return w
	}
	for key, v := range map[string]any{
		"name": c.Name, "name_normalized": c.Name, "creator": "U0ALICE001",
		"is_channel": !c.Private, "is_group": c.Private, "is_mpim": false, "is_private": c.Private,
		"is_general": c.Name == "general", "is_member": c.has(BotUserID), "num_members": len(c.Members),
		"is_shared": c.Shared, "is_ext_shared": c.Shared, "is_pending_ext_shared": false, "pending_shared": []string{},
		"topic":   map[string]any{"value": "", "creator": "", "last_set": 0},
		"purpose": map[string]any{"value": "", "creator": "", "last_set": 0},
	} {
		w[key] = v
	}
	return w
}
