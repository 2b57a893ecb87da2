package viewer

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/gateway/internal/picture"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
)

// big does not fit into the buffers of a loopback socket whose client does not read.
const big = 24 << 20

func dialGorilla(t *testing.T, s *site, protocols ...string) (*websocket.Conn, *served) {
	t.Helper()
	d := websocket.Dialer{Subprotocols: protocols, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	c, resp, err := d.Dial("ws"+strings.TrimPrefix(s.URL, "http")+"/ws", nil)
	require.NoError(t, err)
	_ = resp.Body.Close()
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetReadDeadline(time.Now().Add(2*patience)))
	return c, s.arrived(t)
}

func TestAnyClientIsShownPictures(t *testing.T) {
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, Options{}, secure)
			c, v := dialGorilla(t, s)
			for i := range uint64(50) {
				v.offer(1, 24_000) // the one before is acknowledged by the time this one is read
				kind, b, err := c.ReadMessage()
				require.NoError(t, err)
				require.Equal(t, websocket.BinaryMessage, kind)
				require.Equal(t, i+1, binary.BigEndian.Uint64(b))
				require.True(t, bytes.Equal(jpegOf(i+1, 24_000), b))
			}
			require.NoError(t, c.WriteControl(websocket.CloseMessage,
				websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(patience)))
			_, _, err := c.ReadMessage()
			require.True(t, websocket.IsCloseError(err, websocket.CloseNormalClosure), "%v", err)
			require.NoError(t, v.waitEnd(t))
			st := v.Stats()
			require.EqualValues(t, 50, st.Frames)
			require.EqualValues(t, 50, st.Streams[0].Offered)
			require.Empty(t, st.Streams[0].Skipped)
			require.NotZero(t, st.RTT)
			require.False(t, st.Deaf)
		})
	}
}

func TestSizedAndV1(t *testing.T) {
	s := newSite(t, Options{Sized: true}, false)
	c, v := dialGorilla(t, s)
	v.offer(1, 1000)
	_, b, err := c.ReadMessage()
	require.NoError(t, err)
	require.Equal(t, append(binary.LittleEndian.AppendUint64(nil, 1000), jpegOf(1, 1000)...), b)

	c, v = dialGorilla(t, s, Subprotocol)
	require.Equal(t, Subprotocol, c.Subprotocol())
	v.offer(1, 1000)
	_, b, err = c.ReadMessage()
	require.NoError(t, err)
	h, jpeg, err := frame.Parse(b)
	require.NoError(t, err)
	require.EqualValues(t, 1, h.Sequence)
	require.Equal(t, jpegOf(1, 1000), jpeg)
}

func TestAnOriginIsChecked(t *testing.T) {
	s := newSite(t, Options{}, false)
	_, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.URL, "http"),
		http.Header{"Origin": {"http://elsewhere.example"}})
	require.Error(t, err)
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
}

func TestPingAndCloseWhileAFrameIsBeingWritten(t *testing.T) {
	c, v := dialWire(t, newSite(t, Options{}, false), "")
	v.offer(1, big)
	v.blocked(t)
	v.offer(1, 1000) // waits, and is not sent any more once the client has closed
	c.send(picture.OpPing, []byte("one"))
	c.send(picture.OpPing, []byte("two"))
	c.send(picture.OpClose, binary.BigEndian.AppendUint16(nil, websocket.CloseNormalClosure))
	require.Eventually(t, func() bool { return v.Stats().Streams[0].Skipped["closed"] == 1 }, patience, 5*ms)
	sequence, _ := c.picture(big)
	require.EqualValues(t, 1, sequence)
	require.Equal(t, "two", string(c.readOp(picture.OpPong)), "the newest is enough")
	c.closed(websocket.CloseNormalClosure)
	require.NoError(t, v.waitEnd(t))
}

func TestAnOversizedMessageWhileItsOwnWritesAreBlocked(t *testing.T) {
	c, v := dialWire(t, newSite(t, Options{}, false), "")
	v.offer(1, big)
	v.blocked(t)
	var wg sync.WaitGroup
	wg.Go(func() { c.send(picture.OpBinary, make([]byte, 16<<20)) }) // also more than the gateway will look at
	wg.Wait()
	c.picture(big)
	c.closed(websocket.CloseMessageTooBig)
	require.ErrorIs(t, v.waitEnd(t), websocket.ErrReadLimit)
}

func TestAnOversizedMessageIsClosed(t *testing.T) {
	for _, protocol := range []string{"", "Sec-WebSocket-Protocol: framebus.v1\r\n"} {
		c, v := dialWire(t, newSite(t, Options{}, false), protocol)
		c.send(picture.OpText, make([]byte, MaxMessage+1))
		c.closed(websocket.CloseMessageTooBig)
		require.ErrorIs(t, v.waitEnd(t), websocket.ErrReadLimit)
	}
}

func TestAProtocolErrorIsClosed(t *testing.T) {
	c, v := dialWire(t, newSite(t, Options{}, false), "")
	_, err := c.Write([]byte{0x82, 1, 'x'}) // not masked
	require.NoError(t, err)
	c.closed(websocket.CloseProtocolError)
	_ = v.waitEnd(t)
}

func TestAClientThatNeverPongsGetsVideo(t *testing.T) {
	c, v := dialWire(t, newSite(t, Options{deafAfter: 100 * ms}, false), "")
	shown := make(chan uint64, 10_000)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			f, err := c.tryRead()
			if err != nil {
				return
			}
			if f.op == picture.OpBinary {
				shown <- binary.BigEndian.Uint64(f.payload)
			}
		}
	})
	require.Eventually(t, func() bool { v.offer(1, 24_000); return len(shown) > 100 }, patience, ms)
	require.True(t, v.Stats().Deaf)
	_ = c.Close()
	wg.Wait()
	last := uint64(0)
	for len(shown) > 0 {
		sequence := <-shown
		require.Greater(t, sequence, last)
		last = sequence
	}
	_ = v.waitEnd(t)
}

func TestPongsBringCreditOnlyForWhatWasSent(t *testing.T) {
	c, v := dialWire(t, newSite(t, Options{}, false), "")
	c.pong(1)
	c.send(picture.OpPong, nil)
	c.send(picture.OpPong, make([]byte, 125))
	c.heard("unsolicited")
	v.offer(1, 1000)
	one, number1 := c.picture(1000)
	v.offer(1, 1000)
	two, number2 := c.picture(1000)
	v.offer(4, 1000)
	require.Equal(t, []uint64{1, 2}, []uint64{one, two})
	c.pong(number2 + 1000)
	c.heard("foreign")
	require.EqualValues(t, 2, v.Stats().Frames)

	c.pong(number2) // only the latest: acknowledges both
	sequence, number3 := c.picture(1000)
	require.EqualValues(t, 6, sequence, "the newest; what it displaced is skipped")
	require.EqualValues(t, 3, v.Stats().Streams[0].Skipped["superseded"])
	v.offer(1, 1000)
	sequence, _ = c.picture(1000)
	require.EqualValues(t, 7, sequence)
	v.offer(1, 1000)
	c.pong(number1)
	c.pong(number2)
	c.heard("out of order, repeated")
	require.EqualValues(t, 4, v.Stats().Frames)
	c.pong(number3)
	sequence, _ = c.picture(1000)
	require.EqualValues(t, 8, sequence)
	require.EqualValues(t, 2, v.Stats().Pongs)
}

func TestABarePingBringsCredit(t *testing.T) {
	c, v := dialWire(t, newSite(t, Options{}, false), "")
	v.offer(1, 1000)
	c.picture(1000)
	v.offer(1, 1000)
	c.picture(1000)
	v.offer(1, 1000)
	bare := c.readOp(picture.OpPing)
	c.send(picture.OpPong, bare)
	sequence, _ := c.picture(1000)
	require.EqualValues(t, 3, sequence)
}

func TestASampledFrameAlwaysCarriesAPing(t *testing.T) {
	c, v := dialWire(t, newSite(t, Options{}, false), "")
	v.mu.Lock()
	v.credit.thin = maxThin // on a good link few do
	v.mu.Unlock()
	for sequence := range uint64(4) {
		h := header(1, sequence+1)
		if sequence > 0 {
			h.Flags |= frame.FlagSampled
		}
		v.Offer(picture.New(*h, 1000+sequence, jpegOf(sequence, 1000)))
		if sequence == 0 {
			c.readOp(picture.OpBinary)
			continue
		}
		got, number := c.picture(1000)
		require.Equal(t, []uint64{sequence, 1000 + sequence}, []uint64{got, number})
	}
}

func TestAViewerThatStopsReadingIsClosed(t *testing.T) {
	t.Run("in the middle of a frame", func(t *testing.T) {
		_, v := dialWire(t, newSite(t, Options{WriteTimeout: 100 * ms}, false), "")
		v.offer(1, big)
		require.ErrorContains(t, v.waitEnd(t), "timeout")
		require.NotEmpty(t, v.Stats().Error)
	})
	for name, size := range map[string]int{"its end has room for": 24_000, "our end has room for": 500_000} {
		t.Run("with pictures that "+name, func(t *testing.T) {
			_, v := dialWire(t, newSite(t, Options{WriteTimeout: 300 * ms, deafAfter: 50 * ms}, false), "")
			require.Eventually(t, func() bool { v.offer(1, size); return len(v.ended) > 0 }, patience, ms)
			require.Error(t, v.waitEnd(t))
		})
	}
	t.Run("over TLS", func(t *testing.T) {
		_, v := dialGorilla(t, newSite(t, Options{WriteTimeout: 100 * ms}, true))
		v.offer(1, big)
		require.ErrorContains(t, v.waitEnd(t), "timeout")
	})
}

func TestASlowButSteadyReaderIsNotClosed(t *testing.T) {
	c, v := dialWire(t, newSite(t, Options{WriteTimeout: 5 * time.Second}, false), "")
	v.offer(1, big)
	v.blocked(t)
	c.picture(big)
	c.heard("still there")
}

func TestAClientThatGoesAwayIsLetGo(t *testing.T) {
	c, v := dialWire(t, newSite(t, Options{}, false), "")
	v.offer(1, big)
	v.blocked(t)
	_ = c.Close()
	_ = v.waitEnd(t) // gone or reset, as the kernel tells it
	v.offer(2, 1000)
	require.EqualValues(t, 2, v.Stats().Streams[0].Skipped["closed"])
}

func TestSmoothKeepsEveryFrameInOrder(t *testing.T) {
	c, v := dialWire(t, newSite(t, Options{Smooth: true}, false), "")
	v.offer(25, 1000)
	for want := uint64(1); want <= 25; want++ {
		f := c.readOp(picture.OpBinary)
		require.Equal(t, want, binary.BigEndian.Uint64(f))
		if number, ok := c.ping(); ok {
			c.pong(number)
		}
	}
	require.Empty(t, v.Stats().Streams[0].Skipped)
}

// ping takes the ping behind a picture, if it has one that is here already or needed to go on.
func (c *wireClient) ping() (uint64, bool) {
	b, err := c.r.Peek(2)
	if err != nil || b[0]&0x0F != picture.OpPing {
		return 0, false
	}
	return binary.BigEndian.Uint64(c.read().payload), true
}

func TestHiddenAndMaxFPSAndDrop(t *testing.T) {
	c, v := dialWire(t, newSite(t, Options{}, false), "")
	v.Show(1, Tuning{Stream: "cam0", Hidden: true}, nil)
	v.offer(3, 1000)
	require.EqualValues(t, 3, v.Stats().Streams[0].Skipped["hidden"])
	v.Show(1, Tuning{Stream: "cam0", MaxFPS: 10}, nil)
	v.offer(3, 1000) // captured at 30 fps
	sequence, _ := c.picture(1000)
	require.EqualValues(t, 4, sequence)
	require.EqualValues(t, 2, v.Stats().Streams[0].Skipped["max_fps"])
	v.Drop(1)
	v.offer(1, 1000)
	c.heard("nothing more")
	require.Empty(t, v.Stats().Streams)
}

// asked notes what a client asks for.
type asked struct{ got chan any }

func (a asked) Select(_ *Viewer, m *pb.Select)       { a.got <- m }
func (a asked) Painted(_ *Viewer, m *pb.Painted)     { a.got <- m }
func (a asked) TraceNext(_ *Viewer, m *pb.TraceNext) { a.got <- m }

func (c *wireClient) message() *pb.ServerMessage {
	c.t.Helper()
	var m pb.ServerMessage
	require.NoError(c.t, protojson.Unmarshal(c.readOp(picture.OpText), &m))
	return &m
}

func TestControlMessages(t *testing.T) {
	a := asked{make(chan any, 10)}
	c, v := dialWire(t, newSite(t, Options{Commands: a}, false), "Sec-WebSocket-Protocol: framebus.v1\r\n")
	v.Notice(&pb.ServerMessage{Message: &pb.ServerMessage_Hello{Hello: &pb.Hello{Viewer: "v1"}}})
	require.Equal(t, "v1", c.message().GetHello().GetViewer())

	c.send(picture.OpText, []byte(`{"select":{"stream":"cam0","rung":"half","futureField":1}}`))
	require.Equal(t, "half", (<-a.got).(*pb.Select).GetRung())
	c.send(picture.OpText, []byte(`{"painted":{"sequence":"42"}}`))
	require.EqualValues(t, 42, (<-a.got).(*pb.Painted).GetSequence())
	c.send(picture.OpText, []byte(`{"traceNext":{"stream":"cam0"}}`))
	require.Equal(t, "cam0", (<-a.got).(*pb.TraceNext).GetStream())
	c.send(picture.OpText, []byte(`{"futureMessage":{}}`))
	c.send(picture.OpBinary, []byte("pixels"))
	c.send(picture.OpText, []byte(`{"clock":{"t1Us":"7"}}`))
	clock := c.message().GetClock()
	require.EqualValues(t, 7, clock.GetT1Us())
	require.Positive(t, clock.GetT2Us())
	require.GreaterOrEqual(t, clock.GetT3Us(), clock.GetT2Us())

	for _, bad := range []string{"hello?", `{"select":3}`, "\xff\xfe", ""} {
		c.send(picture.OpText, []byte(bad))
		require.Equal(t, "malformed", c.message().GetNotice().GetKind(), "%q", bad)
	}
	require.EqualValues(t, 4, v.Stats().Malformed)
	require.EqualValues(t, 1, v.Stats().Ignored)
}

func TestTextAndGarbageFromAPlainClientAreIgnored(t *testing.T) {
	c, v := dialWire(t, newSite(t, Options{Commands: asked{}}, false), "")
	for range 300 {
		c.send(picture.OpText, []byte(`{"select":{"rung":"off"}}`))
		c.send(picture.OpBinary, []byte{0, 1, 2, 3})
	}
	c.heard("still there")
	require.EqualValues(t, 600, v.Stats().Ignored)
	v.offer(1, 1000)
	c.picture(1000)
}

func TestAFloodIsClosed(t *testing.T) {
	c, v := dialWire(t, newSite(t, Options{}, false), "Sec-WebSocket-Protocol: framebus.v1\r\n")
	v.offer(1, 1000)
	var flood []byte
	for range 100_000 {
		flood = append(flood, masked(picture.OpText, []byte(`{"painted":{}}`))...)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = c.Write(flood) })
	c.readOp(picture.OpBinary)
	require.NotEmpty(t, c.message().GetBye().GetReason())
	c.closed(websocket.ClosePolicyViolation)
	require.ErrorIs(t, v.waitEnd(t), errFlood)
	wg.Wait()
}

func TestWaitingTextsAreBoundedAndStatsReplaced(t *testing.T) {
	c, v := dialWire(t, newSite(t, Options{}, false), "Sec-WebSocket-Protocol: framebus.v1\r\n")
	v.offer(1, big)
	v.blocked(t)
	for i := range uint64(100) {
		v.Notice(&pb.ServerMessage{Message: &pb.ServerMessage_Stats{Stats: &pb.Stats{Sent: i}}})
	}
	for range 2 * maxTexts {
		v.Notice(&pb.ServerMessage{Message: &pb.ServerMessage_Notice{Notice: &pb.Notice{Kind: "state"}}})
	}
	v.Notice(&pb.ServerMessage{Message: &pb.ServerMessage_Stats{Stats: &pb.Stats{Sent: 200}}})
	v.Notice(&pb.ServerMessage{Message: &pb.ServerMessage_Stats{Stats: &pb.Stats{Sent: 201}}})
	c.readOp(picture.OpBinary)
	for range maxTexts - 1 {
		require.Equal(t, "state", c.message().GetNotice().GetKind())
	}
	require.EqualValues(t, 201, c.message().GetStats().GetSent())
	c.heard("no more texts")
}

func TestTheEndIsToldAndAnswered(t *testing.T) {
	c, v := dialWire(t, newSite(t, Options{}, false), "Sec-WebSocket-Protocol: framebus.v1\r\n")
	v.cancel()
	bye := c.message().GetBye()
	require.True(t, bye.GetComeBack())
	b := c.readOp(picture.OpClose)
	require.EqualValues(t, websocket.CloseGoingAway, binary.BigEndian.Uint16(b))
	c.send(picture.OpClose, b)
	_, err := c.r.ReadByte()
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, v.waitEnd(t))
}

func TestAClientThatNeverAnswersACloseIsNotWaitedFor(t *testing.T) {
	t.Run("silent", func(t *testing.T) {
		c, v := dialWire(t, newSite(t, Options{}, false), "")
		v.Close(websocket.CloseTryAgainLater, "later", true)
		require.NoError(t, v.waitEnd(t))
		c.closed(websocket.CloseTryAgainLater)
	})
	t.Run("not reading", func(t *testing.T) {
		_, v := dialWire(t, newSite(t, Options{WriteTimeout: time.Hour}, false), "")
		v.offer(1, big)
		v.blocked(t)
		v.Close(websocket.CloseGoingAway, "drain", true)
		require.Error(t, v.waitEnd(t))
	})
}

func TestMultipart(t *testing.T) {
	s := newSite(t, Options{}, false)
	resp, err := http.Get(s.URL + "/mjpeg")
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	kind, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/x-mixed-replace", kind)
	v := s.arrived(t)
	parts := multipart.NewReader(resp.Body, params["boundary"])
	v.offer(1, 1000)
	for want := uint64(1); want <= 20; want++ {
		part, err := parts.NextRawPart()
		require.NoError(t, err)
		require.Equal(t, "image/jpeg", part.Header.Get("Content-Type"))
		b := make([]byte, 1000)
		_, err = io.ReadFull(part, b)
		require.NoError(t, err)
		require.Equal(t, jpegOf(want, 1000), b)
		v.offer(1, 1000) // the reader sees a part's end when the next one begins
	}
	v.cancel()
	require.NoError(t, v.waitEnd(t))
}

func TestRawSized(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(2*patience)))
	conn, err := l.Accept()
	require.NoError(t, err)
	s := &site{came: make(chan *served, 1)}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.run(t, Raw(conn, Options{Numbers: new(picture.Counter)})) })
	v := s.arrived(t)
	for want := uint64(1); want <= 20; want++ {
		v.offer(1, 1000)
		b := make([]byte, 1008)
		_, err := io.ReadFull(c, b)
		require.NoError(t, err)
		require.EqualValues(t, 1000, binary.LittleEndian.Uint64(b))
		require.Equal(t, jpegOf(want, 1000), b[8:])
	}
	require.NoError(t, c.Close())
	_ = v.waitEnd(t)
}

func TestManyOffersAndMessagesAtOnce(t *testing.T) {
	c, v := dialGorilla(t, newSite(t, Options{}, false), Subprotocol)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 2000 {
			v.offer(1, 24_000)
		}
	})
	wg.Go(func() {
		for range 500 {
			v.Notice(&pb.ServerMessage{Message: &pb.ServerMessage_Notice{Notice: &pb.Notice{Kind: "state"}}})
			v.Stats()
		}
	})
	wg.Go(func() {
		for range 500 {
			_ = c.WriteControl(websocket.PingMessage, []byte("x"), time.Now().Add(patience))
		}
	})
	last := uint64(0)
	for last < 2000 {
		kind, b, err := c.ReadMessage()
		require.NoError(t, err)
		if kind == websocket.TextMessage {
			continue
		}
		h, jpeg, err := frame.Parse(b)
		require.NoError(t, err)
		require.Greater(t, h.Sequence, last)
		require.Equal(t, h.Sequence, binary.BigEndian.Uint64(jpeg))
		last = h.Sequence
	}
	wg.Wait()
	st := v.Stats().Streams[0]
	require.Equal(t, st.Offered, st.Frames+st.Skipped["superseded"])
}

func TestNothingIsAllocatedForAFrame(t *testing.T) {
	c, v := dialWire(t, newSite(t, Options{}, false), "")
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(io.Discard, c.r) })
	v.mu.Lock()
	v.credit.unbound, v.credit.patience = true, time.Hour // so that pictures follow each other
	v.mu.Unlock()
	const runs = 200
	var pictures []*picture.Picture
	for i := range uint64(runs + 2) {
		p := picture.New(*header(1, i+1), i+1, jpegOf(i, 1000))
		p.Bytes(picture.Bare, true) // another viewer's work
		pictures = append(pictures, p)
	}
	i := 0
	got := testing.AllocsPerRun(runs, func() { v.Offer(pictures[i]); i++ })
	require.Zero(t, got)
	require.Positive(t, v.Stats().Frames)
	_ = c.Close()
	wg.Wait()
}
