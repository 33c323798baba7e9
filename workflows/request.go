package workflows

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Request is what is asked of people. It is shown on the card, and its [Request.Digest] goes into every decision. What
// is not set is left to the deployment's configuration, or takes the default that its field names.
//
// All that is written in it is untrusted: "<@U…>" is shown as a person, and nothing else is markup, but in Text.
type Request struct {
	// Title says in a few words what is to be approved; at most 150 characters.
	Title string `json:"title"`
	// Text explains the title in a little Markdown: emphasis, code, lists, quotes and links; at most 2,000 characters.
	Text string `json:"text,omitempty"`
	// Fields are facts to decide by; at most 20.
	Fields []Field `json:"fields,omitempty"`
	// Link leads to more.
	Link Link `json:"link,omitzero"`
	// Channel is the ID of the Slack channel that the card is posted to, or of a person (U…), who gets it in a direct
	// message.
	Channel string `json:"channel"`
	// Requester is the Slack user ID of the person who asks; empty where no person does.
	Requester string `json:"requester,omitempty"`

	// Approvers may decide. Empty means the person whose direct message Channel is, and else the deployment's
	// APPROVERS with its ALLOW_SELF_APPROVAL.
	Approvers Approvers `json:"approvers,omitzero"`
	// Required is how many of the Approvers have to approve; 0 means one.
	Required int `json:"required,omitempty"`
	// Roles are wanted instead of Approvers and Required: so many people of each. A person counts for one role.
	Roles []Role `json:"roles,omitempty"`
	// AllowSelf lets the requester decide too.
	AllowSelf bool `json:"allow_self,omitempty"`
	// AllowGuests lets guests of the workspace decide as members of a group or a channel. Guests who are named may.
	AllowGuests bool `json:"allow_guests,omitempty"`

	// RejectReason says whether who rejects is asked why; empty means [Optional].
	RejectReason Answer `json:"reject_reason,omitempty"`
	// ApproveComment says whether who approves is asked for a comment; empty means [Off].
	ApproveComment Answer `json:"approve_comment,omitempty"`
	// Confirm is asked in a dialog before an approval, for what cannot be undone; at most 300 characters.
	Confirm string `json:"confirm,omitempty"`
	// Choices are offered instead of Approve; at most five. Approvals count together where they chose the same.
	Choices []Choice `json:"choices,omitempty"`
	// Inputs are asked of who approves; at most ten. Approvals count together where they have the same values.
	Inputs []Input `json:"inputs,omitempty"`

	// Deadline is how long the request waits. Without it and ExpiresAt that is the deployment's DEADLINE.
	Deadline Duration `json:"deadline,omitempty"`
	// ExpiresAt is when the request expires, where that is not told by Deadline.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// OnExpiry says what the request's end by its deadline counts as; empty means [Expire].
	OnExpiry OnExpiry `json:"on_expiry,omitempty"`
	// RemindEvery reminds, in the card's thread, those who have not decided; empty: never. At least a minute.
	RemindEvery Duration `json:"remind_every,omitempty"`
	// Escalate adds approvers in time; at most ten steps.
	Escalate []Escalation `json:"escalate,omitempty"`

	// TellRequester tells the requester of the outcome in a direct message too.
	TellRequester bool `json:"tell_requester,omitempty"`
	// FailOnReject makes [Approval] fail on a rejection, with an error of type [ErrTypeRejected], instead of returning it.
	FailOnReject bool `json:"fail_on_reject,omitempty"`

	// Malformed says which value was of the wrong type in the JSON that the request was read from. It is a fault.
	Malformed string `json:"-"`
}

// UnmarshalJSON takes a request of which a value is of the wrong type, so that this can be told with all else that is
// wrong: see Malformed.
func (r *Request) UnmarshalJSON(b []byte) error {
	type plain Request
	err := json.Unmarshal(b, (*plain)(r))
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case !json.Valid(b):
		return err
	case !errors.As(err, &wrong): // Of all types here only a time says what is wrong with it itself.
		var fields map[string]json.RawMessage
		if json.Unmarshal(b, &fields) != nil {
			return err
		}
		was := fields["expires_at"]
		delete(fields, "expires_at")
		rest, e := json.Marshal(fields)
		if e != nil || len(was) == 0 {
			return err
		}
		err = r.UnmarshalJSON(rest)
		r.Malformed = strings.TrimSpace(fmt.Sprintf("In the JSON of the request expires_at is %.40s, and has to be a time such as \"2026-11-23T14:00:00Z\". %s", was, r.Malformed))
		return err
	}
	wants := map[reflect.Kind]string{
		reflect.String: "text", reflect.Int: "a whole number", reflect.Bool: "true or false", reflect.Slice: "a list", reflect.Struct: "an object",
	}[wrong.Type.Kind()]
	if wants == "" {
		wants = "of the type " + wrong.Type.String()
	}
	where := "The JSON of the request"
	if wrong.Field != "" {
		where = "In the JSON of the request " + wrong.Field
	}
	r.Malformed = fmt.Sprintf("%s is of the type %s, and has to be %s.", where, wrong.Value, wants)
	return nil
}

// Field is a fact, shown as "Label: Value".
type Field struct {
	Label string `json:"label"` // at most 75 characters
	Value string `json:"value"` // at most 500 characters
}

// Link is a link that is shown with the host that it leads to.
type Link struct {
	URL  string `json:"url"`            // http or https
	Text string `json:"text,omitempty"` // at most 75 characters; empty means "Details"
}

// Approvers are people who may decide: any of Users, any member of Groups, or, where Channel is true, anybody who can
// see the card. The zero value is nobody.
type Approvers struct {
	Users   []string `json:"users,omitempty"`   // Slack user IDs
	Groups  []string `json:"groups,omitempty"`  // Slack user-group IDs
	Channel bool     `json:"channel,omitempty"` // anybody who can see the card
}

// Empty reports whether nobody may decide.
func (a Approvers) Empty() bool { return len(a.Users) == 0 && len(a.Groups) == 0 && !a.Channel }

// IsZero is Empty.
func (a Approvers) IsZero() bool { return a.Empty() }

// With returns the approvers with more, each once.
func (a Approvers) With(more Approvers) Approvers {
	add := func(all, more []string) []string {
		all = slices.Clone(all)
		for _, id := range more {
			if !slices.Contains(all, id) {
				all = append(all, id)
			}
		}
		return all
	}
	return Approvers{Users: add(a.Users, more.Users), Groups: add(a.Groups, more.Groups), Channel: a.Channel || more.Channel}
}

// Role is a number of approvals that are wanted from some people.
type Role struct {
	Name string `json:"name"` // at most 30 characters; unique within the request
	Approvers
	Required int `json:"required,omitempty"` // 0 means one
}

// Answer says whether people are asked for something.
type Answer string

// Whether people are asked.
const (
	Off      Answer = "off"
	Optional Answer = "optional"
	Required Answer = "required"
)

// Choice is an option that can be chosen.
type Choice struct {
	Label string `json:"label"`           // at most 75 characters; Slack shows some 30 of them on a button
	Value string `json:"value,omitempty"` // what the result says; empty means Label
}

// String is the value.
func (c Choice) String() string {
	if c.Value != "" {
		return c.Value
	}
	return c.Label
}

// Input is a value that who approves fills in, or leaves as it is.
type Input struct {
	Name     string    `json:"name"`               // key in the result: at most 50 letters, digits, _ and -
	Label    string    `json:"label,omitempty"`    // at most 75 characters; empty means Name
	Type     InputType `json:"type,omitempty"`     // empty means [TextInput]
	Options  []Choice  `json:"options,omitempty"`  // of [SelectInput], and of it alone: at most 100
	Initial  Text      `json:"initial,omitempty"`  // the value before anybody changes it
	Optional bool      `json:"optional,omitempty"` // may be left empty
	Lines    bool      `json:"lines,omitempty"`    // of [TextInput]: may have several lines
	Hint     string    `json:"hint,omitempty"`     // at most 150 characters
}

// InputType is what a value of an [Input] is. All values are text in JSON.
type InputType string

// The types of inputs.
const (
	TextInput   InputType = "text"   // at most 1,000 characters
	NumberInput InputType = "number" // a decimal number, as it was written: "12.50"
	SelectInput InputType = "select" // the value of one of the Options
	DateInput   InputType = "date"   // "2026-11-23"
	PersonInput InputType = "person" // a Slack user ID
)

// OnExpiry is what it counts as that nobody decided in time.
type OnExpiry string

// What the deadline's passing counts as.
const (
	Expire          OnExpiry = "expire"
	ApproveOnExpiry OnExpiry = "approve"
	RejectOnExpiry  OnExpiry = "reject"
)

// Escalation adds approvers where a request has waited for long.
type Escalation struct {
	After     Duration  `json:"after"`          // since the request was asked
	Role      string    `json:"role,omitempty"` // which of the request's roles they fill; empty where it has none
	Approvers Approvers `json:"approvers"`      // who may decide then too
}

// Duration is a length of time as text: "90m", "24h", "1h30m" or "3d". In JSON a number means seconds.
type Duration string

// Value is the length of time; 0 for an empty text. The error says what was wrong.
func (d Duration) Value() (time.Duration, error) {
	if d == "" {
		return 0, nil
	}
	var days time.Duration
	rest := strings.TrimSpace(string(d))
	if n, after, ok := strings.Cut(rest, "d"); ok {
		var err error
		if days, err = time.ParseDuration(n + "h"); err != nil || days < 0 || days > 24*time.Hour*366 {
			return 0, fmt.Errorf("%q is not a duration such as 90m, 24h or 3d", string(d))
		}
		if rest = after; rest == "" {
			return 24 * days, nil
		}
	}
	v, err := time.ParseDuration(rest)
	if err != nil || v < 0 || 24*days+v < 0 {
		return 0, fmt.Errorf("%q is not a duration such as 90m, 24h or 3d", string(d))
	}
	return 24*days + v, nil
}

// value is Value where that has been checked.
func (d Duration) value() time.Duration {
	v, _ := d.Value()
	return v
}

// UnmarshalJSON takes any JSON value: one that is no duration shows in Value, with all else that is wrong.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var t Text
	if err := t.UnmarshalJSON(b); err != nil {
		return err
	}
	*d = Duration(t)
	if json.Valid(b) && len(b) > 0 && b[0] >= '0' && b[0] <= '9' {
		*d += "s"
	}
	return nil
}

// Text is text that may be written as a JSON number too.
type Text string

// UnmarshalJSON takes a string as it is, null as nothing, and the JSON of anything else.
func (t *Text) UnmarshalJSON(b []byte) error {
	var s string
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] != '"' && !bytes.Equal(b, []byte("null")) {
		s = string(b)
	} else if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	*t = Text(s)
	return nil
}

// Digest is the SHA-256 of the request's JSON: what was shown is bound to what was decided.
func (r Request) Digest() [sha256.Size]byte { return hash(r) }

// hash is the SHA-256 of v's JSON. Strings, booleans and times of four-digit years always have one, and always the
// same.
func hash(v any) [sha256.Size]byte {
	b, _ := json.Marshal(v) //workflowcheck:ignore
	return sha256.Sum256(b)
}

// jsonSize is the length of v's JSON.
func jsonSize(v any) int {
	b, _ := json.Marshal(v) //workflowcheck:ignore
	return len(b)
}

// Card is the address of a Slack message. The zero value means that no card is known.
type Card struct {
	Channel string `json:"channel,omitempty"` // channel ID as Slack answered it (a "D…" for a person)
	TS      string `json:"ts,omitempty"`      // the message's timestamp, its ID within the channel
}

// PostedAt is when the message was posted, by Slack's clock; zero where that cannot be read.
// https://docs.slack.dev/messaging/retrieving-messages#individual_messages
func (c Card) PostedAt() time.Time {
	seconds, err := strconv.ParseFloat(c.TS, 64)
	if err != nil || seconds <= 0 || seconds > math.MaxInt32*2 {
		return time.Time{}
	}
	return time.UnixMicro(int64(seconds * 1e6)).UTC()
}

// Person is who decided, as Slack reported the click.
type Person struct {
	ID   string `json:"id,omitempty"`   // Slack user ID
	Name string `json:"name,omitempty"` // the person's name in Slack
	Team string `json:"team,omitempty"` // ID of the person's workspace
}
