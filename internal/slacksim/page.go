package slacksim

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
)

//go:embed page.html
var pageFiles embed.FS

// pageRoutes serves the page, and the API that it alone uses: server-sent events with all that one person sees, and
// one POST per thing that a person can do.
func (s *Server) pageRoutes() {
	s.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy",
			"default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'")
		http.ServeFileFS(w, r, pageFiles, "page.html")
	})
	s.mux.HandleFunc("GET /sim/events", s.serveEvents)
	s.mux.HandleFunc("POST /sim/say", s.pageAct(func(r *http.Request, p Person, a pageArgs) (Delivery, error) {
		p, err := s.inChannel(p, a.Channel)
		switch {
		case err != nil:
			return Delivery{}, err
		case a.Text == "":
			return Delivery{}, &pageError{http.StatusBadRequest, "text is missing"}
		case a.Text[0] == '/':
			return p.Command(r.Context(), a.Text)
		}
		_, err = p.Say(a.Text)
		return Delivery{}, err
	}))
	s.mux.HandleFunc("POST /sim/click", s.pageAct(func(r *http.Request, p Person, a pageArgs) (Delivery, error) {
		if a.View != "" {
			v, err := s.seenView(p, a.View)
			if err != nil {
				return Delivery{}, err
			}
			return p.ClickView(r.Context(), v, a.Action)
		}
		if _, err := s.inChannel(p, a.Channel); err != nil {
			return Delivery{}, err
		}
		m, ok := s.Message(a.Channel, a.TS)
		if !ok {
			return Delivery{}, &pageError{http.StatusNotFound, "unknown message " + a.TS}
		}
		return p.Click(r.Context(), m, a.Action)
	}))
	s.mux.HandleFunc("POST /sim/submit", s.pageAct(func(r *http.Request, p Person, a pageArgs) (Delivery, error) {
		v, err := s.seenView(p, a.View)
		if err != nil {
			return Delivery{}, err
		}
		values, err := a.values()
		if err != nil {
			return Delivery{}, err
		}
		return p.Submit(r.Context(), v, values)
	}))
	s.mux.HandleFunc("POST /sim/close", s.pageAct(func(r *http.Request, p Person, _ pageArgs) (Delivery, error) {
		return p.CloseModal(r.Context())
	}))
	s.mux.HandleFunc("POST /sim/home", s.pageAct(func(r *http.Request, p Person, _ pageArgs) (Delivery, error) {
		return p.OpenHome(r.Context())
	}))
}

// pageArgs is what the page sends.
type pageArgs struct {
	As      string                     `json:"as"`
	Channel string                     `json:"channel"`
	TS      string                     `json:"ts"`
	Action  string                     `json:"action"`
	View    string                     `json:"view"`
	Text    string                     `json:"text"`
	Values  map[string]json.RawMessage `json:"values"`
}

// values reads the values of a submission: texts and lists of texts.
func (a pageArgs) values() (map[string]any, error) {
	values := map[string]any{}
	for key, raw := range a.Values {
		var text string
		var list []string
		switch {
		case json.Unmarshal(raw, &text) == nil:
			values[key] = text
		case json.Unmarshal(raw, &list) == nil:
			values[key] = list
		default:
			return nil, &pageError{http.StatusBadRequest, "value " + key + " is neither text nor a list of texts"}
		}
	}
	return values, nil
}

// pageError is a request of the page that cannot be met.
type pageError struct {
	status int
	text   string
}

func (e *pageError) Error() string { return e.text }

// pageAct decodes a request, finds the person, and answers with what became of the delivery.
func (s *Server) pageAct(act func(*http.Request, Person, pageArgs) (Delivery, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		d, err := func() (Delivery, error) {
			// A JSON body keeps other sites out: they may not send one without being asked first.
			if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
				return Delivery{}, &pageError{http.StatusUnsupportedMediaType, "the body must be application/json"}
			}
			var a pageArgs
			decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(&a); err != nil {
				return Delivery{}, &pageError{http.StatusBadRequest, "unreadable JSON: " + err.Error()}
			}
			p := s.Person(a.As)
			if p.ID() == "" {
				return Delivery{}, &pageError{http.StatusNotFound, "unknown person " + a.As}
			}
			return act(r, p, a)
		}()
		var refused *pageError
		switch {
		case errors.As(err, &refused):
			writeJSON(w, refused.status, map[string]any{"error": refused.text})
		case err != nil:
			writeJSON(w, http.StatusUnprocessableEntity, map[string]any{"error": err.Error()})
		default:
			writeJSON(w, http.StatusOK, map[string]any{
				"sent": d.ID != "", "acked": d.Acked, "error": d.Error, "took_ms": d.Took.Milliseconds(),
			})
		}
	}
}

func (s *Server) inChannel(p Person, channel string) (Person, error) {
	c := s.Channel(channel)
	if c.ID == "" {
		return p, &pageError{http.StatusNotFound, "unknown channel " + channel}
	}
	return p.In(c.ID), nil
}

func (s *Server) seenView(p Person, id string) (View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.view(func(v *View) bool { return v.ID == id && v.User == p.id }); v != nil {
		return copyView(v), nil
	}
	return View{}, &pageError{http.StatusNotFound, "unknown view " + id}
}

// serveEvents streams what a person sees: all of it at first, and again whenever it has changed.
func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request) {
	p := s.Person(r.URL.Query().Get("as"))
	if p.ID() == "" {
		writeJSON(w, http.StatusNotFound, map[string]any{"error": "unknown person " + r.URL.Query().Get("as")})
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flusher := http.NewResponseController(w)
	var sent []byte
	for {
		s.mu.Lock()
		seen, version, changed := toJSON(s.pageFor(p)), s.version, s.changed
		s.mu.Unlock()
		if !bytes.Equal(seen, sent) {
			if _, err := fmt.Fprintf(w, "id: %d\ndata: %s\n\n", version, seen); err != nil {
				return
			}
			if err := flusher.Flush(); err != nil {
				return
			}
			sent = seen
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-s.done:
			return
		}
	}
}

// pageFor is everything that the person sees. The caller holds mu.
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
			"id": u.ID, "name": u.Name, "real_name": u.RealName, "note": note, "acts": !u.Bot && !u.Deleted,
		})
	}
	for _, g := range s.groups {
		groups = append(groups, map[string]any{"id": g.ID, "handle": g.Handle})
	}
	visible := map[string]bool{}
	for _, c := range s.channels {
		if c.has(p.id) {
			visible[c.ID] = true
		}
		if c.has(p.id) || !c.Private && !c.DM {
			channels = append(channels, map[string]any{
				"id": c.ID, "name": c.Name, "private": c.Private, "dm": c.DM, "shared": c.Shared,
				"archived": c.Archived, "member": c.has(p.id),
			})
		}
	}
	for _, m := range s.messages {
		if visible[m.Channel] && (m.To == "" || m.To == p.id) {
			messages = append(messages, map[string]any{
				"channel": m.Channel, "ts": m.TS, "thread_ts": m.ThreadTS, "user": m.User, "text": m.Text,
				"blocks": m.Blocks, "private": m.To != "", "edited": m.Edited, "warning": m.Warning,
			})
		}
	}
	page := map[string]any{
		"me": p.id, "people": people, "groups": groups, "channels": channels, "messages": messages,
		"commands": s.pageCommands(), "links": append([]Link{}, s.opts.Links...), "modal": nil, "home": nil,
	}
	if stack := s.modals[p.id]; len(stack) > 0 {
		top := stack[len(stack)-1]
		page["modal"] = map[string]any{
			"id": top.ID, "hash": top.Hash, "title": top.Title, "submit": top.Submit, "close": top.Close,
			"blocks": top.Blocks, "errors": top.Errors, "error": top.Error,
		}
	}
	if home := s.homes[p.id]; home != nil {
		page["home"] = map[string]any{"id": home.ID, "blocks": home.Blocks}
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
