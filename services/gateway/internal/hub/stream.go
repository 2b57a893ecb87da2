package hub

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/gateway/internal/viewer"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/presence"
)

// stream is what the hub knows of one. The hub's lock guards it.
type stream struct {
	name    string
	channel uint16
	meters  *streamMeters

	owner   *pb.StreamStatus // of the owner, or the last one there was; shared and read-only
	who     string           // the owner's instance
	service string           // and its service: those of one process may share a name
	heard   time.Time        // when it last spoke
	present bool             // it lives
	goneAt  time.Time        // since when it does not
	told    told             // what viewers know of its state

	seats     map[*viewer.Viewer]*seat
	snapshots int // that wait for a picture
	feeds     [frame.Rungs]*feed
	done      *bus.Sub // what encoders answer, while there are feeds
	asked     demand
	traceNext bool

	clock clock
	known [frame.Rungs]float64 // sizes at quality 80, of rungs that were seen

	watching atomic.Pointer[[]*seat] // seats, for the feeds
	offering [frame.Rungs]sync.Mutex // held while a picture of a rung is being offered
}

// seat is a viewer's part in a stream. The old rung goes on until the new one's first picture.
type seat struct {
	viewer *viewer.Viewer
	tuning viewer.Tuning
	fixed  int // rung that the client chose, or automatic
	width  int // of the place it is shown in, px; 0 where it is not known
	height int
	fare   viewer.Fare
	why    string // of its rung, in words

	rung atomic.Int32 // whose pictures it gets
	next atomic.Int32 // that it changes to, or the same
	told shownQuality

	asked atomic.Bool // to have the next frame traced
}

const automatic = -1

func (s *seat) uses(r frame.Rung) bool { return s.rung.Load() == int32(r) || s.next.Load() == int32(r) }

// takes tells whether a picture of this rung is for the seat, which changes over at the first one of its next rung.
func (s *seat) takes(r frame.Rung) bool {
	now := s.rung.Load()
	if now == int32(r) {
		return true
	}
	if s.next.Load() == int32(r) {
		s.rung.Store(int32(r))
		return true
	}
	return false
}

// told is a stream's state as viewers are told it.
type told struct {
	state pb.StreamState
	cause string
}

// demand is what a stream's Feedback says; it is comparable.
type demand struct {
	any     bool
	wanted  [frame.Rungs]bool
	fps     [frame.Rungs]float64 // 0: all
	viewers [frame.Rungs]int
}

func (s *stream) wants(r frame.Rung) bool {
	if r == frame.Full && s.snapshots > 0 {
		return true
	}
	for _, seat := range s.seats {
		if !seat.tuning.Hidden && seat.uses(r) {
			return true
		}
	}
	return false
}

func (s *stream) demand() demand {
	var d demand
	for r, f := range s.feeds {
		if f == nil {
			continue
		}
		d.any, d.wanted[r] = true, true
		if !s.wants(frame.Rung(r)) {
			d.fps[r] = s.asked.fps[r] // what outlives the last viewer is what was asked for
			continue
		}
		all := s.snapshots > 0 && r == int(frame.Full)
		for _, seat := range s.seats {
			if seat.tuning.Hidden || !seat.uses(frame.Rung(r)) {
				continue
			}
			d.viewers[r]++
			all = all || seat.tuning.MaxFPS <= 0
			d.fps[r] = max(d.fps[r], seat.tuning.MaxFPS)
		}
		if all {
			d.fps[r] = 0
		}
	}
	return d
}

// publishSeats lets the feeds see who watches.
func (s *stream) publishSeats() {
	list := make([]*seat, 0, len(s.seats))
	for _, seat := range s.seats {
		list = append(list, seat)
	}
	s.watching.Store(&list)
}

// watched are those that the feeds offer pictures to.
func (s *stream) watched() []*seat {
	if list := s.watching.Load(); list != nil {
		return *list
	}
	return nil
}

// state is the stream's as viewers are to know it.
func (s *stream) state() told {
	if !s.present {
		cause := "its capture service has gone; waiting for it to come back"
		if s.owner.GetOwner() == pb.Owner_OWNER_PUB {
			cause = "whoever published it has left"
		}
		return told{pb.StreamState_STREAM_STATE_GONE, cause}
	}
	return told{s.owner.GetState(), s.owner.GetCause()}
}

// hear takes a Status. It is called on the roster's goroutine.
func (h *Hub) hear(st *pb.Status, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hearEncoder(st)
	h.hearSettled(st, at)
	h.told.Hear(st, at)
	for _, ss := range st.GetStreams() {
		s := h.streams[ss.GetName()]
		if s == nil {
			if ss.GetEpoch() == 0 || st.GetDraining() || !subject.ValidName(ss.GetName()) || len(h.streams) >= maxStreams {
				continue
			}
			s = h.add(ss.GetName())
		}
		h.hearOwner(s, st, ss, at)
	}
	for _, s := range h.streams {
		if s.present && s.who == st.GetInstance() && s.service == st.GetService() && !lists(st, s.name) {
			s.present, s.goneAt = false, at // a publisher's, who has left
			h.tellState(s)
		}
	}
}

func lists(st *pb.Status, stream string) bool {
	for _, ss := range st.GetStreams() {
		if ss.GetName() == stream {
			return true
		}
	}
	return false
}

func (h *Hub) add(name string) *stream {
	for { // a channel is the stream's for as long as the gateway knows it
		h.channels++
		taken := h.channels == 0
		for _, s := range h.streams {
			taken = taken || s.channel == h.channels
		}
		if !taken {
			break
		}
	}
	s := &stream{name: name, channel: h.channels, meters: h.meters.stream(name), seats: map[*viewer.Viewer]*seat{}}
	h.streams[name] = s
	return s
}

func (h *Hub) hearOwner(s *stream, st *pb.Status, ss *pb.StreamStatus, at time.Time) {
	mine := st.GetInstance() == s.who
	switch {
	case mine && (st.GetDraining() || ss.GetEpoch() == 0):
		s.present = false
		s.goneAt = at
	case ss.GetEpoch() == 0 || st.GetDraining():
		return // somebody who stands by
	case !mine && s.present && !outranks(ss, st.GetInstance(), s.owner, s.who):
		return
	default:
		if !mine || ss.GetEpoch() != s.owner.GetEpoch() {
			s.clock = clock{} // another host's, or it was set
		}
		s.owner, s.who, s.service, s.heard, s.present = ss, st.GetInstance(), st.GetService(), at, true
		s.clock.hear(h, st, ss, at)
		s.meters.corrected(&s.clock)
	}
	h.tellState(s)
}

// outranks orders owners after a partition: a cam before a pub, then the greater epoch, then the greater name.
func outranks(a *pb.StreamStatus, aWho string, b *pb.StreamStatus, bWho string) bool {
	cam := func(s *pb.StreamStatus) int {
		if s.GetOwner() == pb.Owner_OWNER_CAM {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(cam(a), cam(b)), cmp.Compare(a.GetEpoch(), b.GetEpoch()), cmp.Compare(aWho, bWho)) > 0
}

// age looks at what time alone changes: owners that fell silent, streams that nobody remembers.
func (h *Hub) age() {
	up, since := h.d.Bus.Control.Up()
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, s := range h.streams {
		if s.present && up && now.Sub(s.heard) > presence.Silence && now.Sub(since) > presence.Silence {
			s.present, s.goneAt = false, now
			h.tellState(s)
		}
		if !s.present && len(s.seats) == 0 && s.snapshots == 0 && now.Sub(s.goneAt) > goneAfter &&
			!slices.ContainsFunc(s.feeds[:], func(f *feed) bool { return f != nil }) {
			delete(h.streams, name)
		}
	}
}

// tellState tells framebus.v1 viewers of a change of their stream's state, and why.
func (h *Hub) tellState(s *stream) {
	now := s.state()
	if now == s.told {
		return
	}
	s.told = now
	for v := range s.seats {
		v.Notice(s.notice())
	}
}

func (s *stream) notice() *pb.ServerMessage {
	t := s.state()
	text := t.cause
	if text == "" && t.state == pb.StreamState_STREAM_STATE_LIVE {
		text = "live"
	}
	return &pb.ServerMessage{Message: &pb.ServerMessage_Notice{Notice: &pb.Notice{
		Channel: uint32(s.channel), Stream: s.name, Kind: "state", Text: text, State: t.state,
	}}}
}
