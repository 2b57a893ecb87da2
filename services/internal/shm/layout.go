package shm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"unsafe"

	"github.com/framebus/framebus/proto/frame"
)

// A region's file begins with its head, then each slot's generation in a cache line of its own, then, from a page's
// start, the slots. A slot is room for an envelope, so that a frame can also be sent inline as it lies, and for the
// picture.
//
//	0  8   magic
//	8  16  id
//	24 4   slots           } in network byte order
//	28 8   room of a slot  }
//	64     generations, in the host's
const (
	magic    = "FBSHM001"
	idLen    = 16
	headLen  = 64
	line     = 64
	page     = 4096
	envelope = 128 // room for frame.HeaderLen that ends at a cache line

	// MaxSlots and maxRoom bound what is asked for, and what is believed of another's file.
	MaxSlots = 1024
	maxRoom  = 1 << 30
)

var _ [envelope - frame.HeaderLen]byte

// layout is where things are in a region of so many slots of so much room.
type layout struct {
	slots, room int
}

var errLayout = errors.New("impossible slots")

func (l layout) check() error {
	if l.slots < 1 || l.slots > MaxSlots || l.room < 1 || l.room > maxRoom ||
		int64(l.slots)*int64(l.stride()) > math.MaxInt-int64(l.first()) {
		return fmt.Errorf("%w: %d of %d bytes", errLayout, l.slots, l.room)
	}
	return nil
}

func pages(n int) int { return (n + page - 1) &^ (page - 1) }

func (l layout) first() int  { return pages(headLen + l.slots*line) }
func (l layout) stride() int { return pages(envelope + l.room) }
func (l layout) size() int   { return l.first() + l.slots*l.stride() }

// picture is where a slot's picture begins.
func (l layout) picture(slot int) int { return l.first() + slot*l.stride() + envelope }

func (l layout) put(b []byte, id [idLen]byte) {
	copy(b, magic)
	copy(b[8:], id[:])
	binary.BigEndian.PutUint32(b[24:], uint32(l.slots))
	binary.BigEndian.PutUint64(b[28:], uint64(l.room))
}

var errHead = errors.New("not the region that was told of")

func readLayout(b []byte, id [idLen]byte) (layout, error) {
	if string(b[:8]) != magic || [idLen]byte(b[8:24]) != id {
		return layout{}, errHead
	}
	room := binary.BigEndian.Uint64(b[28:])
	l := layout{slots: int(binary.BigEndian.Uint32(b[24:])), room: int(min(room, maxRoom+1))}
	return l, l.check()
}

// generation of a slot in the mapped file b.
func generation(b []byte, slot int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&b[headLen+slot*line]))
}
