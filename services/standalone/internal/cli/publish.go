package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	pb "github.com/framebus/framebus/proto/framebusv1"
	"github.com/framebus/framebus/proto/subject"
	"github.com/framebus/framebus/services/client"
	"github.com/framebus/framebus/services/standalone/internal/feed"
	"golang.org/x/sync/errgroup"
)

type publish struct {
	Source   string        `arg:"" help:"A folder of JPEGs, a file, or pattern:, camera:N, rtsp://…, http://…"`
	URL      string        `arg:"" help:"Gateway: http://HOST:PORT."`
	Stream   string        `help:"Name of the stream; default: this host's."`
	Token    string        `env:"FRAMEBUS_PUBLISH_TOKEN" help:"The gateway's token; from its own host often not needed."`
	Width    int           `default:"640" help:"Width, px; JPEGs of a folder stay as they are."`
	Height   int           `default:"480" help:"Height, px."`
	FPS      float64       `name:"fps" default:"30" help:"Pictures a second of a folder or pattern."`
	Quality  int           `default:"90" help:"JPEG quality, 1 to 100."`
	Once     bool          `help:"End with the folder's last picture."`
	Attempts int           `help:"Attempts in a row that may fail; 0 is for ever."`
	Delay    time.Duration `help:"Between attempts; 0 is a back-off."`
}

// Run is kong's: it publishes until told to end.
func (p *publish) Run(ctx context.Context) error {
	if p.FPS <= 0 || p.FPS > 240 || p.Quality < 1 || p.Quality > 100 {
		return usageError{errors.New("want fps above 0 and at most 240, and quality 1 to 100")}
	}
	if p.Stream == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "client"
		}
		p.Stream = subject.SanitiseName(host, subject.MaxName)
	}
	in, err := feed.Open(p.Source, feed.Settings{
		Width: p.Width, Height: p.Height, FPS: p.FPS, Quality: p.Quality, Once: p.Once,
	})
	if err != nil {
		return usageError{err}
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	to, err := client.NewPublisher(client.PublisherConfig{
		URL: p.URL, Stream: p.Stream, Token: p.Token, Attempts: p.Attempts, Delay: p.Delay,
	}, client.PublisherDeps{Log: log, OnNotice: func(n *pb.Notice) {
		log.Info("the gateway says", "about", n.GetKind(), "text", n.GetText())
	}})
	if err != nil {
		return usageError{err}
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return to.Run(ctx) })
	g.Go(func() error {
		defer end()
		return in.Run(ctx, to.Send, log)
	})
	err = g.Wait()
	s := to.Stats()
	fmt.Printf("%s: %d pictures sent, %d superseded, %d reconnects\n", p.Stream, s.Sent, s.Superseded, s.Reconnects)
	return err
}
