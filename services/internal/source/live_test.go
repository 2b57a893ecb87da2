package source_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"image/jpeg"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/framebus/framebus/services/internal/source"
	"github.com/framebus/framebus/services/internal/source/sourcetest"
	"github.com/stretchr/testify/require"
)

func serveNotFound(t *testing.T) string {
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	return s.URL
}

// numbers collects which test pictures a source shows, and how far off their luma is at worst.
type numbers struct {
	mu     sync.Mutex
	seen   []int
	worst  float64
	w, h   int
	broken int
}

func (n *numbers) take(pic []byte) {
	luma := pic[:n.w*n.h]
	i, ok := sourcetest.Number(luma, n.w, n.h)
	n.mu.Lock()
	defer n.mu.Unlock()
	if !ok {
		n.broken++
		return
	}
	n.seen = append(n.seen, i)
	n.worst = max(n.worst, sourcetest.LumaError(luma, i, n.w, n.h))
}

func (n *numbers) get() (seen []int, worst float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.seen), n.worst
}

func record(t *testing.T, url string) (*recorder, *numbers) {
	t.Helper()
	n := &numbers{w: 320, h: 240}
	rec := &recorder{onFrame: n.take}
	start(t, parse(t, url, defaults()), rec)
	return rec, n
}

func TestFilesAreShownAsTheyAre(t *testing.T) {
	for _, kind := range []struct{ codec, name string }{{"mp4v", "v.mp4"}, {"MJPG", "v.avi"}} {
		t.Run(kind.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), kind.name)
			sourcetest.WriteVideo(t, path, kind.codec, 50, 320, 240, 20)
			rec, n := record(t, "file:"+path)
			rec.untilLive(t)
			require.InDelta(t, 50, rec.state().fps, 0.01)
			eventually(t, func() bool { seen, _ := n.get(); return len(seen) >= 50 }, "no 50 frames")
			seen, worst := n.get()
			for i, got := range seen {
				require.Equal(t, i%20, got, "frame %d: every frame once, in order, then from the start: %v", i, seen)
			}
			require.Less(t, worst, 3.0)
			require.Equal(t, []state{{false, "opening", 1}, {true, "", 50}}, rec.allStates(), "looping is no loss")
		})
	}
}

func TestAFileMayEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "v.mp4")
	sourcetest.WriteVideo(t, path, "mp4v", 50, 320, 240, 10)
	rec, n := record(t, "file:"+path+"?loop=false")
	rec.untilCause(t, "the file has ended")
	begun, _ := rec.counts()
	eventually(t, func() bool { now, _ := rec.counts(); return now >= begun+3 }, "no slates after the end")
	seen, _ := n.get()
	require.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, seen)

	t.Log("another file in its place is played")
	sourcetest.WriteVideo(t, path, "mp4v", 50, 320, 240, 12)
	eventually(t, func() bool { seen, _ := n.get(); return len(seen) >= 22 }, "the new file is not played")
}

func TestAMissingFileIsASlateUntilItAppears(t *testing.T) {
	dir := t.TempDir()
	rec, n := record(t, "file:"+dir+"/v.mp4")
	rec.untilCause(t, "v.mp4 does not exist")
	eventually(t, func() bool { _, frames := rec.counts(); return frames >= 2 }, "no slates")
	slate := rec.picture()
	require.InDelta(t, 1, rec.state().fps, 0)
	var b bytes.Buffer
	require.NoError(t, jpeg.Encode(&b, asYCbCr(slate, 320, 240), nil))
	keepPicture(t, "slate.jpg", b.Bytes())
	bright := 0
	for _, y := range slate[:320*240] {
		if y > 200 {
			bright++
		}
	}
	require.Greater(t, bright, 500, "the slate says nothing")

	sourcetest.WriteVideo(t, dir+"/writing.mp4", "mp4v", 50, 320, 240, 20)
	require.NoError(t, os.Rename(dir+"/writing.mp4", dir+"/v.mp4"))
	rec.untilLive(t)
	eventually(t, func() bool { seen, _ := n.get(); return len(seen) > 0 }, "no frames of the file")
}

func TestNoVideoIsASlate(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(dir+"/v.mp4", []byte("no video"), 0o600))
	for url, cause := range map[string]string{
		"file:" + dir + "/v.mp4": "cannot be opened as a video",
		"file:" + dir:            "is a directory",
		"camera:250":             "/dev/video250 does not exist",
		serveNotFound(t):         "no such path (404)",
		"rtsp://127.0.0.1:1/x":   "connection refused",
	} {
		t.Run(cause, func(t *testing.T) {
			rec, _ := record(t, url)
			rec.untilCause(t, cause)
			eventually(t, func() bool { _, frames := rec.counts(); return frames >= 2 }, "no slates")
		})
	}
}

func TestANamedPipeWaitsForItsWriter(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, syscall.Mkfifo(dir+"/pipe.avi", 0o600))
	sourcetest.WriteVideo(t, dir+"/v.avi", "MJPG", 50, 320, 240, 100)
	rec, n := record(t, "file:"+dir+"/pipe.avi")
	eventually(t, func() bool { _, frames := rec.counts(); return frames >= 1 }, "no slates")
	video, err := os.ReadFile(dir + "/v.avi")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(dir+"/pipe.avi", video, 0))
	eventually(t, func() bool { seen, _ := n.get(); return len(seen) >= 50 }, "nothing came out of the pipe")
	rec.untilCause(t, "nobody writes to the pipe")
	before, _ := n.get()
	require.NoError(t, os.WriteFile(dir+"/pipe.avi", video, 0))
	eventually(t, func() bool { seen, _ := n.get(); return len(seen) >= len(before)+50 }, "a second writer is not heard")
}

func TestRTSPIsLostAndFound(t *testing.T) {
	cam := sourcetest.ServeRTSP(t, 320, 240, 25)
	rec, n := record(t, strings.Replace(cam.URL, "rtsp://", "rtsp://admin:hunter2@", 1))
	rec.untilLive(t)
	eventually(t, func() bool { seen, _ := n.get(); return len(seen) >= 25 }, "no frames")
	seen, worst := n.get()
	require.True(t, slices.IsSorted(seen), "%v", seen)
	require.Less(t, worst, 3.0)

	cam.Close()
	rec.untilCause(t, "")
	begun, _ := rec.counts()
	eventually(t, func() bool { now, _ := rec.counts(); return now >= begun+2 }, "no slates")
	cam.Restart()
	rec.untilLive(t)
	for _, s := range rec.allStates() {
		require.NotContains(t, s.cause, "hunter2")
	}
}

func TestHTTPCamera(t *testing.T) {
	rec, n := record(t, sourcetest.ServeMJPEG(t, 320, 240, 25)+"/?token=x")
	rec.untilLive(t)
	eventually(t, func() bool { seen, _ := n.get(); return len(seen) >= 25 }, "no frames")
	seen, worst := n.get()
	require.True(t, slices.IsSorted(seen), "%v", seen)
	require.Less(t, worst, 3.0)
}

func TestASilentPeerHoldsNobodyUp(t *testing.T) {
	rec := &recorder{}
	spec := parse(t, "rtsp://admin:hunter2@"+sourcetest.ServeSilence(t)+"/cam", defaults())
	stop := start(t, spec, rec)
	eventually(t, func() bool { _, frames := rec.counts(); return frames >= 1 }, "no slate while opening")
	began := time.Now()
	stop()
	// OpenCV holds on for 3 s, and without the time-outs set for 30.
	require.Less(t, time.Since(began), 2*time.Second)
	for _, s := range rec.allStates() {
		require.NotContains(t, s.cause, "hunter2")
	}
}

func TestWhatNobodyWantsIsReadButNotConverted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "v.mp4")
	sourcetest.WriteVideo(t, path, "mp4v", 50, 320, 240, 20)
	rec := &recorder{unasked: true}
	start(t, parse(t, "file:"+path, defaults()), rec)
	eventually(t, func() bool { begun, _ := rec.counts(); return begun > 50 }, "frames are not offered")
	require.True(t, rec.state().live)
	rec.mu.Lock()
	rec.unasked = false
	rec.mu.Unlock()
	rec.untilLive(t)
}

// stopper is a sink that stops its source a moment after a frame was begun, while OpenCV works at it.
type stopper struct {
	recorder
	after time.Duration
	stop  func()
}

func (s *stopper) Begin(at time.Time, w, h int) []byte {
	time.AfterFunc(s.after, s.stop)
	return s.recorder.Begin(at, w, h)
}

func TestStoppingAmidAFrameFreesNothingInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "v.avi")
	sourcetest.WriteVideo(t, path, "MJPG", 50, 640, 480, 5)
	spec := parse(t, "file:"+path, source.Defaults{Width: 1920, Height: 1080, FPS: 30})
	for i := range 150 {
		ctx, cancel := context.WithCancel(t.Context())
		sink := &stopper{after: time.Duration(i) * time.Millisecond / 10, stop: cancel}
		require.NoError(t, source.Run(ctx, spec, sink, source.Deps{}))
	}
}

func TestProportionsAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "v.avi")
	sourcetest.WriteVideo(t, path, "MJPG", 50, 320, 160, 5)
	for _, size := range [][2]int{{320, 240}, {640, 640}, {160, 240}, {321, 241}, {400, 160}, {33, 35}} {
		w, h := size[0], size[1]
		t.Run(fmt.Sprintf("%d×%d", w, h), func(t *testing.T) {
			rec := &recorder{}
			start(t, parse(t, "file:"+path, source.Defaults{Width: w, Height: h, FPS: 30}), rec)
			rec.untilLive(t)
			pic := asYCbCr(rec.picture(), w, h)
			// The picture is 2:1, so that its middle is to be lit, and what is left of the longer way is to be black.
			fw, fh := w, w/2
			if fh > h {
				fw, fh = h*2, h
			}
			black := func(x, y int) {
				c := pic.YCbCrAt(x, y)
				require.Less(t, c.Y, uint8(8), "%d,%d", x, y)
				require.InDelta(t, 128, int(c.Cb), 8)
				require.InDelta(t, 128, int(c.Cr), 8)
			}
			if bar := (h - fh) / 2; bar > 2 {
				black(w/2, bar-3)
				black(w/2, h-bar+2)
			}
			if bar := (w - fw) / 2; bar > 2 {
				black(bar-3, h/2)
				black(w-bar+2, h/2)
			}
			require.InDelta(t, 40+150/2+50/2, int(pic.YCbCrAt(w/2, h/2).Y), 16)
			require.Greater(t, pic.YCbCrAt(w/2, (h-fh)/2+fh-2).Y, uint8(30), "the picture's lower edge is missing")
			require.Greater(t, pic.YCbCrAt((w-fw)/2+fw-2, h/2).Y, uint8(30), "the picture's right edge is missing")
		})
	}
}

func TestColoursAreKept(t *testing.T) {
	for _, size := range [][2]int{{320, 240}, {161, 121}} {
		w, h := size[0], size[1]
		path := filepath.Join(t.TempDir(), "v.avi")
		sourcetest.WriteVideo(t, path, "MJPG", 50, 320, 240, 5)
		rec := &recorder{}
		start(t, parse(t, "file:"+path, source.Defaults{Width: w, Height: h, FPS: 30}), rec)
		rec.untilLive(t)
		got, want := asYCbCr(rec.picture(), w, h), sourcetest.Picture(0, 320, 240)
		for y := h / 4; y < h-4; y += h / 7 {
			for x := 4; x < w-4; x += w / 9 {
				g, o := got.YCbCrAt(x, y), want.YCbCrAt(x*320/w, y*240/h)
				require.InDelta(t, int(o.Y), int(g.Y), 14)
				require.InDelta(t, int(o.Cb), int(g.Cb), 6, "Cb at %d,%d", x, y)
				require.InDelta(t, int(o.Cr), int(g.Cr), 6, "Cr at %d,%d", x, y)
			}
		}
	}
}

// serveHalfDead starts an RTSP peer that passes for alive, and says nothing once FFmpeg is let at it, which then holds
// FFmpeg's lock. opens counts how often that was.
func serveHalfDead(t *testing.T) (hostport string, opens *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var conns sync.WaitGroup
	opens = new(atomic.Int32)
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer func() { _ = c.Close() }()
				line, _ := bufio.NewReader(c).ReadString('\n')
				if strings.HasPrefix(line, "DESCRIBE") {
					_, _ = c.Write([]byte("RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n\r\n"))
					return
				}
				opens.Add(1)
				_, _ = io.Copy(io.Discard, c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		conns.Wait()
	})
	return l.Addr().String(), opens
}

func TestABrokenSourceHoldsNoOtherUp(t *testing.T) {
	peer, opens := serveHalfDead(t)
	cam := sourcetest.ServeRTSP(t, 320, 240, 25)
	healthy, n := record(t, cam.URL)
	healthy.untilLive(t)
	broken, _ := record(t, "rtsp://"+peer+"/cam")
	eventually(t, func() bool { return opens.Load() == 1 }, "FFmpeg was never let at the broken peer")
	before, _ := n.get()
	eventually(t, func() bool { now, _ := n.get(); return len(now) >= len(before)+25 }, "the healthy one stands still")
	require.EqualValues(t, 1, opens.Load(), "the broken peer was given up before the healthy one went on")
	broken.untilCause(t, "no answer within 3s")
	require.Len(t, healthy.allStates(), 2)
}
