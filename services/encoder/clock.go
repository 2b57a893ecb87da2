package encoder

import (
	"sync"
	"time"
)

// stepLimit is how far the wall clock may be from where this run's start and the monotonic clock put it.
const stepLimit = 500 * time.Millisecond

// clock tells times that run on evenly: a start plus the monotonic clock. Where the wall clock is stepped it starts
// anew, and says so by counting.
type clock struct {
	begun time.Time // for the monotonic reading alone

	mu    sync.Mutex
	zero  time.Time // wall time at elapsed 0
	steps int
}

func newClock() *clock {
	now := time.Now()
	return &clock{begun: now, zero: now.Round(0)}
}

// moment is a reading of the clock.
type moment struct {
	wall    time.Time     // has no monotonic part
	elapsed time.Duration // since the clock was made, whatever the wall clock does
	steps   int           // how often the wall clock was stepped until then
}

func (c *clock) now() moment { return c.at(time.Now().Round(0), time.Since(c.begun)) }

func (c *clock) at(wall time.Time, elapsed time.Duration) moment {
	c.mu.Lock()
	defer c.mu.Unlock()
	even := c.zero.Add(elapsed)
	if wall.Sub(even).Abs() > stepLimit {
		c.zero = wall.Add(-elapsed)
		c.steps++
		even = wall
	}
	return moment{even, elapsed, c.steps}
}
