package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDemo is the README's first command, with everything that it starts, through the API of its page.
func TestDemo(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithTimeoutCause(t.Context(), patience, errors.New("waited for too long"))
	defer stop()
	w := &world{T: t, ctx: ctx}
	// The cache is where the Temporal CLI is, and the working directory holds a .env that is not for the demo.
	w.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "XDG_CACHE_HOME=" + os.Getenv("XDG_CACHE_HOME"), "APPROVERS=U0NOBODY01"}
	p := w.launch([]string{"demo", "--address", "127.0.0.1:0"}, "TEMPORAL_API_KEY=of-another-server", "TEMPORAL_TLS=true")
	page := w.sees(p, `Slack \(a stand-in\)\s+(http://\S+)`)[1]
	ui := w.sees(p, `Temporal's web UI\s+http://(\S+)`)[1]
	temporal := w.sees(p, `Temporal\s+(127\S+)`)[1]

	for name, url := range map[string]string{"page": page, "web UI": "http://" + ui} {
		resp, err := http.Get(url)
		w.must(err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
	w.post(page, "say", map[string]string{"as": "alice", "channel": "C0GENERAL1", "text": "/greet World"})
	card := w.seenOnPage(page, "bob", func(m pageMessage) bool { return strings.Contains(m.Text, "Approval needed: Greet World") })
	w.post(page, "click", map[string]string{"as": "bob", "channel": "C0GENERAL1", "ts": card.TS, "action": "approve"})
	w.seenOnPage(page, "guest", func(m pageMessage) bool { return m.TS == card.TS && strings.Contains(m.Text, "Approved by") })
	w.seenOnPage(page, "guest", func(m pageMessage) bool { return m.Text == "Hello, World!" })

	w.must(p.Process.Signal(syscall.SIGINT))
	select {
	case <-p.ended:
	case <-ctx.Done():
		t.Fatal("Ctrl-C did not end the demo")
	}
	if p.code != 0 {
		t.Errorf("exit code %d after Ctrl-C, want 0", p.code)
	}
	for name, address := range map[string]string{"page": strings.TrimPrefix(page, "http://"), "web UI": ui, "Temporal": temporal} {
		if c, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			c.Close()
			t.Errorf("%s at %s is still there after Ctrl-C", name, address)
		}
	}
}

// post does on the page what a person does.
func (w *world) post(page, what string, args map[string]string) {
	w.Helper()
	body, err := json.Marshal(args)
	w.must(err)
	resp, err := http.Post(page+"/sim/"+what, "application/json", bytes.NewReader(body))
	w.must(err)
	defer resp.Body.Close()
	var did struct {
		Acked bool   `json:"acked"`
		Error string `json:"error"`
	}
	w.must(json.NewDecoder(resp.Body).Decode(&did))
	if resp.StatusCode != http.StatusOK || !did.Acked {
		w.Fatalf("%s %v: %s, %+v", what, args, resp.Status, did)
	}
}

// pageMessage is what we read of a message on the page.
type pageMessage struct {
	TS   string `json:"ts"`
	Text string `json:"text"`
}

// seenOnPage waits for a message in the events that one person's page gets.
func (w *world) seenOnPage(page, person string, match func(pageMessage) bool) pageMessage {
	w.Helper()
	req, err := http.NewRequestWithContext(w.ctx, http.MethodGet, page+"/sim/events?as="+person, nil)
	w.must(err)
	resp, err := http.DefaultClient.Do(req)
	w.must(err)
	defer resp.Body.Close()
	events := bufio.NewScanner(resp.Body)
	events.Buffer(nil, 16<<20)
	for events.Scan() {
		data, ok := strings.CutPrefix(events.Text(), "data: ")
		if !ok {
			continue
		}
		var st struct {
			Messages []pageMessage `json:"messages"`
		}
		w.must(json.Unmarshal([]byte(data), &st))
		for _, m := range st.Messages {
			if match(m) {
				return m
			}
		}
	}
	w.Fatalf("%s did not see the message: %v", person, errors.Join(events.Err(), context.Cause(w.ctx)))
	return pageMessage{}
}
