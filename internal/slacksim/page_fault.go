package slacksim

import (
	"net/http"
	"slices"
	"time"
)

// The page's words for what stands in the way of a call or a delivery.
const (
	tooManyRequests = "Slack answers 429 to the next post"
	lostPost        = "The next post is lost after Slack took it"
	lostOnItsWay    = "The next click is lost on its way to the app"
	slackDown       = "Slack is down"
)

// pageFault is a fault that can be made from the page.
type pageFault struct {
	name string
	text string
	kind string // next: waits for the next call or delivery; state: until it is ended; now: happens at once
}

func pageFaults() []pageFault {
	return []pageFault{
		{"rate_limit", tooManyRequests, "next"},
		{"lost_post", lostPost, "next"},
		{"lost_click", lostOnItsWay, "next"},
		{"down", slackDown, "state"},
		{"drop_sockets", "Drop the sockets", "now"},
		{"refresh_socket", "Slack refreshes a socket", "now"},
	}
}

// serveFaults lists the faults and their states, turns one on or off, or ends all.
func (s *Server) serveFaults(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPost:
		var a struct {
			Fault string `json:"fault"`
			On    *bool  `json:"on"`
		}
		err := readPage(w, r, &a)
		if err == nil {
			err = s.setFault(a.Fault, a.On == nil || *a.On)
		}
		if err != nil {
			refusePage(w, err)
			return
		}
	case http.MethodDelete:
		s.ClearFaults()
		s.mu.Lock()
		s.note("All faults cleared")
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	writeJSON(w, http.StatusOK, map[string]any{"faults": s.faultList()})
}

// setFault turns a fault of the page on or off. One that is on already stays as it is.
func (s *Server) setFault(name string, on bool) error {
	all := pageFaults()
	i := slices.IndexFunc(all, func(f pageFault) bool { return f.name == name })
	if i < 0 {
		return &pageError{http.StatusNotFound, "unknown fault " + name}
	}
	f := all[i]
	if f.kind == "now" {
		return s.happen(f, on)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faultOn(f) == on {
		return nil
	}
	if !on {
		s.endFault(f)
		s.note("Fault off: " + f.text)
		return nil
	}
	made := &fault{name: f.text, left: 1, cleared: make(chan struct{})}
	switch name {
	case "rate_limit":
		made.Fault = Fault{Method: "chat.postMessage", Times: 1, Status: http.StatusTooManyRequests, RetryAfter: 3 * time.Second}
	case "lost_post":
		made.Fault = Fault{Method: "chat.postMessage", Times: 1, Cut: true, Performed: true}
	case "down":
		made.Fault = Fault{Status: http.StatusServiceUnavailable}
	case "lost_click":
		s.lostClick = &DeliveryFault{Kind: BlockActions, Times: 1, Lost: true, silent: true}
		s.deliveryFaults = append(s.deliveryFaults, s.lostClick)
	}
	if name != "lost_click" {
		s.faults = append(s.faults, made)
	}
	s.note("Fault on: " + f.text)
	return nil
}

// happen makes what happens at once.
func (s *Server) happen(f pageFault, on bool) error {
	if !on {
		return &pageError{http.StatusBadRequest, f.name + " happens at once, and cannot be turned off"}
	}
	if s.Connections() == 0 {
		return &pageError{http.StatusConflict, "no socket is open"}
	}
	s.mu.Lock()
	s.note(f.text)
	s.mu.Unlock()
	if f.name == "drop_sockets" {
		s.Drop(0)
	} else {
		s.Disconnect("refresh_requested", 1)
	}
	return nil
}

// faultOn reports whether a fault of the page is on. The caller holds mu, here and below.
func (s *Server) faultOn(f pageFault) bool {
	if f.name == "lost_click" {
		return s.lostClick != nil && slices.Contains(s.deliveryFaults, s.lostClick)
	}
	return slices.ContainsFunc(s.faults, func(o *fault) bool { return o.name == f.text })
}

func (s *Server) endFault(f pageFault) {
	if f.name == "lost_click" {
		s.deliveryFaults = slices.DeleteFunc(s.deliveryFaults, func(o *DeliveryFault) bool { return o == s.lostClick })
		return
	}
	s.faults = slices.DeleteFunc(s.faults, func(o *fault) bool { return o.name == f.text })
}

func (s *Server) faultList() []any {
	var list []any
	for _, f := range pageFaults() {
		list = append(list, map[string]any{"name": f.name, "text": f.text, "kind": f.kind, "on": s.faultOn(f)})
	}
	return list
}
