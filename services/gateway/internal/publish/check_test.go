package publish

import (
	"bytes"
	"image"
	"image/jpeg"
	"testing"

	"github.com/framebus/framebus/proto/frame"
	"github.com/stretchr/testify/require"
)

func gray(t testing.TB, w, h int) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, w, h)), nil))
	return b.Bytes()
}

func TestAPaddedJPEGIsTaken(t *testing.T) {
	pic := gray(t, 20, 10)
	got, w, h, err := check(append(bytes.Clone(pic), 0, 0, 0), 100)
	require.NoError(t, err)
	require.Equal(t, pic, got)
	require.Equal(t, []int{20, 10}, []int{w, h})
}

func TestAPictureOfTooManyPixelsIsRefused(t *testing.T) {
	pic := gray(t, 16, 16)
	at := bytes.Index(pic, []byte{0xFF, 0xC0})
	copy(pic[at+5:], []byte{0x20, 0, 0x20, 0}) // 8192×8192
	_, _, _, err := check(pic, frame.MaxSide)
	require.Equal(t, tooWide, reasonOf(err))
}

// Whatever comes, check says what it is, and what it lets through can be decoded as far as its header.
func FuzzCheck(f *testing.F) {
	f.Add(gray(f, 8, 8))
	f.Add([]byte("FBF1"))
	f.Add([]byte{0xFF, 0xD8, 0xFF, 0xD9})
	f.Fuzz(func(t *testing.T, b []byte) {
		pic, w, h, err := check(b, 4096)
		if err != nil {
			require.NotEmpty(t, reasonOf(err))
			return
		}
		c, err := jpeg.DecodeConfig(bytes.NewReader(pic))
		require.NoError(t, err)
		require.Equal(t, []int{c.Width, c.Height}, []int{w, h})
	})
}
