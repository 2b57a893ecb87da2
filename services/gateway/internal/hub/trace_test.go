package hub

import (
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/gateway/internal/viewer"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/mailbox"
	"github.com/framebus/framebus/services/internal/span"
	"github.com/framebus/framebus/services/internal/telemetry/spantest"
	"github.com/stretchr/testify/require"
)

func TestASupersededPicturesTraceSaysSo(t *testing.T) {
	rec, tracer := spantest.New(t)
	h := New(Deps{Tracer: tracer})
	f := &feed{h: h, stream: &stream{name: "cam0", meters: h.meters.stream("cam0")}}
	f.in = mailbox.NewQueue[arrival](feedBound)
	f.account = h.ledger.Stream("cam0", time.Now())
	head := frame.NewHeader()
	head.Format, head.Width, head.Height, head.Epoch, head.Flags = frame.JPEG, 64, 48, 1, frame.FlagSampled
	for range feedBound + 1 {
		head.Sequence++
		b := make([]byte, frame.HeaderLen)
		head.Put(b)
		f.receive(bus.Msg{Data: b, Traceparent: "00-01000000000000000000000000000000-0102030405060708-01"})
	}
	spans := rec.Spans("")
	require.Len(t, spans, 1)
	require.EqualValues(t, 1, spans[0].Attributes[span.Sequence].AsInt64())
	require.Equal(t, "superseded", spans[0].Attributes[span.Reason].AsString())
}

func TestAViewerMayAskForOneTraceASecond(t *testing.T) {
	h := New(Deps{})
	v, other := &viewer.Viewer{}, &viewer.Viewer{}
	s := h.add("cam0")
	h.viewers[v], h.viewers[other] = &watcher{main: "cam0"}, &watcher{main: "cam0"}
	asks := func(v *viewer.Viewer) bool {
		s.traceNext = false
		h.TraceNext(v, &pb.TraceNext{})
		return s.traceNext
	}
	require.True(t, asks(v))
	h.viewers[v].traced = time.Now().Add(time.Hour) // not a second ago, however slow this machine is
	require.False(t, asks(v))
	require.True(t, asks(other))
	h.viewers[v].traced = time.Now().Add(-traceEvery)
	require.True(t, asks(v))
	require.False(t, asks(&viewer.Viewer{}), "one that is not attached")
}
