package origin

import (
	"slices"
	"strings"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/internal/presence"
	"go.opentelemetry.io/otel/trace"
)

const (
	// usualWindow is how far back the usual time of an encoder looks, and firstUsual what it is while nothing is known.
	usualWindow = 2 * time.Second
	firstUsual  = 250 * time.Millisecond
	// usualLimit keeps one that was frozen from being waited for as long again.
	usualLimit = 2 * time.Second
	// patience is how long past its usual time an encoder is waited for.
	patience = 250 * time.Millisecond
	// notWaiting is how long a frame may lie in an encoder for it to count as one with idle workers.
	notWaiting = 5 * time.Millisecond
	probeEvery = time.Second
	// tryAgain is after how long an encoder that nobody listened for gets a frame again: one that starts is heard of
	// before the server knows its subscription, and a refused frame costs nothing, for it is handed on.
	tryAgain = 150 * time.Millisecond

	maxPeers   = 256
	maxMapped  = 256
	maxWorkers = 1024 // of one encoder; a forged Status must not open the flood gates
	// maxSamples of one encoder: the usual window at the highest rate of one source.
	maxSamples = 512
	// maxLate bounds the frames no longer waited for whose Done still teaches the usual time; the oldest is forgotten.
	maxLate = 16
)

// regionID names a region of shared memory.
type regionID = [16]byte

// frameID names a frame of this stream.
type frameID struct{ epoch, sequence uint64 }

// sent is a frame at an encoder, and when it went there.
type sent struct {
	frameID
	at   time.Time
	span trace.SpanContext // of its publishing, where it is traced
}

// doubt says why an encoder gets no frames for now.
type doubt uint8

const (
	trusted doubt = iota
	silent        // it did not answer in time: until it answers, be it a probe
	refused       // nobody listened: for tryAgain, or until it is heard again
)

// peer is an encoder, as one origin knows it.
type peer struct {
	name     string
	run      uint64
	workers  int
	draining bool
	heard    time.Time

	open     []sent     // oldest first; bound: workers
	late     []sent     // bound: maxLate
	mapped   []regionID // bound: maxMapped; more are not looked at
	lastDone time.Time
	waited   time.Duration // its last frame, for a worker
	took     []sample      // oldest first; bound: maxSamples

	doubt    doubt
	doubted  time.Time
	lastPing time.Time
}

type sample struct {
	at   time.Time
	took time.Duration
}

// credit knows which encoders there are, what they have in hand, and so which one gets the next frame. It is a pure
// function of what it is told: no clock, no network, no lock.
type credit struct{ peers []*peer }

func (c *credit) peer(name string) *peer {
	for _, p := range c.peers {
		if p.name == name {
			return p
		}
	}
	return nil
}

// hear takes note of an encoder's Status and returns the frames that nobody will answer any more: a new run of a name
// knows nothing of what the old one had.
func (c *credit) hear(name string, run uint64, workers int, draining bool, at time.Time) (lost []frameID) {
	p := c.peer(name)
	if p == nil {
		if len(c.peers) >= maxPeers {
			return nil
		}
		p = &peer{name: name, run: run}
		c.peers = append(c.peers, p)
	}
	if run < p.run {
		return nil // the later started of two of one name ends; until then the older one's word is no news
	}
	if run > p.run {
		lost = p.lose(nil)
		*p = peer{name: name, run: run}
	}
	p.heard, p.draining = at, draining
	p.workers = min(max(workers, 0), maxWorkers)
	if p.doubt == refused && at.After(p.doubted) {
		p.doubt = trusted
	}
	return lost
}

// hearMapped takes note of the regions of shared memory that an encoder has mapped.
func (c *credit) hearMapped(name string, run uint64, ids [][]byte) {
	p := c.peer(name)
	if p == nil || p.run != run {
		return
	}
	p.mapped = p.mapped[:0]
	for _, id := range ids[:min(len(ids), maxMapped)] {
		if len(id) == len(regionID{}) {
			p.mapped = append(p.mapped, regionID(id))
		}
	}
}

// hasMapped tells whether an encoder can read what lies in the region.
func (c *credit) hasMapped(name string, id regionID) bool {
	p := c.peer(name)
	return p != nil && slices.Contains(p.mapped, id)
}

// pick chooses who gets the next frame: fewest open, then not waiting, then longest since its last Done, then by name.
func (c *credit) pick(now time.Time) (name string, ok bool) {
	var best *peer
	for _, p := range c.peers {
		if p.takes(now) && (best == nil || p.before(best)) {
			best = p
		}
	}
	if best == nil {
		return "", false
	}
	return best.name, true
}

// takes tells whether a frame may be sent to it now.
func (p *peer) takes(now time.Time) bool {
	if p.doubt == silent || p.doubt == refused && now.Sub(p.doubted) < tryAgain {
		return false
	}
	return !p.draining && len(p.open) < p.workers
}

// anybody tells whether there is an encoder at all, busy or not.
func (c *credit) anybody() bool {
	return slices.ContainsFunc(c.peers, func(p *peer) bool { return p.doubt == trusted && !p.draining })
}

func (p *peer) before(q *peer) bool {
	if len(p.open) != len(q.open) {
		return len(p.open) < len(q.open)
	}
	if pw, qw := p.waited > notWaiting, q.waited > notWaiting; pw != qw {
		return qw
	}
	if !p.lastDone.Equal(q.lastDone) {
		return p.lastDone.Before(q.lastDone)
	}
	return p.name < q.name
}

// sent opens a frame at an encoder.
func (c *credit) sent(name string, s sent) {
	if p := c.peer(name); p != nil {
		p.open = append(p.open, s)
	}
}

// answered is what a Done meant.
type answered struct {
	sent
	booked bool          // it was open, and now is not
	took   time.Duration // from sending it until its Done
}

// done takes note of a Done and gives its credit back. Duplicates, unknown and foreign ones change nothing.
func (c *credit) done(d *pb.Done, now time.Time) answered {
	p := c.peer(d.GetEncoder())
	if p == nil || p.run != d.GetRun() {
		return answered{}
	}
	if d.GetFate() == pb.Fate_FATE_PROBE {
		p.doubt = trusted
		return answered{}
	}
	is := func(s sent) bool { return s.epoch == d.GetEpoch() && s.sequence == d.GetSequence() }
	if i := slices.IndexFunc(p.late, is); i >= 0 {
		p.learn(now, now.Sub(p.late[i].at))
		p.late = slices.Delete(p.late, i, i+1)
		p.doubt = trusted // slow, not gone; and now it is known how slow
		return answered{}
	}
	i := slices.IndexFunc(p.open, is)
	if i < 0 {
		return answered{}
	}
	p.doubt = trusted
	a := answered{sent: p.open[i], booked: true, took: now.Sub(p.open[i].at)}
	p.open = slices.Delete(p.open, i, i+1)
	p.lastDone = now
	p.waited = time.Duration(d.GetWaitedUs()) * time.Microsecond
	p.learn(now, a.took)
	return a
}

func (p *peer) learn(now time.Time, took time.Duration) {
	old := 0
	for old < len(p.took) && (now.Sub(p.took[old].at) > usualWindow || len(p.took)-old >= maxSamples) {
		old++
	}
	p.took = append(slices.Delete(p.took, 0, old), sample{now, took})
}

// usual is how long this encoder takes for 95 of 100 frames.
func (p *peer) usual(now time.Time) time.Duration {
	var took []time.Duration
	for _, s := range p.took {
		if now.Sub(s.at) <= usualWindow {
			took = append(took, s.took)
		}
	}
	if len(took) == 0 {
		return firstUsual
	}
	slices.Sort(took)
	return min(took[(len(took)*95+99)/100-1], usualLimit)
}

// lose gives up on all frames at an encoder and appends them to lost.
func (p *peer) lose(lost []frameID) []frameID {
	for _, s := range p.open {
		lost = append(lost, s.frameID)
	}
	p.late = append(p.late, p.open...)
	if n := len(p.late); n > maxLate {
		p.late = slices.Delete(p.late, 0, n-maxLate)
	}
	p.open = p.open[:0]
	return lost
}

// nobody takes note that no one listens where frames for an encoder go.
func (c *credit) nobody(name string, now time.Time) (lost []frameID) {
	p := c.peer(name)
	if p == nil {
		return nil
	}
	p.doubt, p.doubted = refused, now
	return p.lose(nil)
}

// reconnected takes note of a new connection to the bus: what was sent before may never have gone out, and whoever did
// not answer may never have been asked.
func (c *credit) reconnected() (lost []frameID) {
	for _, p := range c.peers {
		lost = p.lose(lost)
		p.doubt = trusted
	}
	return lost
}

// tick gives up on encoders that are 250 ms past their usual time, and forgets those that have been silent for two
// seconds; since is when this side's own connection came up, zero while there is none.
func (c *credit) tick(now, since time.Time) (lost []frameID) {
	for _, p := range c.peers {
		if len(p.open) == 0 {
			continue
		}
		if age := now.Sub(p.open[0].at); age > patience && age > p.usual(now)+patience {
			lost = p.lose(lost)
			p.doubt, p.lastPing = silent, time.Time{}
		}
	}
	if since.IsZero() {
		return lost
	}
	c.peers = slices.DeleteFunc(c.peers, func(p *peer) bool {
		gone := now.Sub(p.heard) > presence.Silence && now.Sub(since) > presence.Silence
		if gone {
			lost = p.lose(lost)
		}
		return gone
	})
	return lost
}

// probes names the encoders that let a frame's time pass and are to be asked now whether they are there.
func (c *credit) probes(now time.Time) (names []string) {
	for _, p := range c.peers {
		if p.doubt == silent && !p.draining && now.Sub(p.lastPing) >= probeEvery {
			p.lastPing = now
			names = append(names, p.name)
		}
	}
	return names
}

// opened is the number of an epoch's frames that are at encoders.
func (c *credit) opened(epoch uint64) (n int) {
	for _, p := range c.peers {
		for _, s := range p.open {
			if s.epoch == epoch {
				n++
			}
		}
	}
	return n
}

// holds tells whether a frame is open at an encoder.
func (c *credit) holds(name string, id frameID) bool {
	p := c.peer(name)
	return p != nil && slices.ContainsFunc(p.open, func(s sent) bool { return s.frameID == id })
}

// fateWord is a fate as the book spells it.
func fateWord(f pb.Fate) string {
	return strings.ToLower(strings.TrimPrefix(f.String(), "FATE_"))
}
