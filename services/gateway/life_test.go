package gateway_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/gateway/internal/viewer"
	"github.com/framebus/framebus/services/internal/natsd"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

func TestDemandFollowsTheViewers(t *testing.T) {
	t.Parallel()
	r := start(t, testSettings())
	cam := r.camera("cam0")
	before := r.nats.Subscriptions()
	require.Empty(t, cam.heard(), "nobody watches")

	slow := r.dial("?max_fps=5")
	f := cam.asked(func(f *pb.Feedback) bool { return len(f.GetRungs()) == 1 })
	require.Equal(t, "gw-1", f.GetReader())
	require.Equal(t, "cam0", f.GetStream())
	require.NotZero(t, f.GetRun())
	require.NotZero(t, f.GetSentUs())
	require.Equal(t, pb.Rung_RUNG_FULL, f.GetRungs()[0].GetRung())
	require.EqualValues(t, 5, f.GetRungs()[0].GetMaxFps())
	require.EqualValues(t, 1, f.GetRungs()[0].GetViewers())
	slow.more(1)
	quicker := r.dial("?max_fps=12")
	cam.asked(func(f *pb.Feedback) bool {
		return len(f.GetRungs()) == 1 && f.GetRungs()[0].GetViewers() == 2 && f.GetRungs()[0].GetMaxFps() == 12
	})
	quicker.close()

	var all []*client
	for range 5 {
		all = append(all, r.dial(""))
	}
	cam.asked(func(f *pb.Feedback) bool {
		return len(f.GetRungs()) == 1 && f.GetRungs()[0].GetViewers() == 6 && f.GetRungs()[0].GetMaxFps() == 0
	})
	for _, c := range all {
		c.more(1)
	}
	require.Equal(t, before+2, r.nats.Subscriptions(), "pictures and what encoders answer, however many watch")
	n := len(cam.heard())
	r.eventually(func() bool { return len(cam.heard()) >= n+5 }, "demand is not repeated")

	last := time.Now()
	slow.close()
	for _, c := range all {
		c.close()
	}
	f = cam.asked(func(f *pb.Feedback) bool { return len(f.GetRungs()) == 0 })
	require.GreaterOrEqual(t, f.GetSentUs(), last.Add(time.Second).UnixMicro(), "a viewer may come back at once")
	r.eventually(func() bool { return r.nats.Subscriptions() == before }, "still subscribed")

	again := r.dial("")
	again.more(3)
}

func TestAHiddenViewerIsNoDemand(t *testing.T) {
	t.Parallel()
	r := start(t, testSettings())
	cam := r.camera("cam0")
	c := r.dial("", viewer.Subprotocol)
	c.more(3)
	c.selects(&pb.Select{Hidden: true})
	cam.asked(func(f *pb.Feedback) bool { return len(f.GetRungs()) == 0 })
	c.selects(&pb.Select{})
	cam.asked(func(f *pb.Feedback) bool { return len(f.GetRungs()) == 1 })
	c.more(3)
}

func TestSelect(t *testing.T) {
	t.Parallel()
	r := start(t, testSettings())
	cam := r.camera("cam0")
	r.camera("door")
	c := r.dial("?stream=cam0", viewer.Subprotocol)
	c.more(3)
	channels := map[string]uint16{}
	for _, ch := range c.heard()[0].GetHello().GetChannels() {
		channels[ch.GetStream()] = uint16(ch.GetChannel())
	}
	of := func(stream string) (n int) {
		for _, h := range c.headers() {
			if h.Channel == channels[stream] {
				n++
			}
		}
		return n
	}
	c.selects(&pb.Select{Stream: "door"})
	r.eventually(func() bool { return of("door") >= 3 }, "a second stream on one connection")
	c.selects(&pb.Select{Stream: "cam0", Rung: "off"})
	cam.asked(func(f *pb.Feedback) bool { return len(f.GetRungs()) == 0 })
	n := of("door")
	r.eventually(func() bool { return of("door") >= n+3 }, "the other stream goes on")

	c.selects(&pb.Select{Rung: "half"})
	last := func() frame.Header {
		all := c.headers()
		return all[len(all)-1]
	}
	r.eventually(func() bool { return last().Rung == frame.Half && last().Width == width/2 }, "no half picture came")
	c.selects(&pb.Select{Rung: "tiny"})
	c.notice(func(n *pb.Notice) bool { return n.GetKind() == "malformed" })
	c.selects(&pb.Select{Rung: "full"})
	c.notice(func(n *pb.Notice) bool { return n.GetKind() == "rung" && n.GetRung() == pb.Rung_RUNG_FULL })
	require.NoError(t, c.ws.WriteMessage(websocket.TextMessage, []byte(`{"select":{"maxFps":"NaN"}}`)))
	c.notice(func(n *pb.Notice) bool { return n.GetKind() == "malformed" })
	require.NoError(t, c.ws.WriteMessage(websocket.TextMessage, []byte(`not even JSON`)))
	c.selects(&pb.Select{Stream: "nobody"})
	c.notice(func(n *pb.Notice) bool { return n.GetStream() == "nobody" })

	c.selects(&pb.Select{Stream: "cam0", MaxFps: 10})
	cam.asked(func(f *pb.Feedback) bool { return len(f.GetRungs()) == 1 && f.GetRungs()[0].GetMaxFps() == 10 })
	c.send(&pb.ClientMessage{Message: &pb.ClientMessage_TraceNext{TraceNext: &pb.TraceNext{Stream: "cam0"}}})
	r.eventually(func() bool {
		for _, f := range cam.heard() {
			if f.GetTraceNext() {
				return true
			}
		}
		return false
	}, "the wish for a trace never got to the camera")
	c.send(&pb.ClientMessage{Message: &pb.ClientMessage_Painted{Painted: &pb.Painted{Sequence: 3}}})
	c.more(3)
}

func TestASourceThatStartsAgainIsShown(t *testing.T) {
	t.Parallel()
	r := start(t, testSettings())
	cam := r.camera("cam0")
	c := r.dial("", viewer.Subprotocol)
	c.more(3)
	epoch := func() uint64 { h := c.headers(); return h[len(h)-1].Epoch }
	var first uint64
	cam.change(func(c *camera) {
		first = c.status.GetEpoch()
		c.status.Epoch, c.seq = first+1_000_000, 0
	})
	r.eventually(func() bool { return epoch() == first+1_000_000 }, "a new epoch")
	// Its clock is set back an hour: the smaller epoch counts once the greater has been silent for a while.
	cam.change(func(c *camera) { c.status.Epoch, c.seq = first-uint64(time.Hour.Microseconds()), 0 })
	r.eventually(func() bool { return epoch() < first }, "a smaller epoch")
	c.more(3)
}

func TestViewersAreToldWhatBecomesOfTheirStream(t *testing.T) {
	t.Parallel()
	r := start(t, testSettings())
	cam := r.camera("cam0")
	c := r.dial("", viewer.Subprotocol)
	c.more(1)
	cam.change(func(c *camera) {
		c.status.State, c.status.Cause = pb.StreamState_STREAM_STATE_SLATE, "no route to the camera"
	})
	n := c.notice(func(n *pb.Notice) bool { return n.GetState() == pb.StreamState_STREAM_STATE_SLATE })
	require.Equal(t, "no route to the camera", n.GetText())
	require.Equal(t, "state", n.GetKind())
	require.Equal(t, "cam0", n.GetStream())
	code, body := r.get("/api/v1/streams")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, "no route to the camera")

	cam.change(func(c *camera) { c.silent, c.quiet = true, true }) // gone without a word
	c.notice(func(n *pb.Notice) bool { return n.GetState() == pb.StreamState_STREAM_STATE_GONE })
	cam.change(func(c *camera) {
		c.silent, c.quiet = false, false
		c.status.State, c.status.Cause = pb.StreamState_STREAM_STATE_LIVE, ""
	})
	heard := len(c.heard())
	r.eventually(func() bool {
		for _, m := range c.heard()[max(0, heard-3):] {
			if m.GetNotice().GetState() == pb.StreamState_STREAM_STATE_LIVE {
				return true
			}
		}
		return false
	}, "its return is never told")
	c.more(3)

	cam.change(func(c *camera) { c.draining = true })
	cam.change(func(c *camera) { c.quiet = true })
	r.eventually(func() bool { _, body := r.get("/api/v1/streams"); return strings.Contains(body, `"gone"`) },
		"a drained owner is gone at once")
	c.close()
	r.eventually(func() bool { _, body := r.get("/api/v1/streams"); return !strings.Contains(body, "cam0") },
		"the list never drops it")
	resp, _ := r.refused("?stream=cam0", nil)
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
}

func TestABusThatRestartsKeepsTheViewers(t *testing.T) {
	t.Parallel()
	r := start(t, testSettings())
	r.camera("cam0")
	c := r.dial("", viewer.Subprotocol)
	c.more(3)
	addr := strings.TrimPrefix(r.nats.URL(), "nats://")
	r.nats.Close()
	r.eventually(func() bool { code, _ := r.get("/readyz"); return code == http.StatusServiceUnavailable },
		"it still says that it is ready")
	code, _ := r.get("/healthz")
	require.Equal(t, http.StatusOK, code)
	r.eventually(func() bool {
		s, err := natsd.Start(natsd.Config{Listen: addr})
		if err == nil {
			r.nats = s
		}
		return err == nil
	}, "the port is not free again")
	c.more(10)
	last := uint64(0)
	for _, h := range c.headers() {
		require.Greater(t, h.Sequence, last)
		last = h.Sequence
	}
	r.eventually(func() bool { code, _ := r.get("/readyz"); return code == http.StatusOK }, "not ready again")
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	r := &rig{t: t, http: httpClient, url: "http"}
	r.run(testSettings(), "nats://"+addr)
	code, body := r.get("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.True(t, json.Valid([]byte(body)))
	require.Contains(t, body, "bus")
	code, _ = r.get("/healthz")
	require.Equal(t, http.StatusOK, code)
	resp, line := r.refused("", nil)
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, "which streams there are is not known yet")
	require.NotEmpty(t, resp.Header.Get("Retry-After"))
	requireLine(t, line)

	s, err := natsd.Start(natsd.Config{Listen: addr})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	r.eventually(func() bool { code, _ := r.get("/readyz"); return code == http.StatusOK }, "it never got ready")
	resp, _ = r.refused("", nil)
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
}

func TestDrain(t *testing.T) {
	t.Parallel()
	cfg := testSettings()
	cfg.DrainDelay, cfg.DrainSpread = 2*time.Second, 500*time.Millisecond
	r := start(t, cfg)
	r.camera("cam0")
	c, plain := r.dial("", viewer.Subprotocol), r.dial("")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.addr+"/mjpeg/cam0", nil)
	require.NoError(t, err)
	mjpeg, err := httpClient.Do(req)
	require.NoError(t, err)
	defer mjpeg.Body.Close()
	c.more(3)
	plain.more(3)

	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.stop()
	}()
	r.eventually(func() bool { code, _ := r.get("/readyz"); return code == http.StatusServiceUnavailable }, "still ready")
	code, _ := r.get("/healthz")
	require.Equal(t, http.StatusOK, code)
	resp, body := r.refused("", nil)
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.NotEmpty(t, resp.Header.Get("Retry-After"))
	requireLine(t, body)
	c.more(3) // who is there goes on until the delay is over

	require.Equal(t, websocket.CloseGoingAway, c.closed())
	require.Equal(t, websocket.CloseGoingAway, plain.closed())
	bye := c.heard()[len(c.heard())-1].GetBye()
	require.NotNil(t, bye, "goodbye is the last word")
	require.True(t, bye.GetComeBack())
	_, err = io.Copy(io.Discard, mjpeg.Body)
	require.NoError(t, err)
	select {
	case <-ended:
	case <-time.After(patience):
		require.FailNow(t, "the gateway never ended")
	}
}

var malformedCount = regexp.MustCompile(`framebus_gateway_pictures_total{[^}]*fate="malformed"[^}]*} (\d+)`)

func TestRubbishOnTheBusIsCountedAndDisturbsNobody(t *testing.T) {
	t.Parallel()
	r := start(t, testSettings())
	cam := r.camera("cam0")
	c := r.dial("", viewer.Subprotocol)
	c.more(1)
	malformed := func() int {
		_, metrics := r.get("/metrics")
		n := 0
		if m := malformedCount.FindStringSubmatch(metrics); m != nil {
			n, _ = strconv.Atoi(m[1]) // digits
		}
		return n
	}
	envelope := func(change func(h *frame.Header), payload []byte) func(c *camera) {
		return func(c *camera) {
			h := frame.NewHeader()
			h.Format, h.Quality, h.Width, h.Height = frame.JPEG, 80, width, height
			c.seq++
			h.Epoch, h.Sequence, h.CapturedUs = c.status.GetEpoch(), c.seq, time.Now().UnixMicro()
			change(&h)
			c.sendRaw(h, payload)
		}
	}
	for name, send := range map[string]func(c *camera){
		"unknown format":    envelope(func(h *frame.Header) { h.Format = 99 }, picture(1)),
		"another rung":      envelope(func(h *frame.Header) { h.Rung = frame.Half }, picture(1)),
		"impossible size":   envelope(func(h *frame.Header) { h.Width, h.Height = 65535, 65535 }, picture(1)),
		"a reference":       envelope(func(h *frame.Header) { h.Flags = frame.FlagReference }, []byte("slot 7")),
		"nothing in it":     envelope(func(*frame.Header) {}, nil),
		"no JPEG":           envelope(func(*frame.Header) {}, []byte("no JPEG at all")),
		"not even envelope": func(c *camera) { c.publishBytes(frame.Full, []byte("no envelope")) },
	} {
		before := malformed()
		r.eventually(func() bool { // a newer picture may displace it before it is looked at
			cam.change(send)
			return malformed() > before
		}, "not counted: %s", name)
	}
	c.more(10)
	for _, b := range c.pictures() {
		decode(t, b[frame.HeaderLen:])
	}
}

func TestAStalePictureIsNotShown(t *testing.T) {
	t.Parallel()
	r := start(t, testSettings())
	cam := r.camera("cam0")
	c := r.dial("", viewer.Subprotocol)
	c.more(10)
	var stale uint64
	cam.change(func(c *camera) { // one that lay in the bus for a quarter of an hour
		c.seq++
		stale = c.seq
		c.publish(stale, c.now().Add(-15*time.Minute))
	})
	c.more(10)
	for _, h := range c.headers() {
		require.NotEqual(t, stale, h.Sequence)
	}
}

func TestEncodersWhoseClocksDifferAreBothShown(t *testing.T) {
	t.Parallel()
	r := start(t, testSettings())
	cam := r.camera("cam0")
	cam.change(func(c *camera) { // every second picture is by an encoder whose clock is a minute ahead
		c.encoder = func(seq uint64) time.Duration { return time.Duration(seq%2) * time.Minute }
	})
	c := r.dial("", viewer.Subprotocol)
	c.more(40)
	var odd, even int
	for _, h := range c.headers() {
		if h.Sequence%2 == 0 {
			even++
		} else {
			odd++
		}
	}
	require.Greater(t, odd, 5)
	require.Greater(t, even, 5)
}

func TestTheAPITellsStreamsAndViewers(t *testing.T) {
	t.Parallel()
	r := start(t, testSettings())
	r.camera("cam0")
	c := r.dial("?max_fps=40&mode=smooth", viewer.Subprotocol)
	c.more(10)

	_, body := r.get("/api/v1/streams")
	var streams struct {
		Streams []struct {
			Name, Source, State, Owner string
			Width, Height, Viewers     int
			FPS                        float64
			Rungs, Encoders            []string
		}
	}
	require.NoError(t, json.Unmarshal([]byte(body), &streams))
	require.Len(t, streams.Streams, 1)
	s := streams.Streams[0]
	require.Equal(t, "cam0", s.Name)
	require.Equal(t, "live", s.State)
	require.Equal(t, "pattern:", s.Source)
	require.Equal(t, "cap-cam0", s.Owner)
	require.Equal(t, []int{width, height, 1}, []int{s.Width, s.Height, s.Viewers})
	require.EqualValues(t, 50, s.FPS)
	require.Equal(t, []string{"full"}, s.Rungs)
	require.Contains(t, body, `"epoch":`)
	require.Contains(t, body, `"sequence":`)

	_, body = r.get("/api/v1/viewers")
	var all struct {
		Viewers []struct {
			ID, Address, Format, Mode string
			Since                     time.Time
			Frames, Bytes             uint64
			Streams                   []struct {
				Stream, Rung, Why string
				Quality           int
				Skipped           map[string]uint64
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(body), &all))
	require.Len(t, all.Viewers, 1)
	v := all.Viewers[0]
	require.Equal(t, c.heard()[0].GetHello().GetViewer(), v.ID)
	require.Equal(t, c.ws.LocalAddr().String(), v.Address)
	require.Equal(t, "framebus.v1", v.Format)
	require.Equal(t, "smooth", v.Mode)
	require.NotZero(t, v.Since)
	require.NotZero(t, v.Frames)
	require.NotZero(t, v.Bytes)
	require.Len(t, v.Streams, 1)
	require.Equal(t, "cam0", v.Streams[0].Stream)
	require.Equal(t, "full", v.Streams[0].Rung)
	require.NotEmpty(t, v.Streams[0].Why)
	require.Equal(t, 80, v.Streams[0].Quality)
	require.NotNil(t, v.Streams[0].Skipped)
	c.close()
	r.eventually(func() bool { return len(viewers(t, r)) == 0 }, "who has left is still listed")
}

func TestTheWebViewerAndMetricsAreServed(t *testing.T) {
	t.Parallel()
	r := start(t, testSettings())
	code, body := r.get("/")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, "<html")
	code, body = r.get("/metrics")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, "framebus_")
}
