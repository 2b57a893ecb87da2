//go:build e2e || compose

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/framebus/framebus/services/internal/telemetry/logtest"
	"github.com/stretchr/testify/require"
)

// patience is how long a test waits for what must come but has no promised time: it only bounds a broken run.
const patience = 30 * time.Second

// process is a program under test. It is ended with the test, if it still runs, and its output is shown if it failed.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	out  *logtest.Buffer
	done chan struct{} // closed when it has ended
	err  error         // of its end, once done is closed
}

// binary is the path of a program that `make build` left.
func binary(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("FRAMEBUS_BIN")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "bin")
	}
	path, err := filepath.Abs(filepath.Join(dir, name))
	require.NoError(t, err)
	_, err = os.Stat(path)
	require.NoError(t, err, "run the end-to-end tests by `make e2e`, which builds the programs")
	return path
}

// framesIn is the folder of shared memory of all programs that are started here, empty for their own default. Of those
// that are killed a region is left, which nobody sweeps after the last test.
var framesIn string

func TestMain(m *testing.M) {
	if dir, err := os.MkdirTemp("/dev/shm", "framebus-e2e-"); err == nil {
		framesIn = dir
	}
	code := m.Run()
	if framesIn != "" {
		_ = os.RemoveAll(framesIn)
	}
	os.Exit(code)
}

// run starts a program with arguments; its settings come from them alone, not from this environment.
func run(t *testing.T, path string, args ...string) *process {
	t.Helper()
	return runEnv(t, nil, path, args...)
}

func runEnv(t *testing.T, env []string, path string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: filepath.Base(path), cmd: exec.Command(path, args...), out: &logtest.Buffer{},
		done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "FRAMEBUS_") && !strings.HasPrefix(kv, "OTEL_") {
			p.cmd.Env = append(p.cmd.Env, kv)
		}
	}
	p.cmd.Env = append(append(p.cmd.Env, "FRAMEBUS_SHM="+framesIn), env...)
	require.NoError(t, p.cmd.Start())
	go func() { p.err = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.signal(syscall.SIGCONT)
		p.kill()
		if t.Failed() {
			t.Logf("%s %s printed:\n%s", p.name, strings.Join(args, " "), tail(p.out.String(), 60))
		}
	})
	return p
}

func tail(s string, lines int) string {
	all := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if len(all) > lines {
		all = append([]string{fmt.Sprintf("(%d lines before)", len(all)-lines)}, all[len(all)-lines:]...)
	}
	return strings.Join(all, "\n")
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// stop asks it to end and returns how long that took; it must end by itself with exit code 0 within five seconds.
func (p *process) stop() time.Duration {
	p.t.Helper()
	start := time.Now()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("%s does not end", p.name)
	}
	took := time.Since(start)
	require.NoError(p.t, p.err, "%s must end with exit code 0", p.name)
	require.Less(p.t, took, 5*time.Second, "%s must end within 5 s", p.name)
	return took
}

// waitExit waits for an end of its own and returns the exit code.
func (p *process) waitExit() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("%s goes on", p.name)
	}
	var exit *exec.ExitError
	if errors.As(p.err, &exit) {
		return exit.ExitCode()
	}
	require.NoError(p.t, p.err)
	return 0
}

// waitPrinted waits until it has printed s.
func (p *process) waitPrinted(s string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return strings.Contains(p.out.String(), s) }, patience, 10*time.Millisecond,
		"%s never printed %q", p.name, s)
}

// freeAddr is a loopback address that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// natsServer is a real nats-server process that can be restarted at its address.
type natsServer struct {
	*process
	t    *testing.T
	addr string
	conf string
	env  []string
}

// startNATS starts one with the settings that docs/operations.md asks for, or with those of conf.
func startNATS(t *testing.T, conf string) *natsServer {
	t.Helper()
	s := &natsServer{t: t, addr: freeAddr(t), conf: filepath.Join(t.TempDir(), "nats.conf")}
	if conf == "" {
		conf = "max_payload: 8MB\nmax_pending: 16MB\nno_fast_producer_stall: true\n"
	}
	require.NoError(t, os.WriteFile(s.conf, []byte(conf), 0o600))
	s.start()
	return s
}

func (s *natsServer) start() {
	s.t.Helper()
	s.launch()
	waitTCP(s.t, s.addr)
}

func (s *natsServer) launch() {
	s.t.Helper()
	path := os.Getenv("FRAMEBUS_NATS_SERVER")
	require.NotEmpty(s.t, path, "FRAMEBUS_NATS_SERVER is not set: run the end-to-end tests by `make e2e`")
	host, port, err := net.SplitHostPort(s.addr)
	require.NoError(s.t, err)
	// The port of its monitoring is any, whatever the configuration says: several run at once.
	s.process = runEnv(s.t, s.env, path, "-a", host, "-p", port, "-m", "-1", "-c", s.conf)
}

func (s *natsServer) url() string { return "nats://" + s.addr }

func waitTCP(t *testing.T, addr string) {
	t.Helper()
	require.Eventually(t, func() bool {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	}, patience, 5*time.Millisecond, "nobody listens on %s", addr)
}

// system is the three services as processes on a nats-server.
type system struct {
	t       *testing.T
	nats    *natsServer
	natsURL string
	addr    string // of the gateway
	env     []string
	capture *process
	encoder *process
	gateway *process
}

type options struct {
	natsURL string // instead of a nats-server of the test's own
	sources string
	capture []string
	encoder []string
	gateway []string
	env     []string // of all three, NAME=VALUE
}

// start brings up a system and waits until its gateway is ready and shows all streams of the sources.
func start(t *testing.T, o options) *system {
	t.Helper()
	s := &system{t: t, natsURL: o.natsURL, addr: freeAddr(t), env: o.env}
	if s.natsURL == "" {
		s.nats = startNATS(t, "")
		s.natsURL = s.nats.url()
	}
	if o.sources == "" {
		o.sources = "cam0=pattern:"
	}
	s.encoder = s.startEncoder("", o.encoder...)
	s.capture = s.startCapture(append([]string{"--sources", o.sources}, o.capture...)...)
	s.gateway = s.startGateway(s.addr, o.gateway...)
	waitReady(t, s.addr)
	for item := range strings.SplitSeq(o.sources, ",") {
		name, _, _ := strings.Cut(item, "=")
		waitStream(t, s.addr, name)
	}
	return s
}

func (s *system) startCapture(args ...string) *process {
	s.t.Helper()
	return runEnv(s.t, s.env, binary(s.t, "capture"), append([]string{"--nats-url", s.natsURL}, args...)...)
}

func (s *system) startEncoder(instance string, args ...string) *process {
	s.t.Helper()
	if instance != "" {
		args = append([]string{"--instance", instance}, args...)
	}
	return runEnv(s.t, s.env, binary(s.t, "encoder"), append([]string{"--nats-url", s.natsURL}, args...)...)
}

func (s *system) startGateway(addr string, args ...string) *process {
	s.t.Helper()
	args = append([]string{"--nats-url", s.natsURL, "--listen", addr}, args...)
	return runEnv(s.t, s.env, binary(s.t, "gateway"), args...)
}

func (s *system) ws(query string) string { return wsURL(s.addr, query) }

func wsURL(addr, query string) string { return "ws://" + addr + "/ws?" + query }

// startOne starts the one-process edition and waits until it is ready and shows cam0.
func startOne(t *testing.T, args ...string) (addr string, p *process) {
	t.Helper()
	addr = freeAddr(t)
	p = run(t, binary(t, "framebus"), append([]string{"up", "--listen", addr}, args...)...)
	waitReady(t, addr)
	return addr, p
}

func waitReady(t *testing.T, addr string) {
	t.Helper()
	require.Eventually(t, func() bool { code, _ := get(t, "http://"+addr+"/readyz"); return code == http.StatusOK },
		patience, 20*time.Millisecond, "the gateway never got ready")
}

func waitStream(t *testing.T, addr, stream string) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, body := get(t, "http://"+addr+"/api/v1/streams")
		return strings.Contains(body, `"`+stream+`"`)
	}, patience, 20*time.Millisecond, "the gateway never heard of %s", stream)
}

// httpClient keeps no connections, so that none outlives what a test stops.
var httpClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := httpClient.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

// metric is the sum of a service's samples whose line begins so.
func metric(t *testing.T, admin, prefix string) (sum float64) {
	t.Helper()
	name, labels, _ := strings.Cut(prefix, "{")
	_, body := get(t, "http://"+admin+"/metrics")
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, name+"{") && strings.Contains(line, labels) {
			var v float64
			if _, err := fmt.Sscan(line[strings.LastIndex(line, "}")+1:], &v); err == nil {
				sum += v
			}
		}
	}
	return sum
}
