package source

import (
	"fmt"
	"image"
	"runtime"

	"github.com/framebus/framebus/proto/frame"
	"gocv.io/x/gocv"
)

// converter makes I420 of one size from pictures of any size, keeping their proportions between black bars. It is for
// one goroutine.
type converter struct {
	w, h   int
	canvas gocv.Mat // the picture between its bars; unused where it fills the output
	fitted image.Rectangle
	half   gocv.Mat // at the size of the chroma planes
	ycc    gocv.Mat
	bgr    gocv.Mat
	pin    runtime.Pinner
}

func newConverter(w, h int) *converter {
	return &converter{w: w, h: h, canvas: gocv.NewMat(), half: gocv.NewMat(), ycc: gocv.NewMat(), bgr: gocv.NewMat()}
}

func (c *converter) close() {
	for _, m := range []*gocv.Mat{&c.canvas, &c.half, &c.ycc, &c.bgr} {
		_ = m.Close()
	}
}

// into fills buf with the I420 of src. OpenCV's own conversion to I420 is of limited range and even sides only;
// grey for luma and the chroma of a picture of half the size are neither, and no slower.
func (c *converter) into(buf []byte, src gocv.Mat) error {
	if want := frame.PayloadSize(frame.I420, c.w, c.h); len(buf) != want {
		return fmt.Errorf("convert: a buffer of %d bytes where a frame has %d", len(buf), want)
	}
	pic, err := c.colour(src)
	if err != nil {
		return err
	}
	if pic.Cols() != c.w || pic.Rows() != c.h {
		if err := c.letterbox(pic); err != nil {
			return err
		}
		pic = c.canvas
	}

	// OpenCV writes straight into buf, which must not move meanwhile.
	c.pin.Pin(&buf[0])
	defer c.pin.Unpin()
	p := view(buf, c.w, c.h)
	if err := plane(p.y, c.w, c.h, func(y *gocv.Mat) error {
		return gocv.CvtColor(pic, y, gocv.ColorBGRToGray)
	}); err != nil {
		return err
	}
	if err := gocv.Resize(pic, &c.half, image.Pt(p.cw, p.ch), 0, 0, gocv.InterpolationArea); err != nil {
		return fmt.Errorf("convert: halve: %w", err)
	}
	if err := gocv.CvtColor(c.half, &c.ycc, gocv.ColorBGRToYCrCb); err != nil {
		return fmt.Errorf("convert: chroma: %w", err)
	}
	if err := plane(p.u, p.cw, p.ch, func(u *gocv.Mat) error { return gocv.ExtractChannel(c.ycc, u, 2) }); err != nil {
		return err
	}
	return plane(p.v, p.cw, p.ch, func(v *gocv.Mat) error { return gocv.ExtractChannel(c.ycc, v, 1) })
}

// plane lets fill write one plane in place.
func plane(buf []byte, w, h int, fill func(*gocv.Mat) error) error {
	m, err := gocv.NewMatFromBytes(h, w, gocv.MatTypeCV8UC1, buf)
	if err != nil {
		return fmt.Errorf("convert: %w", err)
	}
	defer func() { _ = m.Close() }()
	if err := fill(&m); err != nil {
		return fmt.Errorf("convert: %w", err)
	}
	// Had OpenCV found the size or type wrong, it would have written to memory of its own.
	if m.Cols() != w || m.Rows() != h || m.Type() != gocv.MatTypeCV8UC1 {
		return fmt.Errorf("convert: a %d×%d plane came out as %d×%d", w, h, m.Cols(), m.Rows())
	}
	return nil
}

// colour is src as 8-bit BGR, which nearly every source delivers.
func (c *converter) colour(src gocv.Mat) (gocv.Mat, error) {
	code := gocv.ColorGrayToBGR
	switch src.Type() {
	case gocv.MatTypeCV8UC3:
		return src, nil
	case gocv.MatTypeCV8UC1:
	case gocv.MatTypeCV8UC4:
		code = gocv.ColorBGRAToBGR
	default:
		return src, fmt.Errorf("convert: pictures of OpenCV type %d are not supported", src.Type())
	}
	if err := gocv.CvtColor(src, &c.bgr, code); err != nil {
		return src, fmt.Errorf("convert: %w", err)
	}
	return c.bgr, nil
}

func (c *converter) letterbox(pic gocv.Mat) error {
	r := fitInto(pic.Cols(), pic.Rows(), c.w, c.h)
	if c.canvas.Empty() || r != c.fitted {
		_ = c.canvas.Close()
		c.canvas = gocv.NewMatWithSizeFromScalar(gocv.NewScalar(0, 0, 0, 0), c.h, c.w, gocv.MatTypeCV8UC3)
		c.fitted = r
	}
	how := gocv.InterpolationLinear
	if r.Dx() < pic.Cols() {
		how = gocv.InterpolationArea
	}
	within := c.canvas.Region(r)
	defer func() { _ = within.Close() }()
	if err := gocv.Resize(pic, &within, r.Size(), 0, 0, how); err != nil {
		return fmt.Errorf("convert: resize: %w", err)
	}
	return nil
}

// fitInto is the largest rectangle of the proportions of w×h in the middle of W×H.
func fitInto(w, h, outW, outH int) image.Rectangle {
	fw, fh := outW, (h*outW+w/2)/w
	if fh > outH {
		fw, fh = (w*outH+h/2)/h, outH
	}
	fw, fh = min(max(fw, 1), outW), min(max(fh, 1), outH)
	x, y := (outW-fw)/2, (outH-fh)/2
	return image.Rect(x, y, x+fw, y+fh)
}

// OpenCV is the version that pictures are read with.
func OpenCV() string { return gocv.OpenCVVersion() }
