// Package window shows pictures on this machine's screen, by OpenCV's highgui. With services/internal/source it is all
// that imports gocv, and the only one that loads a window system's libraries. It calls highgui by itself: in gocv that
// is a matter of a build tag, and would have all of gocv compiled a second time.
//
// A window belongs to one goroutine on one thread, on macOS the program's main one.
package window

/*
#cgo !customenv pkg-config: opencv4
#cgo LDFLAGS: -lopencv_highgui
#include <stdlib.h>
#include "highgui.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"image"
	"runtime"
	"time"
	"unsafe"

	"github.com/framebus/framebus/services/standalone/internal/overlay"
	"gocv.io/x/gocv"
)

const (
	// The window before anybody gives it another size, px: a usual picture, unscaled.
	firstWidth, firstHeight = 640, 480
	// leastSide of what is drawn, px: a window that is being made or closed may have none.
	leastSide = 16
)

// Window is one on the screen.
type Window struct {
	name    *C.char
	picture gocv.Mat // the last one, as it came; empty before the first
	scaled  gocv.Mat
	canvas  []byte // what is shown
}

// Open makes a window. It must be closed on the same goroutine, which is bound to its thread until then.
func Open(title string, getenv func(string) string) (*Window, error) {
	if runtime.GOOS != "darwin" {
		if err := display(getenv); err != nil {
			return nil, err
		}
	}
	runtime.LockOSThread()
	w := &Window{name: C.CString(title), picture: gocv.NewMat(), scaled: gocv.NewMat()}
	if C.framebus_window_open(w.name, firstWidth, firstHeight) != 0 {
		w.Close()
		return nil, fmt.Errorf("%w: OpenCV can open no window here%s", ErrNoDisplay, without)
	}
	return w, nil
}

// Close takes it off the screen.
func (w *Window) Close() {
	C.framebus_window_close(w.name)
	C.free(unsafe.Pointer(w.name))
	_, _ = w.picture.Close(), w.scaled.Close()
	runtime.UnlockOSThread()
}

// Columns is how many characters fit into a line.
func (w *Window) Columns() int { return overlay.Columns(w.size().X) }

// size of what is shown, px.
func (w *Window) size() image.Point {
	var width, height C.int
	if C.framebus_window_size(w.name, &width, &height) != 0 || width < leastSide || height < leastSide {
		return image.Pt(firstWidth, firstHeight)
	}
	return image.Pt(int(width), int(height))
}

// Show puts up a JPEG, as large as fits into the window, with lines of text on it; with a nil one the picture before
// stays. An error is of the picture; then the one before stays too.
func (w *Window) Show(jpeg []byte, lines []string) error {
	var wrong error
	if jpeg != nil {
		wrong = w.decode(jpeg)
	}
	size := w.size()
	n := 3 * size.X * size.Y
	if cap(w.canvas) < n {
		w.canvas = make([]byte, n)
	}
	w.canvas = w.canvas[:n]
	if err := w.place(size); err != nil {
		return errors.Join(wrong, err)
	}
	overlay.Draw(overlay.Canvas{Pix: w.canvas, Width: size.X, Height: size.Y}, lines)
	if C.framebus_window_show(w.name, unsafe.Pointer(&w.canvas[0]), C.int(size.X), C.int(size.Y)) != 0 {
		return errors.Join(wrong, errors.New("the window takes no picture"))
	}
	return wrong
}

func (w *Window) decode(jpeg []byte) error {
	m, err := gocv.IMDecode(jpeg, gocv.IMReadColor)
	if err == nil && m.Empty() {
		err = errors.New("it is no JPEG that OpenCV reads")
	}
	if err != nil {
		_ = m.Close()
		return err
	}
	_ = w.picture.Close()
	w.picture = m
	return nil
}

// place the picture in the middle of the canvas, on black.
func (w *Window) place(size image.Point) error {
	if w.picture.Empty() {
		clear(w.canvas)
		return nil
	}
	at := fit(image.Pt(w.picture.Cols(), w.picture.Rows()), size)
	from := &w.picture
	if at.Dx() != w.picture.Cols() || at.Dy() != w.picture.Rows() {
		how := gocv.InterpolationLinear
		if at.Dx() < w.picture.Cols() {
			how = gocv.InterpolationArea // a smaller one would shimmer
		}
		if err := gocv.Resize(w.picture, &w.scaled, at.Size(), 0, 0, how); err != nil {
			return err
		}
		from = &w.scaled
	}
	pixels, err := from.DataPtrUint8()
	if err != nil {
		return err
	}
	put(w.canvas, size, pixels, at)
	return nil
}

// put pixels of three bytes at a place of a canvas, and black around them.
func put(canvas []byte, size image.Point, pixels []byte, at image.Rectangle) {
	for y := range size.Y {
		row := canvas[3*y*size.X : 3*(y+1)*size.X]
		if y < at.Min.Y || y >= at.Max.Y {
			clear(row)
			continue
		}
		from := pixels[3*(y-at.Min.Y)*at.Dx():]
		clear(row[:3*at.Min.X])
		copy(row[3*at.Min.X:3*at.Max.X], from)
		clear(row[3*at.Max.X:])
	}
}

// fit is where a picture goes in a window: as large as it can be in its own shape, in the middle.
func fit(picture, window image.Point) image.Rectangle {
	w, h := window.X, window.X*picture.Y/picture.X
	if h > window.Y {
		w, h = window.Y*picture.X/picture.Y, window.Y
	}
	w, h = max(w, 1), max(h, 1)
	x, y := (window.X-w)/2, (window.Y-h)/2
	return image.Rect(x, y, x+w, y+h)
}

// Wait lets the window work for so long, or until a key is pressed: that key, 0 for none. It is not open any more once
// somebody has closed it.
func (w *Window) Wait(d time.Duration) (key rune, open bool) {
	code := C.framebus_window_wait(C.int(max(d.Milliseconds(), 1)))
	if code > 0 {
		key = rune(code & 0xFF)
	}
	return key, C.framebus_window_is_open(w.name) == 0
}

// FullScreen sets whether it fills the screen. Where there is nobody who manages windows it stays as it is.
func (w *Window) FullScreen(on bool) {
	var full C.int
	if on {
		full = 1
	}
	C.framebus_window_full_screen(w.name, full)
}
