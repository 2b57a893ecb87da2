package jpeg

import (
	"encoding/binary"
	"slices"
)

// Packer makes a small baseline JPEG smaller: Huffman tables of its own instead of the general ones, no JFIF segment,
// and, where that is asked for, without the last coefficients of a block that are the least there is and far from the
// others. It saves a fifth of a picture of 3 KB, most of which is general tables, and would save little of a large one.
// It is for one goroutine.
type Packer struct {
	symbols []symbol
	block   []symbol // AC symbols of one block
	huff    [4]table // as read: DC 0 and 1, AC 0 and 1
	counts  [4][256]int
	out     [4]codes
	quant   []byte // the quantisation tables' segments
	coarse  bool
}

// symbol is a Huffman code's value and the bits behind it.
type symbol struct {
	table, value uint8
	bits         uint16
}

const (
	endOfBlock = 0x00
	zeroRun    = 0xF0
	// lonely is how many zeros stand before a ±1 that ends a block and is dropped: it costs a byte and shows nothing.
	lonely = 2
)

// Pack appends the smaller picture to dst; coarse lets details go. One that it does not understand (progressive, more
// than one scan, restart intervals) is appended as it is.
func (p *Packer) Pack(dst, jpg []byte, coarse bool) []byte {
	p.coarse = coarse
	s, ok := p.parse(jpg)
	if !ok || !p.read(s) {
		return append(dst, jpg...)
	}
	return p.write(dst, s)
}

// scan is what a picture consists of besides its quantisation tables.
type scan struct {
	sof, sos []byte // segments' payloads
	w, h     int
	parts    []part
	data     []byte
}

// part is a component: blocks in each direction of a unit, and its tables.
type part struct {
	id, h, v, dc, ac uint8
}

func (p *Packer) parse(jpg []byte) (s scan, ok bool) {
	p.quant = p.quant[:0]
	var parts [4]part
	for at := 2; at+4 <= len(jpg) && jpg[at] == 0xFF; {
		marker, n := jpg[at+1], int(binary.BigEndian.Uint16(jpg[at+2:]))
		if n < 2 || at+2+n > len(jpg) {
			return s, false
		}
		body := jpg[at+4 : at+2+n]
		switch {
		case marker == 0xDB:
			p.quant = append(p.quant, jpg[at:at+2+n]...)
		case marker == 0xC0:
			if len(body) < 6 || body[5] > 4 || len(body) < 6+3*int(body[5]) {
				return s, false
			}
			s.sof, s.h, s.w = body, int(binary.BigEndian.Uint16(body[1:])), int(binary.BigEndian.Uint16(body[3:]))
			for i := range int(body[5]) {
				parts[i] = part{id: body[6+3*i], h: body[7+3*i] >> 4, v: body[7+3*i] & 15}
			}
			s.parts = parts[:body[5]]
		case marker == 0xC4:
			if !p.tables(body) {
				return s, false
			}
		case marker == 0xDA:
			if len(s.parts) == 0 || len(body) < 1+2*len(s.parts) || int(body[0]) != len(s.parts) {
				return s, false
			}
			for i := range s.parts {
				if body[1+2*i] != s.parts[i].id {
					return s, false
				}
				s.parts[i].dc, s.parts[i].ac = body[2+2*i]>>4&1, body[2+2*i]&1+2
			}
			s.sos = body
			s.data = jpg[at+2+n:]
			return s, true
		case marker > 0xC0 && marker < 0xD0, marker == 0xDD:
			return s, false
		}
		at += 2 + n
	}
	return s, false
}

// read decodes the symbols of all blocks and counts them.
func (p *Packer) read(s scan) bool {
	p.symbols, p.counts = p.symbols[:0], [4][256]int{}
	mh, mv := 1, 1
	for _, c := range s.parts {
		if c.h == 0 || c.v == 0 {
			return false
		}
		mh, mv = max(mh, int(c.h)), max(mv, int(c.v))
	}
	units := ((s.w + 8*mh - 1) / (8 * mh)) * ((s.h + 8*mv - 1) / (8 * mv))
	if len(s.parts) == 1 { // not interleaved: blocks, whatever its factors
		return false
	}
	in := bits{b: s.data}
	for range units {
		for _, c := range s.parts {
			for range int(c.h) * int(c.v) {
				if !p.readBlock(&in, c) {
					return false
				}
			}
		}
	}
	return true
}

func (p *Packer) readBlock(in *bits, c part) bool {
	size, ok := p.huff[c.dc].read(in)
	if !ok || size > 11 {
		return false
	}
	p.count(symbol{c.dc, size, in.take(int(size))})
	p.block = p.block[:0]
	k := 1
	for k < 64 {
		v, ok := p.huff[c.ac].read(in)
		if !ok {
			return false
		}
		if v == endOfBlock {
			break
		}
		k += int(v>>4) + 1
		p.block = append(p.block, symbol{c.ac, v, in.take(int(v & 15))})
	}
	full := k == 64
	for n := len(p.block); p.coarse && n > 0; n-- {
		if last := p.block[n-1].value; last != zeroRun && (last&15 != 1 || last>>4 < lonely) {
			break
		}
		p.block, full = p.block[:n-1], false
	}
	for _, s := range p.block {
		p.count(s)
	}
	if !full {
		p.count(symbol{c.ac, endOfBlock, 0})
	}
	return k <= 64 && !in.over
}

func (p *Packer) count(s symbol) {
	p.symbols = append(p.symbols, s)
	p.counts[s.table][s.value]++
}

func (p *Packer) write(dst []byte, s scan) []byte {
	dst = append(dst, 0xFF, 0xD8)
	dst = append(dst, p.quant...)
	dst = appendSegment(dst, 0xC0, s.sof)
	at := len(dst)
	dst = append(dst, 0xFF, 0xC4, 0, 0)
	for i := range p.counts {
		p.out[i].build(&p.counts[i])
		dst = append(dst, uint8(i>>1<<4|i&1))
		dst = append(append(dst, p.out[i].lengths[1:]...), p.out[i].values...)
	}
	binary.BigEndian.PutUint16(dst[at+2:], uint16(len(dst)-at-2))
	dst = appendSegment(dst, 0xDA, s.sos)
	to := packed{b: dst}
	for _, s := range p.symbols {
		c := &p.out[s.table]
		to.put(c.code[s.value], c.size[s.value])
		to.put(s.bits, s.value&15)
	}
	if to.n > 0 {
		to.put(1<<(8-to.n)-1, uint8(8-to.n))
	}
	return append(to.b, 0xFF, 0xD9)
}

// packed is entropy-coded data as it grows.
type packed struct {
	b   []byte
	acc uint64
	n   uint
}

func (p *packed) put(v uint16, size uint8) {
	p.acc, p.n = p.acc<<size|uint64(v), p.n+uint(size)
	for p.n >= 8 {
		p.n -= 8
		b := byte(p.acc >> p.n)
		if p.b = append(p.b, b); b == 0xFF {
			p.b = append(p.b, 0)
		}
	}
}

func appendSegment(dst []byte, marker byte, body []byte) []byte {
	dst = binary.BigEndian.AppendUint16(append(dst, 0xFF, marker), uint16(len(body)+2))
	return append(dst, body...)
}

// bits reads entropy-coded data; behind its end it reads zeros and is over.
type bits struct {
	b    []byte
	acc  uint32
	n    int
	over bool
}

func (r *bits) take(n int) (v uint16) {
	for r.n < n {
		next := byte(0)
		switch {
		case len(r.b) == 0 || r.b[0] == 0xFF && (len(r.b) < 2 || r.b[1] != 0):
			r.over = true
		case r.b[0] == 0xFF:
			next, r.b = 0xFF, r.b[2:]
		default:
			next, r.b = r.b[0], r.b[1:]
		}
		r.acc, r.n = r.acc<<8|uint32(next), r.n+8
	}
	r.n -= n
	v = uint16(r.acc >> r.n & (1<<n - 1))
	return v
}

// table decodes, by JPEG's annex F.2.2.3.
type table struct {
	first, past [17]int // codes of a length, and where their values begin
	from        [17]int
	values      []byte
}

// tables takes one segment's.
func (p *Packer) tables(b []byte) bool {
	for len(b) >= 17 {
		class, id := b[0]>>4, b[0]&15
		if class > 1 || id > 1 {
			return false
		}
		t := &p.huff[class<<1|id]
		code, n := 0, 0
		for l := 1; l <= 16; l++ {
			t.first[l], t.from[l] = code, n
			code += int(b[l])
			n += int(b[l])
			t.past[l] = code
			code <<= 1
		}
		if len(b) < 17+n || n > 256 {
			return false
		}
		t.values = append(t.values[:0], b[17:17+n]...)
		b = b[17+n:]
	}
	return len(b) == 0
}

func (t *table) read(in *bits) (v uint8, ok bool) {
	code := 0
	for l := 1; l <= 16; l++ {
		code = code<<1 | int(in.take(1))
		if i := t.from[l] + code - t.first[l]; code < t.past[l] && code >= t.first[l] && i < len(t.values) {
			return t.values[i], true
		}
	}
	return 0, false
}

// codes encode.
type codes struct {
	lengths [17]byte // how many codes of each
	values  []byte   // by length
	size    [256]uint8
	code    [256]uint16
}

// build gives the shortest codes of at most 16 bits, none of all ones, for symbols that come so often (annex K.2).
func (c *codes) build(counts *[256]int) {
	var freq, size, next [257]int
	for i, n := range counts {
		freq[i], next[i] = n, -1
	}
	freq[256], next[256] = 1, -1 // takes the code of all ones
	for {
		a, b := -1, -1 // the two that come least often
		for i, n := range freq {
			switch {
			case n == 0:
			case a < 0 || n <= freq[a]:
				a, b = i, a
			case b < 0 || n <= freq[b]:
				b = i
			}
		}
		if b < 0 {
			break
		}
		freq[a], freq[b] = freq[a]+freq[b], 0
		for i := a; ; i = next[i] {
			size[i]++
			if next[i] < 0 {
				next[i] = b
				break
			}
		}
		for i := b; i >= 0; i = next[i] {
			size[i]++
		}
	}
	var of [258]int
	for _, s := range size {
		of[s]++
	}
	of[0] = 0
	for l := len(of) - 1; l > 16; l-- { // longer ones move up, in pairs
		for of[l] > 0 {
			j := l - 2
			for of[j] == 0 {
				j--
			}
			of[l] -= 2
			of[l-1]++
			of[j+1] += 2
			of[j]--
		}
	}
	last := 16
	for last > 0 && of[last] == 0 {
		last--
	}
	of[last]-- // that of all ones
	c.values = c.values[:0]
	for i := range counts {
		if counts[i] > 0 {
			c.values = append(c.values, byte(i))
		}
	}
	slices.SortStableFunc(c.values, func(a, b byte) int { return size[a] - size[b] })
	code, at := 0, 0
	for l := 1; l <= 16; l++ {
		c.lengths[l] = byte(of[l])
		for range of[l] {
			v := c.values[at]
			c.size[v], c.code[v] = uint8(l), uint16(code)
			at++
			code++
		}
		code <<= 1
	}
}
