//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/framebus/framebus/services/capture"
	"github.com/framebus/framebus/services/client"
	"github.com/framebus/framebus/services/encoder"
	"github.com/framebus/framebus/services/gateway"
	"github.com/framebus/framebus/services/internal/natsd"
	"github.com/framebus/framebus/services/internal/service"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// pair is a system with two encoders, whose counts can be read.
type pair struct {
	*system
	second *process
	admin  [2]string // where the encoders tell their metrics
	viewer *watcher
}

func startPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{admin: [2]string{freeAddr(t), freeAddr(t)}}
	p.system = start(t, options{encoder: []string{"--admin-listen", p.admin[0]}})
	p.second = p.startEncoder("", "--admin-listen", p.admin[1])
	for _, addr := range p.admin {
		waitReady(t, addr)
	}
	p.viewer = watchers(t, 1, client.Config{URL: p.ws("")})[0]
	p.viewer.waitFrames(60)
	return p
}

var encodedFrames = regexp.MustCompile(`(?m)^framebus_encoder_frames(?:_total)?\{[^}]*fate="encoded"[^}]*\} (\S+)$`)

// encoded is how many frames an encoder has encoded.
func (p *pair) encoded(which int) float64 {
	p.t.Helper()
	code, body := get(p.t, "http://"+p.admin[which]+"/metrics")
	require.Equal(p.t, 200, code, body)
	m := encodedFrames.FindStringSubmatch(body)
	if m == nil {
		return 0
	}
	n, err := strconv.ParseFloat(m[1], 64)
	require.NoError(p.t, err)
	return n
}

// share is the second encoder's part of the frames encoded in d.
func (p *pair) share(d time.Duration) float64 {
	p.t.Helper()
	first, second := p.encoded(0), p.encoded(1)
	<-time.After(d)
	first, second = p.encoded(0)-first, p.encoded(1)-second
	p.t.Logf("encoded in %v: %.0f and %.0f", d, first, second)
	return second / (first + second)
}

// loses is the account of the viewer from just before something happens until d later.
func (p *pair) loses(d time.Duration, happens func()) account {
	from := time.Now()
	p.viewer.waitFrames(5) // so that a gap at the beginning shows
	happens()
	<-time.After(d)
	return p.viewer.between(from, time.Now())
}

// wrongAfter says what an account must not show of an encoder that was lost.
func wrongAfter(acc account) string {
	switch {
	case acc.lost > 3:
		return fmt.Sprintf("%d frames were lost", acc.lost)
	case acc.backward > 0:
		return "pictures went back"
	case acc.fps < 28.5: // three frames of a few seconds
		return fmt.Sprintf("%.2f frames a second", acc.fps)
	}
	return ""
}

func TestTwoEncodersShareTheFrames(t *testing.T) {
	p := startPair(t)
	steadily(t, func() string {
		if share := p.share(4 * time.Second); share < .2 || share > .8 {
			return fmt.Sprintf("the second encoder got %.0f %% of the frames", 100*share)
		}
		return ""
	})
}

func TestAnEncoderThatIsKilledCostsAtMostThreeFrames(t *testing.T) {
	p := startPair(t)
	steadily(t, func() string {
		acc := p.loses(4*time.Second, p.second.kill)
		t.Logf("lost %d, %.2f fps", acc.lost, acc.fps)
		p.second = p.startEncoder("", "--admin-listen", p.admin[1])
		waitReady(t, p.admin[1])
		return wrongAfter(acc)
	})
}

func TestAnEncoderThatFreezesCostsAtMostThreeFrames(t *testing.T) {
	p := startPair(t)
	steadily(t, func() string {
		acc := p.loses(4*time.Second, func() { p.second.signal(syscall.SIGSTOP) })
		thawed := p.loses(2*time.Second, func() { p.second.signal(syscall.SIGCONT) })
		t.Logf("frozen: lost %d, %.2f fps; thawed: lost %d, %.2f fps", acc.lost, acc.fps, thawed.lost, thawed.fps)
		acc.lost += thawed.lost
		acc.backward += thawed.backward
		if share := p.share(3 * time.Second); share < .2 {
			return fmt.Sprintf("once thawed it got %.0f %% of the frames", 100*share)
		}
		return wrongAfter(acc)
	})
}

// A queue group would show 72 % of them.
func TestThreeSlowEncodersShowAlmostAllFrames(t *testing.T) {
	addr := startSlow(t, 3, func() time.Duration { // 70 ms ± 15 %
		return time.Duration(70 * (0.85 + 0.3*rand.Float64()) * float64(time.Millisecond))
	})
	ws := watchers(t, 1, client.Config{URL: wsURL(addr, "stream=cam0")})
	ws[0].waitFrames(60)
	steadily(t, func() string {
		acc := during(ws, 20*time.Second)[0]
		shown := float64(acc.frames) / float64(acc.frames+int(acc.lost))
		t.Logf("%.1f %% of the frames shown, %.2f fps, age p50 %v p99 %v", 100*shown, acc.fps,
			acc.p50.Round(time.Millisecond), acc.p99.Round(time.Millisecond))
		switch {
		case acc.backward > 0:
			return "pictures went back"
		case shown < .96 || acc.fps < .96*29.5:
			return fmt.Sprintf("%.1f %% of the frames were shown, %.2f a second", 100*shown, acc.fps)
		}
		return ""
	})
}

// startSlow runs the services in this process, on a bus of its own: n encoders with one worker each and encodes slowed
// down. It returns the gateway's address.
func startSlow(t *testing.T, n int, slow func() time.Duration) (addr string) {
	t.Helper()
	bus, err := natsd.Start(natsd.Config{})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	g, ctx := errgroup.WithContext(ctx)
	t.Cleanup(func() {
		cancel()
		require.NoError(t, g.Wait())
		bus.Close()
	})
	launch := func(name string, run service.RunFunc) {
		env, err := service.Open(ctx, name, service.Common{LogLevel: "warn", LogFormat: "text"},
			service.Place{InProcess: bus, LogTo: io.Discard})
		require.NoError(t, err)
		g.Go(func() error {
			defer env.Close()
			return env.Run(ctx, run)
		})
	}
	for range n {
		launch("encoder", func(ctx context.Context, d service.Deps) error {
			return encoder.Run(ctx, encoder.Settings{Quality: 80, QualityMin: 30, Workers: 1},
				encoder.Deps{Deps: d, Slow: slow})
		})
	}
	launch("capture", func(ctx context.Context, d service.Deps) error {
		return capture.Run(ctx, capture.Settings{Sources: "cam0=pattern:", Width: 640, Height: 480, FPS: 30},
			capture.Deps{Deps: d})
	})
	listening := make(chan net.Addr, 1)
	launch("gateway", func(ctx context.Context, d service.Deps) error {
		return gateway.Run(ctx, gateway.Settings{Listen: "127.0.0.1:0", MaxClients: 10},
			gateway.Deps{Deps: d, OnListening: func(a net.Addr) { listening <- a }})
	})
	select {
	case a := <-listening:
		addr = a.String()
	case <-time.After(patience):
		t.Fatal("the gateway never listened")
	}
	waitReady(t, addr)
	waitStream(t, addr, "cam0")
	return addr
}
