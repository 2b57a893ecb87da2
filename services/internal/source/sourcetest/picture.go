// Package sourcetest has sources for tests to open: video files, an RTSP server, an HTTP camera and a peer that says
// nothing. All of them show the same numbered pictures, so that a test can tell which one it got and what it should be.
package sourcetest

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"testing"

	"github.com/framebus/framebus/proto/frame"
	"github.com/stretchr/testify/require"
	"gocv.io/x/gocv"
)

// Picture is the n-th test picture: smooth, so that codecs keep it, and of full range. Where it has an even width, its
// latency strip holds n × 10 µs.
func Picture(n, w, h int) *image.YCbCr {
	pic := image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420)
	for y := range h {
		for x := range w {
			pic.Y[y*pic.YStride+x] = byte(40 + 150*x/w + 50*y/h + n%10)
		}
	}
	for y := range (h + 1) / 2 {
		for x := range (w + 1) / 2 {
			pic.Cb[y*pic.CStride+x] = byte(100 + 60*2*x/w)
			pic.Cr[y*pic.CStride+x] = byte(160 - 60*2*y/h)
		}
	}
	if pic.YStride == w {
		frame.PutStrip(pic.Y, w, h, int64(n)*10)
	}
	return pic
}

// Number is which test picture a luma plane shows.
func Number(luma []byte, w, h int) (n int, ok bool) {
	us, ok := frame.ReadStrip(func(x, y int) uint8 { return luma[y*w+x] }, w, h, 0)
	return int(us / 10), ok && us >= 0
}

// LumaError is the mean difference between a luma plane and the n-th test picture's.
func LumaError(luma []byte, n, w, h int) float64 {
	want := Picture(n, w, h)
	sum := 0
	for y := range h {
		for x := range w {
			d := int(luma[y*w+x]) - int(want.Y[y*want.YStride+x])
			sum += max(d, -d)
		}
	}
	return float64(sum) / float64(w*h)
}

// JPEG is the n-th test picture as a JPEG.
func JPEG(tb testing.TB, n, w, h int) []byte {
	tb.Helper()
	var b bytes.Buffer
	require.NoError(tb, jpeg.Encode(&b, Picture(n, w, h), &jpeg.Options{Quality: 90}))
	return b.Bytes()
}

// WriteVideo writes pictures 0 to frames-1 to a file whose name's end says the container, for example with the codec
// "mp4v" into .mp4 or "MJPG" into .avi.
func WriteVideo(tb testing.TB, path, codec string, fps float64, w, h, frames int) {
	tb.Helper()
	out, err := gocv.VideoWriterFile(path, codec, fps, w, h, true)
	require.NoError(tb, err)
	require.True(tb, out.IsOpened(), "no encoder for %s", codec)
	bgr := make([]byte, 3*w*h)
	for n := range frames {
		pic := Picture(n, w, h)
		for y := range h {
			for x := range w {
				i, j := y*pic.YStride+x, y/2*pic.CStride+x/2
				r, g, b := color.YCbCrToRGB(pic.Y[i], pic.Cb[j], pic.Cr[j])
				copy(bgr[3*(y*w+x):], []byte{b, g, r})
			}
		}
		m, err := gocv.NewMatFromBytes(h, w, gocv.MatTypeCV8UC3, bgr)
		require.NoError(tb, err)
		require.NoError(tb, out.Write(m))
		require.NoError(tb, m.Close())
	}
	require.NoError(tb, out.Close())
}
