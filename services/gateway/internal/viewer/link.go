package viewer

import (
	"cmp"
	"time"

	"github.com/framebus/framebus/services/internal/adapt"
)

// How the connection's measuring decides what may go. Rate, base and window belong to the connection, the rung to each
// of its streams.

const (
	// drainMuch is how long pictures wait on a connection whose base delay is worth looking at anew.
	drainMuch = 50 * time.Millisecond
	// drainPatience ends a drain whose pong does not come.
	drainPatience = time.Second
)

// drain lets the flight run empty before a bare ping goes, so that its pong tells the base delay of a connection that
// is never idle.
type drain struct {
	on    bool
	since time.Duration // when it, or the last one, began
}

// mayPing tells whether a bare ping that is due may go: not before the flight is empty, where it is to be. The lock is
// held.
func (v *Viewer) mayPing(now time.Duration) bool {
	if !v.drain.on && !v.o.Smooth && v.credit.w > 1 && v.link.DrainDue(now, v.drain.since) &&
		v.link.Wait(now, 0) > drainMuch {
		v.drain = drain{on: true, since: now}
	}
	return !v.drain.on || v.credit.open == 0 || now-v.drain.since > drainPatience
}

// quiet tells whether a bare ping that is due has nothing before it, or has waited for that long enough. The lock is
// held.
func (v *Viewer) quiet(now time.Duration) bool {
	next := false
	for _, l := range v.lanes {
		next = next || len(l.waiting) > 0
	}
	if adapt.Quiet(now, v.bareDueAt, v.credit.open, next && v.mayShow(now)) {
		return true
	}
	v.wakeAt(v.bareDueAt + adapt.QuietPatience)
	return false
}

// pinged is told the number of a bare ping that goes out. The lock is held.
func (v *Viewer) pinged(number uint64) {
	v.numbered = number
	v.drain.on = false
}

// mayShow tells whether a picture may go now, to a client of ours or any other that answers pings. The lock is held.
func (v *Viewer) mayShow(now time.Duration) bool {
	if v.drain.on && now-v.drain.since > drainPatience {
		v.drain.on = false
	}
	if v.o.Smooth { // wants every picture: after a stall it has to catch up, faster than the stall let the link look
		return v.credit.MaySend()
	}
	if v.drain.on || !v.credit.MaySend() {
		return false
	}
	oldest, flying := v.credit.oldest()
	if !flying || v.credit.thin > 1 { // plenty
		return true
	}
	if v.link.Overdue(now, oldest.at, oldest.bytes) {
		return false // its pong looks again
	}
	if at := v.link.NotBefore(now, v.credit.open); at > now {
		v.wakeAt(at)
		return false
	}
	return true
}

// wakeAt has Run look again then. The lock is held.
func (v *Viewer) wakeAt(at time.Duration) {
	if at > 0 && (v.due == 0 || at < v.due) {
		v.due = at
		v.signal()
	}
}

// measured takes what the last pong tells of the connection. The lock is held.
func (v *Viewer) measured(now time.Duration) {
	a := v.credit.acked
	if a.lane != nil {
		a.lane.account.Acknowledged(a.mark, v.began.Add(now).UnixMicro())
	}
	if v.by != ackHost || a.bytes == 0 {
		v.link.Pong(now, now-a.at)
	}
	if a.bytes > 0 {
		v.link.Acked(now, a.at, a.bytes, a.waited)
	}
	v.credit.w = v.link.Window(now, v.rate())
	if v.o.Smooth {
		v.credit.w = max(v.credit.w, window)
	}
}

// rate is the pictures a second of all streams together. The lock is held.
func (v *Viewer) rate() (fps float64) {
	for _, l := range v.lanes {
		fps += l.rate()
	}
	return fps
}

// Fare is how a stream fares on a viewer's connection.
type Fare struct {
	Rung   int // it should be on
	Reason adapt.Reason
	// Known tells whether the connection's rate is known; where it is not, Budget and Rate mean nothing.
	Known  bool
	Budget float64 // bytes a picture
	Rate   float64 // bytes a second
	Wait   time.Duration
	Window int
}

// Adapt looks at how a stream fares and says which rung it should be on; fixed, if not negative, is what the client
// has chosen itself. The hub calls it four times a second with what it knows of the stream.
func (v *Viewer) Adapt(channel uint16, view adapt.View, fixed int) Fare {
	v.mu.Lock()
	defer v.mu.Unlock()
	l := v.find(channel)
	if l == nil {
		return Fare{}
	}
	now := v.now()
	view.FPS = v.rate()
	if v.bounded() {
		view.Rate, view.RateKnown = v.link.Rate(now)
	}
	stalled := time.Duration(0)
	// Until anything acknowledges pictures it is not known whether they wait for the link, or for a client that
	// answers no pings.
	if unheard := v.by == ackPong && v.credit.pongs == 0; len(l.waiting) > 0 && !unheard {
		stalled = now - l.since
	}
	view.Wait = v.link.Wait(now, stalled)
	view.OwnP80 = v.link.OwnP80(now)
	f := Fare{Known: view.RateKnown && view.FPS > 0, Wait: view.Wait, Window: v.credit.w}
	if f.Known {
		f.Budget, f.Rate = view.Fit(), view.Rate
	}
	was := l.choice.Rung
	if fixed >= 0 {
		l.choice = adapt.Choice{Rung: fixed}
	} else {
		l.choice, f.Reason = l.choice.Next(now, view)
	}
	f.Rung = l.choice.Rung
	if f.Rung != was {
		l.traced.why = cmp.Or(string(f.Reason), chosen)
	}
	return f
}
