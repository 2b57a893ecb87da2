// Package ledger is the bookkeeping of a gateway: what came off the bus of each frame that encoders sent, what the hub
// and the viewers did with it, and, out of what all services tell of the same, the equations of /api/v1/ledger. It
// knows nothing of the bus, of connections or of HTTP; times come in.
package ledger

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/gateway/internal/viewer"
)

const (
	// maxStreams bounds the streams with an account, and maxEpochs those of each; the one longest untouched is forgotten.
	maxStreams = 256
	maxEpochs  = 4
)

// Ledger is a gateway's account of the streams it watches. It is safe for concurrent use.
type Ledger struct {
	lost  func(stream string, r frame.Rung, frames uint64)
	awake atomic.Pointer[awake]

	mu      sync.Mutex
	streams map[string]*Stream
	linked  time.Time // when the connection that pictures come on began; zero while there is none
}

// New makes an empty one. Lost is told of pictures that were lost on the bus.
func New(start time.Time, lost func(stream string, r frame.Rung, frames uint64)) *Ledger {
	l := &Ledger{lost: lost, streams: map[string]*Stream{}}
	l.awake.Store(&awake{time.Second, start})
	return l
}

// awake is the time that this process has been awake for. Where it was frozen, the bus has kept pictures that are yet
// to be taken in, and nothing is late until it has had time for that.
type awake struct {
	long  time.Duration
	until time.Time // the last sweep
}

// doze is the longest that may be between two sweeps of a process that is awake.
const doze = 500 * time.Millisecond

func (l *Ledger) since(now time.Time) time.Duration {
	a := l.awake.Load()
	return a.long + min(now.Sub(a.until), doze)
}

// Stream is the account of one. It is safe for concurrent use, and costs a picture nothing but its lock.
type Stream struct {
	l    *Ledger
	name string

	mu         sync.Mutex
	epochs     []*epoch // bound: maxEpochs; the one in use is first
	subscribed [frame.Rungs]time.Time
	linked     time.Time
	doneSince  time.Time
	touched    time.Time
}

// Stream gives a stream's account, and begins it.
func (l *Ledger) Stream(name string, now time.Time) *Stream {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.streams[name]; s != nil {
		return s
	}
	if len(l.streams) >= maxStreams {
		oldest := slices.MinFunc(slices.Collect(maps.Values(l.streams)), func(a, b *Stream) int {
			return a.lastTouched().Compare(b.lastTouched())
		})
		delete(l.streams, oldest.name)
	}
	s := &Stream{l: l, name: name, touched: now, linked: l.linked}
	l.streams[name] = s
	return s
}

// all are the streams by name.
func (l *Ledger) all() []*Stream {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.SortedFunc(maps.Values(l.streams), func(a, b *Stream) int { return cmp.Compare(a.name, b.name) })
}

// Linked notes that the connection which pictures come on is there, or that it is not.
func (l *Ledger) Linked(up bool, now time.Time) {
	l.mu.Lock()
	l.linked = time.Time{}
	if up {
		l.linked = now
	}
	linked := l.linked
	l.mu.Unlock()
	for _, s := range l.all() {
		s.mu.Lock()
		s.linked = linked
		s.deafen(allRungs, now)
		s.mu.Unlock()
	}
}

// Settled notes what a stream's owner has settled.
func (l *Ledger) Settled(stream string, c Checkpoint, now time.Time) {
	l.mu.Lock()
	s := l.streams[stream]
	l.mu.Unlock()
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(c.Epoch)
	if e == nil && s.listening(now, 0) == 0 {
		return // not watched
	}
	if e == nil {
		e = s.of(c.Epoch, c.Settled, now)
	}
	e.checkpoint(c, s.listening(now, grace), s.l.since(now))
}

// Sweep compares what is due; fresh tells that there are frames without a Done to be told of.
func (l *Ledger) Sweep(now time.Time) (fresh bool) {
	l.awake.Store(&awake{l.since(now), now})
	for _, s := range l.all() {
		s.mu.Lock()
		for _, e := range s.epochs {
			before := e.lines
			listens := !s.doneSince.IsZero() && now.Sub(s.doneSince) >= undoneAfter
			fresh = e.sweep(listens, l.since(now)) || fresh
			for r := range e.lines {
				if n := e.lines[r].Lost - before[r].Lost; n > 0 {
					l.lost(s.name, frame.Rung(r), n)
				}
			}
		}
		s.mu.Unlock()
	}
	return fresh
}

// Names are the streams with an account.
func (l *Ledger) Names() []string {
	var out []string
	for _, s := range l.all() {
		out = append(out, s.name)
	}
	return out
}

const allRungs = rungSet(1<<frame.Rungs - 1)

func (s *Stream) lastTouched() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.touched
}

// Subscribed notes that a rung's pictures come from now on.
func (s *Stream) Subscribed(r frame.Rung, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscribed[r], s.touched = now, now
}

// Unsubscribed notes that they come no more.
func (s *Stream) Unsubscribed(r frame.Rung, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscribed[r] = time.Time{}
	s.deafen(1<<r, now)
}

// Listens notes that the stream's Done are heard from now on, or no more.
func (s *Stream) Listens(does bool, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doneSince = time.Time{}
	if does {
		s.doneSince = now
	}
}

// deafen ends the listening to rungs. The lock is held.
func (s *Stream) deafen(rungs rungSet, now time.Time) {
	for _, e := range s.epochs {
		e.deafen(rungs, s.l.since(now))
	}
}

// listening are the rungs that have been subscribed, on one connection, for so long. The lock is held.
func (s *Stream) listening(now time.Time, long time.Duration) (set rungSet) {
	if s.linked.IsZero() || now.Sub(s.linked) < long {
		return 0
	}
	for r, at := range s.subscribed {
		if !at.IsZero() && now.Sub(at) >= long {
			set |= 1 << r
		}
	}
	return set
}

// find returns an epoch's account, nil where there is none. The lock is held.
func (s *Stream) find(number uint64) *epoch {
	for i, e := range s.epochs {
		if e.number == number {
			if i > 0 && number > s.epochs[0].number {
				s.epochs[0], s.epochs[i] = e, s.epochs[0]
			}
			return e
		}
	}
	return nil
}

func (s *Stream) add(number, base uint64, now time.Time) *epoch {
	if len(s.epochs) == maxEpochs {
		oldest := slices.MinFunc(s.epochs, func(a, b *epoch) int { return cmp.Compare(a.touched, b.touched) })
		s.epochs = slices.DeleteFunc(s.epochs, func(e *epoch) bool { return e == oldest })
	}
	e := newEpoch(number, base, s.l.since(now))
	s.epochs = slices.Insert(s.epochs, 0, e)
	return e
}

// of returns the account of a picture's epoch, and begins it. The lock is held.
func (s *Stream) of(number, sequence uint64, now time.Time) *epoch {
	if e := s.find(number); e != nil {
		return e
	}
	return s.add(number, sequence-min(sequence, back), now)
}

// Done notes what an encoder answered.
func (s *Stream) Done(d Done, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.Probe {
		return
	}
	e := s.of(d.Epoch, d.Sequence, now)
	e.done(d.Sequence, d.rungs, s.listening(now, grace), s.l.since(now))
}

// Arrived notes a picture that came off the bus and waits for the hub.
func (s *Stream) Arrived(h *frame.Header, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touched = now
	s.of(h.Epoch, h.Sequence, now).arrived(int(h.Rung), h.Sequence, s.l.since(now))
}

// Fate is what the hub does with a picture.
type Fate uint8

// The fates.
const (
	Taken Fate = iota
	Superseded
	Stale
	Malformed
)

// Fate notes what became of one that arrived.
func (s *Stream) Fate(h *frame.Header, f Fate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(h.Epoch)
	if e == nil {
		return // forgotten
	}
	l := &e.lines[h.Rung]
	if l.Waiting == 0 {
		return // it arrived before its epoch was forgotten and came back
	}
	l.Waiting--
	switch f {
	case Taken:
		l.Taken++
	case Superseded:
		l.Superseded++
	case Stale:
		l.Stale++
	case Malformed:
		l.Malformed++
	}
}

// Offered notes to how many viewers a picture was offered. Missed is how many of them had just left the stream.
func (s *Stream) Offered(h *frame.Header, viewers, missed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.find(h.Epoch); e != nil {
		l := &e.lines[h.Rung]
		l.Offered += uint64(viewers)
		l.left.Offered += uint64(missed)
		l.left.Skipped[viewer.Closed] += uint64(missed)
	}
}
