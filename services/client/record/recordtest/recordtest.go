// Package recordtest reads recordings as other programs do, for tests.
package recordtest

import (
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Times are those of a file's pictures, as ffprobe reads them. In CI ffprobe must be there.
func Times(t testing.TB, path string) (out []time.Duration) {
	t.Helper()
	probe, err := exec.LookPath("ffprobe")
	if err != nil && os.Getenv("CI") == "" {
		t.Skip("no ffprobe here: apt-get install ffmpeg")
	}
	require.NoError(t, err)
	b, err := exec.Command(probe, "-v", "error", "-show_entries", "packet=pts_time", "-of", "json", path).Output()
	require.NoError(t, err)
	var read struct {
		Packets []struct {
			PTS string `json:"pts_time"`
		}
	}
	require.NoError(t, json.Unmarshal(b, &read))
	for _, p := range read.Packets {
		s, err := strconv.ParseFloat(p.PTS, 64)
		require.NoError(t, err)
		out = append(out, time.Duration(s*float64(time.Second)))
	}
	return out
}
