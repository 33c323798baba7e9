package bot

import (
	"cmp"
	"errors"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"countersign/internal/card"
	"countersign/workflows"
)

// interaction is what we read of Slack's interaction payloads. The message that was clicked is never decoded: one
// block in it that we do not know must not lose the click.
// https://docs.slack.dev/reference/interaction-payloads
type interaction struct {
	addressee
	Type string `json:"type"`
	User struct {
		ID       string `json:"id"`
		Name     string `json:"name"`
		Username string `json:"username"`
		TeamID   string `json:"team_id"` // the person's own workspace; team.id is where the app is installed
	} `json:"user"`
	Container struct {
		Type      string `json:"type"` // "message" or "view"
		ChannelID string `json:"channel_id"`
		MessageTS string `json:"message_ts"`
	} `json:"container"`
	TriggerID   string `json:"trigger_id"`
	ResponseURL string `json:"response_url"`
	Actions     []struct {
		ActionID string `json:"action_id"`
		BlockID  string `json:"block_id"`
		Value    string `json:"value"`
		Selected option `json:"selected_option"`
	} `json:"actions"`
	View struct {
		ID              string `json:"id"`
		CallbackID      string `json:"callback_id"`
		PrivateMetadata string `json:"private_metadata"`
		State           struct {
			Values map[string]map[string]input `json:"values"`
		} `json:"state"`
	} `json:"view"`
	// Message is read only where a menu on it was used, which carries no reference itself.
	Message jsontext.Value `json:"message"`
}

type option struct {
	Value string `json:"value"`
}

// input is what a person filled in, whatever kind of element it is.
// https://docs.slack.dev/reference/interaction-payloads/view-interactions-payload
type input struct {
	Value  string   `json:"value"`
	Option option   `json:"selected_option"`
	Date   string   `json:"selected_date"`
	User   string   `json:"selected_user"`
	Users  []string `json:"selected_users"`
}

// filled is what was filled in; block and action have one ID.
func (i interaction) filled(block string) input { return i.View.State.Values[block][block] }

// text is what was filled in, as text.
func (in input) text() string { return cmp.Or(in.Value, in.Option.Value, in.Date, in.User) }

// button returns the decision's button that was clicked; ok is false where it was another.
func (i interaction) button() (action, reference string, ok bool) {
	if len(i.Actions) != 1 || !i.ofDecision() {
		return "", "", false
	}
	a := i.Actions[0]
	_, approves := card.Option(a.ActionID)
	return a.ActionID, a.Value, approves || a.ActionID == card.ActionReject
}

// ofDecision says whether what was clicked stands among a decision's buttons.
func (i interaction) ofDecision() bool {
	return len(i.Actions) > 0 && strings.HasPrefix(i.Actions[0].BlockID, card.BlockDecision)
}

// menu returns what was chosen in the card's menu, and the reference of the buttons beside it; ok is false where
// something else was clicked.
func (i interaction) menu() (chosen workflows.ChangeKind, reference string, ok bool) {
	if len(i.Actions) != 1 || !i.ofDecision() || i.Actions[0].ActionID != card.ActionMore {
		return "", "", false
	}
	// What cannot be read has no reference, and where there is none the person is told.
	var m struct {
		Blocks []jsontext.Value `json:"blocks"`
	}
	_ = json.Unmarshal(i.Message, &m, halved)
	for _, raw := range m.Blocks {
		var block struct {
			BlockID  string           `json:"block_id"`
			Elements []jsontext.Value `json:"elements"`
		}
		_ = json.Unmarshal(raw, &block, halved)
		for _, raw := range block.Elements {
			var b struct {
				ActionID string `json:"action_id"`
				Value    string `json:"value"`
			}
			_ = json.Unmarshal(raw, &b, halved)
			if block.BlockID == i.Actions[0].BlockID && b.ActionID == card.ActionReject {
				reference = b.Value
			}
		}
	}
	return workflows.ChangeKind(i.Actions[0].Selected.Value), reference, true
}

// atHome says whether it happened in the app's home, where there is no message and no response URL.
func (i interaction) atHome() bool { return i.Container.Type == "view" && i.Type == "block_actions" }

// card is the message that was clicked; zero where it was none.
func (i interaction) card() workflows.Card {
	return workflows.Card{Channel: i.Container.ChannelID, TS: i.Container.MessageTS}
}

// modal is what a modal keeps of the click that opened it: a submission comes with no message and no response URL.
type modal struct {
	Reference string `json:"reference,omitempty"`
	Channel   string `json:"channel,omitempty"`
	TS        string `json:"ts,omitempty"`
	// Action is the button that was clicked; Home says that it is in the app's home.
	Action string `json:"action,omitempty"`
	Home   bool   `json:"home,omitempty"`
	// Trigger is of the command that opened a request's form.
	Trigger string `json:"trigger,omitempty"`
}

// command is what we read of a slash command. https://docs.slack.dev/interactivity/implementing-slash-commands
type command struct {
	addressee
	Command   string `json:"command"`
	Text      string `json:"text"`
	UserID    string `json:"user_id"`
	UserName  string `json:"user_name"`
	ChannelID string `json:"channel_id"`
	TriggerID string `json:"trigger_id"`
}

// addressee is for whom a payload is: the app, and the workspace that it is installed in.
// https://docs.slack.dev/authentication/verifying-requests-from-slack
type addressee struct {
	App  string `json:"api_app_id"`
	Team struct {
		ID string `json:"id"`
	} `json:"team"` // in interactions
	TeamID string `json:"team_id"` // in commands and events
}

// team is the workspace; empty where the payload names none.
func (a addressee) team() string { return cmp.Or(a.Team.ID, a.TeamID) }

// halved reads half an emoji, where a text was cut: it must not lose a click.
var halved = jsontext.AllowInvalidUTF8(true)

var errPayload = errors.New("not a payload of Slack's")

// eventPayload is what we read of an event. https://docs.slack.dev/apis/events-api#event-type-structure
type eventPayload struct {
	addressee
	Event struct {
		Type string `json:"type"`
		User string `json:"user"`
		Tab  string `json:"tab"`
	} `json:"event"`
}

// envelope is what comes by a socket. https://docs.slack.dev/apis/events-api/using-socket-mode#events
type envelope struct {
	Type       kind           `json:"type"`
	EnvelopeID string         `json:"envelope_id"`
	Payload    jsontext.Value `json:"payload"`
	Reason     string         `json:"reason"` // of a disconnect
}

// decode reads a payload into v; one that lacks what all of its kind have is an error.
func decode[T interaction | command | eventPayload | envelope](payload []byte, complete func(T) bool) (v T, err error) {
	if json.Unmarshal(payload, &v, halved) != nil || !complete(v) {
		return v, errPayload
	}
	return v, nil
}
