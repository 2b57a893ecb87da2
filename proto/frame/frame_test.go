package frame_test

import (
	"bytes"
	"encoding/hex"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/stretchr/testify/require"
)

func sample() frame.Header {
	h := frame.NewHeader()
	h.Format, h.Rung, h.Quality = frame.JPEG, frame.Half, 80
	h.Width, h.Height, h.Channel, h.Flags = 320, 240, 7, frame.FlagSampled
	h.Epoch, h.Sequence, h.CapturedUs = 1_790_000_000_000_000, 42, 1_790_000_000_123_456
	h.SetHop(frame.Published, time.UnixMicro(h.CapturedUs+900))
	h.PayloadLen = 3
	h.TraceID = [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	return h
}

// The golden bytes of version 1: whoever changes them breaks every reader.
const golden = "46424631" + "50" + "03" + "01" + "50" + "0140" + "00f0" + "0007" + "0001" +
	"00065bfeda25e000" + "000000000000002a" + "00065bfeda27c240" +
	"00000384" + "80000000" + "80000000" + "80000000" + "80000000" + "00000003" +
	"0102030405060708090a0b0c0d0e0f10"

func TestGoldenBytes(t *testing.T) {
	h := sample()
	b := make([]byte, frame.HeaderLen)
	h.Put(b)
	require.Equal(t, golden, hex.EncodeToString(b))
}

func TestRoundTrip(t *testing.T) {
	h := sample()
	b := append(make([]byte, frame.HeaderLen), "abc"...)
	h.Put(b)
	got, payload, err := frame.Parse(b)
	require.NoError(t, err)
	require.Equal(t, h, got)
	require.Equal(t, "abc", string(payload))
}

func TestALongerHeaderIsSkipped(t *testing.T) {
	h := sample()
	b := make([]byte, frame.HeaderLen)
	h.Put(b)
	b[4] = frame.HeaderLen + 8
	b = append(b, "newfieldabc"...)
	got, payload, err := frame.Parse(b)
	require.NoError(t, err)
	require.Equal(t, "abc", string(payload))
	require.Equal(t, h.Sequence, got.Sequence)
}

func TestMalformed(t *testing.T) {
	valid := func() []byte {
		h := sample()
		b := append(make([]byte, frame.HeaderLen), "abc"...)
		h.Put(b)
		return b
	}
	for name, c := range map[string]struct {
		mend func(b []byte) []byte
		want error
	}{
		"short":           {func(b []byte) []byte { return b[:79] }, frame.ErrTruncated},
		"other magic":     {func(b []byte) []byte { b[0] = 'X'; return b }, frame.ErrMagic},
		"header short":    {func(b []byte) []byte { b[4] = 79; return b }, frame.ErrTruncated},
		"header past end": {func(b []byte) []byte { b[4] = 255; return b }, frame.ErrTruncated},
		"payload missing": {func(b []byte) []byte { return b[:len(b)-1] }, frame.ErrLength},
		"unknown format":  {func(b []byte) []byte { b[5] = 9; return b }, frame.ErrFormat},
		"unknown rung":    {func(b []byte) []byte { b[6] = 3; return b }, frame.ErrRung},
		"zero size":       {func(b []byte) []byte { copy(b[8:], []byte{0, 0, 0, 0}); return b }, frame.ErrSize},
		"huge size":       {func(b []byte) []byte { copy(b[8:], []byte{255, 255, 255, 255}); return b }, frame.ErrSize},
		"raw length":      {func(b []byte) []byte { b[5] = byte(frame.I420); return b }, frame.ErrLength},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := frame.Parse(c.mend(valid()))
			require.ErrorIs(t, err, c.want)
		})
	}
}

func TestOffsetsSaturate(t *testing.T) {
	h := frame.NewHeader()
	h.SetHop(frame.Taken, time.Unix(1<<32, 0))
	require.EqualValues(t, 1<<31-1, h.HopUs[frame.Taken])
	h.CapturedUs = 1 << 60
	h.SetHop(frame.Taken, time.Unix(0, 0))
	require.EqualValues(t, frame.NotSet+1, h.HopUs[frame.Taken])
}

func TestRungSizesRoundUp(t *testing.T) {
	w, h := frame.Quarter.Size(641, 3)
	require.Equal(t, []int{161, 1}, []int{w, h})
	for r := frame.Full; r < frame.Rungs; r++ {
		got, ok := frame.ParseRung(r.String())
		require.True(t, ok)
		require.Equal(t, r, got)
	}
}

func TestNothingIsAllocated(t *testing.T) {
	h := sample()
	b := append(make([]byte, frame.HeaderLen), "abc"...)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		h.Put(b)
		if _, _, err := frame.Parse(b); err != nil {
			t.Fatal(err)
		}
	}))
}

func TestStripReadsBackOnEveryRung(t *testing.T) {
	const w, h = 640, 480
	want := int64(1_790_000_000_123_450)
	luma := make([]byte, w*h)
	frame.PutStrip(luma, w, h, want)
	for rung := frame.Full; rung < frame.Rungs; rung++ {
		d := 1 << rung
		got, ok := frame.ReadStrip(func(x, y int) uint8 { return luma[y*d*w+x*d] }, w/d, h/d, want-5_000_000)
		require.True(t, ok, rung)
		require.Equal(t, want, got)
	}
	luma[5] = 235
	for i := range luma {
		luma[i] ^= 255
	}
	_, ok := frame.ReadStrip(func(x, y int) uint8 { return luma[y*w+x] }, w, h, want)
	require.False(t, ok)
}

func FuzzParse(f *testing.F) {
	b, _ := hex.DecodeString(golden)
	f.Add(append(b, "abc"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, payload, err := frame.Parse(b)
		if err != nil {
			return
		}
		out := append(make([]byte, frame.HeaderLen), payload...)
		h.Put(out)
		again, p, err := frame.Parse(out)
		if err != nil || again != h || !bytes.Equal(p, payload) {
			t.Fatalf("%+v came back as %+v: %v", h, again, err)
		}
	})
}

func BenchmarkRoundTrip(b *testing.B) {
	h := sample()
	buf := append(make([]byte, frame.HeaderLen), "abc"...)
	b.ReportAllocs()
	for b.Loop() {
		h.Put(buf)
		if _, _, err := frame.Parse(buf); err != nil {
			b.Fatal(err)
		}
	}
}
