//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"net/http"
	"os"
	"path/filepath"
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

// A screen of this host is captured: Chromium shows a page on it that has another colour each moment.
func TestAPagePublishesAScreen(t *testing.T) {
	screen := startScreen(t)
	s := start(t, options{})
	ctx, ok := browse(t, "http://"+s.addr+"/publish.html?stream=desk&size=320x240&fps=8",
		chromedp.Env("DISPLAY="+screen.name), chromedp.Flag("headless", false),
		chromedp.Flag("auto-select-desktop-capture-source", "Entire screen"))
	if !ok {
		return
	}
	require.NoError(t, chromedp.Run(ctx, chromedp.Click("#screen-source"), chromedp.WaitEnabled("#go"),
		chromedp.Click("#go")))
	const captured = "document.querySelector('#video').srcObject.getVideoTracks()[0].getSettings()"
	require.Equal(t, "monitor", eval[string](t, ctx, captured+".displaySurface"))
	// A preview that has just begun does not know its width yet.
	require.Eventually(t, func() bool {
		return eval[float64](t, ctx, "document.querySelector('#video').videoWidth") == screenWidth
	}, patience, 50*time.Millisecond, "the preview")
	waitStream(t, s.addr, "desk")
	w := watch(t, client.Config{URL: "http://" + s.addr, Stream: "desk"})
	w.waitFrames(5)
	var last image.Image
	// shows tells whether the newest picture is of a colour where there is neither a window's bar nor the pointer.
	shows := func(r, g, b int) bool {
		img, err := jpeg.Decode(bytes.NewReader(w.jpeg()))
		require.NoError(t, err)
		last = img
		c := color.NRGBAModel.Convert(img.At(80, 180)).(color.NRGBA)
		near := func(got uint8, want int) bool { return got > uint8(max(want-40, 0)) && int(got) < want+40 }
		return near(c.R, r) && near(c.G, g) && near(c.B, b)
	}
	for _, c := range [][3]int{{220, 40, 40}, {40, 200, 60}, {50, 60, 220}} {
		eval[any](t, ctx, fmt.Sprintf(`(() => {
			const sheet = document.querySelector('#sheet') ?? document.body.appendChild(document.createElement('div'));
			sheet.id = 'sheet';
			sheet.style.cssText = 'position: fixed; inset: 0; z-index: 99; background: rgb(%d %d %d)';
			return null;
		})()`, c[0], c[1], c[2]))
		require.Eventually(t, func() bool { return shows(c[0], c[1], c[2]) }, patience, 50*time.Millisecond,
			"what is on the screen is not what a viewer sees")
	}
	require.Equal(t, image.Pt(320, 240), last.Bounds().Size())
	steadily(t, func() string {
		if a := during([]*watcher{w}, 3*time.Second)[0]; a.fps > 9 {
			return fmt.Sprintf("8 fps were chosen, %.1f come", a.fps)
		}
		return ""
	})
}

// On a slow uplink a page sends fewer pictures, and what it sends does not queue.
func TestAPageOnASlowUplink(t *testing.T) {
	s := start(t, options{})
	r := startRelay(t, s.addr, 100, 20*time.Millisecond)
	r.reverse.Store(true)
	ctx, ok := browse(t, "http://"+r.addr()+"/publish.html?stream=desk&size=640x480&fps=15", madeUp...)
	if !ok {
		return
	}
	require.NoError(t, chromedp.Run(ctx, chromedp.Click("#camera"), chromedp.WaitEnabled("#go"),
		chromedp.Click("#go")))
	waitStream(t, s.addr, "desk")
	w := watch(t, client.Config{URL: "http://" + s.addr, Stream: "desk"})
	w.waitFrames(15)
	type sent struct{ Sent, Held, Unsent int }
	now := func() sent { return eval[sent](t, ctx, "framebus.stats()") }
	free := during([]*watcher{w}, 3*time.Second)[0]
	size := len(w.jpeg())

	// Four pictures a second and no more.
	const few = 4
	r.set(few * float64(size) * 8 / 1e6)
	<-time.After(4 * time.Second) // what went out before is through
	steadily(t, func() string {
		began, at := now(), w.count()
		most, lag := 0, 0
		for from := time.Now(); time.Since(from) < 6*time.Second; <-time.After(50 * time.Millisecond) {
			n := now()
			most = max(most, n.Unsent)
			lag = max(lag, (n.Sent-began.Sent)-(w.count()-at))
		}
		ended, got := now(), w.count()-at
		t.Logf("free: %.1f fps; then %d sent, %d held, %d came, at most %d bytes of %d a picture in the page, %d pictures "+
			"behind", free.fps, ended.Sent-began.Sent, ended.Held-began.Held, got, most, size, lag)
		switch {
		case ended.Sent-began.Sent > 6*few*3/2 || ended.Held == began.Held:
			return fmt.Sprintf("%d pictures were sent, %d held back", ended.Sent-began.Sent, ended.Held-began.Held)
		case got < 6*few/2:
			return fmt.Sprintf("%d pictures came", got)
		case most > 3*size:
			return fmt.Sprintf("%d bytes wait in the page", most)
		case lag > few+1:
			return fmt.Sprintf("%d pictures are on their way", lag)
		}
		return ""
	})
	r.set(100)
	require.Eventually(t, func() bool { return during([]*watcher{w}, time.Second)[0].fps > 8 }, patience, time.Millisecond,
		"it does not recover")
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
	Frames, Bytes uint64
	Streams       []struct{ Stream, Rung string }
}

func TestTheWall(t *testing.T) {
	sources := make([]string, 9)
	for i := range sources {
		sources[i] = fmt.Sprintf("cam%d=pattern:", i)
	}
	addr, up := startOne(t, "--sources", strings.Join(sources, ","), "--width", "640", "--height", "480", "--fps", "5")
	ctx, ok := browse(t, "http://"+addr+"/wall.html")
	if !ok {
		return
	}
	window := func(w, h int64, dots float64) {
		require.NoError(t, chromedp.Run(ctx, chromedp.EmulateViewport(w, h, chromedp.EmulateScale(dots))))
	}
	window(1280, 800, 2) // each tile has room for a whole picture
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
		all := viewersNow(t, addr)
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
	browser := chromedp.FromContext(ctx).Browser.Process().Pid
	// taken is what a picture costs all the way to the screen: bytes on the wire, CPU of framebus, and CPU of all. A
	// second's would have this machine's load in them.
	type price struct{ bytes, framebus, all float64 }
	taken := func(rung string) (p price, wrong string) {
		require.Eventually(t, func() bool { _, no := on(rung); return no == "" }, patience, 100*time.Millisecond,
			"the tiles never were all on %s", rung)
		before, wrong := on(rung)
		began, page := cpu(t, up.pid()), familyCPU(t, browser)
		<-time.After(wallSpan)
		after, no := on(rung)
		used, shown := cpu(t, up.pid())-began, familyCPU(t, browser)-page
		frames := float64(after.Frames - before.Frames)
		return price{
			bytes: float64(after.Bytes-before.Bytes) / frames, framebus: used.Seconds() / frames,
			all: (used + shown).Seconds() / frames,
		}, wrong + no
	}
	steadily(t, func() string {
		window(1280, 800, 2)
		large, wrong := taken("full")
		if wrong != "" {
			return wrong
		}
		window(520, 420, 1)
		small, wrong := taken("quarter")
		if wrong != "" {
			return wrong
		}
		bytes, framebus, all := small.bytes/large.bytes, small.framebus/large.framebus, small.all/large.all
		t.Logf("a picture on nine tiles takes %.0f bytes and %.2f ms of CPU at 2560x1600, %.2f of them in framebus; at "+
			"520x420 %.2f of the bytes, %.2f of the CPU, %.2f of framebus's", large.bytes, 1000*large.all,
			1000*large.framebus, bytes, all, framebus)
		switch {
		case bytes > 0.4:
			return "small tiles take as many bytes"
		case all > 0.85:
			return "small tiles take as much CPU"
		case framebus > 1.15: // most of it goes for raw pictures, which are as large as before
			return "small tiles take more of framebus's CPU"
		}
		return ""
	})
	shoot(t, ctx, "wall-small.png")
}

// familyCPU is what a process and all that came of it have used.
func familyCPU(t *testing.T, pid int) (used time.Duration) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	children := map[int][]int{}
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it ended
		}
		var child, parent int
		var state string
		_, _ = fmt.Sscan(string(b), &child)
		_, _ = fmt.Sscan(string(b[bytes.LastIndexByte(b, ')')+1:]), &state, &parent)
		children[parent] = append(children[parent], child)
	}
	for family := []int{pid}; len(family) > 0; family = family[1:] {
		family = append(family, children[family[0]]...)
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", family[0])); err == nil {
			used += cpu(t, family[0])
		}
	}
	require.Positive(t, used)
	return used
}

// wallSpan is how long nine tiles are measured.
const wallSpan = 6 * time.Second

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
