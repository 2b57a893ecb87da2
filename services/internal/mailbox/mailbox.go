// Package mailbox hands values from one goroutine to another without ever making the giver wait: it is bounded, the
// newest wins, and whoever puts is told what was displaced. It knows nothing of pictures.
package mailbox

import (
	"context"
	"sync"
)

// Queue holds up to its bound of values, in order. It is safe for concurrent use.
type Queue[T any] struct {
	ready chan struct{} // holds a token while there may be a value

	mu    sync.Mutex
	ring  []T // bound: the length given to NewQueue; when full the oldest is displaced
	first int
	n     int
}

// NewQueue makes a queue of at most bound values, bound ≥ 1.
func NewQueue[T any](bound int) *Queue[T] {
	return &Queue[T]{ready: make(chan struct{}, 1), ring: make([]T, max(bound, 1))}
}

// Put adds v. Where the queue was full it returns the oldest value, which is no longer in it.
func (q *Queue[T]) Put(v T) (old T, displaced bool) {
	q.mu.Lock()
	if q.n == len(q.ring) {
		old, displaced = q.pop(), true
	}
	q.ring[(q.first+q.n)%len(q.ring)] = v
	q.n++
	q.mu.Unlock()
	q.signal()
	return old, displaced
}

// TryTake returns the oldest value, if there is one.
func (q *Queue[T]) TryTake() (v T, ok bool) {
	q.mu.Lock()
	if ok = q.n > 0; ok {
		v = q.pop()
	}
	more := q.n > 0
	q.mu.Unlock()
	if more {
		q.signal()
	}
	return v, ok
}

// TryTakeNewest returns the newest value, if there is one, and leaves the others.
func (q *Queue[T]) TryTakeNewest() (v T, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n == 0 {
		return v, false
	}
	var zero T
	q.n--
	i := (q.first + q.n) % len(q.ring)
	v, q.ring[i] = q.ring[i], zero
	return v, true
}

// Take waits for a value.
func (q *Queue[T]) Take(ctx context.Context) (T, error) {
	for {
		if v, ok := q.TryTake(); ok {
			return v, nil
		}
		select {
		case <-q.ready:
		case <-ctx.Done():
			var zero T
			return zero, ctx.Err()
		}
	}
}

// Ready yields a token when there may be a value: take until there is none, then wait for the next.
func (q *Queue[T]) Ready() <-chan struct{} { return q.ready }

// Len is the number of values in the queue.
func (q *Queue[T]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n
}

func (q *Queue[T]) pop() T {
	var zero T
	v := q.ring[q.first]
	q.ring[q.first] = zero // a taken value must not be kept alive
	q.first = (q.first + 1) % len(q.ring)
	q.n--
	return v
}

func (q *Queue[T]) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// Latest is a queue of one: what is taken is always the newest.
type Latest[T any] struct{ Queue[T] }

// NewLatest makes an empty one.
func NewLatest[T any]() *Latest[T] {
	return &Latest[T]{Queue[T]{ready: make(chan struct{}, 1), ring: make([]T, 1)}}
}
