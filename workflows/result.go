package workflows

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"
)

// Types of the application errors that callers see.
const (
	// ErrTypeRejected is the type of a rejection; its details are the [Decision].
	ErrTypeRejected = "Rejected"
	// ErrTypeExpired is the type of an error for a request that nobody decided in time.
	ErrTypeExpired = "Expired"
	// ErrTypeInvalidRequest is the type of an error for a request that cannot be asked as it stands.
	ErrTypeInvalidRequest = "InvalidRequest"
	// ErrTypeRefused is the type of an error for a request that Slack refused for good.
	ErrTypeRefused = "SlackRefused"
)

// RejectedError is the failure that a rejection gives to the open activity: final, and nothing that an operator must
// look at.
func RejectedError(d Decision) error {
	msg := "rejected"
	if d.By.Name != "" {
		msg += " by " + d.By.Name
	}
	if d.Reason != "" {
		msg += ": " + d.Reason
	}
	return temporal.NewApplicationErrorWithOptions(msg, ErrTypeRejected, temporal.ApplicationErrorOptions{
		NonRetryable: true,
		Category:     temporal.ApplicationErrorCategoryBenign,
		Details:      []any{d},
	})
}

// InvalidRequestError is the final error for a request that cannot be asked. msg is read by the requester: a sentence
// that says what to do.
func InvalidRequestError(msg string) error {
	return temporal.NewApplicationErrorWithOptions(msg, ErrTypeInvalidRequest, temporal.ApplicationErrorOptions{
		NonRetryable: true,
		Category:     temporal.ApplicationErrorCategoryBenign,
	})
}

// ResultOf reads how the open activity of r ended from its completion: value, decoded from JSON without a type, or
// err. It is lenient, for anybody with access to the namespace can complete an activity: what is not a decision of
// ours counts as one made outside Slack. at is when the activity ended.
//
// ok is false where err says that the activity ended without an outcome: the question could not be asked.
func ResultOf(r Request, value any, err error, at time.Time) (res Result, ok bool) {
	var (
		app      *temporal.ApplicationError
		canceled *temporal.CanceledError
		timeout  *temporal.TimeoutError
	)
	switch {
	case err == nil:
		return decided(r, readDecision(value), at), true
	case errors.As(err, &canceled):
		res = Result{Outcome: Withdrawn, EndedAt: at}
		var end Result
		if canceled.HasDetails() && canceled.Details(&end) == nil && end.Outcome == Expired {
			res.Outcome = Expired
		}
		return res, true
	case errors.As(err, &timeout):
		return Result{Outcome: Expired, EndedAt: at}, true
	case errors.As(err, &app) && (app.Type() == ErrTypeRejected || app.Type() == ""):
		// Only an activity that was failed from outside (temporal activity fail) has an error without a type.
		var d Decision
		if !app.HasDetails() || app.Details(&d) != nil {
			d = Decision{Reason: app.Message()}
		}
		d.Outcome = Rejected
		return decided(r, d, at), true
	case errors.As(err, &app):
		return Result{Outcome: Failed, EndedAt: at, Note: app.Message()}, false
	default:
		return Result{Outcome: Failed, EndedAt: at, Note: "The request could not be asked."}, false
	}
}

// readDecision reads a completion's value. A completion is an approval unless it says no.
func readDecision(value any) Decision {
	no := Decision{Outcome: Rejected}
	switch v := value.(type) {
	case bool:
		if !v {
			return no
		}
	case string:
		if v == string(Rejected) {
			return no
		}
	case map[string]any:
		var d Decision
		b, err := json.Marshal(v) //workflowcheck:ignore it sorts the keys
		if err == nil {
			err = json.Unmarshal(b, &d) //workflowcheck:ignore the same bytes give the same value
		}
		if err == nil && (d.Outcome == Approved || d.Outcome == Rejected) {
			return d
		}
		if v["outcome"] == string(Rejected) || v["approved"] == false {
			return no
		}
	}
	return Decision{Outcome: Approved}
}

// decided is the result of a decision on r. One on another request than r has nobody's name behind it.
func decided(r Request, d Decision, at time.Time) Result {
	digest := r.Digest()
	if d.Digest != hex.EncodeToString(digest[:]) {
		d.By, d.Digest = Person{}, ""
	}
	if d.At.IsZero() {
		d.At = at
	}
	return Result{Outcome: d.Outcome, Decisions: []Decision{d}, Card: d.Card, EndedAt: at}
}
