//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/framebus/framebus/services/client"
	"github.com/stretchr/testify/require"
)

// browse opens a page in a headless Chromium of its own; false where there is none, which fails under CI.
func browse(t *testing.T, url string, more ...chromedp.ExecAllocatorOption) (context.Context, bool) {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		require.Empty(t, os.Getenv("CI"), "the page must be tried in CI: install chromium")
		t.Log("NOT RUN: there is no Chromium on this machine, so the page was not tried with the real gateway")
		return nil, false
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.WindowSize(1280, 800),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(patience))
	if os.Geteuid() == 0 {
		opts = append(opts, chromedp.NoSandbox)
	}
	opts = append(opts, more...)
	alloc, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx)
		cancel()
		stop()
		chromedp.FromContext(ctx).Allocator.Wait()
	})
	// A tab in the background is hidden, and a hidden page paints nothing.
	require.NoError(t, chromedp.Run(ctx, page.BringToFront(), chromedp.Navigate(url)))
	return ctx, true
}

// eval runs an expression in the page, waiting for it where it is a promise.
func eval[T any](t *testing.T, ctx context.Context, expression string) (out T) {
	t.Helper()
	await := func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }
	require.NoError(t, chromedp.Run(ctx, chromedp.Evaluate(expression, &out, await)))
	return out
}

// shownStats are what the page says of itself.
type shownStats struct {
	FPS        float64 `json:"fps"`
	Mbps       float64 `json:"mbps"`
	AgeMs      float64 `json:"ageMs"`
	Width      int     `json:"width"`
	Height     int     `json:"height"`
	Quality    int     `json:"quality"`
	Reconnects int     `json:"reconnects"`
	Totals     struct {
		Painted int `json:"painted"`
	} `json:"totals"`
}

type shownStrip struct {
	Us    *float64 `json:"us"`
	NowUs float64  `json:"nowUs"`
}

func TestThePageShowsTheRealThing(t *testing.T) {
	s := start(t, options{})
	ctx, ok := browse(t, "http://"+s.addr+"/?stream=cam0")
	if !ok {
		return
	}
	stats := func() shownStats { return eval[shownStats](t, ctx, "window.framebus ? framebus.stats() : {}") }
	require.Eventually(t, func() bool { return stats().Totals.Painted > 30 }, patience, 100*time.Millisecond,
		"nothing moves")

	var last float64
	for range 3 { // the clock in the picture goes on
		require.Eventually(t, func() bool {
			strip := eval[*shownStrip](t, ctx, "framebus.readStrip()")
			if strip == nil || strip.Us == nil || *strip.Us <= last {
				return false
			}
			last = *strip.Us
			return true
		}, patience, 50*time.Millisecond, "the strip is not to be read off the canvas")
	}
	require.Less(t, time.Since(time.UnixMicro(int64(last))).Abs(), 5*time.Second)

	w := watch(t, client.Config{URL: "http://" + s.addr, Stream: "cam0"})
	w.waitFrames(1)
	<-time.After(4 * time.Second) // what the page tells is of its last seconds
	steadily(t, func() string {
		painted, from := stats().Totals.Painted, time.Now()
		beside := during([]*watcher{w}, 3*time.Second)[0]
		got := stats()
		rate := float64(got.Totals.Painted-painted) / time.Since(from).Seconds()
		strip := eval[*shownStrip](t, ctx, "framebus.readStrip()")
		t.Logf("page: %.1f fps (painted %.1f, beside it %.1f), age %.1f ms, %.2f Mbit/s, %dx%d Q%d", got.FPS, rate,
			beside.fps, got.AgeMs, got.Mbps, got.Width, got.Height, got.Quality)
		truth := w.viewer.Stats()
		switch {
		case math.Abs(got.FPS-rate) > 0.1*rate:
			return fmt.Sprintf("the page says %.1f fps and paints %.1f", got.FPS, rate)
		case got.Width != truth.Width || got.Height != truth.Height || math.Abs(float64(got.Quality-truth.Quality)) > 8:
			return fmt.Sprintf("the page says %dx%d Q%d, it is %dx%d Q%d", got.Width, got.Height, got.Quality, truth.Width,
				truth.Height, truth.Quality)
		case math.Abs(got.Mbps-truth.Mbps*rate/beside.fps) > 0.1*truth.Mbps+0.1:
			return fmt.Sprintf("the page says %.2f Mbit/s, it is %.2f", got.Mbps, truth.Mbps)
		case strip == nil || strip.Us == nil:
			return "no strip"
		}
		return ""
	})
	shoot(t, ctx, "page.png")

	s.gateway.kill()
	<-time.After(time.Second)
	s.gateway = s.startGateway(s.addr)
	painted := stats().Totals.Painted
	require.Eventually(t, func() bool { now := stats(); return now.Totals.Painted > painted+30 && now.Reconnects > 0 },
		patience, 100*time.Millisecond, "the page does not come back")
}

func TestThePageSaysWhyItIsRefused(t *testing.T) {
	s := start(t, options{gateway: []string{"--max-clients", "1"}})
	watchers(t, 1, client.Config{URL: "http://" + s.addr, Stream: "cam0"})
	ctx, ok := browse(t, "http://"+s.addr+"/?stream=cam0")
	if !ok {
		return
	}
	require.Eventually(t, func() bool {
		text := eval[string](t, ctx, "document.querySelector('.banner-text')?.textContent ?? ''")
		return text != "" && containsFold(text, "full")
	}, patience, 100*time.Millisecond, "the page does not say that the gateway is full")

	require.NoError(t, chromedp.Run(ctx, chromedp.Navigate("http://"+s.addr+"/?stream=elsewhere")))
	require.Eventually(t, func() bool {
		return eval[string](t, ctx, "document.querySelector('.banner-text')?.textContent ?? ''") ==
			`There is no stream "elsewhere". Choose another, or wait until it comes`
	}, patience, 100*time.Millisecond, "the page does not say that there is no such stream")
}

func TestTheBrowserExample(t *testing.T) {
	files := httptest.NewServer(http.FileServer(http.Dir(filepath.Join("..", "..", "..", "docs", "examples"))))
	t.Cleanup(files.Close)
	s := start(t, options{gateway: []string{"--allowed-origins", files.Listener.Addr().String()}})
	ctx, ok := browse(t, files.URL+"/viewer.html?url="+s.ws("stream=cam0"))
	if !ok {
		return
	}
	seen := map[string]bool{}
	require.Eventually(t, func() bool {
		seen[eval[string](t, ctx, "document.getElementById('picture').src")] = true
		return len(seen) > 5 && eval[int](t, ctx, "document.getElementById('picture').naturalWidth") == 640
	}, patience, 50*time.Millisecond, "the example shows nothing")
}

// shoot keeps a screenshot as an artefact of the build.
func shoot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv("FRAMEBUS_ARTIFACTS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "artifacts")
	}
	var png []byte
	require.NoError(t, chromedp.Run(ctx, chromedp.CaptureScreenshot(&png)))
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), png, 0o600))
}
