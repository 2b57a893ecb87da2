package encoder

import (
	"sync"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/services/internal/shm"
	"go.opentelemetry.io/otel/trace"
)

// job is a raw frame on its way through the encoder. Payload belongs to whoever holds the job, and where the frame
// refers to shared memory it lies there, until release.
type job struct {
	stream   *stream
	reply    string // where its Done goes; empty where nobody is owed one
	parent   string // traceparent
	head     frame.Header
	payload  []byte
	pixels   shm.Pixels // what payload is of, where refers
	region   [16]byte   // that they are in
	refers   bool
	bytes    int // of the whole message
	received moment
	span     trace.Span // of a sampled frame that is being worked on, else nil
	err      error      // what was wrong with it, for its trace
}

// intact fails where payload lies in shared memory and is not the frame that was meant any more.
func (j *job) intact() error {
	if !j.refers {
		return nil
	}
	return j.pixels.Check()
}

// release says that payload is not read any more where it lies in shared memory.
func (j *job) release() {
	if j.refers {
		j.pixels.Release()
		j.pixels, j.payload, j.refers = shm.Pixels{}, nil, false
	}
}

// copied is for whoever has made a copy of payload and reads that from now on.
func (j *job) copied() error {
	err := j.intact()
	j.release()
	return err
}

// perStream bounds the frames of a stream that wait for a worker; when full the oldest is displaced.
const perStream = 2

// line is a stream's place in turns, which owns it.
type line struct {
	jobs [perStream]job
	n    int
}

func (l *line) pop(i int) job {
	j := l.jobs[i]
	copy(l.jobs[i:], l.jobs[i+1:l.n])
	l.n--
	l.jobs[l.n] = job{} // a taken payload must not be kept alive
	return j
}

// turns hands frames to the workers, stream by stream in turn. While there are workers for all that wait, a stream's
// frames go in their order. When there are not, its newest goes, and what is older is given up: encoded later it would
// come too late, and left lying it would keep its origin's credit. It is safe for concurrent use.
type turns struct {
	mu      sync.Mutex
	some    sync.Cond
	ring    []*stream // with frames; the first is next
	total   int       // frames that wait
	waiting int       // workers that wait
	closed  bool
}

func newTurns() *turns {
	t := &turns{}
	t.some.L = &t.mu
	return t
}

// put adds a frame and returns the one that it displaced.
func (t *turns) put(j job) (old job, displaced bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := &j.stream.line
	switch l.n {
	case 0:
		t.ring = append(t.ring, j.stream)
	case perStream:
		old, displaced = l.pop(0), true
		t.total--
	}
	l.jobs[l.n] = j
	l.n++
	t.total++
	t.some.Signal()
	return old, displaced
}

// take waits for a frame. It also returns the older one that is given up for it, if any, and false once closed.
func (t *turns) take() (j, old job, displaced, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.total == 0 && !t.closed {
		t.waiting++
		t.some.Wait()
		t.waiting--
	}
	if t.closed {
		return j, old, false, false
	}
	s := t.ring[0]
	copy(t.ring, t.ring[1:])
	t.ring = t.ring[:len(t.ring)-1]
	if behind := t.total > t.waiting+1; behind && s.line.n > 1 {
		old, displaced = s.line.pop(0), true
		t.total--
	}
	j = s.line.pop(0)
	t.total--
	if s.line.n > 0 {
		t.ring = append(t.ring, s)
	}
	return j, old, displaced, true
}

// quiet tells whether nothing waits and so many workers have nothing to do.
func (t *turns) quiet(workers int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.total == 0 && t.waiting == workers
}

// close sends the workers home and returns the frames that are left.
func (t *turns) close() []job {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.some.Broadcast()
	var rest []job
	for _, s := range t.ring {
		for s.line.n > 0 {
			rest = append(rest, s.line.pop(0))
		}
	}
	t.ring, t.total = nil, 0
	return rest
}
