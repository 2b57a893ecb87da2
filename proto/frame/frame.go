// Package frame is the data plane's contract: the one fixed header that stands in front of every picture, on the bus
// and on a framebus.v1 WebSocket. It knows nothing of NATS, sockets or codecs; docs/protocol.md describes the layout.
package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// HeaderLen is the length of a version 1 header, in bytes. A longer header of a later version is read and its
// tail skipped.
const HeaderLen = 80

// MaxSide bounds width and height, in pixels: 8K with room to spare.
const MaxSide = 16384

// MaxPayload bounds a payload, in bytes: the bus carries messages of up to 8 MiB.
const MaxPayload = 8<<20 - HeaderLen - 4096

// NotSet is the value of a hop's offset that nobody has set yet.
const NotSet = math.MinInt32

var magic = [4]byte{'F', 'B', 'F', '1'}

// Format is how a payload's pixels are laid out.
type Format uint8

// The formats. I420 has tight planes: Y of w×h, then U and V of ceil(w/2)×ceil(h/2) bytes each. BGR24 is w·h·3 bytes.
const (
	I420  Format = 1
	BGR24 Format = 2
	JPEG  Format = 3
)

// Rung is a step of the ladder of sizes.
type Rung uint8

// The rungs: each side whole, halved or quartered, rounded up.
const (
	Full    Rung = 0
	Half    Rung = 1
	Quarter Rung = 2
)

// Rungs is the number of rungs.
const Rungs = 3

var rungNames = [Rungs]string{"full", "half", "quarter"}

// String is the rung's word in subjects, queries and metrics.
func (r Rung) String() string {
	if int(r) < len(rungNames) {
		return rungNames[r]
	}
	return fmt.Sprintf("rung(%d)", uint8(r))
}

// ParseRung reads what String writes.
func ParseRung(s string) (Rung, bool) {
	for i, name := range rungNames {
		if s == name {
			return Rung(i), true
		}
	}
	return 0, false
}

// Size is what a w×h frame measures on this rung, in pixels.
func (r Rung) Size(w, h int) (int, int) {
	d := 1 << r
	return (w + d - 1) / d, (h + d - 1) / d
}

// Flags of a header.
const (
	// FlagSampled: this frame's trace is sampled.
	FlagSampled = 1 << 0
	// FlagUnsynced: captured by a clock that is not synchronised.
	FlagUnsynced = 1 << 1
	// FlagReference: the payload is a Reference, which says where in shared memory the picture lies.
	FlagReference = 1 << 2
)

// Hop is a station of a frame after its capture.
type Hop int

// The hops, in the order of the header.
const (
	Published Hop = iota // by its origin
	Taken                // up by an encoder
	Encoded
	Received // by the gateway
	Handed   // to the viewers' writers
	Hops     // their number
)

// Header is the envelope of one picture.
type Header struct {
	Format     Format
	Rung       Rung
	Quality    uint8 // JPEG quality 1..100; 0 where raw
	Width      uint16
	Height     uint16
	Channel    uint16 // the gateway's number for the stream; 0 on the bus
	Flags      uint16
	Epoch      uint64 // when this owner's run began, µs since 1970
	Sequence   uint64 // +1 a captured frame
	CapturedUs int64  // µs since 1970
	HopUs      [Hops]int32
	PayloadLen uint32
	TraceID    [16]byte
}

// NewHeader is a header none of whose hops is set.
func NewHeader() Header {
	var h Header
	for i := range h.HopUs {
		h.HopUs[i] = NotSet
	}
	return h
}

// SetHop notes that the frame reached hop at t, saturating at the offset's range (±36 minutes).
func (h *Header) SetHop(hop Hop, t time.Time) { h.HopUs[hop] = offset(t.UnixMicro() - h.CapturedUs) }

func offset(us int64) int32 {
	return int32(min(max(us, math.MinInt32+1), math.MaxInt32))
}

// Later tells whether this frame comes after the other in its stream's order (epoch, sequence).
func (h *Header) Later(epoch, sequence uint64) bool {
	return h.Epoch > epoch || h.Epoch == epoch && h.Sequence > sequence
}

// Put writes the header to the first HeaderLen bytes of b and panics if b is shorter.
func (h *Header) Put(b []byte) {
	_ = b[HeaderLen-1]
	copy(b, magic[:])
	b[4] = HeaderLen
	b[5] = byte(h.Format)
	b[6] = byte(h.Rung)
	b[7] = h.Quality
	be := binary.BigEndian
	be.PutUint16(b[8:], h.Width)
	be.PutUint16(b[10:], h.Height)
	be.PutUint16(b[12:], h.Channel)
	be.PutUint16(b[14:], h.Flags)
	be.PutUint64(b[16:], h.Epoch)
	be.PutUint64(b[24:], h.Sequence)
	be.PutUint64(b[32:], uint64(h.CapturedUs))
	for i, us := range h.HopUs {
		be.PutUint32(b[40+4*i:], uint32(us))
	}
	be.PutUint32(b[60:], h.PayloadLen)
	copy(b[64:80], h.TraceID[:])
}

// Errors of Parse; what it returns wraps one of them and says what was found.
var (
	ErrTruncated = errors.New("truncated envelope")
	ErrMagic     = errors.New("not a framebus envelope")
	ErrLength    = errors.New("payload length does not match")
	ErrFormat    = errors.New("unknown pixel format")
	ErrSize      = errors.New("impossible picture size")
	ErrRung      = errors.New("unknown rung")
)

// Parse reads an envelope and returns its header and its payload, an alias of b. An empty payload is a probe and
// valid with any size; otherwise a raw payload's length must be what its format and size ask for. Where FlagReference
// is set, the payload is for ParseReference.
func Parse(b []byte) (Header, []byte, error) {
	var h Header
	if len(b) < HeaderLen {
		return h, nil, fmt.Errorf("%w: %d bytes", ErrTruncated, len(b))
	}
	if [4]byte(b[:4]) != magic {
		return h, nil, ErrMagic
	}
	n := int(b[4])
	if n < HeaderLen || n > len(b) {
		return h, nil, fmt.Errorf("%w: header of %d bytes", ErrTruncated, n)
	}
	be := binary.BigEndian
	h.Format, h.Rung, h.Quality = Format(b[5]), Rung(b[6]), b[7]
	h.Width, h.Height = be.Uint16(b[8:]), be.Uint16(b[10:])
	h.Channel, h.Flags = be.Uint16(b[12:]), be.Uint16(b[14:])
	h.Epoch, h.Sequence = be.Uint64(b[16:]), be.Uint64(b[24:])
	h.CapturedUs = int64(be.Uint64(b[32:]))
	for i := range h.HopUs {
		h.HopUs[i] = int32(be.Uint32(b[40+4*i:]))
	}
	h.PayloadLen = be.Uint32(b[60:])
	copy(h.TraceID[:], b[64:80])
	payload := b[n:]
	if uint64(h.PayloadLen) != uint64(len(payload)) {
		return h, nil, fmt.Errorf("%w: header says %d bytes, message has %d", ErrLength, h.PayloadLen, len(payload))
	}
	return h, payload, h.check()
}

func (h *Header) check() error {
	if h.Format < I420 || h.Format > JPEG {
		return fmt.Errorf("%w: %d", ErrFormat, h.Format)
	}
	if int(h.Rung) >= Rungs {
		return fmt.Errorf("%w: %d", ErrRung, h.Rung)
	}
	if h.PayloadLen == 0 {
		return nil
	}
	if h.Width == 0 || h.Height == 0 || h.Width > MaxSide || h.Height > MaxSide {
		return fmt.Errorf("%w: %d×%d", ErrSize, h.Width, h.Height)
	}
	if h.Flags&FlagReference != 0 {
		if h.PayloadLen != ReferenceLen {
			return fmt.Errorf("%w: a reference of %d bytes", ErrLength, h.PayloadLen)
		}
		return nil
	}
	if want := PayloadSize(h.Format, int(h.Width), int(h.Height)); want > 0 && want != int(h.PayloadLen) {
		return fmt.Errorf("%w: %d bytes are no %d×%d picture", ErrLength, h.PayloadLen, h.Width, h.Height)
	}
	return nil
}

// PayloadSize is the number of bytes of a raw w×h picture, 0 for JPEG.
func PayloadSize(f Format, w, h int) int {
	switch f {
	case I420:
		return w*h + 2*((w+1)/2)*((h+1)/2)
	case BGR24:
		return 3 * w * h
	default:
		return 0
	}
}
