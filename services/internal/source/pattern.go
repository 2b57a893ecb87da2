package source

import (
	"context"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/framebus/framebus/proto/frame"
)

// scrollPx is how far the texture moves a frame: even, so that chroma moves whole pixels too.
const scrollPx = 2

// pattern draws the test picture: a texture that scrolls, a square that bounces, the frame's number, a clock, and the
// latency strip. The texture is drawn once and only copied afterwards, which is what keeps it cheap.
type pattern struct {
	name string
	w, h int
	tile planes // repeats to the right without a seam
	text []byte // scratch
}

func newPattern(name string, w, h int) *pattern {
	// The tile's width is even, so that luma and chroma come round together.
	tw := (w + 1) / 2 * 2
	p := &pattern{name: name, w: w, h: h, tile: view(make([]byte, frame.PayloadSize(frame.I420, tw, h)), tw, h)}
	rnd := rand.New(rand.NewPCG(1, 2)) // the same picture every time
	wave := func(x, w, y, h int, nx, ny, phase float64) float64 {
		return math.Sin(2 * math.Pi * (nx*float64(x)/float64(w) + ny*float64(y)/float64(h) + phase))
	}
	for y := range h {
		row := p.tile.y[y*tw : (y+1)*tw]
		for x := range row {
			v := 120 + 45*wave(x, tw, y, h, 2, 1, 0) + 30*wave(x, tw, y, h, -5, 3, 0.3) +
				4*wave(x, tw, y, h, 17, 13, 0.7) + 0.9*rnd.NormFloat64()
			row[x] = uint8(min(max(v, 0), 255))
		}
	}
	cw, ch := p.tile.cw, p.tile.ch
	for y := range ch {
		for x := range cw {
			p.tile.u[y*cw+x] = uint8(128 + 36*wave(x, cw, y, ch, 1, 1, 0.1))
			p.tile.v[y*cw+x] = uint8(128 + 36*wave(x, cw, y, ch, -1, 2, 0.6))
		}
	}
	return p
}

// draw fills buf with frame n, as it looks at `at`; the strip is left to the caller, who knows when it is done.
func (p *pattern) draw(buf []byte, n uint64, at time.Time) {
	pic := view(buf, p.w, p.h)
	tw, tcw := p.tile.w, p.tile.cw
	shift := int(n * scrollPx % uint64(tw))
	for y := range p.h {
		scroll(pic.y[y*p.w:(y+1)*p.w], p.tile.y[y*tw:(y+1)*tw], shift)
	}
	for y := range pic.ch {
		scroll(pic.u[y*pic.cw:(y+1)*pic.cw], p.tile.u[y*tcw:(y+1)*tcw], shift/2)
		scroll(pic.v[y*pic.cw:(y+1)*pic.cw], p.tile.v[y*tcw:(y+1)*tcw], shift/2)
	}

	side := max(min(p.w, p.h)/8, 1)
	x, y := bounce(n*3, p.w-side), bounce(n*2, p.h-side)
	pic.fill(x, y, side, side, 225, 90, 180)
	pic.fill(x+side/4, y+side/4, side/2, side/2, 40, 180, 110)

	// Grey under the strip, so that its luma survives a decoder's clipping to RGB.
	pic.fill(0, 0, p.w, min(frame.StripRows, p.h), 16, 128, 128)

	scale := max(p.w/160, 1)
	lineH := (glyphRows + 1) * scale
	top := frame.StripRows + lineH
	p.text = append(p.text[:0], p.name...)
	pic.label(2*scale, top, scale, p.text)
	p.text = append(p.text[:0], '#')
	p.text = strconv.AppendUint(p.text, n, 10)
	pic.label(2*scale, top+lineH, scale, p.text)
	p.text = at.AppendFormat(p.text[:0], "15:04:05.000")
	pic.label(2*scale, top+2*lineH, scale, p.text)
}

// scroll copies a row of a tile that repeats, from shift on; dst is no longer than the tile.
func scroll(dst, tile []byte, shift int) {
	n := copy(dst, tile[shift:])
	copy(dst[n:], tile)
}

// bounce goes from 0 to limit and back as n grows.
func bounce(n uint64, limit int) int {
	if limit < 1 {
		return 0
	}
	at := int(n % uint64(2*limit))
	if at > limit {
		return 2*limit - at
	}
	return at
}

func runPattern(ctx context.Context, spec Spec, sink Sink) {
	p := newPattern(spec.Name, spec.Width, spec.Height)
	pace := newPacer(spec.FPS)
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for n := uint64(0); ; n++ {
		timer.Reset(time.Until(pace.due(time.Now())))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		at := time.Now()
		buf := sink.Begin(at, p.w, p.h)
		if buf == nil {
			continue
		}
		p.draw(buf, n, at)
		frame.PutStrip(buf[:p.w*p.h], p.w, p.h, time.Now().UnixMicro())
		sink.Commit()
	}
}
