package hub

import (
	"fmt"
	"slices"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/gateway/internal/viewer"
	"github.com/framebus/framebus/services/internal/adapt"
)

// Wish is how a viewer wants a stream.
type Wish struct {
	Tuning viewer.Tuning
	// Rung is what the client chose itself; nil: it follows the connection.
	Rung *frame.Rung
	// Width and Height of the place it is shown in, px; 0 where it is not known.
	Width, Height int
}

// sizes keeps the last pictures' sizes of a rung.
type sizes struct {
	ring [sizesKept]float64
	n    int // ever
}

const sizesKept = 30

func (s *sizes) add(size float64) {
	s.ring[s.n%sizesKept] = size
	s.n++
}

// p80 is the 80th percentile, and of how many.
func (s *sizes) p80() (size float64, of int) {
	of = min(s.n, sizesKept)
	if of == 0 {
		return 0, 0
	}
	var sorted [sizesKept]float64
	list := sorted[:copy(sorted[:], s.ring[:of])]
	slices.Sort(list)
	return list[(of*80-1)/100], of
}

func newSeat(v *viewer.Viewer, w Wish) *seat {
	s := &seat{viewer: v, why: "nothing is known of the connection yet"}
	if w.Rung != nil {
		s.rung.Store(int32(*w.Rung))
		s.next.Store(int32(*w.Rung))
	}
	return s
}

// set takes what the viewer wants and tells whether that changes its rung at once.
func (s *seat) set(w Wish) (moved bool) {
	s.tuning, s.fixed = w.Tuning, automatic
	s.width, s.height = w.Width, w.Height
	if w.Rung != nil {
		s.fixed = int(*w.Rung)
		s.why = "chosen by the viewer"
		return s.next.Swap(int32(*w.Rung)) != int32(*w.Rung)
	}
	return false
}

// rungNotice tells a viewer its rung, and why it is on it.
func (s *stream) rungNotice(st *seat) *pb.ServerMessage {
	return &pb.ServerMessage{Message: &pb.ServerMessage_Notice{Notice: &pb.Notice{
		Channel: uint32(s.channel), Stream: s.name, Kind: "rung", Rung: pb.Rung(st.next.Load()), Text: st.why,
	}}}
}

// top is the highest rung of use to a place of that size: the smallest that is no smaller.
func (s *seat) top(w, h int) int {
	if s.width <= 0 || s.height <= 0 || w <= 0 || h <= 0 {
		return 0
	}
	for r := frame.Rung(frame.Rungs - 1); r > frame.Full; r-- {
		// A picture keeps its shape: it fills the place in one direction.
		if rw, rh := r.Size(w, h); rw >= s.width || rh >= s.height {
			return int(r)
		}
	}
	return 0
}

// hearEncoder notes the lowest quality that an encoder goes to.
func (h *Hub) hearEncoder(st *pb.Status) {
	e := st.GetEncoder()
	if e == nil || e.GetQualityMin() == 0 {
		return
	}
	if st.GetDraining() {
		delete(h.lowest, st.GetInstance())
	} else if _, known := h.lowest[st.GetInstance()]; known || len(h.lowest) < maxStreams {
		h.lowest[st.GetInstance()] = int(e.GetQualityMin())
	}
}

// defaultLowest is the quality that encoders go down to by default.
const defaultLowest = 30

func (h *Hub) lowestQuality() int {
	low := 0
	for _, q := range h.lowest {
		if low == 0 || q < low {
			low = q
		}
	}
	if low == 0 {
		return defaultLowest
	}
	return low
}

// adapt looks at every viewer's streams and moves those whose connection asks for another rung.
func (h *Hub) adapt() {
	h.mu.Lock()
	defer h.mu.Unlock()
	low := h.lowestQuality()
	for _, s := range h.streams {
		if len(s.seats) == 0 {
			continue
		}
		view := adapt.View{Min: low}
		var quality [frame.Rungs]int
		var users [frame.Rungs]int
		for r, f := range s.feeds {
			if f == nil {
				view.Size80[r] = s.known[r]
				continue
			}
			f.mu.Lock()
			size, _ := f.sizes.p80()
			quality[r] = f.quality
			f.mu.Unlock()
			if size > 0 {
				view.Size80[r] = size
				s.known[r] = size
			}
		}
		for _, st := range s.seats {
			if !st.tuning.Hidden {
				users[st.rung.Load()]++
			}
		}
		for _, st := range s.seats {
			if !st.tuning.Hidden {
				h.look(s, st, view, quality, users)
			}
		}
	}
	h.changed()
}

// look decides for one seat.
func (h *Hub) look(s *stream, st *seat, view adapt.View, quality, users [frame.Rungs]int) {
	own := int(st.rung.Load())
	view.Quality = quality[own]
	for r := range view.Now {
		others := users[r]
		if r == own {
			others--
		}
		if others > 0 && quality[r] > 0 && view.Size80[r] > 0 {
			view.Now[r] = adapt.SizeAt(view.Size80[r], quality[r])
		}
	}
	view.Top = st.top(int(s.owner.GetWidth()), int(s.owner.GetHeight()))
	st.fare = st.viewer.Adapt(s.channel, view, st.fixed)
	if st.fare.Reason != adapt.Stays {
		st.why = words(st.fare)
		h.meters.moved(st.fare)
	}
	if next := int32(st.fare.Rung); next != st.next.Load() {
		st.next.Store(next)
		st.viewer.Notice(s.rungNotice(st))
	}
	if now := (shownQuality{own, quality[own]}); now != st.told && now.quality > 0 {
		if st.told.quality > 0 {
			why := now.since(st.told)
			h.meters.requalified(own, why)
			st.viewer.Notice(&pb.ServerMessage{Message: &pb.ServerMessage_Notice{Notice: &pb.Notice{
				Channel: uint32(s.channel), Stream: s.name, Kind: "quality", Rung: pb.Rung(own),
				Quality: uint32(now.quality), Text: fmt.Sprintf("quality %d: %s", now.quality, qualityWords[why]),
			}}})
		}
		st.told = now
	}
}

// shownQuality is what a viewer was last told of.
type shownQuality struct{ rung, quality int }

// since says why a quality is another one than the one before.
func (q shownQuality) since(before shownQuality) (reason string) {
	switch {
	case q.rung != before.rung:
		return "rung"
	case q.quality < before.quality:
		return "rate"
	default:
		return "recovered"
	}
}

var qualityWords = map[string]string{
	"rung":      "that of the new size",
	"rate":      "the connections of this size's viewers carry less",
	"recovered": "the connections of this size's viewers carry more",
}

// words say why a rung changed.
func words(f viewer.Fare) string {
	mbit := f.Rate * 8 / 1e6
	name := frame.Rung(f.Rung).String()
	switch f.Reason {
	case adapt.TooSlow:
		return fmt.Sprintf("%s size: the connection carries %.1f Mbit/s", name, mbit)
	case adapt.Congested:
		return fmt.Sprintf("%s size: pictures waited %d ms at %.1f Mbit/s", name, f.Wait.Milliseconds(), mbit)
	case adapt.Climbs:
		return fmt.Sprintf("%s size: the connection carries %.1f Mbit/s again", name, mbit)
	case adapt.Viewport:
		return name + " size: the picture is shown no larger"
	default:
		return name + " size"
	}
}

// budgets are what the viewers of a rung can take, and the size of its pictures at quality 80. The lock is held.
func (s *stream) budgets(r frame.Rung) (budgets []uint32, size80, samples uint32) {
	var all adapt.Histogram
	for _, st := range s.seats {
		if st.tuning.Hidden || st.next.Load() != int32(r) {
			continue
		}
		if st.fare.Known {
			all.Add(st.fare.Budget)
		} else {
			all[adapt.Buckets-1]++
		}
	}
	n := len(all)
	for n > 0 && all[n-1] == 0 {
		n--
	}
	if f := s.feeds[r]; f != nil {
		f.mu.Lock()
		size, of := f.sizes.p80()
		f.mu.Unlock()
		size80, samples = uint32(size), uint32(of)
	}
	return all[:n], size80, samples
}
