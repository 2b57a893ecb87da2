package hub

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/gateway/internal/picture"
	"github.com/framebus/framebus/services/gateway/internal/viewer"
)

// Errors of Snapshot.
var (
	ErrUnknown = errors.New("no such stream")
	ErrNothing = errors.New("no picture came")
)

// snapshotFresh is how old a picture may be to be a snapshot.
const snapshotFresh = 200 * time.Millisecond

// settleTime is how soon a snapshot's demand is told: the loop does it.
const settleTime = 5 * time.Millisecond

// Snapshot is a stream's newest picture. Where nobody watches, it is demand for one frame.
func (h *Hub) Snapshot(ctx context.Context, name string) (*picture.Picture, error) {
	asked := time.Now()
	h.mu.Lock()
	s := h.streams[name]
	if s == nil {
		h.mu.Unlock()
		return nil, ErrUnknown
	}
	s.snapshots++
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		s.snapshots--
		h.mu.Unlock()
		h.changed()
	}()
	for {
		h.changed()
		h.mu.Lock()
		f := s.feeds[frame.Full]
		h.mu.Unlock()
		if f != nil {
			p, err := f.wait(ctx, asked.Add(-snapshotFresh))
			if err != nil {
				return nil, ErrNothing
			}
			return p, nil
		}
		select {
		case <-time.After(settleTime):
		case <-ctx.Done():
			return nil, ErrNothing
		}
	}
}

// Stream is what is known of one, for the API.
type Stream struct {
	Name     string
	Channel  uint16
	Present  bool
	Status   *pb.StreamStatus // of the owner; read-only
	Owner    string           // instance
	State    pb.StreamState
	Cause    string
	Viewers  int
	Rungs    []frame.Rung // subscribed
	Encoders []string     // alive
}

// Find tells whether a stream is known; the empty name is the first one. It returns its name and channel.
func (h *Hub) Find(name string) (string, uint16, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if name == "" {
		names := slices.SortedFunc(maps.Keys(h.streams), func(a, b string) int {
			// Those that live come first.
			return cmp.Or(-cmp.Compare(alive(h.streams[a]), alive(h.streams[b])), cmp.Compare(a, b))
		})
		if len(names) == 0 {
			return "", 0, false
		}
		name = names[0]
	}
	s := h.streams[name]
	if s == nil {
		return name, 0, false
	}
	return name, s.channel, true
}

// Present tells whether a stream has an owner that lives.
func (h *Hub) Present(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.streams[name]
	return s != nil && s.present
}

func alive(s *stream) int {
	if s.present {
		return 1
	}
	return 0
}

// Streams are all that are known, by name.
func (h *Hub) Streams() []Stream {
	var encoders []string
	for _, st := range h.d.Roster.Live() {
		if st.GetEncoder() != nil && !st.GetDraining() {
			encoders = append(encoders, st.GetInstance())
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]Stream, 0, len(h.streams))
	for _, name := range slices.Sorted(maps.Keys(h.streams)) {
		s := h.streams[name]
		t := s.state()
		item := Stream{Name: name, Channel: s.channel, Present: s.present, Status: s.owner, Owner: s.who, State: t.state,
			Cause: t.cause, Viewers: len(s.seats), Encoders: encoders}
		for r, f := range s.feeds {
			if f != nil {
				item.Rungs = append(item.Rungs, frame.Rung(r))
			}
		}
		out = append(out, item)
	}
	return out
}

// Channels are the streams and their channels, for hello.
func (h *Hub) Channels() []*pb.Channel {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]*pb.Channel, 0, len(h.streams))
	for _, name := range slices.Sorted(maps.Keys(h.streams)) {
		out = append(out, &pb.Channel{Channel: uint32(h.streams[name].channel), Stream: name})
	}
	return out
}

// Seat is a viewer's place on a stream's ladder, for the API.
type Seat struct {
	Rung frame.Rung
	Why  string
	Auto bool
	Fare viewer.Fare
}

// Seats are a viewer's, by stream.
func (h *Hub) Seats(v *viewer.Viewer) map[string]Seat {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[string]Seat{}
	for name, s := range h.streams {
		if st := s.seats[v]; st != nil {
			out[name] = Seat{frame.Rung(st.next.Load()), st.why, st.fixed == automatic, st.fare}
		}
	}
	return out
}

// tellStats tells framebus.v1 viewers how they fare.
func (h *Hub) tellStats() {
	for _, v := range h.Viewers() {
		if v.Format() != picture.V1 {
			continue
		}
		st := v.Stats()
		for _, lane := range st.Streams {
			h.mu.Lock()
			var origin, encoder *pb.ClockOffset
			if s := h.streams[lane.Stream]; s != nil {
				origin, encoder = s.clock.proto()
			}
			h.mu.Unlock()
			v.Notice(&pb.ServerMessage{Message: &pb.ServerMessage_Stats{Stats: &pb.Stats{
				Channel: uint32(lane.Channel), Stream: lane.Stream, Fps: st.FPS, Mbps: st.Mbps,
				Rung: pb.Rung(lane.Rung), Quality: uint32(lane.Quality),
				RttMs: float64(st.RTT.Microseconds()) / 1000, AgeMs: float64(lane.Age.Microseconds()) / 1000,
				Skipped: lane.Skipped, Sent: lane.Frames, Origin: origin, Encoder: encoder,
			}}})
		}
	}
}
