package origin

import (
	"fmt"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// adds checks all equations of an account, the shares' too.
func adds(t require.TestingT, a *account, open int, now time.Time) *pb.Book {
	b := a.message(open, now)
	var dropped, done, shares uint64
	for _, n := range b.GetDropped() {
		dropped += n
	}
	for _, n := range b.GetDone() {
		done += n
	}
	for _, s := range b.GetEncoders() {
		for _, n := range s.GetDone() {
			shares += n
		}
		shares += s.GetUnanswered() + s.GetOpen()
	}
	require.Equal(t, b.GetCaptured(), b.GetPublished()+b.GetUnwanted()+dropped, "%v", b)
	require.Equal(t, b.GetPublished(), done+b.GetUnanswered()+b.GetOpen(), "%v", b)
	require.Equal(t, b.GetPublished(), shares, "%v", b)
	return b
}

// TestAnAccountAddsUpWhateverHappens plays encoders that answer in time, late, twice, for others or not at all, and
// gateways that vouch for what they should not.
func TestAnAccountAddsUpWhateverHappens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1, 0)
		a := newAccount(1, now)
		waiting, open, given := []uint64{}, map[uint64]string{}, map[uint64]string{}
		handed := map[uint64]bool{}
		pick := func(of []uint64) uint64 { return rapid.SampledFrom(of).Draw(t, "frame") }
		encoder := func() string { return fmt.Sprint("enc-", rapid.IntRange(0, 40).Draw(t, "encoder")) }
		rungs := rapid.SliceOfN(rapid.SampledFrom([]pb.Rung{0, 1, 2, 3, -1}), 0, 4)
		fate := rapid.SampledFrom([]pb.Fate{0, 1, 1, 1, 2, 3, 4, 5, 6, 9, -1})
		settled := uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"unwanted": func(*rapid.T) { a.capture(false) },
			"capture":  func(*rapid.T) { waiting = append(waiting, a.capture(true)) },
			"drop": func(t *rapid.T) {
				if len(waiting) == 0 {
					t.Skip()
				}
				a.drop(waiting[0], superseded)
				delete(handed, waiting[0])
				waiting = waiting[1:]
			},
			"send": func(t *rapid.T) {
				if len(waiting) == 0 {
					t.Skip()
				}
				seq := waiting[0]
				waiting = waiting[1:]
				delete(handed, seq)
				open[seq], given[seq] = encoder(), ""
				given[seq] = open[seq]
				a.sent(seq, open[seq])
			},
			"answer": func(t *rapid.T) {
				seq := pick(some(t, a.sequence))
				d := &pb.Done{Sequence: seq, Encoder: given[seq], Fate: fate.Draw(t, "fate"), Rungs: rungs.Draw(t, "rungs")}
				_, isOpen := open[seq]
				isOpen = isOpen && d.GetFate() != pb.Fate_FATE_PROBE
				a.answer(d, isOpen)
				if isOpen {
					delete(open, seq)
				}
			},
			"lose": func(t *rapid.T) {
				seq := pick(some(t, a.sequence))
				a.lose(seq, now)
				delete(open, seq)
			},
			"refuse": func(t *rapid.T) {
				seq := pick(some(t, a.sequence))
				if _, ok := open[seq]; !ok {
					t.Skip()
				}
				delete(open, seq)
				a.handOn(seq)
				handed[seq] = true
				waiting = append([]uint64{seq}, waiting...)
			},
			"vouch": func(t *rapid.T) { a.vouch(pick(some(t, a.sequence)), rungs.Draw(t, "rungs"), now) },
			"wait":  func(t *rapid.T) { now = now.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "ms")) * 1e6) },
			"": func(t *rapid.T) {
				b := adds(t, a, len(open)+len(handed), now)
				require.GreaterOrEqual(t, b.GetSettled(), settled)
				settled = b.GetSettled()
				require.False(t, b.GetClosed())
				require.LessOrEqual(t, len(b.GetEncoders()), maxShares)
			},
		})
		for _, seq := range waiting {
			a.drop(seq, ended)
		}
		for seq := range open {
			a.lose(seq, now)
		}
		a.close(now)
		b := adds(t, a, 0, now)
		require.True(t, b.GetClosed())
		require.Equal(t, a.sequence, b.GetSettled())
		require.Equal(t, b.GetEncoded(), b.GetSettledEncoded(), "all that was encoded is settled at the end")
	})
}

func some(t *rapid.T, n uint64) []uint64 {
	if n == 0 {
		t.Skip()
	}
	out := make([]uint64, n)
	for i := range out {
		out[i] = uint64(i) + 1
	}
	return out
}

// sentOne is an account with one frame, at enc-a.
func sentOne(now time.Time) *account {
	a := newAccount(1, now)
	a.sent(a.capture(true), "enc-a")
	return a
}

func TestAnUnansweredFrameMayYetBeBooked(t *testing.T) {
	now := time.Unix(1, 0)
	done := &pb.Done{Sequence: 1, Encoder: "enc-a", Fate: pb.Fate_FATE_ENCODED, Rungs: []pb.Rung{pb.Rung_RUNG_HALF}}

	t.Run("by its late Done", func(t *testing.T) {
		a := sentOne(now)
		a.lose(1, now)
		require.EqualValues(t, 0, adds(t, a, 0, now).GetSettled(), "it may change")
		b := book{}
		b.addRevisable(a)
		require.Zero(t, b.unanswered, "a counter must not go back")
		a.answer(&pb.Done{Sequence: 1, Encoder: "enc-x", Fate: pb.Fate_FATE_ENCODED}, false)
		require.EqualValues(t, 1, adds(t, a, 0, now).GetUnanswered(), "it was another's frame")
		a.answer(done, false)
		m := adds(t, a, 0, now)
		require.EqualValues(t, 1, m.GetDone()["encoded"])
		require.EqualValues(t, 1, m.GetSettled())
		require.Equal(t, []uint64{0, 1, 0}, m.GetSettledEncoded())
	})
	t.Run("by the gateways that received it", func(t *testing.T) {
		a := sentOne(now)
		a.vouch(1, []pb.Rung{pb.Rung_RUNG_FULL}, now)
		require.EqualValues(t, 1, adds(t, a, 1, now).GetOpen(), "it may be answered yet")
		a.lose(1, now)
		a.vouch(1, []pb.Rung{pb.Rung_RUNG_FULL}, now)
		a.vouch(1, []pb.Rung{pb.Rung_RUNG_FULL, pb.Rung_RUNG_QUARTER}, now)
		m := adds(t, a, 0, now)
		require.EqualValues(t, 1, m.GetVouched())
		require.Equal(t, []uint64{1, 0, 1}, m.GetEncoded())
		require.Zero(t, m.GetSettled(), "others may have other rungs")
		require.EqualValues(t, 1, adds(t, a, 0, now.Add(correctable)).GetSettled())
	})
	t.Run("for three seconds", func(t *testing.T) {
		a := sentOne(now)
		a.lose(1, now)
		later := now.Add(correctable)
		require.EqualValues(t, 1, adds(t, a, 0, later).GetSettled())
		a.answer(done, false)
		a.vouch(1, []pb.Rung{pb.Rung_RUNG_FULL}, later)
		require.EqualValues(t, 1, adds(t, a, 0, later).GetUnanswered())
	})
}

func TestCorrectionsAreBounded(t *testing.T) {
	now := time.Unix(1, 0)
	a := newAccount(1, now)
	for range 2 * maxMarks {
		seq := a.capture(true)
		a.sent(seq, "enc-a")
		a.lose(seq, now)
	}
	b := adds(t, a, 0, now)
	require.EqualValues(t, maxMarks, b.GetSettled())
	require.Len(t, a.marks, maxMarks)
	require.Len(t, b.GetEncoded(), frame.Rungs)
}

// TestWhatAGatewayReceivedIsBookedAsEncoded: an encoder is killed after it has published a picture, before its Done.
func TestWhatAGatewayReceivedIsBookedAsEncoded(t *testing.T) {
	h := build(t, 1, "enc-a")
	watch(t, h.reader, asks("gw", full(0)))
	h.coders[0].more(t, 3)
	gateway := join(t, h.cfg, "gateway", "gw-1")
	gateway.roster.SetFill(func(s *pb.Status) {
		now := h.cam.StreamStatus()
		w := &pb.WatchedEpoch{Stream: stream, Epoch: now.GetEpoch()}
		for seq := now.GetBook().GetSettled() + 1; seq <= now.GetSequence() && len(w.GetUndone()) < 64; seq++ {
			w.Undone = append(w.Undone, &pb.UndoneFrame{Sequence: seq, Rungs: []pb.Rung{pb.Rung_RUNG_FULL}})
		}
		others := []*pb.WatchedEpoch{{Stream: "another", Epoch: now.GetEpoch()}, {Stream: stream}}
		s.Gateway = &pb.GatewayStatus{Ledger: append(others, w)}
	})
	h.coders[0].frozen.Store(true)
	h.cam.eventually(t, "vouched", func(s *pb.StreamStatus) bool {
		balanced(t, s.GetBook())
		gateway.roster.Changed()
		return s.GetBook().GetVouched() > 0
	})
	b := h.cam.StreamStatus().GetBook()
	require.GreaterOrEqual(t, b.GetEncoded()[0], b.GetVouched())
}
