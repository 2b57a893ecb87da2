package encoder

import (
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/internal/staleness"
)

// leastDelay knows the least time that a stream's frames took from their origin lately.
type leastDelay struct{ least staleness.Least }

// stale takes note of a frame and tells whether it lay somewhere for a second on its way.
func (l *leastDelay) stale(h *frame.Header, at moment) bool {
	sent := h.CapturedUs
	if us := h.HopUs[frame.Published]; us != frame.NotSet {
		sent += int64(us)
	}
	delay := time.Duration(at.wall.UnixMicro()-sent) * time.Microsecond
	return l.least.Stale(staleness.Clocks{Epoch: h.Epoch, Steps: at.steps}, delay, at.elapsed)
}
