package workflows

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// Request is what is asked of a person. It is shown on the card, and its [Request.Digest] goes into the decision.
type Request struct {
	// Title says in a few words what is to be approved. It is untrusted text: "<@U…>" is shown as a person, nothing
	// else in it is markup.
	Title string `json:"title"`
	// Text explains the title; untrusted like it, and may have several lines.
	Text string `json:"text,omitempty"`
	// Channel is the ID of the Slack channel that the card is posted to.
	Channel string `json:"channel"`
	// Requester is the Slack user ID of the person who asks; empty where no person does.
	Requester string `json:"requester,omitempty"`
	// Approvers may decide. Empty means the deployment's APPROVERS, and its ALLOW_SELF_APPROVAL.
	Approvers Approvers `json:"approvers"`
	// AllowSelf lets the requester decide too.
	AllowSelf bool `json:"allow_self,omitempty"`
	// ExpiresAt is when the request expires. The zero time means DEADLINE from when it is asked.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// Approvers are the people who may decide: any of Users, any member of Groups, or, where Channel is true, anybody who
// can see the card. The zero value is nobody.
type Approvers struct {
	Users   []string `json:"users,omitempty"`   // Slack user IDs
	Groups  []string `json:"groups,omitempty"`  // Slack user-group IDs
	Channel bool     `json:"channel,omitempty"` // anybody who can see the card
}

// Empty reports whether nobody may decide.
func (a Approvers) Empty() bool { return len(a.Users) == 0 && len(a.Groups) == 0 && !a.Channel }

// Digest is the SHA-256 of the request's JSON: what was shown is bound to what was decided.
func (r Request) Digest() [sha256.Size]byte { return hash(r) }

// policy is a short hash of who may decide; it stands in the open activity's ID, so that a click on a card which
// shows other approvers never decides.
func (r Request) policy() string {
	sum := hash([]any{r.Approvers, r.AllowSelf})
	return hex.EncodeToString(sum[:4])
}

// hash is the SHA-256 of v's JSON. Strings, booleans and times of four-digit years always have one, and always the
// same.
func hash(v any) [sha256.Size]byte {
	b, _ := json.Marshal(v) //workflowcheck:ignore
	return sha256.Sum256(b)
}

// Card is the address of a Slack message. The zero value means that no card is known.
type Card struct {
	Channel string `json:"channel,omitempty"` // channel ID as Slack answered it (a "D…" for a person)
	TS      string `json:"ts,omitempty"`      // the message's timestamp, its ID within the channel
}

// Person is who decided, as Slack reported the click.
type Person struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
	Team string `json:"team,omitempty"` // ID of the person's workspace
}

// Outcome is how a request ended.
type Outcome string

// The outcomes. Only approved and rejected come from a decision.
const (
	Approved  Outcome = "approved"
	Rejected  Outcome = "rejected"
	Expired   Outcome = "expired"
	Withdrawn Outcome = "withdrawn"
	// Failed is shown on the card of a request whose workflow ended without an outcome: it was terminated, or timed
	// out, or the question could not be asked.
	Failed Outcome = "failed"
)

// Decision is one person's approve or reject. It is the result of the open activity, or, for a rejection, the details
// of its failure.
type Decision struct {
	Outcome Outcome `json:"outcome"` // Approved or Rejected
	// By is zero for a decision that was made outside Slack, in Temporal's UI or CLI.
	By     Person    `json:"by,omitzero"`
	At     time.Time `json:"at,omitzero"`
	Reason string    `json:"reason,omitempty"`
	// Digest is the hex form of [Request.Digest] for the request that the person saw.
	Digest string `json:"digest,omitempty"`
	// Card is the message that was clicked.
	Card Card `json:"card,omitzero"`
}

// Outside reports whether the decision was made outside Slack, so that nobody's name stands behind it.
func (d Decision) Outside() bool { return d.By.ID == "" }

// Result is how a request ended, with its decisions.
type Result struct {
	Outcome   Outcome    `json:"outcome"`
	Decisions []Decision `json:"decisions,omitempty"`
	Card      Card       `json:"card,omitzero"`
	EndedAt   time.Time  `json:"ended_at,omitzero"`
	// Note says why, in a sentence for people, where the outcome is Failed.
	Note string `json:"note,omitempty"`
}

// Decision is the decision that ended the request; ok is false where none did.
func (r Result) Decision() (d Decision, ok bool) {
	if len(r.Decisions) == 0 {
		return Decision{}, false
	}
	return r.Decisions[len(r.Decisions)-1], true
}
