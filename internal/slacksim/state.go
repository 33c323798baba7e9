package slacksim

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// State is everything in the workspace at one moment.
type State struct {
	Version     int64     // grows with every change
	Messages    []Message // of all channels, private ones included, oldest first
	Modals      []View    // the top one of each person
	Homes       []View
	Calls       []Call
	Deliveries  []Delivery
	Connections int // sockets that are open
	Connected   int // sockets that have been opened so far
}

// State returns the state as it is now.
func (s *Server) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snapshot()
}

// snapshot copies the state. The caller holds mu.
func (s *Server) snapshot() State {
	st := State{Version: s.version, Connections: len(s.sockets), Connected: s.connected}
	for _, m := range s.messages {
		st.Messages = append(st.Messages, *m)
	}
	for _, u := range s.users {
		if stack := s.modals[u.ID]; len(stack) > 0 {
			st.Modals = append(st.Modals, copyView(stack[len(stack)-1]))
		}
		if v := s.homes[u.ID]; v != nil {
			st.Homes = append(st.Homes, copyView(v))
		}
	}
	for _, c := range s.calls {
		st.Calls = append(st.Calls, *c)
	}
	for _, d := range s.deliveries {
		st.Deliveries = append(st.Deliveries, *d)
	}
	return st
}

// Wait waits until cond holds. It looks at once, and again after every change.
func (s *Server) Wait(ctx context.Context, cond func(State) bool) error {
	for {
		s.mu.Lock()
		st, changed := s.snapshot(), s.changed
		s.mu.Unlock()
		if cond(st) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for the stand-in: %w", context.Cause(ctx))
		}
	}
}

// WaitMessage waits for a message in the channel, a name or an ID, that match accepts, and returns the newest.
// It does not look at private messages.
func (s *Server) WaitMessage(ctx context.Context, channel string, match func(Message) bool) (Message, error) {
	id := s.Channel(channel).ID
	if id == "" {
		return Message{}, fmt.Errorf("unknown channel %s", channel)
	}
	return s.waitMessage(ctx, func(m Message) bool { return m.Channel == id && m.To == "" && match(m) })
}

func (s *Server) waitMessage(ctx context.Context, match func(Message) bool) (Message, error) {
	var found Message
	var seen []Message
	err := s.Wait(ctx, func(st State) bool {
		seen = st.Messages
		for _, m := range slices.Backward(st.Messages) {
			if match(m) {
				found = m
				return true
			}
		}
		return false
	})
	if err != nil {
		return Message{}, fmt.Errorf("no such message among %s: %w", summary(seen), err)
	}
	return found, nil
}

func summary(messages []Message) string {
	texts := make([]string, len(messages))
	for i, m := range messages {
		texts[i] = fmt.Sprintf("%q", m.Text)
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

// Messages returns what everyone in the channel sees, replies included, oldest first.
func (s *Server) Messages(channel string) []Message {
	id := s.Channel(channel).ID
	return slices.DeleteFunc(s.State().Messages, func(m Message) bool { return m.Channel != id || m.To != "" })
}

// Message returns the message as it stands now.
func (s *Server) Message(channel, ts string) (Message, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.channel(channel)
	if c == nil {
		return Message{}, false
	}
	m := s.find(c.ID, ts)
	if m == nil {
		return Message{}, false
	}
	return *m, true
}

// Replies returns what stands in the thread of a message, oldest first.
func (s *Server) Replies(channel, ts string) []Message {
	return slices.DeleteFunc(s.Messages(channel), func(m Message) bool { return m.ThreadTS != ts })
}

// Calls returns the calls of a method so far, in order; of all methods if it is empty.
func (s *Server) Calls(method string) []Call {
	return slices.DeleteFunc(s.State().Calls, func(c Call) bool { return method != "" && c.Method != method })
}

// WaitCalls waits until n calls of the method have been answered, and returns them.
func (s *Server) WaitCalls(ctx context.Context, method string, n int) ([]Call, error) {
	var calls []Call
	err := s.Wait(ctx, func(st State) bool {
		calls = slices.DeleteFunc(st.Calls, func(c Call) bool { return c.Method != method || !c.Done })
		return len(calls) >= n
	})
	return calls, err
}

// Deliveries returns the deliveries to the app so far, in order.
func (s *Server) Deliveries() []Delivery { return s.State().Deliveries }

// Delete deletes a message, as a person does in Slack.
func (s *Server) Delete(channel, ts string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.channel(channel); c != nil {
		if m := s.find(c.ID, ts); m != nil {
			s.remove(m)
		}
	}
}

// Connections returns the number of open sockets.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sockets)
}

// WaitConnections waits until there are exactly n open sockets.
func (s *Server) WaitConnections(ctx context.Context, n int) error {
	return s.Wait(ctx, func(st State) bool { return st.Connections == n })
}
