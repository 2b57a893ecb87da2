//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/stretchr/testify/require"
)

// rtt of the links that CI measures; docs/adaptation.md has the others.
const rtt = 20 * time.Millisecond

// settle is how long a link may take to be known.
const settle = 6 * time.Second

func v1(addr string) client.Config { return client.Config{URL: "http://" + addr, Stream: "cam0"} }

// shownAs says on which rung and at which quality a watcher's stream is.
func shownAs(w *watcher) (rung string, quality int) {
	s := w.viewer.Stats()
	return s.Rung.String(), s.Quality
}

func TestASlowViewerHurtsNobody(t *testing.T) {
	s := start(t, options{})
	fast := watchers(t, 9, v1(s.addr))
	slow := watch(t, v1(startRelay(t, s.addr, 1, rtt).addr()))
	slow.waitFrames(1)
	<-time.After(settle)
	steadily(t, func() string {
		accs := during(append(fast, slow), 8*time.Second)
		for i, a := range accs[:9] {
			if _, q := shownAs(fast[i]); a.fps < 29.5 || q != 80 {
				return fmt.Sprintf("fast viewer %d: %.1f fps at quality %d", i, a.fps, q)
			}
		}
		a := accs[9]
		rung, q := shownAs(slow)
		t.Logf("fast %.2f fps p99 %v; slow %.1f fps %s Q%d p50 %v p95 %v", accs[0].fps, accs[0].p99, a.fps, rung, q,
			a.p50, a.p95)
		if a.fps < 25 || a.p95 > rtt/2+150*time.Millisecond {
			return fmt.Sprintf("slow viewer: %.1f fps, age p95 %v", a.fps, a.p95)
		}
		return ""
	})
}

func TestALinkOfHalfTheRate(t *testing.T) {
	s := start(t, options{})
	for name, cfg := range map[string]client.Config{"framebus.v1": {}, "bare": {Format: client.Bare}} {
		t.Run(name, func(t *testing.T) {
			link := startRelay(t, s.addr, 2.5, rtt)
			cfg.URL, cfg.Stream = "http://"+link.addr(), "cam0"
			w := watch(t, cfg)
			w.waitFrames(1)
			<-time.After(settle)
			steadily(t, func() string {
				a := during([]*watcher{w}, 6*time.Second)[0]
				t.Logf("%.1f fps %s", a.fps, seatOf(t, s.addr))
				if cfg.Format == client.V1 { // a bare JPEG does not tell its time
					t.Logf("age p50 %v p95 %v", a.p50, a.p95)
				}
				if a.fps < 25 || cfg.Format == client.V1 && a.p95 > rtt/2+120*time.Millisecond {
					return fmt.Sprintf("%.1f fps, age p95 %v", a.fps, a.p95)
				}
				return ""
			})
		})
	}
}

func TestARateThatFallsAndRecovers(t *testing.T) {
	s := start(t, options{})
	link := startRelay(t, s.addr, 20, rtt)
	w := watch(t, v1(link.addr()))
	w.waitFrames(30)
	<-time.After(settle)
	steadily(t, func() string {
		fell := time.Now()
		link.set(1)
		<-time.After(8 * time.Second)
		low := w.between(fell.Add(2*time.Second), time.Now())
		rose := time.Now()
		link.set(20)
		back := time.Duration(0)
		for back == 0 && time.Since(rose) < 15*time.Second {
			<-time.After(50 * time.Millisecond)
			if rung, q := shownAs(w); rung == "full" && q == 80 {
				back = time.Since(rose)
			}
		}
		t.Logf("2 s after the fall: %.1f fps, age p95 %v; back at full size and quality 80 after %v", low.fps, low.p95, back)
		switch {
		case low.p95 > 300*time.Millisecond:
			return fmt.Sprintf("age p95 %v two seconds after the fall", low.p95)
		case low.fps < 25:
			return fmt.Sprintf("%.1f fps while low", low.fps)
		case back == 0 || back > 8*time.Second:
			return fmt.Sprintf("full size and quality 80 again after %v", back)
		}
		return ""
	})
}

func TestTenRates(t *testing.T) {
	s := start(t, options{})
	rates := []float64{0.3, 0.6, 1, 1.5, 2.5, 4, 7, 12, 20, 30}
	ws := make([]*watcher, len(rates))
	for i, mbit := range rates {
		ws[i] = watch(t, v1(startRelay(t, s.addr, mbit, rtt).addr()))
	}
	<-time.After(settle)
	steadily(t, func() string {
		wrong := ""
		for i, a := range during(ws, 8*time.Second) {
			rung, q := shownAs(ws[i])
			t.Logf("%4.1f Mbit/s: %.1f fps %s Q%d p50 %v p95 %v", rates[i], a.fps, rung, q, a.p50, a.p95)
			if a.fps < 15 || a.p95 > rtt/2+200*time.Millisecond {
				wrong = fmt.Sprintf("at %.1f Mbit/s: %.1f fps, age p95 %v", rates[i], a.fps, a.p95)
			}
		}
		return wrong
	})
}

// A rung is encoded while somebody wants it, once; nothing is within 2.5 s of the last viewer.
func TestOnlyWhatIsWantedIsEncoded(t *testing.T) {
	admin := freeAddr(t)
	s := start(t, options{encoder: []string{"--admin-listen", admin}})
	encoded := func() float64 { return metric(t, admin, `framebus_encoder_frames_total{fate="encoded"`) }
	half := v1(s.addr)
	half.Rung = "half"
	a, b := watch(t, v1(s.addr)), watch(t, half)
	a.waitFrames(30)
	b.waitFrames(30)
	require.Equal(t, 640, a.pictures()[0].width)
	require.Equal(t, 320, b.pictures()[0].width)
	a.stop()
	b.stop()
	steadily(t, func() string {
		<-time.After(2500 * time.Millisecond)
		before := encoded()
		<-time.After(time.Second)
		if after := encoded(); after != before {
			return fmt.Sprintf("%v frames were encoded for nobody", after-before)
		}
		return ""
	})
	from := time.Now()
	c := watch(t, v1(s.addr))
	c.waitFrames(1)
	t.Logf("first picture %v after the first viewer", c.pictures()[0].at.Sub(from))
	require.Less(t, c.pictures()[0].at.Sub(from), time.Second)
}

// metric is the sum of a service's samples whose line begins so.
func metric(t *testing.T, admin, prefix string) (sum float64) {
	t.Helper()
	name, labels, _ := strings.Cut(prefix, "{")
	_, body := get(t, "http://"+admin+"/metrics")
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, name+"{") && strings.Contains(line, labels) {
			var v float64
			if _, err := fmt.Sscan(line[strings.LastIndex(line, "}")+1:], &v); err == nil {
				sum += v
			}
		}
	}
	return sum
}

// seatOf is the gateway's word on its only viewer.
func seatOf(t *testing.T, addr string) string {
	t.Helper()
	_, body := get(t, "http://"+addr+"/api/v1/viewers")
	var out struct {
		Viewers []struct {
			Streams []struct {
				Rung, Why string
				Quality   int
				Skipped   map[string]int
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(body), &out))
	for _, v := range out.Viewers {
		for _, l := range v.Streams {
			return fmt.Sprintf("%s Q%d (%s) skipped %v", l.Rung, l.Quality, l.Why, l.Skipped)
		}
	}
	return "nobody"
}
