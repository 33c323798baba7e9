package slacksim

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The defaults of Options, for programs that are pointed at a stand-in.
const (
	DefaultBotToken      = "xoxb-sim-token"
	DefaultAppToken      = "xapp-1-" + AppID + "-1-sim"
	DefaultSigningSecret = "sim-signing-secret"
)

// Command is a slash command that the app has registered.
type Command struct {
	Name        string // with its slash
	Description string
	UsageHint   string
	Raw         bool // text goes out as typed: the manifest's should_escape is off
}

// Link is a line at the foot of the page.
type Link struct {
	Text string `json:"text"`
	URL  string `json:"url"`
}

// Options say how a Server behaves. The zero value is a Socket Mode workspace with the default tokens.
type Options struct {
	BotToken      string
	AppToken      string
	SigningSecret string

	// RequestURL switches from Socket Mode to HTTP: every delivery is a signed POST to it.
	RequestURL string

	// Commands are those the app has registered. With none, every command goes to the app.
	Commands []Command

	// BaseURL is where the stand-in is reached, for response URLs. Empty: taken from the first request.
	BaseURL string

	// Links stand at the foot of the page.
	Links []Link

	// Trace says to which workflow a delivery or a call of the Web API belongs, as a link that the page shows beside
	// it; the zero Link if it cannot tell. The links of one workflow must be equal. What Trace cannot tell belongs
	// where the message, the trigger or the response URL belongs that it is about. Nil: the page shows no workflows.
	// Trace must not use the Server, and may be called concurrently.
	Trace func(Clue) Link

	// ReadOnlyDM is the manifest's messages_tab_read_only_enabled: on the page nobody can write to the app.
	ReadOnlyDM bool

	// RateLimit holds chat.postMessage to one per second and channel, with a burst of four.
	RateLimit bool

	// AckTimeout is how long the app has to acknowledge a delivery. Zero means Slack's 3 s.
	AckTimeout time.Duration

	// Now is the clock for timestamps and expiry; nil means time.Now. Signatures and AckTimeout use real time.
	Now func() time.Time

	// Logger receives one line per Web API call and delivery at debug level; nil logs nothing.
	Logger *slog.Logger
}

// Server is one workspace and everything that Slack does for it. It is an http.Handler, safe for concurrent use.
// Close it to end its sockets and event streams.
type Server struct {
	opts    Options
	methods map[string]method
	mux     *http.ServeMux
	client  *http.Client
	log     *slog.Logger
	done    chan struct{}
	close   sync.Once
	skew    atomic.Int64 // of the clock, in nanoseconds

	mu         sync.Mutex
	changed    chan struct{} // closed, and replaced, on every change
	version    int64
	base       string
	requestURL string
	revoked    bool
	scopes     []string

	configToken string
	manifest    any
	lastID      int64
	lastTS      int64

	users    []*User
	channels []*Channel
	groups   []*Group
	messages []*Message // of all channels, oldest first
	modals   map[string][]*View
	homes    map[string]*View

	calls      []*Call
	deliveries []*Delivery
	lines      []*entry // of the page's log, oldest first
	logged     int64
	traced     map[string]Link // by what it is about: a message, a trigger, a response URL
	triggers   map[string]*trigger
	responders map[string]*responder
	buckets    map[string]*bucket

	faults         []*fault
	deliveryFaults []*DeliveryFault
	lostClick      *DeliveryFault // made from the page
	gates          []*Gate
	onCall         func(Call) *Fault
	onDelivery     func(Delivery) *DeliveryFault
	onAck          func(Delivery) bool

	tickets   map[string]bool
	sockets   []*socket
	connected int // sockets so far
	turn      int
	pending   map[string]*waiting
	signed    map[string]bool // signatures of requests
}

// New returns a workspace with its people and channels, ready to serve.
func New(o Options) *Server {
	setDefault(&o.BotToken, DefaultBotToken)
	setDefault(&o.AppToken, DefaultAppToken)
	setDefault(&o.SigningSecret, DefaultSigningSecret)
	if o.AckTimeout == 0 {
		o.AckTimeout = 3 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		opts:       o,
		methods:    methods(),
		mux:        http.NewServeMux(),
		log:        o.Logger,
		done:       make(chan struct{}),
		changed:    make(chan struct{}),
		base:       strings.TrimSuffix(o.BaseURL, "/"),
		requestURL: o.RequestURL,
		scopes:     defaultScopes(),
		modals:     map[string][]*View{},
		homes:      map[string]*View{},
		triggers:   map[string]*trigger{},
		responders: map[string]*responder{},
		buckets:    map[string]*bucket{},
		tickets:    map[string]bool{},
		traced:     map[string]Link{},
		pending:    map[string]*waiting{},
		signed:     map[string]bool{},
		client: &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	s.populate()
	s.mux.HandleFunc("/api/{method}", s.serveAPI)
	s.mux.HandleFunc("GET /socket", s.serveSocket)
	s.mux.HandleFunc("POST /response/{id}", s.serveResponseURL)
	s.pageRoutes()
	return s
}

func setDefault(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

// ServeHTTP serves the Web API under /api/, Socket Mode, response URLs, and the page.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.base == "" {
		s.base = baseURL(r)
	}
	base := s.base
	s.mu.Unlock()
	if !atHome(r, base) {
		http.Error(w, "this is not a site that others may use", http.StatusForbidden)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// atHome refuses what a page of another site has a browser on this machine do: a request across sites, and one to a
// name that was made to lead here. An address cannot be made to.
func atHome(r *http.Request, base string) bool {
	if r.URL.Path != "/" && r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		return false
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	u, err := url.Parse(base)
	return host == "localhost" || net.ParseIP(strings.Trim(host, "[]")) != nil || err == nil && host == u.Hostname()
}

// Close ends every socket, event stream, held call and wait for an acknowledgement. It admits no socket afterwards.
func (s *Server) Close() {
	s.close.Do(func() { close(s.done) })
	s.Drop(0)
}

// SetBaseURL sets where the stand-in is reached, for the response URLs of later deliveries.
func (s *Server) SetBaseURL(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.base = strings.TrimSuffix(url, "/")
}

// BaseURL returns where the stand-in is reached.
func (s *Server) BaseURL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.base
}

// SetRequestURL switches later deliveries to signed POSTs to url, or to Socket Mode if url is empty.
func (s *Server) SetRequestURL(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requestURL = url
}

// SetScopes replaces the bot token's scopes.
func (s *Server) SetScopes(scopes ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scopes = slices.Clone(scopes)
}

// Scopes returns the bot token's scopes.
func (s *Server) Scopes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.scopes)
}

// SetSkew has Slack's clock go before real time by d, or after it where d is negative. The timestamps of messages and of
// signatures, and the dates of answers, are off by it.
func (s *Server) SetSkew(d time.Duration) { s.skew.Store(int64(d)) }

// now is the time by Slack's clock.
func (s *Server) now() time.Time { return s.opts.Now().Add(time.Duration(s.skew.Load())) }

// RateLimit holds chat.postMessage to Slack's limit from now on, as Options.RateLimit does.
func (s *Server) RateLimit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opts.RateLimit = true
}

// Reinstall gives the app another bot token, in place of the one that it had.
func (s *Server) Reinstall(botToken string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opts.BotToken, s.revoked = botToken, false
}

// SetAppToken replaces the app-level token, with one of another app for instance.
func (s *Server) SetAppToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opts.AppToken = token
}

// SetManifest has apps.manifest.export answer with the manifest, which becomes JSON, to that app configuration token.
func (s *Server) SetManifest(configToken string, manifest any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.configToken, s.manifest = configToken, manifest
}

// RevokeToken makes every later call with the bot token fail with token_revoked, until [Server.Reinstall].
func (s *Server) RevokeToken() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked = true
}

func defaultScopes() []string {
	return []string{
		"chat:write", "commands", "users:read", "usergroups:read",
		"channels:history", "groups:history", "im:history", "mpim:history",
		"channels:read", "groups:read", "im:write",
	}
}

func baseURL(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// touch tells everyone who waits that something has changed. The caller holds mu.
func (s *Server) touch() {
	s.version++
	close(s.changed)
	s.changed = make(chan struct{})
}

// newID returns an ID in Slack's form. The caller holds mu.
func (s *Server) newID(prefix string) string {
	s.lastID++
	const eightDigits = 36 * 36 * 36 * 36 * 36 * 36 * 36
	return prefix + "0" + strings.ToUpper(strconv.FormatInt(eightDigits+s.lastID, 36))
}

// newTS returns a message timestamp, later than every one before. The caller holds mu.
func (s *Server) newTS() string {
	s.lastTS = max(s.now().UnixMicro(), s.lastTS+1)
	return formatTS(s.lastTS)
}

func formatTS(micros int64) string {
	return fmt.Sprintf("%d.%06d", micros/1e6, micros%1e6)
}

// parseTS reads "seconds.micros", either part alone included, as microseconds.
func parseTS(ts string) (int64, bool) {
	seconds, fraction, _ := strings.Cut(ts, ".")
	sec, err := strconv.ParseInt(seconds, 10, 48)
	if err != nil || len(fraction) > 6 {
		return 0, false
	}
	micros, err := strconv.ParseInt((fraction + "000000")[:6], 10, 64)
	return sec*1e6 + micros, err == nil
}

func secret() string { return strings.ToLower(rand.Text()) }
