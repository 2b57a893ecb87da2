package origin

import (
	"slices"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
)

const (
	// correctable is how long a frame that was booked unanswered may still turn out to have been encoded, by a late
	// Done or by the word of a gateway that received it: that takes a second, and is told within another.
	correctable = 3 * time.Second
	// maxMarks bounds the frames kept for correction; beyond it the oldest stays as it is.
	maxMarks = 4096
	// maxShares bounds the encoders told apart in one epoch, the last share being of all further ones.
	maxShares = 33
	// maxEnded bounds the epochs told of after their end; the oldest is forgotten.
	maxEnded = 4
)

// account is all that is known of one epoch's frames: the book, and a mark for each frame whose fate may yet change. It
// is pure; the origin's mu guards it.
type account struct {
	book

	epoch, sequence uint64 // the last frame captured
	begun           time.Time
	over            bool // no frame is to come
	shares          []share

	settled        uint64 // up to here each frame has its last fate
	settledEncoded [frame.Rungs]uint64
	marks          []mark // of the frames after settled; grows to what is on its way and maxMarks
	doubtful       uint64 // booked unanswered, and it may change
}

// stage is how far a frame has come.
type stage uint8

const (
	waits    stage = iota
	isOpen         // at an encoder
	handedOn       // refused there, and in hand again
	doubtful       // booked unanswered, which may change
	vouched        // booked encoded by a gateway's word, which may tell of more rungs
	last           // nothing changes any more
)

// mark is what is remembered of a frame.
type mark struct {
	stage stage
	rungs uint8 // a bit for each that became a JPEG
	share uint8 // of the encoder that it was sent to last
	since time.Duration
}

// share is what one encoder got; open is what is left of sent.
type share struct {
	encoder          string
	sent, unanswered uint64
	done             [fates]uint64
}

func newAccount(epoch uint64, now time.Time) *account { return &account{epoch: epoch, begun: now} }

func (a *account) mark(sequence uint64) *mark {
	if sequence <= a.settled || sequence > a.sequence {
		return nil
	}
	return &a.marks[sequence-a.settled-1]
}

// capture books a frame and numbers it.
func (a *account) capture(wanted bool) (sequence uint64) {
	a.sequence++
	a.captured++
	m := mark{stage: waits}
	if wanted {
		a.waiting++
	} else {
		a.unwanted++
		m.stage = last
	}
	a.marks = append(a.marks, m)
	return a.sequence
}

// drop books a frame that goes to no encoder. One that was sent before and refused counts as published since.
func (a *account) drop(sequence uint64, why reason) {
	m := a.mark(sequence)
	if m.stage == handedOn {
		a.unanswered++
		a.shares[m.share].unanswered++
	} else {
		a.book.drop(why)
	}
	m.stage = last
}

// sent books a frame that an encoder got.
func (a *account) sent(sequence uint64, encoder string) {
	m := a.mark(sequence)
	if m.stage == handedOn {
		a.shares[m.share].sent-- // it is another's now
	} else {
		a.waiting--
		a.published++
	}
	m.stage, m.share = isOpen, a.shareOf(encoder)
	a.shares[m.share].sent++
}

func (a *account) shareOf(encoder string) uint8 {
	i := slices.IndexFunc(a.shares, func(s share) bool { return s.encoder == encoder })
	if i >= 0 {
		return uint8(i)
	}
	if len(a.shares) == maxShares {
		return maxShares - 1
	}
	if len(a.shares) == maxShares-1 {
		encoder = "" // it and all further ones
	}
	a.shares = append(a.shares, share{encoder: encoder})
	return uint8(len(a.shares) - 1)
}

// handOn takes a refused frame back; whoever gets it next answers for it.
func (a *account) handOn(sequence uint64) {
	a.mark(sequence).stage = handedOn
}

// lose books a frame that nobody will answer, as far as is known now.
func (a *account) lose(sequence uint64, now time.Time) {
	m := a.mark(sequence)
	if m == nil || m.stage != isOpen {
		return // it was handed on
	}
	a.unanswered++
	a.doubtful++
	a.shares[m.share].unanswered++
	m.stage, m.since = doubtful, now.Sub(a.begun)
}

// answer books a Done. One that credit does not know of, because its frame was given up before, still tells what became
// of the frame, until that is settled.
func (a *account) answer(d *pb.Done, booked bool) {
	m := a.mark(d.GetSequence())
	if m == nil || d.GetFate() == pb.Fate_FATE_PROBE {
		return
	}
	switch {
	case booked && m.stage == isOpen:
		a.book.answer(d.GetFate())
		a.shares[m.share].done[bounded(d.GetFate())]++
	case m.stage == doubtful && a.sentTo(m, d.GetEncoder()):
		a.redeem(m, d.GetFate())
	case m.stage == vouched && a.sentTo(m, d.GetEncoder()):
	default:
		return
	}
	m.stage = last
	a.encode(m, d.GetRungs())
}

func (a *account) sentTo(m *mark, encoder string) bool {
	s := a.shares[m.share].encoder
	return s == encoder || s == ""
}

// vouch books a frame that a gateway received and that nobody answered.
func (a *account) vouch(sequence uint64, rungs []pb.Rung, now time.Time) {
	m := a.mark(sequence)
	if m == nil || m.stage != doubtful && m.stage != vouched {
		return
	}
	if m.stage == doubtful {
		a.redeem(m, pb.Fate_FATE_ENCODED)
		a.vouched++
		m.stage, m.since = vouched, now.Sub(a.begun)
	}
	a.encode(m, rungs)
}

func (a *account) redeem(m *mark, fate pb.Fate) {
	a.unanswered--
	a.doubtful--
	a.shares[m.share].unanswered--
	a.book.answer(fate)
	a.shares[m.share].done[bounded(fate)]++
}

func (a *account) encode(m *mark, rungs []pb.Rung) {
	for _, r := range rungs {
		if r < 0 || int(r) >= frame.Rungs || m.rungs&(1<<r) != 0 {
			continue
		}
		m.rungs |= 1 << r
		a.encoded[r]++
	}
}

// settle moves on to the first frame whose fate may change.
func (a *account) settle(now time.Time) {
	n := 0
	for ; n < len(a.marks); n++ {
		m := &a.marks[n]
		revisable := m.stage == doubtful || m.stage == vouched
		if m.stage != last && !revisable ||
			revisable && now.Sub(a.begun)-m.since < correctable && len(a.marks)-n <= maxMarks {
			break
		}
		if m.stage == doubtful {
			a.doubtful--
		}
		for r := range a.settledEncoded {
			a.settledEncoded[r] += uint64(m.rungs >> r & 1)
		}
	}
	a.settled += uint64(n)
	a.marks = slices.Delete(a.marks, 0, n)
}

// close makes every fate the last one, at the owner's end; nothing is open then.
func (a *account) close(now time.Time) {
	a.over = true
	a.settle(now.Add(correctable))
}

// closed tells whether nothing of it will change.
func (a *account) closed() bool { return a.over && a.settled == a.sequence }

// addRevisable adds up what is counted for good: a counter that only grows must leave out what may be taken back.
func (b *book) addRevisable(a *account) {
	b.add(&a.book, 0)
	b.unanswered -= a.doubtful
}

// message tells of the frames whose fate is known; open is the number of those at encoders.
func (a *account) message(open int, now time.Time) *pb.Book {
	a.settle(now)
	m := a.book.message(open)
	m.Settled, m.SettledEncoded, m.Closed = a.settled, slices.Clone(a.settledEncoded[:]), a.closed()
	for i := range a.shares {
		s := &a.shares[i]
		e := &pb.EncoderShare{Encoder: s.encoder, Done: fateWords(&s.done), Unanswered: s.unanswered}
		e.Open = s.sent - s.unanswered
		for _, n := range s.done {
			e.Open -= n
		}
		m.Encoders = append(m.Encoders, e)
	}
	return m
}
