package hub

import (
	"testing"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/internal/presence"
	"github.com/stretchr/testify/require"
)

func TestClockKeepsTheLeastRoundTrip(t *testing.T) {
	h := New(Deps{Roster: presence.New(presence.Config{Service: "gateway", Instance: "gw-1"}, presence.Deps{})})
	const ahead = int64(3_600_000_000) // the owner's clock, µs
	var c clock
	// hear plays an exchange that begins at ms, by the gateway's clock, and takes so many µs each way.
	hear := func(ms, there, back int64) {
		sent := h.start.UnixMicro() + 1000*ms
		received := sent + there + ahead
		answered := received + 200_000
		at := h.start.Add(time.Duration(1000*ms+there+200_000+back) * time.Microsecond)
		c.hear(h, &pb.Status{Instance: "cap-1", SentUs: answered}, &pb.StreamStatus{
			Readers: []*pb.ReaderEcho{{Reader: "gw-1", SentUs: sent, ReceivedUs: received}},
			Clocks:  []*pb.ClockOffset{{Instance: "enc-1", OffsetUs: -500, UncertaintyUs: 40}},
		}, at)
	}
	origin, encoder := c.proto()
	require.Nil(t, origin)
	require.Nil(t, encoder)

	hear(0, 900, 100)
	origin, _ = c.proto()
	require.EqualValues(t, 500, origin.GetUncertaintyUs())
	require.InDelta(t, -ahead, origin.GetOffsetUs(), 500)

	hear(1000, 60, 40)
	hear(2000, 50_000, 3_000) // worse: not taken
	origin, encoder = c.proto()
	require.Equal(t, "cap-1", origin.GetInstance())
	require.EqualValues(t, 50, origin.GetUncertaintyUs())
	require.InDelta(t, -ahead, origin.GetOffsetUs(), 50)
	require.Equal(t, "enc-1", encoder.GetInstance())
	require.Equal(t, origin.GetOffsetUs()+500, encoder.GetOffsetUs())
	require.EqualValues(t, 90, encoder.GetUncertaintyUs())

	hear(40_000, 500, 300) // worse, but the better one is old: clocks drift
	origin, _ = c.proto()
	require.EqualValues(t, 400, origin.GetUncertaintyUs())

	// The owner's clock was set an hour ahead between hearing and answering: that measures nothing.
	before := origin.GetOffsetUs()
	sent := h.start.UnixMicro() + 80_000_000
	c.hear(h, &pb.Status{Instance: "cap-1", SentUs: sent + 2*ahead}, &pb.StreamStatus{
		Readers: []*pb.ReaderEcho{{Reader: "gw-1", SentUs: sent, ReceivedUs: sent + ahead}},
	}, h.start.Add(81*time.Second))
	origin, _ = c.proto()
	require.Equal(t, before, origin.GetOffsetUs())
}
