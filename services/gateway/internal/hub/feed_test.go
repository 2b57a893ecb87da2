package hub

import (
	"testing"
	"time"

	"github.com/framebus/framebus/proto/frame"
	"github.com/stretchr/testify/require"
)

func TestNewer(t *testing.T) {
	newest := frame.Header{Epoch: 100, Sequence: 50}
	for _, c := range []struct {
		name            string
		epoch, sequence uint64
		silent          time.Duration
		want            bool
	}{
		{"the next", 100, 51, 0, true},
		{"the same again", 100, 50, time.Minute, false},
		{"overtaken", 100, 49, time.Minute, false},
		{"a new epoch", 101, 1, 0, true},
		{"a smaller epoch beside a live one", 99, 1000, epochSilence - 1, false},
		{"a clock set back: the greater epoch is silent", 99, 1, epochSilence, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := frame.Header{Epoch: c.epoch, Sequence: c.sequence}
			require.Equal(t, c.want, newer(&h, &newest, c.silent))
		})
	}
}

func TestIsJPEG(t *testing.T) {
	picture := []byte{0xFF, 0xD8, 0xFF, 0xE0}
	good := frame.Header{Format: frame.JPEG}
	require.True(t, isJPEG(&good, picture))
	require.False(t, isJPEG(&good, nil), "a probe")
	require.False(t, isJPEG(&good, []byte("GIF89a")))
	require.False(t, isJPEG(&frame.Header{Format: frame.I420}, picture))
	require.False(t, isJPEG(&frame.Header{Format: frame.JPEG, Flags: frame.FlagReference}, picture))
}

func TestValidFPS(t *testing.T) {
	zero := 0.0
	for fps, want := range map[float64]bool{
		0.1: true, 30: true, 240: true, 0: false, -1: false, 0.05: false, 241: false, zero / zero: false, 1 / zero: false,
	} {
		require.Equal(t, want, ValidFPS(fps), fps)
	}
}
