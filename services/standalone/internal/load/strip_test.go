package load

import (
	"bytes"
	"image"
	"image/jpeg"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/framebus/framebus/proto/frame"
)

func TestTheStripOfAnySize(t *testing.T) {
	const us = 1_790_000_000_123_450
	var s stripReader
	for _, size := range [][2]int{{160, 120}, {320, 240}, {640, 480}, {641, 359}, {1920, 1080}} {
		full := image.NewYCbCr(image.Rect(0, 0, size[0], size[1]), image.YCbCrSubsampleRatio420)
		frame.PutStrip(full.Y, full.YStride, size[1], us)
		var b bytes.Buffer
		require.NoError(t, jpeg.Encode(&b, full, &jpeg.Options{Quality: 30}))
		got, ok := s.read(b.Bytes(), us+3_000_000)
		require.True(t, ok, size)
		require.EqualValues(t, us, got)
	}
	gray := image.NewGray(image.Rect(0, 0, 320, 240))
	frame.PutStrip(gray.Pix, 320, 240, us)
	var b bytes.Buffer
	require.NoError(t, jpeg.Encode(&b, gray, nil))
	got, ok := s.read(b.Bytes(), us)
	require.True(t, ok)
	require.EqualValues(t, us, got)
}

func FuzzStrip(f *testing.F) {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 64, 32)), nil); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte{0xFF, 0xD8, 0xFF, 0xE0, 0, 0, 0xFF, 0xC0, 0, 1})
	f.Fuzz(func(t *testing.T, jpg []byte) {
		var s stripReader
		if _, ok := s.read(jpg, 0); ok {
			t.Fatal("there is no strip")
		}
	})
}

func TestThePercentilesOfAHistogram(t *testing.T) {
	var h, other histogram
	for i := range 1000 {
		to := &h
		if i%2 == 0 {
			to = &other
		}
		to.add(time.Duration(i+1) * time.Millisecond)
	}
	h.merge(&other)
	a := h.ages()
	require.EqualValues(t, 1000, a.Samples)
	require.InEpsilon(t, 500, a.P50, 0.006)
	require.InEpsilon(t, 950, a.P95, 0.006)
	require.InEpsilon(t, 990, a.P99, 0.006)
	require.InDelta(t, 1000, a.Max, 0.001)
	var odd histogram
	odd.add(-time.Second)
	odd.add(1000 * time.Hour)
	require.Len(t, odd.counts, buckets)
	require.Nil(t, (&histogram{}).ages())
}

func BenchmarkStrip(b *testing.B) {
	img := image.NewYCbCr(image.Rect(0, 0, 640, 480), image.YCbCrSubsampleRatio420)
	for i := range img.Y {
		img.Y[i] = uint8(i * i >> 4)
	}
	frame.PutStrip(img.Y, 640, 480, 1_790_000_000_000_000)
	var jpg bytes.Buffer
	if err := jpeg.Encode(&jpg, img, &jpeg.Options{Quality: 80}); err != nil {
		b.Fatal(err)
	}
	var s stripReader
	changed := make([]byte, jpg.Len())
	for b.Loop() {
		copy(changed, jpg.Bytes())
		if _, ok := s.read(changed, 1_790_000_000_000_000); !ok {
			b.Fatal("no strip")
		}
	}
}
