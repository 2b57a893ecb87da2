package origin

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// sampleEvery is how far apart traced frames of a stream are, where no sampler overrules it.
const sampleEvery = time.Second

// sampler decides which frames are traced and draws their first spans.
type sampler struct {
	tracer    trace.Tracer
	on, all   bool
	stream    attribute.KeyValue
	template  attribute.KeyValue
	next      time.Time
	forced    *atomic.Bool
	published string
}

func newSampler(d Deps, cfg Config) sampler {
	s := sampler{
		tracer: d.Tracer, on: d.Tracing, all: d.SampleAll, forced: &atomic.Bool{},
		stream:    attribute.String("framebus.stream", cfg.Stream),
		template:  attribute.String("messaging.destination.template", "framebus.v1.raw.{by}.{stream}.{encoder}"),
		published: "send framebus.v1.raw.{by}.{stream}.{encoder}",
	}
	if s.tracer == nil {
		s.tracer = noop.NewTracerProvider().Tracer("")
	}
	return s
}

// force has the next frame traced.
func (s *sampler) force() { s.forced.Store(true) }

// begin starts the trace of a frame, if it is to have one.
func (s *sampler) begin(p *picture) {
	if !s.on || p.sampled {
		return
	}
	p.sampled = true
	if !s.all && !s.forced.Swap(false) && p.at.Before(s.next) {
		return
	}
	s.next = p.at.Add(sampleEvery)
	_, span := s.tracer.Start(context.Background(), "capture frame", trace.WithTimestamp(p.at), trace.WithAttributes(
		s.stream, attribute.Int64("framebus.sequence", int64(p.header.Sequence)),
		attribute.Int64("framebus.epoch", int64(p.header.Epoch)),
	))
	span.End()
	if sc := span.SpanContext(); sc.IsSampled() {
		p.span = span
		p.header.TraceID = sc.TraceID()
		p.header.Flags |= frame.FlagSampled
	}
}

var nothing = func(error) {}

// publishing starts the span of a frame's publishing; what it returns ends it.
func (s *sampler) publishing(p *picture, path string) func(error) {
	if p.span == nil {
		return nothing
	}
	ctx := trace.ContextWithSpan(context.Background(), p.span)
	_, span := s.tracer.Start(ctx, s.published, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		attribute.String("messaging.system", "nats"), attribute.String("messaging.operation.name", "send"),
		attribute.String("messaging.operation.type", "send"), attribute.String("messaging.destination.name", path),
		s.template, attribute.Int("messaging.message.body.size", len(p.buf)),
	))
	sc := span.SpanContext()
	p.traceparent = "00-" + sc.TraceID().String() + "-" + sc.SpanID().String() + "-01"
	return func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}
