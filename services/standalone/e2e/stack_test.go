//go:build compose

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// stack is the system of docker-compose.yml on this machine's Docker engine, under a project name and on ports of its
// own. It is taken down with the test.
type stack struct {
	t     *testing.T
	name  string
	files []string
	env   []string
	addr  string // where viewers connect
	// Where what observes answers.
	jaeger, pyroscope, prometheus string
}

// newStack prepares one out of docker-compose.yml and other files of the project's; env is as in .env.
func newStack(t *testing.T, files []string, env ...string) *stack {
	t.Helper()
	s := &stack{
		t: t, name: fmt.Sprintf("framebus-e2e-%d-%d", os.Getpid(), time.Now().UnixMilli()%1e6), addr: freeAddr(t),
		jaeger: freeAddr(t), pyroscope: freeAddr(t), prometheus: freeAddr(t),
	}
	for _, file := range append([]string{"docker-compose.yml"}, files...) {
		s.files = append(s.files, "-f", project(t, file))
	}
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if name == "FRAMEBUS_VERSION" || !strings.HasPrefix(name, "FRAMEBUS_") && !strings.HasPrefix(name, "OTEL_") {
			s.env = append(s.env, kv)
		}
	}
	port := func(addr string) string { return addr[strings.LastIndex(addr, ":")+1:] }
	s.env = append(s.env, "FRAMEBUS_PORT="+s.addr, "JAEGER_PORT="+port(s.jaeger), "PYROSCOPE_PORT="+port(s.pyroscope),
		"PROMETHEUS_PORT="+port(s.prometheus))
	s.env = append(s.env, env...)
	t.Cleanup(func() {
		if t.Failed() {
			words := s.compose(append([]string{"logs", "--no-color", "--tail", "25"}, video...)...)
			t.Logf("the containers' last words:\n%s", words)
		}
		s.compose("down", "--volumes", "--remove-orphans", "--timeout", "2")
	})
	return s
}

// project is a file of the project, by its path from the top.
func project(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(filepath.Join("..", "..", "..", path))
	require.NoError(t, err)
	return abs
}

// compose runs docker compose on the stack and returns what it printed.
func (s *stack) compose(args ...string) string {
	s.t.Helper()
	args = append(append([]string{"compose", "--env-file", "/dev/null", "-p", s.name}, s.files...), args...)
	return command(s.t, s.env, args...)
}

// docker runs docker and returns what it printed.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	return command(t, os.Environ(), args...)
}

func command(t *testing.T, env []string, args ...string) string {
	t.Helper()
	cmd := exec.Command("docker", args...)
	cmd.Env = env
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	require.NoError(t, err, "docker %s\n%s%s", strings.Join(args, " "), out, errs.String())
	return strings.TrimSpace(string(out))
}

// up starts services, all of them if none is named, waits until they are healthy and returns how long that took. Images
// are those that `make images` left.
func (s *stack) up(args ...string) time.Duration {
	s.t.Helper()
	from := time.Now()
	s.compose(append([]string{"up", "--detach", "--no-build", "--wait", "--wait-timeout", "120"}, args...)...)
	return time.Since(from)
}

// containers of a service that run, by id.
func (s *stack) containers(service string) []string {
	s.t.Helper()
	return strings.Fields(s.compose("ps", "--quiet", "--no-trunc", service))
}

// container is the only one of a service.
func (s *stack) container(service string) string {
	s.t.Helper()
	ids := s.containers(service)
	require.Len(s.t, ids, 1, service)
	return ids[0]
}

// run is a case on the stack.
func (s *stack) run(t *testing.T, name string, test func(*testing.T, *stack)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		of := *s
		of.t = t
		test(t, &of)
	})
}

// healthy waits until a container says so again: one that was frozen missed being asked.
func (s *stack) healthy(id string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return s.inspect(id).State.Health.Status == "healthy" }, patience,
		100*time.Millisecond, "never healthy again")
}

// start starts a container that was stopped or killed.
func (s *stack) start(id string) time.Time {
	s.t.Helper()
	docker(s.t, "start", id)
	return time.Now()
}

func (s *stack) ws(query string) string { return wsURL(s.addr, query) }

func (s *stack) stream(name string) streamState {
	s.t.Helper()
	return streamAt(s.t, s.addr, name)
}

// readJSON asks and reads the answer; it tells whether there was one.
func readJSON(t *testing.T, url string, into any) bool {
	t.Helper()
	code, body := get(t, url)
	return code == 200 && json.Unmarshal([]byte(body), into) == nil
}

// encoded is how many frames each encoder has encoded of all streams, by the ledger. An encoder's name begins with the
// id of its container, as its host has it.
func (s *stack) encoded() map[string]uint64 {
	out := map[string]uint64{}
	all, _ := ledgerOf(s.t, s.addr)
	for _, stream := range all.Streams {
		for _, epoch := range stream.Epochs {
			for _, share := range epoch.Encoders.Shares {
				out[host(share.Encoder)] += share.Done["encoded"]
			}
		}
	}
	return out
}

const hostLength = 12

// host of an instance or of a container.
func host(name string) string { return name[:min(len(name), hostLength)] }

// addsUp waits until the ledger can explain every frame.
func (s *stack) addsUp() {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		all, _ := ledgerOf(s.t, s.addr)
		return all.Explained
	}, patience, 200*time.Millisecond, "a frame remains unexplained")
}
