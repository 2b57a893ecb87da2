package client

import (
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
)

// Stats of a Viewer at one moment. Counters are of its whole life.
type Stats struct {
	// StreamStats of Config.Stream.
	StreamStats
	// Streams are all, that one first.
	Streams []StreamStats

	Connected  bool
	Since      time.Time // of the connection
	Reconnects uint64
	// Offset added to this clock's time makes it the gateway's, wrong by at most Uncertainty; -1 where not known.
	Offset, Uncertainty, RTT time.Duration
	// Viewer, Gateway and Version are the gateway's names for both, once it said hello.
	Viewer, Gateway, Version string
	// TraceUI is where a trace id can be looked up, "{trace_id}" to be replaced; empty where none is set.
	TraceUI   string
	Malformed uint64 // messages that could not be read, and pictures of streams not asked for
	Unknown   uint64 // messages that this version does not know
	BytesRead uint64 // of all messages
}

// StreamStats are one stream's.
type StreamStats struct {
	Stream string
	// FPS and Mbps are of what came in the last 2 s; StreamFPS is the stream's own, told by its sequence.
	FPS, StreamFPS, Mbps float64
	// Ages from capture until read, of the last 4 s; AgeKnown is false where the clocks' offset is not known.
	AgeP50, AgeP95, AgeP99 time.Duration
	AgeUncertainty         time.Duration
	AgeKnown               bool
	Connection             Connection

	Frames uint64 // received and not late
	Bytes  uint64 // of their pictures
	Taken  uint64 // by the receiver
	// Displaced by newer ones before the receiver was free.
	Displaced uint64
	// Missed: gaps in the sequence, on a connection. What Select asked to skip is not missed.
	Missed uint64
	// MissedAway: gaps in the sequence across reconnects.
	MissedAway uint64
	Late       uint64 // dropped, because a newer one had come

	Width, Height int
	Rung          frame.Rung
	Quality       int
	Epoch         uint64
	Sequence      uint64
	// Gateway is the gateway's newest word on it, read-only; nil before the first.
	Gateway *pb.Stats
}

// Stats of this moment.
func (v *Viewer) Stats() Stats {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.now()
	s := Stats{
		Connected: !v.total.since.IsZero(), Since: v.total.since,
		RTT:    v.clock.rtt(),
		Viewer: v.hello.GetViewer(), Gateway: v.hello.GetGateway(), Version: v.hello.GetVersion(),
		TraceUI:   v.hello.GetTraceUi(),
		Malformed: v.total.malformed, Unknown: v.total.unknown, BytesRead: v.total.bytes,
	}
	if v.total.connects > 0 {
		s.Reconnects = v.total.connects - 1
	}
	s.Offset, s.Uncertainty = v.clock.best(now)
	for _, st := range v.streams {
		s.Streams = append(s.Streams, st.stats(now, v.total.since))
	}
	s.StreamStats = s.Streams[0]
	return s
}

func (st *stream) stats(now, since time.Time) StreamStats {
	w := st.window.sum(now, since, st.maxFPS)
	c := conduct{open: !since.IsZero(), share: w.share, age: w.newest - w.uncertainty, aged: w.aged, small: st.small()}
	c.since, c.silent = now.Sub(since), min(now.Sub(st.lastAt), now.Sub(since))
	return StreamStats{
		Stream: st.name, FPS: w.fps, StreamFPS: w.streamFPS, Mbps: w.mbps,
		AgeP50: w.p50, AgeP95: w.p95, AgeP99: w.p99, AgeUncertainty: w.uncertainty, AgeKnown: w.aged,
		Connection: c.judge(),
		Frames:     st.frames, Bytes: st.bytes, Taken: st.taken, Displaced: st.displ,
		Missed: st.missed, MissedAway: st.missedA, Late: st.late,
		Width: int(st.last.Width), Height: int(st.last.Height), Rung: st.last.Rung, Quality: int(st.last.Quality),
		Epoch: st.last.Epoch, Sequence: st.last.Sequence,
		Gateway: st.gateway,
	}
}
