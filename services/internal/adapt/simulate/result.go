package simulate

import (
	"slices"
	"time"
)

// Result is what came of a scenario.
type Result struct {
	Viewers []Viewer
	// Spread is how far apart the qualities of two encoders ever were, half a second after the later one began.
	Spread int
}

// Viewer is what one of them got, after the warm-up.
type Viewer struct {
	FPS            float64
	AgeP50, AgeP95 time.Duration
	Quality        float64 // mean of what was shown
	Rung           float64 // mean
	Moves          float64 // changes of rung a minute
	Mbps           float64
	// Use is what it got of what the link could carry, or of full size at the best quality where that is less.
	Use float64
	// Trace is second by second, from the beginning.
	Trace []Point
}

// Point is one second of a viewer.
type Point struct {
	FPS, AgeMs, Mbps, Quality, Rung float64
	LinkMbps                        float64
}

func (v *viewer) result() Viewer {
	warm, end := v.w.s.Warm, v.w.s.Duration
	span := (end - warm).Seconds()
	out := Viewer{Moves: float64(v.moves) / span * 60, Trace: make([]Point, int(end/time.Second))}
	var ages []time.Duration
	bytes := 0.0
	for _, s := range v.shown {
		age := s.at - s.p.captured
		if i := int(s.at / time.Second); i < len(out.Trace) {
			p := &out.Trace[i]
			p.FPS++
			p.AgeMs += age.Seconds() * 1e3
			p.Mbps += float64(s.p.bytes) * 8 / 1e6
			p.Quality += float64(s.p.quality)
			p.Rung += float64(s.p.rung)
		}
		if s.at < warm {
			continue
		}
		ages = append(ages, age)
		bytes += float64(s.p.bytes)
		out.Quality += float64(s.p.quality)
		out.Rung += float64(s.p.rung)
	}
	for i := range out.Trace {
		p := &out.Trace[i]
		p.LinkMbps = v.net.Rate(time.Duration(i)*time.Second+time.Second/2) * 8 / 1e6
		if p.FPS > 0 {
			p.AgeMs /= p.FPS
			p.Quality /= p.FPS
			p.Rung /= p.FPS
		}
	}
	if len(ages) == 0 {
		return out
	}
	n := float64(len(ages))
	slices.Sort(ages)
	out.AgeP50, out.AgeP95 = ages[len(ages)/2], ages[len(ages)*95/100]
	out.FPS, out.Mbps = n/span, bytes*8/1e6/span
	out.Quality /= n
	out.Rung /= n
	could := 0.0
	const step = 100 * time.Millisecond
	for t := warm; t < end; t += step {
		could += v.net.Rate(t) * step.Seconds()
	}
	out.Use = (bytes + n*aroundBytes) / min(could, v.w.full)
	return out
}
