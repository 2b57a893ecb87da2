package viewer

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/framebus/framebus/services/gateway/internal/picture"
	"github.com/gorilla/websocket"
)

// handshakeTimeout bounds how long a client may take to receive the answer to its handshake.
const handshakeTimeout = 5 * time.Second

// Upgrade makes a WebSocket viewer of a request. Where it fails the client has had its answer.
func Upgrade(w http.ResponseWriter, r *http.Request, o Options) (*Viewer, error) {
	v := newViewer(o)
	v.client = r.UserAgent()
	u := websocket.Upgrader{
		HandshakeTimeout: handshakeTimeout,
		CheckOrigin:      o.CheckOrigin,
		Subprotocols:     []string{Subprotocol},
	}
	h := &hijacker{ResponseWriter: w, v: v}
	ws, err := u.Upgrade(h, r, nil)
	if err != nil {
		return nil, fmt.Errorf("upgrade %s: %w", r.RemoteAddr, err)
	}
	h.conn.open = true
	v.ws = ws
	v.connected(h.conn.Conn)
	switch {
	case ws.Subprotocol() == Subprotocol:
		v.format = picture.V1
	case o.Sized:
		v.format = picture.Sized
	}
	return v, nil
}

// hijacker gives gorilla/websocket a connection whose writes can be queued.
type hijacker struct {
	http.ResponseWriter
	v    *Viewer
	conn *queueConn
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.conn = &queueConn{Conn: conn, v: h.v}
	return h.conn, rw, nil
}

// MultipartType is the content type of a Multipart response.
const MultipartType = "multipart/x-mixed-replace; boundary=" + picture.Boundary

// Multipart makes a viewer of an HTTP/1 request: one endless multipart/x-mixed-replace response.
func Multipart(w http.ResponseWriter, r *http.Request, o Options) (*Viewer, error) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "this stream needs HTTP/1.1", http.StatusHTTPVersionNotSupported)
		return nil, fmt.Errorf("take over the connection of %s: %w", r.RemoteAddr, err)
	}
	v := newViewer(o)
	v.client = r.UserAgent()
	v.format = picture.Multipart
	v.preface = []byte("HTTP/1.1 200 OK\r\n" +
		"Content-Type: " + MultipartType + "\r\n" +
		"Cache-Control: no-store\r\nPragma: no-cache\r\nX-Accel-Buffering: no\r\n" +
		"Access-Control-Allow-Origin: *\r\nConnection: close\r\n\r\n")
	v.connected(conn)
	return v, nil
}

// Raw makes a viewer of a plain TCP connection, which it then owns: size and JPEG, for ever.
func Raw(conn net.Conn, o Options) *Viewer {
	v := newViewer(o)
	v.format = picture.RawSized
	v.connected(conn)
	return v
}

func newViewer(o Options) *Viewer {
	if o.WriteTimeout <= 0 {
		o.WriteTimeout = defaultWriteTimeout
	}
	if o.Numbers == nil {
		o.Numbers = new(picture.Counter)
	}
	if o.Began.IsZero() {
		o.Began = time.Now()
	}
	// Nobody writes before Run: the turn is taken.
	v := &Viewer{o: o, began: o.Began, wake: make(chan struct{}, 1), turn: true, credit: newCredit()}
	v.traces.begun, v.traces.viewer = o.Began, o.ID
	if o.deafAfter > 0 {
		v.credit.patience = o.deafAfter
	}
	return v
}

func (v *Viewer) connected(conn net.Conn) {
	_ = conn.SetDeadline(time.Time{}) // the HTTP server's
	v.wire = newWire(conn)
	v.address = conn.RemoteAddr().String()
	v.wire.tune()
	if !v.format.WebSocket() {
		v.unanswering()
	}
}
