//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"path/filepath"
	"testing"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/framebus/framebus/services/internal/source/sourcetest"
	"github.com/stretchr/testify/require"
)

const (
	videoFPS = 30.0
	// lumaError is how far a picture may be from the source's after two rounds of compression, levels of grey.
	lumaError = 6.0
)

func TestEverySourceReachesTenViewers(t *testing.T) {
	clip := filepath.Join(t.TempDir(), "clip.mp4")
	sourcetest.WriteVideo(t, clip, "mp4v", videoFPS, 640, 480, 300)
	rtsp := sourcetest.ServeRTSP(t, 640, 480, videoFPS)
	for name, source := range map[string]string{"pattern": "pattern:", "mp4": "file:" + clip, "rtsp": rtsp.URL} {
		t.Run(name, func(t *testing.T) {
			s := start(t, options{sources: "cam0=" + source})
			ws := watchers(t, 10, client.Config{URL: "http://" + s.addr, Stream: "cam0"})
			everyFrame(t, ws)
			img, err := jpeg.Decode(bytes.NewReader(ws[0].jpeg()))
			require.NoError(t, err)
			if name == "pattern" {
				_, ok := stripOf(img)
				require.True(t, ok, "the strip must be readable")
				return
			}
			y := img.(*image.YCbCr)
			require.Equal(t, 640, y.YStride)
			n, ok := sourcetest.Number(y.Y, 640, 480)
			require.True(t, ok, "the picture must be the source's")
			require.Less(t, sourcetest.LumaError(y.Y, n, 640, 480), lumaError)
		})
	}
}

func TestTheOneProcessEditionShowsTenViewers(t *testing.T) {
	addr, _ := startOne(t)
	ws := watchers(t, 10, client.Config{URL: "http://" + addr, Stream: "cam0"})
	everyFrame(t, ws)
}

// everyFrame looks for five seconds in which every viewer got all of 30 frames a second, in order.
func everyFrame(t *testing.T, ws []*watcher) {
	t.Helper()
	<-time.After(time.Second)
	steadily(t, func() string {
		accs := during(ws, 5*time.Second)
		for i, a := range accs {
			if a.lost > 0 || a.backward > 0 || a.fps < 29.5 || a.fps > 30.5 {
				return fmt.Sprintf("viewer %d: %.2f fps, %d lost, %d backward", i, a.fps, a.lost, a.backward)
			}
		}
		t.Logf("%.2f fps, age p50 %v p95 %v p99 %v", accs[0].fps, accs[0].p50, accs[0].p95, accs[0].p99)
		return ""
	})
}

func TestLargePicturesPass(t *testing.T) {
	for _, size := range [][2]int{{1280, 720}, {1920, 1080}} {
		t.Run(fmt.Sprint(size[1]), func(t *testing.T) {
			addr, _ := startOne(t, "--width", fmt.Sprint(size[0]), "--height", fmt.Sprint(size[1]))
			w := watch(t, client.Config{URL: "http://" + addr, Stream: "cam0", Rung: "full"})
			w.waitFrames(60)
			img, err := jpeg.Decode(bytes.NewReader(w.jpeg()))
			require.NoError(t, err)
			require.Equal(t, image.Rect(0, 0, size[0], size[1]), img.Bounds())
			t.Logf("%.1f fps, age p95 %v", accountOf(w.pictures()).fps, accountOf(w.pictures()).p95)
		})
	}
}
