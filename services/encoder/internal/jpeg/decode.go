package jpeg

// #cgo noescape fb_header
// #cgo nocallback fb_header
// #cgo noescape fb_decode_planes
// #cgo nocallback fb_decode_planes
// #cgo noescape fb_decode_bgr
// #cgo nocallback fb_decode_bgr
// #include "turbo.h"
import "C"

import (
	"errors"
	"fmt"

	"github.com/framebus/framebus/proto/frame"
)

// Decoder takes JPEGs of anybody's making apart. It is for one goroutine.
type Decoder struct {
	handle C.tjhandle
	enc    *Encoder // converts what is not 4:2:0
	luma   []byte   // of pictures with an odd side, padded to even
	bgr    []byte
}

// NewDecoder makes a decoder. Close it at the end.
func NewDecoder() (*Decoder, error) {
	enc, err := New()
	if err != nil {
		return nil, err
	}
	h := C.tjInitDecompress()
	if h == nil {
		enc.Close()
		return nil, errors.New("jpeg: no decompressor: " + failure(nil))
	}
	return &Decoder{handle: h, enc: enc}, nil
}

// Close frees the handles; the decoder must not be used any more.
func (d *Decoder) Close() {
	d.enc.Close()
	C.tjDestroy(d.handle)
	d.handle = nil
}

// Header reads a JPEG's size in pixels and refuses one that is not between 1×1 and MaxPixels.
func (d *Decoder) Header(jpeg []byte) (w, h int, err error) {
	i, err := d.header(jpeg)
	return int(i.w), int(i.h), err
}

func (d *Decoder) header(jpeg []byte) (C.fb_info, error) {
	if len(jpeg) == 0 {
		return C.fb_info{}, fmt.Errorf("jpeg: %w: empty", ErrCorrupt)
	}
	i := C.fb_header(d.handle, ptr(jpeg), C.ulong(len(jpeg)))
	if i.failed != 0 {
		return C.fb_info{}, fmt.Errorf("jpeg: %w: %s", ErrCorrupt, failure(d.handle))
	}
	if err := checkSize(int(i.w), int(i.h)); err != nil {
		return C.fb_info{}, err
	}
	return i, nil
}

// Decode gives the I420 planes of a JPEG and its size in pixels, in dst where that has the capacity. Anything that
// libjpeg would only warn of is an error: a picture that was cut short is not shown half grey.
func (d *Decoder) Decode(dst, jpeg []byte) (pix []byte, w, h int, err error) {
	i, err := d.header(jpeg)
	if err != nil {
		return nil, 0, 0, err
	}
	w, h = int(i.w), int(i.h)
	if i.planar == 0 {
		pix, err = d.convert(dst, jpeg, w, h)
		return pix, w, h, err
	}
	pix = resize(dst, frame.PayloadSize(frame.I420, w, h))
	p := planesOf(pix, w, h)
	y, strideY := p.y, w
	odd := w%2 != 0 || h%2 != 0
	if odd {
		d.luma = resize(d.luma, evened(w)*evened(h))
		y, strideY = d.luma, evened(w)
	}
	if C.fb_decode_planes(d.handle, ptr(jpeg), C.ulong(len(jpeg)), i.w, i.h, ptr(y), ptr(p.u), ptr(p.v),
		C.int(strideY), C.int(p.strideC)) != 0 {
		return nil, 0, 0, fmt.Errorf("jpeg: %w: %s", ErrCorrupt, failure(d.handle))
	}
	if odd {
		crop(p.y, d.luma, w, h)
	}
	return pix, w, h, nil
}

// convert takes the way over interleaved pixels, which libjpeg knows for every sampling and for grey.
func (d *Decoder) convert(dst, jpeg []byte, w, h int) ([]byte, error) {
	d.bgr = resize(d.bgr, frame.PayloadSize(frame.BGR24, w, h))
	if C.fb_decode_bgr(d.handle, ptr(jpeg), C.ulong(len(jpeg)), C.int(w), C.int(h), ptr(d.bgr)) != 0 {
		return nil, fmt.Errorf("jpeg: %w: %s", ErrCorrupt, failure(d.handle))
	}
	return d.enc.ConvertBGR24(dst, d.bgr, w, h)
}
