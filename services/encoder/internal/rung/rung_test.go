package rung

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/framebus/framebus/proto/frame"
	"github.com/stretchr/testify/require"
)

func noise(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// plain is the definition, one pixel at a time.
func plain(src []byte, w, h, side int) []byte {
	var out []byte
	for y := 0; y < h; y += side {
		for x := 0; x < w; x += side {
			out = append(out, mean(src, w, h, x, y, side))
		}
	}
	return out
}

func TestEveryPixelIsTheMeanOfItsArea(t *testing.T) {
	for _, s := range [][2]int{{1, 1}, {2, 2}, {3, 5}, {7, 4}, {8, 8}, {9, 9}, {16, 6}, {33, 31}, {64, 48}, {641, 479}} {
		w, h := s[0], s[1]
		pix := noise(frame.PayloadSize(frame.I420, w, h), uint64(w*h))
		cw, ch := (w+1)/2, (h+1)/2
		for r, side := range map[frame.Rung]int{frame.Half: 2, frame.Quarter: 4} {
			t.Run(fmt.Sprintf("%d×%d %s", w, h, r), func(t *testing.T) {
				want := plain(pix[:w*h], w, h, side)
				want = append(want, plain(pix[w*h:w*h+cw*ch], cw, ch, side)...)
				want = append(want, plain(pix[w*h+cw*ch:], cw, ch, side)...)
				got := Down(nil, pix, w, h, r)
				dw, dh := r.Size(w, h)
				require.Len(t, got, frame.PayloadSize(frame.I420, dw, dh))
				require.Equal(t, want, got)
			})
		}
	}
}

func TestMeanRoundsToNearest(t *testing.T) {
	require.Equal(t, byte(2), mean([]byte{1, 2, 2, 2}, 2, 2, 0, 0, 2))
	require.Equal(t, byte(255), mean([]byte{255, 255, 255, 255}, 2, 2, 0, 0, 2))
	require.Equal(t, byte(7), mean([]byte{7}, 1, 1, 0, 0, 4))
}

func TestFullIsThePictureItself(t *testing.T) {
	pix := noise(frame.PayloadSize(frame.I420, 8, 8), 1)
	require.Same(t, &pix[0], &Down(nil, pix, 8, 8, frame.Full)[0])
}

func TestNothingIsAllocated(t *testing.T) {
	pix := noise(frame.PayloadSize(frame.I420, 640, 480), 1)
	dst := Down(nil, pix, 640, 480, frame.Half)
	require.Zero(t, testing.AllocsPerRun(10, func() {
		dst = Down(dst, pix, 640, 480, frame.Half)
		dst = Down(dst, pix, 640, 480, frame.Quarter)
	}))
}

func BenchmarkDown(b *testing.B) {
	pix := noise(frame.PayloadSize(frame.I420, 640, 480), 1)
	for _, r := range []frame.Rung{frame.Half, frame.Quarter} {
		b.Run(r.String(), func(b *testing.B) {
			dst := Down(nil, pix, 640, 480, r)
			b.ReportAllocs()
			for b.Loop() {
				dst = Down(dst, pix, 640, 480, r)
			}
		})
	}
}
