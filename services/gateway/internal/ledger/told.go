package ledger

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/internal/presence"
)

// maxGateways bounds those told of in one epoch; further ones are left out.
const maxGateways = 64

// Told is what all services have told of their part, to be put side by side. It is safe for concurrent use.
type Told struct {
	mu      sync.Mutex
	streams map[string][]*toldEpoch // newest first; bounds: maxStreams and maxEpochs
}

// toldEpoch is what is told of one epoch. Messages are shared and read-only.
type toldEpoch struct {
	number   uint64
	book     *pb.Book // nil where its owner was never heard
	owner    string
	by       pb.Owner
	sequence uint64
	sentUs   int64
	heard    time.Time
	gateways map[string]toldGateway // bound: maxGateways
}

type toldGateway struct {
	row    *pb.WatchedEpoch
	sentUs int64
}

// NewTold makes one that has heard nothing.
func NewTold() *Told { return &Told{streams: map[string][]*toldEpoch{}} }

// Hear takes a Status.
func (t *Told) Hear(st *pb.Status, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, ss := range st.GetStreams() {
		if ss.GetEpoch() > 0 {
			t.book(ss, ss.GetEpoch(), ss.GetSequence(), ss.GetBook(), st, at)
		}
		for _, e := range ss.GetEnded() {
			t.book(ss, e.GetEpoch(), e.GetSequence(), e.GetBook(), st, at)
		}
	}
	for _, w := range st.GetGateway().GetLedger() {
		e := t.epoch(w.GetStream(), w.GetEpoch(), at)
		if e == nil {
			continue
		}
		if _, known := e.gateways[st.GetInstance()]; known || len(e.gateways) < maxGateways {
			e.gateways[st.GetInstance()] = toldGateway{w, st.GetSentUs()}
		}
	}
}

func (t *Told) book(ss *pb.StreamStatus, number, sequence uint64, b *pb.Book, st *pb.Status, at time.Time) {
	e := t.epoch(ss.GetName(), number, at)
	if e == nil || b == nil {
		return
	}
	e.book, e.owner, e.by, e.sequence = b, st.GetInstance(), ss.GetOwner(), sequence
	e.sentUs, e.heard = st.GetSentUs(), at
}

// epoch finds one, or makes it. It is nil where that is older than all that are kept, or one stream too many.
func (t *Told) epoch(stream string, number uint64, at time.Time) *toldEpoch {
	list := t.streams[stream]
	i := slices.IndexFunc(list, func(e *toldEpoch) bool { return e.number <= number })
	if i >= 0 && list[i].number == number {
		return list[i]
	}
	if i < 0 {
		i = len(list)
	}
	if i == maxEpochs || list == nil && len(t.streams) == maxStreams && !t.forget(at) {
		return nil
	}
	e := &toldEpoch{number: number, heard: at, gateways: map[string]toldGateway{}}
	list = slices.Insert(list, i, e)
	t.streams[stream] = list[:min(len(list), maxEpochs)]
	return e
}

// forget makes room, if there is a stream that nobody has spoken of lately.
func (t *Told) forget(now time.Time) bool {
	oldest, name := now.Add(-presence.Silence), ""
	for s, list := range t.streams {
		if list[0].heard.Before(oldest) {
			oldest, name = list[0].heard, s
		}
	}
	delete(t.streams, name)
	return name != ""
}

// Answer is the whole ledger.
func (t *Told) Answer(now time.Time) Answer {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := Answer{Explained: true, Streams: []StreamAnswer{}}
	for _, name := range slices.Sorted(maps.Keys(t.streams)) {
		s := StreamAnswer{Stream: name, Explained: true, Epochs: []EpochAnswer{}}
		for _, e := range t.streams[name] {
			answer := e.answer(now)
			s.Explained = s.Explained && answer.Explained
			s.Epochs = append(s.Epochs, answer)
		}
		out.Explained = out.Explained && s.Explained
		out.Streams = append(out.Streams, s)
	}
	return out
}

func (e *toldEpoch) answer(now time.Time) EpochAnswer {
	out := EpochAnswer{Epoch: e.number, Explained: true, State: "unknown", Gateways: []GatewayAnswer{}}
	if b := e.book; b != nil {
		out.Owner, out.By = e.owner, "cam"
		if e.by == pb.Owner_OWNER_PUB {
			out.By = "pub"
		}
		out.ToldUs, out.Sequence = e.sentUs, e.sequence
		switch {
		case b.GetClosed():
			out.State = "closed"
		case now.Sub(e.heard) > presence.Silence:
			out.State = "abandoned"
		default:
			out.State = "open"
		}
		out.books(b)
	}
	names := slices.SortedFunc(maps.Keys(e.gateways), cmp.Compare[string])
	for _, name := range names {
		g := e.gateways[name]
		row := gatewayAnswer(name, g.sentUs, g.row)
		out.Explained = out.Explained && row.Explained
		out.Gateways = append(out.Gateways, row)
	}
	return out
}
