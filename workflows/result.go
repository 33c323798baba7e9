package workflows

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
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
// ok is false where the activity ended without an outcome: the question could not be asked, or the answer not read.
func ResultOf(r Request, value any, err error, at time.Time) (res Result, ok bool) {
	var (
		app      *temporal.ApplicationError
		canceled *temporal.CanceledError
		timeout  *temporal.TimeoutError
	)
	switch {
	case err == nil:
		return decided(r, readDecision(value), at)
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
		return decided(r, d, at)
	case errors.As(err, &app):
		return Result{Outcome: Failed, EndedAt: at, Note: app.Message()}, false
	default:
		return Result{Outcome: Failed, EndedAt: at, Note: "The request ended without an answer that can be read."}, false
	}
}

// readDecision reads a completion's value. A completion is an approval unless it says no.
func readDecision(value any) Decision {
	if v, ok := value.(map[string]any); ok {
		var d Decision
		b, err := json.Marshal(v) //workflowcheck:ignore it sorts the keys
		if err == nil {
			err = json.Unmarshal(b, &d) //workflowcheck:ignore the same bytes give the same value
		}
		if err == nil && (d.Outcome == Approved || d.Outcome == Rejected) {
			return d
		}
		if _, ok := v["outcome"]; ok {
			return Decision{Outcome: Rejected} // It is none that we know.
		}
	}
	if saysNo(value) {
		return Decision{Outcome: Rejected}
	}
	return Decision{Outcome: Approved}
}

// saysNo tells a no among the ways in which people and programs say one.
func saysNo(value any) bool {
	switch v := value.(type) {
	case bool:
		return !v
	case float64:
		return v == 0
	case []byte:
		return saysNo(string(v))
	case string:
		switch strings.ToLower(strings.TrimSpace(v)) {
		case "no", "n", "false", "0", "reject", "rejected", "deny", "denied", "decline", "declined", "refuse", "refused",
			"fail", "failed", "expired", "withdrawn", "cancelled", "canceled":
			return true
		}
	case map[string]any:
		return slices.ContainsFunc([]string{"approved", "approve", "decision", "answer", "result", "status"}, func(key string) bool {
			said, ok := v[key]
			return ok && (said == nil || saysNo(said))
		})
	}
	return false
}

// decided is the result of a decision on r. Nobody's name stands behind one from outside, which has no digest. One on
// another request is none.
func decided(r Request, d Decision, at time.Time) (Result, bool) {
	digest := r.Digest()
	switch d.Digest {
	case hex.EncodeToString(digest[:]):
	case "":
		d.By = Person{}
	default:
		return Result{Outcome: Failed, EndedAt: at, Note: "The decision was about another request."}, false
	}
	if d.Outside() || d.At.IsZero() {
		d.At = at
	}
	return Result{Outcome: d.Outcome, Decisions: []Decision{d}, Card: d.Card, EndedAt: d.At}, true
}
