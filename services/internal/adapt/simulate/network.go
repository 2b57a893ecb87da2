// Package simulate drives the rules of package adapt over synthetic networks in virtual time: streams, encoders,
// gateways and viewers are models, the rules are the very ones that run. It is what the rules are found wrong by.
package simulate

import (
	"math"
	"math/rand/v2"
	"time"
)

// Network is one viewer's way from the gateway. Rate is in bytes a second, of a moment; RTT the round trip of nothing.
type Network struct {
	Rate func(t time.Duration) float64
	RTT  func(t time.Duration) time.Duration
	// Bucket lets so many bytes pass at once before Rate shows; 0: none.
	Bucket float64

	free   time.Duration // when the line has carried what it was given
	tokens float64
	filled time.Duration
}

// quantum is the step in which a rate that changes is followed.
const quantum = time.Millisecond

// carry is when a message of so many bytes that is given to the line at t has left it.
func (n *Network) carry(t time.Duration, bytes int) time.Duration {
	at := max(t, n.free)
	left := float64(bytes)
	if n.Bucket > 0 {
		n.tokens = min(n.Bucket, n.tokens+n.Rate(at)*max(0, at-n.filled).Seconds())
		burst := min(left, n.tokens)
		n.tokens -= burst
		left -= burst
		n.filled = at
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
	n.free = at
	if n.Bucket > 0 {
		n.filled = at
	}
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
