package simulate_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/framebus/framebus/services/internal/adapt"
	"github.com/framebus/framebus/services/internal/adapt/simulate"
	"github.com/stretchr/testify/require"
)

const (
	ms    = time.Millisecond
	seeds = 2
)

func steady(mbit float64, rtt time.Duration) *simulate.Network {
	return &simulate.Network{Rate: simulate.Mbit(mbit), RTT: simulate.Steady(rtt)}
}

// run simulates a minute behind ten seconds of settling, of a 24 KB picture at 30 fps.
func run(seed uint64, change func(*simulate.Scenario), viewers ...*simulate.Network) []simulate.Viewer {
	s := simulate.Scenario{
		Seed: seed, Duration: 70 * time.Second, Warm: 10 * time.Second, FPS: 30, Size80: 24_000, Viewers: viewers,
	}
	if change != nil {
		change(&s)
	}
	return simulate.Run(s)
}

// each runs a test for some seeds.
func each(t *testing.T, fn func(t *testing.T, seed uint64)) {
	t.Helper()
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { fn(t, seed) })
	}
}

func TestAFastLinkIsFullAtEveryRoundTrip(t *testing.T) {
	each(t, func(t *testing.T, seed uint64) {
		for _, rtt := range []time.Duration{ms, 5 * ms, 20 * ms, 50 * ms, 150 * ms, 300 * ms} {
			v := run(seed, nil, steady(20, rtt))[0]
			require.Greater(t, v.Quality, 79.5, "RTT %v", rtt)
			require.Zero(t, v.Rung)
			require.Greater(t, v.FPS, 29.0, "RTT %v", rtt)
			require.Less(t, v.AgeP95, rtt/2+100*ms)
		}
	})
}

func TestASteadyLinkIsUsedAndKept(t *testing.T) {
	each(t, func(t *testing.T, seed uint64) {
		for _, mbit := range []float64{0.6, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 7} {
			for _, rtt := range []time.Duration{ms, 20 * ms, 50 * ms, 150 * ms} {
				v := run(seed, nil, steady(mbit, rtt))[0]
				where := fmt.Sprintf("%.1f Mbit/s, RTT %v: %+.1f fps", mbit, rtt, v.FPS)
				require.LessOrEqual(t, v.RungChanges, 2, where)
				require.Greater(t, v.MeanRateShare, 0.5, where)
				require.Greater(t, v.FPS, 25.0, where)
				require.Less(t, v.AgeP95, rtt/2+100*ms, where)
			}
		}
	})
}

func TestATokenBucketIsNoSwing(t *testing.T) {
	each(t, func(t *testing.T, seed uint64) {
		for _, bucket := range []float64{4_000, 32_000} {
			n := steady(2.5, 20*ms)
			n.Bucket = bucket
			v := run(seed, nil, n)[0]
			require.LessOrEqual(t, v.RungChanges, 12, "bucket of %v bytes", bucket)
			require.Greater(t, v.FPS, 25.0)
		}
	})
}

func TestOneSlowViewerCostsTheOthersNothing(t *testing.T) {
	each(t, func(t *testing.T, seed uint64) {
		var viewers []*simulate.Network
		for range 9 {
			viewers = append(viewers, steady(50, ms))
		}
		out := run(seed, nil, append(viewers, steady(1, 20*ms))...)
		for _, v := range out[:9] {
			require.Greater(t, v.Quality, 79.5)
			require.Greater(t, v.FPS, 29.5)
		}
		require.Greater(t, out[9].FPS, 25.0)
		require.Less(t, out[9].AgeP95, 160*ms)
	})
}

func TestFiftyMixedViewersOfThreeGateways(t *testing.T) {
	each(t, func(t *testing.T, seed uint64) {
		var viewers []*simulate.Network
		for i := range 50 {
			viewers = append(viewers, steady(1+float64(i*i)/60, time.Duration(5+i*195/49)*ms))
		}
		worst := 30.0
		for _, v := range run(seed, func(s *simulate.Scenario) { s.Gateways = 3; s.Scenes = true }, viewers...) {
			worst = min(worst, v.FPS)
		}
		require.Greater(t, worst, 20.0)
	})
}

func TestRatesThatChange(t *testing.T) {
	rates := map[string]func(time.Duration) float64{
		"steps":    simulate.Steps(15*time.Second, 20, 1),
		"on/off":   simulate.Steps(5*time.Second, 10, 2),
		"ramp":     simulate.Ramp(30*time.Second, 1, 20),
		"sawtooth": simulate.Sawtooth(20*time.Second, 1, 20),
		"LTE":      simulate.LTE(1, 1, 12),
	}
	for name, rate := range rates {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, seed uint64) {
				v := run(seed, nil, &simulate.Network{Rate: rate, RTT: simulate.Steady(20 * ms)})[0]
				require.Greater(t, v.FPS, 25.0)
				require.Less(t, v.AgeP50, 100*ms)
			})
		})
	}
}

// What is fixed at full size and quality 80 on half the rate it needs gets fewer frames, not older ones.
func TestWhatMayNotAdaptIsThinned(t *testing.T) {
	v := run(1, func(s *simulate.Scenario) { s.Fixed, s.Limits = true, adapt.Limits{Min: 80, Max: 80} },
		steady(2.5, 20*ms))[0]
	require.Greater(t, v.FPS, 11.8)
	require.Less(t, v.AgeP95, 150*ms)
}
