package origin

import (
	"slices"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/internal/shm"
)

const (
	// usualSlots: four are of pictures on their way here, the others of frames that are open at encoders.
	usualSlots = 12
	// roomStep is the least room for a JPEG; what is larger doubles it, so that few regions are made as sizes vary.
	roomStep = 64 << 10
	// remakeAfter is the least time between two regions of a stream, retryAfter that after one could not be made.
	remakeAfter = time.Second
	retryAfter  = time.Minute
)

// way is how an encoder gets a frame.
type way uint8

const (
	inline      way = iota // the picture is in the message
	byReference            // the message says where it lies
	ways
)

var wayWords = [ways]string{"inline", "reference"}

// place is a slot of a region. Its zero value is none: the picture lies on the heap.
type place struct {
	in   *region
	slot int
}

// region is shared memory, and who has its slots.
type region struct {
	*shm.Region
	free    []int   // nobody has; what was given back last is given out first, for it is warm
	users   []uint8 // of each slot: its picture here, and the encoder that has a reference to it
	removed bool    // its file is, or is about to be
}

// loan is a reference that is out.
type loan struct {
	frameID
	place
}

// memory is where pictures lie that encoders of this host may read: slots of a region. A slot is given to another
// picture only when no picture is in it and no reference to it is out, and then its generation has changed. It neither
// makes regions nor closes them, but says when. The origin's mu guards it.
type memory struct {
	slots int // of a region

	region *region   // whose slots are given out; nil while there is none
	old    []*region // given up, each until nobody has a slot of it
	loans  []loan    // bound: the slots of all regions
	room   int       // of a slot, as pictures ask for, bytes; 0 while none has
	tried  time.Time // when a region was last made, or could not be
	failed bool      // it could not

	missed uint64 // pictures that found all slots in use
	handed [ways]uint64
}

// ask takes note of a picture's size, in bytes.
func (m *memory) ask(format frame.Format, size int) {
	if format == frame.JPEG {
		room := roomStep
		for room < size {
			room *= 2
		}
		size = room
	}
	m.room = max(m.room, size)
}

// take gives a picture of size bytes a slot, if there is one.
func (m *memory) take(size int) place {
	r := m.region
	if r == nil || size > r.Room() || !r.Whole() {
		return place{}
	}
	if len(r.free) == 0 {
		m.missed++
		return place{}
	}
	slot := r.free[len(r.free)-1]
	r.free = r.free[:len(r.free)-1]
	r.users[slot]++
	return place{r, slot}
}

// bytes of the slot for an envelope and a picture of size bytes.
func (p place) bytes(size int) []byte { return p.in.Slot(p.slot)[:frame.HeaderLen+size] }

// leave says that one user less has the slot.
func (p place) leave() {
	if p.in == nil {
		return
	}
	if p.in.users[p.slot]--; p.in.users[p.slot] == 0 {
		p.in.free = append(p.in.free, p.slot)
	}
}

// whole tells whether the memory can be touched.
func (p place) whole() bool { return p.in == nil || p.in.Whole() }

// reference to a picture of size bytes in the slot, as it is now.
func (p place) reference(size int) frame.Reference {
	return frame.Reference{
		Region: p.in.ID(), Slot: uint32(p.slot), Generation: p.in.Generation(p.slot), Length: uint32(size),
	}
}

// lend says that a reference to the slot is out, for this frame.
func (m *memory) lend(id frameID, p place) {
	p.in.users[p.slot]++
	m.loans = append(m.loans, loan{id, p})
}

// back ends the reference for a frame, if there is one: it was answered, or will not be.
func (m *memory) back(id frameID) {
	i := slices.IndexFunc(m.loans, func(l loan) bool { return l.frameID == id })
	if i < 0 {
		return
	}
	l := m.loans[i]
	m.loans = slices.Delete(m.loans, i, i+1)
	l.in.Retire(l.slot) // whoever reads there yet learns it
	l.leave()
}

// wants is the room of the slots of a region that is to be made now, 0 for none.
func (m *memory) wants(now time.Time) (room int) {
	if m.region != nil && !m.region.Whole() {
		m.giveUp()
	}
	if m.room == 0 || m.region != nil && m.region.Room() >= m.room && m.region.Intact() {
		return 0
	}
	pause := remakeAfter
	if m.failed {
		pause = retryAfter
	}
	if !m.tried.IsZero() && now.Sub(m.tried) < pause {
		return 0
	}
	return m.room
}

// made takes a new region in place of the one before, and nil where none could be made.
func (m *memory) made(r *shm.Region, now time.Time) {
	m.tried, m.failed = now, r == nil
	if r == nil {
		return
	}
	m.giveUp()
	m.region = &region{Region: r, users: make([]uint8, r.Slots())}
	for slot := range r.Slots() {
		m.region.free = append(m.region.free, slot)
	}
	slices.Reverse(m.region.free)
}

// giveUp gives no more slots of the region out.
func (m *memory) giveUp() {
	if m.region != nil {
		m.old = append(m.old, m.region)
		m.region = nil
	}
}

// tidy hands back the regions whose files can be removed, and those that can be closed: nobody here has them any more.
func (m *memory) tidy() (remove, closed []*shm.Region) {
	m.old = slices.DeleteFunc(m.old, func(r *region) bool {
		over := len(r.free) == r.Slots()
		switch {
		case over:
			closed = append(closed, r.Region)
		case !r.removed:
			remove = append(remove, r.Region)
		}
		r.removed = true
		return over
	})
	return remove, closed
}

// bytes of all regions that are not closed.
func (m *memory) bytes() (n int) {
	for _, r := range m.old {
		n += r.Size()
	}
	if m.region != nil {
		n += m.region.Size()
	}
	return n
}

// message tells of the region, nil where there is none.
func (m *memory) message() *pb.Region {
	r := m.region
	if r == nil {
		return nil
	}
	id := r.ID()
	return &pb.Region{Id: id[:], File: r.File(), Size: uint64(r.Size()), Slots: uint32(r.Slots())}
}

// furnish makes the shared memory that the frames want, gives up what they do not, and closes what nobody has any more.
// It is not for the source's goroutine: memory of this size takes its time.
func (o *Origin) furnish(now time.Time) {
	if o.d.Shm == nil {
		return
	}
	o.mu.Lock()
	room := 0
	if o.claim.standing == owner {
		room = o.mem.wants(now)
	} else {
		o.mem.giveUp()
	}
	slots, failed := o.mem.slots, o.mem.failed
	o.mu.Unlock()
	if room > 0 {
		r, err := o.d.Shm.Create(slots, room)
		o.mu.Lock()
		o.mem.made(r, now)
		o.mu.Unlock()
		switch {
		case err == nil:
			o.d.Roster.Changed()
		case !failed: // else it is known
			o.log.Warn("no shared memory: frames go through the bus", "error", err)
		}
	}
	o.tidy()
}

func (o *Origin) tidy() {
	o.mu.Lock()
	remove, closed := o.mem.tidy()
	o.mu.Unlock()
	for _, r := range remove {
		if err := r.Remove(); err != nil {
			o.log.Warn("shared memory is left behind", "error", err)
		}
	}
	for _, r := range closed {
		if err := r.Close(); err != nil {
			o.log.Warn("shared memory is left behind", "error", err)
		}
	}
}
