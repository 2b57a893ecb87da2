package instrument_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/framebus/framebus/services/internal/instrument"
	"github.com/framebus/framebus/services/internal/telemetry"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
)

func setUp(t *testing.T) (*telemetry.Telemetry, func() string) {
	t.Helper()
	tel, err := telemetry.Setup(context.Background(), telemetry.Config{
		Service: "x", LogLevel: "error", LogFormat: "text", LogTo: io.Discard,
	})
	require.NoError(t, err)
	t.Cleanup(tel.Close)
	return tel, func() string {
		w := httptest.NewRecorder()
		tel.Metrics.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		return w.Body.String()
	}
}

func TestMeasuringAllocatesNothing(t *testing.T) {
	tel, scrape := setUp(t)
	k := instrument.New(tel.Meter)
	count := k.Counter("framebus.test.frames", instrument.Frames, "").With("stream", "cam0", "fate", "encoded")
	spent := k.Spent("framebus.test.busy", "")
	took := k.Durations("framebus.test.duration", "", .001, .01).With("stream", "cam0")
	require.NoError(t, k.Err())
	require.Contains(t, scrape(), "framebus_test_frames_total{", "a series begins at zero")
	require.Zero(t, testing.AllocsPerRun(100, func() {
		count.Add(1)
		spent.Add(.002)
		took.Record(.002)
		took.RecordIn(trace.SpanContext{}, .002)
	}))
	require.Regexp(t, `framebus_test_frames_total\{[^}]*fate="encoded"[^}]*\} 101`, scrape())
	require.Regexp(t, `framebus_test_duration_seconds_bucket\{[^}]*le="0.01"\} 202`, scrape())
	require.Contains(t, scrape(), "framebus_test_busy_seconds_total{")
}

func TestWhatIsObservedEndsWithStop(t *testing.T) {
	tel, scrape := setUp(t)
	k := instrument.New(tel.Meter)
	up := k.Gauge("framebus.test.up", "{connection}", "")
	stop := k.Observe(func(out metric.Observer) { out.ObserveInt64(up, 1, instrument.With("connection", "data")) }, up)
	require.Regexp(t, `framebus_test_up\{[^}]*connection="data"[^}]*\} 1`, scrape())
	stop()
	require.NotContains(t, scrape(), "framebus_test_up")
}

func TestZeroValuesMeasureNothing(t *testing.T) {
	require.NotPanics(t, func() {
		var c instrument.Counter
		c.Add(1)
		c.With("a", "b").Add(1)
		var s instrument.Spent
		s.Add(1)
		var d instrument.Durations
		d.Record(1)
		d.RecordIn(trace.NewSpanContext(trace.SpanContextConfig{TraceFlags: trace.FlagsSampled}), 1)
		k := instrument.New(nil)
		k.Displaced("x").Add(1)
		require.NoError(t, k.Err())
	})
}

// broken refuses everything.
type broken struct{ noop.Meter }

var errBroken = errors.New("broken")

func (broken) Int64Counter(string, ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return nil, errBroken
}

func TestWhatWentWrongIsToldAtTheEnd(t *testing.T) {
	k := instrument.New(broken{})
	k.Counter("x", "1", "").With("a", "b").Add(1)
	require.ErrorIs(t, k.Err(), errBroken)
	k.Observe(func(metric.Observer) {})()
}

func BenchmarkRecord(b *testing.B) {
	tel, err := telemetry.Setup(context.Background(), telemetry.Config{
		Service: "x", LogLevel: "error", LogFormat: "text", LogTo: io.Discard,
	})
	require.NoError(b, err)
	defer tel.Close()
	k := instrument.New(tel.Meter)
	count := k.Counter("framebus.test.frames", instrument.Frames, "").With("stream", "cam0", "fate", "encoded")
	took := k.Durations("framebus.test.duration", "", .001, .002, .005, .01, .02, .05, .1, .2, .5, 1).
		With("stream", "cam0", "hop", "received")
	b.Run("counter", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			count.Add(1)
		}
	})
	b.Run("histogram", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			took.Record(.0123)
		}
	})
}
