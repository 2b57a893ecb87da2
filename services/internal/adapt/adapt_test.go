package adapt_test

import (
	"math"
	"testing"
	"time"

	"github.com/framebus/framebus/services/internal/adapt"
	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

func TestBucketsEndAtTheirEdges(t *testing.T) {
	require.Zero(t, adapt.Bucket(0))
	require.Zero(t, adapt.Bucket(math.NaN()))
	require.Equal(t, adapt.Buckets-1, adapt.Bucket(math.Inf(1)))
	for i := range adapt.Buckets {
		require.Equal(t, i, adapt.Bucket(adapt.Edge(i)), i)
		if i+1 < adapt.Buckets {
			require.Equal(t, i+1, adapt.Bucket(adapt.Edge(i)*1.01), i)
		}
	}
}

func TestSizesScaleThereAndBack(t *testing.T) {
	for q := 1; q <= 100; q++ {
		require.InDelta(t, 24_000, adapt.Size80(adapt.SizeAt(24_000, q), q), 1e-6)
	}
	require.InDelta(t, 0.46*24_000, adapt.SizeAt(24_000, 30), 1e-6)
}

func TestQualityFollowsTheBudgets(t *testing.T) {
	lim := adapt.Limits{Min: 30, Max: 80}
	quality := func(budgets ...float64) int {
		var h adapt.Histogram
		for _, b := range budgets {
			h.Add(b)
		}
		return adapt.Quality(0, &h, 24_000, lim)
	}
	require.Equal(t, 80, quality(), "nobody watches")
	require.Equal(t, 80, quality(100_000))
	require.Equal(t, 30, quality(1_000))
	last := 0
	for b := 1_000.0; b < 60_000; b *= 1.1 {
		q := quality(b)
		require.GreaterOrEqual(t, q, last, "more budget is never less quality")
		if q > lim.Min {
			require.LessOrEqual(t, adapt.SizeAt(24_000, q), b, "what is sent fits")
		}
		last = q
	}
	many := []float64{100_000, 100_000, 100_000, 100_000, 1_000}
	require.Equal(t, 80, quality(many...), "one far below the best holds nobody down")
	var a, b adapt.Histogram
	a.Add(15_000)
	a.Add(30_000)
	b.Add(30_000)
	other := make([]uint32, adapt.Buckets)
	other[adapt.Bucket(15_000)] = 1
	b.Merge(other)
	require.Equal(t, a, b, "gateways add up")
}

// feed sends pictures of so many bytes, 33 ms apart, over a link of a base delay and a rate in bytes a second.
func feed(l *adapt.Link, from time.Duration, n, bytes int, base time.Duration, rate float64) time.Duration {
	took := time.Duration(float64(bytes) / rate * float64(time.Second))
	for range n {
		l.Sent(from, bytes)
		l.Pong(from+base+took, base+took)
		l.Acked(from+base+took, from, bytes, 0)
		l.Pong(from+base+took, base) // a bare one
		from += max(33*ms, took)
	}
	return from
}

func TestALinkIsMeasuredThoughTheStreamDoesNotFillIt(t *testing.T) {
	for _, base := range []time.Duration{ms, 20 * ms, 150 * ms} {
		var l adapt.Link
		_, known := l.Rate(0)
		require.False(t, known)
		require.Equal(t, 2, l.Window(0, 30))
		now := feed(&l, 0, 90, 24_000, base, 2.5e6)
		rate, known := l.Rate(now)
		require.True(t, known)
		require.InEpsilon(t, 2.5e6, rate, 0.05, "base %v", base)
		require.Equal(t, base, l.Base())
		require.InDelta(t, 24_000, l.OwnP80(now), 1)
		require.Less(t, l.Wait(now, 0), 5*ms)
		want := math.Ceil((base+9600*time.Microsecond).Seconds()*30 - 0.1)
		require.InDelta(t, want, l.Window(now, 30), 0, "base %v", base)
	}
}

func TestARateThatFallsCountsAtOnce(t *testing.T) {
	var l adapt.Link
	now := feed(&l, 0, 60, 24_000, 20*ms, 2.5e6)
	now = feed(&l, now, 10, 24_000, 20*ms, 0.25e6)
	rate, _ := l.Rate(now)
	require.InEpsilon(t, 0.25e6, rate, 0.1)
	require.Equal(t, 2, l.Window(now, 30))
}

func view(rate float64) adapt.View {
	return adapt.View{
		RateKnown: true, Rate: rate, OwnP80: 24_000, FPS: 30, Quality: 80, Min: 30,
		Size80: [adapt.Rungs]float64{24_000, 8_000, 2_600},
	}
}

func TestDownAtOnceWhereNothingFits(t *testing.T) {
	var c adapt.Choice
	c, why := c.Next(0, view(100_000))
	require.Equal(t, adapt.TooSlow, why)
	require.Equal(t, 2, c.Rung, "half at its lowest quality is 110 kB/s")
}

func TestDownWhenQualityDoesNotHelpAndUpAgain(t *testing.T) {
	var c adapt.Choice
	v := view(500_000) // full would fit at its lowest quality
	var why adapt.Reason
	at := time.Duration(0)
	for ; why == adapt.Stays && at < 10*time.Second; at += 250 * ms {
		c, why = c.Next(at, v)
	}
	require.Equal(t, adapt.Congested, why)
	require.Equal(t, 1, c.Rung)
	require.Less(t, at, 1500*ms)

	v = view(2_000_000)
	v.OwnP80 = 8_000
	for why = adapt.Stays; why == adapt.Stays && at < 20*time.Second; at += 250 * ms {
		c, why = c.Next(at, v)
	}
	require.Equal(t, adapt.Climbs, why)
	require.Zero(t, c.Rung)
}

// A climb that fails is tried again later and later, and never later than the limit.
func TestClimbsThatFailBackOff(t *testing.T) {
	c := adapt.Choice{Rung: 1}
	var pauses []time.Duration
	fell := time.Duration(0)
	for at := time.Duration(0); at < 10*time.Minute; at += 250 * ms {
		v := view(2_000_000)
		v.OwnP80 = 8_000
		if c.Rung == 0 {
			v.OwnP80, v.Wait = 24_000, 200*ms
		}
		var why adapt.Reason
		c, why = c.Next(at, v)
		switch why {
		case adapt.Climbs:
			pauses = append(pauses, at-fell)
		case adapt.Congested, adapt.TooSlow:
			fell = at
		}
	}
	require.Greater(t, len(pauses), 5)
	require.Greater(t, pauses[5], pauses[1])
	for _, p := range pauses {
		require.LessOrEqual(t, p, 35*time.Second)
	}
}

func TestTheViewportBoundsTheRung(t *testing.T) {
	v := view(10_000_000)
	v.Top = 2
	c, why := adapt.Choice{}.Next(0, v)
	require.Equal(t, adapt.Viewport, why)
	for at := time.Duration(0); at < time.Minute; at += 250 * ms {
		c, _ = c.Next(at, v)
		require.Equal(t, 2, c.Rung)
	}
}

func TestAClientThatPaintsLessGetsLess(t *testing.T) {
	var p adapt.Paint
	got := uint64(0)
	for at := time.Duration(0); at < 4*time.Second; at += 250 * ms {
		got += 7
		p.Report(at, 2, got) // of 28 a second it paints 8
	}
	require.InDelta(t, 8.8, p.Cap(30), 3)
	for at := 4 * time.Second; at < 30*time.Second; at += 250 * ms {
		got += 2
		p.Report(at, 2, got)
	}
	require.Zero(t, p.Cap(30), "it keeps up again")

	var fine adapt.Paint
	for at := time.Duration(0); at < 10*time.Second; at += 250 * ms {
		fine.Report(at, 1, uint64(at/(250*ms))+2) // two are always between pong and report
	}
	require.Zero(t, fine.Cap(4))
}

// On the lowest rung nobody can go further down: the slowest's frames count there.
func TestTheLowestRungKeepsItsSlowestViewerMoving(t *testing.T) {
	lim := adapt.Limits{Min: 30, Max: 80}
	var h adapt.Histogram
	for range 9 {
		h.Add(4000)
	}
	h.Add(1100)
	require.Equal(t, 62, adapt.Quality(1, &h, 4500, lim), "elsewhere it goes down a rung")
	require.Equal(t, 30, adapt.Quality(2, &h, 4500, lim))
}
