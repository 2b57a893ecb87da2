package shm

import (
	"os"

	"golang.org/x/sys/unix"
)

// allocate gives the file its size and all its memory at once: a folder that is full says so here, and not by a signal
// at some later write.
func allocate(f *os.File, size int64) error {
	return os.NewSyscallError("fallocate", unix.Fallocate(int(f.Fd()), 0, 0, size))
}
