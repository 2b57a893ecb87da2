// Package shm is memory that processes of one host share: an origin writes its raw frames into the slots of a region of
// its own, and whoever maps that region reads them where they lie. It knows nothing of the bus, nor of when a slot is
// free: that is the origin's to know, by credit.
//
// A region is a file in a folder of memory. It is locked for as long as its owner lives, so that what a dead one left
// is told from what is in use. Its slots have a generation each, which changes before a slot is given to another
// frame: who finds it unchanged after reading has read what was meant.
package shm

import (
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
// no error, where shared memory is off.
func Open(s Settings) (*Folder, error) {
	path := s.Folder
	switch path {
	case Off:
		return nil, nil
	case "":
		path = filepath.Join("/dev/shm", "framebus-"+strconv.Itoa(os.Getuid()))
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
	if err := f.open(mode); err != nil {
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
		return 0, fmt.Errorf("shared memory: group %q: %w", name, err)
	}
	return strconv.Atoi(g.Gid)
}

func (f *Folder) open(mode os.FileMode) error {
	err := os.Mkdir(f.path, mode)
	if err == nil && f.gid >= 0 {
		return os.Chown(f.path, -1, f.gid)
	}
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	info, err := os.Stat(f.path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is no folder", f.path)
	}
	return nil
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
		if strings.HasPrefix(name, prefix) {
			f.sweepOne(filepath.Join(f.path, name))
		}
	}
}

func (f *Folder) sweepOne(path string) {
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer file.Close()
	if unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		_ = os.Remove(path)
	}
}
