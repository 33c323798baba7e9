package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"countersign/internal/devserver"
	"countersign/internal/reference"
	"countersign/internal/slacksim"
	"countersign/workflows"
)

// shell is a command that a shell or a CI job runs.
type shell struct {
	*exec.Cmd
	of       *world
	out, err *lines
	ended    chan struct{}
	code     int
}

// shell starts a command as a shell does, in an environment that has nothing of Slack's; env is added to it.
func (w *world) shell(stdin string, args []string, env ...string) *shell {
	w.Helper()
	c := &shell{Cmd: exec.Command(shared.binary, args...), of: w, out: newLines(), err: newLines(), ended: make(chan struct{})}
	for _, v := range append(slices.Clone(w.env), env...) {
		if name, _, _ := strings.Cut(v, "="); !strings.HasPrefix(name, "SLACK_") && !slices.Contains([]string{"REFERENCE_KEYS", "APPROVERS", "LISTEN_ADDRESS", "LOG_LEVEL"}, name) {
			c.Env = append(c.Env, v)
		}
	}
	w.gives(stdin, args)
	c.Dir, c.Stdin, c.Stdout, c.Stderr = w.TempDir(), strings.NewReader(stdin), c.out, c.err
	w.must(c.Start())
	go func() {
		defer close(c.ended)
		_ = c.Wait()
		c.code = c.ProcessState.ExitCode()
	}()
	w.Cleanup(func() {
		_ = c.Process.Kill()
		<-c.ended
		if strings.Contains(c.err.String(), "DATA RACE") {
			w.Errorf("countersign %q has a data race", args)
		}
		w.searchCommand(fmt.Sprintf("countersign %q", args), c.err.String(), c.Env)
		if w.Failed() {
			w.Logf("countersign %q ended with %d and printed\n%s\n%s", args, c.code, c.out, c.err)
		}
	})
	return c
}

// asks starts a request for bob, by default, in #general.
func (w *world) asks(args ...string) *shell {
	w.Helper()
	all := []string{"request", "--channel", w.sim.Channel("general").ID, "--requester", w.sim.Person("alice").ID()}
	if !slices.Contains(args, "--title") {
		all = append(all, "--title", "Deploy v2")
	}
	if !slices.Contains(args, "--approver") {
		all = append(all, "--approver", w.sim.Person("bob").ID())
	}
	return w.shell("", append(all, args...))
}

// says waits for a line on standard error, and returns its submatches.
func (c *shell) says(pattern string) []string {
	c.of.Helper()
	m, err := c.err.wait(c.of.ctx, regexp.MustCompile(pattern), c.ended)
	if err != nil {
		// It may have ended with it.
		if m = regexp.MustCompile(pattern).FindStringSubmatch(c.err.String()); m == nil {
			c.of.Fatalf("no line %q on standard error: %v", pattern, err)
		}
	}
	return m
}

// asked waits until its request is asked, and returns the ID.
func (c *shell) asked() string {
	c.of.Helper()
	return c.says(`Asked as (\S+): https://\S+\n`)[1]
}

// ends waits until it has ended with that exit code, and with all of what on standard error; it returns standard output.
func (c *shell) ends(code int, what ...string) string {
	c.of.Helper()
	select {
	case <-c.ended:
	case <-c.of.ctx.Done():
		c.of.Fatalf("countersign %q does not end", c.Args[1:])
	}
	if c.code != code {
		c.of.Errorf("countersign %q ended with %d, want %d", c.Args[1:], c.code, code)
	}
	for _, s := range what {
		if !strings.Contains(c.err.String(), s) {
			c.of.Errorf("standard error is %q, want %q in it", c.err, s)
		}
	}
	return c.out.String()
}

// results waits as ends does; standard output has to be a result and nothing else.
func (c *shell) results(code int, o workflows.Outcome, what ...string) (res workflows.Result) {
	c.of.Helper()
	out := c.ends(code, what...)
	if err := json.Unmarshal([]byte(out), &res); err != nil || res.Outcome != o {
		c.of.Fatalf("standard output is %q (%v), want a result that is %s", out, err, o)
	}
	return res
}

// prints runs a command that is to end well, and returns its standard output.
func (w *world) prints(args ...string) string {
	w.Helper()
	return w.shell("", args).ends(0)
}

func TestShellApproved(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		bob := w.as("bob", "general")
		c := w.shell(`{"title": "From a file", "text": "42 *commits*.", "deadline": "1h", "of_a_later_version": 1}`, []string{
			"request", "--from", "-", "--title", "Deploy v2", "--channel", w.sim.Channel("general").ID, "--approver", bob.ID(), "--wait",
		})
		id := c.asked()
		card := w.card("general", "42 commits.")
		if text := card.PlainText(); !strings.Contains(text, "Deploy v2") || strings.Contains(text, "From a file") {
			w.Errorf("the card says %q", text)
		}
		w.click(bob, card, "approve", true)
		res := c.results(0, workflows.Approved, "This version does not know of_a_later_version", "It waits until ", "bob: approved (1 of 1).\n")
		if d, ok := res.Decision(); !ok || d.By.ID != bob.ID() || d.Via != workflows.ViaCard || res.Permalink == "" || res.Card.TS != card.TS || res.Digest == "" {
			w.Errorf("the result is %+v", res)
		}
		// Who comes later gets the same.
		if again := w.shell("", []string{"wait", id}); again.ends(0) != c.out.String() {
			w.Errorf("wait prints\n%s\nrequest --wait\n%s", again.out, c.out)
		}
	})
}

func TestShellDoesNotWait(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		c := w.asks()
		var got struct {
			WorkflowID string `json:"workflow_id"`
			RunID      string `json:"run_id"`
			Permalink  string `json:"permalink"`
		}
		w.must(json.Unmarshal([]byte(c.ends(0)), &got))
		if got.WorkflowID != c.asked() || got.RunID == "" || !strings.HasPrefix(got.Permalink, "https://") {
			w.Errorf("printed %+v", got)
		}
		later := w.shell("", []string{"wait", got.WorkflowID})
		later.asked()
		w.click(w.as("bob", "general"), w.card("general", "Deploy v2"), "approve", true)
		later.results(0, workflows.Approved)
	})
}

func TestShellTwoApprovals(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		c := w.asks("--approver", w.ids("carol"), "--approver", w.ids("bob"), "--required", "2", "--wait")
		c.asked()
		card := w.card("general", "Deploy v2")
		w.click(w.as("bob", "general"), card, "approve", true)
		c.says(`bob: approved \(1 of 2\)\.\n`)
		w.click(w.as("carol", "general"), w.redrawn(card, "1 of 2"), "approve", true)
		res := c.results(0, workflows.Approved, "carol: approved (2 of 2).\n")
		if got := w.deciders(res); !slices.Equal(got, []string{"bob", "carol"}) {
			w.Errorf("decided by %q", got)
		}
	})
}

func TestShellRejected(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		c := w.asks("--wait")
		c.asked()
		bob, card := w.as("bob", "general"), w.card("general", "Deploy v2")
		w.fillsIn(bob, w.opens(bob, card, "reject", ""), map[string]any{"comment": "Not on a Friday.\nAsk again."})
		res := c.results(1, workflows.Rejected, "bob: rejected.\n", "countersign: the request was rejected: Not on a Friday. Ask again.\n")
		if d, _ := res.Decision(); d.Reason != "Not on a Friday.\nAsk again." {
			w.Errorf("the result is %+v", res)
		}
	})
}

func TestShellExpired(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		c := w.asks("--deadline", "2s", "--wait")
		c.results(3, workflows.Expired, "countersign: the request has expired: nobody decided in time\n")
		w.closed(w.message("general", slacksim.Contains("Deploy v2")), "Expired")
	})
}

func TestShellWithdrawn(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		c := w.asks("--wait")
		id := c.asked()
		card := w.card("general", "Deploy v2")
		if got := w.prints("withdraw", id, "--by", "pipeline *4711* <!here>"); got != "It is withdrawn.\n" {
			w.Errorf("withdraw prints %q", got)
		}
		res := c.results(4, workflows.Withdrawn, "countersign: the request was withdrawn\n")
		if by, ok := res.Withdrawal(); !ok || by.By != (workflows.Person{Name: "pipeline *4711* <!here>" + workflows.AsGiven}) || by.Via != workflows.Outside {
			w.Errorf("withdrawn by %+v", by)
		}
		const given = "Withdrawn by pipeline 4711 &lt;!here&gt; (outside Slack, as given)"
		if got := w.closed(card); !strings.Contains(got.Text, given) {
			w.Errorf("the card says %q, want %q in it", got.Text, given)
		}
		w.reply(card, "(outside Slack, as given)")
		// Once is enough.
		w.shell("", []string{"withdraw", id, "--by", "x"}).ends(1, "too late: the request is withdrawn already")
	})
}

func TestShellCannotAsk(t *testing.T) {
	oneMode(t, func(w *world) {
		// What is wrong in itself is said where no worker runs.
		c := w.asks("--title", " ", "--required", "21", "--deadline", "soon", "--remind-every", "1s", "--wait")
		if out := c.ends(5, "nothing was asked:\n  ", "\n  The title is empty.", "\n  required is 21", "\n  The deadline is \"soon\"", "\n  remind_every is \"1s\""); out != "" {
			w.Errorf("printed %q", out)
		}
		w.shell("{", []string{"request", "--from", "-", "--wait"}).ends(2, "--from - is not JSON")
		w.asks("--wait", "now").ends(2, "takes no argument")

		w.start("run")
		w.asks("--approver", "U0NOBODY99", "--wait").ends(5, "countersign: nothing was asked: There is no person U0NOBODY99 in this workspace.\n")
		w.asks("--approver", "channel").ends(5, "nothing was asked: ", "APPROVERS")
		if n := w.cardsIn("general"); n != 0 {
			w.Errorf("%d cards, want none", n)
		}
	})
}

func TestShellInterrupted(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		c := w.asks("--wait")
		id := c.asked()
		card := w.card("general", "Deploy v2")
		w.must(c.Process.Signal(syscall.SIGINT))
		if out := c.ends(130, "countersign: the request stays open; come back with: countersign wait "+id+"\n"); out != "" {
			w.Errorf("printed %q", out)
		}
		again := w.shell("", []string{"wait", id})
		again.asked()
		w.click(w.as("bob", "general"), card, "approve", true)
		again.results(0, workflows.Approved)
	})
}

func TestShellKey(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		key := w.queue // There is one server for all tests.
		one, two := w.asks("--key", key, "--wait"), w.asks("--key", key, "--wait")
		id := one.asked()
		if two.asked() != id || id != "request-"+key {
			w.Errorf("asked as %s and %s", id, two.asked())
		}
		card := w.card("general", "Deploy v2")
		w.asks("--key", key, "--title", "Deploy v3").ends(2, "another request is open with this key ("+id+")")
		w.click(w.as("bob", "general"), card, "approve", true)
		one.results(0, workflows.Approved)
		two.results(0, workflows.Approved)
		if one.out.String() != two.out.String() {
			w.Errorf("the one prints\n%s\nthe other\n%s", one.out, two.out)
		}
		if attached := strings.Contains(one.err.String(), "is open already") != strings.Contains(two.err.String(), "is open already"); !attached {
			w.Errorf("one of them attaches: %q, %q", one.err, two.err)
		}
		if n := w.cardsIn("general"); n != 1 {
			w.Errorf("%d cards, want 1", n)
		}
		// It has ended: the same key asks anew.
		anew := w.asks("--key", key, "--title", "Deploy v3", "--wait")
		anew.asked()
		w.click(w.as("bob", "general"), w.card("general", "Deploy v3"), "approve", true)
		if res := anew.results(0, workflows.Approved); res.Card.TS == card.TS {
			w.Error("it has the result of before")
		}
	})
}

// A CI job whose machine is gone comes back with the same command.
func TestShellKilled(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		args := []string{"--key", w.queue, "--wait"}
		c := w.asks(args...)
		id := c.asked()
		w.must(c.Process.Kill())
		<-c.ended
		again := w.asks(args...)
		again.says("The request " + id + " is open already")
		card := w.card("general", "Deploy v2")
		w.click(w.as("bob", "general"), card, "approve", true)
		if res := again.results(0, workflows.Approved); res.Card.TS != card.TS || w.cardsIn("general") != 1 {
			w.Errorf("%d cards; the result is %+v", w.cardsIn("general"), res)
		}
	})
}

// lists runs list until it shows what: Temporal's list lags behind.
func (w *world) lists(what string, args ...string) (out string) {
	w.Helper()
	for w.again() {
		if out = w.prints(append([]string{"list"}, args...)...); strings.Contains(out, what) {
			return out
		}
	}
	w.Fatalf("the list is %q, want %q in it", out, what)
	return ""
}

func TestShellListsAndShows(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		w.shell("", []string{"list"}).ends(0, "There are none.\n")
		if got := w.prints("list", "--json"); got != "[]\n" {
			w.Errorf("no request as JSON is %q", got)
		}
		c := w.asks("--title", "Deploy \x1b[2Jv2", "--text", "Ships it.", "--field", "Service=web", "--approver", w.ids("bob"), "--approver", w.sim.Group("sre").ID, "--required", "2")
		c.ends(0)
		id := c.asked()
		card := w.card("general", "Service: web")
		w.click(w.as("bob", "general"), card, "approve", true)
		w.redrawn(card, "1 of 2")

		row := regexp.MustCompile(`(?m)^ID +TITLE +STATE +ASKED +UNTIL\n` + id + ` +Deploy  \[2Jv2 +1 of 2 approved +20\d\d-\S+ \S+ +20\d\d-\S+ \S+\n$`)
		if got := w.lists("1 of 2 approved"); !row.MatchString(got) {
			w.Errorf("the list is\n%s", got)
		}
		var listed []struct {
			WorkflowID string `json:"workflow_id"`
			workflows.Listed
		}
		w.must(json.Unmarshal([]byte(w.lists(id, "--json")), &listed))
		if len(listed) != 1 || listed[0].WorkflowID != id || listed[0].Round.Required != 2 || listed[0].Card.TS != card.TS || len(listed[0].Missing) != 1 {
			w.Errorf("listed %+v", listed)
		}
		if got := w.prints("__complete", "wait", ""); !strings.HasPrefix(got, id+"\tDeploy  [2Jv2\n") {
			w.Errorf("a shell completes %q", got)
		}

		shown := w.prints("show", id)
		for _, want := range []string{
			"Title      Deploy  [2Jv2\n", "Text       | Ships it.\n", "Fields      \n  Service  web\n", "State      1 of 2 approved\n", "           approved by bob, 20",
			"Waits for  1 of ", w.sim.Group("sre").ID, "Until      20", "Asked      20", "Card       https://", "Workflow   " + id + "\n", "Run        ",
		} {
			if !strings.Contains(shown, want) {
				w.Errorf("show lacks %q:\n%s", want, shown)
			}
		}
		if got := w.prints("show", id, "--json"); !strings.Contains(got, `"text": "Ships it."`) || !strings.Contains(got, `\u001b[2Jv2`) || !json.Valid([]byte(got)) {
			w.Errorf("show --json prints %s", got)
		}

		w.prints("withdraw", id, "--by", "pipeline")
		if got := w.lists(id, "--ended"); !strings.Contains(got, "withdrawn") {
			w.Errorf("the ended ones are\n%s", got)
		}
		if got := w.prints("show", id); !strings.Contains(got, "withdrawn by pipeline (outside Slack, as given), 20") || strings.Contains(got, "Waits for") {
			w.Errorf("show says\n%s", got)
		}
	})
}

// While Temporal is away the commands say so, and go on.
func TestShellTemporalAway(t *testing.T) {
	t.Parallel()
	server, o := ownTemporal(t)
	w := newWorld(t, httpMode, server.Address)
	w.patience(5 * patience)
	w.start("run")
	c := w.asks("--wait")
	id := c.asked()
	card := w.card("general", "Deploy v2")
	w.must(server.Stop())
	c.says("Temporal does not answer; still waiting: ")
	later := w.shell("", []string{"wait", id}) // It cannot even connect.
	later.says("temporal is not reachable, waiting")

	server, err := devserver.Start(w.ctx, o)
	w.must(err)
	w.Cleanup(func() { _ = server.Stop() })
	later.asked()
	w.click(w.as("bob", "general"), card, "approve", true)
	c.results(0, workflows.Approved, "bob: approved (1 of 1).\n")
	later.results(0, workflows.Approved)
	if n := strings.Count(c.err.String(), "Asked as"); n != 1 {
		w.Errorf("it says %d times that it was asked: %s", n, c.err)
	}
}

func TestShellDecides(t *testing.T) {
	t.Parallel()
	const given = "(outside Slack, as given)"
	decide := func(w *world, id string, args ...string) *shell {
		return w.shell("", append([]string{"decide", id, "--by", "dave", "--reason", "Slack is down."}, args...), "ALLOW_OUTSIDE_DECISIONS=true")
	}
	t.Run("approves", func(t *testing.T) {
		oneMode(t, func(w *world) {
			w.start("run")
			c := w.asks("--wait")
			id := c.asked()
			card := w.card("general", "Deploy v2")
			w.shell("", []string{"decide", id, "--approve", "--by", "dave", "--reason", "x"}).ends(2, "decisions outside Slack are off: set ALLOW_OUTSIDE_DECISIONS=true")
			decide(w, id).ends(2, "say either --approve or --reject")
			if got := decide(w, id, "--approve").ends(0); got != "Recorded: approved by dave "+given+".\n" {
				w.Errorf("decide prints %q", got)
			}
			res := c.results(0, workflows.Approved, "dave "+given+": approved (1 of 1).\n")
			if d, _ := res.Decision(); d.By != (workflows.Person{Name: "dave " + given}) || d.Via != workflows.Outside || d.Reason != "Slack is down." || d.Digest != res.Digest {
				w.Errorf("decided %+v", d)
			}
			w.closed(card, "Approved by dave "+given, "Slack is down.")
			w.reply(card, "Approved by dave "+given)
			decide(w, id, "--reject").ends(1, "too late: the request is approved already")
		})
	})
	t.Run("while Slack is away", func(t *testing.T) {
		oneMode(t, func(w *world) {
			w.start("run")
			w.sim.Inject(slacksim.Fault{Method: "chat.postMessage", Status: 500})
			c := w.asks("--wait", "--key", "away")
			for w.again() {
				d := w.shell("", []string{"decide", "request-away", "--approve", "--by", "dave", "--reason", "Slack is down."}, "ALLOW_OUTSIDE_DECISIONS=true")
				<-d.ended
				if strings.Contains(d.out.String(), "Recorded: approved by dave "+given) {
					break
				}
			}
			if d, _ := c.results(0, workflows.Approved).Decision(); d.By != (workflows.Person{Name: "dave " + given}) {
				w.Errorf("decided %+v", d)
			}
		})
	})
	t.Run("rejects", func(t *testing.T) {
		oneMode(t, func(w *world) {
			w.start("run")
			c := w.asks("--wait")
			id := c.asked()
			card := w.card("general", "Deploy v2")
			decide(w, id, "--reject").ends(0)
			c.results(1, workflows.Rejected, "dave "+given+": rejected.\n", "the request was rejected: Slack is down.")
			w.closed(card, "Rejected by dave "+given, "Slack is down.")
			w.reply(card, "Rejected by dave "+given)
		})
	})
	t.Run("with a choice", func(t *testing.T) {
		oneMode(t, func(w *world) {
			w.start("run")
			c := w.asks("--choice", "Staging", "--choice", "Production", "--wait")
			id := c.asked()
			card := w.message("general", slacksim.HasButton("approve_2"))
			decide(w, id, "--approve").ends(2, `choose one with --choice: the request has "Staging", "Production"`)
			decide(w, id, "--approve", "--choice", "Production").ends(0)
			if res := c.results(0, workflows.Approved); res.Choice != "Production" {
				w.Errorf("chosen is %q", res.Choice)
			}
			w.closed(card, "Chosen: Production", "Approved by dave "+given)
		})
	})
	// The values are those of Slack's form, so that the approvals count together.
	t.Run("with inputs, as one of two", func(t *testing.T) {
		oneMode(t, func(w *world) {
			w.start("run")
			c := w.shell(`{"title": "Deploy v2", "required": 2, "inputs": [
				{"name": "replicas", "type": "number", "initial": 3}, {"name": "note", "optional": true}
			]}`, []string{"request", "--from", "-", "--channel", w.sim.Channel("general").ID, "--approver", w.ids("bob"), "--approver", w.ids("carol"), "--wait"})
			id := c.asked()
			card := w.card("general", "Deploy v2")
			decide(w, id, "--approve", "--input", "replicas=many").ends(2, "give replicas with --input replicas=VALUE")
			bob := w.as("bob", "general")
			w.fillsIn(bob, w.opens(bob, card, "approve", ""), nil)
			w.redrawn(card, "1 of 2")
			c.says(`bob: approved \(1 of 2\)`)
			decide(w, id, "--approve").ends(0)
			res := c.results(0, workflows.Approved, "dave "+given+": approved (2 of 2).\n")
			if res.Inputs["replicas"] != "3" || len(res.Decisions) != 2 {
				w.Errorf("the result is %+v", res)
			}
			w.closed(card, "Approved by "+w.at("bob")+" and dave "+given)
		})
	})
	t.Run("as the first of two", func(t *testing.T) {
		oneMode(t, func(w *world) {
			w.start("run")
			c := w.asks("--approver", w.ids("bob"), "--approver", w.ids("carol"), "--required", "2", "--wait")
			id := c.asked()
			card := w.card("general", "Deploy v2")
			decide(w, id, "--approve").ends(0)
			half := w.redrawn(card, "1 of 2 approved: dave "+given)
			w.reply(card, "dave "+given+" approved (1 of 2)")
			c.says(`dave \(outside Slack, as given\): approved \(1 of 2\)`)
			decide(w, id, "--approve", "--by", "erin").ends(1, "the same approval from outside Slack counts already, and all that come so count as one")
			w.click(w.as("bob", "general"), half, "approve", true)
			c.results(0, workflows.Approved, "bob: approved (2 of 2).\n")
			w.closed(card, "Approved by dave "+given+" and "+w.at("bob"))
		})
	})
}

// The commands know a greeting too, and say where there is no request.
func TestShellOfOthers(t *testing.T) {
	oneMode(t, func(w *world) {
		w.start("run")
		run := w.ask("general", "World")
		card := w.card("general", "World")
		c := w.shell("", []string{"wait", run.GetID()})
		if c.asked() != run.GetID() {
			w.Errorf("asked as %s", c.asked())
		}
		if got := w.prints("show", run.GetID()); !strings.Contains(got, "Hello, World!\n") || !regexp.MustCompile(`(?m)^State +waiting$`).MatchString(got) {
			w.Errorf("show says\n%s", got)
		}
		w.click(w.as("bob", "general"), card, "approve", true)
		c.results(0, workflows.Approved, "bob: approved (1 of 1).\n")

		for _, command := range []string{"wait", "show", "withdraw"} {
			w.shell("", []string{command, "nothing-of-this-name"}).ends(2, `there is no request "nothing-of-this-name" on the task queue `+w.queue)
		}
	})
}

func TestShellEncrypted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, socketMode, shared.temporal.Address, "PAYLOAD_KEYS="+reference.NewKey())
	w.start("run")
	key := w.queue
	c := w.asks("--key", key, "--wait")
	id := c.asked()
	card := w.card("general", "Deploy v2")
	again := w.asks("--key", key, "--wait")
	again.says("The request " + id + " is open already")
	w.lists("Deploy v2")
	if got := w.prints("show", id); !strings.Contains(got, "Title      Deploy v2\n") {
		w.Errorf("show says\n%s", got)
	}
	for name, env := range map[string]string{"without a key": "PAYLOAD_KEYS=", "with another key": "PAYLOAD_KEYS=" + reference.NewKey()} {
		for _, command := range []string{"wait", "show", "withdraw"} {
			w.Log(command, name)
			w.shell("", []string{command, id}, env).ends(5, "the request is encrypted, and cannot be read here: set PAYLOAD_KEYS")
		}
	}
	w.shell("", []string{"decide", id, "--approve", "--by", "dave", "--reason", "Slack is down."}, "ALLOW_OUTSIDE_DECISIONS=true").ends(0)
	c.results(0, workflows.Approved)
	again.results(0, workflows.Approved)
	w.closed(card, "Approved by dave (outside Slack, as given)")

	w.asks("--key", key, "--title", "Deploy v3").ends(0)
	last := w.card("general", "Deploy v3")
	w.prints("withdraw", id, "--by", "pipeline")
	w.closed(last, "Withdrawn by pipeline")
}
