package shm

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"github.com/framebus/framebus/proto/frame"
	"golang.org/x/sys/unix"
)

// Region is memory that this process owns and others may read. Its methods are for one goroutine at a time, but for
// Retire and Generation.
type Region struct {
	layout
	id   [16]byte
	file *os.File
	mem  []byte
}

// Create makes a region of slots that each hold a picture of up to room bytes.
func (f *Folder) Create(slots, room int) (*Region, error) {
	if f == nil {
		return nil, ErrOff
	}
	r := &Region{layout: layout{slots: slots, room: room}}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("shared memory: %w", err)
	}
	if err := r.create(f); err != nil {
		return nil, fmt.Errorf("shared memory: %w", err)
	}
	return r, nil
}

func (r *Region) create(f *Folder) (err error) {
	rand.Read(r.id[:])
	path := filepath.Join(f.path, prefix+hex.EncodeToString(r.id[:]))
	mode := os.FileMode(0o600)
	if f.gid >= 0 {
		mode = 0o640
	}
	if r.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, mode); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(path)
			_ = r.file.Close()
		}
	}()
	// Who sweeps just now may hold it, or have removed it: then there is none, which the next attempt mends.
	if err = unix.Flock(int(r.file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return os.NewSyscallError("flock", err)
	}
	if f.gid >= 0 {
		if err = r.file.Chown(-1, f.gid); err != nil {
			return err
		}
	}
	if err = allocate(r.file, int64(r.size())); err != nil {
		return err
	}
	r.mem, err = unix.Mmap(int(r.file.Fd()), 0, r.size(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	r.put(r.mem, r.id)
	return nil
}

// ID of the region, random.
func (r *Region) ID() [16]byte { return r.id }

// File is its name in the folder.
func (r *Region) File() string { return filepath.Base(r.file.Name()) }

// Size of the file, bytes.
func (r *Region) Size() int { return r.size() }

// Slots is their number.
func (r *Region) Slots() int { return r.slots }

// Room of each slot: the largest picture, in bytes.
func (r *Region) Room() int { return r.room }

// Slot is the memory of one: frame.HeaderLen bytes for an envelope and then Room for a picture.
func (r *Region) Slot(i int) []byte {
	at := r.picture(i)
	return r.mem[at-frame.HeaderLen : at+r.room : at+r.room]
}

// Generation of a slot: what a reference to it has to name now.
func (r *Region) Generation(slot int) uint64 { return generation(r.mem, slot).Load() }

// Retire says that the slot is to be used for another frame: from now on no reference to it holds.
func (r *Region) Retire(slot int) { generation(r.mem, slot).Add(1) }

// Intact tells whether others can still map the region, and this process write to it.
func (r *Region) Intact() bool {
	var st unix.Stat_t
	return unix.Fstat(int(r.file.Fd()), &st) == nil && st.Nlink > 0 && st.Size >= int64(r.size())
}

// Close removes the region. Who has mapped it keeps what is there; nobody may use its slots here any more.
func (r *Region) Close() error {
	err := os.Remove(r.file.Name())
	if os.IsNotExist(err) {
		err = nil // somebody else did
	}
	if errUnmap := unix.Munmap(r.mem); err == nil {
		err = errUnmap
	}
	if errClose := r.file.Close(); err == nil {
		err = errClose
	}
	return err
}
