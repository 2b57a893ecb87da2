package subject_test

import (
	"strings"
	"testing"

	"github.com/framebus/framebus/proto/frame"
	"github.com/framebus/framebus/proto/subject"
	"github.com/stretchr/testify/require"
)

func TestNames(t *testing.T) {
	for _, s := range []string{"a", "cam0", "front-door_2", strings.Repeat("x", 63)} {
		require.True(t, subject.ValidName(s), s)
	}
	for _, s := range []string{"", "_", "-a", "A", "a.b", "a b", "*", ">", "ä", strings.Repeat("x", 64)} {
		require.False(t, subject.ValidName(s), s)
	}
	require.Equal(t, "my-host-1", subject.SanitiseName("__My.Host 1", 54))
	require.Equal(t, "x", subject.SanitiseName("…", 54))
	require.True(t, subject.ValidName(subject.SanitiseName(strings.Repeat("Ä.", 90)+"b", 54)))
}

func TestWhatIsSpelledIsRead(t *testing.T) {
	by, stream, encoder, err := subject.ParseRaw(subject.Raw(subject.Pub, "cam0", "enc-1"))
	require.NoError(t, err)
	require.Equal(t, []string{"pub", "cam0", "enc-1"}, []string{string(by), stream, encoder})
	_, _, encoder, err = subject.ParseRaw(subject.Raw(subject.Cam, "cam0", subject.Reader))
	require.NoError(t, err)
	require.Equal(t, "_", encoder)
	by, stream, err = subject.ParseDone(subject.Done(subject.Cam, "cam0"))
	require.NoError(t, err)
	require.Equal(t, []string{"cam", "cam0"}, []string{string(by), stream})
	stream, rung, err := subject.ParseJPEG(subject.JPEG("cam0", frame.Quarter))
	require.NoError(t, err)
	require.Equal(t, "cam0", stream)
	require.Equal(t, frame.Quarter, rung)
	stream, err = subject.ParseFeedback(subject.Feedback("cam0"))
	require.NoError(t, err)
	require.Equal(t, "cam0", stream)
}

func FuzzParse(f *testing.F) {
	f.Add("framebus.v1.raw.cam.cam0.enc")
	f.Add("framebus.v1.done.pub.x")
	f.Add("framebus.v1.jpeg.cam0.half")
	f.Add("framebus.v1.feedback.cam0")
	f.Fuzz(func(t *testing.T, s string) {
		if by, stream, encoder, err := subject.ParseRaw(s); err == nil && subject.Raw(by, stream, encoder) != s {
			t.Fatalf("raw %q", s)
		}
		if by, stream, err := subject.ParseDone(s); err == nil && subject.Done(by, stream) != s {
			t.Fatalf("done %q", s)
		}
		if stream, rung, err := subject.ParseJPEG(s); err == nil && subject.JPEG(stream, rung) != s {
			t.Fatalf("jpeg %q", s)
		}
		if stream, err := subject.ParseFeedback(s); err == nil && subject.Feedback(stream) != s {
			t.Fatalf("feedback %q", s)
		}
	})
}
