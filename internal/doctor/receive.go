package doctor

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

const socketFix = "--socket opens it all the same"

func (e *examination) socket(ctx context.Context) []Finding {
	if v := e.faulty(varAppToken, varAPI); v != "" {
		return after(v)
	}
	address, err := e.socketAddress(ctx)
	if err != nil {
		return after(nameAppToken)
	}
	if !e.Socket { // Slack gives each click to any one of an app's sockets.
		bots, unknown := e.polls(ctx, botTasks)
		switch {
		case unknown != nil:
			return unseen(socketFix, "not opened, for it cannot be seen whether a bot runs, whose clicks might come here")
		case len(bots) > 0:
			return unseen(socketFix, "%s: not opened, so that no click comes here", seen("a bot runs", bots))
		}
	}
	g, err := timed(ctx, func(ctx context.Context) (greeting, error) { return greet(ctx, address) })
	others := g.connections - 1
	switch {
	case err != nil:
		return bad("check whether a proxy lets WebSockets out (HTTPS_PROXY)", "%s", silent("Slack's socket", err))
	case g.refused == "link_disabled":
		return bad("turn it on under Socket Mode", "Slack closes it: Socket Mode is off (%s)", g.refused)
	case g.refused != "":
		return bad("Slack allows ten of an app: stop what else uses it", "Slack closes it (%s)", g.refused)
	case g.came > 0:
		return doubtful("have it done again", "opens; %s came by it and was not taken: who made it sees Slack's warning sign", plural(g.came, "click or command", "clicks or commands"))
	case others > 0 && !e.Socket:
		return doubtful("run it again in a minute; if it still says so, take a Slack app for each deployment, for Slack gives each click to any socket",
			"opens, but %s open and no bot of this deployment is seen: it has just begun, or Temporal has, or it is of another deployment", plural(others, "other socket of the app is", "other sockets of the app are"))
	case others > 0:
		return good("opens; %s open", plural(others, "other of the app is", "others of the app are"))
	default:
		return good("opens")
	}
}

// greeting is what came by a socket until it was closed.
type greeting struct {
	connections int    // of the app, this one among them
	came        int    // deliveries, which were not acknowledged
	refused     string // why Slack does not use it, in Slack's word
}

// greet opens a socket, waits for Slack's hello, and closes it at once.
// https://docs.slack.dev/apis/events-api/using-socket-mode
func greet(ctx context.Context, address string) (g greeting, err error) {
	if _, err := url.Parse(address); err != nil {
		return g, errors.New("what Slack gave is no address") // It is a secret.
	}
	dialer := websocket.Dialer{Proxy: http.ProxyFromEnvironment}
	c, resp, err := dialer.DialContext(ctx, address, nil)
	if err != nil {
		if resp != nil {
			err = fmt.Errorf("%w: HTTP status %d", err, resp.StatusCode)
		}
		return g, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	const (
		goodbye = time.Second // for Slack to close it
		limit   = 1 << 20
	)
	c.SetReadLimit(limit)
	greeted := false
	for {
		var m struct {
			Type        string `json:"type"`
			Reason      string `json:"reason"`
			Connections int    `json:"num_connections"`
			EnvelopeID  string `json:"envelope_id"`
		}
		_, text, err := c.ReadMessage()
		switch {
		case err != nil && greeted:
			return g, nil
		case ctx.Err() != nil:
			return g, context.DeadlineExceeded
		case err != nil:
			return g, err
		}
		if json.Unmarshal(text, &m) != nil {
			continue
		}
		switch {
		case m.EnvelopeID != "":
			g.came++
		case m.Type == "disconnect" && !greeted:
			g.refused = m.Reason
			return g, nil
		case m.Type == "hello":
			greeted, g.connections = true, m.Connections
			_ = c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(goodbye))
			_ = c.SetReadDeadline(time.Now().Add(goodbye))
		}
	}
}

func (e *examination) requestURL(ctx context.Context) []Finding {
	if v := e.faulty(varSecret); v != "" {
		return after(v)
	}
	const fix = "give --url https://HOST, the host of the app's Request URLs"
	to := e.URL
	if to == "" {
		m, unknown := e.export(ctx)
		if unknown != nil || m.EventsURL == "" {
			return unseen(fix, "whether Slack reaches a bot is not seen")
		}
		to = m.EventsURL
	}
	return e.challenge(ctx, to)
}

// challenge does what Slack does when a Request URL is saved: it sends a signed challenge and wants it back.
// https://docs.slack.dev/reference/events/url_verification
func (e *examination) challenge(ctx context.Context, to string) []Finding {
	wanted := rand.Text()
	body, _ := json.Marshal(map[string]string{"type": "url_verification", "challenge": wanted}) // strings only
	a, err := timed(ctx, func(ctx context.Context) (answer, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
		if err != nil {
			return answer{}, err
		}
		r.Header.Set("Content-Type", "application/json")
		sign(r.Header, e.Config.SlackSigningSecret, time.Now(), body)
		return send(r)
	})
	var back struct {
		Challenge string `json:"challenge"`
	}
	switch {
	case err != nil:
		return bad("look whether the bot runs, at the name, the certificate and the proxy before it", "%s, from here", silent(to, err))
	case a.status == http.StatusOK && json.Unmarshal(a.body, &back) == nil && back.Challenge == wanted:
		return good("%s leads to a bot with this signing secret", to)
	case a.status == http.StatusUnauthorized:
		return bad("give the bot the SLACK_SIGNING_SECRET that is here, and look at both clocks and the proxy", "%s refuses the signature (%s)", to, a)
	case a.status/100 == 3:
		return bad("have the Request URL be where that leads: Slack does not follow", "%s leads elsewhere (%s)", to, a)
	case a.status >= 500:
		return bad("look whether the bot runs, and at the proxy before it", "%s leads to no bot (%s)", to, a)
	default:
		return bad("have the proxy pass POST requests to the bot's LISTEN_ADDRESS unchanged", "%s leads to something else (%s)", to, a)
	}
}

// answer is how a Request URL answered.
type answer struct {
	status int
	body   []byte
}

// String is the status, and the first words.
func (a answer) String() string {
	const most = 80
	line, _, _ := strings.Cut(strings.TrimSpace(string(a.body)), "\n")
	if len(line) > most {
		line = strings.ToValidUTF8(line[:most], "") + "…"
	}
	return strings.TrimSpace(fmt.Sprintf("HTTP status %d %s", a.status, line))
}

func send(r *http.Request) (answer, error) {
	const most = 4096 // of what is read: a challenge is far shorter
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, most))
	return answer{resp.StatusCode, body}, err
}

// sign signs a request as Slack does. https://docs.slack.dev/authentication/verifying-requests-from-slack
func sign(h http.Header, secret string, at time.Time, body []byte) {
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "v0:%s:%s", stamp, body)
	h.Set("X-Slack-Request-Timestamp", stamp)
	h.Set("X-Slack-Signature", "v0="+hex.EncodeToString(mac.Sum(nil)))
}
