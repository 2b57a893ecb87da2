package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	"image/jpeg"
	"math"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/gateway/internal/web"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
)

// stand is a gateway of one purpose: it speaks framebus.v1 to the page so that the page can be tried alone. Its
// pictures are real JPEGs that move and carry the latency strip.
type stand struct {
	w, h int
	fps  int

	addr   string
	server *http.Server
	conns  sync.WaitGroup
	stop   context.CancelFunc

	mu      sync.Mutex
	refuse  string
	heard   []*pb.ClientMessage
	streams []string // as asked for, one a connection
	say     []*pb.ServerMessage
	epoch   uint64
	pause   bool
}

func newStand(t *testing.T, w, h, fps int) *stand {
	t.Helper()
	s := &stand{w: w, h: h, fps: fps, addr: "127.0.0.1:0"}
	s.start(t)
	t.Cleanup(func() { s.close(t) })
	return s
}

// start listens, after the first time at the same address as before.
func (s *stand) start(t *testing.T) {
	t.Helper()
	var ln net.Listener
	require.Eventually(t, func() bool {
		var err error
		ln, err = new(net.ListenConfig).Listen(t.Context(), "tcp", s.addr)
		return err == nil
	}, 20*time.Second, 20*time.Millisecond)
	s.addr = ln.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	s.stop, s.epoch = stop, uint64(time.Now().UnixMicro())
	mux := http.NewServeMux()
	mux.Handle("/", web.Handler())
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) { s.serve(ctx, w, r) })
	mux.HandleFunc("/api/v1/streams", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode([]map[string]any{
			{"name": "cam0", "state": "live", "width": s.w, "height": s.h, "fps": s.fps, "viewers": 1},
			{"name": "door", "state": "live", "width": s.w, "height": s.h, "fps": s.fps},
			{"name": "yard", "state": "slate", "cause": "the camera does not answer"},
		})
	})
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	s.conns.Go(func() { _ = s.server.Serve(ln) })
}

func (s *stand) close(t *testing.T) {
	t.Helper()
	s.stop()
	require.NoError(t, s.server.Close())
	s.conns.Wait()
}

func (s *stand) setRefuse(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = reason
}

func (s *stand) setPause(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pause = on
}

func (s *stand) tell(m *pb.ServerMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.say = append(s.say, m)
}

// count tells how many messages were heard that fit.
func (s *stand) count(fits func(*pb.ClientMessage) bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, m := range s.heard {
		if fits(m) {
			n++
		}
	}
	return n
}

func (s *stand) lastStream() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.streams) == 0 {
		return ""
	}
	return s.streams[len(s.streams)-1]
}

func (s *stand) serve(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	refuse := s.refuse
	s.mu.Unlock()
	if refuse != "" {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusServiceUnavailable)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": refuse})
		return
	}
	up := websocket.Upgrader{Subprotocols: []string{"framebus.v1"}}
	c, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	stream := r.URL.Query().Get("stream")
	if stream == "" {
		stream = "cam0"
	}
	s.mu.Lock()
	s.streams = append(s.streams, stream)
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	out := make(chan *pb.ServerMessage, 64)
	s.conns.Go(func() {
		defer cancel()
		s.read(ctx, c, out)
	})
	s.conns.Go(func() {
		s.write(ctx, c, stream, out)
		_ = c.Close()
	})
}

func (s *stand) read(ctx context.Context, c *websocket.Conn, out chan<- *pb.ServerMessage) {
	for {
		_, b, err := c.ReadMessage()
		if err != nil {
			return
		}
		now := time.Now().UnixMicro()
		m := new(pb.ClientMessage)
		if err := protojson.Unmarshal(b, m); err != nil {
			panic("the page sent no protojson of ClientMessage: " + err.Error() + ": " + string(b))
		}
		s.mu.Lock()
		s.heard = append(s.heard, m)
		s.mu.Unlock()
		if clock := m.GetClock(); clock != nil {
			answer := &pb.Clock{T1Us: clock.GetT1Us(), T2Us: now, T3Us: time.Now().UnixMicro()}
			select {
			case out <- &pb.ServerMessage{Message: &pb.ServerMessage_Clock{Clock: answer}}:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (s *stand) write(ctx context.Context, c *websocket.Conn, stream string, out <-chan *pb.ServerMessage) {
	text := func(m *pb.ServerMessage) bool {
		b, err := protojson.Marshal(m)
		return err == nil && c.WriteMessage(websocket.TextMessage, b) == nil
	}
	text(&pb.ServerMessage{Message: &pb.ServerMessage_Hello{Hello: &pb.Hello{
		Viewer: "v1", Gateway: "stand", Version: "test", MaxClients: 10, MaxMessageBytes: 4096,
		Channels: []*pb.Channel{{Channel: 3, Stream: stream}},
		Rungs:    []pb.Rung{pb.Rung_RUNG_FULL, pb.Rung_RUNG_HALF, pb.Rung_RUNG_QUARTER},
		NowUs:    time.Now().UnixMicro(),
	}}})
	p := newPainting(s.w, s.h)
	tick := time.NewTicker(time.Second / time.Duration(s.fps))
	defer tick.Stop()
	n := uint64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-out:
			text(m)
			continue
		case <-tick.C:
			n++
		}
		s.mu.Lock()
		say, pause, epoch := s.say, s.pause, s.epoch
		s.say = nil
		s.mu.Unlock()
		for _, m := range say {
			text(m)
		}
		if n%uint64(s.fps) == 0 {
			text(&pb.ServerMessage{Message: &pb.ServerMessage_Stats{Stats: &pb.Stats{
				Channel: 3, Stream: stream, Fps: float64(s.fps), Quality: 80, Sent: n, RttMs: 0.4,
				Origin: &pb.ClockOffset{}, Encoder: &pb.ClockOffset{},
			}}})
		}
		if pause {
			continue
		}
		if c.WriteMessage(websocket.BinaryMessage, p.message(epoch, n)) != nil {
			return
		}
	}
}

// painting makes the pictures: a gradient, a disc that runs round, and the strip.
type painting struct {
	img *image.YCbCr
	buf bytes.Buffer
}

func newPainting(w, h int) *painting {
	return &painting{img: image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420)}
}

func (p *painting) message(epoch, n uint64) []byte {
	captured := time.Now()
	p.draw(n)
	w, h := p.img.Rect.Dx(), p.img.Rect.Dy()
	frame.PutStrip(p.img.Y, w, h, captured.UnixMicro())
	head := frame.NewHeader()
	p.buf.Reset()
	p.buf.Write(make([]byte, frame.HeaderLen))
	if err := jpeg.Encode(&p.buf, p.img, &jpeg.Options{Quality: 80}); err != nil {
		panic(err)
	}
	b := bytes.Clone(p.buf.Bytes())
	now := time.Now()
	head.Format, head.Quality, head.Channel = frame.JPEG, 80, 3
	head.Width, head.Height = uint16(w), uint16(h)
	head.Epoch, head.Sequence, head.CapturedUs = epoch, n, captured.UnixMicro()
	head.SetHop(frame.Published, captured.Add(200*time.Microsecond))
	head.SetHop(frame.Taken, captured.Add(500*time.Microsecond))
	head.SetHop(frame.Encoded, now)
	head.SetHop(frame.Received, now.Add(300*time.Microsecond))
	head.SetHop(frame.Handed, now.Add(400*time.Microsecond))
	head.PayloadLen = uint32(len(b) - frame.HeaderLen)
	head.Put(b)
	return b
}

func (p *painting) draw(n uint64) {
	w, h := p.img.Rect.Dx(), p.img.Rect.Dy()
	angle := float64(n) / 12
	cx := w/2 + int(float64(w)/3.2*math.Cos(angle))
	cy := h/2 + int(float64(h)/3.2*math.Sin(angle))
	r := h / 9
	for y := range h {
		row := p.img.Y[y*p.img.YStride : y*p.img.YStride+w]
		for x := range row {
			row[x] = byte(40 + 90*y/h + 40*x/w)
			if dx, dy := x-cx, y-cy; dx*dx+dy*dy < r*r {
				row[x] = 225
			}
		}
	}
	for y := range (h + 1) / 2 {
		for x := range (w + 1) / 2 {
			i := y*p.img.CStride + x
			p.img.Cb[i] = byte(100 + 100*x/w)
			p.img.Cr[i] = byte(100 + 60*y/h)
		}
	}
}
