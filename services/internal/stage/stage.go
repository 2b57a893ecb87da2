// Package stage labels the work of a goroutine for profiles: what it does for pictures, and for which rung. The labels
// are built once, so that changing over from one to the other costs some nanoseconds; where nobody profiles, nothing.
package stage

import (
	"context"
	"runtime/pprof"

	"go.opentelemetry.io/otel/trace"
)

// The stages of a picture's way.
const (
	Capture = "capture" // taking it from its source
	Publish = "publish" // handing it to an encoder
	Encode  = "encode"
	FanOut  = "fan-out" // offering it to viewers, and writing it where that does not wait
	Deliver = "deliver" // what is one viewer's own
)

// Label is a stage, and a rung where the work is for one. Its zero value labels nothing.
type Label struct {
	enter func() // made once, so that entering allocates nothing
	merge func(context.Context) context.Context
}

// New makes a label; off where nobody profiles. rung may be empty.
func New(on bool, stage, rung string) Label {
	if !on {
		return Label{}
	}
	words := []string{"stage", stage}
	if rung != "" {
		words = append(words, "rung", rung)
	}
	labels := pprof.Labels(words...)
	ctx := pprof.WithLabels(context.Background(), labels)
	return Label{
		enter: func() { pprof.SetGoroutineLabels(ctx) },
		merge: func(ctx context.Context) context.Context { return pprof.WithLabels(ctx, labels) },
	}
}

// Enter labels the calling goroutine, and those that it starts, until it enters another stage.
func (l Label) Enter() {
	if l.enter != nil {
		l.enter()
	}
}

// Tracer makes spans of t within the stage. Spans label their goroutine too, and would take the stage's labels away.
func (l Label) Tracer(t trace.Tracer) trace.Tracer {
	if l.merge == nil || t == nil {
		return t
	}
	return tracer{t, l}
}

type tracer struct {
	trace.Tracer
	label Label
}

func (t tracer) Start(ctx context.Context, name string, o ...trace.SpanStartOption) (context.Context, trace.Span) {
	return t.Tracer.Start(t.label.merge(ctx), name, o...)
}
