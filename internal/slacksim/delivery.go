package slacksim

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// DeliveryKind is what a delivery tells the app.
type DeliveryKind string

// The kinds of deliveries.
const (
	SlashCommand   DeliveryKind = "slash_command"
	BlockActions   DeliveryKind = "block_actions"
	ViewSubmission DeliveryKind = "view_submission"
	ViewClosed     DeliveryKind = "view_closed"
	AppHomeOpened  DeliveryKind = "app_home_opened"
	Raw            DeliveryKind = "raw" // made by Deliver
)

// Why a delivery was not acknowledged, in Slack's words.
const (
	OperationTimeout = "operation_timeout" // nothing within 3 s
	DispatchFailed   = "dispatch_failed"   // no socket, or nobody listens at the Request URL
	HTTPClientError  = "http_client_error" // an HTTP status that is not 2xx
)

// Delivery is one delivery to the app and what became of it.
type Delivery struct {
	ID      string // of the envelope
	Kind    DeliveryKind
	User    string          // ID of who caused it
	Payload json.RawMessage // a slash command is an object of strings here, in both modes
	Sent    time.Time
	Attempt int // 0, or 1 for the second try of an event
	Socket  int // number of the connection that it went to; 0 over HTTP

	TriggerID   string
	ResponseURL string

	// Done is whether the app has answered or its time is over. Acked is whether it has acknowledged; if not, Error
	// says why. Took is how long that was. Response is the acknowledgement's JSON, a JSON string for plain text,
	// empty for an empty one.
	Done     bool
	Acked    bool
	Error    string
	Status   int // over HTTP
	Took     time.Duration
	Response json.RawMessage
}

// String says what was delivered, and how that went, without the payload.
func (d Delivery) String() string {
	how := "in flight"
	switch {
	case d.Acked:
		how = "acknowledged " + string(d.Response)
	case d.Done:
		how = d.Error
	}
	return fmt.Sprintf("%s %s by %s, attempt %d: %s in %v", d.Kind, d.ID, d.User, d.Attempt, how, d.Took)
}

// outgoing is a delivery before it is sent.
type outgoing struct {
	kind        DeliveryKind
	envelope    string // type of the envelope
	user        string
	payload     any
	triggerID   string
	responseURL string
	acceptsBody bool
	attempt     int
	retryReason string
	silent      bool // where it is lost, its time passes
}

// deliver sends o and waits until it is acknowledged or its time is over. The end of ctx does not stop it, since a
// click that has been made cannot be taken back; it is over in AckTimeout.
func (s *Server) deliver(ctx context.Context, o outgoing) Delivery {
	ctx = context.WithoutCancel(ctx)
	f := s.takeDeliveryFault(o)
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-s.done:
		}
	}
	o.silent = f.silent
	if f.Twice {
		s.attempt(ctx, o, f.Lost)
	}
	d := s.attempt(ctx, o, f.Lost)
	if !d.Acked && o.envelope == "events_api" && o.attempt == 0 {
		o.attempt, o.retryReason = 1, "timeout"
		if d.Error == HTTPClientError {
			o.retryReason = "error"
		}
		return s.attempt(ctx, o, false)
	}
	return d
}

func (s *Server) attempt(ctx context.Context, o outgoing, lost bool) Delivery {
	clue, about := deliveryClue(o)
	link := s.trace(clue)
	s.mu.Lock()
	s.lastID++
	d := &Delivery{
		ID: fmt.Sprintf("%08x-5137-4b1d-9c0e-%012x", s.lastID, s.lastID), Kind: o.kind, User: o.user,
		Payload: toJSON(o.payload), Sent: s.now(), Attempt: o.attempt,
		TriggerID: o.triggerID, ResponseURL: o.responseURL,
	}
	s.deliveries = append(s.deliveries, d)
	requestURL, id := s.requestURL, d.ID
	e := s.enter(&entry{delivery: d, about: about, guess: o.kind == SlashCommand})
	s.belongs(e, link)
	if lost {
		e.met = lostOnItsWay
	}
	s.mu.Unlock()

	var got outcome
	start := time.Now()
	switch {
	case lost && o.silent:
		select {
		case <-time.After(s.opts.AckTimeout):
		case <-s.done:
		}
		fallthrough
	case lost:
		got = outcome{err: OperationTimeout}
	case requestURL == "":
		got = s.overSocket(id, o)
	default:
		got = s.overHTTP(ctx, requestURL, o)
	}
	if got.err == "" && s.ackLost(d, got, time.Since(start)) {
		select {
		case <-time.After(s.opts.AckTimeout - time.Since(start)):
		case <-s.done:
		}
		got = outcome{err: OperationTimeout, socket: got.socket}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	d.Done, d.Acked, d.Error, d.Took = true, got.err == "", got.err, time.Since(start)
	d.Response, d.Status, d.Socket = got.body, got.status, got.socket
	s.touch()
	s.log.Debug("delivery", "kind", d.Kind, "user", d.User, "error", d.Error, "took", d.Took)
	return *d
}

// outcome is how the app answered.
type outcome struct {
	err    string
	body   json.RawMessage
	status int
	socket int
}

func (s *Server) overSocket(id string, o outgoing) outcome {
	ack := make(chan json.RawMessage, 1)
	s.mu.Lock()
	s.pending[id] = &waiting{ack: ack}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.pending, id)
	}()
	envelope := map[string]any{
		"envelope_id": id, "type": o.envelope, "payload": o.payload, "accepts_response_payload": o.acceptsBody,
	}
	if o.envelope == "events_api" {
		envelope["retry_attempt"], envelope["retry_reason"] = o.attempt, o.retryReason
	}
	number, sent := s.sendSocket(id, envelope)
	if !sent {
		return outcome{err: DispatchFailed}
	}
	timeout := time.NewTimer(s.opts.AckTimeout)
	defer timeout.Stop()
	select {
	case body := <-ack:
		if !o.acceptsBody || string(body) == "null" {
			body = nil
		}
		return outcome{body: body, socket: number}
	case <-timeout.C:
	case <-s.done:
	}
	return outcome{err: OperationTimeout, socket: number}
}

// overHTTP posts to the Request URL: commands as a form, interactions as a form with payload, events as JSON.
func (s *Server) overHTTP(ctx context.Context, requestURL string, o outgoing) outcome {
	kind, body := "application/x-www-form-urlencoded", ""
	switch o.envelope {
	case "slash_commands":
		form := url.Values{}
		for key, v := range o.payload.(map[string]any) {
			form.Set(key, fmt.Sprint(v))
		}
		body = form.Encode()
	case "interactive":
		body = url.Values{"payload": {string(toJSON(o.payload))}}.Encode()
	default:
		kind, body = "application/json", string(toJSON(o.payload))
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.AckTimeout)
	defer cancel()
	header := http.Header{"Content-Type": {kind}}
	if o.attempt > 0 {
		header.Set("X-Slack-Retry-Num", strconv.Itoa(o.attempt))
		header.Set("X-Slack-Retry-Reason", "http_"+o.retryReason)
	}
	response, status, err := s.sendSigned(ctx, requestURL, header, body)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return outcome{err: OperationTimeout}
	case err != nil:
		s.log.Debug("request url not reached", "err", err)
		return outcome{err: DispatchFailed}
	case status/100 != 2:
		return outcome{err: HTTPClientError, status: status}
	}
	return outcome{body: response, status: status}
}

// sendSigned posts as Slack does, signed at the real time as the workspace's clock has it, and returns the answer as
// JSON. Slack sends no body twice with one signature, but ours may be equal within a second: such a one is signed for the
// next free second.
// See https://docs.slack.dev/authentication/verifying-requests-from-slack.
func (s *Server) sendSigned(ctx context.Context, to string, header http.Header, body string) (json.RawMessage, int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	r.Header = header
	var timestamp, signature string
	s.mu.Lock()
	for second := time.Now().Add(time.Duration(s.skew.Load())).Unix(); signature == "" || s.signed[signature]; second++ {
		timestamp = strconv.FormatInt(second, 10)
		signature = Sign(s.opts.SigningSecret, timestamp, body)
	}
	s.signed[signature] = true
	s.mu.Unlock()
	r.Header.Set("User-Agent", "Slackbot 1.0 (+https://api.slack.com/robots)")
	r.Header.Set("X-Slack-Request-Timestamp", timestamp)
	r.Header.Set("X-Slack-Signature", signature)
	response, err := s.client.Do(r)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return nil, 0, err
	}
	answer = bytes.TrimSpace(answer)
	media, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if len(answer) > 0 && (media != "application/json" || !json.Valid(answer)) {
		answer = toJSON(string(answer))
	}
	return answer, response.StatusCode, nil
}

// Sign returns the X-Slack-Signature of a body that is sent at timestamp, in seconds since 1970.
// See https://docs.slack.dev/authentication/verifying-requests-from-slack.
func Sign(signingSecret, timestamp, body string) string {
	mac := hmac.New(sha256.New, []byte(signingSecret))
	_, _ = io.WriteString(mac, "v0:"+timestamp+":"+body)
	return "v0=" + hex.EncodeToString(mac.Sum(nil))
}

// VerifyURL does what Slack does when a Request URL is saved: it sends a challenge and wants it back.
// See https://docs.slack.dev/reference/events/url_verification.
func (s *Server) VerifyURL(ctx context.Context) error {
	s.mu.Lock()
	to := s.requestURL
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, s.opts.AckTimeout)
	defer cancel()
	challenge := secret()
	body := toJSON(map[string]any{"type": "url_verification", "token": verificationToken, "challenge": challenge})
	answer, status, err := s.sendSigned(ctx, to, http.Header{"Content-Type": {"application/json"}}, string(body))
	if err != nil {
		return fmt.Errorf("verify %s: %w", to, err)
	}
	var object struct {
		Challenge string `json:"challenge"`
	}
	var text string
	if json.Unmarshal(answer, &object) != nil && json.Unmarshal(answer, &text) == nil {
		object.Challenge = text
	}
	if status != http.StatusOK || object.Challenge != challenge {
		return fmt.Errorf("verify %s: status %d without the challenge", to, status)
	}
	return nil
}

// Deliver sends any payload as an interaction, as nobody, for what no Slack client would send.
func (s *Server) Deliver(ctx context.Context, payload any) Delivery {
	return s.deliver(ctx, outgoing{kind: Raw, envelope: "interactive", payload: payload, acceptsBody: true})
}

// Redeliver sends the payload of d once more, in a new envelope.
func (s *Server) Redeliver(ctx context.Context, d Delivery) (Delivery, error) {
	var payload map[string]any
	if err := json.Unmarshal(d.Payload, &payload); err != nil {
		return Delivery{}, fmt.Errorf("redeliver %s: %w", d.ID, err)
	}
	envelope := "interactive"
	switch d.Kind {
	case SlashCommand:
		envelope = "slash_commands"
	case AppHomeOpened:
		envelope = "events_api"
	}
	return s.deliver(ctx, outgoing{
		kind: d.Kind, envelope: envelope, user: d.User, payload: payload,
		triggerID: d.TriggerID, responseURL: d.ResponseURL,
		acceptsBody: d.Kind == SlashCommand || d.Kind == ViewSubmission,
	}), nil
}
