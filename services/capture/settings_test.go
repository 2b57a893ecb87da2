package capture_test

import (
	"testing"

	"github.com/framebus/framebus/services/capture"
	"github.com/stretchr/testify/require"
)

func TestEveryWrongSourceIsNamedAtOnce(t *testing.T) {
	s := capture.Settings{Sources: "a=pattern:,A=pattern:,b=ftp://x,a=pattern:", Width: 640, Height: 480, FPS: 30}
	err := s.Validate()
	for _, want := range []string{`named twice`, "source 2", `"b"`} {
		require.ErrorContains(t, err, want)
	}
	require.Error(t, (&capture.Settings{Sources: "a=pattern:", Width: 0, Height: 480, FPS: 30}).Validate())
	require.NoError(t, (&capture.Settings{Sources: "a=pattern:", Width: 640, Height: 480, FPS: 30}).Validate())
}
