package load

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/jpeg"

	"github.com/framebus/framebus/proto/frame"
)

// stripReader reads latency strips.
type stripReader struct {
	r   bytes.Reader
	buf []byte
}

// read decodes the first rows of a picture: it is told to be no higher than the strip, and ends early. It changes jpg.
func (s *stripReader) read(jpg []byte, nearUs int64) (us int64, ok bool) {
	scan, height := cut(jpg)
	if scan == 0 {
		return 0, false
	}
	// The strip is flat: its rows take less than their share. Where they do not, all is read; the decoder skips what
	// follows the rows it wants as extraneous.
	share := scan + 1024 + 2*(len(jpg)-scan)*frame.StripRows/max(height, frame.StripRows)
	if share < len(jpg) {
		s.buf = append(append(s.buf[:0], jpg[:share]...), 0xFF, 0xD9)
		if us, ok := s.decode(s.buf, nearUs); ok {
			return us, true
		}
	}
	return s.decode(jpg, nearUs)
}

func (s *stripReader) decode(jpg []byte, nearUs int64) (us int64, ok bool) {
	s.r.Reset(jpg)
	img, err := jpeg.Decode(&s.r)
	if err != nil {
		return 0, false
	}
	b := img.Bounds()
	switch img := img.(type) {
	case *image.YCbCr:
		return frame.ReadStrip(func(x, y int) uint8 { return img.Y[img.YOffset(x, y)] }, b.Dx(), b.Dy(), nearUs)
	case *image.Gray:
		return frame.ReadStrip(func(x, y int) uint8 { return img.Pix[img.PixOffset(x, y)] }, b.Dx(), b.Dy(), nearUs)
	}
	return 0, false
}

// cut lowers the height in a baseline picture's frame header to the strip's; it returns what it was, and where the
// scan begins: 0 where this is no such picture.
func cut(jpg []byte) (scan, height int) {
	const sof0, sos = 0xC0, 0xDA
	for at := 2; at+9 < len(jpg) && jpg[at] == 0xFF; {
		marker, length := jpg[at+1], int(binary.BigEndian.Uint16(jpg[at+2:]))
		switch marker {
		case sof0:
			field := jpg[at+5 : at+7]
			height = int(binary.BigEndian.Uint16(field))
			binary.BigEndian.PutUint16(field, uint16(min(height, frame.StripRows)))
		case sos:
			if height == 0 {
				return 0, 0
			}
			return at, height
		}
		at += 2 + length
	}
	return 0, 0
}
