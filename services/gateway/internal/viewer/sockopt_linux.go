package viewer

import (
	"time"

	"golang.org/x/sys/unix"
)

// tcpRTOMaxMs is TCP_RTO_MAX_MS of Linux 6.15 and later.
const tcpRTOMaxMs = 44

// sendQueue is the number of bytes written that the client's host has not acknowledged.
func sendQueue(fd uintptr) int {
	n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}

func setNotSentLowAt(fd uintptr, bytes int) {
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, bytes)
}

func setRTOMax(fd uintptr, d time.Duration) {
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, tcpRTOMaxMs, int(d.Milliseconds()))
}
