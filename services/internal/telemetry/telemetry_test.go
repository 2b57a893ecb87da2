package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"

	"github.com/framebus/framebus/services/internal/telemetry"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
)

func TestLogsBearWhoAndTrace(t *testing.T) {
	var out bytes.Buffer
	tel, err := telemetry.Setup(context.Background(), telemetry.Config{
		Service: "encoder", Instance: "e1", LogLevel: "info", LogFormat: "json", LogTo: &out,
	})
	require.NoError(t, err)
	defer tel.Close()
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	tel.Log.InfoContext(trace.ContextWithSpanContext(context.Background(), sc), "hello")
	var record map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &record))
	require.Equal(t, "encoder", record["service"])
	require.Equal(t, sc.TraceID().String(), record["trace_id"])
	require.False(t, tel.Tracing)
}

func TestAnUnknownLogLevelIsRefused(t *testing.T) {
	_, err := telemetry.Setup(context.Background(), telemetry.Config{LogLevel: "loud", LogFormat: "text"})
	require.ErrorContains(t, err, "log level")
}
