package slackapi

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Slack takes about one message a second in a channel, with short bursts.
// https://docs.slack.dev/apis/web-api/rate-limits
const (
	postsPerSecond = 1
	postsBurst     = 3
)

// pace keeps posts to each channel within what Slack takes.
type pace struct {
	mu       sync.Mutex
	channels map[string]*rate.Limiter
}

func newPace() *pace { return &pace{channels: make(map[string]*rate.Limiter)} }

// Turn reserves the next post to a channel and returns how long to wait for it. A reservation is for whoever asked,
// and is not given back: who comes back when the time is up posts without asking again.
func (c *Client) Turn(channel string) time.Duration { return c.pace.turn(channel, time.Now()) }

func (p *pace) turn(channel string, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, ok := p.channels[channel]
	if !ok {
		for id, idle := range p.channels { // A limiter that is full again says what a new one would.
			if idle.TokensAt(now) >= postsBurst {
				delete(p.channels, id)
			}
		}
		l = rate.NewLimiter(postsPerSecond, postsBurst)
		p.channels[channel] = l
	}
	return l.ReserveN(now, 1).DelayFrom(now)
}
