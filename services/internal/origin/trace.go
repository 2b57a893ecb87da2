package origin

import (
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/internal/span"
	"go.opentelemetry.io/otel/trace"
)

// A frame's trace begins when its fate here is known: with its sending, or with its being dropped. Its spans bear the
// times that the frame had itself.

// capturing begins the frame's first span.
func (o *Origin) capturing(p *picture) trace.Span {
	h := &p.head
	return span.Child(o.d.Tracer, trace.SpanContext{}, span.Capture, time.UnixMicro(h.CapturedUs), trace.SpanKindInternal,
		append(span.Of(o.cfg.Stream, h), span.Width.Int(int(h.Width)), span.Height.Int(int(h.Height)))...)
}

// wallNow is now by the clock that frames' times are of.
func (o *Origin) wallNow() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.clock.wall(time.Now())
}

// sending begins the span of publishing a sampled frame and marks its envelope. A sampler may have decided against it:
// then the frame is not sampled.
func (o *Origin) sending(p *picture, to string, how way) (s trace.Span, traceparent string) {
	if !p.capture.IsValid() { // else it is sent once more, in the same trace
		p.span = o.capturing(p)
		p.capture = p.span.SpanContext()
	}
	if !p.capture.IsSampled() {
		p.sampled, p.span = false, nil
		return nil, ""
	}
	m := span.Message{Subject: to, Bytes: p.length(how), Reference: how == byReference}
	s = span.Send(o.d.Tracer, p.capture, m, o.wallNow(), span.Of(o.cfg.Stream, &p.head)...)
	sc := s.SpanContext()
	p.head.TraceID = sc.TraceID()
	p.head.Flags |= frame.FlagSampled
	return s, span.Traceparent(sc)
}

// sent ends what sending began, and the frame's first span with it.
func (o *Origin) sent(p *picture, s trace.Span, err error) {
	now := o.wallNow()
	if err != nil {
		word := reasonWords[refusal(err)]
		span.Fail(s, word, err)
		span.End(s, now)
		if p.span != nil {
			span.Drop(p.span, word, now)
		}
	} else {
		span.End(s, now)
		if p.span != nil {
			span.End(p.span, now)
		}
	}
	p.span = nil
}

// dropped tells the trace of a sampled frame that goes to no encoder. One that was sent before has told its own. The
// caller holds mu.
func (o *Origin) dropped(p *picture, why reason) {
	if !p.capture.IsValid() {
		span.Drop(o.capturing(p), reasonWords[why], o.clock.wall(time.Now()))
	}
}
