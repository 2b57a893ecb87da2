package viewer

import (
	"time"

	"github.com/framebus/framebus/services/internal/adapt"
)

// How pictures are acknowledged where no pongs come, on plain connections and by clients that answer none: by the
// client's host. The kernel knows what it has acknowledged and when it last did; nobody is told, so it is asked.

const (
	// askEvery is how often the kernel is asked while a picture should be arriving.
	askEvery = 4 * time.Millisecond
	// askSlowly is how often where one has been on its way for long.
	askSlowly = 20 * time.Millisecond
	askedLong = 500 * time.Millisecond
)

// acks is what acknowledges pictures.
type acks uint8

const (
	ackPong   acks = iota
	ackPaint       // a proxy answers the pings: the client's word that it painted
	ackHost        // no pings are answered: TCP
	ackNobody      // nor is the kernel known to tell
)

// tcpState is what the kernel tells of a connection.
type tcpState struct {
	minRTT  time.Duration
	lastAck time.Duration // ago
}

// host is what is known of a connection whose pictures the client's host acknowledges.
type host struct {
	base   adapt.TCPBase
	idleAt time.Duration // when a picture was sent that found the line idle, until its first part is acknowledged
	idle   uint64        // bytes handed over before it
}

// bounded tells whether pictures wait for credit. The lock is held.
func (v *Viewer) bounded() bool { return v.by != ackNobody }

// unanswering has a client that answers no pings be bounded by what else there is. The lock is held.
func (v *Viewer) unanswering() {
	v.by = ackNobody
	if _, ok := v.wire.tcp(); ok {
		v.by = ackHost
	}
	v.credit.unbound = v.by == ackNobody
	v.credit.thin, v.credit.every = 1, true
}

// arrived acknowledges what has left the socket. When it arrived is not known, and it waited for a pong, not for the
// line: counted as carried until now it would look like a line that carries next to nothing. The lock is held.
func (v *Viewer) arrived(now time.Duration) {
	v.credit.Arrived(func(s sent) {
		s.lane.account.Acknowledged(s.mark, v.began.Add(now).UnixMicro())
		v.traces.acknowledged(byHost, s.at, now)
	})
}

// sentToHost notes a picture that goes out. The lock is held.
func (v *Viewer) sentToHost(now time.Duration) {
	if v.by != ackHost {
		return
	}
	if v.credit.open == 0 {
		v.host.idleAt, v.host.idle = max(now, 1), v.handed
	}
	v.wakeAt(now + max(v.link.Base(), askEvery))
}

// askHost takes what the client's host has acknowledged since, and says when to ask again; 0: nothing is on its way.
// The lock is held and nobody has the turn.
func (v *Viewer) askHost(now time.Duration) (again time.Duration) {
	if v.by != ackHost || v.credit.open == 0 {
		return 0
	}
	t, ok := v.wire.tcp()
	if !ok {
		v.by, v.credit.unbound = ackNobody, true
		return 0
	}
	acked := v.wire.written - min(uint64(v.wire.unsent()), v.wire.written)
	at := now - t.lastAck
	if v.host.idleAt > 0 && acked > v.host.idle {
		v.host.base.First(now, max(at-v.host.idleAt, t.minRTT))
		v.host.idleAt = 0
	}
	if v.credit.Reached(acked, at, now) {
		v.traces.acknowledged(byHost, v.credit.acked.at, now)
		v.link.Pong(now, v.host.base.Base(t.minRTT))
		v.measured(max(at, v.credit.acked.at))
	}
	oldest, flying := v.credit.oldest()
	if !flying {
		return 0
	}
	if now-oldest.at > askedLong {
		return askSlowly
	}
	return max(oldest.at+v.link.Base()-now, askEvery)
}
