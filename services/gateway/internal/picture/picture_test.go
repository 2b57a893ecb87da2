package picture_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/gateway/internal/picture"
	"github.com/stretchr/testify/require"
)

func sample(size int) *picture.Picture {
	h := frame.NewHeader()
	h.Format, h.Quality, h.Width, h.Height, h.Channel = frame.JPEG, 80, 640, 480, 3
	h.Epoch, h.Sequence = 1_790_000_000_000_000, 42
	return picture.New(h, 0x0102030405060708, bytes.Repeat([]byte{0xA5}, size))
}

// payload reads one unmasked frame by RFC 6455 and returns what follows it.
func payload(t *testing.T, b []byte) (op byte, body, rest []byte) {
	t.Helper()
	require.Equal(t, byte(0x80), b[0]&0xF0, "final, no extension")
	n, at := int(b[1]), 2
	switch n {
	case 126:
		n, at = int(binary.BigEndian.Uint16(b[2:])), 4
	case 127:
		n, at = int(binary.BigEndian.Uint64(b[2:])), 10
	}
	return b[0] & 0x0F, b[at : at+n], b[at+n:]
}

func TestEachFormatIsWhatItsClientExpects(t *testing.T) {
	for _, size := range []int{0, 1, 125 - frame.HeaderLen, 126, 24_000, 1<<16 - 1, 1 << 16} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			p := sample(size)
			le := binary.LittleEndian.AppendUint64(nil, uint64(size))
			for format, check := range map[picture.Format]func(body []byte){
				picture.Bare:  func(body []byte) { require.Equal(t, p.JPEG, append([]byte{}, body...)) },
				picture.Sized: func(body []byte) { require.Equal(t, append(le, p.JPEG...), body) },
				picture.V1: func(body []byte) {
					h, jpeg, err := frame.Parse(body)
					require.NoError(t, err)
					require.Equal(t, p.Header, h)
					require.True(t, bytes.Equal(p.JPEG, jpeg))
				},
			} {
				op, body, rest := payload(t, p.Bytes(format, true))
				require.EqualValues(t, picture.OpBinary, op)
				check(body)
				op, number, rest := payload(t, rest)
				require.EqualValues(t, picture.OpPing, op)
				require.Equal(t, []byte{1, 2, 3, 4, 5, 6, 7, 8}, number)
				require.Empty(t, rest)
				_, body, rest = payload(t, p.Bytes(format, false))
				check(body)
				require.Empty(t, rest)
			}
			require.Equal(t, append(le, p.JPEG...), p.Bytes(picture.RawSized, true))
			part := fmt.Sprintf("--framebus\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n", size, p.JPEG)
			require.Equal(t, part, string(p.Bytes(picture.Multipart, false)))
		})
	}
}

func TestAllViewersShareTheSameBytes(t *testing.T) {
	p := sample(1000)
	var got [8]*byte
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() { got[i] = &p.Bytes(picture.V1, i%2 == 0)[0] })
	}
	wg.Wait()
	for _, b := range got {
		require.Same(t, got[0], b)
	}
	require.Zero(t, testing.AllocsPerRun(100, func() { p.Bytes(picture.V1, true) }))
}

func TestNumbersOnlyGrow(t *testing.T) {
	var c picture.Counter
	first := c.Next()
	require.Greater(t, c.Next(), first)
}
