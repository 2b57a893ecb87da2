package shm

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// docs/protocol.md has this layout for readers in other languages: the numbers here are its.
func TestTheFileIsLaidOutAsDocumented(t *testing.T) {
	f, path := folderOf(t, "")
	const slots, room = 70, 5000 // more slots than the first page has lines for, and a room that is no page's multiple
	r := regionIn(t, f, slots, room)
	picture := bytes.Repeat([]byte{0xA5}, room)
	ref := write(r, 69, picture)
	for range 3 {
		r.Retire(69)
	}
	id := r.ID()
	require.Equal(t, "region-"+hex.EncodeToString(id[:]), r.File())
	b, err := os.ReadFile(filepath.Join(path, r.File()))
	require.NoError(t, err)
	require.Equal(t, "FBSHM001", string(b[:8]))
	require.Equal(t, id[:], b[8:24])
	require.Equal(t, uint32(slots), binary.BigEndian.Uint32(b[24:]))
	require.Equal(t, uint64(room), binary.BigEndian.Uint64(b[28:]))
	const first, stride = 8192, 8192 // 64 + 64·70 and 128 + 5000, rounded up to 4096
	require.Len(t, b, first+slots*stride)
	require.Equal(t, ref.Generation+3, binary.NativeEndian.Uint64(b[64+64*69:]))
	require.Equal(t, picture, b[first+69*stride+128:][:room])
}
