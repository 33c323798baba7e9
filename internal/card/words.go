package card

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/slack-go/slack"

	"countersign/workflows"
)

// How many are told by name, or one by one; of others there is the number.
const (
	mostNames     = 70
	mostApprovers = 20
	mostMissing   = 10
	mostDecisions = 12
	mostChanges   = 5
)

// Markup is how people and dates are written.
type Markup int

// The kinds of markup.
const (
	Mrkdwn Markup = iota // in a message: Slack shows them in the reader's own way
	Bare                 // where Slack reads no markup, as in a modal's error
)

func (m Markup) person(p workflows.Person) string {
	switch name := unproved(p); {
	case p.ID == "" && name == "":
		return "somebody outside Slack"
	case p.ID == "" && m == Mrkdwn:
		return words(name, 2*workflows.MaxName) + workflows.AsGiven
	case p.ID == "":
		return name + workflows.AsGiven
	case m == Bare:
		return Clean(p.Name, TitleLimit)
	default:
		return user(p.ID)
	}
}

// unproved is the name of somebody outside Slack, as they gave it. What follows it is added after it is cut, so that no
// name is long enough to do without.
func unproved(p workflows.Person) string {
	return Clean(strings.TrimSuffix(p.Name, workflows.AsGiven), workflows.MaxName)
}

func (m Markup) date(t time.Time) string {
	if m == Bare {
		return utc(t)
	}
	return Date(t)
}

// Sentence says how a request ended.
func Sentence(res workflows.Result, m Markup) string {
	when := ""
	if !res.EndedAt.IsZero() {
		when = " on " + m.date(res.EndedAt)
	}
	head := heading(res.Outcome)
	if d, ok := res.Decision(); ok {
		if d.Outside() && d.By.Name == "" && (res.Outcome == workflows.Rejected || len(approvals(res)) < 2) {
			return head + when + ", decided outside Slack."
		}
		by := []string{m.person(d.By)}
		if res.Outcome == workflows.Approved {
			by = nil
			for _, d := range approvals(res) {
				by = append(by, m.person(d.By))
			}
		}
		return fmt.Sprintf("%s by %s%s.", head, and(first(by, mostApprovers), len(by)), when)
	}
	nobody := "nobody decided in time"
	if len(res.Decisions) > 0 {
		nobody = "there were not enough approvals in time"
	}
	switch res.Outcome {
	case workflows.Approved:
		return fmt.Sprintf("Approved%s: %s, which counts as approval here.", when, nobody)
	case workflows.Rejected:
		return fmt.Sprintf("Rejected%s: %s, which counts as rejection here.", when, nobody)
	case workflows.Expired:
		return fmt.Sprintf("Expired%s: %s.", when, nobody)
	case workflows.Withdrawn:
		if c, ok := res.Withdrawal(); ok {
			return fmt.Sprintf("Withdrawn by %s%s.", m.person(c.By), when)
		}
		if len(res.Decisions) > 0 {
			return fmt.Sprintf("Withdrawn%s, before it was decided.", when)
		}
		return fmt.Sprintf("Withdrawn%s, before anybody decided.", when)
	default:
		s := fmt.Sprintf("Ended%s without a decision.", when)
		if note := Clean(res.Note, ReasonLimit); note != "" {
			if m == Mrkdwn {
				note = words(note, ReasonLimit/2)
			}
			s += " " + note
		}
		return s
	}
}

// approvals are those that made the request approved: of what was approved in the end, the last of each person.
func approvals(res workflows.Result) []workflows.Decision {
	var all []workflows.Decision
	for _, d := range res.Decisions {
		same := d.Choice == res.Choice && maps.Equal(d.Inputs, res.Inputs) || d.Outside() && d.Choice == "" && len(d.Inputs) == 0
		all = slices.DeleteFunc(all, func(o workflows.Decision) bool { return o.By.ID == d.By.ID })
		if d.Outcome == workflows.Approved && same {
			all = append(all, d)
		}
	}
	return all
}

// outcome shows what was chosen.
func outcome(r workflows.Request, res workflows.Result, limit int) []slack.RichTextElement {
	if res.Choice == "" {
		return nil
	}
	return []slack.RichTextElement{fact("Chosen").add(spans(choiceLabel(r.Choices, res.Choice, min(limit, workflows.MaxLabel)), nil)).section()}
}

// decisions shows what was decided, in words: each decision where the sentence does not say it all, and what was said
// with it. What was chosen is shown first.
func decisions(r workflows.Request, res workflows.Result, limit int) []slack.RichTextElement {
	all := outcome(r, res, limit)
	_, decided := res.Decision()
	// What the sentence says already: that this person decided so.
	named := approvals(res)
	said := func(d workflows.Decision) bool {
		in := d.Outcome == workflows.Rejected || slices.ContainsFunc(named, func(o workflows.Decision) bool {
			return o.By.ID == d.By.ID && o.At.Equal(d.At)
		})
		return decided && in && d.Outcome == res.Outcome && d.Role == "" && (d.Choice == "" || d.Choice == res.Choice) &&
			(d.Reason == "" || len(res.Decisions) == 1)
	}
	skip := max(0, len(res.Decisions)-mostDecisions)
	if skip > 0 {
		all = append(all, (&rich{}).text(fmt.Sprintf("There were %d earlier decisions.", skip)).section())
	}
	for _, d := range res.Decisions[skip:] {
		if !said(d) {
			line := (&rich{}).text(heading(d.Outcome) + " ").add(someone(d.By))
			if !d.At.IsZero() {
				line.text(" on ").date(d.At)
			}
			if role := Clean(d.Role, min(limit, workflows.MaxRoleName)); role != "" {
				line.text(" as " + role)
			}
			if d.Choice != "" && d.Choice != res.Choice {
				line.text(": ").add(spans(choiceLabel(r.Choices, d.Choice, min(limit, workflows.MaxLabel)), nil))
			}
			all = append(all, line.section())
		}
		all = append(all, quoted(d, limit)...)
	}
	return all
}

// quoted quotes what was said with a decision.
func quoted(d workflows.Decision, limit int) []slack.RichTextElement {
	words := CleanLines(d.Reason, min(limit, ReasonLimit))
	if words == "" {
		return nil
	}
	what := "Comment:"
	if d.Outcome == workflows.Rejected {
		what = "Reason:"
	}
	return []slack.RichTextElement{(&rich{}).text(what).section(), quote(words)}
}

// Progress says, in mrkdwn, how many have approved, who, and who is missing. It is empty where one approval is wanted
// and nobody has decided.
func Progress(r workflows.Round) string {
	if !worthTelling(r) {
		return ""
	}
	counted, others := counted(r)
	return progress(r, r.Tally().Missing, counted, others)
}

// counted are the approvals that count together, and others those that do not.
func counted(r workflows.Round) (counted, others []workflows.Decision) {
	for _, d := range r.Tally().Approvals {
		if len(r.Roles) == 0 || d.Role != "" {
			counted = append(counted, d)
		}
	}
	for i, d := range r.Decisions {
		if !includes(counted, d.By.ID) && !includes(r.Decisions[i+1:], d.By.ID) {
			others = append(others, d)
		}
	}
	return counted, others
}

func includes(decisions []workflows.Decision, id string) bool {
	return slices.ContainsFunc(decisions, func(d workflows.Decision) bool { return d.By.ID == id })
}

// worthTelling reports whether there is more to say than that one approval is missing.
func worthTelling(r workflows.Round) bool {
	return workflows.Count(r.Wanted()) > 1 || len(r.Decisions) > 0
}

func progress(r workflows.Round, missing []workflows.Role, counted, others []workflows.Decision) string {
	s := tally(r, missing) + " approved"
	if len(counted) > 0 {
		s += ": " + approved(r, counted, true)
	}
	if len(others) > 0 {
		s += ", and otherwise " + approved(r, others, false)
	}
	if len(missing) > 0 {
		s += ". Missing: " + left(r, missing, counted)
	}
	return s
}

// left says how many are missing of whom: not of those whose approval counts, nor of the requester where they may not
// decide.
func left(r workflows.Round, missing []workflows.Role, counted []workflows.Decision) string {
	for i, role := range missing {
		missing[i].Users = slices.DeleteFunc(slices.Clone(role.Users), func(id string) bool {
			return includes(counted, id) || id == r.Requester && !r.AllowSelf
		})
	}
	return roles(missing, max(3, mostMissing/max(1, len(missing))))
}

// tally is "1 of 2".
func tally(r workflows.Round, missing []workflows.Role) string {
	total := workflows.Count(r.Wanted())
	return fmt.Sprintf("%d of %d", max(0, total-workflows.Count(missing)), total)
}

// approved names who approved, with what they chose. Those whose approvals count together have chosen the same.
func approved(r workflows.Round, all []workflows.Decision, together bool) string {
	var (
		names []string
		same  string
	)
	for _, d := range all {
		name := Mrkdwn.person(d.By)
		switch choice := chosen(r, d); {
		case choice == "":
		case together:
			same = " for " + choice
		default:
			name += " for " + choice
		}
		names = append(names, name)
	}
	return and(first(names, mostMissing), len(names)) + same
}

// chosen is the choice of d, for a line of ours.
func chosen(r workflows.Round, d workflows.Decision) string {
	return words(choiceLabel(r.Choices, d.Choice, workflows.MaxLabel), workflows.MaxLabel)
}

// mayDecide says who may decide.
func mayDecide(r workflows.Round) string {
	wanted := r.Wanted()
	if len(wanted) == 1 && wanted[0].Required == 1 && wanted[0].Name == "" {
		return names(wanted[0].Approvers, mostNames, inThisChannel)
	}
	if len(wanted) == 1 && wanted[0].Name == "" {
		return fmt.Sprintf("%s; %d have to approve", names(wanted[0].Approvers, mostNames, inThisChannel), wanted[0].Required)
	}
	return roles(wanted, mostNames/len(wanted))
}

// roles says how many of whom are wanted.
func roles(all []workflows.Role, most int) string {
	var parts []string
	for _, role := range all {
		part := fmt.Sprint(max(1, role.Required))
		everyone := role.Required == len(role.Users) && len(role.Groups) == 0 && !role.Channel
		if n := names(role.Approvers, most, inTheChannel); everyone {
			part = n
		} else if n != "" {
			part += " of " + n
		}
		if name := words(role.Name, 2*workflows.MaxRoleName); name != "" {
			part += " (" + name + ")"
		}
		parts = append(parts, part)
	}
	return and(parts, len(parts))
}

const (
	inThisChannel = "anyone in this channel"
	inTheChannel  = "anyone in the channel"
)

// Approvers names who may decide, as mrkdwn.
func Approvers(a workflows.Approvers) string {
	return names(a, len(a.Users)+len(a.Groups)+1, inThisChannel)
}

// names names at most so many.
func names(a workflows.Approvers, most int, channel string) string {
	var all []string
	for _, id := range a.Users {
		all = append(all, user(id))
	}
	for _, id := range a.Groups {
		all = append(all, group(id))
	}
	if a.Channel {
		all = append(all, channel)
	}
	if more := len(all) - most; more > 1 {
		all = append(all[:most], fmt.Sprintf("%d others", more))
	}
	return strings.Join(all, ", ")
}

// and joins some of n parts.
func and(parts []string, n int) string {
	if more := n - len(parts); more > 0 {
		parts = append(slices.Clone(parts), fmt.Sprintf("%d more", more))
	}
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	last := len(parts) - 1
	return strings.Join(parts[:last], ", ") + " and " + parts[last]
}

// changes says what was changed, a line for each of the last. How the request ended is not among them.
func changes(all []workflows.Change) string {
	var lines []string
	for _, c := range all {
		if s := change(c); s != "" {
			lines = append(lines, s)
		}
	}
	if skip := len(lines) - mostChanges; skip > 0 {
		lines = append([]string{fmt.Sprintf("There were %d earlier changes", skip)}, lines[skip:]...)
	}
	return strings.Join(lines, "\n")
}

func change(c workflows.Change) string {
	by := ""
	if c.By.ID != "" {
		by = " by " + user(c.By.ID)
	}
	switch c.Kind {
	case workflows.Delegate:
		return fmt.Sprintf("Handed over from %s to %s", user(c.By.ID), user(c.To))
	case workflows.Extend:
		return fmt.Sprintf("Extended%s until %s", by, Date(c.Until))
	case workflows.Escalate:
		s := "Escalated"
		if who := names(c.Approvers, mostMissing, inTheChannel); who != "" {
			s += " to " + who
		}
		if role := words(c.Role, 2*workflows.MaxRoleName); role != "" {
			s += " (" + role + ")"
		}
		return s + by
	default:
		return ""
	}
}

const dateFormat = "{date_short} at {time}"

// Date shows a time in the reader's own zone. https://docs.slack.dev/messaging/formatting-message-text#date-formatting
func Date(t time.Time) string {
	return fmt.Sprintf("<!date^%d^%s|%s>", t.Unix(), dateFormat, utc(t))
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

func heading(o workflows.Outcome) string {
	switch o {
	case workflows.Approved:
		return "Approved"
	case workflows.Rejected:
		return "Rejected"
	case workflows.Expired:
		return "Expired"
	case workflows.Withdrawn:
		return "Withdrawn"
	default:
		return "Ended"
	}
}

// user shows a person. What is no ID is no more than text.
func user(id string) string {
	if !workflows.IsUser(id) {
		return words(id, TitleLimit)
	}
	return "<@" + id + ">"
}

func group(id string) string {
	if !workflows.IsGroup(id) {
		return words(id, TitleLimit)
	}
	return "<!subteam^" + id + ">"
}

// words is text of others for a line of ours: no format, and nobody is mentioned. It has at most limit characters,
// escaped.
func words(s string, limit int) string {
	return escape(within(Clean(unformatted(Clean(s, limit)), limit), limit))
}

// unformatted takes the characters away that make a format in mrkdwn. An underscore within a word makes none, and ">" one at
// the start alone.
func unformatted(s string) string {
	var (
		all  = []rune(strings.TrimLeft(s, "> "))
		b    strings.Builder
		word = func(i int) bool {
			return i >= 0 && i < len(all) && (unicode.IsLetter(all[i]) || unicode.IsDigit(all[i]))
		}
	)
	for i, c := range all {
		if !strings.ContainsRune("*_~`", c) || c == '_' && word(i-1) && word(i+1) {
			b.WriteRune(c)
		}
	}
	return b.String()
}

// until says when the request expires, and what that counts as.
func until(r workflows.Round) string {
	s := "Until " + Date(r.Until())
	switch r.OnExpiry {
	case workflows.ApproveOnExpiry:
		s += ", then it counts as approved"
	case workflows.RejectOnExpiry:
		s += ", then it counts as rejected"
	}
	return s
}
