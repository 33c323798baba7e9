package bot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/slack-go/slack"
)

// EventsPath is the one Request URL path, for commands, interactions and events alike.
const EventsPath = "/slack/events"

const (
	// bodyLimit is far more than Slack sends, and usual is what a click on a card may have.
	bodyLimit = 1 << 20
	usual     = 32 << 10
	// readFor is how long a request may take to come in: after that Slack has given up waiting for its answer.
	// https://docs.slack.dev/interactivity/handling-user-interaction#acknowledgment_response
	readFor = 3 * time.Second
	// writeFor is how long it may take from a request's head to the end of its answer: its body, the commit, and then as
	// long as somebody may read slowly.
	writeFor = readFor + commitBudget + 4500*time.Millisecond
	// idleFor is longer than proxies keep a connection, so that none sends a click on one that is just being closed: they
	// keep it for ten minutes at the most. https://cloud.google.com/load-balancing/docs/https#timeouts_and_retries
	idleFor = 620 * time.Second
	// rememberMost is how many requests are remembered, against replays: far more than Slack sends in the ten minutes in
	// which a signature is good.
	rememberMost = 1 << 14
	// drainFor is how long clicks in hand are waited for when the process stops.
	drainFor = 5 * time.Second
)

// ServeHTTP serves Slack's signed requests on l until ctx ends. Then it takes no new ones, finishes and answers those
// in hand, and returns nil.
func (b *Bot) ServeHTTP(ctx context.Context, l net.Listener, signingSecret string) error {
	d := newDoor(b, signingSecret)
	srv := &http.Server{
		Handler:                      d,
		ReadHeaderTimeout:            readFor,
		ReadTimeout:                  readFor,
		WriteTimeout:                 writeFor,
		IdleTimeout:                  idleFor,
		MaxHeaderBytes:               64 << 10,
		DisableGeneralOptionsHandler: true,
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	// The end of ctx is the reason to drain, so the drain has a context of its own.
	drain, stop := context.WithTimeout(context.WithoutCancel(ctx), drainFor)
	defer stop()
	if err := srv.Shutdown(drain); err != nil {
		b.Log.Warn("end connections that nothing came by", "err", err)
		_ = srv.Close()
	}
	d.inHand.Wait()
	return nil
}

// door lets Slack's signed requests in, and nothing else.
type door struct {
	*Bot
	secret string
	// came are the signatures of the requests that were let in. One is refused for its time long before it is forgotten.
	came *lru.Cache[string, struct{}]
	// inHand are the requests that are being dealt with, and what is done after their answers.
	inHand sync.WaitGroup
}

func newDoor(b *Bot, secret string) *door {
	came, _ := lru.New[string, struct{}](rememberMost) // fails without room only
	return &door{Bot: b, secret: secret, came: came}
}

// ServeHTTP takes a request in, hands it over, and writes the reply.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.inHand.Add(1)
	defer d.inHand.Done()
	for name, value := range map[string]string{
		"X-Content-Type-Options":  "nosniff",
		"Cache-Control":           "no-store",
		"Content-Security-Policy": "default-src 'none'",
		"Referrer-Policy":         "no-referrer",
	} {
		w.Header().Set(name, value)
	}
	k, payload, err := d.receive(w, r)
	var no refused
	switch {
	case errors.As(err, &no):
		d.Log.Warn(no.log(), "status", no.status, "err", no.sentence)
		http.Error(w, no.sentence, no.status)
		return
	case k == probe:
		w.Header().Set("Content-Type", jsonType)
		_, _ = w.Write(payload)
		return
	}
	begun := time.Now()
	// Those in hand are finished: they outlive the end of the process's context, and the caller's connection.
	ctx := context.WithoutCancel(r.Context())
	answer := d.handle(ctx, k, payload)
	if r.Context().Err() != nil || time.Since(begun) > readFor {
		answer = answer.unheard()
	}
	d.respond(w, answer, func(f func(context.Context)) {
		d.inHand.Go(func() {
			ctx, stop := context.WithTimeout(ctx, afterBudget)
			defer stop()
			f(ctx)
		})
	})
}

// refused is why a request is not let in: the status and the sentence that it is answered with. The sentence has nothing
// of the request.
type refused struct {
	status   int
	sentence string
}

func (e refused) Error() string { return e.sentence }

func (e refused) log() string {
	if e.status == http.StatusUnauthorized {
		return "refuse a request that Slack did not sign"
	}
	return "refuse a request"
}

// receive lets a request in, in this order: it looks as Slack's do, it is read, it is signed, it has not come before,
// and it can be unwrapped. The error is always a refused.
func (d *door) receive(w http.ResponseWriter, r *http.Request) (kind, []byte, error) {
	media, err := expect(w, r)
	if err != nil {
		return "", nil, err
	}
	body, err := read(w, r)
	if err != nil {
		return "", nil, err
	}
	if err := verify(r.Header, body, d.secret); err != nil {
		return "", nil, err
	}
	if d.again(r.Header) {
		return "", nil, refused{http.StatusConflict, "This request has come before."}
	}
	return unwrap(media, body)
}

// The media types of Slack's requests.
const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

// expect refuses, before anything of the body is read, what Slack does not send, and returns the media type.
func expect(w http.ResponseWriter, r *http.Request) (media string, err error) {
	media, _, _ = mime.ParseMediaType(r.Header.Get("Content-Type")) // Slack may add parameters: they say nothing to us.
	switch {
	case r.URL.Path != EventsPath:
		return "", refused{http.StatusNotFound, "Nothing is here: Slack's requests go to " + EventsPath + "."}
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		return "", refused{http.StatusMethodNotAllowed, "Slack's requests are POST requests."}
	case r.URL.RawQuery != "" || r.URL.ForceQuery: // The signature does not cover it.
		return "", refused{http.StatusBadRequest, "The URL must not have a query string."}
	case len(r.Header.Values("Content-Encoding")) > 0:
		return "", refused{http.StatusUnsupportedMediaType, "The body must not be compressed."}
	case media != formType && media != jsonType:
		return "", refused{http.StatusUnsupportedMediaType, "The body must be a form or JSON."}
	case r.ContentLength > bodyLimit:
		return "", errTooLarge
	}
	return media, nil
}

var errTooLarge = refused{http.StatusRequestEntityTooLarge, "The body is too large."}

// read reads the body.
func read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	var body bytes.Buffer
	body.Grow(int(min(max(0, r.ContentLength), usual)) + bytes.MinRead) // at once
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, bodyLimit))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, errTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, refused{http.StatusRequestTimeout, "The body did not come in time."}
	case err != nil:
		return nil, refused{http.StatusBadRequest, "The body was cut short."}
	}
	return body.Bytes(), nil
}

// The headers of a signed request.
const (
	signatureHeader = "X-Slack-Signature"
	timestampHeader = "X-Slack-Request-Timestamp"
)

// verify checks Slack's signature, and its time. https://docs.slack.dev/authentication/verifying-requests-from-slack
func verify(h http.Header, body []byte, secret string) error {
	v, err := slack.NewSecretsVerifier(h, secret)
	if err == nil {
		if _, err = v.Write(body); err == nil {
			err = v.Ensure()
		}
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, slack.ErrMissingHeaders):
		return refused{http.StatusUnauthorized, "The request is not signed."}
	case errors.Is(err, slack.ErrExpiredTimestamp):
		return refused{http.StatusUnauthorized, "The request was signed more than five minutes ago, or ahead: or a clock is off."}
	default:
		return refused{http.StatusUnauthorized, "The signature is wrong."}
	}
}

// again notes a signature that was verified, and reports whether it has come before. Of two at the same moment it is one
// that has. Nothing of Slack's is lost: clicks and commands are never sent again, and an event that is sent again has a
// new time, for Slack does so after minutes too and has old times refused, so it has another signature. Where that is
// the same second's, the event has come in already. https://docs.slack.dev/apis/events-api
func (d *door) again(h http.Header) bool {
	// Its digits are hexadecimal, and may be large ones too.
	came, _ := d.came.ContainsOrAdd(strings.ToLower(h.Get(signatureHeader)), struct{}{})
	return came
}

// respond writes a reply and then has the rest done.
func (b *Bot) respond(w http.ResponseWriter, r reply, then func(func(context.Context))) {
	if r.then != nil {
		defer then(r.then)
	}
	if !r.ack {
		http.Error(w, "not done", http.StatusServiceUnavailable)
		return
	}
	if r.body == nil {
		w.WriteHeader(http.StatusOK)
		return
	}
	w.Header().Set("Content-Type", jsonType)
	if err := json.NewEncoder(w).Encode(r.body); err != nil {
		b.Log.Warn("answer Slack", "err", err)
	}
}

// probe is Slack's look whether somebody is here. Its payload is the answer.
const probe kind = "probe"

// unwrap tells what a verified body is, and brings it into the form that Socket Mode has.
func unwrap(media string, body []byte) (kind, []byte, error) {
	if media == jsonType {
		var e struct {
			Type      string `json:"type"`
			Challenge string `json:"challenge"`
		}
		if json.Unmarshal(body, &e) != nil {
			return "", nil, refused{http.StatusBadRequest, "The body is not JSON as Slack sends it."}
		}
		if e.Type == "url_verification" { // https://docs.slack.dev/reference/events/url_verification
			answer, _ := json.Marshal(map[string]string{"challenge": e.Challenge})
			return probe, answer, nil
		}
		return event, body, nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return "", nil, refused{http.StatusBadRequest, "The body is not a form."}
	}
	fields := make(map[string]string, len(form))
	for name, values := range form {
		if len(values) > 1 { // Who looks at another one than we do would see another request.
			return "", nil, refused{http.StatusBadRequest, "The form has a field twice."}
		}
		fields[name] = values[0]
	}
	switch {
	case fields["payload"] != "":
		return interactive, []byte(fields["payload"]), nil
	case fields["ssl_check"] == "1": // It wants an empty answer.
		return probe, nil, nil
	}
	payload, _ := json.Marshal(fields) // strings only
	return slashCommand, payload, nil
}
