// Package staleness tells pictures that lay somewhere on their way: what was kept back by a freeze comes at once and is
// of no use any more. It is pure, and compares clocks that need not agree.
package staleness

import (
	"math"
	"time"
)

const (
	after   = time.Second
	buckets = 10 // of a second each
)

// Clocks says which clocks the delays were taken by: an owner's epoch, and how often this host's clock was set.
type Clocks struct {
	Epoch uint64
	Steps int
}

// Least knows the least delay of a stream's pictures in the last ten seconds. It belongs to one goroutine.
type Least struct {
	clocks Clocks
	second int64
	ring   [buckets]time.Duration // by second; the least of each
	known  bool
}

// Stale takes note of a picture's delay and tells whether it is a second above the least. elapsed counts from any
// fixed moment.
func (l *Least) Stale(c Clocks, delay, elapsed time.Duration) bool {
	second := int64(elapsed / time.Second)
	if !l.known || l.clocks != c {
		*l = Least{clocks: c, known: true, second: second}
		l.forget(buckets)
	}
	gone := min(second-l.second, buckets)
	l.second = second
	l.forget(gone)
	b := &l.ring[second%buckets]
	*b = min(*b, delay)
	least := *b
	for _, d := range l.ring {
		least = min(least, d)
	}
	return delay-least > after
}

// forget empties the newest n buckets.
func (l *Least) forget(n int64) {
	for i := range n {
		l.ring[(l.second-i+buckets)%buckets] = math.MaxInt64
	}
}
