package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"countersign/internal/slacksim"
	"countersign/workflows"
)

// openApproval is an approval whose card is posted.
type openApproval struct {
	client.WorkflowRun
	title, reference string
}

// posted asks for an approval, and returns when its card is posted.
func (s *site) posted(room slacksim.Channel) (openApproval, error) {
	title := s.title()
	posted := await(s, s.cards, title)
	run, err := s.ask(title, room)
	if err != nil {
		return openApproval{}, err
	}
	select {
	case value := <-posted:
		return openApproval{run, title, value}, nil
	case <-s.ctx.Done():
		return openApproval{}, s.ctx.Err()
	}
}

// decide approves an approval by a click, and returns how long it took from the acknowledgement to the closed card.
func (c *clicker) decide(o openApproval) (time.Duration, error) {
	closed := await(c.site, c.closed, o.title)
	if err := c.insist(c.onto(o.reference)); err != nil {
		return 0, err
	}
	acked := time.Now()
	var took time.Duration
	select {
	case at := <-closed:
		took = max(0, at.Sub(acked)) // The worker may be faster than the acknowledgement.
	case <-c.ctx.Done():
		return 0, c.ctx.Err()
	}
	var res workflows.Result
	if err := o.Get(c.ctx, &res); err != nil || res.Outcome != workflows.Approved {
		return 0, fmt.Errorf("%s ended as %q: %v", o.title, res.Outcome, err)
	}
	return took, nil
}

// fill asks for n approvals that wait, and returns when all their cards are posted.
func (s *site) fill(n int) []openApproval {
	s.Helper()
	all := make([]openApproval, n)
	var done atomic.Int64
	s.must(atOnce(24, n, func(i int) (err error) {
		all[i], err = s.posted(s.rooms[i%len(s.rooms)])
		if d := done.Add(1); d%1000 == 0 {
			s.say("%d approvals are open", d)
		}
		return err
	}))
	return all
}

// title is one that no other request has.
func (s *site) title() string { return fmt.Sprintf("Deploy %06d", numbers.Add(1)) }

// history is how large the history of an approval is while it is open, and once it has ended.
func (c *clicker) history() (open, closed float64) {
	c.Helper()
	o, err := c.posted(c.rooms[0])
	c.must(err)
	size := func() (float64, int) {
		d, err := c.temporal.DescribeWorkflowExecution(c.ctx, o.GetID(), o.GetRunID())
		c.must(err)
		return float64(d.GetWorkflowExecutionInfo().GetHistorySizeBytes()), len(d.GetPendingActivities())
	}
	pending := 2 // The post may not be reported yet.
	for pending > 1 && c.ctx.Err() == nil {
		time.Sleep(100 * time.Millisecond)
		open, pending = size()
	}
	_, err = c.decide(o)
	c.must(err)
	closed, _ = size()
	return open, closed
}

// used is the CPU time that the bot and the worker have taken.
func (c *clicker) used() time.Duration {
	return c.cpu(c.bot) + c.cpu(c.worker)
}

// each is the CPU time, in µs, that bot and worker take for each of n approvals.
func (c *clicker) each(n int, do func()) float64 {
	c.Helper()
	before := c.used()
	do()
	return float64((c.used() - before).Microseconds()) / float64(n)
}

// decided decides approvals and has them closed, some at once, and returns how long each took from the acknowledgement to
// the closed card.
func (c *clicker) decided(all []openApproval) []time.Duration {
	c.Helper()
	closing := make([]time.Duration, len(all))
	c.must(atOnce(4, len(all), func(i int) (err error) {
		closing[i], err = c.decide(all[i])
		return err
	}))
	return closing
}

// batch has n approvals asked and posted, and then decided by clicks and closed, some at once. It returns the CPU time that
// bot and worker take for each, in µs, and how long each took from the acknowledgement to the closed card.
func (c *clicker) batch(n int) (cpu float64, closing []time.Duration) {
	c.Helper()
	cpu = c.each(n, func() {
		all := make([]openApproval, n)
		c.must(atOnce(4, n, func(i int) (err error) {
			all[i], err = c.posted(c.rooms[i%len(c.rooms)])
			return err
		}))
		closing = c.decided(all)
	})
	return cpu, closing
}

// growth measures what open approvals cost that nobody decides: memory, and the time of those that are decided.
func (b *bench) growth() {
	few := b.newClicker(httpMode, 400)
	fresh := few.fill(b.few)
	many := b.newClicker(httpMode, 2000)
	few.batch(b.sizes.lives) // Warm, each has all that it takes once.
	many.batch(b.sizes.lives)
	bot, worker := many.heap(many.bot), many.heap(many.worker)
	waiting := many.fill(b.many)
	grownBot, grownWorker := many.heap(many.bot)-bot, many.heap(many.worker)-worker
	many.profile(many.bot, "heap?gc=1", "open-bot")
	many.profile(many.worker, "heap?gc=1", "open-worker")
	n := float64(b.many)
	openSize, closedSize := many.history()
	b.atMost(64, "bytes_per_open_approval", grownBot/n, "bytes", fmt.Sprintf("growth of the bot's live heap with %d open approvals: it keeps nothing of them", b.many))
	b.figure("worker_bytes_per_open_approval", grownWorker/n, "bytes", fmt.Sprintf("growth of the worker's, with STICKY_CACHE_SIZE=%d", cached))
	b.figure("worker_bytes_per_cached_workflow", grownWorker/min(n, cached), "bytes", "the same for each workflow that it keeps in memory")
	b.figure("history_bytes_open", openSize, "bytes", "history of an approval that is open, as Temporal tells its size")
	b.figure("history_bytes_closed", closedSize, "bytes", "the same once it has ended")
	b.figure("bot_heap_mb", (bot+grownBot)/1e6, "MB", "the bot's live heap with them")
	b.figure("worker_heap_mb", (worker+grownWorker)/1e6, "MB", "the worker's")

	var ratio, costs []float64
	var closing []time.Duration
	actions, posts, updates := b.actions(), len(few.sim.Calls("chat.postMessage")), len(few.sim.Calls("chat.update"))
	var profiling sync.WaitGroup
	profiling.Go(func() { few.profile(few.worker, "profile?seconds=40", "approval-worker") })
	defer profiling.Wait()
	for i := range b.batches {
		var little, much float64
		var closed []time.Duration
		if i%2 == 0 {
			little, closed = few.batch(b.sizes.lives)
			much, _ = many.batch(b.sizes.lives)
		} else {
			much, _ = many.batch(b.sizes.lives)
			little, closed = few.batch(b.sizes.lives)
		}
		closing = append(closing, closed...)
		ratio, costs = append(ratio, much/little), append(costs, little)
		b.say("batch %d: %.0f µs an approval with %d open, %.0f µs with %d", i+1, little, b.few, much, b.many)
	}
	b.figure("actions_per_approval", (b.actions()-actions)/float64(2*b.batches*b.sizes.lives), "actions",
		"what Temporal counts for an approval by one person, from asking to the closed card")
	lives := float64(b.batches * b.sizes.lives)
	b.figure("posts_per_approval", float64(len(few.sim.Calls("chat.postMessage"))-posts)/lives, "calls", "to chat.postMessage: the card, and two lines in its thread")
	b.figure("updates_per_approval", float64(len(few.sim.Calls("chat.update"))-updates)/lives, "calls", "to chat.update: the card, closed")
	low, r, high := median(ratio)
	b.atMost(1.1, "growth_ratio", r, "ratio", fmt.Sprintf("CPU of bot and worker for an approval with %d open, over that with %d", b.many, b.few))
	b.figure("growth_ratio_low", low, "ratio", "lower quartile")
	b.figure("growth_ratio_high", high, "ratio", "upper quartile")
	_, us, _ := median(costs)
	b.figure("approval_cpu_us", us, "µs", "CPU of bot and worker for an approval, from asking to the closed card")
	n0 := min(len(fresh), len(waiting))
	b.figure("decide_cpu_us", few.each(n0, func() { few.decided(fresh[:n0]) }), "µs", "CPU of bot and worker for a decision and the closed card, where the worker has the workflow in memory")
	b.figure("decide_cold_cpu_us", many.each(n0, func() { many.decided(waiting[:n0]) }), "µs", "the same where it reads its history first, for many others have been open since")
	ms := milliseconds(closing)
	b.figure("card_close_ms", quantile(ms, 0.5), "ms", "from the acknowledged click to the closed card")
	b.figure("card_close_p99_ms", quantile(ms, 0.99), "ms", "the same, of the slowest hundredth")
	b.raceOn(few)
}

// raceOn has many people click one card at once. One wins, and all others are told.
func (b *bench) raceOn(c *clicker) {
	var people []slacksim.Person
	var names []string
	for n := range b.race {
		name := fmt.Sprintf("racer-%d", n)
		people, names = append(people, c.sim.AddPerson(slacksim.User{Name: name})), append(names, name)
	}
	room := c.sim.AddChannel(slacksim.Channel{Name: "race", Members: append(names, slacksim.BotUserID, "alice")})
	title := c.title()
	run, err := c.askOf(title, room, workflows.Approvers{Channel: true}, "")
	b.must(err)
	card, err := c.sim.WaitMessage(c.ctx, room.ID, func(m slacksim.Message) bool {
		return slacksim.Contains(title)(m) && slacksim.HasButton("approve")(m)
	})
	b.must(err)
	var clicking errgroup.Group
	acked := make([]bool, len(people))
	for i, p := range people {
		clicking.Go(func() error {
			d, err := p.In("race").Click(c.ctx, card, "approve")
			acked[i] = d.Acked
			return err
		})
	}
	b.must(clicking.Wait())
	var res workflows.Result
	b.must(run.Get(c.ctx, &res))
	won := slices.IndexFunc(people, func(p slacksim.Person) bool { return len(res.Decisions) == 1 && p.ID() == res.Decisions[0].By.ID })
	var winners, told int
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until) && told < len(people)-1; time.Sleep(100 * time.Millisecond) {
		winners, told = 0, 0
		for i, p := range people {
			said := p.Ephemerals(room.ID)
			last := ""
			if len(said) > 0 {
				last = said[len(said)-1].Text
			}
			switch {
			case strings.Contains(last, "was recorded:"), last == "" && acked[i]:
				winners++ // as it looks to them
				if i != won {
					b.Errorf("%s is told that they have decided, and %+v has", p.ID(), res.Decisions)
				}
			case last != "" && i != won:
				told++
			}
		}
	}
	if won < 0 {
		b.Errorf("the decisions of the race are %+v", res.Decisions)
	}
	b.exactly(1, "race_winners", winners, "people", fmt.Sprintf("of %d who click one card at once: acknowledged, and told nothing else", len(people)))
	b.exactly(len(people)-1, "race_told", told, "people", "of them: told in private that somebody else has decided, or to click again")
}

// pacing measures how close posts come to the pace that Slack permits in a channel, one a second.
// https://docs.slack.dev/apis/web-api/rate-limits
func (b *bench) pacing() {
	s := b.newSite(httpMode, slacksim.Options{RateLimit: true}, 5)
	s.worker = s.start("worker")
	pace := func(rooms []slacksim.Channel) (slowest float64) {
		var asking errgroup.Group
		for _, room := range rooms {
			for range b.posts {
				asking.Go(func() error {
					_, err := s.posted(room)
					return err
				})
			}
		}
		b.must(asking.Wait())
		s.mu.Lock()
		defer s.mu.Unlock()
		for i, room := range rooms {
			// The first few may come at once.
			at := slices.SortedFunc(slices.Values(s.posts[room.ID]), time.Time.Compare)[3:]
			rate := float64(len(at)-1) / at[len(at)-1].Sub(at[0]).Seconds()
			if i == 0 || rate < slowest {
				slowest = rate
			}
		}
		return slowest
	}
	one := pace(s.rooms[:1])
	b.atLeast(0.95, "post_pacing_ratio", one, "ratio", fmt.Sprintf("posts a second to one channel over the one that Slack permits, with %d requests at once: cards, and lines in their threads", b.posts))
	four := pace(s.rooms[1:])
	b.atLeast(0.95, "post_pacing_ratio_4", four, "ratio", "the same in the slowest of four channels at once")
	limited := 0
	for _, c := range s.sim.Calls("chat.postMessage") {
		if c.Status == 429 {
			limited++
		}
	}
	b.exactly(0, "posts_limited", limited, "calls", "posts that Slack refused as too many")
}
