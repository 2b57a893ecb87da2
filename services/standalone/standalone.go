// Package standalone is the one-process edition: a bus, a capture, an encoder and a gateway in one process. They talk
// over the bus exactly as they do between processes; only the connections to it are made within the process.
package standalone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/framebus/framebus/services/capture"
	"github.com/framebus/framebus/services/encoder"
	"github.com/framebus/framebus/services/gateway"
	"github.com/framebus/framebus/services/internal/natsd"
	"github.com/framebus/framebus/services/internal/service"
	"github.com/framebus/framebus/services/internal/shm"
	"github.com/framebus/framebus/services/internal/telemetry"
	"golang.org/x/sync/errgroup"
)

// Settings of the one-process edition: all settings of the three services.
type Settings struct {
	service.Common
	BusListen string           `name:"bus-listen" env:"FRAMEBUS_BUS_LISTEN" help:"HOST:PORT where the embedded bus takes more encoders, captures and readers; off by default."`
	Capture   capture.Settings `embed:""`
	Encoder   encoder.Settings `embed:""`
	Gateway   gateway.Settings `embed:""`
}

// Validate names every error at once.
func (s *Settings) Validate() error {
	var bus error
	if s.BusListen != "" {
		if _, _, err := net.SplitHostPort(s.BusListen); err != nil {
			bus = fmt.Errorf("bus listen %q: want HOST:PORT", s.BusListen)
		}
	}
	return errors.Join(s.Common.Validate(), bus, s.Capture.Validate(), s.Encoder.Validate(), s.Gateway.Validate())
}

// Deps of the edition, all optional.
type Deps struct {
	// LogTo is where logs go; nil means standard error.
	LogTo io.Writer
	// OnListening is told the gateway's address once it takes viewers.
	OnListening func(net.Addr)
}

// Run runs everything until ctx ends or a part fails. The gateway and the others drain side by side, the bus ends last.
func Run(ctx context.Context, s Settings, d Deps) error {
	bus, err := natsd.Start(natsd.Config{Listen: s.BusListen})
	if err != nil {
		return err
	}
	defer bus.Close()
	place := service.Place{
		InProcess: bus, LogTo: d.LogTo, Registry: telemetry.NewRegistry(), Traces: telemetry.NewStore(),
	}
	parts := []struct {
		name string
		run  service.RunFunc
	}{
		{"capture", func(ctx context.Context, sd service.Deps) error {
			return capture.Run(ctx, s.Capture, capture.Deps{Deps: sd})
		}},
		{"encoder", func(ctx context.Context, sd service.Deps) error {
			return encoder.Run(ctx, s.Encoder, encoder.Deps{Deps: sd})
		}},
		{"gateway", func(ctx context.Context, sd service.Deps) error {
			return gateway.Run(ctx, s.Gateway, gateway.Deps{Deps: sd, OnListening: d.OnListening})
		}},
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, part := range parts {
		common := s.Common
		if part.name != "gateway" {
			common.AdminListen = "" // one admin listener a process: the registry is shared
		}
		env, err := service.Open(ctx, part.name, common, place)
		if err == nil {
			// One folder a process: where the first found none, it has said so, and the others need not try.
			place.Shm, s.Shm.Folder = env.Deps.Shm, shm.Off
		}
		g.Go(func() error {
			if err != nil {
				return fmt.Errorf("%s: %w", part.name, err)
			}
			defer env.Close()
			return env.Run(ctx, part.run)
		})
	}
	return g.Wait()
}
