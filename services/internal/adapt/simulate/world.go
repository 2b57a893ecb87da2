package simulate

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/framebus/framebus/services/internal/adapt"
)

// Scenario is what is simulated: one stream, and who watches it.
type Scenario struct {
	Seed     uint64
	Duration time.Duration
	// Warm is left out of the results.
	Warm time.Duration
	FPS  float64 // default 30
	// Size80 is of a full picture at quality 80, bytes; each is up to 10 % larger or smaller. Default 24,000
	Size80 float64
	// Shares are what a rung's pictures have of it. Default: a camera's
	Shares   [adapt.Rungs]float64
	Limits   adapt.Limits // default 30 to 80
	Gateways int          // viewers take turns; default 1
	// Encoders take turns with frames; each works from then on. Default: one, from the beginning.
	Encoders []time.Duration
	// Scenes makes pictures 1.6 times as large, and again as large as before, every 10 s.
	Scenes  bool
	Viewers []*Network
	// Fixed holds every viewer on the full rung.
	Fixed bool
	// Blind sends every picture at once, without credit, with a queue of so many; for comparison. 0: the rules.
	Blind int
}

// cameras' and the test pattern's pictures have so much of the full one's size, by rung.
var (
	cameras = [adapt.Rungs]float64{1, 0.33, 0.11}
	pattern = [adapt.Rungs]float64{1, 0.44, 0.19}
)

const (
	encodeTime = time.Millisecond
	busTime    = time.Millisecond // of any message
	lookEvery  = 250 * time.Millisecond
	sizesKept  = 30 // pictures of a rung that its size is told from
	settle     = 500 * time.Millisecond
)

// world runs a scenario.
type world struct {
	clock
	s        Scenario
	rand     *rand.Rand
	gateways []*gateway
	encoders []*encoder
	viewers  []*viewer
	full     float64 // bytes of all pictures at full size and the highest quality, after Warm
	spread   int
}

// Run simulates a scenario. Its networks are used up.
func Run(s Scenario) Result {
	s.Gateways = max(s.Gateways, 1)
	if s.Limits == (adapt.Limits{}) {
		s.Limits = adapt.Limits{Min: 30, Max: 80}
	}
	if len(s.Encoders) == 0 {
		s.Encoders = []time.Duration{0}
	}
	if s.FPS == 0 {
		s.FPS = 30
	}
	if s.Size80 == 0 {
		s.Size80 = 24_000
	}
	if s.Shares == ([adapt.Rungs]float64{}) {
		s.Shares = cameras
	}
	w := &world{s: s, rand: rand.New(rand.NewPCG(s.Seed, 1))}
	for _, from := range s.Encoders {
		w.encoders = append(w.encoders, newEncoder(w, from))
	}
	for range s.Gateways {
		g := &gateway{w: w}
		w.gateways = append(w.gateways, g)
		w.at(w.some(lookEvery), g.look)
	}
	for i, n := range s.Viewers {
		g := w.gateways[i%s.Gateways]
		v := newViewer(w, g, n)
		g.viewers = append(g.viewers, v)
		w.viewers = append(w.viewers, v)
		w.at(w.some(bareEvery), v.bare)
		if n.Pongs.Painted {
			w.at(w.some(reportEvery), v.report)
		}
	}
	for _, g := range w.gateways {
		g.tell()
	}
	w.at(0, func() { w.frame(0) })
	w.run(s.Duration)
	out := Result{Spread: w.spread}
	for _, v := range w.viewers {
		out.Viewers = append(out.Viewers, v.result())
	}
	return out
}

func (w *world) some(d time.Duration) time.Duration { return time.Duration(w.rand.Int64N(int64(d))) }

type picture struct {
	captured      time.Duration
	sequence      int
	rung, quality int
	bytes         int
}

// frame captures one, has one of the encoders make the rungs that are wanted, and hands them to the gateways.
func (w *world) frame(n int) {
	w.at(time.Duration(float64(n+1)/w.s.FPS*float64(time.Second)), func() { w.frame(n + 1) })
	size := w.s.Size80 * (1 + 0.1*(2*w.rand.Float64()-1))
	if w.s.Scenes && int(w.now/(10*time.Second))%2 == 1 {
		size *= 1.6
	}
	if w.now >= w.s.Warm {
		w.full += adapt.SizeAt(size, w.s.Limits.Max) + aroundBytes
	}
	var live []*encoder
	for _, e := range w.encoders {
		if e.from <= w.now {
			live = append(live, e)
		}
	}
	w.compare(live)
	e := live[n%len(live)]
	var pictures [adapt.Rungs]*picture
	for r := range pictures {
		if e.wanted[r] {
			q := e.quality[r]
			pictures[r] = &picture{w.now, n, r, q, int(adapt.SizeAt(size*w.s.Shares[r], q))}
		}
	}
	w.after(encodeTime+busTime, func() {
		for _, g := range w.gateways {
			g.take(pictures)
		}
	})
}

// compare notes how far the qualities of encoders lie apart that have had the time to hear what the others heard.
func (w *world) compare(live []*encoder) {
	var lo, hi [adapt.Rungs]int
	n := 0
	for _, e := range live {
		if w.now-e.from < settle {
			continue
		}
		for r, q := range e.quality {
			if n == 0 {
				lo[r], hi[r] = q, q
			}
			if e.wanted[r] {
				lo[r], hi[r] = min(lo[r], q), max(hi[r], q)
			}
		}
		n++
	}
	for r := range lo {
		w.spread = max(w.spread, hi[r]-lo[r])
	}
}

// demand is what a gateway tells of one rung.
type demand struct {
	wanted  bool
	budgets adapt.Histogram
	size80  float64
	samples int
}

// encoder knows what the gateways told it since it runs.
type encoder struct {
	w       *world
	from    time.Duration
	heard   map[*gateway][adapt.Rungs]demand
	wanted  [adapt.Rungs]bool
	quality [adapt.Rungs]int
}

func newEncoder(w *world, from time.Duration) *encoder {
	e := &encoder{w: w, from: from, heard: map[*gateway][adapt.Rungs]demand{}}
	e.wanted[0] = true // until it has listened
	for r := range e.quality {
		e.quality[r] = w.s.Limits.Max
	}
	return e
}

func (e *encoder) hear(g *gateway, d [adapt.Rungs]demand) {
	if e.w.now < e.from {
		return
	}
	e.heard[g] = d
	for r := range e.quality {
		var all adapt.Histogram
		var best demand
		e.wanted[r] = false
		for _, of := range e.w.gateways {
			d := e.heard[of][r]
			e.wanted[r] = e.wanted[r] || d.wanted
			all.Merge(d.budgets[:])
			if d.samples > best.samples || d.samples == best.samples && d.size80 > best.size80 {
				best = d
			}
		}
		e.quality[r] = adapt.Quality(r, &all, best.size80, e.w.s.Limits)
	}
}

// gateway knows its viewers and the pictures it has seen.
type gateway struct {
	w       *world
	viewers []*viewer
	sizes   [adapt.Rungs][]float64 // of the last pictures at quality 80
	quality [adapt.Rungs]int       // of the last one
}

func (g *gateway) take(pictures [adapt.Rungs]*picture) {
	for r, p := range pictures {
		if p == nil {
			continue
		}
		g.quality[r] = p.quality
		g.sizes[r] = append(g.sizes[r], adapt.Size80(float64(p.bytes), p.quality))
		if n := len(g.sizes[r]); n > sizesKept {
			g.sizes[r] = g.sizes[r][n-sizesKept:]
		}
	}
	for _, v := range g.viewers {
		if pictures[v.choice.Rung] != nil {
			v.rung = v.choice.Rung
		}
		if p := pictures[v.rung]; p != nil {
			v.offer(p)
		}
	}
}

// look decides for every viewer, four times a second, and tells the encoders.
func (g *gateway) look() {
	g.w.after(lookEvery, g.look)
	view := adapt.View{Min: g.w.s.Limits.Min}
	for r, s := range g.sizes {
		view.Size80[r] = p80(s)
	}
	var users [adapt.Rungs]int
	for _, v := range g.viewers {
		users[v.rung]++
	}
	for _, v := range g.viewers {
		mine := view
		mine.Quality = g.quality[v.rung]
		for r := range mine.Now {
			others := users[r]
			if r == v.rung {
				others--
			}
			if others > 0 && g.quality[r] > 0 && view.Size80[r] > 0 {
				mine.Now[r] = adapt.SizeAt(view.Size80[r], g.quality[r])
			}
		}
		v.look(mine)
	}
	g.tell()
}

func (g *gateway) tell() {
	var d [adapt.Rungs]demand
	for r := range d {
		d[r].size80, d[r].samples = p80(g.sizes[r]), len(g.sizes[r])
	}
	for _, v := range g.viewers {
		d[v.rung].wanted = true // until a picture of the next one is there
		d[v.choice.Rung].wanted = true
		d[v.choice.Rung].budgets.Add(v.budget)
	}
	g.w.after(busTime, func() {
		for _, e := range g.w.encoders {
			e.hear(g, d)
		}
	})
}

func p80(sizes []float64) float64 {
	if len(sizes) == 0 {
		return 0
	}
	var room [sizesKept]float64
	s := append(room[:0], sizes...)
	slices.Sort(s)
	return s[(len(s)*80-1)/100]
}
