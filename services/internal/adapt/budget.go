// Package adapt is how framebus fits pictures to networks: what a viewer's connection can carry (Link), which rung it
// gets (Choice), and at which quality a rung is encoded (Quality). All of it is pure: it knows no clock, no socket and
// no lock, times are counted from any fixed moment, and package simulate drives it through hours of network in seconds.
package adapt

import "math"

// Buckets is the number of a histogram's buckets.
const Buckets = 64

// Histogram counts viewers by their budget of bytes a frame; bucket i ends at Edge(i). Several gateways' add up.
type Histogram [Buckets]uint32

// Edge is a bucket's upper end, bytes.
func Edge(i int) float64 { return 256 * math.Exp2(float64(i)/4) }

// Bucket is where a budget of so many bytes belongs.
func Bucket(bytes float64) int {
	if !(bytes > 256) {
		return 0
	}
	if bytes >= Edge(Buckets-1) {
		return Buckets - 1
	}
	return int(math.Ceil(4*math.Log2(bytes/256) - 1e-9))
}

// Add counts a viewer.
func (h *Histogram) Add(bytes float64) { h[Bucket(bytes)]++ }

// Merge adds another reader's.
func (h *Histogram) Merge(o []uint32) {
	for i := range min(len(o), Buckets) {
		h[i] += o[i]
	}
}

// value stands for all budgets of a bucket: its lower end, so that nobody is given more than fits.
func value(i int) float64 { return Edge(i - 1) }

// sizeBase is what 50 steps of quality leave of a picture's size, measured on pictures of cameras.
const sizeBase = 0.46

// SizeAt is a picture's size at a quality, from its size at quality 80.
func SizeAt(size80 float64, quality int) float64 {
	return size80 * math.Pow(sizeBase, float64(80-quality)/50)
}

// Size80 is what a picture of so many bytes at a quality would have at quality 80.
func Size80(bytes float64, quality int) float64 {
	return bytes / math.Pow(sizeBase, float64(80-quality)/50)
}

// Limits of quality, 1..100.
type Limits struct{ Min, Max int }

// qualityFor is the highest quality whose size fits, within the limits.
func qualityFor(size80, bytes float64, lim Limits) int {
	if size80 <= 0 {
		return lim.Max
	}
	if bytes <= 0 {
		return lim.Min
	}
	q := 80 - 50*math.Log(bytes/size80)/math.Log(sizeBase)
	return min(max(int(math.Floor(q+1e-9)), lim.Min), lim.Max)
}

// nearBest: viewers below this part of the best budget do not hold the others down; they go down a rung.
const nearBest = 0.5

// budgetShare of the viewers near the best have less than the budget that counts.
const budgetShare = 0.2

// leastFrames is the part of a stream's frames that the slowest viewer of the lowest rung is to get.
const leastFrames = 0.6

// Quality is a rung's, from its viewers' budgets and the size of its pictures: it puts that size at the 20th percentile
// of the budgets that are at least half the best one. Who has less goes down a rung; on the lowest, where that is not
// possible, the slowest get fewer frames, but not so few that it would be a row of stills. Quality has no memory, so
// that every encoder comes to the same.
func Quality(rung int, h *Histogram, size80 float64, lim Limits) int {
	q := nearBestQuality(h, size80, lim)
	if rung != Rungs-1 {
		return q
	}
	for i, n := range h {
		if n > 0 {
			return min(q, qualityFor(size80, value(i)/fitShare/leastFrames, lim))
		}
	}
	return q
}

func nearBestQuality(h *Histogram, size80 float64, lim Limits) int {
	full := SizeAt(size80, lim.Max)
	best := -1.0
	for i := Buckets - 1; i >= 0 && best < 0; i-- {
		if h[i] > 0 {
			best = min(value(i), full)
		}
	}
	if best < 0 || size80 <= 0 {
		return lim.Max
	}
	var near uint32
	for i, n := range h {
		if n > 0 && value(i) >= nearBest*best {
			near += n
		}
	}
	rank := uint32(math.Ceil(budgetShare * float64(near)))
	var seen uint32
	for i, n := range h {
		if n == 0 || value(i) < nearBest*best {
			continue
		}
		if seen += n; seen >= max(rank, 1) {
			return qualityFor(size80, value(i), lim)
		}
	}
	return lim.Max
}
