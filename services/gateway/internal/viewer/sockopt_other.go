//go:build !linux

package viewer

import "time"

// Elsewhere the send queue is taken for empty: a client that answers no pings is found out a little too early on a slow
// link, and then bounded by the socket's buffer alone.
func sendQueue(uintptr) int { return 0 }

func setNotSentLowAt(uintptr, int) {}

func setRTOMax(uintptr, time.Duration) {}
