package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/proto"

	"countersign/internal/codec"
	"countersign/internal/reference"
	"countersign/internal/slacksim"
	"countersign/workflows"
)

// hides reports whether all that Temporal gave has the word nowhere: as it is, or within base64.
func hides(all []byte, word string) bool {
	for skip := range 3 { // bytes that stand before the word in a group of three
		b := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\x00", skip) + word))
		// The ends of it depend on what stands beside the word.
		if b = b[(skip*4+2)/3 : len(b)-1]; bytes.Contains(all, []byte(b)) || bytes.Contains(all, []byte(strings.NewReplacer("+", "-", "/", "_").Replace(b))) {
			return false
		}
	}
	return !bytes.Contains(all, []byte(word))
}

func TestHides(t *testing.T) {
	t.Parallel()
	for _, before := range []string{"", "a", "ab", "abc"} {
		text := before + "marzipan-?>" + before
		for name, all := range map[string]string{
			"as it is": text, "base64": base64.StdEncoding.EncodeToString([]byte(text)), "for URLs": base64.RawURLEncoding.EncodeToString([]byte(text)),
		} {
			if hides([]byte(all), "marzipan-?>") {
				t.Errorf("%s: %q hides the word", name, all)
			}
		}
	}
	if !hides([]byte("marzipa bWFyemlwYQ"), "marzipan") {
		t.Error("there is no such word")
	}
}

// stored is all that Temporal gives about the workflows of the task queue, as it stores it: their histories, what
// describes them, and how they are listed. It waits until visibility knows n of them.
func (w *world) stored(n int) []byte {
	w.Helper()
	var all []byte
	add := func(m proto.Message) {
		b, err := proto.Marshal(m)
		w.must(err)
		all = append(all, b...)
	}
	for w.again() {
		list, err := w.temporal.ListWorkflow(w.ctx, &workflowservice.ListWorkflowExecutionsRequest{
			Namespace: client.DefaultNamespace, Query: "TaskQueue = '" + w.queue + "'",
		})
		w.must(err)
		if len(list.GetExecutions()) < n {
			continue
		}
		add(list)
		for _, e := range list.GetExecutions() {
			id, run := e.GetExecution().GetWorkflowId(), e.GetExecution().GetRunId()
			d, err := w.temporal.DescribeWorkflowExecution(w.ctx, id, run)
			w.must(err)
			add(d)
			for _, e := range w.history(w.temporal.GetWorkflow(w.ctx, id, run)) {
				add(e)
			}
		}
		return all
	}
	w.Fatalf("visibility does not have %d workflows", n)
	return nil
}

// secrets are words that people and callers write, by where they write them.
var secrets = map[string]string{
	"title": "marzipan", "text": "nougat", "field": "praline", "value": "truffle", "link": "caramel", "confirm": "toffee",
	"input": "fudge", "label": "sherbet", "hint": "liquorice", "initial": "brittle", "filled in": "macaroon", "comment": "meringue",
	"reason": "turron", "final reason": "halva", "invalid": "lokum", "greeted": "gianduja", "for a caller": "baklava", "outside": "florentine",
	"person": `"name":"bob"`, "Slack's ID": "U0BOB00001", "channel": "C0GENERAL1",
}

// tellsSecrets has people and callers write the secrets everywhere, and returns what Temporal stores of it.
func (w *world) tellsSecrets() []byte {
	w.Helper()
	s, p := secrets, w.start("run")
	alice, bob := w.as("alice", "general"), w.as("bob", "general")
	var open []byte
	request := func(title string) workflows.Request {
		return workflows.Request{Title: title, Channel: w.sim.Channel("general").ID, Requester: alice.ID(), Approvers: w.people("bob")}
	}

	full := request("Buy " + s["title"])
	full.Text, full.Fields, full.Confirm = s["text"], []workflows.Field{{Label: s["field"], Value: s["value"]}}, s["confirm"]
	full.Link, full.ApproveComment = workflows.Link{URL: "https://shop.example/" + s["link"]}, workflows.Optional
	full.Inputs = []workflows.Input{{Name: s["input"], Label: s["label"], Hint: s["hint"], Initial: workflows.Text(s["initial"])}}
	approved := w.approval(full)
	card := w.card("general", s["title"])
	// While it is open it is listed, and found in the home.
	w.seenBy(alice, s["title"])
	w.home(bob)
	w.atHome(bob, says([]string{s["title"]}))
	open = append(open, w.stored(1)...)
	w.fillsIn(bob, w.opens(bob, card, "approve", ""), map[string]any{"input-0": s["filled in"], "comment": s["comment"]})
	if res := w.outcome(approved, workflows.Approved); res.Inputs[s["input"]] != s["filled in"] {
		w.Errorf("the result is %+v", res)
	}
	w.closed(card, s["filled in"], s["comment"])

	for title, reason := range map[string]string{"Sell": s["reason"], "Sell all": s["final reason"]} {
		r := request(title)
		r.FailOnReject = title == "Sell all"
		run := w.approval(r)
		card := w.message("general", func(m slacksim.Message) bool { return slacksim.Contains(title)(m) && slacksim.HasButton("reject")(m) })
		w.fillsIn(bob, w.opens(bob, card, "reject", ""), map[string]any{"comment": reason})
		if w.closed(card, "Rejected by", reason); r.FailOnReject {
			if app := w.failsAs(run, workflows.ErrTypeRejected); !strings.Contains(app.Message(), reason) {
				w.Errorf("it fails with %q", app.Message())
			}
		} else if d, _ := w.outcome(run, workflows.Rejected).Decision(); d.Reason != reason || d.By.ID != bob.ID() {
			w.Errorf("the decision is %+v", d)
		}
	}

	withdrawn := w.approval(request("Wrap"))
	w.changes(alice, w.card("general", "Wrap"), workflows.Withdraw)
	w.outcome(withdrawn, workflows.Withdrawn)

	invalid := request("Gift")
	invalid.Channel = s["invalid"]
	if app := w.failsAs(w.approval(invalid), workflows.ErrTypeInvalidRequest); !strings.Contains(app.Message(), s["invalid"]) {
		w.Errorf("it fails with %q", app.Message())
	}

	greeting := w.ask("general", s["greeted"])
	card = w.card("general", s["greeted"])
	w.sees(p, `msg="card posted".*`+greeting.GetID())
	open = append(open, w.stored(6)...) // Its activity has a heartbeat.
	w.click(bob, card, "approve", true)
	if got, err := w.result(greeting); got != "Hello, "+s["greeted"]+"!" || err != nil {
		w.Errorf("Greeting returned %q, %v", got, err)
	}

	caller := w.own(func(ctx workflow.Context, r workflows.Request) (res workflows.Result, err error) {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{TaskQueue: w.queue, ScheduleToCloseTimeout: patience})
		err = workflow.ExecuteActivity(ctx, workflows.RequestApproval, r).Get(ctx, &res)
		return res, err
	}, request("Lend "+s["for a caller"]))
	w.click(bob, w.card("general", s["for a caller"]), "approve", true)
	w.outcome(caller, workflows.Approved)

	outside := w.approval(request("Send"))
	card = w.card("general", "Send")
	w.did(outside, workflows.PostLine, 1)
	w.must(w.temporal.CompleteActivityByID(w.ctx, "default", outside.GetID(), outside.GetRunID(), w.openActivity(outside),
		map[string]string{"outcome": "rejected", "reason": s["outside"]}, nil))
	w.outcome(outside, workflows.Rejected)
	w.closed(card, "decided outside Slack")
	return append(open, w.stored(8)...)
}

// seenBy waits until /approval list shows the person what.
func (w *world) seenBy(p slacksim.Person, what string) {
	w.Helper()
	for w.again() {
		d, err := p.Command(w.ctx, "/approval list")
		w.must(err)
		if strings.Contains(string(d.Response), what) {
			return
		}
	}
	w.Fatalf("/approval list does not show %q", what)
}

// With payload keys Temporal stores nothing of what people write.
func TestPayloadKeys(t *testing.T) {
	bothModes(t, func(w *world) {
		w.env = append(w.env, "PAYLOAD_KEYS="+reference.NewKey())
		w.temporal = w.dial(shared.temporal.Address, w.variable("PAYLOAD_KEYS"))
		all := w.tellsSecrets()
		for where, word := range secrets {
			if !hides(all, word) {
				w.Errorf("Temporal stores the %s, %q", where, word)
			}
		}
	})
}

// Without them it stores all of it: the search would find it.
func TestNoPayloadKeys(t *testing.T) {
	oneMode(t, func(w *world) {
		all := w.tellsSecrets()
		for where, word := range secrets {
			if hides(all, word) {
				w.Errorf("the search does not find the %s, %q", where, word)
			}
		}
	})
}

// withKeys starts the world's process with these payload keys.
func (w *world) withKeys(keys ...string) *process {
	w.Helper()
	return w.start("run", "PAYLOAD_KEYS="+strings.Join(keys, ","))
}

// A caller without keys is asked too, and reads nothing of what came of it.
func TestPayloadPlainCaller(t *testing.T) {
	oneMode(t, func(w *world) {
		key := reference.NewKey()
		w.withKeys(key)
		run := w.approval(workflows.Request{Approvers: w.people("bob")})
		w.click(w.as("bob", "general"), w.card("general", "Deploy v2"), "approve", true)
		if err := run.Get(w.ctx, new(workflows.Result)); err == nil {
			w.Error("without the key the result can be read")
		}
		w.outcome(w.dial(shared.temporal.Address, key).GetWorkflow(w.ctx, run.GetID(), run.GetRunID()), workflows.Approved)
	})
}

// What was begun without keys goes on with them.
func TestPayloadKeysIntroduced(t *testing.T) {
	oneMode(t, func(w *world) {
		p := w.start("run")
		run := w.approval(workflows.Request{Approvers: w.people("bob", "carol"), Required: 2})
		card := w.card("general", "Deploy v2")
		w.click(w.as("bob", "general"), card, "approve", true)
		card = w.redrawn(card, "1 of 2")
		w.stop(p)
		key := reference.NewKey()
		w.withKeys(key)
		w.click(w.as("carol", "general"), card, "approve", true)
		res := w.outcome(w.dial(shared.temporal.Address, key).GetWorkflow(w.ctx, run.GetID(), run.GetRunID()), workflows.Approved)
		if got := w.deciders(res); !slices.Equal(got, []string{"bob", "carol"}) {
			w.Errorf("decided by %q, want bob and carol", got)
		}
	})
}

// keysOf are the IDs of the keys with which the run's history is encrypted, in its order.
func (w *world) keysOf(run client.WorkflowRun) (ids []string) {
	w.Helper()
	for _, e := range w.history(run) {
		var all []*commonpb.Payload
		all = append(all, e.GetWorkflowExecutionStartedEventAttributes().GetInput().GetPayloads()...)
		all = append(all, e.GetActivityTaskScheduledEventAttributes().GetInput().GetPayloads()...)
		all = append(all, e.GetActivityTaskCompletedEventAttributes().GetResult().GetPayloads()...)
		all = append(all, e.GetWorkflowExecutionCompletedEventAttributes().GetResult().GetPayloads()...)
		for _, p := range all {
			ids = append(ids, string(p.GetMetadata()["encryption-key-id"]))
		}
	}
	return slices.Compact(ids)
}

// The keys are rotated while a request is open.
func TestPayloadKeysRotated(t *testing.T) {
	oneMode(t, func(w *world) {
		older, newer := reference.NewKey(), reference.NewKey()
		w.temporal = w.dial(shared.temporal.Address, older)
		p := w.withKeys(older)
		run := w.approval(workflows.Request{Approvers: w.people("bob", "carol"), Required: 2})
		card := w.card("general", "Deploy v2")
		w.click(w.as("bob", "general"), card, "approve", true)
		card = w.redrawn(card, "1 of 2")
		w.stop(p)
		w.withKeys(newer, older)
		w.click(w.as("carol", "general"), card, "approve", true)
		w.temporal = w.dial(shared.temporal.Address, newer+","+older)
		run = w.temporal.GetWorkflow(w.ctx, run.GetID(), run.GetRunID())
		if got := w.deciders(w.outcome(run, workflows.Approved)); !slices.Equal(got, []string{"bob", "carol"}) {
			w.Errorf("decided by %q, want bob and carol", got)
		}
		w.closed(card, "Approved by")
		keys, err := reference.ParseKeys(older + "," + newer)
		w.must(err)
		if got := w.keysOf(run); !slices.Equal(got, keys.IDs()) {
			w.Errorf("the history has the keys %q, want %q one after the other", got, keys.IDs())
		}
	})
}

// A process with other keys decides nothing, and loses nothing: as soon as it has the keys all goes on.
func TestPayloadKeysMissing(t *testing.T) {
	t.Parallel()
	for name, others := range map[string]string{"another key": reference.NewKey(), "no key": ""} {
		t.Run(name, func(t *testing.T) { testKeysMissing(t, others) })
	}
}

func testKeysMissing(t *testing.T, others string) {
	oneMode(t, func(w *world) {
		w.patience(2 * patience)
		ours := reference.NewKey()
		w.temporal = w.dial(shared.temporal.Address, ours)
		p := w.withKeys(ours)
		alice, bob, carol, dave := w.as("alice", "general"), w.as("bob", "general"), w.as("carol", "general"), w.as("dave", "general")
		ask := func(title string) (client.WorkflowRun, slacksim.Message) {
			run := w.approval(workflows.Request{Title: title, Requester: alice.ID(), Approvers: w.people("bob", "carol", "dave")})
			return run, w.card("general", title)
		}
		approved, first := ask("Deploy v2")
		rejected, second := ask("Deploy v3")
		w.stop(p)

		p = w.withKeys(others)
		w.click(bob, first, "approve", true)
		w.fillsIn(carol, w.opens(carol, second, "reject", ""), map[string]any{"comment": "not today"})
		begun := w.approval(workflows.Request{Title: "Deploy v4", Approvers: w.people("dave")})
		for _, run := range []client.WorkflowRun{approved, rejected, begun} {
			w.sees(p, `there is no key .*`+run.GetID()+`|`+run.GetID()+`.*there is no key `)
		}
		// Nobody is told anything that is not so.
		_, err := dave.Click(w.ctx, first, "approve")
		w.must(err)
		w.told(dave, "I could not confirm your decision")
		if _, told := w.tries(alice, first, "more", string(workflows.Withdraw)); !strings.Contains(told, "I could not read this request from Temporal just now") {
			w.Errorf("who wants to withdraw it is told %q", told)
		}
		for _, card := range []slacksim.Message{first, second} {
			if m, _ := w.sim.Message(card.Channel, card.TS); len(m.Buttons()) == 0 {
				w.Errorf("the card was closed: %q", m.Text)
			}
		}
		w.stop(p)

		w.withKeys(ours, others)
		w.temporal = w.dial(shared.temporal.Address, ours+","+others)
		again := func(run client.WorkflowRun) client.WorkflowRun {
			return w.temporal.GetWorkflow(w.ctx, run.GetID(), run.GetRunID())
		}
		if d, _ := w.outcome(again(approved), workflows.Approved).Decision(); d.By.ID != bob.ID() {
			w.Errorf("approved by %+v, want bob", d)
		}
		if d, _ := w.outcome(again(rejected), workflows.Rejected).Decision(); d.By.ID != carol.ID() || d.Reason != "not today" {
			w.Errorf("rejected by %+v, want carol", d)
		}
		w.click(dave, w.card("general", "Deploy v4"), "approve", true)
		w.outcome(again(begun), workflows.Approved)
	})
}

// codecServer is a codec server that can be away.
type codecServer struct {
	*httptest.Server
	mu      sync.Mutex
	away    bool
	refused chan struct{} // gets something for each call while it is away
}

func newCodecServer(t *testing.T, keys string) *codecServer {
	t.Helper()
	k, err := reference.ParseKeys(keys)
	if err != nil {
		t.Fatal(err)
	}
	c := &codecServer{refused: make(chan struct{}, 1)}
	handler := converter.NewPayloadCodecHTTPHandler(codec.Codec{Keys: k})
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		away := c.away
		c.mu.Unlock()
		switch {
		case away:
			select {
			case c.refused <- struct{}{}:
			default:
			}
			http.Error(w, "away", http.StatusServiceUnavailable)
		case r.Header.Get("Authorization") != "Bearer of-the-codec":
			http.Error(w, "who are you", http.StatusUnauthorized)
		default:
			handler.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// goes away, or comes back.
func (c *codecServer) goes(away bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = away
	select {
	case <-c.refused:
	default:
	}
}

// isMissed waits until somebody has called in vain.
func (c *codecServer) isMissed(ctx context.Context, t *testing.T) {
	t.Helper()
	select {
	case <-c.refused:
	case <-ctx.Done():
		t.Fatal("nobody has called the codec server")
	}
}

// The codec server of the environment, or of temporal.toml, encrypts as the keys do.
func TestPayloadCodecServer(t *testing.T) {
	t.Parallel()
	for name, configured := range map[string]func(*world, string) []string{
		"environment": func(_ *world, url string) []string {
			return []string{"TEMPORAL_CODEC_ENDPOINT=" + url, "TEMPORAL_CODEC_AUTH=Bearer of-the-codec"}
		},
		"file": func(w *world, url string) []string {
			file := filepath.Join(w.TempDir(), "temporal.toml")
			w.must(os.WriteFile(file, []byte("[profile.default.codec]\nendpoint = \""+url+"\"\nauth = \"Bearer of-the-codec\"\n"), 0o600))
			return []string{"TEMPORAL_CONFIG_FILE=" + file}
		},
	} {
		t.Run(name, func(t *testing.T) {
			oneMode(t, func(w *world) {
				key := reference.NewKey()
				server := newCodecServer(t, key)
				w.env = append(w.env, configured(w, server.URL)...)
				w.temporal = w.dial(shared.temporal.Address, key)
				all := w.tellsSecrets()
				for where, word := range secrets {
					if !hides(all, word) {
						w.Errorf("Temporal stores the %s, %q", where, word)
					}
				}
			})
		})
	}
}

// While the codec server is away nothing can be asked and nothing decided, and nothing is lost, or stored as it is.
func TestPayloadCodecServerAway(t *testing.T) {
	bothModes(t, func(w *world) {
		w.patience(2 * patience)
		key := reference.NewKey()
		server := newCodecServer(w.T, key)
		w.env = append(w.env, "TEMPORAL_CODEC_ENDPOINT="+server.URL, "TEMPORAL_CODEC_AUTH=Bearer of-the-codec")
		w.temporal = w.dial(shared.temporal.Address, key)
		p := w.start("run")
		bob, carol := w.as("bob", "general"), w.as("carol", "general")
		ask := func(title string) client.WorkflowRun {
			return w.approval(workflows.Request{Title: title, Requester: w.sim.Person("alice").ID(), Approvers: w.people("bob", "carol")})
		}
		approved, rejected := ask("Buy marzipan"), ask("Buy nougat")
		first, second := w.card("general", "marzipan"), w.card("general", "nougat")
		w.did(approved, workflows.PostLine, 1)
		w.did(rejected, workflows.PostLine, 1)
		form := w.opens(carol, second, "reject", "")

		server.goes(true)
		begun, greeted := ask("Buy praline"), w.ask("general", "gianduja")
		server.isMissed(w.ctx, w.T)
		_, err := bob.Click(w.ctx, first, "approve")
		w.must(err)
		w.told(bob, "could not")
		d, err := carol.Submit(w.ctx, form, map[string]any{"comment": "no sugar"})
		w.must(err)
		if !strings.Contains(string(d.Response), "could not") {
			w.Errorf("who rejects is told %s", d)
		}
		if n := w.cardsIn("general"); n != 2 {
			w.Errorf("%d cards, want 2", n)
		}
		server.goes(false)

		w.click(bob.Force(), first, "approve", true)
		w.fillsIn(carol, form, map[string]any{"comment": "no sugar"})
		w.closed(first, "Approved by")
		w.closed(second, "Rejected by", "no sugar")
		w.outcome(approved, workflows.Approved)
		if d, _ := w.outcome(rejected, workflows.Rejected).Decision(); d.By.ID != carol.ID() || d.Reason != "no sugar" {
			w.Errorf("rejected by %+v", d)
		}

		// It goes away just when something was decided, and is away for the workflow's next step.
		third, greeting := w.card("general", "praline"), w.card("general", "gianduja")
		w.did(begun, workflows.PostLine, 1)
		closing := w.sim.Hold("chat.update", slacksim.Before)
		w.fillsIn(bob, w.opens(bob, third, "reject", ""), map[string]any{"comment": "no nuts"})
		_, err = closing.Wait(w.ctx)
		w.must(err)
		server.goes(true)
		closing.Release()
		server.isMissed(w.ctx, w.T)
		server.goes(false)
		w.closed(third, "Rejected by", "no nuts")
		if d, _ := w.outcome(begun, workflows.Rejected).Decision(); d.By.ID != bob.ID() || d.Reason != "no nuts" {
			w.Errorf("rejected by %+v", d)
		}
		w.click(bob, greeting, "approve", true)
		if got, err := w.result(greeted); got != "Hello, gianduja!" || err != nil {
			w.Errorf("Greeting returned %q, %v", got, err)
		}
		all := w.stored(4)
		for _, word := range []string{"marzipan", "nougat", "praline", "gianduja", "no sugar", "no nuts"} {
			if !hides(all, word) {
				w.Errorf("Temporal stores %q", word)
			}
		}
		select {
		case <-p.ended:
			w.Errorf("the process has ended: %s", p.log)
		default:
		}
	})
}

// A caller's activity whose attempt falls into a moment in which nothing can be decrypted is tried again.
func TestPayloadCodecServerAwayForACaller(t *testing.T) {
	oneMode(t, func(w *world) {
		key := reference.NewKey()
		server := newCodecServer(w.T, key)
		w.env = append(w.env, "TEMPORAL_CODEC_ENDPOINT="+server.URL, "TEMPORAL_CODEC_AUTH=Bearer of-the-codec")
		w.temporal = w.dial(shared.temporal.Address, key)
		w.start("run")
		server.goes(true)
		run := w.calls("own", workflow.ActivityOptions{StartToCloseTimeout: 24 * time.Hour}, w.request("Deploy marzipan"))
		server.isMissed(w.ctx, w.T)
		server.goes(false)
		card := w.card("general", "Deploy marzipan")
		w.click(w.as("bob", "general"), card, "approve", true)
		w.shown(w.outcome(run, workflows.Approved), card)
	})
}
