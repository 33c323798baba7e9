package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"countersign/internal/devserver"
	"countersign/internal/reference"
	"countersign/internal/slacksim"
	"countersign/workflows"
)

var (
	measure  = flag.String("measure", "", "what TestBench measures at full length: all, or some of reference,ready,clicks,growth,pacing")
	profiles = flag.String("measure.profiles", "", "a folder for profiles of the bot's CPU while it has clicks, and its heap with many open approvals")
)

// sizes are how much of everything TestBench does.
type sizes struct {
	pairs, clicks, concurrency int // pairs of runs, and the clicks of each
	rate                       int // clicks at half of the maximum rate
	burst                      int // clicks at four times that rate
	few, many                  int // open approvals
	batches, lives             int // of approvals from asking to the closed card
	race                       int // people at once
	posts                      int // to one channel at once
	starts                     int // of a process
}

var (
	full  = sizes{pairs: 24, clicks: 200, concurrency: 16, rate: 3000, burst: 4000, few: 100, many: 10_000, batches: 10, lives: 100, race: 100, posts: 60, starts: 15}
	brief = sizes{pairs: 1, clicks: 20, concurrency: 4, rate: 20, burst: 40, few: 5, many: 20, batches: 1, lives: 5, race: 10, posts: 5, starts: 1}
)

// TestBench measures what a click costs, and prints it: make bench. Everything is measured in one run, on one machine, and
// most of it against something else of the same run. Times fail nothing. What fails is what is wrong at any speed: clicks
// that are lost, or not answered.
//
// Among the other tests it is short, says nothing about speed, and shows that it works.
func TestBench(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells the CPU time of another process while it runs")
	}
	t.Parallel()
	b := &bench{T: t, sizes: brief, tries: 5, begin: time.Now()}
	within := 4 * time.Minute
	if *measure != "" {
		b.sizes, b.tries, within = full, 1, time.Hour
	}
	ctx, stop := context.WithTimeout(t.Context(), within)
	defer stop()
	b.ctx, b.fail = context.WithCancelCause(ctx)
	defer b.fail(nil)

	parts := map[string]func(){"reference": b.reference, "ready": b.ready, "clicks": b.clicks, "growth": b.growth, "pacing": b.pacing}
	order := []string{"reference", "ready", "clicks", "growth", "pacing"}
	chosen := order
	if *measure != "" && *measure != "all" {
		chosen = strings.Split(*measure, ",")
	}
	for _, name := range chosen {
		if parts[name] == nil {
			t.Fatalf("there is no %q to measure: there are %q, and all", name, order)
		}
	}
	if *profiles != "" {
		b.must(os.MkdirAll(*profiles, 0o700))
	}
	for _, name := range chosen {
		b.part(name, parts[name])
	}
	b.report()
}

// part measures something with a Temporal server of its own, on which nothing is left of what was measured before.
func (b *bench) part(name string, do func()) {
	b.say("measuring: %s", name)
	server, err := devserver.Start(b.ctx, devserver.Options{Metrics: true, Log: os.Stderr})
	b.must(err)
	defer server.Stop()
	b.address, b.metrics = server.Address, server.Metrics
	b.temporal, err = client.DialContext(b.ctx, client.Options{HostPort: b.address, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	b.must(err)
	defer b.temporal.Close()
	do()
	for _, s := range b.sites {
		s.stop()
	}
	b.sites = nil
}

// bench is a run of TestBench.
type bench struct {
	*testing.T
	sizes
	ctx      context.Context
	fail     context.CancelCauseFunc
	tries    int // of a click: on a machine that does other things too one may come too late
	begin    time.Time
	address  string // of Temporal
	metrics  string // URL of what it counts
	temporal client.Client
	sites    []*site // whose processes run
	figures  []figure
}

// figure is one thing that was measured.
type figure struct {
	name  string
	value float64
	unit  string
	goal  string // "≤ 300"; empty: it has none
	met   bool
	about string
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		if cause := context.Cause(b.ctx); cause != nil {
			err = cause
		}
		b.Fatal(err)
	}
}

// say shows how far it is.
func (b *bench) say(format string, args ...any) {
	if *measure != "" {
		fmt.Printf("%6.0f s  %s\n", time.Since(b.begin).Seconds(), fmt.Sprintf(format, args...))
	}
}

func (b *bench) figure(name string, value float64, unit, about string) {
	b.figures = append(b.figures, figure{name: name, value: value, unit: unit, met: true, about: about})
	b.say("%s %s %s", name, number(value), unit)
}

func (b *bench) atMost(goal float64, name string, value float64, unit, about string) {
	b.figure(name, value, unit, about)
	f := &b.figures[len(b.figures)-1]
	f.goal, f.met = "≤ "+number(goal), value <= goal
}

func (b *bench) atLeast(goal float64, name string, value float64, unit, about string) {
	b.figure(name, value, unit, about)
	f := &b.figures[len(b.figures)-1]
	f.goal, f.met = "≥ "+number(goal), value >= goal
}

// exactly is a figure that is wrong at any speed, where it is another.
func (b *bench) exactly(want int, name string, value int, unit, about string) {
	b.Helper()
	b.figure(name, float64(value), unit, about)
	f := &b.figures[len(b.figures)-1]
	f.goal, f.met = strconv.Itoa(want), value == want
	if !f.met {
		b.Errorf("%s is %d, want %d", name, value, want)
	}
}

// number shows three digits, and no exponent.
func number(v float64) string {
	digits := 0
	if v != 0 && math.Abs(v) < 100 {
		digits = 2 - int(math.Floor(math.Log10(math.Abs(v))))
	}
	s := strconv.FormatFloat(v, 'f', digits, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// report prints the figures, as a table and for programs.
func (b *bench) report() {
	if *measure == "" {
		return
	}
	fmt.Printf("\n%d processors, which the bot shares with Temporal, with the stand-in for Slack, and with who clicks.\n\n", runtime.NumCPU())
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "figure\tvalue\tunit\tgoal\t\twhat it is")
	for _, f := range b.figures {
		met := ""
		if f.goal != "" {
			met = map[bool]string{true: "met", false: "MISSED"}[f.met]
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", f.name, number(f.value), f.unit, f.goal, met, f.about)
	}
	_ = w.Flush()
	fmt.Println()
	for _, f := range b.figures {
		fmt.Println("bench", f.name, number(f.value), f.unit)
	}
}

// quantile is the value below which the p-th part of all is: 0.5 is the median. Between two it is in the middle.
func quantile(all []float64, p float64) float64 {
	all = slices.Sorted(slices.Values(all))
	at := p * float64(len(all)-1)
	return (all[int(math.Floor(at))] + all[int(math.Ceil(at))]) / 2
}

// median is the middle one, with the quartiles.
func median(all []float64) (low, middle, high float64) {
	return quantile(all, 0.25), quantile(all, 0.5), quantile(all, 0.75)
}

func milliseconds(all []time.Duration) []float64 {
	ms := make([]float64, len(all))
	for i, d := range all {
		ms[i] = float64(d) / float64(time.Millisecond)
	}
	return ms
}

// get is what is at a URL.
func (b *bench) get(url string) []byte {
	b.Helper()
	resp, err := http.Get(url)
	b.must(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	b.must(err)
	return text
}

// actions is how many actions Temporal has counted, of those that Temporal Cloud bills.
// https://docs.temporal.io/cloud/migrate/estimate-actions
func (b *bench) actions() (sum float64) {
	b.Helper()
	lines := regexp.MustCompile(`(?m)^action\{[^}]*\bnamespace="default"[^}]*\} (\S+)$`).FindAllSubmatch(b.get(b.metrics), -1)
	if len(lines) == 0 {
		b.Fatalf("Temporal counts no actions at %s", b.metrics)
	}
	for _, m := range lines {
		n, err := strconv.ParseFloat(string(m[1]), 64)
		b.must(err)
		sum += n
	}
	return sum
}

// reference measures what it takes to open a reference.
func (b *bench) reference() {
	if *measure == "" {
		return
	}
	keys, err := reference.ParseKeys(reference.NewKey() + "," + reference.NewKey())
	b.must(err)
	sealed, err := keys.Seal(reference.Reference{
		Namespace: "default", WorkflowID: "6f1d2c3b-4a5e-4f60-8b7c-9d0e1f2a3b4c", RunID: "0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b",
		ActivityID: "approval-decision-1-0f1e2d3", Requester: "U0123456789", Users: []string{"U0000000001", "U0000000002", "U0000000003"},
		Groups: []string{"S0123456789"}, Until: time.Now(),
	})
	b.must(err)
	r := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := keys.Open(sealed); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.atMost(10_000, "open_reference_ns", float64(r.NsPerOp()), "ns", "to open a reference that names three people and a group")
	b.figure("open_reference_allocs", float64(r.AllocsPerOp()), "allocations", "for that")
	b.figure("open_reference_bytes", float64(r.AllocedBytesPerOp()), "bytes", "for that")
}

// cached is how many workflows a worker keeps in memory.
const cached = 1000

// site is a deployment, with a bot and a worker of their own processes.
type site struct {
	*bench
	mode  mode
	sim   *slacksim.Server
	front *httptest.Server // before sim: it takes what people are told at /told/N as well
	queue string
	env   []string
	keys  *reference.Keys
	rooms []slacksim.Channel // each with a requester of its own

	bot, worker *server

	mu     sync.Mutex
	cards  map[string]chan string    // by title: the references of the cards that are posted
	closed map[string]chan time.Time // by title: when the cards lost their buttons
	told   map[string][]string       // by N
	posts  map[string][]time.Time    // by channel: when messages were posted
}

// server is a process that serves.
type server struct {
	*process
	killed  atomic.Bool
	admin   string // URL
	address string // of the bot's door
}

// titled finds the title of a request in what is posted.
var titled = regexp.MustCompile(`Deploy \d{6}`)

// sealed finds the reference of a card's buttons.
var sealed = regexp.MustCompile(`"value":"(v1\.[^"]+)"`)

func (b *bench) newSite(m mode, o slacksim.Options, rooms int) *site {
	b.Helper()
	app := manifest(b.T, m)
	o.Commands = commands(app)
	s := &site{
		bench: b, mode: m, sim: slacksim.New(o), queue: fmt.Sprintf("bench-%d", time.Now().UnixNano()),
		cards: map[string]chan string{}, closed: map[string]chan time.Time{}, told: map[string][]string{}, posts: map[string][]time.Time{},
	}
	s.sim.SetScopes(app.OAuthConfig.Scopes.Bot...)
	s.front = httptest.NewServer(http.HandlerFunc(s.serve))
	b.Cleanup(s.front.Close)
	b.Cleanup(s.sim.Close)
	s.sim.SetBaseURL(s.front.URL)
	for n := range rooms {
		who := fmt.Sprintf("requester-%d", n)
		s.sim.AddPerson(slacksim.User{Name: who})
		s.rooms = append(s.rooms, s.sim.AddChannel(slacksim.Channel{Name: fmt.Sprintf("room-%d", n), Members: []string{slacksim.BotUserID, who, "bob"}}))
	}
	key := reference.NewKey()
	var err error
	s.keys, err = reference.ParseKeys(key)
	b.must(err)
	s.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + b.TempDir(), "ADMIN_ADDRESS=127.0.0.1:0",
		"SLACK_BOT_TOKEN=" + slacksim.DefaultBotToken, "SLACK_API_URL=" + s.front.URL + "/api/",
		"TEMPORAL_ADDRESS=" + b.address, "TASK_QUEUE=" + s.queue, "REFERENCE_KEYS=" + key, "APPROVERS=channel",
		fmt.Sprint("STICKY_CACHE_SIZE=", cached),
	}
	if m == httpMode {
		s.env = append(s.env, "SLACK_SIGNING_SECRET="+slacksim.DefaultSigningSecret, "LISTEN_ADDRESS=127.0.0.1:0")
	} else {
		s.env = append(s.env, "SLACK_APP_TOKEN="+slacksim.DefaultAppToken)
	}
	b.sites = append(b.sites, s)
	return s
}

// end ends the process.
func (p *server) end() {
	p.killed.Store(true)
	p.kill()
}

// start starts a process, and waits until it is ready.
func (s *site) start(role string) *server {
	s.Helper()
	cmd := exec.Command(shared.binary, role)
	cmd.Env, cmd.Dir = s.env, s.TempDir()
	started, err := spawn(cmd)
	s.must(err)
	p := &server{process: started}
	go func() {
		if <-p.ended; !p.killed.Load() {
			s.fail(fmt.Errorf("%s ended by itself: %s", role, p.log))
		}
	}()
	s.Cleanup(func() {
		p.end()
		if *measure == "" {
			searchLog(s.T, role, p.log.String(), secretsOf(s.env, s.sim))
		}
		if s.Failed() {
			s.Logf("log of %s:\n%.20000s", role, p.log)
		}
	})
	sees := func(pattern string) string {
		m, err := p.log.wait(s.ctx, regexp.MustCompile(pattern), p.ended)
		s.must(err)
		return m[len(m)-1]
	}
	p.admin = "http://" + sees(`admin=(\S+)`)
	if role != "worker" && s.mode == httpMode {
		p.address = sees(`msg=listening address=(\S+)`)
		s.sim.SetRequestURL("http://" + p.address + "/slack/events")
	}
	sees(`msg=ready`)
	return p
}

// stop ends the site's processes.
func (s *site) stop() {
	for _, p := range []*server{s.bot, s.worker} {
		if p != nil {
			p.end()
		}
	}
}

// heap is how much of a process's memory is in use, after a collection.
func (s *site) heap(p *server) float64 {
	s.Helper()
	var in float64
	for range 3 { // What pools hold goes with the second one.
		text := s.get(p.admin + "/debug/pprof/heap?gc=1&debug=1")
		m := regexp.MustCompile(`# HeapAlloc = (\d+)`).FindSubmatch(text)
		if m == nil {
			s.Fatalf("no heap in %.500q", text)
		}
		in, _ = strconv.ParseFloat(string(m[1]), 64)
	}
	return in
}

// profile saves a profile of a process in the folder for them, if there is one.
func (s *site) profile(p *server, which, name string) {
	if *profiles == "" {
		return
	}
	resp, err := http.Get(p.admin + "/debug/pprof/" + which)
	if err != nil {
		s.Error(err)
		return
	}
	defer resp.Body.Close()
	file := filepath.Join(*profiles, name+".pb.gz")
	text, err := io.ReadAll(resp.Body)
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		s.Error(err)
		return
	}
	s.say("go tool pprof %s", file)
}

// serve is what stands before the stand-in: response URLs of our own, and Slack.
func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	method := path.Base(r.URL.Path)
	n, told := strings.CutPrefix(r.URL.Path, "/told/")
	if !told && method != "chat.postMessage" && method != "chat.update" {
		s.sim.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if told {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.told[n] = append(s.told[n], string(body))
		_, _ = io.WriteString(w, "ok")
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer := httptest.NewRecorder()
	s.sim.ServeHTTP(answer, r)
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
	if form, err := url.ParseQuery(string(body)); err == nil && strings.Contains(answer.Body.String(), `"ok":true`) {
		s.performed(method, form)
	}
}

// performed looks at what Slack has carried out.
func (s *site) performed(method string, form url.Values) {
	now, title := time.Now(), titled.FindString(form.Get("text"))
	value := sealed.FindStringSubmatch(form.Get("blocks"))
	s.mu.Lock()
	defer s.mu.Unlock()
	if method == "chat.postMessage" {
		s.posts[form.Get("channel")] = append(s.posts[form.Get("channel")], now)
	}
	switch {
	case method == "chat.postMessage" && value != nil:
		hand(s.cards, title, value[1])
	case method == "chat.update" && value == nil:
		hand(s.closed, title, now)
	}
}

// hand hands v to who waits for it, if somebody does.
func hand[T any](all map[string]chan T, title string, v T) {
	if c, ok := all[title]; ok {
		c <- v
		delete(all, title)
	}
}

// await is where the first one about a title will come.
func await[T any](s *site, all map[string]chan T, title string) <-chan T {
	s.mu.Lock()
	defer s.mu.Unlock()
	all[title] = make(chan T, 1)
	return all[title]
}

// ask starts an approval in one of the rooms, for bob to decide.
func (s *site) ask(title string, room slacksim.Channel) (client.WorkflowRun, error) {
	return s.askOf(title, room, workflows.Approvers{Users: []string{s.sim.Person("bob").ID()}}, room.Members[1])
}

func (s *site) askOf(title string, room slacksim.Channel, who workflows.Approvers, requester string) (client.WorkflowRun, error) {
	return s.temporal.ExecuteWorkflow(s.ctx, client.StartWorkflowOptions{TaskQueue: s.queue}, workflows.Approval, workflows.Request{
		Title: title, Channel: room.ID, Requester: requester, RejectReason: workflows.Off, Approvers: who,
	})
}

// payload is a click as Slack delivers it, on a card that is really there; its reference and its addresses are then
// others.
func (s *site) payload() map[string]any {
	s.Helper()
	title := s.title()
	_, err := s.ask(title, s.rooms[0])
	s.must(err)
	card, err := s.sim.WaitMessage(s.ctx, s.rooms[0].ID, func(m slacksim.Message) bool {
		return slacksim.Contains(title)(m) && slacksim.HasButton("approve")(m)
	})
	s.must(err)
	d, err := s.sim.Person("bob").In(s.rooms[0].Name).Click(s.ctx, card, "approve")
	s.must(err)
	if !d.Acked {
		s.Fatalf("the first click was not acknowledged: %s", d)
	}
	var p map[string]any
	s.must(json.Unmarshal(d.Payload, &p))
	return p
}

// with is the payload with another reference, and another response URL.
func (s *site) with(p map[string]any, reference, told string) map[string]any {
	action := maps.Clone(p["actions"].([]any)[0].(map[string]any))
	action["value"] = reference
	other := maps.Clone(p)
	other["actions"], other["response_url"], other["trigger_id"] = []any{action}, s.front.URL+"/told/"+told, told
	return other
}

// ready measures how long a process takes until it is ready.
func (b *bench) ready() {
	for _, m := range []mode{socketMode, httpMode} {
		s := b.newSite(m, slacksim.Options{}, 0)
		var took []time.Duration
		for range b.sizes.starts {
			took = append(took, s.takes())
		}
		_, ms, _ := median(milliseconds(took))
		name := map[mode]string{socketMode: "ready_ms", httpMode: "ready_http_ms"}[m]
		b.atMost(500, name, ms, "ms", "from exec to /readyz saying so, of bot and worker in one process; servers running")
	}
}

// takes is how long it takes until a process says that it is ready.
func (s *site) takes() time.Duration {
	s.Helper()
	cmd := exec.Command(shared.binary, "run")
	cmd.Env, cmd.Dir = s.env, s.TempDir()
	begin := time.Now()
	p, err := spawn(cmd)
	s.must(err)
	defer p.kill()
	admin, err := p.log.wait(s.ctx, regexp.MustCompile(`admin=(\S+)`), p.ended)
	s.must(err)
	for s.ctx.Err() == nil {
		if resp, err := http.Get("http://" + admin[1] + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return time.Since(begin)
			}
		}
		select {
		case <-p.ended:
			s.Fatalf("the process ended: %s", p.log)
		case <-time.After(time.Millisecond):
		}
	}
	s.must(s.ctx.Err())
	return 0
}
