package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"countersign/internal/slacksim"
	"countersign/workflows"
)

// aDelivery is a request as it came to a Request URL.
type aDelivery struct {
	header http.Header
	body   []byte
}

// passing has what Slack delivers to the process at address pass by here. What it returns is the next click's delivery.
func (w *world) passing(address string) <-chan aDelivery {
	w.Helper()
	clicks := make(chan aDelivery, 100)
	on := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: address})
	way := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.Errorf("read a delivery: %v", err)
		}
		if bytes.Contains(body, []byte("block_actions")) {
			clicks <- aDelivery{r.Header.Clone(), body}
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		on.ServeHTTP(rw, r)
	}))
	w.Cleanup(way.Close)
	w.sim.SetRequestURL(way.URL + "/slack/events")
	return clicks
}

// sends sends a delivery to the process at address, and returns the answer's status.
func (w *world) sends(address string, d aDelivery) int {
	w.Helper()
	r, err := http.NewRequestWithContext(w.ctx, http.MethodPost, "http://"+address+"/slack/events", bytes.NewReader(d.body))
	w.must(err)
	r.Header = d.header.Clone()
	answer, err := http.DefaultClient.Do(r)
	w.must(err)
	w.must(answer.Body.Close())
	return answer.StatusCode
}

// decisions are those that the approval's history has.
func (w *world) decisions(id, run string) (n int) {
	w.Helper()
	asked := map[int64]bool{}
	for _, e := range w.history(w.temporal.GetWorkflow(w.ctx, id, run)) {
		if e.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName() == workflows.AwaitDecision {
			asked[e.GetEventId()] = true
		}
		if asked[e.GetActivityTaskCompletedEventAttributes().GetScheduledEventId()] || asked[e.GetActivityTaskFailedEventAttributes().GetScheduledEventId()] {
			n++
		}
	}
	return n
}

// What Slack did not send is refused, although all else of it is a click that counts. Then such a click counts; caught
// and sent once more it is refused, and by another process, which has not seen it, it is done once all the same.
func TestDoor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, httpMode, shared.temporal.Address)
	p := w.start("run")
	address := w.sees(p, `msg=listening address=(\S+)`)[1]
	clicks := w.passing(address)
	run := w.approval(workflows.Request{Approvers: w.people("bob", "carol", "dave"), Required: 2})
	card := w.card("general", "Deploy v2")
	button := card.Buttons()[slices.IndexFunc(card.Buttons(), func(b slacksim.Button) bool { return b.ActionID == "approve" })]

	bob := w.sim.Person("bob")
	payload, err := json.Marshal(map[string]any{
		"type": "block_actions", "trigger_id": "1.2.3",
		"user":      map[string]any{"id": bob.ID(), "name": "bob", "team_id": slacksim.TeamID},
		"container": map[string]any{"type": "message", "channel_id": card.Channel, "message_ts": card.TS},
		"actions":   []any{map[string]any{"type": "button", "action_id": button.ActionID, "block_id": button.BlockID, "value": button.Value}},
	})
	w.must(err)
	click := url.Values{"payload": {string(payload)}}.Encode()
	const large = 1 << 20
	// The headers of the click, signed at another time.
	signed := func(secret string, off time.Duration) map[string]string {
		second := strconv.FormatInt(time.Now().Add(off).Unix(), 10)
		return map[string]string{"X-Slack-Request-Timestamp": second, "X-Slack-Signature": slacksim.Sign(secret, second, click)}
	}
	right := slacksim.DefaultSigningSecret
	type asked struct {
		line   string // of the request
		header map[string]string
		body   string
		rest   bool // the body's end does not come
	}
	const asSlack = "POST /slack/events"
	for name, tc := range map[string]struct {
		asked
		status int // 0: the connection is ended without an answer
	}{
		"not signed":                 {asked{asSlack, map[string]string{}, click, false}, 401},
		"signed with another secret": {asked{asSlack, signed("guess", 0), click, false}, 401},
		"changed":                    {asked{asSlack, signed(right, 0), click + "&x=1", false}, 401},
		"signed six minutes ago":     {asked{asSlack, signed(right, -6*time.Minute), click, false}, 401},
		"signed six minutes ahead":   {asked{asSlack, signed(right, 6*time.Minute), click, false}, 401},
		"with a query":               {asked{asSlack + "?x=1", signed(right, 0), click, false}, 400},
		"another path":               {asked{"POST /slack/event", signed(right, 0), click, false}, 404},
		"GET":                        {asked{"GET /slack/events", signed(right, 0), click, false}, 405},
		"PUT":                        {asked{"PUT /slack/events", signed(right, 0), click, false}, 405},
		"text":                       {asked{asSlack, with(signed(right, 0), "Content-Type", "text/plain"), click, false}, 415},
		"compressed":                 {asked{asSlack, with(signed(right, 0), "Content-Encoding", "gzip"), click, false}, 415},
		"large, it says":             {asked{asSlack, with(signed(right, 0), "Content-Length", strconv.Itoa(large+1)), click, true}, 413},
		"slow in the head":           {asked{asSlack, signed(right, 0), "", true}, 0},
		"slow in the body":           {asked{asSlack, with(signed(right, 0), "Content-Length", strconv.Itoa(len(click)+1)), click, true}, 408},
	} {
		t.Run("refused, "+name, func(t *testing.T) {
			var d net.Dialer
			c, err := d.DialContext(w.ctx, "tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			limit, _ := w.ctx.Deadline()
			if err := c.SetDeadline(limit); err != nil { // A process that waits for ever fails the test.
				t.Fatal(err)
			}
			header := map[string]string{"Host": address, "Content-Type": "application/x-www-form-urlencoded", "Content-Length": strconv.Itoa(len(tc.body))}
			maps.Copy(header, tc.header)
			text := tc.line + " HTTP/1.1\r\n"
			for name, value := range header {
				text += name + ": " + value + "\r\n"
			}
			if tc.status != 0 {
				text += "\r\n" + tc.body
			}
			if !tc.rest {
				text = strings.Replace(text, "\r\n", "\r\nConnection: close\r\n", 1)
			}
			if _, err := io.WriteString(c, text); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(c)
			if err != nil {
				t.Errorf("the connection was not ended: %v", err)
			}
			if want := fmt.Sprintf("HTTP/1.1 %d ", tc.status); tc.status == 0 && len(answer) > 0 || tc.status != 0 && !bytes.HasPrefix(answer, []byte(want)) {
				t.Errorf("answered %q, want %d", answer, tc.status)
			}
			if tc.status != 0 {
				w.sees(p, `level=WARN msg="refuse a request[^"]*" status=`+strconv.Itoa(tc.status))
			}
		})
	}
	if n := w.decisions(run.GetID(), run.GetRunID()); n != 0 {
		t.Fatalf("what was refused made %d decisions", n)
	}

	w.click(w.as("bob", "general"), card, "approve", true)
	half := w.redrawn(card, "1 of 2")
	caught := <-clicks
	if status := w.sends(address, caught); status != http.StatusConflict {
		t.Errorf("a click that was sent once more was answered %d", status)
	}

	other := w.launch([]string{"bot"})
	elsewhere := w.sees(other, `msg=listening address=(\S+)`)[1]
	w.sees(other, `msg=ready`)
	told := len(w.as("bob", "general").Ephemerals(card.Channel))
	if status := w.sends(elsewhere, caught); status != http.StatusOK && status != http.StatusServiceUnavailable { // on a busy machine
		t.Errorf("a click that was sent once more, to another process, was answered %d", status)
	}
	if status := w.sends(elsewhere, caught); status != http.StatusConflict {
		t.Errorf("a click that was sent once more, twice, was answered %d", status)
	}
	if n := len(w.as("bob", "general").Ephemerals(card.Channel)); n > told+1 {
		t.Errorf("bob was told %d sentences", n-told)
	}
	if n := w.decisions(run.GetID(), run.GetRunID()); n != 1 {
		t.Errorf("the history has %d decisions, want bob's alone", n)
	}
	w.click(w.as("carol", "general"), half, "approve", true)
	if got := w.deciders(w.outcome(run, workflows.Approved)); !slices.Equal(got, []string{"bob", "carol"}) {
		t.Errorf("decided by %q, want bob and carol", got)
	}
	for _, p := range []*process{p, other} {
		if strings.Contains(p.log.String(), button.Value) {
			t.Error("the log has the button's reference")
		}
	}
}

// with is a header that has another value too.
func with(header map[string]string, name, value string) map[string]string {
	header = maps.Clone(header)
	header[name] = value
	return header
}
