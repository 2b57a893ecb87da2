package encoder

import (
	"context"
	"sync"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/adapt"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/instrument"
	"github.com/framebus/framebus/services/internal/mailbox"
)

const (
	demandLives = 2 * time.Second
	// patience is one period of Feedback and a little: until then whoever wants a stream may not have been heard.
	patience = 300 * time.Millisecond

	maxStreams = 1024
	maxReaders = 1024 // a stream
	// inbox bounds the Feedback not yet looked at; when full the oldest is dropped, a newer one being on its way.
	inbox = 1024
)

// rungSet has a bit for each rung.
type rungSet uint8

func (s rungSet) has(r frame.Rung) bool { return s&(1<<r) != 0 }

const onlyFull = rungSet(1 << frame.Full)

// demand knows which rungs of which streams anybody wants. It is safe for concurrent use.
type demand struct {
	lim       adapt.Limits
	displaced instrument.Counter

	mu      sync.Mutex
	since   time.Time // when it began to hear, the last time
	streams map[string]map[string]want
}

// want is a reader's newest word.
type want struct {
	rungs rungSet
	of    [frame.Rungs]*pb.RungDemand // nil where it does not want the rung
	at    time.Time
}

// wish is what all readers of a stream come to: rungs, and the quality of each.
type wish struct {
	rungs   rungSet
	quality [frame.Rungs]int
}

func newDemand(lim adapt.Limits, displaced instrument.Counter) *demand {
	return &demand{lim: lim, displaced: displaced, since: time.Now(), streams: map[string]map[string]want{}}
}

// listen keeps the demand current until ctx ends.
func (d *demand) listen(ctx context.Context, c *bus.Conn) error {
	in := mailbox.NewQueue[bus.Msg](inbox)
	sub, err := c.Subscribe(subject.AllFeedback(), func(m bus.Msg) {
		if _, displaced := in.Put(m); displaced {
			d.displaced.Add(1)
		}
	})
	if err != nil {
		return err
	}
	defer sub.Unsubscribe()
	defer c.Watch(func(up bool) {
		if up {
			d.begin(time.Now())
		}
	})()
	for {
		m, err := in.Take(ctx)
		if err != nil {
			return nil // the end
		}
		d.hear(m, time.Now())
	}
}

func (d *demand) begin(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.since = now
}

func (d *demand) hear(m bus.Msg, now time.Time) {
	name, err := subject.ParseFeedback(m.Subject)
	f := &pb.Feedback{}
	if err != nil || bus.Decode(m, f) != nil {
		return // not a reader's word; there is nobody to tell
	}
	w := want{at: now}
	for _, r := range f.GetRungs() {
		if n := r.GetRung(); n >= 0 && int(n) < frame.Rungs {
			w.rungs |= 1 << n
			w.of[n] = r
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	readers := d.streams[name]
	if w.rungs == 0 {
		delete(readers, f.GetReader())
		return
	}
	if readers == nil {
		if len(d.streams) >= maxStreams {
			d.sweep(now)
		}
		if len(d.streams) >= maxStreams {
			return
		}
		readers = map[string]want{}
		d.streams[name] = readers
	}
	if _, known := readers[f.GetReader()]; known || len(readers) < maxReaders {
		readers[f.GetReader()] = w
	}
}

// of tells what is wanted of a stream. Until it has listened for a while it calls nothing undemanded.
func (d *demand) of(stream string, now time.Time) wish {
	d.mu.Lock()
	defer d.mu.Unlock()
	readers := d.streams[stream]
	out := wish{rungs: expire(readers, now)}
	if out.rungs == 0 && now.Sub(d.since) < patience {
		out.rungs = onlyFull
	}
	for r := range out.quality {
		if out.rungs.has(frame.Rung(r)) {
			out.quality[r] = d.quality(readers, r)
		}
	}
	return out
}

// quality of a rung is a function of what its readers say alone, so that all encoders come to the same.
func (d *demand) quality(readers map[string]want, r int) int {
	var budgets adapt.Histogram
	var best *pb.RungDemand // the best sampled
	for _, w := range readers {
		if o := w.of[r]; o != nil {
			budgets.Merge(o.GetBudgets())
			if best == nil || o.GetSamples() > best.GetSamples() ||
				o.GetSamples() == best.GetSamples() && o.GetSize80() > best.GetSize80() {
				best = o
			}
		}
	}
	return adapt.Quality(r, &budgets, float64(best.GetSize80()), d.lim)
}

func (d *demand) sweep(now time.Time) {
	for name, readers := range d.streams {
		if expire(readers, now) == 0 {
			delete(d.streams, name)
		}
	}
}

func expire(readers map[string]want, now time.Time) rungSet {
	var rungs rungSet
	for reader, w := range readers {
		if now.Sub(w.at) > demandLives {
			delete(readers, reader)
		} else {
			rungs |= w.rungs
		}
	}
	return rungs
}
