//go:build e2e

package e2e

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// stalls is how long a viewer may read nothing: 10 s, and the gateway looks twice a second.
const stalls = 15 * time.Second

func TestOneThatStopsReadingHurtsNobodyAndIsClosed(t *testing.T) {
	s := start(t, options{})
	ws := watchers(t, 9, client.Config{URL: "http://" + s.addr, Stream: "cam0"})
	conn := handshake(t, s.addr)
	before := memory(t, s.gateway.pid())
	stopped := time.Now()
	require.Eventually(t, func() bool {
		_, body := get(t, "http://"+s.addr+"/api/v1/viewers")
		return strings.Count(body, `"address"`) == 9
	}, 2*stalls, 200*time.Millisecond, "the gateway keeps one that reads nothing")
	took := time.Since(stopped)
	require.NoError(t, conn.Close())
	for i, w := range ws {
		a := w.between(stopped, stopped.Add(took))
		require.Zero(t, a.backward)
		require.Greater(t, a.fps, 28.5, "viewer %d", i)
	}
	grown := memory(t, s.gateway.pid()) - before
	t.Logf("closed after %v; memory grew by %d kB; %.2f fps beside it", took, grown>>10,
		ws[0].between(stopped, time.Now()).fps)
	require.Less(t, grown, int64(32<<20))
	require.Less(t, took, stalls)
}

// handshake dials as a WebSocket client that then reads nothing.
func handshake(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	_, err = fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", addr)
	require.NoError(t, err)
	line, err := bufio.NewReaderSize(conn, 16).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "101")
	return conn
}

// memory is a process's resident set, bytes.
func memory(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	require.NoError(t, err)
	var size, resident int64
	_, err = fmt.Sscan(string(b), &size, &resident)
	require.NoError(t, err)
	return resident * int64(os.Getpagesize())
}

func TestTheEleventhIsRefusedAndTheTenNeverNotice(t *testing.T) {
	s := start(t, options{})
	ws := watchers(t, 10, client.Config{URL: "http://" + s.addr, Stream: "cam0"})
	from := time.Now()
	for range 20 {
		_, resp, err := websocket.DefaultDialer.Dial(s.ws("stream=cam0"), nil)
		require.ErrorIs(t, err, websocket.ErrBadHandshake)
		require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
		require.NotEmpty(t, resp.Header.Get("Retry-After"))
		require.NoError(t, resp.Body.Close())
	}
	<-time.After(time.Second)
	for _, w := range ws {
		require.Zero(t, w.between(from, time.Now()).backward)
		require.Zero(t, w.viewer.Stats().Reconnects)
	}
	steadily(t, func() string {
		for i, a := range during(ws, 2*time.Second) {
			if a.fps < 29 {
				return fmt.Sprintf("viewer %d has %.1f fps", i, a.fps)
			}
		}
		return ""
	})
}

func TestAHundredAtOnceAdmitExactlyTen(t *testing.T) {
	s := start(t, options{})
	var in, full atomic.Int32
	var conns sync.Map
	gate := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			<-gate
			c, resp, err := websocket.DefaultDialer.Dial(s.ws("stream=cam0"), nil)
			switch {
			case err == nil:
				in.Add(1)
				conns.Store(i, c)
			case resp != nil && resp.StatusCode == http.StatusServiceUnavailable:
				full.Add(1)
			}
			if resp != nil && resp.Body != nil {
				_ = resp.Body.Close()
			}
		})
	}
	close(gate)
	wg.Wait()
	conns.Range(func(_, c any) bool { _ = c.(*websocket.Conn).Close(); return true })
	require.EqualValues(t, 10, in.Load())
	require.EqualValues(t, 90, full.Load())
}
