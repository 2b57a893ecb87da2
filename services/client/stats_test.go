package client_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/client"
)

func formatted(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

func TestTheClockOffsetOfASkewedGateway(t *testing.T) {
	for _, skew := range []time.Duration{-time.Hour, 0, 90 * time.Second} {
		t.Run(skew.String(), func(t *testing.T) {
			var c collector
			g := newGateway(t, func(g *gateway) { g.skew = skew })
			v, _ := watch(t, client.Config{URL: g.URL, Stream: "cam0", Every: true}, client.Deps{OnFrame: c.take})
			p := g.viewer(t)
			eventually(t, func() bool { return v.Stats().Uncertainty >= 0 }, "the clock is never known")
			s := v.Stats()
			require.InDelta(t, skew.Seconds(), s.Offset.Seconds(), s.Uncertainty.Seconds()+0.001)
			require.Positive(t, s.RTT)

			// A camera host whose clock is a minute ahead of the gateway's, as the gateway tells.
			p.control(&pb.ServerMessage{Message: &pb.ServerMessage_Stats{Stats: &pb.Stats{
				Channel: 1, Stream: "cam0", Origin: &pb.ClockOffset{OffsetUs: -60_000_000, UncertaintyUs: 500}}}})
			captured := time.Now()
			p.write(websocket.BinaryMessage, message(1, 1, 1, captured.Add(skew+time.Minute)))
			eventually(t, func() bool { return len(c.frames()) == 1 }, "no frame")
			f := c.frames()[0]
			age, uncertainty, ok := f.Age()
			require.True(t, ok)
			require.GreaterOrEqual(t, uncertainty, 500*time.Microsecond)
			require.InDelta(t, f.ReceivedAt.Sub(captured).Seconds(), age.Seconds(), uncertainty.Seconds()+0.001)
			require.NotNil(t, v.Stats().Gateway)
		})
	}
}

func TestStatisticsOfAKnownStream(t *testing.T) {
	g := newGateway(t)
	v, stop := watch(t, client.Config{URL: g.URL, Stream: "cam0", Every: true}, client.Deps{})
	require.Equal(t, client.Poor, v.Stats().Connection, "nothing has come yet")
	p := g.viewer(t)
	eventually(t, func() bool { return v.Stats().Uncertainty >= 0 }, "the clock is never known")
	at := time.Now()
	// Captured 10 ms apart; every second one is missing.
	const count = 20
	for i := range count {
		captured := at.Add(time.Duration(20*(i-count)) * time.Millisecond)
		p.write(websocket.BinaryMessage, message(1, 1, uint64(2*i), captured))
	}
	eventually(t, func() bool { return v.Stats().Taken == count }, "not all came")
	s := v.Stats()
	require.EqualValues(t, count-1, s.Missed)
	require.InDelta(t, 100, s.StreamFPS, 0.01)
	require.True(t, s.AgeKnown)
	require.GreaterOrEqual(t, s.AgeP95, s.AgeP50)
	require.GreaterOrEqual(t, s.AgeP50, 190*time.Millisecond)
	require.EqualValues(t, count*len(picture()), s.Bytes)
	require.Positive(t, s.FPS)
	require.Positive(t, s.Mbps)
	require.Equal(t, []int{64, 48, 80}, []int{s.Width, s.Height, s.Quality})
	require.Equal(t, client.Poor, s.Connection, "half of the frames are missing")
	require.NoError(t, stop())
}
