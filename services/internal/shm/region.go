package shm

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/framebus/framebus/proto/frame"
	"golang.org/x/sys/unix"
)

// Region is memory that this process owns and others may read. It is safe for concurrent use, but for Close and what
// is written to the slots.
type Region struct {
	layout
	id   [idLen]byte
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

// create makes the file, anew where somebody who sweeps just now took it for a dead owner's before it could be locked.
func (r *Region) create(f *Folder) (err error) {
	for range attempts {
		if err = r.attempt(f); !errors.Is(err, errSwept) {
			return err
		}
	}
	return err
}

const attempts = 10

var errSwept = errors.New("the file was removed while it was made")

func (r *Region) attempt(f *Folder) (err error) {
	_, _ = rand.Read(r.id[:]) // never fails: crypto/rand says so
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
	if err = r.lock(); err != nil {
		return err
	}
	if err = f.allow(r.file, mode); err != nil {
		return err
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

// lock keeps sweepers off for as long as the file is open.
func (r *Region) lock() error {
	err := unix.Flock(int(r.file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) || err == nil && !r.linked() {
		return errSwept
	}
	return os.NewSyscallError("flock", err)
}

func (r *Region) linked() bool {
	var st unix.Stat_t
	return unix.Fstat(int(r.file.Fd()), &st) == nil && st.Nlink > 0
}

// ID of the region, random.
func (r *Region) ID() [idLen]byte { return r.id }

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
func (r *Region) Retire(slot int) {
	if r.Whole() { // else none holds anyway
		generation(r.mem, slot).Add(1)
	}
}

// Whole tells whether the slots can be touched: not where somebody has cut the file.
func (r *Region) Whole() bool { return whole(r.file, r.layout) }

// Intact tells whether others can still map the region, and this process write to it.
func (r *Region) Intact() bool { return r.linked() && r.Whole() }

// Remove takes the file away: nobody can map the region any more, and whoever has goes on.
func (r *Region) Remove() error {
	if err := os.Remove(r.file.Name()); !errors.Is(err, os.ErrNotExist) { // else somebody else did
		return err
	}
	return nil
}

// Close removes the region and unmaps it: nobody here may use its slots any more, while others keep what they mapped.
func (r *Region) Close() error {
	return errors.Join(r.Remove(), os.NewSyscallError("munmap", unix.Munmap(r.mem)), r.file.Close())
}
