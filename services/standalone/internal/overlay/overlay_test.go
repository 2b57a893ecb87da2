package overlay_test

import (
	"bytes"
	"image"
	"image/color"
	"strings"
	"testing"

	"github.com/framebus/framebus/services/standalone/internal/overlay"
	"github.com/stretchr/testify/require"
	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"
)

func canvas(w, h int, v byte) overlay.Canvas {
	return overlay.Canvas{Pix: bytes.Repeat([]byte{v}, 3*w*h), Width: w, Height: h}
}

// white is where a canvas has the text's colour.
func white(c overlay.Canvas, x, y int) bool {
	p := c.Pix[3*(y*c.Width+x):]
	return p[0] == 255 && p[1] == 255 && p[2] == 255
}

// box is where a canvas of that shade is not as it was.
func box(c overlay.Canvas, was byte) (r image.Rectangle) {
	for i, v := range c.Pix {
		if v != was {
			at := image.Pt(i/3%c.Width, i/3/c.Width)
			r = r.Union(image.Rectangle{Min: at, Max: at.Add(image.Pt(1, 1))})
		}
	}
	return r
}

// The font's own drawer says how a line looks.
func TestTextIsDrawnAsTheFontHasIt(t *testing.T) {
	for _, width := range []int{640, 1280, 1920} {
		c := canvas(width, width*3/4, 200)
		lines := []string{"fps 29.9   age 1.3 ms", "0123456789 ~!{}"}
		overlay.Draw(c, lines)
		s := overlay.Scale(width)
		require.Equal(t, width/640, s)
		at := box(c, 200).Min.Div(s).Add(image.Pt(6, 6))
		for i, line := range lines {
			want := image.NewGray(image.Rect(0, 0, len(line)*7, 13))
			(&font.Drawer{Dst: want, Src: image.White, Face: basicfont.Face7x13, Dot: fixed.P(0, 11)}).DrawString(line)
			got := image.NewGray(want.Bounds())
			for y := range 13 {
				for x := range len(line) * 7 {
					if white(c, (at.X+x)*s, (at.Y+i*16+y)*s) && white(c, (at.X+x+1)*s-1, (at.Y+i*16+y+1)*s-1) {
						got.SetGray(x, y, color.Gray{Y: 255})
					}
				}
			}
			require.Equal(t, want.Pix, got.Pix, "line %q at width %d", line, width)
		}
	}
}

func TestTextCanBeReadOnAnyPicture(t *testing.T) {
	c := canvas(640, 480, 255)
	overlay.Draw(c, []string{"missed 0"})
	at := box(c, 255)
	letters := 0
	for y := at.Min.Y; y < at.Max.Y; y++ {
		for x := at.Min.X; x < at.Max.X; x++ {
			if white(c, x, y) {
				letters++
			} else {
				require.Less(t, c.Pix[3*(y*c.Width+x)], byte(90), "what is behind the text is dark")
			}
		}
	}
	require.Positive(t, letters)
}

func TestTheRestOfThePictureStaysAsItIs(t *testing.T) {
	c := canvas(640, 480, 100)
	overlay.Draw(c, []string{"a", "b"})
	require.Equal(t, image.Rect(8, 480-8-41, 8+19, 480-8), box(c, 100))
	untouched := canvas(640, 480, 100)
	overlay.Draw(untouched, nil)
	require.True(t, box(untouched, 100).Empty())
}

func TestWhatDoesNotFitIsLeftOut(t *testing.T) {
	long := strings.Repeat("x", 500)
	for _, size := range []image.Point{{640, 480}, {64, 48}, {30, 30}, {16, 16}, {1, 1}, {1400, 20}} {
		c := canvas(size.X, size.Y, 100)
		overlay.Draw(c, []string{long, long, long, long, long, "é世"})
		require.True(t, box(c, 100).In(image.Rect(0, 0, size.X, size.Y)))
	}
	c := canvas(640, 60, 100)
	overlay.Draw(c, []string{"first", "", ""})
	require.False(t, anyWhite(c), "the first lines go first")
	overlay.Draw(overlay.Canvas{Pix: make([]byte, 10), Width: 640, Height: 480}, []string{"too few pixels"})
}

func anyWhite(c overlay.Canvas) bool {
	for y := range c.Height {
		for x := range c.Width {
			if white(c, x, y) {
				return true
			}
		}
	}
	return false
}

func TestWrapping(t *testing.T) {
	require.Equal(t, []string{"why: dial", "tcp", "refused"}, overlay.Wrap("why: dial tcp refused", 9))
	require.Equal(t, []string{"abcde", "f gh"}, overlay.Wrap("  abcdef gh ", 5))
	require.Equal(t, []string{"a", "b", "c"}, overlay.Wrap("abc", 0))
	require.Empty(t, overlay.Wrap(" \n", 10))
	for columns := range 20 {
		for _, line := range overlay.Wrap("one two threefourfivesix seven", columns) {
			require.LessOrEqual(t, len(line), max(columns, 1))
			require.NotEmpty(t, line)
		}
	}
}
