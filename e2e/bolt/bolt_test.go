// Package bolt checks the stand-in for Slack against others' code: Slack's own framework for apps, Bolt, and the types
// that Slack publishes. Where they and the stand-in disagree, the stand-in is wrong.
package bolt

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/npm"
	"countersign/internal/slacksim"
)

// packages are Bolt and the rest of package-lock.json.
var packages = npm.Packages(".")

// patience is how long a test waits for anything. It is no measure of speed: it only ends a test that hangs.
const patience = 90 * time.Second

// mode is a way by which Slack delivers.
type mode string

const (
	socketMode mode = "socket"
	httpMode   mode = "http"
)

// workspace is a workspace with the app in it.
type workspace struct {
	*testing.T
	ctx context.Context
	sim *slacksim.Server
	app *app
}

// app is the running app, app.mjs, and what it has told.
type app struct {
	mu      sync.Mutex
	lines   []line
	changed chan struct{}
	ended   chan struct{}
}

// line is what the app tells in one line of JSON.
type line struct {
	Event   string          // ready, received, answered or complaint
	Port    int             // with ready, in HTTP mode
	Type    string          // with received and answered: how Bolt declares the value
	Value   json.RawMessage // with received and answered
	Context map[string]any  // with received
	Text    string          // with complaint: a warning or an error of Bolt
}

// start makes a workspace and starts the app in it; env overrides the app's.
func start(t *testing.T, m mode, env ...string) *workspace {
	t.Helper()
	node := packages(t)
	ctx, stop := context.WithTimeoutCause(t.Context(), patience, errors.New("waited for too long"))
	t.Cleanup(stop)
	sim := slacksim.New(slacksim.Options{Commands: []slacksim.Command{{Name: "/hello"}}})
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	t.Cleanup(sim.Close)
	sim.SetBaseURL(srv.URL)

	w := &workspace{T: t, ctx: ctx, sim: sim, app: &app{changed: make(chan struct{}), ended: make(chan struct{})}}
	cmd := exec.Command(node, "app.mjs")
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(),
		"SLACK_API_URL=" + srv.URL + "/api/",
		"SLACK_BOT_TOKEN=" + slacksim.DefaultBotToken,
	}
	if m == socketMode {
		cmd.Env = append(cmd.Env, "SLACK_APP_TOKEN="+slacksim.DefaultAppToken)
	} else {
		cmd.Env = append(cmd.Env, "SLACK_SIGNING_SECRET="+slacksim.DefaultSigningSecret)
	}
	cmd.Env = append(cmd.Env, env...)
	var log strings.Builder
	cmd.Stderr = &log
	stdin, err := cmd.StdinPipe() // The app ends when it is closed.
	w.must(err)
	stdout, err := cmd.StdoutPipe()
	w.must(err)
	w.must(cmd.Start())
	go w.app.listen(bufio.NewScanner(stdout))
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Process.Kill()
		<-w.app.ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("log of the app:\n%s", log.String())
		}
	})

	ready := w.sees(func(l line) bool { return l.Event == "ready" })
	if m == httpMode {
		sim.SetRequestURL(fmt.Sprintf("http://127.0.0.1:%d/slack/events", ready.Port))
	}
	return w
}

func (a *app) listen(stdout *bufio.Scanner) {
	defer close(a.ended)
	stdout.Buffer(nil, 1<<20)
	for stdout.Scan() {
		var l line
		if err := json.Unmarshal(stdout.Bytes(), &l); err != nil {
			l = line{Event: "complaint", Text: fmt.Sprintf("%q is no line of the app: %v", stdout.Bytes(), err)}
		}
		a.mu.Lock()
		a.lines = append(a.lines, l)
		close(a.changed)
		a.changed = make(chan struct{})
		a.mu.Unlock()
	}
}

// told returns what the app has told so far.
func (a *app) told() ([]line, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.lines), a.changed
}

// until waits until cond holds for what the app has told.
func (w *workspace) until(cond func([]line) bool) {
	w.Helper()
	for {
		lines, changed := w.app.told()
		if cond(lines) {
			return
		}
		select {
		case <-changed:
		case <-w.app.ended:
			w.Fatalf("the app ended: %+v", lines)
		case <-w.ctx.Done():
			w.Fatalf("the app does not tell that: %v: %+v", context.Cause(w.ctx), lines)
		}
	}
}

// sees waits for a line of the app.
func (w *workspace) sees(match func(line) bool) line {
	w.Helper()
	var found line
	w.until(func(lines []line) bool {
		i := slices.IndexFunc(lines, match)
		if i >= 0 {
			found = lines[i]
		}
		return i >= 0
	})
	return found
}

// hears waits until the app has told of all that the stand-in has delivered and answered, and returns that.
func (w *workspace) hears() []line {
	w.Helper()
	delivered := 0
	for _, d := range w.sim.Deliveries() {
		if d.Acked {
			delivered++
		}
	}
	answered := 1 // auth.test, which Bolt calls for itself as well
	for _, c := range w.sim.Calls("") {
		switch c.Method {
		case "auth.test", "apps.connections.open", "response_url":
		default:
			answered++
		}
	}
	var told []line
	w.until(func(lines []line) bool {
		told = slices.DeleteFunc(lines, func(l line) bool { return l.Event != "received" && l.Event != "answered" })
		return len(told) == delivered+answered
	})
	return told
}

// quiet checks that Bolt has warned of nothing.
func (w *workspace) quiet() {
	w.Helper()
	lines, _ := w.app.told()
	for _, l := range lines {
		if l.Event == "complaint" {
			w.Errorf("Bolt complains: %s", l.Text)
		}
	}
}

func (w *workspace) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// acked checks that Bolt has acknowledged the delivery, and returns what it has said with that.
func (w *workspace) acked(d slacksim.Delivery, err error) string {
	w.Helper()
	w.must(err)
	if !d.Acked {
		w.Fatalf("not acknowledged: %s", d)
	}
	return string(d.Response)
}

// told waits for a private message to the person.
func (w *workspace) told(p slacksim.Person, what string) {
	w.Helper()
	if _, err := p.WaitEphemeral(w.ctx, slacksim.Contains(what)); err != nil {
		w.Fatalf("nobody told %s %q: %v", p.ID(), what, err)
	}
}

// hello has the person send the command, and returns the message with the button.
func (w *workspace) hello(p slacksim.Person, name string) slacksim.Message {
	w.Helper()
	w.acked(p.Command(w.ctx, "/hello "+name))
	shown := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(name)
	m, err := w.sim.WaitMessage(w.ctx, p.Channel(), slacksim.Contains("Hello, "+shown+"!"))
	w.must(err)
	return m
}

// edit has the person press the button of the message, and returns the modal.
func (w *workspace) edit(p slacksim.Person, m slacksim.Message) slacksim.View {
	w.Helper()
	w.acked(p.Click(w.ctx, m, "edit"))
	v, err := p.Modal(w.ctx)
	w.must(err)
	return v
}

// What an app and people do to each other, in both modes. What Bolt has received, and what the Web API has
// answered, is then held against the types that Bolt declares for it.
func TestBoltAppWorks(t *testing.T) {
	t.Parallel()
	for _, m := range []mode{socketMode, httpMode} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			w := start(t, m)
			if m == httpMode {
				w.must(w.sim.VerifyURL(w.ctx))
			}
			alice, bob := w.sim.Person("alice").In("general"), w.sim.Person("bob").In("general")

			// A command: its answer is private, text or an object.
			w.acked(alice.Command(w.ctx, "/hello"))
			w.told(alice, "Usage: /hello NAME")
			card := w.hello(alice, "World & <all>")
			w.told(alice, "Saying hello to World &amp; &lt;all&gt;.")
			if got := card.PlainText(); got != "Hello, World &amp; &lt;all&gt;! (from Alice Archer)" {
				t.Errorf("the message says %q", got)
			}

			// A button, a modal, and what a submission is answered with.
			modal := w.edit(bob, card)
			w.acked(bob.Submit(w.ctx, modal, nil))
			modal, err := bob.Modal(w.ctx)
			w.must(err)
			if modal.Errors["who"] != "Say a name." {
				t.Errorf("errors of the modal: %v, %q", modal.Errors, modal.Error)
			}
			w.acked(bob.Submit(w.ctx, modal, map[string]any{"name": "?"}))
			modal, err = bob.WaitModal(w.ctx, func(v slacksim.View) bool { return strings.Contains(v.PlainText(), "Any name") })
			w.must(err)
			if got := w.acked(bob.Submit(w.ctx, modal, map[string]any{"name": "Bob"})); got != "" && got != "{}" {
				t.Errorf("the submission was answered %s", got)
			}
			w.must(bob.NoModal(w.ctx))
			changed, err := w.sim.WaitMessage(w.ctx, "general", func(m slacksim.Message) bool { return m.TS == card.TS && m.Edits > 0 })
			w.must(err)
			if changed.Text != "Hello, Bob!" || len(changed.Buttons()) > 0 || changed.Edited {
				t.Errorf("the message is now %+v", changed)
			}
			w.told(bob, "Saved by <@"+bob.ID()+">.")

			// A modal that is closed, in the channel of two.
			dm := w.sim.Person("carol").DM()
			modal = w.edit(dm, w.hello(dm, "Carol"))
			w.acked(dm.CloseModal(w.ctx))
			w.told(dm, "Nothing saved.")
			if modal.PrivateMetadata == "" || modal.CallbackID != "edit" {
				t.Errorf("the modal is %+v", modal)
			}

			// The Home tab: an event, and a button without a message. The second event has the view in it, and is tried twice.
			w.acked(alice.OpenHome(w.ctx))
			home, err := alice.WaitHome(w.ctx, func(v slacksim.View) bool { return strings.Contains(v.PlainText(), "1 times") })
			w.must(err)
			w.acked(alice.ClickView(w.ctx, home, "again"))
			_, err = alice.WaitHome(w.ctx, func(v slacksim.View) bool { return strings.Contains(v.PlainText(), "2 times") })
			w.must(err)
			w.sim.InjectDelivery(slacksim.DeliveryFault{Kind: slacksim.AppHomeOpened, Times: 1, Lost: true})
			w.acked(alice.OpenHome(w.ctx))
			_, err = alice.WaitHome(w.ctx, func(v slacksim.View) bool { return strings.Contains(v.PlainText(), "1 times") })
			w.must(err)
			retry := w.sees(func(l line) bool { return l.Context["retryNum"] == 1.0 })
			if reason, _ := retry.Context["retryReason"].(string); retry.Type != "AppHomeOpened" || !strings.HasSuffix(reason, "timeout") {
				t.Errorf("Bolt takes a second try of %s to be for %q", retry.Type, reason)
			}

			told := w.hears()
			w.quiet()
			w.knowsPeople(told, alice.ID(), bob.ID(), dm.ID())
			w.matchesTypes(told)
		})
	}
}

// knowsPeople checks from whom, and from which workspace, Bolt takes each delivery to be.
func (w *workspace) knowsPeople(told []line, people ...string) {
	w.Helper()
	for _, l := range told {
		if l.Event != "received" {
			continue
		}
		if id, _ := l.Context["userId"].(string); !slices.Contains(people, id) {
			w.Errorf("%s is from the user %q", l.Type, id)
		}
		for key, want := range map[string]any{
			"teamId": slacksim.TeamID, "botId": slacksim.BotID, "botUserId": slacksim.BotUserID,
			"isEnterpriseInstall": false,
		} {
			if got := l.Context[key]; got != want {
				w.Errorf("%s: Bolt takes %s to be %v, want %v", l.Type, key, got, want)
			}
		}
	}
}

func TestBoltRefusesAWrongSignature(t *testing.T) {
	t.Parallel()
	w := start(t, httpMode, "SLACK_SIGNING_SECRET=another")
	alice := w.sim.Person("alice").In("general")
	d, err := alice.Command(w.ctx, "/hello World")
	w.must(err)
	if d.Acked || d.Error != slacksim.HTTPClientError || d.Status != http.StatusUnauthorized {
		t.Errorf("the command was answered: %s, status %d", d, d.Status)
	}
	w.told(alice, "/hello failed with the error \""+slacksim.HTTPClientError+"\"")
	if err := w.sim.VerifyURL(w.ctx); err == nil {
		t.Error("the Request URL was verified")
	}
	w.sees(func(l line) bool { return l.Event == "complaint" && strings.Contains(l.Text, "signature mismatch") })
	lines, _ := w.app.told()
	if slices.ContainsFunc(lines, func(l line) bool { return l.Event == "received" }) {
		t.Errorf("the app has received it: %+v", lines)
	}
}

// Slack renews each connection every few hours. Bolt leaves at any such message, and comes back.
func TestBoltReconnects(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{"warning", "refresh_requested"} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			w := start(t, socketMode)
			alice := w.sim.Person("alice").In("general")
			card := w.hello(alice, "World")
			w.sim.Disconnect(reason, 0)
			w.must(w.sim.Wait(w.ctx, func(s slacksim.State) bool { return s.Connected == 2 && s.Connections == 1 }))
			modal := w.edit(alice, card)
			w.acked(alice.Submit(w.ctx, modal, map[string]any{"name": "Alice"}))
			w.told(alice, "Saved by")
			w.hello(alice, "again")
			w.hears()
			w.quiet()
		})
	}
}
