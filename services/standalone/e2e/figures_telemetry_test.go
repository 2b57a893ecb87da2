//go:build e2e && figures

package e2e

import (
	"os/exec"
	"slices"
	"testing"
	"time"
)

// TestFiguresOfTelemetry is `make bench-telemetry`: it asserts nothing and prints what docs/performance.md records. The
// chains run at the same time and are measured over the same spans, so that what else the machine does falls on all.
func TestFiguresOfTelemetry(t *testing.T) {
	const (
		rounds  = 7
		span    = 15 * time.Second
		viewers = "10"
	)
	sink := startSink(t)
	otlp := []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + sink, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"}
	variants := []struct {
		name string
		env  []string
	}{
		{"off", nil},
		{"off, once more", nil}, // how far two equal chains differ
		{"one frame a second", append(slices.Clone(otlp), "OTEL_METRICS_EXPORTER=none", "OTEL_LOGS_EXPORTER=none")},
		{"everything", append(slices.Clone(otlp), "OTEL_TRACES_SAMPLER=always_on", "PYROSCOPE_SERVER_ADDRESS="+sink)},
	}
	systems := make([]*system, len(variants))
	for i, v := range variants {
		systems[i] = start(t, options{env: v.env})
		watch := exec.Command(binary(t, "framebus"), "bench", "http://"+systems[i].addr, "--clients", viewers,
			"--duration", ((rounds + 1) * span).String())
		if err := watch.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = watch.Process.Kill(); _ = watch.Wait() })
	}
	used := func(s *system) (all time.Duration) {
		for _, p := range []*process{s.capture, s.encoder, s.gateway} {
			all += cpuTime(t, p.pid())
		}
		return all
	}
	<-time.After(span / 2)
	shares, ratios := make([][]float64, len(variants)), make([][]float64, len(variants))
	for range rounds {
		before, from := make([]time.Duration, len(variants)), time.Now()
		for i, s := range systems {
			before[i] = used(s)
		}
		<-time.After(span)
		took := time.Since(from)
		for i, s := range systems {
			shares[i] = append(shares[i], 100*float64(used(s)-before[i])/float64(took))
			ratios[i] = append(ratios[i], shares[i][len(shares[i])-1]/shares[0][len(shares[0])-1])
		}
	}
	for i, v := range variants {
		slices.Sort(shares[i])
		slices.Sort(ratios[i])
		var memories []int64
		for _, p := range []*process{systems[i].capture, systems[i].encoder, systems[i].gateway} {
			memories = append(memories, memory(t, p.pid())>>20)
		}
		t.Logf("%-20s %5.2f %% of a core (%.2f to %.2f), %.3f times off (%.3f to %.3f), MB %v", v.name,
			shares[i][rounds/2], shares[i][0], shares[i][rounds-1], ratios[i][rounds/2], ratios[i][0],
			ratios[i][rounds-1], memories)
	}
}
