package client

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
)

const ms = time.Millisecond

// The page is tested by the same table.
func TestTheRuleOfTheConnection(t *testing.T) {
	b, err := os.ReadFile("../../docs/examples/connection.json")
	require.NoError(t, err)
	var table []struct {
		Open                   bool
		SinceOpenMs, SilenceMs int
		Share                  float64
		AgeMs                  *int
		Small                  bool
		Connection             Connection
	}
	require.NoError(t, json.Unmarshal(b, &table))
	words := map[Connection]int{}
	for _, c := range table {
		given := conduct{
			open: c.Open, since: time.Duration(c.SinceOpenMs) * ms, silent: time.Duration(c.SilenceMs) * ms,
			share: c.Share, aged: c.AgeMs != nil, small: c.Small,
		}
		if given.aged {
			given.age = time.Duration(*c.AgeMs) * ms
		}
		require.Equal(t, c.Connection, given.judge(), "%+v", given)
		words[c.Connection]++
	}
	require.Len(t, words, 3)
}

func TestASmallerSizeThanThereIsRoomForIsNotGood(t *testing.T) {
	st := stream{last: frame.Header{Rung: frame.Half, Width: 320}}
	require.False(t, st.small(), "nobody said how it is shown")
	st.sel = &pb.Select{Width: 355}
	require.False(t, st.small())
	st.sel.Width = 356
	require.True(t, st.small())
	st.last = frame.Header{Rung: frame.Full, Width: 320}
	require.False(t, st.small(), "there is none larger")
}

func TestTheWindowOfASteadyStream(t *testing.T) {
	var w window
	begin := time.Now()
	at := begin
	for i := range 3000 { // 100 s at 30 fps, aged 5 ms, every tenth 45 ms
		at = begin.Add(time.Duration(i) * time.Second / 30)
		s := sample{at: at, capturedUs: at.UnixMicro(), bytes: 12_500, advance: 1, age: 5 * ms}
		if i%10 == 0 {
			s.age = 45 * ms
		}
		w.add(s)
	}
	sum := w.sum(at.Add(10*ms), begin, 0)
	require.InDelta(t, 30, sum.fps, 0.01)
	require.InDelta(t, 30, sum.streamFPS, 0.01)
	require.InDelta(t, 3, sum.mbps, 0.1)
	require.InDelta(t, 1, sum.share, 0.001)
	require.Equal(t, []time.Duration{5 * ms, 45 * ms, 45 * ms}, []time.Duration{sum.p50, sum.p95, sum.p99})
	require.Equal(t, 5*ms, sum.newest)
	require.Less(t, cap(w.samples), 1000, "what is old goes")
	require.Equal(t, 5*ms, w.sum(at.Add(3*time.Second), begin, 0).newest, "the last one's, where none is newer")
	for i := range 30 { // the network begins to hold pictures up
		later := at.Add(time.Duration(i+1) * time.Second / 30)
		w.add(sample{at: later, capturedUs: later.UnixMicro(), bytes: 12_500, advance: 1, age: 250 * ms})
	}
	late := w.sum(at.Add(time.Second), begin, 0)
	require.Equal(t, []time.Duration{5 * ms, 250 * ms}, []time.Duration{late.p50, late.newest})

	at = at.Add(time.Second)
	slow := w.sum(at.Add(time.Second), begin, 0)
	require.InDelta(t, 15, slow.fps, 1, "it stands for a second")
	require.Zero(t, w.sum(at.Add(time.Minute), begin, 0).share)
}

func TestTheShareOfAThinnedStream(t *testing.T) {
	var w window
	begin := time.Now()
	for i := range 30 { // 10 of 30 fps, as asked
		at := begin.Add(time.Duration(i) * time.Second / 10)
		w.add(sample{at: at, capturedUs: at.UnixMicro(), advance: 3})
	}
	now := begin.Add(2900 * ms)
	require.InDelta(t, 1, w.sum(now, begin, 10).share, 0.05)
	require.InDelta(t, 0.33, w.sum(now, begin, 0).share, 0.02)
}

func TestTheWindowIsBounded(t *testing.T) {
	var w window
	at := time.Now()
	for range 100_000 {
		w.add(sample{at: at, advance: 1})
	}
	require.LessOrEqual(t, len(w.samples)-w.first, windowMax)
	require.LessOrEqual(t, cap(w.samples), 4*windowMax)
}

func TestAClockSetBackDoesNotEndAStream(t *testing.T) {
	at := time.Now()
	st := stream{lastAt: at, last: frame.Header{Epoch: 9, Sequence: 100}}
	require.True(t, st.follows(&frame.Header{Epoch: 10}, at))
	require.True(t, st.follows(&frame.Header{Epoch: 9, Sequence: 101}, at))
	require.False(t, st.follows(&frame.Header{Epoch: 9, Sequence: 100}, at.Add(time.Hour)))
	require.False(t, st.follows(&frame.Header{Epoch: 8, Sequence: 1}, at.Add(time.Second)))
	require.True(t, st.follows(&frame.Header{Epoch: 8, Sequence: 1}, at.Add(stale+1)))
}

func TestTheLeastRoundTripIsBelieved(t *testing.T) {
	var c clockSync
	_, u := c.best(time.Now())
	require.EqualValues(t, -1, u)
	now := time.UnixMicro(1_790_000_000_000_000)
	us := now.UnixMicro()
	require.True(t, c.add(us-100_000, us+950_000, us+950_000, now)) // 50 ms off by asymmetry, 1 s ahead
	require.True(t, c.add(us-2_000, us+999_000, us+999_000, now))
	require.False(t, c.add(us+1, us, us, now), "an answer before its question")
	require.False(t, c.add(us-1000, us+2000, us, now), "sent before it was received")
	require.False(t, c.add(us-1000, us, us+2000, now), "a round trip below zero")
	offset, u := c.best(now)
	require.Equal(t, []time.Duration{time.Second, ms}, []time.Duration{offset, u})
	_, later := c.best(now.Add(time.Minute))
	require.Equal(t, 4*ms, later, "it is worth less as clocks drift")
	for range clockKept {
		c.add(us-10_000, us, us, now)
	}
	offset, _ = c.best(now)
	require.Equal(t, 5*ms, offset, "old samples go")
}

func TestAFramesMemoryIsReused(t *testing.T) {
	v, err := New(Config{URL: "host", Stream: "cam0"}, Deps{})
	require.NoError(t, err)
	v.opened()
	v.names[1] = "cam0"
	h := frame.NewHeader()
	h.Format, h.Width, h.Height, h.Channel, h.PayloadLen = frame.JPEG, 640, 480, 1, 20_000
	message := make([]byte, frame.HeaderLen+20_000)
	allocs := testing.AllocsPerRun(500, func() {
		h.Sequence++
		h.Put(message)
		buf := append(v.spare.get(), message...)
		if err := v.received(t.Context(), buf); err != nil {
			t.Fatal(err)
		}
		v.box.take(t.Context()).Release()
	})
	require.LessOrEqual(t, allocs, 1.0, "the Frame itself")
}
