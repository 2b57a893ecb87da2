package hub

import (
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/gateway/internal/ledger"
	"github.com/framebus/framebus/services/gateway/internal/picture"
	"github.com/framebus/framebus/services/gateway/internal/viewer"
	"github.com/framebus/framebus/services/internal/bus"
)

// maxWatched bounds the epochs that a Status tells of; those of further streams are left out.
const maxWatched = 256

// hearDone subscribes to what encoders answer of a stream, on the connection that its pictures come on: so a Done does
// not come before its pictures. The lock is held.
func (h *Hub) hearDone(s *stream, account *ledger.Stream) {
	if s.done != nil {
		return
	}
	sub, err := h.d.Bus.Data.Subscribe(subject.DoneOf(s.name), func(m bus.Msg) {
		at := time.Now()
		if m.ContentType == "" {
			if d, err := ledger.ParseDone(m.Data); err == nil {
				account.Done(d, at)
			}
			return
		}
		if d := (&pb.Done{}); bus.Decode(m, d) == nil {
			account.Done(ledger.ToDone(d), at)
		}
	})
	if err != nil {
		h.d.Log.Error("answers of encoders not subscribed", "stream", s.name, "error", err)
		return
	}
	s.done = sub
	account.Listens(true, time.Now())
}

// deafen ends that once no picture of the stream is wanted. The lock is held.
func (h *Hub) deafen(s *stream, now time.Time) {
	for _, f := range s.feeds {
		if f != nil {
			return
		}
	}
	if s.done != nil {
		s.done.Unsubscribe()
		s.done = nil
		h.ledger.Stream(s.name, now).Listens(false, now)
	}
}

// offer shows a picture to all who watch its rung, and counts to how many.
func (f *feed) offer(p *picture.Picture) {
	lock := &f.stream.offering[f.rung]
	lock.Lock()
	defer lock.Unlock()
	offered, missed := 0, 0
	seats := f.stream.watched()
	if p.Trace != nil {
		seats = f.askersFirst(seats)
	}
	for _, seat := range seats {
		if !seat.takes(f.rung) {
			continue
		}
		offered++
		if !seat.viewer.Offer(p) {
			missed++ // it has just left
		}
	}
	f.account.Offered(&p.Header, offered, missed)
}

// offerOne shows a picture to somebody who has just come.
func (f *feed) offerOne(v *viewer.Viewer, p *picture.Picture) {
	lock := &f.stream.offering[f.rung]
	lock.Lock()
	defer lock.Unlock()
	missed := 0
	if !v.Offer(p) {
		missed = 1
	}
	f.account.Offered(&p.Header, 1, missed)
}

// Ledger is what this gateway tells of what it watches and watched, each stream's of one moment.
func (h *Hub) Ledger() []*pb.WatchedEpoch {
	var out []*pb.WatchedEpoch
	for _, name := range h.ledger.Names() {
		h.mu.Lock()
		out = append(out, h.watched(name)...)
		h.mu.Unlock()
		if len(out) >= maxWatched {
			return out[:maxWatched]
		}
	}
	return out
}

// watched reads a stream's account while nothing is offered. The lock is held.
func (h *Hub) watched(name string) []*pb.WatchedEpoch {
	s := h.streams[name]
	if s == nil {
		return h.ledger.Status(name, nil)
	}
	for r := range s.offering {
		s.offering[r].Lock()
		defer s.offering[r].Unlock()
	}
	var have []viewer.Tally
	for v := range s.seats {
		have = append(have, v.Tally(s.channel)...)
	}
	return h.ledger.Status(name, have)
}

// Unreadable is the number of messages in place of pictures that nothing could be read from.
func (h *Hub) Unreadable() uint64 { return h.unreadable.Load() }

// hearSettled notes what owners have settled.
func (h *Hub) hearSettled(st *pb.Status, at time.Time) {
	for _, ss := range st.GetStreams() {
		if b := ss.GetBook(); b != nil && ss.GetEpoch() > 0 {
			h.ledger.Settled(ss.GetName(), checkpoint(ss.GetEpoch(), ss.GetSequence(), b), at)
		}
		for _, e := range ss.GetEnded() {
			h.ledger.Settled(ss.GetName(), checkpoint(e.GetEpoch(), e.GetSequence(), e.GetBook()), at)
		}
	}
}

func checkpoint(epoch, sequence uint64, b *pb.Book) ledger.Checkpoint {
	c := ledger.Checkpoint{Epoch: epoch, Sequence: sequence, Settled: b.GetSettled(), Closed: b.GetClosed()}
	copy(c.Encoded[:], b.GetSettledEncoded())
	return c
}

// sweep compares what is due. Pictures that came without a Done are told of at once, so that their owner books them.
func (h *Hub) sweep() {
	if h.ledger.Sweep(time.Now()) {
		h.d.Roster.Changed()
	}
}

// AllLedgers is what all services tell, side by side.
func (h *Hub) AllLedgers() ledger.Answer { return h.told.Answer(time.Now()) }
