package slacksim

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Block is one Block Kit block or element, as it came over the wire. Do not change it.
type Block map[string]any

// Metadata is a message's metadata.
// See https://docs.slack.dev/messaging/message-metadata.
type Metadata struct {
	EventType    string         `json:"event_type"`
	EventPayload map[string]any `json:"event_payload,omitempty"`
}

// Message is one message as it stands, a copy that does not follow later changes.
type Message struct {
	Channel  string // ID
	TS       string
	ThreadTS string // of the parent, on a reply
	User     string // ID of the author
	Bot      bool   // posted by the app
	Text     string
	Blocks   []Block
	Metadata *Metadata

	// To is the ID of the only user who sees the message, empty for everyone in the channel.
	To string

	// Edits counts updates. Edited is whether Slack shows "(edited)": the last update had no blocks.
	Edits  int
	Edited bool

	// Warning is what the person sees beside a button of this message whose last click was not acknowledged.
	Warning string
}

// Button is a button of a message or view.
type Button struct {
	BlockID  string
	ActionID string
	Text     string
	Value    string
	Style    string
	URL      string
	Confirm  string // what the dialog asks before the app hears of a click; empty without one
}

// Option is what can be chosen in an overflow menu, in a menu, or among checkboxes.
type Option struct {
	Text  string
	Value string
}

// Buttons returns the message's buttons, in order.
func (m Message) Buttons() []Button { return buttons(m.Blocks) }

// Button returns the button named by an action ID, or by block ID, slash, action ID.
func (m Message) Button(action string) (Button, bool) { return findButton(m.Blocks, action) }

// Options returns what can be chosen in the message's element of that action ID, or block ID, slash, action ID.
func (m Message) Options(action string) []Option { return findOptions(m.Blocks, action) }

// PlainText returns the text of all blocks, one line per block and item of a list, without the texts of buttons and inputs. People stand
// in it as <@U…>, groups as <!subteam^S…>, dates of rich text as their fallback. Without blocks it is Text.
func (m Message) PlainText() string {
	if len(m.Blocks) == 0 {
		return m.Text
	}
	return plainText(m.Blocks)
}

// Contains matches messages with s in their text or blocks.
func Contains(s string) func(Message) bool {
	return func(m Message) bool { return strings.Contains(m.Text, s) || strings.Contains(m.PlainText(), s) }
}

// HasButton matches messages with a button of that action ID.
func HasButton(action string) func(Message) bool {
	return func(m Message) bool { _, ok := m.Button(action); return ok }
}

// HasOption matches messages with that value to choose in the element of that action ID.
func HasOption(action, value string) func(Message) bool {
	return func(m Message) bool {
		return slices.ContainsFunc(m.Options(action), func(o Option) bool { return o.Value == value })
	}
}

func findButton(blocks []Block, action string) (Button, bool) {
	for _, b := range buttons(blocks) {
		if b.ActionID == action || b.BlockID+"/"+b.ActionID == action {
			return b, true
		}
	}
	return Button{}, false
}

func buttons(blocks []Block) []Button {
	var all []Button
	for _, b := range blocks {
		for _, e := range elementsOf(b) {
			if e.str("type") == "button" {
				all = append(all, Button{
					BlockID:  b.str("block_id"),
					ActionID: e.str("action_id"),
					Text:     e.object("text").str("text"),
					Value:    e.str("value"),
					Style:    e.str("style"),
					URL:      e.str("url"),
					Confirm:  e.object("confirm").object("text").str("text"),
				})
			}
		}
	}
	return all
}

func findOptions(blocks []Block, action string) []Option {
	for _, b := range blocks {
		for _, e := range elementsOf(b) {
			if id := e.str("action_id"); id != action && b.str("block_id")+"/"+id != action {
				continue
			}
			var options []Option
			for _, o := range e.list("options") {
				options = append(options, Option{Text: o.object("text").str("text"), Value: o.str("value")})
			}
			return options
		}
	}
	return nil
}

// elementsOf returns the interactive elements of a block.
func elementsOf(b Block) []Block {
	switch b.str("type") {
	case "actions":
		return b.list("elements")
	case "section":
		if e := b.object("accessory"); e != nil {
			return []Block{e}
		}
	case "input":
		return []Block{b.object("element")}
	}
	return nil
}

func plainText(blocks []Block) string {
	var lines []string
	add := func(s string) {
		if s != "" {
			lines = append(lines, s)
		}
	}
	for _, b := range blocks {
		switch b.str("type") {
		case "section":
			add(b.object("text").str("text"))
			for _, f := range b.list("fields") {
				add(f.str("text"))
			}
		case "header":
			add(b.object("text").str("text"))
		case "context":
			var parts []string
			for _, e := range b.list("elements") {
				if e.str("type") != "image" {
					parts = append(parts, e.str("text"))
				}
			}
			add(strings.Join(parts, " "))
		case "input":
			add(b.object("label").str("text"))
		case "image":
			add(b.str("alt_text"))
		case "rich_text":
			for _, e := range b.list("elements") {
				add(richText(e))
			}
		}
	}
	return strings.Join(lines, "\n")
}

func richText(e Block) string {
	switch e.str("type") {
	case "text":
		return e.str("text")
	case "user":
		return "<@" + e.str("user_id") + ">"
	case "usergroup":
		return "<!subteam^" + e.str("usergroup_id") + ">"
	case "channel":
		return "<#" + e.str("channel_id") + ">"
	case "emoji":
		return ":" + e.str("name") + ":"
	case "broadcast":
		return "<!" + e.str("range") + ">"
	case "link":
		if text := e.str("text"); text != "" {
			return text
		}
		return e.str("url")
	case "color":
		return e.str("value")
	case "date":
		if fallback := e.str("fallback"); fallback != "" {
			return fallback
		}
		return fmt.Sprint(e["timestamp"])
	case "rich_text_list":
		var lines []string
		for _, item := range e.list("elements") {
			lines = append(lines, richText(item))
		}
		return strings.Join(lines, "\n")
	}
	var text strings.Builder
	for _, part := range e.list("elements") {
		text.WriteString(richText(part))
	}
	return text.String()
}

func (b Block) str(key string) string {
	s, _ := b[key].(string)
	return s
}

func (b Block) object(key string) Block {
	m, _ := b[key].(map[string]any)
	return m
}

func (b Block) list(key string) []Block {
	items, _ := b[key].([]any)
	blocks := make([]Block, 0, len(items))
	for _, item := range items {
		m, _ := item.(map[string]any)
		blocks = append(blocks, m)
	}
	return blocks
}

// message finds a message that everyone in the channel sees. The caller holds mu, here and below.
func (s *Server) message(channel, ts string) *Message {
	for _, m := range s.messages {
		if m.Channel == channel && m.TS == ts && m.To == "" {
			return m
		}
	}
	return nil
}

// find is message, and finds private messages as well.
func (s *Server) find(channel, ts string) *Message {
	for _, m := range s.messages {
		if m.Channel == channel && m.TS == ts {
			return m
		}
	}
	return nil
}

// post stores m with a new timestamp. A reply to a parent that is gone stands by itself, as in Slack.
func (s *Server) post(m Message) *Message {
	if m.ThreadTS != "" {
		parent := s.message(m.Channel, m.ThreadTS)
		switch {
		case parent == nil && !slices.ContainsFunc(s.messages, func(o *Message) bool {
			return o.Channel == m.Channel && o.ThreadTS == m.ThreadTS
		}):
			m.ThreadTS = ""
		case parent != nil && parent.ThreadTS != "":
			m.ThreadTS = parent.ThreadTS
		}
	}
	m.TS = s.newTS()
	s.messages = append(s.messages, &m)
	s.touch()
	return &m
}

func (s *Server) remove(m *Message) {
	s.messages = slices.DeleteFunc(s.messages, func(o *Message) bool { return o == m })
	s.touch()
}

// replies returns what stands in the thread under ts, oldest first.
func (s *Server) replies(channel, ts string) []*Message {
	var replies []*Message
	for _, m := range s.messages {
		if m.Channel == channel && m.ThreadTS == ts && m.To == "" {
			replies = append(replies, m)
		}
	}
	return replies
}

// wire is the message as Slack's API returns it. With fullMetadata the payload of its metadata is in it.
func (s *Server) wire(m *Message, fullMetadata bool) map[string]any {
	w := map[string]any{"type": "message", "user": m.User, "ts": m.TS, "text": m.Text, "team": TeamID}
	if m.Bot {
		w["bot_id"], w["app_id"] = BotID, AppID
	}
	if len(m.Blocks) > 0 {
		w["blocks"] = m.Blocks
	}
	if m.ThreadTS != "" {
		w["thread_ts"] = m.ThreadTS
	}
	if m.Edited {
		w["edited"] = map[string]any{"user": m.User, "ts": m.TS}
	}
	if m.Metadata != nil {
		meta := *m.Metadata
		if !fullMetadata {
			meta.EventPayload = nil
		}
		w["metadata"] = meta
	}
	if replies := s.replies(m.Channel, m.TS); len(replies) > 0 {
		w["thread_ts"], w["reply_count"], w["latest_reply"] = m.TS, len(replies), replies[len(replies)-1].TS
	}
	return w
}

// toJSON encodes what the stand-in itself has put together, which always encodes.
func toJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage("null")
	}
	return b
}
