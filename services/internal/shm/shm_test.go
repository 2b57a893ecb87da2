package shm

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/framebus/framebus/proto/frame"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// childFolder makes the test binary a process that has a region in this folder until it is killed.
const childFolder = "FRAMEBUS_TEST_CHILD_FOLDER"

func TestMain(m *testing.M) {
	if path := os.Getenv(childFolder); path != "" {
		child(path)
		return
	}
	goleak.VerifyTestMain(m)
}

func child(path string) {
	f, err := Open(Settings{Folder: path})
	if err != nil {
		panic(err)
	}
	r, err := f.Create(1, 1)
	if err != nil {
		panic(err)
	}
	fmt.Println(r.File())
	select {}
}

// folderOf makes a folder of memory and, at the test's end, wants it empty.
func folderOf(t testing.TB, group string) (*Folder, string) {
	t.Helper()
	parent, err := os.MkdirTemp("/dev/shm", "framebus-shm-test-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.Remove(parent)) })
	path := filepath.Join(parent, "regions")
	t.Cleanup(func() { require.NoError(t, os.Remove(path), "something was left there") })
	f, err := Open(Settings{Folder: path, Group: group})
	require.NoError(t, err)
	return f, path
}

func regionIn(t testing.TB, f *Folder, slots, room int) *Region {
	t.Helper()
	r, err := f.Create(slots, room)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

func mapped(t testing.TB, f *Folder, r *Region) *Mapping {
	t.Helper()
	m, err := f.Map(r.ID(), r.File(), uint64(r.Size()), uint32(r.Slots()))
	require.NoError(t, err)
	t.Cleanup(m.Close)
	return m
}

// write puts a picture into a slot and says where it is.
func write(r *Region, slot int, picture []byte) frame.Reference {
	copy(r.Slot(slot)[frame.HeaderLen:], picture)
	return frame.Reference{
		Region: r.ID(), Slot: uint32(slot), Generation: r.Generation(slot), Length: uint32(len(picture)),
	}
}

func TestAPictureIsReadWhereItLies(t *testing.T) {
	f, path := folderOf(t, "")
	r := regionIn(t, f, 3, 5000)
	require.True(t, r.Intact())
	require.Equal(t, []int{3, 5000}, []int{r.Slots(), r.Room()})
	other, err := Open(Settings{Folder: path}) // as another process does
	require.NoError(t, err)
	readers := []*Mapping{mapped(t, f, r), mapped(t, other, r)}
	require.Equal(t, r.ID(), readers[1].ID())
	for slot := range r.Slots() {
		require.Len(t, r.Slot(slot), frame.HeaderLen+r.Room())
		picture := bytes.Repeat([]byte{byte('a' + slot)}, r.Room()-slot)
		ref := write(r, slot, picture)
		for _, m := range readers {
			p, err := m.Read(&ref)
			require.NoError(t, err)
			require.Equal(t, picture, p.Bytes)
			require.NoError(t, p.Check())
			p.Release()
			p.Release() // once more changes nothing
			require.ErrorIs(t, p.Check(), ErrGone)
		}
	}
	info, err := os.Stat(filepath.Join(path, r.File()))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	require.EqualValues(t, r.Size(), info.Size())
	info, err = os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
}

func TestASlotThatIsGivenToAnotherFrameIsNoticed(t *testing.T) {
	f, _ := folderOf(t, "")
	r := regionIn(t, f, 2, 100)
	m := mapped(t, f, r)
	ref := write(r, 1, []byte("first"))
	p, err := m.Read(&ref)
	require.NoError(t, err)
	r.Retire(0)
	require.NoError(t, p.Check(), "it was another slot")
	r.Retire(1)
	require.ErrorIs(t, p.Check(), ErrOverwritten)
	p.Release()
	_, err = m.Read(&ref)
	require.ErrorIs(t, err, ErrOverwritten)
	ref = write(r, 1, []byte("other"))
	p, err = m.Read(&ref)
	require.NoError(t, err)
	require.Equal(t, "other", string(p.Bytes))
	p.Release()
}

func TestForgedReferencesReadNothing(t *testing.T) {
	f, _ := folderOf(t, "")
	r := regionIn(t, f, 2, 100)
	m := mapped(t, f, r)
	valid := write(r, 1, []byte("picture"))
	for name, c := range map[string]struct {
		forge func(*frame.Reference)
		want  error
	}{
		"a slot past the last":   {func(ref *frame.Reference) { ref.Slot = 2 }, ErrReference},
		"an absurd slot":         {func(ref *frame.Reference) { ref.Slot = 1<<32 - 1 }, ErrReference},
		"more than a slot holds": {func(ref *frame.Reference) { ref.Length = 101 }, ErrReference},
		"an absurd length":       {func(ref *frame.Reference) { ref.Length = 1<<32 - 1 }, ErrReference},
		"another region":         {func(ref *frame.Reference) { ref.Region[15]++ }, ErrReference},
		"an older generation":    {func(ref *frame.Reference) { ref.Generation-- }, ErrOverwritten},
		"a generation to come":   {func(ref *frame.Reference) { ref.Generation++ }, ErrOverwritten},
	} {
		t.Run(name, func(t *testing.T) {
			ref := valid
			c.forge(&ref)
			p, err := m.Read(&ref)
			require.ErrorIs(t, err, c.want)
			require.Nil(t, p.Bytes)
		})
	}
	m.Close()
	_, err := m.Read(&valid)
	require.ErrorIs(t, err, ErrGone)
}

func TestARegionThatWasDeletedIsReadOn(t *testing.T) {
	f, path := folderOf(t, "")
	r := regionIn(t, f, 1, 100)
	m := mapped(t, f, r)
	ref := write(r, 0, []byte("picture"))
	require.NoError(t, os.Remove(filepath.Join(path, r.File())))
	require.False(t, r.Intact())
	require.True(t, r.Whole())
	p, err := m.Read(&ref)
	require.NoError(t, err)
	require.Equal(t, "picture", string(p.Bytes))
	r.Retire(0)
	require.ErrorIs(t, p.Check(), ErrOverwritten)
	p.Release()
	_, err = f.Map(r.ID(), r.File(), uint64(r.Size()), 1)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestARegionThatWasCutIsNotTouched(t *testing.T) {
	for _, size := range []int64{0, page, 3*page - 1} {
		t.Run(strconv.FormatInt(size, 10), func(t *testing.T) {
			f, path := folderOf(t, "")
			r := regionIn(t, f, 1, page)
			m := mapped(t, f, r)
			ref := write(r, 0, []byte("picture"))
			p, err := m.Read(&ref)
			require.NoError(t, err)
			defer p.Release()
			require.NoError(t, os.Truncate(filepath.Join(path, r.File()), size))
			require.False(t, r.Intact())
			require.False(t, r.Whole())
			require.ErrorIs(t, p.Check(), ErrGone)
			_, err = m.Read(&ref)
			require.ErrorIs(t, err, ErrGone)
			r.Retire(0)
		})
	}
}

func TestWhoReadsKeepsTheMapping(t *testing.T) {
	f, _ := folderOf(t, "")
	r := regionIn(t, f, 1, 1<<16)
	ref := write(r, 0, bytes.Repeat([]byte{7}, 1<<16))
	m := mapped(t, f, r)
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				p, err := m.Read(&ref)
				if err != nil {
					require.ErrorIs(t, err, ErrGone)
					return
				}
				if bytes.Count(p.Bytes, []byte{7}) != 1<<16 || p.Check() != nil {
					t.Error("read something else")
				}
				p.Release()
			}
		})
	}
	p, err := m.Read(&ref)
	require.NoError(t, err)
	m.Close()
	m.Close()
	readers.Wait()
	require.EqualValues(t, 7, p.Bytes[1<<16-1], "as long as it is held")
	require.NoError(t, p.Check())
	p.Release()
	require.Error(t, m.file.Close(), "it is given up with the last reader")
}

func TestOnlyWhatWasToldOfIsMapped(t *testing.T) {
	f, path := folderOf(t, "")
	r := regionIn(t, f, 2, 100)
	size, slots := uint64(r.Size()), uint32(2)
	at := func(name string) string { return filepath.Join(path, name) }
	put := func(name string, fill func(path string) error) string {
		require.NoError(t, fill(at(name)))
		t.Cleanup(func() { require.NoError(t, os.Remove(at(name))) })
		return name
	}
	forged := func(name string, change func(b []byte) []byte) string {
		return put(name, func(path string) error {
			b, err := os.ReadFile(at(r.File()))
			require.NoError(t, err)
			return os.WriteFile(path, change(b), 0o600)
		})
	}
	link := put("region-link", func(path string) error { return os.Symlink(at(r.File()), path) })
	pipe := put("region-pipe", func(path string) error { return unix.Mkfifo(path, 0o600) })
	dir := put("region-dir", func(path string) error { return os.Mkdir(path, 0o700) })
	plain := put("notes", func(path string) error { return os.Link(at(r.File()), path) })
	empty := forged("region-empty", func([]byte) []byte { return nil })
	cut := forged("region-cut", func(b []byte) []byte { return b[:len(b)-1] })
	magic := forged("region-magic", func(b []byte) []byte { b[0]++; return b })
	none := forged("region-none", func(b []byte) []byte { clear(b[24:28]); return b })
	more := forged("region-more", func(b []byte) []byte { b[27]++; return b })
	many := forged("region-many", func(b []byte) []byte { b[24] = 255; return b })
	wide := forged("region-wide", func(b []byte) []byte { b[28] = 255; return b })
	narrow := forged("region-narrow", func(b []byte) []byte { clear(b[28:36]); return b })
	id := r.ID()
	var other [16]byte

	for name, try := range map[string]func() (*Mapping, error){
		"another id":           func() (*Mapping, error) { return f.Map(other, r.File(), size, slots) },
		"another size":         func() (*Mapping, error) { return f.Map(id, r.File(), size+page, slots) },
		"no size":              func() (*Mapping, error) { return f.Map(id, r.File(), 0, slots) },
		"other slots":          func() (*Mapping, error) { return f.Map(id, r.File(), size, slots-1) },
		"a path":               func() (*Mapping, error) { return f.Map(id, "../regions/"+r.File(), size, slots) },
		"an absolute path":     func() (*Mapping, error) { return f.Map(id, at(r.File()), size, slots) },
		"a path that begins":   func() (*Mapping, error) { return f.Map(id, "region-/../"+r.File(), size, slots) },
		"no name":              func() (*Mapping, error) { return f.Map(id, "", size, slots) },
		"a name with a zero":   func() (*Mapping, error) { return f.Map(id, r.File()+"\x00", size, slots) },
		"a link":               func() (*Mapping, error) { return f.Map(id, link, size, slots) },
		"a pipe":               func() (*Mapping, error) { return f.Map(id, pipe, size, slots) },
		"a folder":             func() (*Mapping, error) { return f.Map(id, dir, size, slots) },
		"a file that is none":  func() (*Mapping, error) { return f.Map(id, plain, size, slots) },
		"an empty file":        func() (*Mapping, error) { return f.Map(id, empty, 0, slots) },
		"a file that was cut":  func() (*Mapping, error) { return f.Map(id, cut, size, slots) },
		"its size told":        func() (*Mapping, error) { return f.Map(id, cut, size-1, slots) },
		"another magic":        func() (*Mapping, error) { return f.Map(id, magic, size, slots) },
		"no slots":             func() (*Mapping, error) { return f.Map(id, none, size, 0) },
		"more slots than fit":  func() (*Mapping, error) { return f.Map(id, more, size, slots+1) },
		"absurd slots":         func() (*Mapping, error) { return f.Map(id, many, size, 255<<24+2) },
		"slots of absurd room": func() (*Mapping, error) { return f.Map(id, wide, size, slots) },
		"slots of no room":     func() (*Mapping, error) { return f.Map(id, narrow, size, slots) },
	} {
		t.Run(name, func(t *testing.T) {
			m, err := try()
			require.Error(t, err)
			require.Nil(t, m)
			require.NotContains(t, err.Error(), "\n")
		})
	}
	mapped(t, f, r)
}

func TestAFullFolderHasNoRegion(t *testing.T) {
	f, path := folderOf(t, "")
	var st unix.Statfs_t
	require.NoError(t, unix.Statfs(path, &st))
	rooms := int(st.Bavail*uint64(st.Bsize)/maxRoom) + 1
	require.LessOrEqual(t, rooms, MaxSlots)
	_, err := f.Create(rooms, maxRoom)
	require.ErrorIs(t, err, unix.ENOSPC)
	names, err := os.ReadDir(path)
	require.NoError(t, err)
	require.Empty(t, names)
	for _, l := range []layout{{0, 1}, {-1, 1}, {1, 0}, {1, -1}, {MaxSlots + 1, 1}, {1, maxRoom + 1}} {
		_, err = f.Create(l.slots, l.room)
		require.ErrorIs(t, err, errLayout)
	}
	require.NoError(t, os.Remove(path))
	_, err = f.Create(1, 1)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.Mkdir(path, 0o700))
}

func TestOnlyDeadOwnersRegionsAreSwept(t *testing.T) {
	f, path := folderOf(t, "")
	mine := regionIn(t, f, 1, 1)
	notes := filepath.Join(path, "region-of-somebody-else")
	require.NoError(t, os.WriteFile(notes, nil, 0o600))
	defer func() { require.NoError(t, os.Remove(notes)) }()

	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childFolder+"="+path)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	kill := sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	defer kill()
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	theirs := filepath.Join(path, line[:len(line)-1])

	open := func() {
		_, err := Open(Settings{Folder: path})
		require.NoError(t, err)
	}
	open()
	require.FileExists(t, theirs, "its owner lives")
	kill()
	require.FileExists(t, theirs, "nobody has tidied up yet")
	open()
	require.NoFileExists(t, theirs)
	require.True(t, mine.Intact())
	require.FileExists(t, notes)
}

func TestWhoSweepsDoesNotHarmWhatIsBeingMade(t *testing.T) {
	f, path := folderOf(t, "")
	made := make(chan struct{})
	var sweepers sync.WaitGroup
	for range 2 {
		sweepers.Go(func() {
			for {
				select {
				case <-made:
					return
				default:
					f.sweep()
				}
			}
		})
	}
	for range 500 {
		r, err := f.Create(1, 1)
		require.NoError(t, err)
		require.True(t, r.Intact())
		require.NoError(t, r.Close())
	}
	close(made)
	sweepers.Wait()
	names, err := os.ReadDir(path)
	require.NoError(t, err)
	require.Empty(t, names)
}

func TestAGroupMayRead(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	f, path := folderOf(t, strconv.Itoa(os.Getgid()))
	r := regionIn(t, f, 1, 1)
	for name, mode := range map[string]os.FileMode{path: 0o750, filepath.Join(path, r.File()): 0o640} {
		var st unix.Stat_t
		require.NoError(t, unix.Stat(name, &st))
		require.Equal(t, mode, os.FileMode(st.Mode&0o777), name)
		require.EqualValues(t, os.Getgid(), st.Gid, name)
	}
	_, err := Open(Settings{Folder: path, Group: "no such group"})
	require.ErrorContains(t, err, "want a group's name or number")
}

func TestSharedMemoryCanBeOff(t *testing.T) {
	f, err := Open(Settings{Folder: Off})
	require.NoError(t, err)
	require.Nil(t, f)
	_, err = f.Create(1, 1)
	require.ErrorIs(t, err, ErrOff)
	_, err = f.Map([16]byte{}, "region-", 1, 1)
	require.ErrorIs(t, err, ErrOff)
}

func TestAFolderThatIsNoneIsSaid(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.NoError(t, os.Symlink(dir, link))
	_, err := Open(Settings{Folder: file})
	require.ErrorContains(t, err, "is no folder")
	_, err = Open(Settings{Folder: filepath.Join(dir, "none", "none")})
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Open(Settings{Folder: link})
	require.NoError(t, err, "whoever names a folder may mean a link")
	require.ErrorContains(t, (&Folder{path: link, gid: -1}).open(0o700, true), "is no folder", "of the usual one")
	require.NoError(t, (&Folder{path: dir, gid: -1}).open(0o700, true))
}

func TestReadingAllocatesNothing(t *testing.T) {
	f, _ := folderOf(t, "")
	r := regionIn(t, f, 1, 100)
	m := mapped(t, f, r)
	ref := write(r, 0, []byte("picture"))
	require.Zero(t, testing.AllocsPerRun(100, func() {
		r.Retire(0)
		ref.Generation = r.Generation(0)
		p, err := m.Read(&ref)
		if err != nil || p.Check() != nil || !r.Whole() {
			t.Fatal(err)
		}
		p.Release()
	}))
}

// FuzzReference: whatever a reference says, what is read is the named slot's picture and nothing else.
func FuzzReference(f *testing.F) {
	const slots, room = 3, 200
	dir, _ := folderOf(f, "")
	r := regionIn(f, dir, slots, room)
	for slot := range slots {
		whole := r.Slot(slot)
		for i := range whole {
			whole[i] = byte(slot)
		}
		for i := range frame.HeaderLen {
			whole[i] = 0xff
		}
	}
	r.Retire(1)
	m := mapped(f, dir, r)
	b := make([]byte, frame.ReferenceLen)
	for slot := range uint32(slots + 1) {
		for _, length := range []uint32{0, 1, room, room + 1, 1 << 31} {
			ref := frame.Reference{Region: r.ID(), Slot: slot, Generation: uint64(slot & 1), Length: length}
			ref.Put(b)
			f.Add(bytes.Clone(b), true)
		}
	}
	f.Add(bytes.Repeat([]byte{0xff}, frame.ReferenceLen), false)
	f.Fuzz(func(t *testing.T, b []byte, hers bool) {
		h := frame.NewHeader()
		h.Format = frame.JPEG
		ref, err := frame.ParseReference(&h, b)
		if err != nil {
			return
		}
		if hers {
			ref.Region = r.ID() // which no fuzzer finds
		}
		p, err := m.Read(&ref)
		if err != nil {
			return
		}
		defer p.Release()
		if ref.Slot >= slots || ref.Length > room || ref.Generation != r.Generation(int(ref.Slot)) {
			t.Fatalf("%+v was read", ref)
		}
		if len(p.Bytes) != int(ref.Length) || cap(p.Bytes) != int(ref.Length) ||
			bytes.Count(p.Bytes, []byte{byte(ref.Slot)}) != len(p.Bytes) {
			t.Fatalf("%+v: read %v", ref, p.Bytes)
		}
	})
}

// FuzzRegion: whatever a file's head says, what is mapped is as large as the file.
func FuzzRegion(f *testing.F) {
	dir, path := folderOf(f, "")
	r := regionIn(f, dir, 2, 100)
	head := bytes.Clone(r.mem[:headLen])
	f.Add(head, uint64(r.Size()), uint32(2))
	f.Add(head[:36], uint64(1<<63), uint32(1<<31))
	f.Add([]byte(magic), uint64(0), uint32(0))
	file := filepath.Join(path, "region-fuzzed")
	require.NoError(f, os.WriteFile(file, bytes.Clone(r.mem), 0o600))
	f.Cleanup(func() { require.NoError(f, os.Remove(file)) })
	out, err := os.OpenFile(file, os.O_WRONLY, 0)
	require.NoError(f, err)
	f.Cleanup(func() { _ = out.Close() })
	f.Fuzz(func(t *testing.T, head []byte, size uint64, slots uint32) {
		if len(head) > headLen {
			return
		}
		if _, err := out.WriteAt(head, 0); err != nil {
			t.Fatal(err)
		}
		for _, size := range []uint64{size, uint64(r.Size())} {
			m, err := dir.Map(r.ID(), "region-fuzzed", size, slots)
			if err != nil {
				continue
			}
			if len(m.mem) != r.Size() || m.picture(m.slots-1)+m.room > r.Size() {
				t.Fatalf("%d slots of %d bytes in %d", m.slots, m.room, len(m.mem))
			}
			m.Close()
		}
	})
}
