package bot

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
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

	"countersign/workflows"
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

// serve serves b's requests until the test ends, or stop is called; then all is done that was to be done after the answers.
func serve(t *testing.T, b *Bot) (address string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- b.ServeHTTP(ctx, l, secret) }()
	stop = sync.OnceFunc(func() {
		end()
		if err := <-served; err != nil {
			t.Errorf("ServeHTTP: %v", err)
		}
	})
	t.Cleanup(stop)
	return "http://" + l.Addr().String(), stop
}

// raw sends text to the server, and returns the answer.
func raw(t *testing.T, address, text string) *http.Response {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// unsized hides how long a body is: it is sent in chunks.
type unsized struct{ io.Reader }

func TestDoor(t *testing.T) {
	t.Parallel()
	command := url.Values{"command": {"/greet"}, "text": {"World"}, "user_id": {bob.ID}, "channel_id": {at.Channel}, "trigger_id": {"1.2.3"}}.Encode()
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	without := func(name string) func(*http.Request) { return func(r *http.Request) { r.Header.Del(name) } }
	signedFor := func(off time.Duration) func(*http.Request) {
		return func(r *http.Request) {
			body, _ := r.GetBody()
			all, _ := io.ReadAll(body)
			sign(r, string(all), time.Now().Add(off), secret)
		}
	}
	for name, tc := range map[string]struct {
		method string // POST, where it is none
		path   string // EventsPath, where it is none
		query  string // "click": the click's form
		body   string // the click's form, where it is none; "-": nothing
		add    string // to the body
		media  string // a form's, where it is none
		tamper func(*http.Request)

		status  int
		answer  string // that the body has
		decides bool
		starts  bool
	}{
		"click":                        {status: 200, decides: true},
		"click, with a charset":        {media: formType + "; charset=utf-8", status: 200, decides: true},
		"click in chunks":              {tamper: func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(unsized{r.Body}), -1 }, status: 200, decides: true},
		"command":                      {body: command, status: 200, answer: "asking for approval", starts: true},
		"event":                        {body: `{"type":"event_callback","event":{"type":"app_home_opened"}}`, media: jsonType + "; charset=utf-8", status: 200},
		"interaction as JSON":          {body: `{"type":"block_actions"}`, media: jsonType, status: 200},
		"check of the URL":             {body: `{"type":"url_verification","challenge":"a<b>&c","token":"x"}`, media: jsonType, status: 200, answer: `{"challenge":"a\u003cb\u003e\u0026c"}`},
		"check of the certificate":     {body: "ssl_check=1&token=x", status: 200},
		"certificate check, a command": {body: command + "&ssl_check=1", status: 200},

		"signed with another secret": {
			status: 401, answer: "The signature is wrong.",
			tamper: func(r *http.Request) { sign(r, "", time.Now(), "guess") },
		},
		"signed, and then changed": {
			status: 401, answer: "The signature is wrong.",
			tamper: func(r *http.Request) { sign(r, "another body", time.Now(), secret) },
		},
		"not signed":                {tamper: without(signatureHeader), status: 401, answer: "The request is not signed."},
		"without a time":            {tamper: without(timestampHeader), status: 401, answer: "The request is not signed."},
		"with another time":         {tamper: header(timestampHeader, strconv.FormatInt(time.Now().Unix()+60, 10)), status: 401, answer: "The signature is wrong."},
		"at no time":                {tamper: header(timestampHeader, "now"), status: 401, answer: "The signature is wrong."},
		"signed by another version": {tamper: header(signatureHeader, "v1="+strings.Repeat("0", 64)), status: 401, answer: "The signature is wrong."},
		"half a signature":          {tamper: header(signatureHeader, "v0="+strings.Repeat("0", 32)), status: 401, answer: "The signature is wrong."},
		"signed 4 minutes ago":      {tamper: signedFor(-4 * time.Minute), status: 200, decides: true},
		"signed 6 minutes ago":      {tamper: signedFor(-6 * time.Minute), status: 401, answer: "more than five minutes ago"},
		"signed a year ago":         {tamper: signedFor(-365 * 24 * time.Hour), status: 401, answer: "more than five minutes ago"},
		"signed 6 minutes ahead":    {tamper: signedFor(6 * time.Minute), status: 401, answer: "more than five minutes ago, or ahead"},

		"another path":             {path: EventsPath + "/more", status: 404},
		"a path that is not clean": {path: "//slack/./events", status: 404},
		"the root":                 {path: "/", status: 404},
		"GET":                      {method: http.MethodGet, body: "-", status: 405},
		"HEAD":                     {method: http.MethodHead, body: "-", status: 405},
		"OPTIONS":                  {method: http.MethodOptions, body: "-", status: 405},
		"PUT":                      {method: http.MethodPut, status: 405},
		"DELETE":                   {method: http.MethodDelete, status: 405},
		"PATCH":                    {method: http.MethodPatch, status: 405},
		"payload in the query":     {query: "?payload=%7B%7D", status: 400, answer: "query string"},
		"click in the query":       {query: "click", body: "x=1", status: 400, answer: "query string"},
		"empty query":              {query: "?", status: 400, answer: "query string"},
		"compressed":               {tamper: header("Content-Encoding", "gzip"), status: 415, answer: "compressed"},
		"compressed, it says":      {tamper: header("Content-Encoding", "identity"), status: 415, answer: "compressed"},
		"no media type":            {tamper: without("Content-Type"), status: 415, answer: "a form or JSON"},
		"text":                     {media: "text/plain", status: 415, answer: "a form or JSON"},
		"multipart":                {media: "multipart/form-data; boundary=x", status: 415, answer: "a form or JSON"},
		"JSON of a kind":           {media: "application/json-patch+json", status: 415, answer: "a form or JSON"},
		"too large":                {add: "&x=" + strings.Repeat("x", bodyLimit), status: 413, answer: "too large"},
		"too large, in chunks": {
			add: "&x=" + strings.Repeat("x", bodyLimit), status: 413, answer: "too large",
			tamper: func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(unsized{r.Body}), -1 },
		},

		"two payloads":            {add: "&payload=%7B%7D", status: 400, answer: "a field twice"},
		"two texts":               {body: command + "&text=Mars", status: 400, answer: "a field twice"},
		"nothing":                 {body: "-", status: 503},
		"no payload of Slack's":   {body: "payload=%7B%7D", status: 503},
		"payload that is no JSON": {body: "payload=x", status: 503},
		"no form":                 {body: "%zz", status: 400, answer: "not a form"},
		"JSON that is none":       {body: `{"type":`, media: jsonType, status: 400, answer: "not JSON"},
		"a form, called JSON":     {media: jsonType, status: 400, answer: "not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fakeTemporal{}
			b, sealed := newBot(t, newSlack(), f, nil)
			var log bytes.Buffer
			b.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			address, stop := serve(t, b)

			click := clickForm(t, bob, sealed)
			if tc.query == "click" {
				tc.query = "?" + click
			}
			body := map[string]string{"": click, "-": ""}[tc.body]
			if body == "" {
				body = strings.TrimPrefix(tc.body, "-")
			}
			body += tc.add
			r, err := http.NewRequestWithContext(t.Context(), cmp.Or(tc.method, http.MethodPost), address+cmp.Or(tc.path, EventsPath)+tc.query, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", cmp.Or(tc.media, formType))
			sign(r, body, time.Now(), secret)
			if tc.tamper != nil {
				tc.tamper(r)
			}
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			got, err := io.ReadAll(answer.Body)
			if err != nil {
				t.Fatal(err)
			}
			stop()

			if answer.StatusCode != tc.status || !strings.Contains(string(got), tc.answer) {
				t.Errorf("answered %d %q, want %d with %q", answer.StatusCode, got, tc.status, tc.answer)
			}
			if tc.status == http.StatusMethodNotAllowed && answer.Header.Get("Allow") != http.MethodPost {
				t.Errorf("Allow is %q", answer.Header.Get("Allow"))
			}
			hardened(t, answer)
			if decided := len(f.completions) > 0; decided != tc.decides {
				t.Errorf("decided %v, want %v", decided, tc.decides)
			}
			if started := len(f.started) > 0; started != tc.starts {
				t.Errorf("started %v, want %v", started, tc.starts)
			}
			if tc.status/100 == 4 && strings.Count(log.String(), "status="+strconv.Itoa(tc.status)) != 1 {
				t.Errorf("the log has not one line with the status %d:\n%s", tc.status, &log)
			}
			for _, secret := range []string{sealed, "World", "xxx"} {
				if strings.Contains(log.String(), secret) {
					t.Errorf("the log has %.20q of the body", secret)
				}
			}
		})
	}
}

// hardened checks the headers that every answer has.
func hardened(t *testing.T, answer *http.Response) {
	t.Helper()
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
		"Content-Security-Policy": "default-src 'none'", "Referrer-Policy": "no-referrer",
	} {
		if got := answer.Header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("the answer has %s %q, want %q", name, got, want)
		}
	}
}

// clickForm is the body of an approval's click.
func clickForm(t testing.TB, who workflows.Person, sealed string) string {
	t.Helper()
	payload, err := json.Marshal(clicked(who, "approve", sealed))
	if err != nil {
		t.Fatal(err)
	}
	return url.Values{"payload": {string(payload)}}.Encode()
}

// What a request says of itself is enough to refuse it: the body is not waited for.
func TestDoorRefusesByTheHead(t *testing.T) {
	t.Parallel()
	b, _ := newBot(t, newSlack(), &fakeTemporal{}, nil)
	address, _ := serve(t, b)
	for head, want := range map[string]int{
		"POST " + EventsPath + " HTTP/1.1\r\nHost: x\r\nContent-Type: " + formType + "\r\nContent-Length: 1048577\r\n\r\n": http.StatusRequestEntityTooLarge,
		"POST /more HTTP/1.1\r\nHost: x\r\nContent-Type: " + formType + "\r\nContent-Length: 1048577\r\n\r\n":              http.StatusNotFound,
		"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n": http.StatusNotFound,
	} {
		answer := raw(t, address, head)
		if answer.StatusCode != want {
			t.Errorf("%q was answered %d, want %d", head, answer.StatusCode, want)
		}
		hardened(t, answer)
	}
}

// Whoever sees a request of Slack's cannot send it once more, not even at the same moment.
func TestReplay(t *testing.T) {
	t.Parallel()
	slow := &slowTemporal{arrived: make(chan struct{}), release: make(chan struct{})}
	b, sealed := newBot(t, newSlack(), &slow.fakeTemporal, nil)
	b.Temporal = slow
	address, stop := serve(t, b)
	body := clickForm(t, bob, sealed)
	at := time.Now()
	post := func(change func(*http.Request)) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address+EventsPath, strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return 0
		}
		r.Header.Set("Content-Type", formType)
		sign(r, body, at, secret)
		change(r)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Error(err)
			return 0
		}
		_ = answer.Body.Close()
		return answer.StatusCode
	}
	same := func(*http.Request) {}

	// A signature that was tried with another body is not used up.
	if got := post(func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader("x=1")), 3
	}); got != http.StatusUnauthorized {
		t.Errorf("another body with the signature was answered %d", got)
	}

	first := make(chan int, 1)
	go func() { first <- post(same) }()
	select {
	case <-slow.arrived:
	case got := <-first:
		t.Fatalf("the click was answered %d before it came to Temporal", got)
	}
	for name, change := range map[string]func(*http.Request){
		"the same request": same,
		"in capitals": func(r *http.Request) {
			r.Header.Set(signatureHeader, "v0="+strings.ToUpper(r.Header.Get(signatureHeader)[3:]))
		},
		"with another header": func(r *http.Request) { r.Header.Set("X-Slack-Retry-Num", "1") },
		"as another type":     func(r *http.Request) { r.Header.Set("Content-Type", jsonType) },
	} {
		if got := post(change); got != http.StatusConflict {
			t.Errorf("%s, while the first is in hand, was answered %d", name, got)
		}
	}
	close(slow.release)
	if got := <-first; got != http.StatusOK {
		t.Errorf("the click was answered %d", got)
	}
	if got := post(same); got != http.StatusConflict {
		t.Errorf("the same request after the first was answered %d", got)
	}
	stop()
	if len(slow.completions) != 1 {
		t.Errorf("%d decisions were recorded, want 1", len(slow.completions))
	}
}

// The same again, signed anew, is Slack's own.
func TestSignedAnewIsNoReplay(t *testing.T) {
	t.Parallel()
	f := &fakeTemporal{}
	b, sealed := newBot(t, newSlack(), f, nil)
	d := newDoor(b, secret)
	body := clickForm(t, bob, sealed)
	for n := range 3 {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, EventsPath, strings.NewReader(body))
		r.Header.Set("Content-Type", formType)
		sign(r, body, time.Now().Add(time.Duration(n)*time.Minute), secret)
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Errorf("number %d was answered %d %q", n+1, w.Code, w.Body)
		}
	}
	d.inHand.Wait()
	if len(f.completions) != 3 {
		t.Errorf("%d came to Temporal, which decides", len(f.completions))
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

	answered := make(chan int, 1)
	go func() {
		answered <- send(t, address, clickForm(t, bob, sealed))
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

// Whoever is slow is left: with the head, with the body, and with the answer.
func TestServeHTTPLeavesTheSlow(t *testing.T) {
	t.Parallel()
	head := "POST " + EventsPath + " HTTP/1.1\r\nHost: x\r\nContent-Type: " + formType + "\r\n"
	for name, tc := range map[string]struct {
		sent   string
		within time.Duration
		reads  bool
		answer string
	}{
		"half a head":             {sent: head, within: readFor, reads: true},
		"no body":                 {sent: head + "Content-Length: 7\r\n\r\n", within: readFor, reads: true, answer: "HTTP/1.1 408 "},
		"half a body":             {sent: head + "Content-Length: 7\r\n\r\nx=1", within: readFor, reads: true, answer: "HTTP/1.1 408 "},
		"half a chunk":            {sent: head + "Transfer-Encoding: chunked\r\n\r\n7\r\nx=1", within: readFor, reads: true, answer: "HTTP/1.1 408 "},
		"an answer that is there": {sent: head + "Content-Length: 3\r\n\r\nx=1", within: writeFor},
	} {
		inTime(t, name, func(t *testing.T) {
			b, _ := newBot(t, newSlack(), &fakeTemporal{}, nil)
			ctx, stop := context.WithCancel(t.Context())
			l, served := make(listener), make(chan error, 1)
			go func() { served <- b.ServeHTTP(ctx, l, secret) }()
			stranger, accepted := net.Pipe()
			begun := time.Now()
			l <- accepted
			if _, err := io.WriteString(stranger, tc.sent); err != nil {
				t.Fatal(err)
			}
			if tc.reads {
				got, err := io.ReadAll(stranger) // Until it is left.
				if err != nil || !strings.HasPrefix(string(got), tc.answer) || tc.answer == "" && len(got) > 0 {
					t.Errorf("answered %q, %v, want %q", got, err, tc.answer)
				}
			} else if _, err := io.WriteString(stranger, strings.Repeat("x", 8<<10)); err == nil { // Nobody takes it.
				t.Error("it is not left")
			}
			if took := time.Since(begun); took > tc.within+time.Second { // In the bubble's time; a connection lingers for a moment.
				t.Errorf("it took %v, want %v at the most", took, tc.within)
			}
			stop()
			if err := <-served; err != nil {
				t.Errorf("ServeHTTP: %v", err)
			}
			_ = stranger.Close()
		})
	}
	if commitBudget+readFor >= writeFor {
		t.Errorf("an answer has %v, with a body that takes %v and a commit that takes %v", writeFor, readFor, commitBudget)
	}
}

// send sends a form as Slack does, and returns the answer's status; 0 where there is none.
func send(t *testing.T, address, body string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0
	}
	r.Header.Set("Content-Type", formType)
	sign(r, body, time.Now(), secret)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Error(err)
		return 0
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

// Whose decision is recorded when Slack has stopped waiting for it sees Slack's warning, and is told that it was.
func TestUnheardByHTTP(t *testing.T) {
	t.Parallel()
	slow := &slowTemporal{arrived: make(chan struct{}), release: make(chan struct{})}
	s := newSlack()
	b, sealed := newBot(t, s, &slow.fakeTemporal, nil)
	b.Temporal = slow
	payload, err := json.Marshal(clicked(bob, "approve", sealed))
	if err != nil {
		t.Fatal(err)
	}
	body := url.Values{"payload": {string(payload)}}.Encode()
	ctx, gone := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, EventsPath, strings.NewReader(body))
	r.Header.Set("Content-Type", formType)
	sign(r, body, time.Now(), secret)
	d := newDoor(b, secret)
	served := make(chan struct{})
	go func() {
		defer close(served)
		d.ServeHTTP(httptest.NewRecorder(), r)
	}()
	<-slow.arrived
	gone()
	close(slow.release)
	<-served
	d.inHand.Wait()
	says(t, s, []string{"your decision was recorded: approved"})
}
