package viewer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/gateway/internal/picture"
	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"
	"google.golang.org/protobuf/encoding/protojson"
)

// MaxMessage is the size of the largest message that a viewer may send, in bytes; a larger one closes it (1009).
const MaxMessage = 64 << 10

// Control messages a second and at once; more close the viewer (1008).
const (
	controlRate  = 50
	controlBurst = 100
	paintRate    = 300 // where each picture painted is to be told
)

var errFlood = errors.New("the client floods the gateway with messages")

// read takes what the client sends until it has gone or broke the rules, and then reads on without looking while the
// close frame is on its way: a client whose own writes are blocked could not read it otherwise.
func (v *Viewer) read() error {
	var err error
	if v.ws != nil {
		v.ws.SetReadLimit(MaxMessage)
		v.ws.SetPongHandler(v.ponged)
		v.ws.SetCloseHandler(v.closed)
		err = v.readMessages()
	} else {
		_, err = io.Copy(io.Discard, v.wire.conn)
	}
	v.mu.Lock()
	gone, rude := !v.closing, v.closing && !v.peerClosed
	v.readOver = true
	if gone { // nobody is there to read what a blocked write would send
		if isEnd(err) {
			v.fail(errGone)
		} else {
			v.fail(fmt.Errorf("read from %s: %w", v.address, err))
		}
		_ = v.wire.conn.Close()
	}
	v.mu.Unlock()
	v.signal()
	if rude {
		_, _ = io.Copy(io.Discard, v.wire.conn) // until Run closes it
	}
	return err
}

// isEnd tells whether a client just went away, without a close frame.
func isEnd(err error) bool {
	return err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		websocket.IsCloseError(err, websocket.CloseAbnormalClosure)
}

// closed is told a client's close frame and answers it.
func (v *Viewer) closed(code int, _ string) error {
	v.mu.Lock()
	v.peerClosed = true
	v.mu.Unlock()
	v.queueClose(closeFrame(code, ""))
	return nil
}

func (v *Viewer) readMessages() error {
	limit := rate.NewLimiter(controlRate, controlBurst)
	asked := false // to tell of every picture that it paints
	for {
		kind, r, err := v.ws.NextReader() // also skips what is left of the message before
		if err != nil {
			return err
		}
		if kind != websocket.TextMessage || v.format != picture.V1 {
			v.mu.Lock()
			v.ignored++
			v.mu.Unlock()
			continue
		}
		received := v.began.Add(v.now())
		if !asked && v.asksPaint() {
			asked = true
			limit.SetLimit(paintRate)
		}
		if !limit.Allow() {
			v.Close(websocket.ClosePolicyViolation, "too many messages", false)
			return errFlood
		}
		b, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		v.command(b, received)
	}
}

// ponged is told the payload of a pong.
func (v *Viewer) ponged(payload string) error {
	if len(payload) != 8 {
		return nil
	}
	number := binary.BigEndian.Uint64([]byte(payload))
	v.mu.Lock()
	switch now := v.now(); {
	case v.by == ackPaint: // somebody else's
	case v.credit.Pong(number, now):
		v.by, v.credit.every = ackPong, false
		v.record.acked(number, now)
		v.traces.acknowledged(byPong, v.credit.acked.at, now)
		v.measured(now)
		v.boundUnsent()
	case v.by != ackPong && v.credit.deaf && number <= v.numbered: // late, but it answers
		v.by = ackPong
		v.credit.deaf, v.credit.unbound, v.credit.every = false, false, false
	}
	v.mu.Unlock()
	v.pump()
	return nil
}

// decode reads one control message of a client. Unknown fields and messages are no error; an unknown message is empty.
func decode(b []byte) (*pb.ClientMessage, error) {
	var m pb.ClientMessage
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, &m); err != nil {
		return nil, err
	}
	return &m, nil
}

func (v *Viewer) command(b []byte, received time.Time) {
	m, err := decode(b)
	if err != nil {
		v.mu.Lock()
		v.malformed++
		v.mu.Unlock()
		v.Notice(&pb.ServerMessage{Message: &pb.ServerMessage_Notice{Notice: &pb.Notice{
			Kind: "malformed",
			Text: "a text message has to be a framebus.v1 ClientMessage as JSON",
		}}})
		return
	}
	if c := m.GetClock(); c != nil {
		v.mu.Lock()
		v.queueText(text{stats: -1, clock: &pb.Clock{T1Us: c.T1Us, T2Us: received.UnixMicro()}})
		v.mu.Unlock()
		v.pump()
		return
	}
	if e := m.GetEcho(); e != nil {
		v.echoed(e.GetNumber())
		return
	}
	to := v.o.Commands
	if to == nil {
		return
	}
	switch {
	case m.GetPainted() != nil:
		to.Painted(v, m.GetPainted())
	case m.GetSelect() != nil:
		to.Select(v, m.GetSelect())
	case m.GetTraceNext() != nil:
		to.TraceNext(v, m.GetTraceNext())
	}
}
