package slacksim

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Fault is what a Web API call meets instead of its answer. Exactly one of Status, Error, Cut and Hang is set.
type Fault struct {
	Method string // empty: every method; "response_url": response URLs
	Times  int    // how many calls; 0: until ClearFaults

	Status     int           // an HTTP status, 429 or 5xx
	RetryAfter time.Duration // with status 429, in whole seconds
	Error      string        // ok:false with this error
	Cut        bool          // the connection is closed without an answer
	Hang       bool          // no answer until the client gives up or the fault is cleared

	// Performed lets the call have its effect first: the message is posted, and the app hears that it is not.
	Performed bool
}

type fault struct {
	Fault
	name    string // of a fault of the page
	left    int
	cleared chan struct{}
}

// Inject makes later calls fail. Faults on the same method are met in order.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &fault{Fault: f, left: f.Times, cleared: make(chan struct{})})
}

// ClearFaults ends all faults of Inject and InjectDelivery, and answers no call that hangs: its connection is cut.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		close(f.cleared)
	}
	s.faults, s.deliveryFaults = nil, nil
}

// OnCall has f look at every Web API call before it is performed. The fault that f returns is what the call meets; nil
// lets it pass. f may block, and may use the Server. A nil f ends this.
func (s *Server) OnCall(f func(Call) *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onCall = f
}

func (s *Server) takeFault(c *Call) *fault {
	s.mu.Lock()
	hook, snapshot := s.onCall, *c
	s.mu.Unlock()
	if hook != nil {
		if f := hook(snapshot); f != nil {
			return &fault{Fault: *f, cleared: make(chan struct{})}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.faults {
		if f.Method != "" && f.Method != c.Method {
			continue
		}
		// A fault that hangs stays listed, used up, so that ClearFaults finds it.
		if f.Times > 0 && f.left == 0 {
			continue
		}
		f.left--
		if f.Times > 0 && f.left == 0 && !f.Hang {
			s.faults = slices.Delete(s.faults, i, i+1)
		}
		return f
	}
	return nil
}

// fail answers a call as the fault says.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, f *fault, c *Call) {
	switch {
	case f.Hang:
		select {
		case <-r.Context().Done():
		case <-f.cleared:
		case <-s.done:
		}
		s.finish(c, 0, "")
		cut(w)
	case f.Cut:
		s.finish(c, 0, "")
		cut(w)
	case f.Error != "":
		s.finish(c, http.StatusOK, f.Error)
		writeJSON(w, http.StatusOK, s.failure(&apiError{code: f.Error}))
	case f.Status == http.StatusTooManyRequests:
		s.finish(c, f.Status, "ratelimited")
		w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter.Seconds())))
		writeJSON(w, f.Status, reply{"ok": false, "error": "ratelimited"})
	default:
		s.finish(c, f.Status, "")
		w.WriteHeader(f.Status)
	}
}

// cut closes the connection of a request without an answer.
func cut(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
	}
}

// Moment is where a Gate stands.
type Moment int

// A call is held before it has its effect, or after that and before its answer.
const (
	Before Moment = iota
	After
)

// Gate holds one Web API call in flight.
type Gate struct {
	method  string
	moment  Moment
	taken   bool
	arrived chan Call
	release chan struct{}
}

// Hold makes the next call of method wait, at that moment, until the Gate is released. The call then goes on even if
// the client has given up, as a request does that Slack has already read.
func (s *Server) Hold(method string, at Moment) *Gate {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := &Gate{method: method, moment: at, arrived: make(chan Call, 1), release: make(chan struct{})}
	s.gates = append(s.gates, g)
	return g
}

// Wait waits for the call to arrive at the gate.
func (g *Gate) Wait(ctx context.Context) (Call, error) {
	select {
	case c := <-g.arrived:
		return c, nil
	case <-ctx.Done():
		return Call{}, context.Cause(ctx)
	}
}

// Release lets the call go on. It must be called once.
func (g *Gate) Release() { close(g.release) }

func (s *Server) passGate(c *Call, at Moment) {
	s.mu.Lock()
	i := slices.IndexFunc(s.gates, func(g *Gate) bool { return g.method == c.Method && g.moment == at && !g.taken })
	if i < 0 {
		s.mu.Unlock()
		return
	}
	g := s.gates[i]
	g.taken = true
	snapshot := *c
	s.mu.Unlock()
	g.arrived <- snapshot
	select {
	case <-g.release:
	case <-s.done:
	}
}

// DeliveryFault is what a delivery to the app meets on its way.
type DeliveryFault struct {
	Kind  DeliveryKind  // empty: every kind
	Times int           // how many deliveries; 0: until ClearFaults
	Delay time.Duration // before it is sent; the person waits, the clock of its acknowledgement does not run
	Twice bool          // sent twice, each time to be acknowledged
	Lost  bool          // never sent

	silent bool // with Lost: the person waits for as long as an app may take
}

// InjectDelivery tampers with later deliveries.
func (s *Server) InjectDelivery(f DeliveryFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deliveryFaults = append(s.deliveryFaults, &f)
}

// OnDelivery has f look at every delivery before it is sent, when it has no ID yet. The fault that f returns is what the
// delivery meets; nil leaves it to InjectDelivery. f may use the Server. A nil f ends this.
func (s *Server) OnDelivery(f func(Delivery) *DeliveryFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onDelivery = f
}

// OnAck has f look at every delivery that the app has acknowledged in time. Where f returns false, the acknowledgement is
// lost on its way to Slack, and the delivery's time runs out. f may use the Server. A nil f ends this.
func (s *Server) OnAck(f func(Delivery) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onAck = f
}

// ackLost reports whether the acknowledgement of d is lost on its way.
func (s *Server) ackLost(d *Delivery, got outcome, took time.Duration) bool {
	s.mu.Lock()
	hook, snapshot := s.onAck, *d
	s.mu.Unlock()
	if hook == nil {
		return false
	}
	snapshot.Done, snapshot.Acked, snapshot.Took = true, true, took
	snapshot.Response, snapshot.Status, snapshot.Socket = got.body, got.status, got.socket
	return !hook(snapshot)
}

func (s *Server) takeDeliveryFault(o outgoing) DeliveryFault {
	s.mu.Lock()
	hook := s.onDelivery
	s.mu.Unlock()
	if hook != nil {
		if f := hook(Delivery{
			Kind: o.kind, User: o.user, Payload: toJSON(o.payload), TriggerID: o.triggerID, ResponseURL: o.responseURL,
		}); f != nil {
			return *f
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.deliveryFaults {
		if f.Kind != "" && f.Kind != o.kind {
			continue
		}
		found := *f
		if f.Times > 0 {
			f.Times--
			if f.Times == 0 {
				s.deliveryFaults = slices.Delete(s.deliveryFaults, i, i+1)
			}
		}
		return found
	}
	return DeliveryFault{}
}
