package adapt_test

import (
	"math"
	"testing"
	"time"

	"github.com/framebus/framebus/services/internal/adapt"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func budgets(t *rapid.T, label string, low, high float64) []float64 {
	return rapid.SliceOfN(rapid.Float64Range(low, high), 1, 40).Draw(t, label)
}

func histogram(budgets []float64) (h adapt.Histogram) {
	for _, b := range budgets {
		h.Add(b)
	}
	return h
}

func limits(t *rapid.T) adapt.Limits {
	low := rapid.IntRange(1, 100).Draw(t, "min")
	return adapt.Limits{Min: low, Max: rapid.IntRange(low, 100).Draw(t, "max")}
}

func TestQualityStaysWithinItsLimits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lim := limits(t)
		h := histogram(budgets(t, "budgets", 0, math.MaxFloat64))
		q := adapt.Quality(0, &h, rapid.Float64Range(0, 1e8).Draw(t, "size"), lim)
		require.GreaterOrEqual(t, q, lim.Min)
		require.LessOrEqual(t, q, lim.Max)
	})
}

// As long as all viewers count, which are those of at least half the best budget, nobody's larger budget lowers it.
func TestQualityIsMonotoneInTheBudgetsThatCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lim := limits(t)
		size := rapid.Float64Range(500, 1e6).Draw(t, "size")
		low := rapid.Float64Range(300, 1e6).Draw(t, "low")
		some := budgets(t, "budgets", low, 1.6*low)
		more := append([]float64{}, some...)
		i := rapid.IntRange(0, len(some)-1).Draw(t, "whose")
		more[i] = rapid.Float64Range(some[i], 1.6*low).Draw(t, "more")
		before, after := histogram(some), histogram(more)
		require.LessOrEqual(t, adapt.Quality(0, &before, size, lim), adapt.Quality(0, &after, size, lim))
	})
}

func TestALoneViewersPicturesFitItsBudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lim := limits(t)
		size := rapid.Float64Range(500, 1e6).Draw(t, "size")
		budget := rapid.Float64Range(300, 1e6).Draw(t, "budget")
		h := histogram([]float64{budget})
		if q := adapt.Quality(0, &h, size, lim); q > lim.Min {
			require.LessOrEqual(t, adapt.SizeAt(size, q), budget*1.000001)
		}
	})
}

func TestGatewaysAddUpInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := histogram(budgets(t, "a", 0, 1e9)), histogram(budgets(t, "b", 0, 1e9))
		ab, ba := a, b
		ab.Merge(b[:])
		ba.Merge(a[:])
		require.Equal(t, ab, ba)
		total := uint32(0)
		for i := range ab {
			require.Equal(t, a[i]+b[i], ab[i])
			total += ab[i]
		}
		require.GreaterOrEqual(t, total, uint32(2))
	})
}

func TestABudgetLiesBetweenItsBucketsEdges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.Float64Range(0, 2*adapt.Edge(adapt.Buckets-1)).Draw(t, "budget")
		i := adapt.Bucket(b)
		require.GreaterOrEqual(t, i, 0)
		require.Less(t, i, adapt.Buckets)
		if i < adapt.Buckets-1 {
			require.LessOrEqual(t, b, adapt.Edge(i)*1.000001)
		}
		if i > 0 {
			require.Greater(t, b*1.000001, adapt.Edge(i-1))
		}
	})
}

func TestSizeAtAndSize80AreInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Float64Range(1, 1e8).Draw(t, "size")
		q := rapid.IntRange(1, 100).Draw(t, "quality")
		require.InEpsilon(t, size, adapt.Size80(adapt.SizeAt(size, q), q), 1e-9)
		if q < 100 {
			require.Less(t, adapt.SizeAt(size, q), adapt.SizeAt(size, q+1))
		}
	})
}

// Whatever pongs come or stay away, a link's figures are figures.
func TestALinkStaysWithinItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l adapt.Link
		type sent struct {
			at    time.Duration
			bytes int
		}
		var flight []sent
		now := time.Duration(0)
		for range rapid.IntRange(1, 200).Draw(t, "events") {
			now += time.Duration(rapid.IntRange(0, 200_000).Draw(t, "µs")) * time.Microsecond
			switch rapid.IntRange(0, 2).Draw(t, "event") {
			case 0:
				s := sent{now, rapid.IntRange(1, 1<<20).Draw(t, "bytes")}
				flight = append(flight, s)
				l.Sent(s.at, s.bytes)
			case 1:
				if len(flight) > 0 { // any of them, for all before it
					i := rapid.IntRange(0, len(flight)-1).Draw(t, "which")
					l.Pong(now, now-flight[i].at)
					l.Acked(now, flight[i].at, flight[i].bytes, 0)
					flight = flight[i+1:]
				}
			case 2:
				l.Pong(now, time.Duration(rapid.IntRange(0, 3_000_000).Draw(t, "delay"))*time.Microsecond)
			}
			fps := rapid.Float64Range(0, 120).Draw(t, "fps")
			w := l.Window(now, fps)
			require.GreaterOrEqual(t, w, 1)
			require.LessOrEqual(t, w, adapt.MaxWindow)
			if rate, ok := l.Rate(now); ok {
				require.Greater(t, rate, 0.0)
				require.LessOrEqual(t, rate, float64(adapt.MaxWindow<<20)/0.0002*4)
			}
			require.GreaterOrEqual(t, l.Base(), time.Duration(0))
			require.GreaterOrEqual(t, l.Wait(now, 0), time.Duration(0))
		}
	})
}

func anyView(t *rapid.T) adapt.View {
	v := adapt.View{
		RateKnown: rapid.Bool().Draw(t, "known"),
		Rate:      rapid.Float64Range(1, 1e7).Draw(t, "rate"),
		Wait:      time.Duration(rapid.IntRange(0, 300).Draw(t, "wait")) * ms,
		OwnP80:    rapid.Float64Range(0, 1e5).Draw(t, "own"),
		FPS:       rapid.Float64Range(0, 60).Draw(t, "fps"),
		Quality:   rapid.IntRange(30, 80).Draw(t, "quality"),
		Min:       30,
		Top:       rapid.IntRange(0, adapt.Rungs-1).Draw(t, "top"),
	}
	for r := range v.Size80 {
		v.Size80[r] = rapid.SampledFrom([]float64{0, 2_600, 8_000, 24_000}).Draw(t, "size")
		v.Now[r] = rapid.SampledFrom([]float64{0, 2_600, 8_000, 24_000}).Draw(t, "now")
	}
	return v
}

// Whatever is seen, a viewer is never above what is of use to it nor below quarter, climbs one rung at a time, and says
// why it moved. And whatever has been seen, a link that is good again brings it to the top in bounded time.
func TestAChoiceStaysOnTheLadderAndComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c adapt.Choice
		now := time.Duration(0)
		for range rapid.IntRange(0, 300).Draw(t, "looks") {
			now += time.Duration(rapid.IntRange(100, 2000).Draw(t, "ms")) * ms
			v, before := anyView(t), c.Rung
			var why adapt.Reason
			c, why = c.Next(now, v)
			require.GreaterOrEqual(t, c.Rung, v.Top)
			require.Less(t, c.Rung, adapt.Rungs)
			require.GreaterOrEqual(t, c.Rung, before-1)
			require.Equal(t, c.Rung != before, why != adapt.Stays, "from %d to %d: %q", before, c.Rung, why)
			require.Equal(t, c.Rung < before, why == adapt.Climbs)
		}
		good := view(1e7)
		good.OwnP80 = 2_600
		const most = 30*time.Second + 3*time.Second + 3*time.Second + time.Second // held back, clear, and clear again
		for end := now + most; now < end; now += 250 * ms {
			before := c.Rung
			c, _ = c.Next(now, good)
			require.LessOrEqual(t, c.Rung, before)
		}
		require.Zero(t, c.Rung)
	})
}

// However a link lures a viewer up and fails it, it does not try more often than every 3 s on average, and not less
// often than the limit.
func TestTheBackOffIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := adapt.Choice{Rung: 1}
		fell, climbed := time.Duration(-1), time.Duration(-1)
		bad := time.Duration(rapid.IntRange(1, 8).Draw(t, "bad after")) * 250 * ms
		for now := time.Duration(0); now < 5*time.Minute; now += 250 * ms {
			v := view(2e6)
			v.OwnP80 = 8_000
			if c.Rung == 0 && now-climbed >= bad {
				v.Wait = 200 * ms
			}
			before := c.Rung
			c, _ = c.Next(now, v)
			switch {
			case c.Rung < before:
				if fell >= 0 {
					require.GreaterOrEqual(t, now-fell, 3*time.Second)
					require.LessOrEqual(t, now-fell, 31*time.Second)
				}
				climbed = now
			case c.Rung > before:
				fell = now
			}
		}
		require.Positive(t, climbed)
	})
}
