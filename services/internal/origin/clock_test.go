package origin

import (
	"testing"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/stretchr/testify/require"
)

func TestTheClockRunsOnEvenlyUntilTheWallClockIsStepped(t *testing.T) {
	wall := time.Unix(1_000_000, 0)
	c := newClock(t0, wall)
	require.Equal(t, wall.Add(10*time.Second), c.wall(ms(10_000)))
	require.False(t, c.follow(ms(10_000), wall.Add(10*time.Second+500*time.Millisecond)))
	require.Equal(t, wall.Add(10*time.Second), c.wall(ms(10_000)), "small errors are not followed")
	require.True(t, c.follow(ms(10_000), wall.Add(-time.Hour)))
	require.Equal(t, wall.Add(-time.Hour+time.Second), c.wall(ms(11_000)))
	require.False(t, c.follow(ms(11_000), wall.Add(-time.Hour+time.Second)))
}

func TestOffsetsOfClocks(t *testing.T) {
	o := offsets{}
	// Sent at 1000, there 300 later by a clock that is 5000 ahead, done 2000 later, back 300 later.
	d := &pb.Done{Encoder: "a", ReceivedUs: 6300, SentUs: 8300}
	o.measure(d, 1000, 3600, t0)
	got := o.list(t0)
	require.Len(t, got, 1)
	require.Equal(t, []int64{5000, 300}, []int64{got[0].GetOffsetUs(), got[0].GetUncertaintyUs()})
	o.measure(&pb.Done{Encoder: "a", ReceivedUs: 9000, SentUs: 9000}, 1000, 9000, ms(1))
	require.EqualValues(t, 5000, o.list(ms(1))[0].GetOffsetUs(), "a longer round trip tells less")
	o.measure(&pb.Done{Encoder: "a", ReceivedUs: 6200, SentUs: 6200}, 1000, 1200, ms(2))
	require.EqualValues(t, 5100, o.list(ms(2))[0].GetOffsetUs(), "a shorter one more")
	o.measure(&pb.Done{Encoder: "a", ReceivedUs: 7000, SentUs: 7000}, 1000, 2000, ms(10_002))
	require.EqualValues(t, 5500, o.list(ms(10_002))[0].GetOffsetUs(), "clocks drift: the best is not for ever")
	require.Empty(t, o.list(ms(60_000)))
	for name, d := range map[string]*pb.Done{
		"no times":                         {Encoder: "a"},
		"set back while it had the frame":  {Encoder: "a", ReceivedUs: 5000, SentUs: 4000},
		"put ahead while it had the frame": {Encoder: "a", ReceivedUs: 5000, SentUs: 900_000},
	} {
		o.measure(d, 1000, 3600, ms(60_000))
		require.Empty(t, o.list(ms(60_000)), name)
	}
	for n := range 2 * maxOffsets {
		o.measure(&pb.Done{Encoder: string(rune(n)), ReceivedUs: 1, SentUs: 1}, 1, 2, t0)
	}
	require.Len(t, o, maxOffsets)
}
