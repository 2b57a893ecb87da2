package origin

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// plant is a stream of 30 fps and its encoders of one worker each, simulated a millisecond a step.
type plant struct {
	t       *testing.T
	rand    *rand.Rand
	encode  func(r *rand.Rand) time.Duration
	credit  *credit // nil: a queue group, which picks at random
	workers []*line
	until   time.Duration

	captured, shown, unanswered int
	newest                      uint64
}

// line is an encoder: what it works at, what it has to do, and until when it answers anything.
type line struct {
	name     string
	queue    []work // bound: 2; when full the oldest is superseded
	busy     bool
	current  work
	ready    time.Duration
	frozenAt time.Duration // 0: never
}

type work struct {
	sequence uint64
	received time.Duration
	waited   time.Duration
}

func newPlant(t *testing.T, withCredit bool, encode func(*rand.Rand) time.Duration) *plant {
	p := &plant{t: t, rand: rand.New(rand.NewPCG(1, 2)), encode: encode, until: 2 * time.Minute}
	for _, n := range []string{"a", "b", "c"} {
		p.workers = append(p.workers, &line{name: n})
	}
	if withCredit {
		p.credit = staffed(1, "a", "b", "c")
	}
	return p
}

func (p *plant) run() (shown float64) {
	const interval = time.Second / 30
	var waiting uint64
	next := time.Duration(0)
	for now := time.Duration(0); now < p.until; now += time.Millisecond {
		at := t0.Add(now)
		for _, w := range p.workers {
			p.work(w, now)
		}
		if now >= next {
			next += interval
			p.captured++
			waiting = uint64(p.captured)
		}
		if p.credit != nil {
			for _, w := range p.workers {
				if w.frozenAt == 0 || now < w.frozenAt {
					p.credit.hear(w.name, 1, 1, false, at)
				}
			}
			p.unanswered += len(p.credit.tick(at, t0))
		}
		if waiting != 0 && p.hand(waiting, now) {
			waiting = 0
		}
	}
	return float64(p.shown) / float64(p.captured)
}

func (p *plant) hand(sequence uint64, now time.Duration) bool {
	to := p.workers[p.rand.IntN(len(p.workers))]
	if p.credit != nil {
		name, ok := p.credit.pick(t0.Add(now))
		if !ok {
			return false
		}
		for _, w := range p.workers {
			if w.name == name {
				to = w
			}
		}
		p.credit.give(p.t, name, sequence, t0.Add(now))
	}
	to.queue = append(to.queue, work{sequence: sequence, received: now})
	if len(to.queue) > 2 {
		to.queue = to.queue[1:]
	}
	return true
}

func (p *plant) work(w *line, now time.Duration) {
	if w.frozenAt != 0 && now >= w.frozenAt {
		return
	}
	if w.busy && now >= w.ready {
		w.busy = false
		if w.current.sequence > p.newest {
			p.newest = w.current.sequence
			p.shown++
		}
		if p.credit != nil {
			d := doneOf(w.name, w.current.sequence)
			d.WaitedUs = uint32(w.current.waited.Microseconds())
			p.credit.done(d, t0.Add(now))
		}
	}
	if !w.busy && len(w.queue) > 0 {
		w.current, w.queue = w.queue[0], w.queue[1:]
		w.current.waited = now - w.current.received
		w.busy, w.ready = true, now+p.encode(p.rand)
	}
}

// about takes d, give or take 15 %.
func about(d time.Duration) func(*rand.Rand) time.Duration {
	return func(r *rand.Rand) time.Duration {
		return time.Duration(float64(d) * (0.85 + 0.3*r.Float64()))
	}
}

func TestThreeEncodersAtSeventyPercent(t *testing.T) {
	credit := newPlant(t, true, about(70*time.Millisecond)).run()
	group := newPlant(t, false, about(70*time.Millisecond)).run()
	t.Logf("shown in order: %.1f %% by credit, %.1f %% by a queue group", 100*credit, 100*group)
	require.GreaterOrEqual(t, credit, 0.96)
	require.Less(t, group, 0.85)
}

func TestOneOfThreeFrozen(t *testing.T) {
	freeze := func(withCredit bool) *plant {
		p := newPlant(t, withCredit, about(30*time.Millisecond))
		p.workers[1].frozenAt = 10 * time.Second
		return p
	}
	credit := freeze(true)
	withCredit, group := credit.run(), freeze(false).run()
	t.Logf("shown in order: %.1f %% by credit, %.1f %% by a queue group", 100*withCredit, 100*group)
	require.LessOrEqual(t, credit.unanswered, 1)
	require.GreaterOrEqual(t, withCredit, 0.99)
	require.Less(t, group, 0.85)
}
