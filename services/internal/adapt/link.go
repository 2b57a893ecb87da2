package adapt

import (
	"math"
	"slices"
	"time"
)

const (
	baseOver  = 5 * time.Second
	rateOver  = 2 * time.Second
	rateLate  = 500 * time.Millisecond // the newest part of it counts by itself, if it is slower
	waitOver  = 500 * time.Millisecond
	sizesOver = 500 * time.Millisecond
	minCarry  = 200 * time.Microsecond
	// MaxWindow bounds the pictures that may be on their way.
	MaxWindow = 12
	// early is how much sooner than it would be carried the next picture leaves.
	early = 2 * time.Millisecond
	// overdue is how late the oldest on its way may be before nothing is sent after it.
	overdue = 50 * time.Millisecond
	// DrainEvery is how often a congested connection's flight is let run empty, to see its base delay.
	DrainEvery = 2500 * time.Millisecond
	// least samples of a rate.
	leastSamples = 2
)

// Link is what is known of one connection: its base delay, its rate, and what that makes of its window and of when the
// next picture goes. It is fed in the order of events.
type Link struct {
	base    []timed // of the last baseOver: candidates for the least, rising
	carried []carry // of the last rateOver
	waits   []timed // of the last waitOver
	sizes   []sized // of the last sizesOver, and at least the last one

	lastPong time.Duration // of a picture
	expected time.Duration // when the last picture sent should be acknowledged
}

type timed struct{ at, d time.Duration }

type carry struct {
	at    time.Duration
	bytes int
	took  time.Duration
}

type sized struct {
	at    time.Duration
	bytes int
}

// Sent notes a picture that goes out.
func (l *Link) Sent(at time.Duration, bytes int) {
	l.sizes = append(dropBefore(l.sizes, func(s sized) bool { return at-s.at > sizesOver }), sized{at, bytes})
	from := max(at+l.Base(), l.expected)
	l.expected = from
	if rate, ok := l.Rate(at); ok {
		l.expected += time.Duration(float64(bytes) / rate * float64(time.Second))
	}
}

// Pong notes the delay of any acknowledged ping, bare or not.
func (l *Link) Pong(at, delay time.Duration) {
	for len(l.base) > 0 && l.base[len(l.base)-1].d >= delay {
		l.base = l.base[:len(l.base)-1]
	}
	l.base = append(l.base, timed{at, delay})
	l.base = dropBefore(l.base, func(t timed) bool { return at-t.at > baseOver })
}

// Acked notes a picture's own pong: of so many bytes, sent at sentAt, after having waited for credit.
func (l *Link) Acked(at, sentAt time.Duration, bytes int, waited time.Duration) {
	base := l.Base()
	from := max(sentAt+base, l.lastPong)
	took := max(at-from, minCarry)
	l.carried = append(dropBefore(l.carried, func(c carry) bool { return at-c.at > rateOver }), carry{at, bytes, took})
	behind := max(0, at-sentAt-base-l.serialise(at, bytes))
	l.waits = append(dropBefore(l.waits, func(t timed) bool { return at-t.at > waitOver }), timed{at, behind + waited})
	l.lastPong = at
}

// serialise is the time that a picture of so many bytes takes at the rate that is known, 0 while it is not.
func (l *Link) serialise(now time.Duration, bytes int) time.Duration {
	rate, ok := l.Rate(now)
	if !ok {
		return 0
	}
	return time.Duration(float64(bytes) / rate * float64(time.Second))
}

// dropBefore removes the oldest that are too old.
func dropBefore[T any](list []T, old func(T) bool) []T {
	i := 0
	for i < len(list) && old(list[i]) {
		i++
	}
	return slices.Delete(list, 0, i)
}

// Base is the least delay of the last 5 s: the round trip of nothing.
func (l *Link) Base() time.Duration {
	if len(l.base) == 0 {
		return 0
	}
	return l.base[0].d
}

// Rate is what the connection carries, bytes a second; not ok before two pictures were measured.
func (l *Link) Rate(now time.Duration) (rate float64, ok bool) {
	sum := func(over time.Duration) (float64, bool) {
		n, bytes, took := 0, 0, time.Duration(0)
		for _, c := range l.carried {
			if now-c.at <= over {
				n++
				bytes += c.bytes
				took += c.took
			}
		}
		return float64(bytes) / took.Seconds(), n >= leastSamples
	}
	rate, ok = sum(rateOver)
	if late, known := sum(rateLate); known {
		rate = min(rate, late)
	}
	if !ok && len(l.carried) > 0 { // nothing lately: the last that was known
		n := 0
		bytes, took := 0, time.Duration(0)
		for _, c := range l.carried {
			n++
			bytes += c.bytes
			took += c.took
		}
		return float64(bytes) / took.Seconds(), n >= leastSamples
	}
	return rate, ok
}

// OwnP80 is the 80th percentile of the sizes sent in the last half second, bytes.
func (l *Link) OwnP80(now time.Duration) float64 {
	sizes := make([]int, 0, len(l.sizes))
	for _, s := range l.sizes {
		if now-s.at <= sizesOver {
			sizes = append(sizes, s.bytes)
		}
	}
	if len(sizes) == 0 && len(l.sizes) > 0 {
		sizes = append(sizes, l.sizes[len(l.sizes)-1].bytes)
	}
	if len(sizes) == 0 {
		return 0
	}
	slices.Sort(sizes)
	return float64(sizes[(len(sizes)*80-1)/100])
}

// Wait is the median time of the last half second that pictures lay behind others or waited for credit; stalled is how
// long one has been waiting for credit now.
func (l *Link) Wait(now, stalled time.Duration) time.Duration {
	waits := make([]time.Duration, 0, len(l.waits)+1)
	for _, w := range l.waits {
		if now-w.at <= waitOver {
			waits = append(waits, w.d)
		}
	}
	if len(waits) == 0 {
		return stalled
	}
	slices.Sort(waits)
	return max(waits[len(waits)/2], stalled-waitOver)
}

// Window is how many pictures may be on their way for a stream, or streams, of fps in all.
func (l *Link) Window(now time.Duration, fps float64) int {
	rate, ok := l.Rate(now)
	if !ok || fps <= 0 {
		return 2
	}
	s := l.OwnP80(now) / rate
	w := math.Ceil((l.Base().Seconds()+s)/max(1/fps, s) - 0.1)
	return int(min(max(w, 1), MaxWindow))
}

// NotBefore is when the next picture may leave, those on their way being inFlight: so that it arrives as the last one
// has been carried.
func (l *Link) NotBefore(inFlight int) time.Duration {
	if inFlight == 0 {
		return 0
	}
	return l.expected - l.Base() - early
}

// Overdue tells whether the oldest on its way, sent at sentAt, is so late that nothing should follow it.
func (l *Link) Overdue(now, sentAt time.Duration, bytes int) bool {
	due := max(sentAt+l.Base(), l.lastPong) + l.serialise(now, bytes)
	return now > due+overdue
}
