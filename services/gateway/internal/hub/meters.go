package hub

import (
	"context"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/gateway/internal/viewer"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// What became of pictures off the bus.
const (
	taken      = "taken"
	superseded = "superseded"
	malformed  = "malformed"
	staleDrop  = "stale"
)

type meters struct {
	pictures, delivered, skipped, paints metric.Int64Counter
	moves                                metric.Int64Counter
	byFate                               map[string]metric.MeasurementOption
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
		delivered: counter("framebus.gateway.delivered", "{frame}", "Pictures sent to viewers that have left."),
		skipped:   counter("framebus.gateway.skipped", "{frame}", "Pictures not sent to viewers that have left, by reason."),
		paints:    counter("framebus.gateway.painted", "{message}", "Reports of what viewers showed."),
		moves:     counter("framebus.gateway.rung.changes", "{change}", "Viewers' changes of rung by reason."),
		byFate:    map[string]metric.MeasurementOption{},
	}
	for _, fate := range []string{taken, superseded, malformed, staleDrop} {
		out.byFate[fate] = metric.WithAttributeSet(attribute.NewSet(attribute.String("fate", fate)))
	}
	return out
}

func (m *meters) picture(fate string) { m.pictures.Add(context.Background(), 1, m.byFate[fate]) }

// moved counts a viewer's change of rung.
func (m *meters) moved(f viewer.Fare) {
	m.moves.Add(context.Background(), 1, metric.WithAttributes(
		attribute.String("rung", frame.Rung(f.Rung).String()), attribute.String("reason", string(f.Reason))))
}

func (m *meters) painted() { m.paints.Add(context.Background(), 1) }

func (m *meters) viewerEnded(s viewer.Stats) {
	ctx := context.Background()
	m.delivered.Add(ctx, int64(s.Frames))
	for _, lane := range s.Streams {
		for why, n := range lane.Skipped {
			m.skipped.Add(ctx, int64(n), metric.WithAttributes(attribute.String("reason", why)))
		}
	}
}
