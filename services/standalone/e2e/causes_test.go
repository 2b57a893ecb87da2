//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/stretchr/testify/require"
)

// patient is a system to which things are done.
type patient struct {
	*system
	jaeger jaeger
	env    []string
	admin  []string
	viewer *watcher
}

func (p *patient) look(t *testing.T) (pages []string, ledger any) {
	t.Helper()
	for _, addr := range p.admin {
		if code, body := get(t, "http://"+addr+"/metrics"); code == 200 { // one that is ended has none
			pages = append(pages, body)
		}
	}
	if code, body := get(t, "http://"+p.addr+"/api/v1/ledger"); code == 200 {
		require.NoError(t, json.Unmarshal([]byte(body), &ledger))
	}
	return pages, ledger
}

// where causes something and waits until it shows where the table says.
func (p *patient) where(t *testing.T, does func()) {
	t.Helper()
	rows := causes(t)
	i := slices.IndexFunc(rows, func(c cause) bool { return slices.Contains(c.tests, t.Name()) })
	require.GreaterOrEqual(t, i, 0, "docs/operations.md has no row for %s", t.Name())
	row := rows[i]
	require.NotEmpty(t, row.metrics, "the row names no metric")
	pages, ledger := p.look(t)
	from := time.Now()
	does()
	seen := make([]bool, len(row.metrics)+len(row.ledger)+len(row.spans)) // one may be over when the other comes
	for deadline := time.Now().Add(patience); ; <-time.After(250 * time.Millisecond) {
		var hidden []string
		pagesNow, ledgerNow := p.look(t)
		for i, s := range slices.Concat(row.metrics, row.ledger) {
			before, now := s.metric(t, pages), s.metric(t, pagesNow)
			if i >= len(row.metrics) {
				before, now = s.entry(ledger), s.entry(ledgerNow)
			}
			if seen[i] = seen[i] || s.shows(before, now); !seen[i] {
				hidden = append(hidden, fmt.Sprintf("%s: was %v, is %v", s.what, before, now))
			}
		}
		for i, s := range row.spans {
			i += len(row.metrics) + len(row.ledger)
			if seen[i] = seen[i] || p.jaeger.has(t, s, from); !seen[i] {
				hidden = append(hidden, s.what+": there is none")
			}
		}
		if len(hidden) == 0 {
			return
		}
		require.True(t, time.Now().Before(deadline), "it does not show:\n%s", strings.Join(hidden, "\n"))
	}
}

// well waits until the viewer has pictures again.
func (p *patient) well() { p.viewer.firstAfter(time.Now()) }

// captures starts one more capture, of these sources.
func (p *patient) captures(t *testing.T, sources string, args ...string) {
	t.Helper()
	admin := freeAddr(t)
	p.admin = append(p.admin, admin)
	runEnv(t, p.env, binary(t, "capture"),
		append([]string{"--nats-url", p.natsURL, "--admin-listen", admin, "--sources", sources}, args...)...)
}

// throttle lets a process run for a while and then not, in turns, as a limit of its CPU does; it ends when told to.
func (p *process) throttle(runs, rests time.Duration) (end func()) {
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		defer p.signal(syscall.SIGCONT)
		turns := []struct {
			signal syscall.Signal
			lasts  time.Duration
		}{{syscall.SIGSTOP, rests}, {syscall.SIGCONT, runs}}
		for i := 0; ; i = 1 - i {
			p.signal(turns[i].signal)
			select {
			case <-stop:
				return
			case <-time.After(turns[i].lasts):
			}
		}
	}()
	return func() { close(stop); <-ended }
}

// Every frame is traced here: of those that are dropped the one a second would tell too rarely.
func TestEachCause(t *testing.T) {
	p := &patient{admin: []string{freeAddr(t), freeAddr(t), freeAddr(t)}, jaeger: startJaeger(t)}
	p.env = []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://" + p.jaeger.http + "/v1/traces",
		"OTEL_TRACES_SAMPLER=always_on"}
	encoder := []string{"--admin-listen", p.admin[1], "--workers", "1"}
	nats := startNATS(t, "max_payload: 2MB\nmax_pending: 16MB\nno_fast_producer_stall: true\n")
	p.system = start(t, options{
		natsURL: nats.url(), env: p.env,
		capture: []string{"--admin-listen", p.admin[0]},
		encoder: encoder,
		gateway: []string{"--admin-listen", p.admin[2]},
	})
	p.nats = nats
	cfg := v1(p.addr)
	cfg.Rung = "full"
	p.viewer = watchers(t, 1, cfg)[0]

	t.Run("one_slow_viewer", func(t *testing.T) {
		p.where(t, func() { watch(t, v1(startRelay(t, p.addr, .7, rtt).addr())) })
	})
	t.Run("slow_client", func(t *testing.T) {
		p.where(t, func() { slowPainter(t, v1(p.addr)) })
	})
	t.Run("frame_too_large", func(t *testing.T) {
		p.where(t, func() {
			p.captures(t, "huge=pattern:?always=true", "--shm", "off", "--width", "1920", "--height", "1080")
		})
	})
	t.Run("camera_gone", func(t *testing.T) {
		p.where(t, func() { p.captures(t, "gone=http://"+freeAddr(t)) })
	})
	t.Run("encoder_saturated", func(t *testing.T) {
		spent := p.encoder.throttle(10*time.Millisecond, 90*time.Millisecond)
		defer spent()
		p.where(t, func() {
			p.captures(t, "wide=pattern:?always=true", "--width", "1280", "--height", "720", "--fps", "60")
		})
	})
	t.Run("hub_displaced", func(t *testing.T) {
		p.where(t, func() {
			p.gateway.signal(syscall.SIGSTOP)
			<-time.After(2 * time.Second)
			p.gateway.signal(syscall.SIGCONT)
		})
		p.well()
	})
	t.Run("encoder_dead", func(t *testing.T) {
		p.where(t, func() { p.encoder.kill() })
		p.encoder = p.startEncoder("", encoder...)
		p.well()
	})
	t.Run("bus_down", func(t *testing.T) {
		p.where(t, func() { p.nats.kill() })
		p.nats.start()
		p.well()
	})
	// Last, because the slow link is the only one then and the quality follows it.
	t.Run("slow_link", func(t *testing.T) {
		p.where(t, func() {
			p.viewer.stop()
			watch(t, v1(startRelay(t, p.addr, 2.5, rtt).addr()))
		})
	})
}

// slowPainter takes pictures off its socket at once, as it should, and shows five a second.
func slowPainter(t *testing.T, cfg client.Config) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	v, err := client.New(cfg, client.Deps{OnFrame: func(*client.Frame) { <-time.After(time.Second / 5) }})
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = v.Run(ctx) // it ends with the test
	}()
	t.Cleanup(func() { cancel(); <-done })
}
