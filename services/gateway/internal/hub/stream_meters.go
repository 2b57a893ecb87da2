package hub

import (
	"sync/atomic"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/gateway/internal/picture"
	"github.com/framebus/framebus/services/gateway/internal/viewer"
	"github.com/framebus/framebus/services/internal/instrument"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// streamMeters measure what becomes of a stream's pictures in this gateway, all viewers together. They are a
// viewer.Account, and safe for concurrent use.
type streamMeters struct {
	m *meters

	pictures     [frame.Rungs][fates]instrument.Counter
	hops         [frame.Hops]instrument.Durations
	acknowledged instrument.Durations

	delivered, bytes [frame.Rungs]atomic.Int64
	lost             [frame.Rungs]atomic.Int64
	skipped          [viewer.Reasons]atomic.Int64

	// How far a hop's clock is ahead of the owner's, µs, as far as that is known.
	gatewayUs, encoderUs atomic.Int64

	rungs   [frame.Rungs]metric.MeasurementOption // labels
	paused  metric.MeasurementOption
	reasons [viewer.Reasons]metric.MeasurementOption
}

var hopNames = [frame.Hops]string{"published", "taken", "encoded", "received", "handed"}

func newStreamMeters(m *meters, stream string) *streamMeters {
	s := &streamMeters{m: m, paused: instrument.With("stream", stream, "rung", hidden)}
	for r := range s.rungs {
		rung := frame.Rung(r).String()
		s.rungs[r] = instrument.With("stream", stream, "rung", rung)
		for f, name := range fateNames {
			s.pictures[r][f] = m.pictures.With("stream", stream, "rung", rung, "fate", name)
		}
	}
	for why := range s.reasons {
		s.reasons[why] = instrument.With("stream", stream, "reason", viewer.Reason(why).String())
	}
	for hop := range s.hops {
		s.hops[hop] = m.age.With("stream", stream, "hop", hopNames[hop])
	}
	s.acknowledged = m.age.With("stream", stream, "hop", "acknowledged")
	return s
}

// picture counts one off the bus.
func (s *streamMeters) picture(r frame.Rung, f fate) { s.pictures[r][f].Add(1) }

// aged measures a picture's age at its hops.
func (s *streamMeters) aged(p *picture.Picture) {
	h, mark := &p.Header, viewer.MarkOf(p)
	ahead := [frame.Hops]int64{}
	ahead[frame.Taken], ahead[frame.Encoded] = s.encoderUs.Load(), s.encoderUs.Load()
	ahead[frame.Received], ahead[frame.Handed] = s.gatewayUs.Load(), s.gatewayUs.Load()
	span := sampled(mark.TraceID, mark.SpanID)
	for hop, us := range h.HopUs {
		if us != frame.NotSet {
			s.hops[hop].RecordIn(span, seconds(int64(us)-ahead[hop]))
		}
	}
}

// Acknowledged makes them a viewer.Account.
func (s *streamMeters) Acknowledged(m viewer.Mark, atUs int64) {
	span := sampled(m.TraceID, m.SpanID)
	s.acknowledged.RecordIn(span, seconds(atUs-m.CapturedUs-s.gatewayUs.Load()))
}

// Sent makes them a viewer.Account.
func (s *streamMeters) Sent(r frame.Rung, bytes int) {
	s.delivered[r].Add(1)
	s.bytes[r].Add(int64(bytes))
}

// Skipped makes them a viewer.Account.
func (s *streamMeters) Skipped(why viewer.Reason) { s.skipped[why].Add(1) }

// seconds of a time that two clocks may have made negative.
func seconds(us int64) float64 { return float64(max(us, 0)) / float64(time.Second/time.Microsecond) }

// sampled is a context that links a measurement to a frame's trace.
func sampled(id trace.TraceID, span trace.SpanID) trace.SpanContext {
	if !id.IsValid() {
		return trace.SpanContext{}
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span, TraceFlags: trace.FlagsSampled})
}

// corrected takes what is known of the clocks. A difference that could as well be none is taken for none.
func (s *streamMeters) corrected(c *clock) {
	s.gatewayUs.Store(beyond(c.origin.GetOffsetUs(), c.origin.GetUncertaintyUs()))
	encoder := int64(0)
	if c.encoder.GetInstance() != "" {
		encoder = beyond(c.origin.GetOffsetUs()-c.encoder.GetOffsetUs(),
			c.encoder.GetUncertaintyUs()-c.origin.GetUncertaintyUs())
	}
	s.encoderUs.Store(encoder)
}

func beyond(offset, uncertainty int64) int64 {
	if offset <= uncertainty && -offset <= uncertainty {
		return 0
	}
	return offset
}

// observe tells the totals.
func (s *streamMeters) observe(out metric.Observer) {
	for r, with := range s.rungs {
		out.ObserveInt64(s.m.delivered, s.delivered[r].Load(), with)
		out.ObserveInt64(s.m.bytes, s.bytes[r].Load(), with)
		out.ObserveInt64(s.m.lost, s.lost[r].Load(), with)
	}
	for why, with := range s.reasons {
		out.ObserveInt64(s.m.skipped, s.skipped[why].Load(), with)
	}
}

// observeViewers tells who watches. The hub's lock is held.
func (s *streamMeters) observeViewers(out metric.Observer, of *stream) {
	var watching [frame.Rungs]int64
	paused := int64(0)
	for _, st := range of.seats {
		if st.tuning.Hidden {
			paused++
		} else {
			watching[st.rung.Load()]++
		}
	}
	for r, with := range s.rungs {
		out.ObserveInt64(s.m.viewers, watching[r], with)
	}
	out.ObserveInt64(s.m.viewers, paused, s.paused)
}
