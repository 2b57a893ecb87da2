package hub

import (
	"errors"
	"fmt"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/gateway/internal/viewer"
)

// traceEvery is how often one viewer may ask for a trace.
const traceEvery = time.Second

// Select sets one stream of a viewer, its first where none is named. It makes Hub a viewer.Commands.
func (h *Hub) Select(v *viewer.Viewer, sel *pb.Select) {
	h.mu.Lock()
	name := sel.GetStream()
	w := h.viewers[v]
	if w == nil {
		h.mu.Unlock()
		return
	}
	if name == "" {
		name = w.main
	}
	s := h.streams[name]
	h.mu.Unlock()
	if s == nil {
		v.Notice(notice(name, "unknown", "there is no stream "+name))
		return
	}
	if sel.GetRung() == "off" {
		h.mu.Lock()
		h.leave(s, v)
		h.mu.Unlock()
		return
	}
	wish, err := h.wish(s, v, sel)
	if err != nil {
		v.Notice(notice(name, "malformed", err.Error()))
		return
	}
	h.Attach(v, name, wish)
}

// maxViewport bounds the size that a client may tell, px.
const maxViewport = 1 << 16

// wish is what a viewer wants after a select, which leaves the rung where it names none.
func (h *Hub) wish(s *stream, v *viewer.Viewer, sel *pb.Select) (w Wish, err error) {
	if fps := sel.GetMaxFps(); fps != 0 && !ValidFPS(fps) {
		return w, fmt.Errorf("max fps: want %v to %v, or 0 for all", MinFPS, MaxFPS)
	}
	if sel.GetWidth() > maxViewport || sel.GetHeight() > maxViewport {
		return w, fmt.Errorf("width and height: want at most %d", maxViewport)
	}
	w.Tuning = viewer.Tuning{MaxFPS: sel.GetMaxFps(), Hidden: sel.GetHidden()}
	w.Width, w.Height = int(sel.GetWidth()), int(sel.GetHeight())
	h.mu.Lock()
	st := s.seats[v]
	if st != nil && st.fixed != automatic {
		r := frame.Rung(st.fixed)
		w.Rung = &r
	}
	h.mu.Unlock()
	switch name := sel.GetRung(); name {
	case "":
	case "auto":
		w.Rung = nil
	default:
		r, ok := frame.ParseRung(name)
		if !ok {
			return w, errors.New("rung: want auto, full, half, quarter or off")
		}
		w.Rung = &r
	}
	return w, nil
}

// MinFPS and MaxFPS bound the rate that can be asked for.
const (
	MinFPS = 0.1
	MaxFPS = 240
)

// ValidFPS tells whether a rate can be asked for; NaN cannot.
func ValidFPS(fps float64) bool { return fps >= MinFPS && fps <= MaxFPS }

// Painted is what a viewer showed. It makes Hub a viewer.Commands.
func (h *Hub) Painted(v *viewer.Viewer, p *pb.Painted) {
	h.meters.paints.Add(1)
	if p.GetChannel() < 1<<16 && p.GetDecoded() < 1<<16 {
		v.Painted(p)
	}
}

// TraceNext has the next frame traced, at most once a second a viewer. It makes Hub a viewer.Commands.
func (h *Hub) TraceNext(v *viewer.Viewer, t *pb.TraceNext) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.viewers[v]
	if w == nil || time.Since(w.traced) < traceEvery {
		return
	}
	w.traced = time.Now()
	name := t.GetStream()
	if name == "" {
		name = w.main
	}
	if s := h.streams[name]; s != nil {
		s.traceNext = true
		if st := s.seats[v]; st != nil {
			st.asked.Store(true)
		}
		h.changed()
	}
}

func notice(stream, kind, text string) *pb.ServerMessage {
	return &pb.ServerMessage{Message: &pb.ServerMessage_Notice{Notice: &pb.Notice{
		Stream: stream, Kind: kind, Text: text,
	}}}
}
