package encoder

import (
	"context"
	"sync"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/bus"
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
	mu      sync.Mutex
	since   time.Time // when it began to hear, the last time
	streams map[string]map[string]want
}

type want struct {
	rungs rungSet
	at    time.Time
}

func newDemand() *demand { return &demand{since: time.Now(), streams: map[string]map[string]want{}} }

// listen keeps the demand current until ctx ends.
func (d *demand) listen(ctx context.Context, c *bus.Conn) error {
	in := mailbox.NewQueue[bus.Msg](inbox)
	sub, err := c.Subscribe(subject.AllFeedback(), func(m bus.Msg) { in.Put(m) })
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
	var rungs rungSet
	for _, r := range f.GetRungs() {
		if n := r.GetRung(); n >= 0 && int(n) < frame.Rungs {
			rungs |= 1 << n
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	readers := d.streams[name]
	if rungs == 0 {
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
		readers[f.GetReader()] = want{rungs, now}
	}
}

// of tells which rungs of a stream are wanted. Until it has listened for a while it calls nothing undemanded.
func (d *demand) of(stream string, now time.Time) rungSet {
	d.mu.Lock()
	defer d.mu.Unlock()
	readers := d.streams[stream]
	rungs := expire(readers, now)
	if rungs == 0 && now.Sub(d.since) < patience {
		return onlyFull
	}
	return rungs
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
