//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image/jpeg"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	cdptarget "github.com/chromedp/cdproto/target"
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
	Mbps          float64
	Frames, Bytes uint64
	Streams       []struct{ Stream, Rung string }
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

	// on tells whether the page is the one viewer, of nine streams on one rung, and what it takes.
	on := func(rung string) (wallViewer, string) {
		all := viewersNow(t, s.addr)
		if len(all) != 1 || len(all[0].Streams) != 9 {
			return wallViewer{}, fmt.Sprintf("not nine streams on one connection: %+v", all)
		}
		for _, l := range all[0].Streams {
			if l.Rung != rung {
				return wallViewer{}, fmt.Sprintf("%s is on %s, not %s", l.Stream, l.Rung, rung)
			}
		}
		return all[0], ""
	}
	// taken is what a picture has, and what all take a second.
	taken := func(rung string) (perPicture, mbps float64) {
		require.Eventually(t, func() bool { _, no := on(rung); return no == "" }, patience, 100*time.Millisecond,
			"the tiles never were all on %s", rung)
		before, no := on(rung)
		require.Empty(t, no)
		<-time.After(4 * time.Second) // what is told a second is of the last seconds
		after, no := on(rung)
		require.Empty(t, no)
		return float64(after.Bytes-before.Bytes) / float64(after.Frames-before.Frames), after.Mbps
	}
	large, largeMbps := taken("full")
	tall(520, 420)
	small, smallMbps := taken("half")
	t.Logf("nine tiles take %.2f Mbit/s at 1280x800, %.2f at 520x420; a picture has %.0f bytes, %.0f", largeMbps,
		smallMbps, large, small)
	require.Less(t, small, large*0.7) // a second's bytes also have this machine's load in them
	shoot(t, ctx, "wall-small.png")
}

// beside opens a page in a window of its own of the same Chromium: a tab would hide the one before.
func beside(t *testing.T, ctx context.Context, url string) (next context.Context, shut func()) {
	t.Helper()
	var id cdptarget.ID
	require.NoError(t, chromedp.Run(ctx, chromedp.ActionFunc(func(ctx context.Context) (err error) {
		id, err = cdptarget.CreateTarget(url).WithNewWindow(true).Do(cdp.WithExecutor(ctx, chromedp.FromContext(ctx).Browser))
		return err
	})))
	next, shut = chromedp.NewContext(ctx, chromedp.WithTargetID(id))
	t.Cleanup(shut)
	require.NoError(t, chromedp.Run(next))
	return next, shut
}

func TestACall(t *testing.T) {
	s := start(t, options{})
	url := "http://" + s.addr + "/call.html?room=tea"
	first, ok := browse(t, url, madeUp...)
	if !ok {
		return
	}
	pages := []context.Context{first}
	var shut func()
	for range 2 {
		var p context.Context
		p, shut = beside(t, first, url)
		pages = append(pages, p)
	}
	join := func(p context.Context) { // the page's program enables the button
		require.NoError(t, chromedp.Run(p, chromedp.WaitEnabled("#join"), chromedp.Click("#join")))
	}
	for _, p := range pages {
		join(p)
	}
	me := make([]string, len(pages))
	for i, p := range pages {
		me[i] = eval[string](t, p, "framebus.stats().me")
	}
	// sees tells whether a page shows moving pictures of two others, and whose.
	const sees = `(async () => {
		const names = framebus.stats().others.map((o) => o.name);
		const prints = await Promise.all(names.map((name) => framebus.print(name)));
		window.seen ??= new Map();
		names.forEach((n, i) => prints[i] && window.seen.set(n, (window.seen.get(n) ?? new Set()).add(prints[i])));
		return names.length === 2 && names.every((n) => window.seen.get(n)?.size > 2);
	})()`
	for i, p := range pages {
		require.Eventually(t, func() bool { return eval[bool](t, p, sees) }, patience, 100*time.Millisecond,
			"%s does not see the others: %s", me[i], eval[string](t, p, "JSON.stringify(framebus.stats())"))
		require.NotContains(t, eval[[]string](t, p, "framebus.stats().others.map((o) => o.name)"), me[i])
	}
	require.Len(t, viewersNow(t, s.addr), 3, "one connection a page")
	shoot(t, first, "call.png")

	left := time.Now()
	shut() // the page is closed, as a person closes a tab
	for _, p := range pages[:2] {
		require.Eventually(t, func() bool { return eval[int](t, p, "framebus.stats().others.length") == 1 }, patience,
			20*time.Millisecond, "who left stays")
	}
	took := time.Since(left)
	t.Logf("who left is gone after %v", took.Round(10*time.Millisecond))
	require.Less(t, took, 3*time.Second)

	// Four more make six; a seventh is told.
	dir := folder(t, 10)
	for i := range 4 {
		name := fmt.Sprintf("call-tea-x%03d", i)
		s.publish(dir, name)
		waitStream(t, s.addr, name)
	}
	last, _ := beside(t, first, url)
	join(last)
	require.Eventually(t, func() bool {
		return strings.Contains(eval[string](t, last, "document.querySelector('#lobby-said').textContent"), "is full")
	}, patience, 100*time.Millisecond, "the seventh is not told")
}
