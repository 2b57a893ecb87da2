package adapt_test

import (
	"testing"
	"time"

	"github.com/framebus/framebus/services/internal/adapt"
	"github.com/stretchr/testify/require"
)

func TestAProxyIsFoundByTwoReportsInARow(t *testing.T) {
	var p adapt.Proxy
	require.False(t, p.Report(600*time.Millisecond, 20))
	require.False(t, p.Report(200*time.Millisecond, 20), "a report is up to 250 ms old")
	require.False(t, p.Report(600*time.Millisecond, 20))
	require.False(t, p.Report(900*time.Millisecond, 1), "a slow stream's last picture is old")
	require.False(t, p.Report(600*time.Millisecond, 20))
	require.True(t, p.Report(800*time.Millisecond, 25))
}

func TestTheKernelsLeastRoundTripCountsUntilItIsOld(t *testing.T) {
	var b adapt.TCPBase
	require.Equal(t, 20*time.Millisecond, b.Base(20*time.Millisecond))
	b.First(time.Second, 45*time.Millisecond)
	require.Equal(t, 20*time.Millisecond, b.Base(20*time.Millisecond), "two packets on a slow line")
	for s := range 8 {
		b.First(time.Duration(2+s)*time.Second, 302*time.Millisecond)
	}
	require.Equal(t, 222*time.Millisecond, b.Base(20*time.Millisecond), "it has grown")
}
