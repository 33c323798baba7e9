package slacksim

// usersInfo describes a person or a bot.
// See https://docs.slack.dev/reference/methods/users.info.
func (s *Server) usersInfo(a Args) (reply, error) {
	u := s.user(a.String("user"))
	if u == nil || u.ID != a.String("user") {
		return nil, &apiError{code: "user_not_found"}
	}
	w := map[string]any{
		"id": u.ID, "team_id": u.TeamID, "name": u.Name, "real_name": u.RealName, "deleted": u.Deleted,
		"profile": map[string]any{
			"real_name": u.RealName, "real_name_normalized": u.RealName,
			"display_name": u.Name, "display_name_normalized": u.Name, "team": u.TeamID,
		},
		"is_bot": u.Bot, "is_app_user": false, "updated": 1735689600,
	}
	if !u.Deleted {
		w["tz"], w["tz_label"], w["tz_offset"] = "Europe/Berlin", "Central European Time", 3600
		w["is_restricted"], w["is_ultra_restricted"] = u.Restricted || u.UltraRestricted, u.UltraRestricted
		w["is_admin"], w["is_owner"], w["is_primary_owner"] = false, false, false
	}
	if u.Stranger {
		w["is_stranger"] = true
	}
	return reply{"user": w}, nil
}

// botsInfo describes the app's bot.
// See https://docs.slack.dev/reference/methods/bots.info.
func (s *Server) botsInfo(a Args) (reply, error) {
	if a.String("bot") != BotID {
		return nil, &apiError{code: "bot_not_found"}
	}
	u := s.user(BotUserID)
	return reply{"bot": map[string]any{
		"id": BotID, "name": u.Name, "deleted": false, "user_id": BotUserID, "app_id": AppID, "updated": 1735689600,
		"icons": map[string]any{},
	}}, nil
}
