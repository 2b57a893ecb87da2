// Package overlay writes lines of text onto a picture, in a font of fixed width that a program can read back from a
// screenshot. It knows nothing of windows and streams; the pixels are the caller's.
package overlay

import (
	"image"
	"strings"
	"unicode/utf8"

	"golang.org/x/image/font/basicfont"
)

// Canvas is a picture of 8 bits each of blue, green and red, as OpenCV shows it.
type Canvas struct {
	Pix           []byte // rows from the top, 3·Width bytes each
	Width, Height int    // px
}

const (
	margin  = 8 // px at scale 1, from the picture's edge to the box
	padding = 6 // px at scale 1, from the box's edge to the text
	leading = 3 // px at scale 1, between two lines
	// scaleStep is how wide a canvas is for each step of the text's size, px.
	scaleStep = 640
	// shade is what is left of a picture under the box, of 256: white text can be read on snow, and no pixel of a
	// picture is as bright as the text.
	shade = 80
)

var face = basicfont.Face7x13

// Scale is the size of the text on a canvas of that width: whole steps, so that each dot is a square.
func Scale(width int) int { return max(width/scaleStep, 1) }

// Columns is how many characters fit into a line on a canvas of that width.
func Columns(width int) int {
	s := Scale(width)
	return max((width/s-2*margin-2*padding)/face.Advance, 1)
}

// Draw writes lines into the lower left corner. Characters outside of ASCII are drawn as the font's box; what does not
// fit on the canvas is left out, lines from the top.
func Draw(c Canvas, lines []string) {
	s := Scale(c.Width)
	pitch := face.Height + leading
	if fit := (c.Height/s - 2*margin - 2*padding + leading) / pitch; len(lines) > max(fit, 0) {
		lines = lines[len(lines)-max(fit, 0):]
	}
	if len(lines) == 0 || len(c.Pix) < 3*c.Width*c.Height {
		return
	}
	columns := 0
	for _, line := range lines {
		columns = max(columns, utf8.RuneCountInString(line))
	}
	columns = min(columns, Columns(c.Width))
	w := columns*face.Advance + 2*padding
	h := len(lines)*pitch - leading + 2*padding
	left, top := margin, c.Height/s-margin-h
	c.darken(image.Rect(left, top, left+w, top+h), s)
	for i, line := range lines {
		x, y, column := left+padding, top+padding+i*pitch, 0
		for _, r := range line {
			if column++; column > columns {
				break
			}
			c.letter(r, x, y, s)
			x += face.Advance
		}
	}
}

// darken a rectangle, in units of s px.
func (c Canvas) darken(r image.Rectangle, s int) {
	r = image.Rect(r.Min.X*s, r.Min.Y*s, r.Max.X*s, r.Max.Y*s).Intersect(image.Rect(0, 0, c.Width, c.Height))
	for y := r.Min.Y; y < r.Max.Y; y++ {
		row := c.Pix[3*(y*c.Width+r.Min.X) : 3*(y*c.Width+r.Max.X)]
		for i, v := range row {
			row[i] = uint8(int(v) * shade >> 8)
		}
	}
}

// letter draws one in white, its upper left corner at x, y, in units of s px.
func (c Canvas) letter(r rune, x, y, s int) {
	first := glyph(r) * (face.Ascent + face.Descent)
	mask := face.Mask.(*image.Alpha)
	for dy := range face.Ascent + face.Descent {
		for dx := range face.Width {
			if mask.AlphaAt(dx, first+dy).A != 0 {
				c.dot(x+dx, y+dy, s)
			}
		}
	}
}

func (c Canvas) dot(x, y, s int) {
	if x < 0 || y < 0 || (x+1)*s > c.Width || (y+1)*s > c.Height {
		return
	}
	for py := y * s; py < (y+1)*s; py++ {
		row := c.Pix[3*(py*c.Width+x*s) : 3*(py*c.Width+(x+1)*s)]
		for i := range row {
			row[i] = 255
		}
	}
}

// glyph is a character's place in the font's mask.
func glyph(r rune) int {
	for {
		for _, part := range face.Ranges {
			if r >= part.Low && r < part.High {
				return part.Offset + int(r-part.Low)
			}
		}
		if r == utf8.RuneError {
			return 0
		}
		r = utf8.RuneError
	}
}

// Wrap breaks text into lines of at most that many columns, at spaces where there are any.
func Wrap(text string, columns int) (lines []string) {
	columns = max(columns, 1)
	line := []rune{}
	for word := range strings.FieldsSeq(text) {
		rest := []rune(word)
		if len(line) > 0 && len(line)+1+len(rest) > columns {
			lines, line = append(lines, string(line)), nil
		}
		if len(line) > 0 {
			line = append(line, ' ')
		}
		for len(rest) > columns {
			lines, rest = append(lines, string(rest[:columns])), rest[columns:]
		}
		line = append(line, rest...)
	}
	if len(line) > 0 {
		lines = append(lines, string(line))
	}
	return lines
}
