package viewer

import (
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/gateway/internal/picture"
	"github.com/framebus/framebus/services/internal/adapt"
)

const (
	smoothDepth = 30
	// gapPatience is how long a smooth viewer's next picture waits for an earlier one that another encoder still has.
	gapPatience = 100 * time.Millisecond
)

// lane is one stream on its way to one viewer. All of it lies under the viewer's lock.
type lane struct {
	channel uint16
	tuning  Tuning
	smooth  bool
	account Account

	// waiting is what was taken and not yet sent, in order. Bound: 1, or smoothDepth for a smooth viewer; when it is
	// full the oldest is skipped as superseded.
	waiting []slotted
	order   order
	pace    pace
	since   time.Duration // when the empty lane was filled; a replacement does not restart it

	choice adapt.Choice
	paint  adapt.Paint

	offered   uint64
	frames    uint64
	acked     uint64 // of them, read by the client
	skipped   [reasons]uint64
	tallies   tallies // the same by epoch and rung
	lastOffer time.Duration
	interval  time.Duration // between two offers, smoothed
	rung      frame.Rung    // of the last picture sent
	quality   uint8
	age       time.Duration
	traces    *traces // the viewer's; nil in tests that have none
	traced    traced
}

type slotted struct {
	p  *picture.Picture
	at time.Duration // when it was offered
}

func newLane(channel uint16, smooth bool) *lane {
	l := &lane{channel: channel, smooth: smooth, account: noAccount{}}
	depth := 1
	if smooth {
		depth = smoothDepth
	}
	l.waiting = make([]slotted, 0, depth)
	return l
}

// offer takes a picture to wait, or skips it or another one and counts why. It returns the time since the last offer.
func (l *lane) offer(p *picture.Picture, at time.Duration) (since time.Duration) {
	h := &p.Header
	if l.offered > 0 {
		since = at - l.lastOffer
		if l.interval == 0 {
			l.interval = since
		}
		l.interval += (min(since, time.Second) - l.interval) / 8
	}
	l.offered++
	l.tallies.of(h).Offered++
	l.lastOffer = at
	late := l.order.Late(h, at)
	l.order.Heard(h, at)
	switch {
	case l.tuning.Hidden:
		l.skip(p, Hidden)
	case late:
		l.skip(p, Late)
	default:
		fps, why := l.bound()
		if !l.pace.Take(h.CapturedUs, fps) {
			l.skip(p, why)
			break
		}
		if len(l.waiting) == 0 {
			l.since = at
		}
		l.put(slotted{p, at})
	}
	return since
}

// bound is the rate that the lane is thinned to, 0 for all of it, and who wants it so.
func (l *lane) bound() (fps float64, why Reason) {
	fps = l.tuning.MaxFPS
	if shown := l.paint.Cap(l.fps()); !l.smooth && shown > 0 && (fps <= 0 || shown < fps) {
		return shown, Client
	}
	return fps, MaxFPS
}

// fps is the stream's own rate, 0 while unknown.
func (l *lane) fps() float64 {
	if l.interval <= 0 {
		return 0
	}
	return float64(time.Second) / float64(l.interval)
}

// rate is what of it the viewer is to get.
func (l *lane) rate() float64 {
	fps := l.fps()
	if most, _ := l.bound(); most > 0 {
		fps = min(fps, most)
	}
	if l.tuning.Hidden {
		return 0
	}
	return fps
}

func (l *lane) put(s slotted) {
	i := len(l.waiting)
	for i > 0 && precedes(s.p, l.waiting[i-1].p) {
		i--
	}
	if i > 0 && same(l.waiting[i-1].p, s.p) {
		l.skip(s.p, Late) // it came twice
		return
	}
	if len(l.waiting) == cap(l.waiting) {
		if i == 0 {
			l.skip(s.p, Late) // older than all that wait
			return
		}
		l.skip(l.waiting[0].p, Superseded)
		copy(l.waiting, l.waiting[1:i])
		l.waiting[i-1] = s
		return
	}
	l.waiting = append(l.waiting, s)
	copy(l.waiting[i+1:], l.waiting[i:])
	l.waiting[i] = s
}

// precedes orders pictures of one epoch by sequence; across epochs they stay as they came, since a later run may have
// an earlier clock.
func precedes(a, b *picture.Picture) bool {
	return a.Header.Epoch == b.Header.Epoch && a.Header.Sequence < b.Header.Sequence
}

func same(a, b *picture.Picture) bool {
	return a.Header.Epoch == b.Header.Epoch && a.Header.Sequence == b.Header.Sequence
}

// ready tells whether a picture may go now; else, if one waits for a gap to close, when it may.
func (l *lane) ready(now time.Duration) (ok bool, at time.Duration) {
	if len(l.waiting) == 0 {
		return false, 0
	}
	s := l.waiting[0]
	if l.smooth && l.tuning.MaxFPS <= 0 && len(l.waiting) < smoothDepth && l.order.Gap(&s.p.Header) {
		if until := s.at + gapPatience; now < until {
			return false, until
		}
	}
	return true, 0
}

// take removes the next picture; nil where what waited turned out late.
func (l *lane) take(now time.Duration) *picture.Picture {
	p := l.waiting[0].p
	n := copy(l.waiting, l.waiting[1:])
	l.waiting[n] = slotted{} // a sent picture must not be kept alive
	l.waiting = l.waiting[:n]
	l.since = now // the next of a smooth viewer has waited from now on
	if l.order.Late(&p.Header, now) {
		l.skip(p, Late)
		return nil
	}
	l.order.Sent(&p.Header, now)
	l.frames++
	l.tallies.of(&p.Header).Delivered++
	l.rung, l.quality = p.Header.Rung, p.Header.Quality
	return p
}

// drop empties the lane and counts what waited.
func (l *lane) drop(why Reason) {
	for _, s := range l.waiting {
		l.skip(s.p, why)
	}
	clear(l.waiting)
	l.waiting = l.waiting[:0]
}

func (l *lane) stats() StreamStats {
	s := StreamStats{
		Channel: l.channel, Tuning: l.tuning, Rung: l.rung, Quality: l.quality,
		Epoch: l.order.epoch, Sequence: l.order.sequence, Age: l.age,
		Offered: l.offered, Frames: l.frames, Waiting: len(l.waiting), Skipped: map[string]uint64{},
	}
	s.FPS = l.fps()
	for r, n := range l.skipped {
		if n > 0 {
			s.Skipped[Reason(r).String()] = n
		}
	}
	return s
}
