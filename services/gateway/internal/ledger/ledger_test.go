package ledger

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/gateway/internal/viewer"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

const (
	tick    = 10 * time.Millisecond
	between = 30 * time.Millisecond // two frames
	number  = 7                     // of the epoch
)

// world is a stream's owner, its encoders and the bus, as one gateway sees them.
type world struct {
	t    *testing.T
	rand *rand.Rand
	l    *Ledger
	s    *Stream
	now  time.Time
	came map[time.Duration][]func() // what happens when
	at   time.Duration

	frames     []*shot
	subscribed [frame.Rungs]bool
	linked     bool
	reset      [frame.Rungs]time.Duration // when subscription or connection last began or ended
	counted    uint64                     // by the callback

	lostAtLeast, lostAtMost, mute [frame.Rungs]uint64
}

// shot is a frame as the world knows it.
type shot struct {
	rungs      rungSet
	final      time.Duration // when the owner settles it; 0: not known yet
	unanswered time.Duration // since when
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, rand: rand.New(rand.NewPCG(seed, 0)), now: time.Unix(1000, 0), came: map[time.Duration][]func(){}}
	w.l = New(w.now, func(_ string, _ frame.Rung, n uint64) { w.counted += n })
	w.s = w.l.Stream("cam0", w.now)
	w.link(true)
	w.s.Listens(true, w.now)
	return w
}

func (w *world) link(up bool) {
	w.linked = up
	w.l.Linked(up, w.now)
	for r := range w.reset {
		w.reset[r] = w.at
	}
}

func (w *world) subscribe(r frame.Rung, on bool) {
	w.subscribed[r], w.reset[r] = on, w.at
	if on {
		w.s.Subscribed(r, w.now)
	} else {
		w.s.Unsubscribed(r, w.now)
	}
}

func (w *world) later(d time.Duration, fn func()) {
	at := w.at + max(d, tick).Truncate(tick)
	w.came[at] = append(w.came[at], fn)
}

// capture plays a frame's fate.
func (w *world) capture() {
	f := &shot{}
	w.frames = append(w.frames, f)
	seq := uint64(len(w.frames))
	switch w.rand.IntN(6) {
	case 0: // unwanted
		f.final = w.at
	case 1: // the raw frame is lost
		w.later(500*time.Millisecond, func() { f.unanswered = w.at })
	default:
		rungs := rungSet(1 + w.rand.IntN(7))
		took := time.Duration(1+w.rand.IntN(30)) * tick
		w.later(took, func() { w.encode(f, seq, rungs) })
	}
}

func (w *world) encode(f *shot, seq uint64, rungs rungSet) {
	chance := func(percent int) bool { return w.rand.IntN(100) < percent }
	doneHere, doneThere := w.linked && !chance(4), !chance(4)
	for r := range frame.Rung(frame.Rungs) {
		if !rungs.has(int(r)) || !w.linked || !w.subscribed[r] {
			continue
		}
		if chance(5) {
			// The edges of a subscription are not held against the bus.
			if doneHere {
				w.lostAtMost[r]++
				began, last := w.reset[r], w.at
				w.later(3*time.Second, func() {
					if last-began > 2*time.Second && w.reset[r] == began {
						w.lostAtLeast[r]++
					}
				})
			} else if doneThere {
				w.mute[r]++
			}
			continue
		}
		w.s.Arrived(&frame.Header{Epoch: number, Sequence: seq, Rung: r}, w.now)
	}
	if doneHere {
		w.s.Done(Done{Epoch: number, Sequence: seq, rungs: rungs}, w.now)
	}
	if doneThere {
		f.rungs, f.final = rungs, w.at
		return
	}
	w.later(500*time.Millisecond, func() { f.unanswered = w.at })
}

// tell is the owner's Status, once a second.
func (w *world) tell(closed bool) {
	c := Checkpoint{Epoch: number, Sequence: uint64(len(w.frames)), Closed: closed}
	for _, f := range w.frames {
		if f.unanswered != 0 && w.at-f.unanswered >= 3*time.Second {
			f.final = w.at
		}
		if f.final == 0 && !closed && f.unanswered == 0 || f.final == 0 && !closed {
			break
		}
		c.Settled++
		for r := range c.Encoded {
			c.Encoded[r] += uint64(f.rungs >> r & 1)
		}
	}
	w.l.Settled("cam0", c, w.now)
}

// vouch is the owner's part in what the gateway tells of frames without a Done.
func (w *world) vouch() {
	for _, m := range w.l.Status("cam0", nil) {
		for _, u := range m.GetUndone() {
			f := w.frames[u.GetSequence()-1]
			if f.final == 0 && f.unanswered != 0 && w.at-f.unanswered < 3*time.Second {
				for _, r := range u.GetRungs() {
					f.rungs |= 1 << r
				}
			}
		}
	}
}

func (w *world) run(d time.Duration, capture bool) {
	for end := w.at + d; w.at < end; {
		w.at += tick
		w.now = w.now.Add(tick)
		for _, fn := range w.came[w.at] {
			fn()
		}
		delete(w.came, w.at)
		if capture && w.at%between == 0 {
			w.capture()
		}
		if w.at%(250*time.Millisecond) == 0 {
			w.l.Sweep(w.now)
			w.vouch()
		}
		if w.at%time.Second == 0 {
			w.tell(false)
		}
	}
}

// TestTheBusLineIsExact plays minutes of losses on every hop while the gateway comes and goes. A lost picture is lost,
// one that came is received, and only what neither Done nor picture told this gateway of is unexplained.
func TestTheBusLineIsExact(t *testing.T) {
	for seed := range uint64(30) {
		w := newWorld(t, seed)
		w.subscribe(frame.Full, true)
		for range 20 {
			w.run(time.Duration(1+w.rand.IntN(900))*tick, true)
			switch r := frame.Rung(w.rand.IntN(5)); {
			case r >= frame.Rungs && w.linked:
				w.link(false)
			case !w.linked:
				w.link(true)
			default:
				w.subscribe(r, !w.subscribed[r])
			}
		}
		w.run(5*time.Second, false)
		w.tell(true)
		w.run(3*time.Second, false)

		told := w.l.Status("cam0", nil)
		require.Len(t, told, 1)
		require.True(t, told[0].GetClosed())
		require.EqualValues(t, len(w.frames), told[0].GetSettled())
		var lost uint64
		for _, r := range gatewayAnswer("gw", 0, told[0]).Rungs {
			rung, _ := frame.ParseRung(r.Rung)
			require.GreaterOrEqual(t, r.Bus.Difference, int64(0), "%d %+v", seed, r)
			require.LessOrEqual(t, r.Bus.Difference, int64(w.mute[rung]), "%d %+v", seed, r)
			require.GreaterOrEqual(t, r.Bus.Lost, w.lostAtLeast[rung], "%d %+v", seed, r)
			require.LessOrEqual(t, r.Bus.Lost, w.lostAtMost[rung], "%d %+v", seed, r)
			require.Equal(t, r.Hub.Arrived, r.Bus.Received, "nothing came twice or late")
			lost += r.Bus.Lost
		}
		require.Equal(t, lost, w.counted)
	}
}

// TestAFrozenProcessHasLostNothing: what the bus kept for it while it was frozen is taken in after all.
func TestAFrozenProcessHasLostNothing(t *testing.T) {
	w := steady(t)
	w.shoot(false, false, 1)
	w.tell(false)
	w.now = w.now.Add(time.Minute)
	w.l.Sweep(w.now) // the first thing it does
	w.s.Done(Done{Epoch: number, Sequence: 1, rungs: 1}, w.now)
	w.s.Arrived(&frame.Header{Epoch: number, Sequence: 1}, w.now)
	require.Equal(t, BusLine{Encoded: 1, Received: 1}, w.bus())
}

// steady watches for long enough for everything to count.
func steady(t *testing.T) *world {
	w := newWorld(t, 0)
	w.subscribe(frame.Full, true)
	w.run(4*time.Second, false)
	return w
}

func (w *world) shoot(picture, doneHere bool, rungs rungSet) {
	f := &shot{rungs: rungs, final: w.at}
	w.frames = append(w.frames, f)
	seq := uint64(len(w.frames))
	if picture {
		w.s.Arrived(&frame.Header{Epoch: number, Sequence: seq}, w.now)
	}
	if doneHere {
		w.s.Done(Done{Epoch: number, Sequence: seq, rungs: rungs}, w.now)
	}
}

func (w *world) bus() BusLine {
	w.run(5*time.Second, false)
	told := w.l.Status("cam0", nil)
	require.Len(w.t, told, 1)
	return gatewayAnswer("gw", 0, told[0]).Rungs[0].Bus
}

func TestWhereAFrameWasLost(t *testing.T) {
	const full = 1 << frame.Full
	w := steady(t)
	for range 20 {
		w.shoot(true, true, full)
	}
	w.run(3*time.Second, false)
	require.Equal(t, BusLine{Encoded: 20, Received: 20}, w.bus())
	w.shoot(false, true, full)
	w.shoot(true, true, full)
	require.Equal(t, BusLine{Encoded: 22, Received: 21, Lost: 1}, w.bus(), "a Done tells of it")
	w.shoot(false, false, full)
	w.shoot(true, true, full)
	require.Equal(t, BusLine{Encoded: 24, Received: 22, Lost: 1, Difference: 1}, w.bus(), "only the owner does")
	w.shoot(true, true, 0)
	require.Equal(t, BusLine{Encoded: 24, Received: 23, Lost: 1}, w.bus(), "one that nobody encoded")
	w.frames = append(w.frames, &shot{final: w.at})
	w.s.Arrived(&frame.Header{Epoch: number, Sequence: uint64(len(w.frames))}, w.now)
	require.Equal(t, BusLine{Encoded: 24, Received: 24, Lost: 1, Unbooked: 1}, w.bus(),
		"that nobody answered, and the owner has not heard it in time")
}

func TestWhatCameWithoutADoneIsToldUntilItIsSettled(t *testing.T) {
	w := steady(t)
	w.frames = append(w.frames, &shot{unanswered: w.at})
	w.s.Arrived(&frame.Header{Epoch: number, Sequence: 1, Rung: frame.Full}, w.now)
	w.run(undoneAfter-tick, false)
	w.l.Sweep(w.now)
	require.Empty(t, w.l.Status("cam0", nil)[0].GetUndone(), "it may be on its way")
	w.now = w.now.Add(tick)
	require.True(t, w.l.Sweep(w.now), "to be told at once")
	require.False(t, w.l.Sweep(w.now))
	u := w.l.Status("cam0", nil)[0].GetUndone()
	require.Len(t, u, 1)
	require.EqualValues(t, 1, u[0].GetSequence())
	require.Equal(t, []pb.Rung{pb.Rung_RUNG_FULL}, u[0].GetRungs())
	w.run(8*time.Second, false)
	require.Empty(t, w.l.Status("cam0", nil)[0].GetUndone())
	require.Equal(t, BusLine{Encoded: 1, Received: 1}, w.bus(), "the owner has booked it")
}

func TestAFrameOfAnOwnerWhoVanishedIsCountedByItsDone(t *testing.T) {
	w := steady(t)
	w.shoot(true, true, 1)
	w.shoot(false, true, 1)
	for range 40 { // nobody settles anything any more
		w.now = w.now.Add(250 * time.Millisecond)
		w.l.Sweep(w.now)
	}
	m := w.l.Status("cam0", nil)[0]
	require.EqualValues(t, 2, m.GetSettled())
	require.Equal(t, BusLine{Encoded: 2, Received: 1, Lost: 1}, gatewayAnswer("gw", 0, m).Rungs[0].Bus)
}

func TestTheHubsAndTheViewersLines(t *testing.T) {
	now := time.Unix(1000, 0)
	l := New(now, func(string, frame.Rung, uint64) {})
	s := l.Stream("cam0", now)
	h := &frame.Header{Epoch: number, Rung: frame.Half}
	for _, f := range []Fate{Taken, Superseded, Stale, Malformed} {
		h.Sequence++
		s.Arrived(h, now)
		s.Fate(h, f)
	}
	s.Arrived(h, now) // twice
	s.Offered(h, 3, 1)
	left := viewer.Tally{Epoch: number, Rung: frame.Half, Offered: 1, Delivered: 1}
	here := viewer.Tally{Epoch: number, Rung: frame.Half, Offered: 1, Waiting: 1}
	s.Left([]viewer.Tally{left, {Epoch: 1, Rung: frame.Half, Offered: 9}})
	row := gatewayAnswer("gw", 0, l.Status("cam0", []viewer.Tally{here, {Epoch: 3, Offered: 5}})[0]).Rungs[0]
	require.True(t, row.Explained)
	require.Equal(t, "half", row.Rung)
	hub := HubLine{Arrived: 5, Taken: 1, Superseded: 1, Stale: 1, Malformed: 1, Queued: 1, Duplicate: 1}
	require.Equal(t, hub, row.Hub)
	viewers := ViewersLine{Offered: 3, Delivered: 1, InFlight: 1, Skipped: map[string]uint64{"closed": 1}}
	require.Equal(t, viewers, row.Viewers)

	row = gatewayAnswer("gw", 0, l.Status("cam0", nil)[0]).Rungs[0]
	require.EqualValues(t, 1, row.Viewers.Difference, "a viewer that has hidden a picture")
	require.False(t, row.Explained)
}

func TestEverythingIsBounded(t *testing.T) {
	now := time.Unix(1000, 0)
	l := New(now, func(string, frame.Rung, uint64) {})
	told := NewTold()
	for i := range 2 * maxStreams {
		now = now.Add(time.Second)
		name := "s" + string(rune('a'+i%26)) + string(rune('a'+i/26))
		s := l.Stream(name, now)
		for e := range uint64(2 * maxEpochs) {
			for _, seq := range []uint64{1, 1 << 40, 3, 1<<64 - 1, maxMarks * 3} {
				s.Arrived(&frame.Header{Epoch: e, Sequence: seq}, now)
				s.Done(Done{Epoch: e, Sequence: seq, rungs: 1}, now)
			}
			told.Hear(&pb.Status{Instance: name, Streams: []*pb.StreamStatus{{Name: name, Epoch: e + 1, Book: &pb.Book{}}}}, now)
		}
		require.LessOrEqual(t, len(l.Status(name, nil)), maxEpochs)
		for _, e := range s.epochs {
			require.LessOrEqual(t, len(e.marks), maxMarks)
		}
	}
	require.Len(t, l.Names(), maxStreams)
	a := told.Answer(now)
	require.Len(t, a.Streams, maxStreams)
	require.Len(t, a.Streams[0].Epochs, maxEpochs)
}

func TestWhatIsTold(t *testing.T) {
	now := time.Unix(1000, 0)
	told := NewTold()
	book := &pb.Book{
		Captured: 10, Published: 7, Unwanted: 1, Dropped: map[string]uint64{"superseded": 2},
		Done: map[string]uint64{"encoded": 4, "corrupt": 1}, Unanswered: 1, Open: 1, Encoded: []uint64{4, 1, 0},
		Encoders: []*pb.EncoderShare{
			{Encoder: "a", Done: map[string]uint64{"encoded": 4, "corrupt": 1}}, {Encoder: "b", Unanswered: 1, Open: 1},
		},
	}
	ended := &pb.EndedEpoch{Epoch: 5, Sequence: 3, Book: &pb.Book{Captured: 3, Published: 2, Closed: true}}
	told.Hear(&pb.Status{Service: "capture", Instance: "cap", SentUs: 11, Streams: []*pb.StreamStatus{{
		Name: "cam0", Owner: pb.Owner_OWNER_CAM, Epoch: 9, Sequence: 10, Book: book, Ended: []*pb.EndedEpoch{ended},
	}}}, now)
	told.Hear(&pb.Status{Service: "gateway", Instance: "gw", Gateway: &pb.GatewayStatus{Ledger: []*pb.WatchedEpoch{
		{Stream: "cam0", Epoch: 9, Settled: 8, Rungs: []*pb.WatchedRung{{Encoded: 4, Received: 3, Lost: 1}, {Rung: 9}}},
		{Stream: "cam0", Epoch: 4},
	}}}, now)
	a := told.Answer(now)
	require.False(t, a.Explained)
	epochs := a.Streams[0].Epochs
	require.Len(t, epochs, 3)
	require.True(t, epochs[0].Explained)
	require.Equal(t, "open", epochs[0].State)
	require.Equal(t, map[string]uint64{"full": 4, "half": 1, "quarter": 0}, epochs[0].Encoded)
	shares := epochs[0].Encoders.Shares
	require.Equal(t, []string{"a", "b"}, []string{shares[0].Encoder, shares[1].Encoder})
	require.Equal(t, BusLine{Encoded: 4, Received: 3, Lost: 1}, epochs[0].Gateways[0].Rungs[0].Bus)
	require.Len(t, epochs[0].Gateways[0].Rungs, 1, "a rung of another version")
	require.Equal(t, "closed", epochs[1].State)
	require.EqualValues(t, 1, epochs[1].Captured.Difference, "the owner cannot explain it")
	require.EqualValues(t, 2, epochs[1].Published.Difference)
	require.Equal(t, "unknown", epochs[2].State, "its owner was never heard")
	require.Nil(t, epochs[2].Captured)
	require.Equal(t, "abandoned", told.Answer(now.Add(time.Minute)).Streams[0].Epochs[0].State)
	b, err := json.Marshal(a)
	require.NoError(t, err)
	require.Contains(t, string(b), `{"epoch":"9","owner":"cap","by":"cam","state":"open","explained":true,"told_us":11`)
}

func TestADoneIsReadAsTheSchemaHasIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &pb.Done{
			Stream: rapid.String().Draw(t, "stream"), Epoch: rapid.Uint64().Draw(t, "epoch"),
			Sequence: rapid.Uint64().Draw(t, "sequence"), Encoder: "e", Run: 9, WaitedUs: 3, SentUs: -1,
			Fate:  pb.Fate(rapid.Int32Range(-1, 9).Draw(t, "fate")),
			Rungs: rapid.SliceOf(rapid.SampledFrom([]pb.Rung{-1, 0, 1, 2, 3})).Draw(t, "rungs"),
		}
		b, err := proto.Marshal(m)
		require.NoError(t, err)
		d, err := ParseDone(b)
		require.NoError(t, err)
		require.Equal(t, ToDone(m), d)
		require.Zero(t, testing.AllocsPerRun(1, func() { _, _ = ParseDone(b) }))
	})
}

func FuzzParseDone(f *testing.F) {
	b, err := proto.Marshal(&pb.Done{Stream: "cam0", Epoch: 1, Sequence: 2, Fate: 1, Rungs: []pb.Rung{0, 1, 2}})
	require.NoError(f, err)
	f.Add(b)
	f.Add([]byte{0x58, 0x01, 0x5a, 0x01, 0x02})
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &pb.Done{}
		if proto.Unmarshal(b, m) != nil {
			return // what the schema refuses may be read as it likes
		}
		d, err := ParseDone(b)
		require.NoError(t, err)
		require.Equal(t, ToDone(m), d)
	})
}

// BenchmarkPicture is all that the ledger adds to a picture, however many watch: its arrival, its Done, its offer and
// its fate.
func BenchmarkPicture(b *testing.B) {
	now := time.Now()
	l := New(now, func(string, frame.Rung, uint64) {})
	l.Linked(true, now)
	s := l.Stream("cam0", now)
	s.Subscribed(frame.Full, now)
	done, err := proto.Marshal(&pb.Done{Stream: "cam0", Epoch: number, Fate: 1, Rungs: []pb.Rung{0}})
	require.NoError(b, err)
	h := &frame.Header{Epoch: number}
	b.ReportAllocs()
	for b.Loop() {
		h.Sequence++
		s.Arrived(h, now)
		d, _ := ParseDone(done)
		d.Sequence = h.Sequence
		s.Done(d, now)
		s.Offered(h, 10, 0)
		s.Fate(h, Taken)
	}
}
