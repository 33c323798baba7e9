package slacksim

import "slices"

// usergroupsUsersList lists who is in a user group, without deactivated people unless they are asked for.
// See https://docs.slack.dev/reference/methods/usergroups.users.list.
func (s *Server) usergroupsUsersList(a Args) (reply, error) {
	for _, g := range s.groups {
		if g.ID == a.String("usergroup") {
			users := slices.Clone(g.Members)
			if !a.bool("include_disabled") {
				users = slices.DeleteFunc(users, func(id string) bool { return s.user(id).Deleted })
			}
			return reply{"users": users}, nil
		}
	}
	return nil, &apiError{code: "no_such_subteam"}
}
