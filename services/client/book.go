package client

import (
	"context"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
)

// stream is one stream's book. The Viewer's lock guards it.
type stream struct {
	name       string
	maxFPS     float64
	sel        *pb.Select // what is wanted, nil where it is as Config says
	selDue     bool
	traceDue   bool
	paintEvery bool
	paintTold  time.Time // the last report
	paint      paint
	gateway    *pb.Stats

	last    frame.Header
	lastAt  time.Time // zero before the first frame
	away    bool      // there was no connection since last
	paused  bool      // a gap is asked for
	window  window
	least   least // the reader's
	frames  uint64
	bytes   uint64
	taken   uint64
	displ   uint64
	missed  uint64
	missedA uint64
	late    uint64
}

// paint is what the receiver took since the last report.
type paint struct {
	due             bool
	channel         uint16
	epoch, sequence uint64
	at              time.Time
	taken, dropped  uint32
	sampled         bool // its trace waits for the report
	prompt          bool // it is not to wait for the next one that is due
}

// received takes a binary message.
func (v *Viewer) received(ctx context.Context, buf []byte) error {
	at := v.now()
	h, picture, err := parse(v.cfg.Format, buf)
	v.spare.saw(len(buf))
	f := &Frame{Header: h, JPEG: picture, ReceivedAt: at, buf: buf, home: v.spare}
	if !v.book(f, len(buf), err) {
		f.Release()
		return nil
	}
	if !v.cfg.Every && v.cfg.Format == V1 && f.st.least.stale(&h, at) {
		v.passedOver(f)
		return nil
	}
	old, err := v.box.put(ctx, f)
	if old != nil {
		v.displaced(old)
	}
	return err
}

// book counts a frame and tells whether it is to be shown.
func (v *Viewer) book(f *Frame, size int, err error) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.total.bytes += uint64(size)
	st := v.streams[0]
	if err == nil && v.cfg.Format == V1 {
		st, err = v.channel(f.Header.Channel)
	}
	if err != nil {
		v.total.malformed++
		return false
	}
	f.st, f.Stream = st, st.name
	advance := uint64(1)
	if v.cfg.Format == V1 {
		if !st.follows(&f.Header, f.ReceivedAt) {
			st.late++
			return false
		}
		if !st.lastAt.IsZero() && f.Header.Epoch == st.last.Epoch {
			f.Missed = f.Header.Sequence - st.last.Sequence - 1
		}
		switch {
		case st.paused:
		case st.away:
			st.missedA += f.Missed
		default:
			st.missed += f.Missed
			advance += f.Missed
		}
	}
	f.age, f.uncertainty = v.age(st, f)
	st.paused, st.away = false, false
	st.last, st.lastAt = f.Header, f.ReceivedAt
	st.frames++
	st.bytes += uint64(len(f.JPEG))
	st.window.add(sample{
		at: f.ReceivedAt, capturedUs: f.Header.CapturedUs, bytes: size, advance: advance,
		age: f.age, uncertainty: f.uncertainty,
	})
	return true
}

// follows tells whether a frame is newer than the last. Of two owners the one with the greater epoch counts, until it
// has been silent for a while.
func (st *stream) follows(h *frame.Header, at time.Time) bool {
	return st.lastAt.IsZero() || h.Later(st.last.Epoch, st.last.Sequence) ||
		h.Epoch < st.last.Epoch && at.Sub(st.lastAt) > stale
}

// age of a frame as it was read, on the gateway's clock; the uncertainty is -1 where it is not known.
func (v *Viewer) age(st *stream, f *Frame) (age, uncertainty time.Duration) {
	if v.cfg.Format != V1 {
		return 0, -1
	}
	offset, uncertainty := v.clock.best(f.ReceivedAt)
	if uncertainty < 0 {
		return 0, -1
	}
	us := f.ReceivedAt.Add(offset).UnixMicro() - f.Header.CapturedUs
	if c := st.gateway.GetOrigin(); c != nil {
		us -= c.OffsetUs
		uncertainty += time.Duration(c.UncertaintyUs) * time.Microsecond
	}
	return time.Duration(us) * time.Microsecond, uncertainty
}

// passedOver counts a frame that is too old to be shown. The gateway hears that the client is done with it.
func (v *Viewer) passedOver(f *Frame) {
	p := f.paint()
	v.mu.Lock()
	f.st.displ++
	p.due, p.at = true, v.now()
	p.taken, p.dropped = f.st.paint.taken, f.st.paint.dropped+1
	f.st.paint = p
	v.mu.Unlock()
	f.Release()
	v.poke()
}

// displaced counts a frame that nobody got.
func (v *Viewer) displaced(f *Frame) {
	v.mu.Lock()
	f.st.displ++
	f.st.paint.dropped++
	v.mu.Unlock()
	f.Release()
}

// painted counts a frame that the receiver took.
func (v *Viewer) painted(st *stream, p paint) {
	v.mu.Lock()
	st.taken++
	p.due, p.at = true, v.now()
	p.taken, p.dropped = st.paint.taken+1, st.paint.dropped
	p.prompt = st.paint.prompt || st.paintEvery || p.sampled && p.at.Sub(st.paintTold) >= promptEvery
	st.paint = p
	now := p.prompt
	v.mu.Unlock()
	if now {
		v.poke()
	}
}
