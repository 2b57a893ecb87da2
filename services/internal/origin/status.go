package origin

import (
	"context"
	"fmt"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// StreamStatus is what this owner tells of its stream.
func (o *Origin) StreamStatus() *pb.StreamStatus {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	s := &pb.StreamStatus{
		Name: o.cfg.Stream, Owner: pb.Owner_OWNER_CAM, Source: o.cfg.Source, Cause: o.cause,
		Width: uint32(o.w), Height: uint32(o.h), Fps: o.fps,
	}
	if o.cfg.By == subject.Pub {
		s.Owner = pb.Owner_OWNER_PUB
	}
	switch o.claim.standing {
	case claiming:
		s.State, s.Cause = pb.StreamState_STREAM_STATE_CLAIMING, "claiming the name"
	case standby:
		s.State = pb.StreamState_STREAM_STATE_STANDBY
		s.Cause = fmt.Sprintf("%s has this stream; this one takes over when that one ends", o.claim.ownerName())
	case owner:
		s.State = pb.StreamState_STREAM_STATE_SLATE
		if o.live {
			s.State = pb.StreamState_STREAM_STATE_LIVE
		}
		if o.busCause != "" {
			s.Cause = o.busCause
		}
		s.Epoch, s.Sequence = o.claim.epoch, o.acct.sequence
		s.Book = o.acct.message(o.openFrames(), now)
		s.Readers = o.demand.echoes()
		s.Clocks = o.offsets.list(now)
	}
	s.Ended = o.endedBooks(now)
	return s
}

// openFrames is the number of those that went out and are to be answered. The caller holds mu.
func (o *Origin) openFrames() int {
	n := o.credit.opened(o.claim.epoch)
	if o.hand != nil && o.hand.again {
		n++
	}
	return n
}

// meters are an origin's instruments.
type meters struct {
	trip metric.Float64Histogram
	attr metric.MeasurementOption
}

func (m *meters) answered(took time.Duration) {
	m.trip.Record(context.Background(), took.Seconds(), m.attr)
}

// measure registers the instruments; stop ends them.
func (o *Origin) measure() (stop func(), err error) {
	stream := attribute.String("stream", o.cfg.Stream)
	o.meters.attr = metric.WithAttributeSet(attribute.NewSet(stream))
	o.meters.trip, err = o.d.Meter.Float64Histogram("framebus.origin.done.duration", metric.WithUnit("s"),
		metric.WithDescription("From publishing a raw frame until its Done."),
		metric.WithExplicitBucketBoundaries(.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2))
	if err != nil {
		return nil, err
	}
	frames, err := o.d.Meter.Int64ObservableCounter("framebus.origin.frames", metric.WithUnit("{frame}"),
		metric.WithDescription("Captured frames by what became of them."))
	if err != nil {
		return nil, err
	}
	open, err := o.d.Meter.Int64ObservableGauge("framebus.origin.open", metric.WithUnit("{frame}"),
		metric.WithDescription("Frames that encoders have in hand."))
	if err != nil {
		return nil, err
	}
	r, err := o.d.Meter.RegisterCallback(func(_ context.Context, out metric.Observer) error {
		o.mu.Lock()
		n := o.openFrames()
		all := o.past
		for _, a := range append([]*account{o.acct}, o.ended...) {
			all.addRevisable(a)
		}
		o.mu.Unlock()
		out.ObserveInt64(open, int64(n), metric.WithAttributes(stream))
		see := func(outcome string, n uint64) {
			out.ObserveInt64(frames, int64(n), metric.WithAttributes(stream, attribute.String("outcome", outcome)))
		}
		see("published", all.published)
		see("unwanted", all.unwanted)
		see("unanswered", all.unanswered)
		for why, n := range all.dropped {
			see(reasonWords[why], n)
		}
		return nil
	}, frames, open)
	if err != nil {
		return nil, err
	}
	return func() { _ = r.Unregister() }, nil // never fails for a registration of its own
}
