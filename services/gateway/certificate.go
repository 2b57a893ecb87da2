package gateway

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificateLook is how often its files are looked at, while somebody connects.
const certificateLook = time.Second

// certificate is the gateway's, read anew when its files change, so that a renewal needs no restart. It is safe for
// concurrent use.
type certificate struct {
	cert, key string
	log       *slog.Logger

	mu     sync.Mutex
	pair   *tls.Certificate
	looked time.Time
	as     [2]os.FileInfo // as they were read
}

func newCertificate(cert, key string, log *slog.Logger) (*certificate, error) {
	c := &certificate{cert: cert, key: key, log: log}
	if err := c.read(); err != nil {
		return nil, err
	}
	c.looked = time.Now()
	return c, nil
}

// config gives the newest certificate to each connection.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.newest(time.Now()), nil },
	}
}

func (c *certificate) newest(now time.Time) *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.looked) < certificateLook {
		return c.pair
	}
	c.looked = now
	if as, err := c.stat(); err == nil && same(as, c.as) {
		return c.pair
	}
	if err := c.read(); err != nil {
		c.log.Warn("the old certificate is kept", "error", err)
		return c.pair
	}
	c.log.Info("certificate read anew", "file", c.cert)
	return c.pair
}

func same(a, b [2]os.FileInfo) bool {
	for i := range a {
		if !a[i].ModTime().Equal(b[i].ModTime()) || a[i].Size() != b[i].Size() || !os.SameFile(a[i], b[i]) {
			return false
		}
	}
	return true
}

func (c *certificate) stat() (as [2]os.FileInfo, err error) {
	var errs [2]error
	as[0], errs[0] = os.Stat(c.cert)
	as[1], errs[1] = os.Stat(c.key)
	return as, errors.Join(errs[:]...)
}

// read takes both files; while one of them is new and the other is not yet, they do not fit, and it fails.
func (c *certificate) read() error {
	as, err := c.stat()
	if err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	c.pair, c.as = &pair, as
	return nil
}
