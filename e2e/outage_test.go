package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"google.golang.org/grpc/codes"

	"countersign/internal/devserver"
	"countersign/internal/slacksim"
)

const admin = "ADMIN_ADDRESS=127.0.0.1:0"

// admin waits until a process tells how it does, and returns where.
func (w *world) admin(p *process) (url string) {
	w.Helper()
	return "http://" + w.sees(p, `msg=listening admin=(\S+)`)[1]
}

// readyz is what a process says of itself: "" where it is ready, and otherwise what is wrong with the part.
func (w *world) readyz(url, part string) string {
	w.Helper()
	var got struct {
		Ready bool
		Parts map[string]string
	}
	status := w.gets(url+"/readyz", &got)
	if got.Ready != (status == http.StatusOK) {
		w.Fatalf("/readyz: status %d with %+v", status, got)
	}
	switch why := got.Parts[part]; {
	case got.Ready || why == "ok":
		return ""
	case why == "":
		w.Fatalf("/readyz says nothing of %s: %+v", part, got)
		return ""
	default:
		return why
	}
}

func (w *world) gets(url string, v any) (status int) {
	w.Helper()
	r, err := http.NewRequestWithContext(w.ctx, http.MethodGet, url, http.NoBody)
	w.must(err)
	resp, err := http.DefaultClient.Do(r)
	w.must(err)
	defer resp.Body.Close()
	if v != nil {
		w.must(json.NewDecoder(resp.Body).Decode(v))
	}
	return resp.StatusCode
}

// unready waits until a process says that the part is not ready, for that reason.
func (w *world) unready(url, part, why string) {
	w.Helper()
	for !strings.Contains(w.readyz(url, part), why) || w.readyz(url, part) == "" {
		if !w.again() {
			w.Fatalf("%s is %q, want %q", part, w.readyz(url, part), why)
		}
	}
}

// ready waits until a process says that it is ready.
func (w *world) ready(url string) {
	w.Helper()
	for w.gets(url+"/readyz", nil) != http.StatusOK {
		if !w.again() {
			var got any
			w.gets(url+"/readyz", &got)
			w.Fatalf("it does not get ready: %v", got)
		}
	}
}

// A process that cannot reach Temporal lives, is not ready, says why, and gets ready by itself.
func TestTemporalComesAndGoes(t *testing.T) {
	t.Parallel()
	for _, m := range []mode{socketMode, httpMode} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			server, o := ownTemporal(t)
			w := newWorld(t, m, server.Address, admin)
			again := func() {
				var err error
				server, err = devserver.Start(w.ctx, o)
				w.must(err)
				w.Cleanup(func() { _ = server.Stop() })
			}
			w.must(server.Kill())
			p := w.launch([]string{"run"})
			url := w.admin(p)
			w.unready(url, "temporal", "not reachable")
			if status := w.gets(url+"/healthz", nil); status != http.StatusOK {
				t.Errorf("/healthz: %d while it waits, want 200", status)
			}
			w.sees(p, `temporal is not reachable, waiting.*next_try`)
			again()
			if w.http {
				w.sim.SetRequestURL("http://" + w.sees(p, `msg=listening address=(\S+)`)[1] + "/slack/events")
			}
			w.ready(url)

			w.must(server.Kill())
			w.unready(url, "temporal", "does not answer")
			again()
			w.ready(url)
			w.sees(p, `msg="ready again" part=temporal`)
			w.greet("general", "World")
			w.approves(w.card("general", "Greet World"))
			w.stop(p)
		})
	}
}

// A token that Slack takes no longer ends nothing: the process says so, posts nothing and changes nothing, decisions count,
// and with a new token everything goes on where it stood, on the cards that there are.
func TestTokenRevoked(t *testing.T) {
	bothModes(t, func(w *world) {
		p := w.start("run", admin)
		url := w.admin(p)
		w.ready(url)
		decided, left := w.ask("general", "World"), w.ask("general", "Everybody")
		card, other := w.card("general", "Greet World"), w.card("general", "Greet Everybody")
		for range 2 {
			w.sees(p, `msg="card posted"`)
		}

		w.sim.RevokeToken()
		w.unready(url, "slack", "SLACK_BOT_TOKEN (token_revoked)")
		w.sees(p, `level=ERROR msg="not ready" part=slack err=".*token_revoked.*install the app again`)
		calls := func() int { return len(w.sim.Calls("chat.postMessage")) + len(w.sim.Calls("chat.update")) }
		before := calls()
		late := w.ask("general", "Nobody")
		bob := w.as("bob", "general")
		w.click(bob, card, "approve", true)
		w.tried(late, 3)
		if n := calls() - before; n != 0 {
			w.Errorf("%d posts and changes with a token that Slack does not take, want none", n)
		}
		w.stop(p)

		const fresh = "xoxb-sim-token-anew"
		w.sim.Reinstall(fresh)
		p = w.start("run", admin, "SLACK_BOT_TOKEN="+fresh)
		w.ready(w.admin(p))
		w.closed(card, "Approved by <@"+bob.ID()+">")
		w.click(bob, other, "approve", true)
		w.click(bob, w.card("general", "Greet Nobody"), "approve", true)
		for run, want := range map[client.WorkflowRun]string{decided: "Hello, World!", left: "Hello, Everybody!", late: "Hello, Nobody!"} {
			if got, err := w.result(run); got != want || err != nil {
				w.Errorf("Greeting returned %q, %v, want %q", got, err, want)
			}
		}
		for _, name := range []string{"World", "Everybody", "Nobody"} {
			if n := w.cards(name); n != 1 {
				w.Errorf("%d cards for %s, want 1", n, name)
			}
		}
	})
}

// tried waits until an activity of the workflow is at its nth attempt.
func (w *world) tried(run client.WorkflowRun, n int32) {
	w.Helper()
	for {
		d, err := w.temporal.DescribeWorkflowExecution(w.ctx, run.GetID(), run.GetRunID())
		w.must(err)
		for _, a := range d.GetPendingActivities() {
			if a.GetAttempt() >= n {
				return
			}
		}
		if !w.again() {
			w.Fatalf("no activity was tried %d times: %v", n, d.GetPendingActivities())
		}
	}
}

// A full disk under the log, and a log that nobody reads any more, cost the log alone.
func TestLogIsLost(t *testing.T) {
	t.Parallel()
	full := func(w *world) *os.File {
		f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			w.Skip("there is no /dev/full here")
		}
		return f
	}
	closed := func(w *world) *os.File {
		r, pipe, err := os.Pipe()
		w.must(err)
		w.must(r.Close())
		return pipe
	}
	for name, log := range map[string]func(*world) *os.File{"full disk": full, "broken pipe": closed} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, socketMode, shared.temporal.Address)
			f := log(w)
			defer f.Close()
			cmd := exec.Command(shared.binary, "run")
			cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = w.env, t.TempDir(), f, f
			w.must(cmd.Start())
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			w.Cleanup(func() { _ = cmd.Process.Kill() })
			w.must(w.sim.WaitConnections(w.ctx, 1))
			w.greet("general", "World")
			w.approves(w.card("general", "Greet World"))
			w.must(cmd.Process.Signal(os.Interrupt))
			select {
			case err := <-ended:
				w.must(err)
			case <-w.ctx.Done():
				w.Fatal("it does not stop")
			}
		})
	}
}

// Slack's clock may be off by nearly as much as its signatures may: messages are found again, clicks count.
func TestClockSkew(t *testing.T) {
	t.Parallel()
	for name, skew := range map[string]time.Duration{"Slack is ahead": 4 * time.Minute, "Slack is behind": -4 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, m := range []mode{socketMode, httpMode} {
				t.Run(string(m), func(t *testing.T) {
					t.Parallel()
					w := newWorld(t, m, shared.temporal.Address)
					w.sim.SetSkew(skew)
					p := w.start("run")
					w.sim.Inject(slacksim.Fault{Method: "chat.postMessage", Times: 1, Status: 500, Performed: true})
					w.greet("general", "World")
					w.sees(p, `msg="card posted"`) // It was found, or posted again.
					w.approves(w.card("general", "Greet World"))
					if n := w.cards("World"); n != 1 {
						w.Errorf("%d cards, want 1", n)
					}
				})
			}
		})
	}
	// Further off, no signature is good: nothing is taken, and the log says what to look at.
	t.Run("too far for signatures", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, httpMode, shared.temporal.Address)
		p := w.start("run")
		run := w.ask("general", "World")
		card := w.card("general", "Greet World")
		bob := w.as("bob", "general")
		for _, skew := range []time.Duration{6 * time.Minute, -6 * time.Minute} {
			w.sim.SetSkew(skew)
			d, err := bob.Click(w.ctx, card, "approve")
			w.must(err)
			if d.Acked || d.Status != http.StatusUnauthorized {
				w.Errorf("clock off by %v: %s, status %d; want 401", skew, d, d.Status)
			}
		}
		w.sees(p, `refuse.*clock`)
		w.sim.SetSkew(0)
		w.click(bob, card, "approve", true)
		if _, err := w.result(run); err != nil {
			w.Error(err)
		}
	})
}

// deny answers a call to Temporal as it does where a key has been revoked, or may not do so much.
func deny(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Grpc-Status", strconv.Itoa(int(codes.PermissionDenied)))
	w.Header().Set("Grpc-Message", "Request unauthorized.")
}

// A process that Temporal lets into its namespace no longer says so, and is ready again when it does.
func TestTemporalLetsNobodyIn(t *testing.T) {
	t.Parallel()
	var denied atomic.Bool
	way := onTheWay(t, shared.temporal.Address, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if denied.Load() && !strings.HasSuffix(r.URL.Path, "/GetSystemInfo") { // for which nobody is asked who they are
			deny(w)
			return
		}
		next.ServeHTTP(w, r)
	})
	w := newWorld(t, socketMode, shared.temporal.Address, admin, "TEMPORAL_ADDRESS="+way)
	p := w.start("bot")
	url := w.admin(p)
	w.ready(url)
	denied.Store(true)
	w.unready(url, "temporal", "does not let this process into the namespace default")
	denied.Store(false)
	w.ready(url)
}

// A bot needs no more of Temporal than its work does: not the namespace's description, for instance.
func TestBotThatMayNotDescribeTheNamespace(t *testing.T) {
	t.Parallel()
	way := onTheWay(t, shared.temporal.Address, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, "/DescribeNamespace") {
			deny(w)
			return
		}
		next.ServeHTTP(w, r)
	})
	w := newWorld(t, socketMode, shared.temporal.Address, admin)
	w.start("worker")
	p := w.start("bot", "TEMPORAL_ADDRESS="+way)
	w.greet("general", "World")
	w.approves(w.card("general", "Greet World"))
	w.ready(w.admin(p))
	w.sees(p, `the workers cannot see this bot's keys, trying again`)
}
