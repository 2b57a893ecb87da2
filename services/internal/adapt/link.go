package adapt

import (
	"math"
	"slices"
	"time"
)

const (
	baseOver  = 2500 * time.Millisecond // and drainEvery: one drain at least is remembered
	rateOver  = 2 * time.Second
	rateLate  = 500 * time.Millisecond // the newest part of it counts by itself, if it is slower
	waitOver  = 500 * time.Millisecond
	sizesOver = 500 * time.Millisecond
	minCarry  = 200 * time.Microsecond
	// MaxWindow bounds the pictures that may be on their way.
	MaxWindow = 12
	// early is how much sooner than it would be carried the next picture leaves: at least so much, and a part of its time
	// up to the most. Who sends is late now and then, and a slow line that idles loses what nobody can give back.
	early     = 2 * time.Millisecond
	earlyPart = 4
	earlyMost = 15 * time.Millisecond
	// overdue is how late the oldest on its way may be before nothing is sent after it.
	overdue = 50 * time.Millisecond
	// A congested connection's flight is let run empty every so many times its base delay, within these bounds, to see
	// that delay, which is what it costs.
	drainTimes = 40
	drainSoon  = 2500 * time.Millisecond
	drainLate  = 6 * time.Second
	// QuietPatience is how long a bare ping waits for the line to be idle.
	QuietPatience = 100 * time.Millisecond
	// maxFlight bounds the pictures remembered as on their way.
	maxFlight = 32
	// least samples of a rate.
	leastSamples = 2
)

// Link is what is known of one connection: its base delay, its rate, and what that makes of its window and of when the
// next picture goes. It is fed in the order of events.
type Link struct {
	base    []timed // of drainEvery and baseOver: candidates for the least, rising
	carried []carry // of the last rateOver
	waits   []timed // of the last waitOver
	sizes   []sized // of the last sizesOver, and at least the last one

	flight   []sized       // sent and not yet told of by Acked; the oldest is forgotten beyond maxFlight
	lastPong time.Duration // of a picture
	expected time.Duration // when the last picture sent should be acknowledged
	early    time.Duration // how much sooner the one after it may leave
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
	if len(l.flight) == maxFlight {
		l.flight = slices.Delete(l.flight, 0, 1)
	}
	l.flight = append(l.flight, sized{at, bytes})
	from := max(at+l.Base(), l.expected)
	l.expected = from
	l.early = early
	if took := l.serialise(at, bytes); took > 0 {
		l.expected += took
		l.early = max(early, min(took/earlyPart, earlyMost))
	}
}

// Pong notes the delay of any acknowledged ping, bare or not.
func (l *Link) Pong(at, delay time.Duration) {
	for len(l.base) > 0 && l.base[len(l.base)-1].d >= delay {
		l.base = l.base[:len(l.base)-1]
	}
	l.base = append(l.base, timed{at, delay})
	l.base = dropBefore(l.base, func(t timed) bool { return at-t.at > l.drainEvery()+baseOver })
}

// Acked notes a picture's own pong: of so many bytes, sent at sentAt, after having waited for credit.
func (l *Link) Acked(at, sentAt time.Duration, bytes int, waited time.Duration) {
	base := l.Base()
	l.carried = append(dropBefore(l.carried, func(c carry) bool { return at-c.at > rateOver }), l.carry(at, sentAt, bytes))
	behind := max(0, at-sentAt-base-l.serialise(at, bytes))
	l.waits = append(dropBefore(l.waits, func(t timed) bool { return at-t.at > waitOver }), timed{at, behind + waited})
	l.lastPong = at
}

// carry is what a picture's pong tells of the rate. It may answer for others that were sent before it (RFC 6455,
// 5.5.3): they were carried in that time too. From whichever of them one counts, the rate is at least that.
func (l *Link) carry(at, sentAt time.Duration, bytes int) carry {
	base := l.Base()
	since := func(sentAt time.Duration) time.Duration { return max(at-max(sentAt+base, l.lastPong), minCarry) }
	best := carry{at, bytes, since(sentAt)}
	n := 0
	for n < len(l.flight) && l.flight[n].at < sentAt {
		n++
	}
	sum := bytes
	for i := n - 1; i >= 0; i-- {
		sum += l.flight[i].bytes
		took := since(l.flight[i].at)
		if float64(sum)*best.took.Seconds() > float64(best.bytes)*took.Seconds() {
			best = carry{at, sum, took}
		}
	}
	if n < len(l.flight) && l.flight[n].at == sentAt {
		n++
	}
	l.flight = slices.Delete(l.flight, 0, n)
	return best
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

// Base is the least delay of the last 5 s, 8.5 s at most on a long way: the round trip of nothing.
func (l *Link) Base() time.Duration {
	if len(l.base) == 0 {
		return 0
	}
	return l.base[0].d
}

// DrainDue tells whether a congested connection's flight is to run empty before the next bare ping, so that its pong
// tells the base delay, the last time having been at last, 0 for never. Pictures may follow the ping at once: it is
// before them all the way.
func (l *Link) DrainDue(now, last time.Duration) bool {
	if last == 0 { // until then the base may be that of a queue
		return now >= drainSoon
	}
	return now-last >= l.drainEvery()
}

func (l *Link) drainEvery() time.Duration { return min(max(drainTimes*l.Base(), drainSoon), drainLate) }

// Quiet tells whether a bare ping that is due since then goes now: with nothing on its way, or right before a picture
// that may go, which is when the line is as idle as it gets. A ping behind a picture tells a base delay that is too
// long, and so a rate that is too high; and since cameras and pings both keep time, it may be behind one for seconds.
func Quiet(now, due time.Duration, inFlight int, pictureNext bool) bool {
	return inFlight == 0 || pictureNext || now-due >= QuietPatience
}

// Rate is what the connection carries, bytes a second; not ok before two pictures were measured.
func (l *Link) Rate(now time.Duration) (rate float64, ok bool) {
	var late, lately, all total
	for i := len(l.carried) - 1; i >= 0; i-- {
		c := l.carried[i]
		all.add(c)
		if now-c.at <= rateOver {
			lately = all
		}
		if now-c.at <= rateLate {
			late = all
		}
	}
	if lately.n < leastSamples { // nothing lately: the last that was known
		return all.rate(), all.n >= leastSamples
	}
	rate = lately.rate()
	if late.n >= leastSamples {
		rate = min(rate, late.rate())
	}
	return rate, true
}

// total of carries.
type total struct {
	n, bytes int
	took     time.Duration
}

func (t *total) add(c carry) {
	t.n++
	t.bytes += c.bytes
	t.took += c.took
}

func (t *total) rate() float64 { return float64(t.bytes) / t.took.Seconds() }

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
// has been carried. oldestSent is when the oldest on its way left, oldestBytes its size.
func (l *Link) NotBefore(_ time.Duration, inFlight int) time.Duration {
	if inFlight == 0 {
		return 0
	}
	return l.expected - l.Base() - l.early
}

// Overdue tells whether the oldest on its way, sent at sentAt, is so late that nothing should follow it.
func (l *Link) Overdue(now, sentAt time.Duration, bytes int) bool {
	due := max(sentAt+l.Base(), l.lastPong) + l.serialise(now, bytes)
	return now > due+overdue
}
