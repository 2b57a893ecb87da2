package origin

import (
	"cmp"
	"slices"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/bus"
)

// hear takes something that came over the bus.
func (o *Origin) hear(e event) {
	switch {
	case e.up != nil:
		o.heardBus(*e.up, e.at)
	case e.status != nil:
		o.heardStatus(e.status, e.at)
	case e.msg.NoResponders:
		o.heardNobody(e.msg, e.at)
	case e.msg.Subject == subject.Feedback(o.cfg.Stream):
		o.heardFeedback(e.msg, e.at)
	default:
		o.heardDone(e.msg, e.at)
	}
}

func (o *Origin) heardBus(up bool, at time.Time) {
	o.mu.Lock()
	o.claim.Bus(up, o.since(at))
	o.mu.Unlock()
	if up {
		o.unanswered(o.credit.Reconnected())
	}
}

func (o *Origin) heardStatus(s *pb.Status, at time.Time) {
	if e := s.GetEncoder(); e != nil {
		o.unanswered(o.credit.Status(s.GetInstance(), s.GetRun(), int(e.GetWorkers()), s.GetDraining(), o.since(at)))
	}
	for _, st := range s.GetStreams() {
		if st.GetName() != o.cfg.Stream {
			continue
		}
		o.mu.Lock()
		before := o.claim.state
		o.claim.Heard(rank{st.GetOwner(), st.GetEpoch(), s.GetInstance(), s.GetRun()}, s.GetDraining(), o.since(at))
		state, rival := o.claim.state, o.claim.Rival()
		o.mu.Unlock()
		if state != before {
			o.stateChanged(state, rival)
		}
	}
}

// heardNobody returns the credit of an encoder that is gone; the frame just sent to it goes to another, if nothing
// newer waits.
func (o *Origin) heardNobody(m bus.Msg, at time.Time) {
	_, _, name, err := subject.ParseRaw(m.Nobody)
	if err != nil || name == subject.Reader {
		return
	}
	lost := o.credit.Nobody(name, o.since(at))
	if o.last != nil && o.pending == nil {
		if i := slices.Index(lost, o.last.key()); i >= 0 {
			lost = slices.Delete(lost, i, i+1)
			o.pending, o.last = o.last, nil
		}
	}
	o.unanswered(lost)
}

func (o *Origin) heardFeedback(m bus.Msg, at time.Time) {
	var f pb.Feedback
	if bus.Decode(m, &f) != nil || f.GetReader() == "" || len(f.GetReader()) > subject.MaxName {
		return
	}
	nowUs := o.wall(at).UnixMicro()
	o.demand.Hear(&f, o.since(at), nowUs)
	o.want(o.since(at))
	if f.GetTraceNext() {
		o.sample.force()
	}
	if f.GetSentUs() == 0 {
		return
	}
	echo := &pb.ReaderEcho{Reader: f.GetReader(), SentUs: f.GetSentUs(), ReceivedUs: nowUs}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.echoes = slices.DeleteFunc(o.echoes, func(e *pb.ReaderEcho) bool {
		return e.GetReader() == echo.GetReader() || nowUs-e.GetReceivedUs() > demandLife.Microseconds()
	})
	if len(o.echoes) < maxReaders {
		o.echoes = append(o.echoes, echo)
	}
}

func (o *Origin) heardDone(m bus.Msg, at time.Time) {
	var d pb.Done
	if bus.Decode(m, &d) != nil || d.GetStream() != o.cfg.Stream {
		return
	}
	o.clock(&d, at)
	if d.GetFate() == pb.Fate_FATE_PROBE {
		o.credit.Probed(d.GetEncoder(), d.GetRun())
		return
	}
	k := key{d.GetEpoch(), d.GetSequence()}
	waited := time.Duration(d.GetWaitedUs()) * time.Microsecond
	if !o.credit.Done(d.GetEncoder(), d.GetRun(), k, waited, o.since(at)) {
		return
	}
	if o.last != nil && o.last.key() == k {
		o.last.release()
		o.last = nil
	}
	o.mu.Lock()
	o.book.answered(k.epoch, fateWord(d.GetFate()))
	o.mu.Unlock()
	o.meters.done(fateWord(d.GetFate()))
}

// fateWord is a fate's word in books and metrics.
func fateWord(f pb.Fate) string {
	switch f {
	case pb.Fate_FATE_ENCODED:
		return "encoded"
	case pb.Fate_FATE_SUPERSEDED:
		return "superseded"
	case pb.Fate_FATE_UNDEMANDED:
		return "undemanded"
	case pb.Fate_FATE_CORRUPT:
		return "corrupt"
	case pb.Fate_FATE_FOREIGN:
		return "foreign"
	default:
		return "unknown"
	}
}

// offsets are the encoders' clocks against this one's, by instance.
type offsets map[string]offset

type offset struct {
	us, uncertaintyUs int64
	at                time.Duration
}

const (
	// offsetLife is how long the least round trip counts before a worse, newer one replaces it: clocks drift.
	offsetLife = 30 * time.Second
	maxOffsets = 256
)

// clock keeps the offset that the least round trip tells, of the four times of a frame and its Done: sent and heard by
// this clock, received and answered by the encoder's.
func (o *Origin) clock(d *pb.Done, at time.Time) {
	if d.GetReceivedUs() == 0 || d.GetSentUs() == 0 {
		return
	}
	sent, ok := o.credit.sentAt(d.GetEncoder(), key{d.GetEpoch(), d.GetSequence()})
	if !ok {
		return
	}
	now := o.since(at)
	t1 := o.startUsNow() + sent.Microseconds()
	t4 := o.startUsNow() + now.Microseconds()
	next := offset{
		us:            ((d.GetReceivedUs() - t1) + (d.GetSentUs() - t4)) / 2,
		uncertaintyUs: max(0, (t4-t1)-(d.GetSentUs()-d.GetReceivedUs())) / 2,
		at:            now,
	}
	old, known := o.offsets[d.GetEncoder()]
	if known && next.uncertaintyUs > old.uncertaintyUs && now-old.at < offsetLife ||
		!known && len(o.offsets) >= maxOffsets {
		return
	}
	o.offsets[d.GetEncoder()] = next
	clocks := make([]*pb.ClockOffset, 0, len(o.offsets))
	for name, off := range o.offsets {
		if now-off.at > 2*offsetLife {
			delete(o.offsets, name)
			continue
		}
		clocks = append(clocks, &pb.ClockOffset{Instance: name, OffsetUs: off.us, UncertaintyUs: off.uncertaintyUs})
	}
	slices.SortFunc(clocks, func(a, b *pb.ClockOffset) int { return cmp.Compare(a.GetInstance(), b.GetInstance()) })
	o.mu.Lock()
	o.clocks = clocks
	o.mu.Unlock()
}

// sentAt is when an open frame was sent.
func (c *credit) sentAt(name string, k key) (time.Duration, bool) {
	if e := c.encoders[name]; e != nil {
		for _, o := range e.open {
			if o.key == k {
				return o.at, true
			}
		}
	}
	return 0, false
}
