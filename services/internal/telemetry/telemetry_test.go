package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"testing"
	"time"

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

// An endpoint that takes connections and says nothing must not hold the end up: the SDK would wait for 30 s.
func TestASilentEndpointDoesNotHoldTheEndUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+l.Addr().String())
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	tel, err := telemetry.Setup(context.Background(), telemetry.Config{
		Service: "encoder", LogLevel: "error", LogFormat: "text", LogTo: &bytes.Buffer{},
	})
	require.NoError(t, err)
	require.True(t, tel.Tracing)
	_, span := tel.Tracer.Start(context.Background(), "x")
	require.True(t, span.SpanContext().IsSampled())
	span.End()
	ended := make(chan struct{})
	go func() { tel.Close(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(15 * time.Second):
		t.Fatal("still waiting for the endpoint")
	}
}
