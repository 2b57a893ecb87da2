// Package picture is one encoded frame as every viewer of a rung shares it: its header, its JPEG and, built once for
// each format that somebody asks for, the very bytes that go to a socket, with WebSocket framing and the credit ping
// included. So a viewer costs one write a frame. It knows nothing of viewers, streams or the bus.
package picture

import (
	"encoding/binary"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/framebus/framebus/proto/frame"
	"go.opentelemetry.io/otel/trace"
)

// Format is what a client gets for a picture.
type Format uint8

// The formats. The first three are binary WebSocket messages; their payload is the JPEG alone, its size as 8 bytes
// little-endian and the JPEG, or the envelope and the JPEG. The other two go to a plain connection: a part of
// multipart/x-mixed-replace, and size and JPEG.
const (
	Bare Format = iota
	Sized
	V1
	Multipart
	RawSized
	formats // their number
)

var formatNames = [formats]string{"bare", "sized", "framebus.v1", "mjpeg", "tcp"}

// String is the format's word in the API and in logs.
func (f Format) String() string {
	if f < formats {
		return formatNames[f]
	}
	return "format(" + strconv.Itoa(int(f)) + ")"
}

// WebSocket tells whether the format's bytes are WebSocket frames.
func (f Format) WebSocket() bool { return f <= V1 }

// Boundary stands between the parts of a Multipart response.
const Boundary = "framebus"

// PingLen is the length of the ping frame behind a picture: two bytes of header and the picture's number.
const PingLen = 2 + 8

// Counter gives a gateway's numbers for frames and bare pings. It is safe for concurrent use; its zero value is ready.
type Counter struct{ n atomic.Uint64 }

// Next is a number greater than all before it.
func (c *Counter) Next() uint64 { return c.n.Add(1) }

// Picture is one frame on its way to viewers. It is immutable once made and shared by all of them; so are the slices
// that Bytes returns.
type Picture struct {
	Header frame.Header // as framebus.v1 viewers get it
	Number uint64       // the gateway's own number for it, which its pong bears
	JPEG   []byte
	Trace  *Trace // of a sampled picture whose deliveries are to be told, else nil; set before it is shared

	mu    sync.Mutex // held while a format is built
	built [formats]atomic.Pointer[[]byte]
}

// New makes a picture; header, channel and hops included, is what framebus.v1 viewers will read. It keeps jpeg.
func New(header frame.Header, number uint64, jpeg []byte) *Picture {
	header.PayloadLen = uint32(len(jpeg))
	return &Picture{Header: header, Number: number, JPEG: jpeg}
}

// Sampled tells whether the frame's trace is sampled; such a frame always carries a ping.
func (p *Picture) Sampled() bool { return p.Header.Flags&frame.FlagSampled != 0 }

// Trace is where the deliveries of a sampled picture belong.
type Trace struct {
	Tracer trace.Tracer
	Parent trace.SpanContext
	left   atomic.Int32
}

// NewTrace has so many deliveries told at most.
func NewTrace(t trace.Tracer, parent trace.SpanContext, deliveries int) *Trace {
	out := &Trace{Tracer: t, Parent: parent}
	out.left.Store(int32(deliveries))
	return out
}

// Take tells whether one more delivery is to be told.
func (t *Trace) Take() bool { return t.left.Add(-1) >= 0 }

// Bytes is what goes to the socket of a client of this format, read-only, with or without the ping behind it. Plain
// connections know no ping.
func (p *Picture) Bytes(f Format, ping bool) []byte {
	b := p.built[f].Load()
	if b == nil {
		b = p.build(f)
	}
	if !ping && f.WebSocket() {
		return (*b)[:len(*b)-PingLen]
	}
	return *b
}

func (p *Picture) build(f Format) *[]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b := p.built[f].Load(); b != nil {
		return b // somebody else was quicker
	}
	var b []byte
	switch f {
	case Sized:
		b = p.webSocket(8)
		b = binary.LittleEndian.AppendUint64(b, uint64(len(p.JPEG)))
		b = p.appendPing(append(b, p.JPEG...))
	case V1:
		b = p.webSocket(frame.HeaderLen)
		n := len(b)
		b = b[:n+frame.HeaderLen]
		p.Header.Put(b[n:])
		b = p.appendPing(append(b, p.JPEG...))
	case Multipart:
		b = make([]byte, 0, len(p.JPEG)+128)
		b = append(b, "--"+Boundary+"\r\nContent-Type: image/jpeg\r\nContent-Length: "...)
		b = strconv.AppendInt(b, int64(len(p.JPEG)), 10)
		b = append(b, "\r\n\r\n"...)
		b = append(append(b, p.JPEG...), "\r\n"...)
	case RawSized:
		b = make([]byte, 0, 8+len(p.JPEG))
		b = binary.LittleEndian.AppendUint64(b, uint64(len(p.JPEG)))
		b = append(b, p.JPEG...)
	default:
		b = p.webSocket(0)
		b = p.appendPing(append(b, p.JPEG...))
	}
	p.built[f].Store(&b)
	return &b
}

// webSocket begins a binary message of the JPEG and extra bytes before it, and has room for all of it and the ping. A
// server's frames are not masked.
func (p *Picture) webSocket(extra int) []byte {
	n := extra + len(p.JPEG)
	return AppendFrameHeader(make([]byte, 0, 10+n+PingLen), OpBinary, n)
}

func (p *Picture) appendPing(b []byte) []byte { return AppendPing(b, p.Number) }

// WebSocket opcodes (RFC 6455, 5.2).
const (
	OpText   = 1
	OpBinary = 2
	OpClose  = 8
	OpPing   = 9
	OpPong   = 10
)

// AppendFrameHeader appends the header of an unfragmented, unmasked WebSocket frame of n bytes.
func AppendFrameHeader(b []byte, opcode byte, n int) []byte {
	b = append(b, 0x80|opcode)
	switch {
	case n < 126:
		return append(b, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
}

// AppendPing appends a ping frame that bears number.
func AppendPing(b []byte, number uint64) []byte {
	return binary.BigEndian.AppendUint64(AppendFrameHeader(b, OpPing, 8), number)
}
