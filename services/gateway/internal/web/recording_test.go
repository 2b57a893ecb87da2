package web_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/stretchr/testify/require"
)

// catchSaves keeps what the page saves instead of saving it.
const catchSaves = `window.saved = [];
	const make = URL.createObjectURL;
	let blob;
	URL.createObjectURL = (b) => make.call(URL, (blob = b));
	HTMLAnchorElement.prototype.click = function () {
		const name = this.download;
		window.saved.push(blob.arrayBuffer().then((b) => ({ name,
			data: btoa(Array.from(new Uint8Array(b), (x) => String.fromCharCode(x)).join('')) })));
	}`

// saved waits for the n-th file that the page saved.
func (b *tab) saved(n int) (name string, data []byte) {
	b.t.Helper()
	b.eventually(fmt.Sprintf("window.saved.length > %d", n), "a file is saved")
	var file struct{ Name, Data string }
	b.eval(fmt.Sprintf("window.saved[%d]", n), &file)
	data, err := base64.StdEncoding.DecodeString(file.Data)
	require.NoError(b.t, err)
	return file.Name, data
}

func recording(t *testing.T, ctx context.Context) {
	s := newStand(t, 480, 360, 10)
	b := open(t, ctx, "http://"+s.addr+"/", 1280, 720, false)
	b.eventually(painting3, "pictures are painted")
	b.eval(catchSaves, nil)
	b.press("r")
	b.eventually("!document.querySelector('#recording').hidden && "+
		"document.querySelector('[data-action=record]').getAttribute('aria-pressed') === 'true'", "the page says so")
	var from int
	b.eval("framebus.stats().totals.painted", &from)
	b.eventually("/^0:0[2-9] · [0-9.]+ MB$/.test(document.querySelector('#recording').textContent)", "how long it is")
	// It goes on while nobody looks.
	open(t, ctx, "about:blank", 1280, 720, false)
	var received int
	b.eval("framebus.stats().totals.received", &received)
	b.eventually(fmt.Sprintf("framebus.stats().totals.received > %d", received+10), "a hidden tab gets pictures")
	b.front()
	var to int
	b.eval("framebus.stats().totals.received", &to)
	b.keep("recording")
	b.press("r")
	name, data := b.saved(0)
	require.Regexp(t, `^cam0-\d{4}-.*Z\.mkv$`, name)
	b.eventually("document.querySelector('#recording').hidden", "it says that it does not any more")

	pictures := demux(t, data)
	require.Greater(t, len(pictures), to-from-4, "every picture that came")
	first := stripUs(t, pictures[0].jpeg)
	for i, p := range pictures {
		require.InDelta(t, float64(stripUs(t, p.jpeg)-first)/1000, float64(p.ms), 1.1, "picture %d is at its own time", i)
	}
	probe(t, data, len(pictures), time.Duration(pictures[len(pictures)-1].ms)*time.Millisecond)
	require.Empty(t, b.complaints())
}

func stripUs(t *testing.T, data []byte) int64 {
	t.Helper()
	img, err := jpeg.Decode(bytes.NewReader(data))
	require.NoError(t, err)
	y, ok := img.(*image.YCbCr)
	require.True(t, ok)
	require.Equal(t, image.Pt(480, 360), y.Rect.Size())
	us, ok := frame.ReadStrip(func(x, row int) uint8 { return y.Y[y.YOffset(x, row)] }, 480, 360, time.Now().UnixMicro())
	require.True(t, ok, "the picture is whole")
	return us
}

// film is a picture of a Matroska file, ms after its first.
type film struct {
	ms   int
	jpeg []byte
}

// demux reads what the page writes: ids as they stand, sizes of eight bytes, one track.
func demux(t *testing.T, data []byte) (pictures []film) {
	t.Helper()
	const ebml, segment, cluster, timestamp, simpleBlock = 0x1a45dfa3, 0x18538067, 0x1f43b675, 0xe7, 0xa3
	number := func(b []byte) (n int) {
		for _, x := range b {
			n = n<<8 | int(x)
		}
		return n
	}
	began := 0
	var walk func(data []byte)
	walk = func(data []byte) {
		for len(data) > 0 {
			length := 1
			for data[0]<<(length-1)&0x80 == 0 {
				length++
			}
			id, size := number(data[:length]), number(data[length+1:length+8])
			require.EqualValues(t, 1, data[length], "a size of eight bytes")
			body := data[length+8:][:size]
			data = data[length+8+size:]
			switch id {
			case segment, cluster:
				walk(body)
			case timestamp:
				began = number(body)
			case simpleBlock:
				pictures = append(pictures, film{began + number(body[1:3]), body[4:]})
			}
		}
	}
	require.Equal(t, ebml, number(data[:4]))
	walk(data)
	return pictures
}

// probe has another program read it; last is when the last picture is shown.
func probe(t *testing.T, data []byte, frames int, last time.Duration) {
	t.Helper()
	ffprobe, err := exec.LookPath("ffprobe")
	if err != nil {
		require.Empty(t, os.Getenv("CI"), "recordings must be read by ffprobe in CI")
		t.Log("NOT RUN: no ffprobe on this machine, so no other program read the recording")
		return
	}
	path := filepath.Join(t.TempDir(), "film.mkv")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	out, err := exec.CommandContext(t.Context(), ffprobe, "-v", "warning", "-count_frames", "-of", "csv=p=0",
		"-show_entries", "stream=codec_name,width,height,nb_read_frames", path).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, fmt.Sprintf("mjpeg,480,360,%d", frames), strings.TrimSpace(string(out)))
	out, err = exec.CommandContext(t.Context(), ffprobe, "-v", "warning", "-of", "csv=p=0", "-show_entries",
		"format=duration", path).CombinedOutput()
	require.NoError(t, err, string(out))
	seconds, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	require.NoError(t, err, string(out))
	// The last picture stays for as long as those before it did.
	require.InDelta(t, (last + last/time.Duration(frames-1)).Seconds(), seconds, 0.1)
}
