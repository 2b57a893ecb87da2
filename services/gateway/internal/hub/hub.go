// Package hub knows the streams and who watches them. It hears of streams by Status, asks for their pictures by
// Feedback while somebody watches, takes the pictures off the bus, and offers each to its viewers. It knows nothing of
// HTTP; a viewer's connection and credit are the viewer's own.
package hub

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/gateway/internal/ledger"
	"github.com/framebus/framebus/services/gateway/internal/picture"
	"github.com/framebus/framebus/services/gateway/internal/viewer"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/presence"
	"github.com/framebus/framebus/services/internal/stage"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/sync/errgroup"
)

const (
	// feedbackEvery is how often demand is told.
	feedbackEvery = 250 * time.Millisecond
	// statsEvery is how often viewers are told how they fare.
	statsEvery = time.Second
	// linger is how long demand outlives the last viewer.
	linger = time.Second
	// gone is how long a stream without an owner stays known, for viewers who come back sooner than it does.
	goneAfter = 10 * time.Second
	// maxStreams bounds what is kept, against a flood of invented names; further ones are not taken.
	maxStreams = 1024
)

// Deps of a hub.
type Deps struct {
	Bus    *bus.Bus
	Roster *presence.Roster
	Log    *slog.Logger
	Meter  metric.Meter
	Tracer trace.Tracer // nil: spans go nowhere
	// Profiling says that labels for profiles are worth setting.
	Profiling bool
}

// Hub is safe for concurrent use.
type Hub struct {
	d          Deps
	start      time.Time
	numbers    picture.Counter
	meters     *meters
	deliver    stage.Label
	poke       chan struct{} // a token while demand may have changed
	ledger     *ledger.Ledger
	told       *ledger.Told
	unreadable atomic.Uint64

	mu       sync.Mutex
	streams  map[string]*stream
	channels uint16 // the last one given
	viewers  map[*viewer.Viewer]*watcher
	lowest   map[string]int // quality, by encoder
	launch   func(*feed)    // nil while Run is not running; Run waits for what it launched
}

// watcher is what the hub knows of one viewer.
type watcher struct {
	main   string    // its first stream
	traced time.Time // when it last asked for a trace
}

// New makes a hub that hears nothing until Run.
func New(d Deps) *Hub {
	if d.Tracer == nil {
		d.Tracer = tracenoop.Tracer{}
	}
	h := &Hub{
		d: d, start: time.Now(), meters: newMeters(d.Meter), poke: make(chan struct{}, 1),
		streams: map[string]*stream{}, viewers: map[*viewer.Viewer]*watcher{}, lowest: map[string]int{},
	}
	h.deliver = stage.New(d.Profiling, stage.Deliver, "")
	h.ledger, h.told = ledger.New(h.start, h.lost), ledger.NewTold()
	return h
}

// Numbers gives this gateway's numbers for frames and pings.
func (h *Hub) Numbers() *picture.Counter { return &h.numbers }

// Now is the gateway's clock: wall time at the start and monotonic time since. Whoever tells times to viewers uses it,
// so that they fit together even where the host's clock was set.
func (h *Hub) Now() time.Time { return h.start.Add(time.Since(h.start)) }

func (h *Hub) changed() {
	select {
	case h.poke <- struct{}{}:
	default:
	}
}

// Run hears and asks until ctx ends; then it takes its demand back.
func (h *Hub) Run(ctx context.Context) error {
	unobserve, err := h.observe()
	if err != nil {
		return err
	}
	defer unobserve()
	g, ctx := errgroup.WithContext(ctx)
	h.mu.Lock()
	h.launch = func(f *feed) {
		ctx, cancel := context.WithCancel(ctx)
		f.cancel = cancel
		g.Go(func() error { f.run(ctx); return nil })
	}
	h.mu.Unlock()
	defer h.d.Roster.Watch(h.hear)()
	defer h.d.Bus.Control.Watch(func(bool) { h.changed() })()
	defer h.d.Bus.Data.Watch(func(up bool) { h.ledger.Linked(up, time.Now()) })()
	up, _ := h.d.Bus.Data.Up()
	h.ledger.Linked(up, time.Now())
	g.Go(func() error { h.loop(ctx); return nil })
	return g.Wait()
}

func (h *Hub) loop(ctx context.Context) {
	feedback := time.NewTicker(feedbackEvery)
	defer feedback.Stop()
	stats := time.NewTicker(statsEvery)
	defer stats.Stop()
	for {
		select {
		case <-ctx.Done():
			h.end()
			return
		case <-h.poke:
			h.settle(false)
		case <-feedback.C:
			h.age()
			h.sweep()
			h.adapt()
			h.settle(true)
		case <-stats.C:
			h.tellStats()
		}
	}
}

// end takes all demand back and ends all feeds.
func (h *Hub) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.launch = nil
	for _, s := range h.streams {
		asked := false
		for r := range s.feeds {
			if f := s.feeds[r]; f != nil {
				f.close()
				s.feeds[r] = nil
				asked = true
			}
		}
		h.deafen(s, time.Now())
		if asked {
			h.ask(s)
		}
	}
}

// settle brings subscriptions and demand in line with who watches. every tells whether it is time to repeat demand.
func (h *Hub) settle(every bool) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.launch == nil {
		return
	}
	for _, s := range h.streams {
		changed := s.traceNext
		for r := range s.feeds {
			f, wanted := s.feeds[r], s.wants(frame.Rung(r))
			switch {
			case wanted && f == nil:
				f, err := openFeed(h, s, frame.Rung(r))
				if err != nil {
					h.d.Log.Error("pictures not subscribed", "stream", s.name, "error", err)
					continue
				}
				s.feeds[r] = f
				changed = true
			case wanted:
				f.idleSince = time.Time{}
			case f != nil && f.idleSince.IsZero():
				f.idleSince = now
			case f != nil && now.Sub(f.idleSince) >= linger:
				f.close()
				s.feeds[r] = nil
				changed = true
			}
		}
		h.deafen(s, now)
		if d := s.demand(); d != s.asked || changed || every && d.any {
			h.ask(s)
		}
	}
}

// ask tells a stream's demand. The lock is held.
func (h *Hub) ask(s *stream) {
	d := s.demand()
	s.asked = d
	who := h.d.Roster.Config()
	f := &pb.Feedback{
		Reader: who.Instance, Run: who.Run, Stream: s.name, SentUs: h.Now().UnixMicro(), TraceNext: s.traceNext,
	}
	s.traceNext = false
	for r, feed := range s.feeds {
		if feed != nil {
			budgets, size80, samples := s.budgets(frame.Rung(r))
			f.Rungs = append(f.Rungs, &pb.RungDemand{
				Rung: pb.Rung(r), MaxFps: d.fps[r], Viewers: uint32(d.viewers[r]),
				Budgets: budgets, Size80: size80, Samples: samples,
			})
		}
	}
	// A bus that is away hears it when it is back: demand is repeated.
	_ = h.d.Bus.Control.Send(subject.Feedback(s.name), f)
}

// Attach shows a stream to a viewer from now on; it has begun to take pictures when this returns. The viewer must be
// detached at its end.
func (h *Hub) Attach(v *viewer.Viewer, name string, w Wish) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.streams[name]
	if s == nil {
		return false
	}
	if h.viewers[v] == nil {
		h.viewers[v] = &watcher{main: name}
	}
	w.Tuning.Stream = name
	st := s.seats[v]
	fresh := st == nil
	if fresh {
		v.Notice(s.notice()) // in front of its pictures; each change of it from now on follows
		st = newSeat(v, w)
		s.seats[v] = st
	}
	v.Show(s.channel, w.Tuning, s.meters)
	if fresh {
		s.publishSeats()
	}
	if moved := st.set(w); moved || fresh && w.Rung != nil {
		v.Notice(s.rungNotice(st))
	}
	if f := s.feeds[st.rung.Load()]; f != nil && !w.Tuning.Hidden {
		f.offerNewest(v)
	}
	h.changed()
	return true
}

// Detach forgets a viewer.
func (h *Hub) Detach(v *viewer.Viewer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.viewers[v] == nil {
		return
	}
	delete(h.viewers, v)
	for _, s := range h.streams {
		if s.seats[v] != nil {
			h.leave(s, v)
		}
	}
}

func (h *Hub) leave(s *stream, v *viewer.Viewer) {
	delete(s.seats, v)
	s.publishSeats()
	h.ledger.Stream(s.name, time.Now()).Left(v.Drop(s.channel))
	h.changed()
}

// Viewers are all that watch, in the order of their names.
func (h *Hub) Viewers() []*viewer.Viewer {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.SortedFunc(maps.Keys(h.viewers), func(a, b *viewer.Viewer) int {
		return compareIDs(a.ID(), b.ID())
	})
}

func compareIDs(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return slices.Compare([]byte(a), []byte(b))
}
