package viewer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/framebus/framebus/services/gateway/internal/picture"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is for a loaded machine; nothing that works comes near it.
const patience = 30 * time.Second

// served is one viewer at the gateway's end of a real connection.
type served struct {
	*Viewer
	ended  chan error // what Run returned
	cancel context.CancelFunc
	next   uint64
}

// site serves viewers of one kind over loopback; each that comes is given to the test.
type site struct {
	*httptest.Server
	came chan *served
}

func newSite(t *testing.T, o Options, tls bool) *site {
	s := &site{came: make(chan *served, 1)}
	if o.Numbers == nil {
		o.Numbers = new(picture.Counter)
	}
	if o.deafAfter == 0 {
		o.deafAfter = time.Hour // a loaded machine must not look like a deaf client
	}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		open := Upgrade
		if r.URL.Path == "/mjpeg" {
			open = Multipart
		}
		v, err := open(w, r, o)
		if err == nil {
			s.run(t, v)
		}
	}))
	if tls {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

func (s *site) run(t *testing.T, v *Viewer) {
	ctx, cancel := context.WithCancel(context.Background())
	v.Show(1, Tuning{Stream: "cam0"}, nil)
	got := &served{Viewer: v, ended: make(chan error, 1), cancel: cancel}
	t.Cleanup(cancel)
	s.came <- got
	got.ended <- v.Run(ctx)
}

// arrived is the viewer that came, as soon as it runs: what is offered before waits in its slot of one.
func (s *site) arrived(t *testing.T) *served {
	t.Helper()
	v := <-s.came
	require.Eventually(t, func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return !v.turn
	}, patience, ms)
	return v
}

// offer offers pictures of so many bytes, each of its own content.
func (s *served) offer(n, size int) {
	for range n {
		s.next++
		s.Offer(picture.New(*header(1, s.next), s.o.Numbers.Next(), jpegOf(s.next, size)))
	}
}

func jpegOf(sequence uint64, size int) []byte {
	b := bytes.Repeat([]byte{byte(sequence)}, size)
	binary.BigEndian.PutUint64(b, sequence)
	return b
}

func (s *served) waitEnd(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.ended:
		return err
	case <-time.After(patience):
		t.Fatal("Run does not return")
		return nil
	}
}

// blocked waits until the socket takes no more of the viewer's frame.
func (s *served) blocked(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.rest) > 0
	}, patience, 5*ms)
}

// wireClient is a WebSocket client by hand: it answers nothing by itself.
type wireClient struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func dialWire(t *testing.T, s *site, header string) (*wireClient, *served) {
	t.Helper()
	addr := s.Listener.Addr().String()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(2*patience)))
	_, err = io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: "+addr+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nUser-Agent: by hand\r\n"+header+"\r\n")
	require.NoError(t, err)
	c := &wireClient{conn, t, bufio.NewReader(conn)}
	status, err := c.r.ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, status, "101")
	for line := status; line != "\r\n"; {
		line, err = c.r.ReadString('\n')
		require.NoError(t, err)
		require.False(t, strings.HasPrefix(line, "Sec-Websocket-Extensions"), "no compression")
	}
	return c, s.arrived(t)
}

type wireFrame struct {
	op      byte
	payload []byte
}

// read reads one frame and fails on anything but whole, unmasked, unfragmented ones.
func (c *wireClient) read() wireFrame {
	c.t.Helper()
	f, err := c.tryRead()
	require.NoError(c.t, err)
	return f
}

func (c *wireClient) tryRead() (wireFrame, error) {
	var h [8]byte
	if _, err := io.ReadFull(c.r, h[:2]); err != nil {
		return wireFrame{}, err
	}
	if h[0]&0x70 != 0 || h[0]&0x80 == 0 || h[1]&0x80 != 0 {
		return wireFrame{}, io.ErrNoProgress // garbage: a frame was cut
	}
	n, more := int(h[1]), 0
	switch n {
	case 126:
		more = 2
	case 127:
		more = 8
	}
	op := h[0] & 0x0F
	if more > 0 {
		if _, err := io.ReadFull(c.r, h[:more]); err != nil {
			return wireFrame{}, io.ErrUnexpectedEOF
		}
		n = int(binary.BigEndian.Uint64(append(make([]byte, 8-more, 8), h[:more]...)))
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c.r, b); err != nil {
		return wireFrame{}, io.ErrUnexpectedEOF
	}
	return wireFrame{op, b}, nil
}

// readOp skips bare pings, which come when they come, until a frame of this kind.
func (c *wireClient) readOp(op byte) []byte {
	c.t.Helper()
	for {
		f := c.read()
		if f.op == op {
			return f.payload
		}
		require.EqualValues(c.t, picture.OpPing, f.op, "%x", f.payload[:min(len(f.payload), 64)])
	}
}

// picture reads a picture of the bare format and the ping behind it.
func (c *wireClient) picture(size int) (sequence, number uint64) {
	c.t.Helper()
	b := c.readOp(picture.OpBinary)
	require.Len(c.t, b, size)
	sequence = binary.BigEndian.Uint64(b)
	require.True(c.t, bytes.Equal(jpegOf(sequence, size), b))
	f := c.read()
	require.EqualValues(c.t, picture.OpPing, f.op)
	return sequence, binary.BigEndian.Uint64(f.payload)
}

// send writes one masked frame.
func (c *wireClient) send(op byte, payload []byte) {
	c.t.Helper()
	_, err := c.Write(masked(op, payload))
	require.NoError(c.t, err)
}

func masked(op byte, payload []byte) []byte {
	b := picture.AppendFrameHeader(nil, op, len(payload))
	b[1] |= 0x80
	key := [4]byte{0x5A, 0xC3, 0x17, 0x88}
	b = append(b, key[:]...)
	for i, x := range payload {
		b = append(b, x^key[i%4])
	}
	return b
}

func (c *wireClient) pong(number uint64) {
	c.t.Helper()
	c.send(picture.OpPong, binary.BigEndian.AppendUint64(nil, number))
}

// heard makes sure that the gateway has read all that was sent: it answers pings in their order.
func (c *wireClient) heard(tag string) {
	c.t.Helper()
	c.send(picture.OpPing, []byte(tag))
	require.Equal(c.t, tag, string(c.readOp(picture.OpPong)))
}

// closed reads the close frame and the end of the connection.
func (c *wireClient) closed(code int) {
	c.t.Helper()
	b := c.readOp(picture.OpClose)
	require.GreaterOrEqual(c.t, len(b), 2)
	require.EqualValues(c.t, code, binary.BigEndian.Uint16(b))
	_, err := c.r.ReadByte()
	require.Error(c.t, err, "nothing comes after a close frame")
	require.NotErrorIs(c.t, err, context.DeadlineExceeded)
}
