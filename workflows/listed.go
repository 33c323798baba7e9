package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"
)

// MemoRequests is the key of the memo that a workflow keeps of its requests: a list of [Listed], of those that are open
// and the last one that has ended.
const MemoRequests = "requests"

// Listed is a request in a list: what people are shown of it there, and what a reference to it needs.
type Listed struct {
	// Question is its name among the requests of its workflow.
	Question string `json:"question"`
	// ActivityID is the open activity; empty once the request has ended.
	ActivityID string `json:"activity_id,omitempty"`
	// Round is the request as it stands, without its texts; of its decisions there is only who decided what.
	Round Round `json:"round"`
	// Missing are the roles that are not filled yet, and Counted those whose approvals count.
	Missing []Role   `json:"missing,omitempty"`
	Counted []string `json:"counted,omitempty"`
	// Digest is the hex form of the whole request's [Request.Digest].
	Digest    string `json:"digest"`
	Card      Card   `json:"card,omitzero"`
	Permalink string `json:"permalink,omitempty"`
	// Trace is [Posted.Trace].
	Trace   string    `json:"trace,omitempty"`
	AskedAt time.Time `json:"asked_at"`
	// Outcome is how it ended, and EndedAt when; empty while it is open. ByDeadline: the deadline made it so.
	Outcome    Outcome   `json:"outcome,omitempty"`
	ByDeadline bool      `json:"by_deadline,omitempty"`
	EndedAt    time.Time `json:"ended_at,omitzero"`
}

// CanDecide is [Round.CanDecide].
func (l Listed) CanDecide(id string) bool {
	return l.Outcome == "" && !slices.Contains(l.Counted, id) && !slices.Contains(l.Round.HandedOver(), id) &&
		(id != l.Round.Requester || l.Round.AllowSelf)
}

// brief is the round without what only the card shows.
func (r Round) brief() Round {
	r.Text, r.Fields, r.Link, r.RemindEvery, r.Deadline = "", nil, Link{}, "", ""
	inputs := r.Inputs
	r.Inputs = nil
	for _, in := range inputs {
		r.Inputs = append(r.Inputs, Input{Name: in.Name, Label: in.Label})
	}
	r.Request.Escalate = nil
	return r
}

// listed is the request as a list shows it.
func (a *question) listed() Listed {
	l := Listed{
		Question: a.name, ActivityID: a.activityID, Round: a.r.brief(), Digest: a.digest,
		Card: a.card.Card, Permalink: a.card.Permalink, Trace: a.card.Trace, AskedAt: a.askedAt,
	}
	decisions := l.Round.Decisions
	stands := a.r
	if a.ended {
		stands.Decisions = a.end.Decisions
	}
	l.Counted = stands.Counted()
	if a.ended {
		l.ActivityID, l.Outcome, l.ByDeadline, l.EndedAt = "", a.end.Outcome, a.end.ByDeadline, a.end.EndedAt
		l.Round.Changes, decisions = a.end.Changes, a.end.Decisions
	} else {
		for _, role := range a.r.Tally().Missing {
			l.Missing = append(l.Missing, Role{Name: role.Name, Required: role.Required})
		}
	}
	l.Round.Decisions = nil
	for _, d := range decisions {
		l.Round.Decisions = append(l.Round.Decisions, Decision{Outcome: d.Outcome, By: d.By, At: d.At, Choice: d.Choice})
	}
	return l
}

// show keeps the workflow's memo, for the lists that people see, and its current details, for operators.
// https://docs.temporal.io/develop/go/observability
func (q *Requests) show(ctx workflow.Context) {
	var (
		all  []Listed
		says []string
	)
	for _, a := range q.open {
		if l := a.listed(); a.ended {
			q.ended = &l
		} else {
			all = append(all, l)
			says = append(says, a.r.Title+": "+a.waitsFor())
		}
	}
	if q.ended != nil {
		all = append(all, *q.ended)
	}
	workflow.SetCurrentDetails(ctx, strings.Join(says, "\n\n"))
	if sum := hash(all); sum != q.listed && slices.ContainsFunc(all, func(l Listed) bool { return l.Card != Card{} || l.Outcome != "" }) {
		q.listed = sum
		if err := workflow.UpsertMemo(ctx, map[string]any{MemoRequests: all}); err != nil {
			workflow.GetLogger(ctx).Warn("keep the memo", "err", err)
		}
	}
}

// waitsFor says, for operators, what the request waits for.
func (a *question) waitsFor() string {
	var parts []string
	more := ""
	if len(a.r.Decisions) > 0 {
		more = "more "
	}
	for _, role := range a.r.Tally().Missing {
		var names []string
		for _, id := range slices.Concat(role.Users, role.Groups) {
			if !a.r.CanDecide(id) {
				continue
			}
			name := a.card.Names[id]
			if name == "" {
				name = id
			}
			names = append(names, name)
		}
		if role.Channel {
			names = append(names, "anyone in the channel")
		}
		if len(names) > 5 {
			names = append(names[:4:4], fmt.Sprintf("%d others", len(names)-4))
		}
		part := fmt.Sprintf("%d %sof %s", role.Required, more, strings.Join(names, ", "))
		if role.Name != "" {
			part += " as " + role.Name
		}
		parts = append(parts, part)
	}
	return "waiting for " + strings.Join(parts, " and ") + " until " + a.r.Until().UTC().Format("2006-01-02 15:04 UTC")
}

// Summary is as much of s as Temporal takes for a summary: 400 bytes, as JSON.
func Summary(s string) string {
	size := 0
	for i, c := range s {
		if size += len(string(c)); c < ' ' || strings.ContainsRune("\"\\<>&\u2028\u2029", c) {
			size += 5 // It is escaped.
		}
		if size > 350 {
			return s[:i]
		}
	}
	return s
}

// requested is a change that somebody waits for.
type requested struct {
	Change
	listed Listed
	err    error
	done   bool
}

// handleChanges handles the Update by which people change the requests.
// https://docs.temporal.io/develop/go/message-passing#updates
func (q *Requests) handleChanges(ctx workflow.Context) {
	find := func(c Change) (*question, error) {
		var found []*question
		for _, a := range q.open {
			if !a.ended && (c.Question == "" || c.Question == a.name) {
				found = append(found, a)
			}
		}
		switch len(found) {
		case 0:
			return nil, notChanged("This request is not open.")
		case 1:
			return found[0], nil
		default:
			return nil, notChanged("This workflow asks for several things at once: use the menu on the card.")
		}
	}
	err := workflow.SetUpdateHandlerWithOptions(ctx, UpdateChange, func(ctx workflow.Context, c Change) (Listed, error) {
		a, err := find(c)
		if err != nil {
			return Listed{}, err
		}
		r := &requested{Change: c}
		a.changes = append(a.changes, r)
		a.waiting++
		defer func() { a.waiting-- }()
		after, _ := workflow.NewDisconnectedContext(ctx) // They have an answer where the workflow is cancelled too.
		if err := workflow.Await(after, func() bool { return r.done }); err != nil {
			return Listed{}, err
		}
		return r.listed, r.err
	}, workflow.UpdateHandlerOptions{
		Description: "withdraws, extends, delegates or escalates an open request",
		Validator: func(ctx workflow.Context, c Change) error {
			a, err := find(c)
			if err != nil {
				return err
			}
			if c.By == (Person{}) || c.Via == Outside && c.By.unproved() == (Person{}) {
				return notChanged("Say who changes it.")
			}
			_, _, err = a.r.Apply(c, workflow.Now(ctx))
			return err
		},
	})
	if err != nil { // Its arguments are right.
		workflow.GetLogger(ctx).Error("handle changes", "err", err)
	}
}

// tooLate is the answer to a change of a request that has ended.
func tooLate(end Result) error {
	switch end.Outcome {
	case Failed:
		return notChanged("Too late: this request has ended.")
	default:
		return notChanged("Too late: this request is " + string(end.Outcome) + " already.")
	}
}
