package jpeg

import "encoding/binary"

// lumaSum is the sum of the standard's luminance table (ITU-T T.81, K.1), which libjpeg takes for quality 50.
const lumaSum = 3687

// Quality estimates on libjpeg's scale, 1..100, at which quality a JPEG was made: by how far its first quantization
// table is from the standard's. Not ok where it has none.
func Quality(jpeg []byte) (quality int, ok bool) {
	const soi = 2
	for at := soi; at+4 <= len(jpeg) && jpeg[at] == 0xFF; {
		marker := jpeg[at+1]
		if marker == 0xFF { // fill
			at++
			continue
		}
		if marker == 0xDA || marker == 0xD9 {
			return 0, false
		}
		n := int(binary.BigEndian.Uint16(jpeg[at+2:]))
		if end := at + 2 + n; marker == 0xDB && end <= len(jpeg) {
			if sum, ok := firstTable(jpeg[at+4 : end]); ok {
				return scaleOf(sum), true
			}
		}
		at += 2 + n
	}
	return 0, false
}

// firstTable sums up table 0 of a DQT segment.
func firstTable(b []byte) (sum int, ok bool) {
	for len(b) > 0 {
		width := 1 + int(b[0]>>4) // bytes an entry
		size := 1 + 64*width
		if width > 2 || len(b) < size {
			return 0, false
		}
		if b[0]&0x0F == 0 {
			for i := range 64 {
				v := int(b[1+i*width])
				if width == 2 {
					v = v<<8 | int(b[2+i*width])
				}
				sum += v
			}
			return sum, true
		}
		b = b[size:]
	}
	return 0, false
}

// scaleOf turns libjpeg's rule around: a table's entries are scaled by 200 − 2q percent, below quality 50 by 5000/q.
func scaleOf(sum int) int {
	percent := float64(sum) * 100 / lumaSum
	q := (200 - percent) / 2
	if percent > 100 {
		q = 5000 / percent
	}
	return min(max(int(q+0.5), 1), 100)
}
