//go:build e2e

package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

func TestServicesStartInAnyOrderAndWaitForTheBus(t *testing.T) {
	t.Parallel()
	nats := &natsServer{t: t, addr: freeAddr(t), conf: filepath.Join(t.TempDir(), "nats.conf")}
	require.NoError(t, os.WriteFile(nats.conf, []byte("max_payload: 8MB\n"), 0o600))
	s := &system{t: t, natsURL: nats.url(), addr: freeAddr(t)}
	admins := []string{s.addr, freeAddr(t), freeAddr(t)}
	s.gateway = s.startGateway(s.addr)
	s.encoder = s.startEncoder("", "--admin-listen", admins[1])
	s.capture = s.startCapture("--admin-listen", admins[2])
	for _, addr := range admins {
		require.Eventually(t, func() bool { code, _ := get(t, "http://"+addr+"/healthz"); return code == http.StatusOK },
			patience, 20*time.Millisecond, "not alive without a bus")
		code, why := get(t, "http://"+addr+"/readyz")
		require.Equal(t, http.StatusServiceUnavailable, code)
		require.Contains(t, why, "the bus is not connected")
	}
	v := watch(t, client.Config{URL: s.ws("stream=cam0")})

	nats.start()
	for _, addr := range admins {
		waitReady(t, addr)
	}
	v.waitFrames(30)
}

// dialRaw watches by a plain WebSocket and returns what ends it.
func dialRaw(t *testing.T, addr string) <-chan error {
	t.Helper()
	conn, resp, err := websocket.DefaultDialer.Dial(wsURL(addr, "stream=cam0"), nil)
	require.NoError(t, err)
	_ = resp.Body.Close()
	_, _, err = conn.ReadMessage()
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() {
		defer conn.Close()
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				ended <- err
				return
			}
		}
	}()
	t.Cleanup(func() { _ = conn.Close() })
	return ended
}

func requireGoingAway(t *testing.T, ended <-chan error) {
	t.Helper()
	select {
	case err := <-ended:
		var closed *websocket.CloseError
		require.ErrorAs(t, err, &closed)
		require.Equal(t, websocket.CloseGoingAway, closed.Code)
	case <-time.After(patience):
		t.Fatal("a viewer was left alone")
	}
}

func TestEachServiceEndsInTimeWhileItIsWatched(t *testing.T) {
	t.Parallel()
	s := start(t, options{})
	first, second := dialRaw(t, s.addr), dialRaw(t, s.addr)
	w := watch(t, client.Config{URL: s.ws("stream=cam0")})
	w.waitFrames(30)
	t.Logf("capture ended after %v", s.capture.stop().Round(time.Millisecond))
	s.capture = s.startCapture()
	w.waitFrames(30)
	t.Logf("encoder ended after %v", s.encoder.stop().Round(time.Millisecond))
	s.encoder = s.startEncoder("")
	w.waitFrames(30)
	stayConnected(t, []*watcher{w})
	t.Logf("gateway ended after %v", s.gateway.stop().Round(time.Millisecond))
	requireGoingAway(t, first)
	requireGoingAway(t, second)
}

func TestTheOneProcessEditionEndsInTimeWhileItIsWatched(t *testing.T) {
	t.Parallel()
	addr, p := startOne(t)
	first, second := dialRaw(t, addr), dialRaw(t, addr)
	t.Logf("ended after %v", p.stop().Round(time.Millisecond))
	requireGoingAway(t, first)
	requireGoingAway(t, second)
}

func TestEveryProgramTellsItsVersion(t *testing.T) {
	t.Parallel()
	for program, args := range map[string][]string{
		"capture": {"--version"}, "encoder": {"--version"}, "gateway": {"--version"}, "framebus": {"--version"},
		"framebus ": {"version"},
	} {
		name := strings.TrimSpace(program)
		p := run(t, binary(t, name), args...)
		require.Zero(t, p.waitExit(), p.out.String())
		require.Regexp(t, `^`+name+` \S+\n$`, p.out.String())
	}
}
