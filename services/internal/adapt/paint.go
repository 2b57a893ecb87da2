package adapt

import "time"

const (
	paintOver   = 2 * time.Second
	paintShort  = 0.9  // of what was sent; below it the client cannot keep up
	paintMargin = 1.1  // of what it paints is sent
	paintLeast  = 1.0  // frames a second
	paintSlack  = 2    // pictures that may lie between their pong and their report
	paintLasts  = 3    // reports in a row that say so: what comes in a burst is painted by the next one
	paintRise   = 1.15 // a second, while it keeps up
)

// Paint finds the rate that a client can show, from its own reports. Its zero value bounds nothing.
type Paint struct {
	cap     float64 // frames a second; 0: none
	reports []painted
	raised  time.Duration
	short   int // reports in a row that told of less than was acknowledged
}

type painted struct {
	at  time.Duration
	n   int
	got uint64
}

// Report hears that n frames were painted since the last report; got is how many the client has acknowledged so far:
// what is still on its way is not the client's to paint.
func (p *Paint) Report(at time.Duration, n int, got uint64) {
	p.reports = append(dropBefore(p.reports, func(r painted) bool { return at-r.at > paintOver }), painted{at, n, got})
	first := p.reports[0]
	span := (at - first.at).Seconds()
	if span < (paintOver / 2).Seconds() {
		return
	}
	total := 0
	for _, r := range p.reports[1:] {
		total += r.n
	}
	given := float64(got - first.got)
	rate := float64(total) / span
	if float64(total+paintSlack) < paintShort*given {
		p.short++
	} else {
		p.short = 0
	}
	switch {
	case p.short >= paintLasts:
		p.short = 0
		p.cap = max(paintMargin*rate, paintLeast)
		p.reports = p.reports[len(p.reports)-1:]
		p.raised = at
	case p.cap > 0 && at-p.raised >= time.Second:
		p.cap *= paintRise
		p.raised = at
	}
}

// Cap is the rate that the client can show, 0 where it shows all; fps is the stream's.
func (p *Paint) Cap(fps float64) float64 {
	if p.cap > 0 && fps > 0 && p.cap > fps*paintMargin {
		p.cap = 0
	}
	return p.cap
}
