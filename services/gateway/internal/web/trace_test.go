package web_test

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/stretchr/testify/require"
)

// traceOf is the id of a frame's trace.
func traceOf(n uint64) (id [16]byte) {
	id[0] = 0xfb
	binary.BigEndian.PutUint64(id[8:], n)
	return id
}

func traceName(n uint64) string {
	id := traceOf(n)
	return hex.EncodeToString(id[:])
}

// serveTrace knows no trace the first time, as spans come in later than the picture, and not all of it the second.
func (s *stand) serveTrace(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	s.mu.Lock()
	s.looked[id]++
	looks := s.looked[id]
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if looks == 1 {
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": "there is no such trace"})
		return
	}
	const at = 1_790_000_000_000_000
	span := func(id, parent, service, name string, from, took int) map[string]any {
		return map[string]any{
			"span_id": id, "parent_id": parent, "service": service, "name": name, "kind": "internal",
			"start_us": at + from, "duration_us": took, "attributes": map[string]any{}, "events": []any{},
		}
	}
	publish := span("02", "01", "capture", "send framebus.v1.raw.{by}.{stream}.{encoder}", 400, 200)
	publish["kind"] = "producer"
	publish["attributes"] = map[string]any{"messaging.system": "nats", "messaging.message.body.size": 460_880}
	encode := span("04", "03", "encoder", "encode full", 900, 4100)
	encode["events"] = []any{map[string]any{"name": "quality", "at_us": at + 1000,
		"attributes": map[string]any{"framebus.quality": 62}}}
	deliver := span("06", "05", "gateway", "deliver", 5900, 9000)
	deliver["attributes"] = map[string]any{"framebus.viewer": "v1"} // whom hello greets
	spans := []any{
		span("01", "ff", "capture", "capture frame", 0, 400), publish,
		span("03", "02", "encoder", "process framebus.v1.raw.{by}.{stream}.{encoder}", 800, 4400), encode,
		deliver,
		span("05", "04", "gateway", "process framebus.v1.jpeg.{stream}.{rung}", 5600, 300),
	}
	if looks == 2 {
		spans = spans[:4]
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"trace_id": id, "spans": spans})
}

// elsewhere is where traces are looked at: it notes what it is asked for.
type elsewhere struct {
	*httptest.Server
	mu    sync.Mutex
	paths []string
}

func newElsewhere(t *testing.T) *elsewhere {
	t.Helper()
	e := &elsewhere{}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/favicon.ico" {
			return
		}
		e.mu.Lock()
		e.paths = append(e.paths, r.URL.Path)
		e.mu.Unlock()
		fmt.Fprintln(w, "a trace")
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *elsewhere) asked() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.paths...)
}

const (
	sheetOpen = "!document.querySelector('#trace').hidden"
	said      = "document.querySelector('.trace-said').textContent"
)

func (b *tab) click(selector string) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Run(b.ctx, chromedp.Click(selector, chromedp.ByQuery)))
}

func (b *tab) press(key string) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Run(b.ctx, chromedp.KeyEvent(key)))
}

// freeze stops the pictures and returns the sequence of the one that stays on the screen.
func freeze(s *stand, b *tab) uint64 {
	b.t.Helper()
	s.setPause(true)
	s.mu.Lock()
	last := s.newest
	s.mu.Unlock()
	b.eventually(fmt.Sprintf("framebus.stats().frame.sequence >= %d", last), "the last picture is painted")
	var shown uint64
	b.eval("framebus.stats().frame.sequence", &shown)
	return shown
}

func (s *stand) trace(ui string, which func(n uint64) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.traceUI, s.traced = ui, which
}

func isTraceNext(m *pb.ClientMessage) bool { return m.GetTraceNext() != nil }

func traceElsewhere(t *testing.T, ctx context.Context) {
	s, e := newStand(t, 480, 360, 10), newElsewhere(t)
	s.trace(e.URL+"/trace/{trace_id}", func(n uint64) bool { return n%5 == 0 })
	b := open(t, ctx, "http://"+s.addr+"/", 1280, 720, false)
	b.eventually("framebus.stats().totals.painted > 8", "pictures are painted")
	shown := freeze(s, b)
	traced := shown - shown%5
	b.click("#screen")
	require.Eventually(t, func() bool { return len(e.asked()) == 1 }, patience, 10*time.Millisecond, "a tab opens")
	require.Equal(t, []string{"/trace/" + traceName(traced)}, e.asked())
	b.front()
	words := "This very frame is traced."
	if traced != shown {
		words = fmt.Sprintf("the trace is of frame %d, 0.", traced)
	}
	b.eventually(sheetOpen+" && "+said+".includes('"+words+"')", "the page says which")
	b.eventually(fmt.Sprintf("document.querySelector('#trace h2').textContent === 'Frame %d'", shown), "and which it was")
	b.eventually("document.querySelector('.trace-link').href.endsWith('"+traceName(traced)+"')", "it can be opened again")
	require.Zero(t, s.count(isTraceNext), "nothing was asked for")

	// On the hop bar it is the frame that the bar is of; by the keyboard too.
	b.press("\x1b")
	b.eventually("!("+sheetOpen+")", "Escape closes")
	b.eventually(fmt.Sprintf("document.querySelector('#hops').dataset.sequence === '%d'", shown), "the bar is of it")
	b.eval("document.querySelector('#hops .hops-bar').focus()", nil)
	b.press("\r")
	require.Eventually(t, func() bool { return len(e.asked()) == 2 }, patience, 10*time.Millisecond)
	require.Equal(t, "/trace/"+traceName(traced), e.asked()[1])
	b.front()
	b.press("\x1b")
	b.eventually("document.activeElement === document.querySelector('#hops .hops-bar')", "the keyboard is where it was")
	require.Empty(t, b.complaints())
}

func traceNext(t *testing.T, ctx context.Context) {
	s, e := newStand(t, 480, 360, 10), newElsewhere(t)
	// As a gateway does: the frame after each question is traced.
	var mu sync.Mutex
	given := map[uint64]bool{}
	s.trace(e.URL+"/trace/{trace_id}", nil)
	s.mu.Lock()
	s.traced = func(n uint64) bool { // called with mu held
		asked := 0
		for _, m := range s.heard {
			if isTraceNext(m) {
				asked++
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if asked > len(given) {
			given[n] = true
		}
		return given[n]
	}
	s.mu.Unlock()
	traced := func() (newest uint64) {
		mu.Lock()
		defer mu.Unlock()
		for n := range given {
			newest = max(newest, n)
		}
		return newest
	}
	b := open(t, ctx, "http://"+s.addr+"/?stream=door", 1280, 720, false)
	b.eventually(painting3, "pictures are painted")
	b.click("#screen")
	require.Eventually(t, func() bool { return len(e.asked()) == 1 }, patience, 10*time.Millisecond, "a tab opens")
	require.Equal(t, "/trace/"+traceName(traced()), e.asked()[0])
	b.front()
	b.eventually(fmt.Sprintf("%s.includes('the trace is of frame %d,') && %s.includes('after')", said, traced(), said),
		"the page says which")
	require.Equal(t, 1, s.count(func(m *pb.ClientMessage) bool { return m.GetTraceNext().GetStream() == "door" }))

	for i, ask := range []func(){func() { b.press("t") }, func() { b.click("[data-action=trace]") }} {
		ask()
		require.Eventually(t, func() bool { return len(e.asked()) == i+2 }, patience, 10*time.Millisecond, "a tab opens")
		require.Equal(t, "/trace/"+traceName(traced()), e.asked()[i+1])
		b.front()
		b.eventually(fmt.Sprintf("document.querySelector('#trace h2').textContent === 'Frame %d'", traced()), "of it")
		b.eventually(said+" === 'This very frame is traced.'", "and says so")
	}
	require.Empty(t, b.complaints())
}

func traceHere(t *testing.T, ctx context.Context) {
	s := newStand(t, 480, 360, 10)
	s.trace("/api/v1/traces/{trace_id}", func(uint64) bool { return true })
	b := open(t, ctx, "http://"+s.addr+"/", 1280, 800, false)
	b.eventually(painting3, "pictures are painted")
	shown := freeze(s, b)
	b.click("#screen")
	b.eventually("document.querySelectorAll('.spans button').length === 4", "what is known is drawn")
	b.eventually("document.querySelectorAll('.spans button').length === 6", "and what comes later")
	b.eventually("document.querySelector('#trace').dataset.trace === '"+traceName(shown)+"'", "of the frame that was seen")
	var rows []string
	b.eval(`[...document.querySelectorAll('.spans button')].map((r) => r.style.getPropertyValue('--depth') + ' ' +
		r.dataset.service + ' ' + r.querySelector('.span-name').textContent + ' ' + r.querySelector('b').textContent)`, &rows)
	require.Equal(t, []string{
		"0 capture capture frame 400 µs", "1 capture send raw 200 µs",
		"2 encoder process raw 4.40 ms", "3 encoder encode full 4.10 ms",
		"4 gateway process jpeg 300 µs", "5 gateway deliver · this page 9.00 ms",
	}, rows, "each beneath its parent")
	var left, width string
	b.eval("document.querySelector('[data-span=\"06\"] .bar').style.left", &left)
	b.eval("document.querySelector('[data-span=\"06\"] .bar').style.width", &width)
	require.Equal(t, []string{"39.5973%", "60.4027%"}, []string{left, width})

	b.eval("document.querySelector('.spans button').focus()", nil)
	b.press(kb.ArrowDown)
	b.eventually(`document.activeElement.dataset.span === '02' &&
		document.querySelector('.span-about').textContent.includes('messaging.message.body.size460880')`,
		"the keyboard goes through the spans, and each tells what it knows")
	b.click("[data-span='04']")
	b.eventually("document.querySelector('.span-about').textContent.includes('at 1.00 ms framebus.quality=62')",
		"as does the pointer, events too")
	b.keep("trace")
	b.press("\x1b")
	b.eventually("!("+sheetOpen+")", "Escape closes")
	for _, said := range b.complaints() {
		require.Contains(t, said, "404", "only that the trace was not there yet")
	}

	phone := open(t, ctx, "http://"+s.addr+"/", 390, 844, true)
	s.setPause(false)
	phone.eventually(painting3, "pictures are painted")
	phone.click("#screen")
	phone.eventually("document.querySelectorAll('.spans button').length === 6", "a phone shows it too")
	phone.click("[data-span='02']")
	phone.eventually("document.querySelector('.span-about').textContent.includes('nats')", "with what a span knows")
	var bad bool
	phone.eval(`(() => {
		const r = document.querySelector('#trace').getBoundingClientRect();
		const cross = document.querySelector('#trace .sheet-close').getBoundingClientRect();
		return r.left < 0 || r.right > innerWidth || r.top < 0 || r.bottom > innerHeight || cross.width < 44 ||
			[...document.querySelectorAll('#trace, .sheet-body, .span-about')].some((e) => e.scrollWidth > e.clientWidth);
	})()`, &bad)
	require.False(t, bad, "it fits")
	phone.keep("phone-trace")
	phone.click("#trace .sheet-close")
	phone.eventually("!("+sheetOpen+")", "its cross closes it")
}

func traceNowhere(t *testing.T, ctx context.Context) {
	s := newStand(t, 480, 360, 10)
	b := open(t, ctx, "http://"+s.addr+"/", 1280, 720, false)
	b.eventually(painting3, "pictures are painted")
	shown := freeze(s, b)
	s.mu.Lock()
	head := s.sent[shown]
	s.mu.Unlock()
	b.click("#screen")
	b.eventually(sheetOpen+" && "+said+".startsWith('This frame is not traced.')", "the page says that it is not traced")
	requireHops(t, b, "#trace .sheet-hops", head)
	require.Zero(t, s.count(isTraceNext), "nobody could look at it")
	b.press("\x1b")
	b.press("t")
	b.eventually(said+".startsWith('No traced frame has come.')", "that none comes is told in the end")
	require.Empty(t, b.complaints())
}

// requireHops compares a hop bar with the envelope of the frame that it says it is of.
func requireHops(t *testing.T, b *tab, bar string, head frame.Header) {
	t.Helper()
	var hops []struct{ Us, AtUs, Shown string }
	b.eval(`[...document.querySelectorAll('`+bar+` .hops-legend li')].map((li) => (
		{ us: li.dataset.us, atUs: li.dataset.atUs, shown: li.querySelector('b').textContent }))`, &hops)
	require.Len(t, hops, 7)
	before := int32(0)
	for i, us := range head.HopUs {
		require.Equal(t, fmt.Sprint(us), hops[i].AtUs, "hop %d", i)
		require.Equal(t, fmt.Sprint(us-before), hops[i].Us, "hop %d", i)
		rounded := 0.0501 // a tenth while it says something
		if us-before >= 9950 {
			rounded = 0.501
		}
		require.InDelta(t, float64(us-before)/1000, number(t, hops[i].Shown), rounded, "hop %d", i)
		before = us
	}
	require.Empty(t, hops[5].AtUs+hops[6].AtUs, "what is ours is not in the envelope")
}

func number(t *testing.T, s string) (x float64) {
	t.Helper()
	_, err := fmt.Sscan(s, &x)
	require.NoError(t, err, s)
	return x
}

func hopBar(t *testing.T, ctx context.Context) {
	s := newStand(t, 480, 360, 10)
	b := open(t, ctx, "http://"+s.addr+"/", 1280, 720, false)
	b.eventually(painting3, "pictures are painted")
	shown := freeze(s, b)
	b.eventually(fmt.Sprintf("document.querySelector('#hops').dataset.sequence === '%d'", shown), "the bar is of it")
	s.mu.Lock()
	head := s.sent[shown]
	s.mu.Unlock()
	requireHops(t, b, "#hops", head)
	b.eventually("[...document.querySelectorAll('#hops small')].every((e) => e.textContent === '')",
		"one clock has no uncertainty")

	// An encoder elsewhere whose clock is 3 ms behind: what is shown is corrected, what the envelope says stays.
	s.mu.Lock()
	s.clocks[0] = &pb.ClockOffset{Instance: "stand-00000001", OffsetUs: 20, UncertaintyUs: 40}
	s.clocks[1] = &pb.ClockOffset{Instance: "other-00000002", OffsetUs: 3000, UncertaintyUs: 240}
	s.mu.Unlock()
	s.setPause(false)
	const text = "[...document.querySelectorAll('#hops .hop-time')].map((e) => e.textContent)"
	b.eventually("("+text+")[1] === '3.3±0.2' && ("+text+")[3].endsWith('±0.2')", "corrected, ± what may be wrong")
	b.eventually("("+text+")[0] === '0.2' && document.querySelectorAll('#hops li')[1].dataset.us === '300'",
		"what is within its uncertainty corrects nothing")
	require.Empty(t, b.complaints())
}
