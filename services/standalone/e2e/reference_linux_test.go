//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/stretchr/testify/require"
)

// sharedMemory is a folder of the test's own, in which nothing may be left at its end.
func sharedMemory(t *testing.T) (path string) {
	t.Helper()
	path, err := os.MkdirTemp("/dev/shm", "framebus-test-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(path)) })
	return path
}

// regionsIn are the files of regions, by name.
func regionsIn(t *testing.T, path string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(path)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// newRegion waits until there is one region and no other, which is not old.
func newRegion(t *testing.T, path, old string) (name string) {
	t.Helper()
	require.Eventually(t, func() bool {
		names := regionsIn(t, path)
		if len(names) != 1 {
			return false
		}
		name = names[0]
		return name != old
	}, patience, 10*time.Millisecond, "regions: %v, the old one was %s", regionsIn(t, path), old)
	return name
}

// metricOf is what a service's metric says, summed over the series that have the label; 0 where there are none.
func metricOf(t *testing.T, admin, name, label string) (sum float64) {
	t.Helper()
	_, body := get(t, "http://"+admin+"/metrics")
	series := regexp.MustCompile(`(?m)^` + name + `\{[^}]*` + regexp.QuoteMeta(label) + `[^}]*\} (\S+)$`)
	for _, m := range series.FindAllStringSubmatch(body, -1) {
		n, err := strconv.ParseFloat(m[1], 64)
		require.NoError(t, err)
		sum += n
	}
	return sum
}

// takesMore waits until an encoder has taken n more frames, by reference or not.
func takesMore(t *testing.T, admin string, n float64, byReference bool) {
	t.Helper()
	count := func() (referred, inline float64) {
		referred = metricOf(t, admin, "framebus_encoder_references_total", `result="followed"`)
		return referred, metricOf(t, admin, "framebus_encoder_frames_total", `fate="encoded"`) - referred
	}
	referred, inline := count()
	require.Eventually(t, func() bool {
		r, i := count()
		if byReference {
			return r >= referred+n
		}
		return i >= inline+n && r == 0
	}, patience, 20*time.Millisecond, "the encoder at %s gets no frames, by reference: %v", admin, byReference)
}

// keeper is a viewer that keeps every picture, to be looked at when nothing else is to be done.
type keeper struct {
	mu       sync.Mutex
	pictures []shot
}

type shot struct {
	epoch, sequence uint64
	capturedUs      int64
	jpeg            []byte
}

func keep(t *testing.T, url string) *keeper {
	t.Helper()
	k := &keeper{}
	v, err := client.New(client.Config{URL: url, Every: true, Queue: 512}, client.Deps{OnFrame: func(f *client.Frame) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.pictures = append(k.pictures, shot{
			f.Header.Epoch, f.Header.Sequence, f.Header.CapturedUs, bytes.Clone(f.JPEG),
		})
		f.Release()
	}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = v.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return k
}

func (k *keeper) all() []shot {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.pictures[:len(k.pictures):len(k.pictures)]
}

// waitMore waits for n more pictures.
func (k *keeper) waitMore(t *testing.T, n int) {
	t.Helper()
	want := len(k.all()) + n
	require.Eventually(t, func() bool { return len(k.all()) >= want }, patience, 2*time.Millisecond,
		"pictures do not come any more")
}

// scroll knows the test pattern's texture, which moves sideways as a whole: where parts of a picture have moved
// differently they are not of one frame.
type scroll struct{ ref *image.YCbCr }

const (
	bandRows = 24
	// Below this a band is where the whole picture is: a slot's next frame is 16 px further at least.
	bandSlack = 6
)

func decode(t *testing.T, data []byte) *image.YCbCr {
	t.Helper()
	img, err := jpeg.Decode(bytes.NewReader(data))
	require.NoError(t, err)
	y, ok := img.(*image.YCbCr)
	require.True(t, ok)
	return y
}

// moved is how far rows from..to have moved, in pixels: the best of reach to either side of about.
func (s scroll) moved(img *image.YCbCr, from, to, rowStep, about, reach, step int) (best int) {
	w := s.ref.Rect.Dx()
	least := -1
	for d := about - reach; d <= about+reach; d += step {
		sum := 0
		for y := from; y < to; y += rowStep {
			a, b := s.ref.Y[y*s.ref.YStride:][:w], img.Y[y*img.YStride:][:w]
			for x := 0; x < w; x += 8 {
				diff := int(b[x]) - int(a[((x+d)%w+w)%w])
				sum += min(max(diff, -diff), 24) // what lies over the texture must not decide
			}
		}
		if least < 0 || sum < least {
			least, best = sum, d
		}
	}
	return best
}

// torn tells of the first band that has moved differently; ok where there is none.
func (s scroll) torn(img *image.YCbCr) (what string, ok bool) {
	w, h := s.ref.Rect.Dx(), s.ref.Rect.Dy()
	top := h / 2 // below the texts
	all := s.moved(img, top, h, 32, 0, w/2, 4)
	for y := top; y+bandRows <= h; y += bandRows {
		if band := s.moved(img, y, y+bandRows, 6, all, 64, 2); max(band-all, all-band) > bandSlack {
			return fmt.Sprintf("rows from %d have moved %d px, the picture %d", y, band, all), false
		}
	}
	return "", true
}

// spliced is a picture whose lower part is another's.
func spliced(a, b *image.YCbCr) *image.YCbCr {
	c := *a
	c.Y = bytes.Clone(a.Y)
	from := a.Rect.Dy() * 3 / 4 * a.YStride
	copy(c.Y[from:], b.Y[from:])
	return &c
}

// Whatever ends, freezes or is deleted while frames lie in shared memory: no viewer ever sees a picture of two frames,
// frames find another way at once, and the ledger knows of each.
func TestFramesByReferenceSurviveWhateverEnds(t *testing.T) {
	dir := sharedMemory(t)
	admin := []string{freeAddr(t), freeAddr(t), freeAddr(t)}
	s := start(t, options{
		env:     []string{"FRAMEBUS_SHM=" + dir},
		encoder: []string{"--instance", "enc-1", "--workers", "1", "--admin-listen", admin[0]},
	})
	second := s.startEncoder("enc-2", "--workers", "1", "--admin-listen", admin[1])
	inline := runEnv(t, append(s.env, "FRAMEBUS_SHM=off"), binary(t, "encoder"), "--nats-url", s.natsURL,
		"--instance", "enc-3", "--workers", "1", "--admin-listen", admin[2])
	for _, a := range admin {
		waitReady(t, a)
	}
	viewer := keep(t, s.ws("stream=cam0&rung=full"))
	viewer.waitMore(t, 30)
	all := func() {
		t.Helper()
		takesMore(t, admin[0], 5, true)
		takesMore(t, admin[1], 5, true)
		takesMore(t, admin[2], 5, false)
	}
	all()
	region := newRegion(t, dir, "")

	require.NoError(t, os.Remove(filepath.Join(dir, region)), "while all read there")
	viewer.waitMore(t, 10)
	region = newRegion(t, dir, region)
	all()

	s.capture.kill()
	s.capture = s.startCapture("--sources", "cam0=pattern:")
	region = newRegion(t, dir, region)
	viewer.waitMore(t, 10)
	all()

	second.signal(syscall.SIGSTOP) // so that it has a frame
	viewer.waitMore(t, 6)
	second.kill()
	viewer.waitMore(t, 30)
	second = s.startEncoder("enc-2", "--workers", "1", "--admin-listen", admin[1])
	waitReady(t, admin[1])
	all()

	overwritten := func() float64 {
		return metricOf(t, admin[0], "framebus_encoder_frames_total", `fate="overwritten"`)
	}
	for i := 0; i < 6 || overwritten() == 0; i++ {
		require.Less(t, i, 20, "no frame was ever overwritten")
		viewer.waitMore(t, 70+i) // its origin expects it to be quick again
		s.encoder.signal(syscall.SIGSTOP)
		<-time.After(750 * time.Millisecond) // after a second the frames are stale
		s.encoder.signal(syscall.SIGCONT)
	}
	t.Logf("%.0f frames were overwritten", overwritten())
	all()
	require.Equal(t, []string{region}, regionsIn(t, dir))

	require.Positive(t, overwritten())
	viewer.waitMore(t, 120) // late answers are booked by then
	s.capture.stop()
	e := closedBook(t, s.addr, 1)
	adds(t, e)
	require.Equal(t, e.Sequence, e.Captured.Total)
	require.Positive(t, e.Published.Done["overwritten"], "%+v", e.Published)
	require.Zero(t, e.Published.Open)
	t.Logf("%+v", e.Published)
	for _, p := range []*process{s.encoder, second, inline, s.gateway} {
		p.stop()
	}
	require.Empty(t, regionsIn(t, dir))

	pictures := viewer.all()
	look := scroll{decode(t, pictures[0].jpeg)}
	_, whole := look.torn(spliced(decode(t, pictures[0].jpeg), decode(t, pictures[8].jpeg)))
	require.False(t, whole, "a torn picture must be noticed")
	for _, p := range pictures {
		img := decode(t, p.jpeg)
		us, ok := stripOf(img)
		require.True(t, ok, "frame %d of %d has no strip", p.sequence, p.epoch)
		require.InDelta(t, p.capturedUs, us, 150_000, "frame %d of %d shows another", p.sequence, p.epoch)
		what, ok := look.torn(img)
		require.True(t, ok, "frame %d of %d is torn: %s", p.sequence, p.epoch, what)
	}
	t.Logf("%d pictures, none torn", len(pictures))
}
