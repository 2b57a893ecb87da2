package origin

import (
	"errors"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/span"
	"go.opentelemetry.io/otel/trace"
)

// grudgeEvery is how often it is logged that the bus refuses frames.
const grudgeEvery = time.Minute

// serve publishes the newest frame, if there is one and an encoder has room.
func (o *Origin) serve() {
	now := time.Now()
	o.mu.Lock()
	if p, ok := o.slot.TryTake(); ok {
		if o.hand != nil {
			o.supersede(o.hand, p)
		}
		o.hand = p
	}
	p := o.hand
	if p == nil {
		o.mu.Unlock()
		return
	}
	to, picked, how := "", false, inline
	if p.jpeg {
		to, picked = o.credit.pick(now)
	}
	if picked && p.at.in != nil && o.credit.hasMapped(to, p.at.in.ID()) {
		how = byReference
	}
	copyRaw := p.raw
	p.raw = false
	if !picked && p.jpeg && now.Sub(p.taken) > waitLimit {
		o.hand = nil
		o.drop(p, noEncoder)
		o.mu.Unlock()
		return
	}
	o.mu.Unlock()

	if picked {
		o.send(p, to, how)
	}
	if copyRaw {
		// A reader's copy that the bus does not take is not worth another try; the encoder's tells why.
		_ = o.publish(p, bus.Msg{Subject: o.raw, Traceparent: span.Traceparent(p.capture)}, inline)
	}
	if picked || !p.jpeg {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.hand == p { // not sent to be kept
			o.hand = nil
			o.release(p)
		}
	}
}

// send gives the frame in hand to an encoder and keeps it until the next is sent. One that the bus does not take is
// dropped, and still in hand.
func (o *Origin) send(p *picture, to string, how way) {
	at := time.Now()
	m := bus.Msg{Subject: o.subject(to), Reply: o.done}
	var traced trace.Span
	var span trace.SpanContext
	if p.sampled {
		traced, m.Traceparent = o.sending(p, m.Subject, how)
		if traced != nil {
			span = traced.SpanContext()
		}
	}
	err := o.publish(p, m, how)
	if traced != nil {
		o.sent(p, traced, err)
	}
	if err != nil {
		o.refuse(p, err)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.credit.sent(to, sent{p.id(), at, span})
	o.acct.sent(p.head.Sequence, to)
	o.busCause = ""
	o.mem.handed[how]++
	if how == byReference {
		o.mem.lend(p.id(), p.at)
	}
	o.forgetKept()
	o.hand, o.kept, o.keptAt = nil, p, to
}

// errCut: what the frame was is not known any more.
var errCut = errors.New("somebody has cut the file of shared memory that the frame lay in")

func (o *Origin) publish(p *picture, m bus.Msg, how way) error {
	if !p.at.whole() {
		return errCut
	}
	o.mu.Lock()
	p.head.SetHop(frame.Published, o.clock.wall(time.Now()))
	o.mu.Unlock()
	if how == inline {
		p.head.Put(p.buf)
		m.Data = p.buf
		return o.d.Bus.Data.Publish(m)
	}
	m.Data = p.refer(o.referring[:])
	err := o.d.Bus.Data.Publish(m)
	if err != nil {
		p.at.in.Retire(p.at.slot) // it may be out all the same
	}
	return err
}

// refer writes to b the message that says where the picture lies.
func (p *picture) refer(b []byte) []byte {
	h, ref := p.head, p.at.reference(int(p.head.PayloadLen))
	h.Flags |= frame.FlagReference
	h.PayloadLen = frame.ReferenceLen
	h.Put(b)
	ref.Put(b[frame.HeaderLen:])
	return b
}

// length of the message that hands a picture over, bytes.
func (p *picture) length(how way) int {
	if how == byReference {
		return frame.HeaderLen + frame.ReferenceLen
	}
	return len(p.buf)
}

// refuse books a frame that the bus did not take.
func (o *Origin) refuse(p *picture, err error) {
	why, cause := refusal(err), ""
	if why == tooLarge {
		cause = err.Error()
	}
	o.mu.Lock()
	o.acct.drop(p.head.Sequence, why)
	fresh := cause != "" && o.busCause == ""
	if fresh {
		o.busCause = cause
	}
	o.mu.Unlock()
	if fresh {
		o.d.Roster.Changed()
	}
	if why != disconnected { // the bus says that itself
		o.grudge(err.Error())
	}
}

// refusal says why the bus did not take a frame.
func refusal(err error) reason {
	switch {
	case errors.Is(err, bus.ErrTooLarge):
		return tooLarge
	case errors.Is(err, bus.ErrDisconnected):
		return disconnected
	case errors.Is(err, errCut):
		return memoryCut
	default:
		return busFailed
	}
}

// grudge logs that the bus refuses frames, once a minute.
func (o *Origin) grudge(cause string) {
	if now := time.Now(); o.lastGrudge.IsZero() || now.Sub(o.lastGrudge) >= grudgeEvery {
		o.lastGrudge = now
		o.log.Error("frames do not reach the bus", "cause", cause)
	}
}

// subject of the frames to an encoder, remembered so that none is built per frame.
func (o *Origin) subject(encoder string) string {
	s, ok := o.subjects[encoder]
	if !ok {
		if len(o.subjects) >= maxPeers {
			clear(o.subjects)
		}
		s = subject.Raw(o.cfg.By, o.cfg.Stream, encoder)
		o.subjects[encoder] = s
	}
	return s
}

// probe asks an encoder whether it is there: an envelope without payload, which no book counts.
func (o *Origin) probe(encoder string, now time.Time) {
	o.mu.Lock()
	h := frame.NewHeader()
	h.Format, h.Width, h.Height = frame.I420, uint16(o.w), uint16(o.h)
	h.Epoch, h.CapturedUs = o.claim.epoch, o.clock.us(now)
	o.mu.Unlock()
	o.pings++
	h.Sequence = o.pings
	h.Put(o.ping[:])
	// Where the bus takes none, the next is tried in a second.
	_ = o.d.Bus.Data.Publish(bus.Msg{Subject: o.subject(encoder), Reply: o.done, Data: o.ping[:]})
}

// wantAlways has encoders know that the stream is wanted, as any reader would.
func (o *Origin) wantAlways(now time.Time) {
	o.mu.Lock()
	f := &pb.Feedback{
		Reader: o.me.Instance, Run: o.me.Run, Stream: o.cfg.Stream, SentUs: o.clock.us(now),
		Rungs: []*pb.RungDemand{{Rung: pb.Rung_RUNG_FULL}},
	}
	o.mu.Unlock()
	_ = o.d.Bus.Control.Send(subject.Feedback(o.cfg.Stream), f) // it is told again soon
}
