package encoder

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/presence"
	"github.com/framebus/framebus/services/internal/shm"
)

const (
	// maxMapped bounds the regions mapped at once; frames of further ones come inline.
	maxMapped = 256
	// lingers is how much longer a region can be read that its owner tells of no more: frames may be on their way that
	// lie there.
	lingers = 500 * time.Millisecond
	// retryAfter is how long a region that could not be mapped is left alone.
	retryAfter = time.Minute
	// regionsLook is how often the silence of owners is noticed.
	regionsLook = 250 * time.Millisecond
)

// regions are the shared memory that raw frames lie in: each is mapped for as long as its owner tells of it. They are
// safe for concurrent use.
type regions struct {
	folder  *shm.Folder
	log     *slog.Logger
	meters  *meters
	settled func(now time.Time) bool // whether who was not heard lately is gone
	changed func()                   // has all told what is mapped
	heard   chan struct{}            // holds a token while there may be something to do

	mu     sync.Mutex
	known  map[[16]byte]*region // by id; bound: maxStreams, further ones are not listened to
	mapped int
	news   bool // of what is mapped, to be told
}

// region is one that somebody tells of. Whose it is never changes: nobody speaks for another's.
type region struct {
	owner  string
	by     subject.By
	stream string
	told   *pb.Region
	heard  bool      // in the Status that is being listened to
	live   bool      // its owner's last Status told of it
	until  time.Time // when it is given up

	mapping *shm.Mapping // nil where it is not mapped
	retry   time.Time    // when it may be tried again
	refused bool         // which was logged
}

func newRegions(folder *shm.Folder, log *slog.Logger, m *meters) *regions {
	return &regions{
		folder: folder, log: log, meters: m,
		settled: func(time.Time) bool { return true }, changed: func() {},
		heard: make(chan struct{}, 1), known: map[[16]byte]*region{},
	}
}

// hear takes note of a Status. It maps nothing, and waits for nothing.
func (r *regions) hear(s *pb.Status, at time.Time) {
	if r.folder == nil {
		return
	}
	owner := s.GetService() + "." + s.GetInstance()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, g := range r.known {
		g.heard = g.heard && g.owner != owner
	}
	if !s.GetDraining() {
		for _, st := range s.GetStreams() {
			r.note(owner, st, at)
		}
	}
	for _, g := range r.known {
		if g.owner == owner && g.live != g.heard {
			g.live = g.heard
			r.news = r.news || g.mapping != nil
			if end := at.Add(lingers); !g.live && end.Before(g.until) {
				g.until = end
			}
		}
	}
	r.wake()
}

// note takes note of one stream's region. The caller holds mu.
func (r *regions) note(owner string, st *pb.StreamStatus, at time.Time) {
	by, ok := byOf[st.GetOwner()]
	told := st.GetRegion()
	if !ok || st.GetEpoch() == 0 || len(told.GetId()) != len([16]byte{}) {
		return
	}
	id := [16]byte(told.GetId())
	g := r.known[id]
	if g == nil {
		if len(r.known) >= maxStreams {
			r.meters.regionsRefused.Add(1)
			return
		}
		g = &region{owner: owner, by: by, stream: st.GetName(), told: told}
		r.known[id] = g
	}
	if g.owner == owner && g.by == by && g.stream == st.GetName() {
		g.heard, g.until = true, at.Add(presence.Silence)
	}
}

var byOf = map[pb.Owner]subject.By{pb.Owner_OWNER_CAM: subject.Cam, pb.Owner_OWNER_PUB: subject.Pub}

func (r *regions) wake() {
	select {
	case r.heard <- struct{}{}:
	default:
	}
}

// run maps and gives up until ctx ends. What is mapped then stays so until close.
func (r *regions) run(ctx context.Context) error {
	if r.folder == nil {
		return nil
	}
	tick := time.NewTicker(regionsLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-r.heard:
		}
		r.tidy(time.Now())
	}
}

// tidy gives up what nobody tells of any more, maps what is told of, and has it told. It is for one goroutine.
func (r *regions) tidy(now time.Time) {
	for _, g := range r.sweep(now) {
		m, err := r.folder.Map([16]byte(g.told.GetId()), g.told.GetFile(), g.told.GetSize(), g.told.GetSlots())
		r.mapOne(g, m, err, now)
	}
	r.mu.Lock()
	news := r.news
	r.news = false
	r.meters.regions.Store(int64(r.mapped))
	r.mu.Unlock()
	if news {
		r.changed()
	}
}

// sweep gives up what is over and returns what is to be mapped.
func (r *regions) sweep(now time.Time) (due []*region) {
	settled := r.settled(now)
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, g := range r.known {
		switch {
		case settled && now.After(g.until):
			r.unmap(g)
			delete(r.known, id)
		case g.mapping == nil && g.live && !now.Before(g.retry):
			due = append(due, g)
		}
	}
	return due
}

// mapOne takes note of an attempt.
func (r *regions) mapOne(g *region, m *shm.Mapping, err error, now time.Time) {
	r.mu.Lock()
	if err == nil && r.mapped >= maxMapped {
		m.Close()
		err = fmt.Errorf("shared memory: %d regions are mapped already", maxMapped)
	}
	said := g.refused
	if err != nil {
		g.retry, g.refused = now.Add(retryAfter), true
	} else {
		g.mapping = m
		r.mapped++
		r.news = true
	}
	r.mu.Unlock()
	if err == nil {
		return
	}
	r.meters.regionsRefused.Add(1)
	if !said {
		r.log.Info("frames come inline: their shared memory cannot be mapped here", "stream", g.stream, "owner", g.owner,
			"error", err)
	}
}

// unmap gives a mapping up; who reads there goes on. The caller holds mu.
func (r *regions) unmap(g *region) {
	if g.mapping != nil {
		g.mapping.Close()
		g.mapping = nil
		r.mapped--
		r.news = true
	}
}

// lose gives up a region whose file was found to be cut. It is mapped again if it is well.
func (r *regions) lose(id [16]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if g := r.known[id]; g != nil && g.mapping != nil {
		r.unmap(g)
		r.wake()
	}
}

// ids are those of the regions that frames may refer to from now on.
func (r *regions) ids() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out [][]byte
	for _, g := range r.known {
		if g.mapping != nil && g.live {
			out = append(out, g.told.GetId())
		}
	}
	return out
}

// read finds the picture that a frame of s refers to. The pixels must be released.
func (r *regions) read(s *stream, ref *frame.Reference) (shm.Pixels, error) {
	r.mu.Lock()
	g := r.known[ref.Region]
	var m *shm.Mapping
	if g != nil {
		m = g.mapping
	}
	r.mu.Unlock()
	if m == nil {
		return shm.Pixels{}, fmt.Errorf("%w: %x is not mapped here", shm.ErrGone, ref.Region)
	}
	if g.by != s.by || g.stream != s.name {
		return shm.Pixels{}, fmt.Errorf("%w: into a region of %s", shm.ErrReference, g.stream)
	}
	return m.Read(ref)
}

// close gives up all of them.
func (r *regions) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, g := range r.known {
		r.unmap(g)
	}
	clear(r.known)
	r.meters.regions.Store(0)
}
