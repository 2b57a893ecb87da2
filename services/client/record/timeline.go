package record

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"time"

	"github.com/framebus/framebus/services/client"
)

// timeline gives each frame its time in the file: the time between captures, or between arrivals where the envelope
// does not tell or the owner's clock was set.
type timeline struct {
	begun    bool
	captured int64 // µs, of the last frame; 0 where not known
	received time.Time
	at       time.Duration
	usual    time.Duration // between two frames, smoothed; 0 while unknown
}

// clocksDiffer is how far apart two ways to tell an interval may be before the owner's clock counts as set: a network
// may hold pictures up for seconds.
const clocksDiffer = 30 * time.Second

// next is the frame's time, and how long a gap it ends, 0 for none.
func (t *timeline) next(f *client.Frame) (at, gap time.Duration) {
	captured, received := f.Header.CapturedUs, f.ReceivedAt
	if !t.begun {
		t.begun, t.captured, t.received = true, captured, received
		return 0, 0
	}
	step := max(received.Sub(t.received), 0)
	if captured != 0 && t.captured != 0 {
		if d := time.Duration(captured-t.captured) * time.Microsecond; d >= 0 && (d-step).Abs() < clocksDiffer {
			step = d
		}
	}
	t.at += step
	t.captured, t.received = captured, received
	if t.usual > 0 && step > gapOf*t.usual {
		return t.at, step // a pause says nothing of the usual
	}
	if t.usual == 0 {
		t.usual = step
	}
	t.usual += (step - t.usual) / 8
	return t.at, 0
}

func size(b []byte) (w, h int, err error) {
	c, err := jpeg.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return 0, 0, fmt.Errorf("first picture: %w", err)
	}
	return c.Width, c.Height, nil
}
