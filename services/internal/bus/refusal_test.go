package bus

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhyTheBusIsNotReachedIsSaidOnceAMinute(t *testing.T) {
	dial := func(port int) error {
		return &net.OpError{Op: "dial", Addr: &net.TCPAddr{Port: port}, Err: errors.New("connection refused")}
	}
	var r refusal
	at := time.Unix(1e9, 0)
	require.True(t, r.news(dial(1), at))
	require.False(t, r.news(dial(2), at.Add(30*time.Second)), "the same of another server")
	require.True(t, r.news(errors.New("Authorization Violation"), at.Add(30*time.Second)), "another cause")
	require.False(t, r.news(dial(1), at.Add(30*time.Second+time.Millisecond)), "two causes in turns")
	require.True(t, r.news(dial(1), at.Add(40*time.Second)))
	require.True(t, r.news(dial(1), at.Add(100*time.Second)), "a minute later")
}
