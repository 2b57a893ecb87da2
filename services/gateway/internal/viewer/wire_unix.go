//go:build unix && !linux

package viewer

import (
	"errors"

	"golang.org/x/sys/unix"
)

// attempt is what RawConn.Write runs: one write that never waits, since Go's sockets do not block.
func (w *wire) attempt() func(fd uintptr) bool {
	return func(fd uintptr) bool {
		for {
			n, err := unix.Write(int(fd), w.b)
			switch {
			case errors.Is(err, unix.EINTR):
				continue
			case errors.Is(err, unix.EAGAIN):
			case err != nil:
				w.err = err
			default:
				w.n = n
			}
			return true
		}
	}
}
