package view

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/framebus/framebus/services/client/record"
)

// escape ends it as q does.
const escape = '\x1b'

// lastPicture is the one that is shown, as it came.
type lastPicture struct {
	jpeg   []byte
	stream string
	at     time.Time // it was read; zero where there was none
}

func (l *lastPicture) keep(f *client.Frame) {
	l.jpeg = append(l.jpeg[:0], f.JPEG...)
	l.stream, l.at = f.Stream, f.ReceivedAt
}

// press does what a key is for, and tells whether it ends the view.
func (v *view) press(key rune) (end bool) {
	switch key {
	case 'q', 'Q', escape:
		return true
	case 's', 'S':
		v.snapshot()
	case 'r', 'R':
		if v.tape == nil {
			v.startRecording()
		} else {
			v.endRecording()
		}
	case 'o', 'O':
		v.hidden = !v.hidden
	case 'f', 'F':
		v.full = !v.full
		v.deps.Window.FullScreen(v.full)
	case '0':
		v.ask("auto")
	case '1':
		v.ask("full")
	case '2':
		v.ask("half")
	case '3':
		v.ask("quarter")
	case '?', 'h', 'H':
		v.say(keyHelp)
	default:
		return false
	}
	v.fresh = true
	return false
}

func (v *view) ask(rung string) {
	if err := v.viewer.Select(client.Selection{Rung: rung}); err != nil {
		v.say(err.Error())
		return
	}
	v.asked, v.figures.Asked = rung, rung
}

// path of a new file, named after its stream and this moment.
func (v *view) path(ending string) string {
	return filepath.Join(v.cfg.Dir, cmp.Or(v.last.stream, "stream")+time.Now().Format("-20060102-150405.000")+ending)
}

func (v *view) snapshot() {
	if v.last.at.IsZero() {
		v.say("there is no picture yet")
		return
	}
	path := v.path(".jpg")
	if err := os.WriteFile(path, v.last.jpeg, 0o644); err != nil {
		v.say(err.Error())
		return
	}
	v.note("saved", path, "")
}

// note says what became a file on the picture, where a name is enough, and in the terminal.
func (v *view) note(what, path, more string) {
	v.say(what + " " + filepath.Base(path) + more)
	if !v.cfg.JSON {
		fmt.Fprintln(v.deps.Out, what+" "+path+more)
	}
}

// tape is a recording that runs: while it does, each picture goes to the file first, and the window gets the newest.
type tape struct {
	out    *record.Recorder
	newest chan *client.Frame // bound: 1, the older is replaced
	stop   context.CancelFunc
	failed chan struct{} // closed when the file takes no more
	done   chan error
}

func (v *view) startRecording() {
	out, err := record.Create(v.path(".mkv"))
	if err != nil {
		v.say(err.Error())
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	v.tape = &tape{
		out: out, newest: make(chan *client.Frame, 1), stop: stop, failed: make(chan struct{}), done: make(chan error, 1),
	}
	go func(t *tape) { t.done <- t.run(ctx, v.frames) }(v.tape)
}

// endRecording stops one, and says on the picture what was wrong with it.
func (v *view) endRecording() {
	if err := v.stopRecording(); err != nil {
		v.say(err.Error())
	}
}

// stopRecording ends a recording, if there is one.
func (v *view) stopRecording() error {
	t := v.tape
	if t == nil {
		return nil
	}
	v.tape, v.figures.Recording = nil, nil
	t.stop()
	err := errors.Join(<-t.done, t.out.Close())
	r := t.out.Report()
	if r.Frames == 0 {
		err = errors.Join(err, fmt.Errorf("no picture came for %s, so it is not left", filepath.Base(r.File)))
	}
	if err != nil {
		return err
	}
	v.note("recorded", r.File, fmt.Sprintf(": %d frames in %.1f s, %d missed", r.Frames, r.Duration.Seconds(), r.Missed))
	return nil
}

func (t *tape) run(ctx context.Context, frames <-chan *client.Frame) (err error) {
	for {
		select {
		case <-ctx.Done():
			return err
		case f := <-frames:
			if err == nil {
				if err = t.out.Write(f); err != nil {
					close(t.failed)
				}
			}
			t.put(f)
		}
	}
}

// put has the window see f next, whatever it was to see before. Nobody else puts, so there is room.
func (t *tape) put(f *client.Frame) {
	select {
	case old := <-t.newest:
		old.Release()
	default:
	}
	t.newest <- f
}
