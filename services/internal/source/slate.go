package source

import (
	"strings"
	"time"

	"github.com/framebus/framebus/proto/frame"
)

// slate is the picture shown where a source gives none: which stream it is, why, and a clock that shows it is alive.
type slate struct {
	name  string
	w, h  int
	cause string
	still []byte // the picture for cause, without the clock
}

// draw fills buf with the slate for cause.
func (s *slate) draw(buf []byte, cause string, at time.Time) {
	if s.still == nil || s.cause != cause {
		s.cause = cause
		s.still = make([]byte, frame.PayloadSize(frame.I420, s.w, s.h))
		s.paint(view(s.still, s.w, s.h))
	}
	copy(buf, s.still)
	scale := s.scale()
	clock := at.Format(time.DateTime)
	view(buf, s.w, s.h).label(4*scale, s.h-(glyphRows+4)*scale, scale, []byte(clock))
}

func (s *slate) scale() int { return max(s.w/280, 1) }

func (s *slate) paint(p planes) {
	p.fill(0, 0, s.w, s.h, 24, 128, 128)
	p.fill(0, 0, s.w, max(s.h/48, 1), 150, 70, 180) // an amber bar: not a picture
	scale := s.scale()
	x, y := 4*scale, s.h/4
	p.label(x, y, 2*scale, []byte(fit(s.name, s.w-x, 2*scale)))
	y += 3 * glyphRows * scale
	for _, line := range wrap(s.cause, max((s.w-2*x)/(glyphStep*scale), 1)) {
		p.label(x, y, scale, []byte(line))
		y += (glyphRows + 3) * scale
	}
}

// fit cuts text to what fits into width pixels.
func fit(text string, width, scale int) string {
	return text[:min(len(text), max(width/(glyphStep*scale), 0))]
}

// wrap breaks text into lines of at most n characters, at spaces where there are any.
func wrap(text string, n int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		for len(word) > n {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			lines, word = append(lines, word[:n]), word[n:]
		}
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) <= n:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	return append(lines, line)
}
