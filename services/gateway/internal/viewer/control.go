package viewer

import (
	"net"
	"slices"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/gateway/internal/picture"
	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protojson"
)

// maxTexts bounds the control messages that wait for a viewer; when it is full the oldest is dropped.
const maxTexts = 16

// maxCloseReason is what RFC 6455 leaves of a control frame behind the code, bytes.
const maxCloseReason = 123

// text is a control message that waits to be written.
type text struct {
	frame []byte    // ready to be written
	stats int       // the channel that it tells the stats of, -1 for anything else
	clock *pb.Clock // instead of frame: completed and built when it is written
}

// textFrame is a text message, ready to be written.
func textFrame(m *pb.ServerMessage) []byte {
	b, err := protojson.Marshal(m)
	if err != nil { // only invalid UTF-8 could: nothing that a client may see
		return nil
	}
	return append(picture.AppendFrameHeader(make([]byte, 0, 10+len(b)), picture.OpText, len(b)), b...)
}

// closeFrame is a close frame, ready to be written. A code that must not be sent (1005) gives an empty one.
func closeFrame(code int, reason string) []byte {
	payload := websocket.FormatCloseMessage(code, reason[:min(len(reason), maxCloseReason)])
	return append(picture.AppendFrameHeader(nil, picture.OpClose, len(payload)), payload...)
}

// queueText puts t behind the others. The viewer's lock is held.
func (v *Viewer) queueText(t text) {
	if t.stats >= 0 {
		for i := range v.texts {
			if v.texts[i].stats == t.stats {
				v.texts[i] = t
				return
			}
		}
	}
	if len(v.texts) == maxTexts {
		v.o.Displaced.Add(1)
		v.texts = v.texts[:copy(v.texts, v.texts[1:])]
	}
	v.texts = append(v.texts, t)
}

// takeText removes the oldest. The viewer's lock is held.
func (v *Viewer) takeText() []byte {
	t := v.texts[0]
	n := copy(v.texts, v.texts[1:])
	v.texts[n] = text{}
	v.texts = v.texts[:n]
	if t.clock == nil {
		return t.frame
	}
	t.clock.T3Us = v.began.Add(v.now()).UnixMicro()
	return textFrame(&pb.ServerMessage{Message: &pb.ServerMessage_Clock{Clock: t.clock}})
}

// queueConn is the connection that gorilla/websocket gets to see. It answers pings, closes and protocol errors by
// itself, from the reading goroutine and with deadlines of its own that would cut a picture in the middle. So once the
// handshake is done, what it writes is only queued for the viewer's turn, and its write deadlines are ignored.
type queueConn struct {
	net.Conn
	v    *Viewer
	open bool // the handshake is done
}

func (c *queueConn) Write(b []byte) (int, error) {
	if !c.open {
		return c.Conn.Write(b)
	}
	if len(b) >= 2 {
		switch b[0] & 0x0F {
		case picture.OpPong:
			c.v.queuePong(b)
		case picture.OpClose:
			c.v.queueClose(b)
		}
	}
	return len(b), nil
}

func (c *queueConn) SetWriteDeadline(t time.Time) error {
	if !c.open {
		return c.Conn.SetWriteDeadline(t)
	}
	return nil
}

func (c *queueConn) SetDeadline(t time.Time) error {
	if !c.open {
		return c.Conn.SetDeadline(t)
	}
	return c.SetReadDeadline(t)
}

// queuePong keeps the newest answer to a client's ping, which is all that RFC 6455 asks for.
func (v *Viewer) queuePong(b []byte) {
	v.mu.Lock()
	v.pong = append(v.pong[:0], b...)
	v.mu.Unlock()
	v.pump()
}

// queueClose keeps the first close frame; after it nothing is written.
func (v *Viewer) queueClose(b []byte) {
	v.mu.Lock()
	if v.closing {
		v.mu.Unlock()
		return
	}
	v.closing = true
	v.closeFrame = slices.Clone(b)
	v.dropAll()
	v.mu.Unlock()
	v.pump()
}
