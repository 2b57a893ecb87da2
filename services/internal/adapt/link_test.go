package adapt_test

import (
	"testing"
	"time"

	"github.com/framebus/framebus/services/internal/adapt"
	"github.com/stretchr/testify/require"
)

func TestTheBaseIsTheLeastOfFiveSeconds(t *testing.T) {
	var l adapt.Link
	l.Pong(0, 20*ms)
	l.Pong(ms, 90*ms)
	l.Pong(2*time.Second, 60*ms)
	require.Equal(t, 20*ms, l.Base())
	l.Pong(5*time.Second, 80*ms)
	require.Equal(t, 20*ms, l.Base(), "it is 5 s old")
	l.Pong(5*time.Second+2*ms, 80*ms)
	require.Equal(t, 60*ms, l.Base(), "a longer round trip is believed when the short one is forgotten")
	l.Pong(6*time.Second, 10*ms)
	require.Equal(t, 10*ms, l.Base(), "a shorter one at once")
}

// The carry time of a picture begins when its predecessor was acknowledged, or when it could have been itself.
func TestACarryTimeLeavesOutTheRoundTripAndTheQueue(t *testing.T) {
	var l adapt.Link
	l.Pong(0, 100*ms)
	for _, sent := range []time.Duration{0, 10 * ms} { // both wait for the line, 40 ms each
		l.Sent(sent, 10_000)
	}
	l.Acked(140*ms, 0, 10_000, 0)
	l.Acked(180*ms, 10*ms, 10_000, 0)
	rate, ok := l.Rate(180 * ms)
	require.True(t, ok)
	require.InEpsilon(t, 250_000, rate, 1e-6)
	l.Sent(180*ms, 10_000)
	l.Acked(320*ms, 180*ms, 10_000, 30*ms)
	require.Equal(t, 30*ms, l.Wait(320*ms, 0), "the median: 40 ms while no rate was known, then 30 behind a picture, "+
		"and 30 for credit")
}

// A pong that answers for two pictures tells what carried both.
func TestAPongThatAnswersForOthersCountsThemToo(t *testing.T) {
	var l adapt.Link
	l.Pong(0, 20*ms)
	at := 20 * ms
	for range 10 {
		l.Sent(at, 10_000)
		l.Sent(at+ms, 10_000)
		l.Acked(at+100*ms, at+ms, 10_000, 0) // 80 ms at 250 kB/s, 20 ms of round trip
		at += 100 * ms
	}
	rate, ok := l.Rate(at)
	require.True(t, ok)
	require.Greater(t, rate, 190_000.0)
	require.LessOrEqual(t, rate, 251_000.0)
}

// Pictures that were sent long before, and acknowledged by something else, do not make a rate look lower.
func TestPicturesBetweenPingsDoNotSlowTheRate(t *testing.T) {
	var l adapt.Link
	l.Pong(0, 5*ms)
	for i := range 40 {
		at := time.Duration(i) * 33 * ms
		l.Sent(at, 10_000)
		if i%4 == 3 { // only every fourth has a ping
			l.Acked(at+15*ms, at, 10_000, 0)
		}
	}
	rate, _ := l.Rate(40 * 33 * ms)
	require.InEpsilon(t, 1e6, rate, 0.01)
}

func TestTheRateIsTheSmallerOfTwoSecondsAndTheLastHalf(t *testing.T) {
	var l adapt.Link
	now := feed(&l, 0, 75, 24_000, 20*ms, 1e6)
	before, _ := l.Rate(now)
	require.InEpsilon(t, 1e6, before, 0.05)
	now = feed(&l, now, 8, 24_000, 20*ms, 4e5)
	slower, _ := l.Rate(now)
	require.InEpsilon(t, 4e5, slower, 0.1, "a fall counts after half a second")
	now = feed(&l, now, 8, 24_000, 20*ms, 4e6)
	faster, _ := l.Rate(now)
	require.Less(t, faster, 1.5e6, "a rise after two")
	now = feed(&l, now, 70, 24_000, 20*ms, 4e6)
	risen, _ := l.Rate(now)
	require.InEpsilon(t, 4e6, risen, 0.05)
	kept, ok := l.Rate(now + time.Minute)
	require.True(t, ok)
	require.InEpsilon(t, 4e6, kept, 0.05, "what was known last, where nothing is new")
}

func TestWhatIsOverdueStopsWhatFollows(t *testing.T) {
	var l adapt.Link
	now := feed(&l, 0, 60, 24_000, 20*ms, 2.4e6)
	l.Sent(now, 24_000)
	require.False(t, l.Overdue(now+30*ms, now, 24_000), "it is due then")
	require.False(t, l.Overdue(now+79*ms, now, 24_000))
	require.True(t, l.Overdue(now+82*ms, now, 24_000))
	require.Zero(t, l.NotBefore(now, 0), "nothing is on its way")
	require.InDelta(t, float64(now+8*ms), float64(l.NotBefore(now, 1)), float64(ms), "as the line becomes free")
}

func TestABarePingWaitsForAnIdleLine(t *testing.T) {
	require.True(t, adapt.Quiet(0, 0, 0, false), "nothing is on its way")
	require.False(t, adapt.Quiet(20*ms, 0, 1, false), "behind a picture it would tell too long a delay")
	require.True(t, adapt.Quiet(20*ms, 0, 1, true), "right before the next")
	require.True(t, adapt.Quiet(100*ms, 0, 1, false), "not for ever")
}
