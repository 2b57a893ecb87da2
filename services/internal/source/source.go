// Package source turns URLs into pictures: a test pattern, cameras, files, RTSP and HTTP. It is the only importer of
// gocv, and knows nothing of streams on a bus: what it finds goes to a Sink.
//
// Pictures are I420 of full range (black 0, white 255, BT.601, as JPEG has it), so that an encoder may compress the
// planes as they are. A source that is not there yet, breaks or ends is opened again for ever; meanwhile a slate says
// what is wrong. A URL may carry a password: only Spec.Redacted ever leaves this package, and OpenCV and FFmpeg, whose
// messages repeat URLs, are kept from writing to stderr.
package source

import (
	"context"
	"log/slog"
	"time"

	"github.com/framebus/framebus/services/internal/instrument"
	"go.opentelemetry.io/otel/metric"
)

// Sink takes the pictures of one source. All its methods are called from the goroutine of Run.
type Sink interface {
	// Begin says that a frame was captured at `at` and returns where its w×h I420 pixels go, a buffer of
	// frame.PayloadSize(frame.I420, w, h) bytes, or nil where nobody wants it.
	Begin(at time.Time, w, h int) []byte
	// Commit says that Begin's buffer is full. A Begin without it (the source broke off) is void.
	Commit()
	// State tells of a change: whether the source gives its own frames, else why not, and how many a second.
	State(live bool, cause string, fps float64)
}

// Deps of Run.
type Deps struct {
	Log   *slog.Logger // nil for none
	Meter metric.Meter // nil for none
}

// slateFPS is how often a slate is shown while there is nothing else.
const slateFPS = 1

// Run gives the source's frames to the sink until ctx ends, whatever becomes of the source, and then returns nil. It
// never waits for a call into OpenCV: one that hangs is left behind and frees what it holds when it comes back.
func Run(ctx context.Context, spec Spec, sink Sink, d Deps) error {
	log := d.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	log = log.With("stream", spec.Name, "source", spec.Redacted())
	k := instrument.New(d.Meter)
	reopens := k.Counter("framebus.source.reopens", "{attempt}", "Attempts to open a source again.").
		With("stream", spec.Name)
	if err := k.Err(); err != nil {
		return err
	}
	if spec.Kind == Pattern {
		sink.State(true, "", spec.FPS)
		log.Info("source is live", "fps", spec.FPS)
		runPattern(ctx, spec, sink)
		return nil
	}
	quiet()
	newKeeper(spec, sink, log, reopens).run(ctx)
	return nil
}
