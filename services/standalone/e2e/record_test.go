//go:build e2e

package e2e

import (
	"cmp"
	"encoding/json"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/framebus/framebus/services/client/record"
	"github.com/framebus/framebus/services/client/record/recordtest"
	"github.com/stretchr/testify/require"
)

func (s *system) record(path string, more ...string) *process {
	s.t.Helper()
	return run(s.t, binary(s.t, "framebus"), append([]string{"record", "http://" + s.addr, "-o", path}, more...)...)
}

func reported(t *testing.T, p *process) (r record.Report) {
	t.Helper()
	require.Zero(t, p.waitExit(), "the recorder failed")
	out := p.out.String()
	for i := range out { // logs stand in front of it
		if out[i] == '{' && json.Unmarshal([]byte(out[i:]), &r) == nil {
			return r
		}
	}
	require.Fail(t, "no report", out)
	return r
}

func TestRecording(t *testing.T) {
	s := start(t, options{})
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name+".mkv") }
	w := watch(t, client.Config{URL: "http://" + s.addr, Mode: "smooth"})
	steadily(t, func() string {
		whole := s.record(path("whole"), "--duration", "20s", "--json")
		killed := s.record(path("killed"))
		<-time.After(6 * time.Second)
		killed.kill()
		if n := len(recordtest.Times(t, path("killed"))); n < 120 {
			return "a killed recorder left " + strconv.Itoa(n) + " pictures that can be read"
		}
		r := reported(t, whole)
		at := recordtest.Times(t, path("whole"))
		t.Logf("%d pictures in %v, %d missed", len(at), r.Duration, r.Missed)
		if n := len(at); n < 598 || n > 602 {
			return strconv.Itoa(n) + " pictures in 20 s"
		}
		if n := matched(at, w.pictures()); n < len(at)-5 {
			return strconv.Itoa(len(at)-n) + " pictures are not at the times of their capture"
		}
		return ""
	})
}

// matched is how many of a file's times are those of captures that a watcher saw, once the first is put at one of them.
func matched(file []time.Duration, seen []picture) (most int) {
	captured := make([]int64, len(seen))
	for i, p := range seen {
		captured[i] = p.capturedUs
	}
	slices.Sort(captured)
	for _, first := range captured {
		n := 0
		for _, at := range file {
			us := first + at.Microseconds()
			i, _ := slices.BinarySearch(captured, us-1000) // the file counts in milliseconds
			if i < len(captured) && captured[i] <= us+1000 {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

func TestAReconnectIsAGapInTheRecording(t *testing.T) {
	s := start(t, options{})
	path := filepath.Join(t.TempDir(), "out.mkv")
	p := s.record(path, "--duration", "10s", "--json", "--delay", "100ms")
	p.waitPrinted("connected")
	<-time.After(3 * time.Second)
	s.gateway.kill()
	<-time.After(2 * time.Second)
	s.gateway = s.startGateway(s.addr)
	r := reported(t, p)
	at := recordtest.Times(t, path)
	require.Len(t, at, int(r.Frames))
	require.InDelta(t, 10, at[len(at)-1].Seconds(), 0.2, "the time goes on")
	require.NotEmpty(t, r.Gaps)
	gap := slices.MaxFunc(r.Gaps, func(a, b record.Gap) int { return cmp.Compare(a.For, b.For) })
	t.Logf("%d pictures, a gap of %v at %v, %d missed", r.Frames, gap.For, gap.At, gap.Missed)
	require.Greater(t, gap.For, 1900*time.Millisecond)
	longest := time.Duration(0)
	for i := range at[1:] {
		longest = max(longest, at[i+1]-at[i])
	}
	require.InDelta(t, gap.For.Seconds(), longest.Seconds(), 0.002, "the gap is in the file")
	// Each frame was captured: what is not in the file is told.
	require.InDelta(t, 300, float64(r.Frames+r.Missed), 4)
}
