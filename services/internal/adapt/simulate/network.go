// Package simulate drives the rules of package adapt over synthetic networks in virtual time: streams, encoders,
// gateways and viewers are models, the rules are the very ones that run. It is what the rules are found wrong by.
package simulate

import (
	"math"
	"math/rand/v2"
	"time"
)

// Network is one viewer's way from the gateway. What it is given arrives, and in order.
type Network struct {
	Rate func(t time.Duration) float64 // bytes a second, of a moment
	RTT  func(t time.Duration) time.Duration
	// Bucket lets so many bytes pass at once before Rate shows; 0: none.
	Bucket float64
	// Proxy takes so many bytes off the gateway's hands at 100 Mbit/s, in front of Rate; 0: none.
	Proxy float64
	Pongs Pongs

	free    time.Duration // when the line has carried what it was given
	tokens  float64
	filled  time.Duration
	queue   []queued // in the proxy
	queued  float64
	entered time.Duration
	arrived time.Duration // what was sent last
	back    time.Duration // what was answered last
}

// Pongs is how a client, or what stands before it, answers pings.
type Pongs struct {
	// Lost of the pings get no answer.
	Lost float64
	// Thinned of the pings are answered by the next one's answer (RFC 6455, 5.5.3), or after 50 ms without a next one.
	Thinned float64
	// Every so long the latest ping is answered, and no other; 0: each at once.
	Every time.Duration
	// ByProxy: the proxy answers, whatever the client has read.
	ByProxy bool
	// Painted: the client tells what it paints.
	Painted bool
}

type queued struct {
	until time.Duration
	bytes float64
}

// quantum is the step in which a rate that changes is followed.
const quantum = 2 * time.Millisecond

const proxyRate = 100e6 / 8

// carry is when a message of so many bytes that is given to the way at t is read at its end, and when the proxy, if
// there is one, has it.
func (n *Network) carry(t time.Duration, bytes int) (arrives, enters time.Duration) {
	enters = t
	if n.Proxy > 0 {
		enters = n.enter(t, float64(bytes))
	}
	left := n.leave(enters, float64(bytes))
	if n.Proxy > 0 {
		n.queue = append(n.queue, queued{left, float64(bytes)})
		n.queued += float64(bytes)
	}
	n.arrived = max(n.arrived, left+n.RTT(left)/2)
	return n.arrived, enters
}

// answer is when a pong that is sent at t is read by the gateway.
func (n *Network) answer(t time.Duration) time.Duration {
	n.back = max(n.back, t+n.RTT(t)/2)
	return n.back
}

// enter waits for room in the proxy.
func (n *Network) enter(t time.Duration, bytes float64) time.Duration {
	at := max(t, n.entered) + time.Duration(bytes/proxyRate*float64(time.Second))
	for len(n.queue) > 0 && (n.queue[0].until <= at || n.queued+bytes > n.Proxy) {
		at = max(at, n.queue[0].until)
		n.queued -= n.queue[0].bytes
		n.queue = n.queue[1:]
	}
	n.entered = at
	return at
}

// leave is when the line has carried so many bytes that it is given at t.
func (n *Network) leave(t time.Duration, left float64) time.Duration {
	at := max(t, n.free)
	if n.Bucket > 0 {
		n.tokens = min(n.Bucket, n.tokens+n.Rate(at)*max(0, at-n.filled).Seconds())
		burst := min(left, n.tokens)
		n.tokens -= burst
		left -= burst
	}
	for left > 0 {
		rate := n.Rate(at)
		step := quantum - at%quantum
		if rate > 0 {
			if need := time.Duration(left / rate * float64(time.Second)); need <= step {
				at += max(need, 1)
				break
			}
		}
		left -= rate * step.Seconds()
		at += step
	}
	n.free, n.filled = at, at
	return at
}

// Mbit is a steady rate in Mbit/s.
func Mbit(m float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return m * 1e6 / 8 }
}

// Steady is a round trip that does not change.
func Steady(d time.Duration) func(time.Duration) time.Duration {
	return func(time.Duration) time.Duration { return d }
}

// Jumps changes round trips every so long, over and over.
func Jumps(every time.Duration, rtts ...time.Duration) func(time.Duration) time.Duration {
	return func(t time.Duration) time.Duration { return rtts[int(t/every)%len(rtts)] }
}

// Steps changes rates, in Mbit/s, every so long, over and over.
func Steps(every time.Duration, mbit ...float64) func(time.Duration) float64 {
	return func(t time.Duration) float64 { return mbit[int(t/every)%len(mbit)] * 1e6 / 8 }
}

// Ramp goes from one rate to another and back, in Mbit/s, once every period.
func Ramp(period time.Duration, from, to float64) func(time.Duration) float64 {
	return func(t time.Duration) float64 {
		x := float64(t%period) / float64(period)
		return (from + (to-from)*(1-math.Abs(2*x-1))) * 1e6 / 8
	}
}

// Sawtooth rises from one rate to another, in Mbit/s, and falls at once.
func Sawtooth(period time.Duration, from, to float64) func(time.Duration) float64 {
	return func(t time.Duration) float64 {
		return (from + (to-from)*float64(t%period)/float64(period)) * 1e6 / 8
	}
}

// LTE walks at random between bounds in Mbit/s, a step every 200 ms, with outages of half a second now and then.
func LTE(seed uint64, low, high float64) func(time.Duration) float64 {
	const step, steps = 200 * time.Millisecond, 3000
	r := rand.New(rand.NewPCG(seed, 7))
	walk := make([]float64, steps)
	at := (low + high) / 2
	for i := range walk {
		at = min(max(at*math.Exp(r.NormFloat64()*0.15), low), high)
		walk[i] = at
	}
	for i := 50; i < steps; i += 100 + r.IntN(100) {
		for j := i; j < min(i+3, steps); j++ {
			walk[j] = 0.01
		}
	}
	return func(t time.Duration) float64 { return walk[int(t/step)%steps] * 1e6 / 8 }
}
