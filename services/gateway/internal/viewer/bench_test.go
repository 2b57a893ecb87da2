//go:build linux

package viewer

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/framebus/framebus/services/gateway/internal/picture"
	"github.com/stretchr/testify/require"
)

const readersEnv = "FRAMEBUS_BENCH_READERS" // "address number": this process is the benchmark's clients

// BenchmarkFanOut shows one 24 KB picture after the other, at 30 fps, to viewers on loopback sockets whose clients, in
// a process of their own, read them and answer pings. cpu-µs/frame is what this process, the gateway's end, used a
// delivered frame, user and system; on loopback the system's part has the receiving half of TCP in it.
func BenchmarkFanOut(b *testing.B) {
	for _, viewers := range []int{1, 10, 100, 1000} {
		b.Run(strconv.Itoa(viewers), func(b *testing.B) { benchFanOut(b, viewers) })
	}
}

func benchFanOut(b *testing.B, n int) {
	numbers := new(picture.Counter)
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	var all []*Viewer
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := Upgrade(w, r, Options{Numbers: numbers})
		if err != nil {
			return
		}
		v.Show(1, Tuning{}, nil)
		mu.Lock()
		all = append(all, v)
		mu.Unlock()
		_ = v.Run(ctx)
	}))
	defer s.Close()
	clients := exec.Command(os.Args[0], "-test.run=^TestBenchReaders$", "-test.timeout=1h")
	clients.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", readersEnv, s.Listener.Addr(), n))
	clients.Stderr = os.Stderr
	require.NoError(b, clients.Start())
	defer func() { cancel(); _ = clients.Wait() }()
	require.Eventually(b, func() bool { mu.Lock(); defer mu.Unlock(); return len(all) == n }, time.Minute, 10*ms)

	jpeg, sequence := make([]byte, 24_000), uint64(0)
	show := func(frames int) {
		tick := time.NewTicker(time.Second / 30)
		defer tick.Stop()
		for range frames {
			<-tick.C
			sequence++
			h := header(1, sequence)
			h.CapturedUs = time.Now().UnixMicro()
			p := picture.New(*h, numbers.Next(), jpeg)
			for _, v := range all {
				v.Offer(p)
			}
		}
	}
	delivered := func() (frames, least, pongs uint64) {
		least = 1 << 62
		for _, v := range all {
			st := v.Stats()
			frames, least, pongs = frames+st.Frames, min(least, st.Frames), pongs+st.Pongs
		}
		return frames, least, pongs
	}
	show(30) // thinning, the sockets' windows and the heap settle
	before, _, pongs := delivered()
	cpu := cpuTime(b)
	b.ReportAllocs()
	b.ResetTimer()
	began := time.Now()
	show(b.N)
	took := time.Since(began)
	b.StopTimer()
	cpu = cpuTime(b) - cpu
	after, least, pongsAfter := delivered()
	b.ReportMetric(float64(cpu.Nanoseconds())/1e3/float64(after-before), "cpu-µs/frame")
	b.ReportMetric(float64(pongsAfter-pongs)/float64(after-before), "pongs/frame")
	b.ReportMetric(float64(b.N*n)-float64(after-before), "lost")
	b.ReportMetric(float64(least-min(least, 30))/took.Seconds(), "worst-fps")
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestBenchReaders is no test: it is BenchmarkFanOut's clients, in a process of their own.
func TestBenchReaders(t *testing.T) {
	address, number, ok := strings.Cut(os.Getenv(readersEnv), " ")
	if !ok {
		return
	}
	n, err := strconv.Atoi(number)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range n {
		conn, err := net.Dial("tcp", address)
		require.NoError(t, err)
		wg.Go(func() {
			defer conn.Close()
			benchReader(conn)
		})
	}
	wg.Wait()
}

// benchReader reads frames, looks at no picture and answers pings.
func benchReader(conn net.Conn) {
	r := bufio.NewReaderSize(conn, 32<<10)
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", conn.RemoteAddr())
	for line := ""; line != "\r\n"; {
		var err error
		if line, err = r.ReadString('\n'); err != nil {
			return
		}
	}
	var h [4]byte
	for {
		if _, err := io.ReadFull(r, h[:2]); err != nil {
			return
		}
		n := int(h[1])
		if n == 126 {
			if _, err := io.ReadFull(r, h[2:]); err != nil {
				return
			}
			n = int(binary.BigEndian.Uint16(h[2:]))
		}
		switch h[0] & 0x0F {
		case picture.OpPing:
			b, err := r.Peek(n)
			if err != nil {
				return
			}
			if _, err := conn.Write(masked(picture.OpPong, b)); err != nil {
				return
			}
		case picture.OpClose:
			return
		}
		if _, err := r.Discard(n); err != nil {
			return
		}
	}
}

// BenchmarkFanOutFloor is what the kernel alone charges for the same: one write of a 24 KB frame a socket, no pings.
func BenchmarkFanOutFloor(b *testing.B) {
	for _, sockets := range []int{1, 10, 100, 1000} {
		b.Run(strconv.Itoa(sockets), func(b *testing.B) { benchFloor(b, sockets) })
	}
}

func benchFloor(b *testing.B, n int) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	defer l.Close()
	clients := exec.Command(os.Args[0], "-test.run=^TestBenchReaders$", "-test.timeout=1h")
	clients.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", readersEnv, l.Addr(), n))
	require.NoError(b, clients.Start())
	var all []*wire
	defer func() {
		for _, w := range all {
			_ = w.conn.Close()
		}
		_ = clients.Wait()
	}()
	for range n {
		conn, err := l.Accept()
		require.NoError(b, err)
		w := newWire(conn)
		_, err = w.write([]byte("\r\n"))
		require.NoError(b, err)
		all = append(all, w)
	}
	frame := picture.New(*header(1, 1), 1, make([]byte, 24_000)).Bytes(picture.Bare, false)
	show := func(frames int) (written int) {
		tick := time.NewTicker(time.Second / 30)
		defer tick.Stop()
		for range frames {
			<-tick.C
			for _, w := range all {
				sent, err := w.tryWrite(frame)
				require.NoError(b, err)
				require.Len(b, frame, sent) // loopback readers keep up
				written++
			}
		}
		return written
	}
	show(30)
	cpu := cpuTime(b)
	b.ResetTimer()
	written := show(b.N)
	b.StopTimer()
	b.ReportMetric(float64((cpuTime(b)-cpu).Nanoseconds())/1e3/float64(written), "cpu-µs/frame")
}
