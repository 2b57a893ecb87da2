package viewer

import (
	"net"
	"syscall"
	"time"
)

// wire is the write side of one connection. Whoever holds the viewer's turn may use it, nobody else.
type wire struct {
	conn net.Conn              // waits, with a deadline
	sock syscall.RawConn       // the socket underneath, TLS or not; nil where there is none
	try  func(fd uintptr) bool // made once, so that a frame costs no closure; nil where only conn can write

	// One attempt's bytes, and what came of them.
	b   []byte
	n   int
	err error

	written uint64 // bytes that the socket took, ever
}

func newWire(conn net.Conn) *wire {
	w := &wire{conn: conn}
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			w.sock, w.try = raw, w.attempt()
		}
		return w
	}
	if under, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS: records have to be written through it
		if sc, ok := under.NetConn().(syscall.Conn); ok {
			if raw, err := sc.SyscallConn(); err == nil {
				w.sock = raw
			}
		}
	}
	return w
}

// tryWrite writes what the socket takes at once, possibly nothing.
func (w *wire) tryWrite(b []byte) (int, error) {
	if w.try == nil {
		return 0, nil
	}
	w.b, w.n, w.err = b, 0, nil
	err := w.sock.Write(w.try)
	w.b = nil
	w.written += uint64(w.n)
	if w.err != nil {
		err = w.err
	}
	return w.n, err
}

// write waits for the socket to take b, up to the connection's write deadline.
func (w *wire) write(b []byte) (int, error) {
	n, err := w.conn.Write(b)
	w.written += uint64(n)
	return n, err
}

// closeWrite ends the sending direction, so that the client reads the end and what it still sends can be read.
func (w *wire) closeWrite() {
	if c, ok := w.conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite() // the connection is closed next, whatever this says
	}
}

// unsent is the number of bytes written that the client's host has not acknowledged, 0 where that cannot be known.
func (w *wire) unsent() int {
	if w.sock == nil {
		return 0
	}
	n := 0
	_ = w.sock.Control(func(fd uintptr) { n = sendQueue(fd) }) // a closed socket has nothing unsent
	return n
}

// tcp asks the kernel how the client's host acknowledges; not ok where that cannot be known.
func (w *wire) tcp() (t tcpState, ok bool) {
	if w.sock != nil {
		_ = w.sock.Control(func(fd uintptr) { t, ok = tcpInfo(fd) })
	}
	return t, ok
}

// boundUnsent makes the kernel take no more than about so many bytes beyond what the link carries; 0 lifts the bound.
func (w *wire) boundUnsent(bytes int) {
	if w.sock != nil {
		_ = w.sock.Control(func(fd uintptr) { setNotSentLowAt(fd, bytes) }) // a kernel without it: a larger queue
	}
}

// tune sets what every viewer's socket has: after an outage the kernel tries again after at most a second.
func (w *wire) tune() {
	if w.sock != nil {
		_ = w.sock.Control(func(fd uintptr) { setRTOMax(fd, time.Second) }) // only newer kernels have it
	}
}
