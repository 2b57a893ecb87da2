package client_test

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/jpeg"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a loaded machine may take for anything.
const patience = 30 * time.Second

func eventually(t *testing.T, condition func() bool, what string, args ...any) {
	t.Helper()
	require.Eventually(t, condition, patience, 5*time.Millisecond, append([]any{what}, args...)...)
}

// picture is a JPEG of 64×48.
var picture = sync.OnceValue(func() []byte {
	img := image.NewGray(image.Rect(0, 0, 64, 48))
	for i := range img.Pix {
		img.Pix[i] = color.Gray{Y: uint8(i)}.Y
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		panic(err)
	}
	return b.Bytes()
})

// gateway speaks the gateway's side of the protocol, as the test tells it to.
type gateway struct {
	*httptest.Server
	// refuse, where not nil, says whether a handshake is refused: it has answered then.
	refuse func(dial int, w http.ResponseWriter, r *http.Request) bool
	// hello is sent first; nil sends none.
	hello *pb.Hello
	skew  time.Duration // of its clock

	dials atomic.Int64
	conns chan *peer
	wait  sync.WaitGroup
}

// peer is a viewer that came.
type peer struct {
	t        testing.TB
	ws       *websocket.Conn
	request  *http.Request
	messages chan *pb.ClientMessage // all but clocks
	pongs    chan string
	gone     chan struct{}
	mu       sync.Mutex // of writes
}

func newGateway(t testing.TB, change ...func(*gateway)) *gateway {
	g := &gateway{
		conns: make(chan *peer, 64),
		hello: &pb.Hello{Viewer: "v1", Gateway: "g1", Channels: []*pb.Channel{
			{Channel: 1, Stream: "cam0"}, {Channel: 2, Stream: "cam1"},
		}},
	}
	for _, c := range change {
		c(g)
	}
	g.Server = httptest.NewServer(g.serve(t))
	t.Cleanup(func() {
		g.CloseClientConnections()
		g.Close()
		for len(g.conns) > 0 {
			(<-g.conns).ws.Close()
		}
		g.wait.Wait()
	})
	return g
}

func (g *gateway) serve(t testing.TB) http.HandlerFunc {
	up := websocket.Upgrader{Subprotocols: []string{"framebus.v1"}}
	return func(w http.ResponseWriter, r *http.Request) {
		g.wait.Add(1) // before the connection is taken over: until then Close waits for it
		defer g.wait.Done()
		dial := int(g.dials.Add(1))
		if g.refuse != nil && g.refuse(dial, w, r) {
			return
		}
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		p := &peer{
			t: t, ws: ws, request: r, messages: make(chan *pb.ClientMessage, 1024),
			pongs: make(chan string, 1024), gone: make(chan struct{}),
		}
		t.Cleanup(func() { ws.Close() })
		ws.SetPongHandler(func(s string) error { p.pongs <- s; return nil })
		if g.hello != nil && ws.Subprotocol() != "" {
			p.control(&pb.ServerMessage{Message: &pb.ServerMessage_Hello{Hello: g.hello}})
		}
		g.conns <- p
		defer close(p.gone)
		for {
			_, b, err := ws.ReadMessage()
			if err != nil {
				return
			}
			at := time.Now().Add(g.skew)
			var m pb.ClientMessage
			if err := protojson.Unmarshal(b, &m); err != nil {
				t.Errorf("the client sent %q: %v", b, err)
				return
			}
			if c := m.GetClock(); c != nil {
				p.control(&pb.ServerMessage{Message: &pb.ServerMessage_Clock{Clock: &pb.Clock{
					T1Us: c.T1Us, T2Us: at.UnixMicro(), T3Us: time.Now().Add(g.skew).UnixMicro(),
				}}})
				continue
			}
			p.messages <- &m
		}
	}
}

// viewer waits for the next viewer that connects.
func (g *gateway) viewer(t testing.TB) *peer {
	t.Helper()
	select {
	case p := <-g.conns:
		return p
	case <-time.After(patience):
		require.FailNow(t, "nobody connected")
		return nil
	}
}

func (p *peer) control(m *pb.ServerMessage) {
	b, err := protojson.Marshal(m)
	require.NoError(p.t, err)
	p.write(websocket.TextMessage, b)
}

func (p *peer) write(kind int, b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.ws.WriteMessage(kind, b) // a viewer may be gone at any time
}

func (p *peer) picture(channel uint16, epoch, sequence uint64) {
	p.write(websocket.BinaryMessage, message(channel, epoch, sequence, time.Now()))
}

// drop cuts the connection as a crash does.
func (p *peer) drop() { p.ws.Close() }

// next waits for a message that want is true for.
func (p *peer) next(want func(*pb.ClientMessage) bool) *pb.ClientMessage {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case m := <-p.messages:
			if want(m) {
				return m
			}
		case <-deadline:
			require.FailNow(p.t, "the client never said it")
		}
	}
}

func message(channel uint16, epoch, sequence uint64, captured time.Time) []byte {
	jpg := picture()
	h := frame.NewHeader()
	h.Format, h.Quality, h.Width, h.Height, h.Channel = frame.JPEG, 80, 64, 48, channel
	h.Epoch, h.Sequence, h.CapturedUs, h.PayloadLen = epoch, sequence, captured.UnixMicro(), uint32(len(jpg))
	b := make([]byte, frame.HeaderLen, frame.HeaderLen+len(jpg))
	h.Put(b)
	return append(b, jpg...)
}

// watch runs a viewer until the test ends or stop is called, which returns what Run did.
func watch(t testing.TB, cfg client.Config, deps client.Deps) (v *client.Viewer, stop func() error) {
	t.Helper()
	v, err := client.New(cfg, deps)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			t.Error("Run never returned")
			return nil
		}
	})
	t.Cleanup(func() { _ = stop() })
	return v, stop
}

// run runs a viewer until it ends by itself.
func run(t *testing.T, cfg client.Config, deps client.Deps) error {
	t.Helper()
	v, err := client.New(cfg, deps)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err = v.Run(ctx)
	require.NoError(t, ctx.Err(), "Run never returned")
	return err
}
