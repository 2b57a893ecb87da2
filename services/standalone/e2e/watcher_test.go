//go:build e2e || compose

package e2e

import (
	"bytes"
	"context"
	"image"
	"image/jpeg"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/client"
	"github.com/framebus/framebus/services/internal/source/sourcetest"
	"github.com/stretchr/testify/require"
)

// watcher is a viewer that keeps an account of every picture it got, in the order of arrival.
type watcher struct {
	t      *testing.T
	viewer *client.Viewer
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	seen   []picture
	newest []byte
	err    error
}

// picture is what a watcher notes of one.
type picture struct {
	epoch, sequence uint64
	at              time.Time
	capturedUs      int64
	stripUs         int64 // 0 where it was not read
	bytes           int
	rung, quality   int
	width, height   int
	rawHop, jpegHop time.Duration // from its publishing to an encoder, and from there to the gateway
}

// age is from the strip, drawn as the source handed the picture over, or where that was not read from the envelope's
// time of capture, which is the same moment; both on this machine's clock.
func (p picture) age() time.Duration {
	us := p.capturedUs
	if p.stripUs != 0 {
		us = p.stripUs
	}
	return p.at.Sub(time.UnixMicro(us))
}

// stripEvery is how many pictures apart the strip is read: decoding every one would cost more than framebus does.
const stripEvery = 15

// watch dials and keeps an account until the test ends.
func watch(t *testing.T, cfg client.Config) *watcher {
	t.Helper()
	cfg.Every = true
	cfg.Queue = 512
	return watchBy(t, cfg, nil)
}

// watchBy is watch for a client that is set up already, and may connect in its own way.
func watchBy(t *testing.T, cfg client.Config, dial func(context.Context, string, string) (net.Conn, error)) *watcher {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{t: t, cancel: cancel, done: make(chan struct{})}
	v, err := client.New(cfg, client.Deps{OnFrame: w.note, Dial: dial})
	require.NoError(t, err)
	w.viewer = v
	go func() {
		defer close(w.done)
		err := v.Run(ctx)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.err = err
	}()
	t.Cleanup(w.stop)
	return w
}

// watchers dials n of them and waits until each has its first picture.
func watchers(t *testing.T, n int, cfg client.Config) []*watcher {
	t.Helper()
	ws := make([]*watcher, n)
	for i := range ws {
		ws[i] = watch(t, cfg)
	}
	for _, w := range ws {
		w.waitFrames(1)
	}
	return ws
}

func (w *watcher) stop() {
	w.cancel()
	<-w.done
}

func (w *watcher) note(f *client.Frame) {
	p := picture{
		epoch: f.Header.Epoch, sequence: f.Header.Sequence, at: f.ReceivedAt, capturedUs: f.Header.CapturedUs,
		bytes: len(f.JPEG), rung: int(f.Header.Rung), quality: int(f.Header.Quality),
		width: int(f.Header.Width), height: int(f.Header.Height),
		rawHop:  time.Duration(f.Header.HopUs[frame.Taken]-f.Header.HopUs[frame.Published]) * time.Microsecond,
		jpegHop: time.Duration(f.Header.HopUs[frame.Received]-f.Header.HopUs[frame.Encoded]) * time.Microsecond,
	}
	w.add(p, f.JPEG)
	f.Release()
}

func (w *watcher) add(p picture, jpeg []byte) {
	every := stripEvery
	if p.capturedUs == 0 { // nothing else tells
		every = 1
	}
	w.mu.Lock()
	read := len(w.seen)%every == 0
	w.mu.Unlock()
	if read {
		us, ok := readStrip(jpeg)
		// Test videos have numbers where the pattern has its clock.
		if ok && (p.capturedUs == 0 || time.UnixMicro(us).Sub(time.UnixMicro(p.capturedUs)).Abs() < time.Second) {
			p.stripUs = us
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, p)
	w.newest = append(w.newest[:0], jpeg...)
}

// readStrip decodes a picture and reads the latency strip off it.
func readStrip(data []byte) (us int64, ok bool) {
	img, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		return 0, false
	}
	return stripOf(img)
}

func stripOf(img image.Image) (us int64, ok bool) {
	y, ok := img.(*image.YCbCr)
	if !ok {
		return 0, false
	}
	b := y.Bounds()
	luma := func(px, py int) uint8 { return y.Y[y.YOffset(b.Min.X+px, b.Min.Y+py)] }
	return frame.ReadStrip(luma, b.Dx(), b.Dy(), time.Now().UnixMicro())
}

// showsSource tells one of sourcetest's pictures from a slate: it bears a number.
func showsSource(data []byte) bool {
	img, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		return false
	}
	y, ok := img.(*image.YCbCr)
	if !ok || y.YStride < y.Bounds().Dx() {
		return false
	}
	w, h := y.Bounds().Dx(), y.Bounds().Dy()
	luma := make([]byte, 0, w*h)
	for row := range h {
		luma = append(luma, y.Y[row*y.YStride:row*y.YStride+w]...)
	}
	_, ok = sourcetest.Number(luma, w, h)
	return ok
}

func (w *watcher) pictures() []picture {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen)
}

func (w *watcher) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seen)
}

// jpeg is the newest picture.
func (w *watcher) jpeg() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.newest)
}

// waitFrames waits for n pictures more than there are.
func (w *watcher) waitFrames(n int) {
	w.t.Helper()
	want := w.count() + n
	require.Eventually(w.t, func() bool { return w.count() >= want }, patience, 2*time.Millisecond,
		"pictures do not come: %d of %d", w.count(), want)
}

// firstAfter waits for a picture captured after t and returns when it came.
func (w *watcher) firstAfter(t time.Time) time.Time {
	w.t.Helper()
	var at time.Time
	require.Eventually(w.t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for i := len(w.seen) - 1; i >= 0 && w.seen[i].at.After(t); i-- {
			if w.seen[i].capturedUs > t.UnixMicro() {
				at = w.seen[i].at
			}
		}
		return !at.IsZero()
	}, patience, 2*time.Millisecond, "no picture any more")
	return at
}

// longestGap is the longest time without a picture.
func (w *watcher) longestGap(from, to time.Time) (gap time.Duration) {
	last := from
	for _, p := range w.pictures() {
		if p.at.After(last) && p.at.Before(to) {
			gap, last = max(gap, p.at.Sub(last)), p.at
		}
	}
	return max(gap, to.Sub(last))
}

// account is what a stretch of pictures amounts to.
type account struct {
	frames        int
	lost          uint64 // gaps in the sequence
	backward      int    // pictures that are no later than the one before
	fps           float64
	p50, p95, p99 time.Duration
	strips        int // pictures whose strip was read
}

// between is the account of what arrived from a to b.
func (w *watcher) between(a, b time.Time) account {
	var in []picture
	for _, p := range w.pictures() {
		if !p.at.Before(a) && p.at.Before(b) {
			in = append(in, p)
		}
	}
	return accountOf(in)
}

func accountOf(in []picture) account {
	acc := account{frames: len(in)}
	ages := make([]time.Duration, 0, len(in))
	for i, p := range in {
		if p.capturedUs != 0 || p.stripUs != 0 {
			ages = append(ages, p.age())
		}
		if p.stripUs != 0 {
			acc.strips++
		}
		if i == 0 {
			continue
		}
		prev := in[i-1]
		switch {
		case p.epoch < prev.epoch, p.epoch == prev.epoch && p.sequence <= prev.sequence:
			acc.backward++
		case p.epoch == prev.epoch:
			acc.lost += p.sequence - prev.sequence - 1
		}
	}
	if len(in) > 1 {
		acc.fps = float64(len(in)-1) / in[len(in)-1].at.Sub(in[0].at).Seconds()
	}
	slices.Sort(ages)
	acc.p50, acc.p95, acc.p99 = percentile(ages, 50), percentile(ages, 95), percentile(ages, 99)
	return acc
}

// percentile p of sorted ages, by nearest rank; 0 where there are none.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max((len(sorted)*p+99)/100-1, 0)]
}

// during waits for d and returns the accounts of what arrived meanwhile.
func during(ws []*watcher, d time.Duration) []account {
	from := time.Now()
	<-time.After(d)
	to := time.Now()
	accs := make([]account, len(ws))
	for i, w := range ws {
		accs[i] = w.between(from, to)
	}
	return accs
}

// steadily repeats a measurement that a busy machine may spoil: it passes if one of three tries passes check, and
// fails with the words of the last. What is measured each time is new.
func steadily(t *testing.T, measure func() (wrong string)) {
	t.Helper()
	const tries = 3
	for try := 1; ; try++ {
		wrong := measure()
		if wrong == "" {
			return
		}
		t.Logf("try %d: %s", try, wrong)
		if try == tries {
			t.Fatal(wrong)
		}
	}
}
