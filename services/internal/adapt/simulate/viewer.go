package simulate

import (
	"math"
	"slices"
	"time"

	"github.com/framebus/framebus/services/internal/adapt"
)

const (
	bareEvery     = 500 * time.Millisecond
	bareBytes     = 12
	aroundBytes   = 94 // of a picture: envelope, WebSocket frame, ping
	maxThin       = 8
	drainMuch     = 50 * time.Millisecond
	drainPatience = time.Second
	thinnedFor    = 50 * time.Millisecond
)

// viewer is the gateway's side of a connection, as services/gateway/internal/viewer does it, and the client behind it.
type viewer struct {
	w      *world
	g      *gateway
	net    *Network
	link   adapt.Link
	choice adapt.Choice
	rung   int // of what it is offered: the choice's, once a picture of it is there
	budget float64

	slot      []slotted // one, or the queue of what is Blind
	flight    []*flying
	open      int // pictures in flight
	pings     int
	window    int
	thin      int
	since     int // pictures since the last ping
	bareDue   bool
	bareSince time.Duration
	wakeAt    time.Duration

	draining bool
	drained  time.Duration

	painted painted

	latest *flying // ping that the client has to answer yet; those before it get no answer of their own
	shown  []shown
	moves  int
}

type slotted struct {
	p  *picture
	at time.Duration // since when the slot has been filled
}

type flying struct {
	p      *picture // nil: a bare ping
	at     time.Duration
	waited time.Duration
	pinged bool
	pongAt time.Duration // of a picture
}

type shown struct {
	at time.Duration
	p  *picture
}

func newViewer(w *world, g *gateway, n *Network) *viewer {
	n.tokens = n.Bucket
	return &viewer{w: w, g: g, net: n, window: 2, thin: 1, since: 1, budget: math.MaxFloat64}
}

func (v *viewer) offer(p *picture) {
	at := v.w.now
	switch {
	case v.w.s.Blind > 0:
		if len(v.slot) == v.w.s.Blind {
			v.slot = slices.Delete(v.slot, 0, 1)
		}
	case len(v.slot) > 0:
		at = v.slot[0].at // a replacement does not restart it
		v.slot = v.slot[:0]
	}
	v.slot = append(v.slot, slotted{p, at})
	v.pump()
}

// pump sends what may go.
func (v *viewer) pump() {
	if v.w.s.Blind > 0 {
		v.blind()
		return
	}
	v.ping()
	for len(v.slot) > 0 && v.mayShow() {
		s := v.slot[0]
		v.slot = v.slot[:0]
		pinged := v.since >= v.thin || v.painted.acks
		v.send(&flying{p: s.p, at: v.w.now, waited: v.w.now - s.at, pinged: pinged})
		v.ping()
	}
}

// ping sends a bare one that is due, or that nothing else would bring credit back without.
func (v *viewer) ping() {
	now := v.w.now
	due := v.bareDue && v.mayPing() && adapt.Quiet(now, v.bareSince, v.open, len(v.slot) > 0 && v.mayShow())
	if due || v.open >= v.window+v.thin-1 && v.pings == 0 {
		v.bareDue = false
		f := &flying{at: now, pinged: true}
		if v.draining {
			v.draining = false
		}
		v.send(f)
	}
}

// blind sends as long as the socket takes it: its buffer holds socketBytes.
func (v *viewer) blind() {
	const socketBytes = 256 << 10
	onWay := 0
	for _, f := range v.flight {
		onWay += f.p.bytes
	}
	for len(v.slot) > 0 && onWay < socketBytes {
		p := v.slot[0].p
		v.slot = slices.Delete(v.slot, 0, 1)
		f := &flying{p: p, at: v.w.now}
		v.flight = append(v.flight, f)
		onWay += p.bytes
		arrives, _ := v.net.carry(v.w.now, p.bytes)
		v.w.at(arrives, func() {
			v.shown = append(v.shown, shown{v.w.now, p})
			v.flight = slices.Delete(v.flight, 0, 1)
			v.blind()
		})
	}
}

// mayShow tells whether a picture may go now.
func (v *viewer) mayShow() bool {
	now := v.w.now
	if v.draining && now-v.drained > drainPatience {
		v.draining = false
	}
	if v.draining || v.open >= v.window+v.thin-1 {
		return false
	}
	i := slices.IndexFunc(v.flight, func(f *flying) bool { return f.p != nil })
	if i < 0 || v.thin > 1 {
		return true
	}
	oldest := v.flight[i]
	if v.link.Overdue(now, oldest.at, oldest.p.bytes+aroundBytes) {
		return false
	}
	at := v.link.NotBefore(now, v.open)
	if at > now && (v.wakeAt <= now || v.wakeAt > at) {
		v.wakeAt = at
		v.w.at(at, v.pump)
	}
	return at <= now
}

// mayPing tells whether a bare ping that is due may go: not before the flight is empty, where it is to be.
func (v *viewer) mayPing() bool {
	now := v.w.now
	if !v.draining && v.window > 1 && v.link.DrainDue(now, v.drained) && v.link.Wait(now, 0) > drainMuch {
		v.draining, v.drained = true, now
		v.w.after(drainPatience+1, v.pump)
	}
	return !v.draining || v.open == 0 || now-v.drained > drainPatience
}

func (v *viewer) bare() {
	v.w.after(bareEvery+v.w.some(time.Millisecond), v.bare) // timers are late
	if v.w.s.Blind == 0 {
		if !v.bareDue {
			v.bareDue, v.bareSince = true, v.w.now
			v.w.after(bareEvery/4, v.pump) // its patience has ended
		}
		v.pump()
	}
}

func (v *viewer) send(f *flying) {
	v.flight = append(v.flight, f)
	bytes := bareBytes
	if f.p != nil {
		v.link.Sent(v.w.now, f.p.bytes+aroundBytes)
		v.open++
		v.since++
		if v.net.Pongs.Painted {
			v.painted.record = append(v.painted.record[max(0, len(v.painted.record)-recorded+1):], f)
		}
		bytes = f.p.bytes + aroundBytes
	}
	if f.pinged {
		v.since = 1
		v.pings++
	}
	arrives, enters := v.net.carry(v.w.now, bytes)
	if v.net.Pongs.ByProxy && f.pinged && !v.painted.acks {
		v.w.at(v.net.answer(enters), func() { v.pong(f) })
	}
	v.w.at(arrives, func() { v.read(f) })
}

// read is the client's: it shows the picture and answers the ping.
func (v *viewer) read(f *flying) {
	if f.p != nil {
		v.shown = append(v.shown, shown{v.w.now, f.p})
	}
	k := v.net.Pongs
	switch {
	case v.painted.acks && f.p == nil: // an echo
		v.w.at(v.net.answer(v.w.now), func() { v.pong(f) })
		return
	case k.Painted && f.p != nil:
		if v.painted.newest = f; v.painted.every {
			v.tell()
		}
	}
	if !f.pinged || k.ByProxy || k.Lost > 0 && v.w.rand.Float64() < k.Lost {
		return
	}
	v.latest = f
	answer := func() {
		if v.latest == f {
			v.latest = nil
			v.w.at(v.net.answer(v.w.now), func() { v.pong(f) })
		}
	}
	switch {
	case k.Every > 0:
		v.w.after(k.Every-v.w.now%k.Every, answer)
	case k.Thinned > 0 && v.w.rand.Float64() < k.Thinned:
		v.w.after(thinnedFor, answer)
	default:
		answer()
	}
}

// pong acknowledges f and all sent before it.
func (v *viewer) pong(f *flying) {
	i := slices.Index(v.flight, f)
	if i < 0 {
		return
	}
	for _, g := range v.flight[:i+1] {
		if g.p != nil {
			v.open--
			g.pongAt = v.w.now
		}
		if g.pinged {
			v.pings--
		}
	}
	v.flight = slices.Delete(v.flight, 0, i+1)
	now := v.w.now
	took := now - f.at
	switch {
	case v.painted.acks, took.Seconds() >= 0.5/v.w.s.FPS:
		v.thin = 1
	case f.p != nil:
		v.thin = min(v.thin+1, maxThin)
	}
	v.link.Pong(now, took)
	if f.p != nil {
		v.link.Acked(now, f.at, f.p.bytes+aroundBytes, f.waited)
	}
	v.window = v.link.Window(now, v.w.s.FPS)
	v.pump()
}

// look is the gateway's, four times a second.
func (v *viewer) look(view adapt.View) {
	if v.w.s.Blind > 0 {
		return
	}
	now := v.w.now
	view.FPS = v.w.s.FPS
	view.Rate, view.RateKnown = v.link.Rate(now)
	stalled := time.Duration(0)
	if len(v.slot) > 0 {
		stalled = now - v.slot[0].at
	}
	view.Wait = v.link.Wait(now, stalled)
	view.OwnP80 = v.link.OwnP80(now)
	v.budget = math.MaxFloat64
	if view.RateKnown {
		v.budget = view.Fit()
	}
	if v.w.s.Fixed {
		return
	}
	before := v.choice.Rung
	v.choice, _ = v.choice.Next(now, view)
	if v.choice.Rung != before && now >= v.w.s.Warm {
		v.moves++
	}
}
