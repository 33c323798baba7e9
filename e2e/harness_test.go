// Package e2e tests the built binary against a real Temporal server and the stand-in for Slack, over real sockets.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"

	"countersign/internal/codec"
	"countersign/internal/devserver"
	"countersign/internal/reference"
	"countersign/internal/slacksim"
	"countersign/workflows"
)

// shared is what all tests use: the binary, and a Temporal server.
var shared struct {
	binary   string
	temporal *devserver.Server
}

// buildFlags are those that the tests were built with.
var buildFlags []string

func TestMain(m *testing.M) {
	if os.Getenv(asBare) != "" {
		if err := bare(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "complete activities:", err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		// The tests wait more than they compute. With many more at once two processors are too busy for Slack's 3 s.
		_ = f.Value.Set("8")
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "countersign-e2e")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		shared.binary = filepath.Join(dir, "countersign")
		if out, err := exec.Command("go", append(append([]string{"build"}, buildFlags...), "-o", shared.binary, "countersign")...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
		shared.temporal, err = devserver.Start(context.Background(), devserver.Options{Log: os.Stderr})
		if err != nil {
			fmt.Fprintln(os.Stderr, "start Temporal:", err)
			return 1
		}
		defer shared.temporal.Stop()
		said, code := searches.report(m.Run())
		fmt.Println(said)
		return code
	}())
}

// patience is how long a test waits for anything. It is no measure of speed: it only ends a test that hangs.
const patience = 90 * time.Second

// world is one deployment: a workspace, a task queue, and the processes of the binary that serve them.
type world struct {
	*testing.T
	ctx      context.Context
	sim      *slacksim.Server
	url      string
	temporal client.Client
	queue    string
	env      []string
	http     bool
	written  written
}

// mode is a way by which Slack delivers.
type mode string

const (
	socketMode mode = "socket"
	httpMode   mode = "http"
)

// bothModes runs a test once for each way by which Slack delivers.
func bothModes(t *testing.T, test func(*world)) {
	t.Helper()
	t.Parallel()
	for _, m := range []mode{socketMode, httpMode} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			test(newWorld(t, m, shared.temporal.Address))
		})
	}
}

// newWorld makes a world without processes; env is added to theirs.
func newWorld(t *testing.T, m mode, temporal string, env ...string) *world {
	t.Helper()
	ctx, stop := context.WithTimeoutCause(t.Context(), patience, errors.New("waited for too long"))
	t.Cleanup(stop)
	app := manifest(t, m)
	sim := slacksim.New(slacksim.Options{Commands: commands(app)})
	sim.SetScopes(app.OAuthConfig.Scopes.Bot...)
	srv := httptest.NewServer(sim)
	t.Cleanup(srv.Close)
	t.Cleanup(sim.Close)
	sim.SetBaseURL(srv.URL)

	w := &world{
		T: t, ctx: ctx, sim: sim, url: srv.URL, http: m == httpMode,
		queue: strings.NewReplacer("/", "-", " ", "-").Replace(t.Name()) + fmt.Sprint(time.Now().UnixNano()),
	}
	w.env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(),
		"SLACK_BOT_TOKEN=" + slacksim.DefaultBotToken,
		"SLACK_API_URL=" + srv.URL + "/api/",
		"TEMPORAL_ADDRESS=" + temporal,
		"TASK_QUEUE=" + w.queue,
		"REFERENCE_KEYS=" + reference.NewKey(),
		"APPROVERS=" + sim.Person("bob").ID() + "," + sim.Person("carol").ID(),
		"LOG_LEVEL=debug",
	}, env...)
	if w.http {
		w.env = append(w.env, "SLACK_SIGNING_SECRET="+slacksim.DefaultSigningSecret, "LISTEN_ADDRESS=127.0.0.1:0")
	} else {
		w.env = append(w.env, "SLACK_APP_TOKEN="+slacksim.DefaultAppToken)
	}
	w.temporal = w.dial(temporal, w.variable("PAYLOAD_KEYS"))
	searches.deployed()
	w.Cleanup(w.checkSentences)
	return w
}

// ownTemporal starts a Temporal server on a database file, for a test that ends it. Started with these options it is the
// same server again.
func ownTemporal(t *testing.T) (*devserver.Server, devserver.Options) {
	t.Helper()
	o := devserver.Options{DBFile: filepath.Join(t.TempDir(), "temporal.db")}
	server, err := devserver.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	o.Address = server.Address
	return server, o
}

// variable is the value of a variable in the environment of the world's processes.
func (w *world) variable(name string) (value string) {
	for _, v := range w.env {
		if after, ok := strings.CutPrefix(v, name+"="); ok {
			value = after
		}
	}
	return value
}

// dial makes a client that has the payload keys, if any.
func (w *world) dial(address, payloadKeys string) client.Client {
	w.Helper()
	return w.dialIn(client.DefaultNamespace, address, payloadKeys)
}

func (w *world) dialIn(namespace, address, payloadKeys string) client.Client {
	w.Helper()
	o := client.Options{
		HostPort: address, Namespace: namespace, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
		DataConverter: converter.GetDefaultDataConverter(),
	}
	if payloadKeys != "" {
		keys, err := reference.ParseKeys(payloadKeys)
		w.must(err)
		o.DataConverter, o.FailureConverter = codec.Converters(codec.Codec{Keys: keys})
	}
	o.DataConverter = noting{o.DataConverter, &w.written}
	c, err := client.NewLazyClient(o) // It connects when it is used: on a busy machine that may take a while.
	w.must(err)
	w.Cleanup(c.Close)
	return c
}

// process is a running binary.
type process struct {
	*exec.Cmd
	log   *lines
	ended chan struct{}
	code  int
}

// start starts the binary as "countersign ROLE" and waits until it is ready.
func (w *world) start(role string, env ...string) *process {
	w.Helper()
	p := w.launch([]string{role}, env...)
	if role != "worker" && w.http {
		line := w.sees(p, `msg=listening address=(\S+)`)
		w.sim.SetRequestURL("http://" + line[1] + "/slack/events")
	}
	w.sees(p, `msg=ready`)
	return p
}

// launch starts the binary; env is added to the world's.
func (w *world) launch(args []string, env ...string) *process {
	w.Helper()
	cmd := exec.Command(shared.binary, args...)
	cmd.Env = append(append([]string{}, w.env...), env...)
	cmd.Dir = w.TempDir()
	return w.run("countersign "+args[0], cmd)
}

// run starts a program; it ends with the test at the latest.
func (w *world) run(name string, cmd *exec.Cmd) *process {
	w.Helper()
	p, err := spawn(cmd)
	w.must(err)
	w.Cleanup(func() {
		p.kill()
		if strings.Contains(p.log.String(), "DATA RACE") {
			w.Errorf("%s has a data race", name)
		}
		if strings.HasPrefix(filepath.Base(cmd.Path), "countersign") {
			w.search(name, p.log.String(), cmd.Env)
		}
		if w.Failed() {
			w.Logf("log of %s:\n%s", name, p.log)
		}
	})
	return p
}

// spawn starts a program, and keeps what it prints.
func spawn(cmd *exec.Cmd) (*process, error) {
	p := &process{Cmd: cmd, log: newLines(), ended: make(chan struct{})}
	p.Stdout, p.Stderr = p.log, p.log
	if err := p.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		_ = p.Wait()
		p.code = p.ProcessState.ExitCode()
	}()
	return p, nil
}

// kill ends the process as a crash does.
func (p *process) kill() {
	_ = p.Process.Kill()
	<-p.ended
}

// stop ends the process as an operator does, and checks that it ends well.
func (w *world) stop(p *process) {
	w.Helper()
	w.must(p.Process.Signal(syscall.SIGTERM))
	select {
	case <-p.ended:
	case <-w.ctx.Done():
		w.Fatal("the process did not stop on SIGTERM")
	}
	if p.code != 0 {
		w.Fatalf("exit code %d on SIGTERM, want 0", p.code)
	}
}

// sees waits for a line of the process's log and returns its submatches.
func (w *world) sees(p *process, pattern string) []string {
	w.Helper()
	m, err := p.log.wait(w.ctx, regexp.MustCompile(pattern), p.ended)
	if err != nil {
		w.Fatalf("no line %q in the log: %v", pattern, err)
	}
	return m
}

// again is false once the test has waited for too long. Before that it lets a moment pass, so that what is looked at has
// the processor.
func (w *world) again() bool {
	select {
	case <-time.After(20 * time.Millisecond):
		return true
	case <-w.ctx.Done():
		return false
	}
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// as is a person in the channel.
func (w *world) as(person, channel string) slacksim.Person { return w.sim.Person(person).In(channel) }

// unsure says whether a person was told that what they did may have counted, or not.
func unsure(told string) bool { return strings.Contains(told, "could not confirm") }

// inVain says whether a person was told to do what they did once more, as it did not count.
func inVain(told string) bool {
	return strings.Contains(told, "lease click again") || strings.Contains(told, "lease try again")
}

// command types a slash command. Where Temporal is too slow for Slack's 3 s, on a busy machine, and the person is told so,
// it comes again; what may have counted comes as another delivery of the same command, which counts once.
func (w *world) command(p slacksim.Person, line string) slacksim.Delivery {
	w.Helper()
	d, err := p.Command(w.ctx, line)
	w.must(err)
	for w.ctx.Err() == nil {
		switch told := string(d.Response); {
		case !d.Acked || unsure(told):
			w.Logf("%s comes again: %s", line, d)
			d, err = w.sim.Redeliver(w.ctx, d)
		case inVain(told):
			w.Logf("types %s again: %s", line, d)
			d, err = p.Command(w.ctx, line)
		default:
			return d
		}
		w.must(err)
	}
	w.Fatalf("%s was not taken: %s", line, d)
	return d
}

// greet starts a greeting as alice, by the slash command.
func (w *world) greet(channel, name string) slacksim.Delivery {
	w.Helper()
	return w.command(w.as("alice", channel), "/greet "+name)
}

// ask starts a greeting with Temporal's client, and returns the workflow's run.
func (w *world) ask(channel, name string) client.WorkflowRun {
	w.Helper()
	run, err := w.temporal.ExecuteWorkflow(w.ctx, client.StartWorkflowOptions{TaskQueue: w.queue}, workflows.Greeting,
		workflows.GreetingInput{Name: name, Channel: w.sim.Channel(channel).ID, RequestedBy: w.sim.Person("alice").ID()})
	w.must(err)
	return run
}

// card waits for an open card in the channel that says what.
func (w *world) card(channel, what string) slacksim.Message {
	w.Helper()
	return w.message(channel, func(m slacksim.Message) bool {
		return slacksim.Contains(what)(m) && slacksim.HasButton("approve")(m)
	})
}

// closed waits until a card has no buttons, and says all of what; it returns it.
func (w *world) closed(card slacksim.Message, what ...string) slacksim.Message {
	w.Helper()
	got := w.message(card.Channel, func(m slacksim.Message) bool {
		return m.TS == card.TS && len(m.Buttons()) == 0
	})
	for _, s := range what {
		if !strings.Contains(got.PlainText(), s) || !strings.Contains(got.Text, s) {
			w.Errorf("closed card says %q and %q, want %q in both", got.PlainText(), got.Text, s)
		}
	}
	return got
}

func (w *world) message(channel string, match func(slacksim.Message) bool) slacksim.Message {
	w.Helper()
	m, err := w.sim.WaitMessage(w.ctx, channel, match)
	if err != nil {
		w.Fatalf("no such message: %v\nmessages: %+v", err, w.sim.Messages(channel))
	}
	return m
}

// reply waits for a line in a message's thread.
func (w *world) reply(card slacksim.Message, what string) slacksim.Message {
	w.Helper()
	return w.message(card.Channel, func(m slacksim.Message) bool {
		return m.ThreadTS == card.TS && m.TS != card.TS && slacksim.Contains(what)(m)
	})
}

// click clicks a button and checks whether the click was acknowledged. Where Temporal is too slow for Slack's 3 s, on a
// busy machine, the person is told that the click may not count, or, where several clicked at once, that it does not, and
// clicks again; to be told nothing is a failure.
func (w *world) click(p slacksim.Person, card slacksim.Message, action string, acked bool) {
	w.Helper()
	for unacked := 0; unacked < 3; {
		told := len(p.Ephemerals(card.Channel))
		d, err := p.Click(w.ctx, card, action)
		w.must(err)
		if d.Acked && acked && slices.ContainsFunc(p.Ephemerals(card.Channel)[told:], func(m slacksim.Message) bool { return inVain(m.Text) }) {
			w.Logf("clicks again: %s; told %q", d, p.Ephemerals(card.Channel)[told].Text)
			p = p.Force()
			continue
		}
		if d.Acked == acked {
			return
		}
		unacked++
		if !acked {
			w.Fatalf("a click was acknowledged that could not be: %s", d)
		}
		w.must(w.sim.Wait(w.ctx, func(slacksim.State) bool { return len(p.Ephemerals(card.Channel)) > told }))
		w.Logf("clicks again: %s; told %q", d, p.Ephemerals(card.Channel)[told].Text)
		p = p.Force() // The click may have counted, and the card be closed.
	}
	w.Fatal("three clicks were not acknowledged")
}

// told waits for a private message to the person.
func (w *world) told(p slacksim.Person, what string) slacksim.Message {
	w.Helper()
	m, err := p.WaitEphemeral(w.ctx, slacksim.Contains(what))
	if err != nil {
		w.Fatalf("nobody told %s %q: %v; private messages: %+v", p.ID(), what, err, p.Ephemerals(p.Channel()))
	}
	return m
}

// lines is a log that can be waited for.
type lines struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func newLines() *lines { return &lines{changed: make(chan struct{})} }

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) wait(ctx context.Context, pattern *regexp.Regexp, ended <-chan struct{}) ([]string, error) {
	for {
		l.mu.Lock()
		text, changed := l.text.String(), l.changed
		l.mu.Unlock()
		if m := pattern.FindStringSubmatch(text); m != nil {
			return m, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-ended:
			return nil, fmt.Errorf("the process ended: %s", text)
		}
	}
}
