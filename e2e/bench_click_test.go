package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"golang.org/x/sync/errgroup"

	"countersign/internal/config"
	"countersign/internal/reference"
	"countersign/internal/slacksim"
	"countersign/workflows"
)

// held names an open activity of a workflow that does nothing else.
type held struct{ WorkflowID, RunID, ActivityID string }

// hold opens n activities, of a workflow each. Nobody works on their queue after that: what is measured is completions.
func (b *bench) hold(n int, activityID string) []held {
	b.Helper()
	queue := fmt.Sprintf("held-%d", time.Now().UnixNano())
	var opened atomic.Int64
	all := make(chan struct{})
	w := worker.New(b.temporal, queue, worker.Options{MaxConcurrentActivityTaskPollers: 4, MaxConcurrentWorkflowTaskPollers: 4})
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{ActivityID: activityID, StartToCloseTimeout: time.Hour})
		return workflow.ExecuteActivity(ctx, "hold").Get(ctx, nil)
	}, workflow.RegisterOptions{Name: "held"})
	w.RegisterActivityWithOptions(func(context.Context) error {
		if opened.Add(1) == int64(n) {
			close(all)
		}
		return activity.ErrResultPending
	}, activity.RegisterOptions{Name: "hold"})
	b.must(w.Start())
	defer w.Stop()
	open := make([]held, n)
	b.must(atOnce(32, n, func(i int) error {
		run, err := b.temporal.ExecuteWorkflow(b.ctx, client.StartWorkflowOptions{TaskQueue: queue}, "held")
		if err == nil {
			open[i] = held{run.GetID(), run.GetRunID(), activityID}
		}
		return err
	}))
	select {
	case <-all:
	case <-b.ctx.Done():
		b.Fatal("the activities were not opened")
	}
	return open
}

// completed is what completing some activities took.
type completed struct {
	N            int
	Elapsed, CPU time.Duration
}

func (r completed) and(o completed) completed {
	return completed{r.N + o.N, r.Elapsed + o.Elapsed, r.CPU + o.CPU}
}

func (r completed) perSecond() float64        { return float64(r.N) / r.Elapsed.Seconds() }
func (r completed) cpu() float64              { return float64(r.CPU.Microseconds()) / float64(r.N) }
func (r completed) ratio(o completed) float64 { return r.perSecond() / o.perSecond() }

// asBare names the variable by which this program is a process that does nothing but complete activities.
const asBare = "COUNTERSIGN_BENCH_BARE"

// bare completes activities by ID with the client that the bot has, in a process of its own, as a limit: no Slack, no
// reference, no person. It reads what to complete from in, and writes to out what that took.
func bare(in io.Reader, out io.Writer) error {
	cfg, err := config.Load(config.Client, os.Environ(), "")
	if err != nil {
		return err
	}
	cfg.Temporal.Logger = log.NewStructuredLogger(slog.New(slog.DiscardHandler))
	c, err := client.Dial(cfg.Temporal)
	if err != nil {
		return err
	}
	defer c.Close()
	debug.SetGCPercent(400) // as the bot has it
	for todos := json.NewDecoder(in); ; {
		var todo struct {
			All         []held
			Concurrency int
		}
		if err := todos.Decode(&todo); err != nil {
			return nil //nolint:nilerr // the bench has ended
		}
		before, err := cpuOf(os.Getpid())
		if err != nil {
			return err
		}
		begin := time.Now()
		err = atOnce(todo.Concurrency, len(todo.All), func(i int) error {
			h := todo.All[i]
			ctx, stop := context.WithTimeout(context.Background(), time.Minute)
			defer stop()
			return c.CompleteActivityByID(ctx, cfg.Temporal.Namespace, h.WorkflowID, h.RunID, h.ActivityID, workflows.Decision{
				Outcome: workflows.Approved, By: workflows.Person{ID: "U0BOB00001", Name: "bob", Team: slacksim.TeamID}, At: time.Now().UTC(),
				Via: workflows.ViaCard, Digest: strings.Repeat("0", 64), Card: workflows.Card{Channel: "C0000000001", TS: "1700000000.000000"},
			}, nil)
		})
		if err != nil {
			return err
		}
		elapsed := time.Since(begin)
		after, err := cpuOf(os.Getpid())
		if err != nil {
			return err
		}
		if err := json.NewEncoder(out).Encode(completed{len(todo.All), elapsed, after - before}); err != nil {
			return err
		}
	}
}

// atOnce does n things, some at once.
func atOnce(concurrency, n int, do func(int) error) error {
	var g errgroup.Group
	var next atomic.Int64
	for range concurrency {
		g.Go(func() error {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// startBare starts the process of [bare].
func (b *bench) startBare(env []string) func([]held) completed {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append([]string{}, env...), asBare+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	b.must(err)
	out, err := cmd.StdoutPipe()
	b.must(err)
	b.must(cmd.Start())
	b.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	answers := json.NewDecoder(out)
	return func(all []held) (r completed) {
		b.must(json.NewEncoder(in).Encode(map[string]any{"All": all, "Concurrency": b.concurrency}))
		b.must(answers.Decode(&r))
		return r
	}
}

// clicker clicks, on cards that were never posted.
type clicker struct {
	*site
	idle chan *line     // connections to the bot's door
	from map[string]any // a click
}

// newClicker makes a site with a bot and a worker, and who clicks there.
func (b *bench) newClicker(m mode, rooms int) *clicker {
	s := b.newSite(m, slacksim.Options{}, rooms)
	s.worker, s.bot = s.start("worker"), s.start("bot")
	c := &clicker{site: s, idle: make(chan *line, 4096)}
	c.from = s.payload()
	return c
}

// real is the reference of a real request.
func (c *clicker) real() reference.Reference {
	ref, err := c.keys.Open(c.from["actions"].([]any)[0].(map[string]any)["value"].(string))
	c.must(err)
	return ref
}

// readyClick is a click that is ready to be sent.
type readyClick struct {
	held
	n       string
	payload map[string]any
	request []byte // by HTTP
}

// onto makes a click on the card that has a reference.
func (c *clicker) onto(reference string) readyClick {
	r := readyClick{n: strconv.FormatInt(numbers.Add(1), 10)}
	r.payload = c.with(c.from, reference, r.n)
	return c.signed(r)
}

// prepare makes clicks on held activities.
func (c *clicker) prepare(all []held) []readyClick {
	ref := c.real()
	clicks := make([]readyClick, len(all))
	for i, h := range all {
		ref.WorkflowID, ref.RunID, ref.ActivityID = h.WorkflowID, h.RunID, h.ActivityID
		value, err := c.keys.Seal(ref)
		c.must(err)
		clicks[i] = c.onto(value)
		clicks[i].held = h
	}
	return clicks
}

// numbers number all clicks.
var numbers atomic.Int64

// do clicks, and reports whether Slack has the acknowledgement within its 3 s. What it takes is taken from the bot where
// they share the processors: so by HTTP it does no more than a request needs.
func (c *clicker) do(r readyClick) bool {
	if c.mode == socketMode {
		return c.sim.Deliver(c.ctx, r.payload).Acked
	}
	var conn *line
	select {
	case conn = <-c.idle:
	default:
		dialed, err := net.DialTimeout("tcp", c.bot.address, 3*time.Second)
		if err != nil {
			return false
		}
		conn = &line{dialed, bufio.NewReader(dialed)}
	}
	_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
	_, err := conn.Write(r.request)
	var resp *http.Response
	if err == nil {
		resp, err = http.ReadResponse(conn.answers, nil)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
	}
	if err != nil {
		_ = conn.Close()
		return false
	}
	select {
	case c.idle <- conn:
	default:
		_ = conn.Close()
	}
	return resp.StatusCode == http.StatusOK
}

// line is a connection to a bot's door.
type line struct {
	net.Conn
	answers *bufio.Reader
}

// signed is the click with the request that delivers it, signed now.
func (c *clicker) signed(r readyClick) readyClick {
	payload, _ := json.Marshal(r.payload) // It came as JSON.
	form := url.Values{"payload": {string(payload)}}.Encode()
	now := strconv.FormatInt(time.Now().Unix(), 10)
	r.request = fmt.Appendf(nil, "POST /slack/events HTTP/1.1\r\nHost: %s\r\nUser-Agent: Slackbot 1.0 (+https://api.slack.com/robots)\r\n"+
		"Accept: */*\r\nAccept-Encoding: gzip,deflate\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n"+
		"X-Slack-Request-Timestamp: %s\r\nX-Slack-Signature: %s\r\n\r\n%s",
		c.bot.address, len(form), now, slacksim.Sign(slacksim.DefaultSigningSecret, now, form), form)
	return r
}

// cpu is the CPU time of a process of the site.
func (s *site) cpu(p *server) time.Duration {
	s.Helper()
	d, err := cpuOf(p.Process.Pid)
	s.must(err)
	return d
}

// insist clicks until it is acknowledged. Where nothing else goes on once has to do.
func (c *clicker) insist(r readyClick) error {
	for range c.tries {
		if c.do(r) {
			return nil
		}
		time.Sleep(time.Second) // for another signature
		r = c.signed(r)
	}
	return fmt.Errorf("click %s was not acknowledged; told: %q", r.n, c.said(r))
}

// said is what the person was told about a click.
func (c *clicker) said(r readyClick) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.told[r.n], " ")
}

// recorded reports whether Temporal has the decision.
func (b *bench) recorded(h held) (done bool, err error) {
	events := b.temporal.GetWorkflowHistory(b.ctx, h.WorkflowID, h.RunID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			return false, err
		}
		done = done || e.GetActivityTaskCompletedEventAttributes() != nil
	}
	return done, nil
}

// all clicks all, some at once; each has to be acknowledged. Of each tenth it is looked whether Temporal has it.
func (c *clicker) all(all []held) completed {
	c.Helper()
	clicks := c.prepare(all)
	before, begin := c.cpu(c.bot), time.Now()
	err := atOnce(c.concurrency, len(clicks), func(i int) error { return c.insist(clicks[i]) })
	r := completed{len(all), time.Since(begin), c.cpu(c.bot) - before}
	c.must(err)
	for i, one := range clicks {
		if said := c.said(one); said != "" && *measure != "" {
			c.Fatalf("click %s was answered with %q", one.n, said)
		}
		if i%10 == 0 {
			done, err := c.recorded(one.held)
			c.must(err)
			if !done {
				c.Errorf("click %s was acknowledged, and is not in Temporal's history", one.n)
			}
		}
	}
	return r
}

// clicks measures clicks against bare completions.
func (b *bench) clicks() {
	for _, m := range []mode{socketMode, httpMode} {
		c := b.newClicker(m, 1)
		c.worker.end()
		id := c.real().ActivityID
		bareRun := b.startBare(c.env)
		var over, ratio, rate, limits []float64
		var profiling sync.WaitGroup
		profiling.Go(func() { c.profile(c.bot, "profile?seconds=40", "click-"+string(m)) })
		pairs := b.pairs
		if m == socketMode {
			pairs = (pairs + 1) / 2
		}
		for i := -1; i < pairs; i++ { // The first one warms up.
			open := b.hold(2*b.sizes.clicks, id)
			// Each in two halves, one within the other's: what the server does with those before falls on both alike.
			var limit, whole completed
			for turn, half := range slices.Collect(slices.Chunk(open, len(open)/4)) {
				if outer := turn == 0 || turn == 3; outer == (i%2 == 0) {
					limit = limit.and(bareRun(half))
				} else {
					whole = whole.and(c.all(half))
				}
			}
			if i < 0 {
				continue
			}
			over, ratio, rate = append(over, whole.cpu()-limit.cpu()), append(ratio, whole.ratio(limit)), append(rate, whole.perSecond())
			limits = append(limits, limit.perSecond())
			b.say("pair %d by %s: %.0f of %.0f clicks/s, CPU of the bot %.0f µs, bare %.0f µs", i+1, m, whole.perSecond(), limit.perSecond(), whole.cpu(), limit.cpu())
		}
		profiling.Wait()
		if m == socketMode {
			_, us, _ := median(over)
			b.atMost(300, "socket_overhead_us", us, "µs", "CPU time of the bot for a click by Socket Mode, less a bare completion's")
			_, r, _ := median(ratio)
			b.figure("socket_throughput_ratio", r, "ratio", "clicks by Socket Mode over bare completions; the stand-in needs more for a socket than who clicks by HTTP")
			c.stop()
			continue
		}
		low, us, high := median(over)
		b.atMost(300, "click_overhead_us", us, "µs", "CPU time of the bot for a signed click by HTTP, less a bare completion's")
		b.figure("click_overhead_us_low", low, "µs", "lower quartile of the pairs")
		b.figure("click_overhead_us_high", high, "µs", "upper quartile of the pairs")
		low, r, high := median(ratio)
		b.atLeast(0.85, "click_throughput_ratio", r, "ratio", fmt.Sprintf("clicks by HTTP over bare completions, %d at a time; median of %d pairs. All share the processors", b.concurrency, len(ratio)))
		b.figure("click_throughput_ratio_low", low, "ratio", "lower quartile")
		b.figure("click_throughput_ratio_high", high, "ratio", "upper quartile")
		_, most, _ := median(rate)
		b.figure("clicks_per_s", most, "1/s", "clicks a second through the bot, with all on this machine")
		_, limit, _ := median(limits)
		b.figure("completions_per_s", limit, "1/s", "bare completions a second")
		b.latency(c, id, most/2)
		b.burst(c, id, 4*limit)
	}
}

// paced does n things at a rate, each when its turn is, however slow those before are.
func paced(n int, perSecond float64, do func(i int, due time.Time)) {
	begin := time.Now()
	var all sync.WaitGroup
	for i := range n {
		due := begin.Add(time.Duration(float64(i) / perSecond * float64(time.Second)))
		time.Sleep(time.Until(due))
		all.Go(func() { do(i, due) })
	}
	all.Wait()
}

// latency measures how long acknowledgements take where the machine is half busy.
func (b *bench) latency(c *clicker, activityID string, perSecond float64) {
	clicks := c.prepare(b.hold(b.rate, activityID))
	took := make([]time.Duration, len(clicks))
	var failed atomic.Int64
	paced(len(clicks), perSecond, func(i int, due time.Time) {
		if !c.do(clicks[i]) {
			failed.Add(1)
		}
		took[i] = time.Since(due)
	})
	ms := milliseconds(took)
	b.figure("ack_p50_ms", quantile(ms, 0.5), "ms", fmt.Sprintf("from the click to its acknowledgement, at %s clicks/s, half of the maximum", number(perSecond)))
	b.figure("ack_p99_ms", quantile(ms, 0.99), "ms", "the same: all but a hundredth are faster")
	b.figure("ack_failed", float64(failed.Load()), "clicks", fmt.Sprintf("of %d: not acknowledged in time", len(clicks)))
}

// burst sends more clicks than can be taken. Each has to be answered: by an acknowledgement, or by a sentence.
func (b *bench) burst(c *clicker, activityID string, perSecond float64) {
	clicks := c.prepare(b.hold(b.sizes.burst, activityID))
	acked := make([]bool, len(clicks))
	var begun atomic.Int64
	begin := time.Now()
	paced(len(clicks), perSecond, func(i int, _ time.Time) {
		begun.Store(int64(time.Since(begin)))
		acked[i] = c.do(clicks[i])
	})
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		open := 0
		for i, r := range clicks {
			if !acked[i] && c.said(r) == "" {
				open++
			}
		}
		if open == 0 {
			break
		}
	}
	var taken, unanswered, lost, wrong, recorded atomic.Int64
	b.must(atOnce(8, len(clicks), func(i int) error {
		done, err := b.recorded(clicks[i].held)
		if done {
			recorded.Add(1)
		}
		switch said := c.said(clicks[i]); {
		case acked[i] && said == "":
			taken.Add(1)
			if !done {
				lost.Add(1)
			}
		case said == "":
			unanswered.Add(1)
		case strings.Contains(said, "was recorded:") && !done:
			lost.Add(1)
		case strings.Contains(said, "nothing was decided") && done:
			wrong.Add(1)
		}
		return err
	}))
	about := fmt.Sprintf("of %d clicks at %s/s, four times what Temporal takes: ", len(clicks), number(float64(len(clicks))/time.Duration(begun.Load()).Seconds()))
	b.figure("burst_acked", float64(taken.Load()), "clicks", about+"acknowledged as done, in time")
	b.figure("burst_recorded", float64(recorded.Load()), "clicks", "of them: in Temporal's history")
	b.exactly(0, "burst_unanswered", int(unanswered.Load()), "clicks", "of them: neither acknowledged nor answered with a sentence")
	b.exactly(0, "burst_lost", int(lost.Load()), "clicks", "of them: said to be done, and not in Temporal's history")
	b.exactly(0, "burst_wrong", int(wrong.Load()), "clicks", "of them: said not to be decided, and in Temporal's history")
	if taken.Load() == 0 {
		b.Error("no click of the burst was acknowledged")
	}
}
