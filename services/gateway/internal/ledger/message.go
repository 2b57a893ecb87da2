package ledger

import (
	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/gateway/internal/viewer"
)

// Left adds what viewers had who have left the stream.
func (s *Stream) Left(had []viewer.Tally) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range had {
		if e := s.find(had[i].Epoch); e != nil && int(had[i].Rung) < frame.Rungs {
			e.lines[had[i].Rung].left.Add(&had[i])
		}
	}
}

// Status tells of a stream's epochs, newest first. Have are the tallies of those who watch it now, each of one moment
// while nothing was offered.
func (l *Ledger) Status(stream string, have []viewer.Tally) []*pb.WatchedEpoch {
	l.mu.Lock()
	s := l.streams[stream]
	l.mu.Unlock()
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*pb.WatchedEpoch
	for _, e := range s.epochs {
		out = append(out, e.message(stream, have))
	}
	return out
}

func (e *epoch) message(stream string, have []viewer.Tally) *pb.WatchedEpoch {
	m := &pb.WatchedEpoch{Stream: stream, Epoch: e.number, Settled: e.base, Closed: e.closed}
	for r := range e.lines {
		if !e.seen.has(r) {
			continue
		}
		l := &e.lines[r]
		viewers := l.left
		for i := range have {
			if have[i].Epoch == e.number && int(have[i].Rung) == r {
				viewers.Add(&have[i])
			}
		}
		w := &pb.WatchedRung{
			Rung: pb.Rung(r), Encoded: l.Encoded, Received: l.Received, Lost: l.Lost, Unbooked: l.Unbooked,
			Arrived: l.Arrived, Taken: l.Taken, Superseded: l.Superseded, Stale: l.Stale, Malformed: l.Malformed,
			Queued: l.Waiting, Overdue: l.Overdue, Duplicate: l.Duplicate,
			Offered: l.Offered, Delivered: viewers.Delivered, InFlight: viewers.Waiting, Skipped: map[string]uint64{},
		}
		for why, n := range viewers.Skipped {
			if n > 0 {
				w.Skipped[viewer.Reason(why).String()] = n
			}
		}
		m.Rungs = append(m.Rungs, w)
	}
	for _, u := range e.undone {
		f := &pb.UndoneFrame{Sequence: u.Sequence}
		for r := range e.lines {
			if u.Rungs.has(r) {
				f.Rungs = append(f.Rungs, pb.Rung(r))
			}
		}
		m.Undone = append(m.Undone, f)
	}
	return m
}
