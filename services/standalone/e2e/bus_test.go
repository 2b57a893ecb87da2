//go:build e2e

package e2e

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// busUsers are those of deploy/nats/nats.conf.
var busUsers = []string{"capture", "encoder", "gateway", "reader", "site"}

// busPassword of a user, in these tests.
func busPassword(user string) string { return "secret0" + user }

// busEnv is what every file of deploy/nats takes from the environment.
func busEnv(more ...string) []string {
	for _, user := range busUsers {
		more = append(more, "FRAMEBUS_NATS_"+strings.ToUpper(user)+"_PASSWORD="+busPassword(user))
	}
	return more
}

// as is the environment of a service that connects as a user.
func as(user string) []string {
	return []string{"FRAMEBUS_NATS_USER=" + user, "FRAMEBUS_NATS_PASSWORD=" + busPassword(user)}
}

// startBus starts a server on a file of deploy/nats, at a free address.
func startBus(t *testing.T, file string, env ...string) *natsServer {
	t.Helper()
	s := newBus(t, file, nil, env...)
	s.start()
	return s
}

// newBus prepares a server. It runs on copies of the very files, in which only ports are others, where these tests
// could not have the fixed ones for themselves: moved says which, as in {"7422": "41234"}.
func newBus(t *testing.T, file string, moved map[string]string, env ...string) *natsServer {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "..", "deploy", "nats", "*.conf"))
	require.NoError(t, err)
	dir := t.TempDir()
	for _, path := range files {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		text := string(b)
		if filepath.Base(path) == file {
			for from, to := range moved {
				require.Equal(t, 1, strings.Count(text, "\n  port: "+from+"\n"), "%s has no port %s", file, from)
				text = strings.Replace(text, "\n  port: "+from+"\n", "\n  port: "+to+"\n", 1)
			}
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(path)), []byte(text), 0o600))
	}
	return &natsServer{t: t, addr: freeAddr(t), conf: filepath.Join(dir, file), env: busEnv(env...)}
}

func port(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	return port
}

var monitorsAt = regexp.MustCompile(`Starting http monitor on \S*:(\d+)`)

// figures reads a page of the server's monitoring, as in "varz".
func (s *natsServer) figures(page string, into any) {
	s.t.Helper()
	s.waitPrinted("Starting http monitor")
	at := monitorsAt.FindStringSubmatch(s.out.String())
	require.NotNil(s.t, at)
	_, body := get(s.t, "http://127.0.0.1:"+at[1]+"/"+page)
	require.NoError(s.t, json.Unmarshal([]byte(body), into), body)
}

// startAs brings up the three services at a bus that wants users; urls has one for each, or one for all.
func startAs(t *testing.T, o options, captureURL, encoderURL, gatewayURL string) *system {
	t.Helper()
	s := &system{t: t, natsURL: gatewayURL, addr: freeAddr(t)}
	begin := func(service, url string, args ...string) *process {
		return runEnv(t, as(service), binary(t, service), append([]string{"--nats-url", url}, args...)...)
	}
	s.encoder = begin("encoder", encoderURL, o.encoder...)
	s.capture = begin("capture", captureURL, o.capture...)
	s.gateway = begin("gateway", gatewayURL, append([]string{"--listen", s.addr}, o.gateway...)...)
	waitReady(t, s.addr)
	waitStream(t, s.addr, "cam0")
	return s
}
