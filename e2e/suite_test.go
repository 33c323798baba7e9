package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"countersign/internal/reference"
	"countersign/internal/slacksim"
)

// suite is a deployment that everything befalls: Slack, two bots and two workers, of one way by which Slack delivers.
type suite struct {
	*testing.T
	ctx      context.Context
	mode     mode
	seed     uint64
	sim      *slacksim.Server
	front    *httptest.Server // what stands between the processes and Slack
	address  string           // of Temporal
	temporal client.Client
	queue    string
	env      []string
	dir      string

	all    map[int]*asked
	byUser map[string]*asked

	calm    atomic.Bool // only the planned kills that have not fallen yet still do
	over    atomic.Bool // nothing does, and processes may end
	kills   atomic.Int64
	latest  atomic.Pointer[sight] // what people see
	running sync.WaitGroup        // processes
	people  sync.WaitGroup

	opening sync.Mutex // one socket is opened at a time

	mu      sync.Mutex
	lives   map[string]*life // by the process's name: the one that runs
	ever    []*life          // in their order
	sockets map[int]*life    // by Slack's number: whose they are
	taken   map[string]*life // who had a delivery by HTTP, by its trigger
	turn    int              // of the bots, to have one by HTTP
	cut     []time.Time      // when sockets were
	thrown  map[string]int   // how often the dice were, by the sort of thing
	fell    map[int]bool     // whether the kill that is planned for a request has fallen
	clicks  []*click
}

// life is one life of a process, from its start to its kill.
type life struct {
	*process
	name    string
	address string // of a bot that listens
	killed  time.Time
}

// sight is what people see at a moment.
type sight struct {
	slacksim.State
	cards map[int]slacksim.Message
}

func newSuite(t *testing.T, ctx context.Context, m mode, seed uint64, temporal string, all []*asked) *suite {
	t.Helper()
	app := manifest(t, m)
	s := &suite{
		T: t, ctx: ctx, mode: m, seed: seed, address: temporal, queue: fmt.Sprintf("faults-%d-%s", seed, m), dir: t.TempDir(),
		sim: slacksim.New(slacksim.Options{Commands: commands(app), RateLimit: true}),
		all: map[int]*asked{}, byUser: map[string]*asked{}, lives: map[string]*life{}, sockets: map[int]*life{},
		taken: map[string]*life{}, thrown: map[string]int{}, fell: map[int]bool{},
	}
	s.sim.SetScopes(app.OAuthConfig.Scopes.Bot...)
	s.front = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.front.Close)
	t.Cleanup(s.sim.Close)
	s.sim.SetBaseURL(s.front.URL)
	s.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(),
		"SLACK_BOT_TOKEN=" + slacksim.DefaultBotToken, "TASK_QUEUE=" + s.queue, "REFERENCE_KEYS=" + reference.NewKey(),
		"APPROVERS=channel",
	}
	if m == httpMode {
		s.env = append(s.env, "SLACK_SIGNING_SECRET="+slacksim.DefaultSigningSecret, "LISTEN_ADDRESS=127.0.0.1:0")
		s.sim.SetRequestURL(s.front.URL + "/slack/events")
	} else {
		s.env = append(s.env, "SLACK_APP_TOKEN="+slacksim.DefaultAppToken)
	}
	members := map[string][]string{}
	for _, a := range all {
		if a.mode != m {
			continue
		}
		s.all[a.n] = a
		for _, p := range a.actors {
			p.Person = s.sim.AddPerson(slacksim.User{Name: p.name}).In(a.place)
			s.byUser[p.ID()] = a
			members[a.place] = append(members[a.place], p.name)
			if a.kind == roles {
				s.sim.AddGroup(slacksim.Group{Handle: p.name, Members: []string{p.name}})
			}
		}
	}
	for name, people := range members {
		s.sim.AddChannel(slacksim.Channel{Name: name, Members: append(people, slacksim.BotUserID, "alice")})
	}
	for _, a := range s.all {
		a.channel = s.sim.Channel(a.place).ID
	}
	s.sim.OnCall(s.meets)
	s.sim.OnDelivery(s.deliver)
	s.sim.OnAck(s.acked)
	s.temporal = (&world{T: t}).dial(temporal, "")
	s.look()
	return s
}

// wait lets time pass; it is false once there is none left.
func (s *suite) wait(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-s.ctx.Done():
		return false
	}
}

// look looks at the workspace, for all who wait for something there.
func (s *suite) look() {
	now := &sight{State: s.sim.State(), cards: map[int]slacksim.Message{}}
	for _, m := range now.Messages {
		if m.To != "" || m.ThreadTS != "" {
			continue
		}
		if a := s.all[about(m.Text)]; a != nil && isCard(m, a) {
			if _, ok := now.cards[a.n]; !ok {
				now.cards[a.n] = m
			}
		}
	}
	s.latest.Store(now)
}

// named finds the number of a request in its title, and in the ID of its workflow.
var named = regexp.MustCompile(`Request (\d{4,}) of |faults-\d+-(\d{4,})`)

// about is the number of the request that a text is about, -1 where it is about none.
func about(text string) int {
	m := named.FindStringSubmatch(text)
	if m == nil {
		return -1
	}
	n, _ := strconv.Atoi(m[1] + m[2])
	return n
}

// isCard tells the card of a request: what the requester is told in a direct message is none.
func isCard(m slacksim.Message, a *asked) bool {
	return m.Bot && m.Channel == a.channel && m.To == "" && m.ThreadTS == "" && strings.Contains(m.Text, a.title()) && m.Text != a.greets()
}

// keep keeps a process running, whoever kills it.
func (s *suite) keep(role string, number int) {
	name := fmt.Sprintf("%s-%d", role, number)
	way := onTheWay(s.T, s.address, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		s.toTemporal(name, w, r, next)
	})
	s.running.Go(func() {
		for n := 0; s.ctx.Err() == nil && !s.over.Load(); n++ {
			l, err := s.launch(role, name, way)
			if err != nil {
				s.Errorf("start %s: %v", name, err)
			}
			if l == nil {
				return
			}
			select {
			case <-l.ended:
			case <-s.ctx.Done():
			}
			s.mu.Lock()
			byUs := !l.killed.IsZero() || s.ctx.Err() != nil || s.over.Load()
			s.mu.Unlock()
			if !byUs {
				s.Errorf("%s ended by itself, with exit code %d:\n%s", name, l.code, l.log)
			}
			s.wait(between(dice(s.seed, "restart "+name, n), 100*time.Millisecond, 1500*time.Millisecond))
		}
	})
}

// launch starts a process; it is nil where none starts any more.
func (s *suite) launch(role, name, way string) (*life, error) {
	cmd := exec.Command(shared.binary, role)
	cmd.Dir = s.dir
	cmd.Env = append(slices.Clone(s.env), "TEMPORAL_ADDRESS="+way, "SLACK_API_URL="+s.front.URL+"/of/"+name+"/api/")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over.Load() {
		return nil, nil
	}
	p, err := spawn(cmd)
	if err != nil {
		return nil, err
	}
	l := &life{name: name, process: p}
	s.lives[name] = l
	s.ever = append(s.ever, l)
	go func() {
		if m, err := l.log.wait(s.ctx, regexp.MustCompile(`msg=listening address=(\S+)`), l.ended); err == nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			l.address = m[1]
		}
	}()
	return l, nil
}

// end ends all processes.
func (s *suite) end() {
	s.mu.Lock()
	s.over.Store(true)
	s.mu.Unlock()
	for _, l := range s.alive("") {
		l.kill()
	}
	s.running.Wait()
	for _, l := range s.ever {
		if strings.Contains(l.log.String(), "DATA RACE") {
			s.Errorf("%s has a data race:\n%s", l.name, l.log)
		}
	}
}

// search fails the test where the log of one of the processes has anything in it that must not stand there.
func (s *suite) search() {
	written := typed(s.sim.Deliveries())
	for _, a := range s.all {
		written = append(written, a.title())
	}
	forbidden := append(secretsOf(s.env, s.sim), textsOf(written...)...)
	for _, l := range s.ever {
		searchLog(s.T, l.name, strings.ReplaceAll(l.log.String(), s.queue, "QUEUE"), forbidden)
	}
}

// alive are the processes of a role that run.
func (s *suite) alive(role string) (all []*life) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, l := range s.lives {
		if strings.HasPrefix(name, role) && l.killed.IsZero() {
			all = append(all, l)
		}
	}
	return all
}

// kill ends a process as a crash does.
func (s *suite) kill(l *life) {
	s.mu.Lock()
	first := l.killed.IsZero()
	if first {
		l.killed = time.Now()
	}
	s.mu.Unlock()
	if first {
		s.kills.Add(1)
		l.kill()
	}
}

// falls reports whether the kill that is planned for a request falls at this call. It falls once.
func (s *suite) falls(a *asked, method, body string) bool {
	if a == nil || a.kill == nil || s.over.Load() || !a.kill.fits(method, body) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fell[a.n] {
		return false
	}
	s.fell[a.n] = true
	return true
}

// pass hands a call of a process on, and kills the process before or after, if that is planned. What was to be killed
// after the call was carried out, and was not, is still to be killed.
func (s *suite) pass(name, method, body string, w http.ResponseWriter, r *http.Request, next http.Handler, done func(*httptest.ResponseRecorder) bool) {
	a := s.all[about(body)]
	if !s.falls(a, method, body) {
		next.ServeHTTP(w, r)
		return
	}
	s.mu.Lock()
	l := s.lives[name]
	s.mu.Unlock()
	if a.kill.after {
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		if !done(answer) {
			s.mu.Lock()
			s.fell[a.n] = false
			s.mu.Unlock()
		}
	}
	s.kill(l)
	panic(http.ErrAbortHandler)
}

// toTemporal is what a process's calls to Temporal pass.
func (s *suite) toTemporal(name string, w http.ResponseWriter, r *http.Request, next http.Handler) {
	method := path.Base(r.URL.Path)
	if !slices.ContainsFunc(points, func(p point) bool { return p.method != "" && strings.HasPrefix(method, p.method) }) {
		next.ServeHTTP(w, r)
		return
	}
	frame, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(frame))
	s.pass(name, method, unframed(frame), w, r, next, func(answer *httptest.ResponseRecorder) bool {
		status := answer.Header().Get("Grpc-Status")
		return status == "" || status == "0" // It comes in a trailer where all is well.
	})
}

// unframed is the message of a gRPC frame, with what is text in it. https://grpc.io/docs/what-is-grpc/core-concepts
func unframed(frame []byte) string {
	if len(frame) < 5 {
		return ""
	}
	message := frame[5:]
	if frame[0] == 1 { // it is compressed
		z, err := gzip.NewReader(bytes.NewReader(message))
		if err != nil {
			return ""
		}
		message, _ = io.ReadAll(z)
	}
	return string(message)
}

// serve is what stands between Slack and the processes. Each has its own path to Slack's methods, /of/NAME/api/, so that
// a call can be told from those of others; and the Request URL leads to any bot that runs.
func (s *suite) serve(w http.ResponseWriter, r *http.Request) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/of/")
	switch {
	case r.URL.Path == "/slack/events":
		s.toBot(w, r)
		return
	case !ok:
		s.sim.ServeHTTP(w, r)
		return
	}
	name, rest, _ := strings.Cut(rest, "/")
	r.URL.Path = "/" + rest
	switch method := path.Base(rest); {
	case rest == "socket":
		s.socket(name, w, r)
	case method == "apps.connections.open":
		answer := httptest.NewRecorder()
		s.sim.ServeHTTP(answer, r)
		w.WriteHeader(answer.Code)
		_, _ = io.WriteString(w, strings.Replace(answer.Body.String(), "/socket?", "/of/"+name+"/socket?", 1))
	case slices.ContainsFunc(points, func(p point) bool { return p.method == method }):
		form, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(form))
		body, _ := url.QueryUnescape(string(form))
		s.pass(name, method, body, w, r, s.sim, func(answer *httptest.ResponseRecorder) bool {
			return strings.Contains(answer.Body.String(), `"ok":true`)
		})
	default:
		s.sim.ServeHTTP(w, r)
	}
}

// socket opens a socket, and keeps whose it is.
func (s *suite) socket(name string, w http.ResponseWriter, r *http.Request) {
	s.opening.Lock()
	before := s.sim.State().Connected
	ctx, served := context.WithCancel(s.ctx)
	go func() {
		defer served()
		s.sim.ServeHTTP(w, r)
	}()
	if s.sim.Wait(ctx, func(st slacksim.State) bool { return st.Connected > before }) == nil {
		s.mu.Lock()
		s.sockets[before+1] = s.lives[name]
		s.mu.Unlock()
	}
	s.opening.Unlock()
	<-ctx.Done()
}

// toBot hands a delivery to one of the bots that listen.
func (s *suite) toBot(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	bots := slices.DeleteFunc(s.alive("bot"), func(l *life) bool { return l.address == "" })
	if len(bots) == 0 {
		http.Error(w, "nobody is there", http.StatusBadGateway)
		return
	}
	slices.SortFunc(bots, func(a, b *life) int { return strings.Compare(a.name, b.name) })
	s.mu.Lock()
	s.turn++
	l := bots[s.turn%len(bots)]
	if m := regexp.MustCompile(`"trigger_id":"([^"]+)"`).FindStringSubmatch(formOf(body)); m != nil {
		s.taken[m[1]] = l
	}
	s.mu.Unlock()
	(&httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: l.address}) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}).ServeHTTP(w, r)
}

func formOf(body []byte) string {
	form, _ := url.ParseQuery(string(body))
	return form.Get("payload")
}

// taker is the process that a delivery went to; nil: none had it.
func (s *suite) taker(d slacksim.Delivery) *life {
	s.opening.Lock() // A socket may be used before it is known whose it is.
	defer s.opening.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.Socket > 0 {
		return s.sockets[d.Socket]
	}
	return s.taken[d.TriggerID]
}

// throws counts the things of a sort, from 0.
func (s *suite) throws(sort string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.thrown[sort]
	s.thrown[sort]++
	return n
}

// meets is what a call to Slack meets.
func (s *suite) meets(c slacksim.Call) *slacksim.Fault {
	a := s.all[about(c.Args.String("text"))]
	if s.calm.Load() || a != nil && a.kill != nil && a.kill.method == c.Method {
		return nil
	}
	sort := fmt.Sprint(about(c.Args.String("text")), c.Args.String("user"), c.Args.String("usergroup"))
	return slackFault(s.seed, c.Method, sort, s.throws(c.Method+" "+sort))
}

// deliver is what a delivery meets on its way to the app.
func (s *suite) deliver(d slacksim.Delivery) *slacksim.DeliveryFault {
	a := s.byUser[d.User]
	if s.calm.Load() || a == nil {
		return nil
	}
	i := slices.IndexFunc(a.actors, func(p *actor) bool { return p.ID() == d.User })
	return deliveryFault(s.seed, a.actors[i].name, s.throws("delivery "+d.User))
}

// acked is what an acknowledgement meets on its way to Slack.
func (s *suite) acked(d slacksim.Delivery) bool {
	a := s.byUser[d.User]
	if a == nil || a.kill == nil || a.kill.name != beforeAck || !s.falls(a, "", "") {
		return true
	}
	if l := s.taker(d); l != nil {
		s.kill(l)
	}
	return false
}

// strike is what befalls all processes of a kind, or sockets; that Temporal is killed is seen to elsewhere.
func (s *suite) strike(b blow) {
	switch b {
	case noWorker, noBot:
		role := map[blow]string{noWorker: "worker", noBot: "bot"}[b]
		for _, l := range s.alive(role) {
			s.kill(l)
		}
	case dropped, refreshed:
		s.mu.Lock()
		s.cut = append(s.cut, time.Now())
		s.mu.Unlock()
		if b == dropped {
			s.sim.Drop(0)
		} else {
			s.sim.Disconnect("refresh_requested", 1)
		}
	}
}

// insist does something at Temporal, which may be away, until it answers; late tells what is an answer too.
func (s *suite) insist(what string, do func(context.Context) error, late func(error) bool) {
	for s.ctx.Err() == nil {
		ctx, stop := context.WithTimeout(s.ctx, 10*time.Second)
		err := do(ctx)
		stop()
		if err == nil || late(err) {
			return
		}
		if !away(err) {
			s.Errorf("%s: %v", what, err)
			return
		}
		s.wait(300 * time.Millisecond)
	}
}

// away tells that Temporal did not answer.
func away(err error) bool {
	var (
		gone *serviceerror.Unavailable
		late *serviceerror.DeadlineExceeded
	)
	return errors.As(err, &gone) || errors.As(err, &late) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
