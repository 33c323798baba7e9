package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"

	"countersign/internal/devserver"
)

var (
	faultsApprovals = flag.Int("faults.approvals", 28, "how many approvals TestFaults opens")
	faultsSeed      = flag.Uint64("faults.seed", 0, "what TestFaults decides by; 0: a fresh one")
)

// The fault suite. Approvals are opened and people click, while processes and Temporal are killed with kill -9 and start
// again, sockets are cut, Slack fails, and deliveries are lost, late and doubled. At the end Slack's state and Temporal's
// histories are compared: nothing may be lost, doubled, or told wrongly.
//
// What is asked, who wants what, and what fails when is decided by the seed, and the same seed decides the same. How it
// all meets is up to the machine: a run with the same seed is alike, and not the same.
//
// It begins before other tests do, for it waits for Temporal's time-outs.
func TestFaults(t *testing.T) {
	t.Parallel()
	seed := *faultsSeed
	if seed == 0 {
		seed = rand.Uint64N(1e6) + 1
	}
	fmt.Printf("TestFaults: seed %d, %d approvals\n", seed, *faultsApprovals)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("to have it again: make faults APPROVALS=%d SEED=%d", *faultsApprovals, seed)
		}
	})
	all, spare := plan(seed, *faultsApprovals)
	last := all[len(all)-1].after
	const tail = 6 * time.Minute // What dies last is mended by then.
	ctx, stop := context.WithTimeout(t.Context(), last+(1+times)*(tail+time.Minute))
	defer stop()

	server, o := ownTemporal(t)
	suites := map[mode]*suite{}
	for _, m := range []mode{socketMode, httpMode} {
		s := newSuite(t, ctx, m, seed, server.Address, slices.Concat(all, spare))
		suites[m] = s
		defer s.end()
		for n := range 2 {
			s.keep("bot", n)
			s.keep("worker", n)
		}
		s.running.Go(func() {
			for !s.over.Load() && s.wait(150*time.Millisecond) {
				s.look()
			}
		})
	}

	begin := time.Now().Add(3 * time.Second) // for the processes to start
	var asking sync.WaitGroup
	defer func() { // Nobody outlives the test.
		stop()
		asking.Wait()
		for _, s := range suites {
			s.people.Wait()
		}
	}()
	ask := func(a *asked, begin time.Time) {
		a.begun.Store(true)
		asking.Go(func() { suites[a.mode].asks(a, begin) })
	}
	for _, a := range all {
		ask(a, begin)
	}
	temporals := 0
	for _, b := range blows(seed, last) {
		select {
		case <-time.After(time.Until(begin.Add(b.at))):
		case <-ctx.Done():
			t.Fatalf("seed %d: the time is over", seed)
		}
		t.Logf("%v: %s", b.at, b.blow)
		if b.blow != noTemporal {
			for _, s := range suites {
				s.strike(b.blow)
			}
			continue
		}
		_ = server.Kill()
		temporals++
		var err error
		if server, err = devserver.Start(ctx, o); err != nil {
			t.Fatalf("seed %d: start Temporal again: %v", seed, err)
		}
		t.Cleanup(func() { _ = server.Stop() })
	}

	for _, s := range suites {
		s.calm.Store(true)
	}
	t.Logf("calm, %v after the beginning; %d planned kills have not fallen yet", time.Since(begin).Round(time.Second), missing(suites, all))
	settle(t, &asking, suites, tail)
	for len(spare) > 0 && !t.Failed() {
		for i := range points {
			if a := spare[i]; !slices.ContainsFunc(all, func(b *asked) bool { return b.kill == a.kill && suites[b.mode].hasFallen(b) }) {
				t.Logf("once more, %v after the beginning: %s", time.Since(begin).Round(time.Second), a)
				all = append(all, a)
				ask(a, time.Now())
			}
		}
		spare = spare[len(points):]
		settle(t, &asking, suites, tail)
	}
	for _, s := range suites {
		for _, a := range s.all {
			if a.begun.Load() && read(s.history(a)).terminated() {
				s.after(a)
			}
		}
	}
	t.Logf("all has ended, %v after the beginning", time.Since(begin).Round(time.Second))
	fell := map[string]int{}
	sum := found{}
	clicks, kills := 0, temporals
	for _, s := range suites {
		e := evidence{asked: slices.DeleteFunc(slices.Clone(all), func(a *asked) bool { return a.mode != s.mode }), histories: map[string][]*historypb.HistoryEvent{}}
		for _, a := range e.asked {
			e.histories[a.id] = s.history(a)
		}
		s.end()
		s.search()
		e.clicks, e.cut, e.slack = s.clicks, s.cut, s.sim.State()
		clicks, kills = clicks+len(s.clicks), kills+int(s.kills.Load())
		for _, a := range e.asked {
			if s.fell[a.n] {
				fell[a.kill.name]++
			}
		}
		for _, a := range e.asked {
			t.Logf("%s: %s", a, read(e.histories[a.id]))
		}
		f := check(e)
		for figure, lines := range f {
			sum[figure] = append(sum[figure], lines...)
		}
		for _, a := range e.off(f) {
			t.Errorf("seed %d: %s\n%s", seed, e.tell(a), s.logs(a))
		}
	}
	for _, p := range points {
		if fell[p.name] == 0 {
			t.Errorf("seed %d: no kill fell %s", seed, p.name)
		}
	}
	for _, figure := range figures {
		for _, line := range sum[figure] {
			t.Errorf("seed %d: %s: %s", seed, figure, line)
		}
	}
	report(sum, fell, []int{len(all), clicks, kills, int(seed)})
}

// settle waits until all that was asked has ended, and nobody acts any more.
func settle(t *testing.T, asked *sync.WaitGroup, suites map[mode]*suite, tail time.Duration) {
	t.Helper()
	until := time.Now().Add(tail)
	all := make(chan struct{})
	go func() {
		defer close(all)
		asked.Wait()
	}()
	select {
	case <-all:
	case <-time.After(tail):
		t.Fatalf("not everything was asked, posted and clicked in %v", tail)
	}
	for _, s := range suites {
		for n := 1; ; n++ {
			open := s.openOnes()
			if len(open) == 0 {
				break
			}
			if !s.wait(time.Second) || time.Now().After(until) {
				for _, a := range s.all {
					if slices.Contains(open, a.id) {
						s.Logf("%s: %s\n%s", a, read(s.history(a)), s.logs(a))
					}
				}
				t.Fatalf("seed %d: not ended: %q", s.seed, open)
			}
			for _, a := range s.all { // Who is content, and sees the buttons still, clicks again after a while.
				if n%20 == 0 && s.posted(a) && a.acting.Load() == 0 {
					s.act(a)
				}
			}
		}
		s.people.Wait()
	}
}

// missing counts the kills that are planned, and have not fallen.
func missing(suites map[mode]*suite, all []*asked) (n int) {
	for _, a := range all {
		if a.kill != nil && !suites[a.mode].hasFallen(a) {
			n++
		}
	}
	return n
}

// hasFallen reports whether the kill that is planned for a request has fallen.
func (s *suite) hasFallen(a *asked) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fell[a.n]
}

// history is what Temporal has of a request.
func (s *suite) history(a *asked) (all []*historypb.HistoryEvent) {
	s.insist("read "+a.id, func(ctx context.Context) error {
		all = nil
		events := s.temporal.GetWorkflowHistory(ctx, a.id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for events.HasNext() {
			e, err := events.Next()
			if err != nil {
				return err
			}
			all = append(all, e)
		}
		return nil
	}, func(err error) bool { return errors.Is(err, context.Canceled) })
	return all
}

// logs are the lines of the processes' logs that are about a request.
func (s *suite) logs(a *asked) string {
	var b strings.Builder
	for _, l := range s.ever {
		for line := range strings.Lines(l.log.String()) {
			if strings.Contains(line, a.id) || slices.ContainsFunc(a.actors, func(p *actor) bool { return strings.Contains(line, p.ID()) }) {
				fmt.Fprintf(&b, "  %s: %s", l.name, line)
			}
		}
	}
	return b.String()
}

// report prints the figures, as a table and for programs.
func report(f found, fell map[string]int, counts []int) {
	fmt.Println("\nkills between two steps:")
	for _, p := range points {
		fmt.Printf("%6d %s\n", fell[p.name], p.name)
	}
	names := append(slices.Clone(figures), "approvals", "clicks", "kills", "seed")
	var values []int
	for _, figure := range figures {
		values = append(values, len(f[figure]))
	}
	values = append(values, counts...)
	fmt.Println("\nfigure             value")
	for i, name := range names {
		fmt.Printf("%-18s %5d\n", name, values[i])
	}
	for i, name := range names {
		fmt.Println("fault", name, values[i])
	}
}
