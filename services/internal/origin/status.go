package origin

import (
	"fmt"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
)

// StreamStatus is what this owner tells of its stream.
func (o *Origin) StreamStatus() *pb.StreamStatus {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	s := &pb.StreamStatus{
		Name: o.cfg.Stream, Owner: pb.Owner_OWNER_CAM, Source: o.cfg.Source, Cause: o.cause,
		Width: uint32(o.w), Height: uint32(o.h), Fps: o.fps,
	}
	if o.cfg.By == subject.Pub {
		s.Owner = pb.Owner_OWNER_PUB
	}
	switch o.claim.standing {
	case claiming:
		s.State, s.Cause = pb.StreamState_STREAM_STATE_CLAIMING, "claiming the name"
	case standby:
		s.State = pb.StreamState_STREAM_STATE_STANDBY
		s.Cause = fmt.Sprintf("%s has this stream; this one takes over when that one ends", o.claim.ownerName())
	case owner:
		s.State = pb.StreamState_STREAM_STATE_SLATE
		if o.live {
			s.State = pb.StreamState_STREAM_STATE_LIVE
		}
		if o.busCause != "" {
			s.Cause = o.busCause
		}
		s.Epoch, s.Sequence = o.claim.epoch, o.acct.sequence
		s.Book = o.acct.message(o.openFrames(), now)
		s.Readers = o.demand.echoes()
		s.Clocks = o.offsets.list(now)
		s.Region = o.mem.message()
	}
	s.Ended = o.endedBooks(now)
	return s
}

// openFrames is the number of those that went out and are to be answered. The caller holds mu.
func (o *Origin) openFrames() int {
	n := o.credit.opened(o.claim.epoch)
	if o.hand != nil && o.hand.again {
		n++
	}
	return n
}
