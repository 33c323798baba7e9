package bot

import (
	"encoding/json"
	"errors"
	"strings"

	"countersign/internal/card"
	"countersign/workflows"
)

// interaction is what we read of Slack's interaction payloads. The message that was clicked is never decoded: one
// block in it that we do not know must not lose the click.
// https://docs.slack.dev/reference/interaction-payloads
type interaction struct {
	Type string `json:"type"`
	User struct {
		ID       string `json:"id"`
		Name     string `json:"name"`
		Username string `json:"username"`
		TeamID   string `json:"team_id"` // the person's own workspace; team.id is where the app is installed
	} `json:"user"`
	Container struct {
		ChannelID string `json:"channel_id"`
		MessageTS string `json:"message_ts"`
	} `json:"container"`
	TriggerID   string `json:"trigger_id"`
	ResponseURL string `json:"response_url"`
	Actions     []struct {
		ActionID string `json:"action_id"`
		BlockID  string `json:"block_id"`
		Value    string `json:"value"`
	} `json:"actions"`
	View struct {
		CallbackID      string `json:"callback_id"`
		PrivateMetadata string `json:"private_metadata"`
		State           struct {
			Values map[string]map[string]struct {
				Value string `json:"value"`
			} `json:"values"`
		} `json:"state"`
	} `json:"view"`
}

// button returns the decision's button that was clicked; ok is false where it was another.
func (i interaction) button() (action, reference string, ok bool) {
	if len(i.Actions) != 1 || !i.ofDecision() {
		return "", "", false
	}
	a := i.Actions[0]
	return a.ActionID, a.Value, a.ActionID == card.ActionApprove || a.ActionID == card.ActionReject
}

// ofDecision says whether what was clicked stands among a decision's buttons.
func (i interaction) ofDecision() bool {
	return len(i.Actions) > 0 && strings.HasPrefix(i.Actions[0].BlockID, card.BlockDecision)
}

// card is the message that was clicked; zero where it was none.
func (i interaction) card() workflows.Card {
	return workflows.Card{Channel: i.Container.ChannelID, TS: i.Container.MessageTS}
}

// modal is what a modal keeps of the click that opened it: a submission comes with no message and no response URL.
type modal struct {
	Reference string `json:"reference"`
	Channel   string `json:"channel"`
	TS        string `json:"ts"`
}

// command is what we read of a slash command. https://docs.slack.dev/interactivity/implementing-slash-commands
type command struct {
	Command   string `json:"command"`
	Text      string `json:"text"`
	UserID    string `json:"user_id"`
	ChannelID string `json:"channel_id"`
	TriggerID string `json:"trigger_id"`
}

var errPayload = errors.New("not a payload of Slack's")

// decode reads a payload into v; one that lacks what all of its kind have is an error.
func decode[T interaction | command](payload []byte, complete func(T) bool) (v T, err error) {
	if json.Unmarshal(payload, &v) != nil || !complete(v) {
		return v, errPayload
	}
	return v, nil
}
