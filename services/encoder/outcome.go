package encoder

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// outcome is what became of a frame: finer than the fate that its Done tells.
type outcome int

const (
	encoded outcome = iota
	superseded
	stale
	undemanded
	corrupt
	foreign
	probe
	unreadable // no frame at all, so that nobody can be told
	outcomes   // their number
)

var outcomeNames = [outcomes]string{
	"encoded", "superseded", "stale", "undemanded", "corrupt", "foreign", "probe", "unreadable",
}

var fates = [outcomes]pb.Fate{
	pb.Fate_FATE_ENCODED, pb.Fate_FATE_SUPERSEDED, pb.Fate_FATE_SUPERSEDED, pb.Fate_FATE_UNDEMANDED,
	pb.Fate_FATE_CORRUPT, pb.Fate_FATE_FOREIGN, pb.Fate_FATE_PROBE, pb.Fate_FATE_UNSPECIFIED,
}

// meters counts frames by outcome and measures the encoding.
type meters struct {
	frames   metric.Int64Counter
	duration metric.Float64Histogram
	byFate   [outcomes][]metric.AddOption // built once: a frame allocates no attributes
}

func newMeters(m metric.Meter) (*meters, error) {
	frames, err := m.Int64Counter("framebus.encoder.frames", metric.WithUnit("{frame}"),
		metric.WithDescription("Raw frames received, by what became of them."))
	if err != nil {
		return nil, fmt.Errorf("encoder metrics: %w", err)
	}
	duration, err := m.Float64Histogram("framebus.encoder.encode.duration", metric.WithUnit("s"),
		metric.WithDescription("From taking a frame up until its last JPEG is published."),
		metric.WithExplicitBucketBoundaries(.0005, .001, .002, .003, .005, .01, .02, .05, .1, .2, .5))
	if err != nil {
		return nil, fmt.Errorf("encoder metrics: %w", err)
	}
	out := &meters{frames: frames, duration: duration}
	for o, name := range outcomeNames {
		set := attribute.NewSet(attribute.String("fate", name))
		out.byFate[o] = []metric.AddOption{metric.WithAttributeSet(set)}
	}
	return out, nil
}

func (m *meters) count(o outcome) { m.frames.Add(context.Background(), 1, m.byFate[o]...) }

func (m *meters) took(d time.Duration) { m.duration.Record(context.Background(), d.Seconds()) }

// faults gathers what went wrong with frames, to be told once a second at most.
type faults struct {
	mu   sync.Mutex
	n    int
	last error
}

func (f *faults) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	f.last = err
}

func (f *faults) report(ctx context.Context, log *slog.Logger) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		f.mu.Lock()
		n, last := f.n, f.last
		f.n, f.last = 0, nil
		f.mu.Unlock()
		if n > 0 {
			log.Warn("frames failed", "count", n, "last", last)
		}
	}
}
