package slacksim

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

//go:embed page
var pageFiles embed.FS

// sayLimit is how many characters a person's own message may have.
const sayLimit = 12_000

// pagePolicy lets the page load nothing but its own files.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// pageRoutes serves the page, and the API that it alone uses: server-sent events with all that one person sees, and
// one POST per thing that a person can do. What is wrong with a request is said as {"error": "..."}.
func (s *Server) pageRoutes() {
	s.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { servePage(w, r, "index.html") })
	s.mux.HandleFunc("GET /page/{file}", func(w http.ResponseWriter, r *http.Request) { servePage(w, r, r.PathValue("file")) })
	s.mux.HandleFunc("/sim/", func(w http.ResponseWriter, r *http.Request) {
		refusePage(w, &pageError{http.StatusNotFound, "unknown path " + r.URL.Path})
	})
	s.pageRoute("/sim/events", s.serveEvents, http.MethodGet)
	s.pageRoute("/sim/faults", s.serveFaults, http.MethodGet, http.MethodPost, http.MethodDelete)
	s.pageRoute("/sim/say", s.pageAct((*Server).pageSay), http.MethodPost)
	s.pageRoute("/sim/click", s.pageAct((*Server).pageClick), http.MethodPost)
	s.pageRoute("/sim/select", s.pageAct((*Server).pageSelect), http.MethodPost)
	s.pageRoute("/sim/submit", s.pageAct((*Server).pageSubmit), http.MethodPost)
	s.pageRoute("/sim/close", s.pageAct(func(_ *Server, r *http.Request, p Person, _ pageArgs) (Delivery, error) {
		return p.CloseModal(r.Context())
	}), http.MethodPost)
	s.pageRoute("/sim/home", s.pageAct(func(_ *Server, r *http.Request, p Person, _ pageArgs) (Delivery, error) {
		return p.OpenHome(r.Context())
	}), http.MethodPost)
}

// pageRoute serves path for those methods, and says so to all others.
func (s *Server) pageRoute(path string, serve http.HandlerFunc, methods ...string) {
	allowed := strings.Join(methods, ", ")
	s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(methods, r.Method) {
			w.Header().Set("Allow", allowed)
			refusePage(w, &pageError{http.StatusMethodNotAllowed, path + " takes " + allowed})
			return
		}
		serve(w, r)
	})
}

// servePage serves a file of the page. Browsers ask each time whether theirs is the newest.
func servePage(w http.ResponseWriter, r *http.Request, name string) {
	content, err := fs.ReadFile(pageFiles, path.Join("page", name))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	sum := sha256.Sum256(content)
	etag := `"` + hex.EncodeToString(sum[:8]) + `"`
	h := w.Header()
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", map[string]string{
		".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
		".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
	}[path.Ext(name)])
	_, _ = w.Write(content)
}

// pageSay says something, or runs a slash command. Text is as typed: @names become mentions.
func (s *Server) pageSay(r *http.Request, p Person, a pageArgs) (Delivery, error) {
	p, err := s.inChannel(p, a.Channel)
	command := strings.HasPrefix(a.Text, "/")
	switch {
	case err != nil:
		return Delivery{}, err
	case strings.TrimSpace(a.Text) == "":
		return Delivery{}, &pageError{http.StatusBadRequest, "text is missing"}
	case utf8.RuneCountInString(a.Text) > sayLimit:
		return Delivery{}, &pageError{http.StatusBadRequest, fmt.Sprintf("text has more than %d characters", sayLimit)}
	case command && a.ThreadTS != "":
		return Delivery{}, refuse("%s is not supported in threads. Sorry!", strings.Fields(a.Text)[0])
	case command:
		return p.Command(r.Context(), a.Text)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u, c, err := p.at(p.channel)
	if err != nil {
		return Delivery{}, err
	}
	if a.ThreadTS != "" && s.message(c.ID, a.ThreadTS) == nil {
		return Delivery{}, &pageError{http.StatusNotFound, "unknown message " + a.ThreadTS}
	}
	s.post(Message{Channel: c.ID, User: u.ID, ThreadTS: a.ThreadTS, Text: s.escapeText(a.Text)})
	return Delivery{}, nil
}

// pageClick presses a button.
func (s *Server) pageClick(r *http.Request, p Person, a pageArgs) (Delivery, error) {
	p, m, v, err := s.seen(p, a)
	switch {
	case err != nil:
		return Delivery{}, err
	case a.View != "":
		return p.ClickView(r.Context(), v, a.Action)
	}
	return p.Click(r.Context(), m, a.Action)
}

// pageSelect chooses in a menu, a date picker, or an input that tells the app at once.
func (s *Server) pageSelect(r *http.Request, p Person, a pageArgs) (Delivery, error) {
	p, m, v, err := s.seen(p, a)
	if err != nil {
		return Delivery{}, err
	}
	value, err := pageValue("value", a.Value)
	switch {
	case err != nil:
		return Delivery{}, err
	case a.View != "":
		return p.SelectView(r.Context(), v, a.Action, value)
	}
	return p.Select(r.Context(), m, a.Action, value)
}

// pageSubmit submits a modal.
func (s *Server) pageSubmit(r *http.Request, p Person, a pageArgs) (Delivery, error) {
	v, err := s.seenView(p, a.View)
	if err != nil {
		return Delivery{}, err
	}
	values, err := a.values()
	if err != nil {
		return Delivery{}, err
	}
	return p.Submit(r.Context(), v, values)
}

// seen finds the message or view that the page acts on, and fills in its inputs.
func (s *Server) seen(p Person, a pageArgs) (Person, Message, View, error) {
	values, err := a.values()
	if err != nil {
		return p, Message{}, View{}, err
	}
	p = p.Filled(values)
	if a.View != "" {
		v, err := s.seenView(p, a.View)
		return p, Message{}, v, err
	}
	in, err := s.inChannel(p, a.Channel)
	if err != nil {
		return p, Message{}, View{}, err
	}
	m, ok := s.Message(a.Channel, a.TS)
	if !ok || !s.sees(in, m) {
		return p, Message{}, View{}, &pageError{http.StatusNotFound, "unknown message " + a.TS}
	}
	return p, m, View{}, nil
}

// sees says whether the person is in the message's channel, and it is for them.
func (s *Server) sees(p Person, m Message) bool {
	return slices.Contains(s.Channel(m.Channel).Members, p.id) && (m.To == "" || m.To == p.id)
}

// pageArgs is what the page sends.
type pageArgs struct {
	As       string                     `json:"as"`
	Channel  string                     `json:"channel"`
	TS       string                     `json:"ts"`
	ThreadTS string                     `json:"thread_ts"`
	Action   string                     `json:"action"`
	View     string                     `json:"view"`
	Text     string                     `json:"text"`
	Value    json.RawMessage            `json:"value"`
	Values   map[string]json.RawMessage `json:"values"`
}

// values reads the values of inputs: texts and lists of texts.
func (a pageArgs) values() (map[string]any, error) {
	values := map[string]any{}
	for key, raw := range a.Values {
		value, err := pageValue(key, raw)
		if err != nil {
			return nil, err
		}
		values[key] = value
	}
	return values, nil
}

func pageValue(key string, raw json.RawMessage) (any, error) {
	var text *string
	var list []string
	switch {
	case json.Unmarshal(raw, &text) == nil && text != nil:
		return *text, nil
	case json.Unmarshal(raw, &list) == nil && list != nil:
		return list, nil
	}
	return nil, &pageError{http.StatusBadRequest, key + " is neither text nor a list of texts"}
}

// pageError is a request of the page that cannot be met.
type pageError struct {
	status int
	text   string
}

func (e *pageError) Error() string { return e.text }

// readPage decodes the body of a request into args: one JSON object of known fields.
func readPage(w http.ResponseWriter, r *http.Request, args any) error {
	// A JSON body keeps other sites out: they may not send one without being asked first.
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		return &pageError{http.StatusUnsupportedMediaType, "the body must be application/json"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return &pageError{http.StatusRequestEntityTooLarge, "the body is too large"}
	case err != nil:
		return &pageError{http.StatusBadRequest, "unreadable body: " + err.Error()}
	case !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")):
		return &pageError{http.StatusBadRequest, "the body must be a JSON object"}
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(args); err != nil {
		return &pageError{http.StatusBadRequest, "unreadable JSON: " + err.Error()}
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return &pageError{http.StatusBadRequest, "unreadable JSON: something follows the object"}
	}
	return nil
}

// refusePage says why a request was not met.
func refusePage(w http.ResponseWriter, err error) {
	var refused *pageError
	if errors.As(err, &refused) {
		writeJSON(w, refused.status, map[string]any{"error": refused.text})
		return
	}
	text := strings.TrimPrefix(err.Error(), ErrRefused.Error()+": ")
	writeJSON(w, http.StatusUnprocessableEntity, map[string]any{"error": text})
}

// pageAct decodes a request, finds the person, and answers with what became of the delivery.
func (s *Server) pageAct(act func(*Server, *http.Request, Person, pageArgs) (Delivery, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		d, err := func() (Delivery, error) {
			var a pageArgs
			if err := readPage(w, r, &a); err != nil {
				return Delivery{}, err
			}
			p := s.Person(a.As)
			if p.ID() == "" {
				return Delivery{}, &pageError{http.StatusNotFound, "unknown person " + a.As}
			}
			return act(s, r, p, a)
		}()
		var held *unfilled
		switch {
		case errors.As(err, &held):
			writeJSON(w, http.StatusOK, map[string]any{"sent": false, "acked": false, "invalid": held.invalid})
			return
		case err != nil:
			refusePage(w, err)
			return
		}
		writeJSON(w, http.StatusOK, map[string]any{
			"sent": d.ID != "", "acked": d.Acked, "error": d.Error, "took_ms": d.Took.Milliseconds(),
		})
	}
}

// inChannel returns the person in a channel; the app's user ID is their direct messages with it.
func (s *Server) inChannel(p Person, channel string) (Person, error) {
	if channel == BotUserID && !s.opts.ReadOnlyDM && s.acts(p) {
		return p.DM(), nil
	}
	c := s.Channel(channel)
	if c.ID == "" {
		return p, &pageError{http.StatusNotFound, "unknown channel " + channel}
	}
	return p.In(c.ID), nil
}

// acts reports whether a person can use a Slack client.
func (s *Server) acts(p Person) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.user(p.id)
	return u != nil && !u.Bot && !u.Deleted
}

func (s *Server) seenView(p Person, id string) (View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.view(func(v *View) bool { return v.ID == id && v.User == p.id }); v != nil {
		return copyView(v), nil
	}
	return View{}, &pageError{http.StatusNotFound, "unknown view " + id}
}

// serveEvents streams what a person sees, and, as events named log, what has happened: all of it at first, and again
// whenever it has changed.
func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request) {
	p := s.Person(r.URL.Query().Get("as"))
	if p.ID() == "" {
		refusePage(w, &pageError{http.StatusNotFound, "unknown person " + r.URL.Query().Get("as")})
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flusher := http.NewResponseController(w)
	if _, err := io.WriteString(w, "retry: 1000\n\n"); err != nil {
		return
	}
	var sent, logged []byte
	for {
		s.mu.Lock()
		seen, log, version, changed := toJSON(s.pageFor(p)), toJSON(s.pageLog()), s.version, s.changed
		s.mu.Unlock()
		var events bytes.Buffer
		if !bytes.Equal(seen, sent) {
			fmt.Fprintf(&events, "id: %d\ndata: %s\n\n", version, seen)
		}
		if !bytes.Equal(log, logged) {
			fmt.Fprintf(&events, "event: log\ndata: %s\n\n", log)
		}
		if _, err := w.Write(events.Bytes()); err != nil {
			return
		}
		if err := flusher.Flush(); err != nil {
			return
		}
		sent, logged = seen, log
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-s.done:
			return
		}
	}
}

// pageFor is everything that the person sees. The caller holds mu, here and below.
func (s *Server) pageFor(p Person) map[string]any {
	people, groups, channels, messages := []any{}, []any{}, []any{}, []any{}
	for _, u := range s.users {
		note := ""
		switch {
		case u.Restricted || u.UltraRestricted:
			note = "guest"
		case u.Stranger:
			note = "another organisation"
		case u.Deleted:
			note = "deactivated"
		case u.Bot:
			note = "app"
		}
		people = append(people, map[string]any{
			"id": u.ID, "name": u.Name, "real_name": u.RealName, "note": note, "bot": u.Bot, "acts": !u.Bot && !u.Deleted,
		})
	}
	for _, g := range s.groups {
		groups = append(groups, map[string]any{"id": g.ID, "handle": g.Handle, "members": g.Members})
	}
	visible := map[string]bool{}
	for _, c := range s.channels {
		if c.has(p.id) {
			visible[c.ID] = true
		}
		if c.has(p.id) || !c.Private && !c.DM {
			channels = append(channels, map[string]any{
				"id": c.ID, "name": c.Name, "private": c.Private, "dm": c.DM, "shared": c.Shared,
				"archived": c.Archived, "member": c.has(p.id), "app": c.has(BotUserID), "members": c.Members,
			})
		}
	}
	for _, m := range s.messages {
		if visible[m.Channel] && (m.To == "" || m.To == p.id) {
			messages = append(messages, map[string]any{
				"channel": m.Channel, "ts": m.TS, "thread_ts": m.ThreadTS, "user": m.User, "bot": m.Bot, "text": m.Text,
				"blocks": m.Blocks, "private": m.To != "", "edited": m.Edited, "edits": m.Edits, "warning": m.Warning,
			})
		}
	}
	page := map[string]any{
		"me": p.id, "app": BotUserID, "read_only_dm": s.opts.ReadOnlyDM,
		"people": people, "groups": groups, "channels": channels, "messages": messages,
		"commands": s.pageCommands(), "links": append([]Link{}, s.opts.Links...), "modal": nil, "home": nil,
	}
	if stack := s.modals[p.id]; len(stack) > 0 {
		top := stack[len(stack)-1]
		page["modal"] = map[string]any{
			"id": top.ID, "hash": top.Hash, "title": top.Title, "submit": top.Submit, "close": top.Close,
			"blocks": top.Blocks, "errors": top.Errors, "error": top.Error, "below": len(stack) - 1,
		}
	}
	if home := s.homes[p.id]; home != nil {
		page["home"] = map[string]any{"id": home.ID, "hash": home.Hash, "blocks": home.Blocks}
	}
	return page
}

func (s *Server) pageCommands() []any {
	commands := []any{}
	for _, c := range s.opts.Commands {
		commands = append(commands, map[string]any{"name": c.Name, "description": c.Description, "usage": c.UsageHint})
	}
	return commands
}
