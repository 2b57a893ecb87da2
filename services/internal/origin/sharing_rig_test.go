package origin

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/natsd"
	"github.com/framebus/framebus/services/internal/shm"
	"github.com/framebus/framebus/services/internal/shm/shmtest"
	"github.com/stretchr/testify/require"
)

// regionsIn are the files in the folder.
func regionsIn(t require.TestingT, path string) []string {
	found, err := os.ReadDir(path)
	require.NoError(t, err)
	names := []string{}
	for _, f := range found {
		names = append(names, f.Name())
	}
	return names
}

// sharing is a house whose camera has shared memory.
type sharing struct {
	house
	folder *shm.Folder
	path   string

	mu     sync.Mutex
	values map[frameID]byte // what each frame's bytes are, as the first who read it saw them
}

func buildSharing(t *testing.T, cfg Config, change func(*Deps)) *sharing {
	t.Helper()
	h := &sharing{values: map[frameID]byte{}}
	h.folder, h.path = shmtest.Folder(t)
	h.cfg = bus.Config{InProcess: startServer(t, natsd.Config{})}
	h.member = join(t, h.cfg, "capture", "cap-a")
	h.reader = join(t, h.cfg, "gateway", "gw")
	h.cam = film(t, h.member, cfg, func(d *Deps) {
		d.Shm = h.folder
		if change != nil {
			change(d)
		}
	})
	h.cam.becomes(t, pb.StreamState_STREAM_STATE_LIVE)
	return h
}

// told is the region that the stream's Status tells of.
func (h *sharing) told(t *testing.T) *pb.Region {
	t.Helper()
	h.cam.eventually(t, "no region is told of", func(s *pb.StreamStatus) bool { return s.GetRegion() != nil })
	return h.cam.StreamStatus().GetRegion()
}

// encoder joins one that maps what it hears of, or nothing where it shares no memory.
func (h *sharing) encoder(t *testing.T, name string, workers uint32, shares bool) *coder {
	t.Helper()
	c := &coder{name: name, regions: map[regionID]*shm.Mapping{}, saw: h.saw, still: func(id frameID) bool {
		h.cam.mu.Lock()
		defer h.cam.mu.Unlock()
		return h.cam.credit.holds(name, id)
	}}
	t.Cleanup(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, m := range c.regions {
			m.Close()
		}
	})
	c.start(t, h.cfg, workers)
	if shares {
		t.Cleanup(c.roster.Watch(func(s *pb.Status, _ time.Time) { c.mapRegions(h.folder, s) }))
	}
	h.coders = append(h.coders, c)
	return c
}

func (c *coder) mapRegions(from *shm.Folder, s *pb.Status) {
	for _, st := range s.GetStreams() {
		r := st.GetRegion()
		if r == nil || st.GetName() != stream {
			continue
		}
		id := regionID(r.GetId())
		c.mu.Lock()
		known := c.regions[id] != nil
		c.mu.Unlock()
		if known {
			continue
		}
		if m, err := from.Map(id, r.GetFile(), r.GetSize(), r.GetSlots()); err == nil {
			c.mu.Lock()
			c.regions[id] = m
			c.mu.Unlock()
			c.roster.Changed()
		}
	}
}

// mapped are the ids that it tells of.
func (c *coder) mapped() (ids [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.regions {
		ids = append(ids, bytes.Clone(id[:]))
	}
	return ids
}

func (h *sharing) saw(id frameID, v byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if first, known := h.values[id]; known && first != v {
		return fmt.Errorf("frame %v is %d here and %d there", id, v, first)
	}
	h.values[id] = v
	return nil
}

// uniform tells the one value of all bytes.
func uniform(b []byte) (v byte, err error) {
	if bytes.Count(b, b[:1]) != len(b) {
		return 0, errors.New("a torn picture")
	}
	return b[0], nil
}

// encode looks at a picture for as long as it takes, and at what has become of it then.
func (c *coder) encode(h *frame.Header, payload []byte) pb.Fate {
	id := frameID{h.Epoch, h.Sequence}
	check := func() error { return nil }
	if h.Flags&frame.FlagReference != 0 {
		c.referred.Add(1)
		ref, err := frame.ParseReference(h, payload)
		if err != nil {
			return c.fail(err)
		}
		c.mu.Lock()
		m := c.regions[ref.Region]
		c.mu.Unlock()
		if m == nil {
			return c.fail(errors.New("a reference to what is not mapped"))
		}
		p, err := m.Read(&ref)
		if err != nil {
			return c.lost(id, err)
		}
		defer p.Release()
		check, payload = p.Check, p.Bytes
	}
	v, err := uniform(payload)
	if d := time.Duration(c.works.Load()); d > 0 {
		<-time.After(d)
	}
	then, errThen := uniform(payload)
	if errCheck := check(); errCheck != nil {
		return c.lost(id, errCheck)
	}
	if err != nil || errThen != nil || v != then {
		return c.fail(fmt.Errorf("frame %v changed from %d to %d: %w, %w", id, v, then, err, errThen))
	}
	if err := c.saw(id, v); err != nil {
		return c.fail(err)
	}
	return pb.Fate_FATE_ENCODED
}

// lost is a frame whose slot another has: it must have been given up before.
func (c *coder) lost(id frameID, err error) pb.Fate {
	c.overwritten.Add(1)
	if c.still(id) && !errors.Is(err, shm.ErrGone) {
		return c.fail(fmt.Errorf("frame %v is waited for: %w", id, err))
	}
	return pb.Fate_FATE_OVERWRITTEN
}

func (c *coder) fail(err error) pb.Fate {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bad = err
	return pb.Fate_FATE_CORRUPT
}

// moreReferences waits until n more frames came by reference.
func (c *coder) moreReferences(t *testing.T, n uint64) {
	t.Helper()
	from := c.referred.Load()
	require.Eventually(t, func() bool { return c.referred.Load() >= from+n }, within, every, "%s: no references", c.name)
}

// good wants no picture to have been another than it should.
func (h *sharing) good(t *testing.T) {
	t.Helper()
	for _, c := range h.coders {
		_, _, err := c.newest()
		require.NoError(t, err, c.name)
	}
	balanced(t, h.cam.StreamStatus().GetBook())
}
