package origin

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/natsd"
	"github.com/framebus/framebus/services/internal/presence"
	"github.com/framebus/framebus/services/internal/shm"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	within = 30 * time.Second
	every  = 5 * time.Millisecond

	stream = "cam0"
	width  = 32
	height = 24
)

var quiet = slog.New(slog.DiscardHandler)

func startServer(t *testing.T, cfg natsd.Config) *natsd.Server {
	t.Helper()
	s, err := natsd.Start(cfg)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

// freeAddr is where a server can be stopped and started again.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// member is somebody on the bus: its connections and its presence.
type member struct {
	bus    *bus.Bus
	roster *presence.Roster
	leave  func() // without a word
}

var runs atomic.Uint64

func join(t *testing.T, cfg bus.Config, service, instance string) *member {
	t.Helper()
	b, err := bus.Open(cfg, bus.Deps{Log: quiet})
	require.NoError(t, err)
	r := presence.New(presence.Config{Service: service, Instance: instance, Run: runs.Add(1)},
		presence.Deps{Bus: b, Log: quiet})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.Run(ctx) })
	m := &member{bus: b, roster: r}
	m.leave = sync.OnceFunc(func() { cancel(); wg.Wait(); b.Close() })
	t.Cleanup(m.leave)
	return m
}

// camera is an origin that runs, and its source: a frame every few milliseconds, whose bytes are all of one value.
type camera struct {
	*Origin
	stop    func() // ends the origin; its member stays
	offered atomic.Uint64
	larger  atomic.Bool // its frames are twice as wide
	// jpegBytes of what is offered as a JPEG instead; 0 for none.
	jpegBytes atomic.Int64
}

func film(t *testing.T, m *member, cfg Config, change func(*Deps)) *camera {
	t.Helper()
	cfg.Stream, cfg.Width, cfg.Height, cfg.FPS = stream, width, height, 200
	if cfg.By == "" {
		cfg.By = subject.Cam
	}
	d := Deps{Bus: m.bus, Roster: m.roster, Log: quiet}
	if change != nil {
		change(&d)
	}
	c := &camera{Origin: New(cfg, d)}
	m.roster.SetFill(func(s *pb.Status) { s.Streams = append(s.Streams, c.StreamStatus()) })
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() { c.shoot(ctx) })
	c.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(c.stop)
	return c
}

func (c *camera) shoot(ctx context.Context) {
	c.State(true, "", 200)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w := width
		if c.larger.Load() {
			w *= 2
		}
		n := c.offered.Add(1)
		if size := int(c.jpegBytes.Load()); size > 0 {
			c.Offer(time.Now(), bytes.Repeat([]byte{byte(n)}, size), w, height)
			continue
		}
		if buf := c.Begin(time.Now(), w, height); buf != nil {
			for i := range buf {
				buf[i] = byte(n)
			}
			c.Commit()
		}
	}
}

func (c *camera) eventually(t *testing.T, what string, is func(*pb.StreamStatus) bool) {
	t.Helper()
	require.Eventually(t, func() bool { return is(c.StreamStatus()) }, within, every, what)
}

func (c *camera) becomes(t *testing.T, state pb.StreamState) {
	t.Helper()
	c.eventually(t, state.String(), func(s *pb.StreamStatus) bool { return s.GetState() == state })
}

// balanced checks the two equations of a book.
func balanced(t *testing.T, b *pb.Book) {
	t.Helper()
	require.NotNil(t, b)
	var dropped, done uint64
	for _, n := range b.GetDropped() {
		dropped += n
	}
	for _, n := range b.GetDone() {
		done += n
	}
	require.Equal(t, b.GetCaptured(), b.GetPublished()+b.GetUnwanted()+dropped, "%v", b)
	require.Equal(t, b.GetPublished(), done+b.GetUnanswered()+b.GetOpen(), "%v", b)
}

// coder plays an encoder of the bus contract, without encoding anything.
type coder struct {
	*member
	name   string
	frozen atomic.Bool // takes frames and answers nothing, probes neither
	frames atomic.Uint64
	probes atomic.Uint64
	works  atomic.Int64 // how long at each frame, ns

	referred    atomic.Uint64 // frames that came by reference
	overwritten atomic.Uint64 // those whose slot was given away before they were read
	// Where its owner shares memory: whether that waits for a frame, and whom to tell what a frame's bytes are.
	still func(id frameID) bool
	saw   func(id frameID, v byte) error

	mu      sync.Mutex
	last    bus.Msg
	head    frame.Header
	bad     error
	regions map[regionID]*shm.Mapping
}

func encodes(t *testing.T, cfg bus.Config, name string, workers uint32) *coder {
	t.Helper()
	c := &coder{name: name}
	c.start(t, cfg, workers)
	return c
}

func (c *coder) start(t *testing.T, cfg bus.Config, workers uint32) {
	t.Helper()
	c.member = join(t, cfg, "encoder", c.name)
	_, err := c.bus.Data.Subscribe(subject.RawFor(c.name), c.take)
	require.NoError(t, err)
	c.roster.SetFill(func(s *pb.Status) { s.Encoder = &pb.EncoderStatus{Workers: workers, Mapped: c.mapped()} })
}

func (c *coder) take(m bus.Msg) {
	received := time.Now().UnixMicro()
	h, payload, err := frame.Parse(m.Data)
	c.mu.Lock()
	if err != nil {
		c.bad = err
	}
	if len(payload) > 0 {
		c.last, c.head = m, h
	}
	c.mu.Unlock()
	fate := pb.Fate_FATE_ENCODED
	if len(payload) > 0 && err == nil && c.saw != nil {
		fate = c.encode(&h, payload)
	}
	if len(payload) == 0 {
		fate = pb.Fate_FATE_PROBE
		c.probes.Add(1)
	} else {
		c.frames.Add(1)
	}
	if c.frozen.Load() {
		return
	}
	_, name, _, _ := subject.ParseRaw(m.Subject)
	d := &pb.Done{
		Stream: name, Epoch: h.Epoch, Sequence: h.Sequence, Encoder: c.name, Run: c.roster.Config().Run,
		Fate: fate, ReceivedUs: received, SentUs: time.Now().UnixMicro(),
	}
	for range 2 { // a duplicate must not count
		_ = c.bus.Data.Send(m.Reply, d)
	}
	// Nor must the answer of a JetStream stream over raw.
	_ = c.bus.Data.Publish(bus.Msg{Subject: m.Reply, Data: []byte(`{"stream":"RAW","seq":7}`)})
}

func (c *coder) newest() (bus.Msg, frame.Header, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last, c.head, c.bad
}

// more waits for n more frames.
func (c *coder) more(t *testing.T, n uint64) {
	t.Helper()
	from := c.frames.Load()
	require.Eventually(t, func() bool { return c.frames.Load() >= from+n }, within, every, "%s gets no frames", c.name)
}

// watch has a reader ask for something of the stream, until the returned function or the test's end.
func watch(t *testing.T, m *member, f *pb.Feedback) (stop func()) {
	t.Helper()
	f.Stream = stream
	if f.Reader == "" {
		f.Reader = "reader"
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			f.SentUs = time.Now().UnixMicro()
			_ = m.bus.Control.Send(subject.Feedback(stream), f) // the bus may be away
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(stop)
	return stop
}
