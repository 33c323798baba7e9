// Package reference seals and opens the opaque string that stands in a button.
//
// A reference names one open activity and who may decide it. It is encrypted and authenticated: whoever sees it
// learns nothing from it, and whoever changes it makes it useless. It looks like
//
//	v1.KEYID.BASE64URL(nonce|ciphertext)
//
// where KEYID says which of the deployment's keys opens it. The cipher is AES-256-GCM with "v1.KEYID." as additional
// data. The plaintext is a row of fields, each a tag byte, a length and a value; a reader skips the tags that it does
// not know, so within v1 fields are only ever added.
package reference

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"countersign/workflows"
)

// MaxLength is the most characters that a reference may have: the limit of a button's value.
// https://docs.slack.dev/reference/block-kit/block-elements/button-element
const MaxLength = 2000

const version = "v1"

// Why a string was not opened. Open returns nothing else.
var (
	// ErrMalformed says that the string was never a reference, or was cut short.
	ErrMalformed = errors.New("malformed reference")
	// ErrVersion says that the string is a reference of another version of the program.
	ErrVersion = errors.New("reference of an unknown version")
	// ErrUnknownKey says that the key that sealed the reference is not among the keys given.
	ErrUnknownKey = errors.New("reference sealed with an unknown key")
	// ErrForged says that the reference was changed, or sealed by somebody who does not have the key.
	ErrForged = errors.New("forged reference")
)

// Reference is what the string in a button names. An empty list and a nil one are the same.
type Reference struct {
	// Namespace, WorkflowID, RunID and ActivityID name the open activity.
	Namespace, WorkflowID, RunID, ActivityID string
	// Requester is the Slack user ID of the person who asks; empty if nobody in Slack does.
	Requester string
	// Users and Groups are the IDs of the people and user groups who may decide.
	Users, Groups []string
	// Channel lets anyone decide who can see the card.
	Channel bool
	// Roles are the roles that are wanted; where there are any, Users and Groups are empty.
	Roles []Role
	// AllowSelf lets the requester decide, and AllowGuests guests who are not named.
	AllowSelf, AllowGuests bool
	// Approved are the IDs of those whose approval counts already, and Gone of those who have handed their place over.
	Approved, Gone []string
	// Until is when the request expires, to the second.
	Until time.Time
	// Form says that who approves is asked for something, and Reason whether who rejects is.
	Form   bool
	Reason workflows.Answer
	// Choices is how many choices there are, one of which an approval takes; 0 means that it takes none, or that the button
	// is from before this was sealed.
	Choices int
	// Trace is the trace that the card was posted in, as W3C's traceparent has it; empty where nothing is traced.
	Trace string
	// Digest is the SHA-256 of the request as it was shown.
	Digest [32]byte
}

// Role is a role that is wanted, and who may fill it.
type Role struct {
	Name          string
	Users, Groups []string
	Channel       bool
}

// Of is the reference to a round's open activity; counted are those whose approvals count. RunID must be known: a reference names one run.
func Of(namespace, workflowID, runID, activityID string, r workflows.Round, digest [32]byte, counted []string) Reference {
	ref := Reference{
		Namespace: namespace, WorkflowID: workflowID, RunID: runID, ActivityID: activityID,
		Requester: r.Requester, AllowSelf: r.AllowSelf, AllowGuests: r.AllowGuests, Digest: digest,
		Form:   r.AsksApprover(),
		Reason: r.RejectReason,
		Until:  r.Until(), Choices: len(r.Choices),
	}
	for _, role := range r.Wanted() {
		if role.Name == "" {
			ref.Users, ref.Groups, ref.Channel = role.Users, role.Groups, role.Channel
			continue
		}
		ref.Roles = append(ref.Roles, Role{role.Name, role.Users, role.Groups, role.Channel})
	}
	if len(r.Choices) == 0 && len(r.Inputs) == 0 { // Otherwise people may change what they approve.
		ref.Approved = slices.DeleteFunc(slices.Clone(counted), func(id string) bool { return id == "" })
	}
	if who := ref.Who(); len(who.Groups) > 0 || who.Channel { // Otherwise they are not among them any more.
		ref.Gone = r.HandedOver()
	}
	return ref
}

// Offers says whether an approval may take the choice of that number, from 1; 0 is none.
func (r Reference) Offers(option int) bool {
	return r.Choices == 0 || option >= 1 && option <= r.Choices
}

// Who is everybody who may decide, each of them once.
func (r Reference) Who() workflows.Approvers {
	who := workflows.Approvers{Users: r.Users, Groups: r.Groups, Channel: r.Channel}
	for _, role := range r.Roles {
		who = who.With(workflows.Approvers{Users: role.Users, Groups: role.Groups, Channel: role.Channel})
	}
	return who
}

// TooLongError says that a reference does not fit into a button's value.
type TooLongError struct {
	Length    int // characters that the reference would have
	Approvers int // users and user groups named in it
	IDs       int // characters of workflow, run and activity ID together
}

// Error says what to shorten.
func (e *TooLongError) Error() string {
	return fmt.Sprintf("the reference would have %d characters and may have %d: "+
		"name fewer approvers than %d (a user group counts as one), or shorten the workflow ID (all IDs together have %d characters)",
		e.Length, MaxLength, e.Approvers, e.IDs)
}

// base64URL refuses trailing bits, so that no two strings decode to the same bytes.
var base64URL = base64.RawURLEncoding.Strict()

// Seal makes the string for r with the first key. The same r gives another string each time.
// It returns a *TooLongError where the string would exceed MaxLength.
func (k *Keys) Seal(r Reference) (string, error) {
	if k == nil || len(k.keys) == 0 {
		return "", errors.New("seal reference: no keys")
	}
	first := k.keys[0]
	sealed := first.aead.Seal(nil, nil, encode(r), []byte(first.prefix))
	if n := len(first.prefix) + base64URL.EncodedLen(len(sealed)); n > MaxLength {
		return "", &TooLongError{
			Length:    n,
			Approvers: len(r.Who().Users) + len(r.Who().Groups),
			IDs:       len(r.WorkflowID) + len(r.RunID) + len(r.ActivityID),
		}
	}
	return first.prefix + base64URL.EncodeToString(sealed), nil
}

// Open gives back what was sealed, whichever of the keys sealed it. The error is ErrMalformed, ErrVersion,
// ErrUnknownKey or ErrForged.
func (k *Keys) Open(s string) (Reference, error) {
	if len(s) > MaxLength {
		return Reference{}, ErrMalformed
	}
	v, rest, ok := strings.Cut(s, ".")
	if !ok {
		return Reference{}, ErrMalformed
	}
	if v != version {
		return Reference{}, ErrVersion
	}
	id, text, ok := strings.Cut(rest, ".")
	if !ok {
		return Reference{}, ErrMalformed
	}
	key, ok := k.find(id)
	if !ok {
		return Reference{}, ErrUnknownKey
	}
	if strings.Contains(text, "\r") || strings.Contains(text, "\n") { // which the decoder would skip
		return Reference{}, ErrMalformed
	}
	sealed, err := base64URL.DecodeString(text)
	if err != nil {
		return Reference{}, ErrMalformed
	}
	plain, err := key.aead.Open(nil, nil, sealed, []byte(key.prefix))
	if err != nil {
		return Reference{}, ErrForged
	}
	return decode(plain)
}

// The tags of the fields. They are never given another meaning.
const (
	tagWorkflowID = iota + 1
	tagRunID
	tagActivityID
	tagRequester
	tagUser  // once for each
	tagGroup // once for each
	tagChannel
	tagAllowSelf
	tagDigest
	tagNamespace
	tagRole // the fields of the role follow
	tagRoleUser
	tagRoleGroup
	tagRoleChannel
	tagAllowGuests
	tagApproved // once for each
	tagForm
	tagReason
	tagGone // once for each
	tagUntil
	tagChoices
	tagTrace // its bytes
)

// traceBytes is how long a traceparent is: its version, the IDs of the trace and of the span, and flags.
// https://www.w3.org/TR/trace-context/#traceparent-header
const traceBytes = 1 + 16 + 8 + 1

func encode(r Reference) []byte {
	b := make([]byte, 0, MaxLength)
	field := func(tag byte, v string) {
		b = append(b, tag)
		b = binary.AppendUvarint(b, uint64(len(v)))
		b = append(b, v...)
	}
	flag := func(tag byte, set bool) {
		if set {
			field(tag, "")
		}
	}
	field(tagWorkflowID, r.WorkflowID)
	field(tagRunID, r.RunID)
	field(tagActivityID, r.ActivityID)
	field(tagRequester, r.Requester)
	for _, u := range r.Users {
		field(tagUser, u)
	}
	for _, g := range r.Groups {
		field(tagGroup, g)
	}
	flag(tagChannel, r.Channel)
	flag(tagAllowSelf, r.AllowSelf)
	field(tagDigest, string(r.Digest[:]))
	field(tagNamespace, r.Namespace)
	for _, role := range r.Roles {
		field(tagRole, role.Name)
		for _, u := range role.Users {
			field(tagRoleUser, u)
		}
		for _, g := range role.Groups {
			field(tagRoleGroup, g)
		}
		flag(tagRoleChannel, role.Channel)
	}
	flag(tagAllowGuests, r.AllowGuests)
	for _, u := range r.Approved {
		field(tagApproved, u)
	}
	flag(tagForm, r.Form)
	if r.Reason != "" {
		field(tagReason, string(r.Reason))
	}
	for _, u := range r.Gone {
		field(tagGone, u)
	}
	if !r.Until.IsZero() {
		field(tagUntil, string(binary.AppendVarint(nil, r.Until.Unix())))
	}
	if b, err := hex.DecodeString(strings.ReplaceAll(r.Trace, "-", "")); err == nil && len(b) == traceBytes {
		field(tagTrace, string(b))
	}
	if r.Choices > 0 {
		field(tagChoices, string(binary.AppendUvarint(nil, uint64(r.Choices))))
	}
	return b
}

func decode(b []byte) (Reference, error) {
	var r Reference
	s := string(b) // every field is a part of this one string
	for i := 0; i < len(b); {
		tag := b[i]
		i++
		size, n := binary.Uvarint(b[i:])
		if n <= 0 || size > uint64(len(b)-i-n) {
			return Reference{}, ErrMalformed
		}
		i += n
		v := s[i : i+int(size)]
		i += int(size)
		switch tag {
		case tagWorkflowID:
			r.WorkflowID = v
		case tagNamespace:
			r.Namespace = v
		case tagRunID:
			r.RunID = v
		case tagActivityID:
			r.ActivityID = v
		case tagRequester:
			r.Requester = v
		case tagUser:
			if r.Users == nil { // room for as many as may follow
				r.Users = make([]string, 0, 1+(len(b)-i)/(len(v)+2))
			}
			r.Users = append(r.Users, v)
		case tagGroup:
			r.Groups = append(r.Groups, v)
		case tagChannel:
			r.Channel = true
		case tagAllowSelf:
			r.AllowSelf = true
		case tagDigest:
			if len(v) != len(r.Digest) {
				return Reference{}, ErrMalformed
			}
			copy(r.Digest[:], v)
		case tagRole:
			r.Roles = append(r.Roles, Role{Name: v})
		case tagRoleUser, tagRoleGroup, tagRoleChannel:
			if len(r.Roles) == 0 {
				return Reference{}, ErrMalformed
			}
			role := &r.Roles[len(r.Roles)-1]
			switch tag {
			case tagRoleUser:
				role.Users = append(role.Users, v)
			case tagRoleGroup:
				role.Groups = append(role.Groups, v)
			default:
				role.Channel = true
			}
		case tagAllowGuests:
			r.AllowGuests = true
		case tagApproved:
			r.Approved = append(r.Approved, v)
		case tagForm:
			r.Form = true
		case tagGone:
			r.Gone = append(r.Gone, v)
		case tagUntil:
			until, n := binary.Varint([]byte(v))
			if n <= 0 {
				return Reference{}, ErrMalformed
			}
			r.Until = time.Unix(until, 0).UTC()
		case tagReason:
			r.Reason = workflows.Answer(v)
		case tagChoices:
			choices, n := binary.Uvarint([]byte(v))
			if n <= 0 || choices > workflows.MaxChoices {
				return Reference{}, ErrMalformed
			}
			r.Choices = int(choices)
		case tagTrace:
			if len(v) == traceBytes { // Of another form it is of no use, and nothing depends on it.
				r.Trace = fmt.Sprintf("%x-%x-%x-%x", v[:1], v[1:17], v[17:25], v[25:])
			}
		}
	}
	return r, nil
}
