//go:build e2e && figures

package e2e

import (
	"testing"
	"time"
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
