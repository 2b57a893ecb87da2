package origin

import (
	"cmp"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
)

const (
	// listenFor is how long a claim listens for another owner, from the bus's start.
	listenFor = 300 * time.Millisecond
	// ownerSilence is after how long without a word an owner counts as gone, from our own last reconnect.
	ownerSilence = 2 * time.Second
)

// claim decides whether this one owns its stream. It is pure: it is told what is heard, and when, counted from any
// fixed moment; epochs are µs since 1970.
type claim struct {
	me    rank // its epoch is zero while this one owns nothing
	state pb.StreamState

	up        bool
	upSince   time.Duration
	maxEpoch  uint64
	rival     rank
	rivalAt   time.Duration
	rivalGone bool
}

// rank orders owners of one stream: a cam before a pub, then the greater epoch, then the greater name.
type rank struct {
	owner    pb.Owner
	epoch    uint64
	instance string
	run      uint64
}

func (r rank) above(o rank) bool {
	cam := func(r rank) int {
		if r.owner == pb.Owner_OWNER_CAM {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(cam(r), cam(o)), cmp.Compare(r.epoch, o.epoch), cmp.Compare(r.instance, o.instance)) > 0
}

func newClaim(owner pb.Owner, instance string, run uint64) claim {
	return claim{
		me:    rank{owner: owner, instance: instance, run: run},
		state: pb.StreamState_STREAM_STATE_CLAIMING, rivalGone: true,
	}
}

// Owns tells whether this one is the owner.
func (c *claim) Owns() bool { return c.me.epoch != 0 }

// Epoch of this owner's run, 0 while it owns nothing.
func (c *claim) Epoch() uint64 { return c.me.epoch }

// Rival is the instance that this one stands by for, or empty.
func (c *claim) Rival() string {
	if c.state == pb.StreamState_STREAM_STATE_STANDBY {
		return c.rival.instance
	}
	return ""
}

// Bus hears that the bus came or went. An owner stays one meanwhile.
func (c *claim) Bus(up bool, now time.Duration) {
	c.up, c.upSince = up, now
}

// Heard hears another's word about the stream.
func (c *claim) Heard(r rank, draining bool, now time.Duration) {
	if r.instance == c.me.instance && r.run == c.me.run || r.epoch == 0 {
		// Our own echo, or one who owns nothing: if that was the owner, it is no more.
		if r.epoch == 0 && r.instance == c.rival.instance {
			c.rivalGone = true
		}
		return
	}
	c.maxEpoch = max(c.maxEpoch, r.epoch)
	if draining {
		if r.instance == c.rival.instance {
			c.rivalGone = true
		}
		return
	}
	if c.rivalGone || r.instance == c.rival.instance || r.above(c.rival) {
		c.rival, c.rivalAt, c.rivalGone = r, now, false
	}
	if c.Owns() && r.above(c.me) {
		c.me.epoch = 0
		c.state = pb.StreamState_STREAM_STATE_STANDBY
	}
}

// Tick decides; nowUs is the time of day, µs since 1970. It tells whether this one has just become the owner.
func (c *claim) Tick(now time.Duration, nowUs uint64) (began bool) {
	if c.Owns() || !c.up || now-c.upSince < listenFor {
		return false
	}
	lives := !c.rivalGone && now-max(c.rivalAt, c.upSince) < ownerSilence
	outranked := c.me.owner == pb.Owner_OWNER_CAM && c.rival.owner != pb.Owner_OWNER_CAM
	if lives && !outranked {
		c.state = pb.StreamState_STREAM_STATE_STANDBY
		return false
	}
	c.begin(nowUs)
	return true
}

// Restart begins a new epoch of an owner whose clock was set.
func (c *claim) Restart(nowUs uint64) {
	if c.Owns() {
		c.begin(nowUs)
	}
}

func (c *claim) begin(nowUs uint64) {
	c.maxEpoch = max(nowUs, c.maxEpoch+1)
	c.me.epoch = c.maxEpoch
	c.state = pb.StreamState_STREAM_STATE_LIVE
}
