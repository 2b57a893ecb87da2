package staleness_test

import (
	"testing"
	"time"

	"github.com/framebus/framebus/services/internal/staleness"
	"github.com/stretchr/testify/require"
)

const frame = 33 * time.Millisecond

// feed shows pictures that took delay each, a frame apart from `from` until `until`, and counts the stale ones.
func feed(l *staleness.Least, c staleness.Clocks, delay, from, until time.Duration) (stale, all int) {
	for at := from; at < until; at += frame {
		all++
		if l.Stale(c, delay, at) {
			stale++
		}
	}
	return stale, all
}

func TestSteadyPicturesAreNeverStale(t *testing.T) {
	for name, skew := range map[string]time.Duration{
		"clocks agree": 0, "the owner is behind": time.Hour, "the owner is ahead": -time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			var l staleness.Least
			stale, _ := feed(&l, staleness.Clocks{Epoch: 7}, skew+2*time.Millisecond, 0, time.Minute)
			require.Zero(t, stale)
		})
	}
}

func TestWhatAFreezeKeptBackIsStale(t *testing.T) {
	for name, skew := range map[string]time.Duration{
		"clocks agree": 0, "the owner is behind": time.Hour, "the owner is ahead": -time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			var l staleness.Least
			c := staleness.Clocks{Epoch: 7}
			base := skew + 2*time.Millisecond
			feed(&l, c, base, 0, 5*time.Second)
			// Frozen for four seconds, then all of it at once: the oldest first.
			const thaw = 9 * time.Second
			for late := 4 * time.Second; late > 0; late -= frame {
				require.Equal(t, late > time.Second, l.Stale(c, base+late, thaw), "%v late", late)
			}
			stale, _ := feed(&l, c, base, thaw, thaw+time.Second)
			require.Zero(t, stale, "what is fresh again is shown")
		})
	}
}

func TestTheBoundIsOneSecond(t *testing.T) {
	var l staleness.Least
	c := staleness.Clocks{Epoch: 7}
	require.False(t, l.Stale(c, 0, 0))
	require.False(t, l.Stale(c, time.Second, 0))
	require.True(t, l.Stale(c, time.Second+1, 0))
}

func TestAPathThatBecameLongerIsTakenAfterTenSeconds(t *testing.T) {
	var l staleness.Least
	c := staleness.Clocks{Epoch: 7}
	feed(&l, c, 0, 0, 5*time.Second)
	stale, all := feed(&l, c, 3*time.Second, 5*time.Second, 14*time.Second)
	require.Equal(t, all, stale, "the least of the last ten seconds is still the old one")
	stale, _ = feed(&l, c, 3*time.Second, 15*time.Second, 40*time.Second)
	require.Zero(t, stale, "it is the way now: a stream must not stay black")
}

func TestAfterAPauseTheOldLeastIsForgotten(t *testing.T) {
	for _, pause := range []time.Duration{10 * time.Second, 11 * time.Second, time.Hour, 1000 * time.Hour} {
		var l staleness.Least
		c := staleness.Clocks{Epoch: 7}
		feed(&l, c, 0, 0, 3*time.Second)
		require.False(t, l.Stale(c, time.Minute, 3*time.Second+pause), "after %v", pause)
	}
	var l staleness.Least
	c := staleness.Clocks{Epoch: 7}
	feed(&l, c, 0, 0, 3*time.Second)
	require.True(t, l.Stale(c, time.Minute, 11*time.Second), "after eight seconds it is still known")
}

func TestOtherClocksBeginAnew(t *testing.T) {
	for name, other := range map[string]staleness.Clocks{
		"another run of the owner":          {Epoch: 8},
		"an owner whose clock was set back": {Epoch: 3},
		"our own clock was set":             {Epoch: 7, Steps: 1},
	} {
		t.Run(name, func(t *testing.T) {
			var l staleness.Least
			feed(&l, staleness.Clocks{Epoch: 7}, 0, 0, 5*time.Second)
			require.False(t, l.Stale(other, time.Hour, 5*time.Second), "delays by other clocks say nothing")
			require.True(t, l.Stale(other, time.Hour+2*time.Second, 5*time.Second))
			require.False(t, l.Stale(other, time.Hour, 6*time.Second))
		})
	}
}

func TestNothingIsAllocated(t *testing.T) {
	var l staleness.Least
	var at time.Duration
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		at += frame
		l.Stale(staleness.Clocks{Epoch: 7}, time.Millisecond, at)
	}))
}
