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
	"net/url"
	"slices"
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

	mu     sync.Mutex
	refuse string
	heard  []*pb.ClientMessage
	asked  []url.Values // queries, one a connection
	say    []*pb.ServerMessage
	epoch  uint64
	pause  bool
	absent string     // a stream that is not in the list
	rung   frame.Rung // of who leaves it to the gateway,
	why    string     // because

	traceUI string
	traced  func(n uint64) bool     // which frames are
	clocks  [2]*pb.ClockOffset      // of origin and encoder, in stats
	sent    map[uint64]frame.Header // by sequence
	newest  uint64                  // that is sent, or about to be
	looked  map[string]int          // traces asked for at /api/v1/traces, by id
	ledger  string                  // what /api/v1/ledger tells; empty: refuses

	desk desk
}

// at is the newest picture's number.
func (s *stand) at() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest
}

// wish is the rung that one connection chose.
type wish struct {
	mu   sync.Mutex
	rung *frame.Rung
}

// set takes what a query or a select names; what the gateway would refuse fails the test.
func (w *wish) set(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if name == "" || name == "off" { // of a stream among several
		return
	}
	w.rung = nil
	if name == "auto" {
		return
	}
	r, ok := frame.ParseRung(name)
	if !ok {
		panic("the page asked for a rung that there is not: " + name)
	}
	w.rung = &r
}

func (w *wish) get() *frame.Rung {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rung
}

func newStand(t *testing.T, w, h, fps int) *stand {
	t.Helper()
	s := &stand{
		w: w, h: h, fps: fps, addr: "127.0.0.1:0", clocks: [2]*pb.ClockOffset{{}, {}},
		sent: map[uint64]frame.Header{}, looked: map[string]int{},
	}
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
		streams := []map[string]any{
			{"name": "cam0", "state": "live", "width": s.w, "height": s.h, "fps": s.fps, "viewers": 1},
			{"name": "door", "state": "live", "width": s.w, "height": s.h, "fps": s.fps},
			{"name": "yard", "state": "slate", "cause": "the camera does not answer"},
		}
		s.mu.Lock()
		streams = slices.DeleteFunc(streams, func(m map[string]any) bool { return m["name"] == s.absent })
		s.mu.Unlock()
		_ = json.NewEncoder(w).Encode(streams)
	})
	mux.HandleFunc("/api/v1/traces/{id}", s.serveTrace)
	mux.HandleFunc("/api/v1/ledger", s.serveLedger)
	mux.HandleFunc("/publish", func(w http.ResponseWriter, r *http.Request) { s.servePublish(ctx, w, r) })
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

func (s *stand) setAbsent(stream string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.absent = stream
}

// setRung moves everybody who has not chosen.
func (s *stand) setRung(r frame.Rung, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rung, s.why = r, why
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

// last is what the newest connection asked for in its query.
func (s *stand) last(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.asked) == 0 {
		return ""
	}
	return s.asked[len(s.asked)-1].Get(name)
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
	s.asked = append(s.asked, r.URL.Query())
	s.mu.Unlock()
	chosen := new(wish)
	chosen.set(r.URL.Query().Get("rung"))
	ctx, cancel := context.WithCancel(ctx)
	out := make(chan *pb.ServerMessage, 64)
	s.conns.Go(func() {
		defer cancel()
		s.read(ctx, c, chosen, out)
	})
	s.conns.Go(func() {
		s.write(ctx, c, stream, chosen, out)
		_ = c.Close()
	})
}

func (s *stand) read(ctx context.Context, c *websocket.Conn, chosen *wish, out chan<- *pb.ServerMessage) {
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
		if sel := m.GetSelect(); sel != nil {
			chosen.set(sel.GetRung())
		}
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

func (s *stand) write(
	ctx context.Context, c *websocket.Conn, stream string, chosen *wish, out <-chan *pb.ServerMessage,
) {
	text := func(m *pb.ServerMessage) bool {
		b, err := protojson.Marshal(m)
		return err == nil && c.WriteMessage(websocket.TextMessage, b) == nil
	}
	text(&pb.ServerMessage{Message: &pb.ServerMessage_Hello{Hello: &pb.Hello{
		Viewer: "v1", Gateway: "stand", Version: "test", MaxClients: 10, MaxMessageBytes: 4096,
		Channels: []*pb.Channel{{Channel: 3, Stream: stream}},
		Rungs:    []pb.Rung{pb.Rung_RUNG_FULL, pb.Rung_RUNG_HALF, pb.Rung_RUNG_QUARTER},
		NowUs:    time.Now().UnixMicro(), TraceUi: s.traceUI,
	}}})
	var sizes [frame.Rungs]*painting
	for r := range sizes {
		sizes[r] = newPainting(frame.Rung(r), s.w, s.h)
	}
	on := frame.Full // as a gateway does, tell of changes only: what a query chose is no news
	if r := chosen.get(); r != nil {
		on = *r
	}
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
		say, pause, epoch, rung, why := s.say, s.pause, s.epoch, s.rung, s.why
		traced, clocks := s.traced != nil && s.traced(n), s.clocks
		if !pause {
			s.newest = n
		}
		s.say = nil
		s.mu.Unlock()
		if r := chosen.get(); r != nil {
			rung, why = *r, "chosen by the viewer"
		}
		if rung != on {
			on = rung
			text(&pb.ServerMessage{Message: &pb.ServerMessage_Notice{Notice: &pb.Notice{
				Channel: 3, Stream: stream, Kind: "rung", Rung: pb.Rung(on), Text: why,
			}}})
		}
		for _, m := range say {
			text(m)
		}
		if n%uint64(s.fps) == 0 {
			text(&pb.ServerMessage{Message: &pb.ServerMessage_Stats{Stats: &pb.Stats{
				Channel: 3, Stream: stream, Fps: float64(s.fps), Rung: pb.Rung(on), Quality: 80, Sent: n, RttMs: 0.4,
				Origin: clocks[0], Encoder: clocks[1],
			}}})
		}
		if pause {
			continue
		}
		head, b := sizes[on].message(epoch, n, traced)
		s.mu.Lock()
		s.sent[n] = head
		s.mu.Unlock()
		if c.WriteMessage(websocket.BinaryMessage, b) != nil {
			return
		}
	}
}

// painting makes the pictures of one rung: a gradient, a disc that runs round, and the strip.
type painting struct {
	rung frame.Rung
	img  *image.YCbCr
	buf  bytes.Buffer
}

func newPainting(rung frame.Rung, w, h int) *painting {
	w, h = rung.Size(w, h)
	return &painting{rung: rung, img: image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420)}
}

func (p *painting) message(epoch, n uint64, traced bool) (frame.Header, []byte) {
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
	head.Format, head.Rung, head.Quality, head.Channel = frame.JPEG, p.rung, 80, 3
	head.Width, head.Height = uint16(w), uint16(h)
	head.Epoch, head.Sequence, head.CapturedUs = epoch, n, captured.UnixMicro()
	if traced {
		head.Flags |= frame.FlagSampled
		head.TraceID = traceOf(n)
	}
	head.SetHop(frame.Published, captured.Add(200*time.Microsecond))
	head.SetHop(frame.Taken, captured.Add(500*time.Microsecond))
	head.SetHop(frame.Encoded, now)
	head.SetHop(frame.Received, now.Add(300*time.Microsecond))
	head.SetHop(frame.Handed, now.Add(400*time.Microsecond))
	head.PayloadLen = uint32(len(b) - frame.HeaderLen)
	head.Put(b)
	return head, b
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
