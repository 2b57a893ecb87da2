package gateway_test

import (
	"bytes"
	"context"
	"image"
	"image/jpeg"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/gateway"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/natsd"
	"github.com/framebus/framebus/services/internal/service"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protojson"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	// patience is how long a loaded machine may take for anything.
	patience = 60 * time.Second
	look     = 10 * time.Millisecond

	width, height = 64, 48
)

// rig is a running gateway on a real bus.
type rig struct {
	t    *testing.T
	nats *natsd.Server
	addr string // of the gateway
	http *http.Client
	url  string // "http" or "https"
	env  *service.Env
	stop func() // ends the gateway and waits for it
}

// testSettings are a gateway's defaults, on any free port.
func testSettings() gateway.Settings { return gateway.Settings{Listen: "127.0.0.1:0", MaxClients: 10} }

// start runs a gateway and waits until it is ready.
func start(t *testing.T, cfg gateway.Settings) *rig {
	t.Helper()
	return startWith(t, cfg, "http", httpClient)
}

func startWith(t *testing.T, cfg gateway.Settings, scheme string, c *http.Client) *rig {
	t.Helper()
	s, err := natsd.Start(natsd.Config{Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	r := &rig{t: t, nats: s, http: c, url: scheme}
	t.Cleanup(func() { r.nats.Close() })
	r.run(cfg, s.URL())
	r.eventually(func() bool { code, _ := r.get("/readyz"); return code == http.StatusOK }, "it never got ready")
	return r
}

func (r *rig) run(cfg gateway.Settings, natsURL string) {
	r.t.Helper()
	env, err := service.Open(context.Background(), "gateway", service.Common{
		NATSURL: natsURL, Instance: "gw-1", LogLevel: "error", LogFormat: "text",
	}, service.Place{LogTo: io.Discard})
	require.NoError(r.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	listening := make(chan net.Addr, 1)
	go func() {
		ended <- env.Run(ctx, func(ctx context.Context, d service.Deps) error {
			return gateway.Run(ctx, cfg, gateway.Deps{Deps: d, OnListening: func(a net.Addr) { listening <- a }})
		})
	}()
	r.env = env
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("the gateway ended: %v", err) // it may be called from any goroutine
		}
		env.Close()
	})
	r.t.Cleanup(r.stop)
	select {
	case a := <-listening:
		r.addr = a.String()
	case err := <-ended:
		ended <- err
		require.NoError(r.t, err)
	}
}

func (r *rig) eventually(condition func() bool, what string, args ...any) {
	r.t.Helper()
	require.Eventually(r.t, condition, patience, look, append([]any{what}, args...)...)
}

var httpClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}

func (r *rig) fetch(method, path string, header http.Header) (*http.Response, []byte) {
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+"://"+r.addr+path, nil)
	require.NoError(r.t, err)
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return &http.Response{}, []byte(err.Error())
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return &http.Response{}, []byte(err.Error())
	}
	return resp, body
}

func (r *rig) get(path string) (int, string) {
	resp, body := r.fetch(http.MethodGet, path, nil)
	return resp.StatusCode, string(body)
}

// refused dials what is to be refused.
func (r *rig) refused(query string, header http.Header) (*http.Response, string) {
	r.t.Helper()
	c, resp, err := dialer.Dial("ws://"+r.addr+"/ws"+query, header)
	if err == nil {
		c.Close()
		require.FailNow(r.t, "it was let in", query)
	}
	require.ErrorIs(r.t, err, websocket.ErrBadHandshake)
	body, err := io.ReadAll(resp.Body) // gorilla has read it
	require.NoError(r.t, err)
	return resp, string(body)
}

var dialer = &websocket.Dialer{HandshakeTimeout: patience}

// client is a WebSocket viewer.
type client struct {
	t  *testing.T
	ws *websocket.Conn

	mu       sync.Mutex
	binary   [][]byte
	messages []*pb.ServerMessage
	err      error
	done     chan struct{}
}

// dial connects a viewer and reads all it is sent.
func (r *rig) dial(query string, protocols ...string) *client {
	r.t.Helper()
	d := *dialer
	d.Subprotocols = protocols
	ws, _, err := d.Dial("ws://"+r.addr+"/ws"+query, nil)
	require.NoError(r.t, err)
	return read(r.t, ws)
}

func read(t *testing.T, ws *websocket.Conn) *client {
	c := &client{t: t, ws: ws, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for {
			kind, b, err := ws.ReadMessage()
			c.mu.Lock()
			switch {
			case err != nil:
				c.err = err
			case kind == websocket.BinaryMessage:
				c.binary = append(c.binary, b)
			default:
				m := &pb.ServerMessage{}
				if err = protojson.Unmarshal(b, m); err == nil {
					c.messages = append(c.messages, m)
				}
				c.err = err
			}
			c.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { c.close() })
	return c
}

func (c *client) close() {
	c.ws.Close()
	<-c.done
}

func (c *client) send(m *pb.ClientMessage) {
	c.t.Helper()
	b, err := protojson.Marshal(m)
	require.NoError(c.t, err)
	require.NoError(c.t, c.ws.WriteMessage(websocket.TextMessage, b))
}

func (c *client) selects(s *pb.Select) {
	c.t.Helper()
	c.send(&pb.ClientMessage{Message: &pb.ClientMessage_Select{Select: s}})
}

// pictures are all binary messages so far.
func (c *client) pictures() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.binary[:len(c.binary):len(c.binary)]
}

func (c *client) count() int { return len(c.pictures()) }

// headers are those of a framebus.v1 viewer's pictures.
func (c *client) headers() []frame.Header {
	c.t.Helper()
	var out []frame.Header
	for _, b := range c.pictures() {
		h, _, err := frame.Parse(b)
		require.NoError(c.t, err)
		out = append(out, h)
	}
	return out
}

// more waits for n pictures beyond those there are.
func (c *client) more(n int) {
	c.t.Helper()
	from := c.count()
	require.Eventually(c.t, func() bool { return c.count() >= from+n }, patience, look, "no pictures came")
}

// has waits for n pictures in all, those that came already among them.
func (c *client) has(n int) {
	c.t.Helper()
	require.Eventually(c.t, func() bool { return c.count() >= n }, patience, look, "no pictures came")
}

func (c *client) heard() []*pb.ServerMessage {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.messages[:len(c.messages):len(c.messages)]
}

// notice waits for a notice that fits.
func (c *client) notice(fits func(*pb.Notice) bool) *pb.Notice {
	c.t.Helper()
	var found *pb.Notice
	require.Eventually(c.t, func() bool {
		for _, m := range c.heard() {
			if n := m.GetNotice(); n != nil && fits(n) {
				found = n
				return true
			}
		}
		return false
	}, patience, look, "no such notice")
	return found
}

// closed waits for the end and returns the close code.
func (c *client) closed() int {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		require.FailNow(c.t, "the connection was never closed")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var ce *websocket.CloseError
	require.ErrorAs(c.t, c.err, &ce)
	return ce.Code
}

// camera plays an origin and its encoder: it says Status, hears Feedback, and publishes real JPEGs while somebody wants
// them.
type camera struct {
	t      *testing.T
	bus    *bus.Bus
	name   string
	cancel context.CancelFunc
	done   chan struct{}

	mu       sync.Mutex
	status   *pb.StreamStatus
	instance string
	silent   bool // publishes no picture
	quiet    bool // says no Status
	draining bool
	skew     time.Duration // of the camera's clock
	encoder  func(seq uint64) time.Duration
	seq      uint64
	wanted   time.Time // until when
	feedback []*pb.Feedback
	rungs    [frame.Rungs]bool // wanted
}

// camera starts one, changed before it says its first word.
func (r *rig) camera(name string, changes ...func(c *camera)) *camera {
	r.t.Helper()
	b, err := bus.Open(bus.Config{URL: r.nats.URL(), Name: "camera"}, bus.Deps{Log: slog.New(slog.DiscardHandler)})
	require.NoError(r.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	c := &camera{
		t: r.t, bus: b, name: name, cancel: cancel, done: make(chan struct{}), instance: "cap-" + name,
		status: &pb.StreamStatus{
			Name: name, Owner: pb.Owner_OWNER_CAM, State: pb.StreamState_STREAM_STATE_LIVE, Source: "pattern:",
			Width: width, Height: height, Fps: 50, Epoch: uint64(time.Now().UnixMicro()),
		},
	}
	for _, change := range changes {
		change(c)
	}
	_, err = b.Control.Subscribe(subject.Feedback(name), c.hear)
	require.NoError(r.t, err)
	go c.run(ctx)
	r.t.Cleanup(c.close)
	r.eventually(func() bool { _, body := r.get("/api/v1/streams"); return strings.Contains(body, `"`+name+`"`) },
		"the stream never got known")
	return c
}

func (c *camera) close() {
	c.cancel()
	<-c.done
	c.bus.Close()
}

func (c *camera) now() time.Time { return time.Now().Add(c.skew) }

func (c *camera) hear(m bus.Msg) {
	f := &pb.Feedback{}
	if bus.Decode(m, f) != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.feedback = append(c.feedback, f)
	c.wanted = time.Time{}
	c.rungs = [frame.Rungs]bool{}
	for _, d := range f.GetRungs() {
		c.rungs[d.GetRung()] = true
	}
	if len(f.GetRungs()) > 0 {
		c.wanted = time.Now().Add(2 * time.Second)
	}
	c.status.Readers = []*pb.ReaderEcho{{
		Reader: f.GetReader(), SentUs: f.GetSentUs(), ReceivedUs: c.now().UnixMicro(),
	}}
}

// heard are the Feedback so far.
func (c *camera) heard() []*pb.Feedback {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.feedback[:len(c.feedback):len(c.feedback)]
}

// asked waits for a Feedback that fits, as the newest.
func (c *camera) asked(fits func(*pb.Feedback) bool) *pb.Feedback {
	c.t.Helper()
	var newest *pb.Feedback
	require.Eventually(c.t, func() bool {
		all := c.heard()
		if len(all) == 0 {
			return false
		}
		newest = all[len(all)-1]
		return fits(newest)
	}, patience, look, "no such Feedback")
	return newest
}

// change changes the camera between two pictures, and tells it.
func (c *camera) change(fn func(c *camera)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fn(c)
	c.tell()
}

func (c *camera) run(ctx context.Context) {
	defer close(c.done)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		c.mu.Lock()
		if n%10 == 0 {
			c.tell()
		}
		if !c.silent && !c.draining && time.Now().Before(c.wanted) {
			c.seq++
			c.publish(c.seq, c.now())
		}
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (c *camera) tell() {
	if c.quiet {
		return
	}
	c.status.Sequence = c.seq
	_ = c.bus.Control.Send(subject.Status("capture", c.instance), &pb.Status{ // the bus may be away
		Service: "capture", Instance: c.instance, Run: 1, SentUs: c.now().UnixMicro(), Draining: c.draining,
		Streams: []*pb.StreamStatus{c.status},
	})
}

// publish sends a picture that was captured then. The lock is held.
func (c *camera) publish(seq uint64, captured time.Time) {
	h := frame.NewHeader()
	h.Format, h.Quality, h.Width, h.Height = frame.JPEG, 80, width, height
	h.Epoch, h.Sequence, h.CapturedUs = c.status.GetEpoch(), seq, captured.UnixMicro()
	h.SetHop(frame.Published, captured)
	encoded := captured
	if c.encoder != nil {
		encoded = encoded.Add(c.encoder(seq))
	}
	h.SetHop(frame.Taken, encoded)
	h.SetHop(frame.Encoded, encoded)
	for r, wanted := range c.rungs {
		if wanted {
			h.Rung = frame.Rung(r)
			w, hh := h.Rung.Size(width, height)
			h.Width, h.Height = uint16(w), uint16(hh)
			c.send(h.Rung, h, picture(seq))
		}
	}
}

func (c *camera) sendRaw(h frame.Header, payload []byte) { c.send(frame.Full, h, payload) }

// send publishes a picture among those of a rung.
func (c *camera) send(r frame.Rung, h frame.Header, payload []byte) {
	h.PayloadLen = uint32(len(payload))
	b := make([]byte, frame.HeaderLen, frame.HeaderLen+len(payload))
	h.Put(b)
	c.publishBytes(r, append(b, payload...))
}

func (c *camera) publishBytes(r frame.Rung, b []byte) {
	_ = c.bus.Data.Publish(bus.Msg{Subject: subject.JPEG(c.name, r), Data: b}) // the bus may be away
}

// picture is a JPEG whose brightness tells its number.
func picture(seq uint64) []byte {
	img := image.NewGray(image.Rect(0, 0, width, height))
	for i := range img.Pix {
		img.Pix[i] = luma(seq)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 80}); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func luma(seq uint64) uint8 { return uint8(20 + seq%20*10) }

// decode checks that b is one of the camera's pictures, and returns its brightness.
func decode(t *testing.T, b []byte) uint8 {
	t.Helper()
	img, err := jpeg.Decode(bytes.NewReader(b))
	require.NoError(t, err)
	require.Equal(t, image.Rect(0, 0, width, height), img.Bounds())
	y, _, _, _ := img.At(width/2, height/2).RGBA()
	return uint8(y >> 8)
}
