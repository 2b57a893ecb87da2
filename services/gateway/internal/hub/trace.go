package hub

import (
	"errors"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/gateway/internal/picture"
	"github.com/framebus/framebus/services/internal/span"
	"go.opentelemetry.io/otel/trace"
)

// deliveries is how many of a frame's viewers have their delivery traced.
const deliveries = 10

// process begins the span of a picture off the bus; nil where spans go nowhere.
func (f *feed) process(a *arrival) trace.Span {
	m := span.Message{
		Subject: subject.JPEG(f.stream.name, f.rung), Traceparent: a.parent, Bytes: frame.HeaderLen + len(a.jpeg),
	}
	tracer := f.stage.Tracer(f.h.d.Tracer)
	s := span.Process(tracer, m, f.h.start.Add(a.at.Sub(f.h.start)), span.Picture(f.stream.name, &a.head)...)
	if !s.IsRecording() {
		return nil
	}
	return s
}

// offerTraced offers a sampled picture, within its trace.
func (f *feed) offerTraced(p *picture.Picture, a *arrival) {
	s := f.process(a)
	if s == nil {
		f.offer(p)
		return
	}
	p.Trace = picture.NewTrace(f.h.deliver.Tracer(f.h.d.Tracer), s.SpanContext(), deliveries)
	f.offer(p)
	span.End(s, f.h.Now())
}

// askersFirst has those who asked for a trace among the viewers whose delivery is told.
func (f *feed) askersFirst(seats []*seat) []*seat {
	var first, rest []*seat
	for _, seat := range seats {
		if seat.uses(f.rung) && seat.asked.Swap(false) {
			first = append(first, seat)
		} else {
			rest = append(rest, seat)
		}
	}
	return append(first, rest...)
}

// traceDrop tells the trace of a picture that no viewer is offered. Only sampled ones bring a traceparent.
func (f *feed) traceDrop(a *arrival, why fate) {
	if a.parent == "" {
		return
	}
	if s := f.process(a); s != nil {
		if why == malformed {
			span.Fail(s, fateNames[why], errors.New("no picture that could be shown"))
		}
		span.Drop(s, fateNames[why], f.h.Now())
	}
}
