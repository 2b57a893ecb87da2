//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/client"
	"github.com/stretchr/testify/require"
)

// keptFrames are the newest frames that an independent viewer got, by sequence: the envelopes to compare the page with.
const keptFrames = 300

// envelopes is a viewer of its own beside the page.
type envelopes struct {
	mu   sync.Mutex
	seen []*kept // the newest last, keptFrames at most
}

type kept struct {
	frame.Header
	jpeg []byte
}

func keepEnvelopes(t *testing.T, addr string) *envelopes {
	t.Helper()
	e := &envelopes{}
	ctx, cancel := context.WithCancel(context.Background())
	cfg := client.Config{URL: "http://" + addr, Stream: "cam0", Rung: "full", Mode: "smooth", Every: true, Queue: 512}
	v, err := client.New(cfg, client.Deps{OnFrame: e.note})
	require.NoError(t, err)
	done := make(chan struct{})
	go func() { defer close(done); _ = v.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return e
}

func (e *envelopes) note(f *client.Frame) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.seen) == keptFrames {
		e.seen = e.seen[1:]
	}
	e.seen = append(e.seen, &kept{f.Header, bytes.Clone(f.JPEG)})
	f.Release()
}

func (e *envelopes) all() []*kept {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.seen)
}

// find gives the frame that fits, nil where the viewer did not get it: two viewers may miss different frames. It may
// still be on its way.
func (e *envelopes) find(fits func(*kept) bool) *kept {
	for until := time.Now().Add(2 * time.Second); time.Now().Before(until); <-time.After(50 * time.Millisecond) {
		all := e.all()
		if i := slices.IndexFunc(all, fits); i >= 0 {
			return all[i]
		}
	}
	return nil
}

func (e *envelopes) sequence(n string) *kept {
	return e.find(func(k *kept) bool { return fmt.Sprint(k.Sequence) == n })
}

func (k *kept) trace() string { return hex.EncodeToString(k.TraceID[:]) }

// tracer is where spans go and traces are looked at: a collector that takes anything, and a page that notes who asks.
type tracer struct {
	*httptest.Server
	mu    sync.Mutex
	paths []string
}

func startTracer(t *testing.T) *tracer {
	t.Helper()
	tr := &tracer{}
	tr.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if id, ok := strings.CutPrefix(r.URL.Path, "/trace/"); ok {
			tr.mu.Lock()
			defer tr.mu.Unlock()
			tr.paths = append(tr.paths, id)
		}
	}))
	t.Cleanup(tr.Close)
	return tr
}

func (tr *tracer) opened() []string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return slices.Clone(tr.paths)
}

func (tr *tracer) env(more ...string) []string {
	return append(more, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="+tr.URL+"/v1/traces", "FRAMEBUS_TRACE_UI="+tr.URL+"/trace/{trace_id}")
}

// viewed is the one-process edition, a page that shows it, and another viewer beside it.
type viewed struct {
	t      *testing.T
	ctx    context.Context
	up     *process
	others *envelopes
}

func view(t *testing.T, env []string) (*viewed, bool) {
	t.Helper()
	addr := freeAddr(t)
	up := runEnv(t, env, binary(t, "framebus"), "up", "--listen", addr)
	waitReady(t, addr)
	waitStream(t, addr, "cam0")
	others := keepEnvelopes(t, addr)
	ctx, ok := browse(t, "http://"+addr+"/?stream=cam0&rung=full")
	if !ok {
		return nil, false
	}
	v := &viewed{t, ctx, up, others}
	v.eventually("window.framebus && framebus.stats().totals.painted > 45", "pictures are painted")
	return v, true
}

func (v *viewed) eventually(condition, what string) {
	v.t.Helper()
	require.Eventually(v.t, func() bool { return eval[bool](v.t, v.ctx, "Boolean("+condition+")") }, patience,
		50*time.Millisecond, what)
}

// click freezes everything, finds by the clock in the picture which frame is on the screen, and clicks on it. The other
// viewer knows that frame by its picture, not by what the page says. thaw lets everything go on.
func (v *viewed) click() (shown *kept, thaw func()) {
	v.t.Helper()
	thaw = func() { v.up.signal(syscall.SIGCONT) }
	for range 5 {
		v.up.signal(syscall.SIGSTOP)
		us := v.standing()
		shown = v.others.find(func(k *kept) bool {
			if (time.Duration(us-k.CapturedUs) * time.Microsecond).Abs() > 100*time.Millisecond {
				return false // not worth decoding
			}
			read, ok := readStrip(k.jpeg)
			return ok && read == us
		})
		if shown != nil {
			require.NoError(v.t, chromedp.Run(v.ctx, chromedp.MouseClickXY(640, 220)))
			return shown, thaw
		}
		thaw()
		<-time.After(time.Second) // the other viewer missed that one: another
	}
	require.Fail(v.t, "the other viewer never got the frame on the screen")
	return nil, thaw
}

// standing is the time in the picture, once all that was on its way is painted.
func (v *viewed) standing() (us int64) {
	v.t.Helper()
	require.Eventually(v.t, func() bool {
		strip := eval[*shownStrip](v.t, v.ctx, "framebus.readStrip()")
		if strip == nil || strip.Us == nil {
			return false
		}
		stands := us == int64(*strip.Us)
		us = int64(*strip.Us)
		return stands
	}, patience, 150*time.Millisecond, "the picture never stands")
	return us
}

func (v *viewed) text(selector string) string {
	v.t.Helper()
	return eval[string](v.t, v.ctx, "document.querySelector('"+selector+"').textContent")
}

func (v *viewed) press(key string) {
	v.t.Helper()
	require.NoError(v.t, chromedp.Run(v.ctx, chromedp.KeyEvent(key)))
}

func (v *viewed) front() { require.NoError(v.t, chromedp.Run(v.ctx, page.BringToFront())) }

func TestAClickOpensTheTraceOfTheFrameOnTheScreen(t *testing.T) {
	t.Run("where traces are kept elsewhere, the very frame", func(t *testing.T) {
		tr := startTracer(t)
		v, ok := view(t, tr.env("OTEL_TRACES_SAMPLER=always_on"))
		if !ok {
			return
		}
		for i := range 3 {
			shown, thaw := v.click()
			require.Eventually(t, func() bool { return len(tr.opened()) == i+1 }, patience, 10*time.Millisecond, "no tab opens")
			require.Equal(t, shown.trace(), tr.opened()[i])
			require.Equal(t, fmt.Sprintf("Frame %d", shown.Sequence), v.text("#trace h2"))
			require.Equal(t, "This very frame is traced.", v.text(".trace-said"))
			t.Logf("frame %d is on the screen, trace %s opens", shown.Sequence, tr.opened()[i])
			thaw()
			v.front()
			v.press("\x1b")
			v.eventually(fmt.Sprintf("framebus.stats().frame.sequence > %d", shown.Sequence+45), "it goes on")
		}
		v.hopsAreTheEnvelopes()
	})
	t.Run("where one a second is traced, the newest before it, or the next", func(t *testing.T) {
		tr := startTracer(t)
		v, ok := view(t, tr.env())
		if !ok {
			return
		}
		shown, thaw := v.click()
		thaw() // where the traced frames of the last two seconds never got here, the next one is opened
		require.Eventually(t, func() bool { return len(tr.opened()) == 1 }, patience, 10*time.Millisecond, "no tab opens")
		require.Equal(t, fmt.Sprintf("Frame %d", shown.Sequence), v.text("#trace h2"))
		sequence := eval[string](t, v.ctx, "document.querySelector('#trace').dataset.traced")
		traced := v.others.sequence(sequence)
		require.NotNil(t, traced, "the other viewer never got frame %s", sequence)
		require.Equal(t, traced.trace(), tr.opened()[0])
		require.NotZero(t, traced.Flags&frame.FlagSampled)
		words := "This very frame is traced."
		if traced != shown {
			words = fmt.Sprintf("the trace is of frame %s,", sequence)
		}
		t.Logf("frame %d is on the screen: %s", shown.Sequence, v.text(".trace-said"))
		require.Contains(t, v.text(".trace-said"), words)

		v.front()
		v.eventually(fmt.Sprintf("framebus.stats().frame.sequence > %d", shown.Sequence+15), "it goes on")
		v.press("t")
		require.Eventually(t, func() bool { return len(tr.opened()) == 2 }, patience, 10*time.Millisecond, "t opens no trace")
		next := v.others.find(func(k *kept) bool { return k.trace() == tr.opened()[1] })
		require.NotNil(t, next, "the other viewer never got the frame of trace %s", tr.opened()[1])
		require.Equal(t, fmt.Sprintf("Frame %d", next.Sequence), v.text("#trace h2"))
		require.Greater(t, next.Sequence, shown.Sequence)
	})
}

func TestThePageDrawsTracesAndTheLedgerItself(t *testing.T) {
	v, ok := view(t, []string{"OTEL_TRACES_SAMPLER=always_on"})
	if !ok {
		return
	}
	shown, thaw := v.click()
	thaw() // the spans are in the process that was frozen
	v.eventually("document.querySelector('#trace').dataset.trace === '"+shown.trace()+"'", "another trace is opened")
	require.Equal(t, fmt.Sprintf("Frame %d", shown.Sequence), v.text("#trace h2"))
	const rows = "[...document.querySelectorAll('.spans button')]"
	v.eventually(`['capture', 'encoder', 'gateway'].every((s) => `+rows+`.some((b) => b.dataset.service === s)) &&
		`+rows+`.some((b) => b.textContent.includes('deliver'))`, "not every service's spans are drawn")
	depths := eval[[]string](t, v.ctx, rows+`.map((b) => b.style.getPropertyValue('--depth') + ' ' + b.dataset.service)`)
	require.Equal(t, "0 capture", depths[0])
	require.Equal(t, 1, strings.Count(strings.Join(depths, "\n"), "0 "), "it is one trace: %v", depths)
	v.eventually(rows+`[0].focus() || document.querySelector('.span-about').textContent.includes('framebus.sequence`+
		fmt.Sprint(shown.Sequence)+`')`, "a span tells whose it is")
	shoot(t, v.ctx, "trace.png")

	v.press("l")
	v.eventually("document.querySelectorAll('#ledger [data-line]').length >= 6", "the ledger is not drawn")
	v.eventually("document.querySelector('.ledger-verdict').textContent === 'Every frame is explained.'", "unexplained")
	// A line that has just begun has nothing in it yet.
	v.eventually(`[...document.querySelectorAll('#ledger [data-line]')].every((tr) => {
		const sum = (of) => [...tr.querySelectorAll(of + ' .amount')].reduce((n, e) => n + Number(e.dataset.n), 0);
		return sum('.ledger-total') > 0 && sum('.ledger-total') === sum('.ledger-parts');
	})`, "what is shown does not add up")
	shoot(t, v.ctx, "ledger.png")
}

// hopsAreTheEnvelopes compares the hop bar with the envelopes that the other viewer got, as it goes.
func (v *viewed) hopsAreTheEnvelopes() {
	v.t.Helper()
	type bar struct {
		Sequence string
		AtUs     []string
		Shown    []float64
	}
	compared := 0
	for range 30 {
		if compared == 8 {
			return
		}
		b := eval[bar](v.t, v.ctx, `(() => {
			const hops = document.querySelector('#hops');
			const items = [...hops.querySelectorAll('li')];
			return { sequence: hops.dataset.sequence, atUs: items.map((li) => li.dataset.atUs),
				shown: items.map((li) => Number(li.querySelector('b').textContent)) };
		})()`)
		v.eventually("document.querySelector('#hops').dataset.sequence !== '"+b.Sequence+"'", "the bar goes on")
		told := v.others.sequence(b.Sequence)
		if told == nil {
			continue
		}
		compared++
		before := int32(0)
		for i, us := range told.HopUs {
			require.Equal(v.t, fmt.Sprint(us), b.AtUs[i], "frame %s, hop %d", b.Sequence, i)
			ms, rounded := float64(us-before)/1000, 0.0501
			if ms >= 9.95 {
				rounded = 0.501
			}
			require.InDelta(v.t, max(0, ms), b.Shown[i], rounded, "frame %s, hop %d", b.Sequence, i)
			before = us
		}
	}
	require.Fail(v.t, "the two viewers have too few frames in common")
}
