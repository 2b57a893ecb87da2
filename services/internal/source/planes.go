package source

// planes is an I420 picture in one tight buffer.
type planes struct {
	w, h, cw, ch int // of luma and of chroma, px
	y, u, v      []byte
}

func view(buf []byte, w, h int) planes {
	cw, ch := (w+1)/2, (h+1)/2
	n, c := w*h, cw*ch
	return planes{w: w, h: h, cw: cw, ch: ch, y: buf[:n], u: buf[n : n+c], v: buf[n+c : n+2*c]}
}

// fill paints a rectangle, clipped to the picture, in one colour.
func (p planes) fill(x, y, w, h int, luma, cb, cr byte) {
	fillPlane(p.y, p.w, p.h, x, y, w, h, luma)
	cx, cy := x/2, y/2
	cw, ch := (x+w+1)/2-cx, (y+h+1)/2-cy
	fillPlane(p.u, p.cw, p.ch, cx, cy, cw, ch, cb)
	fillPlane(p.v, p.cw, p.ch, cx, cy, cw, ch, cr)
}

func fillPlane(plane []byte, stride, rows, x, y, w, h int, value byte) {
	x0, y0 := max(x, 0), max(y, 0)
	x1, y1 := min(x+w, stride), min(y+h, rows)
	if x0 >= x1 {
		return
	}
	for ; y0 < y1; y0++ {
		row := plane[y0*stride+x0 : y0*stride+x1]
		for i := range row {
			row[i] = value
		}
	}
}

// label writes a line of text, clipped to the picture, each of the font's dots scale pixels large, on a dark ground.
func (p planes) label(x, y, scale int, text []byte) {
	p.fill(x-scale, y-scale, len(text)*glyphStep*scale+scale, (glyphRows+1)*scale, 24, 128, 128)
	for _, c := range text {
		columns := glyph(c)
		for col := range columns {
			for row := range glyphRows {
				if columns[col]>>row&1 == 1 {
					fillPlane(p.y, p.w, p.h, x+col*scale, y+row*scale, scale, scale, 235)
				}
			}
		}
		x += glyphStep * scale
	}
}
