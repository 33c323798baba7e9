package slacksim

import "slices"

// groupDate is when all user groups were made.
const groupDate = 1735689600

// usergroupsList lists the user groups, with who is in them and how many they are if that is asked for, and without
// disabled groups unless they are asked for.
// See https://docs.slack.dev/reference/methods/usergroups.list.
func (s *Server) usergroupsList(a Args) (reply, error) {
	groups := []any{}
	for _, g := range s.groups {
		if g.Disabled && !a.bool("include_disabled") {
			continue
		}
		w := map[string]any{
			"id": g.ID, "team_id": TeamID, "is_usergroup": true, "name": g.Name, "description": "", "handle": g.Handle,
			"is_external": false, "date_create": groupDate, "date_update": groupDate, "date_delete": 0, "auto_type": nil,
			"created_by": "U0ALICE001", "updated_by": "U0ALICE001", "deleted_by": nil,
			"prefs": map[string]any{"channels": []string{}, "groups": []string{}},
		}
		if g.Disabled {
			w["date_delete"], w["deleted_by"] = groupDate, "U0ALICE001"
		}
		users := s.groupUsers(g, false)
		if a.bool("include_users") {
			w["users"] = users
		}
		if a.bool("include_count") {
			w["user_count"] = len(users)
		}
		groups = append(groups, w)
	}
	return reply{"usergroups": groups}, nil
}

// usergroupsUsersList lists who is in a user group, without deactivated people unless they are asked for.
// See https://docs.slack.dev/reference/methods/usergroups.users.list.
func (s *Server) usergroupsUsersList(a Args) (reply, error) {
	for _, g := range s.groups {
		if g.ID == a.String("usergroup") {
			return reply{"users": s.groupUsers(g, a.bool("include_disabled"))}, nil
		}
	}
	return nil, &apiError{code: "no_such_subteam"}
}

func (s *Server) groupUsers(g *Group, deactivated bool) []string {
	return slices.DeleteFunc(slices.Clone(g.Members), func(id string) bool { return !deactivated && s.user(id).Deleted })
}
