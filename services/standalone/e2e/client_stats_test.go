//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/client"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// sieve loses pictures by their sequence, and keeps an account of those it let pass.
type sieve struct {
	mu     sync.Mutex
	loses  func(sequence uint64) bool
	passed []passedOn
}

type passedOn struct {
	sequence uint64
	bytes    int
	at       time.Time
}

func (s *sieve) keep(message []byte) bool {
	h, _, err := frame.Parse(message)
	if err != nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.loses != nil && s.loses(h.Sequence) {
		return false
	}
	s.passed = append(s.passed, passedOn{h.Sequence, len(message), time.Now()})
	return true
}

func (s *sieve) lose(which func(sequence uint64) bool) {
	s.mu.Lock()
	s.loses = which
	s.mu.Unlock()
}

// within is what passed of the sequences after a up to and with b.
func (s *sieve) within(a, b uint64) (in []passedOn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.passed {
		if p.sequence > a && p.sequence <= b {
			in = append(in, p)
		}
	}
	return in
}

// only tells whether nothing but what was to be lost is missing: a busy machine skips pictures too.
func (s *sieve) only(a, b uint64) bool {
	passed := len(s.within(a, b))
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := a + 1; n <= b; n++ {
		if s.loses == nil || !s.loses(n) {
			passed--
		}
	}
	return passed == 0
}

// judge is the word for what passed in four seconds by its share alone; of two, where it lies close to a limit.
func (s *sieve) judge(newest uint64, now time.Time) string {
	first, n := newest, 0
	for _, p := range s.within(0, newest) {
		if now.Sub(p.at) < 4*time.Second {
			first, n = min(first, p.sequence), n+1
		}
	}
	share := float64(n) / float64(newest-first+1)
	words := ""
	for _, w := range []struct {
		word  client.Connection
		least float64
		most  float64
	}{{client.Good, 0.95, 1}, {client.Fair, 0.7, 0.95}, {client.Poor, 0, 0.7}} {
		if share >= w.least-0.02 && share <= w.most+0.02 {
			words += string(w.word) + " "
		}
	}
	return words
}

// The network between the real gateway and the client loses pictures in a known way: what the client says of it must be
// what the network's own account says.
func TestTheClientsStatisticsAreThoseOfTheNetwork(t *testing.T) {
	addr, _ := startOne(t)
	waitStream(t, addr, "cam0")
	s := &sieve{}
	w := watch(t, client.Config{URL: "http://" + startLossy(t, addr, s.keep).addr(), Stream: "cam0"})
	w.waitFrames(1)
	for _, c := range []struct {
		name  string
		loses func(sequence uint64) bool
		fps   float64 // 0 where the gateway sends less as well, since it hears that less is painted
		want  client.Connection
	}{
		{"nothing is lost", nil, 30, client.Good},
		{"one of 50", func(n uint64) bool { return n%50 == 0 }, 29.4, client.Good},
		{"one of ten", func(n uint64) bool { return n%10 == 0 }, 27, client.Fair},
		{"two of five", func(n uint64) bool { return n%5 < 2 }, 0, client.Poor},
	} {
		t.Run(c.name, func(t *testing.T) {
			steadily(t, func() string {
				s.lose(c.loses)
				<-time.After(time.Second) // what was on its way
				from := w.viewer.Stats()
				<-time.After(5 * time.Second)
				to, now := w.viewer.Stats(), time.Now()
				in := s.within(from.Sequence, to.Sequence)
				// To the frame: nothing of this depends on how busy the machine is.
				require.EqualValues(t, len(in), to.Frames-from.Frames)
				require.Equal(t, to.Sequence-from.Sequence-uint64(len(in)), to.Missed-from.Missed)
				require.Zero(t, to.Late+to.Malformed+to.Reconnects+to.MissedAway)

				fps, mbps := 0.0, 0.0
				for _, p := range in {
					if now.Sub(p.at) < 2*time.Second {
						fps += 1. / 2
						mbps += 8 * float64(p.bytes) / 2 / 1e6
					}
				}
				picture := 8 * float64(in[0].bytes) / 2 / 1e6
				word, only := s.judge(to.Sequence, now), s.only(from.Sequence, to.Sequence)
				t.Logf("%.2f fps of %.2f, %.2f Mbit/s of %.2f, the stream's %.2f, %d missed, %s", to.FPS, fps, to.Mbps, mbps,
					to.StreamFPS, to.Missed-from.Missed, to.Connection)
				switch {
				case math.Abs(to.FPS-fps) > max(1.5, 0.15*fps) || only && c.fps > 0 && !near(to.FPS, c.fps, 0.03):
					return fmt.Sprintf("%.2f fps, and %.2f passed", to.FPS, fps)
				case math.Abs(to.Mbps-mbps) > 2*picture:
					return fmt.Sprintf("%.2f Mbit/s, and %.2f passed", to.Mbps, mbps)
				case !near(to.StreamFPS, 30, 0.03):
					return fmt.Sprintf("the stream has %.2f fps", to.StreamFPS)
				case !strings.Contains(word, string(to.Connection)) || only && to.Connection != c.want:
					return fmt.Sprintf("the connection is called %s, and is %s", to.Connection, word)
				}
				return ""
			})
		})
	}
}

func near(got, want, share float64) bool { return got >= want*(1-share) && got <= want*(1+share) }

// A link of a known rate in between: the client measures that rate, and what it misses the gateway says it skipped.
func TestTheClientsStatisticsOnALinkOfAKnownRate(t *testing.T) {
	const kilobytes = 250 // a second: less than half of what the stream needs, whose pictures do not shrink
	addr, _ := startOne(t, "--quality-min", "80")
	waitStream(t, addr, "cam0")
	link := startToxic(t, "link", addr)
	direct := watch(t, client.Config{URL: "http://" + addr, Stream: "cam0", Mode: "smooth", Rung: "full"})
	direct.waitFrames(1)
	w := watch(t, client.Config{URL: "http://" + link.Listen, Stream: "cam0", Rung: "full"})
	w.waitFrames(60)
	before := w.viewer.Stats()
	_, err := link.Toxics.AddToxicJson(strings.NewReader(fmt.Sprintf(
		`{"name":"narrow","type":"bandwidth","stream":"downstream","attributes":{"rate":%d}}`, kilobytes)))
	require.NoError(t, err)
	<-time.After(4 * time.Second)
	steadily(t, func() string {
		<-time.After(5 * time.Second)
		s := w.viewer.Stats()
		picture := float64(s.Bytes-before.Bytes) / float64(s.Frames-before.Frames)
		fits := kilobytes * 1000 / (picture + frame.HeaderLen)
		t.Logf("%.2f Mbit/s and %.1f fps on a link for %.2f and %.1f; %s", s.Mbps, s.FPS, kilobytes*8/1e3, fits, s.Connection)
		switch {
		case s.Mbps > kilobytes*8/1e3*1.1 || s.Mbps < kilobytes*8/1e3*0.75:
			return fmt.Sprintf("%.2f Mbit/s", s.Mbps)
		case s.FPS > fits*1.1 || s.FPS < fits*0.75:
			return fmt.Sprintf("%.1f fps", s.FPS)
		case s.Connection != client.Poor:
			return "the connection is called " + string(s.Connection)
		}
		return ""
	})
	require.NoError(t, link.Toxics.RemoveToxic(context.Background(), "narrow"))
	// Once the link is wide again nothing more is skipped, and the books can be compared to the frame: what it missed is
	// what the gateway skipped for it, and what nobody was shown.
	skipped := func(s client.Stats) (n uint64) {
		for _, by := range s.StreamStats.Gateway.GetSkipped() {
			n += by
		}
		return n
	}
	var after client.Stats
	var shown uint64 // to who stayed on a wide link
	agree := func() bool {
		after = w.viewer.Stats()
		shown = 0
		for _, p := range direct.pictures() {
			if p.sequence > before.Sequence && p.sequence <= after.Sequence {
				shown++
			}
		}
		nobody := after.Sequence - before.Sequence - shown
		return after.Missed-before.Missed == skipped(after)-skipped(before)+nobody
	}
	require.Eventually(t, agree, patience, time.Second, "the books differ")
	t.Logf("%d missed, %d skipped, %d frames shown to others", after.Missed-before.Missed, skipped(after)-skipped(before),
		shown)
	require.Greater(t, after.Missed, before.Missed+50)
	require.Zero(t, after.Reconnects)
	require.Zero(t, skipped(direct.viewer.Stats()))
}

func TestTheClientCountsItsReconnects(t *testing.T) {
	const cuts = 3
	addr, _ := startOne(t)
	waitStream(t, addr, "cam0")
	link := startToxic(t, "link", addr)
	direct := watch(t, client.Config{URL: "http://" + addr, Stream: "cam0", Mode: "smooth"})
	direct.waitFrames(1)
	w := watch(t, client.Config{URL: "http://" + link.Listen, Stream: "cam0", Delay: 100 * time.Millisecond})
	w.waitFrames(1)
	for range cuts {
		<-time.After(time.Second)
		link.Stop()
		<-time.After(time.Second)
		require.NoError(t, link.Start())
		w.waitFrames(30)
	}
	s := w.viewer.Stats()
	require.EqualValues(t, cuts, s.Reconnects)
	require.True(t, s.Connected)
	reach := func(w *watcher) func() bool {
		return func() bool { all := w.pictures(); return all[len(all)-1].sequence >= s.Sequence }
	}
	require.Eventually(t, reach(w), patience, 10*time.Millisecond)
	require.Eventually(t, reach(direct), patience, 10*time.Millisecond)
	// Each frame from the first to the newest is in one of the books.
	seen := map[uint64]bool{}
	first := s.Sequence
	for _, p := range w.pictures() {
		if p.sequence <= s.Sequence {
			seen[p.sequence], first = true, min(first, p.sequence)
		}
	}
	require.Len(t, seen, int(s.Frames))
	require.Equal(t, s.Sequence-first+1, s.Frames+s.Missed+s.MissedAway)
	shown := uint64(0) // to who stayed, of those that it did not get
	for _, p := range direct.pictures() {
		if p.sequence > first && p.sequence <= s.Sequence && !seen[p.sequence] {
			shown++
		}
	}
	t.Logf("%d frames, %d missed, %d missed away; others were shown %d of these", s.Frames, s.Missed, s.MissedAway, shown)
	require.LessOrEqual(t, shown, s.Missed+s.MissedAway)
	require.Greater(t, shown, uint64(cuts*20), "each cut lasted a second")
	require.Greater(t, s.MissedAway, uint64(cuts*20))
}

func TestAClientOutlivesARestartAndGivesUpWhenToldTo(t *testing.T) {
	const attempts, delay = 5, 300 * time.Millisecond
	s := start(t, options{})
	before := goleak.IgnoreCurrent()
	var mu sync.Mutex
	var told []client.State
	var at []time.Time
	v, err := client.New(client.Config{URL: s.ws("stream=cam0"), Attempts: attempts, Delay: delay}, client.Deps{
		OnState: func(state client.State) {
			mu.Lock()
			defer mu.Unlock()
			told, at = append(told, state), append(at, time.Now())
		},
	})
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- v.Run(context.Background()) }()
	frames := func(n uint64) {
		t.Helper()
		want := v.Stats().Frames + n
		require.Eventually(t, func() bool { return v.Stats().Frames >= want }, patience, 5*time.Millisecond)
	}
	frames(30)
	require.Zero(t, v.Stats().Reconnects)
	s.gateway.kill()
	s.gateway = s.startGateway(s.addr)
	frames(30)
	require.EqualValues(t, 1, v.Stats().Reconnects)
	require.Positive(t, v.Stats().MissedAway)

	mu.Lock()
	told, at = nil, nil
	mu.Unlock()
	s.gateway.kill()
	select {
	case err = <-ended:
	case <-time.After(patience):
		require.FailNow(t, "it does not give up")
	}
	require.ErrorIs(t, err, client.ErrGaveUp)
	require.False(t, v.Stats().Connected)
	require.Equal(t, client.Poor, v.Stats().Connection)
	tries := 0
	for i, state := range told {
		switch state.Phase {
		case client.Connecting:
			tries++
			require.Equal(t, tries, state.Attempt)
			require.Equal(t, client.Waiting, told[i-1].Phase)
			require.GreaterOrEqual(t, at[i].Sub(at[i-1]), delay, "attempt %d came early", tries)
			require.Less(t, at[i].Sub(at[i-1]), delay+time.Second, "attempt %d came late", tries)
		case client.Waiting:
			require.Equal(t, delay, state.Wait)
		case client.Open:
			require.Fail(t, "it is connected to nothing")
		}
	}
	require.Equal(t, attempts, tries)
	goleak.VerifyNone(t, before)
}
