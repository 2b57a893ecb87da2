package gateway

import "sync"

// admission counts viewers in and out. It is exact, however many come at once, and safe for concurrent use.
type admission struct {
	limit int

	mu     sync.Mutex
	n      int
	closed bool
	empty  chan struct{} // made by close; closed when the last one has left
}

// enter takes a place, if there is one.
func (a *admission) enter() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.n >= a.limit {
		return false
	}
	a.n++
	return true
}

// leave gives a place back.
func (a *admission) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n--
	if a.closed && a.n == 0 {
		close(a.empty)
	}
}

// close lets nobody in any more. It returns what is closed once the last one has left, and is called once.
func (a *admission) close() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed, a.empty = true, make(chan struct{})
	if a.n == 0 {
		close(a.empty)
	}
	return a.empty
}

func (a *admission) now() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n
}

func (a *admission) full() bool { return a.now() >= a.limit }
