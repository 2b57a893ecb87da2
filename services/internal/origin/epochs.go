package origin

import (
	"slices"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
)

// An epoch that has ended goes on being booked: its frames are still at encoders, and their Done still come.

// endEpoch begins the account of the claim's epoch and puts the one before among the ended. Frames that wait are
// dropped with it. The caller holds mu.
func (o *Origin) endEpoch(now time.Time) {
	o.dropWaiting()
	o.forgetKept()
	if a := o.acct; a.epoch != 0 {
		a.over = true
		o.ended = slices.Insert(o.ended, 0, a)
	}
	if n := len(o.ended); n > maxEnded {
		oldest := o.ended[n-1]
		o.past.add(&oldest.book, o.credit.opened(oldest.epoch))
		o.ended = o.ended[:n-1]
	}
	o.acct = newAccount(o.claim.epoch, now)
}

// account is an epoch's, nil where it is forgotten. The caller holds mu.
func (o *Origin) account(epoch uint64) *account {
	if o.acct.epoch == epoch {
		return o.acct
	}
	for _, a := range o.ended {
		if a.epoch == epoch {
			return a
		}
	}
	return nil
}

// lose books frames that nobody will answer. The caller holds mu.
func (o *Origin) lose(lost []frameID, now time.Time) {
	for _, id := range lost {
		o.mem.back(id)
		if a := o.account(id.epoch); a != nil {
			a.lose(id.sequence, now)
		}
	}
}

// vouch books what gateways received and nobody answered. The caller holds mu.
func (o *Origin) vouch(g *pb.GatewayStatus, now time.Time) {
	for _, w := range g.GetLedger() {
		if w.GetStream() != o.cfg.Stream {
			continue
		}
		a := o.account(w.GetEpoch())
		if a == nil {
			continue
		}
		for _, f := range w.GetUndone() {
			a.vouch(f.GetSequence(), f.GetRungs(), now)
		}
	}
}

// settleAll moves all accounts on, and has the last word of an ended one told at once. The caller holds mu.
func (o *Origin) settleAll(now time.Time) {
	o.acct.settle(now)
	for _, a := range o.ended {
		if !a.closed() {
			a.settle(now)
			if a.closed() {
				o.d.Roster.Changed()
			}
		}
	}
}

// closeBooks gives each frame its last fate, so that the last Status closes the books. The caller holds mu.
func (o *Origin) closeBooks(now time.Time) {
	o.lose(o.credit.reconnected(), now)
	o.acct.close(now)
	for _, a := range o.ended {
		a.close(now)
	}
}

// endedBooks tells of the epochs that are over. The caller holds mu.
func (o *Origin) endedBooks(now time.Time) []*pb.EndedEpoch {
	var out []*pb.EndedEpoch
	for _, a := range o.ended {
		out = append(out, &pb.EndedEpoch{
			Epoch: a.epoch, Sequence: a.sequence, Book: a.message(o.credit.opened(a.epoch), now),
		})
	}
	return out
}

// LastWords are what is told once Run has ended, of a stream that is not owned here any more: its books.
func (o *Origin) LastWords() *pb.StreamStatus {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	s := &pb.StreamStatus{
		Name: o.cfg.Stream, Owner: pb.Owner_OWNER_CAM, State: pb.StreamState_STREAM_STATE_STANDBY,
		Cause: "it has ended", Source: o.cfg.Source,
	}
	if o.cfg.By == subject.Pub {
		s.Owner = pb.Owner_OWNER_PUB
	}
	if a := o.acct; a.epoch != 0 {
		s.Ended = []*pb.EndedEpoch{{Epoch: a.epoch, Sequence: a.sequence, Book: a.message(o.openFrames(), now)}}
	}
	s.Ended = append(s.Ended, o.endedBooks(now)...)
	return s
}
