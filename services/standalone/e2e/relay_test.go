//go:build e2e

package e2e

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// relay is a network in between: it carries TCP connections to a target, downstream at a rate that can be changed, and
// each way with half a round trip of delay. It is a proxy, so its small buffers are what the kernel gives at least.
// Set before the first connection, reverse makes it upstream that has the rate.
type relay struct {
	reverse atomic.Bool
	l       net.Listener
	target  string
	delay   time.Duration // one way
	rate    atomic.Int64  // bytes a second
	until   atomic.Int64  // unix ns until when nothing is carried
	mu      sync.Mutex
	conns   []net.Conn
	wg      sync.WaitGroup
}

const (
	relayPiece = 1448 // bytes carried at once, as a packet of Ethernet
	// The loopback sends up to 64 KB at once: with less room than that it falls into time-outs of its own.
	relayBuffer = 128 << 10
	relayDepth  = 4096 // pieces under way
	// A sleep lasts longer than it should: what it overslept while there was something to carry is caught up with.
	relayCatchUp = 50 * time.Millisecond
	relayGrain   = time.Millisecond
)

// startRelay starts one in front of a target address; mbit is its rate in Mbit/s.
func startRelay(t *testing.T, target string, mbit float64, rtt time.Duration) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{l: l, target: target, delay: rtt / 2}
	r.set(mbit)
	r.wg.Go(r.serve)
	t.Cleanup(func() {
		_ = l.Close()
		r.mu.Lock()
		for _, c := range r.conns {
			_ = c.Close()
		}
		r.mu.Unlock()
		r.wg.Wait()
	})
	return r
}

func (r *relay) addr() string { return r.l.Addr().String() }

func (r *relay) set(mbit float64) { r.rate.Store(int64(mbit * 1e6 / 8)) }

// stall carries nothing for a while.
func (r *relay) stall(d time.Duration) { r.until.Store(time.Now().Add(d).UnixNano()) }

func (r *relay) serve() {
	for {
		down, err := r.l.Accept()
		if err != nil {
			return
		}
		up, err := net.Dial("tcp", r.target)
		if err != nil {
			_ = down.Close()
			continue
		}
		for _, c := range []net.Conn{down, up} {
			_ = c.(*net.TCPConn).SetReadBuffer(relayBuffer)
			_ = c.(*net.TCPConn).SetWriteBuffer(relayBuffer)
		}
		r.mu.Lock()
		r.conns = append(r.conns, down, up)
		r.mu.Unlock()
		r.carry(up, down, !r.reverse.Load())
		r.carry(down, up, r.reverse.Load())
	}
}

type piece struct {
	b  []byte
	at time.Time // when it arrives
}

// carry takes bytes from one to the other, at the rate if it is shaped, and late by the delay.
func (r *relay) carry(from, to net.Conn, shaped bool) {
	way := make(chan piece, relayDepth)
	r.wg.Go(func() {
		defer close(way)
		free := time.Now()
		for {
			b := make([]byte, relayPiece)
			asked := time.Now()
			n, err := from.Read(b)
			if n > 0 {
				now := time.Now()
				if idle := now.Sub(asked) > relayGrain; now.Sub(free) > relayCatchUp || idle && now.After(free) {
					free = now
				}
				if shaped {
					free = free.Add(time.Duration(float64(n) / float64(max(r.rate.Load(), 1)) * float64(time.Second)))
					if ahead := free.Sub(now); ahead > relayGrain {
						rest(ahead) // the line is busy with it; nothing more is read meanwhile
					}
				}
				way <- piece{b[:n], now.Add(max(free.Sub(now), 0) + r.delay)}
			}
			if err != nil {
				return
			}
		}
	})
	r.wg.Go(func() {
		defer to.Close()
		for p := range way {
			rest(time.Until(p.at))
			rest(time.Until(time.Unix(0, r.until.Load())))
			if _, err := to.Write(p.b); err != nil {
				_ = from.Close()
				_, _ = io.Copy(io.Discard, from)
				for range way { // until the reader sees it
				}
				return
			}
		}
	})
}

// rest waits: a relay is a clock.
func rest(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}
