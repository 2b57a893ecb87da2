//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/stretchr/testify/require"
)

// A smooth viewer whose link stalls for 0.8 s every 5 s sees every frame in order; a live one skips. The link is fast
// enough to make up for it.
func TestASmoothViewerSeesEveryFrameOfALinkThatStalls(t *testing.T) {
	s := start(t, options{})
	link := startRelay(t, s.addr, 100, 2*time.Millisecond)
	url := "http://" + link.addr()
	smooth := watch(t, client.Config{URL: url, Stream: "cam0", Mode: "smooth", Rung: "full"})
	live := watch(t, client.Config{URL: url, Stream: "cam0", Rung: "full"})
	smooth.waitFrames(30)
	live.waitFrames(30)
	steadily(t, func() string {
		from := time.Now()
		for range 3 {
			link.stall(800 * time.Millisecond)
			<-time.After(4200 * time.Millisecond)
		}
		a, b := smooth.between(from, time.Now()), live.between(from, time.Now())
		t.Logf("smooth: %d frames, %d lost; live: %d frames, %d lost", a.frames, a.lost, b.frames, b.lost)
		switch {
		case a.lost > 0 || a.backward > 0:
			return fmt.Sprintf("the smooth viewer lost %d, %d came backward", a.lost, a.backward)
		case b.lost == 0:
			return "the live viewer skipped nothing: the link did not stall"
		}
		return ""
	})
}

func TestAMinuteIsEighteenHundredFrames(t *testing.T) {
	addr, p := startOne(t)
	w := watch(t, client.Config{URL: "http://" + addr, Stream: "cam0"})
	w.waitFrames(60)
	steadily(t, func() string {
		halves := [2]account{}
		var cpu [2]time.Duration
		var mem [2]int64
		from := time.Now()
		for i := range halves {
			began := cpuTime(t, p.pid())
			halves[i] = during([]*watcher{w}, 30*time.Second)[0]
			cpu[i], mem[i] = cpuTime(t, p.pid())-began, memory(t, p.pid())
		}
		all := w.between(from, from.Add(time.Minute))
		t.Logf("%d frames, %d lost; CPU %v and %v; memory %d and %d kB", all.frames, all.lost, cpu[0], cpu[1], mem[0]>>10,
			mem[1]>>10)
		switch {
		case all.lost > 0 || all.frames < 1798 || all.frames > 1802:
			return fmt.Sprintf("%d frames, %d lost", all.frames, all.lost)
		case cpu[1] > cpu[0]*3/2:
			return fmt.Sprintf("CPU grew from %v to %v", cpu[0], cpu[1])
		case mem[1]-mem[0] > 16<<20:
			return fmt.Sprintf("memory grew from %d to %d kB", mem[0]>>10, mem[1]>>10)
		}
		return ""
	})
}

// cpuTime is what a process has used, user and system.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	// Behind the name in parentheses: state is field 3, utime 14 and stime 15, in ticks of 10 ms.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	var user, system int64
	_, err = fmt.Sscan(fields[11]+" "+fields[12], &user, &system)
	require.NoError(t, err)
	return time.Duration(user+system) * 10 * time.Millisecond
}
