package viewer

import (
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/internal/adapt"
)

// How `painted` acknowledges. A proxy that answers pings itself makes every connection look good while pictures pile up
// in its buffers. A client of ours tells what it paints: pongs far ahead of that give such a proxy away. From then on
// each picture that is painted is told of, and that is its acknowledgement; the base delay is told by echoes, which are
// messages like any other to a proxy.

const (
	// recorded bounds the pictures remembered until a client says that it painted them; the oldest is forgotten.
	recorded = 128
	// paintPatience is how long a picture may stay unpainted before one more is sent, and how often: a picture that a
	// client cannot decode is never painted.
	paintPatience = time.Second
)

// record is what was sent lately. It remembers nothing until the client has told of a picture that it painted.
type record struct {
	ring []recordedPicture // nil, or recorded of them
	n    int               // ever
	seen int               // of them, acknowledged by a pong
}

type recordedPicture struct {
	sent
	channel         uint16
	epoch, sequence uint64
	pongAt          time.Duration
}

func (r *record) at(i int) *recordedPicture { return &r.ring[i%recorded] }

// first is the oldest that is remembered.
func (r *record) first() int { return max(0, r.n-recorded) }

func (r *record) add(s sent, h *frame.Header) {
	if r.ring == nil {
		return
	}
	*r.at(r.n) = recordedPicture{sent: s, channel: h.Channel, epoch: h.Epoch, sequence: h.Sequence}
	r.n++
}

// acked is told a pong: it acknowledges what it names and all before it.
func (r *record) acked(number uint64, at time.Duration) {
	for r.seen = max(r.seen, r.first()); r.seen < r.n && r.at(r.seen).number <= number; r.seen++ {
		r.at(r.seen).pongAt = at
	}
}

// find is where the picture that a report names stands; where it is not remembered any more, the one before the oldest.
func (r *record) find(p *pb.Painted) (i int, known bool) {
	for i = r.n - 1; i >= r.first(); i-- {
		q := r.at(i)
		if q.channel == uint16(p.GetChannel()) && q.epoch == p.GetEpoch() && q.sequence <= p.GetSequence() {
			return i, true
		}
	}
	return i, r.n > recorded
}

// Painted takes a client's report of what it showed of a stream.
func (v *Viewer) Painted(p *pb.Painted) {
	v.mu.Lock()
	l := v.find(uint16(p.GetChannel()))
	if l == nil {
		v.mu.Unlock()
		return
	}
	now := v.now()
	v.traces.painted(l, p, now)
	if v.record.ring == nil {
		v.record.ring = make([]recordedPicture, recorded)
	}
	i, known := v.record.find(p)
	switch {
	case !known:
	case v.by == ackPaint:
		if i >= v.record.first() && v.credit.Pong(v.record.at(i).number, now) {
			v.measured(now)
		}
	case v.by == ackPong && !v.o.Smooth:
		if v.proxied(i, now) {
			v.mu.Unlock()
			v.Notice(&pb.ServerMessage{Message: &pb.ServerMessage_Notice{Notice: &pb.Notice{
				Channel: p.GetChannel(), Stream: l.tuning.Stream, Kind: "paint",
				Text: "a proxy answers the pings: please tell of every picture painted",
			}}})
			v.mu.Lock()
		}
	}
	l.paint.Report(now, int(p.GetDecoded()), l.acked)
	v.mu.Unlock()
	v.pump()
}

// proxied tells whether a report of the picture i, of those recorded, gives a proxy away; then painting acknowledges
// from now on. The lock is held.
func (v *Viewer) proxied(i int, now time.Duration) bool {
	oldest := max(i, v.record.first())
	lag := time.Duration(0)
	if at := v.record.at(oldest).pongAt; at > 0 {
		lag = now - at
	}
	if !v.proxy.Report(lag, v.record.seen-1-i) {
		return false
	}
	v.by = ackPaint
	v.credit.Restart()
	v.credit.every = true
	for j := i + 1; j < v.record.n; j++ {
		s := v.record.at(j).sent
		s.pinged = true
		if v.record.at(j).pongAt > 0 && s.lane != nil && s.lane.acked > 0 {
			s.lane.acked--
		}
		v.credit.Sent(s)
	}
	v.link = adapt.Link{} // all that it knew was the proxy's
	return true
}

// asksPaint tells whether the client was asked to tell of each picture.
func (v *Viewer) asksPaint() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.by == ackPaint
}

// echoed is told the number of an echo that came back: the client has read all that was sent before it.
func (v *Viewer) echoed(number uint64) {
	v.mu.Lock()
	if now := v.now(); v.by == ackPaint && v.credit.Pong(number, now) {
		v.measured(now)
	}
	v.mu.Unlock()
	v.pump()
}

func echoFrame(number uint64) []byte {
	return textFrame(&pb.ServerMessage{Message: &pb.ServerMessage_Echo{Echo: &pb.Echo{Number: number}}})
}
