// Package span says how the spans of a frame look, whichever service makes them: their names, their attributes by
// OpenTelemetry's semantic conventions, and how a span's context travels in a message. It knows the OpenTelemetry API
// and neither the SDK nor the bus. All of it is for sampled frames alone: whether a frame is one is asked before, so
// that the others cost nothing.
package span

import (
	"context"
	"strings"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/proto/subject"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Names of spans that are no message's.
const (
	Capture = "capture frame"
	Encode  = "encode " // and the rung
	Deliver = "deliver"
)

// Events of spans.
const (
	Taken          = "taken"        // up by an encoder
	Encoded        = "encoded"      // the JPEG is made
	Dropped        = "dropped"      // with Reason
	Sent           = "sent"         // to a viewer's socket: there was credit
	Written        = "written"      // the socket has taken all of it
	Acknowledged   = "acknowledged" // by the viewer's pong
	Painted        = "painted"      // by the viewer, which told so
	RungChanged    = "rung changed"
	QualityChanged = "quality changed"
)

// Attributes that no convention has. Reason says in one word why a frame was dropped, or why something changed.
const (
	Stream   = attribute.Key("framebus.stream")
	Epoch    = attribute.Key("framebus.epoch")
	Sequence = attribute.Key("framebus.sequence")
	Rung     = attribute.Key("framebus.rung")
	Quality  = attribute.Key("framebus.quality")
	Width    = attribute.Key("framebus.width")
	Height   = attribute.Key("framebus.height")
	Reason   = attribute.Key("framebus.reason")
	From     = attribute.Key("framebus.from") // what it was before a change
	Viewer   = attribute.Key("framebus.viewer")
	Format   = attribute.Key("framebus.format")
	// ByReference is set where a raw frame's message says where in shared memory the picture lies.
	ByReference = attribute.Key("framebus.by_reference")
	// EndedBy says what ended a Deliver: painted, pong, written, skip, close or timeout.
	EndedBy = attribute.Key("framebus.ended_by")
	// PaintedSequence is of the frame that the viewer told of: this one's, or a later one's.
	PaintedSequence = attribute.Key("framebus.painted.sequence")
)

const (
	send    = "send"
	process = "process"
)

// Sampled tells whether a frame's trace is sampled and can be gone on with: the one question that every frame is asked.
func Sampled(h *frame.Header, traceparent string) bool {
	return h.Flags&frame.FlagSampled != 0 && traceparent != ""
}

// Message is what a span of sending or of processing is about.
type Message struct {
	Subject     string
	Traceparent string // of the one that sent it, to be processed
	Bytes       int
	Reference   bool // it says where the picture lies instead of carrying it
}

// Send begins the span of publishing a message.
func Send(t trace.Tracer, parent trace.SpanContext, m Message, at time.Time, more ...attribute.KeyValue) trace.Span {
	return start(t, parent, m, at, send, semconv.MessagingOperationTypeSend, trace.SpanKindProducer, more)
}

// Process begins the span of what is done with a message.
func Process(t trace.Tracer, m Message, at time.Time, more ...attribute.KeyValue) trace.Span {
	return start(t, Parent(m.Traceparent), m, at, process, semconv.MessagingOperationTypeProcess,
		trace.SpanKindConsumer, more)
}

func start(t trace.Tracer, parent trace.SpanContext, m Message, at time.Time, operation string,
	kind attribute.KeyValue, role trace.SpanKind, more []attribute.KeyValue,
) trace.Span {
	template := templateOf(m.Subject)
	list := append([]attribute.KeyValue{
		system, semconv.MessagingOperationName(operation), kind, semconv.MessagingDestinationName(m.Subject),
		semconv.MessagingDestinationTemplate(template), semconv.MessagingMessageBodySize(m.Bytes),
	}, more...)
	if m.Reference {
		list = append(list, ByReference.Bool(true))
	}
	return Child(t, parent, operation+" "+template, at, role, list...)
}

// system is NATS, which the conventions have no word for yet.
var system = semconv.MessagingSystemKey.String("nats")

func templateOf(name string) string {
	if strings.HasPrefix(name, rawPrefix) {
		return subject.RawTemplate
	}
	return subject.JPEGTemplate
}

var rawPrefix, _, _ = strings.Cut(subject.RawTemplate, "{")

// Child begins a span below parent, or a trace where that is none.
func Child(t trace.Tracer, parent trace.SpanContext, name string, at time.Time, kind trace.SpanKind,
	list ...attribute.KeyValue,
) trace.Span {
	ctx := trace.ContextWithSpanContext(context.Background(), parent)
	_, s := t.Start(ctx, name, trace.WithSpanKind(kind), trace.WithTimestamp(at), trace.WithAttributes(list...))
	return s
}

// Of are the attributes that say which frame it is.
func Of(stream string, h *frame.Header) []attribute.KeyValue {
	return []attribute.KeyValue{
		Stream.String(stream), Epoch.Int64(int64(h.Epoch)), Sequence.Int64(int64(h.Sequence)),
	}
}

// Picture are the attributes of an encoded frame.
func Picture(stream string, h *frame.Header) []attribute.KeyValue {
	return append(Of(stream, h), Rung.String(h.Rung.String()), Quality.Int(int(h.Quality)))
}

// Happened adds an event.
func Happened(s trace.Span, event string, at time.Time, list ...attribute.KeyValue) {
	s.AddEvent(event, trace.WithTimestamp(at), trace.WithAttributes(list...))
}

// Requalified adds the event that a rung's quality is another one than the last sampled frame's: it follows what the
// connections of the rung's viewers carry.
func Requalified(s trace.Span, was, now int, at time.Time) {
	why := "recovered"
	if now < was {
		why = "rate"
	}
	Happened(s, QualityChanged, at, From.Int(was), Quality.Int(now), Reason.String(why))
}

// Drop ends the span of a frame that goes no further, and says why in a word.
func Drop(s trace.Span, reason string, at time.Time) {
	s.SetAttributes(Reason.String(reason))
	Happened(s, Dropped, at, Reason.String(reason))
	s.End(trace.WithTimestamp(at))
}

// Fail marks a span as failed; reason is a word, err says more.
func Fail(s trace.Span, reason string, err error) {
	s.SetAttributes(semconv.ErrorTypeKey.String(reason))
	s.SetStatus(codes.Error, err.Error())
}

// End ends a span.
func End(s trace.Span, at time.Time) { s.End(trace.WithTimestamp(at)) }

const header = "traceparent"

// Traceparent is a span's context as W3C spells it, empty where the span is not sampled.
func Traceparent(sc trace.SpanContext) string {
	if !sc.IsSampled() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpanContext(context.Background(), sc), carrier)
	return carrier[header]
}

// Parent is the context that a message brought; not valid where it brought none.
func Parent(traceparent string) trace.SpanContext {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{header: traceparent})
	return trace.SpanContextFromContext(ctx)
}
