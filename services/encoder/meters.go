package encoder

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/internal/instrument"
	"go.opentelemetry.io/otel/metric"
)

// qualityLives is how long after a rung's last picture its quality is told.
const qualityLives = 2 * time.Second

// meters are the encoder's instruments. They are safe for concurrent use.
type meters struct {
	frames, pictures, size, displaced instrument.Counter
	duration, waited                  instrument.Durations
	rung                              [frame.Rungs]instrument.Durations
	busy                              instrument.Spent
	unreadable                        instrument.Counter // of no stream
	references                        [referrals]instrument.Counter
	regionsRefused                    instrument.Counter
	regions                           atomic.Int64 // mapped now

	quality, workers, mapped metric.Int64ObservableGauge
	unmeasure                func()

	mu      sync.Mutex
	streams map[string]*streamMeters // by name; bound: maxStreams, further ones share one
}

// streamMeters are bound to a stream once, so that a frame builds no attributes.
type streamMeters struct {
	frames [outcomes]instrument.Counter
	rungs  [frame.Rungs]rungMeters
}

// rungMeters begin with a rung's first picture: most streams never have all rungs.
type rungMeters struct {
	begin          func() // does it once
	pictures, size instrument.Counter
	with           metric.MeasurementOption
	quality        atomic.Int64 // of the last picture
	at             atomic.Int64 // when that was, unix ns; 0: never
}

// others is the label of the streams beyond maxStreams; no stream can be called so.
const others = "_others"

func newMeters(m metric.Meter, workers int) (*meters, error) {
	k := instrument.New(m)
	out := &meters{
		frames:    k.Counter("framebus.encoder.frames", instrument.Frames, "Raw frames received, by what became of them."),
		pictures:  k.Counter("framebus.encoder.pictures", instrument.Frames, "JPEGs published."),
		size:      k.Counter("framebus.encoder.size", instrument.Bytes, "Bytes of the JPEGs published."),
		displaced: k.Displaced("encoder"),
		duration: k.Durations("framebus.encoder.encode.duration",
			"From taking a frame up until its last JPEG is published.",
			.0005, .001, .002, .003, .005, .01, .02, .05, .1, .2, .5),
		waited: k.Durations("framebus.encoder.waited", "From a frame's arrival until a worker took it.",
			.0001, .0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1),
		busy:    k.Spent("framebus.encoder.busy", "Time that workers spent on frames, all workers together."),
		quality: k.Gauge("framebus.encoder.quality", "{quality}", "JPEG quality of a rung, 1 to 100, while it is encoded."),
		workers: k.Gauge("framebus.encoder.workers", "{worker}", "Frames that can be encoded at once."),
		mapped:  k.Gauge("framebus.encoder.regions", "{region}", "Regions of shared memory that are mapped."),
		regionsRefused: k.Counter("framebus.encoder.regions.refused", "{region}",
			"Regions of shared memory that could not be mapped: their frames come inline.").With(),
		streams: map[string]*streamMeters{},
	}
	references := k.Counter("framebus.encoder.references", instrument.Frames,
		"Raw frames that came by reference, by whether it could be followed.")
	for i := range out.references {
		out.references[i] = references.With("result", referralNames[i])
	}
	durations := k.Durations("framebus.encoder.rung.duration", "Time to scale and encode one rung of a frame.",
		.0001, .0002, .0005, .001, .002, .003, .005, .01, .02, .05, .1)
	for r := range out.rung {
		out.rung[r] = durations.With("rung", frame.Rung(r).String())
	}
	out.unreadable = out.frames.With("fate", outcomeNames[unreadable])
	out.unmeasure = k.Observe(func(o metric.Observer) {
		o.ObserveInt64(out.workers, int64(workers))
		o.ObserveInt64(out.mapped, out.regions.Load())
		out.observe(o, time.Now())
	}, out.quality, out.workers, out.mapped)
	return out, k.Err()
}

func (m *meters) observe(o metric.Observer, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.streams {
		for r := range s.rungs {
			g := &s.rungs[r]
			if at := g.at.Load(); at != 0 && now.UnixNano()-at < int64(qualityLives) {
				o.ObserveInt64(m.quality, g.quality.Load(), g.with)
			}
		}
	}
}

// stream gives a stream's own instruments. Those that were made stay: a counter never goes back.
func (m *meters) stream(name string) *streamMeters {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.streams[name] == nil && len(m.streams) >= maxStreams {
		name = others
	}
	s := m.streams[name]
	if s == nil {
		s = &streamMeters{}
		for o := range s.frames {
			if outcome(o) != unreadable {
				s.frames[o] = m.frames.With("stream", name, "fate", outcomeNames[o])
			}
		}
		for r := range s.rungs {
			g := &s.rungs[r]
			with := []string{"stream", name, "rung", frame.Rung(r).String()}
			g.begin = sync.OnceFunc(func() {
				g.pictures, g.size = m.pictures.With(with...), m.size.With(with...)
				g.with = instrument.With(with...)
			})
		}
		m.streams[name] = s
	}
	return s
}

func (s *streamMeters) count(o outcome) { s.frames[o].Add(1) }

// picture counts a JPEG that went out.
func (s *streamMeters) picture(r frame.Rung, bytes, quality int, at time.Time) {
	g := &s.rungs[r]
	g.begin()
	g.pictures.Add(1)
	g.size.Add(bytes)
	g.quality.Store(int64(quality))
	g.at.Store(at.UnixNano())
}

// took measures a worker's time for a frame that was wanted.
func (m *meters) took(took time.Duration) {
	m.duration.Record(took.Seconds())
	m.busy.Add(took.Seconds())
}
