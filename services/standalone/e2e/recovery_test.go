//go:build e2e

package e2e

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/framebus/framebus/services/internal/source/sourcetest"
	"github.com/stretchr/testify/require"
)

func TestABusThatIsRestartedIsBackWithinTwoSeconds(t *testing.T) {
	s := start(t, options{})
	ws := watchers(t, 3, client.Config{URL: s.ws("")})
	recovers(t, ws, func() time.Time {
		s.nats.kill()
		s.nats.start()
		return time.Now()
	}, (*watcher).firstAfter)
	stayConnected(t, ws)
}

func TestABusThatLetsNothingPassForAWhileIsBackWithinTwoSeconds(t *testing.T) {
	s := start(t, options{})
	ws := watchers(t, 3, client.Config{URL: s.ws("")})
	recovers(t, ws, func() time.Time {
		s.nats.signal(syscall.SIGSTOP)
		<-time.After(6 * time.Second)
		back := time.Now()
		s.nats.signal(syscall.SIGCONT)
		return back
	}, (*watcher).firstAfter)
	stayConnected(t, ws)
}

func TestABusThatHiccupsShowsNothingStale(t *testing.T) {
	s := start(t, options{})
	ws := watchers(t, 3, client.Config{URL: s.ws("")})
	recovers(t, ws, func() time.Time { // too short for anybody to reconnect: what was kept back comes at once
		s.nats.signal(syscall.SIGSTOP)
		<-time.After(1500 * time.Millisecond)
		back := time.Now()
		s.nats.signal(syscall.SIGCONT)
		return back
	}, (*watcher).firstAfter)
	stayConnected(t, ws)
}

func TestAnEncoderThatIsRestartedIsBackWithinTwoSeconds(t *testing.T) {
	s := start(t, options{})
	ws := watchers(t, 3, client.Config{URL: s.ws("")})
	recovers(t, ws, func() time.Time {
		s.encoder.kill()
		<-time.After(away)
		s.encoder = s.startEncoder("")
		return time.Now()
	}, (*watcher).firstAfter)
	stayConnected(t, ws)
}

func TestACaptureThatIsRestartedIsBackWithinTwoSeconds(t *testing.T) {
	s := start(t, options{})
	ws := watchers(t, 3, client.Config{URL: s.ws("")})
	recovers(t, ws, func() time.Time {
		s.capture.kill()
		<-time.After(away)
		s.capture = s.startCapture()
		return time.Now()
	}, (*watcher).firstAfter)
	stayConnected(t, ws)
}

func TestAGatewayThatIsRestartedIsBackWithinTwoSeconds(t *testing.T) {
	s := start(t, options{})
	ws := watchers(t, 3, client.Config{URL: s.ws("stream=cam0")})
	recovers(t, ws, func() time.Time {
		s.gateway.stop()
		<-time.After(4 * time.Second) // the longest back-off is reached by then
		s.gateway = s.startGateway(s.addr)
		return time.Now()
	}, (*watcher).firstAfter)
}

func TestAGatewayThatFreezesShowsNothingStale(t *testing.T) {
	s := start(t, options{})
	ws := watchers(t, 3, client.Config{URL: s.ws("")})
	recovers(t, ws, func() time.Time { // what the bus kept for it comes at once
		s.gateway.signal(syscall.SIGSTOP)
		<-time.After(4 * time.Second)
		back := time.Now()
		s.gateway.signal(syscall.SIGCONT)
		return back
	}, (*watcher).firstAfter)
	stayConnected(t, ws)
}

func TestASourceThatComesBackIsBackWithinTwoSeconds(t *testing.T) {
	const width, height = 320, 240
	rtsp := sourcetest.ServeRTSP(t, width, height, 30)
	s := start(t, options{
		sources: "door=" + rtsp.URL, capture: []string{"--width", fmt.Sprint(width), "--height", fmt.Sprint(height)},
	})
	ws := watchers(t, 3, client.Config{URL: s.ws("stream=door")})
	shows := func(w *watcher, source bool) func() bool {
		return func() bool { return showsSource(w.jpeg()) == source }
	}
	for _, w := range ws {
		require.Eventually(t, shows(w, true), patience, 20*time.Millisecond, "the source was never shown")
	}
	recovers(t, ws, func() time.Time {
		rtsp.Close()
		for _, w := range ws {
			require.Eventually(t, shows(w, false), patience, 20*time.Millisecond, "no slate was shown")
		}
		rtsp.Restart()
		return time.Now()
	}, func(w *watcher, _ time.Time) time.Time {
		require.Eventually(t, shows(w, true), patience, 5*time.Millisecond, "the source was never shown again")
		return time.Now()
	})
	stayConnected(t, ws)
}

func TestAPeerThatStaysSilentDisturbsNobody(t *testing.T) {
	const password = "s3cret-und-geheim"
	s := start(t, options{sources: fmt.Sprintf("cam0=pattern:,door=rtsp://admin:%s@%s/cam",
		password, sourcetest.ServeSilence(t))})
	healthy := watchers(t, 1, client.Config{URL: s.ws("stream=cam0")})
	silent := watchers(t, 1, client.Config{URL: s.ws("stream=door")})

	steadily(t, func() string {
		from := silent[0].count()
		acc := during(healthy, 10*time.Second)[0]
		slates := silent[0].count() - from
		t.Logf("healthy: %.2f fps, %d lost, age p99 %v; %d slates of the silent one", acc.fps, acc.lost,
			acc.p99.Round(time.Microsecond), slates)
		switch {
		case acc.lost > 0 || acc.fps < 29.5:
			return fmt.Sprintf("the healthy source stutters: %.2f fps, %d lost", acc.fps, acc.lost)
		case slates < 8 || slates > 14: // one a second, and one on each change of the cause
			return fmt.Sprintf("%d slates in 10 s", slates)
		}
		return ""
	})
	require.False(t, showsSource(silent[0].jpeg()))

	_, streams := get(t, "http://"+s.addr+"/api/v1/streams")
	t.Logf("SIGTERM took %v", s.capture.stop().Round(time.Millisecond))
	s.gateway.stop()
	s.encoder.stop()
	require.NotContains(t, streams, password)
	require.Contains(t, streams, `"state":"slate"`)
	for _, p := range []*process{s.capture, s.encoder, s.gateway} {
		require.NotContains(t, p.out.String(), password, p.name)
	}
}
