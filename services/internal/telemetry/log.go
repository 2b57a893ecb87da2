package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"os"

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

func newLogger(cfg Config) (*slog.Logger, error) {
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
	return slog.New(traced{h}).With("service", cfg.Service, "instance", cfg.Instance), nil
}

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
