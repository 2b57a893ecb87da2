package client

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A sampled frame's trace waits for the report, which does not wait for the next one that is due. Where every frame is
// sampled that must not become a flood.
func TestASampledFrameIsToldOfAtOnce(t *testing.T) {
	v, err := New(Config{URL: "ws://localhost", Stream: "cam0"}, Deps{})
	require.NoError(t, err)
	st := v.streams[0]
	v.painted(st, paint{sequence: 1})
	require.Empty(t, v.due(false))
	v.painted(st, paint{sequence: 2, sampled: true})
	told := v.due(false)
	require.Len(t, told, 1)
	require.EqualValues(t, 2, told[0].GetPainted().GetSequence())
	require.EqualValues(t, 2, told[0].GetPainted().GetDecoded())
	require.Empty(t, v.due(false))

	st.paintTold = v.now().Add(time.Hour) // the last report is not long ago, however slow this machine is
	v.painted(st, paint{sequence: 3, sampled: true})
	require.Empty(t, v.due(false))
	require.Len(t, v.due(true), 1)
}
