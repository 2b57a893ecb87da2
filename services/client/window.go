package client

import (
	"math"
	"slices"
	"time"
)

const (
	rateWindow = 2 * time.Second
	ageWindow  = time.Second
)

// window keeps what came lately.
type window struct {
	samples []sample // in order; bound: judgeWindow, and windowMax, the oldest go
	first   int
}

const windowMax = 2048

type sample struct {
	at               time.Time
	capturedUs       int64
	bytes            int
	advance          uint64 // of the sequence; 1 where nothing was missed
	age, uncertainty time.Duration
}

func (w *window) add(s sample) {
	for w.first < len(w.samples) &&
		(s.at.Sub(w.samples[w.first].at) > judgeWindow || len(w.samples)-w.first >= windowMax) {
		w.first++
	}
	if w.first > 64 && w.first > len(w.samples)/2 {
		w.samples = slices.Delete(w.samples, 0, w.first)
		w.first = 0
	}
	w.samples = append(w.samples, s)
}

func (w *window) reset() { w.samples, w.first = w.samples[:0], 0 }

// since is what came after t.
func (w *window) since(t time.Time) []sample {
	all := w.samples[w.first:]
	i, _ := slices.BinarySearchFunc(all, t, func(s sample, t time.Time) int { return s.at.Compare(t) })
	return all[i:]
}

type summary struct {
	fps, streamFPS, mbps float64
	share                float64 // of the frames that should have come; 0 where none came
	p50, p95, p99        time.Duration
	newest               time.Duration // the median of the last second, or of the last frame before
	uncertainty          time.Duration
	aged                 bool
}

func (w *window) sum(now, connected time.Time, maxFPS float64) (sum summary) {
	lately := w.since(now.Add(-rateWindow))
	sum.fps = rate(lately, now)
	bytes := 0
	for _, s := range lately {
		bytes += s.bytes
	}
	span := min(rateWindow, max(now.Sub(connected), rateWindow/4))
	sum.mbps = 8 * float64(bytes) / span.Seconds() / 1e6

	judged := w.since(now.Add(-judgeWindow))
	if len(judged) == 0 {
		return sum
	}
	var expected uint64
	ages := make([]time.Duration, 0, len(judged))
	for _, s := range judged {
		expected += s.advance
		if s.uncertainty >= 0 {
			ages = append(ages, s.age)
			sum.uncertainty, sum.aged = s.uncertainty, true
		}
	}
	want := float64(expected)
	if us := judged[len(judged)-1].capturedUs - judged[0].capturedUs; us > 0 {
		sum.streamFPS = float64(expected-judged[0].advance) / (float64(us) / 1e6)
		if maxFPS > 0 && sum.streamFPS > maxFPS {
			want *= maxFPS / sum.streamFPS
		}
	}
	sum.share = float64(len(judged)) / max(want, 1)
	if sum.aged {
		lately := min(max(len(w.since(now.Add(-ageWindow))), 1), len(ages)) // those whose age is known came last
		newest := slices.Clone(ages[len(ages)-lately:])
		slices.Sort(newest)
		sum.newest = percentile(newest, 50)
	}
	slices.Sort(ages)
	sum.p50, sum.p95, sum.p99 = percentile(ages, 50), percentile(ages, 95), percentile(ages, 99)
	return sum
}

// rate counts intervals, not events, so that a steady stream reads the same whenever it is looked at.
func rate(lately []sample, now time.Time) float64 {
	n := len(lately)
	if n < 2 {
		return float64(n) / rateWindow.Seconds()
	}
	first, last := lately[0].at, lately[n-1].at
	steady := last.Sub(first) / time.Duration(n-1)
	// Nothing since longer than usual: the stream slows down or stands.
	if now.Sub(last) > 2*steady+100*time.Millisecond {
		return float64(n) / now.Sub(first).Seconds()
	}
	return float64(n-1) / max(last.Sub(first), time.Microsecond).Seconds()
}

// percentile p, 0..100, of sorted values by nearest rank; 0 where there are none.
func percentile(sorted []time.Duration, p float64) time.Duration {
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return sorted[min(max(int(math.Ceil(float64(n)*p/100)), 1), n)-1]
}
