// Package spantest keeps spans in memory, for tests: of a tracer of its own, or of everything that the process exports
// through the standard variables.
package spantest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// Recorder has the spans that ended. It is safe for concurrent use.
type Recorder struct{ mem *tracetest.InMemoryExporter }

// New is a recorder and the tracer that it listens to, which samples everything.
func New(t testing.TB) (*Recorder, trace.Tracer) {
	t.Helper()
	r := &Recorder{tracetest.NewInMemoryExporter()}
	p := sdktrace.NewTracerProvider(sdktrace.WithSyncer(r.mem), sdktrace.WithSampler(sdktrace.AlwaysSample()))
	return r, p.Tracer("test")
}

// Export has all that this process exports recorded until the test ends: services that are started from now on.
func Export(t *testing.T) *Recorder {
	t.Helper()
	register()
	r := &Recorder{tracetest.NewInMemoryExporter()}
	now.Lock()
	now.r = r
	now.Unlock()
	t.Setenv("OTEL_TRACES_EXPORTER", exporter)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10") // ms
	return r
}

const exporter = "spantest"

// now is where what is exported goes.
var now struct {
	sync.Mutex
	r *Recorder
}

var register = sync.OnceFunc(func() {
	autoexport.RegisterSpanExporter(exporter, func(context.Context) (sdktrace.SpanExporter, error) {
		now.Lock()
		defer now.Unlock()
		return kept{now.r.mem}, nil
	})
})

// kept survives the shutdown of its provider, which would forget the spans.
type kept struct{ *tracetest.InMemoryExporter }

func (kept) Shutdown(context.Context) error { return nil }

// Span is one that ended.
type Span struct {
	Name       string
	Kind       trace.SpanKind
	Trace      trace.TraceID
	ID, Parent trace.SpanID
	Start, End time.Time
	Attributes map[attribute.Key]attribute.Value
	Events     []Event
	Resource   map[attribute.Key]attribute.Value
	Error      string // empty: none
}

// Event is one of its events.
type Event struct {
	Name       string
	At         time.Time
	Attributes map[attribute.Key]attribute.Value
}

// Has tells whether it has an event of that name, and which.
func (s Span) Has(event string) (Event, bool) {
	i := slices.IndexFunc(s.Events, func(e Event) bool { return e.Name == event })
	if i < 0 {
		return Event{}, false
	}
	return s.Events[i], true
}

// Spans are all that ended so far whose name begins so, by their start.
func (r *Recorder) Spans(name string) []Span {
	var out []Span
	for _, s := range r.mem.GetSpans() {
		if strings.HasPrefix(s.Name, name) {
			out = append(out, convert(s))
		}
	}
	slices.SortStableFunc(out, func(a, b Span) int { return a.Start.Compare(b.Start) })
	return out
}

// Trace are the spans of one trace so far.
func (r *Recorder) Trace(id trace.TraceID) []Span {
	return slices.DeleteFunc(r.Spans(""), func(s Span) bool { return s.Trace != id })
}

func convert(s tracetest.SpanStub) Span {
	out := Span{
		Name: s.Name, Kind: s.SpanKind, Trace: s.SpanContext.TraceID(), ID: s.SpanContext.SpanID(),
		Parent: s.Parent.SpanID(), Start: s.StartTime, End: s.EndTime, Attributes: values(s.Attributes),
		Error: s.Status.Description,
	}
	if s.Resource != nil {
		out.Resource = values(s.Resource.Attributes())
	}
	for _, e := range s.Events {
		out.Events = append(out.Events, Event{e.Name, e.Time, values(e.Attributes)})
	}
	return out
}

func values(list []attribute.KeyValue) map[attribute.Key]attribute.Value {
	out := map[attribute.Key]attribute.Value{}
	for _, a := range list {
		out[a.Key] = a.Value
	}
	return out
}
