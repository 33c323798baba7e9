package slacksim

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"
)

// See https://docs.slack.dev/interactivity/handling-user-interaction/#message_responses.
const (
	responseUses = 5
	responseLife = 30 * time.Minute
)

// responder is what a response URL may do.
type responder struct {
	user    string
	channel string
	source  string // timestamp of the message with the button; empty for a slash command
	created time.Time
	uses    int
}

// newResponder returns a response URL. The caller holds mu.
func (s *Server) newResponder(user, channel, source string) string {
	id := secret()
	s.responders[id] = &responder{user: user, channel: channel, source: source, created: s.now()}
	return s.base + "/response/" + id
}

// serveResponseURL answers for a slash command or a click: in private unless response_type is in_channel, in place of
// the message that was clicked if replace_original is set.
// See https://docs.slack.dev/interactivity/handling-user-interaction/#message_responses.
func (s *Server) serveResponseURL(w http.ResponseWriter, r *http.Request) {
	args := Args{}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err == nil {
		err = json.Unmarshal(body, &args)
	}
	if err != nil {
		writeJSON(w, http.StatusBadRequest, reply{"ok": false, "error": "invalid_payload"})
		return
	}
	s.answer(w, r, "response_url", args, func() (int, any) {
		status, err := s.respond(r.PathValue("id"), args)
		if err == nil {
			return http.StatusOK, "ok"
		}
		code := "internal_error"
		var e *apiError
		if errors.As(err, &e) {
			code = e.code
		}
		return status, reply{"ok": false, "error": code}
	})
}

func (s *Server) respond(id string, a Args) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to := s.responders[id]
	switch {
	case to == nil:
		return http.StatusNotFound, &apiError{code: "no_such_url"}
	case to.uses >= responseUses:
		return http.StatusNotFound, &apiError{code: "used_url"}
	case s.now().Sub(to.created) > responseLife:
		return http.StatusNotFound, &apiError{code: "expired_url"}
	}
	to.uses++
	if a.bool("delete_original") || a.bool("replace_original") {
		return s.respondToSource(to, a)
	}
	m, err := s.content(a)
	if err != nil {
		return http.StatusBadRequest, err
	}
	m.Channel, m.User, m.Bot, m.ThreadTS = to.channel, BotUserID, true, a.String("thread_ts")
	if a.String("response_type") != "in_channel" {
		m.To = to.user
	}
	s.post(m)
	return http.StatusOK, nil
}

func (s *Server) respondToSource(to *responder, a Args) (int, error) {
	source := s.find(to.channel, to.source)
	if source == nil {
		return http.StatusNotFound, &apiError{code: "message_not_found"}
	}
	if a.bool("delete_original") {
		s.remove(source)
		return http.StatusOK, nil
	}
	m, err := s.content(a)
	if err != nil {
		return http.StatusBadRequest, err
	}
	source.Text, source.Blocks = m.Text, m.Blocks
	if m.Metadata != nil {
		source.Metadata = m.Metadata
	}
	source.Edits++
	source.Warning = ""
	s.touch()
	return http.StatusOK, nil
}
