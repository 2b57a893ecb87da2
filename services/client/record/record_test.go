package record_test

import (
	"bytes"
	"encoding/json"
	"image"
	"image/jpeg"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/client"
	"github.com/framebus/framebus/services/client/record"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func picture(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, jpeg.Encode(&b, image.NewYCbCr(image.Rect(0, 0, 64, 48), image.YCbCrSubsampleRatio420), nil))
	return b.Bytes()
}

// frames are n at 25 a second from a start, as the envelope tells.
func frames(t *testing.T, epoch uint64, from time.Time, n int) (out []*client.Frame) {
	t.Helper()
	pic := picture(t)
	for i := range n {
		at := from.Add(time.Duration(i) * 40 * time.Millisecond)
		h := frame.NewHeader()
		h.Epoch, h.Sequence, h.CapturedUs = epoch, uint64(i+1), at.UnixMicro()
		out = append(out, &client.Frame{Header: h, Stream: "cam0", JPEG: pic, ReceivedAt: at.Add(5 * time.Millisecond)})
	}
	return out
}

// times are those of a file's pictures as ffprobe reads them, in seconds.
func times(t *testing.T, path string) (out []float64) {
	t.Helper()
	probe, err := exec.LookPath("ffprobe")
	if err != nil && os.Getenv("CI") == "" {
		t.Skip("no ffprobe here: apt-get install ffmpeg")
	}
	require.NoError(t, err)
	b, err := exec.Command(probe, "-v", "error", "-show_entries", "packet=pts_time", "-of", "json", path).Output()
	require.NoError(t, err)
	var packets struct {
		Packets []struct {
			PTS string `json:"pts_time"`
		}
	}
	require.NoError(t, json.Unmarshal(b, &packets))
	for _, p := range packets.Packets {
		at, err := strconv.ParseFloat(p.PTS, 64)
		require.NoError(t, err)
		out = append(out, at)
	}
	return out
}

func TestEachPictureIsKeptAtItsTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.mkv")
	r, err := record.Create(path)
	require.NoError(t, err)
	start := time.Now()
	all := frames(t, 1, start, 100)
	later := frames(t, 2, start.Add(10*time.Second), 50) // the owner restarted, and 6 s are missing
	later[0].Missed = 150
	for _, f := range append(all, later...) {
		require.NoError(t, r.Write(f))
	}
	require.NoError(t, r.Close())
	got := times(t, path)
	require.Len(t, got, 150)
	for i, at := range got {
		want := time.Duration(i) * 40 * time.Millisecond
		if i >= 100 {
			want = 10*time.Second + time.Duration(i-100)*40*time.Millisecond
		}
		require.InDelta(t, want.Seconds(), at, 0.001, "picture %d", i)
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
	set := frames(t, 2, start.Add(time.Hour), 10)
	for i, f := range set {
		f.ReceivedAt = start.Add(time.Duration(10+i)*40*time.Millisecond + 5*time.Millisecond)
	}
	for _, f := range append(frames(t, 1, start, 10), set...) {
		require.NoError(t, r.Write(f))
	}
	require.NoError(t, r.Close())
	got := times(t, path)
	require.Len(t, got, 20)
	require.InDelta(t, 0.76, got[19], 0.001)
	require.Empty(t, r.Report().Gaps)
}

// What a killed recorder leaves is a file that was never closed.
func TestAFileThatWasNotEndedCanBeRead(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"out.mkv", "out.mjpeg"} {
		path := filepath.Join(dir, name)
		r, err := record.Create(path)
		require.NoError(t, err)
		for _, f := range frames(t, 1, time.Now(), 100) {
			require.NoError(t, r.Write(f))
		}
		cut := filepath.Join(dir, "cut-"+name)
		require.Eventually(t, func() bool {
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(cut, b[:len(b)-10], 0o600)) // in the middle of a picture
			return len(times(t, cut)) >= 95
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
	require.NoError(t, r.Write(frames(t, 1, time.Now(), 1)[0]))
	require.NoError(t, r.Close())
	b, err = os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, picture(t), b)
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
