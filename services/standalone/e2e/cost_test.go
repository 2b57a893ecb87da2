//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/standalone/internal/load"
	"github.com/stretchr/testify/require"
)

// cost is what a chain took to show a stream to some viewers.
type cost struct {
	slowest       float64 // fps
	lost          uint64
	p50, p95, p99 float64 // ms, by the strip
	core          map[string]float64
	perFrame      map[string]time.Duration
	memory        map[string]int64
	jpegShare     float64 // of the raw frames' bytes
}

func (c cost) total() (core float64) {
	for _, share := range c.core {
		core += share
	}
	return core
}

// measure watches with so many viewers from another process, for so long.
func measure(t *testing.T, addr string, viewers int, d time.Duration, parts map[string]*process) cost {
	t.Helper()
	out := cost{core: map[string]float64{}, perFrame: map[string]time.Duration{}, memory: map[string]int64{}}
	// The viewers come before the clock starts: what is measured is a stream that runs.
	watch := exec.Command(binary(t, "framebus"), "bench", "http://"+addr, "--json", "--clients", fmt.Sprint(viewers),
		"--duration", (d + 3*time.Second).String())
	done := make(chan []byte, 1)
	go func() {
		b, err := watch.Output()
		if err != nil {
			b = nil
		}
		done <- b
	}()
	<-time.After(2 * time.Second)
	began, from := map[string]time.Duration{}, time.Now()
	for name, p := range parts {
		began[name] = cpuTime(t, p.pid())
	}
	<-time.After(d)
	span := time.Since(from)
	for name, p := range parts {
		used := cpuTime(t, p.pid()) - began[name]
		out.core[name] = float64(used) / float64(span)
		out.perFrame[name] = time.Duration(float64(used) / (span.Seconds() * 30 * float64(viewers)))
		out.memory[name] = memory(t, p.pid())
	}
	var r load.Report
	require.NoError(t, json.Unmarshal(<-done, &r))
	require.Equal(t, viewers, r.Seeing)
	out.slowest, out.lost = r.Total.FPSMin, r.Total.Lost
	if s := r.Total.StripAge; s != nil {
		out.p50, out.p95, out.p99 = s.P50, s.P95, s.P99
	}
	raw := float64(frame.PayloadSize(frame.I420, 640, 480))
	out.jpegShare = float64(r.Total.Bytes) / float64(r.Total.Frames) / raw
	return out
}

func (c cost) log(t *testing.T, name string, viewers int) {
	t.Helper()
	t.Logf("%s, %d viewers: ≥ %.2f fps, %d lost, age p50 %.2f p95 %.2f p99 %.2f ms, %.1f %% of a core %v, "+
		"a delivered frame %v, memory %v, JPEG %.1f %% of raw", name, viewers, c.slowest, c.lost, c.p50, c.p95,
		c.p99, 100*c.total(), c.core, c.perFrame, c.memory, 100*c.jpegShare)
}

// The bars of a machine that does nothing else are in docs/performance.md; these hold on a busy one too.
const (
	costSlowest = 29.5
	costP50     = 6.0  // ms
	costP99     = 40.0 // ms
	costCore    = 0.25
)

func TestWhatTheChainCosts(t *testing.T) {
	addr, p := startOne(t)
	waitStream(t, addr, "cam0")
	steadily(t, func() string {
		c := measure(t, addr, 10, 6*time.Second, map[string]*process{"framebus": p})
		c.log(t, "one process", 10)
		switch {
		case c.lost > 0 || c.slowest < costSlowest:
			return fmt.Sprintf("%.2f fps, %d lost", c.slowest, c.lost)
		case c.p50 > costP50 || c.p99 > costP99:
			return fmt.Sprintf("age p50 %.2f ms, p99 %.2f ms", c.p50, c.p99)
		case c.total() > costCore:
			return fmt.Sprintf("%.1f %% of a core", 100*c.total())
		}
		return ""
	})
}
