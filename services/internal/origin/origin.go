// Package origin owns one stream on the bus: it claims the name, numbers the frames, publishes what anybody wants,
// picks the encoder that gets the next frame by credit, and keeps the book of what became of each. It knows nothing of
// where pictures come from: a source, or a client that publishes, hands them to it as to a source.Sink, and is never
// made to wait for the bus.
//
// The source's goroutine calls Begin and Commit; Run's one goroutine hears, decides and publishes. They share
// what mu guards, which is never held over a call into the bus.
//
// Where there is shared memory, frames lie in slots of a region that the origin makes and removes: encoders that have
// mapped it get a reference in place of the picture.
package origin

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/mailbox"
	"github.com/framebus/framebus/services/internal/presence"
	"github.com/framebus/framebus/services/internal/shm"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
)

const (
	// look is how often times are looked at: claims, time-outs, probes, demand that has run out, the wall clock.
	look = 50 * time.Millisecond
	// waitLimit is how old a frame may become that no encoder has room for.
	waitLimit = time.Second
	// settleLimit is how long an origin that ends waits for what encoders still have.
	settleLimit = 300 * time.Millisecond
	// alwaysEvery is how often the demand of a stream that is always wanted is told.
	alwaysEvery = 250 * time.Millisecond
	// inboxBound is of messages not yet looked at; when full the oldest is dropped: a Done times out, others come again.
	inboxBound = 1024
	// pictures in the pool: being filled, waiting, in hand, and last sent (it may have to be handed on).
	pictures = 4
)

// Config says what is owned.
type Config struct {
	// Stream's name, and what kind of owner this one is.
	Stream string
	By     subject.By
	// Source is its URL without passwords.
	Source string
	// Width and Height in px, FPS in frames a second: what is told of the stream until its first frame.
	Width, Height int
	FPS           float64
	// Always wants the stream at full size even where no reader does.
	Always bool
	// Slots of its region of shared memory, 1..shm.MaxSlots; 0 means 12. Frames that find all in use go inline.
	Slots int
}

// Deps of an origin. Shm, Meter, Tracer, Sample and Wall may be nil.
type Deps struct {
	Bus    *bus.Bus
	Roster *presence.Roster
	// Shm is where frames lie that encoders of this host read; nil means that all go through the bus.
	Shm    *shm.Folder
	Log    *slog.Logger
	Meter  metric.Meter
	Tracer trace.Tracer
	// Sample tells whether the frame captured now is traced; nil means only those that a reader asks for. It is called
	// for each wanted frame and must be quick.
	Sample func(now time.Time) bool
	// Wall is the wall clock; nil means the system's.
	Wall func() time.Time
}

// Origin owns a stream, or stands by for it. Begin, Commit and Offer belong to one goroutine; the rest is safe for
// concurrent use.
type Origin struct {
	cfg  Config
	d    Deps
	log  *slog.Logger
	me   presence.Config
	done string // the subject that Done comes on
	raw  string // the readers' subject

	inbox *mailbox.Queue[event]
	slot  *mailbox.Latest[*picture] // bound: 1; when full the older picture is superseded

	// Of Run's goroutine alone.
	listening  time.Time // since when it listens: zero while the control connection is down
	dataSince  time.Time // the start of the data connection, as the bus tells it
	ctrlSince  time.Time
	lastAlways time.Time
	lastGrudge time.Time // when it last logged that the bus refuses frames
	subjects   map[string]string
	referring  [frame.HeaderLen + frame.ReferenceLen]byte
	ping       [frame.HeaderLen]byte
	pings      uint64

	mu        sync.Mutex
	clock     clock
	claim     *claim
	credit    credit
	demand    *demand
	want      want
	offsets   offsets
	acct      *account   // of this owner's epoch, 0 where it has none
	ended     []*account // newest first; bound: maxEnded, the oldest is forgotten
	past      book       // of those forgotten
	ending    bool
	over      bool // Run has ended
	live      bool // the source gives its own frames
	cause     string
	busCause  string // why the bus refuses frames
	fps       float64
	w, h      int
	traceNext bool
	jpegPace  thinner
	rawPace   thinner
	mem       memory
	free      []*picture
	filling   *picture
	hand      *picture // the newest frame, looked at for an encoder
	kept      *picture // the last one sent, until the next
	keptAt    string   // where it was sent

	meters meters
}

// New makes an origin that owns nothing until Run.
func New(cfg Config, d Deps) *Origin {
	if d.Meter == nil {
		d.Meter = metricnoop.Meter{}
	}
	if d.Tracer == nil {
		d.Tracer = tracenoop.Tracer{}
	}
	if d.Wall == nil {
		d.Wall = time.Now
	}
	me := d.Roster.Config()
	o := &Origin{
		cfg: cfg, d: d, me: me, log: d.Log.With("stream", cfg.Stream),
		done: subject.Done(cfg.By, cfg.Stream), raw: subject.Raw(cfg.By, cfg.Stream, subject.Reader),
		inbox: mailbox.NewQueue[event](inboxBound), slot: mailbox.NewLatest[*picture](),
		subjects: map[string]string{}, clock: newClock(time.Now(), d.Wall()),
		claim: newClaim(cfg.By, me.Instance), demand: newDemand(cfg.Always), offsets: offsets{},
		acct: newAccount(0, time.Now()), fps: cfg.FPS, w: cfg.Width, h: cfg.Height, cause: "starting",
	}
	if o.mem.slots = cfg.Slots; o.mem.slots == 0 {
		o.mem.slots = usualSlots
	}
	if cfg.By == subject.Cam {
		o.mem.ask(frame.I420, frame.PayloadSize(frame.I420, cfg.Width, cfg.Height))
	}
	for range pictures {
		o.free = append(o.free, &picture{})
	}
	return o
}

// Run claims the stream and publishes it until ctx ends; then it waits for what encoders still have, for 300 ms at
// most. It runs once.
func (o *Origin) Run(ctx context.Context) error {
	stop, err := o.measure()
	if err != nil {
		return fmt.Errorf("stream %q: %w", o.cfg.Stream, err)
	}
	defer stop()
	done, err := o.d.Bus.Data.Subscribe(o.done, func(m bus.Msg) { o.put(event{msg: m, at: time.Now()}) })
	if err != nil {
		return fmt.Errorf("stream %q: %w", o.cfg.Stream, err)
	}
	defer done.Unsubscribe()
	feedback, err := o.d.Bus.Control.Subscribe(subject.Feedback(o.cfg.Stream), func(m bus.Msg) {
		o.put(event{msg: m, at: time.Now(), feedback: true})
	})
	if err != nil {
		return fmt.Errorf("stream %q: %w", o.cfg.Stream, err)
	}
	defer feedback.Unsubscribe()
	hear := func(s *pb.Status, at time.Time) { o.put(event{status: s, at: at}) }
	defer o.d.Roster.Watch(hear)()
	for _, s := range o.d.Roster.Live() {
		hear(s, time.Now())
	}
	o.d.Roster.Changed()

	tick := time.NewTicker(look)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-o.inbox.Ready():
		case <-o.slot.Ready():
		case <-tick.C:
			o.look(time.Now())
		}
		o.follow(time.Now())
		o.hear()
		o.serve()
	}
	o.settle(tick)
	o.tidy()
	return nil
}

// follow notices that the bus was connected anew.
func (o *Origin) follow(now time.Time) {
	// Times of this goroutine's own, for the wall clock may be stepped.
	if up, since := o.d.Bus.Control.Up(); !up {
		o.listening = time.Time{}
	} else if o.listening.IsZero() || !since.Equal(o.ctrlSince) {
		o.listening, o.ctrlSince = now, since
	}
	up, since := o.d.Bus.Data.Up()
	if !up || since.Equal(o.dataSince) {
		return
	}
	o.dataSince = since
	refusal := o.fits()
	o.mu.Lock()
	o.lose(o.credit.reconnected(), now)
	o.busCause = refusal
	o.mu.Unlock()
	if refusal != "" {
		o.grudge(refusal)
	}
}

// fits compares the server's limit with the stream's frames and says what is to be done where they are too large. With
// shared memory they may all go by reference: then only a frame that is refused tells.
func (o *Origin) fits() string {
	limit := o.d.Bus.Data.MaxPayload()
	o.mu.Lock()
	need := int64(frame.HeaderLen + frame.PayloadSize(frame.I420, o.w, o.h))
	shared := o.d.Shm != nil && !o.mem.failed
	o.mu.Unlock()
	if o.cfg.By != subject.Cam || limit <= 0 || need <= limit || shared {
		return ""
	}
	return fmt.Sprintf("frames of %d bytes are refused by the bus, which takes %d: raise max_payload in the NATS "+
		"server's configuration (8MB)", need, limit)
}

// look does what time asks for.
func (o *Origin) look(now time.Time) {
	stands := o.decide(now)
	o.furnish(now)
	o.mu.Lock()
	o.want = o.demand.merged(now)
	o.lose(o.credit.tick(now, o.listening), now)
	o.settleAll(now)
	var probes []string
	if o.claim.standing == owner {
		probes = o.credit.probes(now)
	}
	o.mu.Unlock()
	for _, name := range probes {
		o.probe(name, now)
	}
	if o.cfg.Always && stands && now.Sub(o.lastAlways) >= alwaysEvery {
		o.lastAlways = now
		o.wantAlways(now)
	}
}

// decide follows the clock and the claim, and tells whether this one owns the stream.
func (o *Origin) decide(now time.Time) bool {
	o.mu.Lock()
	old := o.claim.epoch
	stepped := o.clock.follow(now, o.d.Wall())
	if stepped {
		clear(o.offsets)
	}
	changed := false
	if stepped && o.claim.standing == owner {
		o.claim.renew(o.clock.us(now))
		changed = true
	}
	changed = o.claim.next(now, o.clock.us(now), o.listening) || changed
	if o.claim.epoch != o.acct.epoch {
		o.endEpoch(now)
	}
	standing, epoch, other := o.claim.standing, o.claim.epoch, o.claim.ownerName()
	o.mu.Unlock()
	if !changed {
		return standing == owner
	}
	o.d.Roster.Changed()
	switch {
	case standing == standby:
		o.log.Info("stream has another owner: standing by", "owner", other)
	case stepped:
		o.log.Warn("clock was stepped: new epoch", "epoch", epoch, "old", old)
	default:
		o.log.Info("stream is ours", "epoch", epoch)
	}
	return standing == owner
}

// dropWaiting drops the frames that no encoder has got. The caller holds mu.
func (o *Origin) dropWaiting() {
	if p, ok := o.slot.TryTake(); ok {
		o.drop(p, ended)
	}
	if o.hand != nil {
		o.drop(o.hand, ended)
		o.hand = nil
	}
}

// forgetKept frees the last frame sent: it is not handed on any more. The caller holds mu.
func (o *Origin) forgetKept() {
	if o.kept != nil {
		o.release(o.kept)
		o.kept = nil
	}
}

// settle ends the stream: nothing more is taken, and what encoders have is waited for a little.
func (o *Origin) settle(tick *time.Ticker) {
	o.mu.Lock()
	o.ending = true
	o.dropWaiting()
	o.mu.Unlock()
	limit := time.NewTimer(settleLimit)
	defer limit.Stop()
	for over := false; !over && o.opened() > 0; {
		select {
		case <-limit.C:
			over = true
		case <-o.inbox.Ready():
		case <-tick.C:
		}
		o.hear()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closeBooks(time.Now())
	o.forgetKept()
	o.mem.giveUp()
	o.over = true
}

func (o *Origin) opened() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.credit.opened(o.claim.epoch)
}
