package bot

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/slack-go/slack"
)

// EventsPath is the one Request URL path, for commands, interactions and events alike.
const EventsPath = "/slack/events"

const (
	// bodyLimit is far more than Slack sends.
	bodyLimit = 1 << 20
	// drainFor is how long clicks in hand are waited for when the process stops.
	drainFor = 5 * time.Second
)

// ServeHTTP serves Slack's signed requests on l until ctx ends. Then it takes no new ones, finishes and answers those
// in hand, and returns nil.
func (b *Bot) ServeHTTP(ctx context.Context, l net.Listener, signingSecret string) error {
	var inHand sync.WaitGroup
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+EventsPath, func(w http.ResponseWriter, r *http.Request) {
		// Those in hand are finished: they outlive the end of ctx, and the caller's connection.
		inHand.Add(1)
		defer inHand.Done()
		b.receive(context.WithoutCancel(r.Context()), w, r, signingSecret, &inHand)
	})
	srv := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       3 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
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
	inHand.Wait()
	return nil
}

// receive verifies a request, hands it over, and writes the reply.
func (b *Bot) receive(ctx context.Context, w http.ResponseWriter, r *http.Request, secret string, after *sync.WaitGroup) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyLimit))
	if err != nil {
		http.Error(w, "the request is too large or was cut short", http.StatusBadRequest)
		return
	}
	if err := verify(r.Header, body, secret); err != nil {
		b.Log.Warn("refuse a request that Slack did not sign", "err", err)
		http.Error(w, "the request is not signed by Slack, or its clock is off", http.StatusUnauthorized)
		return
	}
	k, payload, err := unwrap(r.Header.Get("Content-Type"), body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if payload == nil { // Slack checks that somebody is here. It echoes a challenge, or wants nothing.
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(challenge(body))
		return
	}
	b.respond(w, b.handle(ctx, k, payload), func(f func(context.Context)) {
		after.Go(func() {
			ctx, stop := context.WithTimeout(ctx, afterBudget)
			defer stop()
			f(ctx)
		})
	})
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
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(r.body); err != nil {
		b.Log.Warn("answer Slack", "err", err)
	}
}

// verify checks Slack's signature. https://docs.slack.dev/authentication/verifying-requests-from-slack
func verify(h http.Header, body []byte, secret string) error {
	v, err := slack.NewSecretsVerifier(h, secret)
	if err != nil {
		return err
	}
	if _, err := v.Write(body); err != nil {
		return err
	}
	return v.Ensure()
}

// unwrap tells what a verified body is, and brings it into the form that Socket Mode has. A nil payload without an
// error is a check of Slack's that somebody is here.
func unwrap(contentType string, body []byte) (kind, []byte, error) {
	media, _, _ := mime.ParseMediaType(contentType)
	if media == "application/json" {
		var e struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal(body, &e); err != nil {
			return "", nil, errors.New("the body is not JSON")
		}
		if e.Type == "url_verification" {
			return event, nil, nil
		}
		return event, body, nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return "", nil, errors.New("the body is not a form")
	}
	if p := form.Get("payload"); p != "" {
		return interactive, []byte(p), nil
	}
	if form.Get("ssl_check") == "1" {
		return slashCommand, nil, nil
	}
	fields := make(map[string]string, len(form))
	for name := range form {
		fields[name] = form.Get(name)
	}
	payload, err := json.Marshal(fields)
	return slashCommand, payload, err
}

// challenge is the answer to Slack's check of a Request URL.
// https://docs.slack.dev/reference/events/url_verification
func challenge(body []byte) []byte {
	var c struct {
		Challenge string `json:"challenge"`
	}
	_ = json.Unmarshal(body, &c) // An ssl_check is no JSON, and wants an empty answer.
	out, _ := json.Marshal(c)
	return out
}
