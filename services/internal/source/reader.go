package source

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"gocv.io/x/gocv"
)

// leaveGrace is how long leaving a reader waits for it, so that one that does not hang leaves nothing behind.
const leaveGrace = 250 * time.Millisecond

// errSourceEnded: a source that worked has come to its end.
var errSourceEnded = errors.New("the source has ended")

// shot is a frame that the source handed over.
type shot struct {
	at  time.Time
	fps float64
}

// reader owns one capture, in a goroutine of its own that may hang in OpenCV at any time. Frames are passed in lock
// step: a shot is announced, then taken (its pixels are in mat until it is released) or skipped. So the source's own
// buffers are the only ones, and the newest frame is what is read next.
type reader struct {
	spec   Spec
	shots  chan shot
	orders chan bool     // to each shot: whether its pixels are wanted; and then once more, to release them
	pixels chan bool     // whether they are in mat
	ended  chan error    // why there will be no more shots; 1 deep
	cancel func()        // says that nobody listens any more
	done   chan struct{} // closed when the goroutine has freed everything
	opened atomic.Bool
	pipe   atomic.Bool // a named pipe: opened, and read, when somebody writes to it, and its own pace
	mat    gocv.Mat
}

// startReader starts a reader that only leave ends: were it to end by itself, it would free the pixels of a shot that
// is being looked at.
func startReader(spec Spec) *reader {
	ctx, cancel := context.WithCancel(context.Background())
	r := &reader{
		spec:   spec,
		shots:  make(chan shot),
		orders: make(chan bool, 1),
		pixels: make(chan bool, 1),
		ended:  make(chan error, 1),
		cancel: cancel,
		done:   make(chan struct{}),
	}
	go r.run(ctx)
	return r
}

// leave ends the reader, which must hold no taken shot, and reports whether it is gone; if not, done will tell.
func (r *reader) leave() bool {
	r.cancel()
	grace := time.NewTimer(leaveGrace)
	defer grace.Stop()
	select {
	case <-r.done:
		return true
	case <-grace.C:
		return false
	}
}

func (r *reader) run(ctx context.Context) {
	defer close(r.done)
	r.mat = gocv.NewMat()
	defer func() { _ = r.mat.Close() }()
	r.pipe.Store(r.spec.Kind == File && isPipe(r.spec.target))
	for pass := 0; ; pass++ {
		frames, err := r.play(ctx, pass)
		// A file that cannot be rewound is opened afresh, unless it has nothing in it.
		if err == nil && frames > 0 && r.spec.Kind == File && r.spec.Loop {
			continue
		}
		if err == nil {
			err = errSourceEnded
			if frames == 0 {
				err = errors.New("there are no frames in it")
			}
		}
		r.ended <- err
		return
	}
}

// play opens the source and gives its frames until there are no more, and returns their number.
func (r *reader) play(ctx context.Context, pass int) (frames int, err error) {
	if ctx.Err() != nil {
		return 0, nil
	}
	c, err := open(ctx, r.spec)
	if err != nil {
		return 0, err
	}
	defer c.close()
	r.opened.Store(true)
	for {
		began := time.Now()
		ok := ctx.Err() == nil && c.grab(&r.mat)
		at := time.Now()
		if !ok && frames > 0 && r.spec.Kind == File && r.spec.Loop && ctx.Err() == nil {
			c.rewind()
			ok = c.grab(&r.mat)
			at = time.Now()
		}
		switch {
		case ctx.Err() != nil:
			return 0, nil
		case !ok && r.spec.Kind == Network && at.Sub(began) >= netTimeout:
			return 0, fmt.Errorf("no frame for %v", netTimeout)
		case !ok && frames == 0 && pass > 0:
			return 0, errors.New("the file cannot be read again")
		case !ok:
			return frames, nil
		}
		frames++
		if !r.hand(ctx, c, shot{at: at, fps: c.fps}) {
			return 0, nil
		}
	}
}

// hand offers one shot, and reports false when nobody listens any more.
func (r *reader) hand(ctx context.Context, c *capture, s shot) bool {
	select {
	case r.shots <- s:
	case <-ctx.Done():
		return false
	}
	if wanted, ok := r.order(ctx); !ok || !wanted {
		return ok
	}
	r.pixels <- c.retrieve(&r.mat)
	_, ok := r.order(ctx)
	return ok
}

func (r *reader) order(ctx context.Context) (wanted, ok bool) {
	select {
	case wanted = <-r.orders:
		return wanted, true
	case <-ctx.Done():
		return false, false
	}
}
