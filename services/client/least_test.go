package client

import (
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/stretchr/testify/require"
)

func TestWhatLaySomewhereIsNotShown(t *testing.T) {
	var l least
	began := time.UnixMicro(1e15)
	stale := func(epoch uint64, captured, delay time.Duration) bool {
		h := frame.NewHeader()
		h.Epoch, h.CapturedUs = epoch, began.Add(captured).UnixMicro()
		return l.stale(&h, began.Add(captured+delay))
	}
	require.False(t, stale(1, 0, 900*time.Millisecond), "clocks may differ")
	require.False(t, stale(1, time.Second, 300*time.Millisecond))
	require.True(t, stale(1, 2*time.Second, 1400*time.Millisecond))
	require.True(t, stale(1, 2100*time.Millisecond, 60*time.Second), "an outage does not make it forget")
	require.False(t, stale(1, 12*time.Second, 1200*time.Millisecond))
	require.True(t, stale(1, 13*time.Second, 1400*time.Millisecond), "the ten seconds before count too")
	require.True(t, stale(1, 23*time.Second, 2500*time.Millisecond))
	require.False(t, stale(1, 24*time.Second, 2100*time.Millisecond), "a way that stays slow is shown")
	require.False(t, stale(2, 25*time.Second, 9*time.Second), "another run's clock is another clock")
}
