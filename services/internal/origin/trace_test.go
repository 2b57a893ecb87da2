package origin

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/natsd"
	"github.com/framebus/framebus/services/internal/span"
	"github.com/framebus/framebus/services/internal/telemetry/spantest"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
)

const (
	captureName = "capture frame"
	sendName    = "send framebus.v1.raw.{by}.{stream}.{encoder}"
)

// answering is an encoder that answers every frame, and tells the test of it.
func answering(t *testing.T, cfg bus.Config, name string, got func(m bus.Msg, h frame.Header)) *member {
	t.Helper()
	enc := join(t, cfg, "encoder", name)
	_, err := enc.bus.Data.Subscribe(subject.RawFor(name), func(m bus.Msg) {
		head, _, err := frame.Parse(m.Data)
		if err != nil {
			t.Error(err)
		}
		got(m, head)
		_ = enc.bus.Data.Send(m.Reply, &pb.Done{
			Encoder: name, Run: enc.roster.Config().Run, Epoch: head.Epoch, Sequence: head.Sequence,
		})
	})
	require.NoError(t, err)
	enc.roster.SetFill(func(s *pb.Status) { s.Encoder = &pb.EncoderStatus{Workers: 1} })
	return enc
}

func TestAReaderHasTheNextFrameTraced(t *testing.T) {
	cfg := bus.Config{InProcess: startServer(t, natsd.Config{})}
	rec, tracer := spantest.New(t)
	film(t, join(t, cfg, "capture", "cap-a"), Config{}, func(d *Deps) { d.Tracer = tracer })
	var traced atomic.Pointer[bus.Msg]
	answering(t, cfg, "enc-a", func(m bus.Msg, h frame.Header) {
		sampled := h.Flags&frame.FlagSampled != 0
		if sampled != (m.Traceparent != "") || sampled != (h.TraceID != [16]byte{}) {
			t.Error("flag, traceparent and trace id differ")
		}
		if m.Traceparent != "" {
			traced.Store(&m)
		}
	})
	reader := join(t, cfg, "gateway", "gw")
	watch(t, reader, asks("gw", full(0)))
	f := asks("other", full(0))
	f.TraceNext = true
	require.Eventually(t, func() bool {
		_ = reader.bus.Control.Send(subject.Feedback(stream), f) // again where nobody listened yet
		return traced.Load() != nil
	}, within, 50*time.Millisecond)
	m := traced.Load()
	h, _, err := frame.Parse(m.Data)
	require.NoError(t, err)
	parent := span.Parent(m.Traceparent)
	require.True(t, parent.IsSampled())
	require.Equal(t, trace.TraceID(h.TraceID), parent.TraceID())

	var spans []spantest.Span
	require.Eventually(t, func() bool { spans = rec.Trace(h.TraceID); return len(spans) == 2 }, within, every)
	capture, send := spans[0], spans[1]
	require.Equal(t, captureName, capture.Name)
	require.False(t, capture.Parent.IsValid())
	require.Equal(t, h.CapturedUs, capture.Start.UnixMicro())
	require.EqualValues(t, h.Sequence, capture.Attributes[span.Sequence].AsInt64())
	require.Equal(t, sendName, send.Name)
	require.Equal(t, trace.SpanKindProducer, send.Kind)
	require.Equal(t, capture.ID, send.Parent)
	require.Equal(t, parent.SpanID(), send.ID)
	published := h.CapturedUs + int64(h.HopUs[frame.Published])
	require.LessOrEqual(t, send.Start.UnixMicro(), published)
	require.GreaterOrEqual(t, send.End.UnixMicro(), published)
	require.False(t, send.End.After(capture.End))
}

func TestADroppedFramesTraceSaysWhy(t *testing.T) {
	cfg := bus.Config{InProcess: startServer(t, natsd.Config{})}
	rec, tracer := spantest.New(t)
	always := func(d *Deps) { d.Tracer, d.Sample = tracer, func(time.Time) bool { return true } }
	film(t, join(t, cfg, "capture", "cap-a"), Config{}, always)
	watch(t, join(t, cfg, "gateway", "gw"), asks("gw", full(0)))
	dropped := func(why string) (found bool) {
		for _, s := range rec.Spans(captureName) {
			e, ok := s.Has(span.Dropped)
			found = found || ok && s.Attributes[span.Reason].AsString() == why &&
				e.Attributes[span.Reason].AsString() == why && e.At.Equal(s.End)
		}
		return found
	}
	require.Eventually(t, func() bool { return dropped("no_encoder") }, within, every, "there is no encoder")
	require.Empty(t, rec.Spans(sendName))
	answering(t, cfg, "enc-a", func(bus.Msg, frame.Header) {})
	require.Eventually(t, func() bool { return len(rec.Spans(sendName)) > 3 }, within, every)
	for _, s := range rec.Spans(sendName) {
		require.Empty(t, s.Error)
	}
}

func TestAFrameTheBusRefusesHasAFailedTrace(t *testing.T) {
	cfg := bus.Config{InProcess: startServer(t, natsd.Config{MaxPayload: 1000})}
	rec, tracer := spantest.New(t)
	film(t, join(t, cfg, "capture", "cap-a"), Config{}, func(d *Deps) {
		d.Tracer, d.Sample = tracer, func(time.Time) bool { return true }
	})
	watch(t, join(t, cfg, "gateway", "gw"), asks("gw", full(0)))
	answering(t, cfg, "enc-a", func(bus.Msg, frame.Header) {})
	require.Eventually(t, func() bool { return len(rec.Spans(sendName)) > 0 }, within, every)
	send := rec.Spans(sendName)[0]
	require.Contains(t, send.Error, "max_payload")
	require.Equal(t, "too_large", send.Attributes["error.type"].AsString())
	require.Eventually(t, func() bool { return len(rec.Trace(send.Trace)) == 2 }, within, every)
	require.Equal(t, "too_large", rec.Trace(send.Trace)[0].Attributes[span.Reason].AsString())
}

func TestASamplerMayDecideAgainstAFrame(t *testing.T) {
	cfg := bus.Config{InProcess: startServer(t, natsd.Config{})}
	film(t, join(t, cfg, "capture", "cap-a"), Config{}, func(d *Deps) { // its tracer, none, samples nothing
		d.Sample = func(time.Time) bool { return true }
	})
	watch(t, join(t, cfg, "gateway", "gw"), asks("gw", full(0)))
	var came, marked atomic.Int64
	answering(t, cfg, "enc-a", func(m bus.Msg, h frame.Header) {
		came.Add(1)
		if h.Flags&frame.FlagSampled != 0 || m.Traceparent != "" {
			marked.Add(1)
		}
	})
	require.Eventually(t, func() bool { return came.Load() > 3 }, within, every)
	require.Zero(t, marked.Load())
}
