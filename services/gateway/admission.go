package gateway

import "sync/atomic"

// admission counts viewers in and out. It is exact, however many come at once, and safe for concurrent use.
type admission struct {
	limit int64
	n     atomic.Int64
}

// enter takes a place, if there is one.
func (a *admission) enter() bool {
	if a.n.Add(1) > a.limit {
		a.n.Add(-1)
		return false
	}
	return true
}

func (a *admission) leave() { a.n.Add(-1) }

func (a *admission) now() int64 { return min(a.n.Load(), a.limit) }
