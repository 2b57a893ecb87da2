package origin

import (
	"slices"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
)

// reason says why a frame that was wanted went to no encoder.
type reason uint8

const (
	superseded   reason = iota // a newer frame took its place, while all encoders were busy
	noEncoder                  // there was none
	tooLarge                   // for the bus
	disconnected               // from the bus
	busFailed                  // in any other way
	memoryCut                  // the shared memory that it lay in was cut
	ended                      // this owner's epoch was over
	reasons
)

var reasonWords = [reasons]string{"superseded", "no_encoder", "too_large", "disconnected", "bus", "memory", "ended"}

// fates bounds the fates a book tells apart; later ones count as unspecified.
const fates = int(pb.Fate_FATE_OVERWRITTEN) + 1

// book is the account of one epoch. A frame that still waits is in captured and waiting.
type book struct {
	captured, published, unwanted, unanswered uint64
	waiting, vouched                          uint64
	dropped                                   [reasons]uint64
	done                                      [fates]uint64
	encoded                                   [frame.Rungs]uint64
}

func (b *book) drop(r reason) { b.waiting--; b.dropped[r]++ }

func (b *book) answer(f pb.Fate) { b.done[bounded(f)]++ }

// bounded is the fate, if it is one of those that are told apart.
func bounded(f pb.Fate) pb.Fate {
	if f < 0 || int(f) >= fates {
		return pb.Fate_FATE_UNSPECIFIED
	}
	return f
}

func fateWords(done *[fates]uint64) map[string]uint64 {
	words := map[string]uint64{}
	for f, n := range done {
		if n > 0 {
			words[fateWord(pb.Fate(f))] = n
		}
	}
	return words
}

// message tells of the frames whose fate is known; open is the number of those at encoders.
func (b *book) message(open int) *pb.Book {
	m := &pb.Book{
		Captured: b.captured - b.waiting, Published: b.published, Unwanted: b.unwanted,
		Unanswered: b.unanswered, Open: uint64(open), Vouched: b.vouched,
		Dropped: map[string]uint64{}, Done: fateWords(&b.done), Encoded: slices.Clone(b.encoded[:]),
	}
	for r, n := range b.dropped {
		if n > 0 {
			m.Dropped[reasonWords[r]] = n
		}
	}
	return m
}

// add sums up epochs; what was still open is taken for unanswered.
func (b *book) add(c *book, open int) {
	b.captured += c.captured - c.waiting
	b.published += c.published
	b.unwanted += c.unwanted
	b.unanswered += c.unanswered + uint64(open)
	b.vouched += c.vouched
	for r, n := range c.encoded {
		b.encoded[r] += n
	}
	for r, n := range c.dropped {
		b.dropped[r] += n
	}
	for f, n := range c.done {
		b.done[f] += n
	}
}
