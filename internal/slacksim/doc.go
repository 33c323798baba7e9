// Package slacksim is a stand-in for Slack: one workspace, in memory, with the parts of Slack's platform that an app
// with slash commands, buttons and modals meets. It serves tests and the demo, and can be run by hand with serve.
//
// # What it is
//
// A Server is an http.Handler. Under /api/ it answers the Web API in Slack's wire format, with Slack's error strings
// and limits; there is one file per group of methods, and each method links Slack's page for it: auth.go, chat.go,
// conversations.go, users.go, usergroups.go, views.go; apps.manifest.export is in auth.go, and apps.connections.open in
// socket.go. Methods that are not there answer unknown_method. blocks.go and elements.go hold the rules of Block Kit,
// inputs.go what inputs hold, response.go the response URLs.
//
// Commands, clicks, submissions and events reach the app by Socket Mode (socket.go), or by signed POSTs if there is a
// Request URL (delivery.go). Each is a Delivery. It has 3 s to be acknowledged and is never sent again, but for
// events, which are tried twice.
//
// The page at / (page.go, and its files in page/) shows all this to people: what one person sees, and beside it what
// has just happened (page_log.go), by workflow if Options.Trace tells (trace.go), and faults to make (page_fault.go).
// It speaks to /sim/, which is its own.
//
// # The workspace
//
// Alice, bob, carol, dave, erin and frank are members, and the last three are in general only; guest is a guest; external comes from another organisation through Slack Connect;
// former is deactivated; robot is another app. The app's own user is BotUserID. The app is in the channels general,
// ops, leads (private: alice and bob) and partners (shared: with external), and not in random. The user group sre is
// bob and carol, and security is carol and erin. AddPerson, AddChannel and AddGroup add to it, and SetScopes changes what the app may do.
//
// # A test reads like the demo
//
//	sim := slacksim.New(slacksim.Options{})
//	server := httptest.NewServer(sim) // and start the app against server.URL + "/api/"
//	defer server.Close()
//	defer sim.Close()
//	err := sim.WaitConnections(ctx, 1)
//
//	alice, bob := sim.Person("alice").In("general"), sim.Person("bob")
//	_, err = alice.Command(ctx, "/greet World")
//	card, err := sim.WaitMessage(ctx, "general", slacksim.HasButton("reject"))
//	click, err := bob.Click(ctx, card, "reject") // click.Acked
//	modal, err := bob.Modal(ctx)
//	_, err = bob.Submit(ctx, modal, map[string]any{"reason": "not today"})
//	_, err = sim.WaitMessage(ctx, "general", slacksim.Contains("not today"))
//
// Click, Select, Submit and OpenHome are what people do with messages, modals and the Home tab, where ClickView and
// SelectView are for what stands in views; see also Filled. Overflow menus are for Select.
//
// Waits look at every change and end with their context. What a person could not do in Slack is an error that wraps
// ErrRefused, unless Person.Force allows it. Everything that happened is in State, Calls and Deliveries.
//
// # Faults
//
// Inject makes Web API calls fail: rate limits, 5xx, Slack's own errors, cut connections, silence, with or without the
// call's effect. Hold stops one call in flight, before or after its effect, until the test lets it go. InjectDelivery
// delays, repeats and loses deliveries; Drop and Disconnect end sockets. See fault.go.
package slacksim
