package bus

import (
	"errors"
	"net"
	"sync"
	"time"
)

const (
	// repeatEvery is how often the same cause is logged while the bus cannot be reached, tellEvery how often any.
	repeatEvery = time.Minute
	tellEvery   = time.Second
)

// refusal is why the bus could not be reached, as it was logged last: attempts are made several times a second.
type refusal struct {
	mu    sync.Mutex
	cause string
	at    time.Time
}

// news tells whether a cause is worth a line now.
func (r *refusal) news(err error, now time.Time) bool {
	cause := err.Error()
	var op *net.OpError
	if errors.As(err, &op) { // of several servers each has its own address
		cause = op.Err.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	quiet := tellEvery
	if cause == r.cause {
		quiet = repeatEvery
	}
	if !r.at.IsZero() && now.Sub(r.at) < quiet {
		return false
	}
	r.cause, r.at = cause, now
	return true
}

// notReached says why there is no connection: that a password or a certificate is wrong shows nowhere else.
func (c *Conn) notReached(err error) {
	if !c.ending.Load() && c.refusal.news(err, time.Now()) {
		c.log.Warn("bus not reached", "error", err)
	}
}
