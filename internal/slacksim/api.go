package slacksim

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxBody is more than Slack takes.
const maxBody = 2 << 20

// Call is one recorded Web API call, or one use of a response URL, whose Method is "response_url".
type Call struct {
	Method string
	Args   Args
	Time   time.Time

	// Done is whether the call was answered. Status and Error are the answer: 0 where the connection was cut, and
	// Slack's error string, empty if ok. Performed is whether the call had its effect, whatever the answer said.
	Done      bool
	Status    int
	Error     string
	Performed bool
}

// Args are the arguments of a call without its token. Forms have strings; JSON bodies have what JSON has.
type Args map[string]any

// String returns an argument as text, empty if it is missing or not a scalar.
func (a Args) String(key string) string {
	switch v := a[key].(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return ""
}

func (a Args) bool(key string) bool {
	v := a.String(key)
	return v == "1" || v == "true"
}

// object returns an argument that is an object, or JSON text of one.
func (a Args) object(key string) (map[string]any, bool) {
	switch v := a[key].(type) {
	case map[string]any:
		return v, true
	case string:
		var m map[string]any
		err := json.Unmarshal([]byte(v), &m)
		return m, err == nil && m != nil
	}
	return nil, false
}

// apiError is an answer with ok:false.
// See https://docs.slack.dev/apis/web-api/#responses.
type apiError struct {
	code     string
	needed   string
	messages []string
}

func (e *apiError) Error() string { return e.code }

// reply is an answer with ok:true.
type reply map[string]any

// method is one method of the Web API.
type method struct {
	scope  string // that the bot token needs, or empty
	app    bool   // takes the app-level token, not the bot token
	config bool   // takes an app configuration token, not the bot token
	form   bool   // takes no JSON body
	call   func(s *Server, a Args) (reply, error)
}

func methods() map[string]method {
	return map[string]method{
		"auth.test":             {call: (*Server).authTest},
		"apps.connections.open": {app: true},
		"apps.manifest.export":  {config: true, call: (*Server).appsManifestExport},
		"bots.info":             {scope: "users:read", form: true, call: (*Server).botsInfo},
		"chat.postMessage":      {scope: "chat:write", call: (*Server).chatPostMessage},
		"chat.update":           {scope: "chat:write", call: (*Server).chatUpdate},
		"chat.postEphemeral":    {scope: "chat:write", call: (*Server).chatPostEphemeral},
		"chat.getPermalink":     {form: true, call: (*Server).chatGetPermalink},
		"conversations.history": {form: true, call: (*Server).conversationsHistory},
		"conversations.replies": {form: true, call: (*Server).conversationsReplies},
		"conversations.info":    {form: true, call: (*Server).conversationsInfo},
		"conversations.members": {form: true, call: (*Server).conversationsMembers},
		"conversations.open":    {call: (*Server).conversationsOpen},
		"users.conversations":   {form: true, call: (*Server).usersConversations},
		"users.info":            {scope: "users:read", form: true, call: (*Server).usersInfo},
		"usergroups.list":       {scope: "usergroups:read", form: true, call: (*Server).usergroupsList},
		"usergroups.users.list": {scope: "usergroups:read", form: true, call: (*Server).usergroupsUsersList},
		"views.open":            {call: (*Server).viewsOpen},
		"views.update":          {call: (*Server).viewsUpdate},
		"views.publish":         {call: (*Server).viewsPublish},
	}
}

// serveAPI answers a method of the Web API: arguments as a form, or as JSON where the method takes it; the token in
// the arguments or in the Authorization header.
// See https://docs.slack.dev/apis/web-api/.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("method")
	args, token, err := readArgs(r, s.methods[name].form)
	if err != nil {
		s.log.Debug("unreadable web api call", "method", name, "err", err)
		writeJSON(w, http.StatusOK, reply{"ok": false, "error": "invalid_json"})
		return
	}
	w.Header().Set("Date", s.now().UTC().Format(http.TimeFormat))
	if token != "" && token == s.botToken() {
		w.Header().Set("X-OAuth-Scopes", strings.Join(s.Scopes(), ","))
	}
	host := strings.Replace(baseURL(r), "http", "ws", 1)
	s.answer(w, r, name, args, func() (int, any) {
		result, err := s.perform(name, token, host, args)
		if err == nil {
			result["ok"] = true
			return http.StatusOK, result
		}
		var e *apiError
		if !errors.As(err, &e) {
			return http.StatusInternalServerError, reply{"ok": false, "error": "internal_error"}
		}
		return e.status(), s.failure(e)
	})
}

func (e *apiError) status() int {
	if e.code == "ratelimited" {
		return http.StatusTooManyRequests
	}
	return http.StatusOK
}

func (s *Server) failure(e *apiError) reply {
	r := reply{"ok": false, "error": e.code}
	if e.needed != "" {
		r["needed"], r["provided"] = e.needed, strings.Join(s.Scopes(), ",")
	}
	if len(e.messages) > 0 {
		plain := make([]string, len(e.messages))
		for i, m := range e.messages {
			plain[i] = strings.TrimPrefix(m, "[ERROR] ")
		}
		r["errors"] = plain
		r["response_metadata"] = map[string]any{"messages": e.messages}
	}
	return r
}

// perform checks the token and its scopes, and runs the method.
func (s *Server) perform(name, token, host string, args Args) (reply, error) {
	m, known := s.methods[name]
	if !known {
		return nil, &apiError{code: "unknown_method"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.authorize(m, token); err != nil {
		return nil, err
	}
	if s.opts.RateLimit && name == "chat.postMessage" && !s.mayPost(args.String("channel")) {
		return nil, &apiError{code: "ratelimited"}
	}
	if m.app {
		return s.appsConnectionsOpen(host)
	}
	return m.call(s, args)
}

func (s *Server) authorize(m method, token string) error {
	switch {
	case token == "":
		return &apiError{code: "not_authed"}
	case token == s.opts.BotToken && s.revoked:
		return &apiError{code: "token_revoked"}
	case m.app && token == s.opts.AppToken, m.config && token == s.configToken:
		return nil
	case !m.app && !m.config && token == s.opts.BotToken:
		return s.need(m.scope)
	case token == s.opts.AppToken || token == s.opts.BotToken || token == s.configToken:
		return &apiError{code: "not_allowed_token_type"}
	}
	return &apiError{code: "invalid_auth"}
}

// need refuses a call without that scope. The caller holds mu.
func (s *Server) need(scope string) error {
	if scope == "" || slices.Contains(s.scopes, scope) {
		return nil
	}
	return &apiError{code: "missing_scope", needed: scope}
}

// answer records the call, lets faults and held calls have their way, and writes what perform returns.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, name string, args Args, perform func() (int, any)) {
	call := s.record(name, r.URL.Path, args)
	s.passGate(call, Before)
	f := s.takeFault(call)
	var status int
	var body any
	if f == nil || f.Performed {
		status, body = perform()
		s.mu.Lock()
		call.Performed = true
		if fields, ok := body.(reply); ok && fields["ok"] == false {
			call.Error, call.Performed = fields["error"].(string), false
		} else if ok {
			s.performed(call, fields)
		}
		s.mu.Unlock()
		s.passGate(call, After)
	}
	if f != nil {
		s.mu.Lock()
		if e := s.entryOf(call); e != nil {
			e.met = f.name
		}
		s.mu.Unlock()
		s.fail(w, r, f, call)
		return
	}
	s.finish(call, status, call.Error)
	if status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	if text, ok := body.(string); ok {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
		return
	}
	writeJSON(w, status, body)
}

func (s *Server) record(method, path string, args Args) *Call {
	clue, about := callClue(method, path, args)
	link := s.trace(clue)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &Call{Method: method, Args: args, Time: s.now()}
	s.calls = append(s.calls, c)
	ts := args.String("ts")
	if ts == "" {
		ts = args.String("message_ts")
	}
	e := s.enter(&entry{call: c, about: about, channel: args.String("channel"), ts: ts})
	s.belongs(e, link)
	return c
}

// performed notes which message a call has made. The caller holds mu.
func (s *Server) performed(c *Call, answer reply) {
	e := s.entryOf(c)
	if e == nil {
		return
	}
	channel, _ := answer["channel"].(string)
	ts, _ := answer["ts"].(string)
	if ts == "" {
		ts, _ = answer["message_ts"].(string)
	}
	if channel != "" {
		e.channel = channel
	}
	if ts != "" {
		e.ts = ts
		e.about = append(e.about, aboutMessage(e.channel, ts))
		s.belongs(e, Link{})
	}
}

// finish notes the answer to a call, before it is written.
func (s *Server) finish(c *Call, status int, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.Done, c.Status, c.Error = true, status, code
	if e := s.entryOf(c); e != nil {
		e.took = time.Since(e.began)
	}
	s.touch()
	s.log.Debug("web api call", "method", c.Method, "status", status, "error", code)
}

func readArgs(r *http.Request, formOnly bool) (Args, string, error) {
	args := Args{}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return nil, "", err
	}
	values := r.URL.Query()
	switch kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); {
	case kind == "application/json":
		if len(body) > 0 && !formOnly {
			if err := json.Unmarshal(body, &args); err != nil {
				return nil, "", err
			}
		}
	default:
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, "", err
		}
		for key, v := range form {
			values[key] = v
		}
	}
	for key := range values {
		args[key] = values.Get(key)
	}
	token := args.String("token")
	delete(args, "token")
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		token = strings.TrimSpace(bearer)
	}
	return args, token, nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(toJSON(v))
}

// bucket paces one channel: Slack allows short bursts over one message per second.
// See https://docs.slack.dev/apis/web-api/rate-limits.
type bucket struct {
	tokens float64
	last   time.Time
}

func (s *Server) mayPost(channel string) bool {
	const burst = 4
	now := s.now()
	b := s.buckets[channel]
	if b == nil {
		b = &bucket{tokens: burst, last: now}
		s.buckets[channel] = b
	}
	b.tokens = min(burst, b.tokens+now.Sub(b.last).Seconds())
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
