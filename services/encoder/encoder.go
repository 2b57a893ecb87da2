// Package encoder turns the raw frames that origins hand it into JPEGs: one encode a rung that anybody wants, however
// many want it, and exactly one Done for every frame, which is the origin's credit. It knows nothing of viewers.
//
// A frame goes from the intake (the bus's goroutine) through turns to a worker, who publishes and answers. What needs
// no worker is answered by a goroutine of its own, so that the intake never waits for the bus.
package encoder

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/adapt"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/mailbox"
	"github.com/framebus/framebus/services/internal/presence"
	"github.com/framebus/framebus/services/internal/service"
	"github.com/framebus/framebus/services/internal/span"
	"github.com/framebus/framebus/services/internal/stage"
	"golang.org/x/sync/errgroup"
)

const (
	// drainLimit is how long an encoder that ends goes on with what it has.
	drainLimit = 500 * time.Millisecond
	// drainSettle is how long frames may still come after all were told that this one ends.
	drainSettle = 100 * time.Millisecond
	drainLook   = 5 * time.Millisecond

	// answersBound is of answers without pictures; when full the oldest is dropped, and its origin times it out.
	answersBound = 4096
)

// Deps of an encoder.
type Deps struct {
	service.Deps
	// Slow is how much longer each frame is to take, for tests and simulations; nil means no longer.
	Slow func() time.Duration
}

type encoder struct {
	cfg      Settings
	d        Deps
	instance string
	run      uint64

	clock   *clock
	turns   *turns
	demand  *demand
	cams    *cams
	regions *regions
	meters  *meters
	stage   stage.Label
	stages  [frame.Rungs]stage.Label
	faults  faults
	answers *mailbox.Queue[answer]
	hurry   chan struct{} // closed when the drain's time is over
}

// answer is a Done that no worker has to do with.
type answer struct {
	job job
	o   outcome
}

// Run encodes until ctx ends, then finishes what it has for half a second at most.
func Run(ctx context.Context, cfg Settings, d Deps) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	m, err := newMeters(d.Meter, cfg.Workers)
	if err != nil {
		return fmt.Errorf("encoder: %w", err)
	}
	defer m.unmeasure()
	who := d.Roster.Config()
	e := &encoder{
		cfg: cfg, d: d, instance: who.Instance, run: who.Run, meters: m,
		clock: newClock(), turns: newTurns(), cams: newCams(),
		demand:  newDemand(adapt.Limits{Min: cfg.QualityMin, Max: cfg.Quality}, m.displaced),
		answers: mailbox.NewQueue[answer](answersBound), hurry: make(chan struct{}),
	}
	e.regions = newRegions(d.Shm, d.Log, m)
	e.regions.changed, e.regions.settled = d.Roster.Changed, e.settled
	defer e.regions.close()
	e.stage = stage.New(d.Profiling, stage.Encode, "")
	for r := range e.stages {
		e.stages[r] = stage.New(d.Profiling, stage.Encode, frame.Rung(r).String())
	}
	workers, err := e.hire()
	if err != nil {
		return err
	}
	defer func() {
		for _, w := range workers {
			w.close()
		}
	}()
	defer d.Roster.Watch(e.cams.hear)()
	defer d.Roster.Watch(e.regions.hear)()

	g, ctx := errgroup.WithContext(ctx)
	answering, answered := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error { return e.demand.listen(ctx, d.Bus.Control) })
	g.Go(func() error { return e.faults.report(ctx, d.Log) })
	g.Go(func() error { return e.regions.run(ctx) })
	g.Go(func() error { return e.answerAll(answering) })
	g.Go(func() error {
		defer answered()
		return e.pump(ctx, workers)
	})
	return g.Wait()
}

func (e *encoder) hire() ([]*worker, error) {
	var workers []*worker
	for range e.cfg.Workers {
		w, err := newWorker(e)
		if err != nil {
			for _, w := range workers {
				w.close()
			}
			return nil, fmt.Errorf("encoder: %w", err)
		}
		workers = append(workers, w)
	}
	return workers, nil
}

// pump takes frames in until ctx ends, then drains.
func (e *encoder) pump(ctx context.Context, workers []*worker) error {
	var work sync.WaitGroup
	for _, w := range workers {
		work.Go(w.run)
	}
	sub, err := e.d.Bus.Data.Subscribe(subject.RawFor(e.instance), newIntake(e).handle)
	if err == nil {
		e.d.Roster.SetFill(e.fill)
		<-ctx.Done()
		e.d.Roster.Drain()
		e.settle()
		sub.Unsubscribe()
	}
	rest := e.turns.close()
	close(e.hurry)
	work.Wait()
	for _, j := range rest {
		e.answer(j, superseded, nil)
	}
	return err
}

// settle waits until nothing more comes and nothing is left, or the drain's time is over.
func (e *encoder) settle() {
	begun := time.Now()
	tick := time.NewTicker(drainLook)
	defer tick.Stop()
	for now := range tick.C {
		spent := now.Sub(begun)
		if spent >= drainLimit || spent >= drainSettle && e.turns.quiet(e.cfg.Workers) {
			return
		}
	}
}

func (e *encoder) fill(s *pb.Status) {
	s.Encoder = &pb.EncoderStatus{
		Workers: uint32(e.cfg.Workers), Quality: uint32(e.cfg.Quality), QualityMin: uint32(e.cfg.QualityMin),
		Mapped: e.regions.ids(),
	}
}

// settled tells whether the bus has been there for so long that all who are alive were heard since.
func (e *encoder) settled(now time.Time) bool {
	up, since := e.d.Bus.Control.Up()
	return up && now.Sub(since) > presence.Silence
}

// answer has a frame answered that no worker has taken.
func (e *encoder) answer(j job, o outcome, err error) {
	if err != nil {
		e.faults.note(fmt.Errorf("frame of %s: %w", j.stream.name, err))
	}
	j.release()
	j.err, j.payload = err, nil
	if old, displaced := e.answers.Put(answer{j, o}); displaced {
		old.job.stream.meters.count(old.o)
		e.meters.displaced.Add(1)
	}
}

func (e *encoder) answerAll(ctx context.Context) error {
	for {
		a, err := e.answers.Take(ctx)
		if err != nil {
			break
		}
		e.finish(&a.job, a.o, e.clock.now(), nil)
	}
	for a, ok := e.answers.TryTake(); ok; a, ok = e.answers.TryTake() {
		e.finish(&a.job, a.o, e.clock.now(), nil)
	}
	return nil
}

// finish counts a frame and sends its Done.
func (e *encoder) finish(j *job, o outcome, taken moment, rungs []pb.Rung) {
	j.release()
	j.stream.meters.count(o)
	if j.reply != "" {
		e.done(j, o, taken, rungs)
	}
	if span.Sampled(&j.head, j.parent) {
		e.traced(j, o)
	}
}

func (e *encoder) done(j *job, o outcome, taken moment, rungs []pb.Rung) {
	now := e.clock.now()
	err := e.d.Bus.Data.Send(j.reply, &pb.Done{
		Stream: j.stream.name, Epoch: j.head.Epoch, Sequence: j.head.Sequence,
		Encoder: e.instance, Run: e.run, Fate: fates[o], Rungs: rungs,
		WaitedUs:   micros(taken.elapsed - j.received.elapsed),
		TookUs:     micros(now.elapsed - taken.elapsed),
		ReceivedUs: j.received.wall.UnixMicro(), SentUs: now.wall.UnixMicro(),
	})
	if err != nil && !errors.Is(err, bus.ErrDisconnected) {
		e.faults.note(fmt.Errorf("done of %s: %w", j.stream.name, err))
	}
}

// slow waits as long as Deps asks for, or until the drain's time is over.
func (e *encoder) slow() {
	if e.d.Slow == nil {
		return
	}
	t := time.NewTimer(e.d.Slow())
	defer t.Stop()
	select {
	case <-t.C:
	case <-e.hurry:
	}
}

func micros(d time.Duration) uint32 {
	return uint32(min(max(d.Microseconds(), 0), math.MaxUint32))
}
