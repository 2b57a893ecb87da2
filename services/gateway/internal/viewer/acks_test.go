package viewer

import (
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/internal/adapt"
	"github.com/stretchr/testify/require"
)

func TestAHostAcknowledgesByBytes(t *testing.T) {
	c := newCredit()
	c.every = true
	for i := range uint64(3) {
		c.Sent(sent{number: i + 1, at: time.Duration(i) * 33 * ms, bytes: 20_000, end: 20_000 * (i + 1), pinged: true})
	}
	early := uint64(adapt.EarlyAck(20_000))
	require.False(t, c.Reached(20_000-early-1, 50*ms, 60*ms))
	require.True(t, c.Reached(20_000-early, 50*ms, 60*ms), "hosts wait with what they say of a last packet")
	require.Equal(t, 2, c.open)
	require.Equal(t, sent{number: 1, bytes: 20_000, end: 20_000, pinged: true}, c.acked)
	require.False(t, c.Reached(20_000, 70*ms, 70*ms), "it is acknowledged already")
	require.True(t, c.Reached(60_000, 0, 100*ms))
	require.Zero(t, c.open)
	require.Equal(t, uint64(3), c.acked.number)
	require.Equal(t, time.Duration(0), c.delays[1].took, "nothing is acknowledged before it was sent")
	require.Equal(t, 1, c.thin, "every picture is acknowledged")
}

func TestAPictureThatIsNeverPaintedIsGivenUp(t *testing.T) {
	c := newCredit()
	c.SentBare(1, 0, 0)
	c.Sent(sent{number: 2, at: 0, bytes: 1, pinged: true})
	c.Sent(sent{number: 3, at: 500 * ms, bytes: 1, pinged: true})
	require.False(t, c.MaySend())
	require.False(t, c.Forget(900*ms, time.Second))
	require.True(t, c.Forget(time.Second, time.Second))
	require.True(t, c.MaySend())
	require.False(t, c.Forget(1200*ms, time.Second), "the other one may come yet")
}

func TestAReportOfAPictureFindsIt(t *testing.T) {
	r := record{ring: make([]recordedPicture, recorded)}
	add := func(n int) {
		for range n {
			h := frame.NewHeader()
			h.Channel, h.Epoch, h.Sequence = 1, 7, uint64(2*r.n)
			r.add(sent{number: uint64(r.n + 1)}, &h)
		}
	}
	add(10)
	report := func(channel uint32, sequence uint64) *pb.Painted {
		return &pb.Painted{Channel: channel, Epoch: 7, Sequence: sequence}
	}
	i, known := r.find(report(1, 8))
	require.True(t, known)
	require.Equal(t, 4, i)
	_, known = r.find(report(2, 8))
	require.False(t, known, "of another stream")
	r.acked(5, 100*ms)
	require.Equal(t, 100*ms, r.at(4).pongAt)
	require.Zero(t, r.at(5).pongAt)
	add(recorded)
	i, known = r.find(report(1, 0))
	require.True(t, known, "it was longer ago than is remembered")
	require.Less(t, i, r.first())
}
