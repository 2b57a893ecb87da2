package viewer

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/gateway/internal/picture"
	"github.com/framebus/framebus/services/internal/span"
	"github.com/framebus/framebus/services/internal/telemetry/spantest"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/encoding/protojson"
)

// tracer has what a viewer's deliveries become.
type tracer struct {
	*spantest.Recorder
	t      *testing.T
	tracer trace.Tracer
	parent trace.SpanContext
}

func newTracer(t *testing.T) *tracer {
	rec, tr := spantest.New(t)
	return &tracer{rec, t, tr, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled,
	})}
}

// offer offers a sampled picture and returns its header.
func (tr *tracer) offer(v *served, change func(*frame.Header)) frame.Header {
	v.next++
	h := *header(1, v.next)
	h.Flags |= frame.FlagSampled
	h.TraceID = tr.parent.TraceID()
	if change != nil {
		change(&h)
	}
	p := picture.New(h, v.o.Numbers.Next(), jpegOf(v.next, 1000))
	p.Trace = picture.NewTrace(tr.tracer, tr.parent, 1)
	v.Offer(p)
	return h
}

// delivered waits for the end of a picture's delivery.
func (tr *tracer) delivered(h frame.Header) spantest.Span {
	tr.t.Helper()
	var found []spantest.Span
	require.Eventually(tr.t, func() bool {
		found = nil
		for _, s := range tr.Spans("deliver") {
			if s.Attributes[span.Sequence].AsInt64() == int64(h.Sequence) {
				found = append(found, s)
			}
		}
		return len(found) > 0
	}, patience, ms)
	require.Len(tr.t, found, 1)
	s := found[0]
	require.Equal(tr.t, tr.parent.SpanID(), s.Parent)
	require.Equal(tr.t, tr.parent.TraceID(), s.Trace)
	require.Equal(tr.t, "cam0", s.Attributes[span.Stream].AsString())
	require.Equal(tr.t, "full", s.Attributes[span.Rung].AsString())
	for _, e := range s.Events {
		require.False(tr.t, e.At.Before(s.Start), e.Name)
		require.False(tr.t, e.At.After(s.End), "%s after the span has ended", e.Name)
	}
	require.LessOrEqual(tr.t, s.End.Sub(s.Start), time.Second)
	return s
}

func endedBy(s spantest.Span) string { return s.Attributes[span.EndedBy].AsString() }

func TestADeliveryEndsByItsPong(t *testing.T) {
	tr := newTracer(t)
	c, v := dialWire(t, newSite(t, Options{ID: "v7"}, false), "")
	h := tr.offer(v, nil)
	_, number := c.picture(1000) // with a ping behind it
	require.Empty(t, tr.Spans(""))
	c.pong(number)
	s := tr.delivered(h)
	require.Equal(t, "pong", endedBy(s))
	require.Equal(t, "v7", s.Attributes[span.Viewer].AsString())
	require.Equal(t, "bare", s.Attributes[span.Format].AsString())
	require.Len(t, s.Events, 3)
	for i, name := range []string{span.Sent, span.Written, span.Acknowledged} {
		require.Equal(t, name, s.Events[i].Name)
	}
}

func TestADeliveryEndsByAPaint(t *testing.T) {
	tr := newTracer(t)
	c, v := dialWire(t, newSite(t, Options{Commands: paints{}}, false), "Sec-WebSocket-Protocol: framebus.v1\r\n")
	painted := func(h frame.Header, at time.Time) {
		b, err := protojson.Marshal(&pb.ClientMessage{Message: &pb.ClientMessage_Painted{Painted: &pb.Painted{
			Channel: 1, Epoch: h.Epoch, Sequence: h.Sequence, PaintedUs: at.UnixMicro(), Decoded: 1,
		}}})
		require.NoError(t, err)
		c.send(picture.OpText, b)
	}
	read := func() (number uint64) {
		c.readOp(picture.OpBinary)
		return binary.BigEndian.Uint64(c.readOp(picture.OpPing))
	}
	first := tr.offer(v, nil)
	c.pong(read())
	require.Equal(t, "pong", endedBy(tr.delivered(first)), "it has not painted yet")
	painted(first, time.Now())
	c.heard("painted")

	second := tr.offer(v, nil)
	c.pong(read())
	c.heard("pong")
	require.Len(t, tr.Spans(""), 1, "the pong does not end it any more")
	at := v.began.Add(v.now())
	painted(second, at)
	s := tr.delivered(second)
	require.Equal(t, "painted", endedBy(s))
	_, ok := s.Has(span.Acknowledged)
	require.True(t, ok)
	e, ok := s.Has(span.Painted)
	require.True(t, ok)
	require.Equal(t, at.UnixMicro(), e.At.UnixMicro())
	require.Equal(t, e.At, s.End, "it ends when it was painted")

	third := tr.offer(v, nil)
	read()
	later := third
	later.Sequence++
	painted(later, time.Now().Add(time.Hour)) // of a clock that nobody asked for
	s = tr.delivered(third)
	require.Equal(t, "painted", endedBy(s))
	e, _ = s.Has(span.Painted)
	require.EqualValues(t, later.Sequence, e.Attributes[span.PaintedSequence].AsInt64())

	fourth := tr.offer(v, nil)
	number := read()
	at = v.began.Add(v.now())
	c.pong(number)
	c.heard("pong")
	painted(fourth, at)
	s = tr.delivered(fourth)
	ack, _ := s.Has(span.Acknowledged)
	require.Equal(t, ack.At, s.End, "its pong came later than it was painted")
}

// paints is a hub that passes reports on.
type paints struct{}

func (paints) Select(*Viewer, *pb.Select)       {}
func (paints) TraceNext(*Viewer, *pb.TraceNext) {}
func (paints) Painted(v *Viewer, p *pb.Painted) { v.Painted(p) }

func TestADeliveryEndsByASkip(t *testing.T) {
	tr := newTracer(t)
	c, v := dialWire(t, newSite(t, Options{}, false), "")
	skipped := func(h frame.Header, why string) {
		t.Helper()
		s := tr.delivered(h)
		require.Equal(t, "skip", endedBy(s))
		require.Equal(t, why, s.Attributes[span.Reason].AsString())
		e, ok := s.Has(span.Dropped)
		require.True(t, ok)
		require.Equal(t, why, e.Attributes[span.Reason].AsString())
	}
	v.offer(window, 1000) // nothing is acknowledged: there is no credit left
	first := tr.offer(v, nil)
	second := tr.offer(v, nil)
	skipped(first, "superseded")
	v.Show(1, Tuning{Stream: "cam0", Hidden: true}, nil)
	skipped(second, "hidden")
	skipped(tr.offer(v, nil), "hidden")
	v.Show(1, Tuning{Stream: "cam0"}, nil)
	skipped(tr.offer(v, func(h *frame.Header) { h.Epoch-- }), "late")
	_ = c.Close()
}

func TestADeliveryEndsByAClose(t *testing.T) {
	tr := newTracer(t)
	c, v := dialWire(t, newSite(t, Options{}, false), "")
	sent := tr.offer(v, nil)
	_, _ = c.picture(1000)
	v.offer(window-1, 1000)
	waits := tr.offer(v, nil)
	v.Close(1001, "going", true)
	require.Equal(t, "close", endedBy(tr.delivered(sent)))
	s := tr.delivered(waits)
	require.Equal(t, "close", endedBy(s))
	require.Equal(t, "closed", s.Attributes[span.Reason].AsString())
}

func TestADeliveryEndsAfterASecond(t *testing.T) {
	tr := newTracer(t)
	c, v := dialWire(t, newSite(t, Options{}, false), "")
	h := tr.offer(v, nil)
	_, number := c.picture(1000)
	s := tr.delivered(h)
	require.Equal(t, "timeout", endedBy(s))
	require.Equal(t, time.Second, s.End.Sub(s.Start))
	c.pong(number)
	c.heard("pong")
	require.Len(t, tr.Spans(""), 1)
	v.mu.Lock()
	require.Empty(t, v.traces.open)
	v.mu.Unlock()
}

func TestADeliveryToAPlainConnectionEndsAtTheClientsHost(t *testing.T) {
	tr := newTracer(t)
	s := newSite(t, Options{}, false)
	resp, err := s.Client().Get(s.URL + "/mjpeg")
	require.NoError(t, err)
	defer resp.Body.Close()
	v := s.arrived(t)
	v.mu.Lock()
	by := map[acks]string{ackHost: "host", ackNobody: "written"}[v.by] // as the kernel can
	v.mu.Unlock()
	d := tr.delivered(tr.offer(v, nil))
	require.Equal(t, by, endedBy(d))
	require.Equal(t, "mjpeg", d.Attributes[span.Format].AsString())
}

func TestOnlySoManyDeliveriesAreTold(t *testing.T) {
	tr := newTracer(t)
	p := picture.New(*header(1, 1), 1, jpegOf(1, 1000))
	p.Trace = picture.NewTrace(tr.tracer, tr.parent, 2)
	s := newSite(t, Options{}, false)
	for range 4 {
		_, v := dialWire(t, s, "")
		v.Offer(p)
		v.Close(1001, "", false)
	}
	require.Len(t, tr.Spans("deliver"), 2)

	_, v := dialWire(t, s, "")
	for range maxOpen + 10 { // of one viewer
		tr.offer(v, nil)
	}
	v.mu.Lock()
	require.LessOrEqual(t, len(v.traces.open), maxOpen)
	v.mu.Unlock()
}

func TestAChangeOfRungOrQualityIsTold(t *testing.T) {
	rec, tracer := spantest.New(t)
	tr := traces{begun: time.Now()}
	l := newLane(1, false)
	l.traces = &tr
	for i, h := range []frame.Header{
		{Quality: 80}, {Quality: 80}, {Quality: 60}, {Quality: 80, Rung: frame.Half}, {Quality: 80, Rung: frame.Half},
	} {
		if i == 3 {
			l.traced.why = "rate"
		}
		p := picture.New(h, uint64(i), nil)
		p.Trace = picture.NewTrace(tracer, trace.SpanContext{}, 1)
		now := time.Duration(i+1) * ms
		tr.offered(p, l, picture.Bare, true, now)
		tr.sent(p, l, now)
		tr.acknowledged(byPong, now, now)
	}
	spans := rec.Spans("deliver")
	require.Len(t, spans, 5)
	for i, s := range spans {
		q, quality := s.Has(span.QualityChanged)
		require.Equal(t, i == 2, quality, i)
		if quality {
			require.EqualValues(t, 80, q.Attributes[span.From].AsInt64())
			require.EqualValues(t, 60, q.Attributes[span.Quality].AsInt64())
			require.Equal(t, "rate", q.Attributes[span.Reason].AsString())
		}
		r, rung := s.Has(span.RungChanged)
		require.Equal(t, i == 3, rung, i)
		if rung {
			require.Equal(t, "full", r.Attributes[span.From].AsString())
			require.Equal(t, "half", r.Attributes[span.Rung].AsString())
			require.Equal(t, "rate", r.Attributes[span.Reason].AsString())
		}
	}
}
