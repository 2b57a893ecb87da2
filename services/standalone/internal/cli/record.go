package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/framebus/framebus/services/client"
	"github.com/framebus/framebus/services/client/record"
	"golang.org/x/sync/errgroup"
)

type recordCmd struct {
	URL      string        `arg:"" help:"Gateway: http://HOST:PORT."`
	Out      string        `short:"o" required:"" help:"File: NAME.mkv (with times) or NAME.mjpeg."`
	Stream   string        `help:"Default: the gateway's first."`
	Rung     string        `default:"full" enum:"full,half,quarter" help:"full, half or quarter size."`
	Duration time.Duration `help:"From the first picture; 0 is until told to end."`
	Attempts int           `help:"Attempts in a row that may fail; 0 is for ever."`
	Delay    time.Duration `help:"Between attempts; 0 is a back-off."`
	Force    bool          `help:"Replace a file that is there."`
	JSON     bool          `name:"json" help:"Print the report as JSON."`
}

// Run is kong's: it records until the time is over or it is told to end.
func (r *recordCmd) Run(ctx context.Context) error {
	if r.Duration < 0 {
		return usageError{errors.New("want a duration that is not negative")}
	}
	cfg := client.Config{
		URL: r.URL, Stream: r.Stream, Rung: r.Rung, Mode: "smooth", Every: true, Attempts: r.Attempts, Delay: r.Delay,
	}
	if err := cfg.Validate(); err != nil {
		return usageError{err} // before there is a file
	}
	create := record.Create
	if r.Force {
		create = record.Replace
	}
	out, err := create(r.Out)
	if errors.Is(err, record.ErrName) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	var failed error
	v, err := client.New(cfg, client.Deps{
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo})),
		OnFrame: func(f *client.Frame) {
			defer f.Release()
			if failed != nil || ctx.Err() != nil {
				return
			}
			if failed = out.Write(f); failed != nil || r.Duration > 0 && out.Report().Duration >= r.Duration {
				end()
			}
		},
	})
	if err != nil {
		return errors.Join(err, out.Close())
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { defer end(); return v.Run(ctx) })
	g.Go(func() error { progress(gctx, out); return nil })
	err = errors.Join(g.Wait(), failed, out.Close())
	report := out.Report()
	if r.JSON {
		err = errors.Join(err, json.NewEncoder(os.Stdout).Encode(report))
	} else if report.Frames > 0 {
		fmt.Println(summary(report))
		for _, g := range report.Gaps {
			fmt.Printf("  gap of %v at %v, %d frames missed\n", g.For.Round(time.Millisecond), g.At.Round(time.Millisecond),
				g.Missed)
		}
	}
	if err == nil && report.Frames == 0 {
		err = errors.New("no picture came, so no file is left; does the stream show one? framebus snapshot URL tells")
	}
	return err
}

// progress tells once a second on a terminal how far it is.
func progress(ctx context.Context, out *record.Recorder) {
	info, err := os.Stderr.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			fmt.Fprintln(os.Stderr)
			return
		case <-tick.C:
			fmt.Fprintf(os.Stderr, "\r%s ", summary(out.Report()))
		}
	}
}

func summary(r record.Report) string {
	return fmt.Sprintf("%s: %v, %d frames, %.1f MB, %d missed, %d gaps", r.File, r.Duration.Round(time.Millisecond),
		r.Frames, float64(r.Bytes)/1e6, r.Missed, len(r.Gaps))
}
