package origin

import (
	"time"

	"github.com/framebus/framebus/proto/frame"
	"go.opentelemetry.io/otel/trace"
)

// picture is a frame on its way, with room for its envelope in front so that it is published as it lies. It belongs to
// whoever holds it and goes back to the pool.
type picture struct {
	buf     []byte // envelope and payload: in at, or else heap
	at      place
	heap    []byte
	head    frame.Header
	taken   time.Time // when it was captured
	jpeg    bool      // some rung is wanted: it goes to an encoder
	raw     bool      // raw readers get a copy
	sampled bool      // its trace is
	again   bool      // it was sent before and refused

	span    trace.Span        // of its capture, while it is being sent
	capture trace.SpanContext // that span's
}

func (p *picture) id() frameID { return frameID{p.head.Epoch, p.head.Sequence} }

// Begin says that a frame was captured and returns where its I420 pixels go, or nil where it is not wanted.
func (o *Origin) Begin(at time.Time, w, h int) []byte {
	return o.begin(at, frame.I420, w, h, frame.PayloadSize(frame.I420, w, h))
}

func (o *Origin) begin(at time.Time, format frame.Format, w, h, size int) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.claim.standing != owner || o.ending {
		return nil
	}
	o.w, o.h = w, h
	o.mem.ask(format, size)
	jpeg := o.want.rungs != 0 && o.jpegPace.take(at, o.want.fps, o.fps)
	raw := o.want.raw && o.rawPace.take(at, o.want.rawFPS, o.fps)
	if !jpeg && !raw {
		o.acct.capture(false)
		return nil
	}
	p := o.filling
	if p == nil {
		p = o.free[len(o.free)-1]
		o.free = o.free[:len(o.free)-1]
		o.filling = p
	}
	p.seat(&o.mem, size)
	p.head = frame.NewHeader()
	p.head.Format, p.head.Width, p.head.Height = format, uint16(w), uint16(h)
	p.head.Epoch, p.head.CapturedUs, p.head.PayloadLen = o.claim.epoch, o.clock.us(at), uint32(size)
	p.taken, p.jpeg, p.raw, p.again = at, jpeg, raw, false
	p.capture = trace.SpanContext{}
	p.sampled = jpeg && (o.traceNext || o.d.Sample != nil && o.d.Sample(at))
	return p.buf[frame.HeaderLen:]
}

// seat gives the picture memory, on the heap where there is no place, instead of what it had.
func (p *picture) seat(m *memory, size int) {
	p.at.leave()
	if p.at = m.take(size); p.at.in != nil {
		p.buf = p.at.bytes(size)
		return
	}
	if n := frame.HeaderLen + size; cap(p.heap) < n {
		p.heap = make([]byte, n)
	} else {
		p.heap = p.heap[:n]
	}
	p.buf = p.heap
}

// Commit says that the buffer of Begin is full. A frame whose epoch has ended meanwhile is void.
func (o *Origin) Commit() {
	if o.commit() {
		o.tidy() // nobody else does any more
	}
}

func (o *Origin) commit() (last bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.filling
	if p == nil {
		return false
	}
	o.filling = nil
	if o.ending || p.head.Epoch != o.claim.epoch {
		o.release(p)
		return o.over
	}
	p.head.Sequence = o.acct.capture(p.jpeg) // where no rung is wanted: the readers' copies are not in the book
	if p.sampled {
		o.traceNext = false
	}
	if old, displaced := o.slot.Put(p); displaced {
		o.supersede(old, p)
	}
	return false
}

// Offer is Begin and Commit of a picture that came as a JPEG of w×h px; it is copied where it is wanted. Encoders
// decode it, and refuse it where its data is damaged.
func (o *Origin) Offer(at time.Time, jpeg []byte, w, h int) {
	if buf := o.begin(at, frame.JPEG, w, h, len(jpeg)); buf != nil {
		copy(buf, jpeg)
		o.Commit()
	}
}

// State tells of the source.
func (o *Origin) State(live bool, cause string, fps float64) {
	o.mu.Lock()
	o.live, o.cause, o.fps = live, cause, fps
	o.mu.Unlock()
	o.d.Roster.Changed()
}

// supersede drops a frame for a newer one, and says what it waited for. The caller holds mu.
func (o *Origin) supersede(old, by *picture) {
	if old.sampled && by.jpeg && !by.sampled { // the next one will do
		by.sampled, old.sampled = true, false
	}
	why := superseded
	if up, _ := o.d.Bus.Data.Up(); !up {
		why = disconnected
	} else if !o.credit.anybody() {
		why = noEncoder
	}
	o.drop(old, why)
}

// drop books a frame that goes to no encoder, and frees it. The caller holds mu.
func (o *Origin) drop(p *picture, why reason) {
	if p.jpeg {
		o.acct.drop(p.head.Sequence, why)
	}
	if p.sampled {
		o.dropped(p, why)
	}
	o.release(p)
}

// release gives a picture back to the pool, and its slot. The caller holds mu.
func (o *Origin) release(p *picture) {
	p.at.leave()
	p.at, p.buf = place{}, nil
	o.free = append(o.free, p)
}
