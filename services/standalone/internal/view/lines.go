package view

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/framebus/framebus/services/standalone/internal/overlay"
)

const keyHelp = "q quit  s snapshot  r record  o figures  f full screen  1-3 rung, 0 auto"

// moment is what is told as it is, not as it was when figures were last taken.
type moment struct {
	columns int // of the window
	state   client.State
	since   time.Duration // state
	silent  time.Duration // since the last picture; 0 where there was none
	tape    string        // of a recording
	message string
	hidden  bool // the figures
}

// write is the text on the picture. Where the figures are hidden, what is wrong is told all the same: a picture that
// stands still must not be taken for a live one.
func (m moment) write(f Figures) (lines []string) {
	switch m.state.Phase {
	case client.Connecting:
		if m.state.Attempt > 1 || m.state.Err != nil {
			lines = append(lines, fmt.Sprintf("reconnecting, attempt %d", m.state.Attempt))
		} else {
			lines = append(lines, "connecting")
		}
	case client.Waiting, client.Ended:
		left := max(m.state.Wait-m.since, 0)
		lines = append(lines, fmt.Sprintf("no connection, reconnecting in %.1f s", left.Seconds()))
	case client.Open:
		if m.silent > silentAfter {
			lines = append(lines, fmt.Sprintf("no picture for %.0f s", m.silent.Seconds()))
		}
	}
	if m.state.Phase != client.Open && m.state.Err != nil {
		lines = append(lines, overlay.Wrap("why: "+m.state.Err.Error(), m.columns)...)
	}
	if m.message != "" {
		lines = append(lines, overlay.Wrap(m.message, m.columns)...)
	}
	if m.hidden {
		return lines
	}
	if m.tape != "" {
		lines = append(lines, overlay.Wrap(m.tape, m.columns)...)
	}
	return append(lines, f.Lines()...)
}

func (v *view) lines(now time.Time, columns int) []string {
	v.mu.Lock()
	m := moment{columns: columns, state: v.state, since: now.Sub(v.stateAt), hidden: v.hidden}
	v.mu.Unlock()
	if !v.last.at.IsZero() {
		m.silent = now.Sub(v.last.at)
	}
	if v.tape != nil {
		r := v.tape.out.Report()
		m.tape = fmt.Sprintf("recording %s: %.0f s, %d frames, %.1f MB",
			filepath.Base(r.File), r.Duration.Seconds(), r.Frames, float64(r.Bytes)/1e6)
	}
	if now.Before(v.until) {
		m.message = v.message
	}
	return m.write(v.figures)
}

// say puts a message onto the picture for a while.
func (v *view) say(text string) {
	v.message, v.until, v.fresh = text, time.Now().Add(messageFor), true
}

// tell the figures.
func (v *view) tell() {
	if v.cfg.JSON {
		_ = json.NewEncoder(v.deps.Out).Encode(v.figures) // whoever read it is gone
		return
	}
	v.told = true
	line := v.figures.Status()
	if width := v.deps.Terminal(); width > 0 {
		fmt.Fprintf(v.deps.Out, "\r%s\x1b[K", cut(line, width-1))
		return
	}
	fmt.Fprintln(v.deps.Out, line)
}

// cut shortens a line to what fits: one that wraps could not be written over.
func cut(line string, columns int) string {
	r := []rune(line)
	return string(r[:min(len(r), max(columns, 0))])
}

// farewell tells how it went.
func (v *view) farewell() {
	v.take()
	if v.cfg.JSON {
		v.tell()
		return
	}
	if v.told && v.deps.Terminal() > 0 {
		fmt.Fprintln(v.deps.Out)
	}
	f := v.figures
	fmt.Fprintf(v.deps.Out, "%s%d frames, %d missed, %d reconnects\n", f.name(), f.Frames, f.Missed+f.MissedAway,
		f.Reconnects)
}
