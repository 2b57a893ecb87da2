package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/framebus/framebus/services/standalone/internal/load"
)

const maxBenchClients = 10_000

type bench struct {
	URL      string        `arg:"" help:"Gateway: http://HOST:PORT."`
	Clients  int           `default:"10" help:"Viewers at once."`
	Duration time.Duration `default:"10s" help:"How long to measure, once all see pictures."`
	Stream   []string      `help:"Streams that the viewers take in turns; default: the gateway's first."`
	Mode     string        `default:"live" enum:"live,smooth" help:"live or smooth."`
	MaxFPS   float64       `name:"max-fps" help:"Frames a second that each viewer asks for; 0 is all."`
	Format   string        `default:"v1" enum:"v1,bare,sized" help:"v1, bare or sized."`
	JSON     bool          `name:"json" help:"Print JSON instead of a table."`
}

// Run is kong's: it measures and prints. It fails where a viewer saw nothing.
func (b *bench) Run(ctx context.Context) error {
	if b.Clients < 1 || b.Clients > maxBenchClients || b.Duration < time.Second {
		return usageError{fmt.Errorf("want 1 to %d clients and a duration of 1s or more", maxBenchClients)}
	}
	if err := b.check(); err != nil {
		return err
	}
	// A gateway that is not there is told at once, not after all viewers' patience; what it refuses, they are told.
	var refused *client.ErrRefused
	if _, err := (client.Question{URL: b.URL}).Streams(ctx); err != nil && !errors.As(err, &refused) {
		return err
	}
	formats := map[string]client.Format{"v1": client.V1, "bare": client.Bare, "sized": client.Sized}
	report, err := load.Run(ctx, load.Config{
		URL: b.URL, Streams: b.Stream, Clients: b.Clients, Duration: b.Duration, Mode: b.Mode, MaxFPS: b.MaxFPS,
		Format: formats[b.Format],
	}, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	if err != nil {
		return err
	}
	show := report.WriteTable
	if b.JSON {
		show = report.WriteJSON
	}
	if err := show(os.Stdout); err != nil {
		return err
	}
	return report.Unseen()
}

// check says what load would say later, as a mistake of whoever typed it.
func (b *bench) check() error {
	var errs []error
	for _, name := range append([]string{""}, b.Stream...) {
		errs = append(errs, (&client.Config{URL: b.URL, Stream: name, MaxFPS: b.MaxFPS}).Validate())
		if errs[0] != nil {
			break // the URL's is every stream's
		}
	}
	if err := errors.Join(errs...); err != nil {
		return usageError{err}
	}
	return nil
}
