package origin

import (
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/bus"
)

// event is what an origin hears of: a Status, a Feedback, or else a Done.
type event struct {
	at       time.Time
	status   *pb.Status
	msg      bus.Msg
	feedback bool
}

// put never waits: it may be called on the bus's goroutines.
func (o *Origin) put(e event) {
	if _, displaced := o.inbox.Put(e); displaced {
		o.meters.displaced.Add(1)
	}
}

// hear takes in all that has come.
func (o *Origin) hear() {
	for e, ok := o.inbox.TryTake(); ok; e, ok = o.inbox.TryTake() {
		switch {
		case e.status != nil:
			o.hearStatus(e.status, e.at)
		case e.feedback:
			o.hearFeedback(e.msg, e.at)
		case e.msg.NoResponders:
			o.hearNobody(e.msg.Nobody, e.at)
		default:
			o.hearDone(e.msg, e.at)
		}
	}
}

func (o *Origin) hearDone(m bus.Msg, at time.Time) {
	d := &pb.Done{}
	if bus.Decode(m, d) != nil {
		return // whoever answers garbage is no encoder; the frame times out
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	a := o.credit.done(d, at)
	if acct := o.account(d.GetEpoch()); acct != nil {
		acct.answer(d, a.booked)
	}
	if !a.booked {
		return
	}
	o.mem.back(a.frameID)
	o.meters.answered(a.took, a.span)
	o.offsets.measure(d, o.clock.us(a.at), o.clock.us(at), at)
}

// hearNobody takes note of the server's word that nobody listens to a subject. A frame that was refused so is handed on
// if nothing newer waits.
func (o *Origin) hearNobody(raw string, at time.Time) {
	by, stream, name, err := subject.ParseRaw(raw)
	if err != nil || by != o.cfg.By || stream != o.cfg.Stream {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	refusedHere := o.kept != nil && o.keptAt == name && o.credit.holds(name, o.kept.id())
	lost := o.credit.nobody(name, at)
	if refusedHere && o.hand == nil && o.slot.Len() == 0 && o.kept.head.Epoch == o.claim.epoch && !o.ending {
		o.hand, o.kept = o.kept, nil
		o.hand.again = true
		o.acct.handOn(o.hand.head.Sequence) // so it is not lost
	}
	o.lose(lost, at)
}

func (o *Origin) hearFeedback(m bus.Msg, at time.Time) {
	f := &pb.Feedback{}
	if bus.Decode(m, f) != nil {
		return // not a reader's word; there is nobody to tell
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.demand.hear(f, at, o.clock.us(at))
	o.want = o.demand.merged(at)
	o.traceNext = o.traceNext || f.GetTraceNext()
}

func (o *Origin) hearStatus(s *pb.Status, at time.Time) {
	if s.GetService() == o.me.Service && s.GetInstance() == o.me.Instance {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if e := s.GetEncoder(); e != nil {
		o.lose(o.credit.hear(s.GetInstance(), s.GetRun(), int(e.GetWorkers()), s.GetDraining(), at), at)
		o.credit.hearMapped(s.GetInstance(), s.GetRun(), e.GetMapped())
	}
	o.vouch(s.GetGateway(), at)
	r := rival{instance: s.GetInstance(), draining: s.GetDraining(), at: at}
	for _, st := range s.GetStreams() {
		if st.GetName() != o.cfg.Stream {
			continue
		}
		r.epoch, r.by = st.GetEpoch(), subject.Cam
		if st.GetOwner() == pb.Owner_OWNER_PUB {
			r.by = subject.Pub
		}
	}
	o.claim.hear(s.GetService()+"."+s.GetInstance(), r)
}
