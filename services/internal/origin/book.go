package origin

import (
	"context"
	"maps"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// book is the account of one epoch: captured = published + unwanted + dropped + waiting, published = done + unanswered
// + open. The origin's lock guards it.
type book struct {
	epoch                         uint64
	captured, published, unwanted uint64
	drops, fates                  map[string]uint64
	noAnswer                      uint64
}

func newBook() book { return book{drops: map[string]uint64{}, fates: map[string]uint64{}} }

func (b *book) drop(epoch uint64, why string) {
	if epoch == b.epoch {
		b.drops[why]++
	}
}

func (b *book) answered(epoch uint64, fate string) {
	if epoch == b.epoch {
		b.fates[fate]++
	}
}

func (b *book) unanswered(lost []key) {
	for _, k := range lost {
		if k.epoch == b.epoch {
			b.noAnswer++
		}
	}
}

// proto is the book as told; what is published and neither answered nor given up is open.
func (b *book) proto() *pb.Book {
	out := &pb.Book{
		Captured: b.captured, Published: b.published, Unwanted: b.unwanted, Unanswered: b.noAnswer,
		Dropped: maps.Clone(b.drops), Done: maps.Clone(b.fates),
	}
	closed := b.noAnswer
	for _, n := range b.fates {
		closed += n
	}
	out.Open = b.published - min(closed, b.published)
	return out
}

// StreamStatus is the owner's word about the stream.
func (o *Origin) StreamStatus() *pb.StreamStatus {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := &pb.StreamStatus{
		Name: o.cfg.Stream, Owner: o.owner, State: o.claim.state, Cause: o.cause, Source: o.cfg.Source,
		Width: uint32(o.width), Height: uint32(o.height), Fps: o.fps,
		Epoch: o.claim.Epoch(), Sequence: o.sequence, Book: o.book.proto(), Readers: o.echoes, Clocks: o.clocks,
	}
	switch {
	case s.State == pb.StreamState_STREAM_STATE_STANDBY:
		s.Cause = "another owner: " + o.claim.rival.instance
	case s.State == pb.StreamState_STREAM_STATE_CLAIMING:
		s.Cause = "claiming the name"
	case o.trouble != "":
		s.Cause = o.trouble
	case !o.live:
		s.State = pb.StreamState_STREAM_STATE_SLATE
	}
	s.Readers = append([]*pb.ReaderEcho(nil), o.echoes...)
	return s
}

// meters count frames by what became of them.
type meters struct {
	frames        metric.Int64Counter
	pub, noAnswer metric.MeasurementOption
	reasons       map[string]metric.MeasurementOption
	fates         map[string]metric.MeasurementOption
}

func newMeters(m metric.Meter, stream string) *meters {
	if m == nil {
		m = noop.Meter{}
	}
	frames, err := m.Int64Counter("framebus.origin.frames", metric.WithUnit("{frame}"),
		metric.WithDescription("Frames of a stream's owner by stage and reason."))
	if err != nil {
		frames = noop.Int64Counter{} // the name is constant and valid
	}
	opt := func(stage, reason string) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(attribute.String("stream", stream),
			attribute.String("stage", stage), attribute.String("reason", reason)))
	}
	out := &meters{frames: frames, pub: opt("published", ""), noAnswer: opt("done", "unanswered"),
		reasons: map[string]metric.MeasurementOption{}, fates: map[string]metric.MeasurementOption{}}
	for _, why := range []string{droppedSuperseded, droppedTooLarge, droppedDisconnected, droppedEpoch} {
		out.reasons[why] = opt("dropped", why)
	}
	for f := range pb.Fate_name {
		word := fateWord(pb.Fate(f))
		out.fates[word] = opt("done", word)
	}
	return out
}

func (m *meters) published()         { m.frames.Add(context.Background(), 1, m.pub) }
func (m *meters) dropped(why string) { m.frames.Add(context.Background(), 1, m.reasons[why]) }
func (m *meters) done(fate string)   { m.frames.Add(context.Background(), 1, m.fates[fate]) }
func (m *meters) unanswered(n int)   { m.frames.Add(context.Background(), int64(n), m.noAnswer) }
