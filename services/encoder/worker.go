package encoder

import (
	"errors"
	"fmt"
	"time"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/encoder/internal/jpeg"
	"github.com/framebus/framebus/services/encoder/internal/rung"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/framebus/framebus/services/internal/shm"
	"github.com/framebus/framebus/services/internal/span"
)

// packBelow is the size of the pictures, bytes, that are worth the time to be packed: of larger ones little would go.
const packBelow = 16 << 10

// coarseBelow is the quality below which details may go for the sake of bytes.
const coarseBelow = 50

// worker encodes one frame after the other. Its codecs and buffers are its own.
type worker struct {
	e      *encoder
	enc    *jpeg.Encoder
	dec    *jpeg.Decoder
	came   []byte // a JPEG that lay in shared memory
	out    []byte // envelope and JPEG
	planes []byte // of a frame that did not come as planes
	small  []byte // a rung's planes
	packer jpeg.Packer
	packed []byte // changes places with out
	rungs  []pb.Rung
}

func newWorker(e *encoder) (*worker, error) {
	enc, err := jpeg.New()
	if err != nil {
		return nil, err
	}
	dec, err := jpeg.NewDecoder()
	if err != nil {
		enc.Close()
		return nil, err
	}
	return &worker{e: e, enc: enc, dec: dec, out: make([]byte, frame.HeaderLen)}, nil
}

func (w *worker) close() {
	w.enc.Close()
	w.dec.Close()
}

func (w *worker) run() {
	for {
		j, old, displaced, ok := w.e.turns.take()
		if displaced {
			w.e.answer(old, superseded, nil)
		}
		if !ok {
			return
		}
		w.process(&j)
	}
}

func (w *worker) process(j *job) {
	w.e.stage.Enter()
	taken := w.e.clock.now()
	w.e.meters.waited.Record((taken.elapsed - j.received.elapsed).Seconds())
	wanted := w.e.demand.of(j.stream.name, time.Now())
	if wanted.rungs == 0 {
		w.e.finish(j, undemanded, taken, nil)
		return
	}
	if span.Sampled(&j.head, j.parent) {
		w.e.trace(j, taken.wall)
	}
	w.e.slow()
	j.head.SetHop(frame.Taken, taken.wall)
	w.rungs = w.rungs[:0]
	err := w.encode(j, wanted)
	o := encoded
	j.err = err
	if err != nil && !errors.Is(err, bus.ErrDisconnected) {
		w.e.faults.note(fmt.Errorf("frame of %s: %w", j.stream.name, err))
	}
	if len(w.rungs) == 0 {
		o = failed(err)
	}
	if errors.Is(err, shm.ErrGone) {
		w.e.regions.lose(j.region)
	}
	w.e.finish(j, o, taken, w.rungs)
	w.e.meters.took(w.e.clock.now().elapsed - taken.elapsed)
}

// look makes sure of shared memory before it is read. Raw pixels are read where they lie: whatever they are, nothing
// but the picture depends on it. A JPEG is taken apart from a copy that nobody changes meanwhile.
func (w *worker) look(j *job) error {
	if err := j.intact(); err != nil || !j.refers || j.head.Format != frame.JPEG {
		return err
	}
	w.came = append(w.came[:0], j.payload...)
	err := j.copied()
	j.payload = w.came
	return err
}

// encode publishes the wanted rungs, the largest first, and notes those that went out.
func (w *worker) encode(j *job, wanted wish) error {
	if err := w.look(j); err != nil {
		return err
	}
	if j.head.Format == frame.BGR24 && wanted.rungs == onlyFull {
		w.e.stages[frame.Full].Enter()
		t := w.e.traceRung(j, frame.Full, wanted.quality[frame.Full])
		begun := time.Now()
		out, err := w.enc.EncodeBGR24(w.out[:frame.HeaderLen], j.payload, int(j.head.Width), int(j.head.Height),
			wanted.quality[frame.Full])
		w.e.meters.rung[frame.Full].Record(time.Since(begun).Seconds())
		return w.publish(j, t, frame.Full, wanted.quality[frame.Full], out, err)
	}
	pix, err := w.i420(j)
	if err != nil {
		return err
	}
	for r := frame.Full; r < frame.Rungs; r++ {
		if !wanted.rungs.has(r) {
			continue
		}
		quality, fits := passes(j, r, wanted)
		w.e.stages[r].Enter()
		t := w.e.traceRung(j, r, quality)
		if fits {
			out := append(w.out[:frame.HeaderLen], j.payload...)
			if err := w.publish(j, t, r, quality, out, nil); err != nil {
				return err
			}
			continue
		}
		width, height := int(j.head.Width), int(j.head.Height)
		begun := time.Now()
		from := pix
		if r != frame.Full {
			w.small = rung.Down(w.small, pix, width, height, r)
			from = w.small
		}
		width, height = r.Size(width, height)
		out, err := w.enc.EncodeI420(w.out[:frame.HeaderLen], from, width, height, quality)
		if err == nil && r == frame.Quarter && len(out) < packBelow {
			general := out
			out = w.packer.Pack(append(w.packed[:0], general[:frame.HeaderLen]...), general[frame.HeaderLen:],
				quality < coarseBelow)
			w.packed = general
		}
		w.e.meters.rung[r].Record(time.Since(begun).Seconds())
		if err := w.publish(j, t, r, quality, out, err); err != nil {
			return err
		}
	}
	return nil
}

// passes tells whether a frame that came as a JPEG is good for a rung as it is: it has the size, and is not better than
// is wanted. The quality is then its own, else the wanted one. It has been decoded: nothing that is damaged goes on.
func passes(j *job, r frame.Rung, wanted wish) (quality int, fits bool) {
	if j.head.Format == frame.JPEG && r == frame.Full {
		if q, ok := jpeg.Quality(j.payload); ok && q <= wanted.quality[r] {
			return q, true
		}
	}
	return wanted.quality[r], false
}

// i420 gives the frame's planes, in whatever format it came.
func (w *worker) i420(j *job) ([]byte, error) {
	width, height := int(j.head.Width), int(j.head.Height)
	switch j.head.Format {
	case frame.BGR24:
		pix, err := w.enc.ConvertBGR24(w.planes, j.payload, width, height)
		if err != nil {
			return nil, err
		}
		w.planes = pix
		if err := j.copied(); err != nil {
			return nil, err
		}
	case frame.JPEG:
		gotW, gotH, err := w.dec.Header(j.payload)
		if err != nil {
			return nil, err
		}
		if gotW != width || gotH != height {
			return nil, fmt.Errorf("envelope says %d×%d, the JPEG is %d×%d", width, height, gotW, gotH)
		}
		pix, _, _, err := w.dec.Decode(w.planes, j.payload)
		if err != nil {
			return nil, err
		}
		w.planes = pix
	default:
		return j.payload, nil
	}
	return w.planes, nil
}

// publish sends what an encoder returned: room for the envelope and the JPEG behind it. What was made of memory that
// has changed meanwhile is not sent.
func (w *worker) publish(j *job, t *rungTrace, r frame.Rung, quality int, out []byte, err error) error {
	if err == nil {
		w.out = out
		err = j.intact()
	}
	if err == nil {
		h := j.head
		h.Flags &^= frame.FlagReference
		h.Format, h.Rung, h.Quality, h.Channel = frame.JPEG, r, uint8(quality), 0
		width, height := r.Size(int(h.Width), int(h.Height))
		h.Width, h.Height = uint16(width), uint16(height)
		h.PayloadLen = uint32(len(out) - frame.HeaderLen)
		encoded := w.e.clock.now().wall
		h.SetHop(frame.Encoded, encoded)
		h.Put(out)
		m := bus.Msg{Subject: j.stream.jpeg[r], Traceparent: j.parent, Data: out}
		if t != nil {
			m.Traceparent = t.send(&h, &m, encoded)
		}
		err = w.e.d.Bus.Data.Publish(m)
	}
	if t != nil {
		t.end(err)
	}
	if err == nil {
		w.rungs = append(w.rungs, pb.Rung(r))
		j.stream.meters.picture(r, len(out)-frame.HeaderLen, quality, time.Now())
	}
	return err
}
