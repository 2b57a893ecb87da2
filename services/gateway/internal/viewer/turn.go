package viewer

import (
	"fmt"
	"time"

	"github.com/framebus/framebus/services/gateway/internal/picture"
)

// How bytes get out. Whoever has something to send (the hub's goroutine with a picture, the reading goroutine with a
// pong that brings credit) calls pump: if nobody has the turn it takes it and writes what the socket takes without
// waiting, so that on a good link no goroutine has to be woken for a frame. What the socket does not take is left,
// with the turn, to the viewer's own goroutine (Run), which waits for the socket. So at any time one goroutine writes,
// frames stay whole and in order, and a caller of pump never waits.

const (
	// chunk is written under one deadline, so that a large picture on a slow link shows that it makes progress.
	chunk = 64 << 10
	// closeGrace is how long a frame on its way may take when the viewer is being closed.
	closeGrace = 2 * time.Second
	// barePings is how often a ping goes out alone.
	barePings = 500 * time.Millisecond
)

// pump sends what may be sent now.
func (v *Viewer) pump() {
	v.mu.Lock()
	if v.turn { // its holder looks again before it lets go
		v.mu.Unlock()
		return
	}
	v.turn = true
	v.pumpLocked()
}

// pumpLocked goes on with the turn and the lock held, and lets go of both; of the turn not if something is left.
func (v *Viewer) pumpLocked() {
	for {
		b := v.next()
		v.handed += uint64(len(b))
		if b == nil {
			v.turn = false
			if v.closeSent {
				v.signal()
			}
			v.mu.Unlock()
			return
		}
		v.mu.Unlock()
		n, err := v.wire.tryWrite(b)
		v.mu.Lock()
		if err != nil {
			v.fail(fmt.Errorf("write to %s: %w", v.address, err))
		}
		if v.failed != nil { // here or, meanwhile, in reading
			v.mu.Unlock()
			return
		}
		if n < len(b) {
			v.rest = b[n:]
			v.mu.Unlock()
			v.signal()
			return
		}
		v.traces.wrote()
	}
}

// writeRest waits for the socket to take what pump has left, and goes on pumping. Only Run calls it.
func (v *Viewer) writeRest() {
	for {
		v.mu.Lock()
		if len(v.rest) == 0 {
			v.mu.Unlock()
			return
		}
		rest := v.rest
		for len(rest) > 0 && v.failed == nil {
			deadline := time.Now().Add(v.o.WriteTimeout)
			if !v.closeBy.IsZero() && v.closeBy.Before(deadline) {
				deadline = v.closeBy
			}
			err := v.wire.conn.SetWriteDeadline(deadline) // under the lock: Close shortens it
			v.mu.Unlock()
			n := 0
			if err == nil {
				n, err = v.wire.write(rest[:min(len(rest), chunk)])
			}
			rest = rest[n:]
			v.mu.Lock()
			if err != nil {
				v.fail(fmt.Errorf("write to %s: %w", v.address, err))
			}
		}
		v.rest = nil
		if v.failed != nil {
			v.mu.Unlock()
			return
		}
		v.traces.wrote()
		_ = v.wire.conn.SetWriteDeadline(time.Time{}) // writes that do not wait must not find an old one
		v.pumpLocked()
	}
}

// fail ends all writing: a frame may have been cut, and what followed it would be garbage. The turn is kept for ever.
// The lock is held.
func (v *Viewer) fail(err error) {
	if v.failed == nil {
		v.failed = err
		v.turn = true
		v.dropAll()
		v.signal()
	}
}

func (v *Viewer) signal() {
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// next is what is to be written now, nil if nothing may be; it is booked as sent. What it returns stays untouched until
// the holder of the turn asks again. Lock and turn are held.
func (v *Viewer) next() []byte {
	if v.preface != nil {
		b := v.preface
		v.preface = nil
		return b
	}
	if v.closeSent {
		return nil
	}
	if len(v.pong) > 0 {
		v.scratch = append(v.scratch[:0], v.pong...)
		v.pong = v.pong[:0]
		return v.scratch
	}
	for len(v.texts) > 0 {
		if b := v.takeText(); b != nil {
			return b
		}
	}
	if v.closing {
		v.closeSent = true
		return v.closeFrame // nil on a plain connection
	}
	now := v.now()
	if v.format.WebSocket() && (v.bareDue && v.mayPing(now) && v.quiet(now) || v.credit.WantsPing()) {
		v.bareDue = false
		number := v.o.Numbers.Next()
		v.pinged(number)
		if v.by == ackPaint {
			v.credit.SentBare(number, now, 0)
			return echoFrame(number)
		}
		v.scratch = picture.AppendPing(v.scratch[:0], number)
		v.credit.SentBare(number, now, v.handed+uint64(len(v.scratch)))
		return v.scratch
	}
	return v.nextPicture(now)
}

// nextPicture takes from the streams in turns.
func (v *Viewer) nextPicture(now time.Duration) []byte {
	ws := v.format.WebSocket()
	if v.bounded() && !v.mayShow(now) {
		return nil
	}
	for i := 0; i < len(v.lanes); {
		l := v.lanes[(v.lane+i)%len(v.lanes)]
		ok, until := l.ready(now)
		if !ok {
			v.wakeAt(until)
			i++
			continue
		}
		waited := now - l.since
		p := l.take(now)
		if p == nil {
			continue // it was late: the next of the same stream
		}
		v.lane = (v.lane + i + 1) % len(v.lanes)
		ping := ws && v.by != ackPaint && (p.Sampled() || v.credit.PingNext())
		b := p.Bytes(v.format, ping)
		if v.bounded() || ws {
			s := sent{
				number: p.Number, at: now, bytes: len(b), end: v.handed + uint64(len(b)), pinged: ping || v.by != ackPong,
				waited: waited, lane: l, mark: MarkOf(p),
			}
			v.sentToHost(now)
			if ping {
				v.numbered = max(v.numbered, p.Number)
			}
			v.record.add(s, &p.Header)
			v.credit.Sent(s)
			v.link.Sent(now, len(b))
		}
		l.age = time.Duration(v.began.Add(now).UnixMicro()-p.Header.CapturedUs) * time.Microsecond
		if p.Trace != nil {
			v.traces.sent(p, l, now)
		}
		v.size = len(b)
		v.meter.add(now, len(b))
		l.account.Sent(p.Header.Rung, len(b))
		return b
	}
	return nil
}

// tick does what comes with time and says when it wants to be called again.
func (v *Viewer) tick() time.Duration {
	v.mu.Lock()
	now := v.now()
	wait := barePings
	v.traces.expire(now)
	if v.format.WebSocket() {
		if now >= v.bareAt {
			v.bareAt = now + barePings
			if !v.bareDue {
				v.bareDueAt = now
			}
			v.bareDue = true
		}
		wait = v.bareAt - now
	}
	if !v.turn {
		if again := v.askHost(now); again > 0 {
			wait = min(wait, again)
		}
		if v.credit.Overdue(now, barePings/2) {
			v.unanswered(now)
			wait = min(wait, barePings/5)
		}
	} else if v.by == ackHost {
		wait = min(wait, askEvery)
	}
	v.boundUnsent()
	if v.due > 0 {
		if now < v.due {
			wait = min(wait, v.due-now)
		} else {
			v.due = 0
		}
	}
	v.mu.Unlock()
	v.pump()
	return wait
}

// unanswered looks at why no pong comes: either the client has all that was sent and does not answer, or it does not
// read, or its link is slow. The lock is held and nobody has the turn.
func (v *Viewer) unanswered(now time.Duration) {
	unsent := v.wire.unsent()
	switch {
	case v.by == ackPaint:
		if now-v.forgot >= paintPatience && v.credit.Forget(now, paintPatience) {
			v.forgot = now
		}
	case v.by == ackPong && unsent == 0 && v.credit.Drained(now):
		v.arrived(now)
		v.unanswering()
	}
	if unsent == 0 {
		return
	}
	if got := v.wire.written - uint64(unsent); got != v.got || v.gotAt == 0 {
		v.got, v.gotAt = got, now
	} else if now-v.gotAt >= v.o.WriteTimeout {
		v.fail(fmt.Errorf("%s: %w for %v", v.address, errStalled, v.o.WriteTimeout))
	}
}

// boundUnsent lets the socket hold one to two pictures where no pongs bound it. The lock is held.
func (v *Viewer) boundUnsent() {
	want := 0
	if !v.bounded() {
		want = max(v.size, 16<<10)
		if v.lowAt > 0 && want < v.lowAt*3/2 && want > v.lowAt*2/3 {
			return // near enough
		}
	}
	if want != v.lowAt {
		v.lowAt = want
		v.wire.boundUnsent(want)
	}
}
