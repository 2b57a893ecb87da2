package viewer

import (
	"time"

	"github.com/framebus/framebus/services/internal/adapt"
)

const (
	window    = 2               // pictures that may be on their way, until the link is measured
	maxThin   = 8               // at most every so many pictures carry a ping
	deafAfter = time.Second     // without an answer, while everything has left the socket
	maxFlight = 64              // bound of what is remembered as on its way; the oldest is forgotten
	rttWindow = 5 * time.Second // how far back the least pong delay looks
	maxDelays = 128             // bound of the pong delays remembered; the oldest is forgotten
)

// credit is what one connection may send: a pong acknowledges what it names and all sent before it. It is pure: it
// knows neither clock nor socket, times are since the connection began, and its methods are called in their order.
type credit struct {
	w        int           // window, pictures: as the link is measured
	thin     int           // every so many pictures carry a ping
	since    int           // pictures sent since the last ping, its own included; a bare one counts as one
	frame    time.Duration // between two pictures as they are offered, smoothed; 0 while unknown
	deaf     bool          // answers no pings
	unbound  bool          // nothing acknowledges: the socket's own back-pressure bounds it
	every    bool          // all is acknowledged, without a ping too: thinning makes no sense
	patience time.Duration // with what answers no pings
	drained  time.Duration // since when everything has left the socket and a ping is unanswered; 0 if not

	first, n int    // of flight
	open     int    // pictures in flight
	pings    int    // pings in flight, bare ones included
	nDelay   uint64 // delays ever
	pongs    uint64 // that named something in flight
	acked    sent   // what the last of them named

	flight [maxFlight]sent
	delays [maxDelays]delay
}

// sent is a picture or a bare ping on its way.
type sent struct {
	number uint64
	at     time.Duration
	bytes  int    // 0: a bare ping
	end    uint64 // of all bytes ever handed to the socket, its last one's place
	pinged bool
	waited time.Duration // for credit, in an empty slot
	lane   *lane         // of a picture
	mark   Mark
}

type delay struct {
	at, took time.Duration
	bare     bool
}

func newCredit() credit { return credit{w: window, thin: 1, since: 1, patience: deafAfter} }

// MaySend tells whether the next picture may go.
func (c *credit) MaySend() bool { return c.unbound || c.open < c.w+c.thin-1 }

// WantsPing tells whether nothing but a bare ping could bring credit back: it ran out as thinning ended, while the last
// pictures sent carried none.
func (c *credit) WantsPing() bool { return !c.MaySend() && c.pings == 0 }

// PingNext tells whether the next picture has to carry a ping.
func (c *credit) PingNext() bool { return c.since >= c.thin }

// Sent books a picture.
func (c *credit) Sent(s sent) {
	s.bytes = max(s.bytes, 1)
	c.push(s)
	c.since++
	if s.pinged {
		c.since = 1
	}
	c.drained = 0
}

// SentBare books a ping that goes alone. It acknowledges what a picture's ping would have, so thinning counts from it.
func (c *credit) SentBare(number uint64, at time.Duration, end uint64) {
	c.push(sent{number: number, at: at, end: end, pinged: true})
	c.since = 1
}

func (c *credit) push(s sent) {
	if c.n == maxFlight {
		c.pop()
	}
	c.flight[(c.first+c.n)%maxFlight] = s
	c.n++
	if s.bytes > 0 {
		c.open++
	}
	if s.pinged {
		c.pings++
	}
}

func (c *credit) pop() {
	s := c.flight[c.first]
	c.flight[c.first].lane = nil // an ended stream must not be kept alive
	c.first = (c.first + 1) % maxFlight
	c.n--
	if s.bytes > 0 {
		c.open--
	}
	if s.pinged {
		c.pings--
	}
}

// Pong acknowledges number and all sent before it. What names nothing in flight, because nobody asked, it was answered
// before or the ping was another connection's, changes nothing.
func (c *credit) Pong(number uint64, at time.Duration) bool {
	i := 0
	for ; i < c.n; i++ {
		if s := &c.flight[(c.first+i)%maxFlight]; s.pinged && s.number == number {
			break
		}
	}
	if i == c.n {
		return false
	}
	c.pongs++
	c.deaf, c.unbound = false, false
	c.take(i, at)
	return true
}

// Reached acknowledges what the client's host has, which has so many of all bytes ever handed over, since at. It tells
// whether a picture was among it.
func (c *credit) Reached(bytes uint64, at, now time.Duration) bool {
	last := -1
	for i := range c.n {
		s := &c.flight[(c.first+i)%maxFlight]
		if s.end > bytes+uint64(adapt.EarlyAck(s.bytes)) {
			break
		}
		if s.bytes > 0 {
			last = i
		}
	}
	if last < 0 {
		return false
	}
	c.take(last, min(max(at, c.flight[(c.first+last)%maxFlight].at), now))
	return true
}

// take acknowledges the first i + 1 in flight.
func (c *credit) take(i int, at time.Duration) {
	s := c.flight[(c.first+i)%maxFlight]
	c.acked = s
	for range i + 1 {
		if l := c.flight[c.first].lane; l != nil {
			l.acked++
		}
		c.pop()
	}
	took := at - s.at
	c.delays[c.nDelay%maxDelays] = delay{at, took, s.bytes == 0}
	c.nDelay++
	c.drained = 0
	switch {
	case c.every || c.frame == 0 || took >= c.frame/2:
		c.thin = 1
	case s.bytes > 0:
		c.thin = min(c.thin+1, maxThin)
	}
}

// Arrived acknowledges all that is on its way, of which it is only known that the client's host has it by now: that
// says nothing of when. each is told of every picture.
func (c *credit) Arrived(each func(sent)) {
	for c.n > 0 {
		s := c.flight[c.first]
		if s.lane != nil {
			s.lane.acked++
			each(s)
		}
		c.pop()
	}
}

// Restart forgets all that is on its way.
func (c *credit) Restart() {
	for c.n > 0 {
		c.pop()
	}
	c.w, c.thin, c.since, c.drained = window, 1, 1, 0
}

// Forget gives a picture up that nothing has acknowledged for so long.
func (c *credit) Forget(now, after time.Duration) bool {
	if s, ok := c.oldest(); !ok || now-s.at < after {
		return false
	}
	for had := c.open; c.open == had; {
		c.pop()
	}
	return true
}

// Offered notes that a picture came, so that a pong's delay can be told plentiful from scarce.
func (c *credit) Offered(interval time.Duration) {
	switch {
	case interval <= 0 || interval > time.Second:
	case c.frame == 0:
		c.frame = interval
	default:
		c.frame += (interval - c.frame) / 8
	}
}

// oldest is the picture longest on its way.
func (c *credit) oldest() (s sent, ok bool) {
	for i := range c.n {
		if s := c.flight[(c.first+i)%maxFlight]; s.bytes > 0 {
			return s, true
		}
	}
	return s, false
}

// Overdue tells whether a ping has gone unanswered for so long.
func (c *credit) Overdue(at, age time.Duration) bool {
	for i := range c.n {
		if s := &c.flight[(c.first+i)%maxFlight]; s.pinged {
			return at-s.at >= age
		}
	}
	return false
}

// Drained is told that everything sent has left the socket. A client that has had it all for a second and answered
// nothing is not waited for any longer, until it answers again.
func (c *credit) Drained(at time.Duration) (becameDeaf bool) {
	switch {
	case c.pings == 0 || c.deaf:
		return false
	case c.drained == 0:
		c.drained = max(at, 1)
		return false
	case at-c.drained < c.patience:
		return false
	}
	c.deaf, c.unbound, c.thin = true, true, 1
	return true
}

// RTT is the least pong delay of the last 5 s, 0 where there was none.
func (c *credit) RTT(now time.Duration) (least time.Duration) {
	for i := range min(c.nDelay, maxDelays) {
		if d := c.delays[i]; now-d.at <= rttWindow && (least == 0 || d.took < least) {
			least = max(d.took, 1)
		}
	}
	return least
}

// AckDelays appends the delays from a picture's sending to its pong that are remembered, in no order.
func (c *credit) AckDelays(to []time.Duration) []time.Duration {
	for i := range min(c.nDelay, maxDelays) {
		if d := c.delays[i]; !d.bare {
			to = append(to, d.took)
		}
	}
	return to
}
