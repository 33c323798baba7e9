package worker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/workflows"
)

func TestPrepareRequest(t *testing.T) {
	anyone := workflows.Approvers{Channel: true}
	for name, tc := range map[string]struct {
		policy func(*Policy)
		change func(*workflows.Request)
		faults []string // parts of the message; none: it is taken
		want   func(*workflows.Request)
	}{
		"as it is": {},
		"names nobody": {
			change: func(r *workflows.Request) { r.Approvers = workflows.Approvers{} },
			want:   func(r *workflows.Request) { r.Approvers = workflows.Approvers{Users: []string{bob}} },
		},
		"names nobody, and requesters may decide": {
			policy: func(p *Policy) { p.AllowSelf = true },
			change: func(r *workflows.Request) { r.Approvers = workflows.Approvers{} },
			want: func(r *workflows.Request) {
				r.Approvers, r.AllowSelf = workflows.Approvers{Users: []string{bob}}, true
			},
		},
		"names others, and requesters may decide": {
			policy: func(p *Policy) { p.AllowSelf = true },
		},
		"names nobody, and nobody is an approver": {
			policy: func(p *Policy) { p.Approvers = workflows.Approvers{} },
			change: func(r *workflows.Request) { r.Approvers = workflows.Approvers{} },
			faults: []string{"Nobody may decide", "APPROVERS"},
		},
		"anyone in the channel":             {change: func(r *workflows.Request) { r.Approvers = anyone }, faults: []string{"APPROVERS does not allow"}},
		"anyone in the channel, as allowed": {policy: func(p *Policy) { p.Approvers = anyone }, change: func(r *workflows.Request) { r.Approvers = anyone }},
		"requester too":                     {change: func(r *workflows.Request) { r.AllowSelf = true }, faults: []string{"ALLOW_SELF_APPROVAL"}},
		"requester too, as allowed":         {policy: func(p *Policy) { p.AllowSelf = true }, change: func(r *workflows.Request) { r.AllowSelf = true }},
		"requester too, named nobody":       {change: func(r *workflows.Request) { r.Approvers, r.AllowSelf = workflows.Approvers{}, true }, faults: []string{"ALLOW_SELF_APPROVAL"}},
		"requester alone":                   {change: func(r *workflows.Request) { r.Approvers = workflows.Approvers{Users: []string{alice}} }, faults: []string{"only approver is the requester"}},
		"requester alone, as allowed": {
			policy: func(p *Policy) { p.AllowSelf = true },
			change: func(r *workflows.Request) {
				r.Approvers, r.AllowSelf = workflows.Approvers{Users: []string{alice}}, true
			},
		},
		"requester alone, named twice": {change: func(r *workflows.Request) { r.Approvers = workflows.Approvers{Users: []string{alice, alice}} }, faults: []string{"only approver is the requester"}},
		"requester beside somebody":    {change: func(r *workflows.Request) { r.Approvers = workflows.Approvers{Users: []string{alice, bob, alice}} }},
		"nobody asks, one approver":    {change: func(r *workflows.Request) { r.Requester, r.Approvers = "", workflows.Approvers{Users: []string{bob}} }},
		"a deadline that has passed":   {change: func(r *workflows.Request) { r.ExpiresAt = time.Now().Add(-time.Minute) }, faults: []string{"has passed already"}},
		"a deadline in a year":         {change: func(r *workflows.Request) { r.ExpiresAt = r.ExpiresAt.Add(365 * 24 * time.Hour) }},
		"a deadline beyond a year":     {change: func(r *workflows.Request) { r.ExpiresAt = r.ExpiresAt.Add(workflows.MaxDeadline) }, faults: []string{"more than a year away"}},
		"requester beside a group":     {change: func(r *workflows.Request) { r.Approvers.Users = []string{alice} }},
		"no title":                     {change: func(r *workflows.Request) { r.Title = " \t" }, faults: []string{"The title is empty."}},
		"a title that nobody sees":     {change: func(r *workflows.Request) { r.Title = "\u200b\u3164" }, faults: []string{"The title is empty."}},
		"a channel's name":             {change: func(r *workflows.Request) { r.Channel = "#general" }, faults: []string{`"#general" is not the ID of a Slack channel`}},
		"no channel":                   {change: func(r *workflows.Request) { r.Channel = "" }, faults: []string{"is not the ID of a Slack channel"}},
		"a requester's name":           {change: func(r *workflows.Request) { r.Requester = "alice" }, faults: []string{`"alice" is not the ID of a Slack user`}},
		"nobody asks":                  {change: func(r *workflows.Request) { r.Requester = "" }},
		"an approver's name":           {change: func(r *workflows.Request) { r.Approvers.Users = []string{bob, "@carol"} }, faults: []string{`"@carol" is not the ID of a Slack user`}},
		"a group among the people":     {change: func(r *workflows.Request) { r.Approvers.Users = []string{sre} }, faults: []string{sre}},
		"a group's name":               {change: func(r *workflows.Request) { r.Approvers.Groups = []string{"<!channel>"} }, faults: []string{"<!channel>"}},
		"a person's direct message": {
			policy: func(p *Policy) { p.AllowSelf = true },
			change: func(r *workflows.Request) { r.Channel, r.Approvers = carol, workflows.Approvers{} },
			want:   func(r *workflows.Request) { r.Approvers = workflows.Approvers{Users: []string{carol}} },
		},
		"a person's direct message, and others decide": {change: func(r *workflows.Request) { r.Channel = carol }},
		"the requester's direct message": {
			change: func(r *workflows.Request) { r.Channel, r.Approvers = alice, workflows.Approvers{} },
			faults: []string{"only approver is the requester"},
		},
		"roles": {
			policy: func(p *Policy) { p.AllowSelf = true },
			change: func(r *workflows.Request) { *r = inRoles(workflows.Approvers{Users: []string{carol}}) },
		},
		"roles in a person's direct message": {
			change: func(r *workflows.Request) {
				*r = inRoles(workflows.Approvers{Users: []string{carol}})
				r.Channel = bob
			},
		},
		"more are required than the deployment names": {
			change: func(r *workflows.Request) { r.Approvers, r.Required = workflows.Approvers{}, 2 },
			faults: []string{"required is 2, but only 1 person is named"},
		},
		"anyone in the channel in a role":             {change: func(r *workflows.Request) { *r = inRoles(anyone) }, faults: []string{"APPROVERS does not allow"}},
		"anyone in the channel in a role, as allowed": {policy: func(p *Policy) { p.Approvers = anyone }, change: func(r *workflows.Request) { *r = inRoles(anyone) }},
		"anyone in the channel in time":               {change: func(r *workflows.Request) { r.Escalate = inTime(anyone) }, faults: []string{"APPROVERS does not allow"}},
		"anyone in the channel in time, as allowed":   {policy: func(p *Policy) { p.Approvers = anyone }, change: func(r *workflows.Request) { r.Escalate = inTime(anyone) }},
		"guests":                         {change: func(r *workflows.Request) { r.AllowGuests = true }, faults: []string{"ALLOW_GUESTS"}},
		"guests, as allowed":             {policy: func(p *Policy) { p.AllowGuests = true }, change: func(r *workflows.Request) { r.AllowGuests = true }},
		"allowed, and not asked for":     {policy: func(p *Policy) { p.AllowGuests, p.AllowApprovalOnExpiry = true, true }},
		"approved on expiry":             {change: func(r *workflows.Request) { r.OnExpiry = workflows.ApproveOnExpiry }, faults: []string{"ALLOW_APPROVAL_ON_EXPIRY"}},
		"approved on expiry, as allowed": {policy: func(p *Policy) { p.AllowApprovalOnExpiry = true }, change: func(r *workflows.Request) { r.OnExpiry = workflows.ApproveOnExpiry }},
		"rejected on expiry":             {change: func(r *workflows.Request) { r.OnExpiry = workflows.RejectOnExpiry }},
		"every ceiling": {
			change: func(r *workflows.Request) {
				r.Approvers, r.AllowSelf, r.AllowGuests, r.OnExpiry = anyone, true, true, workflows.ApproveOnExpiry
			},
			faults: []string{"APPROVERS does not", "ALLOW_SELF_APPROVAL", "ALLOW_GUESTS", "ALLOW_APPROVAL_ON_EXPIRY"},
		},
		"two deadlines":               {change: func(r *workflows.Request) { r.Deadline = "2h" }, faults: []string{"both deadline and expires_at"}},
		"a deadline that is none":     {change: func(r *workflows.Request) { r.ExpiresAt, r.Deadline = time.Time{}, "soon" }, faults: []string{`"soon", which is not a duration`}},
		"a deadline of over a year":   {change: func(r *workflows.Request) { r.ExpiresAt, r.Deadline = time.Time{}, "367d" }, faults: []string{"may be 366 days"}},
		"a deadline that is no time":  {change: func(r *workflows.Request) { r.ExpiresAt, r.Deadline = time.Time{}, "0s" }, faults: []string{"a second at least"}},
		"no deadline, and no channel": {change: func(r *workflows.Request) { r.ExpiresAt, r.Channel = time.Time{}, "" }, faults: []string{"is not the ID of a Slack channel"}},
		"past deadline, and no channel": {
			change: func(r *workflows.Request) { r.ExpiresAt, r.Channel = time.Now().Add(-time.Minute), "" },
			faults: []string{"is not the ID of a Slack channel", "has passed already"},
		},
		"all at once": {
			change: func(r *workflows.Request) { *r = workflows.Request{Requester: "x", Approvers: anyone} },
			faults: []string{"The title is empty.", "channel", `"x"`, "APPROVERS does not allow"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if tc.policy != nil {
				tc.policy(&w.Policy)
			}
			r := request()
			if tc.change != nil {
				tc.change(&r)
			}
			want := r
			if tc.want != nil {
				tc.want(&want)
			}
			v, err := w.env.ExecuteActivity(w.PrepareRequest, r)
			if len(tc.faults) > 0 {
				if err == nil {
					t.Fatal("it was taken")
				}
				app := asApp(t, err)
				if app.Type() != workflows.ErrTypeInvalidRequest || !app.NonRetryable() {
					t.Errorf("refused with type %s, final %v", app.Type(), app.NonRetryable())
				}
				for _, part := range tc.faults {
					if !strings.Contains(app.Message(), part) {
						t.Errorf("says %q, want it to have %q", app.Message(), part)
					}
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got workflows.Request
			if err := v.Get(&got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("prepared (-want +got):\n%s", diff)
			}
		})
	}
	for name, tc := range map[string]struct {
		deadline workflows.Duration
		want     time.Duration
	}{
		"without a deadline":       {"", 24 * time.Hour},
		"a deadline as a duration": {"90m", 90 * time.Minute},
		"a deadline in days":       {"3d", 3 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := request()
			r.ExpiresAt, r.Deadline = time.Time{}, tc.deadline
			before := time.Now()
			v, err := w.env.ExecuteActivity(w.PrepareRequest, r)
			if err != nil {
				t.Fatal(err)
			}
			var got workflows.Request
			if err := v.Get(&got); err != nil {
				t.Fatal(err)
			}
			if got.ExpiresAt.Before(before.Add(tc.want-time.Second)) || got.ExpiresAt.After(time.Now().Add(tc.want)) || got.Deadline != "" {
				t.Errorf("it expires at %v, deadline %q; want in %v", got.ExpiresAt, got.Deadline, tc.want)
			}
		})
	}
	t.Run("more faults than anybody reads", func(t *testing.T) {
		w := newWorld(t)
		r := request()
		r.Title, r.AllowGuests = "", true
		r.Approvers = workflows.Approvers{}
		for i := range 40 {
			r.Approvers.Users = append(r.Approvers.Users, fmt.Sprintf("@person%d", i))
		}
		_, err := w.env.ExecuteActivity(w.PrepareRequest, r)
		msg := asApp(t, err).Message()
		if n := strings.Count(msg, "is not the ID of a Slack user,"); n != 29 || !strings.HasPrefix(msg, "The title is empty. ") || !strings.HasSuffix(msg, " There are 12 more.") {
			t.Errorf("%d of 40 names in %q, want 29, after the title and before how many more", n, msg)
		}
	})
}

// inRoles is a request whose one role those fill.
func inRoles(who workflows.Approvers) workflows.Request {
	r := request()
	r.Approvers, r.Roles = workflows.Approvers{}, []workflows.Role{{Name: "Operations", Approvers: who}}
	return r
}

// inTime adds those after an hour.
func inTime(who workflows.Approvers) []workflows.Escalation {
	return []workflows.Escalation{{After: "1h", Approvers: who}}
}
