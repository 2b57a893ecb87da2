//go:build e2e

package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// startSink takes whatever exporters send over HTTP, and its URL is theirs.
func startSink(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// scrape asks for metrics as Prometheus does.
func scrape(t *testing.T, admin string) string {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, "http://"+admin+"/metrics", nil)
	require.NoError(t, err)
	r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	resp, err := httpClient.Do(r)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(b)
}

// documented are the metrics of docs/operations.md and their labels, by name.
func documented(t *testing.T) map[string][]string {
	t.Helper()
	b, err := os.ReadFile("../../../docs/operations.md")
	require.NoError(t, err)
	row := regexp.MustCompile("(?m)^\\| `(framebus_[a-z_]+)(?:\\{([a-z_,]+)\\})?` \\|")
	out := map[string][]string{}
	for _, m := range row.FindAllStringSubmatch(string(b), -1) {
		out[m[1]] = strings.FieldsFunc(m[2], func(r rune) bool { return r == ',' })
	}
	return out
}

var (
	sample   = regexp.MustCompile(`^(framebus_[a-z_]+)\{([^}]*)\} `)
	ofSeries = regexp.MustCompile(`_(bucket|sum|count|created)$`)
	label    = regexp.MustCompile(`([a-z_]+)="`)
)

// TestTheMetricsAreThoseDocumented asks each service of a real run, both ways; and for the traces of exemplars.
func TestTheMetricsAreThoseDocumented(t *testing.T) {
	docs := documented(t)
	require.NotEmpty(t, docs)
	admin := []string{freeAddr(t), freeAddr(t), freeAddr(t)}
	s := start(t, options{
		env: []string{
			"OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
			"OTEL_EXPORTER_OTLP_ENDPOINT=" + startSink(t), "OTEL_METRICS_EXPORTER=none", "OTEL_LOGS_EXPORTER=none",
		},
		capture: []string{"--admin-listen", admin[0]}, encoder: []string{"--admin-listen", admin[1]},
		gateway: []string{"--admin-listen", admin[2]},
	})
	watch(t, client.Config{URL: "http://" + s.addr, Stream: "cam0"}).waitFrames(30)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		found := map[string]bool{}
		for _, a := range admin {
			for line := range strings.Lines(scrape(t, a)) {
				m := sample.FindStringSubmatch(line)
				if m == nil {
					continue
				}
				name := m[1]
				if base := ofSeries.ReplaceAllString(name, ""); docs[name] == nil {
					name = base
				}
				want, known := docs[name]
				if !known {
					require.Fail(c, "not in docs/operations.md", name)
				}
				has := label.FindAllStringSubmatch(m[2], -1)
				have := map[string]bool{}
				for _, l := range has {
					have[l[1]] = true
				}
				all := have["service"]
				for _, l := range want {
					all = all && have[l]
				}
				found[name] = found[name] || all
			}
		}
		for name, labels := range docs {
			if !found[name] {
				require.Fail(c, "documented, but no service has it", "%s %v", name, labels)
			}
		}
	}, patience, 200*time.Millisecond)

	for _, path := range []string{"/metrics", "/debug/pprof/"} {
		code, _ := get(t, "http://"+s.addr+path)
		require.Equal(t, http.StatusNotFound, code, "%s is for the admin listener alone", path)
		code, _ = get(t, "http://"+admin[2]+path)
		require.Equal(t, http.StatusOK, code, path)
	}
	exemplar := regexp.MustCompile(`# \{[^}]*trace_id="[0-9a-f]{32}"`)
	for _, of := range []struct{ admin, metric string }{
		{admin[0], "framebus_origin_done_duration_seconds_bucket"}, {admin[2], "framebus_frame_age_seconds_bucket"},
	} {
		require.Eventually(t, func() bool {
			for line := range strings.Lines(scrape(t, of.admin)) {
				if strings.HasPrefix(line, of.metric) && exemplar.MatchString(line) {
					return true
				}
			}
			return false
		}, patience, 200*time.Millisecond, "no exemplar of %s", of.metric)
	}
}
