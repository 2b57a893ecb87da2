package viewer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

// sender is a credit machine with pictures at 30 fps to send.
type sender struct {
	credit
	number uint64
	at     time.Duration
	pinged []uint64
}

func newSender() *sender {
	s := &sender{credit: newCredit()}
	s.Offered(33 * ms)
	return s
}

// send sends pictures, as many as may go up to n, and returns how many went.
func (s *sender) send(n int) int {
	for i := range n {
		if !s.MaySend() {
			return i
		}
		s.number++
		ping := s.PingNext()
		s.Sent(sent{number: s.number, at: s.at, bytes: 24_000, pinged: ping})
		if ping {
			s.pinged = append(s.pinged, s.number)
		}
		s.at += 33 * ms
	}
	return n
}

func TestTwoPicturesAreOnTheirWayAtMost(t *testing.T) {
	s := newSender()
	require.Equal(t, 2, s.send(10))
	require.Equal(t, []uint64{1, 2}, s.pinged, "without plenty of credit each carries a ping")
	require.True(t, s.Pong(1, s.at+100*ms))
	require.Equal(t, 1, s.send(10))
}

func TestAPongAcknowledgesAllBefore(t *testing.T) {
	s := newSender()
	s.send(2)
	require.True(t, s.Pong(2, s.at+100*ms), "a client may answer only the latest ping")
	require.Equal(t, 2, s.send(10))
	require.False(t, s.Pong(1, s.at+100*ms), "out of order: it is acknowledged already")
	require.Zero(t, s.send(10))
}

func TestPongsThatNameNothingSentAreIgnored(t *testing.T) {
	s := newSender()
	require.False(t, s.Pong(1, 0), "unsolicited")
	s.send(2)
	require.False(t, s.Pong(99, s.at), "another connection's")
	require.True(t, s.Pong(2, s.at+100*ms))
	require.False(t, s.Pong(2, s.at+100*ms), "repeated")
	require.Equal(t, 2, s.send(10), "no more credit than there was")
	require.EqualValues(t, 1, s.pongs)
}

func TestABarePingAcknowledgesAllBefore(t *testing.T) {
	s := newSender()
	s.send(2)
	s.SentBare(1000, s.at, 0)
	require.True(t, s.Pong(1000, s.at+100*ms))
	require.Equal(t, 2, s.send(10))
}

func TestPingsThinOutWhileCreditIsPlentiful(t *testing.T) {
	s := newSender()
	for range 100 { // each ping is answered long before the next picture
		require.Equal(t, 1, s.send(1))
		if s.pinged[len(s.pinged)-1] == s.number {
			require.True(t, s.Pong(s.number, s.at-32*ms))
		}
	}
	require.Equal(t, maxThin, s.thin)
	require.Less(t, len(s.pinged), 25)
	for range maxThin { // up to the next ping, which is not answered
		s.send(1)
	}
	s.send(100)
	require.Equal(t, maxThin+window-1, s.open, "unacknowledged at most")
	require.Positive(t, s.pings)
	last := s.pinged[len(s.pinged)-2:]
	require.LessOrEqual(t, last[1]-last[0], uint64(maxThin))
}

func TestTheFirstLatePongEndsThinning(t *testing.T) {
	s := newSender()
	s.thin, s.since = maxThin, maxThin
	require.Equal(t, maxThin+window-1, s.send(100))
	first := s.pinged[0]
	require.True(t, s.Pong(first, s.at+100*ms))
	require.Equal(t, 1, s.thin)
	require.False(t, s.MaySend())
	require.False(t, s.WantsPing(), "one is still on its way")
	require.True(t, s.Pong(s.pinged[1], s.at+100*ms))
	require.Equal(t, 1, s.send(1), "only one was sent after it")
	require.Equal(t, s.number, s.pinged[len(s.pinged)-1], "carries a ping again")
}

func TestCreditThatNoPingCouldBringBackAsksForOne(t *testing.T) {
	s := newSender()
	s.thin, s.since = maxThin, maxThin
	s.send(6) // the first with a ping
	require.True(t, s.Pong(1, s.at+100*ms))
	require.False(t, s.MaySend())
	require.True(t, s.WantsPing())
	s.SentBare(1000, s.at, 0)
	require.False(t, s.WantsPing())
	require.True(t, s.Pong(1000, s.at+100*ms))
	require.Equal(t, 2, s.send(10))
}

func TestAClientThatNeverPongsIsNotWaitedFor(t *testing.T) {
	s := newSender()
	s.send(2)
	require.False(t, s.Drained(1000*ms))
	require.False(t, s.Drained(1999*ms))
	require.Zero(t, s.send(1))
	require.True(t, s.Drained(2000*ms))
	require.Equal(t, 1000, s.send(1000), "the socket's own back-pressure bounds it now")
	require.LessOrEqual(t, s.n, maxFlight)
	require.True(t, s.Pong(s.number, s.at), "it answers after all")
	require.Equal(t, 2, s.send(10))
}

func TestASlowLinkIsNotTakenForADeafClient(t *testing.T) {
	s := newSender()
	s.send(1)
	s.Drained(1000 * ms)
	s.send(1) // something is on its way again
	require.False(t, s.Drained(2500*ms))
	require.True(t, s.Pong(1, 2600*ms))
	require.False(t, s.Drained(3000*ms))
	require.False(t, s.Drained(3900*ms))
	require.False(t, s.deaf)
}

func TestLeastPongDelayIsOfTheLastSeconds(t *testing.T) {
	s := newSender()
	require.Zero(t, s.RTT(0))
	s.SentBare(1, 0, 0)
	s.Pong(1, 5*ms)
	s.SentBare(2, 1000*ms, 0)
	s.Pong(2, 1020*ms)
	require.Equal(t, 5*ms, s.RTT(2*time.Second))
	require.Equal(t, 20*ms, s.RTT(5500*ms))
	require.Zero(t, s.RTT(time.Minute))
	require.Empty(t, s.AckDelays(nil), "bare pings tell nothing of pictures")
}
