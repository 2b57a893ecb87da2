// Package instrument makes the instruments of a room by the OpenTelemetry API and binds them to labels that never
// change, so that counting a frame builds no attributes and allocates nothing. It knows no exporter.
package instrument

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
)

// Units, as UCUM spells them.
const (
	Frames   = "{frame}"
	Messages = "{message}"
	Viewers  = "{viewer}"
	Changes  = "{change}"
	Bytes    = "By"
	Seconds  = "s"
)

// Maker makes the instruments of one room and keeps what went wrong for the end.
type Maker struct {
	m    metric.Meter
	errs []error
}

// New makes instruments of m; nil means such as measure nothing.
func New(m metric.Meter) *Maker {
	if m == nil {
		m = noop.Meter{}
	}
	return &Maker{m: m}
}

// Err is what went wrong so far.
func (k *Maker) Err() error {
	if err := errors.Join(k.errs...); err != nil {
		return fmt.Errorf("instruments: %w", err)
	}
	return nil
}

func (k *Maker) note(err error) {
	if err != nil {
		k.errs = append(k.errs, err)
	}
}

// Counter counts whole things.
func (k *Maker) Counter(name, unit, text string) Counter {
	c, err := k.m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(text))
	k.note(err)
	return Counter{c: c}
}

// Displaced counts what a full queue gave up for something newer, where no outcome tells of it.
func (k *Maker) Displaced(queue string) Counter {
	return k.Counter("framebus.queue.displaced", "{item}",
		"What a full queue gave up for something newer, where no outcome tells of it.").With("queue", queue)
}

// Spent sums up time, in seconds.
func (k *Maker) Spent(name, text string) Spent {
	c, err := k.m.Float64Counter(name, metric.WithUnit(Seconds), metric.WithDescription(text))
	k.note(err)
	return Spent{c: c}
}

// Durations is a histogram of times in seconds, with buckets up to these bounds.
func (k *Maker) Durations(name, text string, bounds ...float64) Durations {
	h, err := k.m.Float64Histogram(name, metric.WithUnit(Seconds), metric.WithDescription(text),
		metric.WithExplicitBucketBoundaries(bounds...))
	k.note(err)
	return Durations{h: h}
}

// Gauge is looked at when somebody asks.
func (k *Maker) Gauge(name, unit, text string) metric.Int64ObservableGauge {
	g, err := k.m.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(text))
	k.note(err)
	return g
}

// Total is a counter that is looked at when somebody asks; whoever observes it keeps the count.
func (k *Maker) Total(name, unit, text string) metric.Int64ObservableCounter {
	c, err := k.m.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(text))
	k.note(err)
	return c
}

// Observe has fn called whenever somebody asks for these, until stop. Nothing else may be observed in it.
func (k *Maker) Observe(fn func(metric.Observer), of ...metric.Observable) (stop func()) {
	if k.Err() != nil {
		return func() {}
	}
	r, err := k.m.RegisterCallback(func(_ context.Context, out metric.Observer) error { fn(out); return nil }, of...)
	if err != nil {
		k.note(err)
		return func() {}
	}
	return func() { _ = r.Unregister() } // never fails for a registration of its own
}

// With is labels, as names and values in turn.
func With(labels ...string) metric.MeasurementOption {
	return metric.WithAttributeSet(set(labels))
}

func set(labels []string) attribute.Set {
	kv := make([]attribute.KeyValue, 0, len(labels)/2)
	for i := 0; i+1 < len(labels); i += 2 {
		kv = append(kv, attribute.String(labels[i], labels[i+1]))
	}
	return attribute.NewSet(kv...)
}

// Counter counts under the labels that it is bound to. Its zero value counts nothing.
type Counter struct {
	c    metric.Int64Counter
	with []metric.AddOption
}

// With binds it to labels, names and values in turn. Its series begins at zero, so that a rate sees the first count.
func (c Counter) With(labels ...string) Counter {
	c.with = []metric.AddOption{With(labels...)}
	c.Add(0)
	return c
}

// Add counts n more.
func (c Counter) Add(n int) {
	if c.c != nil {
		c.c.Add(context.Background(), int64(n), c.with...)
	}
}

// Spent sums up time under the labels that it is bound to. Its zero value sums up nothing.
type Spent struct{ c metric.Float64Counter }

// Add adds so many seconds.
func (s Spent) Add(seconds float64) {
	if s.c != nil {
		s.c.Add(context.Background(), seconds)
	}
}

// Durations measures times under the labels that it is bound to. Its zero value measures nothing.
type Durations struct {
	h    metric.Float64Histogram
	with []metric.RecordOption
}

// With binds it to labels, names and values in turn.
func (d Durations) With(labels ...string) Durations {
	d.with = []metric.RecordOption{With(labels...)}
	return d
}

// Record measures one time.
func (d Durations) Record(seconds float64) {
	if d.h != nil {
		d.h.Record(context.Background(), seconds, d.with...)
	}
}

// RecordIn measures one time in a span, which becomes its exemplar if it is sampled. That costs an allocation.
func (d Durations) RecordIn(span trace.SpanContext, seconds float64) {
	if !span.IsSampled() {
		d.Record(seconds)
		return
	}
	if d.h != nil {
		d.h.Record(trace.ContextWithSpanContext(context.Background(), span), seconds, d.with...)
	}
}
