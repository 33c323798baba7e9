package worker

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"countersign/internal/codec"
	"countersign/internal/record"
	"countersign/internal/reference"
	"countersign/internal/slackapi"
)

// Settings are what [Connect] makes [Deps] of, for a worker of another program.
type Settings struct {
	Temporal client.Client
	// Data and Failures are the converters of that client; nil means the SDK's defaults.
	Data     converter.DataConverter
	Failures converter.FailureConverter
	// SlackBotToken is the Bot User OAuth Token (xoxb-).
	SlackBotToken string
	// SlackAPIURL is the start of every method's URL, and ends in "/"; empty means Slack's own.
	SlackAPIURL string
	// ReferenceKeys are those of the bot, as they stand in its REFERENCE_KEYS.
	ReferenceKeys string
	// Policy is what requests may ask for. Without a Deadline they wait for a day.
	Policy Policy
	// Log is nil for [slog.Default].
	Log *slog.Logger
}

// Converters are those for the client of a deployment that encrypts what Temporal stores: payloadKeys are its
// PAYLOAD_KEYS. They belong into the options of the client and into the [Settings].
func Converters(payloadKeys string) (converter.DataConverter, converter.FailureConverter, error) {
	keys, err := reference.ParseKeys(payloadKeys)
	if err != nil {
		return nil, nil, fmt.Errorf("payload keys: %w", err)
	}
	data, failures := codec.Converters(codec.Codec{Keys: keys})
	return data, failures, nil
}

// Connect asks Slack who the token is for, and returns what [Register] needs. The error says what is wrong: a key, or
// what Slack says of the token.
func Connect(ctx context.Context, s Settings) (Deps, error) {
	keys, err := reference.ParseKeys(s.ReferenceKeys)
	if err != nil {
		return Deps{}, fmt.Errorf("reference keys: %w", err)
	}
	slack, err := slackapi.Dial(ctx, s.SlackBotToken, s.SlackAPIURL)
	if err != nil {
		return Deps{}, fmt.Errorf("connect to Slack: %w", err)
	}
	if s.Policy.Deadline == 0 {
		s.Policy.Deadline = 24 * time.Hour
	}
	if s.Log == nil {
		s.Log = slog.Default()
	}
	return Deps{
		Temporal: s.Temporal, Records: record.Reader{Temporal: s.Temporal, Data: s.Data, Failures: s.Failures},
		Slack: slack, Keys: keys, Policy: s.Policy, Log: s.Log,
	}, nil
}
