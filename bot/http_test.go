package bot

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const secret = "the signing secret"

// sign signs a request as Slack does. https://docs.slack.dev/authentication/verifying-requests-from-slack
func sign(r *http.Request, body string, at time.Time, secret string) {
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("v0:" + stamp + ":" + body))
	r.Header.Set("X-Slack-Request-Timestamp", stamp)
	r.Header.Set("X-Slack-Signature", "v0="+hex.EncodeToString(mac.Sum(nil)))
}

func TestReceive(t *testing.T) {
	t.Parallel()
	const form, jsonType = "application/x-www-form-urlencoded", "application/json"
	command := url.Values{"command": {"/greet"}, "text": {"World"}, "user_id": {bob.ID}, "channel_id": {at.Channel}, "trigger_id": {"1.2.3"}}.Encode()
	for name, tc := range map[string]struct {
		body        func(click string) string
		contentType string
		query       string
		tamper      func(*http.Request)

		status  int
		answer  string // that the body has
		decides bool
		starts  bool
	}{
		"click":   {body: func(c string) string { return c }, status: 200, decides: true},
		"command": {body: func(string) string { return command }, status: 200, answer: "asking for approval", starts: true},
		"signed with another secret": {
			body: func(c string) string { return c }, status: 401,
			tamper: func(r *http.Request) { sign(r, "", time.Now(), "guess") },
		},
		"signed, and then changed": {
			body: func(c string) string { return c }, status: 401,
			tamper: func(r *http.Request) { sign(r, "another body", time.Now(), secret) },
		},
		"not signed": {
			body: func(c string) string { return c }, status: 401, tamper: func(r *http.Request) { r.Header.Del("X-Slack-Signature") },
		},
		"without a time": {
			body: func(c string) string { return c }, status: 401, tamper: func(r *http.Request) { r.Header.Del("X-Slack-Request-Timestamp") },
		},
		"with another time": {
			body: func(c string) string { return c }, status: 401,
			tamper: func(r *http.Request) {
				r.Header.Set("X-Slack-Request-Timestamp", strconv.FormatInt(time.Now().Unix()+1, 10))
			},
		},
		"signed by another version": {
			body: func(c string) string { return c }, status: 401,
			tamper: func(r *http.Request) { r.Header.Set("X-Slack-Signature", "v1"+r.Header.Get("X-Slack-Signature")[2:]) },
		},
		"too large":               {body: func(c string) string { return c + "&x=" + strings.Repeat("x", bodyLimit) }, status: 400},
		"payload in the query":    {body: func(string) string { return command }, query: "?payload=%7B%7D", status: 200, answer: "asking for approval", starts: true},
		"click in the query":      {body: func(string) string { return "x=1" }, query: "click", status: 503},
		"nothing":                 {body: func(string) string { return "" }, status: 503},
		"no payload of Slack's":   {body: func(string) string { return "payload=%7B%7D" }, status: 503},
		"payload that is no JSON": {body: func(string) string { return "payload=x" }, status: 503},
		"no form":                 {body: func(string) string { return "%zz" }, status: 400},
		"check of the URL": {
			body:        func(string) string { return `{"type":"url_verification","challenge":"<3eZbrw1aB>","token":"x"}` },
			contentType: jsonType, status: 200, answer: "3eZbrw1aB",
		},
		"check of the certificate": {body: func(string) string { return "ssl_check=1&token=x" }, status: 200},
		"certificate check with a command in it": {
			body: func(string) string { return command + "&ssl_check=1" }, status: 200,
		},
		"event":               {body: func(string) string { return `{"type":"event_callback","event":{"type":"app_home_opened"}}` }, contentType: jsonType + "; charset=utf-8", status: 200},
		"JSON that is none":   {body: func(string) string { return `{"type":` }, contentType: jsonType, status: 400},
		"interaction as JSON": {body: func(c string) string { return `{"type":"block_actions"}` }, contentType: jsonType, status: 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fakeTemporal{}
			b, sealed := newBot(t, newSlack(), f, nil)
			payload, err := json.Marshal(clicked(bob, "approve", sealed))
			if err != nil {
				t.Fatal(err)
			}
			click := url.Values{"payload": {string(payload)}}.Encode()
			if tc.query == "click" {
				tc.query = "?" + click
			}
			if tc.contentType == "" {
				tc.contentType = form
			}
			body := tc.body(click)
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, EventsPath+tc.query, strings.NewReader(body))
			r.Header.Set("Content-Type", tc.contentType)
			sign(r, body, time.Now(), secret)
			if tc.tamper != nil {
				tc.tamper(r)
			}
			w := httptest.NewRecorder()
			var after sync.WaitGroup
			b.receive(t.Context(), w, r, secret, &after)
			after.Wait()
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.answer) {
				t.Errorf("answered %d %q, want %d with %q", w.Code, w.Body, tc.status, tc.answer)
			}
			if decided := len(f.completions) > 0; decided != tc.decides {
				t.Errorf("decided %v, want %v", decided, tc.decides)
			}
			if started := len(f.started) > 0; started != tc.starts {
				t.Errorf("started %v, want %v", started, tc.starts)
			}
		})
	}
}

func TestTimestamps(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		off time.Duration
		ok  bool
	}{
		"now":                {0, true},
		"four minutes ago":   {-4 * time.Minute, true},
		"six minutes ago":    {-6 * time.Minute, false},
		"replayed next year": {-365 * 24 * time.Hour, false},
		"six minutes ahead":  {6 * time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, EventsPath, nil)
			sign(r, "body", time.Now().Add(tc.off), secret)
			if err := verify(r.Header, []byte("body"), secret); (err == nil) != tc.ok {
				t.Errorf("verify = %v, want accepted %v", err, tc.ok)
			}
		})
	}
}

func TestChallengeIsEchoed(t *testing.T) {
	t.Parallel()
	var got map[string]string
	if err := json.Unmarshal(challenge([]byte(`{"type":"url_verification","challenge":"a<b>&c"}`)), &got); err != nil || got["challenge"] != "a<b>&c" {
		t.Errorf("challenge = %q, %v", got, err)
	}
}

// slowTemporal holds a commit until it is let go.
type slowTemporal struct {
	fakeTemporal
	arrived, release chan struct{}
}

func (s *slowTemporal) CompleteActivityByID(ctx context.Context, namespace, workflowID, runID, activityID string, result any, err error) error {
	close(s.arrived)
	<-s.release
	return s.fakeTemporal.CompleteActivityByID(ctx, namespace, workflowID, runID, activityID, result, err)
}

// A process that is told to stop takes no new clicks, and answers those that it has.
func TestServeHTTPFinishesWhatItHas(t *testing.T) {
	t.Parallel()
	slow := &slowTemporal{arrived: make(chan struct{}), release: make(chan struct{})}
	b, sealed := newBot(t, newSlack(), &slow.fakeTemporal, nil)
	b.Temporal = slow
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- b.ServeHTTP(ctx, l, secret) }()
	address := "http://" + l.Addr().String() + EventsPath

	for method, want := range map[string]int{http.MethodGet: http.StatusMethodNotAllowed, http.MethodPost: http.StatusUnauthorized} {
		if got := send(t, method, address, "", false); got != want {
			t.Errorf("an unsigned %s was answered %d, want %d", method, got, want)
		}
	}
	if got := send(t, http.MethodPost, address+"/more", "x=1", true); got != http.StatusNotFound {
		t.Errorf("another path was answered %d", got)
	}

	payload, err := json.Marshal(clicked(bob, "approve", sealed))
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan int, 1)
	go func() {
		answered <- send(t, http.MethodPost, address, url.Values{"payload": {string(payload)}}.Encode(), true)
	}()
	select {
	case <-slow.arrived:
	case got := <-answered:
		t.Fatalf("the click was answered %d before it came to Temporal", got)
	}
	stop()
	close(slow.release)
	if got := <-answered; got != http.StatusOK {
		t.Errorf("the click in hand was answered %d", got)
	}
	if err := <-served; err != nil {
		t.Errorf("ServeHTTP: %v", err)
	}
	if len(slow.completions) != 1 {
		t.Errorf("%d decisions were recorded, want 1", len(slow.completions))
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}

// listener hands out the connections that are sent into it.
type listener chan net.Conn

func (l listener) Accept() (net.Conn, error) {
	if c, ok := <-l; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (l listener) Close() error   { close(l); return nil }
func (l listener) Addr() net.Addr { return &net.TCPAddr{} }

// Strangers who are slow do not make the end of a process a failure, nor do they keep it.
func TestServeHTTPDoesNotWaitForStrangers(t *testing.T) {
	t.Parallel()
	head := "POST " + EventsPath + " HTTP/1.1\r\nHost: x\r\n"
	for name, sent := range map[string]string{
		"who send nothing":     "",
		"who send half a head": head,
		"who send no body":     head + "Content-Length: 7\r\n\r\n",
		"who send half a body": head + "Content-Length: 7\r\n\r\nx=1",
	} {
		inTime(t, name, func(t *testing.T) {
			b, _ := newBot(t, newSlack(), &fakeTemporal{}, nil)
			ctx, stop := context.WithCancel(t.Context())
			l, served := make(listener), make(chan error, 1)
			go func() { served <- b.ServeHTTP(ctx, l, secret) }()
			stranger, accepted := net.Pipe()
			l <- accepted
			go func() { _, _ = io.Copy(io.Discard, stranger) }()
			if _, err := io.WriteString(stranger, sent); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			stop()
			begun := time.Now()
			if err := <-served; err != nil {
				t.Errorf("ServeHTTP: %v", err)
			}
			if took := time.Since(begun); took > drainFor { // In the bubble's time.
				t.Errorf("it took %v to end, want %v at the most", took, drainFor)
			}
			_ = stranger.Close()
		})
	}
}

// send sends a request as Slack does, signed or not, and returns the answer's status; 0 where there is none.
func send(t *testing.T, method, address, body string, signed bool) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if signed {
		sign(r, body, time.Now(), secret)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Error(err)
	}
	return resp.StatusCode
}
