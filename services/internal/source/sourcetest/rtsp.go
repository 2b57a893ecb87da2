package sourcetest

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/stretchr/testify/require"
)

// RTSP is a server that shows the test pictures at a steady rate, as M-JPEG over TCP.
type RTSP struct {
	// URL of the stream, without user and password; any are welcome.
	URL string

	tb   testing.TB
	w, h int
	fps  float64
	addr string
	stop func() // nil while closed
	n    int    // the next picture; it goes on counting over restarts
}

// ServeRTSP starts a server on a free port of the loopback; it ends with the test.
func ServeRTSP(tb testing.TB, w, h int, fps float64) *RTSP {
	tb.Helper()
	s := &RTSP{tb: tb, w: w, h: h, fps: fps, addr: "127.0.0.1:0"}
	s.Restart()
	tb.Cleanup(s.Close)
	return s
}

// Close ends the server and everybody's connection to it.
func (s *RTSP) Close() {
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
}

// Restart starts the server again, on the same port.
func (s *RTSP) Restart() {
	s.tb.Helper()
	s.Close()
	media := &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{&format.MJPEG{}}}
	handler := &rtspHandler{}
	server := &gortsplib.Server{
		Handler:     handler,
		RTSPAddress: s.addr,
		Listen: func(network, address string) (net.Listener, error) {
			l, err := net.Listen(network, address)
			if err == nil {
				s.addr = l.Addr().String()
			}
			return l, err
		},
	}
	// A port just freed may take a moment to be had again.
	require.Eventually(s.tb, func() bool { return server.Start() == nil }, 10*time.Second, 20*time.Millisecond)
	s.URL = "rtsp://" + s.addr + "/cam"
	stream := gortsplib.NewServerStream(server, &description.Session{Medias: []*description.Media{media}})
	handler.set(stream)

	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		s.send(stream, media, quit)
	}()
	s.stop = func() {
		close(quit)
		<-done
		stream.Close()
		server.Close()
	}
}

func (s *RTSP) send(stream *gortsplib.ServerStream, media *description.Media, quit <-chan struct{}) {
	enc, err := media.Formats[0].(*format.MJPEG).CreateEncoder()
	if err != nil {
		panic(err)
	}
	tick := time.NewTicker(time.Duration(float64(time.Second) / s.fps))
	defer tick.Stop()
	for ; ; s.n++ {
		select {
		case <-quit:
			return
		case <-tick.C:
		}
		packets, err := enc.Encode(JPEG(s.tb, s.n, s.w, s.h))
		if err != nil {
			panic(err)
		}
		for _, p := range packets {
			p.Timestamp = uint32(float64(s.n) * 90000 / s.fps)
			_ = stream.WritePacketRTP(media, p) // fails only once the stream is closed
		}
	}
}

type rtspHandler struct {
	mu     sync.Mutex
	stream *gortsplib.ServerStream
}

func (h *rtspHandler) set(s *gortsplib.ServerStream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stream = s
}

func (h *rtspHandler) answer() (*base.Response, *gortsplib.ServerStream, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stream == nil {
		return &base.Response{StatusCode: base.StatusNotFound}, nil, nil
	}
	return &base.Response{StatusCode: base.StatusOK}, h.stream, nil
}

// OnDescribe makes rtspHandler a gortsplib.ServerHandlerOnDescribe.
func (h *rtspHandler) OnDescribe(*gortsplib.ServerHandlerOnDescribeCtx) (
	*base.Response, *gortsplib.ServerStream, error,
) {
	return h.answer()
}

// OnSetup makes rtspHandler a gortsplib.ServerHandlerOnSetup.
func (h *rtspHandler) OnSetup(*gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return h.answer()
}

// OnPlay makes rtspHandler a gortsplib.ServerHandlerOnPlay.
func (h *rtspHandler) OnPlay(*gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	return &base.Response{StatusCode: base.StatusOK}, nil
}
