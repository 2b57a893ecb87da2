package bus

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheSameCauseIsSaidOnceAMinute(t *testing.T) {
	dial := func(port int) error {
		return &net.OpError{Op: "dial", Addr: &net.TCPAddr{Port: port}, Err: errors.New("connection refused")}
	}
	var n news
	at := time.Unix(1e9, 0)
	require.True(t, n.worth(dial(1), at))
	require.False(t, n.worth(dial(2), at.Add(30*time.Second)), "the same of another server")
	require.True(t, n.worth(errors.New("Authorization Violation"), at.Add(30*time.Second)), "another cause")
	require.False(t, n.worth(dial(1), at.Add(30*time.Second+time.Millisecond)), "two causes in turns")
	require.True(t, n.worth(dial(1), at.Add(40*time.Second)))
	require.True(t, n.worth(dial(1), at.Add(100*time.Second)), "a minute later")
}
