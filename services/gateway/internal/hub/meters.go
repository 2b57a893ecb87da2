package hub

import (
	"context"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/gateway/internal/viewer"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// fate is what became of a picture off the bus.
type fate int

const (
	taken fate = iota
	superseded
	malformed
	stale
	fates // their number
)

var fateNames = [fates]string{"taken", "superseded", "malformed", "stale"}

type meters struct {
	pictures, delivered, bytes, skipped, paints, moves, qualities, lost metric.Int64Counter

	byFate [fates][]metric.AddOption // built once: a picture allocates no attributes
}

func newMeters(m metric.Meter) *meters {
	if m == nil {
		m = noop.Meter{}
	}
	counter := func(name, unit, text string) metric.Int64Counter {
		c, err := m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(text))
		if err != nil {
			return noop.Int64Counter{} // the names are constant and valid
		}
		return c
	}
	out := &meters{
		pictures:  counter("framebus.gateway.pictures", "{frame}", "Pictures off the bus by what became of them."),
		delivered: counter("framebus.gateway.delivered", "{frame}", "Pictures sent to viewers."),
		bytes:     counter("framebus.gateway.delivered.size", "By", "Bytes of pictures sent to viewers."),
		skipped:   counter("framebus.gateway.skipped", "{frame}", "Pictures not sent to viewers, by reason."),
		paints:    counter("framebus.gateway.painted", "{message}", "Reports of what viewers showed."),
		lost: counter("framebus.gateway.lost", "{frame}",
			"Pictures that were encoded while this gateway was subscribed, and never came."),
		moves: counter("framebus.gateway.rung.changes", "{change}", "Viewers' changes of rung by reason."),
	}
	out.qualities = counter("framebus.gateway.quality.changes", "{change}",
		"Changes of quality that viewers were told of, by reason.")
	for f, name := range fateNames {
		set := attribute.NewSet(attribute.String("fate", name))
		out.byFate[f] = []metric.AddOption{metric.WithAttributeSet(set)}
	}
	return out
}

func (m *meters) picture(f fate) { m.pictures.Add(context.Background(), 1, m.byFate[f]...) }

// moved counts a viewer's change of rung.
func (m *meters) moved(f viewer.Fare) {
	m.moves.Add(context.Background(), 1, metric.WithAttributes(
		attribute.String("rung", frame.Rung(f.Rung).String()), attribute.String("reason", string(f.Reason))))
}

func (m *meters) lostOnBus(stream string, r frame.Rung, n uint64) {
	m.lost.Add(context.Background(), int64(n), metric.WithAttributes(
		attribute.String("stream", stream), attribute.String("rung", r.String())))
}

// requalified counts a change of quality that a viewer was told of.
func (m *meters) requalified(rung int, reason string) {
	m.qualities.Add(context.Background(), 1, metric.WithAttributes(
		attribute.String("rung", frame.Rung(rung).String()), attribute.String("reason", reason)))
}

func (m *meters) painted() { m.paints.Add(context.Background(), 1) }

// counted is what the meters know of a viewer already.
type counted struct {
	frames, bytes uint64
	skipped       map[string]uint64
}

// viewer counts what a viewer has had since the last time.
func (m *meters) viewer(was counted, s viewer.Stats) counted {
	ctx := context.Background()
	m.delivered.Add(ctx, int64(s.Frames-was.frames))
	m.bytes.Add(ctx, int64(s.Bytes-was.bytes))
	now := counted{frames: s.Frames, bytes: s.Bytes, skipped: map[string]uint64{}}
	for _, lane := range s.Streams {
		for why, n := range lane.Skipped {
			now.skipped[why] += n
		}
	}
	for why, n := range now.skipped {
		if n > was.skipped[why] { // a stream that the viewer has left takes its count along
			m.skipped.Add(ctx, int64(n-was.skipped[why]), metric.WithAttributes(attribute.String("reason", why)))
		}
	}
	return now
}
