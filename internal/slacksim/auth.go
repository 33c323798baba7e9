package slacksim

// authTest tells the app who it is.
// See https://docs.slack.dev/reference/methods/auth.test.
func (s *Server) authTest(Args) (reply, error) {
	return reply{
		"url":     "https://" + TeamDomain + ".slack.com/",
		"team":    "Stand-in",
		"team_id": TeamID,
		"user":    s.user(BotUserID).Name,
		"user_id": BotUserID,
		"bot_id":  BotID,

		"is_enterprise_install": false,
	}, nil
}
