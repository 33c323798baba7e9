package workflows

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Round is a request as one open activity of it asks: with what was decided and changed before. Who may decide now,
// until when, and what is missing follow from that.
type Round struct {
	Request
	Number    int        `json:"round,omitempty"` // from 1
	Decisions []Decision `json:"decisions,omitempty"`
	Changes   []Change   `json:"changes,omitempty"`
}

// UnmarshalJSON reads the request, and what has become of it.
func (r *Round) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, &r.Request); err != nil {
		return err
	}
	rest := struct {
		Number    *int        `json:"round"`
		Decisions *[]Decision `json:"decisions"`
		Changes   *[]Change   `json:"changes"`
	}{&r.Number, &r.Decisions, &r.Changes}
	return json.Unmarshal(b, &rest)
}

// Until is when the request expires, as it stands.
func (r Round) Until() time.Time {
	until := r.ExpiresAt
	for _, c := range r.Changes {
		if c.Kind == Extend {
			until = c.Until
		}
	}
	return until
}

// Wanted are the roles that have to be filled, as they stand. A request without roles has one, without a name.
func (r Round) Wanted() []Role {
	wanted := []Role{{Approvers: r.Approvers, Required: r.Required}}
	if len(r.Roles) > 0 {
		wanted = slices.Clone(r.Roles)
	}
	for i, role := range wanted {
		wanted[i].Required = max(1, role.Required)
		wanted[i].Approvers = Approvers{}.With(role.Approvers) // nobody twice
		for _, c := range r.Changes {
			users := slices.Clone(wanted[i].Users)
			switch at := slices.Index(users, c.By.ID); {
			case c.Kind == Delegate && at >= 0:
				users[at] = c.To
				wanted[i].Users = users
			case c.Kind == Escalate && c.Role == role.Name:
				wanted[i].Approvers = wanted[i].With(c.Approvers)
			}
		}
	}
	return wanted
}

// Who is everybody who may decide, as it stands.
func (r Round) Who() Approvers {
	var all Approvers
	for _, role := range r.Wanted() {
		all = all.With(role.Approvers)
	}
	return all
}

// policy is a short hash of who may decide; it stands in the open activity's ID, so that a click on a card which
// shows other approvers never decides.
func (r Round) policy() string {
	sum := hash([]any{r.Wanted(), r.AllowSelf, r.AllowGuests})
	return hex.EncodeToString(sum[:4])
}

// activityID is the round's, for a question of that name.
func (r Round) activityID(question string) string {
	return question + decisionMark + strconv.Itoa(r.Number) + "-" + r.policy()
}

const decisionMark = "-decision-"

// SplitActivityID takes the ID of an open activity apart: the question that it belongs to, which is unique within the
// workflow, the number of the round, and the hash of who may decide in it. ok is false for the ID of another activity.
func SplitActivityID(id string) (question string, round int, policy string, ok bool) {
	question, rest, ok := strings.Cut(id, decisionMark)
	if !ok {
		return "", 0, "", false
	}
	n, policy, _ := strings.Cut(rest, "-")
	round, err := strconv.Atoi(n)
	return question, round, policy, question != "" && err == nil && round > 0 && strconv.Itoa(round) == n && policy != ""
}

// Tally is the count of a round's approvals.
type Tally struct {
	// Approvals are those that count together, each with the role that it fills; it is empty for one too many.
	Approvals []Decision
	// Missing are the roles that are not filled, with how many are missing. There are none where it is enough.
	Missing []Role
}

// Tally counts the approvals. A person counts once, with the last that they said, and for one role. Approvals count
// together where they approve the same: the same choice, the same inputs.
func (r Round) Tally() Tally {
	var best Tally
	wanted := r.Wanted()
	last := r.approvals()
	left := -1
	for i, d := range last {
		if slices.ContainsFunc(last[:i], d.sameAnswer) {
			continue
		}
		same := slices.DeleteFunc(slices.Clone(last), func(o Decision) bool { return !o.sameAnswer(d) && !o.anyAnswer() })
		t := fill(wanted, same)
		n := Count(t.Missing)
		if left < 0 || n <= left {
			best, left = t, n
		}
	}
	if left < 0 {
		best.Missing = wanted
	}
	return best
}

// approvals are the last approvals of each person, in the order in which they were given.
func (r Round) approvals() []Decision {
	var last []Decision
	for _, d := range r.Decisions {
		last = slices.DeleteFunc(last, func(o Decision) bool { return o.By.ID == d.By.ID })
		last = append(last, d)
	}
	return last
}

// Count is how many approvals the roles want.
func Count(roles []Role) (n int) {
	for _, role := range roles {
		n += max(1, role.Required)
	}
	return n
}

// fill finds for as many of the approvals as possible a role to fill, by augmenting paths.
func fill(wanted []Role, approvals []Decision) Tally {
	t := Tally{Approvals: slices.Clone(approvals)}
	by := make([][]int, len(wanted)) // approvals that fill the role
	var place func(a int, tried []bool) bool
	place = func(a int, tried []bool) bool {
		for i, role := range wanted {
			if tried[i] || !approvals[a].fills(role.Name) {
				continue
			}
			tried[i] = true
			if len(by[i]) < role.Required {
				by[i] = append(by[i], a)
				return true
			}
			for j, other := range by[i] {
				if place(other, tried) {
					by[i][j] = a
					return true
				}
			}
		}
		return false
	}
	for a := range approvals {
		place(a, make([]bool, len(wanted)))
	}
	for i, role := range wanted {
		for _, a := range by[i] {
			t.Approvals[a].Role = role.Name
		}
		if role.Required -= len(by[i]); role.Required > 0 {
			t.Missing = append(t.Missing, role)
		}
	}
	return t
}

// AsksApprover reports whether who approves is asked for something: a comment, or inputs.
func (r Request) AsksApprover() bool {
	return len(r.Inputs) > 0 || r.ApproveComment == Optional || r.ApproveComment == Required
}

// HandedOver are those who have given their place away: they decide no more, even as members of a group.
func (r Round) HandedOver() []string {
	var gone []string
	named := r.Who().Users
	for _, c := range r.Changes {
		if c.Kind == Delegate && !slices.Contains(named, c.By.ID) && !slices.Contains(gone, c.By.ID) {
			gone = append(gone, c.By.ID)
		}
	}
	return gone
}

// Decided reports whether the person has decided, whatever it was.
func (r Round) Decided(id string) bool {
	return slices.ContainsFunc(r.Decisions, func(d Decision) bool { return d.By.ID == id })
}

// CanDecide reports whether a decision of the person can still bring the request on, if they may decide it at all: not
// where it counts already, nor where they asked for it and may not.
func (r Round) CanDecide(id string) bool {
	return !slices.Contains(r.Counted(), id) && !slices.Contains(r.HandedOver(), id) && (id != r.Requester || r.AllowSelf)
}

// Counted are those whose approvals count: one too many for its role does not.
func (r Round) Counted() []string {
	var ids []string
	for _, d := range r.Tally().Approvals {
		if len(r.Roles) == 0 || d.Role != "" {
			ids = append(ids, d.By.ID)
		}
	}
	return ids
}

// Waiting are those named whose decision is wanted, and the groups.
func (r Round) Waiting() Approvers {
	var all Approvers
	for _, role := range r.Tally().Missing {
		all = all.With(role.Approvers)
	}
	all.Users = slices.DeleteFunc(all.Users, func(id string) bool { return !r.CanDecide(id) })
	return all
}

// After says how the request stands when its round has ended with res, which is of the round's activity: the next
// round follows, or the request has ended.
func (r Round) After(res Result) (next Round, end Result, ended bool) {
	next = r
	next.Number++
	next.Decisions = slices.Clone(r.Decisions)
	next.Changes = slices.Clone(r.Changes)
	switch d, decided := res.Decision(); {
	case decided && d.Outcome == Approved:
		if !slices.ContainsFunc(r.approvals(), d.repeats) {
			next.Decisions = append(next.Decisions, d)
		}
		t := next.Tally()
		if len(t.Missing) > 0 {
			return next, Result{}, false
		}
		end = Result{Outcome: Approved}
		for _, o := range t.Approvals {
			if !o.anyAnswer() {
				end.Choice, end.Inputs = o.Choice, o.Inputs
			}
		}
		for i, n := range next.Decisions {
			if at := slices.IndexFunc(t.Approvals, func(o Decision) bool { return o.By.ID == n.By.ID && o.At.Equal(n.At) }); at >= 0 {
				next.Decisions[i].Role = t.Approvals[at].Role
			}
		}
	case decided:
		next.Decisions = append(next.Decisions, d)
		end = Result{Outcome: Rejected}
	case res.Outcome == Changed:
		return next, Result{}, false
	case res.Outcome == Expired && (r.OnExpiry == ApproveOnExpiry || r.OnExpiry == RejectOnExpiry):
		end = Result{Outcome: Rejected, ByDeadline: true}
		if r.OnExpiry == ApproveOnExpiry {
			end.Outcome, end.Inputs = Approved, r.initial()
		}
	default:
		end = Result{Outcome: res.Outcome, Note: res.Note}
		next.Changes = append(next.Changes, res.Changes...)
	}
	digest := r.Digest()
	end.Digest = hex.EncodeToString(digest[:])
	end.Card, end.EndedAt = res.Card, res.EndedAt
	end.Decisions, end.Changes = next.Decisions, next.Changes
	return next, end, true
}

// initial are the values of the inputs before anybody changes them.
func (r Request) initial() map[string]string {
	if len(r.Inputs) == 0 {
		return nil
	}
	values := make(map[string]string)
	for _, in := range r.Inputs {
		values[in.Name] = string(in.Initial)
	}
	return values
}

// repeats reports whether the approval o says all that d does.
func (d Decision) repeats(o Decision) bool {
	fewer := slices.ContainsFunc(d.Roles, func(role string) bool { return !slices.Contains(o.Roles, role) })
	return o.By.ID == d.By.ID && o.sameAnswer(d) && !fewer
}

// sameAnswer reports whether two approvals approve the same.
func (d Decision) sameAnswer(o Decision) bool {
	return d.Choice == o.Choice && maps.Equal(d.Inputs, o.Inputs) //workflowcheck:ignore in any order
}

// anyAnswer reports whether it is an approval from outside Slack, of whatever is chosen.
func (d Decision) anyAnswer() bool { return d.Outside() && d.Choice == "" && len(d.Inputs) == 0 }

// fills reports whether an approval can fill a role. One from outside Slack can fill any.
func (d Decision) fills(role string) bool {
	return role == "" || d.Outside() || slices.Contains(d.Roles, role)
}

// Ended reads how the round's activity ended, as [ResultOf] does. why is what we had it ended with; zero if we had not.
func (r Round) Ended(value any, err error, why EndDecisionInput, at time.Time) (res Result, ok bool) {
	res, ok = ResultOf(r.Request, value, err, at)
	if why.Outcome != "" && (!ok || res.Outcome == Withdrawn) {
		// The server does not know why it was cancelled where no attempt had the activity, or the last one failed.
		return why.Result(at), true
	}
	return res, ok
}
