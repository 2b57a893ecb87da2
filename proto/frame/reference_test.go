package frame_test

import (
	"encoding/hex"
	"testing"

	"github.com/framebus/framebus/proto/frame"
	"github.com/stretchr/testify/require"
)

func referring() (frame.Header, frame.Reference) {
	h := frame.NewHeader()
	h.Format, h.Width, h.Height = frame.I420, 640, 480
	h.Flags, h.PayloadLen = frame.FlagReference, frame.ReferenceLen
	return h, frame.Reference{
		Region: [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
		Slot:   5, Generation: 1 << 33, Length: 460800,
	}
}

const goldenReference = "0102030405060708090a0b0c0d0e0f10" + "00000005" + "0000000200000000" + "00070800"

func TestReferenceRoundTrip(t *testing.T) {
	h, ref := referring()
	b := make([]byte, frame.HeaderLen+frame.ReferenceLen)
	h.Put(b)
	ref.Put(b[frame.HeaderLen:])
	require.Equal(t, goldenReference, hex.EncodeToString(b[frame.HeaderLen:]))
	head, payload, err := frame.Parse(b)
	require.NoError(t, err)
	got, err := frame.ParseReference(&head, payload)
	require.NoError(t, err)
	require.Equal(t, ref, got)
}

func TestMalformedReferences(t *testing.T) {
	h, ref := referring()
	b := make([]byte, frame.ReferenceLen)
	ref.Put(b)
	_, err := frame.ParseReference(&h, b[:31])
	require.ErrorIs(t, err, frame.ErrLength)
	for _, length := range []uint32{0, 460799, 460801, 1<<32 - 1} {
		ref.Length = length
		ref.Put(b)
		_, err = frame.ParseReference(&h, b)
		require.ErrorIs(t, err, frame.ErrLength, length)
	}
	h.Format, ref.Length = frame.JPEG, 0
	ref.Put(b)
	_, err = frame.ParseReference(&h, b)
	require.ErrorIs(t, err, frame.ErrLength, "an empty JPEG")

	h, _ = referring()
	h.PayloadLen = frame.ReferenceLen + 1
	whole := make([]byte, frame.HeaderLen+frame.ReferenceLen+1)
	h.Put(whole)
	_, _, err = frame.Parse(whole)
	require.ErrorIs(t, err, frame.ErrLength)
}
