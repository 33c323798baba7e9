package workflows

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// valid is a request without a fault.
func valid() Request {
	return Request{Title: "Deploy", Channel: "C0GENERAL1", Requester: "U0ALICE001", Approvers: Approvers{Users: []string{"U0BOB00001", "U0CAROL001"}}}
}

// chars is a text of n characters, of more bytes.
func chars(n int) string { return strings.Repeat("é", n) }

// ids are n IDs that begin with the letter.
func ids(letter string, n int) []string {
	all := make([]string, 0, n)
	for i := range n {
		all = append(all, fmt.Sprintf("%s0X%06d", letter, i))
	}
	return all
}

// many calls of for 0 to n-1.
func many[T any](n int, of func(i int) T) []T {
	all := make([]T, 0, n)
	for i := range n {
		all = append(all, of(i))
	}
	return all
}

// full is a request with every field at its limit.
func full() Request {
	choice := func(i int) Choice {
		return Choice{Label: chars(MaxLabel), Value: fmt.Sprintf("%02d%s", i, chars(MaxLabel-2))}
	}
	return Request{
		Title: chars(MaxTitle), Text: chars(MaxText),
		Fields:    many(MaxFields, func(int) Field { return Field{Label: chars(MaxLabel), Value: chars(MaxFieldValue)} }),
		Link:      Link{URL: "https://example.com/" + strings.Repeat("x", MaxURL-20), Text: chars(MaxLabel)},
		Channel:   "C0123456789ABCDEFGHIJ",
		Requester: "U0ALICE001",
		Roles: many(MaxRoles, func(i int) Role {
			role := Role{Name: fmt.Sprintf("%02d%s", i, chars(MaxRoleName-2)), Required: MaxRoleRequired}
			role.Users = []string{fmt.Sprintf("U%020d", i)}
			role.Groups = []string{fmt.Sprintf("S%020d", i)}
			return role
		}),
		AllowSelf: true, AllowGuests: true,
		RejectReason: Required, ApproveComment: Required,
		Confirm: chars(MaxConfirm),
		Choices: many(MaxChoices, choice),
		Inputs: many(MaxInputs, func(i int) Input {
			return Input{
				Name: fmt.Sprintf("%02d%s", i, strings.Repeat("_", MaxInputName-2)), Label: chars(MaxLabel), Type: SelectInput,
				Options: many(MaxOptions, choice), Initial: Text(choice(i).Value), Optional: true, Hint: chars(MaxHint),
			}
		}),
		Deadline: "366d", OnExpiry: RejectOnExpiry, RemindEvery: "366d",
		Escalate: many(MaxEscalations, func(i int) Escalation {
			e := Escalation{After: "366d", Role: "00" + chars(MaxRoleName-2)}
			e.Approvers.Users = many(4, func(j int) string { return fmt.Sprintf("W%019d%d", i, j) })
			e.Approvers.Groups = []string{fmt.Sprintf("S%019d%d", i, 9)}
			return e
		}),
		TellRequester: true, FailOnReject: true,
	}
}

func TestRequestWithEveryFieldAtItsLimitHasNoFault(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]Request{"with roles": full(), "plain": valid()} {
		if faults := r.Faults(); faults != nil {
			t.Errorf("%s: %q", name, faults)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	input := func(in Input) []Input { return []Input{in} }
	for name, tc := range map[string]struct {
		limit int
		set   func(r *Request, n int)
		fault string // of one over the limit
	}{
		"title":     {MaxTitle, func(r *Request, n int) { r.Title = chars(n) }, "The title has 151 characters and may have 150."},
		"text":      {MaxText, func(r *Request, n int) { r.Text = chars(n) }, "The text has 2001 characters and may have 2000."},
		"fields":    {MaxFields, func(r *Request, n int) { r.Fields = many(n, func(int) Field { return Field{Label: "a"} }) }, "There are 21 fields and may be 20."},
		"label":     {MaxLabel, func(r *Request, n int) { r.Fields = []Field{{Label: "a"}, {Label: chars(n)}} }, "The label of field 2 has 76 characters and may have 75."},
		"value":     {MaxFieldValue, func(r *Request, n int) { r.Fields = []Field{{Label: "a", Value: chars(n)}} }, "The value of field 1 has 501 characters and may have 500."},
		"link":      {MaxURL, func(r *Request, n int) { r.Link.URL = "http://a/" + chars(n-9) }, "The URL of the link has 3001 characters and may have 3000."},
		"link text": {MaxLabel, func(r *Request, n int) { r.Link = Link{URL: "http://a", Text: chars(n)} }, "The text of the link has 76 characters and may have 75."},
		"users":     {MaxUsers, func(r *Request, n int) { r.Approvers.Users = ids("U", n) }, "The request names 51 people who may decide and may name 50: name a user group instead."},
		"groups":    {MaxGroups, func(r *Request, n int) { r.Approvers.Groups = ids("S", n) }, "The request names 21 user groups and may name 20."},
		"required":  {MaxRequired, func(r *Request, n int) { r.Required, r.Approvers.Channel = n, true }, "required is 21 and may be 0 to 20."},
		"role name": {MaxRoleName, func(r *Request, n int) { r.Roles, r.Approvers = []Role{{chars(n), r.Approvers, 0}}, Approvers{} }, "The name of role 1 has 31 characters and may have 30."},
		"of a role": {MaxRoleRequired, func(r *Request, n int) {
			r.Roles, r.Approvers = []Role{{"a", Approvers{Channel: true}, n}}, Approvers{}
		}, "required is 11 in role 1 and may be 0 to 10."},
		"confirm": {MaxConfirm, func(r *Request, n int) { r.Confirm = chars(n) }, "The question of confirm has 301 characters and may have 300."},
		"choices": {MaxChoices, func(r *Request, n int) {
			r.Choices = many(n, func(i int) Choice { return Choice{Label: fmt.Sprint(i)} })
		}, "There are 6 choices and may be 5."},
		"choice":    {MaxLabel, func(r *Request, n int) { r.Choices = []Choice{{Label: chars(n)}} }, "The label of choice 1 has 76 characters and may have 75."},
		"its value": {MaxLabel, func(r *Request, n int) { r.Choices = []Choice{{Label: "a", Value: chars(n)}} }, "The value of choice 1 has 76 characters and may have 75."},
		"inputs":    {MaxInputs, func(r *Request, n int) { r.Inputs = many(n, func(i int) Input { return Input{Name: fmt.Sprint(i)} }) }, "There are 11 inputs and may be 10."},
		"label of":  {MaxLabel, func(r *Request, n int) { r.Inputs = input(Input{Name: "a", Label: chars(n)}) }, "The label of input 1 has 76 characters and may have 75."},
		"hint":      {MaxHint, func(r *Request, n int) { r.Inputs = input(Input{Name: "a", Hint: chars(n)}) }, "The hint of input 1 has 151 characters and may have 150."},
		"escalation": {MaxEscalations, func(r *Request, n int) {
			r.Escalate = many(n, func(int) Escalation { return Escalation{"1h", "", Approvers{Channel: true}} })
		}, "There are 11 escalations and may be 10."},
		"options": {MaxOptions, func(r *Request, n int) {
			r.Inputs = input(Input{Name: "a", Type: SelectInput, Options: many(n, func(i int) Choice { return Choice{Label: fmt.Sprint(i)} })})
		}, "There are 101 options in input 1 and may be 100."},
		"option": {MaxLabel, func(r *Request, n int) {
			r.Inputs = input(Input{Name: "a", Type: SelectInput, Options: []Choice{{Label: "b"}, {Label: chars(n)}}})
		}, "The label of option 2 of input 1 has 76 characters and may have 75."},
		"roles": {MaxRoles, func(r *Request, n int) {
			r.Approvers = Approvers{}
			r.Roles = many(n, func(i int) Role { return Role{Name: fmt.Sprint(i), Approvers: Approvers{Users: ids("U", 8)}} })
		}, "There are 6 roles and may be 5."},
		"people of roles and escalations": {MaxUsers, func(r *Request, n int) {
			r.Approvers = Approvers{}
			r.Roles = []Role{{"a", Approvers{Users: ids("U", 20)}, 0}, {"b", Approvers{Users: ids("U", 20)}, 0}}
			r.Escalate = []Escalation{{"1h", "b", Approvers{Users: ids("W", n-40)}}}
		}, "The request names 51 people who may decide and may name 50: name a user group instead."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := valid()
			if tc.set(&r, tc.limit); r.Faults() != nil {
				t.Errorf("at its limit: %q", r.Faults())
			}
			r = valid()
			tc.set(&r, tc.limit+1)
			if diff := cmp.Diff([]string{tc.fault}, r.Faults()); diff != "" {
				t.Errorf("one over (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	set := func(change func(*Request)) Request {
		r := valid()
		change(&r)
		return r
	}
	with := func(in Input) Request { return set(func(r *Request) { r.Inputs = []Input{in} }) }
	escalate := func(e ...Escalation) Request { return set(func(r *Request) { r.Escalate = e }) }
	users := func(ids ...string) Approvers { return Approvers{Users: ids} }
	decide := func(required int, a Approvers, e ...Escalation) Request {
		return set(func(r *Request) { r.Required, r.Approvers, r.Escalate = required, a, e })
	}
	roles := func(all ...Role) Request {
		return set(func(r *Request) { r.Roles, r.Approvers = all, Approvers{} })
	}
	reject := func(choice int) string {
		return fmt.Sprintf("The label of choice %d is Reject, as that of the button beside it, which does not approve: give it another.", choice)
	}
	const (
		alone   = "The only approver is the requester, who may not decide their own request."
		channel = "The channel %s is not the ID of a Slack channel, such as C0123456789, or of a person."
	)
	for name, tc := range map[string]struct {
		r    Request
		want []string
	}{
		"nothing but a title and a channel": {Request{Title: "a", Channel: "D0000000001"}, nil},
		"a person's direct message":         {Request{Title: "a", Channel: "U0BOB00001"}, nil},

		"no title":                  {set(func(r *Request) { r.Title = "" }), []string{"The title is empty."}},
		"title of spaces":           {set(func(r *Request) { r.Title = " \t\n\u00a0\u3000" }), []string{"The title is empty."}},
		"title that cannot be seen": {set(func(r *Request) { r.Title = "\u200b\u2060\u3164\u2800\ufe0f\u202e\x00" }), []string{"The title is empty."}},
		"title is not UTF-8":        {set(func(r *Request) { r.Title = "a\xff" }), []string{"The title is not valid UTF-8."}},
		"texts are not UTF-8": {
			set(func(r *Request) {
				r.Text, r.Confirm, r.Fields = "\xff", "\xc3", []Field{{"\xff", "\xff"}}
				r.Link = Link{"https://a/\xff", "\xff"}
				r.Choices = []Choice{{"\xff", "\xfe"}}
			}),
			[]string{
				"The text is not valid UTF-8.", "The label of field 1 is not valid UTF-8.", "The value of field 1 is not valid UTF-8.",
				`The link leads to "https://a/\xff", which is not a URL such as https://example.com/page.`, "The text of the link is not valid UTF-8.",
				"The question of confirm is not valid UTF-8.", "The label of choice 1 is not valid UTF-8.", "The value of choice 1 is not valid UTF-8.",
			},
		},
		"field without a label": {set(func(r *Request) { r.Fields = []Field{{"", "x"}} }), []string{"The label of field 1 is empty."}},

		"link to a file":        {set(func(r *Request) { r.Link.URL = "file:///etc/passwd" }), []string{`The link leads to "file:///etc/passwd", which is not a URL such as https://example.com/page.`}},
		"link with a script":    {set(func(r *Request) { r.Link.URL = "javascript:alert(1)" }), []string{`The link leads to "javascript:alert(1)", which is not a URL such as https://example.com/page.`}},
		"link without a host":   {set(func(r *Request) { r.Link.URL = "https://:443/x" }), []string{`The link leads to "https://:443/x", which is not a URL such as https://example.com/page.`}},
		"link in several lines": {set(func(r *Request) { r.Link.URL = "https://a\n" }), []string{`The link leads to "https://a\n", which is not a URL such as https://example.com/page.`}},
		"link without a URL":    {set(func(r *Request) { r.Link.Text = "x" }), []string{"The link has a text but no URL."}},
		"link in capitals":      {set(func(r *Request) { r.Link.URL = "HTTPS://EXAMPLE.COM" }), nil},

		"no channel":          {set(func(r *Request) { r.Channel = "" }), []string{fmt.Sprintf(channel, `""`)}},
		"channel's name":      {set(func(r *Request) { r.Channel = "#general" }), []string{fmt.Sprintf(channel, `"#general"`)}},
		"channel of all that": {set(func(r *Request) { r.Channel = strings.Repeat("C", 1<<20) }), []string{fmt.Sprintf(channel, `"`+strings.Repeat("C", 50)+`…"`)}},
		"requester's name":    {set(func(r *Request) { r.Requester = "@alice" }), []string{`The requester "@alice" is not the ID of a Slack user, such as U0123456789.`}},
		"nobody asks":         {set(func(r *Request) { r.Requester = "" }), nil},

		"approvers that are none": {
			decide(0, Approvers{Users: []string{"", "bob", "S0SRE00001"}, Groups: []string{"U0BOB00001"}}),
			[]string{
				`The approver "" is not the ID of a Slack user, such as U0123456789.`,
				`The approver "bob" is not the ID of a Slack user, such as U0123456789.`,
				`The approver "S0SRE00001" is not the ID of a Slack user, such as U0123456789.`,
				`The approver "U0BOB00001" is not the ID of a Slack user group, such as S0123456789.`,
			},
		},
		"fewer than none required":             {decide(-1, users("U2")), []string{"required is -1 and may be 0 to 20."}},
		"three of two":                         {decide(3, users("U2", "U3")), []string{"required is 3, but only 2 people are named: name more approvers, or a user group."}},
		"two of one who is named twice":        {decide(2, users("U2", "U2")), []string{"required is 2, but only 1 person is named: name more approvers, or a user group."}},
		"two of two":                           {decide(2, users("U2", "U3")), nil},
		"three of two and a group":             {decide(3, Approvers{Users: []string{"U2", "U3"}, Groups: []string{"S1"}}), nil},
		"three of two and the channel":         {decide(3, Approvers{Users: []string{"U2", "U3"}, Channel: true}), nil},
		"three of two, and a third in time":    {decide(3, users("U2", "U3"), Escalation{"1h", "", users("U4")}), nil},
		"four of two, and a third in time":     {decide(4, users("U2", "U3"), Escalation{"1h", "", users("U3", "U4")}), []string{"required is 4, but only 3 people are named: name more approvers, or a user group."}},
		"three of two, and a group in time":    {decide(3, users("U2", "U3"), Escalation{"1h", "", Approvers{Groups: []string{"S1"}}}), nil},
		"three, before the deployment's":       {decide(3, Approvers{}, Escalation{"1h", "", users("U4")}), nil},
		"two of the requester and one":         {decide(2, users("U0ALICE001", "U2")), []string{"required is 2, but only 1 person besides the requester is named: name more approvers, or a user group."}},
		"two of the requester and one, self":   {set(func(r *Request) { r.Required, r.AllowSelf, r.Approvers = 2, true, users("U0ALICE001", "U2") }), nil},
		"the requester alone":                  {decide(0, users("U0ALICE001")), []string{alone}},
		"the requester alone, twice, for two":  {decide(2, users("U0ALICE001", "U0ALICE001")), []string{alone}},
		"the requester alone, self":            {set(func(r *Request) { r.AllowSelf, r.Approvers = true, users("U0ALICE001") }), nil},
		"the requester alone, another in time": {decide(0, users("U0ALICE001"), Escalation{"1h", "", users("U2")}), nil},
		"the requester in every role":          {roles(Role{"a", users("U0ALICE001"), 0}, Role{"b", users("U0ALICE001"), 0}), []string{alone}},

		"roles": {roles(Role{"security", users("U2"), 0}, Role{"sre", Approvers{Groups: []string{"S1"}}, 2}), nil},
		"roles and approvers": {
			set(func(r *Request) { r.Required, r.Roles = 1, []Role{{"a", users("U2"), 0}} }),
			[]string{"There are both roles and approvers: put the approvers into a role.", "There are both roles and required: say in each role how many are required."},
		},
		"roles without names":   {roles(Role{"", users("U2"), 0}, Role{" ", users("U3"), 0}), []string{"The name of role 1 is empty.", "The name of role 2 is empty."}},
		"roles of one name":     {roles(Role{"a", users("U2"), 0}, Role{"a", users("U3"), 0}), []string{`Another role has the name "a": give each its own.`}},
		"nobody in a role":      {roles(Role{"a", users("U2"), 0}, Role{"b", Approvers{}, 2}), []string{"Nobody is in role 2: name people or a user group."}},
		"a role of minus one":   {roles(Role{"a", users("U2"), -1}), []string{"required is -1 in role 1 and may be 0 to 10."}},
		"somebody in a role":    {roles(Role{"a", Approvers{Users: []string{"bob"}, Groups: []string{"sre"}}, 0}), []string{`The approver "bob" in role 1 is not the ID of a Slack user, such as U0123456789.`, `The approver "sre" in role 1 is not the ID of a Slack user group, such as S0123456789.`}},
		"one for two roles":     {roles(Role{"a", users("U2"), 0}, Role{"b", users("U2"), 0}), []string{`The role "b" needs 1 more person, as nobody fills two roles: name more people, or a user group.`}},
		"two for two roles":     {roles(Role{"a", users("U2", "U3"), 0}, Role{"b", users("U2"), 0}), nil},
		"one for a group's too": {roles(Role{"a", users("U2"), 0}, Role{"b", Approvers{Users: []string{"U2"}, Groups: []string{"S1"}}, 2}), nil},
		"the requester in one of two roles": {
			roles(Role{"a", users("U2"), 0}, Role{"b", users("U0ALICE001"), 0}),
			[]string{`The role "b" needs 1 more person, as nobody fills two roles and the requester may not decide: name more people, or a user group.`},
		},
		"three lack in a role": {roles(Role{"a", users("U2"), 4}), []string{`The role "a" needs 3 more people, as nobody fills two roles: name more people, or a user group.`}},

		"answers": {
			set(func(r *Request) { r.RejectReason, r.ApproveComment, r.OnExpiry = "yes", "\xff", "ask" }),
			[]string{
				`reject_reason is "yes" and may be off, optional or required.`, `approve_comment is "\xff" and may be off, optional or required.`,
				`on_expiry is "ask" and may be expire, approve or reject.`,
			},
		},
		"one choice":                      {set(func(r *Request) { r.Choices = []Choice{{Label: "Staging"}} }), nil},
		"choice without a label":          {set(func(r *Request) { r.Choices = []Choice{{Value: "x"}, {}} }), []string{"The label of choice 1 is empty.", "The label of choice 2 is empty."}},
		"a choice named Reject":           {set(func(r *Request) { r.Choices = []Choice{{Label: "Blue"}, {Label: "Reject"}} }), []string{reject(2)}},
		"a choice that looks like Reject": {set(func(r *Request) { r.Choices = []Choice{{" re\u200bject", "x"}, {"REJECT\ufe0f ", "y"}} }), []string{reject(1), reject(2)}},
		"a choice whose value is reject":  {set(func(r *Request) { r.Choices = []Choice{{Label: "Rejected"}, {Label: "Reject it"}, {"No", "reject"}} }), nil},
		"an option named Reject":          {with(Input{Name: "a", Type: SelectInput, Options: []Choice{{Label: "Reject"}}}), nil},
		"choices of one value": {
			set(func(r *Request) { r.Choices = []Choice{{Label: "a"}, {Label: "b"}, {Label: "c", Value: "a"}} }),
			[]string{`The value of choice 3, "a", is the value of another: give each its own.`},
		},

		"input without a name":      {with(Input{}), []string{`The name of input 1 is "" and has to be 1 to 50 letters, digits, _ and -.`}},
		"input with a long name":    {with(Input{Name: strings.Repeat("a", 51)}), []string{`The name of input 1 is "` + strings.Repeat("a", 50) + `…" and has to be 1 to 50 letters, digits, _ and -.`}},
		"input with a strange name": {with(Input{Name: "größe"}), []string{`The name of input 1 is "größe" and has to be 1 to 50 letters, digits, _ and -.`}},
		"inputs of one name":        {set(func(r *Request) { r.Inputs = []Input{{Name: "a"}, {Name: "a"}} }), []string{`Another input has the name "a": give each its own.`}},
		"input of no known type":    {with(Input{Name: "a", Type: "time", Initial: "x"}), []string{`The type of input 1 is "time" and may be text, number, select, date or person.`}},
		"select without options":    {with(Input{Name: "a", Type: SelectInput}), []string{"There are no options to select from in input 1."}},
		"options of a text":         {with(Input{Name: "a", Options: []Choice{{Label: "x"}}}), []string{"There are options in input 1, which is not of the type select."}},
		"lines of a number":         {with(Input{Name: "a", Type: NumberInput, Lines: true}), []string{"There may be no lines in input 1, which is not of the type text."}},
		"options of one value": {
			with(Input{Name: "a", Type: SelectInput, Options: []Choice{{Label: "x"}, {Label: "x"}}}),
			[]string{`The value of option 2 of input 1, "x", is the value of another: give each its own.`},
		},
		"text in lines":            {with(Input{Name: "a", Initial: "b\nc", Lines: true}), nil},
		"text in lines, but one":   {with(Input{Name: "a", Initial: "b\nc"}), []string{`The initial value of input 1, "b\nc", is not one line of at most 1000 characters.`}},
		"text too long":            {with(Input{Name: "a", Initial: Text(chars(1001)), Lines: true}), []string{`The initial value of input 1, "` + chars(50) + `…", is not text of at most 1000 characters.`}},
		"no number":                {with(Input{Name: "a", Type: NumberInput, Initial: "1e3"}), []string{`The initial value of input 1, "1e3", is not a decimal number of at most 40 characters, such as 12.50.`}},
		"no option":                {with(Input{Name: "a", Type: SelectInput, Options: []Choice{{"X", "x"}}, Initial: "X"}), []string{`The initial value of input 1, "X", is not the value of one of its options.`}},
		"no date":                  {with(Input{Name: "a", Type: DateInput, Initial: "2026-02-30"}), []string{`The initial value of input 1, "2026-02-30", is not a date, such as 2026-11-23.`}},
		"no person":                {with(Input{Name: "a", Type: PersonInput, Initial: "C0GENERAL1"}), []string{`The initial value of input 1, "C0GENERAL1", is not the ID of a Slack user, such as U0123456789.`}},
		"optional, and to be seen": {with(Input{Name: "a", Type: DateInput, Optional: true}), nil},

		"deadline of a second":        {set(func(r *Request) { r.Deadline = "1s" }), nil},
		"deadline of less":            {set(func(r *Request) { r.Deadline = "999ms" }), []string{`The deadline is "999ms" and has to be a second at least.`}},
		"deadline of nothing":         {set(func(r *Request) { r.Deadline = "0s" }), []string{`The deadline is "0s" and has to be a second at least.`}},
		"deadline before":             {set(func(r *Request) { r.Deadline = "-1h" }), []string{`The deadline is "-1h", which is not a duration such as 90m, 24h or 3d.`}},
		"deadline in words":           {set(func(r *Request) { r.Deadline = "tomorrow" }), []string{`The deadline is "tomorrow", which is not a duration such as 90m, 24h or 3d.`}},
		"deadline of a year and more": {set(func(r *Request) { r.Deadline = "366d1s" }), []string{`The deadline is "366d1s" and may be 366 days.`}},
		"deadline beyond all time":    {set(func(r *Request) { r.Deadline = "8784d2562047h" }), []string{`The deadline is "8784d2562047h", which is not a duration such as 90m, 24h or 3d.`}},
		"two deadlines":               {set(func(r *Request) { r.Deadline, r.ExpiresAt = "1h", time.Unix(1, 0) }), []string{"There are both deadline and expires_at: give one of them."}},
		"reminder every minute":       {set(func(r *Request) { r.RemindEvery = "1m" }), nil},
		"reminder all the time":       {set(func(r *Request) { r.RemindEvery = "59s" }), []string{`remind_every is "59s" and has to be a minute at least.`}},

		"silence approves":         {set(func(r *Request) { r.OnExpiry = ApproveOnExpiry }), nil},
		"silence chooses":          {set(func(r *Request) { r.OnExpiry, r.Choices = ApproveOnExpiry, []Choice{{Label: "a"}} }), []string{"on_expiry is approve, but nobody would have chosen: leave out on_expiry, or choices."}},
		"silence rejects a choice": {set(func(r *Request) { r.OnExpiry, r.Choices = RejectOnExpiry, []Choice{{Label: "a"}} }), nil},
		"silence fills in":         {set(func(r *Request) { r.OnExpiry, r.Inputs = ApproveOnExpiry, []Input{{Name: "a"}} }), []string{"on_expiry is approve, but not every input has an initial value: give them one, or make them optional."}},
		"silence leaves one of two": {set(func(r *Request) {
			r.OnExpiry, r.Inputs = ApproveOnExpiry, []Input{{Name: "a", Initial: "x"}, {Name: "b"}}
		}), []string{"on_expiry is approve, but not every input has an initial value: give them one, or make them optional."}},
		"silence leaves as it is": {set(func(r *Request) {
			r.OnExpiry, r.Inputs = ApproveOnExpiry, []Input{{Name: "a", Initial: "x"}, {Name: "b", Optional: true}}
		}), nil},
		"silence rejects inputs": {set(func(r *Request) { r.OnExpiry, r.Inputs = RejectOnExpiry, []Input{{Name: "a"}} }), nil},

		"more than are named, in time": {
			set(func(r *Request) {
				r.Required, r.Deadline, r.Escalate = 3, "2h", []Escalation{{"119m", "", users("U4")}}
			}), nil,
		},
		"more than are named by the deadline": {
			set(func(r *Request) {
				r.Required, r.Deadline, r.Escalate = 3, "2h", []Escalation{{"2h", "", users("U4")}, {"3h", "", users("U5")}}
			}),
			[]string{"required is 3, but only 2 people are named: name more approvers, or a user group."},
		},
		"a role that is filled after the deadline": {
			set(func(r *Request) {
				r.Approvers, r.Roles, r.Deadline = Approvers{}, []Role{{"a", users("U2"), 2}}, "2h"
				r.Escalate = []Escalation{{"1d", "a", Approvers{Groups: []string{"S1"}}}}
			}),
			[]string{`The role "a" needs 1 more person, as nobody fills two roles: name more people, or a user group.`},
		},
		"escalation": {escalate(Escalation{"1ns", "", users("U4")}, Escalation{"366d", "", Approvers{Channel: true}}), nil},
		"escalation without anything": {
			escalate(Escalation{}, Escalation{After: "0h"}),
			[]string{
				"There is no time in escalation 1: say after how long, such as 4h.", "Nobody is in escalation 1: name people or a user group.",
				"There is no time in escalation 2: say after how long, such as 4h.", "Nobody is in escalation 2: name people or a user group.",
			},
		},
		"escalation at some time": {
			escalate(Escalation{"soon", "sre", Approvers{[]string{"x"}, []string{"y"}, false}}, Escalation{"367d", "", users("U4")}),
			[]string{
				`The time of escalation 1 is "soon", which is not a duration such as 90m, 24h or 3d.`,
				`There is the role "sre" in escalation 1, but the request has no roles.`,
				`The approver "x" in escalation 1 is not the ID of a Slack user, such as U0123456789.`,
				`The approver "y" in escalation 1 is not the ID of a Slack user group, such as S0123456789.`,
				`The time of escalation 2 is "367d" and may be 366 days.`,
			},
		},
		"escalation to another role": {
			set(func(r *Request) {
				r.Approvers, r.Roles = Approvers{}, []Role{{"a", users("U2"), 0}}
				r.Escalate = []Escalation{{"1h", "b", users("U3")}, {"1h", "", users("U3")}, {"1h", "a", users("U3")}}
			}),
			[]string{`The role "b" in escalation 1 is none of the request's.`, `The role "" in escalation 2 is none of the request's.`},
		},

		"all at once, in the order of the fields": {
			Request{
				Text: chars(2001), Fields: []Field{{}}, Link: Link{URL: "x"}, Requester: "x", Approvers: users("x"), Required: 2,
				RejectReason: "x", ApproveComment: "x", Confirm: chars(301), Choices: make([]Choice, 6), Inputs: make([]Input, 1),
				Deadline: "x", ExpiresAt: time.Unix(1, 0), OnExpiry: "x", RemindEvery: "1s", Escalate: []Escalation{{After: "1h"}},
			},
			[]string{
				"The title is empty.", "The text has 2001 characters and may have 2000.", "The label of field 1 is empty.",
				`The link leads to "x", which is not a URL such as https://example.com/page.`, fmt.Sprintf(channel, `""`),
				`The requester "x" is not the ID of a Slack user, such as U0123456789.`,
				`The approver "x" is not the ID of a Slack user, such as U0123456789.`, alone,
				`reject_reason is "x" and may be off, optional or required.`, `approve_comment is "x" and may be off, optional or required.`,
				"The question of confirm has 301 characters and may have 300.",
				"There are 6 choices and may be 5.", "The label of choice 1 is empty.", "The label of choice 2 is empty.",
				"The label of choice 3 is empty.", "The label of choice 4 is empty.", "The label of choice 5 is empty.",
				`The name of input 1 is "" and has to be 1 to 50 letters, digits, _ and -.`,
				`The deadline is "x", which is not a duration such as 90m, 24h or 3d.`, "There are both deadline and expires_at: give one of them.",
				`on_expiry is "x" and may be expire, approve or reject.`, `remind_every is "1s" and has to be a minute at least.`,
				"Nobody is in escalation 1: name people or a user group.",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, tc.r.Faults()); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// Nobody has to wait for the end of a request that is too large by far, or to read all of what is wrong with it.
func TestFaultsOfTooMuch(t *testing.T) {
	t.Parallel()
	const n = 20_000
	r := Request{
		Title: strings.Repeat("\xff", n), Fields: make([]Field, n), Approvers: Approvers{Users: make([]string, n), Groups: make([]string, n)},
		Roles: make([]Role, n), Choices: make([]Choice, n), Inputs: make([]Input, n), Escalate: make([]Escalation, n), Required: -n,
	}
	for i := range r.Inputs {
		r.Inputs[i].Options = make([]Choice, n)
	}
	all := r.Faults()
	if n := len(strings.Join(all, " ")); len(all) > 1500 || n > 100_000 {
		t.Errorf("%d faults, of %d characters", len(all), n)
	}
}

func TestFits(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		in      Input
		yes, no []string
	}{
		"text":     {Input{}, []string{"a", chars(MaxReason), " "}, []string{"", chars(MaxReason + 1), "a\nb", "a\rb", "\xff"}},
		"lines":    {Input{Lines: true, Type: TextInput}, []string{"a\r\nb"}, []string{""}},
		"optional": {Input{Optional: true, Type: NumberInput}, []string{"", "1"}, []string{" "}},
		"number": {
			Input{Type: NumberInput},
			[]string{"0", "-12.50", "007", strings.Repeat("9", MaxNumber)},
			[]string{"", "-", ".", ".5", "5.", "+1", "1,5", "1.2.3", "--1", "1e3", "NaN", "٣", " 1", strings.Repeat("9", MaxNumber+1)},
		},
		"select":     {Input{Type: SelectInput, Options: []Choice{{"A", "a"}, {"B", ""}}}, []string{"a", "B"}, []string{"", "A", "b"}},
		"date":       {Input{Type: DateInput}, []string{"2026-11-23", "2028-02-29"}, []string{"2026-02-29", "2026-2-3", "23.11.2026", "2026-11-23T00:00:00Z", "12026-01-01"}},
		"person":     {Input{Type: PersonInput}, []string{"U0BOB00001", "W1"}, []string{"U", "u0bob", "<@U0BOB00001>", "U0BOB00001 "}},
		"of no kind": {Input{Type: "x"}, nil, []string{"a"}},
	} {
		for _, s := range tc.yes {
			if !tc.in.Fits(s) {
				t.Errorf("%s: %q does not fit", name, s)
			}
		}
		for _, s := range tc.no {
			if tc.in.Fits(s) {
				t.Errorf("%s: %q fits", name, s)
			}
		}
	}
}

func TestDurationInJSON(t *testing.T) {
	t.Parallel()
	for in, tc := range map[string]struct {
		want time.Duration
		bad  bool
	}{
		`"90m"`:             {want: 90 * time.Minute},
		`"1h30m"`:           {want: 90 * time.Minute},
		`"3d"`:              {want: 72 * time.Hour},
		`"1d12h"`:           {want: 36 * time.Hour},
		`"0.5d"`:            {want: 12 * time.Hour},
		`" 2h "`:            {want: 2 * time.Hour},
		`90`:                {want: 90 * time.Second},
		`1.5`:               {want: 1500 * time.Millisecond},
		`0`:                 {},
		`""`:                {},
		`null`:              {},
		`"0s"`:              {},
		`"90"`:              {bad: true},
		`-5`:                {bad: true},
		`1e3`:               {bad: true},
		`"-1h"`:             {bad: true},
		`"-1d"`:             {bad: true},
		`"1d-1h"`:           {bad: true},
		`"1d1d"`:            {bad: true},
		`"d"`:               {bad: true},
		`"soon"`:            {bad: true},
		`"1e9d"`:            {bad: true},
		`"9999999d"`:        {bad: true},
		`"8784d2562047h"`:   {bad: true},
		`99999999999999999`: {bad: true},
		`true`:              {bad: true},
		`{"hours":1}`:       {bad: true},
		`["1h"]`:            {bad: true},
	} {
		var r struct{ D Duration }
		if err := json.Unmarshal([]byte(`{"D":`+in+`}`), &r); err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		got, err := r.D.Value()
		if got != tc.want || (err != nil) != tc.bad {
			t.Errorf("%s: %v, %v; want %v, an error: %v", in, got, err, tc.want, tc.bad)
		}
		if faults := (&faults{}); tc.bad {
			if faults.duration("It", r.D, 0, ""); len(*faults) != 1 {
				t.Errorf("%s: %q, want one fault", in, *faults)
			}
		}
	}
}

func TestTextInJSON(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Text{
		`"12.50"`: "12.50", `12.50`: "12.50", `1e3`: "1e3", `true`: "true", `null`: "", `""`: "", `"a\nb"`: "a\nb", `{"a": 1}`: `{"a": 1}`,
	} {
		var got struct{ T Text }
		if err := json.Unmarshal([]byte(`{"T":`+in+`}`), &got); err != nil || got.T != want {
			t.Errorf("%s is %q, %v; want %q", in, got.T, err, want)
		}
	}
}

func TestRequestInJSON(t *testing.T) {
	t.Parallel()
	r := full()
	r.Deadline, r.ExpiresAt = "", time.Date(2027, 1, 2, 3, 4, 5, 6, time.UTC)
	round := Round{
		Request: r, Number: 3, Decisions: []Decision{{Outcome: Approved, By: Person{ID: "U2"}, At: time.Unix(1, 0).UTC(), Roles: []string{"a"}}},
		Changes: []Change{{Kind: Extend, By: Person{ID: "U1"}, Longer: "1h", Until: time.Unix(2, 0).UTC()}, {Kind: Delegate, By: Person{ID: "U2"}, To: "U9"}},
	}
	b, err := json.Marshal(round)
	if err != nil {
		t.Fatal(err)
	}
	var again Round
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(round, again); diff != "" || again.Digest() != r.Digest() || again.policy() != round.policy() {
		t.Errorf("round %d (-want +got):\n%s", again.Number, diff)
	}

	small, err := json.Marshal(Request{Title: "a", Channel: "C1"})
	if want := `{"title":"a","channel":"C1"}`; err != nil || string(small) != want {
		t.Errorf("a small request is %s, %v; want %s", small, err, want)
	}
	var got Request
	err = json.Unmarshal([]byte(`{
		"title": "a", "channel": "C1", "colour": "red", "roles": [{"name": "sre", "groups": ["S1"], "required": 2, "x": {}}],
		"inputs": [{"name": "sum", "type": "number", "initial": 12.50}], "deadline": 90, "remind_every": "1d",
		"escalate": [{"after": 3600, "role": "sre", "approvers": {"channel": true}}]
	}`), &got)
	want := Request{
		Title: "a", Channel: "C1", Roles: []Role{{"sre", Approvers{Groups: []string{"S1"}}, 2}},
		Inputs: []Input{{Name: "sum", Type: NumberInput, Initial: "12.50"}}, Deadline: "90s", RemindEvery: "1d",
		Escalate: []Escalation{{"3600s", "sre", Approvers{Channel: true}}},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if faults := got.Faults(); faults != nil {
		t.Errorf("faults: %q", faults)
	}
}

// What is of the wrong type is told with all else that is wrong: people mend it at once.
func TestMalformed(t *testing.T) {
	t.Parallel()
	const (
		in      = "In the JSON of the request "
		aTime   = `, and has to be a time such as "2026-11-23T14:00:00Z".`
		channel = `The channel "x" is not the ID of a Slack channel, such as C0123456789, or of a person.`
	)
	for name, tc := range map[string]struct {
		json string
		want []string
	}{
		"a time in words":  {`{"expires_at": "tomorrow", "title": "a", "channel": "x"}`, []string{in + `expires_at is "tomorrow"` + aTime, channel}},
		"a date":           {`{"title": "a", "expires_at": "2026-11-23", "channel": "x"}`, []string{in + `expires_at is "2026-11-23"` + aTime, channel}},
		"a time as number": {`{"title": "a", "channel": "x", "expires_at": 1795176000}`, []string{in + "expires_at is 1795176000" + aTime, channel}},
		"a long time":      {`{"title": "a", "channel": "C1", "expires_at": [` + strings.Repeat("1,", 1000) + `1]}`, []string{in + "expires_at is [" + strings.Repeat("1,", 19) + "1" + aTime}},
		"no time":          {`{"title": "a", "channel": "C1", "expires_at": null}`, nil},
		"a time, and a title": {
			`{"title": 7, "channel": "x", "expires_at": {}}`,
			[]string{in + "expires_at is {}" + aTime + " " + in + "title is of the type number, and has to be text.", "The title is empty.", channel},
		},
		"text":         {`{"title": ["a"], "channel": "x"}`, []string{in + "title is of the type array, and has to be text.", "The title is empty.", channel}},
		"a number":     {`{"title": "a", "channel": "x", "required": "two"}`, []string{in + "required is of the type string, and has to be a whole number.", channel}},
		"half a one":   {`{"title": "a", "channel": "x", "required": 1.5}`, []string{in + "required is of the type number 1.5, and has to be a whole number.", channel}},
		"yes":          {`{"title": "a", "channel": "x", "allow_self": "yes"}`, []string{in + "allow_self is of the type string, and has to be true or false.", channel}},
		"a list":       {`{"title": "a", "channel": "x", "approvers": {"users": "U2"}}`, []string{in + "approvers.users is of the type string, and has to be a list.", channel}},
		"an object":    {`{"title": "a", "channel": "x", "approvers": ["U2"]}`, []string{in + "approvers is of the type array, and has to be an object.", channel}},
		"in a list":    {`{"title": "a", "channel": "x", "roles": [{"name": "a", "groups": ["S1"], "required": "2"}]}`, []string{in + "roles.required is of the type string, and has to be a whole number.", channel}},
		"no request":   {`["a"]`, []string{"The JSON of the request is of the type array, and has to be an object.", "The title is empty.", fmt.Sprintf("The channel %q is not the ID of a Slack channel, such as C0123456789, or of a person.", "")}},
		"nothing else": {`{"title": "a", "channel": "C1", "fields": {}}`, []string{in + "fields is of the type object, and has to be a list."}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var r Request
			if err := json.Unmarshal([]byte(tc.json), &r); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, r.Faults()); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
	for _, broken := range []string{"", "{", `{"title": "a"`, `{"expires_at": "x}`} {
		if err := new(Request).UnmarshalJSON([]byte(broken)); err == nil {
			t.Errorf("%s is a request", broken)
		}
	}
}
