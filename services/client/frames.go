package client

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"sync"
	"time"

	"github.com/framebus/framebus/proto/frame"
)

// Frame is one picture. It belongs to whoever it was handed to.
type Frame struct {
	// Header as it came. With the formats Bare and Sized it tells the payload's format and length only.
	Header frame.Header
	Stream string
	JPEG   []byte
	// ReceivedAt is when the last byte was read, by this machine's clock.
	ReceivedAt time.Time
	// Missed is the number of frames of the stream between this one and the one before that did not come, also while
	// there was no connection; 0 at the start of an epoch.
	Missed uint64

	age, uncertainty time.Duration
	st               *stream
	buf              []byte
	home             *buffers
}

func (f *Frame) paint() paint {
	return paint{
		channel: f.Header.Channel, epoch: f.Header.Epoch, sequence: f.Header.Sequence,
		sampled: f.Header.Flags&frame.FlagSampled != 0,
	}
}

// Age is the time from capture until the last byte was read, clocks corrected, and how wrong it may be. It is not ok
// where the clocks' offset is not known: in the first moments of a connection, and with Bare and Sized.
func (f *Frame) Age() (age, uncertainty time.Duration, ok bool) {
	return f.age, max(f.uncertainty, 0), f.uncertainty >= 0
}

// Image decodes the picture.
func (f *Frame) Image() (image.Image, error) {
	img, err := jpeg.Decode(bytes.NewReader(f.JPEG))
	if err != nil {
		return nil, fmt.Errorf("decode frame %d of stream %q: %w", f.Header.Sequence, f.Stream, err)
	}
	return img, nil
}

// Release gives the picture's memory back for the next one; JPEG must not be used any more, by anybody. It is
// optional: a frame that is not released is the garbage collector's.
func (f *Frame) Release() {
	if f.buf == nil {
		return
	}
	f.home.put(f.buf)
	f.JPEG, f.buf = nil, nil
}

// buffers keeps memory of released pictures.
type buffers struct {
	mu   sync.Mutex
	free [][]byte // bound: 4, more are the garbage collector's
	size int      // of the largest lately: what a new one should hold
}

func (b *buffers) get() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.free); n > 0 {
		buf := b.free[n-1]
		b.free = b.free[:n-1]
		return buf
	}
	return make([]byte, 0, max(b.size+b.size/8, 4096))
}

func (b *buffers) put(buf []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.free) < 4 && cap(buf) <= 4*b.size+4096 {
		b.free = append(b.free, buf[:0])
	}
}

// saw keeps the size, which sinks slowly, so that one large picture does not make all that follow large.
func (b *buffers) saw(n int) {
	b.mu.Lock()
	b.size = max(n, b.size-b.size/64)
	b.mu.Unlock()
}

// readInto fills buf with all of r, growing it; touch is called as bytes come.
func readInto(buf []byte, r io.Reader, touch func()) ([]byte, error) {
	buf = buf[:0]
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
		touch()
	}
}

var errNoPicture = errors.New("not a picture")

// parse reads a binary message.
func parse(format Format, b []byte) (frame.Header, []byte, error) {
	if format == V1 {
		h, payload, err := frame.Parse(b)
		if err == nil && (h.Format != frame.JPEG || len(payload) == 0) {
			err = errNoPicture
		}
		return h, payload, err
	}
	if format == Sized {
		if len(b) < 8 || binary.LittleEndian.Uint64(b) != uint64(len(b)-8) {
			return frame.Header{}, nil, frame.ErrLength
		}
		b = b[8:]
	}
	if len(b) < 4 || b[0] != 0xFF || b[1] != 0xD8 {
		return frame.Header{}, nil, errNoPicture
	}
	h := frame.NewHeader()
	h.Format, h.PayloadLen = frame.JPEG, uint32(len(b))
	return h, b, nil
}

// box hands frames from the reader to the receiver. Newest first it holds one frame a stream, replaced where it stands,
// so that streams take turns; with every frame it is a queue, and the reader waits for room.
type box struct {
	every bool
	limit int           // bound of pending where every is set: put waits
	more  chan struct{} // holds a token while there may be a frame
	room  chan struct{} // holds a token while there may be room

	mu      sync.Mutex
	pending []*Frame
	closed  bool
}

func newBox(every bool, limit int) *box {
	return &box{every: every, limit: limit, more: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// put returns the frame that f displaced, if any.
func (b *box) put(ctx context.Context, f *Frame) (displaced *Frame, err error) {
	for {
		b.mu.Lock()
		if !b.every {
			for i, old := range b.pending {
				if old.st == f.st {
					b.pending[i], displaced = f, old
				}
			}
		}
		if fits := !b.every || len(b.pending) < b.limit; displaced != nil || fits {
			if displaced == nil {
				b.pending = append(b.pending, f)
			}
			b.mu.Unlock()
			signal(b.more)
			return displaced, nil
		}
		b.mu.Unlock()
		select {
		case <-b.room:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take waits for a frame; it is nil once the box is closed and, where every frame counts, empty.
func (b *box) take(ctx context.Context) *Frame {
	for ctx.Err() == nil {
		b.mu.Lock()
		if b.closed && !b.every {
			b.pending = nil
		}
		if len(b.pending) > 0 {
			f := b.pop(0)
			b.mu.Unlock()
			return f
		}
		closed := b.closed
		b.mu.Unlock()
		if closed {
			return nil
		}
		select {
		case <-b.more:
		case <-ctx.Done():
		}
	}
	return nil
}

// newer takes the frame that came after f in its stream, if newest wins; over is said once the box is closed.
func (b *box) newer(f *Frame) (g *Frame, over bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.every {
		return nil, false
	}
	for i, g := range b.pending {
		if g.st == f.st {
			return b.pop(i), b.closed
		}
	}
	return nil, b.closed
}

func (b *box) pop(i int) *Frame {
	f := b.pending[i]
	copy(b.pending[i:], b.pending[i+1:])
	b.pending[len(b.pending)-1] = nil // a taken frame must not be kept alive
	b.pending = b.pending[:len(b.pending)-1]
	signal(b.room)
	return f
}

func (b *box) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	signal(b.more)
}

// deliver hands frames to the receiver until ctx or the connection ends.
func (v *Viewer) deliver(ctx context.Context) error {
	for {
		f := v.box.take(ctx)
		if f == nil {
			return nil
		}
		if v.deps.Frames != nil && !v.offer(ctx, f) {
			return nil
		}
		if v.deps.Frames != nil {
			continue
		}
		st, p := f.st, f.paint() // copied: the frame is the receiver's from here on
		if v.deps.OnFrame != nil {
			v.deps.OnFrame(f)
		} else {
			f.Release()
		}
		v.painted(st, p)
	}
}

// offer sends f, or what is newer by the time somebody takes it; false where it ends first.
func (v *Viewer) offer(ctx context.Context, f *Frame) bool {
	for {
		st, p := f.st, f.paint()
		select {
		case v.deps.Frames <- f:
			v.painted(st, p)
			return true
		case <-v.box.more:
			g, over := v.box.newer(f)
			if over {
				return false
			}
			if g != nil {
				v.displaced(f)
				f = g
			}
		case <-ctx.Done():
			return false
		}
	}
}
