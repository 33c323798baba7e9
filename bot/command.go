package bot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"countersign/internal/card"
	"countersign/internal/slackapi"
	"countersign/workflows"
)

// The slash commands.
const (
	CommandGreet    = "/greet"    // starts a greeting
	CommandApproval = "/approval" // asks for an approval, and shows and changes those there are
)

// EventHomeOpened is what Slack sends where somebody opens the app's home.
// https://docs.slack.dev/reference/events/app_home_opened
const EventHomeOpened = "app_home_opened"

// Command is a slash command, as the app's manifest has it and as people see it where they type one.
// https://docs.slack.dev/reference/app-manifest#slash_commands
type Command struct {
	Name        string // with its slash
	Description string
	UsageHint   string
	do          func(*Bot, context.Context, command) reply
}

// Commands are all slash commands, in the order of the manifest.
func Commands() []Command {
	return []Command{
		{CommandGreet, "Ask for approval to greet somebody", "NAME", (*Bot).greet},
		{
			CommandApproval, "Ask for an approval, or see those there are",
			"[list | show ID | withdraw ID | extend ID 2h | delegate ID @alice | help]", (*Bot).approval,
		},
	}
}

// Events are the events that the app subscribes to, in the order of the manifest.
func Events() []string { return []string{EventHomeOpened} }

// nameLimit is how long a name may be that is greeted, in characters.
const nameLimit = 80

const greetUsage = "*/greet NAME* asks for approval to greet somebody in this channel, for instance `/greet World` or `/greet @alice`. " +
	"An approver clicks Approve or Reject on the card that appears."

// command deals with a slash command. Its answer is for the person alone, in the acknowledgement.
func (b *Bot) command(ctx context.Context, c command) reply {
	for _, known := range Commands() {
		if known.Name == c.Command {
			return known.do(b, ctx, c)
		}
	}
	return answer("I do not know the command " + card.Escape(c.Command, 40) + ". Try " + CommandApproval + " or " + CommandGreet + ".")
}

// greet starts a greeting.
func (b *Bot) greet(ctx context.Context, c command) reply {
	name := argument(c.Text)
	if name == "" || strings.EqualFold(name, "help") {
		return answer(greetUsage)
	}
	if len([]rune(name)) > nameLimit {
		return answer("That name is too long: 80 characters at the most.")
	}
	if strings.HasPrefix(c.ChannelID, "D") {
		return answer(notHere(CommandGreet))
	}
	if no := b.mayAsk(ctx, c.UserID); no != "" {
		return answer(string(no))
	}
	err := b.begin(ctx, GreetingID(c.TriggerID), "Greet "+name, workflows.Greeting, workflows.GreetingInput{
		Greeting: "Hello", Name: name, Channel: c.ChannelID, RequestedBy: c.UserID,
	})
	if err != nil {
		b.Log.Warn("start a greeting", "user", c.UserID, "channel", c.ChannelID, "err", err)
		return answer("I could not confirm that your request was taken. If no card appears within a minute, please try again.")
	}
	return answer("I am asking for approval: the card appears in this channel in a moment.")
}

// begin starts a workflow, once for each ID. https://docs.temporal.io/workflow-execution/workflowid-runid
func (b *Bot) begin(ctx context.Context, id, summary string, workflow, input any) error {
	_, err := b.Temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                                       id,
		TaskQueue:                                b.Records.TaskQueue,
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		StaticSummary:                            workflows.Summary(summary),
	}, workflow, input)
	var started *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &started) {
		return nil
	}
	return err
}

// GreetingID is the workflow ID of the greeting that a command starts. A redelivered command has the trigger of the
// first, and starts nothing twice.
func GreetingID(trigger string) string { return "greet-" + short(trigger) }

// ApprovalID is the workflow ID of the approval that a form starts, by the command's trigger that opened it. A form that
// is submitted twice starts nothing twice. A view's ID would do so too, but is not said to be unique among workspaces.
func ApprovalID(trigger string) string { return "approval-" + short(trigger) }

func short(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:10])
}

func notHere(command string) string {
	return "The approvers could not see a card here. Use " + command + " in a channel that they are in, and I am too."
}

// answer is the reply to a command that only the person sees. text is mrkdwn.
// https://docs.slack.dev/interactivity/implementing-slash-commands#responding_to_commands
func answer(text string) reply {
	body := map[string]any{"response_type": "ephemeral", "blocks": slackapi.Said(text), "unfurl_links": false, "unfurl_media": false}
	if fits(text, answerBytes/2) { // Longer ones have no room to be said twice: the blocks say it, to screen readers too.
		body["text"] = text
	}
	return reply{ack: true, body: body}
}

// argument reads the text of a command as a person meant it: spaces and quotation marks that keyboards put in are made
// plain, and a pair of quotation marks around all of it goes. People are left as "<@U…>".
func argument(text string) string {
	text = strings.NewReplacer("“", `"`, "”", `"`, "„", `"`, "«", `"`, "»", `"`, "‘", "'", "’", "'", "‚", "'").Replace(text)
	text = card.Clean(card.Typed(text), 3000)
	for _, q := range []string{`"`, "'"} {
		if len(text) > 1 && strings.HasPrefix(text, q) && strings.HasSuffix(text, q) {
			return strings.TrimSpace(text[1 : len(text)-1])
		}
	}
	return text
}
