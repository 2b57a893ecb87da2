package telemetry

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func setUp(t *testing.T, service string, s *Store) *Telemetry {
	t.Helper()
	tel, err := Setup(context.Background(), Config{
		Service: service, Instance: service + "-1", Version: "v0", LogLevel: "error", LogFormat: "text",
		LogTo: &bytes.Buffer{}, Traces: s,
	})
	require.NoError(t, err)
	t.Cleanup(tel.Close)
	return tel
}

func TestAStoreTellsATraceOfSeveralServices(t *testing.T) {
	s := NewStore()
	capture, encoder := setUp(t, "capture", s), setUp(t, "encoder", s)
	require.True(t, capture.Tracing)
	require.False(t, capture.SampleAll)
	at := time.UnixMicro(1_700_000_000_000_000)
	ctx, root := capture.Tracer.Start(context.Background(), "capture frame", trace.WithTimestamp(at))
	_, child := encoder.Tracer.Start(ctx, "process", trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithTimestamp(at), trace.WithAttributes(attribute.String("framebus.stream", "cam0")))
	child.AddEvent("dropped", trace.WithTimestamp(at.Add(time.Millisecond)),
		trace.WithAttributes(attribute.Int("framebus.open", 2)))
	child.SetStatus(codes.Error, "superseded")
	child.End(trace.WithTimestamp(at.Add(2 * time.Millisecond)))
	root.End(trace.WithTimestamp(at.Add(5 * time.Millisecond)))

	id := root.SpanContext().TraceID().String()
	got, ok := s.Trace(id)
	require.True(t, ok)
	rootID := root.SpanContext().SpanID().String()
	require.Equal(t, Trace{TraceID: id, Spans: []Span{{
		SpanID: rootID, Name: "capture frame", Service: "capture", Kind: "internal",
		StartUs: at.UnixMicro(), DurationUs: 5000, Attributes: map[string]any{}, Events: []Event{},
	}, {
		SpanID: child.SpanContext().SpanID().String(), ParentID: rootID, Name: "process", Service: "encoder",
		Kind: "consumer", StartUs: at.UnixMicro(), DurationUs: 2000,
		Attributes: map[string]any{"framebus.stream": "cam0"}, Error: "superseded",
		Events: []Event{{
			Name: "dropped", AtUs: at.UnixMicro() + 1000, Attributes: map[string]any{"framebus.open": int64(2)},
		}},
	}}}, got)
	for _, wrong := range []string{"", "no hex", id[1:], trace.TraceID{}.String(), trace.TraceID{1}.String()} {
		_, ok := s.Trace(wrong)
		require.False(t, ok, wrong)
	}
}

func TestAStoreIsUsedOnlyWhereNothingIsExported(t *testing.T) {
	for _, exporter := range []string{"none", "console"} {
		t.Setenv("OTEL_TRACES_EXPORTER", exporter)
		tel := setUp(t, "encoder", NewStore())
		require.Nil(t, tel.Traces, exporter)
		require.Equal(t, exporter != "none", tel.Tracing)
	}
}

func TestAStoreIsBounded(t *testing.T) {
	s := NewStore()
	tel := setUp(t, "gateway", s)
	span := func(ctx context.Context) trace.SpanContext {
		_, span := tel.Tracer.Start(ctx, "x")
		span.End()
		return span.SpanContext()
	}
	known := func(sc trace.SpanContext) int { tr, _ := s.Trace(sc.TraceID().String()); return len(tr.Spans) }

	first := span(context.Background())
	var last trace.SpanContext
	for range storeTraces {
		last = span(context.Background())
	}
	require.Len(t, s.order, storeTraces)
	require.Zero(t, known(first), "the oldest went")
	require.Equal(t, 1, known(last))

	in := trace.ContextWithSpanContext(context.Background(), last)
	for range 2 * spansPerTrace {
		span(in)
	}
	require.Equal(t, spansPerTrace, known(last))

	for range 2 * storeSpans / spansPerTrace {
		in := trace.ContextWithSpanContext(context.Background(), span(context.Background()))
		for range spansPerTrace {
			span(in)
		}
	}
	require.LessOrEqual(t, s.spans, storeSpans)
	require.Zero(t, known(last))
	n := 0
	for _, k := range s.traces {
		n += len(k.spans)
	}
	require.Equal(t, s.spans, n)
	require.Len(t, s.traces, len(s.order))
}

func TestAStoreKeepsAMinute(t *testing.T) {
	s := NewStore()
	var ended []sdktrace.ReadOnlySpan
	p := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(gather{&ended}))
	for range 3 {
		_, span := p.Tracer("").Start(context.Background(), "x")
		span.End()
	}
	now := time.Now()
	s.add(ended[0], now)
	s.add(ended[1], now.Add(storeKeeps-1))
	require.Len(t, s.traces, 2)
	s.add(ended[2], now.Add(storeKeeps))
	require.Len(t, s.traces, 2)
	require.NotContains(t, s.traces, ended[0].SpanContext().TraceID())
	require.NoError(t, p.Shutdown(context.Background()))
}

type gather struct{ to *[]sdktrace.ReadOnlySpan }

func (g gather) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (g gather) OnEnd(s sdktrace.ReadOnlySpan)                   { *g.to = append(*g.to, s) }
func (g gather) Shutdown(context.Context) error                  { return nil }
func (g gather) ForceFlush(context.Context) error                { return nil }

// BenchmarkStore is what a traced frame's seven spans cost with one viewer, to a store that is full.
func BenchmarkStore(b *testing.B) {
	for _, stored := range []bool{false, true} {
		b.Run(fmt.Sprintf("stored=%v", stored), func(b *testing.B) {
			p := sdktrace.NewTracerProvider()
			if stored {
				p = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(collector{NewStore()}))
			}
			tracer := p.Tracer("")
			for range storeTraces {
				_, span := tracer.Start(context.Background(), "x")
				span.End()
			}
			b.ReportAllocs()
			for b.Loop() {
				ctx := context.Background()
				for range 7 {
					var span trace.Span
					ctx, span = tracer.Start(ctx, "x", trace.WithAttributes(attribute.String("framebus.stream", "cam0")))
					span.End()
				}
			}
		})
	}
}
