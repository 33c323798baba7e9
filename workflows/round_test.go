package workflows

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/temporal"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// approve is an approval by that person, who may fill the roles. The n-th of a test comes n minutes after noon.
func approve(n int, id string, roles ...string) Decision {
	return Decision{Outcome: Approved, By: Person{ID: id}, At: noon.Add(time.Duration(n) * time.Minute), Roles: roles}
}

func (d Decision) choosing(choice string) Decision { d.Choice = choice; return d }

func (d Decision) filling(inputs ...string) Decision {
	d.Inputs = map[string]string{}
	for i := 0; i < len(inputs); i += 2 {
		d.Inputs[inputs[i]] = inputs[i+1]
	}
	return d
}

func users(ids ...string) Approvers { return Approvers{Users: ids} }

// round is one of a request of U1 with these roles.
func round(roles ...Role) Round {
	return Round{Request: Request{Title: "Deploy", Channel: "C1", Requester: "U1", Roles: roles, ExpiresAt: noon.Add(time.Hour)}, Number: 1}
}

// anyOf is a round of a request that wants n of U2, U3, U4 and U5.
func anyOf(n int) Round {
	r := round()
	r.Approvers, r.Required = users("U2", "U3", "U4", "U5"), n
	return r
}

func TestTally(t *testing.T) {
	t.Parallel()
	two := round(Role{"security", users("U2"), 1}, Role{"sre", users("U2", "U3", "U4"), 2})
	outside := Decision{Outcome: Approved, At: noon, Via: Outside}
	for name, tc := range map[string]struct {
		r       Round
		made    []Decision
		counted string // those that count together, each as person:role
		missing string
	}{
		"nobody of one":               {anyOf(0), nil, "", ":1"},
		"one of one":                  {anyOf(0), []Decision{approve(1, "U2")}, "U2:", ""},
		"one of three":                {anyOf(3), []Decision{approve(1, "U2")}, "U2:", ":2"},
		"three of three":              {anyOf(3), []Decision{approve(1, "U2"), approve(2, "U4"), approve(3, "U3")}, "U2: U4: U3:", ""},
		"one twice":                   {anyOf(2), []Decision{approve(1, "U2"), approve(2, "U2")}, "U2:", ":1"},
		"different choices":           {anyOf(2), []Decision{approve(1, "U2").choosing("a"), approve(2, "U3").choosing("b")}, "U3:", ":1"},
		"the choice of most":          {anyOf(3), []Decision{approve(1, "U2").choosing("a"), approve(2, "U3").choosing("a"), approve(3, "U4").choosing("b")}, "U2: U3:", ":1"},
		"another choice by the first": {anyOf(2), []Decision{approve(1, "U2").choosing("a"), approve(2, "U3").choosing("b"), approve(3, "U2").choosing("b")}, "U3: U2:", ""},
		"away from the choice":        {anyOf(3), []Decision{approve(1, "U2").choosing("a"), approve(2, "U3").choosing("a"), approve(3, "U2").choosing("b")}, "U2:", ":2"},
		"different inputs":            {anyOf(2), []Decision{approve(1, "U2").filling("sum", "1"), approve(2, "U3").filling("sum", "2")}, "U3:", ":1"},
		"one input more":              {anyOf(2), []Decision{approve(1, "U2").filling("sum", "1"), approve(2, "U3").filling("sum", "1", "x", "")}, "U3:", ":1"},
		"the same inputs":             {anyOf(2), []Decision{approve(1, "U2").filling("sum", "1", "x", ""), approve(2, "U3").filling("x", "", "sum", "1")}, "U2: U3:", ""},
		"no inputs, and none":         {anyOf(2), []Decision{approve(1, "U2"), approve(2, "U3").filling()}, "U2: U3:", ""},

		"nobody for two roles":    {two, nil, "", "security:1 sre:2"},
		"the first has both":      {two, []Decision{approve(1, "U2", "security", "sre")}, "U2:security", "sre:2"},
		"two of the one role":     {two, []Decision{approve(1, "U3", "sre"), approve(2, "U4", "sre")}, "U3:sre U4:sre", "security:1"},
		"who has both makes room": {two, []Decision{approve(1, "U3", "sre"), approve(2, "U2", "sre", "security"), approve(3, "U4", "sre")}, "U3:sre U2:security U4:sre", ""},
		"two have both, in the order of the other": {
			round(Role{"a", users("U2", "U3"), 1}, Role{"b", users("U2", "U3", "U4"), 1}, Role{"c", users("U4", "U2"), 1}),
			[]Decision{approve(1, "U2", "a", "b", "c"), approve(2, "U3", "a"), approve(3, "U4", "b")},
			"U2:c U3:a U4:b", "",
		},
		"one too many for a role": {two, []Decision{approve(1, "U3", "sre"), approve(2, "U4", "sre"), approve(3, "U5", "sre")}, "U3:sre U4:sre U5:", "security:1"},
		"nobody's role":           {two, []Decision{approve(1, "U9"), approve(2, "U8", "cooks")}, "U9: U8:", "security:1 sre:2"},
		"roles, and different choices": {
			two,
			[]Decision{approve(1, "U2", "security", "sre").choosing("a"), approve(2, "U3", "sre").choosing("b"), approve(3, "U4", "sre").choosing("b")},
			"U3:sre U4:sre", "security:1",
		},

		"from outside":                        {anyOf(1), []Decision{outside}, ":", ""},
		"from outside, twice":                 {anyOf(2), []Decision{outside, outside}, ":", ":1"},
		"from outside, whatever is chosen":    {anyOf(2), []Decision{outside, approve(1, "U2").choosing("a")}, ": U2:", ""},
		"from outside, for any role":          {two, []Decision{approve(1, "U3", "sre"), outside, approve(2, "U4", "sre")}, "U3:sre :security U4:sre", ""},
		"from outside, to another choice":     {anyOf(2), []Decision{outside.choosing("b"), approve(1, "U2").choosing("a")}, "U2:", ":1"},
		"from outside, between two choices":   {anyOf(3), []Decision{outside, approve(1, "U2").choosing("a"), approve(2, "U3").choosing("b")}, ": U3:", ":1"},
		"from outside, to the choice of most": {anyOf(3), []Decision{approve(1, "U2").choosing("a"), approve(2, "U3").choosing("a"), approve(3, "U4").choosing("b"), outside}, "U2: U3: :", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.r.Decisions = tc.made
			before := slices.Clone(tc.made)
			got := tc.r.Tally()
			var counted, missing []string
			for _, d := range got.Approvals {
				counted = append(counted, d.By.ID+":"+d.Role)
			}
			for _, role := range got.Missing {
				missing = append(missing, fmt.Sprintf("%s:%d", role.Name, role.Required))
			}
			if s := strings.Join(counted, " "); s != tc.counted {
				t.Errorf("%q count, want %q", s, tc.counted)
			}
			if s := strings.Join(missing, " "); s != tc.missing {
				t.Errorf("%q are missing, want %q", s, tc.missing)
			}
			if diff := cmp.Diff(before, tc.made); diff != "" {
				t.Errorf("Tally changed the decisions:\n%s", diff)
			}
		})
	}
}

// As many roles are filled as can be: whatever is tried, no other way of giving people roles fills more.
func TestFillIsTheBest(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		var wanted []Role
		for i := range 1 + random.IntN(4) {
			wanted = append(wanted, Role{Name: string(rune('a' + i)), Required: 1 + random.IntN(3)})
		}
		var made []Decision
		for i := range random.IntN(7) {
			d := approve(i, fmt.Sprintf("U%d", i))
			for _, role := range wanted {
				if random.IntN(5) < 2 {
					d.Roles = append(d.Roles, role.Name)
				}
			}
			made = append(made, d)
		}
		var best func(made []Decision, left []int) int
		best = func(made []Decision, left []int) int {
			if len(made) == 0 {
				return 0
			}
			n := best(made[1:], left)
			for i, role := range wanted {
				if left[i] > 0 && slices.Contains(made[0].Roles, role.Name) {
					left[i]--
					n = max(n, 1+best(made[1:], left))
					left[i]++
				}
			}
			return n
		}
		var left []int
		places := 0
		for _, role := range wanted {
			left = append(left, role.Required)
			places += role.Required
		}
		want := best(made, left)

		got := fill(wanted, made)
		filled := 0
		for i, d := range got.Approvals {
			if d.By != made[i].By || d.Role != "" && !slices.Contains(d.Roles, d.Role) {
				t.Fatalf("%+v has the role %q", made[i], d.Role)
			}
			if d.Role != "" {
				filled++
				left[d.Role[0]-'a']--
			}
		}
		var missing []Role
		for i, role := range wanted {
			if role.Required = left[i]; left[i] < 0 {
				t.Fatalf("the role %q is filled too often: %+v", role.Name, got)
			} else if left[i] > 0 {
				missing = append(missing, role)
			}
		}
		if diff := cmp.Diff(missing, got.Missing); diff != "" || filled != want {
			t.Fatalf("%d of %d are filled, and could be %d; of\n%+v\n%+v\nmissing (-want +got):\n%s", filled, places, want, wanted, made, diff)
		}
	}
}

func TestWanted(t *testing.T) {
	t.Parallel()
	delegate := func(from, to string) Change { return Change{Kind: Delegate, By: Person{ID: from}, To: to} }
	escalate := func(role string, a Approvers) Change { return Change{Kind: Escalate, Role: role, Approvers: a} }
	two := round(Role{"a", users("U2", "U3"), 0}, Role{"b", Approvers{Users: []string{"U2"}, Groups: []string{"S1"}}, 2})
	for name, tc := range map[string]struct {
		r       Round
		changes []Change
		want    []Role
		who     Approvers
	}{
		"approvers": {anyOf(0), nil, []Role{{"", users("U2", "U3", "U4", "U5"), 1}}, users("U2", "U3", "U4", "U5")},
		"roles": {
			two, nil,
			[]Role{{"a", users("U2", "U3"), 1}, {"b", Approvers{Users: []string{"U2"}, Groups: []string{"S1"}}, 2}},
			Approvers{Users: []string{"U2", "U3"}, Groups: []string{"S1"}},
		},
		"handed over":           {anyOf(2), []Change{delegate("U3", "U9")}, []Role{{"", users("U2", "U9", "U4", "U5"), 2}}, users("U2", "U9", "U4", "U5")},
		"handed over and again": {anyOf(2), []Change{delegate("U3", "U9"), delegate("U9", "U8")}, []Role{{"", users("U2", "U8", "U4", "U5"), 2}}, users("U2", "U8", "U4", "U5")},
		"handed over and back":  {anyOf(2), []Change{delegate("U3", "U9"), delegate("U9", "U3")}, []Role{{"", users("U2", "U3", "U4", "U5"), 2}}, users("U2", "U3", "U4", "U5")},
		"handed over by nobody": {anyOf(2), []Change{delegate("U9", "U8")}, []Role{{"", users("U2", "U3", "U4", "U5"), 2}}, users("U2", "U3", "U4", "U5")},
		"handed over in both roles": {
			two,
			[]Change{delegate("U2", "U9")},
			[]Role{{"a", users("U9", "U3"), 1}, {"b", Approvers{Users: []string{"U9"}, Groups: []string{"S1"}}, 2}},
			Approvers{Users: []string{"U9", "U3"}, Groups: []string{"S1"}},
		},
		"escalated": {
			anyOf(2),
			[]Change{escalate("", Approvers{Users: []string{"U2", "U7"}, Groups: []string{"S1"}, Channel: true})},
			[]Role{{"", Approvers{[]string{"U2", "U3", "U4", "U5", "U7"}, []string{"S1"}, true}, 2}},
			Approvers{[]string{"U2", "U3", "U4", "U5", "U7"}, []string{"S1"}, true},
		},
		"escalated in a role": {
			two,
			[]Change{escalate("b", users("U7")), delegate("U7", "U8")},
			[]Role{{"a", users("U2", "U3"), 1}, {"b", Approvers{Users: []string{"U2", "U8"}, Groups: []string{"S1"}}, 2}},
			Approvers{Users: []string{"U2", "U3", "U8"}, Groups: []string{"S1"}},
		},
		"escalated to who handed over": {anyOf(1), []Change{delegate("U2", "U9"), escalate("", users("U2"))}, []Role{{"", users("U9", "U3", "U4", "U5", "U2"), 1}}, users("U9", "U3", "U4", "U5", "U2")},
		"other changes":                {anyOf(2), []Change{{Kind: Extend, By: Person{ID: "U2"}, To: "U9", Approvers: users("U9")}}, []Role{{"", users("U2", "U3", "U4", "U5"), 2}}, users("U2", "U3", "U4", "U5")},
		"named twice, and handed over": {
			round(Role{"a", users("U2", "U3", "U2"), 0}),
			[]Change{delegate("U2", "U9")},
			[]Role{{"a", users("U9", "U3"), 1}},
			users("U9", "U3"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := tc.r
			before := hash(r)
			r.Changes = tc.changes
			if diff := cmp.Diff(tc.want, r.Wanted()); diff != "" {
				t.Errorf("wanted (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.who, r.Who()); diff != "" {
				t.Errorf("who may decide (-want +got):\n%s", diff)
			}
			if hash(tc.r) != before {
				t.Error("Wanted changed the request")
			}
		})
	}
}

func TestUntil(t *testing.T) {
	t.Parallel()
	r := anyOf(1)
	for _, tc := range []struct {
		change Change
		want   time.Time
	}{
		{Change{}, noon.Add(time.Hour)},
		{Change{Kind: Extend, Until: noon.Add(3 * time.Hour)}, noon.Add(3 * time.Hour)},
		{Change{Kind: Delegate, Until: noon}, noon.Add(3 * time.Hour)},
		{Change{Kind: Extend, Until: noon.Add(5 * time.Hour)}, noon.Add(5 * time.Hour)},
	} {
		r.Changes = append(r.Changes, tc.change)
		if got := r.Until(); !got.Equal(tc.want) {
			t.Errorf("until %v after %+v, want %v", got, tc.change, tc.want)
		}
	}
}

// A click on the card of an earlier round counts as long as the same people may decide.
func TestPolicy(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change  func(*Round)
		changes bool
	}{
		"the next round":           {func(r *Round) { r.Number, r.Decisions = 2, []Decision{approve(1, "U2")} }, false},
		"extended":                 {func(r *Round) { r.Changes = []Change{{Kind: Extend, Until: noon}} }, false},
		"delegated":                {func(r *Round) { r.Changes = []Change{{Kind: Delegate, By: Person{ID: "U2"}, To: "U9"}} }, true},
		"delegated by nobody":      {func(r *Round) { r.Changes = []Change{{Kind: Delegate, By: Person{ID: "U8"}, To: "U9"}} }, false},
		"escalated":                {func(r *Round) { r.Changes = []Change{{Kind: Escalate, Approvers: users("U9")}} }, true},
		"escalated to nobody new":  {func(r *Round) { r.Changes = []Change{{Kind: Escalate, Approvers: users("U5")}} }, false},
		"escalated to the channel": {func(r *Round) { r.Changes = []Change{{Kind: Escalate, Approvers: Approvers{Channel: true}}} }, true},
		"a step that is to come":   {func(r *Round) { r.Request.Escalate = []Escalation{{After: "1h", Approvers: users("U9")}} }, false},
		"delegated and back": {func(r *Round) {
			r.Changes = []Change{{Kind: Delegate, By: Person{ID: "U2"}, To: "U9"}, {Kind: Delegate, By: Person{ID: "U9"}, To: "U2"}}
		}, false},
		"one more of them":    {func(r *Round) { r.Required++ }, true},
		"the requester too":   {func(r *Round) { r.AllowSelf = true }, true},
		"guests too":          {func(r *Round) { r.AllowGuests = true }, true},
		"another title":       {func(r *Round) { r.Title = "x" }, false},
		"as a role of a name": {func(r *Round) { r.Roles = []Role{{"a", r.Approvers, r.Required}} }, true},
	} {
		r := anyOf(2)
		if tc.change(&r); (r.policy() != anyOf(2).policy()) != tc.changes {
			t.Errorf("%s: the policy changed: %v, want %v", name, !tc.changes, tc.changes)
		}
		// What lists and lines are given of a round names the same activity.
		if r.brief().policy() != r.policy() {
			t.Errorf("%s: brief changes the policy", name)
		}
	}
}

func TestActivityID(t *testing.T) {
	t.Parallel()
	for _, question := range []string{"ABC234-1", "ABC234-17", "x"} {
		for _, n := range []int{1, 10, 1000} {
			r := anyOf(2)
			r.Number = n
			id := r.activityID(question)
			q, round, policy, ok := SplitActivityID(id)
			if q != question || round != n || policy != r.policy() || !ok {
				t.Errorf("%s is %q, %d, %q, %v", id, q, round, policy, ok)
			}
		}
	}
	for _, id := range []string{
		"", "5", "-decision-", "decision-1", "decision-1-abcd", "x-decision-", "x-decision-1", "x-decision--", "x-decision-1-", "x-decision-a-b",
		"x-decision--1-abcd", "x-decision-+1-abcd", "x-decision-01-abcd", "x-decision-0-abcd", "x-decision- 1-abcd", "x-decision-1.5-abcd",
		"-decision-1-abcd", "x-decision-99999999999999999999-abcd", "x-Decision-1-abcd", "x-decision-decision-1-abcd",
		"x-decision-1\x00-abcd", strings.Repeat("-decision-", 1000),
	} {
		if q, round, policy, ok := SplitActivityID(id); ok {
			t.Errorf("%.50q is %q, %d, %q", id, q, round, policy)
		}
	}
}

func TestWaiting(t *testing.T) {
	t.Parallel()
	two := round(Role{"security", users("U1", "U2"), 1}, Role{"sre", Approvers{Users: []string{"U3"}, Groups: []string{"S1"}}, 2})
	self := two
	self.AllowSelf = true
	grouped := anyOf(2)
	grouped.Approvers = Approvers{Users: []string{"U2", "U3"}, Groups: []string{"S1"}}
	gone := grouped
	gone.Changes = []Change{{Kind: Delegate, By: Person{ID: "U2"}, To: "U9"}}
	for name, tc := range map[string]struct {
		r    Round
		made []Decision
		want Approvers
	}{
		"nobody has":         {two, nil, Approvers{Users: []string{"U2", "U3"}, Groups: []string{"S1"}}},
		"one has":            {two, []Decision{approve(1, "U3", "sre")}, Approvers{Users: []string{"U2"}, Groups: []string{"S1"}}},
		"a role is filled":   {two, []Decision{approve(1, "U2", "security")}, Approvers{Users: []string{"U3"}, Groups: []string{"S1"}}},
		"it is enough":       {anyOf(1), []Decision{approve(1, "U2")}, Approvers{}},
		"for the requester":  {self, []Decision{approve(1, "U3", "sre"), approve(2, "U4", "sre")}, Approvers{Users: []string{"U1", "U2"}}},
		"of another opinion": {anyOf(2), []Decision{approve(1, "U2").choosing("a"), approve(2, "U3").choosing("b")}, users("U2", "U4", "U5")},
		"of another opinion, in a role": {
			two,
			[]Decision{approve(1, "U3", "sre").choosing("a"), approve(2, "U2", "security").choosing("b")},
			Approvers{Users: []string{"U3"}, Groups: []string{"S1"}},
		},
		"one too many for a role": {
			round(Role{"security", users("U2", "U3"), 1}, Role{"sre", users("U3", "U4"), 1}),
			[]Decision{approve(1, "U4", "sre"), approve(2, "U3", "sre")},
			users("U2", "U3"),
		},
		"handed over":           {gone, nil, Approvers{Users: []string{"U9", "U3"}, Groups: []string{"S1"}}},
		"who has it approved":   {gone, []Decision{approve(1, "U9")}, Approvers{Users: []string{"U3"}, Groups: []string{"S1"}}},
		"of a group and named":  {grouped, []Decision{approve(1, "U9")}, Approvers{Users: []string{"U2", "U3"}, Groups: []string{"S1"}}},
		"approved from outside": {grouped, []Decision{{Outcome: Approved, At: noon, Via: Outside}}, Approvers{Users: []string{"U2", "U3"}, Groups: []string{"S1"}}},
	} {
		tc.r.Decisions = tc.made
		if got := tc.r.Waiting(); !slices.Equal(got.Users, tc.want.Users) || !slices.Equal(got.Groups, tc.want.Groups) || got.Channel {
			t.Errorf("%s: waiting for %+v, want %+v", name, got, tc.want)
		}
	}
}

func TestHandedOver(t *testing.T) {
	t.Parallel()
	delegate := func(from, to string) Change { return Change{Kind: Delegate, By: Person{ID: from}, To: to} }
	for name, tc := range map[string]struct {
		changes []Change
		want    []string
	}{
		"nobody":           {},
		"one":              {[]Change{delegate("U2", "U9")}, []string{"U2"}},
		"on and on":        {[]Change{delegate("U2", "U9"), delegate("U3", "U8"), delegate("U9", "U7")}, []string{"U2", "U3", "U9"}},
		"and back":         {[]Change{delegate("U2", "U9"), delegate("U9", "U2")}, []string{"U9"}},
		"back and again":   {[]Change{delegate("U2", "U9"), delegate("U9", "U2"), delegate("U2", "U8")}, []string{"U2", "U9"}},
		"and named again":  {[]Change{delegate("U2", "U9"), {Kind: Escalate, Approvers: users("U2")}}, nil},
		"and their group":  {[]Change{delegate("U2", "U9"), {Kind: Escalate, Approvers: Approvers{Groups: []string{"S1"}}}}, []string{"U2"}},
		"by other changes": {[]Change{{Kind: Extend, By: Person{ID: "U8"}}, {Kind: Escalate, By: Person{ID: "U7"}}}, nil},
	} {
		r := anyOf(2)
		r.Changes = tc.changes
		if got := r.HandedOver(); !slices.Equal(got, tc.want) {
			t.Errorf("%s: handed over by %q, want %q", name, got, tc.want)
		}
	}
}

// Whose approval counts, and whose decision can still bring the request on.
func TestCountedAndCanDecide(t *testing.T) {
	t.Parallel()
	two := round(Role{"security", users("U1", "U2"), 1}, Role{"sre", users("U3", "U4"), 1})
	with := func(r Round, change func(*Round)) Round { change(&r); return r }
	outside := Decision{Outcome: Approved, At: noon, Via: Outside}
	for name, tc := range map[string]struct {
		r       Round
		made    []Decision
		counted []string
		can     string // of U1 to U5
	}{
		"nobody has":              {anyOf(2), nil, nil, "U2 U3 U4 U5"},
		"one has":                 {anyOf(2), []Decision{approve(1, "U2")}, []string{"U2"}, "U3 U4 U5"},
		"of another opinion":      {anyOf(2), []Decision{approve(1, "U2").choosing("a"), approve(2, "U3").choosing("b")}, []string{"U3"}, "U2 U4 U5"},
		"from outside":            {anyOf(2), []Decision{outside}, []string{""}, "U2 U3 U4 U5"},
		"a role is filled":        {two, []Decision{approve(1, "U3", "sre")}, []string{"U3"}, "U2 U4 U5"},
		"one too many for a role": {two, []Decision{approve(1, "U3", "sre"), approve(2, "U4", "sre")}, []string{"U3"}, "U2 U4 U5"},
		"the requester, too": {
			with(two, func(r *Round) { r.AllowSelf = true }), []Decision{approve(1, "U3", "sre")}, []string{"U3"}, "U1 U2 U4 U5",
		},
		"who has handed over": {
			with(anyOf(2), func(r *Round) { r.Changes = []Change{{Kind: Delegate, By: Person{ID: "U2"}, To: "U9"}} }), nil, nil, "U3 U4 U5",
		},
	} {
		tc.r.Decisions = tc.made
		if got := tc.r.Counted(); !slices.Equal(got, tc.counted) {
			t.Errorf("%s: %q count, want %q", name, got, tc.counted)
		}
		l := Listed{Round: tc.r, Counted: tc.r.Counted()}
		var can, listed []string
		for _, id := range []string{"U1", "U2", "U3", "U4", "U5"} {
			if tc.r.CanDecide(id) {
				can = append(can, id)
			}
			if l.CanDecide(id) {
				listed = append(listed, id)
			}
		}
		if strings.Join(can, " ") != tc.can || !slices.Equal(can, listed) {
			t.Errorf("%s: %q can decide, and of the listed %q; want %q", name, can, listed, tc.can)
		}
		if l.Outcome = Expired; l.CanDecide("U5") {
			t.Errorf("%s: what has ended can be decided", name)
		}
	}
}

func TestAfter(t *testing.T) {
	t.Parallel()
	at, card := noon.Add(30*time.Minute), Card{Channel: "C1", TS: "1.2"}
	of := func(d Decision) Result {
		return Result{Outcome: d.Outcome, Decisions: []Decision{d}, Card: card, EndedAt: d.At}
	}
	ended := func(o Outcome) Result { return Result{Outcome: o, EndedAt: at} }
	rejection := approve(9, "U3")
	rejection.Outcome, rejection.Reason = Rejected, "no"
	outside := Decision{Outcome: Approved, At: at, Via: Outside}
	as := func(role string, d Decision) Decision { d.Role = role; return d }
	with := func(r Round, made ...Decision) Round { r.Decisions = made; return r }
	onExpiry := func(r Round, o OnExpiry) Round { r.OnExpiry = o; return r }
	filling := func(r Round) Round {
		r.Inputs = []Input{{Name: "sum", Type: NumberInput, Initial: "12.50"}, {Name: "note", Optional: true}}
		return r
	}
	roles := round(Role{"security", users("U2"), 1}, Role{"sre", users("U2", "U3"), 1})
	// U3 and U4 have approved as the one role, which wants one of them. Then U4 may fill the other too.
	surplus := with(round(Role{"security", users("U2", "U4"), 1}, Role{"sre", users("U3", "U4"), 1}), approve(1, "U3", "sre"), approve(2, "U4", "sre"))
	withdrawal := []Change{{Kind: Withdraw, By: Person{ID: "U1"}, At: at}}
	one := approve(1, "U2")

	for name, tc := range map[string]struct {
		r       Round
		res     Result
		goes    []Decision // the decisions with which it goes on; nil: it ends
		want    Result     // but for what all have
		changes []Change
	}{
		"approved, enough":            {r: anyOf(1), res: of(one), want: Result{Outcome: Approved, Decisions: []Decision{one}}},
		"approved, one more":          {r: anyOf(2), res: of(one), goes: []Decision{one}},
		"approved, the second of two": {r: with(anyOf(2), one), res: of(approve(2, "U3")), want: Result{Outcome: Approved, Decisions: []Decision{one, approve(2, "U3")}}},
		"the same person again":       {r: with(anyOf(2), one), res: of(approve(2, "U2")), goes: []Decision{one}},
		"the same person, another choice": {
			r: with(anyOf(2), one.choosing("a")), res: of(approve(2, "U2").choosing("b")),
			goes: []Decision{one.choosing("a"), approve(2, "U2").choosing("b")},
		},
		"the choice that most made": {
			r:    with(anyOf(2), one.choosing("a").filling("x", "1"), approve(2, "U3").choosing("b")),
			res:  of(approve(3, "U4").choosing("a").filling("x", "1")),
			want: Result{Outcome: Approved, Decisions: []Decision{one.choosing("a").filling("x", "1"), approve(2, "U3").choosing("b"), approve(3, "U4").choosing("a").filling("x", "1")}, Choice: "a", Inputs: map[string]string{"x": "1"}},
		},
		"roles, one too many is in another now": {
			r: surplus, res: of(approve(3, "U4", "security", "sre")),
			want: Result{Outcome: Approved, Decisions: []Decision{
				as("sre", approve(1, "U3", "sre")), approve(2, "U4", "sre"), as("security", approve(3, "U4", "security", "sre")),
			}},
		},
		"roles, one too many again":         {r: surplus, res: of(approve(3, "U4", "sre")), goes: []Decision{approve(1, "U3", "sre"), approve(2, "U4", "sre")}},
		"roles, one too many, in fewer now": {r: surplus, res: of(approve(3, "U4")), goes: []Decision{approve(1, "U3", "sre"), approve(2, "U4", "sre")}},
		"roles, the first has both":         {r: roles, res: of(approve(1, "U2", "sre", "security")), goes: []Decision{approve(1, "U2", "sre", "security")}},
		"roles, both filled": {
			r: with(roles, approve(1, "U2", "sre", "security")), res: of(approve(2, "U3", "sre")),
			want: Result{Outcome: Approved, Decisions: []Decision{as("security", approve(1, "U2", "sre", "security")), as("sre", approve(2, "U3", "sre"))}},
		},

		"rejected":                {r: anyOf(2), res: of(rejection), want: Result{Outcome: Rejected, Decisions: []Decision{rejection}}},
		"rejected after approval": {r: with(anyOf(2), one), res: of(rejection), want: Result{Outcome: Rejected, Decisions: []Decision{one, rejection}}},
		"rejected by who approved": {
			r:   with(anyOf(3), one, approve(2, "U3")),
			res: of(rejection), want: Result{Outcome: Rejected, Decisions: []Decision{one, approve(2, "U3"), rejection}},
		},

		"expired":                    {r: with(anyOf(2), one), res: ended(Expired), want: Result{Outcome: Expired, Decisions: []Decision{one}}},
		"expired, on_expiry expire":  {r: onExpiry(anyOf(2), Expire), res: ended(Expired), want: Result{Outcome: Expired}},
		"expired, on_expiry approve": {r: with(onExpiry(anyOf(2), ApproveOnExpiry), one), res: ended(Expired), want: Result{Outcome: Approved, ByDeadline: true, Decisions: []Decision{one}}},
		"expired, on_expiry approve, with inputs": {
			r: filling(with(onExpiry(anyOf(2), ApproveOnExpiry), one.filling("sum", "1", "note", "x"))), res: ended(Expired),
			want: Result{
				Outcome: Approved, ByDeadline: true, Decisions: []Decision{one.filling("sum", "1", "note", "x")},
				Inputs: map[string]string{"sum": "12.50", "note": ""},
			},
		},
		"expired, on_expiry reject, with inputs": {
			r: filling(onExpiry(anyOf(2), RejectOnExpiry)), res: ended(Expired), want: Result{Outcome: Rejected, ByDeadline: true},
		},
		"expired, with inputs":          {r: filling(anyOf(2)), res: ended(Expired), want: Result{Outcome: Expired}},
		"expired, on_expiry reject":     {r: with(onExpiry(anyOf(2), RejectOnExpiry), one), res: ended(Expired), want: Result{Outcome: Rejected, ByDeadline: true, Decisions: []Decision{one}}},
		"expired, on_expiry unknown":    {r: onExpiry(anyOf(2), "x"), res: ended(Expired), want: Result{Outcome: Expired}},
		"withdrawn by the caller":       {r: onExpiry(anyOf(2), ApproveOnExpiry), res: ended(Withdrawn), want: Result{Outcome: Withdrawn}},
		"withdrawn by a person":         {r: with(anyOf(2), one), res: Result{Outcome: Withdrawn, Changes: withdrawal, EndedAt: at}, want: Result{Outcome: Withdrawn, Decisions: []Decision{one}}, changes: withdrawal},
		"failed":                        {r: anyOf(2), res: Result{Outcome: Failed, Note: "It could not be posted.", EndedAt: at}, want: Result{Outcome: Failed, Note: "It could not be posted."}},
		"failed, on_expiry approve":     {r: onExpiry(anyOf(2), ApproveOnExpiry), res: ended(Failed), want: Result{Outcome: Failed}},
		"changed":                       {r: with(anyOf(2), one), res: ended(Changed), goes: []Decision{one}},
		"changed, before any decision":  {r: anyOf(2), res: ended(Changed), goes: []Decision{}},
		"changed, on_expiry approve":    {r: onExpiry(anyOf(2), ApproveOnExpiry), res: ended(Changed), goes: []Decision{}},
		"approved outside Slack":        {r: anyOf(1), res: of(outside), want: Result{Outcome: Approved, Decisions: []Decision{outside}}},
		"approved outside Slack, again": {r: with(anyOf(2), outside), res: of(outside), goes: []Decision{outside}},
		"approved outside Slack, last": {
			r: with(anyOf(2), one.choosing("a")), res: of(outside),
			want: Result{Outcome: Approved, Decisions: []Decision{one.choosing("a"), outside}, Choice: "a"},
		},
		"approved outside Slack, for the role that lacks": {
			r: with(roles, approve(1, "U3", "sre")), res: of(outside),
			want: Result{Outcome: Approved, Decisions: []Decision{as("sre", approve(1, "U3", "sre")), as("security", outside)}},
		},
		"rejected outside Slack": {
			r:    with(anyOf(2), one),
			res:  of(Decision{Outcome: Rejected, At: at, Via: Outside}),
			want: Result{Outcome: Rejected, Decisions: []Decision{one, {Outcome: Rejected, At: at, Via: Outside}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := tc.r
			r.Number, r.Changes = 4, []Change{{Kind: Extend, Until: noon.Add(2 * time.Hour)}}
			before := hash(r)
			next, end, over := r.After(tc.res)
			if over != (tc.goes == nil) {
				t.Fatalf("it has ended: %v, %+v", over, end)
			}
			if hash(r) != before {
				t.Error("After changed the round that it is of")
			}
			if next.Number != 5 || next.Digest() != r.Digest() {
				t.Errorf("the next is round %d, of the same request: %v", next.Number, next.Digest() == r.Digest())
			}
			if !over {
				if diff := cmp.Diff(tc.goes, append([]Decision{}, next.Decisions...)); diff != "" || !cmp.Equal(end, Result{}) || len(next.Changes) != 1 {
					t.Errorf("it goes on with %d changes, and the end %+v; decisions (-want +got):\n%s", len(next.Changes), end, diff)
				}
				return
			}
			digest := r.Digest()
			tc.want.Digest, tc.want.EndedAt, tc.want.Card = fmt.Sprintf("%x", digest), tc.res.EndedAt, tc.res.Card
			tc.want.Changes = append(slices.Clone(r.Changes), tc.changes...)
			if diff := cmp.Diff(tc.want, end); diff != "" {
				t.Errorf("the end (-want +got):\n%s", diff)
			}
		})
	}
}

func TestApply(t *testing.T) {
	t.Parallel()
	base := anyOf(2)
	base.Approvers = Approvers{Users: []string{"U2", "U3"}, Groups: []string{"S1"}}
	base.Request.Escalate = []Escalation{{"3h", "", users("U7")}, {"1h", "", Approvers{Groups: []string{"S2"}}}}
	base.Decisions = []Decision{approve(1, "U3")}
	with := func(change func(*Round)) Round { r := base; change(&r); return r }
	of := func(kind ChangeKind, by string, change func(*Change)) Change {
		c := Change{Kind: kind, By: Person{ID: by}, Via: ViaCard}
		if change != nil {
			change(&c)
		}
		return c
	}
	outside := func(by Person) Change { return Change{Kind: Withdraw, By: by, Via: Outside} }
	longer := func(d Duration) func(*Change) { return func(c *Change) { c.Longer = d } }
	to := func(id string) func(*Change) { return func(c *Change) { c.To = id } }
	in := func(groups ...string) func(*Change) { return func(c *Change) { c.Groups = groups } }
	open := with(func(r *Round) { r.Approvers = Approvers{Channel: true} })
	asker := with(func(r *Round) { r.Approvers = users("U1", "U2", "U3") })
	made := Change{Kind: Escalate}
	// handed is a round in which U2's place has been handed over so often.
	handed := func(n int, change func(*Round)) Round {
		r := base
		if change(&r); n > 0 {
			r.Changes = []Change{of(Delegate, "U2", to("U10"))}
		}
		for i := 1; i < n; i++ {
			r.Changes = append(r.Changes, of(Delegate, fmt.Sprintf("U1%d", i-1), to(fmt.Sprintf("U1%d", i))))
		}
		r.Decisions = nil
		return r
	}
	alone := func(r *Round) { r.Approvers.Groups = nil }
	opinions := with(func(r *Round) {
		r.Decisions = []Decision{approve(1, "U2").choosing("a"), approve(2, "U3").choosing("b")}
	})
	extended := with(func(r *Round) {
		r.ExpiresAt = noon.Add(-10 * 24 * time.Hour)
		r.Changes = []Change{of(Extend, "U1", func(c *Change) { c.Until = noon.Add(time.Hour) })}
	})
	const (
		tooOften   = "This has been handed over too often already."
		notYours   = "Only who asked for this can withdraw it."
		notExtend  = "Only who asked for this, or who may decide it, can extend it."
		howLong    = `Say how much longer it is to wait, for instance "2h" or "1d".`
		aYear      = "A request can wait for a year at the most."
		notNamed   = "Only an approver who is named can hand their place over. Members of a group share it already."
		toWhom     = "Say to whom you hand your place over."
		notEscal   = "Only who asked for this, or who may decide it, can escalate it."
		nobodyElse = "There is nobody else to escalate this to."
	)
	for name, tc := range map[string]struct {
		r    Round
		c    Change
		want Change // what is made, but for its time
		no   string // or why not
	}{
		"withdrawn by the requester":           {r: base, c: of(Withdraw, "U1", nil), want: of(Withdraw, "U1", nil)},
		"withdrawn by an approver":             {r: base, c: of(Withdraw, "U2", nil), no: notYours},
		"withdrawn by nobody, asked by nobody": {r: with(func(r *Round) { r.Requester = "" }), c: of(Withdraw, "", nil), no: notYours},

		"withdrawn outside Slack": {
			r: base, c: outside(Person{Name: "pipeline 4711"}), want: outside(Person{Name: "pipeline 4711" + AsGiven}),
		},
		"withdrawn outside Slack, by a long name": {
			r: base, c: outside(Person{Name: strings.Repeat("é", MaxName+1)}), want: outside(Person{Name: strings.Repeat("é", MaxName) + AsGiven}),
		},
		"withdrawn outside Slack, by a name of spaces": {r: base, c: outside(Person{Name: " \n"}), want: outside(Person{})},
		"withdrawn outside Slack, after a hundred changes": {
			r: with(func(r *Round) { r.Changes = slices.Repeat([]Change{made}, MaxChanges) }), c: outside(Person{Name: "x"}), want: outside(Person{Name: "x" + AsGiven}),
		},
		"withdrawn by a stranger at the card":    {r: base, c: of(Withdraw, "U9", nil), no: notYours},
		"withdrawn by a stranger at the home":    {r: base, c: of(Withdraw, "U9", func(c *Change) { c.Via = ViaHome }), no: notYours},
		"withdrawn by a stranger by the command": {r: base, c: of(Withdraw, "U9", func(c *Change) { c.Via = ViaCommand }), no: notYours},
		"withdrawn by a stranger by no door":     {r: base, c: of(Withdraw, "U9", func(c *Change) { c.Via = "" }), no: notYours},
		"withdrawn by a name alone, at the card": {r: base, c: Change{Kind: Withdraw, By: Person{Name: "alice"}, Via: ViaCard}, no: notYours},
		"extended outside Slack":                 {r: base, c: Change{Kind: Extend, By: Person{Name: "x"}, Via: Outside, Longer: "1h"}, no: notExtend},
		"delegated outside Slack":                {r: base, c: Change{Kind: Delegate, By: Person{Name: "x"}, Via: Outside, To: "U9"}, no: notNamed},
		"escalated outside Slack, by nobody":     {r: base, c: Change{Kind: Escalate, By: Person{ID: "U1", Name: " "}, Via: Outside}, no: notEscal},
		"escalated outside Slack":                {r: base, c: Change{Kind: Escalate, By: Person{Name: "x"}, Via: Outside}, no: notEscal},

		"extended by the requester": {r: base, c: of(Extend, "U1", longer("2h")), want: of(Extend, "U1", func(c *Change) { c.Longer, c.Until = "2h", noon.Add(3*time.Hour) })},
		"extended by an approver":   {r: base, c: of(Extend, "U2", longer("1s")), want: of(Extend, "U2", func(c *Change) { c.Longer, c.Until = "1s", noon.Add(time.Hour+time.Second) })},
		"extended by a member": {
			r: base, c: of(Extend, "U9", func(c *Change) { c.Longer, c.Groups = "1d", []string{"S9", "S1"} }),
			want: of(Extend, "U9", func(c *Change) {
				c.Longer, c.Groups, c.Until = "1d", []string{"S9", "S1"}, noon.Add(25*time.Hour)
			}),
		},
		"extended by anyone":         {r: open, c: of(Extend, "U9", longer("1h")), want: of(Extend, "U9", func(c *Change) { c.Longer, c.Until = "1h", noon.Add(2*time.Hour) })},
		"extended, its own deadline": {r: base, c: of(Extend, "U1", func(c *Change) { c.Longer, c.Until = "1h", noon.Add(999*time.Hour) }), want: of(Extend, "U1", func(c *Change) { c.Longer, c.Until = "1h", noon.Add(2*time.Hour) })},
		"extended by a stranger":     {r: base, c: of(Extend, "U9", func(c *Change) { c.Longer, c.Groups = "1h", []string{"S9"} }), no: notExtend},
		"extended by nothing":        {r: base, c: of(Extend, "U1", nil), no: howLong},
		"extended by less":           {r: base, c: of(Extend, "U1", longer("-1h")), no: howLong},
		"extended by next to none":   {r: base, c: of(Extend, "U1", longer("999ms")), no: howLong},
		"extended by words":          {r: base, c: of(Extend, "U1", longer("tomorrow")), no: howLong},
		"extended to a year":         {r: base, c: of(Extend, "U1", longer("365d22h30m")), want: of(Extend, "U1", func(c *Change) { c.Longer, c.Until = "365d22h30m", noon.Add(30*time.Minute+MaxDeadline-time.Hour) })},
		"extended beyond a year":     {r: base, c: of(Extend, "U1", longer("366d")), no: aYear},
		"extended a year since it was asked": {
			r: extended, c: of(Extend, "U1", longer("355d23h")),
			want: of(Extend, "U1", func(c *Change) { c.Longer, c.Until = "355d23h", noon.Add(356*24*time.Hour) }),
		},
		"extended more than a year since it was asked": {r: extended, c: of(Extend, "U1", longer("355d23h1s")), no: aYear},
		"extended beyond all time":                     {r: base, c: of(Extend, "U1", longer("8784d2562047h")), no: howLong},

		"delegated":                                       {r: base, c: of(Delegate, "U2", to("U9")), want: of(Delegate, "U2", to("U9"))},
		"delegated by who has it":                         {r: with(func(r *Round) { r.Changes = []Change{of(Delegate, "U2", to("U9"))} }), c: of(Delegate, "U9", to("U2")), want: of(Delegate, "U9", to("U2"))},
		"delegated by who has handed it over":             {r: with(func(r *Round) { r.Changes = []Change{of(Delegate, "U2", to("U9"))} }), c: of(Delegate, "U2", to("U8")), no: notNamed},
		"delegated by a member of a group":                {r: base, c: of(Delegate, "U9", func(c *Change) { c.To, c.Groups = "U8", []string{"S1"} }), no: notNamed},
		"delegated by anyone":                             {r: open, c: of(Delegate, "U9", to("U8")), no: notNamed},
		"delegated by the requester":                      {r: base, c: of(Delegate, "U1", to("U8")), no: notNamed},
		"delegated after an approval":                     {r: base, c: of(Delegate, "U3", to("U9")), no: "You have approved this already."},
		"delegated after an approval that does not count": {r: opinions, c: of(Delegate, "U2", to("U9")), no: "You have approved this already."},
		"delegated after two approvals": {
			r: with(func(r *Round) { r.Decisions = append(opinions.Decisions[:2:2], approve(3, "U2").choosing("b")) }), c: of(Delegate, "U2", to("U9")),
			no: "You have approved this already.",
		},
		"delegated as often as can be": {r: handed(MaxHandedOver-1, func(*Round) {}), c: of(Delegate, "U3", to("U9")), want: of(Delegate, "U3", to("U9"))},
		"delegated once more":          {r: handed(MaxHandedOver, func(*Round) {}), c: of(Delegate, "U3", to("U9")), no: tooOften},
		"delegated once more, in a channel": {
			r: handed(MaxHandedOver, func(r *Round) { r.Approvers.Groups, r.Approvers.Channel = nil, true }), c: of(Delegate, "U3", to("U9")), no: tooOften,
		},
		"delegated once more, of people":        {r: handed(MaxHandedOver, alone), c: of(Delegate, "U3", to("U9")), want: of(Delegate, "U3", to("U9"))},
		"delegated to nobody":                   {r: base, c: of(Delegate, "U2", nil), no: toWhom},
		"delegated to a group":                  {r: base, c: of(Delegate, "U2", to("S1")), no: toWhom},
		"delegated to themselves":               {r: base, c: of(Delegate, "U2", to("U2")), no: "That is you already: choose somebody else."},
		"delegated to the requester":            {r: base, c: of(Delegate, "U2", to("U1")), no: "Who asked for this may not decide it: choose somebody else."},
		"delegated to the requester, self":      {r: with(func(r *Round) { r.AllowSelf = true }), c: of(Delegate, "U2", to("U1")), want: of(Delegate, "U2", to("U1"))},
		"delegated to who approved":             {r: base, c: of(Delegate, "U2", to("U3")), no: "That person has approved this already: choose somebody else."},
		"delegated to an approver":              {r: with(func(r *Round) { r.Decisions = nil }), c: of(Delegate, "U2", to("U3")), no: "That person may decide this already: choose somebody else."},
		"delegated by the named requester":      {r: asker, c: of(Delegate, "U1", to("U9")), no: "Who asked for this may not decide it, and has no place to hand over."},
		"delegated by the named requester, too": {r: with(func(r *Round) { r.AllowSelf, r.Approvers = true, users("U1", "U2") }), c: of(Delegate, "U1", to("U9")), want: of(Delegate, "U1", to("U9"))},

		"escalated by time":         {r: base, c: Change{Kind: Escalate}, want: Change{Kind: Escalate, Approvers: Approvers{Groups: []string{"S2"}}}},
		"escalated by the asker":    {r: base, c: of(Escalate, "U1", nil), want: of(Escalate, "U1", func(c *Change) { c.Approvers.Groups = []string{"S2"} })},
		"escalated by a member":     {r: base, c: of(Escalate, "U9", in("S1")), want: of(Escalate, "U9", func(c *Change) { c.Groups, c.Approvers.Groups = []string{"S1"}, []string{"S2"} })},
		"escalated to their own":    {r: base, c: of(Escalate, "U2", func(c *Change) { c.Role, c.Approvers = "x", users("U2", "U6") }), want: of(Escalate, "U2", func(c *Change) { c.Approvers.Groups = []string{"S2"} })},
		"escalated again":           {r: with(func(r *Round) { r.Changes = []Change{made} }), c: Change{Kind: Escalate}, want: Change{Kind: Escalate, Approvers: users("U7")}},
		"escalated once too often":  {r: with(func(r *Round) { r.Changes = []Change{made, made} }), c: Change{Kind: Escalate}, no: nobodyElse},
		"escalated to no step":      {r: with(func(r *Round) { r.Request.Escalate = nil }), c: of(Escalate, "U1", nil), no: nobodyElse},
		"escalated by a stranger":   {r: base, c: of(Escalate, "U9", in("S2")), no: notEscal},
		"escalated by only a name":  {r: base, c: Change{Kind: Escalate, By: Person{Name: "alice"}}, no: notEscal},
		"a change that is not one":  {r: base, c: of("approve", "U1", nil), no: "This app knows no such change."},
		"a change without anything": {r: base, no: "This app knows no such change."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := noon.Add(30 * time.Minute)
			before := hash(tc.r)
			next, got, err := tc.r.Apply(tc.c, now)
			if hash(tc.r) != before {
				t.Error("Apply changed the round that it is of")
			}
			if tc.no != "" {
				var app *temporal.ApplicationError
				if !errors.As(err, &app) || app.Message() != tc.no || app.Type() != ErrTypeNotChanged || !app.NonRetryable() {
					t.Errorf("Apply: %v, want %q", err, tc.no)
				}
				if hash(next) != before {
					t.Error("the round changed")
				}
				return
			}
			tc.want.At = now
			if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
				t.Fatalf("%v; the change (-want +got):\n%s", err, diff)
			}
			want := append(slices.Clone(tc.r.Changes), got)
			if tc.c.Kind == Withdraw {
				want = tc.r.Changes
			}
			if diff := cmp.Diff(want, next.Changes); diff != "" {
				t.Errorf("the round's changes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"U0BOB00001": "user", "W1": "user", "S0SRE00001": "group", "C0GENERAL1": "channel", "G1": "channel", "D1": "channel",
		"": "", "U": "", "u1": "", "U1 ": "", "U1\n": "", "Ü1": "", "U1é": "", "<@U1>": "", "B0BOT00001": "", "T0SIM0001": "",
		"U" + strings.Repeat("0", 20): "user", "U" + strings.Repeat("0", 21): "", "C\xff": "",
	} {
		got := ""
		for kind, is := range map[string]bool{"user": IsUser(id), "group": IsGroup(id), "channel": IsChannel(id)} {
			if is {
				got += kind
			}
		}
		if got != want {
			t.Errorf("%q is %q, want %q", id, got, want)
		}
	}
}

// Steps that are not in the order of their time are made in it, and those of one time as they stand.
func TestEscalationsInTheOrderOfTheirTime(t *testing.T) {
	t.Parallel()
	r := anyOf(1)
	r.Request.Escalate = []Escalation{{After: "366d"}, {After: "2h", Role: "a"}, {After: "120m", Role: "b"}, {After: "1h"}}
	var got []Duration
	for range r.Request.Escalate {
		e, _ := r.NextEscalation()
		got = append(got, e.After)
		r.Changes = append(r.Changes, Change{Kind: Extend}, Change{Kind: Escalate})
	}
	if diff := cmp.Diff([]Duration{"1h", "2h", "120m", "366d"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if e, ok := r.NextEscalation(); ok {
		t.Errorf("one more: %+v", e)
	}
	if MaxDeadline/time.Second > math.MaxInt32 { // It is compared as an int.
		t.Error("MaxDeadline in seconds is more than an int of 32 bits holds")
	}
}
