//go:build e2e || compose

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// recoversWithin is the promise: video again so soon after what was lost is back.
	recoversWithin = 2 * time.Second
	// settled is how long after that the rate must be the full one again: credit lost for good would show.
	settled = 3 * time.Second
	// fullRate is the least rate of a stream of 30 frames a second that counts as all of it.
	fullRate = 29.0
	// freshFor is how old a picture may be that is shown after an outage.
	freshFor = time.Second
	// away is how long a process stays away that is killed and started again.
	away = time.Second
)

// recovers breaks something and looks at how video comes back: breaks returns the moment at which what was lost was
// there again. seen tells when a viewer had video of after that moment.
func recovers(t *testing.T, ws []*watcher, breaks func() time.Time, seen func(*watcher, time.Time) time.Time) {
	t.Helper()
	steadily(t, func() string {
		for _, w := range ws {
			w.waitFrames(30)
		}
		back := breaks()
		var first time.Duration
		for _, w := range ws {
			first = max(first, seen(w, back).Sub(back))
		}
		<-time.After(time.Until(back.Add(settled)))
		accs := during(ws, 2*time.Second)
		var oldest time.Duration
		slowest := accs[0].fps
		for i, w := range ws {
			slowest = min(slowest, accs[i].fps)
			for _, p := range w.pictures() {
				if p.at.After(back) {
					oldest = max(oldest, p.at.Sub(time.UnixMicro(p.capturedUs)))
				}
			}
		}
		t.Logf("video again after %v, oldest picture since then %v, %.2f fps after %v", first.Round(time.Millisecond),
			oldest.Round(time.Millisecond), slowest, settled)
		switch {
		case first > recoversWithin:
			return fmt.Sprintf("video again only after %v", first)
		case oldest > freshFor:
			return fmt.Sprintf("a picture of %v ago was shown", oldest)
		case slowest < fullRate:
			return fmt.Sprintf("%.2f frames a second are left after %v", slowest, settled)
		}
		return ""
	})
}

// stayConnected fails if a viewer had to dial again.
func stayConnected(t *testing.T, ws []*watcher) {
	t.Helper()
	for _, w := range ws {
		require.Zero(t, w.viewer.Stats().Reconnects, "a viewer was disconnected")
	}
}
