package web_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/stretchr/testify/require"
)

// patience is for a loaded machine: what is waited for comes in well under a second on an idle one.
const patience = 60 * time.Second

// browser starts a headless Chromium for the test, and reports false where there is none.
func browser(t *testing.T, more ...chromedp.ExecAllocatorOption) (context.Context, bool) {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		require.Empty(t, os.Getenv("CI"), "the page must be tried in CI: install chromium")
		t.Log("NOT RUN: no Chromium on this machine, so the web viewer's page was not tried. " +
			"apt-get install chromium, and run this test again.")
		return nil, false
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(patience))
	if os.Geteuid() == 0 {
		opts = append(opts, chromedp.NoSandbox)
	}
	opts = append(opts, more...)
	alloc, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, cancel := chromedp.NewContext(alloc)
	require.NoError(t, chromedp.Run(ctx))
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx)
		cancel()
		stop()
		chromedp.FromContext(ctx).Allocator.Wait()
	})
	return ctx, true
}

// tab is one page of the viewer.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu     sync.Mutex
	errors []string // console errors, exceptions and whatever the browser itself complained about
}

func open(t *testing.T, browser context.Context, url string, w, h int64, mobile bool) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	b := &tab{t: t, ctx: ctx}
	t.Cleanup(cancel)
	chromedp.ListenTarget(ctx, func(ev any) {
		var text string
		switch ev := ev.(type) {
		case *runtime.EventConsoleAPICalled:
			if ev.Type == runtime.APITypeError || ev.Type == runtime.APITypeWarning {
				for _, arg := range ev.Args {
					text += string(arg.Value) + " "
				}
			}
		case *runtime.EventExceptionThrown:
			text = ev.ExceptionDetails.Error()
		case *log.EventEntryAdded:
			if ev.Entry.Level == log.LevelError || ev.Entry.Level == log.LevelWarning {
				text = ev.Entry.Text + " " + ev.Entry.URL
			}
		}
		if text != "" {
			b.mu.Lock()
			b.errors = append(b.errors, text)
			b.mu.Unlock()
		}
	})
	size := []chromedp.EmulateViewportOption{}
	if mobile {
		size = append(size, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulateScale(2))
	}
	require.NoError(t, chromedp.Run(ctx, page.BringToFront(), chromedp.EmulateViewport(w, h, size...)))
	for range 5 {
		require.NoError(t, chromedp.Run(ctx, chromedp.Navigate(url)))
		if !b.interrupted() {
			break
		}
	}
	return b
}

// interrupted tells whether Chromium gave up loading because this host's networks changed meanwhile, as they do when a
// container starts, and forgets it: the page is not to blame.
func (b *tab) interrupted() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := len(b.errors)
	b.errors = slices.DeleteFunc(b.errors, func(s string) bool { return strings.Contains(s, "ERR_NETWORK_CHANGED") })
	return len(b.errors) < before
}

// front puts the tab over the others, which are hidden then.
func (b *tab) front() {
	b.t.Helper()
	require.NoError(b.t, chromedp.Run(b.ctx, page.BringToFront()))
}

// eval runs an expression, a promise awaited, and stores its value.
func (b *tab) eval(expression string, into any) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Run(b.ctx, chromedp.Evaluate(expression, into,
		func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) })))
}

func (b *tab) eventually(condition, what string) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		var ok bool
		b.eval("Promise.resolve("+condition+").then(Boolean)", &ok)
		if ok {
			return
		}
		if time.Now().After(deadline) {
			var state string
			b.eval("JSON.stringify(window.framebus?.stats() ?? null)", &state)
			require.Failf(b.t, "the page never came to it", "%s\n%s\nerrors: %q", what, state, b.complaints())
		}
	}
}

func (b *tab) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.errors...)
}

// keep writes a screenshot where FRAMEBUS_ARTIFACTS says.
func (b *tab) keep(name string) {
	b.t.Helper()
	dir := os.Getenv("FRAMEBUS_ARTIFACTS")
	if dir == "" {
		return
	}
	b.eventually("document.getAnimations().every((a) => a.playState === 'finished' || "+
		"a.effect.getComputedTiming().iterations === Infinity)", "what fades in is there")
	var png []byte
	require.NoError(b.t, chromedp.Run(b.ctx, chromedp.ActionFunc(func(ctx context.Context) (err error) {
		png, err = page.CaptureScreenshot().Do(ctx)
		return err
	})))
	require.NoError(b.t, os.MkdirAll(dir, 0o755))
	require.NoError(b.t, os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600))
}

const (
	painting3 = "window.framebus?.stats().totals.painted > 3"
	judged    = "framebus.stats().connection !== 'poor' && framebus.stats().ageMs !== null"
)

func TestPage(t *testing.T) {
	ctx, ok := browser(t)
	if !ok {
		return
	}
	t.Run("pictures move and the strip's clock reads from the canvas", func(t *testing.T) {
		for _, painter := range []string{"worker", "main", "img"} {
			t.Run(painter, func(t *testing.T) { moves(t, ctx, painter) })
		}
	})
	t.Run("the overlay's numbers are the server's", func(t *testing.T) { numbers(t, ctx) })
	t.Run("control messages go out", func(t *testing.T) { control(t, ctx) })
	t.Run("a restarted gateway is found again", func(t *testing.T) { restart(t, ctx) })
	t.Run("a refusal is told in the gateway's words", func(t *testing.T) { refusal(t, ctx) })
	t.Run("before the first picture nothing is judged", func(t *testing.T) { unjudged(t, ctx) })
	t.Run("goodbye is told and obeyed", func(t *testing.T) { goodbye(t, ctx) })
	t.Run("a hidden tab pauses", func(t *testing.T) { hidden(t, ctx) })
	t.Run("the rung is told, why, and chosen", func(t *testing.T) { rungs(t, ctx) })
	t.Run("quality is told without a word over the picture", func(t *testing.T) { quality(t, ctx) })
	t.Run("the last minute is plotted", func(t *testing.T) { plots(t, ctx) })
	t.Run("the hop bar's numbers are the envelope's", func(t *testing.T) { hopBar(t, ctx) })
	t.Run("a click opens the frame's trace elsewhere", func(t *testing.T) { traceElsewhere(t, ctx) })
	t.Run("the next frame is traced when asked for", func(t *testing.T) { traceNext(t, ctx) })
	t.Run("a trace is drawn here", func(t *testing.T) { traceHere(t, ctx) })
	t.Run("without traces the hops are shown", func(t *testing.T) { traceNowhere(t, ctx) })
	t.Run("the ledger is drawn as it adds up", func(t *testing.T) { ledger(t, ctx) })
	t.Run("what comes is recorded", func(t *testing.T) { recording(t, ctx) })
	t.Run("keys and buttons", func(t *testing.T) { keys(t, ctx) })
	t.Run("a picture that stands is not shown as live", func(t *testing.T) { stale(t, ctx) })
	t.Run("layout", func(t *testing.T) { layout(t, ctx) })
	t.Run("modules", func(t *testing.T) { modules(t, ctx) })
}

func moves(t *testing.T, ctx context.Context, painter string) {
	s := newStand(t, 480, 360, 10)
	b := open(t, ctx, "http://"+s.addr+"/?painter="+painter, 1280, 720, false)
	b.eventually(painting3, "pictures are painted")
	var kind string
	b.eval("framebus.painter", &kind)
	require.Equal(t, painter, kind)

	type strip struct{ Us, NowUs int64 }
	var first strip
	before := time.Now().UnixMicro()
	b.eval("framebus.readStrip()", &first)
	require.NotZero(t, first.Us, "no strip on the canvas")
	require.InDelta(t, before, first.Us, 60e6, "the strip's time is the time of the picture")
	b.eventually(fmt.Sprintf("framebus.readStrip().then((s) => s.us > %d)", first.Us), "the strip's clock goes on")

	// The centre of gravity of what is bright below the strip: the disc runs round.
	const disc = `framebus.pixels().then(({ width, height, data }) => {
		let [n, sum] = [0, 0];
		for (let i = 4 * 20 * width; i < data.length; i += 4) if (data[i + 1] > 205) { n++; sum += (i / 4) % width; }
		return sum / n;
	})`
	var at float64
	b.eval(disc, &at)
	b.eventually(fmt.Sprintf("(%s).then((x) => Math.abs(x - %f) > 40)", disc, at), "the disc moves")
	require.Empty(t, b.complaints())
}

func numbers(t *testing.T, ctx context.Context) {
	s := newStand(t, 640, 480, 10)
	b := open(t, ctx, "http://"+s.addr+"/", 1280, 720, false)
	b.eventually(judged, "the connection is judged")
	// A busy machine's stand sends fewer than it should: what counts is that the page tells of what was sent.
	near := func(script string) func() bool {
		return func() bool {
			from, began := s.at(), time.Now()
			<-time.After(2 * time.Second) // a rate is of a time
			rate := float64(s.at()-from) / time.Since(began).Seconds()
			var fps float64
			b.eval(script, &fps)
			return rate > 0 && math.Abs(fps-rate) < 2
		}
	}
	require.Eventually(t, near("framebus.stats().fps"), patience, time.Millisecond, "the rate comes near the server's")
	require.Eventually(t, near("Number(document.querySelector('[data-field=fps]').textContent)"), patience,
		time.Millisecond, "so it reads")
	var text string
	b.eval("document.querySelector('[data-field=size]').textContent", &text)
	require.Equal(t, "640×480", text)
	b.eval("document.querySelector('[data-field=quality]').textContent", &text)
	require.Equal(t, "Q80", text)
	b.eval("document.querySelector('.stream-name').textContent", &text)
	require.Equal(t, "cam0", text)
	b.eventually("framebus.stats().mbps > 0.2 && framebus.stats().rttMs !== null", "bits and round trips are counted")
	b.eventually("framebus.stats().hops.length === 7 && framebus.stats().hops.every((h) => h.ms !== null)",
		"every hop has its time")
	// The page and the stand share this machine's clock, so the offset found must be within its own uncertainty.
	b.eventually(`(() => { const c = framebus.stats().clock; return Math.abs(c.offsetMs) <= c.uncertaintyMs + 2; })()`,
		"the clock's offset is within its uncertainty")
	// The hops are the age.
	b.eventually(`(() => {
		const s = framebus.stats();
		const sum = s.hops.reduce((a, h) => a + h.ms, 0);
		return s.ageMs > 0 && Math.abs(sum - (s.frame.paintedUs - s.frame.capturedUs) / 1000 - s.clock.offsetMs) < 5;
	})()`, "the hops add up to the age")
	b.keep("wall-720p")
	require.Empty(t, b.complaints())
}

func control(t *testing.T, ctx context.Context) {
	s := newStand(t, 480, 360, 10)
	b := open(t, ctx, "http://"+s.addr+"/?stream=door", 1280, 720, false)
	require.Eventually(t, func() bool { return s.last("stream") == "door" }, patience, 10*time.Millisecond)
	require.Eventually(t, func() bool {
		return s.count(func(m *pb.ClientMessage) bool {
			p := m.GetPainted()
			return p.GetChannel() == 3 && p.GetEpoch() == s.epoch && p.GetSequence() > 0 && p.GetPaintedUs() > 0
		}) > 2
	}, patience, 10*time.Millisecond, "painted")
	require.Eventually(t, func() bool {
		return s.count(func(m *pb.ClientMessage) bool {
			sel := m.GetSelect()
			return sel.GetStream() == "door" && sel.GetWidth() == 1280 && sel.GetHeight() == 720 && !sel.GetHidden()
		}) > 0
	}, patience, 10*time.Millisecond, "select with the viewport")
	require.Eventually(t, func() bool {
		return s.count(func(m *pb.ClientMessage) bool { return m.GetClock().GetT1Us() > 0 }) > 2
	}, patience, 10*time.Millisecond, "clock")
	s.tell(&pb.ServerMessage{Message: &pb.ServerMessage_Notice{Notice: &pb.Notice{
		Kind: "state", Stream: "door", State: pb.StreamState_STREAM_STATE_SLATE, Text: "door: no pictures for 5 s",
	}}})
	b.eventually("document.querySelector('.banner-text').textContent.includes('no pictures for 5 s')",
		"the notice is told")
	s.tell(&pb.ServerMessage{Message: &pb.ServerMessage_Notice{Notice: &pb.Notice{
		Kind: "state", Stream: "door", State: pb.StreamState_STREAM_STATE_LIVE,
	}}})
	b.eventually("document.querySelector('#banner').hidden", "and taken back")
}

func restart(t *testing.T, ctx context.Context) {
	s := newStand(t, 480, 360, 10)
	b := open(t, ctx, "http://"+s.addr+"/", 1280, 720, false)
	b.eventually(painting3, "pictures are painted")
	s.close(t)
	b.eventually("framebus.state === 'waiting' && !document.querySelector('#banner').hidden", "the loss is told")
	b.eventually("document.querySelector('.banner-text').textContent.length > 10", "in words")
	b.keep("reconnecting")
	var before int
	b.eval("framebus.stats().totals.painted", &before)
	s.start(t)
	b.eventually(fmt.Sprintf("framebus.stats().totals.painted > %d && framebus.stats().reconnects === 1", before+2),
		"pictures come again, and one reconnect is counted")
	b.eventually("document.querySelector('#banner').hidden", "the banner goes")
}

func refusal(t *testing.T, ctx context.Context) {
	s := newStand(t, 480, 360, 10)
	s.setRefuse("this gateway is full: 10 of 10 viewers")
	b := open(t, ctx, "http://"+s.addr+"/", 390, 844, true)
	b.eventually("document.querySelector('.banner-text').textContent.includes('10 of 10 viewers')", "the reason is shown")
	b.keep("refused")
	s.setRefuse("")
	b.eventually(painting3, "it gets in when there is room")
}

func unjudged(t *testing.T, ctx context.Context) {
	s := newStand(t, 480, 360, 10)
	s.setRefuse("not yet")
	b := open(t, ctx, "http://"+s.addr+"/", 1280, 720, false)
	pill := func(quality, words string) string {
		return "document.querySelector('#pill').dataset.quality === '" + quality + "' && " +
			"document.querySelector('.pill-text').textContent === '" + words + "' && " +
			"document.querySelector('#pill').getAttribute('aria-label').endsWith(': " + strings.ToLower(words) + "')"
	}
	b.eventually("framebus.state === 'waiting' && "+pill("connecting", "Connecting"), "it connects")
	s.setPause(true)
	s.setRefuse("")
	b.eventually("framebus.state === 'open' && "+pill("none", "No picture"), "it is connected, and nothing came")
	b.keep("no-picture")
	s.setPause(false)
	b.eventually(painting3+" && "+pill("good", "Good"), "then it is judged")
	s.setPause(true)
	b.eventually(pill("poor", "Poor")+" && document.querySelector('[data-field=age]').textContent === '–'",
		"a connection that was good is poor without pictures, and none is of an age")
}

func goodbye(t *testing.T, ctx context.Context) {
	s := newStand(t, 480, 360, 10)
	b := open(t, ctx, "http://"+s.addr+"/", 1280, 720, false)
	b.eventually(painting3, "pictures are painted")
	s.tell(&pb.ServerMessage{Message: &pb.ServerMessage_Bye{Bye: &pb.Bye{Reason: "the gateway is drained"}}})
	b.eventually("document.querySelector('.banner-text').textContent.includes('drained')", "the reason is shown")
	s.close(t)
	s.start(t)
	b.eventually("framebus.state === 'waiting' && framebus.stats().why.includes('drained')", "it stays away for a while")
	require.NoError(t, chromedp.Run(b.ctx, chromedp.Click(".retry", chromedp.ByQuery)))
	b.eventually("framebus.state === 'open'", "and comes at once when asked to")
}

func hidden(t *testing.T, ctx context.Context) {
	s := newStand(t, 480, 360, 10)
	b := open(t, ctx, "http://"+s.addr+"/", 1280, 720, false)
	b.eventually(painting3, "pictures are painted")
	isHidden := func(m *pb.ClientMessage) bool { return m.GetSelect().GetHidden() }
	require.Zero(t, s.count(isHidden))
	open(t, ctx, "about:blank", 1280, 720, false)
	require.Eventually(t, func() bool { return s.count(isHidden) == 1 }, patience, 10*time.Millisecond)
	var painted, received int
	b.eval("framebus.stats().totals.painted", &painted)
	b.eval("framebus.stats().totals.received", &received)
	b.eventually(fmt.Sprintf("framebus.stats().totals.received > %d + 5", received), "the socket is still read")
	var after int
	b.eval("framebus.stats().totals.painted", &after)
	require.LessOrEqual(t, after, painted+1, "a hidden page paints nothing but what was being decoded")
	shown := s.count(func(m *pb.ClientMessage) bool { return m.GetSelect() != nil && !m.GetSelect().GetHidden() })
	b.front()
	b.eventually(fmt.Sprintf("framebus.stats().totals.painted > %d + 2", after), "it goes on when it is shown again")
	require.Eventually(t, func() bool {
		return s.count(func(m *pb.ClientMessage) bool { return m.GetSelect() != nil && !m.GetSelect().GetHidden() }) > shown
	}, patience, 10*time.Millisecond)
	require.Empty(t, b.complaints())
}

// watchToasts keeps what is said over the picture: it goes by itself, so looking for it may come too late.
const watchToasts = `window.toasts = [];
	new MutationObserver(() => window.toasts.push(document.querySelector('#toast').textContent)).observe(
		document.querySelector('#toast'), { attributes: true, childList: true, characterData: true, subtree: true })`

func rungs(t *testing.T, ctx context.Context) {
	s := newStand(t, 640, 480, 10)
	b := open(t, ctx, "http://"+s.addr+"/?rung=enormous", 1280, 720, false)
	b.eventually(painting3, "pictures are painted")
	require.Empty(t, s.last("rung"), "what the gateway would refuse is not asked for")
	b.eventually("framebus.stats().chosenRung === 'auto' && framebus.stats().rungWhy === ''", "nothing was chosen or told")
	b.eventually("document.querySelector('#rung').textContent === 'Full, automatic'", "the rung is shown")

	const why = "half size: the connection carries 2.1 Mbit/s"
	b.eval(watchToasts, nil)
	s.setRung(frame.Half, why)
	b.eventually("window.toasts.includes('"+why+"')", "a change of rung is told")
	b.eventually("document.querySelector('#toast').hidden", "briefly")
	b.eventually("framebus.stats().rung === 'half' && framebus.stats().width === 320 && framebus.stats().rungWhy === '"+
		why+"'", "the half is painted")
	b.eventually("document.querySelector('#rung').textContent === 'Half, automatic' && "+
		"document.querySelector('#rung-why').textContent === 'Half size: the connection carries 2.1 Mbit/s'", "and why")
	b.eventually("document.querySelector('.rung-chosen').textContent === 'Auto' && "+
		"document.querySelector('.rung-shown').textContent === 'half'", "the button tells both")

	click := func(selector string) {
		require.NoError(t, chromedp.Run(b.ctx, chromedp.Click(selector, chromedp.ByQuery)))
	}
	press := func(key string) { require.NoError(t, chromedp.Run(b.ctx, chromedp.KeyEvent(key))) }
	click("#rung-button")
	b.eventually("document.querySelector('#rung-menu [aria-current] b').textContent === 'Auto'", "the choice is marked")
	b.keep("rungs")
	click("#rung-menu [data-rung=quarter]")
	b.eventually("document.querySelector('#rung-menu').hidden", "choosing closes the menu")
	b.eventually("framebus.stats().rung === 'quarter' && framebus.stats().chosenRung === 'quarter' && "+
		"framebus.stats().rungWhy === 'chosen by the viewer'", "the gateway obeys")
	b.eventually("location.search === '?rung=quarter'", "the choice stands in the URL")
	b.eventually("document.querySelector('#rung').textContent === 'Quarter, chosen here'", "and in the numbers")

	for _, c := range []struct{ key, name string }{{"1", "full"}, {"2", "half"}, {"3", "quarter"}, {"2", "half"}} {
		press(c.key)
		b.eventually("framebus.stats().rung === '"+c.name+"' && framebus.stats().chosenRung === '"+c.name+"'", c.key)
	}
	// Everything else that the page tells leaves the choice as it is: another size of the window, another stream, a
	// gateway that was away.
	selected := func(m *pb.ClientMessage) bool { return m.GetSelect() != nil }
	before := s.count(selected)
	require.NoError(t, chromedp.Run(b.ctx, chromedp.EmulateViewport(900, 500)))
	require.Eventually(t, func() bool { return s.count(selected) > before }, patience, 10*time.Millisecond)
	press("n")
	require.Eventually(t, func() bool { return s.last("stream") == "door" }, patience, 10*time.Millisecond)
	require.Equal(t, "half", s.last("rung"), "the rung is asked for with the connection")
	b.eventually("framebus.stats().stream === 'door' && framebus.stats().rung === 'half' && "+
		"framebus.stats().rungWhy === ''", "the other stream is on it, which is no news")
	s.close(t)
	b.eventually("framebus.state !== 'open'", "the gateway is away")
	s.start(t)
	b.eventually("framebus.state === 'open' && framebus.stats().rung === 'half'", "the choice outlives the connection")
	require.Equal(t, "half", s.last("rung"))

	press("0")
	b.eventually("framebus.stats().chosenRung === 'auto' && !location.search.includes('rung')", "0 gives it back")
	s.setRung(frame.Full, "full size: the connection carries 9.0 Mbit/s again")
	b.eventually("framebus.stats().rung === 'full' && framebus.stats().rungWhy.endsWith('again')", "to the gateway")
	require.Zero(t, s.count(func(m *pb.ClientMessage) bool {
		sel := m.GetSelect()
		return sel != nil && (sel.GetRung() == "" || sel.GetWidth() == 0 || sel.GetStream() == "")
	}), "every select tells everything")
}

func quality(t *testing.T, ctx context.Context) {
	s := newStand(t, 480, 360, 10)
	b := open(t, ctx, "http://"+s.addr+"/", 1280, 720, false)
	b.eventually(painting3, "pictures are painted")
	b.eval(watchToasts, nil)
	s.tell(&pb.ServerMessage{Message: &pb.ServerMessage_Notice{Notice: &pb.Notice{
		Channel: 3, Stream: "cam0", Kind: "quality", Quality: 62, Text: "quality 62: what the connections carry",
	}}})
	b.eventually("document.querySelector('#rung-why').textContent === 'Quality 62: what the connections carry'",
		"the numbers tell it")
	var toasts []string
	b.eval("window.toasts", &toasts)
	require.Empty(t, toasts)
	require.Empty(t, b.complaints())
}

func plots(t *testing.T, ctx context.Context) {
	s := newStand(t, 480, 360, 10)
	// How many of a plot's columns have something drawn in them.
	columns := func(name string) string {
		return `(() => {
			const canvas = document.querySelector('[data-plot=` + name + `] canvas');
			const { width, height } = canvas;
			const copy = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
			copy.drawImage(canvas, 0, 0);
			const { data } = copy.getImageData(0, 0, width, height);
			const drawn = new Set();
			for (let i = 3; i < data.length; i += 4) if (data[i]) drawn.add(((i - 3) / 4) % width);
			return drawn.size;
		})()`
	}
	const shown = "!document.querySelector('#plots-body').hidden"
	b := open(t, ctx, "http://"+s.addr+"/", 1280, 720, false)
	b.eventually(judged, "the connection is judged")
	b.eventually(shown, "a wide window shows the plots")
	for _, name := range []string{"age", "mbps", "fps", "quality"} {
		b.eventually(columns(name)+" > 6", name+" is drawn over the seconds") // 188 px are a minute
		b.eventually("/^[0-9]/.test(document.querySelector('[data-plot="+name+"] .range').textContent)", name+" in figures")
	}
	b.eventually("document.querySelector('[data-plot=quality] .range').textContent === '80'", "the quality is the stand's")
	press := func(key string) { require.NoError(t, chromedp.Run(b.ctx, chromedp.KeyEvent(key))) }
	press("p")
	b.eventually("!("+shown+")", "p hides them")
	require.NoError(t, chromedp.Run(b.ctx, chromedp.Reload()))
	b.eventually(painting3+" && !("+shown+")", "and they stay hidden")
	press("p")
	b.eventually(shown+" && "+columns("fps")+" > 0", "p shows them, with what was seen meanwhile")
	b.eval("localStorage.removeItem('framebus.plots')", nil)
	require.Empty(t, b.complaints())

	phone := open(t, ctx, "http://"+s.addr+"/", 390, 844, true)
	phone.eventually(judged+" && !("+shown+")", "a phone begins without")
	require.NoError(t, chromedp.Run(phone.ctx, chromedp.Click(".plots-head", chromedp.ByQuery)))
	phone.eventually(shown+" && "+columns("age")+" > 6", "and shows them when touched")
	phone.eval("document.querySelector('.plots').scrollIntoView()", nil)
	phone.keep("phone-plots")
	require.NoError(t, chromedp.Run(phone.ctx, chromedp.EmulateViewport(844, 390, chromedp.EmulateMobile)))
	phone.eventually("document.querySelector('.plots').getBoundingClientRect().bottom < innerHeight",
		"on its side they fit too")
	phone.keep("phone-on-its-side-plots")
	phone.eval("localStorage.removeItem('framebus.plots')", nil)
	require.Empty(t, phone.complaints())
}

func keys(t *testing.T, ctx context.Context) {
	s := newStand(t, 480, 360, 10)
	b := open(t, ctx, "http://"+s.addr+"/", 1280, 720, false)
	b.eventually(painting3, "pictures are painted")
	press := func(key string) { require.NoError(t, chromedp.Run(b.ctx, chromedp.KeyEvent(key))) }
	displayed := func(id string) string {
		return "getComputedStyle(document.querySelector('" + id + "')).display !== 'none'"
	}

	press("o")
	b.eventually("!("+displayed("#overlay")+") && !("+displayed("#hops")+")", "o hides the numbers")
	press("o")
	b.eventually(displayed("#overlay"), "and shows them")

	press("h")
	b.eventually(displayed("#help"), "h helps")
	b.keep("help")
	press("\x1b")
	b.eventually("document.querySelector('#help').hidden", "Escape closes")

	require.NoError(t, chromedp.Run(b.ctx, chromedp.Click("#stream-button", chromedp.ByQuery)))
	b.eventually("document.querySelectorAll('#stream-menu button').length === 3", "the streams are listed")
	b.keep("streams")
	press("\x1b")

	press("n")
	require.Eventually(t, func() bool { return s.last("stream") == "door" }, patience, 10*time.Millisecond)
	b.eventually("location.search.includes('stream=door') && framebus.stats().stream === 'door'", "n is the next stream")
	var reconnects int
	b.eval("framebus.stats().reconnects", &reconnects)
	require.Zero(t, reconnects, "another stream is no reconnect")
	b.eventually("framebus.state === 'open' && document.querySelector('#banner').hidden", "its pictures are shown")

	// A snapshot is a link that is clicked: catch it.
	b.eval(`window.saved = []; HTMLAnchorElement.prototype.click = function () {
		window.saved.push({ name: this.download, href: this.href });
	}`, nil)
	press("s")
	b.eventually("window.saved.length === 1 && /^door-.*Z\\.jpg$/.test(window.saved[0].name)", "s saves a picture")
	b.eval(`window.saved[0].href.startsWith('blob:') || Promise.reject('no blob')`, nil)
	require.Empty(t, b.complaints())
}

func stale(t *testing.T, ctx context.Context) {
	s := newStand(t, 480, 360, 10)
	b := open(t, ctx, "http://"+s.addr+"/", 1280, 720, false)
	b.eventually(painting3, "pictures are painted")
	s.setPause(true)
	b.eventually("document.querySelector('#app').classList.contains('stale') && framebus.stats().connection === 'poor'",
		"an old picture is dimmed")
	s.setPause(false)
	b.eventually("!document.querySelector('#app').classList.contains('stale')", "and lit again")
}

func layout(t *testing.T, ctx context.Context) {
	s := newStand(t, 640, 480, 10)
	for _, c := range []struct {
		name   string
		w, h   int64
		mobile bool
	}{
		{"phone", 390, 844, true},
		{"small-phone", 320, 568, true},
		{"phone-on-its-side", 844, 390, true},
		{"wall", 1920, 1080, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := open(t, ctx, "http://"+s.addr+"/", c.w, c.h, c.mobile)
			b.eventually(judged, "the connection is judged")
			b.eventually("document.querySelector('#banner').hidden", "the picture is shown")
			b.eventually("Number(document.querySelector('[data-field=fps]').textContent) > 2 && "+
				"Number(document.querySelector('.hops-legend li:last-child b').textContent) > 0", "the numbers are there")
			var wide bool
			b.eval("document.documentElement.scrollWidth > innerWidth || document.body.scrollWidth > innerWidth ||"+
				" document.querySelector('#app').scrollWidth > innerWidth", &wide)
			require.False(t, wide, "nothing scrolls sideways")
			var outside []string
			b.eval(`[...document.querySelectorAll('.tools button, .stream-button, .pill')].filter((e) => {
				const r = e.getBoundingClientRect();
				return e.checkVisibility() && (r.width < 44 || r.height < 44 || r.left < 0 || r.top < 0 ||
					r.right > innerWidth || r.bottom > innerHeight);
			}).map((e) => e.title || e.className)`, &outside)
			require.Empty(t, outside, "every control is whole, within the window, and large enough for a thumb")
			var cut []string
			b.eval(`(() => {
				const long = { fps: '120.0', age: '1234', uncertainty: '± 123', mbps: '123.45', size: '1920×1080',
					quality: 'Q100', rtt: '1234', drops: '123456', reconnects: '1234' };
				for (const [field, text] of Object.entries(long)) {
					document.querySelector('[data-field=' + field + ']').textContent = text;
				}
				document.querySelector('#rung').textContent = 'Quarter, automatic';
				document.querySelector('#rung-why').textContent =
					'Quarter size: pictures waited 1234 ms at 0.4 Mbit/s. ' +
					'Quality 62: what the connections of this size’s viewers carry';
				for (const r of document.querySelectorAll('.range')) r.textContent = '123.4–567.8';
				for (const b of document.querySelectorAll('.hops-legend b')) b.textContent = '12345';
				return [...document.querySelectorAll('.overlay dd, .plots figure, .hops-legend li, .hops-head')].filter((e) =>
					e.scrollWidth > e.clientWidth + 1).map((e) => e.textContent);
			})()`, &cut)
			require.Empty(t, cut, "no number is cut")
			b.keep(c.name)
			require.Empty(t, b.complaints())
		})
	}
}

// modules tries what is pure, in the engine that runs it.
func modules(t *testing.T, ctx context.Context) {
	s := newStand(t, 480, 360, 10)
	b := open(t, ctx, "http://"+s.addr+"/", 1280, 720, false)

	// The golden bytes of package frame, behind a header that a later version made longer by 8 bytes.
	const golden = "4646423158030150014000f00007000100065bfeda25e000000000000000002a00065bfeda27c240" +
		"0000038480000000800000008000000080000000000000030102030405060708090a0b0c0d0e0f10"
	message := strings.Replace(golden, "46464231", "46424631", 1) + "ffffffffffffffff" + "616263"
	var head map[string]any
	b.eval(`import('/envelope.js').then(({ decode }) => decode(Uint8Array.from(
		'`+message+`'.match(/../g).map((x) => parseInt(x, 16))).buffer))`, &head)
	require.InDelta(t, 88, head["start"], 0)
	require.InDelta(t, 320, head["width"], 0)
	require.InDelta(t, 42, head["sequence"], 0)
	require.InDelta(t, 1_790_000_000_000_000, head["epoch"], 0)
	require.InDelta(t, 1_790_000_000_123_456, head["capturedUs"], 0)
	require.Equal(t, "0102030405060708090a0b0c0d0e0f10", head["traceId"])
	hops, _ := head["hops"].(map[string]any)
	require.InDelta(t, 900, hops["published"], 0)
	require.Nil(t, hops["taken"])

	var clock struct{ OffsetUs, UncertaintyUs float64 }
	b.eval(`import('/clock.js').then(({ ClockSync }) => {
		const c = new ClockSync();
		c.add(0, 1e6 + 9000, 1e6 + 9000, 10000);  // slow on the way there
		c.add(20000, 1e6 + 20500, 1e6 + 20600, 21100);  // the least round trip
		c.add(30000, 1e6 + 30100, 1e6 + 30100, 60000);  // slow on the way back
		return c.best(60000);
	})`, &clock)
	require.InDelta(t, 1e6, clock.OffsetUs, 500)
	require.InDelta(t, 502, clock.UncertaintyUs, 5)

	// The Go client is tested by the same table.
	table, err := os.ReadFile("../../../../docs/examples/connection.json")
	require.NoError(t, err)
	var words []struct{ Connection, Got string }
	b.eval("import('/stats.js').then(({ connectionQuality }) => "+string(table)+
		".map((c) => ({ ...c, got: connectionQuality(c) })))", &words)
	require.NotEmpty(t, words)
	for i, c := range words {
		require.Equal(t, c.Connection, c.Got, "line %d of the table", i+1)
	}

	// Seconds that nobody looked at are a gap, one that a busy machine missed is not.
	var parts [][]int
	b.eval(`import('/plots.js').then(({ History, runs }) => {
		const h = new History();
		for (const [value, seconds] of [[5, 1], [6, 2], [NaN, 1], [7, 1], [8, 9], [9, 1]]) h.add(value, seconds);
		return [...runs(h.values), h.range(), [h.values.at(-1)]];
	})`, &parts)
	require.Equal(t, [][]int{{45, 47}, {49, 49}, {58, 59}, {5, 9}, {9}}, parts)
	b.eval(`import('/plots.js').then(({ History, runs }) => {
		const h = new History();
		h.add(1, 1);
		h.add(2, 1000);
		return runs(h.values);
	})`, &parts)
	require.Equal(t, [][]int{{59, 59}}, parts, "an hour later nothing is left")

	var waits []float64
	b.eval(`import('/link.js').then(({ backoff }) =>
		[1, 2, 3, 4, 9, 99].flatMap((n) => [backoff(n, 0), backoff(n, 1)]))`, &waits)
	require.InDeltaSlice(t, []float64{150, 250, 300, 500, 600, 1000, 1050, 1750, 1050, 1750, 1050, 1750}, waits, 0.001)

	// Under always_on every frame is traced, and each is reported: at 1000 a second the gateway would close for a flood.
	var reports struct{ Sent, PerSecond float64 }
	b.eval(`import('/reports.js').then(({ Reports }) => {
		let sent = 0;
		const frame = { flags: 1, traceId: 'aa', epoch: 1, sequence: 0, paintedMs: 0 };
		const connection = { clock: { best: () => null }, send: () => ++sent };
		const reports = new Reports(connection, { newest: frame, totals: { superseded: 0, failed: 0, painted: 0 } });
		const from = performance.now();
		for (let i = 0; i < 1000; i++) {
			frame.sequence++;
			reports.painted(frame);
		}
		return { sent, perSecond: (sent - 21) / ((performance.now() - from) / 1000) };
	})`, &reports)
	require.GreaterOrEqual(t, reports.Sent, 20.0, "a burst is told")
	require.LessOrEqual(t, reports.PerSecond, 40.0, "no more than that for long")

	// A canvas that is slow shows the first picture and the newest of those that came meanwhile, nothing in between.
	var shown []int
	b.eval(`import('/screen.js').then(async ({ Screen }) => {
		let release;
		const gate = new Promise((resolve) => (release = resolve));
		const shown = [];
		const done = new Promise((resolve) => {
			const decode = () => gate.then(() => new OffscreenCanvas(8, 8));
			const screen = new Screen(new OffscreenCanvas(8, 8), decode, ({ number, superseded }) => {
				shown.push(number);
				if (shown.length === 2) resolve([...shown, superseded]);
			});
			for (let number = 1; number <= 9; number++) screen.put({ number, buffer: new ArrayBuffer(4), start: 0 });
		});
		release();
		return done;
	})`, &shown)
	require.Equal(t, []int{1, 9, 7}, shown)
}
