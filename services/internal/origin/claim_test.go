package origin

import (
	"testing"
	"time"

	"github.com/framebus/framebus/proto/subject"
	"github.com/stretchr/testify/require"
)

// nowUs is the epoch that a clock would give at the tests' start.
var nowUs = t0.UnixMicro()

func ownedBy(by subject.By, instance string, epoch uint64, at time.Time) rival {
	return rival{by: by, instance: instance, epoch: epoch, at: at}
}

// claimed is an owner since the tests' start.
func claimed(t *testing.T, by subject.By) *claim {
	t.Helper()
	c := newClaim(by, "me")
	require.True(t, c.next(ms(300), nowUs, t0))
	require.Equal(t, owner, c.standing)
	return c
}

func TestAClaimListensFirst(t *testing.T) {
	c := newClaim(subject.Cam, "me")
	require.False(t, c.next(ms(10_000), nowUs, time.Time{}), "there is no connection to hear anybody on")
	require.False(t, c.next(ms(299), nowUs, t0))
	require.Zero(t, c.epoch)
	require.True(t, c.next(ms(300), nowUs, t0))
	require.Equal(t, owner, c.standing)
	require.EqualValues(t, nowUs, c.epoch)
}

func TestAnEpochIsNewerThanAnyHeardOf(t *testing.T) {
	ahead := uint64(nowUs) + 1_000_000
	c := newClaim(subject.Cam, "me")
	c.hear("capture.b", ownedBy(subject.Cam, "b", ahead, t0))
	c.hear("capture.b", ownedBy(subject.Cam, "b", 0, ms(1)))
	c.next(ms(300), nowUs, t0)
	require.Equal(t, ahead+1, c.epoch)
	c.hear("capture.b", rival{by: subject.Cam, instance: "b", epoch: ahead + 5, draining: true, at: ms(301)})
	c.renew(nowUs)
	require.Equal(t, ahead+6, c.epoch, "one that drains had an epoch too")
	c.renew(nowUs - 3_600_000_000)
	require.Equal(t, ahead+7, c.epoch, "a clock set back makes no epoch older")
}

func TestAStandbyTakesOver(t *testing.T) {
	drains := func(c *claim) {
		r := ownedBy(subject.Cam, "b", 5, ms(400))
		r.draining = true
		c.hear("capture.b", r)
	}
	third := func(c *claim) { c.hear("capture.c", ownedBy(subject.Cam, "c", 9, ms(2000))) }
	for name, c := range map[string]struct {
		act  func(c *claim)
		at   time.Time
		up   time.Time
		want standing
	}{
		"not while the owner is heard":     {func(*claim) {}, ms(2100), t0, standby},
		"when the owner has it no more":    {func(c *claim) { c.hear("capture.b", rival{}) }, ms(400), t0, owner},
		"when it says that it drains":      {drains, ms(400), t0, owner},
		"after two seconds of silence":     {func(*claim) {}, ms(2101), t0, owner},
		"counted from its own reconnect":   {func(*claim) {}, ms(4000), ms(2000), standby},
		"two seconds after its reconnect":  {func(*claim) {}, ms(4001), ms(2000), owner},
		"not while it is cut off":          {func(*claim) {}, ms(9000), time.Time{}, standby},
		"not where another owner is there": {third, ms(3000), t0, standby},
	} {
		t.Run(name, func(t *testing.T) {
			m := newClaim(subject.Cam, "me")
			m.hear("capture.b", ownedBy(subject.Cam, "b", 5, ms(100)))
			require.True(t, m.next(ms(300), nowUs, t0))
			require.Equal(t, standby, m.standing)
			require.Equal(t, "b", m.ownerName())
			require.Zero(t, m.epoch)
			c.act(m)
			m.next(c.at, nowUs, c.up)
			require.Equal(t, c.want, m.standing)
			require.Equal(t, c.want == owner, m.epoch != 0)
		})
	}
}

func TestOfTwoOwnersOneStays(t *testing.T) {
	mine := uint64(nowUs)
	for name, c := range map[string]struct {
		by    subject.By
		other rival
		stays bool
	}{
		"the other's epoch is greater":          {subject.Cam, ownedBy(subject.Cam, "b", mine+1, ms(400)), false},
		"the other's epoch is smaller":          {subject.Cam, ownedBy(subject.Cam, "z", mine-1, ms(400)), true},
		"equal epochs, the other's name after":  {subject.Cam, ownedBy(subject.Cam, "z", mine, ms(400)), false},
		"equal epochs, the other's name before": {subject.Cam, ownedBy(subject.Cam, "b", mine, ms(400)), true},
		"cam stays before pub at any epoch":     {subject.Cam, ownedBy(subject.Pub, "z", mine+9, ms(400)), true},
		"pub yields to cam at any epoch":        {subject.Pub, ownedBy(subject.Cam, "b", 1, ms(400)), false},
		"pub yields to a greater pub":           {subject.Pub, ownedBy(subject.Pub, "b", mine+1, ms(400)), false},
	} {
		t.Run(name, func(t *testing.T) {
			m := claimed(t, c.by)
			m.hear("x."+c.other.instance, c.other)
			require.Equal(t, !c.stays, m.next(ms(401), nowUs, t0))
			require.Equal(t, c.stays, m.standing == owner)
		})
	}
}

func TestACamDoesNotStandByForAPub(t *testing.T) {
	m := newClaim(subject.Cam, "me")
	m.hear("gateway.g", ownedBy(subject.Pub, "g", 5, ms(100)))
	m.next(ms(300), nowUs, t0)
	require.Equal(t, owner, m.standing)
	p := newClaim(subject.Pub, "me")
	p.hear("capture.b", ownedBy(subject.Cam, "b", 5, ms(100)))
	p.next(ms(300), nowUs, t0)
	require.Equal(t, standby, p.standing)
}

func TestAnOwnerStaysOneWhileItIsCutOff(t *testing.T) {
	m := claimed(t, subject.Cam)
	require.False(t, m.next(ms(60_000), nowUs, time.Time{}))
	require.Equal(t, owner, m.standing)
	require.False(t, m.next(ms(60_001), nowUs, ms(60_000)))
	require.EqualValues(t, nowUs, m.epoch)
}

func TestForgedOwnersAreBounded(t *testing.T) {
	m := newClaim(subject.Cam, "me")
	for n := range 10 * maxRivals {
		m.hear(string(rune(n)), ownedBy(subject.Cam, "x", 1, t0))
	}
	require.Len(t, m.rivals, maxRivals)
}
