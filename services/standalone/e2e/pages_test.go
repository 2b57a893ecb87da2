//go:build e2e

package e2e

import (
	"bytes"
	"image/jpeg"
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
