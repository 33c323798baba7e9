package bot

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/slack-go/slack"
	"golang.org/x/sync/semaphore"

	"countersign/internal/card"
	"countersign/internal/record"
	"countersign/internal/reference"
	"countersign/internal/slackapi"
	"countersign/internal/telemetry"
	"countersign/workflows"
)

const (
	// commitBudget is how long a click's decision may take: Slack waits 3 s for the acknowledgement.
	// https://docs.slack.dev/interactivity/handling-user-interaction#acknowledgment_response
	commitBudget = 2500 * time.Millisecond
	// afterBudget bounds what is done for a person after their click was answered.
	afterBudget = 15 * time.Second
	// tries and tryFor are how often, and for how long at a time, it is tried to tell a person something.
	tries  = 2
	tryFor = 3 * time.Second
)

// Slack is what the bot says and asks in Slack; a *slackapi.Client is one.
type Slack interface {
	Speaker
	Directory
	// Update replaces a message of ours.
	Update(ctx context.Context, at workflows.Card, text string, blocks []slack.Block) error
	// OpenModal opens a modal for the click that gave the trigger.
	OpenModal(ctx context.Context, trigger string, v slack.ModalViewRequest) error
	// PublishHome shows a person the app's home, unless they see something else by now than what has the hash; an empty
	// hash is of anything. It returns the hash of what they see then.
	PublishHome(ctx context.Context, user, hash string, v slack.HomeTabViewRequest) (shown string, err error)
}

// Speaker speaks to one person in private.
type Speaker interface {
	AnswerURL(ctx context.Context, responseURL, text string) error
	Whisper(ctx context.Context, channel, user, text string) error
	// SayDirectly says it in a direct message.
	SayDirectly(ctx context.Context, user, text string) error
}

// Directory knows people. Its answers may be a minute old.
type Directory interface {
	Person(ctx context.Context, id string) (slackapi.Person, error)
	Members(ctx context.Context, group string) ([]string, error)
	// Groups are all user groups, by their IDs.
	Groups(ctx context.Context) (map[string]slackapi.Group, error)
}

// Options say how a [Bot] works. All but Requesters, App and Connected are needed.
type Options struct {
	Slack    Slack
	Temporal Temporal
	// Records reads the requests of the deployment: those of its namespace and task queue.
	Records record.Reader
	Keys    *reference.Keys
	// Team is the ID of the workspace whose people may decide, and App the ID of the app, whose deliveries these are; empty
	// where it is not known.
	Team, App  string
	Requesters Requesters
	// APIURL is where Slack's methods are; response URLs may be there too, and are at Slack otherwise.
	APIURL string
	// HomeEvery is how often the homes that people look at are checked for changes.
	HomeEvery time.Duration
	// Connected is told whether there is a socket by which Slack can deliver, each time that this changes; nil: nobody.
	Connected func(bool)
	Log       *slog.Logger
}

// Requesters are the people who may use the slash commands.
type Requesters struct {
	Users, Groups []string
	Members       bool // every full member of the workspace
}

// Bot answers Slack. It is safe for concurrent use. Between two calls it keeps nothing about requests, only who looks at
// the app's home.
type Bot struct {
	Options
	homes *homes
	turns *semaphore.Weighted // of those who decide
}

// New returns a Bot.
func New(o Options) *Bot {
	return &Bot{Options: o, homes: newHomes(), turns: semaphore.NewWeighted(atATime)}
}

// kind is what Slack delivers.
type kind string

// The kinds, by the names that Socket Mode gives them.
const (
	interactive  kind = "interactive"
	slashCommand kind = "slash_commands"
	event        kind = "events_api"
)

// reply is what goes back to Slack for a delivery.
type reply struct {
	// ack says that the delivery was dealt with. Where it is false Slack shows the person a warning.
	ack bool
	// body goes with the acknowledgement, as JSON; nil: none.
	body any
	// then is done after the reply has gone out; nil: nothing.
	then func(context.Context)
	// result is, of a click on a decision or the submission of its form, what came of it, in a word for those who count.
	result string
	// missed is done where Slack did not wait for the acknowledgement, and shows a warning; nil: nothing.
	missed func(context.Context)
}

// unheard is r where Slack does not have the acknowledgement.
func (r reply) unheard() reply {
	if r.missed == nil {
		return r
	}
	return r.and(r.missed)
}

// done is the reply to what needs no answer.
func done() reply { return reply{ack: true} }

// as is r with that result.
func (r reply) as(result string) reply {
	r.result = result
	return r
}

// and adds something to do after the reply has gone out.
func (r reply) and(next func(context.Context)) reply {
	first := r.then
	r.then = func(ctx context.Context) {
		if first != nil {
			first(ctx)
		}
		next(ctx)
	}
	return r
}

// handle deals with one delivery, whichever way it came.
func (b *Bot) handle(ctx context.Context, k kind, payload []byte) reply {
	at := time.Now()
	ctx, stop := context.WithTimeout(ctx, commitBudget)
	defer stop()
	r := b.dispatch(ctx, k, payload)
	if r.result != "" {
		telemetry.Clicked(ctx, r.result, at)
	}
	return r
}

func (b *Bot) dispatch(ctx context.Context, k kind, payload []byte) reply {
	switch k {
	case interactive:
		i, err := decode(payload, func(i interaction) bool { return i.Type != "" && i.User.ID != "" })
		switch {
		case err != nil:
			b.Log.Warn("drop an interaction", "err", err)
			return reply{}
		case b.isForAnotherApp(i.addressee):
			return reply{}
		case b.isOfAnotherTeam(i.addressee):
			return b.refuse(ctx, i, string(refuseTeam))
		}
		return b.interact(ctx, i)
	case slashCommand:
		c, err := decode(payload, func(c command) bool { return c.Command != "" && c.UserID != "" && c.TriggerID != "" })
		switch {
		case err != nil:
			b.Log.Warn("drop a command", "err", err)
			return reply{}
		case b.isForAnotherApp(c.addressee):
			return reply{}
		case b.isOfAnotherTeam(c.addressee):
			return answer(string(refuseTeam))
		}
		return b.command(ctx, c)
	default:
		e, err := decode(payload, func(e eventPayload) bool { return e.Event.Type != "" })
		if err != nil {
			b.Log.Warn("drop an event", "err", err)
			return done()
		}
		if b.isForAnotherApp(e.addressee) {
			return reply{}
		}
		// https://docs.slack.dev/reference/events/app_home_opened
		if !b.isOfAnotherTeam(e.addressee) && e.Event.Type == EventHomeOpened && e.Event.Tab == "home" && e.Event.User != "" {
			return done().and(func(ctx context.Context) { b.openHome(ctx, e.Event.User) })
		}
		return done() // Acknowledged, it is not sent again.
	}
}

// isForAnotherApp reports whether a payload is for another app than ours.
func (b *Bot) isForAnotherApp(to addressee) bool {
	if b.App == "" || to.App == "" || to.App == b.App {
		return false
	}
	b.Log.Warn("drop a delivery for another app: SLACK_APP_TOKEN or SLACK_SIGNING_SECRET is not of the app of SLACK_BOT_TOKEN", "app", to.App)
	return true
}

// isOfAnotherTeam reports whether a payload is of a workspace that is not ours.
func (b *Bot) isOfAnotherTeam(to addressee) bool { return to.team() != "" && to.team() != b.Team }

// whisper says a sentence to the person whose click or submission i is, and reports whether it got through. In the app's
// home there is no message to say it at: it is said in a modal, for which Slack takes the click for 3 s, and in a direct
// message after that.
func (b *Bot) whisper(ctx context.Context, i interaction, at workflows.Card, sentence string) bool {
	err := errors.New("no response URL")
	switch {
	case i.atHome():
		err = b.Slack.OpenModal(ctx, i.TriggerID, card.Notified(sentence, card.Mrkdwn))
	case i.ResponseURL != "":
		if err = b.checkResponseURL(i.ResponseURL); err == nil {
			err = insist(ctx, func(ctx context.Context) error { return b.Slack.AnswerURL(ctx, i.ResponseURL, sentence) })
		}
	}
	if err != nil {
		e := insist(ctx, func(ctx context.Context) error {
			if at.Channel != "" {
				return b.Slack.Whisper(ctx, at.Channel, i.User.ID, sentence)
			}
			return b.Slack.SayDirectly(ctx, i.User.ID, sentence)
		})
		if e == nil {
			return true
		}
		err = errors.Join(err, e)
	}
	if err != nil {
		b.Log.Warn("answer in private", "user", i.User.ID, "channel", at.Channel, "err", err)
	}
	return err == nil
}

// insist makes a call to Slack, and makes it again where Slack is in trouble, for as long as ctx lets it and it may help. Where
// Slack asks to wait for a large part of what is left, there is better to do.
func insist(ctx context.Context, call func(context.Context) error) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval = 200 * time.Millisecond
	var last error // what Slack said, and not that there is no time left
	_, _ = backoff.Retry(ctx, func() (struct{}, error) {
		soon, stop := context.WithTimeout(ctx, tryFor)
		defer stop()
		err := call(soon)
		last = err
		var e *slackapi.Error
		switch {
		case errors.As(err, &e) && e.Kind == slackapi.Limited && e.RetryAfter < left(ctx)/4:
			return struct{}{}, backoff.RetryAfter(int(e.RetryAfter.Seconds()))
		case errors.As(err, &e) && e.Kind != slackapi.Failed:
			return struct{}{}, backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(wait), backoff.WithMaxTries(tries))
	return last
}

// left is how much time there is until ctx ends.
func left(ctx context.Context) time.Duration {
	until, ok := ctx.Deadline()
	if !ok {
		return afterBudget
	}
	return time.Until(until)
}

// checkResponseURL refuses to send what a person is told anywhere but to Slack.
func (b *Bot) checkResponseURL(s string) error {
	u, err := url.Parse(s)
	if err != nil {
		return errors.New("the response URL is no URL")
	}
	api, err := url.Parse(b.APIURL)
	if err != nil {
		return errors.New("the API URL is no URL")
	}
	host := u.Hostname()
	slacks := strings.HasSuffix(host, ".slack.com") || strings.HasSuffix(host, ".slack-gov.com")
	if u.Scheme == "https" && slacks || u.Scheme == api.Scheme && u.Host == api.Host {
		return nil
	}
	return errors.New("the response URL is not Slack's")
}
