package encoder

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/span"
	"github.com/framebus/framebus/services/internal/telemetry/spantest"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

const processName = "process framebus.v1.raw.{by}.{stream}.{encoder}"

// spansOf waits for n spans of one frame.
func spansOf(t *testing.T, rec *spantest.Recorder, seq uint64, n int) []spantest.Span {
	t.Helper()
	var out []spantest.Span
	require.Eventually(t, func() bool {
		out = nil
		for _, s := range rec.Spans("") {
			if s.Attributes[span.Sequence].AsInt64() == int64(seq) {
				out = append(out, s)
			}
		}
		return len(out) >= n
	}, wait, look)
	require.Len(t, out, n)
	return out
}

func TestASampledFrameIsTraced(t *testing.T) {
	rec := spantest.Export(t)
	r := start(t, Settings{Quality: 80, QualityMin: 30, Workers: 1}, nil)
	r.want(pb.Rung_RUNG_FULL, pb.Rung_RUNG_QUARTER)
	f := r.raw(frame.I420, 64, 48, scene(64, 48))
	seq := r.send(f)
	pictures := r.picturesOf(seq)
	require.Len(t, pictures, 2)
	spans := spansOf(t, rec, seq, 5)

	process := spans[0]
	require.Equal(t, processName, process.Name)
	require.Equal(t, trace.SpanKindConsumer, process.Kind)
	require.Equal(t, span.Parent(parent).SpanID(), process.Parent)
	require.Empty(t, process.Error)
	require.NotContains(t, process.Attributes, span.Reason)
	name := subject.Raw(subject.Cam, "cam0", instance)
	for _, want := range []attribute.KeyValue{
		semconv.MessagingSystemKey.String("nats"), semconv.MessagingOperationName("process"),
		semconv.MessagingOperationTypeProcess, semconv.MessagingDestinationName(name),
		semconv.MessagingDestinationTemplate("framebus.v1.raw.{by}.{stream}.{encoder}"),
		semconv.MessagingMessageBodySize(frame.HeaderLen + len(f.payload)),
		span.Stream.String("cam0"), span.Epoch.Int(1),
	} {
		require.Equal(t, want.Value, process.Attributes[want.Key], string(want.Key))
	}
	require.Equal(t, "encoder", process.Resource[semconv.ServiceNameKey].AsString())
	require.Equal(t, instance, process.Resource[semconv.ServiceInstanceIDKey].AsString())
	require.Contains(t, process.Resource, semconv.ServiceVersionKey)
	taken, ok := process.Has(span.Taken)
	require.True(t, ok)

	for _, m := range pictures {
		h, _, err := frame.Parse(m.Data)
		require.NoError(t, err)
		require.Equal(t, h.CapturedUs+int64(h.HopUs[frame.Taken]), taken.At.UnixMicro())
		var encode, send spantest.Span
		for _, s := range spans {
			switch {
			case s.ID == span.Parent(m.Traceparent).SpanID():
				send = s
			case s.Name == "encode "+h.Rung.String():
				encode = s
			}
		}
		require.Equal(t, process.ID, encode.Parent)
		require.Equal(t, trace.SpanKindInternal, encode.Kind)
		require.Equal(t, "send framebus.v1.jpeg.{stream}.{rung}", send.Name)
		require.Equal(t, trace.SpanKindProducer, send.Kind)
		require.Equal(t, encode.ID, send.Parent)
		require.Equal(t, process.Trace, send.Trace)
		for _, want := range []attribute.KeyValue{
			semconv.MessagingSystemKey.String("nats"), semconv.MessagingOperationName("send"),
			semconv.MessagingOperationTypeSend, semconv.MessagingDestinationName(subject.JPEG("cam0", h.Rung)),
			semconv.MessagingDestinationTemplate("framebus.v1.jpeg.{stream}.{rung}"),
			semconv.MessagingMessageBodySize(len(m.Data)),
			span.Rung.String(h.Rung.String()), span.Quality.Int(int(h.Quality)),
		} {
			require.Equal(t, want.Value, send.Attributes[want.Key], string(want.Key))
		}
		order := []time.Time{process.Start, taken.At, encode.Start, send.Start, send.End, encode.End, process.End}
		for i := range order[1:] {
			require.False(t, order[i+1].Before(order[i]), "%d: %v", i, order)
		}
		encoded, ok := encode.Has(span.Encoded)
		require.True(t, ok)
		require.Equal(t, h.CapturedUs+int64(h.HopUs[frame.Encoded]), encoded.At.UnixMicro())
	}
}

func TestATraceSaysWhyAFrameWasDropped(t *testing.T) {
	rec := spantest.Export(t)
	var armed atomic.Bool
	entered, gate := make(chan struct{}, 1), make(chan struct{})
	r := start(t, Settings{Quality: 80, QualityMin: 30, Workers: 1}, func() time.Duration {
		if armed.CompareAndSwap(true, false) {
			entered <- struct{}{}
			<-gate
		}
		return 0
	})
	r.want(pb.Rung_RUNG_FULL)
	dropped := func(seq uint64, why string) spantest.Span {
		t.Helper()
		s := spansOf(t, rec, seq, 1)[0]
		require.Equal(t, processName, s.Name)
		require.Equal(t, why, s.Attributes[span.Reason].AsString())
		e, ok := s.Has(span.Dropped)
		require.True(t, ok)
		require.Equal(t, why, e.Attributes[span.Reason].AsString())
		return s
	}
	broken := r.raw(frame.I420, 32, 16, scene(32, 16))
	broken.head.PayloadLen++
	s := dropped(r.send(broken), "corrupt")
	require.NotEmpty(t, s.Error)
	require.Equal(t, "corrupt", s.Attributes[semconv.ErrorTypeKey].AsString())

	late := r.raw(frame.I420, 32, 16, scene(32, 16))
	late.head.CapturedUs -= (10 * time.Second).Microseconds()
	dropped(r.send(late), "stale")
	armed.Store(true)
	r.sendSmall()
	<-entered // the only worker has it: of the next three the oldest has no place
	second := r.sendSmall()
	r.sendSmall()
	r.sendSmall()
	dropped(second, "superseded")
	close(gate)
}

// A frame that is not sampled is asked one question, and one that is while spans go nowhere is passed on.
func TestWhereNothingIsTracedNothingIsAllocated(t *testing.T) {
	e := &encoder{}
	j := job{parent: "", head: frame.NewHeader()}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if span.Sampled(&j.head, j.parent) {
			e.traced(&j, encoded)
		}
		if e.traceRung(&j, frame.Full, 80) != nil {
			t.Error("a span of nothing")
		}
	}))
}

func TestAChangeOfQualityIsTold(t *testing.T) {
	rec, tracer := spantest.New(t)
	e := &encoder{clock: newClock()}
	e.d.Tracer = tracer
	s, err := newStream(subject.Raw(subject.Cam, "cam0", instance))
	require.NoError(t, err)
	for i, q := range []int{80, 80, 62} {
		j := job{stream: s, parent: parent, head: frame.NewHeader(), received: e.clock.now()}
		j.head.Sequence = uint64(i)
		e.trace(&j, j.received.wall)
		e.traceRung(&j, frame.Half, q).end(nil)
		e.traced(&j, encoded)
	}
	encodes := rec.Spans("encode half")
	require.Len(t, encodes, 3)
	for i, s := range encodes {
		change, ok := s.Has(span.QualityChanged)
		require.Equal(t, i == 2, ok, i)
		if ok {
			require.EqualValues(t, 80, change.Attributes[span.From].AsInt64())
			require.EqualValues(t, 62, change.Attributes[span.Quality].AsInt64())
			require.Equal(t, "rate", change.Attributes[span.Reason].AsString())
		}
	}
}
