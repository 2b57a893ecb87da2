//go:build e2e

package e2e

import (
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/client"
	"github.com/framebus/framebus/services/internal/bus"
	"github.com/stretchr/testify/require"
)

// outage is how long a camera site is cut off.
const outage = 10 * time.Second

// leafz is what a server tells of the leaf nodes at it.
type leafz struct {
	Leafs []struct {
		InBytes       int64    `json:"in_bytes"`
		OutBytes      int64    `json:"out_bytes"`
		Subscriptions []string `json:"subscriptions_list"`
	} `json:"leafs"`
}

func TestACameraSiteKeepsItsRawFramesAndComesBack(t *testing.T) {
	leafPort := freeAddr(t)
	ca, cert, key := authority(t)
	hub := newBus(t, "hub.conf", map[string]string{"7422": port(t, leafPort)},
		"FRAMEBUS_NATS_TLS_CERT="+cert, "FRAMEBUS_NATS_TLS_KEY="+key)
	hub.start()
	wan := startRelay(t, leafPort, 100, 20*time.Millisecond)
	url := "FRAMEBUS_NATS_HUB=tls://site:" + busPassword("site") + "@" + wan.addr()
	other, _, _ := authority(t)
	misled := startBus(t, "leaf.conf", url, "FRAMEBUS_NATS_HUB_CA="+other)
	leaf := startBus(t, "leaf.conf", url, "FRAMEBUS_NATS_HUB_CA="+ca)
	leafs := func() (l leafz) {
		hub.figures("leafz?subs=1", &l)
		return l
	}
	require.Eventually(t, func() bool { return len(leafs().Leafs) == 1 }, patience, 20*time.Millisecond,
		"the site never came to the hub")
	misled.waitPrinted("certificate signed by unknown authority")
	misled.kill()

	// What tempts raw frames to cross: an encoder at the hub that says it is free, and a reader there that asks for them.
	runEnv(t, as("encoder"), binary(t, "encoder"), "--nats-url", hub.url()).waitPrinted("bus connected")
	s := startAs(t, options{}, leaf.url(), leaf.url(), hub.url())
	ws := watchers(t, 2, client.Config{URL: s.ws("stream=cam0")})
	crossed, stayed := wantRaw(t, hub.url(), "cam0"), wantRaw(t, leaf.url(), "cam0")

	t.Run("raw frames stay", func(t *testing.T) {
		fullSpeed(t, ws)
		require.Eventually(t, func() bool { return stayed() > 0 }, patience, 20*time.Millisecond, "no raw frames at all")
		from, began := leafs(), time.Now()
		shown := during(ws[:1], 4*time.Second)[0]
		to, took := leafs(), time.Since(began)
		require.Len(t, from.Leafs, 1)
		require.Len(t, to.Leafs, 1)
		const raw = 640 * 480 * 3 / 2 * 30 // bytes a second
		in := float64(to.Leafs[0].InBytes-from.Leafs[0].InBytes) / took.Seconds()
		t.Logf("%.2f fps; %.2f Mbit/s crossed, raw frames are %.0f", shown.fps, in*8/1e6, raw*8/1e6)
		require.Less(t, in, raw/4.0)
		for _, s := range to.Leafs[0].Subscriptions {
			require.False(t, strings.HasPrefix(s, "framebus.v1.raw."), s)
		}
	})
	t.Run("cut off and back", func(t *testing.T) {
		recovers(t, ws, func() time.Time {
			wan.stall(outage)
			back := time.Now().Add(outage)
			<-time.After(time.Until(back))
			return back
		}, (*watcher).firstAfter)
		stayConnected(t, ws)
	})
	require.Zero(t, crossed(), "raw frames came across")
	require.NotContains(t, hub.out.String()+leaf.out.String(), "Violation", "a part does what its user may not")
}

// wantRaw has a reader ask for a stream's raw frames until the test ends, and returns how many have come.
func wantRaw(t *testing.T, url, stream string) (come func() int64) {
	t.Helper()
	b, err := bus.Open(bus.Config{URL: url, Name: "greedy", User: "reader", Password: busPassword("reader")},
		bus.Deps{Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(b.Close)
	var n atomic.Int64
	_, err = b.Data.Subscribe(subject.RawFor(subject.Reader), func(bus.Msg) { n.Add(1) })
	require.NoError(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			_ = b.Control.Send(subject.Feedback(stream), &pb.Feedback{Reader: "greedy", Stream: stream, Raw: &pb.RawDemand{}})
			select {
			case <-t.Context().Done():
				return
			case <-time.After(time.Second / 2):
			}
		}
	}()
	t.Cleanup(func() { <-ended })
	return n.Load
}
