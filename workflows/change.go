package workflows

import (
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
)

// UpdateChange is the Update by which people change an open request. Its argument is a [Change], its result the request
// as [Listed] after it, and its error, of type [ErrTypeNotChanged], a sentence for the person.
const UpdateChange = "change"

// ErrTypeNotChanged is the type of the error for a change that is not allowed, or comes too late.
const ErrTypeNotChanged = "NotChanged"

// ChangeKind is what is changed.
type ChangeKind string

// The changes.
const (
	Withdraw ChangeKind = "withdraw" // by the requester: the request ends
	Extend   ChangeKind = "extend"   // by the requester or an approver: Until is the new deadline
	Delegate ChangeKind = "delegate" // by an approver who is named: To has their place
	Escalate ChangeKind = "escalate" // by the requester, an approver, or time: the next of the request's escalations
)

// Change is a change of an open request.
type Change struct {
	Kind ChangeKind `json:"change"` // what is changed
	// By is who changes it; nobody where it was time.
	By Person `json:"by,omitzero"`
	// Groups are those, of the groups that may decide, which the person is a member of: the sender has to have checked.
	Groups []string `json:"groups,omitempty"`
	// Via is where it came in.
	Via Door      `json:"via,omitempty"`
	At  time.Time `json:"at,omitzero"` // when it was made; the workflow sets it
	// Question is the question that is changed, of those that the workflow asks; empty where it asks one.
	Question string `json:"question,omitempty"`

	Longer    Duration  `json:"longer,omitempty"`   // [Extend]: how much longer; the workflow makes Until of it
	Until     time.Time `json:"until,omitzero"`     // [Extend]: the new deadline
	To        string    `json:"to,omitempty"`       // [Delegate]: the Slack user ID of who has the place now
	Role      string    `json:"role,omitempty"`     // [Escalate]: the role that Approvers fill; the workflow sets it
	Approvers Approvers `json:"approvers,omitzero"` // [Escalate]: who may decide then too; the workflow sets them
}

// Apply returns the round as it stands after c at that time. The error, of type [ErrTypeNotChanged], says why c may not
// be made. A withdrawal changes nothing here: it ends the request.
func (r Round) Apply(c Change, now time.Time) (Round, Change, error) {
	if c.Via == Outside {
		c.By = c.By.unproved()
	}
	who := r.Who()
	requester := c.By.ID != "" && c.By.ID == r.Requester
	approver := slices.Contains(who.Users, c.By.ID) || slices.ContainsFunc(c.Groups, func(id string) bool {
		return slices.Contains(who.Groups, id)
	}) || who.Channel && c.Via == ViaCard // who uses the card's menu can see it
	byTime := c.By == Person{} && c.Via != Outside
	c.At = now

	if len(r.Changes) >= MaxChanges && c.Kind != Withdraw && !byTime {
		return r, c, notChanged("This request has been changed too often: withdraw it, and ask anew.")
	}
	switch c.Kind {
	case Withdraw:
		if !requester && c.Via != Outside {
			return r, c, notChanged("Only who asked for this can withdraw it.")
		}
		return r, c, nil
	case Extend:
		d, err := c.Longer.Value()
		c.Until = r.Until().Add(d)
		switch {
		case !requester && !approver:
			return r, c, notChanged("Only who asked for this, or who may decide it, can extend it.")
		case err != nil || d < time.Second:
			return r, c, notChanged(`Say how much longer it is to wait, for instance "2h" or "1d".`)
		case c.Until.Sub(now) > MaxDeadline || c.Until.Sub(r.ExpiresAt) > MaxDeadline:
			return r, c, notChanged("A request can wait for a year at the most.")
		}
	case Delegate:
		switch {
		case !slices.Contains(who.Users, c.By.ID):
			return r, c, notChanged("Only an approver who is named can hand their place over. Members of a group share it already.")
		case requester && !r.AllowSelf:
			return r, c, notChanged("Who asked for this may not decide it, and has no place to hand over.")
		case len(r.HandedOver()) >= MaxHandedOver && (len(who.Groups) > 0 || who.Channel):
			return r, c, notChanged("This has been handed over too often already.")
		case r.Decided(c.By.ID):
			return r, c, notChanged("You have approved this already.")
		case !IsUser(c.To):
			return r, c, notChanged("Say to whom you hand your place over.")
		case c.To == c.By.ID:
			return r, c, notChanged("That is you already: choose somebody else.")
		case c.To == r.Requester && !r.AllowSelf:
			return r, c, notChanged("Who asked for this may not decide it: choose somebody else.")
		case r.Decided(c.To):
			return r, c, notChanged("That person has approved this already: choose somebody else.")
		case slices.Contains(who.Users, c.To):
			return r, c, notChanged("That person may decide this already: choose somebody else.")
		}
	case Escalate:
		step, ok := r.NextEscalation()
		switch {
		case !byTime && !requester && !approver:
			return r, c, notChanged("Only who asked for this, or who may decide it, can escalate it.")
		case !ok:
			return r, c, notChanged("There is nobody else to escalate this to.")
		}
		c.Role, c.Approvers = step.Role, step.Approvers
	default:
		return r, c, notChanged("This app knows no such change.")
	}
	r.Changes = append(slices.Clone(r.Changes), c)
	return r, c, nil
}

// NextEscalation is the first of the request's escalations that has not been made; ok is false where all have.
func (r Round) NextEscalation() (e Escalation, ok bool) {
	made := 0
	for _, c := range r.Changes {
		if c.Kind == Escalate {
			made++
		}
	}
	steps := r.escalations()
	if made >= len(steps) {
		return Escalation{}, false
	}
	return steps[made], true
}

// escalations are in the order of their time.
func (r Round) escalations() []Escalation {
	return slices.SortedStableFunc(slices.Values(r.Request.Escalate), func(a, b Escalation) int {
		return int(a.After.value()/time.Second - b.After.value()/time.Second)
	})
}

func notChanged(sentence string) error {
	return temporal.NewApplicationErrorWithOptions(sentence, ErrTypeNotChanged, temporal.ApplicationErrorOptions{
		NonRetryable: true,
		Category:     temporal.ApplicationErrorCategoryBenign,
	})
}

// IsUser reports whether s looks like the ID of a Slack user.
func IsUser(s string) bool { return isID(s, "UW") }

// IsGroup reports whether s looks like the ID of a Slack user group.
func IsGroup(s string) bool { return isID(s, "S") }

// IsChannel reports whether s looks like the ID of a Slack channel or conversation.
func IsChannel(s string) bool { return isID(s, "CGD") }

// isID reports whether s is an ID of Slack's that starts with one of the letters.
func isID(s, letters string) bool {
	if len(s) < 2 || len(s) > 21 || !slices.Contains([]byte(letters), s[0]) {
		return false
	}
	for _, c := range s {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}
