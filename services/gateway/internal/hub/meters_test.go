package hub

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/framebus/framebus/proto/frame"
	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/services/gateway/internal/picture"
	"github.com/framebus/framebus/services/gateway/internal/viewer"
	"github.com/framebus/framebus/services/internal/adapt"
	"github.com/framebus/framebus/services/internal/telemetry"
	"github.com/stretchr/testify/require"
)

// setUp is the real SDK, and a scrape of what it tells.
func setUp(t *testing.T) (*telemetry.Telemetry, func() string) {
	t.Helper()
	tel, err := telemetry.Setup(context.Background(), telemetry.Config{
		Service: "gateway", LogLevel: "error", LogFormat: "text", LogTo: io.Discard,
	})
	require.NoError(t, err)
	t.Cleanup(tel.Close)
	return tel, func() string {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
		w := httptest.NewRecorder()
		tel.Metrics.ServeHTTP(w, r)
		return w.Body.String()
	}
}

// line is the one line of a scrape that begins with a name and holds all of these.
func line(t *testing.T, scrape, name string, parts ...string) string {
	t.Helper()
	var found []string
	for l := range strings.Lines(scrape) {
		ok := strings.HasPrefix(l, name)
		for _, p := range parts {
			ok = ok && strings.Contains(l, p)
		}
		if ok {
			found = append(found, l)
		}
	}
	require.Len(t, found, 1, "%s %v in:\n%s", name, parts, scrape)
	return found[0]
}

func TestAPicturesAgeIsMeasuredAtEachHop(t *testing.T) {
	tel, scrape := setUp(t)
	a := newMeters(tel.Meter).stream("cam0")
	h := frame.NewHeader()
	h.CapturedUs = 1_000_000
	h.HopUs = [frame.Hops]int32{1_000, 3_000, 8_000, 9_000, 10_000}
	a.aged(picture.New(h, 1, nil))
	want := map[string]string{
		"published": "0.001", "taken": "0.003", "encoded": "0.008", "received": "0.009", "handed": "0.01",
	}
	for hop, sum := range want {
		l := line(t, scrape(), "framebus_frame_age_seconds_sum", `stream="cam0"`, `hop="`+hop+`"`)
		require.Equal(t, sum, strings.Fields(l)[1], hop)
	}

	// The gateway's clock is 100 s ahead of the owner's, as far as anybody can tell the encoder's is right.
	c := clock{known: true}
	c.origin = pb.ClockOffset{OffsetUs: 100_000_000, UncertaintyUs: 500}
	c.encoder = pb.ClockOffset{Instance: "e", OffsetUs: 99_999_500, UncertaintyUs: 1_000}
	a.corrected(&c)
	h.HopUs = [frame.Hops]int32{1_000, 3_000, 8_000, 100_009_000, 100_010_000}
	h.Flags, h.TraceID = frame.FlagSampled, [16]byte{15: 7}
	a.aged(picture.New(h, 1, nil))
	a.Acknowledged(viewer.Mark{CapturedUs: h.CapturedUs, TraceID: h.TraceID}, h.CapturedUs+100_020_000)
	l := line(t, scrape(), "framebus_frame_age_seconds_sum", `hop="handed"`)
	require.Equal(t, "0.02", strings.Fields(l)[1])
	l = line(t, scrape(), "framebus_frame_age_seconds_sum", `hop="encoded"`)
	require.Equal(t, "0.016", strings.Fields(l)[1])
	l = line(t, scrape(), "framebus_frame_age_seconds_bucket", `hop="acknowledged"`, `le="0.02"`)
	require.Contains(t, l, `trace_id="00000000000000000000000000000007"`, "the exemplar leads to the trace")
	require.NotContains(t, line(t, scrape(), "framebus_frame_age_seconds_bucket", `hop="acknowledged"`, `le="0.03"`), "#")
}

func TestChangesOfQualityAndRungAreCounted(t *testing.T) {
	tel, scrape := setUp(t)
	m := newMeters(tel.Meter)
	m.requalified(1, "rate")
	m.requalified(1, "rate")
	m.requalified(1, "recovered")
	m.moved(viewer.Fare{Rung: 2, Reason: adapt.Congested})
	m.moved(viewer.Fare{Rung: 2, Reason: "a new one"})
	count := func(name string, parts ...string) string { return strings.Fields(line(t, scrape(), name, parts...))[1] }
	const quality, rung = "framebus_gateway_quality_changes_total", "framebus_gateway_rung_changes_total"
	require.Equal(t, "2.0", count(quality, `rung="half"`, `reason="rate"`))
	require.Equal(t, "1.0", count(quality, `rung="half"`, `reason="recovered"`))
	require.Equal(t, "0.0", count(quality, `rung="full"`, `reason="rate"`), "a series begins at zero")
	require.Equal(t, "1.0", count(rung, `rung="quarter"`, `reason="congestion"`))
	require.Equal(t, "0.0", count(rung, `rung="full"`, `reason="recovered"`))
	require.Contains(t, scrape(), `reason="a new one"`)
}

func TestAFloodOfStreamsSharesItsMeters(t *testing.T) {
	m := newMeters(nil)
	for i := range maxStreams {
		m.stream(string(rune('a'+i%26)) + strings.Repeat("x", i/26))
	}
	require.Same(t, m.stream("one more"), m.stream("and another"))
	require.Len(t, m.streams, maxStreams+1)
}
