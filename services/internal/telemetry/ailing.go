package telemetry

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"golang.org/x/time/rate"
)

// sayEvery is how often it is said that an endpoint does not take what it is sent.
const sayEvery = time.Minute

// complaint says, now and then, that an endpoint ails. It is an OpenTelemetry error handler, and safe for concurrent
// use.
type complaint struct {
	log  *slog.Logger // not one that exports: that an export failed is not to be exported
	kind string       // of endpoint

	sometimes rate.Sometimes
	mu        sync.Mutex
	since     int // failures since it was last said
}

func newComplaint(log *slog.Logger, kind string) *complaint {
	return &complaint{log: log, kind: kind, sometimes: rate.Sometimes{Interval: sayEvery}}
}

// Handle makes it an OpenTelemetry error handler.
func (c *complaint) Handle(err error) { c.note(err) }

func (c *complaint) note(err any) {
	c.mu.Lock()
	c.since++
	c.mu.Unlock()
	c.sometimes.Do(func() {
		c.mu.Lock()
		n := c.since
		c.since = 0
		c.mu.Unlock()
		c.log.Warn("telemetry is not taken", "endpoint", c.kind, "failures", n, "last", err)
	})
}

// stopping ends what is on its way to endpoints once Close has waited long enough.
type stopping struct {
	ctx  context.Context //nolint:containedctx // of the whole telemetry's life, for interfaces that give none
	stop context.CancelFunc
}

func newStopping() stopping {
	ctx, stop := context.WithCancel(context.Background())
	return stopping{ctx, stop}
}

// bound gives a context that ends with ctx or with the telemetry; release it.
func (s stopping) bound(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// spans is an exporter whose calls end with the telemetry. The SDK's own would go on for half a minute.
type spans struct {
	sdktrace.SpanExporter
	life stopping
}

func (e spans) ExportSpans(ctx context.Context, list []sdktrace.ReadOnlySpan) error {
	ctx, release := e.life.bound(ctx)
	defer release()
	return e.SpanExporter.ExportSpans(ctx, list)
}

// records is the same for logs.
type records struct {
	sdklog.Exporter
	life stopping
}

func (e records) Export(ctx context.Context, list []sdklog.Record) error {
	ctx, release := e.life.bound(ctx)
	defer release()
	return e.Exporter.Export(ctx, list)
}

// client is the same for profiles.
type client struct {
	http *http.Client
	life stopping
}

func (c client) Do(r *http.Request) (*http.Response, error) {
	ctx, release := c.life.bound(r.Context())
	resp, err := c.http.Do(r.WithContext(ctx))
	if err != nil {
		release()
		return nil, err
	}
	resp.Body = &body{resp.Body, release}
	return resp, nil
}

// body releases its request's context once it is closed.
type body struct {
	io.ReadCloser
	release func()
}

func (b *body) Close() error {
	defer b.release()
	return b.ReadCloser.Close()
}
