package source_test

import (
	"context"
	"fmt"
	"image"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/internal/source"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// patience is for what takes milliseconds on an idle machine.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	if list := os.Getenv(childSources); list != "" {
		child(list)
		return
	}
	code := m.Run()
	if code == 0 {
		// A call into OpenCV that was left behind comes back when FFmpeg's time-outs have passed.
		until := time.Now().Add(patience)
		for goleak.Find() != nil && time.Now().Before(until) {
			continue // Find itself waits
		}
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func defaults() source.Defaults { return source.Defaults{Width: 320, Height: 240, FPS: 30} }

func parse(tb testing.TB, url string, def source.Defaults) source.Spec {
	tb.Helper()
	specs, err := source.ParseList("cam0="+url, def)
	require.NoError(tb, err)
	require.Len(tb, specs, 1)
	return specs[0]
}

type state struct {
	live  bool
	cause string
	fps   float64
}

// recorder is a sink that keeps the newest picture and everything it was told.
type recorder struct {
	mu      sync.Mutex
	unasked bool // nobody wants frames
	begun   int
	frames  int
	buf     []byte
	w, h    int
	at      time.Time
	newest  []byte
	states  []state
	onFrame func(pic []byte)
}

func (r *recorder) Begin(at time.Time, w, h int) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun++
	if r.unasked {
		return nil
	}
	r.at, r.w, r.h = at, w, h
	r.buf = make([]byte, frame.PayloadSize(frame.I420, w, h))
	return r.buf
}

func (r *recorder) Commit() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frames++
	r.newest = r.buf
	if r.onFrame != nil {
		r.onFrame(r.newest)
	}
}

func (r *recorder) State(live bool, cause string, fps float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states = append(r.states, state{live, cause, fps})
}

func (r *recorder) counts() (begun, frames int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.begun, r.frames
}

func (r *recorder) picture() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.newest
}

func (r *recorder) state() state {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.states) == 0 {
		return state{}
	}
	return r.states[len(r.states)-1]
}

func (r *recorder) allStates() []state {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]state(nil), r.states...)
}

// start runs a source until stop is called, at the latest when the test ends.
func start(tb testing.TB, spec source.Spec, sink source.Sink) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- source.Run(ctx, spec, sink, source.Deps{Log: slog.New(slog.DiscardHandler)}) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			require.NoError(tb, err)
		case <-time.After(patience):
			tb.Error("Run did not end")
		}
	})
	tb.Cleanup(stop)
	return stop
}

func eventually(tb testing.TB, ok func() bool, what string) {
	tb.Helper()
	require.Eventually(tb, ok, patience, 10*time.Millisecond, what)
}

func (r *recorder) untilLive(tb testing.TB) {
	tb.Helper()
	eventually(tb, func() bool { return r.state().live }, "the source never became live")
	_, n := r.counts()
	eventually(tb, func() bool { _, now := r.counts(); return now > n }, "a live source gives no frames")
}

func (r *recorder) untilCause(tb testing.TB, part string) {
	tb.Helper()
	eventually(tb, func() bool { s := r.state(); return !s.live && strings.Contains(s.cause, part) },
		"never failed for the reason: "+part)
}

// asYCbCr looks at an I420 buffer as a picture.
func asYCbCr(buf []byte, w, h int) *image.YCbCr {
	cw, ch := (w+1)/2, (h+1)/2
	return &image.YCbCr{
		Y: buf[:w*h], Cb: buf[w*h : w*h+cw*ch], Cr: buf[w*h+cw*ch:], YStride: w, CStride: cw,
		SubsampleRatio: image.YCbCrSubsampleRatio420, Rect: image.Rect(0, 0, w, h),
	}
}
