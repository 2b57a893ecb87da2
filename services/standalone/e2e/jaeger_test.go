//go:build e2e

package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// jaeger is a real one, with deploy/jaeger's configuration but at addresses of its own.
type jaeger struct{ http, grpc, query string }

func startJaeger(t *testing.T) jaeger {
	t.Helper()
	j := jaeger{http: freeAddr(t), grpc: freeAddr(t), query: freeAddr(t)}
	health := freeAddr(t)
	run(t, tool(t, "jaeger"), "--config", deployed(t, "jaeger/config.yaml"),
		"--set=receivers.otlp.protocols.http.endpoint="+j.http,
		"--set=receivers.otlp.protocols.grpc.endpoint="+j.grpc,
		"--set=extensions.jaeger_query.http.endpoint="+j.query,
		"--set=extensions.jaeger_query.grpc.endpoint="+freeAddr(t),
		"--set=extensions.healthcheckv2.http.endpoint="+health)
	waitOK(t, "http://"+health+"/status")
	return j
}

// span is one as Jaeger's query API tells it.
type span struct {
	SpanID, OperationName, ProcessID string
	StartTime, Duration              int64 // µs
	References                       []struct{ RefType, SpanID string }
	Tags                             []struct {
		Key   string
		Value any
	}
}

// tag is an attribute's value, as a word.
func (s span) tag(key string) string {
	for _, tag := range s.Tags {
		if tag.Key == key {
			return fmt.Sprint(tag.Value)
		}
	}
	return ""
}

type jaegerTrace struct {
	TraceID   string
	Spans     []span
	Processes map[string]struct{ ServiceName string }
}

// tree is the trace as one would read it: each span below its parent, with when it began and how long it took.
func (tr jaegerTrace) tree() string {
	below := map[string][]span{}
	for _, s := range tr.Spans {
		below[s.parent()] = append(below[s.parent()], s)
	}
	first := slices.MinFunc(tr.Spans, func(a, b span) int { return cmp.Compare(a.StartTime, b.StartTime) }).StartTime
	var out strings.Builder
	var write func(of, indent string)
	write = func(of, indent string) {
		list := below[of]
		slices.SortFunc(list, func(a, b span) int { return cmp.Compare(a.StartTime, b.StartTime) })
		for _, s := range list {
			fmt.Fprintf(&out, "%-8s %7.2f ms %7.2f ms  %s%s\n", tr.Processes[s.ProcessID].ServiceName,
				float64(s.StartTime-first)/1000, float64(s.Duration)/1000, indent, s.OperationName)
			write(s.SpanID, indent+"  ")
		}
	}
	write("", "")
	return out.String()
}

func (s span) parent() string {
	for _, r := range s.References {
		if r.RefType == "CHILD_OF" {
			return r.SpanID
		}
	}
	return ""
}

func (j jaeger) search(t *testing.T, query url.Values) (traces []jaegerTrace) {
	t.Helper()
	code, body := get(t, "http://"+j.query+"/api/traces?"+query.Encode())
	require.Equal(t, 200, code, body)
	require.NoError(t, json.Unmarshal([]byte(body), &struct{ Data any }{&traces}), body)
	return traces
}

// called are the spans whose name begins so.
func (tr jaegerTrace) called(name string) (out []span) {
	for _, s := range tr.Spans {
		if strings.HasPrefix(s.OperationName, name) {
			out = append(out, s)
		}
	}
	return out
}

func (tr jaegerTrace) services() []string {
	var out []string
	for _, p := range tr.Processes {
		out = append(out, p.ServiceName)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
