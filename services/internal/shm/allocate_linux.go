package shm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// allocated at once, in bytes: a signal undoes what one call has done so far.
const allocated = 1 << 20

// allocate gives the file its size and all its memory: a folder that is full says so here, and not by a signal at some
// later write.
func allocate(f *os.File, size int64) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return os.NewSyscallError("fstatfs", err)
	}
	// Nothing is taken from the others where it is too little anyway. A tmpfs without a limit has no blocks.
	if free := st.Bavail * uint64(st.Bsize); st.Blocks > 0 && free < uint64(size) {
		return fmt.Errorf("%w: %d bytes are free, %d are needed", unix.ENOSPC, free, size)
	}
	for at := int64(0); at < size; {
		n := min(size-at, allocated)
		switch err := unix.Fallocate(int(f.Fd()), 0, at, n); {
		case err == nil:
			at += n
		case !errors.Is(err, unix.EINTR):
			return os.NewSyscallError("fallocate", err)
		}
	}
	return nil
}

// usual is this user's folder where none is asked for; empty means off.
func usual() string { return filepath.Join("/dev/shm", "framebus-"+strconv.Itoa(os.Getuid())) }
