package viewer

import (
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/gateway/internal/picture"
	"github.com/stretchr/testify/require"
)

func header(epoch, sequence uint64) *frame.Header {
	h := frame.NewHeader()
	h.Format, h.Quality, h.Width, h.Height, h.Channel = frame.JPEG, 80, 640, 480, 1
	h.Epoch, h.Sequence = epoch, sequence
	h.CapturedUs = int64(sequence) * 33_333
	return &h
}

func TestLate(t *testing.T) {
	var o order
	require.False(t, o.Late(header(5, 9), 0), "the first one never is")
	o.Sent(header(5, 9), 0)
	require.True(t, o.Late(header(5, 9), time.Hour), "the same again, whatever its rung")
	require.True(t, o.Late(header(5, 8), time.Hour))
	require.False(t, o.Late(header(5, 10), 0))
	require.False(t, o.Late(header(6, 1), 0), "a new run restarts the sequence")
}

func TestASmallerEpochIsShownOnceTheGreaterIsSilent(t *testing.T) {
	var o order
	o.Sent(header(5, 9), time.Second)
	require.True(t, o.Late(header(4, 100), 2*time.Second))
	o.Heard(header(5, 9), 2*time.Second) // late itself, and yet a sign of life
	require.True(t, o.Late(header(4, 101), 3900*ms))
	require.False(t, o.Late(header(4, 102), 4000*ms))
	o.Sent(header(4, 102), 4000*ms)
	require.True(t, o.Late(header(4, 101), time.Hour))
}

func TestMaxFPSSpacesEvenly(t *testing.T) {
	for _, c := range []struct {
		name        string
		source, max float64
		seconds     int
		want        int
		gaps        []int // allowed, in pictures of the source
	}{
		{"a third", 30, 10, 10, 100, []int{3}},
		{"two thirds", 30, 20, 10, 200, []int{1, 2}},
		{"no even part", 30, 7, 10, 70, []int{4, 5}},
		{"more than there is", 30, 60, 10, 300, []int{1}},
		{"as many as there are", 30, 30, 10, 300, []int{1}},
		{"less than one", 30, 0.5, 10, 5, []int{60}},
		{"all", 30, 0, 10, 300, []int{1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p pace
			taken, last := 0, 0
			for i := range int(c.source) * c.seconds {
				jitter := int64(i*7919%2001 - 1000) // ±1 ms
				if !p.Take(int64(float64(i)*1e6/c.source)+jitter+1e15, c.max) {
					continue
				}
				if taken > 0 {
					require.Contains(t, c.gaps, i-last)
				}
				taken, last = taken+1, i
			}
			require.InDelta(t, c.want, taken, 1)
		})
	}
}

func TestMaxFPSSurvivesPausesAndClocksSetBack(t *testing.T) {
	var p pace
	require.True(t, p.Take(1e15, 10))
	require.False(t, p.Take(1e15+50_000, 10))
	require.True(t, p.Take(1e15+60e6, 10), "after a pause")
	require.False(t, p.Take(1e15+60e6+50_000, 10), "no burst")
	require.True(t, p.Take(1e15-3600e6, 10), "set back by an hour")
	require.False(t, p.Take(1e15-3600e6+50_000, 10))
}

func offer(l *lane, epoch uint64, at time.Duration, sequences ...uint64) {
	for _, s := range sequences {
		l.offer(picture.New(*header(epoch, s), s, nil), at)
	}
}

// taken is what a lane gives at a time, in its order.
func taken(l *lane, at time.Duration) (sequences []uint64) {
	for {
		if ok, _ := l.ready(at); !ok {
			return sequences
		}
		if p := l.take(at); p != nil {
			sequences = append(sequences, p.Header.Sequence)
		}
	}
}

func balanced(t *testing.T, l *lane) {
	t.Helper()
	sum := l.frames + uint64(len(l.waiting))
	for _, n := range l.skipped {
		sum += n
	}
	require.Equal(t, l.offered, sum, "offered = sent + skipped + waiting")
}

func TestALiveLaneKeepsTheNewest(t *testing.T) {
	l := newLane(1, false)
	offer(l, 1, 0, 1, 2, 3, 2)
	require.Equal(t, []uint64{3}, taken(l, 0))
	offer(l, 1, 0, 2, 3)
	require.Empty(t, taken(l, 0))
	require.EqualValues(t, 2, l.skipped[Superseded])
	require.EqualValues(t, 3, l.skipped[Late])
	balanced(t, l)
}

func TestASmoothLaneKeepsOrder(t *testing.T) {
	l := newLane(1, true)
	offer(l, 1, 0, 1, 2)
	require.Equal(t, []uint64{1, 2}, taken(l, 0))
	offer(l, 1, 0, 5, 4, 4)
	ok, until := l.ready(0)
	require.False(t, ok, "the third is still out")
	require.Equal(t, gapPatience, until)
	offer(l, 1, 0, 3)
	require.Equal(t, []uint64{3, 4, 5}, taken(l, 0))
	offer(l, 1, 0, 7)
	require.Empty(t, taken(l, gapPatience-1))
	require.Equal(t, []uint64{7}, taken(l, gapPatience), "it is not waited for any longer")
	offer(l, 1, gapPatience, 6)
	require.Empty(t, taken(l, time.Second))
	balanced(t, l)
}

func TestASmoothLaneIsBounded(t *testing.T) {
	l := newLane(1, true)
	for s := range uint64(40) {
		offer(l, 1, 0, s+1)
	}
	got := taken(l, 0)
	require.Len(t, got, smoothDepth)
	require.EqualValues(t, 11, got[0])
	require.EqualValues(t, 40, got[len(got)-1])
	require.EqualValues(t, 10, l.skipped[Superseded])
	balanced(t, l)
}

func TestHiddenPauses(t *testing.T) {
	l := newLane(1, false)
	l.tuning.Hidden = true
	offer(l, 1, 0, 1, 2)
	require.Empty(t, taken(l, 0))
	require.EqualValues(t, 2, l.skipped[Hidden])
	l.tuning.Hidden = false
	offer(l, 1, 0, 3)
	require.Equal(t, []uint64{3}, taken(l, 0))
	balanced(t, l)
}

func TestMeterRates(t *testing.T) {
	var m meter
	for i := range 50 { // 10 fps for 5 s
		m.add(time.Duration(i)*100*ms, 125_000)
	}
	fps, mbps := m.rates(5 * time.Second)
	require.InDelta(t, 10, fps, 0.01)
	require.InDelta(t, 10, mbps, 0.01)
	fps, _ = m.rates(time.Minute)
	require.Zero(t, fps)
}

func FuzzCommand(f *testing.F) {
	f.Add([]byte(`{"select":{"stream":"cam0","rung":"half","maxFps":10}}`))
	f.Add([]byte(`{"painted":{"sequence":"12"},"new":{}}`))
	f.Add([]byte(`{"clock":{"t1Us":"1"}}`))
	f.Add([]byte(`{"select":`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := decode(b); (m == nil) == (err == nil) {
			t.Fatalf("%q gave both or neither of message and error", b)
		}
	})
}
