package viewer

import (
	"time"

	"github.com/framebus/framebus/proto/frame"
)

// epochSilence is how long the greater epoch must have been silent before a smaller one is shown: a clock that was set
// back must not black a stream out.
const epochSilence = 2 * time.Second

// order tells late pictures of one stream. It is pure; times are since the connection began.
type order struct {
	any             bool
	epoch, sequence uint64        // of the last one sent
	heard           time.Duration // when the last picture of that epoch came
}

// Heard notes that a picture came, sent or not.
func (o *order) Heard(h *frame.Header, at time.Duration) {
	if o.any && h.Epoch == o.epoch {
		o.heard = at
	}
}

// Late tells whether the picture comes after one that was sent already.
func (o *order) Late(h *frame.Header, at time.Duration) bool {
	if !o.any || h.Later(o.epoch, o.sequence) {
		return false
	}
	return h.Epoch == o.epoch || at-o.heard < epochSilence
}

// Sent notes the picture as the last one sent.
func (o *order) Sent(h *frame.Header, at time.Duration) {
	if o.any && h.Epoch != o.epoch || !o.any {
		o.heard = at
	}
	o.any, o.epoch, o.sequence = true, h.Epoch, h.Sequence
}

// Gap tells whether pictures between the last one sent and this one are still out.
func (o *order) Gap(h *frame.Header) bool {
	return o.any && h.Epoch == o.epoch && h.Sequence > o.sequence+1
}

// pace thins a stream to a rate by even spacing, on the times of capture so that the bus's jitter does not matter. It
// is pure.
type pace struct {
	due int64 // µs since 1970; the next picture captured from then on is taken
}

// paceSlackUs is the jitter of capture that does not cost a picture, µs.
const paceSlackUs = 8_000

// Take tells whether a picture captured then is one of maxFPS a second.
func (p *pace) Take(capturedUs int64, maxFPS float64) bool {
	if maxFPS <= 0 {
		return true
	}
	spacing := int64(1e6 / maxFPS)
	switch ahead := p.due - capturedUs; {
	case ahead > 2*spacing: // the clock of capture was set back
		p.due = capturedUs + spacing
	case ahead > min(spacing/8, paceSlackUs):
		return false
	case ahead < -spacing: // there was a pause: no burst to make up for it
		p.due = capturedUs + spacing
	default:
		p.due += spacing
	}
	return true
}
