// Package jpeg makes JPEGs of raw pictures and takes them apart, with libjpeg-turbo's planar interface: I420 goes in
// without a colour conversion. A handle and its buffers are reused for every picture and belong to one goroutine; a
// worker has its own. It knows nothing of frames' envelopes, but leaves room in front for one.
package jpeg

// #cgo CFLAGS: -O2
// #cgo linux LDFLAGS: -lturbojpeg
// #cgo !linux pkg-config: libturbojpeg
// #cgo noescape fb_encode_i420
// #cgo nocallback fb_encode_i420
// #cgo noescape fb_encode_bgr
// #cgo nocallback fb_encode_bgr
// #cgo noescape fb_planes_bgr
// #cgo nocallback fb_planes_bgr
// #include "turbo.h"
import "C"

import (
	"errors"
	"fmt"
	"slices"

	"github.com/framebus/framebus/proto/frame"
)

// MaxPixels bounds a picture; 4096×2304 is more than 4K. A picture of that size costs a worker 60 MB of buffers.
const MaxPixels = 4096 * 2304

// Errors that a caller may tell apart; what is returned wraps them.
var (
	ErrSize    = errors.New("impossible picture size")
	ErrQuality = errors.New("quality out of 1..100")
	ErrPayload = errors.New("payload is not of that size")
	ErrCorrupt = errors.New("corrupt JPEG")
)

// Encoder makes JPEGs (baseline, 4:2:0). It is for one goroutine.
type Encoder struct {
	handle C.tjhandle
	luma   []byte // of pictures with an odd side, padded to even
}

// New makes an encoder. Close it at the end.
func New() (*Encoder, error) {
	h := C.tjInitCompress()
	if h == nil {
		return nil, errors.New("jpeg: no compressor: " + failure(nil))
	}
	return &Encoder{handle: h}, nil
}

// Close frees the handle; the encoder must not be used any more.
func (e *Encoder) Close() {
	C.tjDestroy(e.handle)
	e.handle = nil
}

// EncodeI420 appends the JPEG of a w×h picture of tight planes to dst and returns the longer slice. Whatever dst holds
// stays in front, so an envelope's room can be left there; a dst that was returned before, cut to that room, has the
// capacity that is needed and nothing is allocated.
func (e *Encoder) EncodeI420(dst, pix []byte, w, h, quality int) ([]byte, error) {
	if err := checkRaw(frame.I420, pix, w, h, quality); err != nil {
		return dst, err
	}
	dst, room := grow(dst, w, h)
	p := planesOf(pix, w, h)
	y, strideY := p.y, w
	if w%2 != 0 || h%2 != 0 {
		y, strideY = e.pad(p.y, w, h), evened(w)
	}
	n := C.fb_encode_i420(e.handle, ptr(y), ptr(p.u), ptr(p.v), C.int(w), C.int(h), C.int(strideY), C.int(p.strideC),
		C.int(quality), ptr(room), C.ulong(len(room)))
	if n < 0 {
		return dst, fmt.Errorf("jpeg: encode %d×%d: %s", w, h, failure(e.handle))
	}
	return dst[:len(dst)+int(n)], nil
}

// EncodeBGR24 is EncodeI420 for interleaved pixels of 3 bytes.
func (e *Encoder) EncodeBGR24(dst, pix []byte, w, h, quality int) ([]byte, error) {
	if err := checkRaw(frame.BGR24, pix, w, h, quality); err != nil {
		return dst, err
	}
	dst, room := grow(dst, w, h)
	n := C.fb_encode_bgr(e.handle, ptr(pix), C.int(w), C.int(h), C.int(quality), ptr(room), C.ulong(len(room)))
	if n < 0 {
		return dst, fmt.Errorf("jpeg: encode %d×%d: %s", w, h, failure(e.handle))
	}
	return dst[:len(dst)+int(n)], nil
}

// ConvertBGR24 gives the I420 planes of interleaved pixels, in dst where that has the capacity.
func (e *Encoder) ConvertBGR24(dst, pix []byte, w, h int) ([]byte, error) {
	if err := checkRaw(frame.BGR24, pix, w, h, 1); err != nil {
		return nil, err
	}
	dst = resize(dst, frame.PayloadSize(frame.I420, w, h))
	p := planesOf(dst, w, h)
	y, strideY := p.y, w
	odd := w%2 != 0 || h%2 != 0
	if odd {
		e.luma = resize(e.luma, evened(w)*evened(h))
		y, strideY = e.luma, evened(w)
	}
	if C.fb_planes_bgr(e.handle, ptr(pix), C.int(w), C.int(h), ptr(y), ptr(p.u), ptr(p.v), C.int(strideY),
		C.int(p.strideC)) != 0 {
		return nil, fmt.Errorf("jpeg: convert %d×%d: %s", w, h, failure(e.handle))
	}
	if odd {
		crop(p.y, e.luma, w, h)
	}
	return dst, nil
}

// pad gives the luma plane even sides by repeating its last column and row: turbojpeg reads an even number of both,
// and what stood behind the plane would ring in the last blocks.
func (e *Encoder) pad(y []byte, w, h int) []byte {
	stride := evened(w)
	e.luma = resize(e.luma, stride*evened(h))
	for row := range evened(h) {
		from := y[min(row, h-1)*w:][:w]
		to := e.luma[row*stride:][:stride]
		copy(to, from)
		to[stride-1] = from[w-1]
	}
	return e.luma
}

// crop is pad's inverse.
func crop(dst, padded []byte, w, h int) {
	stride := evened(w)
	for row := range h {
		copy(dst[row*w:][:w], padded[row*stride:])
	}
}

type planes struct {
	y, u, v []byte
	strideC int
}

func planesOf(pix []byte, w, h int) planes {
	cw, ch := (w+1)/2, (h+1)/2
	return planes{y: pix[:w*h], u: pix[w*h:][:cw*ch], v: pix[w*h+cw*ch:][:cw*ch], strideC: cw}
}

func evened(n int) int { return n + n%2 }

func checkRaw(f frame.Format, pix []byte, w, h, quality int) error {
	if quality < 1 || quality > 100 {
		return fmt.Errorf("jpeg: %w: %d", ErrQuality, quality)
	}
	if err := checkSize(w, h); err != nil {
		return err
	}
	if want := frame.PayloadSize(f, w, h); len(pix) != want {
		return fmt.Errorf("jpeg: %w: %d bytes for %d×%d, want %d", ErrPayload, len(pix), w, h, want)
	}
	return nil
}

func checkSize(w, h int) error {
	if w < 1 || h < 1 || w > frame.MaxSide || h > frame.MaxSide || w*h > MaxPixels {
		return fmt.Errorf("jpeg: %w: %d×%d", ErrSize, w, h)
	}
	return nil
}

// grow makes room behind dst for the largest JPEG of that size, so that turbojpeg never reallocates.
func grow(dst []byte, w, h int) (same, room []byte) {
	need := int(C.tjBufSize(C.int(w), C.int(h), C.TJSAMP_420))
	dst = slices.Grow(dst, need)
	return dst, dst[len(dst) : len(dst)+need]
}

func resize(b []byte, n int) []byte {
	if cap(b) < n {
		return make([]byte, n)
	}
	return b[:n]
}

func ptr(b []byte) *C.uchar { return (*C.uchar)(&b[0]) }

func failure(h C.tjhandle) string { return C.GoString(C.tjGetErrorStr2(h)) }
