//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/jpeg"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/framebus/framebus/services/client"
	"github.com/stretchr/testify/require"
)

// madeUp gives a browser a camera whose picture moves, without asking anybody.
var madeUp = []chromedp.ExecAllocatorOption{
	chromedp.Flag("use-fake-device-for-media-stream", true), chromedp.Flag("use-fake-ui-for-media-stream", true),
}

func TestAPagePublishesACamera(t *testing.T) {
	s := start(t, options{})
	ctx, ok := browse(t, "http://"+s.addr+"/publish.html?stream=desk&size=320x240&fps=10", madeUp...)
	if !ok {
		return
	}
	require.NoError(t, chromedp.Run(ctx, chromedp.Click("#camera"), chromedp.WaitEnabled("#go"), chromedp.Click("#go")))
	waitStream(t, s.addr, "desk")
	w := watch(t, client.Config{URL: "http://" + s.addr, Stream: "desk"})
	w.waitFrames(5)
	first := bytes.Clone(w.jpeg())
	w.waitFrames(15)
	last := w.jpeg()
	require.NotEqual(t, first, last, "the picture stands")
	img, err := jpeg.Decode(bytes.NewReader(last))
	require.NoError(t, err)
	require.Equal(t, 320, img.Bounds().Dx())
	require.Equal(t, 240, img.Bounds().Dy())
	require.Eventually(t, func() bool { return eval[float64](t, ctx, "framebus.stats().taken.fps") > 1 }, patience,
		100*time.Millisecond, "the page does not tell what is taken")
	t.Logf("the page says: %s", eval[string](t, ctx, "JSON.stringify(framebus.stats())"))
	shoot(t, ctx, "publish.png")
}

// viewersNow are those of a gateway.
func viewersNow(t *testing.T, addr string) (out []wallViewer) {
	t.Helper()
	code, body := get(t, "http://"+addr+"/api/v1/viewers")
	require.Equal(t, http.StatusOK, code, body)
	require.NoError(t, json.Unmarshal([]byte(body), &struct{ Viewers *[]wallViewer }{&out}))
	return out
}

type wallViewer struct {
	Mbps    float64
	Streams []struct{ Stream, Rung string }
}

func TestTheWall(t *testing.T) {
	sources := make([]string, 9)
	for i := range sources {
		sources[i] = fmt.Sprintf("cam%d=pattern:", i)
	}
	s := start(t, options{
		sources: strings.Join(sources, ","), capture: []string{"--width", "320", "--height", "240", "--fps", "10"},
	})
	ctx, ok := browse(t, "http://"+s.addr+"/wall.html")
	if !ok {
		return
	}
	tall := func(w, h int64) { require.NoError(t, chromedp.Run(ctx, chromedp.EmulateViewport(w, h))) }
	tall(1280, 800)
	moves := func() bool {
		return eval[bool](t, ctx, `(async () => {
			const names = framebus.stats().map((s) => s.name);
			const prints = () => Promise.all(names.map((name) => framebus.print(name)));
			window.first ??= names.length === 9 ? await prints() : undefined;
			if (!window.first || window.first.includes(null)) { window.first = undefined; return false; }
			return (await prints()).every((p, i) => p !== window.first[i]);
		})()`)
	}
	require.Eventually(t, moves, patience, 100*time.Millisecond, "not every tile moves")
	shoot(t, ctx, "wall.png")

	// rung tells whether the page is the one viewer, of nine streams on one rung, and what it takes.
	on := func(rung string) (float64, string) {
		all := viewersNow(t, s.addr)
		if len(all) != 1 || len(all[0].Streams) != 9 {
			return 0, fmt.Sprintf("not nine streams on one connection: %+v", all)
		}
		for _, l := range all[0].Streams {
			if l.Rung != rung {
				return 0, fmt.Sprintf("%s is on %s, not %s", l.Stream, l.Rung, rung)
			}
		}
		return all[0].Mbps, ""
	}
	settled := func(rung string) (mbps float64) {
		require.Eventually(t, func() bool { _, no := on(rung); return no == "" }, patience, 100*time.Millisecond,
			"the tiles never were all on %s", rung)
		<-time.After(3 * time.Second) // what is told is of the last seconds
		mbps, no := on(rung)
		require.Empty(t, no)
		return mbps
	}
	large := settled("full")
	tall(520, 420)
	small := settled("half")
	t.Logf("nine tiles take %.2f Mbit/s at 1280x800, %.2f at 520x420", large, small)
	require.Less(t, small, large*0.7)
	shoot(t, ctx, "wall-small.png")
}
