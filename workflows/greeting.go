package workflows

import (
	"fmt"
	"strings"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// GreetingInput is the input of [Greeting].
type GreetingInput struct {
	Greeting    string `json:"greeting"`     // "Hello"; empty means that
	Name        string `json:"name"`         // untrusted text; "<@U…>" is shown as a person
	Channel     string `json:"channel"`      // Slack channel ID
	RequestedBy string `json:"requested_by"` // Slack user ID; may be empty
}

// GreetingMessage is an approved greeting to be posted.
type GreetingMessage struct {
	Channel string `json:"channel"`
	Text    string `json:"text"` // untrusted
}

// Greeting asks a person whether to greet somebody, and does so. It returns the greeting, "Hello, World!".
//
// It fails with an application error of type [ErrTypeRejected], whose details are the [Decision], or [ErrTypeExpired],
// or one of those that [Requests.Ask] gives; it ends cancelled where its caller cancels it, or its requester withdraws it, before
// the decision.
func Greeting(ctx workflow.Context, in GreetingInput) (string, error) {
	if in.Greeting == "" {
		in.Greeting = "Hello"
	}
	if strings.TrimSpace(in.Name) == "" {
		return "", InvalidRequestError("name is empty: say whom to greet")
	}
	greeting := fmt.Sprintf("%s, %s!", in.Greeting, in.Name)
	res, err := NewRequests(ctx).ask(ctx, Request{
		Title:     "Greet " + in.Name,
		Fields:    []Field{{Label: "Will be posted in this channel", Value: greeting}},
		Channel:   in.Channel,
		Requester: in.RequestedBy,
	}, true)
	if err != nil {
		return "", err
	}
	switch res.Outcome {
	case Approved:
		// What was approved is done, even where a cancellation came after the decision.
		after, _ := workflow.NewDisconnectedContext(ctx)
		msg := GreetingMessage{Channel: in.Channel, Text: greeting}
		if err := workflow.ExecuteActivity(quick(after, closeKeepTrying), PostGreeting, msg).Get(after, nil); err != nil {
			return "", err
		}
		return greeting, nil
	case Rejected:
		d, _ := res.Decision()
		return "", RejectedError(d)
	case Expired:
		return "", temporal.NewApplicationErrorWithOptions("nobody decided in time", ErrTypeExpired,
			temporal.ApplicationErrorOptions{NonRetryable: true, Category: temporal.ApplicationErrorCategoryBenign})
	default:
		return "", temporal.NewCanceledError()
	}
}
