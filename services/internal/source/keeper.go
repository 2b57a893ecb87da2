package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/framebus/framebus/services/internal/instrument"
)

const (
	// silence is how long a source may give no frame before it is given up and opened again.
	silence = 5 * time.Second
	// openLimit is the same for one that is being opened. FFmpeg's own time-outs end earlier.
	openLimit = 15 * time.Second
	// hangLimit bounds the captures of a source that hang in OpenCV; only when one returns is another opened.
	hangLimit = 2
	// slateDelay is how long a source may take to begin before a slate says that it is late.
	slateDelay = 500 * time.Millisecond
	// steady is how long a source must have been live for its next failure to be taken as the first.
	steady = 2 * time.Second
)

// keeper keeps one source going: opens it, passes its frames on, shows slates while there are none, opens it again.
type keeper struct {
	spec  Spec
	sink  Sink
	log   *slog.Logger
	conv  *converter
	slate slate
	retry *backoff.ExponentialBackOff
	hung  []*reader

	reopens instrument.Counter
	timer   *time.Timer

	live      bool
	cause     string
	nextSlate time.Time
}

func newKeeper(spec Spec, sink Sink, log *slog.Logger, reopens instrument.Counter) *keeper {
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval = 100 * time.Millisecond
	retry.RandomizationFactor = 0.25
	retry.MaxInterval = 600 * time.Millisecond // 750 ms with jitter: back within 2 s, opening included
	timer := time.NewTimer(time.Hour)
	return &keeper{
		spec: spec, sink: sink, log: log, retry: retry, timer: timer, reopens: reopens,
		conv:  newConverter(spec.Width, spec.Height),
		slate: slate{name: spec.Name, w: spec.Width, h: spec.Height},
	}
}

func (k *keeper) run(ctx context.Context) {
	defer k.conv.close()
	defer k.timer.Stop()
	k.cause = "opening"
	k.sink.State(false, k.cause, slateFPS)
	k.nextSlate = time.Now().Add(slateDelay)
	for ctx.Err() == nil {
		began := time.Now()
		var played os.FileInfo
		if k.spec.Kind == File && !k.spec.Loop {
			played, _ = os.Stat(k.spec.target)
		}
		r := startReader(k.spec)
		err := k.follow(ctx, r)
		if !r.leave() {
			k.hung = append(k.hung, r)
		}
		if ctx.Err() != nil {
			return
		}
		if k.live && time.Since(began) >= steady {
			k.retry.Reset()
		}
		k.lost(err)
		k.idle(ctx, func() bool { return k.mayReopen(err, played) })
		if ctx.Err() == nil {
			k.reopens.Add(1)
		}
	}
}

var (
	errEnded    = errors.New("the file has ended")
	errNoWriter = errors.New("nobody writes to the pipe")
)

// follow passes a reader's frames on until it has no more, and says why.
func (k *keeper) follow(ctx context.Context, r *reader) error {
	var pace *pacer
	last := time.Now()
	for {
		limit := openLimit
		if r.opened.Load() {
			limit = silence
		}
		next := last.Add(limit)
		// The limit can have passed only for a pipe, which is waited for all the same.
		if passed := time.Since(last) >= limit; !k.live && (passed || k.nextSlate.Before(next)) {
			next = k.nextSlate
		}
		k.timer.Reset(time.Until(next))
		var s shot
		select {
		case <-ctx.Done():
			return nil
		case err := <-r.ended:
			if k.spec.Kind == File && !k.spec.Loop && errors.Is(err, errSourceEnded) && !r.pipe.Load() {
				return errEnded
			}
			return err
		case <-k.timer.C:
			k.showSlate()
			switch quiet := time.Since(last) >= limit; {
			case quiet && r.pipe.Load():
				k.lost(errNoWriter)
			case quiet:
				return fmt.Errorf("no frame for %v", limit)
			}
			continue
		case s = <-r.shots:
		}
		if !k.live {
			k.found(s.fps)
		}
		if k.spec.Kind == File && !r.pipe.Load() {
			if pace == nil {
				pace = newPacer(s.fps)
			}
			k.timer.Reset(time.Until(pace.due(time.Now())))
			select {
			case <-ctx.Done():
				return nil
			case <-k.timer.C:
			}
			s.at = time.Now()
		}
		if err := k.pass(ctx, r, s); err != nil {
			return err
		}
		last = time.Now()
	}
}

// pass gives one frame to the sink, if it wants it.
func (k *keeper) pass(ctx context.Context, r *reader, s shot) error {
	buf := k.sink.Begin(s.at, k.spec.Width, k.spec.Height)
	r.orders <- buf != nil
	if buf == nil {
		return nil
	}
	k.timer.Reset(silence)
	select {
	case <-ctx.Done():
		return nil
	case <-k.timer.C:
		return fmt.Errorf("no frame for %v", silence)
	case ok := <-r.pixels:
		if !ok {
			return errors.New("a frame could not be decoded")
		}
	}
	err := k.conv.into(buf, r.mat)
	r.orders <- false
	if err != nil {
		return err
	}
	k.sink.Commit()
	return nil
}

// idle shows slates for as long as the back-off says, and on until ready.
func (k *keeper) idle(ctx context.Context, ready func() bool) {
	until := time.Now().Add(k.retry.NextBackOff())
	for {
		next := until
		if k.nextSlate.Before(next) {
			next = k.nextSlate
		}
		k.timer.Reset(time.Until(next))
		select {
		case <-ctx.Done():
			return
		case <-k.timer.C:
		}
		k.showSlate()
		if now := time.Now(); !now.Before(until) {
			if ready() {
				return
			}
			until = now.Add(time.Second / 2)
		}
	}
}

// mayReopen says whether another attempt makes sense: not while too many hang, nor of a file that was played to its
// end, was not to be looped, and is still the same.
func (k *keeper) mayReopen(err error, played os.FileInfo) bool {
	hung := k.hung[:0]
	for _, r := range k.hung {
		select {
		case <-r.done:
		default:
			hung = append(hung, r)
		}
	}
	k.hung = hung
	if len(k.hung) >= hangLimit {
		return false
	}
	if !errors.Is(err, errEnded) {
		return true
	}
	now, _ := os.Stat(k.spec.target)
	return now == nil || played == nil || !os.SameFile(now, played) ||
		now.Size() != played.Size() || !now.ModTime().Equal(played.ModTime())
}

func (k *keeper) found(fps float64) {
	k.live, k.cause = true, ""
	k.sink.State(true, "", fps)
	k.log.Info("source is live", "fps", fps)
}

func (k *keeper) lost(err error) {
	cause := "unknown"
	if err != nil {
		cause = err.Error()
	}
	if !k.live && k.cause == cause {
		return
	}
	if k.live {
		k.nextSlate = time.Now()
	}
	k.live, k.cause = false, cause
	k.sink.State(false, cause, slateFPS)
	k.log.Warn("source gives no frames", "cause", cause)
}

// showSlate shows the slate if it is due.
func (k *keeper) showSlate() {
	now := time.Now()
	if k.live || now.Before(k.nextSlate) {
		return
	}
	k.nextSlate = now.Add(time.Second / slateFPS)
	if buf := k.sink.Begin(now, k.spec.Width, k.spec.Height); buf != nil {
		k.slate.draw(buf, k.cause, now)
		k.sink.Commit()
	}
}
