package origin

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

const (
	// grace is how far past its usual time an encoder may be before its frames count as unanswered.
	grace = 250 * time.Millisecond
	// usualAtFirst stands for the usual time of an encoder that has not answered lately.
	usualAtFirst = 250 * time.Millisecond
	// usualOver is how far back the usual time looks.
	usualOver = 2 * time.Second
	// waitedMuch: an encoder whose last frame waited longer has work from others.
	waitedMuch = 5 * time.Millisecond
	probeEvery = time.Second
	// tryAgain is after how long an encoder that nobody listened for gets a frame again.
	tryAgain = 150 * time.Millisecond
	// silentFor is after how long without Status an encoder that holds nothing is forgotten.
	silentFor = 2 * time.Second
)

// key is a frame's place in its stream.
type key struct{ epoch, sequence uint64 }

// credit decides which encoder gets the next frame. It is pure: times are told, counted from any fixed moment. An
// encoder has room while fewer of this origin's frames are open with it than it has workers.
type credit struct{ encoders map[string]*encoder }

type encoder struct {
	name     string
	run      uint64
	workers  int
	draining bool
	away     time.Duration // until when nobody is taken to listen in its name
	late     bool // it let a frame's time pass; until it answers anything
	heard    time.Duration
	lastDone time.Duration
	waited   time.Duration // of its last answer
	probed   time.Duration
	open     []open   // in the order sent
	answers  []answer // of the last usualOver
}

type open struct {
	key
	at time.Duration
}

type answer struct{ at, took time.Duration }

func newCredit() credit { return credit{encoders: map[string]*encoder{}} }

// Status hears an encoder. It returns the frames that a former run of it takes to the grave.
func (c *credit) Status(name string, run uint64, workers int, draining bool, now time.Duration) (lost []key) {
	e := c.encoders[name]
	if e != nil && run < e.run {
		return nil
	}
	if e == nil || e.run != run {
		if e != nil {
			lost = e.giveUp()
		}
		e = &encoder{name: name, run: run}
		c.encoders[name] = e
	}
	e.workers, e.draining, e.heard = workers, draining, now
	return lost
}

// Pick chooses who gets the next frame: fewest open, then not waiting, then longest since its last answer, then name.
// Idle-longest-first alone would feed a frozen one.
func (c *credit) Pick(now time.Duration) (name string, ok bool) {
	var best *encoder
	for _, e := range c.encoders {
		if e.draining || now < e.away || e.late || len(e.open) >= e.workers {
			continue
		}
		if best == nil || e.before(best) {
			best = e
		}
	}
	if best == nil {
		return "", false
	}
	return best.name, true
}

func (e *encoder) before(f *encoder) bool {
	busy := func(e *encoder) int {
		if e.waited > waitedMuch {
			return 1
		}
		return 0
	}
	return cmp.Or(
		cmp.Compare(len(e.open), len(f.open)),
		cmp.Compare(busy(e), busy(f)),
		cmp.Compare(e.lastDone, f.lastDone),
		cmp.Compare(e.name, f.name),
	) < 0
}

// Sent notes that the encoder has the frame now.
func (c *credit) Sent(name string, k key, now time.Duration) {
	if e := c.encoders[name]; e != nil {
		e.open = append(e.open, open{k, now})
	}
}

// Done hears an answer and tells whether it answers an open frame: duplicates, strangers and late ones do not.
func (c *credit) Done(name string, run uint64, k key, waited, now time.Duration) bool {
	e := c.encoders[name]
	if e == nil || e.run != run {
		return false
	}
	e.late, e.away = false, 0
	i := slices.IndexFunc(e.open, func(o open) bool { return o.key == k })
	if i < 0 {
		return false
	}
	e.answers = append(e.answers, answer{now, now - e.open[i].at})
	for len(e.answers) > 0 && now-e.answers[0].at > usualOver {
		e.answers = e.answers[1:]
	}
	e.open = slices.Delete(e.open, i, i+1)
	e.lastDone, e.waited = now, waited
	return true
}

// Probed hears the answer to a probe.
func (c *credit) Probed(name string, run uint64) {
	if e := c.encoders[name]; e != nil && e.run == run {
		e.late, e.away = false, 0
	}
}

// Nobody hears that no one listens in the encoder's name, and returns the frames it had. It is tried again soon: an
// encoder that starts is heard of before the server knows its subscription.
func (c *credit) Nobody(name string, now time.Duration) []key {
	e := c.encoders[name]
	if e == nil {
		return nil
	}
	e.away = now + tryAgain
	return e.giveUp()
}

// Reconnected hears that the bus was away: what was open will not be answered. It returns all of it.
func (c *credit) Reconnected() (lost []key) {
	for _, name := range slices.Sorted(maps.Keys(c.encoders)) {
		e := c.encoders[name]
		e.late = false // it may answer in time now that there is a bus
		lost = append(lost, e.giveUp()...)
	}
	return lost
}

// Expire returns the frames whose time has passed. Their encoders get none until they answer a probe.
func (c *credit) Expire(now time.Duration) (lost []key) {
	for name, e := range c.encoders {
		if len(e.open) > 0 && now > e.open[0].at+e.usual(now)+grace {
			e.late = true
			e.probed = now
			lost = append(lost, e.giveUp()...)
		}
		if len(e.open) == 0 && now-e.heard > silentFor && !e.late {
			delete(c.encoders, name)
		}
		if e.late && now-e.heard > 30*silentFor {
			delete(c.encoders, name)
		}
	}
	return lost
}

// Probes returns the encoders that are due for a probe.
func (c *credit) Probes(now time.Duration) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(c.encoders)) {
		if e := c.encoders[name]; e.late && !e.draining && now-e.probed >= probeEvery {
			e.probed = now
			names = append(names, name)
		}
	}
	return names
}

// Open is the number of frames without an answer.
func (c *credit) Open() (n int) {
	for _, e := range c.encoders {
		n += len(e.open)
	}
	return n
}

// usual is the time that nearly all of its answers took lately.
func (e *encoder) usual(now time.Duration) time.Duration {
	took := make([]time.Duration, 0, len(e.answers))
	for _, a := range e.answers {
		if now-a.at <= usualOver {
			took = append(took, a.took)
		}
	}
	if len(took) == 0 {
		return usualAtFirst
	}
	slices.Sort(took)
	return took[(len(took)*95-1)/100]
}

func (e *encoder) giveUp() []key {
	keys := make([]key, len(e.open))
	for i, o := range e.open {
		keys[i] = o.key
	}
	e.open = e.open[:0]
	return keys
}
