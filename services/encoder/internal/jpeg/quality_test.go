package jpeg_test

import (
	"testing"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/encoder/internal/jpeg"
	"github.com/stretchr/testify/require"
)

func TestTheQualityOfAJPEGCanBeTold(t *testing.T) {
	e, err := jpeg.New()
	require.NoError(t, err)
	defer e.Close()
	pix := make([]byte, frame.PayloadSize(frame.I420, 64, 48))
	for _, q := range []int{30, 50, 65, 80, 90, 100} {
		b, err := e.EncodeI420(nil, pix, 64, 48, q)
		require.NoError(t, err)
		got, ok := jpeg.Quality(b)
		require.True(t, ok)
		require.InDelta(t, q, got, 1, "quality %d", q)
		for n := range b { // cut anywhere: no panic, and never a number out of range
			if got, ok := jpeg.Quality(b[:n]); ok {
				require.True(t, got >= 1 && got <= 100)
			}
		}
	}
	_, ok := jpeg.Quality(nil)
	require.False(t, ok)
	_, ok = jpeg.Quality([]byte{0xFF, 0xD8, 0xFF, 0xDB, 0, 4, 0x30, 1, 0xFF, 0xD9})
	require.False(t, ok)
}
