package origin

import (
	"maps"
	"slices"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
)

const (
	demandLives = 2 * time.Second
	maxReaders  = 1024
	maxReader   = 128 // bytes of a reader's name
	// slowest is the lowest rate that can be asked for, frames a second.
	slowest = 0.01
)

// want is what all readers together want of a stream.
type want struct {
	rungs  uint8   // a bit for each rung
	fps    float64 // the highest asked for; 0 means all
	raw    bool    // frames on the readers' subject
	rawFPS float64
}

// demand merges the Feedback of a stream's readers. It is pure: times come in.
type demand struct {
	always  bool // the whole of it at full size, whoever asks
	readers map[string]reader
}

type reader struct {
	want
	at         time.Time
	sentUs     int64
	receivedUs int64
}

func newDemand(always bool) *demand { return &demand{always: always, readers: map[string]reader{}} }

// hear takes note of a reader's Feedback, received at `at` and, by the owner's clock, at us.
func (d *demand) hear(f *pb.Feedback, at time.Time, us int64) {
	name := f.GetReader()
	if _, known := d.readers[name]; !known && len(d.readers) >= maxReaders || len(name) > maxReader {
		return
	}
	r := reader{at: at, sentUs: f.GetSentUs(), receivedUs: us}
	for _, rung := range f.GetRungs() {
		if n := rung.GetRung(); n >= 0 && int(n) < frame.Rungs {
			r.fps = faster(r.rungs != 0, r.fps, rung.GetMaxFps())
			r.rungs |= 1 << n
		}
	}
	if raw := f.GetRaw(); raw != nil {
		r.raw, r.rawFPS = true, rate(raw.GetMaxFps())
	}
	d.readers[name] = r
}

// merged forgets readers that have been silent and sums up what the others want.
func (d *demand) merged(now time.Time) want {
	var all want
	if d.always {
		all.rungs = 1 << frame.Full
	}
	for name, r := range d.readers {
		if now.Sub(r.at) > demandLives {
			delete(d.readers, name)
			continue
		}
		if r.rungs != 0 {
			all.fps = faster(all.rungs != 0, all.fps, r.fps)
			all.rungs |= r.rungs
		}
		if r.raw {
			all.rawFPS = faster(all.raw, all.rawFPS, r.rawFPS)
			all.raw = true
		}
	}
	return all
}

// echoes returns each reader's newest time, so that it can tell its clock from the owner's.
func (d *demand) echoes() []*pb.ReaderEcho {
	var out []*pb.ReaderEcho
	for _, name := range slices.Sorted(maps.Keys(d.readers)) {
		r := d.readers[name]
		out = append(out, &pb.ReaderEcho{Reader: name, SentUs: r.sentUs, ReceivedUs: r.receivedUs})
	}
	return out
}

// faster is the higher of two rates, 0 being all; a counts only if there is one.
func faster(is bool, a, b float64) float64 {
	b = rate(b)
	if !is {
		return b
	}
	if a == 0 || b == 0 {
		return 0
	}
	return max(a, b)
}

// rate makes sense of a rate that a stranger asked for.
func rate(fps float64) float64 {
	if !(fps > 0) { // NaN too
		return 0
	}
	return max(fps, slowest)
}

// thinner lets frames through at an even pace.
type thinner struct{ next time.Time }

// take tells whether the frame captured at `at` is one of the wanted rate (0 means all) of a source that gives have
// frames a second.
func (t *thinner) take(at time.Time, wanted, have float64) bool {
	if wanted == 0 {
		t.next = time.Time{}
		return true
	}
	period := time.Duration(float64(time.Second) / wanted)
	early := period / 2
	if have > 0 {
		early = min(early, time.Duration(float64(time.Second)/have)/2)
	}
	if ahead := t.next.Sub(at); ahead > early && ahead <= period {
		return false
	}
	if behind := at.Sub(t.next); behind > period || behind < -period {
		t.next = at // the first, after a pause, or of another rate
	}
	t.next = t.next.Add(period)
	return true
}
