package viewer

import (
	"slices"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/gateway/internal/picture"
)

// maxTallies bounds what is told apart of one stream: the rungs of four epochs. The oldest is forgotten.
const maxTallies = 4 * frame.Rungs

// Tally is what a viewer had of one rung in one epoch: Offered = Delivered + the sum of Skipped + Waiting.
type Tally struct {
	Epoch                       uint64
	Rung                        frame.Rung
	Offered, Delivered, Waiting uint64
	Skipped                     [reasons]uint64 // by Reason
}

// Add sums up viewers.
func (t *Tally) Add(o *Tally) {
	t.Offered += o.Offered
	t.Delivered += o.Delivered
	t.Waiting += o.Waiting
	for r, n := range o.Skipped {
		t.Skipped[r] += n
	}
}

// tallies are those of a lane, the one in use last.
type tallies []Tally

// of finds a picture's.
func (t *tallies) of(h *frame.Header) *Tally {
	list := *t
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Epoch == h.Epoch && list[i].Rung == h.Rung {
			return &list[i]
		}
	}
	if len(list) == maxTallies {
		list = slices.Delete(list, 0, 1)
	}
	*t = append(list, Tally{Epoch: h.Epoch, Rung: h.Rung})
	return &(*t)[len(*t)-1]
}

// tally is what the lane had, with what waits now. The viewer's lock is held.
func (l *lane) tally() []Tally {
	out := slices.Clone(l.tallies)
	for _, s := range l.waiting {
		for i := range out {
			if out[i].Epoch == s.p.Header.Epoch && out[i].Rung == s.p.Header.Rung {
				out[i].Waiting++
			}
		}
	}
	return out
}

// skip counts a picture that is not sent.
func (l *lane) skip(p *picture.Picture, why Reason) {
	l.skipped[why]++
	l.tallies.of(&p.Header).Skipped[why]++
	l.account.Skipped(why)
	if p.Trace != nil {
		l.traces.skipped(p, why)
	}
}

// Tally is what the viewer had of a stream so far, of one moment.
func (v *Viewer) Tally(channel uint16) []Tally {
	v.mu.Lock()
	defer v.mu.Unlock()
	if l := v.find(channel); l != nil {
		return l.tally()
	}
	return nil
}
