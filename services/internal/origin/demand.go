package origin

import (
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
)

const (
	// demandLife is how long a Feedback counts.
	demandLife = 2 * time.Second
	// maxReaders bounds the readers that are kept, against a flood of invented names; further ones are ignored.
	maxReaders = 1024
)

// demand merges what readers want. It is pure: times are told.
type demand struct {
	always  bool
	readers map[string]wish
}

type wish struct {
	at       time.Duration
	encoded  bool
	fps      float64 // the highest wanted; 0 is all
	raw      bool
	rawFPS   float64
	sentUs   int64
	received int64 // µs since 1970
}

// want is what all readers together want.
type want struct {
	encoded bool
	fps     float64 // 0 is all
	raw     bool
	rawFPS  float64
}

func newDemand(always bool) demand { return demand{always: always, readers: map[string]wish{}} }

// Hear takes a reader's newest Feedback.
func (d *demand) Hear(f *pb.Feedback, now time.Duration, nowUs int64) {
	if _, known := d.readers[f.GetReader()]; !known && len(d.readers) >= maxReaders {
		return
	}
	w := wish{at: now, sentUs: f.GetSentUs(), received: nowUs, encoded: len(f.GetRungs()) > 0}
	w.fps = -1
	for _, r := range f.GetRungs() {
		w.fps = higher(w.fps, r.GetMaxFps())
	}
	if f.GetRaw() != nil {
		w.raw, w.rawFPS = true, f.GetRaw().GetMaxFps()
	}
	d.readers[f.GetReader()] = w
}

// Merge is what all want now; what has outlived its time is forgotten.
func (d *demand) Merge(now time.Duration) want {
	out := want{encoded: d.always, fps: -1, rawFPS: -1}
	if d.always {
		out.fps = 0
	}
	for name, w := range d.readers {
		if now-w.at > demandLife {
			delete(d.readers, name)
			continue
		}
		if w.encoded {
			out.encoded, out.fps = true, higher(out.fps, w.fps)
		}
		if w.raw {
			out.raw, out.rawFPS = true, higher(out.rawFPS, w.rawFPS)
		}
	}
	return out
}

// higher of two rates, where 0 is the highest and less is none.
func higher(a, b float64) float64 {
	if a == 0 || b == 0 {
		return 0
	}
	return max(a, b)
}

// pace thins frames to a rate by even spacing.
type pace struct{ next time.Duration }

// slack is the part of an interval that a frame may come early by: sources jitter.
const slack = 0.25

// Take tells whether the frame of this moment is to be taken; fps ≤ 0 takes all.
func (p *pace) Take(at time.Duration, fps float64) bool {
	if fps <= 0 {
		p.next = at
		return true
	}
	interval := time.Duration(float64(time.Second) / fps)
	if at < p.next-time.Duration(slack*float64(interval)) && p.next-at <= 2*interval {
		return false
	}
	p.next += interval
	if p.next < at || p.next > at+2*interval {
		p.next = at + interval
	}
	return true
}
