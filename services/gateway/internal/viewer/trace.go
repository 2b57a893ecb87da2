package viewer

import (
	"slices"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/gateway/internal/picture"
	"github.com/framebus/framebus/services/internal/span"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

const (
	// deliverWithin is how long a delivery's span may last.
	deliverWithin = time.Second
	// maxOpen bounds the deliveries that are told at once; when it is full further pictures' are not.
	maxOpen = 64
)

// What ends a delivery.
const (
	byPainted = "painted"
	byPong    = "pong"
	byHost    = "host"    // the client's, where no pongs come: its kernel has it
	byWritten = "written" // where nothing acknowledges
	bySkip    = "skip"
	byClose   = "close"
	byTimeout = "timeout"
)

// chosen is why a picture has another rung than the sampled one before, where the viewer wanted it so.
const chosen = "chosen"

// traces are the spans of sampled pictures' ways to one viewer, from the hub's offer on. The viewer's lock guards them.
type traces struct {
	begun   time.Time // what times are since
	viewer  string
	open    []*delivery // bound: maxOpen
	writing *delivery   // whose bytes are being written
}

// delivery is one of them.
type delivery struct {
	p     *picture.Picture
	lane  *lane
	span  trace.Span
	began time.Duration
	sent  time.Duration // 0: it waits
	last  time.Duration // something happened
	plain bool          // nothing acknowledges it
}

// traced is what was last told of a stream's pictures.
type traced struct {
	any      bool
	rung     frame.Rung
	quality  uint8
	why      string // the viewer's rung last changed
	painting bool   // the client tells what it paints
}

func (t *traces) at(d time.Duration) time.Time { return t.begun.Add(d) }

// offered begins the delivery of a sampled picture; acked tells whether anything will acknowledge it.
func (t *traces) offered(p *picture.Picture, l *lane, f picture.Format, acked bool, now time.Duration) {
	if len(t.open) == maxOpen || t.find(p) != nil || !p.Trace.Take() {
		return
	}
	s := span.Child(p.Trace.Tracer, p.Trace.Parent, span.Deliver, t.at(now), trace.SpanKindInternal,
		append(span.Picture(l.tuning.Stream, &p.Header),
			span.Viewer.String(t.viewer), span.Format.String(f.String()))...)
	t.open = append(t.open, &delivery{p: p, lane: l, span: s, began: now, plain: !acked})
}

// find is a picture's delivery while it waits.
func (t *traces) find(p *picture.Picture) *delivery {
	for _, d := range t.open {
		if d.p == p && d.sent == 0 {
			return d
		}
	}
	return nil
}

// sent is told that a picture is being written.
func (t *traces) sent(p *picture.Picture, l *lane, now time.Duration) {
	d := t.find(p)
	if d == nil || t.over(d, now) {
		return
	}
	d.sent = now
	t.writing = d
	t.happened(d, span.Sent, now)
	h, was := &p.Header, &l.traced
	switch {
	case !was.any:
	case was.rung != h.Rung:
		t.happened(d, span.RungChanged, now, span.From.String(was.rung.String()),
			span.Rung.String(h.Rung.String()), span.Reason.String(was.why))
	case was.quality != h.Quality:
		span.Requalified(d.span, int(was.quality), int(h.Quality), t.at(now))
	}
	was.any, was.rung, was.quality = true, h.Rung, h.Quality
}

// wrote is told that the socket has taken what was being written.
func (t *traces) wrote() {
	d := t.writing
	if d == nil {
		return
	}
	t.writing = nil
	if now := time.Since(t.begun); !t.over(d, now) {
		t.happened(d, span.Written, now)
		if d.plain {
			t.end(d, byWritten, now)
		}
	}
}

// acknowledged is told that the client, or its host, has read all that was sent until then.
func (t *traces) acknowledged(by string, sent, now time.Duration) {
	for _, d := range slices.Clone(t.open) {
		if d.sent == 0 || d.sent > sent || t.over(d, now) {
			continue
		}
		t.happened(d, span.Acknowledged, now)
		if !d.lane.traced.painting {
			t.end(d, by, now)
		}
	}
}

// painted is told what the client has shown of a stream: that picture, and none before it any more.
func (t *traces) painted(l *lane, p *pb.Painted, now time.Duration) {
	l.traced.painting = true
	for _, d := range slices.Clone(t.open) {
		h := &d.p.Header
		if d.lane != l || d.sent == 0 || h.Later(p.GetEpoch(), p.GetSequence()) || t.over(d, now) {
			continue
		}
		at := now
		if h.Epoch == p.GetEpoch() && h.Sequence == p.GetSequence() { // the time is the client's, by the gateway's clock
			at = min(max(time.UnixMicro(p.GetPaintedUs()).Sub(t.begun), d.sent), now)
		}
		t.happened(d, span.Painted, at, span.PaintedSequence.Int64(int64(p.GetSequence())))
		t.end(d, byPainted, max(at, d.last)) // its pong may come later than it was painted
	}
}

// skipped is told that a picture that waited is not sent.
func (t *traces) skipped(p *picture.Picture, why Reason) {
	d, now := t.find(p), time.Since(t.begun)
	if d == nil || t.over(d, now) {
		return
	}
	by := bySkip
	if why == Closed {
		by = byClose
	}
	d.span.SetAttributes(span.Reason.String(why.String()))
	t.happened(d, span.Dropped, now, span.Reason.String(why.String()))
	t.end(d, by, now)
}

// closed is told that the connection ends.
func (t *traces) closed() {
	for _, d := range slices.Clone(t.open) {
		if now := time.Since(t.begun); !t.over(d, now) {
			t.end(d, byClose, now)
		}
	}
}

// expire ends what has lasted too long.
func (t *traces) expire(now time.Duration) {
	if len(t.open) == 0 {
		return
	}
	for _, d := range slices.Clone(t.open) {
		t.over(d, now)
	}
}

// over tells whether a delivery has ended, which it has when its time is over, whatever comes later.
func (t *traces) over(d *delivery, now time.Duration) bool {
	if d.span == nil {
		return true
	}
	if now-d.began >= deliverWithin {
		t.end(d, byTimeout, d.began+deliverWithin)
		return true
	}
	return false
}

func (t *traces) happened(d *delivery, event string, at time.Duration, list ...attribute.KeyValue) {
	d.last = max(d.last, at)
	span.Happened(d.span, event, t.at(at), list...)
}

func (t *traces) end(d *delivery, by string, at time.Duration) {
	d.span.SetAttributes(span.EndedBy.String(by))
	span.End(d.span, t.at(at))
	d.span = nil
	t.open = slices.DeleteFunc(t.open, func(o *delivery) bool { return o == d })
}
