package viewer

import "time"

// meterSpan is how many whole seconds a rate looks back.
const meterSpan = 3

// meter counts frames and bytes, in all and by second. Times are since the connection began.
type meter struct {
	frames, bytes uint64
	seconds       [meterSpan + 1]struct {
		second        int64
		frames, bytes uint64
	}
}

func (m *meter) add(at time.Duration, bytes int) {
	m.frames++
	m.bytes += uint64(bytes)
	second := int64(at / time.Second)
	s := &m.seconds[second%(meterSpan+1)]
	if s.second != second {
		s.second, s.frames, s.bytes = second, 0, 0
	}
	s.frames++
	s.bytes += uint64(bytes)
}

// rates are frames a second and Mbit/s over the last whole seconds, in the first one over what there is of it.
func (m *meter) rates(now time.Duration) (fps, mbps float64) {
	second := int64(now / time.Second)
	from, to := max(second-meterSpan, 0), second-1
	span := float64(to - from + 1)
	if second == 0 {
		from, to, span = 0, 0, max(now, 100*time.Millisecond).Seconds()
	}
	var frames, bytes uint64
	for _, s := range m.seconds {
		if s.second >= from && s.second <= to {
			frames += s.frames
			bytes += s.bytes
		}
	}
	return float64(frames) / span, float64(bytes) * 8 / 1e6 / span
}
