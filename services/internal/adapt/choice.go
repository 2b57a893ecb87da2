package adapt

import "time"

// Rungs of the ladder: 0 full, 1 half, 2 quarter.
const Rungs = 3

const (
	fitShare     = 0.85 // of the rate is given to pictures
	waitMuch     = 50 * time.Millisecond
	waitLittle   = 20 * time.Millisecond
	downAfter    = 750 * time.Millisecond
	upAfter      = 3 * time.Second
	upAgainAfter = time.Second      // where the last climb is young
	climbYoung   = 10 * time.Second // and falling within it is a failure
	upMargin     = 1.3
	penalty      = 1.5
	maxPenalty   = 30 * time.Second
	rungStep     = 3 // times the size a rung, where nothing is known
)

// Choice is a viewer's place on the ladder. Its zero value is on the full rung and knows nothing.
type Choice struct {
	Rung int

	congestedAt time.Duration // since when, or never
	congested   bool
	quality     int // when congestion began, or since it last fell
	clearAt     time.Duration
	clear       bool
	climbedAt   time.Duration
	climbed     bool // climbedAt is set
	judged      bool // that climb has been found good or bad
	hold        time.Duration
	holdUntil   time.Duration
}

// View is what a viewer's connection and its stream look like now.
type View struct {
	RateKnown bool
	Rate      float64 // bytes a second
	Wait      time.Duration
	OwnP80    float64 // bytes, of the pictures of its rung lately
	FPS       float64 // of the stream as this viewer gets it
	Quality   int     // of its rung now
	// Size80 is each rung's P80 size scaled to quality 80, 0 where nobody has seen one.
	Size80 [Rungs]float64
	// Now is each rung's P80 size as it is encoded now, 0 where nobody else watches it.
	Now [Rungs]float64
	// Min is the lowest quality.
	Min int
	// Top is the highest rung that is of use to the viewer: its window is no larger.
	Top int
}

// Reason is why a rung changed.
type Reason string

// The reasons.
const (
	Stays     Reason = ""
	TooSlow   Reason = "rate"       // even the lowest quality does not fit
	Congested Reason = "congestion" // pictures wait
	Climbs    Reason = "recovered"
	Viewport  Reason = "viewport"
)

// Fit is a viewer's budget, bytes a frame.
func (v *View) Fit() float64 {
	if v.FPS <= 0 {
		return 0
	}
	return fitShare * v.Rate / v.FPS
}

// low is a rung's size at the lowest quality.
func (v *View) low(r int) float64 { return SizeAt(v.size80(r), v.Min) }

// size80 is a rung's size at quality 80, from its neighbours' where it is not known itself.
func (v *View) size80(r int) float64 {
	if v.Size80[r] > 0 {
		return v.Size80[r]
	}
	for d := 1; d < Rungs; d++ {
		step := 1.0
		for range d {
			step *= rungStep
		}
		if r-d >= 0 && v.Size80[r-d] > 0 {
			return v.Size80[r-d] / step
		}
		if r+d < Rungs && v.Size80[r+d] > 0 {
			return v.Size80[r+d] * step
		}
	}
	return 0
}

// cost is a rung's size for one more viewer.
func (v *View) cost(r int) float64 {
	if v.Now[r] > 0 {
		return v.Now[r]
	}
	return v.low(r)
}

// Next is the choice after a look, four times a second.
func (c Choice) Next(now time.Duration, v View) (Choice, Reason) {
	if c.Rung < v.Top {
		c.Rung = v.Top
		return c.settled(), Viewport
	}
	if !v.RateKnown || v.FPS <= 0 || v.size80(c.Rung) == 0 {
		return c, Stays
	}
	c = c.look(now, v)
	if c.climbed && !c.judged && now-c.climbedAt > climbYoung {
		c.judged = true
		c.hold = time.Duration(float64(c.hold) / penalty)
	}
	if c.Rung < Rungs-1 {
		if v.low(c.Rung)*v.FPS > v.Rate {
			return c.down(now, v), TooSlow
		}
		if c.congested && now-c.congestedAt >= downAfter {
			return c.down(now, v), Congested
		}
	}
	if up := c.Rung - 1; up >= v.Top && c.clear && now >= c.holdUntil {
		after := upAfter
		if c.climbed && now-c.climbedAt < climbYoung {
			after = upAgainAfter
		}
		if fit := v.Fit(); now-c.clearAt >= after && fit > upMargin*v.cost(up) && fit >= v.OwnP80 {
			c.Rung = up
			c.climbed, c.climbedAt, c.judged = true, now, false
			return c.settled(), Climbs
		}
	}
	return c, Stays
}

// look notes since when the connection has been congested or clear. Quality that falls is given its time.
func (c Choice) look(now time.Duration, v View) Choice {
	congested := v.OwnP80*v.FPS > v.Rate || v.Wait > waitMuch
	switch {
	case !congested:
		c.congested = false
	case !c.congested || v.Quality < c.quality:
		c.congested, c.congestedAt, c.quality = true, now, v.Quality
	}
	free := !congested && v.Wait < waitLittle
	if !free {
		c.clear = false
	} else if !c.clear {
		c.clear, c.clearAt = true, now
	}
	return c
}

// settled begins to look anew: what was seen was another rung's.
func (c Choice) settled() Choice {
	c.congested, c.clear = false, false
	return c
}

// down goes to the highest lower rung that fits, else to the lowest, where credit sheds frames.
func (c Choice) down(now time.Duration, v View) Choice {
	if c.climbed && !c.judged && now-c.climbedAt <= climbYoung {
		c.judged = true
		if c.hold < upAfter {
			c.hold = upAfter
		} else {
			c.hold = min(time.Duration(float64(c.hold)*penalty), maxPenalty)
		}
		c.holdUntil = now + c.hold
	}
	fit := v.Fit()
	for r := c.Rung + 1; r < Rungs; r++ {
		c.Rung = r
		if v.cost(r) <= fit {
			break
		}
	}
	return c.settled()
}
