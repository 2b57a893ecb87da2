package viewer

import (
	"time"

	"golang.org/x/sys/unix"
)

// tcpInfo asks the kernel how the client's host acknowledges.
func tcpInfo(fd uintptr) (t tcpState, ok bool) {
	info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil || info.Min_rtt == ^uint32(0) {
		return t, err == nil
	}
	return tcpState{
		minRTT:  time.Duration(info.Min_rtt) * time.Microsecond,
		lastAck: time.Duration(info.Last_ack_recv) * time.Millisecond,
	}, true
}
