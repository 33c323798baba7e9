package slackapi

// Scope is a permission of the bot token. https://docs.slack.dev/reference/scopes
type Scope struct {
	Name string
	// For says what it is for, and Without what does not work where the app lacks it.
	For, Without string
}

// Scopes are all that the app asks for, in the order of its manifest.
func Scopes() []Scope {
	const again = "finds a message that was posted but whose record was lost, in "
	return []Scope{
		{"chat:write", "posts cards, closes them, and speaks to people", "nothing can be posted"},
		{"commands", "the slash commands", "there is no slash command; workflows started elsewhere still ask"},
		{"users:read", "sees who somebody is", "requests that name people are not posted, and members of groups and channels cannot decide"},
		{"usergroups:read", "lists user groups and their members", "requests that name a user group are not posted"},
		{"channels:read", "sees who is in a public channel", "approvers who are not in the channel are not told"},
		{"groups:read", "sees who is in a private channel", "approvers who are not in the channel are not told"},
		{"channels:history", again + "public channels", "a second message is possible after a crash there"},
		{"groups:history", again + "private channels", "a second message is possible after a crash there"},
		{"im:history", again + "direct messages", "a second message is possible after a crash there"},
		{"mpim:history", again + "group direct messages", "a second message is possible after a crash there"},
		{"im:write", "opens direct messages", "requests to a person are not posted, and requesters are not told directly"},
	}
}

// scopesOf are the methods that are called, with the scopes of the bot token that each needs: of those of conversations it
// is one for each kind of channel. https://docs.slack.dev/reference/methods
func scopesOf() map[string][]string {
	history := []string{"channels:history", "groups:history", "im:history", "mpim:history"}
	channels := []string{"channels:read", "groups:read"}
	return map[string][]string{
		"apps.connections.open": nil, // It takes the app-level token.
		"auth.test":             nil,
		"bots.info":             {"users:read"},
		"chat.getPermalink":     nil,
		"chat.postEphemeral":    {"chat:write"},
		"chat.postMessage":      {"chat:write"},
		"chat.update":           {"chat:write"},
		"conversations.history": history,
		"conversations.members": channels,
		"conversations.open":    {"im:write"},
		"conversations.replies": history,
		"usergroups.list":       {"usergroups:read"},
		"usergroups.users.list": {"usergroups:read"},
		"users.info":            {"users:read"},
		"views.open":            nil,
		"views.publish":         nil,
		methodResponseURL:       nil,
	}
}

var methods = scopesOf()
