// Package bot is everything that a person in Slack touches: it receives commands, clicks and events, by Socket Mode or
// by signed HTTP, and answers them. It keeps nothing about a request; any process of any number may get any click.
//
// The way of a click:
//
//	receive    socket.go, http.go   the payload, authenticated, and nothing more is known of it
//	validate   payload.go           into a struct of our own, strictly
//	open       click.go             the reference in the button names the open activity, and who may decide
//	may they?  policy.go            this person, of this workspace, now; if it cannot be checked, no
//	commit     decide.go            complete or fail the activity by ID: Temporal's answer is the decision
//	acknowledge                     only now, within Slack's 3 s
//
// A click that could not be committed is not acknowledged: Slack shows its warning sign, and the person is told in
// private what is known. Whoever comes too late is told who was first. Where the request goes on with another round, and
// the same people may decide, the click is committed there; where they have changed, it decides nothing.
//
// The doors:
//
//	click.go     the buttons of a card and of the home, and the forms that ask for what a decision needs
//	change.go    the card's menu and its forms: withdraw, extend, delegate, escalate, as an Update
//	command.go   /greet
//	approval.go  /approval: the form that asks, and list, show, withdraw, extend, delegate
//	home.go      the app's home: opened, turned to a page, and kept current; list.go finds what it shows
package bot
