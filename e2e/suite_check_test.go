package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"

	"countersign/internal/slacksim"
	"countersign/workflows"
)

// figures are what must not happen, in the order in which they are told.
var figures = []string{
	"posts_lost", "posts_doubled", "decisions_lost", "decisions_doubled", "false_acks", "wrong_cards", "live_buttons", "unanswered",
}

// evidence is all that the check knows: what was asked and clicked, what Slack shows, and Temporal's histories. The
// program's own account of it, in logs and packages, is not among it.
type evidence struct {
	asked     []*asked
	clicks    []*click
	slack     slacksim.State
	histories map[string][]*historypb.HistoryEvent // by workflow ID
	// cut is when sockets were, which takes acknowledgements away.
	cut []time.Time
}

// found is what is off, by figure: a line each.
type found map[string][]string

func (f found) add(figure string, a *asked, format string, args ...any) {
	f[figure] = append(f[figure], fmt.Sprintf("%s: %s", a.label, fmt.Sprintf(format, args...)))
}

// decision is one as Temporal's events or a result have it.
type decision struct {
	Outcome string `json:"outcome"`
	By      struct {
		ID string `json:"id"`
	} `json:"by"`
	activity string
	taken    time.Time
}

func (d decision) same(o decision) bool { return d.Outcome == o.Outcome && d.By.ID == o.By.ID }

func (d decision) String() string { return d.Outcome + " by " + d.By.ID }

// account is what a history says.
type account struct {
	made    []decision // by the ends of open activities, in their order
	outcome string     // of the request; empty where there is none
	named   []decision // in the result
	ended   enumspb.EventType
	fault   string // why it failed, where a person's no or the time is not why
}

func decode(p *commonpb.Payloads, v any) bool {
	return len(p.GetPayloads()) > 0 && json.Unmarshal(p.GetPayloads()[0].GetData(), v) == nil
}

// read reads a history.
func read(events []*historypb.HistoryEvent) (a account) {
	type result struct {
		Outcome   string     `json:"outcome"`
		Decisions []decision `json:"decisions"`
	}
	open := map[int64]string{}
	decided := func(e *historypb.HistoryEvent, of int64, p *commonpb.Payloads) {
		d := decision{activity: open[of], taken: e.GetEventTime().AsTime()}
		if d.activity != "" && decode(p, &d) && (d.Outcome == "approved" || d.Outcome == "rejected") {
			a.made = append(a.made, d)
		}
	}
	ends := func(p *commonpb.Payloads) {
		var res result
		if decode(p, &res) {
			a.outcome, a.named = res.Outcome, res.Decisions
		}
	}
	for _, e := range events {
		a.ended = e.GetEventType()
		switch {
		case e.GetActivityTaskScheduledEventAttributes() != nil:
			s := e.GetActivityTaskScheduledEventAttributes()
			if _, _, _, ok := workflows.SplitActivityID(s.GetActivityId()); ok {
				open[e.GetEventId()] = s.GetActivityId()
			}
			var closing struct {
				Result result `json:"result"`
			}
			// What a greeting returns does not say who approved it; what its card is to say does.
			if s.GetActivityType().GetName() == workflows.CloseCard && decode(s.GetInput(), &closing) {
				a.outcome, a.named = closing.Result.Outcome, closing.Result.Decisions
			}
		case e.GetActivityTaskCompletedEventAttributes() != nil:
			c := e.GetActivityTaskCompletedEventAttributes()
			decided(e, c.GetScheduledEventId(), c.GetResult())
		case e.GetActivityTaskFailedEventAttributes() != nil:
			f := e.GetActivityTaskFailedEventAttributes()
			decided(e, f.GetScheduledEventId(), f.GetFailure().GetApplicationFailureInfo().GetDetails())
		case e.GetWorkflowExecutionCompletedEventAttributes() != nil:
			ends(e.GetWorkflowExecutionCompletedEventAttributes().GetResult())
		case e.GetWorkflowExecutionCanceledEventAttributes() != nil:
			ends(e.GetWorkflowExecutionCanceledEventAttributes().GetDetails())
		case e.GetWorkflowExecutionFailedEventAttributes() != nil:
			f := e.GetWorkflowExecutionFailedEventAttributes().GetFailure()
			switch t := f.GetApplicationFailureInfo().GetType(); t {
			case workflows.ErrTypeRejected, workflows.ErrTypeExpired:
				a.outcome = strings.ToLower(t)
			default:
				a.fault = t + ": " + f.GetMessage()
			}
		}
	}
	return a
}

// counted are the decisions that a result has to name: who says the same again says nothing new.
func (a account) counted() (all []decision) {
	for _, d := range a.made {
		if !slices.ContainsFunc(all, d.same) {
			all = append(all, d)
		}
	}
	return all
}

// due is the outcome that the decisions make; empty where they make none.
func (a account) due(required int) string {
	approvals := 0
	for _, d := range a.counted() {
		if d.Outcome == "rejected" {
			return "rejected"
		}
		if approvals++; approvals == required {
			return "approved"
		}
	}
	return ""
}

// terminated reports whether the workflow could not end by itself.
func (a account) terminated() bool {
	return a.ended == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED
}

func (a account) String() string {
	return fmt.Sprintf("made %v; %s, outcome %q naming %v %s", a.made, a.ended, a.outcome, a.named, a.fault)
}

// check compares what Slack shows and what was clicked with the histories.
func check(e evidence) found {
	f := found{}
	for _, a := range e.asked {
		account := read(e.histories[a.id])
		cards := e.cards(a)
		e.checkPosts(f, a, account, cards)
		checkDecisions(f, a, account)
		if len(cards) > 0 {
			checkCard(f, a, account, cards[0])
		}
		e.checkClicks(f, a, account, cards)
	}
	e.checkRest(f)
	return f
}

func (e evidence) cards(a *asked) (cards []slacksim.Message) {
	for _, m := range e.slack.Messages {
		if isCard(m, a) {
			cards = append(cards, m)
		}
	}
	return cards
}

// checkPosts wants one card of each request, and one greeting of each that was approved.
func (e evidence) checkPosts(f found, a *asked, account account, cards []slacksim.Message) {
	switch n := len(cards); {
	case n > 1:
		f.add("posts_doubled", a, "%d cards", n)
	case n == 0 && a.kind == expires && account.outcome == "expired" && len(account.made) == 0:
		// It was over before it could be posted.
	case n == 0:
		f.add("posts_lost", a, "no card")
	}
	if a.kind != greeting {
		return
	}
	n, want := 0, 0
	for _, m := range e.slack.Messages {
		if m.Channel == a.channel && m.ThreadTS == "" && m.Text == a.greets() {
			n++
		}
	}
	if account.due(1) == "approved" {
		want = 1
	}
	if n < want {
		f.add("posts_lost", a, "no greeting")
	} else if n > want {
		f.add("posts_doubled", a, "%d greetings, want %d", n, want)
	}
}

// checkRest wants nothing else twice either. All lines of a thread say something else.
func (e evidence) checkRest(f found) {
	seen := map[string]bool{}
	for _, m := range e.slack.Messages {
		if m.ThreadTS == "" || m.To != "" {
			continue
		}
		if key := m.Channel + m.ThreadTS + m.Text; !seen[key] {
			seen[key] = true
		} else {
			f["posts_doubled"] = append(f["posts_doubled"], "twice in a thread: "+m.Text)
		}
	}
}

// checkDecisions wants the result to be what the decisions make that Temporal took: each is in it once, in their order,
// and no other.
func checkDecisions(f found, a *asked, account account) {
	rounds := map[string]int{}
	for _, d := range account.made {
		if rounds[d.activity]++; rounds[d.activity] > 1 {
			f.add("decisions_doubled", a, "several decisions in the round %s: %s", d.activity, account)
		}
	}
	if account.terminated() {
		return
	}
	made := account.counted()
	for i, d := range made {
		at := slices.IndexFunc(account.named, d.same)
		if at < 0 {
			f.add("decisions_lost", a, "%s is not in the result: %s", d, account)
		} else if at != i {
			f.add("decisions_lost", a, "%s is not in its place: %s", d, account)
		}
	}
	for i, d := range account.named {
		if !slices.ContainsFunc(made, d.same) || slices.ContainsFunc(account.named[:i], d.same) {
			f.add("decisions_doubled", a, "%s is once more in the result than it was made: %s", d, account)
		}
	}
	switch due := account.due(a.required()); {
	case due != "" && account.outcome != due:
		f.add("decisions_lost", a, "it ended %s, want %s: %s", account.outcome, due, account)
	case due == "" && (account.outcome == "approved" || account.outcome == "rejected"):
		f.add("decisions_doubled", a, "it ended %s without enough decisions: %s", account.outcome, account)
	}
}

var (
	heading  = regexp.MustCompile(`^(Approved|Rejected|Expired|Withdrawn|Ended)\b`)
	deciders = regexp.MustCompile(`(?:Approved|Rejected) by (.*?) on <!date`)
	mention  = regexp.MustCompile(`<@(\w+)>`)
)

// checkCard wants a card without buttons, that says how the request ended, and by whom.
func checkCard(f found, a *asked, account account, card slacksim.Message) {
	if len(card.Buttons()) > 0 {
		f.add("live_buttons", a, "the card is open: %q; %s", card.Text, account)
		return
	}
	outcome, by := account.outcome, account.named
	if account.terminated() {
		outcome, by = account.due(a.required()), account.counted()
	}
	want, ok := map[string]string{
		"approved": "Approved", "rejected": "Rejected", "expired": "Expired", "withdrawn": "Withdrawn",
	}[outcome]
	if !ok {
		want = "Ended"
	}
	var people []string
	for _, d := range by {
		if d.Outcome == outcome {
			people = append(people, d.By.ID)
		}
	}
	var shown []string
	if m := deciders.FindStringSubmatch(card.Text); m != nil {
		for _, id := range mention.FindAllStringSubmatch(m[1], -1) {
			shown = append(shown, id[1])
		}
	}
	slices.Sort(people)
	slices.Sort(shown)
	if heading.FindString(card.Text) != want || !strings.Contains(card.PlainText(), want) || !slices.Equal(people, shown) {
		f.add("wrong_cards", a, "the card says %q, want %s by %q; %s", card.Text, want, people, account)
	}
}

// within is the time in which somebody who clicked is told something: a bot gives itself 15 s after Slack's 3.
const within = 20 * time.Second

// checkClicks wants that what was acknowledged as done was done, and that everybody is answered.
func (e evidence) checkClicks(f found, a *asked, account account, cards []slacksim.Message) {
	// Temporal has it when its owner hears so, not only once they have clicked again.
	has := func(c *click, by time.Time) bool {
		return slices.ContainsFunc(account.made, func(d decision) bool {
			return d.By.ID == c.person && d.Outcome == string(c.wants) && d.taken.Before(by)
		})
	}
	clicked := map[string]bool{}
	for i, c := range e.clicks {
		if c.of != a {
			continue
		}
		clicked[c.person] = true
		until := c.at.Add(within)
		if next := slices.IndexFunc(e.clicks[i+1:], func(o *click) bool { return o.person == c.person }); next >= 0 && c.Acked {
			until = e.clicks[i+1+next].at
		}
		told := toldIn(e.slack, c.person, c.at, until)
		recorded := slices.ContainsFunc(told, func(s string) bool { return strings.Contains(s, "your decision was recorded") })
		switch said := len(told) > 0 || len(c.Response) > 0; {
		case recorded && !has(c, until):
			f.add("false_acks", a, "%s was told %q; %s", c.name, told, account)
		case c.Acked && !c.asks && !said && !has(c, c.Sent.Add(c.Took+500*time.Millisecond)):
			f.add("false_acks", a, "%s: %s; %s", c.name, c.Delivery, account)
		case c.Acked && c.asks && !c.form && !said, !c.Acked && !c.form && !said && !e.away(c):
			f.add("unanswered", a, "%s: %s, at %s; %s", c.name, c.Delivery, c.at.Format(time.StampMilli), account)
		}
	}
	for _, p := range a.actors {
		answered := slices.ContainsFunc(account.made, func(d decision) bool { return d.By.ID == p.ID() }) ||
			len(toldIn(e.slack, p.ID(), time.Time{}, time.Now())) > 0 || len(cards) > 0 && len(cards[0].Buttons()) == 0
		if clicked[p.ID()] && !answered {
			f.add("unanswered", a, "%s was never told anything", p.name)
		}
	}
}

// away reports whether what could have answered a click was taken away: it reached no process, its process was killed,
// its socket was cut, or Slack refused each way of telling.
func (e evidence) away(c *click) bool {
	until := c.at.Add(within)
	if c.taker == nil || !c.taker.killed.IsZero() && c.taker.killed.Before(until) {
		return true
	}
	if slices.ContainsFunc(e.cut, func(t time.Time) bool {
		return t.After(c.Sent.Add(-500*time.Millisecond)) && t.Before(c.Sent.Add(c.Took))
	}) {
		return true
	}
	return slices.ContainsFunc(e.slack.Calls, func(o slacksim.Call) bool {
		return o.Method == "chat.postEphemeral" && o.Args.String("user") == c.person && !o.Performed && o.Time.After(c.at) && o.Time.Before(until)
	})
}

// stamp is the time of a message.
func stamp(ts string) time.Time {
	seconds, micros, _ := strings.Cut(ts, ".")
	s, _ := strconv.ParseInt(seconds, 10, 64)
	m, _ := strconv.ParseInt(micros, 10, 64)
	return time.Unix(s, m*1000)
}

// short is a history for people.
func short(events []*historypb.HistoryEvent) string {
	var b strings.Builder
	names := map[int64]string{}
	for _, e := range events {
		what := strings.TrimPrefix(e.GetEventType().String(), "EVENT_TYPE_")
		if strings.HasPrefix(what, "WorkflowTask") {
			continue
		}
		fmt.Fprintf(&b, "  %s %d %s", e.GetEventTime().AsTime().Local().Format("15:04:05.000"), e.GetEventId(), what)
		var of int64
		switch {
		case e.GetActivityTaskScheduledEventAttributes() != nil:
			s := e.GetActivityTaskScheduledEventAttributes()
			of, names[e.GetEventId()] = e.GetEventId(), s.GetActivityType().GetName()+" "+s.GetActivityId()
		case e.GetActivityTaskStartedEventAttributes() != nil:
			of = e.GetActivityTaskStartedEventAttributes().GetScheduledEventId()
			fmt.Fprintf(&b, " attempt %d", e.GetActivityTaskStartedEventAttributes().GetAttempt())
		case e.GetActivityTaskCompletedEventAttributes() != nil:
			c := e.GetActivityTaskCompletedEventAttributes()
			of = c.GetScheduledEventId()
			if strings.Contains(names[of], "-decision-") && len(c.GetResult().GetPayloads()) > 0 {
				fmt.Fprintf(&b, " %.100s", c.GetResult().GetPayloads()[0].GetData())
			}
		case e.GetActivityTaskFailedEventAttributes() != nil:
			of = e.GetActivityTaskFailedEventAttributes().GetScheduledEventId()
			fmt.Fprintf(&b, " %s", e.GetActivityTaskFailedEventAttributes().GetFailure().GetMessage())
		case e.GetActivityTaskCanceledEventAttributes() != nil:
			of = e.GetActivityTaskCanceledEventAttributes().GetScheduledEventId()
		}
		fmt.Fprintf(&b, " %s\n", names[of])
	}
	return b.String()
}

// tell is all that there is to know of a request that something is off about.
func (e evidence) tell(a *asked) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s", a, short(e.histories[a.id]))
	for _, c := range e.clicks {
		if c.of == a {
			by, killed := "nobody", ""
			if c.taker != nil {
				by = c.taker.name
			}
			if c.taker != nil && !c.taker.killed.IsZero() {
				killed = ", killed at " + c.taker.killed.Format("15:04:05.000")
			}
			fmt.Fprintf(&b, "  %s %s: %s; form %v, by %s%s\n", c.at.Format("15:04:05.000"), c.name, c.Delivery, c.form, by, killed)
		}
	}
	people := map[string]bool{}
	for _, p := range a.actors {
		people[p.ID()] = true
	}
	for _, m := range e.slack.Messages {
		if about(m.Text) == a.n || people[m.To] {
			fmt.Fprintf(&b, "  %s to %q in thread %q, %d edits: %q, %d buttons\n", stamp(m.TS).Format("15:04:05.000"), m.To, m.ThreadTS, m.Edits, m.Text, len(m.Buttons()))
		}
	}
	for _, c := range e.slack.Calls {
		if about(c.Args.String("text")) == a.n || people[c.Args.String("user")] {
			fmt.Fprintf(&b, "  %s %s: status %d %s, performed %v\n", c.Time.Format("15:04:05.000"), c.Method, c.Status, c.Error, c.Performed)
		}
	}
	return b.String()
}

// off are the requests that a line of f is about.
func (e evidence) off(f found) (all []*asked) {
	for _, lines := range slices.Collect(maps.Values(f)) {
		for _, line := range lines {
			for _, a := range e.asked {
				if about(line) == a.n && !slices.Contains(all, a) {
					all = append(all, a)
				}
			}
		}
	}
	return all
}
