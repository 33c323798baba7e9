package slacksim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// See https://docs.slack.dev/apis/events-api/using-socket-mode.
const (
	maxSockets    = 10
	maxAckPayload = 20_000
	pingEvery     = 5 * time.Second
	writeTimeout  = 5 * time.Second
	drainTime     = 10 * time.Second
)

// socket is one Socket Mode connection.
type socket struct {
	number   int
	conn     *websocket.Conn
	draining bool // gets no more envelopes; guarded by the Server's mu

	writing sync.Mutex
}

func (c *socket) write(v any) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	return c.conn.WriteMessage(websocket.TextMessage, toJSON(v))
}

// appsConnectionsOpen hands out the address of a socket, good for one connection.
// See https://docs.slack.dev/reference/methods/apps.connections.open.
func (s *Server) appsConnectionsOpen(host string) (reply, error) {
	ticket := secret()
	s.tickets[ticket] = true
	return reply{"url": host + "/socket?ticket=" + ticket + "&app_id=" + AppID}, nil
}

// serveSocket is one Socket Mode connection from hello to its end.
// See https://docs.slack.dev/apis/events-api/using-socket-mode.
func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request) {
	ticket := r.URL.Query().Get("ticket")
	s.mu.Lock()
	valid := s.tickets[ticket]
	delete(s.tickets, ticket)
	s.mu.Unlock()
	if !valid {
		http.Error(w, "unknown ticket", http.StatusForbidden)
		return
	}
	// Clients of Socket Mode send Slack's own origin; the ticket is what admits them.
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		s.log.Debug("socket not opened", "err", err)
		return
	}
	defer func() { _ = conn.Close() }()
	c, n := s.join(conn)
	if n == 0 {
		return
	}
	if n > maxSockets {
		_ = c.write(disconnect("too_many_websockets"))
		return
	}
	defer s.leave(c)
	if err := c.write(map[string]any{
		"type": "hello", "num_connections": n,
		"connection_info": map[string]any{"app_id": AppID},
		"debug_info":      debugInfo(),
	}); err != nil {
		return
	}
	gone := make(chan struct{})
	defer close(gone)
	go s.ping(c, gone)
	for {
		_, message, err := conn.ReadMessage()
		if err != nil {
			return
		}
		s.acknowledge(c, message)
	}
}

func debugInfo() map[string]any {
	return map[string]any{"host": "applink-sim", "build_number": 1, "approximate_connection_time": 18060}
}

func disconnect(reason string) map[string]any {
	return map[string]any{"type": "disconnect", "reason": reason, "debug_info": debugInfo()}
}

// join lists the connection, unless there are enough, and returns how many there are with it; 0 once the Server is
// closed.
func (s *Server) join(conn *websocket.Conn) (*socket, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.done:
		return nil, 0
	default:
	}
	n := len(s.sockets) + 1
	c := &socket{number: s.connected + 1, conn: conn}
	if n <= maxSockets {
		s.connected++
		s.sockets = append(s.sockets, c)
		s.note(fmt.Sprintf("Socket %d is open", c.number))
	}
	return c, n
}

func (s *Server) leave(c *socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sockets = slices.DeleteFunc(s.sockets, func(o *socket) bool { return o == c })
	s.note(fmt.Sprintf("Socket %d is closed", c.number))
}

func (s *Server) ping(c *socket, gone <-chan struct{}) {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	for {
		if err := c.conn.WriteControl(websocket.PingMessage, []byte("Ping from stand-in"), time.Now().Add(writeTimeout)); err != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-gone:
			return
		case <-s.done:
			return
		}
	}
}

// waiting is an envelope that is to be acknowledged, by the connection that it went to.
type waiting struct {
	ack    chan json.RawMessage
	socket *socket // guarded by the Server's mu
}

// acknowledge takes what the app sent. Slack ignores answers that are too large, and those that nothing waits for.
// What it makes of one that comes by another connection than its envelope went to is not documented: here it counts
// for nothing.
func (s *Server) acknowledge(c *socket, message []byte) {
	var ack struct {
		EnvelopeID string          `json:"envelope_id"`
		Payload    json.RawMessage `json:"payload"`
	}
	if err := json.Unmarshal(message, &ack); err != nil || len(message) >= maxAckPayload {
		s.log.Debug("unusable acknowledgement", "bytes", len(message), "err", err)
		return
	}
	s.mu.Lock()
	w := s.pending[ack.EnvelopeID]
	if w == nil || w.socket != c {
		s.mu.Unlock()
		return
	}
	delete(s.pending, ack.EnvelopeID)
	s.mu.Unlock()
	w.ack <- ack.Payload
}

// sendSocket sends an envelope to one of the connections, in turn, and returns which.
func (s *Server) sendSocket(id string, envelope map[string]any) (int, bool) {
	s.mu.Lock()
	var ready []*socket
	for _, c := range s.sockets {
		if !c.draining {
			ready = append(ready, c)
		}
	}
	s.turn++
	turn := s.turn
	s.mu.Unlock()
	for i := range ready {
		c := ready[(turn+i)%len(ready)]
		s.mu.Lock()
		if w := s.pending[id]; w != nil {
			w.socket = c
		}
		s.mu.Unlock()
		if err := c.write(envelope); err == nil {
			return c.number, true
		}
	}
	return 0, false
}

// Disconnect sends a disconnect message to the oldest n connections, or to all if n is 0. The reasons of Slack are
// warning, refresh_requested and link_disabled. After a warning the connection goes on; after any other it gets no
// more deliveries, and is closed in 10 s.
func (s *Server) Disconnect(reason string, n int) {
	for _, c := range s.oldest(n) {
		if reason != "warning" {
			s.mu.Lock()
			c.draining = true
			s.mu.Unlock()
			time.AfterFunc(drainTime, func() { _ = c.conn.Close() })
		}
		if err := c.write(disconnect(reason)); err != nil {
			s.log.Debug("disconnect not sent", "err", err)
		}
	}
}

// Drop cuts the oldest n connections without a word, or all if n is 0.
func (s *Server) Drop(n int) {
	for _, c := range s.oldest(n) {
		_ = c.conn.NetConn().Close()
	}
}

func (s *Server) oldest(n int) []*socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n == 0 || n > len(s.sockets) {
		n = len(s.sockets)
	}
	return slices.Clone(s.sockets[:n])
}
