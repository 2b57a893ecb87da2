package ledger

import (
	"math"
	"slices"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/gateway/internal/viewer"
)

const (
	// grace is how long a subscription or a connection must have been there for a missing picture to count as lost.
	grace = time.Second
	// undoneAfter is how long a picture waits for its Done.
	undoneAfter = time.Second
	// foldAfter is how long after the owner has settled a sequence it is compared here: what is on its way has come.
	foldAfter = 2 * time.Second
	// forsaken is how long the owner may settle nothing until frames of that age are counted without it.
	forsaken = 6 * time.Second
	// back is how far behind the first picture seen of an epoch others may come.
	back = 64

	maxMarks       = 4096 // frames not yet compared; beyond it the oldest are counted without the owner
	maxCheckpoints = 16   // that wait for foldAfter; beyond it the oldest is forgotten, for they are cumulative
	maxUndone      = 64   // told at a time; beyond it they wait
)

// never is the sequence from which a rung counts that is not listened to.
const never = math.MaxUint64

// rungSet has a bit for each rung.
type rungSet uint8

func (s rungSet) has(r int) bool { return s>>r&1 != 0 }

// Checkpoint is what an owner has settled.
type Checkpoint struct {
	Epoch    uint64
	Sequence uint64 // captured so far
	Settled  uint64
	Encoded  [frame.Rungs]uint64 // of the settled
	Closed   bool
}

// point is a checkpoint that waits to be compared.
type point struct {
	settled uint64
	encoded [frame.Rungs]uint64
	closed  bool
	heard   time.Duration
}

// mark is what is known of a frame.
type mark struct {
	at   time.Duration // when it was first heard of; 0: it was not
	got  rungSet       // pictures that came
	said rungSet       // by its Done
	due  rungSet       // of those, what must come
	done bool
	told bool // among the undone
}

// Line is the account of a rung, as WatchedRung in the schema has it.
type Line struct {
	Encoded, Received, Lost, Unbooked                     uint64
	Arrived, Taken, Superseded, Stale, Malformed, Waiting uint64
	Overdue, Duplicate                                    uint64
	Offered                                               uint64
	left                                                  viewer.Tally // of viewers who have gone
}

// epoch is a gateway's account of one epoch of a stream. It is pure: times are since any fixed moment, and above 0.
type epoch struct {
	number uint64
	lines  [frame.Rungs]Line
	seen   rungSet // lines that were ever in use

	base    uint64 // compared up to here
	marks   []mark // of the frames after base; bound: maxMarks
	from    [frame.Rungs]uint64
	points  []point // bound: maxCheckpoints
	last    point   // compared last
	exact   bool    // base is where last was compared
	closed  bool
	heard   time.Duration // when the owner last settled anything
	undone  []Undone      // bound: maxUndone
	touched time.Duration
}

// Undone is a frame that came without a Done.
type Undone struct {
	Sequence uint64
	Rungs    rungSet
}

func newEpoch(number, base uint64, now time.Duration) *epoch {
	return &epoch{number: number, base: base, from: [frame.Rungs]uint64{never, never, never}, heard: now, touched: now}
}

// mark is a frame's, nil where its line is closed.
func (e *epoch) mark(sequence uint64, now time.Duration) *mark {
	if sequence <= e.base {
		return nil
	}
	if ahead := sequence - e.base; ahead > maxMarks {
		e.skip(sequence - min(sequence, back))
	}
	for i := sequence - e.base; uint64(len(e.marks)) < i; {
		e.marks = append(e.marks, mark{})
	}
	m := &e.marks[sequence-e.base-1]
	if m.at == 0 {
		m.at = now
	}
	e.touched = now
	return m
}

// arrived notes a picture.
func (e *epoch) arrived(r int, sequence uint64, now time.Duration) {
	l := &e.lines[r]
	l.Arrived++
	l.Waiting++
	e.seen |= 1 << r
	switch m := e.mark(sequence, now); {
	case m == nil:
		l.Overdue++
	case m.got.has(r):
		l.Duplicate++
	default:
		m.got |= 1 << r
	}
}

// done notes a Done. Of its rungs those that this gateway listens to for long enough must have come.
func (e *epoch) done(sequence uint64, rungs, listening rungSet, now time.Duration) {
	m := e.mark(sequence, now)
	if m == nil {
		return
	}
	m.done = true
	m.said |= rungs
	m.due |= rungs & listening
}

// checkpoint notes what the owner has settled, to be compared when what is on its way has come.
func (e *epoch) checkpoint(c Checkpoint, listening rungSet, now time.Duration) {
	for r := range e.from {
		if listening.has(r) && e.from[r] == never {
			e.from[r] = c.Sequence // what was captured since was encoded since
			e.seen |= 1 << r
		}
	}
	e.heard = now
	if n := len(e.points); n > 0 && e.points[n-1].settled == c.Settled && e.points[n-1].closed == c.Closed {
		return
	}
	if len(e.points) == maxCheckpoints {
		e.points = slices.Delete(e.points, 0, 1)
	}
	e.points = append(e.points, point{c.Settled, c.Encoded, c.Closed, now})
}

// deafen ends the listening to rungs. What came last is not held against the bus: the picture may be in a queue that
// has just been given up.
func (e *epoch) deafen(rungs rungSet, now time.Duration) {
	for r := range e.from {
		if rungs.has(r) {
			e.from[r] = never
		}
	}
	for i := range e.marks {
		if m := &e.marks[i]; now-m.at < grace {
			m.due &^= rungs &^ m.got
		}
	}
}

// sweep compares what is due, and tells whether there are new frames without a Done.
func (e *epoch) sweep(listens bool, now time.Duration) (fresh bool) {
	n := 0
	for ; n < len(e.points) && now-e.points[n].heard >= foldAfter; n++ {
		e.fold(e.points[n])
	}
	e.points = slices.Delete(e.points, 0, n)
	if now-e.heard > forsaken {
		old := 0
		for i, m := range e.marks {
			if m.at != 0 && now-m.at > forsaken {
				old = i + 1
			}
		}
		if old > 0 {
			e.skip(e.base + uint64(old))
		}
	}
	e.undone = slices.DeleteFunc(e.undone, func(u Undone) bool { return u.Sequence <= e.base })
	for i := range e.marks {
		m := &e.marks[i]
		if listens && m.got != 0 && !m.done && !m.told && now-m.at >= undoneAfter && len(e.undone) < maxUndone {
			m.told, fresh = true, true
			e.undone = append(e.undone, Undone{e.base + uint64(i) + 1, m.got})
		}
	}
	return fresh
}

// fold compares up to where the owner has settled.
func (e *epoch) fold(p point) {
	if p.settled > e.base {
		exact := e.exact
		e.add(p.settled, func(r int) (encoded uint64, known bool) {
			return p.encoded[r] - e.last.encoded[r], exact && e.from[r] <= e.last.settled
		})
	}
	if p.settled == e.base {
		e.last, e.exact = p, true
		e.closed = e.closed || p.closed
	}
}

// skip counts up to a sequence without the owner.
func (e *epoch) skip(to uint64) {
	e.add(to, func(int) (uint64, bool) { return 0, false })
	e.exact = false
}

// add adds up the marks up to a sequence. Where the owner's number of encoded frames is known it stands; else it is
// what came and what should have.
func (e *epoch) add(to uint64, owners func(r int) (encoded uint64, known bool)) {
	n := int(min(to-e.base, uint64(len(e.marks))))
	for r := range e.lines {
		var received, lost, vouched uint64
		for _, m := range e.marks[:n] {
			switch {
			case m.got.has(r):
				received++
				if !m.done || m.said.has(r) {
					vouched++
				}
			case m.due.has(r):
				lost++
				vouched++
			}
		}
		l := &e.lines[r]
		l.Received += received
		l.Lost += lost
		encoded, known := owners(r)
		if !known {
			encoded = received + lost
		} else if received+lost > encoded {
			l.Unbooked += min(received+lost-encoded, vouched)
		}
		l.Encoded += encoded
	}
	e.marks = slices.Delete(e.marks, 0, n)
	e.base = to
}
