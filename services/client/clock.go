package client

import (
	"slices"
	"time"
)

const (
	clockKept = 16 // samples; at one every 2 s the last half minute
	// clockDrift is what two quartz clocks drift apart at worst, in µs a second: an old sample is slowly worth less.
	clockDrift = 50
)

// clockSync is this clock against the gateway's, from NTP's four timestamps. It believes the sample with the least
// round trip, whose offset is wrong by half of that at most.
type clockSync struct {
	samples []clockSample // bound: clockKept, the oldest goes
}

type clockSample struct {
	at          time.Time
	offset, rtt time.Duration
}

// add takes when a question left (t1) by our clock, arrived (t2) and was answered (t3) by the gateway's, in µs since
// 1970, and when the answer came (t4). Impossible ones are no samples.
func (c *clockSync) add(t1, t2, t3 int64, t4 time.Time) bool {
	us := t4.UnixMicro()
	rtt := us - t1 - (t3 - t2)
	if t1 > us || t3 < t2 || rtt < 0 {
		return false
	}
	if len(c.samples) == clockKept {
		c.samples = slices.Delete(c.samples, 0, 1)
	}
	c.samples = append(c.samples, clockSample{
		at:     t4,
		offset: time.Duration(t2-t1+t3-us) * time.Microsecond / 2,
		rtt:    time.Duration(rtt) * time.Microsecond,
	})
	return true
}

// best is what added to a time of this clock makes it the gateway's, and how wrong that may be: -1 where not known.
func (c *clockSync) best(now time.Time) (offset, uncertainty time.Duration) {
	uncertainty = -1
	for _, s := range c.samples {
		u := s.rtt/2 + max(0, now.Sub(s.at))*clockDrift/1_000_000
		if uncertainty < 0 || u < uncertainty {
			offset, uncertainty = s.offset, u
		}
	}
	return offset, uncertainty
}

// rtt is the median round trip of the newest five, 0 where there is none.
func (c *clockSync) rtt() time.Duration {
	newest := c.samples[max(0, len(c.samples)-5):]
	if len(newest) == 0 {
		return 0
	}
	rtts := make([]time.Duration, len(newest))
	for i, s := range newest {
		rtts[i] = s.rtt
	}
	slices.Sort(rtts)
	return rtts[len(rtts)/2]
}

func (c *clockSync) reset() { c.samples = c.samples[:0] }
