package jpeg_test

import (
	"bytes"
	stdjpeg "image/jpeg"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/encoder/internal/jpeg"
	"github.com/stretchr/testify/require"
)

// scene is an I420 picture with edges, gradients and a little noise.
func scene(w, h int, noise float64) []byte {
	r := rand.New(rand.NewPCG(1, uint64(w*h)))
	pix := make([]byte, frame.PayloadSize(frame.I420, w, h))
	for i := range pix {
		x, y := i%w, i/w
		if i >= w*h { // colours change slowly
			pix[i] = byte(100 + 40*(i-w*h)/(len(pix)-w*h))
			continue
		}
		v := 128 + 60*math.Sin(float64(x)/9) + 40*math.Cos(float64(y)/7) + noise*r.NormFloat64()
		if (x/16+y/16)%5 == 0 {
			v += 60
		}
		pix[i] = byte(min(max(v, 0), 255))
	}
	return pix
}

func TestAPackedPictureIsTheSamePictureInFewerBytes(t *testing.T) {
	enc, err := jpeg.New()
	require.NoError(t, err)
	defer enc.Close()
	dec, err := jpeg.NewDecoder()
	require.NoError(t, err)
	defer dec.Close()
	var p jpeg.Packer
	for _, size := range [][2]int{{160, 120}, {161, 121}, {16, 16}, {40, 23}, {320, 240}} {
		for _, quality := range []int{30, 50, 80, 100} {
			for _, noise := range []float64{0, 12} {
				pix := scene(size[0], size[1], noise)
				jpg, err := enc.EncodeI420(nil, pix, size[0], size[1], quality)
				require.NoError(t, err)
				room := []byte("room")
				packed := p.Pack(room, jpg, quality < 50)
				require.Equal(t, room, packed[:len(room)])
				packed = packed[len(room):]
				require.Less(t, len(packed), len(jpg), "%v at quality %d", size, quality)
				_, err = stdjpeg.Decode(bytes.NewReader(packed))
				require.NoError(t, err)
				before, w, h, err := dec.Decode(nil, jpg)
				require.NoError(t, err)
				after, aw, ah, err := dec.Decode(nil, packed)
				require.NoError(t, err)
				require.Equal(t, [2]int{w, h}, [2]int{aw, ah})
				if quality < 50 {
					require.Less(t, psnr(pix, before)-psnr(pix, after), 1.5, "dB lost, %v at quality %d", size, quality)
				} else {
					require.Equal(t, before, after)
				}
				require.Equal(t, packed, p.Pack(nil, jpg, quality < 50), "it forgets what it packed before")
			}
		}
	}
}

func psnr(a, b []byte) float64 {
	sum := 0.0
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum += d * d
	}
	return 10 * math.Log10(255*255*float64(len(a))/max(sum, 1e-9))
}

func TestWhatIsNotUnderstoodStaysAsItIs(t *testing.T) {
	enc, err := jpeg.New()
	require.NoError(t, err)
	defer enc.Close()
	jpg, err := enc.EncodeI420(nil, scene(64, 48, 3), 64, 48, 50)
	require.NoError(t, err)
	var p jpeg.Packer
	progressive := bytes.Replace(jpg, []byte{0xFF, 0xC0}, []byte{0xFF, 0xC2}, 1)
	for _, b := range [][]byte{nil, {0xFF, 0xD8}, progressive, jpg[:len(jpg)/2], []byte("no picture at all")} {
		require.Equal(t, append([]byte{}, b...), append([]byte{}, p.Pack(nil, b, true)...))
	}
}

func FuzzPack(f *testing.F) {
	enc, err := jpeg.New()
	require.NoError(f, err)
	defer enc.Close()
	for _, quality := range []int{5, 50, 95} {
		jpg, err := enc.EncodeI420(nil, scene(33, 17, 5), 33, 17, quality)
		require.NoError(f, err)
		f.Add(jpg)
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		var p jpeg.Packer
		p.Pack(nil, b, true)
	})
}

func BenchmarkPackAQuarter(b *testing.B) {
	enc, err := jpeg.New()
	require.NoError(b, err)
	defer enc.Close()
	jpg, err := enc.EncodeI420(nil, scene(160, 120, 3), 160, 120, 30)
	require.NoError(b, err)
	var p jpeg.Packer
	var out []byte
	for b.Loop() {
		out = p.Pack(out[:0], jpg, true)
	}
	b.ReportMetric(float64(len(out))/float64(len(jpg)), "of-the-size")
}
