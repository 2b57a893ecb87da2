package gateway_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/gateway/internal/viewer"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/span"
	"github.com/framebus/framebus/services/internal/telemetry/spantest"
	"github.com/stretchr/testify/require"
)

// sampled publishes one sampled picture of the full rung, as an encoder would, and returns its sequence.
func (c *camera) sampled(payload []byte, age time.Duration) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq++
	captured := c.now().Add(-age)
	h := frame.NewHeader()
	h.Format, h.Quality, h.Width, h.Height = frame.JPEG, 80, width, height
	h.Epoch, h.Sequence, h.CapturedUs = c.status.GetEpoch(), c.seq, captured.UnixMicro()
	h.Flags, h.TraceID, h.PayloadLen = frame.FlagSampled, [16]byte{1, byte(c.seq)}, uint32(len(payload))
	b := make([]byte, frame.HeaderLen, frame.HeaderLen+len(payload))
	h.Put(b)
	require.NoError(c.t, c.bus.Data.Publish(bus.Msg{
		Subject: subject.JPEG(c.name, frame.Full), Data: append(b, payload...),
		Traceparent: fmt.Sprintf("00-%x-0102030405060708-01", h.TraceID),
	}))
	return c.seq
}

// traced waits for the span of a picture's processing.
func (r *rig) traced(rec *spantest.Recorder, seq uint64) (process spantest.Span) {
	r.t.Helper()
	r.eventually(func() bool {
		for _, process = range rec.Spans("process ") {
			if process.Attributes[span.Sequence].AsInt64() == int64(seq) {
				return true
			}
		}
		return false
	}, "the picture was not traced")
	require.Equal(r.t, "0102030405060708", process.Parent.String())
	require.Equal(r.t, "gateway", process.Resource["service.name"].AsString())
	return process
}

func TestTenDeliveriesAreToldAndWhoAskedIsAmongThem(t *testing.T) {
	rec := spantest.Export(t)
	cfg := testSettings()
	cfg.MaxClients = 20
	r := start(t, cfg)
	cam := r.camera("cam0")
	var clients []*client
	for range 14 {
		clients = append(clients, r.dial("?rung=full", viewer.Subprotocol))
	}
	for _, c := range clients {
		c.more(1)
	}
	cam.change(func(c *camera) { c.silent = true })
	for range 3 { // whoever it is
		asker := clients[0]
		clients = clients[1:]
		before := len(cam.heard())
		asker.send(&pb.ClientMessage{Message: &pb.ClientMessage_TraceNext{TraceNext: &pb.TraceNext{}}})
		r.eventually(func() bool {
			for _, f := range cam.heard()[before:] {
				if f.GetTraceNext() {
					return true
				}
			}
			return false
		}, "the wish never came")
		seq := cam.sampled(picture(1), 0)
		process := r.traced(rec, seq)
		var told []string
		r.eventually(func() bool {
			told = nil
			for _, s := range rec.Spans("deliver") {
				if s.Parent == process.ID {
					told = append(told, s.Attributes[span.Viewer].AsString())
				}
			}
			return len(told) >= 10
		}, "the deliveries were not told")
		require.Len(t, told, 10)
		require.Contains(t, told, asker.heard()[0].GetHello().GetViewer())

		// The trace and the envelope say the same.
		r.eventually(func() bool { h := asker.headers(); return h[len(h)-1].Sequence == seq }, "it never came")
		headers := asker.headers()
		h := headers[len(headers)-1]
		require.EqualValues(t, h.TraceID, process.Trace)
		require.Equal(t, h.CapturedUs+int64(h.HopUs[frame.Received]), process.Start.UnixMicro())
		require.LessOrEqual(t, h.CapturedUs+int64(h.HopUs[frame.Handed]), process.End.UnixMicro())
	}
}

func TestAPictureNobodyIsOfferedIsTraced(t *testing.T) {
	rec := spantest.Export(t)
	r := start(t, testSettings())
	cam := r.camera("cam0")
	c := r.dial("?rung=full", viewer.Subprotocol)
	c.more(3)
	require.Empty(t, rec.Spans(""), "pictures that are not sampled")

	malformed := r.traced(rec, cam.sampled([]byte("no picture"), 0))
	require.Equal(t, "malformed", malformed.Attributes[span.Reason].AsString())
	require.Equal(t, "malformed", malformed.Attributes["error.type"].AsString())
	require.NotEmpty(t, malformed.Error)

	stale := r.traced(rec, cam.sampled(picture(2), time.Minute))
	require.Equal(t, "stale", stale.Attributes[span.Reason].AsString())
	require.Empty(t, stale.Error)
	e, ok := stale.Has(span.Dropped)
	require.True(t, ok)
	require.Equal(t, stale.End, e.At)
	require.Empty(t, rec.Spans("deliver"))
}
