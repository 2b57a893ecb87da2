package sourcetest

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ServeMJPEG starts an HTTP camera that shows the test pictures at a steady rate, and returns its URL.
func ServeMJPEG(tb testing.TB, w, h int, fps float64) string {
	tb.Helper()
	quit := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		rw.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=frame")
		tick := time.NewTicker(time.Duration(float64(time.Second) / fps))
		defer tick.Stop()
		for n := 0; ; n++ {
			pic := JPEG(tb, n, w, h)
			_, _ = fmt.Fprintf(rw, "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n", len(pic))
			if _, err := rw.Write(append(pic, "\r\n"...)); err != nil {
				return
			}
			if f, ok := rw.(http.Flusher); ok {
				f.Flush()
			}
			select {
			case <-tick.C:
			case <-quit:
				return
			case <-req.Context().Done():
				return
			}
		}
	}))
	tb.Cleanup(func() {
		close(quit)
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

// ServeSilence starts a peer that accepts connections and never says anything, and returns its host:port.
func ServeSilence(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var conns []net.Conn
		for {
			conn, err := l.Accept()
			if err != nil {
				break
			}
			conns = append(conns, conn)
		}
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	tb.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}
