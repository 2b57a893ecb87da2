package bus

import (
	"errors"
	"net"
	"sync"
	"time"
)

const (
	// repeatEvery is how often the same cause is logged while it lasts, tellEvery how often any.
	repeatEvery = time.Minute
	tellEvery   = time.Second
)

// news is what was logged last of what can go wrong many times a second: attempts to connect, messages refused.
type news struct {
	mu    sync.Mutex
	cause string
	at    time.Time
}

// worth tells whether a cause is worth a line now.
func (n *news) worth(err error, now time.Time) bool {
	cause := err.Error()
	var op *net.OpError
	if errors.As(err, &op) { // of several servers each has its own address
		cause = op.Err.Error()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	quiet := tellEvery
	if cause == n.cause {
		quiet = repeatEvery
	}
	if !n.at.IsZero() && now.Sub(n.at) < quiet {
		return false
	}
	n.cause, n.at = cause, now
	return true
}

// notReached says why there is no connection: that a password or a certificate is wrong shows nowhere else.
func (c *Conn) notReached(err error) {
	if !c.ending.Load() && c.unreached.worth(err, time.Now()) {
		c.log.Warn("bus not reached", "error", err)
	}
}

// refused says what the server holds against this one, as a subject that its user may not use.
func (c *Conn) refused(subject string, err error) {
	if c.refusals.worth(err, time.Now()) {
		c.log.Warn("bus error", "subject", subject, "error", err)
	}
}
