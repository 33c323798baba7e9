package e2e

import (
	"strings"
	"testing"
	"time"

	"countersign/internal/slacksim"
)

func TestWhoMayNotDecide(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		approvers string // of names; empty: bob and carol
		clicker   string
		channel   string
		told      string
	}{
		"stranger":                 {clicker: "dave", channel: "general", told: "Only <@"},
		"requester on own request": {approvers: "alice,bob", clicker: "alice", channel: "general", told: "You asked for this yourself"},
		"external":                 {approvers: "channel", clicker: "external", channel: "partners", told: "Only people of this workspace"},
		"guest":                    {approvers: "channel", clicker: "guest", channel: "general", told: "Guests can decide only where they are named"},
		"guest in a group":         {approvers: "sre", clicker: "guest", channel: "general", told: "Guests can decide only where they are named"},
		"bot":                      {approvers: "channel", clicker: "robot", channel: "general", told: "Only active people"},
		"deactivated":              {approvers: "channel", clicker: "former", channel: "general", told: "Only active people"},
		"not in the group":         {approvers: "sre", clicker: "dave", channel: "general", told: "Only <!subteam^"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			oneMode(t, func(w *world) {
				w.sim.AddPerson(slacksim.User{Name: "dave"})
				w.sim.Join("general", "dave")
				w.sim.AddGroup(slacksim.Group{Handle: "sre", Members: []string{"bob", "guest"}})
				w.start("run", w.approvers(test.approvers)...)
				run := w.ask(test.channel, "World")
				card := w.card(test.channel, "Greet World")
				clicker := w.as(test.clicker, test.channel)

				w.click(clicker.Force(), card, "approve", true)
				w.told(clicker, test.told)
				w.click(clicker.Force(), card, "reject", true)
				w.must(clicker.NoModal(w.ctx))

				// The request is as open as before.
				w.click(w.as("bob", test.channel), card, "approve", true)
				if got, err := w.result(run); got != "Hello, World!" || err != nil {
					w.Errorf("Greeting returned %q, %v", got, err)
				}
			})
		})
	}
}

// approvers is the environment for these approvers.
func (w *world) approvers(names string) []string {
	if names == "" {
		return nil
	}
	return []string{"APPROVERS=" + w.ids(names)}
}

func TestGroupDecides(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run", w.approvers("sre")...)
		run := w.ask("general", "World")
		card := w.card("general", "Greet World")
		before := len(w.sim.Calls("usergroups.users.list"))
		w.click(w.as("carol", "general"), card, "approve", true)
		w.closed(card, "Approved by <@"+w.sim.Person("carol").ID()+">")
		// Asking looked the group up; within a minute nobody asks again.
		if n := len(w.sim.Calls("usergroups.users.list")); n != before {
			w.Errorf("the click looked the group up %d times more, want none: it was known", n-before)
		}
		if _, err := w.result(run); err != nil {
			w.Error(err)
		}
	})
}

func TestNamedGuestDecides(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run", w.approvers("guest")...)
		run := w.ask("general", "World")
		w.click(w.as("guest", "general"), w.card("general", "Greet World"), "approve", true)
		if _, err := w.result(run); err != nil {
			w.Error(err)
		}
	})
}

func TestSelfApprovalAllowed(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run", append(w.approvers("alice"), "ALLOW_SELF_APPROVAL=true")...)
		run := w.ask("general", "World")
		w.click(w.as("alice", "general"), w.card("general", "Greet World"), "approve", true)
		if _, err := w.result(run); err != nil {
			w.Error(err)
		}
	})
}

func TestDirectoryDown(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("run", w.approvers("channel")...)
		run := w.ask("general", "World")
		card := w.card("general", "Greet World")
		bob := w.as("bob", "general")
		w.sim.Inject(slacksim.Fault{Method: "users.info", Status: 500})
		w.click(bob, card, "approve", false)
		w.told(bob, "I could not check with Slack")
		w.sim.ClearFaults()
		w.click(bob, card, "approve", true)
		if _, err := w.result(run); err != nil {
			w.Error(err)
		}
	})
}

// Where a user group cannot be looked up nobody decides as its member, whatever the reason; the next click counts when
// Slack tells it again.
func TestGroupCannotBeLookedUp(t *testing.T) {
	tests := map[string]slacksim.Fault{
		"Slack is down":       {Status: 500},
		"limited":             {Status: 429, RetryAfter: time.Second},
		"no scope":            {Error: "missing_scope"},
		"no groups any more":  {Error: "plan_upgrade_required"},
		"the group is gone":   {Error: "no_such_subteam"},
		"the token is gone":   {Error: "token_revoked"},
		"no answer":           {Hang: true},
		"the line is cut":     {Cut: true},
		"Slack is in trouble": {Error: "fatal_error"},
	}
	t.Parallel()
	for name, fault := range tests {
		t.Run(name, func(t *testing.T) {
			oneMode(t, func(w *world) {
				w.start("worker", w.approvers("sre")...)
				w.start("bot") // It has looked nobody up yet.
				run := w.ask("general", "World")
				card := w.card("general", "Greet World")
				fault.Method = "usergroups.users.list"
				w.sim.Inject(fault)
				bob := w.as("bob", "general")
				w.click(bob, card, "approve", false)
				w.told(bob, "I could not check with Slack whether you may decide this, so nothing was decided.")
				w.isOpen(card)
				w.sim.ClearFaults()
				w.click(bob, card, "approve", true)
				if got, err := w.result(run); got != "Hello, World!" || err != nil {
					w.Errorf("Greeting returned %q, %v", got, err)
				}
			})
		})
	}
}

// Who was in the user group when it was asked, and is not any more, does not decide: for a bot that learnt of the group
// before, within a minute.
func TestLeftTheGroup(t *testing.T) {
	bothModes(t, func(w *world) {
		w.start("worker", w.approvers("sre")...)
		run := w.ask("general", "World")
		card := w.card("general", "Greet World")
		bob, carol := w.as("bob", "general"), w.as("carol", "general")
		w.sim.AddGroup(slacksim.Group{Handle: "sre", Name: "Site Reliability", Members: []string{"carol"}})
		w.start("bot")
		for _, action := range []string{"approve", "reject"} {
			before := len(bob.Ephemerals(card.Channel))
			w.click(bob, card, action, true)
			if told := bob.Ephemerals(card.Channel)[before:]; len(told) != 1 || !strings.Contains(told[0].Text, "Only <!subteam^"+w.sim.Group("sre").ID+"> can decide") {
				w.Errorf("who has left the group is told %+v", told)
			}
		}
		w.must(bob.NoModal(w.ctx))
		w.isOpen(card)
		w.click(carol, card, "approve", true)
		w.closed(card, "Approved by <@"+carol.ID()+">")
		if _, err := w.result(run); err != nil {
			w.Error(err)
		}
	})
}

// A member of the user group who has been deactivated, or made a guest, since the card was posted does not decide.
func TestMemberWhoIsNoLonger(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("worker", w.approvers("sre")...)
		run := w.ask("general", "World")
		card := w.card("general", "Greet World")
		bob, carol := w.as("bob", "general").Force(), w.as("carol", "general").Force()
		w.sim.Deactivate("bob")
		w.sim.AddPerson(slacksim.User{Name: "carol", Restricted: true})
		w.sim.AddGroup(slacksim.Group{Handle: "sre", Name: "Site Reliability", Members: []string{"bob", "carol", "dave"}})
		w.start("bot")
		w.click(bob, card, "approve", true)
		w.told(bob, "can decide") // Slack does not list deactivated people among a group's.
		w.click(carol, card, "approve", true)
		w.told(carol, "Guests can decide only where they are named")
		w.isOpen(card)
		w.click(w.as("dave", "general"), card, "approve", true)
		if got, err := w.result(run); got != "Hello, World!" || err != nil {
			w.Errorf("Greeting returned %q, %v", got, err)
		}
	})
}
