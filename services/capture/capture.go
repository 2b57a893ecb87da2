// Package capture is the capture service: for each source a stream of its own, which a broken neighbour never disturbs.
package capture

import (
	"context"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/internal/origin"
	"github.com/framebus/framebus/services/internal/service"
	"github.com/framebus/framebus/services/internal/source"
	"github.com/framebus/framebus/services/internal/stage"
	"golang.org/x/sync/errgroup"
)

// Deps of a capture service.
type Deps struct{ service.Deps }

// Run captures until ctx ends. It says so to all, waits a moment for what encoders still have, and leaves nothing
// running but calls into OpenCV that do not return.
func Run(ctx context.Context, cfg Settings, d Deps) error {
	specs, err := cfg.specs()
	if err != nil {
		return err
	}
	publishing := stage.New(d.Profiling, stage.Publish, "")
	origins := make([]*origin.Origin, len(specs))
	for i, spec := range specs {
		origins[i] = origin.New(origin.Config{
			Stream: spec.Name, By: subject.Cam, Source: spec.Redacted(), Always: spec.Always,
			Width: spec.Width, Height: spec.Height, FPS: spec.FPS,
		}, origin.Deps{
			Bus: d.Bus, Roster: d.Roster, Shm: d.Shm, Log: d.Log, Meter: d.Meter,
			Tracer: publishing.Tracer(d.Tracer), Sample: d.Sampler(),
		})
	}
	d.Roster.SetFill(func(s *pb.Status) {
		for _, o := range origins {
			s.Streams = append(s.Streams, o.StreamStatus())
		}
	})
	capturing := stage.New(d.Profiling, stage.Capture, "")
	g, ctx := errgroup.WithContext(ctx)
	for i, spec := range specs {
		g.Go(func() error {
			publishing.Enter()
			return origins[i].Run(ctx)
		})
		g.Go(func() error {
			capturing.Enter()
			return source.Run(ctx, spec, origins[i], source.Deps{Log: d.Log, Meter: d.Meter})
		})
	}
	g.Go(func() error {
		<-ctx.Done()
		d.Roster.Drain() // others may take over
		return nil
	})
	err = g.Wait()
	d.Roster.Drain() // closes the books
	return err
}
