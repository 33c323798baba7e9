package slackapi

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"
)

// Kind says what can be done about an [Error].
type Kind int

// The kinds.
const (
	// Failed: Slack did not answer, or answered that it is in trouble. The call may have been carried out. It can be
	// tried again.
	Failed Kind = iota
	// Limited: Slack did nothing and asks to wait for RetryAfter.
	Limited
	// Refused: Slack did nothing and will not, however often it is asked.
	Refused
	// Unauthorized: Slack did nothing, for it does not take the app's token. It will once the operator has given the app
	// another one.
	Unauthorized
)

// Error is the error of a call to Slack.
type Error struct {
	Kind       Kind
	Method     string        // Slack's name of the method
	Code       string        // Slack's word for what is wrong, where it gave one
	RetryAfter time.Duration // where Kind is Limited
	err        error
}

func (e *Error) Error() string { return fmt.Sprintf("slack %s: %v", e.Method, e.err) }

// Unwrap returns what the client library said.
func (e *Error) Unwrap() error { return e.err }

// Sentence says to a person what Slack refused and what to do about it.
func (e *Error) Sentence() string {
	if s, ok := sentences()[e.Code]; ok {
		return s
	}
	if e.Code != "" {
		return fmt.Sprintf("Slack refused the message (%s).", e.Code)
	}
	return "Slack could not be reached."
}

// sentences say what to do about the codes that a team can do something about.
// https://docs.slack.dev/reference/methods/chat.postMessage#errors
func sentences() map[string]string {
	notIn := "I am not in that channel. Invite me there and ask again."
	return map[string]string{
		"not_in_channel":           notIn,
		"channel_not_found":        notIn,
		"is_archived":              "That channel is archived.",
		"restricted_action":        "A setting of this workspace keeps me from posting in that channel.",
		"user_not_found":           "One of the approvers is not a person of this workspace.",
		"no_such_subteam":          "One of the approving user groups does not exist.",
		"plan_upgrade_required":    "This workspace's plan has no user groups: name people as approvers.",
		"messages_tab_disabled":    "I am not allowed to write direct messages.",
		"msg_too_long":             "The message is too long for Slack: shorten the request.",
		"invalid_blocks":           "Slack cannot show this request: shorten it.",
		"missing_scope":            "The app lacks a permission in Slack. Whoever runs it finds the scope's name in its log.",
		"cant_update_message":      "That message is not mine to change.",
		"message_not_found":        "The message has been deleted.",
		"thread_not_found":         "The message has been deleted.",
		"edit_window_closed":       "A setting of this workspace keeps me from changing that message.",
		"expired_trigger_id":       "That took too long. Please click again.",
		"exchanged_trigger_id":     "That was clicked twice. Please click again.",
		"invalid_trigger_id":       "That click could not be used. Please click again.",
		"trigger_expired":          "That took too long. Please click again.",
		"team_access_not_granted":  "The app is not installed in this workspace.",
		"ekm_access_denied":        "This workspace's key management keeps me from writing.",
		"user_not_in_channel":      "That person is not in the channel.",
		"no_permission":            "The app lacks a permission in Slack.",
		"access_denied":            "The app lacks a permission in Slack.",
		"enterprise_is_restricted": "A setting of this organisation keeps me from writing there.",
	}
}

// AsRefused returns err's [Error] where Slack refused for good, and nil otherwise.
func AsRefused(err error) *Error {
	var e *Error
	if errors.As(err, &e) && e.Kind == Refused {
		return e
	}
	return nil
}

// AsLimited returns err's [Error] where Slack asks to wait, and nil otherwise.
func AsLimited(err error) *Error {
	var e *Error
	if errors.As(err, &e) && e.Kind == Limited {
		return e
	}
	return nil
}

// AsUnauthorized returns err's [Error] where Slack does not take the app's token, and nil otherwise.
func AsUnauthorized(err error) *Error {
	var e *Error
	if errors.As(err, &e) && e.Kind == Unauthorized {
		return e
	}
	return nil
}

// IsConflict reports whether somebody else has changed a view meanwhile.
func IsConflict(err error) bool {
	e := AsRefused(err)
	return e != nil && e.Code == "hash_conflict"
}

// troubled reports whether a code of ok:false says that Slack is in trouble, and may have done a part of the call.
// https://docs.slack.dev/reference/methods/chat.postMessage#errors
func troubled(code string) bool {
	return slices.Contains([]string{
		"internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org",
		"accesslimited", "external_channel_migrating",
	}, code)
}

// disowned reports whether a code of ok:false says that the token is none, or no longer one.
// https://docs.slack.dev/reference/methods/auth.test#errors
func disowned(code string) bool {
	return slices.Contains([]string{"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired"}, code)
}

// methodResponseURL stands for a method where a response URL is called.
const methodResponseURL = "response_url"

// pointer is where in the blocks something is wrong.
var pointer = regexp.MustCompile(`\[json-pointer:[\w/-]*\]`)

// classify makes an *Error of what the client library returned; nil stays nil.
func classify(method string, err error) error {
	if err == nil {
		return nil
	}
	var (
		limited  *slack.RateLimitedError
		status   slack.StatusCodeError
		response slack.SlackErrorResponse
		transit  *url.Error
	)
	e := &Error{Kind: Failed, Method: method, err: err}
	switch {
	case errors.As(err, &limited):
		e.Kind, e.RetryAfter = Limited, limited.RetryAfter
	case errors.As(err, &status):
		switch {
		case status.Code == 429:
			e.Kind, e.RetryAfter = Limited, time.Minute
		case status.Code < 500 && method == methodResponseURL:
			// It has been used up. Slack's methods refuse with 200 alone: any other status comes from something between.
			e.Kind = Refused
		}
	case errors.As(err, &response):
		e.Code = response.Err
		switch {
		case response.Err == "ratelimited" || response.Err == "rate_limited" || response.Err == "message_limit_exceeded":
			e.Kind, e.RetryAfter = Limited, time.Minute
		case disowned(response.Err):
			e.Kind = Unauthorized
		case !troubled(response.Err):
			e.Kind = Refused
		}
		if response.Needed != "" {
			e.err = fmt.Errorf("%w: needs the scope %s", err, response.Needed)
		} else if at := pointer.FindAllString(strings.Join(response.ResponseMetadata.Messages, " "), -1); len(at) > 0 {
			e.err = fmt.Errorf("%w: %s", err, strings.Join(at, " ")) // The words may quote the request.
		}
	case errors.As(err, &transit):
		e.err = transit.Err // Without the address: a response_url is a secret.
	}
	return e
}
