package client

import (
	"time"

	"github.com/framebus/framebus/proto/frame"
)

const (
	// tooOld is how much later than the least delay a picture comes that is not shown: it lay in a network that was
	// dead, and others follow.
	tooOld = time.Second
	// leastOver is the part of a stream that the least delay is of, by its own clock: so that an outage, however long,
	// does not make it forget.
	leastOver = 10 * time.Second
)

// least is the least delay of a stream, by two clocks whose offset does not matter. Its zero value knows nothing.
type least struct {
	epoch     uint64
	fromUs    int64 // of capture: since when now is the least
	now, then time.Duration
}

// stale tells whether a picture that came at that time lay somewhere.
func (l *least) stale(h *frame.Header, at time.Time) bool {
	delay := time.Duration(at.UnixMicro()-h.CapturedUs) * time.Microsecond
	switch {
	case l.fromUs == 0 || l.epoch != h.Epoch:
		*l = least{h.Epoch, h.CapturedUs, delay, delay}
	case h.CapturedUs-l.fromUs > leastOver.Microseconds():
		l.fromUs, l.then, l.now = h.CapturedUs, l.now, delay
	default:
		l.now = min(l.now, delay)
	}
	return delay > min(l.now, l.then)+tooOld
}
