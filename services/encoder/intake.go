package encoder

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/shm"
)

// stream is what the encoder keeps of a subject that frames come on.
type stream struct {
	by   subject.By
	name string
	done string // the only subject that its frames may want their Done on
	raw  string // that they come on
	jpeg [frame.Rungs]string

	// quality that a sampled frame was last encoded with, by rung; 0: none was.
	quality [frame.Rungs]atomic.Int32
	meters  *streamMeters

	// Owned by the intake.
	delay leastDelay
	seen  time.Time

	// Owned by turns.
	line line
}

func newStream(rawSubject string) (*stream, error) {
	by, name, _, err := subject.ParseRaw(rawSubject)
	if err != nil {
		return nil, err
	}
	s := &stream{by: by, name: name, done: subject.Done(by, name), raw: rawSubject}
	for r := range s.jpeg {
		s.jpeg[r] = subject.JPEG(name, frame.Rung(r))
	}
	return s, nil
}

// forgetAfter is how long a stream that brings nothing is kept.
const forgetAfter = time.Minute

// referral is what a reference to shared memory was found to be, when it came.
type referral int

const (
	followed referral = iota
	malformed
	unmapped  // into a region that is not mapped here, or not any more
	beyond    // into another stream's region, or to what is not in it
	late      // to a slot that was given to another frame
	referrals // their number
)

var referralNames = [referrals]string{"followed", "malformed", "unmapped", "beyond", "late"}

// intake sorts what comes from the bus: a frame into its stream's line, anything else to be answered at once. Its
// handle runs on the subscription's one goroutine and waits for nothing.
type intake struct {
	e       *encoder
	streams map[string]*stream // by subject; bound: maxStreams
}

func newIntake(e *encoder) *intake { return &intake{e: e, streams: map[string]*stream{}} }

func (in *intake) handle(m bus.Msg) {
	at := in.e.clock.now()
	s, err := in.stream(m.Subject)
	if err != nil {
		in.refuse(err)
		return
	}
	head, payload, err := frame.Parse(m.Data)
	if errors.Is(err, frame.ErrTruncated) || errors.Is(err, frame.ErrMagic) {
		in.refuse(fmt.Errorf("frame of %s: %w", s.name, err))
		return
	}
	j := job{
		stream: s, reply: m.Reply, parent: m.Traceparent, head: head, payload: payload, bytes: len(m.Data), received: at,
	}
	if j.reply != s.done {
		j.reply = ""
	}
	refers := head.Flags&frame.FlagReference != 0
	switch now := time.Now(); {
	case err != nil:
		in.e.answer(j, corrupt, err)
	case head.PayloadLen == 0:
		in.e.answer(j, probe, nil)
	case s.by == subject.Pub && in.e.cams.live(s.name, now):
		in.e.answer(j, foreign, nil)
	case s.delay.stale(&head, at):
		in.e.answer(j, stale, nil)
	case refers && !in.refer(&j):
	default:
		if old, displaced := in.e.turns.put(j); displaced {
			in.e.answer(old, superseded, nil)
		}
	}
}

// refer gives a job the payload that its frame refers to. Where there is none it has the frame answered.
func (in *intake) refer(j *job) bool {
	found, err := in.find(j)
	in.e.meters.references[found].Add(1)
	if err == nil {
		return true
	}
	if errors.Is(err, shm.ErrGone) {
		in.e.regions.lose(j.region)
	}
	in.e.answer(*j, failed(err), err)
	return false
}

func (in *intake) find(j *job) (referral, error) {
	ref, err := frame.ParseReference(&j.head, j.payload)
	if err != nil {
		return malformed, err
	}
	if j.head.Format == frame.JPEG && ref.Length > frame.MaxPayload {
		return malformed, fmt.Errorf("%w: a JPEG of %d bytes", frame.ErrLength, ref.Length)
	}
	j.region = ref.Region
	j.pixels, err = in.e.regions.read(j.stream, &ref)
	switch {
	case err == nil:
		j.refers, j.payload = true, j.pixels.Bytes
		return followed, nil
	case errors.Is(err, shm.ErrGone):
		return unmapped, err
	case errors.Is(err, shm.ErrOverwritten):
		return late, err
	default:
		return beyond, err
	}
}

func (in *intake) refuse(err error) {
	in.e.meters.unreadable.Add(1)
	in.e.faults.note(err)
}

func (in *intake) stream(rawSubject string) (*stream, error) {
	now := time.Now()
	s := in.streams[rawSubject]
	if s == nil {
		var err error
		if s, err = newStream(rawSubject); err != nil {
			return nil, err
		}
		if len(in.streams) >= maxStreams {
			in.forget(now)
		}
		if len(in.streams) >= maxStreams {
			return nil, fmt.Errorf("stream %q: %d others already send frames here", s.name, maxStreams)
		}
		s.meters = in.e.meters.stream(s.name)
		in.streams[rawSubject] = s
	}
	s.seen = now
	return s, nil
}

func (in *intake) forget(now time.Time) {
	for key, s := range in.streams {
		if now.Sub(s.seen) > forgetAfter {
			delete(in.streams, key)
		}
	}
}
