//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/stretchr/testify/require"
)

// A rung is encoded while somebody wants it, once; nothing is within 2.5 s of the last viewer, and that costs nothing.
func TestOnlyWhatIsWantedIsEncoded(t *testing.T) {
	admin, gatewayAdmin := freeAddr(t), freeAddr(t)
	s := start(t, options{
		encoder: []string{"--admin-listen", admin}, gateway: []string{"--admin-listen", gatewayAdmin},
	})
	encoded := func() float64 { return metric(t, admin, `framebus_encoder_frames_total{fate="encoded"`) }
	pictures := func() float64 { return metric(t, gatewayAdmin, `framebus_gateway_pictures_total{fate="taken"`) }
	half := v1(s.addr)
	half.Rung = "half"
	a, b := watch(t, v1(s.addr)), watch(t, half)
	a.waitFrames(30)
	b.waitFrames(30)
	require.Equal(t, 640, a.pictures()[0].width)
	require.Equal(t, 320, b.pictures()[0].width)
	steadily(t, func() string {
		frames, rungs := encoded(), pictures()
		<-time.After(2 * time.Second)
		frames, rungs = encoded()-frames, pictures()-rungs
		if per := rungs / frames; per < 1.9 || per > 2.1 {
			return fmt.Sprintf("%.0f pictures of %.0f frames, two rungs being wanted", rungs, frames)
		}
		return ""
	})
	a.stop()
	b.stop()
	steadily(t, func() string {
		<-time.After(2500 * time.Millisecond)
		before, encoder, capture := encoded(), cpu(t, s.encoder.pid()), cpu(t, s.capture.pid())
		from := time.Now()
		<-time.After(4 * time.Second)
		share := func(used time.Duration) float64 { return 100 * used.Seconds() / time.Since(from).Seconds() }
		busyEncoder := share(cpu(t, s.encoder.pid()) - encoder)
		busyCapture := share(cpu(t, s.capture.pid()) - capture)
		t.Logf("nobody watches: encoder %.2f %% of a core, capture %.2f %%", busyEncoder, busyCapture)
		if after := encoded(); after != before || busyEncoder >= 1 || busyCapture >= 3 {
			return fmt.Sprintf("for nobody: %v frames, encoder %.2f %%, capture %.2f %%", after-before, busyEncoder, busyCapture)
		}
		return ""
	})
	// 100 ms and one frame interval, and the handshake, which is the client's.
	const soon, handshake = 100*time.Millisecond + time.Second/30, 10 * time.Millisecond
	steadily(t, func() string {
		from := time.Now()
		c := watch(t, v1(s.addr))
		c.waitFrames(1)
		first := c.pictures()[0].at.Sub(from)
		c.stop()
		<-time.After(2500 * time.Millisecond)
		from = time.Now()
		resp, err := httpClient.Get("http://" + s.addr + "/snapshot/cam0.jpg")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusOK, resp.StatusCode)
		snapshot := time.Since(from)
		<-time.After(2500 * time.Millisecond)
		t.Logf("first picture %v after the first viewer, a snapshot in %v", first, snapshot)
		if first > soon+handshake || snapshot > soon+handshake {
			return fmt.Sprintf("first picture after %v, a snapshot after %v", first, snapshot)
		}
		return ""
	})
}

// cpu is what a process has used.
func cpu(t *testing.T, pid int) time.Duration {
	t.Helper()
	var total time.Duration
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	require.NoError(t, err)
	for _, task := range tasks {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, task.Name())); err == nil {
			var ns int64
			_, _ = fmt.Sscan(string(b), &ns)
			total += time.Duration(ns)
		}
	}
	return total
}

// Two gateways' viewers and three encoders share one quality.
func TestOneQualityWhoeverAsksAndWhoeverEncodes(t *testing.T) {
	s := start(t, options{})
	s.startEncoder("second")
	other := freeAddr(t)
	s.startGateway(other)
	waitReady(t, other)
	waitStream(t, other, "cam0")
	full := func(addr string) client.Config {
		cfg := v1(addr)
		cfg.Rung = "full"
		return cfg
	}
	fast := watch(t, full(s.addr))
	fast.waitFrames(60)
	require.Equal(t, 80, fast.pictures()[fast.count()-1].quality, "alone on the one gateway")
	slow := watch(t, full(startRelay(t, other, 7.5, rtt).addr()))
	slow.waitFrames(1)
	<-time.After(settle)
	steadily(t, func() string {
		admin := freeAddr(t)
		third := s.startEncoder("", "--admin-listen", admin)
		waitReady(t, admin)
		<-time.After(500 * time.Millisecond)
		from := time.Now()
		<-time.After(4 * time.Second)
		frames := metric(t, admin, `framebus_encoder_frames_total{fate="encoded"`)
		var lo, hi, jumps, before int
		for _, p := range fast.pictures() {
			if p.at.Before(from) {
				continue
			}
			if before == 0 {
				lo, hi = p.quality, p.quality
			} else if d := p.quality - before; d > 2 || d < -2 {
				jumps++
			}
			before, lo, hi = p.quality, min(lo, p.quality), max(hi, p.quality)
		}
		third.stop()
		t.Logf("quality %d to %d, %d changes by more than 2; the third encoder made %.0f frames", lo, hi, jumps, frames)
		switch {
		case hi >= 80 || hi == 0:
			return fmt.Sprintf("quality %d: the viewer at the other gateway is not heard", hi)
		case jumps > 4: // encoders that differ would change it with almost every frame
			return fmt.Sprintf("quality changed %d times in 4 s, %d to %d", jumps, lo, hi)
		case frames < 20:
			return fmt.Sprintf("the third encoder made %.0f frames", frames)
		}
		return ""
	})
	slow.stop()
	newest := func() int { return fast.pictures()[fast.count()-1].quality }
	require.Eventually(t, func() bool { return newest() == 80 }, patience, 50*time.Millisecond, "the slow one has gone")
}
