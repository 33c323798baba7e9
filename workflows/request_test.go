package workflows

import (
	"encoding/json"
	"testing"
	"time"
)

// Whatever is shown on the card is bound to the decision; who may decide is bound to the activity's ID as well.
func TestDigestAndPolicy(t *testing.T) {
	t.Parallel()
	base := Request{
		Title: "t", Text: "x", Channel: "C1", Requester: "U1", ExpiresAt: time.Unix(1, 0).UTC(),
		Approvers: Approvers{Users: []string{"U2", "U3"}, Groups: []string{"S1"}},
	}
	for name, tc := range map[string]struct {
		change func(*Request)
		digest bool // changes
		policy bool // changes
	}{
		"nothing":           {func(*Request) {}, false, false},
		"title":             {func(r *Request) { r.Title = "u" }, true, false},
		"text":              {func(r *Request) { r.Text = "" }, true, false},
		"channel":           {func(r *Request) { r.Channel = "C2" }, true, false},
		"requester":         {func(r *Request) { r.Requester = "U9" }, true, false},
		"deadline":          {func(r *Request) { r.ExpiresAt = r.ExpiresAt.Add(time.Nanosecond) }, true, false},
		"one approver more": {func(r *Request) { r.Approvers.Users = []string{"U2", "U3", "U4"} }, true, true},
		"another approver":  {func(r *Request) { r.Approvers.Users = []string{"U2", "U4"} }, true, true},
		"no group":          {func(r *Request) { r.Approvers.Groups = nil }, true, true},
		"anyone":            {func(r *Request) { r.Approvers.Channel = true }, true, true},
		"the requester too": {func(r *Request) { r.AllowSelf = true }, true, true},
		"guests too":        {func(r *Request) { r.AllowGuests = true }, true, true},
		"two of them":       {func(r *Request) { r.Required = 2 }, true, true},
		"one of them":       {func(r *Request) { r.Required = 1 }, true, false},
		"roles":             {func(r *Request) { r.Roles = []Role{{Name: "sre", Approvers: r.Approvers}} }, true, true},
		"fields":            {func(r *Request) { r.Fields = []Field{{"a", "b"}} }, true, false},
		"link":              {func(r *Request) { r.Link.URL = "https://example.com" }, true, false},
		"confirm":           {func(r *Request) { r.Confirm = "Sure?" }, true, false},
		"choices":           {func(r *Request) { r.Choices = []Choice{{Label: "a"}} }, true, false},
		"inputs":            {func(r *Request) { r.Inputs = []Input{{Name: "a", Initial: "1"}} }, true, false},
		"escalation":        {func(r *Request) { r.Escalate = []Escalation{{After: "1h"}} }, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := base
			tc.change(&r)
			if changed := r.Digest() != base.Digest(); changed != tc.digest {
				t.Errorf("the digest changed: %v, want %v", changed, tc.digest)
			}
			if changed := (Round{Request: r}).policy() != (Round{Request: base}).policy(); changed != tc.policy {
				t.Errorf("the policy changed: %v, want %v", changed, tc.policy)
			}
			b, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			var again Request
			if err := json.Unmarshal(b, &again); err != nil {
				t.Fatal(err)
			}
			if again.Digest() != r.Digest() {
				t.Errorf("the digest does not survive JSON: %s", b)
			}
		})
	}
}
