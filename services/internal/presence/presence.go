// Package presence tells who is alive on the bus: every service says its Status once a second, at start, on drain and
// when it first hears of another, and listens to those of all. It carries Status without knowing what services put in.
package presence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/mailbox"
)

const (
	// Every is how often Status is told.
	Every = time.Second
	// Silence is how long an instance may say nothing until it counts as gone, from the listener's own last reconnect.
	Silence = 2 * time.Second

	forgetAfter = 30 * Silence
	// inbox bounds the Status not yet looked at; when full the oldest is dropped, a newer one being on its way.
	inbox = 256
)

// ErrNameTaken ends the later started of two services that bear the same name.
var ErrNameTaken = errors.New("another running instance has this name: give each its own FRAMEBUS_INSTANCE")

// Config is who this one is.
type Config struct {
	Service, Instance, Version string
	// Run is when this run began, µs since 1970.
	Run uint64
}

// Deps of a roster.
type Deps struct {
	Bus *bus.Bus
	Log *slog.Logger
}

// Roster knows who is alive. It is safe for concurrent use.
type Roster struct {
	cfg     Config
	d       Deps
	changed chan struct{}

	telling sync.Mutex // keeps Status in the order of their making

	mu       sync.Mutex
	fill     func(*pb.Status)
	draining bool
	peers    map[string]peer // by service and instance
	watchers map[int]func(*pb.Status, time.Time)
	nextID   int
}

type peer struct {
	status *pb.Status
	at     time.Time
}

type heard struct {
	msg bus.Msg
	at  time.Time
}

// New makes a roster that is silent until Run.
func New(cfg Config, d Deps) *Roster {
	return &Roster{
		cfg: cfg, d: d, changed: make(chan struct{}, 1),
		peers: map[string]peer{}, watchers: map[int]func(*pb.Status, time.Time){},
	}
}

// SetFill sets what adds to each Status that the service has to say of itself, and tells it at once. It is called by
// one goroutine at a time.
func (r *Roster) SetFill(fill func(*pb.Status)) {
	r.mu.Lock()
	r.fill = fill
	r.mu.Unlock()
	r.Changed()
}

// Config is who this one is.
func (r *Roster) Config() Config { return r.cfg }

// Changed has Status told at once.
func (r *Roster) Changed() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// Drain says from now on that this instance is about to end.
func (r *Roster) Drain() {
	r.mu.Lock()
	r.draining = true
	r.mu.Unlock()
	r.tell()
}

// Draining tells whether this instance is about to end.
func (r *Roster) Draining() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.draining
}

// Watch calls fn with every Status heard, this one's own too, until cancel. fn must not block, and the Status is shared
// and read-only.
func (r *Roster) Watch(fn func(s *pb.Status, at time.Time)) (cancel func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := r.nextID
	r.nextID++
	r.watchers[id] = fn
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watchers, id)
	}
}

// Live are the newest Status of those that are alive, by instance. They are shared and read-only. Nobody counts as
// gone until the bus has been there for Silence: after a reconnect all have been silent to us.
func (r *Roster) Live() []*pb.Status {
	up, since := r.d.Bus.Control.Up()
	now := time.Now()
	settled := up && now.Sub(since) > Silence
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*pb.Status
	for _, key := range slices.Sorted(maps.Keys(r.peers)) {
		p := r.peers[key]
		if !settled && now.Sub(p.at) < forgetAfter || now.Sub(p.at) <= Silence {
			out = append(out, p.status)
		}
	}
	return out
}

// Run tells and listens until ctx ends. It returns ErrNameTaken when an instance that started earlier has this name.
func (r *Roster) Run(ctx context.Context) error {
	in := mailbox.NewQueue[heard](inbox)
	sub, err := r.d.Bus.Control.Subscribe(subject.AllStatus(), func(m bus.Msg) { in.Put(heard{m, time.Now()}) })
	if err != nil {
		return fmt.Errorf("presence: %w", err)
	}
	defer sub.Unsubscribe()
	defer r.d.Bus.Control.Watch(func(up bool) {
		if up {
			r.Changed()
		}
	})()
	tick := time.NewTicker(Every)
	defer tick.Stop()
	r.tell()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			r.tell()
			r.forget()
		case <-r.changed:
			r.tell()
		case <-in.Ready():
			for h, ok := in.TryTake(); ok; h, ok = in.TryTake() {
				if err := r.hear(h); err != nil {
					return err
				}
			}
		}
	}
}

func (r *Roster) tell() {
	r.telling.Lock()
	defer r.telling.Unlock()
	r.mu.Lock()
	fill := r.fill
	s := &pb.Status{
		Service: r.cfg.Service, Instance: r.cfg.Instance, Run: r.cfg.Run, Version: r.cfg.Version,
		Draining: r.draining, SentUs: time.Now().UnixMicro(),
	}
	r.mu.Unlock()
	if fill != nil {
		fill(s)
	}
	err := r.d.Bus.Control.Send(subject.Status(r.cfg.Service, r.cfg.Instance), s)
	if err != nil && !errors.Is(err, bus.ErrDisconnected) {
		r.d.Log.Warn("status not told", "error", err)
	}
}

func (r *Roster) hear(h heard) error {
	s := &pb.Status{}
	if err := bus.Decode(h.msg, s); err != nil || !subject.ValidName(s.GetInstance()) {
		return nil // whoever speaks garbage is not alive for us
	}
	if s.GetService() == r.cfg.Service && s.GetInstance() == r.cfg.Instance && s.GetRun() != r.cfg.Run {
		if r.cfg.Run > s.GetRun() {
			return fmt.Errorf("%s %q: %w", r.cfg.Service, r.cfg.Instance, ErrNameTaken)
		}
		r.Changed() // the later one must hear of us to end
		return nil
	}
	key := s.GetService() + "." + s.GetInstance()
	r.mu.Lock()
	old, known := r.peers[key]
	fresh := !known || old.status.GetRun() != s.GetRun()
	r.peers[key] = peer{s, h.at}
	fns := slices.Collect(maps.Values(r.watchers))
	r.mu.Unlock()
	if fresh && s.GetInstance() != r.cfg.Instance {
		r.Changed()
	}
	for _, fn := range fns {
		fn(s, h.at)
	}
	return nil
}

func (r *Roster) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, p := range r.peers {
		if time.Since(p.at) > forgetAfter {
			delete(r.peers, key)
		}
	}
}
