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

// Outcome is how a request ended.
type Outcome string

// The outcomes. Approved and rejected come from decisions, or from the deadline where the request says so.
const (
	Approved  Outcome = "approved"
	Rejected  Outcome = "rejected"
	Expired   Outcome = "expired"
	Withdrawn Outcome = "withdrawn"
	// Failed is shown on the card of a request whose workflow ended without an outcome: it was terminated, or timed
	// out, or the question could not be asked.
	Failed Outcome = "failed"
	// Changed is how a round ends where who may decide has changed: another follows. No request ends so.
	Changed Outcome = "changed"
)

// Door is where a decision or a change came in.
type Door string

// The doors.
const (
	ViaCard    Door = "card"    // the message in Slack
	ViaHome    Door = "home"    // the app's home
	ViaCommand Door = "command" // a slash command
	Outside    Door = "outside" // Temporal's UI or CLI, or `countersign decide`: who it was, nobody has checked
)

// Decision is one person's approve or reject. It is the result of the open activity, or, for a rejection, the details
// of its failure.
type Decision struct {
	Outcome Outcome `json:"outcome"` // [Approved] or [Rejected]
	// By is who decided; outside Slack it is nobody, or only a name that says that nobody has checked it.
	By  Person    `json:"by,omitzero"`
	At  time.Time `json:"at,omitzero"`   // when it was made
	Via Door      `json:"via,omitempty"` // where it came in
	// Reason is why it was rejected, or the comment of who approved.
	Reason string `json:"reason,omitempty"`
	// Choice is the value of the choice that was made.
	Choice string `json:"choice,omitempty"`
	// Option is the number of that choice, from 1, by which a click says it.
	Option int `json:"option,omitempty"`
	// Inputs are the values of the request's inputs, by their names.
	Inputs map[string]string `json:"inputs,omitempty"`
	// Roles are those of the request's that the person may fill, as was checked with Slack.
	Roles []string `json:"roles,omitempty"`
	// Role is the one of them that they filled.
	Role string `json:"role,omitempty"`
	// Digest is the SHA-256 of the request that the person saw, in hex.
	Digest string `json:"digest,omitempty"`
	// Card is the message that was clicked.
	Card Card `json:"card,omitzero"`
}

// AsGiven follows, in results and cards, the name of somebody who decided or withdrew outside Slack.
const AsGiven = " (outside Slack, as given)"

// unproved is who says that they are p, outside Slack: a name at the most, which says that nobody has checked it.
func (p Person) unproved() Person {
	name := strings.TrimSpace(string(head([]rune(p.Name), MaxName)))
	if name == "" {
		return Person{}
	}
	return Person{Name: name + AsGiven}
}

// Outside reports whether the decision was made outside Slack, so that nobody's name stands behind it.
func (d Decision) Outside() bool { return d.By.ID == "" }

// Result is how a request ended, with its decisions.
type Result struct {
	// Outcome is [Approved], [Rejected], [Expired] or [Withdrawn] where [Approval] returns it.
	Outcome Outcome `json:"outcome"`
	// Decisions are all that were made, in their order; who decided the same twice is there once.
	Decisions []Decision `json:"decisions,omitempty"`
	// Choice is the value of the choice that was approved, where the request has any.
	Choice string `json:"choice,omitempty"`
	// Inputs are the values that were approved, by the names of the request's inputs.
	Inputs map[string]string `json:"inputs,omitempty"`
	// ByDeadline: nobody decided in time, and the request says that this is its outcome then.
	ByDeadline bool `json:"by_deadline,omitempty"`
	// Changes are all that were made while it was open, a withdrawal among them.
	Changes []Change `json:"changes,omitempty"`
	// Card is the message that showed the request.
	Card Card `json:"card,omitzero"`
	// Permalink is the card's address for a browser; empty where Slack did not tell it.
	Permalink string `json:"permalink,omitempty"`
	// EndedAt is when the request ended.
	EndedAt time.Time `json:"ended_at,omitzero"`
	// Digest is the SHA-256, in hex, of the request with the deployment's defaults.
	Digest string `json:"digest,omitempty"`
	// Note says why, in a sentence for people, where the outcome is [Failed].
	Note string `json:"note,omitempty"`
}

// Decision is the decision that ended the request; ok is false where none did.
func (r Result) Decision() (d Decision, ok bool) {
	if len(r.Decisions) == 0 || r.ByDeadline || r.Outcome != Approved && r.Outcome != Rejected {
		return Decision{}, false
	}
	return r.Decisions[len(r.Decisions)-1], true
}

// Rejection is the decision that rejected the request: nobody's where the deadline did.
func (r Result) Rejection() Decision {
	d, ok := r.Decision()
	if !ok {
		d = Decision{Outcome: Rejected, At: r.EndedAt, Reason: "nobody decided in time"}
	}
	return d
}

// Withdrawal is the change by which a person ended the request; ok is false where none did.
func (r Result) Withdrawal() (c Change, ok bool) {
	if n := len(r.Changes); n > 0 && r.Outcome == Withdrawn && r.Changes[n-1].Kind == Withdraw {
		return r.Changes[n-1], true
	}
	return Change{}, false
}

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
		if canceled.HasDetails() && canceled.Details(&end) == nil &&
			slices.Contains([]Outcome{Withdrawn, Expired, Changed, Failed}, end.Outcome) {
			res.Outcome, res.Changes, res.Note = end.Outcome, end.Changes, end.Note
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

// offered are the choice and the inputs of a decision, as far as the request asks for them: anybody can complete an
// activity with anything.
func offered(r Request, d Decision) (choice string, inputs map[string]string) {
	if slices.ContainsFunc(r.Choices, func(c Choice) bool { return c.String() == d.Choice }) {
		choice = d.Choice
	}
	for _, in := range r.Inputs {
		if v, ok := d.Inputs[in.Name]; ok && in.Fits(v) {
			if inputs == nil {
				inputs = make(map[string]string)
			}
			inputs[in.Name] = v
		}
	}
	return choice, inputs
}

// decided is the result of a decision on r. Nobody's name stands behind one without a digest, which is from outside. One
// on another request is none.
func decided(r Request, d Decision, at time.Time) (Result, bool) {
	digest := r.Digest()
	switch d.Digest {
	case hex.EncodeToString(digest[:]):
	case "":
		d.By = Person{}
	default:
		return Result{Outcome: Failed, EndedAt: at, Note: "The decision was about another request."}, false
	}
	d.Role = "" // The round says which.
	if d.Outside() {
		d.By = d.By.unproved()
		d.Via, d.Roles = Outside, nil
		d.Choice, d.Inputs = offered(r, d)
	}
	if d.Outside() || d.At.IsZero() {
		d.At = at
	}
	if d.Option > 0 && d.Option <= len(r.Choices) {
		d.Choice = r.Choices[d.Option-1].String()
	}
	return Result{Outcome: d.Outcome, Decisions: []Decision{d}, Card: d.Card, EndedAt: d.At}, true
}
