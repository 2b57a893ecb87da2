package hub

import (
	"sync"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/gateway/internal/viewer"
	"github.com/framebus/framebus/services/internal/adapt"
	"github.com/framebus/framebus/services/internal/instrument"
	"go.opentelemetry.io/otel/metric"
)

// fate is what became of a picture off the bus.
type fate int

const (
	taken fate = iota
	superseded
	malformed
	stale
	fates // their number
)

var fateNames = [fates]string{"taken", "superseded", "malformed", "stale"}

// hidden stands for the rung of a viewer that shows nothing for now.
const hidden = "hidden"

// others is the label of the streams beyond maxStreams; no stream can be called so.
const others = "_others"

// meters are the hub's instruments. They are safe for concurrent use.
type meters struct {
	k        *instrument.Maker
	pictures instrument.Counter
	age      instrument.Durations

	paints, moves, qualities instrument.Counter

	viewers                         metric.Int64ObservableGauge
	delivered, bytes, skipped, lost metric.Int64ObservableCounter

	mu      sync.Mutex
	streams map[string]*streamMeters // bound: maxStreams and others
}

func newMeters(m metric.Meter) *meters {
	k := instrument.New(m)
	out := &meters{
		k: k, streams: map[string]*streamMeters{},
		pictures: k.Counter("framebus.gateway.pictures", instrument.Frames,
			"Pictures off the bus by what became of them."),
		age: k.Durations("framebus.frame.age", "Age of a picture, since its capture, at each hop of its way.",
			.001, .002, .003, .005, .007, .01, .015, .02, .03, .05, .07, .1, .15, .2, .3, .5, 1, 2, 5),
		paints: k.Counter("framebus.gateway.painted", instrument.Messages, "Reports of what viewers showed.").With(),
		viewers: k.Gauge("framebus.gateway.viewers", instrument.Viewers,
			"Viewers by stream and rung; those that show nothing for now have the rung \"hidden\"."),
		delivered: k.Total("framebus.gateway.delivered", instrument.Frames, "Pictures sent to viewers."),
		bytes:     k.Total("framebus.gateway.delivered.size", instrument.Bytes, "Bytes of pictures sent to viewers."),
		skipped:   k.Total("framebus.gateway.skipped", instrument.Frames, "Pictures not sent to viewers, by reason."),
		moves:     k.Counter("framebus.gateway.rung.changes", instrument.Changes, "Viewers' changes of rung by reason."),
		lost: k.Total("framebus.gateway.lost", instrument.Frames,
			"Pictures that were encoded while this gateway was subscribed, and never came."),
	}
	out.qualities = k.Counter("framebus.gateway.quality.changes", instrument.Changes,
		"Changes of quality that viewers were told of, by reason.")
	for r := range frame.Rung(frame.Rungs) { // series begin at zero
		for _, why := range []adapt.Reason{adapt.TooSlow, adapt.Congested, adapt.Climbs, adapt.Viewport} {
			out.moves.With("rung", r.String(), "reason", string(why))
		}
		for why := range qualityWords {
			out.qualities.With("rung", r.String(), "reason", why)
		}
	}
	return out
}

// moved counts a viewer's change of rung.
func (m *meters) moved(f viewer.Fare) {
	m.moves.With("rung", frame.Rung(f.Rung).String(), "reason", string(f.Reason)).Add(1)
}

// requalified counts a change of quality that a viewer was told of.
func (m *meters) requalified(rung int, reason string) {
	m.qualities.With("rung", frame.Rung(rung).String(), "reason", reason).Add(1)
}

// stream gives a stream's own. They stay when the stream goes: a counter never goes back.
func (m *meters) stream(stream string) *streamMeters {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.streams[stream] == nil && len(m.streams) >= maxStreams {
		stream = others
	}
	if m.streams[stream] == nil {
		m.streams[stream] = newStreamMeters(m, stream)
	}
	return m.streams[stream]
}

// observe has totals and viewers told whenever somebody asks, until stop.
func (h *Hub) observe() (stop func(), err error) {
	m := h.meters
	stop = m.k.Observe(func(out metric.Observer) {
		m.mu.Lock()
		for _, s := range m.streams {
			s.observe(out)
		}
		m.mu.Unlock()
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, s := range h.streams {
			s.meters.observeViewers(out, s)
		}
	}, m.viewers, m.delivered, m.bytes, m.skipped, m.lost)
	return stop, m.k.Err()
}

// lost counts pictures that the bus did not bring.
func (h *Hub) lost(stream string, r frame.Rung, n uint64) {
	h.meters.stream(stream).lost[r].Add(int64(n))
}
