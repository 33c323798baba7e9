package workflows

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// What a request may have. Lengths are in characters.
const (
	MaxTitle        = 150
	MaxText         = 2000
	MaxFields       = 20
	MaxLabel        = 75 // of a field, a link, a choice, an input; and the value of a choice
	MaxFieldValue   = 500
	MaxURL          = 3000
	MaxUsers        = 50 // in all: approvers, roles and escalations
	MaxGroups       = 20 // likewise
	MaxRequired     = 20
	MaxRoles        = 5
	MaxRoleName     = 30
	MaxRoleRequired = 10
	MaxConfirm      = 300
	MaxChoices      = 5
	MaxInputs       = 10
	MaxInputName    = 50
	MaxHint         = 150
	MaxOptions      = 100
	MaxReason       = 1000 // what a person writes: a reason, a comment, the value of a text input
	MaxNumber       = 40   // the value of a number input
	MaxEscalations  = 10
	MaxReminders    = 500 // that a request has until its deadline
	MaxChanges      = 100 // that people make
	MaxRounds       = 500 // in which it is decided
	MaxName         = 80  // of who decides or withdraws outside Slack, as they give it
	MaxHandedOver   = 8   // places of a request that groups or a channel may decide too
)

// MinReminder is how often a request may remind at the most.
const MinReminder = time.Minute

// Faults lists what is wrong with the request, in the order of its fields, each as a sentence that says what to do. Nil
// means that it can be asked, once somebody may decide it and it has a deadline: both may be left to the deployment's
// configuration. What that allows, and whether a deadline has passed, is not looked at.
//
// Of a list that is too long, only as many as it may have are looked at.
func (r Request) Faults() []string {
	var f faults
	f.add(r.Malformed != "", "%s", r.Malformed)
	f.text("The title", r.Title, MaxTitle, true)
	f.text("The text", r.Text, MaxText, false)
	f.count("fields", len(r.Fields), MaxFields)
	for i, field := range head(r.Fields, MaxFields) {
		f.text(fmt.Sprintf("The label of field %d", i+1), field.Label, MaxLabel, true)
		f.text(fmt.Sprintf("The value of field %d", i+1), field.Value, MaxFieldValue, false)
	}
	f.link(r.Link)
	f.add(!IsChannel(r.Channel) && !IsUser(r.Channel),
		"The channel %s is not the ID of a Slack channel, such as C0123456789, or of a person.", quote(r.Channel))
	f.add(r.Requester != "" && !IsUser(r.Requester),
		"The requester %s is not the ID of a Slack user, such as U0123456789.", quote(r.Requester))
	f.decide(r)
	f.oneOf("reject_reason", string(r.RejectReason), string(Off), string(Optional), string(Required))
	f.oneOf("approve_comment", string(r.ApproveComment), string(Off), string(Optional), string(Required))
	f.text("The question of confirm", r.Confirm, MaxConfirm, false)
	f.count("choices", len(r.Choices), MaxChoices)
	f.choices("choice", "", r.Choices, MaxChoices)
	for i, c := range head(r.Choices, MaxChoices) {
		f.add(strings.EqualFold(seen(c.Label), "reject"), "The label of choice %d is Reject, as that of the button beside it, which does not approve: give it another.", i+1)
	}
	f.count("inputs", len(r.Inputs), MaxInputs)
	for i, in := range head(r.Inputs, MaxInputs) {
		f.input(i+1, in)
		f.add(in.Name != "" && slices.ContainsFunc(r.Inputs[:i], func(o Input) bool { return o.Name == in.Name }),
			"Another input has the name %s: give each its own.", quote(in.Name))
	}
	f.duration("The deadline", r.Deadline, time.Second, "a second")
	f.add(r.Deadline != "" && !r.ExpiresAt.IsZero(), "There are both deadline and expires_at: give one of them.")
	f.oneOf("on_expiry", string(r.OnExpiry), string(Expire), string(ApproveOnExpiry), string(RejectOnExpiry))
	f.add(r.OnExpiry == ApproveOnExpiry && len(r.Choices) > 0,
		"on_expiry is approve, but nobody would have chosen: leave out on_expiry, or choices.")
	f.add(r.OnExpiry == ApproveOnExpiry && slices.ContainsFunc(r.Inputs, func(in Input) bool { return !in.Fits(string(in.Initial)) }),
		"on_expiry is approve, but not every input has an initial value: give them one, or make them optional.")
	f.duration("remind_every", r.RemindEvery, MinReminder, "a minute")
	f.count("escalations", len(r.Escalate), MaxEscalations)
	for i, e := range head(r.Escalate, MaxEscalations) {
		f.escalation(r, fmt.Sprintf("escalation %d", i+1), e)
	}
	return f
}

// faults are sentences.
type faults []string

func (f *faults) add(wrong bool, format string, args ...any) {
	if wrong {
		*f = append(*f, fmt.Sprintf(format, args...))
	}
}

// text checks a text of at most limit characters. Where it is needed, something of it must be visible.
func (f *faults) text(what, s string, limit int, needed bool) {
	n := utf8.RuneCountInString(s)
	switch {
	case !utf8.ValidString(s):
		f.add(true, "%s is not valid UTF-8.", what)
	case n > limit:
		f.add(true, "%s has %d characters and may have %d.", what, n, limit)
	case needed && blank(s):
		f.add(true, "%s is empty.", what)
	}
}

func (f *faults) count(what string, n, limit int) {
	f.add(n > limit, "There are %d %s and may be %d.", n, what, limit)
}

// oneOf checks a word that may be left out.
func (f *faults) oneOf(what, s string, words ...string) {
	last := len(words) - 1
	f.add(s != "" && !slices.Contains(words, s), "%s is %s and may be %s or %s.",
		what, quote(s), strings.Join(words[:last], ", "), words[last])
}

// duration checks a length of time that may be left out.
func (f *faults) duration(what string, d Duration, least time.Duration, inWords string) {
	v, err := d.Value()
	switch {
	case err != nil:
		f.add(true, "%s is %s, which is not a duration such as 90m, 24h or 3d.", what, quote(string(d)))
	case d != "" && v < least:
		f.add(true, "%s is %s and has to be %s at least.", what, quote(string(d)), inWords)
	case v > MaxDeadline:
		f.add(true, "%s is %s and may be %d days.", what, quote(string(d)), MaxDeadline/(24*time.Hour))
	}
}

func (f *faults) link(l Link) {
	u, err := url.Parse(l.URL)
	switch n := utf8.RuneCountInString(l.URL); {
	case l.URL == "" && l.Text != "":
		f.add(true, "The link has a text but no URL.")
	case n > MaxURL:
		f.add(true, "The URL of the link has %d characters and may have %d.", n, MaxURL)
	case l.URL != "":
		f.add(err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || !utf8.ValidString(l.URL),
			"The link leads to %s, which is not a URL such as https://example.com/page.", quote(l.URL))
	}
	f.text("The text of the link", l.Text, MaxLabel, false)
}

// decide checks who may decide.
func (f *faults) decide(r Request) {
	f.approvers("", r.Approvers)
	f.add(r.Required < 0 || r.Required > MaxRequired, "required is %d and may be 0 to %d.", r.Required, MaxRequired)
	f.add(len(r.Roles) > 0 && !r.Approvers.Empty(), "There are both roles and approvers: put the approvers into a role.")
	f.add(len(r.Roles) > 0 && r.Required != 0, "There are both roles and required: say in each role how many are required.")
	f.count("roles", len(r.Roles), MaxRoles)
	clearly := r.Required <= MaxRequired && len(r.Roles) <= MaxRoles
	for i, role := range head(r.Roles, MaxRoles) {
		what := fmt.Sprintf("role %d", i+1)
		f.text(fmt.Sprintf("The name of role %d", i+1), role.Name, MaxRoleName, true)
		same := slices.ContainsFunc(r.Roles[:i], func(o Role) bool { return o.Name == role.Name })
		f.add(same && role.Name != "", "Another role has the name %s: give each its own.", quote(role.Name))
		f.add(role.Empty(), "Nobody is in %s: name people or a user group.", what)
		f.approvers(" in "+what, role.Approvers)
		f.add(role.Required < 0 || role.Required > MaxRoleRequired,
			"required is %d in %s and may be 0 to %d.", role.Required, what, MaxRoleRequired)
		clearly = clearly && !same && role.Required <= MaxRoleRequired
	}

	users, groups := len(r.Approvers.Users), len(r.Approvers.Groups)
	for _, role := range r.Roles {
		users, groups = users+len(role.Users), groups+len(role.Groups)
	}
	for _, e := range r.Escalate {
		users, groups = users+len(e.Approvers.Users), groups+len(e.Approvers.Groups)
	}
	f.add(users > MaxUsers, "The request names %d people who may decide and may name %d: name a user group instead.", users, MaxUsers)
	f.add(groups > MaxGroups, "The request names %d user groups and may name %d.", groups, MaxGroups)
	if clearly && users <= MaxUsers && len(r.Escalate) <= MaxEscalations {
		f.enough(r)
	}
}

// approvers checks the IDs of people and groups.
func (f *faults) approvers(where string, a Approvers) {
	for _, id := range head(a.Users, MaxUsers) {
		f.add(!IsUser(id), "The approver %s%s is not the ID of a Slack user, such as U0123456789.", quote(id), where)
	}
	for _, id := range head(a.Groups, MaxGroups) {
		f.add(!IsGroup(id), "The approver %s%s is not the ID of a Slack user group, such as S0123456789.", quote(id), where)
	}
}

// enough checks that there can be as many approvals as are wanted, where that can be told: a group may have any number
// of members. Who is only added in time counts too.
func (f *faults) enough(r Request) {
	if r.Approvers.Empty() && len(r.Roles) == 0 { // The deployment's are still to be put in.
		return
	}
	all := Round{Request: r}
	deadline := r.Deadline.value()
	for _, e := range r.Escalate {
		if deadline > 0 && e.After.value() >= deadline {
			continue
		}
		all.Changes = append(all.Changes, Change{Kind: Escalate, Role: e.Role, Approvers: e.Approvers})
	}
	who := all.Who()
	mayNot := func(id string) bool { return id != "" && id == r.Requester && !r.AllowSelf }
	others := slices.ContainsFunc(who.Users, func(id string) bool { return !mayNot(id) })
	if !others && len(who.Users) > 0 && len(who.Groups) == 0 && !who.Channel {
		f.add(true, "The only approver is the requester, who may not decide their own request.")
		return
	}
	var people []Decision // made up: an approval of each
	named := slices.DeleteFunc(all.Wanted(), func(role Role) bool { return len(role.Groups) > 0 || role.Channel || role.Empty() })
	for _, role := range named {
		for _, id := range role.Users {
			at := slices.IndexFunc(people, func(d Decision) bool { return d.By.ID == id })
			if at < 0 && id != "" && !mayNot(id) {
				at, people = len(people), append(people, Decision{By: Person{ID: id}})
			}
			if at >= 0 {
				people[at].Roles = append(people[at].Roles, role.Name)
			}
		}
	}
	for _, missing := range fill(named, people).Missing {
		if len(r.Roles) > 0 {
			why := "as nobody fills two roles"
			if slices.ContainsFunc(missing.Users, mayNot) {
				why += " and the requester may not decide"
			}
			f.add(true, "The role %s needs %s, %s: name more people, or a user group.",
				quote(missing.Name), counted(missing.Required, "more person", "more people"), why)
			continue
		}
		besides := ""
		if slices.ContainsFunc(who.Users, mayNot) {
			besides = " besides the requester"
		}
		is := "are"
		if len(people) == 1 {
			is = "is"
		}
		f.add(true, "required is %d, but only %s%s %s named: name more approvers, or a user group.",
			max(1, r.Required), counted(len(people), "person", "people"), besides, is)
	}
}

// choices checks options that can be chosen, of which there may be limit.
func (f *faults) choices(what, where string, all []Choice, limit int) {
	for i, c := range head(all, limit) {
		one := fmt.Sprintf("%s %d%s", what, i+1, where)
		f.text("The label of "+one, c.Label, MaxLabel, true)
		f.text("The value of "+one, c.Value, MaxLabel, false)
		f.add(c.String() != "" && slices.ContainsFunc(all[:i], func(o Choice) bool { return o.String() == c.String() }),
			"The value of %s, %s, is the value of another: give each its own.", one, quote(c.String()))
	}
}

func (f *faults) input(number int, in Input) {
	what := fmt.Sprintf("input %d", number)
	named := in.Name != "" && len(in.Name) <= MaxInputName && strings.IndexFunc(in.Name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-'
	}) < 0
	f.add(!named, "The name of %s is %s and has to be 1 to %d letters, digits, _ and -.", what, quote(in.Name), MaxInputName)
	f.text("The label of "+what, in.Label, MaxLabel, false)
	known := []InputType{TextInput, NumberInput, SelectInput, DateInput, PersonInput}
	if in.Type != "" && !slices.Contains(known, in.Type) {
		f.add(true, "The type of %s is %s and may be text, number, select, date or person.", what, quote(string(in.Type)))
	} else {
		f.add(in.Type == SelectInput && len(in.Options) == 0, "There are no options to select from in %s.", what)
		f.add(in.Type != SelectInput && len(in.Options) > 0, "There are options in %s, which is not of the type select.", what)
		f.add(in.Initial != "" && !in.Fits(string(in.Initial)), "The initial value of %s, %s, is not %s.", what, quote(string(in.Initial)), in.Wants())
		f.add(in.Lines && in.Type != "" && in.Type != TextInput, "There may be no lines in %s, which is not of the type text.", what)
	}
	f.count("options in "+what, len(in.Options), MaxOptions)
	f.choices("option", " of "+what, in.Options, MaxOptions)
	f.text("The hint of "+what, in.Hint, MaxHint, false)
}

func (f *faults) escalation(r Request, what string, e Escalation) {
	after, err := e.After.Value()
	f.add(err == nil && after == 0, "There is no time in %s: say after how long, such as 4h.", what)
	f.duration("The time of "+what, e.After, 0, "")
	f.add(len(r.Roles) == 0 && e.Role != "", "There is the role %s in %s, but the request has no roles.", quote(e.Role), what)
	f.add(len(r.Roles) > 0 && !slices.ContainsFunc(r.Roles, func(role Role) bool { return role.Name == e.Role }),
		"The role %s in %s is none of the request's.", quote(e.Role), what)
	f.add(e.Approvers.Empty(), "Nobody is in %s: name people or a user group.", what)
	f.approvers(" in "+what, e.Approvers)
}

// Fits reports whether the input can have that value. Empty is a value that an optional input can have.
func (in Input) Fits(s string) bool {
	if s == "" {
		return in.Optional
	}
	switch in.Type {
	case "", TextInput:
		return utf8.ValidString(s) && utf8.RuneCountInString(s) <= MaxReason && (in.Lines || !strings.ContainsAny(s, "\r\n"))
	case NumberInput:
		return len(s) <= MaxNumber && isDecimal(s)
	case SelectInput:
		return slices.ContainsFunc(in.Options, func(c Choice) bool { return c.String() == s })
	case DateInput:
		_, err := time.Parse(time.DateOnly, s)
		return err == nil
	case PersonInput:
		return IsUser(s)
	default:
		return false
	}
}

// Wants says which values fit.
func (in Input) Wants() string {
	switch in.Type {
	case NumberInput:
		return fmt.Sprintf("a decimal number of at most %d characters, such as 12.50", MaxNumber)
	case SelectInput:
		return "the value of one of its options"
	case DateInput:
		return "a date, such as 2026-11-23"
	case PersonInput:
		return "the ID of a Slack user, such as U0123456789"
	default:
		if in.Lines {
			return fmt.Sprintf("text of at most %d characters", MaxReason)
		}
		return fmt.Sprintf("one line of at most %d characters", MaxReason)
	}
}

// isDecimal reports whether s is a number such as 12, -12 or 12.50.
func isDecimal(s string) bool {
	digits := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
	whole, part, point := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	return digits(whole) && (!point || digits(part))
}

// blank reports whether nothing of s can be seen. Some characters without a picture count as letters or marks.
func blank(s string) bool { return seen(s) == "" }

// seen is what can be seen of s.
func seen(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsGraphic(c) && !unicode.IsSpace(c) && !unicode.Is(unicode.Variation_Selector, c) &&
			!unicode.Is(unicode.Other_Default_Ignorable_Code_Point, c) && c != '\u2800' && c != utf8.RuneError {
			return c
		}
		return -1
	}, s)
}

// head is the first n of all.
func head[T any](all []T, n int) []T { return all[:min(len(all), n)] }

// quote quotes the beginning of s.
func quote(s string) string {
	const enough = 50
	if utf8.RuneCountInString(s) > enough {
		s = string([]rune(s)[:enough]) + "…"
	}
	return fmt.Sprintf("%q", s)
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
