// Package origin owns a stream: it claims the name, numbers the frames, knows who wants them, and hands each to an
// encoder that has room. It takes pictures from a source on the source's goroutine, which never waits, and publishes
// them on its own. It knows nothing of where pictures come from.
package origin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/mailbox"
	"github.com/framebus/framebus/services/internal/presence"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"
)

const (
	// tick is how often time alone is looked at: claims, time-outs, the life of demand.
	tick = 20 * time.Millisecond
	// controlBound is of messages not yet looked at; when full the oldest is dropped: Done that is lost so is timed
	// out, Feedback and Status come again.
	controlBound = 1024
	// clockStep: a wall clock that strays further from the monotonic one was set, and a new epoch begins.
	clockStep = 500 * time.Millisecond
	// complainEvery is how often a lasting trouble is logged.
	complainEvery = time.Minute
)

// Reasons of the book for frames that were not published.
const (
	droppedSuperseded   = "superseded"
	droppedTooLarge     = "too_large"
	droppedDisconnected = "disconnected"
	droppedEpoch        = "epoch_ended"
)

// Config of an origin.
type Config struct {
	// Stream is its name.
	Stream string
	By     subject.By
	// Source is the source's URL without passwords, for people.
	Source string
	// Always has frames published though nobody asks.
	Always bool
	// Now is the wall clock with its monotonic reading; nil means time.Now.
	Now func() time.Time
}

// Deps of an origin.
type Deps struct {
	Bus    *bus.Bus
	Roster *presence.Roster
	Log    *slog.Logger
	Meter  metric.Meter
	Tracer trace.Tracer
	// Tracing says that spans go somewhere; SampleAll that the tracer's sampler decides on each frame.
	Tracing, SampleAll bool
}

// Origin owns one stream. Begin, Commit and State are called by one goroutine, the source's; StreamStatus by anybody.
type Origin struct {
	cfg    Config
	d      Deps
	owner  pb.Owner
	start  time.Time // of the monotonic clock
	frames *mailbox.Latest[*picture]
	in     *mailbox.Queue[event]
	pool   *pool
	sample sampler
	meters *meters
	told   *rate.Limiter // complaints in the log

	wanted atomic.Pointer[want]

	filling *picture // the source's alone
	pace    pace     // the source's alone

	mu       sync.Mutex
	startUs  int64 // wall time of start; changes when the clock is set
	claim    claim
	sequence uint64
	book     book
	live     bool
	cause    string
	trouble  string // of the bus: a frame too large
	fps      float64
	width    int
	height   int
	echoes   []*pb.ReaderEcho
	clocks   []*pb.ClockOffset

	// The loop's own.
	credit  credit
	demand  demand
	pending *picture // the newest frame without an encoder
	last    *picture // the last one handed to an encoder, kept in case it is refused
	raw     pace
	offsets offsets
	paths   map[string]string // of raw subjects by encoder
}

// event is something heard on the bus.
type event struct {
	msg    bus.Msg
	status *pb.Status
	up     *bool
	at     time.Time
}

// New makes an origin that is silent until Run.
func New(cfg Config, d Deps) *Origin {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	o := &Origin{
		cfg: cfg, d: d, owner: pb.Owner_OWNER_CAM, start: cfg.Now(),
		frames: mailbox.NewLatest[*picture](), in: mailbox.NewQueue[event](controlBound), pool: newPool(),
		meters: newMeters(d.Meter, cfg.Stream), told: rate.NewLimiter(rate.Every(complainEvery), 1),
		credit: newCredit(), demand: newDemand(cfg.Always), offsets: offsets{}, paths: map[string]string{},
		cause: "opening",
	}
	if cfg.By == subject.Pub {
		o.owner = pb.Owner_OWNER_PUB
	}
	who := d.Roster.Config()
	o.claim = newClaim(o.owner, who.Instance, who.Run)
	o.startUs = o.start.UnixMicro()
	o.sample = newSampler(d, cfg)
	o.book = newBook()
	o.wanted.Store(&want{})
	return o
}

// since is the time since the origin's start.
func (o *Origin) since(t time.Time) time.Duration { return t.Sub(o.start) }

// Begin says that the source captured a frame of w×h pixels, and returns where its I420 planes go, or nil where nobody
// wants it. It never waits.
func (o *Origin) Begin(at time.Time, w, h int) []byte {
	o.filling.release()
	o.filling = nil
	want := o.wanted.Load()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.width, o.height = w, h
	if !o.claim.Owns() {
		return nil
	}
	encoded := want.encoded && o.pace.Take(o.since(at), want.fps)
	if !encoded && !want.raw {
		o.sequence++
		o.book.captured++
		o.book.unwanted++
		return nil
	}
	p := o.pool.get(frame.PayloadSize(frame.I420, w, h))
	p.header = frame.NewHeader()
	p.header.Format, p.header.Width, p.header.Height = frame.I420, uint16(w), uint16(h)
	p.header.Epoch = o.claim.Epoch()
	p.header.CapturedUs = o.startUs + o.since(at).Microseconds()
	p.at, p.encoded = at, encoded
	o.filling = p
	return p.pixels()
}

// Commit says that Begin's buffer is full and takes it. It never waits.
func (o *Origin) Commit() {
	p := o.filling
	if p == nil {
		return
	}
	o.filling = nil
	o.mu.Lock()
	if p.header.Epoch != o.claim.Epoch() { // lost, or begun anew, since Begin
		o.mu.Unlock()
		p.release()
		return
	}
	o.sequence++
	o.book.captured++
	if !p.encoded {
		o.book.unwanted++
	}
	p.header.Sequence = o.sequence
	o.mu.Unlock()
	if old, displaced := o.frames.Put(p); displaced {
		o.drop(old, droppedSuperseded)
	}
}

// State says whether the source gives frames, else why not, and at which rate they come.
func (o *Origin) State(live bool, cause string, fps float64) {
	o.mu.Lock()
	o.live, o.cause, o.fps = live, cause, fps
	o.mu.Unlock()
	o.d.Roster.Changed()
}

// drop books a frame that no encoder got, and gives its memory back.
func (o *Origin) drop(p *picture, why string) {
	if p.encoded && !p.booked {
		o.mu.Lock()
		o.book.drop(p.header.Epoch, why)
		o.mu.Unlock()
		o.meters.dropped(why)
	}
	p.release()
}

// Run claims the stream and publishes its frames until ctx ends.
func (o *Origin) Run(ctx context.Context) error {
	put := func(m bus.Msg) { o.in.Put(event{msg: m, at: o.cfg.Now()}) }
	done, err := o.d.Bus.Data.Subscribe(subject.Done(o.cfg.By, o.cfg.Stream), put)
	if err != nil {
		return fmt.Errorf("stream %q: %w", o.cfg.Stream, err)
	}
	defer done.Unsubscribe()
	feedback, err := o.d.Bus.Control.Subscribe(subject.Feedback(o.cfg.Stream), put)
	if err != nil {
		return fmt.Errorf("stream %q: %w", o.cfg.Stream, err)
	}
	defer feedback.Unsubscribe()
	defer o.d.Roster.Watch(func(s *pb.Status, _ time.Time) { o.in.Put(event{status: s, at: o.cfg.Now()}) })()
	defer o.d.Bus.Data.Watch(func(up bool) { o.in.Put(event{up: &up, at: o.cfg.Now()}) })()
	if up, _ := o.d.Bus.Data.Up(); up {
		o.in.Put(event{up: &up, at: o.cfg.Now()})
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-o.in.Ready():
			for e, ok := o.in.TryTake(); ok; e, ok = o.in.TryTake() {
				o.hear(e)
			}
		case <-o.frames.Ready():
			if p, ok := o.frames.TryTake(); ok {
				o.take(p)
			}
		case <-ticker.C:
			o.tick(o.cfg.Now())
		}
		o.hand()
	}
}

// tick looks at what time alone changes.
func (o *Origin) tick(now time.Time) {
	at := o.since(now)
	o.unanswered(o.credit.Expire(at))
	for _, name := range o.credit.Probes(at) {
		o.probe(name)
	}
	o.want(at)
	o.mu.Lock()
	before := o.claim.state
	nowUs := now.UnixMicro()
	if stray := nowUs - (o.startUs + at.Microseconds()); stray > clockStep.Microseconds() ||
		stray < -clockStep.Microseconds() {
		o.startUs += stray
		if o.claim.Owns() {
			o.claim.Restart(uint64(nowUs))
			o.newEpoch()
		}
		o.d.Log.Warn("the wall clock was set: a new epoch", "stream", o.cfg.Stream,
			"by", time.Duration(stray)*time.Microsecond)
	}
	if o.claim.Tick(at, uint64(nowUs)) {
		o.newEpoch()
	}
	state, rival := o.claim.state, o.claim.Rival()
	o.mu.Unlock()
	if state != before {
		o.stateChanged(state, rival)
	}
}

func (o *Origin) newEpoch() {
	o.sequence = 0
	o.book = newBook()
	o.book.epoch = o.claim.Epoch()
}

func (o *Origin) stateChanged(state pb.StreamState, rival string) {
	switch state {
	case pb.StreamState_STREAM_STATE_STANDBY:
		o.d.Log.Info("standing by: another owner has the stream", "stream", o.cfg.Stream, "owner", rival)
	case pb.StreamState_STREAM_STATE_LIVE:
		o.d.Log.Info("owning the stream", "stream", o.cfg.Stream)
	}
	o.d.Roster.Changed()
}

// want tells the source what all readers together want.
func (o *Origin) want(now time.Duration) {
	if w := o.demand.Merge(now); w != *o.wanted.Load() {
		o.wanted.Store(&w)
	}
}

// take accepts the newest frame from the source.
func (o *Origin) take(p *picture) {
	o.mu.Lock()
	owns := p.header.Epoch == o.claim.Epoch()
	o.mu.Unlock()
	if !owns {
		o.drop(p, droppedEpoch)
		return
	}
	if w := o.wanted.Load(); w.raw && o.raw.Take(o.since(p.at), w.rawFPS) {
		p.header.SetHop(frame.Published, o.wall(o.cfg.Now()))
		_ = o.publish(p, subject.Reader, "") // told and logged there; raw readers are in no book
	}
	if !p.encoded {
		p.release()
		return
	}
	if o.pending != nil {
		o.drop(o.pending, droppedSuperseded)
	}
	o.pending = p
}

// hand gives the newest frame to an encoder with room, if there is one.
func (o *Origin) hand() {
	if o.pending == nil {
		return
	}
	now := o.cfg.Now()
	name, ok := o.credit.Pick(o.since(now))
	if !ok {
		return
	}
	p := o.pending
	o.pending = nil
	p.header.SetHop(frame.Published, o.wall(now))
	if err := o.publish(p, name, subject.Done(o.cfg.By, o.cfg.Stream)); err != nil {
		why := droppedDisconnected
		if errors.Is(err, bus.ErrTooLarge) {
			why = droppedTooLarge
		}
		o.drop(p, why)
		return
	}
	o.credit.Sent(name, p.key(), o.since(now))
	if !p.booked {
		p.booked = true
		o.mu.Lock()
		o.book.published++
		o.mu.Unlock()
		o.meters.published()
	}
	o.last.release()
	o.last = p
}

// wall is a moment on the origin's clock: the wall clock at its start and monotonic time since.
func (o *Origin) wall(t time.Time) time.Time {
	return time.UnixMicro(o.startUsNow() + o.since(t).Microseconds())
}

func (o *Origin) startUsNow() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.startUs
}

// publish sends a frame to an encoder, or to raw readers.
func (o *Origin) publish(p *picture, to, reply string) error {
	path, ok := o.paths[to]
	if !ok {
		path = subject.Raw(o.cfg.By, o.cfg.Stream, to)
		o.paths[to] = path
	}
	o.sample.begin(p)
	p.header.PayloadLen = uint32(len(p.pixels()))
	end := o.sample.publishing(p, path)
	p.header.Put(p.buf)
	err := o.d.Bus.Data.Publish(bus.Msg{Subject: path, Reply: reply, Traceparent: p.traceparent, Data: p.buf})
	end(err)
	o.troubled(err)
	return err
}

// troubled tells people of a bus that refuses the stream's frames, and that it does no more.
func (o *Origin) troubled(err error) {
	text := ""
	if errors.Is(err, bus.ErrTooLarge) {
		text = err.Error()
	}
	o.mu.Lock()
	changed := o.trouble != text
	o.trouble = text
	o.mu.Unlock()
	if err != nil && !errors.Is(err, bus.ErrDisconnected) && o.told.Allow() {
		o.d.Log.Error("frames are not published", "stream", o.cfg.Stream, "error", err)
	}
	if changed {
		o.d.Roster.Changed()
	}
}

// probe asks an encoder that let a frame's time pass whether it answers again.
func (o *Origin) probe(name string) {
	h := frame.NewHeader()
	h.Format = frame.I420
	h.CapturedUs = o.wall(o.cfg.Now()).UnixMicro()
	buf := make([]byte, frame.HeaderLen)
	h.Put(buf)
	err := o.d.Bus.Data.Publish(bus.Msg{
		Subject: subject.Raw(o.cfg.By, o.cfg.Stream, name), Reply: subject.Done(o.cfg.By, o.cfg.Stream), Data: buf,
	})
	if err != nil && !errors.Is(err, bus.ErrDisconnected) {
		o.d.Log.Warn("probe not sent", "stream", o.cfg.Stream, "encoder", name, "error", err)
	}
}

// unanswered books frames that nobody will answer for.
func (o *Origin) unanswered(lost []key) {
	if len(lost) == 0 {
		return
	}
	o.mu.Lock()
	o.book.unanswered(lost)
	o.mu.Unlock()
	o.meters.unanswered(len(lost))
}
