package origin

import (
	"time"

	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/presence"
)

// listening is how long a claim listens for an owner before it takes the stream.
const listening = 300 * time.Millisecond

// maxRivals bounds the owners that one stream is believed to have; more are not looked at.
const maxRivals = 64

// standing is how this origin stands to its stream.
type standing uint8

const (
	claiming standing = iota
	standby
	owner
)

// rival is somebody else's word that it owns the stream.
type rival struct {
	by       subject.By
	instance string
	epoch    uint64 // 0 where it doesn't own it
	draining bool   // it is about to end, and counts as gone
	at       time.Time
}

// claim decides who owns a stream. It is a pure state machine: times and words come in, the standing goes out.
type claim struct {
	by       subject.By
	instance string

	standing standing
	epoch    uint64 // of this owner; 0 unless it is one
	newest   uint64 // the newest epoch heard of or taken
	rivals   map[string]rival
}

func newClaim(by subject.By, instance string) *claim {
	return &claim{by: by, instance: instance, rivals: map[string]rival{}}
}

// hear takes note of what another says; key tells apart who speaks.
func (c *claim) hear(key string, r rival) {
	c.newest = max(c.newest, r.epoch)
	if r.epoch == 0 || r.draining {
		delete(c.rivals, key)
		return
	}
	if _, known := c.rivals[key]; known || len(c.rivals) < maxRivals {
		c.rivals[key] = r
	}
}

// next decides at now, µs being the same by the clock that epochs are taken from; since is when listening began: this
// claim's start or its own connection's, whichever is later, zero while there is no connection. It reports a change.
func (c *claim) next(now time.Time, us int64, since time.Time) (changed bool) {
	if since.IsZero() {
		return false // deaf: whatever it is, it stays
	}
	for key, r := range c.rivals {
		if now.Sub(r.at) > presence.Silence && now.Sub(since) > presence.Silence {
			delete(c.rivals, key)
		}
	}
	before := c.standing
	switch {
	case c.standing == claiming && now.Sub(since) < listening:
	case c.standing == owner && c.yields():
		c.standing, c.epoch = standby, 0
	case c.standing == owner:
	case c.barred():
		c.standing = standby
	default:
		c.standing = owner
		c.renew(us)
	}
	return c.standing != before
}

// renew takes a new epoch, newer than any heard of.
func (c *claim) renew(us int64) {
	c.epoch = max(uint64(max(us, 1)), c.newest+1)
	c.newest = c.epoch
}

// barred tells whether somebody has the stream whom this one may not displace.
func (c *claim) barred() bool {
	for _, r := range c.rivals {
		if r.by == c.by || r.by == subject.Cam {
			return true
		}
	}
	return false
}

// yields tells whether another owner stays and this one does not.
func (c *claim) yields() bool {
	for _, r := range c.rivals {
		switch {
		case r.by != c.by:
			if r.by == subject.Cam {
				return true
			}
		case r.epoch > c.epoch, r.epoch == c.epoch && r.instance > c.instance:
			return true
		}
	}
	return false
}

// ownerName is who has the stream while this one stands by.
func (c *claim) ownerName() string {
	var best rival
	for _, r := range c.rivals {
		if best.epoch == 0 || r.epoch > best.epoch {
			best = r
		}
	}
	return best.instance
}
