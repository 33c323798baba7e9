package e2e

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"countersign/internal/reference"
	"countersign/internal/slacksim"
	"countersign/workflows"
)

// Slack is down for half a minute while approvals start. All are posted afterwards, once each, no faster than Slack takes
// them, and can be decided.
func TestSlackDownForAWhile(t *testing.T) {
	t.Parallel()
	const (
		asked = 12
		down  = 30 * time.Second
	)
	w := newWorld(t, socketMode, shared.temporal.Address, admin)
	w.patience(5 * time.Minute)
	w.sim.RateLimit()
	p := w.start("run")
	url := w.admin(p)
	w.ready(url)
	var once sync.Once
	var began, ended time.Time
	w.sim.OnCall(func(slacksim.Call) *slacksim.Fault {
		once.Do(func() {
			began = time.Now()
			ended = began.Add(down)
		})
		if time.Now().Before(ended) {
			return &slacksim.Fault{Status: 503}
		}
		return nil
	})
	var runs []client.WorkflowRun
	for n := range asked {
		runs = append(runs, w.approval(workflows.Request{Title: fmt.Sprintf("Deploy v%d.", n), Approvers: w.people("bob")}))
	}
	w.unready(url, "slack", "slack does not answer")
	if n := w.cardsIn("general"); n != 0 {
		t.Fatalf("%d cards while Slack is down", n)
	}
	for n, run := range runs {
		card := w.card("general", fmt.Sprintf("Deploy v%d.", n))
		w.click(w.as("bob", "general"), card, "approve", true)
		w.outcome(run, workflows.Approved)
		w.closed(card, "Approved by")
	}
	w.ready(url)
	if n := w.cardsIn("general"); n != asked {
		t.Errorf("%d cards, want %d", n, asked)
	}
	// Any n posts to the channel took n seconds, but for a burst.
	const burst = 4
	var posts []float64
	for _, m := range w.sim.Messages("general") {
		at, err := strconv.ParseFloat(m.TS, 64)
		w.must(err)
		posts = append(posts, at)
	}
	for i := range posts {
		for j := i; j < len(posts); j++ {
			if took := posts[j] - posts[i]; float64(j-i+1) > burst+1+took {
				t.Fatalf("posts %d to %d within %.1f s: faster than one a second", i, j, took)
			}
		}
	}
}

// Slack renews each socket every few hours. While it renews one, the other takes the clicks; while it renews both, a click
// may find none, and the next one counts.
func TestSocketsAreRefreshed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, socketMode, shared.temporal.Address, admin)
	w.patience(4 * time.Minute)
	p := w.start("run")
	url := w.admin(p)
	bob := w.as("bob", "general")
	ask := func(title string) slacksim.Message {
		w.approval(workflows.Request{Title: title, Approvers: w.people("bob")})
		return w.card("general", title)
	}
	first, second := ask("Deploy v1."), ask("Deploy v2.")
	w.must(w.sim.WaitConnections(w.ctx, 2)) // The other socket is opened a minute later.

	opened := w.sim.State().Connected
	w.sim.Disconnect("refresh_requested", 1)
	if d, err := bob.Click(w.ctx, first, "approve"); err != nil || !d.Acked {
		t.Errorf("a click while one socket is renewed: %v, %s; want it acknowledged", err, d)
	}
	w.closed(first, "Approved by")
	w.must(w.sim.Wait(w.ctx, func(st slacksim.State) bool { return st.Connected > opened && st.Connections >= 2 }))

	opened = w.sim.State().Connected
	w.sim.Disconnect("refresh_requested", 0)
	for {
		d, err := bob.Force().Click(w.ctx, second, "approve")
		w.must(err)
		if d.Acked {
			break
		}
		if d.Error != slacksim.DispatchFailed || !w.again() {
			t.Fatalf("a click while both sockets are renewed: %s", d)
		}
	}
	w.closed(second, "Approved by")
	w.must(w.sim.Wait(w.ctx, func(st slacksim.State) bool { return st.Connected >= opened+2 }))
	w.ready(url)
}

// A bot and a worker with different keys say so, each in its log and in its readiness, with the first card or soon after;
// who clicks is told; and with the right key the card that there is works.
func TestKeysDiffer(t *testing.T) {
	oneMode(t, func(w *world) {
		w.patience(4 * time.Minute) // The bot polls once a minute, and the worker has to see it do so.
		worker := w.start("worker", admin)
		w.ready(w.admin(worker))
		bot := w.start("bot", admin, "REFERENCE_KEYS="+reference.NewKey())
		run := w.ask("general", "World")
		card := w.card("general", "Greet World")
		w.unready(w.admin(bot), "keys", "a worker seals buttons with the key")
		w.unready(w.admin(worker), "keys", "this worker seals buttons with the key")
		for _, p := range []*process{bot, worker} {
			w.sees(p, `level=ERROR msg="not ready" part=keys err=".*give bots and workers the same REFERENCE_KEYS"`)
		}
		bob := w.as("bob", "general")
		w.click(bob, card, "approve", true)
		w.told(bob, "a key that the app no longer has")

		w.stop(bot)
		bot = w.start("bot", admin)
		w.click(bob, card, "approve", true)
		if got, err := w.result(run); got != "Hello, World!" || err != nil {
			w.Errorf("Greeting returned %q, %v", got, err)
		}
		w.ready(w.admin(bot))
	})
}

// Who was taken out of a user group decides nothing more by it once the group has been looked up again, a minute later at
// the most.
func TestLeftTheGroupAMinuteAgo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, socketMode, shared.temporal.Address)
	w.patience(4 * time.Minute)
	w.start("run")
	bob, dave := w.as("bob", "general"), w.as("dave", "general")
	ask := func(title string) (client.WorkflowRun, slacksim.Message) {
		run := w.approval(workflows.Request{Title: title, Approvers: workflows.Approvers{Groups: []string{w.sim.Group("sre").ID}}, RejectReason: workflows.Off})
		return run, w.card("general", title)
	}
	first, probe := ask("Deploy v1.")
	second, card := ask("Deploy v2.")
	w.sim.AddGroup(slacksim.Group{Handle: "sre", Members: []string{"carol", "dave"}})
	// Dave is one of the group as soon as it is looked up again; and then bob is not.
	looked := len(w.sim.Calls("usergroups.users.list"))
	for tick := time.NewTicker(time.Second); ; {
		d, err := dave.Force().Click(w.ctx, probe, "approve")
		w.must(err)
		if len(w.sim.Calls("usergroups.users.list")) > looked && d.Acked {
			tick.Stop()
			break
		}
		select {
		case <-tick.C:
		case <-w.ctx.Done():
			t.Fatal("the group is not looked up again")
		}
	}
	w.outcome(first, workflows.Approved)
	for _, action := range []string{"approve", "reject"} {
		w.click(bob.Force(), card, action, true)
		w.told(bob, "Only <!subteam^"+w.sim.Group("sre").ID+">")
	}
	w.click(w.as("carol", "general"), card, "approve", true)
	if res := w.outcome(second, workflows.Approved); len(res.Decisions) != 1 || res.Decisions[0].By.ID != w.sim.Person("carol").ID() {
		t.Errorf("decided by %+v, want carol alone", res.Decisions)
	}
}
