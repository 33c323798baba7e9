package slacksim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// ErrRefused is wrapped by every error that says that Slack's client would not let this person do that. Nothing has
// been sent to the app.
var ErrRefused = errors.New("slack refuses")

// slackbot is the author of what Slack itself says.
const slackbot = "USLACKBOT"

// Person is somebody at their Slack client, made by Server.Person. Unknown people can do nothing. Its methods wait for
// the app's acknowledgement, and not acknowledging is no error: look at Delivery.Acked.
type Person struct {
	sim     *Server
	id      string
	channel string
	forced  bool
	filled  map[string]any
}

// Person returns the person with that name or ID.
func (s *Server) Person(name string) Person {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := Person{sim: s}
	if u := s.user(name); u != nil {
		p.id = u.ID
	}
	return p
}

// ID returns the person's user ID, empty for unknown people.
func (p Person) ID() string { return p.id }

// In returns the person with a channel open, by name or ID.
func (p Person) In(channel string) Person {
	p.channel = channel
	return p
}

// DM returns the person with their direct messages with the app open.
func (p Person) DM() Person {
	p.sim.mu.Lock()
	defer p.sim.mu.Unlock()
	if p.sim.user(p.id) != nil {
		p.channel = p.sim.dm(p.id).ID
	}
	return p
}

// Channel returns the ID of the channel that the person has open.
func (p Person) Channel() string { return p.sim.Channel(p.channel).ID }

// Force returns the person freed of what Slack's client checks: they act though they are deactivated, a bot, not in
// the channel, or though the message or button is gone.
func (p Person) Force() Person {
	p.forced = true
	return p
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}

// at returns the person's user and the channel, if they may act there. The caller holds mu.
func (p Person) at(channel string) (*User, *Channel, error) {
	u, c := p.sim.user(p.id), p.sim.channel(channel)
	switch {
	case u == nil:
		return nil, nil, refuse("unknown person")
	case c == nil:
		return nil, nil, refuse("unknown channel %q", channel)
	case p.forced:
		return u, c, nil
	case u.Deleted:
		return nil, nil, refuse("%s is deactivated", u.Name)
	case u.Bot:
		return nil, nil, refuse("%s is a bot", u.Name)
	case !c.has(u.ID):
		return nil, nil, refuse("%s is not in %s", u.Name, channel)
	case c.Archived:
		return nil, nil, refuse("%s is archived", channel)
	}
	return u, c, nil
}

// Say posts a message of the person's own.
func (p Person) Say(text string) (Message, error) {
	p.sim.mu.Lock()
	defer p.sim.mu.Unlock()
	u, c, err := p.at(p.channel)
	if err != nil {
		return Message{}, err
	}
	return *p.sim.post(Message{Channel: c.ID, User: u.ID, Text: text}), nil
}

// Command sends a slash command as typed, "/greet World", and shows its answer as Slack does.
// See https://docs.slack.dev/interactivity/implementing-slash-commands.
func (p Person) Command(ctx context.Context, line string) (Delivery, error) {
	name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
	s := p.sim
	s.mu.Lock()
	o, err := p.command(name, strings.TrimSpace(text))
	s.mu.Unlock()
	if err != nil {
		return Delivery{}, err
	}
	d := s.deliver(ctx, o)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.showCommandAnswer(p, name, line, d)
	return d, nil
}

func (p Person) command(name, text string) (outgoing, error) {
	s := p.sim
	u, c, err := p.at(p.channel)
	if err != nil {
		return outgoing{}, err
	}
	if u.Stranger && !p.forced {
		return outgoing{}, refuse("%s is of another organisation, and cannot run slash commands", u.Name)
	}
	registered, raw := len(s.opts.Commands) == 0, false
	for _, command := range s.opts.Commands {
		if command.Name == name {
			registered, raw = true, command.Raw
		}
	}
	if !registered && !p.forced || !strings.HasPrefix(name, "/") {
		return outgoing{}, refuse("%s is not a valid command", name)
	}
	if !raw {
		text = s.escapeText(text)
	}
	channelName := c.Name
	switch {
	case c.DM:
		channelName = "directmessage"
	case c.Private:
		channelName = "privategroup"
	}
	o := outgoing{
		kind: SlashCommand, envelope: "slash_commands", user: u.ID, acceptsBody: true,
		triggerID: s.newTrigger(u.ID), responseURL: s.newResponder(u.ID, c.ID, ""),
	}
	o.payload = map[string]any{
		"token": verificationToken, "team_id": TeamID, "team_domain": TeamDomain,
		"channel_id": c.ID, "channel_name": channelName, "user_id": u.ID, "user_name": u.Name,
		"command": name, "text": text, "api_app_id": AppID, "is_enterprise_install": "false",
		"response_url": o.responseURL, "trigger_id": o.triggerID,
	}
	return o, nil
}

var (
	textEscaper  = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	mentionInput = regexp.MustCompile(`(^|[\s(])([@#])([\p{L}\p{N}._-]+)`)
	linkInput    = regexp.MustCompile(`https?://[^\s<>|]+`)
)

// escapeText turns what a person types into what a command with should_escape gets.
// See https://docs.slack.dev/interactivity/implementing-slash-commands/#escaping.
func (s *Server) escapeText(text string) string {
	text = textEscaper.Replace(text)
	text = linkInput.ReplaceAllString(text, "<$0>")
	return mentionInput.ReplaceAllStringFunc(text, func(found string) string {
		part := mentionInput.FindStringSubmatch(found)
		switch u, c := s.user(part[3]), s.channel(part[3]); {
		case part[2] == "@" && u != nil:
			return part[1] + "<@" + u.ID + "|" + u.Name + ">"
		case part[2] == "#" && c != nil && c.Private:
			return part[1] + "<#" + c.ID + "|>"
		case part[2] == "#" && c != nil:
			return part[1] + "<#" + c.ID + "|" + c.Name + ">"
		}
		for _, g := range s.groups {
			if part[2] == "@" && g.Handle == part[3] {
				return part[1] + "<!subteam^" + g.ID + "|@" + g.Handle + ">"
			}
		}
		return found
	})
}

// showCommandAnswer posts what the acknowledgement of a command says, or that there was none. The caller holds mu.
func (s *Server) showCommandAnswer(p Person, name, line string, d Delivery) {
	_, c, err := p.at(p.channel)
	if err != nil {
		return
	}
	fail := func(code string) {
		s.post(Message{Channel: c.ID, User: slackbot, To: p.id, Text: name + " failed with the error \"" + code + "\""})
	}
	if !d.Acked {
		fail(d.Error)
		return
	}
	answer, ok := answerOf(d.Response)
	if !ok {
		return
	}
	m, err := s.content(answer)
	if err != nil {
		fail("invalid_command_response")
		return
	}
	m.Channel, m.User, m.Bot, m.To = c.ID, BotUserID, true, p.id
	if answer.String("response_type") == "in_channel" {
		s.post(Message{Channel: c.ID, User: p.id, Text: line})
		m.To = ""
	}
	s.post(m)
}

// answerOf reads the body of an acknowledgement: an object, or text. There may be none.
func answerOf(body json.RawMessage) (Args, bool) {
	var answer Args
	if json.Unmarshal(body, &answer) == nil && len(answer) > 0 {
		return answer, true
	}
	var text string
	if json.Unmarshal(body, &text) == nil && text != "" {
		return Args{"text": text}, true
	}
	return nil, false
}

// Click presses the button with that action ID, or "block ID/action ID", on the message as it stands now. It says yes to
// a confirmation dialog. A button with a URL tells the app as well.
// See https://docs.slack.dev/reference/interaction-payloads/block_actions-payload.
func (p Person) Click(ctx context.Context, m Message, action string) (Delivery, error) {
	if now, ok := p.sim.Message(m.Channel, m.TS); ok && !p.forced {
		m = now
	}
	b, ok := m.Button(action)
	if !ok {
		return Delivery{}, refuse("no button %s on the message %q", action, m.Text)
	}
	return p.Press(ctx, m, b)
}

// Press presses a button of the message. With Force the message and the button are as given, though they may be gone
// or may never have been.
func (p Person) Press(ctx context.Context, m Message, b Button) (Delivery, error) {
	s := p.sim
	s.mu.Lock()
	o, err := p.press(m, b)
	s.mu.Unlock()
	if err != nil {
		return Delivery{}, err
	}
	return s.deliverFrom(ctx, m, o), nil
}

// deliverFrom delivers what was done to a message, which then warns if the app has not acknowledged it.
func (s *Server) deliverFrom(ctx context.Context, m Message, o outgoing) Delivery {
	d := s.deliver(ctx, o)
	s.mu.Lock()
	defer s.mu.Unlock()
	if stored := s.find(m.Channel, m.TS); stored != nil {
		stored.Warning = d.Error
		s.touch()
	}
	return d
}

func (p Person) press(m Message, b Button) (outgoing, error) {
	return p.interact(m, func(shown *Message) (map[string]any, error) {
		if found, ok := shown.Button(b.BlockID + "/" + b.ActionID); !p.forced && (!ok || found != b) {
			return nil, refuse("no button %s on the message %q", b.ActionID, shown.Text)
		}
		return p.sim.action(b), nil
	})
}

// interact is what goes to the app when the person acts on a message, as action says of the message that they see.
func (p Person) interact(m Message, action func(*Message) (map[string]any, error)) (outgoing, error) {
	s := p.sim
	u, c, err := p.at(m.Channel)
	if err != nil {
		return outgoing{}, err
	}
	shown := &m
	stored := s.find(m.Channel, m.TS)
	if !p.forced {
		if stored == nil || stored.To != "" && stored.To != u.ID {
			return outgoing{}, refuse("%s does not see the message %q", u.Name, m.Text)
		}
		shown = stored
	}
	acted, err := action(shown)
	if err != nil {
		return outgoing{}, err
	}
	state, err := s.state(shown.Blocks, p.filled, acted)
	if err != nil {
		return outgoing{}, err
	}
	o := outgoing{
		kind: BlockActions, envelope: "interactive", user: u.ID,
		triggerID: s.newTrigger(u.ID), responseURL: s.newResponder(u.ID, c.ID, m.TS),
	}
	container := map[string]any{
		"type": "message", "message_ts": m.TS, "channel_id": c.ID, "is_ephemeral": m.To != "",
	}
	if m.ThreadTS != "" {
		container["thread_ts"] = m.ThreadTS
	}
	channelName := c.Name
	if c.DM {
		channelName = "directmessage"
	}
	payload := s.interaction(u, BlockActions, o.triggerID)
	payload["container"] = container
	payload["channel"] = map[string]any{"id": c.ID, "name": channelName}
	payload["state"] = map[string]any{"values": state}
	payload["response_url"] = o.responseURL
	payload["actions"] = []any{acted}
	if m.To == "" {
		payload["message"] = s.wire(shown, true)
	}
	o.payload = payload
	return o, nil
}

// interaction is what all interactions have in common. The caller holds mu.
func (s *Server) interaction(u *User, kind DeliveryKind, triggerID string) map[string]any {
	return map[string]any{
		"type":       kind,
		"user":       map[string]any{"id": u.ID, "username": u.Name, "name": u.Name, "team_id": u.TeamID},
		"api_app_id": AppID, "token": verificationToken, "trigger_id": triggerID,
		"team":       map[string]any{"id": TeamID, "domain": TeamDomain},
		"enterprise": nil, "is_enterprise_install": false,
	}
}

func (s *Server) action(b Button) map[string]any {
	a := map[string]any{
		"type": "button", "action_id": b.ActionID, "block_id": b.BlockID, "action_ts": s.newTS(),
		"text": map[string]any{"type": "plain_text", "text": b.Text, "emoji": true},
	}
	for key, v := range map[string]string{"value": b.Value, "style": b.Style, "url": b.URL} {
		if v != "" {
			a[key] = v
		}
	}
	return a
}

// Ephemerals returns the messages that only this person sees, in a channel, or everywhere if it is empty.
func (p Person) Ephemerals(channel string) []Message {
	id := p.sim.Channel(channel).ID
	var private []Message
	for _, m := range p.sim.State().Messages {
		if m.To == p.id && (channel == "" || m.Channel == id) {
			private = append(private, m)
		}
	}
	return private
}

// WaitEphemeral waits for a message that only this person sees, in any channel, and that match accepts.
func (p Person) WaitEphemeral(ctx context.Context, match func(Message) bool) (Message, error) {
	return p.sim.waitMessage(ctx, func(m Message) bool { return m.To == p.id && match(m) })
}
