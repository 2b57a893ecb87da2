// Package view shows a stream to whoever sits at this machine: in a window with figures on the picture and keys, or as
// a line of text. It knows nothing of how a window is made. The client library owns the connection; the window and
// everything of it belongs to the goroutine that calls Run, as window systems demand.
package view

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/framebus/framebus/services/client"
	"golang.org/x/sync/errgroup"
)

const (
	// figuresEvery is how often figures are taken: a digit that changes faster cannot be read.
	figuresEvery = time.Second
	// keyWait is how long a window is waited for at a time, and so what it may add to a picture's age.
	keyWait = 4 * time.Millisecond
	// messageFor is how long what a key did stands on the picture.
	messageFor = 3 * time.Second
	// silentAfter is when the picture is said to stand still.
	silentAfter = 2 * time.Second
)

// Window is a window on a screen. It is used from one goroutine only.
type Window interface {
	// Show puts a JPEG up with lines of text on it; with a nil one the picture before stays. The picture's memory is
	// the caller's again when it returns. An error is of the picture.
	Show(jpeg []byte, lines []string) error
	// Columns is how many characters fit into a line.
	Columns() int
	// Wait lets the window work for so long, or until a key is pressed: that key, 0 for none. It is not open any more
	// once somebody has closed it.
	Wait(d time.Duration) (key rune, open bool)
	// FullScreen sets whether it fills the screen.
	FullScreen(on bool)
}

// Config says what to watch, and how. Only URL is required.
type Config struct {
	URL      string
	Stream   string
	Rung     string // auto (also when empty), full, half or quarter
	Attempts int    // in a row that may fail; 0 means for ever
	Delay    time.Duration
	Dir      string // where snapshots and recordings go; empty is the current folder
	JSON     bool   // figures as JSON
}

// client is what the client library is told.
func (c *Config) client() client.Config {
	return client.Config{
		URL: c.URL, Stream: c.Stream, Rung: c.Rung, Attempts: c.Attempts, Delay: c.Delay,
	}
}

// Validate names every error at once.
func (c *Config) Validate() error {
	cfg := c.client()
	err := cfg.Validate()
	if info, statErr := os.Stat(cmp.Or(c.Dir, ".")); statErr != nil {
		err = errors.Join(err, statErr)
	} else if !info.IsDir() {
		err = errors.Join(err, fmt.Errorf("%s is no folder", c.Dir))
	}
	return err
}

// Deps are what a view is shown on.
type Deps struct {
	// Window is nil where only the status line is wanted.
	Window Window
	// Out takes the status line, what was saved, and JSON.
	Out io.Writer
	// Terminal is how wide Out is, in characters, where it is a terminal; 0 where it is not.
	Terminal func() int
}

// view is one run. What is below mu is shared with the connection's goroutine, the rest belongs to Run's.
type view struct {
	cfg    Config
	deps   Deps
	viewer *client.Viewer
	frames chan *client.Frame // unbuffered: the newest wins

	asked   string // rung
	figures Figures
	last    lastPicture
	hidden  bool // the figures
	full    bool // screen
	tape    *tape
	message string
	until   time.Time // it stands
	told    bool      // a status line
	fresh   bool      // what the picture bears has changed since it was last shown

	mu      sync.Mutex
	state   client.State
	stateAt time.Time
	changed bool // state, since the picture was last shown
}

// Run shows the stream until ctx ends, the window is closed or q is pressed, which is no error, or until the client
// gives up.
func Run(ctx context.Context, cfg Config, d Deps) error {
	if d.Terminal == nil {
		d.Terminal = func() int { return 0 }
	}
	v := &view{cfg: cfg, deps: d, frames: make(chan *client.Frame), asked: cmp.Or(cfg.Rung, "auto")}
	deps := client.Deps{Frames: v.frames, OnState: v.noteState}
	if d.Window == nil {
		deps.Frames = nil // they are counted, and nobody looks at them
	}
	viewer, err := client.New(cfg.client(), deps)
	if err != nil {
		return err
	}
	v.viewer = viewer
	return v.run(ctx)
}

func (v *view) run(ctx context.Context) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { defer end(); return v.viewer.Run(gctx) })
	v.take()
	if v.deps.Window != nil {
		v.window(gctx)
	} else {
		v.line(gctx)
	}
	taped := v.stopRecording()
	end()
	err := g.Wait()
	v.farewell()
	return errors.Join(err, taped)
}

// line tells the figures until ctx ends.
func (v *view) line(ctx context.Context) {
	tick := time.NewTicker(figuresEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			v.take()
			v.tell()
		}
	}
}

// window shows pictures and heeds keys until ctx ends or somebody ends it.
func (v *view) window(ctx context.Context) {
	tick := time.NewTicker(figuresEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		key, open := v.deps.Window.Wait(keyWait)
		if !open || key != 0 && v.press(key) {
			return
		}
		select {
		case <-tick.C:
			v.take()
			if v.cfg.JSON {
				v.tell()
			}
		default:
		}
		if v.tape != nil {
			select {
			case <-v.tape.failed:
				v.endRecording()
			default:
			}
		}
		v.show()
	}
}

// show puts up the newest picture, or the last one again where what stands on it has changed.
func (v *view) show() {
	v.mu.Lock()
	changed := v.changed || v.fresh
	v.changed, v.fresh = false, false
	v.mu.Unlock()
	var f *client.Frame
	select {
	case f = <-v.incoming():
	default:
		if !changed {
			return
		}
	}
	lines := v.lines(time.Now(), v.deps.Window.Columns())
	if f == nil {
		_ = v.deps.Window.Show(nil, lines) // the picture is the one that was shown before
		return
	}
	v.last.keep(f)
	if err := v.deps.Window.Show(f.JPEG, lines); err != nil {
		v.say(fmt.Sprintf("picture %d cannot be shown: %v", f.Header.Sequence, err))
	}
	f.Release()
}

// incoming is where pictures come from: the client, or the recorder, which takes every one while it runs.
func (v *view) incoming() <-chan *client.Frame {
	if v.tape != nil {
		return v.tape.newest
	}
	return v.frames
}

// noteState runs on the connection's goroutine.
func (v *view) noteState(s client.State) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s.Phase == client.Connecting && s.Err == nil {
		s.Err = v.state.Err // why it is at it again
	}
	v.state, v.stateAt, v.changed = s, time.Now(), true
}

// take figures of this moment.
func (v *view) take() {
	v.mu.Lock()
	state := v.state
	v.mu.Unlock()
	v.figures = figuresOf(time.Now(), v.viewer.Stats(), state, v.asked)
	if v.tape != nil {
		r := v.tape.out.Report()
		v.figures.Recording = &r
	}
	v.fresh = true
}
