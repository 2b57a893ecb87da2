package simulate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/framebus/framebus/services/internal/adapt"
)

// Case is a scenario with a name and what it is held to.
type Case struct {
	Name string
	Bars Bars
	// Make builds it anew; only the rates of some depend on the seed.
	Make func(seed uint64) Scenario
}

// Bars are what every viewer of a case is held to, and the worst is what it is judged by. 0: nothing.
type Bars struct {
	FPS, Quality, Use float64       // at least
	Late              time.Duration // age p95 beyond half a round trip, at most
	Moves             float64       // changes of rung a minute, at most
	Spread            int           // of encoders' qualities, at most
}

const ms = time.Millisecond

// minute is a minute behind ten seconds of settling.
func minute(seed uint64, viewers ...*Network) Scenario {
	return Scenario{Seed: seed, Duration: 70 * time.Second, Warm: 10 * time.Second, Viewers: viewers}
}

// Link is a steady one, of a rate in Mbit/s.
func Link(mbit float64, rtt time.Duration) *Network {
	return &Network{Rate: Mbit(mbit), RTT: Steady(rtt)}
}

// Mixed are so many steady links of 0.5 to 30 Mbit/s and 5 to 200 ms.
func Mixed(seed uint64, n int) []*Network {
	r := rand.New(rand.NewPCG(seed, 3))
	out := make([]*Network, n)
	for i := range out {
		out[i] = Link(0.5*math.Pow(60, r.Float64()), time.Duration(5+r.IntN(196))*ms)
	}
	return out
}

// steadily are the bars of a steady link.
func steadily(fps, quality, use float64) Bars {
	return Bars{FPS: fps, Quality: quality, Use: use, Late: 100 * ms, Moves: 2}
}

// one is a case of one viewer on the full range of rules.
func one(name string, bars Bars, n func() *Network) Case {
	return Case{name, bars, func(seed uint64) Scenario { return minute(seed, n()) }}
}

func rate(name string, bars Bars, rtt time.Duration, r func(time.Duration) float64) Case {
	return one(name, bars, func() *Network { return &Network{Rate: r, RTT: Steady(rtt)} })
}

// Cases are what the rules are judged by.
func Cases() []Case {
	var out []Case
	for _, rtt := range []int{1, 5, 20, 50, 150, 300} {
		out = append(out, one(fmt.Sprintf("20 Mbit/s, RTT %d ms", rtt), steadily(29, 79.5, 0.95),
			func() *Network { return Link(20, time.Duration(rtt)*ms) }))
	}
	for _, rtt := range []int{1, 20, 50, 150} {
		out = append(out, one(fmt.Sprintf("2.5 Mbit/s, RTT %d ms", rtt), steadily(25, 0, 0.5),
			func() *Network { return Link(2.5, time.Duration(rtt)*ms) }))
	}
	out = append(out, changing()...)
	out = append(out, hidden()...)
	return append(out, crowds()...)
}

// changing are links that do not stay as they are.
func changing() []Case {
	lte := func(seed uint64) Scenario {
		return minute(seed, &Network{Rate: LTE(seed, 1, 12), RTT: Steady(50 * ms)})
	}
	jumps := Jumps(10*time.Second, 5*ms, 50*ms, 1*ms, 150*ms, 20*ms, 300*ms)
	return []Case{
		rate("steps 20, 1 Mbit/s, 15 s each", Bars{FPS: 25, Late: 300 * ms}, 20*ms, Steps(15*time.Second, 20, 1)),
		rate("on/off 10, 2 Mbit/s, 5 s each", Bars{FPS: 25, Late: 150 * ms}, 20*ms, Steps(5*time.Second, 10, 2)),
		rate("ramp 1 to 20 Mbit/s and back, 30 s", Bars{FPS: 27, Late: 100 * ms}, 20*ms, Ramp(30*time.Second, 1, 20)),
		rate("sawtooth 1 to 20 Mbit/s, 20 s", Bars{FPS: 25, Late: 150 * ms}, 20*ms, Sawtooth(20*time.Second, 1, 20)),
		{"LTE 1 to 12 Mbit/s with outages, RTT 50 ms", Bars{FPS: 24}, lte},
		one("20 Mbit/s, RTT jumps 1 to 300 ms", Bars{FPS: 22, Quality: 60},
			func() *Network { return &Network{Rate: Mbit(20), RTT: jumps} }),
		{"4 Mbit/s, scenes × 1.6", Bars{FPS: 27, Late: 150 * ms, Use: 0.6}, func(seed uint64) Scenario {
			s := minute(seed, Link(4, 20*ms))
			s.Scenes = true
			return s
		}},
	}
}

// hidden are links that do not show what they are.
func hidden() []Case {
	var out []Case
	for _, kb := range []float64{4, 32} {
		out = append(out, one(fmt.Sprintf("2.5 Mbit/s, token bucket %.0f KB", kb),
			Bars{FPS: 25, Use: 0.5, Late: 100 * ms, Moves: 12},
			func() *Network { return &Network{Rate: Mbit(2.5), RTT: Steady(20 * ms), Bucket: kb * 1000} }))
	}
	pongs := func(name string, bars Bars, mbit float64, p Pongs) Case {
		return one(name, bars, func() *Network {
			return &Network{Rate: Mbit(mbit), RTT: Steady(20 * ms), Pongs: p}
		})
	}
	return append(out,
		pongs("2.5 Mbit/s, 1 % of pongs lost", Bars{FPS: 25, Use: 0.5, Moves: 2}, 2.5, Pongs{Lost: 0.01}),
		pongs("20 Mbit/s, 1 % of pongs lost", Bars{FPS: 25, Moves: 2}, 20, Pongs{Lost: 0.01}),
		pongs("2.5 Mbit/s, a third of pongs thinned", Bars{FPS: 20, Late: 150 * ms}, 2.5, Pongs{Thinned: 0.33}),
		pongs("20 Mbit/s, a third of pongs thinned", Bars{FPS: 25, Late: 100 * ms}, 20, Pongs{Thinned: 0.33}),
		pongs("2.5 Mbit/s, pongs at most every 50 ms", Bars{FPS: 15, Late: 150 * ms}, 2.5, Pongs{Every: 50 * ms}),
		pongs("20 Mbit/s, pongs at most every 50 ms", Bars{FPS: 25}, 20, Pongs{Every: 50 * ms}),
		one("2 Mbit/s behind a proxy's 1 MB", steadily(25, 0, 0.5), func() *Network {
			return &Network{Rate: Mbit(2), RTT: Steady(20 * ms), Proxy: 1 << 20}
		}),
		one("the same, the proxy answers the pings, a plain client", Bars{}, func() *Network {
			return &Network{Rate: Mbit(2), RTT: Steady(20 * ms), Proxy: 1 << 20, Pongs: Pongs{ByProxy: true}}
		}),
		one("the same, a client that tells what it paints", Bars{FPS: 25, Late: 150 * ms, Use: 0.5, Moves: 2},
			func() *Network {
				return &Network{
					Rate: Mbit(2), RTT: Steady(20 * ms), Proxy: 1 << 20, Pongs: Pongs{ByProxy: true, Painted: true},
				}
			}),
		one("20 Mbit/s, no proxy, a client that tells what it paints", steadily(29, 79.5, 0.95), func() *Network {
			return &Network{Rate: Mbit(20), RTT: Steady(20 * ms), Pongs: Pongs{Painted: true}}
		}),
	)
}

// crowds share a ladder.
func crowds() []Case {
	rates := func(rtt time.Duration) (out []*Network) {
		for _, m := range []float64{0.3, 0.6, 1, 1.5, 2.5, 4, 7, 12, 20, 30} {
			out = append(out, Link(m, rtt))
		}
		return out
	}
	patterned := func(name string, rtt time.Duration) Case {
		return Case{name, Bars{FPS: 15, Late: 200 * ms}, func(seed uint64) Scenario {
			s := minute(seed, rates(rtt)...)
			s.Size80, s.Shares = 26_600, pattern
			return s
		}}
	}
	mixed := func(name string, n, gateways, encoders int, bars Bars) Case {
		return Case{name, bars, func(seed uint64) Scenario {
			s := minute(seed, Mixed(seed, n)...)
			s.Duration, s.Gateways = 40*time.Second, gateways
			for i := range encoders {
				s.Encoders = append(s.Encoders, time.Duration(i)*10*time.Second)
			}
			return s
		}}
	}
	return []Case{
		{"ten, 0.3 to 30 Mbit/s", Bars{FPS: 15, Late: 200 * ms}, func(seed uint64) Scenario {
			return minute(seed, rates(20*ms)...)
		}},
		patterned("the same, the pattern's pictures", 20*ms),
		patterned("the same, RTT 150 ms", 150*ms),
		mixed("five, mixed", 5, 1, 1, Bars{FPS: 20}),
		mixed("twenty, mixed, two gateways", 20, 2, 2, Bars{FPS: 20, Spread: 2}),
		mixed("fifty, mixed", 50, 1, 1, Bars{FPS: 20}),
		mixed("fifty, mixed, three gateways and encoders", 50, 3, 3, Bars{FPS: 20, Spread: 2}),
	}
}

// Others are the same 2.5 Mbit/s link without the rules, for comparison: quality 80 with a queue of so many pictures
// and the socket's own buffer, no credit.
func Others(queue int) Case {
	return Case{Name: fmt.Sprintf("no credit, quality 80, a queue of %d", queue), Make: func(seed uint64) Scenario {
		s := minute(seed, Link(2.5, 20*ms))
		s.Fixed, s.Limits, s.Blind = true, adapt.Limits{Min: 80, Max: 80}, queue
		return s
	}}
}
