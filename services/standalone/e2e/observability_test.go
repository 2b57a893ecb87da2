//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/stretchr/testify/require"
)

// observed is a system that tells a real Jaeger, a real Pyroscope and a real Prometheus about itself.
type observed struct {
	*system
	jaeger     jaeger
	pyroscope  string
	prometheus *prometheus
	viewers    []*watcher
}

func startObserved(t *testing.T) *observed {
	t.Helper()
	o := &observed{jaeger: startJaeger(t), pyroscope: startPyroscope(t)}
	s := &system{t: t, nats: startNATS(t, ""), addr: freeAddr(t)}
	o.system = s
	s.natsURL = s.nats.url()
	env := []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + o.jaeger.http, "OTEL_METRICS_EXPORTER=none", "OTEL_LOGS_EXPORTER=none",
		"PYROSCOPE_SERVER_ADDRESS=http://" + o.pyroscope,
	}
	// One of them by the other protocol, which Jaeger's configuration has too.
	overGRPC := append(slices.Clone(env), "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://"+o.jaeger.grpc)
	admin := []string{freeAddr(t), freeAddr(t), freeAddr(t)}
	begin := func(env []string, i int, name string, args ...string) *process {
		return runEnv(t, env, binary(t, name),
			append([]string{"--nats-url", s.natsURL, "--admin-listen", admin[i]}, args...)...)
	}
	s.capture = begin(env, 0, "capture", "--sources", "cam0=pattern:")
	s.encoder = begin(env, 1, "encoder")
	s.gateway = begin(overGRPC, 2, "gateway", "--listen", s.addr)
	waitReady(t, s.addr)
	waitStream(t, s.addr, "cam0")
	o.prometheus = startPrometheus(t, admin...)
	for _, rung := range []string{"full", "full", "half", "quarter"} {
		o.viewers = append(o.viewers, watchers(t, 1, client.Config{URL: s.ws("stream=cam0&rung=" + rung)})...)
	}
	return o
}

// One system under way tells three real back ends; each part reads back what one of them has. Every file of
// deploy/prometheus, deploy/grafana and deploy/jaeger is in use here.
func TestWhatFramebusTellsOfItself(t *testing.T) {
	o := startObserved(t)
	t.Run("Prometheus has what every panel and every rule asks for", o.panelsAndRules)
	t.Run("Jaeger has one trace of all three services", o.traces)
	t.Run("Pyroscope has the CPU of each service", o.profiles)
}

func (o *observed) panelsAndRules(t *testing.T) {
	p := *o.prometheus
	p.t = t
	asked := panelQuestions(t)
	rules := p.rules()
	for _, r := range rules {
		parts := operands(r.Query)
		require.NotEmpty(t, parts, r.Query)
		for _, part := range parts {
			asked = append(asked, question{"alert " + r.Name, part})
		}
	}
	// Rates want two scrapes, and a frame that was sampled comes once a second.
	var missing []string
	for deadline := time.Now().Add(patience); ; {
		missing = nil
		for _, q := range asked {
			if len(p.query(q.expr)) == 0 {
				missing = append(missing, q.where+": "+q.expr)
			}
		}
		if len(missing) == 0 || time.Now().After(deadline) {
			break
		}
		<-time.After(time.Second)
	}
	require.Empty(t, missing, "%d of %d return nothing:\n%s", len(missing), len(asked), strings.Join(missing, "\n"))

	have := p.names()
	var texts []string
	for _, q := range asked {
		texts = append(texts, q.expr)
	}
	for _, name := range metricsOf(texts...) {
		require.Contains(t, have, name, "a dashboard or a rule names it")
	}
	// Each hop of a frame's way, and each point of it with a frame's trace behind it.
	for _, hop := range []string{"published", "taken", "encoded", "received", "handed", "acknowledged"} {
		require.NotEmpty(t, p.query(`framebus_frame_age_seconds_count{stream="cam0", hop="`+hop+`"} > 0`), hop)
	}
	for _, d := range dashboards(t) {
		for _, v := range d.Templating.List {
			m := labelValues.FindStringSubmatch(v.Definition)
			require.NotNil(t, m, "%s: variable %s: %s", d.Title, v.Name, v.Definition)
			require.Contains(t, p.values(m[1], m[2]), "cam0", "%s: variable %s", d.Title, v.Name)
		}
	}
	// On a busy machine one may wait to speak; none has reason for long enough.
	for _, r := range p.rules() {
		require.Equal(t, "ok", r.Health, "%s: %s", r.Name, r.LastError)
		require.NotEqual(t, "firing", r.State, "%s speaks though nothing is wrong", r.Name)
	}
	t.Logf("%d expressions of panels and rules return data, %d metrics", len(asked), len(metricsOf(texts...)))
}

// One trace is all of a frame's way: from one root, over three services, to each viewer.
func (o *observed) traces(t *testing.T) {
	var whole jaegerTrace
	require.Eventually(t, func() bool {
		for _, tr := range o.jaeger.search(t, url.Values{"service": {"capture"}, "limit": {"100"}}) {
			if slices.Equal(tr.services(), []string{"capture", "encoder", "gateway"}) &&
				len(tr.called("deliver")) == len(o.viewers) {
				whole = tr
				return true
			}
		}
		return false
	}, patience, 200*time.Millisecond, "no trace has all three services and every viewer")
	t.Logf("trace %s: %d spans\n%s", whole.TraceID, len(whole.Spans), whole.tree())
	byID := map[string]span{}
	for _, s := range whole.Spans {
		byID[s.SpanID] = s
	}
	for _, s := range whole.Spans {
		if s.OperationName == "capture frame" {
			require.Empty(t, s.parent())
			continue
		}
		require.Contains(t, byID, s.parent(), "%s hangs in the air", s.OperationName)
		require.GreaterOrEqual(t, s.StartTime, byID[s.parent()].StartTime, "%s begins before what it is of", s.OperationName)
	}
	for _, name := range []string{"send framebus.v1.raw", "process framebus.v1.raw", "encode full", "encode half",
		"encode quarter", "send framebus.v1.jpeg", "process framebus.v1.jpeg"} {
		require.NotEmpty(t, whole.called(name), name)
	}

	for _, of := range panelsAt(t, "jaeger") {
		name, value, _ := strings.Cut(variables.Replace(of.Tags), "=")
		tags, err := json.Marshal(map[string]string{name: strings.Trim(value, `"`)})
		require.NoError(t, err)
		require.NotEmpty(t, o.jaeger.search(t, url.Values{"service": {of.Service}, "operation": {of.Operation},
			"tags": {string(tags)}, "limit": {"1"}}), "the panel of traces is empty")
	}
	require.Eventually(t, func() bool {
		for _, id := range o.exemplars(t) {
			if code, _ := get(t, "http://"+o.jaeger.query+"/api/traces/"+id); code == 200 {
				return true
			}
		}
		return false
	}, patience, 500*time.Millisecond, "no exemplar leads to a trace")
}

// exemplars are the traces that points of the dashboards lead to.
func (o *observed) exemplars(t *testing.T) (traces []string) {
	t.Helper()
	p := *o.prometheus
	p.t = t
	var data []struct {
		Exemplars []struct{ Labels map[string]string }
	}
	p.ask("query_exemplars", url.Values{"query": {"framebus_frame_age_seconds_bucket"},
		"start": {fmt.Sprint(time.Now().Add(-time.Minute).Unix())}, "end": {fmt.Sprint(time.Now().Unix())}}, &data)
	for _, series := range data {
		for _, e := range series.Exemplars {
			if id := e.Labels["trace_id"]; id != "" {
				traces = append(traces, id)
			}
		}
	}
	return traces
}

// cpuProfile is what Pyroscope calls the profiles of CPU time.
const cpuProfile = "process_cpu:cpu:nanoseconds:cpu:nanoseconds"

// Each panel has its flames; profiles tell stages apart and rungs, who it was, and what version.
func (o *observed) profiles(t *testing.T) {
	selectors := []string{
		`{service_name="capture", stage="capture"}`, `{service_name="capture", stage="publish"}`,
		`{service_name="encoder", stage="encode", rung="full"}`,
		`{service_name="gateway", stage="fan-out", rung="full"}`, `{service_name="gateway", stage="deliver"}`,
		`{service_name="encoder", service_instance_id=~".+", service_version=~".+"}`,
	}
	for _, of := range panelsAt(t, "pyroscope") {
		require.Equal(t, cpuProfile, of.ProfileTypeID)
		selectors = append(selectors, of.LabelSelector)
	}
	for _, selector := range selectors {
		// They are sent every 15 s, and a stage may have had too little work to show in one.
		require.Eventually(t, func() bool { return o.ticks(t, cpuProfile+selector) > 0 }, 2*patience,
			500*time.Millisecond, "no CPU profile of %s", selector)
	}
}

// ticks are the samples of a profile.
func (o *observed) ticks(t *testing.T, query string) int64 {
	t.Helper()
	code, body := get(t, "http://"+o.pyroscope+"/pyroscope/render?"+url.Values{
		"query": {query}, "from": {"now-5m"}, "until": {"now"}, "format": {"json"}}.Encode())
	require.Equal(t, 200, code, "%s: %s", query, body)
	var answer struct {
		Flamebearer struct{ NumTicks int64 }
	}
	require.NoError(t, json.Unmarshal([]byte(body), &answer), body)
	return answer.Flamebearer.NumTicks
}
