package source

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPacer(t *testing.T) {
	const interval = 40 * time.Millisecond
	begin := time.Unix(1000, 0)
	play := func(frames int, stall func(n int) time.Duration) (shown []time.Duration) {
		p := newPacer(25)
		now := begin
		for n := range frames {
			now = now.Add(stall(n))
			if due := p.due(now); due.After(now) {
				now = due
			}
			shown = append(shown, now.Sub(begin))
		}
		return shown
	}

	t.Run("keeps to an absolute schedule", func(t *testing.T) {
		shown := play(1001, func(int) time.Duration { return 7 * time.Millisecond })
		require.Equal(t, 1000*interval, shown[1000]-shown[0])
	})
	t.Run("makes up for a short stall without a burst", func(t *testing.T) {
		shown := play(100, func(n int) time.Duration {
			if n == 50 {
				return 200 * time.Millisecond
			}
			return 0
		})
		require.Equal(t, 99*interval, shown[99]-shown[0], "time was lost")
		for n := 1; n < len(shown); n++ {
			require.GreaterOrEqual(t, shown[n]-shown[n-1], interval/2, "frame %d comes in a burst", n)
		}
	})
	t.Run("skips ahead after a long stall", func(t *testing.T) {
		shown := play(100, func(n int) time.Duration {
			if n == 50 {
				return 5 * time.Second
			}
			return 0
		})
		require.Equal(t, 99*interval+5*time.Second-interval, shown[99]-shown[0])
		for n := 51; n < len(shown); n++ {
			require.Equal(t, interval, shown[n]-shown[n-1])
		}
	})
	t.Run("a source slower than its rate sets the pace", func(t *testing.T) {
		shown := play(100, func(int) time.Duration { return 60 * time.Millisecond })
		for n := 1; n < len(shown); n++ {
			require.Equal(t, 60*time.Millisecond, shown[n]-shown[n-1])
		}
	})
}
