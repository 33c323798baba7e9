package bot

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/reference"
	"countersign/workflows"
)

func TestMayDecide(t *testing.T) {
	t.Parallel()
	const sre = "S0SRE00001"
	robot := workflows.Person{ID: "U0ROBOT001", Team: team}
	former := workflows.Person{ID: "U0FORMER01", Team: team}
	named := func(r *reference.Reference) {}
	inGroup := func(r *reference.Reference) { r.Users, r.Groups = nil, []string{"S0EMPTY001", sre} }
	inChannel := func(r *reference.Reference) { r.Users, r.Channel = nil, true }
	down := errors.New("slack is down")
	for name, tc := range map[string]struct {
		ref     func(*reference.Reference)
		who     workflows.Person
		fails   error
		want    refusal
		sure    bool // whether it could be checked
		lookUps []string
	}{
		"named":                       {ref: named, who: bob, sure: true},
		"named, Slack is down":        {ref: named, who: bob, fails: down, sure: true},
		"named guest":                 {ref: named, who: guest, sure: true},
		"named person of another org": {ref: func(r *reference.Reference) { r.Users = []string{external.ID} }, who: external, want: refuseStranger, sure: true},
		"person of no team":           {ref: named, who: workflows.Person{ID: bob.ID}, want: refuseStranger, sure: true},
		"named without an ID":         {ref: named, who: workflows.Person{Team: team}, want: refuseOthers, sure: true},
		"stranger to the request":     {ref: named, who: carol, want: refuseOthers, sure: true},
		"nobody is named":             {ref: func(r *reference.Reference) { r.Users = nil }, who: bob, want: refuseOthers, sure: true},

		"requester":                {ref: named, who: alice, want: refuseSelf, sure: true},
		"requester who is named":   {ref: func(r *reference.Reference) { r.Users = []string{alice.ID} }, who: alice, want: refuseSelf, sure: true},
		"requester in the channel": {ref: inChannel, who: alice, want: refuseSelf, sure: true},
		"requester who is allowed": {ref: func(r *reference.Reference) { r.Users, r.AllowSelf = []string{alice.ID}, true }, who: alice, sure: true},
		"requester who is allowed and not an approver": {
			ref: func(r *reference.Reference) { r.AllowSelf = true }, who: alice, want: refuseOthers, sure: true,
		},
		"nobody asked, and no ID": {ref: func(r *reference.Reference) { r.Requester, r.Channel = "", true }, who: workflows.Person{Team: team}, want: refuseSelf, sure: true},

		"member of the second group": {ref: inGroup, who: carol, sure: true, lookUps: []string{"S0EMPTY001", sre, carol.ID}},
		"member who is a guest":      {ref: inGroup, who: guest, want: refuseGuest, sure: true, lookUps: []string{"S0EMPTY001", sre, guest.ID}},
		"member who is a guest, where guests may": {
			ref: func(r *reference.Reference) { inGroup(r); r.AllowGuests = true }, who: guest, sure: true, lookUps: []string{"S0EMPTY001", sre, guest.ID},
		},
		"no member":                     {ref: inGroup, who: bob, want: refuseOthers, sure: true, lookUps: []string{"S0EMPTY001", sre}},
		"named beside a group":          {ref: func(r *reference.Reference) { r.Groups = []string{sre} }, who: bob, sure: true},
		"group cannot be looked up":     {ref: inGroup, who: carol, fails: down, want: refuseUnchecked, lookUps: []string{"S0EMPTY001"}},
		"group of another org's person": {ref: inGroup, who: external, want: refuseStranger, sure: true},

		"member who has handed over": {ref: func(r *reference.Reference) { inGroup(r); r.Gone = []string{bob.ID, carol.ID} }, who: carol, want: refuseGone, sure: true},
		"member beside who has handed over": {
			ref: func(r *reference.Reference) { inGroup(r); r.Gone = []string{bob.ID} }, who: carol, sure: true, lookUps: []string{"S0EMPTY001", sre, carol.ID},
		},
		"in the channel, and has handed over": {ref: func(r *reference.Reference) { inChannel(r); r.Gone = []string{carol.ID} }, who: carol, want: refuseGone, sure: true},
		"of a role, and has handed over": {
			ref: func(r *reference.Reference) {
				r.Users, r.Roles, r.Gone = nil, []reference.Role{{Name: "a", Groups: []string{sre}}}, []string{carol.ID}
			}, who: carol, want: refuseGone, sure: true,
		},
		"anyone in the channel":                {ref: inChannel, who: carol, sure: true, lookUps: []string{carol.ID}},
		"anyone in the channel beside a group": {ref: func(r *reference.Reference) { inChannel(r); r.Groups = []string{sre} }, who: bob, sure: true, lookUps: []string{bob.ID}},
		"guest in the channel":                 {ref: inChannel, who: guest, want: refuseGuest, sure: true, lookUps: []string{guest.ID}},
		"guest in the channel, where guests may": {
			ref: func(r *reference.Reference) { inChannel(r); r.AllowGuests = true }, who: guest, sure: true, lookUps: []string{guest.ID},
		},
		"bot in the channel, where guests may": {
			ref: func(r *reference.Reference) { inChannel(r); r.AllowGuests = true }, who: robot, want: refuseAccount, sure: true, lookUps: []string{robot.ID},
		},
		"bot in the channel":                  {ref: inChannel, who: robot, want: refuseAccount, sure: true, lookUps: []string{robot.ID}},
		"deactivated person":                  {ref: inChannel, who: former, want: refuseAccount, sure: true, lookUps: []string{former.ID}},
		"another org's person in the channel": {ref: inChannel, who: external, want: refuseStranger, sure: true},
		"another org's person under our team": {ref: inChannel, who: workflows.Person{ID: external.ID, Team: team}, want: refuseAccount, sure: true, lookUps: []string{external.ID}},
		"person cannot be looked up":          {ref: inChannel, who: carol, fails: down, want: refuseUnchecked, lookUps: []string{carol.ID}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSlack()
			s.lookUp = tc.fails
			b, sealed := newBot(t, s, &fakeTemporal{}, tc.ref)
			ref, err := b.Keys.Open(sealed)
			if err != nil {
				t.Fatal(err)
			}
			_, no, sure := b.mayDecide(t.Context(), ref, tc.who)
			if no != tc.want || sure != tc.sure {
				t.Errorf("mayDecide = %q, %v; want %q, %v", no, sure, tc.want, tc.sure)
			}
			if diff := cmp.Diff(tc.lookUps, s.lookUps); diff != "" {
				t.Errorf("looked up (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMayFillRoles(t *testing.T) {
	t.Parallel()
	const sre, empty = "S0SRE00001", "S0EMPTY001"
	down := errors.New("slack is down")
	for name, tc := range map[string]struct {
		roles  []reference.Role
		guests bool
		who    workflows.Person
		fails  error
		want   []string
		no     refusal
		sure   bool
	}{
		"named in one": {roles: []reference.Role{{Name: "a", Users: []string{bob.ID}}, {Name: "b", Users: []string{carol.ID}}}, who: bob, want: []string{"a"}, sure: true},
		"named in two": {roles: []reference.Role{{Name: "a", Users: []string{bob.ID}}, {Name: "b", Users: []string{bob.ID}}}, who: bob, want: []string{"a", "b"}, sure: true},
		"named in one, and member of another": {
			roles: []reference.Role{{Name: "a", Users: []string{carol.ID}}, {Name: "b", Groups: []string{sre}}}, who: carol, want: []string{"a", "b"}, sure: true,
		},
		"member of one": {roles: []reference.Role{{Name: "a", Groups: []string{empty}}, {Name: "b", Groups: []string{sre}}}, who: carol, want: []string{"b"}, sure: true},
		"in none":       {roles: []reference.Role{{Name: "a", Groups: []string{empty}}, {Name: "b", Users: []string{carol.ID}}}, who: bob, no: refuseOthers, sure: true},
		"anyone in one": {roles: []reference.Role{{Name: "a", Channel: true}, {Name: "b", Users: []string{carol.ID}}}, who: bob, want: []string{"a"}, sure: true},
		"requester":     {roles: []reference.Role{{Name: "a", Users: []string{alice.ID}}}, who: alice, no: refuseSelf, sure: true},
		"stranger":      {roles: []reference.Role{{Name: "a", Users: []string{external.ID}}}, who: external, no: refuseStranger, sure: true},
		"named, and a group cannot be looked up": {
			roles: []reference.Role{{Name: "a", Users: []string{bob.ID}}, {Name: "b", Groups: []string{sre}}}, who: bob, fails: down, no: refuseUnchecked,
		},
		"named in all, and Slack is down": {roles: []reference.Role{{Name: "a", Users: []string{bob.ID}, Groups: []string{sre}}}, who: bob, fails: down, want: []string{"a"}, sure: true},
		"guest who is a member":           {roles: []reference.Role{{Name: "a", Groups: []string{sre}}}, who: guest, no: refuseGuest, sure: true},
		"guest who is a member, where guests may": {
			roles: []reference.Role{{Name: "a", Groups: []string{sre}}}, guests: true, who: guest, want: []string{"a"}, sure: true,
		},
		// Being named in one role makes nobody a full member for the others.
		"guest who is named in one, and member of another": {
			roles: []reference.Role{{Name: "a", Users: []string{guest.ID}}, {Name: "b", Groups: []string{sre}}}, who: guest, want: []string{"a"}, sure: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSlack()
			s.lookUp = tc.fails
			f := &fakeTemporal{}
			b, sealed := newBot(t, s, f, func(r *reference.Reference) { r.Users, r.Roles, r.AllowGuests = nil, tc.roles, tc.guests })
			ref, err := b.Keys.Open(sealed)
			if err != nil {
				t.Fatal(err)
			}
			roles, no, sure := b.mayDecide(t.Context(), ref, tc.who)
			if no != tc.no || sure != tc.sure {
				t.Errorf("mayDecide = %q, %v; want %q, %v", no, sure, tc.no, tc.sure)
			}
			if diff := cmp.Diff(tc.want, roles); diff != "" {
				t.Errorf("roles (-want +got):\n%s", diff)
			}
			r := deliver(t, b, interactive, clicked(tc.who, "approve", sealed))
			if decided := len(f.completions) > 0; decided != (tc.no == "") || r.ack != tc.sure || len(s.said) > 0 != (tc.no != "") {
				t.Errorf("decided %v, acknowledged %v, said %q", decided, r.ack, s.said)
			}
		})
	}
}

func TestMayAsk(t *testing.T) {
	t.Parallel()
	anyMember := Requesters{Members: true}
	for name, tc := range map[string]struct {
		allowed Requesters
		who     string
		fails   error
		ok      bool
		lookUps int
	}{
		"member":                     {allowed: anyMember, who: carol.ID, ok: true, lookUps: 1},
		"guest":                      {allowed: anyMember, who: guest.ID, lookUps: 1},
		"another org's person":       {allowed: anyMember, who: external.ID, lookUps: 1},
		"bot":                        {allowed: anyMember, who: "U0ROBOT001", lookUps: 1},
		"deactivated":                {allowed: anyMember, who: "U0FORMER01", lookUps: 1},
		"named guest":                {allowed: Requesters{Users: []string{guest.ID}}, who: guest.ID, ok: true},
		"not named":                  {allowed: Requesters{Users: []string{bob.ID}}, who: carol.ID},
		"member of a group":          {allowed: Requesters{Groups: []string{"S0SRE00001"}}, who: carol.ID, ok: true, lookUps: 2},
		"guest of a group":           {allowed: Requesters{Groups: []string{"S0SRE00001"}}, who: guest.ID, lookUps: 2},
		"no member of a group":       {allowed: Requesters{Groups: []string{"S0SRE00001"}}, who: bob.ID, lookUps: 1},
		"nobody may":                 {who: bob.ID},
		"person cannot be looked up": {allowed: anyMember, who: bob.ID, fails: errors.New("slack is down"), lookUps: 1},
		"group cannot be looked up":  {allowed: Requesters{Groups: []string{"S0SRE00001"}}, who: carol.ID, fails: errors.New("slack is down"), lookUps: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSlack()
			s.lookUp = tc.fails
			b, _ := newBot(t, s, &fakeTemporal{}, nil)
			b.Requesters = tc.allowed
			if no := b.mayAsk(t.Context(), tc.who); (no == "") != tc.ok {
				t.Errorf("mayAsk = %q, want allowed %v", no, tc.ok)
			}
			if len(s.lookUps) != tc.lookUps {
				t.Errorf("looked up %q, want %d look-ups", s.lookUps, tc.lookUps)
			}
		})
	}
}

// What a click costs before it reaches Temporal, where the approver is named: no call, and far below 20 µs.
func BenchmarkAdmit(b *testing.B) {
	for _, approvers := range []int{1, 90} {
		b.Run(fmt.Sprintf("%d approvers", approvers), func(b *testing.B) {
			s := newSlack()
			bot, sealed := newBot(b, s, &fakeTemporal{}, func(r *reference.Reference) {
				r.WorkflowID, r.RunID = "greet-0123456789abcdef0123", "01a206f1-54c9-7a0b-9696-06008e773dd9"
				r.Users = nil
				for i := range approvers - 1 {
					r.Users = append(r.Users, fmt.Sprintf("U%010d", i))
				}
				r.Users = append(r.Users, carol.ID)
			})
			payload, err := json.Marshal(clicked(carol, "approve", sealed))
			if err != nil {
				b.Fatal(err)
			}
			i, err := decode(payload, func(interaction) bool { return true })
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, _, no, sure := bot.admit(b.Context(), i, sealed); no != "" || !sure {
					b.Fatalf("refused: %s", no)
				}
			}
			if len(s.lookUps) > 0 {
				b.Errorf("looked up %q", s.lookUps)
			}
		})
	}
}

var _ Directory = (*fakeSlack)(nil)
