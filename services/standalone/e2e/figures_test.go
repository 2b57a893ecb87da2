//go:build e2e && figures

package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFiguresOfTheChain is `make bench-chain`: it asserts nothing and prints what docs/performance.md records.
func TestFiguresOfTheChain(t *testing.T) {
	const d = 20 * time.Second
	for _, viewers := range []int{1, 5, 10} {
		addr, p := startOne(t)
		waitStream(t, addr, "cam0")
		measure(t, addr, viewers, d, map[string]*process{"framebus": p}).log(t, "one process", viewers)
		p.stop()
	}
	for _, viewers := range []int{1, 5, 10} {
		s := start(t, options{})
		measure(t, s.addr, viewers, d, map[string]*process{
			"nats-server": s.nats.process, "capture": s.capture, "encoder": s.encoder, "gateway": s.gateway,
		}).log(t, "three services", viewers)
		for _, p := range []*process{s.gateway, s.encoder, s.capture, s.nats.process} {
			p.kill()
		}
	}
	addr, p := startOne(t, "--max-clients", "1000")
	waitStream(t, addr, "cam0")
	for _, viewers := range []int{10, 100, 1000} {
		measure(t, addr, viewers, d, map[string]*process{"framebus": p}).log(t, "one process", viewers)
	}
}

// TestFiguresOfTheChainByReference puts raw frames by reference and inline side by side: the same chains in turn, three
// times, ten viewers each.
func TestFiguresOfTheChainByReference(t *testing.T) {
	const d = 12 * time.Second
	inline := []string{"FRAMEBUS_SHM=off"}
	large := []string{"FRAMEBUS_WIDTH=1920", "FRAMEBUS_HEIGHT=1080"}
	for range 3 {
		for _, c := range []struct {
			name string
			env  []string
		}{{"by reference", nil}, {"inline", inline}} {
			addr := freeAddr(t)
			p := runEnv(t, c.env, binary(t, "framebus"), "up", "--listen", addr)
			waitReady(t, addr)
			waitStream(t, addr, "cam0")
			measure(t, addr, 10, d, map[string]*process{"framebus": p}).log(t, "one process, "+c.name, 10)
			p.stop()
		}
		for _, c := range []struct {
			name string
			env  []string
		}{
			{"640×480, by reference", nil}, {"640×480, inline", inline},
			{"1920×1080, by reference", large}, {"1920×1080, inline", append(inline, large...)},
		} {
			s := start(t, options{env: c.env})
			measure(t, s.addr, 10, d, map[string]*process{
				"nats-server": s.nats.process, "capture": s.capture, "encoder": s.encoder, "gateway": s.gateway,
			}).log(t, "three services, "+c.name, 10)
			w := watch(t, v1(s.addr))
			w.waitFrames(150)
			w.stop()
			var raw, jpeg []time.Duration
			for _, p := range w.pictures() {
				raw, jpeg = append(raw, p.rawHop), append(jpeg, p.jpegHop)
			}
			slices.Sort(raw)
			slices.Sort(jpeg)
			require.NotEmpty(t, raw)
			t.Logf("three services, %s: the raw hop p50 %v p99 %v, the JPEG's p50 %v p99 %v", c.name, percentile(raw, 50),
				percentile(raw, 99), percentile(jpeg, 50), percentile(jpeg, 99))
			for _, p := range []*process{s.gateway, s.encoder, s.capture, s.nats.process} {
				p.kill()
			}
		}
	}
}
