package hub

import (
	"fmt"
	"time"

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
	switch {
	case s == nil:
		v.Notice(notice(name, "unknown", "there is no stream "+name))
		return
	case sel.GetRung() == "off":
		v.Drop(s.channel)
		h.mu.Lock()
		h.leave(s, v)
		h.mu.Unlock()
		return
	case sel.GetRung() == "half" || sel.GetRung() == "quarter":
		v.Notice(notice(name, "unsupported", "this gateway sends full size only"))
	case sel.GetRung() != "" && sel.GetRung() != "auto" && sel.GetRung() != "full":
		v.Notice(notice(name, "malformed", "rung: want auto, full, half, quarter or off"))
		return
	}
	if fps := sel.GetMaxFps(); fps != 0 && !ValidFPS(fps) {
		v.Notice(notice(name, "malformed", fmt.Sprintf("max fps: want %v to %v, or 0 for all", MinFPS, MaxFPS)))
		return
	}
	h.Attach(v, name, viewer.Tuning{MaxFPS: sel.GetMaxFps(), Hidden: sel.GetHidden()})
}

// MinFPS and MaxFPS bound the rate that can be asked for.
const (
	MinFPS = 0.1
	MaxFPS = 240
)

// ValidFPS tells whether a rate can be asked for; NaN cannot.
func ValidFPS(fps float64) bool { return fps >= MinFPS && fps <= MaxFPS }

// Painted is what a viewer showed. It makes Hub a viewer.Commands.
func (h *Hub) Painted(*viewer.Viewer, *pb.Painted) {
	h.meters.painted()
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
		h.changed()
	}
}

func notice(stream, kind, text string) *pb.ServerMessage {
	return &pb.ServerMessage{Message: &pb.ServerMessage_Notice{Notice: &pb.Notice{
		Stream: stream, Kind: kind, Text: text,
	}}}
}
