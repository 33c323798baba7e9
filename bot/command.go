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
	"countersign/workflows"
)

// CommandGreet is the slash command that starts a greeting.
const CommandGreet = "/greet"

// nameLimit is how long a name may be that is greeted, in characters.
const nameLimit = 80

const greetUsage = "*/greet NAME* asks for approval to greet somebody in this channel, for instance `/greet World` or `/greet @alice`. " +
	"An approver clicks Approve or Reject on the card that appears."

// command deals with a slash command. Its answer is for the person alone, in the acknowledgement.
func (b *Bot) command(ctx context.Context, c command) reply {
	if c.Command != CommandGreet {
		return answer("I do not know the command " + card.Escape(c.Command, 40) + ". Try " + CommandGreet + ".")
	}
	name := argument(c.Text)
	if name == "" || strings.EqualFold(name, "help") {
		return answer(greetUsage)
	}
	if len([]rune(name)) > nameLimit {
		return answer("That name is too long: 80 characters at the most.")
	}
	if strings.HasPrefix(c.ChannelID, "D") {
		return answer("The approvers could not see a card here. Use " + CommandGreet + " in a channel that they are in, and I am too.")
	}
	if no := b.mayAsk(ctx, c.UserID); no != "" {
		return answer(string(no))
	}
	_, err := b.Temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                                       GreetingID(c.TriggerID),
		TaskQueue:                                b.TaskQueue,
		WorkflowIDReusePolicy:                    enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
	}, workflows.Greeting, workflows.GreetingInput{
		Greeting: "Hello", Name: name, Channel: c.ChannelID, RequestedBy: c.UserID,
	})
	var started *serviceerror.WorkflowExecutionAlreadyStarted
	if err != nil && !errors.As(err, &started) {
		b.Log.Warn("start a greeting", "user", c.UserID, "channel", c.ChannelID, "err", err)
		return answer("I could not confirm that your request was taken. If no card appears within a minute, please try again.")
	}
	return answer("I am asking for approval: the card appears in this channel in a moment.")
}

// GreetingID is the workflow ID of the greeting that a command starts. A redelivered command has the trigger of the
// first, and starts nothing twice.
func GreetingID(trigger string) string {
	sum := sha256.Sum256([]byte(trigger))
	return "greet-" + hex.EncodeToString(sum[:10])
}

// answer is the reply to a command that only the person sees. text is mrkdwn.
// https://docs.slack.dev/interactivity/implementing-slash-commands#responding_to_commands
func answer(text string) reply {
	return reply{ack: true, body: map[string]string{"response_type": "ephemeral", "text": text}}
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
