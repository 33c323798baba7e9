package e2e

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"countersign/internal/slacksim"
	"countersign/workflows"
)

// story is what a request of the fault suite is, and what becomes of it.
type story string

const (
	one        story = "1 of 1"
	anyone     story = "1 of 1, anybody in the channel"
	race       story = "1 of 2, one approves and one rejects at once"
	two        story = "2 of 3"
	roles      story = "one of each role"
	reason     story = "rejected in a form"
	inputs     story = "approved in a form"
	greeting   story = "greeting"
	expires    story = "expires"
	withdrawn  story = "withdrawn"
	cancelled  story = "cancelled"
	terminated story = "terminated"
)

var stories = []story{terminated, inputs, reason, two, roles, withdrawn, race, cancelled, expires, anyone, greeting, one}

// point is where a process is killed: at a call, by what it says, before the other side has it or after it has carried it
// out and before it answers.
type point struct {
	name   string
	method string // of Slack or Temporal
	says   string // in the call
	lacks  string
	after  bool
	kinds  []story // of requests that come by
}

var (
	deciding = []story{one, anyone, race, two, roles}
	ending   = []story{withdrawn, cancelled, expires}
	posting  = []story{one, two, roles, reason, inputs}
)

// points are all between two steps of a post and of a click. What takes longest to be mended is first: nothing waits for
// it alone then.
var points = []point{
	{name: "before the post is noted", method: "RecordActivityTaskHeartbeat", says: `"posting":`, kinds: []story{greeting}},
	{name: "before the post", method: "chat.postMessage", says: `"action_id":"approve"`, kinds: []story{greeting}},
	{name: "after Slack took it", method: "chat.postMessage", says: `"action_id":"approve"`, after: true, kinds: append(posting, greeting)},
	{name: "before its address is noted", method: "RecordActivityTaskHeartbeat", says: `"card":{`, kinds: append(posting, greeting)},
	{name: "before the signal", method: "SignalWorkflowExecution", kinds: []story{greeting}},
	{name: "before the post is reported", method: "RespondActivityTaskCompleted", says: `"ts":"`, kinds: posting},
	{name: "before the end is reported", method: "RespondActivityTaskCanceledById", kinds: ending},
	{name: "after the end is reported", method: "RespondActivityTaskCanceledById", after: true, kinds: ending},
	{name: "before the close", method: "chat.update", lacks: `"action_id":"approve"`, kinds: append(posting, race)},
	{name: "after the close", method: "chat.update", lacks: `"action_id":"approve"`, after: true, kinds: append(posting, race)},
	{name: "before the commit", method: "RespondActivityTask", says: `"outcome":"`, kinds: deciding},
	{name: "after the commit", method: "RespondActivityTask", says: `"outcome":"`, after: true, kinds: deciding},
	{name: beforeAck, kinds: deciding},
}

// slow is how many of them are mended only when Temporal gives an attempt up, after 90 s or more.
const slow = 8

// beforeAck is the point of a call that no process makes: its bot is killed when Slack is about to have the answer.
const beforeAck = "before the acknowledgement"

// fits reports whether a call is one that the point is at.
func (p point) fits(method, body string) bool {
	byID := method == "RespondActivityTaskCompletedById" || method == "RespondActivityTaskFailedById"
	return (p.method == method || p.method == "RespondActivityTask" && byID) &&
		strings.Contains(body, p.says) && (p.lacks == "" || !strings.Contains(body, p.lacks))
}

// actor is a person, and what they want to do about a request. Nobody acts on two requests: so what somebody is told in
// private is about that one.
type actor struct {
	slacksim.Person
	name    string
	outcome workflows.Outcome
	after   time.Duration // since the card is there
}

// asked is a request as it is planned.
type asked struct {
	n       int
	id      string // of its workflow
	label   string // stands in its title, and in nobody else's
	kind    story
	mode    mode
	place   string // the channel's name, and its ID
	channel string
	after   time.Duration
	end     time.Duration // since the card is there: when it is withdrawn, cancelled or terminated
	kill    *point
	actors  []*actor

	begun  atomic.Bool  // it is asked, or will be
	acting atomic.Int32 // those who have not stopped
	closed atomic.Bool  // so is its workflow
}

// title is what its card says.
func (a *asked) title() string {
	if a.kind == greeting {
		return "Greet " + a.label
	}
	return a.label
}

// greets is the message that comes of an approved greeting.
func (a *asked) greets() string { return "Hello, " + a.label + "!" }

// required is how many have to approve.
func (a *asked) required() int {
	if a.kind == two || a.kind == roles {
		return 2
	}
	return 1
}

func (a *asked) String() string {
	s := fmt.Sprintf("%s (%s, %s, in #%s) asked after %v", a.label, a.kind, a.mode, a.place, a.after)
	if a.end > 0 {
		s += fmt.Sprintf(", ended %v after its card", a.end)
	}
	if a.kill != nil {
		s += ", a kill " + a.kill.name
	}
	for _, p := range a.actors {
		s += fmt.Sprintf("; %s %s: %s after %v", p.name, p.ID(), p.outcome, p.after)
	}
	return s
}

// dice are thrown for the n-th thing of a sort: the same seed gives the same.
func dice(seed uint64, sort string, n int) *rand.Rand {
	h := fnv.New64()
	fmt.Fprint(h, sort)
	return rand.New(rand.NewPCG(seed^h.Sum64(), uint64(n)))
}

func oneOf[T any](r *rand.Rand, all ...T) T { return all[r.IntN(len(all))] }

// between is a length of time, in milliseconds.
func between(r *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(r.Int64N(int64((to-from)/time.Millisecond)))*time.Millisecond
}

// pace is the time between two requests.
const pace = 800 * time.Millisecond

// plan says what is asked, who wants what, and where a process is killed: n requests, half of them in each mode. All of it
// comes from the seed. What it cannot say is what meets what: that is up to the machine, each time anew. A planned kill may
// therefore never fall, as where a click comes before the signal that it was planned for: spare are one request more for
// each point, times over, to be asked at once where no kill has fallen there.
func plan(seed uint64, n int) (all, spare []*asked) {
	all = make([]*asked, n+times*len(points))
	for i := range all {
		r := dice(seed, "request", i)
		a := &asked{
			n: i, id: fmt.Sprintf("faults-%d-%04d", seed, i), label: fmt.Sprintf("Request %04d of %d", i, seed),
			mode: []mode{socketMode, httpMode}[(uint64(i)+seed)%2], place: fmt.Sprintf("room-%d", r.IntN(n/8+2)),
			after: time.Duration(i)*pace + between(r, 0, pace),
		}
		// The first ones have each point once. Of the others every second has any, but none that is mended slowly among the
		// last.
		switch {
		case i < len(points):
			a.kill = &points[i]
		case i >= n:
			a.kill, a.after = &points[(i-n)%len(points)], 0
		case i < len(points)+len(stories) || r.IntN(2) == 0:
		case n-i < 60:
			a.kill = &points[slow+r.IntN(len(points)-slow)]
		default:
			a.kill = &points[r.IntN(len(points))]
		}
		switch {
		case a.kill != nil:
			a.kind = oneOf(r, a.kill.kinds...)
		case i < len(points)+len(stories): // one of each
			a.kind = stories[i-len(points)]
		default:
			a.kind = oneOf(r, stories...)
		}
		wants := []workflows.Outcome{workflows.Approved}
		apart := between(r, 0, 3*time.Second)
		switch a.kind {
		case one, anyone, greeting:
			wants[0] = oneOf(r, workflows.Approved, workflows.Approved, workflows.Rejected)
		case reason:
			wants[0] = workflows.Rejected
		case race:
			wants, apart = append(wants, workflows.Rejected), 50*time.Millisecond
		case two:
			wants = append(wants, workflows.Approved, oneOf(r, workflows.Approved, workflows.Approved, workflows.Rejected))
		case roles:
			wants = append(wants, workflows.Approved)
		}
		for j, outcome := range wants {
			a.actors = append(a.actors, &actor{name: fmt.Sprintf("%c-%04d", 'a'+j, i), outcome: outcome, after: between(r, 0, apart+time.Millisecond)})
		}
		switch a.kind {
		case withdrawn, cancelled, terminated:
			a.end = between(r, time.Millisecond, 3*time.Second)
		case expires:
			a.actors[0].after = between(r, 0, 2*expiry)
		}
		if a.kill != nil && a.kill.method == "RespondActivityTaskCanceledById" {
			a.actors[0].after = time.Hour // so that nobody ends it before
		}
		all[i] = a
	}
	return all[:n:n], all[n:]
}

// times is how many spare requests there are for a point.
const times = 3

// expiry is when a request expires that does.
const expiry = 15 * time.Second

// request is what the approval is started with.
func (s *suite) request(a *asked) workflows.Request {
	r := workflows.Request{
		Title: a.title(), Channel: a.channel, Requester: s.sim.Person("alice").ID(), RejectReason: workflows.Off,
	}
	for _, p := range a.actors {
		r.Approvers.Users = append(r.Approvers.Users, p.ID())
	}
	switch a.kind {
	case anyone:
		r.Approvers = workflows.Approvers{Channel: true}
	case two:
		r.Required = 2
	case roles:
		r.Approvers = workflows.Approvers{}
		for _, p := range a.actors {
			group := s.sim.Group(p.name).ID
			r.Roles = append(r.Roles, workflows.Role{Name: p.name, Approvers: workflows.Approvers{Groups: []string{group}}})
		}
	case reason:
		r.RejectReason = workflows.Required
	case inputs:
		r.Inputs = []workflows.Input{{Name: "replicas", Type: workflows.NumberInput, Initial: "3"}}
	case expires:
		r.Deadline = workflows.Duration(expiry.String())
	}
	return r
}

// slackFault is what the n-th call of a sort meets in Slack; nil: nothing.
func slackFault(seed uint64, method, sort string, n int) *slacksim.Fault {
	r := dice(seed, method+" "+sort, n)
	if r.IntN(100) >= 12 {
		return nil
	}
	performed := r.IntN(2) == 0
	if r.IntN(12) == 0 {
		return &slacksim.Fault{Hang: true, Performed: performed} // for the 10 s that a call may take
	}
	faults := []*slacksim.Fault{
		{Status: 429, RetryAfter: time.Second}, // Slack has done nothing then.
		{Status: 500, Performed: performed},
		{Status: 503, Performed: performed},
		{Cut: true, Performed: performed},
	}
	if method != "response_url" { // It tells all with its HTTP status.
		faults = append(faults, &slacksim.Fault{Error: "internal_error", Performed: performed})
	}
	return oneOf(r, faults...)
}

// deliveryFault is what a person's n-th click meets on its way.
func deliveryFault(seed uint64, person string, n int) *slacksim.DeliveryFault {
	r := dice(seed, "delivery "+person, n)
	switch r.IntN(16) {
	case 0:
		return &slacksim.DeliveryFault{Twice: true}
	case 1:
		return &slacksim.DeliveryFault{Delay: between(r, 100*time.Millisecond, 1500*time.Millisecond)}
	case 2:
		return &slacksim.DeliveryFault{Lost: true}
	default:
		return nil
	}
}

// blow is what befalls a whole kind of processes, or all sockets.
type blow string

const (
	noWorker   blow = "all workers are killed"
	dropped    blow = "all sockets are cut"
	noTemporal blow = "Temporal is killed"
	noBot      blow = "all bots are killed"
	refreshed  blow = "a socket is refreshed"
)

// blows are planned as well: each once in every 50 s of asking, at the least once.
func blows(seed uint64, last time.Duration) (all []struct {
	blow
	at time.Duration
},
) {
	const round = 50 * time.Second
	for i := 0; i == 0 || time.Duration(i)*round < last; i++ {
		r := dice(seed, "blows", i)
		for j, b := range []blow{dropped, noTemporal, noBot, noWorker, refreshed} {
			at := time.Duration(i)*round + time.Duration(j+1)*8*time.Second + between(r, 0, 5*time.Second)
			all = append(all, struct {
				blow
				at time.Duration
			}{b, at})
		}
	}
	return all
}
