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

// botToken is the token whose scopes Slack names in the headers of its answers.
// See https://docs.slack.dev/reference/methods/auth.test.
func (s *Server) botToken() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opts.BotToken
}

// appsManifestExport gives the manifest of the app, to an app configuration token.
// See https://docs.slack.dev/reference/methods/apps.manifest.export.
func (s *Server) appsManifestExport(a Args) (reply, error) {
	if a.String("app_id") != AppID {
		return nil, &apiError{code: "invalid_app_id"}
	}
	return reply{"manifest": s.manifest}, nil
}
