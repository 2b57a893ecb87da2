package frame

// The latency strip: a clock that a program can read back from a picture, however it was scaled or compressed. It is
// 64 cells across the top StripRows rows, black for 0 and white for 1: 8 bits of StripMark, 40 bits of unix time in
// units of 10 µs modulo 2^40, and 16 bits of CRC-16/CCITT-FALSE over those five bytes.
const (
	StripRows  = 16
	StripCells = 64
	StripMark  = 0b10101100
)

const stripMask = 1<<40 - 1

// StripBits is the strip's 64 bits for a time in µs since 1970, the leftmost cell being the most significant bit.
func StripBits(us int64) uint64 {
	t := uint64(us/10) & stripMask
	return StripMark<<56 | t<<16 | uint64(stripCRC(t))
}

// PutStrip draws the strip for a time in µs since 1970 into the luma plane of a w×h picture. Pictures under 64 pixels
// of width or 16 of height stay as they are.
func PutStrip(luma []byte, w, h int, us int64) {
	if w < StripCells || h < StripRows || len(luma) < w*h {
		return
	}
	bits := StripBits(us)
	row := luma[:w]
	for cell := range StripCells {
		v := byte(16)
		if bits>>(63-cell)&1 == 1 {
			v = 235
		}
		fill := row[cell*w/StripCells : (cell+1)*w/StripCells]
		for i := range fill {
			fill[i] = v
		}
	}
	for y := 1; y < StripRows; y++ {
		copy(luma[y*w:(y+1)*w], row)
	}
}

// ReadStrip reads the strip's time back, in µs since 1970, given the luma of its pixels; nearUs, any time within two
// months of it, settles the modulus. It works on rungs down to a quarter, and reports false where there is none.
func ReadStrip(luma func(x, y int) uint8, w, h int, nearUs int64) (us int64, ok bool) {
	if w < StripCells {
		return 0, false
	}
	y := StripRows * w / 640 / 2
	y = min(max(y, 1), StripRows/2, h-1)
	var bits uint64
	for cell := range StripCells {
		bits <<= 1
		if luma((2*cell+1)*w/(2*StripCells), y) >= 128 {
			bits |= 1
		}
	}
	t := bits >> 16 & stripMask
	if bits>>56 != StripMark || uint16(bits) != stripCRC(t) {
		return 0, false
	}
	near := nearUs / 10
	diff := (int64(t) - near) & stripMask
	if diff > stripMask/2 {
		diff -= stripMask + 1
	}
	return (near + diff) * 10, true
}

func stripCRC(t uint64) uint16 {
	crc := uint16(0xFFFF)
	for shift := 32; shift >= 0; shift -= 8 {
		crc ^= uint16(byte(t>>shift)) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}
