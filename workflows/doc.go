// Package workflows says what happens to a request, as Temporal workflows. It is deterministic: it calls nothing, it
// only schedules the activities of package worker by name, and imports no package of this program.
//
// The way of a click:
//
//	/greet World ─▶ bot ─StartWorkflow▶ workflows.Greeting ─ExecuteActivity▶ worker.ComposeGreeting
//	                                          ▲                                1 post the card (button value = reference)
//	                                          │                                2 tell the workflow where the card is
//	                                          │                                3 return activity.ErrResultPending
//	                                          │                                         │
//	 Temporal ◀─complete or fail the activity by ID── bot ◀─ Socket Mode or signed HTTP ◀─ a person clicks
//	      │        validate → open the reference → may this person decide? → complete or fail → acknowledge
//	      └─▶ workflows.Greeting ─▶ CloseCard: the card shows the outcome, the buttons go
//
// Completing the open activity is the decision: Temporal's server takes the first completion and refuses all others,
// and nothing else records one. [Requests.Ask] starts the activity, waits for its end, makes sure that every end
// (a click, the deadline, a withdrawal) goes through that one arbiter, and closes the card.
//
// [Approval] asks in rounds. Each is one open activity, AwaitDecision, whose input is a [Round]: the request with all
// decisions and changes so far, and no other state. [Round.After] says whether another round follows or how the request
// has ended, [Round.Tally] who counts and who is missing, and [Round.Apply] what a [Change] makes of it. The card is
// posted beside the first round by PostCard, and drawn anew with each. [Greeting] differs in its first activity alone,
// ComposeGreeting, which posts the card itself.
//
// The doors: a decision comes in as the open activity's completion, a change as the Update [UpdateChange], a card's
// address as the signal [SignalCardPosted] or the result of PostCard, and time by one timer for what is due next. What
// lists and operators are shown goes out as the memo [MemoRequests] and the workflow's current details.
package workflows
