//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/stretchr/testify/require"
)

// waitOwner waits until the gateway takes an instance for the owner of cam0.
func (s *system) waitOwner(instance string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return streamAt(s.t, s.addr, "cam0").Owner == instance }, patience,
		20*time.Millisecond, "%s never got the stream", instance)
}

func TestASecondOwnerStandsByAndTakesOver(t *testing.T) {
	for _, c := range []struct {
		name string
		ends func(*process)
		// within is how soon video of the other one must come.
		within time.Duration
	}{
		{"when the first is killed", (*process).kill, 2500 * time.Millisecond},
		{"when the first is stopped", func(p *process) { p.stop() }, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, options{capture: []string{"--instance", "first0"}})
			ws := watchers(t, 3, client.Config{URL: s.ws("")})
			owner, other := s.capture, "first0"
			try := 0
			steadily(t, func() string {
				try++
				next := fmt.Sprintf("next%d", try)
				standby := s.startCapture("--instance", next)
				standby.waitPrinted("standing by")
				ws[0].waitFrames(60)
				require.Equal(t, other, streamAt(s.t, s.addr, "cam0").Owner)

				ended := time.Now()
				c.ends(owner)
				var first time.Duration
				for _, w := range ws {
					first = max(first, w.newEpochAfter(ended).Sub(ended))
				}
				s.waitOwner(next)
				owner, other = standby, next
				t.Logf("video of the other one after %v", first.Round(time.Millisecond))
				if first > c.within {
					return fmt.Sprintf("video of the other one only after %v", first)
				}
				return ""
			})
			stayConnected(t, ws)
		})
	}
}

func TestAnOwnerThatWasFrozenStandsByWhenItIsBack(t *testing.T) {
	s := start(t, options{capture: []string{"--instance", "frozen"}})
	ws := watchers(t, 1, client.Config{URL: s.ws("")})
	other := s.startCapture("--instance", "other")
	other.waitPrinted("standing by")
	ws[0].waitFrames(60)
	frozen := time.Now()
	s.capture.signal(syscall.SIGSTOP)
	taken := ws[0].newEpochAfter(frozen)
	<-time.After(time.Second)
	back := time.Now()
	s.capture.signal(syscall.SIGCONT)
	s.capture.waitPrinted("standing by")
	standsBy := time.Since(back)
	ws[0].waitFrames(60)
	acc := ws[0].between(taken, time.Now())
	t.Logf("taken over after %v, stands by after %v; since then %.2f fps, %d lost", taken.Sub(frozen), standsBy, acc.fps,
		acc.lost)
	require.Less(t, standsBy, time.Second)
	require.Zero(t, acc.backward, "the viewer saw both owners in turns")
	for _, p := range ws[0].pictures() {
		if p.at.After(taken) {
			require.GreaterOrEqual(t, p.epoch, uint64(frozen.UnixMicro()), "the frozen owner's picture was shown")
		}
	}
	s.waitOwner("other")
	stayConnected(t, ws)
}

// newEpochAfter waits for a picture of an owner that began after t and returns when it came.
func (w *watcher) newEpochAfter(t time.Time) (at time.Time) {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		for _, p := range w.pictures() {
			if p.epoch >= uint64(t.UnixMicro()) {
				at = p.at
				return true
			}
		}
		return false
	}, patience, 5*time.Millisecond, "no picture of a new owner")
	return at
}

func TestTheLaterOfTwoInstancesWithOneNameSaysSoAndEnds(t *testing.T) {
	t.Parallel()
	nats := startNATS(t, "")
	for service, args := range map[string][]string{
		"capture": nil, "encoder": nil, "gateway": {"--listen", "127.0.0.1:0"},
	} {
		t.Run(service, func(t *testing.T) {
			begin := func() *process {
				return run(t, binary(t, service), append([]string{"--nats-url", nats.url(), "--instance", "twin"}, args...)...)
			}
			first := begin()
			first.waitPrinted("bus connected")
			later := begin()
			require.NotZero(t, later.waitExit())
			require.Contains(t, later.out.String(), "FRAMEBUS_INSTANCE")
			first.stop()
		})
	}
}

func TestABusThatRefusesFramesIsSaidToNeedASetting(t *testing.T) {
	t.Parallel()
	nats := startNATS(t, "# all defaults\n")
	s := start(t, options{natsURL: nats.url(), capture: []string{"--shm", "off", "--width", "1280", "--height", "720"}})
	s.capture.waitPrinted("raise max_payload")
	require.Eventually(t, func() bool {
		st := streamAt(s.t, s.addr, "cam0")
		return st.State == "live" && strings.Contains(st.Cause, "raise max_payload")
	}, patience, 50*time.Millisecond, "the API does not say which setting to raise")
	t.Log(streamAt(s.t, s.addr, "cam0").Cause)
}
