package encoder

import (
	"math"
	"time"

	"github.com/framebus/framebus/proto/frame"
)

const (
	staleAfter   = time.Second
	delayBuckets = 10 // of a second each
)

// leastDelay knows the least time that a stream's frames took from their origin in the last ten seconds, by two clocks
// that need not agree. It belongs to one epoch, and to one setting of this host's clock.
type leastDelay struct {
	epoch   uint64
	steps   int
	second  int64
	buckets [delayBuckets]time.Duration // ring by second; the least of each
	known   bool
}

// stale takes note of a frame and tells whether it lay somewhere for a second on its way: what was kept back by a
// freeze comes at once and is of no use any more.
func (l *leastDelay) stale(h *frame.Header, at moment) bool {
	sent := h.CapturedUs
	if us := h.HopUs[frame.Published]; us != frame.NotSet {
		sent += int64(us)
	}
	delay := time.Duration(at.wall.UnixMicro()-sent) * time.Microsecond
	if !l.known || l.epoch != h.Epoch || l.steps != at.steps {
		*l = leastDelay{epoch: h.Epoch, steps: at.steps, known: true, second: int64(at.elapsed / time.Second)}
		l.forget(delayBuckets)
	}
	second := int64(at.elapsed / time.Second)
	gone := min(second-l.second, delayBuckets)
	l.second = second
	l.forget(gone)
	b := &l.buckets[second%delayBuckets]
	*b = min(*b, delay)
	least := *b
	for _, d := range l.buckets {
		least = min(least, d)
	}
	return delay-least > staleAfter
}

// forget empties the newest n buckets.
func (l *leastDelay) forget(n int64) {
	for i := range n {
		l.buckets[(l.second-i+delayBuckets)%delayBuckets] = math.MaxInt64
	}
}
