package stage_test

import (
	"bytes"
	"context"
	"regexp"
	"runtime/pprof"
	"testing"

	"github.com/framebus/framebus/services/internal/stage"
	"github.com/framebus/framebus/services/internal/telemetry/spantest"
	otelpyroscope "github.com/grafana/otel-profiling-go"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// labelled are the labels of this test's goroutine.
func labelled(t *testing.T) string {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, pprof.Lookup("goroutine").WriteTo(&out, 1))
	m := regexp.MustCompile(`(?m)^# labels: (.*)$`).FindStringSubmatch(out.String())
	if m == nil {
		return ""
	}
	return m[1]
}

func TestAStageLabelsItsGoroutine(t *testing.T) {
	defer pprof.SetGoroutineLabels(context.Background())
	full := stage.New(true, stage.Encode, "full")
	other := stage.New(true, stage.Encode, "")
	full.Enter()
	require.JSONEq(t, `{"rung":"full", "stage":"encode"}`, labelled(t))
	other.Enter()
	require.JSONEq(t, `{"stage":"encode"}`, labelled(t))
	require.Zero(t, testing.AllocsPerRun(100, func() { full.Enter(); other.Enter() }))
}

func TestWhereNobodyProfilesNothingIsLabelled(t *testing.T) {
	l := stage.New(false, stage.Encode, "full")
	l.Enter()
	stage.Label{}.Enter()
	require.Empty(t, labelled(t))
	tracer := noop.Tracer{}
	require.Equal(t, trace.Tracer(tracer), l.Tracer(tracer))
}

// A span's own labels, which lead from it to its profile, come on top, and go with it.
func TestSpansKeepTheirStage(t *testing.T) {
	defer pprof.SetGoroutineLabels(context.Background())
	_, inner := spantest.New(t)
	l := stage.New(true, stage.Encode, "half")
	tracer := l.Tracer(otelpyroscope.NewTracerProvider(provider{t: inner}).Tracer(""))
	l.Enter()
	_, span := tracer.Start(context.Background(), "encode half")
	require.Contains(t, labelled(t), `"stage":"encode"`)
	require.Contains(t, labelled(t), `"span_id":"`+span.SpanContext().SpanID().String())
	span.End()
	require.JSONEq(t, `{"rung":"half", "stage":"encode"}`, labelled(t))
}

type provider struct {
	noop.TracerProvider
	t trace.Tracer
}

func (p provider) Tracer(string, ...trace.TracerOption) trace.Tracer { return p.t }
