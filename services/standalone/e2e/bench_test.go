//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	bits "encoding/binary"

	"github.com/framebus/framebus/services/standalone/internal/load"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// observer is a viewer that has nothing of ours: it reads the envelope by its documented offsets, and decodes pictures
// only when all is over.
type observer struct {
	ws   *websocket.Conn
	done chan struct{}
	mu   sync.Mutex
	seen []sighting
}

type sighting struct {
	at         time.Time
	capturedUs int64
	jpeg       []byte // of every fifth
}

func observe(t *testing.T, url string) *observer {
	t.Helper()
	ws, _, err := (&websocket.Dialer{Subprotocols: []string{"framebus.v1"}}).DialContext(t.Context(), url, nil)
	require.NoError(t, err)
	o := &observer{ws: ws, done: make(chan struct{})}
	go o.read()
	t.Cleanup(func() { ws.Close(); <-o.done })
	return o
}

func (o *observer) read() {
	defer close(o.done)
	for {
		kind, b, err := o.ws.ReadMessage() // which answers the pings
		at := time.Now()
		if err != nil {
			return
		}
		if kind != websocket.BinaryMessage {
			continue
		}
		p := sighting{at: at, capturedUs: int64(bits.BigEndian.Uint64(b[32:]))}
		o.mu.Lock()
		if len(o.seen)%5 == 0 {
			p.jpeg = b[b[4]:]
		}
		o.seen = append(o.seen, p)
		o.mu.Unlock()
	}
}

// between is the number of pictures that came from a on before b, and their median age by either clock.
func (o *observer) between(t *testing.T, a, b time.Time) (frames int, envelope, strip time.Duration) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	var byEnvelope, byStrip []time.Duration
	for _, p := range o.seen {
		if p.at.Before(a) || !p.at.Before(b) {
			continue
		}
		frames++
		byEnvelope = append(byEnvelope, p.at.Sub(time.UnixMicro(p.capturedUs)))
		if p.jpeg != nil {
			us, ok := readStrip(p.jpeg)
			require.True(t, ok, "the pattern bears its time")
			byStrip = append(byStrip, p.at.Sub(time.UnixMicro(us)))
		}
	}
	slices.Sort(byEnvelope)
	slices.Sort(byStrip)
	return frames, percentile(byEnvelope, 50), percentile(byStrip, 50)
}

func TestTheBenchAgreesWithAnIndependentMeasurement(t *testing.T) {
	addr, _ := startOne(t)
	waitStream(t, addr, "cam0")
	o := observe(t, wsURL(addr, "stream=cam0"))
	steadily(t, func() string {
		cmd := exec.Command(binary(t, "framebus"), "bench", "http://"+addr, "--json", "--clients", "3", "--duration", "20s")
		out, err := cmd.Output()
		require.NoError(t, err)
		var r load.Report
		require.NoError(t, json.Unmarshal(out, &r))
		end := r.Began.Add(time.Duration(r.DurationS * float64(time.Second)))
		frames, envelope, strip := o.between(t, r.Began, end)
		ages := []float64{ms(envelope), ms(strip), r.Total.Age.P50, r.Total.StripAge.P50}
		t.Logf("%d frames, age by envelope %.3f ms, by strip %.3f ms; bench: %d of 3 viewers, %.3f, %.3f ms",
			frames, ages[0], ages[1], r.Total.Frames, ages[2], ages[3])
		require.Positive(t, frames)
		require.Zero(t, r.Total.StripUnread)
		for _, v := range r.Viewers {
			if !near(float64(v.Frames), float64(frames), 0.01) || !near(v.FPS, float64(frames)/r.DurationS, 0.01) {
				return fmt.Sprintf("the bench counts %d frames at %.2f fps where there were %d", v.Frames, v.FPS, frames)
			}
		}
		if by := slices.Max(ages) - slices.Min(ages); by > 1 {
			return fmt.Sprintf("ages differ by %.3f ms: %v", by, ages)
		}
		return ""
	})
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
