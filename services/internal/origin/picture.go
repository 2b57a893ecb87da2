package origin

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"go.opentelemetry.io/otel/trace"
)

// picture is a frame on its way through the origin: pixels behind room for the header, so that it is published as it
// stands. It has one owner at a time.
type picture struct {
	buf    []byte // header and pixels
	header frame.Header
	at     time.Time // of capture
	// encoded: it is for an encoder, not only for raw readers.
	encoded bool
	// booked as published: a refused frame that is handed on is not published twice.
	booked bool

	sampled     bool // the sampler has looked at it
	span        trace.Span
	traceparent string

	home *pool
}

func (p *picture) pixels() []byte { return p.buf[frame.HeaderLen:] }

func (p *picture) key() key { return key{p.header.Epoch, p.header.Sequence} }

// release gives its memory back. A nil picture has none.
func (p *picture) release() {
	if p != nil {
		p.home.put(p)
	}
}

// pool keeps the memory of the few pictures that an origin has at a time: filling, in the mailbox, pending, and last.
type pool struct {
	mu   sync.Mutex
	free []*picture // bound: poolBound; what is given back beyond it is the garbage collector's
	made atomic.Int64
}

const poolBound = 5

func newPool() *pool { return &pool{free: make([]*picture, 0, poolBound)} }

// get returns a picture with room for n bytes of pixels.
func (q *pool) get(n int) *picture {
	q.mu.Lock()
	var p *picture
	if last := len(q.free) - 1; last >= 0 {
		p, q.free = q.free[last], q.free[:last]
	}
	q.mu.Unlock()
	if p == nil || cap(p.buf) < frame.HeaderLen+n {
		q.made.Add(1)
		p = &picture{buf: make([]byte, frame.HeaderLen+n)}
	}
	*p = picture{buf: p.buf[:frame.HeaderLen+n], home: q}
	return p
}

func (q *pool) put(p *picture) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.free) < poolBound {
		q.free = append(q.free, p)
	}
}
