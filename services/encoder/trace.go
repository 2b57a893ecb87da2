package encoder

import (
	"cmp"
	"errors"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/span"
	"go.opentelemetry.io/otel/trace"
)

// trace begins the span of a sampled frame that a worker has taken up. Where spans go nowhere there is none, and the
// trace goes on behind this encoder as if it were not there.
func (e *encoder) trace(j *job, taken time.Time) {
	s := e.process(j)
	if !s.IsRecording() {
		return
	}
	span.Happened(s, span.Taken, taken)
	j.span = s
}

func (e *encoder) process(j *job) trace.Span {
	m := span.Message{
		Subject: j.stream.raw, Traceparent: j.parent, Bytes: j.bytes,
		Reference: j.head.Flags&frame.FlagReference != 0,
	}
	return span.Process(e.stage.Tracer(e.d.Tracer), m, j.received.wall, span.Of(j.stream.name, &j.head)...)
}

// traced ends a sampled frame's span, or tells all of it where no worker has taken the frame up.
func (e *encoder) traced(j *job, o outcome) {
	s, now := j.span, e.clock.now().wall
	if s == nil {
		s = e.process(j)
	}
	if j.err != nil {
		span.Fail(s, errorType(o, j.err), j.err)
	}
	if o == encoded {
		span.End(s, now)
	} else {
		span.Drop(s, outcomeNames[o], now)
	}
	j.span = nil
}

// errorType is one of few words.
func errorType(o outcome, err error) string {
	switch {
	case errors.Is(err, bus.ErrDisconnected):
		return "disconnected"
	case errors.Is(err, bus.ErrTooLarge):
		return "too_large"
	default:
		return outcomeNames[cmp.Or(o, failed(err))] // encoded in part
	}
}

// rungTrace is the trace of one rung of a sampled frame.
type rungTrace struct {
	e            *encoder
	j            *job
	encode, sent trace.Span
}

// traceRung begins it; nil where the frame has no span.
func (e *encoder) traceRung(j *job, r frame.Rung, quality int) *rungTrace {
	if j.span == nil {
		return nil
	}
	began := e.clock.now().wall
	tracer := e.stages[r].Tracer(e.d.Tracer)
	s := span.Child(tracer, j.span.SpanContext(), span.Encode+r.String(), began, trace.SpanKindInternal,
		append(span.Of(j.stream.name, &j.head), span.Rung.String(r.String()), span.Quality.Int(quality))...)
	if was := int(j.stream.quality[r].Swap(int32(quality))); was != 0 && was != quality {
		span.Requalified(s, was, quality, began)
	}
	return &rungTrace{e: e, j: j, encode: s}
}

// send begins the span of publishing what was encoded then, and returns the context that travels with the picture.
func (t *rungTrace) send(h *frame.Header, m *bus.Msg, at time.Time) (traceparent string) {
	span.Happened(t.encode, span.Encoded, at)
	tracer := t.e.stages[h.Rung].Tracer(t.e.d.Tracer)
	t.sent = span.Send(tracer, t.encode.SpanContext(), span.Message{Subject: m.Subject, Bytes: len(m.Data)}, at,
		span.Picture(t.j.stream.name, h)...)
	return span.Traceparent(t.sent.SpanContext())
}

func (t *rungTrace) end(err error) {
	now := t.e.clock.now().wall
	for _, s := range []trace.Span{t.sent, t.encode} {
		if s == nil {
			continue
		}
		if err != nil {
			span.Fail(s, errorType(failed(err), err), err)
		}
		span.End(s, now)
	}
}
