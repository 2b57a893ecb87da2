package source

import (
	"context"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/internal/source/sourcetest"
	"github.com/stretchr/testify/require"
	"gocv.io/x/gocv"
)

func BenchmarkPattern(b *testing.B) {
	for _, size := range [][2]int{{640, 480}, {1920, 1080}} {
		w, h := size[0], size[1]
		b.Run(fmt.Sprintf("%dx%d", w, h), func(b *testing.B) {
			p := newPattern("cam0", w, h)
			buf := make([]byte, frame.PayloadSize(frame.I420, w, h))
			at := time.Now()
			b.ReportAllocs()
			for n := uint64(0); b.Loop(); n++ {
				p.draw(buf, n, at)
				frame.PutStrip(buf[:w*h], w, h, at.UnixMicro())
			}
		})
	}
}

func BenchmarkConvert(b *testing.B) {
	quiet()
	for _, from := range [][2]int{{640, 480}, {1280, 720}, {1920, 1080}} {
		b.Run(fmt.Sprintf("%dx%d-to-640x480", from[0], from[1]), func(b *testing.B) {
			src := gocv.NewMatWithSizeFromScalar(gocv.NewScalar(30, 60, 90, 0), from[1], from[0], gocv.MatTypeCV8UC3)
			defer func() { _ = src.Close() }()
			c := newConverter(640, 480)
			defer c.close()
			buf := make([]byte, frame.PayloadSize(frame.I420, 640, 480))
			b.ReportAllocs()
			for b.Loop() {
				require.NoError(b, c.into(buf, src))
			}
		})
	}
}

// tally is a sink that keeps nothing.
type tally struct {
	buf    []byte
	frames int
	enough int
	stop   func()
}

func (t *tally) Begin(time.Time, int, int) []byte { return t.buf }

func (t *tally) Commit() {
	if t.frames++; t.frames >= t.enough {
		t.stop()
	}
}

func (t *tally) State(bool, string, float64) {}

// BenchmarkRun runs sources in real time, 150 frames at 30 a second, and tells what part of a core each takes.
func BenchmarkRun(b *testing.B) {
	file := filepath.Join(b.TempDir(), "v.mp4")
	sourcetest.WriteVideo(b, file, "mp4v", 30, 640, 480, 60)
	for name, url := range map[string]func(*testing.B) string{
		"pattern": func(*testing.B) string { return "pattern:" },
		"mp4":     func(*testing.B) string { return "file:" + file },
		"rtsp-mjpeg-incl-server": func(b *testing.B) string {
			return sourcetest.ServeRTSP(b, 640, 480, 30).URL
		},
	} {
		b.Run(name, func(b *testing.B) {
			specs, err := ParseList("cam0="+url(b), Defaults{Width: 640, Height: 480, FPS: 30})
			require.NoError(b, err)
			for b.Loop() {
				ctx, cancel := context.WithCancel(context.Background())
				sink := &tally{buf: make([]byte, frame.PayloadSize(frame.I420, 640, 480)), enough: 150, stop: cancel}
				began, cpu := time.Now(), cpuTime(b)
				require.NoError(b, Run(ctx, specs[0], sink, Deps{}))
				b.ReportMetric(100*float64(cpuTime(b)-cpu)/float64(time.Since(began)), "%core")
				b.ReportMetric(float64(sink.frames)/time.Since(began).Seconds(), "fps")
			}
		})
	}
}

func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	require.NoError(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
