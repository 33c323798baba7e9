package slacksim

import (
	"encoding/json"
	"net/url"
	"slices"
	"time"
)

// maxLog is how much of what has happened the page shows.
const maxLog = 150

// Clue is what a delivery, or a call of the Web API, has in it that may tell which workflow it belongs to.
type Clue struct {
	Command   string // name of the slash command, with its slash; empty for everything else
	TriggerID string // of a delivery

	// Values are the opaque strings of the app: of the button or option that was chosen, of those that are posted, and
	// a view's private metadata, followed by the strings in it if it is a JSON object.
	Values []string

	// Metadata is that of the message that is posted or updated, or nil.
	Metadata *Metadata
}

// entry is one line of the page's log. Of call, delivery and note one is set. The Server's mu guards it.
type entry struct {
	id       int64
	at       time.Time // by Options.Now
	began    time.Time // by the real clock
	call     *Call
	took     time.Duration // of the call
	delivery *Delivery
	note     string
	met      string // what stood in the way, in the page's words
	link     Link
	guess    bool     // the link is of a slash command, which may have started nothing
	about    []string // keys of what it is about, see traced
	channel  string
	ts       string
}

// enter adds a line to the log. The caller holds mu, here and below.
func (s *Server) enter(e *entry) *entry {
	s.logged++
	e.id, e.at, e.began = s.logged, s.now(), time.Now()
	s.lines = append(s.lines, e)
	if extra := len(s.lines) - maxLog; extra > 0 {
		s.lines = slices.Delete(s.lines, 0, extra)
	}
	s.touch()
	return e
}

// note logs what is neither call nor delivery: a socket, a fault.
func (s *Server) note(text string) { s.enter(&entry{note: text}) }

// entryOf finds the line of a call, or nil.
func (s *Server) entryOf(c *Call) *entry {
	for _, e := range slices.Backward(s.lines) {
		if e.call == c {
			return e
		}
	}
	return nil
}

// belongs gives e the workflow that Options.Trace has found, or else the one of what e is about, and remembers it for
// what comes later.
func (s *Server) belongs(e *entry, found Link) {
	if found != (Link{}) {
		e.link = found
	}
	for _, key := range e.about {
		if e.link == (Link{}) {
			e.link = s.traced[key]
		}
	}
	for _, key := range e.about {
		if e.link != (Link{}) && key != "" {
			s.traced[key] = e.link
		}
	}
}

// linkOf is the workflow of e, unless it is a guess that nothing has confirmed.
func (s *Server) linkOf(e *entry) Link {
	if e.guess && !slices.ContainsFunc(s.lines, func(o *entry) bool { return !o.guess && o.link == e.link }) {
		return Link{}
	}
	return e.link
}

// trace asks Options.Trace. The caller does not hold mu.
func (s *Server) trace(c Clue) Link {
	if s.opts.Trace == nil {
		return Link{}
	}
	return s.opts.Trace(c)
}

func aboutMessage(channel, ts string) string { return "message " + channel + " " + ts }

func aboutTrigger(id string) string {
	if id == "" {
		return ""
	}
	return "trigger " + id
}

// aboutURL is the key of a response URL, by its path.
func aboutURL(responseURL string) string {
	u, err := url.Parse(responseURL)
	if err != nil || u.Path == "" {
		return ""
	}
	return "url " + u.Path
}

// deliveryClue reads a delivery.
func deliveryClue(o outgoing) (Clue, []string) {
	var payload struct {
		Command   string
		Actions   []any
		Container struct {
			Channel string `json:"channel_id"`
			TS      string `json:"message_ts"`
		}
		View struct {
			PrivateMetadata string `json:"private_metadata"`
		}
	}
	clue := Clue{TriggerID: o.triggerID}
	about := []string{aboutTrigger(o.triggerID), aboutURL(o.responseURL)}
	if json.Unmarshal(toJSON(o.payload), &payload) != nil {
		return clue, about
	}
	clue.Command = payload.Command
	clue.Values = append(opaque(payload.Actions), metadataValues(payload.View.PrivateMetadata)...)
	if payload.Container.TS != "" {
		about = append(about, aboutMessage(payload.Container.Channel, payload.Container.TS))
	}
	return clue, about
}

// callClue reads a call of the Web API, or the use of a response URL at path. A Home tab belongs to no one workflow.
func callClue(method, path string, a Args) (Clue, []string) {
	var clue Clue
	var about []string
	switch method {
	case "views.publish":
	case "views.open", "views.update":
		about = append(about, aboutTrigger(a.String("trigger_id")))
		if view, ok := a.object("view"); ok {
			private, _ := view["private_metadata"].(string)
			clue.Values = append(metadataValues(private), opaque(view["blocks"])...)
		}
	case "response_url":
		about = append(about, "url "+path)
		clue.Values = opaque(a["blocks"])
	default:
		if blocks, err := blockList(a["blocks"]); err == nil {
			clue.Values = opaque(blocks)
		}
		clue.Metadata, _ = metadata(a)
		channel := a.String("channel")
		for _, key := range []string{"ts", "message_ts", "thread_ts"} {
			if ts := a.String(key); channel != "" && ts != "" {
				about = append(about, aboutMessage(channel, ts))
			}
		}
	}
	return clue, about
}

// opaque returns the values of buttons and options in v, in their order.
func opaque(v any) []string {
	var values []string
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			values = append(values, opaque(item)...)
		}
	case map[string]any:
		if text, ok := v["value"].(string); ok {
			values = append(values, text)
		}
		for _, key := range []string{"elements", "accessory", "options", "selected_option"} {
			values = append(values, opaque(v[key])...)
		}
	}
	return values
}

func metadataValues(private string) []string {
	if private == "" {
		return nil
	}
	values := []string{private}
	var object map[string]any
	if json.Unmarshal([]byte(private), &object) == nil {
		for _, v := range object {
			if text, ok := v.(string); ok {
				values = append(values, text)
			}
		}
		slices.Sort(values[1:])
	}
	return values
}
