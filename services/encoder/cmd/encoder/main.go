// Command encoder turns raw frames on the bus into JPEGs.
package main

import (
	"context"
	"os"

	"github.com/framebus/framebus/services/encoder"
	"github.com/framebus/framebus/services/internal/service"
)

var cli struct {
	service.Common   `embed:""`
	encoder.Settings `embed:""`
}

func main() {
	os.Exit(service.Main("encoder", "Turns raw frames on the bus into JPEGs.", &cli, &cli.Common, &cli.Settings,
		func(ctx context.Context, d service.Deps) error {
			return encoder.Run(ctx, cli.Settings, encoder.Deps{Deps: d})
		}))
}
