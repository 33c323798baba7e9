package slacksim

import (
	"encoding/json"
	"fmt"
	"strings"
)

// pageLog is what has happened, oldest first, with the faults and the number of open sockets. The caller holds mu,
// here and below.
func (s *Server) pageLog() map[string]any {
	lines := []any{}
	for _, e := range s.lines {
		line := map[string]any{"id": e.id, "at": e.at.UnixMilli(), "met": e.met}
		if link := s.linkOf(e); link != (Link{}) {
			line["link"] = link
		}
		switch {
		case e.call != nil:
			s.callLine(line, e)
		case e.delivery != nil:
			s.deliveryLine(line, e.delivery)
		default:
			line["kind"], line["text"] = "note", e.note
		}
		lines = append(lines, line)
	}
	return map[string]any{
		"lines": lines, "faults": s.faultList(), "sockets": len(s.sockets), "http": s.requestURL != "",
		"workflows": s.opts.Trace != nil,
	}
}

func (s *Server) callLine(line map[string]any, e *entry) {
	c := e.call
	line["kind"], line["text"] = "call", c.Method
	line["done"], line["ok"], line["status"], line["error"] = c.Done, c.Done && c.Error == "" && c.Status/100 == 2, c.Status, c.Error
	line["performed"], line["took_ms"] = c.Performed, e.took.Milliseconds()
	line["channel"], line["ts"] = e.channel, e.ts
	line["where"] = s.place(e.channel)
	for _, key := range []string{"user", "user_id", "usergroup"} {
		if id := c.Args.String(key); id != "" && e.ts == "" {
			line["where"] = strings.TrimSpace(s.place(e.channel) + " " + s.whois(id))
		}
	}
}

func (s *Server) deliveryLine(line map[string]any, d *Delivery) {
	line["kind"], line["text"] = "delivery", string(d.Kind)
	line["what"] = what(d)
	line["user"], line["who"] = d.User, s.whois(d.User)
	line["done"], line["ok"], line["error"] = d.Done, d.Acked, d.Error
	line["status"], line["took_ms"], line["attempt"] = d.Status, d.Took.Milliseconds(), d.Attempt
	switch {
	case d.Socket > 0:
		line["via"] = fmt.Sprintf("socket %d", d.Socket)
	case s.requestURL != "":
		line["via"] = "HTTP"
	default:
		line["via"] = "Socket Mode"
	}
}

// what says in short what the person did.
func what(d *Delivery) string {
	var payload struct {
		Command, Text string
		Actions       []struct {
			ActionID string `json:"action_id"`
			Type     string `json:"type"`
			Text     struct{ Text string }
			Option   struct {
				Text struct{ Text string }
			} `json:"selected_option"`
			Date string `json:"selected_date"`
		}
		View struct {
			CallbackID string `json:"callback_id"`
			Title      struct{ Text string }
		}
	}
	switch err := json.Unmarshal(d.Payload, &payload); {
	case err != nil:
		return ""
	case payload.Command != "":
		return strings.TrimSpace(payload.Command + " " + payload.Text)
	case len(payload.Actions) > 0 && payload.Actions[0].Text.Text != "":
		return payload.Actions[0].Text.Text
	case len(payload.Actions) > 0:
		a := payload.Actions[0]
		return strings.TrimSuffix(a.ActionID+": "+a.Option.Text.Text+a.Date, ": ")
	}
	return payload.View.Title.Text
}

// place names a channel, or the person whose direct messages it is.
func (s *Server) place(id string) string {
	c := s.channel(id)
	switch {
	case c == nil:
		return s.whois(id)
	case !c.DM:
		return "#" + c.Name
	}
	for _, member := range c.Members {
		if member != BotUserID {
			return s.whois(member)
		}
	}
	return id
}

// whois names a person or a group.
func (s *Server) whois(id string) string {
	if u := s.user(id); u != nil {
		return "@" + u.Name
	}
	for _, g := range s.groups {
		if g.ID == id {
			return "@" + g.Handle
		}
	}
	return id
}
