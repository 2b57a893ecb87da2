package telemetry_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framebus/framebus/services/internal/telemetry"
	"github.com/framebus/framebus/services/internal/telemetry/logtest"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
)

// sink keeps what is sent to it, by path.
type sink struct {
	mu    sync.Mutex
	got   map[string][]byte
	names []string // of profiles
}

func (s *sink) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got[r.URL.Path] = append(s.got[r.URL.Path], b...)
	if name, _, ok := strings.Cut(r.URL.Query().Get("name"), "{"); ok {
		s.names = append(s.names, name)
	}
}

func (s *sink) at(path string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.got[path])
}

func setUp(t *testing.T, logTo io.Writer) *telemetry.Telemetry {
	t.Helper()
	tel, err := telemetry.Setup(context.Background(), telemetry.Config{
		Service: "encoder", Instance: "e1", LogLevel: "info", LogFormat: "text", LogTo: logTo,
		ProfileEvery: time.Second,
	})
	require.NoError(t, err)
	return tel
}

func TestEverySignalIsSent(t *testing.T) {
	s := &sink{got: map[string][]byte{}}
	server := httptest.NewServer(s)
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("PYROSCOPE_SERVER_ADDRESS", server.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
	t.Setenv("OTEL_BLRP_SCHEDULE_DELAY", "10")
	t.Setenv("OTEL_METRIC_EXPORT_INTERVAL", "50")
	var out logtest.Buffer
	tel := setUp(t, &out)
	require.True(t, tel.Tracing)
	require.True(t, tel.Profiling)
	ctx, span := tel.Tracer.Start(context.Background(), "some span")
	tel.Log.InfoContext(ctx, "something happened", "answer", "forty-two")
	tel.Log.Debug("nothing of interest")
	span.End()
	defer tel.Close()
	for _, path := range []string{"/v1/logs", "/v1/traces", "/v1/metrics", "/ingest"} {
		require.Eventually(t, func() bool { return len(s.at(path)) > 0 }, time.Minute, 10*time.Millisecond, path)
	}

	id := span.SpanContext().TraceID()
	logs := s.at("/v1/logs")
	require.Contains(t, string(logs), "something happened")
	require.Contains(t, string(logs), "forty-two")
	require.True(t, bytes.Contains(logs, id[:]), "the record bears its trace")
	require.NotContains(t, string(logs), "nothing of interest")
	require.Contains(t, out.String(), "something happened", "it is written too")
	require.Contains(t, out.String(), "trace_id="+id.String())
	require.Contains(t, string(s.at("/v1/traces")), "some span")
	require.Contains(t, string(s.at("/v1/traces")), "pyroscope.profile.id", "a span leads to its profile")
	require.Contains(t, string(s.at("/v1/metrics")), "go.goroutine.count")
}

// TestEndpointsThatAilHoldNothingUp: none that refuses or stays silent holds the end up for the SDK's half minute,
// keeps a goroutine (TestMain looks for those) or fills the log.
func TestEndpointsThatAilHoldNothingUp(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, gone.Close())
	for name, address := range map[string]string{"silent": silent.Addr().String(), "refused": gone.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+address)
			t.Setenv("PYROSCOPE_SERVER_ADDRESS", "http://"+address)
			t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
			var out logtest.Buffer
			tel := setUp(t, &out)
			for range 10_000 { // more than the queues hold
				_, span := tel.Tracer.Start(context.Background(), "x")
				span.End()
				tel.Log.Log(context.Background(), -1, "not even written")
			}
			for range 100 {
				otel.Handle(io.ErrUnexpectedEOF)
			}
			ended := make(chan struct{})
			go func() { tel.Close(); close(ended) }()
			select {
			case <-ended:
			case <-time.After(15 * time.Second):
				t.Fatal("still waiting for the endpoint")
			}
			require.Equal(t, 1, strings.Count(out.String(), "endpoint=OTLP"), out.String())
			require.LessOrEqual(t, strings.Count(out.String(), "endpoint=Pyroscope"), 1)
			require.LessOrEqual(t, strings.Count(out.String(), "\n"), 3)
		})
	}
}

func TestServicesOfOneProcessHaveOneProfile(t *testing.T) {
	s := &sink{got: map[string][]byte{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	t.Setenv("PYROSCOPE_SERVER_ADDRESS", server.URL)
	registry := telemetry.NewRegistry()
	var all []*telemetry.Telemetry
	for _, name := range []string{"capture", "encoder"} {
		var out logtest.Buffer
		tel, err := telemetry.Setup(context.Background(), telemetry.Config{
			Service: name, LogLevel: "info", LogFormat: "text", LogTo: &out, Registry: registry,
			ProfileEvery: time.Second,
		})
		require.NoError(t, err)
		require.True(t, tel.Profiling)
		all = append(all, tel)
	}
	require.Eventually(t, func() bool { return len(s.at("/ingest")) > 0 }, time.Minute, 10*time.Millisecond)
	for _, tel := range all {
		tel.Close()
	}
	s.mu.Lock() // what was broken off may still be on its way
	defer s.mu.Unlock()
	require.NotEmpty(t, s.names)
	for _, name := range s.names {
		require.Equal(t, "framebus", name)
	}
}
