// Command gateway shows streams to viewers.
package main

import (
	"context"
	"os"

	"github.com/framebus/framebus/services/gateway"
	"github.com/framebus/framebus/services/internal/service"
)

func main() {
	var cli struct {
		service.Common
		gateway.Settings
	}
	os.Exit(service.Main("gateway", "Shows streams to viewers over WebSocket, MJPEG and plain TCP.", &cli,
		&cli.Common, &cli.Settings, func(ctx context.Context, d service.Deps) error {
			return gateway.Run(ctx, cli.Settings, gateway.Deps{Deps: d})
		}))
}
