// Package rung makes the smaller pictures of the ladder: an I420 picture at a half or a quarter of its sides, each
// pixel the mean of the area it covers. It knows nothing of codecs.
package rung

import (
	"encoding/binary"

	"github.com/framebus/framebus/proto/frame"
)

// Down writes the w×h picture pix (tight I420 planes) at rung r to dst, where that has the capacity, and returns it.
// Sides round up; a pixel at an odd edge is the mean of what there is. Rung full returns pix itself.
func Down(dst, pix []byte, w, h int, r frame.Rung) []byte {
	if r == frame.Full {
		return pix
	}
	dw, dh := r.Size(w, h)
	n := frame.PayloadSize(frame.I420, dw, dh)
	if cap(dst) < n {
		dst = make([]byte, n)
	}
	dst = dst[:n]
	shrink := half
	if r == frame.Quarter {
		shrink = quarter
	}
	cw, ch := (w+1)/2, (h+1)/2
	dcw, dch := (dw+1)/2, (dh+1)/2
	shrink(dst[:dw*dh], pix[:w*h], w, h)
	shrink(dst[dw*dh:][:dcw*dch], pix[w*h:][:cw*ch], cw, ch)
	shrink(dst[dw*dh+dcw*dch:][:dcw*dch], pix[w*h+cw*ch:][:cw*ch], cw, ch)
	return dst
}

// Eight bytes are summed at once, as four lanes of 16 bits; four rows of pairs stay below 2^12.
const (
	lanes16 = 0x00ff00ff00ff00ff
	lanes32 = 0x0000ffff0000ffff
)

func pairs(b []byte) uint64 {
	x := binary.LittleEndian.Uint64(b)
	return x&lanes16 + x>>8&lanes16
}

func half(dst, src []byte, w, h int) {
	const round = 0x0002000200020002
	dw := (w + 1) / 2
	for y := 0; y < h; y += 2 {
		a := src[y*w:][:w]
		b := src[min(y+1, h-1)*w:][:w]
		out := dst[y/2*dw:][:dw]
		x := 0
		for ; x+8 <= w; x += 8 {
			s := (pairs(a[x:x+8]) + pairs(b[x:x+8]) + round) >> 2 & lanes16
			s = (s | s>>8) & lanes32
			binary.LittleEndian.PutUint32(out[x/2:x/2+4], uint32(s|s>>16))
		}
		for ; x < w; x += 2 {
			out[x/2] = mean(src, w, h, x, y, 2)
		}
	}
}

func quarter(dst, src []byte, w, h int) {
	const round = 0x0000000800000008
	dw := (w + 3) / 4
	for y := 0; y < h; y += 4 {
		out := dst[y/4*dw:][:dw]
		x := 0
		if y+4 <= h {
			a, b, c, d := src[y*w:][:w], src[(y+1)*w:][:w], src[(y+2)*w:][:w], src[(y+3)*w:][:w]
			for ; x+8 <= w; x += 8 {
				s := pairs(a[x:x+8]) + pairs(b[x:x+8]) + pairs(c[x:x+8]) + pairs(d[x:x+8])
				s = (s&lanes32 + s>>16&lanes32 + round) >> 4
				out[x/4], out[x/4+1] = byte(s), byte(s>>32)
			}
		}
		for ; x < w; x += 4 {
			out[x/4] = mean(src, w, h, x, y, 4)
		}
	}
}

// mean is the slow way, for edges.
func mean(src []byte, w, h, x0, y0, side int) byte {
	sum, n := 0, 0
	for y := y0; y < min(y0+side, h); y++ {
		for x := x0; x < min(x0+side, w); x++ {
			sum += int(src[y*w+x])
			n++
		}
	}
	return byte((sum + n/2) / n)
}
