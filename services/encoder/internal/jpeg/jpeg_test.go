package jpeg

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	stdjpeg "image/jpeg"
	"math"
	"os"
	"testing"

	"github.com/framebus/framebus/proto/frame"
	"github.com/stretchr/testify/require"
	"gocv.io/x/gocv"
)

var sizes = [][2]int{{640, 480}, {641, 479}, {17, 9}, {16, 15}, {15, 16}, {1, 1}, {2, 3}, {1, 40}, {40, 1}}

// scene is a picture with slopes and texture in every plane, as I420.
func scene(w, h int) []byte {
	pix := make([]byte, frame.PayloadSize(frame.I420, w, h))
	p := planesOf(pix, w, h)
	for y := range h {
		for x := range w {
			p.y[y*w+x] = byte(110 + 60*math.Sin(float64(x)/9) + 40*math.Cos(float64(y)/13))
		}
	}
	for y := range (h + 1) / 2 {
		for x := range p.strideC {
			p.u[y*p.strideC+x] = byte(128 + 20*math.Sin(float64(x+y)/40))
			p.v[y*p.strideC+x] = byte(128 + 20*math.Cos(float64(x-y)/30))
		}
	}
	return pix
}

// bgr is scene's colours, interleaved.
func bgr(w, h int) []byte {
	p := planesOf(scene(w, h), w, h)
	out := make([]byte, 0, 3*w*h)
	for y := range h {
		for x := range w {
			c := y/2*p.strideC + x/2
			r, g, b := color.YCbCrToRGB(p.y[y*w+x], p.u[c], p.v[c])
			out = append(out, b, g, r)
		}
	}
	return out
}

// decoded reads a JPEG with Go's own decoder, as I420.
func decoded(t *testing.T, jpeg []byte, w, h int) []byte {
	t.Helper()
	img, err := stdjpeg.Decode(bytes.NewReader(jpeg))
	require.NoError(t, err)
	require.Equal(t, image.Rect(0, 0, w, h), img.Bounds())
	ycc, ok := img.(*image.YCbCr)
	require.True(t, ok)
	require.Equal(t, image.YCbCrSubsampleRatio420, ycc.SubsampleRatio)
	var pix []byte
	for y := range h {
		pix = append(pix, ycc.Y[y*ycc.YStride:][:w]...)
	}
	for _, plane := range [][]byte{ycc.Cb, ycc.Cr} {
		for y := range (h + 1) / 2 {
			pix = append(pix, plane[y*ycc.CStride:][:(w+1)/2]...)
		}
	}
	return pix
}

// alike holds every plane to a mean error in steps of 1/255.
func alike(t *testing.T, want, got []byte, w, h int, limit float64) {
	t.Helper()
	require.Len(t, got, len(want))
	a, b := planesOf(want, w, h), planesOf(got, w, h)
	for i, pair := range [][2][]byte{{a.y, b.y}, {a.u, b.u}, {a.v, b.v}} {
		sum := 0.0
		for j := range pair[0] {
			sum += math.Abs(float64(pair[0][j]) - float64(pair[1][j]))
		}
		require.Less(t, sum/float64(len(pair[0])), limit, "plane %d", i)
	}
}

func newEncoder(t testing.TB) *Encoder {
	t.Helper()
	e, err := New()
	require.NoError(t, err)
	t.Cleanup(e.Close)
	return e
}

func newDecoder(t testing.TB) *Decoder {
	t.Helper()
	d, err := NewDecoder()
	require.NoError(t, err)
	t.Cleanup(d.Close)
	return d
}

func TestAnotherDecoderSeesThePicture(t *testing.T) {
	e := newEncoder(t)
	for _, s := range sizes {
		w, h := s[0], s[1]
		t.Run(fmt.Sprintf("%d×%d", w, h), func(t *testing.T) {
			jpeg, err := e.EncodeI420(nil, scene(w, h), w, h, 95)
			require.NoError(t, err)
			alike(t, scene(w, h), decoded(t, jpeg, w, h), w, h, 2.5)
			jpeg, err = e.EncodeBGR24(nil, bgr(w, h), w, h, 95)
			require.NoError(t, err)
			alike(t, scene(w, h), decoded(t, jpeg, w, h), w, h, 3)
		})
	}
}

// The row and column that turbojpeg reads past an odd side must repeat the edge: whatever else stood there would ring.
func TestOddEdgesDoNotRing(t *testing.T) {
	const w, h = 33, 33
	pix := bytes.Repeat([]byte{255}, frame.PayloadSize(frame.I420, w, h))
	p := planesOf(pix, w, h)
	for i := range p.u {
		p.u[i], p.v[i] = 0, 0
	}
	jpeg, err := newEncoder(t).EncodeI420(nil, pix, w, h, 60)
	require.NoError(t, err)
	for i, y := range planesOf(decoded(t, jpeg, w, h), w, h).y {
		require.GreaterOrEqual(t, y, byte(253), "pixel %d,%d", i%w, i/w)
	}
}

func TestItsOwnDecoderSeesThePicture(t *testing.T) {
	e, d := newEncoder(t), newDecoder(t)
	var pix []byte
	for _, s := range sizes {
		w, h := s[0], s[1]
		jpeg, err := e.EncodeI420(nil, scene(w, h), w, h, 95)
		require.NoError(t, err)
		gotW, gotH, err := d.Header(jpeg)
		require.NoError(t, err)
		require.Equal(t, [2]int{w, h}, [2]int{gotW, gotH})
		pix, gotW, gotH, err = d.Decode(pix, jpeg)
		require.NoError(t, err)
		require.Equal(t, [2]int{w, h}, [2]int{gotW, gotH})
		alike(t, scene(w, h), pix, w, h, 2.5)
	}
}

// The files are scene at 33×31, written by ffmpeg with the chroma sampling that their names say.
func TestOtherSamplingsAreConverted(t *testing.T) {
	const w, h = 33, 31
	d := newDecoder(t)
	for _, sampling := range []string{"444", "422", "440"} {
		jpeg, err := os.ReadFile("testdata/" + sampling + ".jpg")
		require.NoError(t, err)
		info, err := d.header(jpeg)
		require.NoError(t, err)
		require.Zero(t, info.planar, sampling)
		pix, gotW, gotH, err := d.Decode(nil, jpeg)
		require.NoError(t, err, sampling)
		require.Equal(t, [2]int{w, h}, [2]int{gotW, gotH}, sampling)
		alike(t, scene(w, h), pix, w, h, 3)
	}
	grey := image.NewGray(image.Rect(0, 0, w, h))
	for y := range h {
		copy(grey.Pix[y*grey.Stride:], planesOf(scene(w, h), w, h).y[y*w:][:w])
	}
	var b bytes.Buffer
	require.NoError(t, stdjpeg.Encode(&b, grey, &stdjpeg.Options{Quality: 95}))
	pix, _, _, err := d.Decode(nil, b.Bytes())
	require.NoError(t, err)
	want := scene(w, h)
	for i := w * h; i < len(want); i++ {
		want[i] = 128
	}
	alike(t, want, pix, w, h, 3)
}

func TestOutputFollowsWhatStandsInFront(t *testing.T) {
	e := newEncoder(t)
	alone, err := e.EncodeI420(nil, scene(64, 48), 64, 48, 80)
	require.NoError(t, err)
	out, err := e.EncodeI420([]byte("envelope"), scene(64, 48), 64, 48, 80)
	require.NoError(t, err)
	require.Equal(t, append([]byte("envelope"), alone...), out)
}

func TestQualityAndSizeAreChecked(t *testing.T) {
	e := newEncoder(t)
	pix := scene(16, 16)
	last := 0
	for q := 1; q <= 100; q += 33 {
		out, err := e.EncodeI420(nil, pix, 16, 16, q)
		require.NoError(t, err)
		require.Greater(t, len(out), last)
		last = len(out)
	}
	for _, q := range []int{-1, 0, 101} {
		_, err := e.EncodeI420(nil, pix, 16, 16, q)
		require.ErrorIs(t, err, ErrQuality)
	}
	for _, s := range [][2]int{{0, 16}, {16, 0}, {-1, 16}, {65535, 65535}, {16384, 16384}} {
		_, err := e.EncodeI420(nil, pix, s[0], s[1], 80)
		require.ErrorIs(t, err, ErrSize)
	}
	_, err := e.EncodeI420(nil, pix[1:], 16, 16, 80)
	require.ErrorIs(t, err, ErrPayload)
	_, err = e.EncodeBGR24(nil, pix, 16, 16, 80)
	require.ErrorIs(t, err, ErrPayload)
}

func TestADamagedJPEGIsAnError(t *testing.T) {
	d := newDecoder(t)
	good, err := newEncoder(t).EncodeI420(nil, scene(640, 480), 640, 480, 80)
	require.NoError(t, err)
	huge := bytes.Clone(good)
	sof := bytes.Index(huge, []byte{0xFF, 0xC0})
	copy(huge[sof+5:], []byte{0xFF, 0xFF, 0xFF, 0xFF})
	for name, c := range map[string]struct {
		jpeg []byte
		want error
	}{
		"empty":     {nil, ErrCorrupt},
		"garbage":   {bytes.Repeat([]byte("garbage"), 100), ErrCorrupt},
		"half":      {good[:len(good)/2], ErrCorrupt},
		"no end":    {good[:len(good)-2], ErrCorrupt},
		"head only": {good[:300], ErrCorrupt},
		"huge":      {huge, ErrSize},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, _, err := d.Decode(nil, c.jpeg)
			require.ErrorIs(t, err, c.want)
			_, _, _, err = d.Decode(nil, good)
			require.NoError(t, err, "a good one after it")
		})
	}
}

func TestNothingIsAllocatedPerFrame(t *testing.T) {
	e, d := newEncoder(t), newDecoder(t)
	for _, s := range [][2]int{{640, 480}, {641, 479}} {
		w, h := s[0], s[1]
		pix, colour := scene(w, h), bgr(w, h)
		out, err := e.EncodeI420(make([]byte, frame.HeaderLen), pix, w, h, 80)
		require.NoError(t, err)
		back := bytes.Clone(pix)
		jpeg := bytes.Clone(out[frame.HeaderLen:])
		require.Zero(t, testing.AllocsPerRun(10, func() {
			for _, err := range []error{
				second(e.EncodeI420(out[:frame.HeaderLen], pix, w, h, 80)),
				second(e.EncodeBGR24(out[:frame.HeaderLen], colour, w, h, 80)),
				second(e.ConvertBGR24(back, colour, w, h)),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			if _, _, _, err := d.Decode(back, jpeg); err != nil {
				t.Fatal(err)
			}
		}))
	}
}

func second(_ []byte, err error) error { return err }

func FuzzDecode(f *testing.F) {
	e := newEncoder(f)
	for _, s := range [][2]int{{16, 16}, {17, 9}} {
		jpeg, err := e.EncodeI420(nil, scene(s[0], s[1]), s[0], s[1], 50)
		require.NoError(f, err)
		f.Add(jpeg)
		f.Add(jpeg[:len(jpeg)/2])
	}
	var b bytes.Buffer
	require.NoError(f, stdjpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 9, 9)), nil))
	f.Add(b.Bytes())
	d := newDecoder(f)
	f.Fuzz(func(t *testing.T, jpeg []byte) {
		pix, w, h, err := d.Decode(nil, jpeg)
		if err == nil && len(pix) != frame.PayloadSize(frame.I420, w, h) {
			t.Fatalf("%d bytes for %d×%d", len(pix), w, h)
		}
	})
}

// BenchmarkEncode compares with what gocv offers on the same picture, which it takes as BGR only.
func BenchmarkEncode(b *testing.B) {
	const w, h, quality = 640, 480, 80
	e := newEncoder(b)
	colour := bgr(w, h)
	pix, err := e.ConvertBGR24(nil, colour, w, h)
	require.NoError(b, err)
	run := func(name string, encode func(out []byte, pix []byte, w, h, q int) ([]byte, error), pix []byte) {
		b.Run(name, func(b *testing.B) {
			var out []byte
			b.ReportAllocs()
			for b.Loop() {
				if out, err = encode(out[:0], pix, w, h, quality); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(out)), "jpeg_bytes")
		})
	}
	run("i420", e.EncodeI420, pix)
	run("bgr24", e.EncodeBGR24, colour)
	b.Run("gocv", func(b *testing.B) {
		m, err := gocv.NewMatFromBytes(h, w, gocv.MatTypeCV8UC3, colour)
		require.NoError(b, err)
		defer m.Close()
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			buf, err := gocv.IMEncodeWithParams(".jpg", m, []int{gocv.IMWriteJpegQuality, quality})
			if err != nil {
				b.Fatal(err)
			}
			n = buf.Len()
			buf.Close()
		}
		b.ReportMetric(float64(n), "jpeg_bytes")
	})
}

func BenchmarkDecode(b *testing.B) {
	jpeg, err := newEncoder(b).EncodeI420(nil, scene(640, 480), 640, 480, 80)
	require.NoError(b, err)
	d := newDecoder(b)
	var pix []byte
	b.ReportAllocs()
	for b.Loop() {
		if pix, _, _, err = d.Decode(pix, jpeg); err != nil {
			b.Fatal(err)
		}
	}
}
