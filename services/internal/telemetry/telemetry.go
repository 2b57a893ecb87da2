// Package telemetry sets up a service's logs, metrics, traces and profiles once, and shuts them down cleanly. It is the
// only importer of the OpenTelemetry SDK and of Pyroscope: everybody else uses the OpenTelemetry API. Exporters are off
// until the standard variables name an endpoint, and then the frame path pays nothing measurable.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	otelpyroscope "github.com/grafana/otel-profiling-go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// ShutdownLimit is how long Close waits for exporters whose endpoint does not answer; the SDK's own limit is 30 s.
const ShutdownLimit = time.Second

const scope = "github.com/framebus/framebus"

// Config says who is observed, and how its logs look.
type Config struct {
	Service, Instance, Version string
	// LogLevel is debug, info, warn or error; LogFormat text or json.
	LogLevel, LogFormat string
	// LogTo is where logs go; nil means standard error.
	LogTo io.Writer
	// Registry is where Prometheus finds the metrics of several services in one process; nil means one of its own.
	Registry *Registry
	// ProfileEvery is how often profiles are sent; 0 means every 15 s.
	ProfileEvery time.Duration
	// Traces keeps sampled traces where no exporter is asked for; nil means that they are not kept.
	Traces *Store
}

// Registry holds the metrics that one Prometheus handler serves, each service's with a label of its own.
type Registry struct {
	r        *prometheus.Registry
	profiled atomic.Bool // one of the services sends the process's profiles
}

// NewRegistry makes an empty one.
func NewRegistry() *Registry { return &Registry{r: prometheus.NewRegistry()} }

// Handler serves them.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.r, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// Telemetry is what the parts of a service are given.
type Telemetry struct {
	Log    *slog.Logger
	Meter  metric.Meter
	Tracer trace.Tracer
	// Metrics serves Prometheus.
	Metrics http.Handler
	// SampleAll says that a sampler set by OTEL_TRACES_SAMPLER decides on every frame, instead of one a second.
	SampleAll bool
	// Tracing says that spans go anywhere at all.
	Tracing bool
	// Traces is Config.Traces where spans go there, else nil.
	Traces *Store

	// Profiling says that profiles go somewhere, so that labels are worth setting.
	Profiling bool

	local   *slog.Logger // says what no exporter is to be told
	life    stopping
	closers []func(context.Context) error // they run side by side
}

// Setup reads the standard OTEL_* and PYROSCOPE_* variables. Close it at the end.
func Setup(ctx context.Context, cfg Config) (*Telemetry, error) {
	local, err := newHandler(cfg)
	if err != nil {
		return nil, err
	}
	t := &Telemetry{Tracer: noop.NewTracerProvider().Tracer(scope), life: newStopping()}
	t.local = slog.New(local).With("service", cfg.Service, "instance", cfg.Instance)
	t.Log = t.local
	otel.SetErrorHandler(newComplaint(t.local, "OTLP"))
	res, err := resource.New(ctx, resource.WithFromEnv(), resource.WithAttributes(
		attribute.String("service.name", cfg.Service),
		attribute.String("service.instance.id", cfg.Instance),
		attribute.String("service.version", cfg.Version),
	))
	if err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	// Profiles first: with them, traces bear labels for them.
	err = errors.Join(t.logs(ctx, cfg, res), t.metrics(ctx, cfg, res), t.profiles(cfg), t.traces(ctx, cfg, res))
	if err != nil {
		t.Close()
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	return t, nil
}

func (t *Telemetry) metrics(ctx context.Context, cfg Config, res *resource.Resource) error {
	registry := cfg.Registry
	if registry == nil {
		registry = NewRegistry()
	}
	labelled := prometheus.WrapRegistererWith(prometheus.Labels{"service": cfg.Service}, registry.r)
	reader, err := promexporter.New(promexporter.WithRegisterer(labelled), promexporter.WithoutScopeInfo())
	if err != nil {
		return err
	}
	opts := []sdkmetric.Option{sdkmetric.WithResource(res), sdkmetric.WithReader(reader)}
	if exporting("METRICS") {
		push, err := autoexport.NewMetricReader(ctx)
		if err != nil {
			return err
		}
		opts = append(opts, sdkmetric.WithReader(push))
	}
	provider := sdkmetric.NewMeterProvider(opts...)
	t.closers = append(t.closers, provider.Shutdown)
	t.Meter = provider.Meter(scope)
	t.Metrics = registry.Handler()
	return runtime.Start(runtime.WithMeterProvider(provider))
}

func (t *Telemetry) traces(ctx context.Context, cfg Config, res *resource.Resource) error {
	var to sdktrace.TracerProviderOption
	switch {
	case exporting("TRACES"):
		exporter, err := autoexport.NewSpanExporter(ctx)
		if err != nil {
			return err
		}
		to = sdktrace.WithBatcher(spans{exporter, t.life})
	case cfg.Traces != nil && os.Getenv("OTEL_TRACES_EXPORTER") == "":
		t.Traces = cfg.Traces
		to = sdktrace.WithSpanProcessor(collector{cfg.Traces})
	default:
		return nil
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithResource(res), to)
	t.closers = append(t.closers, provider.Shutdown)
	t.Tracer = provider.Tracer(scope)
	if t.Profiling {
		t.Tracer = otelpyroscope.NewTracerProvider(provider).Tracer(scope)
	}
	t.Tracing = true
	t.SampleAll = os.Getenv("OTEL_TRACES_SAMPLER") != ""
	return nil
}

// exporting tells whether the standard variables ask for the export of a signal.
func exporting(signal string) bool {
	if v := os.Getenv("OTEL_" + signal + "_EXPORTER"); v != "" {
		return v != "none"
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" ||
		os.Getenv("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT") != ""
}

// Close sends what is still to be sent, for ShutdownLimit at most. What is on its way after that is broken off.
func (t *Telemetry) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), ShutdownLimit)
	defer cancel()
	errs := make([]error, len(t.closers))
	var all sync.WaitGroup
	for i, fn := range t.closers {
		all.Go(func() { errs[i] = fn(ctx) })
	}
	all.Wait()
	t.life.stop()
	if err := errors.Join(errs...); err != nil {
		t.local.Warn("telemetry not sent at the end", "error", err)
	}
}
