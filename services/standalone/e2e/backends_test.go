//go:build e2e

package e2e

import (
	"encoding/json"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// repository is the top of the tree, seen from here.
const repository = "../../.."

// tool is the path of a pinned tool. `make e2e` has built it before; where it was not, this builds it.
func tool(t *testing.T, name string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(repository, "deploy/setup/tool.sh"), name)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

// deployed is a file of deploy/, as its users have it.
func deployed(t *testing.T, path ...string) string {
	t.Helper()
	abs, err := filepath.Abs(filepath.Join(append([]string{repository, "deploy"}, path...)...))
	require.NoError(t, err)
	return abs
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

// startPyroscope starts a real one that keeps its rings to itself.
func startPyroscope(t *testing.T) (addr string) {
	t.Helper()
	addr = freeAddr(t)
	grpc := freeAddr(t)
	host, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	_, grpcPort, err := net.SplitHostPort(grpc)
	require.NoError(t, err)
	data := t.TempDir()
	run(t, tool(t, "pyroscope"), "-target=all", "-self-profiling.disable-push=true", "-usage-stats.enabled=false",
		"-server.http-listen-address="+host, "-server.http-listen-port="+port,
		"-server.grpc-listen-address="+host, "-server.grpc-listen-port="+grpcPort,
		"-memberlist.bind-addr="+host, "-memberlist.bind-port=0", "-memberlist.advertise-addr="+host,
		"-ingester.lifecycler.addr="+host, "-compactor.ring.instance-addr="+host,
		"-distributor.ring.instance-addr="+host, "-store-gateway.sharding-ring.instance-addr="+host,
		"-query-frontend.instance-addr="+host, "-query-scheduler.ring.instance-addr="+host,
		"-overrides-exporter.ring.instance-addr="+host,
		"-pyroscopedb.data-path="+filepath.Join(data, "db"), "-storage.filesystem.dir="+filepath.Join(data, "shared"),
		"-compactor.data-dir="+filepath.Join(data, "compactor"), "-ingester.min-ready-duration=0s", "-log.level=warn")
	waitOK(t, "http://"+addr+"/ready")
	return addr
}

// prometheus is a real one, with deploy/prometheus/local.yml but for its targets and its pace.
type prometheus struct {
	t    *testing.T
	addr string
}

func startPrometheus(t *testing.T, targets ...string) *prometheus {
	t.Helper()
	p := &prometheus{t: t, addr: freeAddr(t)}
	dir := t.TempDir()
	list, err := json.Marshal(targets)
	require.NoError(t, err)
	conf := readFile(t, deployed(t, "prometheus/local.yml"))
	for old, new := range map[string]string{
		`["127.0.0.1:8002"]`: string(list), "_interval: 5s": "_interval: 1s",
		"[alerts.yml]": "[" + deployed(t, "prometheus/alerts.yml") + "]",
	} {
		require.Contains(t, conf, old, "deploy/prometheus/local.yml")
		conf = strings.ReplaceAll(conf, old, new)
	}
	path := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(path, []byte(conf), 0o600))
	run(t, tool(t, "prometheus"), "--config.file="+path, "--web.listen-address="+p.addr,
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--enable-feature=exemplar-storage", "--log.level=warn")
	waitOK(t, "http://"+p.addr+"/-/ready")
	return p
}

// ask reads an answer of the HTTP API into data.
func (p *prometheus) ask(path string, query url.Values, data any) {
	p.t.Helper()
	code, body := get(p.t, "http://"+p.addr+"/api/v1/"+path+"?"+query.Encode())
	require.Equal(p.t, 200, code, "%s %s: %s", path, query, body)
	require.NoError(p.t, json.Unmarshal([]byte(body), &struct{ Data any }{data}), body)
}

// value is one of an instant vector.
type value struct {
	Metric map[string]string
	Value  [2]any // unix s, and the value as a word
}

// query is what an expression amounts to now, without values that are none.
func (p *prometheus) query(expr string) []value {
	p.t.Helper()
	var data struct {
		ResultType string
		Result     json.RawMessage
	}
	p.ask("query", url.Values{"query": {expr}}, &data)
	var all, out []value
	require.Equal(p.t, "vector", data.ResultType, expr)
	require.NoError(p.t, json.Unmarshal(data.Result, &all), expr)
	for _, s := range all {
		if s.Value[1] != "NaN" {
			out = append(out, s)
		}
	}
	return out
}

func waitOK(t *testing.T, url string) {
	t.Helper()
	require.Eventually(t, func() bool { code, _ := get(t, url); return code == 200 }, patience, 50*time.Millisecond,
		"%s never got ready", url)
}
