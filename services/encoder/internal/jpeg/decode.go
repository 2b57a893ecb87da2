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
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"

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
	runtime.LockOSThread() // libjpeg-turbo keeps its last error by thread
	defer runtime.UnlockOSThread()
	i, err := d.header(jpeg)
	return int(i.w), int(i.h), err
}

func (d *Decoder) header(jpeg []byte) (C.fb_info, error) {
	if len(jpeg) == 0 {
		return C.fb_info{}, fmt.Errorf("jpeg: %w: empty", ErrCorrupt)
	}
	if w, h, ok := frameSize(jpeg); ok {
		if err := checkSize(w, h); err != nil {
			return C.fb_info{}, err
		}
	}
	i := C.fb_header(d.handle, ptr(jpeg), C.ulong(len(jpeg)))
	if i.failed != 0 {
		return C.fb_info{}, d.failed()
	}
	if err := checkSize(int(i.w), int(i.h)); err != nil {
		return C.fb_info{}, err
	}
	return i, nil
}

// failed says what libjpeg complained of, and takes a new handle: after a header that it could not read, libjpeg-turbo
// 2.1 reads the next one as if it were the rest of it.
func (d *Decoder) failed() error {
	what := "damaged or cut short" // a warning leaves no text behind
	if C.tjGetErrorCode(d.handle) != C.TJERR_WARNING {
		what = failure(d.handle)
	}
	if fresh := C.tjInitDecompress(); fresh != nil {
		C.tjDestroy(d.handle)
		d.handle = fresh
	}
	return fmt.Errorf("jpeg: %w: %s", ErrCorrupt, what)
}

// frameSize finds the size that a JPEG's frame header tells, before libjpeg is let near it; not ok where there is none.
func frameSize(jpeg []byte) (w, h int, ok bool) {
	const soi, frameLen = 2, 9
	for at := soi; at+frameLen <= len(jpeg) && jpeg[at] == 0xFF; {
		marker := jpeg[at+1]
		switch {
		case marker == 0xFF: // fill
			at++
			continue
		case marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC:
			be := binary.BigEndian
			return int(be.Uint16(jpeg[at+7:])), int(be.Uint16(jpeg[at+5:])), true
		case marker == 0xDA, marker == 0xD9:
			return 0, 0, false
		}
		at += 2 + int(binary.BigEndian.Uint16(jpeg[at+2:]))
	}
	return 0, 0, false
}

// Decode gives the I420 planes of a JPEG and its size in pixels, in dst where that has the capacity. Anything that
// libjpeg would only warn of is an error: a picture that was cut short is not shown half grey.
func (d *Decoder) Decode(dst, jpeg []byte) (pix []byte, w, h int, err error) {
	runtime.LockOSThread() // libjpeg-turbo keeps its last error by thread
	defer runtime.UnlockOSThread()
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
		return nil, 0, 0, d.failed()
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
		return nil, d.failed()
	}
	return d.enc.ConvertBGR24(dst, d.bgr, w, h)
}
