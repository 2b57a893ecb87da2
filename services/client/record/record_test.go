package record_test

import (
	"bytes"
	"image"
	"image/jpeg"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/client"
	"github.com/framebus/framebus/services/client/record"
	"github.com/framebus/framebus/services/client/record/recordtest"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// blank is a JPEG of 64×48.
var blank = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	err := jpeg.Encode(&b, image.NewYCbCr(image.Rect(0, 0, 64, 48), image.YCbCrSubsampleRatio420), nil)
	if err != nil {
		panic(err)
	}
	return b.Bytes()
})

// frames are n at 25 a second from a start, as the envelope tells.
func frames(epoch uint64, from time.Time, n int) (out []*client.Frame) {
	for i := range n {
		at := from.Add(time.Duration(i) * 40 * time.Millisecond)
		h := frame.NewHeader()
		h.Epoch, h.Sequence, h.CapturedUs = epoch, uint64(i+1), at.UnixMicro()
		out = append(out, &client.Frame{Header: h, Stream: "cam0", JPEG: blank(), ReceivedAt: at.Add(5 * time.Millisecond)})
	}
	return out
}

func TestEachPictureIsKeptAtItsTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.mkv")
	r, err := record.Create(path)
	require.NoError(t, err)
	start := time.Now()
	all := frames(1, start, 100)
	later := frames(2, start.Add(10*time.Second), 50) // the owner restarted, and 6 s are missing
	later[0].Missed = 150
	for _, f := range append(all, later...) {
		require.NoError(t, r.Write(f))
	}
	require.NoError(t, r.Close())
	got := recordtest.Times(t, path)
	require.Len(t, got, 150)
	for i, at := range got {
		want := time.Duration(i) * 40 * time.Millisecond
		if i >= 100 {
			want = 10*time.Second + time.Duration(i-100)*40*time.Millisecond
		}
		require.InDelta(t, want.Seconds(), at.Seconds(), 0.001, "picture %d", i)
	}
	report := r.Report()
	require.Len(t, report.Gaps, 1)
	require.InDelta(t, 6.04, report.Gaps[0].For.Seconds(), 0.001)
	require.EqualValues(t, 150, report.Missed)
}

func TestAClockThatWasSetTearsNoHole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.mkv")
	r, err := record.Create(path)
	require.NoError(t, err)
	start := time.Now()
	set := frames(2, start.Add(time.Hour), 10)
	for i, f := range set {
		f.ReceivedAt = start.Add(time.Duration(10+i)*40*time.Millisecond + 5*time.Millisecond)
	}
	for _, f := range append(frames(1, start, 10), set...) {
		require.NoError(t, r.Write(f))
	}
	require.NoError(t, r.Close())
	got := recordtest.Times(t, path)
	require.Len(t, got, 20)
	require.InDelta(t, 0.76, got[19].Seconds(), 0.001)
	require.Empty(t, r.Report().Gaps)
}

// What a killed recorder leaves is a file that was never closed.
func TestAFileThatWasNotEndedCanBeRead(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"out.mkv", "out.mjpeg"} {
		path := filepath.Join(dir, name)
		r, err := record.Create(path)
		require.NoError(t, err)
		for _, f := range frames(1, time.Now(), 100) {
			require.NoError(t, r.Write(f))
		}
		cut := filepath.Join(dir, "cut-"+name)
		require.Eventually(t, func() bool {
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(cut, b[:len(b)-10], 0o600)) // in the middle of a picture
			return len(recordtest.Times(t, cut)) >= 95
		}, 20*time.Second, 20*time.Millisecond)
		require.NoError(t, r.Close())
	}
}

func TestOnlyKnownFormatsAreMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.avi")
	_, err := record.Create(path)
	require.ErrorIs(t, err, record.ErrName)
	require.ErrorContains(t, err, ".mkv")
	require.NoFileExists(t, path)
}

func TestAFileThatIsThereIsNotLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.mjpeg")
	require.NoError(t, os.WriteFile(path, []byte("an hour of pictures"), 0o600))
	_, err := record.Create(path)
	require.ErrorIs(t, err, fs.ErrExist)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "an hour of pictures", string(b))

	r, err := record.Replace(path)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	b, err = os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "an hour of pictures", string(b), "no picture came in its place")

	r, err = record.Replace(path)
	require.NoError(t, err)
	require.NoError(t, r.Write(frames(1, time.Now(), 1)[0]))
	require.NoError(t, r.Close())
	b, err = os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, blank(), b)
}

func TestWithoutAPictureNoFileIsLeft(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"empty.mkv", "empty.mjpeg"} {
		path := filepath.Join(dir, name)
		r, err := record.Create(path)
		require.NoError(t, err)
		require.FileExists(t, path)
		require.NoError(t, r.Close())
		require.NoFileExists(t, path)
	}
	// What is no file was there before.
	path := filepath.Join(dir, "device.mkv")
	require.NoError(t, os.Symlink(os.DevNull, path))
	r, err := record.Replace(path)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	_, err = os.Lstat(path)
	require.NoError(t, err)
}
