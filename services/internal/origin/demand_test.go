package origin

import (
	"math"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/stretchr/testify/require"
)

func asks(reader string, rungs ...*pb.RungDemand) *pb.Feedback {
	return &pb.Feedback{Reader: reader, SentUs: 5, Rungs: rungs}
}

func full(fps float64) *pb.RungDemand { return &pb.RungDemand{Rung: pb.Rung_RUNG_FULL, MaxFps: fps} }
func half(fps float64) *pb.RungDemand { return &pb.RungDemand{Rung: pb.Rung_RUNG_HALF, MaxFps: fps} }

func rawAt(reader string, fps float64) *pb.Feedback {
	return &pb.Feedback{Reader: reader, Raw: &pb.RawDemand{MaxFps: fps}}
}

const (
	fullBit = 1 << frame.Full
	halfBit = 1 << frame.Half
)

func TestReadersAreMerged(t *testing.T) {
	type words = []*pb.Feedback
	const both = fullBit | halfBit
	for name, c := range map[string]struct {
		always bool
		said   words
		want   want
	}{
		"nobody":                   {false, nil, want{}},
		"always":                   {true, nil, want{rungs: fullBit}},
		"always outdoes any rate":  {true, words{asks("a", half(5))}, want{rungs: both}},
		"the highest rate":         {false, words{asks("a", full(5)), asks("b", half(10))}, want{rungs: both, fps: 10}},
		"all is the highest":       {false, words{asks("a", full(5)), asks("b", full(0))}, want{rungs: fullBit}},
		"of one reader's rungs":    {false, words{asks("a", full(5), half(7))}, want{rungs: both, fps: 7}},
		"a word replaces the last": {false, words{asks("a", full(0)), asks("a", half(3))}, want{rungs: halfBit, fps: 3}},
		"taken back":               {false, words{asks("a", full(0)), asks("a")}, want{}},
		"raw alone":                {false, words{rawAt("a", 5), rawAt("b", 2)}, want{raw: true, rawFPS: 5}},
		"raw beside jpeg":          {false, words{asks("a", full(5)), rawAt("b", 0)}, want{fullBit, 5, true, 0}},
		"nonsense is all":          {false, words{asks("a", full(math.NaN())), rawAt("b", -3)}, want{fullBit, 0, true, 0}},
		"next to nothing":          {false, words{asks("a", full(1e-300))}, want{rungs: fullBit, fps: slowest}},
		"an unknown rung":          {false, words{asks("a", &pb.RungDemand{Rung: 9})}, want{}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDemand(c.always)
			for _, f := range c.said {
				d.hear(f, t0, 1)
			}
			require.Equal(t, c.want, d.merged(ms(2000)))
		})
	}
}

func TestDemandLivesTwoSeconds(t *testing.T) {
	d := newDemand(false)
	d.hear(asks("a", full(0)), t0, 6)
	require.NotZero(t, d.merged(ms(2000)).rungs)
	require.Len(t, d.echoes(), 1)
	require.Equal(t, []int64{5, 6}, []int64{d.echoes()[0].GetSentUs(), d.echoes()[0].GetReceivedUs()})
	require.Zero(t, d.merged(ms(2001)))
	require.Empty(t, d.echoes())
}

func TestReadersAreBounded(t *testing.T) {
	d := newDemand(false)
	for n := range maxReaders + 5 {
		d.hear(asks(string(rune(n))), t0, 1)
	}
	d.hear(asks("a", full(0)), t0, 1) // known
	require.Len(t, d.readers, maxReaders)
	require.NotZero(t, d.merged(t0).rungs)
}

func TestFramesAreThinnedEvenly(t *testing.T) {
	for name, c := range map[string]struct {
		have, want float64
		least, gap int // frames taken in 10 s, and the widest gap in frames
	}{
		"all":             {30, 0, 300, 1},
		"half":            {30, 15, 150, 2},
		"a third":         {30, 10, 100, 3},
		"two of three":    {30, 20, 200, 2},
		"more than there": {30, 60, 300, 1},
		"as many":         {30, 30, 300, 1},
		"one fewer":       {30, 29, 290, 2},
		"one a second":    {30, 1, 10, 30},
	} {
		t.Run(name, func(t *testing.T) {
			var pace thinner
			taken, last := 0, -1
			for n := range 300 {
				jitter := time.Duration(n*7%11-5) * time.Millisecond
				at := t0.Add(time.Duration(float64(n)/c.have*float64(time.Second)) + jitter)
				if pace.take(at, c.want, c.have) {
					require.LessOrEqual(t, n-last, c.gap+1)
					taken, last = taken+1, n
				}
			}
			require.InDelta(t, c.least, taken, 1)
		})
	}
	var pace thinner
	require.True(t, pace.take(t0, 0.1, 30))
	require.False(t, pace.take(ms(5000), 0.1, 30))
	require.True(t, pace.take(ms(5033), 30, 30), "a higher rate is not held up by the old one")
	require.True(t, pace.take(ms(60_000), 30, 30), "nor is the first after a pause")
	require.False(t, pace.take(ms(60_001), 30, 30), "which earns nothing")
}
