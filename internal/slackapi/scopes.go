package slackapi

// Scope is a permission of the bot token. https://docs.slack.dev/reference/scopes
type Scope struct {
	Name string
	// For says what it is for, and Without what does not work where the app lacks it.
	For, Without string
}

// Scopes are all that the app asks for, in the order of its manifest. docs/slack-app.md has them in these words.
func Scopes() []Scope {
	const (
		again  = "finds a message that was posted but whose record was lost, in "
		twice  = "after a crash or a time-out a second message is possible there, and a card whose address was lost stays open"
		inside = "sees whether the approvers who are named are in the card's channel, and tells those who are not directly, in "
		untold = "approvers who are named and not in such a channel are not told"
	)
	return []Scope{
		{
			"chat:write", "posts cards and greetings, closes cards, writes in their threads, and speaks to one person in private",
			"nothing can be posted",
		},
		{"commands", "the slash commands", "there is no slash command; workflows started elsewhere still ask"},
		{
			"users:read", "sees whether somebody is a guest, an app, deactivated or of another organisation, and which app it is itself",
			"a request that names people is not posted, members of groups and channels cannot decide, nothing can be changed, " +
				"and only those whom REQUESTERS names may ask in Slack",
		},
		{
			"usergroups:read", "lists the user groups and their members",
			"a request that names a user group is not posted, a group in REQUESTERS counts as no, and lists and the home lack what waits for a group",
		},
		{"channels:read", inside + "public channels", untold},
		{"groups:read", inside + "private channels", untold},
		{"channels:history", again + "public channels", twice},
		{"groups:history", again + "private channels", twice},
		{"im:history", again + "direct messages", twice},
		{"mpim:history", again + "group direct messages", twice},
		{
			"im:write", "opens direct messages, with the cards of requests to a person, and with what is said to people who are not in the channel",
			"a request to a person is not posted, and those who are to be told directly are not told",
		},
	}
}

// scopesOf are the methods that are called, with the scopes of the bot token that each needs: of those of conversations it
// is one for each kind of channel. https://docs.slack.dev/reference/methods
func scopesOf() map[string][]string {
	history := []string{"channels:history", "groups:history", "im:history", "mpim:history"}
	channels := []string{"channels:read", "groups:read"}
	return map[string][]string{
		"apps.connections.open": nil, // It takes the app-level token.
		"apps.manifest.export":  nil, // It takes an app configuration token.
		"auth.test":             nil,
		"bots.info":             {"users:read"},
		"chat.getPermalink":     nil,
		"chat.postEphemeral":    {"chat:write"},
		"chat.postMessage":      {"chat:write"},
		"chat.update":           {"chat:write"},
		"conversations.history": history,
		"conversations.info":    channels,
		"conversations.members": channels,
		"conversations.open":    {"im:write"},
		"conversations.replies": history,
		"usergroups.list":       {"usergroups:read"},
		"usergroups.users.list": {"usergroups:read"},
		"users.conversations":   channels,
		"users.info":            {"users:read"},
		"views.open":            nil,
		"views.publish":         nil,
		methodResponseURL:       nil,
	}
}

var methods = scopesOf()
