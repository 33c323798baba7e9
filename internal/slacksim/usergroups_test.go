package slacksim_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"

	"countersign/internal/slacksim"
)

func TestUsergroups(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	sim.AddGroup(slacksim.Group{ID: "S0OLD00001", Handle: "old", Disabled: true, Members: []string{"bob"}})
	sim.Deactivate("carol")
	type group struct {
		ID, Team, Handle, Name string
		Count                  int
		Deleted                bool
		Users                  []string
	}
	for _, c := range []struct {
		name    string
		options []slack.GetUserGroupsOption
		want    []group
	}{
		{"by itself", nil, []group{
			{ID: "S0SRE00001", Team: slacksim.TeamID, Handle: "sre", Name: "Site Reliability"},
			{ID: "S0SECURITY", Team: slacksim.TeamID, Handle: "security", Name: "Security"},
		}},
		{"with people", []slack.GetUserGroupsOption{slack.GetUserGroupsOptionIncludeUsers(true)}, []group{
			{ID: "S0SRE00001", Team: slacksim.TeamID, Handle: "sre", Name: "Site Reliability", Users: []string{"U0BOB00001"}},
			{ID: "S0SECURITY", Team: slacksim.TeamID, Handle: "security", Name: "Security", Users: []string{"U0ERIN0001"}},
		}},
		{"with all", []slack.GetUserGroupsOption{
			slack.GetUserGroupsOptionIncludeUsers(true), slack.GetUserGroupsOptionIncludeCount(true), slack.GetUserGroupsOptionIncludeDisabled(true),
		}, []group{
			{ID: "S0SRE00001", Team: slacksim.TeamID, Handle: "sre", Name: "Site Reliability", Count: 1, Users: []string{"U0BOB00001"}},
			{ID: "S0SECURITY", Team: slacksim.TeamID, Handle: "security", Name: "Security", Count: 1, Users: []string{"U0ERIN0001"}},
			{ID: "S0OLD00001", Team: slacksim.TeamID, Handle: "old", Name: "old", Count: 1, Deleted: true, Users: []string{"U0BOB00001"}},
		}},
	} {
		groups, err := api.GetUserGroupsContext(t.Context(), c.options...)
		if err != nil {
			t.Fatal(err)
		}
		var got []group
		for _, g := range groups {
			got = append(got, group{g.ID, g.TeamID, g.Handle, g.Name, g.UserCount, g.DateDelete != 0, g.Users})
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", c.name, diff)
		}
	}
	sim.SetScopes("chat:write")
	if _, err := api.GetUserGroupsContext(t.Context()); !isError(err, "missing_scope") {
		t.Errorf("without its scope: %v", err)
	}
}

func TestSixMembers(t *testing.T) {
	t.Parallel()
	sim, api := start(t, slacksim.Options{})
	for _, name := range []string{"alice", "bob", "carol", "dave", "erin", "frank"} {
		p := sim.Person(name)
		u, err := api.GetUserInfoContext(t.Context(), p.ID())
		if err != nil || u.IsRestricted || u.IsBot || u.Deleted || u.IsStranger || u.TeamID != slacksim.TeamID {
			t.Errorf("%s: %+v, %v", name, u, err)
		}
		if _, err := p.In("general").Say("here"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
