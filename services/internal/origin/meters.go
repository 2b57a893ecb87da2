package origin

import (
	"time"

	"github.com/framebus/framebus/services/internal/instrument"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// meters are an origin's instruments.
type meters struct {
	trip      instrument.Durations
	displaced instrument.Counter

	open, state, region    metric.Int64ObservableGauge
	frames, handed, missed metric.Int64ObservableCounter

	stream     metric.MeasurementOption
	states     [states]metric.MeasurementOption
	published  metric.MeasurementOption
	unwanted   metric.MeasurementOption
	unanswered metric.MeasurementOption
	dropped    [reasons]metric.MeasurementOption
	ways       [ways]metric.MeasurementOption
}

// states are those of a source as metrics tell them.
const states = 4

var stateWords = [states]string{"live", "slate", "standby", "claiming"}

// stateNow is an index of stateWords. The caller holds mu.
func (o *Origin) stateNow() int {
	switch {
	case o.claim.standing == claiming:
		return 3
	case o.claim.standing == standby:
		return 2
	case !o.live:
		return 1
	default:
		return 0
	}
}

func (m *meters) answered(took time.Duration, span trace.SpanContext) {
	m.trip.RecordIn(span, took.Seconds())
}

// measure makes the instruments; stop ends them.
func (o *Origin) measure() (stop func(), err error) {
	stream := o.cfg.Stream
	outcome := func(word string) metric.MeasurementOption {
		return instrument.With("stream", stream, "outcome", word)
	}
	k := instrument.New(o.d.Meter)
	m := &o.meters
	m.trip = k.Durations("framebus.origin.done.duration", "From publishing a raw frame until its Done.",
		.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2).With("stream", stream)
	m.displaced = k.Displaced("origin")
	m.frames = k.Total("framebus.origin.frames", instrument.Frames, "Captured frames by what became of them.")
	m.open = k.Gauge("framebus.origin.open", instrument.Frames, "Frames that encoders have in hand.")
	m.state = k.Gauge("framebus.source.state", "{state}", "1 for the state that the source is in, 0 for the others.")
	m.handed = k.Total("framebus.origin.handed", instrument.Frames,
		"Frames handed to encoders: inline, or by reference to shared memory.")
	m.missed = k.Total("framebus.origin.region.missed", instrument.Frames,
		"Frames that found all slots of shared memory in use and went inline.")
	m.region = k.Gauge("framebus.origin.region.size", instrument.Bytes, "Shared memory that frames lie in.")
	m.stream = instrument.With("stream", stream)
	m.published, m.unwanted, m.unanswered = outcome("published"), outcome("unwanted"), outcome("unanswered")
	for r, word := range reasonWords {
		m.dropped[r] = outcome(word)
	}
	for s, word := range stateWords {
		m.states[s] = instrument.With("stream", stream, "state", word)
	}
	for w, word := range wayWords {
		m.ways[w] = instrument.With("stream", stream, "way", word)
	}
	stop = k.Observe(o.observe, m.frames, m.open, m.state, m.handed, m.missed, m.region)
	return stop, k.Err()
}

func (o *Origin) observe(out metric.Observer) {
	o.mu.Lock()
	open, state := o.openFrames(), o.stateNow()
	all := o.past
	all.addRevisable(o.acct)
	for _, a := range o.ended {
		all.addRevisable(a)
	}
	handed, missed, region := o.mem.handed, o.mem.missed, o.mem.bytes()
	o.mu.Unlock()
	m := &o.meters
	for w, n := range handed {
		out.ObserveInt64(m.handed, int64(n), m.ways[w])
	}
	out.ObserveInt64(m.missed, int64(missed), m.stream)
	out.ObserveInt64(m.region, int64(region), m.stream)
	out.ObserveInt64(m.open, int64(open), m.stream)
	out.ObserveInt64(m.frames, int64(all.published), m.published)
	out.ObserveInt64(m.frames, int64(all.unwanted), m.unwanted)
	out.ObserveInt64(m.frames, int64(all.unanswered), m.unanswered)
	for r, n := range all.dropped {
		out.ObserveInt64(m.frames, int64(n), m.dropped[r])
	}
	for s, with := range m.states {
		is := int64(0)
		if s == state {
			is = 1
		}
		out.ObserveInt64(m.state, is, with)
	}
}
