package viewer

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attempt is what RawConn.Write runs: one write that never waits, since Go's sockets do not block. That is why it can
// do without telling the scheduler of a system call, which would cost a fan-out to many viewers a tenth.
func (w *wire) attempt() func(fd uintptr) bool {
	return func(fd uintptr) bool {
		b := w.b // never empty
		for {
			n, _, errno := unix.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
			switch {
			case errors.Is(errno, unix.EINTR):
				continue
			case errors.Is(errno, unix.EAGAIN):
			case errno != 0:
				w.err = errno
			default:
				w.n = int(n)
			}
			return true
		}
	}
}
