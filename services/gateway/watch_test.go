package gateway_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/gateway/internal/viewer"
	"github.com/stretchr/testify/require"
)

func TestAPlainClientGetsJPEGs(t *testing.T) {
	t.Parallel()
	r := start(t, testSettings())
	r.camera("cam0")
	c := r.dial("")
	c.more(20)
	for _, b := range c.pictures() {
		decode(t, b)
	}
}

func TestASizedClientGetsSizeAndJPEG(t *testing.T) {
	t.Parallel()
	r := start(t, testSettings())
	r.camera("cam0")
	c := r.dial("?stream=cam0&format=sized")
	c.more(5)
	for _, b := range c.pictures() {
		require.EqualValues(t, len(b)-8, binary.LittleEndian.Uint64(b))
		decode(t, b[8:])
	}
}

func TestAV1ClientGetsEnvelopesAndControl(t *testing.T) {
	t.Parallel()
	cfg := testSettings()
	cfg.TraceUI = "http://jaeger/trace/{trace_id}"
	r := start(t, cfg)
	r.camera("cam0")
	cam := r.camera("door")
	c := r.dial("?stream=door", viewer.Subprotocol)
	require.Equal(t, viewer.Subprotocol, c.ws.Subprotocol())
	c.more(20)

	hello := c.heard()[0].GetHello()
	require.NotNil(t, hello, "hello comes first")
	require.NotEmpty(t, hello.GetViewer())
	require.Equal(t, "gw-1", hello.GetGateway())
	require.EqualValues(t, 10, hello.GetMaxClients())
	require.EqualValues(t, viewer.MaxMessage, hello.GetMaxMessageBytes())
	require.Equal(t, cfg.TraceUI, hello.GetTraceUi())
	require.InDelta(t, time.Now().UnixMicro(), hello.GetNowUs(), float64(patience.Microseconds()))
	require.Len(t, hello.GetChannels(), 2)
	own := hello.GetChannels()[0]
	require.Equal(t, "door", own.GetStream(), "one's own stream is the first")

	last := uint64(0)
	for i, h := range c.headers() {
		require.EqualValues(t, own.GetChannel(), h.Channel)
		require.Greater(t, h.Sequence, last)
		last = h.Sequence
		require.NotEqual(t, int32(frame.NotSet), h.HopUs[frame.Received])
		require.GreaterOrEqual(t, h.HopUs[frame.Handed], h.HopUs[frame.Received])
		require.GreaterOrEqual(t, h.HopUs[frame.Received], h.HopUs[frame.Encoded])
		require.InDelta(t, luma(h.Sequence), decode(t, c.pictures()[i][frame.HeaderLen:]), 2, "it is that frame's picture")
	}

	var stats *pb.Stats
	r.eventually(func() bool {
		for _, m := range c.heard() {
			if s := m.GetStats(); s.GetOrigin() != nil && s.GetSent() > 0 {
				stats = s
				return true
			}
		}
		return false
	}, "no stats came")
	require.Equal(t, "door", stats.GetStream())
	require.Equal(t, own.GetChannel(), stats.GetChannel())
	require.EqualValues(t, 80, stats.GetQuality())
	require.Equal(t, cam.instance, stats.GetOrigin().GetInstance())
	require.InDelta(t, 0, stats.GetOrigin().GetOffsetUs(), float64(stats.GetOrigin().GetUncertaintyUs()+1000))
}

func TestClocksOfOtherHostsAreTold(t *testing.T) {
	t.Parallel()
	r := start(t, testSettings())
	cam := r.camera("cam0")
	const skew = time.Hour
	cam.change(func(c *camera) {
		c.skew = -skew
		c.status.Epoch++
		// The encoder's clock is two hours ahead of the camera's.
		c.status.Clocks = []*pb.ClockOffset{{Instance: "enc-1", OffsetUs: 2 * skew.Microseconds(), UncertaintyUs: 700}}
	})
	c := r.dial("", viewer.Subprotocol)
	c.more(20)
	var s *pb.Stats
	fits := func() bool {
		for _, m := range c.heard() {
			if s = m.GetStats(); s.GetEncoder() != nil && s.GetOrigin().GetOffsetUs() > skew.Microseconds()/2 {
				return true
			}
		}
		return false
	}
	r.eventually(fits, "the clocks are never told")
	// To be added to the camera's times, and to the encoder's, to bring them to the gateway's clock.
	near := float64(s.GetOrigin().GetUncertaintyUs() + 1000)
	require.InDelta(t, skew.Microseconds(), s.GetOrigin().GetOffsetUs(), near)
	require.InDelta(t, -skew.Microseconds(), s.GetEncoder().GetOffsetUs(), near)
	require.GreaterOrEqual(t, s.GetEncoder().GetUncertaintyUs(), int64(700))
}

func TestMJPEG(t *testing.T) {
	t.Parallel()
	r := start(t, testSettings())
	r.camera("cam0")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.addr+"/mjpeg/cam0", nil)
	require.NoError(t, err)
	resp, err := httpClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	kind, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/x-mixed-replace", kind)
	parts := multipart.NewReader(resp.Body, params["boundary"])
	for range 10 {
		p, err := parts.NextPart()
		require.NoError(t, err)
		require.Equal(t, "image/jpeg", p.Header.Get("Content-Type"))
		b, err := io.ReadAll(p)
		require.NoError(t, err)
		decode(t, b)
	}
	require.Equal(t, 1, viewers(t, r)["mjpeg"])
	head, _ := r.fetch(http.MethodHead, "/mjpeg/cam0", nil)
	require.Equal(t, http.StatusOK, head.StatusCode, "a HEAD is answered and ends")
}

func TestSizedTCP(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg := testSettings()
	cfg.SizedListen = l.Addr().String()
	cfg.MaxClients = 1
	require.NoError(t, l.Close())
	r := start(t, cfg)
	r.camera("cam0")
	dial := func() net.Conn {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", cfg.SizedListen)
		require.NoError(t, err)
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		return conn
	}
	conn := dial()
	defer conn.Close()
	for range 5 {
		var size [8]byte
		_, err := io.ReadFull(conn, size[:])
		require.NoError(t, err)
		b := make([]byte, binary.LittleEndian.Uint64(size[:]))
		_, err = io.ReadFull(conn, b)
		require.NoError(t, err)
		decode(t, b)
	}
	resp, _ := r.refused("", nil)
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, "it counts as a viewer")
	second := dial()
	defer second.Close()
	_, err = second.Read(make([]byte, 1))
	require.Error(t, err, "no room: closed")
	require.NotErrorIs(t, err, net.ErrClosed)
	var slow net.Error
	require.False(t, errors.As(err, &slow) && slow.Timeout())
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	r := start(t, testSettings())
	cam := r.camera("cam0")
	require.Empty(t, cam.heard(), "nobody watches")
	var body []byte
	r.eventually(func() bool { // 500 ms may be too short on a machine that is busy with something else
		var resp *http.Response
		resp, body = r.fetch(http.MethodGet, "/snapshot/cam0.jpg", nil)
		return resp.StatusCode == http.StatusOK && resp.Header.Get("Content-Type") == "image/jpeg"
	}, "no snapshot")
	decode(t, body)
	require.NotEmpty(t, cam.heard(), "it raised demand")
	cam.asked(func(f *pb.Feedback) bool { return len(f.GetRungs()) == 0 })

	r.dial("").more(1)
	r.eventually(func() bool { code, _ := r.get("/snapshot/cam0.jpg"); return code == http.StatusOK }, "no snapshot")

	cam.change(func(c *camera) { c.silent = true })
	r.eventually(func() bool { code, _ := r.get("/snapshot/cam0.jpg"); return code == http.StatusServiceUnavailable },
		"an old picture is no snapshot")
	for _, path := range []string{"/snapshot/nobody.jpg", "/snapshot/cam0.png", "/snapshot/cam0"} {
		code, body := r.get(path)
		require.Equal(t, http.StatusNotFound, code, path)
		requireLine(t, body)
	}
}

// viewers are the viewers by format, as the API tells.
func viewers(t *testing.T, r *rig) map[string]int {
	t.Helper()
	code, body := r.get("/api/v1/viewers")
	require.Equal(t, http.StatusOK, code)
	var answer struct {
		Viewers []struct{ Format string }
	}
	require.NoError(t, json.Unmarshal([]byte(body), &answer))
	out := map[string]int{}
	for _, v := range answer.Viewers {
		out[v.Format]++
	}
	return out
}
