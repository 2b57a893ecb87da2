package frame

import (
	"encoding/binary"
	"fmt"
)

// ReferenceLen is the length of a referring message's payload, in bytes.
const ReferenceLen = 32

// Reference says where in a host's shared memory a picture lies. On the bus it is, in network byte order, the region's
// id (16 bytes), the slot (4), its generation (8) and the picture's length (4).
type Reference struct {
	Region     [16]byte
	Slot       uint32
	Generation uint64 // what the slot's must be before and after the picture was read
	Length     uint32 // of the picture, bytes
}

// Put writes the reference to the first ReferenceLen bytes of b and panics if b is shorter.
func (r *Reference) Put(b []byte) {
	_ = b[ReferenceLen-1]
	copy(b, r.Region[:])
	binary.BigEndian.PutUint32(b[16:], r.Slot)
	binary.BigEndian.PutUint64(b[20:], r.Generation)
	binary.BigEndian.PutUint32(b[28:], r.Length)
}

// ParseReference reads the payload of a message whose header has FlagReference. The picture's length must be what the
// header's format and size ask for; whether there is such a picture is for the region to tell.
func ParseReference(h *Header, payload []byte) (Reference, error) {
	var r Reference
	if len(payload) != ReferenceLen {
		return r, fmt.Errorf("%w: a reference of %d bytes", ErrLength, len(payload))
	}
	copy(r.Region[:], payload)
	r.Slot = binary.BigEndian.Uint32(payload[16:])
	r.Generation = binary.BigEndian.Uint64(payload[20:])
	r.Length = binary.BigEndian.Uint32(payload[28:])
	if want := PayloadSize(h.Format, int(h.Width), int(h.Height)); r.Length == 0 || want > 0 && want != int(r.Length) {
		return r, fmt.Errorf("%w: %d bytes are no %d×%d picture", ErrLength, r.Length, h.Width, h.Height)
	}
	return r, nil
}
