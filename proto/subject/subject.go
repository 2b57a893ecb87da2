// Package subject is the only place that spells a NATS subject of framebus.
package subject

import (
	"fmt"
	"strings"

	"github.com/framebus/framebus/proto/frame"
)

const root = "framebus.v1."

// What subjects of pictures have in common: messaging.destination.template of their spans.
const (
	RawTemplate  = root + "raw.{by}.{stream}.{encoder}"
	JPEGTemplate = root + "jpeg.{stream}.{rung}"
)

// MaxName is the longest name of a stream or an instance, in bytes.
const MaxName = 63

// By says what kind of owner brings a stream, so that the bus can forbid one kind to speak for the other.
type By string

// The two kinds: a capture service, or a gateway for a client that publishes.
const (
	Cam By = "cam"
	Pub By = "pub"
)

// Reader is the place of an encoder's name for those who asked for raw frames themselves.
const Reader = "_"

// ValidName tells whether s can name a stream or an instance: [a-z0-9][a-z0-9_-]{0,62}.
func ValidName(s string) bool {
	if s == "" || len(s) > MaxName || s[0] == '_' || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// SanitiseName makes a valid name of any string, of at most n bytes, or "x" where nothing of it is left.
func SanitiseName(s string, n int) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		default:
			return '-'
		}
	}, s)
	clean = strings.TrimLeft(clean, "-_")
	if len(clean) > n {
		clean = clean[:n]
	}
	if clean == "" {
		return "x"
	}
	return clean
}

// Raw is where an origin sends a frame to the encoder it picked, or to raw readers (Reader).
func Raw(by By, stream, encoder string) string {
	return root + "raw." + string(by) + "." + stream + "." + encoder
}

// RawFor is what an encoder subscribes to: frames of every stream that are meant for it.
func RawFor(encoder string) string { return root + "raw.*.*." + encoder }

// Done is where an origin hears of the frames it sent.
func Done(by By, stream string) string { return root + "done." + string(by) + "." + stream }

// DoneOf is where readers hear of a stream's Done, whatever kind of owner it has.
func DoneOf(stream string) string { return root + "done.*." + stream }

// AllDone is every origin's Done.
func AllDone() string { return root + "done.*.*" }

// JPEG is where a stream's pictures of one rung are.
func JPEG(stream string, rung frame.Rung) string {
	return root + "jpeg." + stream + "." + rung.String()
}

// Feedback is where readers say what they want of a stream.
func Feedback(stream string) string { return root + "feedback." + stream }

// AllFeedback is every stream's Feedback.
func AllFeedback() string { return root + "feedback.*" }

// Status is where an instance of a service tells its state.
func Status(service, instance string) string { return root + "status." + service + "." + instance }

// AllStatus is every instance's Status.
func AllStatus() string { return root + "status.*.*" }

// ParseRaw takes a Raw subject apart.
func ParseRaw(s string) (by By, stream, encoder string, err error) {
	by, stream, rest, err := parse(s, "raw", true)
	if err == nil && rest != Reader && !ValidName(rest) {
		err = fmt.Errorf("subject %q: no encoder's name", s)
	}
	return by, stream, rest, err
}

// ParseDone takes a Done subject apart.
func ParseDone(s string) (by By, stream string, err error) {
	by, stream, _, err = parse(s, "done", false)
	return by, stream, err
}

func parse(s, kind string, tail bool) (by By, stream, rest string, err error) {
	body, ok := strings.CutPrefix(s, root+kind+".")
	if !ok {
		return "", "", "", fmt.Errorf("subject %q: not of %s%s", s, root, kind)
	}
	first, body, _ := strings.Cut(body, ".")
	if by = By(first); by != Cam && by != Pub {
		return "", "", "", fmt.Errorf("subject %q: neither cam nor pub", s)
	}
	stream = body
	if tail {
		stream, rest, _ = strings.Cut(body, ".")
	}
	if !ValidName(stream) {
		return "", "", "", fmt.Errorf("subject %q: no stream's name", s)
	}
	return by, stream, rest, nil
}

// ParseFeedback takes a Feedback subject apart.
func ParseFeedback(s string) (stream string, err error) {
	stream, ok := strings.CutPrefix(s, root+"feedback.")
	if !ok || !ValidName(stream) {
		return "", fmt.Errorf("subject %q: no feedback", s)
	}
	return stream, nil
}

// ParseJPEG takes a JPEG subject apart.
func ParseJPEG(s string) (stream string, rung frame.Rung, err error) {
	body, _ := strings.CutPrefix(s, root+"jpeg.")
	stream, name, _ := strings.Cut(body, ".")
	rung, ok := frame.ParseRung(name)
	if !ok || !ValidName(stream) {
		return "", 0, fmt.Errorf("subject %q: no picture", s)
	}
	return stream, rung, nil
}
