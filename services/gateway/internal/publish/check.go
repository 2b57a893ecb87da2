package publish

import (
	"bytes"
	"errors"
	"fmt"
	"image/jpeg"

	"github.com/framebus/framebus/proto/frame"
)

// reason says why a message was not taken; it is a metric's label and a word of /api/v1/publishers.
type reason string

const (
	notBinary reason = "text"      // neither a picture nor a control message
	envelope  reason = "envelope"  // an envelope that is not one, or of raw pixels
	notJPEG   reason = "not_jpeg"  // no JPEG, or of a kind that cannot be shown
	cut       reason = "truncated" // no end of image
	tooWide   reason = "size"      // in px
	tooFast   reason = "rate"
	tooBig    reason = "too_big" // in bytes: ends the connection
)

// refusal is a reason with words for the client.
type refusal struct {
	reason reason
	words  string
}

func (r *refusal) Error() string { return r.words }

func refused(why reason, format string, args ...any) *refusal {
	return &refusal{why, fmt.Sprintf(format, args...)}
}

var (
	startOfImage = []byte{0xFF, 0xD8}
	endOfImage   = []byte{0xFF, 0xD9}
	magic        = []byte("FBF1")
)

// maxPixels is what encoders take.
const maxPixels = 4096 * 2304

// check finds the JPEG in a message, bare or behind an envelope, and its size in px. It looks at everything but the
// entropy-coded data, which the encoder checks: what is cut short, no JPEG or too large never reaches the bus.
func check(b []byte, maxSide int) (pic []byte, w, h int, err error) {
	if bytes.HasPrefix(b, magic) {
		head, payload, err := frame.Parse(b)
		if err != nil {
			return nil, 0, 0, refused(envelope, "envelope: %v", err)
		}
		if head.Format != frame.JPEG || head.Flags&frame.FlagReference != 0 {
			return nil, 0, 0, refused(envelope, "the envelope's payload must be a JPEG")
		}
		b = payload
	}
	if !bytes.HasPrefix(b, startOfImage) {
		return nil, 0, 0, refused(notJPEG, "a message must be one JPEG, bare or behind an envelope")
	}
	pic = bytes.TrimRight(b, "\x00") // some cameras pad
	if !bytes.HasSuffix(pic, endOfImage) {
		return nil, 0, 0, refused(cut, "the JPEG has no end: it was cut short")
	}
	config, err := jpeg.DecodeConfig(bytes.NewReader(pic))
	if err != nil {
		return nil, 0, 0, refused(notJPEG, "not a JPEG that can be shown: %v", err)
	}
	w, h = config.Width, config.Height
	switch {
	case w < 1 || h < 1 || w > maxSide || h > maxSide:
		return nil, 0, 0, refused(tooWide, "%d×%d: each side must be 1..%d px (FRAMEBUS_PUBLISH_MAX_SIDE)", w, h, maxSide)
	case w*h > maxPixels:
		return nil, 0, 0, refused(tooWide, "%d×%d: at most %d pixels can be encoded", w, h, maxPixels)
	}
	return pic, w, h, nil
}

// reasonOf tells apart what check returns.
func reasonOf(err error) reason {
	var r *refusal
	if errors.As(err, &r) {
		return r.reason
	}
	return notJPEG
}
