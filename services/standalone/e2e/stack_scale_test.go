//go:build compose

package e2e

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/framebus/framebus/services/internal/source/sourcetest"
	"github.com/stretchr/testify/require"
)

// clip is a folder with a video of 1280×960, clip.mp4, that any user may read.
func clip(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	file := filepath.Join(dir, "clip.mp4")
	sourcetest.WriteVideo(t, file, "mp4v", 30, 1280, 960, 150)
	for path := dir; path != os.TempDir() && len(path) > 1; path = filepath.Dir(path) {
		require.NoError(t, os.Chmod(path, 0o755))
	}
	require.NoError(t, os.Chmod(file, 0o644))
	return dir
}

// TestComposeWithTwoOfEverything has a video beside the pattern, two captures, and two gateways behind the balancer.
func TestComposeWithTwoOfEverything(t *testing.T) {
	s := newStack(t, []string{"deploy/compose.gateways.yml"}, "FRAMEBUS_VIDEOS="+clip(t),
		"FRAMEBUS_SOURCES=cam0=pattern:,clip=file:/videos/clip.mp4")
	t.Logf("up after %v", s.up("--scale", "gateway=2", "--scale", "capture=2", "balancer").Round(time.Millisecond))
	for _, stream := range []string{"cam0", "clip"} {
		require.Eventually(t, func() bool { return s.stream(stream).State == "live" }, patience, 100*time.Millisecond, stream)
	}
	s.run(t, "a video is decoded and scaled beside the pattern", videoBesidePattern)
	s.run(t, "one of two gateways is replaced under load", gatewayIsReplaced)
	s.run(t, "the second capture takes over", captureTakesOver)
}

func videoBesidePattern(t *testing.T, s *stack) {
	pattern := watchers(t, 1, client.Config{URL: s.ws("stream=cam0")})
	video := watchers(t, 1, client.Config{URL: s.ws("stream=clip")})
	require.Eventually(t, func() bool { return showsScaled(video[0].jpeg()) }, patience, 50*time.Millisecond,
		"the video's pictures are not shown")
	steadily(t, func() string {
		for _, acc := range during(append(pattern, video...), 4*time.Second) {
			if acc.fps < fullRate {
				return fmt.Sprintf("%.2f frames a second", acc.fps)
			}
		}
		return ""
	})
	for _, w := range append(pattern, video...) {
		p := w.pictures()
		require.Equal(t, [2]int{640, 480}, [2]int{p[len(p)-1].width, p[len(p)-1].height})
	}
	require.NotZero(t, pattern[0].between(time.Time{}, time.Now()).strips, "the pattern's clock was never read")
}

// showsScaled tells one of sourcetest's pictures, whose number was lost as it was scaled: they are the same at any size
// but for that, and for ten levels of grey.
func showsScaled(data []byte) bool {
	const different = 15.0 // levels of grey
	img, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		return false
	}
	y, ok := img.(*image.YCbCr)
	if !ok || y.Bounds().Dx() != 640 || y.Bounds().Dy() != 480 || y.YStride != 640 {
		return false
	}
	return sourcetest.LumaError(y.Y[:640*480], 5, 640, 480) < different
}

// connected is how many viewers a gateway has, asked at its own address.
func connected(t *testing.T, addr string) int {
	t.Helper()
	var answer struct{ Viewers []struct{} }
	readJSON(t, "http://"+addr+"/api/v1/viewers", &answer)
	return len(answer.Viewers)
}

// address of a container in a network of the stack.
func (s *stack) address(id, network string) string {
	s.t.Helper()
	return docker(s.t, "inspect", "-f", fmt.Sprintf(`{{(index .NetworkSettings.Networks %q).IPAddress}}`,
		s.name+"_"+network), id)
}

func gatewayIsReplaced(t *testing.T, s *stack) {
	const viewers, noticed = 8, 500 * time.Millisecond
	steadily(t, func() string {
		<-time.After(settled) // until the balancer has found a gateway that the try before started
		// New ones each time: those that were sent to the other gateway stay there.
		ws := watchers(t, viewers, client.Config{URL: s.ws("stream=cam0")})
		for _, w := range ws {
			defer w.stop()
		}
		gateways := s.containers("gateway")
		require.Len(t, gateways, 2)
		var share [2]int
		for i, id := range gateways {
			share[i] = connected(t, s.address(id, "edge")+":8002")
		}
		t.Logf("viewers of the two gateways: %v", share)
		if share[0] < 2 || share[1] < 2 {
			return fmt.Sprintf("viewers are not spread: %v", share)
		}
		before := make([]uint64, viewers)
		for i, w := range ws {
			before[i] = w.viewer.Stats().Reconnects
		}
		from := time.Now()
		docker(t, "stop", gateways[0])
		s.up("--scale", "gateway=2", "--scale", "capture=2", "balancer")
		<-time.After(settled)
		moved := 0
		for i, w := range ws {
			gap := w.longestGap(from, time.Now())
			acc := w.between(from, time.Now())
			if w.viewer.Stats().Reconnects == before[i] {
				// A container that starts takes its part of a small machine: that may cost frames, no more.
				if gap > noticed || acc.fps < fullRate-1 {
					return fmt.Sprintf("a viewer of the other gateway noticed: %v without a picture, %.2f fps", gap, acc.fps)
				}
				continue
			}
			moved++
			t.Logf("a viewer of the gateway that ended was %v without a picture", gap.Round(time.Millisecond))
			if gap > recoversWithin {
				return fmt.Sprintf("a viewer was %v without a picture", gap)
			}
		}
		if moved != share[0] {
			return fmt.Sprintf("%d viewers were moved, of %d", moved, share[0])
		}
		return ""
	})
}

func captureTakesOver(t *testing.T, s *stack) {
	const within = 3 * time.Second
	ws := watchers(t, 3, client.Config{URL: s.ws("stream=cam0")})
	steadily(t, func() string {
		for _, w := range ws {
			w.waitFrames(30)
		}
		owner := s.stream("cam0").Owner
		captures := s.containers("capture")
		require.Len(t, captures, 2)
		at := 0
		if host(captures[1]) == host(owner) {
			at = 1
		}
		require.Equal(t, host(owner), host(captures[at]), "the owner is no container")
		from := time.Now()
		docker(t, "kill", captures[at])
		died := time.Now()
		var took time.Duration
		for _, w := range ws {
			took = max(took, w.firstAfter(died).Sub(from))
		}
		require.Eventually(t, func() bool { return host(s.stream("cam0").Owner) == host(captures[1-at]) }, patience,
			50*time.Millisecond, "the second capture is not the owner")
		t.Logf("the second capture's pictures came %v after the first one's end", took.Round(time.Millisecond))
		s.start(captures[at])
		if took > within {
			return fmt.Sprintf("video again only after %v", took)
		}
		return ""
	})
	stayConnected(t, ws)
}

// TestComposeWithEncodersThatAreFull gives one, two and three encoders, of three tenths of a core each, more than they
// can do: on two cores that leaves enough for the others.
func TestComposeWithEncodersThatAreFull(t *testing.T) {
	limit := filepath.Join(t.TempDir(), "limit.yml")
	require.NoError(t, os.WriteFile(limit, []byte("services: {encoder: {cpus: 0.3}}\n"), 0o600))
	s := newStack(t, nil, "FRAMEBUS_WIDTH=1920", "FRAMEBUS_HEIGHT=1080", "FRAMEBUS_FPS=60", "FRAMEBUS_QUALITY=100",
		"FRAMEBUS_QUALITY_MIN=100",
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=", "PYROSCOPE_SERVER_ADDRESS=")
	s.files = append(s.files, "-f", limit)
	s.up("gateway")
	// All three sizes of each frame, at a quality that is work.
	var ws []*watcher
	for _, rung := range []string{"full", "half", "quarter"} {
		ws = append(ws, watchers(t, 1, client.Config{URL: s.ws("stream=cam0"), Rung: rung})...)
	}
	steadily(t, func() string {
		var rates [4]float64
		table := strings.Builder{}
		for n := 1; n <= 3; n++ {
			s.up("--scale", fmt.Sprintf("encoder=%d", n), "gateway")
			ws[0].waitFrames(30)
			rates[n] = s.rate(8 * time.Second)
			fmt.Fprintf(&table, "%d encoders: %.1f frames a second, efficiency %.0f %%\n", n, rates[n],
				100*rates[n]/rates[1]/float64(n))
		}
		t.Logf("encoders of 0.3 cores each, 1920×1080:\n%s", table.String())
		if efficiency := rates[2] / rates[1] / 2; efficiency < .85 {
			return fmt.Sprintf("two encode %.1f a second, one %.1f: efficiency %.2f", rates[2], rates[1], efficiency)
		}
		return ""
	})
}

// rate is how many frames a second all encoders encode, by the ledger.
func (s *stack) rate(d time.Duration) float64 {
	total := func() (n uint64) {
		for _, of := range s.encoded() {
			n += of
		}
		return n
	}
	// The ledger is told once a second: from one change to another.
	next := func(not uint64) (n uint64, at time.Time) {
		require.Eventually(s.t, func() bool { n = total(); return n != not }, patience, 20*time.Millisecond)
		return n, time.Now()
	}
	n0, _ := next(0)
	n0, from := next(n0)
	<-time.After(d)
	n1, to := next(total())
	return float64(n1-n0) / to.Sub(from).Seconds()
}
