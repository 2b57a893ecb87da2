package client_test

import (
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/client"
)

// collector takes frames by callback, and holds them while its gate is shut.
type collector struct {
	gate sync.Mutex
	mu   sync.Mutex
	all  []*client.Frame
}

func (c *collector) take(f *client.Frame) {
	c.mu.Lock()
	c.all = append(c.all, f)
	c.mu.Unlock()
	c.gate.Lock()
	defer c.gate.Unlock()
}

func (c *collector) frames() []*client.Frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*client.Frame(nil), c.all...)
}

func (c *collector) sequences() (out []uint64) {
	for _, f := range c.frames() {
		out = append(out, f.Header.Sequence)
	}
	return out
}

func TestTheNewestWins(t *testing.T) {
	var c collector
	c.gate.Lock()
	g := newGateway(t)
	v, _ := watch(t, client.Config{URL: g.URL, Stream: "cam0"}, client.Deps{OnFrame: c.take})
	p := g.viewer(t)
	p.picture(1, 1, 1)
	eventually(t, func() bool { return len(c.frames()) == 1 }, "no frame")
	for i := range uint64(49) {
		p.picture(1, 1, 2+i)
	}
	// The socket is read while the receiver is busy, and pings are answered.
	p.write(websocket.PingMessage, []byte("12345678"))
	eventually(t, func() bool { return v.Stats().Frames == 50 && len(p.pongs) == 1 }, "the socket is not read")
	require.Equal(t, "12345678", <-p.pongs)
	c.gate.Unlock()
	eventually(t, func() bool { return len(c.frames()) == 2 }, "no second frame")
	require.Equal(t, []uint64{1, 50}, c.sequences())
	eventually(t, func() bool { return v.Stats().Taken == 2 }, "not counted")
	s := v.Stats()
	require.EqualValues(t, 48, s.Displaced)
	require.Zero(t, s.Missed)

	var decoded, dropped uint32
	m := p.next(func(m *pb.ClientMessage) bool {
		decoded += m.GetPainted().GetDecoded()
		dropped += m.GetPainted().GetDropped()
		return m.GetPainted().GetSequence() == 50
	})
	require.EqualValues(t, 2, decoded)
	require.EqualValues(t, 48, dropped)
	require.EqualValues(t, 1, m.GetPainted().Channel)
	require.EqualValues(t, 1, m.GetPainted().Epoch)

	img, err := c.frames()[1].Image()
	require.NoError(t, err)
	require.Equal(t, 64, img.Bounds().Dx())
}

func TestTheNewestWinsOnAChannel(t *testing.T) {
	frames := make(chan *client.Frame)
	g := newGateway(t)
	v, _ := watch(t, client.Config{URL: g.URL}, client.Deps{Frames: frames})
	p := g.viewer(t)
	for i := range uint64(50) {
		p.picture(1, 1, 1+i)
	}
	eventually(t, func() bool { s := v.Stats(); return s.Frames == 50 && s.Displaced == 49 }, "old ones are kept")
	require.EqualValues(t, 50, (<-frames).Header.Sequence)
	p.picture(1, 1, 51)
	require.EqualValues(t, 51, (<-frames).Header.Sequence)
}

func TestEveryFrameInOrder(t *testing.T) {
	const count = 2000
	for name, byChannel := range map[string]bool{"callback": false, "channel": true} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			frames := make(chan *client.Frame)
			deps := client.Deps{Frames: frames}
			if !byChannel {
				deps = client.Deps{OnFrame: func(f *client.Frame) { frames <- f }}
			}
			v, _ := watch(t, client.Config{URL: g.URL, Every: true, Queue: 4}, deps)
			p := g.viewer(t)
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				for i := range uint64(count) {
					p.picture(1, 1, i)
				}
			}()
			for want := range uint64(count) {
				f := <-frames
				require.Equal(t, want, f.Header.Sequence)
				f.Release()
			}
			<-sent
			eventually(t, func() bool { return v.Stats().Taken == count }, "not counted")
			require.Zero(t, v.Stats().Displaced)
		})
	}
}

func TestWhatWasReadIsHandedOverAtTheEnd(t *testing.T) {
	g := newGateway(t, func(g *gateway) {
		g.refuse = nil
	})
	var c collector
	c.gate.Lock()
	v, err := client.New(client.Config{URL: g.URL, Every: true, Attempts: 1, Delay: quick},
		client.Deps{OnFrame: c.take})
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- v.Run(t.Context()) }()
	p := g.viewer(t)
	for i := range uint64(10) {
		p.picture(1, 1, i)
	}
	eventually(t, func() bool { return v.Stats().Frames == 10 }, "not read")
	g.Listener.Close()
	p.drop()
	eventually(t, func() bool { return v.State().Phase == client.Ended }, "it did not give up")
	c.gate.Unlock()
	require.ErrorIs(t, <-done, client.ErrGaveUp)
	require.Len(t, c.frames(), 10)
}

func TestGapsAreCountedAcrossEpochs(t *testing.T) {
	var c collector
	g := newGateway(t)
	v, _ := watch(t, client.Config{URL: g.URL, Every: true}, client.Deps{OnFrame: c.take})
	p := g.viewer(t)
	for _, f := range [][2]uint64{
		{5, 100}, {5, 101},
		{5, 104}, // two missed
		{5, 103}, // late
		{6, 40},  // a new epoch begins anywhere: nothing is known to be missed
		{5, 105}, // late: its owner has been followed
		{6, 42},  // one missed
	} {
		p.picture(1, f[0], f[1])
	}
	eventually(t, func() bool { return v.Stats().Taken == 5 }, "not all came")
	s := v.Stats()
	require.EqualValues(t, 3, s.Missed)
	require.EqualValues(t, 2, s.Late)
	require.Equal(t, []uint64{100, 101, 104, 40, 42}, c.sequences())
	require.EqualValues(t, 2, c.frames()[2].Missed)
	require.EqualValues(t, 0, c.frames()[3].Missed)
	require.EqualValues(t, 6, s.Epoch)
	require.EqualValues(t, 42, s.Sequence)
}

func TestGarbageIsCountedAndNotFatal(t *testing.T) {
	g := newGateway(t)
	v, _ := watch(t, client.Config{URL: g.URL}, client.Deps{})
	p := g.viewer(t)
	raw := message(1, 1, 1, time.Now())
	raw[5] = 2 // BGR24
	for _, b := range [][]byte{{}, {1, 2, 3}, message(1, 1, 1, time.Now())[:100], raw, picture()} {
		p.write(websocket.BinaryMessage, b)
	}
	for _, s := range []string{"", "no", `{"stats":7}`, `{"clock":{"t1Us":"9223372036854775807"}}`} {
		p.write(websocket.TextMessage, []byte(s))
	}
	p.write(websocket.TextMessage, []byte(`{"ofLaterVersion":{"x":1}}`))
	p.write(websocket.TextMessage, []byte(`{"hello":{"viewer":"again","ofLaterVersion":1}}`))
	p.picture(1, 1, 1)
	eventually(t, func() bool { return v.Stats().Frames == 1 }, "no frame after garbage")
	s := v.Stats()
	require.EqualValues(t, 9, s.Malformed)
	require.EqualValues(t, 1, s.Unknown)
	require.Equal(t, "again", s.Viewer)
	require.Zero(t, s.Reconnects)
}

func TestBareAndSized(t *testing.T) {
	sized := binary.LittleEndian.AppendUint64(nil, uint64(len(picture())))
	for name, c := range map[string]struct {
		format client.Format
		good   []byte
		bad    []byte
	}{
		"bare":  {client.Bare, picture(), []byte("no picture")},
		"sized": {client.Sized, append(sized, picture()...), append(append(sized, 0), picture()...)},
	} {
		t.Run(name, func(t *testing.T) {
			var got collector
			g := newGateway(t)
			v, _ := watch(t, client.Config{URL: g.URL, Stream: "cam0", Format: c.format, Every: true},
				client.Deps{OnFrame: got.take})
			p := g.viewer(t)
			require.Equal(t, name == "sized", p.request.URL.Query().Get("format") == "sized")
			require.Empty(t, p.request.Header.Get("Sec-Websocket-Protocol"))
			p.write(websocket.BinaryMessage, c.good)
			p.write(websocket.BinaryMessage, c.bad)
			p.write(websocket.BinaryMessage, c.good)
			eventually(t, func() bool { return v.Stats().Taken == 2 }, "no frames")
			f := got.frames()[1]
			require.Equal(t, picture(), f.JPEG)
			require.Equal(t, "cam0", f.Stream)
			_, _, ok := f.Age()
			require.False(t, ok)
			s := v.Stats()
			require.EqualValues(t, 1, s.Malformed)
			require.False(t, s.AgeKnown)
			require.Equal(t, client.Fair, s.Connection, "nothing speaks against it, but it is young")
			require.Error(t, v.Select(client.Selection{Rung: "half"}))
		})
	}
}

func TestSeveralStreamsOnOneConnection(t *testing.T) {
	var c collector
	g := newGateway(t)
	cfg := client.Config{URL: g.URL, Stream: "cam0", Also: []string{"cam1", "cam0"}, Every: true, Delay: quick}
	v, _ := watch(t, cfg, client.Deps{OnFrame: c.take})
	for round := range uint64(2) {
		p := g.viewer(t)
		sel := p.next(func(m *pb.ClientMessage) bool { return m.GetSelect() != nil }).GetSelect()
		require.Equal(t, "cam1", sel.Stream)
		p.picture(1, 1, 10*round+1)
		p.picture(2, 1, 10*round+1)
		p.picture(3, 1, 10*round+1) // nobody asked
		p.picture(1, 1, 10*round+3)
		eventually(t, func() bool { return v.Stats().Streams[0].Taken == 2*round+2 }, "no frames")
		p.drop()
	}
	s := v.Stats()
	require.Len(t, s.Streams, 2)
	require.Equal(t, []string{"cam0", "cam1"}, []string{s.Streams[0].Stream, s.Streams[1].Stream})
	require.EqualValues(t, 2, s.Streams[1].Frames)
	require.EqualValues(t, 2, s.Malformed)
	for _, f := range c.frames() {
		require.Equal(t, f.Header.Channel == 2, f.Stream == "cam1")
	}
}

func TestSelectIsSaidAgainAfterAReconnect(t *testing.T) {
	g := newGateway(t)
	v, _ := watch(t, client.Config{URL: g.URL, Stream: "cam0", Delay: quick}, client.Deps{})
	p := g.viewer(t)
	p.picture(1, 1, 1)
	eventually(t, func() bool { return v.Stats().Frames == 1 }, "no frame")
	require.NoError(t, v.Select(client.Selection{Rung: "half", MaxFPS: 5, Width: 320, Height: 240}))
	require.Error(t, v.Select(client.Selection{Rung: "third"}))
	want := func(p *peer) {
		sel := p.next(func(m *pb.ClientMessage) bool { return m.GetSelect() != nil }).GetSelect()
		require.Equal(t, "cam0 half 5 320 240",
			sel.Stream+" "+sel.Rung+" "+formatted(sel.MaxFps)+" "+formatted(float64(sel.Width))+" "+
				formatted(float64(sel.Height)))
	}
	want(p)
	p.picture(1, 1, 100)
	eventually(t, func() bool { return v.Stats().Frames == 2 }, "no frame")
	require.Zero(t, v.Stats().Missed, "what was asked to be skipped is not missed")
	p.drop()
	want(g.viewer(t))
}

func TestTheDefaultStreamTakesItsNameFromTheGateway(t *testing.T) {
	g := newGateway(t)
	v, _ := watch(t, client.Config{URL: g.URL, Delay: quick}, client.Deps{})
	p := g.viewer(t)
	eventually(t, func() bool { return v.Stats().Viewer != "" }, "no hello")
	p.picture(2, 1, 1)
	eventually(t, func() bool { return v.Stats().Stream == "cam1" }, "no name")
	v.TraceNext("")
	m := p.next(func(m *pb.ClientMessage) bool { return m.GetTraceNext() != nil })
	require.Equal(t, "cam1", m.GetTraceNext().Stream)
}

func TestNoticesAndPaintingOnDemand(t *testing.T) {
	notices := make(chan *pb.Notice, 16)
	g := newGateway(t)
	watch(t, client.Config{URL: g.URL, Stream: "cam0", Every: true},
		client.Deps{OnNotice: func(n *pb.Notice) { notices <- n }})
	p := g.viewer(t)
	p.control(&pb.ServerMessage{Message: &pb.ServerMessage_Notice{Notice: &pb.Notice{
		Channel: 1, Stream: "cam0", Kind: "paint", Text: "a proxy answers the pings"}}})
	require.Equal(t, "a proxy answers the pings", (<-notices).Text)
	for i := range uint64(20) {
		p.picture(1, 1, i)
		m := p.next(func(m *pb.ClientMessage) bool { return m.GetPainted() != nil })
		require.Equal(t, i, m.GetPainted().Sequence, "every frame is told")
	}
}
