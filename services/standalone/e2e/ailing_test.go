//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/framebus/framebus/services/client"
	promclient "github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

// A service may need so much more while what it has to tell lies in the exporters' bounded queues.
const ailingGrowth = 48 << 20

// endpoint is a telemetry backend behind a network that can ail. It counts what reaches it.
type endpoint struct {
	proxy *toxiproxy.Proxy
	took  sync.Map // path → *atomic.Int64
}

func startEndpoint(t *testing.T, name string) *endpoint {
	t.Helper()
	e := &endpoint{}
	backend := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		n, _ := e.took.LoadOrStore(r.URL.Path, &atomic.Int64{})
		n.(*atomic.Int64).Add(1)
	}))
	e.proxy = startToxic(t, name, strings.TrimPrefix(backend.URL, "http://"))
	t.Cleanup(func() {
		e.proxy.Stop()
		backend.CloseClientConnections()
		backend.Close()
	})
	return e
}

// startToxic starts a network in between that can be poisoned, and be cut.
func startToxic(t *testing.T, name, target string) *toxiproxy.Proxy {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(promclient.NewRegistry()), zerolog.Nop())
	p := toxiproxy.NewProxy(server, name, "127.0.0.1:0", target)
	require.NoError(t, p.Start())
	t.Cleanup(p.Stop)
	return p
}

func (e *endpoint) url() string { return "http://" + e.proxy.Listen }

func (e *endpoint) has(path string) bool { _, ok := e.took.Load(path); return ok }

// ail has what goes to it refused, or poisons it.
func (e *endpoint) ail(t *testing.T, toxics ...string) {
	t.Helper()
	if len(toxics) == 0 {
		e.proxy.Stop()
		return
	}
	for _, toxic := range toxics {
		_, err := e.proxy.Toxics.AddToxicJson(strings.NewReader(toxic))
		require.NoError(t, err)
	}
}

// ofEachSize watches all sizes of a stream.
func ofEachSize(t *testing.T, addr string) (ws []*watcher) {
	t.Helper()
	for _, rung := range []string{"full", "half", "quarter"} {
		ws = append(ws, watchers(t, 1, client.Config{URL: "http://" + addr, Stream: "cam0", Rung: rung})...)
	}
	return ws
}

func sum(accs []account) (all account) {
	for _, a := range accs {
		all.frames += a.frames
		all.lost += a.lost
		all.backward += a.backward
	}
	return all
}

// TestTelemetryThatAilsCostsNoFrame: with everything sampled and sent, OTLP and Pyroscope are refused, silent or slow.
// No viewer misses a frame, memory stays within the exporters' queues, the log says so once a minute, and the end is
// as quick as ever.
func TestTelemetryThatAilsCostsNoFrame(t *testing.T) {
	nats := startNATS(t, "")
	// Beside it runs a chain without telemetry, which shows what the machine itself costs.
	addr, _ := startOne(t)
	control := ofEachSize(t, addr)
	for name, toxics := range map[string][]string{
		"refused": nil,
		"silent":  {`{"type":"timeout","stream":"upstream","attributes":{"timeout":0}}`},
		"slow": {
			`{"type":"bandwidth","stream":"upstream","attributes":{"rate":2}}`,
			`{"type":"latency","stream":"downstream","attributes":{"latency":3000}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			otlp, profiles := startEndpoint(t, "otlp"), startEndpoint(t, "pyroscope")
			began := time.Now()
			s := start(t, options{natsURL: nats.url(), env: []string{
				"OTEL_EXPORTER_OTLP_ENDPOINT=" + otlp.url(), "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
				"OTEL_TRACES_SAMPLER=always_on", "OTEL_METRIC_EXPORT_INTERVAL=500", "OTEL_BSP_SCHEDULE_DELAY=200",
				"OTEL_BLRP_SCHEDULE_DELAY=200", "PYROSCOPE_SERVER_ADDRESS=" + profiles.url(),
			}})
			parts := map[string]*process{"capture": s.capture, "encoder": s.encoder, "gateway": s.gateway}
			ws := ofEachSize(t, s.addr)
			require.Eventually(t, func() bool {
				return otlp.has("/v1/traces") && otlp.has("/v1/metrics") && otlp.has("/v1/logs")
			}, patience, 20*time.Millisecond, "the endpoints are told nothing while they are well")
			<-time.After(time.Second)
			before := map[string]int64{}
			for part, p := range parts {
				before[part] = memory(t, p.pid())
			}
			otlp.ail(t, toxics...)
			profiles.ail(t, toxics...)
			steadily(t, func() string {
				accs := during(slices.Concat(ws, control), 5*time.Second)
				had, machine := sum(accs[:len(ws)]), sum(accs[len(ws):])
				t.Logf("%d pictures, %d lost; without telemetry %d, %d lost", had.frames, had.lost, machine.frames, machine.lost)
				if had.backward > 0 || had.frames < machine.frames/2 || had.lost > 2*machine.lost {
					return fmt.Sprintf("%d of %d pictures lost, %d backward", had.lost, had.frames, had.backward)
				}
				return ""
			})
			for part, p := range parts {
				grown := memory(t, p.pid()) - before[part]
				t.Logf("%s: %d MB, grown by %.1f MB", part, before[part]>>20, float64(grown)/(1<<20))
				require.Less(t, grown, int64(ailingGrowth), "%s grows", part)
			}
			for part, p := range parts {
				t.Logf("%s ended within %v", part, p.stop().Round(time.Millisecond))
			}
			for part, p := range parts {
				said := map[string]int{}
				for line := range strings.Lines(p.out.String()) {
					switch {
					case strings.Contains(line, "level=INFO"), strings.Contains(line, "not sent at the end"):
					case strings.Contains(line, "endpoint=OTLP"):
						said["OTLP"]++
					case strings.Contains(line, "endpoint=Pyroscope"):
						said["Pyroscope"]++
					default:
						t.Errorf("%s says: %s", part, line)
					}
				}
				t.Logf("%s complained %v", part, said)
				for kind, n := range said {
					require.LessOrEqual(t, n, 1+int(time.Since(began)/time.Minute), "%s of %s", part, kind)
				}
			}
		})
	}
}
