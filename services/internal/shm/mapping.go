package shm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/framebus/framebus/proto/frame"
	"golang.org/x/sys/unix"
)

// Errors of reading; what is returned wraps one of them.
var (
	// ErrOverwritten: the slot was given to another frame.
	ErrOverwritten = errors.New("the slot was given to another frame")
	// ErrReference: the reference names what is not there.
	ErrReference = errors.New("impossible reference")
	// ErrGone: the region is not mapped any more, or its file was cut.
	ErrGone = errors.New("the region is gone")
)

// Mapping is another's region, mapped read only. It is safe for concurrent use.
type Mapping struct {
	layout
	id   [idLen]byte
	file *os.File
	mem  []byte

	mu      sync.Mutex
	readers int
	closed  bool
}

// Map maps the region that an owner tells of: its id, its file's name and size, and its slots. Only what agrees with
// all of it is mapped.
func (f *Folder) Map(id [idLen]byte, file string, size uint64, slots uint32) (*Mapping, error) {
	if f == nil {
		return nil, ErrOff
	}
	if file != filepath.Base(file) || !strings.HasPrefix(file, prefix) {
		return nil, fmt.Errorf("shared memory: %q is no region's name", file)
	}
	m := &Mapping{id: id}
	if err := m.open(filepath.Join(f.path, file), size, slots); err != nil {
		return nil, fmt.Errorf("shared memory: %w", err)
	}
	return m, nil
}

func (m *Mapping) open(path string, size uint64, slots uint32) (err error) {
	// O_NONBLOCK: a named pipe in its place must not be waited for.
	if m.file, err = os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = m.file.Close()
		}
	}()
	info, err := m.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() < page || uint64(info.Size()) != size {
		return fmt.Errorf("%w: %v of %d bytes, not %d", errHead, info.Mode(), info.Size(), size)
	}
	var head [headLen]byte
	if _, err = m.file.ReadAt(head[:], 0); err != nil {
		return err
	}
	if m.layout, err = readLayout(head[:], m.id); err != nil {
		return err
	}
	if uint64(m.size()) != size || m.slots != int(slots) {
		return fmt.Errorf("%w: %d slots of %d bytes", errHead, m.slots, m.room)
	}
	m.mem, err = unix.Mmap(int(m.file.Fd()), 0, m.size(), unix.PROT_READ, unix.MAP_SHARED)
	return os.NewSyscallError("mmap", err)
}

// ID of the region.
func (m *Mapping) ID() [idLen]byte { return m.id }

// whole tells whether the file still has all that was mapped. Of one that was cut nothing may be touched: that is a
// signal which ends the process.
func whole(f *os.File, l layout) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && st.Size >= int64(l.size())
}

// Pixels are a picture in shared memory, which its owner may change at any time. They must be released.
type Pixels struct {
	Bytes      []byte
	m          *Mapping
	slot       int
	generation uint64
}

// Read finds what the reference names, without copying it, if it is still there.
func (m *Mapping) Read(ref *frame.Reference) (Pixels, error) {
	if ref.Region != m.id || int64(ref.Slot) >= int64(m.slots) || int64(ref.Length) > int64(m.room) {
		return Pixels{}, fmt.Errorf("%w: slot %d, %d bytes", ErrReference, ref.Slot, ref.Length)
	}
	if !m.hold() {
		return Pixels{}, ErrGone
	}
	at := m.picture(int(ref.Slot))
	p := Pixels{
		Bytes: m.mem[at : at+int(ref.Length) : at+int(ref.Length)], m: m,
		slot: int(ref.Slot), generation: ref.Generation,
	}
	if err := p.Check(); err != nil {
		p.Release()
		return Pixels{}, err
	}
	return p, nil
}

// fence keeps a check from being made before what was read ahead of it.
var fence atomic.Uint32

// Check fails where the picture is not the one that was meant any more: what was read of it until now is worth nothing.
func (p *Pixels) Check() error {
	if p.m == nil || !whole(p.m.file, p.m.layout) {
		return ErrGone
	}
	fence.Add(1)
	if generation(p.m.mem, p.slot).Load() != p.generation {
		return ErrOverwritten
	}
	return nil
}

// Release says that the pixels are not looked at any more. Once is enough.
func (p *Pixels) Release() {
	m := p.m
	if m == nil {
		return
	}
	p.m, p.Bytes = nil, nil
	m.mu.Lock()
	defer m.mu.Unlock()
	m.readers--
	m.free()
}

func (m *Mapping) hold() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.readers++
	return true
}

// Close gives the mapping up as soon as nobody reads there.
func (m *Mapping) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.closed = true
		m.free()
	}
}

// free unmaps what is closed and not read. The caller holds mu.
func (m *Mapping) free() {
	if m.closed && m.readers == 0 {
		_ = unix.Munmap(m.mem)
		_ = m.file.Close()
	}
}
