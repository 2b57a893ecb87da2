package hub

import (
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
)

// clockLife is how long the best measurement counts before a worse, newer one replaces it: clocks drift.
const clockLife = 30 * time.Second

// clockJump is how far an owner's clock may run ahead between two of its times; more, and it was set.
const clockJump = time.Second

// clock is what is to be added to the times of an owner, and of the encoders, to bring them to the gateway's clock.
type clock struct {
	origin, encoder pb.ClockOffset
	originAt        time.Time
	known           bool
}

// hear measures by the four times of a Feedback and the Status that echoes it.
func (c *clock) hear(h *Hub, st *pb.Status, ss *pb.StreamStatus, at time.Time) {
	me := h.d.Roster.Config().Instance
	for _, echo := range ss.GetReaders() {
		if echo.GetReader() != me || echo.GetSentUs() == 0 {
			continue
		}
		t1, t2, t3 := echo.GetSentUs(), echo.GetReceivedUs(), st.GetSentUs()
		t4 := h.start.Add(at.Sub(h.start)).UnixMicro()
		roundTrip := (t4 - t1) - (t3 - t2)
		if roundTrip < -clockJump.Microseconds() {
			continue // the owner's clock was set between hearing us and answering
		}
		uncertainty := max(roundTrip, -roundTrip) / 2
		if c.known && uncertainty > c.origin.GetUncertaintyUs() && at.Sub(c.originAt) < clockLife {
			continue
		}
		c.known, c.originAt = true, at
		c.origin.Instance = st.GetInstance()
		c.origin.OffsetUs = -((t2 - t1) + (t3 - t4)) / 2
		c.origin.UncertaintyUs = uncertainty
	}
	if !c.known {
		return
	}
	best := int64(-1)
	c.encoder.Instance = "" // one that the owner tells nothing of any more has gone
	for _, e := range ss.GetClocks() {
		if best < 0 || e.GetUncertaintyUs() < best {
			best = e.GetUncertaintyUs()
			c.encoder.Instance = e.GetInstance()
			c.encoder.OffsetUs = c.origin.GetOffsetUs() - e.GetOffsetUs()
			c.encoder.UncertaintyUs = c.origin.GetUncertaintyUs() + e.GetUncertaintyUs()
		}
	}
}

// proto is the two corrections, nil where they are not known.
func (c *clock) proto() (origin, encoder *pb.ClockOffset) {
	if !c.known {
		return nil, nil
	}
	copied := func(o *pb.ClockOffset) *pb.ClockOffset {
		return &pb.ClockOffset{Instance: o.GetInstance(), OffsetUs: o.GetOffsetUs(), UncertaintyUs: o.GetUncertaintyUs()}
	}
	if c.encoder.GetInstance() == "" {
		return copied(&c.origin), nil
	}
	return copied(&c.origin), copied(&c.encoder)
}
