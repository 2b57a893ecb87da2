package simulate

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/framebus/framebus/services/internal/adapt"
)

// Scenario is what is simulated.
type Scenario struct {
	Seed     uint64
	Duration time.Duration
	// Warm is left out of the results.
	Warm     time.Duration
	FPS      float64
	Size80   float64 // of a full picture at quality 80, bytes
	Limits   adapt.Limits
	Gateways int
	// Scenes changes the size of pictures by 1.6 and back every 10 s.
	Scenes  bool
	Viewers []*Network
	// Fixed holds every viewer on the full rung.
	Fixed bool
}

// Viewer is what one of them got.
type Viewer struct {
	FPS           float64
	AgeP50        time.Duration
	AgeP95        time.Duration
	Quality       float64 // mean of what was shown
	Rung          float64 // mean
	RungChanges   int
	Mbps          float64
	Frames        int
	Trace         []Point
	MeanRateShare float64 // of what the link could carry
}

// Point is one second of a viewer.
type Point struct {
	FPS, Age, Mbps, Quality float64
	Rung                    int
}

// rungSizes is what a rung's pictures have of the full one's size.
var rungSizes = [adapt.Rungs]float64{1, 0.33, 0.11}

// world runs a scenario.
type world struct {
	s       Scenario
	rand    *rand.Rand
	now     time.Duration
	events  events
	order   int
	quality [adapt.Rungs]int
	viewers []*model
	scene   float64
}

type event struct {
	at    time.Duration
	order int
	do    func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].order < e[j].order
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

func (w *world) at(t time.Duration, do func()) {
	w.order++
	heap.Push(&w.events, event{t, w.order, do})
}

// encodeTime and busTime are what a picture takes on its way to the gateway.
const (
	encodeTime = time.Millisecond
	busTime    = time.Millisecond
	lookEvery  = 250 * time.Millisecond
	bareEvery  = 500 * time.Millisecond
	bareBytes  = 12
	pingBytes  = 10
	seen       = 30 // pictures of a rung that its size is told from
)

// Run simulates a scenario.
func Run(s Scenario) []Viewer {
	if s.Gateways == 0 {
		s.Gateways = 1
	}
	if s.Limits == (adapt.Limits{}) {
		s.Limits = adapt.Limits{Min: 30, Max: 80}
	}
	w := &world{s: s, rand: rand.New(rand.NewPCG(s.Seed, 1)), scene: 1}
	for r := range w.quality {
		w.quality[r] = s.Limits.Max
	}
	for i, n := range s.Viewers {
		m := newModel(w, n, i%s.Gateways)
		w.viewers = append(w.viewers, m)
		w.at(time.Duration(w.rand.Int64N(int64(bareEvery))), m.bare)
		w.at(time.Duration(w.rand.Int64N(int64(lookEvery))), m.look)
	}
	w.at(0, func() { w.frame(0) })
	w.at(0, w.feedback)
	for len(w.events) > 0 && w.now < s.Duration {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
	}
	out := make([]Viewer, len(w.viewers))
	for i, m := range w.viewers {
		out[i] = m.result()
	}
	return out
}

// frame captures one, encodes the rungs that are wanted and hands them to the viewers.
func (w *world) frame(n int) {
	interval := time.Duration(float64(time.Second) / w.s.FPS)
	w.at(time.Duration(n+1)*interval, func() { w.frame(n + 1) })
	if w.s.Scenes {
		w.scene = 1
		if int(w.now/(10*time.Second))%2 == 1 {
			w.scene = 1.6
		}
	}
	captured := w.now
	var pictures [adapt.Rungs]*picture
	noise := 1 + 0.1*(2*w.rand.Float64()-1)
	for r := range pictures {
		size := adapt.SizeAt(w.s.Size80*rungSizes[r]*w.scene*noise, w.quality[r])
		pictures[r] = &picture{captured: captured, sequence: n, rung: r, quality: w.quality[r], bytes: int(size)}
	}
	w.at(captured+encodeTime+busTime, func() {
		for _, v := range w.viewers {
			v.offer(pictures[v.choice.Rung])
		}
	})
}

// feedback is every gateway's, merged by adding, and what the encoders make of it.
func (w *world) feedback() {
	w.at(w.now+lookEvery, w.feedback)
	for r := range adapt.Rungs {
		var h adapt.Histogram
		var size80 float64
		samples := 0
		for g := range w.s.Gateways {
			var sizes []float64
			for _, v := range w.viewers {
				if v.gateway == g && v.choice.Rung == r {
					h.Add(v.budget())
					if len(v.sizes[r]) > len(sizes) {
						sizes = v.sizes[r]
					}
				}
			}
			if len(sizes) > samples {
				samples, size80 = len(sizes), p80(sizes)
			}
		}
		w.quality[r] = adapt.Quality(&h, size80, w.s.Limits)
	}
}

func p80(sizes []float64) float64 {
	s := slices.Clone(sizes)
	slices.Sort(s)
	return s[(len(s)*80-1)/100]
}

type picture struct {
	captured       time.Duration
	sequence, rung int
	quality, bytes int
}

// model is a viewer: the gateway's side of its connection, its network and its screen.
type model struct {
	w       *world
	net     *Network
	gateway int
	link    adapt.Link
	choice  adapt.Choice

	slot      *picture
	slotSince time.Duration // since when the slot has been filled
	flight    []flying
	draining  bool
	drainedAt time.Duration
	wakeAt    time.Duration
	sizes     [adapt.Rungs][]float64

	shown   []shown
	changes int
}

type flying struct {
	p      *picture
	at     time.Duration
	waited time.Duration
}

type shown struct {
	at, age time.Duration
	p       *picture
}

func newModel(w *world, n *Network, gateway int) *model {
	n.tokens = n.Bucket
	return &model{w: w, net: n, gateway: gateway}
}

func (m *model) offer(p *picture) {
	size80 := adapt.Size80(float64(p.bytes), p.quality)
	s := append(m.sizes[p.rung], size80)
	if len(s) > seen {
		s = s[1:]
	}
	m.sizes[p.rung] = s
	if m.slot == nil {
		m.slotSince = m.w.now
	}
	m.slot = p
	m.pump()
}

// pump sends the newest picture if credit is there.
func (m *model) pump() {
	now := m.w.now
	if m.slot == nil || m.draining {
		return
	}
	if len(m.flight) >= m.link.Window(now, m.w.s.FPS) {
		return
	}
	if len(m.flight) > 0 {
		oldest := m.flight[0]
		if m.link.Overdue(now, oldest.at, oldest.p.bytes) {
			return
		}
		if at := m.link.NotBefore(len(m.flight)); at > now {
			if m.wakeAt <= now || m.wakeAt > at {
				m.wakeAt = at
				m.w.at(at, m.pump)
			}
			return
		}
	}
	p := m.slot
	m.slot = nil
	f := flying{p, now, now - m.slotSince}
	m.flight = append(m.flight, f)
	m.link.Sent(now, p.bytes)
	arrives := m.net.carry(now, p.bytes+pingBytes) + m.net.RTT(now)/2
	m.w.at(arrives, func() {
		m.shown = append(m.shown, shown{m.w.now, m.w.now - p.captured, p})
		m.w.at(m.w.now+m.net.RTT(m.w.now)/2, func() { m.pong(f) })
	})
}

func (m *model) pong(f flying) {
	now := m.w.now
	m.link.Pong(now, now-f.at)
	m.link.Acked(now, f.at, f.p.bytes, f.waited)
	for i := range m.flight {
		if m.flight[i].p == f.p {
			m.flight = slices.Delete(m.flight, 0, i+1)
			break
		}
	}
	m.pump()
}

// bare sends a ping that goes alone. A congested connection's flight runs empty before it now and then.
func (m *model) bare() {
	m.w.at(m.w.now+bareEvery, m.bare)
	now := m.w.now
	congested := m.link.Wait(now, 0) > 50*time.Millisecond
	if m.link.Window(now, m.w.s.FPS) > 1 && congested && now-m.drainedAt >= adapt.DrainEvery {
		m.draining, m.drainedAt = true, now
		m.drain()
		return
	}
	m.ping(nil)
}

// drain waits for the flight to be empty, pings, and goes on at the pong.
func (m *model) drain() {
	if len(m.flight) > 0 && m.w.now-m.drainedAt < time.Second {
		m.w.at(m.w.now+2*time.Millisecond, m.drain)
		return
	}
	m.ping(func() { m.draining = false; m.pump() })
}

func (m *model) ping(then func()) {
	sent := m.w.now
	arrives := m.net.carry(sent, bareBytes) + m.net.RTT(sent)/2
	m.w.at(arrives+m.net.RTT(arrives)/2, func() {
		m.link.Pong(m.w.now, m.w.now-sent)
		if then != nil {
			then()
		} else {
			m.pump()
		}
	})
}

func (m *model) view() adapt.View {
	now := m.w.now
	v := adapt.View{FPS: m.w.s.FPS, Quality: m.w.quality[m.choice.Rung], Min: m.w.s.Limits.Min}
	v.Rate, v.RateKnown = m.link.Rate(now)
	stalled := time.Duration(0)
	if m.slot != nil {
		stalled = now - m.slotSince
	}
	v.Wait = m.link.Wait(now, stalled)
	v.OwnP80 = m.link.OwnP80(now)
	for _, o := range m.w.viewers {
		for r := range adapt.Rungs {
			if s := o.sizes[r]; o.gateway == m.gateway && len(s) > 0 {
				v.Size80[r] = p80(s)
				if o != m && o.choice.Rung == r {
					v.Now[r] = adapt.SizeAt(p80(s), m.w.quality[r])
				}
			}
		}
	}
	return v
}

func (m *model) budget() float64 {
	v := m.view()
	if !v.RateKnown {
		return math.MaxFloat64
	}
	return v.Fit()
}

func (m *model) look() {
	m.w.at(m.w.now+lookEvery, m.look)
	if m.w.s.Fixed {
		return
	}
	before := m.choice.Rung
	m.choice, _ = m.choice.Next(m.w.now, m.view())
	if m.choice.Rung != before && m.w.now >= m.w.s.Warm {
		m.changes++
	}
}

func (m *model) result() Viewer {
	out := Viewer{RungChanges: m.changes}
	span := m.w.s.Duration - m.w.s.Warm
	var ages []time.Duration
	bytes := 0
	points := make([]Point, int(m.w.s.Duration/time.Second)+1)
	for _, s := range m.shown {
		p := &points[int(s.at/time.Second)]
		p.FPS++
		p.Age += float64(s.age.Milliseconds())
		p.Mbps += float64(s.p.bytes) * 8 / 1e6
		p.Quality += float64(s.p.quality)
		p.Rung = s.p.rung
		if s.at < m.w.s.Warm {
			continue
		}
		ages = append(ages, s.age)
		bytes += s.p.bytes
		out.Quality += float64(s.p.quality)
		out.Rung += float64(s.p.rung)
	}
	for i := range points {
		if n := points[i].FPS; n > 0 {
			points[i].Age /= n
			points[i].Quality /= n
		}
	}
	out.Trace = points
	out.Frames = len(ages)
	if len(ages) == 0 {
		return out
	}
	slices.Sort(ages)
	out.FPS = float64(len(ages)) / span.Seconds()
	out.AgeP50, out.AgeP95 = ages[len(ages)/2], ages[len(ages)*95/100]
	out.Quality /= float64(len(ages))
	out.Rung /= float64(len(ages))
	out.Mbps = float64(bytes) * 8 / 1e6 / span.Seconds()
	could := 0.0
	for t := m.w.s.Warm; t < m.w.s.Duration; t += 100 * time.Millisecond {
		could += m.net.Rate(t) * 0.1
	}
	out.MeanRateShare = float64(bytes) / could
	return out
}
