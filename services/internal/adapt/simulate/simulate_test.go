package simulate_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/framebus/framebus/services/internal/adapt"
	"github.com/framebus/framebus/services/internal/adapt/simulate"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	ms    = time.Millisecond
	seeds = 5
)

func TestEveryCaseMeetsItsBars(t *testing.T) {
	for _, c := range simulate.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			require.Empty(t, c.Bars.Missed(simulate.Judge(c, seeds)))
		})
	}
}

// A rung fits a rate where it does at some quality: then at least 70 % of the rate are used, else 50.
func TestASteadyLinkIsUsedAndKept(t *testing.T) {
	for _, mbit := range []float64{0.4, 0.6, 0.8, 1, 1.5, 2, 2.25, 2.75, 3, 4, 6} {
		t.Run(fmt.Sprintf("%v Mbit/s", mbit), func(t *testing.T) {
			t.Parallel()
			bars := simulate.Bars{FPS: 28, Late: 100 * ms, Moves: 2, Use: 0.5}
			if fits(mbit) {
				bars.Use = 0.7
			}
			for _, rtt := range []time.Duration{ms, 50 * ms, 300 * ms} {
				w := simulate.Judge(simulate.Case{Make: func(seed uint64) simulate.Scenario {
					return scenario(seed, simulate.Link(mbit, rtt))
				}}, seeds)
				assert.Empty(t, bars.Missed(w), "RTT %v", rtt)
			}
		})
	}
}

// fits tells whether 0.85 of a rate lie between the lowest and the highest quality of a rung of 24 KB pictures.
func fits(mbit float64) bool {
	bytes := 0.85 * mbit * 1e6 / 8 / 30
	for r, share := range []float64{1, 0.33, 0.11} {
		if full := 24_000 * share; bytes >= adapt.SizeAt(full, 30) && (r == 0 || bytes <= full) {
			return true
		}
	}
	return false
}

func scenario(seed uint64, viewers ...*simulate.Network) simulate.Scenario {
	return simulate.Scenario{Seed: seed, Duration: 70 * time.Second, Warm: 10 * time.Second, Viewers: viewers}
}

func TestOneSlowViewerCostsTheOthersNothing(t *testing.T) {
	t.Parallel()
	nine := func() (out []*simulate.Network) {
		for range 9 {
			out = append(out, simulate.Link(50, ms))
		}
		return out
	}
	for seed := range uint64(seeds) {
		alone := simulate.Run(scenario(seed+1, nine()...)).Viewers
		out := simulate.Run(scenario(seed+1, append(nine(), simulate.Link(1, 20*ms))...)).Viewers
		for i, v := range out[:9] {
			require.GreaterOrEqual(t, v.Quality, 79.9)
			require.Greater(t, v.FPS, 29.5)
			require.LessOrEqual(t, v.AgeP95, alone[i].AgeP95+5*ms)
		}
		require.Greater(t, out[9].FPS, 25.0)
		require.Less(t, out[9].AgeP95, 160*ms)
	}
}

func TestAStepDownIsFollowedAndAStepUpTaken(t *testing.T) {
	t.Parallel()
	for seed := range uint64(seeds) {
		for _, rtt := range []time.Duration{ms, 20 * ms, 50 * ms, 150 * ms} {
			n := &simulate.Network{Rate: simulate.Steps(20*time.Second, 20, 1), RTT: simulate.Steady(rtt)}
			trace := simulate.Run(scenario(seed+1, n)).Viewers[0].Trace
			for s, p := range trace {
				switch into := s % 40; {
				case into >= 22:
					require.Less(t, p.AgeMs, 300.0, "second %d, RTT %v", s, rtt)
					require.GreaterOrEqual(t, p.FPS, 24.0, "second %d, RTT %v", s, rtt)
				case into >= 20:
				case into >= 6 || s > 40 && into >= 5:
					require.Zero(t, p.Rung, "second %d, RTT %v", s, rtt)
					require.Greater(t, p.Quality, 79.5, "second %d, RTT %v", s, rtt)
				}
			}
		}
	}
}

// An encoder that starts late has, half a second later, the qualities of those that ran all the time.
func TestEncodersThatStartLateComeToTheSameQuality(t *testing.T) {
	t.Parallel()
	for seed := range uint64(seeds) {
		s := scenario(seed+1, simulate.Mixed(seed+1, 20)...)
		s.Gateways = 3
		for at := range 12 {
			s.Encoders = append(s.Encoders, time.Duration(at)*5300*ms)
		}
		require.LessOrEqual(t, simulate.Run(s).Spread, 2)
	}
}

// What is fixed at full size and quality 80 on half the rate it needs gets fewer frames, not older ones.
func TestWhatMayNotAdaptIsThinned(t *testing.T) {
	t.Parallel()
	for seed := range uint64(seeds) {
		s := scenario(seed+1, simulate.Link(2.5, 20*ms))
		s.Fixed, s.Limits = true, adapt.Limits{Min: 80, Max: 80}
		v := simulate.Run(s).Viewers[0]
		require.Greater(t, v.FPS, 11.8)
		require.Less(t, v.AgeP95, 150*ms)
	}
	blind := simulate.Run(simulate.Others(30).Make(1)).Viewers[0]
	require.Greater(t, blind.AgeP50, time.Second, "the model shows what credit is for")
}

// The same seed is the same run: a figure that is told can be seen again.
func TestARunCanBeRepeated(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) simulate.Result { return simulate.Run(scenario(seed, simulate.Mixed(2, 5)...)) }
	first, again := run(1), run(1)
	require.Equal(t, first, again)
	require.NotEqual(t, run(1), run(2))
}
