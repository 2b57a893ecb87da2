package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"
)

// ValidLog tells what is wrong with a log level or format.
func ValidLog(level, format string) error {
	var errs []error
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		errs = append(errs, errors.New("log level: want debug, info, warn or error, have "+level))
	}
	if format != "text" && format != "json" {
		errs = append(errs, errors.New("log format: want text or json, have "+format))
	}
	return errors.Join(errs...)
}

// newHandler writes to cfg.LogTo.
func newHandler(cfg Config) (slog.Handler, error) {
	if err := ValidLog(cfg.LogLevel, cfg.LogFormat); err != nil {
		return nil, err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		return nil, err
	}
	to := cfg.LogTo
	if to == nil {
		to = os.Stderr
	}
	var h slog.Handler
	if cfg.LogFormat == "json" {
		h = slog.NewJSONHandler(to, &slog.HandlerOptions{Level: level})
	} else {
		h = slog.NewTextHandler(to, &slog.HandlerOptions{Level: level})
	}
	return traced{h}, nil
}

// logs sends records over OTLP too, where the standard variables ask for it. They bear the ids of the context's span by
// themselves.
func (t *Telemetry) logs(ctx context.Context, cfg Config, res *resource.Resource) error {
	if !exporting("LOGS") {
		return nil
	}
	exporter, err := autoexport.NewLogExporter(ctx)
	if err != nil {
		return err
	}
	provider := sdklog.NewLoggerProvider(sdklog.WithResource(res),
		sdklog.WithProcessor(sdklog.NewBatchProcessor(records{exporter, t.life})))
	t.closers = append(t.closers, provider.Shutdown)
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		return err
	}
	bridge := otelslog.NewHandler(scope, otelslog.WithLoggerProvider(provider))
	t.Log = slog.New(slog.NewMultiHandler(t.local.Handler(), leveled{bridge, level}))
	return nil
}

// leveled leaves out what is below a level.
type leveled struct {
	slog.Handler
	level slog.Level
}

func (h leveled) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.level && h.Handler.Enabled(ctx, l)
}
func (h leveled) WithAttrs(a []slog.Attr) slog.Handler {
	return leveled{h.Handler.WithAttrs(a), h.level}
}
func (h leveled) WithGroup(n string) slog.Handler { return leveled{h.Handler.WithGroup(n), h.level} }

// traced adds the ids of the context's span to a record.
type traced struct{ slog.Handler }

func (h traced) Handle(ctx context.Context, r slog.Record) error {
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		r.AddAttrs(slog.String("trace_id", sc.TraceID().String()), slog.String("span_id", sc.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h traced) WithAttrs(a []slog.Attr) slog.Handler { return traced{h.Handler.WithAttrs(a)} }
func (h traced) WithGroup(n string) slog.Handler      { return traced{h.Handler.WithGroup(n)} }
