package source

import "time"

// skipAhead is how late a frame may be before the schedule moves on instead of being caught up with.
const skipAhead = 250 * time.Millisecond

// pacer is an absolute schedule of frames: a late one does not delay those after it. What was missed for less than
// skipAhead is made up for at no more than twice the rate, what was missed for longer is never shown in a burst.
type pacer struct {
	interval   time.Duration
	next, last time.Time
}

func newPacer(fps float64) *pacer {
	return &pacer{interval: time.Duration(float64(time.Second) / fps)}
}

// due is when the next frame is to be shown; it may have passed.
func (p *pacer) due(now time.Time) time.Time {
	if now.Sub(p.next) > max(skipAhead, 2*p.interval) {
		p.next = now
	}
	due := p.next
	if soonest := p.last.Add(p.interval / 2); soonest.After(due) {
		due = soonest
	}
	p.next = p.next.Add(p.interval)
	p.last = due
	if now.After(due) {
		p.last = now
	}
	return due
}
