package adapt

import "time"

// firstAckSpan is what a slow line (0.3 Mbit/s) needs for the two packets that a host acknowledges at once: so much
// later than the round trip the first acknowledgement of a picture may be.
const firstAckSpan = 80 * time.Millisecond

const tcpBaseOver = 5 * time.Second

// TCPBase is the base delay of a connection whose pictures the client's host acknowledges, not the client. The kernel
// knows the least round trip of minutes; where it has grown since, the first acknowledgements of pictures that found
// the line idle tell. Its zero value knows nothing.
type TCPBase struct{ first []timed } // of the last tcpBaseOver: candidates for the least, rising

// First notes how long after its sending the first part of a picture was acknowledged that found the line idle.
func (b *TCPBase) First(at, delay time.Duration) {
	for len(b.first) > 0 && b.first[len(b.first)-1].d >= delay {
		b.first = b.first[:len(b.first)-1]
	}
	b.first = append(b.first, timed{at, delay})
	b.first = dropBefore(b.first, func(t timed) bool { return at-t.at > tcpBaseOver })
}

// Base is the round trip of nothing, the kernel's least being minRTT.
func (b *TCPBase) Base(minRTT time.Duration) time.Duration {
	if len(b.first) == 0 {
		return minRTT
	}
	return max(minRTT, b.first[0].d-firstAckSpan)
}

// EarlyAck is how many bytes of a picture need not be acknowledged for it to count as arrived: hosts wait up to 200 ms
// before they acknowledge a last packet.
func EarlyAck(bytes int) int {
	const twoPackets = 2 * 1448
	return min(twoPackets, bytes/4)
}
