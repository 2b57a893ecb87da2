package telemetry

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	// storeKeeps is how long a trace stays in a Store.
	storeKeeps = time.Minute
	// storeTraces and storeSpans bound a Store; when it is full the oldest trace goes.
	storeTraces = 1024
	storeSpans  = 16384
	// spansPerTrace bounds the spans of one trace; further ones are not kept. A frame at three rungs with ten viewers
	// each has 43.
	spansPerTrace = 128
)

// Store keeps the last minute of sampled traces in memory, so that a process without a collector can show them. All
// providers of a process share it. It is safe for concurrent use.
type Store struct {
	mu     sync.Mutex
	traces map[trace.TraceID]*kept
	order  []*kept // the oldest first; bound: storeTraces and storeSpans
	spans  int     // of all traces
}

// kept is a trace in a Store.
type kept struct {
	id    trace.TraceID
	began time.Time // when its first span came
	spans []sdktrace.ReadOnlySpan
}

// NewStore makes an empty one.
func NewStore() *Store { return &Store{traces: map[trace.TraceID]*kept{}} }

// Trace is one trace as it is told to others.
type Trace struct {
	TraceID string `json:"trace_id"`
	Spans   []Span `json:"spans"` // by their start
}

// Span is one of its spans. Times are µs, starts since 1970.
type Span struct {
	SpanID     string         `json:"span_id"`
	ParentID   string         `json:"parent_id"` // empty: none
	Name       string         `json:"name"`
	Service    string         `json:"service"`
	Kind       string         `json:"kind"` // internal, producer, consumer
	StartUs    int64          `json:"start_us"`
	DurationUs int64          `json:"duration_us"`
	Attributes map[string]any `json:"attributes"`
	Events     []Event        `json:"events"`
	Error      string         `json:"error"` // empty: none
}

// Event is something that happened at a moment of a span.
type Event struct {
	Name       string         `json:"name"`
	AtUs       int64          `json:"at_us"`
	Attributes map[string]any `json:"attributes"`
}

// Trace gives what there is of a trace so far, false where nothing is. id is 32 hex digits.
func (s *Store) Trace(id string) (Trace, bool) {
	tid, err := trace.TraceIDFromHex(id)
	if err != nil {
		return Trace{}, false
	}
	s.mu.Lock()
	s.sweep(time.Now(), storeTraces, storeSpans)
	var spans []sdktrace.ReadOnlySpan
	if k := s.traces[tid]; k != nil {
		spans = slices.Clone(k.spans)
	}
	s.mu.Unlock()
	if len(spans) == 0 {
		return Trace{}, false
	}
	slices.SortStableFunc(spans, func(a, b sdktrace.ReadOnlySpan) int {
		return cmp.Or(a.StartTime().Compare(b.StartTime()), b.EndTime().Compare(a.EndTime())) // a parent before its child
	})
	out := Trace{TraceID: tid.String(), Spans: make([]Span, len(spans))}
	for i, span := range spans {
		out.Spans[i] = told(span)
	}
	return out, true
}

func told(s sdktrace.ReadOnlySpan) Span {
	out := Span{
		SpanID: s.SpanContext().SpanID().String(), Name: s.Name(), Kind: s.SpanKind().String(),
		StartUs: s.StartTime().UnixMicro(), Attributes: values(s.Attributes()), Events: []Event{},
	}
	out.DurationUs = s.EndTime().UnixMicro() - out.StartUs
	if p := s.Parent(); p.HasSpanID() {
		out.ParentID = p.SpanID().String()
	}
	if r := s.Resource(); r != nil {
		if name, ok := r.Set().Value("service.name"); ok {
			out.Service = name.AsString()
		}
	}
	for _, e := range s.Events() {
		out.Events = append(out.Events, Event{Name: e.Name, AtUs: e.Time.UnixMicro(), Attributes: values(e.Attributes)})
	}
	if st := s.Status(); st.Code == codes.Error {
		out.Error = cmp.Or(st.Description, "error")
	}
	return out
}

func values(list []attribute.KeyValue) map[string]any {
	out := make(map[string]any, len(list))
	for _, a := range list {
		out[string(a.Key)] = a.Value.AsInterface()
	}
	return out
}

// add keeps a span that has ended.
func (s *Store) add(span sdktrace.ReadOnlySpan, now time.Time) {
	id := span.SpanContext().TraceID()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(now, storeTraces-1, storeSpans-1)
	k := s.traces[id]
	if k == nil {
		k = &kept{id: id, began: now}
		s.traces[id] = k
		s.order = append(s.order, k)
	}
	if len(k.spans) == spansPerTrace {
		return
	}
	k.spans = append(k.spans, span)
	s.spans++
}

// sweep lets go of what is too old, and of the oldest while there are more than traces and spans. The lock is held.
func (s *Store) sweep(now time.Time, traces, spans int) {
	n := 0
	for _, k := range s.order {
		if len(s.order)-n <= traces && s.spans <= spans && now.Sub(k.began) < storeKeeps {
			break
		}
		delete(s.traces, k.id)
		s.spans -= len(k.spans)
		n++
	}
	clear(s.order[:n])
	s.order = s.order[n:] // grows into a new array now and then, with what is left
}

// collector is a Store as a provider's span processor: a span is kept the moment it ends, and nothing is copied.
type collector struct{ s *Store }

func (c collector) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

func (c collector) OnEnd(span sdktrace.ReadOnlySpan) {
	if span.SpanContext().IsSampled() {
		c.s.add(span, time.Now())
	}
}

func (c collector) Shutdown(context.Context) error   { return nil }
func (c collector) ForceFlush(context.Context) error { return nil }
