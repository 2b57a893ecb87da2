//go:build e2e

package e2e

import (
	"bufio"
	bits "encoding/binary"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// wsProxy is a WebSocket proxy that takes a megabyte off the server's hands at any speed and passes it on as the next
// one takes it; it may answer the server's pings itself, and lose some of what the server sends.
type wsProxy struct {
	l       net.Listener
	target  string
	answers bool
	keeps   func(picture []byte) bool // nil: all; a binary message
	mu      sync.Mutex
	conns   []net.Conn
	wg      sync.WaitGroup
}

const proxyHolds = 1 << 20 // bytes

func startProxy(t *testing.T, target string, answers bool) *wsProxy {
	t.Helper()
	p := &wsProxy{target: target, answers: answers}
	p.start(t)
	return p
}

// startLossy starts one that loses what keeps is not true of.
func startLossy(t *testing.T, target string, keeps func(picture []byte) bool) *wsProxy {
	t.Helper()
	p := &wsProxy{target: target, keeps: keeps}
	p.start(t)
	return p
}

func (p *wsProxy) start(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p.l = l
	p.wg.Go(p.serve)
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
}

func (p *wsProxy) addr() string { return p.l.Addr().String() }

func (p *wsProxy) serve() {
	for {
		client, err := p.l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		_ = client.(*net.TCPConn).SetWriteBuffer(relayBuffer)
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		up := &frames{to: server}
		p.wg.Go(func() { up.pass(bufio.NewReader(client), nil); _ = server.Close() })
		down := &frames{to: newHold(p, client), keeps: p.keeps}
		p.wg.Go(func() {
			var answer *frames
			if p.answers {
				answer = up
			}
			down.pass(bufio.NewReaderSize(server, 64<<10), answer)
			_ = down.to.Close()
		})
	}
}

// frames writes whole WebSocket frames, from any side.
type frames struct {
	mu    sync.Mutex
	to    io.WriteCloser
	keeps func(picture []byte) bool
}

func (f *frames) write(b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.to.Write(b)
	return err
}

// pass passes an HTTP head and then frames. Pings are answered by answer, where there is one, and go no further.
func (f *frames) pass(from *bufio.Reader, answer *frames) {
	for line := "the first one"; len(line) > 2; {
		var err error
		if line, err = from.ReadString('\n'); err != nil || f.write([]byte(line)) != nil {
			return
		}
	}
	for {
		head := make([]byte, 2, 14)
		if _, err := io.ReadFull(from, head); err != nil {
			return
		}
		n, extra := uint64(head[1]&127), 0
		switch n {
		case 126:
			extra = 2
		case 127:
			extra = 8
		}
		if head[1]&128 != 0 {
			extra += 4
		}
		head = head[:2+extra]
		if _, err := io.ReadFull(from, head[2:]); err != nil {
			return
		}
		switch n {
		case 126:
			n = uint64(bits.BigEndian.Uint16(head[2:]))
		case 127:
			n = bits.BigEndian.Uint64(head[2:])
		}
		frame := append(head, make([]byte, n)...)
		if _, err := io.ReadFull(from, frame[len(head):]); err != nil {
			return
		}
		const picture, ping, pong = 0x82, 0x89, 0x8A
		if f.keeps != nil && frame[0] == picture && !f.keeps(frame[len(head):]) {
			continue
		}
		if answer != nil && frame[0] == ping {
			masked := append([]byte{pong, 128 | byte(n), 0, 0, 0, 0}, frame[len(head):]...)
			if answer.write(masked) != nil {
				return
			}
			continue
		}
		if f.write(frame) != nil {
			return
		}
	}
}

// hold is the proxy's buffer.
type hold struct {
	mu     sync.Mutex
	more   *sync.Cond
	b      []byte
	closed bool
}

func newHold(p *wsProxy, to net.Conn) *hold {
	h := &hold{}
	h.more = sync.NewCond(&h.mu)
	p.wg.Go(func() {
		defer to.Close()
		for {
			h.mu.Lock()
			for len(h.b) == 0 && !h.closed {
				h.more.Wait()
			}
			n := min(len(h.b), relayPiece)
			piece := append([]byte(nil), h.b[:n]...)
			h.b = h.b[n:]
			h.more.Broadcast()
			h.mu.Unlock()
			if n == 0 {
				return
			}
			if _, err := to.Write(piece); err != nil {
				_ = h.Close()
				return
			}
		}
	})
	return h
}

func (h *hold) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.b) > proxyHolds && !h.closed {
		h.more.Wait()
	}
	if h.closed {
		return 0, io.ErrClosedPipe
	}
	h.b = append(h.b, b...)
	h.more.Broadcast()
	return len(b), nil
}

func (h *hold) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.more.Broadcast()
	return nil
}
