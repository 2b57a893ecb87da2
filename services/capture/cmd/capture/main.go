// Command capture publishes raw frames of its sources.
package main

import (
	"context"
	"os"

	"github.com/framebus/framebus/services/capture"
	"github.com/framebus/framebus/services/internal/service"
)

func main() {
	var cli struct {
		service.Common
		capture.Settings
	}
	os.Exit(service.Main("capture", "Publishes raw frames of cameras, files and network sources.", &cli,
		&cli.Common, &cli.Settings, func(ctx context.Context, d service.Deps) error {
			return capture.Run(ctx, cli.Settings, capture.Deps{Deps: d})
		}))
}
