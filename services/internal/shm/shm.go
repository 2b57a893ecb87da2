// Package shm is memory that processes of one host share: an origin writes its raw frames into the slots of a region of
// its own, and whoever maps that region reads them where they lie. It knows nothing of the bus, nor of when a slot is
// free: that is the origin's to know, by credit.
//
// A region is a file in a folder of memory. It is locked for as long as its owner lives, so that what a dead one left
// is told from what is in use. Its slots have a generation each, which changes before a slot is given to another
// frame: who finds it unchanged after reading has read what was meant.
package shm

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Off is the folder's name that switches shared memory off.
const Off = "off"

// Settings say where shared memory is: a flag and an environment variable each.
type Settings struct {
	Folder string `name:"shm" env:"FRAMEBUS_SHM" help:"Folder of shared memory, for raw frames between processes of one host; off for none. Default: one of this user's in /dev/shm."`
	Group  string `name:"shm-group" env:"FRAMEBUS_SHM_GROUP" help:"Group that may read the raw frames; default: this user alone."`
}

// The names of regions' files.
const (
	prefix = "region-"
	// maxSwept bounds the files that are looked at in the search of dead owners' regions.
	maxSwept = 4096
)

// Folder is where regions are. A nil one is off: nothing can be made or mapped there.
type Folder struct {
	path string
	gid  int // -1 where the folder is this user's alone
}

// ErrOff is what a nil folder answers.
var ErrOff = errors.New("shared memory is off")

// Open makes the folder where it is not there yet and removes the regions of owners that are dead. It returns nil, and
// no error, where shared memory is off: a system other than Linux has none unless a folder is named.
func Open(s Settings) (*Folder, error) {
	path := s.Folder
	if path == "" {
		path = usual()
	}
	if path == "" || path == Off {
		return nil, nil
	}
	f := &Folder{path: path, gid: -1}
	mode := os.FileMode(0o700)
	if s.Group != "" {
		gid, err := groupID(s.Group)
		if err != nil {
			return nil, err
		}
		f.gid, mode = gid, 0o750
	}
	if err := f.open(mode, s.Folder == ""); err != nil {
		return nil, fmt.Errorf("shared memory: %w", err)
	}
	f.sweep()
	return f, nil
}

func groupID(name string) (int, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		if gid, errNumber := strconv.ParseUint(name, 10, 31); errNumber == nil {
			return int(gid), nil
		}
		return 0, fmt.Errorf("shared memory: want a group's name or number: %w", err)
	}
	return strconv.Atoi(g.Gid)
}

// open makes the folder, or finds it; where it is the usual one, which anybody could have made, it must be this user's.
func (f *Folder) open(mode os.FileMode, own bool) error {
	err := os.Mkdir(f.path, mode)
	if err == nil {
		return f.allowFolder(mode)
	}
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	var st unix.Stat_t
	if own {
		err = unix.Lstat(f.path, &st)
	} else {
		err = unix.Stat(f.path, &st)
	}
	switch {
	case err != nil:
		return &os.PathError{Op: "stat", Path: f.path, Err: err}
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("%s is no folder: remove it, or name another (FRAMEBUS_SHM)", f.path)
	case own && int(st.Uid) != os.Getuid():
		return fmt.Errorf("%s is another user's: remove it, or name another (FRAMEBUS_SHM)", f.path)
	}
	return nil
}

func (f *Folder) allowFolder(mode os.FileMode) error {
	dir, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return f.allow(dir, mode)
}

// allow gives what was just made to the group, if there is one, and then the mode, whatever the umask was.
func (f *Folder) allow(made *os.File, mode os.FileMode) error {
	if f.gid < 0 {
		return nil
	}
	if err := made.Chown(-1, f.gid); err != nil {
		return err
	}
	return made.Chmod(mode)
}

// sweep removes the regions of dead owners: those that can be locked. What cannot be removed is another user's, and is
// left to him.
func (f *Folder) sweep() {
	dir, err := os.Open(f.path)
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(maxSwept) // an error has its names too
	for _, name := range names {
		if regionName(name) {
			f.sweepOne(filepath.Join(f.path, name))
		}
	}
}

// regionName tells whether a file is called as Create calls one: anything else in the folder is not for sweeping.
func regionName(name string) bool {
	id, ok := strings.CutPrefix(name, prefix)
	b, err := hex.DecodeString(id)
	return ok && err == nil && len(b) == idLen
}

func (f *Folder) sweepOne(path string) {
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return
	}
	if unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		_ = os.Remove(path)
	}
}
