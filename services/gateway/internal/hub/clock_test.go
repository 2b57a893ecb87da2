package hub

import (
	"testing"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/internal/presence"
	"github.com/stretchr/testify/require"
)

// clocks are a gateway and an owner whose clock is `ahead` of it. A message takes `there` to the owner and `back`
// from it; the owner answers `held` after it has heard. Nothing runs: it is arithmetic.
type clocks struct {
	hub               *Hub
	clock             clock
	ahead             time.Duration
	there, held, back time.Duration
}

func newClocks(ahead time.Duration) *clocks {
	return &clocks{
		hub:   &Hub{start: time.Now(), d: Deps{Roster: presence.New(presence.Config{Instance: "gw-1"}, presence.Deps{})}},
		ahead: ahead, there: time.Millisecond, held: 300 * time.Millisecond, back: time.Millisecond,
	}
}

// exchange does one Feedback and its Status, sent `at` after the start, with the encoders' clocks in it.
func (c *clocks) exchange(at time.Duration, encoders ...*pb.ClockOffset) {
	sent := c.hub.start.Add(at)
	heard := sent.Add(c.there)
	answered := heard.Add(c.held)
	c.clock.hear(c.hub, &pb.Status{Instance: "cap-1", SentUs: answered.Add(c.ahead).UnixMicro()}, &pb.StreamStatus{
		Readers: []*pb.ReaderEcho{
			{Reader: "gw-2", SentUs: 1, ReceivedUs: 1},
			{Reader: "gw-1", SentUs: sent.UnixMicro(), ReceivedUs: heard.Add(c.ahead).UnixMicro()},
		},
		Clocks: encoders,
	}, answered.Add(c.back))
}

// requireOrigin checks the correction: what is to be added to the owner's times to bring them to the gateway's clock.
func (c *clocks) requireOrigin(t *testing.T, offset, uncertainty time.Duration) {
	t.Helper()
	origin, _ := c.clock.proto()
	require.NotNil(t, origin)
	require.Equal(t, "cap-1", origin.GetInstance())
	require.InDelta(t, offset.Microseconds(), origin.GetOffsetUs(), 2)
	require.InDelta(t, uncertainty.Microseconds(), origin.GetUncertaintyUs(), 2)
}

func TestAnOwnersClockIsMeasured(t *testing.T) {
	for name, ahead := range map[string]time.Duration{
		"as ours": 0, "a little ahead": 7 * time.Millisecond, "an hour ahead": time.Hour, "an hour behind": -time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			c := newClocks(ahead)
			origin, encoder := c.clock.proto()
			require.Nil(t, origin, "nothing is known yet")
			require.Nil(t, encoder)
			c.exchange(0)
			c.requireOrigin(t, -ahead, time.Millisecond)
		})
	}
}

func TestAnUnevenWayStaysWithinTheUncertainty(t *testing.T) {
	c := newClocks(time.Minute)
	c.there, c.back = 80*time.Millisecond, 2*time.Millisecond
	c.exchange(0)
	origin, _ := c.clock.proto()
	require.InDelta(t, -time.Minute.Microseconds(), origin.GetOffsetUs(), float64(origin.GetUncertaintyUs()))
}

func TestTheBestMeasurementCounts(t *testing.T) {
	c := newClocks(time.Second)
	c.exchange(0)
	c.there = 90 * time.Millisecond // a worse one that would tell 44 ms too much
	c.exchange(time.Second)
	c.requireOrigin(t, -time.Second, time.Millisecond)
	c.there, c.back = time.Millisecond/2, time.Millisecond/2 // a better one
	c.exchange(2 * time.Second)
	c.requireOrigin(t, -time.Second, time.Millisecond/2)
}

func TestAClockThatDriftsIsMeasuredAgain(t *testing.T) {
	c := newClocks(0)
	c.there, c.back = time.Millisecond/2, time.Millisecond/2
	c.exchange(0)
	c.there, c.back = 5*time.Millisecond, 5*time.Millisecond
	c.ahead = 20 * time.Millisecond
	c.exchange(clockLife / 2)
	c.requireOrigin(t, 0, time.Millisecond/2)
	c.exchange(clockLife + time.Second)
	c.requireOrigin(t, -20*time.Millisecond, 5*time.Millisecond)
}

func TestAnAnswerToAnotherReaderTellsNothing(t *testing.T) {
	c := newClocks(0)
	c.clock.hear(c.hub, &pb.Status{Instance: "cap-1", SentUs: 3}, &pb.StreamStatus{
		Readers: []*pb.ReaderEcho{{Reader: "gw-2", SentUs: 1, ReceivedUs: 2}, {Reader: "gw-1"}},
		Clocks:  []*pb.ClockOffset{{Instance: "enc-1", OffsetUs: 5}},
	}, time.Now())
	origin, encoder := c.clock.proto()
	require.Nil(t, origin)
	require.Nil(t, encoder, "without the owner's clock an encoder's is not known either")
}

func TestAClockThatWasSetBetweenHearingAndAnsweringIsNotMeasured(t *testing.T) {
	c := newClocks(0)
	sent := c.hub.start
	c.clock.hear(c.hub, &pb.Status{Instance: "cap-1", SentUs: sent.Add(time.Hour).UnixMicro()}, &pb.StreamStatus{
		Readers: []*pb.ReaderEcho{{Reader: "gw-1", SentUs: sent.UnixMicro(), ReceivedUs: sent.UnixMicro()}},
	}, sent.Add(time.Second))
	origin, _ := c.clock.proto()
	require.Nil(t, origin)
	c.exchange(2 * time.Second)
	c.requireOrigin(t, 0, time.Millisecond)
}

func TestAnEncodersClockGoesByTheOwners(t *testing.T) {
	c := newClocks(time.Hour)
	c.exchange(0,
		&pb.ClockOffset{Instance: "enc-1", OffsetUs: 99, UncertaintyUs: 5000},
		&pb.ClockOffset{Instance: "enc-2", OffsetUs: -time.Minute.Microseconds(), UncertaintyUs: 700},
	)
	_, encoder := c.clock.proto()
	require.Equal(t, "enc-2", encoder.GetInstance(), "of several the one that is known best")
	// The encoder is a minute behind the owner, which is an hour ahead of us.
	require.InDelta(t, (time.Minute - time.Hour).Microseconds(), encoder.GetOffsetUs(), 2)
	require.InDelta(t, 1700, encoder.GetUncertaintyUs(), 2)

	c.exchange(time.Second)
	_, encoder = c.clock.proto()
	require.Nil(t, encoder, "an encoder that the owner tells nothing of any more")
}

func TestWhatIsToldIsACopy(t *testing.T) {
	c := newClocks(time.Second)
	c.exchange(0, &pb.ClockOffset{Instance: "enc-1", OffsetUs: 1, UncertaintyUs: 1})
	origin, encoder := c.clock.proto()
	origin.OffsetUs, encoder.OffsetUs = 0, 0
	c.requireOrigin(t, -time.Second, time.Millisecond)
	_, again := c.clock.proto()
	require.NotZero(t, again.GetOffsetUs())
}
