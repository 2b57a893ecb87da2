//go:build e2e

package e2e

import (
	"bufio"
	"context"
	bits "encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestAProxyThatBuffers(t *testing.T) {
	s := start(t, options{})
	through := func(answers bool) string {
		return startRelay(t, startProxy(t, s.addr, answers).addr(), 2, rtt).addr()
	}
	ours := client.Config{Stream: "cam0"}
	names := []string{"passes pings, ours", "passes pings, plain", "answers pings, ours"}
	var ws []*watcher
	for i, cfg := range []client.Config{ours, {Format: client.Bare}, ours} {
		cfg.URL = "http://" + through(i == 2)
		ws = append(ws, watch(t, cfg))
	}
	for _, w := range ws {
		w.waitFrames(1)
	}
	<-time.After(settle + 2*time.Second)
	steadily(t, func() string {
		wrong := ""
		for i, a := range during(ws, 6*time.Second) {
			t.Logf("%s: %.1f fps age p50 %v p95 %v", names[i], a.fps, a.p50, a.p95)
			if a.fps < 25 || a.p95 > rtt/2+150*time.Millisecond {
				wrong = fmt.Sprintf("a proxy that %s: %.1f fps, age p95 %v", names[i], a.fps, a.p95)
			}
		}
		return wrong
	})
}

// Over a real link, so that TCP is what it is: those that answer no pings adapt, and a link that was dead comes back.
func TestARealLink(t *testing.T) {
	s := start(t, options{})
	slow, ok := startIsland(t)
	if !ok {
		return
	}
	also, _ := startIsland(t)
	httpPort, sizedPort := freePort(t), freePort(t)
	s.startGateway(":"+httpPort, "--sized-listen", ":"+sizedPort)
	waitReady(t, "127.0.0.1:"+httpPort)
	waitStream(t, "127.0.0.1:"+httpPort, "cam0")

	t.Run("those that answer no pings adapt", func(t *testing.T) {
		slow.shape(2.5)
		also.shape(2.5)
		ws := []*watcher{
			readBy(t, slow.dial, slow.hereAddr+":"+httpPort, "GET /mjpeg/cam0 HTTP/1.1\r\nHost: x\r\n\r\n", readPart),
			readBy(t, also.dial, also.hereAddr+":"+sizedPort, "", readSized),
		}
		<-time.After(settle)
		steadily(t, func() string {
			wrong := ""
			for i, a := range during(ws, 6*time.Second) {
				name := []string{"MJPEG", "sized TCP"}[i]
				t.Logf("%s: %.1f fps, age p50 %v p95 %v (%d strips)", name, a.fps, a.p50, a.p95, a.strips)
				if a.fps < 25 || a.p95 > 150*time.Millisecond {
					wrong = fmt.Sprintf("%s: %.1f fps, age p95 %v", name, a.fps, a.p95)
				}
			}
			return wrong
		})
		for _, w := range ws {
			w.stop()
		}
	})

	t.Run("a link that was dead for 5 s", func(t *testing.T) {
		also.shape(20)
		target := "http://" + also.hereAddr + ":" + httpPort
		const patient = 30 * time.Second // it is TCP that has to come back, not the client
		ours := watchBy(t, client.Config{URL: target, Stream: "cam0", Silence: patient}, also.dial)
		plain := watchBy(t, client.Config{URL: target, Format: client.Bare, Silence: patient}, also.dial)
		ours.waitFrames(60)
		plain.waitFrames(60)
		within := 2500 * time.Millisecond
		if knowsRTOMax() {
			within = time.Second
		}
		steadily(t, func() string {
			also.cut(true)
			<-time.After(5 * time.Second)
			back := time.Now()
			also.cut(false)
			at := ours.firstAfter(back)
			<-time.After(2 * time.Second)
			oldest, stale := time.Duration(0), 0
			for _, p := range ours.pictures() {
				if p.at.After(back) {
					oldest = max(oldest, p.age())
				}
			}
			for _, p := range plain.pictures() {
				if p.at.After(back) && p.at.Before(at.Add(100*time.Millisecond)) && p.stripUs != 0 && p.age() > time.Second {
					stale++
				}
			}
			t.Logf("video %v after the link is back (bar %v); oldest shown by ours %v; %d stale on a plain client", at.Sub(back),
				within, oldest, stale)
			switch {
			case at.Sub(back) > within:
				return fmt.Sprintf("video after %v", at.Sub(back))
			case oldest > time.Second:
				return fmt.Sprintf("ours showed a picture of %v", oldest)
			case stale > 12:
				return fmt.Sprintf("%d stale pictures", stale)
			}
			return ""
		})
		require.Zero(t, ours.viewer.Stats().Reconnects, "the connection lives on")
	})
}

func freePort(t *testing.T) string {
	t.Helper()
	_, port, err := net.SplitHostPort(freeAddr(t))
	require.NoError(t, err)
	return port
}

// knowsRTOMax tells whether this kernel has TCP_RTO_MAX_MS.
func knowsRTOMax() bool {
	const rtoMaxMs = 44
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, rtoMaxMs, 1000) == nil
}

// readBy watches a connection that is no WebSocket: it sends what is asked and reads pictures until the test ends.
func readBy(t *testing.T, dial func(context.Context, string, string) (net.Conn, error), addr, ask string,
	next func(*bufio.Reader) ([]byte, error)) *watcher {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	conn, err := dial(ctx, "tcp", addr)
	require.NoError(t, err)
	_, err = io.WriteString(conn, ask)
	require.NoError(t, err)
	w := &watcher{t: t, cancel: func() { cancel(); _ = conn.Close() }, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		r := bufio.NewReaderSize(conn, 64<<10)
		for {
			jpeg, err := next(r)
			if err != nil {
				return
			}
			w.add(picture{at: time.Now(), bytes: len(jpeg)}, jpeg)
		}
	}()
	t.Cleanup(w.stop)
	w.waitFrames(1)
	return w
}

func readSized(r *bufio.Reader) ([]byte, error) {
	var size [8]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	return readN(r, bits.LittleEndian.Uint64(size[:]))
}

func readN(r *bufio.Reader, n uint64) ([]byte, error) {
	if n > 8<<20 {
		return nil, errors.New("no picture is that large")
	}
	jpeg := make([]byte, n)
	_, err := io.ReadFull(r, jpeg)
	return jpeg, err
}

// readPart reads one of multipart/x-mixed-replace, and whatever head stands before it.
func readPart(r *bufio.Reader) ([]byte, error) {
	n := uint64(0)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if _, length, ok := strings.Cut(line, "Content-Length: "); ok {
			if _, err := fmt.Sscan(length, &n); err != nil {
				return nil, err
			}
		}
		if strings.TrimSpace(line) == "" && n > 0 {
			return readN(r, n)
		}
	}
}
